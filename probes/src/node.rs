//! One node: everything that decides, behind two enums.
//!
//! The driver drains [`Node::poll`], waits for the world or for [`Node::poll_timeout`], and feeds [`Node::on`].
//!
//! A round reads the tables, finds the peers, asks the kernel for the route to each, probes, and judges. If a probe
//! met trouble the tables are read once more before judging: what the kernel learned meanwhile (a neighbour that
//! failed, a counter that rose) is the evidence.

mod cache;
mod judging;
mod rows;
mod targets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use self::cache::Cache;
use crate::config::Config;
use crate::fact::{Fact, Source, Unread};
use crate::history::History;
use crate::kernel::{self, RawFacts, RawMessage, RawRoutes};
use crate::path::{Limit, Measured, PathKey, Plane, Verdict};
use crate::peers::Directory;
use crate::prober::{Datagram, Identity, Prober, Sent, Transmit, TransmitId};
use crate::report::Published;
use crate::snapshot::{Setup, Snapshot, Topology};
use crate::tables::Tables;
use crate::telemetry::{ErrorKind, PeerSource, Telemetry, Traffic};
use crate::units::{Family, Mono, Now};

/// What the world tells.
#[derive(Debug)]
pub enum Input {
    /// The facts that [`Output::ReadFacts`] asked for.
    Facts(Box<RawFacts>),
    /// The routes that [`Output::ReadRoutes`] asked for.
    Routes(Box<RawRoutes>),
    /// A packet came in.
    Datagram(Datagram),
    /// A transmit left, or did not.
    Sent(TransmitId, Sent),
    /// Probing is impossible from here on, and why (no `CAP_NET_RAW`).
    NoProbing(Unread),
}

/// What the node wants done.
#[derive(Debug)]
pub enum Output {
    /// Read the kernel's tables and the host files; answer with [`Input::Facts`].
    ReadFacts,
    /// Look up the route to each address as the kernel would, cached path MTUs ignored (`RTM_F_FIB_MATCH`).
    ReadRoutes(Vec<IpAddr>),
    /// Send a packet or try a connection; answer with [`Input::Sent`].
    Transmit(Transmit),
    /// ICMP errors about UDP packets to these ports concern us: a tunnel's outer packets.
    WatchTunnelPorts(Vec<u16>),
    /// A round is over.
    Publish(Arc<Published>),
}

/// One node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    version: String,
    directory: Directory,
    prober: Prober,
    probing: Result<(), Unread>,
    history: History,
    cache: Cache,
    /// When the cached path MTUs were read.
    cache_read: Mono,
    telemetry: Telemetry,
    snapshot: Snapshot,
    tunnel_ports: BTreeSet<u16>,
    troubled: bool,
    phase: Phase,
    round_started: Mono,
    next_round: Mono,
    wanted: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the next round.
    Idle,
    /// The tables are being read.
    Reading,
    /// Routes to the peers are being looked up.
    Routing,
    /// Probes are under way.
    Probing,
    /// The tables are being read once more.
    Rereading,
}

impl Node {
    /// A node that starts its first round at once.
    pub fn new(config: Config, identity: Identity, version: impl Into<String>, now: Now) -> Self {
        Self {
            prober: Prober::new(identity, config.probing.packets_per_second, now.mono),
            history: History::new(config.probing.confirm_rounds),
            cache: Cache::default(),
            cache_read: now.mono,
            telemetry: fresh_telemetry(&config),
            snapshot: nothing_known(&config),
            version: version.into(),
            directory: Directory::default(),
            probing: Ok(()),
            tunnel_ports: BTreeSet::new(),
            troubled: false,
            phase: Phase::Idle,
            round_started: now.mono,
            next_round: now.mono,
            wanted: VecDeque::new(),
            config,
        }
    }

    /// Takes in what the world tells.
    pub fn on(&mut self, input: Input, now: Now) {
        match input {
            Input::Facts(raw) => self.on_facts(&raw, now),
            Input::Routes(raw) => self.on_routes(*raw, now),
            Input::Datagram(datagram) => self.prober.on_datagram(&datagram),
            Input::Sent(id, sent) => self.prober.on_sent(id, sent, now.mono),
            Input::NoProbing(unread) => self.probing = Err(unread),
        }
    }

    /// The next thing to do, if there is one now.
    pub fn poll(&mut self, now: Now) -> Option<Output> {
        if let Some(output) = self.wanted.pop_front() {
            return Some(output);
        }
        match self.phase {
            Phase::Idle if now.mono >= self.next_round => Some(self.start_round(now)),
            Phase::Probing => self.poll_probing(now),
            _ => None,
        }
    }

    /// When to poll again although nothing happened; `None` while an answer from the driver is awaited.
    pub fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Idle => Some(self.next_round),
            Phase::Probing => self.prober.poll_timeout(),
            Phase::Reading | Phase::Routing | Phase::Rereading => None,
        }
    }

    fn start_round(&mut self, now: Now) -> Output {
        self.phase = Phase::Reading;
        self.round_started = now.mono;
        self.next_round = now.mono + self.config.probing.interval;
        Output::ReadFacts
    }

    fn on_facts(&mut self, raw: &RawFacts, now: Now) {
        let tables = Tables::decode(raw);
        self.count_reading(raw, &tables);
        match self.phase {
            Phase::Reading => self.find_peers(tables, now),
            Phase::Rereading => {
                let exceptions = self.snapshot.tables.exceptions.clone();
                self.snapshot.tables = Tables { exceptions, ..tables };
                self.snapshot.topology = self.topology();
                self.judge(now);
            }
            Phase::Idle | Phase::Routing | Phase::Probing => {}
        }
    }

    fn find_peers(&mut self, tables: Tables, now: Now) {
        let merged = self.directory.update(&self.config.node, &self.config.peers, &tables);
        let succeeded = tables.links.known().is_some().then_some(now.wall);
        for (source, peers) in merged.sources {
            let known = self.telemetry.peer_sources.entry(source).or_insert(PeerSource { peers, succeeded: None });
            *known = PeerSource { peers, succeeded: succeeded.or(known.succeeded) };
        }
        self.snapshot.counters_before = tables.counters.clone();
        if !self.troubled {
            self.snapshot.counters_untroubled = tables.counters.clone();
        }
        self.snapshot.setup = Setup::new(&tables);
        self.snapshot.peers = merged.peers;
        self.snapshot.tables = tables;
        self.phase = Phase::Routing;
        self.wanted.push_back(Output::ReadRoutes(self.addresses_to_look_up()));
    }

    fn addresses_to_look_up(&self) -> Vec<IpAddr> {
        let tables = &self.snapshot.tables;
        let remotes = tables.links().iter().flat_map(|link| {
            let fixed = link.tunnel.as_ref().and_then(|tunnel| tunnel.remote);
            tables.remotes_of(link.index).map(|(_, address)| address).chain(fixed)
        });
        let peers = self.snapshot.peers.iter().flat_map(|peer| peer.addresses());
        let wanted: BTreeSet<_> = peers.chain(remotes).filter(|address| !address.is_multicast()).collect();
        wanted.into_iter().collect()
    }

    fn on_routes(&mut self, raw: RawRoutes, now: Now) {
        if self.phase != Phase::Routing {
            return;
        }
        let decode =
            |answer: Result<RawMessage, Unread>| Fact::from(answer.and_then(|raw| kernel::route::lookup(&raw)));
        self.snapshot.lookups = raw.answers.into_iter().map(|(address, answer)| (address, decode(answer))).collect();
        self.snapshot.tables.take_exceptions(&raw.exceptions);
        self.cache_read = now.mono;
        for (source, took) in raw.took {
            self.telemetry.sources.insert(source, (took, source != Source::Exceptions || raw.exceptions.is_ok()));
        }
        self.snapshot.topology = self.topology();
        self.watch_tunnel_ports();
        self.snapshot.paths = targets::paths(&self.snapshot, &self.probing);
        self.phase = Phase::Probing;
        if self.probing.is_ok() {
            targets::all(&self.snapshot).into_iter().for_each(|target| self.prober.start(target, now.mono));
        }
    }

    fn topology(&self) -> Topology {
        Topology::new(&self.snapshot.tables, &self.snapshot.peers, &self.snapshot.lookups)
    }

    fn watch_tunnel_ports(&mut self) {
        let tunnels = self.snapshot.tables.links().iter().filter_map(|link| link.tunnel.as_ref());
        let ports: BTreeSet<u16> = tunnels.filter_map(|tunnel| tunnel.port).collect();
        if ports != self.tunnel_ports {
            self.wanted.push_back(Output::WatchTunnelPorts(ports.iter().copied().collect()));
            self.tunnel_ports = ports;
        }
    }

    fn poll_probing(&mut self, now: Now) -> Option<Output> {
        self.take_finished(now);
        if let Some(transmit) = self.prober.poll_transmit(now.mono) {
            return Some(Output::Transmit(transmit));
        }
        self.take_finished(now);
        if !self.prober.is_idle() {
            return None;
        }
        self.troubled = self.met_trouble();
        if self.troubled {
            self.phase = Phase::Rereading;
            return Some(Output::ReadFacts);
        }
        self.judge(now);
        self.wanted.pop_front()
    }

    fn take_finished(&mut self, now: Now) {
        while let Some((key, measured)) = self.prober.poll_measured(now.mono) {
            self.telemetry.traffic.entry((key.plane, key.family())).or_default().count(&measured);
            if let Some(path) = self.snapshot.paths.get_mut(&key) {
                let measured = Measured { verdict: own_words(measured.verdict, &self.snapshot.tables), ..measured };
                path.measured = Fact::Known(measured);
                path.probed_at = Some(now.wall);
            }
        }
    }

    fn met_trouble(&self) -> bool {
        let mut measured = self.snapshot.paths.values().filter_map(|path| path.measured.known());
        measured.any(|measured: &Measured| !matches!(measured.verdict, Verdict::Clear { .. } | Verdict::Unknown { .. }))
    }

    fn count_reading(&mut self, raw: &RawFacts, tables: &Tables) {
        *self.telemetry.errors.entry(ErrorKind::NetlinkMalformed).or_default() += tables.malformed.len() as u64;
        for (&source, &took) in &raw.took {
            let whole = !tables.malformed.iter().any(|(malformed, _)| *malformed == source);
            self.telemetry.sources.insert(source, (took, whole && raw.succeeded(source)));
        }
    }
}

/// A limit that this machine itself signals – a tunnel whose outer packet does not fit – has no hop's address.
fn own_words(verdict: Verdict, tables: &Tables) -> Verdict {
    let own = |by: Limit| Limit { address: by.address.filter(|&address| !tables.is_own(address)), ..by };
    match verdict {
        Verdict::Limited { mtu, by } => Verdict::Limited { mtu, by: own(by) },
        Verdict::BlackHole { carries, drops, by } => Verdict::BlackHole { carries, drops, by: by.map(own) },
        other => other,
    }
}

fn nothing_known(config: &Config) -> Snapshot {
    let tables = Tables::unread();
    Snapshot {
        counters_before: tables.counters.clone(),
        counters_untroubled: tables.counters.clone(),
        setup: Setup::default(),
        topology: Topology::default(),
        tables,
        peers: Vec::new(),
        lookups: BTreeMap::new(),
        paths: BTreeMap::<PathKey, _>::new(),
        expect: config.expect.clone(),
    }
}

fn fresh_telemetry(config: &Config) -> Telemetry {
    let families = [Family::Ipv4, Family::Ipv6];
    let all = Plane::ALL.into_iter().flat_map(|plane| families.map(|family| ((plane, family), Traffic::default())));
    Telemetry {
        traffic: all.collect(),
        errors: ErrorKind::ALL.into_iter().map(|kind| (kind, 0)).collect(),
        interval: config.probing.interval,
        ..Telemetry::default()
    }
}

impl Traffic {
    fn count(&mut self, measured: &Measured) {
        self.sent += u64::from(measured.reference_sent);
        self.lost += u64::from(measured.reference_lost);
        self.searching += u64::from(measured.sent.saturating_sub(measured.reference_sent));
        if let Some(round_trip) = measured.round_trip {
            self.round_trips.observe(round_trip);
        }
    }
}

impl RawFacts {
    fn succeeded(&self, source: Source) -> bool {
        let mut files = self.files.iter().filter(|(file, _)| file.source() == source);
        match source {
            Source::Links => self.links.is_ok(),
            Source::Addresses => self.addresses.is_ok(),
            Source::Routes => self.routes.is_ok(),
            Source::Neighbours => self.neighbours.is_ok(),
            Source::Fdb => self.fdb.is_ok(),
            Source::Settings | Source::Counters => files.all(|(_, text)| text.is_ok()),
            Source::Exceptions | Source::Lookup | Source::Probes => true,
        }
    }
}

#[cfg(test)]
mod tests;
