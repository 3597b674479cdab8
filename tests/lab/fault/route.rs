//! Settings, routes, and what the kernel remembers of a path.

use serde::Deserialize;

use super::{Broken, Plane, link, words};
use crate::cluster::{Cluster, programmed};
use crate::echo::ping_by_memory;
use crate::intruder::{TooBig, claim};
use crate::namespace::Namespace;
use crate::recipe::Role;
use crate::wait::{self, Look};
use crate::{Error, Result};

/// Changes a kernel setting.
pub(super) fn set<'c>(cluster: &'c Cluster, node: usize, key: &str, value: &str) -> Result<Broken<'c>> {
    let host = cluster.host(node);
    let key = words::filled(key, &cluster.recipe, node)?;
    let before = host.setting(&key)?;
    host.set(&key, value)?;
    Ok(Broken::until(move || host.set(&key, &before)))
}

/// Gives the route to a peer's node an MTU: a route of its own, the usual way.
pub(super) fn mtu(cluster: &Cluster, node: usize, to: usize, bytes: u32) -> Result<Broken<'_>> {
    let (host, peer) = (cluster.host(node), cluster.recipe.underlay_address(to));
    let way = cluster.recipe.router_address(node).map(|router| format!("via {router} ")).unwrap_or_default();
    let route = format!("{peer} {way}dev {}", cluster.link(Role::Lower)?);
    host.sh(&format!("ip route add {route} mtu {bytes}"))?;
    Ok(Broken::until(move || {
        host.sh(&format!("ip route del {route}"))?;
        // A tunnel over it has taught the kernel what fits inside.
        programmed::forget_exceptions(host)
    }))
}

/// Sends a peer's packets out over the management network, from the cluster's address.
pub(super) fn asymmetric(cluster: &Cluster, node: usize, to: usize) -> Result<Broken<'_>> {
    let host = cluster.host(node);
    let recipe = cluster.recipe;
    let (peer, source) = (recipe.underlay_address(to), recipe.underlay_address(node));
    let (gateway, link) = (recipe.management_address(to), cluster.link(Role::Management)?);
    let table = recipe.table.map(|table| format!(" table {table}")).unwrap_or_default();
    let route = format!("route add {peer} via {gateway} dev {link} src {source}{table}");
    host.sh(&format!("ip {route}"))?;
    Ok(Broken::until(move || {
        host.sh(&format!("ip route del {peer} via {gateway} dev {link}{table}"))?;
        // The other network may carry less, and the kernel goes on believing what it learned there.
        programmed::forget_exceptions(host)
    }))
}

/// What can stand in place of the default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// Nothing.
    Nothing,
    /// One that drops in silence.
    Blackhole,
    /// One that refuses.
    Prohibit,
    /// One for 169.254.0.0/16 alone, by the same gateway.
    LinkLocal,
    /// The same in another table, to which a rule leads what the main one has no route for.
    Table,
}

/// Puts something in place of the default route.
pub(super) fn default(host: &Namespace, becomes: Instead) -> Result<Broken<'_>> {
    let before = host.sh("ip route show default")?;
    let by = before.trim().strip_prefix("default ").map(str::to_owned);
    let by = by.ok_or_else(|| Error::new(format!("asking for the default route of {}", host.name()), &before))?;
    let (make, undo) = match becomes {
        Instead::Nothing => (String::new(), String::new()),
        Instead::Blackhole | Instead::Prohibit => {
            let kind = if becomes == Instead::Blackhole { "blackhole" } else { "prohibit" };
            (format!("route add {kind} default metric 5\n"), format!("route del {kind} default metric 5\n"))
        }
        Instead::LinkLocal => {
            let route = format!("169.254.0.0/16 {by}");
            (format!("route add {route}\n"), format!("route del {route}\n"))
        }
        Instead::Table => (
            format!("route add default {by} table 100\nrule add priority 40000 lookup 100\n"),
            "rule del priority 40000\nroute flush table 100\n".to_owned(),
        ),
    };
    host.feed("ip", &["-batch", "-"], &format!("{make}route del default {by}\n"))?;
    Ok(Broken::until(move || host.feed("ip", &["-batch", "-"], &format!("route add default {by}\n{undo}"))))
}

/// Lets the kernel learn a path MTU, then takes the cause away. Healing forgets it.
pub(super) fn stale(cluster: &Cluster, node: usize, of: usize, bytes: u32) -> Result<Broken<'_>> {
    let host = cluster.host(node);
    let peer = cluster.recipe.underlay_address(of);
    let narrow = link::hop_mtu(cluster, bytes)?;
    wait::until("the kernel to learn a path MTU", || {
        let refused = ping_by_memory(host, peer, cluster.recipe.underlay_mtu).is_err();
        let route = host.sh(&format!("ip route get {peer}"))?;
        let learnt = refused && route.contains(&format!("mtu {bytes}"));
        Ok(if learnt { Look::There(()) } else { Look::NotYet(route) })
    })?;
    narrow.heal()?;
    Ok(Broken::until(move || programmed::forget_exceptions(host)))
}

/// Lets the peer forge an error about an echo reply that the node never sent it. Healing forgets what it taught.
pub(super) fn forged(cluster: &Cluster, node: usize, of: usize, plane: Plane, bytes: u32) -> Result<Broken<'_>> {
    let (host, forger) = (cluster.host(node), cluster.host(of));
    let (sender, victim) = (cluster.recipe.underlay_address(of), cluster.recipe.underlay_address(node));
    let quoted = match plane {
        Plane::Underlay => (victim, sender),
        Plane::Overlay => (cluster.overlay()?.tunnel_address(node), cluster.overlay()?.tunnel_address(of)),
        Plane::Pod => (cluster.overlay()?.tunnel_address(node), cluster.overlay()?.pod_address(of)),
    };
    let mtu = u16::try_from(bytes).map_err(|error| Error::new(format!("forging an MTU of {bytes}"), error))?;
    wait::until("the kernel to believe a forged error", || {
        claim(forger, TooBig { sender, victim, quoted, mtu })?;
        let route = host.sh(&format!("ip route get {}", quoted.1))?;
        let learnt = route.contains(&format!("mtu {bytes}")) || route.contains("mtu lock");
        Ok(if learnt { Look::There(()) } else { Look::NotYet(route) })
    })?;
    Ok(Broken::until(move || programmed::forget_exceptions(host)))
}
