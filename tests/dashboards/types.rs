//! The JSON of the dashboards against the types of `@grafana/schema`, by TypeScript's compiler.
//!
//! Literals are assigned to the types, which refuses fields that they do not have. Where Grafana's types are open (options
//! of a panel are a record of anything), the types of that kind of panel stand in. JSON holds the values of enumerations,
//! so `Wire` takes each for the texts that it stands for.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use lab::dashboards;
use lab::harness::test;
use lab::{Error, Result};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::lint::committed;

const HEAD: &str = r#"
import type * as g from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as timeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';

type Wire<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Wire<T[K]> } : T;

// What Grafana's data source for Prometheus reads; the schema's packages have no type for it.
interface Query extends g.DataQuery {
  datasource: g.DataSourceRef;
  editorMode: 'code' | 'builder';
  expr: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  interval?: string;
  legendFormat: string;
  range: boolean;
}
interface Mark extends Omit<g.AnnotationQuery, 'target'> {
  expr: string;
  tagKeys: string;
  textFormat: string;
  titleFormat: string;
  useValueForTime: boolean;
}
interface DataLink { targetBlank: boolean; title: string; url: string }
type Field<Custom> = Omit<g.FieldConfig, 'custom' | 'links'> & { custom?: Custom; links?: DataLink[] };
type Property<Custom> =
  | { id: 'displayName'; value: string }
  | { id: 'unit'; value: string }
  | { id: 'mappings'; value: g.ValueMapping[] }
  | { id: 'thresholds'; value: g.ThresholdsConfig }
  | { id: 'links'; value: DataLink[] }
  | { id: 'custom.cellOptions'; value: g.TableCellOptions };
type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | { id: 'organize'; options: { excludeByName: Record<string, boolean>; indexByName: Record<string, number>; renameByName: Record<string, string> } }
  | { id: 'sortBy'; options: { fields: Record<string, never>; sort: Array<{ field: string; desc?: boolean }> } };
type Panel<Kind extends string, Options, Custom> = Omit<g.Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations'> & {
  type: Kind;
  options: Options;
  fieldConfig: { defaults: Field<Custom>; overrides: Array<{ matcher: { id: 'byName'; options: string }; properties: Property<Custom>[] }> };
  targets: Query[];
  transformations?: Transformation[];
};
type Panels = {
  stat: Panel<'stat', stat.Options, never>;
  table: Panel<'table', table.Options, table.FieldConfig>;
  timeseries: Panel<'timeseries', timeseries.Options, timeseries.FieldConfig>;
  'state-timeline': Panel<'state-timeline', timeline.Options, timeline.FieldConfig>;
  bargauge: Panel<'bargauge', bargauge.Options, never>;
  heatmap: Panel<'heatmap', heatmap.Options, heatmap.FieldConfig>;
  row: g.RowPanel;
};
// What only the import dialogue reads; the schema leaves it out.
interface Import {
  __inputs: never[];
  __requires: Array<{ type: 'grafana' | 'datasource' | 'panel'; id: string; name: string; version: string }>;
}
type Board = Omit<g.Dashboard, 'panels' | 'annotations'> & Import & { annotations: { list: Mark[] } };
"#;

/// Every dashboard, and fields that are wrong in each part of one.
pub(crate) fn tests() -> Vec<Trial> {
    vec![test("dashboards are of Grafana's types, and a wrong field is noticed", typed)]
}

/// A change that the compiler has to refuse, and the name that it has to name.
type Spoil = (&'static str, fn(&mut Value));

const SPOILS: [Spoil; 8] = [
    ("schemaVersions", |board| board["schemaVersions"] = json!(1)),
    ("includeAl", |board| board["templating"]["list"][1]["includeAl"] = json!(true)),
    ("colour", |board| first(board, "stat")["fieldConfig"]["defaults"]["colour"] = json!("red")),
    ("backgroundd", |board| first(board, "stat")["options"]["colorMode"] = json!("backgroundd")),
    ("cellHeigth", |board| first(board, "table")["options"]["cellHeigth"] = json!("sm")),
    ("wrong", |board| {
        first(board, "timeseries")["fieldConfig"]["defaults"]["custom"]["lineInterpolation"] = json!("wrong")
    }),
    ("legendFormatt", |board| first(board, "stat")["targets"][0]["legendFormatt"] = json!("")),
    ("sortByy", |board| first(board, "table")["transformations"][0]["id"] = json!("sortByy")),
];

fn first<'v>(board: &'v mut Value, kind: &str) -> &'v mut Value {
    let all = board["panels"].as_array_mut().expect("it has panels");
    all.iter_mut().find(|panel| panel["type"] == kind).expect("it has one of each")
}

fn typed() -> Result<()> {
    let mut source = HEAD.to_owned();
    for dashboard in dashboards::all() {
        write(&mut source, dashboard.uid, committed(dashboard.uid)?);
    }
    let good = source.lines().count();
    for (number, (_, spoil)) in SPOILS.iter().enumerate() {
        let mut board = committed(dashboards::CLUSTER)?;
        spoil(&mut board);
        write(&mut source, &format!("spoilt {number}"), board);
    }
    let complaints = compile(&source)?;
    let of = |line: &String| line.split(['(', ',']).nth(1).and_then(|number| number.parse::<usize>().ok());
    let of_good: Vec<_> = complaints.iter().filter(|line| of(line).is_none_or(|number| number <= good)).collect();
    assert!(of_good.is_empty(), "{of_good:#?}");
    let source: Vec<_> = source.lines().collect();
    for (number, (name, _)) in SPOILS.iter().enumerate() {
        let marks = |line: &usize| source[..*line].iter().rev().any(|text| *text == format!("// spoilt {number}"));
        let last = |line: &usize| source[..*line].iter().rfind(|text| text.starts_with("// ")).copied();
        let noticed = complaints.iter().any(|complaint| {
            complaint.contains(name)
                && of(complaint).is_some_and(|line| marks(&line) && last(&line) == Some(&format!("// spoilt {number}")))
        });
        assert!(noticed, "nobody minds {name}: {complaints:#?}");
    }
    Ok(())
}

/// A dashboard as literals: the panels each of their kind's type, the rest of the dashboard's.
fn write(source: &mut String, title: &str, mut board: Value) {
    let panels = board.as_object_mut().and_then(|board| board.remove("panels")).expect("it has panels");
    let name = title.replace(['-', ' '], "_");
    let _ = writeln!(source, "// {title}\nexport const {name}: Wire<Board> = {board};");
    for panel in panels.as_array().expect("a list") {
        let _ = writeln!(source, "export const {name}_{}: Wire<Panels[{}]> = {panel};", panel["id"], panel["type"]);
    }
}

/// What the compiler says of a source.
fn compile(source: &str) -> Result<Vec<String>> {
    let failed = |error: io::Error| Error::new("checking dashboards with tsc", error);
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("node_modules");
    let compiler = modules.join("typescript/bin/tsc");
    if !compiler.is_file() {
        let missing = Error::new("checking dashboards with tsc", format!("{} is missing", compiler.display()));
        return Err(missing.check("`npm ci --prefix tests` brings it"));
    }
    let directory = tempfile::tempdir().map_err(failed)?;
    let file: PathBuf = directory.path().join("dashboards.ts");
    fs::write(&file, source).map_err(failed)?;
    symlink(&modules, directory.path().join("node_modules")).map_err(failed)?;
    let mut tsc = Command::new("node");
    tsc.arg(compiler).args(["--noEmit", "--strict", "--skipLibCheck", "--pretty", "false"]);
    tsc.args(["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]).arg("dashboards.ts");
    let output = tsc
        .current_dir(directory.path())
        .output()
        .map_err(|error| failed(error).check("`node` is on the search path: Debian's package nodejs brings it"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    // Lines that are set in go on about the one before.
    Ok(said.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect())
}
