//! Faults of hundreds of nodes: too many series to write by hand. What else is hard stands in `adverse.test.yaml`.

use probes::alerts::findings::is_of_peer;
use probes::checks::{ALL, Alert, Registered};
use probes::report::Severity;

use super::case::{Case, Fired};

const NODES: usize = 300;

pub(super) fn cases() -> Vec<Case> {
    vec![
        every_node(check("link-down"), |_| vec!["eth0".to_owned()]),
        every_node(check("path-black-hole"), |node| (1..=3).map(|step| name((node + step) % NODES)).collect()),
    ]
}

fn check(code: &str) -> &'static Registered {
    ALL.iter().find(|check| check.entry.code == code).expect("a code of the catalogue")
}

fn name(node: usize) -> String {
    format!("node-{node:03}")
}

/// Every node has the same code: one alert.
fn every_node(check: &Registered, subjects: fn(usize) -> Vec<String>) -> Case {
    let Alert::Named { name: alert, minutes } = check.entry.alert else { panic!("{} alerts", check.entry.code) };
    let code = check.entry.code;
    let mut case = Case::new(format!("{NODES} nodes have {code}"));
    for node in 0..NODES {
        for subject in subjects(node) {
            let labels = format!("code=\"{code}\",severity=\"critical\",subject=\"{subject}\"");
            case = case.series(format!("mtuscope_finding{{{labels},node=\"{}\"}}", name(node)), "1x9");
        }
    }
    case.at(minutes, alert, &[fired(check)]).at(9, alert, &[fired(check)])
}

fn fired(check: &Registered) -> Fired {
    let entry = check.entry;
    let some: Vec<String> = (0..5).map(name).collect();
    let some = format!("{} and more", some.join(", "));
    let blamed = if is_of_peer(check) { format!("\nBlamed: {some}") } else { String::new() };
    Fired {
        severity: Severity::Critical,
        labels: vec![("code", entry.code.to_owned())],
        summary: format!("{NODES} nodes: {}", entry.title),
        description: format!(
            "{}{blamed}\nOn: {some}{}",
            entry.meaning,
            super::mechanical::first(entry.look[0].run, "NODE:9747")
        ),
        anchor: entry.code,
    }
}
