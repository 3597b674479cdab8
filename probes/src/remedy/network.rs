//! The network between nodes: paths, peers, and what a tunnel needs to deliver.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;
use crate::units::{Family, IpSize};

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
}

pub(super) fn path_keeps(to: IpAddr, peer: &str, links: &[String]) -> Vec<String> {
    let nic = links.last().map_or("NIC", String::as_str);
    let report = "mtr --no-dns --report --report-cycles 100";
    vec![
        format!(
            "Find the hop from which on packets are lost, from here and from {peer}, for the way back may lose them:"
        ),
        format!("$ {report} {to}"),
        format!(
            "If it is the first one, look at cable, switch port, duplex and queues of {nic} (errors and drops that rise):"
        ),
        format!("$ ip -s -s link show {nic}; ethtool -S {nic} | grep -iE 'err|drop|disc|fifo|miss'"),
    ]
}

pub(super) fn path_carries(fix: &Fix) -> Vec<String> {
    let Fix::PathCarries { to, size, overhead, carries, hop, silent } = fix else { return Vec::new() };
    let (too_big, ping) = match Family::of(*to) {
        Family::Ipv4 => ("ICMP \"fragmentation needed\" (type 3 code 4)", "ping"),
        Family::Ipv6 => ("ICMPv6 \"packet too big\" (type 2)", "ping -6"),
    };
    let wire = match overhead {
        0 => format!("{size} B"),
        _ => format!("{} B ({size} B and the tunnel's {overhead})", size.plus(*overhead)),
    };
    let what = match (silent, hop) {
        (true, _) => format!(
            "Every NIC, bridge and switch port on the way to {to} must carry {wire}. A router that cannot must be \
             able to say so: let {too_big} through every filter, back to the node that sent the packet."
        ),
        (false, Some(hop)) => {
            let now = carries.plus(*overhead);
            format!("{hop} has a next hop that carries only {now} B: raise the MTU of its link towards {to} to {wire}.")
        }
        (false, None) => {
            format!("A link of this node limits the path to {carries} B: see which, and raise it or the route's `mtu`:")
        }
    };
    let look = (!silent && hop.is_none()).then(|| format!("$ ip route get {to}; ip -br link"));
    let payload = size.payload(Family::of(*to)).bytes();
    let try_it = format!("$ mtuscope probe {to}; {ping} -c 3 -M do -s {payload} {to}");
    std::iter::once(what).chain(look).chain(["To see that it is mended:".into(), try_it]).collect()
}

/// A hop that speaks is named. One that does not is found with `traceroute`, which sends what a sweep sends.
pub(super) fn equal_paths_carry(fix: &Fix) -> Vec<String> {
    let Fix::EqualPathsCarry { to, port, size, good, bad, hops, silent } = fix else { return Vec::new() };
    let (traceroute, policy) = match Family::of(*to) {
        Family::Ipv4 => ("traceroute", "net.ipv4.fib_multipath_hash_policy"),
        Family::Ipv6 => ("traceroute -6", "net.ipv6.fib_multipath_hash_policy"),
    };
    let raise = hops.iter().map(|(hop, mtu)| {
        let now = mtu.map(|mtu| format!(", {mtu} B,")).unwrap_or_default();
        format!(
            "{hop} has a next hop that carries less{now} than those beside it: raise the MTU of that link to {size} B."
        )
    });
    let trace = |source: u16| format!("$ {traceroute} -n -q 1 -F -U -p {port} --sport={source} {to} {size}");
    let follow = [
        "Follow a flow that arrives and one that vanishes; the link behind the last hop of the second is bad:".into(),
        trace(*good),
        trace(*bad),
    ];
    let choose = [
        "Whoever has several next hops or a bond chooses by the ports of a flow; this node may be one:".to_owned(),
        format!("$ ip route get {to}; sysctl {policy}; grep -H Policy /proc/net/bonding/*"),
        "Until it is mended, take the bad link out of its group (next hops, port channel, bond).".into(),
        "To see that it is mended:".into(),
        format!("$ mtuscope probe --ecmp {to}"),
    ];
    raise.chain(follow.into_iter().filter(|_| *silent)).chain(choose).collect()
}

/// A route's `mtu` is whoever's who made the route.
pub(super) fn route_mtu(to: &str, link: &str, from: IpSize, mtu: IpSize) -> Vec<String> {
    vec![
        format!(
            "Find who makes the route to {to} with `mtu {from}` (`proto` tells), and have it say {mtu} or nothing:"
        ),
        format!("$ ip route show dev {link} table all | grep 'mtu {from}'"),
    ]
}

/// Whoever sends the error is found by looking at errors about packets to that address.
pub(super) fn forget_path_mtu(to: IpAddr, locked: bool) -> Vec<String> {
    let (flush, capture, least) = match Family::of(to) {
        Family::Ipv4 => (
            "ip route flush cache",
            "icmp[icmptype] == icmp-unreach and icmp[icmpcode] == 4",
            "net.ipv4.route.min_pmtu",
        ),
        Family::Ipv6 => ("ip -6 route flush cache", "icmp6[0] == 2", "1280"),
    };
    let lie = locked.then(|| {
        format!(
            "It was learned from an error that names less than {least}: no link is that small, so look for a forger."
        )
    });
    let forget = [
        "Let the kernel forget what it has cached, for every destination; what is true it learns again:".into(),
        format!("$ {flush}; ip route get {to}"),
        "If it comes back, somebody still says that packets are too big: see who, and what packet is quoted:".into(),
        format!("$ tcpdump -vni any '{capture}'"),
        "Pods have caches of their own; in a pod that hangs, `ip route get ADDRESS` shows what it has cached.".into(),
    ];
    forget.into_iter().chain(lie).collect()
}

/// What is between a tunnel's end and a pod, all of it on the peer.
pub(super) fn pods_answer(peer: &str, pod: IpAddr, setup: Setup) -> Vec<String> {
    let mut lines = vec![
        format!("On {peer}, in this order: does it forward, has it a route to the pod, is the pod there?"),
        format!("$ sysctl net.ipv4.ip_forward; ip route get {pod}; ip neigh show to {pod}"),
    ];
    if setup.cni == Cni::Calico {
        lines.push("Calico's pods answer only where their node has a default route:".into());
        lines.push("$ ip route get 169.254.1.1".into());
    }
    lines.push("Does a policy keep this node out?".into());
    lines.push("$ kubectl get networkpolicy --all-namespaces".into());
    lines
}

pub(super) fn peer_answers(peer: &str, address: IpAddr, link: Option<&str>, resolved: Option<bool>) -> Vec<String> {
    let dev = link.map(|link| format!(" dev {link}")).unwrap_or_default();
    let on = link.map(|link| format!(" on {link}")).unwrap_or_default();
    let unresolved = [
        format!(
            "Nobody{on} answers for it: look at cable, VLAN and switch port, and on {peer} at the link with {address}, which must \
             be UP and LOWER_UP:"
        ),
        "$ ip -br link; ip -br address".into(),
    ];
    let filtered = [
        format!(
            "A filter between here and {peer} drops ICMP, UDP from 33434 and TCP 9747 and 10250 alike, or answers go \
             astray; on {peer}, do packets arrive, and by which link do answers leave?"
        ),
        "$ tcpdump -ni any icmp; nft list ruleset".into(),
    ];
    let look = [
        "Is it resolved? FAILED or INCOMPLETE means that nobody answers for it:".into(),
        format!("$ ip route get {address}; ip neigh show to {address}{dev}"),
    ];
    match resolved {
        Some(false) => unresolved.into(),
        Some(true) => filtered.into(),
        None => look.into_iter().chain(unresolved).chain(filtered).collect(),
    }
}

pub(super) fn tunnel_delivers(fix: &Fix, setup: Setup) -> Vec<String> {
    let Fix::TunnelDelivers { tunnel, kind, port, overlay, underlay, fault } = fix else { return Vec::new() };
    let device = tunnel.as_deref().unwrap_or("TUNNEL");
    let peer = underlay.map_or_else(|| "PEER".into(), |address| address.to_string());
    match fault {
        DeliveryFault::NoRoute => missing(&format!("$ ip route get {overlay}; ip route show table all"), device, setup),
        DeliveryFault::NoNeighbour | DeliveryFault::NeighbourFailed => {
            missing(&format!("$ ip neigh show dev {device}"), device, setup)
        }
        DeliveryFault::NoForwarding => missing(&format!("$ bridge fdb show dev {device}"), device, setup),
        DeliveryFault::PortClosed => port_closed(&peer, device, *port),
        DeliveryFault::NotHere => not_here(&peer, device, &outer(*kind, *port)),
    }
}

/// The CNI writes its entries again when it starts; if they do not come back, it does not know the peer.
fn missing(show: &str, device: &str, setup: Setup) -> Vec<String> {
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

fn port_closed(peer: &str, device: &str, port: Option<u16>) -> Vec<String> {
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
    fn paths_of_equal_cost_are_followed_by_the_ports_that_take_them() {
        let carry = |to: &str, hops: &[&str], silent| {
            let hops = hops.iter().map(|hop| (hop.parse().unwrap(), Some(IpSize::new(1400)))).collect();
            let (to, size) = (to.parse().unwrap(), IpSize::new(1500));
            let fix = Fix::EqualPathsCarry { to, port: 33_440, size, good: 40_448, bad: 40_450, hops, silent };
            equal_paths_carry(&fix).join("\n")
        };
        insta::assert_snapshot!(carry("10.0.0.12", &["10.0.9.1"], true), @r#"
10.0.9.1 has a next hop that carries less, 1400 B, than those beside it: raise the MTU of that link to 1500 B.
Follow a flow that arrives and one that vanishes; the link behind the last hop of the second is bad:
$ traceroute -n -q 1 -F -U -p 33440 --sport=40448 10.0.0.12 1500
$ traceroute -n -q 1 -F -U -p 33440 --sport=40450 10.0.0.12 1500
Whoever has several next hops or a bond chooses by the ports of a flow; this node may be one:
$ ip route get 10.0.0.12; sysctl net.ipv4.fib_multipath_hash_policy; grep -H Policy /proc/net/bonding/*
Until it is mended, take the bad link out of its group (next hops, port channel, bond).
To see that it is mended:
$ mtuscope probe --ecmp 10.0.0.12
"#);
        let told = carry("10.0.0.12", &["10.0.9.1"], false);
        assert!(!told.contains("traceroute"), "the hop is known: {told}");
        let six = carry("fd00::12", &[], true);
        assert!(six.contains("traceroute -6 ") && six.contains("net.ipv6.fib_multipath_hash_policy"), "{six}");
    }

    #[test]
    fn tunnels_without_a_port_are_named_by_protocol() {
        assert_eq!(capture(&outer(Some("ipip"), None)), "ip proto 4");
        assert_eq!(capture(&outer(Some("wireguard"), Some(51_820))), "udp port 51820");
    }

    #[test]
    fn the_size_to_ping_with_leaves_out_the_headers() {
        let lines = |to: &str| {
            let (size, carries) = (IpSize::new(1500), IpSize::new(1400));
            let to = to.parse().unwrap();
            path_carries(&Fix::PathCarries { to, size, overhead: 0, carries, hop: None, silent: true }).join("\n")
        };
        assert!(lines("10.0.0.12").contains("ping -c 3 -M do -s 1472 10.0.0.12"));
        assert!(lines("fd00::2").contains("ping -6 -c 3 -M do -s 1452 fd00::2"));
        assert!(lines("fd00::2").contains("packet too big"));
    }

    #[test]
    fn a_cached_path_mtu_is_flushed_and_its_sender_looked_for() {
        let lines = |to: &str, locked| forget_path_mtu(to.parse().unwrap(), locked).join("\n");
        assert!(lines("10.0.0.12", false).contains("$ ip route flush cache; ip route get 10.0.0.12"));
        assert!(lines("fd00::2", false).contains("$ ip -6 route flush cache"));
        assert!(lines("10.0.0.12", true).contains("net.ipv4.route.min_pmtu"));
        assert!(!lines("10.0.0.12", false).contains("forger"));
    }

    #[test]
    fn a_tunnels_headers_count_on_the_wire() {
        let (to, hop) = ("10.244.2.0".parse().unwrap(), Some("10.0.9.1".parse().unwrap()));
        let (size, carries) = (IpSize::new(1450), IpSize::new(1350));
        let lines = path_carries(&Fix::PathCarries { to, size, overhead: 50, carries, hop, silent: false });
        assert_eq!(
            lines[0],
            "10.0.9.1 has a next hop that carries only 1400 B: raise the MTU of its link towards 10.244.2.0 to 1500 B \
             (1450 B and the tunnel's 50)."
        );
    }

    #[test]
    fn a_peer_is_looked_for_where_its_neighbour_entry_points() {
        let lines = |resolved| peer_answers("b", "10.0.0.12".parse().unwrap(), Some("vmbr1"), resolved).join("\n");
        assert!(lines(Some(false)).contains("Nobody on vmbr1") && !lines(Some(false)).contains("tcpdump"));
        assert!(lines(Some(true)).contains("tcpdump") && !lines(Some(true)).contains("Nobody"));
        assert!(lines(None).contains("ip neigh show to 10.0.0.12 dev vmbr1") && lines(None).contains("tcpdump"));
    }
}
