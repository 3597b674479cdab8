//! What a path's packets go by below: the node address that they are carried to, and the path to it.
//!
//! Inside a tunnel packets are of its far end's family, whatever their own: the tunnel that the route leads into decides.
//! Where no route leads into one any more, the tunnel that led there is remembered.

use std::net::{IpAddr, Ipv4Addr};

use crate::kernel::LinkIndex;
use crate::path::{PathKey, Plane};
use crate::peers::{Peer, Who};
use crate::units::Family;

use super::{Path, Snapshot};

impl Snapshot {
    /// The peer of this name.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.at(&Who::Named(name.into())).next()
    }

    /// The peers that have a node address.
    pub fn peers_at(&self, address: IpAddr) -> impl Iterator<Item = &Peer> {
        self.peers.at(&Who::At(address))
    }

    /// The node address that packets to this one are carried to; of another family only where there is no choice.
    pub fn node_address(&self, key: &PathKey) -> Option<IpAddr> {
        if key.plane == Plane::Underlay {
            return Some(key.address);
        }
        let peer = self.peer(&key.peer)?;
        peer.underlay.of(self.family_below(key)).or_else(|| peer.underlay.first())
    }

    /// The path to the node address that packets to this one are carried to.
    pub fn below(&self, key: &PathKey) -> Option<(&PathKey, &Path)> {
        if key.plane == Plane::Underlay {
            return None;
        }
        let family = self.family_below(key);
        self.underlay_paths(&key.peer).find(|(below, _)| below.family() == family)
    }

    /// The paths to a peer's node addresses, IPv4 first.
    pub fn underlay_paths(&self, peer: &str) -> impl Iterator<Item = (&PathKey, &Path)> {
        let lowest = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let first = PathKey { peer: peer.to_owned(), plane: Plane::Underlay, address: lowest };
        let name = first.peer.clone();
        self.paths.range(first..).take_while(move |(key, _)| key.plane == Plane::Underlay && key.peer == name)
    }

    /// The underlay paths that a tunnel's outer packets go by. One that goes through the tunnel itself, to the far end of
    /// another tunnel on top of it, is none, and neither is one through a tunnel beside it.
    pub fn paths_below(&self, tunnel: LinkIndex) -> impl Iterator<Item = (&PathKey, &Path)> {
        let chain = self.topology.chain(tunnel);
        let outer = self.outer_family(tunnel);
        let under =
            move |link: &LinkIndex| *link != tunnel && (self.topology.tunnel(*link).is_none() || chain.contains(link));
        self.paths.iter().filter(move |(key, path)| {
            let spoken = outer.is_none_or(|outer| outer == key.family());
            key.plane == Plane::Underlay && spoken && path.via.iter().all(&under)
        })
    }

    /// The family of the packets on the network between the nodes.
    pub fn family_below(&self, key: &PathKey) -> Family {
        let links = self.paths.get(key).into_iter().flat_map(|path| &path.via).copied();
        let by_route =
            || links.filter(|&link| self.topology.tunnel(link).is_some()).find_map(|it| self.outer_family(it));
        let remembered = || self.peer(&key.peer)?.behind(key.family())?.underlay.map(Family::of);
        let inside = || by_route().or_else(remembered);
        (key.plane != Plane::Underlay).then(inside).flatten().unwrap_or(key.family())
    }

    /// The family of a tunnel's outer packets.
    pub fn outer_family(&self, tunnel: LinkIndex) -> Option<Family> {
        let device = self.tables.link(tunnel)?.tunnel.as_ref()?;
        let end = self.tables.remotes_of(tunnel).map(|(_, address)| address).next();
        device.local.or(device.remote).or(end).map(Family::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, ip};

    fn key(plane: Plane, address: &str) -> PathKey {
        PathKey { peer: "master-2".into(), plane, address: ip(address) }
    }

    fn below(node: &Snapshot, plane: Plane, address: &str) -> Option<String> {
        node.below(&key(plane, address)).map(|(key, _)| key.address.to_string())
    }

    #[test]
    fn each_tunnel_is_carried_by_the_node_address_of_its_own_family() {
        let node = Example::two_tunnels().snapshot();
        assert_eq!(below(&node, Plane::Overlay, "10.244.2.0").unwrap(), "10.0.0.12");
        assert_eq!(below(&node, Plane::Overlay, "fd00:244:2::").unwrap(), "fd00::12");
        assert_eq!(below(&node, Plane::Pod, "fd00:244:2::2").unwrap(), "fd00::12");
        assert_eq!(below(&node, Plane::Underlay, "fd00::12"), None, "nothing is below that");
        assert_eq!(node.node_address(&key(Plane::Pod, "fd00:244:2::2")), Some(ip("fd00::12")));
    }

    #[test]
    fn a_tunnel_that_no_route_leads_into_any_more_is_remembered() {
        let mut node = Example::two_tunnels();
        node.lookups.remove(&ip("fd00:244:2::2"));
        assert_eq!(below(&node.snapshot(), Plane::Pod, "fd00:244:2::2").unwrap(), "fd00::12");
    }

    #[test]
    fn a_family_that_shares_a_tunnel_of_the_other_is_carried_by_that() {
        let node = Example::dual("fd00::12").snapshot();
        assert_eq!(below(&node, Plane::Pod, "10.244.2.2").unwrap(), "fd00::12");
        let node = Example::dual("10.0.0.12").snapshot();
        assert_eq!(below(&node, Plane::Pod, "fd00:244:2::2").unwrap(), "10.0.0.12");
    }

    #[test]
    fn the_path_of_another_family_says_nothing_of_what_carries() {
        let mut node = Example::dual("fd00::12");
        node.peers[0].underlay = ip("10.0.0.12").into();
        let node = node.snapshot();
        assert_eq!(below(&node, Plane::Overlay, "10.244.2.0"), None);
        assert_eq!(node.node_address(&key(Plane::Overlay, "10.244.2.0")), Some(ip("10.0.0.12")), "but names the node");
    }
}
