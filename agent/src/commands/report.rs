//! `mtuscope report`: inspect this machine and its peers once.
//!
//! Without a configuration and without `--peer` it works on any Linux machine: peers come from the kernel, and if there
//! are none, the default gateway is one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use probes::config::{StaticPeer, Work};
use probes::peers::announced::Announced;
use probes::report::{Conclusion, Published, Report};
use probes::units::Dual;
use probes::windows::WINDOW;

use super::print;
use super::{ConfigFlag, FailOn, rounds};
use crate::config::Settings;
use crate::io::packets::Packets;
use crate::io::rights;
use crate::logs;
use crate::outcome::{Colour, Failure, Outcome, Output};
use crate::publish::text;

/// Rounds follow each other so closely.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the Kubernetes API may take to name the other agents.
#[cfg(feature = "kubernetes")]
const API: Duration = Duration::from_secs(5);

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo mtuscope report                      this machine; its peers are found in the kernel
  sudo mtuscope report --peer 10.0.0.12     and the path to one more node
  sudo mtuscope report --output json | jq '.findings[] | .code, .remedy'

Exit status:
  0 nothing at or above --fail-on, 1 findings there, 2 could not run or could conclude nothing

Rights:
  paths are measured with CAP_NET_RAW, as root has it, or less closely where everybody may ping
  (net.ipv4.ping_group_range); pods' own ends are read with CAP_NET_ADMIN, all else by any user")]
pub struct Args {
    #[command(flatten)]
    config: ConfigFlag,
    /// Probe this node address too; may be given several times
    #[arg(long = "peer", value_name = "ADDR", value_parser = super::address)]
    peers: Vec<IpAddr>,
    /// How long to wait at most for findings to be confirmed, as in 15s or 2m; a healthy machine takes 5 s, for as long its counters are watched; with less than 5 s they are not, and what hangs on them is listed as not concluded
    #[arg(long, value_name = "DURATION", env = "MTUSCOPE_WAIT", default_value = "15s", value_parser = super::wait)]
    wait: Duration,
    /// From which severity on a finding makes the exit status 1
    #[arg(long, value_enum, value_name = "LEVEL", env = "MTUSCOPE_FAIL_ON", default_value = "critical")]
    fail_on: FailOn,
    /// How to print the result: text for people, json for programs
    #[arg(long, value_enum, value_name = "FORMAT", env = "MTUSCOPE_OUTPUT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(args: &Args, colour: Colour) -> Result<Outcome, Failure> {
    logs::to_stderr(colour)?;
    let settings = settings(args)?;
    // Who waits for less than a rate takes does not wait for rates at all: they are listed as not concluded either way.
    let watches = args.wait >= WINDOW;
    let done = |published: &Published| published.pending == 0 && !(watches && published.watching);
    let terms = args.config.terms(&settings)?;
    let (published, unannounced) = super::runtime()?.block_on(async {
        let started = Instant::now();
        let announced = announced(&settings, args.wait).await;
        let unannounced = announced.failing.clone();
        let wait = args.wait.saturating_sub(started.elapsed());
        let last = rounds::last(settings.for_probes(), &settings.host_root, terms, announced, wait, done).await;
        last.map(|published| (published, unannounced))
    })?;
    print::result(&*published.report, args.output, colour, text::report)?;
    if let Some(unread) = unannounced {
        print::note(&format!("peers that the Kubernetes API would name are missing: {unread}"));
    }
    if Packets::could_leave_by(rights::raise().net_raw).is_none() {
        print::note(&super::lacks_net_raw(rights::file_lacks_net_raw()));
    }
    let outcome = judge(&published.report, args.fail_on);
    if outcome == Outcome::Inconclusive {
        print::note("nothing could be concluded; not_concluded in the report says why");
    }
    Ok(outcome)
}

/// Asks the Kubernetes API once, if it is to be asked. Who waits for a report has other peers to hear of if it is silent.
#[cfg(feature = "kubernetes")]
async fn announced(settings: &Settings, wait: Duration) -> Announced {
    use crate::io::kubernetes::{self, Pod};

    let Some(wanted) = &settings.kubernetes else { return Announced::default() };
    kubernetes::once(wanted, &Pod::here(), API.min(wait / 2)).await
}

/// Without the client, nothing is announced.
#[cfg(not(feature = "kubernetes"))]
async fn announced(_: &Settings, _: Duration) -> Announced {
    Announced::default()
}

fn settings(args: &Args) -> Result<Settings, Failure> {
    let mut settings = args.config.load()?;
    settings.probes.work = Work::Report;
    settings.probes.probing.interval = INTERVAL;
    settings.probes.probing.stable_peers = None;
    let configured = args.config.config.is_some();
    settings.probes.peers.gateway = !configured && args.peers.is_empty();
    // A configuration is shared by all nodes and names this one too; the command line is typed for this one.
    settings.probes.peers.this_machine = !configured;
    let fixed = &mut settings.probes.peers.fixed;
    for address in &args.peers {
        let name = address.to_string();
        let known = fixed.iter().any(|peer| peer.underlay.holds(*address) || peer.name == name);
        if !known {
            fixed.push(StaticPeer { name, underlay: (*address).into(), overlay: Dual::NONE, pods: Vec::new() });
        }
    }
    Ok(settings)
}

fn judge(report: &Report, fail_on: FailOn) -> Outcome {
    if report.checks.values().all(|conclusion| *conclusion == Conclusion::NotConcluded) {
        return Outcome::Inconclusive;
    }
    let mut loud = report.findings.iter().filter(|finding| finding.silenced_by.is_none());
    if loud.any(|finding| fail_on.counts(finding.severity)) { Outcome::Found } else { Outcome::Fine }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use probes::report::Severity;

    use super::*;
    use crate::publish::example;

    #[test]
    fn the_status_follows_the_level() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        assert_eq!(judge(report, FailOn::Critical), Outcome::Found);
        assert_eq!(judge(report, FailOn::Never), Outcome::Fine);
        report.findings.retain(|finding| finding.severity == Severity::Warning);
        assert_eq!(judge(report, FailOn::Critical), Outcome::Fine);
        assert_eq!(judge(report, FailOn::Warning), Outcome::Found);
    }

    #[test]
    fn a_consequence_alone_does_not_count() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        report.findings.retain(|finding| finding.silenced_by.is_some());
        assert_eq!(judge(report, FailOn::Info), Outcome::Fine);
    }

    #[test]
    fn nothing_concluded_is_not_fine() {
        let mut published = example::published();
        let report = Arc::make_mut(&mut published.report);
        report.findings.clear();
        report.checks.values_mut().for_each(|conclusion| *conclusion = Conclusion::NotConcluded);
        assert_eq!(judge(report, FailOn::Never), Outcome::Inconclusive);
    }

    fn args(peers: &[&str], config: Option<&str>) -> Args {
        Args {
            config: ConfigFlag { config: config.map(Into::into) },
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            wait: Duration::from_secs(15),
            fail_on: FailOn::Critical,
            output: Output::Text,
        }
    }

    #[test]
    fn the_gateway_is_a_peer_only_if_nothing_else_is_named() {
        assert!(settings(&args(&[], None)).unwrap().probes.peers.gateway);
        assert!(!settings(&args(&["10.0.0.12"], None)).unwrap().probes.peers.gateway);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!settings(&args(&[], file.path().to_str())).unwrap().probes.peers.gateway);
    }

    #[test]
    fn a_peer_is_added_once() {
        let settings = settings(&args(&["10.0.0.12", "10.0.0.12", "10.0.0.13"], None)).unwrap();
        let names: Vec<_> = settings.probes.peers.fixed.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(names, ["10.0.0.12", "10.0.0.13"]);
        assert_eq!((settings.probes.probing.interval, settings.probes.work), (INTERVAL, Work::Report));
    }
}
