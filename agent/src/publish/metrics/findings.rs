//! Findings, and whether each check could look.
//!
//! `findings` is 0 where a check looked and is quiet, and absent where it could not look: an alert on it neither fires
//! nor resolves on ignorance. A finding that is held while its check cannot look keeps its series.

use std::collections::{BTreeMap, BTreeSet};

use probes::report::{Conclusion, Finding, Report, Role, Severity};

use super::{Family, label};

/// Families about findings.
pub(super) fn families(
    report: &Report,
    codes: &[(&'static str, &'static [Severity])],
    limit: usize,
    suppressed: &mut usize,
) -> [Family; 3] {
    [loud(report, limit, suppressed), counts(report, codes), concluded(report)]
}

fn is_loud(finding: &&Finding) -> bool {
    finding.silenced_by.is_none()
}

/// Each loud (code, subject) once, at its worst.
fn loud(report: &Report, limit: usize, suppressed: &mut usize) -> Family {
    let pod_links: BTreeSet<&str> =
        report.links.iter().filter(|link| link.role == Role::Pod).map(|link| link.name.as_str()).collect();
    let mut worst: BTreeMap<(&'static str, &str), Severity> = BTreeMap::new();
    for finding in report.findings.iter().filter(is_loud) {
        let subject = finding.subject.as_str();
        let subject = if pod_links.contains(subject) { "pods" } else { subject };
        let severity = worst.entry((finding.code, subject)).or_insert(finding.severity);
        *severity = finding.severity.max(*severity);
    }
    let mut chosen: Vec<_> = worst.into_iter().collect();
    chosen.sort_by_key(|(_, severity)| std::cmp::Reverse(*severity));
    // The worst of each code first: an alert goes by these series, and one code's hundred peers must not hide another.
    let mut named = BTreeSet::new();
    let (first, rest): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|((code, _), _)| named.insert(*code));
    *suppressed += (first.len() + rest.len()).saturating_sub(limit);
    let mut family = Family::gauge("finding", "A finding that is active and not the consequence of another.");
    for ((code, subject), severity) in first.into_iter().chain(rest).take(limit) {
        let labels = [label("code", code), label("severity", severity.name()), label("subject", subject.to_owned())];
        family.push(labels, 1u32);
    }
    family
}

fn counts(report: &Report, codes: &[(&'static str, &'static [Severity])]) -> Family {
    let mut counts: BTreeMap<(&str, Severity), usize> = BTreeMap::new();
    for finding in report.findings.iter().filter(is_loud) {
        *counts.entry((finding.code, finding.severity)).or_default() += 1;
    }
    for (code, severities) in codes {
        if matches!(report.checks.get(*code), Some(Conclusion::Quiet | Conclusion::Found)) {
            severities.iter().for_each(|severity| _ = counts.entry((code, *severity)).or_default());
        }
    }
    let mut family = Family::gauge("findings", "Findings of a code that are not the consequence of another.");
    for ((code, severity), count) in counts {
        family.push([label("code", code.to_owned()), label("severity", severity.name())], count);
    }
    family
}

fn concluded(report: &Report) -> Family {
    let mut family = Family::gauge("check_concluded", "Whether a check could look at everything that it judges.");
    for (code, conclusion) in &report.checks {
        family.push([label("code", code.clone())], *conclusion != Conclusion::NotConcluded);
    }
    family
}

#[cfg(test)]
mod tests {
    use super::super::super::example;
    use super::super::lines;
    use super::*;

    const CODES: &[(&str, &[Severity])] =
        &[("quiet", &[Severity::Warning, Severity::Critical]), ("blind", &[Severity::Critical])];

    fn report(checks: &[(&str, Conclusion)], findings: Vec<Finding>) -> Report {
        let mut report = (*example::published().report).clone();
        report.checks = checks.iter().map(|(code, conclusion)| ((*code).to_owned(), *conclusion)).collect();
        report.findings = findings;
        report
    }

    #[test]
    fn quiet_is_zero_and_blind_is_absent() {
        let report = report(&[("quiet", Conclusion::Quiet), ("blind", Conclusion::NotConcluded)], Vec::new());
        assert_eq!(lines(&counts(&report, CODES)), ["quiet,warning 0", "quiet,critical 0"]);
        assert_eq!(lines(&concluded(&report)), ["blind 0", "quiet 1"]);
    }

    #[test]
    fn a_held_finding_stays_although_its_check_cannot_look() {
        let held = example::finding("blind", Severity::Critical, "vmbr1", None);
        let report = report(&[("blind", Conclusion::NotConcluded)], vec![held]);
        assert_eq!(lines(&counts(&report, CODES)), ["blind,critical 1"]);
    }

    #[test]
    fn a_consequence_counts_nowhere() {
        let cause = example::finding("quiet", Severity::Critical, "vmbr1", None);
        let effect = example::finding("quiet", Severity::Critical, "master-2", Some("quiet vmbr1"));
        let report = report(&[("quiet", Conclusion::Found)], vec![cause, effect]);
        assert_eq!(lines(&loud(&report, 100, &mut 0)), ["quiet,critical,vmbr1 1"]);
        assert_eq!(lines(&counts(&report, CODES)), ["quiet,warning 0", "quiet,critical 1"]);
    }

    #[test]
    fn no_code_is_left_out_for_another_s_many_subjects() {
        let many = (0..9).map(|n| example::finding("quiet", Severity::Critical, &format!("peer-{n}"), None));
        let findings = many.chain([example::finding("blind", Severity::Warning, "vmbr1", None)]).collect();
        let report = report(&[("quiet", Conclusion::Found), ("blind", Conclusion::Found)], findings);
        let shown = lines(&loud(&report, 3, &mut 0));
        assert_eq!(shown, ["quiet,critical,peer-0 1", "blind,warning,vmbr1 1", "quiet,critical,peer-1 1"]);
    }

    #[test]
    fn pod_links_share_one_series_and_the_limit_keeps_the_worst() {
        let of = |severity, subject| example::finding("quiet", severity, subject, None);
        let findings = vec![
            of(Severity::Warning, "cali0a1b2c3d4e5"),
            of(Severity::Warning, "cali5e4d3c2b1a0"),
            of(Severity::Critical, "vmbr1"),
        ];
        let report = report(&[("quiet", Conclusion::Found)], findings);
        let mut suppressed = 0;
        assert_eq!(lines(&loud(&report, 2, &mut suppressed)), ["quiet,critical,vmbr1 1", "quiet,warning,pods 1"]);
        assert_eq!((lines(&loud(&report, 1, &mut suppressed)).len(), suppressed), (1, 1));
    }
}
