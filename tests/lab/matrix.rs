//! The matrix: which codes each fault raises, loud or silenced, on each recipe.
//!
//! It is committed, so that a rule that starts to speak about somebody else's fault is seen in review. A run with
//! [`REWRITE`] set writes it anew; any other run compares the rows that it played.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use crate::recipe::Recipe;
use crate::report::{Finding, Report};
use crate::{Error, Result};

/// The environment variable that makes a run write the matrix instead of comparing it.
pub const REWRITE: &str = "MTUSCOPE_WRITE_MATRIX";

const HEAD: &str = "# What each fault raises\n\n\
    Written by the lab's run, one row for each scenario and recipe: the code that was to be raised, the cluster that the \
    fault was made in (`tests/lab/recipe.rs` and beside it), what was broken (`probes/src/checks/*/lab.toml`), and all \
    that the agent of one node found three rounds later.\n\n\
    - *Loud* is what an operator is told: code, subject, severity. One cause should be one loud finding. A second one means \
    that neither explains the other.\n\
    - *Silenced* is what a loud finding explains: its consequences, which no alert repeats.\n\
    - *(by chance)* stands where consequences depend on which packets get lost.\n\
    - A row `healthy` has to be empty: nothing is wrong there.\n\
    - What is the whole machine's cannot be broken in a namespace. Of `neighbour-table-full` and `conntrack-full` limit and \
    counters are given to the agent as files; `nic-single-queue` has no row and is held to messages of a kernel with such \
    NICs (`probes/src/kernel/golden`).\n\n\
    A row that changes is a rule that speaks of something else than before, and wants a reason in its commit.\n\n\
    | code on recipe: fault | loud | silenced |\n|---|---|---|\n";

static ROWS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The name of the row of a recipe that nothing is wrong with.
pub fn healthy(recipe: &Recipe) -> String {
    format!("healthy on {}: nothing is broken", recipe.name)
}

/// Compares what a fault raised with the committed row, or keeps it for [`write()`]. What is silenced counts only where
/// it is not `by_chance`.
///
/// # Errors
/// If the row is another one, or missing.
pub fn check(name: &str, by_chance: bool, report: &Report) -> Result<()> {
    let row = row(name, by_chance, report);
    if env::var_os(REWRITE).is_some() {
        ROWS.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), row);
        return Ok(());
    }
    let rows = committed()?;
    let committed = rows.get(name).map_or("no row", String::as_str);
    if committed == row {
        return Ok(());
    }
    Err(Error::new("comparing with the matrix", format!("found\n{row}\ncommitted\n{committed}"))
        .check(format!("if the change is meant, run again with {REWRITE}=1 and say why in the commit")))
}

/// Writes the rows of this run over the committed ones, if [`REWRITE`] asks for it. `plays` names every row that there
/// should be: rows of plays that were filtered out stay as they are, rows of plays that are gone go.
///
/// # Errors
/// If the file cannot be read or written.
pub fn write(plays: &BTreeSet<String>) -> Result<()> {
    let played = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if played.is_empty() {
        return Ok(());
    }
    let mut rows = committed()?;
    rows.retain(|name, _| plays.contains(name));
    rows.extend(played.clone());
    let text = rows.values().fold(HEAD.to_owned(), |text, row| text + row + "\n");
    fs::write(path(), text).map_err(|error| Error::new(format!("writing {}", path().display()), error))
}

/// That the committed matrix has a row for every play and no other.
///
/// # Errors
/// If a row is missing or left over.
pub fn is_complete(plays: &BTreeSet<String>) -> Result<()> {
    let rows: BTreeSet<_> = committed()?.into_keys().collect();
    if rows == *plays || env::var_os(REWRITE).is_some() {
        return Ok(());
    }
    let (missing, left): (Vec<_>, Vec<_>) = (plays.difference(&rows).collect(), rows.difference(plays).collect());
    Err(Error::new("walking the matrix", format!("rows missing: {missing:?}; rows left over: {left:?}"))
        .check(format!("run the catalogue with {REWRITE}=1")))
}

fn committed() -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path()).map_err(|error| Error::new("reading the matrix", error))?;
    let rows = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    Ok(rows.filter_map(|row| Some((row.split('|').nth(1)?.trim().to_owned(), row.to_owned()))).collect())
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("matrix.md")
}

fn row(name: &str, by_chance: bool, report: &Report) -> String {
    let (silenced, loud): (Vec<_>, Vec<_>) = report.findings.iter().partition(|finding| finding.silenced_by.is_some());
    let silenced = if by_chance { "(by chance)".into() } else { cell(&silenced) };
    format!("| {name} | {} | {silenced} |", cell(&loud))
}

fn cell(findings: &[&Finding]) -> String {
    let name = |finding: &&Finding| format!("{} {} ({})", finding.code, finding.subject, finding.severity);
    let mut names: Vec<_> = findings.iter().map(name).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}
