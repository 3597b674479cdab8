//! A peer whose neighbour entry and forwarding entry do not fit each other, or lead to another node.
//!
//! Both are there, so nothing looks missing, and yet what is sent is dropped: a hardware address that nobody forwards is
//! lost in the tunnel, one that leads to another node is received there and dropped without a counter (only its tunnel's
//! `rx packets` grow), and a node that gets a packet for somebody else's hardware address counts nothing at all. Measured
//! on Linux 6.18, as that a forwarding table keeps one destination for a hardware address of one machine: `bridge fdb
//! append` of a second one changes nothing.
//!
//! Two things are seen. The neighbour's hardware address has no forwarding entry, and another one leads to the peer's node.
//! Or it leads to a node address that another peer has by the operator's word. Where that peer's gateway has the same
//! hardware address, the two share one: the other node takes what comes for it, and being a router it sends it on through
//! its own tunnel. So the peer answers, by a detour, and it is a warning; otherwise the entry was turned, and counts
//! once nothing is answered. That a tunnel leads to an address that no peer has is no such proof: a node may have several
//! networks. Which of the two entries is wrong, only packets tell that are encapsulated here: with the other hardware
//! address, or to the other node. If they are answered, that one is right.
//!
//! Where both entries agree on an address that the peer no longer has – its tunnel was made again, and the CNI here did not
//! hear of it – nothing here disagrees, and the peer is silent to the device and to what is encapsulated here. Packets for
//! every hardware address tell: if the peer answers those from its tunnel address, all that is wrong is the address. If it
//! is silent to them too, or drops such packets, [`OverlayUnreachable`] says what it can.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::paths::{PathBlackHole, PathLimited, some_peer};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Fact, Unread};
use crate::path::{Measured, PathKey, Plane, Unreachable, Verdict};
use crate::peers::Peer;
use crate::remedy::{Fix, VtepEntry};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

use super::signature::{Signature, Told};
use super::vtep::{self, Forwarded, Vtep};
use super::{OverlayTransferStalls, OverlayUnreachable, PodUnreachable};

/// The rule.
#[derive(Debug)]
pub struct VtepMacDiffers;

/// The two entries, and what they should be.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The peer's tunnel address.
    pub address: IpAddr,
    /// The peer's node address on the tunnel's network.
    pub underlay: IpAddr,
    /// The tunnel device.
    pub tunnel: String,
    /// The hardware address that the neighbour entry names.
    pub mac: String,
    /// Where that address leads; absent where it has no forwarding entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<IpAddr>,
    /// The peer whose node that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whose: Option<String>,
    /// The hardware address whose forwarding entry leads to the peer's node; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_mac: Option<String>,
    /// What `ip neigh` shows.
    pub neighbour: String,
    /// What `bridge fdb` shows of either hardware address.
    pub forwarding: Vec<String>,
    /// Whether the peer answers all the same, by way of the other node.
    pub detour: bool,
    /// The entry that is proven to be wrong; absent where no answer proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<Side>,
    /// What answers of the peer and what does not.
    pub signature: Signature,
}

/// One of the two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The neighbour entry.
    Neighbour,
    /// The forwarding entry.
    Forwarding,
    /// Both: the peer has another hardware address than they name.
    Both,
}

impl Check for VtepMacDiffers {
    const ENTRY: Entry = Entry {
        code: "vtep-mac-differs",
        area: Area::Overlay,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["the peer answers all the same, by a detour over another node", "nothing is answered"],
        title: "a peer's hardware address is not the one that is forwarded",
        meaning: "The tunnel's neighbour entry for a peer and its forwarding entry do not fit each other, or lead to \
                  another node. What pods here send to pods there is lost, and hardly anything counts it.",
        quiet: "two entries that agree are right as long as the peer answers; an address that no peer is known by \
                proves nothing",
        look: &[
            Look { run: "ip neigh show dev TUNNEL", see: "the hardware address of the peer's TUNNEL_ADDRESS" },
            Look {
                run: "bridge fdb show dev TUNNEL",
                see: "no line with that address, or one whose `dst` is another node",
            },
            Look { run: "on the peer: ip link show dev TUNNEL", see: "the peer's own: the one that is right" },
        ],
        metrics: &["mtuscope_path_up{plane=\"overlay\"} == 0"],
        class: Class::Entries,
        silences: &[
            OverlayUnreachable::ENTRY.code,
            PodUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeVtepMacDiffers", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for vtep in vtep::all(node)? {
            match vtep {
                Err(unread) => judgement.unread.push(unread),
                Ok(vtep) if vtep::node_is_lost(node, vtep.key) => {}
                Ok(vtep) => {
                    if let Some(evidence) = evidence(node, &vtep) {
                        let subject = Subject::path(vtep.key);
                        let severity = if evidence.detour { Severity::Warning } else { Severity::Critical };
                        judgement.raise_breaking(subject.clone(), severity, evidence, vec![subject]);
                    }
                }
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, address, underlay, tunnel, mac, leads_to, whose, forwarded_mac, .. } = evidence;
        let led = match (leads_to, forwarded_mac) {
            (Some(end), _) => {
                let end = whose.as_ref().map_or_else(|| end.to_string(), |whose| words::at(whose, *end));
                let detour = if evidence.detour { ", from where it is sent on" } else { "" };
                format!("is forwarded to {end}{detour}, and not to {underlay}")
            }
            (None, Some(other)) => format!("has no forwarding entry, while the one to {underlay} is for {other}"),
            (None, None) => "has no forwarding entry".into(),
        };
        if evidence.wrong == Some(Side::Both) {
            return format!(
                "{} no longer has the hardware address {mac}, which both entries on {tunnel} name: packets to that are \
                 lost at {underlay}, and packets to every address are answered.",
                words::at(peer, *address)
            );
        }
        let right = forwarded_mac.as_deref().unwrap_or("the other one");
        let proof = match evidence.wrong {
            Some(Side::Neighbour) => format!("; packets to {right} are answered, so the neighbour entry is wrong"),
            Some(Side::Forwarding) => {
                format!("; packets to {underlay} are answered, so the forwarding entry is wrong")
            }
            Some(Side::Both) | None => String::new(),
        };
        let peer = words::at(peer, *address);
        format!("{tunnel} sends what is for {peer} to the hardware address {mac}, which {led}{proof}.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { address, underlay, tunnel, mac, forwarded_mac, wrong, .. } = evidence;
        let neighbour = |mac| VtepEntry::Neighbour { gateway: *address, mac };
        let forwarding = |to| VtepEntry::Forwarding { mac: Some(mac.clone()), to };
        let entries = match wrong {
            Some(Side::Neighbour) => vec![neighbour(forwarded_mac.clone())],
            Some(Side::Forwarding) => vec![forwarding(Some(*underlay))],
            Some(Side::Both) | None => vec![neighbour(None), forwarding(None)],
        };
        vec![Fix::VtepEntries { tunnel: tunnel.clone(), entries }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 244, 2, 0]);
        let (underlay, other) = (IpAddr::from([10, 0, 0, 12]), "66:b1:4c:2e:00:99");
        let mac = "66:b1:4c:2e:00:12";
        let evidence = Evidence {
            peer: "master-2".into(),
            address,
            underlay,
            tunnel: "vxlan.calico".into(),
            mac: other.into(),
            leads_to: None,
            whose: None,
            forwarded_mac: Some(mac.into()),
            neighbour: format!("{address} dev vxlan.calico lladdr {other} PERMANENT"),
            forwarding: vec![format!("{mac} dev vxlan.calico dst {underlay} self permanent")],
            detour: false,
            wrong: Some(Side::Neighbour),
            signature: Signature {
                underlay: Some(Told::Answers),
                overlay: Some(Told::Silent),
                pod: Some(Told::Silent),
                outer: Some(Told::Answers),
            },
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Overlay, address };
        (Subject::path(&key), Severity::Critical, evidence)
    }
}

/// Whether the neighbour's hardware address is another than the one that is forwarded, so that it is not simply missing.
pub(super) fn is_seen(node: &Snapshot, vtep: &Vtep<'_>) -> bool {
    difference(node, vtep).is_some()
}

/// Whether both entries name one hardware address, and the peer has another: it is silent to that one and takes what is for
/// every one.
fn is_renewed(vtep: &Vtep<'_>) -> bool {
    let agree = vtep.mac().is_some() && vtep.home_mac == vtep.mac() && matches!(vtep.forwarded, Forwarded::To(_));
    let verdict = |measured: &Fact<Measured>| measured.known().map(|measured| measured.verdict.clone());
    let is_silent = verdict(&vtep.path.outer) == Some(Verdict::Unreachable { why: Unreachable::Silent });
    let is_taken = verdict(&vtep.path.anyone).is_some_and(|verdict| verdict.path_mtu().is_some());
    agree && vtep::is_lost(vtep.path) && is_silent && is_taken
}

/// Where the neighbour's hardware address leads, and whose node that is.
fn difference<'a>(node: &'a Snapshot, vtep: &Vtep<'_>) -> Option<Option<(IpAddr, &'a Peer)>> {
    vtep.home?;
    match vtep.forwarded {
        Forwarded::Nowhere => vtep.home_mac.map(|_| None),
        Forwarded::To(end) => {
            let whose = vtep::owner(node, vtep.peer, end)?;
            // What is answered all the same is where it should be, whatever the operator wrote.
            (vtep::is_lost(vtep.path) || shares(node, vtep, whose)).then_some(Some((end, whose)))
        }
        Forwarded::Unasked | Forwarded::Group => None,
    }
}

/// Whether another peer's gateway has the same hardware address.
fn shares(node: &Snapshot, vtep: &Vtep<'_>, other: &Peer) -> bool {
    let gateways = other.overlay.into_iter();
    let mut neighbours = gateways.flat_map(|gateway| node.tables.neighbours_at(vtep.link.index, gateway));
    neighbours.any(|entry| vtep::is_valid(entry) && entry.mac == vtep.mac())
}

fn evidence(node: &Snapshot, vtep: &Vtep<'_>) -> Option<Evidence> {
    let renewed = is_renewed(vtep);
    let elsewhere = difference(node, vtep).or(renewed.then_some(None))?;
    let (mac, entry) = (vtep.mac()?, vtep.neighbour?);
    let macs = [Some(mac), vtep.home_mac].into_iter().flatten();
    let signature = Signature::of(node, &vtep.key.peer, vtep.key.family());
    let proven = signature.outer == Some(Told::Answers);
    let side = if renewed {
        Side::Both
    } else if vtep.home_mac.is_some() {
        Side::Neighbour
    } else {
        Side::Forwarding
    };
    Some(Evidence {
        peer: vtep.key.peer.clone(),
        address: vtep.gateway,
        underlay: vtep.home?,
        tunnel: vtep.link.name.clone(),
        mac: mac.to_string(),
        leads_to: elsewhere.map(|(end, _)| end),
        whose: elsewhere.map(|(_, whose)| whose.name.clone()),
        forwarded_mac: vtep.home_mac.map(|mac| mac.to_string()),
        neighbour: vtep::neighbour_line(entry, &vtep.link.name),
        forwarding: macs.filter_map(|mac| vtep::forwarding_of(&node.tables, vtep.link, mac)).collect(),
        detour: elsewhere.is_some() && !vtep::is_lost(vtep.path),
        wrong: (proven || renewed).then_some(side),
        signature,
    })
}

#[cfg(test)]
mod tests;
