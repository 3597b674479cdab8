//! Pods that come and go, and their links.

use std::sync::PoisonError;

use super::{Broken, link};
use crate::cluster::{Cluster, NewPod};
use crate::family::Family;
use crate::namespace::Namespace;
use crate::{Error, Result};

/// Adds a pod of this MTU beside the node's first one. Healing removes it.
pub(super) fn another(cluster: &Cluster, node: usize, mtu: u32) -> Result<Broken<'_>> {
    added(cluster, node, mtu, (node, 3))
}

/// Adds a pod with this address: a node's block, and a number in it.
pub(super) fn added(cluster: &Cluster, node: usize, mtu: u32, (block, number): (usize, u8)) -> Result<Broken<'_>> {
    let overlay = cluster.overlay()?;
    let link = overlay.by.another_pod_link();
    let pod = Namespace::new("another pod")?;
    if overlay.families.has(Family::V6) {
        pod.speak_six()?;
    }
    let new = NewPod { link, number, mtu };
    new.add(cluster.host(node), &pod, overlay, block)?;
    let later = move || cluster.nodes[node].later.lock().unwrap_or_else(PoisonError::into_inner);
    later().push((new, block, pod));
    Ok(Broken::until(move || {
        cluster.host(node).run("ip", ["link", "del", link])?;
        later().retain(|(new, ..)| new.link != link);
        Ok(())
    }))
}

/// Gives both ends of the first pod's link another MTU.
pub(super) fn mtu(cluster: &Cluster, node: usize, bytes: u32) -> Result<Broken<'_>> {
    Ok(end_mtu(cluster, node, bytes)?.and(link::mtu(cluster.host(node), cluster.overlay()?.by.pod_link(), bytes)?))
}

/// Gives the pod's end of its link another MTU.
pub(super) fn end_mtu(cluster: &Cluster, node: usize, bytes: u32) -> Result<Broken<'_>> {
    let pod = cluster.nodes[node].pod.as_ref();
    link::mtu(pod.ok_or_else(|| Error::new("asking for the pod", "this recipe has none"))?, "eth0", bytes)
}
