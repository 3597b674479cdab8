//! Width, colour, and text made safe for a terminal.

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether severities are coloured.
    pub colour: bool,
    /// Columns that a line may fill.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, width: 100 }
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::publish) enum Tone {
    Good,
    Info,
    Warning,
    Critical,
    Heading,
}

impl Style {
    /// `text` in the colour of `tone`.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Info => "36",
            Tone::Warning => "33",
            Tone::Critical => "1;31",
            Tone::Heading => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// `text` broken into lines of the width: the first begins with `first`, the others with as many spaces.
    pub(super) fn wrap(self, first: &str, text: &str) -> String {
        let indent = first.chars().count();
        let room = self.width.saturating_sub(indent).max(20);
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let line = lines.last_mut().expect("never empty");
            let used = line.chars().count();
            if used > 0 && used + 1 + word.chars().count() > room {
                lines.push(word.to_owned());
            } else {
                line.push_str(if used > 0 { " " } else { "" });
                line.push_str(word);
            }
        }
        let joined = lines.join(&format!("\n{}", " ".repeat(indent)));
        format!("{first}{joined}\n")
    }

    /// `text` wrapped, every line but the first indented by two.
    pub(super) fn hanging(self, text: &str) -> String {
        self.wrap("  ", text).split_off(2)
    }

    /// `word` in the colour of `tone` and `text` behind it, wrapped; what belongs to it is indented by two.
    pub(super) fn wrap_marked(self, tone: Tone, word: &str, text: &str) -> String {
        let wrapped = self.hanging(&format!("{word} {text}"));
        match wrapped.strip_prefix(word) {
            Some(rest) => format!("{}{rest}", self.paint(tone, word)),
            None => wrapped,
        }
    }

    /// A heading line with an empty one before it. The words that explain it give way where there is no room.
    pub(super) fn heading(self, text: &str, explained: &str) -> String {
        let whole = if explained.is_empty() { text.to_owned() } else { format!("{text} ({explained})") };
        let line = if whole.chars().count() > self.width { text } else { &whole };
        format!("\n{}\n", self.paint(Tone::Heading, line))
    }
}

/// Text from outside without control characters: a link's name must not move the cursor.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_under_the_first() {
        let style = Style { colour: false, width: 24 };
        assert_eq!(style.wrap("ab: ", "one two three four five"), "ab: one two three four\n    five\n");
        assert_eq!(style.wrap("", ""), "\n");
        let long = "x".repeat(50);
        assert_eq!(style.wrap("- ", &format!("a {long} b")), format!("- a\n  {long}\n  b\n"));
    }

    #[test]
    fn colour_is_only_what_was_asked_for() {
        assert_eq!(Style { colour: false, width: 80 }.paint(Tone::Critical, "x"), "x");
        assert_eq!(Style { colour: true, width: 80 }.paint(Tone::Critical, "x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
