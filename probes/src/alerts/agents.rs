//! The agents themselves: who does not report, or does not see.

use super::expression::by_node;
use super::{AlertRule, Group, Pace, Rule};
use crate::report::Severity;

/// Rules about the agents.
pub fn group(pace: Pace) -> Group {
    let rules = vec![absent(pace), overdue(pace)];
    Group {
        name: "mtuscope-agents",
        purpose: "Whether the agents report and see.",
        interval: None,
        rules: rules.into_iter().map(Rule::Alert).collect(),
    }
}

fn absent(pace: Pace) -> AlertRule {
    AlertRule {
        name: "MtuscopeAbsent",
        severity: Severity::Warning,
        expr: "absent(mtuscope_build_info)".into(),
        hold: pace.minutes(15),
        keep: pace.minutes(5),
        summary: "No mtuscope agent is scraped".into(),
        description: "No node is watched.\nFirst: kubectl -n mtuscope get pods -o wide".into(),
        anchor: "mtuscope-absent",
    }
}

fn overdue(pace: Pace) -> AlertRule {
    let late = "time() - mtuscope_last_round_timestamp_seconds > 5 * mtuscope_probe_interval_seconds + 60";
    AlertRule {
        name: "MtuscopeRoundOverdue",
        severity: Severity::Warning,
        expr: by_node("", late),
        hold: pace.minutes(5),
        keep: pace.minutes(5),
        summary: "{{ $labels.node }}: no round has ended for {{ $value | humanizeDuration }}".into(),
        description: "What the agent says of this node is as old.\nFirst: kubectl -n mtuscope logs of its pod".into(),
        anchor: "mtuscope-round-overdue",
    }
}
