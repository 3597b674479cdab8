//! `mtuscope cluster` and `/cluster` over four agents: a fault names its node and heals, and agents that hang, refuse or
//! lie cost time and nothing else.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::{self, test};
use lab::recipe::FOUR;
use lab::schema::Schema;
use lab::service::{self, Service};
use lab::wait::{self, Look};
use lab::{Error, Result};
use serde_json::Value;

const PORT: u16 = 9747;

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("the matrix names the node with the fault and clears when it heals", names_the_node),
            test("agents that hang, refuse or answer garbage are named and hold nobody up", partial),
        ]
    })
}

fn start(cluster: &Cluster, node: usize) -> Result<Service<'_>> {
    Service::start_open(cluster, node, &service::configuration(cluster, node))
}

/// What the command prints in node 0, held against the committed schema, and its exit status.
fn picture(cluster: &Cluster) -> Result<(Value, i32)> {
    let output = service::run(cluster.host(0), &["cluster", "--output", "json"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    Schema::Cluster.check(&text).map_err(|error| error.check(String::from_utf8_lossy(&output.stderr)))?;
    let picture = serde_json::from_str(&text).map_err(|error| Error::new("reading the picture", error))?;
    Ok((picture, output.status.code().unwrap_or(-1)))
}

/// Asks until the picture is as wanted: paths are measured in turn, and a picture is kept for seconds.
fn until(cluster: &Cluster, what: &str, there: impl Fn(&Value, i32) -> bool) -> Result<Value> {
    wait::until(what, || {
        let (picture, code) = picture(cluster)?;
        Ok(if there(&picture, code) { Look::There(picture) } else { Look::NotYet(format!("{code} {picture}")) })
    })
}

fn is_healthy(picture: &Value, code: i32) -> bool {
    let summary = &picture["summary"];
    (&summary["status"], &summary["answered"], code) == (&"healthy".into(), &4.into(), 0)
}

/// Names of the nodes that stand out on a plane.
fn odd<'p>(picture: &'p Value, plane: &str) -> Vec<&'p str> {
    let rows = picture["odd"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter(|row| row["plane"] == plane).filter_map(|row| row["node"].as_str()).collect()
}

fn names_the_node() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let agents: Vec<Service<'_>> = (0..4).map(|node| start(&cluster, node)).collect::<Result<_>>()?;
    let healthy = until(&cluster, "a healthy cluster", |picture, code| {
        is_healthy(picture, code) && picture["summary"]["cells"]["clear"] == 36
    })?;
    assert_eq!(odd(&healthy, "underlay"), [""; 0]);
    let fault = Fault::DropLarger { node: 2, than: 1400.into() }.make(&cluster)?;
    // It has to tell of itself through the hole that it tells of.
    let seen = until(&cluster, "master-3 to stand out and to answer", |picture, code| {
        odd(picture, "underlay") == ["master-3"] && code == 1 && picture["summary"]["answered"] == 4
    })?;
    let row = seen["odd"].as_array().into_iter().flatten().find(|row| row["plane"] == "underlay").expect("waited for");
    assert_eq!((&row["to_it"]["measured"], &row["to_it"]["path_mtu"]), (&3.into(), &1400.into()), "{row}");
    assert_eq!(row["from_it"]["measured"], 3, "{row}");
    assert_eq!((&row["others"]["worse"], &row["others"]["measured"]), (&0.into(), &6.into()), "{row}");
    // What was seen above is kept for seconds, and this may be drawn anew.
    wait::until("another node to be told so", || {
        let text = service::run(cluster.host(1), &["cluster", "--from", "http://10.0.0.11:9747"])?;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        let told = text.contains("master-3 stands out (underlay, ipv4): 3 of 3 peers reach it with 1400");
        Ok(if told { Look::There(()) } else { Look::NotYet(text) })
    })?;
    shown(&agents[0])?;
    fault.heal()?;
    let healed = until(&cluster, "the cluster to heal", is_healthy)?;
    assert_eq!(odd(&healed, "underlay"), [""; 0]);
    Ok(())
}

/// A page once it tells of all that is to be there: the node behind the hole is not heard in time each time.
fn page(agent: &Service<'_>, path: &str, parts: &[&str]) -> Result<lab::http::Response> {
    wait::until(path, || {
        let page = agent.get(path, "text/html,application/xhtml+xml,*/*;q=0.8")?;
        let missing = parts.iter().find(|part| !page.body.contains(**part));
        Ok(match missing {
            None => Look::There(page),
            Some(part) => Look::NotYet(format!("no {part} in {}", page.body)),
        })
    })
}

/// The page that a browser gets names the node, has its cells in the map, and shows both ends of one of them.
fn shown(agent: &Service<'_>) -> Result<()> {
    let cell = "<td class=h><a href=\"?from=app-worker&amp;to=master-3\" title=\"app-worker to master-3\"><b>1400!</b>";
    let map = page(agent, "/cluster", &["Critical:</span> master-3 stands out</h1>", "4 of 4 agents answered", cell])?;
    assert_eq!(map.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(map.header("content-security-policy").is_some_and(|policy| policy.contains("form-action 'self'")));
    let link = "http://10.0.0.13:9747/";
    let title = "Black hole:</span> app-worker and master-3</h1>";
    // Whoever is heard is said to be, and each end's half has its own findings.
    let heard = "</h2>\n<p>Heard from its agent";
    let ends = ["app-worker says of master-3", "master-3 says of app-worker"].map(|end| format!("{end}{heard}"));
    let pair = page(agent, "/cluster?from=app-worker&to=master-3", &[title, link, &ends[0], &ends[1]])?;
    let (one, other) = pair.body.split_once("id=\"end-2\"").expect("a half for each end");
    assert!([one, other].iter().all(|half| half.contains("path-black-hole</code>")), "{}", pair.body);
    Ok(())
}

/// A server in a node where its agent would be.
fn instead(cluster: &Cluster, node: usize) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    let bound = cluster.host(node).inside(|| TcpListener::bind(address))?;
    bound.map_err(|error| Error::new("listening instead of an agent", error))
}

/// Claims to be another, to whoever asks, and breaks off in the middle.
fn lie(listener: &TcpListener) {
    let lie =
        "{\"schema\": \"mtuscope.report/v1\", \"node\": \"master-1\", \"paths\": [{\"peer\": \"master-2\", \"verdi";
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        // Whoever hangs up first is no matter here.
        _ = stream.read(&mut [0; 4096]);
        _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{lie}", lie.len()).as_bytes());
    }
}

fn partial() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    // The kernel accepts for it; nobody ever answers.
    let hanging = instead(&cluster, 1)?;
    let lying = instead(&cluster, 3)?;
    thread::spawn(move || lie(&lying));
    let _asked = start(&cluster, 0)?;
    let answer = |picture: &Value, name: &str| {
        let nodes = picture["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = nodes.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["answer"].as_str()).unwrap_or_default().to_owned()
    };
    let seen = until(&cluster, "a picture of what is there", |picture, _| picture["summary"]["cells"]["clear"] == 9)?;
    let answers = ["master-1", "master-2", "master-3", "app-worker"].map(|name| answer(&seen, name));
    assert_eq!(answers, ["report", "timeout", "no_connection", "garbage"], "{seen}");
    assert_eq!((&seen["summary"]["status"], &seen["summary"]["answered"]), (&"warning".into(), &1.into()), "{seen}");
    let strict = service::run(cluster.host(0), &["cluster", "--fail-on", "warning"])?;
    assert_eq!(strict.status.code(), Some(1), "{}", String::from_utf8_lossy(&strict.stdout));
    drop(hanging);
    let _second = start(&cluster, 1)?;
    until(&cluster, "the second agent to answer", |picture, _| answer(picture, "master-2") == "report")?;
    let nobody = service::run(cluster.host(2), &["cluster"])?;
    let told = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert_eq!(nobody.status.code(), Some(2), "{told}");
    assert!(told.contains("127.0.0.1:9747") && told.contains("--from"), "{told}");
    Ok(())
}
