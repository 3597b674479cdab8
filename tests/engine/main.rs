//! The path engine on a real kernel: `mtuscope probe`, one address at a time, in a node of a running cluster.
//!
//! Sizes are exact, packets are counted, and nobody on the wire can talk it into another verdict.

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::intruder::{Forgery, Intruder};
use lab::recipe::{JUMBO, PLAIN, REFERENCE, ROUTED, Recipe, Role, Tunnel};
use lab::report::{Path, ProbeReport};
use lab::{Error, Result, service};
use libtest_mimic::Trial;

mod far;
mod trouble;

fn main() -> ExitCode {
    harness::main(|| {
        let mut tests = vec![
            test("a clear path takes two packets", clear_in_two),
            test("a signalled limit takes three packets and names the hop", limited_in_three),
            test("a limit of this machine is told from a hop's", limited_here),
            test("a tunnel address is measured through the tunnel", through_the_tunnel),
            test("a dead host is unreachable", dead_host),
            test("a host that filters echo is unknown, not unreachable", filtered_host),
            test("a host without a neighbour entry is unreachable", no_such_host),
            test("an address without a route is unreachable", no_route),
            test("what the kernel remembers is shown and does not fool the value", stale_memory),
            test("forged Frag Needed do not shrink a clear path", forged_errors),
            test("Frag Needed with a guessed id do not move the edge of a black hole", forged_errors_over_a_hole),
            test("forged replies do not raise the dead", forged_replies),
            test("another process with the same id does not raise the dead", same_id_elsewhere),
        ];
        tests.extend(black_holes());
        tests.extend(far::tests());
        tests.extend(trouble::tests());
        tests
    })
}

/// What `mtuscope probe` says of one address, and its exit status.
fn probe(cluster: &Cluster, address: impl Into<IpAddr>) -> Result<(Path, i32)> {
    let address = address.into().to_string();
    let (path, code) = probe_with(cluster, &[&address])?;
    assert_eq!(path.peer, address, "the peer is the address as given");
    Ok((path, code))
}

/// The same with other arguments.
fn probe_with(cluster: &Cluster, arguments: &[&str]) -> Result<(Path, i32)> {
    let output = service::run(cluster.host(0), &[&["probe", "--output", "json"], arguments].concat())?;
    let code = output.status.code().ok_or_else(|| Error::new("running `probe`", output.status))?;
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report =
        ProbeReport::parse(&text).map_err(|error| error.check(format!("it exited with {code} and said {log}")))?;
    let path = report.paths.into_iter().next().ok_or_else(|| Error::new("running `probe`", "it lists no path"))?;
    Ok((path, code))
}

fn peer(recipe: &Recipe) -> IpAddr {
    recipe.underlay_address(1)
}

fn clear_in_two() -> Result<()> {
    for recipe in [ROUTED, JUMBO] {
        let cluster = Cluster::build(recipe)?;
        let (path, code) = probe(&cluster, peer(&recipe))?;
        let mtu = Some(recipe.underlay_mtu);
        assert_eq!((path.verdict.as_str(), path.path_mtu, path.expected_mtu, code), ("clear", mtu, mtu, 0), "{path:?}");
        assert_eq!(path.packets_sent, 2, "{path:?}");
        assert!(path.limited_by.is_none() && path.cached_mtu.is_none(), "{path:?}");
    }
    Ok(())
}

fn limited_in_three() -> Result<()> {
    for mtu in [1499, 1400, 1280, 600] {
        let cluster = Cluster::build(PLAIN)?;
        let narrow = Fault::HopMtu { bytes: mtu.into() }.make(&cluster)?;
        let (path, code) = probe(&cluster, peer(&PLAIN))?;
        assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("limited", Some(mtu), 0), "{path:?}");
        assert_eq!(path.packets_sent, 3, "{path:?}");
        let hop = PLAIN.router_address(0).map(|address| address.to_string());
        let by = path.limited_by.clone().map(|by| (by.address, by.reported_mtu));
        assert_eq!(by, Some((hop, Some(mtu))), "{path:?}");
        narrow.heal()?;
    }
    Ok(())
}

/// With DF set on its outer packets, a tunnel that got too large is refused by the node itself.
fn limited_here() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (host, overlay) = (cluster.host(0), cluster.overlay()?);
    let Tunnel { link, vni, .. } = overlay.tunnels()[0];
    host.sh(&format!("ip link set {link} type vxlan id {vni} df set"))?;
    let lower = Fault::Mtu { node: 0, link: Role::Lower, bytes: 1400.into() }.make(&cluster)?;
    let (path, code) = probe(&cluster, overlay.tunnel_address(1))?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("limited", Some(1350), 0), "{path:?}");
    let by = path.limited_by.clone().and_then(|by| by.address);
    assert_eq!(by, None, "the limit is a link of this machine: {path:?}");
    lower.heal()
}

fn through_the_tunnel() -> Result<()> {
    for recipe in [REFERENCE, ROUTED, JUMBO] {
        let cluster = Cluster::build(recipe)?;
        let overlay = cluster.overlay()?;
        for address in [overlay.tunnel_address(1), overlay.pod_address(1)] {
            let (path, code) = probe(&cluster, address)?;
            assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", Some(overlay.mtu), 0), "{path:?}");
        }
    }
    Ok(())
}

/// Black holes of several sizes, on both kinds of network.
fn black_holes() -> Vec<Trial> {
    let sizes = [
        (REFERENCE, [1499, 1496, 1492, 1450, 1400, 1337, 1280, 576, 84].as_slice()),
        (ROUTED, &[1499, 1400, 1006]),
        (JUMBO, &[8999, 8950, 4321, 1500, 1499]),
    ];
    let one = |recipe: Recipe, size: u32| {
        test(format!("a black hole above {size} B is found exactly on {}", recipe.name), move || {
            black_hole(recipe, size)
        })
    };
    sizes.into_iter().flat_map(|(recipe, sizes)| sizes.iter().map(move |&size| one(recipe, size))).collect()
}

fn black_hole(recipe: Recipe, size: u32) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let hole = Fault::DropLarger { node: 1, than: size.into() }.make(&cluster)?;
    let (path, code) = probe(&cluster, peer(&recipe))?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("black_hole", Some(size), 1), "{path:?}");
    assert!(path.packets_sent <= 60, "{path:?}");
    hole.heal()
}

fn dead_host() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let dead = Fault::DropAll { node: 1 }.make(&cluster)?;
    is_unreachable(&probe(&cluster, peer(&ROUTED))?);
    dead.heal()
}

fn no_such_host() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    is_unreachable(&probe(&cluster, Ipv4Addr::new(10, 0, 0, 99))?);
    Ok(())
}

fn no_route() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    cluster.host(0).sh("ip route del default")?;
    is_unreachable(&probe(&cluster, Ipv4Addr::new(203, 0, 113, 1))?);
    Ok(())
}

fn is_unreachable((path, code): &(Path, i32)) {
    assert_eq!((path.verdict.as_str(), path.path_mtu, *code), ("unreachable", None, 1), "{path:?}");
}

fn filtered_host() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let filtered = Fault::DropEcho { node: 1 }.make(&cluster)?;
    let (path, code) = probe(&cluster, peer(&ROUTED))?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("unknown", None, 2), "{path:?}");
    assert!(path.why.as_ref().is_some_and(|why| !why.is_empty()), "{path:?}");
    filtered.heal()
}

fn stale_memory() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let stale = Fault::StaleException { node: 0, of: 1, bytes: 1400.into() }.make(&cluster)?;
    let (path, code) = probe(&cluster, peer(&PLAIN))?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", Some(1500), 0), "{path:?}");
    assert_eq!((path.cached_mtu, path.expected_mtu), (Some(1400), Some(1500)), "{path:?}");
    stale.heal()?;
    let (path, _) = probe(&cluster, peer(&PLAIN))?;
    assert_eq!(path.cached_mtu, None, "forgotten: {path:?}");
    Ok(())
}

/// The router's own address, the exact packet quoted: nothing tells the error from a true one but the answer.
fn forged_errors() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let router = PLAIN.router_address(0).expect("this recipe has routers");
    let forgery = Forgery::FragNeeded { from: router, mtu: 576 };
    let intruder = Intruder::start(&cluster.routers[0], forgery)?;
    let (path, code) = probe(&cluster, peer(&PLAIN))?;
    intruder.end()?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("clear", Some(1500), 0), "{path:?}");
    Ok(())
}

/// Who sees the packets can lie about a limit that is there in any case; who must guess cannot.
fn forged_errors_over_a_hole() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let router = PLAIN.router_address(0).expect("this recipe has routers");
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    let intruder = Intruder::start(&cluster.routers[0], Forgery::GuessedFragNeeded { from: router, mtu: 1000 })?;
    let (path, _) = probe(&cluster, peer(&PLAIN))?;
    intruder.end()?;
    assert_eq!((path.verdict.as_str(), path.path_mtu), ("black_hole", Some(1400)), "{path:?}");
    hole.heal()
}

fn forged_replies() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let dead = Fault::DropAll { node: 1 }.make(&cluster)?;
    let intruder = Intruder::start(&cluster.routers[0], Forgery::Reply)?;
    let probed = probe(&cluster, peer(&PLAIN))?;
    intruder.end()?;
    is_unreachable(&probed);
    dead.heal()
}

fn same_id_elsewhere() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let dead = Fault::DropAll { node: 1 }.make(&cluster)?;
    let (from, to) = (REFERENCE.underlay_address(0), REFERENCE.underlay_address(2));
    let intruder = Intruder::start(cluster.host(0), Forgery::SameIdElsewhere { from, to })?;
    let probed = probe(&cluster, peer(&REFERENCE))?;
    intruder.end()?;
    is_unreachable(&probed);
    dead.heal()
}
