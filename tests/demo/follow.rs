//! What changed between two reports of a node.

use std::collections::BTreeMap;

use lab::report::Finding;

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
    /// Takes what a report says, and yields what is different.
    pub(crate) fn take(&mut self, findings: &[Finding]) -> Vec<Change> {
        let now: BTreeMap<Key, Finding> = findings.iter().map(|finding| (key(finding), finding.clone())).collect();
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

    fn finding(severity: &str, silenced_by: Option<&str>) -> Vec<Finding> {
        let silenced_by = silenced_by.map(str::to_owned);
        let (code, subject, severity) = ("x".to_owned(), "b".to_owned(), severity.to_owned());
        let (summary, remedy, evidence) = (String::new(), Vec::new(), BTreeMap::new());
        vec![Finding {
            code,
            severity,
            subject,
            summary,
            remedy,
            since: jiff::Timestamp::UNIX_EPOCH,
            silenced_by,
            evidence,
        }]
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
        assert_eq!(words(&findings.take(&finding("warning", None))), ["+x warning"]);
        assert!(findings.take(&finding("warning", None)).is_empty(), "nothing has changed");
        assert_eq!(words(&findings.take(&finding("critical", None))), ["+x critical"]);
        assert_eq!(words(&findings.take(&[])), ["-x"]);
    }

    #[test]
    fn a_cause_that_is_found_later_is_a_change() {
        let mut findings = Findings::default();
        assert_eq!(words(&findings.take(&finding("critical", None))), ["+x critical"]);
        assert_eq!(words(&findings.take(&finding("critical", Some("y b")))), ["+x critical"]);
    }
}
