//! A token bucket, kept as one time: when it would be full again (the generic cell rate algorithm of ITU-T I.371).

use std::time::Duration;

use crate::units::Mono;

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    tolerance: Duration,
    full_again: Mono,
}

impl Bucket {
    /// A full bucket; both numbers are at least 1.
    pub(crate) fn new(per_second: u32, at_once: u32, now: Mono) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, tolerance: interval * (at_once.max(1) - 1), full_again: now }
    }

    /// When the next may be taken.
    pub(crate) fn ready_at(&self) -> Mono {
        self.full_again - self.tolerance
    }

    /// Whether nothing is missing.
    pub(crate) fn is_full(&self, now: Mono) -> bool {
        self.full_again <= now
    }

    /// Takes one out, if one is there.
    pub(crate) fn take(&mut self, now: Mono) -> bool {
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

    #[test]
    fn a_bucket_gives_what_it_holds_and_refills_at_its_rate() {
        let mut bucket = Bucket::new(4, 3, at(60_000));
        let taken = |bucket: &mut Bucket, now| (0..).take_while(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, at(60_000)), 3);
        assert_eq!(bucket.ready_at(), at(60_250));
        assert_eq!(taken(&mut bucket, at(60_500)), 2);
        assert!(!bucket.is_full(at(60_500)));
        assert_eq!(taken(&mut bucket, at(120_000)), 3, "it never holds more");
    }

    #[test]
    fn a_bucket_at_the_start_of_the_clock_is_full() {
        let mut bucket = Bucket::new(1, 2, at(0));
        assert!(bucket.take(at(0)) && bucket.take(at(0)));
    }
}
