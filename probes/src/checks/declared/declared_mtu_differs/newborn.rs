//! What files give to pods that are born now, held against what they will leave by, what runs, and what is meant.
//!
//! A pod keeps the MTU that it was born with, so a file that was changed shows on no pod until one is made. Four things
//! can be at odds, and each has one place where it is loud:
//!
//! - **New pods do not fit** what pods reach other nodes by: a warning, whether a pod runs or none. Whose fault it is
//!   shows one link below: a tunnel that has room for the declared size, and is smaller, was changed or kept; else the
//!   declaration is too large. Pods that run and are too large are told with it, as far as the declaration made them so. One
//!   sum is Flannel's own: over IPv6 it takes 50 off where the kernel takes 70, on every node, so that is left to the code
//!   about pods.
//! - **No pod has the declared size, and all fit**: an info, for nothing is lost. While one end of one pod has it the others are
//!   older or younger, which `pod-mtu-mixed` tells; where some pods do not fit, `pod-mtu-too-large` does.
//! - **The operator means another size**: a warning, and only while what there is agrees with the operator. Otherwise
//!   that it does not is told already.
//! - **Flannel's devices are not what Flannel wrote**: it takes the MTU of the node's NIC when it starts, and leaves a
//!   tunnel that is there as it is. A larger one is told if it is too large for the link below: smaller pods cross it all
//!   the same. The pods' bridge is told if it is smaller than each of its ports: the kernel makes it as small as the
//!   smallest of them by itself, and then an old pod is the cause.
//!
//! What is larger than pods needs no word: a tunnel above the pods' size (Calico gives pods the smallest of several), a NIC
//! (BGP, host-gw, CrossSubnet), Cilium's devices above its routes. Cilium's plugin reads an `mtu` and asks its agent all
//! the same, so one that nobody has is an info there and no more. Plugins whose pods have no end on the node (macvlan,
//! ipvlan) are not compared, nor are bridges without an address: their pods do not leave by the node's routes.

use std::collections::BTreeMap;

use super::judged::{Found, in_routes};
use super::{Case, Evidence, Other, Place};
use crate::checks::Kept;
use crate::checks::links::pod_links::{self, PodLink};
use crate::checks::links::pod_ways;
use crate::declared::sizes::{self, Giver, Pods};
use crate::declared::{self, Declared, Network};
use crate::fact::{Fact, Unread};
use crate::kernel::{Link, TunnelKind};
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::setup::Cni;
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

/// What came of it.
#[derive(Default)]
pub(super) struct Newborn {
    pub(super) found: Vec<Found>,
    pub(super) unread: Vec<(Subject, Unread)>,
    pub(super) kept: Vec<Kept>,
}

/// What is at odds with what files say. `meant` is whether what there is was found to differ from what the operator means.
pub(super) fn of(node: &Snapshot, differs_from_meant: bool) -> Newborn {
    let mut newborn = Newborn { found: flannels_tunnels(node).collect(), ..Newborn::default() };
    if let Fact::Unread(why) = &node.tables.declared.flannel {
        let own = flannels_own(node).map(|tunnel| (Subject::Link(tunnel.name.clone()), why.clone()));
        newborn.unread.extend(own);
    }
    match sizes::pods(&node.tables.declared) {
        Ok(pods) => {
            if let Some(pods) = pods.filter(|pods| leave_by_routes(node, pods)) {
                newborn.judge(node, differs_from_meant, &pods);
            }
        }
        // It may be a tunnel's or a bridge's as well as the pods'.
        Err(why) => {
            newborn.unread.push((Subject::Pods, why));
            newborn.kept.push(Kept::with("network", Network::Pods.name()));
        }
    }
    newborn
}

impl Newborn {
    fn judge(&mut self, node: &Snapshot, differs_from_meant: bool, pods: &Pods) {
        let declared = Declared::from(pods);
        let too_large = too_large(node, pods, &declared);
        let fits = too_large.is_none();
        self.found.extend(too_large);
        self.found.extend(small_bridge(node, pods, &declared));
        if !fits {
            return;
        }
        if let Some(meant) = (!differs_from_meant).then(|| otherwise_meant(node, &declared)).flatten() {
            return self.found.push(meant);
        }
        match older(node, pods, &declared) {
            Ok(older) => self.found.extend(older),
            Err(why) => self.unread.push((Subject::Pods, why)),
        }
    }
}

/// Whether pods that do not fit are so by the declaration.
pub(super) fn explained(node: &Snapshot, evidence: &Evidence) -> Vec<Subject> {
    let Ok(links) = pod_links::all(node) else { return Vec::new() };
    let of_it = |pod: &PodLink<'_>| pod.binds().carries() <= evidence.declared;
    if links.told().iter().all(of_it) { vec![Subject::Pods] } else { Vec::new() }
}

fn leave_by_routes(node: &Snapshot, pods: &Pods) -> bool {
    let flat = |bridge: &Link| node.tables.addresses_of(bridge.index).all(|own| !own.global);
    let bridge = pods.bridge.as_deref().and_then(|name| node.tables.link_named(name));
    !matches!(pods.plugin.as_str(), "macvlan" | "ipvlan") && !bridge.is_some_and(flat)
}

/// That pods which are born now will not fit.
fn too_large(node: &Snapshot, pods: &Pods, declared: &Declared) -> Option<Found> {
    let way = pod_ways::narrowest(node).filter(|way| way.takes().carries() < declared.mtu)?;
    let link = node.tables.link_named(&way.link)?;
    let tunnel = node.topology.tunnel(link.index).filter(|_| way.tunnel);
    if tunnel.is_some_and(|tunnel| is_flannels_sum(pods, link, tunnel)) {
        return None;
    }
    let room = tunnel.and_then(room).filter(|_| way.route.is_none());
    let mut found = if room.is_some_and(|room| room >= declared.mtu) {
        Found::at(declared, Place::Tunnel, link)
    } else {
        let place = match (&way.route, way.tunnel) {
            (Some(_), _) => Place::Route,
            (None, true) => Place::Tunnel,
            (None, false) => Place::Device,
        };
        let mut found = Found::at(declared, place, link);
        found.evidence.actual = way.takes().carries();
        found.evidence.destination = way.route.map(|route| route.to);
        found.evidence.case = Case::NewPods;
        found
    };
    found.evidence.overhead = tunnel.and_then(|tunnel| tunnel.overhead);
    Some(found)
}

/// What a tunnel could have over the link below it.
fn room(tunnel: &TunnelView) -> Option<IpSize> {
    let (_, lower) = tunnel.lower_link.as_ref()?;
    Some(lower.carries().less(tunnel.overhead?))
}

/// Flannel takes off what VXLAN adds over IPv4, and over IPv6 the kernel caps the device at what is left there.
fn is_flannels_sum(pods: &Pods, link: &Link, tunnel: &TunnelView) -> bool {
    let vxlan = link.tunnel.as_ref().is_some_and(|tunnel| tunnel.kind == TunnelKind::Vxlan);
    let over_ipv6 = tunnel.overhead == Some(crate::overhead::vxlan(crate::units::Family::Ipv6));
    let apart = crate::units::Family::Ipv6.header() - crate::units::Family::Ipv4.header();
    pods.by == Giver::Flannel && vxlan && over_ipv6 && pods.mtu == link.mtu.carries().plus(apart)
}

/// Flannel's tunnels that are larger than what Flannel wrote, and than the link below takes.
fn flannels_tunnels(node: &Snapshot) -> impl Iterator<Item = Found> {
    let mtu = node.tables.declared.flannel.known().and_then(|subnet| subnet.mtu);
    flannels_own(node).filter_map(move |tunnel| {
        let mtu = mtu.filter(|&mtu| mtu < tunnel.mtu.carries() && tunnel.headroom().is_some_and(|left| left < 0))?;
        let declared =
            Declared { source: declared::FLANNEL, written: sizes::flannels(), network: Network::Tunnel, mtu };
        let mut found = Found::at(&declared, Place::Tunnel, node.tables.link(tunnel.link)?);
        found.evidence.overhead = tunnel.overhead;
        Some(found)
    })
}

fn flannels_own(node: &Snapshot) -> impl Iterator<Item = &TunnelView> {
    node.pod_tunnels().filter(|tunnel| tunnel.name.starts_with("flannel"))
}

/// The pods' bridge, where it is smaller than all of its ports and than what is declared.
fn small_bridge(node: &Snapshot, pods: &Pods, declared: &Declared) -> Option<Found> {
    let bridge =
        node.tables.link_named(pods.bridge.as_deref()?).filter(|link| link.kind == "bridge" && link.works())?;
    let ports: Vec<_> = node.tables.links().iter().filter(|port| port.master == Some(bridge.index)).collect();
    let of_pods = ports.iter().any(|port| node.topology.role(port.index) == Role::Pod);
    let follows = ports.iter().any(|port| port.mtu <= bridge.mtu);
    let small = bridge.mtu.carries() < declared.mtu && of_pods && !follows;
    small.then(|| Found::at(declared, Place::Device, bridge))
}

/// That the operator means another size.
fn otherwise_meant(node: &Snapshot, declared: &Declared) -> Option<Found> {
    let meant = node.expect.overlay_mtu.filter(|&meant| meant != declared.mtu && node.setup.cni != Cni::Cilium)?;
    let has = |mtu: IpSize| node.pod_tunnels().any(|tunnel| tunnel.mtu.carries() == mtu);
    // Of several tunnels the operator may mean the larger one, and pods have the smaller one's.
    if has(meant) && has(declared.mtu) {
        return None;
    }
    let mut found = Found::new(declared, Place::Declaration, meant);
    found.evidence.case = Case::Declarations;
    found.evidence.other = Some(Other { source: declared::CONFIGURATION.into(), written: "expect.overlay_mtu".into() });
    Some(found)
}

/// That no pod has the declared size, though all fit.
fn older(node: &Snapshot, pods: &Pods, declared: &Declared) -> Result<Option<Found>, Unread> {
    let of_plugin = |pod: &PodLink<'_>| {
        let master = pod.host.master.and_then(|master| node.tables.link(master));
        master.map(|master| master.name.as_str()) == pods.bridge.as_deref()
    };
    let all = pod_links::all(node)?;
    let told: Vec<_> = all.told().into_iter().filter(of_plugin).collect();
    let budget = pod_ways::narrowest(node).map(|way| way.takes());
    // Both ends are born with one size, so either of them tells what that was.
    let born_so = |pod: &PodLink<'_>| {
        let ends = [Some(pod.host.mtu), pod.end.map(|end| end.mtu)];
        ends.into_iter().flatten().any(|mtu| mtu.carries() == declared.mtu)
    };
    let settled = |pod: &PodLink<'_>| born_so(pod) || budget.is_some_and(|budget| pod.binds() > budget);
    let by_ciliums_routes = pods.plugin == "cilium-cni" && in_routes(node, declared).is_some_and(|it| it.is_empty());
    if by_ciliums_routes || told.iter().any(settled) {
        return Ok(None);
    }
    if let Some(why) = all.unread.as_ref().filter(|_| all.denied().is_none() && all.half.iter().any(of_plugin)) {
        return Err(why.clone());
    }
    let mut links_by_mtu: BTreeMap<LinkMtu, usize> = BTreeMap::new();
    for pod in &told {
        *links_by_mtu.entry(pod.binds()).or_default() += 1;
    }
    let Some(smallest) = links_by_mtu.keys().next().copied() else { return Ok(None) };
    let mut found = Found::new(declared, Place::Pods, smallest.carries());
    found.severity = Severity::Info;
    found.evidence.case = Case::OldPods;
    found.evidence.links_by_mtu = links_by_mtu;
    Ok(Some(found))
}

#[cfg(test)]
mod tests;
