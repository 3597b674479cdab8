//! All paths under measurement, one flight table, one packet budget.
//!
//! A machine with two verbs: told (`on_*`) and asked (`poll_*`). It has no socket and no clock.

pub mod flight;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::units::Mono;

/// What to hand to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Names the transmit when its result is reported.
    pub id: TransmitId,
    /// Where to.
    pub to: SocketAddr,
    /// By what means.
    pub means: Means,
}

/// Names one transmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransmitId(pub u64);

/// How a transmit leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// By the raw ICMP socket: `head`, then `padding` zero bytes. The kernel adds the IP header.
    Icmp {
        /// ICMP header and the start of the payload, checksum filled in (zeros leave it unchanged).
        head: Vec<u8>,
        /// Zero bytes after it.
        padding: u32,
    },
    /// By a UDP socket of the agent, payload as given.
    Udp {
        /// Payload.
        payload: Vec<u8>,
    },
    /// A TCP connection attempt, closed as soon as it is known how it went; `TcpOutcome` comes back within `timeout`.
    Tcp {
        /// When to give up.
        timeout: Duration,
    },
}

/// A packet that the raw ICMP socket received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source address.
    pub from: IpAddr,
    /// The packet from the IP header on for IPv4 (as a raw socket gives it), from the ICMPv6 header on for IPv6.
    pub bytes: Vec<u8>,
    /// When it was received.
    pub at: Mono,
    /// How long before `at` the kernel received it, by its own stamp, where known.
    pub waited: Option<Duration>,
}

/// What became of a transmit on its way out, and of TCP attempts as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took it.
    Ok,
    /// The kernel refused, with this errno.
    Failed(i32),
    /// The TCP attempt was answered by SYN-ACK or RST.
    TcpAnswered,
    /// The TCP attempt timed out.
    TcpSilent,
}
