//! Peers: who they are and by which addresses they are reached.

use std::net::IpAddr;

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
    /// Whether it is the default gateway, taken for want of a peer.
    pub gateway: bool,
}
