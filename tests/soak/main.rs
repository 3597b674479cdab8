//! Endurance: one agent through hours of a network that breaks and heals, and what it costs in between.
//!
//! ```sh
//! cargo run --release -p mtuscope-tests --bin soak -- --for 60m --csv soak.csv
//! ```
//!
//! A run is a row of cycles. In a storm ([`storm`]) links flap, MTUs change, pods come and go by the thousand, peers
//! vanish, and the configuration is rewritten, all at once and by a seed. Then everything heals, the agent has to say so,
//! and a quiet time follows. The quiet times are like one another whatever the storms were like, so they can be compared:
//! what is larger in the last of them than in the first was kept, and what is kept for an hour is a leak.
//!
//! It is a program and no test: it takes as long as it is told to, and its verdict ([`summary`]) is about amounts.

mod cycle;
mod pods;
mod sample;
mod storm;
mod summary;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::config::duration;
use clap::Parser;
use lab::interrupt::Interrupts;
use lab::{Error, Result, harness, namespace};

/// Exit status of a run that could not be made.
const COULD_NOT_RUN: u8 = 2;

/// Runs the agent in a network that breaks and heals, and says whether it stays as small as it was.
#[derive(Debug, Parser)]
#[command(
    name = "soak",
    after_help = "Example:
  cargo run --release -p mtuscope-tests --bin soak -- --for 60m --csv soak.csv

Exit status: 0 flat; 1 grown, too short to say, or the agent died, went silent or did not recover; 2 could not run.
Ctrl-C heals, and ends with the table so far."
)]
struct Args {
    /// How long; the last cycle is finished
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    time: Duration,
    /// What the storms are made from: the same seed, the same storms
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long one storm lasts
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = duration::parse)]
    storm: Duration,
    /// How long the quiet after it lasts
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration::parse)]
    quiet: Duration,
    /// The agent's `probing.interval`
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    interval: Duration,
    /// Time between two samples
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    every: Duration,
    /// How many pods a storm brings
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pods: usize,
    /// Where every sample goes, as a line of CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

fn main() -> ExitCode {
    harness::agent_or(|| {
        let args = Args::parse();
        match run(&args) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                harness::report(&format!("soak: {error}"));
                ExitCode::from(COULD_NOT_RUN)
            }
        }
    })
}

/// Whether the agent stayed flat and well.
fn run(args: &Args) -> Result<bool> {
    let csv = args
        .csv
        .as_ref()
        .map(|path| File::create(path).map_err(|error| Error::new(format!("creating {}", path.display()), error)));
    let interrupts = Interrupts::hold()?;
    namespace::enter()?;
    let asked = Arc::new(AtomicBool::new(false));
    let ask = Arc::clone(&asked);
    interrupts.listen(move || ask.store(true, Ordering::Relaxed));
    let (record, outcome) = cycle::run(args, csv.transpose()?, &asked)?;
    let verdict = summary::judge(&record.samples);
    let mut text = format!("\n{}\n{verdict}", record.tally());
    if let Err(error) = &outcome {
        let _ = write!(text, "\nFAILED: {error}\n");
    }
    say(&text);
    Ok(outcome.is_ok() && verdict.flat())
}

/// Prints a line. Whoever closed the output does not want to know.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
