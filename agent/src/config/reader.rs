//! Typed values out of the tree, mistakes collected on the way.
//!
//! Every reading function yields `None` both for "not there" and for "there, but wrong"; in the second case a problem
//! was noted, so nothing that the caller fills in survives.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::tree::{At, Entry, Node, Value};
use super::{Problem, duration};

/// Collects problems.
pub(super) struct Reader<'p> {
    problems: &'p mut Vec<Problem>,
}

/// A map whose keys are known to be the allowed ones.
#[derive(Clone)]
pub(super) struct Section<'t> {
    path: String,
    entries: &'t [Entry],
}

impl<'t> Section<'t> {
    /// The value of a key, if it is there at all.
    pub(super) fn find(&self, key: &str) -> Option<&'t Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The full name of a key, as in `probing.interval`.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'p> Reader<'p> {
    pub(super) fn new(problems: &'p mut Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Notes a problem.
    pub(super) fn refuse(&mut self, at: At, what: String) {
        self.problems.push(Problem { at: Some(at), what });
    }

    /// `node` as a map with none but `allowed` keys. Without a value it is an empty one.
    pub(super) fn section<'t>(&mut self, path: &str, node: Option<&'t Node>, allowed: &[&str]) -> Section<'t> {
        let entries = self.map(path, node);
        for entry in entries {
            if !allowed.contains(&entry.key.as_str()) {
                self.unknown(path, entry, allowed);
            }
        }
        Section { path: path.to_owned(), entries }
    }

    /// `node` as a map with any keys, none of them twice.
    pub(super) fn map<'t>(&mut self, path: &str, node: Option<&'t Node>) -> &'t [Entry] {
        let Some(node) = node else { return &[] };
        match &node.value {
            Value::Empty => &[],
            Value::Map(entries) => {
                self.repeated(entries);
                entries
            }
            other => {
                let subject = if path.is_empty() { "the configuration" } else { path };
                self.refuse(node.at, format!("{subject} must be a map of keys and values, found {}", found(other)));
                &[]
            }
        }
    }

    fn repeated(&mut self, entries: &[Entry]) {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|first| first.key == entry.key) {
                self.refuse(entry.at, format!("`{}` is set twice; the first is in line {}", entry.key, first.at.line));
            }
        }
    }

    fn unknown(&mut self, path: &str, entry: &Entry, allowed: &[&str]) {
        let place = if path.is_empty() { String::new() } else { format!(" in {path}") };
        let rest = match nearest(&entry.key, allowed) {
            Some(key) => format!("; did you mean `{key}`? Allowed: {}", allowed.join(", ")),
            None => format!("; allowed: {}", allowed.join(", ")),
        };
        self.refuse(entry.at, format!("unknown key `{}`{place}{rest}", short(&entry.key)));
    }

    fn wrong<T>(&mut self, section: &Section<'_>, key: &str, node: &Node, allowed: &str) -> Option<T> {
        let name = section.name(key);
        self.refuse(node.at, format!("{name} must be {allowed}, found {}", found(&node.value)));
        None
    }

    /// A whole number within `range`, written without quotes.
    pub(super) fn number(&mut self, section: &Section<'_>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let node = section.find(key)?;
        let plain = match &node.value {
            Value::Plain(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        let within = plain.filter(|number| range.contains(number));
        within.or_else(|| {
            let allowed = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong(section, key, node, &allowed)
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        self.flag_or(section, key, "true or false")
    }

    /// As [`Self::flag`], of a key that may be something else too; `allowed` says what.
    pub(super) fn flag_or(&mut self, section: &Section<'_>, key: &str, allowed: &str) -> Option<bool> {
        let node = section.find(key)?;
        match &node.value {
            Value::Plain(text) if text == "true" => Some(true),
            Value::Plain(text) if text == "false" => Some(false),
            _ => self.wrong(section, key, node, allowed),
        }
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &mut self,
        section: &Section<'_>,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let node = section.find(key)?;
        let read = text(node).and_then(|text| duration::parse(text).ok()).filter(|found| range.contains(found));
        read.or_else(|| {
            let (least, most) = (duration::show(*range.start()), duration::show(*range.end()));
            self.wrong(section, key, node, &format!("{}, from {least} to {most}", duration::ALLOWED))
        })
    }

    /// Text that `accept` takes; `allowed` says what that is.
    pub(super) fn parsed<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        allowed: &str,
        accept: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let node = section.find(key)?;
        self.parsed_at(section, key, node, allowed, accept)
    }

    /// As [`Self::parsed`], of one value of several.
    pub(super) fn parsed_at<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        node: &Node,
        allowed: &str,
        accept: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        text(node).and_then(accept).or_else(|| self.wrong(section, key, node, allowed))
    }

    /// An address that a packet can be sent to.
    pub(super) fn address(&mut self, section: &Section<'_>, key: &str, node: &Node) -> Option<IpAddr> {
        let Some(address) = text(node).and_then(|text| text.parse().ok()) else {
            return self.wrong(section, key, node, "an IP address such as 10.0.0.12");
        };
        let Some(why) = unusable(address) else { return Some(address) };
        self.refuse(node.at, format!("{} cannot be {address}: {why}", section.name(key)));
        None
    }
}

/// Why no single host can be probed at this address.
pub(crate) fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(ipv4) if ipv4.is_broadcast() => Some("it is the broadcast address"),
        IpAddr::V6(ipv6) if ipv6.is_unicast_link_local() => {
            Some("a link-local address means nothing without its link; give a global one")
        }
        _ => None,
    }
}

/// A scalar's text, quoted or not.
pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Plain(text) | Value::Quoted(text) => Some(text),
        _ => None,
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Empty => "nothing".into(),
        Value::Plain(text) => format!("`{}`", short(text)),
        Value::Quoted(text) => format!("the text \"{}\"", short(text)),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
    }
}

fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { format!("{shown}…") } else { shown }
}

/// The allowed word that `word` is probably meant to be: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let scored = allowed.iter().map(|candidate| (distance(word, candidate), *candidate));
    scored.filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3)).min().map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_not() {
        let allowed = ["interval", "confirm_rounds", "packets_per_second"];
        assert_eq!(nearest("intervall", &allowed), Some("interval"));
        assert_eq!(nearest("packet_per_second", &allowed), Some("packets_per_second"));
        assert_eq!(nearest("timeout", &allowed), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("pod", "pod"), 0);
    }
}
