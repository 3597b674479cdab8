//! Machines with a link down, each beside the one where that is no fault.

use super::*;
use crate::fact::Fact;
use crate::kernel::{Tunnel, TunnelKind};
use crate::snapshot::example::{Example, failed, ip, no_right, silent};
use crate::units::Family;

fn judge(example: &Example) -> Judgement<Evidence> {
    LinkDown::judge(&example.snapshot()).unwrap()
}

fn subjects(example: &Example) -> Vec<(String, Severity)> {
    judge(example).raised.iter().map(|raised| (raised.subject.to_string(), raised.severity)).collect()
}

fn no_carrier(link: &mut Link) {
    link.carrier = Some(false);
}

fn set_down(link: &mut Link) {
    (link.up, link.carrier) = (false, None);
}

fn critical(link: &str) -> Vec<(String, Severity)> {
    vec![(link.into(), Severity::Critical)]
}

#[test]
fn healthy_machines_are_quiet() {
    assert_eq!(subjects(&Example::reference()), []);
    assert_eq!(subjects(&Example::flannel()), []);
}

#[test]
fn a_dead_nic_is_one_finding_that_names_the_bridge_and_the_peers() {
    let node = Example::reference().with("enp5s0", set_down).with("vmbr1", no_carrier);
    let node = ["master-2", "master-3"]
        .iter()
        .fold(node, |node, peer| Plane::ALL.iter().fold(node, |node, &plane| node.verdict(peer, plane, silent())));
    let judgement = judge(&node);
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((&raised.subject, raised.severity), (&Subject::Link("enp5s0".into()), Severity::Critical));
    assert_eq!(raised.evidence.carries, ["vmbr1", "vxlan.calico"]);
    assert_eq!(
        LinkDown::summary(&raised.subject, &raised.evidence),
        "enp5s0 is set down, so nothing passes vmbr1 and vxlan.calico above it or reaches master-2 and master-3."
    );
    assert_eq!(raised.evidence.also_down[0].link, "vmbr1");
    assert_eq!(raised.evidence.peers, ["master-2", "master-3"]);
    assert_eq!(raised.breaks.len(), 7, "three planes of two peers, and whatever else hangs on the link itself");
}

#[test]
fn a_guest_that_answers_on_the_same_bridge_is_not_lost_with_the_nic() {
    let node = Example::reference().with("enp5s0", set_down).peer("guest", "vmbr1", "10.0.0.101");
    let node = node.verdict("master-2", Plane::Underlay, silent()).verdict("master-2", Plane::Overlay, silent());
    let judgement = judge(&node.verdict("master-2", Plane::Pod, silent()));
    assert_eq!(judgement.raised[0].evidence.peers, ["master-2"]);
}

#[test]
fn peers_are_known_by_their_subnet_when_the_route_to_them_is_gone() {
    let mut node = Example::reference().with("vmbr1", set_down);
    node.lookups.clear();
    let judgement = judge(&node);
    assert_eq!(judgement.raised[0].subject, Subject::Link("vmbr1".into()));
    assert_eq!(judgement.raised[0].evidence.peers, ["master-2", "master-3"]);
}

#[test]
fn a_tunnel_that_is_set_down_is_raised() {
    assert_eq!(subjects(&Example::reference().with("vxlan.calico", set_down)), critical("vxlan.calico"));
}

#[test]
fn a_tunnel_without_address_and_entries_of_its_own_is_missed_as_well() {
    let external = |link: &mut Link| {
        let tunnel = link.tunnel.as_mut().unwrap();
        (tunnel.external, tunnel.local, tunnel.df) = (true, None, None);
    };
    let cilium = Example::flannel().alone().vxlan("cilium_vxlan", 1500, None, "0.0.0.0").with("cilium_vxlan", external);
    assert_eq!(subjects(&cilium), []);
    assert_eq!(subjects(&cilium.with("cilium_vxlan", set_down)), critical("cilium_vxlan"));
}

#[test]
fn a_tunnel_that_lost_its_routes_still_tells_whom_it_led_to() {
    let mut node = Example::reference().with("vxlan.calico", set_down);
    node.tables.neighbours = Fact::Known(Vec::new().into());
    for address in ["10.244.2.0", "10.244.2.2", "10.244.3.0", "10.244.3.2"] {
        node.lookups.insert(ip(address), node.lookups[&ip("10.0.0.12")].clone());
    }
    let judgement = judge(&node);
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!(
        LinkDown::summary(&raised.subject, &raised.evidence),
        "vxlan.calico is set down, so pods here reach none on master-2 and master-3."
    );
    let count = |plane| {
        let broken = raised.breaks.iter().filter(|one| matches!(one, Subject::Path { plane: of, .. } if *of == plane));
        broken.count()
    };
    assert_eq!(Plane::ALL.map(count), [0, 2, 2], "the nodes themselves are reached");
    node.tables.forwarding = Fact::Known(Vec::new().into());
    assert_eq!(judge(&node).raised[0].evidence.peers, ["master-2", "master-3"], "it is remembered who was behind it");
}

#[test]
fn links_without_a_part_in_the_way_may_be_down() {
    let tunnel = Tunnel::of(TunnelKind::Ipip);
    let node = Example::reference()
        .with("enp4s0", set_down)
        .device("enp6s0", "device", 1500)
        .with("enp6s0", set_down)
        .device("docker0", "bridge", 1500)
        .with("docker0", no_carrier)
        .device("tunl0", "ipip", 1480)
        .with("tunl0", |link| (link.up, link.carrier, link.tunnel) = (false, None, Some(tunnel)))
        .device("tap100i0", "tun", 1500)
        .port("tap100i0", "vmbr1")
        .with("tap100i0", no_carrier)
        .with("cali1a2b3c4d5e6", set_down);
    assert_eq!(subjects(&node), []);
}

#[test]
fn a_pod_bridge_may_lack_carrier_but_not_be_set_down() {
    assert_eq!(subjects(&Example::flannel().with("cni0", no_carrier)), []);
    assert_eq!(subjects(&Example::flannel().with("cni0", set_down)), critical("cni0"));
}

fn bonded() -> Example {
    Example::empty()
        .device("eth0", "device", 1500)
        .device("eth1", "device", 1500)
        .device("bond0", "bond", 1500)
        .port("eth0", "bond0")
        .port("eth1", "bond0")
        .address("bond0", "10.9.0.1", 24)
        .peer("b", "bond0", "10.9.0.2")
}

#[test]
fn a_bond_that_lost_one_member_is_a_warning_that_silences_nothing() {
    let judgement = judge(&bonded().with("eth1", no_carrier));
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((&raised.subject, raised.severity), (&Subject::Link("eth1".into()), Severity::Warning));
    assert!(raised.causes == crate::checks::Causes::Nothing && raised.evidence.spares == ["eth0"]);
    assert_eq!(LinkDown::summary(&raised.subject, &raised.evidence), "eth1 has no carrier; bond0 works on by eth0.");
}

#[test]
fn a_bond_that_lost_all_members_is_down_itself() {
    let node = bonded().with("eth0", no_carrier).with("eth1", set_down).with("bond0", no_carrier);
    let node = node.verdict("b", Plane::Underlay, silent());
    assert_eq!(subjects(&node), critical("bond0"));
    let raised = &judge(&node).raised[0];
    assert_eq!(
        LinkDown::summary(&raised.subject, &raised.evidence),
        "bond0 has no way to the wire (eth0 has no carrier and eth1 is set down), so nothing reaches b."
    );
    assert_eq!(LinkDown::fixes(&raised.subject, &raised.evidence).len(), 2, "one for each member");
}

#[test]
fn a_leg_of_a_route_with_two_next_hops_is_a_spare_while_its_peers_answer() {
    let mut node = Example::empty()
        .device("eth0", "device", 1500)
        .device("eth1", "device", 1500)
        .peer("b", "eth0", "10.9.9.9")
        .with("eth0", set_down);
    assert_eq!(subjects(&node), critical("eth0"), "the only next hop");
    let other = Hop { gateway: Some(ip("10.1.2.2")), link: node.index("eth1") };
    let both = node.lookups[&ip("10.9.9.9")].clone().map(|mut route| {
        route.hops.push(other);
        route
    });
    node.lookups.insert(ip("10.9.9.9"), both);
    assert_eq!(subjects(&node), [("eth0".into(), Severity::Warning)]);
    assert_eq!(subjects(&node.verdict("b", Plane::Underlay, silent())), critical("eth0"), "it is missed");
}

#[test]
fn a_port_of_a_bridge_with_another_way_out_counts_when_a_peer_is_lost() {
    let spare =
        Example::reference().device("enp7s0", "device", 1500).port("enp7s0", "vmbr1").with("enp7s0", no_carrier);
    assert_eq!(subjects(&spare), [], "every peer answers");
    let lost = spare.clone().verdict("master-3", Plane::Underlay, silent());
    assert_eq!(subjects(&lost), critical("enp7s0"));
    let blind =
        spare.unmeasured("master-2", Plane::Underlay, no_right()).unmeasured("master-3", Plane::Underlay, no_right());
    let judgement = judge(&blind);
    assert!(judgement.raised.is_empty() && judgement.unread[0].0 == Subject::Link("enp7s0".into()));
}

#[test]
fn links_that_could_not_be_read_conclude_nothing() {
    let mut node = Example::reference();
    node.tables.links = Fact::Unread(failed(Source::Links));
    assert_eq!(LinkDown::judge(&node.snapshot()).unwrap_err(), failed(Source::Links));
}

#[test]
fn a_tunnel_takes_nothing_away_from_what_another_carries_to_the_same_peer() {
    for (link, family, lost) in [
        ("vxlan.calico", Family::Ipv4, ["10.244.2.0", "10.244.2.2"]),
        ("vxlan-v6.calico", Family::Ipv6, ["fd00:244:2::", "fd00:244:2::2"]),
    ] {
        let node = Example::two_tunnels().with(link, set_down);
        let node = lost.iter().fold(node, |node, address| node.verdict_at(address, silent()));
        let broken = judge(&node).raised.remove(0).breaks;
        let path = |plane| Subject::Path { peer: "master-2".into(), plane, family };
        assert_eq!(broken, [path(Plane::Overlay), path(Plane::Pod), Subject::Link(link.into())]);
    }
}
