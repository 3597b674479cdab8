//! The shipped binary as a command that no variable of the developer's environment changes.

use std::process::{Command, Output, Stdio};

/// `mtuscope` with these arguments.
pub(crate) fn mtuscope(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtuscope"));
    command.args(arguments).stdin(Stdio::null());
    let ours = |name: &str| name.starts_with("MTUSCOPE_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end: status, standard output, standard error.
pub(crate) fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs `mtuscope` with these arguments to its end.
pub(crate) fn finished(arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(&mut mtuscope(arguments))
}
