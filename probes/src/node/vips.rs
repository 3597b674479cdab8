//! Asking the wire who has kube-vip's address.
//!
//! In ARP mode one node has the address and answers for it; the manifest says which address, and nothing on this node says
//! whether another one has it. So nodes with a manifest ask, once a round, by two rounds of a few ARP probes on the link
//! whose network the address is of: for the address, for one that nobody is known to have, and for one or two peers.
//!
//! What answers for the unused address too is a proxy that answers for all, and its word counts for nothing. That nobody
//! answers counts only where a peer on that network does: else it is this node that is cut off, or not let ask.
//!
//! Two hardware addresses are not two machines yet: a machine with two links on one network answers by both, and bonds
//! answer by each of theirs. Whose they are is told by this node's own links, by other nodes' cards, and by the neighbour
//! table. Two known owners are two machines; so are an owner whose card lists all that is its own, and a stranger. All
//! else is not concluded: a hardware address that two claim is nobody's, VRRP's is of every router of a group, and a
//! neighbour entry of the address in question itself says only who answered for it last. An address that this node has on
//! `lo` or on a dummy makes it no holder: with kube-proxy's IPVS every node has those of Services.
//!
//! A take-over takes as long as the lease of the one that is gone, and some tries; [`LEASES`] times the lease is waited
//! for, whatever the rounds are. What is seen is kept with how long it has been so ([`Vip`]), and the checks judge that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::card;
use crate::declared::kubevip::{KubeVip, Mode};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Link, LinkIndex, Mac};
use crate::peers::Peer;
use crate::snapshot::vips::{Holder, Seen, Vip};
use crate::snapshot::{Fellows, Snapshot};
use crate::tables::covers;
use crate::units::{Mono, Now};
use crate::wire::arp;

use super::{Node, Output};

/// How many leases a take-over is given.
const LEASES: u32 = 3;

/// The lease where the manifest does not say it: kube-vip's own default.
const LEASE: Duration = Duration::from_secs(5);

/// The least that a take-over is given: the API server that the lease is kept in may be the one that went down.
const LEAST: Duration = Duration::from_secs(10);

/// How long answers are waited for after each row of probes.
const WAIT: Duration = Duration::from_millis(400);

/// Rows of probes.
const ROWS: u32 = 2;

/// What this node is called among the holders.
const OWN: &str = "this node";

/// Most addresses that are asked for in a round.
const ADDRESSES: usize = 4;

/// Peers that are asked for beside one.
const WITNESSES: usize = 2;

/// Frames to send on a link, and for how long to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The link.
    pub link: LinkIndex,
    /// One row of frames.
    pub frames: Vec<Vec<u8>>,
    /// How often to send it.
    pub rows: u32,
    /// How long to listen after each.
    pub wait: Duration,
    /// What it is about.
    about: About,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    address: Ipv4Addr,
    unused: Ipv4Addr,
    witnesses: Vec<(Ipv4Addr, String)>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The question.
    pub ask: Ask,
    /// Frames of ARP that came in meanwhile.
    pub frames: Result<Vec<Vec<u8>>, Unread>,
}

/// What is known of each address.
#[derive(Debug, Default)]
pub(super) struct Vips {
    known: BTreeMap<Ipv4Addr, Known>,
    under_way: BTreeSet<Ipv4Addr>,
    asked: u32,
}

#[derive(Clone, Debug)]
struct Known {
    seen: Fact<Seen>,
    since: Mono,
    times: u32,
    last: Mono,
}

impl Node {
    /// Asks for the addresses whose manifest is on this node, if the last answers are in.
    pub(super) fn ask_vips(&mut self) {
        let vips = declared(&self.snapshot);
        self.vips.known.retain(|address, _| vips.iter().any(|(vip, _)| *vip == IpAddr::V4(*address)));
        if self.vips.under_way.is_empty() {
            self.vips.asked = self.vips.asked.wrapping_add(1);
            for (address, pod) in vips.into_iter().take(ADDRESSES) {
                let Ok(ask) = ask(&self.snapshot, address, pod, self.vips.asked) else { continue };
                self.vips.under_way.insert(ask.about.address);
                self.wanted.push_back(Output::AskVip(ask));
            }
        }
        self.show_vips();
    }

    pub(super) fn on_vip(&mut self, heard: &Heard, now: Now) {
        let address = heard.ask.about.address;
        self.vips.under_way.remove(&address);
        let seen = Fact::from(
            heard.frames.as_ref().map_err(Unread::clone).and_then(|frames| read(&self.snapshot, &heard.ask, frames)),
        );
        let before = self.vips.known.get(&address);
        let like = |known: &&Known| matches!((&known.seen, &seen), (Fact::Known(a), Fact::Known(b)) if a.is_like(b));
        let (since, times) = before.filter(like).map_or((now.mono, 0), |known| (known.since, known.times));
        let news = before.is_some_and(|known| known.times > 0) && times == 0;
        self.vips.known.insert(address, Known { seen, since, times: times + 1, last: now.mono });
        self.show_vips();
        let settled = self.snapshot.vips.iter().any(|vip| vip.address == IpAddr::V4(address) && vip.is_settled());
        if news || settled && times < 2 * crate::snapshot::vips::TIMES {
            self.look.news(now.mono);
        }
    }

    fn show_vips(&mut self) {
        let vips = declared(&self.snapshot).into_iter().take(ADDRESSES);
        self.snapshot.vips = vips.map(|(address, pod)| self.vips.show(&self.snapshot, address, pod)).collect();
    }
}

impl Vips {
    fn show(&self, node: &Snapshot, address: IpAddr, pod: &KubeVip) -> Vip {
        let link = link_of(node, address, pod);
        let unread = |why: String| Fact::Unread(Unread::new(Source::Probes, Reason::Unsupported { why }));
        let known = match (address, &link) {
            (IpAddr::V4(four), Ok(_)) => self.known.get(&four),
            _ => None,
        };
        let not_yet = || match &link {
            Err(why) => unread(why.clone()),
            Ok(_) => Fact::Unread(Unread::new(Source::Probes, Reason::NotYet)),
        };
        let named = || pod.interface.text().unwrap_or("kube-vip").to_owned();
        Vip {
            address,
            manifest: pod.file.clone(),
            lease: pod.lease.as_ref().map(|lease| lease.name.clone()),
            link: link.as_ref().map_or_else(|_| named(), |link| link.name.clone()),
            seen: known.map_or_else(not_yet, |known| known.seen.clone()),
            stands: known.map(|known| known.last.since(known.since)).unwrap_or_default(),
            times: known.map_or(0, |known| known.times),
            patience: patience(lease(pod)),
        }
    }
}

/// Addresses that kube-vip holds by ARP for the control plane, each with its manifest.
fn declared(node: &Snapshot) -> Vec<(IpAddr, &KubeVip)> {
    let pods = node.tables.declared.static_pods.known();
    let by_arp = pods.into_iter().flat_map(|pods| &pods.kube_vip).filter(|pod| is_held_by_arp(pod));
    let mut all: Vec<(IpAddr, &KubeVip)> =
        by_arp.flat_map(|pod| pod.addresses().into_iter().map(move |one| (one, pod))).collect();
    all.sort_by_key(|(address, _)| *address);
    all.dedup_by_key(|(address, _)| *address);
    all
}

/// Whether a manifest's address is on one node at a time, which answers for it.
pub(crate) fn is_held_by_arp(pod: &KubeVip) -> bool {
    pod.mode == Some(Mode::Arp) && pod.control_plane
}

fn lease(pod: &KubeVip) -> Option<Duration> {
    let seconds = pod.lease.as_ref().and_then(|lease| lease.seconds[0]);
    seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

/// How long a take-over may last, by the lease that a manifest names.
pub fn patience(lease: Option<Duration>) -> Duration {
    lease.unwrap_or(LEASE).saturating_mul(LEASES).max(LEAST)
}

/// The link by which to ask: the one that the manifest names, else the one whose network the address is of.
fn link_of<'a>(node: &'a Snapshot, address: IpAddr, pod: &KubeVip) -> Result<&'a Link, String> {
    if address.is_ipv6() {
        return Err(format!(
            "{address} is of IPv6, and only ARP is asked: `ping -6 {address}` and `ip -6 neighbour` tell"
        ));
    }
    let holds = |link: &Link| {
        let mut own = node.tables.addresses_of(link.index).filter(|own| own.address != address && own.prefix < 32);
        own.any(|own| covers(own.address, own.prefix, address))
    };
    let is_named = |(name, _): &(&str, bool)| pod.interface.text() == Some(*name);
    let named = pod.links().find(is_named);
    if let Some((name, _)) = named.filter(|(name, _)| node.tables.link_called(name).is_none()) {
        return Err(format!("there is no link {name} to ask by"));
    }
    let named = named.and_then(|(name, _)| node.tables.link_called(name));
    let near = || node.tables.links().iter().find(|link| link.works() && holds(link));
    match named.or_else(near) {
        None => Err(format!("no link of this node is on the network of {address}")),
        Some(link) if !link.works() => Err(format!("{} is down, so nobody can be asked for {address}", link.name)),
        Some(link) if !holds(link) => Err(format!("{} is not on the network of {address}", link.name)),
        Some(link) if link.mac.is_none_or(|mac| !mac.is_unicast()) => Err(format!("{} does not speak ARP", link.name)),
        Some(link) => Ok(link),
    }
}

fn ask(node: &Snapshot, address: IpAddr, pod: &KubeVip, round: u32) -> Result<Ask, String> {
    let link = link_of(node, address, pod)?;
    let (IpAddr::V4(four), Some(mac)) = (address, link.mac) else { return Err("it is not asked by ARP".into()) };
    let witnesses = witnesses(node, link);
    let unused = unused(node, link, four, round).ok_or("its network has no address left to tell a proxy by")?;
    let all = [four, unused].into_iter().chain(witnesses.iter().map(|(witness, _)| *witness));
    let frames = all.map(|one| arp::probe(mac, one)).collect();
    let about = About { address: four, unused, witnesses };
    Ok(Ask { link: link.index, frames, rows: ROWS, wait: WAIT, about })
}

/// Peers that answer for themselves on that network.
fn witnesses(node: &Snapshot, link: &Link) -> Vec<(Ipv4Addr, String)> {
    let near = |peer: &Peer| {
        let all = peer.underlay.into_iter().filter_map(|address| match address {
            IpAddr::V4(four) => Some(four),
            IpAddr::V6(_) => None,
        });
        let on_link = |four: &Ipv4Addr| {
            let hop = node.lookups.get(&IpAddr::V4(*four)).and_then(Fact::known).and_then(|route| route.hops.first());
            hop.is_some_and(|hop| hop.link == link.index && hop.gateway.is_none())
        };
        all.filter(on_link).map(|four| (four, peer.name.clone())).next()
    };
    node.peers.iter().filter_map(near).take(WITNESSES).collect()
}

/// An address of the network that nobody is known to have, another one each time: one that somebody has all the same
/// misleads one round and not the next.
fn unused(node: &Snapshot, link: &Link, vip: Ipv4Addr, round: u32) -> Option<Ipv4Addr> {
    let own = node
        .tables
        .addresses_of(link.index)
        .find(|own| own.prefix < 31 && covers(own.address, own.prefix, vip.into()))?;
    let host = u32::MAX.checked_shr(own.prefix.into())?;
    let network = u32::from(vip) & !host;
    let known = node.tables.neighbours_of(link.index).map(|entry| entry.address);
    let peers = node.peers.iter().flat_map(Peer::addresses);
    let taken: BTreeSet<IpAddr> = known.chain(peers).chain([vip.into()]).collect();
    let start = round.wrapping_mul(0x9e37_79b1);
    let candidate = |step: u32| Ipv4Addr::from(network | (1 + start.wrapping_add(step) % (host - 1).max(1)));
    let is_free =
        |address: &Ipv4Addr| !taken.contains(&IpAddr::V4(*address)) && !node.tables.is_own(IpAddr::V4(*address));
    (0..64).map(candidate).find(is_free)
}

/// Who answers, by what was heard.
fn read(node: &Snapshot, ask: &Ask, frames: &[Vec<u8>]) -> Result<Seen, Unread> {
    let About { address, unused, witnesses } = &ask.about;
    let claims: BTreeSet<(Ipv4Addr, Mac)> = frames.iter().filter_map(|frame| arp::claim(frame)).collect();
    let of = |one: Ipv4Addr| claims.iter().filter(move |(claimed, _)| *claimed == one).map(|(_, mac)| *mac);
    let proxies: BTreeSet<Mac> = of(*unused).collect();
    let macs: BTreeSet<Mac> = of(*address).filter(|mac| !proxies.contains(mac)).collect();
    if of(*address).any(|mac| proxies.contains(&mac)) {
        let why = format!("a proxy on the network answers for every address, for {address} as for {unused}");
        return Err(unclear(why));
    }
    let owners = Owners::of(node, &macs, ask);
    match owners.tell() {
        Err(()) => {
            let all: Vec<String> = macs.iter().map(ToString::to_string).collect();
            Err(unclear(format!(
                "{} answer for {address}, and it is not known whether they are one machine's",
                all.join(" and ")
            )))
        }
        Ok(holders) if holders.len() > 1 => Ok(Seen::Several(holders)),
        Ok(holders) => match holders.into_iter().next() {
            Some(holder) => Ok(Seen::Held(holder)),
            None => {
                if let Some(link) = stands_on(node, IpAddr::V4(*address)).next() {
                    let why = "which answers or not by arp_ignore, and this node does not hear itself";
                    return Err(unclear(format!(
                        "nobody else answers for {address}, and it is on {}, {why}",
                        link.name
                    )));
                }
                let witness = witnesses.iter().find(|(witness, _)| of(*witness).next().is_some());
                let (_, witness) = witness.ok_or_else(|| {
                    unclear(format!(
                        "nobody answers for {address}, and no peer on that network for an address of its own"
                    ))
                })?;
                let claims =
                    |fellow: &&crate::snapshot::fellows::Fellow| fellow.card.held.contains(&IpAddr::V4(*address));
                let told = node.fellows.known().into_iter().flat_map(|fellows| &fellows.told);
                let claim = told.filter(claims).map(|fellow| fellow.peer.clone()).collect();
                Ok(Seen::Nobody { witness: witness.clone(), claim })
            }
        },
    }
}

/// Links of this node that have an address.
fn stands_on(node: &Snapshot, address: IpAddr) -> impl Iterator<Item = &Link> {
    let all = node.tables.links().iter();
    all.filter(move |link| node.tables.addresses_of(link.index).any(|own| own.address == address))
}

/// Whether a node that has an address there is its holder. On `lo` and on a dummy, as kube-proxy's `kube-ipvs0`, every
/// node may have it.
fn answers(link: &Link) -> bool {
    !matches!(link.kind.as_str(), "loopback" | "dummy")
}

const fn unclear(why: String) -> Unread {
    Unread::new(Source::Probes, Reason::Unsupported { why })
}

/// Whose hardware addresses answer.
struct Owners {
    /// By name.
    known: BTreeMap<String, Vec<Mac>>,
    /// Of those, whose hardware addresses are all known.
    whole: bool,
    /// Whether several claim one.
    contested: bool,
    strangers: Vec<Mac>,
}

impl Owners {
    fn of(node: &Snapshot, macs: &BTreeSet<Mac>, ask: &Ask) -> Self {
        let (link, address) = (ask.link, IpAddr::V4(ask.about.address));
        let held = stands_on(node, address).any(answers);
        let own = card::macs(node);
        let fellows = node.fellows.known().map(Fellows::nodes).unwrap_or_default();
        let mut owners = Self { known: BTreeMap::new(), whole: held, contested: false, strangers: Vec::new() };
        if held {
            owners.known.insert(OWN.into(), Vec::new());
        }
        for &mac in macs {
            let mut claims = fellows.iter().filter(|fellow| fellow.card.macs.contains(&mac));
            let by_card = claims.next();
            let several = claims.next().is_some() || (own.contains(&mac) && by_card.is_some());
            owners.contested |= several || mac.is_of_vrrp();
            let by_entry = || {
                let entry = node.tables.neighbours_of(link);
                let entry = entry.filter(|entry| entry.mac == Some(mac) && entry.address != address);
                let mut peers =
                    entry.filter_map(|entry| node.peers.iter().find(|peer| peer.underlay.holds(entry.address)));
                peers.next().map(|peer| peer.name.clone())
            };
            if own.contains(&mac) {
                owners.whole = true;
                owners.known.entry(OWN.into()).or_default().push(mac);
            } else if let Some(name) = by_card.map(|fellow| fellow.peer.clone()).or_else(by_entry) {
                // A card that is full may have been cut off.
                owners.whole |= by_card.is_some_and(|fellow| fellow.card.macs.len() < card::MACS);
                owners.known.entry(name).or_default().push(mac);
            } else {
                owners.strangers.push(mac);
            }
        }
        owners
    }

    /// The machines; `Err` where it is not known whether there is one or more.
    fn tell(self) -> Result<Vec<Holder>, ()> {
        let Self { known, whole, contested, strangers } = self;
        let answering = known.values().map(Vec::len).sum::<usize>() + strangers.len();
        if contested && answering > 1 {
            return Err(());
        }
        let machines = known.len();
        let mut holders: Vec<Holder> =
            known.into_iter().map(|(node, macs)| Holder { node: Some(node), macs }).collect();
        let apart = machines > 1 || (machines == 1 && whole);
        match strangers.len() {
            0 => {}
            1 if machines == 0 || apart => holders.push(Holder { node: None, macs: strangers }),
            _ if apart => holders.push(Holder { node: None, macs: strangers }),
            _ => return Err(()),
        }
        Ok(holders)
    }
}

#[cfg(test)]
mod tests;
