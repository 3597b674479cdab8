//! Calico found its MTU by links that do not carry its packets.
//!
//! Where nobody tells Calico an MTU, Felix takes the smallest of the links that are called like a NIC, and knows nothing of
//! routes ([`felix`]). So a management NIC decides over the one that carries the tunnel, a bond or a bridge is not seen at
//! all, and where no link is called like a NIC it is 1,460.
//!
//! Told is a number that is *explained*: it is what the rule of some version makes of this machine's links, to the byte, and
//! it is not what fits the links that carry the packets – those that the kernel routes tunnels' outer packets by, or packets
//! to peers where there is no tunnel, and all that these stand on. A number that no rule explains was set by somebody, or
//! Felix has not looked since a link changed; other codes compare it. Nothing is said where the CNI file names an `mtu`, for
//! then pods have that.
//!
//! - *Too large*: pods and tunnel do not fit. What that breaks has its own codes, which this one explains, and which make it
//!   as severe as they are.
//! - *Too small*: packets could be larger, at the same price. Throughput is given away, nothing breaks. As with
//!   `tunnel-undersized`, which is its consequence, all paths to peers must have been measured to carry more, by more than
//!   what IPv6 and IPv4 headers differ by, and the operator must not mean the size that there is (`expect.overlay_mtu`).
//!
//! A link below that is down is `link-down`'s: Felix looks at those that run, and will think again when it is back.
//! The eBPF data plane gives its tunnel no MTU, but pods and routes have the same number by the same rule.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::links::pod_links;
use crate::checks::links::tunnel_undersized::{self, MARGIN};
use crate::checks::links::{PodMtuMixed, PodMtuTooLarge, TunnelNoHeadroom, TunnelUndersized};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::declared::felix::{self, Detected, Rule};
use crate::declared::{calico, sizes};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::{Link, LinkIndex};
use crate::path::Plane;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::setup::Cni;
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::DeclaredMtuDiffers;

/// The rule.
#[derive(Debug)]
pub struct CalicoMtuAutodetectedWrong;

/// What Calico went by, and what it should have.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Where Calico wrote it.
    pub written: String,
    /// What it wrote: the MTU of new pods.
    pub mtu: IpSize,
    /// What it took for the MTU of the node's network.
    pub host_mtu: LinkMtu,
    /// The links that decided that; none where it found no NIC and fell back.
    pub decided_by: Vec<String>,
    /// What the largest of its tunnels adds; 0 without a tunnel.
    pub overhead: u32,
    /// The tunnels that it goes by.
    pub tunnels: Vec<String>,
    /// The link that carries the packets and takes least.
    pub carried_by: String,
    /// Its MTU.
    pub carrier_mtu: LinkMtu,
    /// What pods should have.
    pub right: IpSize,
    /// How it went wrong.
    pub because: Because,
}

/// How the search went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// No link is called like a NIC.
    NoNic,
    /// A link decided that carries none of the packets.
    AnotherLink,
    /// The link that takes least is not called like a NIC, or was not up.
    NotSeen,
}

impl Check for CalicoMtuAutodetectedWrong {
    const ENTRY: Entry = Entry {
        code: "calico-mtu-autodetected-wrong",
        area: Area::Declared,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["another size than fits the links that carry the packets", "and packets of that size vanish"],
        title: "Calico found its MTU by the wrong links",
        meaning: "Calico takes the smallest MTU of the links that are called like a NIC, whether they carry its packets \
                  or not; bonds and bridges it does not see. Too large, pods' full packets do not fit; too small, each \
                  packet carries less than it could.",
        quiet: "an `mtu` in the CNI's file, which somebody chose; a number that Calico's rule does not make of these \
                links; one that is too small where a path to a peer carries no more, or where `expect.overlay_mtu` is it",
        look: &[
            Look { run: "cat /var/lib/calico/mtu", see: "the MTU of new pods, as Calico found it" },
            Look {
                run: "grep mtu /etc/cni/net.d/10-calico.conflist",
                see: "0, or nothing: pods have what Calico found",
            },
            Look { run: "ip route get PEER", see: "the link that carries the packets" },
            Look {
                run: "ip -br link", see: "the smallest `mtu` of links called `en…` or `eth…` is not that link's"
            },
        ],
        metrics: &["mtuscope_link_mtu_bytes", "mtuscope_pod_links"],
        class: Class::Detection,
        silences: &[
            DeclaredMtuDiffers::ENTRY.code,
            TunnelNoHeadroom::ENTRY.code,
            TunnelUndersized::ENTRY.code,
            PodMtuTooLarge::ENTRY.code,
            PodMtuMixed::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeCalicoMtuAutodetectedWrong", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        let files = &node.tables.declared;
        if node.setup.cni != Cni::Calico || sizes::is_left_to_felix(files)? != Some(true) {
            return Ok(judgement);
        }
        let Some(&mtu) = files.calico_mtu.read()? else { return Ok(judgement) };
        match look(node, mtu) {
            Ok(None) => {}
            Ok(Some(found)) => {
                let breaks = found.breaks(node);
                judgement.raise_causing(found.subject(), Severity::Warning, found.evidence, Causes::Named, breaks);
            }
            Err((subject, why)) => judgement.unread.push((subject, why)),
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { mtu, host_mtu, decided_by, overhead, carried_by, carrier_mtu, right, because, .. } = evidence;
        let by = words::list(decided_by);
        let sum = if *overhead == 0 { String::new() } else { format!(" - {overhead}") };
        let went = match because {
            Because::NoNic => format!("no link is called like a NIC, so it took {host_mtu} B{sum}"),
            Because::AnotherLink => format!("it went by {by} ({host_mtu} B{sum})"),
            Because::NotSeen => format!("it went by {by} ({host_mtu} B{sum}) and did not see {carried_by}"),
        };
        let carries = match because {
            Because::NotSeen => "which".into(),
            Because::NoNic | Because::AnotherLink => format!("where {carried_by}"),
        };
        let (which, then) = match mtu > right {
            true => ("too large", "full packets do not fit"),
            false => ("too small", "each packet carries less than it could"),
        };
        format!(
            "Calico found {mtu} B for pods, which is {which}: {went}, {carries} carries the packets with \
             {carrier_mtu} B. {right} B is right; as it is, {then}."
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { mtu, right, carried_by, overhead, tunnels, .. } = evidence;
        let pods = LinkMtu::new(right.bytes());
        let search = Fix::CalicoSearch { link: carried_by.clone(), mtu: pods };
        let explicit = match tunnels.first() {
            Some(tunnel) => Fix::OverlayMtu { tunnel: tunnel.clone(), mtu: pods, overhead: *overhead },
            None => Fix::PodMtu { tunnel: None, mtu: pods },
        };
        let room = (mtu < right).then(|| Fix::RoomOnEveryNode { has: LinkMtu::new(mtu.bytes()), room: pods });
        let fixes = room.into_iter().chain([search, Fix::RecreatePods, Fix::Instead(vec![explicit])]);
        fixes.collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            written: calico::MTU.into(),
            mtu: IpSize::new(1450),
            host_mtu: LinkMtu::new(1500),
            decided_by: vec!["enp4s0".into()],
            overhead: 50,
            tunnels: vec!["vxlan.calico".into()],
            carried_by: "vmbr1".into(),
            carrier_mtu: LinkMtu::new(9000),
            right: IpSize::new(8950),
            because: Because::AnotherLink,
        };
        (Subject::Link("vxlan.calico".into()), Severity::Warning, evidence)
    }
}

struct Found {
    evidence: Evidence,
}

impl Found {
    fn subject(&self) -> Subject {
        subject(self.evidence.tunnels.first())
    }

    /// The tunnels, and the pods that are no larger than Calico made them.
    fn breaks(&self, node: &Snapshot) -> Vec<Subject> {
        let Evidence { mtu, tunnels, .. } = &self.evidence;
        let told = pod_links::all(node).map(|pods| pods.told().iter().all(|pod| pod.binds().carries() <= *mtu));
        let pods = told.unwrap_or_default().then_some(Subject::Pods);
        tunnels.iter().cloned().map(Subject::Link).chain(pods).collect()
    }
}

fn subject(tunnel: Option<&String>) -> Subject {
    tunnel.cloned().map_or(Subject::Pods, Subject::Link)
}

/// Links that carry packets, and what a tunnel takes off there.
struct Way<'n> {
    narrowest: &'n Link,
    carries: Vec<LinkIndex>,
    overhead: u32,
}

fn look(node: &Snapshot, mtu: IpSize) -> Result<Option<Found>, (Subject, Unread)> {
    let tunnels: Vec<(&TunnelView, u32)> = calicos(node).collect();
    let overhead = tunnels.iter().map(|(_, overhead)| *overhead).max().unwrap_or_default();
    let names: Vec<String> = tunnels.iter().map(|(tunnel, _)| tunnel.name.clone()).collect();
    let held = |why: String| {
        let unread = Unread::new(Source::Links, Reason::Unsupported { why });
        (subject(names.first()), unread)
    };
    let ways = if tunnels.is_empty() { direct(node) } else { below(node, &tunnels) }.map_err(held)?;
    let Some(least) = ways.iter().min_by_key(|way| fits(way)) else { return Ok(None) };
    let right = fits(least);
    let Some((rule, found)) = explain(node, mtu, overhead).filter(|_| right != mtu) else { return Ok(None) };
    if mtu < right
        && !is_given_away(node, mtu, right, overhead, &tunnels).map_err(|why| (subject(names.first()), why))?
    {
        return Ok(None);
    }
    let carries_it = |name: &String| {
        let link = node.topology.index_of(name);
        ways.iter().any(|way| link.is_some_and(|link| way.carries.contains(&link)))
    };
    let because = match () {
        () if found.by.is_empty() => Because::NoNic,
        () if least.narrowest.mtu < found.host && !rule.looks_at(least.narrowest) => Because::NotSeen,
        () if !found.by.iter().any(carries_it) => Because::AnotherLink,
        // What decided is on the way, and is not what takes least: it is not seen why.
        () => return Ok(None),
    };
    Ok(Some(Found {
        evidence: Evidence {
            written: calico::MTU.into(),
            mtu,
            host_mtu: found.host,
            decided_by: found.by,
            overhead,
            tunnels: names,
            carried_by: least.narrowest.name.clone(),
            carrier_mtu: least.narrowest.mtu,
            right,
            because,
        },
    }))
}

fn fits(way: &Way<'_>) -> IpSize {
    felix::pods(way.narrowest.mtu, way.overhead)
}

/// Felix's tunnels in use, and what each takes off, the largest first.
fn calicos(node: &Snapshot) -> impl Iterator<Item = (&TunnelView, u32)> {
    let mut own: Vec<_> = node
        .topology
        .tunnels()
        .iter()
        .filter_map(|tunnel| Some((tunnel, felix::overhead(node.tables.link(tunnel.link)?)?)))
        .collect();
    own.sort_by_key(|(_, overhead)| std::cmp::Reverse(*overhead));
    own.into_iter()
}

/// The first rule by which Calico comes to this number, and what it went by.
fn explain(node: &Snapshot, mtu: IpSize, overhead: u32) -> Option<(Rule, Detected)> {
    let found = felix::RULES.into_iter().map(|rule| (rule, rule.detect(node.tables.links())));
    let mut explained = found.filter(|(_, found)| felix::pods(found.host, overhead) == mtu);
    explained.next()
}

/// What carries the outer packets of tunnels.
fn below<'n>(node: &'n Snapshot, tunnels: &[(&TunnelView, u32)]) -> Result<Vec<Way<'n>>, String> {
    let way = |(tunnel, overhead): &(&TunnelView, u32)| {
        let lower = tunnel.lower.ok_or_else(|| format!("which link {} leaves by is not known", tunnel.name))?;
        way(node, lower, *overhead)
    };
    tunnels.iter().map(way).collect()
}

/// What packets to peers leave by, where there is no tunnel.
fn direct(node: &Snapshot) -> Result<Vec<Way<'_>>, String> {
    let peers = node.peers.iter().filter(|peer| !peer.gateway).flat_map(|peer| peer.underlay);
    let mut routes = Vec::new();
    for lookup in peers.filter_map(|address| node.lookups.get(&address)) {
        // One that is not known may be by the link that takes least.
        routes.extend(lookup.read().map_err(|why| format!("a route to a peer is not known: {why}"))?);
    }
    let mut links: Vec<_> = routes.into_iter().flat_map(|route| &route.hops).map(|hop| hop.link).collect();
    links.sort();
    links.dedup();
    links.into_iter().map(|link| way(node, link, 0)).collect()
}

fn way(node: &Snapshot, link: LinkIndex, overhead: u32) -> Result<Way<'_>, String> {
    let chain = node.topology.chain(link);
    let links = || chain.iter().filter_map(|&index| node.tables.link(index));
    if let Some(down) = node.tables.link(link).filter(|link| !link.works()) {
        return Err(format!("{} is down, by which packets to peers leave", down.name));
    }
    // A bond's member that is down takes no packets.
    let narrowest = links().filter(|link| link.works()).min_by_key(|link| link.mtu);
    let narrowest = narrowest.ok_or_else(|| "the links below the tunnel are not known".to_owned())?;
    Ok(Way { narrowest, carries: chain.clone(), overhead })
}

/// Whether a number that is too small gives something away: nobody means it, and every path carries more.
fn is_given_away(
    node: &Snapshot,
    mtu: IpSize,
    right: IpSize,
    overhead: u32,
    tunnels: &[(&TunnelView, u32)],
) -> Result<bool, Unread> {
    if right.bytes() <= mtu.bytes() + MARGIN || node.expect.overlay_mtu == Some(mtu) {
        return Ok(false);
    }
    let under = |key: &&crate::path::PathKey| key.plane == Plane::Underlay;
    let below: Vec<_> = match tunnels.first() {
        Some((tunnel, _)) => node.paths_below(tunnel.link).collect(),
        None => node.paths.iter().filter(|(key, _)| under(key)).collect(),
    };
    let mut more = false;
    for path in below.into_iter().filter(|(key, _)| tunnel_undersized::is_peer(node, key)) {
        if tunnel_undersized::size(path)?.less(overhead).bytes() <= mtu.bytes() + MARGIN {
            return Ok(false);
        }
        more = true;
    }
    Ok(more)
}

#[cfg(test)]
mod tests;
