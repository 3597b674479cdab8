//! `RTM_NEWNEIGHTBL` messages: how full the kernel's neighbour tables are.
//!
//! There is one table a family for the whole machine, `arp_cache` and `ndisc_cache`: its entries, limits and counters are
//! the same whichever network namespace asks, while a dump of entries holds those of one namespace. A dump has one
//! message about each table, and one with timers about each link, which is told by its lack of limits and left out.
//!
//! Where a dump takes several parts, for a node with hundreds of links, the kernel tells of the table anew at the beginning
//! of each (`neightbl_dump_info`). The last one is the youngest and stands for all.

use std::collections::BTreeMap;

use netlink_packet_core::DecodeError;

use super::attributes::{self, Attribute, NEW_NEIGHBOUR_TABLE, after, missing};
use super::{NeighbourTable, RawMessage, Table};
use crate::units::Family;

/// `struct ndtmsg`.
const HEADER: usize = 4;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `gc_thresh3`.
const NDTA_THRESH3: u16 = 4;
/// `struct ndt_config`; the count of entries is its third field.
const NDTA_CONFIG: u16 = 5;
const ENTRIES: usize = 4;
/// `struct ndt_stats`; `ndts_table_fulls`, since Linux 4.3, is its eleventh number of 64 bits.
const NDTA_STATS: u16 = 7;
const TABLE_FULLS: usize = 10 * 8;

/// The name of the counter of refused entries.
pub const fn refusals(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "neighbour_table_full",
        Family::Ipv6 => "neighbour_table_full_ipv6",
    }
}

/// Decodes a dump of neighbour tables.
pub fn decode(messages: &[RawMessage]) -> Table<NeighbourTable> {
    let mut table = attributes::rows(messages, NEW_NEIGHBOUR_TABLE, "neighbour table", row);
    let mut last: BTreeMap<Family, NeighbourTable> = BTreeMap::new();
    for row in std::mem::take(&mut table.rows) {
        last.insert(row.family, row);
    }
    table.rows = last.into_values().collect();
    table
}

fn row(body: &[u8]) -> Result<Option<NeighbourTable>, DecodeError> {
    let attributes = after(body, HEADER)?;
    let family = match body.first() {
        Some(&AF_INET) => Family::Ipv4,
        Some(&AF_INET6) => Family::Ipv6,
        _ => return Ok(None),
    };
    let find = |kind| attributes.iter().find(|attribute| attribute.kind() == kind);
    let Some(limit) = find(NDTA_THRESH3) else { return Ok(None) };
    let config = find(NDTA_CONFIG).ok_or_else(|| missing("size (NDTA_CONFIG)"))?;
    let stats = find(NDTA_STATS).ok_or_else(|| missing("counters (NDTA_STATS)"))?;
    Ok(Some(NeighbourTable {
        family,
        entries: u32::from_ne_bytes(bytes(config, ENTRIES)?),
        limit: u32::from_ne_bytes(bytes(limit, 0)?),
        refused: u64::from_ne_bytes(bytes(stats, TABLE_FULLS)?),
    }))
}

fn bytes<const N: usize>(attribute: &Attribute<'_>, at: usize) -> Result<[u8; N], DecodeError> {
    let value = attribute.value();
    let found = value.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    found.ok_or_else(|| DecodeError::buffer_too_small(value.len(), at + N))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::golden;

    #[test]
    fn the_kernels_own_bytes_are_two_tables_and_many_links() {
        let messages = golden::neighbour_tables();
        assert!(messages.len() > 2, "timers of links as well");
        let table = decode(&messages);
        assert_eq!(table.malformed, [""; 0]);
        let row = |family, entries| NeighbourTable { family, entries, limit: 1024, refused: 0 };
        assert_eq!(table.rows, [row(Family::Ipv4, GOLDEN.0), row(Family::Ipv6, GOLDEN.1)]);
    }

    /// Fails where each part of a long dump makes a table of its own: a scrape would then hold the same series many times.
    #[test]
    fn a_table_that_every_part_of_a_dump_begins_with_is_one_table() {
        let part = golden::neighbour_tables();
        let dump: Vec<_> = part.iter().chain(&part).chain(&part).cloned().collect();
        assert_eq!(decode(&dump).rows, decode(&part).rows);
    }

    /// Entries of the machine on which the dump was made, of every network namespace.
    const GOLDEN: (u32, u32) = (9, 8);

    #[test]
    fn refusals_are_the_last_counter() {
        let mut message = golden::neighbour_tables().swap_remove(0);
        let stats = after(&message.body, HEADER).unwrap();
        let before: usize =
            stats.iter().take_while(|attribute| attribute.kind() != NDTA_STATS).map(padded).sum::<usize>();
        let at = HEADER + before + 4 + TABLE_FULLS;
        message.body[at..at + 8].copy_from_slice(&300u64.to_ne_bytes());
        assert_eq!(decode(&[message]).rows[0].refused, 300);
    }

    fn padded(attribute: &Attribute<'_>) -> usize {
        usize::from(attribute.length()).next_multiple_of(4)
    }

    #[test]
    fn a_kernel_that_does_not_count_refusals_is_malformed_and_not_zero() {
        let message = golden::neighbour_tables().swap_remove(0);
        let cut: Vec<u8> = message.body[..HEADER].to_vec();
        assert_eq!(decode(&[RawMessage { body: cut, ..message.clone() }]).rows, [], "no limits: about a link");
        let mut body = message.body[..HEADER].to_vec();
        body.extend([8, 0, 4, 0, 0, 4, 0, 0]);
        let table = decode(&[RawMessage { body, ..message }]);
        assert!(table.malformed[0].contains("NDTA_CONFIG"), "{table:?}");
    }

    #[test]
    fn tables_of_other_families_are_nobodys() {
        let mut message = golden::neighbour_tables().swap_remove(0);
        message.body[0] = 12;
        assert_eq!(decode(&[message]), Table::default(), "DECnet had one");
    }
}
