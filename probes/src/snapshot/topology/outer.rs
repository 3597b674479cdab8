//! Which way a tunnel's outer packets take.
//!
//! They are routed like any packet that starts here, from the tunnel's `local` address: with policy routing (`ip rule
//! from …`) that decides the link, so the kernel is asked with that source. `dev` binds less than its name promises:
//!
//! - *VXLAN*: only the default destination (`remote`, `group`) is bound. A packet to an entry of the forwarding table
//!   leaves by whatever link the route names; a lab test shows it.
//! - *IPIP, GRE, SIT, over IPv6 too, and IPsec*: every packet is bound (`ip_tunnel_xmit` routes with `parms.link`).
//! - *Geneve, WireGuard, bare UDP*: there is no `dev`.
//! - Where `dev` is in a VRF the socket is bound to the VRF, whose table a plain look-up does not read: `dev` stands.
//!
//! A tunnel whose tables name no far end – collect-metadata mode, a CNI's WireGuard – leads to the peers' node addresses:
//! WireGuard to one of each peer, which is the IPv4 one except where the CNI has another device for that.
//! An IPIP or GRE device without `remote` takes the gateway of a route for the far end.
//!
//! The *lower* link is the narrowest of those that outer packets leave by: there a full-size packet fails first. A bound
//! link that is down took its routes along, and the way that is left over is the incident rather than the design: then
//! it is the bound link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::pods::may_carry_pods;
use crate::fact::Fact;
use crate::kernel::{Link, LinkIndex, Query, Route, RouteKind, Tunnel, TunnelKind};
use crate::peers::Peer;
use crate::tables::Tables;
use crate::units::Family;

/// What the kernel answers of every packet that it was asked about.
pub type Answers = BTreeMap<Query, Fact<Route>>;

/// What to ask so that the way of every tunnel's outer packets is known.
pub fn queries(tables: &Tables, peers: &[Peer]) -> BTreeSet<Query> {
    let mut queries = BTreeSet::new();
    for (link, tunnel) in tunnels(tables) {
        let from = source(tunnel, tables);
        let ends = ends(link, tunnel, tables, peers).into_iter();
        queries.extend(ends.filter(|&end| bound(tunnel, end, tables).is_none()).map(|end| query(end, from)));
    }
    queries
}

/// The source of outer packets to each far end, where a tunnel names one: a probe of the network below takes the same
/// way only from there.
pub fn sources(tables: &Tables, peers: &[Peer]) -> BTreeMap<IpAddr, IpAddr> {
    let mut sources = BTreeMap::new();
    for (link, tunnel) in tunnels(tables) {
        let Some(local) = source(tunnel, tables) else { continue };
        let same_family = |end: &IpAddr| end.is_ipv4() == local.is_ipv4();
        sources.extend(ends(link, tunnel, tables, peers).into_iter().filter(same_family).map(|end| (end, local)));
        // A tunnel that went down has flushed its tables; whom it led to is remembered.
        let remembered = peers.iter().filter(|peer| peer.is_behind(&link.name));
        for end in remembered.flat_map(|peer| peer.underlay).filter(same_family) {
            sources.entry(end).or_insert(local);
        }
    }
    sources
}

/// Unicast addresses that a tunnel's outer packets go to.
pub(super) fn ends(link: &Link, tunnel: &Tunnel, tables: &Tables, peers: &[Peer]) -> BTreeSet<IpAddr> {
    let told = tables.remotes_of(link.index).map(|(_, address)| address).chain(tunnel.remote);
    let told: BTreeSet<_> = told.chain(tables.far_gateways(link)).filter(is_unicast).collect();
    let silent = tunnel.external || (tunnel.kind == TunnelKind::Wireguard && may_carry_pods(link, tunnel));
    if !silent || !told.is_empty() {
        return told;
    }
    let nodes: BTreeSet<_> = peers.iter().flat_map(|peer| peer.underlay).collect();
    let family = tunnel.kind.outer().or((tunnel.kind == TunnelKind::Wireguard).then(|| endpoints(link)));
    let of_family = nodes.iter().copied().filter(|&node| family.is_none_or(|family| Family::of(node) == family));
    let chosen: BTreeSet<_> = of_family.collect();
    if chosen.is_empty() { nodes } else { chosen }
}

/// The family of the endpoints that a CNI gives to its WireGuard device on nodes of both families: `wg-v6.cali` and
/// `flannel-wg-v6` stand beside one for IPv4.
fn endpoints(link: &Link) -> Family {
    if link.name.contains("-v6") { Family::Ipv6 } else { Family::Ipv4 }
}

/// The links that outer packets leave by, as far as is known.
pub(super) fn egress(
    link: &Link,
    tunnel: &Tunnel,
    ends: &BTreeSet<IpAddr>,
    tables: &Tables,
    answers: &Answers,
) -> Vec<LinkIndex> {
    let from = source(tunnel, tables);
    let by_route = |end: IpAddr| {
        let route = answers.get(&query(end, from)).and_then(Fact::known);
        let route = route.filter(|route| route.kind == RouteKind::Unicast);
        route.into_iter().flat_map(|route| route.hops.iter().map(|hop| hop.link)).collect::<Vec<_>>()
    };
    let mut egress = Vec::new();
    for &end in ends {
        match bound(tunnel, end, tables) {
            Some(bound) => egress.push(bound),
            None => egress.extend(by_route(end)),
        }
    }
    let mut seen = BTreeSet::from([link.index]);
    egress.retain(|&link| seen.insert(link));
    egress
}

/// The one that counts of the links that outer packets leave by.
pub(super) fn lower(tunnel: &Tunnel, egress: &[LinkIndex], tables: &Tables) -> Option<LinkIndex> {
    let bound = tunnel.lower;
    let broken = bound.and_then(|bound| tables.link(bound)).is_some_and(|bound| !bound.works());
    if broken {
        return bound;
    }
    let known = egress.iter().filter_map(|&index| tables.link(index));
    let narrowest = known.min_by_key(|link| (link.mtu, Some(link.index) != bound)).map(|link| link.index);
    let by_address = || tunnel.local.and_then(|local| super::owner(tables, local));
    narrowest.or(bound).or_else(by_address)
}

fn tunnels(tables: &Tables) -> impl Iterator<Item = (&Link, &Tunnel)> {
    tables.links().iter().filter_map(|link| Some((link, link.tunnel.as_ref()?)))
}

fn query(to: IpAddr, from: Option<IpAddr>) -> Query {
    Query { to, from: from.filter(|from| Family::of(*from) == Family::of(to)) }
}

/// `local`, where it is ours: the kernel refuses the look-up, and the packet, from an address that is not.
fn source(tunnel: &Tunnel, tables: &Tables) -> Option<IpAddr> {
    tunnel.local.filter(|&local| tables.is_own(local))
}

/// The link that packets to a far end are bound to; `None` where they are routed.
fn bound(tunnel: &Tunnel, end: IpAddr, tables: &Tables) -> Option<LinkIndex> {
    let bound = tunnel.lower?;
    let master = || tables.link(tables.link(bound)?.master?);
    let is_bound = match tunnel.kind {
        TunnelKind::Vxlan | TunnelKind::Geneve | TunnelKind::Wireguard | TunnelKind::Bareudp => {
            tunnel.remote == Some(end) || master().is_some_and(|master| master.kind == "vrf")
        }
        _ => true,
    };
    is_bound.then_some(bound)
}

fn is_unicast(address: &IpAddr) -> bool {
    !address.is_multicast() && !address.is_unspecified()
}
