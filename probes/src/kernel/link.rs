//! (to come)
use super::{Link, RawMessage, Table};
/// x
pub fn decode(_: &[RawMessage]) -> Table<Link> {
    Table::default()
}
