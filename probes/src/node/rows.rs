//! The report's tables, read off the snapshot.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::checks::words;
use crate::fact::Fact;
use crate::kernel::{Address, Link, Neighbour, NeighbourState, Route};
use crate::path::{Limit, Measured, PathKey, Unreachable, Verdict, VerdictName};
use crate::report::{
    ConntrackRow, LinkRow, NeighbourRow, NeighbourTableRow, NeighboursRow, OuterRow, PathRow, PodEnd, Role, RouteRow,
    SpreadRow, TransferResult, TransferRow, TunnelRow,
};
#[cfg(test)]
use crate::report::{FindingCounts, Report, SCHEMA, Status, Summary, Vantage};
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::tables::neighbours::{Fill, is_collected};
use crate::transfer::Made;
use crate::units::{Family, IpSize};

pub(super) fn links(node: &Snapshot) -> Vec<LinkRow> {
    let name = |index| node.tables.link(index).map(|link| link.name.clone());
    let row = |link: &Link| LinkRow {
        name: link.name.clone(),
        kind: link.kind.clone(),
        role: node.topology.role(link.index),
        mtu: link.mtu,
        up: link.up,
        carrier: link.carrier,
        master: link.master.and_then(name),
        lower: node.topology.tunnel(link.index).and_then(|tunnel| tunnel.lower).or(link.lower).and_then(name),
        pod: node.tables.pod_end(link.index).ok().flatten().map(|end| PodEnd { mtu: end.mtu }),
    };
    let mut rows: Vec<_> = node.tables.links().iter().map(row).collect();
    rows.sort_by_key(|row| (row.role, row.name.clone()));
    rows
}

/// Most addresses that a node tells of itself.
const ADDRESSES: usize = 64;

/// Those of links that carry the cluster's traffic first. kube-proxy puts every service's address on a device of its own,
/// the same on every node: they tell nobody apart.
pub(super) fn addresses(node: &Snapshot) -> Vec<IpAddr> {
    let of = |address: &Address| Some((node.topology.role(address.link), node.tables.link(address.link)?));
    let known = node.tables.addresses.known().into_iter().flatten().filter(|address| address.global);
    let mut told: Vec<_> = known
        .filter(|address| of(address).is_some_and(|(role, link)| role != Role::Other || link.kind != "dummy"))
        .map(|address| (of(address).map(|(role, _)| role), address.address))
        .collect();
    told.sort_unstable();
    told.dedup();
    told.into_iter().map(|(_, address)| address).take(ADDRESSES).collect()
}

pub(super) fn tunnels(node: &Snapshot, recommended: &BTreeMap<String, IpSize>) -> Vec<TunnelRow> {
    let row = |view: &TunnelView| {
        let tunnel = node.tables.link(view.link)?.tunnel.as_ref()?;
        Some(TunnelRow {
            link: view.name.clone(),
            kind: tunnel.kind.name(),
            mtu: view.mtu,
            overhead: view.overhead,
            lower: view.lower_link.as_ref().map(|(name, _)| name.clone()),
            lower_mtu: view.lower_link.as_ref().map(|(_, mtu)| *mtu),
            headroom: view.headroom(),
            id: tunnel.id,
            port: tunnel.port,
            df: tunnel.df,
            local: tunnel.local,
            external: tunnel.external,
            carries_pods: view.carries_pods,
            recommended_mtu: recommended.get(&view.name).copied(),
        })
    };
    node.topology.tunnels().iter().filter_map(row).collect()
}

pub(super) fn paths(node: &Snapshot) -> Vec<PathRow> {
    node.paths.iter().map(|(key, path)| path_row(node, key, path)).collect()
}

/// A path as the report shows it.
pub(crate) fn path_row(node: &Snapshot, key: &PathKey, path: &Path) -> PathRow {
    let measured = path.measured.known();
    let verdict = measured.map(|measured| &measured.verdict);
    let known = verdict.filter(|verdict| !matches!(verdict, Verdict::Unknown { .. }));
    PathRow {
        peer: key.peer.clone(),
        plane: key.plane,
        family: key.family(),
        address: key.address,
        via: path.via.iter().filter_map(|&link| Some(node.tables.link(link)?.name.clone())).collect(),
        route: node.lookups.get(&key.address).and_then(Fact::known).and_then(route),
        verdict: verdict.map_or(VerdictName::Unknown, Verdict::name),
        why: why(path),
        path_mtu: known.and_then(Verdict::path_mtu),
        expected_mtu: path.expected.filter(|_| known.is_some()),
        forward_mtu: known.and(measured).and_then(|one| one.forward),
        reverse_mtu: known.and(measured).and_then(|one| one.reverse),
        way: known.and(measured).and_then(|one| one.way),
        hole: known.and(measured).and_then(|one| one.hole),
        hops: measured.map(|one| one.hops.clone()).unwrap_or_default(),
        outer: path.outer.known().map(outer_row),
        spread: path.spread.known().map(SpreadRow::from),
        limited_by: known.and(measured).and_then(limited_by),
        cached_mtu: path.cached.map(|cached| cached.mtu),
        round_trip_seconds: known.and(measured).and_then(|one| one.round_trip).map(|time| time.as_secs_f64()),
        loss_ratio: known.and(measured).and_then(|_| path.losses.total().ratio()),
        packets_sent: measured.map_or(0, Measured::packets),
        probed_at: path.probed_at,
        transfer: transfer(&path.transfer),
    }
}

fn transfer(transfer: &Fact<Made>) -> Option<TransferRow> {
    match transfer.read() {
        Ok(None) => None,
        Ok(Some(Made { stall, at, .. })) => Some(TransferRow {
            result: if stall.is_some() { TransferResult::Stalled } else { TransferResult::Passed },
            why: None,
            direction: stall.map(|stall| stall.direction),
            at: Some(*at),
        }),
        Err(unread) => {
            let why = Some(unread.reason.to_string());
            Some(TransferRow { result: TransferResult::Unknown, why, direction: None, at: None })
        }
    }
}

fn outer_row(measured: &Measured) -> OuterRow {
    let verdict = &measured.verdict;
    OuterRow {
        verdict: verdict.name(),
        path_mtu: verdict.path_mtu(),
        limited_by: limited_by(measured),
        hole: measured.hole,
    }
}

/// The route, if it leads anywhere: a blackhole is none that packets take.
fn route(route: &Route) -> Option<RouteRow> {
    let leads = !route.hops.is_empty();
    leads.then(|| RouteRow { to: format!("{}/{}", route.destination, route.prefix), mtu: route.mtu })
}

/// The hop that says so; where none does, the last one that saw the size.
fn limited_by(measured: &Measured) -> Option<Limit> {
    let silent = || {
        let after = measured.hole?.after?;
        Some(Limit { address: after.address, reported_mtu: None, ttl: Some(after.ttl) })
    };
    limit(&measured.verdict).or_else(silent)
}

fn limit(verdict: &Verdict) -> Option<Limit> {
    match verdict {
        Verdict::Limited { by, .. } => Some(*by),
        Verdict::BlackHole { by, .. } => *by,
        Verdict::Clear { .. } | Verdict::Unreachable { .. } | Verdict::Unknown { .. } => None,
    }
}

fn why(path: &Path) -> Option<String> {
    match path.measured.read() {
        Err(unread) => Some(unread.to_string()),
        Ok(None) => None,
        Ok(Some(measured)) => match &measured.verdict {
            Verdict::Unknown { why } => Some(why.clone()),
            Verdict::Unreachable { why } => Some(unreachable(*why)),
            Verdict::BlackHole { drops, .. } => {
                let place = words::place(measured.hole, measured.way);
                Some(format!("{drops} B and more vanish without an error{place}"))
            }
            Verdict::Clear { .. } | Verdict::Limited { .. } => None,
        },
    }
}

/// The reason in words.
fn unreachable(why: Unreachable) -> String {
    match why {
        Unreachable::Silent => "nothing answers: ICMP, UDP and TCP are silent".into(),
        Unreachable::Refused { by, why } => format!("{by} says {}", why.words()),
        Unreachable::NotSent { why } => format!("this machine cannot send: {}", why.words()),
    }
}

pub(super) fn neighbours(node: &Snapshot) -> NeighboursRow {
    let Some(entries) = node.tables.neighbours.known() else { return NeighboursRow::default() };
    let counts = |entry: &Neighbour| entry.address.is_ipv4() && is_collected(entry);
    let fills = node.tables.fills().unwrap_or_default();
    let limit = fills.iter().find(|fill| fill.family == Family::Ipv4).map(|fill| fill.limit);
    let failed = entries.iter().filter(|entry| entry.state == NeighbourState::Failed).filter_map(|entry| {
        let link = node.tables.link(entry.link)?.name.clone();
        Some(NeighbourRow { address: entry.address, link, state: entry.state })
    });
    NeighboursRow {
        entries: Some(entries.iter().filter(|entry| counts(entry)).count()),
        limit,
        failed: failed.collect(),
        tables: fills.into_iter().map(table).collect(),
    }
}

const fn table(fill: Fill) -> NeighbourTableRow {
    NeighbourTableRow { family: fill.family, entries: fill.entries, limit: fill.limit, refused: fill.refused }
}

pub(super) fn conntrack(node: &Snapshot) -> Option<ConntrackRow> {
    node.tables.conntrack.known().map(|table| ConntrackRow { entries: table.entries, limit: table.limit })
}

pub(super) fn counters(node: &Snapshot) -> BTreeMap<String, u64> {
    let counters = node.tables.counters.known().into_iter().flatten();
    counters.map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// A report of these tables, before anything was judged.
#[cfg(test)]
pub(crate) fn unjudged(node: &Snapshot) -> Report {
    let counts = FindingCounts::default();
    Report {
        schema: SCHEMA,
        node: "master-1".into(),
        vantage: Vantage::Node,
        version: String::new(),
        generated_at: jiff::Timestamp::UNIX_EPOCH,
        summary: Summary {
            status: Status::Unknown,
            findings: counts,
            not_concluded: 0,
            peers: node.peers.len(),
            recommended_overlay_mtu: None,
        },
        addresses: addresses(node),
        links: links(node),
        tunnels: tunnels(node, &BTreeMap::new()),
        paths: paths(node),
        schedule: None,
        node_addresses: Vec::new(),
        ladders: Vec::new(),
        settings: super::settings::rows(node, Vantage::Node),
        neighbours: neighbours(node),
        declared: super::declared::rows(node, &BTreeMap::new(), &[]),
        vips: Vec::new(),
        conntrack: conntrack(node),
        counters: counters(node),
        findings: Vec::new(),
        not_concluded: Vec::new(),
        checks: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Hole, HopAt, Plane, Way};
    use crate::snapshot::example::{Example, black_hole, ip};

    fn path_to(node: &Example, address: &str) -> PathRow {
        paths(&node.snapshot()).into_iter().find(|row| row.address == ip(address)).unwrap()
    }

    #[test]
    fn a_path_names_its_links_and_its_route() {
        let node = Example::reference();
        assert_eq!(path_to(&node, "10.0.0.12").via, ["vmbr1", "enp5s0"]);
        let overlay = path_to(&node, "10.244.2.0");
        assert_eq!((overlay.plane, overlay.via.join(" ").as_str()), (Plane::Overlay, "vxlan.calico vmbr1 enp5s0"));
        assert_eq!(overlay.route, Some(RouteRow { to: "10.244.2.0/26".into(), mtu: None }));
    }

    #[test]
    fn a_route_says_its_own_mtu_and_a_dead_end_is_none() {
        let mut node = Example::reference();
        let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.244.2.2")) else { panic!("a route") };
        route.mtu = Some(IpSize::new(1400));
        assert_eq!(path_to(&node, "10.244.2.2").route.unwrap().mtu, Some(IpSize::new(1400)));
        let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.244.2.2")) else { panic!("a route") };
        route.hops.clear();
        assert_eq!(path_to(&node, "10.244.2.2").route, None);
    }

    #[test]
    fn a_black_hole_says_where_as_far_as_that_is_known() {
        let why = |way, hole| {
            let node = Example::reference().verdict("master-2", Plane::Underlay, black_hole(1400));
            let node =
                node.learned("master-2", Plane::Underlay, |measured| (measured.way, measured.hole) = (way, hole));
            path_to(&node, "10.0.0.12").why.unwrap()
        };
        assert_eq!(why(None, None), "1401 B and more vanish without an error");
        let before = HopAt { ttl: 1, address: None };
        assert_eq!(
            why(Some(Way::Forward), Some(Hole { after: None, before })),
            "1401 B and more vanish without an error between this node and hop 1, on the way there"
        );
    }

    #[test]
    fn only_a_tunnel_with_routes_to_pods_carries_them() {
        let node = Example::reference().vxlan("vxlan9", 1450, Some("vmbr0"), "192.168.0.11").snapshot();
        let carries: Vec<_> =
            tunnels(&node, &BTreeMap::new()).into_iter().map(|row| (row.link, row.carries_pods)).collect();
        assert_eq!(carries, [("vxlan.calico".to_owned(), true), ("vxlan9".to_owned(), false)]);
    }
}
