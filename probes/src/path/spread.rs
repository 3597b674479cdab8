//! Tells equal-cost paths apart: the same size from many source ports.

use std::net::IpAddr;

use super::{Answer, Carrier, Probe, Step};
use crate::units::{IpSize, Mono};

/// The UDP port that a sweep asks: in traceroute's range, where nobody listens.
pub const PORT: u16 = 33_440;

/// What became of one source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The expected size was answered.
    Carried,
    /// A hop says that it is too big; the size that it names was answered, if one is said.
    Limited {
        /// The largest size that was answered.
        carries: Option<IpSize>,
        /// Who says so.
        by: IpAddr,
        /// The MTU that it names.
        reported: Option<IpSize>,
    },
    /// A small packet was answered, and the expected size was silent again and again.
    Swallowed,
    /// Not even a small packet was answered, again and again, while other ports were.
    Dead,
    /// Nothing could be concluded.
    Unknown,
}

/// What a sweep yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The size that every path should carry.
    pub expected: Option<IpSize>,
    /// What became of each source port, as the number that was on the wire.
    pub ports: Vec<(u16, Fate)>,
    /// Packets that left for it.
    pub sent: u32,
    /// When it was finished.
    pub at: Mono,
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Spread {
    known: Swept,
}

impl Spread {
    /// Sweeps `expected` over these source ports (counted from the first that is this process's). `carrier` makes a
    /// carrier of a port; `small` is the size of references; `limited` says whether answers are limited in rate.
    pub fn new(
        _ports: Vec<u16>,
        _carrier: fn(u16) -> Carrier,
        _small: IpSize,
        _expected: IpSize,
        _limited: bool,
        now: Mono,
    ) -> Self {
        Self { known: Swept { at: now, ..Swept::default() } }
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, _probe: Probe, _now: Mono) {}

    /// What became of `probe`.
    pub fn on_answer(&mut self, _probe: Probe, _answer: Answer, _now: Mono) {}

    /// What to do next.
    pub fn poll(&mut self, _now: Mono) -> Step<Swept> {
        Step::Done(Box::new(self.known.clone()))
    }
}
