//! Machines with two ways to a peer, and the near misses that differ in one fact.

use std::collections::BTreeMap;

use super::*;
use crate::fact::{Fact, Source};
use crate::kernel::Hop;
use crate::snapshot::example::{Example, black_hole, failed, ip, silent};

/// The route to master-2 leaves by vmbr0, though vmbr1 has its subnet.
fn two_ways(rp_filter: i64) -> Example {
    let mut node = Example::reference();
    node.tables.rp_filter_all = Fact::Known(rp_filter);
    let hop = Hop { gateway: Some(ip("192.168.0.1")), link: node.index("vmbr0") };
    let detour = node.lookups[&ip("10.0.0.12")].clone().map(|mut route| {
        (route.hops[0], route.source) = (hop, Some(ip("192.168.0.11")));
        route
    });
    node.lookups.insert(ip("10.0.0.12"), detour);
    node
}

fn one_way(rp_filter: i64) -> Example {
    let mut node = Example::reference();
    node.tables.rp_filter_all = Fact::Known(rp_filter);
    node
}

fn dropping(mut node: Example, dropped: u64) -> Example {
    node.counters_before = Fact::Known(BTreeMap::from([("reverse_path_filter", 100)]));
    node.counters_untroubled = node.counters_before.clone();
    node.tables.counters = Fact::Known(BTreeMap::from([("reverse_path_filter", 100 + dropped)]));
    node
}

fn judge(example: &Example) -> Judgement<Evidence> {
    RpFilterStrict::judge(&example.snapshot()).unwrap()
}

fn severity(example: &Example) -> Option<Severity> {
    judge(example).raised.first().map(|raised| raised.severity)
}

#[test]
fn two_ways_and_a_strict_link_are_a_warning() {
    let judgement = judge(&two_ways(1));
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((&raised.subject, raised.severity), (&Subject::Setting("rp_filter"), Severity::Warning));
    assert_eq!(raised.evidence.links, [Strict { link: "vmbr1".into(), all: 1, own: 0 }]);
    assert_eq!(raised.evidence.peers[0].leaves_by, "vmbr0");
    assert!(raised.breaks.is_empty(), "nothing is known to fail");
}

#[test]
fn a_gateway_in_the_network_of_two_links_is_no_finding_until_it_fails_and_packets_are_dropped() {
    let gateway = || {
        let mut node = two_ways(1);
        node.peers.iter_mut().for_each(|peer| peer.gateway = true);
        node
    };
    assert_eq!(severity(&gateway()), None);
    let failing = || gateway().verdict("master-2", Plane::Underlay, silent());
    assert_eq!(severity(&failing()), None, "it may be silent for any reason");
    assert_eq!(severity(&dropping(failing(), SEVERAL)), Some(Severity::Critical));
}

#[test]
fn loose_and_off_are_quiet() {
    assert_eq!([severity(&two_ways(2)), severity(&two_ways(0))], [None, None]);
}

#[test]
fn the_larger_of_all_and_own_counts() {
    let own = |value| two_ways(0).with("vmbr1", |link| link.inet.as_mut().unwrap().rp_filter = value);
    assert_eq!(severity(&own(1)), Some(Severity::Warning));
    let loose = two_ways(1).with("vmbr1", |link| link.inet.as_mut().unwrap().rp_filter = 2);
    assert_eq!(severity(&loose), None);
}

#[test]
fn strict_with_one_way_is_quiet() {
    assert_eq!(severity(&one_way(1)), None);
    assert_eq!(severity(&dropping(one_way(1), 50)), None, "strays are dropped, every peer answers");
}

#[test]
fn a_failing_peer_and_a_rising_counter_make_it_critical() {
    let failing = || two_ways(1).verdict("master-2", Plane::Underlay, silent());
    let judgement = judge(&dropping(failing(), 1));
    let raised = &judgement.raised[0];
    assert_eq!(raised.severity, Severity::Critical);
    assert_eq!(raised.breaks.len(), 3, "every plane of master-2 and none of master-3");
    assert!(raised.breaks.iter().all(|subject| subject.to_string() == "master-2"));
    assert_eq!(
        RpFilterStrict::summary(&raised.subject, &raised.evidence),
        "rp_filter is strict on vmbr1, where packets of master-2 may come in, while the route there leaves by vmbr0: \
         such packets are dropped. 1 packet dropped since master-2 failed."
    );
    assert_eq!(severity(&dropping(failing(), 0)), Some(Severity::Warning), "nothing was dropped");
    let mut quiet = dropping(failing(), 12);
    quiet.counters_before = quiet.tables.counters.clone();
    assert_eq!(severity(&quiet), Some(Severity::Critical), "a peer whose ARP is dropped sends nothing more to count");
    assert_eq!(severity(&dropping(two_ways(1), 9)), Some(Severity::Warning), "nobody fails");
}

#[test]
fn a_black_hole_counts_as_failing() {
    let node = two_ways(1).verdict("master-2", Plane::Overlay, black_hole(1400));
    assert_eq!(severity(&dropping(node, 4)), Some(Severity::Critical));
}

#[test]
fn the_peer_may_answer_to_the_address_of_another_link() {
    let mut node = one_way(1);
    let sourced = node.lookups[&ip("10.0.0.12")].clone().map(|mut route| {
        route.source = Some(ip("192.168.0.11"));
        route
    });
    node.lookups.insert(ip("10.0.0.12"), sourced);
    assert_eq!(judge(&node).raised[0].evidence.peers[0].may_return_by, "vmbr0");
    let tunnel = one_way(1).with("vxlan.calico", |link| {
        link.tunnel.as_mut().unwrap().local = Some(ip("192.168.0.11"));
    });
    assert_eq!(judge(&tunnel).raised[0].evidence.peers.len(), 2, "both peers send outer packets there");
}

#[test]
fn a_counter_that_rises_while_a_peer_is_lost_is_proof_without_tables() {
    let lost = || one_way(1).verdict("master-3", Plane::Underlay, silent());
    let judgement = judge(&dropping(lost(), SEVERAL));
    let raised = &judgement.raised[0];
    assert_eq!(raised.severity, Severity::Critical);
    assert_eq!(raised.evidence.links[0].link, "vmbr0");
    assert_eq!(severity(&dropping(lost(), SEVERAL - 1)), None);
    let loose = lost().with("vmbr0", |link| link.inet.as_mut().unwrap().rp_filter = 2);
    assert_eq!(severity(&dropping(loose, SEVERAL)), None, "the only other link is loose");
}

/// As the kernel answers where a rule sends what has vmbr1's address back by a link.
fn with_rule(mut node: Example, link: &str) -> Example {
    let query = Query { to: ip("10.0.0.12"), from: Some(ip("10.0.0.11")) };
    let hop = Hop { gateway: None, link: node.index(link) };
    let route = node.lookups[&ip("10.0.0.12")].clone().map(|mut route| {
        (route.hops[0], route.table) = (hop, 100);
        route
    });
    node.sourced.insert(query, route);
    node
}

#[test]
fn a_rule_that_answers_by_the_link_that_was_asked_leaves_one_way() {
    assert_eq!(severity(&with_rule(two_ways(1), "vmbr1")), None);
    assert_eq!(severity(&with_rule(two_ways(1), "vmbr0")), Some(Severity::Warning));
    assert_eq!(severity(&with_rule(one_way(1), "vmbr0")), Some(Severity::Warning), "the usual route is not the one");
    let mut unread = with_rule(two_ways(1), "vmbr1");
    unread.sourced.values_mut().for_each(|route| *route = Fact::Unread(failed(Source::Lookup)));
    assert_eq!(judge(&unread).unread, [(SUBJECT, failed(Source::Lookup))]);
}

#[test]
fn ways_back_are_asked_for_only_where_a_rule_may_lead_elsewhere() {
    let asked = |node: &Example| queries(&node.tables, &node.peers);
    assert!(asked(&one_way(1)).is_empty(), "no table but the usual ones");
    let ruled = |rp_filter| {
        let mut node = one_way(rp_filter);
        let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
        routes.push(Route { table: 100, ..routes[0].clone() });
        node
    };
    assert!(asked(&ruled(2)).is_empty(), "nothing is strict");
    let query = Query { to: ip("10.0.0.12"), from: Some(ip("10.0.0.11")) };
    assert!(asked(&ruled(1)).contains(&query), "{:?}", asked(&ruled(1)));
    assert!(asked(&ruled(1).alone()).is_empty());
}

#[test]
fn any_next_hop_of_several_will_do() {
    let mut node = two_ways(1);
    let (vmbr1, detour) = (node.index("vmbr1"), node.lookups[&ip("10.0.0.12")].clone());
    let spread = detour.map(|mut route| {
        route.hops.push(Hop { gateway: None, link: vmbr1 });
        route
    });
    node.lookups.insert(ip("10.0.0.12"), spread);
    assert_eq!(severity(&node), None);
}

#[test]
fn a_port_has_no_say_and_neither_has_a_pods_link() {
    let own = |link: &mut Link| link.inet.as_mut().unwrap().rp_filter = 1;
    let port = two_ways(0).with("enp5s0", own);
    assert_eq!(severity(&port), None);
    assert_eq!(severity(&port.address("enp5s0", "10.0.0.99", 24)), None, "even with an address left on it");
    assert_eq!(severity(&two_ways(0).with("cali1a2b3c4d5e6", own)), None);
}

/// The route to master-2's pods leaves by another link than the tunnel, which is strict.
fn around_the_tunnel(gateway: &str, link: &str) -> Example {
    let mut node = Example::reference().with("vxlan.calico", |link| link.inet.as_mut().unwrap().rp_filter = 1);
    let hop = Hop { gateway: Some(ip(gateway)), link: node.index(link) };
    lead_around(&mut node, |route| route.hops[0] = hop);
    node
}

fn lead_around(node: &mut Example, change: impl Fn(&mut Route)) {
    for address in ["10.244.2.0", "10.244.2.2"] {
        let Some(Fact::Known(route)) = node.lookups.get_mut(&ip(address)) else { panic!("a route") };
        change(route);
    }
}

#[test]
fn what_comes_out_of_a_strict_tunnel_is_dropped_where_answers_take_a_third_way() {
    let node = around_the_tunnel("192.168.0.12", "vmbr0");
    let raised = judge(&node).raised.remove(0);
    assert_eq!(raised.severity, Severity::Warning);
    let [pair] = raised.evidence.peers.as_slice() else { panic!("{:?}", raised.evidence) };
    assert_eq!((pair.leaves_by.as_str(), pair.may_return_by.as_str()), ("vmbr0", "vxlan.calico"));
    let failing = dropping(node.clone().verdict("master-2", Plane::Pod, silent()), 4);
    let raised = judge(&failing).raised.remove(0);
    assert_eq!(raised.severity, Severity::Critical);
    assert_eq!(raised.breaks.len(), 2, "what comes out of the tunnel, and not the tunnel's own packets");
    let below = dropping(node.clone().verdict("master-2", Plane::Underlay, silent()), 2);
    assert_eq!(judge(&below).raised[0].severity, Severity::Warning, "the tunnel's own packets are not filtered there");
    let loose = node.with("vxlan.calico", |link| link.inet.as_mut().unwrap().rp_filter = 2);
    assert_eq!(severity(&loose), None);
}

#[test]
fn a_way_around_the_tunnel_may_be_meant() {
    let direct = || around_the_tunnel("10.0.0.12", "vmbr1");
    assert_eq!(severity(&direct()), None);
    assert_eq!(severity(&dropping(direct(), 50)), None, "nobody is lost");
    let lost = direct().verdict("master-2", Plane::Pod, silent());
    assert_eq!(severity(&dropping(lost, SEVERAL)), Some(Severity::Critical), "this one was not");
    let mut other = direct().vxlan("vxlan0", 1450, Some("vmbr1"), "10.0.0.11").route("10.9.9.0", 24, None, "vxlan0");
    let vxlan0 = Hop { gateway: None, link: other.index("vxlan0") };
    lead_around(&mut other, |route| route.hops[0] = vxlan0);
    assert_eq!(severity(&other), None, "another tunnel leads there");
    let mut gone = around_the_tunnel("192.168.0.1", "vmbr0");
    lead_around(&mut gone, |route| route.prefix = 0);
    assert_eq!(severity(&gone), None, "a route that is missing is another code's");
}

#[test]
fn where_bpf_routes_for_calico_its_own_links_are_its_own() {
    let node = around_the_tunnel("192.168.0.12", "vmbr0").device("bpfin.cali", "veth", 1500);
    assert_eq!(severity(&node), None);
    let host = two_ways(1).device("bpfin.cali", "veth", 1500);
    assert_eq!(severity(&host), Some(Severity::Warning), "vmbr1 is the host's");
}

#[test]
fn ipv6_peers_are_not_filtered() {
    let mut node = two_ways(1);
    let detour = node.lookups[&ip("10.0.0.12")].clone();
    node = node.address("vmbr1", "fd00::11", 64);
    node.peers[0].underlay = ip("fd00::12").into();
    node.lookups.insert(ip("fd00::12"), detour);
    assert_eq!(severity(&node), None);
}

#[test]
fn a_link_that_is_down_drops_nothing() {
    assert_eq!(severity(&two_ways(1).with("vmbr1", |link| link.carrier = Some(false))), None);
}

#[test]
fn what_could_not_be_read_concludes_nothing() {
    let mut node = two_ways(1);
    node.tables.rp_filter_all = Fact::Unread(failed(Source::Settings));
    assert_eq!(RpFilterStrict::judge(&node.snapshot()).unwrap_err(), failed(Source::Settings));
    let mut unlooked = two_ways(1);
    unlooked.lookups.insert(ip("10.0.0.12"), Fact::Unread(failed(Source::Lookup)));
    let judgement = judge(&unlooked);
    assert!(judgement.raised.is_empty());
    assert_eq!(judgement.unread, [(SUBJECT, failed(Source::Lookup))]);
}

#[test]
fn a_tunnel_over_ipv6_is_not_filtered() {
    let node = Example::two_tunnels().snapshot();
    let filtered: Vec<_> = node.paths.keys().filter(|key| is_filtered(&node, key)).map(|key| key.family()).collect();
    assert_eq!(filtered, [Family::Ipv4; 3], "one of each plane");
}

#[test]
fn each_link_is_loosened_on_its_own() {
    let (subject, _, mut evidence) = RpFilterStrict::example();
    evidence.links.push(Strict { link: "bond0.100".into(), all: 1, own: 1 });
    let keys: Vec<_> = RpFilterStrict::fixes(&subject, &evidence)
        .into_iter()
        .map(|fix| match fix {
            Fix::Sysctl { key, value } => (key, value),
            fix => panic!("{fix:?}"),
        })
        .collect();
    assert_eq!(keys[0], ("net.ipv4.conf.vmbr1.rp_filter".into(), "2".into()));
    assert_eq!(keys[1].0, "net.ipv4.conf.bond0/100.rp_filter");
}
