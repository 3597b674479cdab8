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

/// A group as an item of a list.
pub(super) fn whole(group: &Group, indent: &str) -> String {
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
pub(super) fn block(text: &str, indent: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{indent}{line}\n")).collect();
    format!("|-\n{lines}")
}
