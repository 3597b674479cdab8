//! Which transfers are made, and when.
//!
//! They start at the end of a round and nothing waits for them: what comes of one is kept with its path, and judged when
//! the last one under way has ended or the next round does, whichever is first.
//!
//! A transfer is made over an overlay path that goes through a tunnel and was measured to be clear: where ICMP does not
//! pass there is nothing to learn from TCP. At most [`SUSPECTS`] peers that stalled last time, in every round, and
//! [`OTHERS`] more, those first that have waited longest; equals in an order of this node's own, so that the nodes of a
//! cluster do not all begin with the same peer. However short rounds are, [`PER_SECOND`] a second, [`AT_ONCE`] at once:
//! 0.5 MiB/s each way. With `n` peers each one has its turn after `n / 10` rounds.
//!
//! An agent that is not there leaves a suspect a suspect: only a transfer that passes clears it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::bucket::Bucket;
use crate::fact::{Fact, Reason, Source, Unread};
use crate::history::Occasion;
use crate::path::{PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::report::Vantage;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::telemetry::Telemetry;
use crate::transfer::admission::Guests;
use crate::transfer::{Made, Outcome, Transfer, Transferred};
use crate::units::{Mono, Now};

use super::carry::{Moves, moved};
use super::{Node, Output};

/// Suspects that are tried in a round.
pub(super) const SUSPECTS: usize = 10;

/// Other peers that are tried in a round.
pub(super) const OTHERS: usize = 10;

/// Transfers started in a second.
const PER_SECOND: u32 = 4;

/// Transfers started at once.
const AT_ONCE: u32 = 20;

/// What is under way, and whose turn is next.
#[derive(Debug)]
pub(super) struct Transfers {
    under_way: BTreeSet<PathKey>,
    /// Paths on which one stalled and none has passed since.
    suspects: BTreeSet<PathKey>,
    /// When one was last started.
    started: BTreeMap<PathKey, Mono>,
    budget: Bucket,
    secret: u64,
    guests: Guests,
}

impl Transfers {
    pub(super) fn new(secret: u64, now: Mono) -> Self {
        Self {
            under_way: BTreeSet::new(),
            suspects: BTreeSet::new(),
            started: BTreeMap::new(),
            budget: Bucket::new(PER_SECOND, AT_ONCE, now),
            secret,
            guests: Guests::Nobody,
        }
    }

    /// Whom this node lets transfer.
    pub(super) fn guests(&self) -> Guests {
        self.guests.clone()
    }

    /// These are the peers from here on, `changed` if they are others than before.
    pub(super) fn meet(&mut self, peers: &[Peer], changed: bool, wanted: bool) {
        let met = self.guests != Guests::Nobody;
        if wanted && (changed || !met) {
            self.guests = Guests::of(peers);
        } else if !wanted {
            self.guests = Guests::Nobody;
        }
    }

    /// What is known of these paths is known of others from here on. What is under way ends under its old name.
    pub(super) fn rename(&mut self, moves: &Moves) {
        self.suspects = std::mem::take(&mut self.suspects).into_iter().map(|key| moved(key, moves)).collect();
        let started = std::mem::take(&mut self.started).into_iter();
        self.started = started.map(|(key, at)| (moved(key, moves), at)).collect();
    }

    /// How many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Takes the paths whose turn it is, and starts with them.
    fn start(&mut self, node: &Snapshot, now: Mono) -> Vec<PathKey> {
        let is_there = |key: &PathKey| node.paths.get(key).is_some_and(|path| path.transfer != Fact::Absent);
        self.suspects.retain(is_there);
        self.started.retain(|key, _| is_there(key));
        let ready = node.paths.iter().filter(|(key, path)| is_ready(path) && !self.under_way.contains(*key));
        let (mut suspects, mut others): (Vec<_>, Vec<_>) =
            ready.map(|(key, _)| (self.turn(key), key)).partition(|(_, key)| self.suspects.contains(*key));
        suspects.sort_unstable();
        others.sort_unstable();
        let chosen = suspects.into_iter().take(SUSPECTS).chain(others.into_iter().take(OTHERS));
        let chosen: Vec<PathKey> = chosen.take_while(|_| self.budget.take(now)).map(|(_, key)| key.clone()).collect();
        for key in &chosen {
            self.started.insert(key.clone(), now);
            self.under_way.insert(key.clone());
        }
        chosen
    }

    /// Who waits longest comes first.
    fn turn(&self, key: &PathKey) -> (Option<Mono>, u64) {
        let mut own_order = DefaultHasher::new();
        (self.secret, key).hash(&mut own_order);
        (self.started.get(key).copied(), own_order.finish())
    }

    fn end(&mut self, transferred: &Transferred, telemetry: &mut Telemetry, now: Now) -> Fact<Made> {
        let key = &transferred.transfer.key;
        self.under_way.remove(key);
        let stall = match transferred.conclude() {
            Outcome::Unknown { why } => return Fact::Unread(unsupported(why)),
            Outcome::Passed => {
                self.suspects.remove(key);
                None
            }
            Outcome::Stalled(stall) => {
                self.suspects.insert(key.clone());
                telemetry.transfer_stalls += 1;
                Some(stall)
            }
        };
        Fact::Known(Made { stall, at: now.wall, judged: false })
    }
}

impl Node {
    /// Starts the transfers of this round.
    pub(super) fn start_transfers(&mut self, now: Now) {
        if !self.config.probing.transfers {
            return;
        }
        for key in self.transfers.start(&self.snapshot, now.mono) {
            let node = self.snapshot.node_address(&key);
            self.wanted.push_back(Output::Transfer(Transfer { key, port: self.config.port, node }));
        }
    }

    pub(super) fn on_transferred(&mut self, transferred: &Transferred, now: Now) {
        let fact = self.transfers.end(transferred, &mut self.telemetry, now);
        if let Some(path) = self.snapshot.paths.get_mut(&transferred.transfer.key)
            && path.transfer != Fact::Absent
        {
            path.transfer = fact;
        }
        // Half of the tables may be new while an answer is awaited, and what is awaited ends in a judgement anyway.
        if self.transfers.under_way() == 0 && self.asked.is_none() {
            self.judge(Occasion::Transfers, now);
        }
    }

    /// Says of each path whether transfers are made over it.
    pub(super) fn mark_transfers(&mut self) {
        let wanted = self.config.probing.transfers;
        let applies: Vec<bool> = self.snapshot.paths.iter().map(|(key, path)| self.applies(key, path)).collect();
        for (path, applies) in self.snapshot.paths.values_mut().zip(applies) {
            match (&path.transfer, applies, wanted) {
                (_, false, _) => path.transfer = Fact::Absent,
                (_, true, false) => {
                    path.transfer = Fact::Unread(unsupported("transfers are switched off (probing.transfers)".into()));
                }
                (Fact::Absent, true, true) => {
                    path.transfer = Fact::Unread(unsupported("no transfer has been made yet".into()));
                }
                (Fact::Known(_) | Fact::Unread(_), true, true) => {}
            }
        }
    }

    fn applies(&self, key: &PathKey, path: &Path) -> bool {
        let through = || path.via.iter().any(|&link| self.snapshot.topology.tunnel(link).is_some());
        key.plane == Plane::Overlay && self.config.vantage == Vantage::Node && through()
    }

    /// What transfers say something new about; what none is made over any more has nothing left to say, which is new once.
    pub(super) fn new_transfers(&self) -> BTreeSet<Subject> {
        let new = |path: &Path| match &path.transfer {
            Fact::Absent => true,
            Fact::Known(made) => !made.judged,
            Fact::Unread(_) => false,
        };
        self.snapshot.paths.iter().filter(|(_, path)| new(path)).map(|(key, _)| Subject::path(key)).collect()
    }

    /// What has been judged is no news from here on.
    pub(super) fn judged_transfers(&mut self) {
        for path in self.snapshot.paths.values_mut() {
            if let Fact::Known(made) = &mut path.transfer {
                made.judged = true;
            }
        }
    }

    /// Transfers whose last word is still to be judged, or to come.
    pub(super) fn open_transfers(&self) -> usize {
        let unjudged = |path: &&Path| path.transfer.known().is_some_and(|made| !made.judged);
        self.transfers.under_way() + self.snapshot.paths.values().filter(unjudged).count()
    }
}

const fn unsupported(why: String) -> Unread {
    Unread::new(Source::Probes, Reason::Unsupported { why })
}

/// Transfers are made over it, and packets of full size pass.
fn is_ready(path: &Path) -> bool {
    path.transfer != Fact::Absent && matches!(path.verdict(), Ok(Verdict::Clear { .. }))
}

#[cfg(test)]
mod tests;
