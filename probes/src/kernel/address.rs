//! `RTM_NEWADDR` messages: the addresses of links.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressScope};

use super::attributes::{self, Attribute, NEW_ADDRESS, after, missing};
use super::{Address, LinkIndex, RawMessage, Table};

const HEADER: usize = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;

/// `IFA_F_MANAGETEMPADDR`: the kernel sets it on every address that it makes of a router's prefix.
const MANAGED: u32 = 0x100;
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

/// Decodes a dump of addresses.
pub fn decode(messages: &[RawMessage]) -> Table<Address> {
    attributes::rows(messages, NEW_ADDRESS, "address", |body| address(body).map(Some))
}

fn address(body: &[u8]) -> Result<Address, DecodeError> {
    let header = AddressHeader::parse(body)?;
    let (mut prefix_address, mut local) = (None, None);
    let attributes = after(body, HEADER)?;
    for attribute in attributes.iter().filter(|nla| [IFA_ADDRESS, IFA_LOCAL].contains(&nla.kind())) {
        match AddressAttribute::parse(attribute)? {
            AddressAttribute::Address(address) => prefix_address = Some(address),
            AddressAttribute::Local(address) => local = Some(address),
            _ => {}
        }
    }
    // On a point-to-point link `IFA_ADDRESS` is the far end.
    let address = local.or(prefix_address).ok_or_else(|| missing("address (IFA_LOCAL or IFA_ADDRESS)"))?;
    check(header.family, address, header.prefix_len)?;
    Ok(Address {
        link: LinkIndex(header.index),
        address,
        prefix: header.prefix_len,
        global: !matches!(header.scope, AddressScope::Link | AddressScope::Host | AddressScope::Nowhere),
        autoconfigured: number(&attributes, IFA_FLAGS, 0).is_some_and(|flags| flags & MANAGED != 0),
        // `ifa_prefered`, then `ifa_valid`.
        valid: number(&attributes, IFA_CACHEINFO, 4)
            .filter(|&seconds| seconds != FOREVER)
            .map(|seconds| Duration::from_secs(seconds.into())),
    })
}

/// The 32-bit number that an attribute has at this place, where it has one.
fn number(attributes: &[Attribute<'_>], kind: u16, at: usize) -> Option<u32> {
    let value = attributes.iter().find(|attribute| attribute.kind() == kind)?.value();
    Some(u32::from_ne_bytes(value.get(at..at + 4)?.try_into().ok()?))
}

/// Refuses an address of another family than the message is of, and a prefix longer than the address.
pub(super) fn check(family: AddressFamily, address: IpAddr, prefix: u8) -> Result<(), DecodeError> {
    let (expected, most) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    if family != expected {
        return Err(format!("address {address} in a message of family {family:?}").into());
    }
    if prefix > most {
        return Err(format!("prefix length {prefix} of {address}, expected at most {most}").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::golden::{self, LO, VMBR1, VXLAN_CALICO};

    #[test]
    fn golden_addresses() {
        let address = |link, address: &str, prefix, global| Address {
            link,
            address: address.parse().unwrap(),
            prefix,
            global,
            autoconfigured: false,
            valid: None,
        };
        let table = decode(&golden::addresses());
        assert_eq!(table.malformed, [""; 0]);
        assert_eq!(
            table.rows,
            [
                address(LO, "127.0.0.1", 8, false),
                address(VMBR1, "10.0.0.11", 24, true),
                address(VXLAN_CALICO, "10.244.1.0", 32, true),
                address(LO, "::1", 128, false),
                address(VMBR1, "fd00::11", 64, true),
            ]
        );
    }

    /// An IPv4 message with this prefix and these attributes.
    fn message(prefix: u8, attributes: &[u8]) -> RawMessage {
        let body = [&[2, prefix, 0, 0, 4, 0, 0, 0], attributes].concat();
        RawMessage { kind: NEW_ADDRESS, body }
    }

    #[test]
    fn the_near_end_of_a_point_to_point_link_is_its_address() {
        let both = message(32, &[8, 0, 1, 0, 10, 0, 0, 2, 8, 0, 2, 0, 10, 0, 0, 1]);
        assert_eq!(decode(&[both]).rows[0].address, IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn golden_autoconfigured_address() {
        let table = decode(&golden::advertised_addresses());
        assert_eq!(table.malformed, [""; 0]);
        let own = table.rows.iter().find(|own| own.global).unwrap();
        assert_eq!((own.autoconfigured, own.valid), (true, Some(Duration::from_secs(3600))));
        let link_local = table.rows.iter().find(|own| !own.global && own.prefix == 64).unwrap();
        assert_eq!((link_local.autoconfigured, link_local.valid), (false, None));
    }

    #[test]
    fn lifetime_and_flags_cut_short_are_unknown() {
        let own = [8, 0, 2, 0, 10, 0, 0, 1];
        let cut = [&own[..], &[8, 0, 6, 0, 9, 0, 0, 0], &[6, 0, 8, 0, 0, 1, 0, 0]].concat();
        let row = decode(&[message(24, &cut)]).rows.remove(0);
        assert_eq!((row.autoconfigured, row.valid), (false, None));
    }

    #[test]
    fn an_address_that_cannot_be_is_malformed() {
        let cases = [
            (message(24, &[]), "carries no address"),
            (message(33, &[8, 0, 2, 0, 10, 0, 0, 1]), "prefix length 33"),
            (message(24, &[20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "family Inet"),
            (message(24, &[6, 0, 2, 0, 10, 0, 0, 0]), "IFA_LOCAL"),
        ];
        for (message, what) in cases {
            let table = decode(&[message]);
            assert!(table.rows.is_empty());
            assert!(table.malformed[0].contains(what), "{:?}", table.malformed);
        }
    }
}
