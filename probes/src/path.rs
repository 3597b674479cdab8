//! A path and what was measured on it.
//!
//! The machines below know sizes and answers, never bytes: [`search`] finds the largest size that a path carries.

pub mod search;

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Family, IpSize, Mono};

/// Which network a path crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plane {
    /// Node address to node address.
    Underlay,
    /// Through the tunnel, to the peer's tunnel address.
    Overlay,
    /// To a pod of the peer.
    Pod,
}

impl Plane {
    /// Every plane, outermost first.
    pub const ALL: [Self; 3] = [Self::Underlay, Self::Overlay, Self::Pod];

    /// The name used in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Overlay => "overlay",
            Self::Pod => "pod",
        }
    }
}

/// What identifies a path: it survives recreated links, and a renumbered peer is another path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// The address that is probed.
    pub address: IpAddr,
}

impl PathKey {
    /// The family of the probed address.
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }
}

/// What the prober needs to know to measure a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path.
    pub key: PathKey,
    /// The source address to send from; `None` where the route is to choose it.
    pub from: Option<IpAddr>,
    /// The size that it should carry: no larger one is ever sent.
    pub expected: IpSize,
    /// The tunnel that the path goes through, if it goes through one.
    pub tunnel: Option<TunnelEnd>,
}

/// The far tunnel end that an ICMP error may quote in place of our own packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Outer destination address.
    pub vtep: IpAddr,
    /// Outer UDP destination port.
    pub port: u16,
    /// What the tunnel adds to an inner packet, in bytes.
    pub overhead: u32,
}

/// One probe: stages ask for it, the prober gives it bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What carries the size.
    pub carrier: Carrier,
    /// IP packet size, header included.
    pub size: IpSize,
}

/// Kinds of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// ICMP echo request.
    Echo,
    /// UDP datagram to a high port: a host that filters echo often answers port unreachable.
    Udp {
        /// Destination port, 33434 and up.
        port: u16,
    },
    /// TCP connection attempt: SYN-ACK and RST both say that the host is there.
    Tcp {
        /// Destination port.
        port: u16,
    },
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answered by the target.
    Carried {
        /// From sending to the answer, where it is known.
        round_trip: Option<Duration>,
    },
    /// A hop says that the packet is too big: a hint, not a verdict.
    TooBig {
        /// Who says so.
        by: IpAddr,
        /// The next-hop MTU that it reports, already less any tunnel overhead; `None` if it reports none.
        mtu: Option<IpSize>,
    },
    /// A hop or the target refuses the packet.
    Refused {
        /// Who refuses.
        by: IpAddr,
        /// Why.
        why: Refusal,
    },
    /// The kernel here did not send it.
    NotSent {
        /// Why.
        why: NotSent,
    },
    /// No answer in time.
    Silent,
}

/// Why a packet was refused (ICMP destination unreachable, RFC 792 and RFC 1812 §5.2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Code 0 and its kin.
    NetworkUnreachable,
    /// Code 1 and its kin: often a neighbour that did not answer.
    HostUnreachable,
    /// Code 2.
    ProtocolUnreachable,
    /// Code 3.
    PortUnreachable,
    /// Code 3 about the tunnel's outer packet: the far end has no such tunnel port.
    TunnelPortUnreachable,
    /// Codes 9, 10, 13: a filter says no.
    Prohibited,
    /// Time exceeded: the packet goes round in circles.
    TtlExceeded,
    /// Any other code.
    Other,
}

impl Refusal {
    /// The reason in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::ProtocolUnreachable => "protocol unreachable",
            Self::PortUnreachable => "port unreachable",
            Self::TunnelPortUnreachable => "port unreachable for the tunnel's outer packet",
            Self::Prohibited => "administratively prohibited",
            Self::TtlExceeded => "time to live exceeded",
            Self::Other => "destination unreachable",
        }
    }
}

/// Why the kernel did not send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotSent {
    /// `EMSGSIZE`: larger than a local link takes.
    TooLarge,
    /// `ENETUNREACH`, `EHOSTUNREACH`: no route, or a neighbour that failed.
    NoRoute,
    /// `EPERM`, `EACCES`: a filter on this machine drops it.
    Filtered,
    /// Anything else; `errno` in numbers.
    Other(i32),
}

impl NotSent {
    /// The reason in words.
    pub fn words(self) -> String {
        match self {
            Self::TooLarge => "message too long for a local link (EMSGSIZE)".into(),
            Self::NoRoute => "no route, or the neighbour does not resolve (ENETUNREACH, EHOSTUNREACH)".into(),
            Self::Filtered => "a local filter refuses it (EPERM)".into(),
            Self::Other(errno) => format!("error {errno}"),
        }
    }
}

/// A hop that limits a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// The hop's address; absent if the limit is a link of this machine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<IpAddr>,
    /// The MTU that it reported, in bytes of the probed (inner) packet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reported_mtu: Option<IpSize>,
    /// Its distance in hops, where measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ttl: Option<u8>,
}

/// What a measurement says of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Carries the expected size.
    Clear {
        /// The size.
        mtu: IpSize,
    },
    /// Carries less, and the loss of size was signalled.
    Limited {
        /// The largest size confirmed.
        mtu: IpSize,
        /// Who signalled.
        by: Limit,
    },
    /// Larger sizes vanish in silence.
    BlackHole {
        /// The largest size confirmed.
        carries: IpSize,
        /// The smallest size confirmed to vanish.
        drops: IpSize,
        /// A signalling hop before it, if there is one.
        by: Option<Limit>,
    },
    /// Every protocol failed.
    Unreachable {
        /// What was seen.
        why: Unreachable,
    },
    /// Nothing could be concluded.
    Unknown {
        /// Why, in words for people.
        why: String,
    },
}

/// How a path is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Unreachable {
    /// Nothing came back from any protocol.
    Silent,
    /// Somebody said no.
    Refused {
        /// Who.
        by: IpAddr,
        /// Why.
        why: Refusal,
    },
    /// The kernel here has no way to send.
    NotSent {
        /// Why.
        why: NotSent,
    },
}

impl Verdict {
    /// The name used in metrics and reports.
    pub const fn name(&self) -> VerdictName {
        match self {
            Self::Clear { .. } => VerdictName::Clear,
            Self::Limited { .. } => VerdictName::Limited,
            Self::BlackHole { .. } => VerdictName::BlackHole,
            Self::Unreachable { .. } => VerdictName::Unreachable,
            Self::Unknown { .. } => VerdictName::Unknown,
        }
    }

    /// The largest size that was confirmed to pass.
    pub const fn path_mtu(&self) -> Option<IpSize> {
        match self {
            Self::Clear { mtu } | Self::Limited { mtu, .. } | Self::BlackHole { carries: mtu, .. } => Some(*mtu),
            Self::Unreachable { .. } | Self::Unknown { .. } => None,
        }
    }
}

/// A verdict without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictName {
    /// `path_mtu` = `expected_mtu`.
    Clear,
    /// Smaller, and every loss of size was signalled.
    Limited,
    /// `path_mtu` is the largest confirmed size; larger ones vanish in silence.
    BlackHole,
    /// Every protocol failed.
    Unreachable,
    /// Nothing could be concluded; every number is absent.
    Unknown,
}

impl VerdictName {
    /// Every verdict.
    pub const ALL: [Self; 5] = [Self::Clear, Self::Limited, Self::BlackHole, Self::Unreachable, Self::Unknown];

    /// The name used in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Limited => "limited",
            Self::BlackHole => "black_hole",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

/// What a finished measurement of one path yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The verdict.
    pub verdict: Verdict,
    /// The smallest round trip of a small probe.
    pub round_trip: Option<Duration>,
    /// Packets that left for this measurement.
    pub sent: u32,
    /// Reference probes sent and lost (small and full-size ones that decided nothing but reachability).
    pub reference_sent: u32,
    /// Of those, how many were lost.
    pub reference_lost: u32,
    /// When it was finished.
    pub at: Mono,
}

/// What a stage wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this probe now.
    Send(Probe),
    /// Nothing to do before this time, unless an answer comes.
    Wait(Mono),
    /// Finished.
    Done(Box<Measured>),
}
