//! Published rounds for tests: one rich node, and clusters of any size.
//!
//! The rich node has one of everything that is printed: a dead NIC with the peer behind it, a signalled and a silent
//! loss of size, a check that could not look, pod links of two MTUs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use probes::card::{self, Card, CardLink};
use probes::fact::Source;
use probes::kernel::{Df, NeighbourState};
use probes::path::{Limit, Plane, VerdictName};
use probes::report::{
    Conclusion, ConntrackRow, Finding, FindingCounts, LinkRow, NeighbourRow, NeighbourTableRow, NeighboursRow,
    NotConcluded, PathRow, PodEnd, Published, Report, Role, SCHEMA, SettingRow, Severity, Status, Summary, TunnelRow,
    Vantage, ladder,
};
use probes::telemetry::{ErrorKind, PeerSource, Telemetry, Traffic};
use probes::transfer::admission::Guests;
use probes::units::{Family, IpSize, LinkMtu};
use serde_json::json;

use Severity::{Critical, Info, Warning};

/// A catalogue for tests.
pub(crate) const CODES: &[(&str, &[Severity])] = &[
    ("link-down", &[Critical]),
    ("tunnel-no-headroom", &[Critical]),
    ("pod-mtu-too-large", &[Warning, Critical]),
    ("pod-mtu-mixed", &[Info]),
    ("peer-unreachable", &[Critical]),
    ("path-limited", &[Warning]),
    ("path-black-hole", &[Critical]),
    ("overlay-unreachable", &[Critical]),
    ("overlay-mtu-exceeds-path", &[Warning, Critical]),
    ("ip-forward-off", &[Critical]),
    ("rp-filter-strict", &[Warning, Critical]),
];

/// 2026-11-21 01:40:00 UTC.
pub(crate) fn noon() -> Timestamp {
    Timestamp::from_second(1_795_225_200).expect("a second of 2026")
}

/// A path. `mtu` is what it carries; the size expected follows from the plane.
pub(crate) fn path(peer: &str, plane: Plane, address: &str, verdict: VerdictName, mtu: u32) -> PathRow {
    let address: IpAddr = address.parse().expect("a literal address");
    let expected = if plane == Plane::Underlay { 1500 } else { 1450 };
    let answered = mtu > 0;
    PathRow {
        peer: peer.to_owned(),
        plane,
        family: Family::of(address),
        address,
        via: via(plane),
        route: None,
        verdict,
        why: None,
        path_mtu: answered.then(|| IpSize::new(mtu)),
        expected_mtu: (verdict != VerdictName::Unknown).then(|| IpSize::new(expected)),
        forward_mtu: None,
        reverse_mtu: None,
        way: None,
        hole: None,
        hops: Vec::new(),
        outer: None,
        spread: None,
        limited_by: None,
        cached_mtu: None,
        round_trip_seconds: answered.then_some(0.000_312),
        loss_ratio: (verdict != VerdictName::Unknown).then_some(if answered { 0.0 } else { 1.0 }),
        packets_sent: 2,
        probed_at: Some(noon()),
        transfer: None,
    }
}

fn via(plane: Plane) -> Vec<String> {
    let tunnel = (plane != Plane::Underlay).then_some("vxlan.calico");
    tunnel.into_iter().chain(["vmbr1", "enp5s0"]).map(str::to_owned).collect()
}

/// A finding about `subject`.
pub(crate) fn finding(code: &'static str, severity: Severity, subject: &str, cause: Option<&str>) -> Finding {
    Finding {
        code,
        severity,
        subject: subject.to_owned(),
        summary: format!("{code} on {subject}."),
        evidence: json!({}),
        remedy: Vec::new(),
        since: noon(),
        silenced_by: cause.map(str::to_owned),
    }
}

/// The rich node.
pub(crate) fn published() -> Published {
    let mut report = Report {
        schema: SCHEMA,
        node: "master-1".into(),
        vantage: Vantage::Node,
        version: "0.1.0".into(),
        generated_at: noon(),
        summary: Summary {
            status: Status::Critical,
            findings: FindingCounts { critical: 2, warning: 2, info: 1 },
            not_concluded: 1,
            peers: 3,
            recommended_overlay_mtu: Some(IpSize::new(1350)),
        },
        addresses: vec![[10, 0, 0, 11].into()],
        links: links(),
        tunnels: vec![tunnel()],
        paths: paths(),
        schedule: None,
        node_addresses: Vec::new(),
        ladders: Vec::new(),
        settings: settings(),
        neighbours: neighbours(),
        declared: Vec::new(),
        vips: Vec::new(),
        conntrack: Some(ConntrackRow { entries: 318, limit: 262_144 }),
        counters: BTreeMap::from([("fragmentation_failed".to_owned(), 17), ("reverse_path_filter".to_owned(), 0)]),
        findings: findings(),
        not_concluded: vec![NotConcluded {
            code: "rp-filter-strict",
            reason: "counters: cannot open /proc/net/netstat: Permission denied".into(),
        }],
        checks: checks(),
    };
    report.ladders = ladder::of(&report);
    Published {
        report: Arc::new(report),
        telemetry: telemetry(),
        pending: 0,
        watching: false,
        guests: Guests::default(),
        card: Arc::new(card()),
        agents: Vec::new(),
    }
}

/// What the rich node says of itself.
fn card() -> Card {
    Card {
        schema: card::SCHEMA,
        node: "master-1".into(),
        vantage: Vantage::Node,
        version: "0.1.0".into(),
        generated_at: noon(),
        links: vec![CardLink {
            name: "vmbr1".into(),
            role: Role::Bridge,
            mtu: LinkMtu::new(1500),
            addresses: vec![Ipv4Addr::new(10, 0, 0, 11).into()],
        }],
        tunnels: Vec::new(),
        pod_mtus: vec![LinkMtu::new(1450)],
        hardware_addresses: Vec::new(),
        vips: Vec::new(),
    }
}

fn link(name: &str, kind: &str, role: Role, mtu: u32) -> LinkRow {
    LinkRow {
        name: name.into(),
        kind: kind.into(),
        role,
        mtu: LinkMtu::new(mtu),
        up: true,
        carrier: Some(true),
        master: None,
        lower: None,
        pod: None,
    }
}

fn pod_link(name: &str, mtu: u32, pod: Option<u32>) -> LinkRow {
    LinkRow { pod: pod.map(|mtu| PodEnd { mtu: LinkMtu::new(mtu) }), ..link(name, "veth", Role::Pod, mtu) }
}

fn links() -> Vec<LinkRow> {
    let port =
        |name: &str, master: &str, role| LinkRow { master: Some(master.into()), ..link(name, "device", role, 1500) };
    vec![
        port("enp4s0", "vmbr0", Role::Other),
        link("vmbr0", "bridge", Role::Other, 1500),
        port("enp5s0", "vmbr1", Role::Underlay),
        LinkRow { carrier: Some(false), ..port("enp6s0", "vmbr2", Role::Underlay) },
        link("vmbr1", "bridge", Role::Bridge, 1500),
        link("vmbr2", "bridge", Role::Bridge, 1500),
        LinkRow { lower: Some("vmbr1".into()), ..link("vxlan.calico", "vxlan", Role::Tunnel, 1450) },
        pod_link("cali0a1b2c3d4e5", 1450, Some(1450)),
        pod_link("cali5e4d3c2b1a0", 1500, Some(1500)),
        pod_link("cali99887766554", 1500, None),
    ]
}

fn tunnel() -> TunnelRow {
    TunnelRow {
        link: "vxlan.calico".into(),
        kind: "vxlan",
        mtu: LinkMtu::new(1450),
        overhead: Some(50),
        lower: Some("vmbr1".into()),
        lower_mtu: Some(LinkMtu::new(1500)),
        headroom: Some(0),
        id: Some(4096),
        port: Some(4789),
        df: Some(Df::Unset),
        local: Some(Ipv4Addr::new(10, 0, 0, 11).into()),
        external: false,
        carries_pods: true,
        recommended_mtu: Some(IpSize::new(1350)),
    }
}

fn paths() -> Vec<PathRow> {
    use VerdictName::{BlackHole, Clear, Limited, Unknown, Unreachable};
    let hop = Limit { address: Some([10, 0, 0, 1].into()), reported_mtu: Some(IpSize::new(1400)), ttl: None };
    vec![
        path("master-2", Plane::Underlay, "10.0.0.12", Clear, 1500),
        PathRow { limited_by: Some(hop), ..path("master-2", Plane::Overlay, "10.244.2.0", Limited, 1400) },
        PathRow { packets_sent: 31, ..path("master-3", Plane::Underlay, "10.0.0.13", BlackHole, 1400) },
        PathRow {
            cached_mtu: Some(IpSize::new(1280)),
            ..path("master-3", Plane::Overlay, "10.244.3.0", BlackHole, 1350)
        },
        path("app-worker", Plane::Underlay, "10.0.0.14", Unreachable, 0),
        path("app-worker", Plane::Overlay, "10.244.4.0", Unreachable, 0),
        PathRow {
            why: Some("it answers TCP but no ICMP".into()),
            ..path("app-worker", Plane::Pod, "10.244.4.2", Unknown, 0)
        },
    ]
}

fn settings() -> Vec<SettingRow> {
    let row = |name: &str, link: &str, value, wanted: Option<&str>| SettingRow {
        name: name.into(),
        link: link.into(),
        value,
        wanted: wanted.map(str::to_owned),
    };
    vec![
        row("ip_forward", "", 1, Some("1")),
        row("rp_filter", "vmbr1", 2, None),
        row("rp_filter", "vmbr2", 1, Some("0 or 2")),
        row("rp_filter", "cali0a1b2c3d4e5", 1, None),
    ]
}

fn neighbours() -> NeighboursRow {
    let failed = NeighbourRow { address: [10, 0, 0, 14].into(), link: "vmbr2".into(), state: NeighbourState::Failed };
    let table = |family, entries| NeighbourTableRow { family, entries, limit: 1024, refused: 0 };
    let tables = vec![table(Family::Ipv4, 7), table(Family::Ipv6, 4)];
    NeighboursRow { entries: Some(7), limit: Some(1024), failed: vec![failed], tables }
}

fn findings() -> Vec<Finding> {
    let mut down = finding("link-down", Critical, "enp6s0", None);
    down.summary = "enp6s0 has no carrier, and vmbr2 has no other port: nothing leaves through vmbr2.".into();
    down.evidence = json!({"link": "enp6s0", "up": true, "carrier": false, "carries": ["vmbr2"]});
    down.remedy = vec!["Look at the cable and at the switch port:".into(), "$ ethtool enp6s0".into()];
    let mut hole = finding("path-black-hole", Critical, "master-3", None);
    hole.summary = "Packets to master-3 (10.0.0.13) larger than 1400 bytes vanish in silence; 1500 should pass.".into();
    hole.evidence =
        json!({"address": "10.0.0.13", "plane": "underlay", "carries": 1400, "drops": 1401, "expected": 1500});
    hole.remedy = vec![
        "Find the hop whose MTU is below 1500 on the way to 10.0.0.13 and raise it.".into(),
        "Until then: set the overlay MTU to 1350.".into(),
    ];
    let mut limited = finding("path-limited", Warning, "master-2", None);
    limited.summary = "The overlay path to master-2 carries 1400 of 1450 bytes; 10.0.0.1 says so.".into();
    let unreachable = finding("peer-unreachable", Critical, "app-worker", Some("link-down enp6s0"));
    let overlay = finding("overlay-unreachable", Critical, "app-worker", Some("link-down enp6s0"));
    let pods = finding("pod-mtu-too-large", Warning, "pods", None);
    vec![down, hole, unreachable, overlay, limited, pods, finding("pod-mtu-mixed", Info, "pods", None)]
}

fn checks() -> BTreeMap<String, Conclusion> {
    let found = findings();
    let of = |code: &str| match code {
        "rp-filter-strict" => Conclusion::NotConcluded,
        _ if found.iter().any(|finding| finding.code == code) => Conclusion::Found,
        _ => Conclusion::Quiet,
    };
    CODES.iter().map(|(code, _)| ((*code).to_owned(), of(code))).collect()
}

fn telemetry() -> Telemetry {
    let mut telemetry = Telemetry { interval: Duration::from_secs(30), ..Telemetry::default() };
    for plane in Plane::ALL {
        let mut traffic = Traffic { sent: 40, lost: 4, searching: 31, ..Traffic::default() };
        (0..36).for_each(|_| traffic.round_trips.observe(Duration::from_micros(312)));
        telemetry.traffic.insert((plane, Family::Ipv4), traffic);
    }
    telemetry.errors.insert(ErrorKind::Unmatched, 3);
    for source in Source::ALL {
        let succeeded = source != Source::Counters;
        telemetry.sources.insert(source, (Duration::from_micros(1500), succeeded));
    }
    telemetry.peer_sources.insert("kernel", PeerSource { peers: 2, succeeded: Some(noon()) });
    telemetry.peer_sources.insert("kubernetes", PeerSource { peers: 2, succeeded: Some(noon()) });
    telemetry.peer_sources.insert("static", PeerSource { peers: 1, succeeded: Some(noon()) });
    telemetry.round = Some(Duration::from_millis(240));
    telemetry.round_ended = Some(noon());
    telemetry
}

/// A node with `peers` peers on three planes, `sick` of which are black holes with a finding each.
pub(crate) fn cluster(peers: usize, sick: usize) -> Published {
    let mut published = published();
    let report = Arc::make_mut(&mut published.report);
    (report.paths, report.findings) = (Vec::new(), Vec::new());
    for number in 0..peers {
        let name = format!("node-{number}");
        let bad = number < sick;
        for (plane, net, full) in [(Plane::Underlay, 10, 1500), (Plane::Overlay, 11, 1450), (Plane::Pod, 12, 1450)] {
            let [.., high, low] = (number as u32).to_be_bytes();
            let address = format!("{net}.0.{high}.{low}");
            let (verdict, mtu) = if bad { (VerdictName::BlackHole, 1400) } else { (VerdictName::Clear, full) };
            report.paths.push(path(&name, plane, &address, verdict, mtu));
        }
        if bad {
            report.findings.push(finding("path-black-hole", Critical, &name, None));
        }
    }
    report.summary.peers = peers;
    report.ladders = ladder::of(report);
    published
}
