//! Every row of the table, in both families, and what must not be concluded.

use super::*;
use crate::fact::Fact;
use crate::path::NotSent;
use crate::snapshot::example::{Example, black_hole, ip, no_right, silent};
use crate::units::IpSize;

fn refused(by: &str, why: Refusal) -> Verdict {
    Verdict::Unreachable { why: Unreachable::Refused { by: ip(by), why } }
}

fn clear() -> Verdict {
    Verdict::Clear { mtu: IpSize::new(1450) }
}

/// What answers of master-2: tunnel, pods, and the tunnel by what is encapsulated here.
fn seen_as(overlay: Verdict, pod: Verdict, outer: Verdict) -> Signature {
    let node = Example::reference()
        .verdict("master-2", Plane::Overlay, overlay)
        .verdict("master-2", Plane::Pod, pod)
        .outer_verdict("master-2", outer);
    Signature::of(&node.snapshot(), "master-2", Family::Ipv4)
}

fn row(overlay: Verdict, pod: Verdict, outer: Verdict) -> [Located; 2] {
    let signature = seen_as(overlay, pod, outer);
    [signature.tunnel(Some(true)), signature.pods(Some(true))]
}

#[test]
fn where_all_is_well_everything_answers() {
    let all = Some(Told::Answers);
    let signature = Signature::of(&Example::reference().snapshot(), "master-2", Family::Ipv4);
    assert_eq!(signature, Signature { underlay: all, overlay: all, pod: all, outer: all });
}

#[test]
fn an_entry_of_this_node_is_missing_where_packets_without_it_are_answered() {
    assert_eq!(row(silent(), silent(), clear()), [Located::LocalEntry; 2]);
    let failed = refused("10.244.1.0", Refusal::HostUnreachable);
    assert_eq!(row(failed.clone(), failed, clear()), [Located::LocalEntry; 2], "its own word: a neighbour that failed");
}

#[test]
fn a_route_of_this_node_is_missing_where_none_leads_into_the_tunnel() {
    let nowhere = || refused("192.168.0.1", Refusal::NetworkUnreachable);
    for outer in [clear(), silent()] {
        let signature = seen_as(nowhere(), nowhere(), outer);
        assert_eq!((signature.overlay, signature.pod), (Some(Told::NoRoute), Some(Told::NoRoute)));
        assert_eq!([signature.tunnel(Some(false)), signature.pods(Some(false))], [Located::LocalRoute; 2]);
        assert_eq!(
            [signature.tunnel(None), signature.pods(None)],
            [Located::LocalRoute; 2],
            "the router's word is enough"
        );
        assert_ne!(signature.tunnel(Some(true)), Located::LocalRoute, "what went into the tunnel is refused beyond it");
    }
    let quiet = seen_as(silent(), silent(), clear());
    assert_eq!(
        [quiet.tunnel(Some(false)), quiet.pods(Some(false))],
        [Located::LocalRoute; 2],
        "routers may keep quiet"
    );
    let unsent = Verdict::Unreachable { why: Unreachable::NotSent { why: NotSent::NoRoute } };
    assert_eq!(seen_as(unsent, silent(), clear()).tunnel(Some(false)), Located::LocalRoute);
}

#[test]
fn the_port_or_the_peers_entries_are_at_fault_where_no_encapsulated_packet_is_answered() {
    assert_eq!(row(silent(), silent(), silent()), [Located::PortOrRemoteEntry; 2]);
    let closed = || refused("10.0.0.12", Refusal::TunnelPortUnreachable);
    assert_eq!(row(closed(), closed(), closed()), [Located::PortOrRemoteEntry; 2]);
}

#[test]
fn the_peer_does_not_forward_where_its_tunnel_answers_and_its_pods_do_not() {
    assert_eq!(row(clear(), silent(), clear())[1], Located::RemoteForwarding);
    assert_eq!(row(black_hole(1300), silent(), silent())[1], Located::RemoteForwarding, "some size gets there");
    let there = seen_as(clear(), refused("10.244.2.1", Refusal::HostUnreachable), clear());
    assert_eq!(there.pods(Some(true)), Located::RemoteForwarding, "the peer's own bridge does not find the pod");
    assert_eq!(seen_as(clear(), silent(), clear()).pods(Some(false)), Located::LocalRoute, "pods have another route");
    assert_eq!(seen_as(clear(), silent(), clear()).pods(None), Located::RemoteForwarding);
}

#[test]
fn a_node_that_does_not_answer_locates_nothing() {
    let node = Example::reference()
        .verdict("master-2", Plane::Underlay, silent())
        .verdict("master-2", Plane::Overlay, silent())
        .verdict("master-2", Plane::Pod, silent());
    let signature = Signature::of(&node.snapshot(), "master-2", Family::Ipv4);
    assert_eq!((signature.underlay, signature.outer), (Some(Told::Silent), Some(Told::Silent)));
    assert_eq!([signature.tunnel(Some(true)), signature.pods(Some(true))], [Located::Unknown; 2]);
}

#[test]
fn what_was_not_asked_counts_for_nothing() {
    let lost = || Example::reference().verdict("master-2", Plane::Overlay, silent());
    for outer in [Fact::Absent, Fact::Unread(no_right())] {
        let node = lost().outer_fact("master-2", outer).snapshot();
        let signature = Signature::of(&node, "master-2", Family::Ipv4);
        assert_eq!((signature.outer, signature.tunnel(Some(true))), (None, Located::Unknown));
    }
    let node = Example::reference().unmeasured("master-2", Plane::Overlay, no_right());
    let unmeasured =
        Signature::of(&node.verdict("master-2", Plane::Pod, silent()).snapshot(), "master-2", Family::Ipv4);
    assert_eq!((unmeasured.overlay, unmeasured.pods(Some(true))), (None, Located::Unknown));
}

#[test]
fn answers_that_this_node_takes_prove_nothing_of_the_way() {
    let node = Example::reference()
        .verdict("master-2", Plane::Overlay, silent())
        .outer_verdict("master-2", silent())
        .outer_verdict("master-3", silent());
    let signature = Signature::of(&node.snapshot(), "master-2", Family::Ipv4);
    assert_eq!((signature.outer, signature.tunnel(Some(true))), (None, Located::Unknown), "master-3's tunnel delivers");
}

#[test]
fn each_family_of_pods_is_looked_at_by_itself() {
    let node = Example::dual("fd00::12").verdict_at("fd00:244:2::2", silent()).snapshot();
    let (four, six) = (Signature::of(&node, "master-2", Family::Ipv4), Signature::of(&node, "master-2", Family::Ipv6));
    assert_eq!((four.pod, six.pod), (Some(Told::Answers), Some(Told::Silent)));
    assert_eq!(four.underlay, Some(Told::Answers), "the node's address is of another family");
    assert_eq!(
        (six.overlay, six.pods(Some(true))),
        (None, Located::Unknown),
        "nothing of its tunnel was asked in that family"
    );
}

#[test]
fn a_tunnel_of_ipv6_is_held_against_the_nodes_address_of_ipv6() {
    let node = Example::two_tunnels().verdict_at("fd00::12", silent()).snapshot();
    let (four, six) = (Signature::of(&node, "master-2", Family::Ipv4), Signature::of(&node, "master-2", Family::Ipv6));
    assert_eq!((four.underlay, six.underlay), (Some(Told::Answers), Some(Told::Silent)));
}
