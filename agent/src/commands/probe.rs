//! `mtuscope probe`: the path MTU to whatever is named.
//!
//! A name is measured at every address that it has: a name with several addresses has several paths, and the one that
//! swallows packets is as likely the second. An address of a name that no route leads to, while one leads to another of
//! its addresses, is left out and said to be: no program would use it (RFC 6724 §6 rule 1), and a machine without IPv6 is
//! no fault of the network.

mod progress;
mod resolve;
mod targets;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use probes::path::VerdictName;
use probes::prober::Wire;
use probes::report::{NotProbed, PathRow, ProbeReport, Severity, WhyNotProbed};
use probes::survey::Wanted;
use probes::units::{Family, IpSize};

use super::{FailOn, print};
use crate::io::packets::Packets;
use crate::io::rights;
use crate::outcome::{Colour, Failure, Outcome, Output};
use crate::publish::text::{self, View};
use crate::{logs, publish, survey};
use progress::Bar;
use targets::Targets;

/// An unreachable path takes six seconds, a black hole under twenty even where every probe has to be repeated.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a sweep adds to it for each source port: a host answers one of them in a second where it limits its errors, and
/// one that swallows packets is asked three times.
const TIMEOUT_A_PORT: Duration = Duration::from_secs(3);

/// Tens of megabits a second, an eighth of a gigabit with full-size packets: less than a link that is worth a thousand
/// targets. It bounds packets that are *not* answered; those that are set their own pace ([`probes::survey`]).
const PACKETS_PER_SECOND: &str = "10000";

/// Source ports that meet one bad path of four with 99.9 %.
const PORTS: &str = "25";

/// Arguments of `probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo mtuscope probe 10.0.0.12                 to a node
  sudo mtuscope probe 10.0.0.12 10.244.2.2      and to a pod on it: is it the network or the tunnel?
  sudo mtuscope probe --hops db.example.org     how much each hop on the way lets through
  sudo mtuscope probe --ecmp 10.0.0.12          is one of several equal-cost paths smaller?
  sudo mtuscope probe -q -f hosts.txt           a list: what is not clear, and how many are
  kubectl get nodes -o wide --no-headers | awk '{print $6}' | sudo mtuscope probe -
  sudo mtuscope probe --output json 10.0.0.12 | jq '.paths[].path_mtu'

Exit status:
  0 every path is clear, or a hop says where it is limited; 1 a black hole or no answer;
  2 some path is not known, a name is not resolved, or it could not run")]
pub struct Args {
    /// Addresses or names to probe, a name at every address that it has; - reads a list from standard input
    #[arg(required_unless_present = "files", value_name = "TARGET")]
    targets: Vec<String>,
    /// Probe the targets of this list too, one on a line, # starts a comment; may be given several times
    #[arg(short, long = "file", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Use only the IPv4 addresses of names
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Use only the IPv6 addresses of names
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Send from this address of this machine; otherwise the route chooses
    #[arg(short = 'S', long, value_name = "ADDR", value_parser = super::address)]
    source: Option<IpAddr>,
    /// Largest packet to try, in bytes of an IP packet; otherwise what route and device let through
    #[arg(long, value_name = "BYTES", value_parser = size)]
    size: Option<IpSize>,
    /// Show every hop, with the largest packet that it sees
    #[arg(long)]
    hops: bool,
    /// Tell equal-cost paths apart, by so many UDP source ports (1 to 511; 25 if no number is given); a second for each
    #[arg(long, value_name = "PORTS", num_args = 0..=1, require_equals = true, default_missing_value = PORTS)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(probes::path::SOURCES)))]
    ecmp: Option<u16>,
    /// Stop after this time, as in 30s or 5m; what is not measured then is unknown [default: 1m, and 3s for each port of
    /// --ecmp]
    #[arg(long, value_name = "DURATION", value_parser = super::wait)]
    timeout: Option<Duration>,
    /// Most packets sent in a second, over all paths (1 to 100,000)
    #[arg(long, value_name = "PACKETS", default_value = PACKETS_PER_SECOND)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    packets_per_second: u32,
    /// Do not list clear paths; the last line counts them
    #[arg(short, long)]
    quiet: bool,
    /// From which severity on a path makes the exit status 1: black holes are critical, limits a warning
    #[arg(long, value_enum, value_name = "LEVEL", env = "MTUSCOPE_FAIL_ON", default_value = "critical")]
    fail_on: FailOn,
    /// How to print the result: text for people, json for programs
    #[arg(long, value_enum, value_name = "FORMAT", env = "MTUSCOPE_OUTPUT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    output: Output,
}

fn size(text: &str) -> Result<IpSize, String> {
    let (least, most) = (Family::Ipv4.floor(), IpSize::MAX);
    let size = text.parse().ok().map(IpSize::new).filter(|size| (least..=most).contains(size));
    size.ok_or_else(|| format!("not a number of bytes from {least} to {most}"))
}

/// Runs the command.
pub(crate) fn run(args: &Args, colour: Colour) -> Result<Outcome, Failure> {
    logs::to_stderr(colour)?;
    let targets = Targets::of(&args.targets, &args.files, args.family()?, |text| {
        io::stdin().lock().take(targets::MOST_BYTES + 1).read_to_string(text)
    })?;
    match Packets::could_leave_by(rights::raise().net_raw) {
        None => return Err(Failure(super::lacks_net_raw(rights::file_lacks_net_raw()))),
        Some(Wire::Ping) => print::note(rights::BY_PINGS),
        Some(Wire::Raw) => {}
    }
    args.source.map_or(Ok(()), can_send_from)?;
    let runtime = super::runtime()?;
    let report = runtime.block_on(measured(args, targets));
    // A resolver that never answers has a thread, and nobody waits for it.
    runtime.shutdown_background();
    let report = report?;
    let view = View { hops: args.hops, quiet: args.quiet };
    print::result(&report, args.output, colour, |report, style| text::probe(report, view, style))?;
    if args.output == Output::Json {
        warn(&report);
    }
    Ok(judge(&report, args.fail_on))
}

impl Args {
    /// The family that every target has to be of: the one that was asked for, or that of the source address.
    fn family(&self) -> Result<Option<Family>, Failure> {
        let asked = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::Ipv4),
            (_, true) => Some(Family::Ipv6),
            _ => None,
        };
        match (asked, self.source.map(Family::of)) {
            (Some(asked), Some(source)) if asked != source => {
                Err(Failure(format!("--source names an {source} address, and only {asked} is asked for")))
            }
            (asked, source) => Ok(asked.or(source)),
        }
    }

    fn timeout(&self) -> Duration {
        let sweep = TIMEOUT_A_PORT * u32::from(self.ecmp.unwrap_or(0));
        self.timeout.unwrap_or(TIMEOUT + sweep)
    }
}

/// The kernel takes a packet from an address that is not its own for a mistake only when it is sent, and then says
/// nothing of the address.
fn can_send_from(source: IpAddr) -> Result<(), Failure> {
    let bound = UdpSocket::bind((source, 0));
    bound.map(drop).map_err(|error| {
        Failure(format!("cannot send from {source} (--source): {error}; `ip address` lists this machine's addresses"))
    })
}

async fn measured(args: &Args, targets: Targets) -> Result<ProbeReport, Failure> {
    let mut bar = Bar::default();
    let resolved = resolve::all(targets, &mut bar).await;
    let wanted = Wanted {
        targets: resolved.targets,
        source: args.source,
        largest: args.size,
        hops: args.hops,
        ports: args.ecmp,
        packets_per_second: args.packets_per_second,
    };
    let measured = survey::run(wanted, args.timeout(), |progress| bar.measuring(progress)).await;
    let paths = measured.map_err(|unread| Failure(format!("no path can be measured: {unread}")))?;
    let (paths, left_out) = without_unused(paths);
    let not_probed = resolved.unresolved.into_iter().chain(left_out).collect();
    Ok(ProbeReport { schema: publish::PROBE_SCHEMA, paths, not_probed })
}

/// Takes out the addresses of names that no route leads to, where one leads to another address of the name.
fn without_unused(paths: Vec<PathRow>) -> (Vec<PathRow>, Vec<NotProbed>) {
    let used: BTreeSet<String> =
        paths.iter().filter(|path| path.route.is_some()).map(|path| path.peer.clone()).collect();
    let is_unused = |path: &PathRow| path.route.is_none() && path.packets_sent == 0 && used.contains(&path.peer);
    let (unused, paths): (Vec<_>, Vec<_>) = paths.into_iter().partition(is_unused);
    let left_out = |path: PathRow| NotProbed {
        peer: path.peer,
        address: Some(path.address),
        kind: WhyNotProbed::NoRoute,
        why: "no route leads to this address of the name, so no program here uses it".into(),
    };
    (paths, unused.into_iter().map(left_out).collect())
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

/// How bad a path is. Equal-cost paths of which some lose packets are as bad as a single one that does.
fn path_severity(path: &PathRow) -> Option<Severity> {
    let swallows = path.spread.as_ref().is_some_and(text::swallows);
    let limits = path.spread.as_ref().is_some_and(|spread| spread.bad() > 0);
    let spread = if swallows { Some(Severity::Critical) } else { limits.then_some(Severity::Warning) };
    severity(path.verdict).max(spread)
}

/// A fault that was found outranks a path that is not known.
fn judge(report: &ProbeReport, fail_on: FailOn) -> Outcome {
    let fails = |path: &PathRow| path_severity(path).is_some_and(|severity| fail_on.counts(severity));
    if report.paths.iter().any(fails) {
        return Outcome::Found;
    }
    let unknown = report.paths.iter().any(|path| path.verdict == VerdictName::Unknown);
    let unresolved = report.not_probed.iter().any(|entry| entry.kind == WhyNotProbed::Unresolved);
    if unknown || unresolved { Outcome::Inconclusive } else { Outcome::Fine }
}

#[cfg(test)]
mod tests {
    use probes::path::Plane;
    use probes::report::{RouteRow, SpreadRow, spread::FateName, spread::SpreadKind};

    use super::*;
    use crate::publish::example;

    fn path(verdict: VerdictName) -> PathRow {
        example::path("10.0.0.12", Plane::Underlay, "10.0.0.12", verdict, 1400)
    }

    fn report(paths: Vec<PathRow>) -> ProbeReport {
        ProbeReport { schema: publish::PROBE_SCHEMA, paths, not_probed: Vec::new() }
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
            let report = report(verdicts.iter().copied().map(path).collect());
            assert_eq!(judge(&report, level), wanted, "{verdicts:?} {level:?}");
        }
    }

    #[test]
    fn a_clear_path_beside_a_bad_one_of_equal_cost_is_not_fine() {
        let spread = |fate| SpreadRow {
            expected: Some(IpSize::new(1500)),
            ports: 4,
            share_bad: Some(0.25),
            kinds: vec![SpreadKind { ports: 1, ..SpreadKind::new(fate) }],
            packets_sent: 9,
        };
        let judged = |fate, level| {
            let path = PathRow { spread: Some(spread(fate)), ..path(VerdictName::Clear) };
            judge(&report(vec![path]), level)
        };
        assert_eq!(judged(FateName::Carried, FailOn::Info), Outcome::Fine);
        assert_eq!(judged(FateName::Limited, FailOn::Critical), Outcome::Fine, "whoever sends is told");
        assert_eq!(judged(FateName::Limited, FailOn::Warning), Outcome::Found);
        assert_eq!(judged(FateName::Swallowed, FailOn::Critical), Outcome::Found);
        assert_eq!(judged(FateName::Dead, FailOn::Critical), Outcome::Found);
    }

    #[test]
    fn a_name_that_is_not_resolved_is_not_fine_and_an_unused_address_is() {
        let entry = |kind| NotProbed { peer: "db".into(), address: None, kind, why: "…".into() };
        let judged = |kind| {
            let report = ProbeReport { not_probed: vec![entry(kind)], ..report(vec![path(VerdictName::Clear)]) };
            judge(&report, FailOn::Critical)
        };
        assert_eq!(judged(WhyNotProbed::Unresolved), Outcome::Inconclusive);
        assert_eq!(judged(WhyNotProbed::NoRoute), Outcome::Fine);
    }

    #[test]
    fn an_address_without_a_route_is_left_out_beside_one_with_a_route() {
        let to = |peer: &str, address: &str, routed: bool| PathRow {
            route: routed.then(|| RouteRow { to: "0.0.0.0/0".into(), mtu: None }),
            packets_sent: if routed { 2 } else { 0 },
            ..example::path(peer, Plane::Underlay, address, VerdictName::Unreachable, 0)
        };
        let names = |paths: Vec<PathRow>| {
            let (kept, left_out) = without_unused(paths);
            let kept: Vec<_> = kept.iter().map(|path| path.address.to_string()).collect();
            (
                kept.join(" "),
                left_out.iter().filter_map(|entry| entry.address).map(|a| a.to_string()).collect::<String>(),
            )
        };
        let both = vec![to("db", "fd00::2", false), to("db", "10.0.0.2", true)];
        assert_eq!(names(both), ("10.0.0.2".into(), "fd00::2".into()));
        let alone = vec![to("db", "fd00::2", false), to("db", "10.0.0.2", false), to("fd00::3", "fd00::3", false)];
        assert_eq!(names(alone), ("fd00::2 10.0.0.2 fd00::3".into(), String::new()), "what was asked for is said");
    }

    #[test]
    fn sizes_are_those_of_ip_packets() {
        assert_eq!(size("1500"), Ok(IpSize::new(1500)));
        for wrong in ["", "67", "65536", "-1", "1.5k", "big"] {
            assert_eq!(size(wrong), Err("not a number of bytes from 68 to 65535".into()), "{wrong}");
        }
    }
}
