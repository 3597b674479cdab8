//! The network between nodes: paths and peers.

use std::net::IpAddr;

use crate::path::Hole;
use crate::units::{Family, IpSize, LinkMtu};

use super::{Fix, Lost};

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
    let Fix::PathCarries { to, size, overhead, carries, lost } = fix else { return Vec::new() };
    let wire = on_the_wire(*size, *overhead);
    let what = match lost {
        Lost::Silently { hole } => silent(*to, &wire, *hole),
        Lost::Told { by: Some(hop) } => {
            let now = carries.plus(*overhead);
            format!("{hop} has a next hop that carries only {now} B: raise the MTU of its link towards {to} to {wire}.")
        }
        Lost::Told { by: None } => {
            format!("A link of this node limits the path to {carries} B: see which, and raise it or the route's `mtu`:")
        }
    };
    let here = matches!(lost, Lost::Told { by: None });
    let look = here.then(|| format!("$ ip route get {to}; ip -br link"));
    std::iter::once(what).chain(look).chain(mended(*to, *size)).collect()
}

/// What gets lost is known only as far as packets were seen to come.
fn silent(to: IpAddr, wire: &str, hole: Option<Hole>) -> String {
    let too_big = too_big(Family::of(to));
    let told = |to_whom: &str| format!("let {too_big} through every filter, back to {to_whom}");
    let Some(Hole { after, before }) = hole else {
        return format!(
            "Every NIC, bridge and switch port on the way to {to} must carry {wire}. A router that cannot must be able \
             to say so: {}.",
            told("the node that sent the packet")
        );
    };
    match after {
        Some(after) => format!(
            "{after} gets such packets and {before} does not: the link between them, at both ends, and every switch and \
             bridge on it must carry {wire}. If {after} knows that its own end is smaller it must be able to say so: {}.",
            told("the sender")
        ),
        None => format!(
            "Such packets do not even get to {before}: this node's NIC and bridge, the link there, at both ends, and every \
             switch on it must carry {wire}."
        ),
    }
}

/// The other way is measured from the other end: that is where its hops show.
pub(super) fn way_back_carries(fix: &Fix) -> Vec<String> {
    let Fix::WayBackCarries { peer, to, here, size, overhead, silent } = fix else { return Vec::new() };
    let (wire, family) = (on_the_wire(*size, *overhead), Family::of(*to));
    let here = here.map_or_else(|| "THIS_NODE".into(), |address| address.to_string());
    let told = if *silent {
        format!(
            " A router that cannot must be able to say so: let {} through every filter, back to {peer}.",
            too_big(family)
        )
    } else {
        String::new()
    };
    let flush = match family {
        Family::Ipv4 => "ip route flush cache",
        Family::Ipv6 => "ip -6 route flush cache",
    };
    let lines = [
        format!(
            "Look on the way from {peer} to here: every NIC, bridge and switch port on it must carry {wire}.{told} On \
             {peer}, where the hops of that way show:"
        ),
        format!("$ mtuscope probe {here}; ip route get {here}"),
        format!(
            "On {peer}, if that shows an `mtu`: with `expires` it remembers what a hop said once and can forget it; without, \
             somebody wrote it into the route, and has to write another one."
        ),
        format!("$ {flush}"),
    ];
    lines.into_iter().chain(mended(*to, *size)).collect()
}

fn on_the_wire(size: IpSize, overhead: u32) -> String {
    match overhead {
        0 => format!("{size} B"),
        _ => format!("{} B ({size} B and the tunnel's {overhead})", size.plus(overhead)),
    }
}

const fn too_big(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ICMP \"fragmentation needed\" (type 3 code 4)",
        Family::Ipv6 => "ICMPv6 \"packet too big\" (type 2)",
    }
}

fn mended(to: IpAddr, size: IpSize) -> [String; 2] {
    let family = Family::of(to);
    let ping = if family == Family::Ipv4 { "ping" } else { "ping -6" };
    let payload = size.payload(family).bytes();
    ["To see that it is mended:".into(), format!("$ mtuscope probe {to}; {ping} -c 3 -M do -s {payload} {to}")]
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

pub(super) fn peer_answers(peer: &str, address: IpAddr, link: Option<&str>, resolved: Option<bool>) -> Vec<String> {
    let dev = link.map(|link| format!(" dev {link}")).unwrap_or_default();
    let on = link.map(|link| format!(" on {link}")).unwrap_or_default();
    let icmp = if Family::of(address) == Family::Ipv4 { "icmp" } else { "icmp6" };
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
        format!("$ tcpdump -ni any {icmp}; nft list ruleset"),
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

/// A tunnel's MTU is one for all nodes, and this one knows its own paths alone.
pub(super) fn room_on_every_node(has: LinkMtu, room: LinkMtu) -> Vec<String> {
    vec![
        format!(
            "See that no node has room for less than {room} B: ask each which MTU it recommends, take the smallest in \
             place of {room}, and leave all as it is if that is {has}:"
        ),
        "$ curl -s http://NODE:9747/metrics | grep ^mtuscope_recommended_overlay_mtu_bytes".into(),
        format!("If {has} B is what is meant, say so to the agent: `expect: {{ overlay_mtu: {has} }}`."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::HopAt;

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
    fn the_size_to_ping_with_leaves_out_the_headers() {
        let lines = |to: &str| {
            let (size, carries) = (IpSize::new(1500), IpSize::new(1400));
            let to = to.parse().unwrap();
            let lost = Lost::Silently { hole: None };
            path_carries(&Fix::PathCarries { to, size, overhead: 0, carries, lost }).join("\n")
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
        let (to, lost) = ("10.244.2.0".parse().unwrap(), Lost::Told { by: Some("10.0.9.1".parse().unwrap()) });
        let (size, carries) = (IpSize::new(1450), IpSize::new(1350));
        let lines = path_carries(&Fix::PathCarries { to, size, overhead: 50, carries, lost });
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

    #[test]
    fn what_sends_and_what_does_not_get_it_are_named() {
        let lines = |after: Option<u8>| {
            let at = |ttl| HopAt { ttl, address: Some(IpAddr::from([10, 9, 0, ttl])) };
            let hole = Some(Hole { after: after.map(at), before: at(after.unwrap_or(0) + 1) });
            let (to, size, carries) = ("10.0.0.12".parse().unwrap(), IpSize::new(1500), IpSize::new(1400));
            let lost = Lost::Silently { hole };
            path_carries(&Fix::PathCarries { to, size, overhead: 0, carries, lost })[0].clone()
        };
        let between = lines(Some(1));
        assert!(between.starts_with("10.9.0.1 (hop 1) gets such packets and 10.9.0.2 (hop 2) does not"), "{between}");
        assert!(between.contains("must carry 1500 B"), "{between}");
        assert!(lines(None).starts_with("Such packets do not even get to 10.9.0.1 (hop 1)"), "{}", lines(None));
    }

    #[test]
    fn the_way_back_is_looked_at_from_the_other_end() {
        let lines = |to: &str, silent| {
            let (to, here) = (to.parse().unwrap(), Some("10.0.0.11".parse().unwrap()));
            let fix = Fix::WayBackCarries { peer: "b".into(), to, here, size: IpSize::new(1500), overhead: 0, silent };
            way_back_carries(&fix).join("\n")
        };
        insta::assert_snapshot!(lines("10.0.0.12", false), @r#"
Look on the way from b to here: every NIC, bridge and switch port on it must carry 1500 B. On b, where the hops of that way show:
$ mtuscope probe 10.0.0.11; ip route get 10.0.0.11
On b, if that shows an `mtu`: with `expires` it remembers what a hop said once and can forget it; without, somebody wrote it into the route, and has to write another one.
$ ip route flush cache
To see that it is mended:
$ mtuscope probe 10.0.0.12; ping -c 3 -M do -s 1472 10.0.0.12
"#);
        let silent = lines("fd00::2", true);
        assert!(silent.contains("packet too big") && silent.contains("back to b"), "{silent}");
        assert!(silent.contains("$ ip -6 route flush cache"), "{silent}");
        assert!(!lines("10.0.0.12", false).contains("A router that cannot"));
    }

    #[test]
    fn a_peer_of_ipv6_is_listened_for_as_such() {
        let lines = |address: &str| peer_answers("b", address.parse().unwrap(), None, Some(true)).join("\n");
        assert!(lines("fd00::2").contains("tcpdump -ni any icmp6;") && lines("10.0.0.12").contains("any icmp;"));
    }
}
