//! Pods that come and go.

use super::Broken;
use crate::Result;
use crate::cluster::{Cluster, NewPod};
use crate::namespace::Namespace;

/// Adds a pod of this MTU beside the node's first one. Healing removes it.
pub(super) fn another(cluster: &Cluster, node: usize, mtu: u32) -> Result<Broken<'_>> {
    let overlay = cluster.overlay()?;
    let link = overlay.by.another_pod_link();
    let pod = Namespace::new("another pod")?;
    NewPod { link, address: overlay.address(node, 3), mtu }.add(cluster.host(node), &pod, overlay, node)?;
    Ok(Broken::until(move || {
        cluster.host(node).run("ip", ["link", "del", link])?;
        drop(pod);
        Ok(())
    }))
}
