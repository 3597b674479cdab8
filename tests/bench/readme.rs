//! The tables in README: between two marks, written by the benchmark and by nobody else.

use std::fs;
use std::path::Path;

use lab::{Error, Result};

const BEGIN: &str = "<!-- bench:begin -->\n";
const END: &str = "<!-- bench:end -->";

/// Writes what was measured into the README of the checkout that this was built from: all of it, or these sections alone,
/// each with its own words about machine and tools.
pub(crate) fn write(text: &str, sections: Option<&[(&str, String)]>) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md");
    let failed = |error| Error::new(format!("writing {}", path.display()), error);
    let readme = fs::read_to_string(&path).map_err(failed)?;
    let anew = match sections {
        Some(sections) => sections.iter().try_fold(readme, |readme, (title, text)| with_section(&readme, title, text)),
        None => replaced(&readme, text),
    };
    let anew = anew.ok_or_else(|| {
        Error::new(format!("writing {}", path.display()), "it does not mark where the benchmark's tables go")
            .check(format!("it has the lines {} and {END}", BEGIN.trim()))
    })?;
    fs::write(&path, anew).map_err(failed)
}

fn replaced(readme: &str, text: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{text}{END}{after}"))
}

/// README with one section anew, at the end if it had none.
fn with_section(readme: &str, title: &str, text: &str) -> Option<String> {
    let (_, rest) = readme.split_once(BEGIN)?;
    let (inside, _) = rest.split_once(END)?;
    let head = format!("### {title}\n");
    let (before, old) = inside.split_once(&head).unwrap_or((inside, ""));
    let after = old.find("\n### ").map_or("", |at| &old[at..]);
    let gap = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    replaced(readme, &format!("{before}{gap}{text}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_written() {
        let readme = format!("head\n{BEGIN}old\n{END}\nfoot\n");
        assert_eq!(replaced(&readme, "new\n").unwrap(), format!("head\n{BEGIN}new\n{END}\nfoot\n"));
        assert_eq!(replaced("no marks", "new\n"), None);
    }

    #[test]
    fn one_section_is_written_and_the_others_stay() {
        let readme = format!("{BEGIN}where\n\n### a\n\n1\n\n### b\n\n2\n{END}\n");
        let anew = with_section(&readme, "a", "### a\n\nnew\n").unwrap();
        assert_eq!(anew, format!("{BEGIN}where\n\n### a\n\nnew\n\n### b\n\n2\n{END}\n"));
        let anew = with_section(&anew, "b", "### b\n\nlast\n").unwrap();
        assert_eq!(anew, format!("{BEGIN}where\n\n### a\n\nnew\n\n### b\n\nlast\n{END}\n"));
        let more = with_section(&anew, "c", "### c\n\n3\n").unwrap();
        assert_eq!(more, format!("{BEGIN}where\n\n### a\n\nnew\n\n### b\n\nlast\n\n### c\n\n3\n{END}\n"));
    }

    #[test]
    fn readme_has_the_marks() {
        let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md")).unwrap();
        assert!(replaced(&readme, "").is_some());
    }
}
