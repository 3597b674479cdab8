//! Faults of hundreds of nodes: too many series to write by hand. What else is hard stands in `adverse.test.yaml`.

use probes::alerts::agents;
use probes::alerts::findings::is_of_peer;
use probes::checks::{ALL, Alert, Registered};
use probes::report::Severity;

use super::case::{Case, Fired};
use super::mechanical::{carries, first};

const NODES: usize = 300;

pub(super) fn cases() -> Vec<Case> {
    vec![
        every_node(check("link-down"), |_| vec!["eth0".to_owned()]),
        every_node(check("path-black-hole"), |node| (1..=3).map(|step| name((node + step) % NODES)).collect()),
        pair(check("path-black-hole")),
        lost(check("path-black-hole")),
        churn(check("peer-unreachable"), &["a", "b", "c", "d", "e", "f", "g", "h"]),
        churn(check("cni-not-configured"), &[]),
        four_dead(check("peer-unreachable")),
        roll_out(),
    ]
}

/// Nodes that come or go all day, three each minute and none of them for two: something is always so, and nothing lasts.
/// Of peers it is seen by `observers`.
fn churn(check: &Registered, observers: &[&str]) -> Case {
    let Alert::Named { name: alert, .. } = check.entry.alert else { panic!("{} alerts", check.entry.code) };
    let code = check.entry.code;
    let mut case = Case::new(format!("nodes that come and go are no {code}"));
    for minute in 0..20 {
        for one in 0..3 {
            let (moving, values) = (name(3 * minute + one), format!("_x{minute} 1 1 stale"));
            let finding = |node: &str, subject: &str| {
                format!(
                    "mtuscope_finding{{code=\"{code}\",severity=\"critical\",subject=\"{subject}\",node=\"{node}\"}}"
                )
            };
            case = match observers {
                [] => case.series(finding(&moving, "cni"), values),
                all => all.iter().fold(case, |case, node| case.series(finding(node, &moving), values.clone())),
            };
        }
    }
    [5, 10, 15, 20].into_iter().fold(case, |case, minute| case.at(minute, alert, &[]))
}

/// Four of twelve nodes are dead: four are told, and not the eight that see it.
fn four_dead(check: &Registered) -> Case {
    let Alert::Named { name: alert, minutes } = check.entry.alert else { panic!("{} alerts", check.entry.code) };
    let entry = check.entry;
    let mut case = Case::new("four of twelve nodes are dead");
    for observer in 4..12 {
        for dead in 0..4 {
            let labels = format!("code=\"{}\",severity=\"critical\",subject=\"{}\"", entry.code, name(dead));
            case = case.series(format!("mtuscope_finding{{{labels},node=\"{}\"}}", name(observer)), "1x9");
        }
    }
    let told = Fired {
        severity: Severity::Critical,
        labels: vec![("code", entry.code.to_owned())],
        summary: format!("4 nodes: {}", entry.title),
        description: format!(
            "{}\nBlamed: node-000, node-001, node-002, node-003{}",
            entry.meaning,
            first(entry.look[0].run, "node-004:9747")
        ),
        anchor: entry.code,
    };
    case.at(2 * minutes, alert, &[told])
}

/// Agents that are replaced four at a time, each down for two minutes, beside three that are down for good and one that
/// goes up and down: the three are told, all the time.
fn roll_out() -> Case {
    let up = |node: &str| format!("up{{job=\"mtuscope/mtuscope\",node=\"{node}\"}}");
    let mut case = Case::new("a roll-out, and three agents that do not come back");
    for node in 0..80 {
        case = case.series(up(&name(node)), format!("1x{} 0 0 1x50", 5 + node / 4));
    }
    for node in ["a", "b", "c"] {
        case = case.series(up(node), "0x60");
    }
    case = case.series(up("d"), "0x5 1x5 0x5 1x5 0x5 1x5 0x5 1x5");
    let watch = agents::ALL.iter().find(|watch| watch.anchor == "agent-down").expect("an alert about agents");
    let down = |node: &&str| Fired {
        severity: watch.severity,
        labels: vec![("node", (*node).to_owned())],
        summary: format!("{node}: 1 of its agents cannot be scraped"),
        description: super::agents::description(watch, &format!("{node}:9747")),
        anchor: watch.anchor,
    };
    let told: Vec<Fired> = ["a", "b", "c"].iter().map(down).collect();
    [12, 20, 30, 40].into_iter().fold(case, |case, minute| case.at(minute, watch.name, &told))
}

/// A peer that carries too little, and a node that sees so.
fn sees(case: Case, node: &str, peer: &str) -> Case {
    let of = |family: &str| format!("{family}{{peer=\"{peer}\",plane=\"underlay\",family=\"ipv4\",node=\"{node}\"}}");
    let labels = "code=\"path-black-hole\",severity=\"critical\"";
    case.series(format!("mtuscope_finding{{{labels},subject=\"{peer}\",node=\"{node}\"}}"), "1x9")
        .series(of("mtuscope_path_mtu_bytes"), "1400x9")
        .series(of("mtuscope_path_expected_mtu_bytes"), "1500x9")
}

/// Both ends of one path see it: one alert with both names and what each direction carries.
fn pair(check: &Registered) -> Case {
    let Alert::Named { name: alert, minutes } = check.entry.alert else { panic!("{} alerts", check.entry.code) };
    let case = sees(Case::new("both ends of a path see that it swallows"), "node-a", "node-b");
    let entry = check.entry;
    let told = Fired {
        severity: Severity::Critical,
        labels: vec![("code", entry.code.to_owned())],
        summary: format!("node-a, node-b: {}", entry.title),
        description: format!(
            "{}\nBlamed: node-a, node-b{}{}{}",
            entry.meaning,
            carries("node-a"),
            carries("node-b"),
            first(entry.look[0].run, "node-a:9747")
        ),
        anchor: entry.code,
    };
    sees(case, "node-b", "node-a").at(minutes, alert, &[told])
}

/// One node sees it in both of its peers, which see nothing: one alert about that node, with what each path carries.
fn lost(check: &Registered) -> Case {
    let Alert::Named { name: alert, minutes } = check.entry.alert else { panic!("{} alerts", check.entry.code) };
    let case = sees(Case::new("a node sees that every path of it swallows"), "node-a", "node-b");
    let entry = check.entry;
    let told = Fired {
        severity: Severity::Critical,
        labels: vec![("code", entry.code.to_owned()), ("node", "node-a".to_owned())],
        summary: format!("node-a: {} (2 peers)", entry.title),
        description: format!(
            "{}\nOf: node-b, node-c{}{}{}",
            entry.meaning,
            carries("node-b"),
            carries("node-c"),
            first(entry.look[0].run, "node-a:9747")
        ),
        anchor: entry.code,
    };
    sees(case, "node-a", "node-c").at(minutes, alert, &[told])
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
    // Twice the time: that it is many is believed of what has stood.
    case.at(2 * minutes - 1, alert, &[]).at(2 * minutes, alert, &[fired(check)]).at(9, alert, &[fired(check)])
}

fn fired(check: &Registered) -> Fired {
    let entry = check.entry;
    let some: Vec<String> = (0..5).map(name).collect();
    let some = format!("{} and more", some.join(", "));
    let (head, agent) = if is_of_peer(check) { ("Blamed", "node-000:9747") } else { ("On", "NODE:9747") };
    Fired {
        severity: Severity::Critical,
        labels: vec![("code", entry.code.to_owned())],
        summary: format!("{NODES} nodes: {}", entry.title),
        description: format!("{}\n{head}: {some}{}", entry.meaning, first(entry.look[0].run, agent)),
        anchor: entry.code,
    }
}
