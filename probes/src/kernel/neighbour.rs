//! `RTM_NEWNEIGH` messages: neighbours of both families, and the forwarding entries of VXLAN devices and bridges.
//!
//! Both come as the same message type and are told apart by the family in its header.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, ParseableParametrized, parse_ip, parse_mac};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourState as Nud,
};

use super::address::check;
use super::attributes::{self, NEW_NEIGHBOUR, after, missing};
use super::{FdbEntry, LinkIndex, Mac, Neighbour, NeighbourState, RawMessage, Table};

const HEADER: usize = 12;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// Decodes a dump of neighbours. Forwarding entries among them are left out.
pub fn decode(messages: &[RawMessage]) -> Table<Neighbour> {
    attributes::rows(messages, NEW_NEIGHBOUR, "neighbour", |body| {
        let draft = Draft::read(body)?;
        if draft.header.family == AddressFamily::Bridge { Ok(None) } else { draft.neighbour().map(Some) }
    })
}

/// Decodes a dump of forwarding entries. Neighbours among them are left out.
pub fn forwarding(messages: &[RawMessage]) -> Table<FdbEntry> {
    attributes::rows(messages, NEW_NEIGHBOUR, "forwarding entry", |body| {
        let draft = Draft::read(body)?;
        if draft.header.family == AddressFamily::Bridge { draft.entry().map(Some) } else { Ok(None) }
    })
}

struct Draft {
    header: NeighbourHeader,
    destination: Option<IpAddr>,
    mac: Option<Mac>,
}

impl Draft {
    fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let header = NeighbourHeader::parse(body)?;
        let mut draft = Self { header, destination: None, mac: None };
        for attribute in after(body, HEADER)?.iter().filter(|nla| [NDA_DST, NDA_LLADDR].contains(&nla.kind())) {
            match NeighbourAttribute::parse_with_param(attribute, draft.header.family)? {
                NeighbourAttribute::Destination(address) => draft.destination = Some(ip(address)?),
                // Tunnels such as IPIP have an IP address here.
                NeighbourAttribute::LinkLayerAddress(address) => draft.mac = parse_mac(&address).ok().map(Mac),
                _ => {}
            }
        }
        Ok(draft)
    }

    fn neighbour(self) -> Result<Neighbour, DecodeError> {
        let address = self.destination.ok_or_else(|| missing("address (NDA_DST)"))?;
        check(self.header.family, address, 0)?;
        Ok(Neighbour {
            link: LinkIndex(self.header.ifindex),
            address,
            mac: self.mac,
            state: state(self.header.state)?,
            external: self.header.flags.contains(NeighbourFlags::ExtLearned),
        })
    }

    fn entry(self) -> Result<FdbEntry, DecodeError> {
        Ok(FdbEntry {
            link: LinkIndex(self.header.ifindex),
            mac: self.mac.ok_or_else(|| missing("hardware address of 6 bytes (NDA_LLADDR)"))?,
            destination: self.destination,
            permanent: self.header.state == Nud::Permanent,
        })
    }
}

fn ip(address: NeighbourAddress) -> Result<IpAddr, DecodeError> {
    match address {
        NeighbourAddress::Inet(address) => Ok(address.into()),
        NeighbourAddress::Inet6(address) => Ok(address.into()),
        NeighbourAddress::Other(bytes) => parse_ip(&bytes),
        _ => Err("address of an unknown form (NDA_DST)".into()),
    }
}

fn state(state: Nud) -> Result<NeighbourState, DecodeError> {
    Ok(match state {
        Nud::Incomplete => NeighbourState::Incomplete,
        Nud::Reachable => NeighbourState::Reachable,
        Nud::Stale => NeighbourState::Stale,
        Nud::Delay => NeighbourState::Delay,
        Nud::Probe => NeighbourState::Probe,
        Nud::Failed => NeighbourState::Failed,
        Nud::Noarp => NeighbourState::Noarp,
        Nud::Permanent => NeighbourState::Permanent,
        Nud::None => NeighbourState::None,
        other => return Err(format!("neighbour state {other:?}, expected one NUD_* bit").into()),
    })
}
