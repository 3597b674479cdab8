//! Metric families as text, in the format that the scraper asks for.
//!
//! OpenMetrics 1.0.0 goes out through `prometheus-client`; the older text format 0.0.4 through an encoder of our own,
//! because OpenMetrics served under the older type takes a target down (`info` is no type there).

mod accept;
mod openmetrics;
mod text;

pub(super) use accept::quality;

use super::metrics::Family;

/// The formats that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

impl Format {
    /// The format to answer an `Accept` header with: the one that it prefers of those that are spoken, the older text
    /// if it names neither.
    pub fn negotiate(accept: Option<&str>) -> Self {
        accept::negotiate(accept.unwrap_or_default())
    }

    /// The `Content-Type` of the format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes the families.
    pub fn encode(self, families: Vec<Family>) -> String {
        match self {
            Self::OpenMetrics => openmetrics::encode(families),
            Self::Text => text::encode(&families),
        }
    }
}

#[cfg(test)]
mod tests {
    use probes::report::Vantage;

    use super::super::example;
    use super::super::metrics::{Reload, Scrape, Standing, families, process::Process};
    use super::*;

    fn rich() -> Vec<Family> {
        let (process, published) = (Process::default(), example::published());
        let reload = Reload { successful: true, succeeded: Some("2026-11-21T10:00:00Z".parse().unwrap()) };
        families(&Scrape {
            published: Some(&published),
            standing: Standing { reload, ..Standing::default() },
            codes: example::CODES,
            vantage: Vantage::Node,
            process: &process,
        })
    }

    /// The text without the commit that this build is of.
    fn of_any_build(text: String) -> String {
        text.replace(&format!("revision=\"{}\"", crate::publish::REVISION), "revision=\"REVISION\"")
    }

    #[test]
    fn a_rich_node_in_the_older_text() {
        insta::assert_snapshot!(of_any_build(Format::Text.encode(rich())));
    }

    #[test]
    fn a_rich_node_in_openmetrics() {
        insta::assert_snapshot!(of_any_build(Format::OpenMetrics.encode(rich())));
    }

    /// Both formats say the same: series and values are equal but for the suffix that only one of them has.
    #[test]
    fn both_formats_hold_the_same_series() {
        let lines = |text: String| {
            let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(number).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(Format::Text.encode(rich())), lines(Format::OpenMetrics.encode(rich())));
    }

    /// A line with its number written in one way: the encoders differ in `1` and `1.0`.
    fn number(line: &str) -> String {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let bound = |le: &str| le.parse::<f64>().map_or(le.to_owned(), |bound| bound.to_string());
        let series = match series.split_once("le=\"").and_then(|(head, tail)| Some((head, tail.split_once('"')?))) {
            Some((head, (le, tail))) => format!("{head}le=\"{}\"{tail}", bound(le)),
            None => series.to_owned(),
        };
        format!("{series} {}", value.parse::<f64>().expect("a number"))
    }
}
