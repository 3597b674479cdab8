//! Entries of a tunnel that do not fit each other, or that nothing uses; and its port, taken by somebody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use super::tunnel::{each, each_inner, mac, neighbour, no_forwarding};
use super::{Broken, link};
use crate::cluster::{Cluster, forwarding_line};
use crate::family::Family;
use crate::recipe::Tunnel;
use crate::{Error, Result};

/// The hardware address of nobody here.
const NOBODYS: &str = "66:00:00:00:0e:ee";

/// What is left over of a node that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Its permanent forwarding entry.
    Forwarding,
    /// The same, but not permanent.
    DynamicForwarding,
    /// Its permanent neighbour entry.
    Neighbour,
    /// One that is stale.
    StaleNeighbour,
}

/// The forwarding entry of a peer leads to another peer.
pub(super) fn forwarding_to(cluster: &Cluster, node: usize, of: usize, to: usize) -> Result<Broken<'_>> {
    let right = no_forwarding(cluster, node, of)?;
    let wrong = each(cluster, |tunnel| {
        let (mac, address) = (mac(cluster, &tunnel, of)?, cluster.recipe.underlay_of(tunnel.over, to));
        forwarding(cluster, node, &tunnel, &mac, (address, "permanent"))
    })?;
    Ok(right.and(wrong))
}

/// The neighbour entry of a peer names the hardware address of another one, or of nobody.
pub(super) fn neighbour_mac(cluster: &Cluster, node: usize, of: usize, is: Option<usize>) -> Result<Broken<'_>> {
    each_inner(cluster, |tunnel, family| {
        let wrong = is.map_or(Ok(NOBODYS.to_owned()), |is| mac(cluster, &tunnel, is))?;
        let address = cluster.overlay()?.address_of(family, of, 0).to_string();
        let entry = ["neighbour", "replace", &address, "lladdr", &wrong, "dev", tunnel.link, "nud", "permanent"];
        cluster.host(node).run("ip", entry)?;
        Ok(Broken::until(move || neighbour(cluster, &tunnel, family, (node, of), "permanent")))
    })
}

/// A tunnel has another hardware address. With the old one the kernel forgets its neighbours, which the CNI there writes
/// again.
pub(super) fn new_mac(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let host = cluster.host(node);
    each(cluster, |tunnel| {
        let programmed = link::programmed_on(host, tunnel.link)?;
        let before = mac(cluster, &tunnel, node)?;
        let set = move |mac: &str| {
            host.run("ip", ["link", "set", tunnel.link, "address", mac])?;
            host.feed("ip", &["-batch", "-"], &programmed)
        };
        set(NOBODYS)?;
        Ok(Broken::until(move || set(&before)))
    })
}

/// An entry for a node that is not in the cluster. Its address is one of the peer's network all the same.
pub(super) fn leftover(cluster: &Cluster, node: usize, entries: Left) -> Result<Broken<'_>> {
    let stranger = 77;
    each(cluster, |tunnel| match entries {
        Left::Forwarding | Left::DynamicForwarding => {
            let state = if entries == Left::Forwarding { "permanent" } else { "dynamic" };
            let peer = cluster.peers(node).next().ok_or_else(|| Error::new("choosing a peer", "there is none"))?;
            let address = cluster.recipe.underlay_of(tunnel.over, peer);
            forwarding(cluster, node, &tunnel, NOBODYS, (address, state))
        }
        Left::Neighbour | Left::StaleNeighbour => {
            let state = if entries == Left::Neighbour { "permanent" } else { "stale" };
            let family = tunnel.carries.first();
            let address = cluster.overlay()?.address_of(family, stranger, 0).to_string();
            let host = cluster.host(node);
            let entry = ["neighbour", "replace", &address, "lladdr", NOBODYS, "dev", tunnel.link, "nud", state];
            host.run("ip", entry)?;
            Ok(Broken::until(move || host.run("ip", ["neighbour", "del", &address, "dev", tunnel.link]).map(drop)))
        }
    })
}

fn forwarding<'c>(
    cluster: &'c Cluster,
    node: usize,
    tunnel: &Tunnel,
    mac: &str,
    (to, state): (IpAddr, &str),
) -> Result<Broken<'c>> {
    let (host, link, mac) = (cluster.host(node), tunnel.link, mac.to_owned());
    host.feed("bridge", &["-batch", "-"], &forwarding_line(&mac, tunnel, to, state))?;
    Ok(Broken::until(move || host.run("bridge", ["fdb", "del", &mac, "dev", link, "self"]).map(drop)))
}

/// A route to a peer's pods by way of another peer, of a metric that is never taken; or to half of them, which none has.
pub(super) fn second_route(cluster: &Cluster, node: usize, to: usize, by: usize, same: bool) -> Result<Broken<'_>> {
    let (host, overlay) = (cluster.host(node), cluster.overlay()?);
    each_inner(cluster, |tunnel, family| {
        let (subnet, gateway) = (overlay.subnet(family, to), overlay.address_of(family, by, 0));
        let subnet = if same { subnet } else { upper_half(&subnet)? };
        let route = format!("{subnet} via {gateway} dev {} onlink metric 4000", tunnel.link);
        host.sh(&format!("ip {} route add {route}", family.flag()))?;
        Ok(Broken::until(move || host.sh(&format!("ip {} route del {route}", family.flag())).map(drop)))
    })
}

/// The upper half of a prefix: no tunnel address is in there, and no pod of the lab.
fn upper_half(subnet: &str) -> Result<String> {
    let broken = || Error::new(format!("halving {subnet}"), "it is no prefix");
    let (address, length) = subnet.split_once('/').ok_or_else(broken)?;
    let (address, length): (IpAddr, u32) =
        (address.parse().map_err(|_| broken())?, length.parse().map_err(|_| broken())?);
    let half: IpAddr = match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) | 1 << (31 - length)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) | 1 << (127 - length)).into(),
    };
    Ok(format!("{half}/{}", length + 1))
}

/// Tunnels are down, and a program has a port: if it is theirs, the kernel refuses to set them up.
pub(super) fn held(cluster: &Cluster, node: usize, port: u32) -> Result<Broken<'_>> {
    let host = cluster.host(node);
    let port = u16::try_from(port).map_err(|error| Error::new(format!("taking UDP port {port}"), error))?;
    let down = each(cluster, |tunnel| link::down(host, tunnel.link))?;
    let taken = each(cluster, |tunnel| {
        let socket = host.inside(|| bind(tunnel.over, port))?;
        let socket = socket.map_err(|error| Error::new(format!("taking UDP port {port}"), error))?;
        Ok(Broken::until(move || {
            drop(socket);
            Ok(())
        }))
    })?;
    if cluster.overlay()?.tunnels().iter().any(|tunnel| tunnel.port == port) {
        each(cluster, |tunnel| match host.run("ip", ["link", "set", tunnel.link, "up"]) {
            Err(_) => Ok(Broken::default()),
            Ok(_) => Err(Error::new("setting a tunnel up whose port is taken", "the kernel did it")),
        })?
        .heal()?;
    }
    Ok(down.and(taken))
}

fn bind(family: Family, port: u16) -> std::io::Result<Socket> {
    let (domain, any): (_, IpAddr) = match family {
        Family::V4 => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        Family::V6 => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(any, port).into())?;
    Ok(socket)
}
