//! How routers are joined: wires, each from the end that is nearer to node 0 to the one that is nearer to node 1.
//!
//! Routers are numbered along the way from node 0, in front of which stands the first; in front of node 1 stands the
//! last. People and faults count them from 1, as hops are counted.

use std::net::IpAddr;

use probes::path::SOURCES;
use probes::path::spread::odds;

use super::{Recipe, Underlay};
use crate::family::Family;
use crate::{Error, Result};

/// How often a sweep may miss what it is there to meet.
const RARELY: f64 = 1e-6;

/// A wire between two routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its place among the wires.
    pub number: usize,
    /// Its two ends: that towards node 0, that towards node 1.
    pub ends: [End; 2],
}

/// One end of a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The router, counted from 0.
    pub router: usize,
    /// The router's link.
    pub link: String,
}

impl Recipe {
    /// How many routers there are.
    pub const fn routers(&self) -> usize {
        match self.underlay {
            Underlay::Switched(_) => 0,
            Underlay::Routed(_) => 2,
            Underlay::Chain { routers, .. } => routers as usize,
            Underlay::Parallel { ways, .. } => ways as usize + 2,
        }
    }

    /// How many ways of equal cost lead from node to node.
    pub const fn ways(&self) -> usize {
        match self.underlay {
            Underlay::Parallel { ways, .. } => ways as usize,
            _ => 1,
        }
    }

    /// So many source ports that a sweep misses a bad one of the ways, or all the others, but once in a million times.
    /// Only the way there differs between ports: answers are all alike to whoever chooses their way back.
    pub fn ports_to_tell(&self) -> u16 {
        let ways = self.ways() as u16;
        (1..SOURCES).find(|&ports| odds::meets(ways, ports) >= 1.0 - RARELY).unwrap_or(SOURCES)
    }

    /// Every wire between routers.
    pub fn spans(&self) -> Vec<Span> {
        let links: Vec<[(usize, String); 2]> = match self.underlay {
            Underlay::Switched(_) => Vec::new(),
            Underlay::Routed(_) => vec![[0, 1].map(|router| (router, crate::cluster::BACKBONE.to_owned()))],
            Underlay::Chain { .. } => {
                (1..self.routers()).map(|far| [(far - 1, "next".to_owned()), (far, "previous".to_owned())]).collect()
            }
            Underlay::Parallel { .. } => (1..=self.ways()).flat_map(|way| self.way(way)).collect(),
        };
        let end = |(router, link)| End { router, link };
        links.into_iter().enumerate().map(|(number, ends)| Span { number, ends: ends.map(end) }).collect()
    }

    fn way(&self, way: usize) -> [[(usize, String); 2]; 2] {
        let (name, last) = (format!("way{way}"), self.routers() - 1);
        [[(0, name.clone()), (way, "previous".to_owned())], [(way, "next".to_owned()), (last, name)]]
    }

    /// The wire that leads on from a router towards node 1.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn span_after(&self, router: usize) -> Result<Span> {
        let mut spans = self.spans().into_iter().filter(|span| span.ends[0].router + 1 == router);
        match (spans.next(), spans.next()) {
            (Some(span), None) => Ok(span),
            (None, _) => Err(Error::new(format!("asking for the wire after router {router}"), "there is none")),
            (Some(_), Some(_)) => {
                Err(Error::new(format!("asking for the wire after router {router}"), "it has several"))
            }
        }
    }

    /// The number of the router on a way of equal cost. Ways are counted from 1.
    pub const fn router_on(&self, way: usize) -> usize {
        way + 1
    }

    /// The address that a router (counted from 1) speaks to a node from, where one wire leads it there.
    pub fn hop_address(&self, family: Family, router: usize, to: usize) -> Option<IpAddr> {
        let front = if to == 0 { 1 } else { self.routers() };
        if router == front {
            return self.router_in(family, to);
        }
        let (near, spans) = (1 - to, self.spans());
        let mut towards = spans.iter().filter(|span| span.ends[near].router + 1 == router);
        let span = towards.next()?;
        (towards.next().is_none() && self.families.has(family)).then(|| self.span_address(family, span.number, near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{CHAIN, FOUR_WAYS, REFERENCE, ROUTED, TWO_WAYS};

    #[test]
    fn wires_lead_from_node_0_to_node_1() {
        let routers = |recipe: Recipe| -> Vec<_> {
            recipe.spans().iter().map(|span| span.ends.clone().map(|end| end.router)).collect()
        };
        assert_eq!(routers(REFERENCE), [[0; 2]; 0]);
        assert_eq!(routers(ROUTED), [[0, 1]]);
        assert_eq!(routers(CHAIN), [[0, 1], [1, 2], [2, 3]]);
        assert_eq!(routers(FOUR_WAYS)[..4], [[0, 1], [1, 5], [0, 2], [2, 5]]);
    }

    #[test]
    fn ports_are_enough_to_meet_a_bad_way_and_good_ones() {
        assert_eq!([TWO_WAYS, FOUR_WAYS].map(|recipe| recipe.ports_to_tell()), [20, 49]);
    }

    #[test]
    fn a_router_speaks_from_the_side_of_whom_it_speaks_to() {
        let hop = |router, to| CHAIN.hop_address(Family::V4, router, to).unwrap().to_string();
        assert_eq!([1, 2, 4].map(|router| hop(router, 0)), ["172.20.1.1", "172.20.100.2", "172.20.102.2"]);
        assert_eq!([4, 3, 1].map(|router| hop(router, 1)), ["172.20.2.1", "172.20.102.1", "172.20.100.1"]);
        assert_eq!(FOUR_WAYS.hop_address(Family::V4, 6, 0), None, "it answers over any way");
    }

    #[test]
    fn a_wire_is_named_by_the_router_before_it() {
        assert_eq!(CHAIN.span_after(2).unwrap().number, 1);
        assert_eq!(FOUR_WAYS.span_after(FOUR_WAYS.router_on(3)).unwrap().ends[1].link, "way3");
        for (recipe, router) in [(CHAIN, 4), (CHAIN, 0), (FOUR_WAYS, 1), (REFERENCE, 1)] {
            assert!(recipe.span_after(router).is_err(), "{} {router}", recipe.name);
        }
    }
}
