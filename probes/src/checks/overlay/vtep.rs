//! The three entries by which a VXLAN tunnel leads to a peer: the route to its pods by way of a *gateway* on the tunnel,
//! the neighbour entry that gives the gateway's hardware address, the forwarding entry that gives the node behind that.
//!
//! They are only asked for where the tunnel has no other way to find a peer ([`Tables::leads_by_entries`]). A tunnel that floods – by an
//! all-zero or multicast forwarding entry, a `remote`, a multicast `group` – resolves what it lacks, one that learns is
//! told by traffic, one with `l2miss` or `l3miss` asks a daemon, a port of a bridge carries frames and routes nothing, and
//! one in collect-metadata mode has its answers elsewhere. A tunnel that is down has lost its routes and neighbours to
//! the kernel, which is another code's.
//!
//! Not every peer is meant to be behind the tunnel: CrossSubnet and Flannel's direct routing lead to the pods of nodes in
//! the same subnet by a route of their own. Such a route has a prefix; what is left over when the route into the tunnel is
//! lost is the default route, or none.

use std::net::IpAddr;

use crate::fact::{Fact, Unread};
use crate::kernel::{Link, LinkIndex, Mac, Neighbour, NeighbourState, Route, RouteKind};
use crate::path::{PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::tables::Tables;

use super::signature;

/// The entries of one tunnel for one peer.
pub(super) struct Vtep<'a> {
    pub(super) key: &'a PathKey,
    pub(super) path: &'a Path,
    pub(super) peer: &'a Peer,
    pub(super) link: &'a Link,
    /// The neighbour that packets to the peer are sent to.
    pub(super) gateway: IpAddr,
    /// The address of the peer that no route leads to; `None` where one leads into the tunnel.
    pub(super) unrouted: Option<IpAddr>,
    pub(super) neighbour: Option<&'a Neighbour>,
    pub(super) forwarded: Forwarded,
    /// The node address that the tunnel should lead to, as far as anybody told.
    pub(super) home: Option<IpAddr>,
    /// The hardware address whose forwarding entry leads there.
    pub(super) home_mac: Option<Mac>,
}

/// What the forwarding table says of the neighbour's hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// There is no hardware address to look for.
    Unasked,
    /// It has no entry.
    Nowhere,
    /// It leads to a node.
    To(IpAddr),
    /// It leads to a group of nodes, by a nexthop object.
    Group,
}

/// A peer, the tunnel that leads to it, and what of that could not be read.
pub(super) type Read<'a> = Result<Vtep<'a>, (Subject, Unread)>;

/// The entries of every peer behind a tunnel that needs them.
///
/// # Errors
/// If one of the tables that they stand in could not be read, and there is such a tunnel.
pub(super) fn all(node: &Snapshot) -> Result<Vec<Read<'_>>, Unread> {
    let links = node.tables.links.read()?;
    let by_entries: Vec<_> = links.into_iter().flatten().filter(|link| node.tables.leads_by_entries(link)).collect();
    if by_entries.is_empty() {
        return Ok(Vec::new());
    }
    node.tables.neighbours.read()?;
    node.tables.forwarding.read()?;
    let overlay = node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay);
    Ok(overlay.filter_map(|(key, path)| read(node, &by_entries, key, path)).collect())
}

/// Whether the kernel can send to a neighbour as it is. One that is stale, or being confirmed, still has its address.
pub(super) const fn is_valid(entry: &Neighbour) -> bool {
    let resolved = !matches!(entry.state, NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None);
    resolved && entry.mac.is_some()
}

/// Whether nothing comes back of a path, as it was measured last.
pub(super) fn is_lost(path: &Path) -> bool {
    matches!(path.verdict(), Ok(Verdict::Unreachable { .. }))
}

/// Whether the peer's node is lost altogether: its tunnel is the least of it.
pub(super) fn node_is_lost(node: &Snapshot, key: &PathKey) -> bool {
    signature::underlay(node, key).is_some_and(|(_, path)| is_lost(path))
}

impl Vtep<'_> {
    /// Whether the neighbour entry is there and valid.
    pub(super) fn is_resolved(&self) -> bool {
        self.neighbour.is_some_and(is_valid)
    }

    /// The neighbour's hardware address.
    pub(super) fn mac(&self) -> Option<Mac> {
        self.neighbour.filter(|entry| is_valid(entry)).and_then(|entry| entry.mac)
    }
}

fn read<'a>(node: &'a Snapshot, tunnels: &[&'a Link], key: &'a PathKey, path: &'a Path) -> Option<Read<'a>> {
    let peer = node.peer(&key.peer)?;
    let led = match way(node, tunnels, key.address, path) {
        Err(why) => return Some(Err((Subject::path(key), why))),
        Ok(Way::Around) => return None,
        Ok(led) => led,
    };
    let (link, gateway) = match led {
        Way::Into(link, gateway) => (link, gateway),
        _ => (remembered(node, tunnels, peer, key)?, key.address),
    };
    let unrouted = match led {
        Way::Into(..) => unrouted_pod(node, tunnels, key),
        _ => Some(key.address),
    };
    let neighbour = node.tables.neighbours_at(link.index, gateway).next();
    let forwarded = neighbour.filter(|entry| is_valid(entry)).and_then(|entry| entry.mac);
    let home = home(node, peer, link);
    Some(Ok(Vtep {
        key,
        path,
        peer,
        link,
        gateway,
        unrouted,
        neighbour,
        forwarded: forwarded.map_or(Forwarded::Unasked, |mac| forwarding(&node.tables, link.index, mac)),
        home,
        home_mac: home.and_then(|home| node.tables.entries_to(link.index, home).next()).map(|entry| entry.mac),
    }))
}

/// Where the kernel sends what is for an address.
enum Way<'a> {
    /// Into one of the tunnels, to this neighbour.
    Into(&'a Link, IpAddr),
    /// Another way, which may well be meant.
    Around,
    /// To nobody who knows it.
    Astray,
}

/// # Errors
/// If the kernel's answer could not be read.
fn way<'a>(node: &Snapshot, tunnels: &[&'a Link], to: IpAddr, path: &Path) -> Result<Way<'a>, Unread> {
    let Some(answer) = node.lookups.get(&to) else { return Ok(Way::Around) };
    let Some(route) = answer.read()? else { return Ok(Way::Astray) };
    let hop = route.hops.first();
    let tunnel = hop.and_then(|hop| Some((hop, tunnels.iter().find(|link| link.index == hop.link)?)));
    Ok(match (route.kind, tunnel) {
        (RouteKind::Unicast, Some((hop, link))) => Way::Into(link, hop.gateway.unwrap_or(to)),
        (RouteKind::Blackhole | RouteKind::Refuse, _) => Way::Astray,
        (RouteKind::Unicast, None) if route.prefix == 0 && is_lost(path) => Way::Astray,
        _ => Way::Around,
    })
}

/// A pod of the peer that no route leads to, though one leads to its tunnel address.
fn unrouted_pod(node: &Snapshot, tunnels: &[&Link], key: &PathKey) -> Option<IpAddr> {
    let mut pods = node.paths_to(&key.peer, Plane::Pod, key.family());
    let astray = |(key, path): &(&PathKey, &Path)| matches!(way(node, tunnels, key.address, path), Ok(Way::Astray));
    pods.find(astray).map(|(key, _)| key.address)
}

/// The tunnel that led to a peer, or whose tables still name it; for a peer that the operator named and no table does,
/// the only one that speaks its family.
fn remembered<'a>(node: &Snapshot, tunnels: &[&'a Link], peer: &Peer, key: &PathKey) -> Option<&'a Link> {
    let behind = peer.behind(key.family()).and_then(|behind| tunnels.iter().find(|link| link.name == behind.tunnel));
    let speaks = |link: &&&Link| {
        let own = node.tables.addresses_of(link.index).any(|own| own.address.is_ipv4() == key.address.is_ipv4());
        own && node.outer_family(link.index).is_none_or(|outer| peer.underlay.of(outer).is_some())
    };
    let only = || match tunnels.iter().filter(speaks).collect::<Vec<_>>().as_slice() {
        [only] if peer.tunnels.is_empty() => Some(*only),
        _ => None,
    };
    let found = behind.or_else(only)?;
    let named = peer.name.parse::<IpAddr>().is_err();
    let tables = &node.tables;
    let whole = tables.far_end(found.index, key.address).is_some();
    // One entry alone, of a node that only the tables know, is what was left over when the node went.
    (named || whole).then_some(*found)
}

fn forwarding(tables: &Tables, link: LinkIndex, mac: Mac) -> Forwarded {
    let mut entries = tables.entries_for(link, mac).peekable();
    match entries.peek() {
        None => Forwarded::Nowhere,
        Some(_) => entries.find_map(|entry| entry.destination).map_or(Forwarded::Group, Forwarded::To),
    }
}

/// Where the peer's node is, by what the operator said or the tunnel's tables once did. What they say of it now may be
/// the fault: an address that the operator gave to another peer is not believed.
fn home(node: &Snapshot, peer: &Peer, link: &Link) -> Option<IpAddr> {
    let outer = node.outer_family(link.index);
    let behind = peer.tunnels.iter().find(|behind| behind.tunnel == link.name).and_then(|behind| behind.underlay);
    let told = || outer.map_or(peer.underlay.first(), |outer| peer.underlay.of(outer));
    behind.filter(|&end| owner(node, peer, end).is_none()).or_else(told)
}

/// Another peer that has this node address, unless this one has it too.
pub(super) fn owner<'a>(node: &'a Snapshot, peer: &Peer, address: IpAddr) -> Option<&'a Peer> {
    let mut others = node.peers_at(address).filter(|_| !peer.underlay.holds(address));
    others.find(|other| other.name != peer.name)
}

/// The line that `ip route` shows.
pub(super) fn route_line(tables: &Tables, route: &Route) -> String {
    let to = match (route.prefix, route.kind) {
        (0, _) => "default".to_owned(),
        (prefix, _) => format!("{}/{prefix}", route.destination),
    };
    let kind = match route.kind {
        RouteKind::Blackhole => "blackhole ",
        RouteKind::Refuse => "unreachable ",
        _ => "",
    };
    let hops = route.hops.iter().map(|hop| {
        let via = hop.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        let dev = tables.link(hop.link).map(|link| format!(" dev {}", link.name)).unwrap_or_default();
        via + &dev
    });
    let metric = if route.priority == 0 { String::new() } else { format!(" metric {}", route.priority) };
    format!("{kind}{to}{}{metric}", hops.collect::<String>())
}

/// The line that `ip neigh` shows.
pub(super) fn neighbour_line(entry: &Neighbour, tunnel: &str) -> String {
    let mac = entry.mac.map(|mac| format!(" lladdr {mac}")).unwrap_or_default();
    let external = if entry.external { " extern_learn" } else { "" };
    let state = serde_json::to_value(entry.state).ok();
    let state = state.and_then(|state| Some(state.as_str()?.to_uppercase())).unwrap_or_default();
    format!("{} dev {tunnel}{mac}{external} {state}", entry.address)
}

/// The line that `bridge fdb` shows.
pub(super) fn forwarding_line(mac: Mac, end: IpAddr, tunnel: &str) -> String {
    format!("{mac} dev {tunnel} dst {end} self")
}

/// The forwarding entry that leads to a node.
pub(super) fn forwarding_of(tables: &Tables, tunnel: &Link, mac: Mac) -> Option<String> {
    let mut entries = tables.entries_for(tunnel.index, mac).filter_map(|entry| Some((entry, entry.destination?)));
    entries.next().map(|(entry, end)| {
        let kept = if entry.permanent { " permanent" } else { "" };
        forwarding_line(mac, end, &tunnel.name) + kept
    })
}

/// What the kernel answers of the way to an address.
pub(super) fn answer_line(node: &Snapshot, to: IpAddr) -> Option<String> {
    match node.lookups.get(&to)? {
        Fact::Known(route) => Some(route_line(&node.tables, route)),
        Fact::Absent | Fact::Unread(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Hop;
    use crate::snapshot::example::{Example, ip, silent};

    fn first(node: &Snapshot) -> Vtep<'_> {
        all(node).unwrap().into_iter().find_map(Result::ok).unwrap()
    }

    #[test]
    fn the_entries_of_a_peer_are_read_off_its_tunnel() {
        let node = Example::reference().snapshot();
        let vtep = first(&node);
        assert_eq!((vtep.link.name.as_str(), vtep.gateway, vtep.unrouted), ("vxlan.calico", ip("10.244.2.0"), None));
        assert_eq!((vtep.forwarded, vtep.home), (Forwarded::To(ip("10.0.0.12")), Some(ip("10.0.0.12"))));
        assert_eq!(vtep.home_mac, vtep.mac());
        assert_eq!(all(&node).unwrap().len(), 2);
    }

    #[test]
    fn a_gateway_need_not_be_the_tunnel_address() {
        let mut node = Example::reference();
        let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.244.2.0")) else { unreachable!() };
        route.hops[0].gateway = Some(ip("10.244.2.64"));
        assert_eq!(first(&node.snapshot()).gateway, ip("10.244.2.64"));
    }

    #[test]
    fn where_the_node_is_is_not_believed_of_an_entry_that_leads_to_another_peer() {
        let mut node = Example::reference();
        let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
        forwarding[0].destination = Some(ip("10.0.0.13"));
        node.peers[0].tunnels[0].underlay = Some(ip("10.0.0.13"));
        assert_eq!(first(&node.snapshot()).home, Some(ip("10.0.0.12")));
        let mut node = Example::reference();
        node.peers[0].tunnels[0].underlay = Some(ip("10.9.0.12"));
        assert_eq!(first(&node.snapshot()).home, Some(ip("10.9.0.12")), "on another network than the node's address");
    }

    #[test]
    fn of_several_tunnels_none_is_guessed() {
        let mut node = Example::reference().vxlan("vxlan9", 1450, Some("vmbr1"), "10.0.0.11");
        node = node.address("vxlan9", "10.9.1.0", 32).verdict("master-2", Plane::Overlay, silent());
        node.lookups.insert(ip("10.244.2.0"), Fact::Absent);
        assert_eq!(all(&node.snapshot()).unwrap().len(), 2, "its tables name it");
        node.peers[0].tunnels.clear();
        assert_eq!(all(&node.snapshot()).unwrap().len(), 1);
    }

    #[test]
    fn no_tunnel_by_entries_needs_no_table() {
        let mut node = Example::reference().with("vxlan.calico", |link| link.up = false);
        node.tables.forwarding = Fact::Unread(crate::snapshot::example::failed(crate::fact::Source::Fdb));
        assert!(all(&node.snapshot()).unwrap().is_empty());
    }

    #[test]
    fn lines_read_as_the_commands_show_them() {
        let node = Example::reference();
        let (link, mac) = (node.index("vxlan.calico"), Some(Mac([2, 0, 0, 0, 0, 1])));
        let entry = |state, mac| Neighbour { link, address: ip("fd00::1"), mac, state, external: true };
        let shown = neighbour_line(&entry(NeighbourState::Stale, mac), "vxlan0");
        assert_eq!(shown, "fd00::1 dev vxlan0 lladdr 02:00:00:00:00:01 extern_learn STALE");
        assert_eq!(
            neighbour_line(&entry(NeighbourState::Failed, None), "vxlan0"),
            "fd00::1 dev vxlan0 extern_learn FAILED"
        );
        let mut route = node.lookups[&ip("10.244.2.0")].known().unwrap().clone();
        assert_eq!(route_line(&node.tables, &route), "10.244.2.0/26 via 10.244.2.0 dev vxlan.calico");
        (route.kind, route.hops) = (RouteKind::Refuse, Vec::new());
        assert_eq!(route_line(&node.tables, &route), "unreachable 10.244.2.0/26");
        (route.prefix, route.kind, route.hops) = (0, RouteKind::Unicast, vec![Hop { gateway: None, link }]);
        assert_eq!(route_line(&node.tables, &route), "default dev vxlan.calico");
    }
}
