//! YAML as the kubelet reads it, as far as a manifest or a configuration needs: the first document of a text, as the JSON
//! that it stands for. JSON is YAML, so a file that is JSON is read as well.
//!
//! What the kubelet takes is taken: aliases, and of a key that is given twice the last value. A few lines of aliases can
//! stand for a text without end, so what comes out has a [`MOST`] of its own, and a [`DEEPEST`]. Merge keys (`<<`) and
//! tags, which change what the text seems to say, are refused: nothing is concluded from such a file.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::fact::{Reason, Source, Unread};

/// Most bytes of scalars and nodes together that a text may stand for: many times what the largest file has that is read.
const MOST: usize = 1 << 20;

/// Most lists and maps within each other.
const DEEPEST: usize = 64;

/// What a node costs besides its text.
const NODE: usize = 32;

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What is wrong, in a few words.
    pub why: String,
    /// The line, counted from 1.
    pub line: usize,
}

impl Broken {
    /// As a note that the file of this path could not be read.
    pub fn in_file(&self, path: &str) -> Unread {
        let what = format!("{path}:{}: {}", self.line, self.why);
        Unread::new(Source::HostFiles, Reason::Malformed { what })
    }
}

/// The first document of a text; `Null` if there is none.
///
/// # Errors
/// If it is not YAML, stands for too much, or uses what changes the meaning of what is written.
pub fn first(text: &str) -> Result<Value, Broken> {
    let mut tree = Tree { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), left: MOST };
    loop {
        let (event, span) = tree.next()?;
        match event {
            Event::StreamEnd => return Ok(Value::Null),
            Event::StreamStart | Event::DocumentStart(..) => {}
            event => return tree.node(event, span, DEEPEST).map(|node| node.value),
        }
    }
}

struct Tree<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Nodes that aliases can name.
    anchors: BTreeMap<usize, Node>,
    /// How much may still come.
    left: usize,
}

/// A node, and what it costs to have it once more.
#[derive(Clone)]
struct Node {
    value: Value,
    cost: usize,
}

impl<'t> Tree<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Broken> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => {
                    let why: String = error.kind().to_string().chars().take(80).collect();
                    return Err(Broken { why: format!("not YAML: {why}"), line: error.marker().line() });
                }
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, deepest: usize) -> Result<Node, Broken> {
        if event.tag().is_some() {
            return Err(broken(span, "has a tag (`!`), which is not read"));
        }
        if let Event::Alias(anchor) = event {
            return self.again(anchor, span);
        }
        let deeper = || deepest.checked_sub(1).ok_or_else(|| broken(span, "has too many lists and maps in each other"));
        let anchor = event.anchor_id().filter(|&anchor| anchor != 0);
        let node = match event {
            Event::Scalar(text, style, ..) => self.scalar(&text, style, span)?,
            Event::SequenceStart(..) => self.list(span, deeper()?)?,
            Event::MappingStart(..) => self.map(span, deeper()?)?,
            _ => return Err(broken(span, "not YAML: a value is missing")),
        };
        if let Some(anchor) = anchor {
            self.spend(node.cost, span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// What an alias stands for.
    fn again(&mut self, anchor: usize, span: Span) -> Result<Node, Broken> {
        let unknown = || broken(span, "has an alias of what is not there yet");
        let cost = self.anchors.get(&anchor).ok_or_else(unknown)?.cost;
        self.spend(cost, span)?;
        self.anchors.get(&anchor).cloned().ok_or_else(unknown)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Result<Node, Broken> {
        let cost = NODE + text.len();
        self.spend(cost, span)?;
        Ok(Node { value: if style == ScalarStyle::Plain { plain(text) } else { Value::String(text.into()) }, cost })
    }

    fn list(&mut self, span: Span, deepest: usize) -> Result<Node, Broken> {
        self.spend(NODE, span)?;
        let (mut items, mut cost) = (Vec::new(), NODE);
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Node { value: Value::Array(items), cost });
            }
            let item = self.node(event, span, deepest)?;
            cost += item.cost;
            items.push(item.value);
        }
    }

    fn map(&mut self, span: Span, deepest: usize) -> Result<Node, Broken> {
        self.spend(NODE, span)?;
        let (mut entries, mut cost) = (Map::new(), NODE);
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Node { value: Value::Object(entries), cost });
            }
            let key = self.node(event, span, deepest)?;
            let name = word(&key.value).ok_or_else(|| broken(span, "has a key that is no word"))?;
            if name == "<<" {
                return Err(broken(span, "has a merge key (`<<`), which is not read"));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, deepest)?;
            cost += key.cost + value.cost;
            entries.insert(name, value.value);
        }
    }

    fn spend(&mut self, cost: usize, span: Span) -> Result<(), Broken> {
        self.left = self.left.checked_sub(cost).ok_or_else(|| broken(span, "stands for too much"))?;
        Ok(())
    }
}

/// A scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        // What no 64-bit number holds stays the word that it is.
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.into()), |number| Number::from(number).into()),
    }
}

/// A scalar as the word that is written.
pub fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn broken(span: Span, why: &str) -> Broken {
    Broken { why: why.to_owned(), line: span.start.line() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(text: &str) -> String {
        let Broken { why, line } = first(text).unwrap_err();
        format!("{line}: {why}")
    }

    #[test]
    fn the_first_document_is_what_counts() {
        assert_eq!(
            first("---\na: [1, '1', true, x]\nb: ~\n---\n]\n"),
            Ok(json!({"a": [1, "1", true, "x"], "b": null}))
        );
        assert_eq!(first(r#"{"kind": "Pod", "n": -3}"#), Ok(json!({"kind": "Pod", "n": -3})));
        for nothing in ["", "# a comment\n", "---\n", "\u{feff}"] {
            assert_eq!(first(nothing), Ok(Value::Null), "{nothing:?}");
        }
        assert_eq!(first("a: |\n  two\n  lines\n"), Ok(json!({"a": "two\nlines\n"})));
    }

    #[test]
    fn of_a_key_that_is_given_twice_the_last_value_counts_as_for_the_kubelet() {
        assert_eq!(first("a: 1\na: 2\n"), Ok(json!({"a": 2})));
    }

    #[test]
    fn an_alias_is_what_it_names_and_no_text_can_grow_without_end() {
        assert_eq!(first("a: &x [1]\nb: *x\n"), Ok(json!({"a": [1], "b": [1]})));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(why(&bomb).ends_with("stands for too much"));
        assert!(why(&format!("a: &x {}\nb: [{}]\n", "x".repeat(60_000), "*x,".repeat(100))).contains("too much"));
        assert!(why("a: *x\n").starts_with("1: "));
        assert!(why("a: &x [*x]\n").starts_with("1: "));
    }

    #[test]
    fn what_is_too_deep_or_changes_the_meaning_is_refused_by_line() {
        assert!(why(&"[".repeat(100_000)).contains(':'));
        assert!(why(&format!("{}{}", "[".repeat(70), "]".repeat(70))).contains("too many lists"));
        assert_eq!(why("a: 1\nb: !!str 2\n"), "2: has a tag (`!`), which is not read");
        assert_eq!(why("a: &x {b: 1}\nc:\n  <<: *x\n"), "3: has a merge key (`<<`), which is not read");
        assert_eq!(why("? [a]\n: 1\n"), "1: has a key that is no word");
        for text in ["a: [1, 2\n", "a: \"x\n", "a: 1\n b: 2\n", "a:\n\t- 1\n", "]", "a: b: c\n"] {
            assert!(why(text).contains("not YAML: "), "{text:?}");
        }
    }
}
