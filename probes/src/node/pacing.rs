//! What a round takes, and whether the schedule is kept: what is told of the agent itself.
//!
//! Time in which this process did not run is not the schedule's: a process that was stopped, frozen or paused with its
//! machine is not slow, and goes on as if nothing had been. That is told by a deadline of its own that was missed by
//! [`STOPPED`] at once. (Suspend is not even seen: the monotonic clock stands still meanwhile.) A processor that is short
//! is another matter, and the very thing to tell: a quota gives its share in every period, of a second at most, so a
//! deadline is missed by a little, again and again. Time that a reading takes is the schedule's as well: nothing was due
//! meanwhile but the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::fact::Fact;
use crate::schedule::pace::{Pace, Waits};
use crate::snapshot::Snapshot;
use crate::units::{Mono, Now};

use super::Node;

/// Who wakes so much later than it should did not run.
pub(super) const STOPPED: Duration = Duration::from_secs(10);

/// How long rounds take, and peers wait.
#[derive(Debug)]
pub(super) struct Pacing {
    waits: Waits,
    awake: Mono,
    stopped: Duration,
    began: Mono,
    packets: u64,
}

impl Pacing {
    pub(super) fn new(now: Mono) -> Self {
        Self { waits: Waits::default(), awake: now, stopped: Duration::ZERO, began: now, packets: 0 }
    }

    /// A packet leaves.
    pub(super) const fn sent(&mut self) {
        self.packets += 1;
    }

    /// Time in which this process ran.
    fn running(&self, now: Mono) -> Mono {
        now - self.stopped
    }
}

impl Node {
    /// Something calls: what should have happened by then?
    pub(super) fn wake(&mut self, now: Mono) {
        let awake = self.pacing.awake;
        if now.since(awake) >= STOPPED
            && let Some(due) = self.poll_timeout()
            && now.since(due.max(awake)) >= STOPPED
        {
            self.pacing.stopped += now.since(due.max(awake));
        }
        self.pacing.awake = awake.max(now);
    }

    /// A round has read what it needs, and knows whose turn it is.
    pub(super) fn begin_pacing(&mut self, now: Mono) {
        (self.pacing.began, self.pacing.packets) = (now, 0);
        let running = self.pacing.running(now);
        match self.turns.promised(self.config.probing.interval).filter(|_| self.probing.is_ok()) {
            Some(promised) => self.pacing.waits.begin(results(&self.snapshot), promised, running),
            None => self.pacing.waits.forget(),
        }
    }

    /// A round is over. Where everybody is measured in every round nothing was stated.
    pub(super) fn end_pacing(&mut self, now: Now) {
        let probing = &self.config.probing;
        self.snapshot.pace = match (&self.probing, self.turns.promised(probing.interval)) {
            (Err(unread), _) => Fact::Unread(unread.clone()),
            (Ok(()), None) => Fact::Absent,
            (Ok(()), Some(_)) => Fact::Known(Pace {
                kept: self.pacing.waits.end(results(&self.snapshot), self.pacing.running(now.mono)),
                oldest: self.snapshot.paths.values().filter_map(|path| path.probed_at).min(),
                round: now.mono.since(self.round_started),
                reading: self.pacing.began.since(self.round_started),
                packets: self.pacing.packets,
                interval: probing.interval,
                packets_per_second: probing.packets_per_second,
            }),
        };
    }
}

/// Every peer's oldest result; none where a path of it has none.
fn results(node: &Snapshot) -> BTreeMap<&str, Option<Timestamp>> {
    let mut results = BTreeMap::new();
    for (key, path) in &node.paths {
        let oldest = results.entry(key.peer.as_str()).or_insert(path.probed_at);
        // Nothing is older than any time.
        *oldest = (*oldest).min(path.probed_at);
    }
    results
}
