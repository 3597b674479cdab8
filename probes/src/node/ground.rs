//! What measurements stand on: the links that packets leave by, the size that they should carry, the next hop.
//!
//! When the ground moves under a path its measurement is old, however young it is, and the next round comes early. So it
//! does when a neighbour fails behind a path that was measured to work, or is back behind one that was not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::fact::Fact;
use crate::kernel::{LinkIndex, NeighbourState};
use crate::path::{PathKey, TunnelEnd, Verdict};
use crate::snapshot::{Path, Snapshot};
use crate::units::{IpSize, LinkMtu};

use super::targets::tunnel_end;

/// What each path's measurement stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ground(BTreeMap<PathKey, Footing>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Footing {
    expected: Option<IpSize>,
    links: Vec<(LinkIndex, LinkMtu, bool)>,
    tunnel: Option<TunnelEnd>,
    next_hops: BTreeMap<IpAddr, NeighbourState>,
}

impl Ground {
    /// The ground under every path.
    pub(super) fn under(node: &Snapshot) -> Self {
        let footing = |(key, path): (&PathKey, &Path)| {
            let links = path.via.iter().filter_map(|&index| node.tables.link(index));
            let footing = Footing {
                expected: path.expected,
                links: links.map(|link| (link.index, link.mtu, link.works())).collect(),
                tunnel: tunnel_end(node, key.address),
                next_hops: next_hops(node, key.address),
            };
            (key.clone(), footing)
        };
        Self(node.paths.iter().map(footing).collect())
    }

    /// The peers that came or went, or whose `paths` were measured on what is different in `later`.
    pub(super) fn moved(&self, later: &Self, paths: &BTreeMap<PathKey, Path>) -> BTreeSet<String> {
        let gone = self.0.keys().filter(|key| !later.0.contains_key(key));
        let moved = later.0.iter().filter(|&(key, after)| {
            self.0.get(key).is_none_or(|before| {
                !before.holds(after) || paths.get(key).is_some_and(|path| belied(path, before, after))
            })
        });
        gone.chain(moved.map(|(key, _)| key)).map(|key| key.peer.clone()).collect()
    }
}

impl Footing {
    /// Whether all but the neighbours is the same.
    fn holds(&self, later: &Self) -> bool {
        self.expected == later.expected && self.links == later.links && self.tunnel == later.tunnel
    }
}

/// Whether the next hop's neighbour entry says otherwise than the measurement. Only a change does: a peer that drops
/// everything resolves for ever, and one that died fails for ever.
fn belied(path: &Path, before: &Footing, after: &Footing) -> bool {
    let Fact::Known(measured) = &path.measured else { return false };
    let states = after.next_hops.iter().map(|(address, &state)| (before.next_hops.get(address).copied(), state));
    let mut states = states.filter(|(before, after)| *before != Some(*after));
    match measured.verdict {
        Verdict::Clear { .. } | Verdict::Limited { .. } | Verdict::BlackHole { .. } => {
            states.any(|(_, after)| after == NeighbourState::Failed)
        }
        Verdict::Unreachable { .. } => states.any(|(before, after)| before.is_some_and(lost) && !lost(after)),
        Verdict::Unknown { .. } => false,
    }
}

const fn lost(state: NeighbourState) -> bool {
    matches!(state, NeighbourState::Failed | NeighbourState::Incomplete)
}

fn next_hops(node: &Snapshot, address: IpAddr) -> BTreeMap<IpAddr, NeighbourState> {
    let route = node.lookups.get(&address).and_then(Fact::known);
    let hops = route.into_iter().flat_map(|route| &route.hops);
    let entries = hops.flat_map(|hop| {
        let next = hop.gateway.unwrap_or(address);
        node.tables.neighbours_at(hop.link, next)
    });
    entries.map(|entry| (entry.address, entry.state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Measured, Unreachable};
    use crate::snapshot::example::Example;

    fn ground(node: &Snapshot) -> Ground {
        Ground::under(node)
    }

    fn moved(before: &Snapshot, after: &Snapshot) -> bool {
        !ground(before).moved(&ground(after), &after.paths).is_empty()
    }

    fn verdict(node: &mut Snapshot, verdict: Verdict) {
        for path in node.paths.values_mut() {
            path.measured = Fact::Known(Measured { verdict: verdict.clone(), ..measured(path) });
        }
    }

    fn measured(path: &Path) -> Measured {
        path.measured.known().cloned().expect("the example is measured")
    }

    #[test]
    fn a_link_on_the_way_moves_the_ground_and_a_bystander_does_not() {
        let before = Example::reference().snapshot();
        assert!(!moved(&before, &before));
        let resized = |name: &str| {
            let mut after = before.clone();
            let Fact::Known(links) = &mut after.tables.links else { panic!("the links are known") };
            links.iter_mut().find(|link| link.name == name).expect(name).mtu = LinkMtu::new(1400);
            after
        };
        for name in ["enp5s0", "vmbr1", "vxlan.calico"] {
            assert!(moved(&before, &resized(name)), "{name}");
        }
        for name in ["vmbr0", "cali0ef24ba1c3f", "lo"] {
            if before.tables.link_named(name).is_some() {
                assert!(!moved(&before, &resized(name)), "{name}");
            }
        }
    }

    #[test]
    fn a_peer_that_comes_or_goes_moves_it() {
        let before = Example::reference().snapshot();
        let mut after = before.clone();
        let gone = after.paths.keys().next().cloned().unwrap();
        after.paths.remove(&gone);
        assert!(moved(&before, &after) && moved(&after, &before));
        assert_eq!(ground(&before).moved(&ground(&after), &after.paths), [gone.peer].into(), "and says whose");
    }

    #[test]
    fn a_neighbour_speaks_only_against_what_was_measured() {
        use NeighbourState::{Failed, Incomplete, Reachable, Stale};
        let example = Example::reference().snapshot();
        let with = |state: Option<NeighbourState>, said: &Verdict| {
            let mut node = example.clone();
            verdict(&mut node, said.clone());
            let mut ground = ground(&node);
            for footing in ground.0.values_mut() {
                footing.next_hops = state.map(|state| ("10.0.0.12".parse().unwrap(), state)).into_iter().collect();
            }
            (ground, node.paths)
        };
        let moves = |before, after, said: &Verdict| {
            !with(before, said).0.moved(&with(after, said).0, &with(None, said).1).is_empty()
        };
        let clear = Verdict::Clear { mtu: IpSize::new(1500) };
        let dead = Verdict::Unreachable { why: Unreachable::Silent };
        assert!(moves(Some(Reachable), Some(Failed), &clear) && moves(None, Some(Failed), &clear));
        assert!(!moves(Some(Reachable), Some(Stale), &clear) && !moves(Some(Reachable), None, &clear));
        assert!(moves(Some(Failed), Some(Reachable), &dead) && moves(Some(Incomplete), Some(Stale), &dead));
        assert!(!moves(Some(Reachable), Some(Failed), &dead), "that it is dead is known");
        assert!(!moves(Some(Failed), Some(Incomplete), &dead) && !moves(Some(Failed), None, &dead));
        assert!(!moves(Some(Stale), Some(Reachable), &dead), "it resolves and drops everything");
    }
}
