//! What tunnels need to deliver, and what lies between a tunnel's end and a pod.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;
use crate::units::Family;

use super::{Fix, calico, cilium, flannel, maker};

/// What keeps a tunnel from delivering to a peer, as far as this node can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryFault {
    /// No route to the peer's tunnel address leads into a tunnel.
    NoRoute,
    /// The tunnel device has no neighbour entry for the peer's tunnel address.
    NoNeighbour,
    /// The neighbour entry is there and failed to resolve.
    NeighbourFailed,
    /// The tunnel device has no forwarding entry for the neighbour's hardware address.
    NoForwarding,
    /// The peer answers that no socket listens on the tunnel's port.
    PortClosed,
    /// Everything is in place here: a filter on the way, or the peer's own entries.
    NotHere,
    /// Everything looks right here, and yet packets that were encapsulated here are answered: the tunnel device does not
    /// send, or a filter of this node takes what it sends.
    NotSent,
}

pub(super) fn tunnel_delivers(fix: &Fix, setup: Setup) -> Vec<String> {
    let Fix::TunnelDelivers { tunnel, kind, port, overlay, underlay, fault } = fix else { return Vec::new() };
    let device = tunnel.as_deref().unwrap_or("TUNNEL");
    let peer = underlay.map_or_else(|| "PEER".into(), |address| address.to_string());
    match fault {
        DeliveryFault::NoRoute => made_again(&routes(*overlay), device, setup),
        DeliveryFault::NoNeighbour | DeliveryFault::NeighbourFailed => {
            made_again(&format!("$ ip neigh show dev {device}"), device, setup)
        }
        DeliveryFault::NoForwarding => made_again(&format!("$ bridge fdb show dev {device}"), device, setup),
        DeliveryFault::PortClosed => port_closed(&peer, device, *port),
        DeliveryFault::NotHere => not_here(&peer, device, &outer(*kind, *port)),
        DeliveryFault::NotSent => not_sent(&peer, device, &outer(*kind, *port)),
    }
}

pub(super) fn routes(to: IpAddr) -> String {
    let ip = match Family::of(to) {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip -6",
    };
    format!("$ ip route get {to}; {ip} route show table all")
}

/// The CNI writes its entries again when it starts; if they do not come back, it does not know the peer.
pub(super) fn made_again(show: &str, device: &str, setup: Setup) -> Vec<String> {
    let made_by = match setup.cni {
        Cni::Unknown => Cni::Unknown,
        cni if device == "TUNNEL" => cni,
        _ => maker(device, setup),
    };
    let (restart, knows) = match made_by {
        Cni::Calico => (calico::restart_here(), "the peer's Node has a projectcalico.org VXLAN or IPIP tunnel address"),
        Cni::Flannel => (flannel::restart_here(), "the peer's Node has the flannel.alpha.coreos.com annotations"),
        Cni::Cilium => (cilium::restart_here(), "the peer has a CiliumNode"),
        Cni::Unknown => (Vec::new(), "whatever programs the tunnel knows the peer"),
    };
    let check = format!("See that {knows}; then look at the entries again:");
    restart.into_iter().chain([check, show.to_owned()]).collect()
}

pub(super) fn port_closed(peer: &str, device: &str, port: Option<u16>) -> Vec<String> {
    let port = port.map_or_else(|| "PORT".into(), |port| port.to_string());
    vec![
        format!("On {peer}, {device} must be up and use the same UDP port, {port}; a filter must not reject it:"),
        format!("$ ip -d link show dev {device}; ss -lunp 'sport = :{port}'; nft list ruleset | grep -w {port}"),
    ]
}

fn not_here(peer: &str, device: &str, outer: &str) -> Vec<String> {
    vec![
        format!(
            "Let {outer} through between the nodes, both ways: host firewalls, security groups, the hypervisor's \
             firewall. Do packets leave here, and do they arrive at {peer}? On both, while this probes:"
        ),
        format!("$ tcpdump -ni any '{}'", capture(outer)),
        format!("If they arrive there and nothing comes back, {peer} lacks the entries for this node; there:"),
        format!("$ ip neigh show dev {device}; bridge fdb show dev {device}"),
    ]
}

/// The network and the peer are proven to work: what is left is between the tunnel device and this node's NIC.
fn not_sent(peer: &str, device: &str, outer: &str) -> Vec<String> {
    vec![
        format!(
            "The network and {peer} work: a packet that is encapsulated without {device} is answered. See whether {device} \
             sends at all while this probes, and what it counts as dropped:"
        ),
        format!("$ ip -s link show dev {device}; tcpdump -ni any 'dst host {peer} and {}'", capture(outer)),
        format!("If nothing leaves, a rule of this node takes what {device} sends, or its entries lead elsewhere:"),
        format!("$ nft list ruleset; tc filter show dev {device} egress; bridge fdb show dev {device}"),
    ]
}

fn outer(kind: Option<&str>, port: Option<u16>) -> String {
    match (kind, port) {
        (_, Some(port)) => format!("UDP {port}"),
        (Some("ipip"), None) => "IP protocol 4".into(),
        (Some("gre"), None) => "IP protocol 47".into(),
        (Some("sit"), None) => "IP protocol 41".into(),
        _ => "the tunnel's packets".into(),
    }
}

fn capture(outer: &str) -> String {
    match (outer.strip_prefix("UDP "), outer.strip_prefix("IP protocol ")) {
        (Some(port), _) => format!("udp port {port}"),
        (_, Some(protocol)) => format!("ip proto {protocol}"),
        _ => "udp".into(),
    }
}

/// What is between a tunnel's end and a pod, all of it on the peer.
pub(super) fn pods_answer(peer: &str, pod: IpAddr, setup: Setup) -> Vec<String> {
    let forwards = match Family::of(pod) {
        Family::Ipv4 => "net.ipv4.ip_forward",
        Family::Ipv6 => "net.ipv6.conf.all.forwarding",
    };
    let mut lines = vec![
        format!("On {peer}, in this order: does it forward, has it a route to the pod, is the pod there?"),
        format!("$ sysctl {forwards}; ip route get {pod}; ip neigh show to {pod}"),
    ];
    if setup.cni == Cni::Calico && pod.is_ipv4() {
        lines.push("Calico's pods answer only where their node has a default route:".into());
        lines.push("$ ip route get 169.254.1.1".into());
    }
    lines.push("Does a policy keep this node out?".into());
    lines.push("$ kubectl get networkpolicy --all-namespaces".into());
    lines
}

/// The route here goes another way than the one to the peer's tunnel address.
pub(super) fn pods_routed(peer: &str, pod: IpAddr, tunnel: Option<&str>, setup: Setup) -> Vec<String> {
    let device = tunnel.unwrap_or("TUNNEL");
    let first = format!("Packets to the pods of {peer} must leave here by {device}; see where they go:");
    let show = routes(pod);
    [first, show.clone()].into_iter().chain(made_again(&show, device, setup)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::Host;

    fn deliver(fault: DeliveryFault, cni: Cni, tunnel: &str) -> String {
        let fix = Fix::TunnelDelivers {
            tunnel: Some(tunnel.into()),
            kind: Some("vxlan"),
            port: Some(4789),
            overlay: "10.244.2.0".parse().unwrap(),
            underlay: Some("10.0.0.12".parse().unwrap()),
            fault,
        };
        tunnel_delivers(&fix, Setup { cni, host: Host::Plain }).join("\n")
    }

    #[test]
    fn a_missing_entry_is_shown_and_the_cni_made_to_write_it() {
        insta::assert_snapshot!(deliver(DeliveryFault::NoForwarding, Cni::Calico, "vxlan.calico"), @r#"
Let Calico set its tunnel up again on this node. Calico installed by its operator:
$ kubectl -n calico-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
Calico installed by manifest:
$ kubectl -n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
See that the peer's Node has a projectcalico.org VXLAN or IPIP tunnel address; then look at the entries again:
$ bridge fdb show dev vxlan.calico
"#);
        let flannel = deliver(DeliveryFault::NoNeighbour, Cni::Flannel, "flannel.1");
        assert!(flannel.contains("app=flannel") && flannel.contains("ip neigh show dev flannel.1"), "{flannel}");
    }

    #[test]
    fn a_filtered_tunnel_is_traced_by_its_outer_packets() {
        insta::assert_snapshot!(deliver(DeliveryFault::NotHere, Cni::Calico, "vxlan.calico"), @r#"
Let UDP 4789 through between the nodes, both ways: host firewalls, security groups, the hypervisor's firewall. Do packets leave here, and do they arrive at 10.0.0.12? On both, while this probes:
$ tcpdump -ni any 'udp port 4789'
If they arrive there and nothing comes back, 10.0.0.12 lacks the entries for this node; there:
$ ip neigh show dev vxlan.calico; bridge fdb show dev vxlan.calico
"#);
    }

    #[test]
    fn a_closed_port_is_looked_for_at_the_peer() {
        insta::assert_snapshot!(deliver(DeliveryFault::PortClosed, Cni::Unknown, "vxlan0"), @r#"
On 10.0.0.12, vxlan0 must be up and use the same UDP port, 4789; a filter must not reject it:
$ ip -d link show dev vxlan0; ss -lunp 'sport = :4789'; nft list ruleset | grep -w 4789
"#);
    }

    #[test]
    fn tunnels_without_a_port_are_named_by_protocol() {
        assert_eq!(capture(&outer(Some("ipip"), None)), "ip proto 4");
        assert_eq!(capture(&outer(Some("wireguard"), Some(51_820))), "udp port 51820");
    }

    #[test]
    fn a_tunnel_that_does_not_send_is_looked_at_here() {
        insta::assert_snapshot!(deliver(DeliveryFault::NotSent, Cni::Calico, "vxlan.calico"), @r#"
The network and 10.0.0.12 work: a packet that is encapsulated without vxlan.calico is answered. See whether vxlan.calico sends at all while this probes, and what it counts as dropped:
$ ip -s link show dev vxlan.calico; tcpdump -ni any 'dst host 10.0.0.12 and udp port 4789'
If nothing leaves, a rule of this node takes what vxlan.calico sends, or its entries lead elsewhere:
$ nft list ruleset; tc filter show dev vxlan.calico egress; bridge fdb show dev vxlan.calico
"#);
    }

    #[test]
    fn pods_of_ipv6_need_forwarding_of_their_own_and_no_proxy() {
        let lines = |pod: &str| {
            let setup = Setup { cni: Cni::Calico, host: Host::Plain };
            pods_answer("b", pod.parse().unwrap(), setup).join("\n")
        };
        assert!(lines("10.244.2.2").contains("net.ipv4.ip_forward") && lines("10.244.2.2").contains("169.254.1.1"));
        let six = lines("fd00:244:2::2");
        assert!(six.contains("net.ipv6.conf.all.forwarding") && !six.contains("169.254.1.1"), "{six}");
        assert!(routes("fd00::2".parse().unwrap()).contains("ip -6 route show table all"));
    }

    #[test]
    fn a_route_to_pods_that_leads_elsewhere_is_shown_and_made_again() {
        let setup = Setup { cni: Cni::Calico, host: Host::Plain };
        let lines = pods_routed("b", "10.244.2.2".parse().unwrap(), Some("vxlan.calico"), setup);
        assert!(lines[0].contains("must leave here by vxlan.calico"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("calico-node")), "{lines:#?}");
    }
}
