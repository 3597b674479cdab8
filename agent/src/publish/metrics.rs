//! The published facts as metric families, in no format yet: [`super::exposition`] writes them.
//!
//! Everything is made from the latest [`Published`] at the moment of the scrape, so what has gone is gone. A value that
//! is not known has no sample. Series that count events or states exist from the start with 0, or a rate would miss the
//! first event. Names of pods and addresses are never labels, and the number of series does not grow with the cluster:
//! [`paths`] names only so many peers, [`findings`] only so many findings, [`machine`] only so many links, and
//! `series_suppressed` counts what was left out.
//!
//! # Budget
//! Below 300 series for a healthy node of a large cluster with one IP family, below 2,000 for any: what may grow has a
//! limit of its own, and named peers come last and take no more than is left. What a family may have is a number here and
//! in the test `every_family_keeps_to_its_budget`, which names the family that outgrew it. A *place* is a plane and IP
//! family that this node has a path in: three, or six with both IP families.
//!
//! | families | series of a healthy node | with 52 codes, 3 places, 3 links |
//! |---|---|---|
//! | `findings`, `check_concluded` | a code's severities, and 1 | 140 |
//! | `paths` | 30, every combination | 30 |
//! | `path_round_trip_seconds` | 9 a place | 27 |
//! | `probe_packets_*`, `search_packets`, `path_min_mtu`, `oldest_path_result_*` | 5 a place | 15 |
//! | `source_success`, `source_duration_seconds` | 1 a source, and 1 of those that are read | 30 |
//! | `link_*`, `setting`, `pod_links` | 2 a link; 3 and 2 a link; 1 an MTU and end | 17 |
//! | `tunnel_*`, `recommended_overlay_mtu_bytes` | 4 a tunnel | 4 |
//! | `kernel_events` | 7, or 10 with paths in IPv6 | 7 |
//! | `neighbour_*`; `conntrack_*`; `peers`, `peer_source_*` | 3 an IP family; 2; 2 a source | 9 |
//! | the agent itself | 19, `process_*` among them | 20 |
//! | all | | 299 |
//!
//! Both IP families make it 56 more. In a cluster of up to a hundred peers each path adds 3 (`path_mtu_bytes`,
//! `path_expected_mtu_bytes`, `path_up`) to 5 (its two ways, where they were told apart). A series has to earn its place
//! with whoever is called at night: what says the same for ever on a healthy node (the other IP family) has none.

mod configuration;
mod findings;
pub mod glossary;
mod machine;
mod paths;
pub mod process;
mod work;

use std::borrow::Cow;

use probes::report::{Published, Severity, Vantage};

use crate::config::MetricLimits;
pub use configuration::Reload;
pub use glossary::About;
use process::Process;

/// What a scrape is made from.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// The latest round; `None` before the first.
    pub published: Option<&'a Published>,
    /// How much is named, and how reading the configuration went.
    pub standing: Standing,
    /// Every code of the catalogue with the severities that it can have.
    pub codes: &'a [(&'static str, &'static [Severity])],
    /// Whose view this is.
    pub vantage: Vantage,
    /// The process itself.
    pub process: &'a Process,
}

/// What of the configuration bears on the metrics, and how reading it went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// How much is named.
    pub limits: MetricLimits,
    /// How reading the configuration went.
    pub reload: Reload,
}

/// One metric family.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Name, labels, type and help.
    pub about: About,
    /// Series; a family without any is left out.
    pub samples: Vec<Sample>,
}

/// Base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The unit as the last part of a name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        }
    }
}

/// Types of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Always 1; the labels say something.
    Info,
    /// Observations by size.
    Histogram,
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels in the order in which they are written.
    pub labels: Labels,
    /// The value.
    pub value: Value,
}

/// Label names and values.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A gauge or counter.
    Number(f64),
    /// A histogram: bounds and counts of the buckets, not cumulated, the last bound infinite; then the sum.
    Histogram {
        /// Upper bound and count of each bucket.
        buckets: Vec<(f64, u64)>,
        /// Sum of the observations.
        sum: f64,
    },
}

impl Family {
    /// A family without series yet.
    const fn of(about: About) -> Self {
        Self { about, samples: Vec::new() }
    }

    /// Adds a series.
    fn push(&mut self, labels: impl Into<Labels>, value: impl Number) {
        self.samples.push(Sample { labels: labels.into(), value: Value::Number(value.number()) });
    }

    /// Adds a series if its value is known.
    fn push_known(&mut self, labels: impl Into<Labels>, value: Option<impl Number>) {
        if let Some(value) = value {
            self.push(labels, value);
        }
    }

    /// This family with one more series.
    fn with(mut self, labels: impl Into<Labels>, value: impl Number) -> Self {
        self.push(labels, value);
        self
    }

    /// This family with a series without labels, if the value is known.
    fn with_known(mut self, value: Option<impl Number>) -> Self {
        self.push_known([], value);
        self
    }

    /// How many lines it has in a scrape.
    fn series(&self) -> usize {
        let of = |sample: &Sample| match &sample.value {
            Value::Number(_) => 1,
            Value::Histogram { buckets, .. } => buckets.len() + 2,
        };
        self.samples.iter().map(of).sum()
    }
}

/// Label values and number of each series, for tests.
#[cfg(test)]
fn lines(family: &Family) -> Vec<String> {
    let line = |sample: &Sample| {
        let labels: Vec<_> = sample.labels.iter().map(|(_, value)| value.as_ref()).collect();
        let Value::Number(number) = sample.value else { panic!("a number") };
        format!("{} {number}", labels.join(","))
    };
    family.samples.iter().map(line).collect()
}

/// What can be a sample's number.
trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Number for u32 {
    fn number(self) -> f64 {
        f64::from(self)
    }
}

/// Metrics are floats: beyond 2⁵³ the last digits go.
macro_rules! rounded {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            fn number(self) -> f64 {
                self as f64
            }
        }
    )*};
}
rounded!(u64, i64, usize);

/// A label.
fn label(name: &'static str, value: impl Into<Cow<'static, str>>) -> (&'static str, Cow<'static, str>) {
    (name, value.into())
}

/// Most series of a scrape, whatever is the matter.
const MOST: usize = 1_999;

/// Every family, in a stable order. Named peers come after all others and take the room that they leave.
pub fn families(scrape: &Scrape<'_>) -> Vec<Family> {
    let report = scrape.published.map(|published| &*published.report);
    let limits = scrape.standing.limits;
    let mut suppressed = 0;
    let mut all = vec![work::build(scrape)];
    if let Some(report) = report {
        all.extend(findings::families(report, scrape.codes, limits.findings, &mut suppressed));
        all.extend(machine::families(report, &mut suppressed));
    }
    all.extend(work::families(scrape.published));
    all.extend(configuration::families(scrape.standing.reload));
    all.extend(process::families(scrape.process));
    all.extend(paths::families(report));
    if let Some(report) = report {
        // The last one is `series_suppressed`.
        let taken: usize = all.iter().map(Family::series).sum::<usize>() + 1;
        let room = paths::Room { peers: limits.named_peers, series: MOST.saturating_sub(taken) };
        all.extend(paths::named(report, room, &mut suppressed));
    }
    all.push(Family::of(glossary::SERIES_SUPPRESSED).with([], suppressed));
    all.retain(|family| !family.samples.is_empty());
    all
}

#[cfg(test)]
mod tests;
