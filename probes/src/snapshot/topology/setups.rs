//! Roles on the machines of other people's clusters: clouds, other CNIs, bystanders, odd NICs.

mod quiet;

use super::tests::{assert_roles, chain, names};
use super::*;
use crate::kernel::{Mac, Tunnel, TunnelKind};
use crate::snapshot::Snapshot;
use crate::snapshot::example::{Example, ip};

/// A machine with these links: name, kind, MTU.
fn machine(links: &[(&str, &str, u32)]) -> Example {
    links.iter().fold(Example::empty(), |node, &(name, kind, mtu)| node.device(name, kind, mtu))
}

impl Example {
    /// The far ends of these links are in other namespaces.
    fn elsewhere(self, links: &[&str]) -> Self {
        links.iter().fold(self, |node, name| node.with(name, |link| link.other_namespace = Some(4)))
    }

    /// These links are ports of a master.
    fn ports(self, master: &str, ports: &[&str]) -> Self {
        ports.iter().fold(self, |node, port| node.port(port, master))
    }

    /// A link is a tunnel.
    fn tunnel(self, name: &str, kind: TunnelKind, change: impl FnOnce(&mut Tunnel)) -> Self {
        let mut tunnel = Tunnel::of(kind);
        change(&mut tunnel);
        self.with(name, |link| link.tunnel = Some(tunnel))
    }

    /// A link stands on another, as a VLAN does.
    fn on(self, name: &str, below: &str) -> Self {
        let below = self.index(below);
        self.with(name, |link| link.lower = Some(below))
    }
}

#[test]
fn aws_vpc_cni() {
    let node = machine(&[("eth0", "device", 9001), ("eth1", "device", 9001), ("eni1a2b3c", "veth", 9001)])
        .elsewhere(&["eni1a2b3c"])
        .address("eth0", "10.0.1.11", 24)
        .address("eth1", "10.0.2.50", 24)
        .route("10.0.1.77", 32, None, "eni1a2b3c")
        .peer("b", "eth0", "10.0.1.12");
    assert_roles(
        &node.snapshot(),
        &[("eth0", Role::Underlay), ("eth1", Role::Other), ("eni1a2b3c", Role::Pod), ("lo", Role::Other)],
    );
}

#[test]
fn gke_and_its_host_routes() {
    let node = machine(&[("ens4", "device", 1460), ("gke52a9b1", "veth", 1460), ("docker0", "bridge", 1500)])
        .elsewhere(&["gke52a9b1"])
        .address("ens4", "10.128.0.11", 32)
        .route("10.128.0.1", 32, None, "ens4")
        .route("0.0.0.0", 0, Some("10.128.0.1"), "ens4")
        .route("10.8.1.4", 32, None, "gke52a9b1")
        .peer("b", "ens4", "10.128.0.12");
    assert_roles(&node.snapshot(), &[("ens4", Role::Underlay), ("gke52a9b1", Role::Pod), ("docker0", Role::Other)]);
}

#[test]
fn azure_accelerated_networking_puts_a_virtual_function_below_the_nic() {
    let node = machine(&[("eth0", "device", 1500), ("enP5112s1", "device", 1500), ("azv81bc09b", "veth", 1500)])
        .elsewhere(&["azv81bc09b"])
        .port("enP5112s1", "eth0")
        .address("eth0", "10.224.0.4", 16)
        .route("10.224.0.9", 32, None, "azv81bc09b")
        .peer("b", "eth0", "10.224.0.5")
        .snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("enP5112s1", Role::Underlay), ("azv81bc09b", Role::Pod)]);
    assert_eq!(chain(&node, "eth0"), ["eth0", "enP5112s1"]);
}

#[test]
fn kind_has_veths_for_nic_and_pods_alike() {
    let node = machine(&[("eth0", "veth", 1500), ("veth5c1d0e2f", "veth", 1500)])
        .elsewhere(&["eth0", "veth5c1d0e2f"])
        .address("eth0", "172.18.0.2", 16)
        .route("10.244.0.2", 32, None, "veth5c1d0e2f")
        .peer("kind-worker", "eth0", "172.18.0.3");
    assert_roles(&node.snapshot(), &[("eth0", Role::Underlay), ("veth5c1d0e2f", Role::Pod)]);
}

/// A machine with a NIC that LXD routes to, and a wire to a router's namespace.
fn with_guests(links: &[(&str, &str, u32)]) -> Example {
    let guests = [("eth0", "device", 1500), ("veth7d2f1a0b", "veth", 1500), ("veth-router", "veth", 9000)];
    machine(&[&guests, links].concat())
        .elsewhere(&["veth7d2f1a0b", "veth-router"])
        .address("eth0", "10.0.0.11", 24)
        .address("veth-router", "10.99.0.1", 30)
        .route("10.0.0.77", 32, None, "veth7d2f1a0b")
        .peer("b", "eth0", "10.0.0.12")
}

#[test]
fn guests_beside_the_pods_of_a_cni_are_no_pods() {
    let calico = with_guests(&[("cali0a1b2c3d4e5", "veth", 1450)]).elsewhere(&["cali0a1b2c3d4e5"]);
    assert_roles(
        &calico.route("10.244.1.5", 32, None, "cali0a1b2c3d4e5").snapshot(),
        &[("cali0a1b2c3d4e5", Role::Pod), ("veth7d2f1a0b", Role::Other), ("veth-router", Role::Other)],
    );
    let flannel = with_guests(&[("cni0", "bridge", 1450), ("veth0a1b2c3d", "veth", 1450)]);
    assert_roles(
        &flannel.elsewhere(&["veth0a1b2c3d"]).port("veth0a1b2c3d", "cni0").snapshot(),
        &[("veth0a1b2c3d", Role::Pod), ("veth7d2f1a0b", Role::Other), ("veth-router", Role::Other)],
    );
}

#[test]
fn where_no_link_is_a_cnis_by_name_a_host_route_tells() {
    let mut node = with_guests(&[]);
    let pods = [("veth7d2f1a0b", Role::Pod), ("veth-router", Role::Other)];
    assert_roles(&node.clone().snapshot(), &pods);
    node.tables.routes = Fact::Unread(crate::snapshot::example::failed(crate::fact::Source::Routes));
    let by_name = [("veth7d2f1a0b", Role::Pod), ("veth-router", Role::Pod)];
    assert_roles(&node.snapshot(), &by_name);
}

#[test]
fn a_container_whose_nic_has_a_host_route_is_no_pod_link() {
    let node = machine(&[("eth0", "veth", 1500)])
        .elsewhere(&["eth0"])
        .address("eth0", "10.0.3.9", 32)
        .route("169.254.0.1", 32, None, "eth0")
        .route("0.0.0.0", 0, Some("169.254.0.1"), "eth0")
        .peer("b", "eth0", "10.0.3.10");
    assert_roles(&node.snapshot(), &[("eth0", Role::Underlay)]);
    assert_roles(&node.alone().snapshot(), &[("eth0", Role::Other)]);
}

#[test]
fn k3s_with_wireguard_native_beside_the_hosts_own_vpn() {
    let node = machine(&[
        ("enp1s0", "device", 1500),
        ("wg0", "wireguard", 1420),
        ("tailscale0", "tun", 1280),
        ("flannel-wg", "wireguard", 1420),
        ("cni0", "bridge", 1420),
        ("veth0a1b2c3d", "veth", 1420),
    ])
    .elsewhere(&["veth0a1b2c3d"])
    .port("veth0a1b2c3d", "cni0")
    .address("enp1s0", "10.0.0.11", 24)
    .address("cni0", "10.42.1.1", 24)
    .address("wg0", "10.99.0.1", 24)
    .address("tailscale0", "100.64.0.1", 10)
    .tunnel("wg0", TunnelKind::Wireguard, |_| {})
    .tunnel("flannel-wg", TunnelKind::Wireguard, |_| {})
    .address("flannel-wg", "10.42.1.0", 32)
    .route("10.42.0.0", 16, None, "flannel-wg")
    .route("192.168.50.0", 24, Some("10.99.0.2"), "wg0")
    .peer("b", "enp1s0", "10.0.0.12");
    let mut node = node;
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    let through = routes.iter_mut().find(|route| route.destination == ip("10.42.0.0") && route.prefix == 16);
    through.unwrap().protocol = 3;
    let node = node.snapshot();
    assert_roles(
        &node,
        &[
            ("enp1s0", Role::Underlay),
            ("flannel-wg", Role::Tunnel),
            ("cni0", Role::Bridge),
            ("veth0a1b2c3d", Role::Pod),
            ("tailscale0", Role::Other),
        ],
    );
    assert_eq!(chain(&node, "flannel-wg"), ["flannel-wg", "enp1s0"], "where its peers are");
    assert_eq!(chain(&node, "wg0"), ["wg0"], "whose peers nobody tells");
    assert!(node.topology.carries_pods("flannel-wg") && !node.topology.carries_pods("wg0"));
}

#[test]
fn cilium() {
    let node = machine(&[
        ("ens5", "device", 9001),
        ("cilium_net", "veth", 9001),
        ("cilium_host", "veth", 9001),
        ("cilium_vxlan", "vxlan", 1500),
        ("lxc1a2b3c4d5e6f", "veth", 9001),
        ("lxc_health", "veth", 9001),
    ])
    .elsewhere(&["lxc1a2b3c4d5e6f", "lxc_health"])
    .address("ens5", "10.0.0.11", 24)
    .address("cilium_host", "10.0.9.1", 32)
    .tunnel("cilium_vxlan", TunnelKind::Vxlan, |tunnel| tunnel.external = true)
    .peer("b", "ens5", "10.0.0.12")
    .snapshot();
    assert_roles(
        &node,
        &[
            ("ens5", Role::Underlay),
            ("cilium_vxlan", Role::Tunnel),
            ("lxc1a2b3c4d5e6f", Role::Pod),
            ("lxc_health", Role::Pod),
            ("cilium_host", Role::Other),
            ("cilium_net", Role::Other),
        ],
    );
    assert_eq!(chain(&node, "cilium_vxlan"), ["cilium_vxlan", "ens5"]);
}

/// An Open vSwitch node: every bridge and every pod's link is a port of one datapath.
fn open_vswitch(bridge: &str, pod: &str) -> Example {
    machine(&[
        ("ens3", "device", 1500),
        ("ovs-system", "openvswitch", 1500),
        (bridge, "openvswitch", 1500),
        ("genev_sys_6081", "geneve", 65_000),
        (pod, "veth", 1400),
    ])
    .elsewhere(&[pod])
    .ports("ovs-system", &["ens3", "genev_sys_6081", pod])
    .tunnel("genev_sys_6081", TunnelKind::Geneve, |tunnel| tunnel.external = true)
    .address(bridge, "10.0.0.11", 24)
    .peer("b", bridge, "10.0.0.12")
}

#[test]
fn ovn_kubernetes_has_its_node_address_on_br_ex_and_the_nic_in_the_datapath() {
    let node = open_vswitch("br-ex", "0a1b2c3d4e5f678");
    let node = node.device("ovn-k8s-mp0", "openvswitch", 1400).address("ovn-k8s-mp0", "10.128.2.2", 23).snapshot();
    assert_roles(
        &node,
        &[
            ("ens3", Role::Underlay),
            ("br-ex", Role::Underlay),
            ("0a1b2c3d4e5f678", Role::Pod),
            ("genev_sys_6081", Role::Tunnel),
            ("ovn-k8s-mp0", Role::Other),
        ],
    );
    assert_eq!(chain(&node, "genev_sys_6081"), ["genev_sys_6081", "br-ex", "ens3"]);
}

#[test]
fn with_two_nics_in_the_datapath_none_is_named() {
    let node = open_vswitch("br-ex", "0a1b2c3d4e5f678").device("ens4", "device", 9000).port("ens4", "ovs-system");
    let node = node.snapshot();
    assert_eq!(chain(&node, "br-ex"), ["br-ex"]);
    assert_roles(&node, &[("ens3", Role::Other), ("ens4", Role::Other), ("br-ex", Role::Underlay)]);
}

#[test]
fn antrea_leaves_the_nic_out_of_the_datapath() {
    let node = machine(&[
        ("eth0", "device", 1500),
        ("ovs-system", "openvswitch", 1500),
        ("antrea-gw0", "openvswitch", 1450),
        ("genev_sys_6081", "geneve", 65_000),
        ("coredns--6f3a1b", "veth", 1450),
    ])
    .elsewhere(&["coredns--6f3a1b"])
    .ports("ovs-system", &["genev_sys_6081", "coredns--6f3a1b"])
    .tunnel("genev_sys_6081", TunnelKind::Geneve, |tunnel| tunnel.external = true)
    .address("eth0", "10.0.0.11", 24)
    .address("antrea-gw0", "10.10.1.1", 24)
    .route("10.10.2.0", 24, Some("10.10.2.1"), "antrea-gw0")
    .peer("b", "eth0", "10.0.0.12")
    .snapshot();
    assert_roles(
        &node,
        &[
            ("eth0", Role::Underlay),
            ("genev_sys_6081", Role::Tunnel),
            ("coredns--6f3a1b", Role::Pod),
            ("antrea-gw0", Role::Other),
        ],
    );
}

#[test]
fn kube_router_has_a_tunnel_for_each_peer() {
    let end = |remote: &'static str| {
        move |tunnel: &mut Tunnel| (tunnel.local, tunnel.remote) = (Some(ip("10.0.0.11")), Some(ip(remote)))
    };
    let node = machine(&[
        ("eth0", "device", 1500),
        ("kube-bridge", "bridge", 1480),
        ("veth1a2b3c4d", "veth", 1480),
        ("tun-1000012", "ipip", 1480),
        ("kube-dummy-if", "dummy", 1500),
    ])
    .elsewhere(&["veth1a2b3c4d"])
    .port("veth1a2b3c4d", "kube-bridge")
    .address("eth0", "10.0.0.11", 24)
    .address("kube-bridge", "10.1.1.1", 24)
    .address("kube-dummy-if", "10.96.0.1", 32)
    .tunnel("tun-1000012", TunnelKind::Ipip, end("10.0.0.12"))
    .route("10.1.2.0", 24, Some("10.0.0.12"), "tun-1000012")
    .peer("b", "eth0", "10.0.0.12")
    .snapshot();
    assert_roles(
        &node,
        &[
            ("eth0", Role::Underlay),
            ("kube-bridge", Role::Bridge),
            ("veth1a2b3c4d", Role::Pod),
            ("tun-1000012", Role::Tunnel),
            ("kube-dummy-if", Role::Other),
        ],
    );
    assert!(node.topology.carries_pods("tun-1000012"));
    assert_eq!(node.topology.tunnels()[0].headroom(), Some(0));
}

#[test]
fn weave() {
    let node = machine(&[
        ("eth0", "device", 1500),
        ("datapath", "openvswitch", 1376),
        ("weave", "bridge", 1376),
        ("vethwe-bridge", "veth", 1376),
        ("vethwe-datapath", "veth", 1376),
        ("vethwepl1a2b3c4", "veth", 1376),
        ("vxlan-6784", "vxlan", 65_485),
    ])
    .elsewhere(&["vethwepl1a2b3c4"])
    .ports("weave", &["vethwe-bridge", "vethwepl1a2b3c4"])
    .ports("datapath", &["vethwe-datapath", "vxlan-6784"])
    .tunnel("vxlan-6784", TunnelKind::Vxlan, |tunnel| tunnel.external = true)
    .address("eth0", "10.0.0.11", 24)
    .address("weave", "10.32.0.1", 12)
    .peer("b", "eth0", "10.0.0.12")
    .snapshot();
    assert_roles(
        &node,
        &[
            ("eth0", Role::Underlay),
            ("weave", Role::Bridge),
            ("vethwepl1a2b3c4", Role::Pod),
            ("vethwe-bridge", Role::Other),
            ("vxlan-6784", Role::Tunnel),
        ],
    );
}

#[test]
fn bystanders_lead_to_no_pods() {
    let bridges = ["docker0", "virbr0", "lxdbr0", "cni-podman0", "nerdctl0"];
    let node = bridges.iter().enumerate().fold(Example::reference(), |node, (at, bridge)| {
        let port = format!("veth{at}");
        node.device(bridge, "bridge", 1500).device(&port, "veth", 1500).elsewhere(&[&port]).port(&port, bridge)
    });
    let node = node.device("vnet0", "tun", 1500).port("vnet0", "virbr0").snapshot();
    let ports: Vec<_> = (0..bridges.len()).map(|at| format!("veth{at}")).collect();
    for link in bridges.into_iter().chain(ports.iter().map(String::as_str)).chain(["vnet0"]) {
        assert_roles(&node, &[(link, Role::Other)]);
    }
}

#[test]
fn a_guest_beside_a_nic_is_no_pod_whatever_the_bridge_is_called() {
    let guests = |node: Example, bridge: &str, nic: &str| {
        node.device(bridge, "bridge", 1500)
            .ports(bridge, &[nic])
            .device("veth101i0", "veth", 1500)
            .elsewhere(&["veth101i0"])
    };
    let node = guests(machine(&[("eno1", "device", 1500)]), "br0", "eno1").port("veth101i0", "br0");
    assert_roles(&node.clone().snapshot(), &[("br0", Role::Other), ("veth101i0", Role::Other)]);
    let node = node.address("br0", "10.0.0.11", 24).peer("b", "br0", "10.0.0.12");
    assert_roles(&node.snapshot(), &[("br0", Role::Bridge), ("eno1", Role::Underlay), ("veth101i0", Role::Other)]);
}

/// A guest and a container on bridges of this node that have no NIC, beside the CNI's own network.
fn beside(node: Example) -> Snapshot {
    node.device("br0", "bridge", 1500)
        .address("br0", "10.99.0.1", 24)
        .device("veth102i0", "veth", 9000)
        .device("shop", "bridge", 1500)
        .address("shop", "172.30.0.1", 16)
        .device("veth5e6f708", "veth", 9000)
        .elsewhere(&["veth102i0", "veth5e6f708"])
        .ports("br0", &["veth102i0"])
        .ports("shop", &["veth5e6f708"])
        .snapshot()
}

#[test]
fn bridges_of_others_may_have_any_name_and_no_nic() {
    let of_guest = ("veth102i0", Role::Other);
    for cni in [Example::reference(), Example::flannel()] {
        assert_roles(&beside(cni), &[of_guest, ("br0", Role::Other), ("veth5e6f708", Role::Other)]);
    }
    let without_tunnel = Example::empty().pod("cali1a2b3c4d5e6", 1500, "10.1.1.2");
    assert_roles(&beside(without_tunnel), &[of_guest, ("veth5e6f708", Role::Other)]);
    assert_roles(&beside(Example::empty()), &[of_guest, ("veth5e6f708", Role::Pod)]);
}

#[test]
fn the_bridge_that_shares_its_subnet_with_the_tunnel_is_the_cnis_whatever_its_name() {
    let named = |name: &str| {
        Example::flannel().with("cni0", |link| link.name = name.into()).with("veth0a1b2c3d", |link| {
            link.kind = "netkit".into();
        })
    };
    for name in ["cni0", "br-pods", "mynet"] {
        assert_roles(&named(name).snapshot(), &[("veth0a1b2c3d", Role::Pod), (name, Role::Bridge)]);
    }
    let mut moved = named("mynet");
    let Fact::Known(addresses) = &mut moved.tables.addresses else { unreachable!() };
    addresses.iter_mut().find(|own| own.address == ip("10.42.0.1")).unwrap().address = ip("10.43.0.1");
    assert_roles(&moved.snapshot(), &[("veth0a1b2c3d", Role::Other)]);
}

#[test]
fn virtual_functions_secondary_nics_and_infiniband() {
    let node = machine(&[
        ("ens1f0", "device", 9000),
        ("ens1f0v0", "device", 1500),
        ("ens1f0v1", "device", 9000),
        ("ens2", "device", 1500),
        ("ens2.40", "vlan", 1500),
        ("ib0", "ipoib", 2044),
        ("ib0.8001", "ipoib", 2044),
    ])
    .on("ens2.40", "ens2")
    .on("ib0.8001", "ib0")
    .address("ens1f0", "10.0.0.11", 24)
    .address("ens2.40", "10.40.0.11", 24)
    .address("ib0.8001", "10.50.0.11", 24)
    .peer("b", "ens1f0", "10.0.0.12");
    assert_roles(
        &node.clone().snapshot(),
        &[
            ("ens1f0", Role::Underlay),
            ("ens1f0v0", Role::Other),
            ("ens1f0v1", Role::Other),
            ("ens2", Role::Other),
            ("ens2.40", Role::Other),
            ("ib0", Role::Other),
        ],
    );
    let node = node.alone().peer("b", "ib0.8001", "10.50.0.12").snapshot();
    assert_roles(
        &node,
        &[("ib0", Role::Underlay), ("ib0.8001", Role::Underlay), ("ens1f0", Role::Other), ("ens2", Role::Other)],
    );
}

#[test]
fn a_wide_subnet_of_management_does_not_take_in_the_clusters() {
    let node = machine(&[("eth0", "device", 1500), ("eth1", "device", 9000)])
        .address("eth0", "10.200.0.11", 8)
        .address("eth1", "10.0.0.11", 24)
        .peer("b", "eth1", "10.0.0.12");
    assert_roles(&node.snapshot(), &[("eth0", Role::Other), ("eth1", Role::Underlay)]);
}

#[test]
fn a_vrf_is_neither_bridge_nor_below_its_members() {
    let node = machine(&[("eth0", "device", 1500), ("blue", "vrf", 65_575), ("cali1a2b3c", "veth", 1450)])
        .elsewhere(&["cali1a2b3c"])
        .ports("blue", &["eth0", "cali1a2b3c"])
        .address("eth0", "10.0.0.11", 24)
        .peer("b", "eth0", "10.0.0.12")
        .snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("blue", Role::Other), ("cali1a2b3c", Role::Pod)]);
    assert_eq!(chain(&node, "eth0"), ["eth0"]);
}

/// `vxlan.calico` bound to vmbr1, a second peer behind another NIC of a smaller MTU.
fn two_ways() -> Example {
    let mut node = Example::reference().device("enp6s0", "device", 1400).address("enp6s0", "10.6.0.11", 24).peer(
        "far",
        "enp6s0",
        "10.6.0.12",
    );
    let link = node.index("vxlan.calico");
    let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
    let mac = Mac([0x66, 0, 0, 0, 0, 9]);
    let destination = Some(ip("10.6.0.12"));
    forwarding.push(crate::kernel::FdbEntry { link, mac, destination, permanent: true });
    node
}

#[test]
fn the_narrowest_way_out_bounds_a_tunnel_whatever_it_is_bound_to() {
    let node = two_ways().snapshot();
    let tunnel = &node.topology.tunnels()[0];
    assert_eq!(names(&node, tunnel.egress.iter().copied()), ["vmbr1", "enp6s0"]);
    assert_eq!((tunnel.lower_link.as_ref().unwrap().0.as_str(), tunnel.headroom()), ("enp6s0", Some(-100)));
    assert!(node.topology.carries_pods("enp6s0") && node.topology.carries_pods("enp5s0"));
    let equal = two_ways().with("enp6s0", |link| link.mtu = crate::units::LinkMtu::new(1500)).snapshot();
    assert_eq!(equal.topology.tunnels()[0].lower_link.as_ref().unwrap().0, "vmbr1", "as narrow: the bound one");
}

#[test]
fn a_bound_link_that_is_down_stays_the_one_below() {
    let node = two_ways().with("vmbr1", |link| link.up = false).snapshot();
    assert_eq!(node.topology.tunnels()[0].lower_link.as_ref().unwrap().0, "vmbr1");
}

#[test]
fn outer_packets_are_asked_about_from_the_tunnels_address_where_it_is_ours() {
    let node = Example::reference().snapshot();
    let queries = |node: &Snapshot| outer::queries(&node.tables, &node.peers);
    let from = |address: &str| crate::kernel::Query { to: ip("10.0.0.12"), from: Some(ip(address)) };
    assert!(queries(&node).contains(&from("10.0.0.11")));
    assert_eq!(outer::sources(&node.tables, &node.peers)[&ip("10.0.0.12")], ip("10.0.0.11"));
    let foreign = Example::reference()
        .with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().local = Some(ip("10.0.0.99")))
        .snapshot();
    assert!(queries(&foreign).contains(&ip("10.0.0.12").into()), "the kernel would refuse another's address");
    assert!(outer::sources(&foreign.tables, &foreign.peers).is_empty());
}
