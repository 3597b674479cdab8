//! A bridge whose port to another machine takes less than the bridge sends.
//!
//! The kernel makes packets as large as the bridge's MTU. A port drops what is more than 4 bytes above its own (room for
//! a VLAN tag), in silence: no interface counts it, no ICMP error tells, and what comes in is dropped in the same way. So
//! port + 4 is the edge, and a port that is up to 4 bytes smaller loses nothing. By itself a bridge takes the smallest MTU
//! of its ports; the two differ once somebody has set the bridge's by hand, and from then on it stays.
//!
//! Looked at are the ports to the wire, and a guest's port if forwarding entries show a peer behind it. Any other guest's
//! port limits that guest alone, and a pod's link is judged beside the tunnel. A port that is larger than its bridge
//! loses nothing: the bridge sends less, and what comes in for this machine is not measured against the bridge's MTU.
//!
//! A warning, and critical once it explains a path on which sizes vanish.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::{FragmentationFailing, fragmentation_failing};
use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath, OverlayTransferStalls};
use crate::checks::paths::PathBlackHole;
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, small, words};
use crate::fact::Unread;
use crate::kernel::{Link, LinkIndex};
use crate::overhead::VLAN_HLEN;
use crate::path::{PathKey, Plane};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::bridges;

/// The rule.
#[derive(Debug)]
pub struct BridgePortMtu;

/// A bridge and its port.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The bridge.
    pub bridge: String,
    /// Its MTU: the size of a full packet.
    pub bridge_mtu: LinkMtu,
    /// The port.
    pub port: String,
    /// Its MTU.
    pub port_mtu: LinkMtu,
    /// The largest packet that passes it.
    pub passes: IpSize,
    /// Peers behind it.
    pub peers: Vec<String>,
    /// Tunnels that stand on the bridge and whose full packets, wrapped, do not pass.
    pub tunnels: Vec<Tunnel>,
}

/// A tunnel that would have to shrink with the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tunnel {
    /// The device.
    pub link: String,
    /// Bytes that it adds.
    pub overhead: u32,
    /// The MTU that fits the port.
    pub fits: LinkMtu,
}

impl Check for BridgePortMtu {
    const ENTRY: Entry = Entry {
        code: "bridge-port-mtu",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "the port is more than 4 B smaller than its bridge",
            "and packets of that size were measured to vanish",
        ],
        title: "bridge port smaller than its bridge",
        meaning: "The machine sends packets as large as the bridge's MTU, and the port by which they leave drops the \
                  large ones without an error or a counter: pings work and transfers hang.",
        quiet: "a port that is up to 4 B smaller loses nothing (room for a VLAN tag); a port that is larger loses \
                nothing either",
        look: &[
            Look { run: "ip -br link show master BRIDGE", see: "a port's `mtu` is smaller than the bridge's" },
            Look { run: "ip link show dev BRIDGE", see: "`mtu` is the size that the kernel sends" },
            Look {
                run: "bridge fdb show br BRIDGE",
                see: "the port behind which the peer's hardware address was learned",
            },
        ],
        metrics: &["mtuscope_link_mtu_bytes", "mtuscope_path_mtu_bytes < mtuscope_path_expected_mtu_bytes"],
        class: Class::Mixed,
        silences: &[
            PathBlackHole::ENTRY.code,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            FragmentationFailing::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeBridgePortMtu", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.addresses.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        for bridge in bridges::on_the_way(node) {
            let uplinks: Vec<_> = bridges::uplinks(node, bridge).map(|port| port.index).collect();
            for port in bridges::ports(node, bridge).filter(|port| loses(bridge, port)) {
                if uplinks.contains(&port.index) {
                    let behind = |key: &PathKey| node.paths[key].via.contains(&port.index);
                    raise(node, bridge, port, behind, &mut judgement);
                } else if node.topology.role(port.index) != Role::Pod {
                    judge_guest(node, bridge, port, &mut judgement);
                }
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { bridge, bridge_mtu, port, port_mtu, passes, peers, .. } = evidence;
        let to = match peers.as_slice() {
            [] => String::new(),
            peers => format!(" for {}", words::list(peers)),
        };
        format!(
            "{bridge} sends packets of up to {bridge_mtu} B{to} by {port}, whose MTU is {port_mtu}: those above \
             {passes} B vanish."
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { bridge, bridge_mtu, port, port_mtu, tunnels, .. } = evidence;
        let raise = Fix::LinkMtu { link: port.clone(), from: *port_mtu, mtu: *bridge_mtu };
        let shrink = |tunnel: &Tunnel| {
            let Tunnel { link, overhead, fits } = tunnel.clone();
            Fix::OverlayMtu { tunnel: link, mtu: fits, overhead }
        };
        let lower = Fix::LinkMtu { link: bridge.clone(), from: *bridge_mtu, mtu: *port_mtu };
        vec![raise, Fix::Instead(tunnels.iter().map(shrink).chain([lower]).collect())]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let port_mtu = LinkMtu::new(1400);
        let evidence = Evidence {
            bridge: "vmbr1".into(),
            bridge_mtu: LinkMtu::new(1500),
            port: "enp5s0".into(),
            port_mtu,
            passes: port_mtu.carries().plus(VLAN_HLEN),
            peers: vec!["master-2".into(), "master-3".into()],
            tunnels: vec![Tunnel { link: "vxlan.calico".into(), overhead: 50, fits: LinkMtu::new(1350) }],
        };
        (Subject::Link("enp5s0".into()), Severity::Warning, evidence)
    }
}

/// Whether full packets of the bridge do not pass the port. One that is down loses all of them and is another code.
fn loses(bridge: &Link, port: &Link) -> bool {
    port.works() && bridge.mtu.bytes() > port.mtu.bytes() + VLAN_HLEN
}

/// A guest's port counts if a peer is behind it, and breaks the paths to that peer alone.
fn judge_guest(node: &Snapshot, bridge: &Link, port: &Link, judgement: &mut Judgement<Evidence>) {
    let subject = Subject::Link(port.name.clone());
    let peers = match peers_behind(node, bridge, port.index) {
        Ok(peers) => peers,
        Err(why) => return judgement.unread.push((subject, why)),
    };
    if !peers.is_empty() {
        let behind = |key: &PathKey| peers.contains(&key.peer) && node.paths[key].via.contains(&bridge.index);
        raise(node, bridge, port, behind, judgement);
    }
}

fn raise(
    node: &Snapshot,
    bridge: &Link,
    port: &Link,
    behind: impl Fn(&PathKey) -> bool,
    judgement: &mut Judgement<Evidence>,
) {
    let breaks = small::breaks(node, port.mtu.carries(), &behind);
    let evidence = evidence(node, bridge, port, behind);
    let breaks = breaks.into_iter().chain(fragmentation_failing::TOO_LARGE).collect();
    judgement.raise_causing(Subject::Link(port.name.clone()), Severity::Warning, evidence, Causes::Named, breaks);
}

/// Peers whose hardware address the bridge has learned behind a port.
fn peers_behind(node: &Snapshot, bridge: &Link, port: LinkIndex) -> Result<Vec<String>, Unread> {
    node.tables.neighbours.read()?;
    node.tables.forwarding.read()?;
    let learned = |mac| node.tables.forwarding_of(port).any(|entry| entry.mac == mac && entry.destination.is_none());
    let macs = |address| node.tables.neighbours_of(bridge.index).filter(move |entry| entry.address == address);
    let behind = |address| macs(address).filter_map(|entry| entry.mac).any(learned);
    let peers = node.peers.iter().filter(|peer| peer.underlay.into_iter().any(behind));
    Ok(peers.map(|peer| peer.name.clone()).collect())
}

fn evidence(node: &Snapshot, bridge: &Link, port: &Link, behind: impl Fn(&PathKey) -> bool) -> Evidence {
    let passes = port.mtu.carries().plus(VLAN_HLEN);
    let tunnels = node.topology.tunnels().iter().filter(|tunnel| !tunnel.external).filter_map(|tunnel| {
        let overhead = tunnel.overhead?;
        let stands = node.topology.stands_on(&tunnel.name, &bridge.name);
        let fits = LinkMtu::new(port.mtu.bytes().saturating_sub(overhead));
        (stands && tunnel.mtu > fits).then(|| Tunnel { link: tunnel.name.clone(), overhead, fits })
    });
    let mut peers: Vec<_> = node
        .paths
        .keys()
        .filter(|key| key.plane == Plane::Underlay && behind(key))
        .map(|key| key.peer.clone())
        .collect();
    peers.dedup();
    Evidence {
        bridge: bridge.name.clone(),
        bridge_mtu: bridge.mtu,
        port: port.name.clone(),
        port_mtu: port.mtu,
        passes,
        peers,
        tunnels: tunnels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::kernel::{FdbEntry, Mac, Neighbour, NeighbourState};
    use crate::snapshot::example::{Example, failed, ip};

    fn judge(example: &Example) -> Judgement<Evidence> {
        BridgePortMtu::judge(&example.snapshot()).unwrap()
    }

    fn raised(example: &Example) -> Vec<String> {
        judge(example).raised.iter().map(|raised| raised.subject.to_string()).collect()
    }

    fn port_of(mtu: u32) -> Example {
        Example::reference().with("enp5s0", |link| link.mtu = LinkMtu::new(mtu))
    }

    #[test]
    fn four_bytes_below_the_bridge_pass_and_the_fifth_does_not() {
        assert_eq!(raised(&port_of(1496)), [""; 0]);
        let judgement = judge(&port_of(1495));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.severity, raised.evidence.passes), (Severity::Warning, IpSize::new(1499)));
        assert_eq!(
            BridgePortMtu::summary(&raised.subject, &raised.evidence),
            "vmbr1 sends packets of up to 1500 B for master-2 and master-3 by enp5s0, whose MTU is 1495: those above \
             1499 B vanish."
        );
    }

    #[test]
    fn a_port_that_is_larger_than_its_bridge_loses_nothing() {
        assert_eq!(raised(&port_of(9000)), [""; 0]);
        let smaller = Example::reference().with("vmbr1", |link| link.mtu = LinkMtu::new(1400));
        assert_eq!(raised(&smaller), [""; 0]);
    }

    #[test]
    fn a_port_that_is_down_and_a_bridge_that_leads_to_no_peer_are_left_alone() {
        assert_eq!(raised(&port_of(1400).with("enp5s0", |link| link.carrier = Some(false))), [""; 0]);
        let management = Example::reference().with("enp4s0", |link| link.mtu = LinkMtu::new(1400));
        assert_eq!(raised(&management), [""; 0]);
    }

    #[test]
    fn pods_on_a_bridge_are_judged_elsewhere() {
        let small = Example::flannel().with("veth0a1b2c3d", |link| link.mtu = LinkMtu::new(1200));
        assert_eq!(raised(&small), [""; 0]);
        let pod = |link: &mut Link| (link.other_namespace, link.mtu) = (Some(5), LinkMtu::new(1200));
        let flat = Example::reference().device("veth1a2b3c4d", "veth", 1500).port("veth1a2b3c4d", "vmbr1");
        assert_eq!(raised(&flat.with("veth1a2b3c4d", pod)), [""; 0], "even where they hang on the node's own network");
    }

    /// A virtual machine on a bridge of 9000 whose tap nobody made larger.
    fn with_guest() -> Example {
        let jumbo = |link: &mut Link| link.mtu = LinkMtu::new(9000);
        let node = Example::reference().with("vmbr1", jumbo).with("enp5s0", jumbo).with("vxlan.calico", |link| {
            link.mtu = LinkMtu::new(8950);
        });
        node.device("tap100i0", "tun", 1500).port("tap100i0", "vmbr1")
    }

    /// The bridge has learned that a peer is behind a port.
    fn learned(mut node: Example, peer: &str, port: &str) -> Example {
        let (mac, bridge, port) = (Mac([2; 6]), node.index("vmbr1"), node.index(port));
        let state = NeighbourState::Reachable;
        let entry = Neighbour { link: bridge, address: ip(peer), mac: Some(mac), state, external: false };
        let Fact::Known(neighbours) = &mut node.tables.neighbours else { unreachable!() };
        neighbours.push(entry);
        let Fact::Known(forwarding) = &mut node.tables.forwarding else { unreachable!() };
        forwarding.push(FdbEntry { link: port, mac, destination: None, permanent: false });
        node
    }

    #[test]
    fn a_guests_port_counts_only_with_a_peer_behind_it() {
        assert_eq!(raised(&with_guest()), [""; 0]);
        assert_eq!(raised(&learned(with_guest(), "10.0.0.12", "enp5s0")), [""; 0], "the peer is on the wire");
        let judgement = judge(&learned(with_guest(), "10.0.0.12", "tap100i0"));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!(
            (raised.subject.to_string(), &*raised.evidence.peers),
            ("tap100i0".into(), &["master-2".into()][..])
        );
        let paths = raised.breaks.iter().filter(|one| matches!(one, Subject::Path { .. }));
        assert_eq!(paths.count(), 1, "the tunnel to master-2, and nothing of master-3");
    }

    #[test]
    fn where_forwarding_entries_are_not_known_a_small_guests_port_is_left_open() {
        let mut node = with_guest();
        node.tables.forwarding = Fact::Unread(failed(Source::Fdb));
        let judgement = judge(&node);
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread, [(Subject::Link("tap100i0".into()), failed(Source::Fdb))]);
        let mut healthy = Example::reference();
        healthy.tables.forwarding = Fact::Unread(failed(Source::Fdb));
        assert!(judge(&healthy).unread.is_empty(), "no port is small");
    }

    #[test]
    fn the_other_way_is_to_shrink_what_stands_on_the_bridge_first() {
        let raised = &judge(&port_of(1400)).raised[0];
        let shrink = Fix::OverlayMtu { tunnel: "vxlan.calico".into(), mtu: LinkMtu::new(1350), overhead: 50 };
        let change = |link: &str, from, mtu| Fix::LinkMtu {
            link: link.into(),
            from: LinkMtu::new(from),
            mtu: LinkMtu::new(mtu),
        };
        assert_eq!(
            BridgePortMtu::fixes(&raised.subject, &raised.evidence),
            [change("enp5s0", 1400, 1500), Fix::Instead(vec![shrink, change("vmbr1", 1500, 1400)])]
        );
    }

    #[test]
    fn links_and_addresses_have_to_be_known() {
        let mut node = port_of(1400);
        node.tables.addresses = Fact::Unread(failed(Source::Addresses));
        assert_eq!(BridgePortMtu::judge(&node.snapshot()).unwrap_err(), failed(Source::Addresses));
        node.tables.links = Fact::Unread(failed(Source::Links));
        assert_eq!(BridgePortMtu::judge(&node.snapshot()).unwrap_err(), failed(Source::Links));
    }
}
