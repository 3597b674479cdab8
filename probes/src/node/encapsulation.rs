//! How to send through a tunnel without its device: what a packet to a peer would be wrapped in.
//!
//! The device itself may hide what the network below carries, by fragmenting, and may lack an entry; a packet that is
//! wrapped here meets the same network and the same far end, and its answer comes back through the far end's own tunnel.
//! Where one of the entries is missing the other names what it would have said: a neighbour's hardware address is that
//! of the forwarding entry that leads to the peer's node. A tunnel in collect-metadata mode has no identifier to send.

use std::net::IpAddr;

use crate::fact::Fact;
use crate::kernel::{Link, Mac, Query, Tunnel, TunnelKind};
use crate::path::{Encapsulation, PathKey, Plane};
use crate::snapshot::Snapshot;
use crate::units::{Family, IpSize};

use super::targets::route;

/// The wrapping for a path through a VXLAN device, and the largest outer packet that this machine can send there.
pub(super) fn of(node: &Snapshot, key: &PathKey) -> Option<(Encapsulation, IpSize)> {
    if key.plane != Plane::Overlay {
        return None;
    }
    let hop = route(node, key.address)?.hops.first()?;
    let link = node.tables.link(hop.link)?;
    let tunnel = link.tunnel.as_ref().filter(|tunnel| tunnel.kind == TunnelKind::Vxlan && !tunnel.external)?;
    let neighbour = hop.gateway.unwrap_or(key.address);
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
