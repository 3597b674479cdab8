//! When drivers are asked for their features and queues, and about which links.
//!
//! These facts change when somebody changes them. So they are read at the start, when other links come to matter, when
//! the kernel tells of one that does (it does so for a feature that is switched, though nothing else of the link is
//! different), and every [`PACE`] for what it does not tell (queues). They are read with a round or look that is made
//! anyway, and no round waits for them: a driver may take its time.
//!
//! Asked are the links that packets to peers leave by, and the tunnels; no pod's. Where there are more than [`MOST`], as
//! with a tunnel device for each peer, the others are not.

use std::time::Duration;

use crate::fact::Source;
use crate::kernel::ethtool::{Devices, RawDevices};
use crate::kernel::{LinkIndex, RawMessage, link};
use crate::report::Role;
use crate::snapshot::Snapshot;
use crate::units::{Mono, Now};

use super::{Node, Output};

/// How old an answer may get.
const PACE: Duration = Duration::from_secs(600);

/// Links that are asked about, at most.
const MOST: usize = 32;

/// What was asked last.
#[derive(Debug, Default)]
pub(super) struct Readings {
    links: Vec<LinkIndex>,
    at: Option<Mono>,
}

impl Readings {
    /// What was read may be old.
    pub(super) fn doubt(&mut self) {
        self.at = None;
    }

    /// The kernel told of links.
    pub(super) fn heed(&mut self, messages: &[RawMessage]) {
        let mut told = messages.iter().filter_map(link::told_of);
        if told.any(|link| self.links.contains(&link)) {
            self.doubt();
        }
    }

    /// Takes down that these links are asked about now, if they are to be.
    fn begin(&mut self, links: Vec<LinkIndex>, now: Mono) -> Option<&[LinkIndex]> {
        let fresh = self.at.is_some_and(|at| now.since(at) < PACE);
        if fresh && self.links == links {
            return None;
        }
        (self.links, self.at) = (links, Some(now));
        (!self.links.is_empty()).then_some(&self.links)
    }
}

impl Node {
    /// Asks if it is time to.
    pub(super) fn read_devices(&mut self, now: Now) {
        if let Some(links) = self.readings.begin(links(&self.snapshot), now.mono) {
            self.wanted.push_back(Output::ReadDevices(links.to_vec()));
        }
    }

    pub(super) fn on_devices(&mut self, raw: &RawDevices, now: Now) {
        let devices = Devices::decode(raw);
        self.telemetry.sources.insert(Source::Ethtool, (raw.took, devices.is_whole()));
        let changed = self.snapshot.devices != devices;
        self.snapshot.devices = devices;
        // A round judges when its probes are back; a look has judged already.
        if changed && !self.probing_now {
            self.look.news(now.mono);
        }
    }
}

/// The links that matter, NICs first.
fn links(node: &Snapshot) -> Vec<LinkIndex> {
    let of = |role: Role| {
        node.tables.links().iter().map(|link| link.index).filter(move |&link| node.topology.role(link) == role)
    };
    of(Role::Underlay).chain(of(Role::Tunnel)).take(MOST).collect()
}
