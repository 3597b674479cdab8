//! The tunnel's DF bit, and the entries that a CNI makes for each peer: missing, or of another kind.

use super::{Broken, Way, filter, offload};
use crate::cluster::{Base, Cluster, forwarding_line};
use crate::family::Family;
use crate::recipe::{Role, Tunnel};
use crate::{Error, Result};

pub(super) fn outer_df(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let host = cluster.host(node);
    let first = cluster.overlay()?.tunnels().into_iter().next();
    let tunnel = first.ok_or_else(|| Error::new("asking for a tunnel", "this recipe has none"))?;
    let set = move |value| {
        let vni = tunnel.vni.to_string();
        host.run("ip", ["link", "set", tunnel.link, "type", "vxlan", "id", &vni, "df", value]).map(drop)
    };
    set("set")?;
    Ok(Broken::until(move || set("unset")))
}

pub(super) fn no_forwarding(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    each(cluster, |tunnel| {
        let (mac, address) = (mac(cluster, &tunnel, of)?, cluster.recipe.underlay_of(tunnel.over, of).to_string());
        let entry = ["fdb", "del", &mac, "dev", tunnel.link, "dst", &address, "self"];
        cluster.host(node).run("bridge", entry)?;
        Ok(Broken::until(move || forward(cluster, &tunnel, node, of, "permanent")))
    })
}

pub(super) fn dynamic_forwarding(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    each(cluster, |tunnel| {
        forward(cluster, &tunnel, node, of, "dynamic")?;
        Ok(Broken::until(move || forward(cluster, &tunnel, node, of, "permanent")))
    })
}

/// The entry leads to the peer's address on the management network.
pub(super) fn forwarding_elsewhere(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    // An entry holds several destinations, so the right one has to go first.
    let right = no_forwarding(cluster, node, of)?;
    let wrong = each(cluster, |tunnel| {
        let (mac, address) = (mac(cluster, &tunnel, of)?, cluster.recipe.management_of(tunnel.over, of));
        cluster.host(node).feed("bridge", &["-batch", "-"], &forwarding_line(&mac, &tunnel, address, "permanent"))?;
        Ok(Broken::until(move || {
            cluster.host(node).run("bridge", ["fdb", "del", &mac, "dev", tunnel.link, "self"]).map(drop)
        }))
    })?;
    Ok(right.and(wrong))
}

/// Makes the tunnel again on another link, with another source address.
pub(super) fn made_again(cluster: &Cluster, node: usize, over: Option<Role>, from: Option<Role>) -> Result<Broken<'_>> {
    let link = over.map(|role| cluster.link(role)).transpose()?;
    each(cluster, |tunnel| {
        let address = |role| match role {
            Role::Management => Ok(cluster.recipe.management_of(tunnel.over, node)),
            Role::Lower => Ok(cluster.recipe.underlay_of(tunnel.over, node)),
            other => {
                Err(Error::new(format!("asking for an address of {other:?}"), "only lower and management have one"))
            }
        };
        let base = Base { link, address: from.map(address).transpose()? };
        let replace = move |base: &Base| {
            cluster.host(node).run("ip", ["link", "del", tunnel.link])?;
            cluster.add_tunnel(node, &tunnel, base)
        };
        replace(&base)?;
        Ok(Broken::until(move || replace(&cluster.base(node, &tunnel))))
    })
}

/// Makes the tunnel again with another port or identifier, as a CNI does that was told so.
pub(super) fn made_otherwise(
    cluster: &Cluster,
    node: usize,
    port: Option<u16>,
    vni: Option<u32>,
) -> Result<Broken<'_>> {
    each(cluster, |tunnel| {
        let other = Tunnel { port: port.unwrap_or(tunnel.port), vni: vni.unwrap_or(tunnel.vni), ..tunnel };
        let replace = move |made: &Tunnel| {
            cluster.host(node).run("ip", ["link", "del", made.link])?;
            cluster.add_tunnel(node, made, &cluster.base(node, made))
        };
        replace(&other)?;
        Ok(Broken::until(move || replace(&tunnel)))
    })
}

pub(super) fn no_neighbour(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    each_inner(cluster, |tunnel, family| {
        let address = cluster.overlay()?.address_of(family, of, 0).to_string();
        cluster.host(node).run("ip", ["neighbour", "del", &address, "dev", tunnel.link])?;
        Ok(Broken::until(move || neighbour(cluster, &tunnel, family, (node, of), "permanent")))
    })
}

pub(super) fn reachable_neighbour(cluster: &Cluster, node: usize, of: usize) -> Result<Broken<'_>> {
    each_inner(cluster, |tunnel, family| {
        neighbour(cluster, &tunnel, family, (node, of), "reachable")?;
        Ok(Broken::until(move || neighbour(cluster, &tunnel, family, (node, of), "permanent")))
    })
}

/// Large segments vanish in the tunnel, after it has unpacked them or before it packs them.
pub(super) fn no_large_segments(cluster: &Cluster, node: usize, than: u32, way: Way) -> Result<Broken<'_>> {
    let rule = filter::drop_larger("meta l4proto tcp", than);
    let hooks = [("ingress", true), ("egress", false)].into_iter().filter(|(_, there)| way.is(*there));
    each(cluster, |tunnel| {
        hooks.clone().try_fold(Broken::default(), |broken, (hook, _)| {
            let hook = format!("{hook} device \"{}\"", tunnel.link);
            Ok(broken.and(filter::filter(cluster.host(node), "netdev", &hook, std::slice::from_ref(&rule))?))
        })
    })
}

/// The kernel leaves checksums to its devices, and a veth passes them on undone: nobody looks. So the tunnel is made to
/// finish them first, from a start that is wrong.
pub(super) fn corrupt(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let host = cluster.host(node);
    each(cluster, |tunnel| {
        let offload = move |on| offload::transmit_checksums(host, tunnel.link, on);
        offload(false)?;
        let finished = Broken::until(move || offload(true));
        let hook = format!("egress device \"{}\"", tunnel.link);
        let rule = "meta l4proto tcp tcp checksum set 0xbad".to_owned();
        Ok(finished.and(filter::filter(host, "netdev", &hook, &[rule])?))
    })
}

/// Breaks every tunnel that the pod network has.
pub(super) fn each<'c>(cluster: &Cluster, mut make: impl FnMut(Tunnel) -> Result<Broken<'c>>) -> Result<Broken<'c>> {
    cluster.overlay()?.tunnels().into_iter().try_fold(Broken::default(), |broken, tunnel| Ok(broken.and(make(tunnel)?)))
}

/// Breaks every family in every tunnel.
pub(super) fn each_inner<'c>(
    cluster: &Cluster,
    make: impl Fn(Tunnel, Family) -> Result<Broken<'c>>,
) -> Result<Broken<'c>> {
    each(cluster, |tunnel| {
        let mut families = tunnel.carries.all().iter();
        families.try_fold(Broken::default(), |broken, &family| Ok(broken.and(make(tunnel, family)?)))
    })
}

pub(super) fn mac(cluster: &Cluster, tunnel: &Tunnel, of: usize) -> Result<String> {
    Ok(cluster.overlay()?.mac_of(tunnel, of))
}

pub(super) fn forward(cluster: &Cluster, tunnel: &Tunnel, node: usize, of: usize, state: &str) -> Result<()> {
    let line = cluster.forwarding_line(tunnel, of, state)?;
    cluster.host(node).feed("bridge", &["-batch", "-"], &line)
}

pub(super) fn neighbour(
    cluster: &Cluster,
    tunnel: &Tunnel,
    family: Family,
    (node, of): (usize, usize),
    state: &str,
) -> Result<()> {
    let (address, mac) = (cluster.overlay()?.address_of(family, of, 0).to_string(), mac(cluster, tunnel, of)?);
    let entry = ["neighbour", "replace", &address, "lladdr", &mac, "dev", tunnel.link, "nud", state];
    cluster.host(node).run("ip", entry).map(drop)
}
