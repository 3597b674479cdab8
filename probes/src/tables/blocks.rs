//! Calico's blocks of pod addresses, as far as this node's routes show them.
//!
//! Calico deals the pool out in blocks (of 64 addresses unless told otherwise) and drops what is sent to unused addresses
//! of a node's own ones: each is a blackhole route, of Felix's protocol or of BIRD's. In its own block a node uses every
//! address, the first and the last too, and those in use have a host route: to a pod's link, to the node itself (its
//! tunnel), or to another node, which borrowed it. A block of one address has no such route.
//!
//! BIRD has blackholes for networks of services too, by the same protocol. One is taken for a block that has room, which
//! raises nothing; it would take a look into Calico's own tables to tell them apart.
//!
//! What is in use by routes is at least in use: an address that leaked, cools down or is reserved has none.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Tables;
use crate::declared::ranges;
use crate::fact::Unread;
use crate::kernel::{LinkIndex, Route, RouteKind};
use crate::units::Family;

/// Protocols of who makes the routes of blocks: Felix, BIRD.
const MAKERS: [u8; 2] = [80, 12];

/// Bits that a block leaves to its addresses: `blockSize` is 20 to 32, or 116 to 128, and the largest has no route.
const BITS: std::ops::RangeInclusive<u8> = 1..=12;

/// The blocks of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The family.
    pub family: Family,
    /// Their prefixes.
    pub prefixes: Vec<(IpAddr, u8)>,
    /// How many addresses they have.
    pub size: u64,
    /// How many of those are in use.
    pub used: u64,
    /// How many of those in use are on other nodes.
    pub lent: u64,
    /// Links of pods whose addresses are all of none of them.
    pub elsewhere: u64,
}

impl Tables {
    /// Calico's blocks on this node, by family; none where it has none.
    ///
    /// # Errors
    /// If links or routes could not be read.
    pub fn blocks(&self) -> Result<Vec<Blocks>, Unread> {
        let routes = self.routes.read()?.map_or(&[][..], Vec::as_slice);
        let links = self.links.read()?.map_or(&[][..], Vec::as_slice);
        let pods = links.iter().filter(|link| link.kind == "veth" && link.name.starts_with("cali"));
        let pods: BTreeSet<LinkIndex> = pods.map(|link| link.index).collect();
        let of = |family| of_family(family, routes, &pods);
        Ok([Family::Ipv4, Family::Ipv6].into_iter().filter_map(of).collect())
    }
}

fn of_family(family: Family, routes: &[Route], pods: &BTreeSet<LinkIndex>) -> Option<Blocks> {
    let length = length(family);
    let routes = || routes.iter().filter(|route| Family::of(route.destination) == family);
    let is_block = |route: &&Route| {
        route.kind == RouteKind::Blackhole
            && MAKERS.contains(&route.protocol)
            && BITS.contains(&length.saturating_sub(route.prefix))
    };
    let prefixes: BTreeSet<(IpAddr, u8)> =
        routes().filter(is_block).map(|route| (route.destination, route.prefix)).collect();
    if prefixes.is_empty() {
        return None;
    }
    let own = |address: IpAddr| prefixes.iter().any(|&(network, prefix)| ranges::within(address, network, prefix));
    let leads = |route: &&Route| matches!(route.kind, RouteKind::Unicast | RouteKind::Local);
    let hosts = || routes().filter(|route| route.prefix == length).filter(leads);
    let used: BTreeSet<IpAddr> = hosts().map(|route| route.destination).filter(|&address| own(address)).collect();
    let is_away = |route: &&Route| route.hops.iter().any(|hop| hop.gateway.is_some());
    let lent = hosts().filter(is_away).map(|route| route.destination).filter(|address| used.contains(address));
    let lent: BTreeSet<IpAddr> = lent.collect();
    // A pod may have further addresses that no block gave it (floating ones): one that is of a block is enough.
    let on_pods = || {
        let one = |route: &'_ Route| match route.hops.as_slice() {
            [hop] if hop.gateway.is_none() && pods.contains(&hop.link) => Some((hop.link, own(route.destination))),
            _ => None,
        };
        hosts().filter_map(one)
    };
    let at_home: BTreeSet<LinkIndex> = on_pods().filter(|&(_, own)| own).map(|(link, _)| link).collect();
    let away: BTreeSet<LinkIndex> = on_pods().map(|(link, _)| link).filter(|link| !at_home.contains(link)).collect();
    Some(Blocks {
        family,
        size: prefixes.iter().map(|&(_, prefix)| 1_u64 << (length - prefix)).sum(),
        used: count(used.len()),
        lent: count(lent.len()),
        elsewhere: count(away.len()),
        prefixes: prefixes.into_iter().collect(),
    })
}

/// The length of a host's prefix.
const fn length(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed, ip};

    /// The reference node with its block; its tunnel and two pods have addresses of it.
    fn node() -> Example {
        let node = Example::reference().block("10.244.1.0", 26);
        node.local("vxlan.calico", "10.244.1.0")
    }

    fn blocks(node: &Example) -> Vec<Blocks> {
        node.tables.blocks().unwrap()
    }

    #[test]
    fn a_block_is_a_blackhole_and_what_has_a_host_route_is_in_use() {
        let [four] = <[_; 1]>::try_from(blocks(&node())).unwrap();
        assert_eq!((four.size, four.used, four.lent, four.elsewhere), (64, 3, 0, 0));
        assert_eq!(four.prefixes, [(ip("10.244.1.0"), 26)]);
        assert_eq!(blocks(&Example::reference()), [], "no block, no word");
    }

    #[test]
    fn what_another_node_borrowed_is_in_use_and_what_this_one_borrowed_is_told() {
        let node = node()
            .route("10.244.1.9", 32, Some("10.244.2.0"), "vxlan.calico")
            .pod("cali000000000001", 1450, "10.244.9.7")
            .route("10.244.9.8", 32, None, "cali1a2b3c4d5e6")
            .route("10.99.0.1", 32, None, "vmbr1");
        let [four] = <[_; 1]>::try_from(blocks(&node)).unwrap();
        assert_eq!((four.used, four.lent, four.elsewhere), (4, 1, 1), "a second address of a pod is none of a block's");
    }

    #[test]
    fn blackholes_of_others_are_no_blocks() {
        for (prefix, protocol) in [(26, 3), (26, 4), (16, 80), (32, 80), (19, 12)] {
            let mut node = Example::reference().block("10.244.1.0", prefix);
            let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
            routes.last_mut().unwrap().protocol = protocol;
            assert_eq!(blocks(&node), [], "/{prefix} of protocol {protocol}");
        }
    }

    #[test]
    fn both_families_are_told_apart_and_several_blocks_are_one_sum() {
        let node = node().block("10.244.7.64", 26).block("fd00:244:1::40", 122);
        let node = node.pod("cali000000000002", 1450, "fd00:244:1::41");
        let told: Vec<_> = blocks(&node).iter().map(|blocks| (blocks.family, blocks.size, blocks.used)).collect();
        assert_eq!(told, [(Family::Ipv4, 128, 3), (Family::Ipv6, 64, 1)]);
    }

    #[test]
    fn routes_that_could_not_be_read_tell_nothing() {
        let mut node = node();
        node.tables.routes = Fact::Unread(failed(Source::Routes));
        assert_eq!(node.tables.blocks(), Err(failed(Source::Routes)));
    }
}
