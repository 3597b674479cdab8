//! Ranges of addresses that pods can get, as the plugin `host-local` reads them.
//!
//! A range is a subnet, from its second address to its last, or to the one before where IPv4 has a broadcast address;
//! `rangeStart` and `rangeEnd`, both of them in it, name others. The gateway (the second address unless another is named)
//! is never given away. Subnets of one or two addresses, bits behind the prefix, and ranges of one set that overlap are
//! refused by the plugin, and so they are here. A set's ranges are of one family and used one after the other; a pod gets
//! one address of each set, so the tightest set decides.
//!
//! Addresses are numbers of 128 bits, and what is counted saturates: the whole of IPv6 has one more than fits.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::cni::folded;
use crate::units::Family;

/// Ranges that stand for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet(Vec<Range>);

/// Addresses in a row, of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The subnet's prefix, or the first and the last address where they were named.
    shown: String,
    family: Family,
    first: u128,
    last: u128,
    gateway: Option<u128>,
}

impl RangeSet {
    /// Ranges that stand for each other.
    ///
    /// # Errors
    /// If the plugin would refuse them; says why.
    pub fn new(ranges: Vec<Range>) -> Result<Self, String> {
        let Some(one) = ranges.first() else { return Err("a list of ranges is empty".into()) };
        if let Some(other) = ranges.iter().find(|range| range.family != one.family) {
            return Err(format!("{one} and {other} are of two families in one list"));
        }
        for (at, range) in ranges.iter().enumerate() {
            if let Some(other) = ranges[at + 1..].iter().find(|other| range.overlaps(other)) {
                return Err(format!("{range} and {other} overlap"));
            }
        }
        Ok(Self(ranges))
    }

    /// The family of all of them.
    pub fn family(&self) -> Family {
        self.0.first().expect("a set has a range").family
    }

    /// How many addresses pods can get.
    pub fn size(&self) -> u128 {
        self.0.iter().fold(0, |sum, range| range.size().saturating_add(sum))
    }

    /// Whether a pod can get the address.
    pub fn gives(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.gives(address))
    }

    /// Each range, as an operator knows it.
    pub fn shown(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl Range {
    /// A whole subnet.
    ///
    /// # Errors
    /// If the plugin would refuse it; says why.
    pub fn subnet(text: &str) -> Result<Self, String> {
        let (address, prefix) = prefix(text).ok_or_else(|| format!("{text:.60} is no subnet"))?;
        let (family, number) = (Family::of(address), number(address));
        let bits = bits(family);
        // No shift is by all 128 bits: what is left to hosts has two at least, and a prefix of none has its own way.
        let left = bits - u32::from(prefix);
        if left < 2 {
            return Err(format!("{text} is too small to give addresses from"));
        }
        let hosts = u128::MAX >> (128 - left);
        if number & hosts != 0 {
            return Err(format!("{text} has bits behind its prefix"));
        }
        let broadcast = u128::from(family == Family::Ipv4);
        Ok(Self {
            shown: text.to_owned(),
            family,
            first: number + 1,
            last: (number | hosts) - broadcast,
            gateway: Some(number + 1),
        })
    }

    /// A range as its object says; `subnet` stands for the one of it.
    ///
    /// # Errors
    /// If the plugin would refuse it; says why.
    pub fn of(object: &Map<String, Value>, subnet: &str) -> Result<Self, String> {
        let whole = Self::subnet(subnet)?;
        // The network's own address may be named, and is given away then.
        let (least, most) = (whole.first - 1, whole.last + u128::from(whole.family == Family::Ipv4));
        let named = |key: &str| address(object, key);
        let inside = |key: &str, least: u128, most: u128| match named(key)? {
            Some(address) if Family::of(address) != whole.family || !(least..=most).contains(&number(address)) => {
                Err(format!("{key} {address} is not in {subnet}, or comes before its start"))
            }
            address => Ok(address.map(number)),
        };
        let first = inside("rangeStart", least, most)?;
        let last = inside("rangeEnd", first.unwrap_or(whole.first), most)?;
        let gateway = match named("gateway")? {
            None => whole.gateway,
            Some(gateway) if Family::of(gateway) == whole.family => Some(number(gateway)),
            Some(_) => None,
        };
        let mut range =
            Self { first: first.unwrap_or(whole.first), last: last.unwrap_or(whole.last), gateway, ..whole };
        if range.last < range.first {
            return Err(format!("rangeStart comes after the end of {subnet}"));
        }
        if first.is_some() || last.is_some() {
            let ends = [range.first, range.last].map(|number| from_number(range.family, number).to_string());
            range.shown = ends.join("-");
        }
        Ok(range)
    }

    fn size(&self) -> u128 {
        let all = (self.last - self.first).saturating_add(1);
        all - u128::from(self.gateway.is_some_and(|gateway| self.has(gateway)))
    }

    fn gives(&self, address: IpAddr) -> bool {
        let number = number(address);
        Family::of(address) == self.family && self.has(number) && self.gateway != Some(number)
    }

    const fn has(&self, number: u128) -> bool {
        self.first <= number && number <= self.last
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// How many addresses a prefix has.
pub fn addresses(family: Family, prefix: u8) -> u128 {
    let left = bits(family).saturating_sub(u32::from(prefix));
    1_u128.checked_shl(left).unwrap_or(u128::MAX)
}

/// Whether an address is in a prefix.
pub fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let family = Family::of(network);
    let left = bits(family).saturating_sub(u32::from(prefix));
    // Shifts by all bits leave nothing: a prefix of none has every address.
    let of_network = |address| number(address).checked_shr(left).unwrap_or(0);
    Family::of(address) == family && of_network(address) == of_network(network)
}

fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
    (u32::from(prefix) <= bits(Family::of(address))).then_some((address, prefix))
}

fn address(object: &Map<String, Value>, key: &str) -> Result<Option<IpAddr>, String> {
    let text = match folded(object, key) {
        None => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(format!("{key} is no text")),
    };
    text.parse().map(Some).map_err(|_| format!("{key} {text:.60} is no address"))
}

const fn bits(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn from_number(family: Family, number: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(u32::try_from(number).expect("a range of IPv4 has 32 bits")).into(),
        Family::Ipv6 => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Range, String> {
        let object = value.as_object().unwrap();
        Range::of(object, object["subnet"].as_str().unwrap())
    }

    fn size(value: Value) -> u128 {
        of(value).unwrap().size()
    }

    #[test]
    fn network_broadcast_and_gateway_are_never_given_away() {
        assert_eq!(size(json!({"subnet": "10.244.1.0/24"})), 253);
        assert_eq!(size(json!({"subnet": "10.244.1.0/29"})), 5);
        assert_eq!(size(json!({"subnet": "10.244.1.0/30"})), 1);
        assert_eq!(size(json!({"subnet": "fd00::/120"})), 254, "no broadcast");
        let whole = of(json!({"subnet": "10.244.1.0/24"})).unwrap();
        let gives = |address: &str| whole.gives(address.parse().unwrap());
        assert_eq!(["10.244.1.0", "10.244.1.1", "10.244.1.255"].map(gives), [false; 3]);
        assert_eq!(["10.244.1.2", "10.244.1.254", "10.244.2.2", "::10.244.1.2"].map(gives), [true, true, false, false]);
    }

    #[test]
    fn zero_and_255_in_the_middle_of_a_subnet_are_addresses_like_others() {
        let range = of(json!({"subnet": "10.244.0.0/23"})).unwrap();
        let gives = |address: &str| range.gives(address.parse().unwrap());
        assert_eq!(["10.244.0.255", "10.244.1.0", "10.244.1.255"].map(gives), [true, true, false]);
    }

    #[test]
    fn what_is_named_stands_for_what_is_not() {
        let part = of(json!({"subnet": "10.1.0.0/16", "rangeStart": "10.1.2.10", "rangeEnd": "10.1.2.19"})).unwrap();
        assert_eq!((part.size(), part.to_string().as_str()), (10, "10.1.2.10-10.1.2.19"));
        let gateway = json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.19", "gateway": "10.1.0.15"});
        assert_eq!(size(gateway), 9);
        assert_eq!(
            size(json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.0"})),
            254,
            "the network's own, if named"
        );
        assert_eq!(size(json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.255"})), 254, "and the broadcast address");
        assert_eq!(size(json!({"subnet": "10.1.0.0/24", "gateway": "192.168.0.1"})), 254, "a gateway of elsewhere");
        assert_eq!(size(json!({"subnet": "10.1.0.0/24", "gateway": "", "rangeEnd": null})), 253);
    }

    #[test]
    fn what_the_plugin_refuses_is_named() {
        for (value, why) in [
            (json!({"subnet": "10.1.0.0/31"}), "too small"),
            (json!({"subnet": "fd00::1/128"}), "too small"),
            (json!({"subnet": "10.1.0.1/24"}), "bits behind its prefix"),
            (json!({"subnet": "10.1.0.0"}), "is no subnet"),
            (json!({"subnet": "10.1.0.0/33"}), "is no subnet"),
            (json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.1.1"}), "rangeStart 10.1.1.1 is not in"),
            (json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}), "rangeEnd 10.1.0.8"),
            (json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.255"}), "comes after the end"),
            (json!({"subnet": "10.1.0.0/24", "rangeEnd": 8}), "rangeEnd is no text"),
            (json!({"subnet": "10.1.0.0/24", "gateway": "x"}), "gateway x is no address"),
        ] {
            let told = of(value.clone()).unwrap_err();
            assert!(told.contains(why), "{value}: {told}");
        }
        let range = |subnet: &str| Range::subnet(subnet).unwrap();
        let set = |subnets: &[&str]| RangeSet::new(subnets.iter().map(|subnet| range(subnet)).collect());
        assert!(set(&["10.1.0.0/16", "10.1.2.0/24"]).unwrap_err().contains("overlap"));
        assert!(set(&["10.1.0.0/16", "fd00::/64"]).unwrap_err().contains("two families"));
        assert!(set(&[]).is_err());
        let part = |key: &str| of(json!({"subnet": "10.1.0.0/24", key: "10.1.0.9"})).unwrap();
        assert!(RangeSet::new(vec![part("rangeEnd"), part("rangeStart")]).unwrap_err().contains("overlap"), "by one");
        assert_eq!(set(&["10.1.0.0/24", "10.1.2.0/24"]).unwrap().size(), 506);
    }

    #[test]
    fn the_whole_of_each_family_is_counted_without_overflow() {
        assert_eq!(size(json!({"subnet": "0.0.0.0/0"})), (1 << 32) - 3);
        assert_eq!(size(json!({"subnet": "::/0"})), u128::MAX - 1);
        let all = json!({"subnet": "::/0", "rangeStart": "::", "gateway": "10.0.0.1"});
        let all = of(all).unwrap();
        assert_eq!(all.size(), u128::MAX, "one more than fits");
        assert_eq!(RangeSet(vec![all.clone(), all]).size(), u128::MAX);
        assert_eq!((addresses(Family::Ipv6, 0), addresses(Family::Ipv4, 0)), (u128::MAX, 1 << 32));
        assert_eq!(
            (addresses(Family::Ipv4, 26), addresses(Family::Ipv6, 122), addresses(Family::Ipv4, 40)),
            (64, 64, 1)
        );
    }

    #[test]
    fn a_prefix_has_its_own_addresses_of_its_family() {
        let within =
            |address: &str, network: &str, prefix| within(address.parse().unwrap(), network.parse().unwrap(), prefix);
        assert!(within("10.244.1.63", "10.244.1.0", 26) && !within("10.244.1.64", "10.244.1.0", 26));
        assert!(within("fd00::3f", "fd00::", 122) && !within("fd00::40", "fd00::", 122));
        assert!(within("8.8.8.8", "0.0.0.0", 0) && !within("::1", "0.0.0.0", 0));
        assert!(within("fe80::1", "::", 0));
    }

    proptest! {
        /// Could fail by an end that is counted and not given, or the other way round.
        #[test]
        fn as_many_are_given_as_are_counted(network: u32, prefix in 20_u8..=30, gateway: u32) {
            let hosts = u32::MAX >> prefix;
            let network = network & !hosts;
            let text = format!("{}/{prefix}", Ipv4Addr::from(network));
            let gateway = Ipv4Addr::from(network | gateway & hosts).to_string();
            for value in [json!({"subnet": text}), json!({"subnet": text, "gateway": gateway})] {
                let range = of(value).unwrap();
                let given = (0..=hosts).filter(|host| range.gives(Ipv4Addr::from(network | host).into())).count();
                prop_assert_eq!(u128::try_from(given).unwrap(), range.size());
            }
        }

        #[test]
        fn nothing_panics(subnet in ".{0,24}|[0-9a-f:.]{1,20}/[0-9]{1,3}", start in "[0-9a-f:.]{0,20}", end in "[0-9a-f:.]{0,20}") {
            let value = json!({"subnet": subnet, "rangeStart": start, "rangeEnd": end});
            if let Ok(range) = of(value) {
                prop_assert!(range.first <= range.last);
                prop_assert!(range.size() > 0 || range.first == range.last);
            }
        }

        #[test]
        fn a_range_of_ipv6_is_as_large_as_its_ends_are_apart(network: u128, prefix in 0_u8..=126, one: u128, other: u128) {
            let hosts = u128::MAX >> prefix;
            let at = |host: u128| Ipv6Addr::from(network & !hosts | host & hosts).to_string();
            let (first, last) = (one.min(other) & hosts, (one.max(other)) & hosts);
            let (first, last) = (first.min(last), first.max(last));
            let subnet = format!("{}/{prefix}", Ipv6Addr::from(network & !hosts));
            let value = json!({"subnet": subnet, "rangeStart": at(first), "rangeEnd": at(last), "gateway": "10.0.0.1"});
            prop_assert_eq!(size(value), (last - first).saturating_add(1));
        }
    }
}
