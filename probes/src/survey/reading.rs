//! From targets to paths: what is read for that, and in which order.
//!
//! Links and own addresses come first, then the route to each target. Where none leads into a tunnel that is all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::fact::{Fact, Source};
use crate::kernel::{self, Query, RawFacts, RawRoutes, Route};
use crate::node::targets;
use crate::path::{PathKey, Plane};
use crate::peers::Peer;
use crate::snapshot::Topology;
use crate::snapshot::topology::outer;
use crate::tables::Tables;

use super::{Named, Output, Survey};

/// What every survey reads.
const FEW: &[Source] = &[Source::Links, Source::Addresses];
/// What a survey through a tunnel reads.
const ALL: &[Source] = &[Source::Links, Source::Addresses, Source::Routes, Source::Neighbours, Source::Fdb];

/// How far the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Links and addresses are awaited.
    Links,
    /// The routes to the targets are.
    Routes,
    /// Every table is: some route leads into a tunnel.
    Tunnels,
    /// The routes to the targets and those of the tunnels' outer packets are.
    Outer,
    /// All is read.
    Over,
}

impl Survey {
    pub(super) fn begin(&mut self) {
        self.outbox.push_back(Output::ReadFacts(FEW));
    }

    pub(super) fn on_facts(&mut self, raw: &RawFacts) {
        self.snapshot.tables = Tables::decode(raw);
        let mut queries: Vec<_> = self.wanted.targets.iter().map(|target| self.query(target.address)).collect();
        self.reading = match self.reading {
            Reading::Links => Reading::Routes,
            _ => {
                queries.extend(outer::queries(&self.snapshot.tables, &self.snapshot.peers));
                Reading::Outer
            }
        };
        self.outbox.push_back(Output::ReadRoutes(queries));
    }

    pub(super) fn on_routes(&mut self, raw: RawRoutes) {
        let decode = |(query, answer)| (query, kernel::route::answer(answer));
        let answers: BTreeMap<Query, Fact<Route>> = raw.answers.into_iter().map(decode).collect();
        let addresses = self.wanted.targets.iter().map(|target| target.address);
        let answer = |address: IpAddr| Some((address, answers.get(&self.query(address))?.clone()));
        self.snapshot.lookups = addresses.filter_map(answer).collect();
        self.snapshot.outer = answers;
        self.snapshot.tables.take_exceptions(&raw.exceptions);
        self.snapshot.peers = self.wanted.targets.iter().map(|target| self.peer(target)).collect();
        let tunnelled = self.snapshot.peers.iter().any(|peer| peer.underlay.is_empty());
        if tunnelled && self.reading == Reading::Routes {
            self.reading = Reading::Tunnels;
            return self.outbox.push_back(Output::ReadFacts(ALL));
        }
        self.reading = Reading::Over;
        self.find_paths();
    }

    fn find_paths(&mut self) {
        let node = &mut self.snapshot;
        node.topology = Topology::new(&node.tables, &node.peers, &node.lookups, &node.outer);
        node.paths = targets::paths(node, &Ok(()), 0);
        if let Some(largest) = self.wanted.largest {
            node.paths.values_mut().for_each(|path| path.expected = Some(largest));
        }
        let tunnels = node.tables.links().iter().filter_map(|link| link.tunnel.as_ref());
        let mut ports: Vec<u16> = tunnels.filter_map(|tunnel| tunnel.port).collect();
        ports.sort_unstable();
        ports.dedup();
        if !ports.is_empty() {
            self.outbox.push_back(Output::WatchTunnelPorts(ports));
        }
        self.keys = self.wanted.targets.iter().map(|target| self.key(target)).collect();
        self.queue = self.keys.iter().cloned().collect();
    }

    fn query(&self, to: IpAddr) -> Query {
        Query { to, from: self.wanted.source }
    }

    fn key(&self, target: &Named) -> PathKey {
        PathKey { peer: target.peer.clone(), plane: self.plane(target.address), address: target.address }
    }

    /// Which network an address is on, by its route: behind a tunnel device it is the far end's, or a pod's behind that.
    fn plane(&self, address: IpAddr) -> Plane {
        let hop = targets::route(&self.snapshot, address).and_then(|route| route.hops.first());
        let through = |link| self.snapshot.tables.link(link).is_some_and(|link| link.tunnel.is_some());
        match hop.filter(|hop| through(hop.link)) {
            None => Plane::Underlay,
            Some(hop) if hop.gateway.is_none_or(|gateway| gateway == address) => Plane::Overlay,
            Some(_) => Plane::Pod,
        }
    }

    fn peer(&self, target: &Named) -> Peer {
        let (plane, address) = (self.plane(target.address), target.address);
        let on = |wanted| (plane == wanted).then_some(address);
        Peer {
            name: target.peer.clone(),
            underlay: on(Plane::Underlay).into(),
            overlay: on(Plane::Overlay).into(),
            pods: on(Plane::Pod).into_iter().collect(),
            ..Peer::default()
        }
    }
}
