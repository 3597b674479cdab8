use super::*;
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{
    Address, FdbEntry, Hop, Link, LinkIndex, Mac, Neighbour, NeighbourState, Route, Tunnel, TunnelKind,
};
use crate::units::LinkMtu;

const NIC: LinkIndex = LinkIndex(2);
const TUNNEL: LinkIndex = LinkIndex(3);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: LinkIndex, name: &str, tunnel: Option<Tunnel>) -> Link {
    Link {
        index,
        name: name.into(),
        kind: if tunnel.is_some() { "vxlan".into() } else { "device".into() },
        mtu: LinkMtu::new(1500),
        up: true,
        carrier: Some(true),
        master: None,
        lower: None,
        other_namespace: None,
        other_end: None,
        mac: None,
        tunnel,
        bridge: None,
        inet: None,
        bus: None,
        inet6: None,
        other_names: Vec::new(),
    }
}

fn vxlan() -> Tunnel {
    Tunnel {
        id: Some(4096),
        port: Some(4789),
        local: Some(ip("10.0.0.11")),
        lower: Some(NIC),
        ..Tunnel::of(TunnelKind::Vxlan)
    }
}

fn mac(last: u8) -> Mac {
    Mac([0x66, 0, 0, 0, 0, last])
}

fn route(destination: &str, prefix: u8, gateway: Option<&str>, link: LinkIndex) -> Route {
    Route {
        destination: ip(destination),
        prefix,
        table: MAIN_TABLE,
        protocol: 80,
        kind: RouteKind::Unicast,
        hops: vec![Hop { gateway: gateway.map(ip), link }],
        mtu: None,
        source: None,
        priority: 0,
        expires: None,
    }
}

fn own(link: LinkIndex, address: &str, prefix: u8) -> Address {
    Address { link, address: ip(address), prefix, global: true, autoconfigured: false, valid: None }
}

fn neighbour(address: &str, last: u8) -> Neighbour {
    let state = NeighbourState::Permanent;
    Neighbour { link: TUNNEL, address: ip(address), mac: Some(mac(last)), state, external: false }
}

fn entry(last: u8, destination: &str) -> FdbEntry {
    FdbEntry { link: TUNNEL, mac: mac(last), destination: Some(ip(destination)), permanent: true }
}

/// A node with one NIC, a VXLAN tunnel as a CNI programs it, and two peers behind it.
fn tables() -> Tables {
    Tables {
        links: Fact::Known(vec![link(NIC, "eth0", None), link(TUNNEL, "vxlan.calico", Some(vxlan()))]),
        addresses: Fact::Known(vec![own(NIC, "10.0.0.11", 24), own(TUNNEL, "10.244.1.0", 32)]),
        routes: Fact::Known(vec![
            route("0.0.0.0", 0, Some("10.0.0.1"), NIC),
            route("10.0.0.0", 24, None, NIC),
            route("10.244.2.0", 26, Some("10.244.2.0"), TUNNEL),
            route("10.244.3.0", 26, Some("10.244.3.0"), TUNNEL),
        ]),
        neighbours: Fact::Known(vec![neighbour("10.244.2.0", 2), neighbour("10.244.3.0", 3)].into()),
        forwarding: Fact::Known(vec![entry(2, "10.0.0.12"), entry(3, "10.0.0.13")].into()),
        ..Tables::unread()
    }
}

/// A peer's name, node addresses and tunnel addresses.
type Row = (String, Dual, Dual);

fn addresses(peers: &[Peer]) -> Vec<Row> {
    peers.iter().map(|peer| (peer.name.clone(), peer.underlay, peer.overlay)).collect()
}

fn dual(addresses: &[&str]) -> Dual {
    addresses.iter().map(|address| ip(address)).collect()
}

fn peer(name: &str, underlay: &str, overlay: &str) -> Row {
    (name.into(), dual(&[underlay]), dual(&[overlay]))
}

fn both() -> Vec<Row> {
    vec![peer("10.0.0.12", "10.0.0.12", "10.244.2.0"), peer("10.0.0.13", "10.0.0.13", "10.244.3.0")]
}

fn update(directory: &mut Directory, tables: &Tables) -> Vec<Row> {
    addresses(&directory.update("n1", &Peers::default(), tables).peers)
}

#[test]
fn the_three_tables_name_each_peer() {
    assert_eq!(update(&mut Directory::default(), &tables()), both());
}

/// `tunl0` as Calico programs it: routes through it name the peer's node address, and nothing names a tunnel address.
fn ipip() -> Tables {
    let mut tables = tables();
    let Fact::Known(links) = &mut tables.links else { unreachable!() };
    links[1] = link(TUNNEL, "tunl0", Some(Tunnel::of(TunnelKind::Ipip)));
    tables.routes = Fact::Known(vec![
        route("10.0.0.0", 24, None, NIC),
        route("10.244.2.0", 26, Some("10.0.0.12"), TUNNEL),
        route("10.244.3.0", 26, Some("10.0.0.13"), TUNNEL),
    ]);
    (tables.neighbours, tables.forwarding) = (Fact::Known(Vec::new().into()), Fact::Known(Vec::new().into()));
    tables
}

#[test]
fn the_gateway_of_a_route_through_ipip_is_the_node_itself() {
    let expected = ["10.0.0.12", "10.0.0.13"].map(|node| (node.to_owned(), dual(&[node]), Dual::NONE));
    assert_eq!(update(&mut Directory::default(), &ipip()), expected);
}

#[test]
fn a_peer_named_by_its_pod_alone_is_the_one_that_the_pods_route_leads_to() {
    let named =
        StaticPeer { name: "n2".into(), underlay: Dual::NONE, overlay: Dual::NONE, pods: vec![ip("10.244.2.7")] };
    let config = Peers { fixed: vec![named], ..Peers::default() };
    for (tables, overlay) in [(ipip(), Dual::NONE), (tables(), dual(&["10.244.2.0"]))] {
        let peers = Directory::default().update("n1", &config, &tables).peers;
        assert_eq!(addresses(&peers)[1], ("n2".into(), dual(&["10.0.0.12"]), overlay));
    }
}

#[test]
fn a_lost_forwarding_entry_is_filled_in_from_memory() {
    let mut directory = Directory::default();
    update(&mut directory, &tables());
    let lost = Tables { forwarding: Fact::Known(vec![entry(3, "10.0.0.13")].into()), ..tables() };
    assert_eq!(update(&mut directory, &lost), both(), "the name of a peer must not change with its fault");
}

#[test]
fn a_lost_neighbour_is_found_by_its_route() {
    let lost = Tables { neighbours: Fact::Known(vec![neighbour("10.244.3.0", 3)].into()), ..tables() };
    let mut directory = Directory::default();
    update(&mut directory, &tables());
    assert_eq!(update(&mut directory, &lost), both());
    let strangers = update(&mut Directory::default(), &lost);
    assert!(strangers.contains(&("10.244.2.0".into(), Dual::NONE, dual(&["10.244.2.0"]))), "{strangers:?}");
    assert!(strangers.contains(&("10.0.0.12".into(), dual(&["10.0.0.12"]), Dual::NONE)), "{strangers:?}");
}

#[test]
fn a_host_that_was_merely_resolved_through_a_tunnel_is_no_peer() {
    let mut stretched = tables();
    let Fact::Known(neighbours) = &mut stretched.neighbours else { unreachable!() };
    for (address, state) in [("10.244.9.8", NeighbourState::Failed), ("10.244.9.9", NeighbourState::Reachable)] {
        neighbours.push(Neighbour { state, ..neighbour(address, 9) });
    }
    assert_eq!(update(&mut Directory::default(), &stretched), both());
    let Fact::Known(neighbours) = &mut stretched.neighbours else { unreachable!() };
    neighbours.last_mut().unwrap().external = true;
    let (link, mac) = (neighbours.last().unwrap().link, neighbours.last().unwrap().mac.unwrap());
    assert_eq!(update(&mut Directory::default(), &stretched), both(), "it leads nowhere, and no route needs it");
    let Fact::Known(forwarding) = &mut stretched.forwarding else { unreachable!() };
    forwarding.push(FdbEntry { link, mac, destination: "10.0.0.19".parse().ok(), permanent: true });
    assert_eq!(update(&mut Directory::default(), &stretched).len(), 3, "one that a control plane wrote");
}

#[test]
fn a_forwarding_entry_that_is_left_over_is_no_peer() {
    let mut left = tables();
    let Fact::Known(forwarding) = &mut left.forwarding else { unreachable!() };
    let stranger =
        FdbEntry { mac: Mac([0x66, 0, 0, 0, 9, 9]), destination: "10.0.0.19".parse().ok(), ..forwarding[0].clone() };
    forwarding.push(stranger);
    assert_eq!(update(&mut Directory::default(), &left), both());
    let Fact::Known(neighbours) = &mut left.neighbours else { unreachable!() };
    neighbours.retain(|entry| entry.address != "10.244.2.0".parse::<IpAddr>().unwrap());
    let kept = update(&mut Directory::default(), &left);
    assert!(
        kept.iter().any(|(name, ..)| name == "10.0.0.19"),
        "it may be the one of the gateway that lacks its neighbour"
    );
}

#[test]
fn a_peer_is_forgotten_when_every_trace_is_gone() {
    let mut directory = Directory::default();
    update(&mut directory, &tables());
    let mut gone = tables();
    gone.routes =
        gone.routes.map(|routes| routes.into_iter().filter(|route| route.destination != ip("10.244.2.0")).collect());
    gone.neighbours = Fact::Known(vec![neighbour("10.244.3.0", 3)].into());
    gone.forwarding = Fact::Known(vec![entry(3, "10.0.0.13")].into());
    assert_eq!(update(&mut directory, &gone), both()[1..]);
}

#[test]
fn a_tunnel_that_is_down_or_unread_forgets_nobody() {
    let mut directory = Directory::default();
    update(&mut directory, &tables());
    let mut down = tables();
    let flush = |links: Vec<Link>| {
        links.into_iter().map(|link| if link.index == TUNNEL { Link { up: false, ..link } } else { link }).collect()
    };
    down.links = down.links.map(flush);
    down.neighbours = Fact::Known(Vec::new().into());
    down.routes = Fact::Known(Vec::new());
    assert_eq!(update(&mut directory, &down), both());
    let unread = Unread::new(Source::Fdb, Reason::Failed { what: "test".into() });
    let blind = Tables { forwarding: Fact::Unread(unread), neighbours: Fact::Known(Vec::new().into()), ..tables() };
    assert_eq!(update(&mut directory, &blind), both());
}

#[test]
fn a_tunnel_that_is_gone_keeps_its_peers_until_another_leads_to_them() {
    let mut directory = Directory::default();
    update(&mut directory, &tables());
    let mut deleted = tables();
    deleted.links = Fact::Known(vec![link(NIC, "eth0", None)]);
    assert_eq!(update(&mut directory, &deleted), both(), "a tunnel that somebody deleted is the fault to be found");
    let mut renamed = tables();
    renamed.links = Fact::Known(vec![link(NIC, "eth0", None), link(TUNNEL, "vxlan0", Some(vxlan()))]);
    assert_eq!(update(&mut directory, &renamed), both());
    let mut left = renamed;
    let third = |address: &IpAddr| *address == ip("10.244.3.0") || *address == ip("10.0.0.13");
    let gone = |address: Option<IpAddr>| address.is_some_and(|address| third(&address));
    let Fact::Known(routes) = &mut left.routes else { unreachable!() };
    routes.retain(|route| !gone(route.hops.first().and_then(|hop| hop.gateway)));
    let Fact::Known(neighbours) = &mut left.neighbours else { unreachable!() };
    neighbours.retain(|entry| !third(&entry.address));
    let Fact::Known(forwarding) = &mut left.forwarding else { unreachable!() };
    forwarding.retain(|entry| !gone(entry.destination));
    assert_eq!(update(&mut directory, &left), both()[..1], "the old name remembers nobody");
}

#[test]
fn a_named_peer_takes_in_what_the_kernel_knows_of_it() {
    let named = |underlay: Option<&str>, overlay: Option<&str>, pods: &[&str]| StaticPeer {
        name: "master-2".into(),
        underlay: underlay.map(ip).into(),
        overlay: overlay.map(ip).into(),
        pods: pods.iter().map(|pod| ip(pod)).collect(),
    };
    let ways =
        [named(Some("10.0.0.12"), None, &[]), named(None, Some("10.244.2.0"), &[]), named(None, None, &["10.244.2.7"])];
    for way in ways {
        let config = Peers { fixed: vec![way.clone()], ..Peers::default() };
        let merged = Directory::default().update("n1", &config, &tables());
        assert_eq!(
            addresses(&merged.peers),
            [both()[1].clone(), peer("master-2", "10.0.0.12", "10.244.2.0")],
            "{way:?}"
        );
    }
}

#[test]
fn a_shared_configuration_names_this_node_too() {
    let own = |name: &str, underlay: &str| StaticPeer {
        name: name.into(),
        underlay: ip(underlay).into(),
        overlay: Dual::NONE,
        pods: Vec::new(),
    };
    let fixed = vec![own("master-1", "10.0.0.11"), own("n1", "10.9.9.9"), own("other", "10.0.0.99")];
    let config = Peers { kernel: false, fixed, ..Peers::default() };
    let merged = Directory::default().update("n1", &config, &tables());
    assert_eq!(merged.peers.len(), 1);
    assert_eq!(merged.peers[0].name, "other");
    let merged = Directory::default().update("n1", &Peers { this_machine: true, ..config }, &tables());
    assert_eq!(merged.peers.len(), 3, "a person may ask for any address");
}

#[test]
fn the_gateway_is_taken_only_for_want_of_a_peer() {
    let config = Peers { gateway: true, ..Peers::default() };
    assert_eq!(Directory::default().update("n1", &config, &tables()).peers.len(), 2);
    let alone = Tables { links: Fact::Known(vec![link(NIC, "eth0", None)]), ..tables() };
    let merged = Directory::default().update("n1", &config, &alone);
    assert_eq!(addresses(&merged.peers), [(GATEWAY.into(), dual(&["10.0.0.1"]), Dual::NONE)]);
    assert!(merged.peers[0].gateway);
    assert_eq!(merged.sources.get("gateway"), Some(&1));
}

#[test]
fn multicast_defaults_and_metadata_tunnels_name_nobody() {
    let group = FdbEntry { link: TUNNEL, mac: Mac([0; 6]), destination: Some(ip("239.1.1.1")), permanent: true };
    let external = Tunnel { external: true, ..vxlan() };
    let quiet = Tables {
        forwarding: Fact::Known(vec![group].into()),
        neighbours: Fact::Known(Vec::new().into()),
        routes: Fact::Known(Vec::new()),
        ..tables()
    };
    assert_eq!(update(&mut Directory::default(), &quiet), []);
    let metadata = Tables { links: Fact::Known(vec![link(TUNNEL, "cilium_vxlan", Some(external))]), ..tables() };
    assert_eq!(update(&mut Directory::default(), &metadata), []);
}

mod direct;
mod families;
mod many;
mod merge;
mod networks;
