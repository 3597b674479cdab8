//! What alerts say, in the words of the catalogue and the report.

use super::findings::is_of_peer;
use crate::checks::Registered;
use crate::subject::Subject;

/// One line: which node, what, and of what.
pub(super) fn summary(check: &Registered) -> String {
    let title = check.entry.title;
    let what = plural(&check.example().subject);
    if is_of_peer(check) {
        format!(
            "{{{{ if and $labels.node $labels.subject }}}}{{{{ $labels.node }}}} to {{{{ $labels.subject }}}}: {title}\
             {{{{ else if $labels.subject }}}}{{{{ $labels.subject }}}}: {title}, as {{{{ $value }}}} nodes see it\
             {{{{ else if $labels.node }}}}{{{{ $labels.node }}}}: {title}, {{{{ $value }}}} peers\
             {{{{ else }}}}{{{{ $value }}}} nodes: {title}{{{{ end }}}}"
        )
    } else {
        format!(
            "{{{{ if $labels.subject }}}}{{{{ $labels.node }}}}: {title} ({{{{ $labels.subject }}}})\
             {{{{ else if $labels.node }}}}{{{{ $labels.node }}}}: {title} ({{{{ $value }}}} {what})\
             {{{{ else }}}}{{{{ $value }}}} nodes: {title}{{{{ end }}}}"
        )
    }
}

/// What it means, and what to do first.
pub(super) fn description(check: &Registered) -> String {
    let entry = check.entry;
    let look = entry.look.first().map(|look| format!("\nFirst: {}", look.run)).unwrap_or_default();
    format!("{}{look}\n{REPORT}", entry.meaning)
}

/// How to get at the evidence and the remedy.
pub(super) const REPORT: &str = "Evidence and remedy: curl 'http://{{ if $labels.node }}{{ reReplaceAll \":[0-9]+$\" \"\" $labels.node }}{{ else }}NODE{{ end }}:9747/report?format=text'";

const fn plural(subject: &Subject) -> &'static str {
    match subject {
        Subject::Link(_) | Subject::Pods => "links",
        Subject::Setting(_) | Subject::Sysctl(_) => "settings",
        Subject::Counter(_) => "counters",
        Subject::Source(_) => "sources",
        Subject::Path { .. } => "peers",
    }
}
