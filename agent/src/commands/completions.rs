//! `mtuscope completions`: a script that lets a shell complete commands, flags, values and codes.

use clap_complete::Shell;

use super::print;
use crate::outcome::{Failure, Outcome};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mtuscope completions bash > /etc/bash_completion.d/mtuscope
  mtuscope completions zsh > /usr/local/share/zsh/site-functions/_mtuscope
  mtuscope completions fish > ~/.config/fish/completions/mtuscope.fish
  source <(mtuscope completions bash)    for this session only")]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args, mut definition: clap::Command) -> Result<Outcome, Failure> {
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, name, &mut script);
    print::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine)
}
