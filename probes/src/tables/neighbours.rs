//! How full a neighbour table is, of what the kernel may throw away.
//!
//! The kernel holds `gc_thresh3` against the entries that garbage collection may take. Since Linux 5.0 those that are
//! permanent or kept by a control plane (`extern_learn`) are none of them; those that need no resolution (`NOARP`, which
//! is every multicast address of IPv6) are, but are thrown away as soon as room is needed, so none of them ever fills a
//! table. What the kernel tells is the number of all entries of all network namespaces (measured on Linux 6.18: permanent
//! and externally learned ones are counted, and another namespace sees them). Which of them are exempt is known only of
//! this namespace, where a node's CNI keeps its own; pods have next to none.

use crate::fact::Unread;
use crate::kernel::{Neighbour, NeighbourState, NeighbourTable};
use crate::units::Family;

use super::Tables;

/// How full a neighbour table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Which.
    pub family: Family,
    /// Entries of the whole machine that garbage collection may take, as far as that can be known.
    pub entries: u64,
    /// Those of this network namespace.
    pub here: u64,
    /// Entries of this network namespace that it leaves alone.
    pub exempt: u64,
    /// The limit for the whole machine.
    pub limit: u64,
    /// How often an entry was refused, since the machine started.
    pub refused: u64,
}

impl Tables {
    /// How full the neighbour tables are.
    ///
    /// # Errors
    /// If their sizes, or the entries of this namespace, could not be read.
    pub fn fills(&self) -> Result<Vec<Fill>, Unread> {
        let tables = self.neighbour_tables.read()?.map_or(&[][..], Vec::as_slice);
        let own = self.neighbours.read()?.map_or(&[][..], |own| own.as_slice());
        Ok(tables.iter().map(|table| fill(table, own)).collect())
    }
}

fn fill(table: &NeighbourTable, own: &[Neighbour]) -> Fill {
    let of = own.iter().filter(|entry| Family::of(entry.address) == table.family);
    let (here, exempt): (Vec<_>, Vec<_>) = of.partition(|entry| is_collected(entry));
    let (here, exempt) = (here.len() as u64, exempt.len() as u64);
    Fill {
        family: table.family,
        // Entries came and went between both readings.
        entries: u64::from(table.entries).saturating_sub(exempt).max(here),
        here,
        exempt,
        limit: table.limit.into(),
        refused: table.refused,
    }
}

/// Whether an entry takes up room that others could need.
pub fn is_collected(entry: &Neighbour) -> bool {
    !matches!(entry.state, NeighbourState::Permanent | NeighbourState::Noarp) && !entry.external
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::kernel::LinkIndex;
    use crate::snapshot::example::failed;

    fn entry(address: &str, state: NeighbourState, external: bool) -> Neighbour {
        Neighbour { link: LinkIndex(2), address: address.parse().unwrap(), mac: None, state, external }
    }

    fn known(entries: Vec<Neighbour>) -> Fact<super::super::Rows<Neighbour>> {
        Fact::Known(entries.into())
    }

    fn machine(entries: u32) -> Tables {
        use NeighbourState::{Failed, Noarp, Permanent, Reachable, Stale};
        let mut tables = Tables::unread();
        tables.neighbours = known(vec![
            entry("10.0.0.1", Reachable, false),
            entry("10.0.0.2", Failed, false),
            entry("10.0.0.3", Stale, true),
            entry("10.0.0.4", Permanent, false),
            entry("fd00::1", Stale, false),
            entry("ff02::1", Noarp, false),
        ]);
        let table = |family| NeighbourTable { family, entries, limit: 1024, refused: 3 };
        tables.neighbour_tables = Fact::Known(vec![table(Family::Ipv4), table(Family::Ipv6)]);
        tables
    }

    #[test]
    fn the_machines_entries_count_and_those_that_are_kept_do_not() {
        let fills = machine(100).fills().unwrap();
        let four = Fill { family: Family::Ipv4, entries: 98, here: 2, exempt: 2, limit: 1024, refused: 3 };
        let six = Fill { family: Family::Ipv6, entries: 99, here: 1, exempt: 1, limit: 1024, refused: 3 };
        assert_eq!(fills, [four, six]);
    }

    #[test]
    fn entries_that_came_between_two_readings_are_not_lost() {
        assert_eq!(machine(1).fills().unwrap().iter().map(|fill| fill.entries).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn what_is_exempt_has_to_be_known() {
        let mut tables = machine(100);
        tables.neighbours = Fact::Unread(failed(Source::Neighbours));
        assert_eq!(tables.fills(), Err(failed(Source::Neighbours)));
    }
}
