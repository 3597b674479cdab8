//! Counters over time: how fast one rises, and whether it keeps rising.
//!
//! A counter of the kernel says how often something has happened since the machine started; what matters is whether it
//! happens now. So every round adds a sample, and a rate is taken over the samples of the last [`WINDOW`], or over the
//! last two where rounds are further apart than that. There is none before the samples are so far apart.
//!
//! A burst is no trouble that lasts: a connection that learns its path MTU loses a handful of packets, once. [`Rise`]
//! therefore says whether the counter rose in both halves of the window. Where a window is the time between two rounds
//! it has no halves; there it is on the rounds in agreement that every finding takes to show that it lasts.
//!
//! A round whose counters could not be read adds nothing, and the next rate is over a longer time. A counter that fell
//! was started again (another network namespace, a number that wrapped): what was seen before says nothing any more.
//!
//! Probes of our own are counted beside: every packet of a measurement that found anything but a clear path may have met
//! a limit, and been counted by this kernel. What they cause must not raise anything, so all that are known by the time
//! of judging are taken off, those of the round that is being judged among them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::Counters;
use crate::path::spread::Fate;
use crate::path::{Learned, Verdict};
use crate::units::Mono;

/// How long a counter has to be watched before it has a rate.
pub const WINDOW: Duration = Duration::from_secs(5);

/// Most samples: rounds are at least a second apart, so this is more than a window holds.
const MOST: usize = 32;

/// The samples of one window.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// In the order of time.
    samples: VecDeque<Sample>,
    /// Packets of our own, so far, that may have met a limit.
    own: u64,
}

#[derive(Clone, Debug)]
struct Sample {
    at: Mono,
    counters: Counters,
    /// Our own packets up to then.
    own: u64,
}

/// How much a counter rose within a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rise {
    /// By so much.
    pub by: u64,
    /// In so much time.
    pub within: Duration,
    /// Whether it rose in both halves of the window.
    pub lasts: bool,
}

impl Rise {
    /// Its rate in a second.
    pub fn per_second(&self) -> f64 {
        self.by as f64 / self.within.as_secs_f64().max(f64::EPSILON)
    }
}

impl Windows {
    /// Takes in what a round read.
    pub fn take(&mut self, counters: &Fact<Counters>, now: Mono) {
        let Fact::Known(counters) = counters else { return };
        let fell =
            |last: &Sample| last.counters.iter().any(|(name, was)| counters.get(name).is_some_and(|is| is < was));
        if self.samples.back().is_some_and(fell) {
            self.samples.clear();
        }
        self.samples.push_back(Sample { at: now, counters: counters.clone(), own: self.own });
        while self.samples.len() > MOST || self.samples.get(1).is_some_and(|next| now.since(next.at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Takes in what our own probes met.
    pub fn probed(&mut self, learned: &Learned) {
        self.own += match learned {
            Learned::Mtu(measured) | Learned::Outer(measured) | Learned::Anyone(measured) => match measured.verdict {
                Verdict::Clear { .. } => 0,
                _ => u64::from(measured.packets()),
            },
            Learned::Spread(swept) if swept.ports.iter().all(|(_, fate)| *fate == Fate::Carried) => 0,
            Learned::Spread(swept) => u64::from(swept.sent),
        };
    }

    /// How much a counter rose; `None` where the kernel does not count that.
    ///
    /// # Errors
    /// If it has not been watched for long enough.
    pub fn rise(&self, counter: &str) -> Result<Option<Rise>, Unread> {
        let of = |sample: &Sample| sample.counters.get(counter).copied();
        if self.samples.back().is_some_and(|last| of(last).is_none()) {
            return Ok(None);
        }
        let (first, last) = self.ends()?;
        let middle = &self.samples[self.samples.len() / 2];
        let (Some(before), Some(between), Some(after)) = (of(first), of(middle), of(last)) else {
            return Err(too_early());
        };
        let halves = self.samples.len() > 2;
        Ok(Some(Rise {
            by: after.saturating_sub(before),
            within: last.at.since(first.at),
            lasts: if halves { before < between && between < after } else { before < after },
        }))
    }

    /// Packets of our own that may have met a limit since the window began.
    pub fn own(&self) -> u64 {
        self.samples.front().map_or(0, |first| self.own.saturating_sub(first.own))
    }

    /// Whether a counter could be read, and no rate is known yet.
    pub fn is_filling(&self) -> bool {
        !self.samples.is_empty() && self.ends().is_err()
    }

    fn ends(&self) -> Result<(&Sample, &Sample), Unread> {
        let ends = self.samples.front().zip(self.samples.back());
        ends.filter(|(first, last)| last.at.since(first.at) >= WINDOW).ok_or_else(too_early)
    }
}

fn too_early() -> Unread {
    let why = format!("a rate takes {} s of watching", WINDOW.as_secs());
    Unread::new(Source::Counters, Reason::Unsupported { why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Measured;
    use crate::path::spread::Swept;
    use crate::units::IpSize;

    const NAME: &str = "fragmentation_failed";

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    /// One counter, by milliseconds.
    fn seen(samples: &[(u64, u64)]) -> Windows {
        let mut windows = Windows::default();
        for &(millis, value) in samples {
            windows.take(&Fact::Known(Counters::from([(NAME, value)])), at(millis));
        }
        windows
    }

    fn rise(samples: &[(u64, u64)]) -> Option<(u64, u64, bool)> {
        let rise = seen(samples).rise(NAME).ok()??;
        Some((rise.by, u64::try_from(rise.within.as_millis()).unwrap(), rise.lasts))
    }

    #[test]
    fn there_is_no_rate_before_a_window_is_full() {
        assert_eq!(rise(&[]), None);
        assert_eq!(rise(&[(0, 7)]), None);
        assert_eq!(rise(&[(0, 7), (4_999, 90)]), None);
        assert_eq!(rise(&[(0, 7), (5_000, 90)]), Some((83, 5_000, true)));
        assert!(seen(&[(0, 7)]).is_filling() && !seen(&[(0, 7), (5_000, 7)]).is_filling());
        assert!(!Windows::default().is_filling(), "nothing could be read, and waiting is no use");
    }

    #[test]
    fn a_window_slides_and_forgets_what_is_older() {
        let samples: Vec<_> = (0..60).map(|second| (second * 1_000, if second < 30 { second } else { 30 })).collect();
        assert_eq!(rise(&samples[..20]), Some((5, 5_000, true)));
        assert_eq!(rise(&samples), Some((0, 5_000, false)), "it has been quiet for long");
        assert!(seen(&samples).samples.len() <= 6, "it does not grow");
    }

    #[test]
    fn a_burst_does_not_last() {
        for burst in 1..=5 {
            let samples: Vec<_> = (0..=5).map(|n| (n * 1_000, if n < burst { 0 } else { 100 })).collect();
            assert_eq!(rise(&samples), Some((100, 5_000, false)), "in second {burst}");
        }
        let steady: Vec<_> = (0..=5).map(|n| (n * 1_000, n * 2)).collect();
        assert_eq!(rise(&steady), Some((10, 5_000, true)));
    }

    #[test]
    fn two_bursts_in_a_row_are_not_seen_to_last_twice() {
        // What rises in two neighbouring seconds lasts in one window at most, and findings take two in agreement.
        let samples: Vec<_> = (0u64..=12).map(|n| (n * 1_000, n.clamp(5, 7))).collect();
        let lasting = (5..=12).filter(|&end| rise(&samples[..=end]).unwrap().2).count();
        assert!(lasting <= 1, "{lasting}");
    }

    #[test]
    fn rounds_that_are_far_apart_are_windows_of_their_own() {
        assert_eq!(rise(&[(0, 0), (30_000, 60), (60_000, 61)]), Some((1, 30_000, true)));
        let minute = seen(&[(0, 0), (60_000, 30)]).rise(NAME).unwrap().unwrap();
        assert!((minute.per_second() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_round_that_could_not_be_read_makes_the_next_window_longer() {
        let mut windows = seen(&[(0, 10)]);
        windows.take(&Fact::Unread(too_early()), at(30_000));
        assert!(windows.is_filling(), "nothing new is known");
        windows.take(&Fact::Known(Counters::from([(NAME, 70)])), at(60_000));
        assert_eq!(windows.rise(NAME).unwrap().map(|rise| (rise.by, rise.within.as_secs())), Some((60, 60)));
    }

    #[test]
    fn a_counter_that_fell_was_started_again() {
        let samples = [(0, 1_000), (5_000, 1_001), (10_000, 3)];
        assert_eq!(rise(&samples), None);
        assert_eq!(rise(&[&samples[..], &[(15_000, 4)]].concat()), Some((1, 5_000, true)));
    }

    #[test]
    fn what_the_kernel_does_not_count_is_no_rise_and_what_it_counts_anew_has_to_be_watched() {
        let mut windows = seen(&[(0, 1), (5_000, 1)]);
        assert_eq!(windows.rise("conntrack_drops"), Ok(None));
        windows.take(&Fact::Known(Counters::from([(NAME, 1), ("conntrack_drops", 9)])), at(10_000));
        assert!(windows.rise("conntrack_drops").is_err(), "the module was loaded just now");
    }

    #[test]
    fn our_own_packets_count_from_where_the_window_begins_until_now() {
        let mtu = IpSize::new(1400);
        let learned = |verdict| Learned::Mtu(Box::new(Measured { sent: 30, ..Measured::new(verdict, at(0)) }));
        let hole = || learned(Verdict::BlackHole { carries: mtu, drops: mtu.plus(1), by: None });
        let mut windows = seen(&[(0, 0)]);
        windows.probed(&hole());
        windows.take(&Fact::Known(Counters::new()), at(5_000));
        windows.take(&Fact::Known(Counters::new()), at(10_000));
        assert_eq!(windows.own(), 0, "the hole was measured before");
        windows.probed(&learned(Verdict::Clear { mtu }));
        assert_eq!(windows.own(), 0, "a clear path met no limit");
        windows.probed(&hole());
        let swept = |fate| Learned::Spread(Box::new(Swept { sent: 5, ports: vec![(1, fate)], ..Swept::default() }));
        windows.probed(&swept(Fate::Carried));
        assert_eq!(windows.own(), 30);
        windows.probed(&swept(Fate::Unknown));
        assert_eq!(windows.own(), 35);
    }
}
