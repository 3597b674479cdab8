//! kube-vip's address: on the nodes that are named, and on no other.

use super::Broken;
use crate::cluster::Cluster;
use crate::recipe::Role;
use crate::{Error, Result};

/// Healing gives it back to its first holder. Who has it says so to nobody, as where the announcement is lost.
pub(super) fn on<'c>(cluster: &'c Cluster, nodes: &[usize]) -> Result<Broken<'c>> {
    let recipe = &cluster.recipe;
    let leader =
        recipe.vip_leader().ok_or_else(|| Error::new("asking for kube-vip's address", "this recipe has none"))?;
    let nodes = nodes.to_vec();
    set(cluster, leader, nodes.contains(&leader))?;
    for &node in nodes.iter().filter(|node| **node != leader) {
        set(cluster, node, true)?;
    }
    Ok(Broken::until(move || {
        nodes.iter().filter(|node| **node != leader).try_for_each(|&node| set(cluster, node, false))?;
        set(cluster, leader, true)
    }))
}

/// A node is cut off. Where it had the address, the election gives it to another: a take-over that fails is a fault of its own.
pub(super) fn taken_over(cluster: &Cluster, from: usize) -> Result<Broken<'_>> {
    let recipe = &cluster.recipe;
    let next = (0..recipe.nodes.len()).find(|&node| node != from && recipe.is_control_plane(node));
    let (true, Some(next)) = (recipe.vip_leader() == Some(from), next) else { return Ok(Broken::default()) };
    set(cluster, next, true)?;
    Ok(Broken::until(move || set(cluster, next, false)))
}

fn set(cluster: &Cluster, node: usize, there: bool) -> Result<()> {
    let Some(vip) = cluster.recipe.vip() else { return Ok(()) };
    let (address, link) = (format!("{vip}/32"), cluster.link(Role::Lower)?);
    let word = if there { "replace" } else { "del" };
    let host = cluster.host(node);
    let has = host.run("ip", ["-o", "address", "show", "to", &address])?.contains(&vip.to_string());
    if has == there { Ok(()) } else { host.run("ip", ["address", word, &address, "dev", link]).map(drop) }
}
