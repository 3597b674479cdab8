//! What the way there carries beyond the size that vanishes on the way back.
//!
//! The expected size first, for most paths are wrong on one way only; then sizes that hops named; then what is left is
//! split, a few sizes at once, so that a patience takes the gap down to a quarter. The smallest silent size is asked
//! again until it was silent [`TRIES`] times, for it may have been lost. Silence decides nothing here: what is
//! told is the largest size that was answered, and the budget may end it. Where answers are limited in rate, silence
//! does not even lead anywhere, so nothing is split.

use super::{Direction, Phase, TRIES, is_limited};
use crate::path::{Carrier, Probe, Way};
use crate::units::IpSize;

/// Parts that a gap is split into.
const PARTS: u32 = 4;

impl Direction {
    pub(super) fn climb(&mut self, carrier: Carrier) -> Option<Phase> {
        let of_carrier = self.ledger.iter().filter(|(probe, _)| probe.carrier == carrier);
        let reached = of_carrier.filter(|(_, tries)| tries.answered > 0).map(|(probe, _)| probe.size).max()?;
        self.told = Some((Way::Reverse, reached));
        if reached >= self.lane.expected || self.ledger.failed() {
            return Some(Phase::Done);
        }
        if self.ledger.iter().any(|(probe, tries)| probe.carrier == carrier && probe.size > reached && tries.pending())
        {
            return None;
        }
        let sizes = self.next_sizes(carrier, reached);
        let asked = sizes.into_iter().filter(|&size| self.ledger.ask(Probe::new(carrier, size))).count();
        (asked == 0).then_some(Phase::Done)
    }

    fn next_sizes(&self, carrier: Carrier, reached: IpSize) -> Vec<IpSize> {
        let expected = self.lane.expected;
        let silences = |size| self.ledger.silences(Probe::new(carrier, size));
        let Some(ceiling) = self.ceiling(carrier, reached) else { return vec![expected] };
        let is_new = |size: &IpSize| reached < *size && *size < ceiling && silences(*size) == 0;
        let named: Vec<_> = self.named.0.iter().copied().filter(is_new).collect();
        if !named.is_empty() {
            return named;
        }
        let gap = ceiling.bytes() - reached.bytes();
        let mut steps: Vec<_> =
            if gap <= PARTS { (1..gap).collect() } else { (1..PARTS).map(|part| gap * part / PARTS).collect() };
        if is_limited(carrier) {
            steps.clear();
        }
        if (1..TRIES).contains(&silences(ceiling)) {
            steps.push(gap);
        }
        steps.into_iter().map(|step| reached.plus(step)).collect()
    }

    /// The smallest size above `reached` that is not known to arrive though it was tried.
    fn ceiling(&self, carrier: Carrier, reached: IpSize) -> Option<IpSize> {
        let silent = self.ledger.iter().filter(|(probe, tries)| probe.carrier == carrier && tries.silent > 0);
        let silent = silent.map(|(probe, _)| probe.size).filter(|&size| size > reached).min();
        silent.into_iter().chain(self.ledger.too_large()).filter(|&size| size > reached).min()
    }
}
