//! The cluster in few series, for dashboards.

use super::expression::{PLACE, by_node};
use super::{Group, Recording, Rule};

/// Rules that dashboards go by.
pub fn group() -> Group {
    Group {
        name: "mtuscope-cluster",
        purpose: "The cluster in few series, for dashboards.",
        interval: None,
        rules: recordings().into_iter().map(Rule::Recording).collect(),
    }
}

fn recordings() -> Vec<Recording> {
    let by = "by (cluster, namespace, plane, family)";
    vec![
        Recording {
            name: "cluster:mtuscope_agents:count",
            what: "Nodes that report.",
            expr: format!("count by ({PLACE}) ({})", by_node("", "mtuscope_build_info")),
        },
        Recording {
            name: "cluster:mtuscope_paths:sum",
            what: "Paths by verdict.",
            expr: "sum by (cluster, namespace, plane, family, verdict) (mtuscope_paths)".into(),
        },
        Recording {
            name: "cluster:mtuscope_path_min_mtu_bytes:min",
            what: "Smallest path MTU that any node measures.",
            expr: format!("min {by} (mtuscope_path_min_mtu_bytes)"),
        },
        Recording {
            name: "cluster:mtuscope_path_min_mtu_bytes:max",
            what: "Smallest path MTU of the node whose smallest is largest.",
            expr: format!("max {by} (mtuscope_path_min_mtu_bytes)"),
        },
        Recording {
            name: "cluster:mtuscope_path_result_age_seconds:max",
            what: "Age of the result that was measured longest ago.",
            expr: format!("time() - min {by} (mtuscope_oldest_path_result_timestamp_seconds)"),
        },
        Recording {
            name: "cluster:mtuscope_findings:count",
            what: "Findings by code and severity, whatever number of agents tells of one.",
            expr: format!(
                "count by ({PLACE}, code, severity) ({})",
                by_node("code, severity, subject", "mtuscope_finding")
            ),
        },
        Recording {
            name: "cluster:mtuscope_probe_packets_lost:ratio_rate5m",
            what: "Reference probes that are not answered, of those sent.",
            expr: format!(
                "sum {by} (rate(mtuscope_probe_packets_lost_total[5m])) / sum {by} (rate(mtuscope_probe_packets_sent_total[5m]))"
            ),
        },
    ]
}
