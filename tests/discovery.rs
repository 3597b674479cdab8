//! Peers from the Kubernetes API on a real kernel: four nodes on two networks, and what is announced of them.
//!
//! The API knows the nodes by their addresses on the management network; the tunnels end on the other one. What joins
//! the two is the twin's pod, whose route leads to the node's tunnel address. The agent's driver runs in a node as it is
//! shipped, and is told what the watch of the API would tell it: how that is heard is tested elsewhere.
//!
//! Each story fails if a peer is there twice, under two names, or with the wrong tunnel end, and if something else than
//! the fault that was made is found.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use agent::driver;
use agent::io::call::Terms;
use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::recipe::{REFERENCE, Recipe, Role};
use lab::wait::{self, Look};
use lab::{Error, Result};
use probes::config::Config;
use probes::fact::{Reason, Source, Unread};
use probes::path::{Plane, VerdictName};
use probes::peers::announced::{Announced, Endpoint};
use probes::report::{PathRow, Published, Report, Vantage};
use tokio::sync::watch;

const FOUR: Recipe =
    Recipe { name: "four on two networks", nodes: &["master-1", "master-2", "master-3", "app-worker"], ..REFERENCE };

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("nodes get their names and keep their tunnel ends on another network", appear_and_change),
            test("a node that is not ready keeps its finding, and one that left takes it along", unready_and_gone),
            test("an API that is gone loses nobody and alarms nobody", outage),
        ]
    })
}

/// The agent's driver in node 0. It ends with this value.
struct Driven<'c> {
    cluster: &'c Cluster,
    announce: Option<watch::Sender<Announced>>,
    published: watch::Receiver<Option<Arc<Published>>>,
    thread: Option<JoinHandle<()>>,
    heard: u64,
}

impl<'c> Driven<'c> {
    fn start(cluster: &'c Cluster, kernel: bool) -> Result<Self> {
        let (announce, announced) = watch::channel(Announced::default());
        let (publish, published) = watch::channel(None);
        let mut config = Config::new(cluster.recipe.nodes[0]);
        config.peers.kubernetes = true;
        config.peers.kernel = kernel;
        config.probing.interval = Duration::from_secs(1);
        let orders = driver::standing(config, PathBuf::from("/nowhere"), Terms::default());
        let failed = |error: std::io::Error| Error::new("starting the driver", error);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime without a thread of its own can be had");
            let on_publish = |round: Arc<Published>| match publish.send(Some(round)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            runtime.block_on(driver::drive(orders, announced, on_publish)).expect("the kernel can be asked");
        };
        // A thread that is started inside stays inside.
        let thread = cluster.host(0).inside(|| thread::Builder::new().name("driver".into()).spawn(run))?;
        let thread = Some(thread.map_err(failed)?);
        Ok(Self { cluster, announce: Some(announce), published, thread, heard: 0 })
    }

    fn say(&mut self, announced: Announced) {
        self.heard = announced.heard;
        self.announce.as_ref().expect("it is there until the end").send_replace(announced);
    }

    fn hear(&mut self, endpoints: Vec<Endpoint>) {
        let heard = self.heard + 1;
        self.say(Announced { endpoints: Some(endpoints.into()), heard, failing: None });
    }

    fn until(&self, what: &str, there: impl Fn(&Report) -> bool) -> Result<Arc<Published>> {
        wait::until(what, || {
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                return Err(Error::new(format!("waiting for {what}"), "the driver has ended"));
            }
            let published = self.published.borrow().clone();
            Ok(match published {
                Some(published) if there(&published.report) => Look::There(published),
                Some(published) => Look::NotYet(shown(&published.report)),
                None => Look::NotYet("no round is over".into()),
            })
        })
    }

    /// Waits for a round that began after all that was said: two more are over.
    fn two_rounds(&self) -> Result<Arc<Published>> {
        let now = self.published.borrow().as_ref().map(|published| published.report.generated_at);
        let first = self.until("a round", |report| Some(report.generated_at) > now)?.report.generated_at;
        self.until("another round", |report| {
            report.generated_at > first && report.paths.iter().all(|path| path.probed_at > now)
        })
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        // Nobody listens any more, so the next round is the last.
        self.published = watch::channel(None).1;
        self.announce = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the driver panicked in {}", self.cluster.recipe.nodes[0]);
        }
    }
}

fn shown(report: &Report) -> String {
    let mut text = format!("{} peers\n", report.summary.peers);
    for path in &report.paths {
        let PathRow { peer, plane, address, verdict, .. } = path;
        let _ = writeln!(text, "{peer} {} {address} {}", plane.name(), verdict.name());
    }
    for row in &report.node_addresses {
        let _ = writeln!(text, "{} beside {} {}", row.peer, row.address, row.verdict.name());
    }
    for finding in &report.findings {
        let _ = writeln!(text, "{} {} {:?}", finding.code, finding.subject, finding.silenced_by);
    }
    text
}

/// What the API lists of every node: its management address, and its twin, which here is the node's pod.
fn listed(cluster: &Cluster) -> Result<Vec<Endpoint>> {
    let overlay = cluster.overlay()?;
    let of = |node: usize| {
        let endpoint = |vantage, address: IpAddr| Endpoint {
            node: cluster.recipe.nodes[node].into(),
            vantage,
            addresses: vec![address],
            zone: None,
            ready: true,
        };
        let agent = endpoint(Vantage::Node, cluster.recipe.management_address(node));
        [agent, endpoint(Vantage::Pod, overlay.pod_address(node))]
    };
    Ok((0..cluster.recipe.nodes.len()).flat_map(of).collect())
}

fn peers(report: &Report) -> BTreeSet<&str> {
    report.paths.iter().map(|path| path.peer.as_str()).collect()
}

fn paths<'r>(report: &'r Report, peer: &'r str) -> impl Iterator<Item = &'r PathRow> {
    report.paths.iter().filter(move |path| path.peer == peer)
}

fn beside<'r>(report: &'r Report, peer: &'r str) -> Option<(IpAddr, VerdictName)> {
    report.node_addresses.iter().find(|row| row.peer == peer).map(|row| (row.address, row.verdict))
}

fn all_clear(report: &Report) -> bool {
    !report.paths.is_empty() && report.paths.iter().all(|path| path.verdict == VerdictName::Clear)
}

/// Every other node once, by name, with its tunnel's end and its pod, and its management address apart.
fn is_whole(cluster: &Cluster, report: &Report) -> Result<bool> {
    let overlay = cluster.overlay()?;
    let whole = |node: usize| {
        let name = cluster.recipe.nodes[node];
        let at = |plane, address| {
            let mut on = paths(report, name).filter(|path| path.plane == plane);
            on.next().is_some_and(|path| path.address == address) && on.next().is_none()
        };
        at(Plane::Underlay, cluster.recipe.underlay_address(node))
            && at(Plane::Overlay, overlay.tunnel_address(node))
            && at(Plane::Pod, overlay.pod_address(node))
            && beside(report, name) == Some((cluster.recipe.management_address(node), VerdictName::Clear))
    };
    Ok(report.summary.peers == 3 && peers(report).len() == 3 && cluster.peers(0).all(whole))
}

fn appear_and_change() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let mut agent = Driven::start(&cluster, true)?;
    let end = cluster.recipe.underlay_address(1).to_string();
    agent.until("the kernel's peers", |report| all_clear(report) && peers(report).contains(end.as_str()))?;
    let list = listed(&cluster)?;
    agent.hear(list[..4].to_vec());
    let two = |report: &Report| peers(report).contains("master-2") && !peers(report).contains(end.as_str());
    let published = agent.until("the first two nodes", two)?;
    assert_eq!(published.report.summary.peers, 3, "{}", shown(&published.report));
    agent.hear(list.clone());
    let there = |report: &Report| all_clear(report) && is_whole(&cluster, report).unwrap_or(false);
    let published = agent.until("all of them", there)?;
    assert!(published.report.findings.is_empty(), "{}", shown(&published.report));
    let asked: BTreeSet<(&str, Vantage, IpAddr)> =
        published.agents.iter().map(|agent| (agent.peer.as_str(), agent.vantage, agent.addresses[0])).collect();
    let first = list[2..].iter().map(|one| (one.node.as_str(), one.vantage, one.addresses[0]));
    assert_eq!(asked, first.collect(), "agents are asked where the API says, twins in their pods");

    let mut moved = list;
    moved[2].addresses = vec![cluster.recipe.underlay_address(1)];
    agent.hear(moved);
    let published = agent.until("the changed address", |report| beside(report, "master-2").is_none())?;
    assert_eq!(paths(&published.report, "master-2").count(), 3, "{}", shown(&published.report));
    assert_eq!(published.report.summary.peers, 3);
    assert!(published.report.findings.is_empty(), "{}", shown(&published.report));
    Ok(())
}

fn unready_and_gone() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let mut agent = Driven::start(&cluster, true)?;
    let mut list = listed(&cluster)?;
    agent.hear(list.clone());
    agent.until("every node", |report| all_clear(report) && is_whole(&cluster, report).unwrap_or(false))?;
    let broken = Fault::LinkDown { node: 1, link: Role::Nic }.make(&cluster)?;
    let lost = |report: &Report, name: &str| {
        let mut found = report.findings.iter();
        found.find(|one| one.code == "peer-unreachable" && one.subject == name).map(|one| one.since)
    };
    let published = agent.until("the lost node", |report| lost(report, "master-2").is_some())?;
    let since = lost(&published.report, "master-2");
    assert_eq!(
        beside(&published.report, "master-2").map(|(_, verdict)| verdict),
        Some(VerdictName::Clear),
        "the management network is in order: {}",
        shown(&published.report)
    );
    list.iter_mut().filter(|one| one.node == "master-2").for_each(|one| one.ready = false);
    agent.hear(list.clone());
    let published = agent.two_rounds()?;
    assert_eq!(lost(&published.report, "master-2"), since, "{}", shown(&published.report));

    // The tables still have it: it is a peer by its address, and the finding is the same.
    let end = cluster.recipe.underlay_address(1).to_string();
    list.retain(|one| one.node != "master-2");
    agent.hear(list);
    let published = agent.until("the node to go", |report| !peers(report).contains("master-2"))?;
    assert_eq!(lost(&published.report, &end), since, "{}", shown(&published.report));
    assert!(published.report.findings.iter().all(|one| one.subject != "master-2"));
    assert!(published.agents.iter().all(|agent| agent.peer != "master-2"));
    broken.heal()?;
    agent.until("every path to be clear", |report| all_clear(report) && report.findings.is_empty())?;
    drop(agent);

    // Where only the API names it, nothing is left of it.
    let mut agent = Driven::start(&cluster, false)?;
    let mut list = listed(&cluster)?;
    agent.hear(list.clone());
    agent.until("every node", |report| peers(report).len() == 3 && all_clear(report))?;
    list.retain(|one| one.node != "master-2");
    agent.hear(list);
    let published = agent.until("the node to go", |report| !peers(report).contains("master-2"))?;
    assert_eq!(published.report.summary.peers, 2, "{}", shown(&published.report));
    assert_eq!(published.telemetry.peer_sources["kubernetes"].peers, 2);
    Ok(())
}

fn outage() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let mut agent = Driven::start(&cluster, true)?;
    let list = listed(&cluster)?;
    agent.hear(list.clone());
    let whole = |report: &Report| all_clear(report) && is_whole(&cluster, report).unwrap_or(false);
    let heard = agent.until("every node", whole)?.telemetry.peer_sources["kubernetes"];
    let refused = Unread::new(Source::Kubernetes, Reason::Failed { what: "connection refused".into() });
    let heard_before = agent.heard;
    agent.say(Announced { endpoints: Some(list.clone().into()), heard: heard_before, failing: Some(refused) });
    let published = agent.two_rounds()?;
    assert!(whole(&published.report) && published.report.findings.is_empty(), "{}", shown(&published.report));
    assert_eq!(published.telemetry.peer_sources["kubernetes"], heard, "its age grows, its peers stay");
    assert!(!published.telemetry.sources[&Source::Kubernetes].1);
    // A Service that was deleted names nobody; that is no word about nodes.
    agent.hear(Vec::new());
    let published = agent.two_rounds()?;
    assert!(whole(&published.report) && published.report.findings.is_empty(), "{}", shown(&published.report));
    agent.hear(list);
    let published = agent.two_rounds()?;
    assert!(whole(&published.report) && published.telemetry.sources[&Source::Kubernetes].1);
    assert!(published.telemetry.peer_sources["kubernetes"].succeeded > heard.succeeded);
    Ok(())
}
