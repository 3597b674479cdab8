//! The guard of what is broken: it heals when told to and, if a test panics first, when it is dropped.

use crate::Result;

type Undo<'c> = Box<dyn FnOnce() -> Result<()> + 'c>;

/// What is broken for as long as this value lives.
#[derive(Default)]
#[must_use = "a fault that is dropped at once heals at once"]
pub struct Broken<'c> {
    undo: Vec<Undo<'c>>,
}

impl<'c> Broken<'c> {
    pub(super) fn until(undo: impl FnOnce() -> Result<()> + 'c) -> Self {
        Self { undo: vec![Box::new(undo)] }
    }

    pub(super) fn and(mut self, mut other: Self) -> Self {
        self.undo.append(&mut other.undo);
        self
    }

    /// Reverses the fault in the running network.
    ///
    /// # Errors
    /// If the kernel refuses; the rest is reversed all the same.
    pub fn heal(mut self) -> Result<()> {
        self.reverse()
    }

    /// The same where somebody may have reversed parts of it: what is there again cannot be brought back, nor what is gone
    /// taken away.
    pub fn heal_what_is_left(mut self) {
        let _ = self.reverse();
    }

    fn reverse(&mut self) -> Result<()> {
        let failures: Vec<_> = self.undo.drain(..).rev().filter_map(|undo| undo().err()).collect();
        failures.into_iter().next().map_or(Ok(()), |error| Err(error.while_doing("healing")))
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        // A test that gets here has failed already and says why; the namespaces go away in a moment.
        let _ = self.reverse();
    }
}
