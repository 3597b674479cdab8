//! Sizes as a scenario writes them: sums of names and numbers, as in `tunnel + overhead - 1`.
//!
//! A scenario is played on recipes with different MTUs, so it never states a number that a recipe could change.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::{Error, Result};

/// What each name stands for on one recipe, in bytes or as a port number.
pub type Names = BTreeMap<&'static str, u32>;

/// A sum of names and numbers.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size {
    text: String,
    terms: Vec<(i64, Term)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Number(u32),
    Name(String),
}

impl Size {
    /// The value on a recipe.
    ///
    /// # Errors
    /// If a name means nothing there, or the sum is below zero.
    pub fn on(&self, names: &Names) -> Result<u32> {
        let failed = |cause: String| Error::new(format!("working out the size `{}`", self.text), cause);
        let mut sum = 0;
        for (sign, term) in &self.terms {
            let value = match term {
                Term::Number(number) => *number,
                Term::Name(name) => *names.get(name.as_str()).ok_or_else(|| {
                    failed(format!("no `{name}` here; known: {:?}", names.keys().collect::<Vec<_>>()))
                })?,
            };
            sum += sign * i64::from(value);
        }
        u32::try_from(sum).map_err(|_| failed(format!("it is {sum}")))
    }

    /// Whether every name is known there.
    pub fn fits(&self, names: &Names) -> bool {
        self.on(names).is_ok()
    }
}

impl From<u32> for Size {
    fn from(number: u32) -> Self {
        Self { text: number.to_string(), terms: vec![(1, Term::Number(number))] }
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let spaced = text.replace('+', " + ").replace('-', " - ");
        let mut words = spaced.split_whitespace();
        let mut terms = vec![(1, term(words.next(), &text)?)];
        while let Some(word) = words.next() {
            let sign = match word {
                "+" => 1,
                "-" => -1,
                other => return Err(format!("`{text}`: expected + or -, found `{other}`")),
            };
            terms.push((sign, term(words.next(), &text)?));
        }
        Ok(Self { text, terms })
    }
}

fn term(word: Option<&str>, text: &str) -> std::result::Result<Term, String> {
    let word = word.ok_or_else(|| format!("`{text}`: a name or number is missing at its end"))?;
    if word.starts_with(|first: char| first.is_ascii_digit()) {
        return word.parse().map(Term::Number).map_err(|error| format!("`{text}`: {word}: {error}"));
    }
    if word.chars().all(|letter| letter.is_ascii_alphabetic()) {
        return Ok(Term::Name(word.to_owned()));
    }
    Err(format!("`{text}`: `{word}` is neither a name nor a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_1450(text: &str) -> Result<u32> {
        let size = Size::try_from(text.to_owned()).map_err(|cause| Error::new("parsing", cause))?;
        size.on(&Names::from([("tunnel", 1450), ("overhead", 50)]))
    }

    #[test]
    fn sums() {
        assert_eq!(on_1450("1400").unwrap(), 1400);
        assert_eq!(on_1450("tunnel+overhead - 1").unwrap(), 1499);
    }

    #[test]
    fn says_what_is_wrong_with_a_size() {
        for (text, says) in [
            ("tunel", "no `tunel` here"),
            ("tunnel +", "missing at its end"),
            ("tunnel 50", "expected + or -"),
            ("0 - tunnel", "it is -1450"),
            ("12x", "invalid digit"),
            ("", "missing at its end"),
        ] {
            let error = on_1450(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
