//! A tunnel that loses what only bulk over TCP has: segments that are large.

use super::{Broken, Way, filter};
use crate::Result;
use crate::cluster::Cluster;

/// Packets with a TCP segment that are larger vanish between a node's tunnel and its own programs.
pub(super) fn stall(cluster: &Cluster, node: usize, than: u32, way: Way) -> Result<Broken<'_>> {
    let (host, tunnel) = (cluster.host(node), cluster.overlay()?.tunnel);
    let drop = |side: &str| format!("{side} \"{tunnel}\" meta l4proto tcp ip length > {than} drop");
    let mut broken = Broken::default();
    if way != Way::Back {
        broken = broken.and(filter::filter(host, "inet", "input", &[drop("iifname")])?);
    }
    if way != Way::There {
        broken = broken.and(filter::filter(host, "inet", "output", &[drop("oifname")])?);
    }
    Ok(broken)
}
