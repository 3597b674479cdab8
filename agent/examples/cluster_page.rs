//! Writes the page of a made-up cluster, and how long that took.
//!
//! `cluster_page NODES FILE [sick|healthy|broken|turns]` draws so many nodes on underlay and overlay. Of a sick cluster two
//! NICs are too small, two pairs are cut off and one agent does not answer; of a broken one every path is limited;
//! `turns` has measured a third of its pairs so far.

use std::error::Error;
use std::time::Instant;

use agent::publish::page::cluster;
use probes::cluster::Matrix;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: cluster_page NODES FILE [sick|healthy|broken|turns]";
    let nodes: usize = arguments.next().ok_or(usage)?.parse()?;
    let file = arguments.next().ok_or(usage)?;
    let matrix: Matrix = serde_json::from_value(matrix(nodes, arguments.next().as_deref().unwrap_or("sick")))?;
    let mut took: Vec<_> = (0..21)
        .map(|_| {
            let begun = Instant::now();
            let page = cluster::cluster(&matrix).map(|page| page.len());
            (begun.elapsed(), page.unwrap_or_default())
        })
        .collect();
    took.sort();
    let (median, bytes) = took[took.len() / 2];
    eprintln!("{nodes} nodes: {bytes} B, median of {} {median:?}, worst {:?}", took.len(), took[took.len() - 1].0);
    std::fs::write(file, cluster::cluster(&matrix)?)?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("node-{number:03}")
}

fn cell(kind: &str, from: usize, to: usize, usual: u64) -> Value {
    let path = |verdict: &str, mtu: u64| json!({"to": name(to), "verdict": verdict, "path_mtu": mtu, "expected_mtu": usual, "round_trip_seconds": 0.000_31});
    let is_small = |node| node == 2 || node == 17;
    match kind {
        "sick" if is_small(from) || is_small(to) => path("black_hole", usual - 100),
        "sick" if (from, to) == (5, 9) || (from, to) == (30, 31) => json!({"to": name(to), "verdict": "unreachable"}),
        "sick" if (from, to) == (7, 8) => path("limited", usual - 20),
        "sick" if (from, to) == (1, 3) => json!({"to": name(to), "verdict": "unknown"}),
        "broken" => path("limited", usual - 8),
        "turns" if (from + to) % 3 > 0 => json!({"to": name(to), "verdict": "unmeasured"}),
        _ => path("clear", usual),
    }
}

fn matrix(nodes: usize, kind: &str) -> Value {
    let silent = |node: usize| kind == "sick" && (node == 3 || node == 40);
    let grid = |plane: &str, usual: u64| {
        let row = |from: usize| {
            let cells: Vec<Value> = (0..nodes).filter(|to| *to != from).map(|to| cell(kind, from, to, usual)).collect();
            json!({"from": name(from), "counts": counts(cells.len()), "cells": cells})
        };
        let rows: Vec<Value> = (0..nodes).filter(|node| !silent(*node)).map(row).collect();
        json!({"vantage": "node", "plane": plane, "family": "ipv4", "usual_mtu": usual, "worse": 0,
            "counts": counts(nodes * nodes), "rows": rows})
    };
    let node = |number: usize| {
        let why = silent(number).then_some("no answer at 10.0.0.7:9747");
        let answer = if silent(number) { "timeout" } else { "report" };
        json!({"name": name(number), "vantage": "node", "answer": answer, "why": why, "version": "0.1.0",
            "zone": format!("zone-{}", number % 3), "status": "healthy", "report_age_seconds": 7})
    };
    let share = |worse: usize| json!({"worse": worse, "measured": nodes - 1, "unreachable": 0, "path_mtu": 1400});
    let odd = |number: usize| {
        json!({"node": name(number), "vantage": "node", "plane": "underlay", "family": "ipv4", "to_it": share(nodes - 1),
            "from_it": share(nodes - 1), "others": share(0), "usual_mtu": 1500})
    };
    let odd: Vec<Value> = [2, 17].into_iter().filter(|node| kind == "sick" && *node < nodes).map(odd).collect();
    let status = match kind {
        "sick" => "critical",
        "broken" => "warning",
        _ => "healthy",
    };
    json!({"schema": "mtuscope.cluster/v1", "node": name(0), "generated_at": "2026-11-22T05:00:00Z",
        "summary": {"status": status, "agents": nodes, "answered": nodes - 2, "cells": counts(nodes * nodes), "odd": odd.len(),
            "ways": 0},
        "nodes": (0..nodes).map(node).collect::<Vec<_>>(), "odd": odd, "ways": [], "differing": [],
        "grids": [grid("underlay", 1500), grid("overlay", 1450)]})
}

fn counts(cells: usize) -> Value {
    json!({"clear": cells, "limited": 0, "black_hole": 0, "unreachable": 0, "unknown": 0, "unmeasured": 0, "unanswered": 0})
}
