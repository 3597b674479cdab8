//! Everything that is known of the machine at one time: what the checks look at.
//!
//! Kernel tables are [`Tables`], who stands on whom is [`Topology`], what was measured is in `paths`.

mod below;
pub mod cached;
pub mod entries;
#[cfg(test)]
pub(crate) mod example;
pub mod fellows;
mod located;
mod refused;
pub mod setup;
pub mod topology;
pub mod vips;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use crate::config::Expect;
use crate::declared::sysctl;
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::ethtool::Devices;
use crate::kernel::{Counters, LinkIndex, Route};
use crate::loss::Losses;
use crate::path::spread::Swept;
use crate::path::{Learned, Limit, Measured, PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::peers::hearing::Hearing;
use crate::prober::Wire;
use crate::schedule::pace::Pace;
use crate::subject::Subject;
use crate::tables::Tables;
use crate::tables::keyed::Rows;
use crate::transfer::Made;
use crate::units::{Family, IpSize, Now};
use crate::windows::Windows;

pub use cached::Cached;
pub use fellows::Fellows;
pub use setup::Setup;
pub use topology::Topology;

/// One machine at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The kernel's tables.
    pub tables: Tables,
    /// Counters as they stood before this round's probes, to compare with those in `tables`.
    pub counters_before: Fact<Counters>,
    /// Counters as they stood before the trouble that is under way; before this round's probes where there is none.
    pub counters_untroubled: Fact<Counters>,
    /// What counters did lately.
    pub windows: Windows,
    /// Peers.
    pub peers: Rows<Peer>,
    /// The kernel's route to each peer address, from where it is probed, and to the gateway of Calico's pods; cached path
    /// MTUs ignored.
    pub lookups: BTreeMap<IpAddr, Fact<Route>>,
    /// The kernel's route of every packet that it was asked about, tunnels' outer packets among them.
    pub outer: topology::outer::Answers,
    /// Who stands on whom.
    pub topology: Topology,
    /// Which CNI and host were recognised.
    pub setup: Setup,
    /// What the drivers of the links that matter say of themselves.
    pub devices: Devices,
    /// Paths under measurement.
    pub paths: BTreeMap<PathKey, Path>,
    /// Ways to node addresses that are beside the tunnels' network: asked whether anybody answers, and judged by nobody.
    pub beside: BTreeMap<PathKey, Path>,
    /// How the Kubernetes API stands; `None` where it is not asked.
    pub hearing: Option<Hearing>,
    /// Whether the schedule is kept; `Absent` where none is, or no round is over.
    pub pace: Fact<Pace>,
    /// What other nodes say of themselves.
    pub fellows: Fact<Fellows>,
    /// By what their probes leave.
    pub wire: Wire,
    /// kube-vip's addresses as the wire shows them.
    pub vips: Vec<vips::Vip>,
    /// What the operator means the network to be.
    pub expect: Expect,
}

/// One path as far as it is known.
#[derive(Clone, Debug)]
pub struct Path {
    /// What it should carry.
    pub expected: Option<IpSize>,
    /// What the kernel has cached for it.
    pub cached: Option<Cached>,
    /// Links that it leaves by, the tunnel first, then what carries it.
    pub via: Vec<LinkIndex>,
    /// What was measured last; `Unread` before the first measurement or where probing is impossible.
    pub measured: Fact<Measured>,
    /// What the network below the tunnel carries to the tunnel's far end, in sizes of the outer packet, by packets that
    /// are encapsulated here. `Absent` where there is no such way to ask: no VXLAN, or one in collect-metadata mode.
    pub outer: Fact<Measured>,
    /// The same by packets for every hardware address. `Absent` unless those for the one that the tunnel's entries name are
    /// lost in silence.
    pub anyone: Fact<Measured>,
    /// What it lost lately.
    pub losses: Losses,
    /// What became of many source ports, the last time that they were swept. `Absent` where no sweep is made: it is the
    /// underlay whose paths are many.
    pub spread: Fact<Swept>,
    /// When it was measured.
    pub probed_at: Option<Timestamp>,
    /// What the last transfer said; absent where none is made over it.
    pub transfer: Fact<Made>,
}

impl Path {
    /// The verdict.
    ///
    /// # Errors
    /// If there is none: not measured, or measured and inconclusive.
    pub fn verdict(&self) -> Result<&Verdict, Unread> {
        let not_yet = || Unread::new(Source::Probes, Reason::NotYet);
        match self.measured.read()?.ok_or_else(not_yet)? {
            Measured { verdict: Verdict::Unknown { why }, .. } => {
                Err(Unread::new(Source::Probes, Reason::Unsupported { why: why.clone() }))
            }
            measured => Ok(&measured.verdict),
        }
    }

    /// Takes in what was learned of it.
    pub(crate) fn take(&mut self, learned: Learned, tables: &Tables, now: Now) {
        let known = |measured: Measured| {
            let verdict = own_words(measured.verdict, tables);
            Fact::Known(Measured { verdict, ..measured })
        };
        match learned {
            Learned::Mtu(measured) => {
                match measured.verdict.path_mtu() {
                    Some(_) => self.losses.push(now.mono, measured.references()),
                    // What is not there loses everything, and says nothing about the path when it is back.
                    None => self.losses.clear(),
                }
                let last = self.measured.known();
                let measured = refused::remembered(located::located(*measured, last), last);
                self.measured = known(measured);
                self.probed_at = Some(now.wall);
            }
            Learned::Outer(measured) => self.outer = known(refused::remembered(*measured, self.outer.known())),
            Learned::Anyone(measured) => self.anyone = known(*measured),
            Learned::Spread(swept) => self.spread = Fact::Known(*swept),
        }
    }
}

/// A limit that this machine itself signals – a tunnel whose outer packet does not fit – has no hop's address.
fn own_words(verdict: Verdict, tables: &Tables) -> Verdict {
    let own = |by: Limit| Limit { address: by.address.filter(|&address| !tables.is_own(address)), ..by };
    match verdict {
        Verdict::Limited { mtu, by } => Verdict::Limited { mtu, by: own(by) },
        Verdict::BlackHole { carries, drops, by } => Verdict::BlackHole { carries, drops, by: by.map(own) },
        other => other,
    }
}

impl Snapshot {
    /// Whether `cause` carries `effect`: what is wrong with the one breaks the other.
    pub fn carries(&self, cause: &Subject, effect: &Subject) -> bool {
        match (cause, effect) {
            (Subject::Link(below), Subject::Link(above)) => self.topology.stands_on(above, below),
            (Subject::Link(link), Subject::Path { .. }) => self.leaves_by(effect, link),
            (Subject::Link(link), Subject::Pods) => self.topology.carries_pods(link),
            (Subject::Setting(name), Subject::Sysctl(key)) => sysctl::is_called(key, name),
            (Subject::Path { peer, plane, .. }, Subject::Path { peer: other, plane: above, .. }) => {
                peer == other && plane < above && self.crosses(cause, effect)
            }
            // A counter of the machine does not say where: whatever breaks such packets on it explains that they are counted.
            (Subject::Link(_) | Subject::Pods | Subject::Path { .. }, Subject::Counter(_)) => true,
            _ => false,
        }
    }

    /// The path of a peer on a plane, if there is exactly the one asked for.
    pub fn paths_to<'a>(
        &'a self,
        peer: &'a str,
        plane: Plane,
        family: Family,
    ) -> impl Iterator<Item = (&'a PathKey, &'a Path)> {
        let first = PathKey { peer: peer.to_owned(), plane, address: IpAddr::from([0, 0, 0, 0]) };
        let of_plane = self.paths.range(first..).take_while(move |(key, _)| key.peer == peer && key.plane == plane);
        of_plane.filter(move |(key, _)| key.family() == family)
    }

    /// The verdict on the way to a peer on a plane; `None` where there is no such path.
    pub fn verdict(&self, peer: &str, plane: Plane, family: Family) -> Option<Result<&Verdict, Unread>> {
        let is_it = |key: &PathKey| key.peer == peer && key.plane == plane && key.family() == family;
        self.paths.iter().find(|(key, _)| is_it(key)).map(|(_, path)| path.verdict())
    }

    /// How much a counter rose while this round's probes were under way.
    pub fn risen(&self, counter: &str) -> Option<u64> {
        self.risen_since(&self.counters_before, counter)
    }

    /// How much a counter rose since the last round that met no trouble. A cause may keep working without being counted
    /// again: a peer whose ARP is dropped sends nothing more that could be.
    pub fn risen_in_trouble(&self, counter: &str) -> Option<u64> {
        self.risen_since(&self.counters_untroubled, counter)
    }

    fn risen_since(&self, earlier: &Fact<Counters>, counter: &str) -> Option<u64> {
        let before = earlier.known()?.get(counter)?;
        let after = self.tables.counters.known()?.get(counter)?;
        Some(after.saturating_sub(*before))
    }

    /// Whether packets of the path `above` cross the one `below`, both to one peer. Inside a tunnel they are of its far
    /// end's family, whatever their own: the node's address counts by the outer one, the tunnel's by the tunnel. Where the
    /// route that led into one is gone, that it did is remembered.
    fn crosses(&self, below: &Subject, above: &Subject) -> bool {
        let (Subject::Path { peer, plane, family }, Subject::Path { family: inner, .. }) = (below, above) else {
            return false;
        };
        let (carrier, crossing) = (self.tunnels_of(below), self.tunnels_of(above));
        if crossing.is_empty() {
            let remembered = self.peer(peer).and_then(|peer| peer.behind(*inner));
            return family == inner || remembered.is_some_and(|behind| behind.is_crossed(*plane, *family));
        }
        match plane {
            Plane::Underlay => {
                crossing.iter().any(|&link| self.outer_family(link).is_none_or(|outer| outer == *family))
            }
            Plane::Overlay | Plane::Pod => family == inner || crossing.iter().any(|link| carrier.contains(link)),
        }
    }

    fn paths_of(&self, subject: &Subject) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(move |(key, _)| Subject::path(key) == *subject).map(|(_, path)| path)
    }

    fn tunnels_of(&self, path: &Subject) -> BTreeSet<LinkIndex> {
        let links = self.paths_of(path).flat_map(|path| &path.via).copied();
        links.filter(|&link| self.topology.tunnel(link).is_some()).collect()
    }

    fn leaves_by(&self, path: &Subject, link: &str) -> bool {
        let Subject::Path { peer, plane, family } = path else { return false };
        let Some(index) = self.topology.index_of(link) else { return false };
        self.paths_to(peer, *plane, *family).any(|(_, path)| path.via.contains(&index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, ip};

    fn path(plane: Plane, family: Family) -> Subject {
        Subject::Path { peer: "master-2".into(), plane, family }
    }

    #[test]
    fn a_tunnel_carries_both_families_over_its_own() {
        let node = Example::dual("fd00::12").snapshot();
        let (four, six) = (Family::Ipv4, Family::Ipv6);
        for inner in [path(Plane::Overlay, four), path(Plane::Pod, four), path(Plane::Pod, six)] {
            assert!(node.carries(&path(Plane::Underlay, six), &inner), "{inner:?}");
            assert!(!node.carries(&path(Plane::Underlay, four), &inner), "{inner:?}: the tunnel is one of IPv6");
        }
        assert!(node.carries(&path(Plane::Overlay, four), &path(Plane::Pod, six)), "one device for both");
    }

    #[test]
    fn a_family_that_has_a_tunnel_of_its_own_is_not_carried_by_the_others() {
        let mut node = Example::two_tunnels();
        let apart = |node: &Snapshot| {
            for (own, other) in [(Family::Ipv4, Family::Ipv6), (Family::Ipv6, Family::Ipv4)] {
                for below in [Plane::Overlay, Plane::Underlay] {
                    assert!(node.carries(&path(below, own), &path(Plane::Pod, own)), "{below:?} {own:?}");
                    assert!(!node.carries(&path(below, own), &path(Plane::Pod, other)), "{below:?} {own:?}");
                }
            }
        };
        apart(&node.snapshot());
        node.lookups.remove(&ip("fd00:244:2::2"));
        apart(&node.snapshot());
    }

    #[test]
    fn without_a_tunnel_each_family_carries_its_own() {
        let mut node = Example::empty().device("eth0", "device", 1500).address("eth0", "10.0.0.11", 24);
        node = node.peer("master-2", "eth0", "10.0.0.12");
        for pod in ["10.1.2.2", "fd00:1:2::2"] {
            node.lookups.insert(ip(pod), node.lookups[&ip("10.0.0.12")].clone());
            node.peers[0].pods.push(ip(pod));
        }
        let node = node.snapshot();
        assert!(node.carries(&path(Plane::Underlay, Family::Ipv4), &path(Plane::Pod, Family::Ipv4)));
        assert!(!node.carries(&path(Plane::Underlay, Family::Ipv4), &path(Plane::Pod, Family::Ipv6)));
    }

    #[test]
    fn a_limit_of_this_machine_names_no_hop() {
        let own = |address: &str| Limit { address: Some(address.parse().unwrap()), reported_mtu: None, ttl: None };
        let mut tables = Tables::unread();
        tables.addresses = Fact::Known(crate::kernel::address::decode(&crate::kernel::golden::addresses()).rows);
        let mtu = IpSize::new(1350);
        let told = |address: &str| match own_words(Verdict::Limited { mtu, by: own(address) }, &tables) {
            Verdict::Limited { by, .. } => by.address,
            other => panic!("{other:?}"),
        };
        assert_eq!(told("10.0.0.11"), None, "vmbr1's own address");
        assert_eq!(told("10.0.0.1"), Some("10.0.0.1".parse().unwrap()));
    }
}
