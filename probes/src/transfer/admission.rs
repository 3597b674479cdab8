//! Who may transfer with this node, how often, and how many at once: what keeps the endpoint from being abused.
//!
//! - Only addresses by which this node knows a peer. Nobody else gets a byte more than the reason.
//! - Each peer, by whichever of its addresses, [`PEER_RATE`] requests a second, [`PEER_BURST`] at once. A transfer takes
//!   three, and an agent makes one a second with a peer at most; a report beside it starts on what is left.
//! - All of them together [`RATE`] a second, [`BURST`] at once: 1.9 MiB/s at the very most, each way.
//! - [`PEER_INSIDE`] of a peer and [`INSIDE`] of all may be under way, fewer than the server has places, so that whoever
//!   asks for the report is served however many hang.
//! - A request that is turned away takes nothing from anybody's share but its own.
//!
//! Nothing is kept of who is turned away, and of a peer only while its share is not whole: a flood takes no memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::peers::Peer;
use crate::units::Mono;

use crate::bucket::Bucket;

/// Requests a second of one peer.
pub const PEER_RATE: u32 = 4;

/// Requests of one peer at once.
pub const PEER_BURST: u32 = 12;

/// Requests a second of all peers.
pub const RATE: u32 = 30;

/// Requests of all peers at once.
pub const BURST: u32 = 60;

/// Transfers of one peer under way.
pub const PEER_INSIDE: usize = 4;

/// Transfers of all peers under way.
pub const INSIDE: usize = 16;

/// Whom this node makes transfers with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guests {
    /// Nobody: they are switched off.
    #[default]
    Nobody,
    /// Peers: every address, sorted, and the first one of the same peer.
    Peers(Arc<[(IpAddr, IpAddr)]>),
}

impl Guests {
    /// Peers by every address of theirs. A gateway that is taken for want of a peer is none.
    pub fn of(peers: &[Peer]) -> Self {
        let addresses = |peer: &Peer| {
            let all: Vec<IpAddr> = peer.addresses().map(|address| address.to_canonical()).collect();
            let first = all.first().copied();
            all.into_iter().filter_map(move |address| Some((address, first?)))
        };
        let mut all: Vec<_> = peers.iter().filter(|peer| !peer.gateway).flat_map(addresses).collect();
        all.sort_unstable();
        all.dedup_by_key(|(address, _)| *address);
        Self::Peers(all.into())
    }

    /// The peer that has this address, by its first one.
    fn find(&self, address: IpAddr) -> Result<IpAddr, Turned> {
        let Self::Peers(all) = self else { return Err(Turned::Off) };
        let found = all.binary_search_by_key(&address, |(address, _)| *address);
        found.map(|at| all[at].1).map_err(|_| Turned::Stranger)
    }
}

/// Why somebody is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Transfers are switched off.
    Off,
    /// The address is no peer's.
    Stranger,
    /// Too many requests.
    TooOften {
        /// How soon there is a place again, if nobody else takes it.
        again: Duration,
    },
    /// Too many under way.
    TooMany,
}

/// Lets peers in and keeps count.
#[derive(Debug)]
pub struct Gate {
    all: Bucket,
    each: BTreeMap<IpAddr, Bucket>,
    inside: BTreeMap<IpAddr, usize>,
}

/// A place inside. It is given back by [`Gate::leave`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that is not given back is taken for ever"]
pub struct Place(IpAddr);

impl Gate {
    /// A gate that nobody has passed.
    pub fn new(now: Mono) -> Self {
        Self { all: Bucket::new(RATE, BURST, now), each: BTreeMap::new(), inside: BTreeMap::new() }
    }

    /// Takes note of a request from this address that moves nothing.
    ///
    /// # Errors
    /// If it is turned away.
    pub fn ask(&mut self, from: IpAddr, guests: &Guests, now: Mono) -> Result<(), Turned> {
        let peer = guests.find(from.to_canonical())?;
        self.has_room(peer)?;
        self.count(peer, now)
    }

    /// Lets a transfer from this address in.
    ///
    /// # Errors
    /// If it is turned away.
    pub fn enter(&mut self, from: IpAddr, guests: &Guests, now: Mono) -> Result<Place, Turned> {
        let peer = guests.find(from.to_canonical())?;
        self.has_room(peer)?;
        self.count(peer, now)?;
        *self.inside.entry(peer).or_default() += 1;
        Ok(Place(peer))
    }

    /// A transfer is over, however it ended.
    pub fn leave(&mut self, place: Place) {
        let Place(peer) = place;
        if let Some(inside) = self.inside.get_mut(&peer) {
            *inside -= 1;
            if *inside == 0 {
                self.inside.remove(&peer);
            }
        }
    }

    fn has_room(&self, peer: IpAddr) -> Result<(), Turned> {
        let all: usize = self.inside.values().sum();
        let own = self.inside.get(&peer).copied().unwrap_or_default();
        if all < INSIDE && own < PEER_INSIDE { Ok(()) } else { Err(Turned::TooMany) }
    }

    fn count(&mut self, peer: IpAddr, now: Mono) -> Result<(), Turned> {
        self.each.retain(|_, share| !share.is_full(now));
        let share = self.each.get(&peer).copied().unwrap_or(Bucket::new(PEER_RATE, PEER_BURST, now));
        let ready = share.ready_at().max(self.all.ready_at());
        if now < ready {
            return Err(Turned::TooOften { again: ready.since(now) });
        }
        self.all.take(now);
        let mut share = share;
        share.take(now);
        self.each.insert(peer, share);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(millis: u64) -> Mono {
        Mono::new(Duration::from_millis(millis))
    }

    fn peer(number: u8) -> Peer {
        Peer {
            name: format!("node-{number}"),
            underlay: IpAddr::from([10, 0, 0, number]).into(),
            overlay: IpAddr::from([10, 244, number, 0]).into(),
            pods: vec![IpAddr::from([10, 244, number, 2])],
            ..Peer::default()
        }
    }

    fn guests() -> Guests {
        Guests::of(&(1..=40).map(peer).collect::<Vec<_>>())
    }

    #[test]
    fn only_peers_come_in_by_any_of_their_addresses() {
        let mut gate = Gate::new(at(0));
        for address in ["10.0.0.7", "10.244.7.0", "10.244.7.2", "::ffff:10.0.0.7"] {
            assert_eq!(gate.ask(ip(address), &guests(), at(0)), Ok(()), "{address}");
        }
        for address in ["10.0.0.77", "127.0.0.1", "::1", "10.244.7.1", "0.0.0.0", "::ffff:127.0.0.1"] {
            assert_eq!(gate.ask(ip(address), &guests(), at(0)), Err(Turned::Stranger), "{address}");
        }
        assert_eq!(gate.ask(ip("10.0.0.7"), &Guests::Nobody, at(0)), Err(Turned::Off));
        let gateway = Peer { gateway: true, ..peer(1) };
        assert_eq!(gate.ask(ip("10.0.0.1"), &Guests::of(&[gateway]), at(0)), Err(Turned::Stranger));
    }

    #[test]
    fn strangers_take_nothing_from_peers_and_leave_nothing_behind() {
        let (mut gate, guests) = (Gate::new(at(0)), guests());
        for number in 0..10_000u32 {
            let from = IpAddr::from((0xc000_0000 + number).to_be_bytes());
            assert_eq!(gate.enter(from, &guests, at(0)), Err(Turned::Stranger));
        }
        assert!(gate.each.is_empty() && gate.inside.is_empty());
        assert_eq!(gate.ask(ip("10.0.0.7"), &guests, at(0)), Ok(()));
    }

    #[test]
    fn a_peer_has_one_share_whichever_address_it_comes_from() {
        let mut gate = Gate::new(at(0));
        let addresses = ["10.0.0.7", "10.244.7.0", "10.244.7.2"].map(ip);
        let let_in = addresses.iter().cycle().take(100).filter(|from| gate.ask(**from, &guests(), at(0)).is_ok());
        assert_eq!(let_in.count(), PEER_BURST as usize);
        let turned = gate.ask(addresses[0], &guests(), at(0));
        assert_eq!(turned, Err(Turned::TooOften { again: Duration::from_millis(250) }));
        assert_eq!(gate.ask(ip("10.0.0.8"), &guests(), at(0)), Ok(()), "another peer is not kept out");
        assert_eq!(gate.ask(addresses[0], &guests(), at(250)), Ok(()));
    }

    #[test]
    fn one_transfer_a_second_and_a_report_beside_it_are_never_turned_away() {
        let mut gate = Gate::new(at(0));
        let from = ip("10.244.7.0");
        for round in 0..120 {
            // An interval of a second less a tenth; the report makes five rounds of its own in the first minute.
            let both = 1 + usize::from(round < 50 && round % 10 == 0);
            for _ in 0..both {
                let now = at(round * 900);
                gate.ask(from, &guests(), now).unwrap();
                let places = [(); 2].map(|()| gate.enter(from, &guests(), now).unwrap());
                places.into_iter().for_each(|place| gate.leave(place));
            }
        }
    }

    #[test]
    fn all_peers_together_have_a_limit_and_a_flood_is_forgotten() {
        let (mut gate, guests) = (Gate::new(at(0)), guests());
        let mut flood = |now| {
            let froms = (1..=40).cycle().take(4000).map(|number| IpAddr::from([10, 0, 0, number]));
            froms.filter(|from| gate.ask(*from, &guests, now).is_ok()).count()
        };
        assert_eq!(flood(at(0)), BURST as usize);
        assert_eq!(flood(at(1000)), RATE as usize);
        assert_eq!(flood(at(60_000)), BURST as usize);
        gate.ask(ip("10.0.0.7"), &guests, at(120_000)).unwrap();
        assert_eq!(gate.each.len(), 1, "whole shares are not kept");
    }

    #[test]
    fn few_are_inside_at_once_and_a_place_is_given_on() {
        let mut gate = Gate::new(at(0));
        let mut places = Vec::new();
        for number in 1..=40 {
            let from = IpAddr::from([10, 0, 0, number]);
            while let Ok(place) = gate.enter(from, &guests(), at(0)) {
                places.push(place);
                assert!(places.len() <= usize::from(number) * PEER_INSIDE);
            }
        }
        assert_eq!(places.len(), INSIDE);
        assert_eq!(gate.ask(ip("10.0.0.30"), &guests(), at(0)), Err(Turned::TooMany));
        gate.leave(places.remove(0));
        places.push(gate.enter(ip("10.0.0.30"), &guests(), at(0)).unwrap());
        places.drain(..).for_each(|place| gate.leave(place));
        assert!(gate.inside.is_empty());
    }

    proptest! {
        /// Fails if any order of requests at any times lets more pass than the shares say.
        #[test]
        fn no_order_of_requests_gets_more_than_its_share(
            requests in proptest::collection::vec((1u8..=5, 0u64..400, any::<bool>()), 1..400)
        ) {
            let (mut gate, guests, mut now) = (Gate::new(at(0)), guests(), 0);
            let mut passed: BTreeMap<u8, u32> = BTreeMap::new();
            let mut inside: Vec<Place> = Vec::new();
            for (number, pause, stays) in requests {
                now += pause;
                if let Ok(place) = gate.enter(IpAddr::from([10, 0, 0, number]), &guests, at(now)) {
                    *passed.entry(number).or_default() += 1;
                    inside.push(place);
                }
                if !stays && !inside.is_empty() {
                    gate.leave(inside.remove(0));
                }
                prop_assert!(inside.len() <= INSIDE);
            }
            let seconds = u32::try_from(now / 1000).unwrap() + 1;
            for count in passed.values() {
                prop_assert!(*count <= PEER_BURST + PEER_RATE * seconds);
            }
            prop_assert!(passed.values().sum::<u32>() <= BURST + RATE * seconds);
            prop_assert!(gate.each.len() <= 5);
        }
    }
}
