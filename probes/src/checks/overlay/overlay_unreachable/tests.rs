//! Tunnels that do not deliver, each for another reason, and those whose trouble is another code's.

use super::*;
use crate::fact::{Fact, Source};
use crate::snapshot::example::{Example, failed, ip, no_right, no_route, silent};

/// Nothing comes back, and nothing tells whether packets that are encapsulated here would be answered.
fn lost() -> Example {
    Example::reference().verdict("master-2", Plane::Overlay, silent()).outer_fact("master-2", Fact::Absent)
}

fn judge(example: &Example) -> Judgement<Evidence> {
    OverlayUnreachable::judge(&example.snapshot()).unwrap()
}

fn told(example: &Example) -> (DeliveryFault, String) {
    let judgement = judge(example);
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Critical));
    (raised.evidence.fault, OverlayUnreachable::summary(&raised.subject, &raised.evidence))
}

fn neighbours(example: &mut Example) -> &mut Vec<Neighbour> {
    let Fact::Known(neighbours) = &mut example.tables.neighbours else { unreachable!() };
    neighbours
}

#[test]
fn with_everything_in_place_here_the_way_and_the_peer_are_suspected() {
    let (fault, summary) = told(&lost());
    assert_eq!(fault, DeliveryFault::NotHere);
    assert_eq!(
        summary,
        "master-2 (10.244.2.0) answers nothing through vxlan.calico while its node answers: this node's entries are \
         in place, so UDP 4789 is filtered on the way, or the peer lacks its entries."
    );
}

#[test]
fn packets_that_are_encapsulated_here_tell_this_node_from_the_way_and_the_peer() {
    let outer = |outer| {
        let node = lost().outer_verdict("master-2", outer);
        let (fault, summary) = told(&node);
        (fault, judge(&node).raised.remove(0).evidence.located, summary)
    };
    let (fault, located, summary) = outer(silent());
    assert_eq!((fault, located), (DeliveryFault::NotHere, Located::PortOrRemoteEntry));
    assert!(
        summary.contains("in place and packets that are encapsulated without it are not answered either"),
        "{summary}"
    );
    let (fault, located, summary) = outer(Verdict::Clear { mtu: crate::units::IpSize::new(1500) });
    assert_eq!((fault, located), (DeliveryFault::NotSent, Located::LocalEntry));
    assert!(summary.ends_with("vxlan.calico or a filter of this node keeps its own back."), "{summary}");
}

#[test]
fn what_is_missing_here_is_proven_to_be_all_that_is_missing() {
    let mut node = lost().outer_verdict("master-2", Verdict::Clear { mtu: crate::units::IpSize::new(1500) });
    neighbours(&mut node).retain(|entry| entry.address != ip("10.244.2.0"));
    let (fault, summary) = told(&node);
    assert_eq!(fault, DeliveryFault::NoNeighbour);
    assert!(
        summary.ends_with(
            "no neighbour entry for 10.244.2.0; packets that are encapsulated here without it are answered."
        ),
        "{summary}"
    );
    assert_eq!(judge(&node).raised.remove(0).evidence.located, Located::LocalEntry);
}

#[test]
fn a_route_that_leads_past_the_tunnel_is_located_here() {
    let mut node = lost();
    let elsewhere = node.lookups[&ip("10.0.0.12")].clone();
    node.lookups.insert(ip("10.244.2.0"), elsewhere);
    let evidence = judge(&node).raised.remove(0).evidence;
    assert_eq!((evidence.fault, evidence.located), (DeliveryFault::NoRoute, Located::LocalRoute));
}

#[test]
fn a_tunnel_over_ipv6_is_told_with_its_addresses() {
    let node = Example::dual("fd00::12").verdict("master-2", Plane::Overlay, silent());
    let raised = judge(&node.outer_verdict("master-2", silent())).raised.remove(0);
    assert_eq!((raised.evidence.underlay, raised.evidence.located), (Some(ip("fd00::12")), Located::PortOrRemoteEntry));
    assert_eq!(raised.evidence.underlay_verdict, Some(VerdictName::Clear), "it is of another family than the tunnel's");
}

#[test]
fn a_missing_neighbour_entry_is_named() {
    let mut node = lost();
    neighbours(&mut node).retain(|entry| entry.address != ip("10.244.2.0"));
    let (fault, summary) = told(&node);
    assert_eq!(fault, DeliveryFault::NoNeighbour);
    assert!(summary.ends_with("vxlan.calico has no neighbour entry for 10.244.2.0."), "{summary}");
}

#[test]
fn a_failed_neighbour_entry_is_named() {
    let mut node = lost();
    neighbours(&mut node)[0].state = NeighbourState::Failed;
    assert_eq!(told(&node).0, DeliveryFault::NeighbourFailed);
}

#[test]
fn a_missing_forwarding_entry_is_named_by_its_hardware_address() {
    let mut node = lost();
    let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
    forwarding.remove(0);
    let (fault, summary) = told(&node);
    assert_eq!(fault, DeliveryFault::NoForwarding);
    assert!(summary.ends_with("no forwarding entry for its hardware address 66:00:00:00:00:00."), "{summary}");
}

#[test]
fn a_table_that_could_not_be_read_is_not_missing_an_entry() {
    let mut node = lost();
    node.tables.forwarding = Fact::Unread(failed(Source::Fdb));
    assert_eq!(told(&node).0, DeliveryFault::NotHere);
    node.tables.neighbours = Fact::Unread(failed(Source::Neighbours));
    assert_eq!(told(&node).0, DeliveryFault::NotHere);
}

#[test]
fn a_route_that_leads_elsewhere_is_named() {
    let mut node = Example::reference().verdict("master-2", Plane::Overlay, no_route());
    let elsewhere = node.lookups[&ip("10.0.0.12")].clone();
    node.lookups.insert(ip("10.244.2.0"), elsewhere);
    let (fault, summary) = told(&node);
    assert_eq!(fault, DeliveryFault::NoRoute);
    assert!(summary.ends_with("no route to 10.244.2.0 leads into a tunnel."), "{summary}");
}

#[test]
fn a_closed_port_is_the_peers() {
    let why = Unreachable::Refused { by: ip("10.0.0.12"), why: Refusal::TunnelPortUnreachable };
    let node = Example::reference().verdict("master-2", Plane::Overlay, Verdict::Unreachable { why });
    assert_eq!(told(&node).0, DeliveryFault::PortClosed);
}

#[test]
fn a_peer_that_is_lost_altogether_and_a_clear_one_are_quiet() {
    assert!(judge(&Example::reference()).raised.is_empty());
    assert!(judge(&lost().verdict("master-2", Plane::Underlay, silent())).raised.is_empty());
    let pod = Example::reference().verdict("master-2", Plane::Pod, silent());
    assert!(judge(&pod).raised.is_empty(), "the tunnel delivers, the pod does not answer");
}

#[test]
fn a_node_that_filters_probes_is_not_said_to_answer() {
    let (_, summary) = told(&lost().unmeasured("master-2", Plane::Underlay, no_right()));
    assert!(summary.contains("its node was not measured"), "{summary}");
}

#[test]
fn a_path_that_was_not_measured_is_not_concluded() {
    let judgement = judge(&Example::reference().unmeasured("master-2", Plane::Overlay, no_right()));
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
}
