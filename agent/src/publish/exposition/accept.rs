//! Choosing a format by the `Accept` header (RFC 9110 §12.5.1).
//!
//! Prometheus sends a list such as `application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5`.
//! An entry that asks for a version that is not spoken does not count, nor does one of quality 0.

use super::Format;

pub(super) fn negotiate(accept: &str) -> Format {
    let offers = accept.split(',').filter_map(offer);
    // The last of equals wins in `max_by`, so a tie goes to OpenMetrics only where the list names it.
    let best = offers.max_by(|(one, left), (other, right)| {
        one.total_cmp(other).then((*left == Format::OpenMetrics).cmp(&(*right == Format::OpenMetrics)))
    });
    best.map_or(Format::Text, |(_, format)| format)
}

/// The format and quality of one entry, if it can be had.
fn offer(entry: &str) -> Option<(f64, Format)> {
    let mut parts = entry.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => Format::OpenMetrics,
        "text/plain" | "text/*" | "*/*" => Format::Text,
        _ => return None,
    };
    let mut quality = 1.0;
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" if !spoken(format, value) => return None,
            _ => {}
        }
    }
    (quality > 0.0).then_some((quality, format))
}

fn spoken(format: Format, version: &str) -> bool {
    match format {
        Format::OpenMetrics => version == "1.0.0",
        Format::Text => version == "0.0.4",
    }
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
