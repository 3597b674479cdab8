//! Tells equal-cost paths apart: the same size from many source ports.
//!
//! Routers that spread flows over paths of equal cost choose by the ports of a flow, so each source port is one draw of
//! a path. One flow goes out of each, and each port is told apart from the others by what becomes of it ([`Fate`]).
//!
//! 1. The full size leaves from every port at once. Answered, the port is good, whatever was or will be silent or said.
//! 2. "Too big" is a **hint**, as in a search: the size that it names is asked for behind the full size, from the same
//!    port. It is a limit if it is answered while the full size is called too big once more.
//! 3. Every other port is *visited*: the full size twice and a small one right behind them, from the same port. Only if
//!    the small one is answered do the silences count; enough of them and the port swallows the size.
//! 4. A port of which nothing at all comes back is dead only against a *control*: a port that is known to answer is
//!    asked afterwards, and is answered.
//! 5. Whatever is not settled after [`budget`] packets or [`limit`] of time is unknown: never a guess.
//!
//! **How much silence is enough** is reckoned from how often an attempt at a good port fails ([`odds`]): at least as
//! often as at 5 % loss each way, and more where good ports and controls were seen to fail more often. One bad port
//! among good ones needs twice the silence that each of several needs.
//!
//! **Answers that are limited in rate.** Plain UDP to a closed port is answered by "port unreachable", which Linux
//! limits for each asker: six at once, then one in a second (`icmp_ratelimit`; `inet_peer_xrlim_allow` in
//! `net/ipv4/inetpeer.c`). Refused answers take nothing from that allowance. "Fragmentation needed" and "packet too big"
//! are never limited by Linux, so rule 2 works at once. For the rest:
//! - One port is visited at a time, a second and a bit after the last packet that may have been answered, so that there
//!   is an answer to be had.
//! - Somebody else on this machine may have used it up. That is why the small packet follows the full one at once and
//!   in the same flow, which keeps its order: if the full one had arrived, it would have had the answer that the small
//!   one had. The limiter does not look at sizes, so it never makes a full packet silent and a small one answered,
//!   unless an answer falls due in the microseconds between them, and that in visit after visit. A visit whose
//!   packets left far apart, because the packet budget is small, counts for nothing.
//! - A dead port is held against a control that had an answer to be had although the dead one came before it. Whoever
//!   else uses up answers makes controls fail too, and with them grows the silence that is needed.
//!
//! Routers of other makers do limit "too big". Where one was heard and a port is silent, silent ports are visited as
//! slowly, one at a time, so that each has its chance of being told.

pub mod odds;
mod port;
mod rounds;
mod shares;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::port::Port;
use self::rounds::Round;
use super::{Answer, Carrier, NotSent, Probe, Step, Task};
use crate::units::{IpSize, Mono};

pub use shares::{Kind, Shares, Signalled};

/// The UDP port that a sweep asks: in traceroute's range, where nobody listens.
pub const PORT: u16 = 33_440;

/// The shortest silence that means anything: a busy machine answers late.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// Round trips that a silence must last, where that is longer.
const PATIENCE_ROUND_TRIPS: u32 = 4;
/// How long to wait while no round trip is known.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two answers that a limiter of one in a second surely lets through.
const PACE: Duration = Duration::from_millis(1050);
/// Pause before a probe that the kernel did not send is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Failures of the kernel to send, one after another, that end a sweep.
const FAILURES: u32 = 3;
/// How long to sleep when only an event from outside can help.
const IDLE: Duration = Duration::from_secs(60);

/// Most packets of a sweep.
pub const fn budget(ports: usize) -> usize {
    16 * ports + 40
}

/// Longest time that a sweep takes, from when its first packet left. A port that swallows needs three visits of a
/// second where answers are limited in rate; a sweep whose answers are not takes about a second in all.
pub fn limit(ports: usize) -> Duration {
    Duration::from_secs(3 * ports as u64 + 10)
}

/// What became of one source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The expected size was answered.
    Carried,
    /// A hop says that it is too big.
    Limited {
        /// The largest size that was answered: the one that the hop names, or a small one if it names none.
        carries: Option<IpSize>,
        /// Who says so.
        by: IpAddr,
        /// The MTU that it names.
        reported: Option<IpSize>,
    },
    /// A smaller packet was answered again and again, and the expected size right before it never was.
    Swallowed,
    /// Not even a small packet was answered, again and again, while other ports were.
    Dead,
    /// Nothing could be concluded.
    Unknown,
}

/// What a sweep yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The size that every path should carry; that of the outer packet where `tunnel` is known.
    pub expected: Option<IpSize>,
    /// The far tunnel end whose kernel takes the probes out; `None` where UDP port [`PORT`] of the peer was asked.
    pub tunnel: Option<SocketAddr>,
    /// What became of each source port, counted from the first that is this process's; after [`Self::on_wire`], by the
    /// number that was on the wire.
    pub ports: Vec<(u16, Fate)>,
    /// Packets that left for it.
    pub sent: u32,
    /// When it was finished.
    pub at: Mono,
}

impl Swept {
    /// The same with what the machine does not know: the first source port that is this process's, and by what means
    /// the task sent its probes.
    #[must_use]
    pub fn on_wire(mut self, first: u16, task: &Task) -> Self {
        self.ports.iter_mut().for_each(|(port, _)| *port = port.wrapping_add(first));
        self.tunnel = task.encapsulation().map(|tunnel| SocketAddr::new(tunnel.vtep, tunnel.port));
        self
    }
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Spread {
    carrier: fn(u16) -> Carrier,
    small: IpSize,
    expected: IpSize,
    /// Whether answers are limited in rate.
    limited: bool,
    ports: Vec<Port>,
    round: Option<Round>,
    queue: VecDeque<Probe>,
    later: Vec<(Mono, Probe)>,
    /// When the first probe left.
    began: Option<Mono>,
    last_sent: Mono,
    last_answer: Mono,
    slowest: Option<Duration>,
    /// Rounds in which nobody had been answered so far.
    knocks: u32,
    /// Single full-size packets that a good port would have been expected to answer, and that were silent.
    single_misses: u32,
    controls: u32,
    control_failures: u32,
    failures: u32,
    sent: u32,
    done: Option<Box<Swept>>,
}

impl Spread {
    /// Sweeps `expected` over these source ports (counted from the first that is this process's). `carrier` makes a
    /// carrier of a port; `small` is the size of references; `limited` says whether answers are limited in rate.
    pub fn new(
        mut ports: Vec<u16>,
        carrier: fn(u16) -> Carrier,
        small: IpSize,
        expected: IpSize,
        limited: bool,
        now: Mono,
    ) -> Self {
        ports.sort_unstable();
        ports.dedup();
        let mut spread = Self {
            carrier,
            small: small.min(expected),
            expected,
            limited,
            ports: ports.into_iter().map(Port::new).collect(),
            round: None,
            queue: VecDeque::new(),
            later: Vec::new(),
            began: None,
            last_sent: now,
            last_answer: now,
            slowest: None,
            knocks: 0,
            single_misses: 0,
            controls: 0,
            control_failures: 0,
            failures: 0,
            sent: 0,
            done: None,
        };
        spread.burst(now);
        spread
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        let Some(port) = self.port(probe).filter(|_| self.done.is_none()) else { return };
        self.ports[port].on_left(probe.size, now);
        self.began.get_or_insert(now);
        (self.sent, self.failures, self.last_sent) = (self.sent + 1, 0, now);
    }

    /// What became of `probe`. Errors and answers may both come for one probe, and late.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
        let Some(port) = self.port(probe).filter(|_| self.done.is_none()) else { return };
        let (small, expected) = (self.small, self.expected);
        let port = &mut self.ports[port];
        match answer {
            Answer::Carried { round_trip, .. } => {
                port.on_carried(probe.size, expected, round_trip, now);
                self.last_answer = now;
                self.slowest = self.slowest.max(round_trip);
            }
            Answer::TooBig { by, mtu } => port.on_too_big(probe.size, expected, small, by, mtu),
            Answer::Refused { .. } | Answer::Expired { .. } | Answer::Silent => port.on_nothing(probe.size),
            Answer::NotSent { why } => self.on_not_sent(probe, why, now),
        }
    }

    /// What to do next. Asked again after [`Step::Send`] until it is something else.
    pub fn poll(&mut self, now: Mono) -> Step<Swept> {
        let patience = self.patience();
        self.ports.iter_mut().for_each(|port| port.expire(patience, now));
        if self.done.is_none() {
            self.go_on(now);
        }
        if let Some(swept) = &self.done {
            return Step::Done(swept.clone());
        }
        self.queue.pop_front().map_or_else(|| Step::Wait(self.wake(now)), Step::Send)
    }

    fn go_on(&mut self, now: Mono) {
        if self.is_settled() || self.ends().is_some_and(|end| end <= now) {
            return self.finish(now);
        }
        let due = self.later.extract_if(.., |(at, _)| *at <= now).map(|(_, probe)| probe);
        self.queue.extend(due);
        self.end_round(now);
        if self.is_settled() || (self.round.is_none() && self.next_round() <= now && !self.begin_round(now)) {
            self.finish(now);
        }
    }

    fn on_not_sent(&mut self, probe: Probe, why: NotSent, now: Mono) {
        self.failures += 1;
        let is_spent = self.spent() >= budget(self.ports.len());
        if why == NotSent::TooLarge || self.failures >= FAILURES || is_spent {
            return self.finish(now);
        }
        self.later.push((now + RETRY, probe));
    }

    fn port(&self, probe: Probe) -> Option<usize> {
        let (Carrier::Sweep { source } | Carrier::Vxlan { source }) = probe.carrier else { return None };
        self.ports.binary_search_by_key(&source, |port| port.source).ok()
    }

    /// Asks a port for these sizes, in this order.
    fn ask(&mut self, port: usize, sizes: &[IpSize], now: Mono) {
        let carrier = (self.carrier)(self.ports[port].source);
        self.queue.extend(sizes.iter().map(|&size| Probe::new(carrier, size)));
        self.ports[port].ask(sizes, now);
    }

    /// Packets that left or are about to.
    fn spent(&self) -> usize {
        self.sent as usize + self.queue.len() + self.later.len()
    }

    fn patience(&self) -> Duration {
        self.slowest.map_or(FIRST_PATIENCE, |slowest| PATIENCE.max(slowest * PATIENCE_ROUND_TRIPS))
    }

    /// When the time is up.
    fn ends(&self) -> Option<Mono> {
        self.began.map(|began| began + limit(self.ports.len()))
    }

    /// When something may have to be done without an event from outside.
    fn wake(&self, now: Mono) -> Mono {
        let patience = self.patience();
        let given_up = self.ports.iter().flat_map(Port::out).map(|left| left + patience);
        let retries = self.later.iter().map(|&(at, _)| at);
        let round = self.round.is_none().then(|| self.next_round());
        let all = given_up.chain(retries).chain(round).chain(self.ends());
        all.filter(|&at| at > now).min().unwrap_or(now + IDLE)
    }

    fn finish(&mut self, now: Mono) {
        let ports = self.ports.iter().map(|port| port.source).zip(self.fates()).collect();
        let expected = Some(self.expected);
        self.queue.clear();
        self.later.clear();
        self.done = Some(Box::new(Swept { expected, tunnel: None, ports, sent: self.sent, at: now }));
    }
}
