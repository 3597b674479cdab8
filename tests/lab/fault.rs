//! Faults as values: made by the kernel's own means, reversed in the running network.
//!
//! A scenario's near miss is made of the same values as its fault, with one fact changed, so it runs through the same
//! code. [`Broken`] is the guard: it heals when told to and, if a test panics first, when it is dropped. Healing puts
//! back what an administrator or the CNI would put back: taking a link down loses its routes and permanent neighbours,
//! and bringing it up alone would leave the network broken.

mod bridge;
mod filter;
mod link;
mod pod;
mod route;
mod transfer;
mod tunnel;

use serde::Deserialize;

pub use route::Instead;

use crate::Result;
use crate::cluster::Cluster;
use crate::recipe::{Recipe, Role, Underlay};
use crate::size::Size;

/// One fault. Nodes are numbers; node 0 runs the agent and is the default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// A link is administratively down.
    LinkDown {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The link.
        link: Role,
    },
    /// The far end of a node's wire is down: its switch port, or its router's link. The node has no carrier.
    PortDown {
        /// The node.
        node: usize,
    },
    /// A link has another MTU.
    Mtu {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The link.
        link: Role,
        /// In bytes.
        bytes: Size,
    },
    /// The wire between the routers has another MTU. Routers say so (Frag Needed).
    HopMtu {
        /// In bytes.
        bytes: Size,
    },
    /// Routers drop the Frag Needed that they owe.
    DropFragNeeded {},
    /// Larger IP packets from and to a node vanish in its switch or router.
    DropLarger {
        /// The node.
        node: usize,
        /// The largest packet that passes, in bytes.
        than: Size,
    },
    /// Large TCP segments vanish in a node's tunnel. Small ones pass, and everything else of any size.
    StallTransfers {
        /// The node.
        node: usize,
        /// The largest packet with a segment that passes, in bytes.
        than: Size,
        /// In which direction: `there` is to the node, `back` from it.
        #[serde(default)]
        way: Way,
    },
    /// A node drops what comes in for a UDP port.
    DropUdp {
        /// The node.
        node: usize,
        /// The port.
        port: Size,
    },
    /// A node drops ICMP echo and timestamp requests; TCP and UDP are answered as before.
    DropEcho {
        /// The node.
        node: usize,
    },
    /// A node drops everything that comes in: it is there for its neighbours, and for nobody else.
    DropAll {
        /// The node.
        node: usize,
    },
    /// The tunnel sets DF on its outer packets.
    OuterDf {
        /// On this node.
        #[serde(default)]
        node: usize,
    },
    /// The tunnel has no forwarding entry for a peer.
    MissingFdb {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
    },
    /// The tunnel's forwarding entry for a peer is there, but not permanent.
    DynamicFdb {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
    },
    /// The tunnel's forwarding entry for a peer leads to its management address.
    FdbElsewhere {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
    },
    /// The tunnel was made on this link, sending from the address of that one: what autodetection comes to.
    TunnelOn {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The link that it is bound to; none if left out.
        over: Option<Role>,
        /// The link whose address it sends from, `lower` or `management`; the kernel's choice if left out.
        from: Option<Role>,
    },
    /// The tunnel has no neighbour entry for a peer.
    MissingNeighbour {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
    },
    /// The tunnel's neighbour entry for a peer is there, but not permanent.
    ReachableNeighbour {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
    },
    /// A port is taken out of its bridge.
    Unplug {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The port.
        link: Role,
    },
    /// A port has another MTU than its bridge, which keeps its own.
    PortMtu {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The port.
        link: Role,
        /// In bytes.
        bytes: Size,
    },
    /// A guest of the node hangs on its bridge.
    Guest {
        /// On this node.
        #[serde(default)]
        node: usize,
    },
    /// A bridge shows its packets to filters by itself.
    BridgeFilters {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The bridge.
        link: Role,
    },
    /// The default route gives way to something else.
    DefaultRoute {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// What stands in its place.
        becomes: Instead,
    },
    /// A kernel setting, by its path below `/proc/sys`; `{nic}`, `{lower}` and so on stand for links.
    Sysctl {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The setting.
        key: String,
        /// Its value.
        value: String,
    },
    /// The usual route to a peer's node has an MTU of its own.
    RouteMtu {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        to: usize,
        /// In bytes.
        bytes: Size,
    },
    /// What leaves for a peer goes over the management network, still from the cluster's address: answers come back
    /// on the cluster's network.
    AsymmetricRoute {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        to: usize,
    },
    /// A pod more, born with this MTU.
    AnotherPod {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// In bytes.
        bytes: Size,
    },
    /// Somebody sends one forged Frag Needed, which the kernel believes. Healing makes it forget.
    ForgedFragNeeded {
        /// To this node.
        #[serde(default)]
        node: usize,
        /// About packets to this peer.
        of: usize,
        /// About packets to its address on this plane.
        #[serde(default)]
        plane: Plane,
        /// The MTU that it names, in bytes.
        bytes: Size,
    },
    /// The kernel still remembers a path MTU that the path has long outgrown.
    StaleException {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
        /// What it remembers, in bytes.
        bytes: Size,
    },
}

/// Which of a peer's addresses is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// The node's.
    #[default]
    Underlay,
    /// The tunnel's.
    Overlay,
    /// The pod's.
    Pod,
}

/// A direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Both.
    #[default]
    Both,
    /// To the node that is named.
    There,
    /// The other.
    Back,
}

impl Fault {
    /// Whether a recipe has everything that this fault names.
    pub fn fits(&self, recipe: &Recipe) -> bool {
        let names = recipe.sizes();
        match self {
            Self::LinkDown { link, .. } | Self::BridgeFilters { link, .. } => recipe.link(*link).is_some(),
            Self::Unplug { link, .. } => recipe.bridge_of(*link).is_some(),
            Self::PortMtu { link, bytes, .. } => recipe.bridge_of(*link).is_some() && bytes.fits(&names),
            Self::Guest { .. } => recipe.bridge.is_some(),
            Self::Mtu { link, bytes, .. } => recipe.link(*link).is_some() && bytes.fits(&names),
            Self::HopMtu { bytes } | Self::StaleException { bytes, .. } => recipe.is_routed() && bytes.fits(&names),
            Self::RouteMtu { bytes, .. } => bytes.fits(&names),
            Self::DropFragNeeded {} => matches!(recipe.underlay, Underlay::Routed(_)),
            Self::DropLarger { than: size, .. } | Self::DropUdp { port: size, .. } => size.fits(&names),
            Self::StallTransfers { than, .. } => recipe.overlay.is_some() && than.fits(&names),
            Self::OuterDf { .. }
            | Self::MissingFdb { .. }
            | Self::FdbElsewhere { .. }
            | Self::TunnelOn { .. }
            | Self::DynamicFdb { .. }
            | Self::MissingNeighbour { .. }
            | Self::ReachableNeighbour { .. } => recipe.overlay.is_some(),
            Self::ForgedFragNeeded { plane, bytes, .. } => {
                (*plane == Plane::Underlay || recipe.overlay.is_some()) && bytes.fits(&names)
            }
            Self::AnotherPod { bytes, .. } => recipe.overlay.is_some() && bytes.fits(&names),
            Self::Sysctl { key, .. } => route::setting(recipe, key).is_ok(),
            Self::PortDown { .. }
            | Self::DropEcho { .. }
            | Self::DropAll { .. }
            | Self::AsymmetricRoute { .. }
            | Self::DefaultRoute { .. } => true,
        }
    }

    /// Makes the fault in a running cluster.
    ///
    /// # Errors
    /// If the kernel refuses, or the recipe lacks what the fault names.
    pub fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let names = cluster.recipe.sizes();
        let made = match self {
            Self::LinkDown { node, link } => link::down(cluster.host(*node), cluster.link(*link)?),
            Self::PortDown { node } => {
                let (namespace, port) = cluster.port(*node);
                link::down(namespace, &port)
            }
            Self::Mtu { node, link, bytes } => link::mtu(cluster.host(*node), cluster.link(*link)?, bytes.on(&names)?),
            Self::HopMtu { bytes } => link::hop_mtu(cluster, bytes.on(&names)?),
            Self::DropFragNeeded {} => filter::frag_needed(cluster),
            Self::DropLarger { node, than } => filter::larger(cluster, *node, than.on(&names)?),
            Self::DropUdp { node, port } => filter::udp(cluster, *node, port.on(&names)?),
            Self::StallTransfers { node, than, way } => transfer::stall(cluster, *node, than.on(&names)?, *way),
            Self::DropEcho { node } => filter::echo(cluster, *node),
            Self::DropAll { node } => filter::everything(cluster, *node),
            Self::OuterDf { node } => tunnel::outer_df(cluster, *node),
            Self::MissingFdb { node, of } => tunnel::no_forwarding(cluster, *node, *of),
            Self::FdbElsewhere { node, of } => tunnel::forwarding_elsewhere(cluster, *node, *of),
            Self::TunnelOn { node, over, from } => tunnel::made_again(cluster, *node, *over, *from),
            Self::DynamicFdb { node, of } => tunnel::dynamic_forwarding(cluster, *node, *of),
            Self::MissingNeighbour { node, of } => tunnel::no_neighbour(cluster, *node, *of),
            Self::ReachableNeighbour { node, of } => tunnel::reachable_neighbour(cluster, *node, *of),
            Self::Unplug { node, link } => bridge::unplug(cluster.host(*node), cluster.link(*link)?),
            Self::PortMtu { node, link, bytes } => {
                bridge::port_mtu(cluster.host(*node), cluster.link(*link)?, bytes.on(&names)?)
            }
            Self::Guest { node } => bridge::guest(cluster, *node),
            Self::BridgeFilters { node, link } => bridge::filters(cluster.host(*node), cluster.link(*link)?),
            Self::DefaultRoute { node, becomes } => route::default(cluster.host(*node), *becomes),
            Self::Sysctl { node, key, value } => route::set(cluster, *node, key, value),
            Self::RouteMtu { node, to, bytes } => route::mtu(cluster, *node, *to, bytes.on(&names)?),
            Self::AsymmetricRoute { node, to } => route::asymmetric(cluster, *node, *to),
            Self::ForgedFragNeeded { node, of, plane, bytes } => {
                route::forged(cluster, *node, *of, *plane, bytes.on(&names)?)
            }
            Self::AnotherPod { node, bytes } => pod::another(cluster, *node, bytes.on(&names)?),
            Self::StaleException { node, of, bytes } => route::stale(cluster, *node, *of, bytes.on(&names)?),
        };
        made.map_err(|error| error.while_doing(format!("making {self:?}")))
    }
}

/// Makes several faults, in order. They heal together, in reverse.
///
/// # Errors
/// As [`Fault::make`]; what was made until then heals.
pub fn make_all<'c>(faults: &[Fault], cluster: &'c Cluster) -> Result<Broken<'c>> {
    let mut all = Broken::default();
    for fault in faults {
        let mut made = fault.make(cluster)?;
        all.undo.append(&mut made.undo);
    }
    Ok(all)
}

type Undo<'c> = Box<dyn FnOnce() -> Result<()> + 'c>;

/// What is broken for as long as this value lives.
#[derive(Default)]
#[must_use = "a fault that is dropped at once heals at once"]
pub struct Broken<'c> {
    undo: Vec<Undo<'c>>,
}

impl<'c> Broken<'c> {
    fn until(undo: impl FnOnce() -> Result<()> + 'c) -> Self {
        Self { undo: vec![Box::new(undo)] }
    }

    fn and(mut self, mut other: Self) -> Self {
        self.undo.append(&mut other.undo);
        self
    }

    /// Reverses the fault in the running network.
    ///
    /// # Errors
    /// If the kernel refuses; the rest is reversed all the same.
    pub fn heal(mut self) -> Result<()> {
        self.reverse()
    }

    fn reverse(&mut self) -> Result<()> {
        let failures: Vec<_> = self.undo.drain(..).rev().filter_map(|undo| undo().err()).collect();
        failures.into_iter().next().map_or(Ok(()), |error| Err(error.while_doing("healing")))
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        // A test that gets here has failed already and says why; the namespaces go away in a moment.
        let _ = self.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{JUMBO, PLAIN, REFERENCE, ROUTED};

    #[derive(Deserialize)]
    struct Faults {
        fault: Vec<Fault>,
    }

    fn read(text: &str) -> Fault {
        toml::from_str::<Faults>(&format!("fault = [ {text} ]")).unwrap().fault.remove(0)
    }

    #[test]
    fn reads_as_an_operator_writes_it() {
        assert_eq!(read("{ link_down = { link = 'nic' } }"), Fault::LinkDown { node: 0, link: Role::Nic });
        assert_eq!(read("{ port_down = { node = 1 } }"), Fault::PortDown { node: 1 });
        assert_eq!(read("{ drop_frag_needed = {} }"), Fault::DropFragNeeded {});
    }

    #[test]
    fn is_played_only_where_its_things_are() {
        let fits = |text: &str| [REFERENCE, ROUTED, JUMBO, PLAIN].map(|recipe| read(text).fits(&recipe));
        assert_eq!(fits("{ unplug = { link = 'nic' } }"), [true, false, true, false]);
        assert_eq!(fits("{ unplug = { link = 'pod' } }"), [false, true, false, false]);
        assert_eq!(fits("{ link_down = { link = 'bridge' } }"), [true, false, true, false]);
        assert_eq!(fits("{ hop_mtu = { bytes = 'underlay - 1' } }"), [false, true, false, true]);
        assert_eq!(fits("{ mtu = { link = 'nic', bytes = 'tunnel' } }"), [true, true, true, false]);
        assert_eq!(fits("{ sysctl = { key = 'net/ipv4/conf/{tunnel}/x', value = '1' } }"), [true, true, true, false]);
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        let error = toml::from_str::<Faults>("fault = [{ link_dwon = {} }]").err().unwrap().to_string();
        assert!(error.contains("link_dwon") && error.contains("link_down"), "{error}");
    }
}
