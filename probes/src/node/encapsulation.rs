//! How to send through a tunnel without its device: what a packet to a peer would be wrapped in.
//!
//! The device itself may hide what the network below carries, by fragmenting, and may lack an entry; a packet that is
//! wrapped here meets the same network and the same far end, and its answer comes back through the far end's own tunnel.
//! Where one of the entries is missing the other names what it would have said: a neighbour's hardware address is that
//! of the forwarding entry that leads to the peer's node. A tunnel in collect-metadata mode has no identifier to send.
//!
//! Where a peer's tunnel address is not reached and no route leads into a tunnel, the one that its tables name the peer in
//! is taken: that the packet is answered shows that the route is all that is missing.

use std::net::IpAddr;

use crate::fact::Fact;
use crate::kernel::{Link, Mac, Query, Tunnel, TunnelKind};
use crate::path::{Encapsulation, PathKey, Plane, Verdict};
use crate::snapshot::Snapshot;
use crate::units::{Family, IpSize};

use super::targets::route;

/// The wrapping for a path through a VXLAN device, and the largest outer packet that this machine can send there.
pub(super) fn of(node: &Snapshot, key: &PathKey) -> Option<(Encapsulation, IpSize)> {
    if key.plane != Plane::Overlay {
        return None;
    }
    let (link, neighbour) = device(node, key)?;
    let tunnel = link.tunnel.as_ref()?;
    let (to_mac, vtep) = far_end(node, link, key, neighbour)?;
    let own = node.tables.addresses_of(link.index).map(|own| own.address);
    let encapsulation = Encapsulation {
        vtep,
        port: tunnel.port?,
        vni: tunnel.id?,
        from_mac: link.mac?.0,
        to_mac: to_mac.0,
        inner_from: own.into_iter().find(|own| Family::of(*own) == key.family())?,
        inner_to: key.address,
    };
    Some((encapsulation, expected(node, tunnel, encapsulation)?))
}

/// The device whose packets are imitated, and the neighbour that it would send to.
pub(super) fn device<'a>(node: &'a Snapshot, key: &PathKey) -> Option<(&'a Link, IpAddr)> {
    let hop = route(node, key.address).and_then(|route| route.hops.first());
    let routed = hop.and_then(|hop| Some((node.tables.link(hop.link)?, hop.gateway.unwrap_or(key.address))));
    let named = || {
        let peer = node.peers.iter().find(|peer| peer.name == key.peer)?;
        let link = node.tables.link_named(peer.tunnel.as_ref()?).filter(|_| is_lost(node, key))?;
        Some((link, key.address))
    };
    let imitable = |(link, _): &(&Link, IpAddr)| {
        let tunnel = link.tunnel.as_ref();
        tunnel.is_some_and(|tunnel| tunnel.kind == TunnelKind::Vxlan && !tunnel.external)
    };
    routed.filter(imitable).or_else(|| named().filter(imitable))
}

fn is_lost(node: &Snapshot, key: &PathKey) -> bool {
    node.paths.get(key).is_some_and(|path| matches!(path.verdict(), Ok(Verdict::Unreachable { .. })))
}

fn far_end(node: &Snapshot, link: &Link, key: &PathKey, neighbour: IpAddr) -> Option<(Mac, IpAddr)> {
    let peer = node.peers.iter().find(|peer| peer.name == key.peer)?;
    let mut neighbours = node.tables.neighbours_of(link.index);
    let known = neighbours.find(|entry| entry.address == neighbour).and_then(|entry| entry.mac);
    let leads_there = |address| Some(address) == peer.underlay;
    let forwarded = node.tables.remotes_of(link.index).find(|&(_, address)| leads_there(address));
    let mac = known.or(forwarded.map(|(entry, _)| entry.mac))?;
    let told = node.tables.remotes_of(link.index).find(|(entry, _)| entry.mac == mac).map(|(_, address)| address);
    Some((mac, told.or(peer.underlay)?))
}

/// The smallest MTU of the links that outer packets leave by; no more than the operator means the network to carry.
fn expected(node: &Snapshot, tunnel: &Tunnel, encapsulation: Encapsulation) -> Option<IpSize> {
    let from = tunnel.local.filter(|&local| node.tables.is_own(local));
    let queries = [Query { to: encapsulation.vtep, from }, Query { to: encapsulation.vtep, from: None }];
    let route = queries.iter().find_map(|query| node.outer.get(query).and_then(Fact::known))?;
    let links = route.hops.iter().filter_map(|hop| node.tables.link(hop.link));
    let device = links.map(|link| link.mtu.carries()).min()?;
    Some(node.expect.underlay_mtu.into_iter().chain(route.mtu).fold(device, Ord::min))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Mac;
    use crate::snapshot::example::{Example, ip, silent};

    fn key() -> PathKey {
        PathKey { peer: "master-2".into(), plane: Plane::Overlay, address: ip("10.244.2.0") }
    }

    fn reference() -> Example {
        Example::reference().with("vxlan.calico", |link| link.mac = Some(Mac([0x66, 0, 0, 0, 0, 9])))
    }

    #[test]
    fn the_device_that_the_route_leads_into_is_imitated() {
        let (encapsulation, expected) = of(&reference().snapshot(), &key()).unwrap();
        assert_eq!((encapsulation.vtep, encapsulation.port, encapsulation.vni), (ip("10.0.0.12"), 4789, 4096));
        assert_eq!((encapsulation.to_mac, expected), ([0x66, 0, 0, 0, 0, 0], IpSize::new(1500)));
        assert_eq!((encapsulation.inner_from, encapsulation.inner_to), (ip("10.244.1.0"), ip("10.244.2.0")));
    }

    #[test]
    fn an_entry_that_is_missing_is_told_by_the_other() {
        let mut node = reference();
        let Fact::Known(neighbours) = &mut node.tables.neighbours else { unreachable!() };
        let whole = neighbours.clone();
        neighbours.retain(|entry| entry.address != ip("10.244.2.0"));
        assert_eq!(of(&node.snapshot(), &key()).unwrap().0.to_mac, [0x66, 0, 0, 0, 0, 0]);
        node.tables.neighbours = Fact::Known(whole);
        let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
        forwarding.retain(|entry| entry.destination != Some(ip("10.0.0.12")));
        let mut node = node.snapshot();
        let underlay = Query { to: ip("10.0.0.12"), from: Some(ip("10.0.0.11")) };
        node.outer.insert(underlay, node.lookups[&underlay.to].clone());
        assert_eq!(of(&node, &key()).unwrap().0.vtep, ip("10.0.0.12"));
    }

    #[test]
    fn a_tunnel_that_no_route_leads_into_is_imitated_for_a_peer_that_is_lost() {
        let mut node = reference();
        node.lookups.insert(ip("10.244.2.0"), node.lookups[&ip("10.0.0.12")].clone());
        assert!(of(&node.snapshot(), &key()).is_none(), "it is reached without the tunnel, as CrossSubnet means it");
        let lost = node.verdict("master-2", Plane::Overlay, silent()).snapshot();
        assert_eq!(of(&lost, &key()).unwrap().0.vtep, ip("10.0.0.12"));
    }

    #[test]
    fn collect_metadata_and_other_planes_are_not_imitated() {
        let external = reference().with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().external = true);
        assert!(of(&external.snapshot(), &key()).is_none());
        let pod = PathKey { plane: Plane::Pod, ..key() };
        assert!(of(&reference().snapshot(), &pod).is_none());
    }
}
