//! Choosing a format by the `Accept` header (RFC 9110 §12.5.1).
//!
//! Prometheus sends a list such as `application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5`.
//! An entry that asks for a version that is not spoken does not count, nor does one of quality 0.

use super::Format;

pub(super) fn negotiate(accept: &str) -> Format {
    let offers = accept.split(',').filter_map(offer);
    // In a tie the richer format wins.
    let best = offers.max_by(|(one, left), (other, right)| {
        one.total_cmp(other).then((*left == Format::OpenMetrics).cmp(&(*right == Format::OpenMetrics)))
    });
    best.map_or(Format::Text, |(_, format)| format)
}

/// The quality of exactly this media type in an `Accept` header; 0 if it is not named.
pub(in crate::publish) fn quality(accept: &str, media: &str) -> f64 {
    let named = accept.split(',').filter_map(entry).filter(|entry| entry.media == media);
    named.map(|entry| entry.quality).fold(0.0, f64::max)
}

/// One entry of the header.
struct Entry {
    media: String,
    quality: f64,
    version: Option<String>,
}

/// Reads an entry; `None` if it has no valid quality.
fn entry(text: &str) -> Option<Entry> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut entry = Entry { media, quality: 1.0, version: None };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => entry.quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
            "version" => entry.version = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(entry)
}

/// The format and quality of one entry, if it can be had.
fn offer(text: &str) -> Option<(f64, Format)> {
    let entry = entry(text).filter(|entry| entry.quality > 0.0)?;
    let (format, spoken) = match entry.media.as_str() {
        "application/openmetrics-text" => (Format::OpenMetrics, "1.0.0"),
        "text/plain" | "text/*" | "*/*" => (Format::Text, "0.0.4"),
        _ => return None,
    };
    entry.version.is_none_or(|version| version == spoken).then_some((entry.quality, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_decides() {
        use Format::{OpenMetrics, Text};
        for (accept, wanted) in [
            ("", Text),
            ("*/*", Text),
            ("text/html, */*;q=0.1", Text),
            ("application/json", Text),
            ("text/plain", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;version=2.0.0,text/plain;version=0.0.4;q=0.1", Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Text),
            ("text/plain,application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=7", Text),
            ("application/openmetrics-text;q=x", Text),
            ("APPLICATION/OpenMetrics-Text ; Version=1.0.0 ; Q=0.9 , text/plain;q=0.8", OpenMetrics),
            (";;,,;q=,=", Text),
            // As sent by Prometheus 2.42, and by 3.5.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.6,*/*;q=0.5", Text),
        ] {
            assert_eq!(negotiate(accept), wanted, "{accept:?}");
        }
    }
}
