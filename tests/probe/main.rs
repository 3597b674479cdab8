//! `mtuscope probe` as a command: many targets, names, both families, hops, ways, equal-cost paths, limits of time. What
//! the engine makes of one path is in `engine.rs`.

mod console;
mod look;
mod names;

use std::io::Write;
use std::net::IpAddr;
use std::process::{ExitCode, Output, Stdio};

use lab::cluster::Cluster;
use lab::family::Family;
use lab::fault::{Fault, Manner, Way};
use lab::harness::{self, test};
use lab::namespace::Namespace;
use lab::recipe::{DUAL, PLAIN, REFERENCE, ROUTED, Role, SIX_ALONE};
use lab::report::{Path, ProbeReport};
use lab::{Error, Result, service};
use libtest_mimic::Trial;

fn main() -> ExitCode {
    harness::main(|| {
        names::mount().expect("a mount namespace of our own takes a file over another");
        let mut tests = vec![
            test("targets come as arguments, from files and from standard input, each once", lists),
            test("a list with mistakes is refused whole, before a packet is sent", mistakes),
            test("both families are measured in one run", both_families),
            test("IPv6 alone is measured, refused and swallowed", six_alone),
            test("one dead target hides no other", one_dead),
            test("a thousand targets are clear, in two packets each", a_thousand),
            test("no packet is larger than asked for", sizes),
            test("packets leave from the address asked for", sources),
            test("what takes too long is unknown, and the rest is told", timeout),
            test("the packet budget is a limit", budget),
        ];
        tests.extend(names::tests());
        tests.extend(look::tests());
        tests.extend(console::tests());
        tests
    })
}

/// What `mtuscope probe` says of targets, and its exit status.
pub(crate) fn probe(host: &Namespace, arguments: &[&str]) -> Result<(ProbeReport, i32)> {
    let output = service::run(host, &[&["probe", "--output", "json"], arguments].concat())?;
    report(&output)
}

fn report(output: &Output) -> Result<(ProbeReport, i32)> {
    let code = output.status.code().ok_or_else(|| Error::new("running `probe`", output.status))?;
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report =
        ProbeReport::parse(&text).map_err(|error| error.check(format!("it exited with {code} and said {log}")))?;
    Ok((report, code))
}

/// Runs `probe` with a list on its standard input.
fn piped(host: &Namespace, arguments: &[&str], list: &str) -> Result<Output> {
    let failed = |error: std::io::Error| Error::new("running `probe` with a list", error);
    let mut command = service::mtuscope(host)?;
    command.arg("probe").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    child.stdin.take().expect("it is piped").write_all(list.as_bytes()).map_err(failed)?;
    child.wait_with_output().map_err(failed)
}

pub(crate) fn only(report: ProbeReport) -> Path {
    let [path] = <[Path; 1]>::try_from(report.paths).expect("one target has one path");
    path
}

fn verdicts(report: &ProbeReport) -> Vec<(&str, &str, Option<u32>)> {
    report.paths.iter().map(|path| (path.peer.as_str(), path.verdict.as_str(), path.path_mtu)).collect()
}

fn lists() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let addresses: Vec<String> = (0..3).map(|node| REFERENCE.underlay_address(node).to_string()).collect();
    let list = format!("# peers\n{}\n\n{} # once more\n", addresses[1], addresses[0]);
    let directory = tempfile::tempdir().map_err(|error| Error::new("making a directory", error))?;
    let file = directory.path().join("hosts");
    std::fs::write(&file, &addresses[2]).map_err(|error| Error::new("writing a list", error))?;
    let file = file.to_string_lossy();
    let output = piped(cluster.host(0), &["--output", "json", &addresses[0], "-", "-f", &file], &list)?;
    let (report, code) = report(&output)?;
    let peers: Vec<_> = report.paths.iter().map(|path| path.peer.as_str()).collect();
    assert_eq!((peers, code), (vec![&*addresses[0], &addresses[2], &addresses[1]], 0), "{report:?}");
    Ok(())
}

fn mistakes() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let sent = || cluster.host(0).run("cat", ["/proc/net/snmp"]);
    let out = |snmp: String| snmp.lines().rfind(|line| line.starts_with("Icmp:")).map(str::to_owned);
    let before = out(sent()?);
    let list = format!("{}\n10.0.0.300\nfe80::1%eth0\n", REFERENCE.underlay_address(1));
    let output = piped(cluster.host(0), &["-"], &list)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains("standard input:2: `10.0.0.300`") && said.contains("standard input:3: "), "{said}");
    assert_eq!(out(sent()?), before, "a packet left although the list is wrong");
    Ok(())
}

fn both_families() -> Result<()> {
    let cluster = Cluster::build(DUAL)?;
    let six = |node| DUAL.underlay_in(Family::V6, node).map(|address| address.to_string()).unwrap_or_default();
    let four = DUAL.underlay_address(1).to_string();
    let overlay = DUAL.overlay.and_then(|overlay| overlay.tunnel_in(Family::V6, 1)).expect("it speaks both families");
    let (report, code) = probe(cluster.host(0), &[&four, &six(1), &six(2), &overlay.to_string()])?;
    let sizes: Vec<_> = report.paths.iter().map(|path| (path.verdict.as_str(), path.path_mtu)).collect();
    let clear = |mtu| ("clear", Some(mtu));
    assert_eq!((sizes, code), (vec![clear(1500), clear(1500), clear(1500), clear(1430)], 0), "{report:?}");
    let planes: Vec<_> = report.paths.iter().map(|path| path.plane.as_str()).collect();
    assert_eq!(planes, ["underlay", "underlay", "underlay", "overlay"]);
    Ok(())
}

fn six_alone() -> Result<()> {
    let cluster = Cluster::build(SIX_ALONE)?;
    let peer = SIX_ALONE.underlay_address(1);
    assert!(peer.is_ipv6(), "this recipe has no IPv4");
    let measure = || probe(cluster.host(0), &[&peer.to_string()]).map(|(report, code)| (only(report), code));
    let (path, code) = measure()?;
    assert_eq!(
        (path.verdict.as_str(), path.path_mtu, path.packets_sent, code),
        ("clear", Some(1500), 2, 0),
        "{path:?}"
    );
    let narrow = Fault::HopMtu { bytes: 1400.into() }.make(&cluster)?;
    let (path, code) = measure()?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("limited", Some(1400), 0), "{path:?}");
    let by = path.limited_by.clone().and_then(|by| by.address);
    assert_eq!(by, SIX_ALONE.router_address(0).map(|address| address.to_string()), "{path:?}");
    narrow.heal()?;
    let hole = Fault::DropLarger { node: 1, than: 1337.into() }.make(&cluster)?;
    let (path, code) = measure()?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("black_hole", Some(1337), 1), "{path:?}");
    hole.heal()
}

fn one_dead() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (peers, nobody) = ([1, 2].map(|node| REFERENCE.underlay_address(node).to_string()), "10.0.0.99");
    let (report, code) = probe(cluster.host(0), &[&peers[0], nobody, &peers[1]])?;
    let clear = Some(1500);
    let wanted = [(&*peers[0], "clear", clear), (nobody, "unreachable", None), (&peers[1], "clear", clear)];
    assert_eq!((verdicts(&report), code), (wanted.to_vec(), 1), "{report:?}");
    Ok(())
}

/// All at one far machine, so that one wire carries it all. That it is quick is a benchmark's to say; here, nothing is
/// lost by its being quick: answers that overran the receive buffer would be asked for again.
fn a_thousand() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let (host, far) = (cluster.host(0), cluster.host(1));
    far.sh("ip route add local 198.51.0.0/16 dev lo")?;
    for (number, router) in cluster.routers.iter().enumerate() {
        let next = if number == 0 { "172.16.100.2".to_owned() } else { ROUTED.underlay_address(1).to_string() };
        let routes = router.sh("ip route show")?;
        let via = routes.lines().find_map(|line| line.strip_prefix("172.16.2.0/24 via ")?.split(' ').next());
        router.sh(&format!("ip route add 198.51.0.0/16 via {}", via.unwrap_or(&next)))?;
    }
    let list: String = (0..1000).map(|number| format!("198.51.{}.{}\n", number / 250, 1 + number % 250)).collect();
    let (report, code) = report(&piped(host, &["--output", "json", "-"], &list)?)?;
    assert_eq!((report.paths.len(), code), (1000, 0));
    assert!(report.paths.iter().all(|path| path.verdict == "clear" && path.path_mtu == Some(1500)), "{report:?}");
    let packets: u32 = report.paths.iter().map(|path| path.packets_sent).sum();
    assert!(packets < 2_200, "{packets} packets: answers got lost on the way");
    Ok(())
}

fn sizes() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let peer = PLAIN.underlay_address(1).to_string();
    let measure = |size| probe(cluster.host(0), &["--size", size, &peer]).map(|(report, code)| (only(report), code));
    let (path, code) = measure("1280")?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, path.expected_mtu, code), ("clear", Some(1280), Some(1280), 0));
    let (path, code) = measure("9000")?;
    assert_eq!((path.verdict.as_str(), path.path_mtu, code), ("limited", Some(1500), 0), "{path:?}");
    assert!(path.limited_by.as_ref().is_some_and(|by| by.address.is_none()), "a link of this machine: {path:?}");
    let hole = Fault::DropLarger { node: 1, than: 1300.into() }.make(&cluster)?;
    let (path, _) = measure("1280")?;
    assert_eq!(path.verdict, "clear", "nothing larger was sent: {path:?}");
    let (path, _) = measure("1301")?;
    assert_eq!((path.verdict.as_str(), path.path_mtu), ("black_hole", Some(1300)), "{path:?}");
    hole.heal()
}

fn sources() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let (host, peer) = (cluster.host(0), PLAIN.underlay_address(1).to_string());
    let nic = cluster.link(Role::Nic)?;
    host.sh(&format!("ip address add 172.30.1.77/24 dev {nic}"))?;
    // The far end drops what comes from the first address, so only a packet from the second is answered.
    let first = PLAIN.underlay_address(0);
    cluster.host(1).feed(
        "nft",
        &["-f", "-"],
        &format!("add table ip t\nadd chain ip t c {{ type filter hook input priority 0; }}\nadd rule ip t c ip saddr {first} drop\n"),
    )?;
    let (report, code) = probe(host, &["--source", "172.30.1.77", &peer])?;
    assert_eq!((verdicts(&report), code), (vec![(&*peer, "clear", Some(1500))], 0), "{report:?}");
    let (report, code) = probe(host, &["--source", &first.to_string(), &peer])?;
    assert_eq!((report.paths[0].verdict.as_str(), code), ("unreachable", 1), "{report:?}");
    let output = service::run(host, &["probe", "--source", "192.0.2.1", &peer])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot send from 192.0.2.1 (--source): "), "{said}");
    Ok(())
}

/// A dead host takes six seconds to be called unreachable.
fn timeout() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let dead = Fault::DropAll { node: 1 }.make(&cluster)?;
    let (peer, own) = (PLAIN.underlay_address(1).to_string(), PLAIN.router_address(0).map(|router| router.to_string()));
    let router = own.unwrap_or_default();
    let (report, code) = probe(cluster.host(0), &["--timeout", "1s", &peer, &router])?;
    assert_eq!(verdicts(&report), [(&*peer, "unknown", None), (&*router, "clear", Some(1500))], "{report:?}");
    let why = report.paths[0].why.as_deref().unwrap_or_default();
    assert!(code == 2 && why.contains("not finished within 1 s"), "{code}: {why}");
    dead.heal()
}

fn budget() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let peer = PLAIN.underlay_address(1).to_string();
    let (report, code) = probe(cluster.host(0), &["--packets-per-second", "1", &peer])?;
    assert_eq!((verdicts(&report), code), (vec![(&*peer, "clear", Some(1500))], 0), "{report:?}");
    Ok(())
}

/// The address of a node in a family, as text.
pub(crate) fn address(address: Option<IpAddr>) -> String {
    address.expect("the recipe speaks this family").to_string()
}

/// The same test for each case.
pub(crate) fn each<T: Copy + Send + 'static>(cases: &[(String, T)], body: fn(T) -> Result<()>) -> Vec<Trial> {
    cases.iter().cloned().map(|(name, case)| test(name, move || body(case))).collect()
}

/// A wire that loses what is larger, in silence.
pub(crate) fn lost_behind(router: usize, bytes: u32, way: Way) -> Fault {
    Fault::NarrowHop { after: router, bytes: bytes.into(), way, manner: Manner::Lost }
}
