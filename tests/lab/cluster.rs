//! Builds a recipe in the running kernel.
//!
//! Every node, pod and router is a network namespace; all switches share one. Wires are veths, made from the switch's or
//! router's side with the far end already in its node. Each namespace is then programmed by one `ip -batch`, in the
//! order and form that Calico or Flannel leave behind: permanent neighbours and forwarding entries for the tunnel ends,
//! block routes `onlink` through them, pods on veths.

mod delivery;
pub(crate) mod host_tree;
mod memory;
mod pods;
pub(crate) mod programmed;
mod wires;

pub(crate) use pods::NewPod;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Mutex;

use crate::echo::ping;
use crate::family::{Families, Family};
use crate::namespace::Namespace;
use crate::recipe::{Cni, Overlay, Recipe, Role, Tunnel};
use crate::wait::{self, Look};
use crate::{Error, Result};

pub use host_tree::{HostTree, Swaps};
pub use memory::Memory;

/// A cluster that runs. It goes away with this value.
#[derive(Debug)]
pub struct Cluster {
    /// What it was built from.
    pub recipe: Recipe,
    /// Nodes, in the recipe's order.
    pub nodes: Vec<Node>,
    /// The switches: bridge `cluster` (where nodes share a subnet) and bridge `manage`.
    pub switch: Namespace,
    /// The routers along the way from node 0 to node 1: the first is in front of the one, the last in front of the other.
    /// Empty where nodes share a subnet.
    pub routers: Vec<Namespace>,
}

/// One node and its pod.
#[derive(Debug)]
pub struct Node {
    /// The node.
    pub host: Namespace,
    /// Its pod, where there is a pod network.
    pub pod: Option<Namespace>,
    /// Its files.
    pub(crate) files: HostTree,
    /// Pods that came later, each with the node whose block its addresses are of.
    pub(crate) later: Mutex<Vec<(NewPod, usize, Namespace)>>,
}

/// What a tunnel is bound to, and what address it sends from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// The link; `None` for none.
    pub(crate) link: Option<&'static str>,
    /// The address; `None` for the kernel's choice.
    pub(crate) address: Option<IpAddr>,
}

/// The forwarding entry that leads to a peer at an address, for `bridge -batch`.
pub(crate) fn forwarding_line(mac: &str, tunnel: &Tunnel, address: IpAddr, state: &str) -> String {
    format!("fdb replace {mac} dev {} dst {address} self {state}\n", tunnel.link)
}

const POD: &str = "a recipe with a pod network gives every node a pod";

/// The router's link to the other router.
pub const BACKBONE: &str = "backbone";
/// The router's link to its node.
pub const TO_NODE: &str = "node";

impl Cluster {
    /// Builds the cluster and waits until every node reaches every other one on every plane.
    ///
    /// # Errors
    /// If a command fails, or the nodes do not reach one another: the lab itself is broken then.
    pub fn build(recipe: Recipe) -> Result<Self> {
        let cluster = Self::make(recipe).map_err(|error| error.while_doing(format!("building `{}`", recipe.name)))?;
        cluster.connect()?;
        (0..recipe.nodes.len()).try_for_each(|node| cluster.program(node))?;
        cluster.reaches_itself()?;
        Ok(cluster)
    }

    fn make(recipe: Recipe) -> Result<Self> {
        let node = |(number, name): (usize, &&str)| -> Result<Node> {
            let pod = recipe.overlay.map(|_| Namespace::new(format!("pod on {name}"))).transpose()?;
            let files = HostTree::new(&recipe.files(number))?;
            Ok(Node { host: Namespace::new(*name)?, pod, files, later: Mutex::default() })
        };
        let router = |number: usize| match recipe.nodes.get(number) {
            Some(name) if recipe.routers() == recipe.nodes.len() => Namespace::new(format!("router of {name}")),
            _ => Namespace::new(format!("router {}", number + 1)),
        };
        let cluster = Self {
            recipe,
            nodes: recipe.nodes.iter().enumerate().map(node).collect::<Result<_>>()?,
            switch: Namespace::new("switch")?,
            routers: (0..recipe.routers()).map(router).collect::<Result<_>>()?,
        };
        if recipe.spoken().has(Family::V6) {
            cluster.namespaces().try_for_each(Namespace::speak_six)?;
        }
        Ok(cluster)
    }

    /// Every namespace: nodes, pods, the switch, routers.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let hosts = self.nodes.iter().map(|node| &node.host);
        let pods = self.nodes.iter().filter_map(|node| node.pod.as_ref());
        hosts.chain(pods).chain([&self.switch]).chain(&self.routers)
    }

    /// The namespace of a node.
    pub fn host(&self, node: usize) -> &Namespace {
        &self.nodes[node].host
    }

    /// The files that are this node's alone: its agent's `host_root`.
    pub fn files(&self, node: usize) -> &HostTree {
        &self.nodes[node].files
    }

    /// The pod network.
    ///
    /// # Errors
    /// If the recipe has none.
    pub fn overlay(&self) -> Result<Overlay> {
        self.recipe.overlay.ok_or_else(|| Error::new("asking for the pod network", "this recipe has none"))
    }

    /// The name of a node's link.
    ///
    /// # Errors
    /// If the recipe has no such link.
    pub fn link(&self, role: Role) -> Result<&'static str> {
        self.recipe
            .link(role)
            .ok_or_else(|| Error::new(format!("asking for the link {role:?}"), "this recipe has none"))
    }

    /// The other nodes.
    pub fn peers(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.recipe.nodes.len()).filter(move |&peer| peer != node)
    }

    fn program(&self, node: usize) -> Result<()> {
        let host = self.host(node);
        host.feed("ip", &["-batch", "-"], &self.underlay_lines(node))?;
        if let Some(vip) = self.recipe.vip().filter(|_| self.recipe.vip_leader() == Some(node)) {
            host.sh(&format!("ip address add {vip}/32 dev {}", self.link(Role::Lower)?))?;
        }
        let Some(overlay) = self.recipe.overlay else { return Ok(()) };
        pods::settings(host, overlay)?;
        self.deliver(node, overlay)?;
        let pod = self.nodes[node].pod.as_ref().expect(POD);
        host.feed("ip", &["-batch", "-"], &pods::ground(overlay, node))?;
        pods::first(overlay).add(host, pod, overlay, node)
    }

    /// Adds a tunnel of a node with all that leads through it.
    pub(crate) fn add_tunnel(&self, node: usize, tunnel: &Tunnel, base: &Base) -> Result<()> {
        let host = self.host(node);
        host.feed("ip", &["-batch", "-"], &self.tunnel_lines(node, tunnel, base)?)?;
        host.feed("bridge", &["-batch", "-"], &self.forwarding_lines(node, tunnel)?)
    }

    /// What a CNI that is told the right network puts a tunnel on.
    pub(crate) fn base(&self, node: usize, tunnel: &Tunnel) -> Base {
        let lower = self.recipe.bridge.unwrap_or(self.recipe.nic);
        Base { link: Some(lower), address: self.recipe.underlay_in(tunnel.over, node) }
    }

    fn underlay_lines(&self, node: usize) -> String {
        let Recipe { nic, bridge, management, management_bridge, underlay_mtu, .. } = self.recipe;
        let mut lines = format!("link set {} up\n", self.recipe.spare);
        for (port, bridge, mtu) in [(nic, bridge, underlay_mtu), (management, management_bridge, 1500)] {
            if let Some(bridge) = bridge {
                lines += &format!("link add {bridge} mtu {mtu} type bridge\nlink set {port} master {bridge}\n");
                lines += &format!("link set {bridge} up\n");
            }
            lines += &format!("link set {port} up\n");
        }
        lines + &self.address_lines(node)
    }

    /// Addresses and default routes, a family after the other. IPv4 leaves by the management network if no other does.
    fn address_lines(&self, node: usize) -> String {
        let Recipe { nic, bridge, management, management_bridge, families, .. } = self.recipe;
        let (lower, manage) = (bridge.unwrap_or(nic), management_bridge.unwrap_or(management));
        let mut lines = String::new();
        for &family in families.with(Families::V4).all() {
            let (at_once, everything) = (family.at_once(), family.everything());
            let length = if family == Family::V4 { 24 } else { 64 };
            let mut add = |address: IpAddr, link| {
                let _ = writeln!(lines, "address add {address}/{length} dev {link}{at_once}");
            };
            let _ = self.recipe.underlay_in(family, node).map(|address| add(address, lower));
            add(self.recipe.management_of(family, node), manage);
            let router = self.recipe.router_in(family, node);
            let by_router = router.filter(|_| self.recipe.table.is_none());
            let gateway = by_router.unwrap_or_else(|| self.recipe.management_gateway(family));
            let _ = writeln!(lines, "route add {everything} via {gateway}");
            lines += &self.table_lines(family, node);
        }
        lines
    }

    fn tunnel_lines(&self, node: usize, tunnel: &Tunnel, base: &Base) -> Result<String> {
        let overlay = self.overlay()?;
        let Tunnel { link, vni, port, mtu, .. } = *tunnel;
        let local = base.address.map(|address| format!(" local {address}")).unwrap_or_default();
        let dev = base.link.map(|link| format!(" dev {link}")).unwrap_or_default();
        let mac = overlay.mac_of(tunnel, node);
        let mut lines = format!(
            "link add {link} address {mac} mtu {mtu} type vxlan id {vni} dstport {port}{local}{dev} nolearning\n\
             link set {link} up\n"
        );
        for &family in tunnel.carries.all() {
            lines += &Self::inner_lines(overlay, link, family, node);
            for peer in self.peers(node) {
                lines += &self.peer_lines(overlay, tunnel, family, peer);
            }
        }
        Ok(lines)
    }

    fn inner_lines(overlay: Overlay, link: &str, family: Family, node: usize) -> String {
        let (address, length) = (overlay.address_of(family, node, 0), family.host_prefix());
        format!("address add {address}/{length} dev {link}{}\n", family.at_once())
    }

    fn peer_lines(&self, overlay: Overlay, tunnel: &Tunnel, family: Family, peer: usize) -> String {
        let (address, mac, link) = (overlay.address_of(family, peer, 0), overlay.mac_of(tunnel, peer), tunnel.link);
        let neighbour = format!("neighbour replace {address} lladdr {mac} dev {link} nud permanent\n");
        if !overlay.is_tunnelled() {
            return neighbour + &self.direct_line(overlay, family, peer);
        }
        let protocol = if overlay.by == Cni::Calico { " proto 80" } else { "" };
        let subnet = overlay.subnet(family, peer);
        neighbour + &format!("route add {subnet} via {address} dev {link} onlink{protocol}\n")
    }

    fn forwarding_lines(&self, node: usize, tunnel: &Tunnel) -> Result<String> {
        self.peers(node).map(|peer| self.forwarding_line(tunnel, peer, "permanent")).collect()
    }

    /// The forwarding entry of a tunnel that leads to a peer.
    pub(crate) fn forwarding_line(&self, tunnel: &Tunnel, peer: usize, state: &str) -> Result<String> {
        let mac = self.overlay()?.mac_of(tunnel, peer);
        Ok(forwarding_line(&mac, tunnel, self.recipe.underlay_of(tunnel.over, peer), state))
    }

    /// Lets every node and pod forget what its kernel has learned of paths, which it would believe for ten minutes more.
    ///
    /// # Errors
    /// If one cannot be told.
    pub fn forget_path_mtus(&self) -> Result<()> {
        self.namespaces().try_for_each(programmed::forget_exceptions)
    }

    /// Waits until every plane of every family works, over every way. A broken lab must not look like a found fault, so this
    /// is tried before anything is tested.
    ///
    /// # Errors
    /// If something does not work in time: which, and between whom.
    pub fn reaches_itself(&self) -> Result<()> {
        for node in 0..self.nodes.len() {
            for peer in self.peers(node) {
                self.reaches(node, peer)?;
            }
        }
        if self.recipe.ways() > 1 { self.ways_are_open() } else { Ok(()) }
    }

    fn reaches(&self, node: usize, peer: usize) -> Result<()> {
        let Node { host, pod, .. } = &self.nodes[node];
        let mtu = self.recipe.underlay_mtu;
        let mut pings: Vec<_> =
            self.recipe.underlay_addresses(peer).into_iter().map(|address| (host, address, mtu)).collect();
        if let (Some(overlay), Some(pod)) = (self.recipe.overlay, pod) {
            for &family in overlay.families.all() {
                let tunnel = overlay.tunnel_in(family, peer);
                pings.extend(tunnel.map(|address| (host, address, overlay.between_tunnels(family, mtu))));
                pings.push((pod, overlay.address_of(family, peer, 2), overlay.carries()));
            }
        }
        pings.into_iter().try_for_each(|(from, to, size)| passes(from, to, size))
    }

    /// Echo takes one way of several, so each of their wires is tried by itself.
    fn ways_are_open(&self) -> Result<()> {
        for span in self.recipe.spans() {
            for &family in self.recipe.families.all() {
                let far = self.recipe.span_address(family, span.number, 1);
                passes(&self.routers[span.ends[0].router], far, self.recipe.underlay_mtu)?;
            }
        }
        Ok(())
    }
}

fn passes(from: &Namespace, to: IpAddr, size: u32) -> Result<()> {
    wait::until(&format!("{size} B to pass from {} to {to}", from.name()), || {
        Ok(ping(from, to, size).map_or_else(|error| Look::NotYet(error.to_string()), Look::There))
    })
}
