//! Rounds of a one-off command: until they are confirmed or the time is over, with a progress bar on a terminal.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use probes::config::Config;
use probes::peers::announced::Announced;
use probes::report::Published;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until};

use crate::driver;
use crate::io::call::Terms;
use crate::outcome::Failure;

/// What is quicker than this needs no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a progress bar moves.
const TICK: Duration = Duration::from_millis(100);

/// How much longer than asked for the first round may take.
const GRACE: Duration = Duration::from_secs(30);

/// Runs rounds over what is announced, until `done`, or until `wait` is over and one has finished; yields the last.
///
/// # Errors
/// If the kernel cannot be asked at all, or no round finishes.
pub(super) async fn last(
    config: Config,
    host_root: &Path,
    terms: Terms,
    announced: Announced,
    wait: Duration,
    done: impl Fn(&Published) -> bool,
) -> Result<Arc<Published>, Failure> {
    let deadline = Instant::now() + wait;
    let latest: RefCell<Option<Arc<Published>>> = RefCell::new(None);
    let on_round = |published: Arc<Published>| {
        let enough = done(&published) || Instant::now() >= deadline;
        *latest.borrow_mut() = Some(published);
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let orders = driver::standing(config, host_root.to_owned(), terms);
    let rounds = driver::drive(orders, watch::channel(announced).1, on_round);
    let outcome = shown(rounds, &latest, deadline, wait).await;
    if let Some(Err(unread)) = outcome {
        return Err(Failure(format!("cannot read the kernel's tables: {unread}")));
    }
    latest.into_inner().ok_or_else(|| Failure(format!("no round finished within {} s", (wait + GRACE).as_secs())))
}

/// Waits for `rounds`, until the deadline or, if there is no round by then, until the grace is over.
async fn shown<T>(
    rounds: impl Future<Output = T>,
    latest: &RefCell<Option<Arc<Published>>>,
    deadline: Instant,
    wait: Duration,
) -> Option<T> {
    let mut rounds = pin!(rounds);
    let mut ticks = interval_at(Instant::now() + PATIENCE, TICK);
    let mut progress = Progress::new(wait);
    loop {
        let end = if latest.borrow().is_some() { deadline } else { deadline + GRACE };
        tokio::select! {
            outcome = &mut rounds => return Some(outcome),
            () = sleep_until(end) => return None,
            _ = ticks.tick() => progress.show(latest.borrow().as_deref()),
        }
    }
}

/// A progress bar that appears when it is first shown, and only on a terminal.
struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    wait: Duration,
}

impl Progress {
    fn new(wait: Duration) -> Self {
        Self { bar: None, started: Instant::now(), wait }
    }

    fn show(&mut self, latest: Option<&Published>) {
        if !io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is a constant");
            ProgressBar::new(self.wait.as_millis() as u64).with_style(style)
        });
        bar.set_position(self.started.elapsed().as_millis() as u64);
        bar.set_message(match latest {
            None => "probing".to_owned(),
            Some(published) => format!("{} findings to confirm", published.pending),
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::example;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    #[test]
    fn the_deadline_ends_rounds_that_go_on() {
        let latest = RefCell::new(Some(Arc::new(example::published())));
        let wait = Duration::from_secs(15);
        runtime().block_on(async {
            let started = Instant::now();
            let outcome = shown(std::future::pending::<()>(), &latest, started + wait, wait).await;
            assert_eq!((outcome, started.elapsed().as_secs()), (None, 15));
        });
    }

    #[test]
    fn the_first_round_has_a_grace_that_ends_too() {
        let latest = RefCell::new(None);
        let wait = Duration::from_secs(15);
        runtime().block_on(async {
            let started = Instant::now();
            let outcome = shown(std::future::pending::<()>(), &latest, started + wait, wait).await;
            assert_eq!((outcome, started.elapsed()), (None, wait + GRACE));
        });
    }
}
