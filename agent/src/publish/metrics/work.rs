//! What the agent does and how it fares: probe traffic, rounds, sources of facts and peers.
//!
//! Probe traffic is shown of the planes and families that this node has a path in: most have one family, and series of
//! the other would say 0 for ever. Whether a source could be read is shown of all, how long it took of those that grow
//! with pods or peers: the others take a fraction of a millisecond on any machine.

use std::collections::BTreeSet;

use probes::fact::Source;
use probes::report::{Published, Vantage};
use probes::telemetry::{ErrorKind, Histogram, ROUND_TRIP_BUCKETS, Telemetry, Traffic, round_trip_bound};

use super::paths::{Place, place_labels};
use super::{Family, Kind, Sample, Scrape, Unit, Value, label};

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
    let mut all = Vec::from(traffic(telemetry, &places(published)));
    all.push(errors(telemetry));
    all.push(stalls(telemetry));
    all.push(overruns(telemetry));
    all.extend(peers(telemetry));
    all.extend(sources(telemetry));
    all.extend(rounds(published));
    all
}

/// Where this node has paths, or had.
fn places(published: Option<&Published>) -> BTreeSet<Place> {
    let Some(Published { report, telemetry, .. }) = published else { return BTreeSet::new() };
    let used = telemetry.traffic.iter().filter(|(_, traffic)| traffic.sent > 0).map(|(place, _)| *place);
    report.paths.iter().map(|row| (row.plane, row.family)).chain(used).collect()
}

fn traffic(telemetry: &Telemetry, places: &BTreeSet<Place>) -> [Family; 4] {
    let mut sent = Family::counter("probe_packets_sent", "Reference probes sent.");
    let mut lost = Family::counter("probe_packets_lost", "Reference probes without an answer.");
    let mut searching =
        Family::counter("search_packets", "Packets sent by path-MTU searches, reference probes left out.");
    let help = "Round trips of small reference probes.";
    let mut times = Family::new("path_round_trip", Some(Unit::Seconds), Kind::Histogram, help);
    let none = Traffic::default();
    for place in places {
        let traffic = telemetry.traffic.get(place).unwrap_or(&none);
        sent.push(place_labels(*place), traffic.sent);
        lost.push(place_labels(*place), traffic.lost);
        searching.push(place_labels(*place), traffic.searching);
        times.samples.push(Sample { labels: place_labels(*place), value: histogram(&traffic.round_trips) });
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
    let help = "How long a source of facts that grows with pods or peers took the last time.";
    let mut took = Family::seconds("source_duration", help);
    for (source, (duration, succeeded)) in &telemetry.sources {
        success.push([label("source", source.name())], *succeeded);
        if grows(*source) {
            took.push([label("source", source.name())], duration.as_secs_f64());
        }
    }
    [success, took]
}

const fn grows(source: Source) -> bool {
    use Source::{Fdb, Links, Lookup, Neighbours, PodEnds, Routes};
    matches!(source, Links | Routes | Lookup | Neighbours | Fdb | PodEnds)
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
    use probes::path::Plane;
    use probes::units::Family;

    use super::super::super::example;
    use super::families;
    use super::{ErrorKind, Published, Source, Traffic};

    fn samples(published: Option<&Published>, name: &str) -> usize {
        let families = families(published);
        let family = families.iter().find(|family| family.name == format!("mtuscope_{name}"));
        family.map_or(0, |family| family.samples.len())
    }

    #[test]
    fn counters_of_the_agent_exist_before_the_first_round() {
        assert_eq!(samples(None, "probe_errors"), ErrorKind::ALL.len());
        assert_eq!(samples(None, "transfer_stalls"), 1);
        assert_eq!(samples(None, "netlink_overruns"), 1);
        assert_eq!(samples(None, "last_round_timestamp"), 0, "no round has ended");
        assert_eq!(samples(None, "probe_interval"), 0, "not known yet");
    }

    #[test]
    fn traffic_is_counted_from_0_on_where_a_path_is_and_stays_where_one_was() {
        const EACH: [&str; 4] = ["probe_packets_sent", "probe_packets_lost", "search_packets", "path_round_trip"];
        let mut published = example::published();
        let counts = |published: &Published| EACH.map(|name| samples(Some(published), name));
        assert_eq!(counts(&published), [3; 4], "three planes of one family");
        published.telemetry.traffic.clear();
        assert_eq!(counts(&published), [3; 4], "paths that were not probed yet");
        std::sync::Arc::make_mut(&mut published.report).paths.clear();
        assert_eq!(counts(&published), [0; 4]);
        let sent = Traffic { sent: 1, ..Traffic::default() };
        published.telemetry.traffic.insert((Plane::Pod, Family::Ipv6), sent);
        assert_eq!(counts(&published), [1; 4], "its peer left");
    }

    #[test]
    fn every_source_tells_of_success_and_those_that_grow_of_their_time() {
        let published = example::published();
        assert_eq!(samples(Some(&published), "source_success"), Source::ALL.len());
        assert_eq!(samples(Some(&published), "source_duration"), 6);
    }
}
