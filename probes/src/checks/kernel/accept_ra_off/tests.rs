//! Nodes that learned IPv6 from a router, at every time of the fault, and the ones that only look like it.

use super::*;
use crate::fact::Source;
use crate::kernel::{Hop, Inet6};
use crate::path::{Plane, Verdict};
use crate::snapshot::example::{Example, failed, ip, no_route};

/// A node with forwarding on, as `accept_ra` finds it: one NIC, no address of IPv6, no default route.
fn node(accept_ra: i32) -> Example {
    let settings = move |link: &mut Link| link.inet6 = Some(Inet6 { forwarding: true, accept_ra, ..Inet6::default() });
    let node = Example::empty().device("eth0", "device", 1500).address("eth0", "192.0.2.5", 24);
    node.with("eth0", settings)
}

fn with_address(node: Example) -> Example {
    let mut node = node.address("eth0", "2001:db8:9::5", 64);
    let Fact::Known(addresses) = &mut node.tables.addresses else { unreachable!() };
    let made = addresses.last_mut().unwrap();
    (made.autoconfigured, made.valid) = (true, Some(Duration::from_secs(3600)));
    node
}

fn with_route(node: Example, protocol: u8, seconds: Option<u64>) -> Example {
    let mut node = node.route("::", 0, Some("fe80::1"), "eth0");
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    let default = routes.last_mut().unwrap();
    (default.protocol, default.expires) = (protocol, seconds.map(Duration::from_secs));
    node
}

/// Everything that a router advertises.
fn advertised(accept_ra: i32) -> Example {
    with_route(with_address(node(accept_ra)), ADVERTISED, Some(1800))
}

fn judge(node: &Example) -> Judgement<Evidence> {
    AcceptRaOff::judge(&node.snapshot()).unwrap()
}

fn told(node: &Example) -> Option<(Severity, DefaultRoute)> {
    let judgement = judge(node);
    assert!(judgement.unread.is_empty());
    let raised = judgement.raised.first()?;
    assert_eq!(raised.subject, SUBJECT);
    Some((raised.severity, raised.evidence.links[0].default_route))
}

const RUNS_OUT: Option<(Severity, DefaultRoute)> = Some((Severity::Warning, DefaultRoute::RunsOut));
const GONE: Option<(Severity, DefaultRoute)> = Some((Severity::Warning, DefaultRoute::Gone));

#[test]
fn a_route_that_runs_out_is_seen_before_it_has() {
    assert_eq!(told(&advertised(1)), RUNS_OUT);
    let raised = judge(&advertised(1)).raised.remove(0);
    let deaf = &raised.evidence.links[0];
    assert_eq!((deaf.route_expires_seconds, deaf.address_expires_seconds), (Some(1800), Some(3600)));
    assert_eq!((deaf.addresses.as_slice(), deaf.only_these), (&[ip("2001:db8:9::5")][..], true));
    let key = "net.ipv6.conf.eth0.accept_ra".into();
    assert_eq!(AcceptRaOff::fixes(&SUBJECT, &raised.evidence), [Fix::Sysctl { key, value: "2".into() }]);
    assert_eq!(
        AcceptRaOff::summary(&SUBJECT, &raised.evidence),
        "eth0 forwards with accept_ra 1, so the kernel leaves router advertisements aside: the IPv6 default route runs out."
    );
}

#[test]
fn a_link_that_listens_or_that_somebody_else_listens_for_is_quiet() {
    assert_eq!([told(&advertised(2)), told(&advertised(0))], [None, None]);
    let host = |link: &mut Link| link.inet6 = Some(Inet6 { accept_ra: 1, ..Inet6::default() });
    assert_eq!(told(&advertised(1).with("eth0", host)), None, "it does not forward, and listens");
    assert_eq!(told(&advertised(1).with("eth0", |link| link.inet6 = None)), None);
    assert_eq!(told(&advertised(1).with("eth0", |link| link.up = false)), None);
}

#[test]
fn a_route_that_was_taken_away_is_seen_by_the_address_that_stayed() {
    assert_eq!(told(&with_address(node(1))), GONE);
    assert_eq!(told(&with_route(with_address(node(1)), ADVERTISED, Some(0))), GONE, "it has run out");
    assert_eq!(told(&node(1)), None, "nothing shows that a router was ever heard");
}

#[test]
fn addresses_and_routes_of_its_own_cost_nothing() {
    let of_its_own = with_route(node(1).address("eth0", "2001:db8::5", 64), 4, None);
    assert_eq!(told(&of_its_own), None);
    assert_eq!(told(&with_address(of_its_own.clone())), None, "an address more, which nobody needs");
    assert_eq!(told(&with_route(of_its_own, ADVERTISED, Some(1800))), None, "a route more");
}

#[test]
fn a_link_that_loses_its_only_address_is_one_even_with_a_default_route() {
    let node = with_route(with_address(node(1)), 4, None);
    assert_eq!(told(&node), Some((Severity::Warning, DefaultRoute::Stays)));
    let evidence = judge(&node).raised.remove(0).evidence;
    assert!(AcceptRaOff::summary(&SUBJECT, &evidence).ends_with("aside: the IPv6 addresses run out."));
}

#[test]
fn a_default_route_by_another_link_that_listens_is_none_that_is_lost() {
    let other = advertised(1).device("eth1", "device", 1500).with("eth1", |link| {
        link.inet6 = Some(Inet6 { forwarding: true, accept_ra: 2, ..Inet6::default() });
    });
    let eth1 = other.index("eth1");
    let mut other = with_route(other.address("eth0", "2001:db8::5", 64), ADVERTISED, Some(900));
    let Fact::Known(routes) = &mut other.tables.routes else { unreachable!() };
    routes.last_mut().unwrap().hops = vec![Hop { gateway: Some(ip("fe80::2")), link: eth1 }];
    assert_eq!(told(&other), None);
}

/// The same node with a peer to which no route leads.
fn cut(node: Example) -> Example {
    let mut node = node.peer("worker", "eth0", "2001:db8:7::7").verdict("worker", Plane::Underlay, no_route());
    node.lookups.insert(ip("2001:db8:7::7"), Fact::Absent);
    node
}

#[test]
fn a_peer_without_route_makes_it_critical_and_is_explained() {
    let raised = judge(&cut(with_address(node(1)))).raised.remove(0);
    assert_eq!((raised.severity, raised.evidence.peers.as_slice()), (Severity::Critical, &["worker".to_owned()][..]));
    assert!(matches!(raised.breaks.as_slice(), [Subject::Path { plane: Plane::Underlay, .. }]));
    let told = AcceptRaOff::summary(&SUBJECT, &raised.evidence);
    assert!(told.ends_with("the IPv6 default route is gone, and none leads to worker."), "{told}");
}

#[test]
fn long_afterwards_the_kernels_note_is_all_that_is_left() {
    let heard = |link: &mut Link| link.inet6.as_mut().unwrap().heard_router = true;
    assert_eq!(told(&node(1).with("eth0", heard)), None, "nobody misses the route");
    let expected = Some((Severity::Critical, DefaultRoute::Gone));
    assert_eq!(told(&cut(node(1)).with("eth0", heard)), expected);
    assert_eq!(told(&cut(node(1))), None, "the route is missing, and no router was ever heard");
}

#[test]
fn pods_links_and_tunnels_have_no_router() {
    let clear = Example::two_tunnels();
    assert_eq!(told(&clear), None);
    let mut node = Example::two_tunnels();
    let Fact::Known(addresses) = &mut node.tables.addresses else { unreachable!() };
    for own in addresses.iter_mut().filter(|own| own.address == ip("fd00:244:1::")) {
        (own.autoconfigured, own.valid) = (true, Some(Duration::from_secs(60)));
    }
    assert_eq!(told(&node.verdict("master-2", Plane::Pod, Verdict::Unknown { why: "-".into() })), None);
}

#[test]
fn what_could_not_be_read_concludes_nothing() {
    for (source, take) in [
        (Source::Links, (|node| node.tables.links = Fact::Unread(failed(Source::Links))) as fn(&mut Example)),
        (Source::Addresses, |node| node.tables.addresses = Fact::Unread(failed(Source::Addresses))),
        (Source::Routes, |node| node.tables.routes = Fact::Unread(failed(Source::Routes))),
    ] {
        let mut node = advertised(1);
        take(&mut node);
        assert_eq!(AcceptRaOff::judge(&node.snapshot()).unwrap_err(), failed(source));
    }
}

fn last_route(mut node: Example, change: impl FnOnce(&mut Route)) -> Example {
    let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
    change(routes.last_mut().unwrap());
    node
}

fn last_address(mut node: Example, change: impl FnOnce(&mut Address)) -> Example {
    let Fact::Known(addresses) = &mut node.tables.addresses else { unreachable!() };
    change(addresses.last_mut().unwrap());
    node
}

#[test]
fn only_a_route_that_packets_of_ipv6_take_stands_in_for_the_one_that_went() {
    let gone = || with_address(node(1));
    let refuses = last_route(gone().route("::", 0, None, "lo"), |route| route.kind = RouteKind::Refuse);
    assert_eq!(told(&refuses), GONE, "the kernel's own `unreachable default`");
    assert_eq!(told(&gone().route("0.0.0.0", 0, Some("192.0.2.1"), "eth0")), GONE, "one of IPv4");
}

#[test]
fn a_route_runs_out_only_if_a_router_gave_it_for_a_time() {
    let own = || node(1).address("eth0", "2001:db8::5", 64);
    assert_eq!(told(&with_route(own(), ADVERTISED, None)), None, "advertised for ever");
    assert_eq!(told(&with_route(own(), 4, Some(60))), None, "somebody wrote it down for a minute");
    assert_eq!(told(&with_route(node(1), 4, None)), None, "without an address nothing runs out");
}

#[test]
fn an_address_is_a_routers_only_if_the_kernel_made_it_for_a_time() {
    let stays = |node| with_route(node, 4, None);
    let ever = last_address(with_address(node(1)), |own| own.valid = None);
    assert_eq!(told(&stays(ever)), None, "its lifetime has no end");
    let leased = last_address(with_address(node(1)), |own| own.autoconfigured = false);
    assert_eq!(told(&stays(leased)), None, "DHCP renews it");
    let linked = last_address(with_address(node(1)).address("eth0", "fe80::5", 64), |own| own.global = false);
    assert_eq!(told(&stays(linked)), Some((Severity::Warning, DefaultRoute::Stays)), "every link has one of its own");
}

#[test]
fn peers_are_cut_off_by_this_only_where_the_route_is_gone_and_they_are_known_to_have_none() {
    let lookup = |mut node: Example, answer| {
        node.lookups.insert(ip("2001:db8:7::7"), answer);
        node
    };
    let unread = lookup(cut(with_address(node(1))), Fact::Unread(failed(Source::Routes)));
    assert_eq!(told(&unread), GONE, "nobody could ask");
    assert_eq!(told(&cut(advertised(1))), RUNS_OUT, "something else cuts them off");
    let mut old = with_address(node(1)).peer("worker", "eth0", "192.0.2.9");
    old.lookups.insert(ip("192.0.2.9"), Fact::Absent);
    assert_eq!(told(&old), GONE, "a peer of IPv4");
}

#[test]
fn a_pods_link_has_no_router() {
    let pod = "cali1a2b3c4d5e6";
    let closed = |link: &mut Link| link.inet6 = Some(Inet6 { forwarding: true, accept_ra: 1, ..Inet6::default() });
    let made = Example::reference().with(pod, closed).address(pod, "2001:db8:9::5", 64);
    let made = last_address(made, |own| (own.autoconfigured, own.valid) = (true, Some(Duration::from_secs(60))));
    assert_eq!(told(&made), None);
}
