//! Finds the hops of a path, what each of them sees, and behind which one a size vanishes.
//!
//! A packet whose time to live ends at a hop is answered by that hop, in a few bytes whatever its size: a hop that
//! answers has seen the whole packet. So a small probe asks each hop for its name, and a large one beside it whether it
//! came so far.
//!
//! 1. **One hop after the other**, small and large in step, for an answer costs a round trip and no more. A hop that
//!    keeps silent for a stall ([`Ledger::stall`]) does not hold up those behind it: up to [`WINDOW`] of them are waited for at once. It
//!    ends at the target, at a hop that refuses, behind [`SILENT_RUN`] hops that say nothing, or after [`MOST_HOPS`].
//! 2. **A size that does not get to a hop that answers small ones goes no further.** The next smaller size of interest
//!    goes on from there. So does it where a hop says "too big".
//! 3. **The hole** is behind the last hop that saw the size, and before the first one that only sees small packets.
//!    Nothing is claimed from less than [`Doubt`] asks for: silent again and again, while small ones are answered there
//!    before and after. Meanwhile every hop behind it is asked once with the size, for some routers answer no large
//!    packets and pass them on. At the target itself the search has asked already, but its silence says nothing where
//!    the way back may be the hole: so the target ends a hole only if the way is known to be the one there. A size that
//!    any later hop sees, or that a hop calls too big, has no hole.
//!
//! On a path that loses nothing this takes at most four packets for each hop and size: small and large at each, and four
//! more where the size vanishes. Two packets a hop stay below what routers allow (Linux: six errors at once to one
//! asker, then one a second); the large one leaves first, so a limit that others have used up silences the small one as
//! well, and a hop that answers no small ones proves nothing.
//!
//! Two addresses at one distance are equal-cost paths: the first to answer is named, the other one kept beside it.

mod advance;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::ledger::{Doubt, Ledger};
use super::search::IDLE;
use super::{Answer, Carrier, Hole, HopRow, Probe, Step};
use crate::units::{IpSize, Mono};

/// The farthest hop that is asked: traceroute's default, and twice what data centres have.
const MOST_HOPS: u8 = 30;
/// Hops in a row that say nothing before it ends.
const SILENT_RUN: u8 = 5;
/// Silent hops that are waited for at once.
const WINDOW: usize = 4;
/// Times that a hop, or a size at a hop, is tried before it is taken as silent. A hole asks for more.
const TRIES: u32 = 2;

/// What was seen of the hops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The hops in order.
    pub hops: Vec<HopRow>,
    /// Between which of them the size vanishes that was asked about.
    pub hole: Option<Hole>,
    /// Packets that left for it.
    pub sent: u32,
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The target: whose own words end the path.
    pub address: IpAddr,
    /// What carries the sizes.
    pub carrier: Carrier,
    /// Size of probes that every hop sees.
    pub small: IpSize,
    /// Larger sizes that tell the hops apart.
    pub sizes: Vec<IpSize>,
    /// A size that is known to vanish.
    pub vanishes: Option<Vanishes>,
    /// The path's round trip, where known.
    pub round_trip: Option<Duration>,
}

/// A size that vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vanishes {
    /// The size.
    pub size: IpSize,
    /// Whether it is known to be lost on the way there.
    pub there: bool,
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Hops {
    sight: Sight,
    ledger: Ledger,
    /// Hops that answered, by distance.
    seen: BTreeMap<u8, Seen>,
    /// The farthest hop that was asked.
    opened: u8,
    /// The nearest distance at which the target itself answered.
    end: Option<u8>,
    /// The nearest distance at which a hop refused.
    refused: Option<u8>,
    /// The nearest distance at which a size was called too big.
    too_big: BTreeMap<IpSize, u8>,
    /// Whether the size that vanishes gets to a hop.
    doubt: Option<(u8, Doubt)>,
    /// The hop that it does not get to.
    before: Option<u8>,
    done: bool,
}

/// A hop that answered.
#[derive(Clone, Copy, Debug)]
struct Seen {
    address: IpAddr,
    also: Option<IpAddr>,
    round_trip: Option<Duration>,
}

impl Hops {
    /// Looks at the hops of a path.
    pub fn new(mut sight: Sight) -> Self {
        sight.sizes.extend(sight.vanishes.map(|vanishes| vanishes.size));
        sight.sizes.retain(|&size| size > sight.small);
        sight.sizes.sort_unstable_by(|one, other| other.cmp(one));
        sight.sizes.dedup();
        let ledger = Ledger::new(u32::MAX, sight.round_trip);
        Self {
            sight,
            ledger,
            seen: BTreeMap::new(),
            opened: 0,
            end: None,
            refused: None,
            too_big: BTreeMap::new(),
            doubt: None,
            before: None,
            done: false,
        }
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        self.ledger.on_sent(probe, now);
    }

    /// What became of `probe`.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
        let Some(ttl) = probe.ttl.filter(|_| self.ledger.of(probe).is_some()) else { return };
        let target = self.sight.address;
        match answer {
            Answer::Carried { round_trip, .. } => self.on_target(probe, ttl, round_trip),
            Answer::Expired { by, round_trip } => self.on_seen(probe, ttl, by, round_trip),
            Answer::TooBig { by, .. } | Answer::Refused { by, .. } if by == target => self.on_target(probe, ttl, None),
            Answer::TooBig { .. } => {
                let nearest = self.too_big.entry(probe.size).or_insert(ttl);
                *nearest = ttl.min(*nearest);
            }
            Answer::Refused { by, .. } if probe.size == self.sight.small => {
                self.refused = Some(self.refused.map_or(ttl, |nearest| nearest.min(ttl)));
                self.on_seen(probe, ttl, by, None);
            }
            Answer::Refused { .. } => {}
            Answer::NotSent { why } => self.ledger.on_not_sent(probe, why, now),
            Answer::Silent => self.ledger.on_silent(probe),
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Mono) -> Step<Trace> {
        self.ledger.expire(now);
        if let Some(probe) = self.ledger.next() {
            return Step::Send(probe);
        }
        if !self.done {
            self.done = !self.advance(now) && !self.awaits();
        }
        if self.done {
            return Step::Done(Box::new(self.trace()));
        }
        let next = self.ledger.next().map(Step::Send);
        next.unwrap_or_else(|| Step::Wait(self.ledger.deadline().unwrap_or(now + IDLE)))
    }

    fn on_target(&mut self, probe: Probe, ttl: u8, round_trip: Option<Duration>) {
        self.end = Some(self.end.map_or(ttl, |nearest| nearest.min(ttl)));
        self.on_seen(probe, ttl, self.sight.address, round_trip);
    }

    fn on_seen(&mut self, probe: Probe, ttl: u8, by: IpAddr, round_trip: Option<Duration>) {
        self.ledger.on_answered(probe, round_trip, None);
        let seen = self.seen.entry(ttl).or_insert(Seen { address: by, also: None, round_trip });
        seen.round_trip = seen.round_trip.into_iter().chain(round_trip).min();
        if seen.address != by {
            seen.also.get_or_insert(by);
        }
    }

    fn small(&self, ttl: u8) -> Probe {
        self.probe(self.sight.small, ttl)
    }

    const fn probe(&self, size: IpSize, ttl: u8) -> Probe {
        Probe { carrier: self.sight.carrier, size, ttl: Some(ttl) }
    }
}
