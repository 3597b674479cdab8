//! One node: what is found, the MTUs from NIC to pod, what could not be looked at, and the agent itself.

use super::Trouble::{BlackHole, Misconfigured, NicDown, Slow, Stopped};
use super::grafana::Dashboard;
use super::panels::{Layout, New, bars, column, graph, query, stat, table, timeline};
use super::{NODE, Proof, cluster, path, variables, words};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    let description = "One node as its agents see it: the node agent and, where there is one, the agent in a pod. Without \
                       a label node choose by instance; of five agents at most.";
    Layout::of(variables::dashboard_of_a_node(NODE, "mtuscope / Node", description, Vec::new()))
        .row("Now", 4, [(9, state()), (6, cluster::findings_now()), (3, cluster::not_concluded()), (6, last_round())])
        .row("Found", 9, [(15, cluster::findings()), (9, blind())])
        .row("MTUs from NIC to pod", 10, [(14, ladder()), (10, pods())])
        .more(8, [(8, links()), (9, tunnels()), (7, settings())])
        .row("Paths", 10, [(24, path::peers())])
        .row("Kernel", 8, [(8, events()), (8, neighbours()), (8, connections())])
        .row("The agent", 8, [(12, sources()), (8, durations()), (4, configuration())])
        .more(8, [(8, probes()), (8, rounds()), (8, errors())])
        .more(7, [(6, processor()), (6, memory()), (6, known_peers()), (6, suppressed())])
        .done()
}

fn state() -> New {
    let description = "The worst path by plane. A plane that this node has no path in is not shown.";
    stat("Worst path", description, [query("STATE FEW", Proof::differs(BlackHole)).named("{{plane}}, {{job}}")])
        .words(words::states())
}

fn last_round() -> New {
    let description = "How long ago the last round of measurements ended. Everything shown here is as old as that.";
    let age =
        query("time() - max by (WHO) (mtuscope_last_round_timestamp_seconds{SCOPE}) FEW", Proof::above(Slow, 10.0));
    stat("Last round", description, [age.named("{{job}}")]).unit("s").words(words::unknown())
}

fn blind() -> New {
    let description = "Checks that could not look at all that they judge. The agent's report says why.";
    let rows = query(
        "topk($rows, max by (WHO, code) (mtuscope_check_concluded{SCOPE} == bool 0) > 0)",
        Proof::differs(Misconfigured).either(),
    );
    table("Not concluded", description, [rows]).rows_when_wrong().columns([
        column("code", "Code").smallest_first(),
        column("node", "Node"),
        column("job", "Job"),
    ])
}

fn ladder() -> New {
    let description = "MTUs in the order in which a packet meets them. A tunnel, with what it adds, has to fit into what is \
                       above it; measured paths stand where they matter. Recommended leaves out paths that a finding blames.";
    let link = |role: &str| {
        let expr = format!("max by (WHO, link) (mtuscope_link_mtu_bytes{{SCOPE, role=\"{role}\"}}) FEW");
        query(&expr, Proof::differs(Misconfigured))
    };
    let worst = |plane: &str| {
        let expr = format!("min by (WHO, family) (mtuscope_path_min_mtu_bytes{{SCOPE, plane=\"{plane}\"}}) FEW");
        query(&expr, Proof::differs(BlackHole))
    };
    let recommended =
        query("min by (WHO, link) (mtuscope_recommended_overlay_mtu_bytes{SCOPE}) FEW", Proof::differs(Misconfigured));
    let queries = [
        link("underlay").named("underlay {{link}} {{node}}"),
        link("bridge").named("bridge {{link}} {{node}}"),
        worst("underlay").named("worst path between nodes {{family}} {{job}} {{node}}"),
        link("tunnel").named("tunnel {{link}} {{node}}"),
        worst("overlay").named("worst path through tunnels {{family}} {{job}} {{node}}"),
        worst("pod").named("worst path to pods {{family}} {{job}} {{node}}"),
        recommended.named("recommended for {{link}} {{node}}"),
    ];
    bars("Ladder", description, queries).unit("none").words(words::unknown())
}

fn pods() -> New {
    let description = "Links of pods by their MTU, at the node's end and at the pod's. More than one size is a rollout or \
                       pods that were not restarted.";
    let counts = query("max by (WHO, mtu, end) (mtuscope_pod_links{SCOPE}) FEW", Proof::differs(Misconfigured));
    bars("Pod links by MTU", description, [counts.named("{{mtu}} bytes, {{end}} end {{node}}")]).words(words::unknown())
}

fn links() -> New {
    let description = "Links that tunnels or paths rest on. Up means set up and not without carrier.";
    let mtu = query("max by (WHO, link, role) (mtuscope_link_mtu_bytes{SCOPE}) FEW", Proof::differs(Misconfigured));
    let up = query("max by (WHO, link, role) (mtuscope_link_up{SCOPE}) FEW", Proof::differs(NicDown));
    table("Links", description, [mtu, up]).columns([
        column("link", "Link"),
        column("role", "Role"),
        column("Value #A", "MTU"),
        column("Value #B", "State").words(words::either("down", "up")).smallest_first(),
        column("node", "Node"),
    ])
}

fn tunnels() -> New {
    let description = "Tunnels, what they add to a packet, and what is left of the lower link's MTU; less than 0 does not \
                       fit.";
    let info = query("max by (WHO, link, kind, id, port, df) (mtuscope_tunnel_info{SCOPE}) FEW", Proof::fewer(Stopped));
    let overhead = query("max by (WHO, link) (mtuscope_tunnel_overhead_bytes{SCOPE}) FEW", Proof::fewer(Stopped));
    let headroom =
        query("min by (WHO, link) (mtuscope_tunnel_headroom_bytes{SCOPE}) FEW", Proof::differs(Misconfigured));
    table("Tunnels", description, [info, overhead, headroom]).columns([
        column("link", "Tunnel"),
        column("kind", "Kind"),
        column("id", "Id"),
        column("port", "Port"),
        column("df", "DF"),
        column("Value #B", "Overhead"),
        column("Value #C", "Headroom").colours(words::not_negative()).smallest_first(),
        column("node", "Node"),
    ])
}

fn settings() -> New {
    let description =
        "Sysctls as they take effect. Without a link it is the machine's own; pods stands for all pods' links.";
    let rows = query("max by (WHO, name, link) (mtuscope_setting{SCOPE}) FEW", Proof::differs(Misconfigured));
    table("Settings", description, [rows]).columns([
        column("name", "Setting").smallest_first(),
        column("link", "Link"),
        column("Value", "Value"),
        column("node", "Node"),
    ])
}

fn events() -> New {
    let description = "Counters of the kernel that bear on packets of full size: fragments that failed, wrong checksums, \
                       what rp_filter and connection tracking dropped.";
    let rate = query(
        "sum by (WHO, name) (rate(mtuscope_kernel_events_total{SCOPE}[$__rate_interval])) FEW",
        Proof::above(Misconfigured, 0.5),
    );
    graph("Kernel events", description, [rate.named("{{name}} {{node}}")]).unit("cps")
}

fn neighbours() -> New {
    let description = "Neighbour entries that garbage collection may take, of the most that the machine keeps. Beyond it \
                       new neighbours are refused.";
    let share = query(
        "max by (WHO, family) (mtuscope_neighbour_entries{SCOPE} / mtuscope_neighbour_limit{SCOPE}) FEW",
        Proof::fewer(Stopped),
    );
    graph("Neighbour table", description, [share.named("{{family}} {{node}}")])
        .share()
        .colours(words::filling(0.8, 0.95))
}

fn connections() -> New {
    let description =
        "Connections that the kernel tracks, of the most that it may. Empty where the module is not loaded.";
    let share = query(
        "max by (WHO) (mtuscope_conntrack_entries{SCOPE} / mtuscope_conntrack_limit{SCOPE}) FEW",
        Proof::fewer(Stopped),
    );
    graph("Tracked connections", description, [share.named("{{node}} {{job}}")])
        .share()
        .colours(words::filling(0.8, 0.95))
}

fn sources() -> New {
    let description = "Whether each source of facts could be read. What rests on one that could not is not concluded.";
    let read = query("min by (WHO, source) (mtuscope_source_success{SCOPE}) FEW", Proof::differs(Misconfigured));
    timeline("Sources of facts", description, [read.named("{{source}} {{job}} {{node}}")])
        .words(words::either("cannot be read", "read"))
}

fn durations() -> New {
    let description = "How long the sources took that grow with pods or peers.";
    let took = query("max by (WHO, source) (mtuscope_source_duration_seconds{SCOPE}) FEW", Proof::fewer(Stopped));
    graph("Time to read sources", description, [took.named("{{source}} {{job}} {{node}}")]).unit("s")
}

fn configuration() -> New {
    let description = "Whether the configuration file was good the last time it was read. If it was not, the agent runs on \
                       with the one before.";
    let good = query("min by (WHO) (mtuscope_config_last_reload_successful{SCOPE}) FEW", Proof::differs(Misconfigured));
    stat("Configuration", description, [good.named("{{job}}")]).words(words::either("refused", "taken up"))
}

fn probes() -> New {
    let description = "Packets that this agent sends to measure: reference probes, and those of path-MTU searches. It keeps \
                       below the rate that is configured.";
    let reference = query(
        "sum by (WHO) (rate(mtuscope_probe_packets_sent_total{SCOPE}[$__rate_interval])) FEW",
        Proof::below(Slow, 0.1),
    );
    let searching = query(
        "sum by (WHO) (rate(mtuscope_search_packets_total{SCOPE}[$__rate_interval])) FEW",
        Proof::below(Slow, 0.1),
    );
    let queries = [reference.named("reference probes {{job}} {{node}}"), searching.named("searches {{job}} {{node}}")];
    graph("Packets sent", description, queries).unit("pps")
}

fn rounds() -> New {
    let description = "How long a round took, and how far apart rounds are to start.";
    let took = query("max by (WHO) (mtuscope_round_duration_seconds{SCOPE}) FEW", Proof::fewer(Stopped));
    let interval = query("max by (WHO) (mtuscope_probe_interval_seconds{SCOPE}) FEW", Proof::differs(Slow));
    graph("Rounds", description, [took.named("took {{job}} {{node}}"), interval.named("interval {{job}} {{node}}")])
        .unit("s")
}

fn errors() -> New {
    let description = "Packets and messages that failed, by reason; transfers through a tunnel that stalled; times that the \
                       kernel told of changes faster than they were read.";
    let rate = |metric: &str, by: &str| {
        let expr = format!("sum by (WHO{by}) (rate({metric}{{SCOPE}}[$__rate_interval])) FEW");
        query(&expr, Proof::fewer(Stopped))
    };
    let queries = [
        rate("mtuscope_probe_errors_total", ", reason").named("{{reason}} {{job}} {{node}}"),
        rate("mtuscope_transfer_stalls_total", "").named("stalled transfers {{job}} {{node}}"),
        rate("mtuscope_netlink_overruns_total", "").named("netlink overruns {{job}} {{node}}"),
    ];
    graph("Errors", description, queries).unit("cps")
}

fn processor() -> New {
    let description = "Processor time of the agent, as a share of one core.";
    let share = query(
        "sum by (WHO) (rate(process_cpu_seconds_total{SCOPE}[$__rate_interval]) OUR_TARGETS) FEW",
        Proof::fewer(Stopped),
    );
    graph("Processor", description, [share.named("{{job}} {{node}}")]).unit("percentunit")
}

fn memory() -> New {
    let description = "Resident memory of the agent.";
    let resident = query("max by (WHO) (process_resident_memory_bytes{SCOPE} OUR_TARGETS) FEW", Proof::fewer(Stopped));
    graph("Memory", description, [resident.named("{{job}} {{node}}")]).unit("bytes")
}

fn known_peers() -> New {
    let description = "Peers that each source yields: the kernel's tables, the configuration, the Kubernetes API.";
    let peers = query("max by (WHO, source) (mtuscope_peers{SCOPE}) FEW", Proof::fewer(Stopped));
    graph("Peers", description, [peers.named("{{source}} {{job}} {{node}}")])
}

fn suppressed() -> New {
    let description =
        "Series that were left out to stay within bounds: named peers, findings, links. Sums still count all.";
    let count = query("max by (WHO) (mtuscope_series_suppressed{SCOPE}) FEW", Proof::fewer(Stopped));
    graph("Series left out", description, [count.named("{{job}} {{node}}")])
}
