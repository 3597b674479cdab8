//! `mtuscope agent`: rounds for ever, results over HTTP.
//!
//! Four threads, each with an event loop of its own. One owns the probes and nothing else; one serves the latest
//! published round; one hears the Kubernetes API; and this one, which none of them can hold up, minds the rest: signals,
//! the configuration file, and whether the first two live. A signal to end is the end of this thread and with it of the
//! process, whatever the others are in the middle of: no round is waited for, no reader of the kernel's tables, no client.

mod announced;
mod journal;
mod reload;
mod secured;
mod signals;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use probes::peers::announced::Announced;
use probes::report::Published;
use tokio::sync::watch;

use super::{ConfigFlag, checks};
use crate::driver::{self, Orders};
use crate::io::descriptors;
use crate::logs::{self, Logs};
use crate::outcome::{Colour, Failure, Outcome};
use crate::publish::http::{self, Bounds, Site};
use crate::publish::{REVISION, VERSION};
use journal::Journal;
use reload::{Reload, Source, Terms};
use secured::Secured;
use signals::{Signal, Signals};
use worker::Worker;

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo mtuscope agent --config /etc/mtuscope.yaml --listen 127.0.0.1:9747
  curl '127.0.0.1:9747/report?format=text'

Reload:
  a changed configuration file is taken up within seconds, and at once after SIGHUP; a wrong one is
  logged, and the old one stays

Environment:
  MTUSCOPE_LOG sets the level of the logs, as in MTUSCOPE_LOG=debug
  NODE_NAME is the node's name where the configuration does not say it")]
pub struct Args {
    #[command(flatten)]
    config: ConfigFlag,
    /// Where to serve HTTP; outweighs the configuration (`[::]:9747` if neither says)
    #[arg(long, value_name = "ADDR:PORT", env = "MTUSCOPE_LISTEN", value_parser = super::listen)]
    listen: Option<SocketAddr>,
    /// How logs look: text is words and name=value pairs, json an object a line
    #[arg(long, value_enum, value_name = "FORMAT", env = "MTUSCOPE_LOG_FORMAT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    log_format: logs::Format,
}

/// Runs the command until a signal ends it. The process is to end with it: the other threads are not waited for.
pub(crate) fn run(args: &Args, colour: Colour) -> Result<Outcome, Failure> {
    let logs = Logs::start(args.log_format, colour)?;
    logs.end_on_panic();
    descriptors::allow_many();
    let outcome = super::runtime()?.block_on(supervise(args));
    logs.flush();
    outcome
}

async fn supervise(args: &Args) -> Result<Outcome, Failure> {
    // First of all, because the first process of a container ignores signals that it does not handle.
    let mut signals = Signals::new()?;
    let (mut settings, watched) = args.config.watch()?;
    settings.listen = args.listen.unwrap_or(settings.listen);
    let (files, secured) = Secured::read(&settings);
    let secured = secured.map_err(|problems| Failure(format!("bad configuration\n{}", problems.join("\n"))))?;
    let listener = http::bind(settings.listen).map_err(|error| cannot_listen(settings.listen, &error))?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    let node = settings.probes.node.clone();
    let vantage = settings.probes.vantage;
    let (terms, told) = Terms::new(settings, (secured, files.clone()), args.listen, listener)?;
    let (publish, published) = watch::channel(None);
    let site = Site {
        published,
        standing: told.standing,
        orders: told.orders.clone(),
        codes: checks::codes(),
        vantage,
        proc: Path::new("/proc").into(),
        surface: told.surface,
    };
    tracing::info!(version = VERSION, revision = REVISION, %node, listen = %address, "mtuscope starts");
    let mut web = Worker::start("http", move || serve(told.listeners, told.health, site))?;
    let announced = announced::listen(told.kubernetes)?;
    let mut probes = Worker::start("probes", move || rounds(told.orders, announced, publish))?;
    let mut reload = Reload::new(Source::new(watched, args.config.config.is_some()), terms, files);
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => reload.insist(),
                Signal::End(by) => {
                    tracing::info!(by, "mtuscope stops");
                    return Ok(Outcome::Fine);
                }
            },
            why = probes.ended() => return Err(Failure(why)),
            why = web.ended() => return Err(Failure(format!("HTTP ended: {why}"))),
            () = reload.due() => reload.look(),
        }
    }
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

/// What the thread `http` does, until it cannot.
async fn serve(listeners: reload::Listeners, health: reload::HealthListeners, site: Site) -> String {
    tokio::select! {
        served = http::serve(listeners, site.clone(), Bounds::default()) => match served {
            Ok(()) => "there is nothing to listen on".into(),
            Err(error) => error.to_string(),
        },
        never = http::serve_health(health, site) => match never {},
    }
}

/// What the thread `probes` does, until it cannot.
async fn rounds(
    orders: watch::Receiver<Arc<Orders>>,
    announced: watch::Receiver<Announced>,
    publish: watch::Sender<Option<Arc<Published>>>,
) -> String {
    let mut journal = Journal::default();
    let on_round = |round: Arc<Published>| {
        log_round(&round);
        journal.write(&round.report, Instant::now());
        publish.send_replace(Some(round));
        ControlFlow::Continue(())
    };
    match driver::drive(orders, announced, on_round).await {
        Ok(()) => "rounds ended by themselves".into(),
        Err(unread) => format!("cannot read the kernel's tables: {unread}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
