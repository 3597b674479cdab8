//! Many sweeps: what is bad is found, what is good is never called bad, and any order of events ends.

use proptest::prelude::*;

use super::simulation::{Limiter, Network, Path, Run, drive};
use super::*;

/// `paths` equal paths of which one, drawn by the seed, is bad.
fn one_bad(paths: u16, seed: u64) -> Network {
    let kinds = [Path::Names(1400), Path::Swallows(1400), Path::Dead];
    let mut all = vec![Path::Good; usize::from(paths)];
    all[seed as usize % usize::from(paths)] = kinds[seed as usize % kinds.len()];
    Network::of(all).lossy(0.0, seed)
}

/// Sweeps with as many ports as the table says, none of which may lie; how many found a bad path.
fn found(sweeps: u64, paths: u16, change: impl Fn(Network) -> Network) -> u64 {
    let sweep = |seed: u64| {
        let run = drive(odds::ports_to_meet(paths), change(one_bad(paths, seed)));
        assert!(run.is_true(), "{paths} paths, {seed}: {:?}", run.swept);
        run
    };
    (0..sweeps).map(sweep).filter(|run| run.swept.shares().bad() > 0).count() as u64
}

// Sweeps are few enough for a debug build to play them in seconds; each test holds with several times as many.

/// A thousandth is missed, because no port takes the bad path; so many sweeps may be four standard deviations off.
fn at_least(sweeps: u64) -> u64 {
    let missed = sweeps as f64 / 1000.0;
    sweeps - (missed + 4.0 * missed.sqrt()) as u64
}

/// Whether a sweep found all that there was to be found, unless every port took the same path.
fn finds_all(run: &Run) -> bool {
    let is_bad = |&(port, _): &(u16, Fate)| run.network.paths[run.network.path(port)] != Path::Good;
    let bad = run.swept.ports.iter().filter(|port| is_bad(port)).count();
    bad == usize::from(run.swept.shares().bad()) || bad == run.swept.ports.len()
}

#[test]
fn every_port_on_a_bad_path_is_found() {
    for seed in 0..80 {
        for paths in [2, 4] {
            let run = drive(odds::ports_to_meet(paths), one_bad(paths, seed));
            assert!(finds_all(&run), "{paths} paths, {seed}: {:?}", run.swept);
            let limited = drive(odds::ports_to_meet(paths), one_bad(paths, seed).limited());
            assert!(finds_all(&limited), "{paths} paths, limited, {seed}: {:?}", limited.swept);
        }
    }
}

#[test]
fn one_bad_path_of_two_or_four_is_found_with_three_nines() {
    for paths in [2, 4] {
        assert!(found(1500, paths, |network| network) >= at_least(1500), "{paths} paths");
        assert!(found(200, paths, Network::limited) >= at_least(200), "{paths} paths, answers limited");
    }
}

#[test]
fn one_bad_path_of_eight_or_sixteen_is_found_with_three_nines() {
    for paths in [8, 16] {
        assert!(found(150, paths, |network| network) >= at_least(150), "{paths} paths");
        assert!(found(20, paths, Network::limited) >= at_least(20), "{paths} paths, answers limited");
    }
}

#[test]
fn it_is_found_at_five_percent_loss_on_each_way_as_well() {
    let lossy = |network: Network| Network { loss: 0.05, ..network };
    for paths in [2, 4] {
        assert!(found(250, paths, lossy) >= at_least(250), "{paths} paths");
        assert!(found(150, paths, |network| lossy(network).limited()) >= at_least(150), "{paths} paths, limited");
    }
}

#[test]
fn a_thousand_sweeps_of_clean_paths_at_five_percent_loss_on_each_way_call_none_bad() {
    for (limited, sweeps) in [(false, 700), (true, 300)] {
        let mut unknown = 0;
        for seed in 0..sweeps {
            let network = Network::of([Path::Good; 4]).lossy(0.05, seed);
            let run = drive(25, if limited { network.limited() } else { network });
            let shares = run.swept.shares();
            assert_eq!(shares.bad(), 0, "limited {limited}, {seed}: {:?}", run.swept);
            unknown += u32::from(shares.unknown.count);
        }
        assert!(
            unknown <= 25 * sweeps as u32 / 1000,
            "{unknown} ports of {sweeps} sweeps are unknown: limited {limited}"
        );
    }
}

/// Somebody else on this machine asks the same target, seldom or far more often than it answers.
#[test]
fn who_else_uses_up_the_answers_makes_no_good_port_bad() {
    for every in [5000, 2000, 1000, 700, 500, 300, 100, 10] {
        for seed in 0..15 {
            let limiter = Some(Limiter::shared(every));
            let run = drive(25, Network { limiter, ..Network::of([Path::Good]).lossy(0.02, seed) });
            assert_eq!(run.swept.shares().bad(), 0, "asked every {every} ms, {seed}: {:?}", run.swept);
        }
    }
}

fn any_path() -> impl Strategy<Value = Path> {
    prop_oneof![
        Just(Path::Good),
        Just(Path::Dead),
        (84u32..1500).prop_map(Path::Names),
        (84u32..1500).prop_map(Path::NamesNothing),
        (84u32..1500).prop_map(Path::Swallows),
        (84u32..1500, 84u32..1500).prop_map(|(one, other)| Path::NamesTooMuch(one.max(other), one.min(other))),
    ]
}

proptest! {
    #[test]
    fn any_network_is_swept_within_packets_and_time_and_nothing_is_claimed_that_was_not_answered(
        paths in proptest::collection::vec(any_path(), 1..6),
        ports in 1u16..40,
        loss in prop_oneof![Just(0.0), 0.0..0.9],
        seed in any::<u64>(),
        one_way in 1u64..400,
        uneven in 0u64..100,
        limits in any::<(bool, bool)>(),
    ) {
        let network = Network {
            one_way: Duration::from_millis(one_way),
            uneven: Duration::from_millis(uneven),
            limiter: limits.0.then(Limiter::linux),
            router_limiter: limits.1.then(Limiter::linux),
            ..Network::of(paths).lossy(loss, seed)
        };
        let run = drive(ports, network);
        prop_assert!(run.swept.sent as usize <= budget(usize::from(ports)));
        prop_assert!(run.took() <= limit(usize::from(ports)), "{:?}", run.took());
        for &(port, fate) in &run.swept.ports {
            prop_assert_eq!(fate == Fate::Carried, run.answered.contains(&port));
        }
    }

    #[test]
    fn any_order_of_events_ends_and_claims_nothing_that_was_not_answered(
        ports in 1u16..12,
        limited in any::<bool>(),
        events in proptest::collection::vec((0u16..14, 0u8..12, 0u32..1600, 0u64..2000), 0..400),
    ) {
        let (small, full) = (IpSize::new(84), IpSize::new(1500));
        let carrier = |source| Carrier::Sweep { source };
        let mut now = Mono::default();
        let mut spread = Spread::new((0..ports).collect(), carrier, small, full, limited, now);
        let (mut began, mut sent, mut carried) = (None, 0usize, Vec::new());
        let mut events = events.into_iter();
        let swept = loop {
            match spread.poll(now) {
                Step::Done(swept) => break swept,
                Step::Send(probe) => {
                    sent += 1;
                    began.get_or_insert(now);
                    spread.on_sent(probe, now);
                }
                Step::Wait(until) => {
                    prop_assert!(until > now);
                    let Some((port, kind, size, after)) = events.next() else {
                        now = until;
                        continue;
                    };
                    now = (now + Duration::from_millis(after)).min(until);
                    let sizes = [full, small, IpSize::new(size)];
                    let probe = Probe::new(carrier(port), sizes[usize::from(kind) % 3]);
                    let by = simulation::router(7);
                    let answer = match kind / 3 {
                        0 => Answer::Carried { round_trip: None, fragment: None },
                        1 => Answer::TooBig { by, mtu: Some(IpSize::new(size)) },
                        2 => Answer::NotSent { why: NotSent::Other(105) },
                        _ => Answer::Silent,
                    };
                    if kind / 3 == 0 && probe.size == full {
                        carried.push(port);
                    }
                    spread.on_answer(probe, answer, now);
                }
            }
        };
        prop_assert!(sent <= budget(usize::from(ports)), "{sent} packets");
        let took = swept.at.since(began.unwrap_or_default());
        prop_assert!(took <= limit(usize::from(ports)), "{took:?}");
        for (port, fate) in swept.ports {
            prop_assert_eq!(fate == Fate::Carried, carried.contains(&port));
        }
    }
}
