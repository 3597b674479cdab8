//! The report's rows of what is declared: each line beside what the kernel has and what was measured.
//!
//! - **Underlay**: the links that pods' tunnels stand on and that packets to peers leave by, with all below them. The
//!   upper one has the declared size, those below it may have more. Of routes to peers only those are told that say less.
//! - **Overlay**: tunnels that carry pods; one that has the size is enough, and then it alone is told. Where tunnels have
//!   no MTU of their own, it stands in routes; where there is no tunnel, it is the pods'.
//! - **Tunnel**: the same of one CNI's own tunnels; where it has none here, what it wrote is left over.
//! - **Pods**: a CNI gives its size to pods, and pods keep the one that they were born with. The tunnel that they leave
//!   by may have more, never less.

use std::collections::{BTreeMap, BTreeSet};

use crate::checks::{Area, Class, Entry, by_code};
use crate::declared::lines::{self, Line, Says};
use crate::declared::{CALICO, FLANNEL, Network};
use crate::kernel::{LinkIndex, Route, RouteKind};
use crate::path::{Plane, Verdict};
use crate::report::{DeclaredPath, DeclaredPlace, DeclaredRow, Finding, PlaceKind, Role};
use crate::snapshot::Snapshot;
use crate::snapshot::setup::{CILIUM_HOST, Cni};
use crate::snapshot::topology::TunnelView;
use crate::units::IpSize;

pub(super) fn rows(node: &Snapshot, recommended: &BTreeMap<String, IpSize>, findings: &[Finding]) -> Vec<DeclaredRow> {
    lines::lines(node).into_iter().map(|line| row(node, recommended, findings, line)).collect()
}

fn row(node: &Snapshot, recommended: &BTreeMap<String, IpSize>, findings: &[Finding], line: Line) -> DeclaredRow {
    let kernel = places(node, &line);
    let left_over = line.about == Network::Tunnel && kernel.is_empty();
    let unused = line.unused.or_else(|| left_over.then(|| format!("{} has no tunnel here", line.source)));
    let mut row = DeclaredRow {
        source: line.source.into(),
        subject: line.about.name().into(),
        measured: measured(node, line.about, &kernel),
        recommended: kernel.iter().filter_map(|place| recommended.get(&place.name)).copied().min(),
        kernel,
        file: line.file,
        key: line.key,
        unused,
        ..DeclaredRow::default()
    };
    match line.says {
        Says::Mtu(mtu) => row.mtu = Some(mtu),
        Says::Automatic => row.automatic = true,
        Says::Unknown(why) => row.unknown = Some(why),
    }
    row.findings = codes(&row, findings);
    row
}

/// Findings about what is declared that name the place where it is. That a file's range ran out says nothing of its MTU.
fn codes(row: &DeclaredRow, findings: &[Finding]) -> Vec<&'static str> {
    let written = row.written();
    let named = |text: &str| text == written || row.file.as_deref() == Some(text);
    let mut codes = Vec::new();
    for finding in findings {
        let of_sizes = |entry: &Entry| entry.area == Area::Declared && entry.class != Class::Addresses;
        let of_files = by_code(finding.code).is_some_and(|check| of_sizes(check.entry));
        let mut evidence = finding.evidence.as_object().into_iter().flat_map(serde_json::Map::values);
        if of_files && !codes.contains(&finding.code) && evidence.any(|value| value.as_str().is_some_and(named)) {
            codes.push(finding.code);
        }
    }
    codes
}

/// What the kernel has, from the wire up; held against the declared size where one counts.
fn places(node: &Snapshot, line: &Line) -> Vec<DeclaredPlace> {
    let declared = line.counts();
    let mut places = match line.about {
        Network::Underlay => underlay(node, declared),
        Network::Overlay => overlay(node, declared),
        Network::Tunnel => {
            let own = node.topology.tunnels().iter().filter(|tunnel| is_of(line.source, &tunnel.name));
            one_enough(sized(own), declared)
        }
        Network::Pods => of_pods(node, declared),
    };
    places.iter_mut().for_each(|place| place.differs &= declared.is_some());
    places
}

/// Whether a tunnel is this source's own.
fn is_of(source: &str, tunnel: &str) -> bool {
    match source {
        CALICO => tunnel.ends_with(".calico") || tunnel.ends_with(".cali") || tunnel == "tunl0",
        FLANNEL => tunnel.starts_with("flannel"),
        _ => true,
    }
}

fn place(kind: PlaceKind, name: &str, mtu: IpSize, differs: bool) -> DeclaredPlace {
    DeclaredPlace { kind, name: name.to_owned(), count: 1, mtu, differs }
}

fn underlay(node: &Snapshot, declared: Option<IpSize>) -> Vec<DeclaredPlace> {
    let tops: BTreeSet<LinkIndex> = node
        .pod_tunnels()
        .filter_map(|tunnel| tunnel.lower)
        .chain(node.routes_to_peers().flat_map(|(route, _)| &route.hops).map(|hop| hop.link))
        .filter(|&link| node.is_device(link))
        .collect();
    let mut places: Vec<DeclaredPlace> = Vec::new();
    for &top in &tops {
        for index in node.topology.chain(top).into_iter().rev().filter(|&index| node.is_device(index)) {
            let Some(link) = node.tables.link(index) else { continue };
            let mtu = link.mtu.carries();
            let differs = Some(mtu) < declared || (tops.contains(&index) && Some(mtu) != declared);
            if places.iter().all(|known| known.name != link.name) {
                places.push(place(PlaceKind::Device, &link.name, mtu, differs));
            }
        }
    }
    let small =
        node.routes_to_peers().filter_map(|(route, _)| Some((route, route.mtu.filter(|&mtu| Some(mtu) < declared)?)));
    places.extend(by_size(PlaceKind::Route, small.map(|(route, mtu)| (mtu, destination(route))), declared));
    places
}

fn overlay(node: &Snapshot, declared: Option<IpSize>) -> Vec<DeclaredPlace> {
    let own = one_enough(sized(node.pod_tunnels()), declared);
    let sized = if own.is_empty() { in_routes(node, declared) } else { own };
    if sized.is_empty() { pods(node, declared) } else { sized }
}

/// Where the size of what leaves a pod stands in routes, they are told, and bound nothing: its link may have more.
fn of_pods(node: &Snapshot, declared: Option<IpSize>) -> Vec<DeclaredPlace> {
    let smaller = |tunnel: DeclaredPlace| DeclaredPlace { differs: Some(tunnel.mtu) < declared, ..tunnel };
    let tunnels = sized(node.pod_tunnels()).into_iter().map(smaller);
    let routes = in_routes(node, declared).into_iter().map(|route| DeclaredPlace { differs: false, ..route });
    tunnels.chain(routes).chain(pods(node, declared)).collect()
}

/// Tunnels that have an MTU of their own.
fn sized<'n>(tunnels: impl Iterator<Item = &'n TunnelView>) -> Vec<DeclaredPlace> {
    let own = tunnels.filter(|tunnel| !tunnel.external);
    own.map(|tunnel| place(PlaceKind::Tunnel, &tunnel.name, tunnel.mtu.carries(), false)).collect()
}

/// Of tunnels those that have the size; where none has it, all of them, which differ.
fn one_enough(tunnels: Vec<DeclaredPlace>, declared: Option<IpSize>) -> Vec<DeclaredPlace> {
    let (have, others): (Vec<_>, Vec<_>) = tunnels.into_iter().partition(|tunnel| Some(tunnel.mtu) == declared);
    let differ = others.into_iter().map(|tunnel| DeclaredPlace { differs: true, ..tunnel });
    if have.is_empty() { differ.collect() } else { have }
}

/// Sizes that routes give to what leaves by tunnels without an MTU of their own.
fn in_routes(node: &Snapshot, declared: Option<IpSize>) -> Vec<DeclaredPlace> {
    let external = node.pod_tunnels().any(|tunnel| tunnel.external);
    if node.setup.cni != Cni::Cilium && !external {
        return Vec::new();
    }
    let leads = |link: LinkIndex| {
        let host = node.tables.link(link).is_some_and(|link| link.name == CILIUM_HOST);
        host || node.topology.tunnel(link).is_some_and(|tunnel| tunnel.external)
    };
    let routes = node.tables.routes.known().into_iter().flatten().filter(|route| route.kind == RouteKind::Unicast);
    let led = routes.filter(|route| route.hops.iter().any(|hop| leads(hop.link)));
    by_size(PlaceKind::Route, led.filter_map(|route| Some((route.mtu?, destination(route)))), declared)
}

fn destination(route: &Route) -> String {
    match route.prefix {
        0 => "default".into(),
        prefix => format!("{}/{prefix}", route.destination),
    }
}

/// Pods' links, by the size that the pod has.
fn pods(node: &Snapshot, declared: Option<IpSize>) -> Vec<DeclaredPlace> {
    let links = node.tables.links().iter().filter(|link| link.up && node.topology.role(link.index) == Role::Pod);
    let sized = links.map(|link| {
        let inside = node.tables.pod_end(link.index).ok().flatten().map(|end| end.mtu);
        (inside.unwrap_or(link.mtu).carries(), link.name.clone())
    });
    by_size(PlaceKind::Pods, sized, declared)
}

/// One place for each size, the first of its names speaking for all.
fn by_size(
    kind: PlaceKind,
    sized: impl Iterator<Item = (IpSize, String)>,
    declared: Option<IpSize>,
) -> Vec<DeclaredPlace> {
    let mut sizes: BTreeMap<IpSize, BTreeSet<String>> = BTreeMap::new();
    for (mtu, name) in sized {
        sizes.entry(mtu).or_default().insert(name);
    }
    let one = |(mtu, names): (IpSize, BTreeSet<String>)| {
        let count = names.len();
        let first = names.into_iter().next().unwrap_or_default();
        DeclaredPlace { count, ..place(kind, &first, mtu, Some(mtu) != declared) }
    };
    sizes.into_iter().map(one).collect()
}

/// The narrowest path measured: between nodes, or inside the tunnels in question where there are some.
fn measured(node: &Snapshot, about: Network, places: &[DeclaredPlace]) -> Option<DeclaredPath> {
    let kind = if about == Network::Underlay { PlaceKind::Device } else { PlaceKind::Tunnel };
    let links = places.iter().filter(|place| place.kind == kind);
    let links: BTreeSet<_> = links.filter_map(|place| node.topology.index_of(&place.name)).collect();
    let gateways: BTreeSet<_> = node.peers.iter().filter(|peer| peer.gateway).map(|peer| &peer.name).collect();
    let paths = node.paths.iter().filter(|(key, path)| {
        let of_plane = (key.plane == Plane::Underlay) == (about == Network::Underlay);
        let anywhere = links.is_empty() && about != Network::Tunnel;
        let through = anywhere || path.via.iter().any(|link| links.contains(link));
        of_plane && through && !gateways.contains(&key.peer)
    });
    let sized = paths.filter_map(|(key, path)| Some((path.verdict().ok().and_then(Verdict::path_mtu)?, key)));
    let (mtu, key) = sized.min_by_key(|(mtu, _)| *mtu)?;
    Some(DeclaredPath { plane: key.plane, peer: key.peer.clone(), mtu })
}

#[cfg(test)]
mod tests;
