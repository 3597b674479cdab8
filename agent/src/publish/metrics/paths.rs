//! Paths: counts over all of them, and series of their own for a few.
//!
//! Up to [`NAMED_BELOW`] peers all are named, above only those that fail; in both cases no more than the limit, worst
//! first, and what all other families leave of 2,000 series. A peer with several addresses in one plane and family is shown by the worst of them, and all its numbers come
//! from that one row: an MTU never stands beside the `up` of another address. Of the two directions it has series while
//! it is not clear: a clear path carries its size both ways, and nothing is to be told apart.

use std::collections::{BTreeMap, BTreeSet};

use probes::path::{Plane, VerdictName};
use probes::report::{PathRow, Report};
use probes::units::{self, IpSize};

use super::{Family, Labels, glossary, label};

/// Up to so many peers, healthy ones are named too.
const NAMED_BELOW: usize = 100;

/// What named peers may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Peers, as the operator wants it.
    pub(super) peers: usize,
    /// Series: what the other families leave.
    pub(super) series: usize,
}

/// Families about all paths. Without a report, only the counts, all zero.
pub(super) fn families(report: Option<&Report>) -> [Family; 3] {
    let rows: &[PathRow] = report.map_or(&[], |report| &report.paths);
    [least(rows), counts(rows), oldest(rows)]
}

/// How bad a verdict is. One that says nothing is no reason to overlook one that says something.
const fn badness(verdict: VerdictName) -> u8 {
    match verdict {
        VerdictName::Unknown => 0,
        VerdictName::Clear => 1,
        VerdictName::Limited => 2,
        VerdictName::BlackHole => 3,
        VerdictName::Unreachable => 4,
    }
}

pub(super) type Place = (Plane, units::Family);

/// The worst row of each plane and family of one peer.
type Peer<'a> = BTreeMap<Place, &'a PathRow>;

fn peers(rows: &[PathRow]) -> BTreeMap<&str, Peer<'_>> {
    let mut peers: BTreeMap<&str, Peer<'_>> = BTreeMap::new();
    let rank = |row: &PathRow| (badness(row.verdict), row.path_mtu.map(std::cmp::Reverse));
    for row in rows {
        let peer = peers.entry(&row.peer).or_default();
        let worst = peer.entry((row.plane, row.family)).or_insert(row);
        if rank(row) > rank(worst) {
            *worst = row;
        }
    }
    peers
}

fn worst(peer: &Peer<'_>) -> u8 {
    peer.values().map(|row| badness(row.verdict)).max().unwrap_or(0)
}

/// Families about single peers.
pub(super) fn named(report: &Report, room: Room, suppressed: &mut usize) -> [Family; 5] {
    let peers = peers(&report.paths);
    let blamed: BTreeSet<&str> = report.findings.iter().map(|finding| finding.subject.as_str()).collect();
    let fails = |name: &str, peer: &Peer<'_>| worst(peer) > badness(VerdictName::Clear) || blamed.contains(name);
    let all = peers.len() <= NAMED_BELOW;
    let mut chosen: Vec<_> = peers.into_iter().filter(|(name, peer)| all || fails(name, peer)).collect();
    chosen.sort_by_key(|(name, peer)| (!fails(name, peer), std::cmp::Reverse(worst(peer))));
    let mut families = Named::new();
    let mut used = 0;
    for (index, (name, peer)) in chosen.iter().enumerate() {
        let series: usize = peer.values().map(|row| Named::series(row)).sum();
        if index < room.peers && used + series <= room.series {
            used += series;
            peer.iter().for_each(|(place, row)| families.push(name, *place, row));
        } else {
            *suppressed += series;
        }
    }
    families.0
}

/// The families of named peers.
struct Named([Family; 5]);

impl Named {
    fn new() -> Self {
        use glossary::{PATH_EXPECTED_MTU, PATH_FORWARD_MTU, PATH_MTU, PATH_REVERSE_MTU, PATH_UP};
        Self([PATH_MTU, PATH_EXPECTED_MTU, PATH_FORWARD_MTU, PATH_REVERSE_MTU, PATH_UP].map(Family::of))
    }

    fn values(row: &PathRow) -> [Option<u32>; 5] {
        let up = match row.verdict {
            VerdictName::Clear | VerdictName::Limited | VerdictName::BlackHole => Some(1),
            VerdictName::Unreachable => Some(0),
            VerdictName::Unknown => None,
        };
        let sizes =
            [row.path_mtu, row.expected_mtu, row.forward_mtu, row.reverse_mtu].map(|size| size.map(IpSize::bytes));
        [sizes[0], sizes[1], sizes[2], sizes[3], up]
    }

    fn series(row: &PathRow) -> usize {
        Self::values(row).into_iter().flatten().count()
    }

    fn push(&mut self, peer: &str, place: Place, row: &PathRow) {
        for (family, value) in self.0.iter_mut().zip(Self::values(row)) {
            let mut labels = vec![label("peer", peer.to_owned())];
            labels.extend(place_labels(place));
            family.push_known(labels, value);
        }
    }
}

pub(super) fn place_labels((plane, family): Place) -> Labels {
    vec![label("plane", plane.name()), label("family", family.name())]
}

/// The least of what `of` yields, by plane and family.
fn least_by<T: PartialOrd>(rows: &[PathRow], of: impl Fn(&PathRow) -> Option<T>) -> BTreeMap<Place, T> {
    let mut least = BTreeMap::new();
    for row in rows {
        let place = (row.plane, row.family);
        if let Some(value) = of(row)
            && least.get(&place).is_none_or(|known| value < *known)
        {
            least.insert(place, value);
        }
    }
    least
}

fn least(rows: &[PathRow]) -> Family {
    let mut family = Family::of(glossary::PATH_MIN_MTU);
    for (place, mtu) in least_by(rows, |row| row.path_mtu) {
        family.push(place_labels(place), mtu.bytes());
    }
    family
}

fn oldest(rows: &[PathRow]) -> Family {
    let mut family = Family::of(glossary::OLDEST_PATH_RESULT);
    for (place, at) in least_by(rows, |row| row.probed_at) {
        family.push(place_labels(place), at.as_duration().as_secs_f64());
    }
    family
}

fn counts(rows: &[PathRow]) -> Family {
    let mut counts: BTreeMap<(Place, VerdictName), usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(((row.plane, row.family), row.verdict)).or_default() += 1;
    }
    let mut family = Family::of(glossary::PATHS);
    for plane in Plane::ALL {
        for ip in [units::Family::Ipv4, units::Family::Ipv6] {
            for verdict in VerdictName::ALL {
                let mut labels = place_labels((plane, ip));
                labels.push(label("verdict", verdict.name()));
                family.push(labels, counts.get(&((plane, ip), verdict)).copied().unwrap_or(0));
            }
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::super::super::example;
    use super::super::Value;
    use super::*;

    const FIFTY: Room = Room { peers: 50, series: 1000 };

    fn up(families: &[Family]) -> Vec<(String, f64)> {
        let family = families.iter().find(|family| family.about.name == "mtuscope_path_up").unwrap();
        let pair = |sample: &super::super::Sample| match sample.value {
            Value::Number(number) => (sample.labels[0].1.to_string(), number),
            Value::Histogram { .. } => panic!("a gauge"),
        };
        family.samples.iter().map(pair).collect()
    }

    fn report(rows: Vec<PathRow>) -> Report {
        let mut report = (*example::published().report).clone();
        (report.paths, report.findings) = (rows, Vec::new());
        report
    }

    #[test]
    fn every_combination_is_counted_from_the_start() {
        let families = families(None);
        let counts = families.iter().find(|family| family.about.name == "mtuscope_paths").unwrap();
        assert_eq!(counts.samples.len(), 3 * 2 * 5);
        assert!(counts.samples.iter().all(|sample| sample.value == Value::Number(0.0)));
    }

    #[test]
    fn one_row_speaks_for_a_peer_with_several_addresses() {
        let clear = example::path("master-2", Plane::Pod, "10.244.2.2", VerdictName::Clear, 1450);
        let hole = example::path("master-2", Plane::Pod, "10.244.2.3", VerdictName::BlackHole, 1400);
        let dead = PathRow {
            path_mtu: None,
            ..example::path("master-2", Plane::Pod, "10.244.2.4", VerdictName::Unreachable, 0)
        };
        let unknown =
            PathRow { path_mtu: None, ..example::path("master-2", Plane::Pod, "10.244.2.5", VerdictName::Unknown, 0) };
        let of = |rows: &[&PathRow]| {
            let rows: Vec<PathRow> = rows.iter().map(|row| (*row).clone()).collect();
            let peers = peers(&rows);
            let row = peers["master-2"][&(Plane::Pod, units::Family::Ipv4)];
            (row.verdict, row.path_mtu.map(IpSize::bytes))
        };
        assert_eq!(of(&[&clear, &hole]), (VerdictName::BlackHole, Some(1400)));
        assert_eq!(of(&[&hole, &dead, &clear]), (VerdictName::Unreachable, None));
        assert_eq!(of(&[&unknown, &clear]), (VerdictName::Clear, Some(1450)), "unknown hides nothing");
        let families = named(&report(vec![unknown]), FIFTY, &mut 0);
        assert_eq!(up(&families), [], "not known is absent");
    }

    #[test]
    fn a_large_cluster_names_only_peers_that_fail() {
        let published = example::cluster(NAMED_BELOW + 1, 3);
        let mut suppressed = 0;
        let families = named(&published.report, FIFTY, &mut suppressed);
        let names: BTreeSet<String> = up(&families).into_iter().map(|(name, _)| name).collect();
        assert_eq!((names.len(), suppressed), (3, 0));
        let all = Room { peers: NAMED_BELOW, ..FIFTY };
        let small = named(&example::cluster(NAMED_BELOW, 3).report, all, &mut suppressed);
        assert!(up(&small).len() > names.len() * 3, "healthy peers of a small cluster are named too");
    }

    #[test]
    fn the_worst_peers_are_named_first_and_the_rest_counted() {
        let limited = example::path("a", Plane::Underlay, "10.0.0.1", VerdictName::Limited, 1400);
        let clear = example::path("b", Plane::Underlay, "10.0.0.2", VerdictName::Clear, 1500);
        let dead =
            PathRow { path_mtu: None, ..example::path("c", Plane::Underlay, "10.0.0.3", VerdictName::Unreachable, 0) };
        let mut suppressed = 0;
        let report = report(vec![limited, clear, dead]);
        let families = named(&report, Room { peers: 2, ..FIFTY }, &mut suppressed);
        assert_eq!(up(&families), [("c".to_owned(), 0.0), ("a".to_owned(), 1.0)]);
        assert_eq!(suppressed, 3, "path_mtu, path_expected_mtu and path_up of b");
        let families = named(&report, Room { series: 4, ..FIFTY }, &mut suppressed);
        assert_eq!(up(&families), [("c".to_owned(), 0.0)], "a has no room beside it");
        assert_eq!(suppressed, 3 + 3 + 3);
    }

    #[test]
    fn the_oldest_result_is_that_of_the_path_whose_turn_is_longest_ago() {
        let at = |minutes: Option<i64>, peer: &str| {
            let probed_at = minutes.map(|minutes| example::noon() - jiff::SignedDuration::from_mins(minutes));
            let row = example::path(peer, Plane::Underlay, "10.0.0.12", VerdictName::Clear, 1500);
            PathRow { probed_at, ..row }
        };
        let rows = vec![at(Some(1), "now"), at(Some(60), "an-hour-ago"), at(None, "never")];
        let oldest = oldest(&rows);
        let values: Vec<_> = oldest.samples.iter().map(|sample| &sample.value).collect();
        let hour_ago = example::noon().as_second() as f64 - 3600.0;
        assert!(matches!(values[..], [Value::Number(number)] if *number == hour_ago), "{hour_ago}");
    }
}
