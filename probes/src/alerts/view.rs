//! The cluster in few series, for dashboards and for alerts that compare nodes.
//!
//! The two views, node and pod network, are kept apart where they measure the same planes with other sizes: `vantage` says
//! whose numbers they are.

use super::expression::{PLACE, TARGET, by_node};
use super::text::{CARRIED, EXPECTED};
use super::{Group, Pace, Recording, Rule};

/// Smallest path MTU of any node.
pub const LEAST: &str = "cluster:mtuscope_path_min_mtu_bytes:min";
/// Smallest path MTU of the node whose smallest is largest.
pub const MOST: &str = "cluster:mtuscope_path_min_mtu_bytes:max";

/// Labels of what is measured by plane and family.
const LABELS: &str = "plane, family";

/// Rules that dashboards go by.
pub fn group(pace: Pace) -> Group {
    Group {
        name: "mtuscope-cluster",
        purpose: "The cluster in few series.",
        interval: Some(pace.minutes(1)),
        rules: recordings(pace).into_iter().map(Rule::Recording).collect(),
    }
}

fn recordings(pace: Pace) -> Vec<Recording> {
    counts().into_iter().chain(sizes()).chain(measuring(pace)).collect()
}

/// A family with the view of its agent, by these labels of its own. During a roll-out a target is there twice for a moment,
/// under the old pod's name and the new one's: it is one, and what is joined with is unique, or the rule would fail.
fn seen(family: &str, labels: &str) -> String {
    format!(
        "max by ({TARGET}, {labels}) ({family})\n    * on ({TARGET}) group_left (vantage) group by ({TARGET}, vantage) \
         (mtuscope_build_info)"
    )
}

fn counts() -> [Recording; 3] {
    [
        Recording {
            name: "cluster:mtuscope_agents:count",
            what: "Agents that report, by view.",
            expr: format!("count by ({PLACE}, vantage) ({})", by_node("group", "vantage", "mtuscope_build_info")),
        },
        Recording {
            name: "cluster:mtuscope_findings:count",
            what: "Findings by code and severity, however many agents of a node tell of one.",
            expr: format!(
                "count by ({PLACE}, code, severity) ({})",
                by_node("group", "code, severity, subject", "mtuscope_finding")
            ),
        },
        Recording {
            name: "cluster:mtuscope_paths:sum",
            what: "Paths by verdict.",
            expr: format!(
                "sum by ({PLACE}, vantage, plane, family, verdict) (\n  {}\n)",
                seen("mtuscope_paths", "plane, family, verdict")
            ),
        },
    ]
}

fn sizes() -> [Recording; 4] {
    let by = format!("by ({PLACE}, vantage, plane, family)");
    let of_peer = format!("by ({PLACE}, peer, plane, family)");
    let least = seen("mtuscope_path_min_mtu_bytes", LABELS);
    [
        Recording {
            name: LEAST,
            what: "Smallest path MTU that any node measures.",
            expr: format!("min {by} (\n  {least}\n)"),
        },
        Recording {
            name: MOST,
            what: "Smallest path MTU of the node whose smallest is largest: nodes disagree where the two differ.",
            expr: format!("max {by} (\n  {least}\n)"),
        },
        Recording {
            name: CARRIED,
            what: "Path MTU to each peer that carries less than expected.",
            expr: format!("min {of_peer} (mtuscope_path_mtu_bytes < mtuscope_path_expected_mtu_bytes)"),
        },
        Recording {
            name: EXPECTED,
            what: "What is expected of those.",
            expr: format!("max {of_peer} (mtuscope_path_expected_mtu_bytes > mtuscope_path_mtu_bytes)"),
        },
    ]
}

fn measuring(pace: Pace) -> [Recording; 2] {
    let by = format!("by ({PLACE}, vantage, plane, family)");
    let rate = |family: &str| {
        format!(
            "sum {by} (\n  {}\n)",
            seen(&format!("rate(mtuscope_probe_packets_{family}_total[{}])", pace.minutes(5)), LABELS)
        )
    };
    [
        Recording {
            name: "cluster:mtuscope_path_result_age_seconds:max",
            what: "Age of the result that was measured longest ago.",
            expr: format!(
                "time() - min {by} (\n  {}\n)",
                seen("mtuscope_oldest_path_result_timestamp_seconds", LABELS)
            ),
        },
        Recording {
            name: "cluster:mtuscope_probe_packets_lost:ratio_rate5m",
            what: "Reference probes without an answer, of those sent.",
            expr: format!("{}\n/\n{}", rate("lost"), rate("sent")),
        },
    ]
}
