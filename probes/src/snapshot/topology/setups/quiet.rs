//! Healthy machines that the lab cannot build, for want of kernel modules, of another kernel's programs, or of a cloud:
//! every link is for what it is for, and no check has a word to say.

use super::*;
use crate::checks;
use crate::config::Work;
use crate::snapshot::Snapshot;
use crate::units::IpSize;

/// No check finds anything. One that could not look has found nothing either, so what must have been looked at is named.
fn assert_quiet(node: &Snapshot, concluded: &[&str]) {
    for outcome in checks::judge_all(node, Work::Report) {
        let (code, looked) = (outcome.entry.code, outcome.result);
        let raised = looked.iter().flat_map(|looked| &looked.raised);
        assert_eq!(raised.map(|candidate| candidate.summary.as_str()).collect::<Vec<_>>(), [""; 0], "{code}");
        let whole = looked.as_ref().is_ok_and(|looked| looked.unread.is_empty());
        assert!(whole || !concluded.contains(&code), "{code}: {looked:?}");
    }
}

const ALWAYS: [&str; 5] =
    ["link-down", "tunnel-no-headroom", "pod-mtu-too-large", "ip-forward-off", "tunnel-wrong-underlay"];

impl Example {
    /// A pod of the peer `b`, and the way there: a gateway or none, a link, and the MTU of the route.
    fn pod_of_b(mut self, pod: &str, prefix: u8, gateway: Option<&str>, link: &str, mtu: Option<u32>) -> Self {
        self = self.route(pod, prefix, gateway, link);
        let Fact::Known(routes) = &mut self.tables.routes else { unreachable!() };
        let route = routes.last_mut().unwrap();
        route.mtu = mtu.map(IpSize::new);
        route.protocol = 80;
        let route = route.clone();
        self.lookups.insert(ip(pod), Fact::Known(route));
        self.peers[0].pods.push(ip(pod));
        self
    }

    /// A pod of Calico's here.
    fn of_calico(self, mtu: u32) -> Self {
        self.pod("cali1a2b3c4d5e6", mtu, "10.244.1.2").gateway_of_pods("10.0.0.1", "eth0")
    }
}

fn node(mtu: u32) -> Example {
    machine(&[("eth0", "device", mtu)])
        .address("eth0", "10.0.0.11", 24)
        .route("0.0.0.0", 0, Some("10.0.0.1"), "eth0")
        .peer("b", "eth0", "10.0.0.12")
}

#[test]
fn calico_over_ipip() {
    let node = node(1500)
        .device("tunl0", "ipip", 1480)
        .tunnel("tunl0", TunnelKind::Ipip, |_| {})
        .address("tunl0", "10.244.1.0", 32)
        .of_calico(1480)
        .pod_of_b("10.244.2.0", 26, Some("10.0.0.12"), "tunl0", None)
        .snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("tunl0", Role::Tunnel), ("cali1a2b3c4d5e6", Role::Pod)]);
    assert_eq!(chain(&node, "tunl0"), ["tunl0", "eth0"]);
    assert_eq!(node.topology.tunnels()[0].headroom(), Some(0));
    assert_quiet(&node, &ALWAYS);
}

#[test]
fn the_fallback_device_of_a_module_is_no_tunnel() {
    let node = node(1500)
        .device("tunl0", "ipip", 1480)
        .tunnel("tunl0", TunnelKind::Ipip, |_| {})
        .with("tunl0", |link| link.up = false)
        .of_calico(1500)
        .pod_of_b("10.244.2.0", 26, Some("10.0.0.12"), "eth0", None)
        .snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("tunl0", Role::Other), ("cali1a2b3c4d5e6", Role::Pod)]);
    assert_quiet(&node, &ALWAYS);
    assert!(node.topology.carries_pods("eth0"), "by BGP");
}

#[test]
fn calico_over_wireguard() {
    let node = node(1500)
        .device("wireguard.cali", "wireguard", 1440)
        .tunnel("wireguard.cali", TunnelKind::Wireguard, |_| {})
        .address("wireguard.cali", "10.244.1.1", 32)
        .of_calico(1440)
        .pod_of_b("10.244.2.0", 26, None, "wireguard.cali", None)
        .snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("wireguard.cali", Role::Tunnel), ("cali1a2b3c4d5e6", Role::Pod)]);
    assert_eq!(chain(&node, "wireguard.cali"), ["wireguard.cali", "eth0"]);
    assert_eq!(node.topology.tunnels()[0].headroom(), Some(0), "60 bytes over IPv4");
    assert_quiet(&node, &ALWAYS);
}

fn cilium() -> Example {
    node(9001)
        .device("cilium_net", "veth", 9001)
        .device("cilium_host", "veth", 9001)
        .device("lxc1a2b3c4d5e6f", "veth", 9001)
        .elsewhere(&["lxc1a2b3c4d5e6f"])
        .address("cilium_host", "10.64.1.7", 32)
        .route("10.64.1.0", 24, Some("10.64.1.7"), "cilium_host")
}

#[test]
fn cilium_by_native_routes() {
    let node = cilium().pod_of_b("10.64.2.0", 24, Some("10.0.0.12"), "eth0", None).snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("cilium_host", Role::Other), ("lxc1a2b3c4d5e6f", Role::Pod)]);
    assert_eq!(chain(&node, "cilium_host"), ["cilium_host"], "there is no tunnel to stand on");
    assert_quiet(&node, &ALWAYS);
}

#[test]
fn cilium_over_geneve_has_its_overhead_in_the_routes() {
    let node = cilium()
        .device("cilium_geneve", "geneve", 9001)
        .tunnel("cilium_geneve", TunnelKind::Geneve, |tunnel| tunnel.external = true)
        .pod_of_b("10.64.2.0", 24, Some("10.64.1.7"), "cilium_host", Some(8951))
        .snapshot();
    assert_roles(&node, &[("eth0", Role::Underlay), ("cilium_geneve", Role::Tunnel), ("cilium_host", Role::Other)]);
    assert_eq!(chain(&node, "cilium_host"), ["cilium_host", "cilium_geneve", "eth0"]);
    assert!(node.topology.carries_pods("cilium_geneve") && node.topology.carries_pods("eth0"));
    assert_quiet(&node, &ALWAYS);
}

#[test]
fn weaves_fast_datapath() {
    let node = node(1500)
        .device("datapath", "openvswitch", 1376)
        .device("weave", "bridge", 1376)
        .device("vethwe-bridge", "veth", 1376)
        .device("vethwe-datapath", "veth", 1376)
        .device("vethwepl1a2b3c4", "veth", 1376)
        .device("vxlan-6784", "vxlan", 65_485)
        .elsewhere(&["vethwepl1a2b3c4"])
        .ports("weave", &["vethwe-bridge", "vethwepl1a2b3c4"])
        .ports("datapath", &["vethwe-datapath", "vxlan-6784"])
        .tunnel("vxlan-6784", TunnelKind::Vxlan, |tunnel| tunnel.external = true)
        .address("weave", "10.32.0.1", 12)
        .pod_of_b("10.32.0.9", 12, None, "weave", None)
        .snapshot();
    assert_roles(&node, &[("weave", Role::Bridge), ("vethwepl1a2b3c4", Role::Pod), ("vxlan-6784", Role::Tunnel)]);
    assert_quiet(&node, &ALWAYS);
}

/// A cloud whose network knows the pods: AWS, Azure and GKE differ in names and in the MTU.
#[test]
fn clouds_that_route_pods_themselves() {
    for (pod, mtu) in [("eni1a2b3c4d5e6", 9001), ("azv81bc09b2a1c", 1500), ("gke52a9b1c7d3e", 1460)] {
        let node = node(mtu).device(pod, "veth", mtu).elsewhere(&[pod]).route("10.4.1.5", 32, None, pod);
        let node = node.pod_of_b("10.4.2.5", 0, Some("10.0.0.1"), "eth0", None).snapshot();
        assert_roles(&node, &[("eth0", Role::Underlay), (pod, Role::Pod)]);
        assert_quiet(&node, &ALWAYS);
    }
}
