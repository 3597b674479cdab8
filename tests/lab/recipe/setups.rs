//! Other people's pod networks: without a tunnel, beside one, through one that knows no peer, and on two networks.
//!
//! What differs is how a packet gets to the pods of another node ([`Delivery`]), so each has the devices, the routes and
//! the MTUs that its CNI leaves behind. Cilium's own programs are left out: a policy route into a tunnel in
//! collect-metadata mode does in the kernel's words what they do in theirs, and the devices around it are Cilium's.

use super::{Cni, Overlay, REFERENCE, Recipe, Underlay};
use crate::family::{Families, Family};

/// How packets get to the pods of other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Through a tunnel whose tables name every peer.
    Tunnel(Vxlan),
    /// By routes that name the nodes' own addresses, beside such a tunnel: what `CrossSubnet` comes to for peers that share
    /// the subnet.
    Beside(Vxlan),
    /// By routes that name the nodes' own addresses: BGP, host-gw.
    Direct,
    /// Through a tunnel in collect-metadata mode, whose tables know no peer.
    Metadata {
        /// The device.
        tunnel: Vxlan,
        /// The MTU that routes to pods of other nodes have.
        route_mtu: u32,
    },
    /// By the network's own routers, which know whose pods are where.
    Network,
}

/// A VXLAN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The device.
    pub link: &'static str,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
}

impl Delivery {
    /// The tunnel device, if there is one.
    pub const fn vxlan(self) -> Option<Vxlan> {
        match self {
            Self::Tunnel(vxlan) | Self::Beside(vxlan) | Self::Metadata { tunnel: vxlan, .. } => Some(vxlan),
            Self::Direct | Self::Network => None,
        }
    }
}

impl Overlay {
    /// The largest packet that gets from pod to pod.
    pub fn carries(&self) -> u32 {
        match self.delivery {
            Delivery::Metadata { route_mtu, .. } => route_mtu,
            _ => self.pod_mtu(),
        }
    }

    /// The largest packet that gets from node to node by the tunnels' addresses.
    pub fn between_tunnels(&self, family: Family, underlay_mtu: u32) -> u32 {
        match self.delivery {
            Delivery::Tunnel(_) => self.tunnel_of(family).map_or(self.mtu, |tunnel| tunnel.mtu),
            Delivery::Metadata { route_mtu, .. } => route_mtu,
            Delivery::Beside(_) | Delivery::Direct | Delivery::Network => underlay_mtu,
        }
    }
}

/// Calico with BGP and no tunnel: blocks by the nodes' addresses.
pub const BGP: Recipe = Recipe {
    name: "bgp",
    nodes: &["metal-1", "metal-2", "metal-3"],
    underlay: Underlay::Switched([10, 77, 0]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "enp7s0",
    bridge: None,
    management: "enp8s0",
    management_bridge: None,
    spare: "enp9s0",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Direct,
        mtu: 1500,
        pod_bridge: None,
        network: [10, 177],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: false,
    }),
};

/// Flannel with host-gw: subnets by the nodes' addresses, pods on a bridge.
pub const HOST_GW: Recipe = Recipe {
    name: "host-gw",
    nodes: &["shelf-a", "shelf-b"],
    underlay: Underlay::Switched([10, 78, 0]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "enp0s25",
    bridge: None,
    management: "enp3s0",
    management_bridge: None,
    spare: "enp4s0",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        delivery: Delivery::Direct,
        mtu: 1500,
        pod_bridge: Some("cni0"),
        network: [10, 178],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: false,
    }),
};

/// Cilium over VXLAN: every device has the NIC's MTU, and routes leave room for the tunnel.
pub const CILIUM: Recipe = Recipe {
    name: "cilium",
    nodes: &["pool-x7k2", "pool-m4q9"],
    underlay: Underlay::Switched([10, 79, 0]),
    families: Families::V4,
    underlay_mtu: 1500,
    table: None,
    nic: "ens192",
    bridge: None,
    management: "ens224",
    management_bridge: None,
    spare: "ens256",
    overlay: Some(Overlay {
        by: Cni::Cilium,
        delivery: Delivery::Metadata { tunnel: Vxlan { link: "cilium_vxlan", vni: 6, port: 8472 }, route_mtu: 1450 },
        mtu: 1500,
        pod_bridge: None,
        network: [10, 179],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: false,
    }),
};

/// Two networks that have little in common: management with the default route and 1500, the cluster's behind routers with
/// jumbo frames, no bridge, and a routing table of its own.
pub const TWO_NICS: Recipe = Recipe {
    name: "two-nics",
    nodes: &["hall1-n3", "hall2-n8"],
    underlay: Underlay::Routed([172, 18]),
    families: Families::V4,
    underlay_mtu: 9000,
    table: Some(77),
    nic: "ens2f1",
    bridge: None,
    management: "eno1",
    management_bridge: None,
    spare: "eno2",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Tunnel(Vxlan { link: "vxlan.calico", vni: 4096, port: 4789 }),
        mtu: 8950,
        pod_bridge: None,
        network: [10, 180],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: true,
    }),
};

/// Calico with `vxlanMode: CrossSubnet`, every node in one subnet: the tunnel is there, and packets go past it. Pods are
/// still made for it.
pub const CROSS_SUBNET: Recipe = Recipe {
    name: "cross-subnet",
    nodes: &["row1-a", "row1-b"],
    underlay: Underlay::Switched([10, 81, 0]),
    bridge: None,
    nic: "eth0",
    management: "eth1",
    management_bridge: None,
    spare: "eth2",
    overlay: Some(Overlay {
        by: Cni::Calico,
        delivery: Delivery::Beside(Vxlan { link: "vxlan.calico", vni: 4096, port: 4789 }),
        mtu: 1450,
        pod_bridge: None,
        network: [10, 181],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: true,
    }),
    ..REFERENCE
};

/// A cloud that routes pods by itself, with its jumbo frames: AWS with prefixes delegated to nodes.
pub const CLOUD: Recipe = Recipe {
    name: "cloud",
    nodes: &["ip-10-0-1-10", "ip-10-0-2-10"],
    underlay: Underlay::Routed([172, 19]),
    families: Families::V4,
    underlay_mtu: 9001,
    table: None,
    nic: "ens5",
    bridge: None,
    management: "ens6",
    management_bridge: None,
    spare: "ens7",
    overlay: Some(Overlay {
        by: Cni::Aws,
        delivery: Delivery::Network,
        mtu: 9001,
        pod_bridge: None,
        network: [10, 182],
        families: Families::V4,
        over: Family::V4,
        six: None,
        declared: true,
    }),
};

/// The recipes of this file.
pub const SETUPS: [Recipe; 6] = [BGP, HOST_GW, CILIUM, TWO_NICS, CROSS_SUBNET, CLOUD];
