//! `/` as a node's agent serves it: well, sick in two ways, without the right to look, alone, with names that were made to
//! be run, and with more peers than a screen has lines.

use std::net::{Ipv4Addr, SocketAddr};

use lab::browser::Browser;
use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::recipe::{REFERENCE, Role};
use lab::service::{self, SERVER, Service};
use lab::wait::{self, Look};
use lab::{Result, http};
use serde_json::json;

use crate::crowd::Crowd;

/// What a configuration may call a peer, and what an administrator may call a link.
const PEER: &str = "<img src=x onerror=alert(1)>";
const LINK: &str = "<b>\"&amp;'";

/// What the link is a port of.
const BRIDGE: &str = "vmbr1";

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

const fn at(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Another agent in the first node, on a port of its own.
fn another<'c>(
    cluster: &'c Cluster,
    port: u16,
    configuration: &str,
    more: impl FnOnce(&mut std::process::Command),
) -> Result<Service<'c>> {
    Service::launch(cluster, 0, configuration, |command, config| {
        command.arg("--config").arg(config).args(["--listen", &at(port).to_string()]);
        more(command);
    })
}

pub(crate) fn states() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut agent = Service::start(&cluster, 0)?;
    let blind = another(&cluster, 9748, &service::configuration(&cluster, 0), service::without_net_raw)?;
    let alone =
        another(&cluster, 9749, &format!("node: alone\npeers: {{ kernel: false }}\n{}", service::PROBING), |_| {})?;
    let mut browser = Browser::start(cluster.host(0))?;
    let page = url(SERVER);
    let mut check = |name: &str, given: serde_json::Value| browser.check(name, &given).map(drop);

    agent.until("a healthy node", |report| {
        report.is_well() && report.paths.iter().all(|path| path.probed_at.is_some())
    })?;
    check("manners", json!({ "url": page, "says": ["HEALTHY", "master-2", "app-worker"] }))?;
    check("healthy", json!({ "url": page, "node": "master-1" }))?;
    for (port, why) in [(9748, "CAP_NET_RAW"), (9749, "no path")] {
        ready(&cluster, port)?;
        let page = url(at(port));
        check("manners", json!({ "url": page, "says": ["UNKNOWN"] }))?;
        check("unknown", json!({ "url": page, "healthy": url(SERVER), "says": why }))?;
    }
    drop((blind, alone));

    check("follow", json!({ "as": "reader", "url": page }))?;
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    check("turns", json!({ "as": "reader", "headline": "critical", "says": ["path-black-hole", "master-2"] }))?;
    let report =
        agent.until("the black hole alone to be loud", |report| report.is_loud("path-black-hole", "master-2"))?;
    let fixes = report.remedy("path-black-hole", "master-2");
    check("manners", json!({ "url": page, "says": ["CRITICAL", "path-black-hole", "master-2", fixes[0]] }))?;
    check("sick", json!({ "url": page, "code": "path-black-hole", "subject": "master-2", "fixes": fixes }))?;
    for one in ["keyboard", "copies", "prints"] {
        check(one, json!({ "url": page, "fixes": fixes }))?;
    }
    hole.heal()?;
    check("turns", json!({ "as": "reader", "headline": "healthy", "says": [] }))?;

    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    check("turns", json!({ "as": "reader", "headline": "critical", "says": ["link-down", REFERENCE.nic] }))?;
    let report = agent.until("the peers behind it to be explained", |report| {
        report.is_loud("link-down", REFERENCE.nic)
            && report.findings.iter().any(|finding| finding.silenced_by.is_some())
    })?;
    let fixes = report.remedy("link-down", REFERENCE.nic);
    check("manners", json!({ "url": page, "says": ["link-down", REFERENCE.nic, fixes[0]] }))?;
    check(
        "sick",
        json!({ "url": page, "code": "link-down", "subject": REFERENCE.nic, "fixes": fixes, "folded": "peer-unreachable" }),
    )?;
    down.heal()?;
    agent.until("healing", |report| report.is_well())?;
    check("turns", json!({ "as": "reader", "headline": "healthy", "says": [] }))?;
    agent.stop()?;
    check("fallsSilent", json!({ "as": "reader" }))
}

/// Waits until an agent beside the first is ready.
fn ready(cluster: &Cluster, port: u16) -> Result<()> {
    wait::until("the other agent to be ready", || {
        Ok(match http::get(cluster.host(0), at(port), "/readyz", "*/*") {
            Ok(answer) if answer.status == 200 => Look::There(()),
            Ok(answer) => Look::NotYet(answer.body),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
}

/// Fails if anything that a stranger named is more than text: a peer in the table and in a finding, a link in a finding.
pub(crate) fn names() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let host = cluster.host(0);
    host.run("ip", ["link", "add", LINK, "mtu", "1400", "type", "veth", "peer", "name", "far"])?;
    host.run("ip", ["link", "set", LINK, "master", BRIDGE, "up"])?;
    host.run("ip", ["link", "set", "far", "up"])?;
    let peer = cluster.recipe.underlay_address(1);
    let configuration = format!(
        "node: \"<script>alert(2)</script>\"\npeers: {{ kernel: false, static: [{{ name: '{PEER}', underlay: {peer} }}] }}\n{}",
        service::PROBING
    );
    let mut agent = Service::start_with(&cluster, 0, &configuration)?;
    let hole = Fault::DropLarger { node: 1, than: 1300.into() }.make(&cluster)?;
    agent.until("both findings", |report| report.has("path-black-hole") && report.has("bridge-port-mtu"))?;
    let mut browser = Browser::start(host)?;
    let names = [PEER, LINK, "<script>alert(2)</script>"];
    browser.check("names", &json!({ "url": url(SERVER), "names": names }))?;
    browser.check("manners", &json!({ "url": url(SERVER), "says": names }))?;
    hole.heal()
}

pub(crate) fn many_peers() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let crowd = Crowd::gather(&cluster, 200, SERVER.port())?;
    let mut agent = Service::start_with(&cluster, 0, &crowd.configuration())?;
    agent.until("all of them to be measured", |report| {
        report.paths.len() == 200 && report.paths.iter().all(|path| path.probed_at.is_some())
    })?;
    let mut browser = Browser::start(cluster.host(0))?;
    browser.check("crowd", &json!({ "url": url(SERVER), "peers": crowd.names() }))?;
    browser.check("manners", &json!({ "url": url(SERVER), "says": ["node-001", "node-200"] })).map(drop)
}
