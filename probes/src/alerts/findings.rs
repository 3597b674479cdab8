//! Findings as alerts: which of the things that see a fault is blamed for it.
//!
//! Everything is derived from `mtuscope_finding`, which has a series for what is wrong and none for what is right: on a
//! healthy cluster of any size these rules read nothing. A finding that another explains on its own node has no series.
//!
//! # On a node
//! Codes about a node's own things (links, settings, files) are told by (node, subject). More than [`FEW`] subjects of one
//! code on one node are told as that node, more than [`FEW`] nodes with one code as that code. What every node sees of one
//! thing they share (the control plane's address, the API) is told once from two nodes on.
//!
//! # Between nodes
//! A code about a path has two ends, and a path is blamed on the end that more such paths have in common: the peer if at
//! least as many nodes see it as the observer sees peers, else the observer. So a dead node is one alert about that node
//! whoever sees it; a node that has lost everybody is one alert about that node, not one for each peer; a single pair
//! names both. A pair that both ends tell of is one alert about the code, whose text names both: no end is the one to
//! blame, and neither is told twice. More than [`FEW`] blamed ends are one alert.
//!
//! Before anybody is blamed, what something on the peer or at the other end of the path explains is left out
//! ([`causes`]): then the explanation alerts.
//!
//! # Holding still
//! The counts that this is decided by are looked at over a quarter of an hour, so that an agent that restarts, or a node
//! that mends a minute before the others, moves no alert from one thing to the next.
//!
//! Many are only what have stood as long as one of them has to ([`STOOD`]): a cluster that takes and gives nodes all day
//! always has some that came or went a moment ago, and together they would hold for as long as anybody asks. So what hits
//! many at once is told after twice the time.
//!
//! A finding is critical as long as it is; it is a warning as long as it was not critical all the time that `for` asks
//! for. One that changes to and fro is a warning all the while and never nothing.

use std::collections::BTreeSet;

use super::expression::{NODE, PLACE, any_of, by_node};
use super::{AlertRule, FEW, Group, Pace, Plain, Recording, Rule, Span, causes, text};
use crate::checks::{ALL, Alert, Entry, Registered};
use crate::report::Severity;
use crate::subject::Subject;

/// Each active finding by node, whatever agent or job tells of it: 1 while it is critical, 0 while it is a warning.
pub const SEEN: &str = "node:mtuscope_finding_seen:critical";
/// The same without those that something beyond their own node explains.
pub const ACTIVE: &str = "node:mtuscope_finding:critical";
/// Subjects of a code on a node.
pub const ON_NODE: &str = "node:mtuscope_finding:count";
/// Nodes that see a code in a peer.
pub const OF_PEER: &str = "peer:mtuscope_finding:count";
/// Nodes that have a code.
pub const NODES: &str = "cluster:mtuscope_finding_nodes:count";
/// Peers that are blamed.
pub const BLAMED_PEER: &str = "peer:mtuscope_finding_blamed:count";
/// Observers that are blamed.
pub const BLAMED_NODE: &str = "node:mtuscope_finding_blamed:count";
/// Findings about a peer that no other node shares, and no other finding of theirs outweighs: both ends are named.
const PAIR: &str = "node:mtuscope_finding_pair:count";
/// Things that a code is blamed on, as subjects, that have stood for as long as its alert asks for.
const STOOD: &str = "peer:mtuscope_finding_stood:count";
/// How many they are.
const BLAMED: &str = "cluster:mtuscope_finding_blamed:count";
/// What is alerted: by (node, subject), node, peer as subject, or cluster.
pub const TOLD: &str = "alert:mtuscope_finding:count";
/// The same, and 1 if it is critical.
pub const TOLD_CRITICAL: &str = "alert:mtuscope_finding:critical";
/// What stands behind an alert of several, as label `of`: who sees a peer, what a node has, what else is blamed.
pub const BEHIND: &str = "alert:mtuscope_finding_behind:count";

/// Codes that every node sees of one thing.
const SHARED: [&str; 3] = ["peer-source-stale", "vip-absent", "vip-duplicate"];

/// Codes whose subject is a peer.
pub fn of_peers() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(|check| is_of_peer(check)).map(|check| check.entry.code)
}

/// Whether a code's subject is a peer.
pub fn is_of_peer(check: &Registered) -> bool {
    matches!(check.example().subject, Subject::Path { .. })
}

/// Whether a code is about one thing that every node sees.
pub fn is_shared(check: &Registered) -> bool {
    SHARED.contains(&check.entry.code)
}

/// Rules about findings.
pub fn group(pace: Pace) -> Group {
    let mut rules: Vec<Rule> = recordings(pace).into_iter().map(Rule::Recording).collect();
    rules.extend(ALL.iter().flat_map(|check| alerts(check, pace)).map(Rule::Alert));
    Group {
        name: "mtuscope-findings",
        purpose: "What the agents find: each fault once, blamed on the smallest thing that explains it.",
        interval: None,
        rules,
    }
}

fn recordings(pace: Pace) -> Vec<Recording> {
    let peers = any_of(of_peers());
    let window = pace.minutes(15);
    let active = "mtuscope_finding{severity=\"critical\"} or 0 * mtuscope_finding{severity=\"warning\"}";
    let seen = Recording {
        name: SEEN,
        what: "Active findings by node: 1 if critical, 0 if a warning.",
        expr: by_node("max", "code, subject", active),
    };
    let rows: [(&str, &str, String); 12] = [
        (
            ACTIVE,
            "Those of them that nothing beyond their node explains.",
            format!("{SEEN} unless {}", causes::EXPLAINED),
        ),
        (ON_NODE, "Subjects of each code on each node.", format!("count by ({NODE}, code) ({ACTIVE})")),
        (
            OF_PEER,
            "Nodes that find a code in each peer.",
            format!("count by ({PLACE}, code, subject) ({ACTIVE}{{code=~\"{peers}\"}})"),
        ),
        (NODES, "Nodes with each code.", format!("count by ({PLACE}, code) ({ON_NODE})")),
        (
            BLAMED_PEER,
            "Peers that explain what is seen of them: at least as many nodes see it as one of these sees peers.",
            format!("count by ({PLACE}, code, subject) ({}\n)", ends(">=", window)),
        ),
        (
            BLAMED_NODE,
            "Nodes that explain what they see themselves, unless others see it in them.",
            format!("count by ({NODE}, code) ({}\n)\nunless on ({NODE}, code) {}", ends("<", window), as_node()),
        ),
        (STOOD, "Things that each code is blamed on, once they have stood as long as its alert asks for.", stood(pace)),
        (BLAMED, "How many they are.", format!("count by ({PLACE}, code) ({STOOD})")),
        (PAIR, "Findings of one node about one peer.", pairs(window)),
        (TOLD, "What is alerted, and how many it stands for.", told(window)),
        (TOLD_CRITICAL, "The same: 1 if critical, 0 if a warning.", critical()),
        (BEHIND, "What stands behind an alert of several, as label `of`.", behind()),
    ];
    let rows = rows.map(|(name, what, expr)| Recording { name, what, expr });
    [seen].into_iter().chain(causes::recordings(pace)).chain(rows).collect()
}

/// Findings about peers whose peer end compares so with the observer's end. What is compared with is unique whatever labels
/// a ruler adds to what it records, for otherwise the rule would fail, and with it every alert about paths.
fn ends(compared: &str, window: Span) -> String {
    format!(
        "\n  0 * {ACTIVE}\
         \n    + on ({PLACE}, code, subject) group_left () max by ({PLACE}, code, subject) (max_over_time({OF_PEER}[{window}]))\
         \n    {compared} on ({NODE}, code) group_left () max by ({NODE}, code) (max_over_time({ON_NODE}[{window}]))"
    )
}

/// Blamed peers as the nodes that they are.
fn as_node() -> String {
    format!("label_replace({BLAMED_PEER}, \"node\", \"$1\", \"subject\", \"(.+)\")")
}

/// What is blamed, as subjects, and was so already as long ago as the code's alert has to hold.
fn stood(pace: Pace) -> String {
    let held = |series: &str, of: &dyn Fn(&Registered) -> bool| {
        let minutes: BTreeSet<u32> = ALL.iter().filter(|check| of(check)).filter_map(hold).collect();
        minutes
            .into_iter()
            .map(|minutes| {
                let codes = ALL.iter().filter(|check| of(check) && hold(check) == Some(minutes));
                let codes = any_of(codes.map(|check| check.entry.code));
                let series = format!("{series}{{code=~\"{codes}\"}}");
                format!("{series} and {series} offset {}", pace.minutes(minutes))
            })
            .collect::<Vec<_>>()
            .join("\n  or ")
    };
    let as_subject = |series: &str| format!("label_replace({series}, \"subject\", \"$1\", \"node\", \"(.+)\")");
    let of_node = |check: &Registered| !is_of_peer(check);
    format!(
        "count by ({PLACE}, code, subject) (\n  {}\n  or {}\n  or {}\n)",
        held(BLAMED_PEER, &is_of_peer),
        as_subject(&format!("(\n  {}\n  )", held(BLAMED_NODE, &is_of_peer))),
        as_subject(&format!("(\n  {}\n  )", held(ON_NODE, &of_node)))
    )
}

/// Minutes for which a code's alert has to hold, if it alerts.
fn hold(check: &Registered) -> Option<u32> {
    match check.entry.alert {
        Alert::Named { minutes, .. } => Some(minutes),
        Alert::None { .. } => None,
    }
}

/// By the labels of the alert: the nodes that see a peer, what one node has, and where no label says so the things that are
/// blamed and have no alert of their own.
fn behind() -> String {
    let peers = any_of(of_peers());
    let of = |series: &str, label: &str| format!("label_replace({series}, \"of\", \"$1\", \"{label}\", \"(.+)\")");
    let observers = of(&format!("{ACTIVE} and on ({PLACE}, code, subject) {TOLD}{{node=\"\", subject!=\"\"}}"), "node");
    let things = of(&format!("{ACTIVE} and on ({NODE}, code) {TOLD}{{node!=\"\", subject=\"\"}}"), "subject");
    let alone = format!("{BLAMED_PEER} unless on ({PLACE}, code, subject) {TOLD}{{node=\"\", subject!=\"\"}}");
    format!(
        "count by ({PLACE}, code, subject, of) ({observers})\
         \nor count by ({NODE}, code, of) ({things})\
         \nor count by ({PLACE}, code, of) (\
         \n  {}\n  or {}\n  or {}\
         \n) and on ({PLACE}, code) {TOLD}{{node=\"\", subject=\"\"}}",
        of(&alone, "subject"),
        of(BLAMED_NODE, "node"),
        of(&format!("{ON_NODE}{{code!~\"{peers}\"}}"), "node"),
    )
}

/// Blamed peers that one node sees.
fn alone(window: Span) -> String {
    format!("({BLAMED_PEER} and max_over_time({OF_PEER}[{window}]) == 1)")
}

fn pairs(window: Span) -> String {
    format!("1 + 0 * ({ACTIVE} and on ({PLACE}, code, subject) {})", alone(window))
}

fn told(window: Span) -> String {
    let shared = any_of(SHARED);
    let of_nodes = |series: &str| format!("{series} unless on ({PLACE}, code) {OF_PEER}");
    let crowded = format!("avg_over_time({ON_NODE}[{window}]) > {FEW}");
    let alone = alone(window);
    let other_end =
        format!("on ({NODE}, code, subject) {}", causes::swapped(&format!("max_over_time({PAIR}[{window}])")));
    let many = format!(
        "(avg_over_time({BLAMED}[{window}]) > {FEW}\
         \n    or avg_over_time({BLAMED}{{code=~\"{shared}\"}}[{window}]) > 1)"
    );
    format!(
        "(\
         \n  1 + 0 * ({} unless on ({NODE}, code) {crowded})\
         \n  or {} and {crowded}\
         \n  or {PAIR} unless {other_end}\
         \n  or count by ({PLACE}, code) (count by ({NODE}, code) ({PAIR} and {other_end}))\
         \n  or {OF_PEER} and {BLAMED_PEER} unless {alone}\
         \n  or {ON_NODE} and {BLAMED_NODE}\
         \n) unless on ({PLACE}, code) {many}\
         \nor {BLAMED} and {many}",
        of_nodes(ACTIVE),
        of_nodes(ON_NODE),
    )
}

fn critical() -> String {
    let worst = |labels: &str, only: &str| {
        format!(
            "0 * {TOLD}{{{only}}} + on ({PLACE}, code{labels}) group_left () max by ({PLACE}, code{labels}) ({ACTIVE})"
        )
    };
    [
        worst(", node, subject", "node!=\"\", subject!=\"\""),
        worst(", node", "node!=\"\", subject=\"\""),
        worst(", subject", "node=\"\", subject!=\"\""),
        worst("", "node=\"\", subject=\"\""),
    ]
    .join("\nor\n")
}

/// The alerts of one code: one for each severity that alerts, the worst first.
fn alerts(check: &Registered, pace: Pace) -> Vec<AlertRule> {
    let Alert::Named { name, minutes } = check.entry.alert else { return Vec::new() };
    let hold = pace.minutes(minutes);
    let alerting = check.entry.severities.iter().rev().filter(|severity| **severity > Severity::Info);
    let severities: Vec<Severity> = alerting.copied().collect();
    let rule = |severity: &Severity| AlertRule {
        name,
        severity: *severity,
        expr: expression(check, *severity, severities.len() > 1, pace.minutes(minutes + 1)),
        hold,
        keep: hold.max(pace.minutes(5)),
        summary: text::summary(check, true),
        description: text::description(check, true),
        plain: Plain { summary: text::summary(check, false), description: text::description(check, false) },
        anchor: check.entry.code,
    };
    severities.iter().map(rule).collect()
}

fn expression(check: &Registered, severity: Severity, changes: bool, window: Span) -> String {
    let code = check.entry.code;
    let mut expr = format!("{TOLD}{{code=\"{code}\"}}");
    if changes {
        expr.push_str(&match severity {
            Severity::Critical => format!("\nand {TOLD_CRITICAL}{{code=\"{code}\"}} == 1"),
            // A window holds what lies within it and not at both of its ends: one more evaluation than the time asked for.
            _ => format!("\nand min_over_time({TOLD_CRITICAL}{{code=\"{code}\"}}[{window}]) == 0"),
        });
    }
    if is_of_peer(check) {
        expr.push_str(&explained(check.entry, severity));
    }
    expr
}

/// What leaves out peers that others' findings about them explain, whoever has those: what is critical for a critical
/// finding, anything for a warning.
fn explained(entry: &Entry, severity: Severity) -> String {
    let all = ALL.iter().filter(|cause| is_of_peer(cause));
    let causes = all.filter(|cause| cause.entry.silences.contains(&entry.code) && causes::is_heard(cause.entry, entry));
    let others = any_of(causes.map(|cause| cause.entry.code).filter(|code| !entry.silences.contains(code)));
    if others.is_empty() {
        return String::new();
    }
    let told = |series: &str| format!("{series}{{code=~\"{others}\",node=\"\",subject!=\"\"}}");
    let causes = match severity {
        Severity::Critical => format!("({} == 1)", told(TOLD_CRITICAL)),
        _ => told(TOLD),
    };
    format!("\nunless on ({PLACE}, subject) {causes}")
}
