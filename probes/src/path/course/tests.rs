//! Whole courses over simulated networks: which stage follows which, what leaves, and what is known in the end.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::path::search::{BUDGET, PATIENCE, STALL};
use crate::path::simulation::chaos::{happenings, unleash};
use crate::path::simulation::{Net, Played, play, router, target};
use crate::path::{PathKey, Plane, sample};

/// Find the MTU, and nothing else unless something is wrong.
const MTU: Task = Task::Mtu { hops: false, sample: false };
const HOPS: Task = Task::Mtu { hops: true, sample: false };
const SAMPLE: Task = Task::Mtu { hops: false, sample: true };

fn size(bytes: u32) -> IpSize {
    IpSize::new(bytes)
}

fn course(family: Family, task: Task) -> Course {
    let key = PathKey { peer: "master-2".into(), plane: Plane::Underlay, address: target(family) };
    let target = Target { key, from: None, expected: size(1500), tunnel: None, task };
    Course::new(&target, 5, Mono::default())
}

fn outer() -> Task {
    let (vtep, inner) = (target(Family::Ipv4), router(Family::Ipv4, 77));
    let (from_mac, to_mac) = ([2; 6], [4; 6]);
    Task::Outer(Encapsulation { vtep, port: 4789, vni: 4096, from_mac, to_mac, inner_from: inner, inner_to: inner })
}

fn measure(net: &mut Net, task: Task) -> Played<Measured> {
    let Played { out, left, took } = play(course(net.family, task), net);
    let (Learned::Mtu(out) | Learned::Outer(out)) = out else { panic!("{out:?}") };
    assert_eq!(out.packets() as usize, left.len());
    Played { out: *out, left, took }
}

fn black_hole(carries: u32) -> Verdict {
    Verdict::BlackHole { carries: size(carries), drops: size(carries + 1), by: None }
}

/// Forward, reverse, way, and between which distances the hole is.
type Known = (Option<u32>, Option<u32>, Option<Way>, Option<(u8, u8)>);

fn known(measured: &Measured) -> Known {
    let hole = measured.hole.map(|hole| (hole.after.map_or(0, |hop| hop.ttl), hole.before.ttl));
    (measured.forward.map(IpSize::bytes), measured.reverse.map(IpSize::bytes), measured.way, hole)
}

/// What leaves for a black hole of 1400 bytes before anything is told apart.
const SEARCH: &str = "echo 84, echo 1500 x2, echo 1492, echo 1480, echo 1460, echo 1450, echo 1440, echo 1420, \
                      echo 1400, echo 1280, echo 1006, echo 576, echo 552, echo 544, echo 512, echo 508, echo 296, \
                      echo 1401, echo 1404, echo 1405, echo 1406, echo 1413, echo 1420, echo 1401 x3, echo 84";

#[test]
fn a_clean_path_costs_two_packets_and_both_ways_are_known() {
    for net in [Net::line(2), Net::line(2).ipv6()] {
        let played = measure(&mut net.clone(), MTU);
        assert_eq!(
            (played.log().as_str(), known(&played.out)),
            ("echo 84, echo 1500", (Some(1500), Some(1500), None, None))
        );
    }
}

#[test]
fn a_signalled_limit_costs_three() {
    let played = measure(&mut Net::line(2).signalled(1, 1400), MTU);
    assert_eq!(played.log(), "echo 84, echo 1500, echo 1400");
    assert_eq!(known(&played.out), (Some(1400), Some(1400), None, None));
}

#[test]
fn answers_that_come_in_fragments_cost_three_more() {
    let played = measure(&mut Net::line(2).cut_back(1, 1400), MTU);
    assert_eq!(played.out.verdict, Verdict::Clear { mtu: size(1500) });
    assert_eq!(played.log(), "echo 84, echo 1500, echo 1400, echo 1402, echo 1401");
    assert_eq!(known(&played.out), (Some(1500), Some(1400), None, None));
}

#[test]
fn over_ipv6_the_first_answer_is_lost_and_the_next_comes_in_fragments() {
    let played = measure(&mut Net::line(2).ipv6().cut_back(1, 1400), MTU);
    assert_eq!(played.out.verdict, Verdict::Clear { mtu: size(1500) });
    assert_eq!(known(&played.out), (Some(1500), Some(1400), None, None));
    assert!(played.log().ends_with("echo 1404, echo 1402, echo 1401"), "{}", played.log());
}

#[test]
fn loss_is_sampled_before_anything_is_told_apart() {
    let clean = measure(&mut Net::line(2), SAMPLE);
    assert_eq!(clean.log(), "echo 84, echo 1500, echo 84 x20");
    let hole = measure(&mut Net::line(2).hole_back(1, 1400), SAMPLE);
    let sampled = format!("{SEARCH} x21, time 84, time 1401 x6, time 84, time 1500");
    assert_eq!(hole.log(), sampled, "the search ends with a reference");
    assert_eq!(known(&hole.out), (Some(1500), Some(1400), Some(Way::Reverse), None));
}

#[test]
fn a_hole_on_the_way_there_is_told_apart_and_found() {
    let played = measure(&mut Net::line(3).hole(2, 1400), MTU);
    let step = "echo 1401@1, echo 84@1, echo 1401@2, echo 84@2, echo 1401@3, echo 84@3, echo 84@4";
    let hops = format!("{step}, echo 1401@3 x3, echo 84@3");
    assert_eq!(played.log(), format!("{SEARCH}, time 84, time 1401 x6, time 84, {hops}"));
    assert_eq!(played.out.verdict, black_hole(1400));
    assert_eq!(known(&played.out), (Some(1400), Some(1400), Some(Way::Forward), Some((2, 3))));
}

#[test]
fn no_stage_waits_for_a_silence_that_another_one_waits_for() {
    // The full size, two stalls, the silence of the edge; direction and hops each begin a stall after the one before.
    let (silence, stall) = (PATIENCE, STALL);
    let took = |net: Net| measure(&mut net.clone(), MTU).took;
    let near = |took: Duration, expected: Duration| (expected..expected + Duration::from_millis(10)).contains(&took);
    let ways = took(Net::line(1).hole(1, 1400));
    assert!(near(ways, silence + stall * 3 + silence), "{ways:?}: as long as it takes to tell the ways apart");
    let hops = took(Net::line(3).hole(2, 1400));
    assert!(near(hops, silence + stall * 5 + silence), "{hops:?}: a hole between routers is in doubt for a stall");
    let back = took(Net::line(3).hole_back(2, 1400));
    assert!(near(back, silence + stall * 2 + silence), "{back:?}: no longer than the search");
}

#[test]
fn what_was_begun_too_early_is_dropped_and_leaves_no_trace() {
    // The search presumes 1401 when the answers to larger sizes are still to come.
    let late = |millis| Some((1400, Duration::from_millis(millis)));
    let mut net = Net { dawdles: late(170), ..Net::line(3).hole(2, 1450) };
    let played = measure(&mut net, MTU);
    assert_eq!(played.out.verdict, black_hole(1450));
    assert_eq!(known(&played.out), (Some(1450), Some(1450), Some(Way::Forward), Some((2, 3))), "{}", played.log());
    assert!(played.log().contains("time 1401 x6") && played.log().contains("time 1451 x6"), "{}", played.log());
    // The direction presumes the way there when the answers that tell the way back are still to come.
    let mut net = Net { dawdles: late(120), ..Net::line(3).hole_back(2, 1400) };
    let played = measure(&mut net, MTU);
    assert_eq!(known(&played.out), (Some(1500), Some(1400), Some(Way::Reverse), None), "{}", played.log());
    assert!(played.log().contains("echo 1401@1") && played.out.hops.is_empty(), "{}", played.log());
}

#[test]
fn answers_that_are_late_cost_packets_and_make_nothing_wrong() {
    let mut unsettled = 0;
    for (seed, jitter) in (0..40).flat_map(|seed| [60, 120, 190].map(|jitter| (seed, Duration::from_millis(jitter)))) {
        for loss in [0.0, 0.05] {
            let late = |net: Net| Net { jitter, ..net.lossy(loss, seed) };
            let there = measure(&mut late(Net::line(3).hole(2, 1400)), MTU);
            let back = measure(&mut late(Net::line(3).hole_back(2, 1400)), MTU);
            for (played, way) in [(&there, Way::Forward), (&back, Way::Reverse)] {
                let plain = played.left.iter().filter(|probe| probe.ttl.is_none()).count();
                assert!(plain <= (BUDGET + sample::COUNT) as usize, "seed {seed}: {}", played.log());
                let is_unknown = played.out.verdict.path_mtu().is_none();
                assert!(is_unknown || played.out.verdict == black_hole(1400), "seed {seed}: {:?}", played.out);
                assert!(played.out.way.is_none_or(|told| told == way), "seed {seed}: {}", played.log());
                unsettled += u32::from(is_unknown);
            }
            assert!(known(&there.out).3.is_none_or(|(last, first)| last <= 2 && 2 < first), "seed {seed}");
            assert!(back.out.hole.is_none(), "seed {seed}: {}", back.log());
        }
    }
    assert!(unsettled <= 24, "{unsettled} of 480 are not settled");
}

#[test]
fn a_hole_before_the_target_costs_two_packets_a_hop() {
    let played = measure(&mut Net::line(1).hole(1, 1400), MTU);
    let hops = "echo 1401@1, echo 84@1, echo 1401@2, echo 84@2";
    assert_eq!(played.log(), format!("{SEARCH}, time 84, time 1401 x6, time 84, {hops}"));
    assert_eq!(known(&played.out), (Some(1400), Some(1400), Some(Way::Forward), Some((1, 2))));
}

#[test]
fn no_hop_is_asked_for_a_hole_on_the_way_back() {
    let played = measure(&mut Net::line(3).hole_back(2, 1400), MTU);
    assert_eq!(played.log(), format!("{SEARCH}, time 84, time 1401 x6, time 84, time 1500"));
    assert_eq!(known(&played.out), (Some(1500), Some(1400), Some(Way::Reverse), None));
    let played = measure(&mut Net::line(3).hole_back(2, 1400), HOPS);
    assert_eq!(known(&played.out), (Some(1500), Some(1400), Some(Way::Reverse), None));
    assert_eq!(played.out.hops.len(), 4);
}

#[test]
fn over_ipv6_a_closed_port_tells_the_ways_apart() {
    let there = measure(&mut Net::line(3).ipv6().hole(1, 1400), MTU);
    assert_eq!(known(&there.out), (Some(1400), Some(1400), Some(Way::Forward), Some((1, 2))));
    let back = measure(&mut Net::line(3).ipv6().hole_back(1, 1400), MTU);
    assert_eq!(known(&back.out), (Some(1500), Some(1400), Some(Way::Reverse), None));
}

#[test]
fn where_nothing_else_tells_a_router_that_does_not_see_the_size_tells_the_way() {
    let filtered = |net: Net| Net { timestamps: false, datagrams: false, ..net };
    let routed = measure(&mut filtered(Net::line(3).hole(1, 1400)), MTU);
    assert_eq!(known(&routed.out), (Some(1400), Some(1400), Some(Way::Forward), Some((1, 2))));
    for net in [Net::line(3).hole(3, 1400), Net::line(3).hole_back(1, 1400), Net::line(0).hole(0, 1400)] {
        assert_eq!(known(&measure(&mut filtered(net), MTU).out), (None, None, None, None));
    }
    // Errors are cut to 576 bytes: where even those vanish on the way back, no hop proves anything.
    let narrow = measure(&mut filtered(Net::line(3).hole_back(0, 500)), MTU);
    assert_eq!((narrow.out.verdict, narrow.out.hole), (black_hole(500), None));
}

#[test]
fn a_signalling_hop_before_a_hole_keeps_its_distance() {
    let played = measure(&mut Net::line(3).signalled(1, 1450).hole(2, 1400), HOPS);
    let Verdict::BlackHole { carries, by: Some(by), .. } = played.out.verdict else { panic!("{:?}", played.out) };
    assert_eq!((carries, by.address, by.ttl), (size(1400), Some(router(Family::Ipv4, 1)), Some(1)));
    assert_eq!(known(&played.out), (Some(1400), Some(1400), Some(Way::Forward), Some((2, 3))));
    let carried: Vec<_> = played.out.hops.iter().map(|row| row.carried.map_or(0, IpSize::bytes)).collect();
    assert_eq!(carried, [1500, 1450, 1400, 1400]);
}

#[test]
fn silent_routers_widen_a_hole() {
    let mut net = Net::line(4).hole(2, 1400);
    net.silent = vec![2, 3];
    assert_eq!(known(&measure(&mut net, MTU).out), (Some(1400), Some(1400), Some(Way::Forward), Some((1, 4))));
}

#[test]
fn every_hop_is_looked_at_where_that_is_wanted() {
    let clean = measure(&mut Net::line(2), HOPS);
    let tail = "echo 1500@1, echo 84@1, echo 1500@2, echo 84@2, echo 1500@3, echo 84@3";
    assert_eq!(clean.log(), format!("echo 84, echo 1500, {tail}"));
    let limited = measure(&mut Net::line(2).signalled(1, 1400), HOPS);
    let carried: Vec<_> = limited.out.hops.iter().map(|row| row.carried.map_or(0, IpSize::bytes)).collect();
    assert_eq!(carried, [1500, 1400, 1400]);
    let Verdict::Limited { by, .. } = limited.out.verdict else { panic!("{:?}", limited.out) };
    assert_eq!(by.ttl, Some(1));
    let dead = measure(&mut Net { echo: false, timestamps: false, datagrams: false, ..Net::line(2) }, HOPS);
    assert_eq!(
        (dead.out.hops.len(), dead.out.verdict.path_mtu(), known(&dead.out)),
        (2, None, (None, None, None, None))
    );
}

#[test]
fn below_a_tunnel_only_the_way_there_is_measured() {
    let clear = measure(&mut Net::line(2), outer());
    assert_eq!(clear.log(), "vxlan 134, vxlan 1500");
    assert_eq!(known(&clear.out), (Some(1500), None, None, None));
    let hole = measure(&mut Net::line(2).hole(1, 1400), outer());
    assert_eq!(hole.out.verdict, black_hole(1400));
    assert_eq!(known(&hole.out), (Some(1400), None, Some(Way::Forward), Some((1, 2))));
    assert!(hole.left.iter().all(|probe| matches!(probe.carrier, Carrier::Vxlan { source: 5 })));
    let back = measure(&mut Net::line(2).hole_back(1, 1400), outer());
    assert_eq!(known(&back.out), (Some(1500), None, None, None));
}

#[test]
fn what_the_search_left_behind_is_kept_out_of_the_next_stages_budget() {
    // Every packet waits for so long that whole bursts are still held back when the search is over.
    for held in [0, 1, 199, 250, 1000] {
        let net = Net { held: Duration::from_millis(held), ..Net::line(1).hole_back(1, 1400).hole(0, 1477) };
        let played = measure(&mut net.clone(), MTU);
        assert!(played.left.len() <= BUDGET as usize, "{held}: {}", played.log());
        assert!(matches!(known(&played.out), (_, Some(1400), Some(Way::Reverse), None)), "{held}: {:?}", played.out);
    }
}

#[test]
fn size_and_direction_stay_within_the_budget_and_hops_within_four_packets_each() {
    for carries in (85..1500).step_by(11) {
        for (net, way) in
            [(Net::line(2).hole(1, carries), Way::Forward), (Net::line(2).hole_back(1, carries), Way::Reverse)]
        {
            let played = measure(&mut net.clone(), MTU);
            assert_eq!(played.out.verdict, black_hole(carries));
            let (hops, others): (Vec<Probe>, Vec<Probe>) = played.left.iter().partition(|probe| probe.ttl.is_some());
            assert!(others.len() <= BUDGET as usize && hops.len() <= 4 * 3, "{carries}: {}", played.log());
            assert!(played.out.way.is_none_or(|told| told == way), "{carries}: {}", played.log());
        }
    }
}

#[test]
fn clean_peers_that_lose_a_twentieth_each_way_have_no_hole_and_no_direction() {
    for seed in 0..500 {
        let played = measure(&mut Net::line(2).lossy(0.05, seed), MTU);
        assert_eq!(played.out.verdict, Verdict::Clear { mtu: size(1500) }, "seed {seed}");
        assert_eq!(known(&played.out), (Some(1500), Some(1500), None, None));
    }
}

#[test]
fn holes_that_lose_a_twentieth_each_way_are_placed_right_or_not_at_all() {
    let (mut unsettled, mut unplaced) = (0, 0);
    for seed in 0..150 {
        for after in 0..=2 {
            let played = measure(&mut Net::line(2).hole(after, 1400).lossy(0.05, seed), MTU);
            if played.out.verdict.path_mtu().is_none() {
                unsettled += 1;
                continue;
            }
            assert_eq!(played.out.verdict, black_hole(1400), "seed {seed}");
            let (forward, reverse, way, hole) = known(&played.out);
            assert!(way.is_none_or(|way| way == Way::Forward), "seed {seed}: {}", played.log());
            assert!([forward, reverse].into_iter().flatten().all(|mtu| mtu == 1400));
            let after = after as u8;
            assert!(hole.is_none_or(|(last, first)| last <= after && after < first), "seed {seed}: {}", played.log());
            unplaced += u32::from(hole.is_none());
        }
        let back = measure(&mut Net::line(2).hole_back(1, 1400).lossy(0.05, seed), MTU).out;
        assert!(back.way.is_none_or(|way| way == Way::Reverse) && back.hole.is_none(), "seed {seed}: {back:?}");
    }
    assert!(unsettled <= 5 && unplaced <= 5, "{unsettled} of 450 are not settled, {unplaced} not placed");
}

#[test]
fn a_forger_makes_no_long_list_of_sizes_to_look_at() {
    let mut course = course(Family::Ipv4, HOPS);
    course.named = (600..700).map(size).collect();
    assert_eq!(course.sizes_of_interest(&Verdict::Clear { mtu: size(1500) }).len(), 1 + NAMED);
}

proptest! {
    #[test]
    fn whatever_happens_it_ends_within_the_budget_and_claims_no_more_than_was_answered(
        happenings in happenings(),
        task in prop_oneof![Just(MTU), Just(HOPS), Just(SAMPLE), Just(outer())],
    ) {
        let told = unleash(course(Family::Ipv4, task), &happenings);
        let (Learned::Mtu(measured) | Learned::Outer(measured)) = &told.out else { panic!("{told:?}") };
        prop_assert!(measured.packets() <= told.sent());
        let plain = told.left.iter().filter(|probe| probe.ttl.is_none()).count();
        prop_assert!(plain <= (BUDGET + sample::COUNT) as usize, "{plain}");
        let carried = told.carried.iter().map(|probe| probe.size).max();
        for claim in [measured.verdict.path_mtu(), measured.forward, measured.reverse] {
            prop_assert!(claim <= carried, "{told:?}");
        }
        prop_assert!(measured.hole.is_none() || measured.way == Some(Way::Forward));
        let is_black_hole = matches!(measured.verdict, Verdict::BlackHole { .. });
        prop_assert!(measured.way.is_none() || is_black_hole);
    }

    #[test]
    fn any_network_is_measured_right_or_not_at_all(
        (routers, there, back) in (0usize..6, 84u32..1600, 84u32..1600),
        (after, behind) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        (cuts, signals, ipv6) in (any::<bool>(), any::<bool>(), any::<bool>()),
        (timestamps, datagrams) in (any::<bool>(), any::<bool>()),
    ) {
        let (there, back) = if ipv6 { (there.max(1280), back.max(1280)) } else { (there, back) };
        let (after, behind) = (after.index(routers + 1), behind.index(routers + 1));
        let line = Net::line(routers);
        let net = if signals && after > 0 { line.signalled(after, there) } else { line.hole(after, there) };
        let net = if cuts { net.cut_back(behind, back) } else { net.hole_back(behind, back) };
        let net = Net { timestamps, datagrams, ..if ipv6 { net.ipv6() } else { net } };
        let played = measure(&mut net.clone(), HOPS);
        let (there, back) = (there.min(1500), back.min(1500));
        let (forward, reverse, way, hole) = known(&played.out);
        prop_assert!(forward.is_none_or(|mtu| mtu <= there), "{:?}", played.out);
        prop_assert!(reverse.is_none_or(|mtu| mtu <= back), "{:?}", played.out);
        match way {
            Some(Way::Forward) => prop_assert!(there < 1500 && (there <= back || cuts), "{:?}", played.out),
            Some(Way::Reverse) => prop_assert!(back < 1500 && back <= there && !cuts, "{:?}", played.out),
            None => {}
        }
        let after = after as u8;
        prop_assert!(hole.is_none_or(|(last, first)| last <= after && after < first), "{:?}", played.out);
    }
}
