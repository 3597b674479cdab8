//! Whole rounds over a real node's dumps: one NIC under a bridge, Calico's tunnel, two nodes behind it.

mod announced;
mod changes;
mod coverage;
mod devices;
mod transfers;
mod turns;

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::declared::host::RawHost;
use crate::declared::sysctl::{RawFiles, RawSysctls};
use crate::fact::Reason;
use crate::kernel::ethtool::RawDevice;
use crate::kernel::golden;
use crate::kernel::{self, HostFile};
use crate::prober::Means;
use crate::report::{Conclusion, Report, Status};
use crate::snapshot::example::ip;
use crate::tables::covers;
use crate::units::{Dual, IpSize};
use crate::wire::quote;

pub(crate) const IDENTITY: Identity = Identity { id: 7, secret: 42, first_port: 61_440 };
const SNMP: &str = "Ip: InAddrErrors FragFails\nIp: 0 0\n";
const UDP: &str = "  sl  local_address rem_address   st\n";
const NETSTAT: &str = "TcpExt: IPReversePathFilter\nTcpExt: 0\n";

/// The world as a node sees it: tables of a real kernel, and a wire that answers what it is told to.
struct World {
    node: Node,
    time: Duration,
    /// What becomes of an echo to this address of this size.
    wire: fn(IpAddr, u32) -> Wire,
    /// What becomes of an encapsulated packet to this tunnel end of this size.
    encapsulated_wire: fn(IpAddr, u32) -> Wire,
    facts: fn() -> RawFacts,
    sent: Vec<(IpAddr, u32)>,
    /// Packets that were encapsulated here, by tunnel end and outer size.
    encapsulated: Vec<(IpAddr, u32)>,
    readings: usize,
    /// Which pods' ends were asked about last.
    ends: Option<Ends>,
    /// Tunnels that are to be looked at closely.
    tapped: Vec<LinkIndex>,
    /// How often the ports of tunnels were told.
    ports: usize,
    /// Transfers that are wanted and not answered.
    transfers: Vec<Transfer>,
    /// Cards that are wanted and not answered.
    cards: Vec<Ask>,
    /// Links whose drivers were asked about, each time.
    asked_devices: Vec<Vec<LinkIndex>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Answers,
    Silent,
}

impl World {
    fn new(config: Config, wire: fn(IpAddr, u32) -> Wire) -> Self {
        let node = Node::new(config, IDENTITY, "1.2.3", at(Duration::ZERO));
        Self {
            node,
            time: Duration::ZERO,
            wire,
            encapsulated_wire: wire,
            facts,
            sent: Vec::new(),
            encapsulated: Vec::new(),
            readings: 0,
            ends: None,
            tapped: Vec::new(),
            ports: 0,
            transfers: Vec::new(),
            cards: Vec::new(),
            asked_devices: Vec::new(),
        }
    }

    fn round(&mut self) -> Arc<Published> {
        for _ in 0..100_000 {
            match self.node.poll(at(self.time)) {
                Some(Output::Publish(published)) => return published,
                Some(output) => self.act(output),
                None => self.sleep(),
            }
        }
        panic!("the round does not end");
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::ReadFacts(ends) => {
                self.readings += 1;
                self.ends = Some(ends);
                self.node.on(Input::Facts(Box::new((self.facts)())), at(self.time));
            }
            Output::ReadRoutes(queries) => {
                let answers = queries.into_iter().map(|query| (query, Ok(lookup(query.to)))).collect();
                let took = [Source::Lookup, Source::Exceptions].map(|source| (source, Duration::from_millis(1)));
                let raw = RawRoutes { answers, exceptions: Ok(golden::exceptions()), took: took.into() };
                self.node.on(Input::Routes(Box::new(raw)), at(self.time));
            }
            Output::Transmit(transmit) => self.transmit(&transmit),
            Output::Transfer(transfer) => self.transfers.push(transfer),
            Output::AskVip(_) => {}
            Output::AskCard(ask) => self.cards.push(ask),
            Output::WatchTunnelPorts(_) => self.ports += 1,
            Output::TapTunnels(links) => self.tapped = links,
            Output::ReadDevices(links) => {
                self.node.on(Input::Devices(Box::new(devices(&links))), at(self.time));
                self.asked_devices.push(links);
            }
            Output::Publish(_) => {}
        }
    }

    fn transmit(&mut self, transmit: &Transmit) {
        let sent = if matches!(transmit.means, Means::Tcp { .. }) { Sent::TcpSilent } else { Sent::Ok };
        self.node.on(Input::Sent(transmit.id, sent), at(self.time));
        if let Means::Udp { head, padding, .. } = &transmit.means {
            return self.encapsulated(transmit, head, *padding);
        }
        let Means::Icmp { head, padding } = &transmit.means else { return };
        let to = transmit.to.ip();
        let size = Family::of(to).header() + u32::try_from(head.len()).unwrap() + padding;
        self.sent.push((to, size));
        if (self.wire)(to, size) == Wire::Answers {
            let mono = at(self.time).mono;
            let bytes = reply(to, head, *padding);
            self.receive(to, bytes, mono);
        }
    }

    /// What a tunnel end does with a packet that is encapsulated.
    fn encapsulated(&mut self, transmit: &Transmit, head: &[u8], padding: u32) {
        let to = transmit.to.ip();
        let size = Family::of(to).header() + 8 + u32::try_from(head.len()).unwrap() + padding;
        let Some(inner) = quote::inside_vxlan(head).filter(|_| transmit.to.port() == 4789) else { return };
        self.encapsulated.push((to, size));
        if (self.encapsulated_wire)(to, size) == Wire::Answers {
            let start = if inner.to.is_ipv4() { 22 + 20 } else { 22 + 40 };
            let bytes = reply(inner.to, &head[start..], padding);
            self.receive(inner.to, bytes, at(self.time).mono);
        }
    }

    fn receive(&mut self, from: IpAddr, bytes: Vec<u8>, sent: Mono) {
        let took = Duration::from_micros(300);
        let datagram = Datagram { from, bytes, at: sent + took, waited: None, fragment: None };
        self.node.on(Input::Datagram(datagram), at(self.time + took));
    }

    fn sleep(&mut self) {
        let deadline = self.node.poll_timeout().expect("the world answers at once").since_start();
        self.time = self.time.max(deadline) + Duration::from_micros(1);
    }
}

pub(crate) fn at(time: Duration) -> Now {
    let wall = Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(time).unwrap();
    Now { mono: Mono::new(time), wall }
}

/// The echo reply that Linux sends to a request.
pub(crate) fn reply(from: IpAddr, request: &[u8], padding: u32) -> Vec<u8> {
    let mut icmp = request.to_vec();
    icmp.resize(request.len() + padding as usize, 0);
    if from.is_ipv6() {
        icmp[0] = 129;
        return icmp;
    }
    icmp[0] = if icmp[0] == 13 { 14 } else { 0 };
    icmp[2..4].fill(0);
    let sum = pnet::util::checksum(&icmp, 1);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let IpAddr::V4(from) = from else { panic!("IPv4 only") };
    let total = u16::try_from(icmp.len() + 20).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend(from.octets());
    packet.extend([10, 0, 0, 11]);
    packet.extend(icmp);
    packet
}

/// The kernel's route to an address: the one whose prefix holds it.
pub(crate) fn lookup(address: IpAddr) -> Option<RawMessage> {
    let holds = |raw: &RawMessage| {
        let route = kernel::route::lookup(raw).ok()?;
        covers(route.destination, route.prefix, address).then_some(route.prefix)
    };
    golden::lookups().into_iter().filter(|raw| holds(raw).is_some()).max_by_key(|raw| holds(raw))
}

/// Drivers that do as a VXLAN device's and a veth's do.
fn devices(links: &[LinkIndex]) -> RawDevices {
    let golden = golden::software();
    let answer = |link: LinkIndex, what: &str| {
        let name = if link == golden::VXLAN_CALICO { "vxlan.calico" } else { "enp5s0" };
        Ok(golden[&format!("{name} {what}")].first().cloned())
    };
    let device = |&link| RawDevice { link, features: answer(link, "features"), channels: answer(link, "channels") };
    RawDevices {
        devices: links.iter().map(device).collect(),
        processors: Ok("0-7\n".into()),
        took: Duration::from_millis(1),
    }
}

const READ: [Source; 10] = [
    Source::Links,
    Source::Addresses,
    Source::Routes,
    Source::Neighbours,
    Source::NeighbourTables,
    Source::Fdb,
    Source::Settings,
    Source::SysctlFiles,
    Source::HostFiles,
    Source::Counters,
];

pub(crate) fn facts() -> RawFacts {
    let files = [
        (HostFile::IpForward, "1\n"),
        (HostFile::RpFilterAll, "0\n"),
        (HostFile::NoPmtuDisc, "0\n"),
        (HostFile::BridgeNfIptables, "1\n"),
        (HostFile::BridgeNfIp6tables, "1\n"),
        (HostFile::Modules, ""),
        (HostFile::Snmp, SNMP),
        (HostFile::Netstat, NETSTAT),
        (HostFile::Udp, UDP),
        (HostFile::Udp6, UDP),
    ];
    let lacks = [
        HostFile::Snmp6,
        HostFile::NeighboursLimit,
        HostFile::NeighboursLimit6,
        HostFile::ConntrackCount,
        HostFile::ConntrackMax,
        HostFile::ConntrackStat,
    ];
    let files = files.map(|(file, text)| (file, Ok(Some(text.to_owned()))));
    RawFacts {
        links: Ok(golden::links()),
        addresses: Ok(golden::addresses()),
        routes: Ok(golden::routes()),
        neighbours: Ok(golden::neighbours()),
        neighbour_tables: Ok(golden::neighbour_tables()),
        fdb: Ok(golden::fdb()),
        pod_ends: Ok(golden::pod_ends()),
        files: files.into_iter().chain(lacks.map(|file| (file, Ok(None)))).collect(),
        sysctls: RawSysctls { files: Ok(RawFiles::default()), values: BTreeMap::new() },
        host: RawHost::nothing(),
        took: READ.map(|source| (source, Duration::from_millis(1))).into(),
    }
}

fn verdicts(report: &Report) -> Vec<(String, &'static str, &'static str, Option<u32>)> {
    let ipv4 = report.paths.iter().filter(|path| path.family == Family::Ipv4);
    ipv4.map(|path| (path.peer.clone(), path.plane.name(), path.verdict.name(), path.path_mtu.map(IpSize::bytes)))
        .collect()
}

#[test]
fn a_clean_round_measures_every_path_in_two_packets_and_reads_once() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    let published = world.round();
    let report = &published.report;
    assert_eq!(
        verdicts(report),
        [
            ("10.0.0.12".into(), "underlay", "clear", Some(1500)),
            ("10.0.0.12".into(), "overlay", "clear", Some(1450)),
            ("10.0.0.13".into(), "underlay", "clear", Some(1500)),
            ("10.0.0.13".into(), "overlay", "clear", Some(1400)),
        ],
        "the route to 10.244.3.0 has mtu 1400"
    );
    assert_eq!(world.sent.len(), 12, "two to each path of either family");
    let mut outer = world.encapsulated.clone();
    outer.sort();
    let end = |address: &str| address.parse::<IpAddr>().unwrap();
    assert_eq!(
        outer,
        [(end("10.0.0.12"), 134), (end("10.0.0.12"), 1500), (end("10.0.0.13"), 134), (end("10.0.0.13"), 1500)]
    );
    let outer = report.paths.iter().filter_map(|path| path.outer.as_ref()).map(|outer| outer.path_mtu.unwrap().bytes());
    assert!(outer.eq([1500, 1500]), "{:?}", report.paths);
    assert_eq!(world.readings, 1, "nothing was wrong, so nothing is read twice");
    assert_eq!((report.summary.status, report.summary.peers), (Status::Healthy, 4));
    assert!(report.paths.iter().all(|path| path.packets_sent == 2));
}

#[test]
fn a_tunnel_whose_answers_are_missed_is_tapped_once() {
    let filtered = |_: IpAddr, size: u32| if [134, 1500].contains(&size) { Wire::Silent } else { Wire::Answers };
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    world.encapsulated_wire = filtered;
    world.round();
    let tapped = std::mem::take(&mut world.tapped);
    assert_eq!(tapped.len(), 1, "one tunnel leads to both peers");
    world.round();
    assert_eq!(world.tapped, [], "it is told once");
}

#[test]
fn the_next_round_starts_about_one_interval_after_the_last() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    world.round();
    let first = world.time;
    world.round();
    let interval = Config::new("n1").probing.interval;
    let pause = world.time - first;
    assert!(pause >= interval.mul_f64(0.89) && pause < interval.mul_f64(1.11), "{pause:?}");
}

#[test]
fn a_black_hole_is_found_read_again_and_confirmed_by_the_second_round() {
    let hole = |to: IpAddr, size: u32| {
        let lost = to.to_string() == "10.0.0.12" && size > 1400;
        if lost { Wire::Silent } else { Wire::Answers }
    };
    let mut world = World::new(Config::new("n1"), hole);
    let first = world.round();
    assert_eq!(verdicts(&first.report)[0].2, "black_hole");
    assert_eq!(verdicts(&first.report)[0].3, Some(1400));
    assert_eq!(world.readings, 2, "the tables are read again after trouble");
    assert_eq!(world.ends, Some(Ends::All), "what a pod's end is now may be the evidence");
    assert!(!first.report.findings.iter().any(|finding| finding.code == "path-black-hole"));
    assert!(first.pending > 0, "one round is no proof");
    let second = world.round();
    let finding = second.report.findings.iter().find(|finding| finding.code == "path-black-hole").unwrap();
    assert_eq!((finding.subject.as_str(), finding.silenced_by.as_deref()), ("10.0.0.12", None));
    assert_eq!(second.report.summary.status, Status::Critical);
    world.wire = |_, _| Wire::Answers;
    let healed = world.round();
    assert!(healed.report.findings.iter().all(|finding| finding.code != "path-black-hole"));
}

#[test]
fn one_bad_path_does_not_shrink_the_cluster_but_a_small_network_does() {
    let one = |to: IpAddr, size: u32| {
        let lost = to.to_string() == "10.0.0.12" && size > 1400;
        if lost { Wire::Silent } else { Wire::Answers }
    };
    let mut world = World::new(Config::new("n1"), one);
    assert_eq!(world.round().report.summary.recommended_overlay_mtu.map(IpSize::bytes), Some(1430), "IPv6 tunnel");
    let recommended = |world: &mut World| {
        let report = world.round().report.clone();
        let tunnel = report.tunnels.iter().find(|tunnel| tunnel.link == "vxlan.calico").unwrap();
        tunnel.recommended_mtu.map(IpSize::bytes)
    };
    assert_eq!(recommended(&mut world), Some(1450));
    world.wire = |_, size| if size > 1400 { Wire::Silent } else { Wire::Answers };
    assert_eq!(recommended(&mut world), Some(1350));
}

#[test]
fn without_the_right_to_probe_every_path_says_so_and_nothing_is_healthy() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    let denied = Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() });
    world.node.on(Input::Probing(Err(denied)), at(Duration::ZERO));
    let published = world.round();
    assert!(world.sent.is_empty());
    assert_eq!(published.report.summary.status, Status::Unknown);
    let why = |path: &crate::report::PathRow| path.why.clone().unwrap_or_default();
    assert!(published.report.paths.iter().all(|path| why(path).contains("CAP_NET_RAW") && path.path_mtu.is_none()));
    assert_eq!(published.report.checks["path-black-hole"], Conclusion::NotConcluded);
    assert!(!published.telemetry.sources[&Source::Probes].1);
}

#[test]
fn files_that_were_not_given_are_neither_read_nor_failed() {
    for (reason, told) in [
        (Reason::Unsupported { why: "nothing is mounted".into() }, None),
        (Reason::Failed { what: "EIO".into() }, Some(false)),
    ] {
        let why = Unread::new(Source::HostFiles, reason);
        let mut raw = facts();
        raw.host = RawHost::unread(why);
        raw.took.insert(Source::HostFiles, Duration::ZERO);
        let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
        world.node.on(Input::Facts(Box::new(raw)), at(Duration::ZERO));
        let known = world.node.telemetry.sources.get(&Source::HostFiles).map(|(_, succeeded)| *succeeded);
        assert_eq!(known, told);
    }
}

#[test]
fn by_pings_nothing_is_encapsulated_here_and_what_that_would_tell_is_not_concluded() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    world.node.on(Input::Probing(Ok(crate::prober::Wire::Ping)), at(Duration::ZERO));
    world.encapsulated.clear();
    let rounds: Vec<_> = (0..3).map(|_| world.round()).collect();
    let report = &rounds[2].report;
    assert_eq!(report.summary.status, Status::Healthy, "{:?}", report.not_concluded);
    assert!(report.paths.iter().any(|path| path.plane == Plane::Overlay && path.path_mtu.is_some()));
    assert!(world.encapsulated.is_empty() && world.tapped.is_empty(), "no answer to it would come in");
    let told = report.not_concluded.iter().find(|row| row.code == "overlay-fragmented").unwrap();
    assert!(told.reason.contains("CAP_NET_RAW"), "{}", told.reason);
    let mut raw = World::new(Config::new("n1"), |_, _| Wire::Answers);
    raw.round();
    assert!(!raw.encapsulated.is_empty(), "raw sockets would have");
}

#[test]
fn a_table_that_cannot_be_read_is_not_an_empty_one() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    world.facts = || {
        let denied = Unread::new(Source::Links, Reason::Denied { needs: "CAP_NET_ADMIN".into() });
        RawFacts { links: Err(denied), ..facts() }
    };
    let published = world.round();
    assert_eq!(published.report.checks["link-down"], Conclusion::NotConcluded);
    let told = published.report.not_concluded.iter().find(|row| row.code == "link-down").unwrap();
    assert!(told.reason.contains("CAP_NET_ADMIN"), "{}", told.reason);
    assert!(!published.telemetry.sources[&Source::Links].1);
}

#[test]
fn a_message_cut_short_is_counted_and_told() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    world.facts = || {
        let mut links = golden::links();
        links.last_mut().unwrap().body.truncate(20);
        RawFacts { links: Ok(links), ..facts() }
    };
    let published = world.round();
    assert_eq!(published.telemetry.errors[&ErrorKind::NetlinkMalformed], 1);
    assert!(published.report.not_concluded.iter().any(|row| row.reason.contains("malformed")));
}

#[test]
fn what_the_kernel_remembers_is_shown_beside_what_was_measured() {
    let mut config = Config::new("n1");
    config.peers.fixed.push(crate::config::StaticPeer {
        name: "far".into(),
        underlay: ip("10.9.0.9").into(),
        overlay: Dual::NONE,
        pods: Vec::new(),
    });
    let mut world = World::new(config, |_, _| Wire::Answers);
    let published = world.round();
    let far = published.report.paths.iter().find(|path| path.peer == "far").unwrap();
    assert_eq!(far.cached_mtu.map(IpSize::bytes), Some(1400));
    assert_eq!(far.path_mtu.map(IpSize::bytes), Some(1500), "the memory does not fool the measurement");
}

#[test]
fn a_gateway_taken_for_want_of_a_peer_may_be_silent() {
    let mut config = Config::new("n1");
    config.peers.kernel = false;
    config.peers.gateway = true;
    let mut world = World::new(config, |_, _| Wire::Silent);
    let published = world.round();
    let report = &published.report;
    assert_eq!(report.paths.len(), 1);
    assert_eq!(report.paths[0].verdict.name(), "unknown");
    assert_eq!((report.summary.status, published.pending), (Status::Unknown, 0));
}

#[test]
fn the_last_peer_takes_its_findings_along_when_it_leaves() {
    let mut config = Config::new("n1");
    config.peers.kernel = false;
    config.peers.gateway = true;
    let mut world = World::new(config, |_, size| if size > 1400 { Wire::Silent } else { Wire::Answers });
    world.round();
    let found = |published: &Published| published.report.findings.iter().any(|one| one.code == "path-black-hole");
    assert!(found(&world.round()));
    world.facts = || RawFacts { routes: Err(Unread::new(Source::Routes, Reason::NotYet)), ..facts() };
    assert!(found(&world.round()), "who cannot look does not know that it left");
    world.facts = || RawFacts { routes: Ok(Vec::new()), ..facts() };
    let gone = world.round();
    assert!(!found(&gone) && gone.report.paths.is_empty(), "{:?}", gone.report.findings);
}

#[test]
fn new_settings_are_taken_up_at_once_and_dropped_peers_take_their_findings_along() {
    let mut config = Config::new("n1");
    config.peers.kernel = false;
    let peer = |name: &str, address: &str| crate::config::StaticPeer {
        name: name.into(),
        underlay: ip(address).into(),
        overlay: Dual::NONE,
        pods: Vec::new(),
    };
    config.peers.fixed.push(peer("old", "10.0.0.12"));
    let mut world = World::new(config.clone(), |_, size| if size > 1400 { Wire::Silent } else { Wire::Answers });
    world.round();
    assert!(world.round().report.findings.iter().any(|one| one.subject == "old"));
    config.node = "renamed".into();
    config.probing.interval = Duration::from_secs(60);
    config.peers.fixed = vec![peer("new", "10.0.0.13")];
    let told = world.time;
    world.node.on(Input::Reload(Box::new(config)), at(told));
    let published = world.round();
    assert!(world.time - told < Duration::from_secs(5), "without waiting for the interval");
    assert_eq!(published.report.node, "renamed");
    assert_eq!(published.telemetry.interval, Duration::from_secs(60));
    let peers: Vec<_> = published.report.paths.iter().map(|path| path.peer.as_str()).collect();
    assert_eq!(peers, ["new"]);
    assert!(published.report.findings.is_empty(), "{:?}", published.report.findings);
}

#[test]
fn probing_that_becomes_possible_is_taken_up_in_the_next_round() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    let failed = Unread::new(Source::Probes, Reason::Failed { what: "too many open files".into() });
    world.node.on(Input::Probing(Err(failed)), at(Duration::ZERO));
    assert_eq!(world.round().report.summary.status, Status::Unknown);
    world.node.on(Input::Probing(Ok(crate::prober::Wire::Raw)), at(world.time));
    assert_eq!(world.round().report.summary.status, Status::Healthy);
    assert_eq!(world.ports, 2, "new sockets are told the tunnels' ports");
}

#[test]
fn equal_cost_paths_are_swept_round_after_round_from_other_ports() {
    let mut world = World::new(Config::new("n1"), |_, _| Wire::Answers);
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let published = world.round();
        let swept = published.report.paths.iter().filter_map(|path| path.spread.as_ref());
        seen.extend(swept.map(|spread| format!("{spread:?}")));
    }
    assert!(seen.len() >= 4, "{seen:#?}");
    let hole = |to: IpAddr, size: u32| if to.is_ipv4() && size == 1450 { Wire::Silent } else { Wire::Answers };
    let mut world = World::new(Config::new("n1"), hole);
    world.round();
    let published = world.round();
    assert!(published.report.paths.iter().any(|path| path.spread.is_some()), "trouble keeps nobody from sweeping");
}
