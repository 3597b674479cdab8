//! A survey: the paths to addresses that somebody named, each measured once. It is what `mtuscope probe` runs.
//!
//! A [`Node`](crate::node::Node) goes round for ever, finds its peers, judges and remembers. A survey has none of that,
//! and reads accordingly little: links and own addresses, and the route to each target. Only where a route leads into a
//! tunnel does it read the other tables, for what the tunnel adds and where its far end is. A machine with a full
//! routing table, or with ten thousand neighbours, answers a question about one path as quickly as any.
//!
//! The size comes first; source ports are swept only of paths that carry something ([`Wanted::ports`]), and a survey,
//! unlike a node's round, waits for that. How many paths are under way at a time is what [`window`] argues. Whoever has no
//! more time calls [`Survey::give_up`]: what is not measured then is unknown, and says why.

mod reading;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use crate::config::Expect;
use crate::fact::{Fact, Source, Unread};
use crate::kernel::{Query, RawFacts, RawRoutes};
use crate::node::{nothing_known, rows, targets};
use crate::path::{Learned, Measured, PathKey, Target, Task, Verdict};
use crate::prober::{Datagram, Identity, Prober, Sent, Transmit, TransmitId, Wire};
use crate::report::PathRow;
use crate::snapshot::Snapshot;
use crate::units::{IpSize, Mono, Now};

use reading::Reading;
use window::Window;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What to measure, in the order of the result. Every pair once.
    pub targets: Vec<Named>,
    /// The source address of probes; `None` where the route is to choose it.
    pub source: Option<IpAddr>,
    /// The largest size to try; `None` for what route and device let through.
    pub largest: Option<IpSize>,
    /// Whether every hop is wanted, whatever the verdict.
    pub hops: bool,
    /// How many source ports to try, where equal-cost paths are to be told apart.
    pub ports: Option<u16>,
    /// Most packets sent in a second, over all paths.
    pub packets_per_second: u32,
}

/// An address, and what it was called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// As given: a name, or the address itself.
    pub peer: String,
    /// The address.
    pub address: IpAddr,
}

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
}

/// What the survey wants done.
#[derive(Debug)]
pub enum Output {
    /// Read these tables of the kernel; answer with [`Input::Facts`].
    ReadFacts(&'static [Source]),
    /// Ask which way each packet would take, cached path MTUs ignored; answer with [`Input::Routes`].
    ReadRoutes(Vec<Query>),
    /// Send a packet or try a connection; answer with [`Input::Sent`].
    Transmit(Transmit),
    /// ICMP errors about UDP packets to these ports concern us: a tunnel's outer packets.
    WatchTunnelPorts(Vec<u16>),
}

/// How far a survey is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'s> {
    /// Paths to measure.
    pub paths: usize,
    /// Of those, the ones that are finished.
    pub done: usize,
    /// One that is under way, by its name and address, and whether its source ports are swept.
    pub under_way: Option<(&'s PathKey, bool)>,
}

/// A survey under way.
#[derive(Debug)]
pub struct Survey {
    wanted: Wanted,
    prober: Prober,
    snapshot: Snapshot,
    reading: Reading,
    outbox: VecDeque<Output>,
    /// The path of each target, in their order.
    keys: Vec<PathKey>,
    /// Paths that wait for their turn.
    queue: VecDeque<PathKey>,
    /// Paths under way, and how many tasks of each are.
    under_way: BTreeMap<PathKey, u8>,
    /// Paths whose source ports are swept.
    swept: BTreeSet<PathKey>,
    window: Window,
    done: usize,
}

impl Survey {
    /// A survey that begins at once.
    pub fn new(wanted: Wanted, wire: Wire, identity: Identity, now: Now) -> Self {
        let prober = Prober::new(identity, wanted.packets_per_second, now.mono);
        let mut survey = Self {
            prober,
            snapshot: Snapshot { wire, ..nothing_known(Expect::default()) },
            reading: Reading::Links,
            outbox: VecDeque::new(),
            keys: Vec::new(),
            queue: VecDeque::new(),
            under_way: BTreeMap::new(),
            swept: BTreeSet::new(),
            window: Window::new(now.mono),
            done: 0,
            wanted,
        };
        survey.begin();
        survey
    }

    /// Takes in what the world tells.
    pub fn on(&mut self, input: Input, now: Now) {
        match input {
            Input::Facts(raw) => self.on_facts(&raw),
            Input::Routes(raw) => self.on_routes(*raw),
            Input::Datagram(datagram) => self.prober.on_datagram(&datagram),
            Input::Sent(id, sent) => self.prober.on_sent(id, sent, now.mono),
        }
    }

    /// The next thing to do, if there is one now.
    pub fn poll(&mut self, now: Now) -> Option<Output> {
        if let Some(output) = self.outbox.pop_front() {
            return Some(output);
        }
        loop {
            self.take_finished(now);
            self.start_some(now.mono);
            if let Some(transmit) = self.prober.poll_transmit(now.mono) {
                return Some(Output::Transmit(transmit));
            }
            if !self.take_finished(now) {
                return None;
            }
        }
    }

    /// When to poll again although nothing happened; `None` while an answer from the driver is awaited, and when over.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let more = (!self.queue.is_empty()).then(|| self.window.grows_at());
        more.into_iter().chain(self.prober.poll_timeout()).min()
    }

    /// Whether every path is measured.
    pub fn is_over(&self) -> bool {
        self.reading == Reading::Over && self.outbox.is_empty() && self.done == self.keys.len()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress<'_> {
        let slow = self.under_way.keys().next();
        Progress {
            paths: self.wanted.targets.len(),
            done: self.done,
            under_way: slow.map(|key| (key, self.swept.contains(key))),
        }
    }

    /// Ends it as it is. What was not measured is unknown for this reason.
    pub fn give_up(&mut self, why: &str, now: Now) {
        self.take_finished(now);
        for key in std::mem::take(&mut self.under_way).into_keys().chain(std::mem::take(&mut self.queue)) {
            self.prober.stop(&key, now.mono);
            let Some(path) = self.snapshot.paths.get_mut(&key) else { continue };
            if path.measured.known().is_none() {
                path.measured = Fact::Known(Measured::new(Verdict::Unknown { why: why.to_owned() }, now.mono));
            }
        }
        self.done = self.keys.len();
    }

    /// What was measured: a row for each target, in their order. Empty before the routes are known.
    pub fn paths(&self) -> Vec<PathRow> {
        let row = |key| Some(rows::path_row(&self.snapshot, key, self.snapshot.paths.get(key)?));
        self.keys.iter().filter_map(row).collect()
    }

    /// Why the kernel's links could not be read, where they could not: no size is expected then of any path.
    pub fn blind(&self) -> Option<&Unread> {
        match &self.snapshot.tables.links {
            Fact::Unread(unread) if self.reading != Reading::Links => Some(unread),
            _ => None,
        }
    }

    fn start_some(&mut self, now: Mono) {
        while !self.queue.is_empty() && self.window.has_room(self.under_way.len(), now) {
            let Some(key) = self.queue.pop_front() else { return };
            let targets = self.targets(&key);
            self.under_way.insert(key, u8::try_from(targets.len()).unwrap_or(u8::MAX));
            targets.into_iter().for_each(|target| self.prober.start(target, now));
        }
    }

    /// What is asked of a path at first.
    fn targets(&self, key: &PathKey) -> Vec<Target> {
        let size = self.target(key, Task::Mtu { hops: self.wanted.hops, sample: false });
        size.into_iter().chain(targets::outer(&self.snapshot, key)).collect()
    }

    fn target(&self, key: &PathKey, task: Task) -> Option<Target> {
        let path = self.snapshot.paths.get(key)?;
        Some(Target {
            key: key.clone(),
            from: self.wanted.source,
            expected: path.expected.unwrap_or(targets::WITHOUT_ROUTE),
            tunnel: targets::tunnel_end(&self.snapshot, key.address),
            task,
        })
    }

    /// Takes in what is finished; says whether something was.
    fn take_finished(&mut self, now: Now) -> bool {
        let mut some = false;
        while let Some((key, learned)) = self.prober.poll_learned(now.mono) {
            some = true;
            let sweep = self.sweep_after(&key, &learned);
            if let Some(path) = self.snapshot.paths.get_mut(&key) {
                path.take(learned, &self.snapshot.tables, now);
            }
            self.end_task(key, sweep, now.mono);
        }
        some
    }

    /// The sweep that a finished search is followed by: below the tunnel, where the path leads through one that can be
    /// done without.
    fn sweep_after(&self, key: &PathKey, learned: &Learned) -> Option<Target> {
        let (Learned::Mtu(measured), Some(ports)) = (learned, self.wanted.ports) else { return None };
        measured.verdict.path_mtu()?;
        Some(match targets::outer(&self.snapshot, key) {
            Some(outer) => Target { task: Task::Spread { ports, encapsulation: outer.task.encapsulation() }, ..outer },
            None => self.target(key, Task::Spread { ports, encapsulation: None })?,
        })
    }

    fn end_task(&mut self, key: PathKey, next: Option<Target>, now: Mono) {
        let Some(tasks) = self.under_way.get_mut(&key) else { return };
        if let Some(target) = next {
            self.swept.insert(key);
            return self.prober.start(target, now);
        }
        *tasks -= 1;
        if *tasks == 0 {
            self.under_way.remove(&key);
            self.done += 1;
            let answered = self.snapshot.paths.get(&key).and_then(|path| path.measured.known()?.round_trip);
            answered.into_iter().for_each(|_| self.window.on_answered());
        }
    }
}
