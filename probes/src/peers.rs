//! Peers: who they are and by which addresses they are reached.
//!
//! Two sources are merged by node. `static` is what the operator named. `kernel` is what a CNI wrote: routes to pods that
//! name the nodes' own addresses, as BGP and host-gw have them (see `direct`), and the tunnel's tables: a route names the peer's tunnel address, the neighbour table its MAC, the forwarding table its node address.
//! One of the three may be missing – that is the very fault to be found – so a peer that was once complete is
//! remembered: a lost half is filled in from memory, and a peer is only forgotten when every trace of it is gone from
//! a tunnel that is there, up and readable. A tunnel that is down has flushed its tables and says nothing; neither does
//! one that is gone, until another leads to one of its peers: then it was renamed, or the CNI was replaced.
//!
//! A node is one peer, whichever families it speaks and however many tunnels lead to it. Findings that share an address
//! are one node. Where pods of IPv6 have a tunnel of their own over IPv6, as Calico and Flannel make it, the two findings
//! share none, and nothing in the kernel says that they are one: a peer that the operator names joins them, by addresses
//! of both, or by pods of both whose routes lead there. What pods joined stays joined when such a route is lost. Without a
//! name they are two peers, each under the address of its family.

pub mod announced;
mod direct;
mod discovery;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::{Peers, StaticPeer};
use crate::kernel::RouteKind;
use crate::path::Plane;
use crate::report::Vantage;
use crate::tables::Tables;
use crate::tables::covers;
use crate::units::{Dual, Family};

use announced::{Agent, Announced};
use discovery::Found;

pub(crate) use direct::routes as direct_routes;

/// One peer node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name: the operator's, else its node address.
    pub name: String,
    /// Node addresses.
    pub underlay: Dual,
    /// Tunnel addresses.
    pub overlay: Dual,
    /// Addresses of pods on it.
    pub pods: Vec<IpAddr>,
    /// The tunnels whose tables name it, or named it before they went down.
    pub tunnels: Vec<Behind>,
    /// Whether it is the default gateway, taken for want of a peer.
    pub gateway: bool,
    /// The zone that it is in, where one is known.
    pub zone: Option<String>,
}

/// A tunnel that leads to a peer, and the peer's addresses there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The tunnel device.
    pub tunnel: String,
    /// Where its outer packets go.
    pub underlay: Option<IpAddr>,
    /// The peer's tunnel addresses on it.
    pub overlay: Dual,
}

impl Peer {
    /// Its agents, as far as they can be asked.
    pub fn agents(&self) -> Vec<Agent> {
        let addresses: Vec<IpAddr> = self.underlay.into_iter().collect();
        let there = !self.gateway && !addresses.is_empty();
        let (peer, zone) = (self.name.clone(), self.zone.clone());
        there.then_some(Agent { peer, vantage: Vantage::Node, addresses, zone }).into_iter().collect()
    }

    /// Every address of it.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.underlay.into_iter().chain(self.overlay).chain(self.pods.iter().copied())
    }

    /// Whether this tunnel leads to it.
    pub fn is_behind(&self, tunnel: &str) -> bool {
        self.tunnels.iter().any(|behind| behind.tunnel == tunnel)
    }

    /// The tunnel that carries a family there. One that is alone carries both, as far as nothing else is known.
    pub fn behind(&self, family: Family) -> Option<&Behind> {
        let speaking = self.tunnels.iter().find(|behind| behind.overlay.of(family).is_some());
        speaking.or(match self.tunnels.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    }
}

impl Behind {
    /// Whether what goes through it crosses a path of this plane and family.
    pub fn is_crossed(&self, plane: Plane, family: Family) -> bool {
        match plane {
            Plane::Underlay => self.underlay.is_none_or(|end| Family::of(end) == family),
            Plane::Overlay | Plane::Pod => self.overlay.is_empty() || self.overlay.of(family).is_some(),
        }
    }
}

/// The name of the gateway that is taken for want of a peer.
pub const GATEWAY: &str = "default-gateway";

/// Peers of all sources, with what is remembered of them.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    remembered: BTreeMap<String, Vec<Found>>,
    /// Node addresses that routes to pods lead to without a tunnel, by the link that they leave by.
    direct: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What the API announces.
    announced: Announced,
    /// What was found of a named peer by nothing but the routes to its pods.
    by_pods: Vec<(StaticPeer, BTreeSet<IpAddr>)>,
}

/// Peers as merged, and how many each source yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Peers, by name.
    pub peers: Vec<Peer>,
    /// Peers by source.
    pub sources: BTreeMap<&'static str, usize>,
}

impl Directory {
    /// Takes in what the Kubernetes API announces.
    pub fn announce(&mut self, announced: Announced) {
        self.announced = announced;
    }

    /// The peers of a node of this name, by what the operator set and what the tables say.
    pub fn update(&mut self, node: &str, config: &Peers, tables: &Tables) -> Merged {
        let found = if config.kernel { self.discover(tables) } else { Vec::new() };
        let mut sources = BTreeMap::from([("static", config.fixed.len())]);
        if config.kernel {
            sources.insert("kernel", found.len());
        }
        let mut peers = self.merge(node, config, found, tables);
        if peers.is_empty() && config.gateway {
            peers.extend(default_gateway(tables));
            sources.insert("gateway", peers.len());
        }
        peers.sort_by(|one, other| one.name.cmp(&other.name));
        Merged { peers, sources }
    }

    fn discover(&mut self, tables: &Tables) -> Vec<Node> {
        let present = discovery::all(tables);
        self.remembered.retain(|tunnel, old| !discovery::is_succeeded(tunnel, old, &present));
        for (tunnel, fresh) in present {
            let old = self.remembered.remove(&tunnel).unwrap_or_default();
            let speaks = discovery::speaks_for_itself(&tunnel, tables);
            self.remembered.insert(tunnel, discovery::recall(&old, fresh, speaks));
        }
        let mut nodes: Vec<Node> = Vec::new();
        for (tunnel, found) in self.remembered.iter().flat_map(|(tunnel, all)| all.iter().map(move |one| (tunnel, one)))
        {
            let same = nodes.extract_if(.., |node| node.is_same_node(found));
            let mut behind: Vec<_> = same.flat_map(|node| node.behind).collect();
            behind.push((tunnel.clone(), *found));
            nodes.push(Node { behind, ..Node::default() });
        }
        for address in self.discover_direct(tables) {
            if !nodes.iter().any(|node| node.has(address)) {
                nodes.push(Node { direct: BTreeSet::from([address]), ..Node::default() });
            }
        }
        nodes
    }

    fn discover_direct(&mut self, tables: &Tables) -> BTreeSet<IpAddr> {
        let mut present = direct::all(tables);
        for (link, old) in std::mem::take(&mut self.direct) {
            if !discovery::speaks_for_itself(&link, tables) {
                present.entry(link).or_default().extend(old);
            }
        }
        self.direct = present;
        self.direct.values().flatten().copied().collect()
    }

    /// Named peers take in what is found of them: first by their addresses, so that nobody else takes that, then by the
    /// routes to their pods.
    fn merge(&mut self, node: &str, config: &Peers, mut found: Vec<Node>, tables: &Tables) -> Vec<Peer> {
        let by_address = |named: &StaticPeer| Node::joined(found.extract_if(.., |node| node.is_named(named)));
        let taken: Vec<Node> = config.fixed.iter().map(by_address).collect();
        let memory = std::mem::take(&mut self.by_pods);
        let mut peers = Vec::new();
        for (named, mut taken) in config.fixed.iter().zip(taken) {
            let led = named.pods.iter().filter_map(|&pod| gateway_of(pod, tables));
            let mut leads: BTreeSet<IpAddr> = taken.take_led(&mut found, led);
            let remembered = memory.iter().filter(|(known, _)| known == named).flat_map(|(_, leads)| leads).copied();
            leads.extend(taken.take_led(&mut found, remembered));
            self.by_pods.extend((!leads.is_empty()).then(|| (named.clone(), leads)));
            let is_own = || named.underlay.into_iter().chain(named.overlay).any(|address| tables.is_own(address));
            if config.this_machine || (named.name != node && !is_own()) {
                peers.push(taken.into_peer(named));
            }
        }
        peers.extend(found.into_iter().filter_map(|node| discovered(node, tables)));
        peers
    }
}

/// A node as found.
#[derive(Default)]
struct Node {
    /// On the tunnels that lead to it, each by name.
    behind: Vec<(String, Found)>,
    /// Its addresses by which routes lead to its pods.
    direct: BTreeSet<IpAddr>,
}

impl Node {
    fn joined(nodes: impl Iterator<Item = Self>) -> Self {
        let mut all = Self::default();
        nodes.for_each(|node| all.take(node));
        all
    }

    fn take(&mut self, other: Self) {
        self.behind.extend(other.behind);
        self.direct.extend(other.direct);
    }

    fn is_same_node(&self, found: &Found) -> bool {
        self.behind.iter().any(|(_, known)| known.is_same_node(found))
    }

    fn is_named(&self, named: &StaticPeer) -> bool {
        let same_end = |found: &Found| found.underlay.is_some_and(|address| named.underlay.holds(address));
        let is_behind = self.behind.iter().any(|(_, found)| same_end(found) || found.overlay.shares(named.overlay));
        is_behind || self.direct.iter().any(|&address| named.underlay.holds(address))
    }

    fn has(&self, address: IpAddr) -> bool {
        self.direct.contains(&address)
            || self.behind.iter().any(|(_, found)| found.addresses().any(|own| own == address))
    }

    fn underlay(&self) -> Dual {
        let behind = self.behind.iter().filter_map(|(_, found)| found.underlay);
        behind.chain(self.direct.iter().copied()).collect()
    }

    fn overlay(&self) -> Dual {
        self.behind.iter().flat_map(|(_, found)| found.overlay).collect()
    }

    /// Takes the nodes that have one of these addresses, as far as each may be this one: a route to a pod may lead to
    /// another node by now. Which of the addresses led to one is told.
    fn take_led(&mut self, found: &mut Vec<Self>, leads: impl Iterator<Item = IpAddr>) -> BTreeSet<IpAddr> {
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
    fn may_be(&self, other: &Self) -> bool {
        let differ = |one: Dual, other: Dual| {
            let of = |family| one.of(family).zip(other.of(family));
            [Family::Ipv4, Family::Ipv6].into_iter().filter_map(of).any(|(one, other)| one != other)
        };
        !differ(self.underlay(), other.underlay()) && !differ(self.overlay(), other.overlay())
    }

    fn into_peer(self, named: &StaticPeer) -> Peer {
        Peer {
            name: named.name.clone(),
            underlay: named.underlay.or(self.underlay()),
            overlay: named.overlay.or(self.overlay()),
            pods: named.pods.clone(),
            tunnels: self.into_tunnels(),
            gateway: false,
            zone: None,
        }
    }

    fn into_tunnels(self) -> Vec<Behind> {
        let behind = |(tunnel, Found { underlay, overlay })| Behind { tunnel, underlay, overlay };
        self.behind.into_iter().map(behind).collect()
    }
}

fn discovered(node: Node, tables: &Tables) -> Option<Peer> {
    let (underlay, overlay) = (node.underlay(), node.overlay());
    let name = underlay.first().or(overlay.first())?.to_string();
    let own = underlay.into_iter().chain(overlay).any(|address| tables.is_own(address));
    let tunnels = node.into_tunnels();
    (!own).then_some(Peer { name, underlay, overlay, pods: Vec::new(), tunnels, gateway: false, zone: None })
}

/// The gateway of the longest prefix that holds the address.
fn gateway_of(address: IpAddr, tables: &Tables) -> Option<IpAddr> {
    let routes = tables.routes.known()?.iter().filter(|route| route.kind == RouteKind::Unicast);
    let holding = routes.filter(|route| route.prefix > 0 && covers(route.destination, route.prefix, address));
    holding.max_by_key(|route| route.prefix)?.hops.first()?.gateway
}

fn default_gateway(tables: &Tables) -> Option<Peer> {
    let routes = tables.routes.known()?.iter();
    let defaults = routes.filter(|route| route.prefix == 0 && route.kind == RouteKind::Unicast);
    let best = defaults.filter(|route| route.table == MAIN_TABLE && route.destination.is_ipv4());
    let gateway = best.min_by_key(|route| route.priority)?.hops.iter().find_map(|hop| hop.gateway)?;
    Some(Peer {
        name: GATEWAY.into(),
        underlay: gateway.into(),
        overlay: Dual::NONE,
        pods: Vec::new(),
        tunnels: Vec::new(),
        gateway: true,
        zone: None,
    })
}

/// `RT_TABLE_MAIN`.
const MAIN_TABLE: u32 = 254;

#[cfg(test)]
mod tests;
