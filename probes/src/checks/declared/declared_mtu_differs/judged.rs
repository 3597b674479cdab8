//! What there is, held against one declared size, and what a size that differs breaks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Evidence, Place, newborn};
use crate::checks::small;
use crate::declared::{Declared, Network};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::{Link, LinkIndex, Route, RouteKind};
use crate::path::Plane;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::setup::{CILIUM_HOST, Cni};
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

/// One size that differs.
pub(super) struct Found {
    pub(super) severity: Severity,
    pub(super) evidence: Evidence,
}

impl Found {
    pub(super) fn new(declared: &Declared, place: Place, actual: IpSize) -> Self {
        let evidence = Evidence {
            source: declared.source.into(),
            written: declared.written.clone(),
            network: declared.network,
            case: Case::Differs,
            declared: declared.mtu,
            actual,
            place,
            link: None,
            destination: None,
            above: Vec::new(),
            overhead: None,
            links_by_mtu: BTreeMap::new(),
            other: None,
        };
        Self { severity: Severity::Warning, evidence }
    }

    pub(super) fn at(declared: &Declared, place: Place, link: &Link) -> Self {
        let mut found = Self::new(declared, place, link.mtu.carries());
        found.evidence.link = Some(link.name.clone());
        found
    }

    fn route(declared: &Declared, link: &Link, route: &Route, mtu: IpSize) -> Self {
        let mut found = Self::at(declared, Place::Route, link);
        found.evidence.actual = mtu;
        found.evidence.destination = Some(match route.prefix {
            0 => "default".into(),
            prefix => format!("{}/{prefix}", route.destination),
        });
        found
    }

    pub(super) fn subject(&self) -> Subject {
        let at = self.evidence.link.clone().filter(|_| self.evidence.case == Case::Differs);
        at.map_or(Subject::Pods, Subject::Link)
    }
}

/// What differs from one declared size.
pub(super) fn of(node: &Snapshot, declared: &Declared) -> Result<Vec<Found>, (Subject, Unread)> {
    match declared.network {
        Network::Underlay => underlay(node, declared),
        Network::Overlay => overlay(node, declared),
        // What files say of pods is another question than what the operator says of the network: `newborn`.
        Network::Tunnel | Network::Pods => Ok(Vec::new()),
    }
}

fn unread(subject: &'static str, why: String) -> (Subject, Unread) {
    (Subject::Setting(subject), Unread::new(Source::Links, Reason::Unsupported { why }))
}

fn underlay(node: &Snapshot, declared: &Declared) -> Result<Vec<Found>, (Subject, Unread)> {
    let bound: BTreeSet<_> = node.pod_tunnels().filter_map(|tunnel| tunnel.lower).collect();
    let is_down = |link: &LinkIndex| node.tables.link(*link).is_some_and(|link| !link.works());
    let mut leaves_by = bound.clone();
    if !bound.iter().any(is_down) {
        leaves_by.extend(node.routes_to_peers().flat_map(|(route, _)| &route.hops).map(|hop| hop.link));
    }
    let leaves_by: Vec<_> = leaves_by.into_iter().filter(|&link| node.is_device(link)).collect();
    if leaves_by.is_empty() {
        return Err(unread("expect.underlay_mtu", "no link is known that leads to a peer".into()));
    }
    let mut found: Vec<Found> = leaves_by.iter().filter_map(|&link| device(node, declared, link)).collect();
    found.extend(leaves_by.iter().flat_map(|&link| narrow_route(node, declared, link)));
    Ok(found)
}

/// The lowest link that is too small, else the one that packets leave by if it is too large.
fn device(node: &Snapshot, declared: &Declared, leaves_by: LinkIndex) -> Option<Found> {
    let chain = || node.topology.chain(leaves_by).into_iter().filter_map(|index| node.tables.link(index));
    let small: Vec<&Link> = chain().filter(|link| link.mtu.carries() < declared.mtu).collect();
    let Some((lowest, above)) = small.split_last() else {
        let link = node.tables.link(leaves_by).filter(|link| link.mtu.carries() != declared.mtu)?;
        return Some(Found::at(declared, Place::Device, link));
    };
    let mut found = Found::at(declared, Place::Device, lowest);
    found.evidence.above = above.iter().rev().map(|link| link.name.clone()).collect();
    Some(found)
}

/// A route to a peer that says less than the link that it leaves by.
fn narrow_route(node: &Snapshot, declared: &Declared, leaves_by: LinkIndex) -> Option<Found> {
    let link = node.tables.link(leaves_by)?;
    let by = |route: &&Route| route.hops.iter().any(|hop| hop.link == leaves_by);
    let narrow = node.routes_to_peers().map(|(route, _)| route).filter(by);
    let narrow = narrow.filter_map(|route| Some((route.mtu.filter(|&mtu| mtu < declared.mtu)?, route)));
    let (mtu, route) = narrow.min_by_key(|(mtu, _)| *mtu)?;
    Some(Found::route(declared, link, route, mtu))
}

fn overlay(node: &Snapshot, declared: &Declared) -> Result<Vec<Found>, (Subject, Unread)> {
    let subject = "expect.overlay_mtu";
    let own: Vec<_> = node.pod_tunnels().filter(|tunnel| !tunnel.external).collect();
    if let Some(smallest) = own.iter().min_by_key(|tunnel| tunnel.mtu) {
        let fits = own.iter().any(|tunnel| tunnel.mtu.carries() == declared.mtu);
        return Ok(if fits { Vec::new() } else { tunnel(node, declared, smallest).into_iter().collect() });
    }
    let down = node.topology.tunnels().iter().filter_map(|tunnel| node.tables.link(tunnel.link)).find(|it| !it.works());
    if let Some(down) = down {
        return Err(unread(subject, format!("{} is down, and the routes through it are gone", down.name)));
    }
    if node.setup.cni == Cni::Cilium || node.topology.tunnels().iter().any(|tunnel| tunnel.external) {
        return in_routes(node, declared)
            .ok_or_else(|| unread(subject, "no route to other nodes' pods has an MTU".into()));
    }
    pods(node, declared).ok_or_else(|| unread(subject, "there is no tunnel that carries pods, and no pod".into()))
}

fn tunnel(node: &Snapshot, declared: &Declared, tunnel: &TunnelView) -> Option<Found> {
    let mut found = Found::at(declared, Place::Tunnel, node.tables.link(tunnel.link)?);
    found.evidence.overhead = tunnel.overhead;
    Some(found)
}

/// The sizes that routes give to what leaves by tunnels without an MTU of their own. `None` if none gives any.
pub(super) fn in_routes(node: &Snapshot, declared: &Declared) -> Option<Vec<Found>> {
    let leads = |link: LinkIndex| {
        let host = node.tables.link(link).filter(|link| link.name == CILIUM_HOST);
        host.is_some() || node.topology.tunnel(link).is_some_and(|tunnel| tunnel.external)
    };
    let routes = node.tables.routes.known().into_iter().flatten().filter(|route| route.kind == RouteKind::Unicast);
    let sized =
        routes.filter_map(|route| Some((route.hops.iter().find(|hop| leads(hop.link))?.link, route, route.mtu?)));
    let sized: Vec<_> = sized.collect();
    let differs = sized.iter().filter(|(_, _, mtu)| *mtu != declared.mtu).min_by_key(|(_, _, mtu)| *mtu);
    let found =
        differs.and_then(|(link, route, mtu)| Some(Found::route(declared, node.tables.link(*link)?, route, *mtu)));
    (!sized.is_empty()).then(|| found.into_iter().collect())
}

/// Pods that differ, where no tunnel bounds them. `None` if there are no pods.
fn pods(node: &Snapshot, declared: &Declared) -> Option<Vec<Found>> {
    let mut links_by_mtu: BTreeMap<LinkMtu, usize> = BTreeMap::new();
    for link in pod_links(node) {
        *links_by_mtu.entry(link.mtu).or_default() += 1;
    }
    let differs = links_by_mtu.keys().find(|mtu| mtu.carries() != declared.mtu).copied();
    let found = differs.map(|mtu| {
        let mut found = Found::new(declared, Place::Pods, mtu.carries());
        found.evidence.links_by_mtu = links_by_mtu.clone();
        found
    });
    (!links_by_mtu.is_empty()).then(|| found.into_iter().collect())
}

fn pod_links(node: &Snapshot) -> impl Iterator<Item = &Link> {
    node.tables.links().iter().filter(|link| link.up && node.topology.role(link.index) == Role::Pod)
}

/// What a size that differs is known to break.
pub(super) fn breaks(node: &Snapshot, evidence: &Evidence) -> Vec<Subject> {
    match evidence.case {
        Case::Differs => {}
        Case::NewPods => return newborn::explained(node, evidence),
        Case::OldPods => return vec![Subject::Pods],
        Case::Declarations => return Vec::new(),
    }
    let link = evidence.link.as_deref().unwrap_or_default();
    let small = evidence.actual < evidence.declared;
    match evidence.place {
        Place::Device if small => of_small_device(node, link, evidence.actual),
        Place::Tunnel if small => {
            let fit = pod_links(node).all(|pod| pod.mtu.carries() <= evidence.declared);
            // What it is too small for is then explained; a link below that is smaller still is not.
            let tunnel = node.topology.index_of(link).and_then(|link| node.topology.tunnel(link));
            let has_room = tunnel.and_then(TunnelView::headroom).is_some_and(|left| left >= 0);
            let itself = has_room.then(|| Subject::Link(link.into()));
            itself.into_iter().chain(fit.then_some(Subject::Pods)).collect()
        }
        Place::Tunnel => std::iter::once(Subject::Link(link.into())).chain(inside(node, link)).collect(),
        Place::Route if evidence.network == Network::Underlay => inside_of_route(node, evidence),
        Place::Pods => vec![Subject::Pods],
        Place::Device => ports(node, link),
        Place::Route | Place::Declaration => Vec::new(),
    }
}

/// Ports of a bridge that is too large: they are too small for it, and as they should be.
fn ports(node: &Snapshot, bridge: &str) -> Vec<Subject> {
    let Some(bridge) = node.topology.index_of(bridge) else { return Vec::new() };
    let ports = node.tables.links().iter().filter(|port| port.master == Some(bridge));
    ports.map(|port| Subject::Link(port.name.clone())).collect()
}

/// The link itself where it is a bridge's port, tunnels that stand on it, what goes through them, and paths that were
/// measured to be just that small.
fn of_small_device(node: &Snapshot, link: &str, mtu: IpSize) -> Vec<Subject> {
    let tunnels = node.topology.tunnels().iter().filter(|tunnel| node.topology.stands_on(&tunnel.name, link));
    let tunnels = tunnels.map(|tunnel| Subject::Link(tunnel.name.clone())).chain([Subject::Link(link.into())]);
    let Some(index) = node.topology.index_of(link) else { return tunnels.collect() };
    tunnels.chain(small::breaks(node, mtu, |key| node.paths[key].via.contains(&index))).collect()
}

/// Paths through tunnels that leave by a link.
fn inside(node: &Snapshot, link: &str) -> Vec<Subject> {
    let Some(index) = node.topology.index_of(link) else { return Vec::new() };
    let inside = node.paths.iter().filter(|(key, path)| key.plane == Plane::Overlay && path.via.contains(&index));
    inside.map(|(key, _)| Subject::path(key)).collect()
}

/// Paths through tunnels to peers that a route with the size in question leads to.
fn inside_of_route(node: &Snapshot, evidence: &Evidence) -> Vec<Subject> {
    let small = node.routes_to_peers().filter(|(route, _)| route.mtu.is_some_and(|mtu| mtu < evidence.declared));
    let peers: BTreeSet<_> = small.map(|(_, peer)| peer).collect();
    let paths = node.paths.keys().filter(|key| key.plane == Plane::Overlay && peers.contains(key.peer.as_str()));
    paths.map(Subject::path).collect()
}
