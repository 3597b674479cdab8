//! The command line: parse, dispatch, exit status.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `mtuscope` with these arguments (the first is the program's name) and returns its exit status.
pub fn run(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(2)
}
