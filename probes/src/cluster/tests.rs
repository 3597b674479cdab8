//! From answers as bytes to the picture: honest ones, broken ones and hostile ones.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::node::rows::unjudged;
use crate::peers::announced::Agent;
use crate::report::Report;
use crate::snapshot::example::Example;

const NOW: i64 = 1_795_225_200;

const ROUND: Duration = Duration::from_secs(30);

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// The name and the address of a node by its number, from 1 on.
fn node(number: usize) -> (String, String) {
    (format!("node-{number}"), format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255))
}

fn path(to: usize, verdict: &str, mtu: u64) -> Value {
    let (peer, address) = node(to);
    json!({
        "peer": peer, "plane": "underlay", "family": "ipv4", "address": address, "verdict": verdict, "path_mtu": mtu,
        "expected_mtu": 1500, "round_trip_seconds": 0.000_25, "probed_at": now(),
    })
}

fn report(number: usize, paths: Vec<Value>) -> Value {
    let (name, address) = node(number);
    json!({
        "schema": "mtuscope.report/v1", "node": name, "vantage": "node", "version": "0.1.0",
        "generated_at": Timestamp::from_second(NOW - 20).unwrap(), "summary": {"status": "healthy"},
        "addresses": [address], "links": [{"name": "eth0", "role": "underlay", "mtu": 1500}], "tunnels": [], "paths": paths,
    })
}

/// A healthy node's report in a cluster of so many.
fn healthy(number: usize, nodes: usize) -> Value {
    report(number, (1..=nodes).filter(|to| *to != number).map(|to| path(to, "clear", 1500)).collect())
}

/// What node 1 knows of a cluster of so many.
fn directory(nodes: usize) -> Arc<Directory> {
    static OWN: LazyLock<Report> = LazyLock::new(|| unjudged(&Example::reference().snapshot()));
    let mut own = OWN.clone();
    own.paths.clear();
    (own.node, own.addresses) = (node(1).0, vec![node(1).1.parse().unwrap()]);
    let agent = |number| {
        let (peer, address) = node(number);
        let zone = Some(format!("zone-{}", number % 3));
        Agent { peer, vantage: Vantage::Node, addresses: vec![address.parse().unwrap()], zone }
    };
    Arc::new(Directory::of(&own, &(2..=nodes).map(agent).collect::<Vec<_>>()))
}

/// The picture of so many nodes, each with what it answers.
fn drawn(nodes: usize, answer: impl Fn(usize) -> Vec<u8>) -> Matrix {
    let who = directory(nodes);
    let mut gathered = Gathered::new(Arc::clone(&who));
    for number in 1..=nodes {
        let read = read(&answer(number), &who).map_err(|garbage| (Answer::Garbage, garbage.to_string()));
        gathered.take(&node(number).0, Vantage::Node, read);
    }
    gathered.matrix("node-1", now(), ROUND)
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn cell(matrix: &Matrix, from: usize, to: usize) -> Option<&Cell> {
    let row = matrix.grids.first()?.rows.iter().find(|row| row.from == node(from).0)?;
    row.cells.iter().find(|cell| cell.to == node(to).0)
}

#[test]
fn a_healthy_cluster_is_a_full_matrix() {
    let matrix = drawn(4, |number| bytes(&healthy(number, 4)));
    assert_eq!((matrix.summary.status, matrix.summary.agents, matrix.summary.answered), (Status::Healthy, 4, 4));
    assert_eq!((matrix.grids.len(), matrix.summary.cells.clear, matrix.left_out), (1, 12, None));
    assert_eq!(matrix.grids[0].usual_mtu, Some(IpSize::new(1500)));
    let one = cell(&matrix, 2, 3).unwrap();
    assert_eq!(
        (one.verdict, one.path_mtu, one.round_trip_seconds),
        (Mark::Clear, Some(IpSize::new(1500)), Some(0.000_25))
    );
    assert!(matrix.odd.is_empty() && matrix.ways.is_empty() && matrix.differing.is_empty());
    let row = &matrix.nodes[1];
    assert_eq!(
        (row.zone.as_deref(), row.report_age_seconds, row.status),
        (Some("zone-2"), Some(20), Some(Status::Healthy))
    );
}

/// Four healthy nodes, one of which tells of what was so many seconds ago.
fn aged(seconds: i64) -> impl Fn(usize) -> Vec<u8> {
    move |number| {
        let mut report = healthy(number, 4);
        if number == 3 {
            report["generated_at"] = json!(Timestamp::from_second(NOW - seconds).unwrap());
        }
        bytes(&report)
    }
}

#[test]
fn who_tells_of_what_was_long_ago_is_not_fine() {
    for (age, still) in [(600, false), (601, true), (86_400, true), (-86_400, false)] {
        let matrix = drawn(4, aged(age));
        let wanted = if still { (Status::Warning, 1) } else { (Status::Healthy, 0) };
        assert_eq!((matrix.summary.status, matrix.summary.standing_still), wanted, "{age} s");
        assert_eq!(matrix.nodes.iter().filter(|row| row.stands_still).count(), wanted.1, "{age} s");
        assert_eq!(matrix.nodes[2].stands_still, still, "{age} s");
    }
}

#[test]
fn rounds_that_are_an_hour_apart_are_waited_for() {
    let who = directory(2);
    let still = |age: i64| {
        let mut report = healthy(1, 2);
        report["generated_at"] = json!(Timestamp::from_second(NOW - age).unwrap());
        let mut gathered = Gathered::new(Arc::clone(&who));
        gathered.take("node-1", Vantage::Node, read(&bytes(&report), &who).map_err(|_| panic!()));
        gathered.matrix("node-1", now(), Duration::from_secs(3_600)).summary.standing_still
    };
    assert_eq!((still(4 * 3_600), still(4 * 3_600 + 1)), (0, 1));
}

#[test]
fn a_node_that_is_set_too_small_stands_out_on_all_it_touches() {
    let matrix = drawn(4, |number| {
        let mtu = |to| if number == 3 || to == 3 { 1400 } else { 1500 };
        let paths = (1..=4).filter(|to| *to != number);
        let mut report = report(
            number,
            paths.map(|to| path(to, if number != 3 && to == 3 { "limited" } else { "clear" }, mtu(to))).collect(),
        );
        if number == 3 {
            report["links"][0]["mtu"] = 1400.into();
            report["paths"].as_array_mut().unwrap().iter_mut().for_each(|path| path["expected_mtu"] = 1400.into());
        }
        bytes(&report)
    });
    assert_eq!(matrix.summary.status, Status::Warning);
    let [odd] = matrix.odd.as_slice() else { panic!("{:?}", matrix.odd) };
    assert_eq!((odd.node.as_str(), odd.to_it.worse, odd.to_it.measured), ("node-3", 3, 3));
    assert_eq!((odd.to_it.path_mtu, odd.others.worse, odd.others.measured), (Some(IpSize::new(1400)), 0, 6));
    let values: Vec<_> = matrix.differing[0].values.iter().map(|one| (one.value.as_str(), one.count)).collect();
    assert_eq!((matrix.differing[0].what.as_str(), values), ("underlay link MTU", vec![("1500", 3), ("1400", 1)]));
}

#[test]
fn peers_that_are_called_by_address_are_the_same_nodes() {
    let matrix = drawn(3, |number| {
        let mut report = healthy(number, 3);
        for path in report["paths"].as_array_mut().unwrap() {
            path["peer"] = path["address"].clone();
        }
        bytes(&report)
    });
    assert_eq!((matrix.summary.cells.clear, matrix.nodes.len()), (6, 3), "{:?}", matrix.nodes);
}

#[test]
fn a_node_on_another_network_is_found_by_what_it_says_of_itself() {
    // Nodes 2 and 3 know each other by addresses that node 1 has never seen.
    let other = |number: usize| format!("192.168.7.{number}");
    let matrix = drawn(3, |number| {
        let mut report = healthy(number, 3);
        report["addresses"].as_array_mut().unwrap().push(other(number).into());
        for path in report["paths"].as_array_mut().unwrap().iter_mut().filter(|_| number != 1) {
            let to: usize = path["peer"].as_str().unwrap()[5..].parse().unwrap();
            (path["peer"], path["address"]) = (other(to).into(), other(to).into());
        }
        bytes(&report)
    });
    assert_eq!(matrix.summary.cells.clear, 6, "{:?}", matrix.nodes);
    assert!(matrix.nodes.iter().all(|row| row.strangers_count == 0), "{:?}", matrix.nodes);
}

#[test]
fn not_measured_is_neither_bad_nor_unanswered() {
    let matrix = drawn(4, |number| {
        let mut report = healthy(number, 4);
        if number == 2 {
            report["paths"][1] =
                json!({"peer": "node-3", "plane": "underlay", "address": node(3).1, "verdict": "unknown"});
        }
        if number == 4 { b"<html>".to_vec() } else { bytes(&report) }
    });
    let cells = matrix.summary.cells;
    assert_eq!((cells.clear, cells.unmeasured, cells.unanswered, cells.measured()), (8, 1, 3, 8));
    assert_eq!(cell(&matrix, 2, 3).unwrap().verdict, Mark::Unmeasured);
    assert_eq!((matrix.summary.status, matrix.summary.answered), (Status::Warning, 3));
    let silent = matrix.nodes.iter().find(|row| row.name == "node-4").unwrap();
    assert_eq!(silent.answer, Answer::Garbage);
    assert!(silent.why.as_deref().unwrap().starts_with("no JSON: "), "{silent:?}");
}

#[test]
fn nothing_measured_is_not_fine() {
    let matrix = drawn(2, |number| bytes(&report(number, Vec::new())));
    assert_eq!((matrix.summary.status, matrix.grids.len()), (Status::Unknown, 0));
}

#[test]
fn who_may_not_probe_says_why() {
    let matrix = drawn(2, |number| {
        let why = "probes: needs CAP_NET_RAW";
        let blind =
            json!({"peer": "node-2", "plane": "underlay", "address": node(2).1, "verdict": "unknown", "why": why});
        bytes(&report(number, vec![blind]))
    });
    assert_eq!(matrix.nodes[0].why.as_deref(), Some("probes: needs CAP_NET_RAW"));
}

#[test]
fn a_liar_speaks_for_nobody_but_himself() {
    let matrix = drawn(4, |number| {
        let mut report = healthy(number, 4);
        if number == 4 {
            report["node"] = "node-2".into();
            report["addresses"] = json!([node(2).1, node(3).1]);
            report["paths"] =
                json!([path(2, "unreachable", 0), path(1, "black_hole", 600), path(77, "unreachable", 0)]);
        }
        bytes(&report)
    });
    let verdict = |from, to| cell(&matrix, from, to).map(|cell| cell.verdict);
    assert_eq!((verdict(2, 1), verdict(2, 3)), (Some(Mark::Clear), Some(Mark::Clear)));
    assert_eq!((verdict(4, 1), verdict(4, 2)), (Some(Mark::BlackHole), Some(Mark::Unreachable)));
    let liar = matrix.nodes.iter().find(|row| row.name == "node-4").unwrap();
    assert_eq!(liar.calls_itself.as_deref(), Some("node-2"));
    assert_eq!((liar.strangers.join(" ").as_str(), liar.strangers_count), ("node-77", 1));
    assert_eq!(matrix.nodes.len(), 4);
}

#[test]
fn an_agent_counts_once() {
    let who = directory(2);
    let mut gathered = Gathered::new(Arc::clone(&who));
    gathered.take("node-2", Vantage::Node, read(&bytes(&healthy(2, 2)), &who).map_err(|_| panic!()));
    gathered.take("node-2", Vantage::Node, Err((Answer::Timeout, "late".into())));
    gathered.take("nobody", Vantage::Node, Err((Answer::Timeout, "late".into())));
    let matrix = gathered.matrix("node-1", now(), ROUND);
    assert_eq!((matrix.nodes.len(), matrix.summary.answered), (2, 1));
}

#[test]
fn what_is_no_report_is_told_by_what_it_is() {
    let who = directory(2);
    let said = |text: &str| read(text.as_bytes(), &who).unwrap_err().to_string();
    assert!(said("").starts_with("no JSON: "));
    assert!(said("SSH-2.0").starts_with("no JSON: "));
    assert!(said(&"[".repeat(100_000)).starts_with("no JSON: "));
    assert_eq!(said("[1]"), "JSON without the schema `mtuscope.report/v1`");
    assert_eq!(said("{\"schema\": \"x\\u001b[2J\"}"), "its schema is `x\u{fffd}[2J` and not `mtuscope.report/v1`");
    assert_eq!(said("{\"schema\": \"mtuscope.report/v1\", \"node\": 7}"), "a report that names no node");
}

#[test]
fn what_of_a_report_is_garbage_is_left_out_and_the_rest_counts() {
    let mut report = healthy(2, 3);
    let paths = report["paths"].as_array_mut().unwrap();
    paths.extend([json!(1), json!("x"), json!(null), json!([]), json!({}), json!({"peer": {}, "plane": []})]);
    paths.push(json!({"peer": "node-1", "plane": "astral", "address": "10.0.0.1", "verdict": "clear", "path_mtu": 9}));
    paths.push(json!({"peer": "node-1", "plane": "overlay", "address": "nowhere", "verdict": "clear", "path_mtu": 9}));
    paths.push(
        json!({"peer": "node-1", "plane": "overlay", "address": "10.1.0.1", "verdict": "splendid", "path_mtu": 9}),
    );
    paths.push(json!({"peer": "node-1", "plane": "pod", "address": "10.1.0.2", "verdict": "clear", "path_mtu": -1}));
    report["summary"] = json!("fine");
    report["links"] = json!({"eth0": 1500});
    report["generated_at"] = json!("yesterday");
    let said = read(&bytes(&report), &directory(3)).unwrap();
    let marks: Vec<_> = said.heard.iter().map(|one| (one.kind.plane, one.mark)).collect();
    assert_eq!(
        marks,
        [
            (Plane::Underlay, Mark::Clear),
            (Plane::Overlay, Mark::Unknown),
            (Plane::Pod, Mark::Unknown),
            (Plane::Underlay, Mark::Clear)
        ]
    );
    assert_eq!((said.status, said.generated_at), (None, None));
}

#[test]
fn of_two_paths_to_one_node_the_worse_counts() {
    let mut report = healthy(1, 2);
    let paths = report["paths"].as_array_mut().unwrap();
    paths.push(path(2, "black_hole", 1400));
    paths.push(path(2, "clear", 1500));
    let said = read(&bytes(&report), &directory(2)).unwrap();
    assert_eq!(said.heard.iter().map(|one| (one.mark, one.path)).collect::<Vec<_>>(), [(Mark::BlackHole, 1400)]);
}

#[test]
fn a_large_cluster_is_told_in_little_room() {
    let nodes = WHOLE + 50;
    let bad = |from: usize, to: usize| from == 7 || to == 7;
    let matrix = drawn(nodes, |number| {
        let paths = (1..=nodes).filter(|to| *to != number);
        bytes(&report(
            number,
            paths.map(|to| if bad(number, to) { path(to, "limited", 1400) } else { path(to, "clear", 1500) }).collect(),
        ))
    });
    assert_eq!(matrix.summary.cells.all(), nodes * (nodes - 1));
    assert_eq!((matrix.summary.cells.limited, matrix.grids[0].worse), (2 * (nodes - 1), 2 * (nodes - 1)));
    assert_eq!(matrix.odd.iter().map(|odd| odd.node.as_str()).collect::<Vec<_>>(), ["node-7"]);
    let listed: usize = matrix.grids[0].rows.iter().map(|row| row.cells.len()).sum();
    assert_eq!((listed, matrix.left_out), (2 * (nodes - 1), Some(nodes * (nodes - 1) - 2 * (nodes - 1))));
    assert_eq!(matrix.grids[0].rows[0].path_mtu, Some(IpSize::new(1500)));
}

#[test]
fn no_more_is_listed_than_anybody_reads_and_the_worst_first() {
    let nodes = WHOLE + 50;
    let matrix = drawn(nodes, |number| {
        let paths = (1..=nodes).filter(|to| *to != number);
        bytes(&report(
            number,
            paths.map(|to| path(to, if number == 9 { "unreachable" } else { "limited" }, 1400)).collect(),
        ))
    });
    let cells: Vec<_> = matrix.grids[0].rows.iter().flat_map(|row| &row.cells).collect();
    assert!(cells.len() <= DEVIATIONS, "{}", cells.len());
    assert_eq!(cells.iter().filter(|cell| cell.verdict == Mark::Unreachable).count(), nodes - 1);
    assert_eq!(matrix.left_out, Some(nodes * (nodes - 1) - cells.len()));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "node-1",
            "node-2",
            "underlay",
            "pod",
            "clear",
            "limited",
            "unreachable",
            "10.0.0.2"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let keys = prop::sample::select(vec![
            "peer",
            "plane",
            "address",
            "verdict",
            "path_mtu",
            "expected_mtu",
            "forward_mtu",
            "reverse_mtu",
            "status",
            "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(keys.prop_map(str::to_owned), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_answered_the_others_rows_stay(
        field in prop::sample::select(vec!["node", "vantage", "summary", "addresses", "links", "tunnels", "paths", "generated_at"]),
        value in any_json(),
        rows in prop::collection::vec(any_json(), 0..6),
    ) {
        let matrix = drawn(3, |number| {
            let mut report = healthy(number, 3);
            if number == 3 {
                report["paths"] = json!(rows);
                report[field] = value.clone();
            }
            bytes(&report)
        });
        for (from, to) in [(1, 2), (2, 1), (1, 3), (2, 3)] {
            prop_assert_eq!(cell(&matrix, from, to).map(|cell| cell.verdict), Some(Mark::Clear));
        }
        prop_assert_eq!(matrix.nodes.len(), 3);
        let shown = serde_json::to_string(&matrix).unwrap();
        let again: Matrix = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(again, matrix);
    }

    #[test]
    fn any_bytes_are_an_answer_or_garbage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        _ = read(&bytes, &directory(2));
    }

    #[test]
    fn a_report_that_is_cut_anywhere_is_garbage(cut in 0.0..1.0_f64) {
        let whole = bytes(&healthy(2, 3));
        let at = (whole.len() as f64 * cut) as usize;
        prop_assert!(read(&whole[..at], &directory(3)).is_err());
    }
}
