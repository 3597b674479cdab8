//! What the agent does and how it fares: probe traffic, rounds, sources of facts and peers.

use probes::fact::Source;
use probes::path::Plane;
use probes::report::{Published, Vantage};
use probes::telemetry::{ErrorKind, Histogram, ROUND_TRIP_BUCKETS, Telemetry, Traffic, round_trip_bound};
use probes::units;

use super::{Family, Kind, Labels, Sample, Scrape, Unit, Value, label};

/// `build_info`.
pub(super) fn build(scrape: &Scrape<'_>) -> Family {
    let vantage = match scrape.vantage {
        Vantage::Node => "node",
        Vantage::Pod => "pod",
    };
    let labels =
        [label("version", super::super::VERSION), label("revision", super::super::REVISION), label("vantage", vantage)];
    Family::info("build", "Version of mtuscope.").with(labels, 1u32)
}

/// Families made from what the agent counts about itself.
pub(super) fn families(published: Option<&Published>) -> Vec<Family> {
    let fallback = Telemetry::default();
    let telemetry = published.map_or(&fallback, |published| &published.telemetry);
    let mut all = Vec::from(traffic(telemetry));
    all.push(errors(telemetry));
    all.push(stalls(telemetry));
    all.push(overruns(telemetry));
    all.extend(peers(telemetry));
    all.extend(sources(telemetry));
    all.extend(rounds(published));
    all
}

fn planes() -> impl Iterator<Item = (Plane, units::Family)> {
    let families = [units::Family::Ipv4, units::Family::Ipv6];
    Plane::ALL.into_iter().flat_map(move |plane| families.map(|family| (plane, family)))
}

fn plane_labels((plane, family): (Plane, units::Family)) -> Labels {
    vec![label("plane", plane.name()), label("family", family.name())]
}

fn traffic(telemetry: &Telemetry) -> [Family; 4] {
    let mut sent = Family::counter("probe_packets_sent", "Reference probes sent.");
    let mut lost = Family::counter("probe_packets_lost", "Reference probes without an answer.");
    let mut searching =
        Family::counter("search_packets", "Packets sent by path-MTU searches, reference probes left out.");
    let help = "Round trips of small reference probes.";
    let mut times = Family::new("path_round_trip", Some(Unit::Seconds), Kind::Histogram, help);
    let none = Traffic::default();
    for key in planes() {
        let traffic = telemetry.traffic.get(&key).unwrap_or(&none);
        sent.push(plane_labels(key), traffic.sent);
        lost.push(plane_labels(key), traffic.lost);
        searching.push(plane_labels(key), traffic.searching);
        // Nineteen series each: those of a plane that was never probed would be a third of a small node's scrape.
        if traffic.sent > 0 || traffic.round_trips.count() > 0 {
            times.samples.push(Sample { labels: plane_labels(key), value: histogram(&traffic.round_trips) });
        }
    }
    [sent, lost, searching, times]
}

fn histogram(round_trips: &Histogram) -> Value {
    let bound = |index| if index == ROUND_TRIP_BUCKETS { f64::INFINITY } else { round_trip_bound(index) };
    let buckets = round_trips.buckets.iter().enumerate().map(|(index, count)| (bound(index), *count)).collect();
    Value::Histogram { buckets, sum: round_trips.sum }
}

fn errors(telemetry: &Telemetry) -> Family {
    let mut family = Family::counter("probe_errors", "Packets and messages that were dropped or failed.");
    for kind in ErrorKind::ALL {
        family.push([label("reason", kind.name())], telemetry.errors.get(&kind).copied().unwrap_or(0));
    }
    family
}

fn stalls(telemetry: &Telemetry) -> Family {
    let help = "Transfers with peers' agents through a tunnel that stalled.";
    Family::counter("transfer_stalls", help).with([], telemetry.transfer_stalls)
}

fn overruns(telemetry: &Telemetry) -> Family {
    let help = "Times that the kernel told of changes faster than they were taken; everything is then read anew.";
    Family::counter("netlink_overruns", help).with([], telemetry.overruns)
}

fn peers(telemetry: &Telemetry) -> [Family; 2] {
    let mut peers = Family::gauge("peers", "Peers that a source yields.");
    let help = "When a source of peers last succeeded.";
    let mut succeeded = Family::seconds("peer_source_last_success_timestamp", help);
    for (name, source) in &telemetry.peer_sources {
        peers.push([label("source", *name)], source.peers);
        let at = source.succeeded.map(|at| at.as_duration().as_secs_f64());
        succeeded.push_known([label("source", *name)], at);
    }
    [peers, succeeded]
}

fn sources(telemetry: &Telemetry) -> [Family; 2] {
    let mut success = Family::gauge("source_success", "Whether a source of facts could be read the last time.");
    let mut took = Family::seconds("source_duration", "How long a source of facts took the last time.");
    for (source, (duration, succeeded)) in &telemetry.sources {
        success.push([label("source", source.name())], *succeeded);
        // Being told takes no time of ours.
        if *source != Source::Events {
            took.push([label("source", source.name())], duration.as_secs_f64());
        }
    }
    [success, took]
}

fn rounds(published: Option<&Published>) -> [Family; 3] {
    let telemetry = published.map(|published| &published.telemetry);
    let took = telemetry.and_then(|telemetry| telemetry.round).map(|took| took.as_secs_f64());
    let ended = telemetry.and_then(|telemetry| telemetry.round_ended).map(|at| at.as_duration().as_secs_f64());
    let interval = telemetry.map(|telemetry| telemetry.interval.as_secs_f64());
    [
        Family::seconds("probe_interval", "Time between the starts of two rounds.").with_known(interval),
        Family::seconds("round_duration", "Duration of the last round.").with_known(took),
        Family::seconds("last_round_timestamp", "When the last round ended.").with_known(ended),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_exist_before_the_first_round() {
        let families = families(None);
        let count = |name: &str| {
            let family = families.iter().find(|family| family.name == format!("mtuscope_{name}"));
            family.map_or(0, |family| family.samples.len())
        };
        assert_eq!(count("probe_packets_sent"), 6);
        assert_eq!(count("probe_packets_lost"), 6);
        assert_eq!(count("search_packets"), 6);
        assert_eq!(count("probe_errors"), ErrorKind::ALL.len());
        assert_eq!(count("transfer_stalls"), 1);
        assert_eq!(count("netlink_overruns"), 1);
        assert_eq!(count("last_round_timestamp"), 0, "no round has ended");
        assert_eq!(count("probe_interval"), 0, "not known yet");
    }
}
