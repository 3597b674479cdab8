//! (to come)
use super::{Address, RawMessage, Table};
/// x
pub fn decode(_: &[RawMessage]) -> Table<Address> {
    Table::default()
}
