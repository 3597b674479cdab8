//! A tunnel whose UDP port is not open, here or at a peer.
//!
//! *Here.* A VXLAN or Geneve device opens its port for every address when it is set up and closes it when it is set down;
//! the kernel lists that socket like any other (`/proc/net/udp`, [`crate::kernel::socket`]). A device that is down while
//! its port is taken cannot come up: `ip link set up` is refused (`EADDRINUSE`), whatever address the other program has
//! bound, and a CNI that keeps trying says so in a log that nobody reads. That is the cause of a tunnel that is down. One
//! that is down while its port is free was set down, and has a code of its own ([`LinkDown`]). A port that another
//! tunnel of this node has open is not taken: they share it.
//!
//! *At the peer.* A node that has no such port answers outer packets with "port unreachable" and quotes them, and so does
//! a filter that rejects them. Those that the tunnel sends and those that are encapsulated here are quoted alike. From
//! here a closed port and a rule that rejects look the same, but who answers does not: the peer, or somebody on the way. A
//! filter that drops says nothing, and neither does a peer that lacks an entry.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::links::LinkDown;
use crate::checks::paths::{PathBlackHole, PathLimited};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::{BoundPort, Link, Tunnel, TunnelKind};
use crate::path::{PathKey, Plane, Refusal, Unreachable, Verdict};
use crate::prober::Wire;
use crate::remedy::{Fix, PortAt};
use crate::report::Severity;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::Family;

use super::{OverlayTransferStalls, OverlayUnreachable, PodUnreachable, vtep};

/// The rule.
#[derive(Debug)]
pub struct TunnelPortClosed;

/// Where the port is closed, and how that was seen.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Where it is closed.
    pub at: At,
    /// The tunnel device here; absent where no route leads into one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// The UDP port; absent where the device does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Sockets here that have the port: their family, and the user who opened them.
    pub taken: Vec<Taken>,
    /// The peer's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The peer's tunnel address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The peer's node address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<IpAddr>,
    /// Who answers that the port is unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<IpAddr>,
}

/// Where a port is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// On this node: another program has it, and the tunnel is down.
    Here,
    /// On the peer: it refuses outer packets.
    Peer,
    /// On the way: somebody else refuses them.
    Between,
}

/// A socket that has the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Taken {
    /// Its family.
    pub family: Family,
    /// The user who opened it.
    pub uid: u32,
}

impl Check for TunnelPortClosed {
    const ENTRY: Entry = Entry {
        code: "tunnel-port-closed",
        area: Area::Overlay,
        severities: &[Severity::Critical],
        when: &["the port is taken here, or answered by \"port unreachable\""],
        title: "the tunnel's port is closed",
        meaning: "Outer packets of a tunnel come to a UDP port that nobody has open: here another program took it, so the \
                  tunnel cannot come up; at a peer its tunnel is down, has another port, or a filter rejects the packets.",
        quiet: "a tunnel that was set down while its port is free is `link-down`; tunnels of this node share a port",
        look: &[
            Look {
                run: "ss -lunp 'sport = :PORT'",
                see: "the line names a process: it took the port; a kernel tunnel's socket has none",
            },
            Look { run: "ip -d link show dev TUNNEL", see: "`state DOWN`; `dstport` is the port" },
            Look {
                run: "nstat -az IcmpInDestUnreachs Icmp6InDestUnreachs",
                see: "rises while pods send: somebody answers \"port unreachable\"",
            },
            Look { run: "nft list ruleset | grep -w PORT", see: "a rule with `reject`" },
        ],
        metrics: &["mtuscope_link_up{role=\"tunnel\"} == 0", "mtuscope_path_up{plane=\"overlay\"} == 0"],
        class: Class::NoThread { why: "no public thread known: the CNI's log says it, and nobody reads that" },
        silences: &[
            LinkDown::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            PodUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeTunnelPortClosed", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        for (link, port) in closed_here(node) {
            let subject = Subject::Link(link.name.clone());
            match node.tables.ports.read() {
                Err(why) => judgement.unread.push((subject, why)),
                Ok(ports) => {
                    let taken = taken(node, link, port, ports.map_or(&[], Vec::as_slice));
                    if !taken.is_empty() {
                        let evidence = here(link, port, taken);
                        judgement.raise_breaking(subject.clone(), Severity::Critical, evidence, vec![subject]);
                    }
                }
            }
        }
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay) {
            let subject = Subject::path(key);
            match path.verdict() {
                Err(why) => judgement.unread.push((subject, why)),
                Ok(verdict) => {
                    if let Some(by) = refuses(node, key, path, verdict) {
                        let evidence = there(node, key, path, by);
                        judgement.raise_breaking(subject.clone(), Severity::Critical, evidence, vec![subject]);
                    } else if let Some(why) = unseen(node, path, verdict) {
                        judgement.unread.push((subject, why));
                    }
                }
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, port, taken, peer, address, underlay, by, .. } = evidence;
        let port = port.map_or_else(|| "the tunnel's port".into(), |port| format!("UDP {port}"));
        let tunnel = tunnel.as_deref().unwrap_or("the tunnel");
        let name = peer.as_deref().zip(*address).map_or_else(String::new, |(peer, address)| words::at(peer, address));
        let by = by.map_or_else(String::new, |by| by.to_string());
        match evidence.at {
            At::Here => {
                let users: Vec<_> =
                    taken.iter().map(|one| format!("a socket of {} and uid {}", one.family, one.uid)).collect();
                format!(
                    "{tunnel} is down and cannot come up: {port} is taken by another program ({}).",
                    words::list(&users)
                )
            }
            At::Peer => format!(
                "{name} has {port} closed, or rejects it: {by} answers {tunnel}'s packets with port unreachable."
            ),
            At::Between => {
                let there = underlay.map_or_else(String::new, |there| format!(" at {there}"));
                format!(
                    "{by} rejects {port} on the way to {name}{there}: it answers {tunnel}'s packets with port unreachable."
                )
            }
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { at, tunnel, port, underlay, by, .. } = evidence;
        let at = match at {
            At::Here => PortAt::Here,
            At::Peer => PortAt::Peer { node: underlay.or(*by) },
            At::Between => PortAt::Between { by: *by, node: *underlay },
        };
        vec![Fix::TunnelPort { tunnel: tunnel.clone(), port: *port, at }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let (address, underlay) = (IpAddr::from([10, 244, 2, 0]), IpAddr::from([10, 0, 0, 12]));
        let evidence = Evidence {
            at: At::Peer,
            tunnel: Some("vxlan.calico".into()),
            port: Some(4789),
            taken: Vec::new(),
            peer: Some("master-2".into()),
            address: Some(address),
            underlay: Some(underlay),
            by: Some(underlay),
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Overlay, address };
        (Subject::path(&key), Severity::Critical, evidence)
    }
}

/// Tunnels in use that are down and would have a port.
fn closed_here(node: &Snapshot) -> impl Iterator<Item = (&Link, u16)> {
    let links = node.topology.tunnels().iter().filter_map(|view| node.tables.link(view.link));
    links.filter(|link| !link.up).filter_map(|link| {
        let tunnel = link.tunnel.as_ref()?;
        let by_udp = matches!(tunnel.kind, TunnelKind::Vxlan | TunnelKind::Geneve);
        Some((link, tunnel.port.filter(|_| by_udp)?))
    })
}

/// Sockets that keep a tunnel from opening its port: those that are not another tunnel's. One of IPv6 may take the port
/// for IPv4 as well.
fn taken(node: &Snapshot, link: &Link, port: u16, bound: &[BoundPort]) -> Vec<Taken> {
    let Some(tunnel) = &link.tunnel else { return Vec::new() };
    let others = || node.tables.links().iter().filter(|other| other.up).filter_map(|other| other.tunnel.as_ref());
    let shared = |family| others().any(|other| other.port == Some(port) && opens(other, family));
    let hinders = |family| opens(tunnel, family) || family == Family::Ipv6;
    let takes = bound.iter().filter(|one| one.port == port && hinders(one.family) && !shared(one.family));
    takes.map(|one| Taken { family: one.family, uid: one.uid }).collect()
}

/// Whether a tunnel opens its port for a family. One that has no address is one of IPv4.
fn opens(tunnel: &Tunnel, family: Family) -> bool {
    tunnel.external || tunnel.local.or(tunnel.remote).map_or(Family::Ipv4, Family::of) == family
}

fn here(link: &Link, port: u16, taken: Vec<Taken>) -> Evidence {
    Evidence {
        at: At::Here,
        tunnel: Some(link.name.clone()),
        port: Some(port),
        taken,
        peer: None,
        address: None,
        underlay: None,
        by: None,
    }
}

/// Who refuses outer packets to a peer whose tunnel is silent. A filter of this node is no closed port.
fn refuses(node: &Snapshot, key: &PathKey, path: &Path, verdict: &Verdict) -> Option<IpAddr> {
    let refused = |verdict: &Verdict| match verdict {
        Verdict::Unreachable { why: Unreachable::Refused { by, why: Refusal::TunnelPortUnreachable } } => Some(*by),
        _ => None,
    };
    let outer = || refused(&path.outer.known()?.verdict).filter(|_| vtep::is_lost(path));
    let by = refused(verdict).or_else(outer)?;
    (!node.tables.is_own(by) && !vtep::node_is_lost(node, key)).then_some(by)
}

/// Why a refusal of the outer packets of a tunnel that is silent would go unseen here, if it would.
fn unseen(node: &Snapshot, path: &Path, verdict: &Verdict) -> Option<Unread> {
    let lost = matches!(verdict, Verdict::Unreachable { .. }) && node.wire == Wire::Ping;
    let through = path.via.iter().any(|&link| node.topology.tunnel(link).is_some());
    let needs = "CAP_NET_RAW, to see errors about a tunnel's own packets".into();
    (lost && through).then(|| Unread::new(Source::Probes, Reason::Denied { needs }))
}

fn there(node: &Snapshot, key: &PathKey, path: &Path, by: IpAddr) -> Evidence {
    let tunnel =
        path.via.iter().find_map(|&link| node.topology.tunnel(link)).and_then(|view| node.tables.link(view.link));
    let underlay = node.node_address(key);
    let is_peer = node.peer(&key.peer).is_some_and(|peer| peer.addresses().any(|own| own == by));
    Evidence {
        at: if is_peer { At::Peer } else { At::Between },
        tunnel: tunnel.map(|link| link.name.clone()),
        port: tunnel.and_then(|link| link.tunnel.as_ref()?.port),
        taken: Vec::new(),
        peer: Some(key.peer.clone()),
        address: Some(key.address),
        underlay,
        by: Some(by),
    }
}

#[cfg(test)]
mod tests;
