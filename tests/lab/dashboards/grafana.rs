//! Dashboards as Grafana stores them: the classic JSON model, in types.
//!
//! Only what these dashboards use. `@grafana/schema` holds every field against Grafana's own types in a test, so a field
//! that is misspelt here does not get far. Field names are Grafana's.

use std::collections::BTreeMap;

use serde::Serialize;

/// Newest version of the classic model: what later Grafanas still read, and older ones migrate from.
const SCHEMA_VERSION: u32 = 39;

/// Oldest Grafana that has everything used here.
const OLDEST: &str = "10.0.0";

/// A dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// For Grafana's import dialogue, which asks for each. None: the data source is a variable, so that the same file can
    /// be provisioned, where nobody fills inputs in.
    #[serde(rename = "__inputs")]
    pub inputs: Vec<()>,
    /// What has to be there, for the same dialogue.
    #[serde(rename = "__requires")]
    pub requires: Vec<Required>,
    /// Queries whose results are marked in graphs.
    pub annotations: List<Annotation>,
    /// What it answers.
    pub description: String,
    /// What is provisioned is changed in its file.
    pub editable: bool,
    /// 1: the crosshair is shared by all graphs.
    pub graph_tooltip: u8,
    /// Always null: a number is another installation's.
    pub id: Option<u32>,
    /// Links to the other dashboards.
    pub links: Vec<Link>,
    /// Rows and panels, placed.
    pub panels: Vec<Panel>,
    /// How often it refreshes.
    pub refresh: &'static str,
    /// Version of this model.
    pub schema_version: u32,
    /// By these it is found.
    pub tags: Vec<&'static str>,
    /// Variables.
    pub templating: List<Variable>,
    /// What it shows first.
    pub time: TimeRange,
    /// `browser`.
    pub timezone: &'static str,
    /// Its title.
    pub title: String,
    /// Its address, the same wherever it is imported.
    pub uid: &'static str,
    /// Counted by Grafana.
    pub version: u32,
}

impl Dashboard {
    /// A dashboard without panels.
    pub fn new(uid: &'static str, title: &str, description: &str) -> Self {
        Self {
            inputs: Vec::new(),
            requires: Vec::new(),
            annotations: List { list: Vec::new() },
            description: description.into(),
            editable: false,
            graph_tooltip: 1,
            id: None,
            links: Vec::new(),
            panels: Vec::new(),
            refresh: "1m",
            schema_version: SCHEMA_VERSION,
            tags: vec![TAG],
            templating: List { list: Vec::new() },
            time: TimeRange { from: "now-6h", to: "now" },
            timezone: "browser",
            title: title.into(),
            uid,
            version: 1,
        }
    }

    /// Names what the panels need.
    pub fn require(&mut self) {
        let mut kinds: Vec<_> = self.panels.iter().map(|panel| panel.kind).filter(|kind| *kind != "row").collect();
        kinds.sort_unstable();
        kinds.dedup();
        let of = |kind, id: &'static str, version| Required { kind, id, name: id, version };
        self.requires = vec![of("grafana", "grafana", OLDEST), of("datasource", "prometheus", "1.0.0")];
        self.requires.extend(kinds.into_iter().map(|kind| of("panel", kind, "")));
    }
}

/// By this the dashboards find one another.
pub const TAG: &str = "mtuscope";

/// What has to be there.
#[derive(Clone, Debug, Serialize)]
pub struct Required {
    /// `grafana`, `datasource` or `panel`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Oldest version.
    pub version: &'static str,
}

/// A list in an object, as Grafana has some.
#[derive(Clone, Debug, Serialize)]
pub struct List<T> {
    /// The list.
    pub list: Vec<T>,
}

/// From when to when.
#[derive(Clone, Debug, Serialize)]
pub struct TimeRange {
    /// Start.
    pub from: &'static str,
    /// End.
    pub to: &'static str,
}

/// Which data source is asked.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Source {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its uid, or a variable.
    pub uid: &'static str,
}

/// The data source that the variable names.
pub const SOURCE: Source = Source { kind: "prometheus", uid: "${datasource}" };

/// A link in the head of a dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the fields are Grafana's")]
pub struct Link {
    /// As a menu.
    pub as_dropdown: bool,
    /// Icon.
    pub icon: &'static str,
    /// Variables go along.
    pub include_vars: bool,
    /// The time range goes along.
    pub keep_time: bool,
    /// Which dashboards.
    pub tags: Vec<&'static str>,
    /// In a new tab.
    pub target_blank: bool,
    /// Text.
    pub title: &'static str,
    /// More text.
    pub tooltip: &'static str,
    /// `dashboards`: those with the tags.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Marks in graphs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    /// Where from.
    pub datasource: Source,
    /// Shown unless switched off.
    pub enable: bool,
    /// PromQL.
    pub expr: String,
    /// Whether the switch is hidden.
    pub hide: bool,
    /// Colour.
    pub icon_color: &'static str,
    /// Name of the switch.
    pub name: &'static str,
    /// Labels that become tags.
    pub tag_keys: &'static str,
    /// Text, with labels in `{{}}`.
    pub text_format: &'static str,
    /// Title, likewise.
    pub title_format: &'static str,
    /// The value is when it happened, in milliseconds.
    pub use_value_for_time: bool,
    /// Which trouble moves it.
    #[serde(skip)]
    pub proof: super::Proof,
}

/// What the reader chooses.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// What All stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_value: Option<&'static str>,
    /// What is chosen at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Choice>,
    /// Where from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Source>,
    /// Explains itself.
    pub description: &'static str,
    /// 0: shown.
    pub hide: u8,
    /// Whether All can be chosen.
    pub include_all: bool,
    /// Shown name.
    pub label: &'static str,
    /// Whether several can be chosen.
    pub multi: bool,
    /// `$name`.
    pub name: &'static str,
    /// Choices, where they are fixed.
    pub options: Vec<Choice>,
    /// What yields the choices.
    pub query: String,
    /// 1: when loaded; 2: with the time range as well.
    pub refresh: u8,
    /// Filter of choices.
    pub regex: &'static str,
    /// 1: by the alphabet; 7: as people sort.
    pub sort: u8,
    /// `query`, `datasource` or `custom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// One choice.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// Whether it is chosen.
    pub selected: bool,
    /// Shown.
    pub text: String,
    /// Used.
    pub value: String,
}

impl Choice {
    /// A choice that is shown as it is used.
    pub fn new(value: &str, selected: bool) -> Self {
        Self { selected, text: value.into(), value: value.into() }
    }

    /// All.
    pub fn all() -> Self {
        Self { selected: true, text: "All".into(), value: "$__all".into() }
    }
}

/// A panel, or the head of a row of them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// Of a row: whether its panels are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapsed: Option<bool>,
    /// Where from.
    pub datasource: Source,
    /// What it says, and how to read it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How fields are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_config: Option<FieldConfig>,
    /// Where.
    pub grid_pos: GridPos,
    /// Number within the dashboard.
    pub id: u32,
    /// Smallest step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<&'static str>,
    /// Most points in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data_points: Option<u32>,
    /// Of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<super::options::Options>,
    /// Of a collapsed row: its panels, which here there are none of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panels: Option<Vec<()>>,
    /// Queries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Title.
    pub title: String,
    /// What is done with results.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
    /// Plugin.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Place in a grid 24 wide.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GridPos {
    /// Height.
    pub h: u32,
    /// Width.
    pub w: u32,
    /// From the left.
    pub x: u32,
    /// From the top.
    pub y: u32,
}

/// A query.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Where from.
    pub datasource: Source,
    /// How the editor opens.
    pub editor_mode: &'static str,
    /// PromQL.
    pub expr: String,
    /// `time_series`, `table` or `heatmap`.
    pub format: &'static str,
    /// Asked for the end of the range.
    pub instant: bool,
    /// The least step, which Grafana also takes for how often is scraped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<&'static str>,
    /// Name of each series.
    pub legend_format: String,
    /// Asked for the range.
    pub range: bool,
    /// A letter.
    pub ref_id: String,
    /// Which trouble moves it.
    #[serde(skip)]
    pub proof: super::Proof,
}

/// How fields are shown.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FieldConfig {
    /// All fields.
    pub defaults: Field,
    /// Some.
    pub overrides: Vec<Override>,
}

/// How a field is shown.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Colour.
    pub color: Color,
    /// Of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<super::options::Custom>,
    /// Digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Where a click leads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<DataLink>,
    /// Words for values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
    /// Highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// What stands for no data.
    pub no_value: &'static str,
    /// Colours by value.
    pub thresholds: Thresholds,
    /// Unit.
    pub unit: &'static str,
}

/// How a field gets its colour.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Color {
    /// By thresholds, by a palette, or one.
    pub mode: &'static str,
    /// That one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_color: Option<&'static str>,
}

impl Default for Color {
    fn default() -> Self {
        Self { mode: "thresholds", fixed_color: None }
    }
}

/// Where a click leads.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataLink {
    /// In a new tab.
    pub target_blank: bool,
    /// Text.
    pub title: String,
    /// Address.
    pub url: String,
}

/// Words for values.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "options", rename_all = "camelCase")]
pub enum Mapping {
    /// For single ones.
    Value(BTreeMap<String, Word>),
    /// For what is no number.
    Special(Special),
}

/// Word for what is no number.
#[derive(Clone, Debug, Serialize)]
pub struct Special {
    /// `null+nan`.
    #[serde(rename = "match")]
    pub matches: &'static str,
    /// The word.
    pub result: Word,
}

/// A word and its colour.
#[derive(Clone, Debug, Serialize)]
pub struct Word {
    /// Colour.
    pub color: &'static str,
    /// Place in the list.
    pub index: usize,
    /// The word.
    pub text: &'static str,
}

/// Colours by value.
#[derive(Clone, Debug, Serialize)]
pub struct Thresholds {
    /// `absolute`.
    pub mode: &'static str,
    /// From the lowest.
    pub steps: Vec<Step>,
}

impl Default for Thresholds {
    /// One colour that judges nothing.
    fn default() -> Self {
        Self { mode: "absolute", steps: vec![Step { color: super::words::PLAIN, value: None }] }
    }
}

/// A colour from a value on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    /// The colour.
    pub color: &'static str,
    /// The value; null for the lowest.
    pub value: Option<f64>,
}

/// How some fields are shown.
#[derive(Clone, Debug, Serialize)]
pub struct Override {
    /// Which.
    pub matcher: Matcher,
    /// How.
    pub properties: Vec<Property>,
}

/// Which fields.
#[derive(Clone, Debug, Serialize)]
pub struct Matcher {
    /// `byName`.
    pub id: &'static str,
    /// The name.
    pub options: String,
}

/// One property of a field.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "id", content = "value")]
pub enum Property {
    /// Shown name.
    #[serde(rename = "displayName")]
    Name(&'static str),
    /// Unit.
    #[serde(rename = "unit")]
    Unit(&'static str),
    /// Words.
    #[serde(rename = "mappings")]
    Mappings(Vec<Mapping>),
    /// Colours.
    #[serde(rename = "thresholds")]
    Thresholds(Thresholds),
    /// Where a click leads.
    #[serde(rename = "links")]
    Links(Vec<DataLink>),
    /// How a cell is drawn.
    #[serde(rename = "custom.cellOptions")]
    Cell(super::options::Cell),
}

/// What is done with results.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
pub enum Transformation {
    /// Joins rows that have the same labels.
    Merge {},
    /// Leaves columns out and puts the rest in order.
    #[serde(rename_all = "camelCase")]
    Organize {
        /// Left out.
        exclude_by_name: BTreeMap<String, bool>,
        /// In this order.
        index_by_name: BTreeMap<String, usize>,
        /// Named anew.
        rename_by_name: BTreeMap<String, String>,
    },
    /// Puts rows in order.
    SortBy {
        /// Kept for Grafana.
        fields: BTreeMap<String, String>,
        /// By this column: Grafana takes a list and goes by the first.
        sort: [SortField; 1],
    },
}

/// A column to sort by.
#[derive(Clone, Debug, Serialize)]
pub struct SortField {
    /// The column.
    pub field: &'static str,
    /// Largest first.
    pub desc: bool,
}
