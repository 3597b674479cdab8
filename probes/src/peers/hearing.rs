//! Whether the Kubernetes API is still heard.
//!
//! What it announced stays in force for as long as it is silent: a node does not leave because the control plane is down,
//! and paths are best watched then. What it would say by now is not known, though: nodes that came are not watched, those
//! that went are missed. That is worth a word after [`STALE`].
//!
//! A watch that is in order is never silent for so long: the API server sends a bookmark about every minute, and ends a
//! watch within five to ten minutes at most, upon which it is asked again. Ten minutes are ten bookmarks missed, and more
//! than the restart of a control plane, its upgrade node by node, or a leader that is elected anew take.
//!
//! It is as well for an API that was never heard: nodes boot together, and the control plane may be the last.
//!
//! A list that names nobody, not even this node, is no word: its Service was deleted or selects nothing.

use std::time::Duration;

use jiff::Timestamp;

use crate::fact::{Reason, Source, Unread};
use crate::units::{Mono, Now};

use super::announced::Announced;

/// After so long a silence what is announced may be old.
pub const STALE: Duration = Duration::from_secs(600);

/// How the API stands at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// How long it has not been heard: since it was, else since it was first to be.
    pub silent: Duration,
    /// When it was heard last; `None` for never.
    pub last: Option<Timestamp>,
    /// Why it is not heard now, as far as that is told.
    pub why: Option<Unread>,
    /// Nodes that it announced when it was heard last, this one left out.
    pub nodes: usize,
}

/// What was heard, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear {
    since: Option<Mono>,
    count: u64,
    last: Option<Now>,
    why: Option<Unread>,
}

impl Ear {
    /// It is to be heard from here on, or not any more.
    pub(super) fn listen(&mut self, wanted: bool, now: Now) {
        if wanted {
            self.since.get_or_insert(now.mono);
        } else {
            *self = Self { count: self.count, ..Self::default() };
        }
    }

    /// Takes note of what came. Whether it is to be believed is told.
    pub(super) fn take(&mut self, announced: &Announced, now: Now) -> bool {
        let named = announced.endpoints.as_deref().map(|endpoints| !endpoints.is_empty());
        let spoke = announced.heard != self.count;
        self.count = announced.heard;
        self.why = announced.failing.clone();
        match named {
            Some(true) if spoke => self.last = Some(now),
            Some(false) if self.why.is_none() => self.why = Some(nobody()),
            _ => {}
        }
        named == Some(true)
    }

    /// How it stands; `None` where it is not to be heard.
    pub(super) fn hearing(&self, nodes: usize, now: Mono) -> Option<Hearing> {
        let since = self.last.map(|last| last.mono).or(self.since)?;
        Some(Hearing { silent: now.since(since), last: self.last.map(|last| last.wall), why: self.why.clone(), nodes })
    }

    /// When it was heard last.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last.map(|last| last.wall)
    }
}

fn nobody() -> Unread {
    let what = "the API lists no agent, not even this node's: its Service is gone or selects no pod";
    Unread::new(Source::Kubernetes, Reason::Failed { what: what.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::announced::Endpoint;
    use crate::report::Vantage;

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::new(Duration::from_secs(seconds)), wall: Timestamp::from_second(seconds as i64).unwrap() }
    }

    fn word(heard: u64, nodes: usize) -> Announced {
        let endpoint = |number: usize| Endpoint {
            node: format!("n{number}"),
            vantage: Vantage::Node,
            addresses: Vec::new(),
            zone: None,
            ready: true,
        };
        Announced { endpoints: Some((0..nodes).map(endpoint).collect()), heard, failing: None }
    }

    fn ear() -> Ear {
        let mut ear = Ear::default();
        ear.listen(true, at(100));
        ear
    }

    fn stands(ear: &Ear, seconds: u64) -> (u64, Option<i64>, bool) {
        let hearing = ear.hearing(1, at(seconds).mono).unwrap();
        (hearing.silent.as_secs(), hearing.last.map(Timestamp::as_second), hearing.why.is_some())
    }

    #[test]
    fn silence_is_counted_from_the_last_word_or_else_from_the_start() {
        let mut ear = ear();
        assert_eq!(stands(&ear, 130), (30, None, false));
        ear.listen(true, at(140));
        assert_eq!(stands(&ear, 150), (50, None, false), "a round that begins does not begin it anew");
        assert!(ear.take(&word(1, 2), at(160)));
        assert_eq!(stands(&ear, 200), (40, Some(160), false));
        assert!(ear.take(&word(2, 2), at(300)), "a bookmark changes nothing but the count");
        assert_eq!(stands(&ear, 310), (10, Some(300), false));
    }

    #[test]
    fn a_failure_is_no_word_although_the_list_is_still_there() {
        let mut ear = ear();
        ear.take(&word(1, 2), at(160));
        let failing = Some(Unread::new(Source::Kubernetes, Reason::NotYet));
        assert!(ear.take(&Announced { failing, ..word(1, 2) }, at(200)));
        assert_eq!(stands(&ear, 260), (100, Some(160), true));
        ear.take(&word(2, 2), at(270));
        assert_eq!(stands(&ear, 270), (0, Some(270), false), "it is back");
    }

    #[test]
    fn a_list_of_nobody_is_not_believed_and_counts_as_silence() {
        let mut ear = ear();
        assert!(!ear.take(&word(1, 0), at(110)));
        assert_eq!(stands(&ear, 120), (20, None, true));
        ear.take(&word(2, 1), at(130));
        assert!(!ear.take(&word(3, 0), at(140)));
        assert_eq!(stands(&ear, 150), (20, Some(130), true));
    }

    #[test]
    fn nothing_is_awaited_where_it_is_switched_off() {
        assert_eq!(Ear::default().hearing(0, at(1000).mono), None);
        let mut ear = ear();
        ear.take(&word(7, 2), at(120));
        ear.listen(false, at(130));
        assert_eq!((ear.hearing(0, at(1000).mono), ear.last()), (None, None));
        ear.listen(true, at(2000));
        assert_eq!(stands(&ear, 2010), (10, None, false), "what was heard before is no word of now");
    }
}
