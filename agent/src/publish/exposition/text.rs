//! Prometheus text 0.0.4. It has no `info` type and no units: an info is a gauge of 1 under its full name.

use std::fmt::{Display, Write};

use super::super::metrics::{About, Family, Kind, Labels, Sample, Value};

pub(super) fn encode(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        write(&mut text, family);
    }
    text
}

fn write(text: &mut String, family: &Family) {
    let About { name, kind, help, .. } = family.about;
    let kind = match kind {
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    };
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
    for sample in &family.samples {
        write_sample(text, name, sample);
    }
}

fn write_sample(text: &mut String, name: &str, sample: &Sample) {
    let labels = labels(&sample.labels);
    match &sample.value {
        Value::Number(number) => line(text, format_args!("{name}{} {}", braced(&labels), Shown(*number))),
        Value::Histogram { buckets, sum } => {
            let mut count = 0;
            let comma = if labels.is_empty() { "" } else { "," };
            for (bound, inside) in buckets {
                count += inside;
                line(text, format_args!("{name}_bucket{{le=\"{}\"{comma}{labels}}} {count}", Shown(*bound)));
            }
            line(text, format_args!("{name}_sum{} {}", braced(&labels), Shown(*sum)));
            line(text, format_args!("{name}_count{} {count}", braced(&labels)));
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing into a String does not fail");
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    pairs.join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number as the format writes it: infinities have names of their own.
struct Shown(f64);

impl Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn family(name: &'static str, kind: Kind, labels: Labels, value: Value) -> Family {
        let about = About { name, labels: &[], kind, help: "Help." };
        Family { about, samples: vec![Sample { labels, value }] }
    }

    #[test]
    fn an_info_is_a_gauge() {
        let of = |name, kind| encode(&[family(name, kind, vec![("a", Cow::from("b"))], Value::Number(1.0))]);
        assert_eq!(of("x", Kind::Gauge), "# HELP x Help.\n# TYPE x gauge\nx{a=\"b\"} 1\n");
        assert_eq!(of("x_total", Kind::Counter), "# HELP x_total Help.\n# TYPE x_total counter\nx_total{a=\"b\"} 1\n");
        assert_eq!(of("x_info", Kind::Info), "# HELP x_info Help.\n# TYPE x_info gauge\nx_info{a=\"b\"} 1\n");
    }

    #[test]
    fn histograms_are_cumulated() {
        let value = Value::Histogram { buckets: vec![(0.5, 2), (f64::INFINITY, 1)], sum: 1.25 };
        let histogram = family("x_seconds", Kind::Histogram, Vec::new(), value);
        let wanted = "# HELP x_seconds Help.\n# TYPE x_seconds histogram\nx_seconds_bucket{le=\"0.5\"} 2\n\
                      x_seconds_bucket{le=\"+Inf\"} 3\nx_seconds_sum 1.25\nx_seconds_count 3\n";
        assert_eq!(encode(&[histogram]), wanted);
    }

    #[test]
    fn labels_are_escaped() {
        let labels = vec![("name", Cow::from("a\"b\\c\nd"))];
        let text = encode(&[family("x", Kind::Gauge, labels, Value::Number(1.0))]);
        assert!(text.ends_with("x{name=\"a\\\"b\\\\c\\nd\"} 1\n"), "{text}");
    }
}
