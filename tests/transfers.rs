//! Transfers between agents in a real cluster: what is found, what is not concluded, and what others can make of the
//! endpoint.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;

use jiff::Timestamp;
use lab::cluster::Cluster;
use lab::fault::{Fault, Way};
use lab::harness::{self, test};
use lab::http::{self, Response};
use lab::recipe::{REFERENCE, ROUTED, Recipe};
use lab::report::{Finding, Report};
use lab::service::{self, Service};
use lab::{Error, Result};

const CODE: &str = "overlay-transfer-stalls";
const PORT: u16 = 9747;
const BYTES: u64 = 64 * 1024;

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("a stall to the peer says how far it came", || stall(Way::There, "to_peer")),
            test("a stall from the peer says how far it came", || stall(Way::Back, "from_peer")),
            test("a stall both ways is one finding", || stall(Way::Both, "both")),
            test("a tunnel that spoils what it sends is found by its peer and does not blame it", spoilt),
            test("report finds a stall on its own", report_finds_it),
            test("without the peer's agent nothing is concluded", nobody_there),
            test("an agent behind a filter is no stall", filtered),
            test("switched off nothing is moved and nobody is let in", switched_off),
            test("whoever is no peer gets the reason and no bulk", strangers),
            test("a flood is turned away and rounds and reports go on", flood),
            test("a peer that stands still is cut", slow_peer),
        ]
    })
}

/// Agents in the first two nodes, each a peer of the other.
struct Pair<'c> {
    cluster: &'c Cluster,
    here: Service<'c>,
    there: Service<'c>,
}

impl<'c> Pair<'c> {
    fn start(cluster: &'c Cluster) -> Result<Self> {
        let start = |node| Service::start_open(cluster, node, &service::configuration(cluster, node));
        let mut pair = Self { cluster, there: start(1)?, here: start(0)? };
        pair.until_passed()?;
        Ok(pair)
    }

    fn until_passed(&mut self) -> Result<Report> {
        let (peer, since) = (self.cluster.recipe.nodes[1], Timestamp::now());
        self.here.until("a transfer that passes", |report| {
            let transfer = report.path(peer, "overlay").and_then(|path| path.transfer.as_ref());
            let passed = transfer.is_some_and(|one| one.result == "passed" && one.at.is_some_and(|at| at >= since));
            passed && report.findings.is_empty()
        })
    }
}

fn finding<'r>(report: &'r Report, code: &str) -> &'r Finding {
    report.findings.iter().find(|finding| finding.code == code).expect("waited for")
}

fn large(recipe: &Recipe) -> u32 {
    recipe.overlay.expect("it has a tunnel").mtu - 200
}

fn stall(way: Way, direction: &str) -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut pair = Pair::start(&cluster)?;
    let than = large(&ROUTED).into();
    let broken = Fault::StallTransfers { node: 1, than, way }.make(&cluster)?;
    let report = pair.here.until("the stall", |report| report.has(CODE))?;
    let Finding { evidence, subject, severity, .. } = finding(&report, CODE);
    assert_eq!((subject.as_str(), severity.as_str()), ("worker-b", "critical"), "{report}");
    assert_eq!(evidence["direction"], direction, "{evidence:?}");
    assert_eq!((&evidence["tunnel"], &evidence["stage"]), (&"flannel.1".into(), &"moving".into()), "{evidence:?}");
    assert_eq!(evidence["path_mtu"], cluster.overlay()?.mtu, "ICMP of full size passes: {evidence:?}");
    let number = |name: &str| evidence[name].as_u64().unwrap_or_default();
    if way == Way::Back {
        assert!(number("to_peer") > BYTES && number("from_peer") < BYTES, "{evidence:?}");
    } else {
        assert!(number("to_peer") < 2000 && number("retransmits") > 0, "{evidence:?}");
    }
    let counted = pair.here.get("/metrics", "text/plain")?.body;
    let stalls = counted.lines().find_map(|line| line.strip_prefix("mtuscope_transfer_stalls_total "));
    assert!(stalls.and_then(|count| count.parse::<f64>().ok()).is_some_and(|count| count >= 2.0), "{stalls:?}");
    broken.heal()?;
    pair.until_passed().map(drop)
}

fn spoilt() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut pair = Pair::start(&cluster)?;
    let broken = Fault::CorruptTcp { node: 0 }.make(&cluster)?;
    let report = pair.there.until("the stall", |report| report.has(CODE))?;
    let Finding { evidence, subject, .. } = finding(&report, CODE);
    assert_eq!((subject.as_str(), &evidence["direction"]), ("worker-a", &"from_peer".into()), "{evidence:?}");
    assert_eq!(evidence["stage"], "connecting", "{evidence:?}");
    assert!(evidence["spoilt"].as_u64().is_some_and(|count| count >= 2), "{evidence:?}");
    let told = "this node's tunnel spoils what it sends";
    let own = pair.here.until("the reason", |report| reasons(report).iter().any(|why| why.contains(told)))?;
    assert!(!own.has(CODE), "{own}");
    broken.heal()?;
    pair.until_passed().map(drop)
}

fn report_finds_it() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let _there = Service::start_open(&cluster, 1, &service::configuration(&cluster, 1))?;
    let _broken = Fault::StallTransfers { node: 1, than: large(&REFERENCE).into(), way: Way::Both }.make(&cluster)?;
    let output = service::run(cluster.host(0), &["report", "--output", "json", "--wait", "60s"])?;
    let report = Report::parse(&String::from_utf8_lossy(&output.stdout))?;
    let peer = REFERENCE.underlay_address(1).to_string();
    assert_eq!(finding(&report, CODE).subject, peer, "{report}");
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

/// Reasons why nothing is concluded about transfers.
fn reasons(report: &Report) -> Vec<&str> {
    report.not_concluded.iter().filter(|row| row.code == CODE).map(|row| row.reason.as_str()).collect()
}

fn nobody_there() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut alone = Service::start(&cluster, 0)?;
    let report =
        alone.until("the reason", |report| reasons(report).iter().any(|why| why.contains("nobody listens")))?;
    assert!(report.is_well(), "{report}");
    Ok(())
}

fn filtered() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut pair = Pair::start(&cluster)?;
    let tunnel = cluster.overlay()?.tunnels()[0].link;
    let rule = format!("iifname \"{tunnel}\" tcp dport {PORT} drop");
    let table = format!("table inet filter {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}\n");
    cluster.host(1).feed("nft", &["-f", "-"], &table)?;
    let mut found = false;
    let mut times = std::collections::BTreeSet::new();
    pair.here.until("four more rounds with the reason", |report| {
        found |= report.has(CODE);
        if reasons(report).iter().any(|why| why.contains("TCP to its port is filtered there")) {
            times.extend(report.path("worker-b", "overlay").and_then(|path| path.probed_at));
        }
        found || times.len() > 4
    })?;
    assert!(!found, "a filter was taken for a stall");
    cluster.host(1).run("nft", ["delete", "table", "inet", "filter"])?;
    pair.until_passed().map(drop)
}

fn switched_off() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let off = |node| {
        service::configuration(&cluster, node).replace("confirm_rounds: 2", "confirm_rounds: 2, transfers: false")
    };
    let mut here = Service::start_open(&cluster, 0, &off(0))?;
    here.until("the reason", |report| reasons(report).iter().any(|why| why.contains("probing.transfers")))?;
    let refused = ask(&cluster, 1, cluster.overlay()?.tunnel_address(0), "GET")?;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.body.contains("switched off"), "{}", refused.body);
    Ok(())
}

/// Asks an agent for bulk from a node.
fn ask(cluster: &Cluster, from: usize, agent: impl Into<IpAddr>, method: &str) -> Result<Response> {
    let agent = SocketAddr::new(agent.into(), PORT);
    let request = format!("{method} /transfer HTTP/1.1\r\nHost: {agent}\r\nConnection: close\r\n\r\n");
    http::send(cluster.host(from), agent, request.as_bytes())
}

fn strangers() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let _here = Service::start_open(&cluster, 0, &service::configuration(&cluster, 0))?;
    let overlay = cluster.overlay()?;
    for address in [overlay.tunnel_address(0), REFERENCE.underlay_address(0)] {
        let given = ask(&cluster, 1, address, "GET")?;
        assert_eq!((given.status, given.body.len() as u64), (200, BYTES), "a peer by {address}");
    }
    // The management network leads to the same node, by an address that nobody named.
    let refused = ask(&cluster, 1, REFERENCE.management_address(0), "GET")?;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let own = REFERENCE.management_address(1).to_string();
    assert!(refused.body.contains(&own) && refused.body.len() < 400, "{}", refused.body);
    let loopback = ask(&cluster, 0, IpAddr::from([127, 0, 0, 1]), "GET")?;
    assert_eq!(loopback.status, 403, "nor does anybody get it on the node itself");
    Ok(())
}

fn flood() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut pair = Pair::start(&cluster)?;
    let agent = cluster.overlay()?.tunnel_address(0);
    let mut turned = 0;
    let since = Timestamp::now();
    while turned < 100 {
        let answer = ask(&cluster, 1, agent, "GET")?;
        assert!([200, 429].contains(&answer.status), "{} {}", answer.status, answer.body);
        turned += usize::from(answer.status == 429);
        if turned % 10 == 1 {
            pair.here.report()?;
        }
    }
    pair.here.until("a round after the flood", |report| report.measured_since(since) && report.findings.is_empty())?;
    pair.until_passed().map(drop)
}

fn slow_peer() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let mut pair = Pair::start(&cluster)?;
    let agent = SocketAddr::from((cluster.overlay()?.tunnel_address(0), PORT));
    let half = format!("POST /transfer HTTP/1.1\r\nHost: {agent}\r\nContent-Length: 65536\r\n\r\n0123456789");
    let hang = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(agent)?;
        stream.write_all(half.as_bytes())?;
        // Nothing more is sent, and the connection is held until the other side has enough.
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = cluster.host(1).inside(hang)?.map_err(|error| Error::new("hanging on a transfer", error))?;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("10 bytes, and then nothing"), "{answer}");
    pair.until_passed().map(drop)
}
