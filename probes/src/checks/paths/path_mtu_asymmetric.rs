//! A path that carries more on the way there than on the way back.
//!
//! Requests get through and their answers do not, or only in fragments: uploads work and downloads hang, and whoever
//! measures from here alone finds nothing wrong. It takes two sizes that were measured. The one there was seen to arrive.
//! The one back is a lower bound: nothing larger may ever have been sent back. So a way back that is merely *not seen* to
//! carry more proves nothing, and neither does one that was seen to carry as much; what is told is a way back that was
//! seen to carry less, in one of two manners:
//!
//! - an answer as large as its request came in fragments, so a hop there carries no larger packet whole, or the peer's
//!   kernel remembers one that did not;
//! - a size that goes unanswered by an echo, whose answer is as large, is answered where answers are small (ICMP timestamp,
//!   port unreachable): it arrived, and an answer of that size got lost.
//!
//! The second is a black hole on the way back, one incident: [`super::path_black_hole`] is loud there. A peer that filters
//! all that has small answers leaves the ways of a black hole untold; that is not concluded.
//!
//! A device of too small an MTU at the end of a wire does both: it drops what is larger in silence, with room for a VLAN
//! tag to spare, and sends its own packets in fragments that end on a multiple of 8. Sizes so close are one incident, and
//! the black hole's.
//!
//! A hop that does it to the nodes' packets does it to what they carry: then this is as severe as the worst of that.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::overhead::VLAN_HLEN;
use crate::path::{PathKey, Plane, Verdict, Way};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::IpSize;

use super::fit::{ASYMMETRIC, BLACK_HOLE};
use super::{Case, source_of, try_each, tunnel_of};

/// The rule.
#[derive(Debug)]
pub struct PathMtuAsymmetric;

/// Both sizes, and what tells them apart.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// The address that was probed.
    pub address: IpAddr,
    /// The largest size that was seen to arrive there, IP header included.
    pub forward: IpSize,
    /// The largest size that was seen to come back whole.
    pub reverse: IpSize,
    /// The way that carries less.
    pub way: Way,
    /// What tells the ways apart.
    pub told_by: ToldBy,
    /// What the path should carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<IpSize>,
    /// This node's address on the path, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// What the tunnel that is crossed adds on the wire, in bytes; absent where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
}

/// What tells the two ways of a path apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToldBy {
    /// The answer came in fragments.
    FragmentedReply,
    /// A request was answered whose answer is small, and none of that size whose answer is as large.
    SmallAnswer,
}

impl Check for PathMtuAsymmetric {
    const ENTRY: Entry = Entry {
        code: ASYMMETRIC,
        area: Area::Paths,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["the way back was seen to carry less than the way there", "and a tunnel's packets are lost on it"],
        title: "way back carries less than the way there",
        meaning: "What is sent to the peer arrives in full size, what comes back from it is cut into fragments or lost: \
                  uploads work while downloads are slow or hang. Measuring from this side alone does not show it.",
        quiet: "a way back that was merely not seen to carry more; sizes within 8 B of each other, which is how \
                fragments are cut",
        look: &[
            Look { run: "mtuscope probe ADDRESS", see: "forward and reverse MTU differ" },
            Look {
                run: "on the peer: mtuscope probe THIS_NODE",
                see: "the same the other way round: the small way is its forward one",
            },
            Look { run: "on the peer: ip route get THIS_NODE", see: "another link or hop than the way here" },
            Look {
                run: "tcpdump -vni any 'icmp and (ip[6:2] & 0x3fff != 0)'",
                see: "answers come in fragments (`flags [+]`)",
            },
        ],
        metrics: &["mtuscope_path_reverse_mtu_bytes < mtuscope_path_forward_mtu_bytes"],
        class: Class::BlackHole,
        silences: &[ASYMMETRIC, BLACK_HOLE],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePathMtuAsymmetric", minutes: 5 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement =
            try_each(
                node,
                &Plane::ALL,
                |case| Ok(evidence(node, case)?.map(|evidence| (Severity::Warning, evidence))),
            )?;
        for raised in &mut judgement.raised {
            raised.causes = Causes::Named;
            raised.breaks = inside(node, &raised.subject);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, forward, reverse, told_by, .. } = evidence;
        let what = match told_by {
            ToldBy::FragmentedReply => "larger answers come in fragments",
            ToldBy::SmallAnswer => "larger answers vanish",
        };
        format!(
            "The {} path to {} carries {forward} B on the way there and only {reverse} B on the way back: {what}.",
            plane.name(),
            words::at(peer, *address)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { peer, address, forward, told_by, from, overhead, .. } = evidence;
        vec![Fix::WayBackCarries {
            peer: peer.clone(),
            to: *address,
            here: *from,
            size: *forward,
            overhead: overhead.unwrap_or_default(),
            silent: *told_by == ToldBy::SmallAnswer,
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 0, 0, 12]);
        let evidence = Evidence {
            peer: "master-2".into(),
            plane: Plane::Underlay,
            address,
            forward: IpSize::new(1500),
            reverse: IpSize::new(1400),
            way: Way::Reverse,
            told_by: ToldBy::FragmentedReply,
            expected: Some(IpSize::new(1500)),
            from: Some(IpAddr::from([10, 0, 0, 11])),
            overhead: None,
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Underlay, address };
        (Subject::path(&key), Severity::Warning, evidence)
    }
}

fn evidence(node: &Snapshot, case: &Case<'_>) -> Result<Option<Evidence>, Unread> {
    let Some((forward, reverse, told_by)) = ways(case.path, case.verdict)? else { return Ok(None) };
    Ok(Some(Evidence {
        peer: case.key.peer.clone(),
        plane: case.key.plane,
        address: case.key.address,
        forward,
        reverse,
        way: Way::Reverse,
        told_by,
        expected: case.path.expected,
        from: source_of(node, case.key),
        overhead: tunnel_of(node, case.path)
            .map(|(_, overhead)| overhead)
            .filter(|_| case.key.plane != Plane::Underlay),
    }))
}

/// Sizes there and back where less was seen to come back; `None` where that is not so.
///
/// # Errors
/// If larger sizes vanish and nothing tells on which way.
fn ways(path: &Path, verdict: &Verdict) -> Result<Option<(IpSize, IpSize, ToldBy)>, Unread> {
    let Some((measured, carries)) = path.measured.known().zip(verdict.path_mtu()) else { return Ok(None) };
    let (Some(forward), Some(reverse)) = (measured.forward, measured.reverse) else {
        let why = "nothing tells the way there from the way back: the peer answers no request that has a small answer";
        return Err(Unread::new(Source::Probes, Reason::Unsupported { why: why.into() }));
    };
    let told_by = match measured.way {
        _ if reverse < carries => ToldBy::FragmentedReply,
        Some(Way::Reverse) => ToldBy::SmallAnswer,
        _ => return Ok(None),
    };
    let hole_there = matches!(verdict, Verdict::BlackHole { .. }) && measured.way == Some(Way::Forward);
    let one_device = hole_there && forward.less(VLAN_HLEN + FRAGMENT_STEP - 1) <= reverse;
    Ok((reverse < forward && !one_device).then_some((forward, reverse, told_by)))
}

/// Every fragment but the last carries a multiple of 8 B (RFC 791 §3.2, RFC 8200 §4.5).
const FRAGMENT_STEP: u32 = 8;

/// What the same peer's paths further in lose on the way back: the same hop does it.
fn inside(node: &Snapshot, subject: &Subject) -> Vec<Subject> {
    let lost = |path: &Path| {
        let back = path.measured.known().is_some_and(|measured| measured.way == Some(Way::Reverse));
        back || path.verdict().is_ok_and(|verdict| matches!(ways(path, verdict), Ok(Some(_))))
    };
    let paths = node.paths.iter().map(|(key, path)| (Subject::path(key), path));
    paths.filter(|(inner, path)| node.carries(subject, inner) && lost(path)).map(|(inner, _)| inner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Measured;
    use crate::snapshot::example::{Example, black_hole, ip, limited, no_right, silent};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PathMtuAsymmetric::judge(&example.snapshot()).unwrap()
    }

    /// What was seen of the ways.
    fn seen(forward: Option<u32>, reverse: Option<u32>, way: Option<Way>) -> impl Fn(&mut Measured) {
        move |measured| {
            (measured.forward, measured.reverse) = (forward.map(IpSize::new), reverse.map(IpSize::new));
            measured.way = way;
        }
    }

    fn with(verdict: Verdict, seen: impl Fn(&mut Measured)) -> Example {
        let node = Example::reference().verdict("master-2", Plane::Underlay, verdict);
        node.learned("master-2", Plane::Underlay, seen)
    }

    fn clear() -> Verdict {
        Verdict::Clear { mtu: IpSize::new(1500) }
    }

    #[test]
    fn answers_in_fragments_are_a_warning_that_names_both_sizes() {
        let judgement = judge(&with(clear(), seen(Some(1500), Some(1400), None)));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Warning));
        let Evidence { way, told_by, from, overhead, .. } = raised.evidence;
        assert_eq!((way, told_by, overhead), (Way::Reverse, ToldBy::FragmentedReply, None));
        assert_eq!(from, Some(ip("10.0.0.11")));
        assert_eq!(
            PathMtuAsymmetric::summary(&raised.subject, &raised.evidence),
            "The underlay path to master-2 (10.0.0.12) carries 1500 B on the way there and only 1400 B on the way back: \
             larger answers come in fragments."
        );
    }

    #[test]
    fn one_byte_less_is_told_and_as_much_is_not() {
        assert_eq!(judge(&with(clear(), seen(Some(1500), Some(1499), None))).raised.len(), 1);
        assert!(judge(&with(clear(), seen(Some(1500), Some(1500), None))).raised.is_empty());
    }

    #[test]
    fn what_vanishes_on_the_way_back_is_told_by_small_answers() {
        let node = with(black_hole(1400), seen(Some(1500), Some(1400), Some(Way::Reverse)));
        let evidence = judge(&node).raised.remove(0).evidence;
        assert_eq!((evidence.told_by, evidence.forward), (ToldBy::SmallAnswer, IpSize::new(1500)));
    }

    #[test]
    fn a_bound_that_was_not_exceeded_proves_nothing() {
        let there = with(black_hole(1400), seen(Some(1400), Some(1400), Some(Way::Forward)));
        assert!(judge(&there).raised.is_empty(), "nothing larger arrived there that could have come back");
        let unproven = with(black_hole(1400), seen(Some(1500), Some(1400), None));
        assert!(judge(&unproven).raised.is_empty(), "larger ones vanish, and nothing says on which way");
        let told = with(limited(1400, Some("10.0.0.1")), seen(Some(1400), Some(1400), None));
        assert!(judge(&told).raised.is_empty());
        assert!(judge(&with(clear(), seen(Some(1400), Some(1500), None))).raised.is_empty(), "back is a lower bound");
    }

    /// As Linux 6.1.192 did in `.ci/live`: the peer's NIC at 1,400 takes 1,404 and sends fragments of 1,396.
    #[test]
    fn a_small_device_at_the_far_end_is_one_incident() {
        let hole = |reverse, way| with(black_hole(1404), seen(Some(1404), Some(reverse), Some(way)));
        assert!(judge(&hole(1396, Way::Forward)).raised.is_empty());
        assert!(judge(&hole(1393, Way::Forward)).raised.is_empty());
        assert_eq!(judge(&hole(1392, Way::Forward)).raised.len(), 1, "no device of one MTU does both");
        assert_eq!(judge(&hole(1396, Way::Reverse)).raised.len(), 1, "what is lost on the way back is this rule's");
        let clear = with(clear(), seen(Some(1404), Some(1396), Some(Way::Forward)));
        assert_eq!(judge(&clear).raised.len(), 1, "nothing vanishes there");
    }

    #[test]
    fn a_limited_way_there_may_be_narrower_still_on_the_way_back() {
        let node = with(limited(1400, Some("10.0.0.1")), seen(Some(1400), Some(1300), None));
        assert_eq!(judge(&node).raised.remove(0).evidence.reverse, IpSize::new(1300));
    }

    #[test]
    fn ways_that_nothing_tells_apart_are_not_concluded() {
        let judgement = judge(&with(black_hole(1400), seen(None, None, None)));
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
        assert!(judgement.unread[0].1.to_string().contains("small answer"), "{:?}", judgement.unread);
        let unmeasured = judge(&Example::reference().unmeasured("master-2", Plane::Underlay, no_right()));
        assert_eq!((unmeasured.raised.len(), unmeasured.unread.len()), (0, 1));
        let lost = judge(&Example::reference().verdict("master-2", Plane::Underlay, silent()));
        assert!(lost.raised.is_empty() && lost.unread.is_empty(), "a peer that is lost is another code's matter");
    }

    #[test]
    fn ipv6_is_told_by_fragments_alone() {
        let node = Example::dual("fd00::12").verdict("master-2", Plane::Underlay, clear());
        let node = node.learned("master-2", Plane::Underlay, seen(Some(1500), Some(1400), None));
        let raised = judge(&node).raised.remove(0);
        assert_eq!(raised.evidence.from, Some(ip("fd00::11")));
        let summary = PathMtuAsymmetric::summary(&raised.subject, &raised.evidence);
        assert!(summary.starts_with("The underlay path to master-2 (fd00::12) carries 1500 B"), "{summary}");
    }

    #[test]
    fn it_breaks_what_is_lost_on_the_same_way_further_in_and_nothing_else() {
        let asymmetric = || with(clear(), seen(Some(1500), Some(1400), None));
        let inside = |way| {
            let node = asymmetric().verdict("master-2", Plane::Overlay, black_hole(1350));
            let node = node.learned("master-2", Plane::Overlay, seen(Some(1450), Some(1350), Some(way)));
            judge(&node).raised.into_iter().map(|raised| raised.breaks.len()).max().unwrap()
        };
        assert_eq!((inside(Way::Reverse), inside(Way::Forward)), (1, 0));
    }
}
