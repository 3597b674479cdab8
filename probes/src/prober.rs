//! All paths under measurement, one flight table, one packet budget.
//!
//! A machine with two verbs: told (`on_*`) and asked (`poll_*`). It has no socket and no clock. It gives the probes of
//! each [`Course`] their bytes, and tells from what comes back which probe it is about. Nothing that comes back is
//! trusted: source, identifier, sequence, cookie and length must be those of a probe under way, else it is counted and
//! dropped. A probe stays known after an error about it, for an answer may still come and wins.
//!
//! Errors about a tunnel's outer packet are about the probe inside: known exactly where enough of it is quoted, else
//! taken to be about every probe under way to that tunnel end that is too large for the MTU that is named.

mod budget;
mod bytes;
mod flight;
mod receive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::budget::budget;
use self::flight::{Flight, Flights, Key, RunId};
use crate::bucket::Bucket;
use crate::path::course::Course;
use crate::path::{Answer, Carrier, Learned, NotSent, PathKey, Probe, SOURCES, Step, Target, TaskKind};
use crate::telemetry::ErrorKind;
use crate::units::{IpSize, Mono};

/// How many UDP source ports are this process's: [`SOURCES`] to choose from, and one for what needs none of its own.
pub const PORTS: u16 = SOURCES + 1;

/// What makes this process's probes its own. Both are random, drawn once by the agent.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// ICMP identifier; the agent's packet filter lets only this one through.
    pub id: u16,
    /// Key of cookies and sequences; never leaves the process.
    pub secret: u64,
    /// The first of [`PORTS`] UDP source ports, a multiple of their number; the agent's packet filter lets errors about
    /// these through.
    pub first_port: u16,
}

/// By what probes leave, and what it can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// Raw sockets: every ICMP message, and errors about any packet.
    #[default]
    Raw,
    /// Sockets for pings, which need no capability (`net.ipv4.ping_group_range`): ICMP echo, UDP and TCP, and errors about
    /// these. There is no timestamp request, so ways are told apart by UDP alone; what is encapsulated here is answered to
    /// nobody; and errors about a tunnel's outer packets stay unseen.
    Ping,
}

/// Measures paths: [`Self::start`] one, drain [`Self::poll_transmit`], feed what happens, drain
/// [`Self::poll_learned`]; come back at [`Self::poll_timeout`] at the latest.
#[derive(Clone, Debug)]
pub struct Prober {
    id: u16,
    first_port: u16,
    runs: BTreeMap<RunId, Run>,
    by_task: BTreeMap<(PathKey, TaskKind), RunId>,
    timers: BTreeSet<(Mono, RunId)>,
    outbox: VecDeque<(RunId, Probe)>,
    /// What waits until nothing else does: sweeps take long, and no round waits for them.
    background: VecDeque<(RunId, Probe)>,
    finished: VecDeque<(PathKey, Learned)>,
    flights: Flights,
    budget: Bucket,
    next_run: u64,
    next_transmit: u64,
    errors: BTreeMap<ErrorKind, u64>,
}

/// One path under measurement.
#[derive(Clone, Debug)]
struct Run {
    target: Target,
    course: Course,
    timer: Option<Mono>,
    flights: Vec<Key>,
}

impl Prober {
    /// A prober that sends at most `packets_per_second` packets over all paths.
    pub fn new(identity: Identity, packets_per_second: u32, now: Mono) -> Self {
        Self {
            id: identity.id,
            first_port: identity.first_port,
            background: VecDeque::new(),
            runs: BTreeMap::new(),
            by_task: BTreeMap::new(),
            timers: BTreeSet::new(),
            outbox: VecDeque::new(),
            finished: VecDeque::new(),
            flights: Flights::new(identity.secret),
            budget: budget(packets_per_second, now),
            next_run: 0,
            next_transmit: 0,
            errors: ErrorKind::ALL.into_iter().map(|kind| (kind, 0)).collect(),
        }
    }

    /// From here on at most `packets_per_second` packets leave over all paths.
    pub fn limit(&mut self, packets_per_second: u32, now: Mono) {
        self.budget = budget(packets_per_second, now);
    }

    /// Starts to measure a path. A measurement of the same path that is under way is dropped.
    pub fn start(&mut self, target: Target, now: Mono) {
        let task = (target.key.clone(), target.task.kind());
        self.drop_run(&task, now);
        let run = RunId(self.next_run);
        self.next_run += 1;
        self.by_task.insert(task, run);
        let course = Course::new(&target, run.0, now);
        self.runs.insert(run, Run { target, course, timer: None, flights: Vec::new() });
        self.pump(run, now);
    }

    /// Drops the tasks of a path that are under way, and results that were not fetched.
    pub fn stop(&mut self, path: &PathKey, now: Mono) {
        for kind in [TaskKind::Mtu, TaskKind::Outer, TaskKind::Anyone, TaskKind::Spread] {
            self.drop_run(&(path.clone(), kind), now);
        }
        self.finished.retain(|(finished, _)| finished != path);
    }

    /// What became of a transmit. `now` is to be read **before** the transmit is handed to the kernel: a round trip
    /// on this machine can be over by the time that the system call returns.
    pub fn on_sent(&mut self, id: TransmitId, sent: Sent, now: Mono) {
        if matches!(sent, Sent::Failed(_)) {
            self.count(ErrorKind::SendFailed);
        }
        let Some(pending) = self.flights.pending(id) else { return };
        match sent {
            Sent::Ok => self.on_left(id, now),
            Sent::TcpAnswered => self.deliver(pending.key, Answer::Carried { round_trip: None, fragment: None }, now),
            Sent::TcpSilent => self.deliver(pending.key, Answer::Silent, now),
            Sent::Failed(errno) => self.on_failed(id, errno, now),
            Sent::Unsupported => self.on_failed(id, errno::EOPNOTSUPP, now),
        }
    }

    /// The next packet to send, if one is wanted and the budget allows it.
    pub fn poll_transmit(&mut self, now: Mono) -> Option<Transmit> {
        self.fire_timers(now);
        loop {
            let (queue, &(run, probe)) = match self.outbox.front() {
                Some(first) => (Queue::First, first),
                None => (Queue::Background, self.background.front()?),
            };
            if self.runs.contains_key(&run) && !self.budget.take(now) {
                return None;
            }
            match queue {
                Queue::First => self.outbox.pop_front(),
                Queue::Background => self.background.pop_front(),
            };
            if let Some(transmit) = self.transmit(run, probe, now) {
                return Some(transmit);
            }
        }
    }

    /// When to call [`Self::poll_transmit`] and [`Self::poll_learned`] again at the latest; `None` when idle.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if !self.finished.is_empty() {
            return Some(Mono::default());
        }
        let timer = self.timers.first().map(|&(at, _)| at);
        let waits = !self.outbox.is_empty() || !self.background.is_empty();
        let budget = waits.then(|| self.budget.ready_at());
        timer.into_iter().chain(budget).min()
    }

    /// The next task that is finished.
    pub fn poll_learned(&mut self, now: Mono) -> Option<(PathKey, Learned)> {
        self.fire_timers(now);
        self.finished.pop_front()
    }

    /// Whether nothing is under way, and every result was fetched.
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.finished.is_empty()
    }

    /// Whether nothing is under way but sweeps, which no round waits for, and every result was fetched.
    pub fn is_round_over(&self) -> bool {
        self.finished.is_empty() && self.runs.values().all(Run::is_sweep)
    }

    /// Whether a task of this kind is under way for a path.
    pub fn is_busy(&self, path: &PathKey, kind: TaskKind) -> bool {
        self.by_task.contains_key(&(path.clone(), kind))
    }

    /// Packets that were dropped or not sent, by reason. Every reason is present.
    pub const fn errors(&self) -> &BTreeMap<ErrorKind, u64> {
        &self.errors
    }

    fn count(&mut self, kind: ErrorKind) {
        *self.errors.entry(kind).or_default() += 1;
    }

    fn drop_run(&mut self, task: &(PathKey, TaskKind), now: Mono) {
        if let Some(run) = self.by_task.remove(task) {
            self.end_run(run, now);
        }
    }

    fn end_run(&mut self, id: RunId, now: Mono) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        if let Some(at) = run.timer {
            self.timers.remove(&(at, id));
        }
        for &key in &run.flights {
            self.flights.retire(key, now);
        }
        Some(run)
    }

    fn fire_timers(&mut self, now: Mono) {
        while let Some(&(at, run)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.pump(run, now);
        }
    }

    /// Takes from a search all that it wants sent, and its result when it has one.
    fn pump(&mut self, id: RunId, now: Mono) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(at) = run.timer.take() {
            self.timers.remove(&(at, id));
        }
        loop {
            match run.course.poll(now) {
                Step::Send(probe) if run.is_sweep() => self.background.push_back((id, probe)),
                Step::Send(probe) => self.outbox.push_back((id, probe)),
                Step::Wait(at) => {
                    run.timer = Some(at);
                    self.timers.insert((at, id));
                    return;
                }
                Step::Done(learned) => {
                    let learned = match *learned {
                        Learned::Spread(swept) => {
                            Learned::Spread(Box::new(swept.on_wire(self.first_port, &run.target.task)))
                        }
                        learned => learned,
                    };
                    let task = (run.target.key.clone(), run.target.task.kind());
                    self.by_task.remove(&task);
                    self.finished.push_back((task.0, learned));
                    self.end_run(id, now);
                    return;
                }
            }
        }
    }

    fn transmit(&mut self, id: RunId, probe: Probe, now: Mono) -> Option<Transmit> {
        let target = &self.runs.get(&id)?.target;
        let address = target.key.address;
        let (encapsulation, from) = (target.task.encapsulation(), target.from);
        let transmit = TransmitId(self.next_transmit);
        self.next_transmit += 1;
        let answers = encapsulation.map_or(address, |how| how.inner_to);
        let Some(key) = self.key(id, probe, answers, transmit, now) else {
            self.answer(id, probe, Answer::NotSent { why: NotSent::Other(errno::EAGAIN) }, now);
            return None;
        };
        let cookie = self.flights.cookie(key, probe, transmit);
        self.flights.insert(key, Flight { run: id, probe, transmit, cookie, left: None });
        self.runs.get_mut(&id)?.flights.push(key);
        let (to, means) = self.means(key, probe, address, encapsulation, cookie);
        Some(Transmit { id: transmit, to, from, ttl: probe.ttl, means })
    }

    fn key(&mut self, run: RunId, probe: Probe, to: IpAddr, transmit: TransmitId, now: Mono) -> Option<Key> {
        match probe.carrier {
            Carrier::Echo | Carrier::Timestamp | Carrier::Vxlan { .. } => {
                self.flights.sequence(to, transmit, now).map(|sequence| Key::Icmp { sequence, to })
            }
            Carrier::Udp { port } => Some(Key::Udp { to, port, run }),
            Carrier::Sweep { source } => Some(Key::Sweep { to, source, size: probe.size, run }),
            Carrier::Tcp { .. } => Some(Key::Tcp { transmit }),
        }
    }

    fn on_left(&mut self, id: TransmitId, now: Mono) {
        let Some(pending) = self.flights.leave(id, now) else { return };
        if let Some(run) = self.runs.get_mut(&pending.run) {
            run.course.on_sent(pending.probe, now);
            self.pump(pending.run, now);
        }
    }

    fn on_failed(&mut self, id: TransmitId, errno: i32, now: Mono) {
        let Some(pending) = self.flights.fail(id, now) else { return };
        self.answer(pending.run, pending.probe, Answer::NotSent { why: errno::why(errno) }, now);
    }

    /// Passes an answer on to the course whose probe it is about. Whoever is answered has sent.
    fn deliver(&mut self, key: Key, answer: Answer, now: Mono) {
        let Some(flight) = self.flights.get(key) else { return };
        self.on_left(flight.transmit, now);
        if matches!(answer, Answer::Carried { .. }) {
            self.flights.retire(key, now);
        }
        self.answer(flight.run, flight.probe, answer, now);
    }

    fn answer(&mut self, id: RunId, probe: Probe, answer: Answer, now: Mono) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.course.on_answer(probe, answer, now);
            self.pump(id, now);
        }
    }
}

impl Run {
    const fn is_sweep(&self) -> bool {
        matches!(self.target.task.kind(), TaskKind::Spread)
    }
}

/// Where the next packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    First,
    Background,
}

/// Linux's numbers of the errors that sending meets (`include/uapi/asm-generic/errno{,-base}.h`).
mod errno {
    use crate::path::NotSent;

    const EPERM: i32 = 1;
    pub(super) const EAGAIN: i32 = 11;
    const EACCES: i32 = 13;
    const EMSGSIZE: i32 = 90;
    pub(super) const EOPNOTSUPP: i32 = 95;
    /// No address of the packet's family to send from: IPv6 is off.
    const EADDRNOTAVAIL: i32 = 99;
    const ENETDOWN: i32 = 100;
    const ENETUNREACH: i32 = 101;
    const EHOSTDOWN: i32 = 112;
    const EHOSTUNREACH: i32 = 113;

    pub(super) const fn why(errno: i32) -> NotSent {
        match errno {
            EMSGSIZE => NotSent::TooLarge,
            EADDRNOTAVAIL | ENETDOWN | ENETUNREACH | EHOSTDOWN | EHOSTUNREACH => NotSent::NoRoute,
            EPERM | EACCES => NotSent::Filtered,
            other => NotSent::Other(other),
        }
    }
}

/// What to hand to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Names the transmit when its result is reported.
    pub id: TransmitId,
    /// Where to.
    pub to: SocketAddr,
    /// The source address; `None` where the route is to choose it.
    pub from: Option<IpAddr>,
    /// Hops that it may take; the machine's default where none is said.
    pub ttl: Option<u8>,
    /// By what means.
    pub means: Means,
}

/// Names one transmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransmitId(pub u64);

/// How a transmit leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// By the raw ICMP or ICMPv6 socket: `head`, then `padding` zero bytes. The kernel adds the IP header, and an ICMPv6
    /// checksum.
    Icmp {
        /// ICMP header and the start of the payload; ICMP's checksum is filled in (zeros leave it unchanged).
        head: Vec<u8>,
        /// Zero bytes after it.
        padding: u32,
    },
    /// By a UDP socket that is bound to a port: `head`, then `padding` zero bytes.
    Udp {
        /// Source port.
        source: u16,
        /// The start of the payload.
        head: Vec<u8>,
        /// Zero bytes after it.
        padding: u32,
    },
    /// A TCP connection attempt, closed as soon as it is known how it went. [`Sent::Ok`] says that it was started,
    /// [`Sent::TcpAnswered`] or [`Sent::TcpSilent`] within `timeout` how it went.
    Tcp {
        /// When to give up.
        timeout: Duration,
    },
}

/// A packet that the raw ICMP socket received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source address.
    pub from: IpAddr,
    /// The packet from the IP header on for IPv4 (as a raw socket gives it), from the ICMPv6 header on for IPv6.
    pub bytes: Vec<u8>,
    /// When it was received.
    pub at: Mono,
    /// How long before `at` the kernel received it, by its own stamp, where known.
    pub waited: Option<Duration>,
    /// The largest fragment (an IP packet) that it came in, if it came in fragments.
    pub fragment: Option<IpSize>,
}

/// What became of a transmit on its way out, and of TCP attempts as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took it.
    Ok,
    /// The kernel refused, with this errno.
    Failed(i32),
    /// Such a packet cannot leave by the [`Wire`] that there is: no try at all, and no error.
    Unsupported,
    /// The TCP attempt was answered by SYN-ACK or RST.
    TcpAnswered,
    /// The TCP attempt timed out.
    TcpSilent,
}
