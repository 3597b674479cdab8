//! What a stage asked for, and what became of it.
//!
//! The stages after the search ask the same of every probe: whether it left, was answered, or was silent for long
//! enough. A probe is known by what it is (carrier, size, hops), so a repeat adds to the same [`Tries`]. Packets that
//! the stage did not ask for count as well when they leave: the stage before may have left some behind.
//!
//! What to ask next does not wait for a whole patience: what has stalled ([`Ledger::stall`]) is presumed to be silent.
//!
//! Datagrams of one size and source port cannot be told apart on the wire, and so are not by the prober: of those, the
//! next one is handed out when the one before has left. Probes leave in the order in which they were asked for.

mod doubt;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(super) use self::doubt::{Doubt, Judged};
use super::search::tries::Tries;
use super::search::{FAILURES, PATIENCE, PATIENCE_ROUND_TRIPS, STALL, STALL_ROUND_TRIPS};
use super::{Carrier, NotSent, Probe};
use crate::units::{IpSize, Mono};

/// The probes of one stage.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    tries: BTreeMap<Probe, Tries>,
    queue: VecDeque<Probe>,
    /// Handed out, and not known to have left.
    handed: Vec<Probe>,
    /// Most packets that may leave.
    budget: u32,
    slowest: Duration,
    /// When it was last asked.
    now: Mono,
    sent: u32,
    failures: u32,
    /// The smallest size that the kernel here calls too large.
    too_large: Option<IpSize>,
}

impl Ledger {
    /// A ledger for at most `budget` packets over a path whose round trip is known or not.
    pub(super) fn new(budget: u32, round_trip: Option<Duration>) -> Self {
        Self {
            tries: BTreeMap::new(),
            queue: VecDeque::new(),
            handed: Vec::new(),
            budget,
            slowest: round_trip.unwrap_or_default(),
            now: Mono::default(),
            sent: 0,
            failures: 0,
            too_large: None,
        }
    }

    /// Asks for a probe; false if the budget is spent.
    pub(super) fn ask(&mut self, probe: Probe) -> bool {
        let room = self.room() > 0;
        if room {
            self.tries.entry(probe).or_default().queued += 1;
            self.queue.push_back(probe);
        }
        room
    }

    /// The next probe to send.
    pub(super) fn next(&mut self) -> Option<Probe> {
        let waits = |probe: &Probe| matches!(probe.carrier, Carrier::Sweep { .. }) && self.handed.contains(probe);
        if self.queue.front().is_some_and(waits) {
            return None;
        }
        let probe = self.queue.pop_front()?;
        self.handed.push(probe);
        Some(probe)
    }

    fn on_fate(&mut self, probe: Probe) {
        if let Some(index) = self.handed.iter().position(|&handed| handed == probe) {
            self.handed.swap_remove(index);
        }
    }

    /// Forgets what has not been handed out.
    pub(super) fn clear(&mut self) {
        for probe in self.queue.drain(..) {
            if let Some(tries) = self.tries.get_mut(&probe) {
                tries.queued = tries.queued.saturating_sub(1);
            }
        }
    }

    /// Forgets the kernel's failures: what is tried next is something else.
    pub(super) const fn forgive(&mut self) {
        self.failures = 0;
    }

    /// `probe` left.
    pub(super) fn on_sent(&mut self, probe: Probe, now: Mono) {
        self.sent += 1;
        self.on_fate(probe);
        if let Some(tries) = self.tries.get_mut(&probe) {
            tries.on_left(now);
        }
    }

    /// `probe` was answered by whoever it was meant for.
    pub(super) fn on_answered(&mut self, probe: Probe, round_trip: Option<Duration>, fragment: Option<IpSize>) {
        if let Some(tries) = self.tries.get_mut(&probe) {
            tries.on_answered(fragment);
            self.slowest = self.slowest.max(round_trip.unwrap_or_default());
        }
    }

    /// The kernel here did not send `probe`. A filter here is silence; anything else is no try at all.
    pub(super) fn on_not_sent(&mut self, probe: Probe, why: NotSent, now: Mono) {
        self.on_fate(probe);
        let Some(tries) = self.tries.get_mut(&probe) else { return };
        if why == NotSent::Filtered {
            return tries.on_filtered(now);
        }
        tries.queued = tries.queued.saturating_sub(1);
        if why == NotSent::TooLarge {
            self.too_large = Some(self.too_large.map_or(probe.size, |size| size.min(probe.size)));
        } else {
            self.failures += 1;
        }
    }

    /// Somebody knows that `probe` will not be answered.
    pub(super) fn on_silent(&mut self, probe: Probe) {
        let Some(tries) = self.tries.get_mut(&probe) else { return };
        if tries.out.pop().is_some() {
            tries.silent += 1;
        }
    }

    /// Gives up what left too long ago.
    pub(super) fn expire(&mut self, now: Mono) {
        self.now = now;
        let patience = self.patience();
        self.tries.values_mut().for_each(|tries| tries.expire(Mono::default(), patience, now));
    }

    /// Every probe that was asked for, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Probe, &Tries)> {
        self.tries.iter().map(|(&probe, tries)| (probe, tries))
    }

    /// What became of `probe`, if it was asked for.
    pub(super) fn of(&self, probe: Probe) -> Option<&Tries> {
        self.tries.get(&probe)
    }

    /// Whether `probe` was asked for.
    pub(super) fn tried(&self, probe: Probe) -> bool {
        self.of(probe).is_some_and(Tries::tried)
    }

    /// Whether the fate of `probe` is open.
    pub(super) fn pending(&self, probe: Probe) -> bool {
        self.of(probe).is_some_and(Tries::pending)
    }

    /// Whether `probe` is likely to be answered, or about to leave.
    pub(super) fn hopeful(&self, probe: Probe) -> bool {
        self.of(probe).is_some_and(|tries| tries.hopeful(Mono::default(), self.stall(), self.now))
    }

    /// How often `probe` was not answered so far.
    pub(super) fn missing(&self, probe: Probe) -> u32 {
        self.of(probe).map_or(0, Tries::missing)
    }

    /// How often `probe` was answered.
    pub(super) fn answered(&self, probe: Probe) -> u32 {
        self.of(probe).map_or(0, |tries| tries.answered)
    }

    /// How often `probe` was silent.
    pub(super) fn silences(&self, probe: Probe) -> u32 {
        self.of(probe).map_or(0, |tries| tries.silent)
    }

    /// The largest fragment of the answers to `probe`, if all of them came in fragments.
    pub(super) fn fragment(&self, probe: Probe) -> Option<IpSize> {
        self.of(probe).and_then(|tries| tries.fragment)
    }

    /// The smallest size that the kernel here calls too large.
    pub(super) const fn too_large(&self) -> Option<IpSize> {
        self.too_large
    }

    /// Whether the kernel here failed to send too often.
    pub(super) const fn failed(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Packets that left, those of the stage before included.
    pub(super) const fn sent(&self) -> u32 {
        self.sent
    }

    /// Packets that may still be asked for.
    pub(super) fn room(&self) -> u32 {
        let queued: u32 = self.tries.values().map(|tries| tries.queued).sum();
        self.budget.saturating_sub(self.sent + queued)
    }

    /// After so long an answer is unlikely.
    pub(super) fn stall(&self) -> Duration {
        STALL.max(self.slowest * STALL_ROUND_TRIPS)
    }

    /// When the next silence is over, or the next stall begins.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let out = self.tries.values().flat_map(|tries| &tries.out);
        let ends = out.flat_map(|&left| [left + self.stall(), left + self.patience()]);
        ends.filter(|&at| at > self.now).min()
    }

    fn patience(&self) -> Duration {
        PATIENCE.max(self.slowest * PATIENCE_ROUND_TRIPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Probe = Probe::new(Carrier::Timestamp, IpSize::new(1500));

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    fn asked(budget: u32) -> Ledger {
        let mut ledger = Ledger::new(budget, None);
        assert!(ledger.ask(PROBE));
        assert_eq!(ledger.next(), Some(PROBE));
        ledger
    }

    #[test]
    fn the_budget_holds_for_what_left_and_what_is_about_to() {
        let mut ledger = asked(2);
        assert!(ledger.ask(PROBE) && !ledger.ask(PROBE));
        ledger.on_sent(PROBE, at(0));
        assert_eq!((ledger.room(), ledger.sent()), (0, 1));
    }

    #[test]
    fn what_the_stage_before_left_behind_counts_and_is_nobodys_silence() {
        let mut ledger = asked(2);
        let other = Probe::new(Carrier::Echo, IpSize::new(84));
        ledger.on_sent(other, at(0));
        ledger.on_answered(other, Some(Duration::from_secs(9)), None);
        ledger.on_silent(other);
        assert_eq!((ledger.room(), ledger.sent(), ledger.of(other).is_none()), (0, 1, true));
        assert_eq!(ledger.stall(), STALL, "its round trip is not this stage's");
    }

    #[test]
    fn datagrams_that_look_the_same_leave_one_after_the_other_and_nothing_overtakes_them() {
        let sweep = Probe::new(Carrier::Sweep { source: 1 }, IpSize::new(1500));
        let mut ledger = Ledger::new(9, None);
        for probe in [sweep, sweep, PROBE, PROBE] {
            ledger.ask(probe);
        }
        assert_eq!((ledger.next(), ledger.next()), (Some(sweep), None));
        ledger.on_not_sent(sweep, NotSent::Filtered, at(0));
        assert_eq!((ledger.next(), ledger.next()), (Some(sweep), Some(PROBE)));
        assert_eq!(ledger.next(), Some(PROBE), "what can be told apart leaves at once");
    }

    #[test]
    fn silence_is_over_after_the_patience_that_the_path_needs() {
        let mut ledger = Ledger::new(9, Some(Duration::from_millis(100)));
        ledger.ask(PROBE);
        assert_eq!(ledger.deadline(), None, "it waits for the packet budget: that is no silence");
        ledger.on_sent(PROBE, at(0));
        assert_eq!(ledger.deadline(), Some(at(200)));
        assert!(ledger.hopeful(PROBE));
        ledger.expire(at(200));
        assert_eq!((ledger.hopeful(PROBE), ledger.missing(PROBE), ledger.silences(PROBE)), (false, 1, 0));
        assert_eq!(ledger.deadline(), Some(at(400)));
        ledger.expire(at(399));
        assert!(ledger.pending(PROBE));
        ledger.expire(at(400));
        assert_eq!((ledger.pending(PROBE), ledger.silences(PROBE)), (false, 1));
    }

    #[test]
    fn a_filter_here_is_silence_and_a_failure_is_no_try() {
        let mut ledger = asked(9);
        ledger.on_not_sent(PROBE, NotSent::Filtered, at(0));
        assert_eq!((ledger.silences(PROBE), ledger.room(), ledger.failed()), (1, 9, false));
        for _ in 0..FAILURES {
            ledger.ask(PROBE);
            ledger.on_not_sent(PROBE, NotSent::NoRoute, at(0));
        }
        assert_eq!((ledger.silences(PROBE), ledger.room(), ledger.failed()), (1, 9, true));
    }

    #[test]
    fn the_smallest_size_that_is_too_large_here_is_kept() {
        let mut ledger = Ledger::new(9, None);
        for size in [1500, 1400, 1450] {
            let probe = Probe::new(Carrier::Timestamp, IpSize::new(size));
            ledger.ask(probe);
            ledger.on_not_sent(probe, NotSent::TooLarge, at(0));
            assert!(!ledger.tried(probe));
        }
        assert_eq!(ledger.too_large(), Some(IpSize::new(1400)));
    }
}
