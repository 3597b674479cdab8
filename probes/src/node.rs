//! One node: everything that decides, behind two enums.
//!
//! The driver drains [`Node::poll`], waits for the world or for [`Node::poll_timeout`], and feeds [`Node::on`].
//!
//! A round reads the tables, finds the peers, asks the kernel for the route to each, probes those whose turn it is, and
//! judges. If a probe met trouble the tables are read once more before judging: what the kernel learned meanwhile (a
//! neighbour that failed, a counter that rose) is the evidence.
//!
//! At the end of a round bulk is moved over some of the tunnel's paths; no round waits for that.
//!
//! Between rounds and while probes are under way the kernel tells of changes. A change is looked at soon: the tables and
//! routes are read, and what was read is judged and published beside what was measured last. Where the change moved the
//! ground that a measurement stands on, the next round comes early.

mod beside;
mod cache;
pub mod cards;
mod carry;
#[cfg(test)]
mod crowd;
mod declared;
mod devices;
mod encapsulation;
mod ground;
mod judging;
mod look;
mod pacing;
mod reading;
pub(crate) mod rows;
mod settings;
pub mod sweeps;
pub(crate) mod targets;
mod transfers;
mod turns;
pub mod vips;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Expect};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::history::{History, Occasion};
use crate::kernel::ethtool::{Devices, RawDevices};
use crate::kernel::pod_end::Ends;
use crate::kernel::{LinkIndex, Query, RawFacts, RawMessage, RawRoutes};
use crate::path::{Learned, Measured, PathKey, Plane, Verdict};
use crate::peers::Directory;
use crate::peers::announced::Announced;
use crate::prober::{Datagram, Identity, Prober, Sent, Transmit, TransmitId, Wire};
use crate::report::Published;
use crate::schedule::JITTER;
use crate::snapshot::{Setup, Snapshot, Topology};
use crate::tables::Tables;
use crate::telemetry::{ErrorKind, Telemetry, Traffic};
use crate::transfer::{Transfer, Transferred};
use crate::units::{Family, Mono, Now};
use crate::windows::Windows;

use cache::Cache;
use cards::{Answered, Ask, Cards};
use devices::Readings;
use ground::Ground;
use look::Look;
use pacing::Pacing;
use sweeps::Sweeps;
use transfers::Transfers;
use turns::Turns;

/// How soon a round may follow the last one, if something moved.
const SOONEST: Duration = Duration::from_secs(1);

/// What the world tells.
#[derive(Debug)]
pub enum Input {
    /// The facts that [`Output::ReadFacts`] asked for.
    Facts(Box<RawFacts>),
    /// The routes that [`Output::ReadRoutes`] asked for.
    Routes(Box<RawRoutes>),
    /// What [`Output::ReadDevices`] asked for.
    Devices(Box<RawDevices>),
    /// The kernel's multicast messages: something may have changed.
    Changed(Vec<RawMessage>),
    /// Some multicast messages were lost.
    Overrun,
    /// Whether changes are told from here on, and why not.
    Listening(Result<(), Unread>),
    /// A packet came in.
    Datagram(Datagram),
    /// A transmit left, or did not.
    Sent(TransmitId, Sent),
    /// What came of [`Output::Transfer`], up to ten seconds later.
    Transferred(Box<Transferred>),
    /// What came of [`Output::AskCard`], up to some seconds later.
    Card(Box<Answered>),
    /// What came of [`Output::AskVip`], a second later.
    Vip(Box<vips::Heard>),
    /// By what probes leave from here on, or why none can (no `CAP_NET_RAW`).
    Probing(Result<Wire, Unread>),
    /// What the Kubernetes API announces, or that it does not any more.
    Announced(Box<Announced>),
    /// The operator changed the settings.
    Reload(Box<Config>),
}

/// What the node wants done.
#[derive(Debug)]
pub enum Output {
    /// Read the kernel's tables and the host files, and ask about these pods' ends; answer with [`Input::Facts`].
    ReadFacts(Ends),
    /// Ask which way each packet would take, cached path MTUs ignored (`RTM_F_FIB_MATCH`).
    ReadRoutes(Vec<Query>),
    /// Ask the drivers of these links for their features and queues; answer with [`Input::Devices`]. Nothing waits for it.
    ReadDevices(Vec<LinkIndex>),
    /// Send a packet or try a connection; answer with [`Input::Sent`].
    Transmit(Transmit),
    /// Move bulk with a peer's agent, both ways; answer with [`Input::Transferred`]. Nothing waits for it.
    Transfer(Transfer),
    /// Ask a peer's agent for its card; answer with [`Input::Card`]. Nothing waits for it.
    AskCard(Ask),
    /// Ask a link who has kube-vip's address; answer with [`Input::Vip`]. Nothing waits for it.
    AskVip(vips::Ask),
    /// ICMP errors about UDP packets to these ports concern us: a tunnel's outer packets.
    WatchTunnelPorts(Vec<u16>),
    /// What comes out of these tunnels is to be looked at before this machine's filters see it: answers were missed.
    TapTunnels(Vec<LinkIndex>),
    /// A round is over, or a look at what changed.
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
    tapped: BTreeSet<LinkIndex>,
    troubled: bool,
    probing_now: bool,
    asked: Option<Asked>,
    look: Look,
    readings: Readings,
    ground: Ground,
    transfers: Transfers,
    cards: Cards,
    vips: vips::Vips,
    turns: Turns,
    pacing: Pacing,
    sweeps: Sweeps,
    chance: u64,
    round_started: Mono,
    next_round: Mono,
    wanted: VecDeque<Output>,
}

/// What a reading is for. One is under way at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A round begins.
    Round,
    /// Probes met trouble.
    Trouble,
    /// Something changed.
    Look,
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
            snapshot: nothing_known(config.expect.clone()),
            version: version.into(),
            directory: Directory::default(),
            probing: Ok(()),
            tunnel_ports: BTreeSet::new(),
            tapped: BTreeSet::new(),
            troubled: false,
            probing_now: false,
            asked: None,
            look: Look::default(),
            readings: Readings::default(),
            ground: Ground::default(),
            transfers: Transfers::new(identity.secret, now.mono),
            cards: Cards::default(),
            vips: vips::Vips::default(),
            turns: Turns::default(),
            pacing: Pacing::new(now.mono),
            sweeps: Sweeps::default(),
            chance: identity.secret,
            round_started: now.mono,
            next_round: now.mono,
            wanted: VecDeque::new(),
            config,
        }
    }

    /// Takes in what the world tells.
    pub fn on(&mut self, input: Input, now: Now) {
        self.wake(now.mono);
        match input {
            Input::Facts(raw) => self.on_facts(&raw, now),
            Input::Routes(raw) => self.on_routes(*raw, now),
            Input::Devices(raw) => self.on_devices(&raw, now),
            Input::Changed(messages) => self.on_changed(&messages, now),
            Input::Overrun => {
                self.telemetry.overruns += 1;
                self.readings.doubt();
                self.look.news(now.mono);
            }
            Input::Listening(listening) => {
                let before = self.telemetry.sources.insert(Source::Events, (Duration::ZERO, listening.is_ok()));
                // What happened while nobody listened is not known.
                if before.is_some() {
                    self.look.news(now.mono);
                }
            }
            Input::Datagram(datagram) => self.prober.on_datagram(&datagram),
            Input::Sent(id, sent) => self.prober.on_sent(id, sent, now.mono),
            Input::Transferred(transferred) => self.on_transferred(&transferred, now),
            Input::Vip(heard) => self.on_vip(&heard, now),
            Input::Card(answered) => self.on_card(*answered, now),
            Input::Probing(probing) => {
                self.probing = probing.map(|wire| self.snapshot.wire = wire);
                // Sockets that were opened anew know of no port.
                self.tunnel_ports.clear();
                self.tapped.clear();
            }
            Input::Announced(announced) => self.on_announced(*announced, now),
            Input::Reload(config) => self.reload(*config, now),
        }
    }

    /// The first list brings names for peers that are there already. Whatever comes later waits for the next round: while
    /// agents are replaced one by one there is news all the time.
    fn on_announced(&mut self, announced: Announced, now: Now) {
        if self.directory.announce(announced, now) {
            self.hasten(now);
        }
    }

    /// The next thing to do, if there is one now.
    pub fn poll(&mut self, now: Now) -> Option<Output> {
        self.wake(now.mono);
        if let Some(output) = self.wanted.pop_front() {
            return Some(output);
        }
        if self.asked.is_some() {
            return None;
        }
        if self.look_due().is_some_and(|due| due <= now.mono) {
            return Some(self.start_look(now));
        }
        self.take_finished(now);
        if let Some(transmit) = self.prober.poll_transmit(now.mono) {
            self.pacing.sent();
            return Some(Output::Transmit(transmit));
        }
        self.take_finished(now);
        if self.probing_now {
            return if self.prober.is_round_over() { self.end_round(now) } else { None };
        }
        (now.mono >= self.next_round).then(|| self.start_round(now))
    }

    /// When to poll again although nothing happened; `None` while an answer from the driver is awaited.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if self.asked.is_some() {
            return None;
        }
        let round = (!self.probing_now).then_some(self.next_round);
        round.into_iter().chain(self.prober.poll_timeout()).chain(self.look_due()).min()
    }

    /// When to look at what changed. Before the first round is over there is nothing to compare it with.
    fn look_due(&self) -> Option<Mono> {
        self.telemetry.round_ended.and_then(|_| self.look.due())
    }

    fn start_look(&mut self, now: Now) -> Output {
        self.look.begin(now.mono);
        self.asked = Some(Asked::Look);
        Output::ReadFacts(Ends::Changed)
    }

    fn start_round(&mut self, now: Now) -> Output {
        self.asked = Some(Asked::Round);
        self.round_started = now.mono;
        self.next_round = now.mono + self.jittered(self.config.probing.interval);
        Output::ReadFacts(Ends::All)
    }

    /// A time up to a tenth shorter or longer, so that the nodes of a cluster do not probe in step.
    fn jittered(&mut self, time: Duration) -> Duration {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let parts = u32::try_from(self.chance >> 33).unwrap_or(u32::MAX) % 2001;
        time.mul_f64(1.0 + JITTER * (f64::from(parts) / 1000.0 - 1.0))
    }

    /// The next round comes as soon as it may.
    fn hasten(&mut self, now: Now) {
        self.next_round = self.next_round.min(now.mono.max(self.round_started + SOONEST));
    }

    /// New settings hold from here on; a round that is under way ends as it began, and the next follows soon. Peers that
    /// are no longer named take their findings along then.
    fn reload(&mut self, config: Config, now: Now) {
        self.prober.limit(config.probing.packets_per_second, now.mono);
        self.history.confirm_after(config.probing.confirm_rounds);
        self.telemetry.interval = config.probing.interval;
        self.snapshot.expect = config.expect.clone();
        if config.probing.transfers != self.config.probing.transfers {
            self.snapshot.paths.values_mut().for_each(|path| path.transfer = Fact::Absent);
        }
        self.config = config;
        self.hasten(now);
    }

    fn on_changed(&mut self, messages: &[RawMessage], now: Now) {
        self.readings.heed(messages);
        let told = || messages.iter().any(|message| self.snapshot.tables.is_news(message));
        if self.look.is_wanted() || told() {
            self.look.news(now.mono);
        }
    }

    fn end_round(&mut self, now: Now) -> Option<Output> {
        self.probing_now = false;
        self.troubled = self.met_trouble();
        if self.troubled {
            self.asked = Some(Asked::Trouble);
            return Some(Output::ReadFacts(Ends::All));
        }
        self.judge(Occasion::Round, now);
        self.wanted.pop_front()
    }

    fn take_finished(&mut self, now: Now) {
        while let Some((key, learned)) = self.prober.poll_learned(now.mono) {
            self.learn(&key, learned, now);
        }
    }

    fn learn(&mut self, key: &PathKey, learned: Learned, now: Now) {
        self.snapshot.windows.probed(&learned);
        if let Some(path) = self.snapshot.beside.get_mut(key) {
            return path.take(learned, &self.snapshot.tables, now);
        }
        let Some(path) = self.snapshot.paths.get_mut(key) else { return };
        if let Learned::Mtu(measured) = &learned {
            self.telemetry.traffic.entry((key.plane, key.family())).or_default().count(measured);
        } else if let Learned::Spread(_) = learned {
            self.sweeps.end(key);
        }
        path.take(learned, &self.snapshot.tables, now);
    }

    fn met_trouble(&self) -> bool {
        let mut measured = self.snapshot.paths.values().filter_map(|path| path.measured.known());
        measured.any(|measured: &Measured| !matches!(measured.verdict, Verdict::Clear { .. } | Verdict::Unknown { .. }))
    }
}

/// A snapshot before anything was read.
pub(crate) fn nothing_known(expect: Expect) -> Snapshot {
    let tables = Tables::unread();
    Snapshot {
        counters_before: tables.counters.clone(),
        counters_untroubled: tables.counters.clone(),
        setup: Setup::default(),
        topology: Topology::default(),
        tables,
        devices: Devices::unread(),
        windows: Windows::default(),
        peers: Vec::new().into(),
        lookups: BTreeMap::new(),
        outer: BTreeMap::new(),
        paths: BTreeMap::<PathKey, _>::new(),
        beside: BTreeMap::new(),
        hearing: None,
        pace: Fact::Absent,
        vips: Vec::new(),
        fellows: Fact::Unread(Unread::new(Source::Agents, Reason::NotYet)),
        wire: Wire::Raw,
        expect,
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
        self.searching += u64::from(measured.packets().saturating_sub(measured.reference_sent));
        if let Some(round_trip) = measured.round_trip {
            self.round_trips.observe(round_trip);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
