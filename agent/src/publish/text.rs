//! The report for people: an engineer who reads three lines at three in the morning knows what to do.
//!
//! The verdict comes first, the worst finding and its first fix right below it, what it causes folded into it. Then the
//! ladder: which layer says which MTU, and where it breaks; and who wrote down which. Tables come after that, and what could not be judged last,
//! because it limits what the rest means. Colour marks what needs a look and nothing else, and every colour has a word
//! or a sign beside it. Commands are never wrapped: they are there to be copied.

mod catalogue;
pub(super) mod cluster;
pub(super) mod declared;
pub(super) mod findings;
pub(super) mod ladder;
mod probe;
pub(super) mod style;
mod table;
pub(super) mod tables;
pub(super) mod vip;

pub use catalogue::{catalogue, entry};
pub use cluster::cluster;
pub use probe::{View, probe, swallows};
pub use style::Style;

use probes::path::VerdictName;
use probes::report::{Report, Status};

use style::Tone;

/// The report as text.
pub fn report(report: &Report, style: Style) -> String {
    let mut text = headline(report, style);
    text.push_str(&findings::loud(report, style));
    text.push_str(&ladder::ladders(report, style));
    text.push_str(&declared::declared(report, style));
    text.push_str(&tables::paths(report, style));
    text.push_str(&tables::links(report, style));
    text.push_str(&tables::tunnels(report, style));
    text.push_str(&vip::rows(report, style));
    text.push_str(&tables::settings(report, style));
    text.push_str(&findings::not_concluded(report, style));
    text
}

/// What stands beside paths that are bad while nothing is found.
pub(super) const NOT_CONFIRMED: &str = "No finding stands for this: one takes another round that agrees.";

/// Whether full-size packets do not arrive somewhere and no finding makes more of it than a word for information. The
/// status knows findings alone, and nobody is to read `healthy` beside paths that are bad.
pub(super) fn is_not_confirmed(report: &Report) -> bool {
    report.summary.status == Status::Healthy && report.paths.iter().any(|path| fails(path.verdict))
}

/// Whether full-size packets do not arrive.
pub(super) const fn fails(verdict: VerdictName) -> bool {
    matches!(verdict, VerdictName::Limited | VerdictName::BlackHole | VerdictName::Unreachable)
}

fn headline(report: &Report, style: Style) -> String {
    let not_confirmed = is_not_confirmed(report);
    let (tone, word) = match report.summary.status {
        Status::Healthy if not_confirmed => (Tone::Warning, "NOT CONFIRMED"),
        Status::Healthy => (Tone::Good, "HEALTHY"),
        Status::Warning => (Tone::Warning, "WARNING"),
        Status::Critical => (Tone::Critical, "CRITICAL"),
        Status::Unknown => (Tone::Warning, "UNKNOWN"),
    };
    let counts = report.summary.findings;
    let found = [(counts.critical, "critical"), (counts.warning, "warning"), (counts.info, "info")];
    let mut parts: Vec<String> =
        found.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    match report.summary.status {
        _ if !parts.is_empty() || not_confirmed => {}
        Status::Unknown if report.paths.is_empty() => parts.push("no path could be judged".to_owned()),
        Status::Unknown => {}
        Status::Healthy | Status::Warning | Status::Critical => parts.push("no findings".to_owned()),
    }
    parts.push(path_counts(report));
    let line = style.wrap_marked(tone, word, &format!("{}: {}", style::clean(&report.node), parts.join(", ")));
    let why = if not_confirmed { style.wrap("  ", NOT_CONFIRMED) } else { blind(report, style) };
    line + &why
}

fn path_counts(report: &Report) -> String {
    let count = |verdict| report.paths.iter().filter(|path| path.verdict == verdict).count();
    let (all, unknown) = (report.paths.len(), count(VerdictName::Unknown));
    match (all, unknown) {
        (0, _) => "no peers known".to_owned(),
        _ if unknown == all => format!("none of {all} paths measured"),
        (_, 0) => format!("{} of {all} paths clear", count(VerdictName::Clear)),
        _ => format!("{} of {all} paths clear, {unknown} unknown", count(VerdictName::Clear)),
    }
}

/// Why no path at all was measured: that is the first thing to mend, whatever else was found.
fn blind(report: &Report, style: Style) -> String {
    let mut reasons = report.paths.iter().map(|path| path.why.as_deref().unwrap_or_default());
    let measured = report.paths.iter().any(|path| path.verdict != VerdictName::Unknown);
    match reasons.next() {
        Some(why) if !measured && reasons.all(|other| other == why) => style.wrap("  ", &style::clean(why)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
