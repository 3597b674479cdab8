//! One node is one peer, whatever families it and its pods speak and however many tunnels lead there.
//!
//! Of a node with two families a report lists every address once, under one name, and measures it. The name stays with all
//! of them when a route is lost by which they were found to belong together.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::family::Family;
use lab::fault::{Becomes, Fault};
use lab::harness::{self, test};
use lab::recipe::{DUAL, MIXED, Recipe, SIX, SIX_PODS, TWO_WAYS};
use lab::report::{Path, Report};
use lab::service::{self, Service};
use lab::{Error, Result};
use libtest_mimic::Trial;

fn main() -> ExitCode {
    harness::main(|| {
        let on_each = |recipe: Recipe| {
            let name = recipe.name;
            [
                test(format!("a node that is named with every address is one peer on {name}"), move || named(recipe)),
                test(format!("addresses of one family and pods of both are enough on {name}"), move || by_pods(recipe)),
                test(format!("report finds one peer for each tunnel end on {name}"), move || discovered(recipe)),
            ]
        };
        let mut tests: Vec<Trial> = [DUAL, MIXED, SIX, SIX_PODS, TWO_WAYS].into_iter().flat_map(on_each).collect();
        tests.push(test("a lost route to pods of IPv6 does not make two peers of one", || lost_route(DUAL)));
        tests
    })
}

/// Peer, plane, address.
type Row = (String, &'static str, String);

fn rows(name: &str, plane: &'static str, addresses: &[IpAddr]) -> Vec<Row> {
    addresses.iter().map(|address| (name.to_owned(), plane, address.to_string())).collect()
}

/// Every address of every other node under its name.
fn all_of(cluster: &Cluster) -> Result<BTreeSet<Row>> {
    let (recipe, overlay) = (cluster.recipe, cluster.overlay()?);
    let of = |peer: usize| {
        let name = recipe.nodes[peer];
        let underlay = rows(name, "underlay", &recipe.underlay_addresses(peer));
        let tunnels = rows(name, "overlay", &overlay.tunnel_addresses(peer));
        underlay.into_iter().chain(tunnels).chain(rows(name, "pod", &overlay.pod_addresses(peer)))
    };
    Ok(cluster.peers(0).flat_map(of).collect())
}

/// What the report lists, each row as often as it is there.
fn listed(report: &Report) -> Vec<Row> {
    let plane = |path: &Path| match path.plane.as_str() {
        "underlay" => "underlay",
        "overlay" => "overlay",
        _ => "pod",
    };
    report.paths.iter().map(|path| (path.peer.clone(), plane(path), path.address.clone())).collect()
}

fn lists(report: &Report, wanted: &BTreeSet<Row>) {
    let listed = listed(report);
    assert_eq!(&listed.iter().cloned().collect::<BTreeSet<_>>(), wanted, "{report}");
    assert_eq!(listed.len(), wanted.len(), "some address is listed twice: {report}");
    let names: BTreeSet<_> = wanted.iter().map(|(name, ..)| name).collect();
    assert_eq!(report.summary.peers, names.len(), "{report}");
}

fn all_clear(report: &Report) -> bool {
    report.is_well() && report.paths.iter().all(|path| path.verdict == "clear" && path.packets_sent > 0)
}

fn named(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let report = Service::start(&cluster, 0)?.until("every path to be clear", all_clear)?;
    lists(&report, &all_of(&cluster)?);
    Ok(())
}

/// Other nodes as an operator names them who thinks of the first family alone.
fn first_family(recipe: &Recipe) -> Result<String> {
    let mut text = format!("node: {}\npeers:\n  static:\n", recipe.nodes[0]);
    let overlay = recipe.overlay.ok_or_else(|| Error::new("naming peers", "the recipe has no pods"))?;
    for (peer, name) in recipe.nodes.iter().enumerate().skip(1) {
        let pods: Vec<_> = overlay.pod_addresses(peer).iter().map(|pod| format!("\"{pod}\"")).collect();
        let (underlay, tunnel, pods) = (recipe.underlay_address(peer), overlay.tunnel_address(peer), pods.join(", "));
        let peer = format!("name: {name}, underlay: \"{underlay}\", overlay: \"{tunnel}\", pod: [{pods}]");
        let _ = writeln!(text, "    - {{ {peer} }}");
    }
    Ok(text + "probing: { interval: 1s }\n")
}

/// What can be known of a node that is named by its first family: all but a node address of which nothing tells.
fn known(cluster: &Cluster) -> Result<BTreeSet<Row>> {
    let overlay = cluster.overlay()?;
    let first = cluster.recipe.underlay_address(0);
    let is_told = |address: &str| {
        let family = address.parse().map(Family::of);
        family == Ok(Family::of(first)) || overlay.tunnels().iter().any(|tunnel| family == Ok(tunnel.over))
    };
    Ok(all_of(cluster)?.into_iter().filter(|(_, plane, address)| *plane != "underlay" || is_told(address)).collect())
}

fn by_pods(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut service = Service::start_with(&cluster, 0, &first_family(&recipe)?)?;
    lists(&service.until("every path to be clear", all_clear)?, &known(&cluster)?);
    Ok(())
}

/// Without a word from the operator: tunnels that lead to one address are one peer, and those of two families share none.
fn discovered(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let output = service::run(cluster.host(0), &["report", "--output", "json"])?;
    let report = Report::parse(&String::from_utf8_lossy(&output.stdout))?;
    let overlay = cluster.overlay()?;
    let mut wanted = BTreeSet::new();
    for (peer, tunnel) in cluster.peers(0).flat_map(|peer| overlay.tunnels().into_iter().map(move |it| (peer, it))) {
        let end = recipe.underlay_in(tunnel.over, peer);
        let end = end.ok_or_else(|| Error::new("finding the tunnel's end", "nodes do not speak its family"))?;
        let carried = overlay.tunnel_addresses(peer).into_iter().filter(|own| tunnel.carries.has(Family::of(*own)));
        wanted.extend(rows(&end.to_string(), "underlay", &[end]));
        wanted.extend(rows(&end.to_string(), "overlay", &carried.collect::<Vec<_>>()));
    }
    lists(&report, &wanted);
    assert!(all_clear(&report), "{report}");
    Ok(())
}

fn lost_route(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut service = Service::start_with(&cluster, 0, &first_family(&recipe)?)?;
    let wanted = known(&cluster)?;
    lists(&service.until("every path to be clear", all_clear)?, &wanted);
    let broken = Fault::PodRoute { node: 0, to: 1, becomes: Becomes::Nothing }.make(&cluster)?;
    let pods: Vec<_> = cluster.overlay()?.pod_addresses(1).iter().map(IpAddr::to_string).collect();
    let lost = |path: &Path| pods.contains(&path.address) && path.verdict == "unreachable";
    let report = service
        .until("the pods to be lost", |report| report.paths.iter().filter(|path| lost(path)).count() == pods.len())?;
    lists(&report, &wanted);
    broken.heal()?;
    lists(&service.until("every path to be clear", all_clear)?, &wanted);
    Ok(())
}
