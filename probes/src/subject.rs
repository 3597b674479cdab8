//! What a finding is about. Hold-down, silencing, series and `since` hang on it.

use std::fmt;

use crate::path::{PathKey, Plane};
use crate::units::Family;

/// What a finding is about. Stable across recreated links and renumbered peers: never an index or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A link, by name.
    Link(String),
    /// All pod links of the machine.
    Pods,
    /// A kernel setting, by name.
    Setting(&'static str),
    /// A kernel setting that somebody wants to have a value, by its whole key.
    Sysctl(String),
    /// A counter or table of the machine's kernel, by name.
    Counter(&'static str),
    /// A source of peers, by name.
    Source(&'static str),
    /// A path to a peer.
    Path {
        /// The peer's name.
        peer: String,
        /// The network that is crossed.
        plane: Plane,
        /// Address family.
        family: Family,
    },
}

impl Subject {
    /// The subject of a path.
    pub fn path(key: &PathKey) -> Self {
        Self::Path { peer: key.peer.clone(), plane: key.plane, family: key.family() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => f.write_str(name),
            Self::Pods => f.write_str("pods"),
            Self::Setting(name) | Self::Counter(name) | Self::Source(name) => f.write_str(name),
            Self::Sysctl(key) => f.write_str(key),
            Self::Path { peer, .. } => f.write_str(peer),
        }
    }
}
