//! The agents themselves: who does not report, or does not see.
//!
//! None of these says that a packet is lost, so none is critical. What a few nodes have is told by node, what more have is
//! told once. What some configurations never have (a source that may not be read, a check that cannot be concluded there)
//! is no news: only what was there and is gone is told, and not for ever.
//!
//! Each has an entry in the runbook, which is written from [`ALL`] as those of the codes are from the catalogue.

use super::expression::{NODE, PLACE, TARGET, UP, any_of, by_node, each_or_many};
use super::findings::{NODES, OF_PEER, SEEN, is_of_peer};
use super::view::{LEAST, MOST};
use super::{AlertRule, Group, Pace, Plain, Recording, Rule, Span, text};
use crate::checks::{ALL as CHECKS, Area, Look};
use crate::report::Severity;

/// One alert about agents, and its entry in the runbook.
#[derive(Debug)]
pub struct Watch {
    /// CamelCase, prefix `Mtuscope`.
    pub name: &'static str,
    /// Anchor in the runbook.
    pub anchor: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Minutes that it must hold.
    pub minutes: u32,
    /// The condition by node, as a recorded series; absent where it is about no node.
    pub recorded: Option<&'static str>,
    /// A label that it has beside the node's.
    pub label: &'static str,
    /// PromQL of the condition; every value is above 0.
    pub condition: fn(Pace) -> String,
    /// A few words.
    pub title: &'static str,
    /// The same of one node, or of the whole: the end of a line, with the value.
    pub one: &'static str,
    /// What it means and whom it hurts.
    pub meaning: &'static str,
    /// What looks like it and is left alone on purpose.
    pub quiet: &'static str,
    /// How to look by hand.
    pub look: &'static [Look],
    /// What to do.
    pub fix: &'static [&'static str],
}

/// Every alert about agents.
pub static ALL: &[Watch] = &[
    Watch {
        name: "MtuscopeAgentsAbsent",
        anchor: "agents-absent",
        severity: Severity::Warning,
        minutes: 15,
        recorded: None,
        label: "",
        condition: |_| "absent(mtuscope_build_info)".into(),
        title: "no agent is scraped",
        one: "no mtuscope agent is scraped",
        meaning: "Prometheus has no series of any agent, so no node is watched and none of the other alerts can fire.",
        quiet: "several clusters in one Prometheus of which one has none left; agents that are down are told by node",
        look: &[
            Look { run: "kubectl -n mtuscope get pods -o wide", see: "no pods, or none that are ready" },
            Look {
                run: "curl -sG http://PROMETHEUS:9090/api/v1/targets --data-urlencode state=active",
                see: "no target of mtuscope: the PodMonitor is not selected, or the annotations are not looked for",
            },
        ],
        fix: &[
            "If there are no pods: `kubectl -n mtuscope describe daemonset mtuscope`, which says what refuses them.",
            "If pods run: see that the Prometheus selects the PodMonitor (its `podMonitorSelector` and \
             `podMonitorNamespaceSelector`), or use `components/prometheus-annotations`.",
        ],
    },
    Watch {
        name: "MtuscopeAgentDown",
        anchor: "agent-down",
        severity: Severity::Warning,
        minutes: 10,
        recorded: Some("node:mtuscope_up:down"),
        label: "",
        condition: |_| {
            let down = by_node("count", "", &format!("({UP}) == 0"));
            let unreachable = format!("{OF_PEER}{{code=\"peer-unreachable\"}}");
            format!("{down}\nunless on ({NODE}) label_replace({unreachable}, \"node\", \"$1\", \"subject\", \"(.+)\")")
        },
        title: "agent cannot be scraped",
        one: "{{ $value }} of its agents cannot be scraped",
        meaning: "The agent is there and does not answer Prometheus, so nothing new is known of this node. Other nodes \
                  still measure the way to it.",
        quiet: "a node that other nodes do not reach either is told as that; one that left the cluster is no target; a \
                roll-out is over in less time",
        look: &[
            Look {
                run: "kubectl -n mtuscope get pods -o wide --field-selector spec.nodeName=NODE",
                see: "not ready, or restarted",
            },
            Look { run: "kubectl -n mtuscope logs POD --previous", see: "why it ended" },
            Look { run: "curl -sv http://NODE:9747/livez", see: "refused: it does not run; no answer: a filter" },
        ],
        fix: &[
            "If it ends again and again, its log's last line names the configuration's line or the right that is missing.",
            "If it answers on the node and not to Prometheus, let TCP 9747 through from there, or give the scrape the \
             credentials that `web.config_file` asks for.",
        ],
    },
    Watch {
        name: "MtuscopeRoundOverdue",
        anchor: "round-overdue",
        severity: Severity::Warning,
        minutes: 5,
        recorded: Some("node:mtuscope_round_overdue_seconds:max"),
        label: "",
        condition: overdue,
        title: "rounds do not end",
        one: "no round has ended for {{ $value | humanizeDuration }}",
        meaning: "The agent answers, and has not looked at its node for more than five intervals. Its findings and \
                  measurements are as old.",
        quiet: "a clock that differs from Prometheus's: a round that ended within the last minutes is seen as such; an \
                agent that was started just now",
        look: &[
            Look { run: "kubectl -n mtuscope logs POD --since=30m", see: "what it waits for" },
            Look {
                run: "kubectl -n mtuscope top pod POD",
                see: "no processor time: it hangs; a whole one: it is held up",
            },
            Look {
                run: "curl -s http://NODE:9747/metrics | grep -E 'mtuscope_(round_duration|source_duration)'",
                see: "a source that takes long",
            },
        ],
        fix: &[
            "Take a CPU limit away, or raise it: the manifests set none.",
            "Restart it: `kubectl -n mtuscope delete pod POD`. If it hangs again, its log and `curl NODE:9747/report` belong in an issue.",
        ],
    },
    Watch {
        name: "MtuscopeChecksNotConcluded",
        anchor: "checks-not-concluded",
        severity: Severity::Info,
        minutes: 60,
        recorded: Some("node:mtuscope_check_not_concluded:more"),
        label: "",
        condition: not_concluded,
        title: "checks that could look no longer can",
        one: "{{ $value }} checks that could look no longer can",
        meaning: "More checks could not look for an hour than at the best time of the last six hours. What they judge is \
                  neither found nor cleared meanwhile: what was found stays, and what is new is missed.",
        quiet: "checks that never could look on this node (a right not granted, files not mounted, a CNI that has no such \
                thing); checks of paths and those that compare nodes, which wait for others; a node that has any finding, \
                which may be why; after six hours it is no news any more",
        look: &[
            Look {
                run: "curl -s 'http://NODE:9747/report?format=text'",
                see: "\"not concluded\" names each and the reason",
            },
            Look { run: "curl -s http://NODE:9747/metrics | grep 'check_concluded.* 0'", see: "the codes" },
        ],
        fix: &[
            "The reason in the report names the source and what it needs; see also [source-failing](#source-failing).",
        ],
    },
    Watch {
        name: "MtuscopeSourceFailing",
        anchor: "source-failing",
        severity: Severity::Warning,
        minutes: 15,
        recorded: Some("node:mtuscope_source_success:failed"),
        label: "source",
        condition: |_| by_node("count", "source", "mtuscope_source_success == 0"),
        title: "a source of facts fails",
        one: "cannot read {{ $labels.source }}",
        meaning: "Reading a source of facts failed: not for a right that was never granted, but with an error. Checks that \
                  need it are not concluded.",
        quiet: "what is not mounted or not permitted, which the report lists",
        look: &[
            Look { run: "curl -s 'http://NODE:9747/report?format=text'", see: "\"not concluded\" has the error" },
            Look { run: "kubectl -n mtuscope logs POD --since=30m", see: "the same with its time" },
        ],
        fix: &[
            "`kubernetes`: see [peer-source-stale](#peer-source-stale).",
            "`probes`: the agent may not open its sockets, or the kernel refuses to send: see [probes-not-sent](#probes-not-sent).",
            "Anything else: the error names the file or the netlink request; a seccomp profile or a security module of the \
             machine that forbids it is logged by `journalctl -k`.",
        ],
    },
    Watch {
        name: "MtuscopeReloadFailed",
        anchor: "reload-failed",
        severity: Severity::Warning,
        minutes: 5,
        recorded: Some("node:mtuscope_config_last_reload:failed"),
        label: "",
        condition: |_| by_node("count", "", "mtuscope_config_last_reload_successful == 0"),
        title: "configuration refused",
        one: "the configuration was refused",
        meaning: "The configuration was changed to one that the agent refuses. It runs on with the one before, and would not \
                  start again with this one.",
        quiet: "",
        look: &[Look { run: "kubectl -n mtuscope logs POD --since=1h", see: "each problem with its file and line" }],
        fix: &[
            "Correct the file that was edited in place, on the machine or by `kubectl edit configmap`; the agent takes it up \
             within a minute or two, without a restart.",
            "What kustomize applies is another ConfigMap and rolls out: one that is refused ends the new pods and stops at \
             the first tenth of the nodes, and `kubectl -n mtuscope rollout undo daemonset/mtuscope` takes it back.",
        ],
    },
    Watch {
        name: "MtuscopeProbesNotSent",
        anchor: "probes-not-sent",
        severity: Severity::Warning,
        minutes: 15,
        recorded: Some("node:mtuscope_probe_errors:not_sent"),
        label: "",
        condition: not_sent,
        title: "the kernel refuses to send probes",
        one: "{{ $value | humanizePercentage }} of probes cannot be sent",
        meaning: "More than a twentieth of the agent's packets were refused by its own kernel, and no finding of this node \
                  explains it. Paths are measured late or not at all.",
        quiet: "a node that has any finding: a link that is down or a missing route refuses packets too",
        look: &[
            Look { run: "kubectl -n mtuscope logs POD --since=30m", see: "the errno" },
            Look {
                run: "nft list ruleset",
                see: "a rule in an output hook that drops or rejects ICMP or the tunnel's port",
            },
            Look { run: "ip route get ADDRESS", see: "`prohibit`, `blackhole` or `unreachable`" },
        ],
        fix: &["Let ICMP out, and UDP to the tunnel's port; `EPERM` is a filter, `ENOBUFS` a full queue of the NIC."],
    },
    Watch {
        name: "MtuscopeNetlinkOverruns",
        anchor: "netlink-overruns",
        severity: Severity::Info,
        minutes: 30,
        recorded: Some("node:mtuscope_netlink_overruns:increase1h"),
        label: "",
        condition: |pace| {
            let increase = format!("increase(mtuscope_netlink_overruns_total[{}])", pace.minutes(60));
            format!("{} > 12", by_node("sum", "", &increase))
        },
        title: "the kernel tells of changes faster than they are taken",
        one: "{{ $value | printf \"%.0f\" }} netlink overruns in an hour",
        meaning: "Links, routes or neighbours change in such bursts that messages are lost. Nothing is missed, since \
                  everything is read anew each time; that costs processor time on a node with many pods.",
        quiet: "a burst now and then, as when a node starts its pods",
        look: &[
            Look { run: "timeout 10 ip monitor link route neigh | wc -l", see: "thousands of lines" },
            Look { run: "timeout 10 ip monitor link route neigh", see: "what it is that changes all the time" },
        ],
        fix: &["Find what changes: a routing daemon that flaps, a link that goes up and down, pods in a crash loop."],
    },
    Watch {
        name: "MtuscopeSeriesSuppressed",
        anchor: "series-suppressed",
        severity: Severity::Info,
        minutes: 15,
        recorded: Some("node:mtuscope_series_suppressed:max"),
        label: "",
        condition: |_| by_node("max", "", "mtuscope_series_suppressed > 0"),
        title: "more is wrong than the metrics name",
        one: "{{ $value }} series are left out of the metrics",
        meaning: "A limit of the configuration leaves out series of findings or peers. Each code that is found has a series \
                  all the same, the worst first; which peers or links the rest are is in the report alone.",
        quiet: "",
        look: &[Look {
            run: "curl -s http://NODE:9747/report | jq '[.findings[].code] | group_by(.) | map({(.[0]): length}) | add'",
            see: "which codes have how many",
        }],
        fix: &["Mend what the other alerts name first. `metrics.findings` and `metrics.named_peers` raise the limits."],
    },
    Watch {
        name: "MtuscopeNodesDisagree",
        anchor: "nodes-disagree",
        severity: Severity::Warning,
        minutes: 30,
        recorded: None,
        label: "",
        condition: |_| {
            let areas = [Area::Links, Area::Paths, Area::Overlay];
            let explains = CHECKS.iter().map(|check| check.entry);
            let explains = explains.filter(|entry| areas.contains(&entry.area) || entry.code.contains("mtu"));
            format!(
                "max by ({PLACE}, plane, family) ({MOST}{{vantage=\"node\"}} - {LEAST}) > 0\nunless on ({PLACE}) {NODES}{{code=~\"{}\"}}",
                any_of(explains.map(|entry| entry.code))
            )
        },
        title: "nodes disagree about what fits",
        one: "{{ $labels.plane }} paths by {{ $labels.family }} differ by {{ $value }} B between nodes, and nothing explains it",
        meaning: "The smallest path MTU that nodes measure differs between nodes, every path carries what its own node \
                  expects, and no agent finds anything wrong: the nodes expect different sizes. Packets of the larger size \
                  will not fit everywhere.",
        quiet: "any difference that a finding explains: that alerts by its own name",
        look: &[
            Look {
                run: "kubectl -n mtuscope exec ds/mtuscope -- /mtuscope cluster --config /etc/mtuscope/config.yaml",
                see: "rows with another number",
            },
            Look { run: "ip route get ADDRESS", see: "`mtu` on the nodes of those rows: a route that was given one" },
        ],
        fix: &[
            "If the sizes are meant to be the same, give all nodes the same link and route MTU.",
            "If they are meant to differ (a pool with jumbo frames), say what all share in `expect.underlay_mtu`.",
        ],
    },
];

/// Minutes between two looks at the agents.
const STEP: u32 = 2;

/// Rules about the agents.
pub fn group(pace: Pace) -> Group {
    let recorded = ALL.iter().filter_map(|watch| watch.recording(pace)).map(Rule::Recording);
    let rules = concluding(pace).map(Rule::Recording).into_iter().chain(recorded);
    Group {
        name: "mtuscope-agents",
        purpose: "Whether the agents report and see.",
        interval: Some(pace.minutes(STEP)),
        rules: rules.chain(ALL.iter().map(|watch| Rule::Alert(watch.alert(pace)))).collect(),
    }
}

impl Watch {
    fn recording(&self, pace: Pace) -> Option<Recording> {
        let expr = (self.condition)(pace);
        self.recorded.map(|name| Recording { name, what: self.title, expr })
    }

    fn alert(&self, pace: Pace) -> AlertRule {
        AlertRule {
            name: self.name,
            severity: self.severity,
            expr: match self.recorded {
                Some(series) => each_or_many(&self.held(series, pace), self.label),
                None => (self.condition)(pace),
            },
            hold: if self.recorded.is_some() { Span(0) } else { pace.minutes(self.minutes) },
            keep: pace.minutes(5),
            summary: self.summary(),
            description: self.description(true),
            plain: Plain { summary: self.summary(), description: self.description(false) },
            anchor: self.anchor,
        }
    }

    /// Where the condition has held as long as it has to, but for a moment. It is asked here and not by `for`: nodes that are
    /// told one by one and as many from one moment to the next would never have held as either, and of a roll-out some are
    /// always down, none of them for long. What was recorded is looked at every other minute, however often the server
    /// evaluates.
    fn held(&self, series: &str, pace: Pace) -> String {
        let (step, window) = (pace.minutes(STEP), pace.minutes(self.minutes.next_multiple_of(STEP) + 2 * STEP));
        let least = self.minutes.div_ceil(STEP) + 1;
        format!("({series} and count_over_time({series}[{window}:{step}]) >= {least})")
    }

    fn summary(&self) -> String {
        let Self { one, title, .. } = self;
        if self.recorded.is_none() {
            return (*one).to_owned();
        }
        let many = if self.label.is_empty() { (*title).to_owned() } else { (*one).to_owned() };
        format!(
            "{{{{ if $labels.node }}}}{{{{ $labels.node }}}}: {one}{{{{ else }}}}{{{{ $value }}}} nodes: {many}{{{{ end }}}}"
        )
    }

    fn description(&self, queries: bool) -> String {
        let names = self.recorded.filter(|_| queries).map(|series| text::nodes(series, self.label)).unwrap_or_default();
        let first = self.look.first().map(|look| format!("\nFirst: {}", look.run)).unwrap_or_default();
        // One that is down has no report to give.
        let asked = self.recorded.is_some() && self.anchor != "agent-down";
        let report = if asked { format!("\n{}", text::REPORT) } else { String::new() };
        format!("{}{names}{first}{report}", self.meaning)
    }
}

fn overdue(pace: Pace) -> String {
    let (ended, interval) = ("mtuscope_last_round_timestamp_seconds", "mtuscope_probe_interval_seconds");
    let of_agents = format!("process_start_time_seconds and on ({TARGET}) mtuscope_build_info");
    let late = format!(
        "(time() - {ended} > 5 * {interval} + 60 unless changes({ended}[{}]) > 0)\
         \n  or (time() - ({of_agents} unless on ({TARGET}) {ended}) > 600)",
        pace.minutes(10)
    );
    by_node("max", "", &late)
}

/// Checks that another's silence keeps from looking: those of paths, and those that compare nodes.
fn of_others() -> impl Iterator<Item = &'static str> {
    let all = CHECKS.iter().filter(|check| is_of_peer(check) || check.entry.area == Area::Cluster);
    all.map(|check| check.entry.code)
}

/// How many checks could not look, on each node.
const NOT_CONCLUDED: &str = "node:mtuscope_check_not_concluded:count";

fn concluding(_: Pace) -> [Recording; 1] {
    [Recording {
        name: NOT_CONCLUDED,
        what: "Checks of the node alone that could not look.",
        expr: by_node(
            "sum",
            "job, instance",
            &format!("mtuscope_check_concluded{{code!~\"{}\"}} == bool 0", any_of(of_others())),
        ),
    }]
}

/// By agent: a node's twin that goes on while its agent restarts is not the best that the node ever was.
fn not_concluded(pace: Pace) -> String {
    let more = format!("{NOT_CONCLUDED} - min_over_time({NOT_CONCLUDED}[{}]) > 0", pace.minutes(360));
    format!("max by ({NODE}) ({more})\nunless on ({NODE}) {SEEN}")
}

/// Packets of any kind that were refused, of those that were to be sent.
fn not_sent(pace: Pace) -> String {
    let increase = |counter: &str| by_node("sum", "", &format!("increase({counter}[{}])", pace.minutes(15)));
    let refused = increase("mtuscope_probe_errors_total{reason=\"send_failed\"}");
    let sent = |counter: &str| format!("({} or 0 * {refused})", increase(counter));
    format!(
        "{refused}\n/ on ({NODE})\n({refused} + on ({NODE}) {} + on ({NODE}) {}) > 0.05\nunless on ({NODE}) {SEEN}",
        sent("mtuscope_probe_packets_sent_total"),
        sent("mtuscope_search_packets_total")
    )
}
