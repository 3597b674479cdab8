//! What one agent measured, in as little room as the cluster's size asks for.
//!
//! Of a large cluster most paths of a node are alike: clear, and of the same size. Those are kept as a list of where they
//! lead, two bytes each, and only what differs from them in full.

use std::collections::BTreeMap;

use super::reading::{Heard, Kind};
use super::who::Id;
use super::{Mark, Share};
use crate::report::Vantage;

/// The paths of one agent.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) from: Id,
    pub(super) vantage: Vantage,
    /// By where they lead, and kind.
    kept: Vec<Heard>,
    even: BTreeMap<Kind, Even>,
}

/// Clear paths that carry the same.
#[derive(Clone, Debug, Default)]
struct Even {
    path: u16,
    expected: u16,
    /// In order.
    to: Vec<Id>,
}

impl Line {
    /// `thin`: whether to keep it small. Paths to itself say nothing of the network.
    pub(super) fn new(from: Id, vantage: Vantage, heard: Vec<Heard>, thin: bool) -> Self {
        let mut line = Self { from, vantage, kept: heard, even: BTreeMap::new() };
        line.kept.retain(|one| one.to != from);
        if thin {
            line.thin_out();
        }
        line.kept.shrink_to_fit();
        line
    }

    fn thin_out(&mut self) {
        for kind in self.kinds() {
            let clear = self.kept.iter().filter(|one| one.kind == kind && one.mark == Mark::Clear);
            let Some((path, expected)) = most(clear.map(|one| (one.path, one.expected))) else { continue };
            let is_even = |one: &mut Heard| {
                one.kind == kind && one.mark == Mark::Clear && (one.path, one.expected) == (path, expected)
            };
            let to = self.kept.extract_if(.., is_even).map(|one| one.to).collect();
            self.even.insert(kind, Even { path, expected, to });
        }
    }

    /// Adds what turned out later to lead to a node that is known; what was known first counts.
    pub(super) fn add(&mut self, more: impl Iterator<Item = Heard>) {
        for one in more.filter(|one| one.to != self.from) {
            if let Err(at) = self.position(one.to, one.kind)
                && self.cell(one.to, one.kind).is_none()
            {
                self.kept.insert(at, one);
            }
        }
    }

    /// On which planes it measures.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let mut all: Vec<Kind> = self.kept.iter().map(|one| one.kind).chain(self.even.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// All cells of a kind.
    pub(super) fn cells(&self, kind: Kind) -> impl Iterator<Item = Heard> + '_ {
        let even = self.even.get(&kind).into_iter();
        let even = even.flat_map(move |even| even.to.iter().map(move |to| even.cell(*to, kind)));
        self.kept.iter().filter(move |one| one.kind == kind).copied().chain(even)
    }

    /// The cell to a node.
    pub(super) fn cell(&self, to: Id, kind: Kind) -> Option<Heard> {
        let kept = || self.position(to, kind).ok().map(|at| self.kept[at]);
        let even = || self.even.get(&kind).filter(|even| even.to.binary_search(&to).is_ok());
        kept().or_else(|| even().map(|even| even.cell(to, kind)))
    }

    fn position(&self, to: Id, kind: Kind) -> Result<usize, usize> {
        self.kept.binary_search_by_key(&(to, kind), |one| (one.to, one.kind))
    }

    /// What most of its clear paths carry.
    pub(super) fn clear_mtu(&self, kind: Kind) -> Option<u16> {
        most(self.cells(kind).filter(|one| one.mark == Mark::Clear).map(|one| one.path))
    }

    /// What it expects most of its paths to carry.
    pub(super) fn expects(&self, kind: Kind) -> Option<u16> {
        let size = |one: Heard| [one.expected, one.path].into_iter().find(|size| *size > 0);
        most(self.cells(kind).filter_map(size))
    }
}

impl Even {
    const fn cell(&self, to: Id, kind: Kind) -> Heard {
        Heard {
            to,
            kind,
            mark: Mark::Clear,
            path: self.path,
            expected: self.expected,
            forward: 0,
            reverse: 0,
            micros: None,
        }
    }
}

/// What occurs most often; of several, the largest.
pub(super) fn most<T: Ord + Copy>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_default() += 1);
    counts.into_iter().max_by_key(|(value, count)| (*count, *value)).map(|(value, _)| value)
}

impl Heard {
    /// Whether it says anything of what the path carries.
    pub(super) const fn is_judged(&self) -> bool {
        !matches!(self.mark, Mark::Unmeasured | Mark::Unknown)
    }

    /// Whether it is worse than a path that carries the usual size. A size that its own node does not expect to be larger
    /// is worse all the same: that is how a NIC of one node that is set too small looks from there.
    pub(super) const fn is_worse(&self, usual: u16) -> bool {
        match self.mark {
            Mark::Unreachable | Mark::BlackHole | Mark::Limited => true,
            Mark::Clear => self.path < usual,
            Mark::Unknown | Mark::Unmeasured => false,
        }
    }
}

impl Share {
    /// Of these cells.
    pub(super) fn of(cells: impl Iterator<Item = Heard>, usual: u16) -> Self {
        let (mut share, mut sizes) = (Self::default(), Vec::new());
        for cell in cells {
            share.count(cell, usual);
            share.unreachable += usize::from(cell.mark == Mark::Unreachable);
            sizes.extend((cell.is_worse(usual) && cell.path > 0).then_some(cell.path));
        }
        Self { path_mtu: most(sizes.into_iter()).map(super::gather::size), ..share }
    }

    pub(super) fn count(&mut self, cell: Heard, usual: u16) {
        self.measured += usize::from(cell.is_judged());
        self.worse += usize::from(cell.is_worse(usual));
    }

    /// Takes a cell out that was counted.
    pub(super) fn discount(&mut self, cell: Heard, usual: u16) {
        self.measured = self.measured.saturating_sub(usize::from(cell.is_judged()));
        self.worse = self.worse.saturating_sub(usize::from(cell.is_worse(usual)));
    }

    /// Whether at least two in three are worse, of as many as can be told from chance.
    pub(super) const fn is_mostly_worse(&self) -> bool {
        self.measured >= 2 && self.worse * 3 >= self.measured * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Plane;
    use crate::units::Family;

    const KIND: Kind = Kind { plane: Plane::Underlay, family: Family::Ipv4 };

    fn to(to: Id, mark: Mark, path: u16) -> Heard {
        Heard { to, kind: KIND, mark, path, expected: 1500, forward: 0, reverse: 0, micros: Some(300) }
    }

    fn cells() -> Vec<Heard> {
        vec![
            to(0, Mark::Clear, 1500),
            to(1, Mark::Clear, 1500),
            to(2, Mark::Limited, 1400),
            to(3, Mark::Clear, 1500),
            to(4, Mark::Unmeasured, 0),
        ]
    }

    #[test]
    fn a_thin_line_says_the_same_but_for_round_trips() {
        let (whole, thin) = (Line::new(0, Vantage::Node, cells(), false), Line::new(0, Vantage::Node, cells(), true));
        assert!(thin.kept.len() < whole.kept.len());
        let said = |line: &Line| {
            let mut all: Vec<_> = line.cells(KIND).map(|one| Heard { micros: None, ..one }).collect();
            all.sort_by_key(|one| one.to);
            all
        };
        assert_eq!(said(&thin), said(&whole));
        for id in 0..6 {
            let mark = |line: &Line| line.cell(id, KIND).map(|one| (one.mark, one.path));
            assert_eq!(mark(&thin), mark(&whole), "{id}");
        }
        assert_eq!((thin.clear_mtu(KIND), thin.expects(KIND)), (Some(1500), Some(1500)));
    }

    #[test]
    fn nobody_measures_the_way_to_himself() {
        assert_eq!(Line::new(0, Vantage::Node, cells(), false).cell(0, KIND), None);
    }

    #[test]
    fn what_comes_later_fills_gaps_only() {
        for thin in [false, true] {
            let mut line = Line::new(0, Vantage::Node, cells(), thin);
            line.add(
                [to(0, Mark::Clear, 9), to(1, Mark::Clear, 9), to(2, Mark::Clear, 9), to(7, Mark::Clear, 9)]
                    .into_iter(),
            );
            let path = |id| line.cell(id, KIND).map(|one| one.path);
            assert_eq!((path(0), path(1), path(2), path(7)), (None, Some(1500), Some(1400), Some(9)));
        }
    }

    #[test]
    fn what_was_not_measured_is_neither_good_nor_bad() {
        let share = Share::of(cells().into_iter(), 1500);
        assert_eq!((share.worse, share.measured, share.path_mtu.map(|mtu| mtu.bytes())), (1, 4, Some(1400)));
        assert!(!Share { worse: 1, measured: 1, ..Share::default() }.is_mostly_worse(), "one is chance");
        assert!(Share { worse: 2, measured: 3, ..Share::default() }.is_mostly_worse());
    }
}
