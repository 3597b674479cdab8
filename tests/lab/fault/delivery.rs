//! What a tunnel needs around it: routes that lead into it, and nothing that takes what it sends.

use serde::Deserialize;

use super::{Broken, Traffic, filter, tunnel};
use crate::Result;
use crate::cluster::Cluster;
use crate::recipe::Role;

/// What can become of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Becomes {
    /// It is gone: the default route takes its packets.
    Nothing,
    /// It leads the same way and was made by somebody else.
    Static,
    /// It leads over the management network, still from the tunnel's address: answers come back through the tunnel.
    Around,
}

/// Takes the route to a peer's pods away, or makes it again as an administrator would.
pub(super) fn pod_route(cluster: &Cluster, node: usize, to: usize, becomes: Becomes) -> Result<Broken<'_>> {
    let (host, overlay) = (cluster.host(node), cluster.overlay()?);
    tunnel::each_inner(cluster, |tunnel, family| {
        let (subnet, gateway) = (overlay.subnet(family, to), overlay.address_of(family, to, 0));
        let route = format!("{subnet} via {gateway} dev {} onlink", tunnel.link);
        let made = host.sh(&format!("ip {} route show {subnet} dev {}", family.flag(), tunnel.link))?;
        let before = format!("{} dev {} onlink", made.trim().trim_end_matches("onlink").trim(), tunnel.link);
        match becomes {
            Becomes::Nothing => host.sh(&format!("ip route del {route}"))?,
            Becomes::Static => host.sh(&format!("ip route replace {route} proto static"))?,
            Becomes::Around => {
                let (by, from) = (cluster.recipe.management_of(family, to), overlay.address_of(family, node, 0));
                let link = cluster.link(Role::Management)?;
                host.sh(&format!("ip route replace {subnet} via {by} dev {link} src {from}"))?
            }
        };
        Ok(Broken::until(move || host.sh(&format!("ip route replace {before}")).map(drop)))
    })
}

/// Gives the route to a peer's pods an MTU, as newer versions of Calico do.
pub(super) fn pod_route_mtu(cluster: &Cluster, node: usize, to: usize, bytes: u32) -> Result<Broken<'_>> {
    let (host, overlay) = (cluster.host(node), cluster.overlay()?);
    tunnel::each_inner(cluster, |tunnel, family| {
        let subnet = overlay.subnet(family, to);
        let made = host.sh(&format!("ip {} route show {subnet} dev {}", family.flag(), tunnel.link))?;
        let before = format!("{} dev {} onlink", made.trim().trim_end_matches("onlink").trim(), tunnel.link);
        host.sh(&format!("ip route replace {before} mtu {bytes}"))?;
        Ok(Broken::until(move || host.sh(&format!("ip route replace {before}")).map(drop)))
    })
}

/// Takes away what a tunnel's device sends. What is encapsulated without the device passes.
pub(super) fn mute(cluster: &Cluster, node: usize, of: Traffic) -> Result<Broken<'_>> {
    tunnel::each(cluster, |tunnel| {
        let hook = format!("egress device \"{}\"", tunnel.link);
        filter::filter(cluster.host(node), "netdev", &hook, &[format!("{} drop", of.matching())])
    })
}
