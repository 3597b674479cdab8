//! Other nodes as they speak of themselves: what this one is held against.

use std::collections::BTreeSet;
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
    /// How many more there are that are never asked, because the cluster is large.
    pub beyond: usize,
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
    /// Those that gave a card, each node once: a peer may be known under two names, and its word counts once. Who is
    /// known by the name that it gives comes first, so that nobody takes another's word by giving that one's name.
    pub fn nodes(&self) -> Vec<&Fellow> {
        let mut names = BTreeSet::new();
        let (sure, others): (Vec<&Fellow>, Vec<&Fellow>) =
            self.told.iter().partition(|fellow| fellow.peer == fellow.card.node);
        sure.into_iter().chain(others).filter(|fellow| names.insert(fellow.card.node.as_str())).collect()
    }

    /// How many were asked and have said nothing.
    pub const fn unheard(&self) -> usize {
        self.silent.len() + self.awaited
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_voice_and_nobody_takes_it_by_its_name() {
        let fellow =
            |peer: &str, node: &str| Fellow { peer: peer.into(), card: Told { node: node.into(), ..Told::default() } };
        let told = vec![fellow("10.0.0.12", "master-2"), fellow("evil", "master-3"), fellow("master-3", "master-3")];
        let fellows = Fellows { told, ..Fellows::default() };
        let peers: Vec<&str> = fellows.nodes().into_iter().map(|fellow| fellow.peer.as_str()).collect();
        assert_eq!(peers, ["master-3", "10.0.0.12"]);
    }
}
