//! What the operator may set, already checked. Reading files and naming lines is the agent's work.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::report::Vantage;
use crate::units::IpSize;

/// Settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The node's name in reports.
    pub node: String,
    /// Whether this is a node's or a pod's view.
    pub vantage: Vantage,
    /// Peers.
    pub peers: Peers,
    /// Probing.
    pub probing: Probing,
    /// What the operator means the network to be.
    pub expect: Expect,
}

impl Config {
    /// The defaults for a node of this name.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            vantage: Vantage::Node,
            peers: Peers::default(),
            probing: Probing::default(),
            expect: Expect::default(),
        }
    }
}

/// Where peers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Discover them from the kernel's tunnel routes, neighbours and forwarding entries.
    pub kernel: bool,
    /// Fall back to the default gateway if no source yields a peer.
    pub gateway: bool,
    /// Peers named by the operator.
    pub fixed: Vec<StaticPeer>,
    /// Whether a named peer that is this machine itself is measured too. One configuration serves every node, so
    /// otherwise it is left out.
    pub this_machine: bool,
}

impl Default for Peers {
    fn default() -> Self {
        Self { kernel: true, gateway: false, fixed: Vec::new(), this_machine: false }
    }
}

/// A peer named by the operator. Any subset of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPeer {
    /// Its name.
    pub name: String,
    /// Node address.
    pub underlay: Option<IpAddr>,
    /// Tunnel address.
    pub overlay: Option<IpAddr>,
    /// Addresses of pods on it.
    pub pods: Vec<IpAddr>,
}

/// How to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Time between the starts of two rounds: 1 s to 1 h.
    pub interval: Duration,
    /// Rounds that must agree before a path finding is raised: 1 to 10.
    pub confirm_rounds: u32,
    /// Most packets sent in a second, over all paths: 1 to 100,000.
    pub packets_per_second: u32,
}

impl Default for Probing {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), confirm_rounds: 2, packets_per_second: 200 }
    }
}

/// What the operator means the network to be. Every part is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Path MTU between nodes; no larger packet is probed on the underlay.
    pub underlay_mtu: Option<IpSize>,
    /// MTU of tunnels and pods.
    pub overlay_mtu: Option<IpSize>,
    /// Sysctls by key, as in `net.ipv4.ip_forward`.
    pub sysctls: BTreeMap<String, String>,
}
