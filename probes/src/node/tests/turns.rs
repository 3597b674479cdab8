//! More peers than are probed in one round.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::StaticPeer;
use crate::report::ScheduleRow;

const PEERS: usize = 300;

/// The peer that fails in some tests, and its name.
const BAD: &str = "10.8.0.42";

/// A node with many peers of one path each.
pub(super) fn crowd() -> Config {
    let mut config = Config::new("n1");
    config.peers.kernel = false;
    config.probing.stable_peers = Some(4);
    config.peers.fixed = (0..PEERS).map(|peer| peer_at(&format!("10.8.{}.{}", peer / 100, peer % 100 + 1))).collect();
    config
}

pub(super) fn peer_at(address: &str) -> StaticPeer {
    StaticPeer { name: address.into(), underlay: ip(address).into(), overlay: Dual::NONE, pods: Vec::new() }
}

pub(super) fn all_well(_: IpAddr, _: u32) -> Wire {
    Wire::Answers
}

fn one_hole(to: IpAddr, size: u32) -> Wire {
    if to.to_string() == BAD && size > 1400 { Wire::Silent } else { Wire::Answers }
}

fn all_holes(_: IpAddr, size: u32) -> Wire {
    if size > 1400 { Wire::Silent } else { Wire::Answers }
}

/// One round, and who was probed in it.
fn round(world: &mut World) -> (Arc<Published>, BTreeSet<String>) {
    world.sent.clear();
    let published = world.round();
    (published, world.sent.iter().map(|(to, _)| to.to_string()).collect())
}

fn schedule(published: &Published) -> ScheduleRow {
    published.report.schedule.expect("a schedule")
}

fn holes(published: &Published) -> BTreeSet<String> {
    let holes = published.report.findings.iter().filter(|finding| finding.code == "path-black-hole");
    holes.map(|finding| finding.subject.clone()).collect()
}

#[test]
fn a_round_probes_a_share_of_many_peers_and_keeps_what_is_known_of_the_others() {
    let mut world = World::new(crowd(), all_well);
    let (first, probed) = round(&mut world);
    let row = schedule(&first);
    let shape = (row.peers, row.stable, row.rotating, row.suspects, row.probed);
    assert_eq!(shape, (PEERS, 4, 130, 0, 134), "at the start everybody is new");
    assert_eq!(probed.len(), row.probed);
    let known = |published: &Published| published.report.paths.iter().filter(|path| path.path_mtu.is_some()).count();
    assert_eq!(known(&first), 134);
    let (second, _) = round(&mut world);
    assert_eq!(known(&second), 264);
    let (_, third) = (round(&mut world), round(&mut world));
    let row = schedule(&third.0);
    assert_eq!((row.probed, row.covered_within_seconds), (84, 165), "296 peers, 80 a round: four rounds and one more");
    assert_eq!(known(&third.0), PEERS);
}

#[test]
fn no_result_is_older_than_was_stated() {
    let mut world = World::new(crowd(), all_well);
    for past in 0..20 {
        let (published, _) = round(&mut world);
        let within = Duration::from_secs(schedule(&published).covered_within_seconds);
        let ages = published.report.paths.iter().filter_map(|path| path.probed_at);
        let oldest = ages.min().expect("some result");
        let age = Duration::try_from(published.report.generated_at.duration_since(oldest)).unwrap();
        assert!(age <= within, "{age:?} of {within:?}");
        let everybody = published.report.paths.iter().all(|path| path.probed_at.is_some());
        assert!(everybody || past < 4, "round {past}");
    }
}

#[test]
fn what_waits_for_its_first_turn_is_one_line_and_not_one_for_each() {
    let mut world = World::new(crowd(), all_well);
    let (first, _) = round(&mut world);
    let of = |published: &Published| {
        let rows = published.report.not_concluded.iter().filter(|row| row.code == "path-black-hole");
        rows.map(|row| row.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(&first), ["paths that wait for their first turn to be measured: 166"]);
    assert_eq!(first.report.checks["path-black-hole"], Conclusion::NotConcluded);
    (0..3).for_each(|_| drop(round(&mut world)));
    let (last, _) = round(&mut world);
    assert_eq!((of(&last).len(), last.report.checks["path-black-hole"]), (0, Conclusion::Quiet));
}

#[test]
fn trouble_is_measured_again_in_the_next_round_and_in_every_one_until_it_is_gone() {
    let mut world = World::new(crowd(), all_well);
    (0..5).for_each(|_| drop(round(&mut world)));
    world.wire = one_hole;
    let found = (0..5).find_map(|_| Some(round(&mut world)).filter(|(_, probed)| probed.contains(BAD)));
    let (published, _) = found.expect("its turn within the stated time");
    assert!(published.pending > 0 && holes(&published).is_empty(), "one round is no proof");
    for _ in 0..4 {
        let (published, probed) = round(&mut world);
        assert!(probed.contains(BAD));
        assert_eq!(holes(&published), [BAD.to_owned()].into());
        assert!(schedule(&published).suspects <= 1);
    }
    world.wire = all_well;
    let (healed, probed) = round(&mut world);
    assert!(probed.contains(BAD) && holes(&healed).is_empty());
    let (_, probed) = round(&mut world);
    assert!(!probed.contains(BAD), "it waits for its turn like everybody");
}

#[test]
fn a_measurement_counts_once_however_many_rounds_it_is_looked_at() {
    let mut config = crowd();
    config.probing.packets_per_second = 50;
    let mut world = World::new(config, all_well);
    (0..5).for_each(|_| drop(round(&mut world)));
    let mut measured: BTreeMap<String, u32> = BTreeMap::new();
    world.wire = all_holes;
    let mut left_out = 0;
    for past in 0..12 {
        let (published, probed) = round(&mut world);
        left_out += holes(&published).difference(&probed).count();
        probed.iter().for_each(|peer| *measured.entry(peer.clone()).or_default() += 1);
        let proven = |peer: &String| measured.get(peer).is_some_and(|times| *times >= 2);
        assert!(holes(&published).iter().all(proven), "raised without a second measurement");
        assert!(past == 0 || world.sent.len() < 50 * 30, "{} packets are more than an interval's", world.sent.len());
    }
    assert!(left_out > 0, "no finding stood without being measured: the test proves nothing");
    world.wire = all_well;
    let mut standing = holes(&round(&mut world).0);
    for _ in 0..3 {
        let (published, probed) = round(&mut world);
        let cleared: BTreeSet<_> = standing.difference(&holes(&published)).cloned().collect();
        assert!(cleared.is_subset(&probed), "cleared without a measurement");
        standing = holes(&published);
    }
}

#[test]
fn only_new_measurements_are_counted() {
    let mut world = World::new(crowd(), all_well);
    let sent = |published: &Published| published.telemetry.traffic.values().map(|traffic| traffic.sent).sum::<u64>();
    let (first, probed) = round(&mut world);
    assert_eq!(sent(&first), 2 * probed.len() as u64);
    let (second, again) = round(&mut world);
    assert_eq!(sent(&second) - sent(&first), 2 * again.len() as u64);
}

#[test]
fn who_names_peers_by_hand_has_them_all_in_every_round() {
    let mut config = crowd();
    config.probing.stable_peers = None;
    let mut world = World::new(config.clone(), all_well);
    for _ in 0..2 {
        let (published, probed) = round(&mut world);
        assert_eq!((probed.len(), published.report.schedule), (PEERS, None));
    }
    config.probing.stable_peers = Some(4);
    let now = at(world.time);
    world.node.on(Input::Reload(Box::new(config)), now);
    let (published, probed) = round(&mut world);
    assert_eq!((probed.len(), schedule(&published).probed), (84, 84), "new settings hold from the next round on");
}

#[test]
fn a_small_cluster_is_probed_whole() {
    let mut config = crowd();
    config.peers.fixed.truncate(84);
    let mut world = World::new(config, all_well);
    for _ in 0..3 {
        let (published, probed) = round(&mut world);
        assert_eq!((probed.len(), schedule(&published).covered_within_seconds), (84, 66));
        assert!(published.report.not_concluded.iter().all(|row| !row.reason.contains("turn")));
    }
}

#[test]
fn where_nothing_can_be_probed_there_is_no_schedule() {
    let mut world = World::new(crowd(), all_well);
    assert!(round(&mut world).0.report.schedule.is_some());
    let denied = Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() });
    world.node.on(Input::Probing(Err(denied)), at(world.time));
    let (published, probed) = round(&mut world);
    assert!(probed.is_empty() && published.report.schedule.is_none());
}
