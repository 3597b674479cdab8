//! Panels, made so that none can be without title, description, unit, data source or proof.

use std::collections::BTreeMap;

use super::Proof;
use super::grafana::{
    Color, Dashboard, DataLink, Field, FieldConfig, GridPos, Mapping, Matcher, Override, Panel, Property, SOURCE,
    SortField, Target, Thresholds, Transformation,
};
use super::options::{
    Bars, Cell, Custom, Graph, GraphField, Heat, HeatField, Options, Stat, Table, TableField, Timeline, TimelineField,
};
use super::{scope, words};

/// The longest between two scrapes that README allows. A data source that is not told takes 15 s for it, and makes rates of
/// the last 60 or 75 s: of agents that are scraped every minute mostly one sample, of which there is no rate.
const SELDOM: &str = "1m";

/// Most points of what is drawn over time.
///
/// Prometheus holds 50 million samples at a time for a query (`query.max-samples`), and 10,000 nodes with their twins are
/// 20,000 agents. Grafana rounds the step that follows from the points down, at most from 3.5 to 2 min, so that up to
/// 1.75 × 200 and one are asked for. With six series an agent, one for each plane and family, which is the most that may be
/// drawn so: 20,000 × 351 × 6 = 42 million.
const POINTS: u32 = 200;

/// As [`POINTS`], of what has more series. Paths by verdict that are not clear, 24: 20,000 × 89 × 24 = 43 million. Findings
/// are as many as something is wrong: up to 28 on every agent.
const COARSE: u32 = 50;

/// A query before it has its letter.
#[derive(Clone, Debug)]
pub struct Query {
    expr: String,
    legend: &'static str,
    proof: Proof,
}

/// A query with the trouble that moves it. Names of [`scope`] are replaced in it.
pub fn query(expr: &str, proof: Proof) -> Query {
    Query { expr: scope::expand(expr), legend: "__auto", proof }
}

impl Query {
    /// With a name for its series.
    #[must_use]
    pub fn named(mut self, legend: &'static str) -> Self {
        self.legend = legend;
        self
    }

    fn target(self, number: usize, format: &'static str, instant: bool) -> Target {
        let interval = self.expr.contains("$__rate_interval").then_some(SELDOM);
        let letter = char::from(b'A' + u8::try_from(number).expect("a panel has few queries"));
        Target {
            datasource: SOURCE,
            editor_mode: "code",
            expr: self.expr,
            format,
            instant,
            interval,
            legend_format: self.legend.into(),
            range: !instant,
            ref_id: letter.into(),
            proof: self.proof,
        }
    }
}

/// A panel before it has its place.
#[derive(Clone, Debug)]
pub struct New {
    panel: Panel,
}

fn panel(kind: &'static str, title: &str, description: &str, options: Options, custom: Option<Custom>) -> New {
    let defaults = Field { custom, no_value: words::NOT_KNOWN, unit: "none", ..Field::default() };
    let panel = Panel {
        collapsed: None,
        datasource: SOURCE,
        description: description.into(),
        field_config: Some(FieldConfig { defaults, overrides: Vec::new() }),
        grid_pos: GridPos::default(),
        id: 0,
        interval: None,
        max_data_points: None,
        options: Some(options),
        panels: None,
        targets: Vec::new(),
        title: title.into(),
        transformations: Vec::new(),
        kind,
    };
    New { panel }
}

/// Numbers of now.
pub fn stat<const N: usize>(title: &str, description: &str, queries: [Query; N]) -> New {
    panel("stat", title, description, Options::Stat(Stat::NEW), None).asked(queries, "time_series", true)
}

/// Bars of now, under each other. They begin at 0: by itself Grafana begins at the smallest value, whose bar is empty then.
pub fn bars<const N: usize>(title: &str, description: &str, queries: [Query; N]) -> New {
    let mut new = panel("bargauge", title, description, Options::Bars(Bars::new()), None);
    new.field().min = Some(0.0);
    new.asked(queries, "time_series", true)
}

/// Rows of now. Each query beyond the first is a column more.
pub fn table<const N: usize>(title: &str, description: &str, queries: [Query; N]) -> New {
    let custom = Custom::Table(TableField::NEW);
    panel("table", title, description, Options::Table(Table::NEW), Some(custom)).asked(queries, "table", true)
}

/// Lines over time.
pub fn graph<const N: usize>(title: &str, description: &str, queries: [Query; N]) -> New {
    let custom = Custom::Graph(GraphField::NEW);
    let mut new = panel("timeseries", title, description, Options::Graph(Graph::new()), Some(custom));
    new.field().color = Color { mode: "palette-classic", fixed_color: None };
    new.asked(queries, "time_series", false).points(POINTS)
}

/// States over time.
pub fn timeline<const N: usize>(title: &str, description: &str, queries: [Query; N]) -> New {
    let custom = Custom::Timeline(TimelineField::NEW);
    panel("state-timeline", title, description, Options::Timeline(Timeline::new()), Some(custom))
        .asked(queries, "time_series", false)
        .points(POINTS)
}

/// Seconds in buckets over time.
pub fn heat(title: &str, description: &str, query: Query) -> New {
    let custom = Custom::Heat(HeatField::NEW);
    panel("heatmap", title, description, Options::Heat(Heat::SECONDS), Some(custom))
        .asked([query], "heatmap", false)
        .points(POINTS)
        .unit("s")
}

impl New {
    fn asked<const N: usize>(mut self, queries: [Query; N], format: &'static str, instant: bool) -> Self {
        let numbered = queries.into_iter().enumerate();
        self.panel.targets = numbered.map(|(number, query)| query.target(number, format, instant)).collect();
        self
    }

    /// With few points, since each agent has many series of it.
    #[must_use]
    pub fn coarse(self) -> Self {
        self.points(COARSE)
    }

    fn points(mut self, points: u32) -> Self {
        self.panel.max_data_points = Some(points);
        self
    }

    fn field(&mut self) -> &mut Field {
        &mut self.panel.field_config.get_or_insert_default().defaults
    }

    /// With a unit, by Grafana's name for it.
    #[must_use]
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.field().unit = unit;
        self
    }

    /// With words for values.
    #[must_use]
    pub fn words(mut self, mappings: Vec<Mapping>) -> Self {
        self.field().mappings = mappings;
        self
    }

    /// With colours for values.
    #[must_use]
    pub fn colours(mut self, thresholds: Thresholds) -> Self {
        self.field().thresholds = thresholds;
        self
    }

    /// From nothing to all.
    #[must_use]
    pub fn share(mut self) -> Self {
        let field = self.field();
        (field.unit, field.min, field.max) = ("percentunit", Some(0.0), Some(1.0));
        self
    }

    /// Rows that are there only while something is wrong: an empty table is a good one.
    #[must_use]
    pub fn rows_when_wrong(mut self) -> Self {
        self.field().no_value = words::NONE;
        self
    }

    /// A table's columns in order: the name of a field and its properties. Fields that are not named are left out if they
    /// are of a sample and not of the matter (`Time`, and `Value` where it says nothing).
    #[must_use]
    pub fn columns<const N: usize>(mut self, columns: [Column; N]) -> Self {
        let index_by_name = columns.iter().enumerate().map(|(index, column)| (column.field.into(), index)).collect();
        let exclude_by_name = BTreeMap::from([("Time".to_owned(), true), ("__name__".to_owned(), true)]);
        if self.panel.targets.len() > 1 {
            self.panel.transformations.push(Transformation::Merge {});
        }
        let mut sorted = columns.iter().filter_map(Column::sorted);
        let sort = sorted.next();
        assert!(sorted.next().is_none(), "{}: rows have the order of one column", self.panel.title);
        let organize = Transformation::Organize { exclude_by_name, index_by_name, rename_by_name: BTreeMap::new() };
        self.panel.transformations.push(organize);
        if let Some(field) = sort {
            self.panel.transformations.push(Transformation::SortBy { fields: BTreeMap::new(), sort: [field] });
        }
        let overrides = columns.into_iter().map(Column::shown);
        self.panel.field_config.get_or_insert_default().overrides.extend(overrides);
        self
    }

    /// The panel as it stands at its place.
    pub(super) fn placed(mut self, id: u32, grid_pos: GridPos) -> Panel {
        (self.panel.id, self.panel.grid_pos) = (id, grid_pos);
        self.panel
    }
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    field: &'static str,
    first: Option<bool>,
    properties: Vec<Property>,
}

/// A field as a column with a heading.
pub fn column(field: &'static str, heading: &'static str) -> Column {
    Column { field, first: None, properties: vec![Property::Name(heading)] }
}

impl Column {
    /// The rows are in its order, largest first.
    #[must_use]
    pub fn largest_first(mut self) -> Self {
        self.first = Some(true);
        self
    }

    /// The rows are in its order, smallest first.
    #[must_use]
    pub fn smallest_first(mut self) -> Self {
        self.first = Some(false);
        self
    }

    /// With a unit.
    #[must_use]
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.properties.push(Property::Unit(unit));
        self
    }

    /// With words, on their colour.
    #[must_use]
    pub fn words(mut self, mappings: Vec<Mapping>) -> Self {
        self.properties.extend([Property::Mappings(mappings), Property::Cell(Cell::COLOURED)]);
        self
    }

    /// With colours.
    #[must_use]
    pub fn colours(mut self, thresholds: Thresholds) -> Self {
        self.properties.extend([Property::Thresholds(thresholds), Property::Cell(Cell::COLOURED)]);
        self
    }

    /// Leads to another dashboard.
    #[must_use]
    pub fn leads_to(mut self, link: DataLink) -> Self {
        self.properties.push(Property::Links(vec![link]));
        self
    }

    fn sorted(&self) -> Option<SortField> {
        self.first.map(|desc| SortField { field: self.field, desc })
    }

    fn shown(self) -> Override {
        Override { matcher: Matcher { id: "byName", options: self.field.into() }, properties: self.properties }
    }
}

/// Places panels from left to right and top to bottom.
#[derive(Debug)]
pub struct Layout {
    dashboard: Dashboard,
    y: u32,
    next: u32,
}

impl Layout {
    /// Fills a dashboard.
    pub fn of(dashboard: Dashboard) -> Self {
        Self { dashboard, y: 0, next: 1 }
    }

    /// A row with a heading and panels of one height and their widths, 24 in all.
    #[must_use]
    pub fn row<const N: usize>(mut self, title: &str, height: u32, panels: [(u32, New); N]) -> Self {
        let mut head = panel("row", title, "", Options::Stat(Stat::NEW), None).panel;
        (head.collapsed, head.panels, head.field_config, head.options) = (Some(false), Some(Vec::new()), None, None);
        let place = GridPos { h: 1, w: 24, x: 0, y: self.y };
        (head.id, head.grid_pos) = (self.next, place);
        (self.next, self.y) = (self.next + 1, self.y + 1);
        self.dashboard.panels.push(head);
        self.more(height, panels)
    }

    /// More panels below, without a heading.
    #[must_use]
    pub fn more<const N: usize>(mut self, height: u32, panels: [(u32, New); N]) -> Self {
        let mut x = 0;
        for (w, new) in panels {
            self.dashboard.panels.push(new.placed(self.next, GridPos { h: height, w, x, y: self.y }));
            (x, self.next) = (x + w, self.next + 1);
        }
        assert!(x <= 24, "{}: a row of panels {x} wide", self.dashboard.uid);
        self.y += height;
        self
    }

    /// The dashboard.
    pub fn done(mut self) -> Dashboard {
        self.dashboard.require();
        self.dashboard
    }
}
