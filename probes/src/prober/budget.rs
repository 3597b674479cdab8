//! How many packets leave in a second, over all paths.
//!
//! The bucket holds a quarter of a second's packets, and never less than what one clean path and a burst need.

use crate::bucket::Bucket;
use crate::units::Mono;

/// The least that a full bucket holds.
const LEAST_BURST: u32 = 20;

/// A full bucket for `packets_per_second` (at least 1).
pub(super) fn budget(packets_per_second: u32, now: Mono) -> Bucket {
    let rate = packets_per_second.max(1);
    Bucket::new(rate, (rate / 4).max(LEAST_BURST), now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    fn taken(budget: &mut Bucket, now: Mono) -> u32 {
        (0..).take_while(|_| budget.take(now)).count() as u32
    }

    #[test]
    fn a_full_bucket_holds_a_quarter_second_and_refills_at_the_rate() {
        let mut budget = budget(200, at(1000));
        assert_eq!(taken(&mut budget, at(1000)), 50);
        assert_eq!(budget.ready_at(), at(1005));
        assert_eq!(taken(&mut budget, at(1100)), 20);
        assert_eq!(taken(&mut budget, at(60_000)), 50, "it never holds more than a burst");
    }

    #[test]
    fn a_slow_budget_still_holds_a_burst() {
        let mut budget = budget(1, at(60_000));
        assert_eq!(taken(&mut budget, at(60_000)), LEAST_BURST);
        assert_eq!(budget.ready_at(), at(61_000));
    }
}
