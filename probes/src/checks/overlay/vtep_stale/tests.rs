//! What is left over, and what is in use though it may not look so.

use super::*;
use crate::fact::{Fact, Source};
use crate::kernel::{FdbEntry, Neighbour};
use crate::snapshot::example::{Example, failed, ip};

const STRANGER: Mac = Mac([0x66, 0, 0, 0, 0, 0x99]);

fn judge(example: &Example) -> Judgement<Evidence> {
    VtepStale::judge(&example.snapshot()).unwrap()
}

fn told(example: &Example) -> (Severity, String) {
    let judgement = judge(example);
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!(raised.subject, Subject::Link("vxlan.calico".into()));
    (raised.severity, VtepStale::summary(&raised.subject, &raised.evidence))
}

fn quiet(example: &Example) -> bool {
    judge(example).raised.is_empty()
}

fn forward(mut node: Example, mac: Mac, to: &str, permanent: bool) -> Example {
    let link = node.index("vxlan.calico");
    let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
    forwarding.push(FdbEntry { link, mac, destination: Some(ip(to)), permanent });
    node
}

fn neighbour(mut node: Example, address: &str, mac: Option<Mac>, state: NeighbourState) -> Example {
    let link = node.index("vxlan.calico");
    let Fact::Known(neighbours) = &mut node.tables.neighbours else { unreachable!() };
    neighbours.push(Neighbour { link, address: ip(address), mac, state, external: false });
    node
}

#[test]
fn a_tunnel_without_leftovers_is_quiet() {
    for node in [Example::reference(), Example::flannel(), Example::two_tunnels(), Example::dual("fd00::12")] {
        assert!(quiet(&node));
    }
}

#[test]
fn a_forwarding_entry_that_no_neighbour_has_is_left_over() {
    let node = forward(Example::reference(), STRANGER, "10.0.0.14", true);
    let (severity, summary) = told(&node);
    assert_eq!(severity, Severity::Info);
    assert_eq!(
        summary,
        "vxlan.calico keeps 1 entry that nothing uses: `66:00:00:00:00:99 dev vxlan.calico dst 10.0.0.14 self permanent` \
         (no neighbour has that hardware address)."
    );
    let raised = judge(&node).raised.remove(0);
    let [Fix::VtepForgotten { remove, .. }] = &VtepStale::fixes(&raised.subject, &raised.evidence)[..] else {
        panic!("one fix")
    };
    assert_eq!(*remove, ["bridge fdb del 66:00:00:00:00:99 dev vxlan.calico dst 10.0.0.14 self"]);
    assert!(quiet(&forward(Example::reference(), STRANGER, "10.0.0.14", false)), "the kernel lets go of it");
}

#[test]
fn the_entry_of_a_peer_that_lacks_its_neighbour_is_that_peers() {
    let mut node = Example::reference();
    let Fact::Known(neighbours) = &mut node.tables.neighbours else { unreachable!() };
    neighbours.remove(0);
    assert!(quiet(&node));
    let mut node = Example::reference();
    let Fact::Known(neighbours) = &mut node.tables.neighbours else { unreachable!() };
    neighbours[0].mac = Some(STRANGER);
    assert!(quiet(&node), "and that of one with another neighbour entry");
}

#[test]
fn a_neighbour_that_nothing_leads_to_is_left_over() {
    let left = |mac, state| neighbour(Example::reference(), "10.244.9.0", mac, state);
    let (severity, summary) = told(&left(Some(STRANGER), NeighbourState::Permanent));
    assert_eq!(severity, Severity::Info);
    assert!(
        summary.contains("`10.244.9.0 dev vxlan.calico lladdr 66:00:00:00:00:99 PERMANENT` (no route"),
        "{summary}"
    );
    assert!(quiet(&left(None, NeighbourState::Failed)), "the kernel made it, and does nothing with it");
    assert!(quiet(&left(Some(STRANGER), NeighbourState::Stale)));
}

#[test]
fn a_neighbour_that_is_forwarded_or_routed_to_is_in_use() {
    let node = || neighbour(Example::reference(), "10.244.9.0", Some(STRANGER), NeighbourState::Permanent);
    assert!(quiet(&forward(node(), STRANGER, "10.0.0.14", true)), "CrossSubnet keeps it so");
    assert!(quiet(&node().route("10.244.9.0", 26, Some("10.244.9.0"), "vxlan.calico")));
}

#[test]
fn a_neighbour_that_the_operator_names_is_a_peers() {
    let mut node = neighbour(Example::reference(), "10.244.9.0", Some(STRANGER), NeighbourState::Permanent);
    node.peers[0].overlay = ip("10.244.9.0").into();
    assert!(quiet(&node));
}

#[test]
fn two_routes_to_one_prefix_contradict_each_other() {
    let node = Example::reference().route("10.244.2.0", 26, Some("10.244.3.0"), "vxlan.calico");
    let (severity, summary) = told(&node);
    assert_eq!(severity, Severity::Warning);
    assert_eq!(
        summary,
        "2 routes of vxlan.calico lead to 10.244.2.0/26, and only `10.244.2.0/26 via 10.244.2.0 dev vxlan.calico` is \
         taken."
    );
    let other = Example::reference().route("10.244.2.0", 27, Some("10.244.3.0"), "vxlan.calico");
    assert!(quiet(&other), "a smaller prefix is borrowed from the larger one");
    let same = Example::reference().route("10.244.2.0", 26, Some("10.244.2.0"), "vxlan.calico");
    assert!(quiet(&same), "by the same gateway");
}

#[test]
fn the_route_of_the_lower_metric_is_the_one_that_is_taken() {
    let mut node = Example::reference().route("10.244.2.0", 26, Some("10.244.3.0"), "vxlan.calico");
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    routes
        .iter_mut()
        .filter(|route| route.hops[0].gateway == Some(ip("10.244.2.0")))
        .for_each(|route| route.priority = 9);
    assert!(told(&node).1.contains("only `10.244.2.0/26 via 10.244.3.0"));
}

#[test]
fn a_tunnel_that_floods_or_is_down_is_left_alone() {
    let node = || forward(Example::reference(), STRANGER, "10.0.0.14", true);
    assert!(quiet(&forward(node(), Mac([0; 6]), "10.0.0.12", true)));
    assert!(quiet(&node().with("vxlan.calico", |link| link.up = false)));
}

#[test]
fn a_table_that_could_not_be_read_is_not_empty() {
    let mut node = forward(Example::reference(), STRANGER, "10.0.0.14", true);
    node.tables.neighbours = Fact::Unread(failed(Source::Neighbours));
    assert!(VtepStale::judge(&node.snapshot()).is_err());
    let mut node = neighbour(Example::reference(), "10.244.9.0", Some(STRANGER), NeighbourState::Permanent);
    node.tables.routes = Fact::Unread(failed(Source::Routes));
    assert!(VtepStale::judge(&node.snapshot()).is_err());
}

#[test]
fn what_a_control_plane_keeps_is_left_over_and_what_is_no_nodes_address_is_not() {
    let mut kept = neighbour(Example::reference(), "10.244.9.0", Some(STRANGER), NeighbourState::Stale);
    assert!(quiet(&kept), "the kernel lets go of it");
    let Fact::Known(neighbours) = &mut kept.tables.neighbours else { unreachable!() };
    neighbours.last_mut().unwrap().external = true;
    assert!(told(&kept).1.contains("10.244.9.0"));
    let permanent = |address, mac| neighbour(Example::reference(), address, Some(mac), NeighbourState::Permanent);
    assert!(quiet(&permanent("224.0.0.251", STRANGER)), "a group");
    assert!(quiet(&permanent("10.244.9.0", Mac([0xff; 6]))), "everybody");
}
