//! What is said before a command runs: help that was asked for, and what is wrong with the arguments.
//!
//! Help is a result, so it goes to standard output and a full disk is an error there too. The colour is the one that was
//! asked for, by a flag that may stand after the mistake. A value that came out of the environment is refused by the name
//! of its variable: nobody finds it on the command line.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue};

use crate::commands::print;
use crate::outcome::{COULD_NOT_RUN, Colour, Failure};

/// Prints what the parser has to say.
///
/// # Errors
/// If it was help and cannot be written.
pub(super) fn tell(
    mut error: clap::Error,
    mut definition: clap::Command,
    arguments: &[OsString],
) -> Result<ExitCode, Failure> {
    definition.build();
    name_variable(&mut error, &definition, arguments);
    let colour = colour(arguments);
    if error.use_stderr() {
        // A closed standard error leaves nobody to tell.
        _ = write!(io::stderr(), "{}", text(&error, colour.shown(&io::stderr())));
        return Ok(ExitCode::from(COULD_NOT_RUN));
    }
    print::print(&text(&error, colour.shown(&io::stdout())))?;
    Ok(ExitCode::SUCCESS)
}

fn text(error: &clap::Error, colour: bool) -> String {
    let text = error.render();
    if colour { text.ansi().to_string() } else { text.to_string() }
}

/// The last `--color` among the arguments that can be read.
fn colour(arguments: &[OsString]) -> Colour {
    let arguments = arguments.iter().map(|argument| argument.to_str().unwrap_or_default());
    let mut asked = Colour::Auto;
    let mut is_value = false;
    for argument in arguments.take_while(|argument| *argument != "--") {
        let value = if is_value { Some(argument) } else { argument.strip_prefix("--color=") };
        asked = value.and_then(|value| Colour::from_str(value, false).ok()).unwrap_or(asked);
        is_value = argument == "--color";
    }
    asked
}

/// Names the variable that a refused value comes from, where it comes from one.
fn name_variable(error: &mut clap::Error, definition: &clap::Command, arguments: &[OsString]) {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return };
    let commands = std::iter::once(definition).chain(definition.get_subcommands());
    let mut known = commands.flat_map(clap::Command::get_arguments).filter(|arg| arg.to_string() == *flag);
    let Some((variable, long)) = known.find_map(|arg| Some((arg.get_env()?, arg.get_long()?))) else { return };
    let given = |argument: &OsStr| {
        let rest = argument.to_str().and_then(|argument| argument.strip_prefix("--")?.strip_prefix(long));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if std::env::var_os(variable).is_some() && !arguments.iter().any(|argument| given(argument)) {
        let named = format!("{flag}' from the environment variable '{}", variable.display());
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colour_asked_for_counts() {
        let asked = |arguments: &[&str]| colour(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["mtuscope", "--help"]), Colour::Auto);
        assert_eq!(asked(&["mtuscope", "--color", "never", "--help"]), Colour::Never);
        assert_eq!(asked(&["mtuscope", "--color=never", "--color=always"]), Colour::Always);
        assert_eq!(asked(&["mtuscope", "--color=pink"]), Colour::Auto);
        assert_eq!(asked(&["mtuscope", "probe", "--", "--color=always"]), Colour::Auto);
    }
}
