//! Words and colours for values.
//!
//! The colours are those of Okabe and Ito, which eyes of every kind tell apart, and no value is told by its colour alone:
//! each has its word. None of them is green, and what is not known has a word and a grey of its own, so that a panel
//! without data cannot be taken for a healthy one.

use std::collections::BTreeMap;

use super::grafana::{Mapping, Special, Step, Thresholds, Word};

/// As it should be.
pub const FINE: &str = "#0072B2";
/// Worth a look.
pub const NOTICE: &str = "#56B4E9";
/// Works, and not as it should.
pub const WARNING: &str = "#E69F00";
/// Does not work.
pub const CRITICAL: &str = "#D55E00";
/// Nothing gets through at all.
pub const GONE: &str = "#CC79A7";
/// Not known.
pub const UNKNOWN: &str = "#7F7F7F";
/// A number that is neither good nor bad by itself.
pub const PLAIN: &str = "#999999";

/// What stands where there are no data.
pub const NOT_KNOWN: &str = "not known";

/// What a path falls short by that carries nothing: no packet is larger.
pub const EVERYTHING: u16 = u16::MAX;

/// What stands where a list is empty. That every agent was asked, other panels say.
pub const NONE: &str = "none that is known";

/// Words of the worst path of a node, by the numbers of [`super::scope::STATE`].
pub fn states() -> Vec<Mapping> {
    words(&[
        ("0", "no path", UNKNOWN),
        ("1", "clear", FINE),
        ("2", "some not known", UNKNOWN),
        ("3", "limited", WARNING),
        ("4", "black hole", CRITICAL),
        ("5", "unreachable", GONE),
    ])
}

/// Words of the worst finding of a node.
pub fn severities() -> Vec<Mapping> {
    words(&[
        ("0", "nothing found", FINE),
        ("0.5", NOT_KNOWN, UNKNOWN),
        ("1", "info", NOTICE),
        ("2", "warning", WARNING),
        ("3", "critical", CRITICAL),
    ])
}

/// Words of alerts, whose rules somebody may have given severities of their own.
pub fn severities_of_alerts() -> Vec<Mapping> {
    words(&[
        ("1", "info", NOTICE),
        ("2", "warning", WARNING),
        ("2.5", "another severity", WARNING),
        ("3", "critical", CRITICAL),
    ])
}

/// Two words, for no and yes.
pub fn either(no: &'static str, yes: &'static str) -> Vec<Mapping> {
    words(&[("0", no, CRITICAL), ("1", yes, FINE)])
}

/// The word for 0, where every other number is told as it is.
pub fn zero(text: &'static str) -> Vec<Mapping> {
    words(&[("0", text, FINE)])
}

/// Words for what a path falls short by.
pub fn short() -> Vec<Mapping> {
    words(&[("0", "nothing", FINE), ("65535", "everything", GONE)])
}

/// The word for what is no number, where every number is told as it is.
pub fn unknown() -> Vec<Mapping> {
    words(&[])
}

fn words(all: &[(&'static str, &'static str, &'static str)]) -> Vec<Mapping> {
    let word = |(index, (value, text, color)): (usize, &(&'static str, &'static str, &'static str))| {
        ((*value).to_owned(), Word { color, index, text })
    };
    let values: BTreeMap<_, _> = all.iter().enumerate().map(word).collect();
    let nothing = Word { color: UNKNOWN, index: all.len(), text: NOT_KNOWN };
    let special = Mapping::Special(Special { matches: "null+nan", result: nothing });
    if values.is_empty() { vec![special] } else { vec![Mapping::Value(values), special] }
}

/// Grey where nothing is known, fine from 0 on, and `color` from `from` on.
pub fn above(from: f64, color: &'static str) -> Thresholds {
    steps(&[(0.0, FINE), (from, color)])
}

/// Fine until a half, then a warning, then critical: a share of what is at most possible.
pub fn filling(warning: f64, critical: f64) -> Thresholds {
    steps(&[(0.0, FINE), (warning, WARNING), (critical, CRITICAL)])
}

/// Critical below 0.
pub fn not_negative() -> Thresholds {
    let steps = vec![Step { color: CRITICAL, value: None }, Step { color: FINE, value: Some(0.0) }];
    Thresholds { mode: "absolute", steps }
}

/// One colour.
pub fn plain() -> Thresholds {
    Thresholds::default()
}

fn steps(all: &[(f64, &'static str)]) -> Thresholds {
    let lowest = Step { color: UNKNOWN, value: None };
    let rest = all.iter().map(|(value, color)| Step { color, value: Some(*value) });
    Thresholds { mode: "absolute", steps: std::iter::once(lowest).chain(rest).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_a_word_in_every_list() {
        for list in
            [states(), severities(), severities_of_alerts(), either("no", "yes"), zero("none"), short(), unknown()]
        {
            let Some(Mapping::Special(special)) = list.last() else { panic!("{list:?}") };
            assert_eq!((special.matches, special.result.text), ("null+nan", NOT_KNOWN));
            assert_ne!(special.result.color, FINE);
        }
    }

    #[test]
    fn everything_has_a_word() {
        let Some(Mapping::Value(words)) = short().into_iter().next() else { panic!("words") };
        assert_eq!(words[&EVERYTHING.to_string()].text, "everything");
    }

    /// A heading that a colour-blind reader cannot tell from another would have to be told by its word alone.
    #[test]
    fn colours_of_a_list_differ_where_their_meaning_does() {
        let Some(Mapping::Value(words)) = states().into_iter().next() else { panic!("words") };
        let fine: Vec<_> = words.values().filter(|word| word.color == FINE).map(|word| word.text).collect();
        assert_eq!(fine, ["clear"]);
    }
}
