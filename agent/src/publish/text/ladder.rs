//! The ladder as it is read: one line a layer, the wire on top, the break marked.
//!
//! An engineer in a hurry looks for `◄`; one who explains the network to another reads the lines from top to bottom and
//! has the sum in front of them. `↑` marks what follows from a break above it, `?` what is not known.

use probes::report::ladder::{Fit, Ladder, Layer, Rung};
use probes::report::{Finding, Report, Severity};

use super::findings;
use super::style::{Style, Tone, clean};

/// Ladders that are shown; a machine may have hundreds of tunnels.
const SHOWN: usize = 4;

/// Columns that words beside a rung need; with less room they go below it.
const BESIDE: usize = 32;

/// Every ladder, the broken ones first.
pub(super) fn ladders(report: &Report, style: Style) -> String {
    let mut all: Vec<&Ladder> = report.ladders.iter().collect();
    all.sort_by_key(|ladder| std::cmp::Reverse(ladder.verdict));
    let mut text: String = all.iter().take(SHOWN).map(|ladder| one(report, ladder, style)).collect();
    let more = all.len().saturating_sub(SHOWN);
    if more > 0 {
        text.push_str(&format!("  … and {more} more (--output json has them all)\n"));
    }
    text
}

fn one(report: &Report, ladder: &Ladder, style: Style) -> String {
    let lines: Vec<Line> = ladder.rungs.iter().map(|rung| Line::new(report, ladder, rung)).collect();
    let widest = |width: fn(&Line) -> usize| lines.iter().map(width).max().unwrap_or(0);
    let widths = [widest(|line| count(line.label)), widest(|line| count(&line.name)), widest(|line| count(&line.mtu))];
    let mut text =
        style.heading(&format!("LADDER {}", clean(&ladder.link)), "each line must fit into the one above it");
    lines.iter().for_each(|line| text.push_str(&line.show(widths, style)));
    text
}

fn count(text: &str) -> usize {
    text.chars().count()
}

struct Line {
    label: &'static str,
    name: String,
    mtu: String,
    tone: Option<Tone>,
    sign: &'static str,
    words: String,
}

impl Line {
    fn new(report: &Report, ladder: &Ladder, rung: &Rung) -> Self {
        let (sign, tone) = match rung.verdict {
            Fit::Ok => ("", None),
            Fit::Break if rung.follows => ("↑", None),
            Fit::Break => ("◄", Some(tone(report, rung))),
            Fit::Unknown => ("?", Some(Tone::Warning)),
        };
        let codes = if rung.findings.is_empty() { String::new() } else { format!(" ({})", rung.findings.join(", ")) };
        Self {
            label: label(ladder, rung),
            name: clean(&name(rung)),
            mtu: rung.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
            tone,
            sign,
            words: clean(&format!("{}{codes}", rung.why.as_deref().unwrap_or_default())),
        }
    }

    fn show(&self, [label, name, mtu]: [usize; 3], style: Style) -> String {
        let gap = |width: usize, text: &str| " ".repeat(width - count(text));
        let size = self.tone.map_or_else(|| self.mtu.clone(), |tone| style.paint(tone, &self.mtu));
        let rung = format!(
            "  {}{}  {}{}  {}{size}",
            self.label,
            gap(label, self.label),
            self.name,
            gap(name, &self.name),
            gap(mtu, &self.mtu)
        );
        let used = 2 + label + 2 + name + 2 + mtu + 2;
        match self.words.trim() {
            "" => format!("{rung}\n"),
            _ if used + BESIDE > style.width => format!("{rung}\n{}", self.said(4, style)),
            _ => format!("{rung}{}", self.said(used, style).split_off(used - 2)),
        }
    }

    /// The sign and the words, wrapped, from a column on.
    fn said(&self, column: usize, style: Style) -> String {
        let indent = " ".repeat(column);
        let first = if self.sign.is_empty() { indent } else { format!("{indent}{} ", self.sign) };
        let wrapped = style.wrap(&first, self.words.trim());
        match self.tone {
            Some(tone) => wrapped.replacen(self.sign, &style.paint(tone, self.sign), 1),
            None => wrapped,
        }
    }
}

/// The colour of the worst finding about a break.
fn tone(report: &Report, rung: &Rung) -> Tone {
    let about = |finding: &&Finding| rung.findings.contains(&finding.code);
    let worst = report.findings.iter().filter(about).map(|finding| finding.severity).max();
    findings::tone(worst.unwrap_or(Severity::Warning))
}

fn label(ladder: &Ladder, rung: &Rung) -> &'static str {
    let tunnel = ladder.rungs.iter().any(|rung| rung.layer == Layer::Tunnel);
    match rung.layer {
        Layer::InnerPath if !tunnel => "to pods",
        layer => layer.name(),
    }
}

/// The name, or how many of how many the rung stands for. The worst is named where something is wrong with it.
fn name(rung: &Rung) -> String {
    let Rung { layer, name, count, share, .. } = rung;
    let what = match layer {
        Layer::Pods => "link",
        Layer::Route => "route",
        Layer::Path | Layer::InnerPath => "path",
        _ => return name.clone(),
    };
    match (layer, count) {
        (Layer::Pods, 1) => "1 link".into(),
        (_, 1) => name.clone(),
        (Layer::Route | Layer::Path | Layer::InnerPath, _) if rung.verdict == Fit::Break => {
            format!("worst of {count}: {name}")
        }
        _ if count == share => format!("{count} {what}s"),
        _ => format!("{share} of {count} {what}s"),
    }
}
