//! What the agent counts about its own work, for metrics only.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::fact::Source;
use crate::path::Plane;
use crate::units::Family;

/// Upper bounds of the round-trip histogram: 50 µs × 2ⁿ for n = 1, 3, … 11, from 100 µs (one switch) to 102.4 ms (between
/// regions). A bound is a series in each plane and family, and nobody acts on less than a factor of four.
pub const ROUND_TRIP_BUCKETS: usize = 6;

/// The upper bound of bucket `index`, in seconds.
pub fn round_trip_bound(index: usize) -> f64 {
    50e-6 * f64::from(1u32 << (2 * index + 1))
}

/// A cumulative histogram of round trips.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Observations by bucket, not cumulated; the last one is everything above the highest bound.
    pub buckets: [u64; ROUND_TRIP_BUCKETS + 1],
    /// Sum of all observations in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one round trip.
    pub fn observe(&mut self, round_trip: Duration) {
        let seconds = round_trip.as_secs_f64();
        let bucket = (0..ROUND_TRIP_BUCKETS).find(|&index| seconds <= round_trip_bound(index));
        self.buckets[bucket.unwrap_or(ROUND_TRIP_BUCKETS)] += 1;
        self.sum += seconds;
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Counters of one plane and family, from the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Reference probes sent.
    pub sent: u64,
    /// Reference probes without an answer.
    pub lost: u64,
    /// Packets sent by path-MTU searches, reference probes left out.
    pub searching: u64,
    /// Round trips of small reference probes.
    pub round_trips: Histogram,
}

/// Everything the agent counts about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telemetry {
    /// Probe traffic; every plane and family is present from the start.
    pub traffic: BTreeMap<(Plane, Family), Traffic>,
    /// Packets and messages that were dropped or failed, by reason.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// How each source of facts fared last time: duration, and whether it succeeded.
    pub sources: BTreeMap<Source, (Duration, bool)>,
    /// When each peer source last succeeded.
    pub peer_sources: BTreeMap<&'static str, PeerSource>,
    /// How often the kernel's multicast messages came faster than they were taken, and some were lost.
    pub overruns: u64,
    /// Transfers that stalled.
    pub transfer_stalls: u64,
    /// Duration of the last round.
    pub round: Option<Duration>,
    /// When the last round ended.
    pub round_ended: Option<Timestamp>,
    /// Interval between rounds.
    pub interval: Duration,
}

/// One source of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSource {
    /// Peers that it yields.
    pub peers: usize,
    /// When it last succeeded.
    pub succeeded: Option<Timestamp>,
}

/// Reasons of `probe_errors_total`. Every reason is present from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// A packet that is no ICMP message, or is cut short.
    Malformed,
    /// An answer or error that belongs to no probe of ours, or came too late.
    Unmatched,
    /// An answer whose cookie or source is not the one that was sent to: spoofed, or from another process.
    Forged,
    /// The kernel refused to send.
    SendFailed,
    /// A netlink message that did not decode.
    NetlinkMalformed,
}

impl ErrorKind {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::Unmatched, Self::Forged, Self::SendFailed, Self::NetlinkMalformed];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unmatched => "unmatched",
            Self::Forged => "forged",
            Self::SendFailed => "send_failed",
            Self::NetlinkMalformed => "netlink_malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_fall_into_the_bucket_that_bounds_them() {
        let mut histogram = Histogram::default();
        for micros in [100, 101, 400, 102_400, 102_401] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets, [1, 2, 0, 0, 0, 1, 1], "100 µs is within its bound, 102.4 ms the highest");
        assert_eq!(histogram.count(), 5);
    }
}
