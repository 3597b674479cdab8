//! Waiting: a condition is asked again and again until it holds or a deadline passes.
//!
//! Nothing here sleeps for a fixed time and hopes. The deadline is far above what a loaded machine needs, so that it
//! decides nothing but how long a broken test takes to fail, and the failure says what was seen last.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long a condition may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Pause between two looks. It is no part of any verdict.
const PAUSE: Duration = Duration::from_millis(100);

/// What one look showed.
#[derive(Debug)]
pub enum Look<T> {
    /// The condition holds.
    There(T),
    /// It does not hold yet; the text says what was seen.
    NotYet(String),
}

/// Looks until the condition holds.
///
/// # Errors
/// If it does not hold within [`DEADLINE`], with what was seen last, or at once if a look fails.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    within(DEADLINE, what, look)
}

/// The same for what may rightly take as long as `pause` by itself.
///
/// # Errors
/// As [`until`].
pub fn until_after<T>(pause: Duration, what: &str, look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    within(pause + DEADLINE, what, look)
}

fn within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let seen = match look()? {
            Look::There(value) => return Ok(value),
            Look::NotYet(seen) => seen,
        };
        if started.elapsed() > deadline {
            return Err(Error::new(
                format!("waiting for {what}"),
                format!("not within {deadline:?}; last seen: {seen}"),
            ));
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_again_until_it_is_there() {
        let mut looks = 0;
        let found = until("three looks", || {
            looks += 1;
            Ok(if looks == 3 { Look::There(looks) } else { Look::NotYet(looks.to_string()) })
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_look_that_fails_ends_the_wait_at_once() {
        let failed = until::<()>("nothing", || Err(Error::new("looking", "blind")));
        assert_eq!(failed.unwrap_err().to_string(), "looking: blind");
    }
}
