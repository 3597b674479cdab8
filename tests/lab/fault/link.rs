//! Links: down, or of another MTU.

use super::{Broken, vip};
use crate::cluster::{Cluster, programmed};
use crate::family::Family;
use crate::namespace::Namespace;
use crate::{Error, Result};

/// The least MTU with which a link speaks IPv6 (RFC 8200 section 5).
const LEAST_OF_SIX: u32 = 1280;

/// Takes a link down. Healing brings back its routes and permanent neighbours too, which the kernel forgets.
pub(super) fn down<'c>(namespace: &'c Namespace, link: &str) -> Result<Broken<'c>> {
    let programmed = programmed_on(namespace, link)?;
    namespace.run("ip", ["link", "set", link, "down"])?;
    let link = link.to_owned();
    Ok(Broken::until(move || {
        namespace.run("ip", ["link", "set", &link, "up"])?;
        namespace.feed("ip", &["-batch", "-"], &programmed)
    }))
}

/// Takes a node's link down. Packets may go another way meanwhile, and the kernel learns how much that carries; healing
/// lets it forget that, too.
pub(super) fn down_on<'c>(cluster: &'c Cluster, node: usize, link: &str) -> Result<Broken<'c>> {
    let host = cluster.host(node);
    Ok(Broken::until(move || programmed::forget_exceptions(host)).and(down(host, link)?))
}

/// Takes down the switch's port that a node hangs on. What it cannot keep then another node takes over.
pub(super) fn port_down(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let (namespace, port) = cluster.port(node);
    Ok(down(namespace, &port)?.and(vip::taken_over(cluster, node)?))
}

/// What the kernel forgets with a link, to be fed to `ip -batch`.
pub(super) fn programmed_on(namespace: &Namespace, link: &str) -> Result<String> {
    let mut lines = programmed::lines(namespace, Family::V4, Some(link))?;
    if programmed::speaks_six(namespace)? {
        lines += &programmed::lines(namespace, Family::V6, Some(link))?;
    }
    Ok(lines)
}

/// Gives a link another MTU. Below 1280 a link loses IPv6 with all its addresses, which healing brings back.
pub(super) fn mtu<'c>(namespace: &'c Namespace, link: &str, bytes: u32) -> Result<Broken<'c>> {
    let before = mtu_of(namespace, link)?;
    let programmed = if bytes < LEAST_OF_SIX { programmed_on(namespace, link)? } else { String::new() };
    set_mtu(namespace, link, bytes)?;
    let link = link.to_owned();
    Ok(Broken::until(move || {
        set_mtu(namespace, &link, before)?;
        namespace.feed("ip", &["-batch", "-"], &programmed)
    }))
}

/// Gives every wire between routers another MTU, at both ends: a wire has one.
pub(super) fn hop_mtu(cluster: &Cluster, bytes: u32) -> Result<Broken<'_>> {
    let mut ends = cluster.recipe.spans().into_iter().flat_map(|span| span.ends);
    ends.try_fold(Broken::default(), |broken, end| Ok(broken.and(mtu(&cluster.routers[end.router], &end.link, bytes)?)))
}

/// Healing lets the nodes forget what they have learned of a path. With IPv6 in it, a tunnel would lose large packets for
/// up to ten minutes more: unlike IPv4, a node can cut neither its outer packets nor those that it forwards.
pub(super) fn forgotten(cluster: &Cluster) -> Broken<'_> {
    if !cluster.recipe.spoken().has(Family::V6) {
        return Broken::default();
    }
    Broken::until(move || {
        cluster
            .nodes
            .iter()
            .try_for_each(|node| [&node.host].into_iter().chain(&node.pod).try_for_each(programmed::forget_exceptions))
    })
}

pub(super) fn set_mtu(namespace: &Namespace, link: &str, bytes: u32) -> Result<()> {
    namespace.run("ip", ["link", "set", link, "mtu", &bytes.to_string()]).map(drop)
}

pub(super) fn mtu_of(namespace: &Namespace, link: &str) -> Result<u32> {
    let shown = namespace.run("ip", ["-o", "link", "show", "dev", link])?;
    let after = shown.split_whitespace().skip_while(|word| *word != "mtu").nth(1);
    after
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| Error::new(format!("reading the MTU of {link} in {}", namespace.name()), shown))
}
