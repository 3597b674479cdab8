//! Links that pods' packets come in by, and have to be passed on from.
//!
//! A packet is passed on where the link that it *came in by* forwards: that alone is asked of IPv4, and the link that it
//! leaves by never. So it is these links that count:
//! - the node's ends of its own pods' links; where pods hang on a Linux bridge, the bridge that is their gateway;
//! - the tunnels that carry pods, where what comes out of one meets the kernel's routes;
//! - the links that routes to peers' pods lead straight to, for their packets come back by them;
//! - the link of a default route, if peers are reached by it too: answers from the world come back by it. A link that
//!   leads to no peer may be one for management, and meant to pass nothing on.
//!
//! Left out is what the kernel does not route: ports of Open vSwitch, tunnels in collect-metadata mode, and everything of
//! Cilium, which hands packets on by itself where it can and sets its own links' values.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::{Link, LinkIndex, Route, RouteKind};
use crate::report::Role;
use crate::units::Family;

use super::Snapshot;
use super::setup::Cni;

/// Whose packets come in by a link, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Those of this node's pods, on a link of their own.
    Pod,
    /// Those of this node's pods, on a bridge that is their gateway.
    Bridge,
    /// Those of peers' pods, out of a tunnel.
    Tunnel,
    /// Those of peers' pods, as they are.
    Peers,
    /// Answers from the world.
    World,
}

/// Links that pods' packets of a family come in by, and whose packets.
pub fn entries(node: &Snapshot, family: Family) -> Vec<(&Link, Whose)> {
    if node.setup.cni == Cni::Cilium {
        return Vec::new();
    }
    let mut met: Vec<_> =
        own_pods(node, family).chain(tunnels(node, family).map(|link| (link, Whose::Tunnel))).collect();
    if met.is_empty() {
        // Whoever has neither pods nor a tunnel for them passes nothing on.
        return Vec::new();
    }
    met.extend(direct(node, family).map(|link| (link, Whose::Peers)));
    met.extend(ways_out(node, family).map(|link| (link, Whose::World)));
    let mut found = BTreeMap::new();
    for (link, whose) in met {
        found.entry(link).and_modify(|known: &mut Whose| *known = whose.min(*known)).or_insert(whose);
    }
    found.into_iter().filter_map(|(link, whose)| Some((node.tables.link(link)?, whose))).collect()
}

/// Whether a route leads to addresses of other machines or of pods: every link has a link-local one.
fn leads_on(route: &Route, family: Family) -> bool {
    let link_local = match route.destination {
        std::net::IpAddr::V4(address) => address.is_link_local(),
        std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    route.kind == RouteKind::Unicast
        && Family::of(route.destination) == family
        && !link_local
        && !route.destination.is_multicast()
}

fn routes(node: &Snapshot, family: Family) -> impl Iterator<Item = &Route> {
    node.tables.routes.known().into_iter().flatten().filter(move |route| leads_on(route, family))
}

fn own_pods(node: &Snapshot, family: Family) -> impl Iterator<Item = (LinkIndex, Whose)> {
    let host = if family == Family::Ipv4 { 32 } else { 128 };
    let to_one = routes(node, family).filter(|route| route.prefix == host);
    let routed: BTreeSet<LinkIndex> = to_one.flat_map(|route| &route.hops).map(|hop| hop.link).collect();
    let is_gateway = move |bridge: LinkIndex| {
        node.tables.addresses_of(bridge).any(|own| own.global && Family::of(own.address) == family)
    };
    let pods = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod && link.up);
    pods.filter_map(move |link| {
        let master = link.master.and_then(|master| node.tables.link(master));
        match master.map(|master| (master.kind.as_str(), master.index)) {
            None | Some(("vrf", _)) => routed.contains(&link.index).then_some((link.index, Whose::Pod)),
            Some(("bridge", bridge)) => is_gateway(bridge).then_some((bridge, Whose::Bridge)),
            Some(_) => None,
        }
    })
}

fn tunnels(node: &Snapshot, family: Family) -> impl Iterator<Item = LinkIndex> {
    let leads = move |link: LinkIndex| {
        routes(node, family).any(move |route| route.prefix > 0 && route.hops.iter().any(|hop| hop.link == link))
    };
    let carries = node.topology.tunnels().iter().filter(|tunnel| tunnel.carries_pods).map(|tunnel| tunnel.link);
    carries.filter(move |&link| {
        let device = node.tables.link(link);
        let routed = |link: &Link| link.up && link.tunnel.as_ref().is_some_and(|tunnel| !tunnel.external);
        device.is_some_and(routed) && leads(link)
    })
}

/// Links that peers' pods are routed to without a tunnel. The default route is none of these: it takes what has no route.
fn direct(node: &Snapshot, family: Family) -> impl Iterator<Item = LinkIndex> {
    let pods = node.peers.iter().flat_map(|peer| &peer.pods).filter(move |pod| Family::of(**pod) == family);
    let routes = pods.filter_map(|pod| node.lookups.get(pod)?.known());
    let routes = routes.filter(move |route| route.prefix > 0 && leads_on(route, family));
    let links = routes.flat_map(|route| &route.hops).map(|hop| hop.link);
    links.filter(|&link| node.topology.tunnel(link).is_none())
}

fn ways_out(node: &Snapshot, family: Family) -> impl Iterator<Item = LinkIndex> {
    let links = routes(node, family).filter(|route| route.prefix == 0).flat_map(|route| &route.hops);
    let carries_peers = |link: &LinkIndex| matches!(node.topology.role(*link), Role::Underlay | Role::Bridge);
    links.map(|hop| hop.link).filter(carries_peers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, ip};

    fn told(node: &Example, family: Family) -> Vec<(String, Whose)> {
        let node = node.snapshot();
        entries(&node, family).into_iter().map(|(link, whose)| (link.name.clone(), whose)).collect()
    }

    fn names(rows: &[(&str, Whose)]) -> Vec<(String, Whose)> {
        rows.iter().map(|(name, whose)| ((*name).to_owned(), *whose)).collect()
    }

    #[test]
    fn routed_pods_and_the_tunnel_count_and_management_does_not() {
        let expected =
            [("vxlan.calico", Whose::Tunnel), ("cali1a2b3c4d5e6", Whose::Pod), ("cali9f8e7d6c5b4", Whose::Pod)];
        assert_eq!(told(&Example::reference(), Family::Ipv4), names(&expected));
        assert_eq!(told(&Example::reference(), Family::Ipv6), [], "nobody there speaks it");
    }

    #[test]
    fn pods_on_a_bridge_come_in_by_the_bridge_and_the_world_by_the_nic_that_leads_to_peers() {
        let expected = [("eth0", Whose::World), ("flannel.1", Whose::Tunnel), ("cni0", Whose::Bridge)];
        assert_eq!(told(&Example::flannel(), Family::Ipv4), names(&expected));
        let flat = Example::flannel();
        let mut unaddressed = flat.clone();
        let cni0 = flat.index("cni0");
        let crate::fact::Fact::Known(addresses) = &mut unaddressed.tables.addresses else { unreachable!() };
        addresses.retain(|own| own.link != cni0);
        let expected = [("eth0", Whose::World), ("flannel.1", Whose::Tunnel)];
        assert_eq!(told(&unaddressed, Family::Ipv4), names(&expected), "the bridge is nobody's gateway");
    }

    #[test]
    fn without_a_tunnel_peers_pods_come_in_by_the_nic() {
        let mut node = Example::empty()
            .device("eth0", "device", 1500)
            .address("eth0", "10.0.0.11", 24)
            .pod("cali1a2b3c4d5e6", 1500, "10.244.1.2")
            .peer("master-2", "eth0", "10.0.0.12")
            .route("10.244.2.0", 26, Some("10.0.0.12"), "eth0");
        let route = node.tables.routes.known().unwrap().last().unwrap().clone();
        node.lookups.insert(ip("10.244.2.2"), crate::fact::Fact::Known(route.clone()));
        node.peers[0].pods.push(ip("10.244.2.2"));
        let expected = [("eth0", Whose::Peers), ("cali1a2b3c4d5e6", Whose::Pod)];
        assert_eq!(told(&node, Family::Ipv4), names(&expected));
        let lost = Route { destination: ip("0.0.0.0"), prefix: 0, ..route };
        node.lookups.insert(ip("10.244.2.2"), crate::fact::Fact::Known(lost));
        assert_eq!(told(&node, Family::Ipv4), names(&expected[1..]), "a default route takes what has none");
    }

    #[test]
    fn each_family_has_its_own() {
        let node = Example::two_tunnels();
        assert_eq!(told(&node, Family::Ipv4), names(&[("vxlan.calico", Whose::Tunnel)]));
        let six = told(&node, Family::Ipv6);
        assert!(six.contains(&("vxlan-v6.calico".into(), Whose::Tunnel)), "{six:?}");
        assert!(!six.iter().any(|(name, _)| name == "vmbr1"), "a route to a subnet is no way out: {six:?}");
        let plain = Example::empty().device("eth0", "device", 1500).address("eth0", "fd00::5", 64);
        assert_eq!(told(&plain, Family::Ipv6), [], "no pods");
    }

    #[test]
    fn what_the_kernel_does_not_route_is_left_out() {
        let cilium = Example::reference().device("cilium_host", "veth", 1500);
        assert_eq!(told(&cilium, Family::Ipv4), []);
        let external = Example::reference().with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().external = true);
        assert!(told(&external, Family::Ipv4).iter().all(|(_, whose)| *whose == Whose::Pod));
        let down = Example::reference().with("cali1a2b3c4d5e6", |link| link.up = false);
        assert_eq!(told(&down, Family::Ipv4).len(), 2);
    }

    #[test]
    fn routes_that_every_link_has_and_a_default_route_lead_to_no_pods() {
        for (to, prefix) in [("fe80::", 64), ("ff00::", 8), ("::", 0)] {
            let node = Example::reference().route(to, prefix, None, "vxlan.calico");
            assert_eq!(told(&node, Family::Ipv6), [], "{to}/{prefix}");
        }
        assert_eq!(told(&Example::flannel(), Family::Ipv6), [], "the bridge is no gateway of that family");
        let mut linked = Example::flannel().address("cni0", "fe80::1", 128);
        let crate::fact::Fact::Known(addresses) = &mut linked.tables.addresses else { unreachable!() };
        addresses.last_mut().unwrap().global = false;
        assert_eq!(told(&linked, Family::Ipv6), [], "every link has one of its own");
    }

    #[test]
    fn who_has_no_pods_passes_nothing_on_and_a_tunnel_that_is_down_lets_nothing_in() {
        let node = Example::empty().device("eth0", "device", 1500).address("eth0", "10.0.0.11", 24);
        let node = node.peer("master-2", "eth0", "10.0.0.12").route("0.0.0.0", 0, Some("10.0.0.1"), "eth0");
        assert_eq!(told(&node, Family::Ipv4), []);
        let down = Example::reference().with("vxlan.calico", |link| link.up = false);
        assert!(told(&down, Family::Ipv4).iter().all(|(_, whose)| *whose == Whose::Pod));
    }
}
