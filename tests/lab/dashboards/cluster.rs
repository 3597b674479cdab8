//! All nodes: who is not well, who is not heard, and since when.

use super::Trouble::{BlackHole, Misconfigured, NicDown, Slow, Stopped};
use super::grafana::Dashboard;
use super::panels::{Layout, New, bars, column, graph, query, stat, table, timeline};
use super::{CLUSTER, Proof, scope, variables, words};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    let description = "Whether packets of full size arrive everywhere, and where not: nodes that deviate first.";
    Layout::of(variables::dashboard(CLUSTER, "mtuscope / Cluster", description, Vec::new()))
        .row("Now", 4, [(5, agents()), (5, missing()), (5, findings_now()), (9, paths_now())])
        .more(4, [(12, oldest_now()), (6, not_concluded()), (6, versions())])
        .row("Nodes, the worst first", 11, [(24, nodes())])
        .more(10, [(14, findings()), (10, alerts())])
        .row("Over time", 9, [(24, history())])
        .more(8, [(8, not_clear()), (8, by_code()), (8, loss())])
        .row("Coverage", 9, [(10, oldest()), (7, blind()), (7, unread())])
        .done()
}

fn agents() -> New {
    let description = "Agents that Prometheus heard at its last scrape. Node agents see a node's links and paths, pod \
                       agents what a pod of that node sees.";
    let heard = query("count by (vantage) (mtuscope_build_info{SCOPE})", Proof::differs(Stopped));
    stat("Agents heard", description, [heard.named("{{vantage}} agents")]).words(words::unknown())
}

fn missing() -> New {
    let description = "Targets that do not answer a scrape, and nodes that some agent knows as a peer and no node agent \
                       reports from. What happens on such nodes is not known, whatever the other panels say. Nodes that are \
                       chosen above are not looked at: all are counted.";
    let silent = query("count(up{JOBS} == 0 OUR_JOBS) or 0 * count(up{JOBS} OUR_JOBS)", Proof::differs(Stopped));
    let absent = query(
        "sum(clamp_min(1 + max by (cluster, job) (mtuscope_peers{JOBS} \
         * on (WHO) group_left () max by (WHO) (mtuscope_build_info{JOBS, vantage=\"node\"})) \
         - count by (cluster, job) (mtuscope_build_info{JOBS, vantage=\"node\"}), 0))",
        Proof::differs(Stopped),
    );
    stat("Agents missing", description, [silent.named("do not answer"), absent.named("nodes without one")])
        .words(words::zero("none"))
        .colours(words::above(1.0, words::CRITICAL))
}

/// Findings by severity, of whoever is chosen.
pub(super) fn findings_now() -> New {
    let description = "Findings that are no consequence of another, by severity. 0 is said only where somebody looked.";
    let of = |severity: &str, trouble| {
        query(&format!("sum(mtuscope_findings{{SCOPE, severity=\"{severity}\"}})"), Proof::differs(trouble))
    };
    let queries = [
        of("critical", BlackHole).named("critical"),
        of("warning", Misconfigured).named("warning"),
        of("info", BlackHole).named("info"),
    ];
    stat("Findings", description, queries).words(words::zero("0")).colours(words::above(1.0, words::WARNING))
}

fn paths_now() -> New {
    let description = "Paths by verdict, over all agents. Clear: full size passes. Limited: less passes, and senders are \
                       told. Black hole: large packets vanish and nobody says so. Unreachable: nothing passes. Unknown: \
                       nothing could be concluded, which is not clear.";
    let all = query("sum by (verdict) (mtuscope_paths{SCOPE})", Proof::differs(BlackHole));
    stat("Paths by verdict", description, [all.named("{{verdict}}")]).words(words::unknown())
}

fn oldest_now() -> New {
    let description = "Age of the path result that is oldest, by plane: nothing older is claimed. It grows when an agent \
                       falls behind; README says how soon every pair is covered.";
    let age = query(
        "time() - min by (plane) (mtuscope_oldest_path_result_timestamp_seconds{SCOPE})",
        Proof::above(Slow, 10.0),
    );
    stat("Oldest path result", description, [age.named("{{plane}}")]).unit("s").words(words::unknown())
}

/// How many checks could not conclude, of whoever is chosen.
pub(super) fn not_concluded() -> New {
    let description = "Checks that could not look at all that they judge, summed over agents. They are neither quiet nor \
                       loud; an agent's report says why.";
    let count = query("sum(mtuscope_check_concluded{SCOPE} == bool 0)", Proof::differs(Misconfigured));
    stat("Checks not concluded", description, [count.named("checks")])
        .words(words::zero("none"))
        .colours(words::above(1.0, words::NOTICE))
}

fn versions() -> New {
    let description = "Agents by version. Two versions side by side are a rollout.";
    let count = query("count by (version, vantage) (mtuscope_build_info{SCOPE})", Proof::differs(Stopped));
    table("Versions", description, [count]).columns([
        column("version", "Version"),
        column("vantage", "Of"),
        column("Value", "Agents").largest_first(),
    ])
}

fn nodes() -> New {
    let description = "The worst path of each agent by plane, its worst finding, and how many there are. The worst come \
                       first, $rows at most. A plane that a node has no path in says so. What an agent finds is not known \
                       before its first round has ended.";
    let plane = |plane| query(&format!("{} and on (WHO) WORST", by_agent(plane)), Proof::differs(BlackHole));
    let severity = query("SEVERITY and on (WHO) WORST", Proof::differs(BlackHole));
    let count = query(
        "(count by (WHO) (mtuscope_finding{SCOPE}) \
         or 0 * max by (WHO) (mtuscope_last_round_timestamp_seconds{SCOPE})) and on (WHO) WORST",
        Proof::differs(BlackHole),
    );
    let queries = [severity, plane("underlay"), plane("overlay"), plane("pod"), count];
    table("Node by plane", description, queries).columns([
        column("cluster", "Cluster"),
        column("node", "Node").leads_to(variables::to_node()),
        column("instance", "Instance").leads_to(variables::to_node()),
        column("job", "Job"),
        column("Value #A", "Worst finding").words(words::severities()).largest_first(),
        column("Value #B", "Underlay").words(words::states()),
        column("Value #C", "Overlay").words(words::states()),
        column("Value #D", "Pods").words(words::states()),
        column("Value #E", "Findings"),
    ])
}

/// The worst path in one plane, without the plane's label: each plane is a column.
fn by_agent(plane: &str) -> String {
    format!("max by (WHO) ({})", scope::state_of(plane))
}

/// Findings of whoever is chosen, the worst first.
pub(super) fn findings() -> New {
    let description = "What is found and is no consequence of another finding. `mtuscope checks CODE` on any node, or the \
                       runbook, says what a code means and how to mend it.";
    let rows = query(
        "topk($rows, max by (WHO, code, subject) (\
         3 * mtuscope_finding{SCOPE, severity=\"critical\"} \
         or 2 * mtuscope_finding{SCOPE, severity=\"warning\"} \
         or 1 * mtuscope_finding{SCOPE, severity=\"info\"}))",
        Proof::appears(BlackHole),
    );
    table("Findings", description, [rows]).rows_when_wrong().columns([
        column("Value", "Severity").words(words::severities()).largest_first(),
        column("code", "Code"),
        column("subject", "Subject"),
        column("node", "Node").leads_to(variables::to_node()),
        column("instance", "Instance").leads_to(variables::to_node()),
        column("job", "Job"),
        column("cluster", "Cluster"),
    ])
}

fn alerts() -> New {
    let description = "Alerts of mtuscope's rules that fire, as far as this Prometheus evaluates them. Empty as well where \
                       the rule file is not loaded.";
    // Numbers, by which the worst are kept: as texts severities come by the alphabet, and each alert counts 1.
    const FIRING: &str = "cluster=~\"$cluster\", alertname=~\"Mtuscope.*\", alertstate=\"firing\"";
    let of = |number: u8, severity: &str| format!("{number} * ALERTS{{{FIRING}, severity=\"{severity}\"}}");
    let rows = query(
        &format!(
            "topk($rows, max by (cluster, alertname, node, instance, code, subject) \
             ({} or {} or {} or 2.5 * ALERTS{{{FIRING}}}))",
            of(3, "critical"),
            of(2, "warning"),
            of(1, "info"),
        ),
        Proof::appears(BlackHole),
    );
    table("Alerts that fire", description, [rows]).rows_when_wrong().columns([
        column("Value", "Severity").words(words::severities_of_alerts()).largest_first(),
        column("alertname", "Alert"),
        column("node", "Node"),
        column("instance", "Instance"),
        column("code", "Code"),
        column("subject", "Subject"),
        column("cluster", "Cluster"),
    ])
}

fn history() -> New {
    let description = "The worst finding of the twenty agents that had most of them in the time shown. A gap is an agent \
                       that was not heard: nothing is known of it there.";
    let rows = query(
        "SEVERITY and on (WHO) topk(20, sum by (WHO) (count_over_time(mtuscope_finding{SCOPE, severity!=\"info\"}[$__range] \
         @ end())) or 0 * max by (WHO) (mtuscope_build_info{SCOPE} @ end()))",
        Proof::differs(BlackHole),
    );
    timeline("Worst finding by node", description, [rows.named("{{node}} {{instance}} {{job}}")])
        .words(words::severities())
        .coarse()
}

fn not_clear() -> New {
    let description = "Paths that are not clear, by verdict, over all agents.";
    let sums = query("sum by (verdict) (mtuscope_paths{SCOPE, verdict!=\"clear\"})", Proof::differs(BlackHole));
    graph("Paths that are not clear", description, [sums.named("{{verdict}}")]).coarse()
}

fn by_code() -> New {
    let description = "On how many agents each code is found: one node, or all of them.";
    let codes =
        query("topk(20, count by (code) (count by (WHO, code) (mtuscope_finding{SCOPE})))", Proof::appears(BlackHole));
    graph("Agents with a finding, by code", description, [codes.named("{{code}}")]).rows_when_wrong().coarse()
}

fn loss() -> New {
    let description = "Share of small reference probes that got no answer, by plane, over all agents.";
    let share = query(
        "sum by (plane) (rate(mtuscope_probe_packets_lost_total{SCOPE}[$__rate_interval])) \
         / sum by (plane) (rate(mtuscope_probe_packets_sent_total{SCOPE}[$__rate_interval]))",
        Proof::above(NicDown, 0.05),
    );
    graph("Loss", description, [share.named("{{plane}}")]).share()
}

fn oldest() -> New {
    let description = "Agents whose oldest path result is oldest, by plane.";
    let rows = query(
        "topk($rows, time() - min by (WHO, plane) (mtuscope_oldest_path_result_timestamp_seconds{SCOPE}))",
        Proof::above(Slow, 10.0),
    );
    table("Agents that fall behind", description, [rows]).columns([
        column("node", "Node").leads_to(variables::to_node()),
        column("instance", "Instance").leads_to(variables::to_node()),
        column("job", "Job"),
        column("plane", "Plane"),
        column("Value", "Age").unit("s").largest_first(),
        column("cluster", "Cluster"),
    ])
}

fn blind() -> New {
    let description = "Checks by the number of agents on which they could not conclude.";
    let codes =
        query("topk(15, sum by (code) (mtuscope_check_concluded{SCOPE} == bool 0))", Proof::differs(Misconfigured));
    bars("Checks not concluded, by code", description, [codes.named("{{code}}")])
}

fn unread() -> New {
    let description = "Sources of facts by the number of agents that could not read them the last time.";
    let sources =
        query("topk(15, sum by (source) (mtuscope_source_success{SCOPE} == bool 0))", Proof::differs(Misconfigured));
    bars("Sources that cannot be read", description, [sources.named("{{source}}")])
}
