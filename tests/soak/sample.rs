//! One look at the agent: what it holds and what it says, from outside.

use std::fmt;
use std::fs;
use std::time::Instant;

use jiff::Timestamp;
use lab::http::Response;
use lab::report::Report;
use lab::service::Service;
use lab::{Error, Result};

/// Clock ticks per second in `/proc/<pid>/stat`: part of the kernel's ABI.
const USER_HZ: f64 = 100.0;

/// Time in seconds over which a use of the CPU is worked out, at least.
const SHORTEST: f64 = 0.5;

/// What was going on when a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Things break.
    Storm,
    /// Things were healed, and the agent has yet to say so.
    Healing,
    /// All is well, after one of the first storms: tables and heap are still reaching their size.
    Warm,
    /// All is well.
    Quiet,
}

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// What was going on.
    pub(crate) phase: Phase,
    /// `VmRSS` in KiB.
    pub(crate) resident: f64,
    /// `VmHWM` in KiB.
    pub(crate) peak: f64,
    /// Open file descriptors.
    pub(crate) files: f64,
    /// Threads.
    pub(crate) threads: f64,
    /// User and system time so far, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Part of one core since the sample before, in per cent.
    pub(crate) cpu: f64,
    /// Series in `/metrics`.
    pub(crate) series: f64,
    /// Size of `/report`, in bytes.
    pub(crate) report: f64,
    /// How long `/metrics` took, in milliseconds.
    pub(crate) scrape: f64,
    /// Links in the report's node, pods' links included.
    pub(crate) links: f64,
    /// Findings.
    pub(crate) findings: f64,
    /// Rounds seen so far.
    pub(crate) rounds: f64,
    /// How long ago the last round ended, in seconds.
    pub(crate) round_age: f64,
}

/// The first line of the CSV.
pub(crate) const HEADINGS: &str = "seconds,phase,rss_kib,hwm_kib,fds,threads,cpu_seconds,cpu_percent,series,report_bytes,\
    scrape_ms,links,findings,rounds,round_age_seconds";

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, phase, resident, peak, files, threads, cpu_seconds, cpu, .. } = self;
        let Self { series, report, scrape, links, findings, rounds, round_age, .. } = self;
        let phase = format!("{phase:?}").to_lowercase();
        write!(f, "{at:.1},{phase},{resident},{peak},{files},{threads},{cpu_seconds:.2},{cpu:.2},{series},{report},")?;
        write!(f, "{scrape:.2},{links},{findings},{rounds},{round_age:.1}")
    }
}

impl Sample {
    /// What changes most, for a line on the way.
    pub(crate) fn brief(&self) -> String {
        let Self { resident, peak, files, cpu_seconds, series, rounds, .. } = self;
        format!(
            "resident {resident} KiB (peak {peak}), {files} files, {cpu_seconds:.1} s of CPU, {series} series, {rounds} rounds"
        )
    }
}

/// Takes samples of one agent.
pub(crate) struct Sampler {
    started: Instant,
    process: String,
    rounds: usize,
    last_round: f64,
    last_cpu: Option<(f64, f64)>,
    cpu: f64,
}

impl Sampler {
    pub(crate) fn new(service: &Service<'_>) -> Self {
        let process = format!("/proc/{}", service.id());
        Self { started: Instant::now(), process, rounds: 0, last_round: 0.0, last_cpu: None, cpu: 0.0 }
    }

    /// Looks at the process and at all that it serves.
    ///
    /// # Errors
    /// If anything is not there: the agent is dead or silent.
    pub(crate) fn look(&mut self, service: &Service<'_>, phase: Phase) -> Result<(Sample, Report)> {
        get(service, "/livez")?;
        let asked = Instant::now();
        let metrics = get(service, "/metrics")?;
        let scrape = asked.elapsed().as_secs_f64() * 1000.0;
        let text = get(service, "/report")?;
        let report = Report::parse(&text)?;
        let round_age = self.round_age(&metrics)?;
        let at = self.started.elapsed().as_secs_f64();
        let status = self.read("status")?;
        let cpu_seconds = cpu_seconds(&self.read("stat")?)?;
        let sample = Sample {
            at,
            phase,
            resident: field(&status, "VmRSS:")?,
            peak: field(&status, "VmHWM:")?,
            files: self.files()?,
            threads: field(&status, "Threads:")?,
            cpu_seconds,
            cpu: self.cpu(at, cpu_seconds),
            series: metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count() as f64,
            report: text.len() as f64,
            scrape,
            links: report.links.len() as f64,
            findings: report.findings.len() as f64,
            rounds: self.rounds as f64,
            round_age,
        };
        Ok((sample, report))
    }

    /// Samples come more often than rounds, so each new end of a round is one.
    fn round_age(&mut self, metrics: &str) -> Result<f64> {
        let name = "mtuscope_last_round_timestamp_seconds";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let ended: f64 = value.ok_or_else(|| Error::new(format!("looking for {name} in /metrics"), "it is missing"))?;
        if ended > self.last_round {
            self.rounds += 1;
            self.last_round = ended;
        }
        Ok(Timestamp::now().as_duration().as_secs_f64() - ended)
    }

    /// Over what is too short for the kernel's ticks, it is what it was before.
    fn cpu(&mut self, at: f64, seconds: f64) -> f64 {
        let (since, before) = *self.last_cpu.get_or_insert((at, seconds));
        if at - since >= SHORTEST {
            self.cpu = (seconds - before) / (at - since) * 100.0;
            self.last_cpu = Some((at, seconds));
        }
        self.cpu
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("{}/{file}", self.process);
        fs::read_to_string(&path).map_err(|error| Error::new(format!("reading {path}"), error))
    }

    fn files(&self) -> Result<f64> {
        let path = format!("{}/fd", self.process);
        let list = fs::read_dir(&path).map_err(|error| Error::new(format!("reading {path}"), error))?;
        Ok(list.count() as f64)
    }
}

fn get(service: &Service<'_>, path: &str) -> Result<String> {
    match service.get(path, "*/*")? {
        Response { status: 200, body, .. } => Ok(body),
        Response { status, body, .. } => Err(Error::new(format!("asking for {path}"), format!("{status} {body}"))),
    }
}

fn field(status: &str, name: &str) -> Result<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error::new(format!("looking for {name} in /proc/PID/status"), status))
}

/// User and system time. The program's name may hold spaces and brackets, so fields count from the last bracket.
fn cpu_seconds(stat: &str) -> Result<f64> {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let ticks: Option<Vec<f64>> = fields.and_then(|fields| fields.map(|field| field.parse().ok()).collect());
    let ticks = ticks.filter(|ticks| ticks.len() == 2);
    Ok(ticks.ok_or_else(|| Error::new("reading /proc/PID/stat", stat))?.iter().sum::<f64>() / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_shifts_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 3 0 12345 1000 20 1844";
        assert_eq!(cpu_seconds(stat).unwrap(), 4.0);
        assert!(cpu_seconds("7 (a) S 1").is_err());
    }

    #[test]
    fn a_field_is_the_number_after_its_name() {
        assert_eq!(field("Name:\tx\nVmRSS:\t    1024 kB\n", "VmRSS:").unwrap(), 1024.0);
        assert!(field("Name:\tx\n", "VmRSS:").is_err(), "a process that has ended shows none");
    }
}
