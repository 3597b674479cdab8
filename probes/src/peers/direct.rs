//! Peers as routes by node addresses tell them: BGP, host-gw, and what goes past a tunnel.
//!
//! Such a route looks like any other: `PREFIX via NODE dev NIC`. It is taken for one to a node's pods where it is of a kind
//! with this node's own block of pod addresses:
//!
//! - Calico keeps a blackhole for each block of its own, and the routes to the others' are by the same hand (`proto bird`,
//!   Felix's 80) and of the same length.
//! - Where pods hang on a bridge, its subnet is the block (Flannel, kube-router, plain bridge CNI); where Cilium routes
//!   natively, what it sends to `cilium_host`. The routes bear no mark there, so besides their length they have to lie near
//!   by: in the same /14, or /48, as cluster networks do. An administrator's route to another site does not.
//! - Where each pod hangs on a wire of its own (kind, the CNI plugin `ptp`), nothing tells the block but its pods. It is as
//!   long as the routes near by that do not hold them, if these are all of one length. Clouds' pods are left out: they have
//!   addresses of the node's own network, and what is near by is a site.
//!
//! A gateway of a default route is a router, and so is one of several next hops: they are left out. A router that only
//! carries blocks is not told from a node; it is the first hop to all of them, and worth a probe.
//!
//! A link that is down has lost its routes, and its peers are remembered. BIRD takes routes away as well once a session is
//! lost for its hold time, and nothing tells that from a node that left: who must not be forgotten then has to be named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::MAIN_TABLE;
use crate::kernel::{Hop, LinkIndex, Route, RouteKind};
use crate::snapshot::setup::CILIUM_HOST;
use crate::snapshot::topology::{is_named_by_one_cni, pod_links};
use crate::tables::{Tables, covers};

/// `RTPROT_BIRD`, and the number that Felix has chosen.
const CALICO: [u8; 2] = [12, 80];

/// Pod addresses of this node.
struct Block {
    address: IpAddr,
    length: u8,
    /// Who made the routes to the others, where that is known.
    protocol: Option<u8>,
}

impl Block {
    /// Whether a route leads to such a block.
    fn is_like(&self, route: &Route) -> bool {
        let near = near(self.address);
        let by = self.protocol.is_none_or(|protocol| protocol == route.protocol);
        let near = if self.protocol.is_some() { 0 } else { near.min(self.length) };
        by && self.length == route.prefix && covers(self.address, near, route.destination)
    }
}

/// Node addresses that routes to pods lead to, by the link that they leave by.
pub(super) fn all(tables: &Tables) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut found: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for (link, gateway) in routes(tables).into_iter().filter_map(|route| node(route, tables)) {
        found.entry(link.to_owned()).or_default().insert(gateway);
    }
    found
}

/// Routes to pods of other nodes that name the nodes' own addresses.
pub(crate) fn routes(tables: &Tables) -> Vec<&Route> {
    let blocks = own_blocks(tables);
    let routers = routers(tables);
    let like_ours = unicast(tables).filter(|route| blocks.iter().any(|block| block.is_like(route)));
    let to_node = |route: &&Route| node(route, tables).is_some_and(|(_, gateway)| !routers.contains(&gateway));
    like_ours.filter(to_node).collect()
}

fn node<'a>(route: &Route, tables: &'a Tables) -> Option<(&'a str, IpAddr)> {
    let [Hop { gateway: Some(gateway), link }] = route.hops.as_slice() else { return None };
    let link = tables.link(*link).filter(|link| link.tunnel.is_none() && link.name != CILIUM_HOST)?;
    (super::discovery::is_unicast(gateway) && !tables.is_own(*gateway)).then_some((&link.name, *gateway))
}

/// How long a prefix the blocks of one cluster have in common, as far as nothing else is known.
const fn near(address: IpAddr) -> u8 {
    if address.is_ipv4() { 14 } else { 48 }
}

const fn single(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The blocks of pods that hang on wires of their own.
fn of_wires(pods: &BTreeSet<LinkIndex>, tables: &Tables) -> Vec<Block> {
    let wired = |link: LinkIndex| {
        let link = tables.link(link).filter(|link| pods.contains(&link.index));
        link.is_some_and(|link| link.master.is_none() && !is_named_by_one_cni(&link.name))
    };
    let to_pod = |route: &&Route| {
        let direct = route.hops.iter().all(|hop| hop.gateway.is_none() && wired(hop.link));
        route.prefix == single(route.destination) && !route.hops.is_empty() && direct
    };
    let length = |pod: IpAddr| {
        let beside = |route: &&Route| {
            let is_block = route.prefix >= near(pod) && route.prefix < single(pod);
            is_block && covers(pod, near(pod), route.destination) && !covers(route.destination, route.prefix, pod)
        };
        let led = unicast(tables).filter(beside).filter(|route| node(route, tables).is_some());
        let lengths: BTreeSet<u8> = led.map(|route| route.prefix).collect();
        lengths.first().copied().filter(|_| lengths.len() == 1)
    };
    let own = unicast(tables).filter(to_pod).map(|route| route.destination);
    own.filter_map(|pod| Some(Block { address: pod, length: length(pod)?, protocol: None })).collect()
}

fn own_blocks(tables: &Tables) -> Vec<Block> {
    let kept = every(tables).filter(|route| route.kind == RouteKind::Blackhole && CALICO.contains(&route.protocol));
    let kept =
        kept.map(|route| Block { address: route.destination, length: route.prefix, protocol: Some(route.protocol) });
    let pods = pod_links(tables);
    let bridges = tables.links().iter().filter(|link| pods.contains(&link.index)).filter_map(|link| link.master);
    let bridges: BTreeSet<LinkIndex> = bridges.collect();
    let subnets = bridges.into_iter().flat_map(|bridge| tables.addresses_of(bridge)).filter(|own| own.global);
    let subnets = subnets.map(|own| Block { address: own.address, length: own.prefix, protocol: None });
    let host = tables.link_named(CILIUM_HOST).map(|link| link.index);
    let to_host = move |route: &&Route| route.hops.iter().any(|hop| Some(hop.link) == host && hop.gateway.is_some());
    let native = unicast(tables).filter(to_host);
    let native = native.map(|route| Block { address: route.destination, length: route.prefix, protocol: None });
    let wires = of_wires(&pods, tables);
    let is_block = |block: &Block| block.length > 0 && block.length < single(block.address);
    kept.chain(subnets).chain(native).chain(wires).filter(is_block).collect()
}

/// Gateways of default routes, whatever their table.
fn routers(tables: &Tables) -> BTreeSet<IpAddr> {
    let defaults = every(tables).filter(|route| route.prefix == 0);
    defaults.flat_map(|route| route.hops.iter().filter_map(|hop| hop.gateway)).collect()
}

fn unicast(tables: &Tables) -> impl Iterator<Item = &Route> {
    every(tables).filter(|route| route.kind == RouteKind::Unicast && route.table == MAIN_TABLE)
}

fn every(tables: &Tables) -> impl Iterator<Item = &Route> {
    tables.routes.known().into_iter().flatten()
}
