//! What is known of a peer goes with it when it gets a name.
//!
//! The tables tell of a node before the API does, and call it by its address. When it is announced it is the same node:
//! what was measured of it stands, and a finding keeps its `since` and its place in hold-down. It is as well when the
//! announcement is withdrawn and the tables still have the node. A label in metrics changes with the name, and so does an
//! alert; the words of a finding follow when its path is judged next.
//!
//! One name never becomes another: who has the address of a node that left is not that node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::path::{PathKey, Plane};
use crate::peers::Peer;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

use super::{Node, targets};

/// Paths of peers that are called otherwise from here on, by what they were.
pub(super) type Moves = BTreeMap<PathKey, PathKey>;

impl Node {
    /// Takes along what is known of peers that are called otherwise among `peers`.
    pub(super) fn carry(&mut self, peers: &[Peer]) {
        let moves = moves(&self.snapshot, peers);
        if moves.is_empty() {
            return;
        }
        let paths = std::mem::take(&mut self.snapshot.paths);
        self.snapshot.paths = paths.into_iter().map(|(key, path)| (moved(key, &moves), path)).collect();
        let subjects = moves.iter().map(|(from, to)| (Subject::path(from), Subject::path(to)));
        self.history.rename(&subjects.collect());
        self.transfers.rename(&moves);
        self.sweeps.rename(&moves);
        self.turns.rename(&moves);
    }
}

/// What a path is called from here on.
pub(super) fn moved(key: PathKey, moves: &Moves) -> PathKey {
    moves.get(&key).cloned().unwrap_or(key)
}

fn moves(node: &Snapshot, peers: &[Peer]) -> Moves {
    let before: BTreeSet<&str> = node.peers.iter().map(|peer| peer.name.as_str()).collect();
    let after: BTreeSet<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    if before.is_subset(&after) || after.is_subset(&before) {
        return Moves::new();
    }
    let new = peers.iter().filter(|peer| !before.contains(peer.name.as_str())).flat_map(targets::keys);
    let new: BTreeMap<(Plane, IpAddr), PathKey> = new.map(|key| ((key.plane, key.address), key)).collect();
    let gone = node.paths.keys().filter(|key| !after.contains(key.peer.as_str()));
    let same = gone.filter_map(|key| Some((key, new.get(&(key.plane, key.address))?)));
    let named = same.filter(|(from, to)| is_nameless(&from.peer) || is_nameless(&to.peer));
    named.map(|(from, to)| (from.clone(), to.clone())).collect()
}

/// Whether a peer is called by its address.
fn is_nameless(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}
