//! How what the operator names, what is announced and what is found become peers: one node is one peer, and never two.
//!
//! *The operator's peers* come first: each takes what is found by its addresses, so that nobody else takes that, then what
//! the routes to its pods lead to.
//!
//! *Announced nodes* claim what is found, and the operator's peers, by what they have in common. Who claims best has it:
//!
//! 1. A node address that is one of the kernel's: a tunnel's far end, or what routes to pods lead to. Or the operator's
//!    name.
//! 2. A pod address of the twin: its route leads through the tunnel to the node's tunnel address, whose neighbour entry
//!    and forwarding entry lead to the tunnel's end. This joins a node whose address in the API is on another network.
//!    Of several claims none counts, except of the one that had it.
//! 3. Memory: what was joined stays joined when a route or an entry is lost, for that is the fault to be found.
//!
//! Where an announced node meets the operator's peer, the operator's name and addresses stand, and the rest is added.
//!
//! *The network*: if the API's node address is one of the kernel's, it is on the tunnels' network, and so are those of the
//! other family. If it is not, the tunnel's end is the underlay path, and the node address is beside it. Where only
//! the tunnel address is known, how it is with this node's own address and with the other nodes decides; a node address
//! that may be on another network is never taken for a tunnel's end. Where nothing is found of a node, its address is all
//! there is.
//!
//! *This node* is left out, by its name, else by its addresses, and its twin with it. Where its name is announced, no other
//! node is this one: an address of another that this node has is one that moved here, as kube-vip's does when a kubelet
//! took it for its node's own, and that node is looked for by the rest. Seen from a pod it is a peer
//! like others but for the twin, which is this very pod.
//!
//! *Who is forgotten*: a node that is not announced any more is found in the tables or not at all. As long as the tables
//! have it, it is a peer by its address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::{Peers, StaticPeer};
use crate::tables::Tables;
use crate::units::Dual;

use super::cards::Card;
use super::leads::Leads;
use super::node::Node;
use super::{Directory, Peer};

/// The addresses of what was found of each announced node, by the node's name.
pub(super) type Joined = BTreeMap<String, BTreeSet<IpAddr>>;

/// What a node is claimed by, the better the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Memory,
    Pod,
    Address,
}

impl Directory {
    /// The peers, and how many of them are announced.
    pub(super) fn merge(
        &mut self,
        node: &str,
        config: &Peers,
        mut found: Vec<Node>,
        tables: &Tables,
    ) -> (Vec<Peer>, usize) {
        let leads = Leads::of(tables);
        let taken = self.take_named(config, &mut found, &leads);
        let (cards, own) = self.in_force(node, config, tables);
        let announced = cards.len();
        let things = Things::new(&config.fixed, taken.into_iter().chain(found).collect());
        let holders = things.holders(&cards, &self.joined, &leads);
        let groups = things.grouped(cards, holders);
        self.remember(&groups);
        let network = Network::new(own.node, &groups, tables);
        self.own = own;
        let is_this = |named: &StaticPeer| {
            let mut addresses = named.underlay.into_iter().chain(named.overlay);
            !config.this_machine && (named.name == node || addresses.any(|address| tables.is_own(address)))
        };
        let others = groups.into_iter().filter(|group| !group.named.is_some_and(is_this));
        (others.filter_map(|group| group.into_peer(&network, tables)).collect(), announced)
    }

    /// Named peers take in what is found of them: first by their addresses, so that nobody else takes that, then by the
    /// routes to their pods.
    fn take_named(&mut self, config: &Peers, found: &mut Vec<Node>, leads: &Leads) -> Vec<Node> {
        let by_address = |named: &StaticPeer| Node::joined(found.extract_if(.., |node| node.is_named(named)));
        let mut taken: Vec<Node> = config.fixed.iter().map(by_address).collect();
        let memory = std::mem::take(&mut self.by_pods);
        for (named, taken) in config.fixed.iter().zip(&mut taken) {
            let led = named.pods.iter().filter_map(|&pod| leads.gateway(pod));
            let mut followed: BTreeSet<IpAddr> = taken.take_led(found, led);
            let remembered = memory.iter().filter(|(known, _)| known == named).flat_map(|(_, leads)| leads).copied();
            followed.extend(taken.take_led(found, remembered));
            self.by_pods.extend((!followed.is_empty()).then(|| (named.clone(), followed)));
        }
        taken
    }

    /// The cards of other nodes, and what is announced of this one.
    fn in_force(&self, node: &str, config: &Peers, tables: &Tables) -> (Vec<Card>, Card) {
        let (mut others, mut own) = (Vec::new(), Card::default());
        let is_named = self.cards.all().contains_key(node);
        for card in self.cards.all().values().filter(|_| config.kubernetes) {
            let has_own = card.addresses().any(|address| tables.is_own(address));
            if card.name != node && !has_own {
                others.push(card.clone());
            } else if card.name != node && is_named {
                let left = card.without(|address| tables.is_own(address));
                let is_known = self.joined.get(&card.name).is_some_and(|known| !known.is_empty());
                others.extend(Some(left).filter(|left| is_known || left.addresses().next().is_some()));
            } else if self.in_pod && !card.node.is_empty() {
                others.push(Card { twin: Dual::NONE, ..card.clone() });
            } else {
                (own.node, own.twin) = (own.node.or(card.node), own.twin.or(card.twin));
                own.zone = own.zone.or_else(|| card.zone.clone());
            }
        }
        (others, own)
    }

    fn remember(&mut self, groups: &[Group<'_>]) {
        let mut before = std::mem::take(&mut self.joined);
        for group in groups {
            let Some(card) = &group.card else { continue };
            let found: BTreeSet<IpAddr> = group.found.addresses().collect();
            let known = before.remove(&card.name).unwrap_or_default();
            self.joined.insert(card.name.clone(), if found.is_empty() { known } else { found });
        }
    }
}

/// What announced nodes may claim: the operator's peers, each with what was found of it, then the rest of what was found.
struct Things<'a> {
    named: &'a [StaticPeer],
    found: Vec<Node>,
    by_address: BTreeMap<IpAddr, usize>,
    by_name: BTreeMap<String, usize>,
}

impl<'a> Things<'a> {
    fn new(named: &'a [StaticPeer], found: Vec<Node>) -> Self {
        let (mut by_address, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for (at, node) in found.iter().enumerate() {
            let named = named.get(at);
            let told = named.into_iter().flat_map(|named| named.underlay.into_iter().chain(named.overlay));
            let pods = named.into_iter().flat_map(|named| named.pods.iter().copied());
            for address in told.chain(pods).chain(node.addresses()) {
                by_address.entry(address).or_insert(at);
            }
            if let Some(name) = named.map(|named| named.name.clone()).or_else(|| node.name()) {
                by_name.entry(name).or_insert(at);
            }
        }
        Self { named, found, by_address, by_name }
    }

    /// Who has which thing, and by what.
    fn holders(&self, cards: &[Card], joined: &Joined, leads: &Leads) -> BTreeMap<usize, (usize, By)> {
        let mut claims: BTreeMap<usize, BTreeMap<usize, By>> = BTreeMap::new();
        let mut claim = |card: usize, thing: Option<&usize>, by: By| {
            let Some(&thing) = thing else { return };
            let known = claims.entry(thing).or_default().entry(card).or_insert(by);
            *known = by.max(*known);
        };
        for (at, card) in cards.iter().enumerate() {
            claim(at, self.by_name.get(&card.name), By::Address);
            card.node.into_iter().for_each(|address| claim(at, self.by_address.get(&address), By::Address));
            let led = card.twin.into_iter().flat_map(|pod| [Some(pod), leads.gateway(pod)]).flatten();
            led.for_each(|address| claim(at, self.by_address.get(&address), By::Pod));
            let known = joined.get(&card.name).into_iter().flatten();
            known.for_each(|address| claim(at, self.by_address.get(address), By::Memory));
        }
        let had = |thing: usize, card: usize| {
            let known = joined.get(&cards[card].name).into_iter().flatten();
            known.into_iter().any(|address| self.by_address.get(address) == Some(&thing))
        };
        let held = claims.into_iter().filter_map(|(thing, claims)| {
            let by = *claims.values().max()?;
            let best: Vec<usize> = claims.into_iter().filter(|(_, one)| *one == by).map(|(card, _)| card).collect();
            let holder = match best.as_slice() {
                [only] => Some(*only),
                several => {
                    let first = several.first().filter(|_| by == By::Address);
                    several.iter().find(|&&card| by != By::Memory && had(thing, card)).or(first).copied()
                }
            };
            Some((thing, (holder?, by)))
        });
        held.collect()
    }

    /// Every thing with its holder, and every card with what it holds.
    fn grouped(mut self, cards: Vec<Card>, holders: BTreeMap<usize, (usize, By)>) -> Vec<Group<'a>> {
        let mut parts: Vec<Vec<(std::cmp::Reverse<By>, usize)>> = vec![Vec::new(); cards.len()];
        holders.into_iter().for_each(|(thing, (card, by))| parts[card].push((std::cmp::Reverse(by), thing)));
        let mut taken = BTreeSet::new();
        let mut groups = Vec::with_capacity(self.found.len() + cards.len());
        for (card, mut parts) in cards.into_iter().zip(parts) {
            parts.sort_unstable();
            let mut group = Group { card: Some(card), named: None, found: Node::default() };
            for (std::cmp::Reverse(by), thing) in parts {
                let named = self.named.get(thing);
                // The operator has named one node twice: the other name is left as it is.
                let again = named.is_some() && group.named.is_some();
                if again || (by == By::Memory && !group.found.may_be(&self.found[thing])) {
                    continue;
                }
                group.named = group.named.or(named);
                group.found.take(std::mem::take(&mut self.found[thing]));
                taken.insert(thing);
            }
            groups.push(group);
        }
        let left = self.found.into_iter().enumerate().filter(|(thing, _)| !taken.contains(thing));
        groups.extend(left.map(|(thing, found)| Group { card: None, named: self.named.get(thing), found }));
        groups
    }
}

/// All that is known of one node.
struct Group<'a> {
    card: Option<Card>,
    named: Option<&'a StaticPeer>,
    found: Node,
}

impl Group<'_> {
    /// Node addresses that the operator or the tables tell.
    fn ends(&self) -> Dual {
        self.named.map_or(Dual::NONE, |named| named.underlay).or(self.found.underlay())
    }

    fn overlay(&self) -> Dual {
        self.named.map_or(Dual::NONE, |named| named.overlay).or(self.found.overlay())
    }

    /// `None` if it is this machine itself.
    fn into_peer(self, network: &Network, tables: &Tables) -> Option<Peer> {
        let (ends, overlay) = (self.ends(), self.overlay());
        let name = match (self.named, &self.card) {
            (Some(named), _) => named.name.clone(),
            (None, Some(card)) => card.name.clone(),
            (None, None) => return self.found.into_nameless(tables),
        };
        let card = self.card.unwrap_or_default();
        let underlay = if network.is_on(card.node, ends, overlay) { ends.or(card.node) } else { ends };
        let mut pods = self.named.map_or_else(Vec::new, |named| named.pods.clone());
        pods.extend(card.twin.into_iter().filter(|pod| !pods.contains(pod)).collect::<Vec<_>>());
        let tunnels = self.found.into_tunnels();
        Some(Peer {
            name,
            underlay,
            node: card.node,
            twin: card.twin,
            overlay,
            pods,
            tunnels,
            gateway: false,
            zone: card.zone,
        })
    }
}

/// Whether the API's node addresses are on the tunnels' network, where a node's own addresses do not tell.
struct Network {
    shared: bool,
}

impl Network {
    fn new(own: Dual, groups: &[Group<'_>], tables: &Tables) -> Self {
        let told = |group: &Group<'_>| Some((group.card.as_ref()?.node, group.ends()));
        let local = tables.links().iter().filter_map(|link| link.tunnel.as_ref()?.local);
        let here: Dual = local.filter(|&local| tables.is_own(local)).collect();
        let mut all = std::iter::once((own, here)).chain(groups.iter().filter_map(told));
        Self { shared: all.any(|(node, ends)| node.shares(ends)) }
    }

    fn is_on(&self, node: Dual, ends: Dual, overlay: Dual) -> bool {
        let alone = ends.is_empty() && overlay.is_empty();
        alone || node.shares(ends) || (self.shared && !node.differs(ends))
    }
}
