//! A tunnel whose full packets, wrapped, exceed what the way to a peer was measured to carry, and get lost.
//!
//! Where packets can be encapsulated here, with DF on the outside, they say what the network below carries to the byte,
//! and packets through the tunnel say whether full ones arrive all the same. Only those that do not are this rule's
//! matter: those that arrive do so in fragments, which is [`super::overlay_fragmented`]. It is critical where they vanish
//! or the outer DF bit is set, for then packets of pods vanish.
//!
//! Where they cannot, pinging through the tunnel does not tell: with `df unset` the outer packet is fragmented on the way
//! and the inner one arrives. So the tunnel's MTU and overhead are held against the underlay's measured path MTU.
//! Fragmented is a warning; critical where the underlay swallows large packets in silence or the outer DF bit is set. Where
//! the underlay says what it takes, IPIP, GRE and SIT pass that on to pods, whatever DF: a warning.
//!
//! Where the underlay path is clear and short all the same, its size is what the route or the operator allows. What the
//! tunnel itself then loses is this rule's consequence, on that very path and behind it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::FragmentationFailing;
use crate::checks::overlay::OverlayTransferStalls;
use crate::checks::paths::fit::{BLACK_HOLE, LIMITED};
use crate::checks::paths::some_peer;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::{Df, Tunnel};
use crate::path::{PathKey, Plane, Verdict, VerdictName, Way};
use crate::remedy::{Fix, Lost};
use crate::report::Severity;
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::{below, signature};

/// The rule.
#[derive(Debug)]
pub struct OverlayMtuExceedsPath;

/// The sum that does not work out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The peer's node address.
    pub underlay: IpAddr,
    /// The tunnel device.
    pub tunnel: String,
    /// Its MTU.
    pub mtu: LinkMtu,
    /// Bytes that it adds.
    pub overhead: u32,
    /// `mtu` + `overhead`: the size of a full outer packet.
    pub needed: IpSize,
    /// What the way to the tunnel's far end carries.
    pub carries: IpSize,
    /// What was measured there.
    pub underlay_verdict: VerdictName,
    /// What packets that were encapsulated here met; absent where none could be sent, and `carries` is the underlay's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer_verdict: Option<VerdictName>,
    /// What packets through the tunnel met, where that was needed to judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay_verdict: Option<VerdictName>,
    /// The tunnel MTU that would fit: `carries` − `overhead`.
    pub fits: LinkMtu,
    /// Treatment of the outer DF bit; absent where the kind has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<Df>,
    /// Whether the tunnel passes on to senders what the network below says; it is decided by kind and DF.
    #[serde(skip)]
    pub told: bool,
}

impl Check for OverlayMtuExceedsPath {
    const ENTRY: Entry = Entry {
        code: "overlay-mtu-exceeds-path",
        area: Area::Overlay,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "outer packets are fragmented on the way",
            "they are dropped: DF is set outside, or the underlay swallows them",
        ],
        title: "tunnel MTU too large for the way to a peer",
        meaning: "Full packets of the tunnel do not fit the path between the nodes once they are wrapped. They are \
                  fragmented on the way, which is slow and often filtered, or lost.",
        quiet: "a tunnel that fits the measured path to the byte; where full packets arrive all the same it is \
                `overlay-fragmented`",
        look: &[
            Look {
                run: "ip -d link show dev TUNNEL",
                see: "`mtu`; `df set` or `inherit` means dropped instead of fragmented",
            },
            Look { run: "mtuscope probe ADDRESS", see: "the path MTU is smaller than the tunnel's plus the overhead" },
            Look { run: "nstat -az IpFragCreates IpReasmFails", see: "both rise while large packets are sent" },
        ],
        metrics: &["mtuscope_path_mtu_bytes{plane=\"underlay\"}", "mtuscope_recommended_overlay_mtu_bytes"],
        class: Class::Overhead,
        silences: &[BLACK_HOLE, LIMITED, OverlayTransferStalls::ENTRY.code, FragmentationFailing::ENTRY.code],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeOverlayMtuExceedsPath", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay) {
            let Some(tunnel) = below::tunnel(node, path) else { continue };
            let subject = Subject::path(key);
            match evidence(node, key, path, tunnel) {
                Err(why) => judgement.unread.push((subject, why)),
                Ok(Some(evidence)) => {
                    // What is lost on the way back has another cause: these packets are this node's.
                    let own = Some(subject.clone()).filter(|_| way(path) != Some(Way::Reverse));
                    judgement.raise_breaking(subject, severity(&evidence), evidence, own.into_iter().collect());
                }
                Ok(None) => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, underlay, tunnel, mtu, overhead, needed, carries, .. } = evidence;
        let then = match (severity(evidence), evidence.outer_verdict) {
            (Severity::Critical, _) => "lost",
            (_, Some(_)) => "refused",
            (_, None) if evidence.told => "refused, which its sender is told",
            (_, None) => "fragmented",
        };
        let to = words::at(peer, *underlay);
        format!(
            "A full packet of {tunnel} is {needed} B with its headers (MTU {mtu} + {overhead}), more than the \
             {carries} B that the path to {to} carries, and is {then}."
        )
    }

    fn fixes(subject: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { underlay, tunnel, overhead, needed, carries, fits, .. } = evidence;
        let lower = Fix::OverlayMtu { tunnel: tunnel.clone(), mtu: *fits, overhead: *overhead };
        let lost = Lost::Silently { hole: None };
        let raise = Fix::PathCarries { to: *underlay, size: *needed, overhead: 0, carries: *carries, lost };
        super::shrink_or(subject, lower, raise)
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            peer: "master-2".into(),
            underlay: IpAddr::from([10, 0, 0, 12]),
            tunnel: "vxlan.calico".into(),
            mtu: LinkMtu::new(1450),
            overhead: 50,
            needed: IpSize::new(1500),
            carries: IpSize::new(1400),
            underlay_verdict: VerdictName::Clear,
            outer_verdict: Some(VerdictName::Clear),
            overlay_verdict: Some(VerdictName::BlackHole),
            fits: LinkMtu::new(1350),
            df: Some(Df::Set),
            told: false,
        };
        let address = IpAddr::from([10, 244, 2, 0]);
        (
            Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Overlay, address }),
            Severity::Critical,
            evidence,
        )
    }
}

fn severity(evidence: &Evidence) -> Severity {
    let dropped = matches!(evidence.df, Some(Df::Set | Df::Inherit)) && !evidence.told;
    let met = evidence.overlay_verdict.unwrap_or(evidence.underlay_verdict);
    if dropped || met == VerdictName::BlackHole { Severity::Critical } else { Severity::Warning }
}

fn way(path: &Path) -> Option<Way> {
    path.measured.known().and_then(|measured| measured.way)
}

fn evidence(node: &Snapshot, key: &PathKey, path: &Path, tunnel: &TunnelView) -> Result<Option<Evidence>, Unread> {
    let Some(overhead) = tunnel.overhead else {
        let why = tunnel.unknown_overhead();
        return Err(Unread::new(Source::Links, Reason::Unsupported { why }));
    };
    let needed = tunnel.mtu.carries().plus(overhead);
    let device = below::device(node, tunnel);
    let outer = below::carries(path).ok().filter(|_| device.is_some_and(below::is_programmed));
    let (carries, outer_verdict, overlay_verdict) = match outer {
        Some((carries, outer)) => {
            let overlay = path.verdict()?;
            if !loses(path, overlay, tunnel.mtu.carries()) {
                return Ok(None);
            }
            (carries, Some(outer.verdict.name()), Some(overlay.name()))
        }
        None => (underlay(node, key)?, None, None),
    };
    let below = signature::underlay(node, key);
    let verdict = below.and_then(|(_, path)| path.verdict().ok()).map_or(VerdictName::Unknown, Verdict::name);
    Ok((needed > carries).then(|| Evidence {
        peer: key.peer.clone(),
        underlay: below.map_or(key.address, |(key, _)| key.address),
        tunnel: tunnel.name.clone(),
        mtu: tunnel.mtu,
        overhead,
        needed,
        carries,
        underlay_verdict: verdict,
        outer_verdict,
        overlay_verdict,
        fits: LinkMtu::new(carries.less(overhead).bytes()),
        df: device.and_then(|device| device.df),
        told: device.is_some_and(Tunnel::tells),
    }))
}

/// Whether full packets through the tunnel do not arrive there. What is lost on the way back did.
fn loses(path: &Path, verdict: &Verdict, full: IpSize) -> bool {
    let arrives = path.measured.known().and_then(|measured| measured.forward);
    match verdict {
        Verdict::Limited { mtu, .. } | Verdict::BlackHole { carries: mtu, .. } => {
            arrives.unwrap_or(*mtu).max(*mtu) < full
        }
        Verdict::Clear { .. } | Verdict::Unreachable { .. } | Verdict::Unknown { .. } => false,
    }
}

/// What the way to a peer's node address was measured to carry.
fn underlay(node: &Snapshot, key: &PathKey) -> Result<IpSize, Unread> {
    let peer = &key.peer;
    let unsupported = |why: String| Unread::new(Source::Probes, Reason::Unsupported { why });
    let Some((_, path)) = node.below(key) else {
        return Err(unsupported(format!("no node address of {peer} is known, so its underlay path is not measured")));
    };
    let carries = path.verdict()?.path_mtu();
    let carries = carries.ok_or_else(|| unsupported(format!("{peer} does not answer on its node address")))?;
    let arrives = path.measured.known().and_then(|measured| measured.forward);
    Ok(arrives.map_or(carries, |arrives| arrives.max(carries)))
}

#[cfg(test)]
mod tests;
