//! The tunnel's DF bit, and the entries that a CNI makes for each peer: missing, or of another kind.

use super::Broken;
use crate::cluster::{Base, Cluster, forwarding_line};
use crate::recipe::Role;
use crate::{Error, Result};

pub(super) fn outer_df(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let (host, overlay) = (cluster.host(node), cluster.overlay()?);
    let set = move |value| {
        let vni = overlay.vni.to_string();
        host.run("ip", ["link", "set", overlay.tunnel, "type", "vxlan", "id", &vni, "df", value]).map(drop)
    };
    set("set")?;
    Ok(Broken::until(move || set("unset")))
}

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

/// The entry leads to the peer's address on the management network.
pub(super) fn forwarding_elsewhere(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    // An entry holds several destinations, so the right one has to go first.
    let right = no_forwarding(cluster, node, of)?;
    let (overlay, address) = (cluster.overlay()?, cluster.recipe.management_address(of));
    cluster.host(node).feed("bridge", &["-batch", "-"], &forwarding_line(of, overlay, address, "permanent"))?;
    let wrong = Broken::until(move || {
        let entry = ["fdb", "del", &overlay.tunnel_mac(of), "dev", overlay.tunnel, "self"];
        cluster.host(node).run("bridge", entry).map(drop)
    });
    Ok(right.and(wrong))
}

/// Makes the tunnel again on another link, with another source address.
pub(super) fn made_again(cluster: &Cluster, node: usize, over: Option<Role>, from: Option<Role>) -> Result<Broken<'_>> {
    let overlay = cluster.overlay()?;
    let address = |role| match role {
        Role::Management => Ok(cluster.recipe.management_address(node)),
        Role::Lower => Ok(cluster.recipe.underlay_address(node)),
        other => Err(Error::new(format!("asking for an address of {other:?}"), "only lower and management have one")),
    };
    let base = Base { link: over.map(|role| cluster.link(role)).transpose()?, address: from.map(address).transpose()? };
    let replace = move |base: &Base| {
        cluster.host(node).run("ip", ["link", "del", overlay.tunnel])?;
        cluster.add_tunnel(node, overlay, base)
    };
    replace(&base)?;
    Ok(Broken::until(move || replace(&cluster.base(node))))
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
    let line = forwarding_line(of, cluster.overlay()?, cluster.recipe.underlay_address(of), state);
    cluster.host(node).feed("bridge", &["-batch", "-"], &line)
}

fn neighbour(cluster: &Cluster, node: usize, of: usize, state: &str) -> Result<()> {
    let overlay = cluster.overlay()?;
    let (address, mac) = (overlay.tunnel_address(of).to_string(), overlay.tunnel_mac(of));
    let entry = ["neighbour", "replace", &address, "lladdr", &mac, "dev", overlay.tunnel, "nud", state];
    cluster.host(node).run("ip", entry).map(drop)
}
