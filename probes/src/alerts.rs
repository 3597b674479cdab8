//! Recording and alerting rules, made from the catalogue: one precise page, nothing flooded.
//!
//! Every code that alerts is one alert name. What it says it says of the smallest thing that explains what is seen, and
//! [`findings`] argues how that is found: a subject on a node, a node, a peer, or the cluster. [`causes`] joins what two nodes
//! find of one fault, [`agents`] has what is to be known of the agents themselves, [`view`] what dashboards ask of the cluster.
//!
//! # Identity
//! An alert that changes a label resolves and pages again, so no label may change while the fault stands. A pod of a
//! DaemonSet that is replaced has another name and, in the pod network, another address: alerts are told apart by
//! `cluster` and `namespace` (where the scrape sets them) and `node` alone. Where the scrape does not set `node`, it is
//! the instance. The node's agent and its twin on the pod network are one node, and a scrape by two jobs is one scrape.
//!
//! # Time
//! A finding has been confirmed by the agent, by rounds that agree; `for` is what the catalogue asks for beyond that.
//! `keep_firing_for` (Prometheus 2.42) bridges the gap of an agent that restarts, which must measure anew before it finds
//! again, and is never shorter than `for`, so that a fault which changes its severity is alerted all the time.

pub mod agents;
mod causes;
mod expression;
pub mod findings;
mod render;
#[cfg(test)]
mod tests;
mod text;
pub mod view;

use std::fmt;

use crate::report::Severity;

pub use render::{grafana, operator, prometheus, recordings};

/// Where the runbook stands: its address up to the anchor. `OWNER` is to be filled in, as in README, or the whole address
/// given to the build by `MTUSCOPE_RUNBOOK` (the image's build argument `RUNBOOK`): the links of the agent's own pages
/// are those that it was built with.
pub const RUNBOOK: &str = runbook(option_env!("MTUSCOPE_RUNBOOK"));

const fn runbook(told: Option<&'static str>) -> &'static str {
    match told {
        Some(address) if !address.is_empty() => address,
        _ => concat!("https://github.com/OWNER/mtuscope/blob/v", env!("CARGO_PKG_VERSION"), "/manifests/RUNBOOK.md"),
    }
}

/// Up to so many alerts of one code are told one by one; more are one.
pub const FEW: u32 = 3;

/// How fast time runs in the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As shipped.
    Shipped,
    /// A minute is a second: the same rules for tests in real time.
    Test,
}

impl Pace {
    /// So many minutes at this pace.
    pub const fn minutes(self, minutes: u32) -> Span {
        match self {
            Self::Shipped => Span(minutes * 60),
            Self::Test => Span(minutes),
        }
    }
}

/// A span of time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u32);

/// As Prometheus writes it, in the largest unit that fits.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds > 0 && seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            seconds if seconds > 0 && seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

/// Rules that are evaluated one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Name.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub purpose: &'static str,
    /// Time between evaluations; the server's own if absent.
    pub interval: Option<Span>,
    /// In the order in which they are evaluated: later ones see what earlier ones recorded.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Writes a series.
    Recording(Recording),
    /// Raises alerts.
    Alert(AlertRule),
}

/// A recording rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// `level:metric:operation`.
    pub name: &'static str,
    /// What it yields, for the reader of the file.
    pub what: &'static str,
    /// PromQL.
    pub expr: String,
}

/// An alerting rule.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    /// CamelCase, prefix `Mtuscope`.
    pub name: &'static str,
    /// How bad.
    pub severity: Severity,
    /// PromQL.
    pub expr: String,
    /// How long it must hold.
    pub hold: Span,
    /// How long it goes on firing once it holds no more.
    pub keep: Span,
    /// One line: what, which node, what of it.
    pub summary: String,
    /// What it means, values, what to do first.
    pub description: String,
    /// The same for who cannot query in a text.
    pub plain: Plain,
    /// Anchor of its entry in the runbook.
    pub anchor: &'static str,
}

/// Texts of an alert that query nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// One line.
    pub summary: String,
    /// What it means, and what to do first.
    pub description: String,
}

impl AlertRule {
    /// Where its entry in the runbook is.
    pub fn runbook(&self) -> String {
        format!("{RUNBOOK}#{}", self.anchor)
    }
}

/// Every rule.
pub fn rules(pace: Pace) -> Vec<Group> {
    vec![findings::group(pace), view::group(pace), agents::group(pace)]
}
