//! Nodes that stand out: most of what leads to them, or from them, is worse than usual, and the rest is not.
//!
//! A bad pair has two ends, and a matrix with one bad NIC has a bad row and a bad column: each of its cells could be the
//! other node's fault. So the node that touches most bad cells is set aside first, with all its cells, and then the next.
//! Who is set aside so stands out only if what is left is good, and only if it is the smaller half: where everything is
//! bad, or half of the cluster, the network between them is.

use std::collections::BTreeSet;

use super::Share;
use super::line::Line;
use super::reading::Kind;
use super::who::Id;

/// Most nodes of a grid that are named.
const MOST: usize = 50;

/// A node that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) node: Id,
    pub(super) to_it: Share,
    pub(super) from_it: Share,
    pub(super) others: Share,
}

/// How many cells a node touches, and how many of those are worse, by direction.
#[derive(Clone, Copy, Debug, Default)]
struct Touch {
    to: Share,
    from: Share,
}

impl Touch {
    const fn worse(&self) -> usize {
        self.to.worse + self.from.worse
    }

    const fn is_odd(&self) -> bool {
        self.to.is_mostly_worse() || self.from.is_mostly_worse()
    }
}

/// The nodes of a grid that stand out, the worst first. `nodes` is how many numbers there are.
pub(super) fn standing_out(lines: &[&Line], kind: Kind, usual: u16, nodes: usize) -> Vec<Odd> {
    let mut touches = vec![Touch::default(); nodes];
    for (line, cell) in lines.iter().flat_map(|line| line.cells(kind).map(move |cell| (line, cell))) {
        touches[usize::from(line.from)].from.count(cell, usual);
        touches[usize::from(cell.to)].to.count(cell, usual);
    }
    let there = touches.iter().filter(|touch| touch.to.measured + touch.from.measured > 0).count();
    let aside = set_aside(&mut touches, there / 2, lines, kind, usual);
    let others = rest(lines, kind, usual, &aside);
    if aside.is_empty() || aside.len() * 2 > there || others.measured == 0 || others.worse * 3 > others.measured {
        return Vec::new();
    }
    let share = |node: Id| {
        let to_it = lines.iter().filter_map(|line| line.cell(node, kind));
        let from_it = lines.iter().filter(|line| line.from == node).flat_map(|line| line.cells(kind));
        Odd { node, to_it: Share::of(to_it, usual), from_it: Share::of(from_it, usual), others }
    };
    aside.into_iter().take(MOST).map(share).collect()
}

/// Takes out the node that touches most bad cells, with all its cells, as long as one has mostly bad ones; one more
/// than `few` at most.
fn set_aside(touches: &mut [Touch], few: usize, lines: &[&Line], kind: Kind, usual: u16) -> Vec<Id> {
    let mut aside = Vec::new();
    while aside.len() <= few {
        let odd = touches.iter().enumerate().filter(|(_, touch)| touch.is_odd());
        let worst = odd.max_by_key(|(at, touch)| (touch.worse(), usize::MAX - at)).map(|(at, _)| at);
        let Some(node) = worst.and_then(|at| Id::try_from(at).ok()) else { break };
        aside.push(node);
        touches[usize::from(node)] = Touch::default();
        for line in lines {
            if line.from == node {
                line.cells(kind).for_each(|cell| touches[usize::from(cell.to)].to.discount(cell, usual));
            } else if let Some(cell) = line.cell(node, kind) {
                touches[usize::from(line.from)].from.discount(cell, usual);
            }
        }
    }
    aside
}

/// What is left without these nodes.
fn rest(lines: &[&Line], kind: Kind, usual: u16, aside: &[Id]) -> Share {
    let aside: BTreeSet<Id> = aside.iter().copied().collect();
    let kept = lines.iter().filter(|line| !aside.contains(&line.from));
    Share::of(kept.flat_map(|line| line.cells(kind).filter(|cell| !aside.contains(&cell.to))), usual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Mark;
    use crate::cluster::reading::Heard;
    use crate::path::Plane;
    use crate::report::Vantage;
    use crate::units::Family;

    const KIND: Kind = Kind { plane: Plane::Underlay, family: Family::Ipv4 };

    /// The nodes that stand out of so many, where `path` says what a cell carries; 0 is cut off.
    fn odd(nodes: Id, path: impl Fn(Id, Id) -> Option<u16>) -> Vec<Odd> {
        let cell = |from, to| {
            let path = path(from, to);
            let mark = match path {
                None => Mark::Unmeasured,
                Some(0) => Mark::Unreachable,
                Some(1500) => Mark::Clear,
                Some(_) => Mark::Limited,
            };
            let path = path.unwrap_or(0);
            Heard { to, kind: KIND, mark, path, expected: 1500, forward: 0, reverse: 0, micros: None }
        };
        let line = |from| Line::new(from, Vantage::Node, (0..nodes).map(|to| cell(from, to)).collect(), false);
        let lines: Vec<Line> = (0..nodes).map(line).collect();
        standing_out(&lines.iter().collect::<Vec<_>>(), KIND, 1500, nodes.into())
    }

    fn names(odd: &[Odd]) -> Vec<Id> {
        odd.iter().map(|one| one.node).collect()
    }

    #[test]
    fn a_node_with_a_bad_row_and_column_stands_out() {
        let found = odd(4, |from, to| Some(if from == 2 || to == 2 { 1400 } else { 1500 }));
        assert_eq!(names(&found), [2]);
        assert_eq!((found[0].to_it.worse, found[0].to_it.measured), (3, 3));
        assert_eq!((found[0].others.worse, found[0].others.measured), (0, 6));
    }

    #[test]
    fn a_bad_column_alone_is_enough() {
        assert_eq!(names(&odd(4, |_, to| Some(if to == 1 { 0 } else { 1500 }))), [1]);
    }

    #[test]
    fn one_bad_pair_blames_neither() {
        assert!(
            odd(6, |from, to| Some(if (from, to) == (1, 2) || (from, to) == (2, 1) { 1400 } else { 1500 })).is_empty()
        );
    }

    #[test]
    fn where_all_or_half_is_bad_nobody_stands_out() {
        assert!(odd(5, |_, _| Some(1400)).is_empty());
        assert!(odd(6, |from, to| Some(if (from < 3) == (to < 3) { 1500 } else { 1400 })).is_empty(), "two halves");
        assert!(odd(2, |_, _| Some(1400)).is_empty(), "of two, either can be it");
        assert!(odd(5, |_, _| Some(1500)).is_empty());
    }

    #[test]
    fn two_of_six_stand_out() {
        assert_eq!(names(&odd(6, |from, to| Some(if from > 3 || to > 3 { 1400 } else { 1500 }))), [4, 5]);
    }

    #[test]
    fn pairs_that_nobody_measured_blame_nobody() {
        assert!(odd(4, |from, to| (from != 2 && to != 2).then_some(1500)).is_empty());
        assert!(
            odd(4, |from, to| if to == 2 { (from == 0).then_some(1400) } else { Some(1500) }).is_empty(),
            "one peer"
        );
    }

    #[test]
    fn a_node_in_two_hundred_is_found_by_what_a_third_of_the_pairs_say() {
        let found =
            odd(200, |from, to| ((from + to) % 3 == 0).then_some(if from == 77 || to == 77 { 1400 } else { 1500 }));
        assert_eq!(names(&found), [77]);
    }
}
