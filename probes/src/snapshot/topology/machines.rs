//! Topologies of whole machines as a real kernel told them: `kernel/golden/machines.sh` made them.
//!
//! Nothing is built by hand: tables, peers and questions are those of a round, and the kernel's answers stand in the file.
//! A question that the code asks and the file does not answer fails the test, so a look-up that changes is noticed.

use std::collections::BTreeMap;

use super::*;
use crate::config::{Peers, StaticPeer};
use crate::kernel::golden;
use crate::kernel::{Query, RawFacts, RawMessage, TunnelKind, route};
use crate::peers::Directory;
use crate::snapshot::example::ip;
use crate::units::Dual;

/// A machine after one reading.
struct Machine {
    tables: Tables,
    topology: Topology,
}

impl Machine {
    /// A machine whose peers are those that its tables name and these node addresses.
    fn new(mut sections: BTreeMap<String, Vec<RawMessage>>, nodes: &[&str]) -> Self {
        let mut table = |name: &str| Ok(sections.remove(name).unwrap());
        let tables = Tables::decode(&RawFacts {
            links: table("links"),
            addresses: table("addresses"),
            routes: table("routes"),
            neighbours: table("neighbours"),
            neighbour_tables: Ok(Vec::new()),
            fdb: table("fdb"),
            pod_ends: Ok(Vec::new()),
            files: BTreeMap::new(),
            sysctls: Default::default(),
            host: Default::default(),
            took: BTreeMap::new(),
        });
        assert_eq!(tables.malformed, []);
        let fixed = nodes.iter().map(|node| StaticPeer {
            name: (*node).into(),
            underlay: ip(node).into(),
            overlay: Dual::NONE,
            pods: Vec::new(),
        });
        let config = Peers { fixed: fixed.collect(), ..Peers::default() };
        let peers = Directory::default().update("here", &config, &tables).peers;
        let sources = outer::sources(&tables, &peers);
        let answer = |query: Query| {
            let section = sections.get(&query.to_string()).unwrap_or_else(|| panic!("not captured: {query}"));
            (query, Fact::from(route::lookup(&section[0])))
        };
        let nodes = peers.iter().flat_map(|peer| peer.underlay);
        let lookups = nodes.map(|to| (to, answer(Query { to, from: sources.get(&to).copied() }).1)).collect();
        let outer = outer::queries(&tables, &peers).into_iter().map(answer).collect();
        let topology = Topology::new(&tables, &peers, &lookups, &outer);
        Self { tables, topology }
    }

    fn names(&self, links: impl IntoIterator<Item = LinkIndex>) -> Vec<&str> {
        links.into_iter().map(|index| self.tables.link(index).unwrap().name.as_str()).collect()
    }

    fn chain(&self, link: &str) -> Vec<&str> {
        self.names(self.topology.chain(self.topology.index_of(link).unwrap()))
    }

    /// Every link of a role, by name.
    fn all(&self, role: Role) -> Vec<&str> {
        let links = self.tables.links().iter().filter(|link| self.topology.role(link.index) == role);
        links.map(|link| link.name.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn kind(&self, link: &str) -> &str {
        &self.tables.link_named(link).unwrap().kind
    }

    fn tunnel(&self, link: &str) -> &TunnelView {
        self.topology.tunnel(self.topology.index_of(link).unwrap()).unwrap()
    }

    fn lower(&self, link: &str) -> Option<&str> {
        self.tunnel(link).lower_link.as_ref().map(|(name, _)| name.as_str())
    }
}

#[test]
fn a_tunnel_on_a_vlan_on_a_bond_stands_on_every_one_of_them() {
    let machine = Machine::new(golden::bonded(), &[]);
    assert_eq!(machine.chain("vxlan.calico"), ["vxlan.calico", "bond0.100", "bond0", "eth1", "eth2"]);
    assert_eq!([machine.kind("bond0"), machine.kind("bond0.100"), machine.kind("eth1")], ["bond", "vlan", "device"]);
    assert_eq!(machine.all(Role::Underlay), ["bond0", "bond0.100", "eth1", "eth2"]);
    assert_eq!(machine.all(Role::Other), ["eth0", "lo"], "management, of another MTU");
    assert_eq!(machine.tunnel("vxlan.calico").headroom(), Some(0));
    assert!(machine.topology.carries_pods("eth2") && !machine.topology.carries_pods("eth0"));
}

#[test]
fn a_bridge_stands_on_its_wired_ports_and_a_vlan_on_its_nic() {
    let machine = Machine::new(golden::bridged(), &["10.0.0.12"]);
    assert_eq!(machine.chain("br0"), ["br0", "eth1", "eth0.7", "eth0"]);
    assert_eq!(machine.all(Role::Bridge), ["br0"]);
    assert_eq!(machine.all(Role::Underlay), ["eth0", "eth0.7", "eth1"]);
    assert_eq!(machine.all(Role::Other), ["eth2", "ipv0", "lo", "mac0", "tap100i0"]);
}

#[test]
fn macvlan_and_ipvlan_nics_stand_on_their_parent() {
    let machine = Machine::new(golden::bridged(), &["10.7.0.12"]);
    assert_eq!(machine.all(Role::Underlay), ["eth0", "mac0"]);
    assert_eq!(machine.all(Role::Bridge), [""; 0], "the bridge leads to nobody");
    let machine = Machine::new(golden::bridged(), &["10.8.0.12"]);
    assert_eq!(machine.all(Role::Underlay), ["eth2", "ipv0"]);
    assert_eq!([machine.kind("mac0"), machine.kind("ipv0")], ["macvlan", "ipvlan"]);
}

#[test]
fn a_team_stands_on_its_members() {
    let machine = Machine::new(golden::teamed(), &["10.0.0.12"]);
    assert_eq!(machine.chain("vmbr1"), ["vmbr1", "team0", "eth1", "eth2"]);
    assert_eq!((machine.kind("team0"), machine.all(Role::Underlay)), ("team", vec!["eth1", "eth2", "team0"]));
}

#[test]
fn every_kind_of_tunnel_has_its_overhead_and_the_link_below() {
    let machine = Machine::new(golden::tunnels(), &[]);
    for (link, kind, overhead) in [
        ("tunl0", TunnelKind::Ipip, 20),
        ("gre1", TunnelKind::Gre, 28),
        ("gretap1", TunnelKind::Gretap, 38),
        ("sit1", TunnelKind::Sit, 20),
        ("geneve1", TunnelKind::Geneve, 50),
        ("vxlan6", TunnelKind::Vxlan, 70),
        ("wireguard.cali", TunnelKind::Wireguard, 60),
        ("cilium_vxlan", TunnelKind::Vxlan, 50),
        ("genev_sys_6081", TunnelKind::Geneve, 50),
    ] {
        let tunnel = machine.tables.link_named(link).unwrap().tunnel.as_ref().unwrap();
        let view = machine.tunnel(link);
        assert_eq!((tunnel.kind, view.overhead), (kind, Some(overhead)), "{link}");
        assert_eq!(machine.lower(link), Some("eth0"), "{link}");
        assert_eq!(view.external, ["cilium_vxlan", "genev_sys_6081"].contains(&link), "{link}");
    }
    assert_eq!(machine.all(Role::Underlay), ["eth0"]);
    let unused = ["erspan0", "gre0", "gretap0", "lo", "sit0"];
    assert_eq!(machine.all(Role::Other), unused, "what the modules leave behind");
}

/// An IPsec interface that is up and taken for a NIC would be one more way out; a tunnel taken for one of pods would be
/// held against their MTU.
#[test]
fn every_other_kind_is_a_tunnel_too_with_its_overhead_or_none() {
    let machine = Machine::new(golden::wrapped(), &[]);
    for (link, overhead, headroom) in [
        ("gre2", Some(36), Some(0)),
        ("gretap2", Some(42), Some(0)),
        ("tun-fou", Some(28), Some(0)),
        ("tun-gue", Some(32), Some(0)),
        ("sit2", Some(28), Some(0)),
        ("ip4in6", Some(48), Some(0)),
        ("ip6in6", Some(40), Some(0)),
        ("ip6gre1", Some(52), Some(0)),
        ("ip6gre2", Some(48), Some(0)),
        ("ip6gretap1", Some(66), Some(0)),
        ("geneve6", Some(70), Some(0)),
        ("cilium_ipip4", Some(20), None),
        ("cilium_ipip6", Some(40), None),
        ("gre_sys", Some(38), None),
        ("ip6gre_sys", Some(58), None),
        ("gpe0", Some(36), None),
        ("erspan1", None, None),
        ("erspan6", None, None),
        ("vti1", None, None),
        ("vti6", None, None),
        ("ipsec0", None, None),
    ] {
        let view = machine.tunnel(link);
        assert_eq!((view.overhead, view.headroom()), (overhead, headroom), "{link}");
        assert_eq!(machine.lower(link), Some("eth0"), "{link}");
        assert!(!view.carries_pods, "{link}");
    }
    assert_eq!(machine.all(Role::Underlay), ["eth0"]);
    let unused = ["erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "lo", "sit0", "tunl0"];
    assert_eq!(machine.all(Role::Other), unused, "what the modules leave behind");
}

#[test]
fn wireguard_of_a_cni_leads_to_the_nodes_by_the_family_of_its_endpoints() {
    let machine = Machine::new(golden::wireguards(), &["10.0.0.12", "fd00::12"]);
    for (link, overhead, headroom) in [
        ("wireguard.cali", 60, 20),
        ("wg-v6.cali", 80, 0),
        ("flannel-wg", 60, 20),
        ("flannel-wg-v6", 80, 0),
        ("cilium_wg0", 60, 20),
        ("kilo0", 60, 20),
    ] {
        let view = machine.tunnel(link);
        assert_eq!((view.overhead, view.headroom()), (Some(overhead), Some(headroom)), "{link}");
        assert_eq!(machine.lower(link), Some("eth0"), "{link}");
    }
    let own = machine.tunnel("wg0");
    assert_eq!((own.overhead, own.headroom()), (None, None), "an administrator's: whose ends are nobody tells");
}

#[test]
fn a_tunnel_through_a_tunnel_stands_on_it() {
    let machine = Machine::new(golden::nested(), &[]);
    let view = machine.tunnel("vxlan.calico");
    assert_eq!((machine.lower("vxlan.calico"), view.headroom()), (Some("wg0"), Some(0)), "1420 - 50 - 1370");
    assert_eq!(machine.chain("vxlan.calico"), ["vxlan.calico", "wg0"]);
    assert_eq!(machine.topology.role(machine.topology.index_of("wg0").unwrap()), Role::Tunnel);
    assert!(machine.topology.carries_pods("wg0") && !machine.topology.carries_pods("eth0"));
}

#[test]
fn weave_has_its_pods_on_a_bridge_and_its_tunnel_in_a_datapath() {
    let machine = Machine::new(golden::weave(), &["10.0.0.12"]);
    assert_eq!(machine.all(Role::Tunnel), ["vxlan-6784"]);
    assert_eq!(machine.all(Role::Bridge), ["weave"]);
    assert_eq!(machine.all(Role::Pod), ["vethwepl1a2b3c4"]);
    assert_eq!(machine.all(Role::Underlay), ["eth0"]);
    assert_eq!(machine.all(Role::Other), ["datapath", "lo", "vethwe-bridge", "vethwe-datapath"]);
    assert_eq!([machine.kind("datapath"), machine.kind("weave")], ["openvswitch", "bridge"]);
    let view = machine.tunnel("vxlan-6784");
    assert_eq!((view.mtu.bytes(), view.external, view.headroom()), (65_485, true, None), "no MTU of its own");
}

#[test]
fn antrea_has_pods_and_tunnel_in_one_datapath() {
    let machine = Machine::new(golden::antrea(), &["10.0.0.12"]);
    assert_eq!(machine.all(Role::Tunnel), ["genev_sys_6081"]);
    assert_eq!(machine.all(Role::Pod), ["coredns--6f3a1b"]);
    assert_eq!(machine.all(Role::Underlay), ["eth0"]);
    assert_eq!(machine.all(Role::Bridge), ["ovs-system"]);
    assert_eq!(machine.all(Role::Other), ["antrea-gw0", "lo"]);
    let view = machine.tunnel("genev_sys_6081");
    assert_eq!((view.external, view.headroom(), machine.lower("genev_sys_6081")), (true, None, Some("eth0")));
}

#[test]
fn a_rule_on_the_source_decides_by_which_nic_outer_packets_leave() {
    let machine = Machine::new(golden::policy(), &[]);
    assert_eq!(machine.lower("vxlan.calico"), Some("eth1"));
    assert_eq!(machine.all(Role::Underlay), ["eth1"]);
    assert_eq!(machine.all(Role::Other), ["eth0", "lo"], "its default route would have been taken without the source");
    assert_eq!(machine.tunnel("vxlan.calico").headroom(), Some(0));
}

#[test]
fn outer_packets_leave_by_every_next_hop_and_the_narrowest_bounds_them() {
    let machine = Machine::new(golden::spread(), &[]);
    let tunnel = machine.tunnel("flannel.1");
    assert_eq!(machine.names(tunnel.egress.iter().copied()), ["eth1", "eth2"]);
    assert_eq!((machine.lower("flannel.1"), tunnel.headroom()), (Some("eth2"), Some(-100)));
    assert_eq!(machine.all(Role::Underlay), ["eth1", "eth2"]);
    assert_eq!(machine.all(Role::Other), ["eth0", "lo", "mgmt"]);
}
