//! The published facts as metric families, in no format yet: [`super::exposition`] writes them.
//!
//! Everything is made from the latest [`Published`] at the moment of the scrape, so what has gone is gone. A value that
//! is not known has no sample. Series that count events or states exist from the start with 0, or a rate would miss the
//! first event. Names of pods and addresses are never labels, and the number of series does not grow with the cluster:
//! [`paths`] names only so many peers, [`findings`] only so many findings, [`machine`] only so many links, and
//! `series_suppressed` counts what was left out.
//!
//! # Budget
//! Below 300 series for a healthy node of a large cluster with one IP family, below 2,000 for any. What a family may have
//! is a number here and in the test `every_family_keeps_to_its_budget`, which names the family that outgrew it. A *place*
//! is a plane and IP family that this node has a path in: three, or six with both IP families.
//!
//! | families | series of a healthy node | with 52 codes, 3 places, 3 links |
//! |---|---|---|
//! | `findings`, `check_concluded` | a code's severities, and 1 | 140 |
//! | `paths` | 30, every combination | 30 |
//! | `path_round_trip_seconds` | 9 a place | 27 |
//! | `probe_packets_*`, `search_packets`, `path_min_mtu`, `oldest_path_result_*` | 5 a place | 15 |
//! | `source_success`, `source_duration_seconds` | 1 a source, and 6 | 22 |
//! | `link_*`, `setting`, `pod_links` | 2 a link; 3 and 2 a link; 1 an MTU and end | 17 |
//! | `tunnel_*`, `recommended_overlay_mtu_bytes` | 4 a tunnel | 4 |
//! | `kernel_events` | 7, or 10 with paths in IPv6 | 7 |
//! | `neighbour_*`, `conntrack_*`, `peers`, `peer_source_*` | 2 each | 12 |
//! | the agent itself | 19, `process_*` among them | 20 |
//! | all | | 294 |
//!
//! Both IP families make it 56 more. In a cluster of up to a hundred peers each path adds 3 (`path_mtu_bytes`,
//! `path_expected_mtu_bytes`, `path_up`) to 5 (its two ways, where they were told apart). A series has to earn its place
//! with whoever is called at night: what says the same for ever on a healthy node (the other IP family, how long a small
//! file took) has none.

mod configuration;
mod findings;
mod machine;
mod paths;
pub mod process;
mod work;

use std::borrow::Cow;

use probes::report::{Published, Severity, Vantage};

use crate::config::MetricLimits;
pub use configuration::Reload;
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
    /// Full name without unit and without the suffixes that a format adds (`_total`, `_info`, `_bucket`).
    pub name: String,
    /// One sentence.
    pub help: &'static str,
    /// Base unit, the last part of the name.
    pub unit: Option<Unit>,
    /// Type.
    pub kind: Kind,
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
    /// A family of the product's own names: `mtuscope_<name>`.
    fn new(name: &str, unit: Option<Unit>, kind: Kind, help: &'static str) -> Self {
        Self { name: format!("mtuscope_{name}"), help, unit, kind, samples: Vec::new() }
    }

    fn gauge(name: &str, help: &'static str) -> Self {
        Self::new(name, None, Kind::Gauge, help)
    }

    fn bytes(name: &str, help: &'static str) -> Self {
        Self::new(name, Some(Unit::Bytes), Kind::Gauge, help)
    }

    fn seconds(name: &str, help: &'static str) -> Self {
        Self::new(name, Some(Unit::Seconds), Kind::Gauge, help)
    }

    fn counter(name: &str, help: &'static str) -> Self {
        Self::new(name, None, Kind::Counter, help)
    }

    fn info(name: &str, help: &'static str) -> Self {
        Self::new(name, None, Kind::Info, help)
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

    /// Name with unit, as it stands in queries but for the format's own suffixes.
    pub fn full_name(&self) -> String {
        match self.unit {
            Some(unit) => format!("{}_{}", self.name, unit.name()),
            None => self.name.clone(),
        }
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

/// Every family, in a stable order.
pub fn families(scrape: &Scrape<'_>) -> Vec<Family> {
    let report = scrape.published.map(|published| &*published.report);
    let mut suppressed = 0;
    let mut all = vec![work::build(scrape)];
    if let Some(report) = report {
        all.extend(machine::families(report, &mut suppressed));
    }
    all.extend(paths::families(report, scrape.standing.limits.named_peers, &mut suppressed));
    if let Some(report) = report {
        all.extend(findings::families(report, scrape.codes, scrape.standing.limits.findings, &mut suppressed));
    }
    all.extend(work::families(scrape.published));
    all.extend(configuration::families(scrape.standing.reload));
    let help = "Series left out because a limit was reached.";
    all.push(Family::gauge("series_suppressed", help).with([], suppressed));
    all.extend(process::families(scrape.process));
    all.retain(|family| !family.samples.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use probes::path::{Plane, VerdictName};
    use probes::report::Conclusion;

    use super::super::example;
    use super::*;
    use crate::publish::explained::Explained;

    pub(crate) fn scrape(published: Option<&Published>) -> Vec<Family> {
        let process = Process::default();
        families(&Scrape {
            published,
            standing: Standing::default(),
            codes: example::CODES,
            vantage: Vantage::Node,
            process: &process,
        })
    }

    fn series(families: &[Family]) -> usize {
        let of = |value: &Value| match value {
            Value::Number(_) => 1,
            Value::Histogram { buckets, .. } => buckets.len() + 2,
        };
        families.iter().flat_map(|family| &family.samples).map(|sample| of(&sample.value)).sum()
    }

    /// Names as they stand in queries.
    fn queried() -> Vec<String> {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        let path = &mut report.paths[0];
        (path.forward_mtu, path.reverse_mtu) = (path.path_mtu, path.path_mtu);
        let suffixes = |kind| match kind {
            Kind::Gauge => vec![""],
            Kind::Counter => vec!["_total"],
            Kind::Info => vec!["_info"],
            Kind::Histogram => vec!["_bucket", "_sum", "_count"],
        };
        let names = |family: &Family| {
            let name = family.full_name();
            suffixes(family.kind).into_iter().map(move |suffix| format!("{name}{suffix}")).collect::<Vec<_>>()
        };
        scrape(Some(&published)).iter().flat_map(names).collect()
    }

    #[test]
    fn the_catalogue_s_queries_name_families_that_there_are() {
        let known = queried();
        for one in Explained::all() {
            for query in &one.metrics {
                let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let families: Vec<&str> = words.filter(|word| word.starts_with("mtuscope_")).collect();
                let unknown = families.iter().find(|family| !known.iter().any(|name| name == *family));
                assert!(!families.is_empty() && unknown.is_none(), "{}: {query}: {unknown:?}", one.code);
            }
        }
    }

    /// The catalogue.
    fn catalogue() -> Vec<(&'static str, &'static [Severity])> {
        probes::checks::ALL.iter().map(|check| (check.entry.code, check.entry.severities)).collect()
    }

    /// A node of a cluster as [`example::cluster`] makes it, whose checks are those of the whole catalogue.
    fn node(peers: usize, sick: usize) -> Published {
        let mut published = example::cluster(peers, sick);
        let report = Arc::make_mut(&mut published.report);
        for (code, _) in catalogue() {
            report.checks.entry(code.to_owned()).or_insert(Conclusion::Quiet);
        }
        published
    }

    /// With a path in each plane by IPv6 too.
    fn dual(mut published: Published) -> Published {
        let report = Arc::make_mut(&mut published.report);
        for plane in Plane::ALL {
            report.paths.push(example::path("node-0", plane, "fd00::9", VerdictName::Clear, 1280));
        }
        published
    }

    fn whole(published: &Published) -> Vec<Family> {
        let process = Process::read(std::path::Path::new("/proc"));
        let standing = Standing {
            reload: Reload { succeeded: Some(example::noon()), ..Reload::default() },
            ..Standing::default()
        };
        let scrape = Scrape {
            published: Some(published),
            standing,
            codes: &catalogue(),
            vantage: Vantage::Node,
            process: &process,
        };
        families(&scrape)
    }

    /// What shapes the scrape of a healthy node.
    struct Shape {
        places: usize,
        links: usize,
        named: usize,
    }

    /// Most series of a family.
    fn budget(family: &str, shape: &Shape) -> usize {
        let &Shape { places, links, named } = shape;
        let severities = || catalogue().iter().map(|(_, severities)| severities.len()).sum();
        match family.trim_start_matches("mtuscope_") {
            "findings" => severities(),
            "check_concluded" => catalogue().len(),
            "paths" => Plane::ALL.len() * 2 * VerdictName::ALL.len(),
            "path_round_trip" => 9 * places,
            "probe_packets_sent" | "probe_packets_lost" | "search_packets" => places,
            "path_min_mtu" | "oldest_path_result_timestamp" => places,
            "path_mtu" | "path_expected_mtu" | "path_up" => named,
            "finding" | "path_forward_mtu" | "path_reverse_mtu" => 0,
            "source_success" => 17,
            "source_duration" => 6,
            "link_mtu" | "link_up" => links,
            "setting" => 3 + 2 * links + if places > 3 { 2 } else { 0 },
            "pod_links" => 4,
            "kernel_events" => {
                if places > 3 {
                    10
                } else {
                    7
                }
            }
            "neighbour_entries" | "neighbour_limit" | "neighbour_table_full" => 2,
            "peers" | "peer_source_last_success_timestamp" => 3,
            "probe_errors" => 5,
            _ => 1,
        }
    }

    fn keeps_to(published: &Published, shape: &Shape) -> usize {
        let families = whole(published);
        for family in &families {
            let (has, may) = (series(std::slice::from_ref(family)), budget(&family.name, shape));
            assert!(has <= may, "{} has {has} series, its budget is {may}", family.full_name());
        }
        series(&families)
    }

    #[test]
    fn every_family_keeps_to_its_budget() {
        // The example has five links of the roles that are shown.
        let shape = |places, named| Shape { places, links: 5, named };
        for peers in [1_000, 10_000] {
            let all = keeps_to(&node(peers, 0), &shape(3, 0));
            assert!(all < 300, "{peers} healthy peers: {all} series");
            let both = keeps_to(&dual(node(peers, 0)), &shape(6, 0));
            assert!(both < 360, "{peers} healthy peers, both IP families: {both} series");
        }
        keeps_to(&node(10, 0), &shape(3, 30));
    }

    #[test]
    fn series_do_not_grow_with_the_cluster() {
        for peers in [10, 1_000, 10_000] {
            let healthy = series(&whole(&node(peers, 0)));
            let sick = series(&whole(&node(peers, peers)));
            assert!(sick < 2_000, "{peers} sick peers: {sick} series");
            assert!(sick > healthy, "sick peers are named: {sick} against {healthy}");
        }
    }

    #[test]
    fn no_limit_lets_series_grow_without_bound() {
        let limits = MetricLimits { named_peers: 100, findings: 500 };
        let published = example::cluster(10_000, 10_000);
        let process = Process::default();
        let scrape = Scrape {
            published: Some(&published),
            standing: Standing { limits, ..Standing::default() },
            codes: example::CODES,
            vantage: Vantage::Node,
            process: &process,
        };
        let count = series(&families(&scrape));
        assert!(count < 2_000, "{count} series at the highest limits");
    }

    #[test]
    fn no_series_appears_twice() {
        for published in [example::published(), example::cluster(100, 50)] {
            for family in scrape(Some(&published)) {
                let distinct: BTreeSet<_> = family.samples.iter().map(|sample| &sample.labels).collect();
                assert_eq!(distinct.len(), family.samples.len(), "{}", family.name);
            }
        }
    }

    #[test]
    fn no_label_holds_a_pod_link_or_the_node() {
        for family in scrape(Some(&example::published())) {
            for (name, value) in family.samples.iter().flat_map(|sample| &sample.labels) {
                assert!(!value.starts_with("cali"), "{}: {name}={value}", family.name);
                assert!(!["node", "instance", "type", "zone", "pod"].contains(name), "{}: {name}", family.name);
            }
        }
    }
}
