//! Who is who: the nodes that the asking agent knows, by name and by address.
//!
//! Every agent names its peers as it found them: by the operator's or the API's name, or by an address where only the
//! kernel told it. The asking agent's own knowledge decides who is meant: an address that it knows is that node's,
//! whatever anybody else says. What it does not know is taken from what the nodes say of themselves, as long as no two
//! say it: an address or a name that two claim is nobody's. So an agent that lies about itself can take nothing from
//! another that is known.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::peers::GATEWAY;
use crate::peers::announced::Agent;
use crate::report::{Report, Vantage};

/// A node's number. There are at most [`MOST`].
pub(super) type Id = u16;

/// Most nodes that are looked at.
pub(super) const MOST: usize = 20_000;

/// The nodes, by what the asking agent knows.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    names: Vec<String>,
    zones: Vec<Option<String>>,
    by_name: HashMap<String, Id>,
    /// `None`: two nodes have it, so it tells nothing.
    by_address: HashMap<IpAddr, Option<Id>>,
}

impl Directory {
    /// What the agent whose report this is knows of itself and of others.
    pub fn of(own: &Report, agents: &[Agent]) -> Self {
        let mut all = Self::default();
        let me = all.add(&own.node);
        own.addresses.iter().for_each(|address| all.learn(me, *address));
        for agent in agents {
            let id = all.add(&agent.peer);
            agent.addresses.iter().for_each(|address| all.learn(id, *address));
            if let Some(id) = id {
                all.zones[usize::from(id)].clone_from(&agent.zone);
            }
        }
        for path in own.paths.iter().filter(|path| path.peer != GATEWAY) {
            let id = all.add(&path.peer);
            all.learn(id, path.address);
        }
        all
    }

    fn add(&mut self, name: &str) -> Option<Id> {
        if let Some(id) = self.by_name.get(name) {
            return Some(*id);
        }
        let id = Id::try_from(self.names.len()).ok().filter(|id| usize::from(*id) < MOST)?;
        self.names.push(name.to_owned());
        self.zones.push(None);
        self.by_name.insert(name.to_owned(), id);
        Some(id)
    }

    fn learn(&mut self, id: Option<Id>, address: IpAddr) {
        let Some(id) = id else { return };
        self.by_address
            .entry(address)
            .and_modify(|known| *known = known.filter(|known| *known == id))
            .or_insert(Some(id));
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..self.names.len()).filter_map(|id| Id::try_from(id).ok())
    }

    pub(super) fn name(&self, id: Id) -> &str {
        &self.names[usize::from(id)]
    }

    pub(super) fn zone(&self, id: Id) -> Option<&str> {
        self.zones[usize::from(id)].as_deref()
    }

    pub(super) fn named(&self, name: &str) -> Option<Id> {
        self.by_name.get(name).copied()
    }

    /// The node with this address, if that is one.
    pub(super) fn at(&self, address: IpAddr) -> Option<Id> {
        self.by_address.get(&address).copied().flatten()
    }

    /// The node that somebody calls so and reaches at these addresses.
    pub(super) fn find(&self, name: &str, addresses: &[IpAddr]) -> Option<Id> {
        let by_literal = || name.parse().ok().and_then(|address| self.at(address));
        let by_address = || addresses.iter().find_map(|address| self.at(*address));
        self.named(name).or_else(by_literal).or_else(by_address)
    }

    /// Takes in what nodes say of themselves, where it was not known: the name that each goes by, and its addresses.
    pub(super) fn believe<'s>(&mut self, said: impl Iterator<Item = (Id, Vantage, &'s str, &'s [IpAddr])> + Clone) {
        let mut claimed: HashMap<IpAddr, Option<Id>> = HashMap::new();
        for (id, address) in said.clone().flat_map(|(id, _, _, all)| all.iter().map(move |address| (id, *address))) {
            claimed.entry(address).and_modify(|known| *known = known.filter(|known| *known == id)).or_insert(Some(id));
        }
        for (address, id) in claimed {
            self.by_address.entry(address).or_insert(id);
        }
        let mut names: HashMap<&str, Option<Id>> = HashMap::new();
        for (id, _, name, _) in said.filter(|(_, vantage, ..)| *vantage == Vantage::Node) {
            names.entry(name).and_modify(|known| *known = known.filter(|known| *known == id)).or_insert(Some(id));
        }
        for (name, id) in names.into_iter().filter_map(|(name, id)| Some((name, id?))) {
            if self.by_name.contains_key(name) {
                continue;
            }
            self.by_name.insert(name.to_owned(), id);
            // An address is how a node is called for want of a name.
            if self.name(id).parse::<IpAddr>().is_ok() {
                name.clone_into(&mut self.names[usize::from(id)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn directory(nodes: &[(&str, &[&str])]) -> Directory {
        let mut all = Directory::default();
        for (name, addresses) in nodes {
            let id = all.add(name);
            addresses.iter().for_each(|address| all.learn(id, ip(address)));
        }
        all
    }

    fn after(mut all: Directory, said: &[(Id, &str, &[&str])]) -> Directory {
        let said: Vec<(Id, &str, Vec<IpAddr>)> = said
            .iter()
            .map(|(id, name, addresses)| (*id, *name, addresses.iter().map(|one| ip(one)).collect()))
            .collect();
        all.believe(said.iter().map(|(id, name, all)| (*id, Vantage::Node, *name, all.as_slice())));
        all
    }

    #[test]
    fn a_peer_is_found_by_name_then_by_address() {
        let all = directory(&[("master-1", &["10.0.0.11"]), ("10.0.0.12", &["10.0.0.12", "10.244.2.0"])]);
        assert_eq!(all.find("master-1", &[]), Some(0));
        assert_eq!(all.find("10.0.0.11", &[]), Some(0));
        assert_eq!(all.find("called-otherwise", &[ip("10.244.2.0")]), Some(1));
        assert_eq!(all.find("stranger", &[ip("10.0.0.99")]), None);
    }

    #[test]
    fn an_address_of_two_is_nobodys() {
        let all = directory(&[("a", &["10.0.0.1", "172.17.0.1"]), ("b", &["10.0.0.2", "172.17.0.1"])]);
        assert_eq!(all.find("x", &[ip("172.17.0.1")]), None);
        let all = after(directory(&[("a", &[]), ("b", &[])]), &[(0, "a", &["192.0.2.1"]), (1, "b", &["192.0.2.1"])]);
        assert_eq!(all.at(ip("192.0.2.1")), None);
    }

    #[test]
    fn a_node_known_by_address_gets_the_name_that_it_says() {
        let all = after(directory(&[("10.0.0.12", &["10.0.0.12"])]), &[(0, "master-2", &["192.168.0.12"])]);
        assert_eq!(
            (all.name(0), all.find("10.0.0.12", &[]), all.find("master-2", &[])),
            ("master-2", Some(0), Some(0))
        );
        assert_eq!(all.at(ip("192.168.0.12")), Some(0));
    }

    #[test]
    fn a_liar_takes_neither_name_nor_address_of_one_that_is_known() {
        let known = directory(&[("a", &["10.0.0.1"]), ("10.0.0.2", &["10.0.0.2"]), ("10.0.0.3", &["10.0.0.3"])]);
        let all = after(known, &[(1, "a", &["10.0.0.1", "10.0.0.3"]), (2, "c", &[])]);
        assert_eq!((all.at(ip("10.0.0.1")), all.at(ip("10.0.0.3"))), (Some(0), Some(2)));
        assert_eq!((all.named("a"), all.name(1), all.name(2)), (Some(0), "10.0.0.2", "c"));
    }

    #[test]
    fn a_name_that_two_claim_is_nobodys() {
        let known = directory(&[("10.0.0.2", &["10.0.0.2"]), ("10.0.0.3", &["10.0.0.3"])]);
        let all = after(known, &[(0, "same", &[]), (1, "same", &[])]);
        assert_eq!((all.named("same"), all.name(0), all.name(1)), (None, "10.0.0.2", "10.0.0.3"));
    }

    #[test]
    fn what_an_operator_calls_a_node_stays_and_its_own_name_leads_there_too() {
        let all = after(directory(&[("db", &["10.0.0.2"])]), &[(0, "db.example.org", &[])]);
        assert_eq!((all.name(0), all.named("db.example.org")), ("db", Some(0)));
    }
}
