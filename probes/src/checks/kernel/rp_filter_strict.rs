//! Strict reverse-path filtering where packets of a peer come in by another link than the route to it leaves by.
//!
//! The effective value is the larger of `all` and the link's own; IPv6 has no such setting. Strict (1) drops a packet
//! whose source the kernel would not answer by the same link; the drop is silent and counted. That is right on a
//! machine with one way to each peer, so a strict value alone is no finding. It is one where the tables show two ways:
//! the route leaves by M, and a packet can come back on a strict L, neither of which stands on the other, because L's
//! subnet holds the peer, or the address that the peer answers to is L's (the tunnel's local address, the route's
//! source). That is a warning; it is critical once the drop counter has risen since such a peer fails. It need not rise
//! on: strict filtering drops the peer's ARP too, uncounted, and a peer that cannot resolve us sends nothing more.
//!
//! Tables do not show everything (a peer may answer by any of its own links). So a counter that rose by at least
//! [`SEVERAL`] while a peer is unreachable counts as proof too, on a machine with a second, strict, addressed link.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::SysctlDrift;
use crate::checks::overlay::{OverlayUnreachable, PodUnreachable};
use crate::checks::paths::{PathBlackHole, PathLimited, PeerUnreachable};
use crate::checks::{Alert, Area, Check, Confirm, Entry, Judgement, words};
use crate::fact::Unread;
use crate::kernel::{Link, LinkIndex};
use crate::path::{PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::owner;
use crate::subject::Subject;
use crate::tables::covers;
use crate::units::Family;

/// The rule.
#[derive(Debug)]
pub struct RpFilterStrict;

/// Strict links, and the peers whose packets they may drop.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Links that filter strictly and that a peer's packets can come in by.
    pub links: Vec<Strict>,
    /// Peers that are reached by another link.
    pub peers: Vec<Asymmetric>,
    /// Of those, the ones that fail to answer in full.
    pub failing: Vec<String>,
    /// Packets dropped by the filter, on any link, since the last round without trouble; absent where the counter
    /// could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

/// A link that filters strictly.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Strict {
    /// Name.
    pub link: String,
    /// The value for all links.
    pub all: i64,
    /// Its own value; the larger of both counts.
    pub own: i64,
}

/// A peer with two ways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Asymmetric {
    /// The peer's name.
    pub peer: String,
    /// The link that the route to it leaves by.
    pub leaves_by: String,
    /// The strict link that its packets may come in by.
    pub may_return_by: String,
}

/// Drops in one round that count as proof where tables show none: a stray packet or two is no peer that fails.
pub const SEVERAL: u64 = 3;

/// `TcpExt:IPReversePathFilter`.
const COUNTER: &str = "reverse_path_filter";

impl Check for RpFilterStrict {
    const ENTRY: Entry = Entry {
        code: "rp-filter-strict",
        area: Area::Kernel,
        severities: &[Severity::Warning, Severity::Critical],
        title: "strict reverse-path filter on a machine with two ways to a peer",
        meaning: "Packets that a peer sends come in by a link that the kernel would not answer by, and strict \
                  filtering drops them without a trace but a counter.",
        look: &[
            "sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.LINK.rp_filter",
            "ip route get ADDRESS",
            "nstat -az TcpExtIPReversePathFilter",
        ],
        silences: &[
            PeerUnreachable::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            PodUnreachable::ENTRY.code,
            SysctlDrift::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeRpFilterStrict", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.addresses.read()?;
        let strict = strict_links(node)?;
        let mut judgement = Judgement::default();
        if strict.is_empty() {
            return Ok(judgement);
        }
        let mut seen = Seen::default();
        for peer in &node.peers {
            if let Err(why) = seen.look(node, peer, &strict) {
                judgement.unread.push((SUBJECT, why));
            }
        }
        if let Some((severity, evidence, breaks)) = seen.conclude(node, &strict)? {
            judgement.unread.clear();
            judgement.raise_breaking(SUBJECT, severity, evidence, breaks);
        }
        judgement.unread.truncate(1);
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { links, peers, failing, dropped } = evidence;
        let links: Vec<_> = links.iter().map(|link| link.link.as_str()).collect();
        let leaves: BTreeSet<_> = peers.iter().map(|peer| peer.leaves_by.clone()).collect();
        let leaves = words::list(&Vec::from_iter(leaves));
        let names: BTreeSet<_> = peers.iter().map(|peer| peer.peer.clone()).collect();
        let names = words::list(&Vec::from_iter(names));
        let proof = match dropped {
            Some(dropped) if !failing.is_empty() && *dropped > 0 => {
                let packets = words::count(usize::try_from(*dropped).unwrap_or(usize::MAX), "packet");
                format!(" {packets} dropped since {} failed.", words::list(failing))
            }
            _ => String::new(),
        };
        format!(
            "rp_filter is strict on {}, where packets of {names} may come in, while the route there leaves by \
             {leaves}: such packets are dropped.{proof}",
            words::list(&links)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        // A dot of a link's name is written as a slash, else sysctl takes it for a separator.
        let key = |link: &str| format!("net.ipv4.conf.{}.rp_filter", link.replace('.', "/"));
        evidence.links.iter().map(|link| Fix::Sysctl { key: key(&link.link), value: "2".into() }).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let peer =
            |peer: &str| Asymmetric { peer: peer.into(), leaves_by: "vmbr0".into(), may_return_by: "vmbr1".into() };
        let evidence = Evidence {
            links: vec![Strict { link: "vmbr1".into(), all: 1, own: 0 }],
            peers: vec![peer("master-2")],
            failing: vec!["master-2".into()],
            dropped: Some(12),
        };
        (SUBJECT, Severity::Critical, evidence)
    }
}

const SUBJECT: Subject = Subject::Setting("rp_filter");

/// What the tables show of each peer.
#[derive(Default)]
struct Seen {
    asymmetric: BTreeSet<Asymmetric>,
    /// Pairs of which only the counter can tell.
    possible: BTreeSet<Asymmetric>,
}

impl Seen {
    fn look(&mut self, node: &Snapshot, peer: &Peer, strict: &[&Link]) -> Result<(), Unread> {
        let Some(address) = peer.underlay.of(Family::Ipv4) else { return Ok(()) };
        let Some(route) = node.lookups.get(&address) else { return Ok(()) };
        let Some(route) = route.read()? else { return Ok(()) };
        let Some(leaves) = route.hops.first().and_then(|hop| node.tables.link(hop.link)) else { return Ok(()) };
        let entered = entered_by(node, peer, address, route.source);
        let apart = |link: &Link| !route.hops.iter().any(|hop| together(node, link.index, hop.link));
        for link in strict.iter().filter(|link| apart(link)) {
            let pair = Asymmetric {
                peer: peer.name.clone(),
                leaves_by: leaves.name.clone(),
                may_return_by: link.name.clone(),
            };
            if entered.contains(&link.index) {
                self.asymmetric.insert(pair)
            } else {
                self.possible.insert(pair)
            };
        }
        Ok(())
    }

    /// # Errors
    /// If two ways are there, and the value for all links could not be read.
    fn conclude(self, node: &Snapshot, strict: &[&Link]) -> Result<Option<(Severity, Evidence, Vec<Subject>)>, Unread> {
        let several = node.risen(COUNTER).is_some_and(|dropped| dropped >= SEVERAL);
        let dropped = node.risen_in_trouble(COUNTER);
        let by_counter = self.possible.into_iter().filter(|pair| several && is_lost(node, &pair.peer));
        let peers: Vec<_> =
            if self.asymmetric.is_empty() { by_counter.collect() } else { self.asymmetric.into_iter().collect() };
        if peers.is_empty() {
            return Ok(None);
        }
        let names: BTreeSet<_> = peers.iter().map(|pair| pair.peer.clone()).collect();
        let failing: Vec<_> = names.into_iter().filter(|peer| fails(node, peer)).collect();
        let proven = !failing.is_empty() && dropped.is_some_and(|dropped| dropped > 0);
        let breaks = if proven { paths_of(node, &failing) } else { Vec::new() };
        let severity = if proven { Severity::Critical } else { Severity::Warning };
        let links = told(node, strict, &peers)?;
        Ok(Some((severity, Evidence { links, peers, failing, dropped }, breaks)))
    }
}

/// Links that have a global address, work, and filter strictly.
fn strict_links(node: &Snapshot) -> Result<Vec<&Link>, Unread> {
    let addressed = |link: &&Link| {
        let mut own = node.tables.addresses_of(link.index);
        link.works() && !link.is_loopback() && own.any(|own| own.global && own.address.is_ipv4())
    };
    let mut strict = Vec::new();
    for link in node.tables.links().iter().filter(addressed) {
        if node.tables.rp_filter(link).read()? == Some(&1) {
            strict.push(link);
        }
    }
    Ok(strict)
}

/// Links that a peer's packets come in by, as far as the tables show.
fn entered_by(node: &Snapshot, peer: &Peer, address: IpAddr, source: Option<IpAddr>) -> BTreeSet<LinkIndex> {
    let addresses = node.tables.addresses.known().into_iter().flatten();
    let near = addresses.filter(|own| own.global && covers(own.address, own.prefix, address)).map(|own| own.link);
    let answered = source.into_iter().chain(tunnel_ends(node, peer));
    near.chain(answered.filter_map(|address| owner(&node.tables, address))).collect()
}

/// Local addresses of the tunnels that lead to a peer: what it sends its outer packets to. IPv6 has no such filter.
fn tunnel_ends(node: &Snapshot, peer: &Peer) -> Vec<IpAddr> {
    let paths = node.paths.iter().filter(|(key, _)| key.peer == peer.name && key.plane == Plane::Overlay);
    let links = paths.flat_map(|(_, path)| &path.via).filter_map(|&link| node.tables.link(link));
    links.filter_map(|link| link.tunnel.as_ref()?.local).filter(IpAddr::is_ipv4).collect()
}

fn together(node: &Snapshot, one: LinkIndex, other: LinkIndex) -> bool {
    node.topology.chain(one).contains(&other) || node.topology.chain(other).contains(&one)
}

fn told(node: &Snapshot, strict: &[&Link], peers: &[Asymmetric]) -> Result<Vec<Strict>, Unread> {
    let all = node.tables.rp_filter_all.read()?.copied().unwrap_or(0);
    let named = strict.iter().filter(|link| peers.iter().any(|pair| pair.may_return_by == link.name));
    let own = |link: &Link| link.inet.map_or(0, |inet| i64::from(inet.rp_filter));
    Ok(named.map(|link| Strict { link: link.name.clone(), all, own: own(link) }).collect())
}

fn is_lost(node: &Snapshot, peer: &str) -> bool {
    any_verdict(node, peer, |verdict| matches!(verdict, Verdict::Unreachable { .. }))
}

fn fails(node: &Snapshot, peer: &str) -> bool {
    any_verdict(node, peer, |verdict| matches!(verdict, Verdict::Unreachable { .. } | Verdict::BlackHole { .. }))
}

fn any_verdict(node: &Snapshot, peer: &str, is: impl Fn(&Verdict) -> bool) -> bool {
    let mut paths = node.paths.iter().filter(|(key, _)| key.peer == peer && is_filtered(node, key));
    paths.any(|(_, path)| path.verdict().is_ok_and(&is))
}

fn paths_of(node: &Snapshot, peers: &[String]) -> Vec<Subject> {
    let paths = node.paths.keys().filter(|key| peers.contains(&key.peer) && is_filtered(node, key));
    paths.map(Subject::path).collect()
}

/// Whether the packets of a path are IPv4 where they come in from the peer: no other are filtered by their source.
fn is_filtered(node: &Snapshot, key: &PathKey) -> bool {
    node.family_below(key) == Family::Ipv4
}

#[cfg(test)]
mod tests;
