//! Many agents' reports as one picture: who reaches whom with which size (`mtuscope.cluster/v1`, additions only).
//!
//! One agent asks the others for their `/report`, [`read`]s each as it comes and [`Gathered`] makes the [`Matrix`]. Three
//! questions are answered that no single report can answer: which node is the odd one out (`odd`), where the two ways
//! between two nodes differ (`ways`), and in what the nodes themselves differ (`differing`).
//!
//! An agent's word counts for what leaves its own node and for nothing else: the row of a matrix is filled by the agent
//! that was asked for it, whatever name it gives itself. What no agent said is no verdict: a node that did not answer, a
//! pair whose turn has not come and a pair that is bad are three things. An agent whose rounds stand still answers all the
//! same, with what was true once ([`patience`]): it is told of, and the picture is not fine.
//!
//! **Bounds.** Up to [`WHOLE`] nodes every cell is listed. Of more, a million cells would help nobody and cost hundreds
//! of megabytes: then those that deviate are listed, the worst first, at most [`DEVIATIONS`], beside counts for every
//! node; `left_out` says how many cells are in the counts alone.

mod differing;
mod gather;
mod lenient;
mod line;
mod odd;
pub mod pair;
mod reading;
mod ways;
mod who;

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::path::Plane;
use crate::report::{Severity, Status, Vantage};
use crate::units::{Family, IpSize};

pub use gather::Gathered;
pub use reading::{Garbage, Said, read};
pub use who::Directory;

/// The schema's name and version.
pub const SCHEMA: &str = "mtuscope.cluster/v1";

/// Most nodes of which every cell is listed.
pub const WHOLE: usize = 200;

/// Most cells that are listed of a larger cluster.
pub const DEVIATIONS: usize = 10_000;

/// How old a report may be before its agent's rounds stand still, where rounds are `interval` apart. It is told by two
/// clocks, and rounds may be late: neither is to raise an alarm.
pub fn patience(interval: Duration) -> Duration {
    interval.saturating_mul(4).max(Duration::from_secs(600))
}

/// Who reaches whom with which size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix {
    /// Always `mtuscope.cluster/v1`.
    pub schema: String,
    /// The node whose agent asked the others.
    pub node: String,
    /// When the reports were gathered (RFC 3339).
    pub generated_at: Timestamp,
    /// The verdict in short.
    pub summary: Summary,
    /// Every agent that was asked, and every node that the asking one knows.
    pub nodes: Vec<NodeRow>,
    /// Nodes that stand out: what leads to them or from them is worse than what does not.
    pub odd: Vec<OddRow>,
    /// Pairs of nodes between which the two ways differ, the largest difference first.
    pub ways: Vec<WayRow>,
    /// In what nodes differ from one another.
    pub differing: Vec<DifferingRow>,
    /// One for each vantage, plane and family on which anybody measures.
    pub grids: Vec<Grid>,
    /// Cells that are counted and not listed, because the cluster is large; absent where all are listed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left_out: Option<usize>,
}

/// The verdict in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Critical where a pair is cut off or swallows packets, warning where a size is limited, a node stands out, an agent
    /// does not answer or one tells of what was long ago; unknown where nothing was measured at all.
    pub status: Status,
    /// Agents that were to be asked, the asking one included.
    pub agents: usize,
    /// Agents that answered with a report.
    pub answered: usize,
    /// Those of them whose rounds stand still.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub standing_still: usize,
    /// Cells of all grids by what they came to.
    pub cells: Counts,
    /// Nodes that stand out.
    pub odd: usize,
    /// Pairs between which the two ways differ.
    pub ways: usize,
}

impl Summary {
    /// How bad the worst is.
    pub const fn severity(&self) -> Option<Severity> {
        match self.status {
            Status::Critical => Some(Severity::Critical),
            Status::Warning => Some(Severity::Warning),
            Status::Healthy | Status::Unknown => None,
        }
    }
}

/// Cells by what they came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// The path carries what it should.
    pub clear: usize,
    /// It carries less, and every loss was signalled.
    pub limited: usize,
    /// Larger packets vanish in silence.
    pub black_hole: usize,
    /// Nothing gets there.
    pub unreachable: usize,
    /// Measured without a conclusion.
    pub unknown: usize,
    /// Never measured yet: its turn has not come, or the agent may not probe.
    pub unmeasured: usize,
    /// The agent at its beginning did not answer.
    pub unanswered: usize,
}

impl Counts {
    /// All of them.
    pub const fn all(&self) -> usize {
        self.measured() + self.unmeasured + self.unanswered
    }

    /// Those that somebody measured.
    pub const fn measured(&self) -> usize {
        self.clear + self.limited + self.black_hole + self.unreachable + self.unknown
    }

    fn count(&mut self, mark: Mark, cells: usize) {
        *match mark {
            Mark::Clear => &mut self.clear,
            Mark::Limited => &mut self.limited,
            Mark::BlackHole => &mut self.black_hole,
            Mark::Unreachable => &mut self.unreachable,
            Mark::Unknown => &mut self.unknown,
            Mark::Unmeasured => &mut self.unmeasured,
        } += cells;
    }

    fn add(&mut self, other: &Self) {
        self.clear += other.clear;
        self.limited += other.limited;
        self.black_hole += other.black_hole;
        self.unreachable += other.unreachable;
        self.unknown += other.unknown;
        self.unmeasured += other.unmeasured;
        self.unanswered += other.unanswered;
    }
}

/// What became of asking an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It answered with a report.
    Report,
    /// Nothing came within the time.
    Timeout,
    /// There was no connection, or it broke.
    NoConnection,
    /// The two could not agree on TLS, or do not trust each other.
    Tls,
    /// It wants credentials, or other ones.
    Unauthorized,
    /// It has not finished its first round.
    NotReady,
    /// It answered with another status than 200.
    Refused,
    /// It answered with more than is taken.
    TooLarge,
    /// What it answered is no report.
    Garbage,
    /// There was no time left to ask it, or no address to ask it at.
    NotAsked,
}

impl Answer {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Report => "answered",
            Self::Timeout => "did not answer in time",
            Self::NoConnection => "no connection",
            Self::Tls => "no TLS",
            Self::Unauthorized => "not authorized",
            Self::NotReady => "not ready",
            Self::Refused => "refused",
            Self::TooLarge => "answered too much",
            Self::Garbage => "answered garbage",
            Self::NotAsked => "not asked",
        }
    }
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRow {
    /// The node's name, the same in every grid.
    pub name: String,
    /// Whether it is the node's agent or its twin in a pod.
    pub vantage: Vantage,
    /// What became of asking it.
    pub answer: Answer,
    /// Why there is no report, or what is odd about the one that came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// What the asking agent calls it, where its name was learnt from its own report.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub known_as: Option<String>,
    /// What it calls itself, where that is another name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calls_itself: Option<String>,
    /// The zone that it is in, where one is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<String>,
    /// Version of its mtuscope.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Its own state, by its own report.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Status>,
    /// How old its report is, by the two clocks, in seconds; absent where its clock is ahead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub report_age_seconds: Option<u64>,
    /// Whether its rounds stand still, or its clock is far behind: the report is too old to tell how things are.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stands_still: bool,
    /// Peers of its that are none of these nodes, by the name that it has for them; the first few.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub strangers: Vec<String>,
    /// How many of those there are.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub strangers_count: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What one cell came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Never measured yet.
    Unmeasured,
    /// `path_mtu` = `expected_mtu`.
    Clear,
    /// Measured without a conclusion.
    Unknown,
    /// Smaller, and every loss of size was signalled.
    Limited,
    /// Larger packets than `path_mtu` vanish in silence.
    BlackHole,
    /// Nothing gets there.
    Unreachable,
}

/// The cells of one vantage, plane and family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Grid {
    /// Who measured.
    pub vantage: Vantage,
    /// The network that is crossed.
    pub plane: Plane,
    /// Address family.
    pub family: Family,
    /// What a path here is expected to carry by most nodes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usual_mtu: Option<IpSize>,
    /// Cells by what they came to.
    pub counts: Counts,
    /// Cells that carry less than usual or swallow packets.
    pub worse: usize,
    /// By the node that measured. Nodes that did not answer have none.
    pub rows: Vec<Row>,
}

/// What one node measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The node.
    pub from: String,
    /// All its cells by what they came to.
    pub counts: Counts,
    /// What its clear paths carry, where most carry the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_mtu: Option<IpSize>,
    /// Its cells, or those of them that deviate.
    pub cells: Vec<Cell>,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// The node that it leads to.
    pub to: String,
    /// What the measurement says.
    pub verdict: Mark,
    /// The largest IP packet that was confirmed to pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_mtu: Option<IpSize>,
    /// What it should carry, by that node's route and device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected_mtu: Option<IpSize>,
    /// Round trip, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub round_trip_seconds: Option<f64>,
}

/// A node that stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OddRow {
    /// The node.
    pub node: String,
    /// Who measured.
    pub vantage: Vantage,
    /// On which network.
    pub plane: Plane,
    /// In which family.
    pub family: Family,
    /// What its peers find on the way to it.
    pub to_it: Share,
    /// What it finds on the way to its peers.
    pub from_it: Share,
    /// What pairs without any such node carry.
    pub others: Share,
    /// What paths carry elsewhere.
    pub usual_mtu: IpSize,
}

/// How many of some cells are worse than usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Those that are worse.
    pub worse: usize,
    /// Those that were measured.
    pub measured: usize,
    /// Those through which nothing gets.
    pub unreachable: usize,
    /// What most of the worse ones carry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_mtu: Option<IpSize>,
}

/// Two nodes between which the ways differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WayRow {
    /// From where the worse way leads.
    pub from: String,
    /// To where.
    pub to: String,
    /// Who measured.
    pub vantage: Vantage,
    /// On which network.
    pub plane: Plane,
    /// In which family.
    pub family: Family,
    /// What the worse way carries; absent where nothing gets through.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub there: Option<IpSize>,
    /// What the other way carries.
    pub back: IpSize,
}

/// Something in which nodes differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DifferingRow {
    /// What it is.
    pub what: String,
    /// Each value, that of most nodes first.
    pub values: Vec<ValueRow>,
}

/// A value that some nodes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValueRow {
    /// The value.
    pub value: String,
    /// How many nodes have it.
    pub count: usize,
    /// Their names, the first few.
    pub nodes: Vec<String>,
}

#[cfg(test)]
mod tests;
