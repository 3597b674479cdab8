//! Of many nodes, first those that matter: the ones that stand out, and the ends of paths that deviate besides. All
//! others are one row and one column, which say how many there are and what the worst of them came to; so nothing bad is
//! left out of this small table, it is only not told apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use probes::cluster::{Cell as Path, Grid};
use probes::units::IpSize;

use super::map::{Axis, Budget, Head, Sort};

/// Most nodes that have a row of their own.
const MOST: usize = 16;

/// Pairs that are listed.
const LISTED: usize = 60;

/// Some cells as one.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    sorts: BTreeMap<Sort, (usize, Option<IpSize>)>,
}

impl Tally {
    fn add(&mut self, sort: Sort, path: Option<&Path>) {
        let (count, least) = self.sorts.entry(sort).or_default();
        *count += 1;
        let mtu = path.and_then(|path| path.path_mtu);
        *least = least.map_or(mtu, |least| Some(mtu.map_or(least, |mtu| mtu.min(least))));
    }

    /// What they are drawn as: the worst of them. Where the worst is that nobody knows, it is that only if it is most.
    pub(super) fn sort(&self) -> Sort {
        let worst = self.worst();
        let good = || self.sorts.iter().filter(|(sort, _)| !sort.is_open()).max_by_key(|(_, (count, _))| *count);
        let open: usize = self.sorts.iter().filter(|(sort, _)| sort.is_open()).map(|(_, (count, _))| count).sum();
        match good().filter(|(_, (count, _))| worst.is_open() && *count > open) {
            Some((sort, _)) => *sort,
            None => worst,
        }
    }

    fn worst(&self) -> Sort {
        self.sorts.keys().next_back().copied().unwrap_or(Sort::Own)
    }

    /// The sign of the worst.
    pub(super) fn sign(&self) -> &'static str {
        self.worst().sign()
    }

    /// The least that those carry.
    pub(super) fn number(&self) -> Option<IpSize> {
        self.sorts.get(&self.sort()).and_then(|(_, least)| *least)
    }

    /// Whether it is one path, which somebody measured or is to measure.
    pub(super) fn is_path(&self) -> bool {
        self.sorts.values().map(|(count, _)| count).sum::<usize>() == 1
            && !matches!(self.worst(), Sort::Own | Sort::Stranger)
    }

    /// How many came to what, the worst first.
    pub(super) fn said(&self) -> String {
        let told = self.sorts.iter().rev().filter(|(sort, _)| !matches!(sort, Sort::Own));
        let all: usize = told.clone().map(|(_, (count, _))| count).sum();
        if all == 1 {
            return self.worst().word().to_owned();
        }
        let parts: Vec<String> = told.map(|(sort, (count, _))| format!("{count} {}", sort.word())).collect();
        if parts.is_empty() { Sort::Own.word().to_owned() } else { parts.join(", ") }
    }
}

/// The nodes that matter against each other and all others.
pub(super) struct Part<'m> {
    pub(super) heads: Vec<Head<'m>>,
    pub(super) others: usize,
    pub(super) rows: Vec<Vec<Tally>>,
    /// Whether there is room for links.
    pub(super) is_linked: bool,
}

/// A path that deviates.
pub(super) struct Listed<'m> {
    pub(super) from: Head<'m>,
    pub(super) to: Head<'m>,
    pub(super) sort: Sort,
    pub(super) path: &'m Path,
}

/// Paths that deviate without touching a node that stands out.
pub(super) struct List<'m> {
    pub(super) rows: Vec<Listed<'m>>,
    /// Beside those.
    pub(super) more: usize,
    /// Those of nodes that stand out.
    pub(super) explained: usize,
    /// Whether there is room for links.
    pub(super) is_linked: bool,
}

/// The worst paths of a grid.
pub(super) fn listed<'m>(axis: &Axis<'m>, grid: &'m Grid, budget: &mut Budget) -> List<'m> {
    let heads: BTreeMap<&str, &Head<'m>> = axis.heads.iter().map(|head| (head.name, head)).collect();
    let mut others = Vec::new();
    let mut explained = 0;
    for (row, cell) in grid.rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row, cell))) {
        let sort = Sort::of(cell, grid.usual_mtu);
        if !sort.deviates() {
            continue;
        }
        let (from, to) = (heads[row.from.as_str()], heads[cell.to.as_str()]);
        if from.odd || to.odd {
            explained += 1;
        } else {
            others.push((Reverse(sort), cell.path_mtu, from.name, to.name, cell));
        }
    }
    let more = others.len().saturating_sub(LISTED);
    others.sort_unstable_by_key(|(sort, mtu, from, to, _)| (*sort, *mtu, *from, *to));
    let row = |(sort, _, from, to, path): (Reverse<Sort>, _, &str, &str, &'m Path)| Listed {
        from: heads[from].clone(),
        to: heads[to].clone(),
        sort: sort.0,
        path,
    };
    let is_linked = budget.take(others.len().min(LISTED) * axis.link_bytes());
    List { rows: others.into_iter().take(LISTED).map(row).collect(), more, explained, is_linked }
}

impl<'m> Part<'m> {
    /// `None` where nothing deviates.
    pub(super) fn of(axis: &Axis<'m>, list: &List<'m>, budget: &mut Budget) -> Option<Self> {
        let mut names: Vec<&str> = axis.heads.iter().filter(|head| head.odd).map(|head| head.name).collect();
        names.truncate(MOST);
        for name in list.rows.iter().flat_map(|row| [row.from.name, row.to.name]) {
            if names.len() < MOST && !names.contains(&name) {
                names.push(name);
            }
        }
        let chosen: Vec<usize> = (0..axis.heads.len()).filter(|at| names.contains(&axis.heads[*at].name)).collect();
        if chosen.is_empty() {
            return None;
        }
        let group = |at: usize| chosen.binary_search(&at).unwrap_or(chosen.len());
        let mut rows = vec![vec![Tally::default(); chosen.len() + 1]; chosen.len() + 1];
        for row in 0..axis.heads.len() {
            for (column, path) in axis.paths(row).into_iter().enumerate() {
                let sort = axis.sort(row, column, path);
                rows[group(row)][group(column)].add(sort, path);
            }
        }
        let others = axis.heads.len() - chosen.len();
        let is_linked = budget.take(chosen.len() * chosen.len() * axis.link_bytes());
        Some(Self { is_linked, heads: chosen.into_iter().map(|at| axis.heads[at].clone()).collect(), others, rows })
    }

    /// Each row with its node, and each cell with its own; the last of either is all others.
    pub(super) fn lines(
        &self,
    ) -> impl Iterator<Item = (Option<&Head<'m>>, impl Iterator<Item = (&Tally, Option<&Head<'m>>)>)> {
        let heads = || self.heads.iter().map(Some).chain([None]);
        heads().zip(&self.rows).map(move |(head, row)| (head, row.iter().zip(heads())))
    }
}
