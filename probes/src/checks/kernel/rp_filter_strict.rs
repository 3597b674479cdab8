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
//! The route that counts is the one from the address that the packet came to, as the kernel looks it up: a node with two
//! NICs and a rule for each of their addresses answers by the link it was asked by ([`queries`]). Of several next hops
//! any one will do, which is the kernel's rule too.
//!
//! What comes out of a tunnel is looked at once more, by its inner source. So a strict tunnel drops what its peer's pods
//! send through it while the route to these pods leaves by a third way. Where that route leads straight to the peer, or
//! into another tunnel, nothing is known: both nodes may well do without this one.
//!
//! A default gateway that is taken for want of a peer sends nothing to other addresses than the one it is asked from,
//! as far as anybody knows: a laptop with cable and Wi-Fi in one network is well.
//!
//! Tables do not show everything (a peer may answer by any of its own links). So a counter that rose by at least
//! [`SEVERAL`] while a peer is unreachable counts as proof too, on a machine with a second, strict, addressed link.
//!
//! Three kinds of links never count. Ports of bridges and bonds, because packets come in by their master, whose value is
//! asked; links in a VRF, whose routes a plain look-up does not read. Links without an address, as the node's ends of
//! pods' links, where the route to the pod is the link. And what Felix made, where BPF programs route for it: they take
//! packets before the filter does, and Felix sets the value.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::SysctlDrift;
use crate::checks::overlay::{OverlayUnreachable, PodUnreachable};
use crate::checks::paths::{PathBlackHole, PathLimited, PeerUnreachable};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::{Link, LinkIndex, Query, Route, RouteKind};
use crate::path::{PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::setup::{is_calico_bpf, is_calicos};
use crate::snapshot::topology::owner;
use crate::subject::Subject;
use crate::tables::{Tables, covers};
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
    /// The link that the route to it leaves by; where they come out of a tunnel, the route to its pods.
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
        when: &[
            "a peer's packets can come in by another link than the kernel would answer by",
            "a peer fails, and the drop counter rose since",
        ],
        title: "strict reverse-path filter on a machine with two ways to a peer",
        meaning: "Packets that a peer sends come in by a link that the kernel would not answer by, and strict \
                  filtering drops them without a trace but a counter.",
        quiet: "strict is right on a machine with one way to each peer; loose (2) and off (0) drop nothing",
        look: &[
            Look {
                run: "sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.LINK.rp_filter",
                see: "the larger of the two is in force: 1 is strict",
            },
            Look { run: "ip route get ADDRESS", see: "`dev` is another link than the one that its packets come in by" },
            Look { run: "nstat -az TcpExtIPReversePathFilter", see: "rises while the peer sends" },
        ],
        metrics: &[
            "mtuscope_setting{name=\"rp_filter\"} == 1",
            "rate(mtuscope_kernel_events_total{name=\"reverse_path_filter\"}[5m])",
        ],
        class: Class::ReversePath,
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
        let key = |link: &str| words::link_setting("ipv4", link, "rp_filter");
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
        for link in strict {
            if node.topology.tunnel(link.index).is_some() {
                self.look_inside(node, peer, link)?;
            }
        }
        self.look_outside(node, peer, strict)
    }

    /// The peer's own packets.
    fn look_outside(&mut self, node: &Snapshot, peer: &Peer, strict: &[&Link]) -> Result<(), Unread> {
        let Some(address) = peer.underlay.of(Family::Ipv4) else { return Ok(()) };
        let Some(route) = node.lookups.get(&address) else { return Ok(()) };
        let Some(route) = route.read()? else { return Ok(()) };
        let entered = entered_by(node, peer, address, route.source);
        for link in strict {
            let own = entered.iter().filter(|(_, by)| *by == link.index).map(|(own, _)| *own);
            let ways: Vec<_> = own.map(|own| way_back(node, address, own, route)).collect::<Result<_, _>>()?;
            let apart = |by| !together(node, link.index, by);
            if let Some(by) = ways.iter().find_map(|back| elsewhere(node, back, apart)) {
                let known = if peer.gateway { &mut self.possible } else { &mut self.asymmetric };
                known.insert(pair(peer, by, link));
            } else if let (true, Some(by)) = (ways.is_empty(), elsewhere(node, route, apart)) {
                self.possible.insert(pair(peer, by, link));
            }
        }
        Ok(())
    }

    /// What comes out of a tunnel with the address of one of the peer's pods for a source.
    fn look_inside(&mut self, node: &Snapshot, peer: &Peer, tunnel: &Link) -> Result<(), Unread> {
        let Some(behind) = peer.tunnels.iter().find(|behind| behind.tunnel == tunnel.name) else { return Ok(()) };
        let inner = behind.overlay.of(Family::Ipv4).into_iter().chain(peer.pods.iter().copied());
        for address in inner.filter(IpAddr::is_ipv4) {
            let Some(route) = node.lookups.get(&address) else { continue };
            // A default route takes what has no route: that one is missing is another code's.
            let Some(route) = route.read()?.filter(|route| route.prefix > 0) else { continue };
            let Some(by) = elsewhere(node, route, |by| by != tunnel.index) else { continue };
            let known = if may_be_meant(node, peer, route) { &mut self.possible } else { &mut self.asymmetric };
            known.insert(pair(peer, by, tunnel));
        }
        Ok(())
    }

    /// # Errors
    /// If two ways are there, and the value for all links could not be read.
    fn conclude(self, node: &Snapshot, strict: &[&Link]) -> Result<Option<(Severity, Evidence, Vec<Subject>)>, Unread> {
        let several = node.risen(COUNTER).is_some_and(|dropped| dropped >= SEVERAL);
        let dropped = node.risen_in_trouble(COUNTER);
        let by_counter = self.possible.into_iter().filter(|pair| several && is_lost(node, pair));
        let peers: Vec<_> =
            if self.asymmetric.is_empty() { by_counter.collect() } else { self.asymmetric.into_iter().collect() };
        if peers.is_empty() {
            return Ok(None);
        }
        let failed: Vec<_> = peers.iter().filter(|pair| fails(node, pair)).collect();
        let proven = !failed.is_empty() && dropped.is_some_and(|dropped| dropped > 0);
        let breaks = if proven { paths_of(node, &failed) } else { Vec::new() };
        let failing: BTreeSet<_> = failed.iter().map(|pair| pair.peer.clone()).collect();
        let failing = Vec::from_iter(failing);
        let severity = if proven { Severity::Critical } else { Severity::Warning };
        let links = told(node, strict, &peers)?;
        Ok(Some((severity, Evidence { links, peers, failing, dropped }, breaks)))
    }
}

/// What to ask so that the way back from each address that a strict link has is known. Only with rules for sources does
/// it differ from the usual way, and these need a table of their own: a machine without one has nothing to ask.
pub(crate) fn queries(tables: &Tables, peers: &[Peer]) -> BTreeSet<Query> {
    let ruled = tables.routes.known().into_iter().flatten().any(|route| !PLAIN_TABLES.contains(&route.table));
    if !ruled || tables.rp_filter_all.known().is_none() {
        return BTreeSet::new();
    }
    let strict = tables.links().iter().filter(|link| may_drop(tables, link) && is_strict(tables, link) == Ok(true));
    let own = || strict.clone().flat_map(|link| tables.addresses_of(link.index)).map(|own| own.address);
    let peers = peers.iter().filter_map(|peer| peer.underlay.of(Family::Ipv4));
    peers.flat_map(|to| own().filter(IpAddr::is_ipv4).map(move |from| Query { to, from: Some(from) })).collect()
}

/// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`.
const PLAIN_TABLES: [u32; 3] = [253, 254, 255];

/// Links that have a global address, work, and filter strictly.
fn strict_links(node: &Snapshot) -> Result<Vec<&Link>, Unread> {
    let mut strict = Vec::new();
    for link in node.tables.links().iter().filter(|link| may_drop(&node.tables, link)) {
        if is_strict(&node.tables, link)? {
            strict.push(link);
        }
    }
    Ok(strict)
}

fn is_strict(tables: &Tables, link: &Link) -> Result<bool, Unread> {
    Ok(tables.rp_filter(link).read()? == Some(&1))
}

/// Whether packets come in by a link itself, and meet the kernel's filter there.
fn may_drop(tables: &Tables, link: &Link) -> bool {
    let mut own = tables.addresses_of(link.index);
    let addressed = own.any(|own| own.global && own.address.is_ipv4());
    let by_bpf = is_calicos(link) && is_calico_bpf(tables);
    link.works() && !link.is_loopback() && addressed && link.master.is_none() && !by_bpf
}

fn pair(peer: &Peer, leaves: &Link, returns: &Link) -> Asymmetric {
    Asymmetric { peer: peer.name.clone(), leaves_by: leaves.name.clone(), may_return_by: returns.name.clone() }
}

/// The route that the kernel checks a packet of the peer by, once it came to an own address.
///
/// # Errors
/// If it was asked for and could not be read.
fn way_back<'n>(node: &'n Snapshot, peer: IpAddr, own: IpAddr, usual: &'n Route) -> Result<&'n Route, Unread> {
    match node.outer.get(&Query { to: peer, from: Some(own) }) {
        Some(asked) => Ok(asked.read()?.unwrap_or(usual)),
        None => Ok(usual),
    }
}

/// The link that a route leaves by, if every one of its next hops is apart from where a packet came in.
fn elsewhere<'n>(node: &'n Snapshot, route: &Route, apart: impl Fn(LinkIndex) -> bool) -> Option<&'n Link> {
    let leaves = node.tables.link(route.hops.first()?.link)?;
    (route.kind == RouteKind::Unicast && route.hops.iter().all(|hop| apart(hop.link))).then_some(leaves)
}

/// Whether a route to a peer's pods that leaves a tunnel aside leads to the peer as nodes usually do: straight, by the
/// link that the peer is reached by, or through another tunnel.
fn may_be_meant(node: &Snapshot, peer: &Peer, route: &Route) -> bool {
    let usual = peer.underlay.into_iter().filter_map(|address| node.lookups.get(&address)?.known());
    let usual: Vec<_> = usual.flat_map(|route| &route.hops).map(|hop| hop.link).collect();
    let to_peer = |gateway: IpAddr| peer.underlay.into_iter().any(|address| address == gateway);
    let is_usual = |link: LinkIndex| usual.contains(&link) || node.topology.tunnel(link).is_some();
    route.hops.iter().any(|hop| hop.gateway.is_some_and(to_peer) || is_usual(hop.link))
}

/// Own addresses that a peer's packets come to, as far as the tables show, and the links that these are of.
fn entered_by(node: &Snapshot, peer: &Peer, address: IpAddr, source: Option<IpAddr>) -> BTreeSet<(IpAddr, LinkIndex)> {
    let addresses = node.tables.addresses.known().into_iter().flatten();
    let near = addresses.filter(|own| own.global && covers(own.address, own.prefix, address));
    let near = near.map(|own| (own.address, own.link));
    let answered = source.into_iter().chain(tunnel_ends(node, peer));
    near.chain(answered.filter_map(|address| Some((address, owner(&node.tables, address)?)))).collect()
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

fn is_lost(node: &Snapshot, pair: &Asymmetric) -> bool {
    any_verdict(node, pair, |verdict| matches!(verdict, Verdict::Unreachable { .. }))
}

fn fails(node: &Snapshot, pair: &Asymmetric) -> bool {
    any_verdict(node, pair, |verdict| matches!(verdict, Verdict::Unreachable { .. } | Verdict::BlackHole { .. }))
}

fn any_verdict(node: &Snapshot, pair: &Asymmetric, is: impl Fn(&Verdict) -> bool) -> bool {
    let mut paths = node.paths.iter().filter(|(key, _)| concerns(node, pair, key));
    paths.any(|(_, path)| path.verdict().is_ok_and(&is))
}

fn paths_of(node: &Snapshot, pairs: &[&Asymmetric]) -> Vec<Subject> {
    let paths = node.paths.keys().filter(|key| pairs.iter().any(|pair| concerns(node, pair, key)));
    paths.map(Subject::path).collect()
}

/// Whether packets of a path come in where a pair says: out of a tunnel they are of their own family.
fn concerns(node: &Snapshot, pair: &Asymmetric, key: &PathKey) -> bool {
    let link = node.topology.index_of(&pair.may_return_by);
    let inside = link.is_some_and(|link| node.topology.tunnel(link).is_some());
    let filtered = if inside { key.plane != Plane::Underlay && key.address.is_ipv4() } else { is_filtered(node, key) };
    key.peer == pair.peer && filtered
}

/// Whether the packets of a path are IPv4 where they come in from the peer: no other are filtered by their source.
fn is_filtered(node: &Snapshot, key: &PathKey) -> bool {
    node.family_below(key) == Family::Ipv4
}

#[cfg(test)]
mod tests;
