//! Where a test executable starts.
//!
//! A user namespace cannot be entered by a process with threads, and the standard harness starts them before a test is
//! asked. So the lab's test targets have their own `main`: it enters the namespace first and then hands the tests to a
//! harness that takes the usual arguments and prints the usual closing line.
//!
//! The same executable is also the agent. Started again under the name `mtuscope`, it is the agent's library and nothing
//! else: no test can run an agent that is older than itself.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{container, namespace};

/// The name under which a test executable is the agent.
pub const AGENT: &str = "mtuscope";

/// Runs the tests of one executable, or the agent.
pub fn main(tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    within(namespace::enter, tests)
}

/// As [`main`], in namespaces that belong to [`container`]s.
pub fn main_of_containers(tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    within(|| namespace::enter().and_then(|()| container::enter()), tests)
}

fn within(enter: impl FnOnce() -> crate::Result<()>, tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    agent_or(|| {
        let mut arguments = Arguments::from_args();
        if let Err(error) = enter().and_then(|()| namespace::hold_back_endings()) {
            report(&format!("these tests need namespaces of their own: {error}"));
            return ExitCode::FAILURE;
        }
        arguments.test_threads.get_or_insert_with(labs_at_once);
        libtest_mimic::run(&arguments, tests()).exit_code()
    })
}

/// Is the agent if this executable was started under its name, and `otherwise` what it was built for.
pub fn agent_or(otherwise: impl FnOnce() -> ExitCode) -> ExitCode {
    if started_as_agent() { agent::run(std::env::args_os()) } else { otherwise() }
}

/// One test.
pub fn test(name: impl Into<String>, body: impl FnOnce() -> crate::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || body().map_err(|error| Failed::from(error.to_string())))
}

fn started_as_agent() -> bool {
    let name = std::env::args_os().next();
    name.as_deref().map(Path::new).and_then(Path::file_name) == Some(OsStr::new(AGENT))
}

/// How many labs run side by side: a lab waits for 13 parts of its time and works for one, but a verdict must not starve.
fn labs_at_once() -> usize {
    12 * thread::available_parallelism().map_or(1, usize::from)
}

/// Says something that no test can say, because none is running.
#[expect(clippy::print_stderr, reason = "the harness is not running, and a test executable talks on stderr")]
pub fn report(text: &str) {
    eprintln!("{text}");
}
