//! What explains a finding about a peer: something that is found on the peer, or at the other end of the same path.
//!
//! An agent names the causes that it sees itself; those that another node sees are joined here. Two kinds are:
//! - *own*: a peer's own links, settings and files explain what others see of that peer;
//! - *far*: what `a` finds about its path to `b` explains what `b` finds about its path to `a`, and nothing else of `b`.
//!
//! Which code explains which is what the catalogue says of one node (`silences`, and what those silence in turn) and
//! [`AT_PEERS`]. Where two codes explain each other the first of the catalogue does, so that no two hide each other, and no
//! ring of them either.
//!
//! # Never quieter than the fault
//! A cause stands in only for what is not worse: a warning never hides what is critical. A critical finding is left to a
//! cause that alerts about as soon ([`SOON`]); a warning may wait for any that alerts.
//!
//! A cause counts for two minutes longer than it stands: an agent that restarts finds it again by then, peers see a little
//! later that it is mended, and a node that died with it hides for no longer that it is dead.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{NODE, PLACE, and, any_of};
use super::findings::{SEEN, of_peers};
use super::{Pace, Recording};
use crate::checks::{ALL, Alert, Entry};

/// Own causes, by the node as subject.
const OWN: &str = "peer:mtuscope_finding_cause:critical";
/// Causes about a path, by its other end.
const FAR: &str = "node:mtuscope_finding_cause:critical";
/// Findings that something beyond their own node explains.
pub(super) const EXPLAINED: &str = "node:mtuscope_finding_explained:critical";

/// Minutes that a cause may take to alert: what it leaves out that is critical is not heard of before.
const SOON: u32 = 5;

/// What a fault looks like from its peers and not on its own node, where `silences` has the rest.
const AT_PEERS: &[(&str, &[&str])] = &[
    // Its pods get nothing, and their node, which answers itself, misses nothing.
    ("ip-forward-off", &["pod-unreachable"]),
    // Its pods hear questions and cannot send the answers.
    ("proxy-arp-off", &["pod-unreachable"]),
    // It sends less than it takes, or takes less than it sends.
    ("bridge-port-mtu", &["path-limited", "path-mtu-asymmetric"]),
    ("declared-mtu-differs", &["path-mtu-asymmetric"]),
    ("node-mtu-differs", &["path-mtu-asymmetric"]),
    // It keeps to a size that the path back is free of.
    ("path-mtu-cache-stale", &["path-mtu-asymmetric"]),
];

/// Rules that yield [`EXPLAINED`], in order.
pub(super) fn recordings(pace: Pace) -> [Recording; 3] {
    let (window, catalogue) = (pace.minutes(2), Catalogue::new());
    let stood =
        |of_peer| format!("max_over_time({SEEN}{{code=~\"{}\"}}[{window}])", any_of(catalogue.explaining(of_peer)));
    [
        Recording {
            name: OWN,
            what: "What nodes find on themselves that peers may see of them, by the node as subject.",
            expr: format!(
                "max by ({PLACE}, code, subject) (label_replace({}, \"subject\", \"$1\", \"node\", \"(.+)\"))",
                stood(false)
            ),
        },
        Recording {
            name: FAR,
            what: "What nodes find about paths that the other end may see too, by the other end.",
            expr: format!("max by ({}) ({})", and(NODE, "code, subject"), swapped(&stood(true))),
        },
        Recording {
            name: EXPLAINED,
            what: "Findings that something beyond their node explains.",
            expr: catalogue.clauses(),
        },
    ]
}

/// Series about a path as if its other end had them.
pub(super) fn swapped(series: &str) -> String {
    format!(
        "label_replace(label_replace(label_replace({series},\
         \n  \"far\", \"$1\", \"node\", \"(.+)\"), \"node\", \"$1\", \"subject\", \"(.+)\"), \"subject\", \"$1\", \"far\", \"(.+)\")"
    )
}

/// Whether a cause alerts, and as soon as what it stands in for.
pub(super) fn is_heard(cause: &Entry, effect: &Entry) -> bool {
    match (cause.alert, effect.alert) {
        (Alert::Named { minutes, .. }, Alert::Named { minutes: own, .. }) => minutes <= own.max(SOON),
        _ => false,
    }
}

/// What leads to what.
struct Catalogue {
    of_peers: BTreeSet<&'static str>,
    /// Of each code, all that it leads to.
    reach: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Catalogue {
    fn new() -> Self {
        let of_peers = of_peers().collect();
        let reach = ALL.iter().map(|check| (check.entry.code, reach(check.entry, &of_peers))).collect();
        Self { of_peers, reach }
    }

    /// Whether a finding on a node may stand in for one that a peer has about that node.
    fn explains(&self, cause: &Entry, effect: &Entry) -> bool {
        let leads = |from: &Entry, to: &Entry| self.reach[from.code].contains(to.code);
        let yields = || leads(effect, cause) && place(effect) < place(cause);
        self.of_peers.contains(effect.code) && cause.code != effect.code && leads(cause, effect) && !yields()
    }

    /// Causes of either kind that alert and explain anything.
    fn explaining(&self, of_peer: bool) -> impl Iterator<Item = &'static str> {
        let explains = move |cause: &&Entry| ALL.iter().any(|effect| self.explains(cause, effect.entry));
        self.alerting(of_peer).filter(explains).map(|cause| cause.code)
    }

    fn alerting(&self, of_peer: bool) -> impl Iterator<Item = &'static Entry> {
        let all = ALL.iter().map(|check| check.entry);
        let of_kind = all.filter(move |cause| self.of_peers.contains(cause.code) == of_peer);
        of_kind.filter(|cause| matches!(cause.alert, Alert::Named { .. }))
    }

    /// Causes of an effect that alert as soon, or those that do later.
    fn causes(&self, effect: &Entry, of_peer: bool, soon: bool) -> impl Iterator<Item = &'static str> {
        let explains = move |cause: &&Entry| self.explains(cause, effect) && is_heard(cause, effect) == soon;
        self.alerting(of_peer).filter(explains).map(|cause| cause.code)
    }

    /// Every clause: effects with the same causes are one.
    fn clauses(&self) -> String {
        let mut clauses: BTreeMap<(bool, bool, String), Vec<&str>> = BTreeMap::new();
        for effect in ALL.iter().map(|check| check.entry) {
            for (of_peer, soon) in [(false, true), (false, false), (true, true), (true, false)] {
                let causes = any_of(self.causes(effect, of_peer, soon));
                if !causes.is_empty() {
                    clauses.entry((of_peer, soon, causes)).or_default().push(effect.code);
                }
            }
        }
        let clauses = clauses.into_iter().map(|((of_peer, soon, causes), of)| clause(of_peer, soon, &causes, of));
        clauses.collect::<Vec<_>>().join("\nor ")
    }
}

fn place(entry: &Entry) -> Option<usize> {
    ALL.iter().position(|check| check.entry.code == entry.code)
}

/// Every code that a cause leads to. One about a path leads on only by others about that path.
fn reach(cause: &'static Entry, of_peers: &BTreeSet<&str>) -> BTreeSet<&'static str> {
    let (mut found, mut ahead) = (BTreeSet::new(), vec![cause]);
    while let Some(entry) = ahead.pop() {
        let more = AT_PEERS.iter().filter(|(code, _)| *code == entry.code).flat_map(|(_, codes)| *codes);
        for code in entry.silences.iter().chain(more) {
            let next = ALL.iter().map(|check| check.entry).find(|entry| entry.code == *code);
            let next = next.filter(|next| !of_peers.contains(cause.code) || of_peers.contains(next.code));
            ahead.extend(next.filter(|next| found.insert(next.code)));
        }
    }
    found
}

fn clause(of_peer: bool, soon: bool, causes: &str, effects: Vec<&str>) -> String {
    let (series, labels) = if of_peer { (FAR, and(NODE, "subject")) } else { (OWN, format!("{PLACE}, subject")) };
    let effects = format!("{SEEN}{{code=~\"{}\"}}", any_of(effects));
    let cause = format!("{series}{{code=~\"{causes}\"}}");
    if soon {
        format!("{effects}\n  <= on ({labels}) group_left () max by ({labels}) ({cause})")
    } else {
        format!("({effects} == 0\n  and on ({labels}) {cause})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(code: &str) -> &'static Entry {
        ALL.iter().map(|check| check.entry).find(|entry| entry.code == code).unwrap()
    }

    #[test]
    fn the_table_names_codes_and_says_what_silences_does_not() {
        let catalogue = Catalogue::new();
        for (cause, effects) in AT_PEERS {
            for effect in *effects {
                assert!(catalogue.of_peers.contains(effect), "{effect} is not about a peer");
                assert!(!entry(cause).silences.contains(effect), "{cause} silences {effect}");
            }
        }
    }

    #[test]
    fn what_a_fault_looks_like_from_the_other_end_is_explained() {
        let catalogue = Catalogue::new();
        let explains = |cause, effect| catalogue.explains(entry(cause), entry(effect));
        for (cause, effect) in [
            ("vtep-incomplete", "overlay-unreachable"),
            ("vtep-mac-differs", "overlay-unreachable"),
            ("path-mtu-cache-stale", "path-mtu-asymmetric"),
            ("ip-forward-off", "pod-unreachable"),
            ("calico-mtu-autodetected-wrong", "path-black-hole"),
            ("declared-mtu-differs", "path-mtu-asymmetric"),
            ("tunnel-no-headroom", "path-limited"),
            ("path-black-hole", "path-mtu-asymmetric"),
        ] {
            assert!(explains(cause, effect), "{cause} does not explain {effect}");
        }
        for (cause, effect) in [
            ("path-mtu-asymmetric", "path-black-hole"),
            ("pod-unreachable", "overlay-unreachable"),
            ("path-lossy", "path-black-hole"),
            ("tunnel-port-closed", "peer-unreachable"),
            ("ip-forward-off", "peer-unreachable"),
            ("path-black-hole", "path-black-hole"),
            ("declared-mtu-differs", "tunnel-no-headroom"),
        ] {
            assert!(!explains(cause, effect), "{cause} explains {effect}");
        }
    }

    #[test]
    fn no_ring_of_codes_hides_itself() {
        let catalogue = Catalogue::new();
        let mut left: Vec<_> = catalogue.of_peers.iter().map(|code| entry(code)).collect();
        while !left.is_empty() {
            let before = left.len();
            let last = left.clone();
            left.retain(|effect| last.iter().any(|cause| catalogue.explains(cause, effect)));
            assert!(left.len() < before, "{:?}", left.iter().map(|entry| entry.code).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_critical_waits_for_no_late_cause() {
        let catalogue = Catalogue::new();
        let late = |code| catalogue.causes(entry(code), false, false).collect::<Vec<_>>();
        let soon = |code| catalogue.causes(entry(code), false, true).collect::<Vec<_>>();
        assert!(late("path-black-hole").contains(&"node-mtu-differs"), "{:?}", late("path-black-hole"));
        assert!(!soon("path-black-hole").contains(&"node-mtu-differs"));
        assert!(soon("path-black-hole").contains(&"tunnel-no-headroom"));
        assert!(clause(false, false, "a", vec!["b"]).contains("== 0"), "only warnings wait");
    }
}
