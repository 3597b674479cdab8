//! Being asked to end, as an event like any other: Ctrl-C, a closed terminal, `kill`.
//!
//! A program that breaks networks has to heal them before it goes, so these signals must not end it. They are blocked
//! before the first thread starts and taken one by one by a thread of their own. The second one ends the process on the
//! spot: agents die with it, and the namespaces with them.

use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::{Error, Result};

/// Exit status of a program that was ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// The signals that ask to end, held back.
#[derive(Debug)]
pub struct Interrupts(SigSet);

impl Interrupts {
    /// Holds the signals back, on this thread and all that it starts. Programs that it starts get them again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn hold() -> Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().map_err(|errno| Error::new("holding signals back", errno))?;
        Ok(Self(signals))
    }

    /// Calls `asked` at the first signal; the second ends the process.
    pub fn listen(self, asked: impl FnOnce() + Send + 'static) {
        thread::spawn(move || {
            if self.0.wait().is_ok() {
                asked();
            }
            if self.0.wait().is_ok() {
                std::process::exit(INTERRUPTED);
            }
        });
    }
}
