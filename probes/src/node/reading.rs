//! What was read, taken in: tables into peers, routes into paths.
//!
//! A round and a look read the same and take it in the same way. A round then probes; a look judges at once. A look that
//! could read less than is known already is thrown away: a table that changes while it is dumped (pods come by the
//! hundred) is no reason to forget it, and the next round says what cannot be read.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fact::Source;
use crate::history::{Occasion, SETTLED};
use crate::kernel::{self, RawFacts, RawRoutes};
use crate::peers::{KUBERNETES, Merged};
use crate::snapshot::{Setup, Topology};
use crate::tables::Tables;
use crate::telemetry::{ErrorKind, PeerSource};
use crate::units::Now;

use super::ground::Ground;
use super::{Asked, Node, Output, beside, targets};

impl Node {
    pub(super) fn on_facts(&mut self, raw: &RawFacts, now: Now) {
        let tables = Tables::decode(raw);
        self.count_reading(raw, &tables);
        match self.asked {
            Some(Asked::Round) => {
                self.snapshot.counters_before = tables.counters.clone();
                if !self.troubled {
                    self.snapshot.counters_untroubled = tables.counters.clone();
                }
                self.snapshot.windows.take(&tables.counted(), now.mono);
                self.find_peers(tables, now);
            }
            Some(Asked::Trouble) => {
                let exceptions = self.snapshot.tables.exceptions.clone();
                self.snapshot.tables = Tables { exceptions, ..tables };
                self.snapshot.topology = self.topology();
                self.asked = None;
                self.judge(Occasion::Round, now);
            }
            Some(Asked::Look) if tables.tell_less_than(&self.snapshot.tables) => {
                self.asked = None;
                self.look.news(now.mono);
                self.look.end(now.mono);
            }
            Some(Asked::Look) => self.find_peers(tables, now),
            None => {}
        }
    }

    fn find_peers(&mut self, tables: Tables, now: Now) {
        self.directory.look_from(self.config.vantage);
        self.directory.listen(self.config.peers.kubernetes, now);
        if self.asked == Some(Asked::Round) {
            self.directory.settle();
        }
        let merged = self.directory.update(&self.config.node, &self.config.peers, &tables);
        self.carry(&merged.peers);
        self.ground = Ground::under(&self.snapshot);
        self.count_sources(&merged, &tables, now);
        self.snapshot.setup = Setup::new(&tables);
        let changed = *self.snapshot.peers != merged.peers;
        self.transfers.meet(&merged.peers, changed, self.config.probing.transfers);
        self.snapshot.peers = merged.peers.into();
        self.snapshot.tables = tables;
        self.wanted.push_back(Output::ReadRoutes(targets::queries(&self.snapshot)));
    }

    fn count_sources(&mut self, merged: &Merged, tables: &Tables, now: Now) {
        let read = tables.links.known().is_some().then_some(now.wall);
        let known = std::mem::take(&mut self.telemetry.peer_sources);
        for (&source, &peers) in &merged.sources {
            let before = known.get(source).and_then(|source| source.succeeded);
            let succeeded = if source == KUBERNETES { self.directory.heard() } else { read.or(before) };
            self.telemetry.peer_sources.insert(source, PeerSource { peers, succeeded });
        }
        let announced = merged.sources.get(KUBERNETES).copied().unwrap_or_default();
        self.snapshot.hearing = self.directory.hearing(announced, now.mono);
        match &self.snapshot.hearing {
            Some(hearing) => {
                let heard = hearing.last.is_some() && hearing.why.is_none();
                self.telemetry.sources.insert(Source::Kubernetes, (Duration::ZERO, heard));
            }
            None => drop(self.telemetry.sources.remove(&Source::Kubernetes)),
        }
    }

    pub(super) fn on_routes(&mut self, raw: RawRoutes, now: Now) {
        let Some(asked @ (Asked::Round | Asked::Look)) = self.asked else { return };
        self.asked = None;
        self.take_routes(raw, now);
        let moved = self.ground.moved(&Ground::under(&self.snapshot), &self.snapshot.paths);
        if asked == Asked::Look {
            if !moved.is_empty() {
                self.hasten(now);
            }
            self.turns.doubt(moved);
            self.judge(Occasion::Look, now);
            if self.history.is_unsettled() {
                self.look.again(now.mono + SETTLED);
            }
            return self.look.end(now.mono);
        }
        self.turns.doubt(moved);
        self.probing_now = true;
        if self.probing.is_err() {
            self.turns.pause();
        } else {
            self.turns.begin(&self.snapshot, &self.history, &self.config, now);
            let targets = targets::of(&self.snapshot, |peer| self.turns.include(peer));
            let beside = beside::targets(&self.snapshot, |peer| self.turns.include(peer));
            targets.into_iter().chain(beside).for_each(|target| self.prober.start(target, now.mono));
        }
        self.begin_pacing(now.mono);
    }

    fn take_routes(&mut self, raw: RawRoutes, now: Now) {
        let decode = |(query, answer)| (query, kernel::route::answer(answer));
        targets::take_routes(&mut self.snapshot, raw.answers.into_iter().map(decode).collect());
        self.snapshot.tables.take_exceptions(&raw.exceptions);
        self.cache_read = now.mono;
        for (source, took) in raw.took {
            self.telemetry.sources.insert(source, (took, source != Source::Exceptions || raw.exceptions.is_ok()));
        }
        self.snapshot.topology = self.topology();
        self.watch_tunnel_ports();
        self.read_devices(now);
        self.snapshot.paths = targets::paths(&self.snapshot, &self.probing, self.config.probing.ecmp_ports);
        self.snapshot.beside = beside::paths(&self.snapshot, &self.probing);
    }

    fn topology(&self) -> Topology {
        Topology::new(&self.snapshot.tables, &self.snapshot.peers, &self.snapshot.lookups, &self.snapshot.outer)
    }

    fn watch_tunnel_ports(&mut self) {
        let tunnels = self.snapshot.tables.links().iter().filter_map(|link| link.tunnel.as_ref());
        let ports: BTreeSet<u16> = tunnels.filter_map(|tunnel| tunnel.port).collect();
        if ports != self.tunnel_ports {
            self.wanted.push_back(Output::WatchTunnelPorts(ports.iter().copied().collect()));
            self.tunnel_ports = ports;
        }
    }

    fn count_reading(&mut self, raw: &RawFacts, tables: &Tables) {
        *self.telemetry.errors.entry(ErrorKind::NetlinkMalformed).or_default() += tables.malformed.len() as u64;
        for (&source, &took) in &raw.took {
            if raw.is_withheld(source) {
                self.telemetry.sources.remove(&source);
                continue;
            }
            let whole = !tables.malformed.iter().any(|(malformed, _)| *malformed == source);
            self.telemetry.sources.insert(source, (took, whole && raw.succeeded(source)));
        }
    }
}

impl RawFacts {
    /// Whether the operator has not given a source to the agent at all. It then neither succeeds nor fails, and what rests
    /// on it is not concluded.
    fn is_withheld(&self, source: Source) -> bool {
        match source {
            Source::SysctlFiles => self.sysctls.are_withheld(),
            Source::HostFiles => self.host.is_withheld(),
            _ => false,
        }
    }

    fn succeeded(&self, source: Source) -> bool {
        let mut files = self.files.iter().filter(|(file, _)| file.source() == source);
        match source {
            Source::Links => self.links.is_ok(),
            Source::Addresses => self.addresses.is_ok(),
            Source::Routes => self.routes.is_ok(),
            Source::Neighbours => self.neighbours.is_ok(),
            Source::NeighbourTables => self.neighbour_tables.is_ok(),
            Source::Fdb => self.fdb.is_ok(),
            Source::PodEnds => self.pod_ends.is_ok(),
            Source::Settings | Source::Counters => files.all(|(_, text)| text.is_ok()),
            Source::SysctlFiles => self.sysctls.are_whole(),
            Source::HostFiles => self.host.is_whole(),
            Source::Exceptions
            | Source::Lookup
            | Source::Ethtool
            | Source::Events
            | Source::Probes
            | Source::Kubernetes
            | Source::Agents => true,
        }
    }
}
