//! Asks Prometheus what Grafana would ask it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use lab::http;
use lab::namespace::Namespace;
use lab::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::interpolate::{RANGE, STEP};

/// Whom to ask, and from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks<'c> {
    /// From here.
    pub(crate) place: &'c Namespace,
    /// This Prometheus.
    pub(crate) server: SocketAddr,
}

/// Series and their last values. What is no number is left out: no panel draws it.
pub(crate) type Answer = BTreeMap<String, f64>;

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Asks<'_> {
    /// As a table or number does: the end of the range alone.
    pub(crate) fn now(self, query: &str) -> Result<Answer> {
        let data: Data = self.get(&format!("/api/v1/query?query={}", encoded(query)), query)?;
        Ok(answer(data, None))
    }

    /// As a graph does: the whole range, of which the end is looked at here.
    pub(crate) fn range(self, query: &str) -> Result<Answer> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is set").as_secs();
        let (start, query_text) = (now - u64::from(RANGE), encoded(query));
        let path = format!("/api/v1/query_range?query={query_text}&start={start}&end={now}&step={STEP}");
        Ok(answer(self.get(&path, query)?, Some(now)))
    }

    /// The choices of a variable: `label_values(selector, label)`.
    pub(crate) fn label_values(self, query: &str) -> Result<BTreeSet<String>> {
        let (selector, label) = choices_of(query);
        self.get(&format!("/api/v1/label/{label}/values?match[]={}", encoded(selector)), query)
    }

    fn get<T: DeserializeOwned>(self, path: &str, query: &str) -> Result<T> {
        let doing = || format!("asking for `{query}`");
        let response = http::get(self.place, self.server, path, "*/*").map_err(|error| error.while_doing(doing()))?;
        if response.status != 200 {
            return Err(Error::new(doing(), format!("{} {}", response.status, response.body)));
        }
        let read: serde_json::Result<Envelope<T>> = serde_json::from_str(&response.body);
        read.map(|envelope| envelope.data).map_err(|error| Error::new(doing(), error).check(response.body))
    }
}

/// The selector and the label of `label_values(selector, label)`.
pub(crate) fn choices_of(query: &str) -> (&str, &str) {
    let asked = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    asked.and_then(|both| both.rsplit_once(", ")).expect("all choices are labels")
}

fn answer(data: Data, end: Option<u64>) -> Answer {
    let last = |series: Series| {
        let (at, value) = series.value.or_else(|| series.values.into_iter().last())?;
        // A series that ended before the end of the range is a line that stops.
        let there = end.is_none_or(|end| at >= end as f64);
        let value: f64 = value.parse().ok()?;
        (there && !value.is_nan()).then(|| (shown(&series.metric), value))
    };
    data.result.into_iter().filter_map(last).collect()
}

fn shown(labels: &BTreeMap<String, String>) -> String {
    labels.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = write!(text, "{name}={value} ");
        text
    })
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = if byte.is_ascii_alphanumeric() {
            write!(encoded, "{}", char::from(byte))
        } else {
            write!(encoded, "%{byte:02X}")
        };
        encoded
    })
}
