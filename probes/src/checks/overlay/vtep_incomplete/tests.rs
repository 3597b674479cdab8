//! Entries that are missing, and what only looks like it.

use super::*;
use crate::fact::{Fact, Source};
use crate::kernel::{FdbEntry, Neighbour, RouteKind};
use crate::snapshot::example::{Example, failed, ip, no_route, silent};
use crate::units::IpSize;

fn judge(example: &Example) -> Judgement<Evidence> {
    VtepIncomplete::judge(&example.snapshot()).unwrap()
}

/// What the one finding says is missing, and its sentence.
fn told(example: &Example) -> (Vec<Missing>, String) {
    let judgement = judge(example);
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!(raised.breaks, std::slice::from_ref(&raised.subject), "what is measured there is its consequence");
    (raised.evidence.missing.clone(), VtepIncomplete::summary(&raised.subject, &raised.evidence))
}

fn quiet(example: &Example) -> bool {
    judge(example).raised.is_empty()
}

pub(super) fn forwarding(example: &mut Example) -> &mut Vec<FdbEntry> {
    let Fact::Known(forwarding) = &mut example.tables.forwarding else { unreachable!() };
    forwarding
}

fn neighbours(example: &mut Example) -> &mut Vec<Neighbour> {
    let Fact::Known(neighbours) = &mut example.tables.neighbours else { unreachable!() };
    neighbours
}

fn without_forwarding() -> Example {
    let mut node = Example::reference();
    forwarding(&mut node).remove(0);
    node
}

/// The route into the tunnel is gone: the default route takes its packets.
fn without_route() -> Example {
    let mut node = Example::reference();
    let default = node.lookups[&crate::snapshot::setup::POD_GATEWAY].clone();
    for address in ["10.244.2.0", "10.244.2.2"] {
        node.lookups.insert(ip(address), default.clone());
    }
    node
}

#[test]
fn a_whole_tunnel_is_quiet() {
    for node in [Example::reference(), Example::flannel(), Example::two_tunnels(), Example::dual("fd00::12")] {
        assert!(quiet(&node));
    }
}

#[test]
fn a_missing_forwarding_entry_is_named_with_the_line_that_adds_it() {
    let node = without_forwarding();
    let (missing, summary) = told(&node);
    assert_eq!(missing, [Missing::Forwarding]);
    assert_eq!(
        summary,
        "vxlan.calico does not lead to master-2 (10.244.2.0): there is no forwarding entry for its hardware address \
         66:00:00:00:00:00; packets that are encapsulated here without it are answered."
    );
    let raised = judge(&node).raised.remove(0);
    assert_eq!(raised.evidence.forwarding.by, "bridge fdb show dev vxlan.calico | grep 66:00:00:00:00:00");
    assert_eq!(raised.evidence.forwarding.line, None);
    let neighbour = raised.evidence.neighbour.line.as_deref();
    assert_eq!(neighbour, Some("10.244.2.0 dev vxlan.calico lladdr 66:00:00:00:00:00 PERMANENT"));
    let entries = VtepIncomplete::fixes(&raised.subject, &raised.evidence);
    let entry = VtepEntry::Forwarding { mac: Some("66:00:00:00:00:00".into()), to: Some(ip("10.0.0.12")) };
    assert_eq!(entries, [Fix::VtepEntries { tunnel: "vxlan.calico".into(), entries: vec![entry] }]);
}

#[test]
fn a_missing_neighbour_is_named_with_the_address_that_is_forwarded() {
    let mut node = Example::reference();
    neighbours(&mut node).retain(|entry| entry.address != ip("10.244.2.0"));
    assert_eq!(told(&node).0, [Missing::Neighbour]);
    let evidence = judge(&node).raised.remove(0).evidence;
    assert_eq!((evidence.mac.as_deref(), evidence.neighbour.line), (Some("66:00:00:00:00:00"), None));
    let line = "66:00:00:00:00:00 dev vxlan.calico dst 10.0.0.12 self permanent";
    assert_eq!(evidence.forwarding.line.as_deref(), Some(line));
}

#[test]
fn a_neighbour_without_hardware_address_is_as_good_as_missing() {
    for (state, missing) in [
        (NeighbourState::Failed, Missing::NeighbourFailed),
        (NeighbourState::Incomplete, Missing::Neighbour),
        (NeighbourState::None, Missing::Neighbour),
    ] {
        let mut node = Example::reference();
        (neighbours(&mut node)[0].state, neighbours(&mut node)[0].mac) = (state, None);
        assert_eq!(told(&node).0, [missing], "{state:?}");
    }
    let mut node = Example::reference();
    (neighbours(&mut node)[0].state, neighbours(&mut node)[0].mac) = (NeighbourState::Failed, None);
    assert_eq!(judge(&node).raised[0].evidence.neighbour.line.as_deref(), Some("10.244.2.0 dev vxlan.calico FAILED"));
}

#[test]
fn entries_of_another_form_are_there() {
    let valid = [NeighbourState::Stale, NeighbourState::Reachable, NeighbourState::Delay, NeighbourState::Probe];
    for state in valid.into_iter().chain([NeighbourState::Noarp]) {
        let mut node = Example::reference();
        neighbours(&mut node)[0].state = state;
        assert!(quiet(&node), "{state:?}");
    }
    let mut node = Example::reference();
    forwarding(&mut node)[0].permanent = false;
    assert!(quiet(&node));
    let mut node = Example::reference();
    forwarding(&mut node)[0].destination = None;
    assert!(quiet(&node), "a nexthop group");
}

#[test]
fn a_tunnel_with_another_way_to_find_peers_needs_no_entries() {
    let with = |change: fn(&mut crate::kernel::Link)| quiet(&without_forwarding().with("vxlan.calico", change));
    assert!(!with(|_| ()));
    fn tunnel(link: &mut crate::kernel::Link) -> &mut crate::kernel::Tunnel {
        link.tunnel.as_mut().unwrap()
    }
    assert!(with(|link| tunnel(link).remote = Some(ip("10.0.0.12"))), "a fixed far end");
    assert!(with(|link| tunnel(link).remote = Some(ip("239.1.1.1"))), "a multicast group");
    assert!(with(|link| tunnel(link).learning = true));
    assert!(with(|link| tunnel(link).asks = true), "a daemon is asked");
    assert!(with(|link| tunnel(link).external = true), "collect-metadata mode");
    assert!(with(|link| link.master = Some(crate::kernel::LinkIndex(1))), "a port of a bridge");
    assert!(with(|link| link.up = false), "down: another code's");
    let mut node = without_forwarding();
    let link = node.index("vxlan.calico");
    let floods = FdbEntry { link, mac: Mac([0; 6]), destination: Some(ip("10.0.0.12")), permanent: true };
    forwarding(&mut node).push(floods);
    assert!(quiet(&node), "an all-zero entry");
}

#[test]
fn a_route_that_gave_way_to_the_default_route_is_missing_once_nothing_answers() {
    assert!(quiet(&without_route()), "it is answered: somebody else routes it");
    let lost = without_route().verdict("master-2", Plane::Overlay, silent());
    assert_eq!(told(&lost).0, [Missing::Route]);
    let evidence = judge(&lost).raised.remove(0).evidence;
    assert_eq!(evidence.route.by, "ip route get 10.244.2.0");
    assert_eq!(evidence.route.line.as_deref(), Some("default via 192.168.0.1 dev vmbr0"));
    let fixes = VtepIncomplete::fixes(&judge(&lost).raised[0].subject, &evidence);
    let [Fix::VtepEntries { entries, .. }] = fixes.as_slice() else { panic!("{fixes:?}") };
    assert_eq!(*entries, [VtepEntry::Route { to: ip("10.244.2.0") }]);
}

#[test]
fn no_route_at_all_and_one_that_drops_are_missing_at_once() {
    let mut node = without_route();
    node.lookups.insert(ip("10.244.2.0"), Fact::Absent);
    assert_eq!(told(&node).0, [Missing::Route]);
    let mut node = Example::reference();
    let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.244.2.0")) else { unreachable!() };
    (route.kind, route.hops) = (RouteKind::Blackhole, Vec::new());
    assert_eq!(judge(&node).raised[0].evidence.route.line.as_deref(), Some("blackhole 10.244.2.0/26"));
}

#[test]
fn a_pod_that_no_route_leads_to_is_missed_beside_a_tunnel_address_that_one_does() {
    let mut node = Example::reference().verdict("master-2", Plane::Pod, no_route());
    node.lookups.insert(ip("10.244.2.2"), Fact::Absent);
    assert_eq!(told(&node).0, [Missing::Route]);
    assert_eq!(judge(&node).raised[0].evidence.route.by, "ip route get 10.244.2.2");
}

#[test]
fn a_route_of_the_peers_own_is_crosssubnet_and_needs_nothing_of_the_tunnel() {
    let mut node = Example::reference().verdict("master-2", Plane::Overlay, silent());
    let direct = node.lookups[&ip("10.0.0.12")].clone();
    node.lookups.insert(ip("10.244.2.0"), direct);
    neighbours(&mut node).remove(0);
    forwarding(&mut node).remove(0);
    assert!(quiet(&node), "even where it is lost: that is another trouble");
}

#[test]
fn a_named_peer_without_any_entry_lacks_them_all_and_one_that_only_the_tables_knew_is_gone() {
    let gone = |name: &str| {
        let mut node = without_route().verdict("master-2", Plane::Overlay, silent());
        neighbours(&mut node).remove(0);
        forwarding(&mut node).remove(0);
        node.peers[0].tunnels.clear();
        node = node.verdict(name, Plane::Overlay, silent());
        node.peers[0].name = name.into();
        node
    };
    assert_eq!(told(&gone("master-2")).0, [Missing::Route, Missing::Neighbour, Missing::Forwarding]);
    assert!(quiet(&gone("10.0.0.12")));
}

#[test]
fn what_is_left_of_an_unnamed_node_is_no_half_peer_and_two_entries_of_three_are() {
    let unrouted = || {
        let mut node = without_route().verdict("10.0.0.12", Plane::Overlay, silent());
        node.peers[0].name = "10.0.0.12".into();
        node
    };
    assert_eq!(told(&unrouted()).0, [Missing::Route]);
    let mut node = unrouted();
    forwarding(&mut node).remove(0);
    assert!(quiet(&node), "its neighbour alone is left");
}

#[test]
fn a_peer_whose_node_is_lost_has_another_trouble() {
    assert!(quiet(&without_forwarding().verdict("master-2", Plane::Underlay, silent())));
}

#[test]
fn an_entry_under_another_hardware_address_is_the_other_codes() {
    let mut node = Example::reference();
    forwarding(&mut node)[0].mac = Mac([0x66, 0, 0, 0, 0, 0x99]);
    assert!(quiet(&node));
}

#[test]
fn each_family_has_its_own_entries() {
    let mut node = Example::two_tunnels();
    let six = node.index("vxlan-v6.calico");
    forwarding(&mut node).retain(|entry| entry.link != six);
    let judgement = judge(&node);
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    let evidence = &raised.evidence;
    assert_eq!((evidence.tunnel.as_str(), evidence.address), ("vxlan-v6.calico", ip("fd00:244:2::")));
    assert_eq!(evidence.underlay, Some(ip("fd00::12")));
}

#[test]
fn a_table_that_could_not_be_read_is_not_missing_an_entry() {
    for table in ["neighbours", "forwarding"] {
        let mut node = Example::reference();
        match table {
            "neighbours" => node.tables.neighbours = Fact::Unread(failed(Source::Neighbours)),
            _ => node.tables.forwarding = Fact::Unread(failed(Source::Fdb)),
        }
        assert!(VtepIncomplete::judge(&node.snapshot()).is_err(), "{table}");
    }
    let mut node = Example::reference();
    node.lookups.insert(ip("10.244.2.0"), Fact::Unread(failed(Source::Lookup)));
    let judgement = judge(&node);
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
}

#[test]
fn the_signature_is_evidence_only_where_it_was_measured() {
    let node = without_forwarding().outer_verdict("master-2", silent());
    assert!(!told(&node).1.contains("answered"));
    let clear = crate::path::Verdict::Clear { mtu: IpSize::new(1500) };
    assert!(told(&without_forwarding().outer_verdict("master-2", clear)).1.contains("answered"));
}
