//! Tunnels that are too large for the way, by what is encapsulated here and, where that is not to be had, by the underlay.

use super::*;
use crate::fact::Fact;
use crate::kernel::TunnelKind;
use crate::snapshot::example::{Example, black_hole, limited, no_right, silent};
use crate::units::Dual;

fn judge(example: &Example) -> Judgement<Evidence> {
    OverlayMtuExceedsPath::judge(&example.snapshot()).unwrap()
}

fn with_df(node: Example, df: Df) -> Example {
    node.with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().df = Some(df))
}

/// Nothing can be encapsulated: the underlay's path MTU is all there is.
fn over(underlay: Verdict, df: Df) -> Example {
    let node = Example::reference().outer_fact("master-2", Fact::Absent).outer_fact("master-3", Fact::Absent);
    with_df(node.verdict("master-2", Plane::Underlay, underlay), df)
}

/// What packets that are encapsulated here meet, and those through the tunnel.
fn meets(outer: Verdict, overlay: Verdict, df: Df) -> Example {
    let node = Example::reference().outer_verdict("master-2", outer).verdict("master-2", Plane::Overlay, overlay);
    with_df(node, df)
}

fn clear(mtu: u32) -> Verdict {
    Verdict::Clear { mtu: IpSize::new(mtu) }
}

#[test]
fn full_packets_that_are_lost_one_byte_above_the_way_are_critical_and_what_fits_is_quiet() {
    let judgement = judge(&meets(black_hole(1499), black_hole(1449), Df::Unset));
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Critical));
    let Evidence { needed, carries, fits, outer_verdict, overlay_verdict, .. } = raised.evidence;
    assert_eq!((needed, carries, fits), (IpSize::new(1500), IpSize::new(1499), LinkMtu::new(1449)));
    assert_eq!((outer_verdict, overlay_verdict), (Some(VerdictName::BlackHole), Some(VerdictName::BlackHole)));
    assert!(raised.breaks.contains(&raised.subject), "what the tunnel loses");
    let fits = judge(&meets(clear(1500), black_hole(1449), Df::Unset));
    assert!(fits.raised.is_empty(), "something else takes them");
}

#[test]
fn full_packets_that_arrive_are_another_codes_matter() {
    assert!(judge(&meets(limited(1400, None), clear(1450), Df::Unset)).raised.is_empty());
    let back =
        meets(limited(1400, None), black_hole(1350), Df::Unset).learned("master-2", Plane::Overlay, |measured| {
            (measured.forward, measured.way) = (Some(IpSize::new(1450)), Some(Way::Reverse));
        });
    assert!(judge(&back).raised.is_empty(), "they arrive there and are lost on the way back");
    assert!(judge(&meets(limited(1400, None), silent(), Df::Unset)).raised.is_empty());
}

#[test]
fn a_size_that_is_refused_to_this_node_is_lost_by_pods_where_df_is_set() {
    let raised = |df| judge(&meets(clear(1400), limited(1350, None), df)).raised.remove(0);
    assert_eq!(raised(Df::Set).severity, Severity::Critical);
    let mild = raised(Df::Unset);
    assert_eq!(mild.severity, Severity::Warning);
    assert!(OverlayMtuExceedsPath::summary(&mild.subject, &mild.evidence).ends_with("and is refused."));
}

#[test]
fn where_nothing_can_be_encapsulated_the_underlay_counts() {
    let judgement = judge(&over(limited(1499, Some("10.0.0.1")), Df::Unset));
    let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Warning));
    assert_eq!((raised.evidence.needed, raised.evidence.fits), (IpSize::new(1500), LinkMtu::new(1449)));
    assert!(OverlayMtuExceedsPath::summary(&raised.subject, &raised.evidence).ends_with("and is fragmented."));
    assert!(judge(&over(clear(1500), Df::Unset)).raised.is_empty());
    let severity = |node: Example| judge(&node).raised[0].severity;
    assert_eq!(severity(over(black_hole(1400), Df::Unset)), Severity::Critical);
    assert_eq!(severity(over(limited(1400, None), Df::Set)), Severity::Critical);
    assert_eq!(severity(over(limited(1400, None), Df::Inherit)), Severity::Critical);
}

#[test]
fn answers_that_are_filtered_here_leave_the_underlay() {
    let node = with_df(Example::reference().outer_verdict("master-2", silent()), Df::Unset);
    let node = node.verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")));
    assert_eq!(judge(&node).raised.remove(0).evidence.outer_verdict, None);
}

#[test]
fn an_underlay_that_loses_on_the_way_back_carries_what_this_node_sends() {
    let node = over(black_hole(1400), Df::Unset).learned("master-2", Plane::Underlay, |measured| {
        (measured.forward, measured.way) = (Some(IpSize::new(1500)), Some(Way::Reverse));
    });
    assert!(judge(&node).raised.is_empty());
}

#[test]
fn a_short_path_to_a_peer_that_no_tunnel_leads_to_is_quiet() {
    let mut node = over(limited(1400, None), Df::Unset);
    node.peers[0].overlay = Dual::NONE;
    assert!(judge(&node).raised.is_empty());
    let external = over(limited(1400, None), Df::Unset).with("vxlan.calico", |link| {
        link.tunnel.as_mut().unwrap().external = true;
    });
    assert!(judge(&external).raised.is_empty());
}

#[test]
fn without_anything_measured_nothing_is_concluded() {
    let bare = || Example::reference().outer_fact("master-2", Fact::Unread(no_right()));
    for node in [
        bare().unmeasured("master-2", Plane::Underlay, no_right()),
        bare().verdict("master-2", Plane::Underlay, silent()),
        Example::reference().unmeasured("master-2", Plane::Overlay, no_right()),
    ] {
        let judgement = judge(&node);
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
    }
    let mut unknown = bare();
    unknown.peers[0].underlay = Dual::NONE;
    assert!(judge(&unknown).unread[0].1.to_string().contains("no node address of master-2"));
}

#[test]
fn ipv4_inside_and_ipv6_outside_needs_the_longer_header() {
    let node = Example::dual("fd00::12").outer_verdict("master-2", black_hole(1499));
    let raised = judge(&node.verdict("master-2", Plane::Overlay, black_hole(1429))).raised.remove(0);
    assert_eq!((raised.evidence.overhead, raised.evidence.needed), (70, IpSize::new(1500)));
    let summary = OverlayMtuExceedsPath::summary(&raised.subject, &raised.evidence);
    assert!(summary.contains("the path to master-2 (fd00::12) carries"), "{summary}");
}

#[test]
fn a_tunnel_of_ipv6_is_not_shrunk_below_what_ipv6_takes() {
    let evidence = judge(&meets(black_hole(1320), black_hole(1270), Df::Unset)).raised.remove(0).evidence;
    let fixes = |family| {
        let subject = Subject::Path { peer: "master-2".into(), plane: Plane::Overlay, family };
        OverlayMtuExceedsPath::fixes(&subject, &evidence)
    };
    use crate::units::Family;
    assert!(matches!(fixes(Family::Ipv4)[0], Fix::OverlayMtu { .. }));
    assert!(matches!(fixes(Family::Ipv6)[..], [Fix::PathCarries { .. }]));
}

/// As Linux 6.1.192 did in `.ci/live`: behind a hop of 1,400 a pod was told 1,380 by `tunl0`. A silent hop tells nobody.
#[test]
fn a_tunnel_that_passes_on_what_the_network_says_loses_nothing_for_long() {
    let over_ipip = |underlay| {
        let node = over(underlay, Df::Unset).with("vxlan.calico", |link| {
            let tunnel = link.tunnel.as_mut().unwrap();
            *tunnel = Tunnel { lower: tunnel.lower, df: Some(Df::Set), ..Tunnel::of(TunnelKind::Ipip) };
            link.mtu = LinkMtu::new(1480);
        });
        let raised = judge(&node).raised.remove(0);
        (raised.severity, OverlayMtuExceedsPath::summary(&raised.subject, &raised.evidence))
    };
    let (severity, said) = over_ipip(limited(1400, None));
    assert_eq!(severity, Severity::Warning);
    assert!(said.ends_with("and is refused, which its sender is told."), "{said}");
    let (severity, said) = over_ipip(black_hole(1400));
    assert_eq!(severity, Severity::Critical);
    assert!(said.ends_with("and is lost."), "{said}");
}
