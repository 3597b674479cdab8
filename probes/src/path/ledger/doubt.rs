//! Whether a probe vanishes: silent again and again, while a companion that takes the same way is answered.
//!
//! The search's rule for the edge of a black hole, for everything else that is concluded from silence: at least
//! [`SILENCES`], and one more for every companion that was lost, [`WITNESSED`] of them in rounds whose companion was
//! answered. On a path that loses a twentieth each way, four in a row are lost by chance once in eleven thousand times,
//! six once in a million.
//! Thus neither loss nor a host that dies is taken for it. The companion leaves last in a round: where answers are
//! limited in rate, it is the suspect that is answered first, and an exhausted limit witnesses nothing.
//!
//! The next round does not wait for the suspect's silence, only until it has stalled; the companion is waited for in
//! full, and so is everything before it is said that the suspect vanishes.

use super::Ledger;
use crate::path::Probe;
use crate::path::search::{MOST_SILENCES, SILENCES, WITNESSED};

/// Rounds before it is given up.
const ROUNDS: u32 = 3;

/// A probe in doubt.
#[derive(Clone, Debug)]
pub(in crate::path) struct Doubt {
    suspect: Probe,
    companion: Probe,
    silences: u32,
    round: Option<Round>,
    rounds: u32,
    witnessed: u32,
}

/// What was known when a round began.
#[derive(Clone, Copy, Debug)]
struct Round {
    silent: u32,
    answered: u32,
}

/// What a doubt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::path) enum Judged {
    /// It was answered.
    Answered,
    /// It vanishes.
    Vanishes,
    /// It vanishes unless it is answered after all.
    Presumed,
    /// Probes are under way.
    Open,
    /// The companion was lost too often, or there is no room for another round.
    Unsettled,
}

impl Doubt {
    /// A doubt that takes [`SILENCES`] to settle.
    pub(in crate::path) const fn new(suspect: Probe, companion: Probe) -> Self {
        Self { suspect, companion, silences: SILENCES, round: None, rounds: 0, witnessed: 0 }
    }

    /// A doubt that takes as many silences as the search asks for at most.
    pub(in crate::path) const fn grave(suspect: Probe, companion: Probe) -> Self {
        Self { silences: MOST_SILENCES, ..Self::new(suspect, companion) }
    }

    /// Judges what is known by now, and asks for another round where that is not enough.
    pub(in crate::path) fn judge(&mut self, ledger: &mut Ledger) -> Judged {
        if ledger.answered(self.suspect) > 0 {
            return Judged::Answered;
        }
        if ledger.hopeful(self.suspect) || ledger.pending(self.companion) {
            return Judged::Open;
        }
        self.end_round(ledger);
        let silent = ledger.missing(self.suspect);
        let needed = (self.silences + ledger.silences(self.companion)).min(MOST_SILENCES);
        if silent >= needed && self.witnessed >= WITNESSED {
            return if ledger.pending(self.suspect) { Judged::Presumed } else { Judged::Vanishes };
        }
        let missing = needed.saturating_sub(silent).max(WITNESSED.saturating_sub(self.witnessed));
        self.ask(missing, ledger)
    }

    fn ask(&mut self, missing: u32, ledger: &mut Ledger) -> Judged {
        if self.rounds == ROUNDS || ledger.room() <= missing {
            return if ledger.pending(self.suspect) { Judged::Open } else { Judged::Unsettled };
        }
        self.rounds += 1;
        let (silent, answered) = (ledger.missing(self.suspect), ledger.answered(self.companion));
        self.round = Some(Round { silent, answered });
        (0..missing).for_each(|_| _ = ledger.ask(self.suspect));
        ledger.ask(self.companion);
        Judged::Open
    }

    /// Counts the silences of the round that is over, if its companion was answered.
    fn end_round(&mut self, ledger: &Ledger) {
        let Some(round) = self.round.take() else { return };
        if ledger.answered(self.companion) > round.answered {
            self.witnessed += ledger.missing(self.suspect).saturating_sub(round.silent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Carrier;
    use crate::units::{IpSize, Mono};

    const LARGE: Probe = Probe::new(Carrier::Timestamp, IpSize::new(1500));
    const SMALL: Probe = Probe::new(Carrier::Timestamp, IpSize::new(84));

    /// Plays a doubt: `answers` says of each probe, by its number, whether it is answered.
    fn play(budget: u32, answers: impl Fn(usize, Probe) -> bool) -> (Judged, Vec<u32>) {
        let (mut ledger, mut doubt) = (Ledger::new(budget, None), Doubt::new(LARGE, SMALL));
        let mut sizes = Vec::new();
        loop {
            let judged = doubt.judge(&mut ledger);
            while let Some(probe) = ledger.next() {
                ledger.on_sent(probe, Mono::default());
                if answers(sizes.len(), probe) {
                    ledger.on_answered(probe, None, None);
                } else {
                    ledger.on_silent(probe);
                }
                sizes.push(probe.size.bytes());
            }
            if judged != Judged::Open {
                return (judged, sizes);
            }
        }
    }

    #[test]
    fn one_round_is_enough_where_nothing_else_is_lost() {
        assert_eq!(play(60, |_, probe| probe == SMALL), (Judged::Vanishes, vec![1500, 1500, 1500, 1500, 84]));
    }

    #[test]
    fn one_answer_ends_it() {
        for number in 0..4 {
            let (judged, sizes) = play(60, |at, _| at == number);
            assert_eq!((judged, sizes.len()), (Judged::Answered, 5));
        }
    }

    #[test]
    fn a_round_without_its_companion_witnesses_nothing_and_asks_for_more() {
        let (judged, sizes) = play(60, |at, probe| probe == SMALL && at > 4);
        assert_eq!((judged, &sizes[5..]), (Judged::Vanishes, &[1500, 1500, 1500, 84][..]));
    }

    #[test]
    fn a_dead_host_is_never_settled() {
        assert_eq!(play(60, |_, _| false).0, Judged::Unsettled);
    }

    #[test]
    fn it_asks_on_after_a_stall_and_says_nothing_before_the_silence_is_over() {
        let at = |millis| Mono::new(std::time::Duration::from_millis(millis));
        let (mut ledger, mut doubt) = (Ledger::new(60, None), Doubt::new(LARGE, SMALL));
        let mut judge = |now, answered: &[Probe]| {
            answered.iter().for_each(|&probe| ledger.on_answered(probe, None, None));
            ledger.expire(now);
            let judged = doubt.judge(&mut ledger);
            let left: Vec<_> = std::iter::from_fn(|| ledger.next()).collect();
            left.iter().for_each(|&probe| ledger.on_sent(probe, now));
            (judged, left.len())
        };
        assert_eq!(judge(at(0), &[]), (Judged::Open, 5));
        assert_eq!(judge(at(50), &[]), (Judged::Open, 0), "the companion is waited for in full");
        assert_eq!(judge(at(60), &[SMALL]), (Judged::Presumed, 0));
        assert_eq!(judge(at(199), &[]), (Judged::Presumed, 0));
        assert_eq!(judge(at(200), &[]), (Judged::Vanishes, 0));
        assert_eq!(judge(at(201), &[LARGE]), (Judged::Answered, 0));
    }

    #[test]
    fn without_room_for_a_companion_nothing_is_asked() {
        assert_eq!(play(4, |_, probe| probe == SMALL), (Judged::Unsettled, vec![]));
        assert_eq!(play(5, |_, probe| probe == SMALL).0, Judged::Vanishes);
    }
}
