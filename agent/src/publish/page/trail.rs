//! What was measured in the last rounds: the report tells the latest, and "since when" wants a few more.
//!
//! It is a picture and no record: [`ROUNDS`] results of each path of so many peers as may be named, in memory alone,
//! gone with the agent. What is not clear comes first, then what was followed before, so that a line does not begin anew
//! each round in a cluster where peers take turns. A path that is not followed any more is forgotten at once.
//!
//! A result counts when it is new: a path that was not probed in a round gets no second point for the first one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use probes::path::{Plane, VerdictName};
use probes::report::PathRow;

/// Results that are kept of a path.
pub(crate) const ROUNDS: usize = 60;

/// Paths that are followed, whatever the limit on peers: about 700 bytes each.
const PATHS: usize = 300;

/// One result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// Smallest round trip, in seconds; `None` if nothing was answered.
    pub(crate) round_trip: Option<f32>,
    /// Share of small packets that were lost lately, in percent.
    pub(crate) loss: u8,
}

/// The last results of one path, the oldest one first.
#[derive(Clone, Debug)]
struct Ring {
    points: [Point; ROUNDS],
    /// Where the next one goes.
    next: usize,
    len: usize,
    at: Option<Timestamp>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { points: [Point::default(); ROUNDS], next: 0, len: 0, at: None }
    }
}

impl Ring {
    fn push(&mut self, point: Point) {
        self.points[self.next] = point;
        self.next = (self.next + 1) % ROUNDS;
        self.len = (self.len + 1).min(ROUNDS);
    }

    fn points(&self) -> impl Iterator<Item = Point> {
        (0..self.len).map(|nth| self.points[(self.next + ROUNDS - self.len + nth) % ROUNDS])
    }
}

/// An address names a path within a plane, also while its peer gets another name.
type Key = (Plane, IpAddr);

/// The results of the paths that are followed.
#[derive(Debug, Default)]
pub(crate) struct Trail(BTreeMap<Key, Box<Ring>>);

const fn key(row: &PathRow) -> Key {
    (row.plane, row.address)
}

impl Trail {
    /// Takes what is new of the paths of so many peers, and forgets those that are not followed.
    pub(crate) fn record(&mut self, rows: &[PathRow], peers: usize) {
        let followed = self.choose(rows, peers);
        self.0.retain(|key, _| followed.contains_key(key));
        for (key, row) in followed {
            let ring = self.0.entry(key).or_default();
            if row.probed_at.is_some() && ring.at != row.probed_at {
                ring.at = row.probed_at;
                ring.push(point(row));
            }
        }
    }

    /// The last results of a path, the oldest one first; none if it is not followed.
    pub(crate) fn of(&self, row: &PathRow) -> Vec<Point> {
        self.0.get(&key(row)).map(|ring| ring.points().collect()).unwrap_or_default()
    }

    fn choose<'r>(&self, rows: &'r [PathRow], peers: usize) -> BTreeMap<Key, &'r PathRow> {
        let mut order: Vec<&PathRow> = rows.iter().collect();
        order.sort_by_key(|row| (row.verdict == VerdictName::Clear, !self.0.contains_key(&key(row))));
        let (mut named, mut chosen) = (BTreeSet::new(), BTreeMap::new());
        for row in order {
            if chosen.len() == PATHS {
                break;
            }
            if named.contains(row.peer.as_str()) || named.len() < peers {
                named.insert(row.peer.as_str());
                chosen.insert(key(row), row);
            }
        }
        chosen
    }
}

fn point(row: &PathRow) -> Point {
    let loss = row.loss_ratio.unwrap_or_default().clamp(0.0, 1.0) * 100.0;
    // What is lost at all is at least one in a hundred.
    Point { round_trip: row.round_trip_seconds.map(|seconds| seconds as f32), loss: loss.ceil() as u8 }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::super::super::example::{noon, path};
    use super::*;

    fn row(peer: &str, last: u8, verdict: VerdictName, round: i64) -> PathRow {
        let probed_at = Some(noon() + round.seconds());
        let round_trip_seconds = (verdict != VerdictName::Unreachable).then_some(round as f64);
        let row = path(peer, Plane::Underlay, &format!("10.0.0.{last}"), verdict, 1500);
        PathRow { probed_at, round_trip_seconds, ..row }
    }

    fn trips(trail: &Trail, row: &PathRow) -> Vec<Option<f32>> {
        trail.of(row).iter().map(|point| point.round_trip).collect()
    }

    #[test]
    fn the_last_rounds_are_kept_in_order_and_no_more() {
        let mut trail = Trail::default();
        for round in 0..100 {
            trail.record(&[row("a", 1, VerdictName::Clear, round)], 50);
        }
        let wanted: Vec<_> = (40..100).map(|round| Some(round as f32)).collect();
        assert_eq!(trips(&trail, &row("a", 1, VerdictName::Clear, 0)), wanted);
    }

    #[test]
    fn the_same_result_is_no_second_point() {
        let mut trail = Trail::default();
        let same = row("a", 1, VerdictName::Clear, 3);
        (0..4).for_each(|_| trail.record(std::slice::from_ref(&same), 50));
        assert_eq!(trail.of(&same).len(), 1);
        let never = PathRow { probed_at: None, ..row("b", 2, VerdictName::Unknown, 0) };
        trail.record(std::slice::from_ref(&never), 50);
        assert_eq!((trail.of(&never).len(), trail.of(&same).len()), (0, 0), "a peer that left is forgotten");
    }

    #[test]
    fn what_is_not_clear_comes_first_and_then_what_was_followed() {
        let mut trail = Trail::default();
        let clear = |last| row(&format!("p{last}"), last, VerdictName::Clear, 1);
        trail.record(&[clear(2), clear(3)], 2);
        let sick = row("sick", 9, VerdictName::Unreachable, 2);
        trail.record(&[clear(1), clear(3), clear(2), sick.clone()], 2);
        assert_eq!((trips(&trail, &sick), trail.of(&sick)[0].loss), (vec![None], 0));
        assert_eq!([1, 2, 3].map(|last| trail.of(&clear(last)).len()), [0, 0, 1]);
    }

    #[test]
    fn a_large_cluster_costs_no_more_than_a_few_hundred_kilobytes() {
        let published = super::super::super::example::cluster(1_000, 100);
        let mut trail = Trail::default();
        trail.record(&published.report.paths, 10_000);
        assert_eq!(trail.0.len(), PATHS, "a limit on peers that is set high does not lift the one on paths");
        assert!(PATHS * size_of::<(Key, Ring)>() < 256 * 1024, "{} B a path", size_of::<(Key, Ring)>());
    }
}
