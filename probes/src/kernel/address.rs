//! `RTM_NEWADDR` messages: the addresses of links.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressScope};

use super::attributes::{self, NEW_ADDRESS, after, missing};
use super::{Address, LinkIndex, RawMessage, Table};

const HEADER: usize = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Decodes a dump of addresses.
pub fn decode(messages: &[RawMessage]) -> Table<Address> {
    attributes::rows(messages, NEW_ADDRESS, "address", |body| address(body).map(Some))
}

fn address(body: &[u8]) -> Result<Address, DecodeError> {
    let header = AddressHeader::parse(body)?;
    let (mut prefix_address, mut local) = (None, None);
    for attribute in after(body, HEADER)?.iter().filter(|nla| [IFA_ADDRESS, IFA_LOCAL].contains(&nla.kind())) {
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
    })
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
