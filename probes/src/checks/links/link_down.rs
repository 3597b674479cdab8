//! A link that must work and does not.
//!
//! Must work: tunnels in use, links with a part in the underlay, and all that they stand on. Everything else may be
//! down: a spare NIC, a module's `tunl0`, a container engine's bridge. A bridge that only pods hang on has no carrier
//! while no pod runs, which is no fault; set down, it is one.
//!
//! One fault, one finding: of links that stand on each other the lowest is raised and the ones above are named in its
//! evidence, because a dead NIC takes the carrier of its bridge away. A bridge shows no more than that if its only
//! working ports are guests', so a bridge or bond also counts as down when all of its ways to the wire are. A bridge
//! that is up and has no such way to begin with has another code, `bridge-no-uplink`, which is raised in its place.
//!
//! One way of several: a bond, or a route with several next hops, works on and has lost its spare, a warning. A bridge's
//! port may be unused; it is raised only if a peer through the bridge is unreachable. Neither is taken for the cause of
//! anything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::cluster::VipInterfaceMissing;
use crate::checks::overlay::{OverlayTransferStalls, OverlayUnreachable, PodUnreachable};
use crate::checks::paths::{PathBlackHole, PathLimited, PeerUnreachable};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Hop, Link, LinkIndex};
use crate::path::{PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::tables::covers;

use super::{DefaultRouteMissing, bridge_no_uplink};

/// The rule.
#[derive(Debug)]
pub struct LinkDown;

/// A link that is down, and what that takes along.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The link that is to be mended.
    #[serde(flatten)]
    pub state: State,
    /// What it is for.
    pub role: Role,
    /// The bridge or bond that it is a port of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its ways to the wire, all of them down, where it has several.
    pub members: Vec<State>,
    /// Links of the same bridge or bond that still work.
    pub spares: Vec<String>,
    /// Links that stand on it.
    pub carries: Vec<String>,
    /// Of those, the ones that are down as well.
    pub also_down: Vec<State>,
    /// Peers that are reached through it, or were.
    pub peers: Vec<String>,
}

/// How a link is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct State {
    /// Name.
    pub link: String,
    /// Set up by the administrator (`IFF_UP`).
    pub admin_up: bool,
    /// Carrier; absent where the kernel cannot tell because the link is set down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<bool>,
    /// Whether it is a tunnel device.
    pub tunnel: bool,
}

impl Check for LinkDown {
    const ENTRY: Entry = Entry {
        code: "link-down",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "it is a bond's or a route's spare, or a port of a bridge whose other ports work",
            "nothing else carries what it carried",
        ],
        title: "link down",
        meaning: "A link that carries a tunnel or the way to peers is set down or has no carrier. The bridge or tunnel \
                  above it may look configured all the same; nothing that leaves by it arrives.",
        quiet: "a link that neither a tunnel nor a peer's route needs may be down; a bridge for pods alone may be \
                without carrier",
        look: &[
            Look {
                run: "ip -br link",
                see: "the state is DOWN, or NO-CARRIER stands among the flags, of LINK or of what it stands on",
            },
            Look {
                run: "ip -d link show dev LINK",
                see: "`state DOWN` without `UP` in the flags: it was set down; with `NO-CARRIER`: the other end or the \
                      cable",
            },
            Look { run: "ethtool LINK", see: "`Link detected: no`" },
            Look {
                run: "bridge link",
                see: "the NIC's line has `state disabled`, or its line is missing: then it is no port of the bridge",
            },
        ],
        metrics: &["mtuscope_link_up == 0"],
        class: Class::NoThread { why: "no public thread known: a NIC that is down is mended without one" },
        silences: &[
            PeerUnreachable::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PodUnreachable::ENTRY.code,
            DefaultRouteMissing::ENTRY.code,
            VipInterfaceMissing::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeLinkDown", minutes: 1 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        let mut judgement = Judgement::default();
        let mut raised = bridge_no_uplink::cut_off(node);
        for link in needed(node) {
            if node.topology.chain(link.index).iter().any(|index| raised.contains(index)) {
                continue;
            }
            match fault(node, link) {
                Some(Fault::Whole) => {
                    raised.insert(link.index);
                    let evidence = evidence(node, link);
                    let mut breaks = paths_of(node, link, &evidence.peers);
                    breaks.push(subject(link));
                    judgement.raise_breaking(subject(link), Severity::Critical, evidence, breaks);
                }
                Some(Fault::Part(severity)) => judgement.raise_alone(subject(link), severity, evidence(node, link)),
                Some(Fault::Unknown(why)) => judgement.unread.push((subject(link), why)),
                None => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let told = match evidence.members.as_slice() {
            [] => evidence.state.told(),
            members => {
                let members: Vec<_> = members.iter().map(State::told).collect();
                format!("{} has no way to the wire ({})", evidence.state.link, words::list(&members))
            }
        };
        if let (Some(master), false) = (&evidence.master, evidence.spares.is_empty()) {
            return format!("{told}; {master} works on by {}.", words::list(&evidence.spares));
        }
        let (carries, peers) = (words::list(&evidence.carries), words::list(&evidence.peers));
        match (evidence.carries.is_empty(), evidence.peers.is_empty()) {
            (true, true) => format!("{told}."),
            (true, false) if evidence.state.tunnel => format!("{told}, so pods here reach none on {peers}."),
            (true, false) => format!("{told}, so nothing reaches {peers}."),
            (false, true) => format!("{told}, so nothing passes {carries} above it."),
            (false, false) if evidence.state.tunnel => {
                format!("{told}, so nothing passes {carries} above it, and pods here reach none on {peers}.")
            }
            (false, false) => format!("{told}, so nothing passes {carries} above it or reaches {peers}."),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { state, master, members, also_down, .. } = evidence;
        let up = |state: &State, master: Option<&String>| Fix::LinkUp {
            link: state.link.clone(),
            no_carrier: state.admin_up,
            master: master.cloned(),
            tunnel: state.tunnel,
        };
        let itself = (members.is_empty() || !state.admin_up).then(|| up(state, master.as_ref()));
        let members = members.iter().map(|member| up(member, Some(&state.link)));
        let above = also_down.iter().filter(|above| !above.admin_up).map(|above| up(above, None));
        members.chain(itself).chain(above).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            state: State { link: "enp5s0".into(), admin_up: false, carrier: None, tunnel: false },
            role: Role::Underlay,
            master: Some("vmbr1".into()),
            members: Vec::new(),
            spares: Vec::new(),
            carries: vec!["vmbr1".into(), "vxlan.calico".into()],
            also_down: vec![State { link: "vmbr1".into(), admin_up: true, carrier: Some(false), tunnel: false }],
            peers: vec!["master-2".into(), "master-3".into()],
        };
        (Subject::Link("enp5s0".into()), Severity::Critical, evidence)
    }
}

enum Fault {
    /// Nothing gets through.
    Whole,
    /// One of several ways is gone.
    Part(Severity),
    /// It may be needed and may not.
    Unknown(Unread),
}

impl State {
    fn of(node: &Snapshot, link: &Link) -> Self {
        let tunnel = node.topology.role(link.index) == Role::Tunnel;
        Self { link: link.name.clone(), admin_up: link.up, carrier: link.carrier.filter(|_| link.up), tunnel }
    }

    fn told(&self) -> String {
        let how = if self.admin_up { "has no carrier" } else { "is set down" };
        format!("{} {how}", self.link)
    }
}

fn subject(link: &Link) -> Subject {
    Subject::Link(link.name.clone())
}

/// Links that must work, lowest first.
fn needed(node: &Snapshot) -> Vec<&Link> {
    let topology = &node.topology;
    let carrying = |link: &&Link| matches!(topology.role(link.index), Role::Underlay | Role::Bridge | Role::Tunnel);
    let links = node.tables.links().iter().filter(carrying);
    let all: BTreeSet<_> = links.flat_map(|link| topology.chain(link.index)).collect();
    let mut needed: Vec<_> = all.into_iter().filter_map(|index| node.tables.link(index)).collect();
    needed.sort_by_key(|link| topology.chain(link.index).len());
    needed
}

fn fault(node: &Snapshot, link: &Link) -> Option<Fault> {
    let ways: Vec<_> = node.topology.directly_below(link.index).collect();
    if ways.len() > 1 && ways.iter().all(|&way| is_dead(node, way)) {
        return Some(Fault::Whole);
    }
    if !is_down(node, link) {
        return None;
    }
    let Some(master) = group(node, link.index) else {
        return Some(if is_spare_leg(node, link) { Fault::Part(Severity::Warning) } else { Fault::Whole });
    };
    if siblings(node, master.index).iter().all(|&way| is_dead(node, way)) {
        return None;
    }
    match master.kind.as_str() {
        "bridge" => port_fault(node, master),
        _ => Some(Fault::Part(Severity::Warning)),
    }
}

/// Whether nothing stands on the link, and every peer that is reached by it has another next hop that works.
fn is_spare_leg(node: &Snapshot, link: &Link) -> bool {
    let by_link = |hop: &Hop| node.topology.chain(hop.link).contains(&link.index);
    let spared = |key: &PathKey| {
        let route = node.lookups.get(&key.address).and_then(Fact::known);
        route.is_some_and(|route| route.hops.iter().any(|hop| !by_link(hop) && !is_dead(node, hop.link)))
    };
    let mut leaving = node.paths.iter().filter(|(_, path)| path.via.contains(&link.index)).peekable();
    let carries = needed(node).into_iter().any(|above| node.topology.stands_on(&above.name, &link.name));
    !carries && leaving.peek().is_some() && leaving.all(|(key, path)| spared(key) && answers(path))
}

fn answers(path: &Path) -> bool {
    path.verdict().is_ok_and(|verdict| verdict.path_mtu().is_some())
}

/// Whether a bridge's port that is down is missed while another one works.
fn port_fault(node: &Snapshot, bridge: &Link) -> Option<Fault> {
    let through =
        node.paths.iter().filter(|(key, path)| key.plane == Plane::Underlay && path.via.contains(&bridge.index));
    let verdicts: Vec<_> = through.map(|(_, path)| path.verdict()).collect();
    if verdicts.iter().any(|verdict| matches!(verdict, Ok(Verdict::Unreachable { .. }))) {
        return Some(Fault::Part(Severity::Critical));
    }
    if verdicts.iter().any(Result::is_ok) {
        return None;
    }
    let why = format!("a port of {} is down while another works, and no path through it was measured", bridge.name);
    Some(Fault::Unknown(Unread::new(Source::Probes, Reason::Unsupported { why })))
}

fn is_down(node: &Snapshot, link: &Link) -> bool {
    if for_pods_only(node, link) { !link.up } else { !link.works() }
}

/// Whether nothing gets through: the link itself is down, or every way below it is dead.
fn is_dead(node: &Snapshot, link: LinkIndex) -> bool {
    is_dead_below(node, link, &mut BTreeSet::new())
}

/// Tunnels found by route can stand on each other in a circle; a link that was `seen` is not asked again.
fn is_dead_below(node: &Snapshot, link: LinkIndex, seen: &mut BTreeSet<LinkIndex>) -> bool {
    if !seen.insert(link) {
        return false;
    }
    let ways = siblings(node, link);
    let works = node.tables.link(link).is_some_and(Link::works);
    !works || (!ways.is_empty() && ways.into_iter().all(|way| is_dead_below(node, way, seen)))
}

fn for_pods_only(node: &Snapshot, link: &Link) -> bool {
    let topology = &node.topology;
    let mut ports = node.tables.links().iter().filter(|port| port.master == Some(link.index));
    topology.directly_below(link.index).next().is_none()
        && ports.any(|port| topology.role(port.index) == Role::Pod)
        && !topology.tunnels().iter().any(|tunnel| topology.chain(tunnel.link).contains(&link.index))
}

fn siblings(node: &Snapshot, master: LinkIndex) -> Vec<LinkIndex> {
    node.topology.directly_below(master).collect()
}

/// The bridge or bond that has this link for one of several ways to the wire.
fn group(node: &Snapshot, link: LinkIndex) -> Option<&Link> {
    let master = node.tables.link(node.tables.link(link)?.master?)?;
    let ways = siblings(node, master.index);
    (ways.len() > 1 && ways.contains(&link)).then_some(master)
}

fn evidence(node: &Snapshot, link: &Link) -> Evidence {
    let named = |index: LinkIndex| node.tables.link(index);
    let down = |index: &LinkIndex| is_dead(node, *index);
    let ways = siblings(node, link.index);
    let members = if ways.len() > 1 { ways } else { Vec::new() };
    let rest = group(node, link.index).map(|master| siblings(node, master.index)).unwrap_or_default();
    let above: Vec<_> =
        needed(node).into_iter().filter(|above| node.topology.stands_on(&above.name, &link.name)).collect();
    Evidence {
        state: State::of(node, link),
        role: node.topology.role(link.index),
        master: link.master.and_then(named).map(|master| master.name.clone()),
        members: members.into_iter().filter(down).filter_map(named).map(|link| State::of(node, link)).collect(),
        spares: rest.into_iter().filter(|way| !down(way)).filter_map(named).map(|link| link.name.clone()).collect(),
        also_down: above.iter().filter(|link| is_down(node, link)).map(|link| State::of(node, link)).collect(),
        peers: peers(node, link, &above),
        carries: above.into_iter().map(|link| link.name.clone()).collect(),
    }
}

/// Peers whose path leaves by the link, or whose subnet is on it or above it: their routes may be gone with it. A
/// tunnel that is down has lost its routes and neighbours, but forwarding entries still tell whom it leads to. Who
/// answers by the link is reached without it.
fn peers(node: &Snapshot, link: &Link, above: &[&Link]) -> Vec<String> {
    let here: Vec<_> = std::iter::once(link).chain(above.iter().copied()).map(|link| link.index).collect();
    let own: Vec<_> = here.iter().flat_map(|&index| node.tables.addresses_of(index)).collect();
    let near = |address| own.iter().any(|own| own.global && covers(own.address, own.prefix, address));
    let leaves = |peer: &str| {
        let mut paths = node.paths.iter().filter(|(key, _)| key.peer == peer);
        paths.any(|(_, path)| path.via.contains(&link.index))
    };
    let far = |address| here.iter().any(|&index| leads_to(node, index, address));
    let reached = |address| near(address) || far(address);
    let behind = |peer: &Peer| std::iter::once(&link).chain(above).any(|link| peer.is_behind(&link.name));
    let gone = |peer: &&Peer| peer.underlay.into_iter().any(reached) || leaves(&peer.name) || behind(peer);
    let peers = node.peers.iter().filter(gone).filter(|peer| !answers_by(node, link, &peer.name));
    peers.map(|peer| peer.name.clone()).collect()
}

/// Whether a peer answers by what stands on the link all the same: a guest on the same bridge.
fn answers_by(node: &Snapshot, link: &Link, peer: &str) -> bool {
    let mut paths = node.paths.iter().filter(|(key, path)| key.peer == peer && path.via.contains(&link.index));
    paths.any(|(_, path)| answers(path))
}

/// Whether the link is a tunnel with a far end of this address.
fn leads_to(node: &Snapshot, link: LinkIndex, address: IpAddr) -> bool {
    let fixed = node.tables.link(link).and_then(|link| link.tunnel.as_ref()?.remote);
    node.tables.remotes_of(link).map(|(_, end)| end).chain(fixed).any(|end| end == address)
}

/// The paths that end with the link. A tunnel takes nothing away from the way to its own far ends, nor from what another
/// tunnel carries there.
fn paths_of(node: &Snapshot, link: &Link, peers: &[String]) -> Vec<Subject> {
    let by_another = |peer: &Peer, family| peer.behind(family).is_some_and(|behind| behind.tunnel != link.name);
    let beside = |key: &PathKey| {
        let behind = node.peer(&key.peer).filter(|peer| peer.is_behind(&link.name));
        match key.plane {
            Plane::Underlay => leads_to(node, link.index, key.address) || behind.is_some(),
            Plane::Overlay | Plane::Pod => behind.is_some_and(|peer| by_another(peer, key.family())),
        }
    };
    node.paths.keys().filter(|key| peers.contains(&key.peer) && !beside(key)).map(Subject::path).collect()
}

#[cfg(test)]
mod tests;
