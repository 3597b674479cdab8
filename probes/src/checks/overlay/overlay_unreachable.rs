//! A peer that answers on its node address and not through the tunnel.
//!
//! What the tunnel needs on this node is in the kernel's tables: a route into the tunnel, a neighbour entry for the
//! peer's tunnel address, a forwarding entry for that neighbour's hardware address. The first one missing is named. A
//! peer that answers "port unreachable" to outer packets has no tunnel socket. If nothing is wrong here, outer packets
//! are filtered on the way or the peer lacks its entries for this node: both look the same from here.
//!
//! Tables may look right and the tunnel not send. Packets that are encapsulated here, without the tunnel's device or
//! entries, tell ([`super::signature`]): if they are answered, network and peer work, and the fault is on this node.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayTransferStalls, PodUnreachable};
use crate::checks::paths::{PathBlackHole, PathLimited, peer_unreachable, some_peer};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::{Mac, Neighbour, NeighbourState, TunnelKind};
use crate::path::{PathKey, Plane, Refusal, Unreachable, Verdict, VerdictName};
use crate::remedy::{DeliveryFault, Fix};
use crate::report::Severity;
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;

use super::below;
use super::signature::{self, Located, Signature, Told};

/// The rule.
#[derive(Debug)]
pub struct OverlayUnreachable;

/// What the tunnel has, and what it lacks.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The peer's tunnel address.
    pub address: IpAddr,
    /// The peer's node address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<IpAddr>,
    /// What was measured to the node address; absent where nothing could be concluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay_verdict: Option<VerdictName>,
    /// What came back through the tunnel.
    pub why: Unreachable,
    /// The tunnel device; absent where no route leads into one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TunnelKind>,
    /// UDP port of its outer packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// State of the neighbour entry for the tunnel address; absent where there is none or it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<NeighbourState>,
    /// That entry's hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Where the forwarding entry of that hardware address leads; absent where there is none or it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_to: Option<IpAddr>,
    /// What is known to be wrong.
    pub fault: DeliveryFault,
    /// What answers of the peer and what does not.
    pub signature: Signature,
    /// Where that puts the fault.
    pub located: Located,
}

impl Check for OverlayUnreachable {
    const ENTRY: Entry = Entry {
        code: "overlay-unreachable",
        area: Area::Overlay,
        severities: &[Severity::Critical],
        when: &["the peer's node answers and its tunnel address does not"],
        title: "tunnel does not deliver",
        meaning: "The peer's node answers, its tunnel address does not: pods here and pods there cannot talk, while \
                  everything between the nodes themselves looks fine.",
        quiet: "a peer whose node does not answer either is `peer-unreachable`; a plane that the set-up does not have \
                is absent",
        look: &[
            Look { run: "ip route get TUNNEL_ADDRESS", see: "`dev TUNNEL`" },
            Look { run: "ip neigh show dev TUNNEL", see: "`PERMANENT` or `REACHABLE`; `FAILED` is the fault" },
            Look {
                run: "bridge fdb show dev TUNNEL",
                see: "`dst` is the peer's node, for the neighbour's hardware address",
            },
            Look {
                run: "tcpdump -ni LOWER udp port PORT",
                see: "packets leave and none comes in: filtered on the way, or the peer lacks its entries; none \
                      leaves: it is this node",
            },
        ],
        metrics: &[
            "mtuscope_path_up{plane=\"overlay\"} == 0",
            "mtuscope_paths{plane=\"overlay\",verdict=\"unreachable\"}",
        ],
        class: Class::Entries,
        silences: &[
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            PodUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeOverlayUnreachable", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay) {
            match path.verdict() {
                Err(why) => judgement.unread.push((Subject::path(key), why)),
                Ok(Verdict::Unreachable { why }) if !peer_is_lost(node, key) => {
                    let (subject, evidence) = (Subject::path(key), evidence(node, key, path, *why));
                    judgement.raise_breaking(subject.clone(), Severity::Critical, evidence, vec![subject]);
                }
                Ok(_) => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, address, underlay_verdict, why, .. } = evidence;
        let node = if underlay_verdict.is_some() { "its node answers" } else { "its node was not measured" };
        let through = evidence.tunnel.as_ref().map(|tunnel| format!(" through {tunnel}")).unwrap_or_default();
        let told = peer_unreachable::told(*why);
        format!("{} {told}{through} while {node}: {}{}.", words::at(peer, *address), cause(evidence), proof(evidence))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::TunnelDelivers {
            tunnel: evidence.tunnel.clone(),
            kind: evidence.kind.map(TunnelKind::name),
            port: evidence.port,
            overlay: evidence.address,
            underlay: evidence.underlay,
            fault: evidence.fault,
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 244, 2, 0]);
        let underlay = IpAddr::from([10, 0, 0, 12]);
        let evidence = Evidence {
            peer: "master-2".into(),
            address,
            underlay: Some(underlay),
            underlay_verdict: Some(VerdictName::Clear),
            why: Unreachable::Silent,
            tunnel: Some("vxlan.calico".into()),
            kind: Some(TunnelKind::Vxlan),
            port: Some(4789),
            neighbour: Some(NeighbourState::Permanent),
            mac: Some("66:b1:4c:2e:00:12".into()),
            forwarded_to: Some(underlay),
            fault: DeliveryFault::NotHere,
            signature: Signature {
                underlay: Some(Told::Answers),
                overlay: Some(Told::Silent),
                pod: Some(Told::Silent),
                outer: Some(Told::Silent),
            },
            located: Located::PortOrRemoteEntry,
        };
        (
            Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Overlay, address }),
            Severity::Critical,
            evidence,
        )
    }
}

fn cause(evidence: &Evidence) -> String {
    let Evidence { address, tunnel, underlay, mac, port, .. } = evidence;
    let tunnel = tunnel.as_deref().unwrap_or("the tunnel");
    let port = port.map_or_else(|| "the tunnel's packets are".into(), |port| format!("UDP {port} is"));
    match evidence.fault {
        DeliveryFault::NoRoute => format!("no route to {address} leads into a tunnel"),
        DeliveryFault::NoNeighbour => format!("{tunnel} has no neighbour entry for {address}"),
        DeliveryFault::NeighbourFailed => format!("the neighbour entry for {address} on {tunnel} has failed"),
        DeliveryFault::NoForwarding => match mac {
            Some(mac) => format!("{tunnel} has no forwarding entry for its hardware address {mac}"),
            None => format!("{tunnel} has no forwarding entry for it"),
        },
        DeliveryFault::PortClosed => match underlay {
            Some(peer) => format!("{peer} has no socket on the tunnel's port, or rejects it"),
            None => "the peer has no socket on the tunnel's port, or rejects it".into(),
        },
        DeliveryFault::NotHere => {
            let too = match evidence.signature.outer {
                Some(Told::Silent) => " and packets that are encapsulated without it are not answered either",
                _ => "",
            };
            format!(
                "this node's entries are in place{too}, so {port} filtered on the way, or the peer lacks its entries"
            )
        }
        DeliveryFault::NotSent => format!(
            "packets that are encapsulated here without it are answered, so network and peer work, and {tunnel} or a filter \
             of this node keeps its own back"
        ),
    }
}

/// What shows that nothing else is wrong.
fn proof(evidence: &Evidence) -> &'static str {
    let here = matches!(
        evidence.fault,
        DeliveryFault::NoRoute
            | DeliveryFault::NoNeighbour
            | DeliveryFault::NeighbourFailed
            | DeliveryFault::NoForwarding
    );
    match evidence.signature.outer {
        Some(Told::Answers) if here => "; packets that are encapsulated here without it are answered",
        _ => "",
    }
}

fn peer_is_lost(node: &Snapshot, key: &PathKey) -> bool {
    let underlay = signature::underlay(node, key);
    underlay.is_some_and(|(_, path)| matches!(path.verdict(), Ok(Verdict::Unreachable { .. })))
}

fn evidence(node: &Snapshot, key: &PathKey, path: &Path, why: Unreachable) -> Evidence {
    let tunnel = path.via.iter().find_map(|&link| node.topology.tunnel(link));
    let device = tunnel.and_then(|tunnel| below::device(node, tunnel));
    let entry = tunnel.and_then(|tunnel| node.tables.neighbours_at(tunnel.link, key.address).next());
    let mac = entry.and_then(|entry| entry.mac);
    let measured = signature::underlay(node, key);
    let signature = Signature::of(node, &key.peer, key.family());
    let located = signature.tunnel(signature::is_routed(node, key, path));
    Evidence {
        peer: key.peer.clone(),
        address: key.address,
        underlay: node.node_address(key),
        underlay_verdict: measured.and_then(|(_, path)| path.verdict().ok()).map(Verdict::name),
        why,
        tunnel: tunnel.map(|tunnel| tunnel.name.clone()),
        kind: device.map(|device| device.kind),
        port: device.and_then(|device| device.port),
        neighbour: entry.map(|entry| entry.state),
        mac: mac.map(|mac| mac.to_string()),
        forwarded_to: tunnel.and_then(|tunnel| node.tables.far_end(tunnel.link, key.address)),
        fault: match fault(node, tunnel, entry, why) {
            DeliveryFault::NotHere if located == Located::LocalEntry => DeliveryFault::NotSent,
            fault => fault,
        },
        signature,
        located,
    }
}

/// The first thing that is missing. A table that could not be read is not missing an entry.
fn fault(node: &Snapshot, tunnel: Option<&TunnelView>, entry: Option<&Neighbour>, why: Unreachable) -> DeliveryFault {
    if matches!(why, Unreachable::Refused { why: Refusal::TunnelPortUnreachable, .. }) {
        return DeliveryFault::PortClosed;
    }
    let Some(tunnel) = tunnel else { return DeliveryFault::NoRoute };
    let programmed = below::device(node, tunnel).is_some_and(below::is_programmed);
    if !programmed || node.tables.neighbours.known().is_none() {
        return DeliveryFault::NotHere;
    }
    match entry {
        None => DeliveryFault::NoNeighbour,
        Some(entry) if entry.state == NeighbourState::Failed => DeliveryFault::NeighbourFailed,
        Some(Neighbour { mac: Some(mac), .. }) if lacks_forwarding(node, tunnel, *mac) => DeliveryFault::NoForwarding,
        Some(_) => DeliveryFault::NotHere,
    }
}

fn lacks_forwarding(node: &Snapshot, tunnel: &TunnelView, mac: Mac) -> bool {
    let floods = Mac([0; 6]);
    node.tables.forwarding.known().is_some()
        && !node.tables.remotes_of(tunnel.link).any(|(entry, _)| entry.mac == mac || entry.mac == floods)
}

#[cfg(test)]
mod tests;
