//! What a scrape costs: `/metrics` of the agent with a thousand peers over HTTP, beside node_exporter on the same node.
//!
//! The shipped program runs in a node whose thousand peers are all well, and once more with all of them dead, so that it
//! names as many as it ever does. It is scraped as Prometheus would, though each time over a new connection, which costs more
//! than one that is kept; in a rhythm that takes longer than a round, so that scrapes fall into probing and judging as well.
//! What is measured is the time from opening the connection to the last byte, and what came is counted.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use lab::http;
use lab::recipe::Role;
use lab::wait::{self, Look};
use lab::{Error, Result};

use crate::bed::{self, Bed, Server, millis};
use crate::measure::{Record, Run, Series};
use crate::note;
use crate::standing::Agent;
use crate::table::{Goal, Section};
use crate::tools::Tools;

const ROW: &str = "scrape";

const PEERS: u16 = 1000;

/// How many scrapes: the slowest hundredth is fifteen of them.
const SCRAPES: usize = 1500;

/// Time between the starts of two: all of them take longer than a round's default interval.
const RHYTHM: Duration = Duration::from_millis(25);

/// What all but a hundredth of the scrapes may take, in milliseconds.
const LATENCY_GOAL: f64 = 5.0;

/// The most series of a healthy node of a large cluster.
const HEALTHY_GOAL: f64 = 300.0;

/// The most series of any node.
const SICK_GOAL: f64 = 2000.0;

const OPEN: &str = "application/openmetrics-text;version=1.0.0";
const TEXT: &str = "text/plain;version=0.0.4";

const EXPORTER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9100);

/// Measures all of it.
///
/// # Errors
/// If something does not start, or does not answer.
pub(crate) fn measure(tools: &Tools, record: &mut Record) -> Result<Section> {
    let cluster = bed::network()?;
    let bed = Bed::new(cluster.host(0), cluster.link(Role::Nic)?, bed::FAR)?;
    let mut results = Vec::new();
    {
        let agent = Agent::start(tools, &bed, PEERS, "interval: 30s")?;
        agent.is_well()?;
        for (tool, accept) in [("mtuscope, OpenMetrics", OPEN), ("mtuscope, text", TEXT)] {
            results.push(scrapes(&bed, "all well", tool, agent.address(), accept)?);
        }
        let _exporter = exporter(&bed)?;
        results.push(scrapes(&bed, "", "node_exporter", EXPORTER, TEXT)?);
    }
    cluster.routers[0].sh(&format!("ip route replace blackhole {}", bed::FAR))?;
    // Rounds as short as can be: what is dead is to be known of more peers than are named.
    let agent = Agent::start(tools, &bed, PEERS, "interval: 1s, packets_per_second: 5000")?;
    wait::until("more peers to fail than are named", || {
        let text = http::get(bed.node, agent.address(), "/metrics", TEXT)?.body;
        let suppressed = text.lines().find_map(|line| line.strip_prefix("mtuscope_series_suppressed "));
        Ok(if suppressed.is_some_and(|count| count != "0") { Look::There(()) } else { Look::NotYet(text) })
    })?;
    results.push(scrapes(&bed, "all dead", "mtuscope, OpenMetrics", agent.address(), OPEN)?);
    results.iter().for_each(|result| record.extend(&result.runs));
    Ok(section(&results))
}

/// Scrapes of one exporter in one state of the cluster.
struct Scraped {
    case: &'static str,
    tool: &'static str,
    runs: Series,
    series: f64,
    bytes: usize,
}

impl Scraped {
    /// What this part of the scrapes took at most, in milliseconds.
    fn quantile(&self, part: f64) -> Option<f64> {
        let mut times: Vec<f64> = self.runs.0.iter().filter_map(|run| run.wall_ms).collect();
        times.sort_by(f64::total_cmp);
        let rank = (times.len() as f64 * part).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied()
    }

    fn name(&self) -> String {
        if self.case.is_empty() { format!("`{}`", self.tool) } else { format!("`{}`; {}", self.tool, self.case) }
    }
}

fn exporter<'b>(bed: &'b Bed<'b>) -> Result<Server> {
    let mut command = bed.node.command("prometheus-node-exporter");
    command.arg(format!("--web.listen-address={EXPORTER}"));
    let log = bed.file("node-exporter.log");
    let server = Server::start(command, &log)?;
    wait::until("node_exporter to answer", || {
        Ok(match http::get(bed.node, EXPORTER, "/metrics", TEXT) {
            Ok(http::Response { status: 200, .. }) => Look::There(()),
            Ok(response) => Look::NotYet(response.body),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
    .map_err(|error| error.check(fs::read_to_string(&log).unwrap_or_default()))?;
    Ok(server)
}

fn scrapes(bed: &Bed<'_>, case: &'static str, tool: &'static str, server: SocketAddr, accept: &str) -> Result<Scraped> {
    note(&format!("{ROW}: {tool} {case}"));
    let scrape = || -> Result<(f64, String)> {
        let started = Instant::now();
        let answer = http::get_here(server, "/metrics", accept)?;
        let wall = millis(started.elapsed());
        thread::sleep(RHYTHM.saturating_sub(started.elapsed()));
        if answer.status == 200 { Ok((wall, answer.body)) } else { Err(Error::new("scraping", answer.body)) }
    };
    // Entering the namespace is the lab's cost; the clock runs inside.
    let all = bed.node.inside(|| (0..SCRAPES).map(|_| scrape()).collect::<Result<Vec<_>>>())??;
    let count = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let run = |(at, (wall, text)): (usize, &(f64, String))| Run {
        row: ROW,
        case: case.to_owned(),
        tool,
        run: at + 1,
        answer: Some(format!("{} series, {} B", count(text), text.len())),
        wall_ms: Some(*wall),
        ..Run::default()
    };
    let runs = Series(all.iter().enumerate().map(run).collect());
    // A round may end between two scrapes: the most that was seen counts.
    let series = all.iter().map(|(_, text)| count(text)).max().unwrap_or_default() as f64;
    let bytes = all.iter().map(|(_, text)| text.len()).max().unwrap_or_default();
    Ok(Scraped { case, tool, runs, series, bytes })
}

fn section(results: &[Scraped]) -> Section {
    let ms = |part, result: &Scraped| result.quantile(part).map(|ms| format!("{ms:.2} ms")).unwrap_or_default();
    let row = |result: &Scraped| {
        vec![
            result.name(),
            ms(0.5, result),
            ms(0.99, result),
            ms(1.0, result),
            result.series.to_string(),
            result.bytes.to_string(),
        ]
    };
    let mut goals = Vec::new();
    for result in results.iter().filter(|result| result.tool.starts_with("mtuscope")) {
        let what = format!("{}, {}", result.tool, result.case);
        goals.push(Goal::at_most(format!("{what}: p99"), result.quantile(0.99), LATENCY_GOAL, |ms| {
            format!("{ms:.2} ms")
        }));
        let most = if result.case == "all dead" { SICK_GOAL } else { HEALTHY_GOAL };
        goals.push(Goal::at_most(format!("{what}: series"), Some(result.series), most, |count| format!("{count}")));
    }
    Section {
        title: "A scrape with 1,000 peers",
        how: format!(
            "`/metrics` over HTTP, {SCRAPES} times, {} ms apart, a new connection for each, while the agent goes on probing: \
             1,000 peers that are all well, and 1,000 that are all dead, of which it names 50. node_exporter with its \
             default collectors stands on the same node, and reads the kernel at each scrape, which the agent does not; \
             its figures are there to say what a scrape commonly is.",
            RHYTHM.as_millis()
        ),
        heads: vec!["exporter", "median", "p99", "most", "series", "bytes"],
        rows: results.iter().map(row).collect(),
        goals,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_hundredth_is_left_out_and_no_more() {
        let run = |ms| Run { wall_ms: Some(f64::from(ms)), ..Run::default() };
        let of =
            |count| Scraped { case: "", tool: "", runs: Series((1..=count).map(run).collect()), series: 0.0, bytes: 0 };
        assert_eq!(of(1000).quantile(0.99), Some(990.0));
        assert_eq!(of(1000).quantile(1.0), Some(1000.0));
        assert_eq!((of(1).quantile(0.99), of(0).quantile(0.5)), (Some(1.0), None));
    }
}
