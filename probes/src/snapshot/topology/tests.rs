//! Topologies of whole machines, each read off tables as a kernel would show them.

use super::*;
use crate::kernel::{Tunnel, TunnelKind};
use crate::snapshot::Snapshot;
use crate::snapshot::example::{Example, ip};
use crate::units::LinkMtu;

fn role(node: &Snapshot, link: &str) -> Role {
    node.topology.role(node.topology.index_of(link).unwrap())
}

pub(super) fn assert_roles(node: &Snapshot, expected: &[(&str, Role)]) {
    for &(link, expected) in expected {
        assert_eq!(role(node, link), expected, "{link}");
    }
}

pub(super) fn names(node: &Snapshot, links: impl IntoIterator<Item = LinkIndex>) -> Vec<String> {
    links.into_iter().map(|index| node.tables.link(index).unwrap().name.clone()).collect()
}

pub(super) fn chain(node: &Snapshot, link: &str) -> Vec<String> {
    names(node, node.topology.chain(node.topology.index_of(link).unwrap()))
}

const REFERENCE: [(&str, Role); 8] = [
    ("enp5s0", Role::Underlay),
    ("vmbr1", Role::Bridge),
    ("vxlan.calico", Role::Tunnel),
    ("cali1a2b3c4d5e6", Role::Pod),
    ("cali9f8e7d6c5b4", Role::Pod),
    ("vmbr0", Role::Other),
    ("enp4s0", Role::Other),
    ("lo", Role::Other),
];

#[test]
fn the_reference_has_one_underlay_and_leaves_management_alone() {
    let node = Example::reference().snapshot();
    assert_roles(&node, &REFERENCE);
    assert_eq!(chain(&node, "vxlan.calico"), ["vxlan.calico", "vmbr1", "enp5s0"]);
}

#[test]
fn roles_stay_when_the_nics_are_veths_of_a_container() {
    let elsewhere = |link: &mut Link| (link.kind, link.other_namespace) = ("veth".into(), Some(9));
    let node = Example::reference().with("enp5s0", elsewhere).with("enp4s0", elsewhere).snapshot();
    assert_roles(&node, &REFERENCE);
    assert_eq!(chain(&node, "vmbr1"), ["vmbr1", "enp5s0"]);
}

#[test]
fn roles_stay_when_the_underlay_is_down_and_its_routes_are_gone() {
    let mut example = Example::reference().with("vmbr1", |link| link.up = false);
    for peer in ["10.0.0.12", "10.0.0.13"] {
        let by_gateway = example.lookups[&ip(peer)].clone().map(|mut route| {
            route.hops[0] = crate::kernel::Hop { gateway: Some(ip("192.168.0.1")), link: example.index("vmbr0") };
            route
        });
        example.lookups.insert(ip(peer), by_gateway);
    }
    let node = example.snapshot();
    assert_roles(&node, &[("enp5s0", Role::Underlay), ("vmbr1", Role::Bridge), ("vxlan.calico", Role::Tunnel)]);
}

#[test]
fn a_veth_that_is_the_nic_is_no_pod_link() {
    let node = Example::flannel().snapshot();
    assert_roles(
        &node,
        &[("eth0", Role::Underlay), ("flannel.1", Role::Tunnel), ("cni0", Role::Bridge), ("veth0a1b2c3d", Role::Pod)],
    );
    assert_eq!(role(&Example::flannel().alone().snapshot(), "eth0"), Role::Underlay, "the tunnel is bound to it");
    assert_eq!(chain(&node, "cni0"), ["cni0"], "a pod bridge stands on nothing");
}

#[test]
fn a_container_engines_bridge_leads_to_no_pods() {
    let node = Example::reference()
        .device("docker0", "bridge", 1500)
        .address("docker0", "172.17.0.1", 16)
        .device("veth77", "veth", 1500)
        .with("veth77", |link| link.other_namespace = Some(5))
        .port("veth77", "docker0")
        .snapshot();
    assert_roles(&node, &[("docker0", Role::Other), ("veth77", Role::Other)]);
}

#[test]
fn a_fallback_tunnel_device_is_not_in_use_until_it_has_an_address() {
    let unused = || {
        let tunnel = Tunnel::of(TunnelKind::Ipip);
        Example::reference().device("tunl0", "ipip", 1480).with("tunl0", |link| {
            (link.up, link.carrier, link.tunnel) = (false, None, Some(tunnel));
        })
    };
    assert_roles(&unused().snapshot(), &[("tunl0", Role::Other)]);
    let used = unused().address("tunl0", "10.244.1.1", 32).snapshot();
    assert_roles(&used, &[("tunl0", Role::Tunnel)]);
}

fn bonded() -> Example {
    Example::empty()
        .device("eth0", "device", 9000)
        .device("eth1", "device", 9000)
        .device("bond0", "bond", 9000)
        .port("eth0", "bond0")
        .port("eth1", "bond0")
        .device("bond0.100", "vlan", 8996)
        .address("bond0.100", "10.9.0.1", 24)
        .vxlan("vxlan.calico", 8946, Some("bond0.100"), "10.9.0.1")
        .peer("b", "bond0.100", "10.9.0.2")
        .behind_tunnel("b", "vxlan.calico", "10.244.2.0", &["10.244.2.2"])
}

#[test]
fn a_vlan_stands_on_its_bond_and_the_bond_on_its_members() {
    let bond = bonded().index("bond0");
    let node = bonded().with("bond0.100", |link| link.lower = Some(bond)).snapshot();
    assert_eq!(chain(&node, "vxlan.calico"), ["vxlan.calico", "bond0.100", "bond0", "eth0", "eth1"]);
    for link in ["bond0.100", "bond0", "eth0", "eth1"] {
        assert_eq!(role(&node, link), Role::Underlay, "{link}");
    }
    assert!(node.topology.stands_on("vxlan.calico", "eth1") && !node.topology.stands_on("eth1", "bond0"));
    assert!(!node.topology.stands_on("eth0", "eth1") && !node.topology.stands_on("eth0", "eth0"));
}

#[test]
fn a_bridge_reaches_the_wire_by_its_hardware_ports_only() {
    let node = Example::reference()
        .device("tap100i0", "tun", 1500)
        .port("tap100i0", "vmbr1")
        .device("vethguest", "veth", 1500)
        .with("vethguest", |link| link.other_namespace = Some(8))
        .port("vethguest", "vmbr1")
        .snapshot();
    let below = node.topology.directly_below(node.topology.index_of("vmbr1").unwrap());
    assert_eq!(names(&node, below), ["enp5s0"]);
    assert_roles(&node, &[("tap100i0", Role::Other), ("vmbr1", Role::Bridge), ("enp5s0", Role::Underlay)]);
}

#[test]
fn a_tunnel_without_a_lower_link_gets_it_by_the_route_to_its_remotes() {
    let unbound = |link: &mut Link| link.tunnel.as_mut().unwrap().lower = None;
    let node = Example::reference().with("vxlan.calico", unbound).snapshot();
    let tunnel = &node.topology.tunnels()[0];
    assert_eq!(tunnel.lower_link, Some(("vmbr1".into(), LinkMtu::new(1500))));
    assert_eq!((tunnel.overhead, tunnel.headroom()), (Some(50), Some(0)));
    let mut unlooked = Example::reference().with("vxlan.calico", unbound);
    unlooked.lookups.clear();
    assert_eq!(unlooked.snapshot().topology.tunnels()[0].lower, Some(unlooked.index("vmbr1")), "owner of `local`");
}

#[test]
fn a_tunnel_in_collect_metadata_mode_has_no_headroom() {
    let node = Example::reference().with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().external = true);
    assert_eq!(node.snapshot().topology.tunnels()[0].headroom(), None);
}

#[test]
fn pods_leave_by_the_tunnel_and_what_it_stands_on() {
    let node = Example::reference().snapshot();
    for (link, carries) in [("vxlan.calico", true), ("vmbr1", true), ("enp5s0", true), ("vmbr0", false)] {
        assert_eq!(node.topology.carries_pods(link), carries, "{link}");
    }
}

#[test]
fn wireguard_routes_have_no_gateway_and_still_carry_pods() {
    let tunnel = |kind| {
        let routed = |link: &mut Link| link.tunnel.as_mut().unwrap().kind = kind;
        Example::empty()
            .device("eth0", "device", 1500)
            .address("eth0", "10.0.0.11", 24)
            .vxlan("wireguard.cali", 1440, None, "10.0.0.11")
            .with("wireguard.cali", routed)
            .address("wireguard.cali", "10.244.1.1", 32)
    };
    let idle = tunnel(TunnelKind::Wireguard);
    assert!(!idle.snapshot().topology.carries_pods("wireguard.cali"));
    let mut routed = idle.route("10.244.2.0", 26, None, "wireguard.cali");
    let Fact::Known(routes) = &mut routed.tables.routes else { unreachable!() };
    routes.last_mut().unwrap().protocol = 80;
    assert!(routed.snapshot().topology.carries_pods("wireguard.cali"));
}

/// A Proxmox host in a container: guests' veths beside the NIC's on its bridges.
fn hypervisor() -> Example {
    let elsewhere = |link: &mut Link| link.other_namespace = Some(9);
    let guests = ["fwpr101p1", "veth102i0", "veth103i0"];
    let with_guests = guests.into_iter().fold(Example::reference(), |node, guest| {
        node.device(guest, "veth", 1500).port(guest, "vmbr1").with(guest, elsewhere)
    });
    with_guests.with("enp5s0", elsewhere).with("enp5s0", |link| link.kind = "veth".into())
}

#[test]
fn guests_beside_the_nic_of_a_bridge_are_neither_pods_nor_ways_to_the_wire() {
    let node = hypervisor().snapshot();
    assert_roles(&node, &REFERENCE);
    assert_roles(&node, &[("fwpr101p1", Role::Other), ("veth102i0", Role::Other), ("veth103i0", Role::Other)]);
    assert_eq!(chain(&node, "vmbr1"), ["vmbr1", "enp5s0"]);
}

#[test]
fn an_administrators_tunnel_to_another_site_carries_no_pods() {
    let change = |change: fn(&mut Tunnel)| move |link: &mut Link| change(link.tunnel.as_mut().unwrap());
    let node = Example::reference()
        .vxlan("site", 1300, Some("vmbr0"), "192.168.0.11")
        .with("site", change(|tunnel| tunnel.remote = Some(ip("192.168.9.9"))))
        .route("10.96.0.0", 16, Some("10.97.0.2"), "site")
        .vxlan("wg0", 1420, None, "0.0.0.0")
        .with("wg0", change(|tunnel| tunnel.kind = TunnelKind::Wireguard))
        .route("10.98.0.0", 16, Some("10.99.0.2"), "wg0")
        .snapshot();
    for (link, carries) in [("site", false), ("wg0", false), ("vmbr0", false), ("vxlan.calico", true)] {
        assert_eq!(node.topology.carries_pods(link), carries, "{link}");
    }
}

/// A pod that somebody named is reached through it, whatever its name: pods are held to its MTU from then on.
#[test]
fn a_tunnel_of_no_known_name_carries_pods_once_the_way_to_one_leads_through_it() {
    let mut node = Example::flannel().with("flannel.1", |link| {
        link.name = "gre1".into();
        link.tunnel = Some(Tunnel { remote: Some(ip("172.20.0.3")), ..Tunnel::of(TunnelKind::Gre) });
    });
    let carries = |node: &Example| {
        let node = node.snapshot();
        let index = node.topology.index_of("gre1").unwrap();
        node.topology.tunnel(index).unwrap().carries_pods
    };
    assert!(carries(&node));
    node.lookups.remove(&ip("10.42.1.4"));
    assert!(!carries(&node), "it may be an administrator's way to another site");
}
