//! A tunnel whose full packets arrive, in fragments.
//!
//! Packets through the tunnel were measured to arrive in full size, so nobody misses anything. But packets that are
//! encapsulated here, with DF on the outside, show that the network below carries less than such a packet has once it is
//! wrapped: with `df unset` the outer packet is cut, by a router on the way or by this node, and put together at the far
//! end. That costs both ends, doubles what a lost packet takes along, and ends in a black hole as soon as a filter drops
//! fragments or somebody sets DF.
//!
//! What is measured through the tunnel counts, not its MTU: a route may keep packets smaller. Over IPv6 no router cuts:
//! there it is this node. Where larger outer packets vanish without a word, a bridge may drop those with DF exactly at
//! its MTU and let others pass up to [`VLAN_HLEN`] bytes above it: a difference of so little is not concluded.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::FragmentationFailing;
use crate::checks::overlay::OverlayTransferStalls;
use crate::checks::paths::some_peer;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::Df;
use crate::overhead::VLAN_HLEN;
use crate::path::{Hole, Limit, PathKey, Plane, Verdict, VerdictName};
use crate::remedy::{Fix, Lost};
use crate::report::Severity;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::{Family, IpSize, LinkMtu};

use super::below;

/// The rule.
#[derive(Debug)]
pub struct OverlayFragmented;

/// What passes inside, and what outside.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The peer's tunnel address.
    pub address: IpAddr,
    /// The far end of the tunnel.
    pub underlay: IpAddr,
    /// The tunnel device.
    pub tunnel: String,
    /// The size that was measured to pass through it.
    pub inner: IpSize,
    /// Bytes that it adds.
    pub overhead: u32,
    /// `inner` + `overhead`: the size of the outer packet.
    pub needed: IpSize,
    /// The largest outer packet that the network below carries in one piece.
    pub carries: IpSize,
    /// What was measured there.
    pub outer_verdict: VerdictName,
    /// The hop that limits it, in sizes of the outer packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<Limit>,
    /// Between which hops larger outer packets vanish, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole: Option<Hole>,
    /// Whether it is this node that cuts them.
    pub here: bool,
    /// The tunnel MTU that would fit: `carries` − `overhead`.
    pub fits: LinkMtu,
    /// Treatment of the outer DF bit; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<Df>,
    /// Fragments of IPv4 that this node made during the last round (`IpFragCreates`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragments_created: Option<u64>,
    /// Fragments of IPv4 that this node had to put together during the last round (`IpReasmReqds`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reassembly_required: Option<u64>,
}

impl Check for OverlayFragmented {
    const ENTRY: Entry = Entry {
        code: "overlay-fragmented",
        area: Area::Overlay,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["full packets arrive, in pieces", "and a transfer stalls for it"],
        title: "full packets of the tunnel arrive in fragments",
        meaning: "Full packets get through the tunnel, but wrapped they are larger than the network below carries and are \
                  cut on the way. That is slow, and turns into a black hole where fragments are filtered.",
        quiet: "up to 4 B above a bridge's MTU are not concluded; what arrives whole is fine, whatever the MTUs say",
        look: &[
            Look { run: "mtuscope probe NODE_ADDRESS", see: "smaller than the tunnel's MTU plus the overhead" },
            Look { run: "ip -d link show dev TUNNEL", see: "`mtu`, and `df unset`" },
            Look {
                run: "nstat -az IpFragCreates IpReasmReqds IpReasmFails",
                see: "IpFragCreates rises here, IpReasmReqds where they arrive; IpReasmFails: some are lost",
            },
            Look {
                run: "tcpdump -ni LOWER 'ip[6:2] & 0x3fff != 0'",
                see: "outer packets with `flags [+]` or an `offset`",
            },
        ],
        metrics: &[
            "mtuscope_kernel_events_total{name=\"reassembly_failed\"}",
            "mtuscope_path_mtu_bytes{plane=\"underlay\"}",
        ],
        class: Class::Fragments,
        silences: &[OverlayTransferStalls::ENTRY.code, FragmentationFailing::ENTRY.code],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeOverlayFragmented", minutes: 15 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay) {
            match evidence(node, key, path) {
                Err(why) => judgement.unread.push((Subject::path(key), why)),
                Ok(Some(evidence)) => {
                    judgement.raise_breaking(Subject::path(key), Severity::Warning, evidence, vec![Subject::path(key)])
                }
                Ok(None) => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, underlay, tunnel, inner, needed, carries, here, .. } = evidence;
        let hop = evidence.limited_by.and_then(|limit| limit.address);
        let by = match (here, hop, evidence.hole) {
            (true, ..) => " This node cuts them.".into(),
            (_, Some(hop), _) => format!(" {hop} says so."),
            (_, None, Some(hole)) => format!(" Larger ones that may not be cut vanish {hole}."),
            (_, None, None) => String::new(),
        };
        format!(
            "Full packets of {tunnel} arrive in fragments: {inner} B are {needed} B with its headers, more than the \
             {carries} B that the way to {} carries in one piece.{by}",
            words::at(peer, *underlay)
        )
    }

    fn fixes(subject: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { underlay, tunnel, overhead, needed, carries, fits, here, hole, .. } = evidence;
        let lower = Fix::OverlayMtu { tunnel: tunnel.clone(), mtu: *fits, overhead: *overhead };
        let lost = match evidence.limited_by.and_then(|limit| limit.address) {
            Some(hop) => Lost::Told { by: Some(hop) },
            None if *here => Lost::Told { by: None },
            None => Lost::Silently { hole: *hole },
        };
        let raise = Fix::PathCarries { to: *underlay, size: *needed, overhead: 0, carries: *carries, lost };
        super::shrink_or(subject, lower, raise)
    }

    fn example() -> (Subject, Severity, Evidence) {
        let hop =
            Limit { address: Some(IpAddr::from([10, 9, 0, 1])), reported_mtu: Some(IpSize::new(1400)), ttl: Some(1) };
        let address = IpAddr::from([10, 244, 2, 0]);
        let evidence = Evidence {
            peer: "master-2".into(),
            address,
            underlay: IpAddr::from([10, 0, 0, 12]),
            tunnel: "vxlan.calico".into(),
            inner: IpSize::new(1450),
            overhead: 50,
            needed: IpSize::new(1500),
            carries: IpSize::new(1400),
            outer_verdict: VerdictName::Limited,
            limited_by: Some(hop),
            hole: None,
            here: false,
            fits: LinkMtu::new(1350),
            df: Some(Df::Unset),
            fragments_created: Some(4),
            reassembly_required: Some(4),
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Overlay, address };
        (Subject::path(&key), Severity::Warning, evidence)
    }
}

fn evidence(node: &Snapshot, key: &PathKey, path: &Path) -> Result<Option<Evidence>, Unread> {
    let Some(tunnel) = below::tunnel(node, path) else { return Ok(None) };
    let Some(device) = below::device(node, tunnel).filter(|device| below::is_programmed(device)) else {
        return Ok(None);
    };
    let Verdict::Clear { mtu: inner } = *path.verdict()? else { return Ok(None) };
    let Some(overhead) = tunnel.overhead else {
        return Err(unsupported(tunnel.unknown_overhead()));
    };
    let (carries, outer) = below::carries(path)?;
    let needed = inner.plus(overhead);
    if needed <= carries {
        return Ok(None);
    }
    let silent = matches!(outer.verdict, Verdict::BlackHole { .. });
    if silent && needed <= carries.plus(VLAN_HLEN) {
        let why =
            format!("the way carries {carries} B, and a bridge may let packets without DF of {needed} B pass whole");
        return Err(unsupported(why));
    }
    let limited_by = match outer.verdict {
        Verdict::Limited { by, .. } => Some(by),
        Verdict::BlackHole { by, .. } => by,
        _ => None,
    };
    let underlay = far_end(node, key, path);
    let family = Family::of(underlay);
    // Nobody but a sender cuts packets of IPv6 (RFC 8200 §5).
    let local = !silent && limited_by.is_none_or(|limit| limit.address.is_none());
    let counted = |counter| node.risen(counter).filter(|_| family == Family::Ipv4);
    Ok(Some(Evidence {
        peer: key.peer.clone(),
        address: key.address,
        underlay,
        tunnel: tunnel.name.clone(),
        inner,
        overhead,
        needed,
        carries,
        outer_verdict: outer.verdict.name(),
        limited_by,
        hole: outer.hole,
        here: local || family == Family::Ipv6,
        fits: LinkMtu::new(carries.less(overhead).bytes()),
        df: device.df,
        fragments_created: counted("fragments_created"),
        reassembly_required: counted("reassembly_required"),
    }))
}

/// Where the outer packets go; the peer's node address where the tunnel's tables do not say.
fn far_end(node: &Snapshot, key: &PathKey, path: &Path) -> IpAddr {
    let hop = node.lookups.get(&key.address).and_then(|route| route.known()?.hops.first());
    let neighbour = hop.and_then(|hop| hop.gateway).unwrap_or(key.address);
    let told = path.via.first().and_then(|&link| node.tables.far_end(link, neighbour));
    told.or_else(|| node.node_address(key)).unwrap_or(key.address)
}

const fn unsupported(why: String) -> Unread {
    Unread::new(Source::Probes, Reason::Unsupported { why })
}

#[cfg(test)]
mod tests;
