//! What the lab's clusters look like: values that say names, addresses, ports and sizes, and do nothing.
//!
//! The recipes differ in everything that a check could have learned by heart: link names, tunnel device and port,
//! subnets, MTUs, whether a bridge lies under the tunnel, whether peers share a subnet. A scenario speaks of roles
//! (`nic`, `bridge`, `tunnel`, `pod`) and is played wherever those roles exist.

use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::size::Names;

/// What VXLAN over IPv4 adds. Stated here again on purpose: the lab must not learn it from the code it tests.
const VXLAN_OVERHEAD: u32 = 50;

/// One cluster, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Its name in test names.
    pub name: &'static str,
    /// The nodes' names. Node 0 runs the agent.
    pub nodes: &'static [&'static str],
    /// How the nodes reach one another.
    pub underlay: Underlay,
    /// MTU of that network.
    pub underlay_mtu: u32,
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
}

/// A pod network over VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Who programs it.
    pub by: Cni,
    /// The tunnel device.
    pub tunnel: &'static str,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// MTU of tunnel and pods.
    pub mtu: u32,
    /// The bridge that pods hang on, where they do.
    pub pod_bridge: Option<&'static str>,
    /// The first two bytes of all pod addresses.
    pub network: [u8; 2],
}

/// Whose way of programming a node is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cni {
    /// A /26 for each node, pods on routed veths with proxy ARP for 169.254.1.1.
    Calico,
    /// A /24 for each node, pods on a bridge.
    Flannel,
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
    underlay_mtu: 1500,
    nic: "enp5s0",
    bridge: Some("vmbr1"),
    management: "enp4s0",
    management_bridge: Some("vmbr0"),
    spare: "enp6s0",
    overlay: Some(Overlay {
        by: Cni::Calico,
        tunnel: "vxlan.calico",
        vni: 4096,
        port: 4789,
        mtu: 1450,
        pod_bridge: None,
        network: [10, 244],
    }),
};

/// Peers behind routers, Flannel straight on the NIC.
pub const ROUTED: Recipe = Recipe {
    name: "routed",
    nodes: &["worker-a", "worker-b"],
    underlay: Underlay::Routed([172, 16]),
    underlay_mtu: 1500,
    nic: "eth0",
    bridge: None,
    management: "eth1",
    management_bridge: None,
    spare: "eth2",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        tunnel: "flannel.1",
        vni: 1,
        port: 8472,
        mtu: 1450,
        pod_bridge: Some("cni0"),
        network: [10, 42],
    }),
};

/// Jumbo frames, one bridge, Calico with an MTU to match.
pub const JUMBO: Recipe = Recipe {
    name: "jumbo",
    nodes: &["rack1-node7", "rack2-node3"],
    underlay: Underlay::Switched([192, 168, 77]),
    underlay_mtu: 9000,
    nic: "ens19",
    bridge: Some("br-storage"),
    management: "ens18",
    management_bridge: None,
    spare: "ens20",
    overlay: Some(Overlay {
        by: Cni::Calico,
        tunnel: "vxlan.calico",
        vni: 4096,
        port: 4789,
        mtu: 8950,
        pod_bridge: None,
        network: [10, 100],
    }),
};

/// A network below 1500, Flannel over a bridge: one bridge that leads to the wire and one that must not.
pub const BRIDGED: Recipe = Recipe {
    name: "bridged",
    nodes: &["edge-a", "edge-b"],
    underlay: Underlay::Switched([10, 9, 8]),
    underlay_mtu: 1450,
    nic: "eno2",
    bridge: Some("br0"),
    management: "eno1",
    management_bridge: None,
    spare: "eno3",
    overlay: Some(Overlay {
        by: Cni::Flannel,
        tunnel: "flannel.2",
        vni: 2,
        port: 8472,
        mtu: 1400,
        pod_bridge: Some("cbr0"),
        network: [10, 43],
    }),
};

/// Two machines without a pod network, which need not forward.
pub const PLAIN: Recipe = Recipe {
    name: "plain",
    nodes: &["db-1", "db-2"],
    underlay: Underlay::Routed([172, 30]),
    underlay_mtu: 1500,
    nic: "ens3",
    bridge: None,
    management: "ens4",
    management_bridge: None,
    spare: "ens5",
    overlay: None,
};

/// Every recipe.
pub const ALL: [Recipe; 5] = [REFERENCE, ROUTED, JUMBO, BRIDGED, PLAIN];

impl Recipe {
    /// The node's address on the cluster's network.
    pub fn underlay_address(&self, node: usize) -> Ipv4Addr {
        match self.underlay {
            Underlay::Switched([a, b, c]) => Ipv4Addr::new(a, b, c, 11 + byte(node)),
            Underlay::Routed([a, b]) => Ipv4Addr::new(a, b, 1 + byte(node), 10),
        }
    }

    /// The node's address on the management network.
    pub fn management_address(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 0, 11 + byte(node))
    }

    /// The address of the router's side that a node sees, where there is a router.
    pub fn router_address(&self, node: usize) -> Option<Ipv4Addr> {
        match self.underlay {
            Underlay::Switched(_) => None,
            Underlay::Routed([a, b]) => Some(Ipv4Addr::new(a, b, 1 + byte(node), 1)),
        }
    }

    /// The node's name on one of its links, `None` where it has no such link.
    pub fn link(&self, role: Role) -> Option<&'static str> {
        match role {
            Role::Nic => Some(self.nic),
            Role::Bridge => self.bridge,
            Role::Lower => Some(self.bridge.unwrap_or(self.nic)),
            Role::Tunnel => self.overlay.map(|overlay| overlay.tunnel),
            Role::Pod => self.overlay.map(|overlay| overlay.by.pod_link()),
            Role::PodBridge => self.overlay.and_then(|overlay| overlay.pod_bridge),
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
            names.extend([("tunnel", overlay.mtu), ("overhead", VXLAN_OVERHEAD), ("port", u32::from(overlay.port))]);
        }
        names
    }

    /// Whether routers lie between the nodes.
    pub const fn is_routed(&self) -> bool {
        matches!(self.underlay, Underlay::Routed(_))
    }
}

impl Overlay {
    /// The node's address on the tunnel device.
    pub fn tunnel_address(&self, node: usize) -> Ipv4Addr {
        self.address(node, 0)
    }

    /// The address of the node's pod.
    pub fn pod_address(&self, node: usize) -> Ipv4Addr {
        self.address(node, 2)
    }

    /// The node's pod addresses, as a prefix.
    pub fn subnet(&self, node: usize) -> String {
        let length = match self.by {
            Cni::Calico => 26,
            Cni::Flannel => 24,
        };
        format!("{}/{length}", self.tunnel_address(node))
    }

    /// The hardware address of the node's tunnel device.
    pub fn tunnel_mac(&self, node: usize) -> String {
        format!("66:0c:a1:1c:00:{:02x}", node + 1)
    }

    /// Address `host` of the node's block.
    pub fn address(&self, node: usize, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.network[0], self.network[1], 1 + byte(node), host)
    }
}

impl Cni {
    /// The host end of a pod's link.
    pub const fn pod_link(self) -> &'static str {
        match self {
            Self::Calico => "cali0ef24ba1c3f",
            Self::Flannel => "veth5f1e2ab0",
        }
    }

    /// The host end of the link of a pod that comes later.
    pub const fn another_pod_link(self) -> &'static str {
        match self {
            Self::Calico => "cali7c3d9e5b2a1",
            Self::Flannel => "veth9c8b7a61",
        }
    }
}

/// A guest's port as the hypervisor names it whose bridge this is: Proxmox, else libvirt.
fn guest_of(bridge: &str) -> &'static str {
    if bridge.starts_with("vmbr") { "veth102i0" } else { "vnet7" }
}

fn byte(node: usize) -> u8 {
    u8::try_from(node).expect("a lab has a handful of nodes")
}
