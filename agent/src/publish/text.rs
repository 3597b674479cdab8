//! The report for people: an engineer who reads three lines at three in the morning knows what to do.
//!
//! The verdict comes first, the worst finding and its first fix right below it, what it causes folded into it, tables
//! after that, and what could not be judged last, because it limits what the rest means. Colour marks severity and
//! nothing else, and every colour has a word beside it. Commands are never wrapped: they are there to be copied.

mod catalogue;
mod findings;
mod probe;
mod style;
mod table;
mod tables;

pub use catalogue::{Explained, catalogue, entry};
pub use probe::probe;
pub use style::Style;

use probes::path::VerdictName;
use probes::report::{Report, Status};

use style::Tone;

/// The report as text.
pub fn report(report: &Report, style: Style) -> String {
    let mut text = headline(report, style);
    text.push_str(&findings::loud(report, style));
    text.push_str(&tables::paths(report, style));
    text.push_str(&tables::links(report, style));
    text.push_str(&tables::tunnels(report, style));
    text.push_str(&tables::settings(report, style));
    text.push_str(&findings::not_concluded(report, style));
    text
}

fn headline(report: &Report, style: Style) -> String {
    let (tone, word) = match report.summary.status {
        Status::Healthy => (Tone::Good, "HEALTHY"),
        Status::Warning => (Tone::Warning, "WARNING"),
        Status::Critical => (Tone::Critical, "CRITICAL"),
        Status::Unknown => (Tone::Warning, "UNKNOWN"),
    };
    let counts = report.summary.findings;
    let found = [(counts.critical, "critical"), (counts.warning, "warning"), (counts.info, "info")];
    let mut parts: Vec<String> =
        found.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if parts.is_empty() {
        let nothing = if report.summary.status == Status::Unknown { "no path could be judged" } else { "no findings" };
        parts.push(nothing.to_owned());
    }
    parts.push(path_counts(report));
    style.wrap_marked(tone, word, &format!("{}: {}", style::clean(&report.node), parts.join(", ")))
}

fn path_counts(report: &Report) -> String {
    let clear = report.paths.iter().filter(|path| path.verdict == VerdictName::Clear).count();
    match report.paths.len() {
        0 => "no peers known".to_owned(),
        all => format!("{clear} of {all} paths clear"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use insta::assert_snapshot;
    use probes::report::FindingCounts;

    use super::super::example;
    use super::*;

    const PLAIN: Style = Style { colour: false, width: 100 };

    #[test]
    fn a_rich_node() {
        assert_snapshot!(report(&example::published().report, PLAIN));
    }

    #[test]
    fn a_rich_node_on_a_narrow_terminal() {
        let text = report(&example::published().report, Style { colour: false, width: 60 });
        let commands = |line: &&str| !line.trim_start().starts_with('→');
        let widest = text.lines().filter(commands).map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 60, "{widest} columns:\n{text}");
    }

    #[test]
    fn a_healthy_node() {
        let mut published = example::cluster(40, 0);
        let report = Arc::make_mut(&mut published.report);
        report.summary.status = Status::Healthy;
        report.summary.findings = FindingCounts::default();
        report.not_concluded.clear();
        assert_snapshot!(super::report(report, PLAIN));
    }

    #[test]
    fn the_first_three_lines_say_what_to_do() {
        let text = report(&example::published().report, Style { colour: false, width: 120 });
        let lines: Vec<&str> = text.lines().take(3).collect();
        assert!(lines[0].contains("CRITICAL") && lines[0].contains("master-1"), "{lines:?}");
        assert!(lines[1].contains("no carrier"), "{lines:?}");
        assert!(lines[2].contains("ethtool enp6s0"), "{lines:?}");
    }

    #[test]
    fn no_judged_path_never_reads_healthy() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        report.paths.clear();
        report.findings.clear();
        report.summary.status = Status::Unknown;
        report.summary.findings = FindingCounts::default();
        let text = super::report(report, PLAIN);
        assert!(text.starts_with("UNKNOWN master-1: no path could be judged, no peers known\n"), "{text}");
    }

    #[test]
    fn without_colour_there_is_no_escape_and_names_cannot_bring_one() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        report.node = "evil\u{1b}[2J".into();
        report.paths[0].peer = "evil\u{1b}]0;x\u{7}".into();
        report.findings[0].summary = "evil\u{1b}[31m\r".into();
        let text = super::report(report, PLAIN);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let coloured = super::report(&example::published().report, Style { colour: true, width: 100 });
        assert!(coloured.contains('\u{1b}'));
    }
}
