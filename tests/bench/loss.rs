//! Clean peers behind a network that loses packets: whom does a tool accuse?
//!
//! Every peer carries 1,500 B, and one packet of twenty is lost on the way there and one on the way back. A verdict is
//! wrong if it says anything else than that 1,500 B pass; a peer that a tool says nothing certain about is counted apart.

use std::net::Ipv4Addr;

use lab::Result;
use lab::cluster::{BACKBONE, TO_NODE};
use lab::recipe::Role;
use lab::report::ProbeReport;

use crate::bed::{self, Bed, Done};
use crate::blackbox::Blackbox;
use crate::jail::Jail;
use crate::measure::{Millis, Record, Run, Series};
use crate::note;
use crate::path::last_hop_mtu;
use crate::table::{Goal, Section};
use crate::tools::Tools;

const ROW: &str = "loss";
const CASE: &str = "5 % each way";

/// How many peers.
const PEERS: u16 = 200;

const MTUSCOPE: &str = "mtuscope probe";
const SCAMPER: &str = "scamper -O epoll -p 10000 trace -M";
const FPING: &str = "fping -i0 -M -b 1472";
const FPING_ONCE: &str = "fping -i0 -M -b 1472 -r 0";
const BLACKBOX: &str = "blackbox exporter, 50 at once";

/// Wrong verdicts, and targets without one.
type Verdicts = (usize, usize);

/// Plays all tools.
///
/// # Errors
/// If the network cannot be built, or a tool does not run.
pub(crate) fn measure(tools: &Tools, record: &mut Record) -> Result<Section> {
    let cluster = bed::network()?;
    let bed = Bed::new(cluster.host(0), cluster.link(Role::Nic)?, bed::FAR)?;
    let rules = [TO_NODE, BACKBONE].map(|link| format!("iifname \"{link}\" numgen random mod 100 < 5 drop\n")).concat();
    let chain = format!("type filter hook forward priority 0; policy accept;\n{rules}");
    cluster.routers[0].feed("nft", &["-f", "-"], &format!("table inet loss {{ chain lossy {{ {chain}}}\n}}\n"))?;
    let (jail, blackbox) = (Jail::new()?, Blackbox::start(&bed)?);
    let peers = bed::far(PEERS);
    let targets: Vec<_> = peers.iter().map(Ipv4Addr::to_string).collect();

    let mut play = |tool, one: &mut dyn FnMut() -> Result<Run>| {
        note(&format!("{ROW}: {tool}"));
        record.repeat(ROW, CASE, tool, one).map(|series| (tool, series))
    };
    let program = |path: &std::path::Path, arguments: &[&str]| {
        let mut command = bed.node.command(path);
        command.args(arguments).args(&targets);
        bed.run(command)
    };
    let fping = |retries: &[&str]| {
        let done = program("fping".as_ref(), &[&["-i0", "-M", "-b", "1472", "-u"], retries].concat())?;
        run(&done, unreachable(&done)?)
    };
    let results = [
        play(MTUSCOPE, &mut || {
            let done = program(&tools.mtuscope, &["probe", "--output", "json"])?;
            run(&done, accused(&done)?)
        })?,
        play(SCAMPER, &mut || {
            let mut command = jail.scamper(bed.node);
            command.args(["-O", "epoll", "-O", "text", "-p", "10000", "-c", "trace -M", "-i"]).args(&targets);
            let done = bed.run(command)?;
            run(&done, traced(&done.text, peers.len()))
        })?,
        play(FPING, &mut || fping(&[]))?,
        play(FPING_ONCE, &mut || fping(&["-r", "0"]))?,
        play(BLACKBOX, &mut || {
            let asked = blackbox.ask(&peers, 50)?;
            let (packets, wall_ms) = (Some(asked.packets), Some(asked.wall_ms));
            Ok(Run { wrong: Some(asked.refused), unsaid: Some(0), packets, wall_ms, ..Run::default() })
        })?,
    ];
    Ok(section(&results))
}

fn run(done: &Done, (wrong, unsaid): Verdicts) -> Result<Run> {
    let (packets, wall_ms) = (Some(done.packets), Some(done.wall_ms));
    Ok(Run { wrong: Some(wrong), unsaid: Some(unsaid), packets, wall_ms, ..Run::default() })
}

/// Paths that mtuscope does not call clear.
pub(crate) fn accused(done: &Done) -> Result<Verdicts> {
    let report = ProbeReport::parse(&done.text).map_err(|error| error.check(done.errors.trim()))?;
    let clear = report.paths.iter().filter(|path| path.verdict == "clear" && path.path_mtu == Some(1500)).count();
    let unknown = report.paths.iter().filter(|path| path.verdict == "unknown").count();
    Ok((report.paths.len() - clear - unknown, unknown))
}

/// Targets that fping calls unreachable: one a line.
pub(crate) fn unreachable(done: &Done) -> Result<Verdicts> {
    let lines = done.text.lines();
    if lines.clone().any(|line| line.parse::<Ipv4Addr>().is_err()) {
        return Err(done.unfit("fping"));
    }
    Ok((lines.count(), 0))
}

/// Of so many peers: those whose trace ends at another MTU, and those whose own hop has none.
fn traced(text: &str, peers: usize) -> Verdicts {
    let last_hops = text.split("traceroute from ").skip(1).filter_map(|trace| {
        let peer = trace.lines().next()?.split_whitespace().last();
        let reached = trace.lines().skip(1).any(|line| line.split_whitespace().nth(1) == peer);
        last_hop_mtu(trace).filter(|_| reached)
    });
    let (right, wrong): (Vec<_>, Vec<_>) = last_hops.partition(|mtu| *mtu == 1500);
    (wrong.len(), peers.saturating_sub(right.len() + wrong.len()))
}

fn section(results: &[(&'static str, Series)]) -> Section {
    let row = |(tool, series): &(&str, Series)| {
        let all = series.len() * usize::from(PEERS);
        let packets = series.packets().map(|packets| packets.digits(0)).unwrap_or_default();
        let wall = series.wall().map(|wall| Millis(wall).to_string()).unwrap_or_default();
        vec![
            format!("`{tool}`"),
            format!("{} of {all}", series.wrong()),
            format!("{} of {all}", series.unsaid()),
            packets,
            wall,
        ]
    };
    let (_, ours) = &results[0];
    let seen = format!("{} wrong, {} unknown of {}", ours.wrong(), ours.unsaid(), ours.len() * usize::from(PEERS));
    Section {
        title: "200 clean peers at 5 % loss each way",
        how: "All peers carry 1,500 B. Wrong is whatever says otherwise, in all runs together; uncertain is a peer that the \
              tool names no size for. fping and the exporter only say yes or no."
            .into(),
        heads: vec!["tool", "wrong", "uncertain", "packets a run", "time a run"],
        rows: results.iter().map(row).collect(),
        goals: vec![Goal::new("no wrong verdict", seen, ours.wrong() + ours.unsaid() == 0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_counts_by_its_last_hop() {
        let trace = |hops: &str| {
            format!("traceroute from 172.30.1.10 to 10.77.0.1\n 1  172.30.1.1  0.1 ms [mtu: 1500]\n{hops}")
        };
        let clean = trace(" 2  10.77.0.1  0.1 ms [mtu: 1500]\n");
        let small = trace(" 2  10.77.0.1  0.1 ms [*mtu: 1492]\n");
        let lost = trace(" 2  *\n");
        assert_eq!(traced(&[clean, small, lost].concat(), 4), (1, 2), "the fourth peer has no trace at all");
    }
}
