//! The cluster for people: is it one node, one way between two, or the network?
//!
//! What answers that comes first: nodes that stand out, ways that differ, agents that did not answer, in what nodes
//! differ. Then a matrix for each network, as long as one fits the screen; of a larger cluster the paths that deviate. A
//! cell is a number with a mark behind it, so that it reads the same without colour.

mod grid;
pub(in crate::publish) mod words;

use probes::cluster::Matrix;
use probes::report::Status;

use super::style::{Style, Tone, clean};
use words::{answered, counts, place, sentence, standing_out};

/// Nodes, pairs and agents that are told one by one.
const TOLD: usize = 20;

/// The picture as text.
pub fn cluster(matrix: &Matrix, style: Style) -> String {
    let mut text = headline(matrix, style);
    for odd in matrix.odd.iter().take(TOLD) {
        text.push_str(&style.wrap("  ", &clean(&standing_out(odd))));
    }
    text.push_str(&more(matrix.odd.len(), "nodes that stand out"));
    text.push_str(&ways(matrix, style));
    text.push_str(&silent(matrix, style));
    text.push_str(&standing_still(matrix, style));
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
    let said = format!("seen from {}: {}, {}", clean(&matrix.node), answered(summary), counts(&summary.cells));
    style.wrap_marked(tone, word, &said)
}

fn ways(matrix: &Matrix, style: Style) -> String {
    let told = matrix.ways.iter().take(TOLD).map(|way| style.wrap("  ", &clean(&sentence(way))));
    told.collect::<String>() + &more(matrix.summary.ways, "pairs whose ways differ")
}

fn silent(matrix: &Matrix, style: Style) -> String {
    words::silent(matrix).iter().map(|line| style.wrap("  ", &clean(line))).collect()
}

fn standing_still(matrix: &Matrix, style: Style) -> String {
    words::standing_still(matrix).iter().map(|line| style.wrap("  ", &clean(line))).collect()
}

fn remarks(matrix: &Matrix, style: Style) -> String {
    let lines = words::remarks(matrix);
    let told = lines.iter().take(TOLD).map(|line| style.wrap("  ", &clean(line)));
    told.collect::<String>() + &more(lines.len(), "remarks")
}

fn differing(matrix: &Matrix, style: Style) -> String {
    words::differing(matrix).iter().take(TOLD).map(|line| style.wrap("  ", &clean(line))).collect()
}

#[cfg(test)]
pub(in crate::publish) mod tests;
