//! Who needs forwarding, and which value decides.

use super::*;
use crate::fact::Fact;
use crate::kernel::{Inet, Inet6};
use crate::snapshot::example::{Example, failed};

/// What writing 0 to `ip_forward` does: every link has it too.
fn off(mut node: Example) -> Example {
    node.tables.ip_forward = Fact::Known(0);
    let Fact::Known(links) = &mut node.tables.links else { unreachable!() };
    links.iter_mut().for_each(|link| link.inet = Some(Inet { forwarding: false, ..link.inet.unwrap() }));
    node
}

fn off_on(node: Example, link: &str) -> Example {
    node.with(link, |link| link.inet = Some(Inet { forwarding: false, ..link.inet.unwrap() }))
}

fn off_for_ipv6(mut node: Example) -> Example {
    node.tables.ipv6_forwarding = Fact::Known(0);
    node
}

fn judge(example: &Example) -> Judgement<Evidence> {
    IpForwardOff::judge(&example.snapshot()).unwrap()
}

/// Subject, severity and sentence of the one thing raised.
fn told(example: &Example) -> Option<(String, Severity, String)> {
    let judgement = judge(example);
    assert!(judgement.unread.is_empty(), "{judgement:?}");
    let [raised] = judgement.raised.as_slice() else {
        assert!(judgement.raised.is_empty(), "{judgement:?}");
        return None;
    };
    let summary = IpForwardOff::summary(&raised.subject, &raised.evidence);
    Some((raised.subject.to_string(), raised.severity, summary))
}

#[test]
fn a_node_with_pods_needs_it() {
    let expected =
        "net.ipv4.ip_forward is 0 on a node that forwards for 2 pod links and vxlan.calico: no packet passes.";
    assert_eq!(told(&off(Example::reference())), Some(("ip_forward".into(), Severity::Critical, expected.into())));
    assert_eq!(told(&Example::reference()), None);
}

#[test]
fn a_machine_that_forwards_for_nobody_may_have_it_off() {
    let plain = || {
        let nic = Example::empty().device("eth0", "device", 1500).address("eth0", "192.0.2.5", 24);
        nic.route("0.0.0.0", 0, Some("192.0.2.1"), "eth0")
    };
    assert_eq!(told(&off(plain())), None);
    assert_eq!(told(&off_for_ipv6(plain())), None);
    assert_eq!(told(&off_on(plain(), "eth0")), None);
}

#[test]
fn links_that_forward_on_their_own_need_no_setting_for_all() {
    let on = |node: Example, link: &str| {
        node.with(link, |link| link.inet = Some(Inet { forwarding: true, ..link.inet.unwrap() }))
    };
    let mut node = off(Example::reference());
    for link in ["vxlan.calico", "cali1a2b3c4d5e6"] {
        node = on(node, link);
    }
    assert_eq!(told(&node).unwrap().0, "ip_forward", "one pod is still cut off");
    assert_eq!(told(&on(node, "cali9f8e7d6c5b4")), None);
}

#[test]
fn a_tunnel_that_does_not_forward_cuts_pods_off() {
    let (subject, severity, summary) = told(&off_on(Example::reference(), "vxlan.calico")).unwrap();
    assert_eq!((subject.as_str(), severity), ("forwarding", Severity::Critical));
    assert_eq!(summary, "Forwarding is off on vxlan.calico: what comes in there for pods or from them is dropped.");
    let raised = judge(&off_on(Example::reference(), "vxlan.calico")).raised.remove(0);
    let key = "net.ipv4.conf.vxlan/calico.forwarding".into();
    assert_eq!(IpForwardOff::fixes(&raised.subject, &raised.evidence), [Fix::Sysctl { key, value: "1".into() }]);
}

#[test]
fn pods_links_are_counted_and_a_few_are_named() {
    let mut node = Example::reference();
    for number in 4..9 {
        node = node.pod(&format!("cali{number}"), 1450, &format!("10.244.1.{number}"));
        node = off_on(node, &format!("cali{number}"));
    }
    let evidence = judge(&node).raised.remove(0).evidence;
    assert_eq!((evidence.pod_links_off, evidence.pod_links_seen.len()), (5, FEW));
    let (_, severity, summary) = told(&node).unwrap();
    assert_eq!(severity, Severity::Critical);
    assert!(summary.starts_with("Forwarding is off on 5 pod links:"), "{summary}");
}

#[test]
fn links_that_carry_nothing_of_pods_are_quiet() {
    for link in ["vmbr0", "enp4s0", "vmbr1", "enp5s0", "lo"] {
        assert_eq!(told(&off_on(Example::reference(), link)), None, "{link}");
    }
    assert_eq!(told(&off_on(Example::flannel(), "veth0a1b2c3d")), None, "a port of a bridge routes nothing");
}

#[test]
fn answers_from_the_world_are_a_warning_and_pods_bridges_critical() {
    let (_, severity, summary) = told(&off_on(Example::flannel(), "eth0")).unwrap();
    assert_eq!(severity, Severity::Warning, "{summary}");
    assert_eq!(told(&off_on(Example::flannel(), "cni0")).unwrap().1, Severity::Critical);
    let both = off_on(off_on(Example::flannel(), "eth0"), "flannel.1");
    assert_eq!(told(&both).unwrap().1, Severity::Critical);
}

#[test]
fn ipv6_is_decided_by_the_setting_for_all_links() {
    let (subject, severity, summary) = told(&off_for_ipv6(Example::two_tunnels())).unwrap();
    assert_eq!((subject.as_str(), severity), ("ipv6.forwarding", Severity::Critical));
    assert!(summary.starts_with("net.ipv6.conf.all.forwarding is 0 on a node"), "{summary}");
    let host = |link: &mut Link| link.inet6 = Some(Inet6 { forwarding: false, ..Inet6::default() });
    assert_eq!(told(&Example::two_tunnels().with("vxlan-v6.calico", host)), None, "a link's own value stops nothing");
    assert_eq!(told(&off_for_ipv6(Example::reference())), None, "its pods do not speak IPv6");
}

#[test]
fn ipv6_that_every_link_forces_passes() {
    let force = |link: &mut Link| link.inet6 = Some(Inet6 { force_forwarding: true, ..Inet6::default() });
    let node = off_for_ipv6(Example::two_tunnels()).with("vxlan-v6.calico", force);
    assert_eq!(told(&node), None);
    let pod = node.pod("cali5", 1430, "fd00:244:1::5");
    assert_eq!(told(&pod).unwrap().0, "ipv6.forwarding", "the pod's link does not");
}

#[test]
fn a_file_that_could_not_be_read_concludes_nothing() {
    let mut node = Example::reference();
    node.tables.ip_forward = Fact::Unread(failed(Source::Settings));
    assert_eq!(IpForwardOff::judge(&node.snapshot()).unwrap_err(), failed(Source::Settings));
    let mut node = Example::two_tunnels();
    node.tables.ipv6_forwarding = Fact::Unread(failed(Source::Settings));
    assert_eq!(judge(&node).unread, [(IPV6, failed(Source::Settings))]);
    let mut node = Example::reference();
    node.tables.ipv6_forwarding = Fact::Unread(failed(Source::Settings));
    assert!(judge(&node).unread.is_empty(), "nobody there speaks IPv6");
}

#[test]
fn a_dump_without_the_links_settings_concludes_nothing_of_links() {
    let node = Example::reference().with("vxlan.calico", |link| link.inet = None);
    let judgement = judge(&node);
    assert!(judgement.raised.is_empty());
    assert!(judgement.unread[0].1.to_string().contains("vxlan.calico: the link dump carries no IPv4 settings"));
    assert!(told(&off(Example::reference()).with("vxlan.calico", |link| link.inet = None)).is_some());
}

#[test]
fn whether_anybody_needs_it_has_to_be_known() {
    let mut node = off(Example::empty());
    node.tables.routes = Fact::Unread(failed(Source::Routes));
    assert_eq!(IpForwardOff::judge(&node.snapshot()).unwrap_err(), failed(Source::Routes));
    let mut unlinked = off(Example::reference());
    unlinked.tables.links = Fact::Unread(failed(Source::Links));
    assert!(IpForwardOff::judge(&unlinked.snapshot()).is_err());
}

#[test]
fn pods_alone_need_it_and_a_tunnel_for_them_does_and_another_tunnel_does_not() {
    let nic = || Example::empty().device("eth0", "device", 1500).address("eth0", "192.0.2.5", 24);
    let pods = off(nic().pod("cali1a2b3c4d5e6", 1500, "10.244.1.2"));
    assert_eq!(told(&pods).unwrap().0, "ip_forward", "routed by BGP, without a tunnel");
    let mut empty = off(Example::reference());
    let Fact::Known(links) = &mut empty.tables.links else { unreachable!() };
    links.retain(|link| !link.name.starts_with("cali"));
    assert!(told(&empty).unwrap().2.contains("0 pod links and vxlan.calico"), "no pod was started yet");
    let site = nic().vxlan("vxlan9", 1450, Some("eth0"), "192.0.2.5").address("vxlan9", "10.99.0.1", 24);
    assert_eq!(told(&off(site)), None, "an administrator's");
}

#[test]
fn where_no_link_is_known_to_count_the_setting_for_all_does() {
    let mut node = off(Example::reference()).snapshot();
    node.setup.cni = crate::snapshot::setup::Cni::Cilium;
    assert_eq!(IpForwardOff::judge(&node).unwrap().raised[0].subject, GLOBAL);
}
