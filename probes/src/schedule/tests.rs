use proptest::prelude::*;

use super::*;

const TERMS: Terms<'static> =
    Terms { node: "n0", stable: 4, interval: Duration::from_secs(30), packets_per_second: 200 };

fn at(seconds: u64) -> Mono {
    Mono::new(Duration::from_secs(seconds))
}

fn names(peers: usize) -> Vec<String> {
    (0..peers).map(|peer| format!("n{}", peer + 1)).collect()
}

fn fine(name: &str) -> Candidate<'_> {
    Candidate { name, zone: None, paths: 1, packets: Some(2), doubt: Doubt::None }
}

fn lane_of(turn: &Turn, index: usize) -> Option<Lane> {
    turn.picked.iter().find(|(picked, _)| *picked == index).map(|&(_, lane)| lane)
}

#[test]
fn nobody_is_no_round_and_no_trouble() {
    let turn = Schedule::default().pick(&[], &TERMS, at(0));
    assert!(turn.picked.is_empty());
    assert_eq!((turn.coverage.probed(), turn.coverage.rounds), (0, 1));
    let none = Schedule::default().pick(&[], &Terms { stable: 0, ..TERMS }, at(0));
    assert!(none.picked.is_empty());
}

#[test]
fn what_waits_for_confirmation_comes_before_what_is_known_to_be_bad() {
    let names = names(500);
    let mut peers: Vec<_> = names.iter().map(|name| fine(name)).collect();
    peers.iter_mut().for_each(|peer| (peer.doubt, peer.packets) = (Doubt::Trouble, Some(60)));
    peers[499].doubt = Doubt::Pending;
    let turn = Schedule::default().pick(&peers, &TERMS, at(0));
    assert!(matches!(lane_of(&turn, 499), Some(Lane::Suspect | Lane::Stable)), "{turn:?}");
    // 6,000 packets, three sixteenths of them for suspects.
    assert_eq!(turn.coverage.suspects, 1125 / 60);
}

#[test]
fn a_peer_that_is_measured_again_after_a_change_is_a_newcomer() {
    let names = names(300);
    let mut peers: Vec<_> = names.iter().map(|name| fine(name)).collect();
    let mut schedule = Schedule::default();
    let first = schedule.pick(&peers, &TERMS, at(0));
    let (rotated, _) = first.picked.iter().find(|(_, lane)| *lane == Lane::Rotation).copied().unwrap();
    let idle = schedule.pick(&peers, &TERMS, at(30));
    assert_eq!(lane_of(&idle, rotated), None, "it has just been probed");
    peers[rotated].packets = None;
    assert_eq!(lane_of(&schedule.pick(&peers, &TERMS, at(60)), rotated), Some(Lane::Newcomer));
}

#[test]
fn a_peer_that_costs_more_than_a_round_has_its_turn_all_the_same() {
    let names = names(200);
    let mut peers: Vec<_> = names.iter().map(|name| fine(name)).collect();
    peers[7].packets = Some(50_000);
    let mut schedule = Schedule::default();
    let turns: Vec<_> = (0..10).map(|round| schedule.pick(&peers, &TERMS, at(round * 30))).collect();
    let alone = turns.iter().find(|turn| lane_of(turn, 7).is_some()).expect("its turn");
    assert_eq!(alone.coverage.rotating, 1, "and nobody beside it");
}

#[test]
fn a_small_budget_means_fewer_peers_and_a_longer_time() {
    let names = names(200);
    let peers: Vec<_> = names.iter().map(|name| fine(name)).collect();
    let of = |packets_per_second| Schedule::default().pick(&peers, &Terms { packets_per_second, ..TERMS }, at(0));
    let (rich, poor) = (of(200).coverage, of(2).coverage);
    assert_eq!((rich.probed(), rich.rounds), (84, 3), "196 in the rotation, 80 a round");
    // Sixty packets a round: fifteen for the stable ones, and 22 in turn besides, seven of them surely.
    assert_eq!((poor.stable, poor.rotating, poor.rounds), (4, 18, 28));
    assert!(poor.within > rich.within * 7);
}

#[test]
fn rounds_that_last_longer_than_the_interval_are_in_the_stated_time() {
    let names = names(3);
    let peers: Vec<_> = names.iter().map(|name| fine(name)).collect();
    let mut schedule = Schedule::default();
    let mut within = |seconds| schedule.pick(&peers, &TERMS, at(seconds)).coverage.within;
    assert_eq!(within(0), Duration::from_secs(66));
    assert_eq!(within(100), Duration::from_secs(200));
    assert_eq!(within(130), Duration::from_secs(66));
    assert_eq!(within(131), Duration::from_secs(66), "an early round makes no promise");
}

#[test]
fn what_unsuspected_peers_took_last_time_is_expected_of_the_next() {
    let names = names(1000);
    let mut peers: Vec<_> = names.iter().map(|name| fine(name)).collect();
    let mut schedule = Schedule::default();
    let before = schedule.pick(&peers, &TERMS, at(0));
    for &(index, _) in &before.picked {
        (peers[index].packets, peers[index].doubt) = (Some(100), Doubt::Pending);
    }
    let after = schedule.pick(&peers, &TERMS, at(30));
    assert_eq!(before.coverage.rotating, 80);
    assert!(after.coverage.rotating < 35, "{:?}", after.coverage);
    assert!(after.coverage.rounds > 4 * before.coverage.rounds, "{:?}", after.coverage);
}

#[test]
fn the_stated_time_holds_with_every_other_lane_full_and_is_hardly_longer() {
    // Of 600 packets 150 are for 25 stable peers, 112 for 16 suspects, 37 for 18 newcomers, and 150 are left.
    let terms = Terms { stable: 25, packets_per_second: 20, ..TERMS };
    let names = names(900);
    let (mut schedule, mut last, mut longest, mut stated) = (Schedule::default(), vec![0; 900], 0, 0);
    for round in 0..120 {
        let fresh: Vec<String> = (0..18).map(|peer| format!("fresh-{round}-{peer}")).collect();
        let clean = |name| Candidate { paths: 3, packets: Some(6), ..fine(name) };
        let mut peers: Vec<_> = names.iter().map(|name| clean(name)).collect();
        peers[..16].iter_mut().for_each(|peer| (peer.doubt, peer.packets) = (Doubt::Trouble, Some(7)));
        peers.extend(fresh.iter().map(|name| Candidate { packets: None, ..fine(name) }));
        let turn = schedule.pick(&peers, &terms, at(round * 30));
        stated = stated.max(u64::from(turn.coverage.rounds));
        for index in turn.picked.iter().map(|&(index, _)| index).filter(|&index| index < 900) {
            longest = longest.max(round - std::mem::replace(&mut last[index], round));
        }
    }
    assert!(last.iter().all(|last| 120 - last <= stated));
    assert!((stated * 85 / 100..=stated).contains(&longest), "{longest} of {stated}");
}

/// A peer of a made-up cluster: when it comes and goes, and what it is like.
#[derive(Clone, Debug)]
struct Life {
    from: u32,
    until: u32,
    paths: u32,
    packets: u32,
    doubt: Doubt,
    zone: Option<&'static str>,
}

const ROUNDS: u32 = 60;

fn life() -> impl Strategy<Value = Life> {
    let span = prop_oneof![2 => Just((0, ROUNDS)), 1 => (0..ROUNDS, 0..ROUNDS)];
    let like = prop_oneof![
        4 => Just((2, Doubt::None)),
        1 => (2..70u32).prop_map(|packets| (packets, Doubt::Trouble)),
        1 => (2..70u32).prop_map(|packets| (packets, Doubt::Pending)),
    ];
    let zone = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    (span, 1..8u32, like, zone).prop_map(|((from, length), paths, (packets, doubt), zone)| Life {
        from,
        until: from.saturating_add(length),
        paths,
        packets: packets * paths,
        doubt,
        zone,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_the_budget_never_twice_and_always_within_the_stated_time(
        lives in prop::collection::vec(life(), 0..160),
        stable in 0..30u32,
        packets_per_second in 1..400u32,
    ) {
        let names = names(lives.len());
        let terms = Terms { stable, packets_per_second, ..TERMS };
        let mut schedule = Schedule::default();
        // When each was probed last, or came.
        let mut since: BTreeMap<usize, u32> = BTreeMap::new();
        let mut measured = BTreeSet::new();
        let mut stated = 0;
        for round in 0..ROUNDS {
            let there: Vec<usize> =
                (0..lives.len()).filter(|&peer| (lives[peer].from..lives[peer].until).contains(&round)).collect();
            since.retain(|peer, _| there.contains(peer));
            measured.retain(|peer| there.contains(peer));
            let candidates: Vec<_> = there.iter().map(|&peer| {
                let Life { paths, packets, doubt, zone, .. } = lives[peer];
                let known = measured.contains(&peer);
                let (packets, doubt) = if known { (Some(packets), doubt) } else { (None, Doubt::None) };
                Candidate { name: &names[peer], zone, paths, packets, doubt }
            }).collect();
            let turn = schedule.pick(&candidates, &terms, at(u64::from(round) * 30));

            let distinct: BTreeSet<usize> = turn.picked.iter().map(|&(index, _)| index).collect();
            prop_assert_eq!(distinct.len(), turn.picked.len());
            prop_assert_eq!(turn.coverage.probed(), turn.picked.len());
            prop_assert!(there.is_empty() || !turn.picked.is_empty());

            let cost: u64 = distinct.iter().map(|&index| schedule.cost(&candidates[index])).sum();
            let whole = there.len() <= stable as usize && distinct.len() == there.len();
            let budget = u64::from(packets_per_second) * 30 * 3 / 4;
            let alone = turn.picked.iter().filter(|(_, lane)| *lane == Lane::Rotation).count() == 1;
            prop_assert!(cost <= budget || whole || alone, "{} of {}", cost, budget);

            stated = stated.max(turn.coverage.rounds);
            for (place, &peer) in there.iter().enumerate() {
                let last = *since.entry(peer).or_insert(round);
                if distinct.contains(&place) {
                    // One that came in this round may have waited since it came.
                    prop_assert!(round - last <= stated, "{} waited {} rounds of {}", names[peer], round - last, stated);
                    since.insert(peer, round);
                    measured.insert(peer);
                } else {
                    prop_assert!(round - last < stated, "{} waits {} rounds of {}", names[peer], round - last, stated);
                }
            }
        }
    }
}
