//! The catalogue: what can be found, and one code explained.

use probes::checks::{Alert, Area, Entry, Registered};
use probes::remedy;
use probes::report::Severity;
use probes::snapshot::Setup;
use serde::Serialize;

use super::findings::{advice, tone};
use super::style::{Style, Tone};
use super::table::{Cell, table};

/// One code, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Stable name.
    pub code: &'static str,
    /// The part of the catalogue that it belongs to.
    pub area: Area,
    /// Every severity that it can have, mildest first.
    pub severities: &'static [Severity],
    /// A few words.
    pub title: &'static str,
    /// What it means and whom it hurts.
    pub meaning: &'static str,
    /// How to look by hand.
    pub look: Vec<&'static str>,
    /// Codes that are its consequences.
    pub silences: &'static [&'static str],
    /// The alert's name, or why there is none.
    pub alert: String,
    /// What a finding of this code says.
    pub example: String,
    /// What to do about that finding.
    pub remedy: Vec<String>,
}

impl Explained {
    /// A check of the catalogue, its example rendered.
    pub fn new(check: &Registered) -> Self {
        let Entry { code, area, severities, title, meaning, look, silences, alert, .. } = check.entry;
        let example = check.example();
        let alert = match alert {
            Alert::Named { name, minutes } => format!("{name}, after {minutes} min"),
            Alert::None { why } => format!("none: {why}"),
        };
        let remedy = remedy::render(&example.fixes, Setup::default());
        let look = look.iter().map(|look| look.run).collect();
        Self { code, area: *area, severities, title, meaning, look, silences, alert, example: example.summary, remedy }
    }
}

/// Every code on a line.
pub fn catalogue(entries: &[Explained], style: Style) -> String {
    let row = |entry: &Explained| -> [Cell; 3] {
        let worst = entry.severities.last().copied();
        let word = worst.map(Severity::name).unwrap_or_default();
        [entry.code.into(), Cell::toned(word, worst.map(tone)), entry.title.into()]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    // The last column is what the list is for: on a narrow terminal it had better wrap than go.
    let wide = Style { width: usize::MAX, ..style };
    table(wide, ["code", "at worst", "what"], &rows)
}

/// One code explained.
pub fn entry(entry: &Explained, style: Style) -> String {
    let severities: Vec<&str> = entry.severities.iter().map(|severity| severity.name()).collect();
    let mut text = format!("{} ({})\n", style.paint(Tone::Heading, entry.code), severities.join(", "));
    text.push_str(&style.wrap("", &format!("{}: {}", entry.title, entry.meaning)));
    text.push_str(&style.heading("LOOK AT", ""));
    entry.look.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text.push_str(&style.heading("FOR EXAMPLE", ""));
    text.push_str(&style.wrap("  ", &entry.example));
    entry.remedy.iter().for_each(|line| text.push_str(&advice(line, style)));
    if !entry.silences.is_empty() {
        text.push_str(&style.heading("EXPLAINS", ""));
        text.push_str(&style.wrap("  ", &entry.silences.join(", ")));
    }
    text.push_str(&style.heading("ALERT", ""));
    text.push_str(&style.wrap("  ", &entry.alert));
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn explained() -> Explained {
        Explained {
            code: "link-down",
            area: Area::Links,
            severities: &[Severity::Warning, Severity::Critical],
            title: "A link that traffic needs is down",
            meaning: "Nothing leaves through it, although the configuration above it looks right.",
            look: vec!["ip -br link", "ethtool LINK"],
            silences: &["peer-unreachable", "overlay-unreachable"],
            alert: "MtuscopeLinkDown, after 2 min".into(),
            example: "enp5s0 has no carrier.".into(),
            remedy: vec!["ip link set enp5s0 up".into()],
        }
    }

    #[test]
    fn a_list_and_an_entry() {
        let style = Style { colour: false, width: 60 };
        assert_snapshot!(format!("{}---\n{}", catalogue(&[explained()], style), entry(&explained(), style)));
    }
}
