//! How many packets leave in a second, over all paths.
//!
//! A token bucket, kept as one time: when the bucket would be full again (the generic cell rate algorithm of ITU-T
//! I.371). A bucket holds a quarter of a second's packets, and never less than what one clean path and a burst need.

use std::time::Duration;

use crate::units::Mono;

/// The least that a full bucket holds.
const LEAST_BURST: u32 = 20;

/// The packet budget.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    interval: Duration,
    tolerance: Duration,
    full_again: Mono,
}

impl Budget {
    /// A full bucket for `packets_per_second` (at least 1).
    pub(super) fn new(packets_per_second: u32, now: Mono) -> Self {
        let rate = packets_per_second.max(1);
        let interval = Duration::from_secs(1) / rate;
        let burst = (rate / 4).max(LEAST_BURST);
        Self { interval, tolerance: interval * (burst - 1), full_again: now }
    }

    /// When the next packet may leave.
    pub(super) fn ready_at(&self) -> Mono {
        self.full_again - self.tolerance
    }

    /// Takes one packet out, if one is there.
    pub(super) fn take(&mut self, now: Mono) -> bool {
        if now < self.ready_at() {
            return false;
        }
        self.full_again = self.full_again.max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    fn taken(budget: &mut Budget, now: Mono) -> u32 {
        (0..).take_while(|_| budget.take(now)).count() as u32
    }

    #[test]
    fn a_full_bucket_holds_a_quarter_second_and_refills_at_the_rate() {
        let mut budget = Budget::new(200, at(1000));
        assert_eq!(taken(&mut budget, at(1000)), 50);
        assert_eq!(budget.ready_at(), at(1005));
        assert_eq!(taken(&mut budget, at(1100)), 20);
        assert_eq!(taken(&mut budget, at(60_000)), 50, "it never holds more than a burst");
    }

    #[test]
    fn a_slow_budget_still_holds_a_burst() {
        let mut budget = Budget::new(1, at(60_000));
        assert_eq!(taken(&mut budget, at(60_000)), LEAST_BURST);
        assert_eq!(budget.ready_at(), at(61_000));
    }
}
