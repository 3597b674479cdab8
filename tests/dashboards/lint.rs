//! The rules of grafana/dashboard-linter, and the house's own, on the JSON that is committed.
//!
//! Each rule comes with a way to break it, and has to notice. The linter's rule that queries parse is left to Prometheus
//! itself, which answers each of them in [`crate::moves`]; those about logs do not apply. Where a rule here is stricter
//! than the linter's, or has an exception, it says so.

use std::fs;
use std::path::Path;

use lab::dashboards::{self, words};
use lab::harness::test;
use lab::{Error, Result};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::promql::{Selector, selectors};

/// A rule.
struct Rule {
    name: &'static str,
    /// What is wrong.
    faults: fn(&Value) -> Vec<String>,
    /// Makes a dashboard break it.
    spoil: fn(&mut Value),
}

const RULES: [Rule; 26] = [
    Rule {
        name: "template-datasource",
        faults: template_datasource,
        spoil: |it| it["templating"]["list"][0]["name"] = json!("ds"),
    },
    Rule {
        name: "template-job",
        faults: |it| template(it, "job", "Job"),
        spoil: |it| variable(it, "job")["multi"] = json!(false),
    },
    Rule {
        name: "template-instance",
        faults: |it| template(it, "instance", "Instance"),
        spoil: |it| variable(it, "instance")["allValue"] = json!(".*"),
    },
    Rule {
        name: "template-label-promql",
        faults: template_query,
        spoil: |it| variable(it, "job")["query"] = json!("labels(up, job)"),
    },
    Rule {
        name: "template-of-what-stays",
        faults: passing_choices,
        spoil: |it| variable(it, "job")["query"] = json!("label_values(mtuscope_path_min_mtu_bytes, job)"),
    },
    Rule {
        name: "template-on-time-change-reload",
        faults: template_reload,
        spoil: |it| variable(it, "node")["refresh"] = json!(1),
    },
    Rule {
        name: "panel-datasource",
        faults: data_sources,
        spoil: |it| target(it)["datasource"]["uid"] = json!("P1809F7CD0C75ACF3"),
    },
    Rule { name: "panel-title-description", faults: titles, spoil: |it| panel(it)["description"] = json!("") },
    Rule {
        name: "panel-units",
        faults: units,
        spoil: |it| panel(it)["fieldConfig"]["defaults"]["unit"] = json!("byte"),
    },
    Rule { name: "panel-no-targets", faults: no_targets, spoil: |it| panel(it)["targets"] = json!([]) },
    Rule {
        name: "target-job",
        faults: |it| matchers(it, "job"),
        spoil: |it| target(it)["expr"] = json!(r#"count(mtuscope_paths{instance=~"$instance"})"#),
    },
    Rule {
        name: "target-instance",
        faults: |it| matchers(it, "instance"),
        spoil: |it| target(it)["expr"] = json!(r#"count(mtuscope_paths{job=~"$job"})"#),
    },
    Rule {
        name: "target-rate-interval",
        faults: rate_intervals,
        spoil: |it| target(it)["expr"] = json!("sum(rate(mtuscope_search_packets_total[5m]))"),
    },
    Rule {
        name: "target-counter-agg",
        faults: counters,
        spoil: |it| target(it)["expr"] = json!("sum(mtuscope_search_packets_total)"),
    },
    Rule { name: "uneditable-dashboard", faults: editable, spoil: |it| it["editable"] = json!(true) },
    Rule { name: "same-wherever-imported", faults: identity, spoil: |it| it["id"] = json!(7) },
    Rule {
        name: "never-green",
        faults: greens,
        spoil: |it| panel(it)["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = json!("green"),
    },
    Rule {
        name: "nothing-is-not-known",
        faults: nothing,
        spoil: |it| panel(it)["fieldConfig"]["defaults"]["noValue"] = json!("0"),
    },
    Rule {
        name: "bounded",
        faults: unbounded,
        spoil: |it| table(it)["targets"][0]["expr"] = json!("max by (job, instance) (mtuscope_setting)"),
    },
    Rule {
        name: "rates-of-a-minute",
        faults: hasty,
        spoil: |it| target(it)["expr"] = json!("sum(rate(mtuscope_search_packets_total[$__rate_interval]))"),
    },
    Rule {
        name: "marks-of-the-chosen",
        faults: foreign_marks,
        spoil: |it| it["annotations"]["list"][0]["expr"] = json!(r#"ALERTS{alertname=~"Mtuscope.*"}"#),
    },
    Rule {
        name: "ten-thousand-nodes",
        faults: heavy,
        spoil: |it| {
            variable(it, "node")["includeAll"] = json!(true);
            panel(it)["maxDataPoints"] = json!(200);
            target(it)["range"] = json!(true);
            target(it)["expr"] = json!(r#"sum(mtuscope_paths{verdict!="clear"})"#);
        },
    },
    Rule {
        name: "sorted-by-one",
        faults: sorted_by_many,
        spoil: |it| table(it)["transformations"] = json!([{ "id": "sortBy", "options": { "sort": [{}, {}] } }]),
    },
    Rule { name: "bars-from-nothing", faults: bars, spoil: |it| panel(it)["type"] = json!("bargauge") },
    Rule {
        name: "twenty-paths",
        faults: many_paths,
        spoil: |it| {
            target(it)["expr"] = json!("max by (job, instance, peer) (mtuscope_path_up) and on (job) topk(5, x)")
        },
    },
    Rule { name: "links-keep-the-choice", faults: links, spoil: |it| *link(it) = json!("/d/mtuscope-node?var-job=a") },
];

/// One test a rule.
pub(crate) fn tests() -> Vec<Trial> {
    RULES
        .iter()
        .map(|rule| test(format!("{} holds, and is noticed where it does not", rule.name), || holds(rule)))
        .collect()
}

fn holds(rule: &Rule) -> Result<()> {
    for dashboard in dashboards::all() {
        let found = committed(dashboard.uid)?;
        let faults = (rule.faults)(&found);
        assert!(faults.is_empty(), "{}: {}", dashboard.uid, faults.join("\n"));
        let mut spoilt = found;
        (rule.spoil)(&mut spoilt);
        assert!(!(rule.faults)(&spoilt).is_empty(), "{}: {} passes what it is against", dashboard.uid, rule.name);
    }
    Ok(())
}

/// A dashboard as it is committed.
pub(crate) fn committed(uid: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../manifests/grafana/{uid}.json"));
    let reading = || format!("reading {}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| Error::new(reading(), error))?;
    serde_json::from_str(&text).map_err(|error| Error::new(reading(), error))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn variables(dashboard: &Value) -> &[Value] {
    list(&dashboard["templating"]["list"])
}

/// Panels, without the heads of rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row")
}

fn targets(dashboard: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    panels(dashboard).flat_map(|panel| list(&panel["targets"]).iter().map(move |target| (panel, target)))
}

/// Selectors of panels, each with its panel's title.
fn selected(dashboard: &Value) -> Vec<(&str, Selector)> {
    let of = |(panel, target): (&'_ Value, &'_ Value)| (panel["title"].clone(), selectors(text(&target["expr"])));
    let titles = targets(dashboard).map(|(panel, _)| text(&panel["title"]));
    titles
        .zip(targets(dashboard).map(of))
        .flat_map(|(title, (_, all))| all.into_iter().map(move |one| (title, one)))
        .collect()
}

fn variable<'v>(dashboard: &'v mut Value, name: &str) -> &'v mut Value {
    let all = dashboard["templating"]["list"].as_array_mut().expect("it has variables");
    all.iter_mut().find(|variable| variable["name"] == name).expect("each has it")
}

/// The first panel of a kind that has a unit of its own.
fn panel(dashboard: &mut Value) -> &mut Value {
    let all = dashboard["panels"].as_array_mut().expect("it has panels");
    all.iter_mut().find(|panel| panel["type"] == "stat").expect("each has one")
}

fn table(dashboard: &mut Value) -> &mut Value {
    let all = dashboard["panels"].as_array_mut().expect("it has panels");
    all.iter_mut().find(|panel| panel["type"] == "table").expect("each has one")
}

fn target(dashboard: &mut Value) -> &mut Value {
    &mut panel(dashboard)["targets"][0]
}

fn link(dashboard: &mut Value) -> &mut Value {
    let all = dashboard["panels"].as_array_mut().expect("it has panels");
    let overrides = all.iter_mut().filter_map(|panel| panel["fieldConfig"]["overrides"].as_array_mut()).flatten();
    let properties = overrides.filter_map(|field| field["properties"].as_array_mut()).flatten();
    let mut links = properties.filter(|property| property["id"] == "links");
    &mut links.next().expect("each has one")["value"][0]["url"]
}

fn template_datasource(dashboard: &Value) -> Vec<String> {
    let sources: Vec<_> = variables(dashboard).iter().filter(|variable| variable["type"] == "datasource").collect();
    let [source] = sources[..] else { return vec![format!("{} variables for data sources", sources.len())] };
    let found = [&source["name"], &source["label"], &source["query"]].map(text);
    let wanted = ["datasource", "Data source", "prometheus"];
    if found == wanted { Vec::new() } else { vec![format!("{found:?}")] }
}

fn template(dashboard: &Value, name: &str, label: &str) -> Vec<String> {
    let Some(variable) = variables(dashboard).iter().find(|variable| variable["name"] == name) else {
        return vec![format!("no variable {name}")];
    };
    let wanted = json!({ "type": "query", "label": label, "multi": true, "allValue": ".+" });
    let mut faults = differences(variable, &wanted);
    faults.extend(differences(&variable["datasource"], &json!({ "uid": "${datasource}" })));
    faults
}

fn differences(found: &Value, wanted: &Value) -> Vec<String> {
    let wanted = wanted.as_object().expect("an object");
    let differ = wanted.iter().filter(|(key, value)| found[key.as_str()] != **value);
    differ.map(|(key, value)| format!("{key} is {}, not {value}", found[key.as_str()])).collect()
}

fn asked(dashboard: &Value) -> impl Iterator<Item = &Value> {
    variables(dashboard).iter().filter(|variable| variable["type"] == "query")
}

fn template_query(dashboard: &Value) -> Vec<String> {
    let good = |query: &str| query.starts_with("label_values(mtuscope_") && query.ends_with(')');
    asked(dashboard).map(|one| text(&one["query"])).filter(|query| !good(query)).map(str::to_owned).collect()
}

/// What is chosen, or handed on by a link, is no choice any more once the series with it are gone, and Grafana shows another
/// one instead. These are there whatever is wrong: agents, counts of paths by place, and whether a path is reached.
fn passing_choices(dashboard: &Value) -> Vec<String> {
    const STAY: [&str; 3] = ["mtuscope_build_info", "mtuscope_paths", "mtuscope_path_up"];
    let metric =
        |query: &str| selectors(query.trim_start_matches("label_values")).into_iter().next().map(|one| one.metric);
    asked(dashboard)
        .map(|one| text(&one["query"]))
        .filter(|query| metric(query).is_none_or(|metric| !STAY.contains(&metric.as_str())))
        .map(str::to_owned)
        .collect()
}

fn template_reload(dashboard: &Value) -> Vec<String> {
    asked(dashboard).filter(|one| one["refresh"] != 2).map(|one| one["name"].to_string()).collect()
}

/// The linter asks it of some kinds of panel; here it is asked of all, of their targets and of marks.
fn data_sources(dashboard: &Value) -> Vec<String> {
    let of_panels = list(&dashboard["panels"]).iter().chain(targets(dashboard).map(|(_, target)| target));
    let all = of_panels.chain(list(&dashboard["annotations"]["list"])).chain(asked(dashboard));
    all.filter(|one| one["datasource"] != json!({ "type": "prometheus", "uid": "${datasource}" }))
        .map(|one| one["datasource"].to_string())
        .collect()
}

/// The linter asks it of some kinds of panel; here it is asked of all.
fn titles(dashboard: &Value) -> Vec<String> {
    let bare = |panel: &&Value| text(&panel["title"]).is_empty() || text(&panel["description"]).len() < 20;
    panels(dashboard).filter(bare).map(|panel| panel["title"].to_string()).collect()
}

/// The linter excuses panels that have words for values; here none is. Sizes of packets have the unit `none`: `bytes`
/// would round 1450 to 1.42 KiB, and it is the last byte that counts. What is counted has it as well.
fn units(dashboard: &Value) -> Vec<String> {
    const KNOWN: [&str; 6] = ["none", "s", "percentunit", "bytes", "pps", "cps"];
    panels(dashboard)
        .map(|panel| (panel, text(&panel["fieldConfig"]["defaults"]["unit"])))
        .filter(|(_, unit)| !KNOWN.contains(unit))
        .map(|(panel, unit)| format!("{}: {unit}", panel["title"]))
        .collect()
}

fn no_targets(dashboard: &Value) -> Vec<String> {
    panels(dashboard)
        .filter(|panel| list(&panel["targets"]).is_empty())
        .map(|panel| panel["title"].to_string())
        .collect()
}

/// Exceptions: labels of `ALERTS` are the rule's, and an alert on many nodes has none of them; who is missing is counted
/// over all targets of a job, whatever instance is chosen; and the other end of a path is another instance.
fn excepted(matcher: &str, title: &str, selector: &Selector) -> bool {
    selector.metric == "ALERTS" || matcher == "instance" && (title == "Agents missing" || title == "From the other end")
}

fn matchers(dashboard: &Value, label: &str) -> Vec<String> {
    let wanted = format!("{label}=~\"${label}\"");
    selected(dashboard)
        .into_iter()
        .filter(|(title, selector)| !selector.matches(&wanted) && !excepted(label, title, selector))
        .map(|(title, selector)| format!("{title}: {selector:?}"))
        .collect()
}

fn rate_intervals(dashboard: &Value) -> Vec<String> {
    let rates = ["rate", "irate", "increase"];
    selected(dashboard)
        .into_iter()
        .filter(|(_, one)| rates.contains(&one.within.as_str()) && one.range.as_deref() != Some("$__rate_interval"))
        .map(|(title, one)| format!("{title}: {one:?}"))
        .collect()
}

/// The linter looks at `_total`; buckets of histograms are counters too.
fn counters(dashboard: &Value) -> Vec<String> {
    let counter = |metric: &str| metric.ends_with("_total") || metric.ends_with("_bucket");
    selected(dashboard)
        .into_iter()
        .filter(|(_, one)| counter(&one.metric) && (one.within != "rate" || one.range.is_none()))
        .map(|(title, one)| format!("{title}: {one:?}"))
        .collect()
}

fn editable(dashboard: &Value) -> Vec<String> {
    differences(dashboard, &json!({ "editable": false }))
}

fn identity(dashboard: &Value) -> Vec<String> {
    let mut faults = differences(dashboard, &json!({ "id": null, "__inputs": [] }));
    if !text(&dashboard["uid"]).starts_with("mtuscope-") {
        faults.push(format!("uid {}", dashboard["uid"]));
    }
    if dashboard["schemaVersion"].as_u64().is_none_or(|version| version > 42) {
        faults.push(format!("schemaVersion {}", dashboard["schemaVersion"]));
    }
    let required: Vec<_> = list(&dashboard["__requires"]).iter().map(|one| text(&one["id"])).collect();
    let missing = panels(dashboard).map(|panel| text(&panel["type"])).filter(|kind| !required.contains(kind));
    faults.into_iter().chain(missing.map(|kind| format!("{kind} is not required"))).collect()
}

/// Every colour that is named anywhere.
fn colours<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            if ["color", "iconColor", "fixedColor"].contains(&key.as_str()) && value.is_string() {
                found.push(text(value));
            }
            colours(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| colours(item, found)),
        _ => {}
    }
}

/// Only the colours of [`words`]: none of them is green, which red-green blindness takes for red.
fn greens(dashboard: &Value) -> Vec<String> {
    const KNOWN: [&str; 8] = [
        words::FINE,
        words::NOTICE,
        words::WARNING,
        words::CRITICAL,
        words::GONE,
        words::UNKNOWN,
        words::PLAIN,
        "rgba(255,0,255,0.7)",
    ];
    let mut found = Vec::new();
    colours(dashboard, &mut found);
    found.into_iter().filter(|colour| !KNOWN.contains(colour)).map(str::to_owned).collect()
}

/// What has no data is called so, and no threshold calls it fine.
fn nothing(dashboard: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for panel in panels(dashboard) {
        let field = &panel["fieldConfig"]["defaults"];
        let lowest = &field["thresholds"]["steps"][0];
        let said = [words::NOT_KNOWN, words::NONE].contains(&text(&field["noValue"]));
        if !said || lowest["color"] == words::FINE || !lowest["value"].is_null() {
            faults.push(format!("{}: {} {lowest}", panel["title"], field["noValue"]));
        }
        let listed = text(&field["noValue"]) == words::NONE;
        if listed && !["table", "timeseries"].contains(&text(&panel["type"])) {
            faults.push(format!("{}: a number that is missing is not none", panel["title"]));
        }
    }
    faults
}

/// A query that tells agents apart keeps to so many of them. Sums over what tells them apart are small again.
fn unbounded(dashboard: &Value) -> Vec<String> {
    let bound = |query: &str| query.contains("topk(") || query.contains("bottomk(");
    let tells = |query: &str| {
        let outer = query.find(" by (").map(|at| &query[at..]).and_then(|rest| rest.split(')').next());
        outer.is_some_and(|labels| labels.contains("instance"))
            && !query.starts_with("sum(")
            && !query.starts_with("count")
    };
    targets(dashboard)
        .filter(|(_, target)| tells(text(&target["expr"])) && !bound(text(&target["expr"])))
        .map(|(panel, target)| format!("{}: {}", panel["title"], target["expr"]))
        .collect()
}

/// What is marked in graphs of a node is of that node, or of none.
fn foreign_marks(dashboard: &Value) -> Vec<String> {
    let chosen = |selector: &Selector| selector.matchers.iter().any(|one| one.starts_with("node=~\"$node"));
    list(&dashboard["annotations"]["list"])
        .iter()
        .filter(|mark| !selectors(text(&mark["expr"])).iter().any(chosen))
        .map(|mark| mark["name"].to_string())
        .collect()
}

/// What is drawn over time of all agents, be they 20,000, is less than what Prometheus holds for a query. The lists are short:
/// a metric that is new here needs its number, so that somebody thinks of it.
fn heavy(dashboard: &Value) -> Vec<String> {
    const AGENTS: u64 = 20_000;
    const MOST: u64 = 50_000_000;
    let offers_all = variables(dashboard).iter().any(|one| one["name"] == "node" && one["includeAll"] == true);
    let drawn = targets(dashboard).filter(|(_, target)| offers_all && target["range"] == true);
    let mut faults = Vec::new();
    for (panel, target) in drawn {
        // Grafana rounds the step down by at most this.
        let steps = panel["maxDataPoints"].as_u64().unwrap_or(MOST) * 7 / 4 + 1;
        for selector in selectors(text(&target["expr"])) {
            match series_of(&selector) {
                Some(series) if AGENTS * steps * series <= MOST => {}
                Some(series) => faults.push(format!("{}: {steps} × {series} of {}", panel["title"], selector.metric)),
                None => faults.push(format!("{}: how many {} has an agent?", panel["title"], selector.metric)),
            }
        }
    }
    faults
}

/// How many series an agent has of what is selected, with three planes and both families.
fn series_of(selector: &Selector) -> Option<u64> {
    Some(match selector.metric.as_str() {
        "mtuscope_build_info" | "mtuscope_last_round_timestamp_seconds" => 1,
        "mtuscope_paths" if selector.matches("verdict!=\"clear\"") => 24,
        "mtuscope_paths" => 30,
        "mtuscope_path_min_mtu_bytes" | "mtuscope_probe_packets_lost_total" | "mtuscope_probe_packets_sent_total" => 6,
        // Two NICs, a bond, a bridge and two tunnels.
        "mtuscope_link_mtu_bytes" => 6,
        // On every agent at once.
        "mtuscope_finding" => 28,
        _ => return None,
    })
}

/// `$__rate_interval` spans four scrapes only if it is said how far apart they can be.
fn hasty(dashboard: &Value) -> Vec<String> {
    targets(dashboard)
        .filter(|(_, target)| text(&target["expr"]).contains("$__rate_interval") && target["interval"] != "1m")
        .map(|(panel, target)| format!("{}: {}", panel["title"], target["expr"]))
        .collect()
}

/// Grafana's `sortBy` takes a list of columns and goes by the first alone.
fn sorted_by_many(dashboard: &Value) -> Vec<String> {
    panels(dashboard)
        .flat_map(|panel| list(&panel["transformations"]).iter().map(move |one| (panel, one)))
        .filter(|(_, one)| one["id"] == "sortBy" && list(&one["options"]["sort"]).len() != 1)
        .map(|(panel, one)| format!("{}: {one}", panel["title"]))
        .collect()
}

/// Without a lowest value Grafana takes the smallest there is: 1450 beside 1500 would be an empty bar.
fn bars(dashboard: &Value) -> Vec<String> {
    panels(dashboard)
        .filter(|panel| panel["type"] == "bargauge" && panel["fieldConfig"]["defaults"]["min"] != 0.0)
        .map(|panel| panel["title"].to_string())
        .collect()
}

/// A node has hundreds of paths, and only a table can be read with as many.
fn many_paths(dashboard: &Value) -> Vec<String> {
    let few = |query: &str| query.contains("topk(20, ") || query.contains("bottomk(20, ");
    let by_peer = |query: &str| {
        let outer = query.find(" by (").and_then(|at| query[at..].split(')').next());
        outer.is_some_and(|labels| labels.contains("peer"))
    };
    targets(dashboard)
        .filter(|(panel, target)| {
            panel["type"] != "table" && by_peer(text(&target["expr"])) && !few(text(&target["expr"]))
        })
        .map(|(panel, target)| format!("{}: {}", panel["title"], target["expr"]))
        .collect()
}

fn links(dashboard: &Value) -> Vec<String> {
    const KEPT: [&str; 6] = [
        "${datasource:queryparam}",
        "var-cluster=${__data.fields.cluster}",
        "var-job=${__data.fields.job}",
        "var-node=${__data.fields.node}",
        "var-instance=${__data.fields.instance}",
        "${__url_time_range}",
    ];
    let mut faults = Vec::new();
    for panel in panels(dashboard) {
        for property in list(&panel["fieldConfig"]["overrides"]).iter().flat_map(|field| list(&field["properties"])) {
            for url in list(&property["value"]).iter().map(|link| text(&link["url"])).filter(|url| !url.is_empty()) {
                let ours = dashboards::all().iter().any(|one| url.starts_with(&format!("/d/{}?", one.uid)));
                let lost = KEPT.iter().filter(|kept| !url.contains(**kept));
                faults.extend(lost.map(|kept| format!("{}: {url} loses {kept}", panel["title"])));
                if !ours {
                    faults.push(format!("{}: {url} leads elsewhere", panel["title"]));
                }
            }
        }
    }
    let menu = &dashboard["links"][0];
    faults.extend(differences(menu, &json!({ "includeVars": true, "keepTime": true, "tags": ["mtuscope"] })));
    faults
}
