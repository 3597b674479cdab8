//! Remedies: what must become true, rendered into commands that work today on the set-up that was found.
//!
//! A check says *what* ([`Fix`]); how that is done on a Calico or Flannel cluster, on Proxmox or a plain host, stands
//! in one file each, so that a command that a new version refuses is mended in one place.

use std::net::IpAddr;

use crate::snapshot::Setup;
use crate::units::{IpSize, LinkMtu};

/// Something that must become true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// A link is set up and has carrier.
    LinkUp {
        /// The link.
        link: String,
        /// Whether it is up but has no carrier: then the cable or the other end is the matter.
        no_carrier: bool,
    },
    /// A host link has this MTU.
    LinkMtu {
        /// The link.
        link: String,
        /// Device MTU.
        mtu: LinkMtu,
    },
    /// The CNI's tunnel, and the pods over it, have this MTU.
    OverlayMtu {
        /// The tunnel device.
        tunnel: String,
        /// Device MTU.
        mtu: LinkMtu,
    },
    /// Pods have this MTU.
    PodMtu {
        /// Device MTU.
        mtu: LinkMtu,
    },
    /// A sysctl has this value, also after a reboot.
    Sysctl {
        /// Key, as in `net.ipv4.ip_forward`.
        key: String,
        /// Value.
        value: String,
    },
    /// The path to an address carries this size.
    PathCarries {
        /// The far end.
        to: IpAddr,
        /// The size that it should carry.
        size: IpSize,
        /// What it carries.
        carries: IpSize,
        /// The hop that says so.
        hop: Option<IpAddr>,
        /// Whether the loss is silent.
        silent: bool,
    },
    /// A peer answers.
    PeerAnswers {
        /// Its name.
        peer: String,
        /// Its address.
        address: IpAddr,
        /// The link towards it, where known.
        link: Option<String>,
    },
    /// A tunnel delivers to a peer.
    TunnelDelivers {
        /// The tunnel device.
        tunnel: String,
        /// Its kind, as in `vxlan`.
        kind: String,
        /// UDP port of its outer packets.
        port: Option<u16>,
        /// The peer's tunnel address.
        overlay: IpAddr,
        /// The peer's node address.
        underlay: Option<IpAddr>,
    },
}

/// The lines that make every fix true, in order.
pub fn render(_fixes: &[Fix], _setup: Setup) -> Vec<String> {
    Vec::new()
}
