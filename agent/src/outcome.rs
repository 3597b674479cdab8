//! What every command takes and gives: how to print, and how it went.

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
