//! The API's node addresses are on one network, and the tunnels end on another.

use super::merge::{agent, asked, hear, now, row, twin, word};
use super::*;
use crate::peers::announced::Endpoint;

/// Node addresses of the management network, and a twin on each node.
fn cluster() -> Vec<Endpoint> {
    vec![
        agent("n1", &["192.168.0.11"]),
        twin("n1", &["10.244.1.9"]),
        agent("n2", &["192.168.0.12"]),
        twin("n2", &["10.244.2.7"]),
        agent("n3", &["192.168.0.13"]),
        twin("n3", &["10.244.3.7"]),
    ]
}

fn two() -> [Row; 2] {
    [row("n2", &["10.0.0.12"], &["10.244.2.0"]), row("n3", &["10.0.0.13"], &["10.244.3.0"])]
}

fn without_route(to: &str) -> Tables {
    let mut tables = tables();
    let Fact::Known(routes) = &mut tables.routes else { unreachable!() };
    routes.retain(|route| route.destination != ip(to));
    tables
}

#[test]
fn the_way_to_the_twins_pod_tells_whose_tunnel_end_it_is() {
    let peers = hear(&mut Directory::default(), cluster(), &tables());
    assert_eq!(addresses(&peers), two(), "the tunnel's end is the underlay path");
    assert_eq!([peers[0].beside(), peers[1].beside()], [dual(&["192.168.0.12"]), dual(&["192.168.0.13"])]);
    assert_eq!(peers[0].agents()[0].addresses, [ip("192.168.0.12"), ip("10.0.0.12")], "it is asked there first");
    assert!(peers[0].addresses().any(|address| address == ip("192.168.0.12")), "and may come from there");
}

#[test]
fn without_twins_nothing_joins_the_two_and_each_is_a_peer() {
    let nodes = cluster().into_iter().filter(|one| one.vantage == Vantage::Node).collect();
    let peers = hear(&mut Directory::default(), nodes, &tables());
    assert_eq!(peers.len(), 4);
    assert_eq!(addresses(&peers)[2], row("n2", &["192.168.0.12"], &[]));
}

#[test]
fn what_a_pods_route_has_joined_stays_joined_when_it_is_lost() {
    let mut directory = Directory::default();
    hear(&mut directory, cluster(), &tables());
    let lost = without_route("10.244.2.0");
    assert_eq!(addresses(&hear(&mut directory, cluster(), &lost)), two());
    assert_eq!(hear(&mut Directory::default(), cluster(), &lost).len(), 3, "nobody remembers");
}

#[test]
fn an_address_that_both_know_is_better_than_a_route_that_leads_astray() {
    let mut astray = tables();
    let Fact::Known(routes) = &mut astray.routes else { unreachable!() };
    routes.push(route("10.244.2.7", 32, Some("10.244.3.0"), TUNNEL));
    let list = vec![agent("n2", &["10.0.0.12"]), twin("n2", &["10.244.2.7"]), agent("n3", &["10.0.0.13"])];
    assert_eq!(addresses(&hear(&mut Directory::default(), list, &astray)), two());
}

#[test]
fn where_two_nodes_pods_lead_to_one_end_it_is_the_one_that_had_it_or_nobodys() {
    let mut astray = tables();
    let Fact::Known(routes) = &mut astray.routes else { unreachable!() };
    routes.push(route("10.244.2.7", 32, Some("10.244.3.0"), TUNNEL));
    let fresh = hear(&mut Directory::default(), cluster(), &astray);
    assert!(addresses(&fresh).contains(&peer("10.0.0.13", "10.0.0.13", "10.244.3.0")), "{fresh:?}");
    let mut directory = Directory::default();
    hear(&mut directory, cluster(), &tables());
    assert_eq!(addresses(&hear(&mut directory, cluster(), &astray)), two());
}

#[test]
fn a_node_address_is_never_taken_for_the_end_of_a_tunnel_that_lacks_its_entry() {
    let bare = Tables { forwarding: Fact::Known(vec![entry(3, "10.0.0.13")].into()), ..tables() };
    let peers = hear(&mut Directory::default(), cluster(), &bare);
    assert_eq!(addresses(&peers)[0], row("n2", &[], &["10.244.2.0"]), "a forwarding entry to it would be wrong");
    assert_eq!(peers[0].beside(), dual(&["192.168.0.12"]));
    let mut shared = cluster();
    for (at, node) in [(0, "10.0.0.11"), (2, "10.0.0.12"), (4, "10.0.0.13")] {
        shared[at].addresses = vec![ip(node)];
    }
    let peers = hear(&mut Directory::default(), shared, &bare);
    assert_eq!(addresses(&peers), two(), "this node's own address is on the tunnels' network, and so is that one");
}

#[test]
fn an_address_of_the_other_family_goes_with_the_one_that_is_known() {
    let list = |v4: &str| vec![agent("n2", &[v4, "fd00::12"]), twin("n2", &["10.244.2.7"])];
    let on_it = hear(&mut Directory::default(), list("10.0.0.12"), &tables());
    assert_eq!(addresses(&on_it)[1], row("n2", &["10.0.0.12", "fd00::12"], &["10.244.2.0"]));
    let beside = hear(&mut Directory::default(), list("192.168.0.12"), &tables());
    assert_eq!(addresses(&beside)[1], row("n2", &["10.0.0.12"], &["10.244.2.0"]));
    assert_eq!(beside[1].beside(), dual(&["192.168.0.12", "fd00::12"]));
}

#[test]
fn ipip_and_direct_routes_join_by_the_same_key() {
    let peers = hear(&mut Directory::default(), cluster(), &ipip());
    assert_eq!(addresses(&peers), [row("n2", &["10.0.0.12"], &[]), row("n3", &["10.0.0.13"], &[])]);
    assert_eq!(peers[0].beside(), dual(&["192.168.0.12"]));
}

#[test]
fn an_operators_peer_on_the_tunnels_network_takes_in_the_other_address() {
    let fixed =
        StaticPeer { name: "rack-7".into(), underlay: dual(&["10.0.0.12"]), overlay: Dual::NONE, pods: Vec::new() };
    let mut directory = Directory::default();
    directory.announce(word(1, cluster()), now());
    directory.settle();
    let peers = directory.update("n1", &Peers { fixed: vec![fixed], ..asked() }, &tables()).peers;
    assert_eq!(addresses(&peers)[1], row("rack-7", &["10.0.0.12"], &["10.244.2.0"]));
    assert_eq!(peers[1].beside(), dual(&["192.168.0.12"]));
    assert_eq!(peers.len(), 2);
}
