//! What other nodes say of themselves: by default, that they are as this one is.

use std::collections::BTreeMap;

use super::Example;
use crate::card::{self, Told, ToldLink, ToldTunnel};
use crate::fact::Fact;
use crate::kernel::Mac;
use crate::peers::Peer;
use crate::snapshot::Snapshot;
use crate::snapshot::fellows::{Fellow, Fellows};

/// What differs from the default, by peer.
pub(crate) type Differing = BTreeMap<String, Result<fn(&mut Told), String>>;

impl Example {
    /// A peer says something else of itself.
    pub(crate) fn says(mut self, peer: &str, change: fn(&mut Told)) -> Self {
        self.differing.insert(peer.into(), Ok(change));
        self
    }

    /// A peer's agent says nothing.
    pub(crate) fn mute(mut self, peer: &str, why: &str) -> Self {
        self.differing.insert(peer.into(), Err(why.into()));
        self
    }

    /// Adds nodes that are like this one, reached by this link: `more` of them at `10.0.0.100` and up.
    pub(crate) fn more_peers(mut self, link: &str, more: u8) -> Self {
        for one in 0..more {
            self = self.peer(&format!("more-{one}"), link, &format!("10.0.0.{}", 100 + one));
        }
        self
    }

    /// What others say of themselves.
    pub(super) fn fellows(&self, node: &Snapshot) -> Fact<Fellows> {
        let mut fellows = Fellows::default();
        for peer in self.peers.iter().filter(|peer| !peer.gateway) {
            let mut told = like(node, peer);
            match self.differing.get(&peer.name) {
                Some(Err(why)) => {
                    fellows.silent.push((peer.name.clone(), why.clone()));
                    continue;
                }
                Some(Ok(change)) => change(&mut told),
                None => {}
            }
            fellows.told.push(Fellow { peer: peer.name.clone(), card: told });
        }
        Fact::Known(fellows)
    }
}

/// A node that has what this one has.
fn like(node: &Snapshot, peer: &Peer) -> Told {
    let link = |address| {
        let hop = node.lookups.get(&address)?.known()?.hops.first()?.link;
        let link = node.tables.link(hop)?;
        Some(ToldLink { name: link.name.clone(), mtu: link.mtu, addresses: vec![address] })
    };
    let tunnel = |row: card::CardTunnel| ToldTunnel {
        link: row.link,
        kind: row.kind.into(),
        family: row.family,
        id: row.id,
        port: row.port,
        mtu: row.mtu,
    };
    let last = peer.name.bytes().fold(7, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Told {
        node: peer.name.clone(),
        links: peer.underlay.into_iter().filter_map(link).collect(),
        tunnels: card::tunnels(node).into_iter().map(tunnel).collect(),
        macs: vec![Mac([0x02, 0, 0, 0, 1, last])],
        held: Vec::new(),
    }
}
