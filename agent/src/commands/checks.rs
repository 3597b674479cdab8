//! `mtuscope checks`: the catalogue, and one entry of it explained.

use std::ffi::OsStr;

use clap::Arg;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use probes::checks::{ALL, Registered, by_code};
use probes::report::Severity;

use super::print;
use crate::config::nearest;
use crate::outcome::{Colour, Failure, Outcome, Output};
use crate::publish::explained::Explained;
use crate::publish::text;

/// Arguments of `checks`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mtuscope checks                     everything that can be found
  mtuscope checks path-black-hole     what one code means and what to do")]
pub struct Args {
    /// The code to explain
    #[arg(value_name = "CODE", value_parser = Codes, hide_possible_values = true)]
    code: Option<String>,
    /// How to print the result: text for people, json for programs
    #[arg(long, value_enum, value_name = "FORMAT", env = "MTUSCOPE_OUTPUT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    output: Output,
}

/// Any text: the command itself says which code was meant. Shells are told the codes there are.
#[derive(Clone, Debug)]
struct Codes;

impl TypedValueParser for Codes {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let code = |check: &Registered| PossibleValue::new(check.entry.code).help(check.entry.title);
        Some(Box::new(ALL.iter().map(code)))
    }
}

/// Every code with its severities, for metrics.
pub(super) fn codes() -> Vec<(&'static str, &'static [Severity])> {
    ALL.iter().map(|check| (check.entry.code, check.entry.severities)).collect()
}

/// Runs the command.
pub(crate) fn run(args: &Args, colour: Colour) -> Result<Outcome, Failure> {
    match &args.code {
        None => {
            let all = Explained::all();
            print::result(&all, args.output, colour, |all, style| text::catalogue(all, style))?;
        }
        Some(code) => {
            let check = by_code(code).ok_or_else(|| unknown(code))?;
            print::result(&Explained::new(check), args.output, colour, text::entry)?;
        }
    }
    Ok(Outcome::Fine)
}

fn unknown(code: &str) -> Failure {
    let codes: Vec<&str> = ALL.iter().map(|check| check.entry.code).collect();
    let hint = nearest(code, &codes).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    Failure(format!("there is no code `{code}`; {hint}`mtuscope checks` lists them all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_says_where_the_list_is() {
        let Failure(why) = unknown("nonsense-code");
        assert_eq!(why, "there is no code `nonsense-code`; `mtuscope checks` lists them all");
    }

    #[test]
    fn every_code_can_be_explained() {
        for (code, severities) in codes() {
            let explained = Explained::new(by_code(code).unwrap());
            assert_eq!((explained.code, explained.severities), (code, severities));
            let wide = text::Style { width: 10_000, ..text::Style::default() };
            assert!(text::entry(&explained, wide).contains(&explained.example), "{code}");
        }
    }
}
