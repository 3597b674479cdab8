//! What alerts say, in the words of the catalogue and the report.
//!
//! A summary is one line. A description says what it means, the values, and what to do first. Names and values beyond an
//! alert's labels are queried when the text is made; who cannot do that (Grafana) gets the text without those lines.
//! `if` stands where `and` and `or` would be shorter: they fail on a label that is not there in Grafana.

use super::findings::{ACTIVE, BLAMED_NODE, BLAMED_PEER, ON_NODE, is_of_peer, is_shared};
use crate::checks::Registered;
use crate::subject::Subject;

/// How to get at the evidence and the remedy.
pub(super) const REPORT: &str = "Evidence and remedy: curl 'http://{{ if $labels.node }}{{ $labels.node }}\
                                 {{ if not (match \":\" $labels.node) }}:9747{{ end }}\
                                 {{ else }}NODE:9747{{ end }}/report?format=text'";

/// Where path MTUs that are too small stand, and what they should be.
pub(super) const CARRIED: &str = "peer:mtuscope_path_mtu_bytes:min";
pub(super) const EXPECTED: &str = "peer:mtuscope_path_expected_mtu_bytes:max";

/// One line: which node, what, and of what.
pub(super) fn summary(check: &Registered) -> String {
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
    let many = if is_shared(check) {
        format!("{title} (told by {{{{ $value }}}} nodes)")
    } else {
        format!("{{{{ $value }}}} nodes: {title}")
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
    format!("{text}\n{REPORT}")
}

/// The lines that name what an alert stands for, where it stands for several.
fn names(check: &Registered) -> String {
    let code = check.entry.code;
    let subjects = listed("Of: ", &series(ACTIVE, code, &["node"]), "subject");
    let nodes = listed(if is_shared(check) { "Told by: " } else { "On: " }, &series(ON_NODE, code, &[]), "node");
    if is_of_peer(check) {
        let seen = listed("Seen by: ", &series(ACTIVE, code, &["subject"]), "node");
        by_labels("", &seen, &subjects, &format!("{}{nodes}", blamed(code)))
    } else {
        by_labels("", "", &subjects, &nodes)
    }
}

/// The line that names what is blamed for a fault of many.
fn blamed(code: &str) -> String {
    let (peers, nodes) = (series(BLAMED_PEER, code, &[]), series(BLAMED_NODE, code, &[]));
    let both = Series {
        selector: format!(
            "{} or label_replace({}, \\\"subject\\\", \\\"$1\\\", \\\"node\\\", \\\"(.+)\\\")",
            peers.selector, nodes.selector
        ),
        arguments: format!("{} {}", peers.arguments, nodes.arguments),
    };
    listed("Blamed: ", &both, "subject")
}

/// A selector as a format, and the values that are filled in.
struct Series {
    selector: String,
    arguments: String,
}

/// Series of a code that have these labels of the alert, and its place.
fn series(name: &str, code: &str, labels: &[&str]) -> Series {
    let labels = || labels.iter().chain(&["cluster", "namespace"]);
    let matchers: Vec<String> = labels().map(|label| format!("{label}=%q")).collect();
    let arguments: Vec<String> = labels().map(|label| format!("$labels.{label}")).collect();
    let selector = format!("{name}{{code=\\\"{code}\\\",{}}}", matchers.join(","));
    Series { selector, arguments: arguments.join(" ") }
}

/// The line that names nodes with a recorded series, where an alert is about many of them.
pub(super) fn nodes(name: &str, label: &str) -> String {
    let labels = || [label, "cluster", "namespace"].into_iter().filter(|label| !label.is_empty());
    let matchers: Vec<String> = labels().map(|label| format!("{label}=%q")).collect();
    let arguments: Vec<String> = labels().map(|label| format!("$labels.{label}")).collect();
    let all = Series { selector: format!("{name}{{{}}}", matchers.join(",")), arguments: arguments.join(" ") };
    format!("{{{{ if not $labels.node }}}}{}{{{{ end }}}}", listed("On: ", &all, "node"))
}

/// A line with up to five values of a label: the first by name, so that the text stays as it is.
fn listed(head: &str, Series { selector, arguments }: &Series, label: &str) -> String {
    format!(
        "\n{head}{{{{ range $i, $s := query (printf \"{selector}\" {arguments}) | sortByLabel \"{label}\" }}}}\
         {{{{ if lt $i 5 }}}}{{{{ if $i }}}}, {{{{ end }}}}{{{{ $s.Labels.{label} }}}}\
         {{{{ else if eq $i 5 }}}} and more{{{{ end }}}}{{{{ end }}}}"
    )
}

/// Lines with what is measured, where it is too small.
fn values(check: &Registered) -> String {
    let shows = |family: &str| check.entry.metrics.iter().any(|metric| metric.starts_with(family));
    match check.example().subject {
        Subject::Path { .. } if shows("mtuscope_path_mtu_bytes") => carried(),
        Subject::Link(_) if shows("mtuscope_link_mtu_bytes") => link_mtu(),
        _ => String::new(),
    }
}

fn carried() -> String {
    let place = "cluster=%q,namespace=%q";
    let each = format!(
        "\n{{{{ .Labels.plane }}}} path by {{{{ .Labels.family }}}}: carries {{{{ .Value }}}} B\
         {{{{ with query (printf \"{EXPECTED}{{peer=%q,plane=%q,family=%q,{place}}}\" .Labels.peer .Labels.plane \
         .Labels.family .Labels.cluster .Labels.namespace) }}}} of {{{{ . | first | value }}}} B{{{{ end }}}}"
    );
    format!(
        "{{{{ if $labels.subject }}}}{{{{ range query (printf \"{CARRIED}{{peer=%q,{place}}}\" $labels.subject \
         $labels.cluster $labels.namespace) | sortByLabel \"plane\" }}}}{each}{{{{ end }}}}{{{{ end }}}}"
    )
}

fn link_mtu() -> String {
    let selector = |label: &str| format!("mtuscope_link_mtu_bytes{{link=%q,{label}=%q,cluster=%q,namespace=%q}}");
    let arguments = "$labels.subject $labels.node $labels.cluster $labels.namespace";
    format!(
        "{{{{ if $labels.subject }}}}{{{{ with query (printf \"max({} or {})\" {arguments} {arguments}) }}}}\
         \nMTU of {{{{ $labels.subject }}}}: {{{{ . | first | value }}}} B{{{{ end }}}}{{{{ end }}}}",
        selector("node"),
        selector("instance"),
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
