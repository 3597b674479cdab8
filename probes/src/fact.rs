//! What was read, what is absent, and what could not be looked at.
//!
//! "Could not look" is a value from the first reader on, and it freezes: it neither raises a finding nor clears one.
//! An empty list is only ever the kernel's own word that there is nothing.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// One fact about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// Read, and this is its value.
    Known(T),
    /// Read, and the machine has no such thing.
    Absent,
    /// Could not be read.
    Unread(Unread),
}

impl<T> Fact<T> {
    /// The value, `None` if the machine has none, or why it could not be read.
    pub fn read(&self) -> Result<Option<&T>, Unread> {
        match self {
            Self::Known(value) => Ok(Some(value)),
            Self::Absent => Ok(None),
            Self::Unread(unread) => Err(unread.clone()),
        }
    }

    /// The value where it is known.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unread(_) => None,
        }
    }

    /// The fact made from the value where it is known.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(change(value)),
            Self::Absent => Fact::Absent,
            Self::Unread(unread) => Fact::Unread(unread),
        }
    }
}

impl<T> From<Result<T, Unread>> for Fact<T> {
    fn from(result: Result<T, Unread>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(unread) => Self::Unread(unread),
        }
    }
}

/// Where facts come from. One failing source never hides another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `RTM_GETLINK`: devices, their settings and tunnels.
    Links,
    /// `RTM_GETADDR`.
    Addresses,
    /// `RTM_GETROUTE`, every table.
    Routes,
    /// `RTM_GETROUTE` with `RTM_F_CLONED`: path MTUs that the kernel has cached.
    Exceptions,
    /// `RTM_GETROUTE` for one destination.
    Lookup,
    /// `RTM_GETNEIGH`.
    Neighbours,
    /// `RTM_GETNEIGHTBL`: how full the neighbour tables are, and their limits.
    NeighbourTables,
    /// `RTM_GETNEIGH` of family `AF_BRIDGE`.
    Fdb,
    /// `RTM_GETLINK` with `IFLA_TARGET_NETNSID`: the pods' ends of their links.
    PodEnds,
    /// Features and queues of devices, by ethtool netlink.
    Ethtool,
    /// Files below `/proc/sys/net`.
    Settings,
    /// Files of settings: `/etc/sysctl.d` and its like.
    SysctlFiles,
    /// Files of the host that declare something: CNI configuration, static pods, flags of the kubelet.
    HostFiles,
    /// Counters and sockets: files below `/proc/net`.
    Counters,
    /// Multicast messages that tell of changes between readings.
    Events,
    /// Probe packets.
    Probes,
    /// EndpointSlices of the agents' Services, from the Kubernetes API.
    Kubernetes,
    /// What peers' agents say of their nodes.
    Agents,
}

impl Source {
    /// Every source whose health is told, in the order of the report. What other agents say is asked of so many that one
    /// that does not answer says nothing of the source.
    pub const ALL: [Self; 17] = [
        Self::Links,
        Self::Addresses,
        Self::Routes,
        Self::Exceptions,
        Self::Lookup,
        Self::Neighbours,
        Self::NeighbourTables,
        Self::Fdb,
        Self::PodEnds,
        Self::Ethtool,
        Self::Settings,
        Self::SysctlFiles,
        Self::HostFiles,
        Self::Counters,
        Self::Events,
        Self::Probes,
        Self::Kubernetes,
    ];

    /// The name used in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
            Self::Exceptions => "exceptions",
            Self::Lookup => "lookup",
            Self::Neighbours => "neighbours",
            Self::NeighbourTables => "neighbour_tables",
            Self::Fdb => "fdb",
            Self::PodEnds => "pod_ends",
            Self::Ethtool => "ethtool",
            Self::Settings => "settings",
            Self::SysctlFiles => "sysctl_files",
            Self::HostFiles => "host_files",
            Self::Counters => "counters",
            Self::Events => "events",
            Self::Probes => "probes",
            Self::Kubernetes => "kubernetes",
            Self::Agents => "agents",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A source that could not be looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What was to be read.
    pub source: Source,
    /// Why it was not.
    pub reason: Reason,
}

impl Unread {
    /// `source` could not be read for `reason`.
    pub const fn new(source: Source, reason: Reason) -> Self {
        Self { source, reason }
    }

    /// Whether something went wrong, rather than that looking was not allowed or is not possible here. What rests on it is
    /// not concluded either way.
    pub const fn is_failure(&self) -> bool {
        match self.reason {
            Reason::Denied { .. } | Reason::Unsupported { .. } => false,
            Reason::Failed { .. } | Reason::Malformed { .. } | Reason::NotYet => true,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The process lacks a right; `needs` names it, as in `CAP_NET_RAW`.
    Denied {
        /// The capability or permission that is missing.
        needs: String,
    },
    /// The kernel refused; `what` names operation, object and error.
    Failed {
        /// Operation, object and the kernel's error, in words.
        what: String,
    },
    /// Bytes or text that do not mean what they should.
    Malformed {
        /// What was found and where.
        what: String,
    },
    /// Not asked for yet.
    NotYet,
    /// Known not to be knowable here.
    Unsupported {
        /// Why this machine or kernel cannot tell.
        why: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { needs } => write!(f, "denied, needs {needs}"),
            Self::Failed { what } => f.write_str(what),
            Self::Malformed { what } => write!(f, "malformed: {what}"),
            Self::NotYet => f.write_str("not read yet"),
            Self::Unsupported { why } => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Unread {
        Unread::new(Source::Links, Reason::Denied { needs: "CAP_NET_ADMIN".into() })
    }

    #[test]
    fn unread_is_told_from_absent() {
        assert_eq!(Fact::<u8>::Absent.read(), Ok(None));
        assert_eq!(Fact::Known(1).read(), Ok(Some(&1)));
        assert_eq!(Fact::<u8>::Unread(denied()).read(), Err(denied()));
    }

    #[test]
    fn the_missing_right_is_named() {
        assert_eq!(denied().to_string(), "links: denied, needs CAP_NET_ADMIN");
    }
}
