//! Printing: results through a handle, logs to standard error, colour where it is wanted.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::outcome::{Colour, Failure, Output};
use crate::publish::text::Style;

/// Narrowest and widest layout: below, tables say nothing; above, lines are hard to follow.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=140;

/// Prints `text`. A reader that has gone away, as in `| head`, is the end and no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text)
}

fn write(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON, or as the text that `text` makes of it.
pub(super) fn result<T: Serialize>(
    value: &T,
    output: Output,
    colour: Colour,
    text: impl FnOnce(&T, Style) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Text => print(&text(value, style(colour))),
        Output::Json => {
            let json = serde_json::to_string_pretty(value);
            print(&(json.map_err(|error| Failure(format!("the result is no JSON: {error}")))? + "\n"))
        }
    }
}

/// Tells something beside the result.
pub(super) fn note(text: &str) {
    // A closed standard error leaves nobody to tell.
    _ = writeln!(io::stderr(), "mtuscope: {text}");
}

/// The layout for standard output.
pub(super) fn style(colour: Colour) -> Style {
    let default = Style::default();
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = match (columns, io::stdout().is_terminal()) {
        (Some(columns), _) => columns,
        (None, true) => terminal_width().unwrap_or(default.width),
        (None, false) => default.width,
    };
    Style { colour: coloured(colour, io::stdout().is_terminal()), width: width.clamp(*WIDTHS.start(), *WIDTHS.end()) }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

pub(crate) fn coloured(colour: Colour, terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && !refused,
    }
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of words and `name=value` pairs.
    Text,
    /// A JSON object a line.
    Json,
}

/// Sends logs to standard error. `MTUSCOPE_LOG` sets the level (`debug`, `agent::io=trace`), `level` holds without it.
///
/// A second call in one process changes nothing.
pub(super) fn log(level: &str, format: LogFormat, colour: Colour) -> Result<(), Failure> {
    let filter = match std::env::var("MTUSCOPE_LOG") {
        Ok(given) if !given.is_empty() => EnvFilter::try_new(&given)
            .map_err(|error| Failure(format!("MTUSCOPE_LOG: {error}; a level such as debug is allowed")))?,
        _ => EnvFilter::new(level),
    };
    let ansi = coloured(colour, io::stderr().is_terminal());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(ansi);
    // Only an earlier call can make these fail, and its subscriber serves as well.
    _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        assert_eq!(write(&mut Broken(ErrorKind::BrokenPipe), "x"), Ok(()));
        let Err(Failure(why)) = write(&mut Broken(ErrorKind::StorageFull), "x") else { panic!("an error") };
        assert!(why.starts_with("cannot write to standard output: "), "{why}");
    }

    #[test]
    fn the_flag_outweighs_terminal_and_environment() {
        assert!(coloured(Colour::Always, false));
        assert!(!coloured(Colour::Never, true));
        assert!(!coloured(Colour::Auto, false));
    }
}
