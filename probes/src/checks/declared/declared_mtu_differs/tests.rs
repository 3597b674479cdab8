//! Machines that are, and are not, what the operator wrote down.

use super::*;
use crate::fact::{Fact, Source};
use crate::kernel::Link;
use crate::path::{PathKey, Plane};
use crate::snapshot::example::{Example, black_hole, failed, ip, limited};

fn judge(example: &Example, underlay: Option<u32>, overlay: Option<u32>) -> Judgement<Evidence> {
    let mut node = example.snapshot();
    (node.expect.underlay_mtu, node.expect.overlay_mtu) = (underlay.map(IpSize::new), overlay.map(IpSize::new));
    DeclaredMtuDiffers::judge(&node).unwrap()
}

fn subjects(judgement: &Judgement<Evidence>) -> Vec<String> {
    judgement.raised.iter().map(|raised| raised.subject.to_string()).collect()
}

fn told(judgement: &Judgement<Evidence>) -> String {
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    DeclaredMtuDiffers::summary(&raised.subject, &raised.evidence)
}

fn sized(node: Example, links: &[&str], mtu: u32) -> Example {
    links.iter().fold(node, |node, link| node.with(link, |link| link.mtu = LinkMtu::new(mtu)))
}

#[test]
fn equal_to_the_byte_is_quiet_and_one_byte_less_or_more_is_told() {
    assert!(judge(&Example::reference(), Some(1500), Some(1450)).raised.is_empty());
    assert!(judge(&Example::reference(), None, None).raised.is_empty(), "nothing is declared");
    let less = judge(&sized(Example::reference(), &["vmbr1"], 1499), Some(1500), None);
    assert_eq!(told(&less), "vmbr1 has an MTU of 1499 B; expect.underlay_mtu in the configuration says 1500 B.");
    let more = judge(&sized(Example::reference(), &["vmbr1"], 1501), Some(1500), None);
    let breaks: Vec<_> = more.raised[0].breaks.iter().map(ToString::to_string).collect();
    assert_eq!(
        (subjects(&more), breaks),
        (vec!["vmbr1".into()], vec!["enp5s0".into()]),
        "what is too large breaks nothing, but makes its port too small"
    );
    for overlay in [1449, 1451] {
        assert_eq!(subjects(&judge(&Example::reference(), None, Some(overlay))), ["vxlan.calico"]);
    }
}

#[test]
fn the_lowest_link_that_is_too_small_is_told_and_a_larger_one_below_is_none() {
    let both = judge(&sized(Example::reference(), &["vmbr1", "enp5s0"], 1400), Some(1500), None);
    assert_eq!(
        told(&both),
        "enp5s0 has an MTU of 1400 B, and vmbr1 above it follows; expect.underlay_mtu in the configuration says 1500 B."
    );
    assert_eq!(subjects(&judge(&sized(Example::reference(), &["enp5s0"], 1400), Some(1500), None)), ["enp5s0"]);
    assert!(judge(&sized(Example::reference(), &["enp5s0"], 9000), Some(1500), None).raised.is_empty());
}

#[test]
fn links_that_lead_to_no_peer_may_have_any_mtu() {
    let node = sized(Example::reference(), &["vmbr0", "enp4s0"], 9000);
    assert!(judge(&node, Some(1500), Some(1450)).raised.is_empty());
    let pod_bridge = sized(Example::flannel(), &["cni0", "veth0a1b2c3d"], 1400);
    assert!(judge(&pod_bridge, Some(1500), Some(1450)).raised.is_empty(), "pods' bridge is no underlay");
}

#[test]
fn a_gateway_that_stands_in_for_a_peer_tells_of_no_underlay() {
    let mut node = Example::empty().device("eth0", "device", 1500).address("eth0", "10.9.0.1", 24).peer(
        "gw",
        "eth0",
        "10.9.0.254",
    );
    node.peers[0].gateway = true;
    let judgement = judge(&node, Some(9000), None);
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    assert!(judgement.unread[0].1.to_string().contains("no link is known"));
}

#[test]
fn while_the_link_below_the_tunnel_is_down_the_way_round_is_not_judged() {
    let mut node = Example::reference().with("vmbr1", |link| (link.up, link.carrier) = (false, None));
    for peer in ["10.0.0.12", "10.0.0.13"] {
        let round = node.index("vmbr0");
        let Some(Fact::Known(route)) = node.lookups.get_mut(&ip(peer)) else { unreachable!() };
        route.hops[0].link = round;
    }
    assert!(judge(&sized(node, &["vmbr0"], 1400), Some(1500), None).raised.is_empty());
}

#[test]
fn a_route_that_says_less_than_its_link_is_told() {
    let mut node = Example::reference();
    let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.0.0.12")) else { unreachable!() };
    (route.mtu, route.destination, route.prefix) = (Some(IpSize::new(1400)), ip("10.0.0.0"), 24);
    let judgement = judge(&node, Some(1500), None);
    assert_eq!(
        told(&judgement),
        "The route to 10.0.0.0/24 by vmbr1 has an MTU of 1400 B; expect.underlay_mtu in the configuration says 1500 B."
    );
    assert_eq!(judgement.raised[0].breaks.len(), 1, "what goes through the tunnel to that peer");
    let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.0.0.12")) else { unreachable!() };
    route.mtu = Some(IpSize::new(1500));
    assert!(judge(&node, Some(1500), None).raised.is_empty(), "the same is not less");
}

#[test]
fn a_small_device_breaks_its_tunnel_and_paths_that_are_just_that_small() {
    let small = |verdict| {
        let node = sized(Example::reference(), &["enp5s0"], 1400).verdict("master-2", Plane::Underlay, verdict);
        judge(&node, Some(1500), None).raised.remove(0).breaks
    };
    let path = Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Underlay, address: ip("10.0.0.12") });
    for just in [black_hole(1404), black_hole(1400), limited(1400, None)] {
        assert!(small(just.clone()).contains(&path), "{just:?}");
    }
    for another in [black_hole(1399), black_hole(1405), limited(1000, Some("10.0.0.1"))] {
        assert!(!small(another.clone()).contains(&path), "{another:?}");
    }
    assert!(small(black_hole(1404)).contains(&Subject::Link("vxlan.calico".into())));
}

#[test]
fn a_tunnel_that_is_too_small_explains_pods_of_the_declared_mtu_and_no_larger_ones() {
    let node = sized(Example::reference(), &["vxlan.calico"], 1400);
    let tunnel = || Subject::Link("vxlan.calico".into());
    assert_eq!(judge(&node, None, Some(1450)).raised[0].breaks, [tunnel(), Subject::Pods]);
    let below = sized(node.clone(), &["enp5s0", "vmbr1"], 1400);
    assert_eq!(judge(&below, None, Some(1450)).raised[0].breaks, [Subject::Pods], "its headroom has another cause");
    let larger = node.pod("cali0badc0ffee1", 1500, "10.244.1.4");
    assert_eq!(judge(&larger, None, Some(1450)).raised[0].breaks, [tunnel()]);
}

#[test]
fn of_several_tunnels_one_of_the_declared_mtu_is_enough() {
    let two = Example::reference().vxlan("vxlan-v6.calico", 1430, Some("vmbr1"), "fd00::11").route(
        "fd10::",
        64,
        Some("fd10::1"),
        "vxlan-v6.calico",
    );
    assert!(judge(&two, None, Some(1450)).raised.is_empty());
    assert!(judge(&two, None, Some(1430)).raised.is_empty());
    assert_eq!(subjects(&judge(&two, None, Some(1400))), ["vxlan-v6.calico"], "the smallest");
}

#[test]
fn an_administrators_tunnel_is_no_overlay() {
    let site = |link: &mut Link| link.tunnel.as_mut().unwrap().remote = Some(ip("192.168.9.9"));
    let node = Example::reference().vxlan("site", 1300, Some("vmbr0"), "192.168.0.11").with("site", site);
    assert!(judge(&node, Some(1500), Some(1450)).raised.is_empty());
}

/// Routes lead straight to the peer; pods have links and no tunnel.
fn direct() -> Example {
    Example::empty()
        .device("eth0", "device", 1500)
        .address("eth0", "10.9.0.1", 24)
        .pod("cali1a2b3c4d5e6", 1500, "10.244.1.2")
        .pod("cali9f8e7d6c5b4", 1500, "10.244.1.3")
        .peer("b", "eth0", "10.9.0.2")
}

#[test]
fn without_a_tunnel_the_pods_have_the_declared_mtu() {
    assert!(judge(&direct(), None, Some(1500)).raised.is_empty());
    let mixed = judge(&sized(direct(), &["cali9f8e7d6c5b4"], 1450), None, Some(1500));
    assert_eq!((subjects(&mixed), &mixed.raised[0].breaks[..]), (vec!["pods".into()], &[Subject::Pods][..]));
    assert_eq!(
        told(&mixed),
        "Pods have an MTU of 1450 B (1) and 1500 B (1); expect.overlay_mtu in the configuration says 1500 B."
    );
    let pods = sized(Example::reference(), &["cali9f8e7d6c5b4"], 1400);
    assert!(judge(&pods, None, Some(1450)).raised.is_empty(), "a tunnel has it, and smaller pods fit");
}

/// Cilium: devices of 1,500, and the overhead in the routes to other nodes' pods.
fn cilium(mtu: Option<u32>) -> Example {
    let mut node = direct()
        .device("cilium_host", "veth", 1500)
        .vxlan("cilium_vxlan", 1500, None, "0.0.0.0")
        .with("cilium_vxlan", |link| link.tunnel.as_mut().unwrap().external = true)
        .route("10.244.2.0", 24, Some("10.244.1.1"), "cilium_host");
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    routes.last_mut().unwrap().mtu = mtu.map(IpSize::new);
    node
}

#[test]
fn cilium_has_it_in_its_routes() {
    assert!(judge(&cilium(Some(1450)), None, Some(1450)).raised.is_empty());
    let differs = judge(&cilium(Some(1400)), None, Some(1450));
    assert!(told(&differs).starts_with("The route to 10.244.2.0/24 by cilium_host has an MTU of 1400 B;"));
    let unsized_routes = judge(&cilium(None), None, Some(1450));
    assert_eq!((unsized_routes.raised.len(), unsized_routes.unread.len()), (0, 1));
}

#[test]
fn where_nothing_could_have_it_nothing_is_concluded() {
    let judgement = judge(&Example::empty(), Some(1500), Some(1450));
    let unread: Vec<_> = judgement.unread.iter().map(|(subject, _)| subject.to_string()).collect();
    assert_eq!(unread, ["expect.underlay_mtu", "expect.overlay_mtu"]);
    let mut down = Example::reference().with("vxlan.calico", |link| (link.up, link.carrier) = (false, None));
    down.tables.routes = Fact::Known(Vec::new());
    let judgement = judge(&down, None, Some(1400));
    assert!(judgement.unread[0].1.to_string().contains("vxlan.calico is down"), "{judgement:?}");
    let mut unread = Example::reference();
    unread.tables.links = Fact::Unread(failed(Source::Links));
    assert_eq!(DeclaredMtuDiffers::judge(&unread.snapshot()).unwrap_err(), failed(Source::Links));
}

/// Could fail by a setting's name that stands for nothing which was ever raised.
#[test]
fn what_was_told_of_the_operators_size_stays_while_it_cannot_be_judged() {
    let found = judge(&sized(Example::reference(), &["vxlan.calico"], 1400), None, Some(1450));
    let evidence = serde_json::to_value(&found.raised[0].evidence).unwrap();
    let none = judge(&Example::empty(), Some(1500), Some(1450));
    assert_eq!((none.unread.len(), none.kept.len()), (2, 2));
    assert!(none.kept.iter().any(|kept| kept.has(&evidence)));
}
