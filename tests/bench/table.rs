//! What is printed and written: a table, its goals, and what a reader has to know of how it was measured.

use std::fmt;

/// A part of the result.
#[derive(Debug)]
pub(crate) struct Section {
    /// What was measured.
    pub(crate) title: &'static str,
    /// How, in sentences.
    pub(crate) how: String,
    /// The table's head.
    pub(crate) heads: Vec<&'static str>,
    /// The table.
    pub(crate) rows: Vec<Vec<String>>,
    /// What was to be reached.
    pub(crate) goals: Vec<Goal>,
}

/// Something that was to be reached.
#[derive(Debug)]
pub(crate) struct Goal {
    what: String,
    seen: String,
    /// Whether it was.
    pub(crate) met: bool,
}

impl Goal {
    /// A goal in words, what was seen, and whether it is met.
    pub(crate) fn new(what: impl Into<String>, seen: impl Into<String>, met: bool) -> Self {
        Self { what: what.into(), seen: seen.into(), met }
    }

    /// A figure that has to be at most so large. What was not measured does not meet it.
    pub(crate) fn at_most(what: impl Into<String>, seen: Option<f64>, most: f64, show: impl Fn(f64) -> String) -> Self {
        let met = seen.is_some_and(|seen| seen <= most);
        let seen = seen.map_or_else(|| "not measured".to_owned(), |seen| format!("{} of {}", show(seen), show(most)));
        Self::new(what, seen, met)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.met { "met" } else { "**missed**" };
        write!(f, "- {word}: {} ({})", self.what, self.seen)
    }
}

impl Section {
    /// The section with its own words about where it was measured, for a page whose other sections were measured elsewhere.
    pub(crate) fn beside(&self, machine: &str) -> String {
        let text = self.to_string();
        let head = format!("### {}\n", self.title);
        text.replacen(&head, &format!("{head}\n{machine}\n"), 1)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n\n{}\n", self.title, wrapped(&self.how))?;
        writeln!(f, "| {} |\n|{}", self.heads.join(" | "), "---|".repeat(self.heads.len()))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))?;
        writeln!(f)?;
        self.goals.iter().try_for_each(|goal| writeln!(f, "{goal}"))
    }
}

/// README's width.
const WIDTH: usize = 120;

/// Text in lines of README's width.
pub(crate) fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_what_was_seen_and_is_never_met_unseen() {
        let goal = |seen| Goal::at_most("packets", seen, 3.0, |value| format!("{value}")).to_string();
        assert_eq!(goal(Some(3.0)), "- met: packets (3 of 3)");
        assert_eq!(goal(Some(4.0)), "- **missed**: packets (4 of 3)");
        assert_eq!(goal(None), "- **missed**: packets (not measured)");
    }

    #[test]
    fn lines_end_before_the_width() {
        let text = wrapped(&"word ".repeat(100));
        assert!(text.lines().all(|line| line.len() <= WIDTH) && text.lines().count() == 5, "{text}");
    }
}
