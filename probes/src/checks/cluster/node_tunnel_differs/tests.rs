use super::*;
use crate::card::Told;
use crate::snapshot::example::Example;
use crate::units::IpSize;

fn judged(node: &Example) -> Judgement<Evidence> {
    NodeTunnelDiffers::judge(&node.snapshot()).unwrap()
}

/// Both peers of the reference say the same of theirs.
fn others(change: fn(&mut Told)) -> Example {
    Example::reference().says("master-2", change).says("master-3", change)
}

fn differs(node: &Example) -> Vec<(What, String, String)> {
    let raised = judged(node).raised;
    let all = raised.into_iter().flat_map(|raised| raised.evidence.differs);
    all.map(|one| (one.what, one.here, one.most)).collect()
}

#[test]
fn another_port_or_identifier_is_another_tunnel() {
    let node = others(|told| told.tunnels[0].port = Some(8472));
    assert_eq!(differs(&node), [(What::Port, "4789".into(), "8472".into())]);
    assert_eq!(judged(&node).raised[0].severity, Severity::Warning);
    let node = others(|told| (told.tunnels[0].id, told.tunnels[0].port) = (Some(1), Some(8472)));
    assert_eq!(differs(&node).len(), 2);
    assert_eq!(differs(&Example::reference()), []);
    let one = Example::reference().says("master-2", |told| told.tunnels[0].port = Some(8472));
    assert_eq!(differs(&one), [], "another one is odd, and says so itself");
}

#[test]
fn one_node_that_still_has_the_old_kind_is_seen() {
    let node = others(|told| {
        let tunnel = &mut told.tunnels[0];
        (tunnel.link, tunnel.kind, tunnel.id, tunnel.port) = ("tunl0".into(), "ipip".into(), None, None);
    });
    let found = differs(&node);
    assert_eq!(found[0], (What::Kind, "vxlan".into(), "ipip".into()));
    assert_eq!(found[1], (What::Id, "4096".into(), "none".into()));
}

#[test]
fn with_several_tunnels_only_those_of_one_name_are_compared() {
    let node = others(|told| {
        told.tunnels[0].link = "tunl0".into();
        told.tunnels.push(ToldTunnel { link: "other".into(), ..told.tunnels[0].clone() });
    });
    assert!(judged(&node).raised.is_empty());
    assert_eq!(judged(&node).unread.len(), 1, "there is none over there to hold it against");
}

#[test]
fn a_smaller_tunnel_costs_its_own_pods_and_a_larger_one_breaks_others() {
    let larger = others(|told| told.tunnels[0].mtu = Some(LinkMtu::new(1400)));
    let smaller = others(|told| told.tunnels[0].mtu = Some(LinkMtu::new(1480)));
    assert_eq!(judged(&larger).raised[0].severity, Severity::Warning);
    assert_eq!(judged(&smaller).raised[0].severity, Severity::Info);
    let mut meant = larger.clone();
    meant.expect.overlay_mtu = Some(IpSize::new(1450));
    assert!(judged(&meant).raised.is_empty(), "the operator's word is compared by another code");
    let evidence = &judged(&larger).raised[0].evidence;
    let fixes = NodeTunnelDiffers::fixes(&Subject::Pods, evidence);
    assert_eq!(fixes, [Fix::OverlayMtu { tunnel: "vxlan.calico".into(), mtu: LinkMtu::new(1400), overhead: 50 }]);
}

#[test]
fn two_nodes_only_differ_and_without_a_tunnel_there_is_nothing_to_compare() {
    let pair = Example::flannel().says("worker", |told| told.tunnels[0].port = Some(8472));
    assert_eq!(judged(&pair).raised[0].severity, Severity::Info);
    let (subject, _, evidence) = NodeTunnelDiffers::example();
    let told = NodeTunnelDiffers::summary(&subject, &evidence);
    let wanted = "on most of 4 nodes, master-2, master-3 and app-worker among them: UDP port 8472 in place of 4789.";
    assert!(told.ends_with(wanted), "{told}");
    let bare = Example::empty().device("eth0", "device", 1500).address("eth0", "10.0.0.11", 24);
    let bare = bare.peer("master-2", "eth0", "10.0.0.12").mute("master-2", "did not answer in time");
    assert!(judged(&bare).raised.is_empty() && judged(&bare).unread.is_empty());
}

#[test]
fn who_does_not_answer_has_no_say() {
    let node = others(|told| told.tunnels[0].port = Some(8472)).mute("master-3", "did not answer in time");
    let judgement = judged(&node);
    assert!(judgement.raised.is_empty() && judgement.unread[0].1.to_string().contains("did not answer in time"));
}
