//! Where a pod network is broken, by what answers of one peer and what does not.
//!
//! Four things are asked: the node's address (U), the address of its tunnel (T), a pod (P), and the tunnel's address again
//! by a packet that is encapsulated here (S), which needs neither route nor entries of this node's tunnel. Measured on a
//! real kernel:
//!
//! | what is broken | U | T | P | S |
//! |---|---|---|---|---|
//! | nothing | answers | answers | answers | answers |
//! | this node's entries: forwarding, neighbour | answers | silent | silent | answers |
//! | this node's route to the peer's pods | answers | refused by a router, or silent | the same | answers |
//! | the tunnel's port on the way, or the peer's entries for this node | answers | silent | silent | silent |
//! | what the peer does with packets for pods, or the pod | answers | answers | silent | answers |
//!
//! A peer whose node does not answer is located by nothing of this. Where nothing shows S to work – it was not asked, or
//! this node is seen to take its answers – it counts for nothing, and only what the others show is told.

use schemars::JsonSchema;
use serde::Serialize;

use super::below;
use crate::fact::Fact;
use crate::path::{PathKey, Plane, Refusal, Unreachable, Verdict};
use crate::snapshot::{Path, Snapshot};
use crate::units::Family;

/// What answers of one peer, in one family of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Signature {
    /// The node's address that the tunnel leads to, whatever family it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<Told>,
    /// The tunnel's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<Told>,
    /// Its pods: one that answers counts for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Told>,
    /// The tunnel's address, asked by a packet that is encapsulated here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer: Option<Told>,
}

/// What became of what was asked. Absent where nothing was, or nothing could be concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is answered, in some size.
    Answers,
    /// A router knows no way there.
    NoRoute,
    /// The peer has no such tunnel port.
    PortClosed,
    /// Somebody refuses it for another reason.
    Refused,
    /// This node does not send it, or answers itself that its neighbour does not resolve.
    NotSent,
    /// Nothing comes back.
    Silent,
}

/// Where the fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Located {
    /// On this node: an entry of the tunnel, or the tunnel device.
    LocalEntry,
    /// On this node: the route to the peer's tunnel address or pods.
    LocalRoute,
    /// On the way or on the peer: the tunnel's port, or the peer's entries for this node.
    PortOrRemoteEntry,
    /// On the peer: forwarding, its route to the pod, or the pod.
    RemoteForwarding,
    /// What answers does not tell.
    Unknown,
}

impl Told {
    fn of(node: &Snapshot, verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Clear { .. } | Verdict::Limited { .. } | Verdict::BlackHole { .. } => Some(Self::Answers),
            Verdict::Unknown { .. } => None,
            Verdict::Unreachable { why } => Some(Self::lost(node, *why)),
        }
    }

    /// What came back from what does not answer.
    pub(super) fn lost(node: &Snapshot, why: Unreachable) -> Self {
        match why {
            Unreachable::Silent => Self::Silent,
            Unreachable::NotSent { .. } => Self::NotSent,
            Unreachable::Refused { by, why } => match why {
                Refusal::TunnelPortUnreachable => Self::PortClosed,
                _ if node.tables.is_own(by) => Self::NotSent,
                Refusal::NetworkUnreachable | Refusal::HostUnreachable | Refusal::TtlExceeded => Self::NoRoute,
                _ => Self::Refused,
            },
        }
    }
}

impl Signature {
    /// What answers of a peer, in one family.
    pub(super) fn of(node: &Snapshot, peer: &str, family: Family) -> Self {
        let told = |path: &Path| Told::of(node, &path.measured.known()?.verdict);
        let outer = |path: &Path| Told::of(node, &path.outer.known()?.verdict);
        let paths = |plane| node.paths_to(peer, plane, family).map(|(_, path)| path);
        let hidden = below::answers_are_hidden(node);
        let inside = || node.paths_to(peer, Plane::Overlay, family).chain(node.paths_to(peer, Plane::Pod, family));
        let below = inside().next().and_then(|(key, _)| underlay(node, key));
        Self {
            underlay: below.and_then(|(_, path)| told(path)),
            overlay: paths(Plane::Overlay).find_map(told),
            pod: paths(Plane::Pod).filter_map(told).min(),
            outer: paths(Plane::Overlay).find_map(outer).filter(|outer| *outer == Told::Answers || !hidden),
        }
    }

    /// Where what does not deliver is broken. `routed`: whether this node's route leads into the tunnel, where it was read.
    pub(super) const fn tunnel(self, routed: Option<bool>) -> Located {
        let Some(Told::Answers) = self.underlay else { return Located::Unknown };
        match (routed, self.overlay, self.outer) {
            (_, None | Some(Told::Answers), _) => Located::Unknown,
            (_, Some(Told::PortClosed), _) => Located::PortOrRemoteEntry,
            (Some(false), ..) | (None, Some(Told::NoRoute), _) => Located::LocalRoute,
            (_, Some(Told::Silent | Told::NotSent), Some(Told::Answers)) => Located::LocalEntry,
            (_, Some(Told::NotSent), _) => Located::LocalEntry,
            (_, Some(Told::Silent), Some(Told::Silent | Told::PortClosed)) => Located::PortOrRemoteEntry,
            _ => Located::Unknown,
        }
    }

    /// Where pods that do not answer are lost. `routed`: whether this node's route to them leads into the tunnel, where it
    /// was read; whoever refuses what went in there is beyond it.
    pub(super) const fn pods(self, routed: Option<bool>) -> Located {
        match (routed, self.overlay, self.pod) {
            (_, None, _) => Located::Unknown,
            (Some(false), Some(Told::Answers), _) | (None, Some(Told::Answers), Some(Told::NoRoute)) => {
                Located::LocalRoute
            }
            (_, Some(Told::Answers), _) => Located::RemoteForwarding,
            (_, Some(_), _) => self.tunnel(routed),
        }
    }

    /// Where pods that do not answer are lost whose packets are handed to the node itself.
    pub(super) const fn without_tunnel(self) -> Located {
        match self.underlay {
            Some(Told::Answers) => Located::RemoteForwarding,
            _ => Located::Unknown,
        }
    }
}

/// Whether the route to an address leads into a tunnel; `None` where it was not read.
pub(super) fn is_routed(node: &Snapshot, key: &PathKey, path: &Path) -> Option<bool> {
    let tunnelled = path.via.iter().any(|&link| node.topology.tunnel(link).is_some());
    match node.lookups.get(&key.address)? {
        Fact::Known(_) => Some(tunnelled),
        Fact::Absent => Some(false),
        Fact::Unread(_) => None,
    }
}

/// The path to the node address below another path; to another one of the peer's where that is not measured, which
/// shows at least whether the node is there.
pub(super) fn underlay<'a>(node: &'a Snapshot, key: &PathKey) -> Option<(&'a PathKey, &'a Path)> {
    node.below(key).or_else(|| node.underlay_paths(&key.peer).next())
}

#[cfg(test)]
mod tests;
