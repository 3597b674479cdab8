use super::*;
use crate::config::Config;
use crate::history::Occasion;
use crate::node::tests::{IDENTITY, at};
use crate::snapshot::example::ip;
use crate::units::Dual;

const INTERVAL: Duration = Duration::from_secs(30);

fn second(second: u64) -> Mono {
    Mono::new(Duration::from_secs(second))
}

fn peers(count: u16) -> Vec<Peer> {
    let peer = |number: u16| Peer {
        name: format!("n{number}"),
        underlay: ip(&format!("10.0.{}.{}", number / 250, 1 + number % 250)).into(),
        overlay: Dual::NONE,
        pods: Vec::new(),
        tunnels: Vec::new(),
        gateway: false,
        zone: None,
        node: Dual::NONE,
        twin: Dual::NONE,
    };
    (0..count).map(peer).collect()
}

fn asked(cards: &mut Cards, peers: &[Peer], now: u64) -> Vec<String> {
    let asks = cards.ask("me", peers, 9747, INTERVAL, second(now));
    asks.into_iter().map(|ask| ask.peer).collect()
}

fn told(node: &str) -> Vec<u8> {
    format!(r#"{{"schema": "mtuscope.node/v1", "node": "{node}", "vantage": "node"}}"#).into_bytes()
}

fn answer(cards: &mut Cards, peers: &[String], now: u64) {
    for peer in peers {
        let due = second(now) + INTERVAL * PERIOD;
        cards.take(Answered { peer: peer.clone(), gave: Ok(told(peer)) }, due, second(now));
    }
}

#[test]
fn no_more_are_asked_however_many_there_are() {
    let mut cards = Cards::default();
    let all = peers(10_000);
    let first = asked(&mut cards, &all, 0);
    assert_eq!(first.len(), FEW);
    answer(&mut cards, &first, 0);
    let next = asked(&mut cards, &all, 30);
    answer(&mut cards, &next, 30);
    assert_eq!(asked(&mut cards, &all, 60), [""; 0], "sixteen of them, and each only once in ten rounds");
    assert_eq!((cards.known.len(), first.iter().any(|peer| next.contains(peer))), (ASKED, false));
    assert_eq!(asked(&mut cards, &all, 301).len(), FEW, "those of the first round are asked again");
}

#[test]
fn who_has_not_answered_is_not_asked_again_meanwhile_and_who_left_is_forgotten() {
    let mut cards = Cards::default();
    let all = peers(2);
    let first = asked(&mut cards, &all, 0);
    assert_eq!((first.len(), asked(&mut cards, &all, 5000).len()), (2, 0));
    assert!(matches!(cards.fellows("me"), Fact::Unread(_)));
    assert_eq!(asked(&mut cards, &all[..1], 5000), [""; 0]);
    answer(&mut cards, &first, 5000);
    assert_eq!(cards.fellows("me").known().unwrap().told.len(), 1, "an answer of who left is no news");
}

#[test]
fn a_node_that_changed_asks_everybody_anew_and_forgets_what_they_said_before() {
    let mut cards = Cards::default();
    let all = peers(2);
    let own = |mtu| {
        let link = CardLink {
            name: "eth0".into(),
            role: crate::report::Role::Underlay,
            mtu: crate::units::LinkMtu::new(mtu),
            addresses: Vec::new(),
        };
        (vec![link], Vec::new())
    };
    cards.look_at_own(own(1500), second(0));
    let first = asked(&mut cards, &all, 0);
    answer(&mut cards, &first, 0);
    cards.look_at_own(own(1500), second(30));
    assert_eq!(asked(&mut cards, &all, 30), [""; 0]);
    cards.look_at_own(own(1400), second(60));
    assert!(matches!(cards.fellows("me"), Fact::Unread(_)), "what they said before says little");
    for round in 0..u64::from(HURRY) {
        let again = asked(&mut cards, &all, 60 + round * 31);
        let is_last = round + 1 == u64::from(HURRY);
        assert_eq!((again.len(), cards.fellows("me").known().is_some()), (2, is_last), "round {round}");
        answer(&mut cards, &again, 60 + round * 31);
    }
    assert_eq!(cards.fellows("me").known().unwrap().told.len(), 2);
    assert_eq!(asked(&mut cards, &all, 60 + 31 * u64::from(HURRY)), [""; 0]);
}

#[test]
fn an_address_that_comes_or_goes_is_no_change_of_this_node() {
    let mut cards = Cards::default();
    let all = peers(2);
    let own = |addresses: &[&str]| {
        let link = CardLink {
            name: "eth0".into(),
            role: crate::report::Role::Underlay,
            mtu: crate::units::LinkMtu::new(1500),
            addresses: addresses.iter().map(|address| ip(address)).collect(),
        };
        (vec![link], Vec::new())
    };
    cards.look_at_own(own(&["10.0.0.11"]), second(0));
    let first = asked(&mut cards, &all, 0);
    answer(&mut cards, &first, 0);
    cards.look_at_own(own(&["10.0.0.11", "10.0.0.100"]), second(30));
    assert_eq!(cards.fellows("me").known().unwrap().told.len(), 2, "kube-vip's address came here");
    assert_eq!(asked(&mut cards, &all, 30), [""; 0]);
}

#[test]
fn this_node_has_no_say_about_itself_and_who_is_never_asked_is_counted() {
    let mut cards = Cards::default();
    let all = peers(20);
    let first = asked(&mut cards, &all, 0);
    cards.take(Answered { peer: first[0].clone(), gave: Ok(told("me")) }, second(300), second(0));
    cards.take(Answered { peer: first[1].clone(), gave: Ok(told("other")) }, second(300), second(0));
    let fellows = cards.fellows("me").known().unwrap().clone();
    assert_eq!((fellows.told.len(), fellows.awaited, fellows.beyond), (1, ASKED - 2, 20 - ASKED));
    let mut alone = Cards::default();
    asked(&mut alone, &all[..1], 0);
    alone.take(Answered { peer: "n0".into(), gave: Ok(told("me")) }, second(300), second(0));
    assert!(alone.fellows("me").known().unwrap().told.is_empty(), "an address that moves leads to this node itself");
}

#[test]
fn an_old_card_is_not_believed() {
    let mut cards = Cards::default();
    let all = peers(1);
    let first = asked(&mut cards, &all, 0);
    answer(&mut cards, &first, 0);
    assert_eq!(asked(&mut cards, &all, 300).len(), 1, "asked, and it does not answer");
    asked(&mut cards, &all, 900);
    assert!(cards.fellows("me").known().is_some());
    asked(&mut cards, &all, 901);
    assert!(matches!(cards.fellows("me"), Fact::Unread(_)));
}

#[test]
fn why_there_is_no_card_is_kept() {
    let mut cards = Cards::default();
    asked(&mut cards, &peers(1), 0);
    let gave = Err("answered 404: there is nothing here".into());
    cards.take(Answered { peer: "n0".into(), gave }, second(300), second(0));
    let why = cards.fellows("me").known().unwrap().too_few();
    assert!(why.to_string().contains("n0") && why.to_string().contains("404"), "{why}");
    asked(&mut cards, &peers(1), 301);
    cards.take(Answered { peer: "n0".into(), gave: Ok(vec![0; 100]) }, second(600), second(301));
    assert!(cards.fellows("me").known().unwrap().told.is_empty(), "garbage is no card");
}

#[test]
fn a_node_asks_at_the_end_of_a_round_and_never_from_a_pod() {
    for (vantage, wanted) in [(Vantage::Node, 3), (Vantage::Pod, 0)] {
        let config = Config { vantage, ..Config::new("me") };
        let mut node = Node::new(config, IDENTITY, "1.2.3", at(Duration::ZERO));
        node.snapshot.peers = peers(3).into();
        node.judge(Occasion::Look, at(Duration::ZERO));
        node.judge(Occasion::Round, at(Duration::ZERO));
        let asks = node.wanted.iter().filter(|output| matches!(output, Output::AskCard(_))).count();
        assert_eq!(asks, wanted, "{vantage:?}");
    }
}
