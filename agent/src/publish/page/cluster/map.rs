//! One network as a table: a row for each node that measured, a column for each that was measured to.
//!
//! How much a cell says follows from how many there are. Of a few nodes ([`ROOMY`]) a cell has its number and a word; of
//! more a number and a sign. Of many ([`DENSE`] and above) a number that is the usual one is the sign `=`, so that what
//! deviates is what is written out. The row of a node that did not answer is one cell that says so: it is not fine, and
//! nobody knows.
//!
//! A link in each cell would be forty thousand stops for whoever uses the keyboard. So all cells can be clicked while there
//! is room in the document ([`Budget`]), the Tab key stops at those that deviate, [`STOPS`] of them, and the form takes any
//! pair.

use std::collections::HashMap;

use probes::cluster::{Answer, Cell as Path, Grid, Mark, Matrix, Row};
use probes::units::IpSize;

use super::super::shown;
use super::encode;

/// Most nodes of which a cell has its word beside the number.
pub(super) const ROOMY: usize = 12;

/// Most nodes of which the whole map comes first.
pub(super) const DENSE: usize = 50;

/// Deviating cells of a table at which the Tab key stops.
const STOPS: usize = 40;

/// Longest name at the head of a row or a column.
const NAME: usize = 28;

/// What a cell came to, as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sort {
    /// The node itself.
    Own,
    /// Not among the peers of the node that measures.
    Stranger,
    /// As much as is usual.
    Usual,
    /// More than is usual.
    More,
    /// Never measured yet.
    Unmeasured,
    /// The agent at its beginning did not answer.
    Silent,
    /// Measured without a conclusion.
    Unknown,
    /// Less than is usual or expected, and senders are told.
    Less,
    /// Larger packets vanish in silence.
    Hole,
    /// Nothing gets there.
    Cut,
}

impl Sort {
    /// Those of a legend.
    pub(super) const ALL: [Self; 10] = [
        Self::Usual,
        Self::More,
        Self::Less,
        Self::Hole,
        Self::Cut,
        Self::Unknown,
        Self::Unmeasured,
        Self::Silent,
        Self::Stranger,
        Self::Own,
    ];

    pub(super) fn of(cell: &Path, usual: Option<IpSize>) -> Self {
        match cell.verdict {
            Mark::Clear if cell.path_mtu < usual => Self::Less,
            Mark::Clear if cell.path_mtu > usual => Self::More,
            Mark::Clear => Self::Usual,
            Mark::Limited => Self::Less,
            Mark::BlackHole => Self::Hole,
            Mark::Unreachable => Self::Cut,
            Mark::Unknown => Self::Unknown,
            Mark::Unmeasured => Self::Unmeasured,
        }
    }

    /// Its class in the style sheet; short, as there may be forty thousand.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Own => "o",
            Self::Stranger => "s",
            Self::Usual | Self::More => "g",
            Self::Unmeasured => "w",
            Self::Silent => "n",
            Self::Unknown => "u",
            Self::Less => "l",
            Self::Hole => "h",
            Self::Cut => "c",
        }
    }

    /// What stands behind the number, or alone where there is none.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Own => "·",
            Self::Stranger => "–",
            Self::Usual => "",
            Self::More => "↑",
            Self::Unmeasured => "~",
            Self::Silent => "∅",
            Self::Unknown => "?",
            Self::Less => "↓",
            Self::Hole => "!",
            Self::Cut => "✕",
        }
    }

    /// The word beside it, where there is room.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Own => "itself",
            Self::Stranger => "no peer of it",
            Self::Usual => "clear",
            Self::More => "clear, more",
            Self::Unmeasured => "not measured yet",
            Self::Silent => "no answer",
            Self::Unknown => "unknown",
            Self::Less => "limited",
            Self::Hole => "black hole",
            Self::Cut => "cut off",
        }
    }

    /// What that means.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Own => "the node itself",
            Self::Stranger => "not among the peers of the node of this row",
            Self::Usual => "carries what is usual here",
            Self::More => "carries more than is usual here",
            Self::Unmeasured => "its turn has not come: nobody knows, and that is not fine",
            Self::Silent => "the agent of this row did not answer: nobody knows",
            Self::Unknown => "measured without a conclusion",
            Self::Less => "less than is usual or expected, and senders are told",
            Self::Hole => "larger packets vanish in silence",
            Self::Cut => "nothing gets there",
        }
    }

    /// Whether it has to be known to read a map at all.
    pub(super) const fn is_key(self) -> bool {
        !matches!(self, Self::Own | Self::More | Self::Stranger)
    }

    /// Whether nobody knows what the path carries, and nobody said that anything is wrong.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Own | Self::Stranger | Self::Unmeasured | Self::Silent)
    }

    /// Whether it is to be looked at.
    pub(super) const fn deviates(self) -> bool {
        matches!(self, Self::Unknown | Self::Less | Self::Hole | Self::Cut)
    }
}

/// Bytes that may still be spent on what is convenient and not needed.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// Whether there is room for so much; then it is spent.
    pub(super) const fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.0;
        if fits {
            self.0 -= bytes;
        }
        fits
    }
}

/// A node at the head of a row or a column.
#[derive(Clone, Debug)]
pub(super) struct Head<'m> {
    pub(super) name: &'m str,
    /// As it is shown.
    pub(super) short: String,
    /// As it stands in a link.
    pub(super) query: String,
    pub(super) odd: bool,
    /// Why it has no row of cells.
    pub(super) empty: Option<&'static str>,
}

/// The nodes of a grid in their order, and its paths by their places.
pub(super) struct Axis<'m> {
    pub(super) heads: Vec<Head<'m>>,
    places: HashMap<&'m str, usize>,
    rows: Vec<Option<&'m Row>>,
    pub(super) usual: Option<IpSize>,
}

impl<'m> Axis<'m> {
    pub(super) fn of(matrix: &'m Matrix, grid: &'m Grid) -> Self {
        let mut names: Vec<&str> = grid.rows.iter().map(|row| row.from.as_str()).collect();
        names.sort_unstable();
        // Nearly all lead to nodes that have rows themselves: those are not gone through for each path.
        let known: HashMap<&str, ()> = names.iter().map(|name| (*name, ())).collect();
        let cells = grid.rows.iter().flat_map(|row| &row.cells).map(|cell| cell.to.as_str());
        names.extend(cells.filter(|to| !known.contains_key(to)));
        names.sort_unstable();
        names.dedup();
        let here = |odd: &&probes::cluster::OddRow| {
            (odd.vantage, odd.plane, odd.family) == (grid.vantage, grid.plane, grid.family)
        };
        let odd: Vec<&str> = matrix.odd.iter().filter(here).map(|odd| odd.node.as_str()).collect();
        let places: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let mut rows = vec![None; names.len()];
        for row in &grid.rows {
            rows[places[row.from.as_str()]] = Some(row);
        }
        let head = |(at, name): (usize, &&'m str)| Head {
            name,
            short: shown(name, NAME),
            query: encode(name),
            odd: odd.contains(name),
            empty: rows[at].is_none().then(|| why_empty(matrix, grid, name)),
        };
        let heads = names.iter().enumerate().map(head).collect();
        Self { heads, places, rows, usual: grid.usual_mtu }
    }

    /// The paths of a row by the places that they lead to. They come in the same order in nearly all rows.
    pub(super) fn paths(&self, row: usize) -> Vec<Option<&'m Path>> {
        let mut paths = vec![None; self.heads.len()];
        let mut next = 0;
        for cell in self.rows[row].into_iter().flat_map(|row| &row.cells) {
            next += usize::from(next == row);
            let at = match self.heads.get(next) {
                Some(head) if head.name == cell.to => next,
                _ => self.places[cell.to.as_str()],
            };
            paths[at] = Some(cell);
            next = at + 1;
        }
        paths
    }

    /// What one place of a row is drawn as.
    pub(super) fn sort(&self, row: usize, column: usize, path: Option<&Path>) -> Sort {
        match path {
            _ if row == column => Sort::Own,
            Some(path) => Sort::of(path, self.usual),
            None if self.heads[row].empty.is_some() => Sort::Silent,
            None => Sort::Stranger,
        }
    }

    /// How many bytes the whole map takes at most, without its links.
    pub(super) fn plain_bytes(&self) -> usize {
        let names: usize = self.heads.iter().map(|head| 2 * (head.short.len() * 5) + 120).sum();
        let cells = self.rows.iter().flatten().flat_map(|row| &row.cells);
        let usual = cells.filter(|cell| Sort::of(cell, self.usual) == Sort::Usual).count();
        // Up to fifty nodes what is usual is written out, and each cell has its sign's word.
        let (usual_bytes, bytes) = if self.heads.len() > DENSE { (6, 22) } else { (70, 70) };
        let all = self.heads.len() * self.heads.len();
        names + usual * usual_bytes + all.saturating_sub(usual) * bytes
    }

    /// How many bytes a link between two of the nodes takes at most: its own letters, both names in it, and in its title.
    pub(super) fn link_bytes(&self) -> usize {
        let longest = |of: fn(&Head<'m>) -> usize| self.heads.iter().map(of).max().unwrap_or(0);
        110 + 2 * longest(|head| head.query.len()) + 10 * longest(|head| head.short.len())
    }
}

fn why_empty(matrix: &Matrix, grid: &Grid, name: &str) -> &'static str {
    let mut its = matrix.nodes.iter().filter(|node| node.name == name && node.vantage == grid.vantage);
    match its.next().map(|node| node.answer) {
        None => "has no such agent",
        Some(Answer::Report) => "measures nothing here",
        Some(answer) => answer.words(),
    }
}

/// A cell as it is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) sort: Sort,
    /// What it carries, where that is to be written.
    pub(super) number: Option<IpSize>,
    pub(super) is_link: bool,
    /// Whether the Tab key stops here.
    pub(super) is_stop: bool,
}

/// A row as it is drawn.
pub(super) struct Line<'a, 'm> {
    pub(super) head: &'a Head<'m>,
    /// Digits stand upright, so that a row of numbers does not widen two hundred columns.
    pub(super) is_tall: bool,
    pub(super) cells: Vec<Shown>,
}

/// The whole of one network.
pub(super) struct Map<'m> {
    pub(super) axis: Axis<'m>,
    pub(super) class: &'static str,
    shown: Vec<Vec<Shown>>,
}

impl<'m> Map<'m> {
    pub(super) fn new(axis: Axis<'m>, budget: &mut Budget) -> Self {
        let class = match axis.heads.len() {
            0..=ROOMY => "roomy",
            ..=DENSE => "dense",
            _ => "tiny",
        };
        let mut stops = STOPS;
        let shown = (0..axis.heads.len()).map(|row| drawn(&axis, row, class, &mut stops, budget)).collect();
        Self { axis, class, shown }
    }

    pub(super) fn is_tiny(&self) -> bool {
        self.class == "tiny"
    }

    pub(super) fn is_roomy(&self) -> bool {
        self.class == "roomy"
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_, 'm>> {
        self.axis.heads.iter().zip(&self.shown).map(|(head, cells)| {
            let numbers = cells.iter().filter(|cell| cell.number.is_some()).count();
            Line { head, is_tall: self.is_tiny() && numbers * 10 > cells.len(), cells: cells.clone() }
        })
    }
}

fn drawn(axis: &Axis<'_>, row: usize, class: &str, stops: &mut usize, budget: &mut Budget) -> Vec<Shown> {
    let from = &axis.heads[row];
    let one = |(column, path): (usize, Option<&Path>)| {
        let sort = axis.sort(row, column, path);
        let to = &axis.heads[column];
        let measured = path.is_some() && sort != Sort::Own;
        let wanted = measured && (class != "tiny" || sort.deviates());
        // The link's own letters, the two names in it, and those in its title.
        let bytes = 110 + from.query.len() + to.query.len() + 5 * (from.short.len() + to.short.len());
        let is_link = wanted && budget.take(bytes);
        let is_stop = is_link && sort.deviates() && *stops > 0;
        *stops -= usize::from(is_stop);
        let said = class != "tiny" || sort != Sort::Usual;
        let number = path.filter(|_| measured && said).and_then(|path| path.path_mtu);
        Shown { sort, number, is_link, is_stop }
    };
    axis.paths(row).into_iter().enumerate().map(one).collect()
}
