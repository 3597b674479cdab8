//! A path on which larger packets vanish in silence.
//!
//! The prober has confirmed the edge: the largest size that is answered and the next one that is not, while small
//! packets pass. No sender can adapt, because nobody tells it. Linux drops at a veth or bridge only what is 4 bytes
//! above the MTU (room for a VLAN tag), so a carried size of 1504 is most likely a device of MTU 1500; the evidence
//! names that device MTU and the remedy counts with it.
//!
//! Where packets get lost is told as far as it was measured: on which way, and behind which hop. Lost on the way back, it
//! is the same incident as an asymmetric path: this is the louder half, and silences the other.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath, OverlayTransferStalls};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::overhead::likely_device_mtu;
use crate::path::{Hole, HopAt, Limit, PathKey, Plane, Verdict, Way};
use crate::remedy::{Fix, Lost};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::fit::{ASYMMETRIC, BLACK_HOLE, Fit, LIMITED, or_shrink, outer};
use super::{Case, judge_each, source_of, tunnel_of};

/// The rule.
#[derive(Debug)]
pub struct PathBlackHole;

/// The edge that was confirmed.
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
    /// The smallest size confirmed to vanish.
    pub drops: IpSize,
    /// What the path should carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<IpSize>,
    /// On which way larger packets vanish, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// Between which hops they vanish, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole: Option<Hole>,
    /// This node's address on the path, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// A hop before it that does signal, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<Limit>,
    /// Path MTU that the kernel has cached, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<IpSize>,
    /// A usual device MTU exactly 4 bytes below the largest packet on the wire (`carries` and, through a tunnel, its
    /// headers): a veth or bridge on the way lets those through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely_device_mtu: Option<LinkMtu>,
    /// The tunnel by which pods reach this peer, and the MTU that would fit it to the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Fit>,
}

impl Check for PathBlackHole {
    const ENTRY: Entry = Entry {
        code: BLACK_HOLE,
        area: Area::Paths,
        severities: &[Severity::Critical],
        when: &["small packets are answered, larger ones at least three times not, and no error came"],
        title: "large packets vanish in silence",
        meaning: "Small packets to the peer arrive, larger ones are lost and nobody says so. Handshakes and pings work \
                  while transfers hang.",
        quiet: "one lost packet proves nothing: the edge is confirmed, in as many rounds as configured; a size that a \
                hop refuses aloud is `path-limited`",
        look: &[
            Look {
                run: "mtuscope probe ADDRESS",
                see: "the size that passes, and the hop or the way on which larger ones are lost",
            },
            Look {
                run: "ping -M do -s SIZE ADDRESS",
                see: "answers at SIZE - 28 and below (ICMP and IP headers), silence above, no `Frag needed`",
            },
            Look { run: "ip -s link", see: "`dropped` rises on the link that is too small; a bridge counts nothing" },
            Look { run: "nft list ruleset", see: "a rule that drops ICMP type 3 code 4, or ICMPv6 type 2" },
        ],
        metrics: &[
            "mtuscope_path_mtu_bytes < mtuscope_path_expected_mtu_bytes",
            "mtuscope_paths{verdict=\"black_hole\"}",
        ],
        class: Class::BlackHole,
        silences: &[
            BLACK_HOLE,
            LIMITED,
            ASYMMETRIC,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePathBlackHole", minutes: 2 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = judge_each(node, &Plane::ALL, |case| Some((Severity::Critical, evidence(node, case)?)))?;
        let back = judgement.raised.iter_mut().filter(|raised| raised.evidence.way == Some(Way::Reverse));
        back.for_each(|raised| raised.breaks.push(raised.subject.clone()));
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, carries, drops, expected, likely_device_mtu, hole, way, .. } = evidence;
        let of = expected.map(|expected| format!(" of the expected {expected} B")).unwrap_or_default();
        let likely = likely_device_mtu
            .map(|mtu| format!(" A device on the way most likely has an MTU of {mtu} B."))
            .unwrap_or_default();
        let to = words::at(peer, *address);
        format!(
            "The {} path to {to} carries {carries} B{of}; packets of {drops} B and more vanish in \
             silence{}.{likely}",
            plane.name(),
            words::place(*hole, *way)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { peer, address, carries, drops, expected, hole, way, from, tunnel, .. } = evidence;
        let (to, size) = (*address, expected.unwrap_or(*drops));
        let overhead = outer(evidence.plane, tunnel.as_ref());
        let carry = if *way == Some(Way::Reverse) {
            Fix::WayBackCarries { peer: peer.clone(), to, here: *from, size, overhead, silent: true }
        } else {
            Fix::PathCarries { to, size, overhead, carries: *carries, lost: Lost::Silently { hole: *hole } }
        };
        or_shrink(carry, tunnel.as_ref())
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 0, 0, 12]);
        let evidence = Evidence {
            peer: "master-2".into(),
            plane: Plane::Underlay,
            address,
            carries: IpSize::new(1404),
            drops: IpSize::new(1405),
            expected: Some(IpSize::new(1500)),
            way: Some(Way::Forward),
            hole: Some(Hole {
                after: Some(HopAt { ttl: 1, address: Some(IpAddr::from([10, 9, 0, 1])) }),
                before: HopAt { ttl: 2, address: Some(IpAddr::from([10, 9, 0, 2])) },
            }),
            from: Some(IpAddr::from([10, 0, 0, 11])),
            limited_by: None,
            cached: None,
            likely_device_mtu: Some(LinkMtu::new(1400)),
            tunnel: Some(Fit { link: "vxlan.calico".into(), overhead: 50, mtu: LinkMtu::new(1350) }),
        };
        (
            Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Underlay, address }),
            Severity::Critical,
            evidence,
        )
    }
}

fn evidence(node: &Snapshot, case: &Case<'_>) -> Option<Evidence> {
    let Verdict::BlackHole { carries, drops, by } = case.verdict else { return None };
    let grows = match case.key.plane {
        Plane::Underlay => 0,
        Plane::Overlay | Plane::Pod => tunnel_of(node, case.path).map_or(0, |(_, overhead)| overhead),
    };
    let likely = likely_device_mtu(carries.plus(grows));
    let measured = case.path.measured.known();
    Some(Evidence {
        peer: case.key.peer.clone(),
        plane: case.key.plane,
        address: case.key.address,
        carries: *carries,
        drops: *drops,
        expected: case.path.expected,
        way: measured.and_then(|measured| measured.way),
        hole: measured.and_then(|measured| measured.hole),
        from: source_of(node, case.key),
        limited_by: *by,
        cached: case.path.cached.map(|cached| cached.mtu),
        likely_device_mtu: likely,
        tunnel: Fit::new(node, case, likely.map_or(*carries, |mtu| mtu.carries().less(grows))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole, ip, limited, no_right};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PathBlackHole::judge(&example.snapshot()).unwrap()
    }

    fn at(plane: Plane, carries: u32) -> Evidence {
        let node = Example::reference().verdict("master-2", plane, black_hole(carries));
        judge(&node).raised.remove(0).evidence
    }

    #[test]
    fn the_edge_is_told_on_every_plane() {
        for plane in Plane::ALL {
            let evidence = at(plane, 1399);
            assert_eq!(
                (evidence.plane, evidence.carries, evidence.drops),
                (plane, IpSize::new(1399), IpSize::new(1400))
            );
        }
        assert_eq!(at(Plane::Pod, 1300).expected, Some(IpSize::new(1450)));
    }

    #[test]
    fn a_size_four_above_a_usual_mtu_names_the_device() {
        assert_eq!(at(Plane::Underlay, 1404).likely_device_mtu, Some(LinkMtu::new(1400)));
        assert_eq!(at(Plane::Underlay, 1403).likely_device_mtu, None);
    }

    #[test]
    fn through_a_tunnel_the_device_is_one_that_the_wrapped_packet_meets() {
        let evidence = at(Plane::Overlay, 1354);
        assert_eq!(evidence.likely_device_mtu, Some(LinkMtu::new(1400)), "1354 + 50 = 1400 + 4");
        assert_eq!(evidence.tunnel.unwrap().mtu, LinkMtu::new(1350));
        assert_eq!(at(Plane::Overlay, 1404).likely_device_mtu, Some(LinkMtu::new(1450)));
        assert_eq!(at(Plane::Overlay, 1284).likely_device_mtu, None, "1334 on the wire is nothing usual");
    }

    #[test]
    fn the_tunnel_is_cut_to_what_the_underlay_carries() {
        assert_eq!(at(Plane::Underlay, 1404).tunnel.unwrap().mtu, LinkMtu::new(1350));
        assert_eq!(at(Plane::Underlay, 1399).tunnel.unwrap().mtu, LinkMtu::new(1349));
        assert_eq!(at(Plane::Overlay, 1399).tunnel.unwrap().mtu, LinkMtu::new(1399));
    }

    fn told(way: Option<Way>, hole: Option<Hole>, address: &str) -> (String, Vec<Fix>) {
        let node = Example::dual(address).verdict("master-2", Plane::Underlay, black_hole(1399));
        let node = node.learned("master-2", Plane::Underlay, |measured| (measured.way, measured.hole) = (way, hole));
        let raised = judge(&node).raised.remove(0);
        assert_eq!((raised.evidence.way, raised.evidence.hole), (way, hole));
        let fixes = PathBlackHole::fixes(&raised.subject, &raised.evidence);
        (PathBlackHole::summary(&raised.subject, &raised.evidence), fixes)
    }

    fn between(after: &str, before: &str) -> Option<Hole> {
        let hop = |ttl, address| HopAt { ttl, address: Some(ip(address)) };
        Some(Hole { after: Some(hop(1, after)), before: hop(2, before) })
    }

    #[test]
    fn the_way_and_the_hops_are_named_in_both_families() {
        let (summary, fixes) = told(Some(Way::Forward), between("10.9.0.1", "10.9.0.2"), "10.0.0.12");
        assert!(
            summary.ends_with("in silence between 10.9.0.1 (hop 1) and 10.9.0.2 (hop 2), on the way there."),
            "{summary}"
        );
        let Fix::PathCarries { lost: Lost::Silently { hole: Some(_) }, .. } = fixes[0] else { panic!("{fixes:?}") };
        let (summary, _) = told(None, between("fd00:9::1", "fd00:9::2"), "fd00::12");
        assert!(summary.starts_with("The underlay path to master-2 (fd00::12) carries 1399 B"), "{summary}");
        assert!(summary.ends_with("between fd00:9::1 (hop 1) and fd00:9::2 (hop 2)."), "{summary}");
    }

    #[test]
    fn the_tunnel_to_shrink_is_the_one_over_the_path() {
        for (address, tunnel) in [("10.0.0.12", "vxlan.calico"), ("fd00::12", "vxlan-v6.calico")] {
            let node = Example::two_tunnels().verdict_at(address, black_hole(1399));
            let judgement = judge(&node);
            let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
            assert_eq!(raised.evidence.tunnel.as_ref().unwrap().link, tunnel);
        }
        let node = Example::two_tunnels().verdict_at("10.0.0.12", black_hole(1200));
        assert!(judge(&node).raised[0].evidence.tunnel.is_some(), "no IPv6 goes through this one");
    }

    #[test]
    fn what_vanishes_on_the_way_back_is_mended_at_the_other_end() {
        let (summary, fixes) = told(Some(Way::Reverse), None, "10.0.0.12");
        assert!(summary.ends_with("vanish in silence on the way back."), "{summary}");
        let Fix::WayBackCarries { here, silent: true, .. } = fixes[0] else { panic!("{fixes:?}") };
        assert_eq!(here, Some(ip("10.0.0.11")));
        let (_, unknown) = told(None, None, "10.0.0.12");
        assert!(matches!(unknown[0], Fix::PathCarries { .. }), "a way that is not known is not guessed");
    }

    #[test]
    fn a_tunnel_is_not_shrunk_below_what_ipv6_takes() {
        let shrinks = |carries| {
            let node = Example::dual("10.0.0.12").verdict("master-2", Plane::Underlay, black_hole(carries));
            judge(&node).raised.remove(0).evidence.tunnel.is_some()
        };
        assert!(shrinks(1330) && !shrinks(1329), "1280 and 50");
    }

    #[test]
    fn a_signalled_loss_and_a_clear_path_are_quiet() {
        let node = Example::reference().verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")));
        assert!(judge(&node).raised.is_empty() && judge(&Example::reference()).raised.is_empty());
    }

    #[test]
    fn a_path_that_was_not_measured_is_not_concluded() {
        let judgement = judge(&Example::reference().unmeasured("master-3", Plane::Overlay, no_right()));
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    }
}
