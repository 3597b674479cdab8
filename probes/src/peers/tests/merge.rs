//! Announced nodes among those that are found and those that are named.

use super::*;
use crate::peers::announced::{Agent, Announced, Endpoint};
use crate::report::Vantage;
use crate::units::Mono;
use std::time::Duration;

pub(super) fn word(heard: u64, endpoints: Vec<Endpoint>) -> Announced {
    Announced { endpoints: Some(endpoints.into()), heard, failing: None }
}

fn one(node: &str, vantage: Vantage, addresses: &[&str]) -> Endpoint {
    let addresses = addresses.iter().map(|address| ip(address)).collect();
    Endpoint { node: node.into(), vantage, addresses, zone: Some("z1".into()), ready: true }
}

pub(super) fn agent(node: &str, addresses: &[&str]) -> Endpoint {
    one(node, Vantage::Node, addresses)
}

pub(super) fn twin(node: &str, addresses: &[&str]) -> Endpoint {
    one(node, Vantage::Pod, addresses)
}

/// This node and the two behind the tunnel, by the addresses of the tunnels' network.
fn cluster() -> Vec<Endpoint> {
    vec![agent("n1", &["10.0.0.11"]), agent("n2", &["10.0.0.12"]), agent("n3", &["10.0.0.13"])]
}

pub(super) fn asked() -> Peers {
    Peers { kubernetes: true, ..Peers::default() }
}

pub(super) fn now() -> Now {
    Now { mono: Mono::new(Duration::from_secs(1)), wall: Timestamp::UNIX_EPOCH }
}

/// The next round after this was said.
pub(super) fn hear(directory: &mut Directory, endpoints: Vec<Endpoint>, tables: &Tables) -> Vec<Peer> {
    directory.announce(word(1, endpoints), now());
    directory.settle();
    directory.update("n1", &asked(), tables).peers
}

fn first(endpoints: Vec<Endpoint>, tables: &Tables) -> Vec<Peer> {
    hear(&mut Directory::default(), endpoints, tables)
}

pub(super) fn row(name: &str, underlay: &[&str], overlay: &[&str]) -> Row {
    (name.into(), dual(underlay), dual(overlay))
}

fn named_two() -> [Row; 2] {
    [row("n2", &["10.0.0.12"], &["10.244.2.0"]), row("n3", &["10.0.0.13"], &["10.244.3.0"])]
}

#[test]
fn an_announced_node_and_the_one_that_the_tables_tell_are_one_peer_by_its_name() {
    let mut directory = Directory::default();
    directory.announce(word(1, cluster()), now());
    directory.settle();
    let merged = directory.update("n1", &asked(), &tables());
    assert_eq!(addresses(&merged.peers), named_two());
    assert_eq!(merged.peers[0].zone.as_deref(), Some("z1"));
    assert!(merged.peers.iter().all(|peer| peer.beside().is_empty() && peer.is_behind("vxlan.calico")));
    assert_eq!(merged.sources, [("kernel", 2), ("kubernetes", 2), ("static", 0)].into());
}

#[test]
fn an_address_of_another_that_moved_here_makes_that_node_not_this_one() {
    // A kubelet took kube-vip's address for its node's own, and then this node became the leader.
    let moved = || vec![agent("n1", &["10.0.0.11"]), agent("n2", &["10.0.0.100"]), agent("n3", &["10.0.0.13"])];
    let mut here = tables();
    let Fact::Known(addresses_here) = &mut here.addresses else { panic!("the example has addresses") };
    let link = addresses_here[0].link;
    addresses_here.push(own(link, "10.0.0.100", 32));
    let mut directory = Directory::default();
    assert_eq!(addresses(&hear(&mut directory, cluster(), &tables())), named_two());
    assert_eq!(addresses(&hear(&mut directory, moved(), &here)), named_two());
    let found = [row("10.0.0.12", &["10.0.0.12"], &["10.244.2.0"]), named_two()[1].clone()];
    assert_eq!(addresses(&first(moved(), &here)), found, "nothing is left by which it could be known");
    let nameless: Vec<Endpoint> = moved().drain(1..).collect();
    assert_eq!(
        addresses(&first(nameless, &here)),
        found,
        "as long as this node's name is not there, it may be this one"
    );
}

#[test]
fn what_is_announced_counts_only_where_it_is_asked_for() {
    let mut directory = Directory::default();
    directory.announce(word(1, cluster()), now());
    directory.settle();
    let merged = directory.update("n1", &Peers::default(), &tables());
    assert_eq!(addresses(&merged.peers), both());
    assert_eq!(merged.sources.get("kubernetes"), None);
}

#[test]
fn a_node_that_the_tables_do_not_tell_is_a_peer_by_what_is_announced() {
    let mut list = cluster();
    list.extend([agent("n9", &["10.0.0.19", "fd00::19"]), twin("n9", &["10.244.9.4"])]);
    let peers = first(list, &tables());
    assert_eq!(addresses(&peers)[2], row("n9", &["10.0.0.19", "fd00::19"], &[]));
    assert_eq!(peers[2].pods, [ip("10.244.9.4")]);
    let only = Peers { kernel: false, ..asked() };
    let mut directory = Directory::default();
    directory.announce(word(1, cluster()), now());
    directory.settle();
    let merged = directory.update("n1", &only, &tables());
    assert_eq!(addresses(&merged.peers), [row("n2", &["10.0.0.12"], &[]), row("n3", &["10.0.0.13"], &[])]);
}

#[test]
fn this_node_is_left_out_by_its_name_and_by_its_addresses() {
    let by_name = [agent("n1", &["10.7.7.7"]), twin("n1", &["10.244.1.9"])];
    let by_address = [agent("called-otherwise", &["10.0.0.11"]), twin("called-otherwise", &["10.244.1.9"])];
    for own in [by_name, by_address] {
        assert_eq!(addresses(&first(own.to_vec(), &tables())), both(), "{own:?}");
    }
}

#[test]
fn agents_are_asked_where_the_api_says_that_they_are_and_twins_in_their_pods() {
    let mut list = cluster();
    list.push(twin("n2", &["10.244.2.7"]));
    let peers = first(list, &tables());
    let of = |vantage, address: &str| Agent {
        peer: "n2".into(),
        vantage,
        addresses: vec![ip(address)],
        zone: Some("z1".into()),
    };
    assert_eq!(peers[0].agents(), [of(Vantage::Node, "10.0.0.12"), of(Vantage::Pod, "10.244.2.7")]);
    let nameless = &Directory::default().update("n1", &Peers::default(), &tables()).peers[0];
    assert_eq!(nameless.agents().len(), 1, "the node's agent may be there although no API says so");
}

#[test]
fn who_is_not_announced_any_more_is_called_as_the_tables_do_or_is_gone() {
    let mut directory = Directory::default();
    let mut list = cluster();
    list.push(agent("n9", &["10.0.0.19"]));
    assert_eq!(hear(&mut directory, list, &tables()).len(), 3);
    let left = hear(&mut directory, vec![agent("n1", &["10.0.0.11"]), agent("n3", &["10.0.0.13"])], &tables());
    assert_eq!(addresses(&left), [both()[0].clone(), named_two()[1].clone()]);
}

#[test]
fn a_list_of_nobody_and_an_api_that_is_gone_lose_no_peer() {
    let mut directory = Directory::default();
    let named = hear(&mut directory, cluster(), &tables());
    assert_eq!(hear(&mut directory, Vec::new(), &tables()), named, "its Service was deleted");
    directory.announce(Announced { endpoints: None, heard: 1, failing: None }, now());
    directory.settle();
    assert_eq!(directory.update("n1", &asked(), &tables()).peers, named);
    assert_eq!(addresses(&first(Vec::new(), &tables())), both(), "right after a start");
}

#[test]
fn news_is_in_force_once_it_is_settled() {
    let mut directory = Directory::default();
    assert!(directory.announce(word(1, cluster()), now()), "the first list");
    assert_eq!(addresses(&directory.update("n1", &asked(), &tables()).peers), both(), "a round is under way");
    directory.settle();
    assert_eq!(addresses(&directory.update("n1", &asked(), &tables()).peers), named_two());
    assert!(!directory.announce(word(2, cluster()), now()), "the first one only");
}

#[test]
fn an_announced_node_stays_one_peer_when_its_entries_are_lost_and_when_its_address_changes() {
    let mut directory = Directory::default();
    hear(&mut directory, cluster(), &tables());
    let lost = Tables { forwarding: Fact::Known(vec![entry(3, "10.0.0.13")].into()), ..tables() };
    assert_eq!(addresses(&hear(&mut directory, cluster(), &lost)), named_two());
    let mut moved = cluster();
    moved[1] = agent("n2", &["10.0.0.22"]);
    let peers = hear(&mut directory, moved.clone(), &tables());
    assert_eq!(addresses(&peers), named_two(), "the tunnel still ends where it did");
    assert_eq!(peers[0].beside(), dual(&["10.0.0.22"]), "and the new address is asked too");
    let followed =
        Tables { forwarding: Fact::Known(vec![entry(2, "10.0.0.22"), entry(3, "10.0.0.13")].into()), ..tables() };
    let peers = hear(&mut directory, moved, &followed);
    assert_eq!(addresses(&peers)[0], row("n2", &["10.0.0.22"], &["10.244.2.0"]));
    assert!(peers[0].beside().is_empty());
}

fn named(name: &str, underlay: Option<&str>, pods: &[&str]) -> StaticPeer {
    let pods = pods.iter().map(|pod| ip(pod)).collect();
    StaticPeer { name: name.into(), underlay: underlay.map(ip).into(), overlay: Dual::NONE, pods }
}

fn with_named(fixed: StaticPeer, list: Vec<Endpoint>) -> Vec<Peer> {
    let mut directory = Directory::default();
    directory.announce(word(1, list), now());
    directory.settle();
    directory.update("n1", &Peers { fixed: vec![fixed], ..asked() }, &tables()).peers
}

#[test]
fn the_operators_name_stands_where_an_announced_node_is_the_same_one() {
    let mut list = cluster();
    list.push(twin("n2", &["10.244.2.7"]));
    let ways = [
        named("rack-7", Some("10.0.0.12"), &[]),
        named("rack-7", None, &["10.244.2.7"]),
        named("rack-7", None, &["10.244.2.9"]),
    ];
    for way in ways {
        let peers = with_named(way.clone(), list.clone());
        assert_eq!(addresses(&peers)[1], row("rack-7", &["10.0.0.12"], &["10.244.2.0"]), "{way:?}");
        assert_eq!(peers.len(), 2, "{way:?}");
        assert!(peers[1].pods.contains(&ip("10.244.2.7")), "{way:?}");
        assert_eq!(peers[1].agents()[1].peer, "rack-7");
    }
    let peers = with_named(named("n2", Some("10.0.0.99"), &[]), list);
    assert_eq!(peers.len(), 2, "one name is one peer");
    assert_eq!(peers[0].underlay, dual(&["10.0.0.99"]), "what the operator says of it stands");
}

#[test]
fn a_node_that_is_called_by_an_address_is_the_one_that_the_tables_call_so() {
    let peers = first(vec![agent("n1", &["10.0.0.11"]), agent("10.0.0.13", &["10.9.9.9"])], &tables());
    assert_eq!(addresses(&peers), both(), "two peers of one name would share paths and findings");
}

#[test]
fn this_nodes_own_twin_is_no_peer_and_can_be_asked_all_the_same() {
    let mut list = cluster();
    list.push(twin("n1", &["10.244.1.9"]));
    let mut directory = Directory::default();
    let peers = hear(&mut directory, list.clone(), &tables());
    assert!(peers.iter().all(|peer| peer.name != "n1" && peer.twin.is_empty()));
    let twin = directory.twin("n1").unwrap();
    assert_eq!((twin.peer.as_str(), twin.vantage, twin.addresses), ("n1", Vantage::Pod, vec![ip("10.244.1.9")]));
    assert_eq!(twin.zone.as_deref(), Some("z1"));
    directory.look_from(Vantage::Pod);
    assert_eq!(directory.twin("n1"), None, "that is who asks");
    directory.look_from(Vantage::Node);
    hear(&mut directory, cluster(), &tables());
    assert_eq!(directory.twin("n1"), None, "it is announced no more");
}

#[test]
fn seen_from_a_pod_the_own_node_is_a_peer_and_the_own_pod_is_none() {
    let mut directory = Directory::default();
    directory.look_from(Vantage::Pod);
    let mut list = cluster();
    list.extend([twin("n1", &["10.244.1.9"]), twin("n2", &["10.244.2.7"])]);
    let pod = Tables {
        links: Fact::Known(vec![link(NIC, "eth0", None)]),
        addresses: Fact::Known(vec![own(NIC, "10.244.1.9", 32)]),
        routes: Fact::Known(vec![route("0.0.0.0", 0, Some("169.254.1.1"), NIC)]),
        neighbours: Fact::Known(Vec::new().into()),
        forwarding: Fact::Known(Vec::new().into()),
        ..Tables::unread()
    };
    let peers = hear(&mut directory, list, &pod);
    let seen: Vec<_> = peers.iter().map(|peer| (peer.name.as_str(), peer.underlay, peer.pods.clone())).collect();
    let nodes = ["10.0.0.11", "10.0.0.12", "10.0.0.13"].map(|node| dual(&[node]));
    assert_eq!(seen, [("n1", nodes[0], vec![]), ("n2", nodes[1], vec![ip("10.244.2.7")]), ("n3", nodes[2], vec![])]);
}
