//! Tunnels in use, and whose packets they carry.

use std::collections::BTreeSet;

use super::outer::{self, Answers};
use super::pods::may_carry_pods;
use crate::kernel::{Link, LinkIndex, RouteKind, Tunnel};
use crate::overhead;
use crate::peers::Peer;
use crate::snapshot::setup::CILIUM_HOST;
use crate::tables::Tables;
use crate::units::{Family, LinkMtu};

/// A tunnel device in use, with what follows from the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelView {
    /// The device.
    pub link: LinkIndex,
    /// Its name.
    pub name: String,
    /// Its MTU.
    pub mtu: LinkMtu,
    /// Bytes that it adds; `None` where the outer family is not known, or what the kind adds.
    pub overhead: Option<u32>,
    /// The narrowest link that its outer packets leave by; the one that it is bound to where no way is known.
    pub lower: Option<LinkIndex>,
    /// That link's name and MTU.
    pub lower_link: Option<(String, LinkMtu)>,
    /// Every link that its outer packets leave by, in no order of rank; empty where no way is known.
    pub egress: Vec<LinkIndex>,
    /// Collect-metadata mode: it has no MTU or headroom of its own.
    pub external: bool,
    /// Whether routes to other nodes' pods lead through it.
    pub carries_pods: bool,
}

impl TunnelView {
    /// Whether it is the tunnel that Cilium's program sends pods' packets into.
    pub fn is_ciliums(&self) -> bool {
        is_ciliums(&self.name, self.external)
    }

    /// What is left of the lower link's MTU when a full inner packet is wrapped. Negative: it does not fit.
    pub fn headroom(&self) -> Option<i64> {
        let (_, lower_mtu) = self.lower_link.as_ref()?;
        let needed = i64::from(self.mtu.bytes()) + i64::from(self.overhead?);
        (!self.external).then(|| i64::from(lower_mtu.bytes()) - needed)
    }

    /// Why it is not known what it adds.
    pub fn unknown_overhead(&self) -> String {
        format!(
            "what {} adds to a packet is not known: nothing tells the family of its outer packets, or its kind adds more \
             or less by keys and options that the kernel does not show",
            self.name
        )
    }
}

/// Tunnels in use; `to_pods` are the links by which pods of peers are reached.
pub(super) fn all(
    tables: &Tables,
    peers: &[Peer],
    answers: &Answers,
    to_pods: &BTreeSet<LinkIndex>,
) -> Vec<TunnelView> {
    let view = |link: &Link| {
        let tunnel = link.tunnel.as_ref().filter(|tunnel| in_use(link, tunnel, tables))?;
        let pods = carries_pods(link, tunnel, tables, to_pods);
        Some(view(link, tunnel, tables, peers, answers, pods))
    };
    tables.links().iter().filter_map(view).collect()
}

/// Whether a tunnel device is in use. Modules leave fallback devices behind (`tunl0`, `sit0`, `gre0`) that are down and
/// have no address; a tunnel whose operator gave it an address or a remote is meant to work even while down. Cilium's
/// never has either: it is known by its name.
fn in_use(link: &Link, tunnel: &Tunnel, tables: &Tables) -> bool {
    link.up
        || is_ciliums(&link.name, tunnel.external)
        || tunnel.remote.is_some()
        || tables.addresses_of(link.index).next().is_some()
        || tables.remotes_of(link.index).next().is_some()
}

fn is_ciliums(name: &str, external: bool) -> bool {
    external && name.starts_with("cilium_")
}

fn view(
    link: &Link,
    tunnel: &Tunnel,
    tables: &Tables,
    peers: &[Peer],
    answers: &Answers,
    carries_pods: bool,
) -> TunnelView {
    let ends = outer::ends(link, tunnel, tables, peers);
    let egress = outer::egress(link, tunnel, &ends, tables, answers);
    let lower = outer::lower(tunnel, &egress, tables).filter(|&lower| lower != link.index);
    let address = tunnel.local.filter(|address| !address.is_unspecified()).or(ends.first().copied());
    let outer = tunnel.kind.outer().or(address.map(Family::of));
    TunnelView {
        link: link.index,
        name: link.name.clone(),
        mtu: link.mtu,
        overhead: outer.and_then(|outer| overhead::of(tunnel, outer)),
        lower,
        lower_link: lower.and_then(|index| tables.link(index)).map(|lower| (lower.name.clone(), lower.mtu)),
        egress,
        external: tunnel.external,
        carries_pods,
    }
}

/// Names tell a pod network's tunnel from an administrator's; a pod that is reached through it tells for certain.
fn carries_pods(link: &Link, tunnel: &Tunnel, tables: &Tables, to_pods: &BTreeSet<LinkIndex>) -> bool {
    let may = may_carry_pods(link, tunnel) || to_pods.contains(&link.index);
    may && carries_prefixes(tables, entrance(link, tunnel, tables))
}

/// The device that routes into a tunnel name: itself, or what Cilium's program takes packets from.
fn entrance(link: &Link, tunnel: &Tunnel, tables: &Tables) -> LinkIndex {
    let host = tables.link_named(CILIUM_HOST).filter(|_| is_ciliums(&link.name, tunnel.external));
    host.map_or(link.index, |host| host.index)
}

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
