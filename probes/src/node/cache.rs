//! Cached path MTUs over time: which of them the wire itself explains.
//!
//! Probing at full size makes routers say "fragmentation needed", and the kernel then remembers the smaller size for ten
//! minutes, though the path may be healed in the meantime. Nobody is to be told of that. So what the wire carried when
//! a size was learned is kept as long as the kernel keeps the size:
//!
//! - A size that is *new* since the last reading was learned since then. It is explained if the wire was measured to
//!   carry just that in this round or the one before.
//! - A size that *stays* is explained if it was, or if the wire carries just that now.
//! - A size that is learned *again* (it expires later than it would have) counts as new: somebody still says so. The
//!   kernel itself puts that off: it renews an entry only in the second half of its life.
//!
//! What was there before this process started is not explained: it may be anybody's, and it does harm all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::path::PathKey;
use crate::snapshot::{Cached, Snapshot};
use crate::units::{IpSize, Mono};

/// An entry expires at the same time in every reading, but for the time that reading takes and the kernel's rounding.
const BLUR: Duration = Duration::from_secs(2);

/// What the kernel remembers, and whether the wire explains it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<IpAddr, Entry>,
    /// What the wire carried in the round before.
    carried: BTreeMap<IpAddr, BTreeSet<IpSize>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    mtu: IpSize,
    until: Option<Mono>,
    renewed: u32,
    explained: bool,
}

impl Cache {
    /// Takes in one round's measurements, and says of each cached path MTU whether the wire explains it. `read_at` is
    /// when the kernel was asked. Where it could not be asked, nothing is forgotten.
    pub(super) fn judge(&mut self, node: &mut Snapshot, read_at: Mono) {
        if node.tables.exceptions.known().is_none() {
            return;
        }
        let learnable: Vec<(PathKey, BTreeSet<IpSize>)> = node
            .paths
            .iter()
            .map(|(key, path)| (key.clone(), node.learnable(key, path).into_iter().collect()))
            .collect();
        let mut carried: BTreeMap<IpAddr, BTreeSet<IpSize>> = BTreeMap::new();
        for (key, sizes) in learnable {
            carried.entry(key.address).or_default().extend(sizes);
        }
        let mut entries = BTreeMap::new();
        for (key, path) in &mut node.paths {
            let Some(cached) = &mut path.cached else { continue };
            let entry = self.entry(key.address, cached, carried.get(&key.address), read_at);
            (cached.renewed, cached.explained) = (entry.renewed, entry.explained);
            entries.insert(key.address, entry);
        }
        self.entries = entries;
        self.carried = carried;
    }

    /// Says of each cached path MTU what was said after the last round. What was learned since waits for the next one:
    /// nothing was measured beside it.
    pub(super) fn recall(&self, node: &mut Snapshot) {
        for (key, path) in &mut node.paths {
            let Some(cached) = &mut path.cached else { continue };
            let known = self.entries.get(&key.address).filter(|entry| entry.mtu == cached.mtu);
            (cached.renewed, cached.explained) = known.map_or((0, true), |entry| (entry.renewed, entry.explained));
        }
    }

    fn entry(&self, address: IpAddr, cached: &Cached, now: Option<&BTreeSet<IpSize>>, read_at: Mono) -> Entry {
        let until = cached.expires.map(|left| read_at + left);
        let carries = |sizes: Option<&BTreeSet<IpSize>>| sizes.is_some_and(|sizes| sizes.contains(&cached.mtu));
        let (is_now, was_before) = (carries(now), carries(self.carried.get(&address)));
        let fresh = Entry { mtu: cached.mtu, until, renewed: 0, explained: is_now || was_before };
        match self.entries.get(&address).filter(|old| old.mtu == cached.mtu) {
            None => fresh,
            Some(old) if is_later(until, old.until) => Entry { renewed: old.renewed.saturating_add(1), ..fresh },
            Some(old) => Entry { until: old.until, explained: old.explained || is_now, ..*old },
        }
    }
}

fn is_later(now: Option<Mono>, before: Option<Mono>) -> bool {
    matches!((now, before), (Some(now), Some(before)) if now > before + BLUR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Plane, Verdict};
    use crate::snapshot::example::{Example, ip, limited};

    const PEER: &str = "10.0.0.12";

    /// Rounds of half a minute.
    #[derive(Default)]
    struct Rounds {
        cache: Cache,
        round: u64,
    }

    impl Rounds {
        /// What is made of the value for `address` that is kept until so many seconds after the start.
        fn look(&mut self, node: &Example, address: &str, until: u64) -> Option<(bool, u32)> {
            let now = self.round * 30;
            self.round += 1;
            let mut node = node.snapshot();
            for cached in node.paths.values_mut().filter_map(|path| path.cached.as_mut()) {
                cached.expires = Some(Duration::from_secs(until - now));
            }
            self.cache.judge(&mut node, Mono::new(Duration::from_secs(now)));
            let path = node.paths.iter().find(|(key, _)| key.address == ip(address)).map(|(_, path)| path);
            path.and_then(|path| path.cached).map(|cached| (cached.explained, cached.renewed))
        }
    }

    fn narrow() -> Example {
        Example::reference().verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")))
    }

    #[test]
    fn what_was_learned_from_a_path_that_was_that_small_is_explained_until_it_is_gone() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.look(&narrow(), PEER, 600), None);
        let healed = Example::reference().remembers(PEER, 1400);
        for _ in 0..10 {
            assert_eq!(
                rounds.look(&healed, PEER, 610),
                Some((true, 0)),
                "learned by the last probe of the first round"
            );
        }
        assert_eq!(rounds.look(&Example::reference(), PEER, 0), None);
        assert_eq!(rounds.look(&healed, PEER, 1000), Some((false, 0)), "learned anew, long after the path was healed");
    }

    #[test]
    fn another_size_than_the_wire_had_is_not_explained() {
        let mut rounds = Rounds::default();
        rounds.look(&narrow(), PEER, 600);
        assert_eq!(rounds.look(&Example::reference().remembers(PEER, 1399), PEER, 600), Some((false, 0)));
    }

    #[test]
    fn what_was_there_at_the_start_is_not_explained_unless_the_wire_says_the_same() {
        assert_eq!(Rounds::default().look(&Example::reference().remembers(PEER, 1400), PEER, 600), Some((false, 0)));
        assert_eq!(Rounds::default().look(&narrow().remembers(PEER, 1400), PEER, 600), Some((true, 0)));
    }

    #[test]
    fn a_size_that_is_learned_again_from_a_healed_path_is_no_longer_explained_and_is_counted() {
        let mut rounds = Rounds::default();
        rounds.look(&narrow().remembers(PEER, 1400), PEER, 600);
        let healed = Example::reference().remembers(PEER, 1400);
        assert_eq!(rounds.look(&healed, PEER, 600), Some((true, 0)));
        assert_eq!(rounds.look(&healed, PEER, 601), Some((true, 0)), "the kernel rounds");
        assert_eq!(rounds.look(&healed, PEER, 900), Some((false, 1)));
        assert_eq!(rounds.look(&healed, PEER, 900), Some((false, 1)));
        assert_eq!(rounds.look(&healed, PEER, 1200), Some((false, 2)));
    }

    #[test]
    fn renewals_while_the_path_is_small_are_explained() {
        let mut rounds = Rounds::default();
        let small = narrow().remembers(PEER, 1400);
        rounds.look(&small, PEER, 600);
        assert_eq!(rounds.look(&small, PEER, 900), Some((true, 1)));
    }

    #[test]
    fn inside_a_tunnel_what_the_outer_packet_met_explains_the_inner_size() {
        let mut rounds = Rounds::default();
        let inner = |node: Example| node.remembers("10.244.2.0", 1350);
        assert_eq!(rounds.look(&inner(narrow()), "10.244.2.0", 600), Some((true, 0)));
        let outlives = inner(Example::reference());
        assert_eq!(rounds.look(&outlives, "10.244.2.0", 600), Some((true, 0)), "the outer entry is gone by now");
        let mut poisoned = Rounds::default();
        let outer = inner(Example::reference().remembers(PEER, 1400));
        assert_eq!(poisoned.look(&outer, "10.244.2.0", 600), Some((true, 0)), "a consequence of the outer entry");
        assert_eq!(poisoned.look(&outer, PEER, 600), Some((false, 0)), "which itself is not explained");
    }

    #[test]
    fn a_reading_that_failed_forgets_nothing() {
        let mut rounds = Rounds::default();
        let small = narrow().remembers(PEER, 1400);
        rounds.look(&small, PEER, 600);
        let mut unread = Example::reference();
        unread.tables.exceptions = crate::fact::Fact::Absent;
        rounds.look(&unread, PEER, 600);
        assert_eq!(rounds.look(&Example::reference().remembers(PEER, 1400), PEER, 600), Some((true, 0)));
    }

    #[test]
    fn a_path_that_is_clear_explains_its_own_size_only() {
        let clear =
            Example::reference().verdict("master-2", Plane::Underlay, Verdict::Clear { mtu: IpSize::new(1400) });
        assert_eq!(Rounds::default().look(&clear.remembers(PEER, 1400), PEER, 600), Some((true, 0)));
    }

    #[test]
    fn between_rounds_the_last_word_holds_and_what_is_new_waits() {
        let mut rounds = Rounds::default();
        let poisoned = Example::reference().remembers(PEER, 1399);
        assert_eq!(rounds.look(&poisoned, PEER, 600), Some((false, 0)));
        let recalled = |cache: &Cache, node: &Example| {
            let mut node = node.snapshot();
            cache.recall(&mut node);
            let path = node.paths.iter().find(|(key, _)| key.address == ip(PEER)).map(|(_, path)| path);
            path.and_then(|path| path.cached).map(|cached| cached.explained)
        };
        assert_eq!(recalled(&rounds.cache, &poisoned), Some(false));
        assert_eq!(recalled(&rounds.cache, &Example::reference().remembers(PEER, 1398)), Some(true));
        assert_eq!(recalled(&rounds.cache, &Example::reference()), None);
    }
}
