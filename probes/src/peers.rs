//! Peers: who they are and by which addresses they are reached.
//!
//! Three sources are merged by node. `static` is what the operator named, `kubernetes` what the API announces (see `cards`, and `merge` for how they meet). `kernel` is what a CNI wrote: routes to pods that
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
mod cards;
mod direct;
mod discovery;
pub mod hearing;
mod leads;
mod merge;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use crate::config::{Peers, StaticPeer};
use crate::kernel::RouteKind;
use crate::path::Plane;
use crate::report::Vantage;
use crate::tables::Tables;
use crate::tables::keyed::Keyed;
use crate::units::{Dual, Family, Mono, Now};

use announced::{Agent, Announced};
use cards::{Card, Cards};
use discovery::Found;
use hearing::{Ear, Hearing};
use node::Node;

pub(crate) use direct::routes as direct_routes;

/// One peer node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its name: the operator's, else the announced one, else its node address.
    pub name: String,
    /// Node addresses: where tunnels end, and what routes to pods lead to.
    pub underlay: Dual,
    /// Addresses of the node's agent, as the API announces them. They may be on another network than the tunnels' ends.
    pub node: Dual,
    /// Addresses of the agent's twin in a pod, as the API announces them.
    pub twin: Dual,
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

/// What a peer is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Its name.
    Named(String),
    /// One of its node addresses.
    At(IpAddr),
}

impl Keyed for Peer {
    type Key = Who;

    fn keys(&self) -> impl Iterator<Item = Who> {
        std::iter::once(Who::Named(self.name.clone())).chain(self.underlay.into_iter().map(Who::At))
    }
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
    /// Its agents, as far as they can be asked: the node's where the API says that it is, and its twin.
    pub fn agents(&self) -> Vec<Agent> {
        let told = self.node.into_iter().chain(self.underlay.into_iter().filter(|&address| !self.node.holds(address)));
        let (peer, zone) = (&self.name, &self.zone);
        let agent = |vantage, addresses| Agent { peer: peer.clone(), vantage, addresses, zone: zone.clone() };
        let all =
            [agent(Vantage::Node, told.collect::<Vec<_>>()), agent(Vantage::Pod, self.twin.into_iter().collect())];
        all.into_iter().filter(|agent| !self.gateway && !agent.addresses.is_empty()).collect()
    }

    /// Node addresses that are on another network than the tunnels' ends: nothing that pods send goes there.
    pub fn beside(&self) -> Dual {
        self.node.filter(|address| !self.underlay.holds(address))
    }

    /// Leaves out addresses of a family that this pod has no address of: pods are given those of their network, whatever
    /// their nodes speak, and that they reach no others is how it is meant.
    fn leave_out_unspoken(&mut self, tables: &Tables) {
        let Some(own) = tables.addresses.known() else { return };
        let speaks = |family| own.iter().any(|own| own.global && Family::of(own.address) == family);
        for family in [Family::Ipv4, Family::Ipv6].into_iter().filter(|&family| !speaks(family)) {
            for kind in [&mut self.underlay, &mut self.overlay] {
                match family {
                    Family::Ipv4 => kind.v4 = None,
                    Family::Ipv6 => kind.v6 = None,
                }
            }
            self.pods.retain(|&pod| Family::of(pod) != family);
        }
    }

    /// Every address of it.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let nodes = self.underlay.into_iter().chain(self.overlay);
        nodes.chain(self.pods.iter().copied()).chain(self.beside())
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

/// The name of the source that the API is.
pub const KUBERNETES: &str = "kubernetes";

/// Peers of all sources, with what is remembered of them.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    remembered: BTreeMap<String, Vec<Found>>,
    /// Node addresses that routes to pods lead to without a tunnel, by the link that they leave by.
    direct: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What the API announces, and that part of it that is in force.
    announced: Announced,
    cards: Cards,
    /// What is in force of this node.
    own: Card,
    ear: Ear,
    /// The addresses of what was found of each announced node.
    joined: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Whether all is seen from a pod.
    in_pod: bool,
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
    /// All is seen from here. A pod sees no tunnel, and the node that it runs on is one of those to reach.
    pub fn look_from(&mut self, vantage: Vantage) {
        self.in_pod = vantage == Vantage::Pod;
    }

    /// Whether the API is to be heard from here on.
    pub fn listen(&mut self, wanted: bool, now: Now) {
        self.ear.listen(wanted, now);
        if !wanted {
            (self.announced, self.cards, self.own) = Default::default();
            self.joined.clear();
        }
    }

    /// Takes in what the Kubernetes API announces. It is in force when it is settled. Whether it is the
    /// first that is believed is told.
    pub fn announce(&mut self, announced: Announced, now: Now) -> bool {
        let believed = self.ear.take(&announced, now);
        let endpoints = if believed { announced.endpoints.clone() } else { self.announced.endpoints.clone() };
        let first = self.announced.endpoints.is_none() && endpoints.is_some();
        self.announced = Announced { endpoints, ..announced };
        first
    }

    /// What was announced is in force from here on.
    pub fn settle(&mut self) {
        if let Some(endpoints) = &self.announced.endpoints {
            self.cards.take(endpoints);
        }
    }

    /// The other agent of this node, a node's twin: it is no peer, and can be asked like theirs.
    pub fn twin(&self, node: &str) -> Option<Agent> {
        let addresses: Vec<IpAddr> = self.own.twin.into_iter().filter(|_| !self.in_pod).collect();
        let zone = self.own.zone.clone();
        (!addresses.is_empty()).then(|| Agent { peer: node.to_owned(), vantage: Vantage::Pod, addresses, zone })
    }

    /// When the API was heard last.
    pub fn heard(&self) -> Option<Timestamp> {
        self.ear.last()
    }

    /// How the API stands; `None` where it is not to be heard.
    pub fn hearing(&self, peers: usize, now: Mono) -> Option<Hearing> {
        self.ear.hearing(peers, now)
    }

    /// The peers of a node of this name, by what the operator set, what is announced and what the tables say.
    pub fn update(&mut self, node: &str, config: &Peers, tables: &Tables) -> Merged {
        let kernel = config.kernel && !self.in_pod;
        let found = if kernel { self.discover(tables) } else { Vec::new() };
        let mut sources = BTreeMap::from([("static", config.fixed.len())]);
        if config.kernel {
            sources.insert("kernel", found.len());
        }
        let (mut peers, announced) = self.merge(node, config, found, tables);
        if config.kubernetes {
            sources.insert(KUBERNETES, announced);
        }
        if peers.is_empty() && config.gateway {
            peers.extend(default_gateway(tables));
            sources.insert("gateway", peers.len());
        }
        if self.in_pod {
            peers.iter_mut().for_each(|peer| peer.leave_out_unspoken(tables));
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
        let direct = self.discover_direct(tables);
        let found = self.remembered.iter().flat_map(|(tunnel, all)| all.iter().map(move |one| (tunnel, one)));
        node::all(found, direct.into_iter())
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
}

fn default_gateway(tables: &Tables) -> Option<Peer> {
    let routes = tables.routes.known()?.iter();
    let defaults = routes.filter(|route| route.prefix == 0 && route.kind == RouteKind::Unicast);
    let best = defaults.filter(|route| route.table == MAIN_TABLE && route.destination.is_ipv4());
    let gateway = best.min_by_key(|route| route.priority)?.hops.iter().find_map(|hop| hop.gateway)?;
    Some(Peer { name: GATEWAY.into(), underlay: gateway.into(), gateway: true, ..Peer::default() })
}

/// `RT_TABLE_MAIN`.
const MAIN_TABLE: u32 = 254;

#[cfg(test)]
mod tests;
