//! The two kinds of text that systemd takes a service's command line from, each character with its line.
//!
//! **Environment files** (`NAME=value`) know quotes that may begin and end anywhere, `\` before a character and before the
//! end of a line, and comments (`#`, `;`) where a name would begin. A line without `=` says nothing.
//!
//! **Units** have sections and `Key=value`; a `\` at the end of a line goes on in the next, comments in between are left
//! out, and an empty value forgets those before it. In a command line a word that is `$NAME` stands for as many words as
//! the variable has, `${NAME}` for one.

use std::collections::BTreeMap;

/// Text, each character with the line that it stands in, counted from 1.
pub type Text = Vec<(char, usize)>;

/// The characters as they are.
pub fn plain(text: &[(char, usize)]) -> String {
    text.iter().map(|(character, _)| character).collect()
}

/// What an environment file assigns; of a name that is assigned twice, the last.
pub fn environment(text: &str) -> BTreeMap<String, Text> {
    let mut all = BTreeMap::new();
    let mut left = numbered(text).into_iter().peekable();
    while let Some((character, _)) = left.next() {
        match character {
            '#' | ';' => skip_comment(&mut left),
            character if character.is_whitespace() => {}
            character => {
                let mut name = character.to_string();
                let end = loop {
                    match left.next() {
                        Some((end @ ('=' | '\n'), _)) => break Some(end),
                        Some((more, _)) => name.push(more),
                        None => break None,
                    }
                };
                if end == Some('=') {
                    all.insert(name.trim_end().to_owned(), value(&mut left));
                }
            }
        }
    }
    all
}

type Left = std::iter::Peekable<std::vec::IntoIter<(char, usize)>>;

fn skip_comment(left: &mut Left) {
    while let Some((character, _)) = left.next() {
        match character {
            '\\' => drop(left.next()),
            '\n' => return,
            _ => {}
        }
    }
}

/// A value up to the end of its line.
fn value(left: &mut Left) -> Text {
    let mut value = Text::new();
    // White space at the end of what stands without quotes is no part of it.
    let (mut quote, mut begins, mut solid) = (None, true, 0);
    while let Some((character, line)) = left.next() {
        match (quote, character) {
            (None, '\n') => break,
            (None, '\'' | '"') if begins => quote = Some(character),
            (Some(open), close) if open == close => {
                (quote, begins, solid) = (None, true, value.len());
            }
            (None, space) if begins && space.is_whitespace() => {}
            (None | Some('"'), '\\') => {
                let Some((escaped, line)) = left.next() else { break };
                let kept = quote.is_some() && !matches!(escaped, '"' | '\\' | '`' | '$' | '\n');
                value.extend(kept.then_some(('\\', line)));
                value.extend((escaped != '\n').then_some((escaped, line)));
                (begins, solid) = (false, value.len());
            }
            _ => {
                value.push((character, line));
                begins = false;
                if !character.is_whitespace() {
                    solid = value.len();
                }
            }
        }
    }
    value.truncate(solid);
    value
}

/// The words of a text, quotes taken off.
pub fn words(text: &[(char, usize)]) -> Vec<Text> {
    let mut words: Vec<Text> = Vec::new();
    let (mut quote, mut inside) = (None, false);
    let mut left = text.iter().copied();
    while let Some((character, line)) = left.next() {
        let taken = match (quote, character) {
            (None, space) if space.is_whitespace() => {
                inside = false;
                continue;
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                None
            }
            (Some(open), close) if open == close => {
                quote = None;
                None
            }
            (_, '\\') => left.next(),
            _ => Some((character, line)),
        };
        if !inside {
            words.push(Text::new());
            inside = true;
        }
        if let Some(word) = words.last_mut() {
            word.extend(taken);
        }
    }
    words
}

/// What the section `[Service]` of a unit says, in order.
pub fn service(unit: &str) -> Vec<(String, Text)> {
    let mut all = Vec::new();
    let mut within = false;
    for line in joined(unit) {
        let text = plain(&line);
        let text = text.trim();
        if text.starts_with('[') {
            within = text == "[Service]";
        } else if let (true, Some(at)) = (within, line.iter().position(|(character, _)| *character == '=')) {
            let blank = |(character, _): &(char, usize)| character.is_whitespace();
            let value = line[at + 1..].iter().copied().skip_while(blank).collect();
            all.push((plain(&line[..at]).trim().to_owned(), value));
        }
    }
    all
}

/// Lines, put together where one goes on in the next.
fn joined(unit: &str) -> Vec<Text> {
    let mut lines: Vec<Text> = Vec::new();
    let mut goes_on = false;
    for (number, line) in unit.lines().enumerate() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        let text = text.chars().chain(more.then_some(' ')).map(|character| (character, number + 1));
        match lines.last_mut() {
            Some(last) if goes_on => last.extend(text),
            _ => lines.push(text.collect()),
        }
        goes_on = more;
    }
    lines
}

fn numbered(text: &str) -> Vec<(char, usize)> {
    let mut line = 1;
    let number = |character| {
        let here = (character, line);
        line += usize::from(character == '\n');
        here
    };
    text.chars().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(text: &str) -> String {
        let all = environment(text);
        plain(all.get("A").unwrap_or_else(|| panic!("{text:?}: {all:?}")))
    }

    #[test]
    fn an_environment_file_is_read_as_systemd_does() {
        for (text, value) in [
            ("A=1\n", "1"),
            ("  A = 1 2  \n", "1 2"),
            ("A=\"--x=1 --y\"\n", "--x=1 --y"),
            ("A='--x=\"a b\"'\n", "--x=\"a b\""),
            ("A=\"a\"'b'c\n", "abc"),
            ("A=\"a\\\"b\\n\"\n", "a\"b\\n"),
            ("A=a\\ b \\\n  c\n", "a b   c"),
            ("A=\"a\nb\"\nB=2\n", "a\nb"),
            ("# A=1 \\\nA=2\nA=3\n", "3"),
            ("; A=1\nno assignment\nA=4", "4"),
            ("A=\n", ""),
            ("A=it's\n", "it's"),
        ] {
            assert_eq!(value_of(text), value, "{text:?}");
        }
        assert!(environment("# A=1\nB\n").is_empty());
    }

    #[test]
    fn each_character_knows_its_line() {
        let all = environment("\n# one\nA=\"--x \\\n  --y\"\n");
        let words: Vec<_> = words(&all["A"]).iter().map(|word| (plain(word), word[0].1)).collect();
        assert_eq!(words, [("--x".into(), 3), ("--y".into(), 4)]);
    }

    #[test]
    fn words_end_where_quotes_do_not_hold_them() {
        let text = numbered("a  'b c' d\"e f\" \\\" ''");
        let words: Vec<_> = words(&text).iter().map(|word| plain(word)).collect();
        assert_eq!(words, ["a", "b c", "de f", "\"", ""]);
    }

    #[test]
    fn only_the_service_of_a_unit_is_told_and_long_lines_are_put_together() {
        let unit = "[Unit]\nA=1\n[Service]\n# no\nA = 2\nExec=x \\\n# within\n  y\nExec=\n[Install]\nA=3\n";
        let all = service(unit);
        let all: Vec<_> = all.iter().map(|(key, value)| (key.as_str(), plain(value))).collect();
        assert_eq!(all, [("A", "2".into()), ("Exec", "x    y".into()), ("Exec", String::new())]);
        assert_eq!(service(unit)[1].1.last(), Some(&('y', 8)));
    }
}
