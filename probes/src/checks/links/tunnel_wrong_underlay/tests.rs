//! Machines with two networks, the tunnel on one of them.

use super::*;
use crate::fact::Fact;
use crate::kernel::{Hop, Link, Tunnel};
use crate::snapshot::example::{Example, failed, ip};
use crate::units::Dual;

const TUNNEL: &str = "vxlan.calico";

fn judge(example: &Example) -> Judgement<Evidence> {
    judge_at(&example.snapshot())
}

fn judge_at(node: &Snapshot) -> Judgement<Evidence> {
    TunnelWrongUnderlay::judge(node).unwrap()
}

fn the_one(judgement: Judgement<Evidence>) -> Evidence {
    let [raised] = <[_; 1]>::try_from(judgement.raised).unwrap();
    assert_eq!((raised.subject, raised.severity), (Subject::Link(TUNNEL.into()), Severity::Warning));
    raised.evidence
}

fn told(evidence: &Evidence) -> String {
    TunnelWrongUnderlay::summary(&Subject::Link(TUNNEL.into()), evidence)
}

/// The tunnel with another base.
fn placed(node: Example, bound: Option<&str>, local: Option<&str>) -> Example {
    let (bound, local) = (bound.map(|link| node.index(link)), local.map(ip));
    node.with(TUNNEL, |link| {
        let tunnel = link.tunnel.as_mut().unwrap();
        (tunnel.lower, tunnel.local) = (bound, local);
    })
}

fn on(bound: Option<&str>, local: Option<&str>) -> Example {
    placed(Example::reference(), bound, local)
}

/// Changes every route to this address.
fn rerouted(mut node: Example, to: &str, gateway: Option<&str>, links: &[&str]) -> Example {
    let hops: Vec<_> = links.iter().map(|link| Hop { gateway: gateway.map(ip), link: node.index(link) }).collect();
    let Some(Fact::Known(route)) = node.lookups.get_mut(&ip(to)) else { panic!("{to} was never looked up") };
    (route.hops, route.source) = (hops, None);
    node
}

#[test]
fn the_nic_with_the_default_gateway_is_not_the_peers() {
    let evidence = the_one(judge(&on(Some("vmbr0"), Some("192.168.0.11"))));
    assert_eq!((evidence.wrong, evidence.ends, evidence.ends_astray), (Wrong::ThisNode, 2, 2));
    assert_eq!(
        told(&evidence),
        "vxlan.calico is on vmbr0 and sends from 192.168.0.11, but its peers' ends (10.0.0.12 (master-2) and 10.0.0.13 \
         (master-3)) are reached by vmbr1."
    );
    let right = evidence.right.unwrap();
    assert_eq!((right.link.as_str(), right.address), ("vmbr1", Some(ip("10.0.0.11"))));
    assert_eq!(right.network.as_deref(), Some("10.0.0.0/24"));
}

#[test]
fn link_or_address_alone_may_be_wrong() {
    assert_eq!(judge(&on(Some("vmbr0"), Some("10.0.0.11"))).raised.len(), 1, "bound to the wrong link");
    let address = the_one(judge(&on(Some("vmbr1"), Some("192.168.0.11"))));
    assert!(told(&address).starts_with("vxlan.calico is on vmbr1 and sends from 192.168.0.11 of vmbr0, but"));
    assert_eq!(judge(&on(None, Some("192.168.0.11"))).raised.len(), 1, "the wrong address, unbound");
    assert_eq!(judge(&on(Some("vmbr0"), None)).raised.len(), 1, "the wrong link, no address");
}

#[test]
fn a_tunnel_that_routes_lead_is_never_wrong() {
    for (bound, local) in
        [(Some("vmbr1"), Some("10.0.0.11")), (Some("vmbr1"), None), (None, Some("10.0.0.11")), (None, None)]
    {
        assert!(judge(&on(bound, local)).raised.is_empty(), "{bound:?} {local:?}");
    }
    assert!(judge(&Example::flannel()).raised.is_empty());
    let external = |link: &mut Link| link.tunnel.as_mut().unwrap().external = true;
    assert!(judge(&on(Some("vmbr0"), Some("192.168.0.11")).with(TUNNEL, external)).raised.is_empty());
    let made_elsewhere = |link: &mut Link| link.other_namespace = Some(2);
    assert!(judge(&on(Some("vmbr0"), Some("192.168.0.11")).with(TUNNEL, made_elsewhere)).raised.is_empty());
}

#[test]
fn links_that_stand_on_each_other_are_one_network() {
    assert!(judge(&on(Some("enp5s0"), Some("10.0.0.11"))).raised.is_empty(), "the bridge's port");
    let vlan = Example::reference().device("vmbr1.7", "vlan", 1500).address("vmbr1.7", "10.7.0.11", 24);
    let below = vlan.index("vmbr1");
    let vlan = placed(vlan.with("vmbr1.7", |link| link.lower = Some(below)), Some("vmbr1.7"), Some("10.7.0.11"));
    assert!(judge(&vlan).raised.is_empty(), "a VLAN over the same bridge");
    let other = Example::reference().device("vmbr0.7", "vlan", 1500).address("vmbr0.7", "10.7.0.11", 24);
    let below = other.index("vmbr0");
    let other = placed(other.with("vmbr0.7", |link| link.lower = Some(below)), Some("vmbr0.7"), Some("10.7.0.11"));
    assert_eq!(judge(&other).raised.len(), 1, "a VLAN over the other bridge");
}

#[test]
fn an_address_that_a_routed_fabric_announces_may_be_anywhere() {
    let on_lo = placed(Example::reference().address("lo", "10.255.0.11", 32), None, Some("10.255.0.11"));
    assert!(judge(&on_lo).raised.is_empty());
    let dummy = Example::reference().device("dummy0", "dummy", 1500).address("dummy0", "10.255.0.11", 24);
    assert!(judge(&placed(dummy, None, Some("10.255.0.11"))).raised.is_empty());
    let single = Example::reference().address("vmbr0", "10.255.0.11", 32);
    assert!(judge(&placed(single, None, Some("10.255.0.11"))).raised.is_empty(), "no subnet, no network");
}

#[test]
fn several_next_hops_and_vrfs_are_left_alone() {
    let several = ["10.0.0.12", "10.0.0.13"]
        .iter()
        .fold(on(Some("vmbr0"), Some("192.168.0.11")), |node, to| rerouted(node, to, None, &["vmbr0", "vmbr1"]));
    assert!(judge(&several).raised.is_empty());
    let vrf = on(Some("vmbr0"), Some("192.168.0.11")).device("blue", "vrf", 65_575).port("vmbr0", "blue");
    assert!(judge(&vrf).raised.is_empty());
}

#[test]
fn a_route_of_another_table_may_lead_outer_packets() {
    let mut node = on(Some("vmbr0"), Some("192.168.0.11")).route("0.0.0.0", 0, Some("192.168.0.254"), "vmbr0");
    assert_eq!(judge(&node).raised.len(), 1, "the same table: the peers' subnet is nearer");
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    routes.last_mut().unwrap().table = 100;
    assert!(judge(&node).raised.is_empty());
}

#[test]
fn a_rule_on_the_tunnels_address_decides() {
    let mut node = on(Some("vmbr0"), Some("192.168.0.11")).snapshot();
    let by_rule = node.topology.index_of("vmbr0").unwrap();
    for answer in node.outer.values_mut() {
        let Fact::Known(route) = answer else { unreachable!() };
        route.hops[0].link = by_rule;
    }
    assert!(judge_at(&node).raised.is_empty());
}

#[test]
fn a_route_that_goes_astray_while_the_tunnel_is_on_the_peers_subnet_is_another_matter() {
    let node = rerouted(Example::reference(), "10.0.0.12", Some("192.168.0.12"), &["vmbr0"]);
    assert!(judge(&node).raised.is_empty(), "10.0.0.12 is in the subnet of vmbr1");
}

/// A node in a routed network: peers share no subnet with it.
fn routed(bound: &str, local: &str) -> Example {
    Example::empty()
        .device("eth0", "device", 1500)
        .device("eth1", "device", 1500)
        .address("eth0", "172.16.1.10", 24)
        .address("eth1", "192.168.0.11", 24)
        .vxlan(TUNNEL, 1450, Some(bound), local)
        .peer("b", "eth0", "172.16.2.10")
        .behind_tunnel("b", TUNNEL, "10.244.2.0", &[])
}

#[test]
fn peers_behind_a_router_tell_by_the_address_that_the_kernel_would_use() {
    let wrong = rerouted(routed("eth1", "192.168.0.11"), "172.16.2.10", Some("172.16.1.1"), &["eth0"]);
    let right = the_one(judge(&wrong)).right.unwrap();
    assert_eq!((right.link.as_str(), right.network, right.end), ("eth0", None, ip("172.16.2.10")));
    let fits = rerouted(routed("eth0", "172.16.1.10"), "172.16.2.10", Some("172.16.1.1"), &["eth0"]);
    assert!(judge(&fits).raised.is_empty());
    let mut detour = rerouted(routed("eth0", "172.16.1.10"), "172.16.2.10", Some("192.168.0.12"), &["eth1"]);
    let Some(Fact::Known(route)) = detour.lookups.get_mut(&ip("172.16.2.10")) else { unreachable!() };
    route.source = Some(ip("172.16.1.10"));
    assert!(judge(&detour).raised.is_empty(), "a detour by the other link, from the tunnel's own address");
}

/// The entry for master-2 points to its management address.
fn one_peer_elsewhere() -> Example {
    let mut node = Example::reference().peer("spare", "vmbr0", "192.168.0.12");
    node.peers.pop();
    let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
    forwarding[0].destination = Some(ip("192.168.0.12"));
    node
}

#[test]
fn a_tunnel_that_has_no_room_where_it_belongs_is_not_explained_by_a_peer_elsewhere() {
    let mut node = one_peer_elsewhere();
    node.link("vmbr1").mtu = crate::units::LinkMtu::new(1499);
    assert_eq!(judge(&node).raised[0].causes, Causes::Named);
}

#[test]
fn a_peer_that_took_another_nic_is_named_and_explains_its_own_silence_only() {
    let judgement = judge(&one_peer_elsewhere());
    let raised = &judgement.raised[0];
    assert_eq!(raised.causes, Causes::NamedAnd(ROOM), "the tunnel fits the link that it is on");
    assert!(raised.breaks.iter().all(|subject| subject.to_string() == "master-2") && raised.breaks.len() == 2);
    let evidence = the_one(judge(&one_peer_elsewhere()));
    assert_eq!((evidence.wrong, evidence.ends_astray), (Wrong::Peers, 1));
    assert_eq!(evidence.right.as_ref().unwrap().link, "vmbr1");
    assert_eq!(
        told(&evidence),
        "1 of 2 far ends of vxlan.calico are not on its network: vxlan.calico is on vmbr1 and sends from 10.0.0.11, \
         while 192.168.0.12 (master-2, meant to be 10.0.0.12) is reached by vmbr0."
    );
}

#[test]
fn the_only_peer_is_wrong_if_the_operator_names_an_address_that_the_tunnel_is_right_for() {
    let mut node = one_peer_elsewhere();
    node.peers.truncate(1);
    let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
    forwarding.truncate(1);
    assert_eq!(the_one(judge(&node)).wrong, Wrong::Peers);
    node.peers[0].underlay = Dual::NONE;
    assert_eq!(the_one(judge(&node)).wrong, Wrong::ThisNode, "nobody says otherwise");
}

/// Every node took the management network, and the entries say so.
fn all_elsewhere() -> Example {
    let mut node =
        on(Some("vmbr0"), Some("192.168.0.11")).peer("x", "vmbr0", "192.168.0.12").peer("y", "vmbr0", "192.168.0.13");
    node.peers.truncate(2);
    let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
    forwarding[0].destination = Some(ip("192.168.0.12"));
    forwarding[1].destination = Some(ip("192.168.0.13"));
    node
}

#[test]
fn a_whole_cluster_on_the_wrong_network_is_told_by_the_operators_addresses() {
    let evidence = the_one(judge(&all_elsewhere()));
    assert_eq!((evidence.wrong, evidence.ends_astray), (Wrong::ThisNode, 2));
    assert_eq!(evidence.right.unwrap().link, "vmbr1");
    let mut unnamed = all_elsewhere();
    unnamed.peers.iter_mut().for_each(|peer| peer.underlay = Dual::NONE);
    assert!(judge(&unnamed).raised.is_empty(), "nobody says that it is wrong");
    let mut same_link = all_elsewhere();
    (same_link.peers[0].underlay, same_link.peers[1].underlay) = (ip("192.168.0.13").into(), ip("192.168.0.12").into());
    assert!(judge(&same_link).raised.is_empty(), "another address of the same network");
}

#[test]
fn the_operators_network_needs_no_route() {
    let meant = |example: &Example, networks: &[&str]| {
        let mut node = example.snapshot();
        node.expect.underlay_network = networks.iter().filter_map(|text| Prefix::parse(text)).collect();
        judge_at(&node)
    };
    let mut unnamed = all_elsewhere();
    unnamed.peers.iter_mut().for_each(|peer| peer.underlay = Dual::NONE);
    let evidence = the_one(meant(&unnamed, &["10.0.0.0/24"]));
    assert_eq!((evidence.wrong, evidence.ends_astray), (Wrong::ThisNode, 2));
    assert_eq!(evidence.right.unwrap().address, Some(ip("10.0.0.11")));
    for fits in [&["10.0.0.0/24"][..], &["10.0.0.0/25", "10.0.0.0/16"], &["fd00::/64"], &[]] {
        assert!(meant(&Example::reference(), fits).raised.is_empty(), "{fits:?}");
    }
    let mut lonely = on(Some("vmbr0"), Some("192.168.0.11"));
    lonely.tables.forwarding = Fact::Known(Vec::new().into());
    let lonely = the_one(meant(&lonely, &["10.0.0.0/24"]));
    assert_eq!(
        told(&lonely),
        "vxlan.calico is on vmbr0 and sends from 192.168.0.11, which is not on the network that is meant, 10.0.0.0/24."
    );
    assert_eq!(the_one(meant(&one_peer_elsewhere(), &["10.0.0.0/24"])).wrong, Wrong::Peers);
}

#[test]
fn an_address_that_this_node_lost_is_told() {
    let evidence = the_one(judge(&on(Some("vmbr1"), Some("10.0.0.99"))));
    assert_eq!(told(&evidence), "vxlan.calico sends from 10.0.0.99, which no link of this node has.");
}

#[test]
fn while_a_link_is_down_its_routes_are_gone_and_nothing_is_concluded() {
    let by_gateway = rerouted(Example::reference(), "10.0.0.12", Some("192.168.0.1"), &["vmbr0"]);
    let judgement = judge(&by_gateway.with("vmbr1", |link| (link.up, link.carrier) = (false, None)));
    assert!(judgement.raised.is_empty());
    assert!(judgement.unread[0].1.to_string().contains("vmbr1 is down"));
}

#[test]
fn an_end_that_could_not_be_looked_up_concludes_nothing() {
    let mut node = Example::reference();
    node.lookups.insert(ip("10.0.0.12"), Fact::Unread(failed(Source::Lookup)));
    let judgement = judge(&node);
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    node.tables.addresses = Fact::Unread(failed(Source::Addresses));
    assert_eq!(TunnelWrongUnderlay::judge(&node.snapshot()).unwrap_err(), failed(Source::Addresses));
}

#[test]
fn without_an_address_only_a_network_that_is_attached_elsewhere_tells() {
    let unaddressed = |node: Example| placed(node, Some("eth1"), None);
    let by_router = rerouted(unaddressed(routed("eth1", "192.168.0.11")), "172.16.2.10", Some("172.16.1.1"), &["eth0"]);
    assert!(judge(&by_router).raised.is_empty());
    let wireguard = |tunnel: &mut Tunnel| (tunnel.lower, tunnel.local) = (None, None);
    assert!(
        judge(&Example::reference().with(TUNNEL, |link| wireguard(link.tunnel.as_mut().unwrap()))).raised.is_empty()
    );
}

#[test]
fn a_peer_that_refuses_the_tunnels_address_refuses_the_probes_from_there() {
    let breaks = |example: &Example| judge(example).raised.remove(0).breaks;
    let underlay = |subject: &&Subject| matches!(subject, Subject::Path { plane: Plane::Underlay, .. });
    let paths = breaks(&on(Some("vmbr0"), Some("192.168.0.11")));
    let paths: Vec<_> = paths.iter().filter(underlay).map(Subject::to_string).collect();
    assert_eq!(paths, ["master-2", "master-3"]);
    assert!(!breaks(&on(Some("vmbr0"), None)).iter().any(|subject| underlay(&subject)), "the kernel chooses");
}

#[test]
fn sizes_that_do_not_fit_are_explained_only_by_a_link_that_is_smaller_than_the_right_one() {
    let causes = |mtu| {
        let wide =
            on(Some("vmbr0"), Some("192.168.0.11")).with("vmbr1", |link| link.mtu = crate::units::LinkMtu::new(mtu));
        judge(&wide).raised[0].causes
    };
    assert_eq!((causes(1500), causes(9000)), (Causes::Codes(REACH), Causes::All));
}
