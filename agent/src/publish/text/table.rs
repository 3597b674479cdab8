//! Columns without borders. When the terminal is too narrow, the last columns go: they come in the order of their worth.

use super::style::{Style, Tone, clean};

/// Spaces between columns.
const GAP: usize = 2;

/// A cell: text, and a tone where it means something.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    pub(super) fn toned(text: impl Into<String>, tone: Option<Tone>) -> Self {
        Self { text: clean(&text.into()), tone }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.to_string(), None)
    }
}

/// A cell for a value that may not be known.
pub(super) fn known(value: Option<impl ToString>) -> Cell {
    Cell::from(value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
}

/// The rows below their header, each on a line, indented by two.
pub(super) fn table<const N: usize>(style: Style, header: [&str; N], rows: &[[Cell; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].text.chars().count());
        cells.max().unwrap_or(0).max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut columns: Vec<usize> = (0..N).filter(|column| !empty(rows, *column)).collect();
    while columns.len() > 1 && columns.iter().map(|column| widths[*column] + GAP).sum::<usize>() > style.width {
        columns.pop();
    }
    let mut text = line(style, &columns, &widths, &header.map(Cell::from));
    for row in rows {
        text.push_str(&line(style, &columns, &widths, row));
    }
    text
}

/// Whether there are rows and the column says nothing in any of them.
fn empty<const N: usize>(rows: &[[Cell; N]], column: usize) -> bool {
    !rows.is_empty() && rows.iter().all(|row| matches!(row[column].text.as_str(), "" | "-"))
}

fn line<const N: usize>(style: Style, columns: &[usize], widths: &[usize], row: &[Cell; N]) -> String {
    let mut text = String::new();
    let mut pending = GAP;
    for column in columns {
        let Cell { text: cell, tone } = &row[*column];
        let used = cell.chars().count();
        if used == 0 {
            pending += widths[*column] + GAP;
            continue;
        }
        text.push_str(&" ".repeat(pending));
        match tone {
            Some(tone) => text.push_str(&style.paint(*tone, cell)),
            None => text.push_str(cell),
        }
        pending = widths[*column] - used + GAP;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<const N: usize>(row: [&str; N]) -> [Cell; N] {
        row.map(Cell::from)
    }

    #[test]
    fn columns_align_and_end_without_spaces() {
        let rows = [cells(["master-2", "1500"]), cells(["m", "68"])];
        let text = table(Style::default(), ["peer", "mtu"], &rows);
        assert_eq!(text, "  peer      mtu\n  master-2  1500\n  m         68\n");
    }

    #[test]
    fn the_last_columns_go_first_and_empty_ones_always() {
        let rows = [cells(["aaaa", "-", "bbbb", "cccc"])];
        assert_eq!(table(Style::default(), ["1", "2", "3", "4"], &rows), "  1     3     4\n  aaaa  bbbb  cccc\n");
        let narrow = Style { colour: false, width: 13 };
        assert_eq!(table(narrow, ["1", "2", "3", "4"], &rows), "  1     3\n  aaaa  bbbb\n");
    }

    #[test]
    fn an_empty_cell_leaves_room_between_others_and_none_at_the_end() {
        let rows = [cells(["a", "", "b"]), cells(["a", "b", ""])];
        assert_eq!(table(Style::default(), ["1", "2", "3"], &rows), "  1  2  3\n  a     b\n  a  b\n");
    }

    #[test]
    fn colour_takes_no_room() {
        let rows = [[Cell::toned("x", Some(Tone::Good)), "y".into()]];
        let text = table(Style { colour: true, width: 80 }, ["long", "b"], &rows);
        assert!(text.ends_with("\u{1b}[32mx\u{1b}[0m     y\n"), "{text:?}");
    }
}
