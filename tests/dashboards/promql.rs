//! As much of PromQL as the rules need: which metrics a query selects, with which matchers, over which ranges.

use lab::Result;
use lab::harness::test;
use libtest_mimic::Trial;

/// One selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// The metric.
    pub(crate) metric: String,
    /// Matchers as they are written.
    pub(crate) matchers: Vec<String>,
    /// The range behind it, where it is a range.
    pub(crate) range: Option<String>,
    /// The function whose argument it is, directly.
    pub(crate) within: String,
}

impl Selector {
    /// Whether it has this matcher.
    pub(crate) fn matches(&self, matcher: &str) -> bool {
        self.matchers.iter().any(|found| found == matcher)
    }
}

/// Words that stand before brackets or braces and are no metrics.
const KEYWORDS: [&str; 19] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "sum",
    "max",
    "min",
    "count",
    "end",
    "start",
    "quantile",
    "count_values",
];

/// The selectors of a query, in order. A metric without braces is one as well.
pub(crate) fn selectors(query: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let bytes = query.as_bytes();
    let mut at = 0;
    // Names in brackets behind these are labels.
    let mut before = String::new();
    let mut functions: Vec<String> = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = after_string(query, at),
            b'(' if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&before.as_str()) => {
                at = query[at..].find(')').map_or(bytes.len(), |end| at + end + 1);
                before.clear();
            }
            b'(' => {
                functions.push(std::mem::take(&mut before));
                at += 1;
            }
            b')' => {
                functions.pop();
                at += 1;
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let end = end_of_name(query, at);
                let name = &query[at..end];
                at = end;
                let opens = query[at..].trim_start().starts_with('(');
                if opens || KEYWORDS.contains(&name) {
                    before = name.into();
                    continue;
                }
                let selector = selector(name, &query[at..], functions.last().map_or("", String::as_str));
                at += selector.1;
                found.push(selector.0);
                before.clear();
            }
            // Numbers may have letters, as in 1e9.
            byte if byte.is_ascii_digit() || byte == b'$' => at = end_of_name(query, at + 1),
            _ => at += 1,
        }
    }
    found
}

/// The selector that begins with a name, and how long what belongs to it is behind that.
fn selector(name: &str, rest: &str, function: &str) -> (Selector, usize) {
    let mut matchers = Vec::new();
    let mut used = 0;
    if rest.starts_with('{') {
        let mut at = 1;
        let mut start = 1;
        while !rest[at..].starts_with('}') {
            match rest.as_bytes()[at] {
                b'"' => at = after_string(rest, at),
                b',' => {
                    matchers.push(rest[start..at].trim().to_owned());
                    at += 1;
                    start = at;
                }
                _ => at += 1,
            }
        }
        matchers.push(rest[start..at].trim().to_owned());
        used = at + 1;
    }
    let range = rest[used..].strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(range, _)| range.to_owned());
    used += range.as_ref().map_or(0, |range| range.len() + 2);
    (Selector { metric: name.into(), matchers, range, within: function.into() }, used)
}

fn end_of_name(text: &str, from: usize) -> usize {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    text.as_bytes()[from..].iter().position(|&byte| !part(byte)).map_or(text.len(), |length| from + length)
}

fn after_string(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(from + 1) {
        match byte {
            b'"' if !escaped => return offset + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// That selectors are found.
pub(crate) fn tests() -> Vec<Trial> {
    vec![test("selectors are found in queries", finds)]
}

fn finds() -> Result<()> {
    let query = r#"topk($rows, 1e9 * sum by (le, up) (rate(a_total{x="}, y", z=~"$z"}[$__rate_interval])) > bool 0)
        / on (job) group_left () b or min(c{} @ end())"#;
    let found = selectors(query);
    let seen: Vec<_> = found.iter().map(|one| (one.metric.as_str(), one.within.as_str())).collect();
    assert_eq!(seen, [("a_total", "rate"), ("b", ""), ("c", "min")], "{found:?}");
    assert_eq!(found[0].matchers, [r#"x="}, y""#, r#"z=~"$z""#]);
    assert_eq!(found[0].range.as_deref(), Some("$__rate_interval"));
    assert!(found[1].matchers.is_empty() && found[1].range.is_none());
    Ok(())
}
