//! What the operator may set, already checked. Reading files and naming lines is the agent's work.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::report::Vantage;
use crate::tables::covers;
use crate::units::{Dual, IpSize};

/// Settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The node's name in reports.
    pub node: String,
    /// Whether this is a node's or a pod's view.
    pub vantage: Vantage,
    /// Whether it goes on, or is asked for once.
    pub work: Work,
    /// Peers.
    pub peers: Peers,
    /// Probing.
    pub probing: Probing,
    /// What the operator means the network to be.
    pub expect: Expect,
    /// The TCP port of every node's agent, this one's included.
    pub port: u16,
}

/// What a node is at work for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// An agent, which goes on: most often in a pod of the very node that it looks at.
    Agent,
    /// A report that somebody asked for on this machine.
    Report,
}

/// The port of agents where nobody says otherwise.
pub const PORT: u16 = 9747;

impl Config {
    /// The defaults for a node of this name.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            vantage: Vantage::Node,
            work: Work::Agent,
            peers: Peers::default(),
            probing: Probing::default(),
            expect: Expect::default(),
            port: PORT,
        }
    }
}

/// Where peers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Discover them from the kernel's tunnel routes, neighbours and forwarding entries.
    pub kernel: bool,
    /// Take them from what the Kubernetes API announces.
    pub kubernetes: bool,
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
        Self { kernel: true, kubernetes: false, gateway: false, fixed: Vec::new(), this_machine: false }
    }
}

/// A peer named by the operator. Any subset of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPeer {
    /// Its name.
    pub name: String,
    /// Node addresses.
    pub underlay: Dual,
    /// Tunnel addresses.
    pub overlay: Dual,
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
    /// Whether transfers are made with peers' agents.
    pub transfers: bool,
    /// Peers that are probed in every round, where there are too many to probe them all: 0 to 1,000. `None` probes them
    /// all: who names a peer by hand wants to know about that one, now.
    pub stable_peers: Option<u32>,
    /// UDP source ports that a sweep of equal-cost paths tries: 0, which is none, to [`SOURCES`].
    ///
    /// [`SOURCES`]: crate::path::SOURCES
    pub ecmp_ports: u16,
}

impl Default for Probing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            confirm_rounds: 2,
            packets_per_second: 200,
            transfers: true,
            stable_peers: Some(20),
            ecmp_ports: 25,
        }
    }
}

/// What the operator means the network to be. Every part is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Path MTU between nodes; no larger packet is probed on the underlay.
    pub underlay_mtu: Option<IpSize>,
    /// MTU of tunnels and pods.
    pub overlay_mtu: Option<IpSize>,
    /// Networks that the ends of tunnels are on; any, where none is named.
    pub underlay_network: Vec<Prefix>,
    /// Sysctls by key, as in `net.ipv4.ip_forward`.
    pub sysctls: BTreeMap<String, String>,
}

/// A network: an address, and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of this length that an address is in; `None` if no address is that long.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let host = bits - u32::from(length).min(bits);
        let address = match address {
            IpAddr::V4(address) => IpAddr::V4((u32::from(address) & u32::MAX.checked_shl(host).unwrap_or(0)).into()),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & u128::MAX.checked_shl(host).unwrap_or(0)).into()),
        };
        (u32::from(length) <= bits).then_some(Self { address, length })
    }

    /// A network as in `10.0.0.0/24`, no bit set beyond its length.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        Self::around(address, length.parse().ok().filter(|_| digits)?).filter(|prefix| prefix.address == address)
    }

    /// Whether an address is on it.
    pub fn holds(&self, address: IpAddr) -> bool {
        covers(self.address, self.length, address)
    }

    /// Whether it is a network of addresses like this one.
    pub const fn is_of_family(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_ports_are_swept_as_find_one_bad_path_of_four() {
        assert_eq!(Probing::default().ecmp_ports, crate::path::spread::odds::ports_to_meet(4));
    }

    fn around(address: &str, length: u8) -> Option<String> {
        Prefix::around(address.parse().unwrap(), length).map(|prefix| prefix.to_string())
    }

    #[test]
    fn a_network_around_an_address_has_no_bit_beyond_its_length() {
        assert_eq!(around("10.0.0.12", 24).unwrap(), "10.0.0.0/24");
        assert_eq!(around("10.0.0.12", 32).unwrap(), "10.0.0.12/32");
        assert_eq!(around("10.0.0.12", 0).unwrap(), "0.0.0.0/0");
        assert_eq!(around("fd00::12", 64).unwrap(), "fd00::/64");
        assert_eq!((around("10.0.0.12", 33), around("::", 129)), (None, None));
    }

    #[test]
    fn only_a_whole_network_is_one() {
        for text in ["10.0.0.0/24", "fd00::/8", "0.0.0.0/0"] {
            assert_eq!(Prefix::parse(text).unwrap().to_string(), text);
        }
        for text in ["10.0.0.12/24", "10.0.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/33", "vmbr1"] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
        let network = Prefix::parse("10.0.0.0/24").unwrap();
        let holds = |address: &str| network.holds(address.parse().unwrap());
        assert!(holds("10.0.0.255") && !holds("10.0.1.0") && !holds("fd00::1"));
    }
}
