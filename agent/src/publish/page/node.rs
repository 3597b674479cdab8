//! The page of a node: whether full-size packets arrive, and where not, for someone who has five seconds.
//!
//! The verdict is a sentence. Below it come the findings, worst first, each with what to do; what they cause is folded
//! into them. Then the ladder from the wire to the pods with the break in it, the paths, and what could not be concluded.
//! Tables that only explain are folded.
//!
//! It is bounded whatever the node has to tell: so many findings are told in full, so many rows stand in a table, so many
//! characters in a name. What is left out is counted, and `/report` has it.
//!
//! Words are those of the text report, so that whoever reads one to somebody who has the other before them is
//! understood.

mod findings;
mod headline;
mod paths;
mod rungs;
mod table;
mod tables;

use askama::Template;
use jiff::Timestamp;
use probes::report::Report;

use super::shown;
use super::trail::Trail;
use findings::{Blind, Kind};
use headline::Headline;
use paths::Paths;
use rungs::Drawn;
use table::Table;

/// Characters of a name that are shown.
const NAME: usize = 120;

/// Characters of a sentence that are shown.
const SENTENCE: usize = 1_000;

/// A node's page.
#[derive(Template)]
#[template(path = "node.html")]
struct Page {
    refresh: u64,
    here: &'static str,
    overdue: bool,
    head: Headline,
    kinds: Vec<Kind>,
    untold: usize,
    ladders: Vec<Drawn>,
    more_ladders: usize,
    paths: Paths,
    blind: Vec<Blind>,
    more_blind: usize,
    tables: Vec<Table>,
}

/// The page before the first round.
#[derive(Template)]
#[template(path = "first.html")]
struct First {
    refresh: u64,
    here: &'static str,
}

/// Writes the page. It is asked for again after `refresh` seconds; `overdue` is whether no round came for too long.
///
/// # Errors
/// None that are known: what is written goes to memory.
pub(crate) fn page(report: &Report, trail: &Trail, refresh: u64, overdue: bool) -> Result<String, askama::Error> {
    let (kinds, untold) = findings::kinds(report);
    let (ladders, more_ladders) = rungs::draw(report);
    let (blind, more_blind) = findings::blind(report);
    Page {
        refresh,
        here: "/",
        overdue,
        head: Headline::new(report),
        kinds,
        untold,
        ladders,
        more_ladders,
        paths: Paths::new(report, trail),
        blind,
        more_blind,
        tables: tables::all(report),
    }
    .render()
}

/// What is shown at `here` while there is nothing to show.
///
/// # Errors
/// As [`page`].
pub(crate) fn first(refresh: u64, here: &'static str) -> Result<String, askama::Error> {
    First { refresh, here }.render()
}

fn name(text: &str) -> String {
    shown(text, NAME)
}

fn sentence(text: &str) -> String {
    shown(text, SENTENCE)
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `1 path`, `2 paths`.
fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests;
