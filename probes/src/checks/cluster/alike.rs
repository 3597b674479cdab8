//! When a node is the odd one: what most others have, and how many it takes to say "most".
//!
//! Compared are this node and the others whose word is at hand. A value is that of most if two thirds of all of them, this
//! one included, have it: of three nodes two, of four three. A cluster that is split in halves has two pools and no odd
//! node, and what that breaks is measured on its paths. One voice counts once, so a node that lies is outvoted by two that
//! do not.
//!
//! Nodes that were asked and say nothing may be like this one, so that it takes more than half of *all* that were asked,
//! whoever answers: while agents are replaced pool by pool, only one of two pools may have an answer. Of a large cluster
//! only a few are asked ([`cards`](crate::node)), and two thirds of a few are found by chance where half of all have it, on
//! one node of thirty. So there nine of ten must have it, which chance finds on one node of thousands.
//!
//! Of two nodes neither is the odd one, and both say that they differ, for information. That holds for a cluster of two
//! alone: where more nodes are known and only one answers, it is not known what most have.

use crate::fact::Unread;
use crate::snapshot::{Fellows, Snapshot};

/// What comes of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<T> {
    /// As most, or nobody can be called most.
    Alike,
    /// Most have this.
    Odd {
        /// What most have.
        most: T,
        /// How many have it.
        have: usize,
        /// How many were compared, this one included.
        of: usize,
    },
    /// The only other node has this.
    Pair(T),
}

/// How this node's value stands among others'.
///
/// # Errors
/// If there are too few to tell.
pub(super) fn stand<T: Copy + Eq>(
    own: T,
    others: &[T],
    node: &Snapshot,
    fellows: &Fellows,
) -> Result<Standing<T>, Unread> {
    match others {
        [] => return Err(fellows.too_few()),
        [other] if is_pair(node) => return Ok(if *other == own { Standing::Alike } else { Standing::Pair(*other) }),
        [_] => return Err(fellows.too_few()),
        _ => {}
    }
    let of = others.len() + 1;
    let have = |value: T| others.iter().filter(|other| **other == value).count();
    let few_of_many = fellows.beyond > 0;
    let is_most = |value: &T| match have(*value) {
        have if few_of_many => have * 10 >= others.len() * 9,
        have => have * 3 >= of * 2,
    };
    let Some(most) = others.iter().copied().find(|value| *value != own && is_most(value)) else {
        return Ok(Standing::Alike);
    };
    if have(most) * 2 <= of + fellows.unheard() {
        return Err(fellows.too_few());
    }
    Ok(Standing::Odd { most, have: have(most), of })
}

/// Whether there is one other node, and no more.
fn is_pair(node: &Snapshot) -> bool {
    node.peers.iter().filter(|peer| !peer.gateway).count() == 1
}

/// Names for a sentence: a few of them.
pub(super) const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::Example;

    fn of(own: u32, others: &[u32]) -> Option<Standing<u32>> {
        stand(own, others, &Example::reference().snapshot(), &Fellows::default()).ok()
    }

    #[test]
    fn the_odd_one_of_three_is_odd_and_the_others_are_not() {
        assert_eq!(of(1400, &[1500, 1500]), Some(Standing::Odd { most: 1500, have: 2, of: 3 }));
        assert_eq!(of(1500, &[1500, 1400]), Some(Standing::Alike));
    }

    #[test]
    fn halves_have_no_odd_node() {
        assert_eq!(of(1400, &[1400, 1500, 1500]), Some(Standing::Alike));
        assert_eq!(of(1500, &[1500, 1400, 1400]), Some(Standing::Alike));
        assert_eq!(of(1400, &[1500, 1500, 1500]), Some(Standing::Odd { most: 1500, have: 3, of: 4 }));
        assert_eq!(of(1400, &[1500, 9000]), Some(Standing::Alike), "all three differ");
    }

    #[test]
    fn who_says_nothing_may_be_like_this_one() {
        let silent = |count: usize| Fellows {
            silent: (0..count).map(|at| (format!("n{at}"), "answered 404".into())).collect(),
            ..Fellows::default()
        };
        let node = Example::reference().snapshot();
        let stand = |others: usize, unheard: Fellows| stand(1400, &vec![1500; others], &node, &unheard).ok();
        assert_eq!(stand(5, silent(4)), None, "five of ten: the other five are this one's pool, not answering yet");
        assert_eq!(stand(6, silent(3)), Some(Standing::Odd { most: 1500, have: 6, of: 7 }));
        assert_eq!(stand(2, Fellows { awaited: 6, ..Fellows::default() }), None, "the first of many to answer");
    }

    #[test]
    fn a_few_of_many_must_nearly_all_have_it() {
        let node = Example::reference().snapshot();
        let many = Fellows { beyond: 984, ..Fellows::default() };
        let stand = |other: usize| {
            let others: Vec<u32> = (0..16).map(|at| if at < other { 1500 } else { 1400 }).collect();
            stand(1400, &others, &node, &many).ok()
        };
        assert_eq!(stand(12), Some(Standing::Alike), "of two halves, one node in thirty meets twelve of the other");
        assert_eq!(stand(14), Some(Standing::Alike));
        assert_eq!(stand(15), Some(Standing::Odd { most: 1500, have: 15, of: 17 }));
    }

    #[test]
    fn two_nodes_differ_from_each_other() {
        let pair = Example::flannel().snapshot();
        let stand = |other| stand(1500, &[other], &pair, &Fellows::default());
        assert_eq!((stand(1400), stand(1500)), (Ok(Standing::Pair(1400)), Ok(Standing::Alike)));
        assert_eq!(of(1500, &[1400]), None, "one of two others does not speak for both");
        assert_eq!(of(1500, &[]), None);
    }
}
