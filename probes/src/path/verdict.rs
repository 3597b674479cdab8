//! What is said of a path in the end.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NotSent, Refusal};
use crate::units::IpSize;

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
