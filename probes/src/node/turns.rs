//! Whose turn it is: what the schedule is told of each peer, and what it picked for the round.
//!
//! A peer is probed on all of its paths or on none, so that what is said of it was measured at one time. Paths whose turn
//! it is not keep what was measured last.
//!
//! A peer is doubted for trouble that was measured and for findings about it; it is pending while a finding waits for
//! another round, and from when the ground moved under its measurement ([`super::ground`]) until it was measured again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::Config;
use crate::fact::{Fact, Reason, Unread};
use crate::history::History;
use crate::path::Verdict;
use crate::report::ScheduleRow;
use crate::schedule::{Candidate, Coverage, Doubt, Schedule, Terms};
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::Now;

use super::carry::Moves;

/// Who is measured in this round.
#[derive(Debug, Default)]
pub(super) struct Turns {
    schedule: Schedule,
    /// Peers under whose measurement the ground moved.
    moved: BTreeSet<String>,
    /// `None` where everybody is measured.
    round: Option<Round>,
}

#[derive(Debug)]
struct Round {
    peers: BTreeSet<String>,
    coverage: Coverage,
}

impl Turns {
    /// What was measured on these peers may no longer hold.
    pub(super) fn doubt(&mut self, moved: BTreeSet<String>) {
        self.moved.extend(moved);
    }

    /// Who is doubted is called otherwise from here on.
    pub(super) fn rename(&mut self, moves: &Moves) {
        let doubted = moves.iter().filter(|(from, _)| self.moved.contains(&from.peer));
        let doubted: Vec<String> = doubted.map(|(_, to)| to.peer.clone()).collect();
        self.moved.extend(doubted);
    }

    /// A round begins: picks whom to measure in it.
    pub(super) fn begin(&mut self, node: &Snapshot, history: &History, config: &Config, now: Now) {
        let Some(stable) = config.probing.stable_peers else { return self.pause() };
        let doubts = self.doubts(history);
        let named = node.peers.iter().filter_map(|peer| Some((peer.name.as_str(), peer.zone.as_deref()?)));
        let zones: BTreeMap<&str, &str> = named.collect();
        let mut peers: BTreeMap<&str, Candidate<'_>> = BTreeMap::new();
        for (key, path) in &node.paths {
            let name = key.peer.as_str();
            let doubt = doubts.get(name).copied().unwrap_or(Doubt::None);
            let new = Candidate { name, zone: zones.get(name).copied(), paths: 0, packets: Some(0), doubt };
            add(peers.entry(name).or_insert(new), path);
        }
        let candidates: Vec<_> = peers.into_values().collect();
        let terms = Terms {
            node: &config.node,
            stable,
            interval: config.probing.interval,
            packets_per_second: config.probing.packets_per_second,
        };
        let turn = self.schedule.pick(&candidates, &terms, now.mono);
        let peers: BTreeSet<String> = turn.picked.iter().map(|&(index, _)| candidates[index].name.to_owned()).collect();
        let is_there = |name: &str| candidates.binary_search_by_key(&name, |peer| peer.name).is_ok();
        self.moved.retain(|name| !peers.contains(name) && is_there(name));
        self.round = Some(Round { peers, coverage: turn.coverage });
    }

    /// A round begins in which everybody is measured, or nobody can be.
    pub(super) fn pause(&mut self) {
        self.moved.clear();
        self.round = None;
    }

    /// Whether a peer is measured in this round.
    pub(super) fn include(&self, peer: &str) -> bool {
        self.round.as_ref().is_none_or(|round| round.peers.contains(peer))
    }

    /// Whether all that was measured about a subject was measured in this round.
    pub(super) fn cover(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Path { peer, .. } => self.include(peer),
            Subject::Link(_)
            | Subject::Pods
            | Subject::Setting(_)
            | Subject::Sysctl(_)
            | Subject::Counter(_)
            | Subject::Source(_) => true,
        }
    }

    /// Whether a subject was not measured because its first turn is still to come.
    pub(super) fn keep_waiting(&self, subject: &Subject, unread: &Unread) -> bool {
        unread.reason == Reason::NotYet && !self.cover(subject)
    }

    /// The time in which every peer is measured, if rounds start an interval apart; `None` where everybody is measured.
    pub(super) fn promised(&self, interval: Duration) -> Option<Duration> {
        self.round.as_ref().map(|round| round.coverage.promised(interval))
    }

    /// What the report says of it.
    pub(super) fn row(&self) -> Option<ScheduleRow> {
        let coverage = self.round.as_ref()?.coverage;
        Some(ScheduleRow {
            peers: coverage.peers,
            stable: coverage.stable,
            rotating: coverage.rotating,
            suspects: coverage.suspects,
            probed: coverage.probed(),
            covered_within_seconds: coverage.within.as_secs_f64().ceil() as u64,
        })
    }

    fn doubts<'a>(&'a self, history: &'a History) -> BTreeMap<&'a str, Doubt> {
        let mut doubts: BTreeMap<&str, Doubt> = self.moved.iter().map(|name| (name.as_str(), Doubt::Pending)).collect();
        for (subject, waits) in history.doubts() {
            if let Subject::Path { peer, .. } = subject {
                let doubt = doubts.entry(peer).or_insert(Doubt::Trouble);
                *doubt = (*doubt).max(if waits { Doubt::Pending } else { Doubt::Trouble });
            }
        }
        doubts
    }
}

/// Adds a path to its peer. One that was never measured makes the peer a newcomer, whatever is known of its others.
fn add(peer: &mut Candidate<'_>, path: &Path) {
    peer.paths += 1;
    let Fact::Known(measured) = &path.measured else {
        (peer.packets, peer.doubt) = (None, Doubt::None);
        return;
    };
    let Some(packets) = &mut peer.packets else { return };
    *packets += measured.packets();
    if !matches!(measured.verdict, Verdict::Clear { .. }) {
        peer.doubt = peer.doubt.max(Doubt::Trouble);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::path::Plane;
    use crate::snapshot::example::{Example, black_hole, no_right};
    use crate::units::Mono;

    fn candidate(node: &Example, doubts: Doubt) -> (u32, Option<u32>, Doubt) {
        let mut peer = Candidate { name: "master-2", zone: None, paths: 0, packets: Some(0), doubt: doubts };
        let node = node.snapshot();
        let paths = node.paths.iter().filter(|(key, _)| key.peer == "master-2");
        paths.for_each(|(_, path)| add(&mut peer, path));
        (peer.paths, peer.packets, peer.doubt)
    }

    #[test]
    fn a_peer_costs_what_its_paths_took() {
        let (paths, packets, doubt) = candidate(&Example::reference(), Doubt::None);
        let sent = |path: &Path| path.measured.known().map_or(0, |measured| measured.packets());
        let node = Example::reference().snapshot();
        let all = node.paths.iter().filter(|(key, _)| key.peer == "master-2").map(|(_, path)| sent(path)).sum();
        assert_eq!((paths, packets, doubt), (3, Some(all), Doubt::None));
    }

    #[test]
    fn one_path_in_trouble_is_a_doubt_and_one_that_was_never_measured_makes_a_newcomer() {
        let hole = || Example::reference().verdict("master-2", Plane::Pod, black_hole(1400));
        assert_eq!(candidate(&hole(), Doubt::None).2, Doubt::Trouble);
        assert_eq!(candidate(&hole(), Doubt::Pending).2, Doubt::Pending);
        let (_, packets, doubt) =
            candidate(&hole().unmeasured("master-2", Plane::Underlay, no_right()), Doubt::Pending);
        assert_eq!((packets, doubt), (None, Doubt::None));
    }

    #[test]
    fn moved_ground_is_doubted_until_the_peer_was_measured() {
        let mut config = Config::new("n1");
        // Room for the rotation's one peer and no other.
        config.probing.packets_per_second = 1;
        config.probing.interval = Duration::from_secs(1);
        config.probing.stable_peers = Some(0);
        let (node, history) = (Example::reference().snapshot(), History::new(2));
        let mut turns = Turns::default();
        turns.doubt(["master-2".to_owned(), "gone".to_owned()].into());
        let mut measured = 0;
        for second in 0..3 {
            let now = Now { mono: Mono::new(Duration::from_secs(second)), wall: Timestamp::UNIX_EPOCH };
            turns.begin(&node, &history, &config, now);
            measured += u32::from(turns.include("master-2"));
            assert_eq!(turns.moved.contains("master-2"), measured == 0);
            assert!(!turns.moved.contains("gone"));
            assert_eq!(turns.row().unwrap().probed, 1);
        }
        assert!(measured > 0);
    }
}
