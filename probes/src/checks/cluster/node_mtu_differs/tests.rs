use super::*;
use crate::path::Plane;
use crate::snapshot::example::{Example, black_hole};
use crate::units::IpSize;

fn judged(node: &Example) -> Judgement<Evidence> {
    NodeMtuDiffers::judge(&node.snapshot()).unwrap()
}

/// master-1 with two peers that have this, while it has that.
fn odd(own: u32) -> Example {
    // Others are like the example was before this node changed.
    let others = |told: &mut crate::card::Told| told.links[0].mtu = LinkMtu::new(1500);
    Example::reference()
        .with("vmbr1", |link| link.mtu = LinkMtu::new(own))
        .says("master-2", others)
        .says("master-3", others)
}

#[test]
fn the_odd_node_says_so_and_an_ordinary_one_does_not() {
    let judgement = judged(&odd(1400));
    let raised = &judgement.raised[0];
    assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("vmbr1", Severity::Warning));
    let Evidence { most, have, compared, same_network, .. } = &raised.evidence;
    assert_eq!((most.bytes(), *have, *compared, *same_network), (1500, 2, 3, true));
    assert!(judged(&odd(1500)).raised.is_empty());
    let other = Example::reference().says("master-2", |told| told.links[0].mtu = LinkMtu::new(1400));
    assert!(judged(&other).raised.is_empty(), "another one is odd, and says so itself");
}

#[test]
fn what_carries_the_link_grows_first() {
    let node = odd(1400).with("enp5s0", |link| link.mtu = LinkMtu::new(1400));
    let links: Vec<_> = judged(&node).raised[0].evidence.change.iter().map(|change| change.link.clone()).collect();
    assert_eq!(links, ["enp5s0", "vmbr1"]);
    let links: Vec<_> = judged(&odd(9000)).raised[0].evidence.change.iter().map(|change| change.link.clone()).collect();
    assert_eq!(links, ["vmbr1"], "nothing below has to shrink");
}

#[test]
fn the_operators_word_is_compared_by_another_code() {
    let mut node = odd(1400);
    node.expect.underlay_mtu = Some(IpSize::new(1500));
    assert!(judged(&node).raised.is_empty());
}

#[test]
fn behind_routers_it_is_for_information() {
    let mut node = odd(9000);
    for address in ["10.0.0.12", "10.0.0.13"] {
        let Some(crate::fact::Fact::Known(route)) = node.lookups.get_mut(&crate::snapshot::example::ip(address)) else {
            panic!("the example has routes")
        };
        route.hops[0].gateway = Some(crate::snapshot::example::ip("10.0.0.1"));
    }
    let judgement = judged(&node);
    assert_eq!((judgement.raised[0].severity, judgement.raised[0].evidence.same_network), (Severity::Info, false));
}

#[test]
fn a_larger_link_that_sends_no_more_than_the_others_take_is_none() {
    let limited = |own, mtu| {
        let mut node = odd(own);
        for address in ["10.0.0.12", "10.0.0.13"] {
            let Some(crate::fact::Fact::Known(route)) = node.lookups.get_mut(&crate::snapshot::example::ip(address))
            else {
                panic!("the example has routes")
            };
            route.mtu = Some(IpSize::new(mtu));
        }
        judged(&node).raised.len()
    };
    assert_eq!((limited(9000, 1500), limited(9000, 1501)), (0, 1));
    assert_eq!(limited(1400, 1400), 1, "what the others send is still too large for it");
}

#[test]
fn two_nodes_only_differ() {
    let pair = |mtu: fn(&mut crate::card::Told)| judged(&Example::flannel().says("worker", mtu));
    let judgement = pair(|told| told.links[0].mtu = LinkMtu::new(9001));
    assert_eq!((judgement.raised[0].severity, judgement.raised[0].evidence.compared), (Severity::Info, 2));
    let (subject, _, evidence) = NodeMtuDiffers::example();
    assert!(NodeMtuDiffers::summary(&subject, &evidence).contains("3 of 4 nodes have 1500"));
    let evidence = &judgement.raised[0].evidence;
    assert!(NodeMtuDiffers::summary(&subject, evidence).contains("the only other node, worker, has 9001"));
    assert!(pair(|_| {}).raised.is_empty());
}

#[test]
fn who_does_not_answer_has_no_say_and_one_of_many_is_not_most() {
    let why = "answered 404: there is nothing here";
    let judgement = judged(&odd(1400).mute("master-3", why));
    assert!(judgement.raised.is_empty(), "one voice of two nodes");
    assert!(
        judgement.unread[0].1.to_string().contains("master-3") && judgement.unread[0].1.to_string().contains("404")
    );
    let none = odd(1400).mute("master-2", why).mute("master-3", why);
    let unread = NodeMtuDiffers::judge(&none.snapshot()).unwrap_err();
    assert!(unread.to_string().contains("master-2 and 1 more"), "{unread}");
    assert!(NodeMtuDiffers::judge(&Example::reference().alone().snapshot()).is_err());
}

#[test]
fn a_card_that_lies_is_outvoted_and_one_that_is_somebody_elses_is_not_compared() {
    let lies =
        Example::reference().more_peers("vmbr1", 3).says("master-2", |told| told.links[0].mtu = LinkMtu::new(68));
    assert!(judged(&lies).raised.is_empty());
    let stranger = |told: &mut crate::card::Told| {
        told.links[0].mtu = LinkMtu::new(9000);
        told.links[0].addresses.clear();
    };
    let strangers = Example::reference().says("master-2", stranger).says("master-3", stranger);
    assert!(
        NodeMtuDiffers::judge(&strangers.snapshot()).is_err(),
        "nothing is known of the links with those addresses"
    );
    let same_name = |told: &mut crate::card::Told| {
        told.node = "evil".into();
        told.links[0].mtu = LinkMtu::new(9000);
    };
    let twice = Example::reference().more_peers("vmbr1", 1).says("master-2", same_name).says("master-3", same_name);
    assert!(judged(&twice).raised.is_empty(), "one that answers for two addresses has one voice");
}

#[test]
fn a_larger_link_explains_the_paths_that_carry_what_the_others_have() {
    let hole = |carries| {
        let node = odd(9000).verdict("master-2", Plane::Underlay, black_hole(carries));
        judged(&node).raised.remove(0).breaks
    };
    let underlay = |subject: &Subject| matches!(subject, Subject::Path { plane: Plane::Underlay, .. });
    assert!(hole(1500).iter().any(underlay));
    assert!(!hole(1300).iter().any(underlay), "another hole has another cause");
}
