use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::checks::{ALL, Candidate, Entry};
use crate::config::Expect;
use crate::kernel::ethtool::Devices;
use crate::path::Plane;
use crate::snapshot::{Setup, Topology};
use crate::subject::Subject;
use crate::tables::Tables;
use crate::units::Family;
use crate::windows::Windows;

const fn entry(code: &'static str, severities: &'static [Severity], silences: &'static [&'static str]) -> Entry {
    Entry { severities, silences, ..Entry::made_up(code) }
}

static CAUSE: Entry = entry("cause", &[Severity::Warning, Severity::Critical], &["middle", "effect"]);
static MILD: Entry = entry("mild", &[Severity::Info], &["effect"]);
static MIDDLE: Entry = entry("middle", &[Severity::Warning], &["effect"]);
static EFFECT: Entry = entry("effect", &[Severity::Warning, Severity::Critical], &[]);

fn on(peer: &str, plane: Plane) -> Subject {
    Subject::Path { peer: peer.into(), plane, family: Family::Ipv4 }
}

fn finding(entry: &'static Entry, severity: Severity, subject: Subject) -> Standing {
    let candidate = Candidate {
        entry,
        subject,
        severity,
        summary: String::new(),
        evidence: serde_json::Value::Null,
        fixes: Vec::new(),
        breaks: Vec::new(),
        causes: Causes::All,
    };
    Standing { candidate, since: Timestamp::UNIX_EPOCH }
}

fn nothing() -> Snapshot {
    let tables = Tables::unread();
    Snapshot {
        counters_before: tables.counters.clone(),
        counters_untroubled: tables.counters.clone(),
        tables,
        windows: Windows::default(),
        peers: Vec::new().into(),
        lookups: BTreeMap::new(),
        outer: BTreeMap::new(),
        topology: Topology::default(),
        setup: Setup::default(),
        devices: Devices::unread(),
        paths: BTreeMap::new(),
        beside: BTreeMap::new(),
        hearing: None,
        pace: crate::fact::Fact::Absent,
        fellows: crate::fact::Fact::Absent,
        vips: Vec::new(),
        expect: Expect::default(),
        wire: crate::prober::Wire::Raw,
    }
}

#[test]
fn a_cause_silences_what_it_lists_and_carries() {
    let mut standing = [
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Warning, on("a", Plane::Overlay)),
    ];
    assert_eq!(apply(&mut standing, &nothing()), [None, Some(0)]);
}

#[test]
fn what_breaks_nothing_silences_nothing() {
    let mut standing = [
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Warning, on("a", Plane::Overlay)),
    ];
    standing[0].candidate.causes = Causes::Nothing;
    assert_eq!(apply(&mut standing, &nothing()), [None, None]);
}

#[test]
fn trouble_elsewhere_silences_nothing() {
    let mut standing = [
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Warning, on("b", Plane::Overlay)),
    ];
    assert_eq!(apply(&mut standing, &nothing()), [None, None], "another peer");
    let mut standing = [
        finding(&CAUSE, Severity::Warning, on("a", Plane::Overlay)),
        finding(&EFFECT, Severity::Warning, on("a", Plane::Underlay)),
    ];
    assert_eq!(apply(&mut standing, &nothing()), [None, None], "the overlay does not carry the underlay");
    let mut standing = [
        finding(&EFFECT, Severity::Warning, on("a", Plane::Underlay)),
        finding(&CAUSE, Severity::Warning, on("a", Plane::Overlay)),
    ];
    assert_eq!(apply(&mut standing, &nothing()), [None, None], "an effect lists nothing");
}

#[test]
fn consequences_of_consequences_name_the_loud_cause() {
    let mut standing = [
        finding(&MIDDLE, Severity::Warning, on("a", Plane::Overlay)),
        finding(&EFFECT, Severity::Warning, on("a", Plane::Pod)),
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
    ];
    assert_eq!(apply(&mut standing, &nothing()), [Some(2), Some(2), None]);
}

#[test]
fn a_cause_is_as_severe_as_its_worst_consequence() {
    let mut standing = [
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Critical, on("a", Plane::Overlay)),
    ];
    apply(&mut standing, &nothing());
    assert_eq!(standing[0].candidate.severity, Severity::Critical);
}

#[test]
fn what_pages_never_hides_under_what_does_not() {
    let mut standing = [
        finding(&MILD, Severity::Info, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Critical, on("a", Plane::Overlay)),
    ];
    assert_eq!(apply(&mut standing, &nothing()), [None, None]);
    assert_eq!(standing[0].candidate.severity, Severity::Info);
}

#[test]
fn a_cause_may_name_what_it_breaks_beyond_the_topology() {
    let mut standing = [
        finding(&CAUSE, Severity::Critical, Subject::Setting("rp_filter")),
        finding(&EFFECT, Severity::Critical, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Critical, on("b", Plane::Underlay)),
    ];
    standing[0].candidate.breaks = vec![on("a", Plane::Underlay)];
    assert_eq!(apply(&mut standing, &nothing()), [None, Some(0), None]);
}

#[test]
fn what_breaks_nothing_else_is_no_cause() {
    let mut standing = [
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Critical, on("a", Plane::Overlay)),
    ];
    standing[0].candidate.causes = Causes::Nothing;
    assert_eq!(apply(&mut standing, &nothing()), [None, None]);
    assert_eq!(standing[0].candidate.severity, Severity::Warning);
}

#[test]
fn a_finding_may_have_some_of_the_listed_consequences_only() {
    let pair = |causes| {
        let mut standing = [
            finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
            finding(&EFFECT, Severity::Warning, on("a", Plane::Overlay)),
            finding(&EFFECT, Severity::Warning, on("a", Plane::Pod)),
        ];
        standing[0].candidate.causes = causes;
        standing[0].candidate.breaks = vec![on("a", Plane::Pod)];
        apply(&mut standing, &nothing())
    };
    assert_eq!(pair(Causes::Codes(&["effect"])), [None, Some(0), Some(0)]);
    assert_eq!(pair(Causes::Codes(&["middle"])), [None, None, None], "another code");
    assert_eq!(pair(Causes::NamedAnd(&["effect"])), [None, Some(0), Some(0)]);
    assert_eq!(pair(Causes::NamedAnd(&["middle"])), [None, None, Some(0)], "of other codes what is named");
    assert_eq!(pair(Causes::Named), [None, None, Some(0)], "the topology is not asked");
}

#[test]
fn a_cause_that_cannot_be_as_severe_hides_nothing_from_one_that_can() {
    let all = [
        finding(&MILD, Severity::Info, on("a", Plane::Underlay)),
        finding(&CAUSE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&EFFECT, Severity::Critical, on("a", Plane::Overlay)),
    ];
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let mut standing = order.map(|at| all[at].clone());
        let causes = apply(&mut standing, &nothing());
        let of_effect = causes[order.iter().position(|&at| at == 2).unwrap()];
        assert_eq!(of_effect.map(|cause| order[cause]), Some(1), "{order:?}");
    }
}

#[test]
fn what_has_named_consequences_may_have_others_on_its_own_subject() {
    let own = |causes| {
        let mut standing = [
            finding(&CAUSE, Severity::Warning, Subject::Link("vxlan.calico".into())),
            finding(&EFFECT, Severity::Warning, Subject::Link("vxlan.calico".into())),
        ];
        standing[0].candidate.causes = causes;
        apply(&mut standing, &nothing())
    };
    assert_eq!(own(Causes::NamedAnd(&["effect"])), [None, Some(0)]);
    assert_eq!(own(Causes::NamedAnd(&["middle"])), [None, None]);
    assert_eq!(own(Causes::All), [None, None], "a link does not carry itself");
}

#[test]
fn of_two_that_explain_each_other_one_is_loud() {
    static ONE: Entry = entry("one", &[Severity::Warning], &["other"]);
    static OTHER: Entry = entry("other", &[Severity::Warning], &["one"]);
    let mut standing = [
        finding(&ONE, Severity::Warning, on("a", Plane::Underlay)),
        finding(&OTHER, Severity::Warning, on("a", Plane::Underlay)),
    ];
    for one in &mut standing {
        one.candidate.breaks = vec![on("a", Plane::Underlay)];
    }
    let causes = apply(&mut standing, &nothing());
    assert_eq!(causes.iter().filter(|cause| cause.is_none()).count(), 1, "{causes:?}");
}

/// Findings of the real catalogue, at random, on a few subjects that carry each other.
fn any_findings() -> impl Strategy<Value = Vec<Standing>> {
    let subjects = || {
        let paths = ["a", "b"].into_iter().flat_map(|peer| Plane::ALL.map(|plane| on(peer, plane)));
        paths.chain([Subject::Pods, Subject::Setting("rp_filter"), Subject::Counter("fragmentation_failed")])
    };
    let (codes, places) = (ALL.len(), subjects().count());
    let one = (0..codes, 0..places, any::<prop::sample::Index>(), prop::collection::vec(0..places, 0..4), 0..4_u8);
    let made = move |(code, place, severity, breaks, causes): (usize, usize, prop::sample::Index, Vec<usize>, u8)| {
        let at = |nth: usize| subjects().nth(nth).unwrap();
        let severities = ALL[code].entry.severities;
        let mut one = finding(ALL[code].entry, severities[severity.index(severities.len())], at(place));
        one.candidate.breaks = breaks.into_iter().map(at).collect();
        one.candidate.causes =
            [Causes::All, Causes::Named, Causes::Nothing, Causes::Codes(&["path-limited"])][usize::from(causes)];
        one
    };
    prop::collection::vec(one.prop_map(made), 0..12).prop_map(|mut all| {
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|one: &Standing| seen.insert((one.candidate.entry.code, one.candidate.subject.clone())));
        all
    })
}

/// Code and subject of each finding with those of its cause.
fn named(
    standing: &[Standing],
    causes: &[Option<usize>],
) -> BTreeMap<(&'static str, Subject), Option<(&'static str, Subject)>> {
    let name = |at: usize| (standing[at].candidate.entry.code, standing[at].candidate.subject.clone());
    causes.iter().enumerate().map(|(at, cause)| (name(at), cause.map(name))).collect()
}

proptest! {
    #[test]
    fn a_silenced_finding_has_a_loud_cause_that_is_as_severe(found in any_findings()) {
        let mut standing = found.clone();
        let causes = apply(&mut standing, &nothing());
        for (effect, cause) in causes.iter().enumerate() {
            let Some(cause) = *cause else { continue };
            prop_assert!(causes[cause].is_none(), "the cause is loud");
            prop_assert!(standing[cause].candidate.severity >= found[effect].candidate.severity);
        }
        prop_assert!(found.is_empty() || causes.contains(&None), "something is loud");
    }

    #[test]
    fn the_order_of_findings_changes_nothing(found in any_findings(), by in any::<prop::sample::Index>()) {
        let mut standing = found.clone();
        let straight = apply(&mut standing, &nothing());
        let mut turned = found;
        let turns = by.index(turned.len().max(1));
        turned.rotate_left(turns);
        turned.reverse();
        let other = apply(&mut turned, &nothing());
        prop_assert_eq!(named(&standing, &straight), named(&turned, &other));
    }

    #[test]
    fn once_a_cause_is_healed_its_consequences_are_loud_or_have_another_one(found in any_findings()) {
        let mut standing = found.clone();
        let causes = apply(&mut standing, &nothing());
        let Some(healed) = causes.iter().flatten().copied().next() else { return Ok(()) };
        let name = (found[healed].candidate.entry.code, found[healed].candidate.subject.clone());
        let mut left = found;
        left.remove(healed);
        let again = apply(&mut left, &nothing());
        prop_assert!(named(&left, &again).values().all(|cause| cause.as_ref() != Some(&name)));
        prop_assert!(again.iter().flatten().all(|&cause| again[cause].is_none()));
    }

    #[test]
    fn what_nothing_lists_is_never_silenced(found in any_findings()) {
        let mut standing = found.clone();
        let causes = apply(&mut standing, &nothing());
        for (effect, cause) in causes.iter().enumerate() {
            let code = found[effect].candidate.entry.code;
            let listed = found.iter().any(|one| one.candidate.entry.silences.contains(&code));
            prop_assert!(cause.is_none() || listed, "{code}");
        }
    }
}
