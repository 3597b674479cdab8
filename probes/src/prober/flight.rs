//! Who sent what: probes under way, known by what an ICMP quote keeps of them.
//!
//! Eight bytes behind the IP header is all that an error must quote, so an ICMP request is known by destination and
//! sequence, a UDP probe by destination, ports and length. What is encapsulated is known by what is inside, for that is
//! answered; an error about its outside quotes source port and length, and is looked up by them. Sequences are drawn at random: whoever is probed learns its own, and must not
//! learn those of others. A cookie over secret, destination, sequence and size is checked wherever enough came back. A
//! sequence that is done with stays in quarantine, so that an answer that comes late matches nothing new.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::TransmitId;
use crate::path::Probe;
use crate::units::{IpSize, Mono};

/// How long a sequence is not used again for the same destination.
const QUARANTINE: Duration = Duration::from_secs(30);

/// Names one measurement under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunId(pub u64);

/// What a probe is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// ICMP echo or timestamp, encapsulated or not, by the address that answers.
    Icmp { sequence: u16, to: IpAddr },
    /// UDP; paths that share an address may ask the same port.
    Udp { to: IpAddr, port: u16, run: RunId },
    /// UDP from a source port of choice.
    Sweep { to: IpAddr, source: u16, size: IpSize, run: RunId },
    /// A TCP attempt, which reports by itself.
    Tcp { transmit: TransmitId },
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub run: RunId,
    pub probe: Probe,
    pub transmit: TransmitId,
    pub cookie: u64,
    /// When it left; `None` while the kernel has not said.
    pub left: Option<Mono>,
}

/// A transmit of which nobody has said what became of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub key: Key,
    pub run: RunId,
    pub probe: Probe,
    left: bool,
}

/// Every probe under way.
#[derive(Clone, Debug)]
pub(super) struct Flights {
    secret: u64,
    under_way: BTreeMap<Key, Flight>,
    pending: BTreeMap<TransmitId, Pending>,
    quarantine: VecDeque<(Mono, Key)>,
    quarantined: BTreeSet<Key>,
}

impl Flights {
    pub(super) fn new(secret: u64) -> Self {
        Self {
            secret,
            under_way: BTreeMap::new(),
            pending: BTreeMap::new(),
            quarantine: VecDeque::new(),
            quarantined: BTreeSet::new(),
        }
    }

    /// A sequence for `to` that is neither in use nor in quarantine; `None` if there is none.
    pub(super) fn sequence(&mut self, to: IpAddr, transmit: TransmitId, now: Mono) -> Option<u16> {
        self.release(now);
        let [.., high, low] = self.hash(&(to, transmit)).to_be_bytes();
        let start = u16::from_be_bytes([high, low]);
        (0..=u16::MAX).map(|step| start.wrapping_add(step)).find(|&sequence| {
            let key = Key::Icmp { sequence, to };
            !self.under_way.contains_key(&key) && !self.quarantined.contains(&key)
        })
    }

    /// The cookie of a probe: nobody without the secret can make it, and no two transmits share one, but for those that
    /// are known as the same.
    pub(super) fn cookie(&self, key: Key, probe: Probe, transmit: TransmitId) -> u64 {
        let (number, to, transmit) = match key {
            Key::Icmp { sequence, to } => (sequence, Some(to), transmit),
            Key::Udp { to, port, .. } => (port, Some(to), transmit),
            Key::Sweep { to, source, .. } => (source, Some(to), TransmitId(0)),
            Key::Tcp { .. } => (0, None, transmit),
        };
        self.hash(&(number, to, probe.size, transmit))
    }

    /// The standard library's keyed-hash function with the secret before and after what is hashed.
    fn hash(&self, value: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret, value, self.secret).hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn insert(&mut self, key: Key, flight: Flight) {
        let Flight { run, probe, transmit, .. } = flight;
        self.pending.insert(transmit, Pending { key, run, probe, left: false });
        // A UDP probe that is repeated is known as the one before: whichever of them is answered, it was answered.
        self.under_way.insert(key, flight);
    }

    pub(super) fn get(&self, key: Key) -> Option<Flight> {
        self.under_way.get(&key).copied()
    }

    pub(super) fn pending(&self, transmit: TransmitId) -> Option<Pending> {
        self.pending.get(&transmit).copied()
    }

    /// Takes in that a transmit left; `None` if that is known. A TCP attempt stays pending, for it reports once more.
    pub(super) fn leave(&mut self, transmit: TransmitId, now: Mono) -> Option<Pending> {
        let pending = self.pending.get_mut(&transmit).filter(|pending| !pending.left)?;
        pending.left = true;
        let pending = *pending;
        if !matches!(pending.key, Key::Tcp { .. }) {
            self.pending.remove(&transmit);
        }
        if let Some(flight) = self.under_way.get_mut(&pending.key).filter(|flight| flight.transmit == transmit) {
            flight.left = Some(now);
        }
        Some(pending)
    }

    /// Takes in that a transmit did not leave.
    pub(super) fn fail(&mut self, transmit: TransmitId, now: Mono) -> Option<Pending> {
        let pending = self.pending.remove(&transmit)?;
        if self.get(pending.key).is_some_and(|flight| flight.transmit == transmit) {
            self.retire(pending.key, now);
        }
        Some(pending)
    }

    /// UDP probes to this address and port, of whatever path.
    pub(super) fn udp(&self, to: IpAddr, port: u16) -> Vec<Key> {
        let (first, last) = (Key::Udp { to, port, run: RunId(0) }, Key::Udp { to, port, run: RunId(u64::MAX) });
        self.under_way.range(first..=last).map(|(&key, _)| key).collect()
    }

    /// UDP probes of this size from this source port, of whatever path.
    pub(super) fn sweeps(&self, to: IpAddr, source: u16, size: IpSize) -> Vec<Key> {
        let key = |run| Key::Sweep { to, source, size, run };
        self.under_way.range(key(RunId(0))..=key(RunId(u64::MAX))).map(|(&key, _)| key).collect()
    }

    /// Whether an echo with this sequence is under way to any address.
    pub(super) fn knows(&self, sequence: u16) -> bool {
        let lowest = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let mut from = self.under_way.range(Key::Icmp { sequence, to: lowest }..);
        from.next().is_some_and(|(key, _)| matches!(key, Key::Icmp { sequence: found, .. } if *found == sequence))
    }

    /// Whether a probe that was known by `key` is done with.
    pub(super) fn is_retired(&self, key: Key) -> bool {
        self.quarantined.contains(&key)
    }

    /// Forgets a probe and keeps its sequence in quarantine.
    pub(super) fn retire(&mut self, key: Key, now: Mono) {
        let Some(flight) = self.under_way.remove(&key) else { return };
        self.pending.remove(&flight.transmit);
        if self.quarantined.insert(key) {
            self.quarantine.push_back((now + QUARANTINE, key));
        }
    }

    fn release(&mut self, now: Mono) {
        while let Some(&(until, key)) = self.quarantine.front()
            && until <= now
        {
            self.quarantine.pop_front();
            self.quarantined.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::path::Carrier;

    const TO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 12));
    const PROBE: Probe = Probe::new(Carrier::Echo, IpSize::new(84));

    fn flight(transmit: u64) -> Flight {
        Flight { run: RunId(1), probe: PROBE, transmit: TransmitId(transmit), cookie: 0, left: None }
    }

    fn at(secs: u64) -> Mono {
        Mono::new(Duration::from_secs(secs))
    }

    #[test]
    fn a_sequence_in_use_or_in_quarantine_is_not_drawn() {
        let mut flights = Flights::new(1);
        let sequence = flights.sequence(TO, TransmitId(1), at(0)).unwrap();
        let key = Key::Icmp { sequence, to: TO };
        flights.insert(key, flight(1));
        assert_ne!(flights.sequence(TO, TransmitId(1), at(0)), Some(sequence), "in use");
        flights.retire(key, at(1));
        assert!(flights.is_retired(key) && flights.get(key).is_none());
        assert_ne!(flights.sequence(TO, TransmitId(1), at(30)), Some(sequence), "in quarantine");
        assert_eq!(flights.sequence(TO, TransmitId(1), at(31)), Some(sequence), "free again");
    }

    #[test]
    fn no_sequence_is_left_when_all_are_in_use() {
        let mut flights = Flights::new(1);
        for sequence in 0..=u16::MAX {
            flights.insert(Key::Icmp { sequence, to: TO }, flight(u64::from(sequence)));
        }
        assert_eq!(flights.sequence(TO, TransmitId(1 << 20), at(0)), None);
    }

    #[test]
    fn sequences_of_one_destination_do_not_tell_those_of_another() {
        let mut flights = Flights::new(1);
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 13));
        let drawn = |flights: &mut Flights, to| flights.sequence(to, TransmitId(5), at(0)).unwrap();
        assert_ne!(drawn(&mut flights, TO), drawn(&mut flights, other));
        assert_ne!(drawn(&mut flights, TO), drawn(&mut Flights::new(2), TO));
    }

    #[test]
    fn the_cookie_depends_on_everything_that_tells_probes_apart() {
        let flights = Flights::new(1);
        let key = Key::Icmp { sequence: 7, to: TO };
        let cookie = flights.cookie(key, PROBE, TransmitId(1));
        let larger = Probe { size: IpSize::new(1500), ..PROBE };
        let others = [
            Flights::new(2).cookie(key, PROBE, TransmitId(1)),
            flights.cookie(Key::Icmp { sequence: 8, to: TO }, PROBE, TransmitId(1)),
            flights.cookie(key, larger, TransmitId(1)),
            flights.cookie(key, PROBE, TransmitId(2)),
        ];
        assert!(!others.contains(&cookie));
    }

    #[test]
    fn a_sequence_is_known_whatever_its_destination() {
        let mut flights = Flights::new(1);
        flights.insert(Key::Icmp { sequence: 7, to: TO }, flight(1));
        assert!(flights.knows(7) && !flights.knows(6) && !flights.knows(8));
    }
}
