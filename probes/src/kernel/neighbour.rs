//! (to come)
use super::{FdbEntry, Neighbour, RawMessage, Table};
/// x
pub fn decode(_: &[RawMessage]) -> Table<Neighbour> {
    Table::default()
}
/// x
pub fn forwarding(_: &[RawMessage]) -> Table<FdbEntry> {
    Table::default()
}
