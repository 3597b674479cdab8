//! From peers to paths: which addresses are probed, what each should carry, and by which links it leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{LinkIndex, Route, RouteKind};
use crate::path::{PathKey, Plane, Target, TunnelEnd};
use crate::peers::Peer;
use crate::snapshot::{Path, Snapshot};
use crate::units::IpSize;

/// What is probed where the kernel knows no route, and so no size: the send itself will fail and say why.
const WITHOUT_ROUTE: IpSize = IpSize::new(1500);

/// Every path, before it is measured. Where probing is impossible that is said of each.
pub(super) fn paths(node: &Snapshot, probing: &Result<(), Unread>) -> BTreeMap<PathKey, Path> {
    let unread = probing.clone().err().unwrap_or(Unread::new(Source::Probes, Reason::NotYet));
    let path = |key: PathKey| {
        let path = Path {
            expected: expected(node, &key),
            cached: node.tables.cached_mtu(key.address),
            via: via(node, key.address),
            measured: Fact::Unread(unread.clone()),
            probed_at: None,
        };
        (key, path)
    };
    node.peers.iter().flat_map(keys).map(path).collect()
}

/// What the prober is to measure.
pub(super) fn all(node: &Snapshot) -> Vec<Target> {
    let target = |(key, path): (&PathKey, &Path)| Target {
        key: key.clone(),
        expected: path.expected.unwrap_or(WITHOUT_ROUTE),
        tunnel: tunnel_end(node, key.address),
    };
    node.paths.iter().map(target).collect()
}

fn keys(peer: &Peer) -> Vec<PathKey> {
    let key = |plane: Plane| move |address: IpAddr| PathKey { peer: peer.name.clone(), plane, address };
    let underlay = peer.underlay.into_iter().map(key(Plane::Underlay));
    let overlay = peer.overlay.into_iter().map(key(Plane::Overlay));
    underlay.chain(overlay).chain(peer.pods.iter().copied().map(key(Plane::Pod))).collect()
}

fn route(node: &Snapshot, address: IpAddr) -> Option<&Route> {
    node.lookups.get(&address)?.known().filter(|route| matches!(route.kind, RouteKind::Unicast | RouteKind::Local))
}

/// The smallest of route and device MTU over every next hop, cached path MTUs left out; on the underlay no more than
/// the operator means it to be.
fn expected(node: &Snapshot, key: &PathKey) -> Option<IpSize> {
    let route = route(node, key.address)?;
    let devices = route.hops.iter().filter_map(|hop| node.tables.link(hop.link)).map(|link| link.mtu.carries());
    let meant = node.expect.underlay_mtu.filter(|_| key.plane == Plane::Underlay);
    let device = devices.min()?;
    Some(route.mtu.into_iter().chain(meant).fold(device, Ord::min).min(IpSize::MAX))
}

fn via(node: &Snapshot, address: IpAddr) -> Vec<LinkIndex> {
    let mut via = Vec::new();
    for hop in route(node, address).into_iter().flat_map(|route| &route.hops) {
        let chain = node.topology.chain(hop.link);
        via.extend(chain.into_iter().filter(|link| !via.contains(link)).collect::<Vec<_>>());
    }
    via
}

fn tunnel_end(node: &Snapshot, address: IpAddr) -> Option<TunnelEnd> {
    let hop = route(node, address)?.hops.first()?;
    let tunnel = node.topology.tunnel(hop.link)?;
    let device = node.tables.link(hop.link)?.tunnel.as_ref()?;
    let vtep = node.tables.far_end(hop.link, hop.gateway.unwrap_or(address)).or(device.remote)?;
    Some(TunnelEnd { vtep, port: device.port?, overhead: tunnel.overhead? })
}
