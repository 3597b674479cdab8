//! What is written down beside what there is: number against number, and who says so.
//!
//! One paragraph a thing that has an MTU, opened by what the kernel has of it and what was measured; below it each place
//! that declares it. `=` agrees, `≠` does not, `?` is not known, `-` leaves it open or is not used. A machine for which
//! nobody wrote anything down has no such section.

use probes::report::{DeclaredPlace, DeclaredRow, PlaceKind, Report};
use probes::units::IpSize;

use super::findings;
use super::style::{Style, Tone, clean};

/// Places that are told of one thing; a node has a handful.
const SHOWN: usize = 12;

/// Names that are told of one size.
const NAMES: usize = 4;

/// The section; empty where nothing is declared.
pub(super) fn declared(report: &Report, style: Style) -> String {
    if report.declared.is_empty() {
        return String::new();
    }
    let mut text = style.heading("DECLARED", "what is written down, and what there is");
    for (subject, rows) in by_subject(report) {
        text.push_str(&style.wrap("  ", &clean(&format!("{subject}: {}", what_there_is(&rows)))));
        let mut lines = lines(report, &rows);
        let more = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        lines.iter().for_each(|line| text.push_str(&line.show(style)));
        if more > 0 {
            text.push_str(&format!("    … and {more} more (--output json has them all)\n"));
        }
    }
    text
}

/// What is declared of each thing that has an MTU, in the report's order.
pub(in crate::publish) fn by_subject(report: &Report) -> Vec<(&str, Vec<&DeclaredRow>)> {
    let mut subjects: Vec<(&str, Vec<&DeclaredRow>)> = Vec::new();
    for row in &report.declared {
        match subjects.iter_mut().find(|(subject, _)| *subject == row.subject) {
            Some((_, rows)) => rows.push(row),
            None => subjects.push((&row.subject, vec![row])),
        }
    }
    subjects
}

/// `kernel 1450 (vxlan.calico, 12 pod links), measured 1450`, of all that the rows are about.
pub(in crate::publish) fn what_there_is(rows: &[&DeclaredRow]) -> String {
    let mut sizes: Vec<(IpSize, Vec<String>)> = Vec::new();
    for place in rows.iter().flat_map(|row| &row.kernel) {
        let at = sizes.iter().position(|(mtu, _)| *mtu == place.mtu).unwrap_or_else(|| {
            sizes.push((place.mtu, Vec::new()));
            sizes.len() - 1
        });
        let name = name(place);
        if !sizes[at].1.contains(&name) {
            sizes[at].1.push(name);
        }
    }
    let size = |(mtu, names): &(IpSize, Vec<String>)| format!("{mtu} ({})", findings::first_of(names, NAMES));
    let kernel: Vec<String> = sizes.iter().map(size).collect();
    let kernel = if kernel.is_empty() { "nothing".to_owned() } else { kernel.join(" and ") };
    let narrowest = rows.iter().filter_map(|row| row.measured.as_ref()).min_by_key(|path| path.mtu);
    let measured = narrowest.map(|path| format!(", measured {}", path.mtu)).unwrap_or_default();
    let fits = rows.iter().filter_map(|row| row.recommended).min();
    let least = sizes.iter().map(|(mtu, _)| *mtu).min();
    let fits =
        fits.filter(|fits| least != Some(*fits) || rows.iter().any(|row| row.counts().is_some_and(|mtu| mtu != *fits)));
    let fits = fits.map(|fits| format!(", {fits} would fit")).unwrap_or_default();
    format!("kernel {kernel}{measured}{fits}")
}

fn name(place: &DeclaredPlace) -> String {
    match (place.kind, place.count) {
        (PlaceKind::Pods, 1) => "1 pod link".into(),
        (PlaceKind::Pods, count) => format!("{count} pod links"),
        (PlaceKind::Route, 1) => format!("the route to {}", place.name),
        (PlaceKind::Route, count) => format!("{count} routes"),
        (PlaceKind::Device | PlaceKind::Tunnel, _) => place.name.clone(),
    }
}

/// What one or more places say.
pub(in crate::publish) struct Line {
    pub(in crate::publish) sign: &'static str,
    pub(in crate::publish) tone: Option<Tone>,
    pub(in crate::publish) size: String,
    pub(in crate::publish) words: String,
}

/// The rows as lines; what could not be read for one reason shares one.
pub(in crate::publish) fn lines(report: &Report, rows: &[&DeclaredRow]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut unknown: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows {
        match &row.unknown {
            None => lines.push(line(report, row)),
            Some(why) => match unknown.iter_mut().find(|(known, _)| known == why) {
                Some((_, places)) => places.push(row.written()),
                None => unknown.push((why, vec![row.written()])),
            },
        }
    }
    lines.extend(unknown.into_iter().map(|(why, places)| Line {
        sign: "?",
        tone: Some(Tone::Warning),
        size: String::new(),
        words: clean(&format!("{}, not known: {why}", places.join(", "))),
    }));
    lines
}

fn line(report: &Report, row: &DeclaredRow) -> Line {
    let size = row.mtu.map_or_else(|| "auto".to_owned(), |mtu| mtu.to_string());
    let (sign, tone, why) = match &row.unused {
        Some(why) => ("-", None, format!(", not used: {why}")),
        None if row.mtu.is_none() => ("-", None, String::new()),
        None if row.differs() => ("≠", findings::worst(report, &row.findings), String::new()),
        None if row.kernel.is_empty() => ("?", None, ", nothing here to hold it against".to_owned()),
        None => ("=", None, String::new()),
    };
    let codes = if row.findings.is_empty() { String::new() } else { format!(" ({})", row.findings.join(", ")) };
    let who = if row.file.is_none() { format!(" in the {}", row.source) } else { String::new() };
    Line { sign, tone, size, words: clean(&format!("{}{who}{why}{codes}", row.written())) }
}

impl Line {
    fn show(&self, style: Style) -> String {
        let size = if self.size.is_empty() { String::new() } else { format!("{:<4}  ", self.size) };
        let wrapped = style.wrap(&format!("    {} {size}", self.sign), &self.words);
        match self.tone {
            Some(tone) => wrapped.replacen(self.sign, &style.paint(tone, self.sign), 1),
            None => wrapped,
        }
    }
}
