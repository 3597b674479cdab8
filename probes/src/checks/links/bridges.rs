//! Bridges on the way to other machines, and which of their ports lead there.
//!
//! A bridge is on the way if a tunnel stands on it. Without one it is if a peer's route leaves by it, or one of its
//! addresses shares a subnet with a peer, and something shows that other machines are there: a port that is no veth, or
//! a route with a gateway. For a peer that somebody named may be a pod or container of this machine, and the bridge for
//! those is their gateway and leads nowhere.
//!
//! Which ports lead to the wire is read off the topology. What it takes for want of better, when no NIC is among the
//! ports, does not if it is made for a guest, or a dummy that keeps the bridge up.

use crate::kernel::{Link, LinkIndex};
use crate::path::Plane;
use crate::report::Role;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::is_made_for_guest;
use crate::tables::covers;

/// Bridges on the way to other machines.
pub(super) fn on_the_way(node: &Snapshot) -> impl Iterator<Item = &Link> {
    let bridges = node.tables.links().iter().filter(|link| link.kind == "bridge");
    bridges.filter(|bridge| {
        let wired = || uplinks(node, bridge).any(|port| port.kind != "veth");
        let leads_out = || has_gateway(node, bridge.index) || wired();
        carries_tunnel(node, bridge.index) || (leads_to_peer(node, bridge.index) && leads_out())
    })
}

/// Every port of a bridge.
pub(super) fn ports<'a>(node: &'a Snapshot, bridge: &Link) -> impl Iterator<Item = &'a Link> {
    let bridge = bridge.index;
    node.tables.links().iter().filter(move |port| port.master == Some(bridge))
}

/// The ports by which a bridge reaches the wire.
pub(super) fn uplinks<'a>(node: &'a Snapshot, bridge: &Link) -> impl Iterator<Item = &'a Link> {
    let below = node.topology.directly_below(bridge.index);
    below.filter_map(|port| node.tables.link(port)).filter(|port| port.kind != "dummy" && !is_made_for_guest(port))
}

/// Links that stand on a bridge and carry something to other machines.
pub(super) fn above(node: &Snapshot, bridge: &Link) -> Vec<String> {
    let carrying =
        |link: &&Link| matches!(node.topology.role(link.index), Role::Underlay | Role::Bridge | Role::Tunnel);
    let links = node.tables.links().iter().filter(carrying);
    links.filter(|link| node.topology.stands_on(&link.name, &bridge.name)).map(|link| link.name.clone()).collect()
}

fn carries_tunnel(node: &Snapshot, bridge: LinkIndex) -> bool {
    node.topology.tunnels().iter().any(|tunnel| node.topology.chain(tunnel.link).contains(&bridge))
}

fn leads_to_peer(node: &Snapshot, bridge: LinkIndex) -> bool {
    let mut paths = node.paths.iter().filter(|(key, _)| key.plane == Plane::Underlay);
    let own: Vec<_> = node.tables.addresses_of(bridge).filter(|own| own.global && own.prefix > 0).collect();
    paths.any(|(key, path)| {
        path.via.contains(&bridge) || own.iter().any(|own| covers(own.address, own.prefix, key.address))
    })
}

fn has_gateway(node: &Snapshot, bridge: LinkIndex) -> bool {
    let hops = node.tables.routes.known().into_iter().flatten().flat_map(|route| &route.hops);
    hops.into_iter().any(|hop| hop.link == bridge && hop.gateway.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::Example;

    fn found(example: &Example) -> Vec<String> {
        on_the_way(&example.snapshot()).map(|bridge| bridge.name.clone()).collect()
    }

    #[test]
    fn the_management_bridge_and_a_bridge_for_pods_are_not_on_the_way() {
        assert_eq!(found(&Example::reference()), ["vmbr1"]);
        assert_eq!(found(&Example::flannel()), [""; 0]);
    }

    #[test]
    fn a_bridge_that_shares_a_subnet_with_a_peer_is_on_the_way_without_a_tunnel() {
        let bare = Example::empty()
            .device("br0", "bridge", 1500)
            .address("br0", "10.0.0.11", 24)
            .device("eth0", "device", 1500)
            .peer("b", "eth0", "10.0.0.12");
        let by_port = bare.clone().device("bond0", "bond", 1500).port("bond0", "br0");
        let by_route = bare.clone().route("0.0.0.0", 0, Some("10.0.0.1"), "br0");
        for node in [by_port, by_route] {
            assert_eq!(found(&node), ["br0"]);
            assert_eq!(found(&node.alone()), [""; 0], "nobody is reached by it");
        }
        assert_eq!(
            found(&bare),
            [""; 0],
            "a container engine's bridge looks like this, and its container may be named"
        );
    }

    #[test]
    fn a_peer_that_is_one_of_the_nodes_own_pods_does_not_make_their_bridge_lead_anywhere() {
        let named = Example::flannel().peer("a pod", "cni0", "10.42.0.5");
        assert_eq!(found(&named), [""; 0]);
        assert_eq!(found(&named.with("veth0a1b2c3d", |link| link.master = None)), [""; 0], "it was the last one");
    }

    #[test]
    fn ports_for_guests_are_known_by_the_names_that_hypervisors_give() {
        let bridge = ["veth102i0", "tap100i1", "fwpr101p0", "vnet7", "veth1a2b3c4d", "bond0", "vnet", "veth102i"];
        let node = bridge.into_iter().fold(Example::empty().device("br0", "bridge", 1500), |node, port| {
            node.device(port, "veth", 1500).port(port, "br0")
        });
        let node = node.device("dummy0", "dummy", 1500).port("dummy0", "br0").snapshot();
        let bridge = node.tables.link_named("br0").unwrap();
        let names: Vec<_> = uplinks(&node, bridge).map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["veth1a2b3c4d", "bond0", "vnet", "veth102i"]);
        assert_eq!(ports(&node, bridge).count(), 9);
    }
}
