//! What changed between two reports of a node.

use std::collections::BTreeMap;

use lab::report::{Finding, Report};

/// What a finding is known by: code, subject, and the plane where a code can be raised on several.
type Key = (String, String, String);

/// The findings of one node as they were last told.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeMap<Key, Finding>);

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A finding that was not there, or was another one: less severe, or explained by something else.
    Raised(Finding),
    /// A finding that is gone.
    Cleared(Finding),
}

impl Change {
    /// The finding, if it was raised.
    pub(crate) const fn raised(&self) -> Option<&Finding> {
        if let Self::Raised(finding) = self { Some(finding) } else { None }
    }

    /// The finding, if it has gone.
    pub(crate) const fn cleared(&self) -> Option<&Finding> {
        if let Self::Cleared(finding) = self { Some(finding) } else { None }
    }
}

impl Findings {
    /// Takes a report, and yields what is different.
    pub(crate) fn take(&mut self, report: &Report) -> Vec<Change> {
        let now: BTreeMap<Key, Finding> =
            report.findings.iter().map(|finding| (key(finding), finding.clone())).collect();
        let gone = self.0.iter().filter(|(key, _)| !now.contains_key(*key));
        let gone = gone.map(|(_, finding)| Change::Cleared(finding.clone()));
        let told = |(key, finding): &(&Key, &Finding)| self.0.get(*key).is_none_or(|before| differs(before, finding));
        let come = now.iter().filter(told).map(|(_, finding)| Change::Raised(finding.clone()));
        let changes = gone.chain(come).collect();
        self.0 = now;
        changes
    }
}

fn key(finding: &Finding) -> Key {
    let plane = plane(finding).unwrap_or_default().to_owned();
    (finding.code.clone(), finding.subject.clone(), plane)
}

fn differs(before: &Finding, now: &Finding) -> bool {
    before.severity != now.severity || before.silenced_by != now.silenced_by
}

/// The plane that a finding is about, if it is about one.
pub(crate) fn plane(finding: &Finding) -> Option<&str> {
    finding.evidence.get("plane").and_then(|plane| plane.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: &str) -> Report {
        let text = format!(
            r#"{{"schema": "mtuscope.report/v1", "node": "a", "generated_at": "2026-11-01T00:00:00Z",
                "summary": {{"status": "critical", "peers": 1, "recommended_overlay_mtu": null}},
                "links": [], "tunnels": [], "paths": [], "not_concluded": [], "findings": [{findings}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn finding(code: &str, severity: &str, silenced_by: &str) -> String {
        format!(
            r#"{{"code": "{code}", "severity": "{severity}", "subject": "b", "summary": "s", "remedy": [],
                "silenced_by": {silenced_by}, "evidence": {{"plane": "pod"}}}}"#
        )
    }

    fn words(changes: &[Change]) -> Vec<String> {
        let word = |change: &Change| match change {
            Change::Raised(finding) => format!("+{} {}", finding.code, finding.severity),
            Change::Cleared(finding) => format!("-{}", finding.code),
        };
        changes.iter().map(word).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut findings = Findings::default();
        let sick = report(&finding("x", "warning", "null"));
        assert_eq!(words(&findings.take(&sick)), ["+x warning"]);
        assert!(findings.take(&sick).is_empty(), "nothing has changed");
        assert_eq!(words(&findings.take(&report(&finding("x", "critical", "null")))), ["+x critical"]);
        assert_eq!(words(&findings.take(&report(""))), ["-x"]);
    }

    #[test]
    fn a_cause_that_is_found_later_is_a_change() {
        let mut findings = Findings::default();
        assert_eq!(words(&findings.take(&report(&finding("a", "critical", "null")))), ["+a critical"]);
        assert_eq!(words(&findings.take(&report(&finding("a", "critical", "\"b b\"")))), ["+a critical"]);
    }
}
