//! What is told of a cluster in sentences, the same on the screen and on the page. Names are as agents told them: whoever
//! shows a sentence makes it safe for the place.

use probes::cluster::{Answer, Counts, DifferingRow, Matrix, NodeRow, OddRow, Share, Summary, WayRow};
use probes::path::Plane;
use probes::report::Vantage;
use probes::units::Family;

/// Names in one sentence.
const NAMES: usize = 6;

/// What so many paths came to, the good first, and nothing that there is none of.
pub(in crate::publish) fn counts(counts: &Counts) -> String {
    let measured = counts.measured();
    let mut parts = vec![match measured {
        0 => "no path measured".to_owned(),
        _ => format!("{} of {measured} paths clear", counts.clear),
    }];
    let others = [
        (counts.limited, "limited"),
        (counts.black_hole, "with a black hole"),
        (counts.unreachable, "cut off"),
        (counts.unknown, "unknown"),
        (counts.unmeasured, "not measured yet"),
        (counts.unanswered, "whose agent did not answer"),
    ];
    parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    parts.join(", ")
}

/// How many were heard, and of how many that says nothing about now.
pub(in crate::publish) fn answered(summary: &Summary) -> String {
    let heard = format!("{} of {} agents answered", summary.answered, summary.agents);
    match summary.standing_still {
        0 => heard,
        still => format!("{heard}, the rounds of {still} stand still"),
    }
}

/// A time that has passed.
pub(in crate::publish) fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// On which network.
pub(in crate::publish) fn place(vantage: Vantage, plane: Plane, family: Family) -> String {
    let of = if vantage == Vantage::Pod { " of pods" } else { "" };
    format!("{}{of}, {family}", plane.name())
}

pub(in crate::publish) fn standing_out(odd: &OddRow) -> String {
    let mut parts = Vec::new();
    parts.extend(share(
        &odd.to_it,
        |few| format!("{few} peers reach it"),
        |few| format!("{few} peers do not reach it"),
    ));
    parts.extend(share(
        &odd.from_it,
        |few| format!("it reaches {few} peers"),
        |few| format!("it does not reach {few} peers"),
    ));
    let others = &odd.others;
    let good = others.measured.saturating_sub(others.worse);
    let all = if others.worse == 0 { format!("all {good}") } else { format!("{good} of {}", others.measured) };
    let place = place(odd.vantage, odd.plane, odd.family);
    let usual = odd.usual_mtu;
    format!("{} stands out ({place}): {}; {all} paths between the others carry {usual}.", odd.node, parts.join(", "))
}

/// Those cells that are worse; `None` if none is.
fn share(share: &Share, with: impl Fn(&str) -> String, without: impl Fn(&str) -> String) -> Option<String> {
    let Share { worse, measured, unreachable, path_mtu } = *share;
    let few = |count: usize| format!("{count} of {measured}");
    let smaller = path_mtu.map(|mtu| format!("{} with {mtu}", with(&few(worse - unreachable))));
    let not = (unreachable > 0).then(|| without(&few(unreachable)));
    let parts: Vec<String> = smaller.into_iter().chain(not).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

pub(in crate::publish) fn sentence(way: &WayRow) -> String {
    let WayRow { from, to, there, back, .. } = way;
    let place = place(way.vantage, way.plane, way.family);
    let there = there.map_or_else(|| "nothing".to_owned(), |mtu| mtu.to_string());
    format!("One way differs ({place}): {from} to {to} carries {there}, {to} to {from} carries {back}.")
}

pub(in crate::publish) fn called(node: &NodeRow) -> String {
    let of = if node.vantage == Vantage::Pod { " (pod)" } else { "" };
    format!("{}{of}", node.name)
}

/// The first few names, and how many more there are.
pub(in crate::publish) fn first(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        left => format!("{shown} and {left} more"),
    }
}

/// Agents without a report; where there are many, those with one reason share a line.
pub(in crate::publish) fn silent(matrix: &Matrix) -> Vec<String> {
    let silent: Vec<&NodeRow> = matrix.nodes.iter().filter(|node| node.answer != Answer::Report).collect();
    let line = |node: &&NodeRow| {
        let why = node.why.as_deref().filter(|why| *why != node.answer.words());
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{}: {}{why}.", called(node), node.answer.words())
    };
    if silent.len() <= NAMES {
        return silent.iter().map(line).collect();
    }
    let mut kinds: Vec<Answer> = silent.iter().map(|node| node.answer).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let group = |kind: Answer| {
        let named: Vec<String> = silent.iter().filter(|node| node.answer == kind).map(|node| called(node)).collect();
        format!("{} agents: {}: {}.", named.len(), kind.words(), first(&named))
    };
    kinds.into_iter().map(group).collect()
}

/// Agents whose rounds stand still: what they tell was true once. Where there are many they share a line.
pub(in crate::publish) fn standing_still(matrix: &Matrix) -> Vec<String> {
    let still: Vec<&NodeRow> = matrix.nodes.iter().filter(|node| node.stands_still).collect();
    let line = |node: &&NodeRow| {
        let then = ago(node.report_age_seconds.unwrap_or_default());
        format!("{} tells of what was {then}: its rounds stand still, or its clock is wrong.", called(node))
    };
    if still.len() <= NAMES {
        return still.iter().map(line).collect();
    }
    let least = still.iter().filter_map(|node| node.report_age_seconds).min().unwrap_or_default();
    let named: Vec<String> = still.iter().map(|node| called(node)).collect();
    let (count, then) = (still.len(), ago(least));
    let which = first(&named);
    vec![format!("{count} agents tell of what was {then} or earlier, their rounds stand still: {which}.")]
}

/// What is odd about reports that came.
pub(in crate::publish) fn remarks(matrix: &Matrix) -> Vec<String> {
    let mut lines = Vec::new();
    for node in matrix.nodes.iter().filter(|node| node.answer == Answer::Report) {
        let name = called(node);
        lines.extend(node.calls_itself.as_ref().map(|own| format!("{name} calls itself {own}.")));
        lines.extend(node.why.as_ref().map(|why| format!("{name} measured no path: {why}.")));
        let strangers = first(&node.strangers);
        let unknown = node.strangers_count > 0;
        lines.extend(
            unknown.then(|| format!("{name} has {} peers that are none of these: {strangers}.", node.strangers_count)),
        );
    }
    lines
}

/// In what nodes differ.
pub(in crate::publish) fn differing(matrix: &Matrix) -> Vec<String> {
    let line = |row: &DifferingRow| {
        let value = |at: usize| {
            let value = &row.values[at];
            let nodes = if value.count == 1 { "node" } else { "nodes" };
            // Most have the first: who they are says nothing.
            let most = at == 0 && value.count > 1;
            if most {
                format!("{} on {} {nodes}", value.value, value.count)
            } else {
                format!("{} on {}", value.value, first(&value.nodes))
            }
        };
        let values: Vec<String> = (0..row.values.len()).map(value).collect();
        format!("Nodes differ in {}: {}.", row.what, values.join("; "))
    };
    matrix.differing.iter().map(line).collect()
}
