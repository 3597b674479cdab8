//! The command line: parse, dispatch, exit status.
//!
//! Statuses: 0 nothing at or above the level that was asked for, 1 findings there, 2 could not run. Results go to
//! standard output, everything else to standard error.

mod usage;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{agent, checks, cluster, completions, man, probe, report};
use crate::logs;
use crate::outcome::{COULD_NOT_RUN, Colour, Failure};
use crate::publish::{REVISION, VERSION};

/// Says why packets of the size that pods send do not arrive.
///
/// mtuscope reads links, tunnels, routes and sysctls from the kernel, measures the path MTU to its peers with packets
/// that must not be fragmented, and names what is wrong, with the evidence and with the commands that mend it. Start with
/// `sudo mtuscope report`: it needs no configuration and changes nothing.
#[derive(Debug, Parser)]
#[command(name = NAME, version = version(), max_term_width = 100)]
#[command(after_help = "Examples:
  sudo mtuscope report              what is wrong on this machine and on the way to its peers
  sudo mtuscope probe 10.0.0.12     how large a packet gets there, and what stops a larger one
  mtuscope cluster                  which node reaches which with which size
  mtuscope checks path-black-hole   what a finding means and what to do about it

Exit status:
  0 nothing at or above --fail-on, 1 findings there, 2 could not run")]
struct Cli {
    /// Colour: auto (on a terminal, unless NO_COLOR is set), always, or never
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    #[arg(hide_possible_values = true, display_order = 900)]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Inspect this machine and its peers once
    Report(report::Args),
    /// Measure the path MTU to any address
    Probe(probe::Args),
    /// Show which node reaches which with which size, as the agents see it
    Cluster(cluster::Args),
    /// List what can be found, or explain one code
    Checks(checks::Args),
    /// Run rounds for ever and serve the results: what the DaemonSet starts
    Agent(agent::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual, or write a page for each command
    Man(man::Args),
}

/// The program's name.
const NAME: &str = "mtuscope";

fn version() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));
    &LINE
}

/// Every command and flag. What a variable holds just now belongs in no help, script or manual.
fn definition() -> clap::Command {
    fn without_values(command: clap::Command) -> clap::Command {
        command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values)
    }
    without_values(Cli::command())
}

/// Runs `mtuscope` with these arguments (the first is the program's name) and returns its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let result = match parse(&arguments) {
        Ok(cli) => dispatch(cli),
        Err(error) => match usage::tell(error, definition(), &arguments) {
            Ok(status) => return status,
            Err(failure) => Err(failure),
        },
    };
    match result {
        Ok(outcome) => outcome.into(),
        Err(Failure(why)) => {
            logs::last_words(&why);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut matches = definition().try_get_matches_from(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut definition()))
}

fn dispatch(Cli { color, command }: Cli) -> Result<crate::outcome::Outcome, Failure> {
    match command {
        Command::Report(args) => report::run(&args, color),
        Command::Probe(args) => probe::run(&args, color),
        Command::Cluster(args) => cluster::run(&args, color),
        Command::Checks(args) => checks::run(&args, color),
        Command::Agent(args) => agent::run(&args, color),
        Command::Completions(args) => completions::run(&args, definition()),
        Command::Man(args) => man::run(&args, definition()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> i32 {
        let all: Vec<OsString> = std::iter::once(NAME).chain(arguments.iter().copied()).map(Into::into).collect();
        parse(&all).unwrap_err().exit_code()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn wrong_usage_is_status_two_and_help_is_zero() {
        for wrong in [
            &["--nonsense"][..],
            &["report", "--wait", "soon"],
            &["report", "--peer", "master-2"],
            &["report", "--fail-on", "panic"],
            &["probe"],
            &["probe", "--size", "67", "10.0.0.12"],
            &["probe", "--ecmp=0", "10.0.0.12"],
            &["probe", "--ecmp"],
            &["probe", "-4", "-6", "10.0.0.12"],
            &["probe", "--source", "db.example.org", "10.0.0.12"],
            &["agent", "--listen", "9747"],
            &["cluster", "--from", "10.0.0.12:9747"],
            &["cluster", "--from", "http://10.0.0.12:9747/report"],
            &["completions"],
            &["completions", "dosshell"],
            &["everything"],
            &[],
        ] {
            assert_eq!(refused(wrong), 2, "{wrong:?}");
        }
        for help in [&["--help"][..], &["--version"], &["report", "--help"], &["checks", "-h"], &["help", "report"]] {
            assert_eq!(refused(help), 0, "{help:?}");
        }
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        let mut definition = definition();
        definition.build();
        for command in definition.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains(&format!("mtuscope {name}")), "{help}");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {arg}");
            }
        }
    }

    #[test]
    fn examples_are_not_wrapped() {
        let definition = definition();
        for command in std::iter::once(&definition).chain(definition.get_subcommands()) {
            let examples = command.get_after_help().unwrap().to_string();
            let widest = examples.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= 100, "{widest}");
        }
    }
}
