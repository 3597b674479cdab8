//! The catalogue: what can be found, and one code explained.
//!
//! Whoever asks for one code has been told it by an alert, at night. What it means comes first, then what to type and
//! what to see, then what to do; what is for the next morning (why it was quiet so long, whom else it happened to) last.

use probes::checks::Area;
use probes::report::Severity;

use super::findings::{advice, tone};
use super::style::{Style, Tone};
use crate::publish::explained::{Explained, Incident, Step, headed};

/// Every code on a line, by family.
pub fn catalogue(entries: &[Explained], style: Style) -> String {
    let codes = entries.iter().map(|entry| entry.code.len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut area: Option<Area> = None;
    for entry in entries {
        if area != Some(entry.area) {
            let heading = style.heading(&entry.area.name().to_uppercase(), entry.area.title());
            text.push_str(if text.is_empty() { heading.trim_start() } else { &heading });
            area = Some(entry.area);
        }
        text.push_str(&line(entry, codes, style));
    }
    text
}

/// A code, how bad it can be, and a few words; these wrap below themselves.
fn line(entry: &Explained, codes: usize, style: Style) -> String {
    let worst = entry.severities.last().copied();
    let word = worst.map(Severity::name).unwrap_or_default();
    let plain = format!("  {:codes$}  {word:8}  ", entry.code);
    let wrapped = style.wrap(&plain, entry.title);
    match worst {
        Some(worst) => wrapped.replacen(&format!("  {word}"), &format!("  {}", style.paint(tone(worst), word)), 1),
        None => wrapped,
    }
}

/// One code explained.
pub fn entry(entry: &Explained, style: Style) -> String {
    let severities: Vec<&str> = entry.severities.iter().map(|severity| severity.name()).collect();
    let mut text = format!("{} ({})\n", style.paint(Tone::Heading, entry.code), severities.join(", "));
    text.push_str(&style.wrap("", &format!("{}: {}", entry.title, entry.meaning)));
    text.push_str(&style.heading("LOOK AT", ""));
    for look in entry.steps {
        text.push_str(&format!("  {}\n", look.run));
        text.push_str(&style.wrap("      ", look.see));
    }
    text.push_str(&style.heading("FOR EXAMPLE", ""));
    text.push_str(&style.wrap("  ", &entry.example));
    text.push_str(&remedy(&entry.remedies, style));
    text.push_str(&style.heading("WHEN", ""));
    for when in &entry.when {
        text.push_str(&style.wrap(&format!("  {}: ", when.severity.name()), when.when));
    }
    text.push_str(&style.wrap("  never: ", entry.quiet));
    text.push_str(&style.wrap("  proof: ", entry.evidence));
    text.push_str(&style.wrap("  where: ", entry.seen));
    list(&mut text, "EXPLAINS", "silenced while this is found", &entry.silences.join(", "), style);
    list(&mut text, "EXPLAINED BY", "silent while one of these is found", &entry.silenced_by.join(", "), style);
    if !entry.metrics.is_empty() {
        text.push_str(&style.heading("QUERY", ""));
    }
    entry.metrics.iter().for_each(|query| text.push_str(&format!("  {query}\n")));
    text.push_str(&style.heading("ALERT", ""));
    text.push_str(&style.wrap("  ", &alert(entry)));
    text.push_str(&style.heading("INCIDENTS LIKE IT", ""));
    text.push_str(&incident(entry.incident, style));
    text
}

fn remedy(steps: &[Step], style: Style) -> String {
    let mut text = String::new();
    for (setup, lines) in headed(steps) {
        if let Some(setup) = setup {
            text.push_str(&style.wrap("  ", &format!("[{setup}]")));
        }
        lines.iter().for_each(|line| text.push_str(&advice(line, style)));
    }
    text
}

fn list(text: &mut String, heading: &str, explained: &str, codes: &str, style: Style) {
    if !codes.is_empty() {
        text.push_str(&style.heading(heading, explained));
        text.push_str(&style.wrap("  ", codes));
    }
}

fn alert(entry: &Explained) -> String {
    match entry.severities {
        _ if entry.alerting.is_none() => entry.alert.clone(),
        [only] => format!("{}, {}", entry.alert, only.name()),
        _ => format!("{}, as severe as the finding", entry.alert),
    }
}

fn incident(incident: Incident, style: Style) -> String {
    match incident {
        Incident::Known { title, text, threads } => {
            style.wrap("  ", &format!("{title}: {text}")) + &style.wrap("  ", &threads.join(", "))
        }
        Incident::NoThread { why } => style.wrap("  ", why),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use probes::checks::by_code;

    use super::*;

    fn explained(code: &str) -> Explained {
        Explained::new(by_code(code).unwrap())
    }

    #[test]
    fn a_list_by_family() {
        let codes = ["link-down", "fragmentation-failing", "nic-single-queue"];
        let mut entries = codes.map(explained);
        entries.sort_by_key(|entry| entry.area);
        assert_snapshot!(catalogue(&entries, Style { colour: false, width: 60 }));
    }

    #[test]
    fn an_entry_of_a_class_and_one_without() {
        let style = Style { colour: false, width: 80 };
        let [known, unknown] = ["tunnel-no-headroom", "nic-single-queue"].map(explained);
        assert_snapshot!(format!("{}---\n{}", entry(&known, style), entry(&unknown, style)));
    }

    #[test]
    fn the_list_stays_within_eighty_columns() {
        let text = catalogue(&Explained::all(), Style { colour: false, width: 80 });
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:?}");
    }

    #[test]
    fn colour_is_for_the_severity_alone() {
        let plain = catalogue(&Explained::all(), Style { colour: false, width: 80 });
        let painted = catalogue(&Explained::all(), Style { colour: true, width: 80 });
        assert!(painted.contains(" \u{1b}[1;31mcritical\u{1b}[0m  link down\n"), "{painted}");
        let mut stripped = painted;
        for code in ["36", "33", "1;31", "1", "0"] {
            stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(stripped, plain);
    }
}
