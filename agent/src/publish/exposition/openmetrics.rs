//! OpenMetrics 1.0.0 by `prometheus-client`: the families are a collector of a registry that lives for one scrape.

use std::fmt::{Error, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::super::metrics::{About, Family, Kind, Labels, Sample, Unit, Value};

pub(super) fn encode(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("writing into a String does not fail");
    text
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.0.iter().try_for_each(|family| write(family, &mut encoder))
    }
}

fn write(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let About { kind, help, .. } = family.about;
    // The encoder adds the unit to the name.
    let (name, unit) = match family.about.unit() {
        Some(unit) => {
            (family.about.family().trim_end_matches(unit.name()).trim_end_matches('_'), Some(registered(unit)))
        }
        None => (family.about.family(), None),
    };
    let form = match kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
        Kind::Info => MetricType::Info,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), form)?;
    family.samples.iter().try_for_each(|sample| write_sample(kind, sample, &mut metric))
}

const fn registered(unit: Unit) -> registry::Unit {
    match unit {
        Unit::Bytes => registry::Unit::Bytes,
        Unit::Seconds => registry::Unit::Seconds,
    }
}

fn write_sample(kind: Kind, sample: &Sample, metric: &mut MetricEncoder<'_>) -> Result<(), Error> {
    let labels = LabelSet(&sample.labels);
    if kind == Kind::Info {
        return metric.encode_info(&labels);
    }
    if sample.labels.is_empty() {
        value(kind, sample, metric)
    } else {
        value(kind, sample, &mut metric.encode_family(&labels)?)
    }
}

fn value(kind: Kind, sample: &Sample, metric: &mut MetricEncoder<'_>) -> Result<(), Error> {
    match &sample.value {
        Value::Number(number) if kind == Kind::Counter => metric.encode_counter::<NoLabelSet, _, f64>(number, None),
        Value::Number(number) => metric.encode_gauge(number),
        Value::Histogram { buckets, sum } => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

#[derive(Debug)]
struct LabelSet<'a>(&'a Labels);

impl EncodeLabelSet for LabelSet<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        for (name, value) in self.0 {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            key.write_str(name)?;
            let mut text: LabelValueEncoder<'_> = key.encode_label_value()?;
            EncodeLabelValue::encode(&value.as_ref(), &mut text)?;
            text.finish()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn labels_are_escaped() {
        let sample = Sample { labels: vec![("name", Cow::from("a\"b\\c\nd"))], value: Value::Number(1.0) };
        let about = About { name: "x", labels: &["name"], kind: Kind::Gauge, help: "Help." };
        let family = Family { about, samples: vec![sample] };
        let text = encode(vec![family]);
        assert_eq!(text, "# HELP x Help.\n# TYPE x gauge\nx{name=\"a\\\"b\\\\c\\nd\"} 1.0\n# EOF\n");
    }
}
