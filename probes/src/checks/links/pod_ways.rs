//! What pods' packets to other nodes leave by, and how large they may be there.
//!
//! A route leads them on: into a tunnel, or straight to the node of the other pod (BGP, host-gw, CrossSubnet), or to a
//! router that knows where it is (a cloud's). The kernel forwards what fits the device that the route names and the route
//! itself, where that has an `mtu`; of several next hops the smallest device counts, since flows are spread. What is below
//! that device – a bridge's port, the network under a tunnel – is other codes' matter.
//!
//! A tunnel counts if routes to pods lead into it. Ways past a tunnel are taken from two places:
//!
//! - *what the kernel answers* for the pods of peers, where they are known. It has to lead to the wire by a link that is
//!   there for peers. A default route is believed only if it is by the link that the peer's node is reached by: where the
//!   route to a block is lost, packets go by whatever is left, and that is no way that anybody meant;
//! - *routes that look like those to pods* ([`peers::direct_routes`]), for the many pods whose addresses nobody told.
//!
//! In two set-ups the node does not show what binds pods. Cilium holds them small by the routes inside their namespaces,
//! which nobody sees from the node, over a device that is larger: normal. A tunnel in collect-metadata mode is told
//! with every packet what to do, by a program that keeps its own mind. Of both nothing is said.

use schemars::JsonSchema;
use serde::Serialize;

use crate::kernel::{Link, LinkIndex, Route, RouteKind};
use crate::peers;
use crate::report::Role;
use crate::snapshot::Snapshot;
use crate::snapshot::setup::Cni;
use crate::snapshot::topology::TunnelView;
use crate::units::{Family, IpSize, LinkMtu};

/// A way by which pods' packets leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::checks) struct Way {
    /// The device.
    pub(in crate::checks) link: String,
    /// Its MTU.
    pub(in crate::checks) mtu: LinkMtu,
    /// Whether it is a tunnel.
    pub(in crate::checks) tunnel: bool,
    /// The route to it that takes less, if one does.
    pub(in crate::checks) route: Option<Narrow>,
}

/// A route with an MTU of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Narrow {
    /// Its destination.
    pub to: String,
    /// Its MTU.
    pub mtu: IpSize,
}

impl Way {
    /// The most that a pod may have.
    pub(in crate::checks) fn takes(&self) -> LinkMtu {
        self.route.as_ref().map_or(self.mtu, |route| LinkMtu::new(route.mtu.bytes()))
    }

    fn new<'r>(link: &Link, tunnel: bool, routes: impl Iterator<Item = &'r Route>) -> Self {
        let narrow = routes.filter_map(|route| {
            let mtu = route.mtu.filter(|&mtu| mtu < link.mtu.carries())?;
            Some(Narrow { to: prefix(route), mtu })
        });
        Self { link: link.name.clone(), mtu: link.mtu, tunnel, route: narrow.min_by_key(|route| route.mtu) }
    }
}

/// The way with least room, as far as that shows on the node.
pub(in crate::checks) fn narrowest(node: &Snapshot) -> Option<Way> {
    tunnels(node).chain(direct(node)).min_by_key(Way::takes)
}

fn tunnels(node: &Snapshot) -> impl Iterator<Item = Way> {
    let shows = |tunnel: &&TunnelView| tunnel.carries_pods && !tunnel.external && !tunnel.name.starts_with("cilium_");
    let carrying = node.topology.tunnels().iter().filter(shows);
    carrying.filter_map(|tunnel| {
        let routes = node.tables.routes.known().into_iter().flatten();
        let through = routes.filter(|route| is_unicast(route) && leads_by(route, tunnel.link));
        Some(Way::new(node.tables.link(tunnel.link)?, true, through))
    })
}

/// The ways past tunnels: each device of each route that leads to pods of another node.
fn direct(node: &Snapshot) -> impl Iterator<Item = Way> {
    let by_likeness = peers::direct_routes(&node.tables).into_iter();
    let routes = asked(node).chain(by_likeness).filter(|_| node.setup.cni != Cni::Cilium);
    routes.flat_map(move |route| {
        let links = route.hops.iter().filter_map(|hop| node.tables.link(hop.link));
        links.filter(|link| leads_to_wire(node, link)).map(move |link| Way::new(link, false, std::iter::once(route)))
    })
}

/// The routes to the pods of peers, as the kernel answers.
fn asked(node: &Snapshot) -> impl Iterator<Item = &Route> {
    let pods = node.peers.iter().flat_map(|peer| peer.pods.iter().map(move |&pod| (peer, pod)));
    pods.filter_map(|(peer, pod)| {
        let route = node.lookups.get(&pod)?.known().filter(|route| is_unicast(route))?;
        let to_node = peer.underlay.of(Family::of(pod)).and_then(|address| node.lookups.get(&address)?.known());
        let beside = |route: &Route| to_node.is_some_and(|to| to.hops.iter().all(|hop| leads_by(route, hop.link)));
        Some(route).filter(|route| route.prefix > 0 || beside(route))
    })
}

/// Whether a link is the node's own way to the wire: neither tunnel nor the bridge that pods hang on.
fn leads_to_wire(node: &Snapshot, link: &Link) -> bool {
    let is_port = |port: &&Link| port.master == Some(link.index) && node.topology.role(port.index) == Role::Pod;
    let carries_peers = matches!(node.topology.role(link.index), Role::Underlay | Role::Bridge);
    carries_peers && !node.tables.links().iter().any(|port| is_port(&port))
}

fn is_unicast(route: &Route) -> bool {
    route.kind == RouteKind::Unicast
}

fn leads_by(route: &Route, link: LinkIndex) -> bool {
    route.hops.iter().any(|hop| hop.link == link)
}

fn prefix(route: &Route) -> String {
    if route.prefix == 0 { "default".into() } else { format!("{}/{}", route.destination, route.prefix) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::Hop;
    use crate::snapshot::example::{Example, ip};

    const POD: &str = "10.1.2.2";

    /// A node on `eth0` whose peer `b` is there too, with a management NIC that has the default route.
    fn node() -> Example {
        Example::empty()
            .device("eth0", "device", 9000)
            .device("eth1", "device", 1500)
            .address("eth0", "10.0.0.11", 24)
            .address("eth1", "192.168.0.11", 24)
            .route("0.0.0.0", 0, Some("192.168.0.1"), "eth1")
            .peer("b", "eth0", "10.0.0.12")
    }

    /// Peer `b` has a pod, and the kernel answers this for it.
    fn answered(mut node: Example, prefix: u8, hops: &[&str], mtu: Option<u32>) -> Example {
        let node_of_b = Fact::known(&node.lookups[&ip("10.0.0.12")]).unwrap().clone();
        let hop = |link: &&str| Hop { gateway: Some(ip("10.0.0.12")), link: node.index(link) };
        let hops = hops.iter().map(hop).collect();
        let to = if prefix == 0 { "0.0.0.0" } else { "10.1.2.0" };
        let route = Route { destination: ip(to), prefix, hops, mtu: mtu.map(IpSize::new), ..node_of_b };
        node.lookups.insert(ip(POD), Fact::Known(route));
        node.peers[0].pods.push(ip(POD));
        node
    }

    fn told(node: &Example) -> Option<(String, u32)> {
        let way = narrowest(&node.snapshot())?;
        Some((way.link.clone(), way.takes().bytes()))
    }

    fn by(link: &str, takes: u32) -> Option<(String, u32)> {
        Some((link.to_owned(), takes))
    }

    #[test]
    fn device_or_route_binds_whichever_is_smaller() {
        assert_eq!(told(&node()), None, "nothing leads to pods");
        assert_eq!(told(&answered(node(), 24, &["eth0"], None)), by("eth0", 9000));
        assert_eq!(told(&answered(node(), 24, &["eth0"], Some(8000))), by("eth0", 8000));
        assert_eq!(told(&answered(node(), 24, &["eth0"], Some(9500))), by("eth0", 9000));
    }

    #[test]
    fn of_equal_cost_next_hops_the_smallest_device_counts() {
        let two = node().device("eth2", "device", 1500).address("eth2", "10.0.9.11", 24).peer("c", "eth2", "10.0.9.12");
        assert_eq!(told(&answered(two.clone(), 24, &["eth0", "eth2"], None)), by("eth2", 1500));
        assert_eq!(told(&answered(two, 24, &["eth0"], None)), by("eth0", 9000));
    }

    #[test]
    fn what_is_left_of_a_lost_route_is_no_way() {
        assert_eq!(told(&answered(node(), 0, &["eth1"], None)), None, "not the way to the node");
        assert_eq!(told(&answered(node(), 0, &["eth0"], None)), by("eth0", 9000), "a cloud's router");
    }

    #[test]
    fn routes_to_blocks_like_our_own_are_known_without_a_pods_address() {
        let bridge = node().device("cni0", "bridge", 9000).address("cni0", "10.1.1.1", 24);
        let mut pods = bridge.device("veth1", "veth", 9000).port("veth1", "cni0");
        pods.link("veth1").other_namespace = Some(3);
        let pods = pods.route("10.1.2.0", 24, Some("10.0.0.12"), "eth0");
        assert_eq!(told(&pods), by("eth0", 9000));
        let stranger = pods.route("10.200.7.0", 24, Some("192.168.0.7"), "eth1");
        assert_eq!(told(&stranger), by("eth0", 9000), "an administrator's way to another site");
    }

    #[test]
    fn beside_a_tunnel_the_smaller_of_both_ways_counts() {
        let beside = |mtu| {
            let mut node = Example::reference().with("vmbr1", |link| link.mtu = LinkMtu::new(mtu));
            node.lookups.insert(ip("10.244.3.2"), node.lookups[&ip("10.0.0.13")].clone());
            told(&node)
        };
        assert_eq!(beside(1500), by("vxlan.calico", 1450));
        assert_eq!(beside(1400), by("vmbr1", 1400));
    }

    #[test]
    fn neither_the_bridge_of_pods_nor_ciliums_host_is_a_way_to_the_wire() {
        let mut weave = node().device("weave", "bridge", 1376).device("vethwepl1", "veth", 1376);
        weave = weave.port("vethwepl1", "weave").address("weave", "10.1.0.1", 16);
        weave.link("vethwepl1").other_namespace = Some(3);
        assert_eq!(told(&answered(weave, 16, &["weave"], None)), None);
        let cilium = node().device("cilium_host", "veth", 9000);
        assert_eq!(told(&answered(cilium, 24, &["eth0"], None)), None, "the pods' own routes hold them smaller");
    }
}
