//! Loss, and filters of this machine's own: what they must not make of a verdict.

use lab::cluster::Cluster;
use lab::fault::{Fault, Traffic, Way};
use lab::harness::test;
use lab::recipe::{PLAIN, REFERENCE, ROUTED, Recipe};
use lab::report::ProbeReport;
use lab::service::{self, Service};
use lab::{Error, Result};
use libtest_mimic::Trial;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("200 clear peers at 5 % loss each way are not called anything else", || loss(REFERENCE, 200, None)),
        test("black holes are found to the byte at 5 % loss each way", || loss(PLAIN, 50, Some(1400))),
        test("answers that connection tracking calls invalid are seen on the tunnel", tapped),
        test("what the tunnel hides by fragmenting is measured below it", || below(ROUTED)),
    ]
}

/// Peers that all are node 1, by addresses of its own, while every twentieth packet gets lost on each way.
fn loss(recipe: Recipe, peers: usize, hole: Option<u32>) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    spread(&cluster)?;
    let narrow = hole.map(|than| Fault::DropLarger { node: 1, than: than.into() }.make(&cluster)).transpose()?;
    let loss = Fault::Loss { node: 1, percent: 5, way: Way::Both, of: Traffic::All }.make(&cluster)?;
    let targets: Vec<_> = (1..=peers).map(|host| format!("10.77.0.{host}")).collect();
    let arguments: Vec<&str> =
        ["probe", "--output", "json"].into_iter().chain(targets.iter().map(String::as_str)).collect();
    let output = service::run(cluster.host(0), &arguments)?;
    let report = ProbeReport::parse(&String::from_utf8_lossy(&output.stdout))?;
    assert_eq!(report.paths.len(), peers);
    let (verdict, mtu) = hole.map_or(("clear", recipe.underlay_mtu), |carries| ("black_hole", carries));
    let right = |path: &&lab::report::Path| path.verdict == verdict && path.path_mtu == Some(mtu);
    let wrong: Vec<_> = report.paths.iter().filter(|path| !right(path) && path.verdict != "unknown").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let known = report.paths.iter().filter(right).count();
    assert!(known * 50 >= peers * 49, "{known} of {peers} are known");
    loss.heal()?;
    narrow.map_or(Ok(()), |narrow| narrow.heal())
}

/// Gives node 1 a network of addresses.
fn spread(cluster: &Cluster) -> Result<()> {
    let (recipe, network) = (cluster.recipe, "10.77.0.0/24");
    let far = recipe.underlay_address(1);
    cluster.host(1).sh(&format!("ip route add local {network} dev lo"))?;
    let first = recipe.router_address(0).unwrap_or(far);
    for (from, last) in
        [(Some(cluster.host(0)), None), (cluster.routers.first(), None), (cluster.routers.get(1), Some(far))]
    {
        let Some(from) = from else { continue };
        let told = from.sh(&format!("ip -4 -o route get {far}"))?;
        let via = told.split_whitespace().skip_while(|word| *word != "via").nth(1).map(str::to_owned);
        let via = via.or(last.map(|last| last.to_string())).unwrap_or_else(|| first.to_string());
        from.sh(&format!("ip route add {network} via {via}"))?;
    }
    Ok(())
}

/// The answer to a packet that was encapsulated here is nothing that connection tracking asked for.
fn tapped() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let filter = Fault::DropInvalid { node: 0 }.make(&cluster)?;
    let mut service = Service::start(&cluster, 0)?;
    let below = |path: &lab::report::Path| path.outer.as_ref().and_then(|outer| outer.path_mtu);
    let report = service.until("a size below the tunnel", |report| {
        report.path("master-2", "overlay").is_some_and(|path| below(path).is_some())
    })?;
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.path("master-2", "overlay").and_then(below), Some(1500));
    service.stop()?;
    filter.heal()
}

fn below(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let narrow = Fault::HopMtu { bytes: 1400.into() }.make(&cluster)?;
    let (path, code) = super::probe(&cluster, cluster.overlay()?.tunnel_address(1))?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", Some(1450), 0), "{path:?}");
    let outer = path.outer.clone().ok_or_else(|| Error::new("looking below the tunnel", format!("{path:?}")))?;
    assert_eq!((outer.verdict.as_str(), outer.path_mtu), ("limited", Some(1400)), "{path:?}");
    narrow.heal()
}
