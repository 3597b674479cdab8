use super::*;
use crate::declared::kubevip::StaticPods;
use crate::fact::Fact;
use crate::snapshot::example::Example;

fn pod(interface: &str) -> KubeVip {
    KubeVip {
        file: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
        interface: Given::Text(interface.into()),
        services_interface: Given::Not,
        address: Given::Text("10.0.0.10".into()),
        mode: Some(Mode::Arp),
        control_plane: true,
        services: false,
        may_be_down: false,
        lease: None,
    }
}

fn on(mut node: Example, pod: KubeVip) -> Example {
    node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: vec![pod], unread: Vec::new() });
    node
}

fn judged(node: &Example) -> Result<Judgement<Evidence>, Unread> {
    VipInterfaceMissing::judge(&node.snapshot())
}

fn told(node: &Example) -> Vec<(String, Severity, String)> {
    let one = |raised: crate::checks::Raised<Evidence>| {
        let summary = VipInterfaceMissing::summary(&raised.subject, &raised.evidence);
        (raised.subject.to_string(), raised.severity, summary)
    };
    judged(node).unwrap().raised.into_iter().map(one).collect()
}

/// The bridge of management has no part in the cluster's network.
fn down(node: Example) -> Example {
    node.with("vmbr0", |link| (link.up, link.carrier) = (false, None))
}

#[test]
fn a_link_that_there_is_not_is_told_and_one_that_works_is_quiet() {
    assert_eq!(told(&on(Example::reference(), pod("vmbr1"))), []);
    let [(subject, severity, summary)] = <[_; 1]>::try_from(told(&on(Example::reference(), pod("eth1")))).unwrap();
    assert_eq!((subject.as_str(), severity), ("eth1", Severity::Warning));
    let wanted = "kube-vip is to use eth1, which does not exist here, so this node cannot take 10.0.0.10 over.";
    assert_eq!(summary, wanted);
    let judgement = judged(&on(Example::reference(), pod("eth1"))).unwrap();
    assert_eq!(judgement.raised[0].evidence.candidates, ["vmbr1"], "the address is of its network");
}

#[test]
fn another_name_of_a_link_is_a_name() {
    let node = Example::reference().with("vmbr1", |link| link.other_names = vec!["storage0".into()]);
    assert_eq!(told(&on(node, pod("storage0"))), []);
}

#[test]
fn a_link_that_is_down_is_told_and_critical_with_the_address_on_it() {
    let [(subject, severity, summary)] =
        <[_; 1]>::try_from(told(&on(down(Example::reference()), pod("vmbr0")))).unwrap();
    assert_eq!((subject.as_str(), severity), ("vmbr0", Severity::Warning));
    assert!(summary.contains("is set down, so this node cannot take 10.0.0.10 over"), "{summary}");
    let held = on(down(Example::reference().address("vmbr0", "10.0.0.10", 32)), pod("vmbr0"));
    let [(_, severity, summary)] = <[_; 1]>::try_from(told(&held)).unwrap();
    assert!(severity == Severity::Critical && summary.contains("nobody reaches that"), "{summary}");
    let idle = Example::reference().with("vmbr0", |link| link.carrier = Some(false));
    assert!(told(&on(idle, pod("vmbr0")))[0].2.contains("has no carrier"));
}

#[test]
fn a_link_that_may_be_down_matters_only_with_the_address_on_it() {
    let lenient = || KubeVip { may_be_down: true, ..pod("vmbr0") };
    assert_eq!(told(&on(down(Example::reference()), lenient())), []);
    assert_eq!(told(&on(down(Example::reference().address("vmbr0", "10.0.0.10", 32)), lenient())).len(), 1);
    assert_eq!(
        told(&on(Example::reference(), KubeVip { interface: Given::Text("eth1".into()), ..lenient() })).len(),
        1
    );
}

#[test]
fn what_kube_vip_chooses_or_makes_and_lo_are_quiet() {
    for quiet in [
        KubeVip { interface: Given::Not, ..pod("x") },
        pod("auto"),
        KubeVip { mode: Some(Mode::Bgp), ..pod("lo") },
        KubeVip { mode: Some(Mode::Wireguard), ..pod("wg0") },
    ] {
        assert_eq!(told(&on(Example::reference(), quiet.clone())), [], "{quiet:?}");
    }
    let services = KubeVip { services_interface: Given::Text("eth7".into()), ..pod("vmbr1") };
    assert_eq!(told(&on(Example::reference(), services))[0].0, "eth7", "kube-vip looks at both");
}

#[test]
fn a_machine_without_kube_vip_is_quiet_and_what_could_not_be_read_is_named() {
    assert_eq!(told(&Example::reference()), []);
    let mut node =
        on(Example::reference(), KubeVip { interface: Given::Elsewhere { place: "$(NIC)".into() }, ..pod("x") });
    let why = judged(&node).unwrap().unread.remove(0).1.to_string();
    assert!(why.contains("vip_interface may come from $(NIC)"), "{why}");
    let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission to read x".into() });
    node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: vec![pod("eth1")], unread: vec![denied] });
    let judgement = judged(&node).unwrap();
    assert_eq!((judgement.raised.len(), judgement.unread.len()), (1, 1), "one is known to be wrong all the same");
}

#[test]
fn a_link_that_has_a_code_of_its_own_for_it_is_the_one_loud_finding() {
    use crate::checks::judge_all;
    use crate::config::Work;
    use crate::history::Standing;
    let loud = |node: &Example| {
        let node = node.snapshot();
        let raised = judge_all(&node, Work::Agent).into_iter().filter_map(|outcome| outcome.result.ok());
        let raised = raised.flat_map(|looked| looked.raised);
        let mut standing: Vec<_> =
            raised.map(|candidate| Standing { candidate, since: jiff::Timestamp::UNIX_EPOCH }).collect();
        let causes = crate::silence::apply(&mut standing, &node);
        let loud = standing.iter().zip(causes).filter(|(_, cause)| cause.is_none());
        loud.map(|(one, _)| one.candidate.entry.code).collect::<Vec<_>>()
    };
    let set_down = |link: &mut Link| (link.up, link.carrier) = (false, None);
    let node = || on(Example::reference(), pod("vmbr1"));
    assert_eq!(loud(&node().with("vmbr1", set_down)), ["link-down"]);
    let dead = node().with("enp5s0", set_down).with("vmbr1", |link| link.carrier = Some(false));
    assert_eq!(loud(&dead), ["link-down"]);
    let unplugged = node().with("enp5s0", |link| link.master = None).with("vmbr1", |link| link.carrier = Some(false));
    assert_eq!(loud(&unplugged), ["bridge-no-uplink"]);
}

#[test]
fn a_dead_nic_below_is_the_cause() {
    let carries =
        |node: &Example| node.snapshot().carries(&Subject::Link("enp5s0".into()), &Subject::Link("vmbr1".into()));
    assert!(carries(&on(Example::reference(), pod("vmbr1"))));
}

/// Which findings of this code would clear, told by their manifest.
fn clears(judgement: &Judgement<Evidence>, manifest: &str) -> bool {
    let evidence = serde_json::json!({ "manifest": manifest });
    !judgement.kept.iter().any(|kept| kept.has(&evidence))
}

/// Could fail by either: what an unreadable manifest named would clear, or what a readable one named never would.
#[test]
fn what_an_unreadable_manifest_named_stays_and_what_another_named_is_judged() {
    let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission to read x".into() });
    let mut node = Example::reference();
    let of = |interface: &str| StaticPods { kube_vip: vec![pod(interface)], unread: vec![denied.clone()] };
    for (interface, raised) in [("eth1", 1), ("vmbr1", 0)] {
        node.tables.declared.static_pods = Fact::Known(of(interface));
        let judgement = judged(&node).unwrap();
        assert_eq!((judgement.raised.len(), judgement.unread.len()), (raised, 1));
        assert!(!clears(&judgement, "/etc/kubernetes/manifests/other.yaml"));
        assert!(clears(&judgement, &pod("x").file), "it was read");
    }
    node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: vec![pod("eth1")], unread: Vec::new() });
    assert!(clears(&judged(&node).unwrap(), "/etc/kubernetes/manifests/other.yaml"), "it is gone");
    node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: Vec::new(), unread: vec![denied.clone()] });
    assert_eq!(judged(&node).unwrap_err(), denied);
}

#[test]
fn a_link_that_two_manifests_name_is_one_finding_as_severe_as_the_worse() {
    let node = down(Example::reference().address("vmbr0", "10.0.0.10", 32));
    let other = || KubeVip { address: Given::Text("10.0.0.99".into()), file: "/m/other".into(), ..pod("vmbr0") };
    for pods in [vec![pod("vmbr0"), other()], vec![other(), pod("vmbr0")]] {
        let mut node = node.clone();
        node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: pods, unread: Vec::new() });
        let [(subject, severity, _)] = <[_; 1]>::try_from(told(&node)).unwrap();
        assert_eq!((subject.as_str(), severity), ("vmbr0", Severity::Critical));
    }
}

#[test]
fn a_candidate_works_and_is_of_the_addresss_network() {
    let candidates = |node: Example| judged(&on(node, pod("eth1"))).unwrap().raised.remove(0).evidence.candidates;
    assert_eq!(candidates(Example::reference().address("vmbr0", "10.0.0.10", 24)), ["vmbr1"], "it holds it itself");
    let idle = down(Example::reference().address("vmbr0", "10.0.0.77", 24));
    assert_eq!(candidates(idle), ["vmbr1"]);
}
