//! Clusters of a hundred, a thousand and ten thousand nodes, round after round.
//!
//! A node's schedule depends on nothing that other nodes do, so a few nodes are watched in the large clusters. What hangs
//! on all of them, who is chosen how often, is counted over all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::*;

const INTERVAL: Duration = Duration::from_secs(30);
const STABLE: u32 = 20;
const PATHS: u32 = 3;

/// What it costs to find a black hole on every path.
const SEARCH: u32 = 60 * PATHS;

/// What a round may send in all.
const BUDGET: u64 = 200 * 30;

/// One node and what it has measured.
struct Node {
    name: String,
    schedule: Schedule,
    results: BTreeMap<String, Measured>,
    time: Duration,
}

#[derive(Clone, Copy)]
struct Measured {
    packets: u32,
    doubt: Doubt,
    at: Duration,
}

/// What one round was.
struct Round {
    turn: Turn,
    names: BTreeSet<String>,
    /// Packets that were really sent.
    sent: u64,
}

impl Node {
    fn new(name: &str) -> Self {
        let (schedule, results) = (Schedule::default(), BTreeMap::new());
        Self { name: name.into(), schedule, results, time: Duration::ZERO }
    }

    /// A round in which `costs` says what measuring a peer takes; what takes more than a clean peer is trouble.
    fn round(&mut self, peers: &[Peer], costs: impl Fn(&str) -> u32) -> Round {
        self.time += INTERVAL.mul_f64(1.0 + JITTER);
        let others: Vec<&Peer> = peers.iter().filter(|peer| peer.name != self.name).collect();
        let candidates: Vec<_> = others.iter().map(|peer| self.candidate(peer)).collect();
        let terms = Terms { node: &self.name, stable: STABLE, interval: INTERVAL, packets_per_second: 200 };
        let turn = self.schedule.pick(&candidates, &terms, Mono::new(self.time));
        let names: BTreeSet<String> = turn.picked.iter().map(|&(index, _)| others[index].name.clone()).collect();
        let mut sent = 0;
        for name in &names {
            let packets = costs(name);
            sent += u64::from(packets);
            self.measured(name, packets);
        }
        Round { turn, names, sent }
    }

    fn candidate<'a>(&self, peer: &'a Peer) -> Candidate<'a> {
        let result = self.results.get(&peer.name);
        Candidate {
            name: &peer.name,
            zone: peer.zone.as_deref(),
            paths: PATHS,
            packets: result.map(|result| result.packets),
            doubt: result.map_or(Doubt::None, |result| result.doubt),
        }
    }

    fn measured(&mut self, name: &str, packets: u32) {
        let before = self.results.get(name).map_or(Doubt::None, |result| result.doubt);
        let doubt = match (packets > CLEAN * PATHS, before) {
            (false, _) => Doubt::None,
            (true, Doubt::None) => Doubt::Pending,
            (true, _) => Doubt::Trouble,
        };
        let result = Measured { packets, doubt, at: self.time };
        self.results.insert(name.to_owned(), result);
    }

    /// The oldest result of these peers; `None` if one has none.
    fn oldest(&self, peers: &[Peer]) -> Option<Duration> {
        let others = peers.iter().filter(|peer| peer.name != self.name);
        let ages = others.map(|peer| Some(self.time - self.results.get(&peer.name)?.at));
        ages.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

#[derive(Clone)]
struct Peer {
    name: String,
    zone: Option<String>,
}

fn cluster(nodes: usize) -> Vec<Peer> {
    (0..nodes).map(|node| Peer { name: format!("worker-{node}.example"), zone: None }).collect()
}

fn clean(_: &str) -> u32 {
    CLEAN * PATHS
}

/// Every second peer, told by its name's last digit, has a black hole on every path.
fn half(name: &str) -> u32 {
    let digit = name.bytes().rev().find(u8::is_ascii_digit).unwrap_or(b'0');
    if digit % 2 == 0 { SEARCH } else { CLEAN * PATHS }
}

/// By how many nodes each is kept.
fn watchers(peers: &[Peer], places: usize) -> Vec<usize> {
    watchers_among(peers, places, 1)
}

/// The same, if only every so manieth node keeps any.
fn watchers_among(peers: &[Peer], places: usize, every: usize) -> Vec<usize> {
    let hashes: Vec<u64> = peers.iter().map(|peer| stable::hash(&peer.name)).collect();
    let strata = Strata::new(peers.iter().map(|peer| peer.zone.as_deref()));
    let mut watchers = vec![0; peers.len()];
    let mut ranks = vec![0; peers.len()];
    for (own, &node) in hashes.iter().enumerate().step_by(every) {
        for (rank, &peer) in ranks.iter_mut().zip(&hashes) {
            *rank = stable::rank(node, peer);
        }
        // Nobody is its own peer.
        ranks[own] = 0;
        strata.choose(node, &ranks, places).into_iter().for_each(|peer| watchers[peer] += 1);
    }
    watchers
}

/// Asserts that a chosen peer has about `places` watchers: what chance deals out, and no more than that. Of ten thousand
/// draws the furthest is about four deviations off.
fn assert_balanced(peers: &[Peer], places: usize) {
    let watchers = watchers(peers, places);
    let deviation = (places as f64).sqrt();
    let bounds = (places as f64 - 4.0 * deviation).max(2.0)..=(places as f64 + 6.0 * deviation);
    let outside: Vec<_> = watchers.iter().filter(|&&count| !bounds.contains(&(count as f64))).collect();
    assert!(outside.is_empty(), "{bounds:?}: {outside:?}");
    assert_eq!(watchers.iter().sum::<usize>(), peers.len() * places, "everybody keeps so many");
}

#[test]
fn everybody_is_kept_by_about_as_many_as_it_keeps() {
    assert_balanced(&cluster(100), 20);
    assert_balanced(&cluster(1000), 20);
}

#[test]
fn everybody_is_kept_by_about_as_many_as_it_keeps_among_ten_thousand() {
    // What an eighth of them choose is two and a half for each: seldom none, and never a crowd.
    let watchers = watchers_among(&cluster(10_000), 20, 8);
    assert_eq!(watchers.iter().sum::<usize>(), 20 * 10_000 / 8);
    let unseen = watchers.iter().filter(|&&count| count == 0).count() as f64 / 10_000.0;
    assert!((unseen - (-2.5f64).exp()).abs() < 0.015, "{unseen} of all, where chance leaves out 0.082");
    assert!(watchers.iter().all(|&count| count <= 12), "{:?}", watchers.iter().max());
}

/// A cluster in three zones of seven, two and one tenths.
fn zoned(nodes: usize) -> Vec<Peer> {
    let zone = |node: usize| ["a", "a", "a", "a", "a", "a", "a", "b", "b", "c"][node % 10].to_owned();
    let mut peers = cluster(nodes);
    peers.iter_mut().enumerate().for_each(|(node, peer)| peer.zone = Some(zone(node)));
    peers
}

#[test]
fn a_small_zone_is_kept_in_sight_and_not_crowded() {
    let peers = zoned(1000);
    assert_balanced(&peers, 20);
    let mut node = Node::new("worker-0.example");
    let round = node.round(&peers, clean);
    let kept = round.turn.picked.iter().filter(|(_, lane)| *lane == Lane::Stable);
    let mut zones: BTreeMap<_, usize> = BTreeMap::new();
    // The node itself is the first of its cluster, so the others' indices are one short.
    kept.for_each(|(index, _)| *zones.entry(peers[index + 1].zone.as_deref()).or_default() += 1);
    assert_eq!(zones.values().sum::<usize>(), 20);
    assert!((13..=15).contains(&zones[&Some("a")]) && zones[&Some("b")] >= 3 && zones[&Some("c")] >= 1, "{zones:?}");
}

#[test]
fn a_peer_that_leaves_moves_its_own_places_only() {
    let peers = cluster(1000);
    let kept = |peers: &[Peer], node: &str| {
        let round = Node::new(node).round(peers, clean);
        let others: Vec<_> = peers.iter().filter(|peer| peer.name != node).collect();
        let stable = round.turn.picked.iter().filter(|(_, lane)| *lane == Lane::Stable);
        stable.map(|&(index, _)| others[index].name.clone()).collect::<BTreeSet<_>>()
    };
    for node in (0..20).map(|node| format!("worker-{node}.example")) {
        let before = kept(&peers, &node);
        let leaver = before.first().unwrap().clone();
        let bystander = peers.iter().map(|peer| &peer.name).find(|name| **name != node && !before.contains(*name));
        let without = |gone: &str| peers.iter().filter(|peer| peer.name != gone).cloned().collect::<Vec<_>>();
        assert_eq!(kept(&without(bystander.unwrap()), &node), before);
        let after = kept(&without(&leaver), &node);
        assert_eq!(before.difference(&after).collect::<Vec<_>>(), [&leaver]);
    }
}

#[test]
fn a_node_costs_the_same_among_a_hundred_and_among_ten_thousand() {
    for (nodes, first) in [(101, 600), (1000, 900), (10_000, 900)] {
        let peers = cluster(nodes);
        let mut node = Node::new("worker-7.example");
        assert_eq!(node.round(&peers, clean).sent, first, "newcomers all");
        let known = Measured { packets: CLEAN * PATHS, doubt: Doubt::None, at: Duration::ZERO };
        node.results = peers.iter().map(|peer| (peer.name.clone(), known)).collect();
        let sent = node.round(&peers, clean).sent;
        assert_eq!(sent, 600, "a hundred peers of three clean paths, two packets each");
    }
}

#[test]
fn a_small_cluster_is_probed_whole_in_every_round() {
    for (nodes, costs) in [(2, half as fn(&str) -> u32), (21, half), (101, clean)] {
        let peers = cluster(nodes);
        let mut node = Node::new("worker-0.example");
        for _ in 0..5 {
            let round = node.round(&peers, costs);
            assert_eq!(round.names.len(), nodes - 1);
            assert_eq!((round.turn.coverage.rounds, round.turn.coverage.within), (1, Duration::from_secs(66)));
        }
    }
}

/// Runs rounds until everybody must have been probed twice, and asserts that no result was older than was stated.
fn assert_covers(nodes: usize, watched: usize, costs: impl Fn(&str) -> u32) {
    let peers = cluster(nodes);
    for node in (0..watched).map(|node| peers[node * nodes / watched].name.clone()) {
        let mut node = Node::new(&node);
        let mut stated = Duration::ZERO;
        for round in 0.. {
            let turn = node.round(&peers, &costs).turn;
            stated = stated.max(turn.coverage.within);
            let oldest = node.oldest(&peers);
            assert!(oldest.is_none_or(|age| age <= stated), "{oldest:?} {stated:?}");
            if node.time > stated {
                assert!(oldest.is_some(), "somebody was never probed in {stated:?}");
            }
            if node.time > stated * 2 {
                break;
            }
            assert!(round < 2000, "no end: {stated:?}");
        }
    }
}

#[test]
fn a_hundred_and_a_thousand_are_covered_within_the_stated_time() {
    assert_covers(100, 100, clean);
    assert_covers(1000, 5, clean);
}

#[test]
fn four_thousand_are_covered_in_as_many_rounds_as_stated() {
    let peers = cluster(4000);
    let mut node = Node::new("worker-2000.example");
    let first = node.round(&peers, clean).turn.coverage;
    assert_eq!(first.rounds, 50, "3,979 peers, 80 a round");
    (1..first.rounds).for_each(|_| drop(node.round(&peers, clean)));
    assert_eq!(node.results.len(), 3999, "everybody, and no round more was needed");
}

#[test]
fn ten_thousand_are_covered_at_the_stated_pace() {
    let peers = cluster(10_000);
    let mut node = Node::new("worker-5000.example");
    let first = node.round(&peers, clean).turn.coverage;
    assert_eq!((first.rounds, first.within), (125, INTERVAL.mul_f64(1.1) * 126), "9,979 peers, 80 a round");
    for round in 2..=12 {
        let before = node.results.len();
        node.round(&peers, clean);
        assert!(node.results.len() >= before + 80, "round {round} turns to nobody twice");
    }
}

#[test]
fn a_failing_half_does_not_eat_the_budget_and_the_stated_time_says_what_it_costs() {
    let peers = cluster(1000);
    let mut node = Node::new("worker-1.example");
    let (mut healthy, mut failing) = (Vec::new(), Vec::new());
    (0..30).for_each(|_| healthy.push(node.round(&peers, clean)));
    (0..150).for_each(|_| failing.push(node.round(&peers, half)));
    let rounds = |rounds: &[Round]| rounds.last().unwrap().turn.coverage.rounds;
    assert_eq!(rounds(&healthy), 13);
    assert!(rounds(&failing) > 26, "half of them cost thirty times as much: {}", rounds(&failing));
    // Nobody knew before the first such round.
    let worst = failing[1..].iter().map(|round| round.sent).max().unwrap();
    assert!(worst <= BUDGET, "a round sends {worst} packets, longer than the interval");
    let suspects = failing.iter().map(|round| round.turn.coverage.suspects).max().unwrap();
    assert!((1..=50).contains(&suspects), "{suspects}");
    assert_covers(1000, 1, half);
}

#[test]
fn a_suspect_is_probed_in_every_round_and_its_peers_in_turn() {
    let peers = cluster(1000);
    let bad = |name: &str| if name == "worker-42.example" { 30 } else { clean(name) };
    let mut node = Node::new("worker-1.example");
    let rounds: Vec<_> = (0..60).map(|_| node.round(&peers, bad)).collect();
    let of = |name: &str| rounds.iter().filter(|round| round.names.contains(name)).count();
    let first = rounds.iter().position(|round| round.names.contains("worker-42.example")).unwrap();
    assert_eq!(of("worker-42.example"), 60 - first, "in every round from then on");
    let others: Vec<usize> = (43..60).map(|node| of(&format!("worker-{node}.example"))).collect();
    assert!(others.iter().filter(|&&count| count <= 60 / 12).count() > 10, "{others:?}");
}

#[test]
fn what_everybody_suspects_is_not_probed_by_everybody_at_once() {
    let peer = stable::hash("worker-42.example");
    let ranks: Vec<u64> = cluster(10_000).iter().map(|node| stable::rank(stable::hash(&node.name), peer)).collect();
    let turns: Vec<Vec<bool>> =
        (0..11).map(|round| ranks.iter().map(|&rank| out_of_turn(round, rank, 9999)).collect()).collect();
    for turn in &turns {
        let herd = turn.iter().filter(|turns| **turns).count();
        assert!((700..=1300).contains(&herd), "{herd}");
    }
    let each = |node: usize| turns[..10].iter().filter(|turn| turn[node]).count();
    assert!((0..10_000).all(|node| each(node) == 1), "each has its turn in ten rounds");
    assert!(ranks.iter().all(|&rank| out_of_turn(1, rank, 999)), "a small cluster needs no turns");
}

/// Replaces a tenth of the peers by others that were never there.
fn churned(peers: &mut [Peer], round: usize) {
    let tenth = peers.len() / 10;
    // The first is the node that is watched.
    for step in 0..tenth {
        let place = 1 + (round * 7919 + step * 13) % (peers.len() - 1);
        peers[place].name = format!("fresh-{round}-{step}.example");
    }
}

/// A tenth of the cluster is replaced in every round. Asserts that no result of those that stay is older than was stated,
/// and says how many rounds newcomers waited that were not gone before their turn.
fn survive_churn(nodes: usize, rounds: u32) -> Vec<u32> {
    let mut peers = cluster(nodes);
    let mut node = Node::new("worker-0.example");
    let mut came: BTreeMap<String, (u32, Duration)> = BTreeMap::new();
    let (mut stated, mut waits) = (Duration::ZERO, Vec::new());
    for round in 0..rounds {
        churned(&mut peers, round as usize);
        node.results.retain(|name, _| peers.iter().any(|peer| peer.name == *name));
        came.retain(|name, _| peers.iter().any(|peer| peer.name == *name));
        let unmeasured: BTreeSet<String> =
            peers.iter().map(|peer| peer.name.clone()).filter(|name| !node.results.contains_key(name)).collect();
        let probed = node.round(&peers, clean);
        stated = stated.max(probed.turn.coverage.within);
        for peer in peers.iter().filter(|peer| peer.name != node.name) {
            let (first, at) = *came.entry(peer.name.clone()).or_insert((round, node.time));
            if unmeasured.contains(&peer.name) && probed.names.contains(&peer.name) {
                waits.push(round - first);
            }
            let since = node.results.get(&peer.name).map_or(at, |result| result.at);
            assert!(node.time - since <= stated, "{} waits longer than {stated:?}", peer.name);
        }
        assert_eq!(node.schedule.known.len(), nodes - 1, "those that left are forgotten");
    }
    waits
}

#[test]
fn churn_of_a_tenth_in_every_round_is_survived() {
    assert!(survive_churn(100, 50).iter().all(|&wait| wait == 0), "all newcomers have a turn at once");
    assert!(survive_churn(400, 60).iter().skip(800).all(|&wait| wait == 0), "and so have forty, once all is measured");
    // A hundred come in every round, more than their lane holds; nobody else has to wait for them.
    assert!(survive_churn(1000, 40).len() > 1000);
}

#[test]
fn those_that_stay_do_not_wait_for_those_that_come() {
    let mut node = Node::new("watcher.example");
    let mut peers = cluster(1000);
    let (mut probed, mut longest) = (BTreeMap::new(), 0);
    for round in 0..40 {
        // A hundred are there for one round, more than the newcomers' lane holds.
        for (place, peer) in peers.iter_mut().skip(900).enumerate() {
            node.results.remove(&peer.name);
            peer.name = format!("passer-by-{round}-{place}.example");
        }
        let Round { turn, names, .. } = node.round(&peers, clean);
        assert_eq!(turn.coverage.rounds, 13, "a thousand less the stable ones, eighty a round");
        for peer in &peers[..900] {
            let last = probed.entry(peer.name.clone()).or_insert(round);
            longest = longest.max(round - *last);
            if names.contains(&peer.name) {
                *last = round;
            }
        }
    }
    assert!(longest <= 13, "{longest}");
}

/// Runs rounds that start `pace` apart, and tells the first in which somebody is late.
fn first_late(nodes: usize, pace: Duration, rounds: usize) -> Option<usize> {
    let peers = cluster(nodes);
    let mut node = Node::new("worker-3.example");
    let mut waits = pace::Waits::default();
    (0..rounds).find(|_| {
        node.time += pace.saturating_sub(INTERVAL.mul_f64(1.0 + JITTER));
        let before = node.stamps();
        let turn = node.round(&peers, clean).turn;
        let others = || peers.iter().filter(|peer| peer.name != "worker-3.example").map(|peer| peer.name.as_str());
        let of = |results: &BTreeMap<String, Timestamp>, name: &str| results.get(name).copied();
        let promised = turn.coverage.promised(INTERVAL);
        waits.begin(others().map(|name| (name, of(&before, name))), promised, Mono::new(node.time));
        let after = node.stamps();
        waits.end(others().map(|name| (name, of(&after, name))), Mono::new(node.time)).late > 0
    })
}

impl Node {
    /// When each peer was measured.
    fn stamps(&self) -> BTreeMap<String, Timestamp> {
        let stamp = |at: Duration| Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(at).unwrap();
        self.results.iter().map(|(name, result)| (name.clone(), stamp(result.at))).collect()
    }
}

#[test]
fn rounds_in_time_make_nobody_late_and_rounds_of_twice_the_interval_do() {
    assert_eq!(first_late(1000, INTERVAL.mul_f64(1.1), 60), None);
    assert_eq!(first_late(1000, INTERVAL.mul_f64(1.5), 60), None, "half as long again is within the margin");
    // Fourteen times 33 s are promised, so 753 s are late: twelve rounds of 66 s, of the thirteen that a turn takes once not
    // everybody is new.
    let late = first_late(1000, INTERVAL.mul_f64(2.2), 60);
    assert!(late.is_some_and(|round| (12..26).contains(&round)), "{late:?}");
}

#[test]
fn ten_thousand_are_late_by_their_own_long_time() {
    // 126 times 33 s are promised, so 6,297 s are late, which rounds of ten times the interval reach in twenty.
    assert_eq!(first_late(10_000, INTERVAL * 10, 25), Some(21));
    assert_eq!(first_late(10_000, INTERVAL.mul_f64(1.1), 25), None);
}
