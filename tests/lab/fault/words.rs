//! The words that faults are told in.

use serde::Deserialize;

/// Which of a peer's addresses is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// The node's.
    #[default]
    Underlay,
    /// The tunnel's.
    Overlay,
    /// The pod's.
    Pod,
}

/// A direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Both.
    #[default]
    Both,
    /// Away from node 0, or to the node that is named.
    There,
    /// The other.
    Back,
}

/// What becomes of packets that are too large for a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// The router before it cuts those that may be cut, and sends Frag Needed or Packet Too Big for the others.
    #[default]
    Told,
    /// The same, but its Frag Needed and Packet Too Big are filtered.
    Muted,
    /// All of them vanish, as where two ends of a wire disagree: no router is asked.
    Lost,
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// All of IP.
    #[default]
    All,
    /// ICMP of both families.
    Icmp,
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

impl Traffic {
    /// How a filter matches it.
    pub(super) const fn matching(self) -> &'static str {
        match self {
            Self::All => "meta protocol { ip, ip6 }",
            Self::Icmp => "meta l4proto { icmp, ipv6-icmp }",
            Self::Udp => "meta l4proto udp",
            Self::Tcp => "meta l4proto tcp",
        }
    }
}

impl Way {
    /// Whether a direction is meant.
    pub(super) const fn is(self, there: bool) -> bool {
        matches!((self, there), (Self::Both, _) | (Self::There, true) | (Self::Back, false))
    }
}
