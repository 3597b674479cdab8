//! What the dashboards share around their panels: variables, marks, links.

use super::grafana::{Annotation, Choice, Dashboard, DataLink, Link, List, SOURCE, TAG, Variable};
use super::scope::expand;
use super::{Proof, Trouble};

/// A dashboard with the variables that all have.
pub fn dashboard(uid: &'static str, title: &str, description: &str, more: Vec<Variable>) -> Dashboard {
    let mut dashboard = Dashboard::new(uid, title, description);
    let mut list = vec![source(), cluster(), job(), node(), instance()];
    list.extend(more);
    list.push(rows());
    dashboard.templating = List { list };
    dashboard.annotations = List { list: vec![alerts()] };
    dashboard.links = vec![others()];
    dashboard
}

/// As [`dashboard`], of one node: the first one at first, with its agent and its twin.
pub fn dashboard_of_a_node(uid: &'static str, title: &str, description: &str, more: Vec<Variable>) -> Dashboard {
    let mut dashboard = dashboard(uid, title, description, more);
    for variable in dashboard.templating.list.iter_mut().filter(|variable| variable.name == "node") {
        (variable.include_all, variable.current) = (false, None);
    }
    dashboard.annotations.list.push(restarts());
    dashboard
}

fn source() -> Variable {
    Variable {
        all_value: None,
        current: None,
        datasource: None,
        description: "The Prometheus that scrapes the agents.",
        hide: 0,
        include_all: false,
        label: "Data source",
        multi: false,
        name: "datasource",
        options: Vec::new(),
        query: "prometheus".into(),
        refresh: 1,
        regex: "",
        sort: 0,
        kind: "datasource",
    }
}

/// A variable whose choices a query yields, with All.
fn asked(name: &'static str, label: &'static str, query: &str, description: &'static str) -> Variable {
    Variable {
        all_value: Some(".+"),
        current: Some(Choice::all()),
        datasource: Some(SOURCE),
        description,
        hide: 0,
        include_all: true,
        label,
        multi: true,
        name,
        options: Vec::new(),
        query: expand(query),
        refresh: 2,
        regex: "",
        sort: 7,
        kind: "query",
    }
}

fn cluster() -> Variable {
    let description = "The label cluster, where one Prometheus has several clusters. All is right where there is none.";
    let query = "label_values(mtuscope_build_info, cluster)";
    Variable { all_value: Some(".*"), ..asked("cluster", "Cluster", query, description) }
}

fn job() -> Variable {
    let query = r#"label_values(mtuscope_build_info{cluster=~"$cluster"}, job)"#;
    asked("job", "Job", query, "The agents of nodes and those of the pod network are scraped as two jobs.")
}

fn node() -> Variable {
    let description = "The label node, which the monitors of mtuscope give to targets. A plain scrape has none: choose \
                       by instance then, All here includes what has no such label.";
    let query = r#"label_values(mtuscope_build_info{cluster=~"$cluster", job=~"$job"}, node)"#;
    Variable { all_value: Some(".*"), ..asked("node", "Node", query, description) }
}

fn instance() -> Variable {
    let query = r#"label_values(mtuscope_build_info{cluster=~"$cluster", job=~"$job", node=~"$node"}, instance)"#;
    asked("instance", "Instance", query, "The address that was scraped.")
}

/// Another node, as the chosen ones name it. A path has this series whatever was concluded of it: no size is known of one
/// that is not reached.
pub fn peer() -> Variable {
    let query = "label_values(mtuscope_path_up{SCOPE}, peer)";
    let description = "The other end. A node of more than a hundred peers names only those that have something wrong.";
    asked("peer", "Peer", query, description)
}

/// Underlay, overlay or pods: all, since a plane that is dead has to stay a choice. Grafana takes another one for what is none.
pub fn plane() -> Variable {
    let description = "Underlay: from node to node. Overlay: from tunnel to tunnel. Pod: to a pod.";
    asked("plane", "Plane", "label_values(mtuscope_paths{SCOPE}, plane)", description)
}

/// IPv4 or IPv6, likewise.
pub fn family() -> Variable {
    let query = "label_values(mtuscope_paths{SCOPE}, family)";
    asked("family", "IP family", query, "IPv4 or IPv6.")
}

/// How many rows a table has: the same panels have to serve three nodes and three thousand.
fn rows() -> Variable {
    const CHOICES: [&str; 4] = ["50", "20", "200", "1000"];
    let options: Vec<_> = CHOICES.iter().enumerate().map(|(at, rows)| Choice::new(rows, at == 0)).collect();
    Variable {
        all_value: None,
        current: options.first().cloned(),
        datasource: None,
        description: "The most rows of a table, the worst first.",
        hide: 0,
        include_all: false,
        label: "Rows",
        multi: false,
        name: "rows",
        query: CHOICES.join(","),
        options,
        refresh: 0,
        regex: "",
        sort: 0,
        kind: "custom",
    }
}

/// When agents started: numbers that begin anew, and rounds that were missed, are explained by it. Only of a node: a
/// rollout in a large cluster would be marked a thousand times.
fn restarts() -> Annotation {
    let query = "1000 * (process_start_time_seconds{SCOPE} > time() - $__range_s OUR_TARGETS FEW)";
    Annotation {
        datasource: SOURCE,
        enable: true,
        expr: expand(query),
        hide: false,
        icon_color: super::words::NOTICE,
        name: "Agent started",
        tag_keys: "job",
        text_format: "{{node}} {{instance}}",
        title_format: "mtuscope started",
        use_value_for_time: true,
        proof: Proof::differs(Trouble::Restarted),
    }
}

/// Alerts of the chosen nodes, and those of no single one. mtuscope's rules call a node by its instance where its target has
/// no label `node`.
fn alerts() -> Annotation {
    const FIRING: &str = r#"cluster=~"$cluster", alertname=~"Mtuscope.*", alertstate="firing", severity!="info""#;
    let query = format!(
        "ALERTS{{{FIRING}, node=~\"$node|\"}} or ALERTS{{{FIRING}}} and on (node) \
         label_replace(mtuscope_build_info{{SCOPE, node=\"\"}}, \"node\", \"$1\", \"instance\", \"(.+)\")"
    );
    Annotation {
        datasource: SOURCE,
        enable: true,
        expr: expand(&query),
        hide: false,
        icon_color: super::words::CRITICAL,
        name: "Alerts",
        tag_keys: "severity",
        text_format: "{{node}} {{instance}} {{subject}}",
        title_format: "{{alertname}}",
        use_value_for_time: false,
        proof: Proof::appears(Trouble::BlackHole),
    }
}

fn others() -> Link {
    Link {
        as_dropdown: false,
        icon: "external link",
        include_vars: true,
        keep_time: true,
        tags: vec![TAG],
        target_blank: false,
        title: "mtuscope",
        tooltip: "The other dashboards, with the same choice",
        kind: "dashboards",
    }
}

/// From a row to the dashboard of its agent.
pub fn to_node() -> DataLink {
    DataLink { target_blank: false, title: "This node".into(), url: address(super::NODE, "") }
}

/// From a row to the dashboard of its path.
pub fn to_path() -> DataLink {
    let more = "&var-peer=${__data.fields.peer}&var-plane=${__data.fields.plane}&var-family=${__data.fields.family}";
    DataLink { target_blank: false, title: "This path".into(), url: address(super::PATH, more) }
}

/// The row's own labels. One that it does not have is handed on as empty, which matches where there is none: two clusters
/// may have nodes and addresses of the same names.
fn address(uid: &str, more: &str) -> String {
    format!(
        "/d/{uid}?${{datasource:queryparam}}&var-cluster=${{__data.fields.cluster}}&var-job=${{__data.fields.job}}\
         &var-node=${{__data.fields.node}}&var-instance=${{__data.fields.instance}}{more}&${{__url_time_range}}"
    )
}
