//! Whether a tunnel's link and address are those by which the kernel reaches its far ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Astray, Right, Wrong};
use crate::config::Prefix;
use crate::fact::{Fact, Unread};
use crate::kernel::{Address, Link, LinkIndex, Query, Route, RouteKind};
use crate::peers::Peer;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::{TunnelView, owner};
use crate::tables::covers;
use crate::units::Family;

/// Where a tunnel is.
pub(super) struct Base {
    /// The link that it is bound to.
    pub(super) bound: Option<LinkIndex>,
    /// The source address of its outer packets.
    pub(super) local: Option<IpAddr>,
    /// The link that has this address.
    pub(super) owner: Option<LinkIndex>,
}

/// A far end, and how this node reaches it.
pub(super) struct End {
    address: IpAddr,
    peer: Option<String>,
    links: Vec<LinkIndex>,
    /// The kernel would neither send by the tunnel's link nor from its address.
    astray: bool,
    /// The address that the operator names for this peer, where it is reached by another link, and whether the tunnel is
    /// on the network of that one.
    named: Option<(IpAddr, bool)>,
    /// Why it is not known how the end is reached.
    pub(super) unread: Option<Unread>,
}

impl Base {
    /// Where a tunnel is, if it is anywhere that could be wrong.
    pub(super) fn of(node: &Snapshot, tunnel: &TunnelView) -> Option<Self> {
        let link = node.tables.link(tunnel.link)?;
        let device = link.tunnel.as_ref()?;
        if tunnel.external || link.other_namespace.is_some() {
            return None;
        }
        let local = device.local.filter(|address| !address.is_unspecified());
        let base = Self { bound: device.lower, local, owner: local.and_then(|local| owner(&node.tables, local)) };
        let placed = base.bound.is_some() || base.local.is_some();
        let in_vrf = base.links().filter_map(|link| node.tables.link(link)).any(|link| is_in_vrf(node, link));
        (placed && !in_vrf).then_some(base)
    }

    fn links(&self) -> impl Iterator<Item = LinkIndex> + use<> {
        self.bound.into_iter().chain(self.owner)
    }

    /// A link of it that is down.
    pub(super) fn down(&self, node: &Snapshot) -> Option<String> {
        let mut links = self.links().filter_map(|link| node.tables.link(link));
        links.find(|link| !link.works()).map(|link| link.name.clone())
    }

    /// Whether its address is on no link of this machine.
    pub(super) const fn is_nowhere(&self) -> bool {
        self.local.is_some() && self.owner.is_none()
    }

    /// Whether it is not on the networks that the operator means.
    pub(super) fn is_off(&self, node: &Snapshot, meant: &[Prefix]) -> bool {
        let bound = || self.bound.into_iter().flat_map(|link| node.tables.addresses_of(link)).filter(|own| own.global);
        match self.local {
            Some(local) => is_outside(meant, local),
            None => bound().next().is_some() && bound().all(|own| is_outside(meant, own.address)),
        }
    }

    /// Who is on the wrong network, given that somebody is.
    pub(super) fn blame(&self, node: &Snapshot, meant: &[Prefix], ends: &[End]) -> Wrong {
        if self.is_nowhere() || self.is_off(node, meant) {
            return Wrong::ThisNode;
        }
        let known = ends.iter().filter(|end| end.unread.is_none());
        let (astray, fit): (Vec<_>, Vec<_>) = known.partition(|end| end.is_astray(meant));
        let right_by_name = astray.iter().any(|end| end.named.is_some_and(|(_, suits)| suits));
        let right_by_network = self.local.is_some_and(|local| meant.iter().any(|network| network.holds(local)));
        if right_by_name || right_by_network || fit.len() >= astray.len() { Wrong::Peers } else { Wrong::ThisNode }
    }

    /// Where this node's end belongs: where it is, if the peers are wrong.
    pub(super) fn right(&self, node: &Snapshot, wrong: Wrong, meant: &[Prefix], ends: &[End]) -> Option<Right> {
        let astray = ends.iter().filter(|end| end.is_astray(meant));
        let by_route = || {
            astray.clone().find_map(|end| {
                let reached = end.named.map_or(end.address, |(named, _)| named);
                Some((unicast(self.answer(node, reached))?.hops.first()?.link, reached))
            })
        };
        let by_network = || {
            let own = node.tables.addresses.known()?.iter().find(|own| meant.iter().any(|it| it.holds(own.address)))?;
            Some((own.link, ends.first().map_or(own.address, |end| end.address)))
        };
        let here = || Some((self.bound.or(self.owner)?, ends.iter().find(|end| !end.is_astray(meant))?.address));
        let (link, end) = match wrong {
            Wrong::Peers => here().or_else(by_network).or_else(by_route)?,
            Wrong::ThisNode => by_network().or_else(by_route)?,
        };
        let own = || node.tables.addresses_of(link).filter(|own| own.global);
        let shared = own().find(|own| has_subnet(own) && covers(own.address, own.prefix, end));
        Some(Right {
            link: node.tables.link(link)?.name.clone(),
            address: shared.or_else(|| own().next()).map(|own| own.address),
            network: shared.and_then(|own| Prefix::around(own.address, own.prefix)).map(|network| network.to_string()),
            end,
        })
    }

    /// The kernel's route to an address: of a packet from the tunnel's own, where it was asked for that one.
    fn answer<'a>(&self, node: &'a Snapshot, to: IpAddr) -> Option<&'a Fact<Route>> {
        let from = self.local.filter(|local| self.owner.is_some() && local.is_ipv4() == to.is_ipv4());
        node.outer.get(&Query { to, from }).or_else(|| node.lookups.get(&to))
    }

    /// Whether the kernel would neither send to an address by the tunnel's link nor from its address.
    fn is_astray_from(&self, node: &Snapshot, to: IpAddr, route: &Route) -> bool {
        let chosen = self.local.is_some() && route.source == self.local;
        let attached = route.hops.iter().any(|hop| is_attached(node, hop.link, to));
        let suits = |link| suits(node, link, to, route);
        let bound = self.bound.is_some_and(|link| !suits(link) && (attached || (self.local.is_some() && !chosen)));
        let local = self.owner.is_some_and(|link| !chosen && !is_anywhere(node, link, self.local) && !suits(link));
        bound || local
    }
}

impl End {
    /// Whether it is on another network than the tunnel, or than the operator means.
    pub(super) fn is_astray(&self, meant: &[Prefix]) -> bool {
        self.astray || self.named.is_some() || is_outside(meant, self.address)
    }

    pub(super) fn told(&self, node: &Snapshot) -> Astray {
        let names = self.links.iter().filter_map(|&link| node.tables.link(link)).map(|link| link.name.clone());
        Astray {
            peer: self.peer.clone(),
            end: self.address,
            leaves_by: names.collect(),
            named: self.named.map(|(named, _)| named),
        }
    }
}

/// The far ends that a tunnel leads to, this machine's own left out.
pub(super) fn ends(node: &Snapshot, tunnel: &TunnelView, base: &Base) -> Vec<End> {
    let fixed = node.tables.link(tunnel.link).and_then(|link| link.tunnel.as_ref()?.remote);
    let remotes = node.tables.remotes_of(tunnel.link).map(|(_, address)| address).chain(fixed);
    let unicast = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    let addresses: BTreeSet<_> = remotes.filter(unicast).filter(|&address| !node.tables.is_own(address)).collect();
    let peers = peers(node, tunnel);
    addresses.into_iter().map(|address| end(node, peers.get(&address).copied(), base, address)).collect()
}

/// The peer whose each far end is: the first that has the address, or whose tunnel address it is behind.
fn peers<'a>(node: &'a Snapshot, tunnel: &TunnelView) -> BTreeMap<IpAddr, &'a Peer> {
    let mut peers = BTreeMap::new();
    for peer in &node.peers {
        let behind = peer.overlay.into_iter().filter_map(|overlay| node.tables.far_end(tunnel.link, overlay));
        for end in peer.underlay.into_iter().chain(behind) {
            peers.entry(end).or_insert(peer);
        }
    }
    peers
}

fn end(node: &Snapshot, peer: Option<&Peer>, base: &Base, address: IpAddr) -> End {
    let answer = base.answer(node, address);
    let route = unicast(answer);
    let links: Vec<_> = route.into_iter().flat_map(|route| &route.hops).map(|hop| hop.link).collect();
    let named = peer.and_then(|peer| peer.underlay.of(Family::of(address))).filter(|&named| named != address);
    let elsewhere = named.and_then(|named| {
        let other = unicast(base.answer(node, named))?;
        let same = links.is_empty() || links.iter().any(|&link| suits(node, link, named, other));
        (!same).then(|| (named, !base.is_astray_from(node, named, other)))
    });
    End {
        address,
        peer: peer.map(|peer| peer.name.clone()),
        astray: route.is_some_and(|route| base.is_astray_from(node, address, route)),
        links,
        named: elsewhere,
        unread: answer.and_then(|route| route.read().err()),
    }
}

fn unicast(answer: Option<&Fact<Route>>) -> Option<&Route> {
    answer.and_then(Fact::known).filter(|route| route.kind == RouteKind::Unicast)
}

/// Whether a link is one that the route leaves by, stands on or under it, shares a subnet with the address, or is used
/// for it by another table's route.
fn suits(node: &Snapshot, link: LinkIndex, to: IpAddr, route: &Route) -> bool {
    let stacked = |hop: LinkIndex| node.topology.chain(hop).contains(&link) || node.topology.chain(link).contains(&hop);
    let in_vrf = |hop| node.tables.link(hop).is_some_and(|link| is_in_vrf(node, link));
    route.hops.iter().any(|hop| stacked(hop.link) || in_vrf(hop.link))
        || is_attached(node, link, to)
        || is_used_by_policy(node, link, to, route.table)
}

/// Whether the address is in a subnet of the link.
fn is_attached(node: &Snapshot, link: LinkIndex, to: IpAddr) -> bool {
    node.tables.addresses_of(link).any(|own| own.global && has_subnet(own) && covers(own.address, own.prefix, to))
}

fn is_used_by_policy(node: &Snapshot, link: LinkIndex, to: IpAddr, table: u32) -> bool {
    let mut routes = node.tables.routes.known().into_iter().flatten();
    routes.any(|route| {
        let other = route.kind == RouteKind::Unicast && route.table != table && route.table != LOCAL_TABLE;
        other && covers(route.destination, route.prefix, to) && route.hops.iter().any(|hop| hop.link == link)
    })
}

/// Whether an address says nothing of a network: on `lo`, on a dummy, or without a subnet.
fn is_anywhere(node: &Snapshot, link: LinkIndex, address: Option<IpAddr>) -> bool {
    let virtual_link = node.tables.link(link).is_some_and(|link| link.is_loopback() || link.kind == "dummy");
    let mut own = node.tables.addresses_of(link).filter(|own| Some(own.address) == address);
    virtual_link || !own.any(has_subnet)
}

const fn has_subnet(own: &Address) -> bool {
    own.prefix < if own.address.is_ipv4() { 32 } else { 128 }
}

fn is_outside(meant: &[Prefix], address: IpAddr) -> bool {
    let mut networks = meant.iter().filter(|network| network.is_of_family(address)).peekable();
    networks.peek().is_some() && !networks.any(|network| network.holds(address))
}

fn is_in_vrf(node: &Snapshot, link: &Link) -> bool {
    let master = link.master.and_then(|master| node.tables.link(master));
    link.kind == "vrf" || master.is_some_and(|master| master.kind == "vrf")
}

/// `RT_TABLE_LOCAL`.
const LOCAL_TABLE: u32 = 255;
