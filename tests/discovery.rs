//! Peers from the Kubernetes API, end to end: four nodes with their agents and twins, a real client, TLS and a token, an
//! API server that lists what a cluster's controller lists.
//!
//! It is played on what Flannel makes, and on two networks, where the API knows nodes by their management addresses and
//! tunnels end on the other one: there the twin's pod, whose route leads to the node's tunnel address, joins the two.
//!
//! Each story fails if a peer is there twice, under two names, or with the wrong tunnel end, if it lingers in a report
//! or a scrape, and if something else than the fault that was made is found.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path as FsPath;
use std::process::ExitCode;

use jiff::Timestamp;
use lab::api::{Endpoint, Fault as Refusal};
use lab::cluster::Cluster;
use lab::control::{self, Control, Listed};
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::recipe::{REFERENCE, ROUTED, Recipe, Role, Underlay};
use lab::report::{Path, Report};
use lab::service::{self, Service};
use lab::wait::{self, Look};
use lab::{Error, Result};
use probes::peers::announced::pace;
use serde_json::Value;

/// Two networks: the API has the nodes' management addresses.
const TWO: Recipe =
    Recipe { name: "four on two networks", nodes: &["master-1", "master-2", "master-3", "app-worker"], ..REFERENCE };

/// One network, and what Flannel makes of it unless told otherwise.
const FLANNEL: Recipe = Recipe {
    name: "flannel",
    nodes: &["cp-1", "worker-1", "worker-2", "worker-3"],
    underlay: Underlay::Switched([10, 9, 8]),
    ..ROUTED
};

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("every agent and twin of a Flannel cluster reads healthy, and so does the picture", || {
                healthy(FLANNEL)
            }),
            test("every agent and twin of a cluster on two networks reads healthy", || healthy(TWO)),
            test("nodes appear, move, are replaced, terminate and leave", come_and_go),
            test("a dead NIC makes its node not ready, and its finding stays until the node leaves", unready),
            test("an API that is gone hides no fault and alarms nobody", outage),
            test("an agent starts without the API and without its token", lonely_start),
        ]
    })
}

/// What the kubelet reports as a node's address.
fn address(cluster: &Cluster, node: usize) -> IpAddr {
    let recipe = &cluster.recipe;
    if recipe.name == TWO.name { recipe.management_address(node) } else { recipe.underlay_address(node) }
}

fn all_listed(cluster: &Cluster) -> Result<Listed> {
    control::listed(cluster, |node| address(cluster, node))
}

/// Peers by name, and whether each plane has each address once.
fn rows(report: &Report) -> Vec<(String, String, String)> {
    let mut rows: Vec<_> =
        report.paths.iter().map(|path| (path.peer.clone(), path.plane.clone(), path.address.clone())).collect();
    rows.sort();
    rows
}

/// What a node's agent has to list of these peers.
fn seen_from_node(cluster: &Cluster, peers: &[usize]) -> Result<Vec<(String, String, String)>> {
    let overlay = cluster.overlay()?;
    let of = |&peer: &usize| {
        let row = |plane: &str, address: IpAddr| (cluster.recipe.nodes[peer].into(), plane.into(), address.to_string());
        [
            row("overlay", overlay.tunnel_address(peer)),
            row("pod", overlay.pod_address(peer)),
            row("underlay", cluster.recipe.underlay_address(peer)),
        ]
    };
    let mut rows: Vec<_> = peers.iter().flat_map(of).collect();
    rows.sort();
    Ok(rows)
}

/// What a twin on `node` has to list: its own node as well, but not itself.
fn seen_from_pod(cluster: &Cluster, node: usize) -> Result<Vec<(String, String, String)>> {
    let overlay = cluster.overlay()?;
    let mut rows = Vec::new();
    for (peer, &name) in cluster.recipe.nodes.iter().enumerate() {
        rows.push((name.into(), "underlay".into(), address(cluster, peer).to_string()));
        if peer != node {
            rows.push((name.into(), "pod".into(), overlay.pod_address(peer).to_string()));
        }
    }
    rows.sort();
    Ok(rows)
}

fn all_clear(report: &Report) -> bool {
    !report.paths.is_empty() && report.paths.iter().all(|path| path.verdict == "clear")
}

/// Well, with nothing left open.
fn is_whole(report: &Report) -> bool {
    report.is_well() && all_clear(report) && report.not_concluded.is_empty()
}

fn peers(report: &Report) -> BTreeSet<&str> {
    report.paths.iter().map(|path| path.peer.as_str()).collect()
}

fn shown(report: &Report) -> String {
    let mut text = report.to_string();
    for Path { peer, plane, address, .. } in &report.paths {
        let _ = write!(text, "\n  {peer} {plane} {address}");
    }
    text
}

fn healthy(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let control = Control::start(&cluster)?;
    control.list(&all_listed(&cluster)?);
    let count = recipe.nodes.len();
    let mut agents: Vec<Service<'_>> = (0..count).map(|node| control.agent(node)).collect::<Result<_>>()?;
    let mut twins: Vec<Service<'_>> = (0..count).map(|node| control.twin(node)).collect::<Result<_>>()?;
    agents.iter_mut().chain(&mut twins).try_for_each(Service::await_ready)?;
    for (node, agent) in agents.iter_mut().enumerate() {
        let report = agent.until("a healthy node with nothing left open", is_whole)?;
        let others: Vec<usize> = cluster.peers(node).collect();
        assert_eq!(rows(&report), seen_from_node(&cluster, &others)?, "{}", shown(&report));
        assert_eq!(report.summary.peers, count - 1, "each node once");
        let beside = if recipe.name == TWO.name { count - 1 } else { 0 };
        assert_eq!(report.node_addresses.len(), beside);
        assert!(report.node_addresses.iter().all(|row| row.verdict == "clear"), "{:?}", report.node_addresses);
        within_budget(agent)?;
    }
    for (node, twin) in twins.iter_mut().enumerate() {
        let report = twin.until("a healthy twin with nothing left open", is_whole)?;
        assert_eq!(rows(&report), seen_from_pod(&cluster, node)?, "{}", shown(&report));
        within_budget(twin)?;
    }
    picture(&cluster)
}

/// Under the budget of a healthy agent in a large cluster, where no peer is named that is well.
fn within_budget(agent: &Service<'_>) -> Result<()> {
    let text = agent.get("/metrics", "*/*")?.body;
    let count = text.lines().filter(|line| !line.starts_with('#') && !line.contains("peer=")).count();
    assert!(count < 300, "{count} series\n{text}");
    assert!(!text.contains("mtuscope_finding{"), "{text}");
    Ok(())
}

/// All pairs on all planes, from nodes and from pods.
fn picture(cluster: &Cluster) -> Result<()> {
    let count = cluster.recipe.nodes.len();
    let pairs = count * (count - 1);
    // From nodes three planes, from pods the other pods and the other nodes.
    let wanted = 3 * pairs + 2 * pairs;
    wait::until("the picture of all pairs", || {
        let output = service::run(cluster.host(0), &["cluster", "--output", "json"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let picture: Value = serde_json::from_str(&text)
            .map_err(|error| Error::new("reading the picture", error).check(String::from_utf8_lossy(&output.stderr)))?;
        let summary = &picture["summary"];
        let is = (&summary["status"], &summary["answered"], &summary["cells"]["clear"], output.status.code());
        let should = (&"healthy".into(), &(2 * count).into(), &wanted.into(), Some(0));
        Ok(if is == should { Look::There(()) } else { Look::NotYet(picture.to_string()) })
    })
}

/// Series that name a peer.
fn series(agent: &Service<'_>, name: &str) -> Result<usize> {
    let text = agent.get("/metrics", "*/*")?.body;
    Ok(text.lines().filter(|line| line.contains(&format!("peer=\"{name}\""))).count())
}

fn come_and_go() -> Result<()> {
    let cluster = Cluster::build(FLANNEL)?;
    let control = Control::start(&cluster)?;
    let all = all_listed(&cluster)?;
    let [first, third] = ["worker-1", "worker-3"];
    control.list(&all.clone().without("worker-2").without(third));
    let mut agents: Vec<Service<'_>> = (0..4).map(|node| control.agent(node)).collect::<Result<_>>()?;
    agents.iter_mut().try_for_each(Service::await_ready)?;
    let agent = &mut agents[0];
    let end = cluster.recipe.underlay_address(3).to_string();
    let report = agent.until("the node that is named, and those that only the tables know", |report| {
        all_clear(report) && peers(report).contains(first) && peers(report).contains(end.as_str())
    })?;
    assert_eq!(report.summary.peers, 3, "{}", shown(&report));
    // It appears.
    control.list(&all);
    for (node, agent) in agents.iter_mut().enumerate() {
        let wanted = seen_from_node(&cluster, &cluster.peers(node).collect::<Vec<_>>())?;
        let report = agent.until("every node by its name", |report| rows(report) == wanted && all_clear(report))?;
        assert!(report.findings.is_empty(), "{}", shown(&report));
    }
    let agent = &mut agents[0];
    assert!(series(agent, third)? > 0 && series(agent, &end)? == 0, "its series follow its name");

    // Its twin is made anew elsewhere in the node's block: while the old one ends, and after.
    let pod = cluster.overlay()?.pod_address(3);
    let other = "10.42.4.77";
    let mut moving = all.clone();
    moving.pods.retain(|endpoint| endpoint.node.as_deref() != Some(third));
    let old = Endpoint { pod: Some("old".into()), ..Endpoint::new(third, &pod.to_string()).terminating() };
    moving.pods.extend([old, Endpoint { pod: Some("new".into()), ..Endpoint::new(third, other) }]);
    control.list(&moving);
    let report = agent.until("the twin's new address", |report| {
        report.path(third, "pod").is_some_and(|path| path.address == other)
    })?;
    assert_eq!(report.paths.iter().filter(|path| path.peer == third).count(), 3, "{}", shown(&report));
    control.list(&all);
    agent.until("the old address", |report| {
        report.path(third, "pod").is_some_and(|path| path.address == pod.to_string()) && all_clear(report)
    })?;

    // Another node has its address.
    let mut renamed = all.clone();
    renamed.of(third).for_each(|endpoint| endpoint.node = Some("worker-9".into()));
    control.list(&renamed);
    let report = agent.until("the other node", |report| peers(report).contains("worker-9"))?;
    assert!(!peers(&report).contains(third) && report.summary.peers == 3, "{}", shown(&report));
    assert_eq!(series(agent, third)?, 0, "what it left is gone with it");

    // It terminates: its agent first, as when a node is drained. The tables still have it, under its address.
    renamed.of("worker-9").for_each(|endpoint| *endpoint = endpoint.clone().terminating());
    control.list(&renamed);
    let report = agent.until("it to leave", |report| !peers(report).contains("worker-9"))?;
    assert!(peers(&report).contains(end.as_str()) && report.summary.peers == 3, "{}", shown(&report));
    assert_eq!(series(agent, "worker-9")?, 0);
    // And when its node is deleted, Flannel takes its entries away.
    let host = cluster.host(0);
    host.sh("ip route del 10.42.4.0/24")?;
    host.sh("ip neighbour del 10.42.4.0 dev flannel.1")?;
    for entry in host.sh("bridge fdb show dev flannel.1")?.lines().filter(|line| line.contains(&format!("dst {end} ")))
    {
        let mac = entry.split_whitespace().next().unwrap_or_default();
        host.sh(&format!("bridge fdb del {mac} dev flannel.1"))?;
    }
    let report =
        agent.until("nothing to be left of it", |report| report.summary.peers == 2 && peers(report).len() == 2)?;
    assert!(report.findings.is_empty(), "{}", shown(&report));
    assert_eq!(series(agent, &end)?, 0);
    Ok(())
}

/// When a node was found to be lost.
fn lost(report: &Report, name: &str) -> Option<Timestamp> {
    let mut found = report.findings.iter();
    found.find(|one| one.code == "peer-unreachable" && one.subject == name).map(|one| one.since)
}

fn unready() -> Result<()> {
    let cluster = Cluster::build(TWO)?;
    let control = Control::start(&cluster)?;
    let mut all = all_listed(&cluster)?;
    control.list(&all);
    let mut agents: Vec<Service<'_>> = (0..4).map(|node| control.agent(node)).collect::<Result<_>>()?;
    agents.iter_mut().try_for_each(Service::await_ready)?;
    let sound = [0, 2, 3];
    for node in sound {
        agents[node].until("a healthy node", |report| report.is_well() && all_clear(report))?;
    }
    let broken = Fault::LinkDown { node: 1, link: Role::Nic }.make(&cluster)?;
    let mut since = Vec::new();
    for node in sound {
        let report = agents[node].until("the lost node", |report| lost(report, "master-2").is_some())?;
        since.push(lost(&report, "master-2"));
        let beside = report.node_addresses.iter().find(|row| row.peer == "master-2");
        assert_eq!(beside.map(|row| row.verdict.as_str()), Some("clear"), "the other network is in order: {report}");
        assert!(report.findings.iter().all(|one| one.subject == "master-2"), "{report}");
    }
    all.of("master-2").for_each(|endpoint| *endpoint = endpoint.clone().unready());
    control.list(&all);
    for (node, since) in sound.into_iter().zip(&since) {
        two_rounds(&mut agents[node], |report| {
            assert_eq!(&lost(report, "master-2"), since, "{}", shown(report));
            assert_eq!(report.summary.peers, 3);
        })?;
    }
    // The tables still have it: it is a peer by its address, and the finding is the same.
    let end = cluster.recipe.underlay_address(1).to_string();
    control.list(&all.clone().without("master-2"));
    let agent = &mut agents[0];
    let report = agent.until("the node to go", |report| !peers(report).contains("master-2"))?;
    assert_eq!(lost(&report, &end), since[0], "{}", shown(&report));
    assert!(report.findings.iter().all(|one| one.subject != "master-2"), "{report}");
    assert_eq!(series(agent, "master-2")?, 0);
    broken.heal()?;
    all.of("master-2").for_each(|endpoint| *endpoint = Endpoint { ready: Some(true), ..endpoint.clone() });
    control.list(&all);
    for agent in &mut agents {
        agent.until("healing", |report| report.is_well() && all_clear(report) && report.summary.peers == 3)?;
    }
    Ok(())
}

/// Looks at each of two rounds that began after this call.
fn two_rounds(agent: &mut Service<'_>, look: impl Fn(&Report)) -> Result<()> {
    let mut seen = agent.report()?.generated_at;
    // The first may have begun before.
    for round in 0..3 {
        let report = agent.until("another round", |report| report.generated_at > seen)?;
        seen = report.generated_at;
        if round > 0 {
            look(&report);
        }
    }
    Ok(())
}

fn outage() -> Result<()> {
    let cluster = Cluster::build(FLANNEL)?;
    let control = Control::start(&cluster)?;
    control.list(&all_listed(&cluster)?);
    let mut agents = [control.agent(0)?, control.agent(2)?, control.twin(0)?];
    agents.iter_mut().try_for_each(Service::await_ready)?;
    let well = |report: &Report| report.is_well() && all_clear(report) && report.paths.len() >= 7;
    for agent in &mut agents {
        agent.until("a healthy report", well)?;
    }
    let hole = Fault::DropLarger { node: 2, than: 1400.into() };
    // No connection is taken.
    control.api.close();
    let made = hole.make(&cluster)?;
    for agent in &mut agents {
        agent.until("the hole", found_alone)?;
    }
    says(&agents[0], &["watch of endpointslices in namespace mtuscope at https://", "onnection refused"])?;
    // Connections are taken, and nothing is answered.
    control.api.always(Some(Refusal::Hang));
    control.api.open();
    made.heal()?;
    for agent in &mut agents {
        agent.until("healing", well)?;
    }
    // The right is gone.
    control.api.always(Some(Refusal::forbidden("watch")));
    control.api.cut();
    let made = hole.make(&cluster)?;
    for agent in &mut agents {
        agent.until("the hole", found_alone)?;
        says(agent, &["a Role in namespace mtuscope with the verb watch on endpointslices of discovery.k8s.io"])?;
    }
    made.heal()?;
    control.api.always(None);
    for agent in &mut agents {
        agent.until("healing", well)?;
        until_heard(agent)?;
    }
    Ok(())
}

/// The hole, and nothing of the API.
fn found_alone(report: &Report) -> bool {
    report.has("path-black-hole") && !report.has("peer-source-stale")
}

fn until_heard(agent: &Service<'_>) -> Result<()> {
    wait::until_after(pace::MOST, "the API to be heard again", || {
        let text = agent.get("/metrics", "*/*")?.body;
        let heard = text.lines().any(|line| line == r#"mtuscope_source_success{source="kubernetes"} 1"#);
        Ok(if heard { Look::There(()) } else { Look::NotYet(text) })
    })
}

/// Waits until it has logged all of this.
fn says(agent: &Service<'_>, words: &[&str]) -> Result<()> {
    wait::until_after(pace::MOST, &format!("the agent to say {words:?}"), || {
        let log = agent.log()?;
        Ok(if words.iter().all(|word| log.contains(word)) { Look::There(()) } else { Look::NotYet(log) })
    })
}

/// A file of the kind that a pod finds mounted, here in the lab's own `/run`.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn lonely_start() -> Result<()> {
    let cluster = Cluster::build(FLANNEL)?;
    let control = Control::start(&cluster)?;
    control.list(&all_listed(&cluster)?);
    control.api.close();
    let mut agent = control.agent_of_pod(0)?;
    let report = agent.until("what the tables know", |report| all_clear(report) && peers(report).len() == 3)?;
    assert!(report.is_well(), "{report}");
    says(&agent, &["serviceaccount/token: No such file", "automountServiceAccountToken"])?;
    fs::create_dir_all(ACCOUNT).map_err(|error| Error::new("making the account's directory", error))?;
    control.api.account(FsPath::new(ACCOUNT), control::TOKEN)?;
    control.api.always(Some(Refusal::forbidden("list")));
    control.api.open();
    says(&agent, &["a Role in namespace mtuscope with the verb list on endpointslices of discovery.k8s.io"])?;
    let report = agent.report()?;
    assert!(report.is_well(), "{report}");
    control.api.always(None);
    let wanted = seen_from_node(&cluster, &[1, 2, 3])?;
    until_heard(&agent)?;
    agent.until("every node by its name", |report| rows(report) == wanted).map(drop)
}
