//! Builds a recipe in the running kernel.
//!
//! Every node, pod and router is a network namespace; all switches share one. Wires are veths, made from the switch's or
//! router's side with the far end already in its node. Each namespace is then programmed by one `ip -batch`, in the
//! order and form that Calico or Flannel leave behind: permanent neighbours and forwarding entries for the tunnel ends,
//! block routes `onlink` through them, pods on veths.

mod memory;
mod pods;
mod wires;

pub(crate) use pods::NewPod;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::echo::ping;
use crate::namespace::Namespace;
use crate::recipe::{Cni, Overlay, Recipe, Role};
use crate::wait::{self, Look};
use crate::{Error, Result};

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
    /// The routers, one in front of each node; empty where nodes share a subnet.
    pub routers: Vec<Namespace>,
}

/// One node and its pod.
#[derive(Debug)]
pub struct Node {
    /// The node.
    pub host: Namespace,
    /// Its pod, where there is a pod network.
    pub pod: Option<Namespace>,
}

/// What a tunnel is bound to, and what address it sends from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// The link; `None` for none.
    pub(crate) link: Option<&'static str>,
    /// The address; `None` for the kernel's choice.
    pub(crate) address: Option<Ipv4Addr>,
}

/// The forwarding entry that leads to a peer at an address, for `bridge -batch`.
pub(crate) fn forwarding_line(peer: usize, overlay: Overlay, address: Ipv4Addr, state: &str) -> String {
    format!("fdb replace {} dev {} dst {address} self {state}\n", overlay.tunnel_mac(peer), overlay.tunnel)
}

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
        let node = |name: &&str| -> Result<Node> {
            let pod = recipe.overlay.map(|_| Namespace::new(format!("pod on {name}"))).transpose()?;
            Ok(Node { host: Namespace::new(*name)?, pod })
        };
        let routers = if recipe.is_routed() { recipe.nodes } else { &[] };
        let router = |name: &&str| Namespace::new(format!("router of {name}"));
        Ok(Self {
            recipe,
            nodes: recipe.nodes.iter().map(node).collect::<Result<_>>()?,
            switch: Namespace::new("switch")?,
            routers: routers.iter().map(router).collect::<Result<_>>()?,
        })
    }

    /// The namespace of a node.
    pub fn host(&self, node: usize) -> &Namespace {
        &self.nodes[node].host
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
        let Some(overlay) = self.recipe.overlay else { return Ok(()) };
        pods::settings(host, overlay)?;
        self.add_tunnel(node, overlay, &self.base(node))?;
        let pod = self.nodes[node].pod.as_ref().expect("a recipe with a pod network gives every node a pod");
        host.feed("ip", &["-batch", "-"], &pods::ground(overlay, node))?;
        let (link, address) = (overlay.by.pod_link(), overlay.pod_address(node));
        NewPod { link, address, mtu: overlay.mtu }.add(host, pod, overlay, node)
    }

    /// Adds a node's tunnel with all that leads through it.
    pub(crate) fn add_tunnel(&self, node: usize, overlay: Overlay, base: &Base) -> Result<()> {
        let host = self.host(node);
        host.feed("ip", &["-batch", "-"], &self.tunnel_lines(node, overlay, base))?;
        host.feed("bridge", &["-batch", "-"], &self.forwarding_lines(node, overlay))
    }

    /// What a CNI that is told the right network puts a tunnel on.
    pub(crate) fn base(&self, node: usize) -> Base {
        let lower = self.recipe.bridge.unwrap_or(self.recipe.nic);
        Base { link: Some(lower), address: Some(self.recipe.underlay_address(node)) }
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
        let (lower, manage) = (bridge.unwrap_or(nic), management_bridge.unwrap_or(management));
        lines += &format!("address add {}/24 dev {lower}\n", self.recipe.underlay_address(node));
        lines += &format!("address add {}/24 dev {manage}\n", self.recipe.management_address(node));
        let gateway = self.recipe.router_address(node).map_or("192.168.0.1".to_owned(), |router| router.to_string());
        lines + &format!("route add default via {gateway}\n")
    }

    fn tunnel_lines(&self, node: usize, overlay: Overlay, base: &Base) -> String {
        let Overlay { tunnel, vni, port, mtu, .. } = overlay;
        let local = base.address.map(|address| format!(" local {address}")).unwrap_or_default();
        let dev = base.link.map(|link| format!(" dev {link}")).unwrap_or_default();
        let mac = overlay.tunnel_mac(node);
        let mut lines = format!(
            "link add {tunnel} address {mac} mtu {mtu} type vxlan id {vni} dstport {port}{local}{dev} nolearning\n\
             link set {tunnel} up\naddress add {}/32 dev {tunnel}\n",
            overlay.tunnel_address(node)
        );
        for peer in self.peers(node) {
            let (address, mac) = (overlay.tunnel_address(peer), overlay.tunnel_mac(peer));
            let protocol = if overlay.by == Cni::Calico { " proto 80" } else { "" };
            let _ = writeln!(lines, "neighbour replace {address} lladdr {mac} dev {tunnel} nud permanent");
            let subnet = overlay.subnet(peer);
            let _ = writeln!(lines, "route add {subnet} via {address} dev {tunnel} onlink{protocol}");
        }
        lines
    }

    fn forwarding_lines(&self, node: usize, overlay: Overlay) -> String {
        let line = |peer| forwarding_line(peer, overlay, self.recipe.underlay_address(peer), "permanent");
        self.peers(node).map(line).collect()
    }

    /// A broken lab must not look like a found fault: every plane is tried before anything is tested.
    fn reaches_itself(&self) -> Result<()> {
        for node in 0..self.nodes.len() {
            for peer in self.peers(node) {
                self.reaches(node, peer)?;
            }
        }
        Ok(())
    }

    fn reaches(&self, node: usize, peer: usize) -> Result<()> {
        let Node { host, pod } = &self.nodes[node];
        let mut pings = vec![(host, self.recipe.underlay_address(peer), self.recipe.underlay_mtu)];
        if let (Some(overlay), Some(pod)) = (self.recipe.overlay, pod) {
            pings.push((host, overlay.tunnel_address(peer), overlay.mtu));
            pings.push((pod, overlay.pod_address(peer), overlay.mtu));
        }
        for (from, to, size) in pings {
            wait::until(&format!("{size} B to pass from {} to {to}", from.name()), || {
                Ok(ping(from, to, size).map_or_else(|error| Look::NotYet(error.to_string()), Look::There))
            })?;
        }
        Ok(())
    }
}
