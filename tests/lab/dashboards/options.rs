//! Options of each kind of panel, and of its fields.

use serde::Serialize;

/// Options of a panel.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Options {
    /// Of numbers.
    Stat(Stat),
    /// Of tables.
    Table(Table),
    /// Of graphs.
    Graph(Graph),
    /// Of states over time.
    Timeline(Timeline),
    /// Of bars.
    Bars(Bars),
    /// Of heat maps.
    Heat(Heat),
}

/// Options of a field.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Custom {
    /// In tables.
    Table(TableField),
    /// In graphs.
    Graph(GraphField),
    /// In states over time.
    Timeline(TimelineField),
    /// In heat maps.
    Heat(HeatField),
}

/// Which value of a series is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Reduce {
    /// How.
    calcs: [&'static str; 1],
    /// Of which fields: the numbers.
    fields: &'static str,
    /// Each row for itself.
    values: bool,
}

const LAST: Reduce = Reduce { calcs: ["lastNotNull"], fields: "", values: false };

/// A number, or several side by side.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stat {
    color_mode: &'static str,
    graph_mode: &'static str,
    justify_mode: &'static str,
    orientation: &'static str,
    percent_change_color_mode: &'static str,
    reduce_options: Reduce,
    show_percent_change: bool,
    text_mode: &'static str,
    wide_layout: bool,
}

impl Stat {
    /// Coloured only in the number, so that a word is read before a colour is seen.
    pub const NEW: Self = Self {
        color_mode: "value",
        graph_mode: "none",
        justify_mode: "auto",
        orientation: "auto",
        percent_change_color_mode: "standard",
        reduce_options: LAST,
        show_percent_change: false,
        text_mode: "auto",
        wide_layout: true,
    };
}

/// Rows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    cell_height: &'static str,
    frame_index: u8,
    show_header: bool,
}

impl Table {
    /// Small rows below a head.
    pub const NEW: Self = Self { cell_height: "sm", frame_index: 0, show_header: true };
}

/// A cell.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cell {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
}

impl Cell {
    /// Plain.
    pub const PLAIN: Self = Self { kind: "auto", mode: None };
    /// On the colour of its value.
    pub const COLOURED: Self = Self { kind: "color-background", mode: Some("basic") };
}

/// Columns.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableField {
    align: &'static str,
    cell_options: Cell,
    filterable: bool,
    inspect: bool,
}

impl TableField {
    /// Plain, and each with a filter.
    pub const NEW: Self = Self { align: "left", cell_options: Cell::PLAIN, filterable: true, inspect: false };
}

/// What names the series.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Legend {
    calcs: Vec<&'static str>,
    display_mode: &'static str,
    placement: &'static str,
    show_legend: bool,
}

impl Legend {
    fn new(show: bool) -> Self {
        Self { calcs: Vec::new(), display_mode: "list", placement: "bottom", show_legend: show }
    }
}

/// What a pointer shows.
#[derive(Clone, Debug, Serialize)]
pub struct Tooltip {
    mode: &'static str,
    sort: &'static str,
}

const ALL_SERIES: Tooltip = Tooltip { mode: "multi", sort: "desc" };

/// Lines.
#[derive(Clone, Debug, Serialize)]
pub struct Graph {
    legend: Legend,
    tooltip: Tooltip,
}

impl Graph {
    /// With a legend below.
    pub fn new() -> Self {
        Self { legend: Legend::new(true), tooltip: ALL_SERIES }
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

/// A line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphField {
    axis_soft_min: f64,
    draw_style: &'static str,
    fill_opacity: u8,
    line_interpolation: &'static str,
    line_width: u8,
    show_points: &'static str,
    span_nulls: bool,
}

impl GraphField {
    /// Steps, since values hold until the next round; a gap is a gap.
    pub const NEW: Self = Self {
        axis_soft_min: 0.0,
        draw_style: "line",
        fill_opacity: 0,
        line_interpolation: "stepAfter",
        line_width: 2,
        show_points: "auto",
        span_nulls: false,
    };
}

/// States over time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    align_value: &'static str,
    legend: Legend,
    merge_values: bool,
    row_height: f64,
    show_value: &'static str,
    tooltip: Tooltip,
}

impl Timeline {
    /// With words where they fit.
    pub fn new() -> Self {
        Self {
            align_value: "left",
            legend: Legend::new(true),
            merge_values: true,
            row_height: 0.9,
            show_value: "auto",
            tooltip: Tooltip { mode: "single", sort: "none" },
        }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

/// A state.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineField {
    fill_opacity: u8,
    line_width: u8,
}

impl TimelineField {
    /// Light enough for words.
    pub const NEW: Self = Self { fill_opacity: 75, line_width: 0 };
}

/// Bars.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bars {
    display_mode: &'static str,
    legend: Legend,
    max_viz_height: u32,
    min_viz_height: u32,
    min_viz_width: u32,
    name_placement: &'static str,
    orientation: &'static str,
    reduce_options: Reduce,
    show_unfilled: bool,
    sizing: &'static str,
    value_mode: &'static str,
}

impl Bars {
    /// Under each other, the names on the left.
    pub fn new() -> Self {
        Self {
            display_mode: "basic",
            legend: Legend::new(false),
            max_viz_height: 40,
            min_viz_height: 16,
            min_viz_width: 8,
            name_placement: "left",
            orientation: "horizontal",
            reduce_options: LAST,
            show_unfilled: true,
            sizing: "auto",
            value_mode: "color",
        }
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

/// How many fell into each bucket at each time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heat {
    calculate: bool,
    cell_gap: u8,
    color: HeatColor,
    exemplars: Exemplars,
    filter_values: Above,
    legend: Shown,
    rows_frame: Rows,
    show_value: &'static str,
    tooltip: HeatTooltip,
    y_axis: Axis,
}

#[derive(Clone, Debug, Serialize)]
struct HeatColor {
    exponent: f64,
    fill: &'static str,
    mode: &'static str,
    reverse: bool,
    scale: &'static str,
    scheme: &'static str,
    steps: u8,
}

#[derive(Clone, Debug, Serialize)]
struct Exemplars {
    color: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Above {
    le: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Shown {
    show: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Rows {
    layout: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeatTooltip {
    mode: &'static str,
    show_color_scale: bool,
    y_histogram: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Axis {
    axis_placement: &'static str,
    reverse: bool,
    unit: &'static str,
}

impl Heat {
    /// Cividis, which reads the same for any eye.
    pub const SECONDS: Self = Self {
        calculate: false,
        cell_gap: 1,
        color: HeatColor {
            exponent: 0.5,
            fill: "dark-blue",
            mode: "scheme",
            reverse: false,
            scale: "exponential",
            scheme: "Cividis",
            steps: 64,
        },
        exemplars: Exemplars { color: "rgba(255,0,255,0.7)" },
        filter_values: Above { le: 1e-9 },
        legend: Shown { show: true },
        rows_frame: Rows { layout: "auto" },
        show_value: "never",
        tooltip: HeatTooltip { mode: "single", show_color_scale: true, y_histogram: false },
        y_axis: Axis { axis_placement: "left", reverse: false, unit: "s" },
    };
}

/// A bucket.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeatField {
    scale_distribution: Scale,
}

#[derive(Clone, Debug, Serialize)]
struct Scale {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl HeatField {
    /// As they come.
    pub const NEW: Self = Self { scale_distribution: Scale { kind: "linear" } };
}
