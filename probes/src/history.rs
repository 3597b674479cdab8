//! What has been raised, since when, and when it counts as over.
//!
//! A measured finding is raised after as many rounds in agreement as the operator asks for; one that was read from the
//! kernel at once. One clean round clears. Between rounds only what was read is judged, as soon as the kernel tells of a
//! change: a change is often one of several steps, so what is wrong after it has to be wrong still [`SETTLED`] later.
//!
//! A finding that keeps coming back within [`FLAP_WINDOW`] takes longer to clear each time (1, 2, 4, then 8 clean rounds),
//! so that a flapping link is one finding and not a stream of alerts. What comes and goes within a [`BURST`] is somebody
//! at work, and counts once.
//!
//! What could not be looked at is held exactly as it was: it neither counts as seen nor as clean. So is a path whose turn
//! to be measured did not come in this round, and one about which no transfer has said anything new: a measurement is one
//! piece of evidence, however often it is looked at. What is no longer there to be looked at, a peer that left, is
//! forgotten at once, even if it was the last one and nothing can be concluded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::checks::{Candidate, Confirm, Looked, Outcome};
use crate::subject::Subject;
use crate::units::{Mono, Now};

/// A finding that comes back within this time of being cleared is flapping.
pub const FLAP_WINDOW: Duration = Duration::from_secs(600);

/// What is wrong between rounds is raised if it is wrong for so long.
pub const SETTLED: Duration = Duration::from_millis(250);

/// However often a finding comes back within this time, it is one flap at most.
pub const BURST: Duration = Duration::from_secs(10);

/// No finding needs more than 2³ clean rounds to clear.
const MOST_FLAPS: u32 = 3;

/// On what occasion the checks were run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// At the end of a round: paths were measured anew.
    Round,
    /// Between rounds, because the kernel told of a change: nothing was measured.
    Look,
    /// Between rounds, because transfers ended: nothing else was measured.
    Transfers,
}

impl Occasion {
    /// Whether it can bring anything new about what is confirmed like this.
    const fn bears_on(self, confirm: Confirm) -> bool {
        match self {
            Self::Round => true,
            Self::Look => matches!(confirm, Confirm::AtOnce),
            Self::Transfers => matches!(confirm, Confirm::Transfers),
        }
    }
}

/// Everything that has been raised lately.
#[derive(Debug)]
pub struct History {
    confirm_rounds: u32,
    memories: BTreeMap<(&'static str, Subject), Memory>,
}

/// A finding that stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// As raised last.
    pub candidate: Candidate,
    /// When it was first raised.
    pub since: Timestamp,
}

#[derive(Debug)]
struct Memory {
    candidate: Candidate,
    seen: u32,
    /// When it was seen first of these times.
    seen_since: Mono,
    clean: u32,
    since: Option<Timestamp>,
    /// When it was raised first of a burst.
    burst: Option<Mono>,
    cleared: Option<Mono>,
    flaps: u32,
}

impl History {
    /// A history in which measured findings take `confirm_rounds` rounds in agreement.
    pub fn new(confirm_rounds: u32) -> Self {
        Self { confirm_rounds: confirm_rounds.max(1), memories: BTreeMap::new() }
    }

    /// From here on measured findings take `rounds` rounds in agreement.
    pub fn confirm_after(&mut self, rounds: u32) {
        self.confirm_rounds = rounds.max(1);
    }

    /// Takes in what the checks came to. On a look measured findings stay as they are, and in a round those about
    /// subjects that were not measured in it. What was measured may differ with the means: by probes or by transfers.
    pub fn update(
        &mut self,
        outcomes: Vec<Outcome>,
        occasion: Occasion,
        was_measured: impl Fn(Confirm, &Subject) -> bool,
        now: Now,
    ) {
        for outcome in outcomes {
            let confirm = outcome.entry.confirm;
            let held = |subject: &Subject| match confirm {
                Confirm::AtOnce => false,
                Confirm::Rounds | Confirm::Sweeps | Confirm::Transfers => !was_measured(confirm, subject),
            };
            if let Ok(looked) = outcome.result
                && occasion.bears_on(confirm)
            {
                self.take(outcome.entry.code, looked, held, occasion, now);
            }
        }
        self.memories.retain(|_, memory| memory.is_worth_keeping(now.mono));
    }

    /// Forgets what is about subjects that are gone.
    pub fn forget(&mut self, gone: impl Fn(&Subject) -> bool) {
        self.memories.retain(|(_, subject), _| !gone(subject));
    }

    /// What is about these subjects is about others from here on. What is known of both began with the earlier.
    pub fn rename(&mut self, subjects: &BTreeMap<Subject, Subject>) {
        let affected = self.memories.extract_if(.., |(_, subject), _| subjects.contains_key(subject));
        for ((code, subject), mut memory) in affected.collect::<Vec<_>>() {
            let Some(new) = subjects.get(&subject) else { continue };
            memory.candidate.subject = new.clone();
            let since = memory.since;
            let known = self.memories.entry((code, new.clone())).or_insert(memory);
            known.since = known.since.into_iter().chain(since).min();
        }
    }

    /// Findings that stand.
    pub fn standing(&self) -> impl Iterator<Item = Standing> + '_ {
        self.memories
            .values()
            .filter_map(|memory| memory.since.map(|since| Standing { candidate: memory.candidate.clone(), since }))
    }

    /// Candidates that wait for another round to confirm them.
    pub fn pending(&self) -> usize {
        self.memories.values().filter(|memory| memory.since.is_none() && memory.seen > 0).count()
    }

    /// What stands or waits for another round to confirm it, and whether it waits.
    pub fn doubts(&self) -> impl Iterator<Item = (&Subject, bool)> {
        let doubted = self.memories.iter().filter(|(_, memory)| memory.since.is_some() || memory.seen > 0);
        doubted.map(|((_, subject), memory)| (subject, memory.since.is_none()))
    }

    /// Whether something was seen between rounds that has to settle before it is raised.
    pub fn is_unsettled(&self) -> bool {
        let waits = |memory: &Memory| memory.since.is_none() && memory.seen > 0;
        self.memories.values().any(|memory| waits(memory) && memory.candidate.entry.confirm == Confirm::AtOnce)
    }

    fn take(
        &mut self,
        code: &'static str,
        looked: Looked,
        held: impl Fn(&Subject) -> bool,
        occasion: Occasion,
        now: Now,
    ) {
        let mut touched: BTreeSet<Subject> = looked.unread.into_iter().map(|(subject, _)| subject).collect();
        for candidate in looked.raised.into_iter().filter(|candidate| !held(&candidate.subject)) {
            let needed = match candidate.entry.confirm {
                Confirm::AtOnce => 1,
                Confirm::Rounds | Confirm::Sweeps | Confirm::Transfers => self.confirm_rounds,
            };
            let subject = candidate.subject.clone();
            touched.insert(subject.clone());
            let memory = self.memories.entry((code, subject)).or_insert_with(|| Memory::new(candidate.clone()));
            memory.see(candidate, needed, occasion, now);
        }
        let is_quiet = |subject: &Subject| !touched.contains(subject) && !held(subject);
        let is_kept = |memory: &Memory| looked.kept.iter().any(|kept| kept.has(&memory.candidate.evidence));
        let of_code = self.memories.iter_mut().filter(|((known, _), _)| *known == code);
        let quiet = of_code.filter(|((_, subject), memory)| is_quiet(subject) && !is_kept(memory));
        quiet.for_each(|(_, memory)| memory.rest(occasion, now.mono));
    }
}

impl Memory {
    const fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            seen: 0,
            seen_since: Mono::new(Duration::ZERO),
            clean: 0,
            since: None,
            burst: None,
            cleared: None,
            flaps: 0,
        }
    }

    fn see(&mut self, candidate: Candidate, needed: u32, occasion: Occasion, now: Now) {
        self.candidate = candidate;
        self.clean = 0;
        if self.seen == 0 {
            self.seen_since = now.mono;
        }
        self.seen = self.seen.saturating_add(1);
        let settled = occasion != Occasion::Look || now.mono.since(self.seen_since) >= SETTLED;
        if self.since.is_none() && self.seen >= needed && settled {
            self.raise(now);
        }
    }

    fn raise(&mut self, now: Now) {
        let again = self.cleared.take().is_some_and(|cleared| now.mono.since(cleared) <= FLAP_WINDOW);
        if self.burst.is_none_or(|began| now.mono.since(began) >= BURST) {
            self.burst = Some(now.mono);
            self.flaps = (self.flaps + u32::from(again)).min(MOST_FLAPS);
        }
        self.since = Some(now.wall);
    }

    /// A finding that comes for the first time goes when it is gone; one that flaps waits for rounds, since looks follow
    /// each other as fast as it flaps.
    fn rest(&mut self, occasion: Occasion, now: Mono) {
        self.seen = 0;
        if occasion == Occasion::Look && self.flaps > 0 {
            return;
        }
        self.clean = self.clean.saturating_add(1);
        if self.since.is_some() && self.clean >= 1 << self.flaps {
            self.since = None;
            self.cleared = Some(now);
        }
    }

    fn is_worth_keeping(&self, now: Mono) -> bool {
        let may_flap = self.cleared.is_some_and(|cleared| now.since(cleared) <= FLAP_WINDOW);
        self.since.is_some() || self.seen > 0 || may_flap
    }
}

#[cfg(test)]
mod tests;
