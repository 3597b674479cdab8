//! The verdict: whether packets fit, where not, and whose word it is.

use probes::path::VerdictName;
use probes::report::{PathRow, Report, Status, Vantage};

use super::super::super::text::findings::{first_of, on_planes};
use super::super::super::text::{NOT_CONFIRMED, fails, is_not_confirmed};
use super::{count, name, sentence, time};

/// Peers that are named in it.
const NAMED: usize = 6;

/// The head of the page.
pub(super) struct Headline {
    /// The class of its colour.
    pub(super) tone: &'static str,
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
    /// Whether packets fit.
    pub(super) says: String,
    /// Where they do not.
    pub(super) places: String,
    /// Why nobody knows, or why that is all.
    pub(super) why: String,
    /// What was found, and what could not be concluded: words, colour and where it stands.
    pub(super) counts: Vec<(String, &'static str, &'static str)>,
    /// What stands there if there is nothing to count.
    pub(super) nothing: &'static str,
    pub(super) node: String,
    /// Whose view it is, which version and how many peers.
    pub(super) about: String,
    pub(super) at: String,
    pub(super) stamp: String,
}

impl Headline {
    pub(super) fn new(report: &Report) -> Self {
        let not_confirmed = is_not_confirmed(report);
        let (tone, sign, word) = match report.summary.status {
            Status::Healthy if not_confirmed => ("warning", "▲", "Not confirmed"),
            Status::Healthy => ("healthy", "✓", "Healthy"),
            Status::Warning => ("warning", "▲", "Warning"),
            Status::Critical => ("critical", "✗", "Critical"),
            Status::Unknown => ("unknown", "?", "Unknown"),
        };
        let view = match report.vantage {
            Vantage::Node => "view of the node",
            Vantage::Pod => "view of a pod",
        };
        let about = format!("{view}, mtuscope {}, {}", name(&report.version), count(report.summary.peers, "peer"));
        Self {
            tone,
            sign,
            word,
            says: says(report),
            places: places(report),
            why: if not_confirmed { NOT_CONFIRMED.to_owned() } else { why(report) },
            counts: counts(report),
            nothing: match report.summary.status {
                Status::Unknown => "Nothing was found in what could be looked at.",
                Status::Healthy if not_confirmed => "Every check could be concluded.",
                _ => "Nothing was found, and every check could be concluded.",
            },
            node: name(&report.node),
            about,
            at: time(report.generated_at),
            stamp: report.generated_at.to_string(),
        }
    }
}

fn number(report: &Report, of: impl Fn(VerdictName) -> bool) -> usize {
    report.paths.iter().filter(|path| of(path.verdict)).count()
}

fn says(report: &Report) -> String {
    let (all, bad) = (report.paths.len(), number(report, fails));
    let unknown = number(report, |verdict| verdict == VerdictName::Unknown);
    let paths = count(all, "path");
    let unmeasured = if unknown > 0 { format!("; {unknown} could not be measured") } else { String::new() };
    match all - bad - unknown {
        _ if all == 0 => "Whether packets fit is not known: this node knows no peers".into(),
        _ if unknown == all => format!("Whether packets fit is not known: none of {paths} could be measured"),
        _ if bad > 0 => format!("Full-size packets do not arrive on {bad} of {paths}{unmeasured}"),
        clear if unknown > 0 => format!("Full-size packets arrive on {clear} of {paths}{unmeasured}"),
        1 => "Full-size packets arrive on the only path".into(),
        _ => format!("Full-size packets arrive on all {paths}"),
    }
}

/// Peers that full-size packets do not reach, the worst first, and on which planes.
fn places(report: &Report) -> String {
    let mut peers: Vec<(&PathRow, Vec<&str>)> = Vec::new();
    let mut bad: Vec<&PathRow> = report.paths.iter().filter(|path| fails(path.verdict)).collect();
    bad.sort_by_key(|path| std::cmp::Reverse(super::paths::badness(path.verdict)));
    let mut at = std::collections::BTreeMap::new();
    for path in bad {
        let place = *at.entry(path.peer.as_str()).or_insert_with(|| {
            peers.push((path, Vec::new()));
            peers.len() - 1
        });
        if !peers[place].1.contains(&path.plane.name()) {
            peers[place].1.push(path.plane.name());
        }
    }
    let named: Vec<String> = peers.iter().map(|(path, planes)| on_planes(&name(&path.peer), planes)).collect();
    first_of(&named, NAMED)
}

/// Why no path at all was measured, if that has one reason.
fn why(report: &Report) -> String {
    let mut reasons = report.paths.iter().map(|path| path.why.as_deref().unwrap_or_default());
    let measured = report.paths.iter().any(|path| path.verdict != VerdictName::Unknown);
    match reasons.next() {
        Some(why) if !measured && reasons.all(|other| other == why) => sentence(why),
        _ => String::new(),
    }
}

fn counts(report: &Report) -> Vec<(String, &'static str, &'static str)> {
    let found = report.summary.findings;
    let warnings = count(found.warning, "warning");
    let all = [
        (found.critical, format!("✗ {} critical", found.critical), "critical", "#findings"),
        (found.warning, format!("▲ {warnings}"), "warning", "#findings"),
        (found.info, format!("i {} for information", found.info), "info", "#findings"),
        (
            report.summary.not_concluded,
            format!("? {} not concluded", report.summary.not_concluded),
            "unknown",
            "#not-concluded",
        ),
    ];
    let there = all.into_iter().filter(|(number, ..)| *number > 0);
    there.map(|(_, words, tone, place)| (words, tone, place)).collect()
}
