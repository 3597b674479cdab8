//! A path on which larger packets vanish in silence.
//!
//! The prober has confirmed the edge: the largest size that is answered and the next one that is not, while small
//! packets pass. No sender can adapt, because nobody tells it. Linux drops at a veth or bridge only what is 4 bytes
//! above the MTU (room for a VLAN tag), so a carried size of 1504 is most likely a device of MTU 1500; the evidence
//! names that device MTU and the remedy counts with it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayMtuExceedsPath, OverlayTransferStalls};
use crate::checks::{Alert, Area, Check, Confirm, Entry, Judgement, words};
use crate::fact::Unread;
use crate::overhead::likely_device_mtu;
use crate::path::{Limit, PathKey, Plane, Verdict};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::fit::{BLACK_HOLE, Fit, LIMITED, or_shrink, outer};
use super::{Case, judge_each, tunnel_of};

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
        title: "large packets vanish in silence",
        meaning: "Small packets to the peer arrive, larger ones are lost and nobody says so. Handshakes and pings work \
                  while transfers hang.",
        look: &["mtuscope probe ADDRESS", "ping -M do -s SIZE ADDRESS", "ip -s link", "nft list ruleset"],
        silences: &[BLACK_HOLE, LIMITED, OverlayMtuExceedsPath::ENTRY.code, OverlayTransferStalls::ENTRY.code],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePathBlackHole", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        judge_each(node, &Plane::ALL, |case| Some((Severity::Critical, evidence(node, case)?)))
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, carries, drops, expected, likely_device_mtu, .. } = evidence;
        let of = expected.map(|expected| format!(" of the expected {expected} B")).unwrap_or_default();
        let likely = likely_device_mtu
            .map(|mtu| format!(" A device on the way most likely has an MTU of {mtu} B."))
            .unwrap_or_default();
        let to = words::at(peer, *address);
        format!(
            "The {} path to {to} carries {carries} B{of}; packets of {drops} B and more vanish in \
             silence.{likely}",
            plane.name()
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { address, carries, drops, expected, limited_by, tunnel, .. } = evidence;
        let carry = Fix::PathCarries {
            to: *address,
            size: expected.unwrap_or(*drops),
            overhead: outer(evidence.plane, tunnel.as_ref()),
            carries: *carries,
            hop: limited_by.and_then(|limit| limit.address),
            silent: true,
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
    Some(Evidence {
        peer: case.key.peer.clone(),
        plane: case.key.plane,
        address: case.key.address,
        carries: *carries,
        drops: *drops,
        expected: case.path.expected,
        limited_by: *by,
        cached: case.path.cached.map(|cached| cached.mtu),
        likely_device_mtu: likely,
        tunnel: Fit::new(node, case, likely.map_or(*carries, |mtu| mtu.carries().less(grows))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole, limited, no_right};

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
