//! A node with a thousand pods: its links, and the pods' ends of them, beside `ip -d -j link`.
//!
//! A thousand veths lead into a thousand namespaces, each with an address, as pods have it; and a thousand into a single
//! one. The two differ by the kernel's alone: to name a link's namespace it searches the list of all that it knows from its
//! start, for a link in a dump once and for an answer about a pod's end twice. What is left in the single one is the
//! work of whoever asks.
//!
//! In process is the agent's reading from the question to typed tables, by sockets that are open; `ip` is a whole process,
//! which reads the node's own ends alone, so the second figure is of more work than its. The pods' addresses are read once
//! and then kept, so the first readings stand in a row of their own.

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
    raise_limit()?;
    let mut places = Vec::new();
    for (name, namespaces) in [("1,000 namespaces", PODS), ("one namespace", 1)] {
        note(&format!("{ROW}: building a node with {PODS} pods in {name}"));
        let node = Namespace::new("node")?;
        let _pods = pods(&node, namespaces)?;
        let mut play = |tool, one: &mut dyn FnMut() -> Result<Run>| {
            note(&format!("{ROW}: {name}: {tool}"));
            record.repeat(ROW, name, tool, one)
        };
        let results = [
            play(TOOLS[0], &mut || read(&node, LINKS, 1))?,
            play(TOOLS[1], &mut || read(&node, ENDS, WARM))?,
            play(TOOLS[2], &mut || read(&node, ENDS, 0))?,
            play(IP, &mut || ip(&node))?,
        ];
        places.push((name, results));
    }
    Ok(section(&places))
}

const TOOLS: [&str; 4] =
    ["mtuscope, links", "mtuscope, links and pods' ends", "mtuscope, the first reading of both", IP];

const IP: &str = "ip -d -j link";

/// A namespace is an open file.
fn raise_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|errno| Error::new("raising the limit on open files", errno))
}

/// Pods' links into so many namespaces.
fn pods(node: &Namespace, namespaces: usize) -> Result<Vec<Namespace>> {
    let all: Vec<_> = (0..namespaces).map(|number| Namespace::new(format!("pods {number}"))).collect::<Result<_>>()?;
    let (mut on_node, mut in_pods) = (String::new(), vec![String::new(); namespaces]);
    for number in 0..PODS {
        let (link, end, place) = (format!("cali{number:011x}"), format!("eth{number}"), number % namespaces);
        let address = format!("10.244.{}.{}", number / 250, number % 250 + 1);
        let _ = writeln!(
            on_node,
            "link add {link} mtu 1450 type veth peer name {end} mtu 1450 netns {}\nlink set {link} up\n\
             route add {address} dev {link} scope link",
            all[place].path()
        );
        let _ = writeln!(in_pods[place], "address add {address}/32 dev {end}\nlink set {end} up");
    }
    node.feed("ip", &["-batch", "-"], &on_node)?;
    all.iter().zip(&in_pods).try_for_each(|(pod, lines)| pod.feed("ip", &["-batch", "-"], lines))?;
    Ok(all)
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

fn section(places: &[(&'static str, [Series; 4])]) -> Section {
    let cell = |series: &Series| series.wall().map(|wall| Millis(wall).to_string()).unwrap_or_default();
    let ms = |wall: f64| format!("{wall:.1} ms");
    let row = |(at, tool): (usize, &&str)| {
        std::iter::once(format!("`{tool}`")).chain(places.iter().map(|(_, series)| cell(&series[at]))).collect()
    };
    let mut goals = Vec::new();
    for (place, series) in places {
        let median = |at: usize| series[at].wall().map(|wall| wall.median);
        let other = median(3).unwrap_or_default();
        goals.push(Goal::at_most(format!("{place}: links"), median(0), LINKS_GOAL, ms));
        goals.push(Goal::at_most(format!("{place}: links and pods' ends"), median(1), ENDS_GOAL, ms));
        goals.push(Goal::at_most(format!("{place}: links faster than {IP}"), median(0), other, ms));
    }
    Section {
        title: "The links of 1,000 pods",
        how: "1,000 veths into 1,000 namespaces, an address in each, and into a single one: the difference is the \
              kernel's, which searches its list of namespaces for each link. mtuscope's figures are in process, from the \
              first question to typed tables; ip is a whole process and reads the node's own ends alone. Addresses are \
              read once for each pod and kept, so a first reading takes longer."
            .into(),
        heads: std::iter::once("tool").chain(places.iter().map(|(place, _)| *place)).collect(),
        rows: TOOLS.iter().enumerate().map(row).collect(),
        goals,
    }
}
