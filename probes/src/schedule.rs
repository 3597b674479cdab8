//! Whom to probe in which round, so that a node's cost does not grow with the cluster.
//!
//! A round has four lanes, filled in this order; no peer is picked twice.
//!
//! 1. **Stable** peers are probed in every round, so that their series have no gaps: `stable` of them, chosen by hash so
//!    that every node is the stable peer of about as many others, and spread over the zones ([`stable`]).
//! 2. **Suspects**, those first that wait for a second round to confirm what the first one found.
//! 3. **Newcomers**, which were never measured.
//! 4. The **rotation** takes everybody else, whoever waits longest first, ties by hash, so that the nodes of a cluster
//!    do not all turn to the same peer at once.
//!
//! Each lane has its share of the packets that a round may send ([`lanes`]), and the rotation has whatever the others
//! leave. What a peer is expected to cost is what it cost last time; one that was fine may be in trouble by now, so it is
//! expected to cost no less than such peers did on average in the last round. The shares add up to three quarters: the
//! rest is for searches that nobody expected. A round thus stays shorter than the interval; what the budget does not
//! allow is a peer less, and a longer time until every peer was probed.
//!
//! That time is stated in each round ([`Coverage::within`]) and holds with every other lane full. A peer that was probed
//! goes to the end of the queue and nobody comes in before it, so it waits no longer than the rotation alone takes to
//! serve all that is in the queue now. Newcomers stand at the end as well: being probed early is a gift to them, and
//! however many come, those that stay wait no longer.
//!
//! In a large cluster everybody suspects the same peer, and everybody sees the newcomer at once. No more than about
//! [`HERD`] nodes turn to one peer out of turn in a round; where there are more, they take turns by hash.
//! What is pending does not wait for that: each node found it in its own turn.
//!
//! A cluster that is small enough is probed whole, in every round. So is one of no more peers than `stable`, even if
//! their trouble takes more packets than a round should: then the round is longer.

mod lanes;
pub mod pace;
#[cfg(test)]
mod simulation;
mod stable;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::units::Mono;

use lanes::{Entry, Shares};
use stable::Strata;

/// Rounds are up to this part of the interval longer or shorter, so that the nodes of a cluster do not probe in step.
pub const JITTER: f64 = 0.1;

/// Packets that a clean path takes (the reference and the full size), as long as nothing was measured.
pub const CLEAN: u32 = 2;

/// About how many nodes turn to one peer out of turn in a round.
pub const HERD: usize = 1000;

/// A peer, as the schedule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its zone, where known.
    pub zone: Option<&'a str>,
    /// Paths to it.
    pub paths: u32,
    /// Packets that its last measurement took, over all paths; `None` if a path of it was never measured.
    pub packets: Option<u32>,
    /// Whether there is a reason to probe it more often.
    pub doubt: Doubt,
}

/// Reasons to probe a peer more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// None.
    None,
    /// Its last measurement met trouble, or a finding about it stands.
    Trouble,
    /// What was found must be confirmed, or what was measured may no longer hold.
    Pending,
}

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// This node's name.
    pub node: &'a str,
    /// Peers to probe in every round.
    pub stable: u32,
    /// Time between the starts of two rounds.
    pub interval: Duration,
    /// Most packets in a second.
    pub packets_per_second: u32,
}

/// Why a peer was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// It is in every round.
    Stable,
    /// It is doubted.
    Suspect,
    /// It was never measured.
    Newcomer,
    /// It waits longest.
    Rotation,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Indices of the picked candidates.
    pub picked: Vec<(usize, Lane)>,
    /// What that means for the cluster.
    pub coverage: Coverage,
}

/// How far one round reaches, and how long it takes to reach everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Peers known.
    pub peers: usize,
    /// Peers of this round that are in every round.
    pub stable: usize,
    /// Suspects of this round beside those.
    pub suspects: usize,
    /// All others of this round.
    pub rotating: usize,
    /// Rounds until every peer was probed, this one included.
    pub rounds: u32,
    /// No result of a peer is ever older than this, and every newcomer has one by then.
    pub within: Duration,
}

/// How much a node likes a peer, by names alone: the highest are its stable peers, as far as zones do not say otherwise.
pub fn rank(node: &str, peer: &str) -> u64 {
    stable::rank(stable::hash(node), stable::hash(peer))
}

impl Coverage {
    /// Peers of this round.
    pub const fn probed(&self) -> usize {
        self.stable + self.suspects + self.rotating
    }

    /// What [`Self::within`] is where rounds start an interval apart, as they should.
    pub fn promised(&self, interval: Duration) -> Duration {
        within(interval.mul_f64(1.0 + JITTER), self.rounds)
    }
}

/// Who was probed when.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    round: u64,
    started: Option<Mono>,
    known: BTreeMap<String, Known>,
    typical: Typical,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    /// How long it waits: since the round in which it was picked last, and until then since the one in which it came.
    since: Since,
    /// Whether it was picked in the last round without anybody expecting trouble.
    blind: bool,
}

/// A place in the order of waiting: who comes in a round stands behind all that were picked before it, and ahead of those
/// that are picked in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Since {
    round: u64,
    picked: bool,
}

/// What a path takes of which nothing is known.
#[derive(Clone, Copy, Debug)]
struct Typical {
    packets: u64,
    paths: u64,
}

impl Default for Typical {
    fn default() -> Self {
        Self { packets: u64::from(CLEAN), paths: 1 }
    }
}

impl Typical {
    fn of(self, paths: u32) -> u64 {
        (u64::from(paths) * self.packets).div_ceil(self.paths)
    }
}

impl Schedule {
    /// Picks the peers of the round that starts now. Names are unique. Peers that are not named any more are forgotten.
    pub fn pick(&mut self, peers: &[Candidate<'_>], terms: &Terms<'_>, now: Mono) -> Turn {
        self.round += 1;
        let pace = self.pace(terms.interval, now);
        self.meet(peers);
        self.learn(peers);
        let shares = Shares::of(terms.packets_per_second, terms.interval);
        let clean: u64 = peers.iter().map(|peer| u64::from(peer.paths * CLEAN)).sum();
        let (picked, rounds) = if peers.len() <= terms.stable as usize && clean <= shares.whole() {
            ((0..peers.len()).map(|index| (index, Lane::Stable)).collect(), 1)
        } else {
            shares.fill(&self.queue(peers, terms))
        };
        self.note(peers, &picked);
        let count = |wanted: &[Lane]| picked.iter().filter(|(_, lane)| wanted.contains(lane)).count();
        let coverage = Coverage {
            peers: peers.len(),
            stable: count(&[Lane::Stable]),
            suspects: count(&[Lane::Suspect]),
            rotating: count(&[Lane::Newcomer, Lane::Rotation]),
            rounds,
            within: within(pace, rounds),
        };
        Turn { picked, coverage }
    }

    /// The longest time from the start of a round to that of the next: the interval with its jitter, unless rounds last
    /// longer than that.
    fn pace(&mut self, interval: Duration, now: Mono) -> Duration {
        let last = self.started.replace(now).map(|started| now.since(started));
        last.unwrap_or_default().max(interval.mul_f64(1.0 + JITTER))
    }

    fn meet(&mut self, peers: &[Candidate<'_>]) {
        let known = |peer: &Candidate<'_>| self.known.contains_key(peer.name);
        if self.known.len() == peers.len() && peers.iter().all(known) {
            return;
        }
        let there: BTreeSet<&str> = peers.iter().map(|peer| peer.name).collect();
        self.known.retain(|name, _| there.contains(name.as_str()));
        for peer in peers {
            let new = || Known {
                hash: stable::hash(peer.name),
                since: Since { round: self.round, picked: false },
                blind: false,
            };
            self.known.entry(peer.name.to_owned()).or_insert_with(new);
        }
    }

    /// What the peers of the last round took of whom nobody expected trouble.
    fn learn(&mut self, peers: &[Candidate<'_>]) {
        let mut last = Typical { packets: 0, paths: 0 };
        for peer in peers {
            let blind = self.known.get_mut(peer.name).is_some_and(|known| std::mem::take(&mut known.blind));
            if let Some(packets) = peer.packets.filter(|_| blind) {
                last.packets += u64::from(packets);
                last.paths += u64::from(peer.paths);
            }
        }
        if last.paths > 0 {
            self.typical = last;
        }
    }

    /// Everybody, in the order of the rotation.
    fn queue(&self, peers: &[Candidate<'_>], terms: &Terms<'_>) -> Vec<Entry> {
        let node = stable::hash(terms.node);
        let known: Vec<Known> = peers.iter().map(|peer| self.known[peer.name]).collect();
        let ranks: Vec<u64> = known.iter().map(|known| stable::rank(node, known.hash)).collect();
        let strata = Strata::new(peers.iter().map(|peer| peer.zone));
        let stable: BTreeSet<usize> = strata.choose(node, &ranks, terms.stable as usize).into_iter().collect();
        let entry = |index: usize| Entry {
            index,
            since: known[index].since,
            rank: ranks[index],
            cost: self.cost(&peers[index]),
            doubt: peers[index].doubt,
            unmeasured: peers[index].packets.is_none(),
            stable: stable.contains(&index),
            out_of_turn: out_of_turn(self.round, ranks[index], peers.len()),
        };
        let mut queue: Vec<Entry> = (0..peers.len()).map(entry).collect();
        queue.sort_unstable_by_key(|entry| (entry.since, entry.rank));
        queue
    }

    /// What a peer is expected to cost: what it cost last time, and as much as its like where it is not known to be
    /// worse than they are.
    fn cost(&self, peer: &Candidate<'_>) -> u64 {
        let typical = self.typical.of(peer.paths);
        let cost = match (peer.doubt, peer.packets) {
            (Doubt::None, Some(packets)) => u64::from(packets).max(typical),
            (_, Some(packets)) => u64::from(packets),
            (_, None) => u64::from(peer.paths * CLEAN).max(typical),
        };
        cost.max(1)
    }

    fn note(&mut self, peers: &[Candidate<'_>], picked: &[(usize, Lane)]) {
        for &(index, lane) in picked {
            let blind = peers[index].doubt == Doubt::None && lane != Lane::Stable;
            if let Some(known) = self.known.get_mut(peers[index].name) {
                (known.since, known.blind) = (Since { round: self.round, picked: true }, blind);
            }
        }
    }
}

/// From the start of the round that probed a peer first to the end of the one that does so next.
const fn within(pace: Duration, rounds: u32) -> Duration {
    pace.saturating_mul(rounds.saturating_add(1))
}

/// Whether a node may turn to a peer out of turn: in every round, or in one of so many that a herd at most does at once.
const fn out_of_turn(round: u64, rank: u64, peers: usize) -> bool {
    let herds = 1 + (peers / HERD) as u64;
    round.wrapping_add(rank).is_multiple_of(herds)
}
