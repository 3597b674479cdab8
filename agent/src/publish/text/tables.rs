//! Paths, links, tunnels and settings.
//!
//! What is wrong is shown in full; of what is fine, only so much that the screen stays readable. The JSON has it all.

use std::collections::{BTreeMap, BTreeSet};

use probes::path::{Limit, VerdictName};
use probes::report::ladder::Layer;
use probes::report::{LinkRow, PathRow, Report, Role, ScheduleRow, SettingRow, TunnelRow};

use super::findings::{first_of, on_planes};
use super::style::{Style, Tone, clean};
use super::table::{Cell, known, table};

/// Clear paths that are shown.
const CLEAR: usize = 20;

/// Other paths that are shown.
const FAULTY: usize = 40;

/// Reasons that are told.
const REASONS: usize = 10;

/// Peers that are named with one reason.
const SHARING: usize = 3;

/// All pods' links, as settings name them.
const PODS: &str = "pods";

/// Tunnels that are shown.
const TUNNELS: usize = 20;

/// A verdict in words.
pub(in crate::publish) const fn words(verdict: VerdictName) -> (&'static str, Option<Tone>) {
    match verdict {
        VerdictName::Clear => ("clear", None),
        VerdictName::Limited => ("limited", Some(Tone::Warning)),
        VerdictName::BlackHole => ("black hole", Some(Tone::Critical)),
        VerdictName::Unreachable => ("unreachable", Some(Tone::Critical)),
        VerdictName::Unknown => ("unknown", Some(Tone::Warning)),
    }
}

pub(super) fn verdict(row: &PathRow) -> Cell {
    let (word, tone) = words(row.verdict);
    Cell::toned(word, tone)
}

/// What passes of what should, and of that what comes back.
pub(super) fn carries(row: &PathRow) -> String {
    let back = row.forward_mtu.zip(row.reverse_mtu).filter(|(forward, reverse)| reverse < forward);
    let back = back.filter(|(_, reverse)| row.path_mtu.is_some_and(|mtu| *reverse < mtu));
    let back = back.map(|(_, reverse)| format!(", {reverse} back")).unwrap_or_default();
    let there = match (row.path_mtu, row.expected_mtu) {
        (Some(mtu), Some(expected)) if mtu == expected => mtu.to_string(),
        (Some(mtu), Some(expected)) => format!("{mtu} of {expected}"),
        (Some(mtu), None) => mtu.to_string(),
        (None, Some(expected)) => format!("- of {expected}"),
        (None, None) => "-".into(),
    };
    there + &back
}

/// Who limits a path, or at least on which way it is.
pub(in crate::publish) fn limit(row: &PathRow) -> String {
    match (row.limited_by, row.way) {
        (None, Some(way)) => way.words().to_owned(),
        (limit, _) => hop(limit.as_ref()),
    }
}

/// The hop that limits a path.
pub(super) fn hop(limit: Option<&Limit>) -> String {
    let Some(limit) = limit else { return "-".into() };
    let by = limit.address.map_or_else(|| "this machine".to_owned(), |address| address.to_string());
    let says = limit.reported_mtu.map(|mtu| format!(" (says {mtu})")).unwrap_or_default();
    let away = limit.ttl.map(|ttl| format!(", hop {ttl}")).unwrap_or_default();
    format!("{by}{says}{away}")
}

pub(in crate::publish) fn round_trip(row: &PathRow) -> Option<String> {
    row.round_trip_seconds.map(|seconds| format!("{:.2} ms", seconds * 1e3))
}

/// Paths, the ones that are not clear first.
pub(super) fn paths(report: &Report, style: Style) -> String {
    if report.paths.is_empty() {
        return String::new();
    }
    let (clear, mut faulty): (Vec<&PathRow>, Vec<&PathRow>) =
        report.paths.iter().partition(|row| row.verdict == VerdictName::Clear);
    // What was never measured says least.
    faulty.sort_by_key(|row| row.probed_at.is_none());
    let rows: Vec<_> = faulty.iter().take(FAULTY).chain(clear.iter().take(CLEAR)).map(|row| path(row)).collect();
    let header = ["peer", "plane", "address", "verdict", "carries", "cached", "limited by", "round trip", "loss"];
    let mut text = style.heading("PATHS", "bytes of an IP packet");
    text.push_str(&turns(report, style));
    text.push_str(&table(style, header, &rows));
    for (left, what) in [(faulty.len().saturating_sub(FAULTY), "faulty"), (clear.len().saturating_sub(CLEAR), "clear")]
    {
        if left > 0 {
            text.push_str(&format!("  … and {left} more {what} paths (--output json has them all)\n"));
        }
    }
    text.push_str(&reasons(&faulty, style));
    text
}

/// How far one round reached, where it did not reach everybody.
fn turns(report: &Report, style: Style) -> String {
    let Some(schedule) = report.schedule.filter(|schedule| schedule.probed < schedule.peers) else {
        return String::new();
    };
    let ScheduleRow { peers, probed, covered_within_seconds, .. } = schedule;
    let within = about(covered_within_seconds);
    style
        .wrap("  ", &format!("{probed} of {peers} peers were probed in this round; no result gets older than {within}"))
}

/// A time without more precision than a reader wants, never too short.
pub(in crate::publish) fn about(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

/// Why paths are not clear; those with one reason share a line.
fn reasons(faulty: &[&PathRow], style: Style) -> String {
    let mut reasons: Vec<Reason<'_>> = Vec::new();
    for row in faulty {
        let Some(why) = &row.why else { continue };
        let at = reasons.iter().position(|reason| (reason.verdict, reason.why) == (row.verdict, why.as_str()));
        let at = at.unwrap_or_else(|| {
            reasons.push(Reason { verdict: row.verdict, why, peers: Vec::new() });
            reasons.len() - 1
        });
        reasons[at].add(&row.peer, row.plane.name());
    }
    reasons.iter().take(REASONS).map(|reason| style.wrap("  ", &clean(&reason.line()))).collect()
}

/// Why some paths are not clear, and the planes of each peer that it is the reason for.
struct Reason<'r> {
    verdict: VerdictName,
    why: &'r str,
    peers: Vec<(&'r str, Vec<&'static str>)>,
}

impl<'r> Reason<'r> {
    fn add(&mut self, peer: &'r str, plane: &'static str) {
        match self.peers.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, planes)) if planes.contains(&plane) => {}
            Some((_, planes)) => planes.push(plane),
            None => self.peers.push((peer, vec![plane])),
        }
    }

    fn line(&self) -> String {
        let peers: Vec<String> = self.peers.iter().map(|(peer, planes)| on_planes(peer, planes)).collect();
        format!("{}: {}: {}", words(self.verdict).0, first_of(&peers, SHARING), self.why)
    }
}

fn path(row: &PathRow) -> [Cell; 9] {
    [
        row.peer.as_str().into(),
        row.plane.name().into(),
        row.address.into(),
        verdict(row),
        carries(row).into(),
        known(row.cached_mtu.filter(|cached| Some(*cached) != row.path_mtu)),
        limit(row).into(),
        known(round_trip(row)),
        known(row.loss_ratio.filter(|ratio| *ratio > 0.0).map(|ratio| format!("{:.0} %", ratio * 100.0))),
    ]
}

pub(in crate::publish) const fn is_shown(role: Role) -> bool {
    matches!(role, Role::Underlay | Role::Bridge | Role::Tunnel)
}

/// Links that carry the cluster's traffic; the others are counted.
pub(super) fn links(report: &Report, style: Style) -> String {
    if report.links.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = report.links.iter().filter(|link| is_shown(link.role)).map(link).collect();
    let mut text = style.heading("LINKS", "");
    if !rows.is_empty() {
        text.push_str(&table(style, ["link", "role", "kind", "mtu", "state", "master", "over"], &rows));
    }
    text.extend(pods(report).map(|said| style.wrap("  ", &said)));
    let others = report.links.iter().filter(|link| link.role == Role::Other).count();
    if others > 0 {
        text.push_str(&format!("  {others} other links carry no cluster traffic\n"));
    }
    text
}

fn link(link: &LinkRow) -> [Cell; 7] {
    let state = match (link.up, link.carrier) {
        (false, _) => Cell::toned("down", Some(Tone::Critical)),
        (true, Some(false)) => Cell::toned("no carrier", Some(Tone::Critical)),
        (true, _) => "up".into(),
    };
    [
        link.name.as_str().into(),
        link.role.name().into(),
        link.kind.as_str().into(),
        link.mtu.into(),
        state,
        known(link.master.as_deref()),
        known(link.lower.as_deref()),
    ]
}

/// How many of the pods' links have which MTU; `None` without any.
pub(in crate::publish) fn pods(report: &Report) -> Option<String> {
    let mut counts: BTreeMap<(u32, Option<u32>), usize> = BTreeMap::new();
    for link in report.links.iter().filter(|link| link.role == Role::Pod) {
        let here = link.mtu.bytes();
        let there = link.pod.map_or(here, |pod| pod.mtu.bytes());
        *counts.entry((there, (there != here).then_some(here))).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    let links = if all == 1 { "link" } else { "links" };
    let mtu = |ends: &(u32, Option<u32>)| match ends {
        (pod, Some(node)) => format!("MTU {pod} in the pod and {node} on the node"),
        (both, None) => format!("MTU {both}"),
    };
    let by: Vec<String> = counts.iter().map(|(ends, count)| format!("{count} with {}", mtu(ends))).collect();
    match counts.keys().next()? {
        ends if counts.len() == 1 => Some(format!("{all} pod {links} with {}", mtu(ends))),
        _ => Some(format!("{all} pod {links}: {}", by.join(", "))),
    }
}

/// Tunnels and whether they fit.
pub(super) fn tunnels(report: &Report, style: Style) -> String {
    if report.tunnels.is_empty() {
        return String::new();
    }
    let row = |tunnel: &TunnelRow| -> [Cell; 8] {
        let lower = tunnel.lower.as_ref().map(|name| match tunnel.lower_mtu {
            Some(mtu) => format!("{name} ({mtu})"),
            None => name.clone(),
        });
        let tone = tunnel.headroom.filter(|room| *room < 0).map(|_| Tone::Critical);
        let headroom = tunnel.headroom.map_or_else(|| "-".to_owned(), |room| room.to_string());
        [
            tunnel.link.as_str().into(),
            tunnel.kind.into(),
            tunnel.mtu.into(),
            known(tunnel.overhead),
            Cell::toned(headroom, tone),
            known(lower),
            known(tunnel.id),
            known(tunnel.port),
        ]
    };
    let rows: Vec<_> = report.tunnels.iter().take(TUNNELS).map(row).collect();
    let mut text = style.heading("TUNNELS", "");
    text.push_str(&table(style, ["tunnel", "kind", "mtu", "overhead", "headroom", "over", "id", "port"], &rows));
    let more = report.tunnels.len().saturating_sub(TUNNELS);
    if more > 0 {
        text.push_str(&format!("  … and {more} more (--output json has them all)\n"));
    }
    text.extend(recommended(report).map(|said| style.wrap("  ", &clean(&said))));
    text
}

/// What each tunnel can have: as things are, and once they are mended, where that makes a difference.
pub(in crate::publish) fn recommended(report: &Report) -> impl Iterator<Item = String> {
    let rung = move |tunnel: &TunnelRow| {
        let mut rungs = report.ladders.iter().filter(|ladder| ladder.link == tunnel.link).flat_map(|one| &one.rungs);
        rungs.find(|rung| rung.layer == Layer::Tunnel && rung.name == tunnel.link)
    };
    let line = move |tunnel: &TunnelRow| {
        let (name, fits) = (&tunnel.link, tunnel.recommended_mtu?);
        let now = rung(tunnel).and_then(|rung| rung.available).filter(|now| *now < fits);
        Some(match now {
            Some(now) => format!("An MTU of {now} for {name} fits every path as it is; {fits} once they are mended."),
            None => format!("An MTU of {fits} for {name} fits every path."),
        })
    };
    report.tunnels.iter().take(TUNNELS).filter_map(line)
}

/// Settings of the machine, of the links that are shown and of all pods' links together.
pub(super) fn settings(report: &Report, style: Style) -> String {
    let rows: Vec<[Cell; 4]> = shown_settings(report)
        .map(|row| [row.name.as_str().into(), row.link.as_str().into(), row.value.into(), known(row.wanted.as_ref())])
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    style.heading("SETTINGS", "effective") + &table(style, ["setting", "link", "value", "wanted"], &rows)
}

/// Settings that somebody may want to see: not those of each pod's link.
pub(in crate::publish) fn shown_settings(report: &Report) -> impl Iterator<Item = &SettingRow> {
    let links: BTreeSet<&str> =
        report.links.iter().filter(|link| is_shown(link.role)).map(|link| link.name.as_str()).collect();
    report.settings.iter().filter(move |row| {
        ["", PODS].contains(&row.link.as_str()) || row.wanted.is_some() || links.contains(row.link.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::example;
    use super::*;

    #[test]
    fn a_large_cluster_stays_readable() {
        let published = example::cluster(1_000, 200);
        let text = paths(&published.report, Style::default());
        assert_eq!(text.lines().count(), 3 + FAULTY + CLEAR + 2);
        assert!(text.contains("… and 560 more faulty paths"), "{text}");
        assert!(text.contains("… and 2380 more clear paths"), "{text}");
    }

    #[test]
    fn the_ends_of_pods_links_that_differ_are_both_told() {
        let mut report = (*example::published().report).clone();
        report.links.retain(|link| link.role == Role::Pod);
        assert_eq!(pods(&report).unwrap(), "3 pod links: 1 with MTU 1450, 2 with MTU 1500");
        report.links[0].mtu = probes::units::LinkMtu::new(1300);
        let told = pods(&report).unwrap();
        assert!(told.contains("in the pod and 1300 on the node"), "{told}");
    }

    #[test]
    fn what_pods_links_are_set_to_is_one_row() {
        let mut report = (*example::published().report).clone();
        let row = |link: &str| SettingRow { name: "proxy_arp".into(), link: link.into(), value: 0, wanted: None };
        report.settings = ["pods", "cali1a2b3c4d5e6"].map(row).to_vec();
        let told = settings(&report, Style::default());
        assert!(told.contains("pods") && !told.contains("cali"), "{told}");
    }

    #[test]
    fn a_limit_without_address_is_here() {
        let limit = Limit { address: None, reported_mtu: None, ttl: None };
        assert_eq!(hop(Some(&limit)), "this machine");
        let far = Limit { address: Some([10, 0, 0, 1].into()), reported_mtu: None, ttl: Some(2) };
        assert_eq!(hop(Some(&far)), "10.0.0.1, hop 2");
    }
}
