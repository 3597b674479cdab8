//! Ways told apart over simulated networks; what is asserted is every probe that leaves.

use proptest::prelude::*;

use super::*;
use crate::path::search::REFERENCE;
use crate::path::simulation::chaos::{happenings, unleash};
use crate::path::simulation::{Net, Played, TARGET, play, target};

const SOURCE: u16 = 7;

fn size(bytes: u32) -> IpSize {
    IpSize::new(bytes)
}

fn lane(family: Family, expected: u32) -> Lane {
    let (address, floor) = (target(family), family.floor());
    Lane { address, carrier: Carrier::Echo, expected: size(expected), small: REFERENCE, floor, reaches: true }
}

fn clear(mtu: u32) -> Verdict {
    Verdict::Clear { mtu: size(mtu) }
}

fn black_hole(carries: u32) -> Verdict {
    Verdict::BlackHole { carries: size(carries), drops: size(carries + 1), by: None }
}

fn direction(family: Family, verdict: Verdict, fragment: Option<u32>, sent: u32) -> Direction {
    let measured = Measured { sent, ..Measured::new(verdict, Mono::default()) };
    let (lane, fragment) = (lane(family, 1500), fragment.map(size));
    Direction::new(&Found { lane, measured: &measured, fragment, named: &[], spent: sent }, SOURCE)
}

fn tell(net: &mut Net, verdict: Verdict, fragment: Option<u32>) -> Played<Ways> {
    play(direction(net.family, verdict, fragment, 20), net)
}

/// Forward, reverse, way.
fn known(played: &Played<Ways>) -> (Option<u32>, Option<u32>, Option<Way>) {
    let Ways { forward, reverse, way, sent } = played.out;
    assert_eq!(sent as usize, played.left.len());
    (forward.map(IpSize::bytes), reverse.map(IpSize::bytes), way)
}

const NOTHING: (Option<u32>, Option<u32>, Option<Way>) = (None, None, None);

fn forward(mtu: u32) -> (Option<u32>, Option<u32>, Option<Way>) {
    (Some(mtu), Some(mtu), Some(Way::Forward))
}

fn reverse(there: u32, back: u32) -> (Option<u32>, Option<u32>, Option<Way>) {
    (Some(there), Some(back), Some(Way::Reverse))
}

#[test]
fn where_nothing_vanishes_and_nothing_is_cut_both_ways_are_known_for_nothing() {
    let limited = Verdict::Limited {
        mtu: size(1400),
        by: crate::path::Limit { address: None, reported_mtu: Some(size(1400)), ttl: None },
    };
    for (verdict, mtu) in [(clear(1500), 1500), (limited, 1400)] {
        let played = tell(&mut Net::line(2), verdict, None);
        assert_eq!((known(&played), played.log().as_str()), ((Some(mtu), Some(mtu), None), ""));
    }
}

#[test]
fn of_what_is_not_there_nothing_is_known() {
    let silent = Verdict::Unreachable { why: crate::path::Unreachable::Silent };
    for verdict in [silent, Verdict::Unknown { why: "it is".into() }] {
        let played = tell(&mut Net::line(2), verdict, None);
        assert_eq!((known(&played), played.log().as_str()), (NOTHING, ""));
    }
}

#[test]
fn fragments_tell_the_way_back_to_eight_bytes_and_three_echoes_tell_the_rest() {
    let played = tell(&mut Net::line(2).cut_back(1, 1400), clear(1500), Some(1396));
    assert_eq!(known(&played), (Some(1500), Some(1400), None));
    assert_eq!(played.log(), "echo 1400, echo 1402, echo 1401");
}

#[test]
fn every_way_back_that_cuts_is_known_to_the_byte() {
    for back in 76..1500 {
        let played = tell(&mut Net::line(2).cut_back(1, back), clear(1500), Some(20 + (back - 20) / 8 * 8));
        assert_eq!(known(&played), (Some(1500), Some(back), None));
        assert!(played.left.len() <= 3, "{back}: {}", played.log());
    }
    for back in 1280..1500 {
        let fragment = Some(48 + (back - 48) / 8 * 8);
        let played = tell(&mut Net::line(2).ipv6().cut_back(1, back), clear(1500), fragment);
        assert_eq!(known(&played), (Some(1500), Some(back), None));
        assert!(played.left.len() <= 5, "the first answer is lost to Packet Too Big: {back}: {}", played.log());
    }
}

#[test]
fn what_cannot_be_halved_is_what_the_fragments_say() {
    let refuses = |net: Net| tell(&mut Net { local: 1390, ..net }, clear(1500), Some(1396));
    assert_eq!(known(&refuses(Net::line(2).cut_back(1, 1400))), (Some(1500), Some(1396), None));
    let tiny = tell(&mut Net::line(2).ipv6(), clear(1500), Some(96));
    assert_eq!((known(&tiny), tiny.log().as_str()), ((Some(1500), Some(96), None), ""));
}

#[test]
fn a_fragment_as_large_as_the_answer_is_none() {
    let played = tell(&mut Net::line(2), clear(1500), Some(1500));
    assert_eq!((known(&played), played.log().as_str()), ((Some(1500), Some(1500), None), ""));
}

#[test]
fn a_hole_on_the_way_there_swallows_timestamps_too() {
    let played = tell(&mut Net::line(2).hole(1, 1400), black_hole(1400), None);
    assert_eq!(known(&played), forward(1400));
    assert_eq!(played.log(), "time 84, time 1401 x6, time 84");
    assert_eq!(played.took.as_millis(), 200, "one round trip and one patience");
}

#[test]
fn a_hole_on_the_way_back_does_not() {
    let played = tell(&mut Net::line(2).hole_back(1, 1400), black_hole(1400), None);
    assert_eq!(known(&played), reverse(1500, 1400));
    assert_eq!(played.log(), "time 84, time 1401 x6, time 84, time 1500");
    assert_eq!(played.took.as_micros(), 3 * 600, "three round trips");
}

#[test]
fn what_the_way_there_carries_beyond_is_found_to_the_byte() {
    for there in 1401..1500 {
        let played = tell(&mut Net::line(2).hole_back(1, 1400).hole(0, there), black_hole(1400), None);
        assert_eq!(known(&played), reverse(there, 1400), "{}", played.log());
    }
    let played = tell(&mut Net::line(2).hole_back(1, 1400).hole(0, 1454), black_hole(1400), None);
    let splits = "time 1425, time 1450, time 1475, time 1500, time 1456, time 1462, time 1468, time 1475, time 1451, \
                  time 1453, time 1454, time 1456, time 1455, time 1456, time 1455 x2";
    assert_eq!(played.log(), format!("time 84, time 1401 x6, time 84, time 1500, {splits}"));
}

#[test]
fn a_size_that_a_hop_names_is_tried_before_anything_is_split() {
    let played = tell(&mut Net::line(2).hole_back(0, 1400).signalled(1, 1472), black_hole(1400), None);
    assert_eq!(known(&played), reverse(1472, 1400));
    assert!(played.log().starts_with("time 84, time 1401 x6, time 84, time 1500, time 1472, "), "{}", played.log());
}

#[test]
fn a_local_link_that_takes_less_costs_no_packet() {
    let played = tell(&mut Net { local: 1450, ..Net::line(2).hole_back(0, 1400) }, black_hole(1400), None);
    assert_eq!(known(&played), reverse(1450, 1400));
    assert!(played.left.iter().all(|probe| probe.size.bytes() <= 1450));
}

#[test]
fn a_filter_here_is_a_hole_on_the_way_there() {
    let played = tell(&mut Net { filtered: 1401, ..Net::line(2) }, black_hole(1400), None);
    assert_eq!((known(&played), played.log().as_str()), (forward(1400), "time 84 x2"));
}

#[test]
fn the_way_back_may_cut_and_the_way_there_vanish() {
    let played = tell(&mut Net::line(2).hole(0, 1450).cut_back(1, 1400), black_hole(1450), Some(1396));
    assert_eq!(known(&played), (Some(1450), Some(1400), Some(Way::Forward)));
}

#[test]
fn where_timestamps_are_filtered_a_closed_port_tells() {
    let filtered = || Net { timestamps: false, ..Net::line(2) };
    let there = tell(&mut filtered().hole(1, 1400), black_hole(1400), None);
    assert_eq!(known(&there), forward(1400));
    assert_eq!(there.log(), "time 84 x3, udp 84, udp 1401 x6, udp 84");
    assert!(there.left.iter().all(|probe| probe.carrier != Carrier::Echo));
    let back = tell(&mut filtered().hole_back(1, 1400), black_hole(1400), None);
    assert_eq!(known(&back), reverse(1500, 1400));
    assert_eq!(back.log(), "time 84 x3, udp 84, udp 1401, udp 1500");
}

#[test]
fn over_ipv6_a_closed_port_tells_at_once() {
    let there = tell(&mut Net::line(2).ipv6().hole(1, 1400), black_hole(1400), None);
    assert_eq!((known(&there), there.log().as_str()), (forward(1400), "udp 84, udp 1401 x6, udp 84"));
    let back = tell(&mut Net::line(2).ipv6().hole_back(1, 1400), black_hole(1400), None);
    assert_eq!((known(&back), back.log().as_str()), (reverse(1500, 1400), "udp 84, udp 1401, udp 1500"));
}

#[test]
fn where_answers_are_limited_in_rate_nothing_is_split() {
    let played = tell(&mut Net::line(2).ipv6().hole_back(1, 1400).hole(0, 1450), black_hole(1400), None);
    assert_eq!(known(&played), reverse(1401, 1400));
    assert_eq!(played.log(), "udp 84, udp 1401, udp 1500 x3");
}

#[test]
fn where_neither_is_answered_nothing_is_known() {
    for net in [Net::line(2).hole(1, 1400), Net::line(2).hole_back(1, 1400)] {
        let played = tell(&mut Net { timestamps: false, datagrams: false, ..net }, black_hole(1400), None);
        assert_eq!((known(&played), played.log().as_str()), (NOTHING, "time 84 x3, udp 84 x3"));
    }
}

#[test]
fn an_error_as_large_as_what_vanishes_tells_nothing() {
    for carries in [300, 575] {
        let net = Net { timestamps: false, ..Net::line(2).hole_back(1, carries) };
        let played = tell(&mut net.clone(), black_hole(carries), None);
        assert_eq!((known(&played), played.log().as_str()), (NOTHING, "time 84 x3"));
    }
    let net = Net { timestamps: false, ..Net::line(2).hole_back(1, 576) };
    assert_eq!(known(&tell(&mut net.clone(), black_hole(576), None)), reverse(1500, 576));
}

#[test]
fn a_host_that_dies_is_no_direction() {
    for millis in [0, 1, 119, 121, 300] {
        let dies = Some(std::time::Duration::from_millis(millis));
        let delay = std::time::Duration::from_millis(20); // The companion leaves after 120 ms.
        let played = tell(&mut Net { dies, delay, ..Net::line(2).hole(1, 1400) }, black_hole(1400), None);
        let expected = if millis > 120 { forward(1400) } else { NOTHING };
        assert_eq!(known(&played), expected, "{millis}: {}", played.log());
    }
}

#[test]
fn an_echo_that_is_answered_after_all_leaves_nothing_to_tell_apart() {
    let mut direction = direction(Family::Ipv4, black_hole(1400), None, 20);
    let echo = Probe::new(Carrier::Echo, size(1401));
    direction.on_answer(echo, Answer::Carried { round_trip: None, fragment: None }, Mono::default());
    assert_eq!(direction.poll(Mono::default()), Step::Done(Box::new(Ways::default())));
}

#[test]
fn waiting_for_the_packet_budget_is_no_silence() {
    let held = std::time::Duration::from_secs(20);
    let played = tell(&mut Net { held, ..Net::line(2).hole_back(1, 1400) }, black_hole(1400), None);
    assert_eq!(known(&played), reverse(1500, 1400));
}

#[test]
fn whatever_the_search_left_of_the_budget_it_is_kept() {
    for spent in 0..=60 {
        for (net, verdict, fragment) in [
            (Net::line(2).hole(1, 1400), black_hole(1400), None),
            (Net::line(2).hole_back(1, 1400).hole(0, 1477), black_hole(1400), None),
            (Net { timestamps: false, ..Net::line(2).hole(1, 1400) }, black_hole(1400), None),
            (Net::line(2).cut_back(1, 1399), clear(1500), Some(1396)),
        ] {
            let played = play(direction(Family::Ipv4, verdict, fragment, spent), &mut net.clone());
            assert!(spent + played.out.sent <= BUDGET);
            let (forward, reverse, way) = known(&played);
            let truth = (net.links[0].there.min(net.links[1].there).min(1500), net.links[1].back.min(1500));
            assert!(forward.is_none_or(|mtu| mtu <= truth.0) && reverse.is_none_or(|mtu| mtu <= truth.1));
            let right = if truth.1 < truth.0 { Way::Reverse } else { Way::Forward };
            assert!(way.is_none_or(|way| way == right), "{spent}: {}", played.log());
        }
    }
}

#[test]
fn a_twentieth_lost_each_way_is_taken_for_no_direction() {
    let mut unsettled = 0;
    for seed in 0..400 {
        let (there, back) = (Net::line(2).hole(1, 1400), Net::line(2).hole_back(1, 1400));
        let udp = Net { timestamps: false, ..back.clone() };
        let nets =
            [(there, Way::Forward), (back.clone(), Way::Reverse), (udp, Way::Reverse), (back.ipv6(), Way::Reverse)];
        for (net, way) in nets {
            let played = tell(&mut net.lossy(0.05, seed), black_hole(1400), None);
            unsettled += u32::from(played.out.way.is_none());
            assert!(played.out.way.is_none_or(|told| told == way), "seed {seed}: {}", played.log());
            assert!(played.out.forward.is_none_or(|mtu| way == Way::Reverse || mtu.bytes() == 1400));
        }
    }
    assert!(unsettled <= 4, "{unsettled} of 1600 are not settled");
}

#[test]
fn a_limit_in_rate_that_others_use_up_is_taken_for_no_direction() {
    for used in 0..=6 {
        for back in [true, false] {
            let net = if back { Net::line(2).hole_back(1, 1400) } else { Net::line(2).hole(1, 1400) };
            let mut net = net.ipv6();
            net.exhaust(TARGET, used);
            let right = if back { Way::Reverse } else { Way::Forward };
            let played = tell(&mut net, black_hole(1400), None);
            assert!(played.out.way.is_none_or(|way| way == right), "{used} used: {}", played.log());
        }
    }
}

proptest! {
    #[test]
    fn every_pair_of_ways_is_exact(back in 100u32..1499, there in 0.0..1.0f64) {
        let there = back + 1 + (f64::from(1500 - back) * there) as u32;
        let played = tell(&mut Net::line(3).hole_back(2, back).hole(1, there), black_hole(back), None);
        prop_assert_eq!(known(&played), reverse(there.min(1500), back), "{}", played.log());
    }

    #[test]
    fn whatever_happens_it_ends_within_the_budget_and_claims_no_more_than_was_answered(
        happenings in happenings(),
        (spent, fragment, hole) in (0u32..70, proptest::option::of(0u32..1600), any::<bool>()),
    ) {
        let verdict = if hole { black_hole(1400) } else { clear(1400) };
        let told = unleash(direction(Family::Ipv4, verdict, fragment, spent), &happenings);
        prop_assert!(told.sent() <= BUDGET.saturating_sub(spent), "{told:?}");
        let answered = told.carried.iter().map(|probe| probe.size).fold(size(1400), Ord::max);
        prop_assert!(told.out.forward.is_none_or(|mtu| mtu <= answered), "{told:?}");
        prop_assert!(told.out.reverse.is_none_or(|mtu| mtu <= answered), "{told:?}");
        let small = told.carried.iter().any(|probe| probe.size == REFERENCE && probe.carrier != Carrier::Echo);
        prop_assert!(told.out.way.is_none() || small, "only where a small one was answered: {told:?}");
    }
}
