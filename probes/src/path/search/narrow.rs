//! Narrows silence down to two neighbouring sizes, and confirms the edge between them.
//!
//! A burst over the usual sizes, then bursts that split what is left: time goes by rounds, not by packets. A round is
//! over when what is not answered has stalled ([`STALL`](super::STALL)); the next one is chosen as if it stayed silent.
//! A verdict waits until nothing is under way. A lost packet looks like an edge, so nothing rests on one silence: the size above the edge must be silent
//! [`SILENCES`] times, and once more for every loss seen on this path among sizes that pass. At least
//! [`WITNESSED`] of the silences must fall into rounds in which a companion of a size that passes was answered: a
//! host that dies during the search is no black hole. The companion is waited for in full.

use std::collections::BTreeSet;

use super::tries::Tries;
use super::{BUDGET, Search, usual};
use crate::path::{Limit, Measured, Verdict};
use crate::units::{IpSize, Mono};

/// Silences above the edge before it is believed, on a path that lost nothing else.
pub(in crate::path) const SILENCES: u32 = 4;
/// The most that losses can raise [`SILENCES`] to.
pub(in crate::path) const MOST_SILENCES: u32 = 6;
/// Silences above the edge that an answered companion witnesses.
pub(in crate::path) const WITNESSED: u32 = 3;
/// Sizes that a burst splits a gap by.
const SPLIT: u32 = 2;
/// Gaps of up to so many sizes are filled entirely.
const FILL: u32 = 6;
/// Above a usual MTU: the next size, and what passes with veth's and bridge's room for one 802.1Q tag.
const ABOVE_USUAL: [u32; 3] = [1, 4, 5];
/// Silences of the upper end before it is left out of the bursts that split below it.
const DOUBTED_ENOUGH: u32 = 3;

/// How far it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow {
    burst: bool,
    split: bool,
    round: Option<Round>,
    /// The size above the edge and its witnessed silences.
    witnessed: Option<(IpSize, u32)>,
    /// What it comes to unless something is answered after all.
    pub presumed: Option<Box<Measured>>,
}

/// A round of confirmation: what was known when it began.
#[derive(Clone, Copy, Debug)]
struct Round {
    edge: IpSize,
    silent: u32,
    companion: IpSize,
    answered: u32,
}

impl Search {
    /// Goes on above `carries`, the largest size that was answered, once every probe's fate is known or likely.
    pub(super) fn narrow_down(&mut self, carries: IpSize, now: Mono) {
        if self.is_under_way(now) {
            return;
        }
        let settled = !self.sizes.values().any(Tries::pending);
        self.end_round();
        let doubted = self.sizes.range(carries.plus(1)..=self.top).find(|(_, tries)| tries.doubted());
        let drops = doubted.map_or(self.top, |(&size, _)| size);
        if self.is_confirmed(carries, drops) {
            return self.conclude(self.edge_verdict(carries, drops), settled, now);
        }
        if self.spent() >= BUDGET {
            if settled {
                self.give_up(carries, drops, now);
            }
            return;
        }
        let sizes = self.next_burst(carries, drops);
        sizes.into_iter().take_while(|&size| self.ask(size)).count();
    }

    /// Whether the round is not over.
    fn is_under_way(&self, now: Mono) -> bool {
        let Some(since) = self.alive_since.filter(|_| self.narrow.burst) else {
            return self.sizes.values().any(Tries::pending);
        };
        let companion = self.narrow.round.and_then(|round| {
            let companion = self.sizes.get(&round.companion)?;
            Some(companion.answered <= round.answered && companion.pending())
        });
        companion == Some(true) || self.sizes.values().any(|tries| tries.hopeful(since, self.stall(), now))
    }

    fn conclude(&mut self, verdict: Verdict, settled: bool, now: Mono) {
        if settled {
            self.finish(verdict, now);
        } else if let Verdict::BlackHole { .. } = verdict {
            self.narrow.presumed = Some(self.measured(verdict, now));
        }
    }

    fn next_burst(&mut self, carries: IpSize, drops: IpSize) -> Vec<IpSize> {
        if !std::mem::replace(&mut self.narrow.burst, true) {
            return usual::burst(carries, drops);
        }
        if drops.bytes() - carries.bytes() > 1 {
            return self.split(carries, drops);
        }
        self.confirm(drops)
    }

    fn split(&mut self, carries: IpSize, drops: IpSize) -> Vec<IpSize> {
        let first = !std::mem::replace(&mut self.narrow.split, true);
        let gap = drops.bytes() - carries.bytes();
        let mut sizes: BTreeSet<u32> = if gap <= FILL + 1 {
            (1..gap).collect()
        } else {
            let above_usual = ABOVE_USUAL.into_iter().filter(|_| first);
            (1..=SPLIT).map(|part| gap * part / (SPLIT + 1)).chain(above_usual).collect()
        };
        if self.missing(drops) < DOUBTED_ENOUGH {
            sizes.insert(gap);
        }
        sizes.into_iter().map(|step| carries.plus(step)).collect()
    }

    fn confirm(&mut self, edge: IpSize) -> Vec<IpSize> {
        let Some((&companion, tries)) = self.sizes.iter().find(|(_, tries)| tries.answered > 0) else {
            return Vec::new();
        };
        let silent = self.missing(edge);
        self.narrow.round = Some(Round { edge, silent, companion, answered: tries.answered });
        let missing = self.needed(edge).saturating_sub(silent).max(WITNESSED - self.witnessed(edge).min(WITNESSED));
        let mut sizes = vec![edge; missing.clamp(1, WITNESSED) as usize];
        sizes.push(companion);
        sizes
    }

    /// Counts the silences of the round that is over, if its companion was answered.
    fn end_round(&mut self) {
        let Some(round) = self.narrow.round.take() else { return };
        let answered = self.sizes.get(&round.companion).map_or(0, |tries| tries.answered);
        if answered > round.answered {
            let silent = self.missing(round.edge).saturating_sub(round.silent);
            self.narrow.witnessed = Some((round.edge, self.witnessed(round.edge) + silent));
        }
    }

    fn is_confirmed(&self, carries: IpSize, drops: IpSize) -> bool {
        drops.bytes() - carries.bytes() == 1
            && self.missing(drops) >= self.needed(drops)
            && self.witnessed(drops) >= WITNESSED
    }

    /// Silences that make an edge below `drops` certain enough, given the losses seen among smaller sizes.
    fn needed(&self, drops: IpSize) -> u32 {
        let losses: u32 = self.sizes.range(..drops).map(|(_, tries)| tries.missing()).sum();
        (SILENCES + losses).min(MOST_SILENCES)
    }

    fn missing(&self, size: IpSize) -> u32 {
        self.sizes.get(&size).map_or(0, Tries::missing)
    }

    fn witnessed(&self, edge: IpSize) -> u32 {
        self.narrow.witnessed.filter(|&(size, _)| size == edge).map_or(0, |(_, silences)| silences)
    }

    /// Signalled if an error speaks of the very size above the edge; else the errors about larger sizes are of another
    /// hop. A filter of this machine that drops the size is named as this machine.
    fn edge_verdict(&self, carries: IpSize, drops: IpSize) -> Verdict {
        let edge = self.sizes.get(&drops);
        if let Some(&by) = edge.and_then(|tries| tries.hints.first()) {
            return Verdict::Limited { mtu: carries, by };
        }
        let filter =
            edge.filter(|tries| tries.filtered > 0).map(|_| Limit { address: None, reported_mtu: None, ttl: None });
        let local = (self.top < self.lane.expected).then(|| self.local_limit());
        let earlier = self.sizes.range(drops..).flat_map(|(_, tries)| &tries.hints).copied();
        let nearest = earlier.min_by_key(|hint| hint.reported_mtu.unwrap_or(IpSize::MAX));
        Verdict::BlackHole { carries, drops, by: filter.or(nearest).or(local) }
    }

    fn give_up(&mut self, carries: IpSize, drops: IpSize, now: Mono) {
        let losses: u32 = self.sizes.range(..=carries).map(|(_, tries)| tries.silent).sum();
        let why = format!(
            "{BUDGET} packets did not settle it: {carries} bytes pass, {drops} were not answered, and {losses} probes \
             of sizes that pass were lost"
        );
        self.unknown(now, why);
    }
}
