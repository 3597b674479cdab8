//! Node addresses that are on another network than the tunnels' ends.
//!
//! The API knows a node by an address of the management network, and its tunnel ends on another: nothing that pods send
//! goes by the first. What that network carries says nothing about pods, so its size is never searched: one small packet
//! asks whether anybody answers there, by the means of any other path. The answer stands in the report under
//! `node_addresses`, apart from the paths, and no rule looks at it: a management network that is down is no reason why
//! packets of pods are lost. It helps whoever asks why the API calls a node not ready, or an agent is not heard.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::fact::{Fact, Reason, Source, Unread};
use crate::loss::Losses;
use crate::path::search::REFERENCE;
use crate::path::{PathKey, Plane, Target, Task};
use crate::peers::Peer;
use crate::report::NodeAddressRow;
use crate::snapshot::{Path, Snapshot};

use super::rows as report;

/// Every such way, with what was learned of it last.
pub(super) fn paths(node: &Snapshot, probing: &Result<(), Unread>) -> BTreeMap<PathKey, Path> {
    let unread = probing.clone().err().unwrap_or(Unread::new(Source::Probes, Reason::NotYet));
    let path = |key: PathKey| {
        let last = node.beside.get(&key).filter(|_| probing.is_ok());
        let path = Path {
            expected: Some(REFERENCE),
            cached: None,
            via: Vec::new(),
            measured: last.map_or_else(|| Fact::Unread(unread.clone()), |last| last.measured.clone()),
            outer: Fact::Absent,
            anyone: Fact::Absent,
            losses: Losses::default(),
            spread: Fact::Absent,
            probed_at: last.and_then(|last| last.probed_at),
            transfer: Fact::Absent,
        };
        (key, path)
    };
    node.peers.iter().flat_map(keys).map(path).collect()
}

/// What the prober is to ask of these peers.
pub(super) fn targets(node: &Snapshot, includes: impl Fn(&str) -> bool) -> Vec<Target> {
    let target = |(key, path): (&PathKey, &Path)| Target {
        key: key.clone(),
        from: None,
        expected: path.expected.unwrap_or(REFERENCE),
        tunnel: None,
        task: Task::Mtu { hops: false, sample: false },
    };
    node.beside.iter().filter(|(key, _)| includes(&key.peer)).map(target).collect()
}

/// What the report says of it.
pub(super) fn rows(node: &Snapshot) -> Vec<NodeAddressRow> {
    let row = |(key, path): (&PathKey, &Path)| {
        let row = report::path_row(node, key, path);
        NodeAddressRow {
            peer: row.peer,
            family: row.family,
            address: row.address,
            verdict: row.verdict,
            why: row.why,
            round_trip_seconds: row.round_trip_seconds,
            probed_at: row.probed_at,
        }
    };
    node.beside.iter().map(row).collect()
}

fn keys(peer: &Peer) -> impl Iterator<Item = PathKey> {
    let key = |address: IpAddr| PathKey { peer: peer.name.clone(), plane: Plane::Underlay, address };
    peer.beside().into_iter().map(key)
}
