//! What alerts say, in the words of the catalogue and the report.
//!
//! A summary is one line. A description says what it means, the values, and what to do first. Names and values beyond an
//! alert's labels are queried when the text is made; who cannot do that (Grafana) gets the text without them.
//! `if` stands where `and` and `or` would be shorter: they fail on a label that is not there in Grafana.
//!
//! Every rule carries its texts, and all of them are one object to the Prometheus operator, of which the API server takes
//! a quarter of a megabyte. So what is long stands once in a text, behind a query that is put together before.

use super::findings::{BEHIND, ON_NODE, is_of_peer, is_shared};
use crate::checks::Registered;
use crate::subject::Subject;

/// How to get at the evidence and the remedy, of the node that an alert is about.
pub(super) const REPORT: &str = "Evidence and remedy: curl 'http://{{ if $labels.node }}{{ $labels.node }}\
                                 {{ if not (match \":\" $labels.node) }}:9747{{ end }}\
                                 {{ else }}NODE:9747{{ end }}/report?format=text'";

/// Where path MTUs that are too small stand, and what they should be.
pub(super) const CARRIED: &str = "peer:mtuscope_path_mtu_bytes:min";
pub(super) const EXPECTED: &str = "peer:mtuscope_path_expected_mtu_bytes:max";

/// As many nodes are named in a summary: a pair whose ends both see it, and who shares their fault.
const NAMED: usize = 3;

/// One line: which node, what, and of what.
pub(super) fn summary(check: &Registered, queries: bool) -> String {
    let title = check.entry.title;
    let what = plural(&check.example().subject);
    let (both, subject, node) = if is_of_peer(check) {
        (
            format!("{{{{ $labels.node }}}} to {{{{ $labels.subject }}}}: {title}"),
            format!("{{{{ $labels.subject }}}}: {title} (seen by {{{{ $value }}}} nodes)"),
            format!("{{{{ $labels.node }}}}: {title} ({{{{ $value }}}} peers)"),
        )
    } else {
        let both = format!("{{{{ $labels.node }}}}: {title} ({{{{ $labels.subject }}}})");
        (both.clone(), both, format!("{{{{ $labels.node }}}}: {title} ({{{{ $value }}}} {what})"))
    };
    let counted = "{{ $value }} nodes";
    let many = if is_shared(check) {
        format!("{title} (told by {counted})")
    } else if queries {
        let names = separated(
            &query(&format!("{BEHIND}{{code=\"{}\",node=\"\",subject=\"\",%s}}", check.entry.code), HERE),
            "of",
        );
        format!("{{{{ if gt $value {NAMED}.0 }}}}{counted}{{{{ else }}}}{names}{{{{ end }}}}: {title}")
    } else {
        format!("{counted}: {title}")
    };
    by_labels(&both, &subject, &node, &many)
}

/// What it means, the values, and what to do first.
pub(super) fn description(check: &Registered, queries: bool) -> String {
    let entry = check.entry;
    let mut text = entry.meaning.to_owned();
    if queries {
        text.push_str(&names(check));
        text.push_str(&values(check));
    }
    if let Some(look) = entry.look.first() {
        text.push_str(&format!("\nFirst: {}", look.run));
    }
    // An alert about nodes names them: any of those will do.
    let report = if queries && is_of_peer(check) { report(entry.code) } else { REPORT.to_owned() };
    format!("{text}\n{report}")
}

/// The line that names what an alert stands for, where it stands for several. It leaves behind what later lines use.
fn names(check: &Registered) -> String {
    let behind = query(
        &format!("{BEHIND}{{code=\"{}\",node=%q,subject=%q,%s}}", check.entry.code),
        &format!("$labels.node $labels.subject {IN}"),
    );
    let many = if is_shared(check) {
        "Told by"
    } else if is_of_peer(check) {
        "Blamed"
    } else {
        "On"
    };
    let head = by_labels("", "Seen by", "Of", many);
    format!(
        "{{{{ $in := {HERE} }}}}{{{{ $of := {behind} }}}}{{{{ if $of }}}}\n{head}: {}{{{{ end }}}}",
        separated("$of", "of")
    )
}

/// As [`REPORT`], and where no node is the one, by the first of those that see it.
fn report(code: &str) -> String {
    let any = query(&format!("{ON_NODE}{{code=\"{code}\",%s}}"), IN);
    let first = |series: &str, label: &str| {
        format!(
            "{{{{ with {series} }}}}{{{{ $node = . | sortByLabel \"{label}\" | first | label \"{label}\" }}}}{{{{ end }}}}"
        )
    };
    format!(
        "{{{{ $node := $labels.node }}}}{{{{ if not $node }}}}{{{{ $node = \"NODE\" }}}}{{{{ if $labels.subject }}}}{}\
         {{{{ else }}}}{}{{{{ end }}}}{{{{ end }}}}Evidence and remedy: curl 'http://{{{{ $node }}}}\
         {{{{ if not (match \":\" $node) }}}}:9747{{{{ end }}}}/report?format=text'",
        first("$of", "of"),
        first(&any, "node"),
    )
}

/// Series with a label under another name.
fn renamed(selector: &str, from: &str, to: &str) -> String {
    format!("label_replace({selector},\"{to}\",\"$1\",\"{from}\",\"(.+)\")")
}

/// Matchers of the alert's place, and the variable that holds them in a description.
const HERE: &str = "(printf `cluster=%q,namespace=%q` $labels.cluster $labels.namespace)";
const IN: &str = "$in";

/// A query that is put together from a format and its arguments.
fn query(format: &str, arguments: &str) -> String {
    format!("query (printf `{format}` {arguments})")
}

/// The line that names nodes with a recorded series, where an alert is about many of them.
pub(super) fn nodes(name: &str, label: &str) -> String {
    let all = match label {
        "" => query(&format!("{name}{{%s}}"), HERE),
        label => query(&format!("{name}{{{label}=%q,%s}}"), &format!("$labels.{label} {HERE}")),
    };
    format!("{{{{ if not $labels.node }}}}{}{{{{ end }}}}", listed("On: ", &all, "node"))
}

/// A line with up to five values of a label.
fn listed(head: &str, query: &str, label: &str) -> String {
    format!("\n{head}{}", separated(query, label))
}

/// Up to five values of a label: the first by name, so that the text stays as it is.
fn separated(query: &str, label: &str) -> String {
    format!(
        "{{{{ range $i, $s := {query} | sortByLabel \"{label}\" }}}}\
         {{{{ if lt $i 5 }}}}{{{{ if $i }}}}, {{{{ end }}}}{{{{ $s.Labels.{label} }}}}\
         {{{{ else if eq $i 5 }}}} and more{{{{ end }}}}{{{{ end }}}}"
    )
}

/// Lines with what is measured, where it is too small.
fn values(check: &Registered) -> String {
    let shows = |family: &str| check.entry.metrics.iter().any(|metric| metric.starts_with(family));
    let pods = || if shows("mtuscope_pod_links") { pod_mtu() } else { String::new() };
    match check.example().subject {
        Subject::Path { .. } if shows("mtuscope_path_mtu_bytes") => carried(check.entry.code),
        Subject::Link(_) | Subject::Pods if shows("mtuscope_link_mtu_bytes") => link_mtu() + &pods(),
        Subject::Link(_) | Subject::Pods => pods(),
        _ => String::new(),
    }
}

/// What paths carry: to the peer that the alert is about, or to those that stand behind it.
fn carried(code: &str) -> String {
    let behind = renamed(&format!("{BEHIND}{{code=\"{code}\",node=%q,subject=\"\",%s}}"), "of", "peer");
    let expected = query(
        &format!("{EXPECTED}{{peer=%q,plane=%q,family=%q,%s}}"),
        &format!(".Labels.peer .Labels.plane .Labels.family {IN}"),
    );
    format!(
        "{{{{ $q := printf `{CARRIED}{{peer=%q,%s}}` $labels.subject {IN} }}}}{{{{ if not $labels.subject }}}}\
         {{{{ $q = printf `{CARRIED} and on (cluster,namespace,peer) {behind}` $labels.node {IN} }}}}{{{{ end }}}}\
         {{{{ range $i, $s := query $q | sortByLabel \"plane\" | sortByLabel \"peer\" }}}}{{{{ if lt $i 6 }}}}{{{{ with $s }}}}\
         \n{{{{ .Labels.plane }}}} path to {{{{ .Labels.peer }}}} by {{{{ .Labels.family }}}}: carries {{{{ .Value }}}} B\
         {{{{ with {expected} }}}} of {{{{ . | first | value }}}} B{{{{ end }}}}{{{{ end }}}}{{{{ end }}}}{{{{ end }}}}"
    )
}

fn link_mtu() -> String {
    let of = |label: &str| format!("mtuscope_link_mtu_bytes{{link=%q,{label}=%q,%s}}");
    let one = query(
        &format!("max({} or {})", of("node"), of("instance")),
        &["$labels.subject $labels.node $in"; 2].join(" "),
    );
    format!(
        "{{{{ if $labels.subject }}}}{{{{ with {one} }}}}\nMTU of {{{{ $labels.subject }}}}: {{{{ . | first | value }}}} B\
         {{{{ end }}}}{{{{ end }}}}"
    )
}

/// The MTUs that pods have, and the one that they can have.
fn pod_mtu() -> String {
    let of = |family: &str| format!("{family}{{node=%q,%s}} or {family}{{instance=%q,%s}}");
    let arguments = ["$labels.node $in"; 2].join(" ");
    let pods = query(&format!("max by (mtu) ({})", of("mtuscope_pod_links")), &arguments);
    let fits = query(&format!("min({})", of("mtuscope_recommended_overlay_mtu_bytes")), &arguments);
    format!(
        "{{{{ if eq $labels.subject \"{}\" }}}}{{{{ range {pods} | sortByLabel \"mtu\" }}}}\nPods with MTU {{{{ .Labels.mtu }}}} B: {{{{ .Value }}}}{{{{ end }}}}{{{{ with {fits} }}}}\nLargest that fits every path: {{{{ . | first | value }}}} B\
         {{{{ end }}}}{{{{ end }}}}",
        Subject::Pods
    )
}

fn by_labels(both: &str, subject: &str, node: &str, neither: &str) -> String {
    let of_subject = if both == subject {
        both.to_owned()
    } else {
        format!("{{{{ if $labels.node }}}}{both}{{{{ else }}}}{subject}{{{{ end }}}}")
    };
    format!(
        "{{{{ if $labels.subject }}}}{of_subject}{{{{ else if $labels.node }}}}{node}{{{{ else }}}}{neither}{{{{ end }}}}"
    )
}

const fn plural(subject: &Subject) -> &'static str {
    match subject {
        Subject::Link(_) | Subject::Pods => "links",
        Subject::Setting(_) | Subject::Sysctl(_) => "settings",
        Subject::Counter(_) => "counters",
        Subject::Source(_) => "sources",
        Subject::Path { .. } => "peers",
    }
}
