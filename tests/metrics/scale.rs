//! How many series a running agent has, whatever the cluster: ten peers, a thousand, ten thousand, all well and all dead,
//! and a thousand pods. What is proven of reports that were made up for it elsewhere is proven here of the agent as it runs,
//! from the kernel's tables and packets to the bytes of a scrape.
//!
//! The many peers are addresses of one node of the cluster. One process sees them come and go: its configuration is changed
//! under it. Reports of ten thousand peers are megabytes, so what is waited for is looked up in `/metrics`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::namespace::Namespace;
use lab::recipe::REFERENCE;
use lab::service::Service;
use lab::wait::{self, Look};
use lab::{Error, Result};
use nix::sys::signal::Signal;

use super::{by_family, metrics, series, stop, value};

/// The addresses of many peers.
const FAR: &str = "10.77.0.0/16";

/// Peers that a scrape names at most by default.
const NAMED: usize = 50;

/// The other nodes of the cluster, which the kernel's own tables name.
const FOUND: usize = 2;

pub(super) fn peers() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let far = REFERENCE.underlay_address(1);
    cluster.host(0).sh(&format!("ip route add {FAR} via {far}"))?;
    cluster.host(1).sh(&format!("ip route add local {FAR} dev lo"))?;
    let mut service = Service::start_with(&cluster, 0, &configuration(&cluster, 10))?;
    let text = until(&mut service, "every path of ten peers to be clear", |text| clear(text) == 10 + FOUND)?;
    assert_eq!(named(&text).len(), 10 + FOUND, "a small cluster is named whole:\n{text}");
    let mut healthy = BTreeSet::new();
    for peers in [1_000, 10_000] {
        take(&mut service, &cluster, peers)?;
        let text = until(&mut service, "the first of many paths to be clear", |text| clear(text) > 100)?;
        let count = series(&text);
        assert!(count < 300, "{peers} peers, {count} series:\n{}", by_family(&text));
        assert_eq!(named(&text), BTreeSet::new(), "peers that are well are not named in a large cluster");
        assert_eq!(suppressed(&text), 0.0, "nothing is wrong, so nothing is left out");
        // A check that waits for paths that were not measured yet is silent about its findings, and cannot be told apart.
        let findings = text.lines().filter(|line| line.starts_with("mtuscope_findings{")).count();
        healthy.insert(count - findings);
    }
    assert_eq!(healthy.len(), 1, "ten times the peers, and as many series: {healthy:?}");
    let dead = Fault::PortDown { node: 1 }.make(&cluster)?;
    let text = until(&mut service, "more peers to fail than are named", |text| suppressed(text) > 0.0)?;
    worst_are_named(&text);
    take(&mut service, &cluster, 10)?;
    let text = metrics(&service)?;
    let left = |line: &&str| line.split(['"', '-']).any(|word| word.parse::<usize>().is_ok_and(|far| far >= 10));
    let of_peers = text.lines().filter(|line| line.contains("\"far-"));
    let left: Vec<_> = of_peers.filter(left).collect();
    assert!(left.is_empty(), "peers that left took their series along, in trouble or not: {left:?}");
    assert!(named(&text).contains("far-0"), "those that stay are named:\n{text}");
    dead.heal()?;
    until(&mut service, "every path to be clear again", |text| clear(text) == 10 + FOUND)?;
    stop(service)
}

/// With ten thousand peers of which more fail than a scrape names.
fn worst_are_named(text: &str) {
    let count = series(text);
    assert!(count < 2_000, "{count} series:\n{}", by_family(text));
    let names = named(text);
    assert_eq!(names.len(), NAMED, "as many as may be: {names:?}");
    for name in &names {
        let up = format!(r#"mtuscope_path_up{{peer="{name}",plane="underlay",family="ipv4"}}"#);
        assert_eq!(value(text, &up), Some(0.0), "the worst are named first:\n{text}");
    }
    let findings = text.lines().filter(|line| line.starts_with("mtuscope_finding{")).count();
    assert!(findings <= 100, "{findings} findings are named");
}

/// A thousand pods more bring no series but those that count them, and no name.
pub(super) fn pods() -> Result<()> {
    const PODS: usize = 1000;
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start(&cluster, 0)?;
    let counted = |end: &str, text: &str| value(text, &format!(r#"mtuscope_pod_links{{mtu="1450",end="{end}"}}"#));
    let before =
        until(&mut service, "the cluster's own pods", |text| counted("pod", text).is_some() && clear(text) == FOUND)?;
    let (host, pod) = (counted("host", &before), counted("pod", &before));
    let _pods = add_pods(cluster.host(0), PODS)?;
    let after = until(&mut service, "a thousand pods more", |text| {
        let more = |end, before: Option<f64>| counted(end, text) == before.map(|before| before + PODS as f64);
        more("host", host) && more("pod", pod)
    })?;
    // These pods are bare links: what is found wrong with them, as one subject, is another test's matter.
    let of_findings = |line: &&str| line.contains(" mtuscope_finding");
    let families = |text: &str| {
        by_family(text).lines().filter(|line| !of_findings(line)).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let more: Vec<_> = families(&after).difference(&families(&before)).cloned().collect();
    assert!(more.is_empty(), "{more:?}");
    assert!(after.lines().filter(|line| line.starts_with("mtuscope_finding{")).count() < 5, "{after}");
    for hidden in ["cali0", "10.243.", "eth999", "\"pods 0\""] {
        assert!(!after.contains(hidden), "{hidden} is in\n{after}");
    }
    stop(service)
}

/// Pods' links into one namespace, each with an address, as Calico has them.
fn add_pods(node: &Namespace, count: usize) -> Result<Namespace> {
    let place = Namespace::new("pods 0")?;
    let (mut on_node, mut in_pods) = (String::new(), String::new());
    for number in 0..count {
        let (link, end) = (format!("cali0{number:010x}"), format!("eth{number}"));
        let address = format!("10.243.{}.{}", number / 250, number % 250 + 1);
        let _ = writeln!(
            on_node,
            "link add {link} mtu 1450 type veth peer name {end} mtu 1450 netns {}\nlink set {link} up\n\
             route add {address} dev {link} scope link",
            place.path()
        );
        let _ = writeln!(in_pods, "address add {address}/32 dev {end}\nlink set {end} up");
    }
    node.feed("ip", &["-batch", "-"], &on_node)?;
    place.feed("ip", &["-batch", "-"], &in_pods)?;
    Ok(place)
}

fn configuration(cluster: &Cluster, peers: usize) -> String {
    let files = cluster.files(0);
    let root = files.root();
    let mut text = format!(
        "node: master-1\nhost_root: {}\n\
         probing: {{ interval: 1s, confirm_rounds: 2, packets_per_second: 5000, transfers: false }}\n\
         peers:\n  kernel: true\n  static:\n",
        root.display()
    );
    for number in 0..peers {
        let _ = writeln!(text, "    - {{ name: far-{number}, underlay: 10.77.{}.{} }}", number / 250, number % 250 + 1);
    }
    text
}

/// Gives the running agent so many peers, and waits until it knows of these and no others.
fn take(service: &mut Service<'_>, cluster: &Cluster, peers: usize) -> Result<()> {
    fs::write(service.config(), configuration(cluster, peers))
        .map_err(|error| Error::new("writing a configuration", error))?;
    service.signal(Signal::SIGHUP)?;
    until(service, "its paths to be those of the peers in the file", |text| {
        let known = value(text, r#"mtuscope_peers{source="static"}"#);
        known == Some(peers as f64) && paths(text, "") == peers + FOUND
    })
    .map(drop)
}

/// Looks at its metrics until they satisfy `there`.
fn until(service: &mut Service<'_>, what: &str, there: impl Fn(&str) -> bool) -> Result<String> {
    let seen = wait::until(what, || {
        service.check_alive()?;
        let text = service.get("/metrics", "text/plain;version=0.0.4")?.body;
        Ok(if there(&text) { Look::There(()) } else { Look::NotYet(text) })
    });
    seen.map_err(|error| service.with_log(error))?;
    metrics(service)
}

/// Paths between nodes whose verdict begins like this.
fn paths(text: &str, verdict: &str) -> usize {
    let of = format!(r#"mtuscope_paths{{plane="underlay",family="ipv4",verdict="{verdict}"#);
    let counts = text.lines().filter(|line| line.starts_with(&of));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}

fn clear(text: &str) -> usize {
    paths(text, "clear")
}

fn suppressed(text: &str) -> f64 {
    value(text, "mtuscope_series_suppressed").unwrap_or_default()
}

/// Peers that have series of their own.
fn named(text: &str) -> BTreeSet<&str> {
    let of_peers = text.lines().filter_map(|line| line.split_once("{peer=\"")?.1.split_once('"'));
    of_peers.map(|(peer, _)| peer).collect()
}
