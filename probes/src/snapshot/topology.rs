//! Who stands on whom, and what each link is for.
//!
//! A link stands on the links that carry it: a tunnel on the link that its outer packets leave by, a bridge on its
//! uplinks, a bond on its members, a VLAN on its parent. From that follow the roles. Roles are read off what a link
//! *does* – carry a tunnel or the route to a peer – and off names only where the kernel keeps no other trace (whose
//! container hangs on a bridge), because the same name means different things on different machines.
//!
//! A link that went down takes its routes with it. So a link also counts as underlay if a tunnel is bound to it or if
//! one of its addresses shares a subnet with a peer: the incident to be found is that very link being down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::fact::Fact;
use crate::kernel::{Link, LinkIndex, Route, RouteKind};
use crate::peers::Peer;
use crate::report::Role;
use crate::tables::{Tables, covers};

mod below;
pub mod outer;
mod pods;
mod tunnels;

pub use pods::is_made_for_guest;
pub(crate) use pods::named_by_one_cni as is_named_by_one_cni;
pub use tunnels::TunnelView;

/// Who stands on whom.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    names: BTreeMap<String, LinkIndex>,
    below: BTreeMap<LinkIndex, BTreeSet<LinkIndex>>,
    roles: BTreeMap<LinkIndex, Role>,
    tunnels: Vec<TunnelView>,
    /// Links by which pods of peers are reached.
    to_pods: BTreeSet<LinkIndex>,
}

impl Topology {
    /// Reads the topology off the tables.
    pub fn new(
        tables: &Tables,
        peers: &[Peer],
        lookups: &BTreeMap<IpAddr, Fact<Route>>,
        outer: &outer::Answers,
    ) -> Self {
        let links = tables.links();
        let to_pods: BTreeSet<_> =
            hops(peers.iter().flat_map(|peer| peer.pods.iter().copied()), lookups).into_iter().collect();
        let tunnels = tunnels::all(tables, peers, outer, &to_pods);
        let first_hops = first_hops(peers, lookups);
        let mut underlay: BTreeSet<LinkIndex> = first_hops.iter().copied().collect();
        underlay.extend(tunnels.iter().flat_map(|tunnel| tunnel.lower.into_iter().chain(tunnel.egress.clone())));
        underlay.extend(sharing_a_subnet(tables, peers));
        let pods = pods::of(tables, &underlay);
        let below = links.iter().map(|link| (link.index, below::directly(link, tables, &tunnels, &pods))).collect();
        let mut topology = Self {
            names: links.iter().map(|link| (link.name.clone(), link.index)).collect(),
            below,
            roles: BTreeMap::new(),
            tunnels,
            to_pods,
        };
        topology.roles = topology.assign_roles(links, &underlay, &pods);
        topology
    }

    /// The kernel's number of the link of this name.
    pub fn index_of(&self, name: &str) -> Option<LinkIndex> {
        self.names.get(name).copied()
    }

    /// What a link is for.
    pub fn role(&self, link: LinkIndex) -> Role {
        self.roles.get(&link).copied().unwrap_or(Role::Other)
    }

    /// Tunnels in use.
    pub fn tunnels(&self) -> &[TunnelView] {
        &self.tunnels
    }

    /// The tunnel of this device, if it is one in use.
    pub fn tunnel(&self, link: LinkIndex) -> Option<&TunnelView> {
        self.tunnels.iter().find(|tunnel| tunnel.link == link)
    }

    /// Links directly below a link.
    pub fn directly_below(&self, link: LinkIndex) -> impl Iterator<Item = LinkIndex> + '_ {
        self.below.get(&link).into_iter().flatten().copied()
    }

    /// A link and everything that it stands on, nearest first.
    pub fn chain(&self, link: LinkIndex) -> Vec<LinkIndex> {
        let mut chain = vec![link];
        let mut at = 0;
        while at < chain.len() {
            let next: Vec<_> = self.directly_below(chain[at]).filter(|index| !chain.contains(index)).collect();
            chain.extend(next);
            at += 1;
        }
        chain
    }

    /// Whether the link named `above` stands on the one named `below`, and is another.
    pub fn stands_on(&self, above: &str, below: &str) -> bool {
        let (Some(above), Some(below)) = (self.index_of(above), self.index_of(below)) else { return false };
        above != below && self.chain(above).contains(&below)
    }

    /// Whether pods' packets to other nodes leave by this link.
    pub fn carries_pods(&self, link: &str) -> bool {
        let Some(index) = self.index_of(link) else { return false };
        let tunnels = self.tunnels.iter().filter(|tunnel| tunnel.carries_pods).map(|tunnel| tunnel.link);
        tunnels.chain(self.to_pods.iter().copied()).any(|link| self.chain(link).contains(&index))
    }

    fn assign_roles(
        &self,
        links: &[Link],
        underlay: &BTreeSet<LinkIndex>,
        pods: &BTreeSet<LinkIndex>,
    ) -> BTreeMap<LinkIndex, Role> {
        let carrying: BTreeSet<_> = underlay.iter().flat_map(|&link| self.chain(link)).collect();
        let pod_bridges: BTreeSet<_> =
            links.iter().filter(|link| pods.contains(&link.index)).filter_map(|link| link.master).collect();
        let role = |link: &Link| match link {
            _ if self.tunnel(link.index).is_some() => Role::Tunnel,
            _ if pods.contains(&link.index) => Role::Pod,
            _ if link.is_loopback() => Role::Other,
            _ if link.kind == "bridge" && carrying.contains(&link.index) => Role::Bridge,
            _ if link.kind != "vrf" && pod_bridges.contains(&link.index) => Role::Bridge,
            _ if carrying.contains(&link.index) => Role::Underlay,
            _ => Role::Other,
        };
        links.iter().map(|link| (link.index, role(link))).collect()
    }
}

/// The host ends of pods' links, as far as they are told before it is known by which links peers are reached.
pub fn pod_links(tables: &Tables) -> BTreeSet<LinkIndex> {
    pods::of(tables, &BTreeSet::new())
}

/// The link that has this address.
pub fn owner(tables: &Tables, address: IpAddr) -> Option<LinkIndex> {
    tables.addresses.known()?.iter().find(|own| own.address == address).map(|own| own.link)
}

/// Links that the kernel sends packets to peers by, tunnels left out: they stand on the ones that count.
fn first_hops(peers: &[Peer], lookups: &BTreeMap<IpAddr, Fact<Route>>) -> Vec<LinkIndex> {
    hops(peers.iter().flat_map(|peer| peer.underlay), lookups)
}

/// Links that the kernel sends packets to these addresses by.
fn hops(addresses: impl Iterator<Item = IpAddr>, lookups: &BTreeMap<IpAddr, Fact<Route>>) -> Vec<LinkIndex> {
    let routes = addresses.filter_map(|address| lookups.get(&address)?.known());
    routes.filter(|route| route.kind == RouteKind::Unicast).flat_map(|route| &route.hops).map(|hop| hop.link).collect()
}

/// Links with an address in a peer's subnet: of nested subnets the innermost counts, which is where packets would go.
fn sharing_a_subnet(tables: &Tables, peers: &[Peer]) -> BTreeSet<LinkIndex> {
    let addresses = || tables.addresses.known().into_iter().flatten().filter(|own| own.global && own.prefix > 0);
    let nearest = |peer: IpAddr| {
        let holding = || addresses().filter(move |own| covers(own.address, own.prefix, peer));
        let innermost = holding().map(|own| own.prefix).max();
        holding().filter(move |own| Some(own.prefix) == innermost).map(|own| own.link)
    };
    peers.iter().flat_map(|peer| peer.underlay).flat_map(nearest).collect()
}

#[cfg(test)]
mod machines;
#[cfg(test)]
mod setups;
#[cfg(test)]
mod tests;
