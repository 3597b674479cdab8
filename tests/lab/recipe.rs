//! What the lab's clusters look like: values that say names, addresses, ports and sizes, and do nothing.
//!
//! The recipes differ in everything that a check could have learned by heart: link names, tunnel device and port,
//! subnets, MTUs, whether a bridge lies under the tunnel, whether peers share a subnet. A scenario speaks of roles
//! (`nic`, `bridge`, `tunnel`, `pod`) and is played wherever those roles exist.

mod address;
pub(crate) mod files;
mod routers;
mod setups;

use serde::Deserialize;

use crate::family::{Families, Family};
use crate::size::Names;

pub use files::HostFile;
pub use routers::{End, Span};
pub use setups::{BGP, CILIUM, CLOUD, CROSS_SUBNET, Delivery, HOST_GW, SETUPS, TWO_NICS, Vxlan};

/// What VXLAN adds to an inner packet besides the outer IP header: inner Ethernet, VXLAN and UDP. Stated here again on
/// purpose: the lab must not learn it from the code it tests.
const VXLAN_HEADERS: u32 = 30;

/// One cluster, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its name in test names.
    pub name: &'static str,
    /// The nodes' names. Node 0 runs the agent.
    pub nodes: &'static [&'static str],
    /// How the nodes reach one another.
    pub underlay: Underlay,
    /// What they speak there.
    pub families: Families,
    /// MTU of that network.
    pub underlay_mtu: u32,
    /// The routing table of its own that this network has, with a rule that leads there; the main one if none.
    pub table: Option<u32>,
    /// The NIC on it.
    pub nic: &'static str,
    /// The bridge that holds that NIC and its address, if there is one.
    pub bridge: Option<&'static str>,
    /// The NIC on the management network, which every pair of nodes shares and no tunnel uses.
    pub management: &'static str,
    /// The bridge that holds the management NIC, if there is one.
    pub management_bridge: Option<&'static str>,
    /// A NIC that is up and that nobody uses.
    pub spare: &'static str,
    /// The pod network, if there is one.
    pub overlay: Option<Overlay>,
}

/// How nodes reach one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// One switch, one subnet: the first three bytes of a /24.
    Switched([u8; 3]),
    /// A router in front of each node, a wire between the routers: the first two bytes of all subnets.
    Routed([u8; 2]),
    /// Routers in a row, a node behind each end.
    Chain {
        /// The first two bytes of all subnets.
        network: [u8; 2],
        /// How many, two at least.
        routers: u8,
    },
    /// A router in front of each node, and ways of equal cost between the two, each through a router of its own.
    Parallel {
        /// The first two bytes of all subnets.
        network: [u8; 2],
        /// How many ways.
        ways: u8,
    },
}

/// A pod network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Who programs it.
    pub by: Cni,
    /// How packets get to the pods of other nodes.
    pub delivery: Delivery,
    /// MTU of tunnel and pods: of their devices.
    pub mtu: u32,
    /// The bridge that pods hang on, where they do.
    pub pod_bridge: Option<&'static str>,
    /// The first two bytes of all pod addresses.
    pub network: [u8; 2],
    /// What pods speak.
    pub families: Families,
    /// The family of the tunnel's outer packets.
    pub over: Family,
    /// A tunnel that IPv6 has to itself, over IPv6: what Calico and Flannel make where pods speak both.
    pub six: Option<Six>,
    /// Whether the CNI file names the MTU. Else it is left to what the CNI's daemon finds out.
    pub declared: bool,
}

/// A second tunnel, for IPv6 over IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Six {
    /// Its device.
    pub tunnel: &'static str,
    /// Its MTU. Pods have the smaller one of the two tunnels.
    pub mtu: u32,
}

/// A tunnel device whose tables name every peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The device.
    pub link: &'static str,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Its MTU.
    pub mtu: u32,
    /// The family of its outer packets.
    pub over: Family,
    /// The families of its inner packets.
    pub carries: Families,
}

/// Whose way of programming a node is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cni {
    /// A /26 for each node, pods on routed veths with proxy ARP for 169.254.1.1.
    Calico,
    /// A /24 for each node, pods on a bridge.
    Flannel,
    /// A /24 for each node, pods on routed veths with the node's own address for a gateway; devices are as large as the
    /// NIC, and routes say what fits.
    Cilium,
    /// A /24 for each node that the cloud's network routes, pods on routed veths with proxy ARP, a rule for each pod.
    Aws,
}

/// A link of a node, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The NIC on the cluster's network.
    Nic,
    /// The bridge that holds it.
    Bridge,
    /// What the tunnel and the node's address sit on: the bridge, or the NIC where there is none.
    Lower,
    /// The tunnel device.
    Tunnel,
    /// The host end of the pod's link.
    Pod,
    /// The bridge that pods hang on.
    PodBridge,
    /// The tunnel device that IPv6 has to itself.
    TunnelSix,
    /// The port of a guest on the bridge, once a fault has put one there.
    Guest,
    /// What holds the management address.
    Management,
    /// The NIC that nobody uses.
    Spare,
}

/// The first user's cluster: two networks, Calico over a bridge.
pub const REFERENCE: Recipe = Recipe {
    name: "reference",
    nodes: &["master-1", "master-2", "app-worker"],
    underlay: Underlay::Switched([10, 0, 0]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "enp5s0",
    bridge: Some("vmbr1"),
    management: "enp4s0",
    management_bridge: Some("vmbr0"),
    spare: "enp6s0",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Tunnel(Vxlan { link: "vxlan.calico", vni: 4096, port: 4789 }),
        mtu: 1450,
        pod_bridge: None,
        network: [10, 244],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: false,
    }),
};

/// The reference cluster with a node more: of three, one that is bad touches most pairs.
pub const FOUR: Recipe =
    Recipe { name: "four", nodes: &["master-1", "master-2", "master-3", "app-worker"], ..REFERENCE };

/// Peers behind routers, Flannel straight on the NIC.
pub const ROUTED: Recipe = Recipe {
    name: "routed",
    nodes: &["worker-a", "worker-b"],
    underlay: Underlay::Routed([172, 16]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "eth0",
    bridge: None,
    management: "eth1",
    management_bridge: None,
    spare: "eth2",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        delivery: Delivery::Tunnel(Vxlan { link: "flannel.1", vni: 1, port: 8472 }),
        mtu: 1450,
        pod_bridge: Some("cni0"),
        network: [10, 42],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: false,
    }),
};

/// Jumbo frames, one bridge, Calico with an MTU to match.
pub const JUMBO: Recipe = Recipe {
    name: "jumbo",
    nodes: &["rack1-node7", "rack2-node3"],
    underlay: Underlay::Switched([192, 168, 77]),
    families: Families::V4,
    underlay_mtu: 9000,
    table: None,
    nic: "ens19",
    bridge: Some("br-storage"),
    management: "ens18",
    management_bridge: None,
    spare: "ens20",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Tunnel(Vxlan { link: "vxlan.calico", vni: 4096, port: 4789 }),
        mtu: 8950,
        pod_bridge: None,
        network: [10, 100],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: true,
    }),
};

/// A network below 1500, Flannel over a bridge: one bridge that leads to the wire and one that must not.
pub const BRIDGED: Recipe = Recipe {
    name: "bridged",
    nodes: &["edge-a", "edge-b"],
    underlay: Underlay::Switched([10, 9, 8]),
    families: Families::V4,
    underlay_mtu: 1450,
    table: None,
    nic: "eno2",
    bridge: Some("br0"),
    management: "eno1",
    management_bridge: None,
    spare: "eno3",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        delivery: Delivery::Tunnel(Vxlan { link: "flannel.2", vni: 2, port: 8472 }),
        mtu: 1400,
        pod_bridge: Some("cbr0"),
        network: [10, 43],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: true,
    }),
};

/// Two machines without a pod network, which need not forward.
pub const PLAIN: Recipe = Recipe {
    name: "plain",
    nodes: &["db-1", "db-2"],
    underlay: Underlay::Routed([172, 30]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "ens3",
    bridge: None,
    management: "ens4",
    management_bridge: None,
    spare: "ens5",
    overlay: None,
};

/// Every recipe.
pub const ALL: [Recipe; 5] = [REFERENCE, ROUTED, JUMBO, BRIDGED, PLAIN];

/// Both families everywhere, as Calico does it: a tunnel for each, pods on routed veths with the smaller MTU of the two.
pub const DUAL: Recipe = Recipe {
    name: "dual",
    nodes: &["alpha", "beta", "gamma"],
    underlay: Underlay::Switched([10, 66, 0]),
    families: Families::Both,
    underlay_mtu: 1500,
    table: None,
    nic: "enp1s0",
    bridge: None,
    management: "enp2s0",
    management_bridge: None,
    spare: "enp3s0",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Tunnel(Vxlan { link: "vxlan.calico", vni: 4096, port: 4789 }),
        mtu: 1450,
        pod_bridge: None,
        network: [10, 66],
        families: Families::Both,
        over: Family::V4,
        six: Some(Six { tunnel: "vxlan-v6.calico", mtu: 1430 }),
        declared: false,
    }),
};

/// Nodes and pods that speak both families through one tunnel over IPv4.
pub const MIXED: Recipe = Recipe {
    name: "mixed",
    nodes: &["zone1-a", "zone1-b"],
    underlay: Underlay::Switched([10, 68, 0]),
    families: Families::Both,
    underlay_mtu: 1500,
    table: None,
    nic: "ens160",
    bridge: Some("br-cluster"),
    management: "ens161",
    management_bridge: None,
    spare: "ens162",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Tunnel(Vxlan { link: "vxlan.calico", vni: 4096, port: 4789 }),
        mtu: 1450,
        pod_bridge: None,
        network: [10, 168],
        families: Families::Both,
        over: Family::V4,
        six: None,
        declared: true,
    }),
};

/// IPv4 pods over nodes that have IPv6 alone, behind routers: 70 bytes of overhead.
pub const SIX: Recipe = Recipe {
    name: "six",
    nodes: &["six-a", "six-b"],
    underlay: Underlay::Routed([172, 26]),
    families: Families::V6,
    underlay_mtu: 1500,
    table: None,
    nic: "eth0",
    bridge: None,
    management: "eth1",
    management_bridge: None,
    spare: "eth2",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        delivery: Delivery::Tunnel(Vxlan { link: "flannel.1", vni: 1, port: 8472 }),
        mtu: 1430,
        pod_bridge: Some("cni0"),
        network: [10, 46],
        families: Families::V4,
        over: Family::V6,
        six: None,
        declared: false,
    }),
};

/// IPv6 pods over nodes that have IPv4 alone, behind routers.
pub const SIX_PODS: Recipe = Recipe {
    name: "six-pods",
    nodes: &["four-a", "four-b"],
    underlay: Underlay::Routed([172, 24]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "eth0",
    bridge: None,
    management: "eth1",
    management_bridge: None,
    spare: "eth2",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        delivery: Delivery::Tunnel(Vxlan { link: "flannel-v6.1", vni: 1, port: 8472 }),
        mtu: 1450,
        pod_bridge: Some("cni0"),
        network: [10, 64],
        families: Families::V6,
        over: Family::V4,
        six: None,
        declared: false,
    }),
};

/// IPv6 and nothing else: Flannel over routers.
pub const SIX_ALONE: Recipe = Recipe {
    name: "six-alone",
    nodes: &["only-a", "only-b"],
    underlay: Underlay::Routed([172, 27]),
    families: Families::V6,
    underlay_mtu: 1500,
    table: None,
    nic: "ens5",
    bridge: None,
    management: "ens6",
    management_bridge: None,
    spare: "ens7",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        delivery: Delivery::Tunnel(Vxlan { link: "flannel-v6.1", vni: 1, port: 8472 }),
        mtu: 1430,
        pod_bridge: Some("cni0"),
        network: [10, 67],
        families: Families::V6,
        over: Family::V6,
        six: None,
        declared: false,
    }),
};

/// Two machines with four routers in a row between them, both families. Another number of routers is
/// `Recipe { underlay: Underlay::Chain { .. }, ..CHAIN }`.
pub const CHAIN: Recipe = Recipe {
    name: "chain",
    nodes: &["near-1", "far-1"],
    underlay: Underlay::Chain { network: [172, 20], routers: 4 },
    families: Families::Both,
    underlay_mtu: 1500,
    table: None,
    nic: "ens6f0",
    bridge: None,
    management: "ens6f1",
    management_bridge: None,
    spare: "ens6f2",
    overlay: None,
};

/// Two ways of equal cost between the nodes, both families, Calico with a tunnel for each.
pub const TWO_WAYS: Recipe = Recipe {
    name: "two-ways",
    nodes: &["leaf1-n1", "leaf2-n1"],
    underlay: Underlay::Parallel { network: [172, 21], ways: 2 },
    families: Families::Both,
    underlay_mtu: 1500,
    table: None,
    nic: "eth0",
    bridge: None,
    management: "eth1",
    management_bridge: None,
    spare: "eth2",
    overlay: DUAL.overlay,
};

/// The same with four ways.
pub const FOUR_WAYS: Recipe = Recipe {
    name: "four-ways",
    nodes: &["leaf1-n2", "leaf2-n2"],
    underlay: Underlay::Parallel { network: [172, 22], ways: 4 },
    ..TWO_WAYS
};

/// The recipes that came with IPv6: in nodes, in pods, or in both.
pub const SPEAKING_SIX: [Recipe; 5] = [DUAL, MIXED, SIX, SIX_PODS, SIX_ALONE];

/// The recipes with more routers than one for each node.
pub const FAR: [Recipe; 3] = [CHAIN, TWO_WAYS, FOUR_WAYS];

/// Every recipe: [`ALL`], and those that a scenario is played on where it names them.
pub fn every() -> impl Iterator<Item = Recipe> {
    ALL.into_iter().chain(SPEAKING_SIX).chain(FAR).chain(SETUPS)
}

impl Recipe {
    /// The node's name on one of its links, `None` where it has no such link.
    pub fn link(&self, role: Role) -> Option<&'static str> {
        match role {
            Role::Nic => Some(self.nic),
            Role::Bridge => self.bridge,
            Role::Lower => Some(self.bridge.unwrap_or(self.nic)),
            Role::Tunnel => self.overlay.and_then(|overlay| overlay.delivery.vxlan()).map(|vxlan| vxlan.link),
            Role::Pod => self.overlay.map(|overlay| overlay.by.pod_link()),
            Role::PodBridge => self.overlay.and_then(|overlay| overlay.pod_bridge),
            Role::TunnelSix => self.overlay.and_then(|overlay| overlay.six).map(|six| six.tunnel),
            Role::Guest => self.bridge.map(guest_of),
            Role::Management => Some(self.management_bridge.unwrap_or(self.management)),
            Role::Spare => Some(self.spare),
        }
    }

    /// The bridge that one of the node's links is a port of, `None` where it is none.
    pub fn bridge_of(&self, role: Role) -> Option<&'static str> {
        match role {
            Role::Nic | Role::Guest => self.bridge,
            Role::Pod => self.link(Role::PodBridge),
            _ => None,
        }
    }

    /// What the names in sizes stand for here.
    pub fn sizes(&self) -> Names {
        let mut names = Names::from([("underlay", self.underlay_mtu)]);
        if let Some(overlay) = self.overlay {
            names.extend([("pod", overlay.carries())]);
            if let Some(Vxlan { port, .. }) = overlay.delivery.vxlan() {
                let overhead = VXLAN_HEADERS + overlay.over.header();
                names.extend([("tunnel", overlay.carries()), ("overhead", overhead), ("port", u32::from(port))]);
            }
        }
        names
    }

    /// Whether routers lie between the nodes.
    pub const fn is_routed(&self) -> bool {
        !matches!(self.underlay, Underlay::Switched(_))
    }

    /// Whether pods of other nodes are reached through a tunnel whose tables name every peer.
    pub fn is_tunnelled(&self) -> bool {
        self.overlay.is_some_and(|overlay| overlay.is_tunnelled())
    }

    /// Every family that anything here speaks.
    pub fn spoken(&self) -> Families {
        self.overlay.map_or(self.families, |overlay| self.families.with(overlay.families))
    }

    /// The tunnel devices of its pod network whose tables name every peer.
    pub fn tunnels(&self) -> Vec<Tunnel> {
        self.overlay.as_ref().map(Overlay::tunnels).unwrap_or_default()
    }
}

impl Overlay {
    /// Its tunnel devices whose tables name every peer.
    pub fn tunnels(&self) -> Vec<Tunnel> {
        let Self { mtu, over, families, .. } = *self;
        let (Delivery::Tunnel(vxlan) | Delivery::Beside(vxlan)) = self.delivery else { return Vec::new() };
        let Vxlan { link, vni, port } = vxlan;
        let tunnel = |link, mtu, over, carries| Tunnel { link, vni, port, mtu, over, carries };
        match self.six {
            None => vec![tunnel(link, mtu, over, families)],
            Some(six) => {
                vec![tunnel(link, mtu, over, Families::V4), tunnel(six.tunnel, six.mtu, Family::V6, Families::V6)]
            }
        }
    }

    /// Whether pods of other nodes are reached through a tunnel whose tables name every peer.
    pub const fn is_tunnelled(&self) -> bool {
        matches!(self.delivery, Delivery::Tunnel(_))
    }

    /// The tunnel that carries a family.
    pub fn tunnel_of(&self, family: Family) -> Option<Tunnel> {
        self.tunnels().into_iter().find(|tunnel| tunnel.carries.has(family))
    }

    /// MTU of pods: what every tunnel carries.
    pub fn pod_mtu(&self) -> u32 {
        self.six.map_or(self.mtu, |six| six.mtu.min(self.mtu))
    }
}

impl Cni {
    /// The host end of a pod's link.
    pub const fn pod_link(self) -> &'static str {
        match self {
            Self::Calico => "cali0ef24ba1c3f",
            Self::Flannel => "veth5f1e2ab0",
            Self::Cilium => "lxc4f7a1b9c0d2e",
            Self::Aws => "eni3b8f6d1c2a9",
        }
    }

    /// The host end of the link of a pod that comes later.
    pub const fn another_pod_link(self) -> &'static str {
        match self {
            Self::Calico => "cali7c3d9e5b2a1",
            Self::Flannel => "veth9c8b7a61",
            Self::Cilium => "lxc8e5d3c2b1a0f",
            Self::Aws => "eni7c4e9a0b5d8",
        }
    }
}

/// A guest's port as the hypervisor names it whose bridge this is: Proxmox, else libvirt.
fn guest_of(bridge: &str) -> &'static str {
    if bridge.starts_with("vmbr") { "veth102i0" } else { "vnet7" }
}
