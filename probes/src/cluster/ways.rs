//! Pairs of nodes between which the two ways differ.
//!
//! An echo goes there and back, so a round trip carries no more than the worse of the two ways, whoever sends it. What
//! tells them apart is what an agent measured of each way by itself. Where it could not, the round trip stands for the way
//! there: a difference can then be missed, and none is made up.

use std::cmp::{Ordering, Reverse};

use super::Mark;
use super::line::Line;
use super::reading::{Heard, Kind};
use super::who::Id;

/// A pair, the worse way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) from: Id,
    pub(super) to: Id,
    /// What the worse way carries; 0 is nothing.
    pub(super) there: u16,
    pub(super) back: u16,
}

/// Pairs of a grid whose ways differ, the largest difference first.
pub(super) fn differing(lines: &[&Line], kind: Kind, nodes: usize) -> Vec<Pair> {
    let mut by_id: Vec<Option<&Line>> = vec![None; nodes];
    lines.iter().for_each(|line| by_id[usize::from(line.from)] = Some(line));
    let mut pairs = Vec::new();
    for (line, there) in lines.iter().flat_map(|line| line.cells(kind).map(move |cell| (line, cell))) {
        let back = by_id[usize::from(there.to)].and_then(|other| other.cell(line.from, kind));
        // Each pair once, unless only one of the two says anything.
        if line.from < there.to || back.is_none() {
            pairs.extend(differ(line.from, there, back));
        }
    }
    pairs.sort_by_key(|pair| (Reverse(pair.back - pair.there), pair.from, pair.to));
    pairs
}

fn differ(from: Id, cell: Heard, reverse: Option<Heard>) -> Option<Pair> {
    let there = way(Some(cell), reverse)?;
    let back = way(reverse, Some(cell))?;
    match there.cmp(&back) {
        Ordering::Equal => None,
        Ordering::Less => Some(Pair { from, to: cell.to, there, back }),
        Ordering::Greater => Some(Pair { from: cell.to, to: from, there: back, back: there }),
    }
}

/// What one way carries, by whoever can say; 0 where nothing gets through.
fn way(going: Option<Heard>, coming: Option<Heard>) -> Option<u16> {
    let known = |size: u16| (size > 0).then_some(size);
    let going = going.filter(Heard::is_judged);
    let coming = coming.filter(Heard::is_judged).and_then(|one| known(one.reverse));
    match going {
        Some(one) if one.mark == Mark::Unreachable => Some(0),
        Some(one) => known(one.forward).or(coming).or(known(one.path)),
        None => coming,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Plane;
    use crate::report::Vantage;
    use crate::units::Family;

    const KIND: Kind = Kind { plane: Plane::Underlay, family: Family::Ipv4 };

    fn cell(to: Id, mark: Mark, path: u16, forward: u16, reverse: u16) -> Heard {
        Heard { to, kind: KIND, mark, path, expected: 1500, forward, reverse, micros: None }
    }

    /// Between nodes 0 and 1: from, to, there, back.
    fn between(there: Option<Heard>, back: Option<Heard>) -> Vec<(Id, Id, u16, u16)> {
        let lines =
            [(0, there), (1, back)].map(|(from, one)| Line::new(from, Vantage::Node, one.into_iter().collect(), false));
        let found = differing(&lines.iter().collect::<Vec<_>>(), KIND, 2);
        found.into_iter().map(|pair| (pair.from, pair.to, pair.there, pair.back)).collect()
    }

    #[test]
    fn one_way_that_both_measured_is_told_by_either() {
        let there = cell(1, Mark::BlackHole, 1400, 1500, 1400);
        let back = cell(0, Mark::BlackHole, 1400, 1400, 1500);
        for (one, other) in [(Some(there), Some(back)), (Some(there), None), (None, Some(back))] {
            assert_eq!(between(one, other), [(1, 0, 1400, 1500)], "{one:?} {other:?}");
        }
    }

    #[test]
    fn round_trips_alone_differ_only_if_they_differ() {
        let even = |path| cell(0, Mark::Limited, path, 0, 0);
        assert_eq!(between(Some(cell(1, Mark::Clear, 1500, 0, 0)), Some(even(1400))), [(1, 0, 1400, 1500)]);
        assert_eq!(between(Some(cell(1, Mark::Limited, 1400, 0, 0)), Some(even(1400))), []);
        assert_eq!(between(Some(cell(1, Mark::Clear, 1500, 0, 0)), None), []);
    }

    #[test]
    fn a_way_that_is_cut_off_differs_from_one_that_is_not() {
        let found = between(Some(cell(1, Mark::Unreachable, 0, 0, 0)), Some(cell(0, Mark::Clear, 1500, 0, 0)));
        assert_eq!(found, [(0, 1, 0, 1500)]);
        let both = between(Some(cell(1, Mark::Unreachable, 0, 0, 0)), Some(cell(0, Mark::Unreachable, 0, 0, 0)));
        assert_eq!(both, []);
    }

    #[test]
    fn what_nobody_measured_differs_from_nothing() {
        for mark in [Mark::Unmeasured, Mark::Unknown] {
            assert_eq!(between(Some(cell(1, mark, 0, 0, 0)), Some(cell(0, Mark::Clear, 1500, 0, 0))), []);
        }
    }
}
