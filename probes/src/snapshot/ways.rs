//! What packets to peers leave by: the network that was declared, as the kernel has it.

use super::Snapshot;
use super::topology::TunnelView;
use crate::kernel::{LinkIndex, Route, RouteKind};

impl Snapshot {
    /// Routes to the node addresses of peers that were named or discovered, each with the peer's name.
    pub(crate) fn routes_to_peers(&self) -> impl Iterator<Item = (&Route, &str)> {
        let peers = self.peers.iter().filter(|peer| !peer.gateway);
        let addresses = peers.flat_map(|peer| peer.underlay.into_iter().map(|address| (address, peer.name.as_str())));
        let routes = addresses.filter_map(|(address, name)| Some((self.lookups.get(&address)?.known()?, name)));
        routes.filter(|(route, _)| route.kind == RouteKind::Unicast)
    }

    /// Tunnels that carry pods.
    pub(crate) fn pod_tunnels(&self) -> impl Iterator<Item = &TunnelView> {
        self.topology.tunnels().iter().filter(|tunnel| tunnel.carries_pods)
    }

    /// Whether a link is a device of the network itself: no tunnel, and not the loopback.
    pub(crate) fn is_device(&self, link: LinkIndex) -> bool {
        let tunnel = self.topology.tunnel(link).is_some();
        !tunnel && self.tables.link(link).is_some_and(|link| !link.is_loopback() && link.tunnel.is_none())
    }
}
