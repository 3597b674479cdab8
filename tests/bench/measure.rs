//! Single runs, and what many of them come to.

use std::fmt;
use std::time::Duration;

use lab::Result;
use serde::Serialize;

/// A run that took longer is not repeated.
const LONG: Duration = Duration::from_secs(20);

/// One run of one tool. What was not measured is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    /// The row of the benchmark.
    pub(crate) row: &'static str,
    /// The case of the row.
    pub(crate) case: String,
    /// The tool, with its settings.
    pub(crate) tool: &'static str,
    /// Which run of this tool in this case, from 1.
    pub(crate) run: usize,
    /// What the tool said.
    pub(crate) answer: Option<String>,
    /// How many targets it was wrong about.
    pub(crate) wrong: Option<usize>,
    /// How many targets it said nothing about.
    pub(crate) unsaid: Option<usize>,
    /// Packets that left the node for the targets.
    pub(crate) packets: Option<u64>,
    /// From start to end, in milliseconds.
    pub(crate) wall_ms: Option<f64>,
    /// Part of one core, in per cent.
    pub(crate) cpu_percent: Option<f64>,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: Option<f64>,
}

/// All runs, in order.
#[derive(Debug)]
pub(crate) struct Record {
    wanted: usize,
    runs: Vec<Run>,
}

impl Record {
    /// An empty record, for this many runs of each.
    pub(crate) fn new(wanted: u32) -> Self {
        Self { wanted: wanted as usize, runs: Vec::new() }
    }

    /// Runs `one` as often as wanted, or once if that took long, and yields the runs.
    pub(crate) fn repeat(
        &mut self,
        row: &'static str,
        case: &str,
        tool: &'static str,
        mut one: impl FnMut() -> Result<Run>,
    ) -> Result<Series> {
        let mut series = Vec::new();
        for number in 1..=self.wanted {
            let run = Run { row, case: case.to_owned(), tool, run: number, ..one()? };
            let long = run.wall_ms.is_some_and(|wall| wall > LONG.as_secs_f64() * 1000.0);
            series.push(run);
            if long {
                break;
            }
        }
        self.runs.extend(series.iter().cloned());
        Ok(Series(series))
    }

    /// Adds runs that were made otherwise.
    pub(crate) fn extend(&mut self, series: &Series) {
        self.runs.extend(series.0.iter().cloned());
    }

    /// All runs as JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.runs).expect("a run is plain numbers and text") + "\n"
    }

    /// All runs as CSV, what was not measured empty.
    pub(crate) fn csv(&self) -> String {
        let lines = self.runs.iter().map(line);
        std::iter::once("row,case,tool,run,answer,wrong,unsaid,packets,wall_ms,cpu_percent,rss_kib\n".to_owned())
            .chain(lines)
            .collect()
    }
}

fn line(run: &Run) -> String {
    let Run { row, case, tool, run: number, answer, wrong, unsaid, packets, wall_ms, cpu_percent, rss_kib } = run;
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let cells = [
        quote(row),
        quote(case),
        quote(tool),
        number.to_string(),
        answer.as_deref().map(quote).unwrap_or_default(),
        wrong.map(|wrong| wrong.to_string()).unwrap_or_default(),
        unsaid.map(|unsaid| unsaid.to_string()).unwrap_or_default(),
        packets.map(|packets| packets.to_string()).unwrap_or_default(),
        wall_ms.map(|wall| format!("{wall:.3}")).unwrap_or_default(),
        cpu_percent.map(|cpu| format!("{cpu:.4}")).unwrap_or_default(),
        rss_kib.map(|rss| format!("{rss:.0}")).unwrap_or_default(),
    ];
    cells.join(",") + "\n"
}

/// Runs of one tool in one case; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Series(pub(crate) Vec<Run>);

impl Series {
    /// Wall times, in milliseconds.
    pub(crate) fn wall(&self) -> Option<Spread> {
        Spread::of(self.0.iter().filter_map(|run| run.wall_ms))
    }

    /// Packets.
    pub(crate) fn packets(&self) -> Option<Spread> {
        Spread::of(self.0.iter().filter_map(|run| run.packets.map(|packets| packets as f64)))
    }

    /// Packets in words.
    pub(crate) fn packets_said(&self) -> String {
        let one = Spread { least: 1.0, median: 1.0, most: 1.0 };
        let word = if self.packets() == Some(one) { "packet" } else { "packets" };
        format!("{} {word}", self.packets().map(|packets| packets.digits(0)).unwrap_or_default())
    }

    /// Part of a core, in per cent.
    pub(crate) fn cpu(&self) -> Option<Spread> {
        Spread::of(self.0.iter().filter_map(|run| run.cpu_percent))
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> Option<Spread> {
        Spread::of(self.0.iter().filter_map(|run| run.rss_kib))
    }

    /// Wrong answers in all runs.
    pub(crate) fn wrong(&self) -> usize {
        self.0.iter().filter_map(|run| run.wrong).sum()
    }

    /// Targets without an answer in all runs.
    pub(crate) fn unsaid(&self) -> usize {
        self.0.iter().filter_map(|run| run.unsaid).sum()
    }

    /// How many runs there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The least, the middle and the most of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The least.
    pub(crate) least: f64,
    /// The median.
    pub(crate) median: f64,
    /// The most.
    pub(crate) most: f64,
}

impl Spread {
    /// Of no figures there is none.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(*values.get(middle.checked_sub(1)?)?, values[middle])
        } else {
            values[middle]
        };
        Some(Self { least: *values.first()?, median, most: *values.last()? })
    }

    /// With this many digits behind the point, as one figure where all are the same.
    pub(crate) fn digits(self, digits: usize) -> String {
        let [least, median, most] = [self.least, self.median, self.most].map(|value| format!("{value:.digits$}"));
        if least == most { most } else { format!("{least} / {median} / {most}") }
    }
}

/// Milliseconds as people read them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Millis(pub(crate) Spread);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { least, median, most } = self.0;
        if median < 1000.0 {
            return write!(f, "{} ms", self.0.digits(usize::from(median < 100.0)));
        }
        let seconds = Spread { least: least / 1000.0, median: median / 1000.0, most: most / 1000.0 };
        write!(f, "{} s", seconds.digits(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0].into_iter()).unwrap().median, 2.5);
        assert_eq!(Spread::of([9.0, 1.0, 3.0].into_iter()).unwrap(), Spread { least: 1.0, median: 3.0, most: 9.0 });
        assert_eq!(Spread::of([].into_iter()), None);
    }

    #[test]
    fn times_have_the_unit_that_fits_them() {
        let show = |values: [f64; 2]| Millis(Spread::of(values.into_iter()).unwrap()).to_string();
        assert_eq!(show([5.04, 5.24]), "5.0 / 5.1 / 5.2 ms");
        assert_eq!(show([810.0, 812.0]), "810 / 811 / 812 ms");
        assert_eq!(show([87_116.0, 87_116.0]), "87.12 s");
    }

    #[test]
    fn a_long_run_is_not_repeated_and_every_run_is_kept() {
        let mut record = Record::new(3);
        let run = |wall| Run { wall_ms: Some(wall), ..Run::default() };
        assert_eq!(record.repeat("path", "clean", "quick", || Ok(run(19_999.0))).unwrap().len(), 3);
        assert_eq!(record.repeat("path", "clean", "slow \"one\"", || Ok(run(20_001.0))).unwrap().len(), 1);
        let csv = record.csv();
        assert_eq!(csv.lines().count(), 1 + 4);
        assert!(csv.ends_with("\"path\",\"clean\",\"slow \"\"one\"\"\",1,,,,,20001.000,,\n"), "{csv}");
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&record.json()).unwrap().len(), 4);
    }
}
