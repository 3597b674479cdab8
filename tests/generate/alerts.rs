//! Rule files, and promtool's word on them.
//!
//! [`case`] is the form of a promtool test, [`mechanical`] has one of each kind for every rule, [`adverse`] and
//! `manifests/alerts/adverse.test.yaml`, which is written by hand, what is hard.

mod adverse;
mod agents;
mod case;
mod mechanical;

use std::collections::BTreeMap;
use std::process::Command;

use case::{Case, Kind};
use probes::alerts::{AlertRule, Pace, Rule, grafana, operator, prometheus, recordings, rules};
use serde_json::Value;

use super::{committed, repository};

const RULES: &str = "manifests/alerts/mtuscope.rules.yaml";
const TESTS: &str = "manifests/alerts/mtuscope.test.yaml";
const ADVERSE: &str = "manifests/alerts/adverse.test.yaml";
const OPERATOR: &str = "manifests/components/prometheus-operator/rules.yaml";
const GRAFANA: &str = "manifests/grafana/alerting.yaml";
const RECORDINGS: &str = "manifests/grafana/recording.rules.yaml";

const MADE: &str =
    "# Written from the catalogue in the code: MTUSCOPE_REGENERATE=1 cargo test -p mtuscope-tests --test generate\n";

fn with_head(head: &str, text: &str) -> String {
    format!("{head}{MADE}{text}")
}

#[test]
fn the_rules_are_committed() {
    let groups = rules(Pace::Shipped);
    let head = "# Alert and recording rules of mtuscope, for Prometheus 2.42 (`keep_firing_for`) or later.\n";
    committed(RULES, &with_head(head, &prometheus(&groups)));
    let head = "# The rules for the Prometheus operator. If its Prometheus has a `ruleSelector`, add what it selects to the labels.\n";
    committed(OPERATOR, &with_head(head, &operator(&groups)));
    let head = "# The same alerts for Grafana's own alerting (12 or later), instead of those of Prometheus. Put it into Grafana's\n\
        # provisioning/alerting, set PROMETHEUS_UID in Grafana's environment to the uid of the Prometheus data source, and\n\
        # load recording.rules.yaml in that Prometheus. Names and values that only a query finds are left out of the texts.\n";
    committed(GRAFANA, &with_head(head, &grafana(&groups)));
    let head = "# What grafana/alerting.yaml queries: the recording rules of mtuscope alone, for Prometheus.\n";
    committed(RECORDINGS, &with_head(head, &recordings(&groups)));
}

fn cases() -> Vec<Case> {
    mechanical::cases().into_iter().chain(agents::cases()).chain(adverse::cases()).collect()
}

#[test]
fn the_tests_of_the_rules_are_committed() {
    committed(TESTS, &with_head("# promtool test rules mtuscope.test.yaml\n", &case::file(&cases())));
}

fn alerts() -> Vec<AlertRule> {
    let groups = rules(Pace::Shipped);
    let all = groups.into_iter().flat_map(|group| group.rules);
    all.filter_map(|rule| if let Rule::Alert(alert) = rule { Some(alert) } else { None }).collect()
}

#[test]
fn every_alert_fires_has_a_near_miss_and_resolves() {
    let cases = cases();
    for alert in alerts() {
        for kind in [Kind::Fires, Kind::NearMiss, Kind::Resolves] {
            let proven = cases.iter().any(|case| case.proves(alert.name, alert.severity, kind));
            assert!(proven, "{} {:?}: no case for {kind:?}", alert.name, alert.severity);
        }
    }
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(repository()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("promtool: {error}: it comes with Debian's prometheus: apt-get install prometheus")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn promtool_takes_the_rules() {
    promtool(&["check", "rules", RULES, RECORDINGS]);
    let spec = parsed(OPERATOR)["spec"].to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), spec).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()]);
}

#[test]
fn promtool_plays_every_case() {
    promtool(&["test", "rules", TESTS, ADVERSE]);
}

fn parsed(path: &str) -> Value {
    let text = std::fs::read_to_string(repository().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_file_has_the_same_alerts() {
    let all: Vec<(String, String)> =
        alerts().iter().map(|alert| (alert.name.to_owned(), alert.severity.name().to_owned())).collect();
    let in_groups = |groups: &Value| -> Vec<(String, String)> {
        let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        let alerts = rules.filter(|rule| rule.get("alert").is_some());
        alerts.map(|rule| (text(&rule["alert"]), text(&rule["labels"]["severity"]))).collect()
    };
    assert_eq!(in_groups(&parsed(RULES)["groups"]), all);
    assert_eq!(in_groups(&parsed(OPERATOR)["spec"]["groups"]), all);
    let titles: Vec<String> = provisioned().iter().map(|rule| text(&rule["title"])).collect();
    assert_eq!(titles, all.iter().map(|(name, severity)| format!("{name} {severity}")).collect::<Vec<_>>());
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn provisioned() -> Vec<Value> {
    let file = parsed(GRAFANA);
    assert_eq!(file["apiVersion"], 1);
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn grafana_s_file_keeps_to_what_grafana_takes() {
    let mut uids: BTreeMap<String, usize> = BTreeMap::new();
    for rule in provisioned() {
        let uid = text(&rule["uid"]);
        assert!(uid.len() <= 40, "{uid}: a uid has 40 characters at most");
        *uids.entry(uid.clone()).or_default() += 1;
        let query = &rule["data"][0];
        assert_eq!(query["datasourceUid"], "${PROMETHEUS_UID}");
        assert!(!text(&query["model"]["expr"]).is_empty(), "{uid}");
        for text in [&rule["annotations"]["summary"], &rule["annotations"]["description"]].map(text) {
            let variables = text.split('$').skip(1).filter(|rest| !rest.starts_with(['\'', ' ']));
            assert_eq!(variables.count(), 0, "{text}: a $ before a name is a variable of the environment");
            assert!(!text.contains("query "), "{text}: not known to Grafana");
        }
    }
    assert!(uids.values().all(|count| *count == 1), "{uids:?}");
}

#[test]
fn what_alerts_ask_for_is_recorded_before() {
    let mut known: Vec<&str> = Vec::new();
    for rule in rules(Pace::Shipped).iter().flat_map(|group| &group.rules) {
        let (expr, texts) = match rule {
            Rule::Recording(rule) => (rule.expr.clone(), String::new()),
            Rule::Alert(rule) => (rule.expr.clone(), rule.description.clone()),
        };
        for word in (expr + &texts).split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':') {
            let is_recorded = word.contains(":mtuscope_");
            assert!(!is_recorded || known.contains(&word) || texts.contains(word), "{word} is not recorded before");
        }
        if let Rule::Recording(rule) = rule {
            known.push(rule.name);
        }
    }
    assert!(known.len() > 15, "{known:?}");
}
