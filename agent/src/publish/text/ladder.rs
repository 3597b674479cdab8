//! The ladder as it is read: one line a layer, the wire on top, the break marked.
//!
//! An engineer in a hurry looks for `◄`; one who explains the network to another reads the lines from top to bottom and
//! has the sum in front of them. `↑` marks what follows from a break above it, `?` what is not known.
//! Beside a size stands what is declared of it: `=`, `≥` where it may have more, `≠` where it is not what somebody means it
//! to be. That is no break: whose number it is stands there once, and where the packet is lost has its own sign.

use std::collections::BTreeSet;

use probes::report::ladder::{Beside, Fit, Ladder, Layer, Rung};
use probes::report::{Report, Severity};

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
    let mut told = BTreeSet::new();
    let lines: Vec<Line> = ladder.rungs.iter().map(|rung| Line::new(report, ladder, rung, &mut told)).collect();
    let widest = |width: fn(&Line) -> usize| lines.iter().map(width).max().unwrap_or(0);
    let widths = Widths {
        label: widest(|line| count(line.label)),
        name: widest(|line| count(&line.name)),
        mtu: widest(|line| count(&line.mtu)),
        declared: widest(|line| count(&line.declared)),
    };
    let explained = if widths.declared == 0 {
        "each line must fit into the one above it"
    } else {
        "each must fit into the one above; = ≥ ≠ what is declared"
    };
    let mut text = style.heading(&format!("LADDER {}", clean(&ladder.link)), explained);
    lines.iter().for_each(|line| text.push_str(&line.show(&widths, style)));
    text
}

/// Columns that each part of a line has.
struct Widths {
    label: usize,
    name: usize,
    mtu: usize,
    declared: usize,
}

impl Widths {
    /// Columns before the words.
    const fn used(&self) -> usize {
        let declared = if self.declared == 0 { 0 } else { self.declared + 2 };
        2 + self.label + 2 + self.name + 2 + self.mtu + 2 + declared
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

struct Line {
    label: &'static str,
    name: String,
    mtu: String,
    tone: Option<Tone>,
    declared: String,
    declared_tone: Option<Tone>,
    sign: &'static str,
    words: String,
}

impl Line {
    /// `told` are the places whose number was said to differ further down.
    fn new<'r>(report: &Report, ladder: &Ladder, rung: &'r Rung, told: &mut BTreeSet<&'r str>) -> Self {
        let (sign, tone) = match rung.verdict {
            Fit::Ok => ("", None),
            Fit::Break if rung.follows => ("↑", None),
            Fit::Break => ("◄", Some(tone(report, rung))),
            Fit::Unknown => ("?", Some(Tone::Warning)),
        };
        let why = rung.why.iter().map(|why| format!("{why}{}", codes(&rung.findings)));
        // What a path falls short of is said by its own words.
        let is_measured = matches!(rung.layer, Layer::Path | Layer::InnerPath);
        let differs = rung.declared.iter().filter(|one| one.differs && !is_measured && told.insert(&one.written));
        let words: Vec<String> = why.chain(differs.map(|one| said_by(rung, one))).collect();
        let found: Vec<&str> = rung.declared.iter().flat_map(|one| one.findings.iter().copied()).collect();
        Self {
            label: label(ladder, rung),
            name: clean(&name(rung)),
            mtu: rung.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
            tone,
            declared: declared(rung),
            declared_tone: findings::worst(report, &found),
            sign,
            words: clean(&words.join("; ")),
        }
    }

    fn show(&self, widths: &Widths, style: Style) -> String {
        let gap = |width: usize, text: &str| " ".repeat(width - count(text));
        let paint =
            |tone: Option<Tone>, text: &str| tone.map_or_else(|| text.to_owned(), |tone| style.paint(tone, text));
        let mut rung = format!(
            "  {}{}  {}{}  {}{}",
            self.label,
            gap(widths.label, self.label),
            self.name,
            gap(widths.name, &self.name),
            gap(widths.mtu, &self.mtu),
            paint(self.tone, &self.mtu),
        );
        let used = widths.used();
        let words = self.words.trim();
        let beside = !words.is_empty() && used + BESIDE <= style.width;
        if !self.declared.is_empty() {
            rung.push_str(&format!("  {}", paint(self.declared_tone, &self.declared)));
        }
        if beside && widths.declared > 0 {
            let empty = if self.declared.is_empty() { 2 } else { 0 };
            rung.push_str(&" ".repeat(empty + widths.declared - count(&self.declared)));
        }
        match words {
            "" => format!("{rung}\n"),
            _ if beside => format!("{rung}{}", self.said(used, style).split_off(used - 2)),
            _ => format!("{rung}\n{}", self.said(4, style)),
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

/// The codes of findings, in brackets.
pub(in crate::publish) fn codes(codes: &[&str]) -> String {
    if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) }
}

/// What is declared of a rung, each size once.
pub(in crate::publish) fn declared(rung: &Rung) -> String {
    let sign = |one: &Beside| match rung.mtu {
        _ if one.differs => "≠",
        Some(mtu) if mtu == one.mtu => "=",
        Some(_) | None => "≥",
    };
    let mut sizes: Vec<String> = Vec::new();
    for one in &rung.declared {
        let size = format!("{} {}", sign(one), one.mtu);
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    sizes.join(" ")
}

/// Whose number differs. What is said of the break is not said again.
pub(in crate::publish) fn said_by(rung: &Rung, one: &Beside) -> String {
    let new: Vec<&str> = one.findings.iter().copied().filter(|code| !rung.findings.contains(code)).collect();
    format!("{} says {}{}", one.written, one.mtu, codes(&new))
}

/// The colour of the worst finding about a break.
fn tone(report: &Report, rung: &Rung) -> Tone {
    findings::worst(report, &rung.findings).unwrap_or_else(|| findings::tone(Severity::Warning))
}

pub(in crate::publish) fn label(ladder: &Ladder, rung: &Rung) -> &'static str {
    let tunnel = ladder.rungs.iter().any(|rung| rung.layer == Layer::Tunnel);
    match rung.layer {
        Layer::InnerPath if !tunnel => "to pods",
        layer => layer.name(),
    }
}

/// The name, or how many of how many the rung stands for. The worst is named where something is wrong with it.
pub(in crate::publish) fn name(rung: &Rung) -> String {
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
