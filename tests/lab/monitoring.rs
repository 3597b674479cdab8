//! What watches the agents: a real Prometheus, a real Alertmanager, and somebody who is told.
//!
//! All three stand where the management network leads, as a monitoring system does: what breaks the cluster's network
//! does not blind it. They listen on that namespace's loopback, keep what they write in the lab's own `/run`, and end
//! with their values. Prometheus judges every second what it has looked at every other, and Alertmanager holds nothing
//! back, so that the time from a fault to its notification is the rules' own.
//!
//! A program is Debian's, found on the search path; where one is missing, the error says which package brings it.

mod alertmanager;
mod program;
mod prometheus;
mod watch;
mod webhook;

pub use alertmanager::Alertmanager;
pub use prometheus::{ActiveAlert, JOB, POD_JOB, Prometheus, Rule, SCRAPE, Sample, Setup, Target};
pub use watch::Watch;
pub use webhook::{Alert, Notification, Status, Webhook};

use std::time::Duration;

use probes::alerts::{self, AlertRule, Group, Pace, Rule as Shipped, Span};
use probes::report::Severity;

/// An alert waits that long at least. A cause and what follows from it are not confirmed in the same round, nor by all
/// nodes in the same one: less, and the first of them would be told of alone. The shortest `for` that ships is four
/// rounds long. A round of tests takes a second, and three where the machine is crowded: four of those.
const AGREEMENT: Span = Span(12);

/// Series of what explains findings of peers.
const CAUSE: &str = ":mtuscope_finding_cause:";

/// The shipped rules at the pace of tests, as a rule file.
pub fn rules() -> String {
    alerts::prometheus(&groups())
}

/// How long an alert that wakes anybody may wait before it fires.
pub fn longest_hold() -> Duration {
    longest(|alert| alert.hold)
}

/// How long it may go on firing once all is well.
pub fn longest_keep() -> Duration {
    longest(|alert| alert.keep)
}

fn longest(span: impl Fn(&AlertRule) -> Span) -> Duration {
    let rules = groups().into_iter().flat_map(|group| group.rules);
    let spans = rules.filter_map(|rule| match rule {
        Shipped::Alert(alert) if alert.severity != Severity::Info => Some(span(&alert).0),
        _ => None,
    });
    Duration::from_secs(spans.max().unwrap_or_default().into())
}

fn groups() -> Vec<Group> {
    let mut groups = alerts::rules(Pace::Test);
    for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
        match rule {
            Shipped::Alert(alert) => {
                alert.hold = alert.hold.max(AGREEMENT);
                alert.keep = alert.keep.max(alert.hold);
            }
            // A cause is mended in one round, and what followed from it goes in the next ones.
            Shipped::Recording(recording) if recording.name.contains(CAUSE) => {
                recording.expr = stretched(&recording.expr);
            }
            Shipped::Recording(_) => {}
        }
    }
    groups
}

/// An expression that looks back for no less than [`AGREEMENT`].
fn stretched(expr: &str) -> String {
    let mut parts = expr.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |done, part| {
        let span = part.split_once("s]").and_then(|(span, rest)| Some((Span(span.parse().ok()?), rest)));
        match span.filter(|(span, _)| *span < AGREEMENT) {
            Some((_, rest)) => format!("{done}[{AGREEMENT}]{rest}"),
            None => format!("{done}[{part}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_back_for_less_than_nodes_take_to_agree_looks_back_for_as_long() {
        let far = "max_over_time(b[1h]) + c[15s]";
        assert_eq!(stretched(&format!("a{{b=\"[x]\"}}[2s] + {far}")), format!("a{{b=\"[x]\"}}[12s] + {far}"));
    }

    #[test]
    fn causes_count_for_as_long_as_nodes_take_to_agree() {
        let rules = groups().into_iter().flat_map(|group| group.rules);
        let causes = rules.filter_map(|rule| match rule {
            Shipped::Recording(recording) if recording.name.contains(CAUSE) => Some(recording.expr),
            _ => None,
        });
        let causes: Vec<_> = causes.collect();
        assert_eq!(causes.len(), 2, "those of nodes and those of paths");
        assert!(causes.iter().all(|expr| expr.contains("[12s]") && !expr.contains("[2s]")), "{causes:?}");
    }

    #[test]
    fn what_waits_for_longest_is_no_shorter_than_any_wait() {
        assert!(longest_hold() >= Duration::from_secs(AGREEMENT.0.into()) && longest_keep() >= longest_hold());
    }
}
