//! Peers from the Kubernetes API: how they come and go, what stays with a name, and an API that is silent.

use super::*;
use crate::peers::announced::{Announced, Endpoint};
use crate::peers::hearing::STALE;
use crate::report::{Finding, Vantage};

const STALENESS: &str = "peer-source-stale";

fn one(node: &str, vantage: Vantage, address: &str) -> Endpoint {
    Endpoint { node: node.into(), vantage, addresses: vec![ip(address)], zone: None, ready: true }
}

/// This node, one behind the tunnel, and one that only the API knows.
fn cluster() -> Vec<Endpoint> {
    vec![
        one("n1", Vantage::Node, "10.0.0.11"),
        one("n2", Vantage::Node, "10.0.0.12"),
        one("n9", Vantage::Node, "10.0.0.19"),
    ]
}

impl World {
    fn asking(wire: fn(IpAddr, u32) -> Wire) -> Self {
        let mut config = Config::new("n1");
        config.peers.kubernetes = true;
        config.probing.interval = Duration::from_secs(60);
        Self::new(config, wire)
    }

    fn hear(&mut self, heard: u64, endpoints: Vec<Endpoint>) {
        self.say(Announced { endpoints: Some(endpoints.into()), heard, failing: None });
    }

    fn say(&mut self, announced: Announced) {
        let now = at(self.time);
        self.node.on(Input::Announced(Box::new(announced)), now);
    }
}

fn names(published: &Published) -> BTreeSet<&str> {
    published.report.paths.iter().map(|path| path.peer.as_str()).collect()
}

fn finding<'a>(published: &'a Published, code: &str, subject: &str) -> Option<&'a Finding> {
    published.report.findings.iter().find(|finding| finding.code == code && finding.subject == subject)
}

fn hole(to: IpAddr, size: u32) -> Wire {
    if to == ip("10.0.0.12") && size > 1400 { Wire::Silent } else { Wire::Answers }
}

#[test]
fn the_first_list_is_taken_up_at_once_and_names_who_was_found() {
    let mut world = World::asking(|_, _| Wire::Answers);
    assert!(names(&world.round()).contains("10.0.0.12"));
    let told = world.time;
    world.hear(1, cluster());
    let published = world.round();
    assert!(world.time - told < Duration::from_secs(5), "without waiting for the interval");
    let names = names(&published);
    assert!(names.contains("n2") && names.contains("n9") && !names.contains("10.0.0.12"), "{names:?}");
    assert!(!names.contains("n1"));
    let source = published.telemetry.peer_sources["kubernetes"];
    assert_eq!((source.peers, source.succeeded), (2, Some(at(told).wall)));
    assert!(published.agents.iter().any(|agent| agent.peer == "n9"));
}

#[test]
fn a_finding_goes_along_when_its_peer_gets_a_name_and_when_it_loses_it() {
    let mut world = World::asking(hole);
    world.round();
    let nameless = world.round();
    let since = finding(&nameless, "path-black-hole", "10.0.0.12").unwrap().since;
    world.hear(1, cluster());
    let named = world.round();
    assert_eq!(finding(&named, "path-black-hole", "n2").unwrap().since, since, "it is not raised anew");
    assert!(finding(&named, "path-black-hole", "10.0.0.12").is_none(), "and is there once");
    world.hear(2, vec![cluster().swap_remove(0)]);
    let left = world.round();
    assert_eq!(finding(&left, "path-black-hole", "10.0.0.12").unwrap().since, since, "the tables still have it");
    assert!(!names(&left).contains("n2"));
}

#[test]
fn a_finding_does_not_go_to_another_node_that_has_its_address() {
    let mut world =
        World::asking(|to, size| if to == ip("10.0.0.19") { hole(ip("10.0.0.12"), size) } else { Wire::Answers });
    world.hear(1, cluster());
    world.round();
    assert!(finding(&world.round(), "path-black-hole", "n9").is_some());
    let mut replaced = cluster();
    replaced[2].node = "n10".into();
    world.hear(2, replaced);
    let published = world.round();
    assert!(names(&published).contains("n10") && !names(&published).contains("n9"));
    assert!(published.report.findings.iter().all(|one| one.code != "path-black-hole"), "one round is no proof");
    assert!(finding(&world.round(), "path-black-hole", "n10").is_some());
}

#[test]
fn who_is_deleted_is_forgotten_with_its_findings_and_who_is_not_ready_stays_with_them() {
    let mut world = World::asking(|to, _| if to == ip("10.0.0.19") { Wire::Silent } else { Wire::Answers });
    world.hear(1, cluster());
    world.round();
    assert!(finding(&world.round(), "peer-unreachable", "n9").is_some());
    let mut list = cluster();
    list[2].ready = false;
    world.hear(2, list.clone());
    world.sent.clear();
    assert!(finding(&world.round(), "peer-unreachable", "n9").is_some());
    assert!(world.sent.iter().any(|(to, _)| *to == ip("10.0.0.19")), "it is still probed");
    list.pop();
    world.hear(3, list);
    let gone = world.round();
    assert!(finding(&gone, "peer-unreachable", "n9").is_none() && !names(&gone).contains("n9"));
    assert_eq!(gone.telemetry.peer_sources["kubernetes"].peers, 1);
}

#[test]
fn an_api_that_is_gone_loses_nobody_and_is_told_of_after_ten_minutes_and_nothing_else_is() {
    let mut world = World::asking(|_, _| Wire::Answers);
    world.hear(1, cluster());
    let before = world.round();
    let refused = Unread::new(Source::Kubernetes, Reason::Failed { what: "connection refused".into() });
    let lost = Announced { endpoints: Some(cluster().into()), heard: 1, failing: Some(refused) };
    world.say(lost.clone());
    let heard = world.node.directory.heard();
    loop {
        let published = world.round();
        assert_eq!(names(&published), names(&before));
        assert_eq!(published.telemetry.peer_sources["kubernetes"].succeeded, heard, "its age grows");
        let codes: Vec<_> = published.report.findings.iter().map(|finding| finding.code).collect();
        let silent = world.node.snapshot.hearing.clone().unwrap().silent;
        assert_eq!(codes, if silent < STALE { vec![] } else { vec![STALENESS] }, "{silent:?}");
        if silent > STALE * 2 {
            break;
        }
    }
    world.hear(2, cluster());
    let back = world.round();
    assert!(finding(&back, STALENESS, "kubernetes").is_none(), "it is heard again");
}

#[test]
fn an_api_that_was_never_heard_is_not_concluded_at_first() {
    let mut world = World::asking(|_, _| Wire::Answers);
    let published = world.round();
    assert!(published.report.not_concluded.iter().any(|one| one.code == STALENESS));
    assert!(published.report.findings.is_empty(), "{:?}", published.report.findings);
    assert!(!published.telemetry.sources[&Source::Kubernetes].1);
    assert_eq!(published.telemetry.peer_sources["kubernetes"].succeeded, None);
    let plain = World::new(Config::new("n1"), |_, _| Wire::Answers).round();
    assert!(!plain.telemetry.sources.contains_key(&Source::Kubernetes), "nobody asked for it");
    assert!(plain.report.not_concluded.iter().all(|one| one.code != STALENESS));
}

#[test]
fn a_node_address_beside_the_tunnels_network_is_asked_whether_it_answers_and_nothing_more() {
    let dead = |to: IpAddr, _: u32| if to == ip("192.168.0.12") { Wire::Silent } else { Wire::Answers };
    for (wire, verdict) in [((|_, _| Wire::Answers) as fn(IpAddr, u32) -> Wire, "clear"), (dead, "unreachable")] {
        let mut world = World::asking(wire);
        // The operator's name joins the two networks: a twin's pod would by its route.
        world.node.config.peers.fixed.push(crate::config::StaticPeer {
            name: "n2".into(),
            underlay: ip("10.0.0.12").into(),
            overlay: Dual::NONE,
            pods: Vec::new(),
        });
        world.hear(1, vec![one("n2", Vantage::Node, "192.168.0.12")]);
        world.round();
        world.sent.clear();
        let published = world.round();
        let [row] = published.report.node_addresses.as_slice() else { panic!("one row") };
        assert_eq!((row.peer.as_str(), row.address, row.verdict.name()), ("n2", ip("192.168.0.12"), verdict));
        let sizes: BTreeSet<u32> =
            world.sent.iter().filter(|(to, _)| *to == ip("192.168.0.12")).map(|(_, size)| *size).collect();
        assert_eq!(sizes, [84].into(), "no size is searched there");
        assert!(published.report.paths.iter().all(|path| path.address != ip("192.168.0.12")));
        assert!(published.report.findings.is_empty(), "{:?}", published.report.findings);
    }
}
