//! The entries that a CNI makes for each peer: missing, or of another kind.

use super::Broken;
use crate::Result;
use crate::cluster::Cluster;

pub(super) fn no_forwarding(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    let overlay = cluster.overlay()?;
    let address = cluster.recipe.underlay_address(of).to_string();
    let entry = ["fdb", "del", &overlay.tunnel_mac(of), "dev", overlay.tunnel, "dst", &address, "self"];
    cluster.host(node).run("bridge", entry)?;
    Ok(Broken::until(move || forward(cluster, node, of, "permanent")))
}

pub(super) fn dynamic_forwarding(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    forward(cluster, node, of, "dynamic")?;
    Ok(Broken::until(move || forward(cluster, node, of, "permanent")))
}

pub(super) fn no_neighbour(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    let overlay = cluster.overlay()?;
    let address = overlay.tunnel_address(of).to_string();
    cluster.host(node).run("ip", ["neighbour", "del", &address, "dev", overlay.tunnel])?;
    Ok(Broken::until(move || neighbour(cluster, node, of, "permanent")))
}

pub(super) fn reachable_neighbour(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    neighbour(cluster, node, of, "reachable")?;
    Ok(Broken::until(move || neighbour(cluster, node, of, "permanent")))
}

fn forward(cluster: &Cluster, node: usize, of: usize, state: &str) -> Result<()> {
    let line = cluster.forwarding_line(of, cluster.overlay()?, state);
    cluster.host(node).feed("bridge", &["-batch", "-"], &line)
}

fn neighbour(cluster: &Cluster, node: usize, of: usize, state: &str) -> Result<()> {
    let overlay = cluster.overlay()?;
    let (address, mac) = (overlay.tunnel_address(of).to_string(), overlay.tunnel_mac(of));
    let entry = ["neighbour", "replace", &address, "lladdr", &mac, "dev", overlay.tunnel, "nud", state];
    cluster.host(node).run("ip", entry).map(drop)
}
