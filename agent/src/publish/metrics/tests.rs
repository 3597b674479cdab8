//! What a scrape holds as a whole: every family, its labels, and how many series.

use std::collections::BTreeSet;
use std::sync::Arc;

use probes::kernel::Df;
use probes::path::{Plane, VerdictName};
use probes::report::{Conclusion, LinkRow, PodEnd, Report, Role, SettingRow, TunnelRow};
use probes::units::{self, IpSize, LinkMtu};

use super::super::example;
use super::*;
use crate::publish::explained::Explained;
use crate::publish::exposition::Format;

/// The highest limits that a configuration may set.
const HIGHEST: MetricLimits = MetricLimits { named_peers: 100, findings: 500 };

fn scrape(published: Option<&Published>) -> Vec<Family> {
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
    families.iter().map(Family::series).sum()
}

/// A node of which everything is known that has a metric.
fn rich() -> Published {
    let mut published = example::published();
    let report = Arc::make_mut(&mut published.report);
    let path = &mut report.paths[0];
    (path.forward_mtu, path.reverse_mtu) = (path.path_mtu, path.path_mtu);
    published
}

/// A metric that is nowhere described, or described and nowhere made, or made with other labels.
#[test]
fn every_metric_is_made_as_it_is_described() {
    let made = whole(&rich(), MetricLimits::default());
    let names: BTreeSet<_> = made.iter().map(|family| family.about.name).collect();
    let described: BTreeSet<_> = glossary::ALL.iter().map(|about| about.name).collect();
    assert_eq!(names, described);
    assert_eq!(names.len(), made.len(), "each once");
    for Family { about, samples } in &made {
        for sample in samples {
            let labels: Vec<_> = sample.labels.iter().map(|(name, _)| *name).collect();
            assert_eq!(labels, about.labels, "{}", about.name);
            let histogram = matches!(sample.value, Value::Histogram { .. });
            assert_eq!(histogram, about.kind == Kind::Histogram, "{}", about.name);
        }
    }
}

/// "No data" is what an alert or a panel shows of a value that is missing, so its text says when that is.
#[test]
fn what_can_be_absent_says_when() {
    let always: BTreeSet<_> = scrape(None).iter().map(|family| family.about.name).collect();
    // The start is a good reading, but for agents of tests; what the process is, the kernel tells every process.
    let given = |name: &str| name.starts_with("process_") || name.starts_with("mtuscope_config_");
    for about in glossary::ALL.iter().filter(|about| !always.contains(about.name) && !given(about.name)) {
        assert!(about.help.to_lowercase().contains("absent"), "{}: {}", about.name, about.help);
    }
}

#[test]
fn before_the_first_round_counters_and_counts_are_there_and_nothing_is_made_up() {
    let families = scrape(None);
    let names: Vec<_> = families.iter().map(|family| family.about.name.trim_start_matches("mtuscope_")).collect();
    let wanted = [
        "build_info",
        "probe_errors_total",
        "transfer_stalls_total",
        "netlink_overruns_total",
        "config_last_reload_successful",
        "paths",
        "series_suppressed",
    ];
    assert_eq!(names, wanted);
}

#[test]
fn the_catalogue_s_queries_name_families_that_there_are() {
    let known = |word: &str| {
        let named = |about: &About| match about.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].iter().any(|end| word == format!("{}{end}", about.name)),
            _ => word == about.name,
        };
        glossary::ALL.iter().any(named)
    };
    for one in Explained::all() {
        for query in &one.metrics {
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let families: Vec<&str> = words.filter(|word| word.starts_with("mtuscope_")).collect();
            let unknown = families.iter().find(|family| !known(family));
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

/// With a thousand pods, as many MTUs as there can be, each end another.
fn crowded(mut published: Published) -> Published {
    let report = Arc::make_mut(&mut published.report);
    let pod = report.links.iter().find(|link| link.role == Role::Pod).expect("it has pods").clone();
    let with = |at: u32| LinkRow {
        name: format!("cali{at:011x}"),
        mtu: LinkMtu::new(1280 + at),
        pod: Some(PodEnd { mtu: LinkMtu::new(3000 + at) }),
        ..pod.clone()
    };
    report.links.extend((0..1000).map(with));
    published
}

/// A name that breaks what does not escape it; as long as names of the API can be.
fn hostile(at: usize) -> String {
    format!("{at}\"\\\n{{}} 1\n# TYPE ü\u{202e}{}", "x".repeat(230))
}

/// Everything that can be wrong, in both IP families, on more subjects than there can be.
fn worst(peers: usize) -> Published {
    let mut published = crowded(node(0, 0));
    let report = Arc::make_mut(&mut published.report);
    for at in 0..peers {
        let [.., high, low] = u32::try_from(at).expect("a small number").to_be_bytes();
        for plane in Plane::ALL {
            for address in [format!("10.7.{high}.{low}"), format!("fd00::{high:x}:{low:x}")] {
                let mut path = example::path(&hostile(at), plane, &address, VerdictName::BlackHole, 1400);
                (path.forward_mtu, path.reverse_mtu) = (Some(IpSize::new(1400)), Some(IpSize::new(1500)));
                report.paths.push(path);
            }
        }
    }
    for (code, severities) in catalogue() {
        for (at, severity) in (0..peers.min(1000)).zip(severities.iter().cycle()) {
            report.findings.push(example::finding(code, *severity, &hostile(at), None));
        }
    }
    let (link, tunnel) = (report.links[2].clone(), report.tunnels[0].clone());
    for at in 0..1000 {
        let name = format!("\"\\\n{at}");
        let role = [Role::Underlay, Role::Bridge, Role::Tunnel][at % 3];
        report.links.push(LinkRow { name: name.clone(), role, master: None, ..link.clone() });
        report.tunnels.push(TunnelRow { link: name.clone(), df: Some(Df::Set), ..tunnel.clone() });
        for setting in ["rp_filter", "forwarding", "proxy_arp", "ipv6.accept_ra"] {
            let (name, link) = (setting.to_owned(), name.clone());
            report.settings.push(SettingRow { name, link, value: 1, wanted: None });
        }
    }
    report.neighbours.tables.iter_mut().for_each(|table| table.refused = 1);
    ["", "_ipv6"].iter().for_each(|family| {
        for name in ["fragmentation_failed", "reassembly_failed", "udp_checksum_errors"] {
            report.counters.insert(format!("{name}{family}"), 1);
        }
    });
    published
}

fn whole(published: &Published, limits: MetricLimits) -> Vec<Family> {
    let process = Process::read(std::path::Path::new("/proc"));
    let reload = Reload { succeeded: Some(example::noon()), ..Reload::default() };
    families(&Scrape {
        published: Some(published),
        standing: Standing { reload, limits },
        codes: &catalogue(),
        vantage: Vantage::Node,
        process: &process,
    })
}

/// What shapes the scrape of a healthy node.
struct Shape {
    places: usize,
    links: usize,
    named: usize,
}

/// Most series of a family.
fn budget(metric: &str, shape: &Shape) -> usize {
    let &Shape { places, links, named } = shape;
    let both = places > 3;
    let severities = || catalogue().iter().map(|(_, severities)| severities.len()).sum();
    match metric.trim_start_matches("mtuscope_") {
        "findings" => severities(),
        "check_concluded" => catalogue().len(),
        "paths" => Plane::ALL.len() * 2 * VerdictName::ALL.len(),
        "path_round_trip_seconds" => 9 * places,
        "probe_packets_sent_total" | "probe_packets_lost_total" | "search_packets_total" => places,
        "path_min_mtu_bytes" | "oldest_path_result_timestamp_seconds" => places,
        "path_mtu_bytes" | "path_expected_mtu_bytes" | "path_up" => named,
        "finding" | "path_forward_mtu_bytes" | "path_reverse_mtu_bytes" => 0,
        "source_success" => 17,
        "source_duration_seconds" => 14,
        "link_mtu_bytes" | "link_up" => links,
        "setting" => 3 + 2 * links + if both { 2 } else { 0 },
        "pod_links" => 4,
        "kernel_events_total" => 7 + if both { 3 } else { 0 },
        "neighbour_entries" | "neighbour_limit" | "neighbour_table_full_total" => 1 + usize::from(both),
        "peers" | "peer_source_last_success_timestamp_seconds" => 3,
        "probe_errors_total" => 5,
        _ => 1,
    }
}

fn keeps_to(published: &Published, shape: &Shape) -> usize {
    let families = whole(published, MetricLimits::default());
    for family in &families {
        let (has, may) = (family.series(), budget(family.about.name, shape));
        assert!(has <= may, "{} has {has} series, its budget is {may}", family.about.name);
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
    let limits = MetricLimits::default();
    let healthy: BTreeSet<usize> = [1_000, 10_000].map(|peers| series(&whole(&node(peers, 0), limits))).into();
    assert_eq!(healthy.len(), 1, "a healthy node has as many among 1,000 as among 10,000: {healthy:?}");
    for peers in [10, 1_000, 10_000] {
        let sick = series(&whole(&node(peers, peers), limits));
        assert!(sick < 2_000, "{peers} sick peers: {sick} series");
        assert!(healthy.iter().all(|healthy| sick > *healthy), "sick peers are named: {sick} against {healthy:?}");
    }
}

/// Fails where anything that somebody else decides on, the cluster, pods, the kernel or the operator, has no limit.
#[test]
fn the_worst_that_can_be_imagined_stays_below_two_thousand() {
    for (peers, limits) in [(1_000, MetricLimits::default()), (1_000, HIGHEST), (5_000, HIGHEST)] {
        let families = whole(&worst(peers), limits);
        let all = series(&families);
        assert!(all < 2_000, "{peers} peers, {limits:?}: {all} series");
        let suppressed = families.iter().find(|family| family.about == glossary::SERIES_SUPPRESSED).unwrap();
        let Value::Number(suppressed) = suppressed.samples[0].value else { panic!("a number") };
        // Five values on each of six paths of all peers but those that are named.
        let left_out = (peers - limits.named_peers) * 6 * 5;
        assert!(suppressed >= left_out as f64, "{suppressed} of at least {left_out}");
    }
}

/// A scrape's lines are as many as its series, whatever names hold: a line break in one would make two of it.
#[test]
fn hostile_names_stay_within_their_line() {
    for format in [Format::Text, Format::OpenMetrics] {
        let families = whole(&worst(20), MetricLimits::default());
        let wanted = series(&families);
        let text = format.encode(families);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), wanted, "{format:?}");
        for line in lines {
            let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            assert!(quotes.is_multiple_of(2) && line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
        }
    }
}

/// Peers that fail come first, the worst of them at the top, and healthy ones of a large cluster not at all.
#[test]
fn named_peers_are_those_that_fail() {
    let families = whole(&node(1_000, 60), MetricLimits::default());
    let up = families.iter().find(|family| family.about == glossary::PATH_UP).unwrap();
    let names: BTreeSet<_> = up.samples.iter().map(|sample| sample.labels[0].1.as_ref()).collect();
    let sick: BTreeSet<_> = (0..60).map(|at| format!("node-{at}")).collect();
    assert_eq!(names.len(), 50);
    assert!(names.iter().all(|name| sick.contains(*name)), "{names:?}");
}

#[test]
fn peers_that_left_are_gone_at_the_next_scrape() {
    let named = |published: &Published| {
        let text = Format::Text.encode(whole(published, MetricLimits::default()));
        text.lines().filter(|line| line.contains("\"node-3\"")).count()
    };
    let mut published = node(1_000, 10);
    assert!(named(&published) > 0);
    let report = Arc::make_mut(&mut published.report);
    report.paths.retain(|path| path.peer != "node-3");
    report.findings.retain(|finding| finding.subject != "node-3");
    assert_eq!(named(&published), 0);
}

#[test]
fn no_series_appears_twice() {
    for published in [example::published(), example::cluster(100, 50), worst(20)] {
        for family in whole(&published, MetricLimits::default()) {
            let distinct: BTreeSet<_> = family.samples.iter().map(|sample| &sample.labels).collect();
            assert_eq!(distinct.len(), family.samples.len(), "{}", family.about.name);
        }
    }
}

/// What a pod is called, where it is reached and which link leads to it.
fn of_pods(report: &Report) -> BTreeSet<String> {
    let links = report.links.iter().filter(|link| link.role == Role::Pod).map(|link| link.name.clone());
    let paths = report.paths.iter().filter(|path| path.plane != Plane::Underlay);
    links.chain(paths.map(|path| path.address.to_string())).collect()
}

#[test]
fn no_label_holds_a_pod_its_address_or_its_link() {
    let mut sick = crowded(node(60, 60));
    let report = Arc::make_mut(&mut sick.report);
    for at in 0..1000 {
        let link = format!("cali{at:011x}");
        report.findings.push(example::finding("veth-ends-differ", Severity::Critical, &link, None));
    }
    for published in [example::published(), sick] {
        let hidden = of_pods(&published.report);
        assert!(hidden.len() > 5, "{hidden:?}");
        for family in whole(&published, MetricLimits::default()) {
            for (name, value) in family.samples.iter().flat_map(|sample| &sample.labels) {
                assert!(!hidden.contains(value.as_ref()), "{}: {name}={value}", family.about.name);
            }
        }
    }
    for About { name, labels, .. } in glossary::ALL {
        let targets = ["node", "instance", "job", "type", "zone", "region", "cluster", "pod", "namespace", "uid"];
        assert!(!labels.iter().any(|label| targets.contains(label)), "{name}: {labels:?} are the scrape's or a pod's");
    }
}

/// Every value of a label that is one of few is written as the report writes it, and there from the start.
#[test]
fn enumerated_combinations_are_there_before_anything_has_happened() {
    let before = scrape(None);
    let combinations = |about: About| {
        let family = before.iter().find(|family| family.about == about).expect("it is there");
        let values = |sample: &Sample| sample.labels.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>();
        family.samples.iter().map(values).collect::<BTreeSet<_>>()
    };
    let mut paths = BTreeSet::new();
    for plane in Plane::ALL {
        for family in [units::Family::Ipv4, units::Family::Ipv6] {
            for verdict in VerdictName::ALL {
                paths.insert([plane.name(), family.name(), verdict.name()].map(str::to_owned).to_vec());
            }
        }
    }
    assert_eq!(combinations(glossary::PATHS), paths);
    let reasons = probes::telemetry::ErrorKind::ALL.map(|kind| vec![kind.name().to_owned()]);
    assert_eq!(combinations(glossary::PROBE_ERRORS), reasons.into());
}

/// A source that fails has a 0 of its own, and all others say what they said before.
#[test]
fn one_failing_source_hides_no_other() {
    let lines_of = |published: &Published, about: About| {
        let families = whole(published, MetricLimits::default());
        lines(families.iter().find(|family| family.about == about).expect("it is there"))
    };
    let published = example::published();
    let before = lines_of(&published, glossary::SOURCE_SUCCESS);
    for (source, (took, _)) in &published.telemetry.sources {
        let mut failing = published.clone();
        failing.telemetry.sources.insert(*source, (*took, false));
        let after = lines_of(&failing, glossary::SOURCE_SUCCESS);
        let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(after.contains(&format!("{} 0", source.name())), "{after:?}");
        assert!(changed.len() <= 1 && before.len() == after.len(), "{changed:?}");
        let durations = [&published, &failing].map(|published| lines_of(published, glossary::SOURCE_DURATION));
        assert_eq!(durations[0], durations[1], "what it took is told all the same");
    }
}
