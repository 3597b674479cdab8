//! Tells the way there from the way back.

use std::net::IpAddr;

use super::{Answer, Measured, Probe, Step, Way};
use crate::units::{IpSize, Mono};

/// What is known of the two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The largest size that was seen to arrive there.
    pub forward: Option<IpSize>,
    /// The largest size that was seen to come back whole.
    pub reverse: Option<IpSize>,
    /// On which way larger sizes vanish.
    pub way: Option<Way>,
    /// Packets that left for it.
    pub sent: u32,
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Direction {
    known: Ways,
}

impl Direction {
    /// Tells the ways of `address` apart after `measured`, whose largest answer came back in fragments of up to
    /// `fragment`, with at most `budget` packets, for sizes up to `expected`.
    pub fn new(
        _address: IpAddr,
        _expected: IpSize,
        measured: &Measured,
        _fragment: Option<IpSize>,
        _budget: u32,
        _now: Mono,
    ) -> Self {
        let mtu = measured.verdict.path_mtu();
        Self { known: Ways { forward: mtu, reverse: mtu, way: None, sent: 0 } }
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, _probe: Probe, _now: Mono) {}

    /// What became of `probe`.
    pub fn on_answer(&mut self, _probe: Probe, _answer: Answer, _now: Mono) {}

    /// What to do next.
    pub fn poll(&mut self, _now: Mono) -> Step<Ways> {
        Step::Done(Box::new(self.known))
    }
}
