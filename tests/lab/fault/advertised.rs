//! A node that has its IPv6 default route and an address from router advertisements.
//!
//! The router is whatever stands at the near end of the node's wire; between nodes that share a switch it is the switch,
//! which every node hears and only this one listens to.

use std::net::{Ipv6Addr, SocketAddrV6};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Broken, Role};
use crate::cluster::Cluster;
use crate::family::Family;
use crate::namespace::Namespace;
use crate::wait::{self, Look};
use crate::{Error, Result};

/// The prefix that the router advertises.
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0);

/// Lifetimes in seconds, far longer than any play: of the router, and of addresses.
const ROUTER: u16 = 1800;
const ADDRESS: u32 = 3600;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Lets a node listen and a router speak. Healing gives the node its own default route back.
pub(super) fn listened_to(cluster: &Cluster, node: usize) -> Result<Broken<'_>> {
    let (host, link) = (cluster.host(node), cluster.link(Role::Lower)?);
    let accept = format!("net/ipv6/conf/{link}/accept_ra");
    let before = host.setting(&accept)?;
    let route = default_route(cluster, node);
    let heal = {
        let (accept, route) = (accept.clone(), route.clone());
        move || {
            host.set(&accept, &before)?;
            host.sh(&format!("ip -6 address flush dev {link} to {PREFIX}/64"))?;
            host.sh(&format!("ip -6 route flush dev {link} proto ra"))?;
            host.sh(&format!("ip -6 route flush {PREFIX}/64"))?;
            host.sh(&format!("ip -6 route replace {route}")).map(drop)
        }
    };
    let broken = Broken::until(heal);
    host.set(&accept, "2")?;
    host.sh(&format!("ip -6 route del {route}"))?;
    let (router, near) = match cluster.routers.is_empty() {
        true => (&cluster.switch, "cluster".to_owned()),
        false => cluster.port(node),
    };
    wait::until("a router's advertisement to be heard", || {
        advertise(router, &near)?;
        let routes = host.sh("ip -6 route show default")?;
        Ok(if routes.contains("proto ra") { Look::There(()) } else { Look::NotYet(routes) })
    })?;
    Ok(broken)
}

/// The recipe's own default route of IPv6, for `ip -6 route`.
fn default_route(cluster: &Cluster, node: usize) -> String {
    let recipe = cluster.recipe;
    let gateway = recipe.router_in(Family::V6, node).unwrap_or_else(|| recipe.management_gateway(Family::V6));
    format!("default via {gateway}")
}

/// Sends one advertisement to every node on a link.
fn advertise(router: &Namespace, link: &str) -> Result<()> {
    let sent = router.inside(|| {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        // Nobody believes one that a router may have passed on (RFC 4861, section 6.1.2).
        socket.set_multicast_hops_v6(255)?;
        let index = if_nametoindex(link)?;
        socket.set_multicast_if_v6(index)?;
        socket.send_to(&advertisement(), &SocketAddrV6::new(ALL_NODES, 0, 0, index).into())
    })?;
    sent.map(drop).map_err(|error| Error::new(format!("advertising a router on {link} of {}", router.name()), error))
}

/// A router advertisement with one prefix (RFC 4861, sections 4.2 and 4.6.2). The kernel fills in the checksum.
fn advertisement() -> Vec<u8> {
    let router = [&[134, 0, 0, 0, 64, 0][..], &ROUTER.to_be_bytes(), &[0; 8]].concat();
    let on_link_and_for_addresses = 0xc0;
    let lifetimes = [ADDRESS.to_be_bytes(), ADDRESS.to_be_bytes()].concat();
    let prefix = [&[3, 4, 64, on_link_and_for_addresses][..], &lifetimes, &[0; 4], &PREFIX.octets()].concat();
    [router, prefix].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_has_the_lengths_of_the_rfc() {
        let message = advertisement();
        assert_eq!((message.len(), message[0], message[17]), (16 + 32, 134, 4), "the option counts in eight bytes");
        assert_eq!(message[6..8], ROUTER.to_be_bytes());
        assert_eq!(message[32..48], PREFIX.octets());
    }
}
