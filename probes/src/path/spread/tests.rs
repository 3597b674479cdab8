//! Sweeps driven to their end over simulated networks; what is asserted is which packets left, and what they say.

use super::simulation::{FULL, Limiter, MS, Network, Path, Run, SMALL, drive, router};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn by(path: u8, carries: u32, reported: Option<u32>) -> Fate {
    Fate::Limited { carries: Some(IpSize::new(carries)), by: router(path), reported: reported.map(IpSize::new) }
}

/// Fates of ports that take one path each, in order.
fn fates(paths: &[Path], change: impl FnOnce(Network) -> Network) -> Run {
    drive(paths.len() as u16, change(Network::each(paths)))
}

#[test]
fn good_ports_cost_a_packet_each_and_one_round_trip_in_all() {
    let run = fates(&[Path::Good; 3], |network| network);
    assert_eq!(run.left, [(0, FULL), (1, FULL), (2, FULL)]);
    assert_eq!((run.fates(), run.took()), (vec![Fate::Carried; 3], 200 * Duration::from_micros(1)));
    assert_eq!((run.swept.sent, run.swept.expected), (3, Some(IpSize::new(FULL))));
}

#[test]
fn where_answers_are_limited_the_first_six_are_answered_and_then_one_in_a_second() {
    let run = fates(&[Path::Good; 9], Network::limited);
    let again = [(6, FULL), (7, FULL), (8, FULL)];
    let burst: Vec<_> = (0..9).map(|port| (port, FULL)).collect();
    assert_eq!(run.left, [&burst[..], &again].concat());
    assert_eq!(run.fates(), [Fate::Carried; 9]);
    assert!(run.took() > 3 * SECOND && run.took() < 4 * SECOND, "{:?}", run.took());
}

#[test]
fn a_named_size_is_asked_for_behind_the_full_one_from_the_same_port() {
    for limited in [false, true] {
        let on = |network: Network| if limited { network.limited() } else { network };
        let run = fates(&[Path::Good, Path::Names(1400)], on);
        assert_eq!(run.left, [(0, FULL), (1, FULL), (1, FULL), (1, 1400)]);
        assert_eq!(run.fates(), [Fate::Carried, by(1, 1400, Some(1400))]);
    }
}

#[test]
fn a_hop_that_names_nothing_is_a_limit_all_the_same() {
    let run = fates(&[Path::Good, Path::NamesNothing(1400)], |network| network);
    assert_eq!(run.sizes(1), [FULL, FULL, FULL, SMALL]);
    assert_eq!(run.fates(), [Fate::Carried, by(1, SMALL, None)]);
}

#[test]
fn each_of_two_ports_that_swallow_is_silent_four_times_in_front_of_an_answer() {
    let run = fates(&[Path::Good, Path::Swallows(1400), Path::Swallows(1400)], |network| network);
    let visit = [FULL, FULL, SMALL];
    assert_eq!(run.sizes(1), [&[FULL][..], &visit, &visit].concat());
    assert_eq!(run.sizes(2), run.sizes(1));
    assert_eq!(run.fates(), [Fate::Carried, Fate::Swallowed, Fate::Swallowed]);
    assert!(run.took() < 3 * PATIENCE + MS, "three rounds of silence: {:?}", run.took());
}

#[test]
fn a_single_bad_port_is_confirmed_twice() {
    let run = fates(&[Path::Good, Path::Good, Path::Swallows(1400)], |network| network);
    assert_eq!(run.sizes(2), [&[FULL][..], &[FULL, FULL, SMALL].repeat(4)].concat());
    let run = fates(&[Path::Good, Path::Good, Path::Dead], |network| network);
    assert_eq!(run.sizes(2), [&[FULL, FULL, FULL, SMALL][..], &[FULL, SMALL].repeat(7)].concat());
    assert_eq!(run.fates()[2], Fate::Dead);
    assert_eq!(run.left.iter().filter(|&&probe| probe == (0, SMALL)).count(), 4, "controls take turns");
    assert_eq!(run.left.iter().filter(|&&probe| probe == (1, SMALL)).count(), 4);
}

#[test]
fn where_answers_are_limited_a_port_is_swallowed_only_with_an_answer_to_be_had() {
    let run = fates(&[Path::Good, Path::Swallows(1400), Path::Swallows(1400)], Network::limited);
    assert_eq!(run.fates(), [Fate::Carried, Fate::Swallowed, Fate::Swallowed]);
    assert_eq!(run.sizes(1), [&[FULL, FULL][..], &[FULL, FULL, SMALL].repeat(2)].concat(), "once alone, then visited");
    assert!(run.took() > 5 * PACE, "one visit in a second: {:?}", run.took());
}

#[test]
fn ports_that_look_dead_are_asked_together_and_held_against_a_port_that_answers() {
    let run = fates(&[Path::Good, Path::Dead, Path::Dead, Path::Dead], Network::limited);
    assert_eq!(run.fates(), [Fate::Carried, Fate::Dead, Fate::Dead, Fate::Dead]);
    let control = run.left.iter().filter(|&&probe| probe == (0, SMALL)).count();
    assert_eq!(control, 3 + 3, "each once alone, then three times together");
}

#[test]
fn all_ports_alike_is_told_as_it_is() {
    assert_eq!(fates(&[Path::Swallows(1400); 3], |network| network).fates(), [Fate::Swallowed; 3]);
    assert_eq!(
        fates(&[Path::Names(1400); 2], Network::limited).fates(),
        [by(0, 1400, Some(1400)), by(1, 1400, Some(1400))]
    );
}

#[test]
fn a_target_that_answers_nothing_is_given_up_soon_and_nothing_is_said() {
    for on in [Network::limited, |network: Network| network] {
        let run = drive(25, on(Network::of([Path::Dead])));
        assert!(run.fates().iter().all(|&fate| fate == Fate::Unknown));
        assert_eq!(run.swept.sent, 25 + 4 * 8);
        assert!(run.took() < 6 * SECOND, "{:?}", run.took());
    }
}

#[test]
fn a_size_that_is_named_and_vanishes_all_the_same_is_swallowed() {
    let run = fates(&[Path::Good, Path::NamesTooMuch(1450, 1400), Path::NamesTooMuch(1450, 1400)], |network| network);
    assert_eq!(run.fates()[1..], [Fate::Swallowed; 2]);
    assert_eq!(run.sizes(1), [&[FULL, FULL, 1450, 1450, SMALL][..], &[1450, 1450, SMALL].repeat(2)].concat());
}

#[test]
fn routers_that_limit_what_they_say_are_given_time_to_say_it() {
    let paths = [&[Path::Good][..], &[Path::Names(1400); 12]].concat();
    let run = fates(&paths, |network| Network { router_limiter: Some(Limiter::linux()), ..network });
    assert!(run.is_true(), "none of them is silent: {:?}", run.swept);
    assert_eq!(run.swept.shares().bad(), 12);
}

#[test]
fn a_forged_error_costs_packets_and_changes_no_verdict() {
    let forged = |port, mtu| move |network: Network| Network { forged: [(port, mtu)].into(), ..network };
    assert_eq!(fates(&[Path::Good; 2], forged(0, 600)).fates(), [Fate::Carried; 2]);
    let limited = fates(&[Path::Good; 9], |network| forged(8, 600)(network).limited());
    assert_eq!(limited.fates(), [Fate::Carried; 9], "its answer was not had at first");
    assert!(limited.sizes(8).contains(&600));
    for useless in [0, 83, 1500, 9000] {
        let run = fates(&[Path::Good; 9], |network| forged(8, useless)(network).limited());
        assert_eq!(run.fates(), [Fate::Carried; 9], "{useless}");
    }
}

#[test]
fn a_slow_path_is_waited_for() {
    for on in [Network::limited, |network: Network| network] {
        let slow =
            Network { one_way: 300 * MS, ..Network::each(&[Path::Good, Path::Swallows(1400), Path::Swallows(1400)]) };
        let run = drive(3, on(slow));
        assert!(run.is_true() && run.swept.shares().settled() == 3, "{:?}", run.swept);
        assert!(run.took() > 2 * 4 * 600 * MS, "four round trips a visit: {:?}", run.took());
    }
}

#[test]
fn paths_of_different_length_make_no_port_bad() {
    let paths = vec![Path::Good; 20];
    for uneven in [MS, 20 * MS, 90 * MS] {
        let run = fates(&paths, |network| Network { uneven, ..network.limited() });
        assert_eq!(run.fates(), vec![Fate::Carried; 20], "{uneven:?}");
    }
}

#[test]
fn waiting_for_the_packet_budget_is_no_silence() {
    for on in [Network::limited, |network: Network| network] {
        let run = drive(8, on(Network { held: 2 * SECOND, ..Network::of([Path::Good]) }));
        assert_eq!(run.fates(), [Fate::Carried; 8]);
    }
}

#[test]
fn an_answer_long_after_a_packet_witnesses_nothing_where_answers_are_limited() {
    let paths = [Path::Good, Path::Swallows(1400), Path::Swallows(1400)];
    let apart = |gap| fates(&paths, |network| Network { gap, ..network.limited() }).fates();
    assert_eq!(apart(20 * MS), [Fate::Carried, Fate::Swallowed, Fate::Swallowed]);
    assert_eq!(apart(30 * MS), [Fate::Carried, Fate::Unknown, Fate::Unknown], "60 ms from the first to the last");
    let free = fates(&paths, |network| Network { gap: 30 * MS, ..network });
    assert_eq!(free.fates(), [Fate::Carried, Fate::Swallowed, Fate::Swallowed]);
}

#[test]
fn what_the_kernel_here_does_not_send_is_tried_again_and_then_given_up() {
    let refused = |times, why| move |network: Network| Network { refuses: [(1, (times, why))].into(), ..network };
    let again = fates(&[Path::Good; 3], refused(2, NotSent::Other(105)));
    assert_eq!((again.fates(), again.took() >= RETRY), (vec![Fate::Carried; 3], true));
    let never = fates(&[Path::Good; 3], refused(u32::MAX, NotSent::NoRoute));
    assert_eq!(never.fates(), [Fate::Carried, Fate::Unknown, Fate::Carried]);
    let too_large = fates(&[Path::Good; 3], refused(1, NotSent::TooLarge));
    assert_eq!(too_large.fates(), [Fate::Unknown; 3], "a link of this machine is no matter of ports");
}

#[test]
fn no_port_no_sweep() {
    assert_eq!(drive(0, Network::of([Path::Good])).swept.ports, []);
}

#[test]
fn a_path_no_larger_than_the_reference_can_be_swept() {
    let size = IpSize::new(70);
    let mut spread =
        Spread::new(vec![3, 3], |source| Carrier::Vxlan { source }, IpSize::new(84), size, false, Mono::default());
    let probe = Probe::new(Carrier::Vxlan { source: 3 }, size);
    assert_eq!(spread.poll(Mono::default()), Step::Send(probe));
    spread.on_sent(probe, Mono::default());
    spread.on_answer(probe, Answer::Carried { round_trip: None, fragment: None }, Mono::default());
    let Step::Done(swept) = spread.poll(Mono::default()) else { panic!("{spread:?}") };
    assert_eq!(swept.ports, [(3, Fate::Carried)], "a port named twice is one");
}

#[test]
fn the_wire_knows_ports_by_number_and_the_tunnel_by_its_end() {
    let swept = Swept { ports: vec![(0, Fate::Carried), (511, Fate::Dead)], ..Swept::default() };
    let plain = swept.clone().on_wire(40_448, &Task::Spread { ports: 2, encapsulation: None });
    assert_eq!((plain.ports, plain.tunnel), (vec![(40_448, Fate::Carried), (40_959, Fate::Dead)], None));
    let ip = |last| IpAddr::from([10, 0, 0, last]);
    let encapsulation = crate::path::Encapsulation {
        vtep: ip(12),
        port: 4789,
        vni: 4096,
        from_mac: [2; 6],
        to_mac: [4; 6],
        inner_from: ip(1),
        inner_to: ip(2),
    };
    let through = swept.on_wire(40_448, &Task::Spread { ports: 2, encapsulation: Some(encapsulation) });
    assert_eq!(through.tunnel, Some(SocketAddr::new(ip(12), 4789)));
}
