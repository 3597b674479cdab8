//! One network: the whole matrix where it fits, else what deviates.

use std::collections::BTreeSet;

use probes::cluster::{Answer, Cell as Path, Grid, Mark, Matrix, NodeRow, Row};
use probes::units::IpSize;

use super::super::style::{Style, Tone, clean};
use super::super::table::{Cell, known, table};
use super::{counts, place};

/// Most nodes of which a matrix is drawn.
const MOST: usize = 12;

/// Columns of a cell: five digits, a mark and a space.
const CELL: usize = 7;

/// Longest name that is shown before a row.
const NAME: usize = 24;

/// Deviating paths that are listed.
const LISTED: usize = 20;

pub(super) fn grid(matrix: &Matrix, grid: &Grid, style: Style) -> String {
    let place = place(grid.vantage, grid.plane, grid.family).to_uppercase();
    let usual = grid.usual_mtu.map(|mtu| format!(", usually {mtu}")).unwrap_or_default();
    let names = nodes(matrix, grid);
    let label = names.iter().map(|name| name.chars().count().min(NAME)).max().unwrap_or(0) + 6;
    let fits = names.len() <= MOST && label + names.len() * CELL <= style.width;
    if fits && matrix.left_out.is_none() {
        let heading = style.heading(&place, &format!("bytes of an IP packet{usual}; from row to column"));
        return heading + &drawn(matrix, grid, &names, label, style);
    }
    style.heading(&place, &format!("bytes of an IP packet{usual}")) + &listed(matrix, grid, style)
}

/// The nodes that the grid is about, by name.
fn nodes(matrix: &Matrix, grid: &Grid) -> Vec<String> {
    let measured = grid.rows.iter().flat_map(|row| row.cells.iter().map(|cell| &cell.to).chain([&row.from]));
    let there: BTreeSet<&String> = measured.collect();
    let rows = matrix.nodes.iter().filter(|node| there.contains(&node.name)).map(|node| &node.name);
    rows.chain(there.iter().copied()).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

fn drawn(matrix: &Matrix, grid: &Grid, names: &[String], label: usize, style: Style) -> String {
    let mut text = " ".repeat(label);
    (1..=names.len()).for_each(|number| text.push_str(&format!("{number:>6} ")));
    text = format!("{}\n", text.trim_end());
    let mut meanings = BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        let short: String = clean(name).chars().take(NAME).collect();
        let mut line = format!("{:<label$}", format!("  {:>2} {short}", at + 1));
        match grid.rows.iter().find(|row| row.from == *name) {
            Some(row) => line.push_str(&cells(row, at, names, grid.usual_mtu, &mut meanings, style)),
            None => line.push_str(&format!("  {}", why_empty(matrix, grid, name))),
        }
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    if !meanings.is_empty() {
        let all: Vec<&str> = meanings.into_iter().collect();
        text.push_str(&style.wrap("  ", &all.join("; ")));
    }
    text
}

fn why_empty(matrix: &Matrix, grid: &Grid, name: &str) -> &'static str {
    let is_its = |node: &&NodeRow| node.name == name && node.vantage == grid.vantage;
    match matrix.nodes.iter().find(is_its).map(|node| node.answer) {
        None => "has no such agent",
        Some(Answer::Report) => "measures nothing here",
        Some(answer) => answer.words(),
    }
}

fn cells(
    row: &Row,
    own: usize,
    names: &[String],
    usual: Option<IpSize>,
    meanings: &mut BTreeSet<&'static str>,
    style: Style,
) -> String {
    let mut line = String::new();
    for (at, name) in names.iter().enumerate() {
        let shown = match row.cells.iter().find(|cell| cell.to == *name) {
            Some(cell) => Shown::of(cell, usual),
            None if at == own => Shown::plain("·", None),
            None => Shown::plain("-", Some("- not among its peers")),
        };
        meanings.extend(shown.meaning);
        // Colour takes no room, so what is padded is painted after.
        line.push_str(&" ".repeat((CELL - 1).saturating_sub(shown.number.chars().count())));
        let marked = format!("{}{}", shown.number, shown.mark);
        line.push_str(&shown.tone.map_or_else(|| marked.clone(), |tone| style.paint(tone, &marked)));
    }
    line
}

/// A path as a number and a mark.
struct Shown {
    number: String,
    mark: char,
    tone: Option<Tone>,
    /// What the mark means, where it is not plain.
    meaning: Option<&'static str>,
}

impl Shown {
    fn plain(text: &str, meaning: Option<&'static str>) -> Self {
        Self { number: text.to_owned(), mark: ' ', tone: None, meaning }
    }

    fn of(cell: &Path, usual: Option<IpSize>) -> Self {
        let size = || cell.path_mtu.map_or_else(|| "?".to_owned(), |mtu| mtu.to_string());
        let marked = |number, mark, tone, meaning| Self { number, mark, tone: Some(tone), meaning: Some(meaning) };
        let less = || marked(size(), '<', Tone::Warning, "< less than usual or expected, and senders are told");
        match cell.verdict {
            Mark::Clear if cell.path_mtu < usual => less(),
            Mark::Clear => Self::plain(&size(), None),
            Mark::Limited => less(),
            Mark::BlackHole => marked(size(), '!', Tone::Critical, "! larger packets vanish in silence"),
            Mark::Unreachable => marked("cut".to_owned(), ' ', Tone::Critical, "cut: nothing gets there"),
            Mark::Unknown => marked("?".to_owned(), ' ', Tone::Warning, "? measured without a conclusion"),
            Mark::Unmeasured => Self::plain("~", Some("~ not measured yet")),
        }
    }
}

/// Counts, and the paths that deviate, without those of nodes that stand out anyway.
fn listed(matrix: &Matrix, grid: &Grid, style: Style) -> String {
    let odd: BTreeSet<&str> = matrix
        .odd
        .iter()
        .filter(|odd| (odd.vantage, odd.plane, odd.family) == (grid.vantage, grid.plane, grid.family))
        .map(|odd| odd.node.as_str())
        .collect();
    let paths = grid.rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row.from.as_str(), cell)));
    let deviating = paths.filter(|(_, cell)| Shown::of(cell, grid.usual_mtu).tone.is_some());
    let (explained, mut others): (Vec<_>, Vec<_>) =
        deviating.partition(|(from, cell)| odd.contains(from) || odd.contains(cell.to.as_str()));
    others.sort_by_key(|(from, cell)| (std::cmp::Reverse(cell.verdict), cell.path_mtu, *from, cell.to.as_str()));
    let mut text = style.wrap("  ", &counts(&grid.counts));
    if !explained.is_empty() {
        let said =
            format!("{} that deviate lead from or to the nodes that stand out and are not listed", explained.len());
        text.push_str(&style.wrap("  ", &said));
    }
    if !others.is_empty() {
        let rows: Vec<[Cell; 5]> = others.iter().take(LISTED).map(|(from, cell)| line(from, cell, grid)).collect();
        text.push_str(&table(style, ["from", "to", "carries", "verdict", "round trip"], &rows));
        let left = others.len().saturating_sub(LISTED);
        if left > 0 {
            text.push_str(&format!("  … and {left} more (--output json)\n"));
        }
    }
    text
}

fn line(from: &str, cell: &Path, grid: &Grid) -> [Cell; 5] {
    let tone = Shown::of(cell, grid.usual_mtu).tone;
    let word = match cell.verdict {
        Mark::Clear => "less than usual",
        Mark::Limited => "limited",
        Mark::BlackHole => "black hole",
        Mark::Unreachable => "cut off",
        Mark::Unknown => "unknown",
        Mark::Unmeasured => "not measured yet",
    };
    let carries = match (cell.path_mtu, cell.expected_mtu) {
        (Some(mtu), Some(expected)) if mtu != expected => format!("{mtu} of {expected}"),
        (Some(mtu), _) => mtu.to_string(),
        (None, _) => "-".to_owned(),
    };
    let round_trip = cell.round_trip_seconds.map(|seconds| format!("{:.2} ms", seconds * 1e3));
    [from.into(), cell.to.as_str().into(), carries.into(), Cell::toned(word, tone), known(round_trip)]
}
