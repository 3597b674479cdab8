//! Nodes that speak both families: one peer each, whichever tunnels lead there.

use super::*;

const TUNNEL6: LinkIndex = LinkIndex(4);

fn gateway(address: &str, link: LinkIndex) -> Route {
    route(address, if ip(address).is_ipv4() { 26 } else { 122 }, Some(address), link)
}

/// Both families through one tunnel over IPv4: two neighbours with one hardware address.
fn shared() -> Tables {
    let mut tables = tables();
    add(&mut tables.routes, [gateway("fd00:244:2::", TUNNEL), gateway("fd00:244:3::", TUNNEL)]);
    add(&mut tables.neighbours, [neighbour("fd00:244:2::", 2), neighbour("fd00:244:3::", 3)]);
    tables
}

/// IPv6 in a tunnel of its own over IPv6, as Calico makes it.
fn apart() -> Tables {
    let mut tables = tables();
    let six = Tunnel { local: Some(ip("fd00::11")), ..vxlan() };
    add(&mut tables.links, [link(TUNNEL6, "vxlan-v6.calico", Some(six))]);
    add(&mut tables.addresses, [own(NIC, "fd00::11", 64), own(TUNNEL6, "fd00:244:1::", 128)]);
    add(&mut tables.routes, [gateway("fd00:244:2::", TUNNEL6), gateway("fd00:244:3::", TUNNEL6)]);
    let neighbour = |address, last| Neighbour { link: TUNNEL6, ..neighbour(address, last) };
    add(&mut tables.neighbours, [neighbour("fd00:244:2::", 12), neighbour("fd00:244:3::", 13)]);
    let entry = |last, address| FdbEntry { link: TUNNEL6, ..entry(last, address) };
    add(&mut tables.forwarding, [entry(12, "fd00::12"), entry(13, "fd00::13")]);
    tables
}

fn add<T, R: AsMut<Vec<T>>>(table: &mut Fact<R>, rows: impl IntoIterator<Item = T>) {
    let Fact::Known(known) = table else { unreachable!("the tables start with it") };
    known.as_mut().extend(rows);
}

fn keep<T, R: AsMut<Vec<T>>>(table: &mut Fact<R>, is_kept: impl Fn(&T) -> bool) {
    let Fact::Known(known) = table else { unreachable!("the tables start with it") };
    known.as_mut().retain(is_kept);
}

fn row(name: &str, underlay: &[&str], overlay: &[&str]) -> Row {
    (name.into(), dual(underlay), dual(overlay))
}

/// Both nodes of a tunnel that both families share.
fn two() -> [Row; 2] {
    [
        row("10.0.0.12", &["10.0.0.12"], &["10.244.2.0", "fd00:244:2::"]),
        row("10.0.0.13", &["10.0.0.13"], &["10.244.3.0", "fd00:244:3::"]),
    ]
}

/// `n2` as the operator names it, and its row where all that is found of it was joined.
fn named(underlay: &[&str], overlay: &[&str], pods: &[&str]) -> Peers {
    let pods = pods.iter().map(|pod| ip(pod)).collect();
    let named = StaticPeer { name: "n2".into(), underlay: dual(underlay), overlay: dual(overlay), pods };
    Peers { fixed: vec![named], ..Peers::default() }
}

fn whole() -> Row {
    row("n2", &["10.0.0.12", "fd00::12"], &["10.244.2.0", "fd00:244:2::"])
}

fn update_as(directory: &mut Directory, config: &Peers, tables: &Tables) -> Vec<Row> {
    addresses(&directory.update("n1", config, tables).peers)
}

fn others() -> [Row; 2] {
    [row("10.0.0.13", &["10.0.0.13"], &["10.244.3.0"]), row("fd00::13", &["fd00::13"], &["fd00:244:3::"])]
}

#[test]
fn both_families_of_one_tunnel_are_one_peer() {
    assert_eq!(update(&mut Directory::default(), &shared()), two());
    let peers = Directory::default().update("n1", &Peers::default(), &shared()).peers;
    let behind = peers[0].behind(Family::Ipv6).unwrap();
    assert_eq!((behind.tunnel.as_str(), behind.underlay), ("vxlan.calico", Some(ip("10.0.0.12"))));
}

#[test]
fn a_lost_half_is_filled_in_by_family() {
    let mut directory = Directory::default();
    update(&mut directory, &shared());
    let mut lost = shared();
    keep(&mut lost.neighbours, |entry| entry.address != ip("fd00:244:2::"));
    assert_eq!(update(&mut directory, &lost), two(), "the route still names it");
    keep(&mut lost.routes, |route| route.destination != ip("fd00:244:2::"));
    assert_eq!(update(&mut directory, &lost), two(), "a trace of the node is left");
    keep(&mut lost.forwarding, |entry| entry.mac != mac(2));
    assert_eq!(update(&mut directory, &lost), two(), "and is enough");
    let first = update(&mut Directory::default(), &lost);
    assert_eq!(first[0], row("10.0.0.13", &["10.0.0.13"], &["10.244.3.0", "fd00:244:3::"]), "nobody knew it");
    assert_eq!(first[1], row("10.244.2.0", &[], &["10.244.2.0"]), "what IPv4 lost is not filled in from IPv6");
}

#[test]
fn what_another_node_has_by_now_is_not_filled_in() {
    let mut directory = Directory::default();
    update(&mut directory, &shared());
    let mut moved = shared();
    keep(&mut moved.neighbours, |entry| !["fd00:244:2::", "fd00:244:3::"].map(ip).contains(&entry.address));
    add(&mut moved.neighbours, [neighbour("fd00:244:2::", 3)]);
    keep(&mut moved.routes, |route| route.destination != ip("fd00:244:3::"));
    let rows = update(&mut directory, &moved);
    assert_eq!(rows[0], row("10.0.0.12", &["10.0.0.12"], &["10.244.2.0"]));
    assert_eq!(rows[1], row("10.0.0.13", &["10.0.0.13"], &["10.244.3.0", "fd00:244:2::"]));
}

#[test]
fn tunnels_that_lead_to_one_node_address_are_one_peer() {
    let mut both = apart();
    keep(&mut both.forwarding, |entry| entry.link != TUNNEL6);
    let entry = |last, address| FdbEntry { link: TUNNEL6, ..entry(last, address) };
    add(&mut both.forwarding, [entry(12, "10.0.0.12"), entry(13, "10.0.0.13")]);
    assert_eq!(update(&mut Directory::default(), &both), two());
    let peers = Directory::default().update("n1", &Peers::default(), &both).peers;
    assert!(peers[0].is_behind("vxlan.calico") && peers[0].is_behind("vxlan-v6.calico"));
    assert_eq!(peers[0].behind(Family::Ipv6).unwrap().tunnel, "vxlan-v6.calico");
}

#[test]
fn tunnels_of_two_families_share_no_address_and_are_two_peers_without_a_name() {
    let rows = update(&mut Directory::default(), &apart());
    let [four, six] = others();
    assert_eq!(rows[1..3], [four, row("fd00::12", &["fd00::12"], &["fd00:244:2::"])]);
    assert_eq!(rows[3], six);
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_named_peer_joins_the_tunnels_of_both_families() {
    let pods = &["10.244.2.2", "fd00:244:2::2"];
    for (way, config) in [
        ("node addresses", named(&["10.0.0.12", "fd00::12"], &[], &[])),
        ("tunnel addresses", named(&[], &["10.244.2.0", "fd00:244:2::"], &[])),
        ("one of each", named(&["fd00::12"], &["10.244.2.0"], &[])),
        ("pods", named(&[], &[], pods)),
        ("addresses of IPv4 and pods of both", named(&["10.0.0.12"], &["10.244.2.0"], pods)),
    ] {
        let rows = update_as(&mut Directory::default(), &config, &apart());
        let [four, six] = others();
        assert_eq!(rows, [four, six, whole()], "{way}");
    }
}

#[test]
fn what_pods_joined_stays_joined_when_their_route_is_lost() {
    let config = named(&["10.0.0.12"], &["10.244.2.0"], &["fd00:244:2::2"]);
    let mut directory = Directory::default();
    assert!(update_as(&mut directory, &config, &apart()).contains(&whole()));
    let mut lost = apart();
    keep(&mut lost.routes, |route| route.destination != ip("fd00:244:2::"));
    for _ in 0..3 {
        assert!(update_as(&mut directory, &config, &lost).contains(&whole()));
    }
    let strangers = update_as(&mut Directory::default(), &config, &lost);
    assert!(strangers.contains(&row("n2", &["10.0.0.12"], &["10.244.2.0"])), "{strangers:?}");
    let renamed = named(&["10.0.0.12"], &["10.244.2.0"], &["fd00:244:2::3"]);
    assert!(!update_as(&mut directory, &renamed, &lost).contains(&whole()), "the operator named another pod");
}

#[test]
fn a_pod_that_moved_does_not_join_two_nodes() {
    let config = named(&["10.0.0.12"], &["10.244.2.0"], &["10.244.2.2"]);
    let mut moved = tables();
    add(&mut moved.routes, [route("10.244.2.2", 32, Some("10.244.3.0"), TUNNEL)]);
    let rows = update_as(&mut Directory::default(), &config, &moved);
    assert_eq!(rows, [both()[1].clone(), peer("n2", "10.0.0.12", "10.244.2.0")]);
}

#[test]
fn what_one_peer_is_named_by_is_not_taken_by_anothers_pod() {
    let mut config = named(&["10.0.0.12"], &[], &[]);
    config.fixed.insert(
        0,
        StaticPeer {
            name: "n9".into(),
            underlay: dual(&["10.0.0.19"]),
            overlay: Dual::NONE,
            pods: vec![ip("10.244.2.2")],
        },
    );
    let rows = update_as(&mut Directory::default(), &config, &tables());
    assert!(rows.contains(&peer("n2", "10.0.0.12", "10.244.2.0")), "{rows:?}");
    assert!(rows.contains(&row("n9", &["10.0.0.19"], &[])), "{rows:?}");
}

#[test]
fn what_the_operator_names_counts_by_family() {
    let config = named(&["192.168.0.12"], &["10.244.2.0"], &["fd00:244:2::2"]);
    let rows = update_as(&mut Directory::default(), &config, &apart());
    let meant = row("n2", &["192.168.0.12", "fd00::12"], &["10.244.2.0", "fd00:244:2::"]);
    assert!(rows.contains(&meant), "{rows:?}");
}
