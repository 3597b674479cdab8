//! From peers to paths: which addresses are probed, what each should carry, and by which links it leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::checks::kernel::rp_filter_strict;
use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{LinkIndex, Query, Route, RouteKind};
use crate::path::{PathKey, Plane, Target, Task, TunnelEnd};
use crate::peers::Peer;
use crate::prober::Wire;
use crate::report::Role;
use crate::snapshot::setup::{POD_GATEWAY, by_proxy};
use crate::snapshot::topology::outer;
use crate::snapshot::{Cached, Path, Snapshot};
use crate::units::IpSize;

use super::{encapsulation, sweeps};

/// What is probed where the kernel knows no route, and so no size: the send itself will fail and say why.
pub(crate) const WITHOUT_ROUTE: IpSize = IpSize::new(1500);

/// What to ask the kernel: the way to every address of a peer, from where it is probed, that of outer packets, that to the
/// gateway of Calico's pods, and the ways back that a strict filter checks.
pub(super) fn queries(node: &Snapshot) -> Vec<Query> {
    let sources = outer::sources(&node.tables, &node.peers);
    let paths = node.peers.iter().flat_map(keys).map(|key| query(&key, &sources));
    let mut queries = outer::queries(&node.tables, &node.peers);
    queries.extend(paths);
    queries.extend(rp_filter_strict::queries(&node.tables, &node.peers));
    queries.extend(node.tables.links().iter().any(by_proxy).then_some(Query::from(POD_GATEWAY)));
    queries.into_iter().collect()
}

/// Takes in what the kernel answered.
pub(super) fn take_routes(node: &mut Snapshot, answers: BTreeMap<Query, Fact<Route>>) {
    let sources = outer::sources(&node.tables, &node.peers);
    let answer = |key: PathKey| Some((key.address, answers.get(&query(&key, &sources))?.clone()));
    let gateway = answers.get(&Query::from(POD_GATEWAY)).map(|route| (POD_GATEWAY, route.clone()));
    node.lookups = node.peers.iter().flat_map(keys).filter_map(answer).chain(gateway).collect();
    node.outer = answers;
}

/// The network below a tunnel is probed from where the tunnel sends: with policy routing another source goes another
/// way, and what it measured would be the way of nobody's packets.
fn query(key: &PathKey, sources: &BTreeMap<IpAddr, IpAddr>) -> Query {
    let from = sources.get(&key.address).copied().filter(|_| key.plane == Plane::Underlay);
    Query { to: key.address, from }
}

/// Every path, with what was measured last as long as as much is expected of it. Where probing is impossible that is
/// said of each.
pub(crate) fn paths(node: &Snapshot, probing: &Result<(), Unread>, ecmp_ports: u16) -> BTreeMap<PathKey, Path> {
    let unread = probing.clone().err().unwrap_or(Unread::new(Source::Probes, Reason::NotYet));
    let below = if node.wire == Wire::Ping { encapsulation::denied() } else { unread.clone() };
    let path = |key: PathKey| {
        let expected = expected(node, &key);
        let last = node.paths.get(&key).filter(|last| probing.is_ok() && last.expected == expected);
        let path = Path {
            expected,
            cached: node.tables.exception(key.address).map(Cached::from),
            via: via(node, key.address),
            measured: last.map_or_else(|| Fact::Unread(unread.clone()), |last| last.measured.clone()),
            outer: match (encapsulation::of(node, &key), last) {
                (None, _) => Fact::Absent,
                (Some(_), Some(last)) if last.outer != Fact::Absent => last.outer.clone(),
                (Some(_), _) => Fact::Unread(below.clone()),
            },
            anyone: match (encapsulation::for_anyone(node, &key), last) {
                (None, _) => Fact::Absent,
                (Some(_), Some(last)) if last.anyone != Fact::Absent => last.anyone.clone(),
                (Some(_), _) => Fact::Unread(unread.clone()),
            },
            losses: node.paths.get(&key).map(|last| last.losses.clone()).unwrap_or_default(),
            spread: sweeps::kept(last, &key, ecmp_ports, || Fact::Unread(unread.clone())),
            probed_at: last.and_then(|last| last.probed_at),
            transfer: last.map_or(Fact::Absent, |last| last.transfer.clone()),
        };
        (key, path)
    };
    node.peers.iter().flat_map(keys).map(path).collect()
}

/// What the prober is to measure of these peers.
pub(super) fn of(node: &Snapshot, includes: impl Fn(&str) -> bool) -> Vec<Target> {
    let sources = outer::sources(&node.tables, &node.peers);
    let target = |(key, path): (&PathKey, &Path)| Target {
        key: key.clone(),
        from: query(key, &sources).from,
        expected: path.expected.unwrap_or(WITHOUT_ROUTE),
        tunnel: tunnel_end(node, key.address),
        task: Task::Mtu { hops: false, sample: path.losses.is_doubtful() },
    };
    let picked = || node.paths.iter().filter(|(key, _)| includes(&key.peer));
    let below = picked().flat_map(|(key, _)| outer(node, key).into_iter().chain(anyone(node, key)));
    picked().map(target).chain(below).collect()
}

/// What tells a far end that lost its hardware address from one that nothing reaches.
fn anyone(node: &Snapshot, key: &PathKey) -> Option<Target> {
    let encapsulation = encapsulation::for_anyone(node, key)?;
    Some(Target { task: Task::Anyone(encapsulation), ..outer(node, key)? })
}

/// What measures the network below a tunnel, beside the path through it.
pub(crate) fn outer(node: &Snapshot, key: &PathKey) -> Option<Target> {
    if node.wire == Wire::Ping {
        return None;
    }
    let (encapsulation, expected) = encapsulation::of(node, key)?;
    let from = encapsulation::device(node, key)?.0.tunnel.as_ref()?.local;
    let from = from.filter(|&from| node.tables.is_own(from));
    Some(Target { key: key.clone(), from, expected, tunnel: None, task: Task::Outer(encapsulation) })
}

pub(super) fn keys(peer: &Peer) -> Vec<PathKey> {
    let key = |plane: Plane| move |address: IpAddr| PathKey { peer: peer.name.clone(), plane, address };
    let underlay = peer.underlay.into_iter().map(key(Plane::Underlay));
    let overlay = peer.overlay.into_iter().map(key(Plane::Overlay));
    underlay.chain(overlay).chain(peer.pods.iter().copied().map(key(Plane::Pod))).collect()
}

pub(crate) fn route(node: &Snapshot, address: IpAddr) -> Option<&Route> {
    node.lookups.get(&address)?.known().filter(|route| matches!(route.kind, RouteKind::Unicast | RouteKind::Local))
}

/// The smallest of route and device MTU over every next hop, cached path MTUs left out; on the underlay no more than
/// the operator means it to be. To a pod no more than the pods here can send: where routes lead straight to a peer, its
/// NIC takes more than pods that are made for a tunnel, and their smaller links are no fault of the path.
fn expected(node: &Snapshot, key: &PathKey) -> Option<IpSize> {
    let route = route(node, key.address)?;
    let devices = route.hops.iter().filter_map(|hop| node.tables.link(hop.link)).map(|link| link.mtu.carries());
    let meant = node.expect.underlay_mtu.filter(|_| key.plane == Plane::Underlay);
    let pods = largest_pod(node).filter(|_| key.plane == Plane::Pod);
    let device = devices.min()?;
    Some(route.mtu.into_iter().chain(meant).chain(pods).fold(device, Ord::min).min(IpSize::MAX))
}

/// The largest packet that a pod of this machine can send; `None` where it has none.
fn largest_pod(node: &Snapshot) -> Option<IpSize> {
    let pods = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod);
    pods.map(|link| link.mtu.carries()).max()
}

fn via(node: &Snapshot, address: IpAddr) -> Vec<LinkIndex> {
    let mut via = Vec::new();
    for hop in route(node, address).into_iter().flat_map(|route| &route.hops) {
        let chain = node.topology.chain(hop.link);
        via.extend(chain.into_iter().filter(|link| !via.contains(link)).collect::<Vec<_>>());
    }
    via
}

/// The far end of the tunnel that leads to an address, where one does.
pub(crate) fn tunnel_end(node: &Snapshot, address: IpAddr) -> Option<TunnelEnd> {
    let hop = route(node, address)?.hops.first()?;
    let tunnel = node.topology.tunnel(hop.link)?;
    let device = node.tables.link(hop.link)?.tunnel.as_ref()?;
    let vtep = node.tables.far_end(hop.link, hop.gateway.unwrap_or(address)).or(device.remote)?;
    Some(TunnelEnd { vtep, port: device.port?, overhead: tunnel.overhead? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, ip};

    fn expected_of(node: &Example, plane: Plane, address: &str) -> u32 {
        let key = PathKey { peer: "master-2".into(), plane, address: ip(address) };
        expected(&node.snapshot(), &key).unwrap().bytes()
    }

    #[test]
    fn the_way_to_the_pods_gateway_is_asked_for_where_pods_find_it_by_proxy() {
        let asks = |node: &Example| queries(&node.snapshot()).contains(&Query::from(POD_GATEWAY));
        assert!(asks(&Example::reference()) && !asks(&Example::flannel()));
        let mut node = Example::reference().snapshot();
        take_routes(&mut node, BTreeMap::from([(Query::from(POD_GATEWAY), Fact::Absent)]));
        assert_eq!(node.lookups[&POD_GATEWAY], Fact::Absent);
    }

    #[test]
    fn what_the_operator_means_the_network_to_be_caps_the_underlay_alone() {
        let mut node = Example::reference().snapshot();
        let expected_of = |node: &Snapshot, plane, address| {
            expected(node, &PathKey { peer: "master-2".into(), plane, address: ip(address) }).map(IpSize::bytes)
        };
        node.expect.underlay_mtu = Some(IpSize::new(1400));
        assert_eq!(expected_of(&node, Plane::Underlay, "10.0.0.12"), Some(1400));
        assert_eq!(expected_of(&node, Plane::Overlay, "10.244.2.0"), Some(1450), "that is the tunnel's own MTU");
        node.expect.underlay_mtu = Some(IpSize::new(9000));
        assert_eq!(expected_of(&node, Plane::Underlay, "10.0.0.12"), Some(1500), "a wish does not widen the NIC");
    }

    #[test]
    fn pods_that_are_made_for_a_tunnel_are_expected_to_send_no_more_on_a_direct_route() {
        let mut node = Example::reference();
        node.lookups.insert(ip("10.244.2.2"), node.lookups[&ip("10.0.0.12")].clone());
        assert_eq!(expected_of(&node, Plane::Pod, "10.244.2.2"), 1450);
        assert_eq!(expected_of(&node, Plane::Underlay, "10.0.0.12"), 1500);
        let mixed = node.pod("cali0badc0ffee1", 9000, "10.244.1.9");
        assert_eq!(expected_of(&mixed, Plane::Pod, "10.244.2.2"), 1500, "the route still bounds it");
        let mut bare = Example::empty().device("eth0", "device", 1500).peer("master-2", "eth0", "10.0.0.12");
        bare.lookups.insert(ip("10.244.2.2"), bare.lookups[&ip("10.0.0.12")].clone());
        assert_eq!(expected_of(&bare, Plane::Pod, "10.244.2.2"), 1500, "no pod here says less");
    }

    fn asked(node: &Snapshot) -> Vec<String> {
        queries(node).iter().map(Query::to_string).collect()
    }

    #[test]
    fn the_network_below_a_tunnel_is_probed_from_where_the_tunnel_sends() {
        let node = Example::reference().snapshot();
        let asked = asked(&node);
        assert!(asked.contains(&"route to 10.0.0.12 from 10.0.0.11".into()), "{asked:?}");
        assert!(asked.contains(&"route to 10.244.2.2".into()), "a pod has no tunnel's source: {asked:?}");
        let from = |plane| {
            let targets = of(&node, |_| true);
            targets.into_iter().find(|target| target.key.plane == plane).unwrap().from
        };
        assert_eq!([from(Plane::Underlay), from(Plane::Overlay)], [Some(ip("10.0.0.11")), None]);
        let plain = Example::empty().device("eth0", "device", 1500).peer("b", "eth0", "10.0.0.12").snapshot();
        assert_eq!(queries(&plain), [Query::from(ip("10.0.0.12"))], "no tunnel leads there: the route chooses");
    }

    #[test]
    fn the_answer_that_counts_for_a_path_is_the_one_from_its_source() {
        let mut node = Example::reference().snapshot();
        let by = |link: &str, node: &Snapshot| {
            let mut route = node.lookups[&ip("10.0.0.12")].known().unwrap().clone();
            route.hops[0].link = node.topology.index_of(link).unwrap();
            Fact::Known(route)
        };
        let sourced = Query { to: ip("10.0.0.12"), from: Some(ip("10.0.0.11")) };
        let answers = [(ip("10.0.0.12").into(), by("vmbr0", &node)), (sourced, by("vmbr1", &node))];
        take_routes(&mut node, answers.into());
        let vmbr1 = node.topology.index_of("vmbr1").unwrap();
        assert_eq!(node.lookups[&ip("10.0.0.12")].known().unwrap().hops[0].link, vmbr1);
        assert_eq!(node.outer.len(), 2);
    }
}
