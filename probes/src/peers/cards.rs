//! What is announced, by node: one card for each, with the addresses of it that can be used.
//!
//! - Addresses that lead to no other machine (loopback, link-local, multicast) are left out, and a node of which nothing
//!   is left has no card.
//! - An address belongs to one node. While slices are written one after the other, an address that moved is named for the
//!   old node and for the new one: the one that did not name it before has it. Where nothing tells who is newer, one
//!   that is ready has it, then the first by name, and keeps it.
//! - A node whose address went to another one was replaced. What is still announced of it, its twin, goes when the other
//!   slice is written; it is no node by itself meanwhile. A node whose agent alone is gone, as while it is replaced, is one.
//! - A node has one address of each family as a node and one as a twin. While an agent is replaced there may be two twins:
//!   one that is ready is taken, else the lower address. Nothing else depends on readiness.
//! - An address that is announced both for an agent and for a twin is the node's: such a twin is on the host's network.
//! - A list that names nobody, not even this node, is the word of a Service that is gone or that selects nothing, not of
//!   a cluster without nodes. It is not believed: see [`super::hearing`].
//!
//! Names come from outside. Nothing but what can be printed is kept of one, and no more than a name in DNS has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::report::Vantage;
use crate::units::Dual;

use super::announced::Endpoint;

/// Most characters of a name: that of a node is a DNS name.
const LONGEST: usize = 253;

/// What is announced of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    /// The node's name.
    pub(super) name: String,
    /// Addresses of its agent.
    pub(super) node: Dual,
    /// Addresses of the agent's twin in a pod.
    pub(super) twin: Dual,
    /// The zone that it is in.
    pub(super) zone: Option<String>,
}

impl Card {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.node.into_iter().chain(self.twin)
    }

    /// All of it but for some addresses.
    pub(super) fn without(&self, is_unwanted: impl Fn(IpAddr) -> bool) -> Self {
        let left = |addresses: Dual| addresses.filter(|address| !is_unwanted(address));
        Self { node: left(self.node), twin: left(self.twin), ..self.clone() }
    }
}

/// Every card, and who had which address.
#[derive(Clone, Debug, Default)]
pub(super) struct Cards {
    all: BTreeMap<String, Card>,
    owners: BTreeMap<IpAddr, String>,
    /// Who named the addresses that more than one node names.
    contested: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Nodes whose address went to another one, for as long as they are named and have none.
    replaced: BTreeSet<String>,
}

/// One word for an address.
struct Claim<'a> {
    node: &'a str,
    ready: bool,
}

impl Cards {
    /// By node.
    pub(super) const fn all(&self) -> &BTreeMap<String, Card> {
        &self.all
    }

    /// Takes in a list.
    pub(super) fn take(&mut self, endpoints: &[Endpoint]) {
        let named: Vec<(String, &Endpoint)> = endpoints.iter().filter_map(|one| Some((called(one)?, one))).collect();
        let mut claims: BTreeMap<IpAddr, Vec<Claim<'_>>> = BTreeMap::new();
        for (node, endpoint) in &named {
            for address in usable(endpoint) {
                claims.entry(address).or_default().push(Claim { node, ready: endpoint.ready });
            }
        }
        let owners = claims.iter().filter_map(|(&address, claims)| Some((address, self.owner(address, claims)?)));
        let owners: BTreeMap<IpAddr, String> = owners.collect();
        let several = |claims: &[Claim<'_>]| claims.iter().map(|claim| claim.node.to_owned()).collect::<BTreeSet<_>>();
        let contested = claims.iter().map(|(&address, claims)| (address, several(claims)));
        self.contested = contested.filter(|(_, names)| names.len() > 1).collect();
        let went = self.owners.iter().filter(|(address, name)| owners.get(address).is_some_and(|owner| owner != *name));
        self.replaced.extend(went.map(|(_, name)| name.clone()));
        self.owners = owners;
        let mut all = self.written(&named);
        self.replaced.retain(|name| all.get(name).is_some_and(|card| card.node.is_empty()));
        all.retain(|name, _| !self.replaced.contains(name));
        self.all = all;
    }

    fn owner(&self, address: IpAddr, claims: &[Claim<'_>]) -> Option<String> {
        let owner = self.owners.get(&address);
        let before = |name: &str| match self.contested.get(&address) {
            Some(names) => names.contains(name),
            None => owner.is_some_and(|owner| owner == name),
        };
        let best = |claims: &mut dyn Iterator<Item = &Claim<'_>>| {
            claims.min_by_key(|claim| (!claim.ready, claim.node)).map(|claim| claim.node.to_owned())
        };
        let newest = best(&mut claims.iter().filter(|claim| !before(claim.node)));
        let kept = || owner.filter(|owner| claims.iter().any(|claim| claim.node == owner.as_str())).cloned();
        newest.or_else(kept).or_else(|| best(&mut claims.iter()))
    }

    fn written(&self, named: &[(String, &Endpoint)]) -> BTreeMap<String, Card> {
        let mut all: BTreeMap<String, Card> = BTreeMap::new();
        let mut sorted: Vec<_> = named.iter().collect();
        // Node addresses first, so that a twin on the host's network adds nothing.
        sorted.sort_by_key(|(node, endpoint)| (endpoint.vantage, node, !endpoint.ready));
        for (node, endpoint) in sorted {
            let mut own: Vec<IpAddr> = usable(endpoint).collect();
            own.sort_unstable();
            let own = own.into_iter().filter(|address| self.owners.get(address) == Some(node));
            let card = all.entry(node.clone()).or_insert_with(|| Card { name: node.clone(), ..Card::default() });
            match endpoint.vantage {
                Vantage::Node => card.node = card.node.or(own.collect()),
                Vantage::Pod => card.twin = card.twin.or(own.filter(|&it| !card.node.holds(it)).collect()),
            }
            card.zone = card.zone.take().or_else(|| endpoint.zone.as_deref().and_then(printable));
        }
        all.retain(|_, card| card.addresses().next().is_some());
        all
    }
}

/// The node's name, or where none is told its address.
fn called(endpoint: &Endpoint) -> Option<String> {
    printable(&endpoint.node).or_else(|| Some(usable(endpoint).next()?.to_string()))
}

fn printable(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn usable(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    endpoint.addresses.iter().map(IpAddr::to_canonical).filter(leads_elsewhere)
}

fn leads_elsewhere(address: &IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(address) => address.is_link_local() || *address == Ipv4Addr::BROADCAST || address.octets()[0] == 0,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !local && !address.is_loopback() && !address.is_multicast() && !address.is_unspecified()
}

#[cfg(test)]
mod tests;
