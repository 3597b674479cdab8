//! Peers that no tunnel leads to.

use super::*;

const PODS: LinkIndex = LinkIndex(4);
const POD: LinkIndex = LinkIndex(5);

fn by(protocol: u8, destination: &str, prefix: u8, gateway: &str) -> Route {
    Route { protocol, ..route(destination, prefix, Some(gateway), NIC) }
}

fn blackhole(protocol: u8, destination: &str, prefix: u8) -> Route {
    Route { protocol, kind: RouteKind::Blackhole, hops: Vec::new(), ..route(destination, prefix, None, NIC) }
}

fn with_routes(routes: impl IntoIterator<Item = Route>) -> Tables {
    let mut tables = tables();
    tables.links = Fact::Known(vec![link(NIC, "eth0", None)]);
    let usual = [route("0.0.0.0", 0, Some("10.0.0.1"), NIC), route("10.0.0.0", 24, None, NIC)];
    tables.routes = Fact::Known(usual.into_iter().chain(routes).collect());
    (tables.neighbours, tables.forwarding) = (Fact::Known(Vec::new().into()), Fact::Known(Vec::new().into()));
    tables
}

/// Calico with BGP: a block here, two at one node, one at another.
fn bgp() -> Tables {
    with_routes([
        blackhole(12, "10.244.1.0", 26),
        by(12, "10.244.2.0", 26, "10.0.0.12"),
        by(12, "10.244.2.64", 26, "10.0.0.12"),
        by(12, "10.200.3.0", 26, "10.0.0.13"),
    ])
}

/// Flannel with host-gw: pods on a bridge, routes without a mark.
fn host_gw() -> Tables {
    let mut tables = with_routes([
        by(3, "10.42.2.0", 24, "10.0.0.12"),
        by(3, "10.42.3.0", 24, "10.0.0.13"),
        route("10.42.1.0", 24, None, PODS),
    ]);
    let Fact::Known(links) = &mut tables.links else { unreachable!() };
    links.push(Link { kind: "bridge".into(), ..link(PODS, "cni0", None) });
    let pod = link(POD, "veth1a2b3c4d", None);
    links.push(Link { kind: "veth".into(), master: Some(PODS), other_namespace: Some(1), ..pod });
    let Fact::Known(addresses) = &mut tables.addresses else { unreachable!() };
    addresses.push(Address {
        link: PODS,
        address: ip("10.42.1.1"),
        prefix: 24,
        global: true,
        autoconfigured: false,
        valid: None,
    });
    tables
}

/// kind: each pod hangs on a wire of its own, and the node is a container with a veth for a NIC.
fn wires() -> Tables {
    let mut tables = with_routes([
        by(3, "10.244.2.0", 24, "10.0.0.12"),
        by(3, "10.244.3.0", 24, "10.0.0.13"),
        route("10.244.1.5", 32, None, POD),
    ]);
    let Fact::Known(links) = &mut tables.links else { unreachable!() };
    let pod = link(POD, "veth1a2b3c4d", None);
    links.push(Link { kind: "veth".into(), other_namespace: Some(1), ..pod });
    tables
}

fn nodes(names: &[&str]) -> Vec<Row> {
    names.iter().map(|node| ((*node).to_owned(), dual(&[node]), Dual::NONE)).collect()
}

fn found(tables: &Tables) -> Vec<Row> {
    update(&mut Directory::default(), tables)
}

#[test]
fn pods_on_wires_of_their_own_show_what_a_block_is_by_the_others() {
    assert_eq!(found(&wires()), nodes(&["10.0.0.12", "10.0.0.13"]));
    let with = |route: Route| {
        let mut tables = wires();
        let Fact::Known(routes) = &mut tables.routes else { unreachable!() };
        routes.push(route);
        found(&tables)
    };
    assert_eq!(with(by(3, "10.9.0.0", 24, "10.0.0.77")).len(), 2, "a site, far from the pods");
    assert_eq!(with(by(3, "10.244.0.0", 16, "10.0.0.77")).len(), 2, "a way to all pods that have no other");
    assert_eq!(with(by(3, "10.245.0.0", 20, "10.0.0.77")), [], "of two lengths none is known");
    let mut cloud = wires();
    let Fact::Known(links) = &mut cloud.links else { unreachable!() };
    links[1].name = "eni1a2b3c4d5e6".into();
    assert_eq!(found(&cloud), [], "a site beside the cloud's own addresses");
}

#[test]
fn routes_of_the_hand_that_keeps_the_own_block_lead_to_nodes() {
    assert_eq!(found(&bgp()), nodes(&["10.0.0.12", "10.0.0.13"]), "a node with two blocks is one peer");
}

#[test]
fn routes_like_the_subnet_of_the_pods_bridge_lead_to_nodes() {
    assert_eq!(found(&host_gw()), nodes(&["10.0.0.12", "10.0.0.13"]));
    let mut without_pods = host_gw();
    let Fact::Known(links) = &mut without_pods.links else { unreachable!() };
    links.retain(|link| link.index != POD);
    assert_eq!(found(&without_pods), [], "any bridge has a subnet");
}

#[test]
fn routes_of_other_kinds_name_nobody() {
    let strangers = [
        ("another hand", by(3, "10.244.9.0", 26, "10.0.0.99")),
        ("another length", by(12, "10.244.9.0", 24, "10.0.0.99")),
        ("the default gateway", by(12, "10.244.9.0", 26, "10.0.0.1")),
        ("this node", by(12, "10.244.9.0", 26, "10.0.0.11")),
        ("another table", Route { table: 7, ..by(12, "10.244.9.0", 26, "10.0.0.99") }),
        ("no gateway", Route { protocol: 12, ..route("10.244.9.0", 26, None, NIC) }),
    ];
    let several = [ip("10.0.0.98"), ip("10.0.0.99")].map(|gateway| Hop { gateway: Some(gateway), link: NIC });
    let spread = Route { hops: several.into(), ..by(12, "10.244.9.0", 26, "10.0.0.99") };
    for (what, stranger) in strangers.into_iter().chain([("several next hops", spread)]) {
        let mut tables = bgp();
        let Fact::Known(routes) = &mut tables.routes else { unreachable!() };
        routes.push(stranger);
        assert_eq!(found(&tables), nodes(&["10.0.0.12", "10.0.0.13"]), "{what}");
    }
    let mut site = host_gw();
    let Fact::Known(routes) = &mut site.routes else { unreachable!() };
    routes.push(by(3, "192.168.50.0", 24, "10.0.0.99"));
    assert_eq!(found(&site), nodes(&["10.0.0.12", "10.0.0.13"]), "an administrator's route to another site");
}

#[test]
fn a_tunnel_beside_the_routes_leads_to_the_same_nodes() {
    let mut beside = tables();
    let Fact::Known(routes) = &mut beside.routes else { unreachable!() };
    for route in routes.iter_mut().filter(|route| route.prefix == 26) {
        let node = if route.destination == ip("10.244.2.0") { "10.0.0.12" } else { "10.0.0.13" };
        route.hops = vec![Hop { gateway: Some(ip(node)), link: NIC }];
    }
    routes.push(blackhole(80, "10.244.1.0", 26));
    assert_eq!(found(&beside), both(), "CrossSubnet: neighbours and forwarding entries stand, routes go past");
}

#[test]
fn ciliums_native_routes_are_like_its_own() {
    let mut native = with_routes([by(2, "10.0.65.0", 24, "10.0.0.12"), by(3, "10.50.0.0", 24, "10.0.0.99")]);
    let Fact::Known(links) = &mut native.links else { unreachable!() };
    links.push(link(PODS, "cilium_host", None));
    let Fact::Known(addresses) = &mut native.addresses else { unreachable!() };
    addresses.push(Address {
        link: PODS,
        address: ip("10.0.64.7"),
        prefix: 32,
        global: true,
        autoconfigured: false,
        valid: None,
    });
    let Fact::Known(routes) = &mut native.routes else { unreachable!() };
    routes.push(route("10.0.64.0", 24, Some("10.0.64.7"), PODS));
    assert_eq!(found(&native), nodes(&["10.0.0.12"]));
}

#[test]
fn a_named_peer_takes_in_its_node_address_by_the_route_to_its_pod() {
    let named =
        StaticPeer { name: "n2".into(), underlay: Dual::NONE, overlay: Dual::NONE, pods: vec![ip("10.42.2.7")] };
    let config = Peers { fixed: vec![named], ..Peers::default() };
    let peers = Directory::default().update("n1", &config, &host_gw()).peers;
    assert_eq!(addresses(&peers)[1], ("n2".into(), dual(&["10.0.0.12"]), Dual::NONE));
    assert_eq!(peers.len(), 2);
    assert_eq!(peers[1].tunnels, [], "none leads there");
}

#[test]
fn a_link_that_is_down_forgets_nobody_and_one_that_is_up_does() {
    let mut directory = Directory::default();
    update(&mut directory, &bgp());
    let mut down = with_routes([]);
    let Fact::Known(links) = &mut down.links else { unreachable!() };
    links[0].up = false;
    assert_eq!(update(&mut directory, &down), nodes(&["10.0.0.12", "10.0.0.13"]));
    let left = with_routes([blackhole(12, "10.244.1.0", 26), by(12, "10.200.3.0", 26, "10.0.0.13")]);
    assert_eq!(update(&mut directory, &left), nodes(&["10.0.0.13"]));
}
