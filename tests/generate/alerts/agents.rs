//! The alerts about agents: each is about other series, so each is written by hand.

use probes::alerts::agents::{ALL, Watch};

use super::case::{Case, Fired, Kind};
use super::mechanical::{TARGET, first};

/// What makes an alert fire on one node, when, and when it is gone.
struct Told {
    name: &'static str,
    fires: &'static [(&'static str, &'static str)],
    minute: u32,
    resolved: u32,
    near: &'static [(&'static str, &'static str)],
    labels: &'static [(&'static str, &'static str)],
    summary: &'static str,
}

const NODE: &[(&str, &str)] = &[("namespace", "mtuscope"), ("node", "master-1")];
const PLACE: &[(&str, &str)] = &[("namespace", "mtuscope"), ("plane", "underlay"), ("family", "ipv4")];

/// `NODE` stands for the labels of the first node, `OTHER` for those of another.
const TOLD: &[Told] = &[
    Told {
        name: "MtuscopeAgentsAbsent",
        fires: &[("mtuscope_build_info{vantage=\"node\",NODE}", "_x17 1x20")],
        minute: 15,
        resolved: 23,
        near: &[("mtuscope_build_info{vantage=\"node\",NODE}", "1x40")],
        labels: &[],
        summary: "no mtuscope agent is scraped",
    },
    Told {
        name: "MtuscopeAgentDown",
        fires: &[("up{NODE}", "0x12 1x20")],
        minute: 10,
        resolved: 18,
        near: &[("up{NODE}", "0x9 1x20"), ("up{job=\"node-exporter\",instance=\"10.0.0.12:9100\"}", "0x40")],
        labels: NODE,
        summary: "master-1: 1 of its agents cannot be scraped",
    },
    Told {
        name: "MtuscopeRoundOverdue",
        fires: &[
            ("mtuscope_last_round_timestamp_seconds{NODE}", "0x11 720+60x20"),
            ("mtuscope_probe_interval_seconds{NODE}", "30x40"),
        ],
        minute: 10,
        resolved: 17,
        near: &[
            ("mtuscope_last_round_timestamp_seconds{NODE}", "-900+60x40"),
            ("mtuscope_probe_interval_seconds{NODE}", "30x40"),
        ],
        labels: NODE,
        summary: "master-1: no round has ended for 10m 0s",
    },
    Told {
        name: "MtuscopeChecksNotConcluded",
        fires: &[
            ("mtuscope_check_concluded{code=\"link-down\",NODE}", "1x2 0x67 1x20"),
            ("mtuscope_check_concluded{code=\"path-lossy\",NODE}", "0x99"),
        ],
        minute: 64,
        resolved: 76,
        near: &[("mtuscope_check_concluded{code=\"link-down\",NODE}", "0x99")],
        labels: NODE,
        summary: "master-1: 1 checks that could look no longer can",
    },
    Told {
        name: "MtuscopeSourceFailing",
        fires: &[("mtuscope_source_success{source=\"links\",NODE}", "0x17 1x20")],
        minute: 16,
        resolved: 23,
        near: &[("mtuscope_source_success{source=\"links\",NODE}", "0x14 1x20")],
        labels: &[("namespace", "mtuscope"), ("node", "master-1"), ("source", "links")],
        summary: "master-1: cannot read links",
    },
    Told {
        name: "MtuscopeReloadFailed",
        fires: &[("mtuscope_config_last_reload_successful{NODE}", "0x7 1x20")],
        minute: 6,
        resolved: 13,
        near: &[("mtuscope_config_last_reload_successful{NODE}", "0x4 1x20")],
        labels: NODE,
        summary: "master-1: the configuration was refused",
    },
    Told {
        name: "MtuscopeProbesNotSent",
        fires: &[
            ("mtuscope_probe_errors_total{reason=\"send_failed\",NODE}", "0+10x40 400x40"),
            ("mtuscope_probe_packets_sent_total{plane=\"underlay\",family=\"ipv4\",NODE}", "0+60x80"),
        ],
        minute: 20,
        resolved: 60,
        near: &[
            ("mtuscope_probe_errors_total{reason=\"send_failed\",NODE}", "0+2x80"),
            ("mtuscope_probe_packets_sent_total{plane=\"underlay\",family=\"ipv4\",NODE}", "0+60x80"),
        ],
        labels: NODE,
        summary: "master-1: 14.29% of probes cannot be sent",
    },
    Told {
        name: "MtuscopeNetlinkOverruns",
        fires: &[("mtuscope_netlink_overruns_total{NODE}", "0+1x60 60x70")],
        minute: 50,
        resolved: 120,
        near: &[("mtuscope_netlink_overruns_total{NODE}", "0+1x12 12x90")],
        labels: NODE,
        summary: "master-1: 50 netlink overruns in an hour",
    },
    Told {
        name: "MtuscopeSeriesSuppressed",
        fires: &[("mtuscope_series_suppressed{NODE}", "40x17 0x20")],
        minute: 16,
        resolved: 23,
        near: &[("mtuscope_series_suppressed{NODE}", "0x40")],
        labels: NODE,
        summary: "master-1: 40 series are left out of the metrics",
    },
    Told {
        name: "MtuscopeNodesDisagree",
        fires: &[
            ("mtuscope_build_info{vantage=\"node\",NODE}", "1x60"),
            ("mtuscope_build_info{vantage=\"node\",OTHER}", "1x60"),
            ("mtuscope_path_min_mtu_bytes{plane=\"underlay\",family=\"ipv4\",NODE}", "1500x60"),
            ("mtuscope_path_min_mtu_bytes{plane=\"underlay\",family=\"ipv4\",OTHER}", "1400x32 1500x30"),
        ],
        minute: 30,
        resolved: 38,
        near: &[
            ("mtuscope_build_info{vantage=\"node\",NODE}", "1x60"),
            ("mtuscope_build_info{vantage=\"node\",OTHER}", "1x60"),
            ("mtuscope_path_min_mtu_bytes{plane=\"underlay\",family=\"ipv4\",NODE}", "1500x60"),
            ("mtuscope_path_min_mtu_bytes{plane=\"underlay\",family=\"ipv4\",OTHER}", "1400x60"),
            ("mtuscope_finding{code=\"path-limited\",severity=\"warning\",subject=\"master-1\",OTHER}", "1x60"),
        ],
        labels: PLACE,
        summary: "underlay paths by ipv4 differ by 100 B between nodes, and nothing explains it",
    },
];

const OTHER: &str = "job=\"mtuscope/mtuscope\",namespace=\"mtuscope\",pod=\"mtuscope-q4m8z\",instance=\"10.0.0.12:9747\",node=\"master-2\"";

pub(super) fn cases() -> Vec<Case> {
    ALL.iter()
        .flat_map(|watch| {
            let told = TOLD.iter().find(|told| told.name == watch.name);
            told.map(|told| [stands(watch, told), near_miss(watch, told)]).into_iter().flatten()
        })
        .collect()
}

fn given(case: Case, series: &[(&str, &str)]) -> Case {
    series.iter().fold(case, |case, (series, values)| {
        case.series(series.replace("NODE", TARGET).replace("OTHER", OTHER), *values)
    })
}

fn stands(watch: &'static Watch, told: &Told) -> Case {
    let rule = (watch.name, watch.severity);
    let fired = Fired {
        severity: watch.severity,
        labels: told.labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        summary: told.summary.to_owned(),
        description: description(watch, "master-1:9747"),
        anchor: watch.anchor,
    };
    given(Case::new(watch.anchor), told.fires)
        .proof(Kind::NearMiss, watch.minutes - 1, rule, &[])
        .proof(Kind::Fires, told.minute, rule, &[fired])
        .proof(Kind::Resolves, told.resolved, rule, &[])
}

fn near_miss(watch: &'static Watch, told: &Told) -> Case {
    let rule = (watch.name, watch.severity);
    given(Case::new(format!("{}: near miss", watch.anchor)), told.near)
        .proof(Kind::NearMiss, told.minute, rule, &[])
        .proof(Kind::NearMiss, told.minute + 3, rule, &[])
}

pub(super) fn description(watch: &Watch, agent: &str) -> String {
    let last = first(watch.look[0].run, agent);
    // One that is down has no report to give.
    if watch.recorded.is_some() && watch.anchor != "agent-down" {
        format!("{}{last}", watch.meaning)
    } else {
        format!("{}\nFirst: {}", watch.meaning, watch.look[0].run)
    }
}
