//! Calico's blocks: addresses of a node's own that are in use, and a pod that has one of another node's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Broken, pod};
use crate::cluster::Cluster;
use crate::recipe::{Cni, Overlay, Recipe};
use crate::{Error, Result};

/// Addresses of a block, unless Calico is told otherwise.
const SIZE: u8 = 64;

/// The pod that every node has, and the tunnel.
const POD: u8 = 2;
const TUNNEL: u8 = 0;

/// The last byte of an address in any block.
const BORROWED: u8 = 41;

/// Whether a node has such blocks.
pub(super) fn are_in(recipe: &Recipe) -> bool {
    recipe.overlay.is_some_and(|overlay| overlay.by == Cni::Calico)
}

/// Gives every address of the node's block a route to its pod's link, but so many of the last ones.
pub(super) fn taken(cluster: &Cluster, node: usize, left: u8) -> Result<Broken<'_>> {
    let (overlay, host) = (cluster.overlay()?, cluster.host(node));
    let free = (0..SIZE).filter(|&number| !is_taken(overlay, number));
    let more = free.take(usize::from(SIZE - taken_by(overlay) - left.min(SIZE - taken_by(overlay))));
    let block = overlay.address(node, 0);
    let link = overlay.by.pod_link();
    let routes = more.map(|number| format!("{} dev {link}\n", after(block, number))).collect::<Vec<_>>();
    let lines = |verb: &str| routes.iter().map(|route| format!("route {verb} {route}")).collect::<String>();
    host.feed("ip", &["-batch", "-"], &lines("add"))?;
    let away = lines("del");
    Ok(Broken::until(move || host.feed("ip", &["-batch", "-"], &away)))
}

/// Adds a pod that has an address of another node's block.
pub(super) fn borrowed(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    let mtu = cluster.overlay()?.pod_mtu();
    if of == node {
        return Err(Error::new("borrowing an address", "a node borrows of another one"));
    }
    pod::added(cluster, node, mtu, (of, BORROWED))
}

fn is_taken(overlay: Overlay, number: u8) -> bool {
    number == POD || number == TUNNEL && overlay.delivery.vxlan().is_some()
}

fn taken_by(overlay: Overlay) -> u8 {
    if is_taken(overlay, TUNNEL) { 2 } else { 1 }
}

/// The address so many after a block's first.
fn after(block: IpAddr, number: u8) -> IpAddr {
    match block {
        IpAddr::V4(block) => Ipv4Addr::from(u32::from(block) + u32::from(number)).into(),
        IpAddr::V6(block) => Ipv6Addr::from(u128::from(block) + u128::from(number)).into(),
    }
}
