//! Pods that come and go.

use super::Broken;
use crate::Result;
use crate::cluster::{Cluster, NewPod};
use crate::family::Family;
use crate::namespace::Namespace;

/// Adds a pod of this MTU beside the node's first one. Healing removes it.
pub(super) fn another(cluster: &Cluster, node: usize, mtu: u32) -> Result<Broken<'_>> {
    let overlay = cluster.overlay()?;
    let link = overlay.by.another_pod_link();
    let pod = Namespace::new("another pod")?;
    if overlay.families.has(Family::V6) {
        pod.speak_six()?;
    }
    NewPod { link, number: 3, mtu }.add(cluster.host(node), &pod, overlay, node)?;
    Ok(Broken::until(move || {
        cluster.host(node).run("ip", ["link", "del", link])?;
        drop(pod);
        Ok(())
    }))
}
