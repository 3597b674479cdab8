//! Finds the hop behind which sizes vanish.

use std::net::IpAddr;

use super::{Answer, Carrier, Hole, HopRow, Probe, Step};
use crate::units::{IpSize, Mono};

/// What was seen of the hops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The hops in order.
    pub hops: Vec<HopRow>,
    /// Between which of them the largest size vanishes.
    pub hole: Option<Hole>,
    /// Packets that left for it.
    pub sent: u32,
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Hops {
    known: Trace,
}

impl Hops {
    /// Looks at the hops to `address` with probes of `carrier`: small ones, and of each of `sizes`, the largest that a
    /// hop may see first. `round_trip` is the path's, where known.
    pub fn new(
        _address: IpAddr,
        _carrier: Carrier,
        _small: IpSize,
        _sizes: Vec<IpSize>,
        _round_trip: Option<std::time::Duration>,
        _now: Mono,
    ) -> Self {
        Self { known: Trace::default() }
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, _probe: Probe, _now: Mono) {}

    /// What became of `probe`.
    pub fn on_answer(&mut self, _probe: Probe, _answer: Answer, _now: Mono) {}

    /// What to do next.
    pub fn poll(&mut self, _now: Mono) -> Step<Trace> {
        Step::Done(Box::new(std::mem::take(&mut self.known)))
    }
}
