//! Printing: results through a handle, notes to standard error, colour where it is wanted.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

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
    Style { colour: colour.shown(&io::stdout()), width: width.clamp(*WIDTHS.start(), *WIDTHS.end()) }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
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
}
