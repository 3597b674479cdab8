//! What every command takes and gives: how to print, and how it went.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::ValueEnum;

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether to use it on this stream.
    pub(crate) fn shown(self, stream: &impl IsTerminal) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => stream.is_terminal() && !refused,
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The exit status of a command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing at or above the level that was asked for.
    Fine,
    /// Findings there.
    Found,
    /// It ran, and nothing could be concluded.
    Inconclusive,
}

/// Why a command could not run, in words that say what to check.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure(pub String);

/// Exit status of whatever could not run.
pub(crate) const COULD_NOT_RUN: u8 = 2;

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Fine => 0,
            Outcome::Found => 1,
            Outcome::Inconclusive => COULD_NOT_RUN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_outweighs_terminal_and_environment() {
        let file = tempfile::tempfile().unwrap();
        assert!(Colour::Always.shown(&file));
        assert!(!Colour::Never.shown(&file));
        assert!(!Colour::Auto.shown(&file), "a file is no terminal");
    }
}
