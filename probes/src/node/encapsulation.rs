//! How to send through a tunnel without its device: what a packet to a peer would be wrapped in.
//!
//! The device itself may hide what the network below carries, by fragmenting, and may lack an entry; a packet that is
//! wrapped here meets the same network and the same far end, and its answer comes back through the far end's own tunnel.
//! Where one of the entries is missing the other names what it would have said: a neighbour's hardware address is that
//! of the forwarding entry that leads to the peer's node. Where they do not fit each other, or lead to another peer, the
//! one that leads to the peer's node is followed: whether that is answered tells which of the two is wrong. A tunnel in collect-metadata mode has no identifier to send.
//!
//! Where neither the device's own packets nor these are answered, and nobody refuses them, they are sent once more for
//! every hardware address. Linux takes a packet for its own IP address out of a broadcast frame and answers it (measured
//! on 6.18, echo and timestamp, with a strict `rp_filter` too). So an answer shows that network, port and peer are well,
//! and that only the hardware address is not the peer's.
//!
//! Where a peer's tunnel address is not reached and no route leads into a tunnel, the one that its tables name the peer in
//! is taken: that the packet is answered shows that the route is all that is missing.

use std::net::IpAddr;

use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::{Link, LinkIndex, Mac, Query, Tunnel, TunnelKind};
use crate::path::{Encapsulation, PathKey, Plane, Unreachable, Verdict};
use crate::peers::Peer;
use crate::snapshot::{Path, Snapshot};
use crate::units::{Family, IpSize};

use super::targets::route;
use super::{Node, Output};

/// The wrapping for a path through a VXLAN device, and the largest outer packet that this machine can send there.
pub(super) fn of(node: &Snapshot, key: &PathKey) -> Option<(Encapsulation, IpSize)> {
    if key.plane != Plane::Overlay {
        return None;
    }
    let (link, neighbour) = device(node, key)?;
    let tunnel = link.tunnel.as_ref()?;
    let (to_mac, vtep) = far_end(node, link, key, neighbour)?;
    let own = node.tables.addresses_of(link.index).map(|own| own.address);
    let encapsulation = Encapsulation {
        vtep,
        port: tunnel.port?,
        vni: tunnel.id?,
        from_mac: link.mac?.0,
        to_mac: to_mac.0,
        inner_from: own.into_iter().find(|own| Family::of(*own) == key.family())?,
        inner_to: key.address,
    };
    Some((encapsulation, expected(node, tunnel, encapsulation)?))
}

/// Why nothing is encapsulated here by a wire that no answer to it comes in by.
pub(super) fn denied() -> Unread {
    Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() })
}

/// The same for every hardware address, where what is for the one that the entries name is lost in silence.
pub(super) fn for_anyone(node: &Snapshot, key: &PathKey) -> Option<Encapsulation> {
    let silent = Verdict::Unreachable { why: Unreachable::Silent };
    let path = node.paths.get(key)?;
    let is_silent = is_lost(node, key) && path.outer.known().is_some_and(|outer| outer.verdict == silent);
    of(node, key).filter(|_| is_silent).map(|(encapsulation, _)| encapsulation.for_anyone())
}

/// The device whose packets are imitated, and the neighbour that it would send to.
pub(super) fn device<'a>(node: &'a Snapshot, key: &PathKey) -> Option<(&'a Link, IpAddr)> {
    let hop = route(node, key.address).and_then(|route| route.hops.first());
    let routed = hop.and_then(|hop| Some((node.tables.link(hop.link)?, hop.gateway.unwrap_or(key.address))));
    let named = || {
        let behind = node.peer(&key.peer)?.behind(key.family())?;
        let link = node.tables.link_named(&behind.tunnel).filter(|_| is_lost(node, key))?;
        Some((link, key.address))
    };
    let imitable = |(link, _): &(&Link, IpAddr)| {
        let tunnel = link.tunnel.as_ref();
        tunnel.is_some_and(|tunnel| tunnel.kind == TunnelKind::Vxlan && !tunnel.external)
    };
    routed.filter(imitable).or_else(|| named().filter(imitable))
}

fn is_lost(node: &Snapshot, key: &PathKey) -> bool {
    node.paths.get(key).is_some_and(|path| matches!(path.verdict(), Ok(Verdict::Unreachable { .. })))
}

fn far_end(node: &Snapshot, link: &Link, key: &PathKey, neighbour: IpAddr) -> Option<(Mac, IpAddr)> {
    let peer = node.peer(&key.peer)?;
    let known = node.tables.neighbours_at(link.index, neighbour).next().and_then(|entry| entry.mac);
    let end = |mac| node.tables.entries_for(link.index, mac).find_map(|entry| entry.destination);
    let told = known.and_then(end);
    if told.is_none_or(|told| is_anothers(node, peer, told)) {
        let ends = peer.underlay.into_iter();
        let mut right = ends.flat_map(|end| node.tables.entries_to(link.index, end).map(move |entry| (entry.mac, end)));
        return right.next().or_else(|| Some((known?, named_end(link, peer)?)));
    }
    Some((known?, told?))
}

/// Whether an entry leads to another peer's node, as far as the operator says which is whose.
fn is_anothers(node: &Snapshot, peer: &Peer, end: IpAddr) -> bool {
    !peer.underlay.holds(end) && node.peers_at(end).any(|other| other.name != peer.name)
}

/// The node address that a tunnel's packets would go to.
fn named_end(link: &Link, peer: &Peer) -> Option<IpAddr> {
    let behind = peer.tunnels.iter().find(|behind| behind.tunnel == link.name).and_then(|behind| behind.underlay);
    match behind.or(link.tunnel.as_ref()?.local) {
        Some(of_family) => peer.underlay.of(Family::of(of_family)),
        None => peer.underlay.first(),
    }
}

impl Node {
    /// Has tunnels looked at more closely whose answers are missed: the device's own packets are answered, and those
    /// that were encapsulated here are not. Once looked at they stay so: they would be missed again.
    pub(super) fn tap_tunnels(&mut self) {
        let missed: Vec<_> =
            self.snapshot.paths.iter().filter_map(|(key, path)| missed(&self.snapshot, key, path)).collect();
        let before = self.tapped.len();
        self.tapped.extend(missed);
        self.tapped.retain(|&link| self.snapshot.tables.link(link).is_some());
        if self.tapped.len() > before {
            self.wanted.push_back(Output::TapTunnels(self.tapped.iter().copied().collect()));
        }
    }
}

/// The tunnel of a path whose encapsulated probes are not answered although the device's own are.
fn missed(node: &Snapshot, key: &PathKey, path: &Path) -> Option<LinkIndex> {
    let silent = Verdict::Unreachable { why: Unreachable::Silent };
    let answers = path.verdict().is_ok_and(|verdict| verdict.path_mtu().is_some());
    let is_missed = answers && path.outer.known().is_some_and(|outer| outer.verdict == silent);
    route(node, key.address)?.hops.first().map(|hop| hop.link).filter(|_| is_missed)
}

/// The smallest MTU of the links that outer packets leave by; no more than the operator means the network to carry.
fn expected(node: &Snapshot, tunnel: &Tunnel, encapsulation: Encapsulation) -> Option<IpSize> {
    let from = tunnel.local.filter(|&local| node.tables.is_own(local));
    let queries = [Query { to: encapsulation.vtep, from }, Query { to: encapsulation.vtep, from: None }];
    let route = queries.iter().find_map(|query| node.outer.get(query).and_then(Fact::known))?;
    let links = route.hops.iter().filter_map(|hop| node.tables.link(hop.link));
    let device = links.map(|link| link.mtu.carries()).min()?;
    Some(node.expect.underlay_mtu.into_iter().chain(route.mtu).fold(device, Ord::min))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Reason, Source, Unread};
    use crate::snapshot::example::{Example, ip, silent};

    fn reference() -> Snapshot {
        let node = Example::reference().with("vxlan.calico", |link| link.mac = Some(Mac([2, 0, 0, 0, 0, 1])));
        node.address("vxlan.calico", "10.244.1.0", 32).snapshot()
    }

    fn key(node: &Snapshot, address: &str) -> PathKey {
        node.paths.keys().find(|key| key.address == ip(address)).unwrap().clone()
    }

    fn wrapped(node: &Snapshot) -> Option<(Encapsulation, IpSize)> {
        of(node, &key(node, "10.244.2.0"))
    }

    #[test]
    fn a_packet_to_a_peer_is_wrapped_as_the_device_would() {
        let node = reference();
        let (how, expected) = wrapped(&node).unwrap();
        assert_eq!((how.vtep, how.port, how.vni), (ip("10.0.0.12"), 4789, 4096));
        assert_eq!((how.inner_from, how.inner_to), (ip("10.244.1.0"), ip("10.244.2.0")));
        assert_ne!(how.from_mac, how.to_mac);
        assert_eq!(expected, IpSize::new(1500), "the bridge's MTU, not the tunnel's");
        assert_eq!(of(&node, &key(&node, "10.0.0.12")), None, "the underlay has no tunnel to go around");
    }

    #[test]
    fn what_the_operator_means_the_network_to_carry_caps_it() {
        let mut node = reference();
        node.expect.underlay_mtu = Some(IpSize::new(1400));
        assert_eq!(wrapped(&node).map(|(_, expected)| expected), Some(IpSize::new(1400)));
    }

    #[test]
    fn one_missing_entry_is_read_off_the_other() {
        let whole = wrapped(&reference());
        let mut node = reference();
        let Fact::Known(forwarding) = &mut node.tables.forwarding else { panic!("no forwarding table") };
        forwarding.retain(|entry| entry.destination != Some(ip("10.0.0.12")));
        assert_eq!(wrapped(&node), whole, "the neighbour names the hardware address, the peer its node");
        let mut node = reference();
        let Fact::Known(neighbours) = &mut node.tables.neighbours else { panic!("no neighbours") };
        neighbours.retain(|entry| entry.address != ip("10.244.2.0"));
        assert_eq!(wrapped(&node), whole, "the forwarding entry names the hardware address");
        let Fact::Known(forwarding) = &mut node.tables.forwarding else { panic!("no forwarding table") };
        forwarding.clear();
        assert_eq!(wrapped(&node), None, "nothing names it");
    }

    #[test]
    fn a_tunnel_that_no_route_leads_into_is_imitated_for_a_peer_that_is_lost() {
        let mut node = Example::reference().with("vxlan.calico", |link| link.mac = Some(Mac([2, 0, 0, 0, 0, 1])));
        node.lookups.insert(ip("10.244.2.0"), node.lookups[&ip("10.0.0.12")].clone());
        assert_eq!(wrapped(&node.snapshot()), None, "it is reached without the tunnel, as CrossSubnet means it");
        let lost = node.verdict("master-2", Plane::Overlay, silent()).snapshot();
        assert_eq!(wrapped(&lost).unwrap().0.vtep, ip("10.0.0.12"));
    }

    #[test]
    fn each_family_is_wrapped_for_the_far_end_of_its_own_tunnel() {
        let with_mac = |link: &mut Link| link.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
        let node = || Example::two_tunnels().with("vxlan.calico", with_mac).with("vxlan-v6.calico", with_mac);
        let vtep = |node: &Snapshot, address| of(node, &key(node, address)).map(|(how, _)| how.vtep);
        let whole = node().snapshot();
        assert_eq!(vtep(&whole, "10.244.2.0"), Some(ip("10.0.0.12")));
        assert_eq!(vtep(&whole, "fd00:244:2::"), Some(ip("fd00::12")));
        let mut lost = node().snapshot();
        let Fact::Known(forwarding) = &mut lost.tables.forwarding else { panic!("no forwarding table") };
        forwarding.clear();
        assert_eq!(vtep(&lost, "fd00:244:2::"), Some(ip("fd00::12")), "the peer's address of the tunnel's family");
        let mut gone = node();
        gone.lookups.remove(&ip("fd00:244:2::"));
        let gone = gone.verdict_at("fd00:244:2::", silent()).snapshot();
        assert_eq!(vtep(&gone, "fd00:244:2::"), Some(ip("fd00::12")), "the tunnel that carried it is remembered");
    }

    #[test]
    fn everybody_is_asked_where_the_one_that_the_entries_name_is_silent() {
        let asked = |inner: Verdict, outer: Verdict| {
            let node = Example::reference().with("vxlan.calico", |link| link.mac = Some(Mac([2, 0, 0, 0, 0, 1])));
            let node = node.verdict("master-2", Plane::Overlay, inner).outer_verdict("master-2", outer).snapshot();
            for_anyone(&node, &key(&node, "10.244.2.0")).map(|how| how.to_mac)
        };
        let clear = || Verdict::Clear { mtu: IpSize::new(1450) };
        let closed = Unreachable::Refused { by: ip("10.0.0.12"), why: crate::path::Refusal::TunnelPortUnreachable };
        assert_eq!(asked(silent(), silent()), Some([0xff; 6]));
        assert_eq!(asked(silent(), clear()), None, "what is encapsulated here arrives");
        assert_eq!(asked(silent(), Verdict::Unreachable { why: closed }), None, "its port is closed");
        assert_eq!(asked(clear(), silent()), None, "nothing is lost");
    }

    #[test]
    fn a_tunnel_in_collect_metadata_mode_has_nothing_to_send() {
        let mut node = reference();
        let Fact::Known(links) = &mut node.tables.links else { panic!("no links") };
        links.iter_mut().filter_map(|link| link.tunnel.as_mut()).for_each(|tunnel| tunnel.external = true);
        assert_eq!(wrapped(&node), None);
    }

    #[test]
    fn answers_are_missed_only_where_the_devices_own_are_not() {
        let mut node = reference();
        let key = key(&node, "10.244.2.0");
        let tunnel = node.topology.index_of("vxlan.calico");
        let silent = Verdict::Unreachable { why: Unreachable::Silent };
        let set = |node: &mut Snapshot, outer: Fact<Verdict>, inner: Verdict| {
            let measured = |verdict| crate::path::Measured::new(verdict, crate::units::Mono::default());
            let path = node.paths.get_mut(&key).unwrap();
            path.outer = outer.map(measured);
            path.measured = Fact::Known(measured(inner));
        };
        let clear = || Verdict::Clear { mtu: IpSize::new(1450) };
        set(&mut node, Fact::Known(silent.clone()), clear());
        assert_eq!(missed(&node, &key, &node.paths[&key]), tunnel);
        set(&mut node, Fact::Known(silent.clone()), silent);
        assert_eq!(missed(&node, &key, &node.paths[&key]), None, "the tunnel is dead");
        set(&mut node, Fact::Known(clear()), clear());
        assert_eq!(missed(&node, &key, &node.paths[&key]), None, "nothing is missed");
        set(&mut node, Fact::Unread(Unread::new(Source::Probes, Reason::NotYet)), clear());
        assert_eq!(missed(&node, &key, &node.paths[&key]), None, "nothing was asked");
    }
}
