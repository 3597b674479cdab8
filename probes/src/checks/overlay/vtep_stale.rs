//! What a tunnel keeps although nothing uses it, and routes that contradict each other.
//!
//! A CNI takes a node's entries away when the node goes; one that was not running then leaves them. Nobody misses them
//! until the address is given to somebody else. With nobody but the kernel to name peers every entry *is* a peer, so
//! only what the tables themselves show to be unused is told:
//!
//! - a permanent forwarding entry for a hardware address that no neighbour has. Where a peer lacks its neighbour entry, or
//!   has another one, the entry is that peer's and another code's.
//! - a permanent neighbour that no route goes by and whose hardware address is forwarded nowhere.
//! - two routes to one prefix by different gateways of the tunnel. The kernel takes the one of the lower metric, so one of
//!   two nodes never gets what is meant for it: a warning.
//!
//! Not told: a neighbour that the kernel itself made and could not resolve, which it keeps for a while and does nothing
//! with; a neighbour with its forwarding entry and no route, which is how Calico keeps the nodes of the same subnet
//! (CrossSubnet) and those that have no pods yet; a peer that the operator names. Tunnels that find peers by other means
//! are left alone ([`Tables::leads_by_entries`](crate::tables::Tables::leads_by_entries)).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::{Link, Mac, NeighbourState, Route, RouteKind};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

use super::vtep::{self, Vtep};
use super::vtep_mac_differs;

/// The rule.
#[derive(Debug)]
pub struct VtepStale;

/// What a tunnel keeps for nobody.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The tunnel device.
    pub tunnel: String,
    /// Entries that nothing uses.
    pub unused: Vec<Unused>,
    /// Routes of which only the first is ever taken.
    pub contradicting: Vec<Contradicting>,
}

/// An entry that nothing uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Unused {
    /// The line that `bridge fdb` or `ip neigh` shows.
    pub line: String,
    /// Why nothing uses it.
    pub why: Why,
    /// The command that takes it away.
    pub remove: String,
}

/// Why nothing uses an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No neighbour has the hardware address that is forwarded.
    NoNeighbour,
    /// No route goes by the neighbour, and its hardware address is forwarded nowhere.
    NoRouteNoForwarding,
}

/// Several routes to one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Contradicting {
    /// The prefix.
    pub to: String,
    /// The lines that `ip route` shows, the one that is taken first.
    pub routes: Vec<String>,
}

impl Check for VtepStale {
    const ENTRY: Entry = Entry {
        code: "vtep-stale",
        area: Area::Overlay,
        severities: &[Severity::Info, Severity::Warning],
        when: &[
            "an entry that nothing uses",
            "two routes to one prefix by different gateways: one of two nodes gets nothing",
        ],
        title: "tunnel keeps entries of nobody",
        meaning: "A VXLAN tunnel keeps entries that nothing uses, as they are left over when a node goes, or routes to \
                  one prefix by several nodes, of which one is never taken.",
        quiet: "an entry that a peer uses, or that the kernel itself made and will drop; a node without pods yet \
                (neighbour and forwarding entry, no route)",
        look: &[
            Look { run: "bridge fdb show dev TUNNEL", see: "a hardware address that no neighbour has" },
            Look { run: "ip neigh show dev TUNNEL", see: "a permanent neighbour that no route goes by" },
            Look { run: "ip route show dev TUNNEL", see: "one prefix twice, with different `via`" },
        ],
        metrics: &[],
        class: Class::Entries,
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::None { why: "what is left over hurts nobody until its address is used again" },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let vteps: Vec<_> = vtep::all(node)?.into_iter().flatten().collect();
        for link in node.tables.links().iter().filter(|link| node.tables.leads_by_entries(link)) {
            let unused = unused(node, link, &vteps)?;
            let contradicting = contradicting(node, link)?;
            let severity = if contradicting.is_empty() { Severity::Info } else { Severity::Warning };
            if !unused.is_empty() || !contradicting.is_empty() {
                let evidence = Evidence { tunnel: link.name.clone(), unused, contradicting };
                judgement.raise_alone(Subject::Link(link.name.clone()), severity, evidence);
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, unused, contradicting } = evidence;
        let told = unused.first().map(|first| {
            let why = match first.why {
                Why::NoNeighbour => "no neighbour has that hardware address",
                Why::NoRouteNoForwarding => "no route goes by it and nothing is forwarded to it",
            };
            let entries = if unused.len() == 1 { "1 entry".into() } else { format!("{} entries", unused.len()) };
            format!("{tunnel} keeps {entries} that nothing uses: `{}` ({why})", first.line)
        });
        let routes = contradicting.iter().map(|one| {
            let how = words::count(one.routes.len(), "route");
            format!("{how} of {tunnel} lead to {}, and only `{}` is taken", one.to, one.routes[0])
        });
        format!("{}.", told.into_iter().chain(routes).collect::<Vec<_>>().join("; "))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { tunnel, unused, contradicting } = evidence;
        vec![Fix::VtepForgotten {
            tunnel: tunnel.clone(),
            remove: unused.iter().map(|one| one.remove.clone()).collect(),
            routes: contradicting.iter().map(|one| one.to.clone()).collect(),
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let (mac, end) = (Mac([0x66, 0xb1, 0x4c, 0x2e, 0, 0x14]), IpAddr::from([10, 0, 0, 14]));
        let evidence = Evidence {
            tunnel: "vxlan.calico".into(),
            unused: vec![Unused {
                line: vtep::forwarding_line(mac, end, "vxlan.calico") + " permanent",
                why: Why::NoNeighbour,
                remove: removed_forwarding(mac, end, "vxlan.calico"),
            }],
            contradicting: Vec::new(),
        };
        (Subject::Link("vxlan.calico".into()), Severity::Info, evidence)
    }
}

fn unused(node: &Snapshot, link: &Link, vteps: &[Vtep<'_>]) -> Result<Vec<Unused>, Unread> {
    node.tables.routes.read()?;
    let mut unused = unclaimed(node, link, vteps);
    unused.extend(unreached(node, link));
    unused.sort();
    Ok(unused)
}

/// Forwarding entries for hardware addresses that no neighbour has.
fn unclaimed(node: &Snapshot, link: &Link, vteps: &[Vtep<'_>]) -> Vec<Unused> {
    let claimed: BTreeSet<Mac> = node.tables.neighbours_of(link.index).filter_map(|entry| entry.mac).collect();
    let here = || vteps.iter().filter(|vtep| vtep.link.index == link.index);
    let missed = |end: IpAddr| {
        let lacks = |vtep: &Vtep<'_>| !vtep.is_resolved() || vtep_mac_differs::is_seen(node, vtep);
        here().any(|vtep| vtep.home == Some(end) && lacks(vtep))
    };
    let entries = node.tables.remotes_of(link.index).filter(|(entry, _)| entry.permanent);
    let entries = entries.filter(|(entry, end)| !claimed.contains(&entry.mac) && !missed(*end));
    let told = |(entry, end): (&crate::kernel::FdbEntry, IpAddr)| Unused {
        line: vtep::forwarding_line(entry.mac, end, &link.name) + " permanent",
        why: Why::NoNeighbour,
        remove: removed_forwarding(entry.mac, end, &link.name),
    };
    entries.map(told).collect()
}

/// Neighbours that lead nowhere and that nothing goes by.
fn unreached(node: &Snapshot, link: &Link) -> Vec<Unused> {
    let gateways: BTreeSet<IpAddr> =
        routes(node, link).flat_map(|route| &route.hops).filter_map(|hop| hop.gateway).collect();
    let forwarded = |mac: Mac| node.tables.entries_for(link.index, mac).next().is_some();
    let named = |address: IpAddr| {
        let holds = |peer: &&crate::peers::Peer| peer.overlay.holds(address) && peer.name.parse::<IpAddr>().is_err();
        node.peers.iter().find(holds).is_some()
    };
    let written = node.tables.neighbours_of(link.index).filter(|entry| {
        let kept = entry.state == NeighbourState::Permanent || entry.external;
        kept && !entry.address.is_multicast() && entry.mac.is_some_and(|mac| mac.is_unicast() && !forwarded(mac))
    });
    let left = written.filter(|entry| !gateways.contains(&entry.address) && !named(entry.address));
    let told = |entry: &crate::kernel::Neighbour| Unused {
        line: vtep::neighbour_line(entry, &link.name),
        why: Why::NoRouteNoForwarding,
        remove: format!("ip neigh del {} dev {}", entry.address, link.name),
    };
    left.map(told).collect()
}

/// Unicast routes that lead into the tunnel.
fn routes<'a>(node: &'a Snapshot, link: &Link) -> impl Iterator<Item = &'a Route> {
    let into = link.index;
    let routes = node.tables.routes.known().into_iter().flatten();
    routes.filter(move |route| route.kind == RouteKind::Unicast && route.hops.iter().any(|hop| hop.link == into))
}

/// Prefixes that several routes of one table lead to, by different gateways.
fn contradicting(node: &Snapshot, link: &Link) -> Result<Vec<Contradicting>, Unread> {
    node.tables.routes.read()?;
    let mut by_prefix: BTreeMap<(u32, IpAddr, u8), Vec<&Route>> = BTreeMap::new();
    for route in routes(node, link) {
        by_prefix.entry((route.table, route.destination, route.prefix)).or_default().push(route);
    }
    let gateway = |route: &&Route| route.hops.first().and_then(|hop| hop.gateway);
    let differ = |routes: &Vec<&Route>| routes.iter().filter_map(gateway).collect::<BTreeSet<_>>().len() > 1;
    let told = |((_, destination, prefix), mut routes): ((u32, IpAddr, u8), Vec<&Route>)| {
        routes.sort_by_key(|route| route.priority);
        Contradicting {
            to: format!("{destination}/{prefix}"),
            routes: routes.into_iter().map(|route| vtep::route_line(&node.tables, route)).collect(),
        }
    };
    Ok(by_prefix.into_iter().filter(|(_, routes)| differ(routes)).map(told).collect())
}

fn removed_forwarding(mac: Mac, end: IpAddr, tunnel: &str) -> String {
    format!("bridge fdb del {mac} dev {tunnel} dst {end} self")
}

#[cfg(test)]
mod tests;
