//! Searches driven to their end over simulated paths; what is asserted is the whole sequence of sizes.

use std::time::Duration;

use proptest::prelude::*;

use super::simulation::{Network, Run, Signal, TARGET, drive, lane, refused, router};
use super::*;
use crate::path::Refusal;

const MS: Duration = Duration::from_millis(1);

fn size(bytes: u32) -> IpSize {
    IpSize::new(bytes)
}

fn clear(mtu: u32) -> Verdict {
    Verdict::Clear { mtu: size(mtu) }
}

fn by(number: u8, mtu: Option<u32>) -> Limit {
    Limit { address: Some(router(number)), reported_mtu: mtu.map(size), ttl: None }
}

fn limited(mtu: u32, by: Limit) -> Verdict {
    Verdict::Limited { mtu: size(mtu), by }
}

fn black_hole(carries: u32, by: Option<Limit>) -> Verdict {
    Verdict::BlackHole { carries: size(carries), drops: size(carries + 1), by }
}

fn unknown(run: &Run) -> &str {
    let Verdict::Unknown { why } = run.verdict() else { panic!("{:?}", run.verdict()) };
    why
}

fn too_big(mtu: u32) -> Answer {
    Answer::TooBig { by: router(99), mtu: Some(size(mtu)) }
}

#[test]
fn a_clean_path_costs_two_packets_and_one_round_trip() {
    let run = drive(1500, Network::clean());
    assert_eq!(*run.verdict(), clear(1500));
    assert_eq!(run.sizes, [84, 1500]);
    assert_eq!(run.took(), Duration::from_micros(200));
    assert_eq!(run.measured.round_trip, Some(Duration::from_micros(200)));
    assert_eq!((run.measured.sent, run.measured.reference_sent, run.measured.reference_lost), (2, 2, 0));
}

#[test]
fn the_reference_is_not_awaited_and_not_lost_when_the_full_size_is_answered() {
    let run = drive(1500, Network { small: false, ..Network::clean() });
    assert_eq!(*run.verdict(), clear(1500));
    assert_eq!((run.measured.sent, run.measured.reference_lost, run.measured.round_trip), (2, 0, None));
}

#[test]
fn a_path_no_larger_than_the_reference_costs_one_packet() {
    let run = drive(84, Network::clean());
    assert_eq!((run.verdict(), &run.sizes[..]), (&clear(84), &[84][..]));
    assert_eq!((run.measured.reference_sent, run.measured.reference_lost), (1, 0));
    assert_eq!(drive(70, Network::clean()).sizes, [70]);
}

#[test]
fn a_signalled_limit_costs_three_packets_and_two_round_trips() {
    let run = drive(1500, Network::with([(1400, Signal::Names(1400))]));
    assert_eq!(*run.verdict(), limited(1400, by(1, Some(1400))));
    assert_eq!(run.sizes, [84, 1500, 1400]);
    assert_eq!(run.took(), Duration::from_micros(400));
}

#[test]
fn a_chain_of_hops_is_followed_and_the_last_one_named() {
    let hops = [1480, 1450, 1400].map(|mtu| (mtu, Signal::Names(mtu)));
    let run = drive(1500, Network::with(hops));
    assert_eq!(*run.verdict(), limited(1400, by(3, Some(1400))));
    assert_eq!(run.sizes, [84, 1500, 1480, 1450, 1400]);
}

#[test]
fn a_hop_that_names_no_useful_mtu_is_found_by_the_table_and_is_still_a_signal() {
    let useless = [Signal::NamesNothing, Signal::Names(0), Signal::Names(67), Signal::Names(1500), Signal::Names(9000)];
    for signal in useless {
        let run = drive(1500, Network::with([(1400, signal)]));
        let Verdict::Limited { mtu, by } = *run.verdict() else { panic!("{signal:?}: {:?}", run.verdict()) };
        assert_eq!((mtu, by.address), (size(1400), Some(router(1))), "{signal:?}");
        assert_eq!(run.sizes[..3], [84, 1500, 1500], "{signal:?}: no size was made up from it");
        assert!(run.sizes.iter().filter(|&&size| size == 1401).count() >= 3, "{signal:?}: {:?}", run.sizes);
    }
}

#[test]
fn a_hop_that_names_more_than_it_carries_is_no_limit_but_the_black_hole_behind_it_names_it() {
    let run = drive(1500, Network::with([(1450, Signal::Names(1450)), (1400, Signal::Nothing)]));
    assert_eq!(*run.verdict(), black_hole(1400, Some(by(1, Some(1450)))));
    assert_eq!(run.sizes[..3], [84, 1500, 1450]);
}

#[test]
fn a_forged_error_costs_one_packet_while_the_answer_is_under_way() {
    for after in [0, 50, 150, 199] {
        for claim in [68, 83, 84, 600, 1499] {
            let forged = vec![(1500, Duration::from_micros(after), too_big(claim))];
            let run = drive(1500, Network { forged, ..Network::clean() });
            assert_eq!(*run.verdict(), clear(1500), "{claim} after {after} µs");
            assert!(run.sizes.len() <= 3, "{:?}", run.sizes);
        }
    }
}

#[test]
fn a_forged_error_loses_against_an_answer_that_is_overtaken() {
    let round_trip = Duration::from_micros(200);
    let mut search = Search::new(lane(1500), Mono::default());
    let at = |micros| Mono::new(Duration::from_micros(micros));
    let probe = |bytes| Probe::new(Carrier::Echo, size(bytes));
    let carried = || Answer::Carried { round_trip: Some(round_trip), fragment: None };
    let send = |search: &mut Search, bytes, micros| {
        assert_eq!(search.poll(at(micros)), Step::Send(probe(bytes)));
        search.on_sent(probe(bytes), at(micros));
    };
    send(&mut search, 84, 0);
    send(&mut search, 1500, 0);
    search.on_answer(probe(1500), too_big(600), at(1));
    send(&mut search, 600, 2);
    search.on_answer(probe(84), carried(), at(200));
    search.on_answer(probe(600), carried(), at(202));
    assert_eq!(search.poll(at(202)), Step::Wait(at(400)), "the full size has two round trips");
    search.on_answer(probe(1500), carried(), at(399));
    let Step::Done(measured) = search.poll(at(399)) else { panic!("{search:?}") };
    assert_eq!(measured.verdict, clear(1500));
}

#[test]
fn a_forged_error_beside_the_true_one_changes_nothing() {
    let forged = vec![(1500, Duration::from_micros(10), too_big(600))];
    let run = drive(1500, Network { forged, ..Network::with([(1400, Signal::Names(1400))]) });
    assert_eq!(*run.verdict(), limited(1400, by(1, Some(1400))));
    assert_eq!(run.sizes, [84, 1500, 600, 1400]);
}

#[test]
fn a_flood_of_forged_errors_hides_no_clean_path() {
    let forged = (100..1499).step_by(7).map(|mtu| (1500, Duration::from_micros(1), too_big(mtu))).collect();
    let run = drive(1500, Network { forged, ..Network::clean() });
    assert_eq!(*run.verdict(), clear(1500));
    assert!(run.sizes.len() <= 6, "{:?}", run.sizes);
}

#[test]
fn an_answered_size_is_no_longer_doubted_whatever_errors_say() {
    let claim = |bytes| (bytes, Duration::from_micros(250), too_big(90));
    let network = Network { forged: vec![claim(1400), claim(84)], ..Network::black_hole(1400) };
    assert_eq!(*drive(1500, network).verdict(), black_hole(1400, None));
}

#[test]
fn a_black_hole_at_a_usual_size_is_found_in_two_silences_and_two_stalls() {
    let run = drive(1500, Network::black_hole(1400));
    assert_eq!(*run.verdict(), black_hole(1400, None));
    let burst = [1500, 1492, 1480, 1460, 1450, 1440, 1420, 1400, 1280, 1006, 576, 552, 544, 512, 508, 296];
    assert_eq!(run.sizes[..2], [84, 1500]);
    assert_eq!(run.sizes[2..18], burst);
    assert_eq!(run.sizes[18..24], [1401, 1404, 1405, 1406, 1413, 1420]);
    assert_eq!(run.sizes[24..], [1401, 1401, 1401, 84]);
    let (first, last) = (PATIENCE, PATIENCE);
    assert_eq!(run.took() - Duration::from_micros(200), first + 2 * STALL + last, "the path showed life after 200 µs");
}

#[test]
fn room_for_one_tag_is_found_as_fast() {
    for carries in [1404, 1454, 1496] {
        let run = drive(1500, Network::black_hole(carries));
        assert_eq!(*run.verdict(), black_hole(carries, None));
        assert!(run.sizes.len() <= 40, "{carries}: {:?}", run.sizes);
    }
}

#[test]
fn a_slow_path_is_waited_for() {
    let slow = Network { one_way: 300 * MS, ..Network::clean() };
    assert_eq!(*drive(1500, slow).verdict(), clear(1500));
    let slow = Network { one_way: 300 * MS, ..Network::black_hole(1450) };
    let run = drive(1500, slow);
    assert_eq!(*run.verdict(), black_hole(1450, None));
    let rounds = 4 * 600 * MS + 2 * (2 * 600 * MS) + 4 * 600 * MS;
    assert!(run.took() >= rounds, "four round trips a silence, two a stall: {:?}", run.took());
}

#[test]
fn what_is_answered_late_costs_packets_and_makes_nothing_wrong() {
    for (jitter, loss) in [(60, 0.0), (120, 0.0), (190, 0.0), (190, 0.05)] {
        let mut unsettled = 0;
        for (carries, seed) in [1280, 1400, 1413, 1472].into_iter().flat_map(|size| (0..50).map(move |at| (size, at))) {
            let network = Network { jitter: jitter * MS, ..Network::black_hole(carries).lossy(loss, seed << 20) };
            let run = drive(1500, network);
            if run.verdict().path_mtu().is_none() {
                unsettled += 1;
            } else {
                assert_eq!(*run.verdict(), black_hole(carries, None), "seed {seed}: {:?}", run.sizes);
            }
            let network = Network { jitter: jitter * MS, ..Network::clean().lossy(loss, seed << 20) };
            assert_eq!(*drive(1500, network).verdict(), clear(1500), "seed {seed}");
        }
        assert!(unsettled <= 10, "{unsettled} of 200 are not settled at {jitter} ms");
    }
}

#[test]
fn what_it_presumes_before_it_is_certain_is_taken_back_by_a_late_answer() {
    let mut search = Search::new(lane(1500), Mono::default());
    let (mut now, mut left) = (Mono::default(), Vec::new());
    let carried = || Answer::Carried { round_trip: None, fragment: None };
    while search.presumed().is_none() {
        match search.poll(now) {
            Step::Send(probe) => {
                left.push(probe);
                search.on_sent(probe, now);
                if probe.size <= size(1400) {
                    search.on_answer(probe, carried(), now);
                }
            }
            Step::Wait(_) if search.presumed().is_some() => {}
            Step::Wait(at) => now = at,
            Step::Done(measured) => panic!("nothing was presumed: {measured:?}"),
        }
    }
    assert_eq!(search.presumed().map(|measured| &measured.verdict), Some(&black_hole(1400, None)));
    let mut late = search.clone();
    late.on_answer(Probe::new(Carrier::Echo, size(1401)), carried(), now);
    assert!(matches!(late.poll(now), Step::Wait(_) | Step::Send(_)) && late.presumed().is_none());
    let certain = now + (PATIENCE - STALL);
    assert_eq!(search.poll(certain - MS), Step::Wait(certain));
    assert!(matches!(search.poll(certain), Step::Done(_)));
}

#[test]
fn waiting_for_the_packet_budget_is_no_silence() {
    let network = Network { held: Duration::from_secs(20), ..Network::clean() };
    let run = drive(1500, network);
    assert_eq!((run.verdict(), &run.sizes[..]), (&clear(1500), &[84, 1500][..]));
    let network = Network { held: Duration::from_secs(20), echo: false, ..Network::clean() };
    let run = drive(1500, network);
    assert_eq!(*run.verdict(), Verdict::Unreachable { why: Unreachable::Silent });
    assert_eq!((run.sizes.len(), run.others.len()), (6, 5), "all of them were tried");
}

#[test]
fn every_edge_is_exact_and_confirmed_within_the_budget() {
    let mut packets = Vec::new();
    for carries in 84..1500 {
        let run = drive(1500, Network::black_hole(carries));
        assert_eq!(*run.verdict(), black_hole(carries, None));
        assert!(run.measured.sent <= BUDGET, "{carries}: {}", run.measured.sent);
        assert!(run.sizes.iter().filter(|&&size| size == carries + 1).count() >= 3, "{carries}: {:?}", run.sizes);
        packets.push(run.measured.sent);
    }
    packets.sort_unstable();
    assert!(packets[packets.len() / 2] <= 45, "the median costs {} packets", packets[packets.len() / 2]);
}

proptest! {
    #[test]
    fn every_edge_below_any_expected_size_is_exact(
        (carries, expected) in (84u32..65_535).prop_flat_map(|carries| (Just(carries), carries + 1..=65_535)),
    ) {
        let run = drive(expected, Network::black_hole(carries));
        prop_assert_eq!(run.verdict(), &black_hole(carries, None));
        prop_assert!(run.measured.sent <= BUDGET);
    }

    #[test]
    fn every_signalled_limit_is_exact_in_three_packets(expected in 86u32..=65_535, part in 0.0..1.0f64) {
        let mtu = 85 + (f64::from(expected - 86) * part) as u32;
        let run = drive(expected, Network::with([(mtu, Signal::Names(mtu))]));
        prop_assert_eq!(run.verdict(), &limited(mtu, by(1, Some(mtu))));
        prop_assert_eq!(run.sizes, [84, expected, mtu]);
    }

    #[test]
    fn whatever_comes_back_it_ends_within_the_budget(
        carries in 68u32..1500,
        loss in 0.0..0.9f64,
        seed in any::<u64>(),
        forged in proptest::collection::vec((84u32..1501, 0u64..300_000, 0u32..2000), 0..20),
    ) {
        let forged = forged.into_iter().map(|(size, after, mtu)| (size, Duration::from_micros(after), too_big(mtu)));
        let network = Network { forged: forged.collect(), ..Network::black_hole(carries) };
        let run = drive(1500, network.lossy(loss, seed));
        prop_assert!(run.measured.sent <= BUDGET);
        prop_assert!(run.verdict().path_mtu().is_none_or(|mtu| mtu.bytes() <= carries), "{:?}", run.verdict());
    }
}

#[test]
fn clean_paths_that_lose_a_twentieth_each_way_are_never_called_anything_else() {
    for seed in 0..5 * 200 {
        let run = drive(1500, Network::clean().lossy(0.05, seed << 20));
        let fits = matches!(run.verdict(), Verdict::Clear { .. } | Verdict::Unknown { .. });
        assert!(fits, "seed {seed}: {:?} {:?}", run.verdict(), run.sizes);
        assert_eq!(*run.verdict(), clear(1500), "seed {seed}");
    }
}

#[test]
fn black_holes_that_lose_a_twentieth_each_way_are_exact() {
    let mut unsettled = 0;
    for carries in [296, 850, 1000, 1280, 1400, 1404, 1450, 1472, 1496, 1499] {
        for seed in 0..100 {
            let run = drive(1500, Network::black_hole(carries).lossy(0.05, seed << 20));
            if matches!(run.verdict(), Verdict::Unknown { .. }) {
                unsettled += 1;
                continue;
            }
            assert_eq!(*run.verdict(), black_hole(carries, None), "seed {seed}: {:?}", run.sizes);
        }
    }
    assert!(unsettled <= 5, "{unsettled} of 1000 were not settled within the budget");
}

#[test]
fn signalled_limits_that_lose_a_twentieth_each_way_are_exact() {
    for seed in 0..300 {
        let run = drive(1500, Network::with([(1400, Signal::Names(1400))]).lossy(0.05, seed << 20));
        assert_eq!(*run.verdict(), limited(1400, by(1, Some(1400))), "seed {seed}: {:?}", run.sizes);
    }
}

#[test]
fn heavy_loss_is_unknown_rather_than_wrong() {
    let runs: Vec<_> = (0..300).map(|seed| drive(1500, Network::clean().lossy(0.35, seed << 20))).collect();
    let unknowns: Vec<_> = runs.iter().filter(|run| matches!(run.verdict(), Verdict::Unknown { .. })).collect();
    let why = unknowns.first().map(|run| unknown(run)).expect("some are not settled");
    assert!(why.starts_with("60 packets did not settle it: "), "{why}");
    assert!(!runs.iter().any(|run| matches!(run.verdict(), Verdict::Limited { .. })));
}

#[test]
fn a_host_that_dies_during_the_search_is_no_black_hole() {
    for millis in [1, 100, 210, 260, 299] {
        let run = drive(1500, Network { dies: Some(millis * MS), ..Network::black_hole(1450) });
        assert!(unknown(&run).contains("1450 bytes pass") || unknown(&run).contains("84 bytes pass"), "{run:?}");
    }
}

#[test]
fn a_local_limit_costs_no_packet_for_what_is_too_large_and_is_not_a_remote_one() {
    let run = drive(1500, Network { local: Some(1400), ..Network::clean() });
    let here = Limit { address: None, reported_mtu: Some(size(1400)), ttl: None };
    assert_eq!(*run.verdict(), limited(1400, here));
    assert_eq!(run.sizes.first(), Some(&84));
    assert_eq!(run.sizes.last(), Some(&1400));
    assert!(run.sizes.iter().all(|&size| size <= 1400) && run.not_sent.iter().all(|&size| size > 1400));
    assert_eq!(run.measured.sent as usize, run.sizes.len());
    assert!(run.sizes.len() + run.not_sent.len() <= 14, "halving: {:?} {:?}", run.sizes, run.not_sent);
}

#[test]
fn a_local_limit_that_is_answered_before_anybody_looks_is_the_same() {
    let run = drive(1500, Network { one_way: Duration::ZERO, local: Some(1400), ..Network::clean() });
    let here = Limit { address: None, reported_mtu: Some(size(1400)), ttl: None };
    assert_eq!(*run.verdict(), limited(1400, here));
}

#[test]
fn a_link_that_shrinks_during_the_search_carries_what_it_takes_now() {
    for carries in [300, 1300, 1499] {
        for (micros, mtu) in (0..900_000).step_by(13_000).flat_map(|at| [68, 200, 1250, 1400].map(|mtu| (at, mtu))) {
            let shrinks = Some((Duration::from_micros(micros), mtu));
            let run = drive(1500, Network { shrinks, ..Network::black_hole(carries) });
            let found = run.verdict().path_mtu().map(IpSize::bytes);
            assert!(found.is_none_or(|found| found <= carries), "{mtu} after {micros} µs: {:?}", run.verdict());
        }
    }
}

#[test]
fn behind_a_local_limit_a_remote_one_is_found() {
    let signalled = Network { local: Some(1400), ..Network::with([(1300, Signal::Names(1300))]) };
    assert_eq!(*drive(1500, signalled).verdict(), limited(1300, by(1, Some(1300))));
    let silent = Network { local: Some(1400), ..Network::black_hole(1300) };
    let here = Limit { address: None, reported_mtu: Some(size(1400)), ttl: None };
    assert_eq!(*drive(1500, silent).verdict(), black_hole(1300, Some(here)));
}

#[test]
fn a_link_that_takes_nothing_is_unreachable() {
    let run = drive(1500, Network { local: Some(60), ..Network::clean() });
    assert_eq!(*run.verdict(), Verdict::Unreachable { why: Unreachable::NotSent { why: NotSent::TooLarge } });
    assert_eq!(run.measured.sent, 0);
}

#[test]
fn a_size_that_a_filter_here_drops_is_silent_and_this_machine_is_named() {
    let refuses = (1401..=1500).map(|size| (size, NotSent::Filtered)).collect();
    let run = drive(1500, Network { refuses, ..Network::clean() });
    let here = Limit { address: None, reported_mtu: None, ttl: None };
    assert_eq!(*run.verdict(), black_hole(1400, Some(here)));
    assert_eq!(run.measured.sent as usize, run.sizes.len(), "what was not sent is not counted");
}

fn refusing(why: NotSent) -> Network {
    Network { refuses: [(84, why), (1500, why)].into(), ..Network::clean() }
}

#[test]
fn no_route_is_unreachable_at_once() {
    let run = drive(1500, refusing(NotSent::NoRoute));
    assert_eq!(*run.verdict(), Verdict::Unreachable { why: Unreachable::NotSent { why: NotSent::NoRoute } });
    assert_eq!((run.took(), run.measured.sent), (Duration::ZERO, 0));
}

#[test]
fn another_errno_is_tried_again_and_then_named() {
    let run = drive(1500, refusing(NotSent::Other(5)));
    assert!(unknown(&run).ends_with("errno 5"), "{}", unknown(&run));
    assert_eq!(run.took(), RETRY);
    assert_eq!(run.measured.sent, 0);
}

#[test]
fn a_filter_here_is_told_from_silence() {
    let run = drive(1500, refusing(NotSent::Filtered));
    assert_eq!(*run.verdict(), Verdict::Unreachable { why: Unreachable::NotSent { why: NotSent::Filtered } });
    let others = [("tcp", (MS, Answer::Carried { round_trip: None, fragment: None }))].into();
    let run = drive(1500, Network { others, ..refusing(NotSent::Filtered) });
    let why = "a filter on this machine drops ICMP echo to it (EPERM), yet TCP port 10250 answers";
    assert_eq!(unknown(&run), why);
}

fn silent(others: impl IntoIterator<Item = (&'static str, (Duration, Answer))>) -> Network {
    Network { echo: false, others: others.into_iter().collect(), ..Network::clean() }
}

#[test]
fn nothing_at_all_is_unreachable_after_three_references_and_all_protocols() {
    let run = drive(1500, silent([]));
    assert_eq!(*run.verdict(), Verdict::Unreachable { why: Unreachable::Silent });
    assert_eq!(run.sizes, [84, 1500, 84, 1500, 84, 1500]);
    let ports = [(33_434, true), (33_435, true), (33_436, true), (9747, false), (10_250, false)];
    let expected = ports.map(|(port, udp)| if udp { Carrier::Udp { port } } else { Carrier::Tcp { port } });
    assert_eq!(run.others, expected);
    assert!(run.took() >= Duration::from_millis(3500), "a neighbour fails after 3.08 s");
    assert_eq!((run.measured.sent, run.measured.reference_sent, run.measured.reference_lost), (11, 3, 3));
}

#[test]
fn who_could_not_be_tried_is_not_unreachable() {
    let no_descriptor = Answer::NotSent { why: NotSent::Other(24) };
    let run = drive(1500, silent([("tcp", (MS, no_descriptor.clone()))]));
    assert_eq!(unknown(&run), "it answers no ICMP, and TCP port 10250 could not be tried: errno 24");
    // Somebody else's word that the host is not there stands all the same.
    let refusal = refused(router(0), Refusal::HostUnreachable);
    let run = drive(1500, silent([("tcp", (MS, no_descriptor)), ("echo", (Duration::from_millis(3080), refusal))]));
    let why = Unreachable::Refused { by: router(0), why: Refusal::HostUnreachable };
    assert_eq!(*run.verdict(), Verdict::Unreachable { why });
}

#[test]
fn a_reference_that_is_too_large_here_gives_way_to_what_fits() {
    for local in 68..84 {
        let run = drive(1500, Network { local: Some(local), ..silent([]) });
        assert_eq!(*run.verdict(), Verdict::Unreachable { why: Unreachable::Silent });
        assert_eq!(run.sizes.iter().filter(|&&size| size == local).count(), 3, "{local}: {:?}", run.sizes);
        let run = drive(1500, Network { local: Some(local), ..Network::clean() });
        assert_eq!(run.verdict().path_mtu(), Some(size(local)));
    }
}

#[test]
fn a_neighbour_that_fails_after_three_seconds_is_seen() {
    let refusal = refused(router(0), Refusal::HostUnreachable);
    let run = drive(1500, silent([("echo", (Duration::from_millis(3080), refusal))]));
    let why = Unreachable::Refused { by: router(0), why: Refusal::HostUnreachable };
    assert_eq!(*run.verdict(), Verdict::Unreachable { why });
}

#[test]
fn the_most_telling_refusal_is_named() {
    let order = [
        Refusal::Other,
        Refusal::PortUnreachable,
        Refusal::ProtocolUnreachable,
        Refusal::NetworkUnreachable,
        Refusal::HostUnreachable,
        Refusal::TtlExceeded,
        Refusal::Prohibited,
        Refusal::TunnelPortUnreachable,
    ];
    for pair in order.windows(2) {
        for (first, second) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let network =
                silent([("echo", (MS, refused(router(1), first))), ("udp", (MS, refused(router(2), second)))]);
            let run = drive(1500, network);
            let by = if first == pair[1] { router(1) } else { router(2) };
            let why = Unreachable::Refused { by, why: pair[1] };
            assert_eq!(*run.verdict(), Verdict::Unreachable { why });
        }
    }
}

#[test]
fn any_protocol_that_the_host_answers_makes_it_a_filter_and_not_unreachable() {
    let carried = Answer::Carried { round_trip: None, fragment: None };
    let cases = [
        ("tcp/9747", carried, "its host filters ICMP echo: TCP port 9747 answers"),
        (
            "udp",
            refused(TARGET, Refusal::PortUnreachable),
            "its host filters ICMP echo: it answers UDP port 33434 with \"port unreachable\"",
        ),
        (
            "echo",
            refused(TARGET, Refusal::Prohibited),
            "its host filters ICMP echo: it answers ICMP echo with \"administratively prohibited\"",
        ),
    ];
    for (kind, answer, why) in cases {
        assert_eq!(unknown(&drive(1500, silent([(kind, (MS, answer))]))), why);
    }
}

#[test]
fn a_box_on_the_way_that_prohibits_is_unreachable() {
    let prohibited = refused(router(1), Refusal::Prohibited);
    let run = drive(1500, silent([("echo", (MS, prohibited.clone())), ("udp", (MS, prohibited))]));
    let why = Unreachable::Refused { by: router(1), why: Refusal::Prohibited };
    assert_eq!(*run.verdict(), Verdict::Unreachable { why });
}

#[test]
fn an_answer_wins_over_a_refusal_of_the_reference() {
    let others = [("echo", (MS, refused(router(1), Refusal::TunnelPortUnreachable)))].into();
    let run = drive(1500, Network { small: false, others, ..Network::clean() });
    assert_eq!(*run.verdict(), clear(1500));
}

#[test]
fn a_refusal_of_large_sizes_alone_is_silence() {
    let refusal = refused(router(1), Refusal::HostUnreachable);
    let forged = (1401..=1500).map(|size| (size, MS, refusal.clone())).collect();
    let run = drive(1500, Network { forged, ..Network::black_hole(1400) });
    assert_eq!(*run.verdict(), black_hole(1400, None));
}

#[test]
fn without_a_reference_the_search_goes_on_from_what_is_answered() {
    let network = Network { small: false, ..Network::with([(1400, Signal::Names(1400))]) };
    assert_eq!(*drive(1500, network).verdict(), limited(1400, by(1, Some(1400))));
}

#[test]
fn a_lost_reference_is_counted() {
    let lossy = |seed: u64| drive(1500, Network::black_hole(1400).lossy(0.05, seed << 20)).measured;
    let measured: Vec<_> = (0..50).map(lossy).collect();
    assert!(measured.iter().any(|measured| measured.reference_lost > 0));
    assert!(measured.iter().all(|measured| measured.reference_lost < measured.reference_sent));
}

#[test]
fn what_cannot_be_probed_ends_at_once_with_a_reason() {
    for (lane, reason) in [(lane(67), "67 bytes"), (lane(65_536), "65536 bytes")] {
        let Step::Done(measured) = Search::new(lane, Mono::default()).poll(Mono::default()) else { panic!("{reason}") };
        let Verdict::Unknown { why } = &measured.verdict else { panic!("{measured:?}") };
        assert!(why.contains(reason), "{why}");
        assert_eq!(measured.sent, 0);
    }
}
