//! What queries choose, and by which number, on series written by hand: of more paths than the lab has, and of agents in
//! states that it cannot keep them in. `promtool` evaluates them as Prometheus does.

use std::fs;
use std::process::Command;

use lab::dashboards::grafana::{Dashboard, Panel, Transformation};
use lab::dashboards::{self, CLUSTER, NODE, PATH};
use lab::harness::test;
use lab::{Error, Result};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::asks::choices_of;
use crate::interpolate::{Choice, interpolate, interpolate_query};

/// That the worst is what is shown.
pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("of many paths those are drawn that fall short, the same in each query", drawn_paths),
        test("a table of paths has the unreachable ones first, then the holes", first_paths),
        test("an agent that has not ended a round is not known, and has no count of findings", unheard),
        test("the worst alerts are kept, and come by their severity", kept_alerts),
        test("graphs are marked with alerts of the chosen nodes and of no single one", marked_alerts),
        test("a dead plane stays a choice, and a peer that is not reached", dead_choices),
    ]
}

/// A series, and its values every 10 s for a minute.
type Given = (String, &'static str);
/// A query, and its answer at the end of that minute: series and values.
type Wanted = (String, Vec<(String, f64)>);

fn judge(given: &[Given], wanted: &[Wanted]) -> Result<()> {
    let series: Vec<_> = given.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect();
    let answer = |(labels, value): &(String, f64)| json!({ "labels": labels, "value": value });
    let asked = |(query, answers): &Wanted| {
        let answers: Vec<_> = answers.iter().map(answer).collect();
        json!({ "expr": query, "eval_time": "60s", "exp_samples": answers })
    };
    let asked: Vec<_> = wanted.iter().map(asked).collect();
    let tests = json!([{ "interval": "10s", "input_series": series, "promql_expr_test": asked }]);
    play(&json!({ "evaluation_interval": "10s", "tests": tests }))
}

fn play(tests: &Value) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new("running `promtool test rules`", error).check("Debian's package prometheus has promtool")
    };
    let directory = tempfile::tempdir().map_err(failed)?;
    let file = directory.path().join("tests.yaml");
    // JSON is YAML as well.
    fs::write(&file, tests.to_string()).map_err(failed)?;
    let output = Command::new("promtool").args(["test", "rules"]).arg(&file).output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Err(Error::new("asking on series written by hand", said.concat()))
}

fn of(uid: &str) -> Dashboard {
    dashboards::all().into_iter().find(|dashboard| dashboard.uid == uid).expect("there is such a dashboard")
}

/// A panel, not the head of a row.
fn panel<'d>(dashboard: &'d Dashboard, title: &str) -> &'d Panel {
    let mut panels = dashboard.panels.iter().filter(|panel| panel.kind != "row");
    panels.find(|panel| panel.title == title).expect("there is such a panel")
}

/// The query of a panel with a letter.
fn query(uid: &str, title: &str, letter: &str, choice: &Choice) -> String {
    let dashboard = of(uid);
    let target = panel(&dashboard, title).targets.iter().find(|target| target.ref_id == letter);
    interpolate_query(target.expect("there is such a query"), &dashboard, choice)
}

const AGENT: &str = r#"instance="i", job="mtuscope", node="a""#;
const HOLE: &str = r#"family="ipv4", instance="i", job="mtuscope", node="a", peer="hole", plane="underlay""#;
const DEAD: &str = r#"family="ipv4", instance="i", job="mtuscope", node="a", peer="dead", plane="underlay""#;

/// A node's paths: 25 of 1450 through tunnels, which carry what they should; one between nodes that carries 1480 of 1500; one
/// that is not reached, and of which is not known what it should carry. When the agent began, it reached nobody.
fn paths() -> Vec<Given> {
    let mut given = vec![
        (format!("mtuscope_build_info{{{AGENT}}}"), "1+0x6"),
        (format!("process_start_time_seconds{{{AGENT}}}"), "7+0x6"),
        (format!("mtuscope_path_up{{{DEAD}}}"), "0+0x6"),
        (format!("mtuscope_path_up{{{HOLE}}}"), "0 1+0x5"),
        (format!("mtuscope_path_mtu_bytes{{{HOLE}}}"), "_ 1480+0x5"),
        (format!("mtuscope_path_expected_mtu_bytes{{{HOLE}}}"), "_ 1500+0x5"),
    ];
    for number in 0..25 {
        let path = format!(r#"{AGENT}, peer="p{number}", plane="overlay", family="ipv4""#);
        given.push((format!("mtuscope_path_up{{{path}}}"), "0 1+0x5"));
        given.push((format!("mtuscope_path_mtu_bytes{{{path}}}"), "_ 1450+0x5"));
        given.push((format!("mtuscope_path_expected_mtu_bytes{{{path}}}"), "_ 1450+0x5"));
    }
    given
}

fn drawn_paths() -> Result<()> {
    let choice = Choice::all().with("node", &["a"]);
    let of = |title, letter| query(PATH, title, letter, &choice);
    // The two that matter: the healthy ones are all alike, and some of them are there.
    let both = |query: &str| format!("({query}) and on (peer) mtuscope_path_up{{plane=\"underlay\"}}");
    let count = |query: &str| format!("count({query})");
    let is = |labels: &str, value: f64| (format!("{{{labels}}}"), value);
    let [passes, expected] = ["A", "B"].map(|letter| of("Path MTU against expected", letter));
    let wanted = [
        (both(&of("Path MTU", "A")), vec![is(HOLE, 1480.0)]),
        (both(&of("Short by", "A")), vec![is(DEAD, 65535.0), is(HOLE, 20.0)]),
        (format!("({}) == 0", of("Reached", "A")), vec![is(DEAD, 0.0)]),
        (both(&passes), vec![is(HOLE, 1480.0)]),
        (both(&expected), vec![is(HOLE, 1500.0)]),
        // Of the twenty one has no size.
        (count(&passes), vec![is("", 19.0)]),
        (format!("({passes}) unless on (peer) ({expected})"), Vec::new()),
        (format!("({expected}) unless on (peer) ({passes})"), Vec::new()),
        (both(&of("Reached over time", "A")), vec![is(DEAD, 0.0), is(HOLE, 1.0)]),
        (count(&of("Reached over time", "A")), vec![is("", 20.0)]),
    ];
    judge(&paths(), &wanted)
}

fn first_paths() -> Result<()> {
    let choice = Choice::all().with("node", &["a"]);
    let first = |uid| {
        let sorted = sorted(uid, "Paths");
        let column = query(uid, "Paths", sorted.strip_prefix("Value #").expect("it has several queries"), &choice);
        let wanted = |labels: &str, value: f64| (format!("{{{labels}}}"), value);
        (format!("topk(2, {column})"), vec![wanted(DEAD, 65535.0), wanted(HOLE, 20.0)])
    };
    judge(&paths(), &[first(NODE), first(PATH)])
}

/// The column of which a table's rows have the order, largest first.
fn sorted(uid: &str, title: &str) -> &'static str {
    let dashboard = of(uid);
    let sorts = panel(&dashboard, title).transformations.iter().filter_map(|one| match one {
        Transformation::SortBy { sort: [column], .. } => Some(column),
        _ => None,
    });
    let [column] = sorts.collect::<Vec<_>>()[..] else { panic!("{title} is not sorted once") };
    assert!(column.desc, "{title}");
    column.field
}

fn unheard() -> Result<()> {
    let agent = |node: &str| format!(r#"instance="i", job="mtuscope", node="{node}""#);
    let finding = |node, severity| {
        format!(r#"mtuscope_finding{{{}, code="c", severity="{severity}", subject="s"}}"#, agent(node))
    };
    let mut given = vec![(finding("critical", "critical"), "1+0x6"), (finding("warning", "warning"), "1+0x6")];
    for node in ["critical", "warning", "quiet", "starting"] {
        let agent = agent(node);
        given.push((format!("mtuscope_build_info{{{agent}}}"), "1+0x6"));
        given.push((format!("process_start_time_seconds{{{agent}}}"), "7+0x6"));
        given.push((format!(r#"mtuscope_paths{{{agent}, plane="underlay", verdict="clear"}}"#), "0+0x6"));
        if node != "starting" {
            given.push((format!("mtuscope_last_round_timestamp_seconds{{{agent}}}"), "7+0x6"));
        }
    }
    let is = |node, value: f64| (format!("{{{}}}", agent(node)), value);
    let severities = vec![is("critical", 3.0), is("warning", 2.0), is("starting", 0.5), is("quiet", 0.0)];
    let of = |title, letter| query(CLUSTER, title, letter, &Choice::all());
    assert_eq!(sorted(CLUSTER, "Node by plane"), "Value #A");
    let wanted = [
        (of("Node by plane", "A"), severities.clone()),
        (of("Node by plane", "E"), vec![is("critical", 1.0), is("warning", 1.0), is("quiet", 0.0)]),
        (of("Worst finding by node", "A"), severities),
    ];
    judge(&given, &wanted)
}

/// An alert that fires, of a node or, without a name, of none.
fn alert(name: &str, severity: &str, node: &str) -> String {
    let node = if node.is_empty() { String::new() } else { format!(r#", node="{node}""#) };
    format!(r#"ALERTS{{alertname="{name}", alertstate="firing", severity="{severity}"{node}}}"#)
}

fn kept_alerts() -> Result<()> {
    let mut given: Vec<_> =
        (0..30).map(|number| (alert("MtuscopeNote", "info", &format!("n{number}")), "1+0x6")).collect();
    given.extend(["critical", "warning", "page"].map(|severity| (alert("MtuscopeOne", severity, severity), "1+0x6")));
    let rows = query(CLUSTER, "Alerts that fire", "A", &Choice::all().with("rows", &["20"]));
    assert_eq!(sorted(CLUSTER, "Alerts that fire"), "Value");
    let is = |node, value: f64| (format!(r#"{{alertname="MtuscopeOne", node="{node}"}}"#), value);
    let wanted = [
        (format!("({rows}) > 1"), vec![is("critical", 3.0), is("page", 2.5), is("warning", 2.0)]),
        (format!("count({rows})"), vec![("{}".into(), 20.0)]),
    ];
    judge(&given, &wanted)
}

fn marked_alerts() -> Result<()> {
    const PLAIN: &str = "10.0.0.1:9747";
    let all = ["a", "b", "10.0.0.1:9747", "10.0.0.2:9747", ""].map(|node| alert("MtuscopeOne", "critical", node));
    let mut given = all.clone().map(|alert| (alert, "1+0x6")).to_vec();
    for agent in [r#"node="a", instance="i""#, r#"node="b", instance="j""#, r#"instance="10.0.0.1:9747""#] {
        given.push((format!(r#"mtuscope_build_info{{job="mtuscope", {agent}}}"#), "1+0x6"));
    }
    let mut wanted = Vec::new();
    for uid in [NODE, PATH] {
        let dashboard = of(uid);
        let mark = dashboard.annotations.list.iter().find(|mark| mark.name == "Alerts").expect("it marks alerts");
        let mut of = |choice: &Choice, alerts: [&String; 2]| {
            let query = interpolate(&mark.expr, &dashboard, choice);
            wanted.push((query, alerts.map(|alert| (alert.clone(), 1.0)).to_vec()));
        };
        of(&Choice::all().with("node", &["b"]), [&all[1], &all[4]]);
        of(&Choice::all().with("node", &[""]).with("instance", &[PLAIN]), [&all[2], &all[4]]);
    }
    judge(&given, &wanted)
}

fn dead_choices() -> Result<()> {
    let at = |plane: &str| format!(r#"{AGENT}, plane="{plane}", family="ipv4""#);
    let given = [
        (format!(r#"mtuscope_paths{{{}, verdict="unreachable"}}"#, at("overlay")), "1+0x6"),
        (format!(r#"mtuscope_paths{{{}, verdict="clear"}}"#, at("underlay")), "1+0x6"),
        (format!("mtuscope_path_min_mtu_bytes{{{}}}", at("underlay")), "1500+0x6"),
        (format!(r#"mtuscope_path_up{{{}, peer="dead"}}"#, at("overlay")), "0+0x6"),
    ];
    let dashboard = of(PATH);
    let wanted = [("peer", vec!["dead"]), ("plane", vec!["overlay", "underlay"]), ("family", vec!["ipv4"])];
    let wanted = wanted.map(|(name, values)| {
        let variable = dashboard.templating.list.iter().find(|one| one.name == name).expect("it has this variable");
        let query = interpolate(&variable.query, &dashboard, &Choice::all().with("node", &["a"]));
        let (selector, label) = choices_of(&query);
        let each = values.into_iter().map(|value| (format!("{{{name}=\"{value}\"}}"), 1.0));
        (format!("0 * count by ({label}) ({selector}) + 1"), each.collect())
    });
    judge(&given, &wanted)
}
