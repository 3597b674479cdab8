//! One source port: what was asked of it, what came back, and what speaks against it.

use std::net::IpAddr;
use std::time::Duration;

use crate::path::Limit;
use crate::units::{IpSize, Mono};

use super::Fate;

/// Sizes named by errors that are followed from one port: a forger must not keep a sweep busy.
const HINTS: u32 = 4;

/// A source port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Counted from the first that is this process's.
    pub source: u16,
    /// Whether the expected size was ever answered.
    pub carried: bool,
    /// Whether anything was ever answered.
    pub alive: bool,
    /// The limit that was confirmed.
    pub limit: Option<Fate>,
    /// The last error that speaks of the size under test, and its useful MTU.
    pub hint: Option<Limit>,
    /// Errors that were followed.
    hints: u32,
    /// Whether the size that an error names was silent: then it is under test itself.
    pub named_missed: bool,
    /// Silences of the size under test, each followed by an answered packet.
    pub silences: u32,
    /// Visits to which nothing came back while a port that was asked later was answered.
    pub absences: u32,
    /// Attempts at which the expected size was not answered although nothing stood in the way.
    pub misses: u32,
    /// Rounds that asked it something, the first burst aside.
    pub visits: u32,
    pub visit: Option<Visit>,
}

/// What one round asks of a port.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    began: Mono,
    asked: Vec<Asked>,
    /// Sizes that were answered in it.
    answered: Vec<IpSize>,
    /// Sizes that were called too big in it.
    signalled: Vec<IpSize>,
}

#[derive(Clone, Debug)]
struct Asked {
    size: IpSize,
    left: Option<Mono>,
    over: bool,
}

impl Visit {
    pub(super) fn is_answered(&self, size: IpSize) -> bool {
        self.answered.contains(&size)
    }

    pub(super) fn is_signalled(&self, size: IpSize) -> bool {
        self.signalled.contains(&size)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.answered.is_empty()
    }

    /// How often it asked for a size.
    pub(super) fn times(&self, size: IpSize) -> u32 {
        self.asked.iter().map(|asked| u32::from(asked.size == size)).sum()
    }

    /// The packet that came last, whose answer makes silences before it count.
    pub(super) fn witness(&self) -> Option<IpSize> {
        self.asked.last().map(|asked| asked.size)
    }

    /// Time between the first packet that left and the last.
    pub(super) fn span(&self) -> Duration {
        let left = || self.asked.iter().filter_map(|asked| asked.left);
        left().max().zip(left().min()).map(|(last, first)| last.since(first)).unwrap_or_default()
    }

    /// A packet of this size that left and that nothing is known of.
    fn open(&mut self, size: IpSize) -> Option<&mut Asked> {
        self.asked.iter_mut().find(|asked| asked.size == size && asked.left.is_some() && !asked.over)
    }
}

impl Port {
    pub(super) const fn new(source: u16) -> Self {
        Self {
            source,
            carried: false,
            alive: false,
            limit: None,
            hint: None,
            hints: 0,
            named_missed: false,
            silences: 0,
            absences: 0,
            misses: 0,
            visits: 0,
            visit: None,
        }
    }

    /// Whether so many silences speak against it.
    pub(super) fn is_suspect(&self, needed: u32) -> bool {
        !self.carried && self.limit.is_none() && self.silences.max(self.absences) >= needed
    }

    /// What became of it, where so many silences are enough.
    pub(super) fn fate(&self, needed: u32) -> Fate {
        match self.limit {
            _ if self.carried => Fate::Carried,
            Some(limit) => limit,
            None if self.silences >= needed => Fate::Swallowed,
            None if self.absences >= needed => Fate::Dead,
            None => Fate::Unknown,
        }
    }

    /// Whether a hop spoke of it, and it was not asked since.
    pub(super) const fn is_fresh(&self) -> bool {
        self.hint.is_some() && self.visits == 0
    }

    /// The size under test was called too big right before `answered` was answered. Where a size was named only now,
    /// that one is still to be asked for.
    pub(super) fn confirm(&mut self, answered: IpSize) {
        let Some(Limit { address: Some(by), reported_mtu: reported, .. }) = self.hint else { return };
        if self.named_missed || reported.is_none_or(|named| named == answered) {
            self.limit = Some(Fate::Limited { carries: Some(answered), by, reported });
        }
    }

    /// Begins a visit.
    pub(super) fn ask(&mut self, sizes: &[IpSize], now: Mono) {
        let asked = sizes.iter().map(|&size| Asked { size, left: None, over: false }).collect();
        self.visit = Some(Visit { began: now, asked, answered: Vec::new(), signalled: Vec::new() });
    }

    /// The size under test, below `expected` where that was called too big and the named size is silent as well.
    pub(super) fn tested(&self, expected: IpSize) -> IpSize {
        self.named().filter(|_| self.named_missed).unwrap_or(expected)
    }

    /// What to ask in a visit: the size under test, and what witnesses its silence.
    pub(super) fn wanted(&self, expected: IpSize, small: IpSize) -> Vec<IpSize> {
        match self.named() {
            Some(named) if !self.named_missed => vec![expected, named],
            _ if self.absences > 0 => vec![self.tested(expected), small],
            _ => vec![self.tested(expected), self.tested(expected), small],
        }
    }

    /// The useful MTU that was named.
    pub(super) fn named(&self) -> Option<IpSize> {
        self.hint.and_then(|hint| hint.reported_mtu)
    }

    pub(super) fn on_left(&mut self, size: IpSize, now: Mono) {
        let waiting = |asked: &&mut Asked| asked.size == size && asked.left.is_none();
        if let Some(asked) = self.visit.iter_mut().flat_map(|visit| &mut visit.asked).find(waiting) {
            asked.left = Some(now);
        }
    }

    /// An answer. One that is known to be of an earlier visit says that the port answers, and witnesses nothing.
    pub(super) fn on_carried(&mut self, size: IpSize, expected: IpSize, round_trip: Option<Duration>, now: Mono) {
        self.alive = true;
        self.absences = 0;
        self.carried |= size == expected;
        let Some(visit) = &mut self.visit else { return };
        if round_trip.is_some_and(|round_trip| now - round_trip < visit.began) {
            return;
        }
        if let Some(asked) = visit.open(size) {
            asked.over = true;
            visit.answered.push(size);
        }
    }

    /// An error. It chooses what to ask next and decides nothing.
    pub(super) fn on_too_big(
        &mut self,
        size: IpSize,
        expected: IpSize,
        small: IpSize,
        by: IpAddr,
        mtu: Option<IpSize>,
    ) {
        self.on_nothing(size);
        if let Some(visit) = &mut self.visit {
            visit.signalled.push(size);
        }
        let useful = mtu.filter(|&mtu| small <= mtu && mtu < size);
        let is_news = match self.named() {
            Some(named) => size <= named && useful.is_some(),
            None => size == expected,
        };
        if !is_news || (useful.is_some() && self.hints >= HINTS) {
            return;
        }
        if useful.is_some() {
            (self.hints, self.named_missed, self.silences) = (self.hints + 1, false, 0);
        }
        self.hint = Some(Limit { address: Some(by), reported_mtu: useful, ttl: None });
    }

    /// A packet whose fate is known, and is not to be answered.
    pub(super) fn on_nothing(&mut self, size: IpSize) {
        if let Some(asked) = self.visit.as_mut().and_then(|visit| visit.open(size)) {
            asked.over = true;
        }
    }

    /// Gives up what left more than `patience` ago.
    pub(super) fn expire(&mut self, patience: Duration, now: Mono) {
        for asked in self.visit.iter_mut().flat_map(|visit| &mut visit.asked) {
            asked.over |= asked.left.is_some_and(|left| left + patience <= now);
        }
    }

    /// Whether nothing is open of its visit.
    pub(super) fn is_over(&self) -> bool {
        self.visit.as_ref().is_none_or(|visit| visit.asked.iter().all(|asked| asked.over))
    }

    /// When those left that nothing is known of.
    pub(super) fn out(&self) -> impl Iterator<Item = Mono> {
        self.visit.iter().flat_map(|visit| &visit.asked).filter(|asked| !asked.over).filter_map(|asked| asked.left)
    }
}
