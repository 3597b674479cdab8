//! When to look between rounds, because the kernel told of a change.
//!
//! A change is not replayed onto what is known: everything is read anew. That cannot drift, it answers a loss of messages
//! in the same way, and it costs milliseconds. Three rules bound the cost and the wait. A change is one command and
//! several messages, so it may settle for [`SETTLE`]. After a look the next one waits [`REST`] times what the last took,
//! so that a machine on which pods come and go all day spends a twentieth of a core on it. But it never waits longer than
//! [`LONGEST`], so that a change is reported within a second.

use std::time::Duration;

use crate::units::Mono;

/// How long a change may settle.
pub(super) const SETTLE: Duration = Duration::from_millis(50);

/// How many times its own duration a look is followed by rest.
const REST: u32 = 19;

/// Longest rest.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// News that was not looked at yet, and when to look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// When the first news came that no look has seen.
    news: Option<Mono>,
    began: Mono,
    rested: Mono,
}

impl Look {
    /// Something changed.
    pub(super) fn news(&mut self, now: Mono) {
        self.news = Some(self.news.map_or(now, |first| first.min(now)));
    }

    /// Looks again at that time, if nothing changes before.
    pub(super) fn again(&mut self, at: Mono) {
        self.news.get_or_insert(at - SETTLE);
    }

    /// Whether there is something to look at.
    pub(super) const fn is_wanted(&self) -> bool {
        self.news.is_some()
    }

    /// When to look; `None` if nothing changed.
    pub(super) fn due(&self) -> Option<Mono> {
        self.news.map(|first| (first + SETTLE).max(self.rested))
    }

    /// A look begins: what comes from here on is news again.
    pub(super) fn begin(&mut self, now: Mono) {
        self.news = None;
        self.began = now;
    }

    /// The look that began last is over.
    pub(super) fn end(&mut self, now: Mono) {
        self.rested = now + (now.since(self.began) * REST).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    #[test]
    fn a_change_settles_and_news_that_follow_do_not_put_it_off() {
        let mut look = Look::default();
        assert_eq!(look.due(), None);
        look.news(at(1000));
        look.news(at(1040));
        assert_eq!(look.due(), Some(at(1050)));
    }

    #[test]
    fn a_look_is_followed_by_rest_in_proportion() {
        let mut look = Look::default();
        look.news(at(1000));
        look.begin(at(1050));
        look.news(at(1051));
        look.end(at(1060));
        assert_eq!(look.due(), Some(at(1060 + 190)), "10 ms of work, 190 ms of rest");
    }

    #[test]
    fn a_second_look_comes_when_it_is_asked_for() {
        let mut look = Look::default();
        look.again(at(1300));
        assert_eq!(look.due(), Some(at(1300)));
        look.begin(at(1300));
        look.news(at(1310));
        look.again(at(2000));
        assert_eq!(look.due(), Some(at(1360)), "what changes before is not put off");
        look.begin(at(1360));
        look.again(at(2000));
        look.news(at(1400));
        assert_eq!(look.due(), Some(at(1450)), "whichever was said first");
    }

    #[test]
    fn no_rest_is_so_long_that_a_change_waits_a_second() {
        let mut look = Look::default();
        look.begin(at(0));
        look.news(at(1));
        look.end(at(400));
        assert_eq!(look.due(), Some(at(900)));
        look.begin(at(900));
        assert!(!look.is_wanted(), "a look sees all that came before it");
    }
}
