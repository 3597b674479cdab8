//! YAML text as a tree in which every node knows its line.
//!
//! Anchors, aliases and tags are refused: a configuration has no use for them, and without aliases a small file cannot
//! unfold into a large one.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::Problem;

/// A position, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// A YAML value. Plain and quoted scalars are kept apart: only a plain `1` is a number.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    Plain(String),
    Quoted(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map. Keys may repeat here; whoever reads the map says so.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) key: String,
    pub(super) value: Node,
}

/// The tree of the only document in `text`; an empty node if there is none.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let mut events = Events { parser: Parser::new_from_str(text) };
    let root = loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => return Ok(Node { at: At { line: 1, column: 1 }, value: Value::Empty }),
            Event::StreamStart | Event::DocumentStart(..) => {}
            event => break node(&mut events, event, span)?,
        }
    };
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::DocumentEnd => {}
            _ => return Err(problem(span, "a second document begins here; a configuration is one document")),
        }
    }
}

struct Events<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => {
                    let at = At { line: error.marker().line(), column: error.marker().col() + 1 };
                    return Err(Problem { at: Some(at), what: format!("not YAML: {}", error.kind()) });
                }
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }
}

fn node<'t>(events: &mut Events<'t>, event: Event<'t>, span: Span) -> Result<Node, Problem> {
    if event.anchor_id().is_some_and(|id| id != 0) || event.is_alias() {
        return Err(problem(span, "anchors and aliases are not supported; write the value out"));
    }
    if event.tag().is_some() {
        return Err(problem(span, "tags are not supported; leave the `!` out"));
    }
    let value = match event {
        Event::Scalar(text, style, ..) => scalar(&text, style),
        Event::SequenceStart(..) => Value::List(list(events)?),
        Event::MappingStart(..) => Value::Map(map(events)?),
        _ => return Err(problem(span, "not YAML: a value is missing here")),
    };
    Ok(Node { at: at(span), value })
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Empty,
        (ScalarStyle::Plain, _) => Value::Plain(text.to_owned()),
        _ => Value::Quoted(text.to_owned()),
    }
}

fn list(events: &mut Events<'_>) -> Result<Vec<Node>, Problem> {
    let mut items = Vec::new();
    loop {
        let (event, span) = events.next()?;
        if event == Event::SequenceEnd {
            return Ok(items);
        }
        items.push(node(events, event, span)?);
    }
}

fn map(events: &mut Events<'_>) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    loop {
        let (event, span) = events.next()?;
        if event == Event::MappingEnd {
            return Ok(entries);
        }
        let key = node(events, event, span)?;
        let (event, span) = events.next()?;
        let value = node(events, event, span)?;
        let (Value::Plain(name) | Value::Quoted(name)) = key.value else {
            return Err(problem(span, "a key must be a word"));
        };
        entries.push(Entry { at: key.at, key: name, value });
    }
}

fn at(span: Span) -> At {
    At { line: span.start.line(), column: span.start.col() + 1 }
}

fn problem(span: Span, what: &str) -> Problem {
    Problem { at: Some(at(span)), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let problem = parse(text).unwrap_err();
        let At { line, column } = problem.at.unwrap();
        format!("{line}:{column} {}", problem.what)
    }

    #[test]
    fn every_node_knows_its_place() {
        let root = parse("a: 1\nb:\n  - c: 'x'\n").unwrap();
        let Value::Map(entries) = root.value else { panic!("a map") };
        assert_eq!((entries[0].at, entries[0].value.at), (At { line: 1, column: 1 }, At { line: 1, column: 4 }));
        let Value::List(items) = &entries[1].value.value else { panic!("a list") };
        let Value::Map(inner) = &items[0].value else { panic!("a map") };
        assert_eq!(inner[0].value.at, At { line: 3, column: 8 });
        assert!(matches!(&inner[0].value.value, Value::Quoted(text) if text == "x"));
    }

    #[test]
    fn what_could_unfold_or_change_type_is_refused_by_line() {
        assert_eq!(refused("a: &x 1\nb: 2\n"), "1:7 anchors and aliases are not supported; write the value out");
        assert_eq!(refused("a: 1\nb: !!str 2\n"), "2:10 tags are not supported; leave the `!` out");
        assert_eq!(refused("a: 1\n---\nb: 2\n"), "2:1 a second document begins here; a configuration is one document");
        assert_eq!(refused("? [a]\n: 1\n"), "2:3 a key must be a word");
    }

    #[test]
    fn broken_yaml_names_the_line() {
        for text in ["a: [1, 2\n", "a: \"x\n", "a: 1\n b: 2\n", "a:\n\t- 1\n\tb: 1\n", "*a\n", "]", "a: b: c\n"] {
            let message = refused(text);
            assert!(message.contains("not YAML: "), "{text:?}: {message}");
        }
        let deep = "[".repeat(100_000);
        assert!(refused(&deep).contains("not YAML: "));
    }
}
