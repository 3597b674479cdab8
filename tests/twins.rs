//! The agent in the pod network: what it says of a cluster, and what the nodes' agents see of it.
//!
//! It runs in a pod of each recipe, by the same executable and the key `vantage: pod`. A cluster in order must read
//! healthy from there with nothing left open that could never be concluded, whatever CNI hung the pod; and what breaks
//! the network between pods must be found there by its own code, while what is only a matter of the node's must not.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use jiff::Timestamp;
use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::namespace::Namespace;
use lab::recipe::{self, REFERENCE, ROUTED, Recipe, TWO_NICS};
use lab::report::Report;
use lab::service::{self, Service};
use lab::{Error, Result};
use libtest_mimic::Trial;

fn main() -> ExitCode {
    harness::main(|| {
        // With two networks and a routing table for what the node itself sends, pods do not reach the nodes' addresses, and
        // a pod's agent is right to say so.
        let reach = |recipe: &Recipe| recipe.overlay.is_some() && recipe.name != TWO_NICS.name;
        let with_pods = recipe::every().filter(reach);
        let healthy =
            |recipe: Recipe| test(format!("a pod's agent reads healthy on {}", recipe.name), move || healthy(recipe));
        let mut tests: Vec<Trial> = with_pods.map(healthy).collect();
        tests.push(test("larger packets vanish below the tunnel: both agents find it, each its own way", black_hole));
        tests.push(test("a hop is smaller, and the pod is told", limited));
        tests.push(test("a node's own settings are no matter of a pod's agent", not_its_matter));
        tests
    })
}

/// The pod of a node.
fn pod(cluster: &Cluster, node: usize) -> Result<&Namespace> {
    cluster.nodes[node].pod.as_ref().ok_or_else(|| Error::new("looking for a pod", "the recipe has none"))
}

fn list(addresses: &[IpAddr]) -> String {
    let all: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", all.join(", "))
}

/// What a pod's agent is told: every other node, by its own address and its pod's.
fn configuration(cluster: &Cluster, node: usize) -> Result<String> {
    let (recipe, overlay) = (&cluster.recipe, cluster.overlay()?);
    let mut text = format!("node: {}\nvantage: pod\npeers:\n  static:\n", recipe.nodes[node]);
    for (peer, name) in recipe.nodes.iter().enumerate().filter(|(peer, _)| *peer != node) {
        let (underlay, pods) = (list(&recipe.underlay_addresses(peer)), list(&overlay.pod_addresses(peer)));
        let _ = writeln!(text, "    - {{ name: {name}, underlay: {underlay}, pod: {pods} }}");
    }
    Ok(text + "probing: { interval: 1s, confirm_rounds: 2 }\n")
}

fn start(cluster: &Cluster, node: usize) -> Result<Service<'_>> {
    let place = pod(cluster, node)?;
    Service::start_in(place, service::mtuscope(place)?, &configuration(cluster, node)?)
}

/// What a CNI does with what a pod sends to a node: it leaves under the node's own address. The lab's pods are routed
/// everywhere else, so only where something on the way has to find back is it needed.
fn masquerade(cluster: &Cluster) -> Result<()> {
    let nodes: Vec<_> = cluster.peers(0).flat_map(|peer| cluster.recipe.underlay_addresses(peer)).collect();
    let nodes: Vec<_> = nodes.iter().filter(|node| node.is_ipv4()).map(IpAddr::to_string).collect();
    let rules = format!(
        "table ip pods {{ chain leaving {{ type nat hook postrouting priority 100; ip daddr {{ {} }} masquerade; }}; }}\n",
        nodes.join(", ")
    );
    cluster.host(0).feed("nft", &["-f", "-"], &rules)
}

fn is_healthy(report: &Report) -> bool {
    report.summary.status == "healthy" && report.not_concluded.is_empty()
}

/// Nothing is found while every path is measured anew, twice, for the first time may have begun before; and then it is
/// healthy, with nothing left open.
fn stays_healthy(twin: &mut Service<'_>) -> Result<()> {
    for _ in 0..2 {
        let since = Timestamp::now();
        twin.until("every path to be measured anew", |report| {
            assert!(report.findings.is_empty(), "{report}");
            report.measured_since(since)
        })?;
    }
    twin.until("a healthy report", is_healthy).map(drop)
}

fn healthy(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut twin = start(&cluster, 0)?;
    let report = twin.until("a healthy report with nothing left open", is_healthy)?;
    assert!(report.findings.is_empty() && report.declared.is_empty() && report.tunnels.is_empty(), "{report}");
    let planes = |plane: &str| report.paths.iter().filter(|path| path.plane == plane).count();
    assert!(planes("pod") >= recipe.nodes.len() - 1, "{report}");
    assert!(report.paths.iter().all(|path| path.verdict == "clear" && path.plane != "overlay"), "{report}");
    assert_eq!(report.summary.recommended_overlay_mtu, None, "that is for the node's to say: {report}");
    let scrape = twin.get("/metrics", "*/*")?.body;
    assert!(scrape.lines().any(|line| line.starts_with("mtuscope_build_info") && line.contains(r#"vantage="pod""#)));
    Ok(())
}

fn black_hole() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut twin = start(&cluster, 0)?;
    let mut there = start(&cluster, 1)?;
    let mut node = Service::start(&cluster, 0)?;
    twin.until("a healthy report", is_healthy)?;
    let fits = Fault::DropLarger { node: 1, than: 1500.into() }.make(&cluster)?;
    // What is larger than a full packet was never sent.
    stays_healthy(&mut twin)?;
    fits.heal()?;
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    let peer = REFERENCE.nodes[1];
    let is_hole = |report: &Report, plane: &str, mtu: u32| {
        let path = report.path(peer, plane);
        path.is_some_and(|path| (path.verdict.as_str(), path.path_mtu) == ("black_hole", Some(mtu)))
    };
    // What the node answers comes back through the tunnel.
    let both = |report: &Report| is_hole(report, "pod", 1350) && is_hole(report, "underlay", 1350);
    twin.until("the hole", |report| report.has("path-black-hole") && both(report))?;
    there.until("the hole from the other side", |report| report.has("path-black-hole"))?;
    node.until("the hole on the way to the twin", |report| is_hole(report, "pod", 1350))?;
    hole.heal()?;
    for agent in [&mut twin, &mut there] {
        agent.until("healing", is_healthy)?;
    }
    Ok(())
}

fn limited() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    masquerade(&cluster)?;
    let mut twin = start(&cluster, 0)?;
    twin.until("a healthy report", is_healthy)?;
    let hop = Fault::HopMtu { bytes: 1400.into() }.make(&cluster)?;
    twin.until("the limit", |report| {
        let path = report.path(ROUTED.nodes[1], "underlay");
        report.has("path-limited")
            && path.is_some_and(|path| (path.verdict.as_str(), path.path_mtu) == ("limited", Some(1400)))
    })?;
    hop.heal()?;
    twin.until("healing", is_healthy)?;
    Ok(())
}

fn not_its_matter() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut twin = start(&cluster, 0)?;
    twin.until("a healthy report", is_healthy)?;
    let place = pod(&cluster, 0)?;
    for (setting, value) in [("rp_filter", "1"), ("proxy_arp", "0"), ("forwarding", "0")] {
        place.set(&format!("net/ipv4/conf/all/{setting}"), value)?;
    }
    stays_healthy(&mut twin)?;
    place.set("net/ipv4/ip_no_pmtu_disc", "1")?;
    twin.until("what a pod's own packets obey", |report| report.has("pmtu-discovery-off"))?;
    place.set("net/ipv4/ip_no_pmtu_disc", "0")?;
    twin.until("healing", is_healthy)?;
    Ok(())
}
