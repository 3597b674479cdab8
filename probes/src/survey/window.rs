//! How many paths are measured at a time.
//!
//! A thousand measurements that start at once are a burst of megabytes: it overruns the receive buffer here and the
//! queue of the narrowest link on the way, and what is lost there says nothing about path MTUs. So a few start, and
//! every path that answers makes room for two: the number doubles in a round trip for as long as the network keeps up,
//! and on a slow link the answers set the pace (as TCP's slow start, RFC 5681 §3.1). Paths that do not answer take up
//! room for seconds, so room also grows with time: they hold nobody up for long.

use std::time::Duration;

use crate::units::Mono;

/// Paths that start at once: two packets each, which any receive buffer holds.
const FIRST: usize = 32;
/// Room grows by [`FIRST`] this often, whatever is answered: 1,600 paths in a second.
const TICK: Duration = Duration::from_millis(20);

/// The room for measurements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    room: usize,
    next: Mono,
}

impl Window {
    pub(super) fn new(now: Mono) -> Self {
        Self { room: FIRST, next: now + TICK }
    }

    /// A path answered.
    pub(super) const fn on_answered(&mut self) {
        self.room += 1;
    }

    /// Whether one more may start while so many are under way.
    pub(super) fn has_room(&mut self, under_way: usize, now: Mono) -> bool {
        while self.next <= now {
            self.room += FIRST;
            self.next = self.next + TICK;
        }
        under_way < self.room
    }

    /// When there is more room in any case.
    pub(super) const fn grows_at(&self) -> Mono {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    #[test]
    fn answers_double_the_room_in_a_round_trip() {
        let mut window = Window::new(at(0));
        let mut under_way = 0;
        for wanted in [32, 64, 128, 256] {
            while window.has_room(under_way, at(1)) {
                under_way += 1;
            }
            assert_eq!(under_way, wanted);
            (0..under_way).for_each(|_| window.on_answered());
            under_way = 0;
        }
    }

    #[test]
    fn silence_holds_up_those_behind_it_for_a_moment() {
        let mut window = Window::new(at(0));
        assert!(!window.has_room(FIRST, at(19)));
        assert_eq!(window.grows_at(), at(20));
        assert!(window.has_room(FIRST, at(20)) && !window.has_room(2 * FIRST, at(39)));
        assert!(window.has_room(999, at(620)), "a thousand dead paths are under way in less than a second");
    }
}
