//! Paths of equal cost to a peer of which some do not carry the expected size.
//!
//! Routers and bonds choose among them by the ports of a flow, so one connection in two or four hangs while the next
//! one works, and whoever looks with `ping` sees one path alone. A sweep sent the expected size from many source ports;
//! the code is raised where at least one carried it and at least one did not.
//!
//! Not a false alarm: a port counts as bad only where good ones would look so by accident in fewer than one sweep in a
//! million at 5 % loss each way ([`crate::path::spread`] argues it: two bad ports confirm each other, a single one is
//! confirmed twice). Ports of which nothing could be concluded are neither good nor bad.
//!
//! Where no port carried it, all paths are alike: that is `path-limited`, `path-black-hole` or `peer-unreachable`. Where
//! every known port carried it, the sweep is good news only if nearly all of them are known.
//!
//! Critical where packets vanish on some path, for nobody tells their senders; a warning where a hop says so.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{
    OverlayFragmented, OverlayMtuExceedsPath, OverlayTransferStalls, OverlayUnreachable, PodUnreachable,
};
use crate::checks::paths::{PathMtuCacheStale, PeerUnreachable};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, Raised, words};
use crate::fact::{Reason, Source, Unread};
use crate::path::spread::{self, Fate, Kind, Shares, Signalled, Swept, odds};
use crate::path::{PathKey, Plane};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::IpSize;

use super::fit::{ASYMMETRIC, BLACK_HOLE, LIMITED};
use super::some_peer;

const CODE: &str = "path-ecmp-mtu";

/// Ports of which nothing is known, in a hundred, that leave the others good news.
const UNKNOWN_AT_MOST: u32 = 20;

/// What a path on which flows get lost whatever their size makes of the tunnel over it; first what only a hop that
/// speaks up can teach the kernel.
const OF_DEAD: &[&str] = &[
    PathMtuCacheStale::ENTRY.code,
    LIMITED,
    BLACK_HOLE,
    ASYMMETRIC,
    PeerUnreachable::ENTRY.code,
    OverlayMtuExceedsPath::ENTRY.code,
    OverlayFragmented::ENTRY.code,
    OverlayTransferStalls::ENTRY.code,
    OverlayUnreachable::ENTRY.code,
    PodUnreachable::ENTRY.code,
];
/// What one that is merely small does.
const OF_SMALL: &[&str] = &[
    PathMtuCacheStale::ENTRY.code,
    LIMITED,
    BLACK_HOLE,
    ASYMMETRIC,
    OverlayMtuExceedsPath::ENTRY.code,
    OverlayFragmented::ENTRY.code,
    OverlayTransferStalls::ENTRY.code,
];

/// The rule.
#[derive(Debug)]
pub struct PathEcmpMtu;

/// How the ports differ.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// The address that was probed.
    pub address: IpAddr,
    /// What was sent to it.
    pub by: Means,
    /// Where it was sent to.
    pub to: SocketAddr,
    /// The size that every path should carry, on the wire.
    pub expected: IpSize,
    /// How many source ports were tried.
    pub ports: u16,
    /// Of how many paths of equal cost so many ports meet a single bad one with 99.9 %.
    pub paths_met: u16,
    /// The share of ports that did not carry the size among those of which it is known.
    pub share_bad: f64,
    /// Source ports that carried it.
    pub carried: Kind,
    /// Source ports whose packets a hop called too big.
    pub limited: Vec<Signalled>,
    /// Source ports that carry small packets and swallow the size.
    pub swallowed: Kind,
    /// Source ports that carry nothing at all.
    pub dead: Kind,
    /// Source ports of which nothing could be concluded.
    pub unknown: Kind,
    /// A few of the source ports that did not carry it, some of each kind.
    pub bad_sample: Vec<u16>,
}

/// How a sweep asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// UDP datagrams to a closed port of the peer, which answers "port unreachable".
    ClosedUdpPort,
    /// Datagrams that are encapsulated here, to the far tunnel end, whose kernel answers what is inside.
    EncapsulatedVxlan,
}

impl Check for PathEcmpMtu {
    const ENTRY: Entry = Entry {
        code: CODE,
        area: Area::Paths,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["a hop on the smaller path says what it takes", "large packets vanish on some path"],
        title: "paths of equal cost differ in size",
        meaning: "Some flows to the peer carry full packets and others do not: routers or a bond spread them over \
                  several paths, and one of those is smaller or broken. Connections hang at random.",
        quiet: "a port counts as bad only after it was confirmed; where no port carries the size, all paths are alike \
                and another code speaks",
        look: &[
            Look { run: "mtuscope probe --ecmp ADDRESS", see: "ports that pass beside ports that do not" },
            Look {
                run: "traceroute -n -F -U -p 33440 --sport=PORT ADDRESS SIZE",
                see: "the hop after which answers end for a bad port and go on for a good one",
            },
            Look { run: "ip route get ADDRESS", see: "`nexthop` lines: this node itself spreads flows" },
            Look {
                run: "sysctl net.ipv4.fib_multipath_hash_policy",
                see: "1: by ports (L4); 0: by addresses (L3), so that one peer has one path",
            },
        ],
        metrics: &["mtuscope_path_mtu_bytes < mtuscope_path_expected_mtu_bytes", "mtuscope_probe_packets_lost_total"],
        class: Class::BlackHole,
        silences: &[
            CODE,
            LIMITED,
            BLACK_HOLE,
            ASYMMETRIC,
            PeerUnreachable::ENTRY.code,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            PodUnreachable::ENTRY.code,
            PathMtuCacheStale::ENTRY.code,
        ],
        confirm: Confirm::Sweeps,
        alert: Alert::Named { name: "MtuscopePathEcmpMtu", minutes: 2 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut worst: BTreeMap<Subject, (Severity, Evidence)> = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for (key, path) in &node.paths {
            let subject = Subject::path(key);
            match path.spread.read().and_then(|swept| swept.map_or(Ok(None), |swept| look(key, swept))) {
                Err(why) => drop(unread.insert(subject, why)),
                Ok(None) => {}
                Ok(Some(found)) => {
                    let is_worse = |other: &(Severity, Evidence)| rank(other) < rank(&found);
                    if worst.get(&subject).is_none_or(is_worse) {
                        worst.insert(subject, found);
                    }
                }
            }
        }
        unread.retain(|subject, _| !worst.contains_key(subject));
        let raised = worst.into_iter().map(|(subject, (severity, evidence))| raised(node, subject, severity, evidence));
        Ok(Judgement { raised: raised.collect(), unread: unread.into_iter().collect(), ..Judgement::default() })
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, plane, address, expected, ports, carried, limited, swallowed, dead, .. } = evidence;
        let mut kinds: Vec<_> = limited.iter().map(signalled).collect();
        kinds.extend((swallowed.count > 0).then(|| format!("{} lose it in silence", swallowed.count)));
        kinds.extend((dead.count > 0).then(|| format!("{} carry nothing", dead.count)));
        format!(
            "Paths of equal cost on the {} to {} differ: of {} {} carry {expected} B, {}.",
            plane.name(),
            words::at(peer, *address),
            words::count(usize::from(*ports), "flow"),
            carried.count,
            words::list(&kinds)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { to, expected, carried, limited, swallowed, dead, bad_sample, .. } = evidence;
        let first = |ports: &[u16]| ports.first().copied().unwrap_or_default();
        let silent = [&swallowed.sample, &dead.sample].into_iter().flatten().next().copied();
        vec![Fix::EqualPathsCarry {
            to: to.ip(),
            port: to.port(),
            size: *expected,
            good: first(&carried.sample),
            bad: silent.unwrap_or(first(bad_sample)),
            hops: limited.iter().map(|limited| (limited.address, limited.reported_mtu)).collect(),
            silent: silent.is_some(),
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let key = PathKey { peer: "master-2".into(), plane: Plane::Underlay, address: IpAddr::from([10, 0, 0, 12]) };
        let mtu = Some(IpSize::new(1400));
        let limited = Fate::Limited { carries: mtu, by: IpAddr::from([10, 0, 9, 1]), reported: mtu };
        let fates = [(Fate::Carried, 12), (limited, 7), (Fate::Swallowed, 6)];
        let fates = fates.into_iter().flat_map(|(fate, times)| std::iter::repeat_n(fate, times));
        let swept =
            Swept { ports: (40_448..).zip(fates).collect(), expected: Some(IpSize::new(1500)), ..Swept::default() };
        let (severity, evidence) = evidence(&key, &swept, swept.shares(), IpSize::new(1500));
        (Subject::path(&key), severity, evidence)
    }
}

fn signalled(limited: &Signalled) -> String {
    let Signalled { address, reported_mtu, carries, ports } = limited;
    let size = reported_mtu.or(*carries).map(|size| format!(" to {size} B")).unwrap_or_default();
    format!("{} are limited{size} by {address}", ports.count)
}

/// What a sweep says: nothing, that something is wrong, or that it could not tell.
fn look(key: &PathKey, swept: &Swept) -> Result<Option<(Severity, Evidence)>, Unread> {
    let shares = swept.shares();
    let tried = swept.ports.len();
    let Some(expected) = swept.expected.filter(|_| tried > 0) else { return Ok(None) };
    let cannot_tell = |why: String| Err(Unread::new(Source::Probes, Reason::Unsupported { why }));
    if shares.settled() == 0 {
        return cannot_tell(format!(
            "none of {tried} source ports was answered: UDP {} may be filtered",
            asked(key, swept).port()
        ));
    }
    if shares.carried.count > 0 && shares.bad() > 0 {
        return Ok(Some(evidence(key, swept, shares, expected)));
    }
    if u32::from(shares.unknown.count) * 100 > UNKNOWN_AT_MOST * tried as u32 {
        let unknown = shares.unknown.count;
        return cannot_tell(format!(
            "of {tried} source ports {unknown} could not be told: their answers are lost or limited"
        ));
    }
    Ok(None)
}

fn asked(key: &PathKey, swept: &Swept) -> SocketAddr {
    swept.tunnel.unwrap_or(SocketAddr::new(key.address, spread::PORT))
}

fn evidence(key: &PathKey, swept: &Swept, shares: Shares, expected: IpSize) -> (Severity, Evidence) {
    let severity = if shares.vanished() > 0 { Severity::Critical } else { Severity::Warning };
    let ports = u16::try_from(swept.ports.len()).unwrap_or(u16::MAX);
    let evidence = Evidence {
        peer: key.peer.clone(),
        plane: key.plane,
        address: key.address,
        by: if swept.tunnel.is_some() { Means::EncapsulatedVxlan } else { Means::ClosedUdpPort },
        to: asked(key, swept),
        expected,
        ports,
        paths_met: odds::paths_met(shares.settled()),
        share_bad: shares.share_bad().unwrap_or_default(),
        bad_sample: shares.bad_sample(),
        carried: shares.carried,
        limited: shares.limited,
        swallowed: shares.swallowed,
        dead: shares.dead,
        unknown: shares.unknown,
    };
    (severity, evidence)
}

/// The worse of several addresses is told.
fn rank((severity, evidence): &(Severity, Evidence)) -> (Severity, u32) {
    (*severity, (evidence.share_bad * 1000.0) as u32)
}

/// The path itself is among what it breaks: its size was measured on one of the paths, and the kernel may have learned
/// another one's.
fn raised(node: &Snapshot, subject: Subject, severity: Severity, evidence: Evidence) -> Raised<Evidence> {
    let all = if evidence.dead.count > 0 { OF_DEAD } else { OF_SMALL };
    let causes = Causes::Codes(if has_taught(node, &subject, &evidence) { all } else { &all[1..] });
    Raised { breaks: vec![subject.clone()], subject, severity, evidence, causes }
}

/// Whether what the kernel has cached for the path is what a hop of a smaller one says. Where a smaller one was silent to
/// the sweep, it may have spoken to others: routers bound how many errors they send.
fn has_taught(node: &Snapshot, subject: &Subject, evidence: &Evidence) -> bool {
    let untold = evidence.limited.is_empty() && evidence.swallowed.count > 0;
    let said = |mtu: IpSize| untold || evidence.limited.iter().any(|hop| hop.reported_mtu == Some(mtu));
    let mut paths = node.paths.iter().filter(|(key, _)| Subject::path(key) == *subject);
    paths.any(|(_, path)| path.cached.as_ref().is_some_and(|cached| said(cached.mtu)))
}

#[cfg(test)]
mod tests;
