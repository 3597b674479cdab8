//! The ladder as a drawing: a bar for each layer from the wire to the pods, with what it takes and what is declared.
//!
//! Bars are no measure: of 1450 and 1500 bytes nobody would see which is longer. The smallest is half as long as the
//! largest, the others in between, and each has its number beside it. What does not fit stands out beyond what there is
//! room for. Signs and words are those of the text.

use std::collections::BTreeSet;

use probes::report::ladder::{Beside, Fit, Ladder, Layer, Rung};
use probes::report::{Report, Severity};

use super::super::super::text::{findings, ladder as told};
use super::table::class;
use super::{name, sentence};

/// Ladders that are drawn.
const SHOWN: usize = 4;

/// Rungs of one; a stack of links is a dozen high at most.
const RUNGS: usize = 40;

/// The length of the longest bar.
const LENGTH: u32 = 100;

/// One ladder.
pub(super) struct Drawn {
    pub(super) link: String,
    pub(super) word: &'static str,
    pub(super) tone: &'static str,
    pub(super) sign: &'static str,
    pub(super) rungs: Vec<Bar>,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) layer: &'static str,
    pub(super) name: String,
    /// The size, `?` if it is not known.
    pub(super) size: String,
    /// How long the bar is; 0 without a size.
    pub(super) length: u32,
    /// How much of it there is room for.
    pub(super) room: u32,
    pub(super) tone: &'static str,
    pub(super) sign: &'static str,
    pub(super) word: &'static str,
    pub(super) declared: String,
    pub(super) why: String,
}

/// The ladders, the broken ones first, and how many are not drawn.
pub(super) fn draw(report: &Report) -> (Vec<Drawn>, usize) {
    let mut all: Vec<&Ladder> = report.ladders.iter().collect();
    all.sort_by_key(|ladder| std::cmp::Reverse(ladder.verdict));
    let drawn = all.iter().take(SHOWN).map(|ladder| one(report, ladder)).collect();
    (drawn, all.len().saturating_sub(SHOWN))
}

fn one(report: &Report, ladder: &Ladder) -> Drawn {
    let (word, tone, sign) = match ladder.verdict {
        Fit::Ok => ("every layer fits", "good", "✓"),
        Fit::Unknown => ("not all of it is known", "unknown", "?"),
        Fit::Break => ("it breaks", "critical", "◄"),
    };
    let scale = Scale::of(&ladder.rungs);
    let mut said = BTreeSet::new();
    let rungs = ladder.rungs.iter().take(RUNGS).map(|rung| bar(report, ladder, rung, &scale, &mut said)).collect();
    Drawn { link: name(&ladder.link), word, tone, sign, rungs }
}

/// `said` are the places whose number was said to differ further down.
fn bar<'r>(report: &Report, ladder: &Ladder, rung: &'r Rung, scale: &Scale, said: &mut BTreeSet<&'r str>) -> Bar {
    let worst = || class(findings::worst(report, &rung.findings).or(Some(findings::tone(Severity::Warning))));
    let (sign, word, tone) = match rung.verdict {
        Fit::Ok => ("✓", "fits", "good"),
        Fit::Unknown => ("?", "not known", "unknown"),
        Fit::Break if rung.follows => ("↑", "follows from above", "quieter"),
        Fit::Break => ("◄", "break", worst()),
    };
    let length = rung.mtu.map_or(0, |mtu| scale.length(mtu.bytes()));
    // A measured path that falls short is too short itself; what is configured stands out beyond what is below.
    let measured = matches!(rung.layer, Layer::Path | Layer::InnerPath);
    let room = match rung.available.filter(|_| rung.verdict == Fit::Break && !rung.follows && !measured) {
        Some(available) => scale.length(available.bytes()).min(length),
        None => length,
    };
    let differs = rung.declared.iter().filter(|one: &&Beside| one.differs && !measured && said.insert(&one.written));
    let why = rung.why.iter().map(|why| format!("{why}{}", told::codes(&rung.findings)));
    let why: Vec<String> = why.chain(differs.map(|one| told::said_by(rung, one))).collect();
    Bar {
        layer: told::label(ladder, rung),
        name: name(&told::name(rung)),
        size: rung.mtu.map_or_else(|| "?".to_owned(), |mtu| mtu.to_string()),
        length,
        room,
        tone,
        sign,
        word,
        declared: told::declared(rung),
        why: sentence(&why.join("; ")),
    }
}

/// How long a bar is.
struct Scale {
    least: u32,
    most: u32,
}

impl Scale {
    fn of(rungs: &[Rung]) -> Self {
        let sizes = rungs.iter().flat_map(|rung| [rung.mtu, rung.available]).flatten().map(|size| size.bytes());
        Self { least: sizes.clone().min().unwrap_or(0), most: sizes.max().unwrap_or(0) }
    }

    fn length(&self, size: u32) -> u32 {
        let half = LENGTH / 2;
        let range = u64::from(self.most.saturating_sub(self.least));
        let above = u64::from(size.clamp(self.least, self.most) - self.least);
        let share = (above * u64::from(half)).checked_div(range).unwrap_or(u64::from(half));
        half + u32::try_from(share).unwrap_or(half)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::example::{cluster, published};
    use super::*;

    #[test]
    fn the_smallest_bar_is_half_as_long_as_the_largest() {
        let scale = Scale { least: 1400, most: 1500 };
        assert_eq!([1400, 1450, 1500, 9000, 0].map(|size| scale.length(size)), [50, 75, 100, 100, 50]);
        assert_eq!(Scale { least: 1500, most: 1500 }.length(1500), 100, "all alike are all long");
        assert_eq!(Scale::of(&[]).length(0), 100);
        assert_eq!(Scale { least: 0, most: u32::MAX }.length(u32::MAX), 100);
    }

    #[test]
    fn what_breaks_stands_out_and_what_follows_does_not() {
        let report = published().report;
        let (drawn, more) = draw(&report);
        assert_eq!(more, 0);
        let sick = drawn[0].rungs.iter().find(|bar| bar.word == "break").expect("this node has a break");
        assert!(!sick.why.is_empty() && sick.tone != "good", "{sick:?}");
        for bar in drawn.iter().flat_map(|one| &one.rungs) {
            assert!(bar.room <= bar.length && bar.length <= LENGTH, "{bar:?}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_bar_and_a_sign() {
        let mut report = (*cluster(1, 0).report).clone();
        for path in &mut report.paths {
            (path.verdict, path.path_mtu) = (probes::path::VerdictName::Unknown, None);
        }
        report.ladders = probes::report::ladder::of(&report);
        let (drawn, _) = draw(&report);
        let path = drawn[0].rungs.iter().find(|bar| bar.length == 0).expect("nothing was measured");
        assert_eq!((path.sign, path.word, path.size.as_str()), ("?", "not known", "?"));
    }
}
