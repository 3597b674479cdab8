//! Storm, healing, quiet, and again: who does what when, and a sample every few seconds throughout.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lab::cluster::{Cluster, Memory};
use lab::recipe::REFERENCE;
use lab::service::{self, Service};
use lab::{Error, Result};

use crate::sample::{self, Phase, Sample, Sampler};
use crate::storm::{Actor, Counts, Stop, Storm};
use crate::{Args, say};

/// How long the agent may take from the last fault healed to a report without a finding.
const RECOVERY: Duration = Duration::from_secs(120);

/// How old the last round may be. An agent can answer HTTP for ever with its rounds at a standstill.
const STANDSTILL: f64 = 60.0;

/// How often the clock and the actors are looked at between two samples.
const TICK: Duration = Duration::from_millis(100);

/// What a run has seen.
#[derive(Default)]
pub(crate) struct Record {
    /// Samples, in order.
    pub(crate) samples: Vec<Sample>,
    cycles: usize,
    counts: Counts,
}

impl Record {
    /// What was done to the network, in a line.
    pub(crate) fn tally(&self) -> String {
        format!("{} cycles: {}", self.cycles, self.counts)
    }
}

/// Runs cycles until the time is over or somebody asks to end. The record is there even if the agent failed.
pub(crate) fn run(args: &Args, csv: Option<File>, asked: &AtomicBool) -> Result<(Record, Result<()>)> {
    let cluster = Cluster::build(REFERENCE)?;
    let memory = cluster.memorise()?;
    let configuration = service::configuration_every(&cluster, 0, args.interval);
    let service = Service::start_with(&cluster, 0, &configuration)?;
    say(&format!("agent {} in {}, seed {}, for {:?}", service.id(), cluster.host(0).name(), args.seed, args.time));
    let sampler = Sampler::new(&service);
    let mut run =
        Run { args, cluster: &cluster, memory, configuration, service, sampler, csv, asked, record: Record::default() };
    let outcome = run.cycles();
    let Run { record, service, .. } = run;
    let outcome = outcome.and_then(|()| end(service));
    Ok((record, outcome))
}

fn end(service: Service<'_>) -> Result<()> {
    let status = service.stop()?;
    if status.success() { Ok(()) } else { Err(Error::new("ending the agent", status)) }
}

struct Run<'a> {
    args: &'a Args,
    cluster: &'a Cluster,
    memory: Memory<'a>,
    configuration: String,
    service: Service<'a>,
    sampler: Sampler,
    csv: Option<File>,
    asked: &'a AtomicBool,
    record: Record,
}

impl Run<'_> {
    fn cycles(&mut self) -> Result<()> {
        if let Some(csv) = &mut self.csv {
            writeln!(csv, "{}", sample::HEADINGS).map_err(unwritten)?;
        }
        self.recover()?;
        let mut rng = Rng::with_seed(self.args.seed);
        let started = Instant::now();
        while started.elapsed() < self.args.time && !self.asked() {
            let warm = self.record.cycles == 0 || started.elapsed() < self.args.time / 10;
            self.storm(&mut rng)?;
            self.recover()?;
            self.watch_for(self.args.quiet, if warm { Phase::Warm } else { Phase::Quiet })?;
            self.record.cycles += 1;
            self.tell();
        }
        Ok(())
    }

    fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// All actors at once until the storm is over, and until each has healed what it broke.
    fn storm(&mut self, rng: &mut Rng) -> Result<()> {
        let stop = Stop::default();
        let (config, configuration) = (self.service.config().to_owned(), self.configuration.clone());
        let storm = Storm {
            cluster: self.cluster,
            stop: &stop,
            config: &config,
            configuration: &configuration,
            agent: self.service.id(),
            pods: self.args.pods,
        };
        let counts = thread::scope(|scope| {
            let start = |actor| {
                let rng = rng.fork();
                scope.spawn(move || storm.act(actor, rng))
            };
            let actors: Vec<_> = Actor::ALL.into_iter().map(start).collect();
            let watched = self.watch_for(self.args.storm, Phase::Storm);
            stop.now();
            let watched = watched.and_then(|()| {
                self.watch_until(Phase::Healing, |_| actors.iter().all(thread::ScopedJoinHandle::is_finished))
            });
            let counts = actors.into_iter().map(|actor| actor.join().expect("a panic ends the whole program"));
            let counts = counts.sum::<Result<Counts>>();
            // An agent that has ended fails both; the watch has seen how.
            watched.and(counts)
        })?;
        self.record.counts += counts;
        self.memory.restore()
    }

    /// Waits until the agent says that nothing is wrong.
    fn recover(&mut self) -> Result<()> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let report = self.look(Phase::Healing)?;
            if report.is_well() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = Error::new(
                    "waiting for the agent to see that all is well",
                    format!("not within {RECOVERY:?}:\n{report}"),
                );
                return Err(self.service.with_log(error));
            }
            thread::sleep(self.args.every);
        }
    }

    fn watch_for(&mut self, time: Duration, phase: Phase) -> Result<()> {
        let end = Instant::now() + time;
        self.watch_until(phase, |run| Instant::now() >= end || run.asked())
    }

    fn watch_until(&mut self, phase: Phase, done: impl Fn(&Self) -> bool) -> Result<()> {
        loop {
            let next = Instant::now() + self.args.every;
            self.look(phase)?;
            while Instant::now() < next {
                if done(self) {
                    return Ok(());
                }
                thread::sleep(TICK);
            }
        }
    }

    /// One sample; an agent that is dead, silent or at a standstill ends the run.
    fn look(&mut self, phase: Phase) -> Result<lab::report::Report> {
        self.service.check_alive()?;
        let seen = self.sampler.look(&self.service, phase).map_err(|error| self.service.with_log(error))?;
        let (sample, report) = seen;
        if let Some(csv) = &mut self.csv {
            writeln!(csv, "{sample}").map_err(unwritten)?;
        }
        let age = sample.round_age;
        self.record.samples.push(sample);
        if age > STANDSTILL {
            let error =
                Error::new("looking at the agent", format!("it answers, but its last round ended {age:.0} s ago"));
            return Err(self.service.with_log(error));
        }
        Ok(report)
    }

    fn tell(&self) {
        let Some(sample) = self.record.samples.last() else { return };
        say(&format!("{:>6.0} s  cycle {:<4} {}", sample.at, self.record.cycles, sample.brief()));
    }
}

fn unwritten(error: std::io::Error) -> Error {
    Error::new("writing the samples", error)
}
