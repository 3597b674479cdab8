//! Packets that arrive in fragments, those that just fit, and what must not be concluded.

use super::*;
use crate::fact::Fact;
use crate::snapshot::example::{Example, black_hole, ip, limited, no_right, silent};

fn judge(example: &Example) -> Judgement<Evidence> {
    OverlayFragmented::judge(&example.snapshot()).unwrap()
}

fn over(outer: Verdict) -> Example {
    Example::reference().outer_verdict("master-2", outer)
}

fn told(example: &Example) -> (Evidence, String) {
    let mut judgement = judge(example);
    let raised = judgement.raised.remove(0);
    assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
    assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Warning));
    let summary = OverlayFragmented::summary(&raised.subject, &raised.evidence);
    (raised.evidence, summary)
}

#[test]
fn one_byte_short_is_told_with_the_hop_and_what_just_fits_is_quiet() {
    let (evidence, summary) = told(&over(limited(1499, Some("10.9.0.1"))));
    assert_eq!((evidence.needed, evidence.carries, evidence.here), (IpSize::new(1500), IpSize::new(1499), false));
    assert_eq!((evidence.fits, evidence.df), (LinkMtu::new(1449), Some(Df::Unset)));
    assert_eq!(
        summary,
        "Full packets of vxlan.calico arrive in fragments: 1450 B are 1500 B with its headers, more than the 1499 B \
         that the way to master-2 (10.0.0.12) carries in one piece. 10.9.0.1 says so."
    );
    assert!(judge(&over(limited(1500, Some("10.9.0.1")))).raised.is_empty());
    assert!(judge(&over(Verdict::Clear { mtu: IpSize::new(1500) })).raised.is_empty());
}

#[test]
fn this_node_cuts_what_it_knows_to_be_too_large() {
    let (evidence, summary) = told(&over(Verdict::Clear { mtu: IpSize::new(1400) }));
    assert!(evidence.here && summary.ends_with("This node cuts them."), "{summary}");
    assert!(told(&over(limited(1400, None))).0.here);
}

#[test]
fn what_vanishes_without_a_word_is_told_beyond_what_a_bridge_lets_pass() {
    let (evidence, _) = told(&over(black_hole(1495)));
    assert_eq!((evidence.outer_verdict, evidence.here), (VerdictName::BlackHole, false));
    let judgement = judge(&over(black_hole(1496)));
    assert!(judgement.raised.is_empty(), "1500 B without DF may pass a bridge of 1496 B");
    assert!(judgement.unread[0].1.to_string().contains("without DF"), "{:?}", judgement.unread);
}

#[test]
fn what_does_not_arrive_in_full_size_is_another_codes_matter() {
    let judgement = judge(&over(limited(1400, None)).verdict("master-2", Plane::Overlay, black_hole(1350)));
    assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
}

#[test]
fn the_size_that_passes_inside_counts_and_not_the_tunnels_mtu() {
    let small =
        over(limited(1400, None)).verdict("master-2", Plane::Overlay, Verdict::Clear { mtu: IpSize::new(1350) });
    assert!(judge(&small).raised.is_empty(), "a route keeps packets to 1350 B");
}

#[test]
fn without_encapsulated_packets_nothing_is_concluded_and_why_is_told() {
    for (outer, says) in [(Fact::Unread(no_right()), "CAP_NET_RAW"), (Fact::Absent, "tunnel end is not known")] {
        let judgement = judge(&Example::reference().outer_fact("master-2", outer));
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
        assert!(judgement.unread[0].1.to_string().contains(says), "{:?}", judgement.unread);
    }
}

#[test]
fn answers_that_are_filtered_here_say_nothing() {
    let judgement = judge(&over(silent()));
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    assert!(judgement.unread[0].1.to_string().contains("answers to encapsulated probes are filtered here"));
}

#[test]
fn a_tunnel_that_nothing_can_be_encapsulated_for_is_quiet() {
    let set = |change: fn(&mut crate::kernel::Tunnel)| {
        let node = Example::reference().outer_fact("master-2", Fact::Absent).outer_fact("master-3", Fact::Absent);
        judge(&node.with("vxlan.calico", |link| change(link.tunnel.as_mut().unwrap())))
    };
    for judgement in
        [set(|tunnel| tunnel.external = true), set(|tunnel| tunnel.kind = crate::kernel::TunnelKind::Wireguard)]
    {
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty(), "{judgement:?}");
    }
}

#[test]
fn over_ipv6_it_is_this_node_that_cuts_and_no_counter_of_ipv4_tells() {
    let node = Example::dual("fd00::12").outer_verdict("master-2", limited(1400, Some("fd00:9::1")));
    let (evidence, summary) = told(&node);
    assert_eq!((evidence.overhead, evidence.underlay), (70, ip("fd00::12")));
    assert!(evidence.here && evidence.fragments_created.is_none(), "{evidence:?}");
    assert!(summary.contains("the way to master-2 (fd00::12) carries"), "{summary}");
}

#[test]
fn counters_that_rose_are_evidence() {
    let mut node = over(limited(1400, Some("10.9.0.1")));
    let Fact::Known(before) = &mut node.counters_before else { unreachable!() };
    before.insert("fragments_created", 10);
    let Fact::Known(now) = &mut node.tables.counters else { unreachable!() };
    now.insert("fragments_created", 14);
    let (evidence, _) = told(&node);
    assert_eq!((evidence.fragments_created, evidence.reassembly_required), (Some(4), None));
}

#[test]
fn a_path_that_was_not_measured_is_not_concluded() {
    let judgement = judge(&Example::reference().unmeasured("master-2", Plane::Overlay, no_right()));
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
}
