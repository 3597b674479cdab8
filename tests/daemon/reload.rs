//! A changed configuration, in every way that a file changes, taken up by the process that runs.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::test;
use lab::http;
use lab::recipe::{REFERENCE, ROUTED};
use lab::report::Report;
use lab::service::{SERVER, Service};
use lab::wait::{self, Look};
use lab::{Error, Result};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::{metric, until_logged, until_metric};

const SUCCESSFUL: &str = "mtuscope_config_last_reload_successful";
const SUCCEEDED: &str = "mtuscope_config_last_reload_success_timestamp_seconds";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("peers that a changed file names are probed, and others take their findings along", other_peers),
        test("a sysctl that a changed file expects is read, and no longer once it is not", expected_sysctl),
        test("a broken file changes nothing, says where, and is seen to be mended", broken),
        test("the link that a ConfigMap swaps is followed", swapped_link),
        test("SIGHUP reads the file at once, and without a file says so", hang_up),
        test("HTTP moves to another address, or all stays as it was", other_address),
    ]
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::new("writing a configuration", error))
}

/// A configuration that names these nodes of the reference cluster, by their node addresses alone.
fn naming(nodes: &[usize], more: &str) -> String {
    let peer = |node: &usize| {
        format!("    - {{ name: {}, underlay: {} }}\n", REFERENCE.nodes[*node], REFERENCE.underlay_address(*node))
    };
    let peers: String = nodes.iter().map(peer).collect();
    format!("node: master-1\npeers:\n  kernel: false\n  static:\n{peers}probing: {{ interval: 1s }}\n{more}")
}

fn peers(report: &Report) -> Vec<&str> {
    report.paths.iter().map(|path| path.peer.as_str()).collect()
}

fn other_peers() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start_with(&cluster, 0, &naming(&[1], ""))?;
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    service.until("a finding about master-2", |report| report.has("path-black-hole"))?;
    let more = "metrics: { named_peers: 0 }\nexpect: { underlay_mtu: 1300 }\n";
    let other = naming(&[2], more).replace("node: master-1", "node: renamed").replace("1s", "2s");
    write(service.config(), &other)?;
    let report = service.until("the other peer alone", |report| peers(report) == ["app-worker"])?;
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!((report.node.as_str(), codes), ("renamed", vec!["declared-mtu-differs"]), "as `expect` says: {report}");
    assert_eq!(report.paths[0].path_mtu, Some(1300), "no more is expected, and probed: {report}");
    until_metric(&mut service, "mtuscope_probe_interval_seconds", 2.0)?;
    let named = r#"mtuscope_path_mtu_bytes{peer="app-worker",plane="underlay",family="ipv4"}"#;
    assert_eq!(metric(&service, named)?, None, "no peer is named in metrics any more");
    let changed = "changed=\"node peers.static probing.interval expect.underlay_mtu metrics.named_peers\"";
    until_logged(&mut service, &["configuration read again", changed])?;
    hole.heal()
}

fn expected_sysctl() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start_with(&cluster, 0, &naming(&[1], ""))?;
    let expecting = |key: &str| naming(&[1], &format!("expect: {{ sysctls: {{ {key}: 77 }} }}\n"));
    // No other rule looks at this one, so nothing but the new order has it read.
    write(service.config(), &expecting("net.ipv4.ip_default_ttl"))?;
    let report = service.until("the drift", |report| report.has("sysctl-drift"))?;
    let finding = report.findings.iter().find(|finding| finding.code == "sysctl-drift");
    assert_eq!(finding.map(|finding| finding.subject.as_str()), Some("net.ipv4.ip_default_ttl"), "{report}");
    until_logged(&mut service, &["configuration read again", "changed=\"expect.sysctls\""])?;
    write(service.config(), &expecting("net.ipv4.//.ip_default_ttl"))?;
    until_logged(&mut service, &["ERROR", "is no sysctl such as net.ipv4.ip_forward"])?;
    assert!(service.report()?.has("sysctl-drift"), "the old order stands");
    cluster.host(0).set("net/ipv4/ip_default_ttl", "77")?;
    service.until("it to be as expected", |report| !report.has("sysctl-drift"))?;
    cluster.host(0).set("net/ipv4/ip_default_ttl", "64")?;
    service.until("it to drift again", |report| report.has("sysctl-drift"))?;
    write(service.config(), &naming(&[1], ""))?;
    service.until("nothing to be expected", |report| !report.has("sysctl-drift")).map(drop)
}

fn broken() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start_with(&cluster, 0, &naming(&[1], ""))?;
    let config = service.config().to_owned();
    assert_eq!(metric(&service, SUCCESSFUL)?, Some(1.0));
    let started = metric(&service, SUCCEEDED)?;
    assert!(started.is_some_and(|at| at > 1.7e9), "the start counts: {started:?}");
    write(&config, &naming(&[2], "probbing: {}\nlisten: nowhere\n"))?;
    until_metric(&mut service, SUCCESSFUL, 0.0)?;
    let line = |number: usize, what: &str| format!("{}:{number}:{what}", config.display());
    until_logged(&mut service, &["ERROR", &line(7, "1: unknown key `probbing`")])?;
    until_logged(&mut service, &["ERROR", &line(8, "9: listen must be an address and port")])?;
    let seen = service.report()?.generated_at;
    service.until("a further round over the old peer", |report| {
        peers(report) == ["master-2"] && report.measured_since(seen)
    })?;
    assert_eq!(metric(&service, SUCCEEDED)?, started, "nothing good was read since");
    fs::remove_file(&config).map_err(|error| Error::new("removing a configuration", error))?;
    until_logged(&mut service, &["ERROR", "cannot open the configuration"])?;
    assert_eq!(metric(&service, SUCCESSFUL)?, Some(0.0));
    write(&config, &naming(&[2], ""))?;
    until_metric(&mut service, SUCCESSFUL, 1.0)?;
    assert!(metric(&service, SUCCEEDED)? > started);
    service.until("the peer of the mended file", |report| peers(report) == ["app-worker"])?;
    write(&config, "")?;
    until_logged(&mut service, &["ERROR", "is empty; if all defaults are meant"])?;
    assert_eq!(peers(&service.report()?), ["app-worker"], "a full disk costs no peers");
    Ok(())
}

fn swapped_link() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let failed = |error: io::Error| Error::new("laying out a ConfigMap", error);
    let directory = tempfile::tempdir().map_err(failed)?;
    let at = |name: &str| directory.path().join(name);
    for (version, node) in [("..1", 1), ("..2", 2)] {
        fs::create_dir(at(version)).map_err(failed)?;
        write(&at(version).join("config.yaml"), &naming(&[node], ""))?;
    }
    symlink("..1", at("..data")).map_err(failed)?;
    symlink("..data/config.yaml", at("config.yaml")).map_err(failed)?;
    let mut service = Service::launch(&cluster, 0, "", |command, _| {
        command.arg("--config").arg(at("config.yaml")).args(["--listen", &SERVER.to_string()]);
    })?;
    service.await_ready()?;
    assert_eq!(peers(&service.report()?), ["master-2"]);
    // As the kubelet does it: the new link beside the old one, renamed over it, then the old content goes.
    symlink("..2", at("..data_tmp")).map_err(failed)?;
    fs::rename(at("..data_tmp"), at("..data")).map_err(failed)?;
    fs::remove_dir_all(at("..1")).map_err(failed)?;
    service.until("the peer of the new content", |report| peers(report) == ["app-worker"])?;
    assert_eq!(metric(&service, SUCCESSFUL)?, Some(1.0));
    Ok(())
}

fn hang_up() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut service = Service::start(&cluster, 0)?;
    for reading in ["reload=1", "reload=2"] {
        service.signal(Signal::SIGHUP)?;
        until_logged(&mut service, &["nothing changed", reading])?;
    }
    drop(service);
    let listen = SERVER.to_string();
    let mut service = Service::launch(&cluster, 0, "", |command, _| _ = command.args(["--listen", &listen]))?;
    service.await_ready()?;
    service.signal(Signal::SIGHUP)?;
    until_logged(&mut service, &["WARN", "there is no configuration to read again"])?;
    service.check_alive()
}

/// Waits until HTTP answers at an address, or no longer does.
fn until_answered(service: &mut Service<'_>, cluster: &Cluster, at: SocketAddr, wanted: bool) -> Result<()> {
    let seen = wait::until(&format!("{at} to answer: {wanted}"), || {
        service.check_alive()?;
        let answered = http::get(cluster.host(0), at, "/livez", "*/*").is_ok();
        Ok(if answered == wanted { Look::There(()) } else { Look::NotYet(String::new()) })
    });
    seen.map_err(|error| service.with_log(error))
}

fn other_address() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let elsewhere = SocketAddr::new(ROUTED.underlay_address(0), 9801);
    let listening = |at: &str| format!("listen: \"{at}\"\nprobing: {{ interval: 1s }}\n");
    let mut service = Service::launch(&cluster, 0, &listening("127.0.0.1:9800"), |command, config| {
        command.arg("--config").arg(config);
    })?;
    let config = service.config().to_owned();
    until_answered(&mut service, &cluster, local(9800), true)?;
    write(&config, &listening("127.0.0.1:9801"))?;
    until_answered(&mut service, &cluster, local(9801), true)?;
    until_answered(&mut service, &cluster, local(9800), false)?;
    // All addresses and one of them exclude each other on one port, for everybody but whoever holds both.
    write(&config, &listening("0.0.0.0:9801"))?;
    until_answered(&mut service, &cluster, elsewhere, true)?;
    write(&config, &listening("127.0.0.1:9801"))?;
    until_answered(&mut service, &cluster, elsewhere, false)?;
    until_answered(&mut service, &cluster, local(9801), true)?;
    let taken = cluster.host(0).inside(|| TcpListener::bind(local(9802)))?;
    let taken = taken.map_err(|error| Error::new("taking a port", error))?;
    write(&config, &listening("127.0.0.1:9802"))?;
    until_logged(&mut service, &["ERROR", "cannot listen on 127.0.0.1:9802", "another program listens there"])?;
    until_answered(&mut service, &cluster, local(9801), true)?;
    drop(taken);
    until_answered(&mut service, &cluster, local(9802), true)?;
    until_answered(&mut service, &cluster, local(9801), false)
}
