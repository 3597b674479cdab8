//! The benchmark: mtuscope beside the tools that people use instead, in one run, on one machine.
//!
//! ```sh
//! cargo build --release -p mtuscope
//! cargo run --release -p mtuscope-tests --bin bench -- --write-readme
//! ```
//!
//! - [`path`]: the path MTU of one peer, whole process, on a clean path, at a hop that says so, and at one that is silent.
//! - [`loss`]: wrong verdicts about clean peers behind a network that loses packets.
//! - [`many`]: a thousand targets at full size.
//! - [`pod_links`]: a node with a thousand pods, read once.
//! - [`standing`]: what the agent costs while it stands.
//! - [`scrape`]: what a scrape of its metrics takes.
//!
//! All of it happens in namespaces of its own, without root. Every tool meets the same network, freshly forgotten by the
//! kernel, and its packets are counted where they leave the node, by the kernel and not by the tool. Times are those of
//! whole processes from their start to their end, unless a row says otherwise. Goals are printed as met or missed; nothing
//! is left out because it looks bad, and no test hangs on a time.

mod bed;
mod blackbox;
mod jail;
mod loss;
mod machine;
mod many;
mod measure;
mod path;
mod pod_links;
mod readme;
mod scrape;
mod standing;
mod table;
mod tools;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agent::config::duration;
use clap::{Parser, ValueEnum};
use lab::{Error, Result, harness, namespace};

use measure::Record;
use table::Section;
use tools::Tools;

/// Exit status of a run that could not be made.
const COULD_NOT_RUN: u8 = 2;

/// Measures mtuscope and the tools that people use instead side by side.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Example:
  cargo run --release -p mtuscope-tests --bin bench -- --runs 20 --raw runs.csv

Exit status: 0 every goal is met; 1 one is missed; 2 could not run."
)]
struct Args {
    /// One row alone; may be given more than once
    #[arg(long, value_enum, value_name = "ROW")]
    only: Vec<Row>,
    /// Runs of each tool in each case; what takes more than 20 s is run once
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How long an agent is watched, after its first round
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration::parse)]
    agent_for: Duration,
    /// The program to measure; without it, the newest of the release builds in `target`
    #[arg(long, value_name = "FILE")]
    mtuscope: Option<PathBuf>,
    /// Where every single run goes: JSON if the name ends in .json, else CSV
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Writes the tables into README.md: all of them, or with --only those alone, each saying where it was measured
    #[arg(long)]
    write_readme: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// One peer: clean, limited, black hole
    Path,
    /// 200 clean peers at 5 % loss each way
    Loss,
    /// 1,000 targets
    Many,
    /// The links of 1,000 pods
    PodLinks,
    /// The agent with 1,000 and with 5 peers
    Agent,
    /// /metrics with 1,000 peers, well and dead
    Scrape,
}

impl Row {
    fn measure(self, args: &Args, tools: &Tools, record: &mut Record) -> Result<Section> {
        match self {
            Self::Path => path::measure(tools, record),
            Self::Loss => loss::measure(tools, record),
            Self::Many => many::measure(tools, record),
            Self::PodLinks => pod_links::measure(record),
            Self::Scrape => scrape::measure(tools, record),
            Self::Agent => standing::measure(tools, args.agent_for, record),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            harness::report(&format!("bench: {error}"));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Whether every goal is met.
fn run(args: &Args) -> Result<bool> {
    if args.write_readme && cfg!(debug_assertions) {
        return Err(Error::new("writing README.md", "this benchmark was built without --release"));
    }
    let rows = if args.only.is_empty() { Row::value_variants() } else { &args.only };
    let tools = Tools::find(args.mtuscope.as_deref(), rows)?;
    let machine = machine::describe(&tools, args.runs)?;
    let mut text = format!("{machine}\n");
    let mut alone = Vec::new();
    say(&text);
    namespace::enter()?;
    let mut record = Record::new(args.runs);
    // A file that cannot be written is told before the long run and not after it.
    args.raw.as_deref().map_or(Ok(()), |path| write_raw(path, &record))?;
    let mut met = true;
    for row in rows {
        let section = row.measure(args, &tools, &mut record)?;
        met &= section.goals.iter().all(|goal| goal.met);
        say(&section.to_string());
        text += &format!("\n{section}");
        alone.push((section.title, section.beside(&machine)));
        // Whoever ends a long run half-way keeps what it has measured.
        args.raw.as_deref().map_or(Ok(()), |path| write_raw(path, &record))?;
    }
    if args.write_readme {
        let all = args.only.is_empty();
        readme::write(&text, (!all).then_some(&alone[..]))?;
    }
    Ok(met)
}

fn write_raw(path: &Path, record: &Record) -> Result<()> {
    let json = path.extension().is_some_and(|extension| extension == "json");
    let text = if json { record.json() } else { record.csv() };
    fs::write(path, text).map_err(|error| Error::new(format!("writing {}", path.display()), error))
}

/// Prints a line. Whoever closed the output does not want to know.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Says on the way what is going on.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
