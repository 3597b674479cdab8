//! The cluster for people: is it one node, one way between two, or the network?
//!
//! What answers that comes first: nodes that stand out, ways that differ, agents that did not answer, in what nodes
//! differ. Then a matrix for each network, as long as one fits the screen; of a larger cluster the paths that deviate. A
//! cell is a number with a mark behind it, so that it reads the same without colour.

mod grid;

use probes::cluster::{Answer, Counts, DifferingRow, Matrix, NodeRow, OddRow, Share, WayRow};
use probes::path::Plane;
use probes::report::{Status, Vantage};
use probes::units::Family;

use super::style::{Style, Tone, clean};

/// Nodes, pairs and agents that are told one by one.
const TOLD: usize = 20;

/// Names in one sentence.
const NAMES: usize = 6;

/// The picture as text.
pub fn cluster(matrix: &Matrix, style: Style) -> String {
    let mut text = headline(matrix, style);
    for odd in matrix.odd.iter().take(TOLD) {
        text.push_str(&style.wrap("  ", &clean(&standing_out(odd))));
    }
    text.push_str(&more(matrix.odd.len(), "nodes that stand out"));
    text.push_str(&ways(matrix, style));
    text.push_str(&silent(matrix, style));
    text.push_str(&remarks(matrix, style));
    text.push_str(&differing(matrix, style));
    for grid in &matrix.grids {
        text.push_str(&grid::grid(matrix, grid, style));
    }
    text
}

fn more(all: usize, what: &str) -> String {
    let left = all.saturating_sub(TOLD);
    if left > 0 { format!("  … and {left} more {what} (--output json has them all)\n") } else { String::new() }
}

fn headline(matrix: &Matrix, style: Style) -> String {
    let (tone, word) = match matrix.summary.status {
        Status::Healthy => (Tone::Good, "HEALTHY"),
        Status::Warning => (Tone::Warning, "WARNING"),
        Status::Critical => (Tone::Critical, "CRITICAL"),
        Status::Unknown => (Tone::Warning, "UNKNOWN"),
    };
    let summary = &matrix.summary;
    let answered = format!("{} of {} agents answered", summary.answered, summary.agents);
    let said = format!("seen from {}: {answered}, {}", clean(&matrix.node), counts(&summary.cells));
    style.wrap_marked(tone, word, &said)
}

/// What so many paths came to, the good first, and nothing that there is none of.
fn counts(counts: &Counts) -> String {
    let measured = counts.measured();
    let mut parts = vec![match measured {
        0 => "no path measured".to_owned(),
        _ => format!("{} of {measured} paths clear", counts.clear),
    }];
    let others = [
        (counts.limited, "limited"),
        (counts.black_hole, "with a black hole"),
        (counts.unreachable, "cut off"),
        (counts.unknown, "unknown"),
        (counts.unmeasured, "not measured yet"),
        (counts.unanswered, "whose agent did not answer"),
    ];
    parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    parts.join(", ")
}

/// On which network.
fn place(vantage: Vantage, plane: Plane, family: Family) -> String {
    let of = if vantage == Vantage::Pod { " of pods" } else { "" };
    format!("{}{of}, {family}", plane.name())
}

fn standing_out(odd: &OddRow) -> String {
    let mut parts = Vec::new();
    parts.extend(share(
        &odd.to_it,
        |few| format!("{few} peers reach it"),
        |few| format!("{few} peers do not reach it"),
    ));
    parts.extend(share(
        &odd.from_it,
        |few| format!("it reaches {few} peers"),
        |few| format!("it does not reach {few} peers"),
    ));
    let others = &odd.others;
    let good = others.measured.saturating_sub(others.worse);
    let all = if others.worse == 0 { format!("all {good}") } else { format!("{good} of {}", others.measured) };
    let place = place(odd.vantage, odd.plane, odd.family);
    let usual = odd.usual_mtu;
    format!("{} stands out ({place}): {}; {all} paths between the others carry {usual}.", odd.node, parts.join(", "))
}

/// Those cells that are worse; `None` if none is.
fn share(share: &Share, with: impl Fn(&str) -> String, without: impl Fn(&str) -> String) -> Option<String> {
    let Share { worse, measured, unreachable, path_mtu } = *share;
    let few = |count: usize| format!("{count} of {measured}");
    let smaller = path_mtu.map(|mtu| format!("{} with {mtu}", with(&few(worse - unreachable))));
    let not = (unreachable > 0).then(|| without(&few(unreachable)));
    let parts: Vec<String> = smaller.into_iter().chain(not).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn ways(matrix: &Matrix, style: Style) -> String {
    let told = matrix.ways.iter().take(TOLD).map(|way| style.wrap("  ", &clean(&sentence(way))));
    told.collect::<String>() + &more(matrix.summary.ways, "pairs whose ways differ")
}

fn sentence(way: &WayRow) -> String {
    let WayRow { from, to, there, back, .. } = way;
    let place = place(way.vantage, way.plane, way.family);
    let there = there.map_or_else(|| "nothing".to_owned(), |mtu| mtu.to_string());
    format!("One way differs ({place}): {from} to {to} carries {there}, {to} to {from} carries {back}.")
}

/// Agents without a report; those with one reason share a line.
fn silent(matrix: &Matrix, style: Style) -> String {
    let silent: Vec<&NodeRow> = matrix.nodes.iter().filter(|node| node.answer != Answer::Report).collect();
    let line = |node: &&NodeRow| {
        let why = node.why.as_deref().filter(|why| *why != node.answer.words());
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        style.wrap("  ", &clean(&format!("{}: {}{why}.", called(node), node.answer.words())))
    };
    if silent.len() <= NAMES {
        return silent.iter().map(line).collect();
    }
    let mut text = String::new();
    let mut kinds: Vec<Answer> = silent.iter().map(|node| node.answer).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let named: Vec<String> = silent.iter().filter(|node| node.answer == kind).map(|node| called(node)).collect();
        let said = format!("{} agents: {}: {}.", named.len(), kind.words(), first(&named));
        text.push_str(&style.wrap("  ", &clean(&said)));
    }
    text
}

fn called(node: &NodeRow) -> String {
    let of = if node.vantage == Vantage::Pod { " (pod)" } else { "" };
    format!("{}{of}", node.name)
}

/// The first few names, and how many more there are.
fn first(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        left => format!("{shown} and {left} more"),
    }
}

/// What is odd about reports that came.
fn remarks(matrix: &Matrix, style: Style) -> String {
    let mut lines = Vec::new();
    for node in matrix.nodes.iter().filter(|node| node.answer == Answer::Report) {
        let name = called(node);
        lines.extend(node.calls_itself.as_ref().map(|own| format!("{name} calls itself {own}.")));
        lines.extend(node.why.as_ref().map(|why| format!("{name} measured no path: {why}.")));
        let strangers = first(&node.strangers);
        let unknown = node.strangers_count > 0;
        lines.extend(
            unknown.then(|| format!("{name} has {} peers that are none of these: {strangers}.", node.strangers_count)),
        );
    }
    let told = lines.iter().take(TOLD).map(|line| style.wrap("  ", &clean(line)));
    told.collect::<String>() + &more(lines.len(), "remarks")
}

fn differing(matrix: &Matrix, style: Style) -> String {
    let line = |row: &DifferingRow| {
        let value = |at: usize| {
            let value = &row.values[at];
            let nodes = if value.count == 1 { "node" } else { "nodes" };
            // Most have the first: who they are says nothing.
            let most = at == 0 && value.count > 1;
            if most {
                format!("{} on {} {nodes}", value.value, value.count)
            } else {
                format!("{} on {}", value.value, first(&value.nodes))
            }
        };
        let values: Vec<String> = (0..row.values.len()).map(value).collect();
        style.wrap("  ", &clean(&format!("Nodes differ in {}: {}.", row.what, values.join("; "))))
    };
    matrix.differing.iter().take(TOLD).map(line).collect()
}

#[cfg(test)]
mod tests;
