//! Tells the way there from the way back.
//!
//! 1. **Nothing came in fragments, and nothing vanishes.** No packet is spent: the request, which may not be
//!    fragmented, arrived, and its answer came back as it was sent. So both ways carry that size. A hop that called
//!    a larger one too big spoke of our packet: the limit is on the way there.
//! 2. **The largest answer came in fragments.** Linux answers an echo without DF, or over IPv6 cuts the answer to the
//!    MTU that it was told, so the way there carries the whole size and the way back does not. Fragments are cut to
//!    multiples of eight bytes, so the MTU there is one of eight, from the largest fragment on: an answer comes back
//!    whole exactly if it is no larger. Three echoes find it by halving.
//! 3. **A size vanishes.** A padded ICMP timestamp request is answered by 40 bytes, whatever its size. If a small one is
//!    answered, then the size that vanishes is asked for again and again, as a grave [`Doubt`] does. One answer: it
//!    arrived, so the way back loses it, and what the way there carries beyond is searched upward (`upward`). Only
//!    silence: the way there loses it. Where timestamps are filtered, and over IPv6, which has none, a UDP datagram to
//!    a closed port does the same: its answer, port unreachable, is at most [`largest_error`] long, so a path that
//!    carries less tells nothing apart. All leave from one source port, for another one may take another path.
//!
//! It can begin before the search is certain of what vanishes: all but halving asks by carriers that the search does not
//! use.
//!
//! Whatever is not settled within the budget stays unknown: a way that is not known is not guessed.

#[cfg(test)]
mod tests;
mod upward;

use super::ledger::{Doubt, Judged, Ledger};
use super::search::{BUDGET, IDLE, Lane};
use super::{Answer, Carrier, Measured, Probe, Step, Verdict, Way};
use crate::units::{Family, IpSize, Mono};

/// Fragments but the last carry a multiple of so many bytes (RFC 791 §3.1, RFC 8200 §4.5).
const FRAGMENT_UNIT: u32 = 8;
/// Times that a probe is tried whose answer is expected.
const TRIES: u32 = 3;
/// Most sizes that errors may name during this stage: a forger must not spend its packets.
const NAMED: usize = 4;

/// What is known of the two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The largest size that was seen to arrive there.
    pub forward: Option<IpSize>,
    /// The largest size that was seen to come back whole.
    pub reverse: Option<IpSize>,
    /// On which way larger sizes vanish.
    pub way: Option<Way>,
    /// Packets that left for it.
    pub sent: u32,
}

/// What the search found, as far as the ways are concerned.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// What was searched.
    pub lane: Lane,
    /// What came of it.
    pub measured: &'a Measured,
    /// The largest fragment of the answer to the largest size, if it came in fragments.
    pub fragment: Option<IpSize>,
    /// Sizes that hops named.
    pub named: &'a [IpSize],
    /// Packets of the budget that are spent, those included that have not left.
    pub spent: u32,
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Direction {
    lane: Lane,
    /// The largest size that was answered.
    carries: IpSize,
    /// The smallest size that vanishes.
    drops: Option<IpSize>,
    /// The largest packet that came back whole, and whether larger ones come in fragments.
    whole: (IpSize, bool),
    /// Sizes that hops named, and how many of them since this stage began.
    named: (Vec<IpSize>, usize),
    /// Carriers whose answers are small, the best one last.
    carriers: Vec<Carrier>,
    phase: Phase,
    ledger: Ledger,
    /// What an answer to the size that vanishes, or its silence, tells.
    told: Option<(Way, IpSize)>,
    /// Whether only the silence of what is under way is missing.
    presumes: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    /// An answer of `least` bytes comes whole, one of `most` does not.
    Whole {
        least: IpSize,
        most: IpSize,
    },
    /// Is a small probe of this carrier answered?
    Answers(Carrier),
    /// Does the size that vanishes arrive?
    Arrives(Carrier, Doubt),
    /// It does. What else does?
    Upward(Carrier),
    Done,
}

impl Direction {
    /// Tells the ways apart after a search. `source` is the source port of UDP datagrams.
    pub fn new(found: &Found<'_>, source: u16) -> Self {
        let Found { lane, measured, fragment, named, spent } = *found;
        let budget = BUDGET.saturating_sub(spent);
        let carries = measured.verdict.path_mtu().unwrap_or(IpSize::new(0));
        let fragment = fragment.filter(|&fragment| fragment < carries);
        let drops = match measured.verdict {
            Verdict::BlackHole { drops, .. } => Some(drops),
            _ => None,
        };
        let mut direction = Self {
            lane,
            carries,
            drops,
            whole: (fragment.unwrap_or(carries), fragment.is_some()),
            named: (named.to_vec(), 0),
            carriers: carriers(Family::of(lane.address), carries, source),
            phase: Phase::Done,
            ledger: Ledger::new(budget, measured.round_trip),
            told: None,
            presumes: false,
        };
        direction.phase = match fragment {
            Some(least) => Phase::Whole { least, most: carries.min(least.plus(FRAGMENT_UNIT)) },
            None => direction.next_carrier(),
        };
        direction
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        self.ledger.on_sent(probe, now);
    }

    /// What became of `probe`.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
        match answer {
            Answer::Carried { round_trip, fragment } => {
                self.ledger.on_answered(probe, round_trip, fragment);
                self.on_carried(probe);
            }
            Answer::TooBig { mtu: Some(mtu), .. } => self.on_named(mtu),
            Answer::NotSent { why } => self.ledger.on_not_sent(probe, why, now),
            Answer::Silent => self.ledger.on_silent(probe),
            Answer::TooBig { .. } | Answer::Expired { .. } | Answer::Refused { .. } => {}
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Mono) -> Step<Ways> {
        self.ledger.expire(now);
        self.presumes = false;
        while let Some(next) = self.next_phase() {
            self.phase = next;
            self.ledger.clear();
        }
        if let Phase::Done = self.phase {
            return Step::Done(Box::new(self.ways()));
        }
        let next = self.ledger.next().map(Step::Send);
        next.unwrap_or_else(|| Step::Wait(self.ledger.deadline().unwrap_or(now + IDLE)))
    }

    /// The way on which larger sizes vanish, unless what is under way is answered after all.
    pub fn presumed(&self) -> Option<Way> {
        self.presumes.then_some(Way::Forward)
    }

    /// An echo of a size that is said to vanish, answered after all: there is nothing to tell apart.
    fn on_carried(&mut self, probe: Probe) {
        if probe.carrier == Carrier::Echo && self.drops.is_some_and(|drops| probe.size >= drops) {
            self.told = None;
            self.phase = Phase::Done;
        }
    }

    fn on_named(&mut self, mtu: IpSize) {
        let (named, new) = &mut self.named;
        if *new < NAMED && !named.contains(&mtu) {
            named.push(mtu);
            *new += 1;
        }
    }

    fn ways(&self) -> Ways {
        let (whole, fragmented) = self.whole;
        let sent = self.ledger.sent();
        match (self.told, self.drops) {
            (Some((way, forward)), _) => Ways { forward: Some(forward), reverse: Some(whole), way: Some(way), sent },
            (None, Some(_)) => Ways { forward: None, reverse: fragmented.then_some(whole), way: None, sent },
            (None, None) if self.carries == IpSize::new(0) => Ways { sent, ..Ways::default() },
            (None, None) => Ways { forward: Some(self.carries), reverse: Some(whole), way: None, sent },
        }
    }

    /// Where to go on from here; `None` while probes are under way.
    fn next_phase(&mut self) -> Option<Phase> {
        match self.phase {
            Phase::Whole { least, most } => self.halve(least, most),
            Phase::Answers(carrier) => match self.insist(Probe::new(carrier, self.lane.small)) {
                Judged::Open | Judged::Presumed => None,
                Judged::Answered => Some(self.arrives(carrier)),
                Judged::Vanishes | Judged::Unsettled => Some(self.next_carrier()),
            },
            Phase::Arrives(..) => self.judge(),
            Phase::Upward(carrier) => self.climb(carrier),
            Phase::Done => None,
        }
    }

    fn halve(&mut self, least: IpSize, most: IpSize) -> Option<Phase> {
        self.whole.0 = least;
        let middle = IpSize::new(least.bytes().midpoint(most.bytes()));
        if middle == least || middle < self.lane.floor {
            return Some(self.next_carrier());
        }
        let echo = Probe::new(self.lane.carrier, middle);
        match self.insist(echo) {
            Judged::Open | Judged::Presumed => None,
            Judged::Answered if self.ledger.fragment(echo).is_some() => Some(Phase::Whole { least, most: middle }),
            Judged::Answered => Some(Phase::Whole { least: middle, most }),
            Judged::Vanishes | Judged::Unsettled => Some(self.next_carrier()),
        }
    }

    fn next_carrier(&mut self) -> Phase {
        self.ledger.forgive();
        self.drops.and_then(|_| self.carriers.pop()).map_or(Phase::Done, Phase::Answers)
    }

    fn arrives(&self, carrier: Carrier) -> Phase {
        let drops = self.drops.unwrap_or(self.lane.expected);
        Phase::Arrives(carrier, Doubt::grave(Probe::new(carrier, drops), Probe::new(carrier, self.lane.small)))
    }

    fn judge(&mut self) -> Option<Phase> {
        let (Phase::Arrives(carrier, doubt), Some(drops)) = (&mut self.phase, self.drops) else { return None };
        let (carrier, suspect) = (*carrier, Probe::new(*carrier, drops));
        // One at first where answers are limited in rate: if it is answered, the others would be wasted.
        if is_limited(carrier) && !self.ledger.tried(suspect) && self.ledger.ask(suspect) {
            return None;
        }
        match doubt.judge(&mut self.ledger) {
            Judged::Open => None,
            Judged::Presumed => {
                self.presumes = true;
                None
            }
            Judged::Answered => Some(Phase::Upward(carrier)),
            Judged::Vanishes => {
                self.told = Some((Way::Forward, self.carries));
                Some(Phase::Done)
            }
            Judged::Unsettled => Some(Phase::Done),
        }
    }

    /// Tries a probe whose answer is expected: once, then as often as is left at once.
    fn insist(&mut self, probe: Probe) -> Judged {
        if self.ledger.answered(probe) > 0 {
            return Judged::Answered;
        }
        if self.ledger.pending(probe) {
            return Judged::Open;
        }
        let silent = self.ledger.silences(probe);
        let is_too_large = self.ledger.too_large().is_some_and(|size| probe.size >= size);
        if silent >= TRIES || is_too_large || self.ledger.failed() {
            return Judged::Unsettled;
        }
        let tries = if silent == 0 { 1 } else { TRIES - silent };
        let asked = (0..tries).filter(|_| self.ledger.ask(probe)).count();
        if asked > 0 { Judged::Open } else { Judged::Unsettled }
    }
}

/// Carriers whose answers are small enough to come back over a path that carries so much, the best one last.
fn carriers(family: Family, carries: IpSize, source: u16) -> Vec<Carrier> {
    let sweep = (carries >= largest_error(family)).then_some(Carrier::Sweep { source });
    let timestamp = (family == Family::Ipv4).then_some(Carrier::Timestamp);
    sweep.into_iter().chain(timestamp).collect()
}

/// Whether its answers are limited in rate: Linux sends six ICMP errors at once to one asker, then one a second.
const fn is_limited(carrier: Carrier) -> bool {
    matches!(carrier, Carrier::Sweep { .. })
}

/// The largest ICMP error, the packet that it quotes included: RFC 1812 §4.3.2.3 lets it grow to 576 bytes, RFC 4443
/// §2.4 (c) to the least MTU of IPv6.
pub(super) const fn largest_error(family: Family) -> IpSize {
    match family {
        Family::Ipv4 => IpSize::new(576),
        Family::Ipv6 => IpSize::new(1280),
    }
}
