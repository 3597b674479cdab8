//! A sweep in numbers: how many ports of each kind, with a few of them by name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Fate, Swept};
use crate::units::IpSize;

/// Ports of a kind that are named: enough to try it by hand.
const SAMPLE: usize = 5;

/// Source ports with the same fate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kind {
    /// How many.
    pub count: u16,
    /// The first few of them.
    pub sample: Vec<u16>,
}

impl Kind {
    fn add(&mut self, port: u16) {
        self.count += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(port);
        }
    }
}

/// Source ports that the same hop limits to the same size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Signalled {
    /// The hop that says so.
    pub address: IpAddr,
    /// The MTU that it reports, if it reports one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_mtu: Option<IpSize>,
    /// The largest size that was answered, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carries: Option<IpSize>,
    /// The ports.
    pub ports: Kind,
}

/// A sweep in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Ports that carried the expected size.
    pub carried: Kind,
    /// Ports that a hop limits, by hop and size.
    pub limited: Vec<Signalled>,
    /// Ports that carry small packets and swallow the expected size.
    pub swallowed: Kind,
    /// Ports that carry nothing.
    pub dead: Kind,
    /// Ports of which nothing could be concluded.
    pub unknown: Kind,
}

impl Swept {
    /// How many ports met which fate.
    pub fn shares(&self) -> Shares {
        let mut shares = Shares::default();
        let mut limited: BTreeMap<_, Kind> = BTreeMap::new();
        for &(port, fate) in &self.ports {
            match fate {
                Fate::Carried => shares.carried.add(port),
                Fate::Limited { carries, by, reported } => {
                    limited.entry((by, reported, carries)).or_default().add(port)
                }
                Fate::Swallowed => shares.swallowed.add(port),
                Fate::Dead => shares.dead.add(port),
                Fate::Unknown => shares.unknown.add(port),
            }
        }
        let signalled = |((address, reported_mtu, carries), ports)| Signalled { address, reported_mtu, carries, ports };
        shares.limited = limited.into_iter().map(signalled).collect();
        shares
    }
}

impl Shares {
    /// Ports that do not carry the expected size.
    pub fn bad(&self) -> u16 {
        let limited: u16 = self.limited.iter().map(|limited| limited.ports.count).sum();
        limited + self.vanished()
    }

    /// Ports on which packets vanish with nobody saying so.
    pub const fn vanished(&self) -> u16 {
        self.swallowed.count + self.dead.count
    }

    /// Ports whose fate is known.
    pub fn settled(&self) -> u16 {
        self.carried.count + self.bad()
    }

    /// The share of ports that do not carry the expected size among those whose fate is known.
    pub fn share_bad(&self) -> Option<f64> {
        (self.settled() > 0).then(|| f64::from(self.bad()) / f64::from(self.settled()))
    }

    /// A few ports that do not carry the expected size, those of every kind in turn.
    pub fn bad_sample(&self) -> Vec<u16> {
        let limited = self.limited.iter().map(|limited| &limited.ports);
        let kinds: Vec<_> = limited.chain([&self.swallowed, &self.dead]).collect();
        let turns = (0..SAMPLE).flat_map(|turn| kinds.iter().filter_map(move |kind| kind.sample.get(turn)));
        turns.copied().take(SAMPLE).collect()
    }

    /// The largest size that every port carries that carries anything; `None` where one swallows it: how much less it
    /// would carry was not asked.
    pub fn carried_by_all(&self) -> Option<IpSize> {
        if self.vanished() > 0 {
            return None;
        }
        self.limited.iter().map(|limited| limited.carries).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Mono;

    fn by(hop: u8, mtu: u32) -> Fate {
        let mtu = Some(IpSize::new(mtu));
        Fate::Limited { carries: mtu, by: IpAddr::from([10, 0, 9, hop]), reported: mtu }
    }

    fn swept(fates: &[Fate]) -> Swept {
        let ports = fates.iter().enumerate().map(|(port, &fate)| (port as u16, fate)).collect();
        Swept { expected: Some(IpSize::new(1500)), tunnel: None, ports, sent: 0, at: Mono::default() }
    }

    #[test]
    fn every_kind_is_counted_and_a_few_ports_are_named() {
        let mut fates = vec![Fate::Carried; 7];
        fates.extend([by(1, 1400), by(1, 1400), by(2, 1300), Fate::Swallowed, Fate::Dead, Fate::Unknown]);
        let shares = swept(&fates).shares();
        assert_eq!((shares.carried.count, &shares.carried.sample[..]), (7, &[0, 1, 2, 3, 4][..]));
        let limits: Vec<_> = shares.limited.iter().map(|limited| (limited.ports.count, limited.carries)).collect();
        assert_eq!(limits, [(2, Some(IpSize::new(1400))), (1, Some(IpSize::new(1300)))]);
        assert_eq!((shares.bad(), shares.vanished(), shares.settled()), (5, 2, 12));
        assert_eq!(shares.share_bad(), Some(5.0 / 12.0), "an unknown port is neither good nor bad");
        assert_eq!(shares.bad_sample(), [7, 9, 10, 11, 8], "one of every kind first");
        assert_eq!(shares.carried_by_all(), None);
    }

    #[test]
    fn what_all_ports_carry_is_the_least_of_the_signalled_sizes() {
        let shares = swept(&[Fate::Carried, by(1, 1400), by(2, 1300)]).shares();
        assert_eq!(shares.carried_by_all(), Some(IpSize::new(1300)));
        assert_eq!(swept(&[Fate::Carried]).shares().carried_by_all(), None, "nobody carries less");
    }

    #[test]
    fn of_nothing_settled_there_is_no_share() {
        assert_eq!(swept(&[Fate::Unknown]).shares().share_bad(), None);
        assert_eq!(swept(&[Fate::Carried]).shares().share_bad(), Some(0.0));
    }
}
