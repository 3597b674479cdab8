//! Findings as blocks: what is wrong, what was seen, what to do, and what it causes.
//!
//! As in the text, the first few of a code are told in full and the others named: what mends one mends them.

use std::collections::BTreeMap;

use probes::alerts::RUNBOOK;
use probes::report::{Finding, Report, Severity};
use serde_json::Value;

use super::super::super::text::findings::{Unjudged, by_kind, label, on_planes, show, tone, unjudged};
use super::super::shown;
use super::table::class;
use super::{name, sentence, time};

/// Findings of one code and severity that are told in full.
const IN_FULL: usize = 3;

/// Findings that are told in full, of all codes.
const ALL_IN_FULL: usize = 60;

/// Subjects of the others that are named, and consequences of one finding.
const NAMED: usize = 50;

/// Pieces of evidence of one finding.
const PIECES: usize = 40;

/// Characters of one piece of evidence, and of a command.
const EVIDENCE: usize = 600;
const COMMAND: usize = 2_000;

/// Findings of one code and severity.
pub(super) struct Kind {
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
    pub(super) sign: &'static str,
    pub(super) code: &'static str,
    pub(super) full: Vec<Block>,
    /// The subjects of others.
    pub(super) others: Vec<String>,
    /// How many others there are.
    pub(super) all_others: usize,
}

/// One finding.
pub(super) struct Block {
    pub(super) subject: String,
    pub(super) summary: String,
    /// Names and values.
    pub(super) evidence: Vec<(String, String)>,
    /// What to do: one way, or several to choose from.
    pub(super) ways: Vec<Remedy>,
    pub(super) runbook: String,
    pub(super) since: String,
    pub(super) stamp: String,
    /// How long it has lasted, where that is longer than a round.
    pub(super) lasted: String,
    pub(super) effects: Vec<String>,
    /// Effects that are not named.
    pub(super) more_effects: usize,
}

/// One way to mend it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remedy {
    /// How it stands to the one before it, as in `Or, instead of that:`.
    pub(super) opening: String,
    pub(super) steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// The sentence, in pieces; what is to be typed as it stands is `true`.
    pub(super) words: Vec<(bool, String)>,
    pub(super) commands: Vec<String>,
}

/// Why something could not be concluded: the codes, a reason, others like it, and how many more.
pub(super) struct Blind {
    pub(super) codes: String,
    pub(super) reason: String,
    pub(super) others: Vec<String>,
    pub(super) more: usize,
}

/// The loud findings, worst first, and how many are neither told nor named.
pub(super) fn kinds(report: &Report) -> (Vec<Kind>, usize) {
    let effects = Effects::new(report);
    let (mut left, mut untold) = (ALL_IN_FULL, 0);
    let kinds = by_kind(report);
    let kinds = kinds.iter().map(|of| {
        let full = of.len().min(IN_FULL).min(left);
        left -= full;
        untold += (of.len() - full).saturating_sub(NAMED);
        kind(report, of.split_at(full), &effects)
    });
    (kinds.collect(), untold)
}

fn kind(report: &Report, (full, others): (&[&Finding], &[&Finding]), effects: &Effects<'_>) -> Kind {
    let first = full.first().or(others.first()).expect("a kind is made for a finding");
    let sign = match first.severity {
        Severity::Critical => "✗",
        Severity::Warning => "▲",
        Severity::Info => "i",
    };
    Kind {
        tone: class(Some(tone(first.severity))),
        word: first.severity.name(),
        sign,
        code: first.code,
        full: full.iter().map(|finding| block(report, finding, effects)).collect(),
        others: others.iter().take(NAMED).map(|finding| name(&finding.subject)).collect(),
        all_others: others.len(),
    }
}

fn block(report: &Report, finding: &Finding, effects: &Effects<'_>) -> Block {
    let caused = effects.of(finding);
    let more_effects = caused.len().saturating_sub(NAMED);
    Block {
        subject: name(&finding.subject),
        summary: sentence(&finding.summary),
        evidence: evidence(&finding.evidence),
        ways: ways(&finding.remedy),
        runbook: format!("{RUNBOOK}#{}", finding.code),
        since: time(finding.since),
        stamp: finding.since.to_string(),
        lasted: lasted(report.generated_at.as_second() - finding.since.as_second()),
        effects: caused.into_iter().take(NAMED).collect(),
        more_effects,
    }
}

fn lasted(seconds: i64) -> String {
    match seconds {
        ..60 => String::new(),
        60..7200 => format!("for {} min, ", seconds / 60),
        7200..172_800 => format!("for {} h, ", seconds / 3600),
        _ => format!("for {} days, ", seconds / 86_400),
    }
}

/// Names and values; what is within something else has the names of both.
fn evidence(evidence: &Value) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    pour(evidence, "", &mut pairs);
    pairs.truncate(PIECES);
    pairs
}

fn pour(value: &Value, within: &str, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Array(items) if items.is_empty() => {}
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("kind") => {
            pairs.push((name(within), shown(&show(value), EVIDENCE)));
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                pour(value, format!("{within} {}", label(key)).trim_start(), pairs);
            }
        }
        value => pairs.push((name(within), shown(&show(value), EVIDENCE))),
    }
}

/// A sentence begins a step; commands belong to the sentence before them.
fn steps(remedy: &[String]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in remedy {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), Some(step)) => step.commands.push(shown(command, COMMAND)),
            (Some(command), None) => {
                steps.push(Step { words: Vec::new(), commands: vec![shown(command, COMMAND)] });
            }
            (None, _) => steps.push(Step { words: pieces(line), commands: Vec::new() }),
        }
    }
    steps
}

/// The steps, cut where a sentence without a command opens what follows it.
fn ways(remedy: &[String]) -> Vec<Remedy> {
    let mut ways = vec![Remedy::default()];
    let mut steps = steps(remedy).into_iter().peekable();
    while let Some(step) = steps.next() {
        match step.words.as_slice() {
            [(false, words)] if words.ends_with(':') && step.commands.is_empty() && steps.peek().is_some() => {
                ways.push(Remedy { opening: words.clone(), steps: Vec::new() });
            }
            _ => ways.last_mut().expect("there is one from the start").steps.push(step),
        }
    }
    ways.retain(|way| !way.steps.is_empty());
    ways
}

/// A sentence cut at its backquotes.
fn pieces(line: &str) -> Vec<(bool, String)> {
    let line = sentence(line);
    let pieces = line.split('`').enumerate().map(|(nth, piece)| (nth % 2 == 1, piece.to_owned()));
    pieces.filter(|(_, piece)| !piece.is_empty()).collect()
}

/// What is silenced, by the loud finding at its root.
struct Effects<'r>(BTreeMap<&'r str, Vec<(&'r Finding, String)>>);

impl<'r> Effects<'r> {
    fn new(report: &'r Report) -> Self {
        let causes: BTreeMap<String, &str> =
            report.findings.iter().filter_map(|finding| Some((id(finding), finding.silenced_by.as_deref()?))).collect();
        let mut effects: BTreeMap<&str, Vec<(&Finding, String)>> = BTreeMap::new();
        for finding in &report.findings {
            let Some(mut cause) = finding.silenced_by.as_deref() else { continue };
            // No longer than there are findings: a circle would have no root.
            for _ in 0..causes.len() {
                cause = causes.get(cause).copied().unwrap_or(cause);
            }
            effects.entry(cause).or_default().push((finding, id(finding)));
        }
        Self(effects)
    }

    /// Each code and subject once, with the planes on which it is seen.
    fn of(&self, cause: &Finding) -> Vec<String> {
        let mut effects: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut at = BTreeMap::new();
        for (finding, id) in self.0.get(id(cause).as_str()).into_iter().flatten() {
            let place = *at.entry(id.as_str()).or_insert_with(|| {
                effects.push((id, Vec::new()));
                effects.len() - 1
            });
            effects[place].1.extend(finding.evidence.get("plane").and_then(Value::as_str));
        }
        effects.iter().map(|(id, planes)| on_planes(&name(id), planes)).collect()
    }
}

fn id(finding: &Finding) -> String {
    format!("{} {}", finding.code, finding.subject)
}

/// What could not be judged, and for how many codes that is not said.
pub(super) fn blind(report: &Report) -> (Vec<Blind>, usize) {
    let all = unjudged(report);
    let shown = |Unjudged { codes, reasons }: &Unjudged| {
        let mut told = reasons.iter().take(NAMED).map(|reason| sentence(reason));
        Blind {
            codes: codes.join(", "),
            reason: told.next().unwrap_or_default(),
            others: told.collect(),
            more: reasons.len().saturating_sub(NAMED),
        }
    };
    (all.iter().take(NAMED).map(shown).collect(), all.len().saturating_sub(NAMED))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::super::example::{finding, published};
    use super::*;

    #[test]
    fn commands_belong_to_the_sentence_before_them() {
        let lines = ["$ ip link", "Set `mtu` of it:", "$ ip link set dev a mtu 1500", "$ true", "Then wait."];
        let told = steps(&lines.map(str::to_owned));
        let commands: Vec<usize> = told.iter().map(|step| step.commands.len()).collect();
        assert_eq!(commands, [1, 2, 0]);
        let piece = |code, text: &str| (code, text.to_owned());
        assert_eq!(told[1].words, [piece(false, "Set "), piece(true, "mtu"), piece(false, " of it:")]);
    }

    #[test]
    fn another_way_is_counted_from_one_again() {
        let lines = ["Raise it:", "$ a", "Or, instead of that:", "Lower the other.", "Then wait:"];
        let told = ways(&lines.map(str::to_owned));
        let said: Vec<_> = told.iter().map(|way| (way.opening.as_str(), way.steps.len())).collect();
        assert_eq!(said, [("", 1), ("Or, instead of that:", 2)], "the last one opens nothing");
        assert_eq!(ways(&[]), []);
    }

    #[test]
    fn what_follows_from_a_consequence_stands_below_the_root() {
        let mut report = (*published().report).clone();
        let of = |code, subject, cause| finding(code, Severity::Warning, subject, cause);
        report.findings = vec![
            of("link-down", "a", None),
            of("peer-unreachable", "b", Some("link-down a")),
            of("overlay-unreachable", "b", Some("peer-unreachable b")),
        ];
        let (kinds, _) = kinds(&report);
        assert_eq!(kinds[0].full[0].effects, ["peer-unreachable b", "overlay-unreachable b"]);
    }

    #[test]
    fn evidence_without_a_value_is_left_out() {
        let told = evidence(&json!({"is_up": false, "by": null, "peers": [], "of": {}, "a": "x".repeat(900),
            "hole": {"before": {"ttl": 1}, "after": null}, "why": {"kind": "silent"}, "links": ["a", "b"]}));
        assert_eq!(told[0].1.chars().count(), EVIDENCE + 1);
        let told: Vec<_> = told[1..].iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(told, ["hole before ttl: 1", "is up: no", "links: a, b", "why: silent"]);
    }

    #[test]
    fn what_is_alike_stands_together_and_what_is_left_out_is_counted() {
        let mut report = (*published().report).clone();
        let told = |code, reason: String| probes::report::NotConcluded { code, reason };
        report.not_concluded = vec![told("path-lossy", "a".into()), told("path-limited", "a".into())];
        report.not_concluded.extend((0..60).map(|n| told("path-lossy", format!("path {n}"))));
        let (blind, more) = blind(&report);
        let [both, one] = blind.as_slice() else { panic!("{} groups", blind.len()) };
        assert_eq!((both.codes.as_str(), both.reason.as_str(), more), ("path-lossy, path-limited", "a", 0));
        assert_eq!((one.codes.as_str(), one.others.len(), one.more), ("path-lossy", NAMED - 1, 60 - NAMED));
    }

    #[test]
    fn many_of_a_kind_are_counted() {
        let mut report = (*published().report).clone();
        report.findings =
            (0..100).map(|n| finding("peer-unreachable", Severity::Critical, &format!("p{n}"), None)).collect();
        let (kinds, untold) = kinds(&report);
        let kind = &kinds[0];
        assert_eq!((kind.full.len(), kind.others.len(), kind.all_others, untold), (3, 50, 97, 47));
    }
}
