//! What probes without a right find: the same as those with it, but for what no ping tells.

use std::net::IpAddr;

use lab::cluster::Cluster;
use lab::container::Context;
use lab::fault::{Fault, Manner, Way};
use lab::harness::test;
use lab::recipe::{DUAL, REFERENCE, ROUTED, Recipe};
use lab::report::{Path, ProbeReport};
use lab::{Error, Result, service};
use libtest_mimic::Trial;
use rustix::thread::CapabilitySet;

use super::container::File;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("pings find what raw sockets find: a clear way, a limit, a hole, silence", the_same),
        test("pings find it in IPv6 too", the_same_in_six),
        test("pings show the hops, and where a hole is", hops),
        test("many targets at once, half of which refuse, take no other's word for theirs", nobody_elses_errors),
    ]
}

/// `mtuscope probe` in node 0, with and without the right to raw sockets.
fn both(cluster: &Cluster, arguments: &[&str]) -> Result<[(ProbeReport, Option<i32>); 2]> {
    let arguments = &[&["probe", "--output", "json"], arguments].concat();
    let host = cluster.host(0);
    host.set("net/ipv4/ping_group_range", "0 0")?;
    let by_pings = File::Bare.start(host, Context::adding(CapabilitySet::empty())).args(arguments).output();
    let by_pings = by_pings.map_err(|error| Error::new("starting a container", error))?;
    let told = String::from_utf8_lossy(&by_pings.stderr).into_owned();
    assert!(told.contains("unprivileged socket for pings"), "what it could not do: {told}");
    [service::run(host, arguments)?, by_pings]
        .map(|output| {
            let report = ProbeReport::parse(&String::from_utf8_lossy(&output.stdout));
            report.map(|report| (report, output.status.code())).map_err(|error| error.check(told.clone()))
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()
        .map(|both| both.try_into().expect("there are two"))
}

/// What is told of a path, however it was measured.
fn fate(path: &Path) -> (String, Option<u32>, Option<String>) {
    let by = path.limited_by.as_ref().and_then(|by| by.address.clone());
    (path.verdict.clone(), path.path_mtu, by)
}

fn agree(cluster: &Cluster, to: IpAddr, expected: (&str, Option<u32>)) -> Result<()> {
    let [(raw, code), (pings, code_of_pings)] = both(cluster, &[&to.to_string()])?;
    let fates = [raw, pings].map(|report| fate(&report.paths[0]));
    assert_eq!(fates[0], fates[1], "{to}");
    assert_eq!((fates[1].0.as_str(), fates[1].1), expected, "{to}");
    assert_eq!(code, code_of_pings, "{to}");
    Ok(())
}

fn the_same() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let to = ROUTED.underlay_address(1);
    agree(&cluster, to, ("clear", Some(1500)))?;
    let hop = Fault::HopMtu { bytes: 1400.into() }.make(&cluster)?;
    agree(&cluster, to, ("limited", Some(1400)))?;
    let hidden = Fault::DropFragNeeded {}.make(&cluster)?;
    agree(&cluster, to, ("black_hole", Some(1400)))?;
    hidden.heal()?;
    hop.heal()?;
    let filtered = Fault::DropEcho { node: 1 }.make(&cluster)?;
    agree(&cluster, to, ("unknown", None))?;
    filtered.heal()?;
    let gone = Fault::DropAll { node: 1 }.make(&cluster)?;
    agree(&cluster, to, ("unreachable", None))?;
    gone.heal()
}

fn the_same_in_six() -> Result<()> {
    let cluster = Cluster::build(DUAL)?;
    let to = six(&DUAL, 1);
    agree(&cluster, to, ("clear", Some(1500)))?;
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    agree(&cluster, to, ("black_hole", Some(1400)))?;
    hole.heal()?;
    let nobody = "fd00::dead".parse().expect("it is an address");
    let [(raw, _), (pings, _)] = both(&cluster, &[&IpAddr::to_string(&nobody)])?;
    assert_eq!([raw, pings].map(|report| report.paths[0].verdict.clone()), ["unreachable"; 2]);
    Ok(())
}

fn six(recipe: &Recipe, node: usize) -> IpAddr {
    recipe.underlay_addresses(node).into_iter().find(IpAddr::is_ipv6).expect("the recipe speaks it")
}

fn hops() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let to = ROUTED.underlay_address(1);
    let narrow = Fault::NarrowHop { after: 1, bytes: 1400.into(), way: Way::There, manner: Manner::Lost };
    let narrow = narrow.make(&cluster)?;
    let [(raw, _), (pings, _)] = both(&cluster, &["--hops", &to.to_string()])?;
    let seen = [&raw, &pings].map(|report| {
        let path = &report.paths[0];
        let hops: Vec<_> = path.hops.iter().map(|hop| (hop.ttl, hop.address.clone())).collect();
        (path.verdict.clone(), hops, path.way.clone(), path.hole.is_some())
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!((seen[1].2.as_deref(), seen[1].3), (Some("forward"), true), "UDP told the ways apart: {pings:?}");
    narrow.heal()
}

/// The kernel hands the error about one packet to the next call, whatever that is about.
fn nobody_elses_errors() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    cluster.host(0).sh("ip route add 10.99.0.0/16 via 10.0.0.12")?;
    cluster.host(1).sh("ip route add prohibit 10.99.0.0/16")?;
    let refused: Vec<String> = (0..100).map(|host| format!("10.99.0.{host}")).collect();
    let there: Vec<String> = (0..100).map(|host| format!("127.0.0.{}", host + 1)).collect();
    let all: Vec<&str> = refused.iter().zip(&there).flat_map(|(one, other)| [one.as_str(), other.as_str()]).collect();
    let [_, (pings, _)] = both(&cluster, &all)?;
    for path in &pings.paths {
        let expected = if path.peer.starts_with("127.") { "clear" } else { "unreachable" };
        assert_eq!(path.verdict, expected, "{path:?}");
    }
    assert_eq!(pings.paths.len(), 200);
    Ok(())
}
