//! Clusters as they stand on the screen.

use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use probes::cluster::{Answer, Directory, Gathered, Matrix, read};
use probes::path::{Plane, VerdictName};
use probes::peers::announced::Agent;
use probes::report::{PathRow, Report, Status, Vantage};

use super::super::super::example;
use super::*;

const PLAIN: Style = Style { colour: false, width: 100 };

/// A cluster of so many nodes; node 0 is asked.
pub(in crate::publish) struct Cluster {
    names: Vec<String>,
    reports: Vec<Result<Report, (Answer, String)>>,
}

fn address(node: usize, plane: Plane) -> String {
    match plane {
        Plane::Underlay => format!("10.0.0.{}", 11 + node),
        Plane::Overlay => format!("10.244.{}.0", 1 + node),
        Plane::Pod => format!("10.244.{}.2", 1 + node),
    }
}

impl Cluster {
    pub(in crate::publish) fn of(names: Vec<String>) -> Self {
        let healthy = |from: usize| {
            let mut report = Arc::unwrap_or_clone(example::published().report);
            report.node.clone_from(&names[from]);
            report.addresses = vec![address(from, Plane::Underlay).parse().unwrap()];
            report.summary.status = Status::Healthy;
            let to = |to: usize| {
                [Plane::Underlay, Plane::Overlay].map(|plane| {
                    let mtu = if plane == Plane::Underlay { 1500 } else { 1450 };
                    example::path(&names[to], plane, &address(to, plane), VerdictName::Clear, mtu)
                })
            };
            report.paths = (0..names.len()).filter(|peer| *peer != from).flat_map(to).collect();
            Ok(report)
        };
        let reports = (0..names.len()).map(healthy).collect();
        Self { names, reports }
    }

    pub(in crate::publish) fn four() -> Self {
        Self::of(["master-1", "master-2", "master-3", "app-worker"].map(str::to_owned).to_vec())
    }

    pub(in crate::publish) fn sixty() -> Self {
        Self::of((1..=60).map(|number| format!("node-{number:02}")).collect())
    }

    /// Every underlay path from one node to another, as the closure has it.
    pub(in crate::publish) fn underlay(mut self, change: impl Fn(usize, usize, &mut PathRow)) -> Self {
        let names = self.names.clone();
        for (from, report) in self.reports.iter_mut().enumerate() {
            let rows = report.iter_mut().flat_map(|report| &mut report.paths);
            for row in rows.filter(|row| row.plane == Plane::Underlay) {
                let to = names.iter().position(|name| *name == row.peer).unwrap();
                change(from, to, row);
            }
        }
        self
    }

    pub(in crate::publish) fn without(mut self, node: usize, answer: Answer, why: &str) -> Self {
        self.reports[node] = Err((answer, why.into()));
        self
    }

    /// The report of this node was made so long before the others'.
    pub(in crate::publish) fn since(mut self, node: usize, seconds: i64) -> Self {
        self.reports[node].as_mut().unwrap().generated_at -= jiff::SignedDuration::from_secs(seconds);
        self
    }

    pub(in crate::publish) fn matrix(self) -> Matrix {
        let own = self.reports[0].as_ref().unwrap();
        let agent = |node: usize| Agent {
            peer: self.names[node].clone(),
            vantage: Vantage::Node,
            addresses: vec![address(node, Plane::Underlay).parse().unwrap()],
            zone: None,
        };
        let who = Arc::new(Directory::of(own, &(1..self.names.len()).map(agent).collect::<Vec<_>>()));
        let mut gathered = Gathered::new(Arc::clone(&who));
        for (name, report) in self.names.iter().zip(self.reports) {
            let said = report.map(|report| read(&serde_json::to_vec(&report).unwrap(), &who).unwrap());
            gathered.take(name, Vantage::Node, said);
        }
        gathered.matrix(&self.names[0], example::noon(), Duration::from_secs(30))
    }

    fn text(self, style: Style) -> String {
        cluster(&self.matrix(), style)
    }
}

pub(in crate::publish) fn becomes(row: &mut PathRow, verdict: VerdictName, mtu: u32) {
    let (peer, address) = (row.peer.clone(), row.address.to_string());
    *row = example::path(&peer, row.plane, &address, verdict, mtu);
}

/// The NIC of node 2 is set to 1400: its own paths are as it expects, the others' are limited.
pub(in crate::publish) fn small_nic(from: usize, to: usize, row: &mut PathRow) {
    if from == 2 {
        becomes(row, VerdictName::Clear, 1400);
        row.expected_mtu = row.path_mtu;
    } else if to == 2 {
        becomes(row, VerdictName::BlackHole, 1400);
    }
}

#[test]
fn a_healthy_cluster_of_four() {
    assert_snapshot!(Cluster::four().text(PLAIN));
}

#[test]
fn whose_rounds_stand_still_is_not_fine() {
    assert_snapshot!(Cluster::four().since(2, 3 * 3_600).text(PLAIN));
    let many = (1..9).fold(Cluster::of((0..10).map(|n| format!("n{n}")).collect()), |all, node| all.since(node, 900));
    let text = many.text(PLAIN);
    let wanted =
        "8 agents tell of what was 15 min ago or earlier, their rounds stand still: n1, n2, n3, n4, n5, n6 and 2";
    assert!(text.replace("\n  ", " ").contains(wanted), "{text}");
}

#[test]
fn one_nic_is_too_small() {
    let mut cluster = Cluster::four().underlay(small_nic);
    let small = cluster.reports[2].as_mut().unwrap();
    small.links.iter_mut().for_each(|link| link.mtu = probes::units::LinkMtu::new(1400));
    assert_snapshot!(cluster.text(PLAIN));
}

#[test]
fn one_way_is_too_small() {
    let one_way = |from: usize, to: usize, row: &mut PathRow| {
        let (sender, receiver) = (0, 3);
        if (from, to) == (sender, receiver) || (to, from) == (sender, receiver) {
            becomes(row, VerdictName::BlackHole, 1400);
            let (small, whole) = (row.path_mtu, row.expected_mtu);
            (row.forward_mtu, row.reverse_mtu) = if from == sender { (small, whole) } else { (whole, small) };
        }
    };
    assert_snapshot!(Cluster::four().underlay(one_way).text(PLAIN));
}

#[test]
fn some_do_not_answer_and_some_pairs_wait() {
    let waiting = |from: usize, to: usize, row: &mut PathRow| {
        if (from, to) == (0, 1) {
            becomes(row, VerdictName::Unknown, 0);
            row.probed_at = None;
        }
    };
    let partial = Cluster::four().underlay(waiting).without(2, Answer::Timeout, "did not answer in time").without(
        3,
        Answer::Garbage,
        "no JSON: expected value at line 1 column 1",
    );
    assert_snapshot!(partial.text(PLAIN));
}

#[test]
fn sixty_nodes_one_small_and_two_pairs_cut() {
    let sick = |from: usize, to: usize, row: &mut PathRow| {
        small_nic(from, to, row);
        if (from == 10 && to == 11) || (from == 20 && to == 21) {
            becomes(row, VerdictName::Unreachable, 0);
        }
    };
    let many = (50..58).fold(Cluster::sixty().underlay(sick), |cluster, node| {
        cluster.without(node, Answer::NoConnection, "cannot connect to it")
    });
    assert_snapshot!(many.text(PLAIN));
}

#[test]
fn a_narrow_screen_gets_a_list_and_colour_adds_nothing_but_colour() {
    let narrow = Cluster::four().underlay(small_nic).text(Style { colour: false, width: 40 });
    assert!(narrow.contains("black hole") && !narrow.contains("from row to column"), "{narrow}");
    let plain = Cluster::four().underlay(small_nic).text(PLAIN);
    let coloured = Cluster::four().underlay(small_nic).text(Style { colour: true, ..PLAIN });
    let mut bare = String::new();
    for part in coloured.split('\u{1b}') {
        bare.push_str(part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, rest)| rest));
    }
    assert_eq!(bare, plain);
    assert_ne!(coloured, plain);
}

#[test]
fn a_hostile_name_does_not_reach_the_terminal() {
    let mut cluster = Cluster::four();
    let evil = cluster.reports[1].as_mut().unwrap();
    evil.node = "x\u{1b}[2J\u{202e}y".into();
    evil.version = "\u{1b}]0;owned\u{7}".into();
    let text = cluster.text(PLAIN);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
}
