//! What the configuration says of TLS and credentials, with the files that hold them.

use crate::config::Settings;
use crate::config::files::Files;
use crate::io::call::Terms;
use crate::publish::http::Surface;

/// Both sides: what is asked of clients, and what other agents are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Secured {
    pub(super) surface: Surface,
    pub(super) terms: Terms,
}

impl Secured {
    /// Reads it all anew. The files are the ones to watch, whether they are good or not.
    pub(super) fn read(settings: &Settings) -> (Files, Result<Self, Vec<String>>) {
        let mut files = Files::default();
        let surface = Surface::read(&settings.web, &mut files);
        let terms = Terms::read(&settings.agents, &mut files);
        let both = match (surface, terms) {
            (Ok(surface), Ok(terms)) => Ok(Self { surface, terms }),
            (surface, terms) => Err([surface.err(), terms.err()].into_iter().flatten().flatten().collect()),
        };
        (files, both)
    }

    /// Says what an operator may not have meant.
    pub(super) fn warn(&self) {
        if self.terms.shows_in_the_clear() {
            tracing::warn!(
                "other agents are shown credentials in the clear; anybody on the way can read them, and so can whatever else is \
                 announced, configured or found as a peer: set agents.tls"
            );
        }
    }
}
