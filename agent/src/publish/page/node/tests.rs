//! Whole pages: what stands in them, what hostile names make of them, and how large they get.

use std::sync::Arc;

use insta::assert_snapshot;
use jiff::ToSpan;
use probes::path::{Plane, VerdictName};
use probes::report::{Finding, FindingCounts, PathRow, Severity, Status, ladder};

use super::super::super::example::{cluster, finding, path, published};
use super::*;

fn written(report: &Report) -> String {
    page(report, &Trail::default(), 30, false).unwrap()
}

/// What changes from page to page: what the shell adds is in the snapshot of the first round alone.
fn content(page: &str) -> &str {
    let (_, rest) = page.split_once("<main").unwrap();
    rest.split_once("</main>").unwrap().0
}

fn sick() -> Report {
    (*published().report).clone()
}

fn healthy() -> Report {
    let mut report = (*cluster(2, 0).report).clone();
    report.links.retain(|link| link.name != "enp6s0" && link.name != "vmbr2" && link.mtu.bytes() <= 1500);
    report.links.retain(|link| link.role != probes::report::Role::Pod || link.mtu.bytes() == 1450);
    report.not_concluded.clear();
    report.summary.status = Status::Healthy;
    report.summary.findings = FindingCounts::default();
    report.summary.not_concluded = 0;
    report.ladders = ladder::of(&report);
    report
}

fn unknown() -> Report {
    let mut report = healthy();
    for row in &mut report.paths {
        let why = Some("no right to probe: CAP_NET_RAW is missing".to_owned());
        let (peer, address) = (row.peer.clone(), row.address.to_string());
        *row = PathRow { why, probed_at: None, ..path(&peer, row.plane, &address, VerdictName::Unknown, 0) };
    }
    report.summary.status = Status::Unknown;
    report.ladders = ladder::of(&report);
    report
}

#[test]
fn a_healthy_node() {
    let mut trail = Trail::default();
    let mut report = healthy();
    for round in 0..4 {
        for row in &mut report.paths {
            row.probed_at = row.probed_at.map(|at| at + 30.seconds());
            row.round_trip_seconds = Some(0.000_3 + 0.000_1 * f64::from(round));
        }
        trail.record(&report.paths, 50);
    }
    assert_snapshot!(content(&page(&report, &trail, 30, false).unwrap()));
}

#[test]
fn a_sick_node() {
    assert_snapshot!(content(&written(&sick())));
}

#[test]
fn a_node_of_which_nothing_is_known() {
    let page = written(&unknown());
    assert!(!content(&page).contains("verdict healthy"), "it is not to look as if all were well");
    assert_snapshot!(content(&page));
}

/// Of the healthy node one path was seen to be bad, once.
fn doubted() -> Report {
    let mut report = healthy();
    let (peer, plane, address) = (report.paths[0].peer.clone(), report.paths[0].plane, report.paths[0].address);
    report.paths[0] = path(&peer, plane, &address.to_string(), VerdictName::BlackHole, 1400);
    report
}

#[test]
fn what_is_not_confirmed_yet_is_not_called_healthy() {
    let page = written(&doubted());
    let (verdict, _) = content(&page).split_once("<p class=\"quiet\">").unwrap();
    assert!(page.contains("<title>▲ Not confirmed: master-1 – mtuscope</title>"), "{page}");
    assert_snapshot!(verdict);
    let again = written(&healthy());
    assert!(again.contains("✓ Healthy") && !again.contains("Not confirmed"), "{again}");
}

#[test]
fn before_the_first_round() {
    let page = first(3, "/").unwrap().replace(super::super::STYLE, "(style)").replace(super::super::SCRIPT, "(script)");
    assert_snapshot!(page);
}

#[test]
fn a_round_that_does_not_come_is_said_before_the_verdict() {
    let page = page(&healthy(), &Trail::default(), 30, true).unwrap();
    let old = page.find("no round has finished since 2026-11-21 01:40:00 UTC").expect("it is said");
    assert!(old < page.find("<h1>").unwrap());
    assert!(page.contains("<title>? Old: master-1 – mtuscope</title>"), "{page}");
}

#[test]
fn the_worst_finding_comes_first_and_what_it_causes_is_folded_into_it() {
    let page = written(&sick());
    let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("{what} is missing"));
    assert!(at("link-down <bdi>enp6s0") < at("path-limited <bdi>master-2"));
    assert!(at("It causes 2 more") < at("path-black-hole <bdi>master-3"), "a consequence stands by itself");
    assert_eq!(page.matches("peer-unreachable <bdi>").count(), 0, "a consequence is as loud as its cause");
}

/// Names that try to be more than text.
const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"onmouseover=alert(1) x=\"",
    "'><img src=x onerror=alert(1)>",
    "a\u{202e}gnp.exe\u{2066}\u{7}\u{1b}[31m\u{0}",
    "</title></main></body><!--",
];

fn hostile() -> Report {
    let mut report = sick();
    let [script, quote, image, control, end] = HOSTILE;
    let long = "x".repeat(1_000);
    report.node = end.into();
    report.version = quote.into();
    report.links[2].name = script.into();
    report.links[3].kind = image.into();
    report.tunnels[0].link = quote.into();
    for (row, name) in report.paths.iter_mut().zip(HOSTILE.iter().copied().chain([long.as_str()])) {
        row.peer = name.into();
        row.why = Some(name.into());
    }
    report.settings[0].name = image.into();
    report.settings[0].wanted = Some(control.into());
    report.not_concluded[0].reason = script.into();
    let told = |subject: &str| Finding {
        summary: subject.into(),
        evidence: serde_json::json!({subject: [subject]}),
        remedy: vec![subject.into(), format!("$ {subject}")],
        ..finding("path-lossy", Severity::Warning, subject, None)
    };
    report.findings.extend(HOSTILE.iter().copied().chain([long.as_str()]).map(told));
    report.ladders = ladder::of(&report);
    report
}

#[test]
fn hostile_names_are_text() {
    let page = written(&hostile());
    for bad in ["<script>a", "<img", "\"onmouseover", "'><", "<!--", "</title></main>"] {
        assert!(!page.contains(bad), "{bad} is not escaped");
    }
    let main = content(&page);
    // Quotes in values are escaped, so what is between two of them is a value.
    let tags = main.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    let bare: Vec<String> = tags.map(|tag| tag.split('"').step_by(2).collect()).collect();
    assert!(!bare.iter().any(|tag| tag.contains(" on") || tag.contains("style=") || tag.starts_with("script")));
    assert!(main.contains("&#60;script&#62;alert(1)"), "it is shown, as what it is");
}

#[test]
fn hostile_names_neither_turn_the_text_around_nor_fill_the_page() {
    let page = written(&hostile());
    for c in page.chars() {
        assert!(c == '\n' || !super::super::disturbs(c), "{c:?}");
    }
    let mut longest = content(&page).split(|c: char| c != 'x').map(str::len);
    assert!(longest.all(|length| length <= SENTENCE), "a name of 1,000 characters stands there in full");
    let mut rows = page.split("<th scope=\"row\"><bdi>").skip(1).filter_map(|rest| rest.split("</bdi>").next());
    assert!(rows.all(|row| !row.contains(&"x".repeat(NAME + 1))), "a row's name fills the table");
}

#[test]
fn every_style_and_script_is_one_that_the_policy_names() {
    let page = written(&hostile());
    assert_eq!((page.matches("<style").count(), page.matches("<script").count()), (1, 1));
    assert!(page.contains(super::super::STYLE) && page.contains(super::super::SCRIPT), "escaped, their hashes differ");
    assert!(!page.contains("http-equiv=\"Content-Security-Policy\""), "the header says it");
    let asked: Vec<&str> = ["src=\"", "@import", "url("].into_iter().filter(|what| page.contains(what)).collect();
    assert_eq!(asked, [""; 0], "the page asks for something else");
}

#[test]
fn ten_thousand_peers_make_no_large_page() {
    let mut trail = Trail::default();
    for sick in [0, 10_000] {
        let report = Arc::unwrap_or_clone(cluster(10_000, sick).report);
        for round in 0..60 {
            let mut rows = report.paths[..300].to_vec();
            rows.iter_mut().for_each(|row| row.probed_at = row.probed_at.map(|at| at + round.seconds()));
            trail.record(&rows, 50);
        }
        let page = page(&report, &trail, 30, false).unwrap();
        assert!(page.len() < 500_000, "{} bytes with {sick} sick peers", page.len());
        assert!(page.contains("/report has them all"), "what is left out is not said");
    }
}

#[test]
fn headings_are_in_order_and_tables_have_their_words() {
    for page in [written(&sick()), written(&healthy()), written(&unknown()), first(3, "/").unwrap()] {
        let levels: Vec<u32> = page
            .match_indices("<h")
            .filter_map(|(at, _)| page[at + 2..].chars().next().and_then(|c| c.to_digit(10)))
            .collect();
        assert_eq!((levels[0], levels.iter().filter(|level| **level == 1).count()), (1, 1));
        assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
        assert_eq!(page.matches("<table>").count(), page.matches("<caption").count());
        assert!(!page.contains("<th>"), "a heading of a table without scope");
    }
}

#[test]
fn of_one_plane_and_family_rows_tell_which() {
    let mut report = healthy();
    report.paths = vec![
        path("a", Plane::Underlay, "10.0.0.1", VerdictName::Clear, 1500),
        path("a", Plane::Underlay, "fd00::1", VerdictName::Clear, 1500),
    ];
    let page = written(&report);
    assert!(page.contains("<bdi>underlay</bdi>") && page.contains("<bdi>underlay IPv6</bdi>"), "{page}");
}
