//! `/cluster` for a browser: who stands out, who did not answer, and a map of every network.
//!
//! Five seconds decide: the headline says in words which nodes it is, the sentences below are those of the text screen, and
//! the maps show it. What was not measured and who did not answer look like nothing else, and never like fine. `pair`
//! shows what both ends of one cell say.
//!
//! **Bounds.** Names come from other agents and may be long, many and hostile: the templates escape them, [`shown`] cuts
//! them, and what is convenient and not needed (links, whole maps of many networks) is paid from a [`Budget`], so that the
//! document stays under [`MOST`] bytes whatever they say.

mod map;
mod pair;
mod part;

use std::fmt::Write as _;
use std::sync::LazyLock;

use askama::Template;
use probes::cluster::{Answer, Grid, Matrix, Summary};
use probes::report::Status;
use probes::units::IpSize;

use super::super::text::cluster::words;
use super::{POLICY, shown};
use map::{Axis, Budget, DENSE, Map, Sort};
use part::{List, Part};

pub(crate) use pair::{Doors, no_pair, pair};

/// Largest document in bytes.
pub const MOST: usize = 2_500_000;

/// What of that links and whole maps may take; the rest is for what every page has.
const SPARE: usize = 1_500_000;

/// Most bytes of the names to choose a pair from; above that they are typed.
const CHOICE: usize = 200_000;

/// Seconds after which the page is asked for again. A picture is kept for ten of them.
pub(crate) const REFRESH: u32 = 30;

/// Sentences of one kind.
const TOLD: usize = 20;

/// Longest sentence, in characters: two names of the longest kind and what is said of them.
const SENTENCE: usize = 900;

/// Agents that are listed one by one.
const AGENTS: usize = 200;

/// Rows of the counts that stand for a map of too many nodes.
const ROWS: usize = 50;

/// What a browser may do with these pages: as everywhere, and to send the form to where it came from.
pub(crate) static FORM_POLICY: LazyLock<String> =
    LazyLock::new(|| POLICY.replace("form-action 'none'", "form-action 'self'"));

/// The picture as a page.
///
/// # Errors
/// If a template cannot be written, which a string always can.
pub fn cluster(matrix: &Matrix) -> askama::Result<String> {
    Page::of(matrix).render()
}

#[derive(Template)]
#[template(path = "cluster.html")]
struct Page<'m> {
    refresh: u32,
    here: &'static str,
    matrix: &'m Matrix,
    tone: &'static str,
    word: &'static str,
    headline: String,
    answered: String,
    counts: String,
    odd: Vec<String>,
    odd_more: usize,
    ways: Vec<Way>,
    ways_more: usize,
    silent: Vec<String>,
    remarks: Vec<String>,
    differing: Vec<String>,
    form: Form,
    sections: Vec<Section<'m>>,
    agents: Vec<AgentRow<'m>>,
    agents_more: usize,
}

/// A pair between which the ways differ.
struct Way {
    said: String,
    from: String,
    to: String,
}

/// One agent, as it is listed.
struct AgentRow<'m> {
    name: String,
    answer: &'static str,
    answered: bool,
    status: &'static str,
    zone: &'m str,
    version: String,
    age: String,
}

/// The form that asks for a pair.
#[derive(Clone, Debug, Default)]
struct Form {
    /// Names as they are sent and as they are shown; none where there are too many to choose from.
    names: Vec<(String, String)>,
    from: String,
    to: String,
}

/// One network.
struct Section<'m> {
    /// Does not change from one picture to the next.
    key: String,
    title: String,
    grid: &'m Grid,
    counts: String,
    list: List<'m>,
    part: Option<Part<'m>>,
    map: Option<Map<'m>>,
    /// Whether the whole map is what is looked at first.
    is_small: bool,
    /// Whether there are too many nodes for anybody to draw a map of.
    is_listed: bool,
    counted: Vec<Counted<'m>>,
}

/// A row of a network that has too many nodes for a map.
struct Counted<'m> {
    name: String,
    counts: &'m probes::cluster::Counts,
}

impl<'m> Page<'m> {
    fn of(matrix: &'m Matrix) -> Self {
        let (tone, word) = toned(matrix.summary.status);
        let lines = |all: Vec<String>| all.iter().take(TOLD).map(|line| shown(line, SENTENCE)).collect();
        let way = |way: &probes::cluster::WayRow| Way {
            said: shown(&words::sentence(way), SENTENCE),
            from: encode(&way.from),
            to: encode(&way.to),
        };
        let mut budget = Budget(SPARE);
        let form = Form::of(matrix, &mut budget);
        Self {
            refresh: REFRESH,
            here: "/cluster",
            matrix,
            tone,
            word,
            headline: shown(&headline(matrix), SENTENCE),
            answered: words::answered(&matrix.summary),
            counts: words::counts(&matrix.summary.cells),
            odd: lines(matrix.odd.iter().map(words::standing_out).collect()),
            odd_more: matrix.odd.len().saturating_sub(TOLD),
            ways: matrix.ways.iter().take(TOLD).map(way).collect(),
            ways_more: matrix.summary.ways.saturating_sub(TOLD.min(matrix.ways.len())),
            silent: lines([words::silent(matrix), words::standing_still(matrix)].concat()),
            remarks: lines(words::remarks(matrix)),
            differing: lines(words::differing(matrix)),
            form,
            sections: sections(matrix, &mut budget),
            agents: matrix.nodes.iter().take(AGENTS).map(AgentRow::of).collect(),
            agents_more: matrix.nodes.len().saturating_sub(AGENTS),
        }
    }
}

/// Maps first, links after: a network without a map is worse than one without links.
fn sections<'m>(matrix: &'m Matrix, budget: &mut Budget) -> Vec<Section<'m>> {
    let axes: Vec<(&Grid, Axis<'m>, bool)> = matrix
        .grids
        .iter()
        .map(|grid| {
            let axis = Axis::of(matrix, grid);
            let fits = matrix.left_out.is_none() && budget.take(axis.plain_bytes());
            (grid, axis, fits)
        })
        .collect();
    axes.into_iter().map(|(grid, axis, fits)| Section::of(matrix, grid, axis, fits, budget)).collect()
}

impl<'m> Section<'m> {
    fn of(matrix: &'m Matrix, grid: &'m Grid, axis: Axis<'m>, fits: bool, budget: &mut Budget) -> Self {
        let is_small = fits && axis.heads.len() <= DENSE;
        let is_listed = matrix.left_out.is_some();
        let list = part::listed(&axis, grid, budget);
        let part = if is_small || is_listed { None } else { Part::of(&axis, &list, budget) };
        let mut worst: Vec<_> = if fits { Vec::new() } else { grid.rows.iter().collect() };
        worst.sort_by_key(|row| {
            let counts = &row.counts;
            std::cmp::Reverse((counts.unreachable + counts.black_hole, counts.limited, counts.unknown))
        });
        let counted = worst.into_iter().take(ROWS);
        Self {
            key: format!("{}-{}-{}", vantage(grid), grid.plane.name(), grid.family),
            title: words::place(grid.vantage, grid.plane, grid.family),
            grid,
            counts: words::counts(&grid.counts),
            list,
            part,
            map: fits.then(|| Map::new(axis, budget)),
            is_small,
            is_listed,
            counted: counted.map(|row| Counted { name: shown(&row.from, 40), counts: &row.counts }).collect(),
        }
    }
}

const fn vantage(grid: &Grid) -> &'static str {
    match grid.vantage {
        probes::report::Vantage::Node => "node",
        probes::report::Vantage::Pod => "pod",
    }
}

const fn toned(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Healthy => ("healthy", "Healthy"),
        Status::Warning => ("warning", "Warning"),
        Status::Critical => ("critical", "Critical"),
        Status::Unknown => ("unknown", "Unknown"),
    }
}

/// What it is, in the words of somebody who has looked.
fn headline(matrix: &Matrix) -> String {
    let (summary, cells) = (&matrix.summary, &matrix.summary.cells);
    let mut odd: Vec<&str> = matrix.odd.iter().map(|odd| odd.node.as_str()).collect();
    odd.sort_unstable();
    odd.dedup();
    let silent = summary.agents.saturating_sub(summary.answered);
    if !odd.is_empty() {
        let verb = if odd.len() == 1 { "stands out" } else { "stand out" };
        return format!("{} {verb}", few(&odd));
    }
    if cells.unreachable + cells.black_hole > 0 {
        let mut said = Vec::new();
        for (count, what) in [(cells.unreachable, "cut off"), (cells.black_hole, "swallowing large packets")] {
            let verb = if count == 1 { "path is" } else { "paths are" };
            said.extend((count > 0).then(|| format!("{count} {verb} {what}")));
        }
        return format!("{}; no single node stands out", said.join(", "));
    }
    match summary.status {
        _ if cells.measured() == 0 => "no path was measured".to_owned(),
        Status::Unknown => "nothing could be concluded of any path".to_owned(),
        _ if summary.ways > 0 => format!("between {} the two ways differ", counted(summary.ways, "pair")),
        _ if cells.limited > 0 => format!("{} less than expected", carry(cells.limited)),
        _ if matrix.grids.iter().any(|grid| grid.worse > 0) => "some paths carry less than is usual".to_owned(),
        _ if silent + summary.standing_still > 0 => unheard(summary, silent),
        _ if cells.unmeasured + cells.unknown > 0 => {
            let left = cells.unmeasured + cells.unknown;
            format!("every path that was judged is clear; of {} nobody knows yet", counted(left, "path"))
        }
        _ => format!("all {} carry what they should", counted(cells.clear, "path")),
    }
}

/// Whose word of how things are now is missing.
fn unheard(summary: &Summary, silent: usize) -> String {
    let agents = counted(summary.agents, "agent");
    let still = summary.standing_still;
    let parts = [
        (silent > 0).then(|| format!("{silent} of {agents} did not answer")),
        (still > 0).then(|| format!("the rounds of {still} of {agents} stand still")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn few(names: &[&str]) -> String {
    let told: Vec<String> = names.iter().take(3).map(|name| shown(name, 60)).collect();
    match names.len().saturating_sub(told.len()) {
        0 if told.len() > 1 => format!("{} and {}", told[..told.len() - 1].join(", "), told[told.len() - 1]),
        0 => told.concat(),
        more => format!("{} and {more} more nodes", told.join(", ")),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn carry(count: usize) -> String {
    if count == 1 { "1 path carries".to_owned() } else { format!("{count} paths carry") }
}

impl<'m> AgentRow<'m> {
    fn of(node: &'m probes::cluster::NodeRow) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(|text| shown(text, 60)).unwrap_or_default();
        Self {
            name: shown(&words::called(node), 60),
            answer: node.answer.words(),
            answered: node.answer == Answer::Report,
            status: node.status.map_or("", |status| toned(status).1),
            zone: node.zone.as_deref().unwrap_or_default(),
            version: text(&node.version),
            age: node.report_age_seconds.map(words::ago).unwrap_or_default()
                + if node.stands_still { ", stands still" } else { "" },
        }
    }
}

impl Form {
    fn of(matrix: &Matrix, budget: &mut Budget) -> Self {
        let mut names: Vec<&str> = matrix.nodes.iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        Self::choosing(&names, budget)
    }

    fn is_from(&self, name: &str) -> bool {
        self.from == name
    }

    fn is_to(&self, name: &str) -> bool {
        self.to == name
    }

    fn choosing(names: &[&str], budget: &mut Budget) -> Self {
        // Escaped, a letter is five bytes at most, or four that need no escape; each name stands in two lists.
        let bytes: usize = names.iter().map(|name| 2 * (40 + 5 * (name.len() + 60.min(name.len())))).sum();
        if names.len() > probes::cluster::WHOLE || bytes > CHOICE || !budget.take(bytes) {
            return Self::default();
        }
        Self { names: names.iter().map(|name| ((*name).to_owned(), shown(name, 60))).collect(), ..Self::default() }
    }
}

/// A name as a query has it (RFC 3986 §2.1): nothing of it means anything there.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn bytes(mtu: Option<IpSize>) -> String {
    mtu.map(|mtu| mtu.to_string()).unwrap_or_default()
}

fn millis(seconds: Option<f64>) -> String {
    seconds.map(|seconds| format!("{:.2} ms", seconds * 1e3)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
