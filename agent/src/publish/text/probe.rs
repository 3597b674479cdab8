//! What `mtuscope probe` prints: a small report of one path, a table of several.
//!
//! Whoever asks for one path wants to know what is wrong with it: the verdict in a sentence, where and on which way the
//! size is lost, and what to do. Whoever asks for many wants to know which ones to look at. So a table has one line for
//! each, in the order given as long as it fits a screen; beyond that the clear ones come first and the worst last, right
//! above the line that counts them, where a terminal stops scrolling.

mod hops;
mod one;
mod spread;
#[cfg(test)]
mod tests;

use probes::path::{VerdictName, Way};
use probes::report::{NotProbed, PathRow, ProbeReport, WhyNotProbed};

use super::findings::first_of;
use super::style::{Style, Tone, clean};
use super::table::{Cell, known, table};
use super::tables::{carries, hop, round_trip, verdict, words};

pub use spread::swallows;

/// Lines that fit a screen: so many targets stay in the order given.
const SCREEN: usize = 20;

/// What a path is called that is clear, and not over every path of equal cost.
const UNEVEN: &str = "uneven";

/// Targets that are named with one meaning.
const SHARING: usize = 4;

/// Black holes and the like whose hops are shown below a table without being asked for.
const HOPS: usize = 3;

/// What of a result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The hops of every path.
    pub hops: bool,
    /// Only paths that are not clear.
    pub quiet: bool,
}

/// Measured paths as text.
pub fn probe(report: &ProbeReport, view: View, style: Style) -> String {
    match (&report.paths[..], &report.not_probed[..]) {
        ([path], []) => one::report(path, style),
        ([path], left_out) if left_out.iter().all(|entry| entry.kind == WhyNotProbed::NoRoute) => {
            one::report(path, style) + &not_probed(left_out, style)
        }
        _ => many(report, view, style),
    }
}

fn many(report: &ProbeReport, view: View, style: Style) -> String {
    let paths = in_order(&report.paths);
    let shown: Vec<&PathRow> = paths.iter().copied().filter(|path| !view.quiet || !is_fine(path)).collect();
    let mut text = if shown.is_empty() { String::new() } else { rows(&shown, style) };
    let mut named = 0;
    for path in shown.iter().filter(|path| !path.hops.is_empty() || path.spread.is_some()) {
        if view.hops || named < HOPS {
            named += usize::from(!path.hops.is_empty());
            text.push_str(&hops::of(path, style));
        }
        text.push_str(&spread::of(path, style));
    }
    text.push_str(&meanings(&shown, style));
    text.push_str(&not_probed(&report.not_probed, style));
    text.push_str(if text.is_empty() { "" } else { "\n" });
    text + &summary(report, style)
}

/// Whether there is nothing to say about a path.
fn is_fine(path: &PathRow) -> bool {
    path.verdict == VerdictName::Clear && path.spread.as_ref().is_none_or(|spread| spread.bad() == 0)
}

/// As given, or the worst last where not all of them are in sight.
fn in_order(paths: &[PathRow]) -> Vec<&PathRow> {
    let mut paths: Vec<&PathRow> = paths.iter().collect();
    if paths.len() > SCREEN {
        paths.sort_by_key(|path| (rank(path.verdict), !is_fine(path)));
    }
    paths
}

const fn rank(verdict: VerdictName) -> u8 {
    match verdict {
        VerdictName::Clear => 0,
        VerdictName::Unknown => 1,
        VerdictName::Limited => 2,
        VerdictName::Unreachable => 3,
        VerdictName::BlackHole => 4,
    }
}

fn rows(paths: &[&PathRow], style: Style) -> String {
    let row = |path: &&PathRow| -> [Cell; 9] {
        let address = path.address.to_string();
        [
            path.peer.as_str().into(),
            if address == path.peer { "".into() } else { address.into() },
            verdict_cell(path),
            carries(path).into(),
            known(path.way.map(lost)),
            known(place(path)),
            known(round_trip(path)),
            path.packets_sent.into(),
            known(path.cached_mtu.filter(|cached| Some(*cached) != path.path_mtu)),
        ]
    };
    let rows: Vec<_> = paths.iter().map(row).collect();
    let header = ["target", "address", "verdict", "carries", "lost", "where", "round trip", "packets", "cached"];
    table(style, header, &rows)
}

/// The verdict; clear alone is not all where only some of several equal paths are.
fn verdict_cell(path: &PathRow) -> Cell {
    if path.verdict == VerdictName::Clear && !is_fine(path) {
        return Cell::toned(UNEVEN, Some(one::uneven(path)));
    }
    verdict(path)
}

/// On which way larger packets are lost.
const fn lost(way: Way) -> &'static str {
    match way {
        Way::Forward => "there",
        Way::Reverse => "back",
    }
}

/// Where it is lost, in a cell.
fn place(path: &PathRow) -> Option<String> {
    match &path.hole {
        Some(hole) => Some(hops::arrow(hole)),
        None => path.limited_by.as_ref().map(|limit| hop(Some(limit))),
    }
}

/// What the verdicts mean, each once.
fn meanings(paths: &[&PathRow], style: Style) -> String {
    let mut meanings: Vec<(Tone, String, Vec<String>)> = Vec::new();
    for path in paths {
        let Some(meaning) = one::meaning(path) else { continue };
        let (word, tone) = words(path.verdict);
        let meaning = format!("{word}: {meaning}");
        let peer = clean(&path.peer);
        match meanings.iter_mut().find(|(_, known, _)| *known == meaning) {
            Some((_, _, peers)) if peers.contains(&peer) => {}
            Some((_, _, peers)) => peers.push(peer),
            None => meanings.push((tone.unwrap_or(Tone::Info), meaning, vec![peer])),
        }
    }
    let line = |(tone, meaning, peers): &(Tone, String, Vec<String>)| {
        let (word, rest) = meaning.split_once(": ").unwrap_or((meaning, ""));
        style.wrap_marked(*tone, word, &format!("{}: {}", first_of(peers, SHARING), clean(rest)))
    };
    let lines: String = meanings.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// What has no row.
fn not_probed(entries: &[NotProbed], style: Style) -> String {
    let line = |entry: &NotProbed| {
        let (word, tone) = match entry.kind {
            WhyNotProbed::Unresolved => ("not resolved", Tone::Critical),
            WhyNotProbed::NoRoute => ("left out", Tone::Info),
        };
        let address = entry.address.map(|address| format!(" ({address})")).unwrap_or_default();
        style.wrap_marked(tone, word, &clean(&format!("{}{address}: {}", entry.peer, entry.why)))
    };
    let lines: String = entries.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// How many paths of each verdict, the best first.
fn summary(report: &ProbeReport, style: Style) -> String {
    let count = |verdict| report.paths.iter().filter(|path| path.verdict == verdict).count();
    let mut parts: Vec<String> = Vec::new();
    let mut add = |count: usize, word: &str, tone: Option<Tone>| {
        if count > 0 {
            let part = format!("{count} {word}");
            parts.push(tone.map_or_else(|| part.clone(), |tone| style.paint(tone, &part)));
        }
    };
    let uneven = report.paths.iter().filter(|path| path.verdict == VerdictName::Clear && !is_fine(path)).count();
    add(count(VerdictName::Clear) - uneven, words(VerdictName::Clear).0, None);
    add(uneven, UNEVEN, Some(Tone::Warning));
    for verdict in VerdictName::ALL.into_iter().skip(1) {
        let (word, tone) = words(verdict);
        add(count(verdict), word, tone);
    }
    let unresolved = report.not_probed.iter().filter(|entry| entry.kind == WhyNotProbed::Unresolved).count();
    add(unresolved, "not resolved", Some(Tone::Critical));
    let paths = report.paths.len();
    format!("{paths} {}: {}\n", if paths == 1 { "path" } else { "paths" }, parts.join(", "))
}
