//! The command line: parse, dispatch, exit status.
//!
//! Statuses: 0 nothing at or above the level that was asked for, 1 findings there, 2 could not run. Results go to
//! standard output, everything else to standard error.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::commands::{agent, checks, probe, report};
use crate::logs;
use crate::outcome::{COULD_NOT_RUN, Colour, Failure};
use crate::publish::{REVISION, VERSION};

/// Says why packets of the size that pods send do not arrive.
#[derive(Debug, Parser)]
#[command(name = "mtuscope", version = version(), disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Example:\n  sudo mtuscope report        inspect this machine and the paths from it, once")]
struct Cli {
    /// When to use colour; without it, NO_COLOR turns it off
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run rounds for ever and serve the results: what the DaemonSet starts
    Agent(agent::Args),
    /// Inspect this machine and its peers once
    Report(report::Args),
    /// Measure the path MTU to any address
    Probe(probe::Args),
    /// Show what can be found, or explain one code
    Checks(checks::Args),
}

fn version() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));
    &LINE
}

/// Runs `mtuscope` with these arguments (the first is the program's name) and returns its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output or error leaves nobody to tell.
            _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(COULD_NOT_RUN));
        }
    };
    let result = match cli.command {
        Command::Agent(args) => agent::run(&args, cli.color),
        Command::Report(args) => report::run(&args, cli.color),
        Command::Probe(args) => probe::run(&args, cli.color),
        Command::Checks(args) => checks::run(&args, cli.color),
    };
    match result {
        Ok(outcome) => outcome.into(),
        Err(Failure(why)) => {
            logs::last_words(&why);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, i32> {
        Cli::try_parse_from(std::iter::once("mtuscope").chain(arguments.iter().copied()))
            .map_err(|error| error.exit_code())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_status_two_and_help_is_zero() {
        for wrong in [
            &["--nonsense"][..],
            &["report", "--wait", "soon"],
            &["report", "--peer", "master-2"],
            &["report", "--fail-on", "panic"],
            &["probe"],
            &["probe", "0.0.0.0"],
            &["agent", "--listen", "9747"],
            &["everything"],
            &[],
        ] {
            assert_eq!(parse(wrong).unwrap_err(), 2, "{wrong:?}");
        }
        for help in [&["--help"][..], &["--version"], &["report", "--help"], &["checks", "-h"]] {
            assert_eq!(parse(help).unwrap_err(), 0, "{help:?}");
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains(&format!("mtuscope {name}")), "{help}");
        }
    }
}
