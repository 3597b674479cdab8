//! For each code that alerts and each severity: it fires after its `for`, not a minute earlier, and resolves.
//!
//! The near miss is the same finding that is over a minute before its time. What is expected is put together here from the
//! catalogue's words, not from the rules' own templates.

use probes::alerts::findings::is_of_peer;
use probes::checks::{ALL, Alert, Registered};
use probes::report::Severity;
use probes::subject::Subject;

use super::case::{Case, Fired, Kind};

/// All codes of a severity stand in one test: they do not bear on each other, and promtool evaluates every rule in each.
pub(super) fn cases() -> Vec<Case> {
    [Severity::Critical, Severity::Warning]
        .into_iter()
        .flat_map(|severity| {
            let name = severity.name();
            let whole = Case::new(format!("each {name} finding alerts in its time and resolves"));
            let short = Case::new(format!("each {name} finding is over a minute before its time"));
            [each(severity, whole, stands), each(severity, short, too_short)]
        })
        .collect()
}

type Add = fn(Case, &Registered, Severity, &'static str, u32) -> Case;

fn each(severity: Severity, case: Case, add: Add) -> Case {
    let has = ALL.iter().filter(|check| check.entry.severities.contains(&severity));
    has.fold(case, |case, check| match check.entry.alert {
        Alert::Named { name, minutes } => add(case, check, severity, name, minutes),
        Alert::None { .. } => case,
    })
}

/// Labels of the target that every series has.
pub(super) const TARGET: &str = "job=\"mtuscope/mtuscope\",namespace=\"mtuscope\",pod=\"mtuscope-x7k2p\",instance=\"10.0.0.11:9747\",node=\"master-1\"";

fn stands(case: Case, check: &Registered, severity: Severity, name: &'static str, minutes: u32) -> Case {
    let rule = (name, severity);
    let over = minutes + 3;
    measured(case, check)
        .series(finding(check, severity), format!("1x{} stale", over - 1))
        .proof(Kind::NearMiss, minutes - 1, rule, &[])
        .proof(Kind::Fires, minutes, rule, &[fired(check, severity)])
        .at(over, name, &[fired(check, severity)])
        .proof(Kind::Resolves, over + minutes.max(5), rule, &[])
}

fn too_short(case: Case, check: &Registered, severity: Severity, name: &'static str, minutes: u32) -> Case {
    let rule = (name, severity);
    case.series(finding(check, severity), format!("1x{} stale", minutes - 1))
        .proof(Kind::NearMiss, minutes, rule, &[])
        .proof(Kind::NearMiss, minutes + 1, rule, &[])
}

fn finding(check: &Registered, severity: Severity) -> String {
    let (code, subject) = (check.entry.code, check.example().subject);
    format!("mtuscope_finding{{code=\"{code}\",severity=\"{}\",subject=\"{subject}\",{TARGET}}}", severity.name())
}

fn shows(check: &Registered, family: &str) -> bool {
    check.entry.metrics.iter().any(|metric| metric.starts_with(family))
}

fn shows_path(check: &Registered) -> bool {
    is_of_peer(check) && shows(check, "mtuscope_path_mtu_bytes")
}

fn shows_link(check: &Registered) -> bool {
    matches!(check.example().subject, Subject::Link(_)) && shows(check, "mtuscope_link_mtu_bytes")
}

fn shows_pods(check: &Registered) -> bool {
    check.example().subject == Subject::Pods && shows(check, "mtuscope_pod_links")
}

/// With the measured values that the description tells.
fn measured(case: Case, check: &Registered) -> Case {
    let subject = check.example().subject;
    let path = |family: &str| format!("{family}{{peer=\"{subject}\",plane=\"underlay\",family=\"ipv4\",{TARGET}}}");
    if shows_path(check) {
        case.series(path("mtuscope_path_mtu_bytes"), "1400x99")
            .series(path("mtuscope_path_expected_mtu_bytes"), "1500x99")
    } else if shows_link(check) {
        case.series(format!("mtuscope_link_mtu_bytes{{link=\"{subject}\",role=\"underlay\",{TARGET}}}"), "1400x99")
    } else if shows_pods(check) {
        case.series(format!("mtuscope_pod_links{{mtu=\"1500\",end=\"host\",{TARGET}}}"), "12x99")
            .series(format!("mtuscope_pod_links{{mtu=\"1450\",end=\"host\",{TARGET}}}"), "3x99")
            .series(format!("mtuscope_recommended_overlay_mtu_bytes{{link=\"vxlan.calico\",{TARGET}}}"), "1450x99")
    } else {
        case
    }
}

/// The alert of the example on one node.
fn fired(check: &Registered, severity: Severity) -> Fired {
    let (entry, subject) = (check.entry, check.example().subject);
    let summary = if is_of_peer(check) {
        format!("master-1 to {subject}: {}", entry.title)
    } else {
        format!("master-1: {} ({subject})", entry.title)
    };
    let mut description = entry.meaning.to_owned();
    if shows_path(check) {
        description += &carries(&subject.to_string());
    }
    if shows_link(check) {
        description += &format!("\nMTU of {subject}: 1400 B");
    }
    if shows_pods(check) {
        description += "\nPods with MTU 1450 B: 3\nPods with MTU 1500 B: 12\nLargest that fits every path: 1450 B";
    }
    description += &first(entry.look[0].run, "master-1:9747");
    let labels = vec![
        ("namespace", "mtuscope".to_owned()),
        ("node", "master-1".to_owned()),
        ("code", entry.code.to_owned()),
        ("subject", subject.to_string()),
    ];
    Fired { severity, labels, summary, description, anchor: entry.code }
}

/// The line of a path that carries less than expected.
pub(super) fn carries(peer: &str) -> String {
    format!("\nunderlay path to {peer} by ipv4: carries 1400 B of 1500 B")
}

/// The lines that every description ends with.
pub(super) fn first(look: &str, agent: &str) -> String {
    format!("\nFirst: {look}\nEvidence and remedy: curl 'http://{agent}/report?format=text'")
}
