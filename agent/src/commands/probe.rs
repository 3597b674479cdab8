//! `mtuscope probe`: the path MTU to any address.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use probes::config::{Config, StaticPeer};
use probes::fact::Source;
use probes::path::{Plane, VerdictName};
use probes::report::{PathRow, ProbeReport, Published, Severity};
use probes::units::{Dual, Family};

use super::print;
use super::{FailOn, rounds};
use crate::io::rights;
use crate::logs;
use crate::outcome::{Colour, Failure, Outcome, Output};
use crate::publish::text;
use crate::{config, publish};

/// A black hole takes under twenty seconds even where every probe has to be repeated.
const WAIT: Duration = Duration::from_secs(60);

/// A person waits, and a single round is short: ten times what an agent may send by default.
const PACKETS_PER_SECOND: u32 = 2_000;

/// Arguments of `probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo mtuscope probe 10.0.0.12                 to a node
  sudo mtuscope probe 10.0.0.12 10.244.2.2      and to a pod on it: is it the network or the tunnel?
  sudo mtuscope probe --output json 10.0.0.12 | jq '.paths[].path_mtu'

Exit status:
  0 the path is clear, or a hop says where it is limited; 1 a black hole or no answer; 2 not known")]
pub struct Args {
    /// Addresses to probe
    #[arg(required = true, value_name = "ADDR", value_parser = super::address)]
    addresses: Vec<IpAddr>,
    /// From which severity on a path makes the exit status 1: black holes are critical, limits a warning
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
    if !rights::raise().net_raw {
        return Err(Failure(super::lacks_net_raw()));
    }
    let rounds = rounds::last(settings(args), Path::new("/"), WAIT, |_| true);
    let published = super::runtime()?.block_on(rounds)?;
    if let Some((_, false)) = published.telemetry.sources.get(&Source::Probes) {
        return Err(Failure("no probe could be sent; run `mtuscope report` to see why".into()));
    }
    let report = measured(args, &published);
    print::result(&report, args.output, colour, text::probe)?;
    if args.output == Output::Json {
        warn(&report);
    }
    Ok(judge(&report, args.fail_on))
}

fn settings(args: &Args) -> Config {
    let mut config = Config::new(config::node_name());
    config.peers.kernel = false;
    config.peers.this_machine = true;
    config.probing.confirm_rounds = 1;
    config.probing.packets_per_second = PACKETS_PER_SECOND;
    config.probing.stable_peers = None;
    for address in &args.addresses {
        let name = address.to_string();
        if config.peers.fixed.iter().all(|peer| peer.name != name) {
            let peer = StaticPeer { name, underlay: (*address).into(), overlay: Dual::NONE, pods: Vec::new() };
            config.peers.fixed.push(peer);
        }
    }
    config
}

/// One row for each address, in the order given.
fn measured(args: &Args, published: &Published) -> ProbeReport {
    let row = |address: &IpAddr| {
        let measured = published.report.paths.iter().find(|path| path.address == *address);
        measured.cloned().unwrap_or_else(|| unmeasured(*address))
    };
    ProbeReport { schema: publish::PROBE_SCHEMA, paths: args.addresses.iter().map(row).collect() }
}

/// A path that the round has no result for.
fn unmeasured(address: IpAddr) -> PathRow {
    PathRow {
        peer: address.to_string(),
        plane: Plane::Underlay,
        family: Family::of(address),
        address,
        via: Vec::new(),
        route: None,
        verdict: VerdictName::Unknown,
        why: Some("it was not measured: there is no route to it, or its family is not probed".into()),
        path_mtu: None,
        expected_mtu: None,
        forward_mtu: None,
        reverse_mtu: None,
        way: None,
        hole: None,
        hops: Vec::new(),
        outer: None,
        limited_by: None,
        cached_mtu: None,
        round_trip_seconds: None,
        loss_ratio: None,
        packets_sent: 0,
        probed_at: None,
        transfer: None,
    }
}

/// Tells of limits beside the JSON; the text says it itself.
fn warn(report: &ProbeReport) {
    for path in report.paths.iter().filter(|path| path.verdict == VerdictName::Limited) {
        let mtu = path.path_mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
        print::note(&format!("warning: the path to {} is limited to {mtu} bytes", path.peer));
    }
}

const fn severity(verdict: VerdictName) -> Option<Severity> {
    match verdict {
        VerdictName::BlackHole | VerdictName::Unreachable => Some(Severity::Critical),
        VerdictName::Limited => Some(Severity::Warning),
        VerdictName::Clear | VerdictName::Unknown => None,
    }
}

/// A fault that was found outranks a path that is not known.
fn judge(report: &ProbeReport, fail_on: FailOn) -> Outcome {
    let fails = |path: &PathRow| severity(path.verdict).is_some_and(|severity| fail_on.counts(severity));
    if report.paths.iter().any(fails) {
        return Outcome::Found;
    }
    let unknown = report.paths.iter().any(|path| path.verdict == VerdictName::Unknown);
    if unknown { Outcome::Inconclusive } else { Outcome::Fine }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::example;

    fn report(verdicts: &[VerdictName]) -> ProbeReport {
        let path = |verdict: &VerdictName| example::path("10.0.0.12", Plane::Underlay, "10.0.0.12", *verdict, 1400);
        ProbeReport { schema: publish::PROBE_SCHEMA, paths: verdicts.iter().map(path).collect() }
    }

    #[test]
    fn the_status_says_what_was_found() {
        use VerdictName::{BlackHole, Clear, Limited, Unknown, Unreachable};
        for (verdicts, level, wanted) in [
            (&[Clear][..], FailOn::Critical, Outcome::Fine),
            (&[Limited], FailOn::Critical, Outcome::Fine),
            (&[Limited], FailOn::Warning, Outcome::Found),
            (&[Clear, BlackHole], FailOn::Critical, Outcome::Found),
            (&[Unreachable], FailOn::Critical, Outcome::Found),
            (&[Unreachable], FailOn::Never, Outcome::Fine),
            (&[Unknown], FailOn::Critical, Outcome::Inconclusive),
            (&[Unknown], FailOn::Never, Outcome::Inconclusive),
            (&[Unknown, BlackHole], FailOn::Critical, Outcome::Found),
        ] {
            assert_eq!(judge(&report(verdicts), level), wanted, "{verdicts:?} {level:?}");
        }
    }

    #[test]
    fn rows_keep_the_order_and_no_address_is_lost() {
        let addresses = ["10.0.0.13", "192.0.2.1", "10.0.0.12"].map(|address| address.parse().unwrap()).to_vec();
        let args = Args { addresses, fail_on: FailOn::Critical, output: Output::Json };
        let report = measured(&args, &example::published());
        let verdicts: Vec<_> = report.paths.iter().map(|path| path.verdict).collect();
        assert_eq!(verdicts, [VerdictName::BlackHole, VerdictName::Unknown, VerdictName::Clear]);
        assert!(report.paths[1].why.as_deref().is_some_and(|why| why.contains("no route")));
    }
}
