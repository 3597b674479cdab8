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
            permanent: u16::from(self.header.state) & u16::from(Nud::Permanent) != 0,
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

/// `NUD_*` are bits. Of several the lasting one counts: forwarding entries that `bridge` makes permanent are marked as
/// needing no resolution as well.
fn state(state: Nud) -> Result<NeighbourState, DecodeError> {
    let bits = u16::from(state);
    if bits == 0 {
        return Ok(NeighbourState::None);
    }
    let known = STATES.iter().find(|(bit, _)| bits & u16::from(*bit) != 0);
    known.map(|(_, state)| *state).ok_or_else(|| format!("neighbour state {bits:#x}, expected NUD_* bits").into())
}

const STATES: [(Nud, NeighbourState); 8] = [
    (Nud::Permanent, NeighbourState::Permanent),
    (Nud::Noarp, NeighbourState::Noarp),
    (Nud::Reachable, NeighbourState::Reachable),
    (Nud::Stale, NeighbourState::Stale),
    (Nud::Delay, NeighbourState::Delay),
    (Nud::Probe, NeighbourState::Probe),
    (Nud::Incomplete, NeighbourState::Incomplete),
    (Nud::Failed, NeighbourState::Failed),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::golden::{self, ENP5S0, VMBR1, VXLAN_CALICO, VXLAN6, mac};

    fn neighbour(link: LinkIndex, address: &str, mac: Option<Mac>, state: NeighbourState) -> Neighbour {
        Neighbour { link, address: address.parse().unwrap(), mac, state, external: false }
    }

    #[test]
    fn golden_neighbours() {
        let table = decode(&golden::neighbours());
        assert_eq!(table.malformed, [""; 0]);
        let stale = neighbour(VMBR1, "10.0.0.77", Some(mac(2, [0x77, 0x77])), NeighbourState::Stale);
        let multicast = |address, mac| neighbour(VMBR1, address, Some(Mac(mac)), NeighbourState::Noarp);
        let vtep =
            |address, tail| neighbour(VXLAN_CALICO, address, Some(mac(0x66, [0, tail])), NeighbourState::Permanent);
        let mut rows = table.rows;
        // The kernel lists by hash bucket, which is different each time.
        rows.sort_by_key(|row| (row.link, row.address));
        assert_eq!(
            rows,
            [
                neighbour(VMBR1, "10.0.0.1", Some(mac(2, [5, 2])), NeighbourState::Reachable),
                Neighbour { external: true, ..stale },
                neighbour(VMBR1, "10.0.0.99", None, NeighbourState::Failed),
                multicast("224.0.0.22", [1, 0, 0x5e, 0, 0, 22]),
                neighbour(VMBR1, "fd00::12", Some(mac(2, [0x12, 0x12])), NeighbourState::Permanent),
                multicast("ff02::16", [0x33, 0x33, 0, 0, 0, 22]),
                vtep("10.244.2.0", 2),
                vtep("10.244.3.0", 3),
            ]
        );
    }

    #[test]
    fn golden_forwarding_entries() {
        let table = forwarding(&golden::fdb());
        assert_eq!(table.malformed, [""; 0]);
        assert_eq!(table.rows.len(), 19);
        let entry = |link, mac, destination: &str, permanent| FdbEntry {
            link,
            mac,
            destination: destination.parse().ok(),
            permanent,
        };
        for expected in [
            entry(VXLAN_CALICO, mac(0x66, [0, 2]), "10.0.0.12", true),
            entry(VXLAN_CALICO, mac(0x66, [0, 3]), "10.0.0.13", true),
            entry(VXLAN6, Mac([0; 6]), "fd00::12", true),
            entry(VXLAN6, Mac([0; 6]), "fd00::13", true),
            entry(ENP5S0, mac(2, [5, 0x99]), "", false),
            entry(ENP5S0, mac(2, [5, 1]), "", true),
        ] {
            assert!(table.rows.contains(&expected), "{expected:?}");
        }
        assert_eq!(table.rows.iter().filter(|row| row.destination.is_some()).count(), 4, "bridge entries have none");
    }

    #[test]
    fn neighbours_and_forwarding_entries_are_never_mistaken_for_each_other() {
        assert_eq!(decode(&golden::fdb()), Table::default());
        assert_eq!(forwarding(&golden::neighbours()), Table::default());
    }

    /// An IPv4 neighbour in this state.
    fn message(state: u16, attributes: &[u8]) -> RawMessage {
        let mut body = vec![2, 0, 0, 0, 4, 0, 0, 0];
        body.extend(state.to_ne_bytes());
        body.extend([0, 1]);
        body.extend(attributes);
        RawMessage { kind: NEW_NEIGHBOUR, body }
    }

    const DST: [u8; 8] = [8, 0, 1, 0, 10, 0, 0, 1];

    #[test]
    fn every_state_is_told_and_of_several_bits_the_lasting_one() {
        let states = [
            (0x00, NeighbourState::None),
            (0x01, NeighbourState::Incomplete),
            (0x02, NeighbourState::Reachable),
            (0x04, NeighbourState::Stale),
            (0x08, NeighbourState::Delay),
            (0x10, NeighbourState::Probe),
            (0x20, NeighbourState::Failed),
            (0x40, NeighbourState::Noarp),
            (0x80, NeighbourState::Permanent),
            (0xc0, NeighbourState::Permanent),
        ];
        for (bits, state) in states {
            assert_eq!(decode(&[message(bits, &DST)]).rows[0].state, state, "{bits:#x}");
        }
        assert!(decode(&[message(0x100, &DST)]).malformed[0].contains("state 0x100"));
    }

    #[test]
    fn a_neighbour_without_address_is_malformed_and_one_of_a_tunnel_has_no_mac() {
        assert!(decode(&[message(2, &[])]).malformed[0].contains("carries no address"));
        let ipip = [&DST[..], &[8, 0, 2, 0, 10, 9, 9, 9]].concat();
        assert_eq!(decode(&[message(2, &ipip)]).rows[0].mac, None);
    }

    #[test]
    fn a_forwarding_entry_without_mac_is_malformed() {
        let mut entry = message(0x80, &DST);
        entry.body[0] = 7;
        assert!(forwarding(&[entry]).malformed[0].contains("carries no hardware address"));
    }
}
