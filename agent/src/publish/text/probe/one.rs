//! One path: verdict, facts, hops, what to do.

use probes::path::{Plane, VerdictName, Way};
use probes::remedy::{self, Fix, Lost};
use probes::report::PathRow;
use probes::snapshot::Setup;

use super::super::findings::advice;
use super::super::style::{Style, Tone, clean};
use super::super::tables::{hop, round_trip, words};
use super::spread::swallows;
use super::{UNEVEN, hops, is_fine, spread};

/// A path as a small report.
pub(super) fn report(path: &PathRow, style: Style) -> String {
    let (word, tone) = word(path);
    let mut text = style.wrap_marked(tone, &word, &clean(&headline(path)));
    text.push_str(&facts(path, style));
    text.push_str(&hops::of(path, style));
    text.push_str(&spread::of(path, style));
    let advised: String = to_do(path).iter().map(|line| advice(line, style)).collect();
    text + if advised.is_empty() { "" } else { "\n" } + &advised
}

/// The verdict, loudly.
fn word(path: &PathRow) -> (String, Tone) {
    let (word, tone) = words(path.verdict);
    match path.verdict {
        VerdictName::Clear if !is_fine(path) => (UNEVEN.to_uppercase(), uneven(path)),
        _ => (word.to_uppercase(), tone.unwrap_or(Tone::Good)),
    }
}

/// How bad it is that some paths of equal cost are smaller.
pub(super) fn uneven(path: &PathRow) -> Tone {
    if path.spread.as_ref().is_some_and(swallows) { Tone::Critical } else { Tone::Warning }
}

/// The target, and what it comes to.
fn headline(path: &PathRow) -> String {
    let address = path.address.to_string();
    let target = if path.peer == address { address } else { format!("{} ({address})", path.peer) };
    let sizes = match (path.path_mtu, path.expected_mtu) {
        (Some(mtu), Some(expected)) if mtu != expected => format!("carries {mtu} of {expected} B"),
        (Some(mtu), _) => format!("carries {mtu} B"),
        (None, _) => String::new(),
    };
    match (path.verdict, &path.why) {
        (VerdictName::Clear, _) if !is_fine(path) => format!("{target}: {sizes}, but not on every path of equal cost."),
        (VerdictName::Clear, _) => format!("{target}: {sizes}, and that is the largest packet that its route takes."),
        (VerdictName::Limited, _) => {
            format!("{target}: {sizes}; larger packets are refused, and who sends them is told.")
        }
        (VerdictName::BlackHole, _) => format!("{target}: {sizes}; larger packets vanish, and nobody says so."),
        (_, Some(why)) => format!("{target}: {why}."),
        (_, None) => format!("{target}: nothing is known."),
    }
}

/// What was measured, a line each.
fn facts(path: &PathRow, style: Style) -> String {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("there", path.forward_mtu.map(|mtu| way(mtu.to_string(), path, Way::Forward)));
    add("back", path.reverse_mtu.map(|mtu| way(format!("{mtu} or more"), path, Way::Reverse)));
    add("lost", path.hole.map(|hole| hole.to_string()));
    add("limited by", path.limited_by.as_ref().filter(|_| path.hole.is_none()).map(|limit| hop(Some(limit))));
    add("below the tunnel", path.outer.as_ref().and_then(|outer| below(outer.path_mtu?.to_string(), path)));
    add("cached here", path.cached_mtu.map(|mtu| mtu.to_string()));
    add("round trip", round_trip(path));
    add("leaves by", leaves_by(path));
    add("packets", Some(path.packets_sent.to_string()));
    let widest = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        style.wrap(&format!("  {name}{}  ", " ".repeat(widest - name.chars().count())), &clean(value))
    };
    facts.iter().map(line).collect()
}

fn way(carries: String, path: &PathRow, way: Way) -> String {
    if path.way == Some(way) { format!("{carries}  ◄ larger ones vanish on this way") } else { carries }
}

fn below(outer: String, path: &PathRow) -> Option<String> {
    let tunnel = path.via.first()?;
    Some(format!("{outer} to the far end of {tunnel}, its headers included"))
}

fn leaves_by(path: &PathRow) -> Option<String> {
    let links = path.via.join(" over ");
    let route = path.route.as_ref().map(|route| match route.mtu {
        Some(mtu) => format!(" (route to {}, mtu {mtu})", route.to),
        None => format!(" (route to {})", route.to),
    });
    (!links.is_empty()).then(|| format!("{links}{}", route.unwrap_or_default()))
}

/// What a verdict means for whoever has to act on it, in a sentence.
pub(super) fn meaning(path: &PathRow) -> Option<String> {
    let size = path.path_mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
    let why = path.why.as_deref();
    match path.verdict {
        VerdictName::Clear => None,
        VerdictName::Limited => Some(format!(
            "packets larger than {size} bytes are refused with an ICMP error, so senders can adapt; what drops ICMP on \
             the way back would turn this into a black hole."
        )),
        VerdictName::BlackHole => Some(format!(
            "packets larger than {size} bytes vanish in silence: connections open and then hang. Raise the MTU of \
             the link that drops them, or set the sender's MTU to {size}."
        )),
        VerdictName::Unreachable => Some(format!("{}.", why.unwrap_or("nothing comes back for any size"))),
        VerdictName::Unknown => Some(format!("{}.", why.unwrap_or("nothing could be concluded"))),
    }
}

/// What to do, line by line; commands begin with `$ `.
fn to_do(path: &PathRow) -> Vec<String> {
    match path.verdict {
        VerdictName::BlackHole | VerdictName::Limited => mend(path),
        VerdictName::Unreachable => vec![
            "If it should answer, see what this machine knows of the way there, and what is wrong here:".into(),
            format!("$ ip route get {to}; ip neigh show to {to}; mtuscope report --peer {to}", to = path.address),
        ],
        VerdictName::Clear | VerdictName::Unknown => Vec::new(),
    }
}

/// Through a tunnel it is the network below that has to carry more, which this path does not tell of.
fn mend(path: &PathRow) -> Vec<String> {
    let (Some(carries), Some(size)) = (path.path_mtu, path.expected_mtu) else { return Vec::new() };
    if path.plane != Plane::Underlay {
        let tunnel = path.via.first().map_or("the tunnel", String::as_str);
        return vec![
            format!("This leads through {tunnel}: see what the network below it carries, and which MTU fits:"),
            format!("$ mtuscope report --peer {}", path.address),
        ];
    }
    let silent = path.verdict == VerdictName::BlackHole;
    let lost = match path.limited_by {
        Some(limit) if !silent => Lost::Told { by: limit.address },
        _ => Lost::Silently { hole: path.hole },
    };
    let (peer, to) = (path.peer.clone(), path.address);
    let fix = match path.way {
        Some(Way::Reverse) => Fix::WayBackCarries { peer, to, here: None, size, overhead: 0, silent },
        _ => Fix::PathCarries { to, size, overhead: 0, carries, lost },
    };
    remedy::render(&[fix], Setup::default())
}
