//! A node with a thousand pods: its links, and the pods' ends of them, beside `ip -d -j link`.
//!
//! A thousand veths lead into a thousand namespaces, each with an address, as pods have it. In process is the agent's
//! reading from the question to typed tables, by sockets that are open; `ip` is a whole process, which reads the node's
//! own ends alone, so the second figure is of more work than its. The pods' addresses are read once and then kept, so
//! the first readings stand in a row of their own.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Instant;

use agent::io::netlink::Netlink;
use lab::namespace::Namespace;
use lab::{Error, Result};
use probes::fact::Source;
use probes::tables::Tables;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;

use crate::bed::millis;
use crate::measure::{Millis, Record, Run, Series};
use crate::note;
use crate::table::{Goal, Section};

const ROW: &str = "pod links";

/// How many pods.
const PODS: usize = 1000;

/// What reading the links may take, in milliseconds.
const LINKS_GOAL: f64 = 10.0;

/// What reading the links and the pods' ends may take, in milliseconds.
const ENDS_GOAL: f64 = 25.0;

const LINKS: &[Source] = &[Source::Links];
const ENDS: &[Source] = &[Source::Links, Source::PodEnds];

/// Readings after which the addresses of all ends are known.
const WARM: usize = 8;

/// Measures all of it.
///
/// # Errors
/// If the node cannot be built or read.
pub(crate) fn measure(record: &mut Record) -> Result<Section> {
    note(&format!("{ROW}: building a node with {PODS} pods"));
    let node = Namespace::new("node")?;
    let _pods = pods(&node)?;
    let mut play = |tool, one: &mut dyn FnMut() -> Result<Run>| {
        note(&format!("{ROW}: {tool}"));
        record.repeat(ROW, "", tool, one)
    };
    let (links, ends, first) =
        ("mtuscope, links", "mtuscope, links and pods' ends", "mtuscope, the first reading of both");
    let results = [
        (links, play(links, &mut || read(&node, LINKS, 1))?),
        (ends, play(ends, &mut || read(&node, ENDS, WARM))?),
        (first, play(first, &mut || read(&node, ENDS, 0))?),
        (IP, play(IP, &mut || ip(&node))?),
    ];
    Ok(section(&results))
}

const IP: &str = "ip -d -j link";

fn pods(node: &Namespace) -> Result<Vec<Namespace>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|errno| Error::new("raising the limit on open files", errno))?;
    let pods: Vec<_> = (0..PODS).map(|number| Namespace::new(format!("pod {number}"))).collect::<Result<_>>()?;
    let mut lines = String::new();
    for (number, pod) in pods.iter().enumerate() {
        let link = format!("cali{number:011x}");
        let _ = writeln!(
            lines,
            "link add {link} mtu 1450 type veth peer name eth0 mtu 1450 netns {}\nlink set {link} up\n\
             route add 10.244.{}.{} dev {link} scope link",
            pod.path(),
            number / 250,
            number % 250 + 1
        );
    }
    node.feed("ip", &["-batch", "-"], &lines)?;
    for (number, pod) in pods.iter().enumerate() {
        let address = format!("address add 10.244.{}.{}/32 dev eth0", number / 250, number % 250 + 1);
        pod.feed("ip", &["-batch", "-"], &format!("{address}\nlink set eth0 up\n"))?;
    }
    Ok(pods)
}

/// One reading after `before` others with the same sockets.
fn read(node: &Namespace, wanted: &'static [Source], before: usize) -> Result<Run> {
    let failed = |error: String| Error::new("reading a node with many pods", error);
    node.inside(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        runtime.block_on(async {
            let netlink = Netlink::open().map_err(|unread| failed(unread.to_string()))?;
            for _ in 0..before {
                netlink.tables(wanted).await;
            }
            let started = Instant::now();
            let tables = Tables::decode(&netlink.tables(wanted).await);
            let wall_ms = Some(millis(started.elapsed()));
            let ends =
                tables.pod_ends.known().map_or(0, |ends| ends.values().filter(|end| end.known().is_some()).count());
            let seen = if wanted == LINKS { tables.links().len() - 1 } else { ends };
            if seen == PODS { Ok(Run { wall_ms, ..Run::default() }) } else { Err(failed(format!("{seen} of {PODS}"))) }
        })
    })?
}

fn ip(node: &Namespace) -> Result<Run> {
    let mut command = node.command("ip");
    command.args(["-d", "-j", "link"]).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().map_err(|error| Error::new(format!("running {IP}"), error))?;
    let wall_ms = Some(millis(started.elapsed()));
    if status.success() {
        Ok(Run { wall_ms, ..Run::default() })
    } else {
        Err(Error::new(format!("running {IP}"), status))
    }
}

fn section(results: &[(&'static str, Series)]) -> Section {
    let median = |at: usize| results[at].1.wall().map(|wall| wall.median);
    let cell = |series: &Series| series.wall().map(|wall| Millis(wall).to_string()).unwrap_or_default();
    let ms = |wall: f64| format!("{wall:.1} ms");
    let other = median(3).unwrap_or_default();
    Section {
        title: "The links of 1,000 pods",
        how:
            "1,000 veths into 1,000 namespaces, an address in each. mtuscope's figures are in process, from the first \
              question to typed tables; ip is a whole process and reads the node's own ends alone. Addresses are read \
              once for each pod and kept, so a first reading takes longer."
                .into(),
        heads: vec!["tool", "time"],
        rows: results.iter().map(|(tool, series)| vec![format!("`{tool}`"), cell(series)]).collect(),
        goals: vec![
            Goal::at_most("links", median(0), LINKS_GOAL, ms),
            Goal::at_most("links and pods' ends", median(1), ENDS_GOAL, ms),
            Goal::at_most("links faster than ip -d -j link", median(0), other, ms),
            Goal::at_most("links and pods' ends faster than ip -d -j link", median(1), other, ms),
        ],
    }
}
