//! A tunnel that is on another network than the ends that it leads to: on a machine with two NICs, autodetection took
//! the first one found, or the one with the default gateway.
//!
//! Evidence is what the kernel does with an outer packet. A tunnel is bound to a link (`dev`), sends from an address
//! (`local`), or both. The packet to a far end leaves by the route to that end all the same, so a tunnel on the wrong
//! network often works, half by the one and half by the other, until a filter or an MTU tells them apart. For each far
//! end the route is looked up (`fit`). The tunnel is astray from an end if that route leaves by another link, and the
//! kernel would not use the tunnel's address on it either. What the operator says is evidence too, and needs no route: the
//! `underlay` address of a named peer, where the tunnel's entry for that peer points to an address on another link, and
//! `expect.underlay_network`.
//!
//! Never astray: a tunnel that is bound to nothing and sends from no address of its own; one in collect-metadata mode;
//! one made in another namespace; a link that stands on or under the one that the route names (bridge port, bond, VLAN)
//! or whose own subnet holds the end; one of several next hops; a route in another table (policy routing) or in a VRF;
//! and an address on `lo`, on a dummy, or without a subnet, which a routed fabric announces wherever it likes.
//!
//! Who is wrong: all ends astray, or this node off the operator's network, is this node. Some astray, or this node where
//! the operator means it to be, is the nodes behind those ends: then only their peers' trouble is explained by it.
//!
//! A link that is down has lost its routes, and what is left of them leads astray: nothing is concluded then.

mod fit;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::declared::{CalicoMtuAutodetectedWrong, DeclaredMtuDiffers};
use crate::checks::overlay::{OverlayTransferStalls, OverlayUnreachable, PodUnreachable};
use crate::checks::paths::{PathMtuAsymmetric, PeerUnreachable};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::config::Prefix;
use crate::fact::{Reason, Source, Unread};
use crate::path::{PathKey, Plane};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::units::Family;

use super::{PodMtuTooLarge, TunnelNoHeadroom, TunnelUndersized};
use fit::{Base, End};

/// The rule.
#[derive(Debug)]
pub struct TunnelWrongUnderlay;

/// Where the tunnel is, and where it leads.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The tunnel device.
    pub tunnel: String,
    /// The link that it is bound to; absent if it is bound to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<String>,
    /// The source address of its outer packets; absent if the kernel chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// The link that has this address; absent if none of this machine has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_link: Option<String>,
    /// Who is on the wrong network.
    pub wrong: Wrong,
    /// Far ends that it leads to.
    pub ends: usize,
    /// How many of them are on another network than the tunnel.
    pub ends_astray: usize,
    /// Some of those, at most five.
    pub astray: Vec<Astray>,
    /// The networks that the operator means, if any are named.
    pub meant: Vec<String>,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<Right>,
}

/// Who is on the wrong network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// This node's end of the tunnel.
    ThisNode,
    /// The far ends that are listed.
    Peers,
}

/// A far end on another network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Astray {
    /// The peer's name, where one is known by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Its address.
    pub end: IpAddr,
    /// The links by which this node reaches that address.
    pub leaves_by: Vec<String>,
    /// The address that the operator names for this peer, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<IpAddr>,
}

/// Where this node's end belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Right {
    /// The link by which the ends are reached.
    pub link: String,
    /// This node's address on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The network that it shares with the ends, where it shares one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// One of the ends.
    pub end: IpAddr,
}

impl Check for TunnelWrongUnderlay {
    const ENTRY: Entry = Entry {
        code: "tunnel-wrong-underlay",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "the tunnel's link or address is not on the far ends' network",
            "and peers behind it do not answer, or large packets vanish",
        ],
        title: "tunnel on another network than its peers",
        meaning: "The tunnel is bound to a link, or sends from an address, that is not on the network of the ends it \
                  leads to: on nodes with two NICs, autodetection took the wrong one. Outer packets go astray, are \
                  refused as coming from elsewhere, or cross a network that was not made for them.",
        quiet: "a tunnel that is bound to nothing; an address on `lo` or a dummy, which a routed fabric announces; \
                policy routing and VRFs",
        look: &[
            Look {
                run: "ip -d link show dev TUNNEL",
                see: "`dev` and `local`: the NIC and the address that were chosen",
            },
            Look { run: "bridge fdb show dev TUNNEL", see: "`dst` of the entries: the far ends" },
            Look {
                run: "ip route get END",
                see: "`dev` is another link than the tunnel's, or `src` another address than its `local`",
            },
            Look { run: "kubectl get nodes -o wide", see: "INTERNAL-IP is not on the network that was meant" },
        ],
        metrics: &["mtuscope_tunnel_info", "mtuscope_path_up{plane=\"overlay\"} == 0"],
        class: Class::Detection,
        silences: &[
            PeerUnreachable::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PodUnreachable::ENTRY.code,
            PodMtuTooLarge::ENTRY.code,
            TunnelNoHeadroom::ENTRY.code,
            TunnelUndersized::ENTRY.code,
            PathMtuAsymmetric::ENTRY.code,
            DeclaredMtuDiffers::ENTRY.code,
            CalicoMtuAutodetectedWrong::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeTunnelWrongUnderlay", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.addresses.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        for tunnel in node.topology.tunnels() {
            let Some(base) = Base::of(node, tunnel) else { continue };
            let subject = Subject::Link(tunnel.name.clone());
            match found(node, tunnel, &base) {
                Err(why) => judgement.unread.push((subject, why)),
                Ok(None) => {}
                Ok(Some((evidence, astray))) => raise(&mut judgement, node, subject, evidence, &astray),
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, ends, ends_astray, astray, meant, wrong, local, local_link, .. } = evidence;
        let sends = evidence.sends();
        let (astray, by) = (words::list(&told(astray)), words::list(&leaves_by(astray)));
        if *wrong == Wrong::Peers {
            return format!(
                "{ends_astray} of {ends} far ends of {tunnel} are not on its network: {tunnel} {sends}, while {astray} \
                 is reached by {by}."
            );
        }
        match (local, local_link) {
            (Some(local), None) => format!("{tunnel} sends from {local}, which no link of this node has."),
            _ if *ends_astray == 0 => {
                format!("{tunnel} {sends}, which is not on the network that is meant, {}.", words::list(meant))
            }
            _ => format!("{tunnel} {sends}, but its peers' ends ({astray}) are reached by {by}."),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { tunnel, right, meant, wrong, astray, .. } = evidence;
        let networks = if meant.is_empty() {
            right.iter().filter_map(|right| right.network.clone()).collect()
        } else {
            meant.clone()
        };
        vec![Fix::TunnelUnderlay {
            tunnel: tunnel.clone(),
            link: right.as_ref().map(|right| right.link.clone()),
            address: right.as_ref().and_then(|right| right.address),
            networks,
            reaches: right.as_ref().map(|right| right.end),
            elsewhere: if *wrong == Wrong::Peers { told(astray) } else { Vec::new() },
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let astray = |peer: &str, last| Astray {
            peer: Some(peer.into()),
            end: IpAddr::from([10, 0, 0, last]),
            leaves_by: vec!["vmbr1".into()],
            named: None,
        };
        let evidence = Evidence {
            tunnel: "vxlan.calico".into(),
            bound_to: Some("vmbr0".into()),
            local: Some(IpAddr::from([192, 168, 0, 11])),
            local_link: Some("vmbr0".into()),
            wrong: Wrong::ThisNode,
            ends: 2,
            ends_astray: 2,
            astray: vec![astray("master-2", 12), astray("master-3", 13)],
            meant: Vec::new(),
            right: Some(Right {
                link: "vmbr1".into(),
                address: Some(IpAddr::from([10, 0, 0, 11])),
                network: Some("10.0.0.0/24".into()),
                end: IpAddr::from([10, 0, 0, 12]),
            }),
        };
        (Subject::Link("vxlan.calico".into()), Severity::Warning, evidence)
    }
}

impl Evidence {
    /// Whether the link that it is on takes smaller packets than the right one.
    fn is_narrower(&self, node: &Snapshot) -> bool {
        let mtu = |name: &String| node.tables.link_named(name).map(|link| link.mtu);
        let here = self.bound_to.as_ref().or(self.local_link.as_ref()).and_then(mtu);
        let right = self.right.as_ref().and_then(|right| mtu(&right.link));
        here.zip(right).is_some_and(|(here, right)| here < right)
    }

    fn sends(&self) -> String {
        match (&self.local, self.bound_to.as_ref().or(self.local_link.as_ref())) {
            (Some(local), Some(link)) => format!("is on {link} and sends from {local}{}", self.elsewhere(link)),
            (Some(local), None) => format!("sends from {local}"),
            (None, Some(link)) => format!("is on {link}"),
            (None, None) => "is on no link".into(),
        }
    }

    /// Where the address is, if that is not where the tunnel is bound to.
    fn elsewhere(&self, link: &str) -> String {
        let owner = self.local_link.as_ref().filter(|owner| *owner != link);
        owner.map(|owner| format!(" of {owner}")).unwrap_or_default()
    }
}

/// What a wrong network breaks whatever the MTU of its link is: answers come back over the network of the address that
/// the tunnel sends from, which may carry less than the link that it is bound to.
const REACH: &[&str] = &[
    PathMtuAsymmetric::ENTRY.code,
    PeerUnreachable::ENTRY.code,
    OverlayUnreachable::ENTRY.code,
    PodUnreachable::ENTRY.code,
    DeclaredMtuDiffers::ENTRY.code,
];

/// The network below a tunnel is probed from the tunnel's own address: peers that refuse the one refuse the other.
fn probed_from(node: &Snapshot, evidence: &Evidence, astray: &[Astray]) -> Vec<Subject> {
    let ends = || astray.iter().filter(|_| evidence.local.is_some()).map(|astray| astray.end);
    let paths = node.paths.keys().filter(|key| key.plane == Plane::Underlay && ends().any(|end| end == key.address));
    paths.map(Subject::path).collect()
}

/// Links that nobody meant, whose MTU is nobody's matter.
fn below(node: &Snapshot, evidence: &Evidence) -> Vec<Subject> {
    let link = evidence.bound_to.as_ref().or(evidence.local_link.as_ref());
    let chain = link.and_then(|link| node.topology.index_of(link)).map(|link| node.topology.chain(link));
    let links = chain.into_iter().flatten().filter_map(|index| node.tables.link(index));
    links.map(|link| Subject::Link(link.name.clone())).collect()
}

/// `10.0.0.12 (master-2)`, and what the operator names instead.
fn told(astray: &[Astray]) -> Vec<String> {
    let one = |astray: &Astray| {
        let name = astray.peer.as_ref().filter(|peer| **peer != astray.end.to_string());
        match (name, astray.named) {
            (Some(peer), Some(named)) => format!("{} ({peer}, meant to be {named})", astray.end),
            (Some(peer), None) => format!("{} ({peer})", astray.end),
            (None, _) => astray.end.to_string(),
        }
    };
    astray.iter().map(one).collect()
}

fn leaves_by(astray: &[Astray]) -> Vec<String> {
    let mut links: Vec<_> = astray.iter().flat_map(|astray| astray.leaves_by.clone()).collect();
    links.sort();
    links.dedup();
    links
}

/// A wrong network breaks every path of the tunnel, if it is this node's end that is wrong; those of the peers in
/// question, if it is theirs. It explains sizes that do not fit only if the right link takes larger ones.
fn raise(
    judgement: &mut Judgement<Evidence>,
    node: &Snapshot,
    subject: Subject,
    evidence: Evidence,
    astray: &[Astray],
) {
    if evidence.wrong == Wrong::ThisNode {
        let is_narrower = evidence.is_narrower(node);
        let causes = if is_narrower { Causes::All } else { Causes::Codes(REACH) };
        // The kernel holds a tunnel to what the link below it takes.
        let own = is_narrower.then(|| subject.clone());
        let breaks =
            below(node, &evidence).into_iter().chain(probed_from(node, &evidence, astray)).chain(own).collect();
        return judgement.raise_causing(subject, Severity::Warning, evidence, causes, breaks);
    }
    let leads_there = |key: &PathKey| {
        let named = |astray: &&Astray| astray.peer.as_ref() == Some(&key.peer);
        astray.iter().filter(named).any(|astray| Family::of(astray.end) == node.family_below(key))
    };
    let inside = node.paths.keys().filter(|key| key.plane != Plane::Underlay && leads_there(key));
    let breaks = inside.map(Subject::path).collect();
    // The way to a wrong end may be by a link that is too small for the tunnel.
    let causes = if has_room(node, &evidence) { Causes::NamedAnd(ROOM) } else { Causes::Named };
    judgement.raise_causing(subject, Severity::Warning, evidence, causes, breaks);
}

/// What a wrong end far away makes of a tunnel that has room for its headers where it belongs.
const ROOM: &[&str] = &[TunnelNoHeadroom::ENTRY.code];

/// Whether the link that the tunnel is on takes its full packets.
fn has_room(node: &Snapshot, evidence: &Evidence) -> bool {
    let on = evidence.bound_to.as_ref().or(evidence.local_link.as_ref());
    let room = on.and_then(|link| Some(node.tables.link_named(link)?.mtu.bytes()));
    let tunnel = node.topology.tunnels().iter().find(|tunnel| tunnel.name == evidence.tunnel);
    let needed = tunnel.and_then(|tunnel| Some(tunnel.mtu.bytes() + tunnel.overhead?));
    room.zip(needed).is_some_and(|(room, needed)| room >= needed)
}

/// What is wrong with a tunnel, and every end that is astray: the evidence lists some.
fn found(node: &Snapshot, tunnel: &TunnelView, base: &Base) -> Result<Option<(Evidence, Vec<Astray>)>, Unread> {
    if let Some(down) = base.down(node) {
        let why = format!("{down} is down, so routes do not tell where {} belongs", tunnel.name);
        return Err(Unread::new(Source::Lookup, Reason::Unsupported { why }));
    }
    let ends = fit::ends(node, tunnel, base);
    let meant = &node.expect.underlay_network;
    let astray: Vec<&End> = ends.iter().filter(|end| end.is_astray(meant)).collect();
    let off = base.is_off(node, meant);
    if astray.is_empty() && !off && !base.is_nowhere() {
        return match ends.iter().find_map(|end| end.unread.clone()) {
            Some(why) => Err(why),
            None => Ok(None),
        };
    }
    let wrong = base.blame(node, meant, &ends);
    let name = |index| node.tables.link(index).map(|link| link.name.clone());
    let astray: Vec<_> = astray.into_iter().map(|end| end.told(node)).collect();
    let evidence = Evidence {
        tunnel: tunnel.name.clone(),
        bound_to: base.bound.and_then(name),
        local: base.local,
        local_link: base.owner.and_then(name),
        wrong,
        ends: ends.len(),
        ends_astray: astray.len(),
        meant: meant.iter().map(Prefix::to_string).collect(),
        right: base.right(node, wrong, meant, &ends),
        astray: astray.iter().take(5).cloned().collect(),
    };
    Ok(Some((evidence, astray)))
}
