//! The tables in README: between two marks, written by the benchmark and by nobody else.

use std::fs;
use std::path::Path;

use lab::{Error, Result};

const BEGIN: &str = "<!-- bench:begin -->\n";
const END: &str = "<!-- bench:end -->";

/// Writes what was measured into the README of the checkout that this was built from.
pub(crate) fn write(text: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md");
    let failed = |error| Error::new(format!("writing {}", path.display()), error);
    let readme = fs::read_to_string(&path).map_err(failed)?;
    let anew = replaced(&readme, text).ok_or_else(|| {
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
    fn readme_has_the_marks() {
        let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md")).unwrap();
        assert!(replaced(&readme, "").is_some());
    }
}
