//! MTUs by layer over all nodes: which sizes there are, and which nodes have another than most.

use super::Trouble::{BlackHole, Misconfigured, Stopped};
use super::grafana::Dashboard;
use super::panels::{Layout, New, column, graph, query, stat, table};
use super::{MTU, Proof, variables, words};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    let description = "From the wire to the pod: which MTUs there are in each layer, on how many nodes, and which nodes have \
                       another than most.";
    Layout::of(variables::dashboard(MTU, "mtuscope / MTU by layer", description, Vec::new()))
        .row("Smallest", 4, [(6, links()), (8, paths()), (5, recommended()), (5, headroom())])
        .row("Nodes that differ", 9, [(8, different()), (8, too_large()), (8, mixed())])
        .row("Sizes by layer", 9, [(8, link_sizes()), (8, pod_sizes()), (8, path_sizes())])
        .more(8, [(8, recommended_sizes()), (16, tunnels())])
        .row("Over time", 9, [(12, links_over_time()), (12, paths_over_time())])
        .done()
}

/// The smallest MTU that a node has in a layer.
const LAYER: &str = "min by (WHO, role) (mtuscope_link_mtu_bytes{SCOPE})";

fn links() -> New {
    let description = "The smallest MTU of links by their role.";
    let smallest = query("min by (role) (mtuscope_link_mtu_bytes{SCOPE})", Proof::differs(Misconfigured));
    stat("Links", description, [smallest.named("{{role}}")]).words(words::unknown())
}

fn paths() -> New {
    let description = "The smallest path MTU that was measured, by plane.";
    let smallest = query("min by (plane, family) (mtuscope_path_min_mtu_bytes{SCOPE})", Proof::differs(BlackHole));
    stat("Measured paths", description, [smallest.named("{{plane}} {{family}}")]).words(words::unknown())
}

fn recommended() -> New {
    let description = "What tunnels can have on every path that no finding blames: the smallest over all nodes.";
    let smallest = query("min(mtuscope_recommended_overlay_mtu_bytes{SCOPE})", Proof::differs(Misconfigured));
    stat("Recommended", description, [smallest.named("tunnels")]).words(words::unknown())
}

fn headroom() -> New {
    let description =
        "What is left of the lower link after a tunnel's MTU and overhead. Below 0, full packets do not fit.";
    let smallest = query("min(mtuscope_tunnel_headroom_bytes{SCOPE})", Proof::differs(Misconfigured));
    stat("Headroom of tunnels", description, [smallest.named("tunnels")])
        .words(words::unknown())
        .colours(words::not_negative())
}

fn different() -> New {
    let description = "Nodes whose smallest MTU in a layer is not the middle one of all nodes, and by how much.";
    let away =
        format!("({LAYER} - on (cluster, job, role) group_left () quantile by (cluster, job, role) (0.5, {LAYER}))");
    let rows =
        query(&format!("({away} != 0) and on (WHO, role) topk($rows, abs({away}) > 0)"), Proof::appears(Misconfigured));
    table("Other MTU than most", description, [rows]).rows_when_wrong().columns([
        column("node", "Node").leads_to(variables::to_node()),
        column("instance", "Instance").leads_to(variables::to_node()),
        column("role", "Layer"),
        column("Value", "Differs by").smallest_first(),
        column("job", "Job"),
        column("cluster", "Cluster"),
    ])
}

fn too_large() -> New {
    let description = "Tunnels whose MTU is larger than the paths below them carry, and by how much.";
    let rows = query(
        "topk($rows, max by (WHO, link) (mtuscope_link_mtu_bytes{SCOPE, role=\"tunnel\"}) \
         - on (WHO, link) min by (WHO, link) (mtuscope_recommended_overlay_mtu_bytes{SCOPE}) > 0)",
        Proof::appears(Misconfigured),
    );
    table("Tunnels above what is recommended", description, [rows]).rows_when_wrong().columns([
        column("node", "Node").leads_to(variables::to_node()),
        column("instance", "Instance").leads_to(variables::to_node()),
        column("link", "Tunnel"),
        column("Value", "Too large by").colours(words::above(1.0, words::WARNING)).largest_first(),
        column("job", "Job"),
        column("cluster", "Cluster"),
    ])
}

fn mixed() -> New {
    let description = "Nodes whose pods do not all have the same MTU, and how many sizes there are.";
    let rows = query(
        "topk($rows, max by (WHO) (count by (WHO, end) (mtuscope_pod_links{SCOPE})) > 1)",
        Proof::appears(Misconfigured),
    );
    table("Pods of several MTUs", description, [rows]).rows_when_wrong().columns([
        column("node", "Node").leads_to(variables::to_node()),
        column("instance", "Instance").leads_to(variables::to_node()),
        column("Value", "Sizes").largest_first(),
        column("job", "Job"),
        column("cluster", "Cluster"),
    ])
}

fn link_sizes() -> New {
    let description =
        "How many nodes have which MTU, by the role of the link. Of several links of a role the smallest counts.";
    let rows = query(
        &format!("topk($rows, count_values by (cluster, role) (\"mtu\", {LAYER}))"),
        Proof::differs(Misconfigured),
    );
    table("Links", description, [rows]).columns(sizes("role", "Layer", "Nodes"))
}

fn pod_sizes() -> New {
    let description = "How many pods have which MTU, at the node's end of their link and at their own.";
    let rows =
        query("topk($rows, sum by (cluster, end, mtu) (mtuscope_pod_links{SCOPE}))", Proof::differs(Misconfigured));
    table("Pods", description, [rows]).columns(sizes("end", "End", "Pods"))
}

fn path_sizes() -> New {
    let description = "How many agents measured which MTU on their worst path, by plane.";
    let rows = query(
        "topk($rows, count_values by (cluster, plane) (\"mtu\", min by (WHO, plane) (mtuscope_path_min_mtu_bytes{SCOPE})))",
        Proof::differs(BlackHole),
    );
    table("Worst measured path", description, [rows]).columns(sizes("plane", "Plane", "Agents"))
}

fn recommended_sizes() -> New {
    let description = "How many nodes recommend which MTU for which tunnel.";
    let rows = query(
        "topk($rows, count_values by (cluster, link) (\"mtu\", \
         min by (WHO, link) (mtuscope_recommended_overlay_mtu_bytes{SCOPE})))",
        Proof::differs(Misconfigured),
    );
    table("Recommended", description, [rows]).columns(sizes("link", "Tunnel", "Nodes"))
}

fn sizes(field: &'static str, heading: &'static str, of: &'static str) -> [super::panels::Column; 4] {
    [column(field, heading), column("mtu", "MTU"), column("Value", of).largest_first(), column("cluster", "Cluster")]
}

fn tunnels() -> New {
    let description = "Tunnels by how they are made. More than one line of a kind: nodes disagree.";
    let rows = query(
        "topk($rows, count by (cluster, kind, id, port, df, link) (mtuscope_tunnel_info{SCOPE}))",
        Proof::differs(Stopped),
    );
    table("Tunnels", description, [rows]).columns([
        column("link", "Tunnel"),
        column("kind", "Kind"),
        column("id", "Id"),
        column("port", "Port"),
        column("df", "DF"),
        column("Value", "Nodes").largest_first(),
        column("cluster", "Cluster"),
    ])
}

fn links_over_time() -> New {
    let description = "The smallest MTU of each layer, and the middle one of all nodes. Two lines of a layer apart: nodes \
                       disagree.";
    let smallest = query("min by (role) (mtuscope_link_mtu_bytes{SCOPE})", Proof::differs(Misconfigured));
    let middle = query(&format!("quantile by (role) (0.5, {LAYER})"), Proof::differs(Misconfigured));
    graph("Links", description, [smallest.named("smallest, {{role}}"), middle.named("middle, {{role}}")])
}

fn paths_over_time() -> New {
    let description = "The smallest path MTU that any agent measured, by plane.";
    let smallest = query("min by (plane, family) (mtuscope_path_min_mtu_bytes{SCOPE})", Proof::differs(BlackHole));
    graph("Measured paths", description, [smallest.named("{{plane}} {{family}}")])
}
