//! Hops looked at over simulated networks; what is asserted is every probe that leaves.

use proptest::prelude::*;

use super::*;
use crate::path::search::REFERENCE;
use crate::path::simulation::chaos::{happenings, unleash};
use crate::path::simulation::{Net, Played, play, router, target};
use crate::path::{HopAt, NotSent, Refusal};
use crate::units::Family;

fn size(bytes: u32) -> IpSize {
    IpSize::new(bytes)
}

fn sight(family: Family, sizes: &[u32], vanishes: Option<(u32, bool)>) -> Sight {
    Sight {
        address: target(family),
        carrier: Carrier::Echo,
        small: REFERENCE,
        sizes: sizes.iter().copied().map(size).collect(),
        vanishes: vanishes.map(|(bytes, there)| Vanishes { size: size(bytes), there }),
        round_trip: None,
    }
}

fn look(net: &mut Net, sizes: &[u32], vanishes: Option<(u32, bool)>) -> Played<Trace> {
    let played = play(Hops::new(sight(net.family, sizes, vanishes)), net);
    assert_eq!(played.out.sent as usize, played.left.len());
    played
}

/// The hole of 1401 bytes, known to be on the way there.
fn seek(net: &mut Net) -> Played<Trace> {
    look(net, &[], Some((1401, true)))
}

/// Distances of the hops that a hole is between; 0 is this machine.
fn between(played: &Played<Trace>) -> Option<(u8, u8)> {
    played.out.hole.map(|hole| (hole.after.map_or(0, |hop| hop.ttl), hole.before.ttl))
}

/// Each hop as `<last number of its address>:<largest size>`, the target as `=`.
fn table(played: &Played<Trace>) -> String {
    let row = |row: &HopRow| {
        let address = row.address.map_or_else(|| "?".into(), |address| address.to_string());
        let last = address.rsplit(['.', ':']).next().unwrap_or_default().to_owned();
        let mark = if row.target { "=" } else { "" };
        format!("{mark}{last}:{}", row.carried.map_or_else(|| "-".into(), |size| size.to_string()))
    };
    played.out.hops.iter().map(row).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_hole_between_two_hops_is_found_in_a_stall_and_a_patience() {
    let played = seek(&mut Net::line(3).hole(2, 1400));
    let at = |ttl| HopAt { ttl, address: Some(router(Family::Ipv4, ttl)) };
    assert_eq!(played.out.hole, Some(Hole { after: Some(at(2)), before: at(3) }));
    let step = "echo 1401@1, echo 84@1, echo 1401@2, echo 84@2, echo 1401@3, echo 84@3, echo 84@4";
    assert_eq!(played.log(), format!("{step}, echo 1401@3 x3, echo 84@3"));
    assert_eq!(table(&played), "1:1401 2:1401 3:84 =12:84");
    assert_eq!(played.took.as_millis(), 50 + 200, "a stall and a patience");
}

#[test]
fn a_hole_before_the_target_was_asked_for_by_the_search() {
    let played = seek(&mut Net::line(2).hole(2, 1400));
    assert_eq!(between(&played), Some((2, 3)));
    assert_eq!(played.log(), "echo 1401@1, echo 84@1, echo 1401@2, echo 84@2, echo 1401@3, echo 84@3");
    assert_eq!(played.took.as_micros(), 200 + 400 + 600, "no silence is waited for");
}

#[test]
fn a_hole_before_the_first_hop_is_behind_none() {
    let played = seek(&mut Net::line(0).hole(0, 1400));
    let before = HopAt { ttl: 1, address: Some(target(Family::Ipv4)) };
    assert_eq!(
        (played.out.hole, played.log().as_str()),
        (Some(Hole { after: None, before }), "echo 1401@1, echo 84@1")
    );
    assert_eq!(between(&seek(&mut Net::line(2).hole(0, 1400))), Some((0, 1)));
}

#[test]
fn every_hole_on_every_line_costs_at_most_four_packets_a_hop() {
    for routers in 0..12 {
        for after in 0..=routers {
            for family in [Family::Ipv4, Family::Ipv6] {
                let played = seek(&mut Net { family, ..Net::line(routers).hole(after, 1400) });
                assert_eq!(between(&played), Some((after as u8, after as u8 + 1)), "{routers}: {}", played.log());
                assert!(played.left.len() <= 4 * (routers + 1), "{routers}, {after}: {}", played.log());
                assert_eq!(played.out.hops.len(), routers + 1);
            }
        }
    }
}

#[test]
fn where_the_way_is_not_known_the_target_ends_no_hole() {
    let unknown = Some((1401, false));
    for net in [Net::line(2).hole(2, 1400), Net::line(2).hole_back(1, 1400), Net::line(0).hole_back(0, 1400)] {
        assert_eq!(between(&look(&mut net.clone(), &[], unknown)), None);
    }
    assert_eq!(between(&look(&mut Net::line(2).hole(1, 1400), &[], unknown)), Some((1, 2)), "a router does");
}

#[test]
fn a_size_that_arrives_has_no_hole() {
    let played = seek(&mut Net::line(3));
    assert_eq!((between(&played), table(&played).as_str()), (None, "1:1401 2:1401 3:1401 =12:1401"));
    assert_eq!(played.left.len(), 8);
}

#[test]
fn a_size_that_a_hop_calls_too_big_has_no_hole() {
    let played = seek(&mut Net::line(3).signalled(2, 1400));
    assert_eq!((between(&played), table(&played).as_str()), (None, "1:1401 2:1401 3:84 =12:84"));
}

#[test]
fn routers_that_answer_no_large_packets_are_no_hole() {
    // As if the second router's own link were small where packets for itself go.
    for behind in 3..5 {
        let mut net = Net::line(5).hole(behind, 1400);
        net.deaf_above = Some((2, 1000));
        let played = seek(&mut net);
        assert_eq!(between(&played), Some((behind as u8, behind as u8 + 1)), "{}", played.log());
    }
}

#[test]
fn the_hop_view_of_a_clean_path_is_two_packets_a_hop() {
    let played = look(&mut Net::line(3), &[1500], None);
    assert_eq!(table(&played), "1:1500 2:1500 3:1500 =12:1500");
    let pairs =
        ["echo 1500@1, echo 84@1", "echo 1500@2, echo 84@2", "echo 1500@3, echo 84@3", "echo 1500@4, echo 84@4"];
    assert_eq!(played.log(), pairs.join(", "));
    let times: Vec<_> = played.out.hops.iter().map(|row| row.round_trip_seconds.unwrap() * 1e6).collect();
    assert_eq!(times.iter().map(|micros| micros.round() as u32).collect::<Vec<_>>(), [200, 400, 600, 800]);
}

#[test]
fn smaller_sizes_go_on_from_where_larger_ones_stop() {
    let played = look(&mut Net::line(3).signalled(1, 1450).hole(2, 1400), &[1500, 1450, 1400], Some((1401, true)));
    assert_eq!(table(&played), "1:1500 2:1450 3:1400 =12:1400");
    assert_eq!(between(&played), Some((2, 3)));
    let signalled = "echo 1500@1, echo 84@1, echo 1500@2, echo 84@2, echo 1450@2, echo 84@3, echo 1450@3";
    assert!(played.log().starts_with(signalled), "{}", played.log());
    assert!(played.left.len() <= 4 * 4 * 3, "{}", played.log());
    assert!(played.left.iter().all(|probe| probe.size != size(1500) || probe.ttl <= Some(2)));
}

#[test]
fn a_silent_router_is_a_row_without_address_and_holds_nobody_up_for_a_patience() {
    let mut net = Net::line(3);
    net.silent = vec![2];
    let played = look(&mut net, &[1500], None);
    assert_eq!(table(&played), "1:1500 ?:- 3:1500 =12:1500");
    assert_eq!(
        played.out.hops[1],
        HopRow { ttl: 2, address: None, also: None, round_trip_seconds: None, carried: None, target: false }
    );
    let seen =
        "echo 1500@1, echo 84@1, echo 1500@2, echo 84@2, echo 1500@3, echo 84@3, echo 1500@4, echo 84@4, echo 84@2";
    assert_eq!(played.log(), seen);
}

#[test]
fn a_hole_beside_silent_routers_is_between_those_that_speak() {
    for (silent, after, expected) in [
        (vec![2], 2, (1, 3)),
        (vec![3], 2, (2, 4)),
        (vec![2, 3], 2, (1, 4)),
        (vec![1, 2, 3], 2, (0, 4)),
        (vec![2, 3, 4, 5], 3, (1, 6)),
    ] {
        let mut net = Net::line(5).hole(after, 1400);
        net.silent = silent;
        let played = seek(&mut net);
        assert_eq!(between(&played), Some(expected), "{}", played.log());
    }
}

#[test]
fn it_ends_behind_hops_that_say_nothing() {
    let mut net = Net::line(20);
    net.silent = (3..=20).collect();
    net.echo = false;
    let played = look(&mut net, &[1500], None);
    assert_eq!(table(&played), "1:1500 2:1500");
    assert_eq!(played.left.iter().filter_map(|probe| probe.ttl).max(), Some(2 + SILENT_RUN));
    assert!(played.took.as_millis() < 1000, "{:?}", played.took);
    let nobody = look(&mut Net { silent: (1..=20).collect(), echo: false, ..Net::line(20) }, &[1500], None);
    assert_eq!((table(&nobody).as_str(), nobody.out.hole), ("", None));
}

#[test]
fn it_ends_after_thirty_hops() {
    let played = look(&mut Net::line(60), &[1500], None);
    assert_eq!((played.out.hops.len(), played.left.len()), (30, 60));
}

#[test]
fn it_ends_at_a_hop_that_refuses() {
    let mut hops = Hops::new(sight(Family::Ipv4, &[1500], None));
    let now = Mono::default();
    let mut asked = Vec::new();
    while let Step::Send(probe) = hops.poll(now) {
        hops.on_sent(probe, now);
        asked.push(probe);
    }
    let refused = || Answer::Refused { by: router(Family::Ipv4, 1), why: Refusal::Prohibited };
    asked.into_iter().for_each(|probe| hops.on_answer(probe, refused(), now));
    let later = Mono::new(Duration::from_secs(1));
    while let Step::Send(probe) = hops.poll(later) {
        hops.on_sent(probe, later);
    }
    let Step::Done(trace) = hops.poll(Mono::new(Duration::from_secs(2))) else { panic!("{hops:?}") };
    assert_eq!(trace.hops.iter().map(|row| row.address).collect::<Vec<_>>(), [Some(router(Family::Ipv4, 1))]);
    assert!(hops.opened == 1 && !trace.hops[0].target);
}

#[test]
fn a_target_that_refuses_is_the_target_all_the_same() {
    let mut hops = Hops::new(sight(Family::Ipv4, &[], None));
    let now = Mono::default();
    let Step::Send(probe) = hops.poll(now) else { panic!("{hops:?}") };
    hops.on_sent(probe, now);
    hops.on_answer(probe, Answer::Refused { by: target(Family::Ipv4), why: Refusal::Prohibited }, now);
    let Step::Done(trace) = hops.poll(now) else { panic!("{hops:?}") };
    assert!(trace.hops[0].target && trace.hops[0].ttl == 1);
}

#[test]
fn two_addresses_at_one_distance_are_both_kept() {
    let mut net = Net::line(3).hole(2, 1400);
    net.two_faced = Some(2);
    let played = seek(&mut net);
    assert_eq!(between(&played), Some((2, 3)));
    let also: Vec<_> = played.out.hops.iter().map(|row| row.also.is_some()).collect();
    assert_eq!(also, [false, true, false, false]);
}

#[test]
fn a_limit_in_rate_that_others_have_used_up_makes_no_hole() {
    for used in 0..=6 {
        for hop in 0..3 {
            let mut net = Net::line(3).hole(3, 1400);
            net.exhaust(hop, used);
            let played = seek(&mut net);
            let right = |(after, before)| after <= 3 && before == 4;
            assert!(between(&played).is_none_or(right), "{used} used at {hop}: {}", played.log());
        }
    }
}

#[test]
fn no_router_is_asked_for_more_than_it_may_answer_at_once() {
    for after in 0..=5 {
        let played = seek(&mut Net::line(5).hole(after, 1400));
        for ttl in 1..=5 {
            let arrive =
                |probe: &&Probe| probe.ttl == Some(ttl) && (probe.size == REFERENCE || usize::from(ttl) <= after);
            assert!(played.left.iter().filter(arrive).count() <= 4, "{ttl}: {}", played.log());
        }
    }
}

#[test]
fn a_slow_path_is_waited_for() {
    let delay = Duration::from_millis(80);
    let played = seek(&mut Net { delay, ..Net::line(3).hole(1, 1400) });
    assert_eq!(between(&played), Some((1, 2)), "{}", played.log());
}

#[test]
fn waiting_for_the_packet_budget_is_no_silence() {
    let held = Duration::from_secs(20);
    assert_eq!(between(&seek(&mut Net { held, ..Net::line(3).hole(2, 1400) })), Some((2, 3)));
}

#[test]
fn what_the_kernel_here_does_not_send_ends_it() {
    let cases = [
        (Net { local: 1400, ..Net::line(2).hole(1, 1400) }, None),
        (Net { local: 60, ..Net::line(2) }, None),
        (Net { filtered: 1401, ..Net::line(2) }, Some((0, 1))),
    ];
    for (mut net, expected) in cases {
        assert_eq!(between(&seek(&mut net)), expected);
    }
    let mut hops = Hops::new(sight(Family::Ipv4, &[1500], None));
    let mut refused = 0;
    while let Step::Send(probe) = hops.poll(Mono::default()) {
        hops.on_answer(probe, Answer::NotSent { why: NotSent::NoRoute }, Mono::default());
        refused += 1;
    }
    assert!(matches!(hops.poll(Mono::default()), Step::Done(_)) && refused <= 4, "{refused}");
}

#[test]
fn a_tunnels_far_end_ends_the_network_below_it() {
    let carrier = Carrier::Vxlan { source: 3 };
    let sight = Sight { carrier, small: size(134), ..sight(Family::Ipv4, &[], Some((1401, true))) };
    let played = play(Hops::new(sight), &mut Net::line(2).hole(1, 1400));
    assert_eq!(between(&played), Some((1, 2)));
    assert_eq!(table(&played), "1:1401 2:134 =12:134");
}

#[test]
fn a_twentieth_lost_each_way_names_the_right_hop_or_none() {
    let mut absent = 0;
    for seed in 0..400 {
        for after in 0..=3 {
            let played = seek(&mut Net::line(3).hole(after, 1400).lossy(0.05, seed));
            let Some((last, first)) = between(&played) else {
                absent += 1;
                continue;
            };
            let after = after as u8;
            assert!(last <= after && after < first, "seed {seed}: {after}: {}", played.log());
            assert!(first - last <= 2, "seed {seed}: {after}: {}", played.log());
        }
    }
    assert!(absent <= 4, "{absent} of 1600 are absent");
}

#[test]
fn a_twentieth_lost_each_way_makes_no_hole() {
    for seed in 0..400 {
        for (net, there) in [(Net::line(3), true), (Net::line(3).hole_back(1, 1400), false)] {
            let played = look(&mut net.lossy(0.05, seed), &[1500, 1401], Some((1401, there)));
            assert!(between(&played).is_none_or(|hole| hole == (3, 4) && there), "seed {seed}: {}", played.log());
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_ends_and_claims_no_more_than_was_answered(
        happenings in happenings(),
        sizes in proptest::collection::vec(90u32..1500, 0..4),
        vanishes in proptest::option::of((90u32..1500, any::<bool>())),
    ) {
        let told = unleash(Hops::new(sight(Family::Ipv4, &sizes, vanishes)), &happenings);
        prop_assert_eq!(told.out.sent, told.sent());
        let most = u32::from(MOST_HOPS) * 4 * (sizes.len() as u32 + 2);
        prop_assert!(told.sent() <= most, "{} packets", told.sent());
        let answered: Vec<_> = told.carried.iter().chain(&told.expired).chain(&told.refused).collect();
        for row in &told.out.hops {
            let at_hop = |size: &IpSize| answered.iter().any(|probe| probe.ttl == Some(row.ttl) && probe.size == *size);
            prop_assert!(row.carried.as_ref().is_none_or(at_hop), "{told:?}");
            prop_assert_eq!(row.address.is_some(), row.carried.is_some());
        }
        let distances: Vec<_> = told.out.hops.iter().map(|row| usize::from(row.ttl)).collect();
        prop_assert_eq!(distances, (1..=told.out.hops.len()).collect::<Vec<_>>());
        if let Some(hole) = told.out.hole {
            let size = size(vanishes.unwrap().0);
            let beyond = |probe: &&&Probe| probe.size >= size && probe.ttl >= Some(hole.before.ttl);
            prop_assert!(!told.carried.iter().chain(&told.expired).any(|probe| beyond(&&probe)), "{told:?}");
            prop_assert!(hole.after.is_none_or(|after| after.ttl < hole.before.ttl));
        }
    }
}
