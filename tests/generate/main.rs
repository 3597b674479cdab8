//! Documents and schemas that are made from the code and committed: made again here, they must not differ.
//!
//! `MTUSCOPE_REGENERATE=1 cargo test --test generate` writes them.

mod alerts;
mod runbook;

use std::fs;
use std::path::{Path, PathBuf};

use agent::publish::explained::{Explained, RUNBOOK};
use lab::dashboards;
use probes::card::Card;
use probes::checks::ALL;
use probes::cluster::Matrix;
use probes::report::{ProbeReport, Report};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

#[test]
fn the_report_schema_is_committed() {
    committed("manifests/report.schema.json", &pretty(&report_schema()));
}

#[test]
fn the_probe_schema_is_committed() {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<ProbeReport>();
    committed("manifests/probe.schema.json", &pretty(&schema.to_value()));
}

#[test]
fn the_schema_of_cards_is_committed() {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Card>();
    committed("manifests/node.schema.json", &pretty(&schema.to_value()));
}

#[test]
fn the_cluster_schema_is_committed() {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Matrix>();
    committed("manifests/cluster.schema.json", &pretty(&schema.to_value()));
}

#[test]
fn readme_lists_the_catalogue() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (before, rest) =
        readme.split_once("<!-- catalogue:begin -->\n").expect("README.md marks where the table begins");
    let (_, after) = rest.split_once("<!-- catalogue:end -->").expect("README.md marks where the table ends");
    let wanted =
        format!("{before}<!-- catalogue:begin -->\n{}<!-- catalogue:end -->{after}", runbook::table(&Explained::all()));
    committed("README.md", &wanted);
}

#[test]
fn the_runbook_is_committed() {
    committed(RUNBOOK, &runbook::runbook(&Explained::all()));
}

#[test]
fn the_dashboards_are_committed() {
    for dashboard in dashboards::all() {
        let text = dashboards::json(&dashboard).expect("its numbers are numbers");
        committed(&format!("manifests/grafana/{}.json", dashboard.uid), &text);
    }
}

/// The report's schema, in which each code's findings carry that code's evidence.
fn report_schema() -> Value {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let mut report = Report::json_schema(&mut generator).to_value();
    let codes: Vec<Value> =
        ALL.iter().map(|check| by_code(check.entry.code, check.evidence_schema(&mut generator))).collect();
    let mut definitions: Map<String, Value> = generator.take_definitions(true);
    let finding = definitions.get_mut("Finding").and_then(Value::as_object_mut).expect("a report has findings");
    finding.insert("allOf".into(), Value::Array(codes));
    let root = report.as_object_mut().expect("a report is an object");
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("mtuscope.report/v1"));
    root.insert("$defs".into(), Value::Object(definitions));
    report
}

fn by_code(code: &str, evidence: Schema) -> Value {
    json!({
        "if": { "properties": { "code": { "const": code } } },
        "then": { "properties": { "evidence": evidence } },
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn committed(path: &str, wanted: &str) {
    let file = repository().join(path);
    if std::env::var_os("MTUSCOPE_REGENERATE").is_some() {
        return fs::write(&file, wanted).expect("the checkout is the developer's own");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "{path} is stale: MTUSCOPE_REGENERATE=1 cargo test --test generate writes it anew");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the repository").to_owned()
}
