//! One node: everything that decides, behind two enums.
//!
//! The driver drains [`Node::poll`], waits for the world or for [`Node::poll_timeout`], and feeds [`Node::on`].

use std::net::IpAddr;
use std::sync::Arc;

use crate::fact::Unread;
use crate::kernel::{RawFacts, RawMessage};
use crate::prober::{Datagram, Sent, Transmit, TransmitId};
use crate::report::Published;

/// What the world tells.
#[derive(Debug)]
pub enum Input {
    /// The facts that [`Output::ReadFacts`] asked for.
    Facts(Box<RawFacts>),
    /// The routes that [`Output::ReadRoutes`] asked for: `RTM_NEWROUTE` for each address.
    Routes(Vec<(IpAddr, Result<RawMessage, Unread>)>),
    /// A packet came in.
    Datagram(Datagram),
    /// A transmit left, or did not.
    Sent(TransmitId, Sent),
    /// Probing is impossible from here on, and why (no `CAP_NET_RAW`).
    NoProbing(Unread),
}

/// What the node wants done.
#[derive(Debug)]
pub enum Output {
    /// Read the kernel's tables and the host files; answer with [`Input::Facts`].
    ReadFacts,
    /// Look up the route to each address as the kernel would, cached path MTUs ignored (`RTM_F_FIB_MATCH`).
    ReadRoutes(Vec<IpAddr>),
    /// Send a packet or try a connection; answer with [`Input::Sent`].
    Transmit(Transmit),
    /// ICMP errors about UDP packets to these ports concern us: a tunnel's outer packets.
    WatchTunnelPorts(Vec<u16>),
    /// A round is over.
    Publish(Arc<Published>),
}
