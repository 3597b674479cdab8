//! What the answers come to.

use super::{Hops, Seen, Trace};
use crate::path::{Hole, HopAt, HopRow};

impl Hops {
    pub(super) fn trace(&self) -> Trace {
        Trace { hops: self.rows(), hole: self.hole(), sent: self.ledger.sent() }
    }

    /// Hops up to the target, or to the last one that answered.
    fn rows(&self) -> Vec<HopRow> {
        let last_seen = self.seen.keys().next_back().copied().unwrap_or(0);
        (1..=self.last().min(last_seen)).map(|ttl| self.row(ttl)).collect()
    }

    fn row(&self, ttl: u8) -> HopRow {
        let seen = self.seen(ttl);
        let of_hop = self.ledger.iter().filter(|(probe, tries)| probe.ttl == Some(ttl) && tries.answered > 0);
        HopRow {
            ttl,
            address: seen.map(|seen| seen.address),
            also: seen.and_then(|seen| seen.also),
            round_trip_seconds: seen.and_then(|seen| seen.round_trip).map(|time| time.as_secs_f64()),
            carried: of_hop.map(|(probe, _)| probe.size).max(),
            target: self.end == Some(ttl),
        }
    }

    /// What is known of a hop. Where paths of several lengths end at the target, it is the target that is named.
    fn seen(&self, ttl: u8) -> Option<Seen> {
        let seen = *self.seen.get(&ttl)?;
        let target = self.sight.address;
        if self.end != Some(ttl) || seen.address == target {
            return Some(seen);
        }
        Some(Seen { address: target, also: Some(seen.address), ..seen })
    }

    fn hole(&self) -> Option<Hole> {
        let vanishes = self.sight.vanishes?;
        let reach = self.reach(vanishes.size);
        let (&first, _) = self.seen.range(reach.checked_add(1)?..).next()?;
        let is_at_target = vanishes.there && self.end == Some(first);
        let is_hole = is_at_target || self.before == Some(first);
        let past_the_target = self.end.is_some_and(|end| first > end);
        if !is_hole || past_the_target || self.is_too_big(vanishes.size) {
            return None;
        }
        Some(Hole { after: (reach > 0).then(|| self.at(reach)), before: self.at(first) })
    }

    fn at(&self, ttl: u8) -> HopAt {
        HopAt { ttl, address: self.seen(ttl).map(|seen| seen.address) }
    }
}
