//! One node as the kernel's tables tell it, on however many tunnels.
//!
//! What tables tell of one node shares an end or a tunnel address. Nodes are found by address, so that a cluster of ten
//! thousand costs no more for each than one of ten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::StaticPeer;
use crate::tables::Tables;
use crate::units::Dual;

use super::discovery::Found;
use super::{Behind, Peer};

/// A node as found.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// On the tunnels that lead to it, each by name.
    behind: Vec<(String, Found)>,
    /// Its addresses by which routes lead to its pods.
    direct: BTreeSet<IpAddr>,
}

/// The nodes of what was found on every tunnel, and of the addresses that routes to pods lead to without one.
pub(super) fn all<'a>(
    found: impl Iterator<Item = (&'a String, &'a Found)>,
    direct: impl Iterator<Item = IpAddr>,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut known = Places::default();
    for (tunnel, found) in found {
        let at = match known.of(found).as_slice() {
            [] => nodes.len(),
            &[first, ref others @ ..] => {
                for &other in others {
                    let same = std::mem::take(&mut nodes[other]);
                    same.behind.iter().for_each(|(_, found)| known.put(found, first));
                    nodes[first].take(same);
                }
                first
            }
        };
        known.put(found, at);
        if at == nodes.len() {
            nodes.push(Node::default());
        }
        nodes[at].behind.push((tunnel.clone(), *found));
    }
    let mut addresses: BTreeSet<IpAddr> = nodes.iter().flat_map(Node::addresses).collect();
    let direct = direct.filter(|&address| addresses.insert(address)).collect::<Vec<_>>();
    nodes.retain(|node| !node.behind.is_empty());
    nodes.extend(direct.into_iter().map(|address| Node { direct: [address].into(), ..Node::default() }));
    nodes
}

/// Where in a list a node stands, by its addresses. An end and a tunnel address that read alike are not the same.
#[derive(Default)]
struct Places {
    ends: BTreeMap<IpAddr, usize>,
    inner: BTreeMap<IpAddr, usize>,
}

impl Places {
    fn of(&self, found: &Found) -> Vec<usize> {
        let end = found.underlay.and_then(|end| self.ends.get(&end));
        let inner = found.overlay.into_iter().filter_map(|address| self.inner.get(&address));
        let places: BTreeSet<usize> = end.into_iter().chain(inner).copied().collect();
        places.into_iter().collect()
    }

    fn put(&mut self, found: &Found, at: usize) {
        self.ends.extend(found.underlay.map(|end| (end, at)));
        self.inner.extend(found.overlay.into_iter().map(|address| (address, at)));
    }
}

impl Node {
    pub(super) fn joined(nodes: impl Iterator<Item = Self>) -> Self {
        let mut all = Self::default();
        nodes.for_each(|node| all.take(node));
        all
    }

    pub(super) fn take(&mut self, other: Self) {
        self.behind.extend(other.behind);
        self.direct.extend(other.direct);
    }

    pub(super) fn is_named(&self, named: &StaticPeer) -> bool {
        let same_end = |found: &Found| found.underlay.is_some_and(|address| named.underlay.holds(address));
        let is_behind = self.behind.iter().any(|(_, found)| same_end(found) || found.overlay.shares(named.overlay));
        is_behind || self.direct.iter().any(|&address| named.underlay.holds(address))
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.behind.iter().flat_map(|(_, found)| found.addresses()).chain(self.direct.iter().copied())
    }

    pub(super) fn underlay(&self) -> Dual {
        let behind = self.behind.iter().filter_map(|(_, found)| found.underlay);
        behind.chain(self.direct.iter().copied()).collect()
    }

    pub(super) fn overlay(&self) -> Dual {
        self.behind.iter().flat_map(|(_, found)| found.overlay).collect()
    }

    /// What it is called as long as nobody names it.
    pub(super) fn name(&self) -> Option<String> {
        self.underlay().first().or(self.overlay().first()).map(|address| address.to_string())
    }

    /// Takes the nodes that have one of these addresses, as far as each may be this one: a route to a pod may lead to
    /// another node by now. Which of the addresses led to one is told.
    pub(super) fn take_led(&mut self, found: &mut Vec<Self>, leads: impl Iterator<Item = IpAddr>) -> BTreeSet<IpAddr> {
        let mut followed = BTreeSet::new();
        for lead in leads {
            let at = found.iter().position(|node| node.has(lead) && self.may_be(node));
            if let Some(at) = at {
                self.take(found.swap_remove(at));
            }
            if at.is_some() || self.has(lead) {
                followed.insert(lead);
            }
        }
        followed
    }

    /// Whether nothing shows that the two are different nodes: they have no two addresses of one family and plane.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        !self.underlay().differs(other.underlay()) && !self.overlay().differs(other.overlay())
    }

    pub(super) fn into_tunnels(self) -> Vec<Behind> {
        let behind = |(tunnel, Found { underlay, overlay })| Behind { tunnel, underlay, overlay };
        self.behind.into_iter().map(behind).collect()
    }

    /// The peer that it is where nobody names it; `None` if it is this machine itself.
    pub(super) fn into_nameless(self, tables: &Tables) -> Option<Peer> {
        let (underlay, overlay) = (self.underlay(), self.overlay());
        let name = self.name()?;
        let own = underlay.into_iter().chain(overlay).any(|address| tables.is_own(address));
        let tunnels = self.into_tunnels();
        (!own).then_some(Peer { name, underlay, overlay, tunnels, ..Peer::default() })
    }
}
