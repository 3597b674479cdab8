//! Ports that are closed here, there and on the way, and those that are not.

use super::*;
use crate::fact::{Fact, Source};
use crate::snapshot::example::{Example, failed, ip, no_right, silent};

fn judge(example: &Example) -> Judgement<Evidence> {
    TunnelPortClosed::judge(&example.snapshot()).unwrap()
}

fn told(example: &Example) -> (Evidence, String) {
    let mut judgement = judge(example);
    assert_eq!(judgement.raised.len(), 1, "{judgement:?}");
    let raised = judgement.raised.remove(0);
    assert_eq!(raised.breaks, std::slice::from_ref(&raised.subject));
    let summary = TunnelPortClosed::summary(&raised.subject, &raised.evidence);
    (raised.evidence, summary)
}

fn quiet(example: &Example) -> bool {
    judge(example).raised.is_empty()
}

fn refused(by: &str) -> Verdict {
    Verdict::Unreachable { why: Unreachable::Refused { by: ip(by), why: Refusal::TunnelPortUnreachable } }
}

fn bind(mut node: Example, family: Family, port: u16) -> Example {
    let Fact::Known(ports) = &mut node.tables.ports else { unreachable!() };
    ports.push(BoundPort { family, port, uid: 1000 });
    node
}

fn down() -> Example {
    Example::reference().with("vxlan.calico", |link| link.up = false)
}

#[test]
fn open_ports_are_quiet() {
    for node in [Example::reference(), Example::flannel(), Example::two_tunnels()] {
        assert!(quiet(&node));
    }
}

#[test]
fn a_peer_that_refuses_outer_packets_has_no_such_port() {
    let (evidence, summary) = told(&Example::reference().verdict("master-2", Plane::Overlay, refused("10.0.0.12")));
    assert_eq!(evidence.at, At::Peer);
    assert_eq!(
        summary,
        "master-2 (10.244.2.0) has UDP 4789 closed, or rejects it: 10.0.0.12 answers vxlan.calico's packets with port \
         unreachable."
    );
}

#[test]
fn where_a_refusal_would_go_unseen_a_silent_tunnel_is_not_judged() {
    let node = Example::reference().verdict("master-2", Plane::Overlay, silent());
    assert!(judge(&node).unread.is_empty(), "raw sockets would have seen one");
    let node = Snapshot { wire: Wire::Ping, ..node.snapshot() };
    let judgement = TunnelPortClosed::judge(&node).unwrap();
    let (subject, why) = &judgement.unread[0];
    assert!(judgement.raised.is_empty() && judgement.unread.len() == 1, "a tunnel that answers is open: {judgement:?}");
    assert!(subject.to_string().contains("master-2") && why.to_string().contains("CAP_NET_RAW"), "{why}");
}

#[test]
fn somebody_else_who_refuses_them_is_on_the_way() {
    let (evidence, summary) = told(&Example::reference().verdict("master-2", Plane::Overlay, refused("10.0.0.1")));
    assert_eq!(evidence.at, At::Between);
    assert!(
        summary.starts_with("10.0.0.1 rejects UDP 4789 on the way to master-2 (10.244.2.0) at 10.0.0.12"),
        "{summary}"
    );
}

#[test]
fn packets_that_are_encapsulated_here_are_refused_alike() {
    let node = Example::reference().outer_verdict("master-2", refused("10.0.0.12"));
    assert!(quiet(&node), "the tunnel delivers: a rule about our own packets");
    assert_eq!(told(&node.verdict("master-2", Plane::Overlay, silent())).0.at, At::Peer);
}

#[test]
fn silence_another_refusal_and_a_filter_of_this_node_are_no_closed_port() {
    assert!(quiet(&Example::reference().verdict("master-2", Plane::Overlay, silent())));
    let why = Unreachable::Refused { by: ip("10.0.0.12"), why: Refusal::PortUnreachable };
    assert!(quiet(&Example::reference().verdict("master-2", Plane::Overlay, Verdict::Unreachable { why })));
    assert!(quiet(&Example::reference().verdict("master-2", Plane::Overlay, refused("10.0.0.11"))));
    let lost = Example::reference().verdict("master-2", Plane::Overlay, refused("10.0.0.12"));
    assert!(quiet(&lost.verdict("master-2", Plane::Underlay, silent())), "the node is lost");
}

#[test]
fn a_port_that_another_program_took_keeps_the_tunnel_down() {
    assert!(quiet(&down()), "set down, and nobody has the port");
    let node = bind(down(), Family::Ipv4, 4789);
    let (evidence, summary) = told(&node);
    assert_eq!((evidence.at, evidence.taken.len()), (At::Here, 1));
    assert_eq!(
        summary,
        "vxlan.calico is down and cannot come up: UDP 4789 is taken by another program (a socket of ipv4 and uid 1000)."
    );
    assert_eq!(told(&bind(down(), Family::Ipv6, 4789)).0.taken[0].family, Family::Ipv6, "it may take both");
}

#[test]
fn another_port_and_a_tunnel_that_is_up_are_quiet() {
    assert!(quiet(&bind(down(), Family::Ipv4, 4790)));
    assert!(quiet(&bind(Example::reference(), Family::Ipv4, 4789)), "its own");
}

#[test]
fn tunnels_share_a_port_in_each_family() {
    let two = || {
        Example::reference().vxlan("vxlan9", 1450, Some("vmbr1"), "10.0.0.11").with("vxlan.calico", |link| {
            link.up = false;
        })
    };
    assert!(quiet(&bind(two(), Family::Ipv4, 4789)), "the other tunnel's");
    let six = |family, taken| {
        let node = Example::two_tunnels().with(family, |link| link.up = false);
        quiet(&bind(node, taken, 4789))
    };
    assert!(six("vxlan.calico", Family::Ipv6), "the tunnel over IPv6 has it open");
    assert!(!six("vxlan.calico", Family::Ipv4));
    assert!(six("vxlan-v6.calico", Family::Ipv4));
    assert!(!six("vxlan-v6.calico", Family::Ipv6));
}

#[test]
fn what_could_not_be_read_freezes() {
    let mut node = down();
    node.tables.ports = Fact::Unread(failed(Source::Counters));
    assert_eq!(judge(&node).unread.len(), 1);
    let mut node = Example::reference();
    node.tables.ports = Fact::Unread(failed(Source::Counters));
    assert!(judge(&node).unread.is_empty(), "nobody asks while the tunnel is up");
    assert_eq!(judge(&node.unmeasured("master-2", Plane::Overlay, no_right())).unread.len(), 1);
}
