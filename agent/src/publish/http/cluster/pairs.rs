//! Pairs that were asked for lately.
//!
//! A pair is asked about when somebody opens it, two at a time and no more often than every [`KEEP`]: whoever asks for
//! pairs without end keeps others waiting for theirs, and no agent busy.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::super::document::Document;
use super::KEEP;

/// Pairs that are kept; a page is some tens of kilobytes.
const MOST: usize = 16;

/// Pairs that are asked about at a time.
const AT_A_TIME: usize = 2;

/// How long one waits for that.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long after the request a turn is of use: a name may have taken a whole picture to be known, and later the
/// connection would end before the agents have answered.
pub(in crate::publish) const LAST_TURN: Duration = Duration::from_secs(12);

/// The pages.
#[derive(Debug)]
pub(super) struct Pairs {
    kept: Mutex<VecDeque<([String; 2], Instant, Document)>>,
    turns: Semaphore,
}

impl Default for Pairs {
    fn default() -> Self {
        Self { kept: Mutex::default(), turns: Semaphore::new(AT_A_TIME) }
    }
}

impl Pairs {
    /// The page of a pair that was asked for at `asked`, with its age: the one that is there, else what `make` makes.
    /// `None` if it is nobody's turn in time.
    pub(super) async fn of<E>(
        &self,
        names: &[String; 2],
        asked: Instant,
        make: impl Future<Output = Result<Document, E>>,
    ) -> Option<Result<(Document, Duration), E>> {
        if let Some(there) = self.kept(names) {
            return Some(Ok(there));
        }
        let until = (Instant::now() + PATIENCE).min(asked + LAST_TURN);
        let turn = timeout_at(until, self.turns.acquire()).await.ok()?.ok()?;
        // Somebody else may have asked for the same while this one waited.
        if let Some(there) = self.kept(names) {
            return Some(Ok(there));
        }
        let made = make.await;
        drop(turn);
        Some(made.map(|page| {
            self.keep(names, &page);
            (page, Duration::ZERO)
        }))
    }

    fn kept(&self, names: &[String; 2]) -> Option<(Document, Duration)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, at, _)| at.elapsed() < KEEP);
        let (_, at, page) = kept.iter().find(|(known, ..)| known == names)?;
        Some((page.clone(), at.elapsed()))
    }

    fn keep(&self, names: &[String; 2], page: &Document) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(MOST - 1);
        kept.push_front((names.clone(), Instant::now(), page.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::super::super::document::HTML;
    use super::*;

    fn names(number: usize) -> [String; 2] {
        ["a".to_owned(), number.to_string()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_is_asked_about_once_in_a_while_and_few_are_kept() {
        let (pairs, made) = (Pairs::default(), Cell::new(0));
        let ask = async |number: usize| {
            let make = async {
                made.set(made.get() + 1);
                Ok::<_, Infallible>(Document::new(HTML, "page"))
            };
            pairs.of(&names(number), Instant::now(), make).await.unwrap().unwrap().1
        };
        ask(1).await;
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!((ask(1).await, made.get()), (Duration::from_secs(3), 1));
        tokio::time::advance(KEEP).await;
        assert_eq!((ask(1).await, made.get()), (Duration::ZERO, 2), "it is old by then");
        for number in 2..2 + MOST {
            ask(number).await;
        }
        assert_eq!(pairs.kept.lock().unwrap().len(), MOST);
        assert!(pairs.kept(&names(1)).is_none(), "the oldest went");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so() {
        let pairs = Pairs::default();
        let never = || pairs.turns.acquire();
        let _busy = (never().await.unwrap(), never().await.unwrap());
        let make = || async { Ok::<_, Infallible>(Document::new(HTML, "")) };
        let asked = Instant::now();
        assert!(pairs.of(&names(1), asked, make()).await.is_none());
        assert_eq!(asked.elapsed(), PATIENCE);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(pairs.of(&names(1), asked, make()).await.is_none());
        assert_eq!(asked.elapsed(), LAST_TURN, "what went by before counts");
    }
}
