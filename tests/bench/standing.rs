//! The agent while it stands: what a machine gives for it when nothing is wrong.
//!
//! The shipped program runs with its default interval, in a node whose peers are all clean, and is scraped once a round as
//! Prometheus would. What counts begins after the first round. Memory is looked at every two seconds.
//!
//! The lab's wires are in memory, so what routers and peers do with a packet happens in the sender's own system call and is
//! counted as the agent's time: on a real NIC it is less.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use lab::http;
use lab::recipe::Role;
use lab::wait::{self, Look};
use lab::{Error, Result};

use crate::bed::{self, Bed, Server};
use crate::measure::{Record, Run, Series};
use crate::note;
use crate::table::{Goal, Section};
use crate::tools::Tools;

const ROW: &str = "agent";

/// Peers, and the most resident memory that they may take, in MiB.
const CASES: [(&str, u16, f64); 2] = [("1,000 peers", 1000, 16.0), ("5 peers", 5, 8.0)];

/// The part of a core that 1,000 peers may take, in per cent.
const CPU_GOAL: f64 = 0.5;

/// The agent's default.
const INTERVAL: Duration = Duration::from_secs(30);

/// Time between two looks at its memory.
const LOOK: Duration = Duration::from_secs(2);

const LISTENS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9747);

/// Watches an agent with many peers, then one with few.
///
/// # Errors
/// If the agent does not start, ends, or finds something where nothing is wrong.
pub(crate) fn measure(tools: &Tools, time: Duration, record: &mut Record) -> Result<Section> {
    let rounds = (time.as_secs_f64() / INTERVAL.as_secs_f64()).round().max(1.0) as usize;
    let mut results = Vec::new();
    for (case, peers, _) in CASES {
        note(&format!("{ROW}: {case} for {rounds} rounds"));
        let series = watch(tools, case, peers, rounds)?;
        record.extend(&series);
        results.push(series);
    }
    Ok(section(&results, rounds))
}

fn watch(tools: &Tools, case: &'static str, peers: u16, rounds: usize) -> Result<Series> {
    let cluster = bed::network()?;
    let bed = Bed::new(cluster.host(0), cluster.link(Role::Nic)?, bed::FAR)?;
    let agent = Agent::start(tools, &bed, peers, &format!("interval: {}s", INTERVAL.as_secs()))?;
    let series = (1..=rounds).map(|run| agent.round(case, run)).collect::<Result<_>>()?;
    agent.is_well()?;
    Ok(Series(series))
}

fn configuration(peers: u16, probing: &str) -> String {
    let mut text = format!("node: bench\nprobing: {{ {probing} }}\npeers:\n  static:\n");
    for (at, peer) in bed::far(peers).iter().enumerate() {
        let _ = writeln!(text, "    - {{ name: peer-{at}, underlay: {peer} }}");
    }
    text
}

/// A running agent.
pub(crate) struct Agent<'b> {
    server: Server,
    bed: &'b Bed<'b>,
}

impl<'b> Agent<'b> {
    /// Starts it with so many peers on the far node, and waits until its first round is done.
    ///
    /// # Errors
    /// If it does not start; with what it logged.
    pub(crate) fn start(tools: &Tools, bed: &'b Bed<'b>, peers: u16, probing: &str) -> Result<Self> {
        let file = bed.file("mtuscope.yaml");
        fs::write(&file, configuration(peers, probing))
            .map_err(|error| Error::new("writing the agent's configuration", error))?;
        let mut command = bed.node.command(&tools.mtuscope);
        command.arg("agent").arg("--config").arg(&file).args(["--listen", &LISTENS.to_string()]);
        let agent = Self { server: Server::start(command, &bed.file("log"))?, bed };
        agent.await_ready()?;
        Ok(agent)
    }

    /// Where it serves, in its node.
    pub(crate) const fn address(&self) -> SocketAddr {
        LISTENS
    }

    fn await_ready(&self) -> Result<()> {
        let ready = wait::until("the agent to be ready", || {
            Ok(match http::get(self.bed.node, LISTENS, "/readyz", "*/*") {
                Ok(http::Response { status: 200, .. }) => Look::There(()),
                Ok(response) => Look::NotYet(response.body),
                Err(error) => Look::NotYet(error.to_string()),
            })
        });
        ready.map_err(|error| error.check(fs::read_to_string(self.bed.file("log")).unwrap_or_default()))
    }

    /// The time of one round: what it took of a core, and the most memory that was seen.
    fn round(&self, case: &str, run: usize) -> Result<Run> {
        let (started, packets, cpu) = (Instant::now(), self.bed.packets()?, self.cpu()?);
        http::get(self.bed.node, LISTENS, "/metrics", "*/*")?;
        let mut rss_kib: f64 = 0.0;
        while started.elapsed() < INTERVAL {
            rss_kib = rss_kib.max(self.resident()?);
            thread::sleep(LOOK.min(INTERVAL.saturating_sub(started.elapsed())));
        }
        let used = (self.cpu()? - cpu).as_secs_f64() / started.elapsed().as_secs_f64();
        Ok(Run {
            row: ROW,
            case: case.to_owned(),
            tool: "mtuscope agent",
            run,
            packets: Some(self.bed.packets()? - packets),
            cpu_percent: Some(used * 100.0),
            rss_kib: Some(rss_kib),
            ..Run::default()
        })
    }

    /// A figure of an agent that measures nothing is worth nothing.
    ///
    /// # Errors
    /// If anything is wrong, or nothing measured.
    pub(crate) fn is_well(&self) -> Result<()> {
        let report = http::get(self.bed.node, LISTENS, "/report?format=text", "*/*")?.body;
        let first = report.lines().next().unwrap_or_default().to_owned();
        let clear = report.lines().any(|line| line.contains("paths clear")) && first.starts_with("HEALTHY");
        if clear { Ok(()) } else { Err(Error::new("reading the agent's report", first).check(report)) }
    }

    /// Time on a core since the process began, to the nanosecond.
    fn cpu(&self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.server.id());
        let failed = |error| Error::new(format!("reading {tasks}"), error);
        let mut total = Duration::ZERO;
        for task in fs::read_dir(&tasks).map_err(failed)? {
            let text = fs::read_to_string(task.map_err(failed)?.path().join("schedstat")).map_err(failed)?;
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            total += Duration::from_nanos(nanos.ok_or_else(|| Error::new(format!("reading {tasks}"), &text))?);
        }
        Ok(total)
    }

    fn resident(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.server.id());
        let status = fs::read_to_string(&path).map_err(|error| Error::new(format!("reading {path}"), error))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Error::new(format!("looking for VmRSS in {path}"), "the agent has ended"))
    }
}

fn section(results: &[Series], rounds: usize) -> Section {
    let mib = |kib: f64| kib / 1024.0;
    let row = |((case, ..), series): (&(&str, u16, f64), &Series)| {
        let digits = |spread: Option<crate::measure::Spread>, digits| spread.map(|spread| spread.digits(digits));
        let memory = series.rss().map(|rss| crate::measure::Spread {
            least: mib(rss.least),
            median: mib(rss.median),
            most: mib(rss.most),
        });
        vec![
            (*case).to_owned(),
            digits(series.cpu(), 3).unwrap_or_default(),
            digits(memory, 1).unwrap_or_default(),
            digits(series.packets(), 0).unwrap_or_default(),
        ]
    };
    let cpu = results[0].cpu().map(|cpu| cpu.median);
    let mut goals =
        vec![Goal::at_most("1,000 peers: CPU of one core", cpu, CPU_GOAL, |percent| format!("{percent:.2} %"))];
    for ((case, _, most), series) in CASES.iter().zip(results) {
        let seen = series.rss().map(|rss| mib(rss.most));
        goals.push(Goal::at_most(format!("{case}: resident memory"), seen, *most, |mib| format!("{mib:.1} MiB")));
    }
    Section {
        title: "The agent, standing",
        how: format!(
            "Every peer is probed every {} s and the agent is scraped as often; {rounds} rounds after the first. Time that \
             the lab's own routers and peers take is in it, since its wires are the sender's memory.",
            INTERVAL.as_secs()
        ),
        heads: vec!["agent with", "CPU, % of a core", "resident, MiB", "packets in 30 s"],
        rows: CASES.iter().zip(results).map(row).collect(),
        goals,
    }
}
