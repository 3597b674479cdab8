//! Who stands on whom, and what each link is for.
//!
//! A link stands on the links that carry it: a tunnel on the link that its outer packets leave by, a bridge on its
//! uplinks, a bond on its members, a VLAN on its parent. From that follow the roles. Roles are read off what a link
//! *does* – carry a tunnel or the route to a peer – and off names only where the kernel keeps no other trace (whose
//! container hangs on a bridge), because the same name means different things on different machines.
//!
//! A link that went down takes its routes with it. So a link also counts as underlay if a tunnel is bound to it or if
//! one of its addresses shares a subnet with a peer: the incident to be found is that very link being down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::fact::Fact;
use crate::kernel::{Link, LinkIndex, Route, RouteKind, Tunnel, TunnelKind};
use crate::overhead;
use crate::peers::Peer;
use crate::report::Role;
use crate::units::{Family, LinkMtu};

use crate::tables::{Tables, covers};

mod pods;

/// Who stands on whom.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    names: BTreeMap<String, LinkIndex>,
    below: BTreeMap<LinkIndex, BTreeSet<LinkIndex>>,
    roles: BTreeMap<LinkIndex, Role>,
    tunnels: Vec<TunnelView>,
}

/// A tunnel device in use, with what follows from the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelView {
    /// The device.
    pub link: LinkIndex,
    /// Its name.
    pub name: String,
    /// Its MTU.
    pub mtu: LinkMtu,
    /// Bytes that it adds; `None` where the outer family is not known.
    pub overhead: Option<u32>,
    /// The link that its outer packets leave by, bound or found by route.
    pub lower: Option<LinkIndex>,
    /// That link's name and MTU.
    pub lower_link: Option<(String, LinkMtu)>,
    /// Collect-metadata mode: it has no MTU or headroom of its own.
    pub external: bool,
    /// Whether routes to other nodes' pods lead through it.
    pub carries_pods: bool,
}

impl TunnelView {
    /// What is left of the lower link's MTU when a full inner packet is wrapped. Negative: it does not fit.
    pub fn headroom(&self) -> Option<i64> {
        let (_, lower_mtu) = self.lower_link.as_ref()?;
        let needed = i64::from(self.mtu.bytes()) + i64::from(self.overhead?);
        (!self.external).then(|| i64::from(lower_mtu.bytes()) - needed)
    }
}

impl Topology {
    /// Reads the topology off the tables.
    pub fn new(tables: &Tables, peers: &[Peer], lookups: &BTreeMap<IpAddr, Fact<Route>>) -> Self {
        let links = tables.links();
        let tunnels: Vec<_> =
            links.iter().filter(|link| tunnel_in_use(link, tables)).map(|link| view(link, tables, lookups)).collect();
        let first_hops = first_hops(peers, lookups);
        let mut underlay: BTreeSet<LinkIndex> = first_hops.iter().copied().collect();
        underlay.extend(tunnels.iter().filter_map(|tunnel| tunnel.lower));
        underlay.extend(sharing_a_subnet(tables, peers));
        let pods = pods::of(tables, &underlay);
        let below = links.iter().map(|link| (link.index, directly_below(link, tables, &tunnels, &pods))).collect();
        let mut topology = Self {
            names: links.iter().map(|link| (link.name.clone(), link.index)).collect(),
            below,
            roles: BTreeMap::new(),
            tunnels,
        };
        topology.roles = topology.assign_roles(links, &underlay, &pods);
        topology
    }

    /// The kernel's number of the link of this name.
    pub fn index_of(&self, name: &str) -> Option<LinkIndex> {
        self.names.get(name).copied()
    }

    /// What a link is for.
    pub fn role(&self, link: LinkIndex) -> Role {
        self.roles.get(&link).copied().unwrap_or(Role::Other)
    }

    /// Tunnels in use.
    pub fn tunnels(&self) -> &[TunnelView] {
        &self.tunnels
    }

    /// The tunnel of this device, if it is one in use.
    pub fn tunnel(&self, link: LinkIndex) -> Option<&TunnelView> {
        self.tunnels.iter().find(|tunnel| tunnel.link == link)
    }

    /// Links directly below a link.
    pub fn directly_below(&self, link: LinkIndex) -> impl Iterator<Item = LinkIndex> + '_ {
        self.below.get(&link).into_iter().flatten().copied()
    }

    /// A link and everything that it stands on, nearest first.
    pub fn chain(&self, link: LinkIndex) -> Vec<LinkIndex> {
        let mut chain = vec![link];
        let mut at = 0;
        while at < chain.len() {
            let next: Vec<_> = self.directly_below(chain[at]).filter(|index| !chain.contains(index)).collect();
            chain.extend(next);
            at += 1;
        }
        chain
    }

    /// Whether the link named `above` stands on the one named `below`, and is another.
    pub fn stands_on(&self, above: &str, below: &str) -> bool {
        let (Some(above), Some(below)) = (self.index_of(above), self.index_of(below)) else { return false };
        above != below && self.chain(above).contains(&below)
    }

    /// Whether pods' packets to other nodes leave by this link.
    pub fn carries_pods(&self, link: &str) -> bool {
        let Some(index) = self.index_of(link) else { return false };
        self.tunnels.iter().any(|tunnel| tunnel.carries_pods && self.chain(tunnel.link).contains(&index))
    }

    fn assign_roles(
        &self,
        links: &[Link],
        underlay: &BTreeSet<LinkIndex>,
        pods: &BTreeSet<LinkIndex>,
    ) -> BTreeMap<LinkIndex, Role> {
        let carrying: BTreeSet<_> = underlay.iter().flat_map(|&link| self.chain(link)).collect();
        let pod_bridges: BTreeSet<_> =
            links.iter().filter(|link| pods.contains(&link.index)).filter_map(|link| link.master).collect();
        let role = |link: &Link| match link {
            _ if self.tunnel(link.index).is_some() => Role::Tunnel,
            _ if pods.contains(&link.index) => Role::Pod,
            _ if link.is_loopback() => Role::Other,
            _ if link.kind == "bridge" && carrying.contains(&link.index) => Role::Bridge,
            _ if pod_bridges.contains(&link.index) => Role::Bridge,
            _ if carrying.contains(&link.index) => Role::Underlay,
            _ => Role::Other,
        };
        links.iter().map(|link| (link.index, role(link))).collect()
    }
}

/// Whether a tunnel device is in use. Modules leave fallback devices behind (`tunl0`, `sit0`, `gre0`) that are down and
/// have no address; a tunnel whose operator gave it an address or a remote is meant to work even while down. Cilium's
/// never has either: it is known by its name.
fn tunnel_in_use(link: &Link, tables: &Tables) -> bool {
    let Some(tunnel) = &link.tunnel else { return false };
    link.up
        || (tunnel.external && link.name.starts_with("cilium_"))
        || tunnel.remote.is_some()
        || tables.addresses_of(link.index).next().is_some()
        || tables.remotes_of(link.index).next().is_some()
}

fn view(link: &Link, tables: &Tables, lookups: &BTreeMap<IpAddr, Fact<Route>>) -> TunnelView {
    let tunnel = link.tunnel.as_ref().expect("only tunnels are viewed");
    let remotes: Vec<_> =
        tunnel.remote.into_iter().chain(tables.remotes_of(link.index).map(|(_, address)| address)).collect();
    let outer = tunnel.local.filter(|address| !address.is_unspecified()).or(remotes.first().copied());
    let by_route =
        || remotes.iter().find_map(|address| lookups.get(address)?.known()?.hops.first()).map(|hop| hop.link);
    let by_address = || tunnel.local.and_then(|local| owner(tables, local));
    let lower = tunnel.lower.or_else(by_route).or_else(by_address).filter(|&lower| lower != link.index);
    TunnelView {
        link: link.index,
        name: link.name.clone(),
        mtu: link.mtu,
        overhead: outer.map(|address| overhead::of(tunnel.kind, Family::of(address))),
        lower,
        lower_link: lower.and_then(|index| tables.link(index)).map(|lower| (lower.name.clone(), lower.mtu)),
        external: tunnel.external,
        carries_pods: may_carry_pods(link, tunnel) && carries_prefixes(tables, link.index),
    }
}

/// The link that has this address.
pub fn owner(tables: &Tables, address: IpAddr) -> Option<LinkIndex> {
    tables.addresses.known()?.iter().find(|own| own.address == address).map(|own| own.link)
}

/// Whether a tunnel may be a pod network's. A tunnel to one fixed far end, and WireGuard whatever its peers, are as often
/// an administrator's way to another site, with an MTU of its own that pods never meet: only names tell these apart.
fn may_carry_pods(link: &Link, tunnel: &Tunnel) -> bool {
    let fixed = tunnel.remote.is_some_and(|remote| !remote.is_unspecified() && !remote.is_multicast());
    let private = fixed || tunnel.kind == TunnelKind::Wireguard;
    !private || POD_TUNNELS.iter().any(|part| link.name.contains(part))
}

/// What CNIs put into the names of such tunnels: Calico, Flannel, Cilium, Kilo, kube-router.
const POD_TUNNELS: [&str; 7] = ["cali", "flannel", "cilium", "kilo", "kube", "wg-v6", "tun-"];

/// Routes through a tunnel that somebody put there: VXLAN's and IPIP's have a gateway, WireGuard's have none.
fn carries_prefixes(tables: &Tables, tunnel: LinkIndex) -> bool {
    let mut routes = tables.routes.known().into_iter().flatten();
    routes.any(|route| {
        let mut hops = route.hops.iter().filter(|hop| hop.link == tunnel);
        let through = hops.any(|hop| hop.gateway.is_some() || route.protocol != FROM_KERNEL);
        route.kind == RouteKind::Unicast && through
    })
}

/// `RTPROT_KERNEL`: routes that come with an address.
const FROM_KERNEL: u8 = 2;

/// Links that the kernel sends packets to peers by, tunnels left out: they stand on the ones that count.
fn first_hops(peers: &[Peer], lookups: &BTreeMap<IpAddr, Fact<Route>>) -> Vec<LinkIndex> {
    let addresses = peers.iter().filter_map(|peer| peer.underlay);
    let routes = addresses.filter_map(|address| lookups.get(&address)?.known());
    routes.filter(|route| route.kind == RouteKind::Unicast).flat_map(|route| &route.hops).map(|hop| hop.link).collect()
}

fn sharing_a_subnet(tables: &Tables, peers: &[Peer]) -> Vec<LinkIndex> {
    let addresses = tables.addresses.known().into_iter().flatten();
    let narrow = |address: &&crate::kernel::Address| address.global && address.prefix > 0;
    let shares = |own: &crate::kernel::Address| {
        let mut theirs = peers.iter().filter_map(|peer| peer.underlay);
        theirs.any(|address| covers(own.address, own.prefix, address))
    };
    addresses.filter(narrow).filter(|own| shares(own)).map(|own| own.link).collect()
}

fn directly_below(
    link: &Link,
    tables: &Tables,
    tunnels: &[TunnelView],
    pods: &BTreeSet<LinkIndex>,
) -> BTreeSet<LinkIndex> {
    let ports = || tables.links().iter().filter(|port| port.master == Some(link.index));
    match link.kind.as_str() {
        "bridge" => uplinks(ports().filter(|port| !pods.contains(&port.index)).collect()),
        "bond" | "team" => ports().map(|port| port.index).collect(),
        "veth" => BTreeSet::new(),
        _ => match tunnels.iter().find(|tunnel| tunnel.link == link.index) {
            Some(tunnel) => tunnel.lower.into_iter().collect(),
            None => link.lower.filter(|&lower| lower != link.index).into_iter().collect(),
        },
    }
}

/// The ports by which a bridge reaches the wire: hardware, bonds and VLANs. A machine that is itself a container has a
/// veth for a NIC: there it is what is named as the kernel and udev name NICs, beside the veths of guests; where nothing
/// is, whatever is neither a pod's nor a guest's.
fn uplinks(ports: Vec<&Link>) -> BTreeSet<LinkIndex> {
    let wired = |port: &&Link| matches!(port.kind.as_str(), "device" | "bond" | "team" | "vlan" | "macvlan");
    let hardware: BTreeSet<_> = ports.iter().filter(|port| wired(port)).map(|port| port.index).collect();
    if !hardware.is_empty() {
        return hardware;
    }
    let named: BTreeSet<_> = ports.iter().filter(|port| named_as_nic(&port.name)).map(|port| port.index).collect();
    if !named.is_empty() {
        return named;
    }
    ports.iter().filter(|port| port.kind != "tun").map(|port| port.index).collect()
}

fn named_as_nic(name: &str) -> bool {
    NICS.iter().any(|prefix| name.starts_with(prefix))
}

/// The kernel's `eth0` and systemd-udevd's predictable names. Not `en` alone: AWS names pods' links `eni...`.
const NICS: [&str; 7] = ["eth", "eno", "enp", "ens", "enx", "enP", "ib"];

#[cfg(test)]
mod tests;
