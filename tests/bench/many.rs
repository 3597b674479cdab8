//! A thousand targets at full size: on the far node behind two routers, and on this machine itself, where nothing but the
//! tools takes time.
//!
//! In process is the agent's library, driven as `probe` drives it: from opening its sockets and reading the kernel's
//! tables to a published report of all paths. Its packet budget is as large as an operator can set it, since the
//! question is what it could do; whole processes run as they ship.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use agent::driver;
use lab::namespace::Namespace;
use lab::recipe::Role;
use lab::{Error, Result};
use probes::config::{Config, StaticPeer};
use probes::path::VerdictName;
use probes::report::Published;
use probes::units::Dual;
use tokio::runtime;

use crate::bed::{self, Bed};
use crate::blackbox::Blackbox;
use crate::loss::{accused, unreachable};
use crate::measure::{Millis, Record, Run, Series};
use crate::note;
use crate::table::{Goal, Section};
use crate::tools::Tools;

const ROW: &str = "many";

/// How many targets.
const TARGETS: u16 = 1000;

/// The most packets in a second that a configuration may ask for.
const UNBOUNDED: u32 = 100_000;

/// What a round in process may take, in milliseconds.
const IN_PROCESS_GOAL: f64 = 40.0;

/// A tool and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    InProcess,
    Mtuscope,
    QuickFping,
    Fping,
    Blackbox,
    ManyBlackbox,
}

impl Contestant {
    const ALL: [Self; 6] =
        [Self::InProcess, Self::Mtuscope, Self::QuickFping, Self::Fping, Self::Blackbox, Self::ManyBlackbox];

    const fn name(self) -> &'static str {
        match self {
            Self::InProcess => "mtuscope, in process",
            Self::Mtuscope => "mtuscope probe",
            Self::QuickFping => "fping -i0 -M -b 1472",
            Self::Fping => "fping -M -b 1472",
            Self::Blackbox => "blackbox exporter, one at a time",
            Self::ManyBlackbox => "blackbox exporter, 50 at once",
        }
    }
}

/// Plays all tools in both places.
///
/// # Errors
/// If a network cannot be built, or a tool does not run.
pub(crate) fn measure(tools: &Tools, record: &mut Record) -> Result<Section> {
    let cluster = bed::network()?;
    let far = Bed::new(cluster.host(0), cluster.link(Role::Nic)?, bed::FAR)?;
    let alone = Namespace::new("alone")?;
    alone.sh("ip link set dev lo mtu 1500")?;
    let here = Bed::new(&alone, "lo", "127.1.0.0/16")?;
    let places = [("far node", &far, bed::far(TARGETS)), ("127/8", &here, bed::spread([127, 1], TARGETS))];
    let mut results = Vec::new();
    for (name, bed, targets) in places {
        let place = Place { tools, bed, blackbox: Blackbox::start(bed)?, targets };
        let play = |contestant: Contestant| {
            note(&format!("{ROW}: {name}: {}", contestant.name()));
            record.repeat(ROW, name, contestant.name(), || place.run(contestant))
        };
        results.push((name, Contestant::ALL.into_iter().map(play).collect::<Result<Vec<_>>>()?));
    }
    Ok(section(&results))
}

struct Place<'b> {
    tools: &'b Tools,
    bed: &'b Bed<'b>,
    blackbox: Blackbox<'b>,
    targets: Vec<Ipv4Addr>,
}

impl Place<'_> {
    fn run(&self, contestant: Contestant) -> Result<Run> {
        let node = self.bed.node;
        match contestant {
            Contestant::InProcess => self.in_process(),
            Contestant::Mtuscope => {
                let done =
                    self.bed.run(self.with(node.command(&self.tools.mtuscope), &["probe", "--output", "json"]))?;
                Ok(run(accused(&done)?, done.packets, done.wall_ms))
            }
            Contestant::QuickFping => self.fping(&["-i0", "-M", "-b", "1472", "-u"]),
            Contestant::Fping => self.fping(&["-M", "-b", "1472", "-u"]),
            Contestant::Blackbox => self.ask(1),
            Contestant::ManyBlackbox => self.ask(50),
        }
    }

    fn with(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).args(self.targets.iter().map(Ipv4Addr::to_string));
        command
    }

    fn fping(&self, arguments: &[&str]) -> Result<Run> {
        let done = self.bed.run(self.with(self.bed.node.command("fping"), arguments))?;
        Ok(run(unreachable(&done)?, done.packets, done.wall_ms))
    }

    fn ask(&self, at_once: usize) -> Result<Run> {
        let asked = self.blackbox.ask(&self.targets, at_once)?;
        Ok(run((asked.refused, 0), asked.packets, asked.wall_ms))
    }

    fn in_process(&self) -> Result<Run> {
        let config = configuration(&self.targets);
        // Entering the namespace is the lab's cost; the clock runs inside.
        let (driven, _, packets) = self.bed.metered(|| self.bed.node.inside(|| drive(config)))?;
        let (wall_ms, published) = driven??;
        let verdict = |wanted| published.report.paths.iter().filter(|path| path.verdict == wanted).count();
        let (clear, unknown) = (verdict(VerdictName::Clear), verdict(VerdictName::Unknown));
        Ok(run((self.targets.len() - clear - unknown, unknown), packets, wall_ms))
    }
}

fn run((wrong, unsaid): (usize, usize), packets: u64, wall_ms: f64) -> Run {
    let (packets, wall_ms) = (Some(packets), Some(wall_ms));
    Run { wrong: Some(wrong), unsaid: Some(unsaid), packets, wall_ms, ..Run::default() }
}

fn configuration(targets: &[Ipv4Addr]) -> Config {
    let mut config = Config::new("bench");
    config.peers.kernel = false;
    config.peers.this_machine = true;
    config.probing.confirm_rounds = 1;
    config.probing.packets_per_second = UNBOUNDED;
    config.peers.fixed = targets
        .iter()
        .map(|&target| StaticPeer {
            name: target.to_string(),
            underlay: IpAddr::from(target).into(),
            overlay: Dual::NONE,
            pods: Vec::new(),
        })
        .collect();
    config
}

/// One round of the agent's own driver, where the caller is: milliseconds, and what it published.
fn drive(config: Config) -> Result<(f64, Arc<Published>)> {
    let failed = |error: String| Error::new("driving the agent's library", error);
    let started = std::time::Instant::now();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let mut round = None;
    let on_publish = |published: Arc<Published>| {
        round = Some((bed::millis(started.elapsed()), published));
        ControlFlow::Break(())
    };
    let driven = runtime.block_on(driver::drive(driver::standing(config, PathBuf::from("/")), on_publish));
    driven.map_err(|unread| failed(unread.to_string()))?;
    round.ok_or_else(|| failed("it published nothing".into()))
}

fn section(results: &[(&'static str, Vec<Series>)]) -> Section {
    let cell = |series: &Series| {
        let wall = series.wall().map(|wall| Millis(wall).to_string()).unwrap_or_default();
        let packets = series.packets_said();
        let wrong = match series.wrong() + series.unsaid() {
            0 => String::new(),
            wrong => format!("; **{wrong} wrong** of {}", series.len() * usize::from(TARGETS)),
        };
        format!("{wall}; {packets}{wrong}")
    };
    let rows = Contestant::ALL.iter().enumerate().map(|(at, contestant)| {
        let name = format!("`{}`", contestant.name());
        std::iter::once(name).chain(results.iter().map(|(_, series)| cell(&series[at]))).collect()
    });
    let mut goals = Vec::new();
    for (place, series) in results {
        let median = |contestant| {
            let at = Contestant::ALL.iter().position(|one| *one == contestant).expect("all are listed");
            series[at].wall().map(|wall| wall.median)
        };
        let ms = |wall: f64| format!("{wall:.1} ms");
        goals.push(Goal::at_most(format!("{place}: in process"), median(Contestant::InProcess), IN_PROCESS_GOAL, ms));
        let fping = median(Contestant::QuickFping).unwrap_or_default();
        let what = format!("{place}: whole process faster than fping -i0");
        goals.push(Goal::at_most(what, median(Contestant::Mtuscope), fping, ms));
    }
    Section {
        title: "1,000 targets at full size",
        how: "All targets carry 1,500 B: 1,000 addresses of the far node behind two routers, and 1,000 of this machine \
              itself (127/8, its link set to 1,500 B). mtuscope sends a small and a full packet to each, the others one. \
              In process is the agent's library from opening its sockets to a report; the exporter runs already."
            .into(),
        heads: std::iter::once("tool").chain(results.iter().map(|(place, _)| *place)).collect(),
        rows: rows.collect(),
        goals,
    }
}
