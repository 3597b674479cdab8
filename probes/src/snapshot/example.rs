//! Machines for tests: the reference cluster's first node, healthy, and what can be changed about it.
//!
//! Tables are made by hand, the topology is the real one read off them, so a test that changes a table sees what a
//! changed machine would show.

mod devices;
mod fellows;
mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::Expect;
use crate::declared::Files;
use crate::declared::host::RawHost;
use crate::declared::sysctl::{RawFiles, Written};
use crate::fact::{Fact, Unread};
use crate::kernel::ethtool::{Channels, Device, Devices, Features};
use crate::kernel::pod_end::PodEnd;
use crate::kernel::{
    Address, BridgeFilter, Counters, Df, FdbEntry, Hop, Inet, Inet6, Link, LinkIndex, Mac, Neighbour, NeighbourState,
    Query, Route, RouteKind, Tunnel, TunnelKind,
};
use crate::loss::Losses;
use crate::node::nothing_known;
use crate::path::spread::{Fate, Swept};
use crate::path::{Measured, PathKey, Plane, Verdict};
use crate::peers::hearing::Hearing;
use crate::peers::{Behind, Peer};
use crate::transfer::Made;
use crate::units::{Dual, Family, IpSize, LinkMtu};
use crate::windows::Windows;

use super::topology::outer::{self, Answers};
use super::{Cached, Path, Setup, Snapshot, Tables, Topology};

pub(crate) use values::*;

/// A machine in the making.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) tables: Tables,
    pub(crate) counters_before: Fact<Counters>,
    pub(crate) counters_untroubled: Fact<Counters>,
    pub(crate) windows: Windows,
    pub(crate) peers: Vec<Peer>,
    pub(crate) lookups: BTreeMap<IpAddr, Fact<Route>>,
    pub(crate) devices: Devices,
    pub(crate) expect: Expect,
    pub(crate) hearing: Option<Hearing>,
    /// What the kernel answers where it is asked with a source too.
    pub(crate) sourced: Answers,
    verdicts: BTreeMap<(String, Plane), Fact<Measured>>,
    addressed: BTreeMap<IpAddr, Fact<Measured>>,
    outers: BTreeMap<String, Fact<Measured>>,
    anyone: BTreeMap<String, Fact<Measured>>,
    cached: BTreeMap<IpAddr, Cached>,
    swept: BTreeMap<IpAddr, Fact<Swept>>,
    transfers: BTreeMap<String, Fact<Made>>,
    differing: fellows::Differing,
    pub(crate) vips: Vec<super::vips::Vip>,
}

impl Example {
    /// A machine with `lo` and nothing else.
    pub(crate) fn empty() -> Self {
        let tables = Tables {
            links: Fact::Known(Vec::new()),
            addresses: Fact::Known(Vec::new()),
            routes: Fact::Known(Vec::new()),
            exceptions: Fact::Known(Vec::new()),
            neighbours: Fact::Known(Vec::new().into()),
            neighbour_tables: Fact::Known(Vec::new()),
            forwarding: Fact::Known(Vec::new().into()),
            pod_ends: Fact::Known(BTreeMap::new()),
            ip_forward: Fact::Known(1),
            rp_filter_all: Fact::Known(0),
            proxy_arp_all: Fact::Known(0),
            ipv6_forwarding: Fact::Known(1),
            no_pmtu_disc: Fact::Known(0),
            bridge_nf_iptables: Fact::Known(1),
            bridge_nf_ip6tables: Fact::Known(1),
            written: Fact::Known(Written::new(&RawFiles::default())),
            declared: Files::parse(&RawHost::nothing()),
            values: BTreeMap::new(),
            conntrack: Fact::Absent,
            counters: Fact::Known(BTreeMap::from([("reverse_path_filter", 7)])),
            ports: Fact::Known(Vec::new()),
            malformed: Vec::new(),
        };
        let windows = watched(&tables.counters);
        let (counters_before, counters_untroubled) = (tables.counters.clone(), tables.counters.clone());
        let (peers, lookups, verdicts) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (addressed, outers, swept) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            tables,
            counters_before,
            counters_untroubled,
            windows,
            peers,
            lookups,
            devices: Devices { processors: Fact::Known(8), ..Devices::unread() },
            expect: Expect::default(),
            hearing: None,
            sourced: Answers::new(),
            verdicts,
            addressed,
            outers,
            anyone: BTreeMap::new(),
            cached: BTreeMap::new(),
            swept,
            transfers: BTreeMap::new(),
            differing: fellows::Differing::new(),
            vips: Vec::new(),
        }
        .device("lo", "loopback", 65_536)
    }

    /// master-1: vmbr0 on enp4s0 for management, vmbr1 on enp5s0 for Kubernetes, Calico's VXLAN, two pods, two peers.
    pub(crate) fn reference() -> Self {
        Self::empty()
            .device("enp4s0", "device", 1500)
            .device("enp5s0", "device", 1500)
            .device("vmbr0", "bridge", 1500)
            .device("vmbr1", "bridge", 1500)
            .port("enp4s0", "vmbr0")
            .port("enp5s0", "vmbr1")
            .address("vmbr0", "192.168.0.11", 24)
            .address("vmbr1", "10.0.0.11", 24)
            .route("0.0.0.0", 0, Some("192.168.0.1"), "vmbr0")
            .vxlan("vxlan.calico", 1450, Some("vmbr1"), "10.0.0.11")
            .address("vxlan.calico", "10.244.1.0", 32)
            .pod("cali1a2b3c4d5e6", 1450, "10.244.1.2")
            .pod("cali9f8e7d6c5b4", 1450, "10.244.1.3")
            .peer("master-2", "vmbr1", "10.0.0.12")
            .peer("master-3", "vmbr1", "10.0.0.13")
            .behind_tunnel("master-2", "vxlan.calico", "10.244.2.0", &["10.244.2.2"])
            .behind_tunnel("master-3", "vxlan.calico", "10.244.3.0", &["10.244.3.2"])
            .gateway_of_pods("192.168.0.1", "vmbr0")
    }

    /// A node that is itself a container: its NIC is a veth with the other end elsewhere. Flannel, pods on `cni0`.
    pub(crate) fn flannel() -> Self {
        let mut node = Self::empty()
            .device("eth0", "veth", 1500)
            .address("eth0", "172.20.0.2", 16)
            .route("0.0.0.0", 0, Some("172.20.0.1"), "eth0")
            .vxlan("flannel.1", 1450, Some("eth0"), "172.20.0.2")
            .address("flannel.1", "10.42.0.0", 32)
            .device("cni0", "bridge", 1450)
            .address("cni0", "10.42.0.1", 24)
            .device("veth0a1b2c3d", "veth", 1450)
            .port("veth0a1b2c3d", "cni0")
            .peer("worker", "eth0", "172.20.0.3")
            .behind_tunnel("worker", "flannel.1", "10.42.1.0", &["10.42.1.4"]);
        node.link("eth0").other_namespace = Some(0);
        node.link("veth0a1b2c3d").other_namespace = Some(1);
        node
    }

    /// A node that speaks both families through one tunnel, with one peer at `underlay`: the tunnel is of that family.
    pub(crate) fn dual(underlay: &str) -> Self {
        let local = if ip(underlay).is_ipv4() { "10.0.0.11" } else { "fd00::11" };
        let pods = ["10.244.2.2", "fd00:244:2::2"];
        Self::empty()
            .device("enp5s0", "device", 1500)
            .device("vmbr1", "bridge", 1500)
            .port("enp5s0", "vmbr1")
            .address("vmbr1", "10.0.0.11", 24)
            .address("vmbr1", "fd00::11", 64)
            .vxlan("vxlan.calico", if ip(underlay).is_ipv4() { 1450 } else { 1430 }, Some("vmbr1"), local)
            .address("vxlan.calico", "10.244.1.0", 32)
            .address("vxlan.calico", "fd00:244:1::", 128)
            .peer("master-2", "vmbr1", underlay)
            .behind_tunnel("master-2", "vxlan.calico", "10.244.2.0", &pods)
    }

    /// A node that speaks both families, each through a tunnel of its own, as Calico makes it, with one peer.
    pub(crate) fn two_tunnels() -> Self {
        Self::dual("10.0.0.12")
            .vxlan("vxlan-v6.calico", 1430, Some("vmbr1"), "fd00::11")
            .address("vxlan-v6.calico", "fd00:244:1::", 128)
            .also_at("master-2", "vmbr1", "fd00::12")
            .behind_tunnel("master-2", "vxlan-v6.calico", "fd00:244:2::", &["fd00:244:2::2"])
    }

    /// Adds a device that is up and has carrier.
    pub(crate) fn device(mut self, name: &str, kind: &str, mtu: u32) -> Self {
        let index = LinkIndex(u32::try_from(self.tables.links().len()).unwrap() + 1);
        let Fact::Known(links) = &mut self.tables.links else { unreachable!("examples start with links") };
        links.push(Link {
            index,
            name: name.into(),
            kind: kind.into(),
            mtu: LinkMtu::new(mtu),
            up: true,
            carrier: Some(true),
            master: None,
            lower: None,
            other_namespace: None,
            other_end: None,
            mac: None,
            tunnel: None,
            bridge: (kind == "bridge").then(BridgeFilter::default),
            inet: Some(Inet { forwarding: true, ..Inet::default() }),
            inet6: Some(Inet6 { forwarding: true, accept_ra: 1, ..Inet6::default() }),
            other_names: Vec::new(),
            bus: (kind == "device").then(|| "pci".into()),
        });
        let channels = if kind == "device" { Fact::Known(Channels { receiving: 8, most: 8 }) } else { Fact::Absent };
        self.devices.set(index, Device { features: Fact::Known(Features::default()), channels });
        self
    }

    /// Makes a link a port.
    pub(crate) fn port(mut self, name: &str, master: &str) -> Self {
        self.link(name).master = Some(self.index(master));
        self
    }

    /// Gives a link an address; a subnet brings its route.
    pub(crate) fn address(mut self, link: &str, address: &str, prefix: u8) -> Self {
        let link_index = self.index(link);
        let own = Address {
            link: link_index,
            address: ip(address),
            prefix,
            global: true,
            autoconfigured: false,
            valid: None,
        };
        let Fact::Known(addresses) = &mut self.tables.addresses else { unreachable!("examples start with addresses") };
        addresses.push(own);
        if [32, 128].contains(&prefix) { self } else { self.route(address, prefix, None, link) }
    }

    /// Adds a route of the main table.
    pub(crate) fn route(mut self, to: &str, prefix: u8, gateway: Option<&str>, link: &str) -> Self {
        let route = self.to(ip(to), prefix, gateway.map(ip), link);
        let Fact::Known(routes) = &mut self.tables.routes else { unreachable!("examples start with routes") };
        routes.push(route);
        self
    }

    /// Adds the route that Felix makes for a block of the node's.
    pub(crate) fn block(self, network: &str, prefix: u8) -> Self {
        self.routed(network, prefix, |route| Route {
            protocol: 80,
            kind: RouteKind::Blackhole,
            hops: Vec::new(),
            ..route
        })
    }

    /// Adds the kernel's own route to an address of a link.
    pub(crate) fn local(self, link: &str, address: &str) -> Self {
        let hop = Hop { gateway: None, link: self.index(link) };
        let local = |route| Route { table: 255, protocol: 2, kind: RouteKind::Local, hops: vec![hop], ..route };
        self.routed(address, if ip(address).is_ipv4() { 32 } else { 128 }, local)
    }

    fn routed(mut self, to: &str, prefix: u8, change: impl FnOnce(Route) -> Route) -> Self {
        let route = change(self.to(ip(to), prefix, None, "lo"));
        let Fact::Known(routes) = &mut self.tables.routes else { unreachable!("examples start with routes") };
        routes.push(route);
        self
    }

    /// Adds a VXLAN device, VNI 4096 on UDP 4789.
    pub(crate) fn vxlan(self, name: &str, mtu: u32, lower: Option<&str>, local: &str) -> Self {
        let mut node = self.device(name, "vxlan", mtu);
        node.link(name).tunnel = Some(Tunnel {
            kind: TunnelKind::Vxlan,
            id: Some(4096),
            port: Some(4789),
            local: Some(ip(local)),
            remote: None,
            lower: lower.map(|lower| node.index(lower)),
            df: Some(Df::Unset),
            external: false,
            learning: false,
            asks: false,
            options: crate::kernel::Options::default(),
        });
        node
    }

    /// Adds the host end of a pod's link, as Calico makes it.
    pub(crate) fn pod(self, name: &str, mtu: u32, address: &str) -> Self {
        let host = if ip(address).is_ipv4() { 32 } else { 128 };
        let mut node = self.device(name, "veth", mtu).route(address, host, None, name);
        node.link(name).other_namespace = Some(3);
        node.link(name).inet = Some(Inet { forwarding: true, proxy_arp: true, ..Inet::default() });
        node
    }

    /// Changes the other end of a pod's link; until told otherwise it is up and has the MTU of the node's.
    pub(crate) fn end(mut self, link: &str, change: impl FnOnce(&mut PodEnd)) -> Self {
        let link = self.tables.link_named(link).unwrap();
        let (index, mut end) = (link.index, of_same_size(link));
        let Fact::Known(ends) = &mut self.tables.pod_ends else { unreachable!("examples start with ends") };
        if let Some(Fact::Known(told)) = ends.remove(&index) {
            end = told;
        }
        change(&mut end);
        ends.insert(index, Fact::Known(end));
        self
    }

    /// Adds a peer that is reached directly by a link.
    pub(crate) fn peer(mut self, name: &str, link: &str, underlay: &str) -> Self {
        let route = self.to(ip(underlay), 24, None, link);
        self.lookups.insert(ip(underlay), Fact::Known(route));
        self.peers.push(Peer {
            name: name.into(),
            underlay: ip(underlay).into(),
            overlay: Dual::NONE,
            pods: Vec::new(),
            ..Peer::default()
        });
        self
    }

    /// Gives a peer a node address of another family.
    fn also_at(mut self, peer: &str, link: &str, underlay: &str) -> Self {
        let route = self.to(ip(underlay), 64, None, link);
        self.lookups.insert(ip(underlay), Fact::Known(route));
        let peer = self.peers.iter_mut().find(|known| known.name == peer).unwrap();
        peer.underlay = peer.underlay.or(ip(underlay).into());
        self
    }

    /// Gives a peer a tunnel address and pods, with neighbour, forwarding entry and route.
    pub(crate) fn behind_tunnel(mut self, peer: &str, tunnel: &str, overlay: &str, pods: &[&str]) -> Self {
        let link = self.index(tunnel);
        let at = self.peers.iter().position(|known| known.name == peer).unwrap();
        let mac = Mac([0x66, 0, 0, 0, 0, u8::try_from(at).unwrap()]);
        let local = self.tables.link(link).and_then(|link| link.tunnel.as_ref()?.local);
        let peer = &mut self.peers[at];
        let destination = local.and_then(|local| peer.underlay.of(Family::of(local)));
        peer.overlay = peer.overlay.or(ip(overlay).into());
        peer.tunnels.push(Behind { tunnel: tunnel.into(), underlay: destination, overlay: ip(overlay).into() });
        let strangers: Vec<_> = pods.iter().copied().map(ip).filter(|pod| !peer.pods.contains(pod)).collect();
        peer.pods.extend(strangers);
        let prefix = if ip(overlay).is_ipv4() { 26 } else { 122 };
        for address in pods.iter().chain([&overlay]) {
            let route = self.to(ip(overlay), prefix, Some(ip(overlay)), tunnel);
            self.lookups.insert(ip(address), Fact::Known(route));
        }
        let state = NeighbourState::Permanent;
        let entry = Neighbour { link, address: ip(overlay), mac: Some(mac), state, external: false };
        let Fact::Known(neighbours) = &mut self.tables.neighbours else { unreachable!("examples start with these") };
        neighbours.push(entry);
        let Fact::Known(forwarding) = &mut self.tables.forwarding else { unreachable!("examples start with these") };
        forwarding.push(FdbEntry { link, mac, destination, permanent: true });
        self.route(overlay, prefix, Some(overlay), tunnel)
    }

    /// What the kernel answers for the gateway of Calico's pods: the default route.
    pub(crate) fn gateway_of_pods(mut self, gateway: &str, link: &str) -> Self {
        let route = self.to(ip("0.0.0.0"), 0, Some(ip(gateway)), link);
        self.lookups.insert(super::setup::POD_GATEWAY, Fact::Known(route));
        self
    }

    /// A link, to be changed.
    pub(crate) fn link(&mut self, name: &str) -> &mut Link {
        let Fact::Known(links) = &mut self.tables.links else { unreachable!("examples start with links") };
        links.iter_mut().find(|link| link.name == name).unwrap()
    }

    /// Changes a link.
    pub(crate) fn with(mut self, name: &str, change: impl FnOnce(&mut Link)) -> Self {
        change(self.link(name));
        self
    }

    /// What a peer's path is measured to be; every path is clear until told otherwise.
    pub(crate) fn verdict(mut self, peer: &str, plane: Plane, verdict: Verdict) -> Self {
        self.verdicts.insert((peer.into(), plane), Fact::Known(measured(verdict)));
        self
    }

    /// What the path to one address is measured to be, whatever the others of its plane are.
    pub(crate) fn verdict_at(mut self, address: &str, verdict: Verdict) -> Self {
        self.addressed.insert(ip(address), Fact::Known(measured(verdict)));
        self
    }

    /// Changes what was measured of a path whose verdict was told.
    pub(crate) fn learned(mut self, peer: &str, plane: Plane, change: impl FnOnce(&mut Measured)) -> Self {
        let Some(Fact::Known(measured)) = self.verdicts.get_mut(&(peer.into(), plane)) else { panic!("tell it first") };
        change(measured);
        self
    }

    /// What packets that are encapsulated here are measured to meet on the way to a peer's tunnel end, in outer sizes;
    /// until told otherwise, what the node's address meets.
    pub(crate) fn outer_verdict(self, peer: &str, verdict: Verdict) -> Self {
        self.outer_fact(peer, Fact::Known(measured(verdict)))
    }

    /// What the same packets meet where they are for every hardware address; until told otherwise none are sent.
    pub(crate) fn anyone_verdict(mut self, peer: &str, verdict: Verdict) -> Self {
        self.anyone.insert(peer.into(), Fact::Known(measured(verdict)));
        self
    }

    /// The same where nothing was measured, or there is no way to.
    pub(crate) fn outer_fact(mut self, peer: &str, outer: Fact<Measured>) -> Self {
        self.outers.insert(peer.into(), outer);
        self
    }

    /// A path that was not measured.
    pub(crate) fn unmeasured(mut self, peer: &str, plane: Plane, why: Unread) -> Self {
        self.verdicts.insert((peer.into(), plane), Fact::Unread(why));
        self
    }

    /// What a sweep of a peer's address came to; every port carries until told otherwise.
    pub(crate) fn sweeps(mut self, address: &str, spread: Fact<Swept>) -> Self {
        self.swept.insert(ip(address), spread);
        self
    }

    /// What came of the transfer over a peer's overlay path; every one passes until told otherwise.
    pub(crate) fn transfer(mut self, peer: &str, transfer: Fact<Made>) -> Self {
        self.transfers.insert(peer.into(), transfer);
        self
    }

    /// Gives the kernel a path MTU to remember.
    pub(crate) fn remembers(mut self, address: &str, mtu: u32) -> Self {
        let cached = Cached { mtu: IpSize::new(mtu), locked: false, expires: None, renewed: 0, explained: false };
        self.cached.insert(ip(address), cached);
        self
    }

    /// Removes every peer.
    pub(crate) fn alone(mut self) -> Self {
        self.peers.clear();
        self
    }

    /// The number of a link.
    pub(crate) fn index(&self, name: &str) -> LinkIndex {
        self.tables.link_named(name).unwrap().index
    }

    /// The machine, its topology read off the tables.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let outer = self.outer();
        let topology = Topology::new(&self.tables, &self.peers, &self.lookups, &outer);
        let node = Snapshot {
            tables: Tables { pod_ends: self.pod_ends(), ..self.tables.clone() },
            counters_before: self.counters_before.clone(),
            counters_untroubled: self.counters_untroubled.clone(),
            windows: self.windows.clone(),
            peers: self.peers.clone().into(),
            lookups: self.lookups.clone(),
            outer,
            paths: self.paths(&topology),
            hearing: self.hearing.clone(),
            topology,
            setup: Setup::new(&self.tables),
            devices: self.devices.clone(),
            vips: self.vips.clone(),
            ..nothing_known(self.expect.clone())
        };
        Snapshot { fellows: self.fellows(&node), ..node }
    }

    /// Every veth that leads elsewhere has an end there.
    fn pod_ends(&self) -> Fact<BTreeMap<LinkIndex, Fact<PodEnd>>> {
        let veths = || self.tables.links().iter().filter(|link| link.other_namespace.is_some());
        self.tables.pod_ends.clone().map(|told| {
            let usual = veths().map(|link| (link.index, Fact::Known(of_same_size(link))));
            usual.chain(told).collect()
        })
    }

    /// Outer packets go as `lookups` say of their far ends.
    fn outer(&self) -> Answers {
        let answer = |query: Query| Some((query, self.lookups.get(&query.to)?.clone()));
        let outer = outer::queries(&self.tables, &self.peers).into_iter().filter_map(answer);
        outer.chain(self.sourced.clone()).collect()
    }

    fn paths(&self, topology: &Topology) -> BTreeMap<PathKey, Path> {
        let addresses = self.peers.iter().flat_map(|peer| {
            let underlay = peer.underlay.into_iter().map(|address| (Plane::Underlay, address));
            let overlay = peer.overlay.into_iter().map(|address| (Plane::Overlay, address));
            let pods = peer.pods.iter().map(|&address| (Plane::Pod, address));
            let key = |(plane, address)| PathKey { peer: peer.name.clone(), plane, address };
            underlay.chain(overlay).chain(pods).map(key)
        });
        addresses.map(|key| (key.clone(), self.path(&key, topology))).collect()
    }

    fn path(&self, key: &PathKey, topology: &Topology) -> Path {
        let route = self.lookups.get(&key.address).and_then(Fact::known);
        let hop = route.and_then(|route| route.hops.first());
        let expected = hop.and_then(|hop| self.tables.link(hop.link)).map(|link| link.mtu.carries());
        let told = self.told(key);
        let through = key.plane == Plane::Overlay
            && hop.is_some_and(|hop| topology.chain(hop.link).iter().any(|&link| topology.tunnel(link).is_some()));
        let moved = || self.transfers.get(&key.peer).cloned().unwrap_or(Fact::Known(made(None)));
        let clear = || Fact::Known(measured(Verdict::Clear { mtu: expected.unwrap_or(key.family().floor()) }));
        Path {
            expected,
            cached: self.cached.get(&key.address).copied(),
            via: hop.map(|hop| topology.chain(hop.link)).unwrap_or_default(),
            measured: told.unwrap_or_else(clear),
            outer: self.outer_of(key, hop, topology),
            anyone: self.anyone.get(&key.peer).filter(|_| key.plane == Plane::Overlay).cloned().unwrap_or(Fact::Absent),
            losses: Losses::default(),
            spread: self.spread(key),
            probed_at: None,
            transfer: if through { moved() } else { Fact::Absent },
        }
    }

    fn spread(&self, key: &PathKey) -> Fact<Swept> {
        if let Some(swept) = self.swept.get(&key.address) {
            return swept.clone();
        }
        match self.verdicts.get(&(key.peer.clone(), key.plane)) {
            _ if key.plane != Plane::Underlay => Fact::Absent,
            Some(Fact::Unread(why)) => Fact::Unread(why.clone()),
            _ => Fact::Known(swept(&[Fate::Carried; 25])),
        }
    }

    fn told(&self, key: &PathKey) -> Option<Fact<Measured>> {
        self.addressed.get(&key.address).or_else(|| self.verdicts.get(&(key.peer.clone(), key.plane))).cloned()
    }

    fn outer_of(&self, key: &PathKey, hop: Option<&Hop>, topology: &Topology) -> Fact<Measured> {
        if let Some(told) = self.outers.get(&key.peer).filter(|_| key.plane == Plane::Overlay) {
            return told.clone();
        }
        let tunnel = hop.and_then(|hop| self.tables.link(hop.link)?.tunnel.as_ref());
        let asks = tunnel.is_some_and(|tunnel| tunnel.kind == TunnelKind::Vxlan && !tunnel.external);
        let peer = self.peers.iter().find(|peer| peer.name == key.peer);
        let end = peer.and_then(|peer| peer.behind(key.family())?.underlay.or(peer.underlay.first()));
        let underlay = end.filter(|_| asks && key.plane == Plane::Overlay);
        underlay.map_or(Fact::Absent, |address| {
            self.path(&PathKey { peer: key.peer.clone(), plane: Plane::Underlay, address }, topology).measured
        })
    }

    fn to(&self, destination: IpAddr, prefix: u8, gateway: Option<IpAddr>, link: &str) -> Route {
        let link = self.index(link);
        let mut own = self.tables.addresses_of(link).map(|own| own.address);
        let source = own.find(|own| own.is_ipv4() == destination.is_ipv4());
        let kernel = gateway.is_none() && prefix < 32;
        Route {
            destination,
            prefix,
            table: 254,
            protocol: if kernel { 2 } else { 80 },
            kind: RouteKind::Unicast,
            hops: vec![Hop { gateway, link }],
            mtu: None,
            source,
            priority: 0,
            expires: None,
        }
    }
}

#[test]
fn the_reference_is_clear_on_every_plane() {
    let node = Example::reference().snapshot();
    for plane in Plane::ALL {
        let verdict = node.verdict("master-2", plane, Family::Ipv4).unwrap();
        let expected = IpSize::new(if plane == Plane::Underlay { 1500 } else { 1450 });
        assert_eq!(verdict, Ok(&Verdict::Clear { mtu: expected }));
    }
}
