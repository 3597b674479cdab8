//! Clusters as a page: what stands in it, that it stays small, and that nothing in it is anything but text.

use insta::assert_snapshot;
use probes::path::VerdictName;
use probes::report::PathRow;
use probes::units::Family;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::text::cluster::tests::{Cluster, becomes, small_nic};
use super::*;

/// The page without its style, script and foot, which are every page's.
fn content(page: &str) -> String {
    let (_, main) = page.split_once("<main").unwrap();
    main.split_once("</main>").unwrap().0.to_owned()
}

fn page(matrix: &Matrix) -> String {
    let page = cluster(matrix).unwrap();
    balanced(&page);
    assert!(page.len() < MOST, "{} bytes", page.len());
    page
}

/// What a template may write.
const TAGS: [&str; 49] = [
    "html", "head", "meta", "title", "link", "style", "noscript", "body", "a", "header", "nav", "div", "p", "main",
    "h1", "h2", "h3", "span", "time", "section", "ul", "li", "details", "summary", "table", "caption", "thead",
    "tbody", "tr", "th", "td", "b", "form", "fieldset", "legend", "label", "select", "option", "input", "button",
    "footer", "dl", "dt", "dd", "code", "script", "pre", "svg", "path",
];

/// Every attribute that a template may write begins with one of these.
const ATTRIBUTES: [&str; 33] = [
    "lang",
    "charset",
    "name",
    "content",
    "rel",
    "href",
    "type",
    "http-equiv",
    "data-",
    "class",
    "aria-",
    "id",
    "role",
    "tabindex",
    "datetime",
    "scope",
    "colspan",
    "title",
    "method",
    "required",
    "value",
    "maxlength",
    "autocomplete",
    "spellcheck",
    "selected",
    "open",
    "for",
    "viewBox",
    "d",
    "width",
    "height",
    "fill",
    "focusable",
];

/// Walks through the tags: each is known, has known attributes, and is closed where it has to be. A name that was not
/// escaped is a tag or an attribute that nobody knows.
pub(super) fn balanced(page: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut rest = page.split_once("<!DOCTYPE html>").expect("a document").1;
    while let Some(at) = rest.find('<') {
        let (tag, after) = tag(&rest[at + 1..]);
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
        assert!(TAGS.contains(&name), "<{tag}>");
        attributes(tag);
        rest = after;
        match tag.strip_prefix('/') {
            // The end of a cell may be left out (HTML §13.1.2.4).
            Some(ended) => {
                if open.last().is_some_and(|last| last == "td") && ended != "td" {
                    open.pop();
                }
                assert_eq!(open.pop().as_deref(), Some(ended), "{:?}", &rest[..rest.len().min(80)]);
            }
            None if ["meta", "link", "input"].contains(&name) => {}
            None => {
                if name == "td" && open.last().is_some_and(|last| last == "td") {
                    open.pop();
                }
                open.push(name.to_owned());
            }
        }
        if ["style", "script"].contains(&name) && !tag.starts_with('/') {
            rest = &rest[rest.find(&format!("</{name}")).expect("it ends")..];
        }
    }
    assert_eq!(open, [""; 0]);
}

/// A tag up to its end, which no quoted value is.
fn tag(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    panic!("a tag without an end: {}", &text[..text.len().min(80)]);
}

fn attributes(tag: &str) {
    let mut names = String::new();
    for (at, part) in tag.split('"').enumerate() {
        names.push_str(if at % 2 == 0 { part } else { "" });
    }
    for name in names.split_whitespace().skip(1).map(|name| name.split('=').next().unwrap_or_default()) {
        assert!(ATTRIBUTES.iter().any(|known| name.starts_with(known)), "{name} of <{tag}>");
    }
}

fn three() -> Cluster {
    Cluster::of(["master-1", "master-2", "master-3"].map(str::to_owned).to_vec())
}

#[test]
fn three_healthy_nodes() {
    let page = page(&three().matrix());
    assert!(page.contains("<title>Healthy: all 12 paths carry what they should – mtuscope</title>"), "{page}");
    assert_snapshot!(content(&page));
}

#[test]
fn a_black_hole_is_named_in_its_cells_and_above_them() {
    let page = page(&Cluster::four().underlay(small_nic).matrix());
    assert!(page.contains("Critical:</span> master-3 stands out</h1>"), "{page}");
    let cell = "<td class=h><a href=\"?from=master-1&amp;to=master-3\" title=\"master-1 to master-3\"><b>1400!</b> \
                <span>black hole</span></a>";
    assert!(page.contains(cell), "{page}");
    assert_snapshot!(content(&page));
}

#[test]
fn who_does_not_answer_and_whose_turn_has_not_come_are_not_fine() {
    let waiting = |from: usize, to: usize, row: &mut PathRow| {
        if (from, to) == (0, 1) {
            becomes(row, VerdictName::Unknown, 0);
            row.probed_at = None;
        }
    };
    let late = three().underlay(waiting).without(2, Answer::Timeout, "did not answer in time").matrix();
    let page = page(&late);
    assert!(page.contains("1 of 3 agents did not answer") && page.contains("<td class=w>"), "{page}");
    assert!(!page.contains("class=\"verdict healthy\""), "{page}");
    assert_snapshot!(content(&page));
}

#[test]
fn whose_rounds_stand_still_is_not_fine() {
    let page = page(&three().since(2, 3 * 3_600).matrix());
    assert!(page.contains("<title>Warning: the rounds of 1 of 3 agents stand still – mtuscope</title>"), "{page}");
    assert!(!page.contains("class=\"verdict healthy\""), "{page}");
    for said in [
        "3 of 3 agents answered, the rounds of 1 stand still",
        "master-3 tells of what was 3 h ago",
        "3 h ago, stands still",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let both = three().since(2, 3 * 3_600).without(1, Answer::Timeout, "did not answer in time").matrix();
    assert_eq!(headline(&both), "1 of 3 agents did not answer, the rounds of 1 of 3 agents stand still");
}

#[test]
fn of_sixty_those_that_deviate_come_first() {
    let sick = |from: usize, to: usize, row: &mut PathRow| {
        small_nic(from, to, row);
        if from == 10 && to == 11 {
            becomes(row, VerdictName::Unreachable, 0);
        }
    };
    let page = content(&page(&Cluster::sixty().underlay(sick).matrix()));
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(at("Nodes that deviate") < at("Paths that deviate besides"));
    assert!(at("Paths that deviate besides") < at("The whole map, 60 × 60"));
    assert!(page.contains("<td>=") && page.contains("57 others"), "what is usual is a sign");
    let (part, _) = page.split_once("The whole map").unwrap();
    assert_snapshot!(part);
}

/// A cluster of `nodes` with so many grids, whose nodes are all called as badly as a report allows, and each of whose
/// cells is as long as one can be.
fn hostile(nodes: usize, grids: usize) -> Matrix {
    let name =
        |number: usize| format!("{number:03}{}", "<b onload=x>\"'&😀".repeat(20).chars().take(250).collect::<String>());
    let mut matrix = Cluster::of((0..4).map(|number| format!("n{number}")).collect()).matrix();
    let bad = |to: usize| probes::cluster::Cell {
        to: name(to),
        verdict: probes::cluster::Mark::BlackHole,
        path_mtu: Some(IpSize::new(65_535)),
        expected_mtu: Some(IpSize::new(65_535)),
        round_trip_seconds: Some(0.1),
    };
    let counts = matrix.summary.cells;
    let row = |from: usize| probes::cluster::Row {
        from: name(from),
        counts,
        path_mtu: None,
        cells: (0..nodes).filter(|to| *to != from).map(bad).collect(),
    };
    let grid = Grid { rows: (0..nodes).map(row).collect(), usual_mtu: None, ..matrix.grids[0].clone() };
    matrix.grids = (0..grids)
        .map(|at| Grid { family: if at % 2 == 0 { Family::Ipv4 } else { Family::Ipv6 }, ..grid.clone() })
        .collect();
    let node = matrix.nodes[0].clone();
    matrix.nodes = (0..nodes)
        .map(|number| probes::cluster::NodeRow {
            name: name(number),
            why: Some(name(number)),
            calls_itself: Some(name(number + 1)),
            version: Some(name(1)),
            zone: Some(name(2)),
            ..node.clone()
        })
        .collect();
    matrix
}

#[test]
fn two_hundred_nodes_fit_whatever_they_are_called_and_however_bad_they_are() {
    let all = hostile(200, 6);
    let page = page(&all);
    assert!(page.contains("The whole map, 200 × 200"), "one map at least is drawn");
    assert!(page.contains("has no room for one more map"), "and what is left out is told");
    assert!(page.contains(" title="), "and some cells are links");
}

#[test]
fn few_cells_stop_the_tab_key() {
    let broken = |_: usize, _: usize, row: &mut PathRow| becomes(row, VerdictName::BlackHole, 1400);
    let forty = Cluster::of((0..40).map(|number| format!("n{number}")).collect()).underlay(broken);
    let mut matrix = forty.matrix();
    matrix.grids.retain(|grid| grid.plane == probes::path::Plane::Underlay);
    let page = page(&matrix);
    let (links, silent) = (page.matches(" title=").count(), page.matches(" tabindex=-1").count());
    assert_eq!((links, links - silent), (40 * 39, 40), "links in cells, and those that the keyboard stops at");
}

#[test]
fn the_form_may_be_sent_and_nothing_else_is_loosened() {
    assert_eq!(FORM_POLICY.replace("form-action 'self'", "form-action 'none'"), *POLICY);
    assert!(FORM_POLICY.contains("form-action 'self'"), "{}", *FORM_POLICY);
}

#[test]
fn a_name_in_a_query_is_nothing_but_a_name() {
    assert_eq!(encode("fd00::1&x=<å>"), "fd00%3A%3A1%26x%3D%3C%C3%A5%3E");
    assert_eq!(encode("node-1.example_org~"), "node-1.example_org~");
}

/// A matrix of a few nodes that came over the network from somebody who can write anything.
fn any_matrix() -> impl Strategy<Value = Matrix> {
    let names = proptest::collection::vec("[<>\"'&=/ a-z\\PC]{1,12}", 2..6);
    let cells = proptest::collection::vec((0..6usize, proptest::option::of(1..70_000u64), 0..6usize, 0..6usize), 0..30);
    (names, cells, "\\PC{0,40}", 0..10usize).prop_map(|(names, cells, text, answer)| {
        let verdicts = ["unmeasured", "clear", "unknown", "limited", "black_hole", "unreachable"];
        let answers = [
            "report",
            "timeout",
            "no_connection",
            "tls",
            "unauthorized",
            "not_ready",
            "refused",
            "too_large",
            "garbage",
            "not_asked",
        ];
        let name = |at: usize| names[at % names.len()].clone();
        let row = |from: usize| {
            let its = cells.iter().filter(|cell| cell.3 % names.len() == from);
            let cells: Vec<Value> = its
                .map(|(verdict, mtu, to, _)| json!({"to": name(*to), "verdict": verdicts[*verdict], "path_mtu": mtu}))
                .collect();
            json!({"from": name(from), "counts": counts(), "cells": cells})
        };
        let grid = json!({"vantage": "pod", "plane": "pod", "family": "ipv6", "usual_mtu": 1450, "worse": 1,
            "counts": counts(), "rows": (0..names.len()).map(row).collect::<Vec<_>>()});
        let node = |name: &String| {
            json!({"name": name, "vantage": "pod", "answer": answers[answer], "why": text,
            "calls_itself": text, "zone": text, "version": text, "strangers": [text], "strangers_count": 1})
        };
        serde_json::from_value(json!({"schema": "x", "node": text, "generated_at": "2026-11-22T05:00:00Z",
            "summary": {"status": "unknown", "agents": 3, "answered": 1, "cells": counts(), "odd": 0, "ways": 0},
            "nodes": names.iter().map(node).collect::<Vec<_>>(), "odd": [],
            "ways": [{"from": name(0), "to": text, "vantage": "pod", "plane": "pod", "family": "ipv6", "back": 1280}],
            "differing": [{"what": text, "values": [{"value": text, "count": 1, "nodes": [name(1)]}]}],
            "grids": [grid]}))
        .expect("of the schema")
    })
}

fn counts() -> Value {
    json!({"clear": 1, "limited": 1, "black_hole": 1, "unreachable": 1, "unknown": 1, "unmeasured": 1, "unanswered": 1})
}

proptest! {
    #[test]
    fn any_matrix_is_a_page_and_nothing_of_it_is_more_than_text(matrix in any_matrix()) {
        page(&matrix);
    }
}
