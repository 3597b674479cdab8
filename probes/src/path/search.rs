//! Finds the largest size that a path carries.
//!
//! The rules, in the order in which [`Search`] asks itself what to do next:
//!
//! 1. A small reference and the full size go out together. The full size answered ends it: two packets, one round trip.
//! 2. What the kernel here does not take (`EMSGSIZE`) costs no packet: the largest size that it takes is searched by
//!    halving, and becomes the new full size.
//! 3. An ICMP error is a **hint**: it chooses the next size and decides nothing. The MTU that it names is probed; once
//!    that is answered, and the full size has had two round trips to be answered as well, the path is limited. An
//!    answer always wins over an error. A forged error thus costs packets, not truth; who could forge one in time must
//!    have seen the probe, and could have dropped it as well.
//! 4. While nothing is answered, three references and other protocols are tried (`reach`).
//! 5. Once something is answered, silence above it is narrowed to two neighbouring sizes (`narrow`), and the
//!    upper one must stay silent again and again, while a companion of a size that passes is answered, before
//!    anything is called a black hole. What [`BUDGET`] packets do not settle is unknown: never a guess.
//!
//! Silence counts from when a probe really left, so waiting for the packet budget is no silence. No verdict rests on a
//! silence shorter than [`PATIENCE`]. What to ask next does not wait for so long: after a [`STALL`] a size is presumed
//! to be silent, and the next round goes out. An answer that comes all the same takes that back, and costs packets.
//! Only the first round is waited for in full, so that a slow answer costs a clean path no burst.

mod narrow;
mod reach;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
pub(super) mod tries;
mod usual;

pub(super) use self::narrow::{MOST_SILENCES, SILENCES, WITNESSED};
pub(crate) use self::reach::TCP_TIMEOUT;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use self::narrow::Narrow;
use self::reach::Reach;
use self::tries::Tries;
use super::{Answer, Carrier, Limit, Measured, NotSent, Probe, Refusal, Step, Unreachable, Verdict};
use crate::units::{IpSize, Mono};

/// Most packets of one search.
pub const BUDGET: u32 = 60;
/// Size of the reference probe: what `ping` sends by default, and far below every limit seen in practice.
pub const REFERENCE: IpSize = IpSize::new(84);
/// The shortest silence that means anything: a busy machine answers late.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// Round trips that a silence must last, where that is longer.
pub(super) const PATIENCE_ROUND_TRIPS: u32 = 4;
/// After so long an answer is unlikely: the next probes are chosen as if none came. Nothing is concluded from it.
pub(super) const STALL: Duration = Duration::from_millis(PATIENCE.as_millis() as u64 / 4);
/// Round trips that a stall must last, where that is longer.
pub(super) const STALL_ROUND_TRIPS: u32 = 2;
/// Round trips that a size called too big has to be answered all the same. A path keeps its order, so the answer to
/// the full size comes before the answer to a size that was tried because of an error.
const SETTLED_ROUND_TRIPS: u32 = 2;
/// Pause before a probe that the kernel did not send is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Failures of the kernel to send that end a search.
pub(super) const FAILURES: u32 = 3;
/// How long to sleep when only an event from outside can help.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// What to search, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Whose own words count as an answer of the target.
    pub address: IpAddr,
    /// What carries the sizes.
    pub carrier: Carrier,
    /// The size that it should carry: no larger one is ever sent.
    pub expected: IpSize,
    /// Size of the reference probe.
    pub small: IpSize,
    /// The smallest size that can be sent, and that an error can rightly name.
    pub floor: IpSize,
    /// Whether to try other protocols while nothing is answered.
    pub reaches: bool,
}

/// The search for one path's MTU. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Search {
    lane: Lane,
    /// The largest size that is worth a packet.
    top: IpSize,
    sizes: BTreeMap<IpSize, Tries>,
    queue: VecDeque<Probe>,
    later: Vec<(Mono, Probe)>,
    /// The smallest size that the kernel here calls too large.
    too_large: Option<IpSize>,
    alive_since: Option<Mono>,
    slowest: Duration,
    round_trip: Option<Duration>,
    failures: u32,
    sent: u32,
    /// Packets of the budget that others spend meanwhile.
    elsewhere: u32,
    reach: Reach,
    narrow: Narrow,
    done: Option<Box<Measured>>,
}

impl Search {
    /// A search that starts at `now`. An expected size that is no packet size ends it at once as unknown.
    pub fn new(lane: Lane, now: Mono) -> Self {
        let mut search = Self {
            lane,
            top: lane.expected,
            sizes: BTreeMap::new(),
            queue: VecDeque::new(),
            later: Vec::new(),
            too_large: None,
            alive_since: None,
            slowest: Duration::ZERO,
            round_trip: None,
            failures: 0,
            sent: 0,
            elsewhere: 0,
            reach: Reach::default(),
            narrow: Narrow::default(),
            done: None,
        };
        search.begin(now);
        search
    }

    fn begin(&mut self, now: Mono) {
        let Lane { expected, floor, .. } = self.lane;
        if expected < floor || expected > IpSize::MAX {
            let why = format!(
                "the expected size of {expected} bytes cannot be probed ({floor} to {} can): check the MTU of the route",
                IpSize::MAX
            );
            return self.unknown(now, why);
        }
        self.ask(self.lane.small);
        if self.top != self.lane.small {
            self.ask(self.top);
        }
    }

    /// So many packets of the budget are spent elsewhere.
    pub const fn on_elsewhere(&mut self, packets: u32) {
        self.elsewhere = packets;
    }

    /// The black hole that it comes to, unless what is under way is answered after all.
    pub fn presumed(&self) -> Option<&Measured> {
        self.narrow.presumed.as_deref().filter(|_| self.done.is_none())
    }

    /// Sizes that hops named.
    pub fn named_sizes(&self) -> Vec<IpSize> {
        self.hints_above(IpSize::new(0)).map(|(mtu, _)| mtu).collect()
    }

    /// The largest fragment of the answer to a size, if all its answers came in fragments.
    pub fn fragment(&self, size: IpSize) -> Option<IpSize> {
        self.sizes.get(&size).and_then(|tries| tries.fragment)
    }

    /// `probe` left at `now`; for a TCP attempt, it was started.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        if self.done.is_some() {
            return;
        }
        self.sent += 1;
        if probe.carrier == self.lane.carrier {
            self.sizes.entry(probe.size).or_default().on_left(now);
        } else {
            self.reach.on_left(probe.carrier, now);
        }
    }

    /// What became of `probe`. Errors and answers may both come for one probe, and late.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
        if self.done.is_some() {
            return;
        }
        if probe.carrier == self.lane.carrier {
            self.on_own(probe, answer, now);
        } else {
            self.reach.on_answer(self.lane.address, probe.carrier, &answer);
        }
    }

    /// What to do next. Asked again after [`Step::Send`] until it is something else.
    pub fn poll(&mut self, now: Mono) -> Step<Measured> {
        self.expire(now);
        self.requeue(now);
        if self.queue.is_empty() && self.done.is_none() {
            self.plan(now);
        }
        if let Some(measured) = &self.done {
            return Step::Done(measured.clone());
        }
        self.queue.pop_front().map_or_else(|| Step::Wait(self.wake(now)), Step::Send)
    }

    fn plan(&mut self, now: Mono) {
        self.narrow.presumed = None;
        // What the kernel here takes can turn out to be no more than what was answered already: its answer came before
        // anybody looked, or the link was given a smaller MTU meanwhile. So the top is compared on both sides of that.
        let over = self.reached_top(now) || self.fit_locally(now) || self.done.is_some() || self.reached_top(now);
        if over || self.follow_hint() {
            return;
        }
        let Some(mtu) = self.carries() else { return self.try_to_reach(now) };
        match self.explanation(mtu, now) {
            Some(by) => self.finish(Verdict::Limited { mtu, by }, now),
            None => self.narrow_down(mtu, now),
        }
    }

    fn on_own(&mut self, probe: Probe, answer: Answer, now: Mono) {
        match answer {
            Answer::Carried { round_trip, fragment } => {
                self.sizes.entry(probe.size).or_default().on_answered(fragment);
                self.on_carried(probe.size, round_trip, now);
            }
            Answer::TooBig { by, mtu } => {
                let hint = Limit { address: Some(by), reported_mtu: mtu, ttl: None };
                self.sizes.entry(probe.size).or_default().on_hint(hint);
            }
            Answer::Refused { by, why } => {
                self.reach.on_refused(self.lane.address, by, why, &reach::name(probe.carrier));
            }
            Answer::Expired { by, .. } => {
                self.reach.on_refused(self.lane.address, by, Refusal::TtlExceeded, &reach::name(probe.carrier));
            }
            Answer::NotSent { why } => self.on_not_sent(probe, why, now),
            Answer::Silent => {
                let tries = self.sizes.entry(probe.size).or_default();
                if tries.out.pop().is_some() {
                    tries.silent += 1;
                }
            }
        }
    }

    fn on_carried(&mut self, size: IpSize, round_trip: Option<Duration>, now: Mono) {
        self.alive_since.get_or_insert(now);
        let Some(round_trip) = round_trip else { return };
        self.slowest = self.slowest.max(round_trip);
        if size == self.lane.small {
            self.round_trip = Some(self.round_trip.map_or(round_trip, |fastest| fastest.min(round_trip)));
        }
    }

    fn on_not_sent(&mut self, probe: Probe, why: NotSent, now: Mono) {
        let tries = self.sizes.entry(probe.size).or_default();
        match why {
            NotSent::TooLarge => {
                tries.queued = tries.queued.saturating_sub(1);
                self.too_large = Some(self.too_large.map_or(probe.size, |size| size.min(probe.size)));
            }
            NotSent::Filtered => {
                tries.on_filtered(now);
                self.reach.first.get_or_insert(now);
            }
            NotSent::NoRoute if self.alive_since.is_none() => {
                self.finish(Verdict::Unreachable { why: Unreachable::NotSent { why } }, now);
            }
            NotSent::NoRoute => self.on_failure(probe, "its route went away while it was probed", now),
            NotSent::Other(errno) => {
                let what = format!("the kernel does not send to {}: errno {errno}", self.lane.address);
                self.on_failure(probe, &what, now);
            }
        }
    }

    fn on_failure(&mut self, probe: Probe, what: &str, now: Mono) {
        self.failures += 1;
        if self.failures < FAILURES {
            self.later.push((now + RETRY, probe));
        } else {
            self.unknown(now, what.to_owned());
        }
    }

    /// The largest size that was answered.
    fn carries(&self) -> Option<IpSize> {
        self.sizes.iter().rev().find(|(_, tries)| tries.answered > 0).map(|(&size, _)| size)
    }

    /// Whether the largest size that the kernel here takes is still searched for.
    fn fit_locally(&mut self, now: Mono) -> bool {
        let Some(large) = self.too_large else { return false };
        let below = self.lane.floor.less(1);
        let fits = self.sizes.range(..large).rev().find(|(_, tries)| tries.fits()).map_or(below, |(&size, _)| size);
        if large.bytes() - fits.bytes() > 1 {
            let middle = IpSize::new(fits.bytes().midpoint(large.bytes()));
            return self.sizes.get(&middle).is_some_and(Tries::pending) || self.ask(middle);
        }
        self.top = fits;
        // A reference that never leaves would be waited for without end.
        self.lane.small = self.lane.small.min(fits);
        if fits == below {
            let why = Unreachable::NotSent { why: NotSent::TooLarge };
            self.finish(Verdict::Unreachable { why }, now);
        }
        false
    }

    /// Asks for an MTU that an error names, if there is one that was not tried.
    fn follow_hint(&mut self) -> bool {
        let above = self.carries().map_or(IpSize::new(0), |size| size.plus(1));
        let named = self.hints_above(above).map(|(mtu, _)| mtu);
        let untried = named.filter(|&mtu| mtu >= above).find(|mtu| !self.sizes.get(mtu).is_some_and(Tries::tried));
        untried.is_some_and(|mtu| self.ask(mtu))
    }

    fn hints_above(&self, least: IpSize) -> impl Iterator<Item = (IpSize, Limit)> {
        let floor = self.lane.floor;
        self.sizes.range(least..).flat_map(move |(&size, tries)| tries.named(size, floor))
    }

    /// The error that names `carries`, once larger sizes had time to be answered all the same.
    fn explanation(&self, carries: IpSize, now: Mono) -> Option<Limit> {
        let larger = carries.plus(1);
        let (_, by) = self.hints_above(larger).find(|&(mtu, _)| mtu == carries)?;
        let settled = |tries: &Tries| tries.queued == 0 && tries.out.iter().all(|&left| self.settles(left) <= now);
        self.sizes.range(larger..).all(|(_, tries)| settled(tries)).then_some(by)
    }

    fn settles(&self, left: Mono) -> Mono {
        left + self.slowest * SETTLED_ROUND_TRIPS
    }

    fn patience(&self) -> Duration {
        PATIENCE.max(self.slowest * PATIENCE_ROUND_TRIPS)
    }

    fn stall(&self) -> Duration {
        STALL.max(self.slowest * STALL_ROUND_TRIPS)
    }

    fn expire(&mut self, now: Mono) {
        let Some(since) = self.alive_since else { return };
        let patience = self.patience();
        self.sizes.values_mut().for_each(|tries| tries.expire(since, patience, now));
    }

    fn requeue(&mut self, now: Mono) {
        let due = self.later.extract_if(.., |(at, _)| *at <= now).map(|(_, probe)| probe);
        self.queue.extend(due);
    }

    /// Packets that left or are about to.
    fn spent(&self) -> u32 {
        self.sent + self.elsewhere + self.sizes.values().map(|tries| tries.queued).sum::<u32>() + self.reach.queued()
    }

    /// Asks for a probe of `size`; false if the budget is spent.
    fn ask(&mut self, size: IpSize) -> bool {
        if self.spent() >= BUDGET {
            return false;
        }
        self.sizes.entry(size).or_default().queued += 1;
        self.queue.push_back(Probe::new(self.lane.carrier, size));
        true
    }

    /// When something may have to be done without an event from outside.
    fn wake(&self, now: Mono) -> Mono {
        let (stall, patience) = (self.stall(), self.patience());
        let out = self.sizes.values().flat_map(|tries| &tries.out).copied();
        let deadlines = out.flat_map(|left| {
            let from = self.alive_since.map(|since| left.max(since));
            let given_up = from.into_iter().flat_map(move |from| [from + stall, from + patience]);
            given_up.chain([self.settles(left)])
        });
        let retries = self.later.iter().map(|&(at, _)| at);
        let reaching = self.reach_deadlines();
        deadlines.chain(retries).chain(reaching).filter(|&at| at > now).min().unwrap_or(now + IDLE)
    }

    /// Ends the search if the largest size that is worth a packet was answered, or a larger one before the top sank.
    fn reached_top(&mut self, now: Mono) -> bool {
        let Some(mtu) = self.carries().filter(|&mtu| mtu >= self.top) else { return false };
        let verdict = if mtu >= self.lane.expected {
            Verdict::Clear { mtu }
        } else {
            Verdict::Limited { mtu: self.top, by: self.local_limit() }
        };
        self.finish(verdict, now);
        true
    }

    fn local_limit(&self) -> Limit {
        Limit { address: None, reported_mtu: Some(self.top), ttl: None }
    }

    fn unknown(&mut self, now: Mono, why: String) {
        self.finish(Verdict::Unknown { why }, now);
    }

    fn finish(&mut self, verdict: Verdict, now: Mono) {
        self.queue.clear();
        self.later.clear();
        self.done = Some(self.measured(verdict, now));
    }

    fn measured(&self, verdict: Verdict, now: Mono) -> Box<Measured> {
        let (mut reference_sent, mut reference_lost) = self.references(self.lane.small);
        if matches!(verdict, Verdict::Clear { .. }) && self.top != self.lane.small {
            let (sent, lost) = self.references(self.top);
            reference_sent += sent;
            reference_lost += lost;
        }
        Box::new(Measured {
            round_trip: self.round_trip,
            sent: self.sent,
            reference_sent,
            reference_lost,
            ..Measured::new(verdict, now)
        })
    }

    /// How many probes of `size` left and were lost. One that nobody waited for is not lost; while nothing at all is
    /// answered, all were waited for.
    fn references(&self, size: IpSize) -> (u32, u32) {
        let Some(tries) = self.sizes.get(&size) else { return (0, 0) };
        let waited_for = if self.alive_since.is_none() { tries.out.len() } else { 0 };
        let lost = (tries.silent - tries.filtered.min(tries.silent)) + u32::try_from(waited_for).unwrap_or(u32::MAX);
        (tries.left, lost)
    }
}
