//! What is known of one size.

use std::time::Duration;

use crate::path::Limit;
use crate::units::{IpSize, Mono};

/// Most errors remembered for one size: a hop repeats itself, and a forger must not fill the memory.
const HINTS: usize = 4;

/// All probes of one size.
#[derive(Clone, Debug, Default)]
pub(in crate::path) struct Tries {
    /// Asked for, and neither left nor refused by the kernel so far.
    pub queued: u32,
    /// When those left that nothing is known of.
    pub out: Vec<Mono>,
    /// Packets that left.
    pub left: u32,
    /// When the last one left or was refused by a filter here.
    pub last: Option<Mono>,
    /// Answered by the target.
    pub answered: u32,
    /// Not answered in time, or dropped by a filter here.
    pub silent: u32,
    /// Of the silent ones, those that a filter here dropped.
    pub filtered: u32,
    /// The largest fragment of its answers, if all of them came in fragments.
    pub fragment: Option<IpSize>,
    /// Errors that call this size too big, none twice.
    pub hints: Vec<Limit>,
}

impl Tries {
    /// Whether the fate of a probe is still open.
    pub(in crate::path) fn pending(&self) -> bool {
        self.queued > 0 || !self.out.is_empty()
    }

    /// Whether an answer is still likely: something is about to leave, or left less than `stall` ago (or after `since`,
    /// if later).
    pub(in crate::path) fn hopeful(&self, since: Mono, stall: Duration, now: Mono) -> bool {
        self.queued > 0 || self.out.iter().any(|&left| now < left.max(since) + stall)
    }

    /// Not answered so far: the silent ones, and those that may still be answered.
    pub(in crate::path) fn missing(&self) -> u32 {
        self.silent + u32::try_from(self.out.len()).unwrap_or(u32::MAX)
    }

    /// Whether it was ever asked for.
    pub(in crate::path) fn tried(&self) -> bool {
        self.queued > 0 || self.left > 0 || self.filtered > 0
    }

    /// Whether anything speaks against this size.
    pub(in crate::path) fn doubted(&self) -> bool {
        self.missing() > 0 || !self.hints.is_empty()
    }

    /// Whether the kernel here took this size.
    pub(in crate::path) fn fits(&self) -> bool {
        self.left > 0 || self.filtered > 0
    }

    /// Times that this size went out.
    pub(in crate::path) fn attempts(&self) -> u32 {
        self.left + self.filtered
    }

    /// One probe left.
    pub(in crate::path) fn on_left(&mut self, now: Mono) {
        self.queued = self.queued.saturating_sub(1);
        self.left += 1;
        self.out.push(now);
        self.last = Some(now);
    }

    /// A filter here dropped one probe.
    pub(in crate::path) fn on_filtered(&mut self, now: Mono) {
        self.queued = self.queued.saturating_sub(1);
        self.filtered += 1;
        self.silent += 1;
        self.last = Some(now);
    }

    /// One probe was answered, perhaps after it had been given up.
    pub(in crate::path) fn on_answered(&mut self, fragment: Option<IpSize>) {
        self.fragment = if self.answered == 0 { fragment } else { self.fragment.zip(fragment).map(|(a, b)| a.max(b)) };
        self.answered += 1;
        if self.out.is_empty() {
            self.silent = self.silent.saturating_sub(1);
        } else {
            self.out.remove(0);
        }
    }

    /// Somebody calls this size too big.
    pub(in crate::path) fn on_hint(&mut self, hint: Limit) {
        if self.hints.len() < HINTS && !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }

    /// Gives up what left (or `since`, if later) more than `patience` before `now`.
    pub(in crate::path) fn expire(&mut self, since: Mono, patience: Duration, now: Mono) {
        let before = self.out.len();
        self.out.retain(|&left| now < left.max(since) + patience);
        self.silent += u32::try_from(before - self.out.len()).unwrap_or(u32::MAX);
    }

    /// The MTUs that errors about this size, `size`, name and that could be true: RFC 1191 §7.1 says what to do with
    /// others, which is to guess.
    pub(in crate::path) fn named(&self, size: IpSize, floor: IpSize) -> impl Iterator<Item = (IpSize, Limit)> {
        self.hints.iter().filter_map(move |&hint| {
            let mtu = hint.reported_mtu?;
            (floor <= mtu && mtu < size).then_some((mtu, hint))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Mono = Mono::new(Duration::from_secs(1));

    #[test]
    fn an_answer_after_the_deadline_takes_the_silence_back() {
        let mut tries = Tries::default();
        tries.on_left(Mono::default());
        tries.expire(Mono::default(), Duration::from_millis(200), LATE);
        assert_eq!((tries.silent, tries.pending()), (1, false));
        tries.on_answered(None);
        assert_eq!((tries.silent, tries.answered), (0, 1));
    }

    #[test]
    fn waiting_starts_when_the_path_first_showed_life() {
        let mut tries = Tries::default();
        tries.on_left(Mono::default());
        tries.expire(LATE, Duration::from_millis(200), LATE);
        assert_eq!(tries.silent, 0);
    }

    #[test]
    fn after_a_stall_an_answer_is_unlikely_and_still_awaited() {
        let mut tries = Tries { queued: 1, ..Tries::default() };
        let (stall, since) = (Duration::from_millis(50), Mono::default());
        assert!(tries.hopeful(since, stall, LATE), "it has not left");
        tries.on_left(LATE);
        assert!(tries.hopeful(since, stall, LATE) && !tries.hopeful(since, stall, LATE + stall));
        assert!(tries.hopeful(LATE + stall, stall, LATE + stall), "the path showed no life before");
        assert_eq!((tries.missing(), tries.silent, tries.pending()), (1, 0, true));
    }

    #[test]
    fn a_repeated_error_is_one_hint_and_a_forger_fills_no_memory() {
        let mut tries = Tries::default();
        for mtu in [1400, 1400, 600, 601, 602, 603] {
            tries.on_hint(Limit { address: None, reported_mtu: Some(IpSize::new(mtu)), ttl: None });
        }
        assert_eq!(tries.hints.len(), HINTS);
    }

    #[test]
    fn only_an_mtu_between_floor_and_size_is_believed_enough_to_be_tried() {
        let mut tries = Tries::default();
        for mtu in [None, Some(67), Some(1500), Some(1400)] {
            tries.on_hint(Limit { address: None, reported_mtu: mtu.map(IpSize::new), ttl: None });
        }
        let named: Vec<_> = tries.named(IpSize::new(1500), IpSize::new(68)).map(|(mtu, _)| mtu.bytes()).collect();
        assert_eq!(named, [1400]);
    }
}
