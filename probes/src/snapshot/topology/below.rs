//! What each link directly stands on.
//!
//! A bond, a team, and Azure's `hv_netvsc` with its virtual function have members: links that name them as master. A
//! bridge has ports of which few lead to the wire. A VLAN, macvlan or ipvlan names its parent. A VRF is a routing table
//! with a name: its members stand beside it, not below.
//!
//! Cilium's `cilium_host` is one end of a wire that leads nowhere: a program at that end sends packets on into Cilium's
//! tunnel, where it has one. What leaves by the one stands on the other.
//!
//! An Open vSwitch bridge is a port of one datapath that all its bridges share, and the kernel does not tell which NIC
//! belongs to which bridge. With one NIC in the datapath there is nothing to tell; with several nothing is said, because
//! naming the management NIC would be worse.

use std::collections::BTreeSet;

use super::{TunnelView, is_made_for_guest};
use crate::kernel::{Link, LinkIndex};
use crate::snapshot::setup::CILIUM_HOST;
use crate::tables::Tables;

/// What an Open vSwitch bridge or datapath is to the kernel.
pub(super) const OPEN_VSWITCH: &str = "openvswitch";

/// Links directly below a link. `pods` are host ends of pods' links.
pub(super) fn directly(
    link: &Link,
    tables: &Tables,
    tunnels: &[TunnelView],
    pods: &BTreeSet<LinkIndex>,
) -> BTreeSet<LinkIndex> {
    if link.name == CILIUM_HOST {
        let theirs = tunnels.iter().filter(|tunnel| tunnel.is_ciliums());
        return theirs.map(|tunnel| tunnel.link).collect();
    }
    match link.kind.as_str() {
        "bridge" => uplinks(ports(link, tables).filter(|port| !pods.contains(&port.index)).collect()),
        OPEN_VSWITCH => datapath_nic(tables).into_iter().collect(),
        "veth" | "netkit" | "vrf" => BTreeSet::new(),
        _ => match tunnels.iter().find(|tunnel| tunnel.link == link.index) {
            Some(tunnel) => tunnel.lower.into_iter().chain(tunnel.egress.iter().copied()).collect(),
            None => {
                let parent = link.lower.filter(|&lower| lower != link.index);
                parent.into_iter().chain(ports(link, tables).map(|port| port.index)).collect()
            }
        },
    }
}

fn ports<'a>(link: &Link, tables: &'a Tables) -> impl Iterator<Item = &'a Link> + use<'a> {
    let master = Some(link.index);
    tables.links().iter().filter(move |port| port.master == master)
}

/// The ports by which a bridge reaches the wire: hardware, bonds and VLANs. A machine that is itself a container has a
/// veth for a NIC: there it is what is named as the kernel and udev name NICs, beside the veths of guests; where nothing
/// is, whatever is neither a pod's nor a guest's.
fn uplinks(ports: Vec<&Link>) -> BTreeSet<LinkIndex> {
    let hardware: BTreeSet<_> = ports.iter().filter(|port| is_wired(port)).map(|port| port.index).collect();
    if !hardware.is_empty() {
        return hardware;
    }
    let named: BTreeSet<_> = ports.iter().filter(|port| named_as_nic(&port.name)).map(|port| port.index).collect();
    if !named.is_empty() {
        return named;
    }
    let stranger = |port: &&&Link| port.kind != "tun" && !is_made_for_guest(port);
    ports.iter().filter(stranger).map(|port| port.index).collect()
}

pub(super) fn is_wired(link: &Link) -> bool {
    matches!(link.kind.as_str(), "device" | "bond" | "team" | "vlan" | "macvlan")
}

/// The NIC of the Open vSwitch datapath, if there is exactly one.
fn datapath_nic(tables: &Tables) -> Option<LinkIndex> {
    let is_port = |link: &&Link| {
        let master = link.master.and_then(|master| tables.link(master));
        is_wired(link) && master.is_some_and(|master| master.kind == OPEN_VSWITCH)
    };
    let mut nics = tables.links().iter().filter(is_port);
    nics.next().filter(|_| nics.next().is_none()).map(|nic| nic.index)
}

pub(super) fn named_as_nic(name: &str) -> bool {
    NICS.iter().any(|prefix| name.starts_with(prefix))
}

/// The kernel's `eth0` and systemd-udevd's predictable names. Not `en` alone: AWS names pods' links `eni...`.
const NICS: [&str; 7] = ["eth", "eno", "enp", "ens", "enx", "enP", "ib"];
