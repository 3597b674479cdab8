//! One code of the catalogue, explained: what `mtuscope checks CODE` prints and the runbook is made of.
//!
//! It is a copy for people and programs: names of severities, both directions of silencing, the remedy of the entry's
//! example as each set-up wants it. JSON is additions only: what a program read of an entry once stays where it was.

mod remedies;

use probes::checks::{ALL, Alert, Area, Class, Entry, Judged, Look, Registered};
use probes::remedy;
use probes::report::Severity;
use probes::snapshot::Setup;
use serde::Serialize;

pub use remedies::{Step, Variant, headed};

/// Where the runbook stands in the repository; each code has the anchor of its name.
pub const RUNBOOK: &str = "manifests/RUNBOOK.md";

/// One code, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Stable name.
    pub code: &'static str,
    /// The part of the catalogue that it belongs to.
    pub area: Area,
    /// Every severity that it can have, mildest first.
    pub severities: &'static [Severity],
    /// When it has which of them.
    pub when: Vec<When>,
    /// A few words.
    pub title: &'static str,
    /// What it means and whom it hurts.
    pub meaning: &'static str,
    /// What looks like it and is left alone on purpose.
    pub quiet: &'static str,
    /// How to look by hand: the commands alone.
    pub look: Vec<&'static str>,
    /// How to look by hand, and what to see.
    pub steps: &'static [Look],
    /// How much evidence it takes.
    pub evidence: &'static str,
    /// Whose agents judge it.
    pub seen: &'static str,
    /// What to query; nothing where agents do not judge it.
    pub metrics: Vec<String>,
    /// Codes that are its consequences.
    pub silences: &'static [&'static str],
    /// Codes that it can be a consequence of.
    pub silenced_by: Vec<&'static str>,
    /// The alert's name, or why there is none.
    pub alert: String,
    /// The alert, where there is one.
    pub alerting: Option<Alerting>,
    /// The kind of incident.
    pub incident: Incident,
    /// What a finding of this code says.
    pub example: String,
    /// What to do about that finding on a machine that is not recognised.
    pub remedy: Vec<String>,
    /// What to do about it, step by step, as each set-up wants it.
    pub remedies: Vec<Step>,
    /// Where its entry in the runbook stands.
    pub runbook: String,
}

/// A severity and when a finding has it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct When {
    /// The severity.
    pub severity: Severity,
    /// When.
    pub when: &'static str,
}

/// An alert.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Alerting {
    /// Its name.
    pub name: &'static str,
    /// Minutes that the finding must have stood.
    pub minutes: u32,
    /// Severities that it comes with: the finding's.
    pub severities: &'static [Severity],
}

/// The kind of incident, or why no public thread is known.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Incident {
    /// A class of which public threads tell.
    Known {
        /// A few words.
        title: &'static str,
        /// What happens.
        text: &'static str,
        /// `owner/repository#number`.
        threads: &'static [&'static str],
    },
    /// None.
    NoThread {
        /// Why.
        why: &'static str,
    },
}

impl Explained {
    /// A check of the catalogue, its example rendered.
    pub fn new(check: &Registered) -> Self {
        let &Entry {
            code,
            area,
            severities,
            when,
            title,
            meaning,
            quiet,
            look,
            metrics,
            class,
            silences,
            confirm,
            alert,
        } = check.entry;
        let example = check.example();
        Self {
            code,
            area,
            severities,
            when: severities.iter().zip(when).map(|(&severity, when)| When { severity, when }).collect(),
            title,
            meaning,
            quiet,
            look: look.iter().map(|look| look.run).collect(),
            steps: look,
            evidence: confirm.text(),
            seen: seen(check),
            metrics: queries(check.judged, code, metrics),
            silences,
            silenced_by: causes(code),
            alert: told(alert),
            alerting: alerting(alert, severities),
            incident: class.into(),
            remedy: remedy::render(&example.fixes, Setup::default()),
            remedies: remedies::by_setup(&example.fixes),
            example: example.summary,
            runbook: format!("{RUNBOOK}#{code}"),
        }
    }

    /// Every code, in the catalogue's order.
    pub fn all() -> Vec<Self> {
        ALL.iter().map(Self::new).collect()
    }
}

impl From<Class> for Incident {
    fn from(class: Class) -> Self {
        match (class.story(), class) {
            (Some(story), _) => Self::Known { title: story.title, text: story.text, threads: story.threads },
            (None, Class::NoThread { why }) => Self::NoThread { why },
            (None, _) => Self::NoThread { why: "no public thread known" },
        }
    }
}

const fn seen(check: &Registered) -> &'static str {
    match (check.judged, check.in_pods) {
        (Judged::Reports, _) => "in a report that somebody asks for on the node; no agent judges it",
        (Judged::Everywhere, true) => "on nodes, and in the pod network (`vantage: pod`)",
        (Judged::Everywhere, false) => "on nodes alone: an agent in the pod network (`vantage: pod`) does not judge it",
    }
}

fn queries(judged: Judged, code: &str, others: &[&str]) -> Vec<String> {
    if judged == Judged::Reports {
        return Vec::new();
    }
    let own = ["mtuscope_finding", "mtuscope_findings"].map(|family| format!("{family}{{code=\"{code}\"}}"));
    own.into_iter().chain(others.iter().map(|&query| query.to_owned())).collect()
}

fn causes(code: &str) -> Vec<&'static str> {
    let others = ALL.iter().map(|check| check.entry);
    others.filter(|other| other.silences.contains(&code)).map(|other| other.code).collect()
}

fn told(alert: Alert) -> String {
    match alert {
        Alert::Named { name, minutes } => format!("{name}, after {minutes} min"),
        Alert::None { why } => format!("none: {why}"),
    }
}

const fn alerting(alert: Alert, severities: &'static [Severity]) -> Option<Alerting> {
    match alert {
        Alert::Named { name, minutes } => Some(Alerting { name, minutes, severities }),
        Alert::None { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_silences_is_silenced_by_read_backwards() {
        let all = Explained::all();
        let mut forwards = BTreeSet::new();
        let mut backwards = BTreeSet::new();
        for one in &all {
            forwards.extend(one.silences.iter().map(|effect| (one.code, *effect)));
            backwards.extend(one.silenced_by.iter().map(|cause| (*cause, one.code)));
        }
        assert_eq!(forwards, backwards);
        assert!(forwards.contains(&("link-down", "peer-unreachable")));
    }

    #[test]
    fn what_agents_do_not_judge_has_nothing_to_query() {
        for check in ALL {
            let queries = Explained::new(check).metrics;
            assert_eq!(queries.is_empty(), check.judged == Judged::Reports, "{}", check.entry.code);
        }
    }

    #[test]
    fn what_programs_read_stays_where_it_was() {
        let entry = serde_json::to_value(Explained::all().remove(0)).unwrap();
        for name in ["code", "area", "title", "meaning", "alert", "example"] {
            assert!(entry[name].is_string(), "{name}");
        }
        for name in ["severities", "look", "silences", "remedy"] {
            assert!(entry[name][0].is_string(), "{name}");
        }
    }
}
