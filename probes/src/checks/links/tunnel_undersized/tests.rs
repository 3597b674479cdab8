//! What explains a small tunnel, and what does not.

use super::*;
use crate::path::Plane;
use crate::snapshot::example::{Example, black_hole, limited, no_right, silent, swept};

/// The reference node, its tunnel and pods of this MTU.
fn node(mtu: u32) -> Example {
    Example::reference().small(&["vxlan.calico", "cali1a2b3c4d5e6", "cali9f8e7d6c5b4"], mtu)
}

impl Example {
    fn small(self, links: &[&str], mtu: u32) -> Self {
        links.iter().fold(self, |node, name| node.with(name, |link| link.mtu = LinkMtu::new(mtu)))
    }
}

fn judge(node: &Example) -> Judgement<Evidence> {
    TunnelUndersized::judge(&node.snapshot()).unwrap()
}

fn raised(node: &Example) -> Evidence {
    let mut judgement = judge(node);
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (1, 0), "{judgement:?}");
    judgement.raised.remove(0).evidence
}

fn is_quiet(node: &Example) -> bool {
    let judgement = judge(node);
    judgement.raised.is_empty() && judgement.unread.is_empty()
}

#[test]
fn what_another_family_takes_is_no_difference_and_one_byte_more_is() {
    assert!(is_quiet(&node(1450)) && is_quiet(&node(1430)));
    let evidence = raised(&node(1429));
    assert_eq!((evidence.possible, evidence.likely), (LinkMtu::new(1450), Likely::Unknown));
}

#[test]
fn differences_that_name_their_cause_do_so() {
    let said = |node: &Example| {
        let evidence = raised(node);
        TunnelUndersized::summary(&Subject::Link("vxlan.calico".into()), &evidence)
    };
    let jumbo = node(1450).small(&["enp5s0", "vmbr1"], 9000);
    let twice = node(8900).small(&["enp5s0", "vmbr1"], 9000);
    let narrow = node(1300).verdict("master-2", Plane::Underlay, limited(1460, Some("10.0.0.1")));
    let all = [node(1400), node(1410), node(1300), jumbo, twice, narrow].map(|node| said(&node));
    insta::assert_snapshot!(all.join("\n"), @r#"
vxlan.calico has an MTU of 1400 where 1450 would fit: its 50 B of headers were subtracted twice from the 1500 B of vmbr1.
vxlan.calico has an MTU of 1410 where 1450 would fit: that is what Calico takes where it finds no NIC (1460 - 50), but vmbr1 and the paths to every peer carry 1500 B.
vxlan.calico has an MTU of 1300 where 1450 would fit: it adds 50 B, and vmbr1 and the paths to every peer carry 1500 B.
vxlan.calico has an MTU of 1450 where 8950 would fit: that is right for a network of 1500 B, but vmbr1 and the paths to every peer carry 9000 B.
vxlan.calico has an MTU of 8900 where 8950 would fit: its 50 B of headers were subtracted twice from the 9000 B of vmbr1.
vxlan.calico has an MTU of 1300 where 1410 would fit: it adds 50 B, and vmbr1 has 1500 B and the paths to every peer carry 1460 B.
"#);
}

#[test]
fn the_smallest_path_explains_it_to_the_byte_and_any_smaller_does_not() {
    for verdict in [limited(1400, Some("10.0.0.1")), black_hole(1400)] {
        let over = |mtu| node(mtu).verdict("master-3", Plane::Underlay, verdict.clone());
        assert!(is_quiet(&over(1350)) && is_quiet(&over(1330)));
        assert_eq!(raised(&over(1329)).carries, IpSize::new(1400));
    }
}

#[test]
fn one_of_several_paths_of_equal_cost_explains_it() {
    let narrow = |carries: Option<u32>| Fate::Limited {
        carries: carries.map(IpSize::new),
        by: "10.0.0.1".parse().unwrap(),
        reported: None,
    };
    let over = |fate| node(1350).sweeps("10.0.0.12", crate::fact::Fact::Known(swept(&[Fate::Carried, fate])));
    assert!(is_quiet(&over(narrow(Some(1400)))));
    for unknown in [narrow(None), Fate::Swallowed] {
        let judgement = judge(&over(unknown));
        assert!(judgement.raised.is_empty() && judgement.unread.len() == 1, "{judgement:?}");
    }
    assert_eq!(raised(&over(Fate::Dead)).carries.bytes(), 1500, "it says nothing about sizes");
}

#[test]
fn a_sweep_while_the_whole_path_was_small_explains_nothing_once_it_is_not() {
    let fates = crate::fact::Fact::Known(swept(&[Fate::Swallowed, Fate::Swallowed]));
    assert_eq!(raised(&node(1350).sweeps("10.0.0.12", fates)).carries.bytes(), 1500);
}

#[test]
fn a_path_that_is_not_known_may_be_the_reason() {
    let unmeasured = node(1350).unmeasured("master-3", Plane::Underlay, no_right());
    let gone = node(1350).verdict("master-3", Plane::Underlay, silent());
    for (node, why) in [(&unmeasured, "CAP_NET_RAW"), (&gone, "master-3 does not answer")] {
        let judgement = judge(node);
        assert!(judgement.raised.is_empty() && judgement.unread[0].1.to_string().contains(why), "{judgement:?}");
    }
    let explained = unmeasured.verdict("master-2", Plane::Underlay, limited(1400, None));
    assert!(is_quiet(&explained), "one that is small enough is known");
}

#[test]
fn what_the_operator_says_is_another_codes_matter() {
    let mut node = node(1400);
    node.expect.overlay_mtu = Some(IpSize::new(1400));
    assert!(is_quiet(&node));
}

#[test]
fn pods_that_are_larger_are_another_codes_matter() {
    assert!(is_quiet(&Example::reference().small(&["vxlan.calico"], 1400)));
}

#[test]
fn nobody_to_talk_to_is_nothing_given_away() {
    assert!(is_quiet(&node(1400).alone()));
}

#[test]
fn an_ipv6_underlay_takes_more() {
    let node = |mtu| Example::dual("fd00::12").small(&["vxlan.calico"], mtu);
    assert!(is_quiet(&node(1430)) && is_quiet(&node(1410)));
    let evidence = raised(&node(1360));
    assert_eq!((evidence.overhead, evidence.likely), (70, Likely::SubtractedTwice));
}

#[test]
fn pods_that_leave_by_several_tunnels_have_the_mtu_of_the_smallest() {
    let pods_of = |vxlan: u32| {
        Example::two_tunnels().with("vxlan.calico", |link| link.mtu = LinkMtu::new(vxlan)).with(
            "vxlan-v6.calico",
            |link| {
                link.tunnel.as_mut().unwrap().kind = TunnelKind::Wireguard;
                link.mtu = LinkMtu::new(1420);
                link.name = "wireguard.cali".into();
            },
        )
    };
    assert!(is_quiet(&pods_of(1420)), "80 bytes for WireGuard over IPv6");
    assert_eq!(raised(&pods_of(1419)).tunnel, "vxlan.calico");
}

#[test]
fn a_tunnel_on_a_tunnel_has_what_that_leaves() {
    let nested = |mtu| {
        let node = Example::flannel().small(&["veth0a1b2c3d"], 1300);
        let node = node.vxlan("nest", mtu, Some("flannel.1"), "10.42.0.0");
        node.peer("inside", "flannel.1", "10.42.1.0").behind_tunnel("inside", "nest", "10.9.2.0", &[])
    };
    assert!(is_quiet(&nested(1400)));
    assert_eq!(raised(&nested(1350)).lower, "flannel.1");
}

#[test]
fn geneve_has_options_that_nobody_tells_of() {
    let geneve = |mtu| node(mtu).with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().kind = TunnelKind::Geneve);
    assert!(is_quiet(&geneve(1400)) && is_quiet(&geneve(1198)));
    assert_eq!(raised(&geneve(1197)).possible.bytes(), 1450);
}

#[test]
fn tunnels_without_an_mtu_of_their_own_and_those_without_pods_are_let_be() {
    let external = node(1400).with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().external = true);
    assert!(is_quiet(&external));
    let elsewhere = Example::reference().vxlan("vxlan9", 1300, Some("vmbr1"), "10.0.0.11");
    assert!(is_quiet(&elsewhere.address("vxlan9", "10.99.0.1", 24)));
}

#[test]
fn a_tunnel_whose_lower_link_is_not_known_is_not_concluded() {
    let mut node = node(1400).with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().lower = None);
    node.lookups.clear();
    node.tables.addresses = crate::fact::Fact::Unread(crate::snapshot::example::failed(Source::Addresses));
    let judgement = judge(&node);
    assert!(judgement.raised.is_empty() && judgement.unread.len() == 1, "{judgement:?}");
}

#[test]
fn the_least_of_link_path_and_way_counts() {
    let lower = node(1329).small(&["vmbr1"], 1400);
    assert_eq!(raised(&lower).carries.bytes(), 1400, "what was measured before the link shrank");
    let wider = Fate::Limited { carries: Some(IpSize::new(1400)), by: "10.0.0.1".parse().unwrap(), reported: None };
    let swept = crate::fact::Fact::Known(swept(&[Fate::Carried, wider]));
    let path = node(1300).verdict("master-2", Plane::Underlay, limited(1380, None)).sweeps("10.0.0.12", swept);
    assert_eq!(raised(&path).carries.bytes(), 1380);
}

#[test]
fn an_administrators_tunnel_explains_nothing_and_a_gateway_is_no_peer() {
    let site = node(1400).small(&["vmbr0", "enp4s0"], 1400).vxlan("vxlan9", 1300, Some("vmbr0"), "192.168.0.11");
    assert_eq!(raised(&site.address("vxlan9", "10.99.0.1", 24)).tunnel, "vxlan.calico");
    let mut gateways = node(1400);
    gateways.peers.iter_mut().for_each(|peer| peer.gateway = true);
    assert!(is_quiet(&gateways));
}

#[test]
fn only_calico_falls_back_to_its_own_size() {
    let flannel = Example::flannel().small(&["flannel.1", "cni0", "veth0a1b2c3d"], 1410);
    assert_eq!(raised(&flannel).likely, Likely::Unknown);
}
