//! Whose turn it is.

use std::time::Duration;

use super::*;
use crate::snapshot::example::{Example, black_hole, made};
use crate::transfer::{BYTES, Bulk, Ended, Exchange, Kernel, Seen};

/// A node with so many peers behind its tunnel.
fn cluster(peers: u8) -> Snapshot {
    let node = Example::empty().device("eth0", "device", 1500).address("eth0", "10.0.0.1", 16).vxlan(
        "vxlan.calico",
        1450,
        Some("eth0"),
        "10.0.0.1",
    );
    let with = |node: Example, number: u8| {
        let name = format!("node-{number:03}");
        node.peer(&name, "eth0", &format!("10.0.1.{number}")).behind_tunnel(
            &name,
            "vxlan.calico",
            &format!("10.244.{number}.0"),
            &[],
        )
    };
    (1..=peers).fold(node, with).snapshot()
}

fn transfers(secret: u64) -> Transfers {
    Transfers::new(secret, at(0))
}

fn at(seconds: u64) -> Mono {
    Mono::new(Duration::from_secs(seconds))
}

fn end(transfers: &mut Transfers, keys: Vec<PathKey>, stalls: impl Fn(&PathKey) -> bool) {
    let now = Now { mono: at(0), wall: jiff::Timestamp::UNIX_EPOCH };
    for key in keys {
        let done = Exchange { ended: Ended::Answered { status: 200 }, arrived: BYTES, kernel: None };
        let kernel = Kernel { unacknowledged: 3, ..Kernel::default() };
        let still = Exchange { ended: Ended::Stalled, arrived: 0, kernel: Some(kernel) };
        let to_peer = if stalls(&key) { still } else { done.clone() };
        let bulk = Some(Bulk { from_peer: done.clone(), to_peer });
        let seen = Seen { small: done, node_answers: None, bulk, spoilt: None };
        let transfer = Transfer { key, port: 9747, node: None };
        transfers.end(&Transferred { transfer, seen }, &mut Telemetry::default(), now);
    }
}

#[test]
fn every_peer_has_its_turn_within_the_stated_time() {
    let node = cluster(95);
    let mut transfers = transfers(7);
    let mut met = BTreeSet::new();
    for round in 0..10 {
        let chosen = transfers.start(&node, at(round * 30));
        assert!(chosen.len() <= OTHERS);
        met.extend(chosen.iter().cloned());
        end(&mut transfers, chosen, |_| false);
    }
    assert_eq!(met.len(), 95, "ten rounds for 95 peers");
}

#[test]
fn nodes_do_not_all_begin_with_the_same_peers() {
    let node = cluster(95);
    let first: BTreeSet<_> = (0..20).map(|secret| transfers(secret).start(&node, at(0))).collect();
    assert_eq!(first.len(), 20);
}

#[test]
fn suspects_are_tried_in_every_round_and_others_still_have_their_turn() {
    let node = cluster(60);
    let mut transfers = transfers(3);
    let bad = |key: &PathKey| key.peer == "node-007" || key.peer == "node-033";
    let mut met = BTreeSet::new();
    for round in 0..20 {
        let chosen = transfers.start(&node, at(round * 30));
        if round > 6 {
            assert_eq!(chosen.iter().filter(|key| bad(key)).count(), 2, "in round {round}");
        }
        met.extend(chosen.iter().cloned());
        end(&mut transfers, chosen, bad);
    }
    assert_eq!(met.len(), 60);
    let chosen = transfers.start(&node, at(900));
    end(&mut transfers, chosen, |_| false);
    assert!(transfers.suspects.is_empty(), "they passed");
}

#[test]
fn a_sick_tunnel_takes_no_more_than_its_share_of_a_round() {
    let node = cluster(90);
    let mut transfers = transfers(3);
    for round in 0..30 {
        let chosen = transfers.start(&node, at(round * 30));
        assert!(chosen.len() <= SUSPECTS + OTHERS, "{}", chosen.len());
        end(&mut transfers, chosen, |_| true);
    }
    assert_eq!(transfers.suspects.len(), 90);
}

#[test]
fn short_rounds_start_no_more_than_the_budget() {
    let node = cluster(90);
    let mut transfers = transfers(3);
    let mut started = 0;
    for tenth in 0..600 {
        let chosen = transfers.start(&node, Mono::new(Duration::from_millis(tenth * 100)));
        started += chosen.len();
        end(&mut transfers, chosen, |_| true);
    }
    assert!(started <= (AT_ONCE + PER_SECOND * 60) as usize, "{started} in a minute");
}

#[test]
fn what_is_under_way_is_not_started_again() {
    let node = cluster(12);
    let mut transfers = transfers(3);
    let first = transfers.start(&node, at(0));
    let second = transfers.start(&node, at(30));
    assert_eq!((first.len(), second.len(), transfers.start(&node, at(60)).len()), (10, 2, 0));
    end(&mut transfers, first, |_| false);
    assert_eq!((transfers.under_way(), transfers.start(&node, at(90)).len()), (2, 10));
}

#[test]
fn only_clear_paths_over_which_transfers_are_made_have_a_turn() {
    let mut node = cluster(4);
    let keys: Vec<PathKey> = node.paths.keys().filter(|key| key.plane == Plane::Overlay).cloned().collect();
    let hole = Example::reference().verdict("master-2", Plane::Overlay, black_hole(1300)).snapshot();
    let broken = hole.paths.values().find(|path| !matches!(path.verdict(), Ok(Verdict::Clear { .. }))).unwrap();
    let measured = |node: &mut Snapshot, key: &PathKey, fact| node.paths.get_mut(key).unwrap().measured = fact;
    measured(&mut node, &keys[0], broken.measured.clone());
    measured(&mut node, &keys[1], Fact::Unread(Unread::new(Source::Probes, Reason::NotYet)));
    node.paths.get_mut(&keys[2]).unwrap().transfer = Fact::Absent;
    assert_eq!(transfers(1).start(&node, at(0)), [keys[3].clone()]);
}

#[test]
fn what_is_kept_of_peers_goes_with_them() {
    let mut transfers = transfers(3);
    for round in 0..5 {
        let chosen = transfers.start(&cluster(40), at(round * 30));
        end(&mut transfers, chosen, |_| true);
    }
    let chosen = transfers.start(&cluster(2), at(900));
    end(&mut transfers, chosen, |_| true);
    assert!(transfers.started.len() <= 2 && transfers.suspects.len() <= 2);
    assert!(made(None).judged, "an example is old news");
}
