//! A whole node, told anything in any order: facts that are damaged, packets that are forged, answers that never come.
//!
//! - It goes on: whatever it is told, the next thing to do is found, and there is an end to what it wants at one instant.
//! - Told the same twice it says the same twice.
//! - What it reports is no more than was sent: a path MTU is at most what was expected, and clear means just that much.
//! - It never sends more packets than its budget allows.
//!
//! The input is a script. It starts from the tables of a real kernel, so that there are peers and tunnels to measure.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use harness::{Choices, messages};
use libfuzzer_sys::fuzz_target;
use probes::config::Config;
use probes::fact::{Reason, Source, Unread};
use probes::kernel::ethtool::{RawDevice, RawDevices};
use probes::kernel::{HostFile, LinkIndex, Query, RawFacts, RawMessage, RawRoutes, route};
use probes::node::{Input, Node, Output};
use probes::path::VerdictName;
use probes::prober::{Datagram, Identity, Means, Sent, Transmit, Wire};
use probes::report::Report;
use probes::tables::covers;
use probes::units::{Family, IpSize, Mono, Now};

const LINKS: &[u8] = include_bytes!("../../src/kernel/golden/links.bin");
const ADDRESSES: &[u8] = include_bytes!("../../src/kernel/golden/addresses.bin");
const ROUTES: &[u8] = include_bytes!("../../src/kernel/golden/routes.bin");
const NEIGHBOURS: &[u8] = include_bytes!("../../src/kernel/golden/neighbours.bin");
const NEIGHBOUR_TABLES: &[u8] = include_bytes!("../../src/kernel/golden/neighbour_tables.bin");
const FDB: &[u8] = include_bytes!("../../src/kernel/golden/fdb.bin");
const LOOKUPS: &[u8] = include_bytes!("../../src/kernel/golden/lookups.bin");
const EXCEPTIONS: &[u8] = include_bytes!("../../src/kernel/golden/exceptions.bin");

/// Outputs that a node may want at one instant. Rounds are a second apart at least, and a round of the three peers of
/// these tables takes some hundred packets.
const AT_ONCE: usize = 5_000;

fuzz_target!(|bytes: &[u8]| {
    let first = World::played(bytes);
    assert_eq!(first, World::played(bytes), "told the same, it says something else");
});

struct World<'a> {
    node: Node,
    time: Duration,
    script: Choices<'a>,
    /// Packets that left and were not spoken of again, the last ones.
    left: Vec<Transmit>,
    sent: u64,
    said: String,
}

impl<'a> World<'a> {
    /// Plays a script to its end and returns everything that was said.
    fn played(script: &'a [u8]) -> String {
        let config = Config::new("fuzz");
        let identity = Identity { id: 7, secret: 42, first_port: 61_440 };
        let node = Node::new(config, identity, "0", at(Duration::ZERO));
        let script = Choices(script);
        let mut world = World { node, time: Duration::ZERO, script, left: Vec::new(), sent: 0, said: String::new() };
        for _ in 0..400 {
            world.drain();
            if world.script.is_over() {
                break;
            }
            world.step();
        }
        world.said
    }

    fn tell(&mut self, input: Input) {
        self.node.on(input, at(self.time));
    }

    fn drain(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(output) = self.node.poll(at(self.time)) else { return };
            self.act(output);
        }
        panic!("it wants something without end");
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::ReadFacts(_) => {
                let facts = Box::new(self.facts());
                self.tell(Input::Facts(facts));
            }
            Output::ReadRoutes(queries) => {
                let answers = queries.into_iter().map(|query| (query, Ok(self.way(query)))).collect();
                let exceptions = Ok(self.damaged(EXCEPTIONS));
                let raw = RawRoutes { answers, exceptions, took: [].into() };
                self.tell(Input::Routes(Box::new(raw)));
            }
            Output::ReadDevices(links) => {
                let devices = links.into_iter().map(|link| self.device(link)).collect();
                let raw = RawDevices { devices, processors: Ok("0-15\n".into()), took: Duration::ZERO };
                self.tell(Input::Devices(Box::new(raw)));
            }
            Output::Transmit(transmit) => self.transmit(transmit),
            Output::Publish(published) => {
                plausible(&published.report);
                self.said = serde_json::to_string(&*published.report).expect("a report is JSON");
            }
            Output::Transfer(_)
            | Output::AskCard(_)
            | Output::AskVip(_)
            | Output::WatchTunnelPorts(_)
            | Output::TapTunnels(_) => {}
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        if !matches!(transmit.means, Means::Tcp { .. }) {
            self.sent += 1;
            // A second's worth may be saved up.
            let budget = 200 * (self.time.as_secs() + 2);
            assert!(self.sent <= budget, "{} packets in {:?}", self.sent, self.time);
        }
        let sent = match self.script.byte() {
            0..200 if matches!(transmit.means, Means::Tcp { .. }) => Sent::TcpSilent,
            0..230 => Sent::Ok,
            230..240 => Sent::TcpAnswered,
            errno => Sent::Failed(i32::from(errno) - 240),
        };
        self.tell(Input::Sent(transmit.id, sent));
        if self.left.len() == 64 {
            self.left.remove(0);
        }
        self.left.push(transmit);
    }

    fn step(&mut self) {
        match self.script.byte() % 12 {
            0..4 => self.answer(),
            4 | 5 => self.complain(),
            6 => {
                let (from, bytes) = (self.somebody(), self.script.bytes().to_vec());
                self.receive(from, bytes);
            }
            7 => {
                let messages = messages(self.script.bytes());
                self.tell(Input::Changed(messages));
            }
            8 => self.tell(Input::Overrun),
            9 => {
                let denied = Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() });
                let able = match self.script.byte() & 3 {
                    0 => Ok(Wire::Raw),
                    1 => Ok(Wire::Ping),
                    _ => Err(denied),
                };
                self.tell(Input::Probing(able));
            }
            _ => self.sleep(),
        }
    }

    /// Time goes on: to the next thing to do, or as far as the script says.
    fn sleep(&mut self) {
        let due = self.node.poll_timeout().map(Mono::since_start).filter(|due| *due > self.time);
        let on = Duration::from_millis(1 << (self.script.byte() % 15));
        self.time = due.unwrap_or(self.time + on).min(self.time + on.max(Duration::from_secs(1)));
    }

    fn somebody(&mut self) -> IpAddr {
        let which = self.script.of(self.left.len() + 1);
        self.left.get(which).map_or(IpAddr::from([10, 0, 0, 12]), |transmit| transmit.to.ip())
    }

    /// Something that was sent. Mostly it is spoken of once.
    fn sent(&mut self) -> Option<Transmit> {
        let which = self.script.of(self.left.len());
        let again = self.script.byte() & 7 == 7;
        if again { self.left.get(which).cloned() } else { (which < self.left.len()).then(|| self.left.remove(which)) }
    }

    /// The reply to something that was sent, as it should be but for what the script spoils. Where nothing was, time
    /// goes on.
    fn answer(&mut self) {
        let Some(Transmit { to, means, .. }) = self.sent() else { return self.sleep() };
        let Means::Icmp { head, padding } = means else { return };
        let mut icmp = head;
        icmp.resize(icmp.len() + padding as usize, 0);
        icmp[0] = match (to.is_ipv6(), icmp[0]) {
            (true, _) => 129,
            (false, 13) => 14,
            _ => 0,
        };
        self.spoil(&mut icmp);
        let packet = if to.is_ipv4() { ipv4(to.ip(), &mut icmp) } else { icmp };
        self.receive(to.ip(), packet);
    }

    /// An error about something that was sent.
    fn complain(&mut self) {
        let Some(Transmit { to, means, .. }) = self.sent() else { return };
        let (protocol, body) = match means {
            Means::Icmp { head, .. } => (if to.is_ipv6() { 58 } else { 1 }, head),
            Means::Udp { source, head, padding } => {
                let length = u16::try_from(head.len() + padding as usize + 8).unwrap_or(u16::MAX);
                let ports = [source, to.port(), length, 0].map(u16::to_be_bytes);
                (17, [ports.as_flattened(), &head].concat())
            }
            Means::Tcp { .. } => return,
        };
        let mut quote = vec![0; if to.is_ipv6() { 40 } else { 20 }];
        match to.ip() {
            IpAddr::V4(to) => {
                quote[0] = 0x45;
                quote[9] = protocol;
                quote[16..20].copy_from_slice(&to.octets());
            }
            IpAddr::V6(to) => {
                quote[0] = 0x60;
                quote[6] = protocol;
                quote[24..40].copy_from_slice(&to.octets());
            }
        }
        quote.extend(body);
        let mtu = self.script.word().to_be_bytes();
        let (kind, code) = match (to.is_ipv6(), self.script.byte() % 4) {
            (false, 0 | 1) => (3, 4),
            (false, 2) => (11, 0),
            (false, _) => (3, self.script.byte() % 16),
            (true, 0 | 1) => (2, 0),
            (true, 2) => (3, 0),
            (true, _) => (1, self.script.byte() % 8),
        };
        let mut icmp = [&[kind, code, 0, 0, 0, 0][..], &mtu, &quote].concat();
        self.spoil(&mut icmp);
        let by = if self.script.byte() & 1 == 0 { to.ip() } else { self.somebody() };
        let packet = if to.is_ipv4() && by.is_ipv4() { ipv4(by, &mut icmp) } else { icmp };
        self.receive(by, packet);
    }

    fn spoil(&mut self, bytes: &mut [u8]) {
        if self.script.byte() & 7 == 7 {
            let at = self.script.of(bytes.len());
            bytes[at] ^= self.script.byte();
        }
    }

    fn receive(&mut self, from: IpAddr, bytes: Vec<u8>) {
        let said = self.script.byte();
        let fragment = (said & 15 == 15).then(|| IpSize::new(u32::from(self.script.word())));
        let waited = (said & 16 != 0).then_some(Duration::from_micros(u64::from(said)));
        self.tell(Input::Datagram(Datagram { from, bytes, at: at(self.time).mono, waited, fragment }));
    }

    fn facts(&mut self) -> RawFacts {
        let files = HostFile::ALL.into_iter().map(|file| (file, Ok(Some(text(file).to_owned()))));
        RawFacts {
            links: Ok(self.damaged(LINKS)),
            addresses: Ok(self.damaged(ADDRESSES)),
            routes: Ok(self.damaged(ROUTES)),
            neighbours: Ok(self.damaged(NEIGHBOURS)),
            neighbour_tables: Ok(self.damaged(NEIGHBOUR_TABLES)),
            pod_ends: Ok(Vec::new()),
            fdb: Ok(self.damaged(FDB)),
            files: files.collect(),
            ..RawFacts::unread()
        }
    }

    /// A driver without features and queues, or one that answers with whatever the script says.
    fn device(&mut self, link: LinkIndex) -> RawDevice {
        let mut answer = || {
            let body = self.script.bytes().to_vec();
            Ok((!body.is_empty()).then_some(RawMessage { kind: 0, body }))
        };
        RawDevice { link, features: answer(), channels: answer() }
    }

    /// The kernel's route to an address, or none.
    fn way(&mut self, query: Query) -> Option<RawMessage> {
        let holds = |raw: &RawMessage| {
            let route = route::lookup(raw).ok()?;
            covers(route.destination, route.prefix, query.to).then_some(route.prefix)
        };
        self.damaged(LOOKUPS).into_iter().filter(|raw| holds(raw).is_some()).max_by_key(holds)
    }

    /// A golden table, in which the script may change a byte of one message or leave one out.
    fn damaged(&mut self, file: &[u8]) -> Vec<RawMessage> {
        let mut messages = messages(file);
        let how = self.script.byte();
        if how & 0xe0 != 0xe0 {
            return messages;
        }
        let which = self.script.of(messages.len());
        if how & 1 == 0 {
            messages.remove(which);
        } else {
            let body = &mut messages[which].body;
            let at = self.script.of(body.len());
            body[at] = self.script.byte();
        }
        messages
    }
}

/// What every report has to keep to.
fn plausible(report: &Report) {
    for path in &report.paths {
        let (found, expected) = (path.path_mtu, path.expected_mtu);
        if let Some((found, expected)) = found.zip(expected) {
            assert!(found <= expected, "{path:?}");
            assert!(path.verdict != VerdictName::Clear || found == expected, "{path:?}");
        }
        let without = matches!(path.verdict, VerdictName::Unknown | VerdictName::Unreachable);
        assert!(!without || found.is_none(), "{path:?}");
        assert!(path.loss_ratio.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)), "{path:?}");
        assert!(path.round_trip_seconds.is_none_or(|seconds| seconds >= 0.0), "{path:?}");
    }
}

fn at(time: Duration) -> Now {
    let passed = jiff::SignedDuration::try_from(time).expect("a script is no longer than some hours");
    Now { mono: Mono::new(time), wall: jiff::Timestamp::UNIX_EPOCH + passed }
}

const fn text(file: HostFile) -> &'static str {
    match file {
        HostFile::IpForward | HostFile::BridgeNfIptables | HostFile::BridgeNfIp6tables => "1\n",
        HostFile::RpFilterAll | HostFile::NoPmtuDisc | HostFile::ProxyArpAll | HostFile::Ipv6Forwarding => "0\n",
        HostFile::NeighboursLimit | HostFile::NeighboursLimit6 => "1024\n",
        HostFile::ConntrackCount => "300\n",
        HostFile::ConntrackMax => "320\n",
        HostFile::ConntrackStat => "drop early_drop insert_failed\n00000000 00000001 00000000\n",
        HostFile::Modules | HostFile::Udp | HostFile::Udp6 => "",
        HostFile::Snmp6 => "Ip6FragFails 0\n",
        HostFile::Snmp => "Ip: InAddrErrors FragFails\nIp: 0 0\n",
        HostFile::Netstat => "TcpExt: IPReversePathFilter\nTcpExt: 0\n",
    }
}

/// An IPv4 packet around an ICMP message, whose checksum is made right.
fn ipv4(from: IpAddr, icmp: &mut [u8]) -> Vec<u8> {
    let IpAddr::V4(from) = from else { return icmp.to_vec() };
    if icmp.len() < 8 {
        return icmp.to_vec();
    }
    icmp[2..4].fill(0);
    let sum = icmp.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = sum.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    icmp[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let header = Family::Ipv4.header() as usize;
    let total = u16::try_from(icmp.len() + header).unwrap_or(u16::MAX).to_be_bytes();
    let head = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 1, 0, 0];
    [&head[..], &from.octets(), &[10, 0, 0, 11], icmp].concat()
}
