//! What people see: lines on standard output, with colour on a terminal.

use std::io::{self, IsTerminal, Write};

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warning,
    Critical,
    Quiet,
    Heading,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    colour: bool,
    closed: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: io::stdout().is_terminal() && !plain, closed: false }
    }

    /// Whether nobody reads any more.
    pub(crate) const fn closed(&self) -> bool {
        self.closed
    }

    /// A line, at once.
    pub(crate) fn line(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        self.closed |= writeln!(out, "{text}").and_then(|()| out.flush()).is_err();
    }

    /// `text` in a colour.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Critical => "1;31",
            Tone::Quiet => "2",
            Tone::Heading => "1",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
