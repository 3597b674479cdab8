use super::*;
use crate::fact::Fact;
use crate::snapshot::example::{Example, black_hole, limited, no_right, swept};

const MTU: Option<IpSize> = Some(IpSize::new(1400));

fn by(hop: u8) -> Fate {
    Fate::Limited { carries: MTU, by: IpAddr::from([10, 0, 9, hop]), reported: MTU }
}

fn fates(kinds: &[(Fate, usize)]) -> Vec<Fate> {
    kinds.iter().flat_map(|&(fate, times)| std::iter::repeat_n(fate, times)).collect()
}

fn node(kinds: &[(Fate, usize)]) -> Example {
    Example::reference().sweeps("10.0.0.12", Fact::Known(swept(&fates(kinds))))
}

fn judge(example: &Example) -> Judgement<Evidence> {
    PathEcmpMtu::judge(&example.snapshot()).unwrap()
}

fn told(kinds: &[(Fate, usize)]) -> (Severity, String, Evidence) {
    let raised = judge(&node(kinds)).raised.remove(0);
    (raised.severity, PathEcmpMtu::summary(&raised.subject, &raised.evidence), raised.evidence)
}

#[test]
fn flows_that_are_limited_beside_others_that_are_not_are_a_warning_and_the_hop_is_named() {
    let (severity, sentence, evidence) = told(&[(Fate::Carried, 12), (by(1), 13)]);
    assert_eq!(severity, Severity::Warning);
    assert_eq!(
        sentence,
        "Paths of equal cost on the underlay to master-2 (10.0.0.12) differ: of 25 flows 12 carry 1500 B, 13 are limited \
         to 1400 B by 10.0.9.1."
    );
    assert_eq!((evidence.ports, evidence.paths_met, evidence.share_bad), (25, 4, 13.0 / 25.0));
    assert_eq!((evidence.by, evidence.to), (Means::ClosedUdpPort, "10.0.0.12:33440".parse().unwrap()));
    assert_eq!(evidence.carried.sample, [40_448, 40_449, 40_450, 40_451, 40_452]);
    assert_eq!(evidence.bad_sample[0], 40_460);
}

#[test]
fn flows_that_vanish_beside_others_that_do_not_are_critical() {
    let (severity, sentence, _) = told(&[(Fate::Carried, 20), (by(1), 2), (Fate::Swallowed, 2), (Fate::Dead, 1)]);
    assert_eq!(severity, Severity::Critical);
    assert!(
        sentence.ends_with(
            "of 25 flows 20 carry 1500 B, 2 are limited to 1400 B by 10.0.9.1, 2 lose it in silence and 1 carry nothing."
        ),
        "{sentence}"
    );
    assert_eq!(told(&[(Fate::Carried, 24), (Fate::Dead, 1)]).0, Severity::Critical);
}

#[test]
fn all_ports_alike_are_quiet() {
    let alike = [Fate::Carried, by(1), Fate::Swallowed, Fate::Dead];
    for fate in alike {
        let judgement = judge(&node(&[(fate, 25)]));
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{fate:?}: {judgement:?}");
    }
    assert!(judge(&node(&[(by(1), 12), (Fate::Swallowed, 13)])).raised.is_empty(), "no flow carries it");
}

#[test]
fn ports_that_could_not_be_told_are_neither_good_nor_bad() {
    let judgement = judge(&node(&[(Fate::Carried, 20), (Fate::Unknown, 5)]));
    assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
    let judgement = judge(&node(&[(Fate::Carried, 19), (Fate::Unknown, 6)]));
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1), "too many to call it good");
    let judgement = judge(&node(&[(Fate::Unknown, 25)]));
    assert!(judgement.unread[0].1.to_string().contains("UDP 33440 may be filtered"), "{judgement:?}");
    let (_, _, evidence) = told(&[(Fate::Carried, 5), (Fate::Swallowed, 5), (Fate::Unknown, 15)]);
    assert_eq!((evidence.share_bad, evidence.paths_met), (0.5, 2), "of those that are known");
}

#[test]
fn what_was_not_swept_is_not_concluded_and_what_is_not_to_be_swept_is_left_alone() {
    let not_yet = Unread::new(Source::Probes, Reason::NotYet);
    let judgement = judge(&Example::reference().sweeps("10.0.0.12", Fact::Unread(not_yet.clone())));
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    assert_eq!(judgement.unread[0].1, not_yet);
    let judgement = judge(&Example::reference().unmeasured("master-2", Plane::Underlay, no_right()));
    assert_eq!(judgement.unread[0].1, no_right());
    let off = Example::reference().sweeps("10.0.0.12", Fact::Absent).sweeps("10.0.0.13", Fact::Absent);
    let judgement = judge(&off);
    assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
}

#[test]
fn a_sweep_through_the_tunnel_names_its_far_end_and_outer_sizes() {
    let mut through = swept(&fates(&[(Fate::Carried, 12), (Fate::Swallowed, 13)]));
    through.tunnel = "10.0.0.12:4789".parse().ok();
    let raised = judge(&Example::reference().sweeps("10.0.0.12", Fact::Known(through))).raised.remove(0);
    assert_eq!((raised.evidence.by, raised.evidence.to.port()), (Means::EncapsulatedVxlan, 4789));
}

#[test]
fn what_is_followed_by_hand_is_a_port_that_vanishes_before_one_that_is_told() {
    let (_, _, evidence) = told(&[(Fate::Carried, 20), (by(1), 3), (Fate::Swallowed, 2)]);
    let subject = judge(&node(&[(Fate::Carried, 1), (Fate::Dead, 1)])).raised.remove(0).subject;
    let [Fix::EqualPathsCarry { good, bad, silent, hops, .. }] = &PathEcmpMtu::fixes(&subject, &evidence)[..] else {
        panic!("one fix")
    };
    assert_eq!((*good, *bad, *silent, hops.len()), (40_448, 40_471, true, 1));
    let (_, _, told) = told(&[(Fate::Carried, 20), (by(1), 3)]);
    let [Fix::EqualPathsCarry { bad, silent, .. }] = &PathEcmpMtu::fixes(&subject, &told)[..] else {
        panic!("one fix")
    };
    assert_eq!((*bad, *silent), (40_468, false));
}

#[test]
fn a_dead_path_may_have_taken_the_tunnel_along_and_a_small_one_has_not() {
    let causes = |kinds: &[(Fate, usize)]| {
        let raised = judge(&node(kinds)).raised.remove(0);
        assert_eq!(raised.breaks, [raised.subject], "its size was measured on one of its paths");
        raised.causes
    };
    assert_eq!(causes(&[(Fate::Carried, 20), (Fate::Dead, 5)]), Causes::Codes(&OF_DEAD[1..]));
    assert_eq!(causes(&[(Fate::Carried, 20), (Fate::Swallowed, 5)]), Causes::Codes(&OF_SMALL[1..]));
}

#[test]
fn what_the_smaller_path_taught_the_kernel_is_its_consequence_and_what_nobody_said_is_not() {
    let cached = |mtu| {
        let raised = judge(&node(&[(Fate::Carried, 20), (by(1), 3)]).remembers("10.0.0.12", mtu)).raised.remove(0);
        (raised.evidence.limited[0].reported_mtu.unwrap().bytes(), raised.causes)
    };
    let (said, _) = cached(1000);
    assert_eq!(cached(said).1, Causes::Codes(OF_SMALL));
    assert_eq!(cached(said - 1).1, Causes::Codes(&OF_SMALL[1..]), "forged, or of another hop");
    let untold = node(&[(Fate::Carried, 20), (Fate::Swallowed, 5)]).remembers("10.0.0.12", said);
    assert_eq!(judge(&untold).raised.remove(0).causes, Causes::Codes(OF_SMALL), "a router bounds its errors");
}

#[test]
fn the_verdicts_of_the_single_path_that_was_searched_change_nothing() {
    for verdict in [limited(1400, Some("10.0.9.1")), black_hole(1400)] {
        let node = node(&[(Fate::Carried, 12), (by(1), 13)]).verdict("master-2", Plane::Underlay, verdict);
        assert_eq!(judge(&node).raised.len(), 1);
    }
}
