//! Findings with their fixes; consequences folded under their cause; and what could not be concluded.
//!
//! A fault of the whole network is found once for each peer. The first few of a code are told in full, the others are
//! named in a line: what mends one mends them, and a screen of the same advice hides the next code.

use std::collections::BTreeMap;

use probes::report::{Finding, Report, Severity};
use serde_json::Value;

use super::style::{Style, Tone, clean};

/// Consequences that are named one by one; the rest are counted.
const NAMED: usize = 6;

/// Findings of one code and severity that are told in full.
const IN_FULL: usize = 3;

/// Subjects of the others that are named.
const OTHERS: usize = 20;

pub(in crate::publish) const fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Info => Tone::Info,
        Severity::Warning => Tone::Warning,
        Severity::Critical => Tone::Critical,
    }
}

/// The colour of the worst finding of these codes; `None` if there is none.
pub(in crate::publish) fn worst(report: &Report, codes: &[&str]) -> Option<Tone> {
    let of = report.findings.iter().filter(|finding| codes.contains(&finding.code));
    of.map(|finding| finding.severity).max().map(tone)
}

/// Every loud finding, worst first.
pub(super) fn loud(report: &Report, style: Style) -> String {
    let blocks: Vec<String> = by_kind(report).iter().flat_map(|kind| blocks(report, kind, style)).collect();
    blocks.join("\n")
}

/// The loud findings of each code and severity, worst first.
pub(in crate::publish) fn by_kind(report: &Report) -> Vec<Vec<&Finding>> {
    let mut kinds: Vec<Vec<&Finding>> = Vec::new();
    for finding in report.findings.iter().filter(|finding| finding.silenced_by.is_none()) {
        let kind = |finding: &Finding| (finding.severity, finding.code);
        match kinds.iter_mut().find(|known| kind(known[0]) == kind(finding)) {
            Some(known) => known.push(finding),
            None => kinds.push(vec![finding]),
        }
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind[0].severity));
    kinds
}

/// The findings of one code and severity.
fn blocks(report: &Report, kind: &[&Finding], style: Style) -> Vec<String> {
    let (full, others) = kind.split_at(kind.len().min(IN_FULL));
    let mut blocks: Vec<String> = full.iter().map(|finding| block(report, finding, style)).collect();
    if let Some(first) = others.first() {
        let subjects: Vec<String> = others.iter().map(|finding| clean(&finding.subject)).collect();
        let said = format!("{} of {} more: {}", first.code, others.len(), first_of(&subjects, OTHERS));
        blocks.push(style.wrap_marked(tone(first.severity), first.severity.name(), &said));
    }
    blocks
}

/// The first of some names, and how many are left.
pub(in crate::publish) fn first_of(names: &[String], most: usize) -> String {
    let named = names[..names.len().min(most)].join(", ");
    match names.len().saturating_sub(most) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn block(report: &Report, finding: &Finding, style: Style) -> String {
    let name = format!("{} {}: ", finding.code, clean(&finding.subject));
    let summary = format!("{name}{}", clean(&finding.summary));
    let mut text = style.wrap_marked(tone(finding.severity), finding.severity.name(), &summary);
    finding.remedy.iter().for_each(|line| text.push_str(&advice(line, style)));
    let evidence = evidence(&finding.evidence);
    if !evidence.is_empty() {
        text.push_str(&style.wrap("  seen: ", &evidence));
    }
    let consequences = consequences(report, finding);
    if !consequences.is_empty() {
        text.push_str(&style.wrap("  causes: ", &consequences));
    }
    text.push_str(&age(report, finding));
    text
}

/// A line of a remedy: a command as it is typed, a sentence wrapped.
pub(super) fn advice(line: &str, style: Style) -> String {
    if line.starts_with("$ ") { format!("    {}\n", clean(line)) } else { style.wrap("  → ", &clean(line)) }
}

/// How long it has lasted, where that is longer than a one-off run takes.
fn age(report: &Report, finding: &Finding) -> String {
    let seconds = report.generated_at.as_second() - finding.since.as_second();
    match seconds {
        ..60 => String::new(),
        60..7200 => format!("  for {} min, since {:.0}\n", seconds / 60, finding.since),
        _ => format!("  for {} h, since {:.0}\n", seconds / 3600, finding.since),
    }
}

/// What a finding causes: each code and subject once, with the planes on which it is seen.
fn consequences(report: &Report, cause: &Finding) -> String {
    let id = format!("{} {}", cause.code, cause.subject);
    let mut effects: Vec<(String, Vec<&str>)> = Vec::new();
    for finding in report.findings.iter().filter(|finding| finding.silenced_by.as_deref() == Some(id.as_str())) {
        let name = format!("{} {}", finding.code, clean(&finding.subject));
        let plane = finding.evidence.get("plane").and_then(Value::as_str);
        match effects.iter_mut().find(|(known, _)| *known == name) {
            Some((_, planes)) => planes.extend(plane),
            None => effects.push((name, plane.into_iter().collect())),
        }
    }
    let effects: Vec<String> = effects.iter().map(|(name, planes)| on_planes(name, planes)).collect();
    first_of(&effects, NAMED)
}

/// A name, and the planes that it is about where that is said.
pub(in crate::publish) fn on_planes(name: &str, planes: &[&str]) -> String {
    if planes.is_empty() { name.to_owned() } else { format!("{name} ({})", planes.join(", ")) }
}

/// Typed evidence as `name value` pairs.
fn evidence(evidence: &Value) -> String {
    let Value::Object(fields) = evidence else { return show(evidence) };
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let pairs = fields.iter().filter(|(_, value)| !empty(value));
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{} {}", label(name), show(value))).collect();
    pairs.join(" · ")
}

/// A field's name in words. What has a hyphen is the kernel's name of something, and stays as the kernel writes it.
pub(in crate::publish) fn label(name: &str) -> String {
    if name.contains('-') { clean(name) } else { name.replace('_', " ") }
}

pub(in crate::publish) fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("kind") => show(&fields["kind"]),
        Value::Object(fields) => {
            let pair = |(name, value): (&String, &Value)| format!("{} {}", label(name), show(value));
            format!("({})", fields.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// What could not be judged, by the codes that have the same reasons.
pub(in crate::publish) struct Unjudged<'r> {
    pub(in crate::publish) codes: Vec<&'r str>,
    pub(in crate::publish) reasons: Vec<&'r str>,
}

/// What could not be judged. Codes with one reason stand together, and so do the reasons of one code, of which a large
/// cluster may have one for each peer.
pub(in crate::publish) fn unjudged(report: &Report) -> Vec<Unjudged<'_>> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in &report.not_concluded {
        reasons.entry(&entry.reason).or_default().push(entry.code);
    }
    let mut all: Vec<Unjudged> = Vec::new();
    for (reason, codes) in reasons {
        match all.iter_mut().find(|known| known.codes == codes) {
            Some(known) => known.reasons.push(reason),
            None => all.push(Unjudged { codes, reasons: vec![reason] }),
        }
    }
    all
}

/// Reasons of one code that are told.
const ALIKE: usize = 3;

pub(super) fn not_concluded(report: &Report, style: Style) -> String {
    if report.not_concluded.is_empty() {
        return String::new();
    }
    let mut text = style.heading("NOT CONCLUDED", "could not look: not the same as fine");
    for Unjudged { codes, reasons } in unjudged(report) {
        let codes = codes.join(", ");
        for reason in reasons.iter().take(ALIKE) {
            text.push_str(&style.wrap("  ", &format!("{codes}: {}", clean(reason))));
        }
        if let more @ 1.. = reasons.len().saturating_sub(ALIKE) {
            text.push_str(&style.wrap("  ", &format!("{codes}: {more} more like these; JSON has them")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::ToSpan;
    use serde_json::json;

    use super::super::super::example;
    use super::*;

    #[test]
    fn many_reasons_of_one_code_are_three_and_a_number() {
        let mut report = (*example::published().report).clone();
        let told = |code, reason: String| probes::report::NotConcluded { code, reason };
        report.not_concluded = (0..5).map(|n| told("path-ecmp-mtu", format!("p{n}"))).collect();
        report.not_concluded.push(told("path-lossy", "p1".into()));
        let text = not_concluded(&report, Style::default());
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("path")).collect();
        assert_eq!(
            lines,
            [
                "path-ecmp-mtu: p0",
                "path-ecmp-mtu: p2",
                "path-ecmp-mtu: p3",
                "path-ecmp-mtu: 1 more like these; JSON has them",
                "path-ecmp-mtu, path-lossy: p1"
            ]
        );
    }

    #[test]
    fn evidence_reads_as_words() {
        let value = json!({"carries": 1400, "by": null, "peers": [], "by_mtu": {}, "links": ["a", "b"], "is_up": false,
            "hop": {"ttl": 2, "says_so": true}, "why": {"kind": "silent"}});
        assert_eq!(evidence(&value), "carries 1400 · hop (says so yes, ttl 2) · is up no · links a, b · why silent");
    }

    #[test]
    fn the_kernels_names_stay_as_they_are() {
        let value = json!({"tunnel_offloads": {"tx-udp_tnl-segmentation": true}});
        assert_eq!(evidence(&value), "tunnel offloads (tx-udp_tnl-segmentation yes)");
    }

    #[test]
    fn many_consequences_are_counted() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        let of = |n: usize| {
            example::finding("peer-unreachable", Severity::Critical, &format!("p{n}"), Some("link-down enp6s0"))
        };
        report.findings.extend((0..10).map(of));
        let text = consequences(report, &report.findings[0].clone());
        assert!(text.ends_with("peer-unreachable p3 and 6 more"), "{text}");
    }

    #[test]
    fn what_has_lasted_says_since_when() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        let finding = report.findings[0].clone();
        assert_eq!(age(report, &finding), "");
        report.generated_at += 90.minutes();
        assert_eq!(age(report, &finding), "  for 90 min, since 2026-11-21T01:40:00Z\n");
    }

    #[test]
    fn codes_with_one_reason_share_a_line() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        let mut second = report.not_concluded[0].clone();
        second.code = "udp-checksum-errors";
        report.not_concluded.push(second);
        let text = not_concluded(report, Style::default());
        assert!(text.contains("rp-filter-strict, udp-checksum-errors: counters:"), "{text}");
    }
}
