//! The signals that the agent knows.

use tokio::signal::unix::{self, SignalKind, signal};

use crate::outcome::Failure;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Read the configuration again.
    Reload,
    /// End; which signal it was.
    End(&'static str),
}

/// Signals, waited for from here on.
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let handler = |kind| signal(kind).map_err(|error| Failure(format!("cannot handle signals: {error}")));
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            hang_up: handler(SignalKind::hangup())?,
        })
    }

    /// The next one. Can be dropped at any time.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}
