//! Everything that is known of the machine at one time: what the checks look at.
//!
//! Kernel tables are [`Tables`], who stands on whom is [`Topology`], what was measured is in `paths`.

pub mod cached;
#[cfg(test)]
pub(crate) mod example;
pub mod setup;
pub mod topology;

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::config::Expect;
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Counters, LinkIndex, Route};
use crate::path::{Measured, PathKey, Plane, Verdict};
use crate::peers::Peer;
use crate::subject::Subject;
use crate::tables::Tables;
use crate::transfer::Made;
use crate::units::{Family, IpSize};

pub use cached::Cached;
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
    /// Peers.
    pub peers: Vec<Peer>,
    /// The kernel's route to each peer address, from where it is probed, and to the gateway of Calico's pods; cached path
    /// MTUs ignored.
    pub lookups: BTreeMap<IpAddr, Fact<Route>>,
    /// The kernel's route of every packet that it was asked about, tunnels' outer packets among them.
    pub outer: topology::outer::Answers,
    /// Who stands on whom.
    pub topology: Topology,
    /// Which CNI and host were recognised.
    pub setup: Setup,
    /// Paths under measurement.
    pub paths: BTreeMap<PathKey, Path>,
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
}

impl Snapshot {
    /// Whether `cause` carries `effect`: what is wrong with the one breaks the other.
    pub fn carries(&self, cause: &Subject, effect: &Subject) -> bool {
        match (cause, effect) {
            (Subject::Link(below), Subject::Link(above)) => self.topology.stands_on(above, below),
            (Subject::Link(link), Subject::Path { .. }) => self.leaves_by(effect, link),
            (Subject::Link(link), Subject::Pods) => self.topology.carries_pods(link),
            (Subject::Path { peer, plane, .. }, Subject::Path { peer: other, plane: above, .. }) => {
                peer == other && plane < above
            }
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
        self.paths.iter().filter(move |(key, _)| key.peer == peer && key.plane == plane && key.family() == family)
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

    fn leaves_by(&self, path: &Subject, link: &str) -> bool {
        let Subject::Path { peer, plane, family } = path else { return false };
        let Some(index) = self.topology.index_of(link) else { return false };
        self.paths_to(peer, *plane, *family).any(|(_, path)| path.via.contains(&index))
    }
}
