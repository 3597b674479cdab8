//! A path that carries less than it should, and says so.
//!
//! Every size that was lost was answered by "fragmentation needed" or refused by a local link, so senders that listen
//! adapt: a warning. It hurts those that do not, and it is one lost ICMP message away from a black hole. As the cause
//! of something critical (a tunnel whose packets the same hop cannot take) it counts as critical itself.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::FragmentationFailing;
use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath, OverlayTransferStalls};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::path::{Limit, PathKey, Plane, Verdict};
use crate::remedy::{Fix, Lost};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::fit::{BLACK_HOLE, Fit, LIMITED, or_shrink, outer};
use super::{Case, judge_each};

/// The rule.
#[derive(Debug)]
pub struct PathLimited;

/// What the path carries, and who says so.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// The address that was probed.
    pub address: IpAddr,
    /// The largest size confirmed to pass, IP header included.
    pub carries: IpSize,
    /// What the path should carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<IpSize>,
    /// Whether the limit is a link or route of this machine.
    pub local: bool,
    /// The hop that signals, with the MTU that it reports.
    pub limited_by: Limit,
    /// Path MTU that the kernel has cached, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<IpSize>,
    /// The tunnel by which pods reach this peer, and the MTU that would fit it to the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Fit>,
}

impl Check for PathLimited {
    const ENTRY: Entry = Entry {
        code: LIMITED,
        area: Area::Paths,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "each lost size was answered by \"fragmentation needed\", or refused by a local link",
            "it is the cause of something critical: a tunnel's packets are dropped there",
        ],
        title: "path carries less than expected",
        meaning: "A hop or a link of this machine takes only smaller packets and says so. Senders that obey lose some \
                  speed; those that never hear of it, because a filter or a tunnel is in between, hang.",
        quiet: "a path that carries what its route says; a smaller route `mtu` is what is expected",
        look: &[
            Look { run: "mtuscope probe ADDRESS", see: "`limited by`: who says so, and what it takes" },
            Look { run: "tracepath -n ADDRESS", see: "`pmtu` falls at the hop that is too small" },
            Look { run: "ip route get ADDRESS", see: "`mtu` or `cache expires … mtu`: the kernel knows it" },
            Look { run: "ip route show cache", see: "the same for every destination that it learned of" },
        ],
        metrics: &["mtuscope_path_mtu_bytes < mtuscope_path_expected_mtu_bytes", "mtuscope_paths{verdict=\"limited\"}"],
        class: Class::Overhead,
        silences: &[
            LIMITED,
            BLACK_HOLE,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            FragmentationFailing::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePathLimited", minutes: 2 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        judge_each(node, &Plane::ALL, |case| Some((Severity::Warning, evidence(node, case)?)))
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, carries, expected, limited_by, .. } = evidence;
        let of = expected.map(|expected| format!(" of the expected {expected} B")).unwrap_or_default();
        let who = match limited_by.address {
            Some(hop) => format!("hop {hop}"),
            None => "a link of this machine".into(),
        };
        let says = match limited_by.reported_mtu {
            Some(mtu) => format!("{who} reports an MTU of {mtu} B"),
            None => format!("{who} refuses larger packets"),
        };
        format!("The {} path to {} carries {carries} B{of}: {says}.", plane.name(), words::at(peer, *address))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { address, carries, expected, limited_by, tunnel, .. } = evidence;
        let carry = Fix::PathCarries {
            to: *address,
            size: expected.unwrap_or(*carries),
            overhead: outer(evidence.plane, tunnel.as_ref()),
            carries: *carries,
            lost: Lost::Told { by: limited_by.address },
        };
        or_shrink(carry, tunnel.as_ref())
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 0, 0, 13]);
        let mtu = IpSize::new(1400);
        let evidence = Evidence {
            peer: "master-3".into(),
            plane: Plane::Underlay,
            address,
            carries: mtu,
            expected: Some(IpSize::new(1500)),
            local: false,
            limited_by: Limit { address: Some(IpAddr::from([10, 0, 0, 1])), reported_mtu: Some(mtu), ttl: None },
            cached: None,
            tunnel: Some(Fit { link: "vxlan.calico".into(), overhead: 50, mtu: LinkMtu::new(1350) }),
        };
        (
            Subject::path(&PathKey { peer: "master-3".into(), plane: Plane::Underlay, address }),
            Severity::Warning,
            evidence,
        )
    }
}

fn evidence(node: &Snapshot, case: &Case<'_>) -> Option<Evidence> {
    let Verdict::Limited { mtu, by } = case.verdict else { return None };
    Some(Evidence {
        peer: case.key.peer.clone(),
        plane: case.key.plane,
        address: case.key.address,
        carries: *mtu,
        expected: case.path.expected,
        local: by.address.is_none(),
        limited_by: *by,
        cached: case.path.cached.map(|cached| cached.mtu),
        tunnel: Fit::new(node, case, *mtu),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole, limited, no_right};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PathLimited::judge(&example.snapshot()).unwrap()
    }

    fn told(hop: Option<&str>) -> String {
        let judgement = judge(&Example::reference().verdict("master-2", Plane::Underlay, limited(1400, hop)));
        let raised = &judgement.raised[0];
        assert_eq!((raised.severity, raised.evidence.local), (Severity::Warning, hop.is_none()));
        PathLimited::summary(&raised.subject, &raised.evidence)
    }

    #[test]
    fn the_hop_is_named() {
        assert_eq!(
            told(Some("10.0.9.1")),
            "The underlay path to master-2 (10.0.0.12) carries 1400 B of the expected 1500 B: hop 10.0.9.1 reports an \
             MTU of 1400 B."
        );
    }

    #[test]
    fn a_local_limit_is_told_from_a_remote_one() {
        assert!(told(None).ends_with("a link of this machine reports an MTU of 1400 B."));
    }

    #[test]
    fn a_clear_path_and_a_silent_loss_are_quiet() {
        assert!(judge(&Example::reference()).raised.is_empty());
        assert!(judge(&Example::reference().verdict("master-2", Plane::Underlay, black_hole(1400))).raised.is_empty());
    }

    #[test]
    fn a_path_that_was_not_measured_is_not_concluded() {
        let judgement = judge(&Example::reference().unmeasured("master-2", Plane::Pod, no_right()));
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    }

    #[test]
    fn silencing_stops_short_of_the_path_itself() {
        let node = Example::reference().snapshot();
        let path = |plane| Subject::Path { peer: "master-2".into(), plane, family: crate::units::Family::Ipv4 };
        assert!(node.carries(&path(Plane::Underlay), &path(Plane::Pod)));
        assert!(!node.carries(&path(Plane::Underlay), &path(Plane::Underlay)));
        assert!(!node.carries(&path(Plane::Pod), &path(Plane::Underlay)));
    }
}
