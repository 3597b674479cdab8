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
    - *Loud* is what an operator is told: code, subject, severity. One cause is one loud code, of each peer or link that it \
    shows at. A second code needs a reason, which stands beside it in italics and in the scenario (`several`).\n\
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
/// it is not `by_chance`; `several` is why more than one code is loud.
///
/// # Errors
/// If the row is another one, or missing; if several codes are loud without a reason, or one with a reason.
pub fn check(name: &str, by_chance: bool, several: Option<&str>, report: &Report) -> Result<()> {
    let row = row(name, by_chance, several, report);
    one_cause(&row, several).map_err(|error| error.while_doing(format!("{report}\n{row}")))?;
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

/// What is loud in a play's committed row; `None` where this run writes it anew, or there is none.
///
/// # Errors
/// If the matrix cannot be read.
pub fn loud(name: &str) -> Result<Option<String>> {
    if env::var_os(REWRITE).is_some() {
        return Ok(None);
    }
    Ok(committed()?.get(name).map(|row| told(row).0.to_owned()))
}

/// Whether a report has this loud, and nothing else.
pub fn is_loud(report: &Report, loud: &str) -> bool {
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.silenced_by.is_none()).collect();
    cell(&found) == loud
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

/// That every committed row has one loud code, or the reason of its scenario for several.
///
/// # Errors
/// If a row has several codes and no reason, or a reason and no several codes, or none at all.
pub fn has_one_cause_a_row(reasons: &BTreeMap<String, Option<String>>) -> Result<()> {
    let of = |(name, row): (String, String)| {
        let several = reasons.get(&name)?.as_deref();
        one_cause(&row, several).err().map(|error| format!("{name}: {error}"))
    };
    let wrong: Vec<String> = committed()?.into_iter().filter_map(of).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new("walking the matrix", wrong.join("; "))
        .check("whether one of them explains the others (`silences`, and what is raised with `breaks`)"))
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

fn row(name: &str, by_chance: bool, several: Option<&str>, report: &Report) -> String {
    let (silenced, loud): (Vec<_>, Vec<_>) = report.findings.iter().partition(|finding| finding.silenced_by.is_some());
    let silenced = if by_chance { "(by chance)".into() } else { cell(&silenced) };
    let reason = several.map(|because| format!("{REASON}{because}*")).unwrap_or_default();
    format!("| {name} | {}{reason} | {silenced} |", cell(&loud))
}

/// What stands between loud findings and the reason that they are several.
const REASON: &str = "<br>*";

/// What is loud in a row, and the reason that it is several codes.
fn told(row: &str) -> (&str, Option<&str>) {
    let told = row.split('|').nth(2).unwrap_or_default().trim();
    match told.split_once(REASON) {
        Some((loud, reason)) => (loud, Some(reason.trim_end_matches('*'))),
        None => (told, None),
    }
}

fn one_cause(row: &str, several: Option<&str>) -> Result<()> {
    let (loud, reason) = told(row);
    let codes: BTreeSet<&str> = loud.split(", ").filter_map(|finding| finding.split(' ').next()).collect();
    let fault = match (codes.len(), several) {
        (0 | 1, Some(_)) => "a reason for several loud codes, and there are not several",
        (2.., None) => "several codes are loud, and nothing says why",
        _ if reason != several => "the reason is not the scenario's",
        _ => return Ok(()),
    };
    Err(Error::new("looking for one cause", format!("{fault}: {loud}")))
}

fn cell(findings: &[&Finding]) -> String {
    let name = |finding: &&Finding| format!("{} {} ({})", finding.code, finding.subject, finding.severity);
    let mut names: Vec<_> = findings.iter().map(name).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_loud_code_needs_a_reason_and_a_reason_a_second_code() {
        let says =
            |loud: &str, several| one_cause(&format!("| x on y: z | {loud} | |"), several).map_err(|e| e.to_string());
        assert_eq!(says("a b (warning)", None), Ok(()));
        assert_eq!(says("a b (warning), a c (warning)", None), Ok(()), "one code, of two peers");
        assert_eq!(says("a b (warning), c b (info)<br>*two things*", Some("two things")), Ok(()));
        for (loud, several, why) in [
            ("a b (warning), c b (info)", None, "nothing says why"),
            ("a b (warning)<br>*two things*", Some("two things"), "not several"),
            ("a b (warning), c b (info)<br>*two things*", Some("others"), "not the scenario's"),
            ("a b (warning), c b (info)", Some("two things"), "not the scenario's"),
        ] {
            assert!(says(loud, several).unwrap_err().contains(why), "{loud}");
        }
    }
}
