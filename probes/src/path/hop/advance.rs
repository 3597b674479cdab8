//! What to ask next: everything follows from what is known of each hop and size, whatever the order in which it came.

use super::{Hops, MOST_HOPS, SILENT_RUN, TRIES, WINDOW};
use crate::path::Probe;
use crate::path::ledger::{Doubt, Judged};
use crate::units::{IpSize, Mono};

/// How it stands with a size.
enum Progress {
    /// These come next; if there are none, the fate of some is open.
    Ask(Vec<Probe>),
    /// It goes no further, as far as is known.
    Over,
}

impl Hops {
    /// Asks what comes next; false if there is nothing.
    pub(super) fn advance(&mut self, now: Mono) -> bool {
        if self.ledger.failed() {
            return false;
        }
        let before = self.ledger.room();
        let opens = self.opens(now);
        self.opened += u8::from(opens);
        let large = self.next_large(now);
        let small = opens.then_some(self.opened).into_iter().chain(self.repeats());
        let small: Vec<_> = small.map(|ttl| self.small(ttl)).collect();
        for probe in large.into_iter().chain(small) {
            self.ledger.ask(probe);
        }
        self.ledger.room() < before
    }

    /// Whether an answer may still change anything.
    pub(super) fn awaits(&self) -> bool {
        let last = self.last();
        let known_to_be_lost = |probe: Probe| {
            self.end.is_some_and(|end| probe.ttl >= Some(end))
                && self.sight.vanishes.is_some_and(|vanishes| vanishes.size == probe.size)
        };
        let mut pending = self.ledger.iter().filter(|(_, tries)| tries.pending()).map(|(probe, _)| probe);
        pending.any(|probe| probe.ttl <= Some(last) && !known_to_be_lost(probe))
    }

    /// The farthest hop that matters.
    pub(super) fn last(&self) -> u8 {
        self.end.into_iter().chain(self.refused).min().unwrap_or(self.opened)
    }

    /// The farthest hop that is known to have seen `size`.
    pub(super) fn reach(&self, size: IpSize) -> u8 {
        let seen = self.ledger.iter().filter(|(probe, tries)| probe.size >= size && tries.answered > 0);
        seen.filter_map(|(probe, _)| probe.ttl).max().unwrap_or(0)
    }

    /// Whether a hop behind the last one that saw `size` calls it too big.
    pub(super) fn is_too_big(&self, size: IpSize) -> bool {
        self.too_big.get(&size).is_some_and(|&ttl| ttl > self.reach(size))
    }

    /// Whether the next hop is to be asked.
    fn opens(&self, now: Mono) -> bool {
        let last_seen = self.seen.keys().next_back().copied().unwrap_or(0);
        let is_over = self.end.is_some() || self.refused.is_some() || self.opened >= MOST_HOPS;
        if is_over || self.opened >= last_seen.saturating_add(SILENT_RUN) {
            return false;
        }
        let quiet = (1..=self.opened).filter(|&ttl| self.is_open(ttl)).count();
        let is_first = self.opened == 0;
        is_first || self.seen.contains_key(&self.opened) || (quiet < WINDOW && self.is_stalled(self.opened, now))
    }

    /// Whether a hop has not answered and may still do so.
    fn is_open(&self, ttl: u8) -> bool {
        !self.seen.contains_key(&ttl) && self.ledger.silences(self.small(ttl)) < TRIES
    }

    fn is_stalled(&self, ttl: u8, now: Mono) -> bool {
        let Some(tries) = self.ledger.of(self.small(ttl)) else { return false };
        tries.silent > 0 || tries.out.iter().any(|&left| left + self.ledger.stall() <= now)
    }

    /// Hops that a small probe is to ask once more.
    fn repeats(&self) -> Vec<u8> {
        let fits = self.ledger.too_large().is_none_or(|size| self.sight.small < size);
        let again = |&ttl: &u8| fits && self.is_open(ttl) && !self.ledger.pending(self.small(ttl));
        let known = self.opened.min(self.last());
        (1..=known).filter(|&ttl| self.ledger.of(self.small(ttl)).is_some()).filter(again).collect()
    }

    /// The next probes of the largest size that may still go further.
    fn next_large(&mut self, now: Mono) -> Vec<Probe> {
        for index in 0..self.sight.sizes.len() {
            if let Progress::Ask(probes) = self.progress(self.sight.sizes[index], now) {
                return probes;
            }
        }
        Vec::new()
    }

    fn progress(&mut self, size: IpSize, now: Mono) -> Progress {
        let is_too_large = self.ledger.too_large().is_some_and(|limit| size >= limit);
        if is_too_large || self.is_too_big(size) {
            return Progress::Over;
        }
        let mut next = Vec::new();
        for ttl in self.reach(size) + 1..=self.last().min(self.opened) {
            let probe = self.probe(size, ttl);
            let is_new = !self.ledger.tried(probe);
            if is_new {
                next.push(probe);
            }
            if self.seen.contains_key(&ttl) {
                let waits = !next.is_empty() || self.is_awaited(probe);
                return if waits && !self.is_lost_at_target(size, ttl) {
                    Progress::Ask(next)
                } else {
                    self.stuck(size, ttl)
                };
            }
            if !self.is_stalled(ttl, now) {
                break;
            }
        }
        Progress::Ask(next)
    }

    /// Whether a large probe holds up what follows from its silence. Of the size that vanishes more is asked anyway.
    fn is_awaited(&self, probe: Probe) -> bool {
        let vanishes = self.sight.vanishes.is_some_and(|vanishes| vanishes.size == probe.size);
        if vanishes { self.ledger.hopeful(probe) } else { self.ledger.pending(probe) }
    }

    fn is_lost_at_target(&self, size: IpSize, ttl: u8) -> bool {
        self.end == Some(ttl) && self.sight.vanishes.is_some_and(|vanishes| vanishes.size == size)
    }

    /// A hop answers small probes, and was silent to `size`.
    fn stuck(&mut self, size: IpSize, ttl: u8) -> Progress {
        let probe = self.probe(size, ttl);
        if self.is_lost_at_target(size, ttl) {
            return Progress::Over;
        }
        if self.sight.vanishes.is_none_or(|vanishes| vanishes.size != size) {
            let again = self.ledger.silences(probe) < TRIES;
            return if again { Progress::Ask(vec![probe]) } else { Progress::Over };
        }
        let beyond = self.beyond(size, ttl);
        let companion = self.small(ttl);
        if self.doubt.as_ref().is_none_or(|(at, _)| *at != ttl) {
            self.doubt = Some((ttl, Doubt::new(probe, companion)));
        }
        let judged = self.doubt.as_mut().map_or(Judged::Unsettled, |(_, doubt)| doubt.judge(&mut self.ledger));
        let is_open = beyond.iter().any(|&probe| !self.ledger.tried(probe) || self.ledger.pending(probe));
        match judged {
            Judged::Unsettled => return Progress::Over,
            Judged::Vanishes if !is_open => {
                self.before = Some(ttl);
                return Progress::Over;
            }
            Judged::Vanishes | Judged::Presumed | Judged::Open | Judged::Answered => {}
        }
        Progress::Ask(beyond.into_iter().filter(|&probe| !self.ledger.tried(probe)).collect())
    }

    /// Probes of `size` to hops behind `ttl`: some answer no large ones though they pass them on.
    fn beyond(&self, size: IpSize, ttl: u8) -> Vec<Probe> {
        let behind = self.seen.range(ttl + 1..).map(|(&ttl, _)| ttl).filter(|&ttl| ttl < self.last());
        behind.map(|ttl| self.probe(size, ttl)).collect()
    }
}
