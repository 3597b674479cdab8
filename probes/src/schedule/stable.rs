//! Who is whose stable peer.
//!
//! Every node ranks all others by a hash of both names and keeps the highest (rendezvous hashing). Nobody has to agree on
//! anything: each is chosen by about as many as it chooses, and a peer that comes or goes moves its own places and no
//! others.
//!
//! Where zones are known the places are spread over them by size: a zone has as many of a hundred places as it has of a
//! hundred peers, so that a member of a small zone is chosen no more often than one of a large zone. A place that would
//! have to be split goes to either zone by the node's hash, which evens out over the nodes; as sizes change, now and then
//! such a place moves. A zone that is not too small has one place at least: too small is one whose members would be
//! chosen more than [`CROWD`] times as often as others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// How many times as often as others a member of a small zone may be chosen so that its zone has a place.
const CROWD: usize = 4;

/// A name as a number: FNV-1a, stirred. The same on every node and in every version, or they would all move at once.
pub(super) fn hash(name: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    stir(name.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// How much a node likes a peer. It says nothing about how much the peer likes the node.
pub(super) const fn rank(node: u64, peer: u64) -> u64 {
    stir(node ^ stir(peer))
}

/// Every bit of the result hangs on every bit of the argument (the finaliser of SplitMix64).
const fn stir(mut bits: u64) -> u64 {
    bits ^= bits >> 30;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Peers by zone, each as an index.
#[derive(Clone, Debug)]
pub(super) struct Strata(Vec<Vec<usize>>);

impl Strata {
    /// The peers in these zones.
    pub(super) fn new<Z: Ord>(zones: impl Iterator<Item = Z>) -> Self {
        let mut members: BTreeMap<Z, Vec<usize>> = BTreeMap::new();
        for (index, zone) in zones.enumerate() {
            members.entry(zone).or_default().push(index);
        }
        Self(members.into_values().collect())
    }

    /// The `places` peers that a node keeps, given how it ranks each.
    pub(super) fn choose(&self, node: u64, ranks: &[u64], places: usize) -> Vec<usize> {
        let sizes: Vec<usize> = self.0.iter().map(Vec::len).collect();
        let places = spread(node, &sizes, places.min(ranks.len()));
        self.0.iter().zip(places).flat_map(|(members, places)| highest(ranks, members, places)).collect()
    }
}

/// How many places each zone has. Places stand at equal distances along the line of all peers, zone by zone, and the
/// node's hash says where the first one stands.
fn spread(node: u64, sizes: &[usize], places: usize) -> Vec<usize> {
    let peers: usize = sizes.iter().sum();
    let first = usize::try_from((u128::from(node) * peers as u128) >> 64).unwrap_or_default();
    let mut spread = vec![0; sizes.len()];
    let (mut zone, mut end) = (0, sizes.first().copied().unwrap_or_default());
    for place in 0..places {
        let at = (place * peers + first) / places;
        while at >= end {
            zone += 1;
            end += sizes[zone];
        }
        spread[zone] += 1;
    }
    for zone in 0..sizes.len() {
        let Some(richest) = (0..sizes.len()).max_by_key(|&zone| spread[zone]) else { break };
        let deserves = spread[zone] == 0 && sizes[zone] * places * CROWD >= peers;
        if deserves && spread[richest] > 1 {
            spread[richest] -= 1;
            spread[zone] += 1;
        }
    }
    spread
}

/// The members with the highest ranks.
fn highest(ranks: &[u64], members: &[usize], places: usize) -> Vec<usize> {
    let mut kept: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::with_capacity(places + 1);
    let mut bar = 0;
    for &index in members {
        if kept.len() == places && ranks[index] <= bar {
            continue;
        }
        kept.push(Reverse((ranks[index], index)));
        if kept.len() > places {
            kept.pop();
        }
        bar = kept.peek().map_or(u64::MAX, |lowest| lowest.0.0);
    }
    kept.into_iter().map(|Reverse((_, index))| index).collect()
}
