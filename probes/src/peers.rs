//! Peers: who they are and by which addresses they are reached.
//!
//! Two sources are merged by node. `static` is what the operator named. `kernel` is what a CNI wrote into the tunnel's
//! tables: a route names the peer's tunnel address, the neighbour table its MAC, the forwarding table its node address.
//! One of the three may be missing – that is the very fault to be found – so a peer that was once complete is
//! remembered: a lost half is filled in from memory, and a peer is only forgotten when every trace of it is gone from
//! a tunnel that is there, up and readable. A tunnel that is down has flushed its tables and says nothing; neither does
//! one that is gone, until another leads to one of its peers: then it was renamed, or the CNI was replaced.

mod discovery;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::{Peers, StaticPeer};
use crate::kernel::RouteKind;
use crate::tables::Tables;
use crate::tables::covers;

use discovery::Found;

/// One peer node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name: the operator's, else its node address.
    pub name: String,
    /// Node address.
    pub underlay: Option<IpAddr>,
    /// Tunnel address.
    pub overlay: Option<IpAddr>,
    /// Addresses of pods on it.
    pub pods: Vec<IpAddr>,
    /// The tunnel device whose tables name it, or named it before the tunnel went down.
    pub tunnel: Option<String>,
    /// Whether it is the default gateway, taken for want of a peer.
    pub gateway: bool,
}

impl Peer {
    /// Every address of it.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.underlay.into_iter().chain(self.overlay).chain(self.pods.iter().copied())
    }
}

/// The name of the gateway that is taken for want of a peer.
pub const GATEWAY: &str = "default-gateway";

/// Peers of all sources, with what is remembered of them.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    remembered: BTreeMap<String, Vec<Found>>,
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
    /// The peers of a node of this name, by what the operator set and what the tables say.
    pub fn update(&mut self, node: &str, config: &Peers, tables: &Tables) -> Merged {
        let found = if config.kernel { self.discover(tables) } else { Vec::new() };
        let mut sources = BTreeMap::from([("static", config.fixed.len())]);
        if config.kernel {
            sources.insert("kernel", found.len());
        }
        let mut peers = merge(node, config, found, tables);
        if peers.is_empty() && config.gateway {
            peers.extend(default_gateway(tables));
            sources.insert("gateway", peers.len());
        }
        peers.sort_by(|one, other| one.name.cmp(&other.name));
        Merged { peers, sources }
    }

    fn discover(&mut self, tables: &Tables) -> Vec<Behind> {
        let present = discovery::all(tables);
        self.remembered.retain(|tunnel, old| !discovery::is_succeeded(tunnel, old, &present));
        for (tunnel, fresh) in present {
            let old = self.remembered.remove(&tunnel).unwrap_or_default();
            let speaks = discovery::speaks_for_itself(&tunnel, tables);
            self.remembered.insert(tunnel, discovery::recall(&old, fresh, speaks));
        }
        let mut all: Vec<Behind> = Vec::new();
        for (tunnel, found) in self.remembered.iter().flat_map(|(tunnel, all)| all.iter().map(move |one| (tunnel, one)))
        {
            if !all.iter().any(|seen| seen.found.is_same_node(found)) {
                all.push(Behind { tunnel: tunnel.clone(), found: *found });
            }
        }
        all
    }
}

/// A node, and the tunnel whose tables name it.
struct Behind {
    tunnel: String,
    found: Found,
}

fn merge(node: &str, config: &Peers, mut found: Vec<Behind>, tables: &Tables) -> Vec<Peer> {
    let mut peers = Vec::new();
    for named in &config.fixed {
        let same = found.iter().position(|behind| is_same(named, &behind.found, tables));
        let kernel = same.map(|index| found.swap_remove(index));
        let is_own = || named.underlay.into_iter().chain(named.overlay).any(|address| tables.is_own(address));
        if !config.this_machine && (named.name == node || is_own()) {
            continue;
        }
        peers.push(Peer {
            name: named.name.clone(),
            underlay: named.underlay.or(kernel.as_ref().and_then(|behind| behind.found.underlay)),
            overlay: named.overlay.or(kernel.as_ref().and_then(|behind| behind.found.overlay)),
            pods: named.pods.clone(),
            tunnel: kernel.map(|behind| behind.tunnel),
            gateway: false,
        });
    }
    peers.extend(found.into_iter().filter_map(|behind| discovered(behind, tables)));
    peers
}

fn discovered(behind: Behind, tables: &Tables) -> Option<Peer> {
    let Behind { tunnel, found: Found { underlay, overlay } } = behind;
    let name = underlay.or(overlay)?.to_string();
    let own = underlay.into_iter().chain(overlay).any(|address| tables.is_own(address));
    (!own).then_some(Peer { name, underlay, overlay, pods: Vec::new(), tunnel: Some(tunnel), gateway: false })
}

fn is_same(named: &StaticPeer, found: &Found, tables: &Tables) -> bool {
    let shares = |one: Option<IpAddr>, other: Option<IpAddr>| one.is_some() && one == other;
    let leads = |gateway| shares(gateway, found.overlay) || shares(gateway, found.underlay);
    let by_pod = || named.pods.iter().any(|&pod| leads(gateway_of(pod, tables)));
    shares(named.underlay, found.underlay) || shares(named.overlay, found.overlay) || by_pod()
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
    let underlay = Some(gateway);
    Some(Peer { name: GATEWAY.into(), underlay, overlay: None, pods: Vec::new(), tunnel: None, gateway: true })
}

/// `RT_TABLE_MAIN`.
const MAIN_TABLE: u32 = 254;

#[cfg(test)]
mod tests;
