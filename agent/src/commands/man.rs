//! `mtuscope man`: the manual, made from the same definition that parses the command line.
//!
//! What stands below the flags in the help (`Examples:`, `Exit status:`, …) becomes a section of its own here, its lines
//! kept as they are: a formatter would fill commands like prose.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::print;
use crate::outcome::{Failure, Outcome};
use crate::publish::VERSION;

/// What the pages belong to.
const MANUAL: &str = "mtuscope";

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mtuscope man | man -l -              read it
  mtuscope man /usr/local/share/man/man1")]
pub struct Args {
    /// Write a page for each command into this directory, and print their names
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, definition: clap::Command) -> Result<Outcome, Failure> {
    let mut definition = definition.disable_help_subcommand(true);
    definition.build();
    match &args.directory {
        None => print::print(&page(definition).1)?,
        Some(directory) => {
            let written: Vec<String> = pages(&definition)
                .into_iter()
                .map(|(name, text)| write(directory, &name, &text))
                .collect::<Result<_, _>>()?;
            print::print(&written.concat())?;
        }
    }
    Ok(Outcome::Fine)
}

/// The program's page, then one for each command.
fn pages(definition: &clap::Command) -> Vec<(String, String)> {
    std::iter::once(definition).chain(definition.get_subcommands()).cloned().map(page).collect()
}

fn write(directory: &Path, name: &str, text: &str) -> Result<String, Failure> {
    let path = directory.join(name);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
    written.map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
    Ok(format!("{}\n", path.display()))
}

/// A page's file name and its text.
fn page(command: clap::Command) -> (String, String) {
    let man = Man::new(command.clone()).manual(MANUAL).source(format!("{MANUAL} {VERSION}"));
    let mut text = Vec::new();
    render(&man, &command, &mut text).expect("memory takes whatever is written");
    (man.get_filename(), String::from_utf8_lossy(&text).into_owned())
}

fn render(man: &Man, command: &clap::Command, to: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(to)?;
    man.render_name_section(to)?;
    man.render_synopsis_section(to)?;
    man.render_description_section(to)?;
    man.render_options_section(to)?;
    if command.has_subcommands() {
        man.render_subcommands_section(to)?;
    }
    sections(&command.get_after_help().map(ToString::to_string).unwrap_or_default(), to)
}

/// Blocks of lines, each below its heading, as sections.
fn sections(below: &str, to: &mut Vec<u8>) -> io::Result<()> {
    for block in below.split("\n\n") {
        let Some((heading, lines)) = block.trim().split_once(":\n") else { continue };
        let mut roff = Roff::new();
        roff.control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []).to_writer(to)?;
    }
    Ok(())
}
