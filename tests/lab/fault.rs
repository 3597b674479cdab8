//! Faults as values: made by the kernel's own means, reversed in the running network.
//!
//! A scenario's near miss is made of the same values as its fault, with one fact changed, so it runs through the same
//! code. [`Broken`] is the guard: it heals when told to and, if a test panics first, when it is dropped. Healing puts
//! back what an administrator or the CNI would put back: taking a link down loses its routes and permanent neighbours,
//! and bringing it up alone would leave the network broken.

mod advertised;
mod blocks;
mod bridge;
mod broken;
mod delivery;
mod files;
mod filter;
mod fits;
mod hop;
mod link;
mod offload;
mod pod;
mod route;
mod sends;
mod tunnel;
mod vip;
mod vtep;
mod words;

use serde::Deserialize;

pub use broken::Broken;
pub use delivery::Becomes;
pub use files::{EditedFile, HostFile, LinkedFile, NoFile, Odd, OddFile, TakenAddresses};
pub use route::Instead;
pub use sends::Sent;
pub use vtep::Left;
pub use words::{Manner, Plane, Traffic, Way};

use crate::Result;
use crate::cluster::Cluster;
use crate::recipe::Role;
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
    /// A link has another MTU; a pod's on both of its ends, as a CNI changes it.
    Mtu {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The link.
        link: Role,
        /// In bytes.
        bytes: Size,
    },
    /// The pod's end of its link has another MTU than the node's.
    PodEndMtu {
        /// On this node.
        #[serde(default)]
        node: usize,
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
    /// The wire after a router is narrower than the rest.
    NarrowHop {
        /// The router before it, counted from node 0 and from 1.
        after: usize,
        /// The largest packet that passes, in bytes.
        bytes: Size,
        /// In which direction.
        #[serde(default)]
        way: Way,
        /// What becomes of larger ones.
        #[serde(default)]
        manner: Manner,
    },
    /// The far end of the wire after a router has another MTU than the near one, which goes on sending: no router is asked.
    FarEndMtu {
        /// The router before it, counted from node 0 and from 1.
        after: usize,
        /// In bytes.
        bytes: Size,
    },
    /// Nothing passes the wire after a router, whose links are up.
    DropHop {
        /// The router before it, counted from node 0 and from 1.
        after: usize,
        /// In which direction.
        #[serde(default)]
        way: Way,
    },
    /// Routers do not say that hops were used up.
    DropTimeExceeded {
        /// This router, counted from node 0 and from 1; all of them if left out.
        router: Option<usize>,
    },
    /// Larger IP packets to a node, or from it, vanish in its switch or router; those of the other direction pass.
    DropLargerOneWay {
        /// The node.
        node: usize,
        /// The largest packet that passes, in bytes.
        than: Size,
        /// `there` is to the node, `back` from it.
        way: Way,
    },
    /// Packets get lost at random in a node's switch or router.
    Loss {
        /// The node.
        node: usize,
        /// Of a hundred, in each direction.
        percent: u8,
        /// In which direction: `there` is to the node, `back` from it.
        #[serde(default)]
        way: Way,
        /// Which packets.
        #[serde(default)]
        of: Traffic,
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
    /// A node's tunnel spoils the checksum of every TCP segment that it sends, as faulty checksum offload does.
    CorruptTcp {
        /// On this node.
        #[serde(default)]
        node: usize,
    },
    /// A link leaves the checksums of what it sends to the next device, or finishes them itself, as `ethtool -K` has it.
    ChecksumOffload {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The link.
        link: Role,
        /// Whether it leaves them.
        on: bool,
    },
    /// A node drops packets that its connection tracking finds invalid: an answer to something that it never asked.
    DropInvalid {
        /// On this node.
        #[serde(default)]
        node: usize,
    },
    /// A node drops ICMP timestamps; echo is answered as before.
    DropTimestamp {
        /// The node.
        node: usize,
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
    /// The tunnel's forwarding entry for a peer leads to another peer's node.
    FdbTo {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
        /// The other peer.
        to: usize,
    },
    /// The tunnel's neighbour entry for a peer names another hardware address.
    NeighbourMac {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        of: usize,
        /// The peer whose address it is; nobody's if left out.
        is: Option<usize>,
    },
    /// A node's tunnel has another hardware address, as if it were made again. The node's own entries are right.
    NewMac {
        /// The node.
        node: usize,
    },
    /// The tunnel keeps entries of a node that is gone.
    Leftover {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// Which.
        entries: Left,
    },
    /// Another route to a peer's pods leads through the tunnel to another peer.
    SecondRoute {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        to: usize,
        /// By this one.
        by: usize,
        /// Whether it is to the same prefix, or to half of it.
        same: bool,
    },
    /// The tunnel is down, and a program has a UDP port.
    HoldPort {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The port.
        port: Size,
    },
    /// A node answers port unreachable to what comes in for a UDP port.
    RejectUdp {
        /// The node.
        node: usize,
        /// The port.
        port: Size,
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
    /// A node's tunnel was made with another port or network identifier.
    TunnelMade {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The UDP port.
        port: Option<u16>,
        /// The network identifier.
        vni: Option<u32>,
    },
    /// These nodes have kube-vip's address, and no other.
    VipOn {
        /// The nodes.
        nodes: Vec<usize>,
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
    /// The route to a peer's pods, its tunnel address among them, is another one.
    PodRoute {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        to: usize,
        /// What becomes of it.
        becomes: Becomes,
    },
    /// The route to a peer's pods has an MTU of its own.
    PodRouteMtu {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The peer.
        to: usize,
        /// In bytes.
        bytes: Size,
    },
    /// A tunnel's own packets are taken away as it sends them.
    MuteTunnel {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// Which packets.
        #[serde(default)]
        of: Traffic,
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
    /// A kernel setting, by its path below `/proc/sys`; names in braces stand for links, as in [`HostFile`].
    Sysctl {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The setting.
        key: String,
        /// Its value.
        value: String,
    },
    /// A file of a node's host says something.
    HostFile(HostFile),
    /// A file of a node's host says something else in one place.
    EditedFile(EditedFile),
    /// A file or folder of a node's host is gone.
    NoFile(NoFile),
    /// A file of a node's host is a link.
    LinkedFile(LinkedFile),
    /// A file or folder of a node's host is not what it should be.
    OddFile(OddFile),
    /// All addresses that a node has for pods are taken but a few.
    TakenAddresses(TakenAddresses),
    /// A link's own router advertises itself, and the link listens: its default route of IPv6 is the advertised one, and
    /// it has an address made of the prefix. The recipe's default route is gone.
    RouterAdvertised {
        /// On this node.
        #[serde(default)]
        node: usize,
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
    /// All addresses of a node's block are in use but a few, as routes to its pod's link show.
    TakenBlock {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// How many are free.
        left: u8,
    },
    /// A pod more, with an address of another node's block.
    BorrowedAddress {
        /// On this node.
        #[serde(default)]
        node: usize,
        /// The other node.
        of: usize,
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
    /// Packets between a node and node 0, or from node 0's pod to it.
    Sends {
        /// Which.
        what: Sent,
        /// The node.
        node: usize,
        /// How many at once; without an end if left out.
        times: Option<u32>,
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

impl Fault {
    /// Whether nodes learn a path MTU from it.
    const fn is_learned(&self) -> bool {
        match self {
            // Healing unmutes a router a moment before its wire is wide again.
            Self::NarrowHop { manner, .. } => matches!(manner, Manner::Told | Manner::Muted),
            Self::Mtu { .. } | Self::PortMtu { .. } | Self::HopMtu { .. } | Self::RouteMtu { .. } => true,
            Self::FarEndMtu { .. } => true,
            _ => false,
        }
    }

    /// Makes the fault in a running cluster.
    ///
    /// # Errors
    /// If the kernel refuses, or the recipe lacks what the fault names.
    pub fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let names = cluster.recipe.sizes();
        let made = match self {
            Self::LinkDown { node, link } => link::down_on(cluster, *node, cluster.link(*link)?),
            Self::PortDown { node } => link::port_down(cluster, *node),
            Self::Mtu { node, link: Role::Pod, bytes } => pod::mtu(cluster, *node, bytes.on(&names)?),
            Self::PodEndMtu { node, bytes } => pod::end_mtu(cluster, *node, bytes.on(&names)?),
            Self::Mtu { node, link, bytes } => link::mtu(cluster.host(*node), cluster.link(*link)?, bytes.on(&names)?),
            Self::HopMtu { bytes } => link::hop_mtu(cluster, bytes.on(&names)?),
            Self::DropFragNeeded {} => filter::frag_needed(cluster),
            Self::NarrowHop { after, bytes, way, manner } => {
                hop::narrow(cluster, *after, bytes.on(&names)?, *way, *manner)
            }
            Self::FarEndMtu { after, bytes } => hop::far_end_mtu(cluster, *after, bytes.on(&names)?),
            Self::DropHop { after, way } => hop::nothing_passes(cluster, *after, *way),
            Self::DropTimeExceeded { router } => hop::no_time_exceeded(cluster, *router),
            Self::DropLarger { node, than } => filter::larger(cluster, *node, than.on(&names)?, Way::Both),
            Self::DropLargerOneWay { node, than, way } => filter::larger(cluster, *node, than.on(&names)?, *way),
            Self::Loss { node, percent, way, of } => filter::loss(cluster, *node, *percent, *way, *of),
            Self::StallTransfers { node, than, way } => {
                tunnel::no_large_segments(cluster, *node, than.on(&names)?, *way)
            }
            Self::CorruptTcp { node } => tunnel::corrupt(cluster, *node),
            Self::ChecksumOffload { node, link, on } => {
                offload::switched(cluster.host(*node), cluster.link(*link)?, *on)
            }
            Self::DropInvalid { node } => filter::invalid(cluster, *node),
            Self::DropTimestamp { node } => filter::timestamp(cluster, *node),
            Self::DropUdp { node, port } => filter::udp(cluster, *node, port.on(&names)?),
            Self::RejectUdp { node, port } => filter::reject_udp(cluster, *node, port.on(&names)?),
            Self::DropEcho { node } => filter::echo(cluster, *node),
            Self::DropAll { node } => filter::everything(cluster, *node),
            Self::OuterDf { node } => tunnel::outer_df(cluster, *node),
            Self::MissingFdb { node, of } => tunnel::no_forwarding(cluster, *node, *of),
            Self::FdbElsewhere { node, of } => tunnel::forwarding_elsewhere(cluster, *node, *of),
            Self::FdbTo { node, of, to } => vtep::forwarding_to(cluster, *node, *of, *to),
            Self::NewMac { node } => vtep::new_mac(cluster, *node),
            Self::NeighbourMac { node, of, is } => vtep::neighbour_mac(cluster, *node, *of, *is),
            Self::Leftover { node, entries } => vtep::leftover(cluster, *node, *entries),
            Self::SecondRoute { node, to, by, same } => vtep::second_route(cluster, *node, *to, *by, *same),
            Self::HoldPort { node, port } => vtep::held(cluster, *node, port.on(&names)?),
            Self::TunnelOn { node, over, from } => tunnel::made_again(cluster, *node, *over, *from),
            Self::TunnelMade { node, port, vni } => tunnel::made_otherwise(cluster, *node, *port, *vni),
            Self::VipOn { nodes } => vip::on(cluster, nodes),
            Self::DynamicFdb { node, of } => tunnel::dynamic_forwarding(cluster, *node, *of),
            Self::MissingNeighbour { node, of } => tunnel::no_neighbour(cluster, *node, *of),
            Self::ReachableNeighbour { node, of } => tunnel::reachable_neighbour(cluster, *node, *of),
            Self::PodRoute { node, to, becomes } => delivery::pod_route(cluster, *node, *to, *becomes),
            Self::PodRouteMtu { node, to, bytes } => delivery::pod_route_mtu(cluster, *node, *to, bytes.on(&names)?),
            Self::MuteTunnel { node, of } => delivery::mute(cluster, *node, *of),
            Self::Unplug { node, link } => bridge::unplug(cluster.host(*node), cluster.link(*link)?),
            Self::PortMtu { node, link, bytes } => {
                bridge::port_mtu(cluster.host(*node), cluster.link(*link)?, bytes.on(&names)?)
            }
            Self::Guest { node } => bridge::guest(cluster, *node),
            Self::BridgeFilters { node, link } => bridge::filters(cluster.host(*node), cluster.link(*link)?),
            Self::DefaultRoute { node, becomes } => route::default(cluster.host(*node), *becomes),
            Self::RouterAdvertised { node } => advertised::listened_to(cluster, *node),
            Self::Sysctl { node, key, value } => route::set(cluster, *node, key, value),
            Self::HostFile(file) => file.make(cluster),
            Self::EditedFile(file) => file.make(cluster),
            Self::NoFile(file) => file.make(cluster),
            Self::LinkedFile(file) => file.make(cluster),
            Self::OddFile(file) => file.make(cluster),
            Self::TakenAddresses(taken) => taken.make(cluster),
            Self::TakenBlock { node, left } => blocks::taken(cluster, *node, *left),
            Self::BorrowedAddress { node, of } => blocks::borrowed(cluster, *node, *of),
            Self::RouteMtu { node, to, bytes } => route::mtu(cluster, *node, *to, bytes.on(&names)?),
            Self::AsymmetricRoute { node, to } => route::asymmetric(cluster, *node, *to),
            Self::ForgedFragNeeded { node, of, plane, bytes } => {
                route::forged(cluster, *node, *of, *plane, bytes.on(&names)?)
            }
            Self::AnotherPod { node, bytes } => pod::another(cluster, *node, bytes.on(&names)?),
            Self::Sends { what, node, times } => sends::sends(cluster, *what, *node, *times),
            Self::StaleException { node, of, bytes } => route::stale(cluster, *node, *of, bytes.on(&names)?),
        };
        let made = made.map_err(|error| error.while_doing(format!("making {self:?}")))?;
        Ok(if self.is_learned() { link::forgotten(cluster).and(made) } else { made })
    }
}

/// Makes several faults, in order. They heal together, in reverse.
///
/// # Errors
/// As [`Fault::make`]; what was made until then heals.
pub fn make_all<'c>(faults: &[Fault], cluster: &'c Cluster) -> Result<Broken<'c>> {
    faults.iter().try_fold(Broken::default(), |all, fault| Ok(all.and(fault.make(cluster)?)))
}

#[cfg(test)]
mod tests;
