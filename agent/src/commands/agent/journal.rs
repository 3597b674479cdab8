//! Findings in the logs: each is said when it comes and when it goes, and not in between.
//!
//! Nor do many at once make a flood. Of those that come, or go, in one report the worst [`NAMED`] are said and the rest
//! counted, by code: `/report` has them all. And a finding that comes and goes is said [`STEADY`] times within
//! [`WINDOW`]; then that it is unsteady, and after the window how it stands. Each line has the number of its report, so
//! that no second outage is taken for the repetition of the first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use probes::report::{Finding, Report, Severity};

/// Most findings that are named at once.
const NAMED: usize = 10;

/// How often a finding is said to have come within a window.
const STEADY: u32 = 3;

/// The time within which coming and going counts as unsteady.
const WINDOW: Duration = Duration::from_secs(600);

/// What has been said of each finding.
#[derive(Debug, Default)]
pub(super) struct Journal {
    told: BTreeMap<Name, Told>,
    /// Reports so far.
    number: u64,
}

/// Code and subject.
type Name = (&'static str, String);

#[derive(Debug)]
struct Told {
    stands: bool,
    /// When it first came, of those times that `times` counts.
    from: Instant,
    /// How often it has come since.
    times: u32,
}

/// A line of the log.
#[derive(Debug)]
enum Line<'r> {
    Raised {
        finding: &'r Finding,
        times: u32,
    },
    Cleared {
        name: Name,
        times: u32,
    },
    /// It came and went too often to be said each time; how it stands when the window is over.
    Unsteady {
        name: Name,
        times: u32,
        stands: bool,
    },
    /// More of them than are named.
    More {
        what: &'static str,
        codes: String,
    },
}

impl Journal {
    /// Logs what has changed.
    pub(super) fn write(&mut self, report: &Report, now: Instant) {
        self.number += 1;
        self.lines(report, now).iter().for_each(|line| log(line, self.number));
    }

    fn lines<'r>(&mut self, report: &'r Report, now: Instant) -> Vec<Line<'r>> {
        let mut lines = self.windows_that_end(now);
        let loud: BTreeMap<Name, &Finding> = report
            .findings
            .iter()
            .filter(|finding| finding.silenced_by.is_none())
            .map(|finding| ((finding.code, finding.subject.clone()), finding))
            .collect();
        let mut raised: Vec<_> =
            loud.iter().filter_map(|(name, finding)| Some((*finding, self.comes(name, now)?))).collect();
        raised.sort_by_key(|(finding, _)| Reverse(finding.severity));
        let gone: Vec<_> =
            self.told.iter_mut().filter(|(name, told)| told.stands && !loud.contains_key(*name)).collect();
        let cleared = gone.into_iter().filter_map(|(name, told)| Some((name.clone(), told.goes()?)));
        let (cleared, more_cleared) = named(cleared.collect(), |(name, _)| name.0);
        let (raised, more_raised) = named(raised, |(finding, _)| finding.code);
        lines.extend(raised.into_iter().map(|(finding, times)| Line::Raised { finding, times }));
        lines.extend(more_raised.map(|codes| Line::More { what: "raised", codes }));
        lines.extend(cleared.into_iter().map(|(name, times)| Line::Cleared { name, times }));
        lines.extend(more_cleared.map(|codes| Line::More { what: "cleared", codes }));
        lines
    }

    /// A finding that stands; which time that is to be said, if it is.
    fn comes(&mut self, name: &Name, now: Instant) -> Option<u32> {
        let told = self.told.entry(name.clone()).or_insert(Told { stands: false, from: now, times: 0 });
        if told.stands {
            return None;
        }
        told.stands = true;
        told.times += 1;
        (told.times <= STEADY).then_some(told.times)
    }

    fn windows_that_end<'r>(&mut self, now: Instant) -> Vec<Line<'r>> {
        let mut lines = Vec::new();
        self.told.retain(|name, told| {
            if now.saturating_duration_since(told.from) < WINDOW {
                return true;
            }
            if told.times > STEADY {
                lines.push(Line::Unsteady { name: name.clone(), times: told.times, stands: told.stands });
            }
            // Whether it stands goes on into the next window.
            (told.from, told.times) = (now, u32::from(told.stands));
            told.stands
        });
        lines
    }
}

impl Told {
    /// It no longer stands; which time that is to be said, if it is.
    fn goes(&mut self) -> Option<u32> {
        self.stands = false;
        (self.times <= STEADY).then_some(self.times)
    }
}

/// The first few, and how many others there are of each code.
fn named<T>(mut all: Vec<T>, code: impl Fn(&T) -> &'static str) -> (Vec<T>, Option<String>) {
    let mut codes: BTreeMap<&str, u32> = BTreeMap::new();
    for other in all.drain(NAMED.min(all.len())..) {
        *codes.entry(code(&other)).or_default() += 1;
    }
    let more = codes.iter().fold(String::new(), |mut text, (code, count)| {
        // Writing to a string does not fail.
        _ = write!(text, "{}{count} {code}", if text.is_empty() { "" } else { ", " });
        text
    });
    (all, (!more.is_empty()).then_some(more))
}

fn log(line: &Line<'_>, report: u64) {
    match line {
        Line::Raised { finding: Finding { code, severity, subject, summary, .. }, times } => {
            let name = severity.name();
            match severity {
                Severity::Info => tracing::info!(code, severity = name, subject, report, times, "raised: {summary}"),
                _ => tracing::warn!(code, severity = name, subject, report, times, "raised: {summary}"),
            }
        }
        Line::Cleared { name: (code, subject), times } => tracing::info!(code, subject, report, times, "cleared"),
        Line::Unsteady { name: (code, subject), times, stands } => {
            tracing::warn!(
                code,
                subject,
                report,
                times,
                stands,
                "comes and goes; a link may flap, a path lose packets"
            );
        }
        Line::More { what, codes } => tracing::warn!(codes, report, "as many more {what}; /report names them all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::example;

    /// Which lines a report makes.
    fn lines(journal: &mut Journal, report: &Report, now: Instant) -> Vec<String> {
        let line = |line: &Line<'_>| match line {
            Line::Raised { finding, times } => format!("raised {} {times}", finding.subject),
            Line::Cleared { name: (_, subject), times } => format!("cleared {subject} {times}"),
            Line::Unsteady { times, stands, .. } => format!("unsteady {times} {stands}"),
            Line::More { what, codes } => format!("{what}: {codes}"),
        };
        journal.lines(report, now).iter().map(line).collect()
    }

    fn report() -> Report {
        example::published().report.as_ref().clone()
    }

    /// A report with one loud finding, and one without any.
    fn one() -> (Report, Report) {
        let (mut one, mut none) = (report(), report());
        one.findings.retain(|finding| finding.silenced_by.is_none());
        one.findings.truncate(1);
        one.findings[0].subject = "s".into();
        none.findings.clear();
        (one, none)
    }

    #[test]
    fn a_finding_is_said_when_it_comes_and_when_it_goes() {
        let (mut journal, mut report, now) = (Journal::default(), report(), Instant::now());
        let loud = report.findings.iter().filter(|finding| finding.silenced_by.is_none()).count();
        assert!(loud > 0 && loud < report.findings.len(), "the example has consequences too");
        assert_eq!(lines(&mut journal, &report, now).len(), loud);
        assert_eq!(lines(&mut journal, &report, now), [""; 0], "nothing is said twice");
        report.findings.clear();
        assert_eq!(lines(&mut journal, &report, now).len(), loud);
        assert_eq!(lines(&mut journal, &report, now), [""; 0]);
    }

    #[test]
    fn a_second_outage_is_told_from_the_first_and_news_again_after_a_while() {
        let (mut journal, (one, none), start) = (Journal::default(), one(), Instant::now());
        let mut said = Vec::new();
        for (seconds, report) in [(0, &one), (60, &none), (120, &one), (180, &none), (900, &none), (901, &one)] {
            said.extend(lines(&mut journal, report, start + Duration::from_secs(seconds)));
        }
        assert_eq!(said, ["raised s 1", "cleared s 1", "raised s 2", "cleared s 2", "raised s 1"]);
    }

    #[test]
    fn what_flaps_is_said_a_few_times_and_then_how_it_stands() {
        let (mut journal, (one, none), start) = (Journal::default(), one(), Instant::now());
        let mut said = Vec::new();
        for second in 0..1_800 {
            let report = if second % 2 == 0 { &one } else { &none };
            said.extend(lines(&mut journal, report, start + Duration::from_secs(second)));
        }
        assert!(said.len() < 30, "{said:?}");
        assert_eq!(said[..2], ["raised s 1", "cleared s 1"]);
        assert!(said.contains(&"unsteady 300 false".to_owned()), "{said:?}");
    }

    #[test]
    fn what_stands_on_is_not_said_again_and_its_end_is() {
        let (mut journal, (one, none), start) = (Journal::default(), one(), Instant::now());
        assert_eq!(lines(&mut journal, &one, start).len(), 1);
        for hour in 1..10 {
            assert_eq!(lines(&mut journal, &one, start + Duration::from_secs(3_600 * hour)), [""; 0]);
        }
        assert_eq!(lines(&mut journal, &none, start + Duration::from_secs(36_001)), ["cleared s 1"]);
        assert_eq!(lines(&mut journal, &none, start + Duration::from_secs(72_000)), [""; 0]);
        assert!(journal.told.is_empty(), "and forgotten");
    }

    #[test]
    fn five_hundred_at_once_are_a_few_lines_the_worst_first() {
        let (mut journal, (mut many, none), now) = (Journal::default(), one(), Instant::now());
        let pattern = many.findings[0].clone();
        let finding = |number: usize| Finding {
            subject: format!("peer-{number:03}"),
            severity: if number == 400 { Severity::Critical } else { Severity::Warning },
            ..pattern.clone()
        };
        many.findings = (0..500).map(finding).collect();
        let said = lines(&mut journal, &many, now);
        assert_eq!((said.len(), said[0].as_str()), (NAMED + 1, "raised peer-400 1"));
        assert_eq!(said[NAMED], format!("raised: 490 {}", pattern.code));
        assert_eq!(lines(&mut journal, &none, now).len(), NAMED + 1);
    }
}
