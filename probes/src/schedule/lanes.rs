//! The lanes of a round and their shares.

use super::{Doubt, Lane, Since};

/// Most peers of the rotation in one round. With the default of 20 stable peers a round has a hundred.
pub(super) const ROTATING: usize = 80;

/// Most suspects in one round, beside the stable peers.
pub(super) const SUSPECTS: usize = 50;

/// Most newcomers in one round.
pub(super) const NEWCOMERS: usize = 50;

/// Shares of the packets that may leave within one interval, in sixteenths. A quarter is left for surprises.
const STABLE_SHARE: u64 = 4;
const SUSPECT_SHARE: u64 = 3;
const NEWCOMER_SHARE: u64 = 1;
const ROTATION_SHARE: u64 = 4;
const PARTS: u64 = 16;

/// A peer in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) index: usize,
    pub(super) since: Since,
    pub(super) rank: u64,
    /// Packets that it is expected to take.
    pub(super) cost: u64,
    pub(super) doubt: Doubt,
    pub(super) unmeasured: bool,
    pub(super) stable: bool,
    /// Whether this is a round in which this node may turn to it out of turn.
    pub(super) out_of_turn: bool,
}

/// The packets that may leave within one interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    packets: u64,
}

impl Shares {
    pub(super) fn of(packets_per_second: u32, interval: std::time::Duration) -> Self {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { packets: u64::from(packets_per_second).saturating_mul(millis) / 1000 }
    }

    /// All shares together.
    pub(super) const fn whole(self) -> u64 {
        self.part(STABLE_SHARE + SUSPECT_SHARE + NEWCOMER_SHARE + ROTATION_SHARE)
    }

    const fn part(self, parts: u64) -> u64 {
        self.packets.saturating_mul(parts) / PARTS
    }

    /// Picks from a queue that is in the order of the rotation, and says in how many rounds the rotation alone is
    /// through with all that the stable lane does not take.
    pub(super) fn fill(self, queue: &[Entry]) -> (Vec<(usize, Lane)>, u32) {
        let mut picking = Picking { queue, taken: vec![false; queue.len()], picked: Vec::new(), spent: 0 };
        picking.lane(Lane::Stable, self.part(STABLE_SHARE), usize::MAX, |entry| entry.stable);
        let rounds = picking.rounds(self.part(ROTATION_SHARE));
        let (packets, peers) = (self.part(SUSPECT_SHARE), SUSPECTS);
        let (spent, found) = picking.lane(Lane::Suspect, packets, peers, |entry| entry.doubt == Doubt::Pending);
        let doubted = |entry: &Entry| entry.doubt > Doubt::None && entry.out_of_turn;
        picking.lane(Lane::Suspect, packets - spent, peers - found, doubted);
        let new = |entry: &Entry| entry.unmeasured && entry.out_of_turn;
        picking.lane(Lane::Newcomer, self.part(NEWCOMER_SHARE), NEWCOMERS, new);
        picking.rotate(self.whole());
        (picking.picked, rounds)
    }
}

struct Picking<'a> {
    queue: &'a [Entry],
    taken: Vec<bool>,
    picked: Vec<(usize, Lane)>,
    spent: u64,
}

impl Picking<'_> {
    /// Takes those that are wanted and fit. One that does not fit leaves room for others: the rotation takes it in turn.
    fn lane(&mut self, lane: Lane, packets: u64, peers: usize, wanted: impl Fn(&Entry) -> bool) -> (u64, usize) {
        let (mut spent, mut found) = (0, 0);
        for (place, entry) in self.queue.iter().enumerate() {
            if found == peers || spent == packets {
                break;
            }
            if !self.taken[place] && wanted(entry) && spent + entry.cost <= packets {
                (spent, found) = (spent + entry.cost, found + 1);
                self.take(place, lane);
            }
        }
        (spent, found)
    }

    /// Takes from the head of the queue, and stops at the first that does not fit: to pass it over would make it wait
    /// for ever. For the same reason the very first is taken whatever it costs.
    fn rotate(&mut self, whole: u64) {
        let mut found = 0;
        for place in 0..self.queue.len() {
            if self.taken[place] {
                continue;
            }
            let fits = self.spent + self.queue[place].cost <= whole;
            if found == ROTATING || (found > 0 && !fits) {
                break;
            }
            found += 1;
            self.take(place, Lane::Rotation);
        }
    }

    fn take(&mut self, place: usize, lane: Lane) {
        self.taken[place] = true;
        self.spent += self.queue[place].cost;
        self.picked.push((self.queue[place].index, lane));
    }

    /// In how many rounds the rotation is through with all that was not taken so far, with no packets but its own share.
    ///
    /// A round of it ends because it has [`ROTATING`] peers, or because the next one does not fit. Charge each peer no
    /// less than a [`ROTATING`]th of the share: then a round has served, in either case, more than the share less the
    /// dearest peer. Where all cost about the same, the peers that fit by the dearest one's cost are a better bound.
    fn rounds(&self, share: u64) -> u32 {
        let left = || self.queue.iter().zip(&self.taken).filter(|(_, taken)| !**taken).map(|(entry, _)| entry.cost);
        let (peers, dearest) = (left().count() as u64, left().max().unwrap_or(1));
        let by_peers = peers.div_ceil((share / dearest).clamp(1, ROTATING as u64));
        let least = share.div_ceil(ROTATING as u64);
        let work: u64 = left().map(|cost| cost.max(least)).sum();
        let by_work = if share >= dearest { work.div_ceil(share - dearest + 1) } else { u64::MAX };
        u32::try_from(by_peers.min(by_work).max(1)).unwrap_or(u32::MAX)
    }
}
