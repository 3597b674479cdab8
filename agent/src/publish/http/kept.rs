//! A page as it was written last, for as long as what it tells is the latest.
//!
//! The report of a node with a thousand peers is two megabytes. Written for each who asks, as many clients as there are
//! places, reading slowly, would hold more than a container may have, and a flood of them a processor. So it is written
//! once a round, when the first asks, and all send the same bytes.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// One form of a page about a `T`: its bytes, or what else stands for it.
#[derive(Debug)]
pub(super) struct Kept<T, V = Bytes>(Mutex<Option<(Weak<T>, V)>>);

impl<T, V> Default for Kept<T, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, V: Clone> Kept<T, V> {
    /// What `write` makes of `of`, or made of it before.
    ///
    /// # Errors
    /// As `write`; that is not kept.
    pub(super) fn of<E>(&self, of: &Arc<T>, write: impl FnOnce(&T) -> Result<V, E>) -> Result<V, E> {
        // Held while it is written: who comes meanwhile is to get the same.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As long as there is a weak reference, nothing else is put in the same place.
        if let Some((known, written)) = &*kept
            && std::ptr::eq(known.as_ptr(), Arc::as_ptr(of))
        {
            return Ok(written.clone());
        }
        // The old one goes before there is a new one: there are never two for nobody.
        *kept = None;
        let written = write(of)?;
        *kept = Some((Arc::downgrade(of), written.clone()));
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn ask(kept: &Kept<u32>, of: &Arc<u32>) -> Bytes {
        kept.of(of, |number| Ok::<_, Infallible>(number.to_string().into())).unwrap()
    }

    #[test]
    fn it_is_written_once_for_all_who_ask() {
        let (kept, one) = (Kept::default(), Arc::new(1));
        let first = ask(&kept, &one);
        assert_eq!((first.as_ptr(), &first[..]), (ask(&kept, &one).as_ptr(), &b"1"[..]), "the same bytes in memory");
    }

    #[test]
    fn another_round_is_another_page_even_in_the_same_place() {
        let kept = Kept::default();
        for round in 0..100 {
            // Each is freed before the next is made, so that an allocator may well give the same place again.
            assert_eq!(ask(&kept, &Arc::new(round)), round.to_string());
        }
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let (kept, one) = (Kept::default(), Arc::new(1));
        assert_eq!(kept.of(&one, |_| Err("no")), Err("no"));
        assert_eq!(ask(&kept, &one), "1");
    }
}
