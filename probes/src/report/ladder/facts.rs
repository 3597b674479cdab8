//! A report's rows, found by name: what stands on what, and which paths go through it.

use std::collections::{BTreeMap, BTreeSet};

use crate::path::Plane;
use crate::report::{LinkRow, PathRow, Report, Role, TunnelRow};
use crate::units::Family;

pub(super) struct Facts<'r> {
    links: BTreeMap<&'r str, &'r LinkRow>,
    ports: BTreeMap<&'r str, Vec<&'r LinkRow>>,
    tunnels: BTreeMap<&'r str, &'r TunnelRow>,
    /// Paths to node addresses, by every link that they leave by.
    underlay: BTreeMap<&'r str, Vec<&'r PathRow>>,
    /// Paths to tunnel addresses and pods, by the first tunnel that they go through, else by their first link.
    inner: BTreeMap<&'r str, Vec<&'r PathRow>>,
    /// This machine's pods.
    pub(super) pods: Vec<&'r LinkRow>,
}

impl<'r> Facts<'r> {
    pub(super) fn new(report: &'r Report) -> Self {
        let mut facts = Self {
            links: report.links.iter().map(|link| (link.name.as_str(), link)).collect(),
            ports: BTreeMap::new(),
            tunnels: report.tunnels.iter().map(|tunnel| (tunnel.link.as_str(), tunnel)).collect(),
            underlay: BTreeMap::new(),
            inner: BTreeMap::new(),
            pods: report.links.iter().filter(|link| link.role == Role::Pod).collect(),
        };
        for (master, link) in report.links.iter().filter_map(|link| Some((link.master.as_deref()?, link))) {
            facts.ports.entry(master).or_default().push(link);
        }
        report.paths.iter().for_each(|path| facts.sort_in(path));
        facts
    }

    fn sort_in(&mut self, path: &'r PathRow) {
        if path.plane == Plane::Underlay {
            path.via.iter().for_each(|link| self.underlay.entry(link).or_default().push(path));
        } else if let Some(by) = self.first_tunnel(path).or_else(|| path.via.first().map(String::as_str)) {
            self.inner.entry(by).or_default().push(path);
        }
    }

    fn first_tunnel(&self, path: &'r PathRow) -> Option<&'r str> {
        path.via.iter().map(String::as_str).find(|link| self.tunnels.contains_key(link))
    }

    pub(super) fn link(&self, name: &str) -> Option<&'r LinkRow> {
        self.links.get(name).copied()
    }

    pub(super) fn tunnel(&self, name: &str) -> Option<&'r TunnelRow> {
        self.tunnels.get(name).copied()
    }

    /// A link and all that it stands on, the lowest first.
    pub(super) fn chain(&self, top: &'r LinkRow) -> Vec<&'r LinkRow> {
        let (mut chain, mut seen) = (Vec::new(), BTreeSet::new());
        self.descend(top, &mut chain, &mut seen);
        chain
    }

    fn descend(&self, link: &'r LinkRow, chain: &mut Vec<&'r LinkRow>, seen: &mut BTreeSet<&'r str>) {
        if seen.insert(&link.name) {
            self.below(link).into_iter().for_each(|below| self.descend(below, chain, seen));
            chain.push(link);
        }
    }

    /// The links directly below a link. A veth or netkit has none: what it names is its other end.
    pub(super) fn below(&self, link: &LinkRow) -> Vec<&'r LinkRow> {
        match link.kind.as_str() {
            "veth" | "netkit" => Vec::new(),
            "bridge" | "bond" | "team" => self.uplinks(&link.name),
            _ => link.lower.as_deref().and_then(|lower| self.link(lower)).into_iter().collect(),
        }
    }

    /// Ports by which a bridge or bond reaches the wire; a tunnel that is a port is its way out only if nothing else is.
    fn uplinks(&self, master: &str) -> Vec<&'r LinkRow> {
        let ports = || self.ports.get(master).into_iter().flatten().copied();
        let wired: Vec<_> = ports().filter(|port| matches!(port.role, Role::Underlay | Role::Bridge)).collect();
        if wired.is_empty() { ports().filter(|port| port.role == Role::Tunnel).collect() } else { wired }
    }

    /// Paths to tunnel addresses and pods that leave by a tunnel, or straight by a link.
    pub(super) fn inner(&self, link: &str) -> &[&'r PathRow] {
        self.inner.get(link).map_or(&[], Vec::as_slice)
    }

    /// Paths that a tunnel's outer packets take: to the peers behind it where some are known, by the link below it and
    /// in the family of its own address. `None` where there is no peer to ask about.
    pub(super) fn outer(&self, tunnel: &TunnelRow) -> Option<Vec<&'r PathRow>> {
        let lower = tunnel.lower.as_deref()?;
        let behind: BTreeSet<&str> = self.inner(&tunnel.link).iter().map(|path| path.peer.as_str()).collect();
        let concerned = |path: &&PathRow| behind.is_empty() || behind.contains(path.peer.as_str());
        let alike = |path: &&PathRow| tunnel.local.is_none_or(|local| Family::of(local) == path.family);
        let first = |path: &&PathRow| {
            let before = path.via.iter().take_while(|link| *link != lower);
            before.into_iter().all(|link| !self.tunnels.contains_key(link.as_str()))
        };
        let below = self.underlay.get(lower).into_iter().flatten().copied();
        let paths: Vec<_> = below.filter(concerned).filter(alike).filter(first).collect();
        (!behind.is_empty() || !paths.is_empty()).then_some(paths)
    }

    /// Paths to node addresses that leave straight by a link, through no tunnel.
    pub(super) fn direct(&self, link: &str) -> Vec<&'r PathRow> {
        let leaves = |path: &&PathRow| path.via.first().is_some_and(|first| first == link);
        let all = self.underlay.get(link).into_iter().flatten().copied();
        all.filter(leaves).filter(|path| self.first_tunnel(path).is_none()).collect()
    }

    /// Links that pods' packets leave by without a tunnel; where no tunnel carries pods, those to the peers as well.
    pub(super) fn direct_links(&self) -> Vec<&'r LinkRow> {
        let tunnelled = self.tunnels.values().any(|tunnel| tunnel.carries_pods);
        let pods = self.inner.keys().filter(|link| !self.tunnels.contains_key(*link));
        let nodes = self.underlay.keys().filter(|link| !tunnelled && !self.direct(link).is_empty());
        let names: BTreeSet<&str> = pods.chain(nodes).copied().collect();
        let carries = |link: &&LinkRow| matches!(link.role, Role::Underlay | Role::Bridge);
        names.into_iter().filter_map(|name| self.link(name)).filter(carries).collect()
    }
}
