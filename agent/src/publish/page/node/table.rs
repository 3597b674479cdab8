//! A table of any content: one template writes them all.

use super::super::super::text::style::Tone;
use super::super::spark::Spark;
use super::name;

/// A table, or only the lines below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// What it is known by from round to round.
    pub(super) key: String,
    /// Its heading, if it is a section of its own.
    pub(super) title: String,
    /// What it shows, in a sentence.
    pub(super) caption: String,
    /// The columns.
    pub(super) head: &'static [&'static str],
    /// Each as long as `head`; the first cell names the row.
    pub(super) rows: Vec<Vec<Cell>>,
    /// What else is to be said.
    pub(super) notes: Vec<String>,
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// The words.
    pub(super) text: String,
    /// A sign before them.
    pub(super) sign: &'static str,
    /// The class of its colour; none if it is like any text.
    pub(super) tone: &'static str,
    /// A drawing in place of words.
    pub(super) spark: Option<Spark>,
}

impl Cell {
    pub(super) fn marked(sign: &'static str, text: impl ToString, tone: &'static str) -> Self {
        Self { text: name(&text.to_string()), sign, tone, spark: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: name(text), ..Self::default() }
    }
}

/// What a value is, or a dash where it is not known or there is none.
pub(super) fn known(value: Option<impl ToString>) -> Cell {
    Cell::from(value.map_or_else(|| "–".to_owned(), |value| value.to_string()).as_str())
}

/// The class of a colour.
pub(super) const fn class(tone: Option<Tone>) -> &'static str {
    match tone {
        Some(Tone::Good) => "good",
        Some(Tone::Info) => "info",
        Some(Tone::Warning) => "warning",
        Some(Tone::Critical) => "critical",
        Some(Tone::Heading) | None => "",
    }
}
