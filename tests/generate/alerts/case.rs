//! A test as promtool reads it: series in, alerts out at certain minutes.

use std::fmt::Write;

use probes::alerts::Pace;
use probes::report::Severity;

/// What a check of a case proves of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It fires, with these labels and annotations.
    Fires,
    /// It does not, where one decisive fact is missing.
    NearMiss,
    /// It is gone once the fault is.
    Resolves,
    /// Something else.
    Other,
}

/// A test.
pub(super) struct Case {
    name: String,
    series: Vec<(String, String)>,
    checks: Vec<Check>,
}

struct Check {
    minute: u32,
    alert: &'static str,
    of: Option<Severity>,
    kind: Kind,
    fired: Vec<Fired>,
}

/// An alert that fires.
#[derive(Clone)]
pub(super) struct Fired {
    pub(super) severity: Severity,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) anchor: &'static str,
}

impl Case {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), series: Vec::new(), checks: Vec::new() }
    }

    /// With a series: its values are a minute apart. One that is there already stays as it is.
    pub(super) fn series(mut self, series: impl Into<String>, values: impl Into<String>) -> Self {
        let series = series.into();
        if self.series.iter().all(|(known, _)| *known != series) {
            self.series.push((series, values.into()));
        }
        self
    }

    /// At this minute exactly these alerts of that name fire.
    pub(super) fn at(mut self, minute: u32, alert: &'static str, fired: &[Fired]) -> Self {
        self.checks.push(Check { minute, alert, of: None, kind: Kind::Other, fired: fired.to_vec() });
        self
    }

    /// The same, as proof of something about one rule.
    pub(super) fn proof(
        mut self,
        kind: Kind,
        minute: u32,
        (alert, severity): (&'static str, Severity),
        fired: &[Fired],
    ) -> Self {
        self.checks.push(Check { minute, alert, of: Some(severity), kind, fired: fired.to_vec() });
        self
    }

    pub(super) fn proves(&self, alert: &str, severity: Severity, kind: Kind) -> bool {
        self.checks.iter().any(|check| {
            let says = match kind {
                Kind::Fires => check.fired.iter().any(|fired| fired.severity == severity),
                _ => check.fired.iter().all(|fired| fired.severity != severity),
            };
            check.alert == alert && check.of == Some(severity) && check.kind == kind && says
        })
    }
}

/// The file of all of them.
pub(super) fn file(cases: &[Case]) -> String {
    // Without it promtool takes the groups in any order, and what one reads of another is a minute late or not.
    let groups: Vec<_> = probes::alerts::rules(Pace::Shipped).iter().map(|group| group.name).collect();
    let mut text = format!(
        "rule_files: [mtuscope.rules.yaml]\ngroup_eval_order: [{}]\nevaluation_interval: 1m\ntests:\n",
        groups.join(", ")
    );
    cases.iter().for_each(|case| one(&mut text, case));
    text
}

fn one(text: &mut String, case: &Case) {
    _ = writeln!(text, "  - name: {:?}\n    interval: 1m\n    input_series:", case.name);
    if case.series.is_empty() {
        _ = writeln!(text, "      []");
    }
    for (series, values) in &case.series {
        _ = writeln!(text, "      - {{ series: '{series}', values: {values} }}");
    }
    _ = writeln!(text, "    alert_rule_test:");
    for check in &case.checks {
        _ = write!(
            text,
            "      - eval_time: {}m\n        alertname: {}\n        exp_alerts:",
            check.minute, check.alert
        );
        text.push_str(if check.fired.is_empty() { " []\n" } else { "\n" });
        check.fired.iter().for_each(|fired| expected(text, fired));
    }
}

fn expected(text: &mut String, fired: &Fired) {
    let labels = fired.labels.iter().map(|(name, value)| format!(", {name}: {value:?}"));
    let runbook = format!("{}#{}", probes::alerts::RUNBOOK, fired.anchor);
    _ = writeln!(
        text,
        "          - exp_labels: {{ severity: {}{} }}",
        fired.severity.name(),
        labels.collect::<String>()
    );
    _ = writeln!(text, "            exp_annotations:\n              summary: {:?}", fired.summary);
    _ = writeln!(text, "              description: |-");
    fired.description.lines().for_each(|line| _ = writeln!(text, "                {line}"));
    _ = writeln!(text, "              runbook_url: {runbook}");
}
