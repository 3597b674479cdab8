//! Peers as the kernel's tunnel tables tell them.
//!
//! What Calico and Flannel program for one peer: `PREFIX via OVERLAY dev TUNNEL onlink`, a permanent neighbour
//! `OVERLAY lladdr MAC`, and a forwarding entry `MAC dst UNDERLAY`. Where pods of both families share the tunnel there is
//! a neighbour of each, and both lead to the same far end. Devices in collect-metadata mode hold none of it.
//!
//! What a node that went has left behind is no peer: a neighbour or a forwarding entry that leads to nothing and that no
//! route needs. Where a route's gateway lacks an entry, the odd one may well be its own, and is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::kernel::{Link, Mac, Neighbour, NeighbourState, RouteKind};
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
    let leads_to = || {
        let known = Register::of(present.iter().flat_map(|(_, fresh)| fresh));
        old.iter().any(|memory| known.find(memory).is_some())
    };
    !present.iter().any(|(name, _)| name == tunnel) && leads_to()
}

/// What is known of a tunnel's peers, given what was remembered and what its tables tell. What is lost is filled in by
/// family, and never with an address that the tables give to another node by now.
pub(super) fn recall(old: &[Found], fresh: Vec<Found>, speaks: bool) -> Vec<Found> {
    let memories = Register::of(old.iter());
    let mut elsewhere: BTreeMap<IpAddr, BTreeSet<IpAddr>> = BTreeMap::new();
    for (end, inner) in fresh.iter().filter_map(|found| Some((found.underlay?, found.overlay))) {
        for address in inner {
            elsewhere.entry(address).or_default().insert(end);
        }
    }
    let mut known = Known::default();
    for found in &fresh {
        let is_free = |address: IpAddr| {
            let mut ends = elsewhere.get(&address).into_iter().flatten();
            !ends.any(|&end| found.underlay != Some(end))
        };
        let memory = memories.find(found).map(|at| old[at]);
        let memory = memory.map(|memory| Found { overlay: memory.overlay.filter(is_free), ..memory });
        known.join(memory.map_or(*found, |memory| found.or(memory)));
    }
    let Known { mut found, register } = known;
    if !speaks {
        found.extend(old.iter().filter(|memory| register.find(memory).is_none()));
    }
    found
}

/// Where in a list stands what is told of a node, by its addresses: the first of several.
#[derive(Debug, Default)]
struct Register {
    ends: BTreeMap<IpAddr, usize>,
    inner: BTreeMap<IpAddr, usize>,
}

impl Register {
    fn of<'a>(all: impl Iterator<Item = &'a Found>) -> Self {
        let mut register = Self::default();
        all.enumerate().for_each(|(at, found)| register.add(found, at));
        register
    }

    fn add(&mut self, found: &Found, at: usize) {
        let first = |known: &mut usize| *known = at.min(*known);
        if let Some(end) = found.underlay {
            self.ends.entry(end).and_modify(first).or_insert(at);
        }
        for address in found.overlay {
            self.inner.entry(address).and_modify(first).or_insert(at);
        }
    }

    fn find(&self, found: &Found) -> Option<usize> {
        let end = found.underlay.and_then(|end| self.ends.get(&end));
        let inner = found.overlay.into_iter().filter_map(|address| self.inner.get(&address));
        end.into_iter().chain(inner).min().copied()
    }
}

/// Findings of one tunnel. What is told of one node twice is one finding.
#[derive(Debug, Default)]
struct Known {
    found: Vec<Found>,
    register: Register,
}

impl Known {
    fn join(&mut self, found: Found) {
        let at = self.register.find(&found).unwrap_or(self.found.len());
        match self.found.get_mut(at) {
            Some(seen) => *seen = seen.or(found),
            None => self.found.push(found),
        }
        self.register.add(&self.found[at], at);
    }
}

/// The entries of a tunnel: neighbour → MAC → forwarding entry, the first of each as [`Tables::far_end`] takes it.
struct Entries {
    macs: BTreeMap<IpAddr, Option<Mac>>,
    ends: BTreeMap<Mac, IpAddr>,
}

impl Entries {
    fn of(link: &Link, tables: &Tables) -> Self {
        let (mut macs, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for entry in tables.neighbours_of(link.index) {
            macs.entry(entry.address).or_insert(entry.mac);
        }
        for (entry, address) in tables.remotes_of(link.index) {
            ends.entry(entry.mac).or_insert(address);
        }
        Self { macs, ends }
    }

    fn far_end(&self, neighbour: IpAddr) -> Option<IpAddr> {
        self.ends.get((*self.macs.get(&neighbour)?).as_ref()?).copied()
    }
}

fn found_on(link: &Link, tables: &Tables) -> Vec<Found> {
    let mut known = Known::default();
    let entries = Entries::of(link, tables);
    let whole = is_whole(link, tables, &entries);
    for overlay in overlay_addresses(link, tables, &entries, whole) {
        let underlay = entries.far_end(overlay).filter(is_unicast);
        known.join(Found { underlay, overlay: overlay.into() });
    }
    let fixed = link.tunnel.as_ref().and_then(|tunnel| tunnel.remote);
    let claimed: BTreeSet<Mac> = tables.neighbours_of(link.index).filter_map(|entry| entry.mac).collect();
    let remotes = tables.remotes_of(link.index).filter(|(entry, _)| !whole || claimed.contains(&entry.mac));
    let ends = remotes.map(|(_, address)| address).chain(fixed);
    let ends = ends.chain(tables.far_gateways(link)).filter(is_unicast);
    for end in ends.collect::<BTreeSet<_>>() {
        known.join(Found { underlay: Some(end), overlay: Dual::NONE });
    }
    known.found
}

/// Tunnel addresses of peers: gateways of routes through the tunnel, and the neighbours that a CNI wrote into it. One that
/// the kernel resolved by itself is any host of a network that is stretched over the tunnel.
fn overlay_addresses(link: &Link, tables: &Tables, entries: &Entries, whole: bool) -> BTreeSet<IpAddr> {
    let far: BTreeSet<IpAddr> = tables.far_gateways(link).into_iter().collect();
    let gateways = gateways(link, tables).filter(move |gateway| !far.contains(gateway));
    let written = |entry: &&Neighbour| entry.state == NeighbourState::Permanent || entry.external;
    let leads = |address| !whole || entries.far_end(address).is_some();
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
fn is_whole(link: &Link, tables: &Tables, entries: &Entries) -> bool {
    let mut gateways = gateways(link, tables).peekable();
    let some = gateways.peek().is_some();
    some && tables.leads_by_entries(link) && gateways.all(|gateway| entries.far_end(gateway).is_some())
}

pub(super) fn is_unicast(address: &IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    !address.is_multicast() && !address.is_unspecified() && !link_local
}
