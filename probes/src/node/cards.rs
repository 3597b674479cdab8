//! Whom this node asks for their cards, and when.
//!
//! A node that compares itself with [`ASKED`] others learns as much as with ten thousand, so no more are asked, whatever
//! the cluster's size: those that its own ranking names first, which are its stable peers too, so that a peer is asked by
//! about as many as it asks. Each is asked every [`PERIOD`] rounds, [`FEW`] at a time, so that what is kept is never older
//! than a few minutes at the usual interval; what is older than [`OLD`] such times is not believed any more.
//!
//! Once this node itself has changed, what others said before says little: most often somebody is changing all of them.
//! Their word is forgotten then, they are asked in each of the next [`HURRY`] rounds, and only what they say after those
//! counts: nodes that are changed one after the other need that long to say so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::card::{self, CardLink, CardTunnel, Told};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::peers::Peer;
use crate::peers::announced::Agent;
use crate::report::Vantage;
use crate::schedule;
use crate::snapshot::fellows::{Fellow, Fellows};
use crate::units::{Mono, Now};

use super::{Node, Output};

/// Peers that are asked.
pub(super) const ASKED: usize = 16;

/// Peers that are asked at once.
const FEW: usize = 8;

/// Rounds between two cards of a peer.
pub const PERIOD: u32 = 10;

/// How many such times a card is believed.
const OLD: u32 = 3;

/// Rounds after a change of this node in which everybody is asked again.
const HURRY: u32 = 3;

/// A question for a peer's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The peer.
    pub peer: String,
    /// Where its agent listens, the likeliest first.
    pub to: Vec<SocketAddr>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The peer.
    pub peer: String,
    /// What it gave, or why there is nothing.
    pub gave: Result<Vec<u8>, String>,
}

/// What is known of others' cards.
#[derive(Debug, Default)]
pub(super) struct Cards {
    known: BTreeMap<String, Known>,
    /// What this node says of itself, as far as others are held against it.
    own: Option<(Vec<CardLink>, Vec<CardTunnel>)>,
    hurry: u32,
    /// Peers that are never asked.
    beyond: usize,
}

#[derive(Debug, Default)]
struct Known {
    under_way: bool,
    due: Mono,
    said: Option<(Result<Told, String>, Mono)>,
}

impl Cards {
    /// Takes what this node says of itself now.
    fn look_at_own(&mut self, mut own: (Vec<CardLink>, Vec<CardTunnel>), now: Mono) {
        // Addresses come and go, kube-vip's and temporary ones of IPv6, and nobody is held against them.
        own.0.iter_mut().for_each(|link| link.addresses.clear());
        if self.own.replace(own.clone()).is_some_and(|before| before != own) {
            self.hurry = HURRY;
            self.known.values_mut().for_each(|known| (known.said, known.due) = (None, now));
        }
    }

    /// The peers whose turn it is.
    fn ask(&mut self, node: &str, peers: &[Peer], port: u16, interval: Duration, now: Mono) -> Vec<Ask> {
        let mut agents: Vec<Agent> = peers.iter().flat_map(Peer::agents).collect();
        agents.retain(|agent| agent.vantage == Vantage::Node);
        agents.sort_by_cached_key(|agent| std::cmp::Reverse(schedule::rank(node, &agent.peer)));
        self.beyond = agents.len().saturating_sub(ASKED);
        agents.truncate(ASKED);
        self.known.retain(|peer, _| agents.iter().any(|agent| agent.peer == *peer));
        let period = interval.saturating_mul(if self.hurry > 0 { 1 } else { PERIOD });
        self.hurry = self.hurry.saturating_sub(1);
        let mut asks = Vec::new();
        for agent in agents {
            let known = self.known.entry(agent.peer.clone()).or_default();
            if let Some((_, at)) = &known.said
                && now.since(*at) > interval.saturating_mul(PERIOD * OLD)
            {
                known.said = None;
            }
            if asks.len() < FEW && !known.under_way && known.due.min(known.asked_again(period)) <= now {
                known.under_way = true;
                let to = agent.addresses.iter().map(|&address| SocketAddr::new(address, port)).collect();
                asks.push(Ask { peer: agent.peer, to });
            }
        }
        asks
    }

    fn take(&mut self, answered: Answered, due: Mono, now: Mono) {
        // A peer that left meanwhile has nothing to say any more.
        let Some(known) = self.known.get_mut(&answered.peer) else { return };
        let said = answered.gave.and_then(|bytes| card::read(&bytes));
        *known = Known { under_way: false, due, said: Some((said, now)) };
    }

    /// What others say, to the node of this name. A peer may be this very node, by an address that moves.
    fn fellows(&self, node: &str) -> Fact<Fellows> {
        if self.hurry > 0 {
            return Fact::Unread(Unread::new(Source::Agents, Reason::NotYet));
        }
        let mut fellows = Fellows { beyond: self.beyond, ..Fellows::default() };
        for (peer, known) in &self.known {
            match &known.said {
                Some((Ok(card), _)) if card.node == node => {}
                Some((Ok(card), _)) => fellows.told.push(Fellow { peer: peer.clone(), card: card.clone() }),
                Some((Err(why), _)) => fellows.silent.push((peer.clone(), why.clone())),
                None => fellows.awaited += 1,
            }
        }
        let nobody = fellows.told.is_empty() && fellows.silent.is_empty();
        if nobody && (fellows.awaited > 0 || self.known.is_empty()) {
            return Fact::Unread(Unread::new(Source::Agents, Reason::NotYet));
        }
        Fact::Known(fellows)
    }
}

impl Known {
    /// When it would be asked if it was asked so often.
    fn asked_again(&self, period: Duration) -> Mono {
        self.said.as_ref().map_or(self.due, |(_, at)| *at + period)
    }
}

impl Node {
    /// Says to the checks what others' cards say, and asks those whose turn it is.
    pub(super) fn ask_cards(&mut self, now: Now) {
        let own = card::compared(&self.snapshot);
        self.cards.look_at_own(own, now.mono);
        if self.config.vantage == Vantage::Node {
            let (config, peers) = (&self.config, &self.snapshot.peers);
            let asks = self.cards.ask(&config.node, peers, config.port, config.probing.interval, now.mono);
            self.wanted.extend(asks.into_iter().map(Output::AskCard));
        }
        self.snapshot.fellows = self.cards.fellows(&self.config.node);
    }

    pub(super) fn on_card(&mut self, answered: Answered, now: Now) {
        let due = now.mono + self.jittered(self.config.probing.interval.saturating_mul(PERIOD));
        self.cards.take(answered, due, now.mono);
        self.snapshot.fellows = self.cards.fellows(&self.config.node);
    }
}

#[cfg(test)]
mod tests;
