use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::checks::{Candidate, Entry};
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
        peers: Vec::new(),
        lookups: BTreeMap::new(),
        outer: BTreeMap::new(),
        topology: Topology::default(),
        setup: Setup::default(),
        devices: Devices::unread(),
        paths: BTreeMap::new(),
        expect: Expect::default(),
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
    assert_eq!(pair(Causes::Named), [None, None, Some(0)], "the topology is not asked");
}
