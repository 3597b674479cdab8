//! The agent as a process that runs for months: settings that change under it, means that go and come back, and an end
//! that comes when it is asked for.

mod ending;
mod losses;
mod reload;

use std::process::ExitCode;

use lab::harness;
use lab::service::Service;
use lab::wait::{self, Look};
use lab::{Error, Result};

fn main() -> ExitCode {
    harness::main(|| reload::tests().into_iter().chain(losses::tests()).chain(ending::tests()).collect())
}

/// Waits until a line of the log has all of these words.
fn until_logged(service: &mut Service<'_>, words: &[&str]) -> Result<()> {
    let seen = wait::until(&format!("{words:?} in the log"), || {
        service.check_alive()?;
        let log = service.log()?;
        let there = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        Ok(if there { Look::There(()) } else { Look::NotYet(String::new()) })
    });
    seen.map_err(|error| service.with_log(error))
}

/// Waits until a series, given with its labels, has a value.
fn until_metric(service: &mut Service<'_>, series: &str, wanted: f64) -> Result<()> {
    let seen = wait::until(&format!("{series} to be {wanted}"), || {
        service.check_alive()?;
        let found = metric(service, series)?;
        Ok(if found == Some(wanted) { Look::There(()) } else { Look::NotYet(format!("{found:?}")) })
    });
    seen.map_err(|error| service.with_log(error))
}

/// The value of a series, given with its labels.
fn metric(service: &Service<'_>, series: &str) -> Result<Option<f64>> {
    let text = service.get("/metrics", "text/plain")?.body;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().map_err(|error| Error::new(format!("reading {series}"), error))).transpose()
}
