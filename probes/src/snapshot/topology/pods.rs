//! Which links lead to pods.
//!
//! The host end of a pod's link is a veth, or Cilium's netkit, whose other end is in another namespace. That alone does not
//! tell: a machine that is itself a container has such a veth for a NIC, and a container engine's bridge is full of them.
//! So a pod link also has to be where a CNI puts it: with a host route through it, or named as a CNI names it. On a bridge
//! the name has to tell, because the NIC of a machine that is a container may be a bridge's port too, and the bridge has to
//! be the pods' own.
//!
//! What is known of a bridge, the strongest first:
//!
//! - what hangs beside a NIC is a guest, or a pod of a flat network, and leaves by no tunnel;
//! - a bridge whose subnet holds the node's own address on a tunnel is the CNI's, whatever it is called: Flannel gives the
//!   first address of a node's block to its tunnel and the next to the bridge;
//! - a container engine's or hypervisor's bridge is known by its name, and so is that of a CNI;
//! - where the CNI is seen to have its pods elsewhere – on links with routes of their own, or the node's address on its
//!   tunnel lies in no subnet of the bridge – a bridge that has an address is somebody else's: a network that an
//!   administrator made for containers may have any name. One without an address has no part in the node's routes. It
//!   stays what its ports are named for, a second network of pods as likely as not.
//!
//! The addresses of the other ends are no help: a guest has one of its bridge's subnet as a pod does, and a pod with a link
//! of its own has its host route. So nothing here hangs on the right to see them.
//!
//! `veth` and a number is what the kernel, container engines and point-to-point CNIs call it alike: there the host route
//! has to tell. Engines make such routes too (LXD's `routed` NICs). So where links bear the name of one CNI alone, or hang
//! on a bridge that does, they are its pods, and what is called otherwise beside them is somebody else's.

use std::collections::BTreeSet;

use super::below::{OPEN_VSWITCH, is_wired, named_as_nic};
use crate::kernel::{Link, LinkIndex, Route, Tunnel, TunnelKind};
use crate::tables::{Tables, covers};

/// Names that one CNI gives to host ends, and nobody else: Calico and its kin, Cilium, AWS, Azure, GKE.
const OF_ONE_CNI: [&str; 5] = ["cali", "lxc", "eni", "azv", "gke"];

/// Names that CNIs give to host ends, and others as well.
const USUAL: [&str; 2] = ["veth", "pod"];

/// Bridges of container engines and hypervisors: what hangs on them is no pod.
const OTHERS_BRIDGES: [&str; 12] = [
    "docker",
    "br-",
    "virbr",
    "lxcbr",
    "lxdbr",
    "incusbr",
    "podman",
    "cni-podman",
    "nerdctl",
    "mpqemubr",
    "vmbr",
    "fwbr",
];

/// Bridges of CNIs: the reference plugins, kubenet, kube-router, Weave.
const CNI_BRIDGES: [&str; 4] = ["cni", "cbr", "kube-bridge", "weave"];

/// The host ends of pods' links. `underlay` are links known to carry peers.
pub(super) fn of(tables: &Tables, underlay: &BTreeSet<LinkIndex>) -> BTreeSet<LinkIndex> {
    let may_lead = |link: &&Link| is_to_another_namespace(link) && !underlay.contains(&link.index);
    let links = || tables.links().iter().filter(may_lead);
    let one_cni = links().any(|link| match link.master.and_then(|master| tables.link(master)) {
        None => named_by_one_cni(&link.name),
        Some(bridge) => named(bridge, &CNI_BRIDGES) && !named(bridge, &OTHERS_BRIDGES),
    });
    let leads = |link: &&Link| match link.master {
        Some(master) => is_port_of_pods(link, master, tables, underlay),
        None => named_by_one_cni(&link.name) || !one_cni && is_routed_to(link, tables),
    };
    links().filter(leads).map(|link| link.index).collect()
}

fn is_to_another_namespace(link: &Link) -> bool {
    let is_pair = matches!(link.kind.as_str(), "veth" | "netkit");
    is_pair && link.other_namespace.is_some() && !is_made_for_guest(link)
}

/// Where routes could not be read, the usual name has to do.
fn is_routed_to(link: &Link, tables: &Tables) -> bool {
    match tables.routes.known() {
        Some(_) => has_host_route(link.index, tables),
        None => named_for_pods(&link.name),
    }
}

fn is_port_of_pods(link: &Link, master: LinkIndex, tables: &Tables, underlay: &BTreeSet<LinkIndex>) -> bool {
    let Some(bridge) = tables.link(master) else { return false };
    match bridge.kind.as_str() {
        // The datapath holds the pods' links, whatever they are called, and the NIC.
        OPEN_VSWITCH => !named_as_nic(&link.name),
        "bridge" => named_for_pods(&link.name) && !underlay.contains(&master) && is_pods_bridge(bridge, tables),
        // A VRF: it holds links of any kind.
        "vrf" => named_for_pods(&link.name),
        _ => false,
    }
}

fn is_pods_bridge(bridge: &Link, tables: &Tables) -> bool {
    let mut ports = tables.links().iter().filter(|port| port.master == Some(bridge.index));
    let leads_to_wire = ports.any(|port| is_wired(port) || named_as_nic(&port.name));
    match holds_own_block(bridge.index, tables) {
        _ if leads_to_wire => false,
        Some(true) => true,
        _ if named(bridge, &OTHERS_BRIDGES) => false,
        _ if named(bridge, &CNI_BRIDGES) => true,
        Some(false) => false,
        None => !has_address(bridge.index, tables) || !pods_have_routes(tables),
    }
}

fn named(bridge: &Link, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| bridge.name.starts_with(prefix))
}

/// Whether the subnet of a bridge holds the node's own address on a tunnel; `None` where either has no address.
fn holds_own_block(bridge: LinkIndex, tables: &Tables) -> Option<bool> {
    let addresses = || tables.addresses.known().into_iter().flatten().filter(|own| own.global);
    let on_tunnel = |link| {
        let link = tables.link(link)?;
        link.tunnel.as_ref().filter(|tunnel| may_carry_pods(link, tunnel))
    };
    let inside = addresses().filter(|own| on_tunnel(own.link).is_some()).flat_map(|own| {
        let subnets = addresses().filter(|subnet| subnet.link == bridge);
        let alike = subnets.filter(|subnet| subnet.address.is_ipv4() == own.address.is_ipv4());
        alike.map(|subnet| covers(subnet.address, subnet.prefix, own.address))
    });
    inside.reduce(|one, other| one || other)
}

fn has_address(link: LinkIndex, tables: &Tables) -> bool {
    tables.addresses_of(link).any(|own| own.global)
}

/// Whether some pods have links and routes of their own.
fn pods_have_routes(tables: &Tables) -> bool {
    let mut links = tables.links().iter().filter(|link| link.master.is_none() && link.other_namespace.is_some());
    links.any(|link| named_for_pods(&link.name) && has_host_route(link.index, tables))
}

/// Whether a hypervisor made the port for one of its guests: Proxmox names them by the guest's number, libvirt counts.
pub fn is_made_for_guest(port: &Link) -> bool {
    let numbered = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_guest = |prefix: &str, between: char| {
        let parts = port.name.strip_prefix(prefix).and_then(|rest| rest.split_once(between));
        parts.is_some_and(|(guest, nic)| numbered(guest) && numbered(nic))
    };
    let counted = |prefix: &str| port.name.strip_prefix(prefix).is_some_and(numbered);
    of_guest("veth", 'i') || of_guest("tap", 'i') || of_guest("fwpr", 'p') || counted("vnet")
}

/// Whether a host end bears a name that one CNI gives.
pub(crate) fn named_by_one_cni(name: &str) -> bool {
    OF_ONE_CNI.iter().any(|prefix| name.starts_with(prefix))
}

fn named_for_pods(name: &str) -> bool {
    named_by_one_cni(name) || USUAL.iter().any(|prefix| name.starts_with(prefix))
}

/// A route to one address through the link, where the link has no subnet of its own and is not the way out: the NIC of a
/// container may have a host route to its gateway.
fn has_host_route(link: LinkIndex, tables: &Tables) -> bool {
    let single = |address: std::net::IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let has_subnet = tables.addresses_of(link).any(|own| own.global && own.prefix < single(own.address));
    let routes = || tables.routes.known().into_iter().flatten();
    let through = |route: &Route| route.hops.iter().any(|hop| hop.link == link);
    let is_way_out = || routes().any(|route| route.prefix == 0 && through(route));
    let to_one = |route: &Route| {
        let direct = route.hops.iter().any(|hop| hop.link == link && hop.gateway.is_none());
        route.prefix == single(route.destination) && route.table != LOCAL_TABLE && direct
    };
    !has_subnet && routes().any(to_one) && !is_way_out()
}

/// `RT_TABLE_LOCAL`: the kernel's own host routes.
const LOCAL_TABLE: u32 = 255;

/// Whether a tunnel may be a pod network's. A tunnel to one fixed far end, and WireGuard and IPsec whatever their peers,
/// are as often an administrator's way to another site, with an MTU of its own that pods never meet: only names tell
/// these apart.
pub(super) fn may_carry_pods(link: &Link, tunnel: &Tunnel) -> bool {
    let fixed = tunnel.remote.is_some_and(|remote| !remote.is_unspecified() && !remote.is_multicast());
    let by_key = matches!(tunnel.kind, TunnelKind::Wireguard | TunnelKind::Vti | TunnelKind::Vti6 | TunnelKind::Xfrm);
    let private = fixed || by_key;
    !private || POD_TUNNELS.iter().any(|part| link.name.contains(part))
}

/// What CNIs put into the names of such tunnels: Calico, Flannel, Cilium, Kilo, kube-router.
const POD_TUNNELS: [&str; 7] = ["cali", "flannel", "cilium", "kilo", "kube", "wg-v6", "tun-"];
