//! Which sweeps over equal-cost paths are made, and when.
//!
//! They start at the end of a round and no round waits for them: where the peer's answers are limited in rate one takes
//! half a minute. What comes of one is kept with the peer's underlay path and judged with the next round; it counts once.
//! Where a tunnel leads to the peer, and packets that are encapsulated here have been answered through it at any time, the
//! sweep goes that way: those answers are not limited. That they are not answered now may be the very path that is dead.
//! If a sweep through the tunnel comes to nothing, the next asks the peer's ports, and so do those after it while the ports
//! differ: answers through the tunnel may all be lost on their one way back, whatever the ways there are like, and the two
//! would contradict each other for ever.
//!
//! Every path is swept once a round, if there is room: each source port is an entry in every connection tracking table on
//! the way, kept for 30 s if nothing answers it, so no more than [`STARTS`] sweeps start within [`SPAN`]. That is as many
//! times `ecmp_ports` entries, whatever the size of the cluster, and among many peers a path's turn comes once in peers /
//! [`STARTS`] × [`SPAN`]. First come paths whose last sweep found ports that differ or came to nothing, last those of which
//! nothing answers: with one dead path of two, that can be half of all flows, echo among them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::fact::Fact;
use crate::path::spread::{Shares, Swept};
use crate::path::{Encapsulation, Measured, PathKey, Plane, Target, Task, TaskKind, Unreachable, Verdict};
use crate::prober::Wire;
use crate::snapshot::topology::outer;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::{IpSize, Mono};

use super::carry::{Moves, moved};
use super::{Node, encapsulation};

/// How long connection tracking keeps what was not answered (`nf_conntrack_udp_timeout`).
pub const SPAN: Duration = Duration::from_secs(30);
/// Sweeps that start within [`SPAN`].
pub(super) const STARTS: usize = 8;

/// What was swept, and what that says that is new.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// When the last sweep of a path began.
    began: BTreeMap<PathKey, Mono>,
    /// When sweeps began lately.
    lately: VecDeque<Mono>,
    /// Far tunnel ends that have answered what was encapsulated here.
    through: BTreeSet<IpAddr>,
    /// Paths whose sweep has ended and was not judged.
    fresh: BTreeSet<Subject>,
}

impl Sweeps {
    /// The sweep of a path has ended.
    pub(super) fn end(&mut self, key: &PathKey) {
        self.fresh.insert(Subject::path(key));
    }

    /// What is known of these paths is known of others from here on.
    pub(super) fn rename(&mut self, moves: &Moves) {
        let began = std::mem::take(&mut self.began).into_iter();
        self.began = began.map(|(key, at)| (moved(key, moves), at)).collect();
    }

    /// Whether there is something new about a subject.
    pub(super) fn tell_of(&self, subject: &Subject) -> bool {
        self.fresh.contains(subject)
    }

    /// Remembers which tunnels answer.
    fn hear(&mut self, node: &Snapshot) {
        let answers = |path: &Path| path.outer.known().is_some_and(|outer| outer.verdict.path_mtu().is_some());
        let answered = node.paths.iter().filter(|(_, path)| answers(path));
        self.through.extend(answered.filter_map(|(key, _)| Some(encapsulation::of(node, key)?.0.vtep)));
        self.through.retain(|vtep| node.peers.iter().any(|peer| peer.addresses().any(|address| address == *vtep)));
    }

    /// What was new was judged.
    pub(super) fn judged(&mut self) {
        self.fresh.clear();
    }

    /// Takes the paths that are due, as many as there is room for.
    fn start<'a>(&mut self, node: &'a Snapshot, is_busy: impl Fn(&PathKey) -> bool, now: Mono) -> Vec<&'a PathKey> {
        self.began.retain(|key, _| node.paths.contains_key(key));
        while self.lately.front().is_some_and(|&began| now.since(began) >= SPAN) {
            self.lately.pop_front();
        }
        let ready = node.paths.iter().filter(|(key, path)| is_ready(node, key, path) && !is_busy(key));
        let mut due: Vec<_> = ready.map(|(key, path)| (self.urgency(key, path), key)).collect();
        due.sort_unstable();
        let room = STARTS.saturating_sub(self.lately.len());
        let chosen: Vec<_> = due.into_iter().take(room).map(|(_, key)| key).collect();
        for &key in &chosen {
            self.began.insert(key.clone(), now);
            self.lately.push_back(now);
        }
        chosen
    }

    /// The smaller the more urgent: doubtful ones first, dead ones last, of equals those that wait longest.
    fn urgency(&self, key: &PathKey, path: &Path) -> (Reverse<bool>, bool, Option<Mono>) {
        let doubtful = path.spread.known().is_some_and(is_doubtful);
        let is_dead = path.verdict().is_ok_and(|verdict| verdict.path_mtu().is_none());
        (Reverse(doubtful), is_dead, self.began.get(key).copied())
    }
}

/// Whether ports met different fates, or most of them none.
fn is_doubtful(swept: &Swept) -> bool {
    let shares = swept.shares();
    some_are_bad(&shares) || shares.unknown.count > shares.carried.count
}

fn some_are_bad(shares: &Shares) -> bool {
    shares.swallowed.count + shares.dead.count > 0 || !shares.limited.is_empty()
}

/// Whether the next sweep is not to go through the tunnel.
fn asks_ports_next(swept: &Swept) -> bool {
    let shares = swept.shares();
    let carries = shares.carried.count > 0;
    if swept.tunnel.is_some() { !carries } else { carries && some_are_bad(&shares) }
}

/// A path that was measured, whatever came of it. One on which nothing can be sent is not worth a try.
fn is_ready(node: &Snapshot, key: &PathKey, path: &Path) -> bool {
    let is_gateway = || node.peers.iter().any(|peer| peer.gateway && peer.name == key.peer);
    let refused = |measured: &Measured| {
        let Verdict::Unreachable { why } = measured.verdict else { return false };
        why != Unreachable::Silent
    };
    let was_sent = || path.measured.known().is_some_and(|measured| !refused(measured));
    key.plane == Plane::Underlay && path.expected.is_some() && was_sent() && !is_gateway()
}

impl Node {
    /// Starts the sweeps that are due.
    pub(super) fn start_sweeps(&mut self, now: Mono) {
        let ports = self.config.probing.ecmp_ports;
        if ports == 0 || self.probing.is_err() {
            return;
        }
        self.sweeps.hear(&self.snapshot);
        let busy = |key: &PathKey| self.prober.is_busy(key, TaskKind::Spread);
        let chosen = self.sweeps.start(&self.snapshot, busy, now);
        let through = &self.sweeps.through;
        let targets: Vec<_> =
            chosen.into_iter().filter_map(|key| target(&self.snapshot, key, ports, through)).collect();
        for target in targets {
            self.prober.start(target, now);
        }
    }
}

fn target(node: &Snapshot, key: &PathKey, ports: u16, through: &BTreeSet<IpAddr>) -> Option<Target> {
    let by_ports = node.paths.get(key)?.spread.known().is_some_and(asks_ports_next);
    let through = through_tunnel(node, key).filter(|(how, _)| through.contains(&how.vtep) && !by_ports);
    let (encapsulation, expected) =
        through.map_or((None, node.paths.get(key)?.expected?), |(how, size)| (Some(how), size));
    let from = outer::sources(&node.tables, &node.peers).get(&key.address).copied();
    Some(Target { key: key.clone(), from, expected, tunnel: None, task: Task::Spread { ports, encapsulation } })
}

/// How to ask through the tunnel that ends at a peer's address, and up to what size.
fn through_tunnel(node: &Snapshot, key: &PathKey) -> Option<(Encapsulation, IpSize)> {
    let inside = node.paths.keys().filter(|inner| inner.peer == key.peer);
    let mut ways = inside.filter(|_| node.wire == Wire::Raw).filter_map(|inner| encapsulation::of(node, inner));
    ways.find(|(how, _)| how.vtep == key.address)
}

/// What is known of the spread of a path: kept as long as as much is expected of it. Nothing where nothing is swept.
pub(super) fn kept(
    last: Option<&Path>,
    key: &PathKey,
    ports: u16,
    unread: impl FnOnce() -> Fact<Swept>,
) -> Fact<Swept> {
    match last {
        _ if key.plane != Plane::Underlay || ports == 0 => Fact::Absent,
        Some(Path { spread: spread @ (Fact::Known(_) | Fact::Unread(_)), .. }) => spread.clone(),
        _ => unread(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::spread::Fate;
    use crate::snapshot::example::{Example, ip, silent, swept};

    fn at(secs: u64) -> Mono {
        Mono::new(Duration::from_secs(secs))
    }

    fn never(_: &PathKey) -> bool {
        false
    }

    fn addresses(keys: &[&PathKey]) -> Vec<String> {
        keys.iter().map(|key| key.address.to_string()).collect()
    }

    #[test]
    fn underlay_paths_are_swept_once_a_round() {
        let node = Example::reference().snapshot();
        let mut sweeps = Sweeps::default();
        assert_eq!(addresses(&sweeps.start(&node, never, at(0))), ["10.0.0.12", "10.0.0.13"]);
        assert_eq!(sweeps.start(&node, never, at(30)).len(), 2);
        assert!(sweeps.start(&node, |_| true, at(60)).is_empty(), "they are under way");
    }

    #[test]
    fn ports_that_differ_come_first() {
        let mut fates = [Fate::Carried; 25];
        fates[3] = Fate::Swallowed;
        let node = Example::reference().sweeps("10.0.0.13", Fact::Known(swept(&fates))).snapshot();
        let mut sweeps = Sweeps::default();
        assert_eq!(addresses(&sweeps.start(&node, never, at(0))), ["10.0.0.13", "10.0.0.12"], "the doubtful one first");
        assert_eq!(addresses(&sweeps.start(&node, never, at(30)))[0], "10.0.0.13");
        let unknown = Example::reference().sweeps("10.0.0.13", Fact::Known(swept(&[Fate::Unknown; 25])));
        assert!(is_doubtful(
            unknown
                .snapshot()
                .paths
                .iter()
                .find_map(|(key, path)| { (key.address == ip("10.0.0.13")).then(|| path.spread.known()).flatten() })
                .unwrap()
        ));
    }

    #[test]
    fn few_start_at_a_time_so_that_connection_tracking_stays_small() {
        let node = (0..20).fold(Example::reference(), |node, number| {
            node.peer(&format!("peer-{number}"), "vmbr1", &format!("10.0.0.{}", 100 + number))
        });
        let node = node.snapshot();
        let mut sweeps = Sweeps::default();
        assert_eq!(sweeps.start(&node, never, at(0)).len(), STARTS);
        assert!(sweeps.start(&node, never, at(29)).is_empty());
        assert_eq!(sweeps.start(&node, never, at(30)).len(), STARTS);
        sweeps.start(&node, never, at(60));
        assert_eq!(sweeps.began.len(), 22, "everybody had a turn");
    }

    #[test]
    fn what_does_not_answer_comes_last_and_what_cannot_be_sent_or_is_a_mere_gateway_not_at_all() {
        let mut node = Example::reference().verdict("master-2", Plane::Underlay, silent()).snapshot();
        assert_eq!(addresses(&Sweeps::default().start(&node, never, at(0))), ["10.0.0.13", "10.0.0.12"]);
        let why = Unreachable::NotSent { why: crate::path::NotSent::NoRoute };
        let unsent = Example::reference().verdict("master-2", Plane::Underlay, Verdict::Unreachable { why }).snapshot();
        assert_eq!(addresses(&Sweeps::default().start(&unsent, never, at(0))), ["10.0.0.13"]);
        node.peers.iter_mut().for_each(|peer| peer.gateway = true);
        assert!(Sweeps::default().start(&node, never, at(0)).is_empty());
    }

    #[test]
    fn a_sweep_goes_through_the_tunnel_where_that_answers() {
        let node = Example::reference().with("vxlan.calico", |link| link.mac = Some(crate::kernel::Mac([2; 6])));
        let mut node = node.address("vxlan.calico", "10.244.1.0", 32).snapshot();
        let key = node.paths.keys().find(|key| key.address == ip("10.0.0.12")).unwrap().clone();
        let mut sweeps = Sweeps::default();
        let how = |node: &Snapshot, sweeps: &Sweeps| {
            target(node, &key, 25, &sweeps.through).unwrap().task.encapsulation().map(|how| how.inner_to)
        };
        assert_eq!(how(&node, &sweeps), None, "nobody knows that it answers");
        sweeps.hear(&node);
        assert_eq!(how(&node, &sweeps), Some(ip("10.244.2.0")));
        let inner = node.paths.keys().find(|key| key.address == ip("10.244.2.0")).unwrap().clone();
        node.paths.get_mut(&inner).unwrap().outer = Fact::Absent;
        sweeps.hear(&node);
        assert_eq!(how(&node, &sweeps), Some(ip("10.244.2.0")), "it did answer");
        let tunnel = Some(std::net::SocketAddr::new(ip("10.0.0.12"), 4789));
        let nothing = Swept { tunnel, ..swept(&[Fate::Unknown; 25]) };
        node.paths.get_mut(&key).unwrap().spread = Fact::Known(nothing);
        assert_eq!(how(&node, &sweeps), None, "it asks the peer's ports instead");
        let mut by_ports = |fates: &[Fate]| {
            node.paths.get_mut(&key).unwrap().spread = Fact::Known(swept(fates));
            how(&node, &sweeps)
        };
        let differ = [Fate::Carried, Fate::Swallowed];
        assert_eq!(by_ports(&differ), None, "the tunnel said that nothing is carried, and would say so again");
        assert_eq!(by_ports(&[Fate::Carried; 2]), Some(ip("10.244.2.0")), "nothing is wrong any more");
        assert_eq!(by_ports(&[Fate::Unknown; 2]), Some(ip("10.244.2.0")), "the ports say nothing either");
    }

    #[test]
    fn what_is_new_is_new_until_it_was_judged() {
        let mut sweeps = Sweeps::default();
        let key = Example::reference().snapshot().paths.keys().next().unwrap().clone();
        sweeps.end(&key);
        assert!(sweeps.tell_of(&Subject::path(&key)));
        sweeps.judged();
        assert!(!sweeps.tell_of(&Subject::path(&key)));
    }
}
