//! What a path lost lately.
//!
//! Loss is judged over a window, for one lost packet is none: the latest [`MOST`] references and none older than
//! [`LONGEST`]. The window is short in packets so that a path that is mended is soon known to be: a path that loses is
//! asked for a row of references in every round.

use std::collections::VecDeque;
use std::time::Duration;

use crate::units::Mono;

/// References that count.
pub const MOST: u32 = 150;
/// How long one counts.
pub const LONGEST: Duration = Duration::from_secs(600);

/// What was sent and lost, round by round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    rounds: VecDeque<(Mono, Loss)>,
}

/// References sent, and those of them that were not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Sent.
    pub sent: u32,
    /// Not answered.
    pub lost: u32,
}

impl Loss {
    /// The share that was lost; `None` if nothing was sent.
    pub fn ratio(self) -> Option<f64> {
        (self.sent > 0).then(|| f64::from(self.lost) / f64::from(self.sent))
    }

    /// The least share that the path loses by these samples, wrong once in 200: the lower end of Wilson's score interval
    /// (E. B. Wilson, 1927) for z = 2.58. `None` if nothing was sent.
    pub fn at_least(self) -> Option<f64> {
        const Z: f64 = 2.58;
        let (ratio, sent) = (self.ratio()?, f64::from(self.sent));
        let centre = ratio + Z * Z / (2.0 * sent);
        let spread = Z * (ratio * (1.0 - ratio) / sent + Z * Z / (4.0 * sent * sent)).sqrt();
        Some(((centre - spread) / (1.0 + Z * Z / sent)).max(0.0))
    }
}

impl Losses {
    /// Takes in a round.
    pub fn push(&mut self, at: Mono, round: Loss) {
        if round.sent > 0 {
            self.rounds.push_back((at, round));
        }
        let mut sent = self.total().sent;
        while let Some(&(earliest, first)) = self.rounds.front()
            && (sent - first.sent >= MOST || at.since(earliest) > LONGEST)
        {
            sent -= first.sent;
            self.rounds.pop_front();
        }
    }

    /// Nothing of what was sent says anything any more.
    pub fn clear(&mut self) {
        self.rounds.clear();
    }

    /// The window as a whole.
    pub fn total(&self) -> Loss {
        self.rounds
            .iter()
            .fold(Loss::default(), |sum, &(_, round)| Loss { sent: sum.sent + round.sent, lost: sum.lost + round.lost })
    }

    /// Whether anything was lost lately: then more is to be sent.
    pub fn is_doubtful(&self) -> bool {
        self.total().lost > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::new(Duration::from_secs(secs))
    }

    fn loss(sent: u32, lost: u32) -> Loss {
        Loss { sent, lost }
    }

    #[test]
    fn old_rounds_and_those_beyond_the_window_no_longer_count() {
        let mut losses = Losses::default();
        losses.push(at(0), loss(20, 5));
        losses.push(at(30), loss(20, 0));
        assert_eq!(losses.total(), loss(40, 5));
        losses.push(at(601), loss(2, 0));
        assert_eq!(losses.total(), loss(22, 0), "ten minutes are over");
        let mut losses = Losses::default();
        losses.push(at(0), loss(20, 5));
        (1..9).for_each(|round| losses.push(at(round), loss(20, 0)));
        assert_eq!(losses.total(), loss(160, 0), "the latest references are clean");
        assert!(!losses.is_doubtful());
    }

    #[test]
    fn a_round_in_which_nothing_was_sent_is_none() {
        let mut losses = Losses::default();
        losses.push(at(0), loss(0, 0));
        assert_eq!((losses.rounds.len(), losses.total().ratio(), losses.total().at_least()), (0, None, None));
    }

    #[test]
    fn few_samples_prove_little() {
        let least = |sent, lost| loss(sent, lost).at_least().unwrap();
        assert!(least(2, 1) < 0.1, "one of two: {}", least(2, 1));
        assert!(least(150, 1) < 0.01 && least(150, 3) < 0.01, "{}", least(150, 3));
        assert!(least(150, 15) > 0.04 && least(150, 15) < 0.1, "{}", least(150, 15));
        assert!(least(150, 0) < 1e-9);
        assert!(least(100, 100) > 0.9);
    }
}
