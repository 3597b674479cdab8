//! A path and what was measured on it.
//!
//! The machines below know sizes and answers, never bytes. A [`course`] measures one path: [`search`] finds the largest
//! size that it carries, and where larger ones vanish, [`direction`] says on which way and [`hop`] between which hops.
//! [`sample`] says what it loses, and [`spread`] tells equal-cost paths apart. Each is told (`on_sent`, `on_answer`) and asked (`poll`).

pub mod course;
pub mod direction;
pub mod hop;
mod ledger;
pub mod sample;
pub mod search;
#[cfg(test)]
mod simulation;
pub mod spread;
mod verdict;

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::loss::Loss;
use crate::overhead;
use crate::units::{Family, ICMP_HEADER, IpSize, Mono};

pub use verdict::{Limit, Unreachable, Verdict, VerdictName};

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
    /// What to find out.
    pub task: Task,
}

/// What is to be found out of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The largest size that it carries; where larger ones vanish, on which way and between which hops.
    Mtu {
        /// Whether every hop is wanted, whatever the verdict.
        hops: bool,
        /// Whether a row of references is wanted, whatever was lost: the path has lost some lately.
        sample: bool,
    },
    /// The largest outer packet that the network below a tunnel carries to the tunnel's far end, by datagrams that are
    /// encapsulated here. Sizes are those of the outer packet.
    Outer(Encapsulation),
    /// The same by frames for every hardware address: whether the far end takes those where it is silent to the one that
    /// the tunnel's entries name.
    Anyone(Encapsulation),
    /// Whether all equal-cost paths carry the expected size.
    Spread {
        /// How many source ports to try.
        ports: u16,
        /// The tunnel to send through, if the far end answers from inside one: then sizes are outer ones. Else the ports
        /// of the target itself are asked, whose answers its kernel limits in rate.
        encapsulation: Option<Encapsulation>,
    },
}

impl Task {
    /// The kind of task: a path has one of each kind under way at most.
    pub const fn kind(self) -> TaskKind {
        match self {
            Self::Mtu { .. } => TaskKind::Mtu,
            Self::Outer(_) => TaskKind::Outer,
            Self::Anyone(_) => TaskKind::Anyone,
            Self::Spread { .. } => TaskKind::Spread,
        }
    }

    /// How its probes are encapsulated, where they are.
    pub const fn encapsulation(self) -> Option<Encapsulation> {
        match self {
            Self::Mtu { .. } | Self::Spread { encapsulation: None, .. } => None,
            Self::Outer(encapsulation)
            | Self::Anyone(encapsulation)
            | Self::Spread { encapsulation: Some(encapsulation), .. } => Some(encapsulation),
        }
    }
}

/// Kinds of [`Task`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// [`Task::Mtu`].
    Mtu,
    /// [`Task::Outer`].
    Outer,
    /// [`Task::Anyone`].
    Anyone,
    /// [`Task::Spread`].
    Spread,
}

/// All that it takes to encapsulate a packet as a tunnel device would (RFC 7348 §5). The far end's kernel takes it out,
/// and answers what is inside through its own tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// Far end: outer destination address.
    pub vtep: IpAddr,
    /// Outer UDP destination port.
    pub port: u16,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Hardware address of the tunnel device here.
    pub from_mac: [u8; 6],
    /// Hardware address of the tunnel device there.
    pub to_mac: [u8; 6],
    /// Inner source address: this machine's on the tunnel.
    pub inner_from: IpAddr,
    /// Inner destination address: the peer's on the tunnel. It is the address that answers.
    pub inner_to: IpAddr,
}

impl Encapsulation {
    /// The same frame for every hardware address (`ff:ff:ff:ff:ff:ff`). A far end that has the inner address answers it
    /// whatever its own hardware address is, unless its `drop_unicast_in_l2_multicast` is set.
    #[must_use]
    pub const fn for_anyone(self) -> Self {
        Self { to_mac: [0xff; 6], ..self }
    }

    /// Bytes of an outer packet around an inner payload of none: all headers, the inner ICMP or UDP header among them.
    pub const fn least(self) -> IpSize {
        let outer = overhead::vxlan(Family::of(self.vtep));
        IpSize::new(outer + Family::of(self.inner_to).header() + ICMP_HEADER)
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// What carries the size.
    pub carrier: Carrier,
    /// IP packet size, header included.
    pub size: IpSize,
    /// Hops that it may take; as many as it needs where none is said.
    pub ttl: Option<u8>,
}

impl Probe {
    /// A probe that may take as many hops as it needs.
    pub const fn new(carrier: Carrier, size: IpSize) -> Self {
        Self { carrier, size, ttl: None }
    }
}

/// Kinds of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// ICMP echo request: the answer is as large as the probe.
    Echo,
    /// ICMP timestamp request (RFC 792), padded: the answer is 40 bytes however large the probe, so its loss is one on
    /// the way there. IPv4 only.
    Timestamp,
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
    /// UDP datagram from a source port of choice to [`spread::PORT`], which nobody listens on: routers that spread
    /// flows over equal-cost paths choose by it.
    Sweep {
        /// Source port, counted from the first of those that are this process's.
        source: u16,
    },
    /// A packet that asks for an answer, encapsulated as the tunnel device would, with DF on the outside, from a source
    /// port of choice.
    Vxlan {
        /// Source port, counted from the first of those that are this process's.
        source: u16,
    },
}

/// How many source ports there are to choose from. One more is this process's, for what needs none of its own: together
/// a block that starts at a multiple of its length.
pub const SOURCES: u16 = 511;

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answered by the target.
    Carried {
        /// From sending to the answer, where it is known.
        round_trip: Option<Duration>,
        /// The largest fragment, if the answer came in fragments: a hop on the way back carries no larger packet.
        fragment: Option<IpSize>,
    },
    /// A hop says that the packet is too big: a hint, not a verdict.
    TooBig {
        /// Who says so.
        by: IpAddr,
        /// The next-hop MTU that it reports, already less any tunnel overhead; `None` if it reports none.
        mtu: Option<IpSize>,
    },
    /// The probe had no hops left (time exceeded): this hop saw it, in its whole size.
    Expired {
        /// The hop.
        by: IpAddr,
        /// From sending to the answer, where it is known.
        round_trip: Option<Duration>,
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

/// One of the two ways of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From here to the peer.
    Forward,
    /// From the peer to here.
    Reverse,
}

/// A hop, by its distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HopAt {
    /// Hops from here; 1 is the first router, or the target where there is none.
    pub ttl: u8,
    /// Its address; absent if it says nothing when a packet ends there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<IpAddr>,
}

/// Where sizes vanish: behind one hop and before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hole {
    /// The last hop that saw the size; absent if no hop did: then it vanishes between this machine and the first one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<HopAt>,
    /// The first hop that saw a small packet and not the size.
    pub before: HopAt,
}

/// What was seen of one hop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HopRow {
    /// Hops from here.
    pub ttl: u8,
    /// Its address; absent if it says nothing when a packet ends there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<IpAddr>,
    /// Another address that answered there: equal-cost paths.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub also: Option<IpAddr>,
    /// The shortest time from sending to its answer, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub round_trip_seconds: Option<f64>,
    /// The largest size that it saw; absent if it answered none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carried: Option<IpSize>,
    /// Whether it is the target itself.
    pub target: bool,
}

/// What a finished measurement of one path yields.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The verdict.
    pub verdict: Verdict,
    /// The largest size that was seen to arrive there; `None` where nothing tells the ways apart.
    pub forward: Option<IpSize>,
    /// The largest size that was seen to come back whole, which is a lower bound where no larger one was sent back;
    /// `None` where nothing tells the ways apart.
    pub reverse: Option<IpSize>,
    /// On which way larger sizes vanish, where that is known.
    pub way: Option<Way>,
    /// Between which hops larger sizes vanish, where that is known.
    pub hole: Option<Hole>,
    /// The hops, where they were looked at.
    pub hops: Vec<HopRow>,
    /// The smallest round trip of a small probe.
    pub round_trip: Option<Duration>,
    /// Packets that left for this measurement, rows of references that sample its loss left out.
    pub sent: u32,
    /// References that left to sample its loss.
    pub sampled: u32,
    /// Reference probes sent and lost (small and full-size ones that decided nothing but reachability).
    pub reference_sent: u32,
    /// Of those, how many were lost.
    pub reference_lost: u32,
    /// When it was finished.
    pub at: Mono,
    /// When a closed tunnel port was told of last, where the verdict says that it is closed.
    pub refused: Option<Mono>,
}

impl Measured {
    /// Packets that left for it, whatever for.
    pub const fn packets(&self) -> u32 {
        self.sent + self.sampled
    }

    /// References sent and lost.
    pub const fn references(&self) -> Loss {
        Loss { sent: self.reference_sent, lost: self.reference_lost }
    }

    /// A verdict, and nothing else known.
    pub const fn new(verdict: Verdict, at: Mono) -> Self {
        Self {
            verdict,
            forward: None,
            reverse: None,
            way: None,
            hole: None,
            hops: Vec::new(),
            round_trip: None,
            sent: 0,
            sampled: 0,
            reference_sent: 0,
            reference_lost: 0,
            at,
            refused: None,
        }
    }
}

/// What a finished task yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Learned {
    /// Of [`Task::Mtu`].
    Mtu(Box<Measured>),
    /// Of [`Task::Outer`], in sizes of the outer packet.
    Outer(Box<Measured>),
    /// Of [`Task::Anyone`], in the same sizes.
    Anyone(Box<Measured>),
    /// Of [`Task::Spread`].
    Spread(Box<spread::Swept>),
}

/// What a stage wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<T> {
    /// Send this probe now.
    Send(Probe),
    /// Nothing to do before this time, unless an answer comes.
    Wait(Mono),
    /// Finished.
    Done(Box<T>),
}
