//! Rules as files.
//!
//! Written by hand rather than by a YAML library: texts and expressions stand as literal blocks, which nothing in them has
//! to be escaped for, and the groups' purposes as comments.

use std::fmt::Write;

use super::{AlertRule, Group, Recording, Rule};

/// A rule file of Prometheus.
pub fn prometheus(groups: &[Group]) -> String {
    format!("groups:\n{}", groups.iter().map(|group| whole(group, "  ")).collect::<String>())
}

/// A rule file of the recordings alone, for whoever alerts elsewhere.
pub fn recordings(groups: &[Group]) -> String {
    let only = |group: &Group| {
        let rules = group.rules.iter().filter(|rule| matches!(rule, Rule::Recording(_))).cloned().collect();
        Group { rules, ..group.clone() }
    };
    prometheus(&groups.iter().map(only).filter(|group| !group.rules.is_empty()).collect::<Vec<_>>())
}

/// The same groups as an object of the Prometheus operator. Which labels its Prometheus selects rules by is its own
/// affair: README says how to add them.
pub fn operator(groups: &[Group]) -> String {
    let groups: String = groups.iter().map(|group| whole(group, "    ")).collect();
    format!(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: mtuscope\n  namespace: mtuscope\n  \
         labels:\n    app.kubernetes.io/name: mtuscope\n    app.kubernetes.io/part-of: mtuscope\nspec:\n  groups:\n{groups}"
    )
}

/// The alerts for Grafana's own alerting, over the recordings, which the data source must have.
///
/// A series that is gone is not one that is 0, and Grafana resolves it on its own after two looks: it is told to wait as long
/// as for any other, so that an agent that restarts neither resolves nor pages again. A data source that cannot be asked
/// changes nothing: it is no fault of any node, and is alerted by its own means.
///
/// A uid has 40 characters at most. A title is unique in a folder, so a code with two severities has two titles. Texts
/// are without `$`, which begins a variable of the environment where a file is read; expressions are taken as they are.
pub fn grafana(groups: &[Group]) -> String {
    let groups: String = groups.iter().filter_map(alerting).collect();
    format!("apiVersion: 1\ngroups:\n{groups}")
}

fn alerting(group: &Group) -> Option<String> {
    let alerts = group.rules.iter().filter_map(|rule| match rule {
        Rule::Alert(alert) => Some(alert),
        Rule::Recording(_) => None,
    });
    let rules: String = alerts.map(provisioned).collect();
    let head = format!("  - orgId: 1\n    name: {}\n    folder: mtuscope\n    interval: 1m\n    rules:\n", group.name);
    (!rules.is_empty()).then(|| head + &rules)
}

fn provisioned(rule: &AlertRule) -> String {
    let severity = rule.severity.name();
    let own = |text: &str| text.replace("$labels", ".Labels").replace("$value", ".Values.A.Value");
    let expr = block(&rule.expr, "                ");
    let (summary, description) =
        (block(&own(&rule.plain.summary), "            "), block(&own(&rule.plain.description), "            "));
    format!(
        "      - uid: mtu-{anchor}-{initial}\n        title: {name} {severity}\n        condition: B\n        data:\n\
         \u{20}         - refId: A\n            datasourceUid: ${{PROMETHEUS_UID}}\n            relativeTimeRange: {{ from: 600, to: 0 }}\n\
         \u{20}           model:\n              refId: A\n              instant: true\n              expr: {expr}\
         \u{20}         - refId: B\n            datasourceUid: __expr__\n            relativeTimeRange: {{ from: 0, to: 0 }}\n\
         \u{20}           model:\n              refId: B\n              type: threshold\n              expression: A\n\
         \u{20}             conditions: [{{ evaluator: {{ type: gt, params: [0] }} }}]\n\
         \u{20}       noDataState: OK\n        execErrState: KeepLast\n        for: {hold}\n        keepFiringFor: {keep}\n\
         \u{20}       missing_series_evals_to_resolve: {missing}\n\
         \u{20}       labels: {{ severity: {severity} }}\n        annotations:\n          summary: {summary}\
         \u{20}         description: {description}          runbook_url: {runbook}\n",
        anchor = rule.anchor,
        initial = &severity[..1],
        name = rule.name,
        hold = rule.hold,
        keep = rule.keep,
        missing = rule.keep.0 / 60 + 1,
        runbook = rule.runbook(),
    )
}

/// A group as an item of a list.
fn whole(group: &Group, indent: &str) -> String {
    let mut text = format!("{indent}# {}\n{indent}- name: {}\n", group.purpose, group.name);
    if let Some(interval) = group.interval {
        _ = writeln!(text, "{indent}  interval: {interval}");
    }
    _ = writeln!(text, "{indent}  rules:");
    for rule in &group.rules {
        match rule {
            Rule::Recording(recording) => text.push_str(&record(recording, indent)),
            Rule::Alert(alert) => text.push_str(&raise(alert, indent)),
        }
    }
    text
}

fn record(rule: &Recording, indent: &str) -> String {
    let Recording { name, what, expr } = rule;
    format!(
        "{indent}    # {what}\n{indent}    - record: {name}\n{indent}      expr: {}",
        block(expr, &format!("{indent}        "))
    )
}

fn raise(rule: &AlertRule, indent: &str) -> String {
    let deep = format!("{indent}        ");
    let mut text = format!("{indent}    - alert: {}\n{indent}      expr: {}", rule.name, block(&rule.expr, &deep));
    _ = writeln!(text, "{indent}      for: {}\n{indent}      keep_firing_for: {}", rule.hold, rule.keep);
    _ = writeln!(text, "{indent}      labels:\n{deep}severity: {}", rule.severity.name());
    _ = writeln!(text, "{indent}      annotations:");
    let deeper = format!("{deep}  ");
    _ = write!(text, "{deep}summary: {}", block(&rule.summary, &deeper));
    _ = write!(text, "{deep}description: {}", block(&rule.description, &deeper));
    _ = writeln!(text, "{deep}runbook_url: {}", rule.runbook());
    text
}

/// A text as a literal block.
fn block(text: &str, indent: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{indent}{line}\n")).collect();
    format!("|-\n{lines}")
}
