//! Peers as the kernel's tunnel tables tell them.
//!
//! What Calico and Flannel program for one peer: `PREFIX via OVERLAY dev TUNNEL onlink`, a permanent neighbour
//! `OVERLAY lladdr MAC`, and a forwarding entry `MAC dst UNDERLAY`. Where pods of both families share the tunnel there is
//! a neighbour of each, and both lead to the same far end. Devices in collect-metadata mode hold none of it.
//!
//! What a node that went has left behind is no peer: a neighbour or a forwarding entry that leads to nothing and that no
//! route needs. Where a route's gateway lacks an entry, the odd one may well be its own, and is kept.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::kernel::{Link, Neighbour, NeighbourState, RouteKind};
use crate::tables::Tables;
use crate::units::Dual;

/// One node as found on one tunnel: either half may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Node address, the far end of the tunnel.
    pub(super) underlay: Option<IpAddr>,
    /// Tunnel addresses: pods of both families may share the tunnel.
    pub(super) overlay: Dual,
}

impl Found {
    /// Whether both name the same node.
    pub(super) fn is_same_node(&self, other: &Self) -> bool {
        let same_end = self.underlay.is_some() && self.underlay == other.underlay;
        same_end || self.overlay.shares(other.overlay)
    }

    /// Every address of it.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.underlay.into_iter().chain(self.overlay)
    }

    /// This, and of another finding about the same node what is missing here.
    fn or(self, other: Self) -> Self {
        Self { underlay: self.underlay.or(other.underlay), overlay: self.overlay.or(other.overlay) }
    }
}

/// What each tunnel's tables tell, by the tunnel's name.
pub(super) fn all(tables: &Tables) -> Vec<(String, Vec<Found>)> {
    let static_tunnel = |link: &&Link| link.tunnel.as_ref().is_some_and(|tunnel| !tunnel.external);
    tables.links().iter().filter(static_tunnel).map(|link| (link.name.clone(), found_on(link, tables))).collect()
}

/// Whether an entry that is missing from this tunnel is gone, rather than flushed or not readable.
pub(super) fn speaks_for_itself(tunnel: &str, tables: &Tables) -> bool {
    let readable =
        tables.routes.known().is_some() && tables.neighbours.known().is_some() && tables.forwarding.known().is_some();
    readable && tables.link_named(tunnel).is_some_and(Link::works)
}

/// Whether a tunnel is gone and one of those `present` leads to a peer that it led to.
pub(super) fn is_succeeded(tunnel: &str, old: &[Found], present: &[(String, Vec<Found>)]) -> bool {
    let leads_to = |memory: &Found| present.iter().flat_map(|(_, fresh)| fresh).any(|found| found.is_same_node(memory));
    !present.iter().any(|(name, _)| name == tunnel) && old.iter().any(leads_to)
}

/// What is known of a tunnel's peers, given what was remembered and what its tables tell. What is lost is filled in by
/// family, and never with an address that the tables give to another node by now.
pub(super) fn recall(old: &[Found], fresh: Vec<Found>, speaks: bool) -> Vec<Found> {
    let mut known: Vec<Found> = Vec::new();
    for found in &fresh {
        let memory = old.iter().find(|memory| memory.is_same_node(found)).copied();
        let is_free =
            |address: IpAddr| !fresh.iter().any(|other| other != found && is_elsewhere(other, found, address));
        let memory = memory.map(|memory| Found { overlay: memory.overlay.filter(is_free), ..memory });
        join(&mut known, memory.map_or(*found, |memory| found.or(memory)));
    }
    if !speaks {
        let lost = old.iter().filter(|memory| !known.iter().any(|seen| seen.is_same_node(memory)));
        known.extend(lost.copied().collect::<Vec<_>>());
    }
    known
}

/// Whether an address is that of another node.
fn is_elsewhere(other: &Found, found: &Found, address: IpAddr) -> bool {
    other.overlay.holds(address) && other.underlay.is_some() && other.underlay != found.underlay
}

/// Adds a finding to those of the tunnel. What is told of one node twice is one finding.
fn join(known: &mut Vec<Found>, found: Found) {
    match known.iter_mut().find(|seen| seen.is_same_node(&found)) {
        Some(seen) => *seen = seen.or(found),
        None => known.push(found),
    }
}

fn found_on(link: &Link, tables: &Tables) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let whole = is_whole(link, tables);
    for overlay in overlay_addresses(link, tables, whole) {
        let underlay = tables.far_end(link.index, overlay).filter(is_unicast);
        join(&mut found, Found { underlay, overlay: overlay.into() });
    }
    let fixed = link.tunnel.as_ref().and_then(|tunnel| tunnel.remote);
    let claimed = |mac| tables.neighbours_of(link.index).any(|entry| entry.mac == Some(mac));
    let remotes = tables.remotes_of(link.index).filter(|(entry, _)| !whole || claimed(entry.mac));
    let ends = remotes.map(|(_, address)| address).chain(fixed);
    let ends = ends.chain(tables.far_gateways(link)).filter(is_unicast);
    for end in ends.collect::<BTreeSet<_>>() {
        join(&mut found, Found { underlay: Some(end), overlay: Dual::NONE });
    }
    found
}

/// Tunnel addresses of peers: gateways of routes through the tunnel, and the neighbours that a CNI wrote into it. One that
/// the kernel resolved by itself is any host of a network that is stretched over the tunnel.
fn overlay_addresses(link: &Link, tables: &Tables, whole: bool) -> BTreeSet<IpAddr> {
    let far = tables.far_gateways(link);
    let gateways = gateways(link, tables).filter(move |gateway| !far.contains(gateway));
    let written = |entry: &&Neighbour| entry.state == NeighbourState::Permanent || entry.external;
    let leads = |address| !whole || tables.far_end(link.index, address).is_some();
    let neighbours = tables.neighbours_of(link.index).filter(written).map(|entry| entry.address);
    gateways.chain(neighbours.filter(|&address| leads(address))).filter(is_unicast).collect()
}

/// Gateways of the routes that lead into a tunnel.
fn gateways(link: &Link, tables: &Tables) -> impl Iterator<Item = IpAddr> {
    let into = link.index;
    let routes = tables.routes.known().into_iter().flatten().filter(|route| route.kind == RouteKind::Unicast);
    routes.flat_map(|route| &route.hops).filter(move |hop| hop.link == into).filter_map(|hop| hop.gateway)
}

/// Whether a tunnel that leads by entries has them for every gateway, of which there is at least one.
fn is_whole(link: &Link, tables: &Tables) -> bool {
    let mut gateways = gateways(link, tables).peekable();
    let some = gateways.peek().is_some();
    some && tables.leads_by_entries(link) && gateways.all(|gateway| tables.far_end(link.index, gateway).is_some())
}

pub(super) fn is_unicast(address: &IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    !address.is_multicast() && !address.is_unspecified() && !link_local
}
