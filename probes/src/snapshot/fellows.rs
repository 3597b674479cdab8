//! Other nodes as they speak of themselves: what this one is held against.

use std::net::IpAddr;

use crate::card::{Told, ToldLink};
use crate::fact::{Reason, Source, Unread};

/// What others say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fellows {
    /// Those that gave a card.
    pub told: Vec<Fellow>,
    /// Those that did not, and why.
    pub silent: Vec<(String, String)>,
    /// How many have not answered yet.
    pub awaited: usize,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fellow {
    /// The peer, by its name here.
    pub peer: String,
    /// What it says of itself.
    pub card: Told,
}

impl Fellow {
    /// Its link with this address.
    pub fn link_with(&self, address: IpAddr) -> Option<&ToldLink> {
        self.card.links.iter().find(|link| link.addresses.contains(&address))
    }
}

impl Fellows {
    /// Those that gave a card, each node once: a peer may be known under two names, and its word counts once.
    pub fn nodes(&self) -> Vec<&Fellow> {
        let mut names = std::collections::BTreeSet::new();
        self.told.iter().filter(|fellow| names.insert(fellow.card.node.as_str())).collect()
    }

    /// Why there are too few to compare with.
    pub fn too_few(&self) -> Unread {
        if self.awaited > 0 && self.silent.is_empty() {
            return Unread::new(Source::Agents, Reason::NotYet);
        }
        let why = match self.silent.as_slice() {
            [] => "too few other nodes are known to say what most have".into(),
            [(peer, why)] => format!("the agent of {peer} does not say what it has: {why}"),
            [(peer, why), others @ ..] => {
                format!("the agents of {peer} and {} more do not say what they have: {why}", others.len())
            }
        };
        Unread::new(Source::Agents, Reason::Unsupported { why })
    }
}
