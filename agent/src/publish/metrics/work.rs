//! What the agent does and how it fares: probe traffic, rounds, sources of facts and peers.
//!
//! Probe traffic is shown of the planes and families that this node has a path in: most have one family, and series of
//! the other would say 0 for ever. Each source of facts has its own health and, where it is read and not told, its own
//! duration: one that fails or hangs hides no other.

use std::collections::BTreeSet;

use probes::fact::Source;
use probes::report::{Published, Vantage};
use probes::telemetry::{ErrorKind, Histogram, ROUND_TRIP_BUCKETS, Telemetry, Traffic, round_trip_bound};

use super::paths::{Place, place_labels};
use super::{Family, Sample, Scrape, Value, glossary, label};

/// `build_info`.
pub(super) fn build(scrape: &Scrape<'_>) -> Family {
    let vantage = match scrape.vantage {
        Vantage::Node => "node",
        Vantage::Pod => "pod",
    };
    let labels =
        [label("version", super::super::VERSION), label("revision", super::super::REVISION), label("vantage", vantage)];
    Family::of(glossary::BUILD).with(labels, 1u32)
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
    use glossary::{PATH_ROUND_TRIP, PROBE_PACKETS_LOST, PROBE_PACKETS_SENT, SEARCH_PACKETS};
    let [mut sent, mut lost, mut searching, mut times] =
        [PROBE_PACKETS_SENT, PROBE_PACKETS_LOST, SEARCH_PACKETS, PATH_ROUND_TRIP].map(Family::of);
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
    let mut family = Family::of(glossary::PROBE_ERRORS);
    for kind in ErrorKind::ALL {
        family.push([label("reason", kind.name())], telemetry.errors.get(&kind).copied().unwrap_or(0));
    }
    family
}

fn stalls(telemetry: &Telemetry) -> Family {
    Family::of(glossary::TRANSFER_STALLS).with([], telemetry.transfer_stalls)
}

fn overruns(telemetry: &Telemetry) -> Family {
    Family::of(glossary::NETLINK_OVERRUNS).with([], telemetry.overruns)
}

fn peers(telemetry: &Telemetry) -> [Family; 2] {
    let [mut peers, mut succeeded] = [glossary::PEERS, glossary::PEER_SOURCE_LAST_SUCCESS].map(Family::of);
    for (name, source) in &telemetry.peer_sources {
        peers.push([label("source", *name)], source.peers);
        let at = source.succeeded.map(|at| at.as_duration().as_secs_f64());
        succeeded.push_known([label("source", *name)], at);
    }
    [peers, succeeded]
}

fn sources(telemetry: &Telemetry) -> [Family; 2] {
    let [mut success, mut took] = [glossary::SOURCE_SUCCESS, glossary::SOURCE_DURATION].map(Family::of);
    for (source, (duration, succeeded)) in &telemetry.sources {
        success.push([label("source", source.name())], *succeeded);
        if is_read(*source) {
            took.push([label("source", source.name())], duration.as_secs_f64());
        }
    }
    [success, took]
}

/// Whether reading a source takes a time of its own. Of changes and of peers in Kubernetes the agent is told, and probing
/// takes the round.
const fn is_read(source: Source) -> bool {
    !matches!(source, Source::Events | Source::Kubernetes | Source::Probes | Source::Agents)
}

fn rounds(published: Option<&Published>) -> [Family; 3] {
    let telemetry = published.map(|published| &published.telemetry);
    let took = telemetry.and_then(|telemetry| telemetry.round).map(|took| took.as_secs_f64());
    let ended = telemetry.and_then(|telemetry| telemetry.round_ended).map(|at| at.as_duration().as_secs_f64());
    let interval = telemetry.map(|telemetry| telemetry.interval.as_secs_f64());
    [
        Family::of(glossary::PROBE_INTERVAL).with_known(interval),
        Family::of(glossary::ROUND_DURATION).with_known(took),
        Family::of(glossary::LAST_ROUND).with_known(ended),
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
        let family = families.iter().find(|family| family.about.name == format!("mtuscope_{name}"));
        family.map_or(0, |family| family.samples.len())
    }

    #[test]
    fn counters_of_the_agent_exist_before_the_first_round() {
        assert_eq!(samples(None, "probe_errors_total"), ErrorKind::ALL.len());
        assert_eq!(samples(None, "transfer_stalls_total"), 1);
        assert_eq!(samples(None, "netlink_overruns_total"), 1);
        assert_eq!(samples(None, "last_round_timestamp_seconds"), 0, "no round has ended");
        assert_eq!(samples(None, "probe_interval_seconds"), 0, "not known yet");
    }

    #[test]
    fn traffic_is_counted_from_0_on_where_a_path_is_and_stays_where_one_was() {
        const EACH: [&str; 4] =
            ["probe_packets_sent_total", "probe_packets_lost_total", "search_packets_total", "path_round_trip_seconds"];
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
    fn every_source_tells_of_success_and_all_that_are_read_of_their_time() {
        let published = example::published();
        assert_eq!(samples(Some(&published), "source_success"), Source::ALL.len());
        assert_eq!(samples(Some(&published), "source_duration_seconds"), Source::ALL.len() - 3);
    }
}
