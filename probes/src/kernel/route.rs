//! (to come)
use super::{Exception, RawMessage, Route, Table};
use crate::fact::{Reason, Source, Unread};
/// x
pub fn decode(_: &[RawMessage]) -> Table<Route> {
    Table::default()
}
/// x
pub fn exceptions(_: &[RawMessage]) -> Table<Exception> {
    Table::default()
}
/// x
pub fn lookup(_: &RawMessage) -> Result<Route, Unread> {
    Err(Unread::new(Source::Lookup, Reason::NotYet))
}
