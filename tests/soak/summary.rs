//! The table and the verdict.
//!
//! **The rule.** Only quiet samples are compared: nothing is broken, no pod of the storm is left, and the agent has said
//! so. The quiet after storms that began in the first tenth of the time is left out, and after the first storm always:
//! tables and heap reach their size in it, and the heap takes several storms until the worst of them has met it at its
//! worst. A leak goes on after that. Of the other quiet samples, in order of time, a figure is *flat* if the median of
//! the last tenth is at most the median of the first tenth × 1.05 plus the figure's constant: the grain in which it is
//! counted. A tenth has at least three samples, or nothing is said.

use std::fmt;

use crate::sample::{Phase, Sample};

/// The part by which a median may grow.
const GROWTH: f64 = 1.05;

/// Fewest samples in a tenth.
const FEWEST: usize = 3;

/// A figure, as it is judged and shown.
struct Figure {
    name: &'static str,
    of: fn(&Sample) -> f64,
    /// The constant of the rule; a figure without one is shown and not judged.
    slack: Option<f64>,
}

const FIGURES: [Figure; 11] = [
    // Sixty-four pages: what an allocator may give back late.
    figure("resident memory, KiB", |sample| sample.resident, Some(256.0)),
    // The worst storm of many is worse than the worst of a few.
    figure("its peak, KiB", |sample| sample.peak, Some(1024.0)),
    // A connection of ours may still be closing.
    figure("file descriptors", |sample| sample.files, Some(1.0)),
    figure("threads", |sample| sample.threads, Some(0.0)),
    // Counted in hundredths of a second, two seconds apart.
    figure("CPU, % of a core", |sample| sample.cpu, Some(0.5)),
    figure("series", |sample| sample.series, Some(0.0)),
    // Times and counters grow by a digit.
    figure("size of /report, B", |sample| sample.report, Some(64.0)),
    // What a busy neighbour on the machine adds.
    figure("scrape, ms", |sample| sample.scrape, Some(5.0)),
    figure("findings", |sample| sample.findings, Some(0.0)),
    figure("links", |sample| sample.links, Some(0.0)),
    figure("rounds so far", |sample| sample.rounds, None),
];

const fn figure(name: &'static str, of: fn(&Sample) -> f64, slack: Option<f64>) -> Figure {
    Figure { name, of, slack }
}

/// What a run comes to.
pub(crate) struct Verdict {
    rows: Vec<Row>,
    quiet: usize,
}

struct Row {
    name: &'static str,
    first: Option<Spread>,
    last: Option<Spread>,
    whole: Option<Spread>,
    flat: Option<bool>,
}

/// Judges samples, in order of time.
pub(crate) fn judge(samples: &[Sample]) -> Verdict {
    let quiet: Vec<&Sample> = samples.iter().filter(|sample| sample.phase == Phase::Quiet).collect();
    let tenth = quiet.len() / 10;
    let (first, last) = (&quiet[..tenth], &quiet[quiet.len() - tenth..]);
    let row = |Figure { name, of, slack }: &Figure| {
        let spread = |samples: &[&Sample]| Spread::of(samples.iter().map(|sample| of(sample)));
        let (first, last) = (spread(first), spread(last));
        let within = |slack| Some(last?.median <= first?.median * GROWTH + slack);
        let flat = slack.filter(|_| tenth >= FEWEST).and_then(within);
        Row { name, first, last, whole: Spread::of(samples.iter().map(of)), flat }
    };
    Verdict { rows: FIGURES.iter().map(row).collect(), quiet: quiet.len() }
}

impl Verdict {
    /// Whether everything that is judged is flat.
    pub(crate) fn flat(&self) -> bool {
        self.enough() && self.rows.iter().all(|row| row.flat != Some(false))
    }

    fn enough(&self) -> bool {
        self.quiet / 10 >= FEWEST
    }

    fn words(&self) -> String {
        let quiet = self.quiet;
        if !self.enough() {
            return format!("too short to say: {quiet} quiet samples, {} are needed", FEWEST * 10);
        }
        let grown: Vec<_> = self.rows.iter().filter(|row| row.flat == Some(false)).map(|row| row.name).collect();
        if grown.is_empty() {
            return format!("flat, by {quiet} quiet samples");
        }
        format!("NOT FLAT, by {quiet} quiet samples: {}", grown.join("; "))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["first tenth of quiet", "last tenth of quiet", "whole run"];
        writeln!(f, "{:22}{:>27}{:>27}{:>27}", "least / median / most", heads[0], heads[1], heads[2])?;
        for Row { name, first, last, whole, flat } in &self.rows {
            let cell = |spread: &Option<Spread>| spread.map_or("-".to_owned(), |spread| spread.to_string());
            let flat = flat.map_or("", |flat| if flat { "flat" } else { "GROWN" });
            writeln!(f, "{name:22}{:>27}{:>27}{:>27}  {flat}", cell(first), cell(last), cell(whole))?;
        }
        writeln!(f, "rule: of quiet samples after the first tenth of the time, and after the first storm at least,")?;
        writeln!(f, "  median of the last tenth <= median of the first tenth x {GROWTH} + a constant:")?;
        let slacks = FIGURES.iter().filter_map(|figure| Some(format!("{} {}", figure.name, figure.slack?)));
        writeln!(f, "  {}", slacks.collect::<Vec<_>>().join("; "))?;
        writeln!(f, "verdict: {}", self.words())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Self { least: *values.first()?, median: values[values.len() / 2], most: *values.last()? })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |value: f64| if value.fract() == 0.0 { 0 } else { 1 };
        let Self { least, median, most } = *self;
        write!(f, "{least:.*} / {median:.*} / {most:.*}", digits(least), digits(median), digits(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(phase: Phase, resident: f64) -> Sample {
        Sample {
            at: 0.0,
            phase,
            resident,
            peak: 9000.0,
            files: 12.0,
            threads: 2.0,
            cpu_seconds: 0.0,
            cpu: 1.0,
            series: 200.0,
            report: 4000.0,
            scrape: 1.0,
            links: 5.0,
            findings: 0.0,
            rounds: 0.0,
            round_age: 0.0,
        }
    }

    fn run(residents: impl Iterator<Item = f64>) -> Vec<Sample> {
        residents.map(|resident| sample(Phase::Quiet, resident)).collect()
    }

    #[test]
    fn what_stays_is_flat_and_what_creeps_is_not() {
        assert!(judge(&run((0..100).map(|_| 8000.0))).flat());
        let creeping = judge(&run((0..100).map(|at| 8000.0 + 10.0 * f64::from(at))));
        assert!(!creeping.flat());
        assert!(creeping.to_string().contains("NOT FLAT, by 100 quiet samples: resident memory, KiB\n"), "{creeping}");
    }

    #[test]
    fn the_constant_and_the_five_per_cent_are_the_edge() {
        let from_to = |last| judge(&run((0..100).map(|at| if at < 50 { 8000.0 } else { last }))).flat();
        assert!(from_to(8000.0 * GROWTH + 256.0));
        assert!(!from_to(8000.0 * GROWTH + 257.0));
    }

    #[test]
    fn storms_and_the_warm_up_are_not_compared() {
        let mut samples = vec![sample(Phase::Warm, 1.0); 50];
        samples.extend(run((0..100).map(|_| 8000.0)));
        samples.extend(vec![sample(Phase::Storm, 90_000.0); 50]);
        assert!(judge(&samples).flat());
    }

    #[test]
    fn a_short_run_proves_nothing() {
        let short = judge(&run((0..29).map(|_| 8000.0)));
        assert!(!short.flat() && short.to_string().contains("too short to say: 29 quiet samples, 30 are needed"));
        assert!(!judge(&[]).flat());
    }
}
