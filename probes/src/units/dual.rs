//! The addresses that one machine has in one network: at most one of each family.
//!
//! A path is named by peer, plane and family, so a second address of a family would have nothing to be told by.

use std::array;
use std::iter::Flatten;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Family;

/// At most one address of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dual {
    /// Of IPv4.
    pub v4: Option<Ipv4Addr>,
    /// Of IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Dual {
    /// No address.
    pub const NONE: Self = Self { v4: None, v6: None };

    /// The one that stands for all: IPv4 where there is one.
    pub fn first(self) -> Option<IpAddr> {
        self.into_iter().next()
    }

    /// The one of this family.
    pub fn of(self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4 => self.v4.map(IpAddr::V4),
            Family::Ipv6 => self.v6.map(IpAddr::V6),
        }
    }

    /// Whether this is one of them.
    pub fn holds(self, address: IpAddr) -> bool {
        self.of(Family::of(address)) == Some(address)
    }

    /// Whether they have an address in common.
    pub fn shares(self, other: Self) -> bool {
        other.into_iter().any(|address| self.holds(address))
    }

    /// Whether both have an address of one family, and not the same.
    pub fn differs(self, other: Self) -> bool {
        let of = |family| self.of(family).zip(other.of(family));
        [Family::Ipv4, Family::Ipv6].into_iter().filter_map(of).any(|(one, other)| one != other)
    }

    /// Whether there is no address.
    pub const fn is_empty(self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// These, and of a family that is missing here the other's.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { v4: self.v4.or(other.v4), v6: self.v6.or(other.v6) }
    }

    /// Those that are wanted.
    #[must_use]
    pub fn filter(self, is_wanted: impl Fn(IpAddr) -> bool) -> Self {
        self.into_iter().filter(|&address| is_wanted(address)).collect()
    }
}

impl From<IpAddr> for Dual {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { v4: Some(address), v6: None },
            IpAddr::V6(address) => Self { v4: None, v6: Some(address) },
        }
    }
}

impl From<Option<IpAddr>> for Dual {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::NONE, Self::from)
    }
}

/// The first of each family counts.
impl FromIterator<IpAddr> for Dual {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().map(Self::from).fold(Self::NONE, Self::or)
    }
}

impl IntoIterator for Dual {
    type Item = IpAddr;
    type IntoIter = Flatten<array::IntoIter<Option<IpAddr>, 2>>;

    /// IPv4 first.
    fn into_iter(self) -> Self::IntoIter {
        [Family::Ipv4, Family::Ipv6].map(|family| self.of(family)).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn dual(addresses: &[&str]) -> Dual {
        addresses.iter().map(|address| ip(address)).collect()
    }

    #[test]
    fn the_first_of_each_family_counts_and_ipv4_comes_first() {
        let both = dual(&["fd00::1", "10.0.0.1", "10.0.0.2", "fd00::2"]);
        assert_eq!(both.into_iter().collect::<Vec<_>>(), [ip("10.0.0.1"), ip("fd00::1")]);
        assert_eq!((both.first(), dual(&["fd00::1"]).first()), (Some(ip("10.0.0.1")), Some(ip("fd00::1"))));
        assert!(Dual::NONE.is_empty() && Dual::NONE.first().is_none() && !both.is_empty());
    }

    #[test]
    fn what_is_missing_is_filled_in_by_family() {
        let filled = dual(&["10.0.0.1"]).or(dual(&["10.0.0.2", "fd00::2"]));
        assert_eq!(filled, dual(&["10.0.0.1", "fd00::2"]));
        assert_eq!(dual(&["10.0.0.1"]).or(dual(&["10.0.0.2"])).of(Family::Ipv6), None);
    }

    #[test]
    fn one_address_in_common_is_enough_to_share() {
        let both = dual(&["10.0.0.1", "fd00::1"]);
        assert!(both.shares(dual(&["10.0.0.9", "fd00::1"])));
        assert!(!both.shares(dual(&["10.0.0.9", "fd00::9"])) && !both.shares(Dual::NONE));
        assert_eq!(both.filter(|address| address.is_ipv6()), dual(&["fd00::1"]));
    }
}
