use super::*;
use crate::config::Config;
use crate::declared::kubevip::{Given, Lease, StaticPods};
use crate::history::Occasion;
use crate::kernel::{Neighbour, NeighbourState};
use crate::node::tests::{IDENTITY, at};
use crate::snapshot::example::{Example, ip};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 11]);
const TWO: Mac = Mac([2, 0, 0, 0, 0, 12]);
const THREE: Mac = Mac([2, 0, 0, 0, 0, 13]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 9, 9]);

fn pod() -> KubeVip {
    KubeVip {
        file: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
        interface: Given::Text("vmbr1".into()),
        services_interface: Given::Not,
        address: Given::Text("10.0.0.100".into()),
        mode: Some(Mode::Arp),
        control_plane: true,
        services: false,
        may_be_down: false,
        lease: Some(Lease { name: "plndr-cp-lock".into(), seconds: [Some(5), None, None] }),
    }
}

/// master-1 with kube-vip's manifest, and the hardware addresses of both peers in its neighbour table.
fn node(pod: KubeVip) -> Example {
    let mut node = Example::reference().with("vmbr1", |link| link.mac = Some(OWN));
    node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: vec![pod], unread: Vec::new() });
    let link = node.index("vmbr1");
    for (address, mac) in [("10.0.0.12", TWO), ("10.0.0.13", THREE)] {
        let entry =
            Neighbour { link, address: ip(address), mac: Some(mac), state: NeighbourState::Reachable, external: false };
        let Fact::Known(neighbours) = &mut node.tables.neighbours else { panic!("the example has neighbours") };
        neighbours.push(entry);
    }
    node
}

/// A frame that claims an address.
fn claim(address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut frame = arp::probe(mac, address);
    frame[28..32].copy_from_slice(&address.octets());
    frame
}

/// What is made of claims for the address, where master-2 answers for its own.
fn heard(node: &Example, macs: &[Mac]) -> Result<Seen, String> {
    let node = node.snapshot();
    let ask = ask(&node, VIP.into(), &pod(), 1).unwrap();
    let witness = claim(Ipv4Addr::new(10, 0, 0, 12), TWO);
    let frames: Vec<_> = macs.iter().map(|&mac| claim(VIP, mac)).chain([witness]).collect();
    read(&node, &ask, &frames).map_err(|why| why.to_string())
}

fn names(seen: Seen) -> Vec<Option<String>> {
    match seen {
        Seen::Held(holder) => vec![holder.node],
        Seen::Several(holders) => holders.into_iter().map(|holder| holder.node).collect(),
        Seen::Nobody { .. } => Vec::new(),
    }
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn the_address_an_unused_one_and_peers_are_asked_for() {
    let snapshot = node(pod()).snapshot();
    let asked = |round| ask(&snapshot, VIP.into(), &pod(), round).unwrap();
    let first = asked(1);
    assert_eq!((first.frames.len(), first.rows), (4, 2), "the address, an unused one, two peers");
    assert!(first.frames.iter().all(|frame| arp::claim(frame).is_none()), "nobody's cache changes by it");
    assert_ne!(first.about.unused, asked(2).about.unused);
    for round in 0..1000 {
        let unused = asked(round).about.unused;
        assert!(
            unused.octets()[..3] == [10, 0, 0] && ![0, 11, 12, 13, 100, 255].contains(&unused.octets()[3]),
            "{unused}"
        );
    }
}

#[test]
fn who_answers_is_named() {
    assert_eq!(names(heard(&node(pod()), &[TWO]).unwrap()), [some("master-2")]);
    assert_eq!(names(heard(&node(pod()), &[STRANGER]).unwrap()), [None]);
    assert_eq!(names(heard(&node(pod()).address("vmbr1", "10.0.0.100", 32), &[]).unwrap()), [some("this node")]);
}

#[test]
fn two_known_machines_are_two() {
    assert_eq!(names(heard(&node(pod()), &[TWO, THREE]).unwrap()), [some("master-2"), some("master-3")]);
    let held = node(pod()).address("vmbr1", "10.0.0.100", 32);
    assert_eq!(names(heard(&held, &[THREE]).unwrap()), [some("master-3"), some("this node")]);
    assert_eq!(
        names(heard(&held, &[STRANGER]).unwrap()),
        [some("this node"), None],
        "all that is this node's is known"
    );
}

#[test]
fn two_hardware_addresses_of_one_machine_are_one() {
    let both = node(pod()).says("master-2", |told| told.macs = vec![TWO, STRANGER]);
    assert_eq!(names(heard(&both, &[TWO, STRANGER]).unwrap()), [some("master-2")], "a second link on that network");
    let why = heard(&node(pod()).mute("master-2", "no agent"), &[TWO, STRANGER]).unwrap_err();
    assert!(why.contains("not known whether they are one machine's"), "{why}");
    let other = node(pod()).says("master-2", |told| told.macs = vec![TWO]);
    assert_eq!(names(heard(&other, &[TWO, STRANGER]).unwrap()).len(), 2, "its card lists all that is its own");
    let held = node(pod()).with("vmbr0", |link| link.mac = Some(STRANGER)).address("vmbr1", "10.0.0.100", 32);
    assert_eq!(names(heard(&held, &[OWN, STRANGER]).unwrap()), [some("this node")]);
    assert!(heard(&node(pod()), &[STRANGER, Mac([2, 0, 0, 0, 9, 8])]).is_err());
}

#[test]
fn a_card_that_claims_anothers_hardware_address_makes_no_second_machine() {
    let node = node(pod()).says("master-2", |told| told.macs = vec![TWO, STRANGER]);
    assert_eq!(names(heard(&node, &[TWO, STRANGER]).unwrap()), [some("master-2")]);
    let robbed = node.says("master-3", |told| told.macs = vec![THREE, STRANGER]);
    assert!(heard(&robbed, &[TWO, STRANGER]).is_err(), "master-3 may have lied, or there are two");
    assert_eq!(names(heard(&robbed, &[TWO]).unwrap()), [some("master-2")]);
    let vrrp = self::node(pod()).says("master-2", |told| told.macs = vec![TWO]);
    assert!(heard(&vrrp, &[TWO, Mac([0, 0, 0x5e, 0, 1, 51])]).is_err(), "a router's own address and VRRP's");
    let full = self::node(pod()).says("master-2", |told| {
        told.macs = (0..63).map(|at| Mac([2, 0, 0, 0, 7, at])).chain([TWO]).collect();
    });
    assert!(heard(&full, &[TWO, STRANGER]).is_err(), "its card may have been cut off before the other one");
}

#[test]
fn a_peer_that_is_the_address_itself_is_no_second_machine() {
    // The operator names the address as a peer, and the kernel has resolved it to the holder's other link.
    let mut node = node(pod()).peer("control-plane", "vmbr1", "10.0.0.100");
    let link = node.index("vmbr1");
    let (address, state) = (VIP.into(), NeighbourState::Reachable);
    let Fact::Known(neighbours) = &mut node.tables.neighbours else { panic!("the example has neighbours") };
    neighbours.push(Neighbour { link, address, mac: Some(STRANGER), state, external: false });
    let node = node.mute("master-2", "no agent").mute("master-3", "no agent").mute("control-plane", "no agent");
    assert!(heard(&node, &[TWO, STRANGER]).is_err(), "one machine may answer by two links");
}

#[test]
fn an_address_that_every_node_has_on_a_dummy_makes_this_one_no_second_machine() {
    let ipvs = node(pod()).device("kube-ipvs0", "dummy", 1500).address("kube-ipvs0", "10.0.0.100", 32);
    assert_eq!(names(heard(&ipvs, &[TWO]).unwrap()), [some("master-2")]);
    let why = heard(&ipvs, &[]).unwrap_err();
    assert!(why.contains("kube-ipvs0") && why.contains("arp_ignore"), "it may be this node that answers: {why}");
    let real = node(pod()).device("eth9", "device", 1500).address("eth9", "10.0.0.100", 32);
    assert_eq!(names(heard(&real, &[TWO]).unwrap()).len(), 2);
}

#[test]
fn silence_counts_where_a_peer_answers() {
    let Ok(Seen::Nobody { witness, claim: by }) = heard(&node(pod()), &[]) else { panic!("nobody answers") };
    assert_eq!((witness.as_str(), by.len()), ("master-2", 0));
    let claims = node(pod()).says("master-3", |told| told.held = vec![VIP.into()]);
    let Ok(Seen::Nobody { claim: by, .. }) = heard(&claims, &[]) else { panic!("nobody answers") };
    assert_eq!(by, ["master-3"]);
    let snapshot = node(pod()).snapshot();
    let ask = ask(&snapshot, VIP.into(), &pod(), 1).unwrap();
    let deaf = read(&snapshot, &ask, &[]).unwrap_err();
    assert!(deaf.to_string().contains("no peer on that network"), "{deaf}");
    let garbage = read(&snapshot, &ask, &[vec![0; 10], vec![0xff; 2000], Vec::new()]);
    assert!(garbage.is_err());
}

#[test]
fn a_proxy_for_everything_says_nothing() {
    let snapshot = node(pod()).snapshot();
    let ask = ask(&snapshot, VIP.into(), &pod(), 1).unwrap();
    let frames = [claim(VIP, STRANGER), claim(ask.about.unused, STRANGER), claim(VIP, TWO)];
    assert!(read(&snapshot, &ask, &frames).unwrap_err().to_string().contains("proxy"));
    let other = [claim(VIP, TWO), claim(ask.about.unused, THREE)];
    assert_eq!(
        names(read(&snapshot, &ask, &other).unwrap()),
        [some("master-2")],
        "somebody has the unused one after all"
    );
}

#[test]
fn only_arp_is_asked_and_only_where_the_network_is() {
    let why =
        |pod: KubeVip, example: Example, address: &str| ask(&example.snapshot(), ip(address), &pod, 1).unwrap_err();
    assert!(why(pod(), node(pod()), "fd00::100").contains("IPv6"));
    assert!(why(pod(), node(pod()), "172.31.0.1").contains("not on the network"));
    assert!(why(pod(), node(pod()).with("vmbr1", |link| link.up = false), "10.0.0.100").contains("down"));
    assert!(why(pod(), node(pod()).with("vmbr1", |link| link.mac = None), "10.0.0.100").contains("ARP"));
    let elsewhere = KubeVip { interface: Given::Text("eth7".into()), ..pod() };
    assert!(why(elsewhere, node(pod()), "10.0.0.100").contains("eth7"));
    let chosen = KubeVip { interface: Given::Not, ..pod() };
    assert_eq!(link_of(&node(pod()).snapshot(), VIP.into(), &chosen).unwrap().name, "vmbr1");
    for quiet in [KubeVip { mode: Some(Mode::Bgp), ..pod() }, KubeVip { control_plane: false, ..pod() }] {
        assert!(declared(&node(quiet).snapshot()).is_empty());
    }
}

/// Rounds, a second apart, in which these answer; what is known of the address after each.
fn rounds(rounds: &[&[Mac]]) -> Vec<Vip> {
    let mut machine = Node::new(Config::new("master-1"), IDENTITY, "1.2.3", at(Duration::ZERO));
    machine.snapshot = node(pod()).snapshot();
    let mut known = Vec::new();
    for (second, macs) in (0..).zip(rounds) {
        let now = at(Duration::from_secs(second));
        machine.judge(Occasion::Round, now);
        let asks = machine.wanted.drain(..).filter_map(|output| match output {
            Output::AskVip(ask) => Some(ask),
            _ => None,
        });
        let asks: Vec<_> = asks.collect();
        let [ask] = asks.try_into().expect("one address is asked for in a round");
        let witness = claim(Ipv4Addr::new(10, 0, 0, 12), TWO);
        let frames = macs.iter().map(|&mac| claim(VIP, mac)).chain([witness]).collect();
        machine.on_vip(&Heard { ask, frames: Ok(frames) }, now);
        known.extend(machine.snapshot.vips.first().cloned());
    }
    known
}

#[test]
fn silence_is_settled_after_three_leases_and_one_answer_begins_anew() {
    let silent: Vec<&[Mac]> = vec![&[]; 17];
    let known = rounds(&silent);
    let settled: Vec<_> = known.iter().map(Vip::is_settled).collect();
    assert_eq!(settled.iter().position(|settled| *settled), Some(15), "5 s thrice");
    let mut broken = silent.clone();
    broken[10] = &[THREE];
    assert!(rounds(&broken).iter().all(|vip| !vip.is_settled() || matches!(vip.seen, Fact::Known(Seen::Held(_)))));
}

#[test]
fn a_holder_may_change() {
    let known = rounds(&[&[TWO], &[TWO], &[THREE], &[THREE]]);
    assert!(known.iter().all(|vip| matches!(vip.seen, Fact::Known(Seen::Held(_)))));
}

#[test]
fn what_could_not_be_sent_is_said_and_who_is_asked_is_not_asked_twice() {
    let mut machine = Node::new(Config::new("master-1"), IDENTITY, "1.2.3", at(Duration::ZERO));
    machine.snapshot = node(pod()).snapshot();
    machine.ask_vips();
    machine.ask_vips();
    let asks: Vec<_> = machine.wanted.drain(..).collect();
    let [Output::AskVip(ask)] = asks.as_slice() else { panic!("one question: {asks:?}") };
    let deaf = Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() });
    machine.on_vip(&Heard { ask: ask.clone(), frames: Err(deaf.clone()) }, at(Duration::ZERO));
    assert_eq!(machine.snapshot.vips[0].seen, Fact::Unread(deaf));
    machine.ask_vips();
    assert_eq!(machine.wanted.len(), 1);
}
