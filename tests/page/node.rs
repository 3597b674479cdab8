//! `/` as a node's agent serves it: well, sick in two ways, without the right to look, alone, with names that were made to
//! be run, and with more peers than a screen has lines.

use std::net::{Ipv4Addr, SocketAddr};

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::recipe::{REFERENCE, Role};
use lab::service::{self, SERVER, Service};
use lab::wait::{self, Look};
use lab::{Result, http};
use serde_json::json;

use crate::Reader;
use crate::crowd::Crowd;

/// What a configuration may call a peer and a node, and what an administrator may call a link.
const PEER: &str = "<img src=x onerror=alert(1)>";
const NODE: &str = "<script>alert(2)</script>";
const LINK: &str = "<b>\"&amp;'";

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
    let mut reader = Reader::in_place(cluster.host(0))?;
    let page = url(SERVER);

    agent.until("a healthy node", |report| {
        report.is_well() && report.paths.iter().all(|path| path.probed_at.is_some())
    })?;
    reader.sees("manners", &json!({ "url": page, "says": ["HEALTHY", "master-2", "app-worker"] }));
    reader.sees("healthy", &json!({ "url": page, "node": "master-1" }));
    for (port, why) in [(9748, "CAP_NET_RAW"), (9749, "knows no peers")] {
        ready(&cluster, port)?;
        let page = url(at(port));
        reader.sees("manners", &json!({ "url": page, "says": ["UNKNOWN"] }));
        reader.sees("unknown", &json!({ "url": page, "healthy": url(SERVER), "says": why }));
    }
    drop((blind, alone));

    reader.sees("follow", &json!({ "as": "reader", "url": page }));
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    reader.sees("turns", &json!({ "as": "reader", "headline": "critical", "says": ["path-black-hole", "master-2"] }));
    let report =
        agent.until("the black hole alone to be loud", |report| report.is_loud("path-black-hole", "master-2"))?;
    let fixes = report.remedy("path-black-hole", "master-2");
    reader.sees("manners", &json!({ "url": page, "says": ["CRITICAL", "path-black-hole", "master-2"] }));
    reader.sees("sick", &json!({ "url": page, "code": "path-black-hole", "subject": "master-2", "fixes": fixes }));
    for one in ["keyboard", "copies", "prints"] {
        reader.sees(one, &json!({ "url": page, "fixes": fixes }));
    }
    hole.heal()?;
    reader.sees("turns", &json!({ "as": "reader", "headline": "healthy", "says": [] }));

    let down = Fault::LinkDown { node: 0, link: Role::Nic }.make(&cluster)?;
    reader.sees("turns", &json!({ "as": "reader", "headline": "critical", "says": ["link-down", REFERENCE.nic] }));
    let report = agent.until("the peers behind it to be explained", |report| {
        report.is_loud("link-down", REFERENCE.nic)
            && report.findings.iter().any(|finding| finding.silenced_by.is_some())
    })?;
    let fixes = report.remedy("link-down", REFERENCE.nic);
    reader.sees("manners", &json!({ "url": page, "says": ["link-down", "ip link set dev enp5s0 up"] }));
    reader.sees(
        "sick",
        &json!({ "url": page, "code": "link-down", "subject": REFERENCE.nic, "fixes": fixes, "folded": "peer-unreachable" }),
    );
    down.heal()?;
    agent.until("healing", |report| report.is_well())?;
    reader.sees("turns", &json!({ "as": "reader", "headline": "healthy", "says": [] }));
    agent.stop()?;
    reader.sees("fallsSilent", &json!({ "as": "reader" }));
    reader.ends()
}

/// Fails if a page that stays open is old and does not say so, asks at another pace than it is told, or moves what is
/// read.
pub(crate) fn open() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut agent = Service::start(&cluster, 0)?;
    agent.until("a healthy node", |report| {
        report.is_well() && report.paths.iter().all(|path| path.probed_at.is_some())
    })?;
    let mut reader = Reader::in_place(cluster.host(0))?;
    let page = url(SERVER);
    reader.sees("holds", &json!({ "url": page, "cluster": format!("{page}cluster") }));
    for check in ["titled", "follows", "keepsPlace"] {
        reader.sees(check, &json!({ "url": page }));
    }
    reader.ends()
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

/// Fails if anything that a stranger named is more than text: a peer in the table of paths, a link in the ladder, in a
/// finding and in the command that mends it.
pub(crate) fn names() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let host = cluster.host(0);
    for change in [&[REFERENCE.nic, "down"][..], &[REFERENCE.nic, "name", LINK]] {
        host.run("ip", ["link", "set", "dev"].into_iter().chain(change.iter().copied()))?;
    }
    let peer = cluster.recipe.underlay_address(1);
    let configuration = format!(
        "node: \"{NODE}\"\npeers: {{ kernel: false, static: [{{ name: '{PEER}', underlay: {peer} }}] }}\n{}",
        service::PROBING
    );
    let mut agent = Service::start_with(&cluster, 0, &configuration)?;
    agent
        .until("the link to be blamed", |report| report.is_loud("link-down", LINK) && report.has("peer-unreachable"))?;
    let mut reader = Reader::in_place(host)?;
    let names = [PEER, LINK, NODE];
    reader.sees("names", &json!({ "url": url(SERVER), "names": names }));
    reader.sees("manners", &json!({ "url": url(SERVER), "says": names }));
    reader.ends()
}

pub(crate) fn many_peers() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let crowd = Crowd::gather(&cluster, 200, SERVER.port())?;
    let mut agent = Service::start_with(&cluster, 0, &crowd.configuration())?;
    agent.until("all of them to be measured", |report| {
        report.paths.len() == 200 && report.paths.iter().all(|path| path.probed_at.is_some())
    })?;
    let mut reader = Reader::in_place(cluster.host(0))?;
    reader.sees("crowd", &json!({ "url": url(SERVER), "peers": crowd.names() }));
    reader.sees("manners", &json!({ "url": url(SERVER), "says": ["node-001", "200 peers"] }));
    reader.ends()
}
