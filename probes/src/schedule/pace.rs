//! Whether the stated time is kept: how long each peer really waits to be measured.
//!
//! [`Coverage::within`](super::Coverage::within) follows the rounds as they are: where they overrun the interval it grows
//! with them, and nothing is ever late by it. Kept here is what [`Coverage::promised`](super::Coverage::promised) says of
//! rounds that start an interval apart.
//!
//! A peer waits from the end of the round that measured it, or from the start of the one in which it came, to the end of
//! the round that measures it next. What counts is a result, not that its turn came. It is promised the longest time
//! that was stated while it waits: peers that come by the hundred and searches that take many packets are honest reasons
//! to wait longer, and the schedule says so as soon as it knows. It is **late** when it waits, or has waited in the round
//! that is over, for half as long again and [`SLACK`] more. Waits that are over count as well: in a small cluster every
//! result is young at the end of a round, however long that took.
//!
//! Time is that in which this process runs ([`crate::node`] leaves out when it was stopped as a whole).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::units::Mono;

/// A round is as long as its slowest path, whatever the interval: a search under loss, or a peer that is tried by ICMP,
/// UDP and TCP in vain, takes some ten seconds.
pub const SLACK: Duration = Duration::from_secs(60);

/// How long everybody waits.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    peers: BTreeMap<String, Wait>,
    stated: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Mono,
    promised: Duration,
    /// The oldest of its results, by which a new one is told.
    result: Option<Timestamp>,
}

/// How the stated time was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Peers known.
    pub peers: usize,
    /// Peers that wait too long, or have in the round that is over.
    pub late: usize,
    /// The longest that one of them waits; zero where none is late.
    pub longest: Duration,
    /// What that one was promised.
    pub promised: Duration,
}

/// What a round took, beside how the stated time was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// How the stated time was kept.
    pub kept: Kept,
    /// When the path that waits longest was measured, as the metric has it.
    pub oldest: Option<Timestamp>,
    /// The whole round.
    pub round: Duration,
    /// The part of it until the tables and routes were read.
    pub reading: Duration,
    /// Packets that left after that.
    pub packets: u64,
    /// The time between the starts of two rounds that is asked for.
    pub interval: Duration,
    /// Most packets that may leave in a second.
    pub packets_per_second: u32,
}

impl Waits {
    /// A round begins, with these peers and their oldest results, and states a time. Who is not named is forgotten.
    pub fn begin<'a>(
        &mut self,
        peers: impl IntoIterator<Item = (&'a str, Option<Timestamp>)>,
        stated: Duration,
        now: Mono,
    ) {
        let mut before = std::mem::take(&mut self.peers);
        for (name, result) in peers {
            let known = before.remove_entry(name);
            let (name, mut wait) =
                known.unwrap_or_else(|| (name.to_owned(), Wait { since: now, promised: stated, result }));
            wait.promised = wait.promised.max(stated);
            self.peers.insert(name, wait);
        }
        self.stated = stated;
    }

    /// The round is over, and these are the peers' oldest results.
    pub fn end<'a>(&mut self, peers: impl IntoIterator<Item = (&'a str, Option<Timestamp>)>, now: Mono) -> Kept {
        let mut kept = Kept::default();
        for (name, result) in peers {
            let Some(wait) = self.peers.get_mut(name) else { continue };
            let waited = now.since(wait.since);
            kept.count(waited, wait.promised);
            if result.is_some() && result != wait.result {
                *wait = Wait { since: now, promised: self.stated, result };
            }
        }
        kept
    }

    /// Nobody can be measured: nothing is promised.
    pub fn forget(&mut self) {
        self.peers.clear();
    }
}

impl Kept {
    fn count(&mut self, waited: Duration, promised: Duration) {
        self.peers += 1;
        if waited <= promised.mul_f64(1.5) + SLACK {
            return;
        }
        self.late += 1;
        if waited > self.longest {
            (self.longest, self.promised) = (waited, promised);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATED: Duration = Duration::from_secs(100);

    /// The longest wait that is not late.
    const ENOUGH: u64 = 210;

    fn at(seconds: u64) -> Mono {
        Mono::new(Duration::from_secs(seconds))
    }

    fn result(seconds: i64) -> Option<Timestamp> {
        Timestamp::from_second(seconds).ok()
    }

    /// One peer, measured at the end of a round that is over after a second.
    fn measured() -> Waits {
        let mut waits = Waits::default();
        waits.begin([("a", None)], STATED, at(0));
        assert_eq!(waits.end([("a", result(1))], at(0)).late, 0);
        waits
    }

    #[test]
    fn a_peer_is_late_by_a_second_more_than_half_as_long_again_and_the_slack() {
        for (seconds, late) in [(ENOUGH, 0), (ENOUGH + 1, 1)] {
            let mut waits = measured();
            waits.begin([("a", result(1))], STATED, at(30));
            let kept = waits.end([("a", result(1))], at(seconds));
            assert_eq!((kept.peers, kept.late), (1, late), "{seconds}");
        }
    }

    #[test]
    fn a_wait_that_is_over_counts_in_the_round_that_ends_it_and_no_longer() {
        let mut waits = measured();
        waits.begin([("a", result(1))], STATED, at(30));
        let kept = waits.end([("a", result(299))], at(300));
        assert_eq!(kept, Kept { peers: 1, late: 1, longest: Duration::from_secs(300), promised: STATED });
        waits.begin([("a", result(299))], STATED, at(301));
        assert_eq!(waits.end([("a", result(299))], at(330)), Kept { peers: 1, ..Kept::default() });
    }

    #[test]
    fn a_turn_without_a_result_is_none() {
        let mut waits = measured();
        for round in 1..=8 {
            waits.begin([("a", result(1))], STATED, at(round * 30));
            assert_eq!(waits.end([("a", result(1))], at(round * 30 + 1)).late, usize::from(round > 6), "{round}");
        }
        waits.begin([("a", None)], STATED, at(270));
        assert_eq!(waits.end([("a", None)], at(271)).late, 1, "a path that was never measured is no result");
        waits.begin([("a", None)], STATED, at(300));
        waits.end([("a", result(301))], at(301));
        waits.begin([("a", result(301))], STATED, at(330));
        assert_eq!(waits.end([("a", result(331))], at(331)).late, 0);
    }

    #[test]
    fn a_newcomer_has_the_stated_time_from_when_it_came() {
        let mut waits = measured();
        waits.begin([("a", result(1)), ("b", None)], STATED, at(1000));
        let kept = waits.end([("a", result(1000)), ("b", None)], at(1001));
        assert_eq!((kept.peers, kept.late), (2, 1), "a alone");
        waits.begin([("a", result(1000)), ("b", None)], STATED, at(1030));
        let kept = waits.end([("a", result(1030)), ("b", None)], at(1001 + ENOUGH));
        assert_eq!(kept.late, 1, "b alone, that nobody measured");
    }

    #[test]
    fn a_longer_time_that_is_stated_meanwhile_holds_and_a_shorter_one_from_the_next_result_on() {
        let mut waits = measured();
        waits.begin([("a", result(1))], STATED * 4, at(30));
        waits.end([("a", result(1))], at(31));
        waits.begin([("a", result(1))], STATED, at(60));
        assert_eq!(waits.end([("a", result(500))], at(500)).late, 0, "it was told to wait for 400 s");
        waits.begin([("a", result(500))], STATED, at(530));
        assert_eq!(waits.end([("a", result(720))], at(720)).late, 1);
    }

    #[test]
    fn who_left_and_came_back_and_everybody_after_nothing_could_be_measured_begins_anew() {
        let mut waits = measured();
        waits.begin([], STATED, at(30));
        waits.begin([("a", result(1))], STATED, at(900));
        assert_eq!(waits.end([("a", result(1))], at(901)).late, 0);
        waits.forget();
        waits.begin([("a", result(1))], STATED, at(9000));
        assert_eq!(waits.end([("a", result(1))], at(9001)).late, 0);
    }

    #[test]
    fn the_longest_wait_is_told_with_what_was_promised() {
        let mut waits = Waits::default();
        waits.begin([("a", None), ("b", None)], STATED, at(0));
        waits.begin([("a", None), ("b", None), ("c", None)], STATED * 2, at(300));
        let kept = waits.end([("a", result(1)), ("b", None), ("c", None)], at(500));
        assert_eq!(kept, Kept { peers: 3, late: 2, longest: Duration::from_secs(500), promised: STATED * 2 });
    }
}
