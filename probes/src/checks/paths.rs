//! Paths: what was measured on the way to a peer.
//!
//! A peer may have several addresses on a plane (its pods). They share one subject, so the worst of them is raised, and
//! an address that could not be measured counts only where none of the others is at fault.

pub mod fit;
pub mod path_black_hole;
pub mod path_ecmp_mtu;
pub mod path_limited;
pub mod path_lossy;
pub mod path_mtu_asymmetric;
pub mod path_mtu_cache_stale;
pub mod peer_unreachable;

pub use path_black_hole::PathBlackHole;
pub use path_ecmp_mtu::PathEcmpMtu;
pub use path_limited::PathLimited;
pub use path_lossy::PathLossy;
pub use path_mtu_asymmetric::PathMtuAsymmetric;
pub use path_mtu_cache_stale::PathMtuCacheStale;
pub use peer_unreachable::PeerUnreachable;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::checks::{Causes, Judgement, Raised};
use crate::fact::{Reason, Source, Unread};
use crate::path::{PathKey, Plane, Verdict};
use crate::report::Severity;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::IpSize;

/// One path under judgement.
pub(super) struct Case<'a> {
    pub(super) key: &'a PathKey,
    pub(super) path: &'a Path,
    pub(super) verdict: &'a Verdict,
}

/// Judges every path of these planes; of several addresses of a peer, the one that carries least.
///
/// # Errors
/// If there is no path at all: no peer is known.
pub(super) fn judge_each<E>(
    node: &Snapshot,
    planes: &[Plane],
    rule: impl Fn(&Case<'_>) -> Option<(Severity, E)>,
) -> Result<Judgement<E>, Unread> {
    try_each(node, planes, |case| Ok(rule(case)))
}

/// As [`judge_each`], for a rule that may lack something that it needs to judge a path that was measured.
///
/// # Errors
/// As [`judge_each`].
pub(super) fn try_each<E>(
    node: &Snapshot,
    planes: &[Plane],
    rule: impl Fn(&Case<'_>) -> Result<Option<(Severity, E)>, Unread>,
) -> Result<Judgement<E>, Unread> {
    some_peer(node)?;
    let mut worst: BTreeMap<Subject, (Option<IpSize>, Severity, E)> = BTreeMap::new();
    let mut unread = BTreeMap::new();
    for (key, path) in node.paths.iter().filter(|(key, _)| planes.contains(&key.plane)) {
        let subject = Subject::path(key);
        let judged = path.verdict().and_then(|verdict| Ok((verdict, rule(&Case { key, path, verdict })?)));
        match judged {
            Err(why) => drop(unread.insert(subject, why)),
            Ok((_, None)) => {}
            Ok((verdict, Some((severity, evidence)))) => {
                let carries = verdict.path_mtu();
                if worst.get(&subject).is_none_or(|(least, ..)| carries < *least) {
                    worst.insert(subject, (carries, severity, evidence));
                }
            }
        }
    }
    unread.retain(|subject, _| !worst.contains_key(subject));
    let raised = worst.into_iter().map(|(subject, (_, severity, evidence))| Raised {
        subject,
        severity,
        evidence,
        breaks: Vec::new(),
        causes: Causes::All,
    });
    Ok(Judgement { raised: raised.collect(), unread: unread.into_iter().collect(), ..Judgement::default() })
}

/// # Errors
/// If no peer is known: then no path can be judged.
pub(super) fn some_peer(node: &Snapshot) -> Result<(), Unread> {
    if !node.paths.is_empty() {
        return Ok(());
    }
    let why = "no peer is known: name one with --peer or in the configuration".into();
    Err(Unread::new(Source::Probes, Reason::Unsupported { why }))
}

/// This node's address on a path, as the route chooses it.
pub(super) fn source_of(node: &Snapshot, key: &PathKey) -> Option<IpAddr> {
    node.lookups.get(&key.address)?.known()?.source
}

/// The tunnel that a path goes through, and what it adds.
pub(super) fn tunnel_of(node: &Snapshot, path: &Path) -> Option<(String, u32)> {
    let mut tunnels = path.via.iter().filter_map(|&link| node.topology.tunnel(link));
    let tunnel = tunnels.find(|tunnel| !tunnel.external)?;
    Some((tunnel.name.clone(), tunnel.overhead?))
}

/// The tunnel over an underlay path by which pods reach the peer.
pub(super) fn tunnel_over(node: &Snapshot, below: &PathKey) -> Option<(String, u32)> {
    let inside = node.paths.iter().filter(|(key, _)| key.peer == below.peer && key.plane != Plane::Underlay);
    let mut carried = inside.filter(|(key, _)| node.family_below(key) == below.family());
    carried.find_map(|(_, path)| tunnel_of(node, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole, no_right};

    fn carried(example: &Example) -> Judgement<IpSize> {
        judge_each(&example.snapshot(), &[Plane::Pod], |case| match case.verdict {
            Verdict::BlackHole { carries, .. } => Some((Severity::Critical, *carries)),
            _ => None,
        })
        .unwrap()
    }

    fn several_pods() -> Example {
        Example::reference().behind_tunnel("master-2", "vxlan.calico", "10.244.2.0", &["10.244.2.2", "10.244.2.3"])
    }

    #[test]
    fn several_pods_of_a_peer_are_one_finding() {
        let judgement = carried(&several_pods().verdict("master-2", Plane::Pod, black_hole(1400)));
        assert_eq!(judgement.raised.len(), 1);
        assert_eq!(judgement.raised[0].subject.to_string(), "master-2");
    }

    #[test]
    fn a_peer_that_was_not_measured_is_not_concluded_while_others_are() {
        let node = Example::reference().unmeasured("master-2", Plane::Pod, no_right()).verdict(
            "master-3",
            Plane::Pod,
            black_hole(1300),
        );
        let judgement = carried(&node);
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (1, 1));
        assert_eq!(judgement.unread[0].1, no_right());
    }

    #[test]
    fn without_a_peer_nothing_is_concluded() {
        let why = some_peer(&Example::reference().alone().snapshot()).unwrap_err();
        assert!(why.to_string().contains("--peer"), "{why}");
    }
}
