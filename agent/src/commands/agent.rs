//! `mtuscope agent`: rounds for ever, results over HTTP.
//!
//! Two threads, each with an event loop of its own. This one owns the probes and nothing else; the other serves the
//! latest published round. Whatever happens to HTTP, probing keeps its time. Capabilities are raised before the second
//! thread starts, since they belong to a thread.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use probes::report::{Finding, Published, Report, Severity};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::print::{self, LogFormat};
use super::{ConfigFlag, checks};
use crate::config::Settings;
use crate::driver;
use crate::outcome::{Colour, Failure, Outcome};
use crate::publish::http::{self, Bounds, Site};
use crate::publish::{REVISION, VERSION};

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo mtuscope agent --config /etc/mtuscope.yaml --listen 127.0.0.1:9747
  curl '127.0.0.1:9747/report?format=text'

Environment:
  MTUSCOPE_LOG sets the level of the logs, as in MTUSCOPE_LOG=debug
  NODE_NAME is the node's name where the configuration does not say it")]
pub struct Args {
    #[command(flatten)]
    config: ConfigFlag,
    /// Where to serve HTTP; outweighs the configuration (`[::]:9747` if neither says)
    #[arg(long, value_name = "ADDR:PORT", env = "MTUSCOPE_LISTEN", value_parser = super::listen)]
    listen: Option<SocketAddr>,
    /// How logs look
    #[arg(long, value_enum, value_name = "FORMAT", env = "MTUSCOPE_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// Runs the command until a signal ends it.
pub(crate) fn run(args: &Args, colour: Colour) -> Result<Outcome, Failure> {
    print::log("info", args.log_format, colour)?;
    let mut settings = args.config.load()?;
    settings.listen = args.listen.unwrap_or(settings.listen);
    let listener = http::bind(settings.listen).map_err(|error| cannot_listen(settings.listen, &error))?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    let node = &settings.probes.node;
    tracing::info!(version = VERSION, revision = REVISION, %node, listen = %address, "mtuscope starts");
    super::runtime()?.block_on(serve(settings, listener))
}

fn cannot_listen(listen: SocketAddr, error: &io::Error) -> Failure {
    let check = match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there (ss -tlnp shows which), or choose with --listen",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    };
    Failure(format!("cannot listen on {listen}: {error}{check}"))
}

async fn serve(settings: Settings, listener: TcpListener) -> Result<Outcome, Failure> {
    let handler = |kind| signal(kind).map_err(|error| Failure(format!("cannot handle signals: {error}")));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    crate::io::rights::raise();
    let (publish, published) = watch::channel(None);
    let site = Site {
        published,
        limits: settings.metrics,
        codes: checks::codes(),
        vantage: settings.probes.vantage,
        proc: Path::new("/proc").into(),
    };
    let mut web = Web::start(listener, site)?;
    let mut journal = Journal::default();
    let on_round = |round: Arc<Published>| {
        log_round(&round);
        journal.write(&round.report);
        publish.send_replace(Some(round));
        ControlFlow::Continue(())
    };
    tokio::select! {
        outcome = driver::drive(driver::standing(settings.probes, settings.host_root), on_round) => match outcome {
            Ok(()) => Err(Failure("rounds ended by themselves".into())),
            Err(unread) => Err(Failure(format!("cannot read the kernel's tables: {unread}"))),
        },
        why = web.ended() => Err(Failure(format!("HTTP ended: {why}"))),
        _ = terminate.recv() => Ok(stopped("SIGTERM")),
        _ = interrupt.recv() => Ok(stopped("SIGINT")),
    }
}

fn stopped(by: &str) -> Outcome {
    tracing::info!(by, "mtuscope stops");
    Outcome::Fine
}

fn log_round(round: &Published) {
    let summary = &round.report.summary;
    let counts = summary.findings;
    tracing::debug!(
        peers = summary.peers,
        paths = round.report.paths.len(),
        critical = counts.critical,
        warning = counts.warning,
        not_concluded = summary.not_concluded,
        "round finished"
    );
}

/// Loud findings as last logged: each is said when it comes and when it goes, and not again in between.
#[derive(Debug, Default)]
struct Journal {
    told: BTreeSet<(&'static str, String)>,
}

impl Journal {
    fn write(&mut self, report: &Report) {
        let (raised, cleared) = self.changes(report);
        for finding in raised {
            let Finding { code, severity, subject, summary, .. } = finding;
            let severity = severity.name();
            match finding.severity {
                Severity::Info => tracing::info!(code, severity, subject, "raised: {summary}"),
                Severity::Warning | Severity::Critical => tracing::warn!(code, severity, subject, "raised: {summary}"),
            }
        }
        for (code, subject) in cleared {
            tracing::info!(code, subject, "cleared");
        }
    }

    fn changes<'r>(&mut self, report: &'r Report) -> (Vec<&'r Finding>, Vec<(&'static str, String)>) {
        let loud = || report.findings.iter().filter(|finding| finding.silenced_by.is_none());
        let name = |finding: &Finding| (finding.code, finding.subject.clone());
        let now: BTreeSet<_> = loud().map(name).collect();
        let raised = loud().filter(|finding| !self.told.contains(&name(finding))).collect();
        let cleared = self.told.difference(&now).cloned().collect();
        self.told = now;
        (raised, cleared)
    }
}

/// The HTTP thread, ended when this is dropped.
struct Web {
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<String>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Web {
    fn start(listener: TcpListener, site: Site) -> Result<Self, Failure> {
        let runtime = super::runtime()?;
        let (stop, stopped) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        let work = move || {
            let failed = runtime.block_on(async {
                tokio::select! {
                    outcome = http::serve(listener, site, Bounds::default()) => outcome.err(),
                    _ = stopped => None,
                }
            });
            if let Some(error) = failed {
                // Nobody listens only if the agent is ending anyway.
                _ = tell.send(error.to_string());
            }
        };
        let thread = thread::Builder::new().name("http".into()).spawn(work);
        let thread = thread.map_err(|error| Failure(format!("cannot start the HTTP thread: {error}")))?;
        Ok(Self { stop: Some(stop), ended, thread: Some(thread) })
    }

    /// Why the thread ended, when it does.
    async fn ended(&mut self) -> String {
        (&mut self.ended).await.unwrap_or_else(|_| "its thread is gone".into())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::example;

    #[test]
    fn a_finding_is_said_when_it_comes_and_when_it_goes() {
        let mut journal = Journal::default();
        let mut report = example::published().report.as_ref().clone();
        let loud = report.findings.iter().filter(|finding| finding.silenced_by.is_none()).count();
        assert!(loud > 0 && loud < report.findings.len(), "the example has consequences too");
        assert_eq!(journal.changes(&report).0.len(), loud);
        let (raised, cleared) = journal.changes(&report);
        assert!(raised.is_empty() && cleared.is_empty(), "nothing is said twice");
        report.findings.clear();
        assert_eq!(journal.changes(&report).1.len(), loud);
        assert!(journal.changes(&report).1.is_empty());
    }

    #[test]
    fn a_port_in_use_says_how_to_see_by_whom() {
        let taken = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = http::bind(address).unwrap_err();
        let Failure(why) = cannot_listen(address, &error);
        assert!(why.starts_with(&format!("cannot listen on {address}: ")), "{why}");
        assert!(why.contains("another program listens there (ss -tlnp"), "{why}");
    }
}
