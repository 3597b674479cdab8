//! Logs on standard error: words or JSON, never a flood, and never in the way of a probe.
//!
//! - A one-off command writes as it goes ([`to_stderr`]). Its reader waits for it, so it may wait for its reader.
//! - The agent hands finished lines to a [`queue`] that a thread of its own writes out. A reader that has stopped
//!   reading, a full disk or a pipe that nobody holds any more cost lines, which are counted, and no time.
//! - What repeats is said once and counted: [`repeats`] sits in front of everything that is logged, so no call site can
//!   go round it.
//!
//! A line names in its fields what it is about, and its message says what to check.

mod queue;
mod repeats;

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::outcome::{COULD_NOT_RUN, Colour, Failure};
use queue::Queue;
use repeats::{Ledger, Repeats};

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A line of words and `name=value` pairs.
    Text,
    /// A JSON object a line.
    Json,
}

/// How long an end waits for standard error to take what was logged last.
const LAST_LINES: Duration = Duration::from_millis(200);

/// How long a failure waits for standard error to take its reason.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sends what is at least an error to standard error, as it happens. A second call in one process changes nothing.
pub(crate) fn to_stderr(colour: Colour) -> Result<(), Failure> {
    let written = written(Format::Text, colour.shown(&io::stderr()), io::stderr);
    // Only an earlier call can make this fail, and its subscriber serves as well.
    _ = tracing_subscriber::registry().with(level("error")?).with(written).try_init();
    Ok(())
}

/// The agent's logs. [`Self::flush`] before the process ends.
#[derive(Clone)]
pub(crate) struct Logs {
    queue: Arc<Queue>,
}

impl Logs {
    /// Starts the thread that writes, and the rule that what repeats is said once.
    pub(crate) fn start(format: Format, colour: Colour) -> Result<Self, Failure> {
        let (queue, ledger) = (Arc::new(Queue::default()), Arc::new(Mutex::new(Ledger::default())));
        let written = written(format, colour.shown(&io::stderr()), Arc::clone(&queue));
        let repeats = Repeats::new(Arc::clone(&ledger));
        _ = tracing_subscriber::registry().with(level("info")?).with(repeats).with(written).try_init();
        let writer = Writer { queue: Arc::clone(&queue), ledger, out: io::stderr() };
        let thread = thread::Builder::new().name("logs".into()).spawn(move || writer.run());
        thread.map_err(|error| {
            Failure(format!("cannot start the thread that logs: {error}; check the limit on tasks"))
        })?;
        Ok(Self { queue })
    }

    /// Waits until everything is written, or until standard error has had its time.
    pub(crate) fn flush(&self) {
        self.queue.flush(LAST_LINES);
    }

    /// From here on a panic, in whatever thread, is logged and ends the process with status 2, so that whoever started
    /// it starts it anew. Half an agent would look alive and measure, or serve, nothing.
    pub(crate) fn end_on_panic(&self) {
        let logs = self.clone();
        std::panic::set_hook(Box::new(move |info| {
            log_panic(info);
            logs.flush();
            std::process::exit(i32::from(COULD_NOT_RUN));
        }));
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let why = info.payload_as_str().unwrap_or("it did not say why");
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(
        thread,
        at,
        why,
        "a fault in mtuscope itself; it ends, to be started anew. Please report this line"
    );
}

/// Writes the reason of a failure to standard error, and does not wait for long for a reader that does not read.
pub(crate) fn last_words(text: &str) {
    let line = format!("mtuscope: {text}\n");
    let (tell, told) = mpsc::channel();
    let write = move || {
        // A closed standard error leaves nobody to tell, and so does a caller that has gone on.
        _ = io::stderr().write_all(line.as_bytes());
        _ = tell.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        _ = told.recv_timeout(LAST_WORDS);
    }
}

/// `MTUSCOPE_LOG` sets the level (`debug`, `agent::io=trace`); `default` holds without it.
fn level(default: &str) -> Result<EnvFilter, Failure> {
    match std::env::var("MTUSCOPE_LOG") {
        Ok(given) if !given.is_empty() => EnvFilter::try_new(&given)
            .map_err(|error| Failure(format!("MTUSCOPE_LOG: {error}; a level such as debug is allowed"))),
        _ => Ok(EnvFilter::new(default)),
    }
}

/// Events as lines, each handed to the writer whole.
fn written<S, W>(format: Format, colour: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_ansi(colour).with_writer(writer);
    match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// What the thread does that writes.
struct Writer<W> {
    queue: Arc<Queue>,
    ledger: Arc<Mutex<Ledger<tracing::callsite::Identifier>>>,
    out: W,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        loop {
            self.turn();
        }
    }

    /// Writes what there is, or says what was not said because it repeats.
    fn turn(&mut self) {
        let due = self.ledger().next_due();
        let taken = self.queue.take(due);
        for line in taken.lines {
            // Nobody is left to be told that standard error is closed.
            _ = self.out.write_all(&line);
        }
        self.queue.written();
        let unsaid = self.ledger().due(Instant::now());
        unsaid.iter().for_each(repeats::say);
        if taken.lost > 0 {
            let lines = taken.lost;
            tracing::warn!(
                lines,
                "log lines were lost: standard error was not read, or too slowly; check what reads it"
            );
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger<tracing::callsite::Identifier>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
