//! (to come)
use super::Counters;
use crate::fact::{Reason, Source, Unread};
/// x
pub fn number(_: &str) -> Result<i64, Unread> {
    Err(Unread::new(Source::Settings, Reason::NotYet))
}
/// x
pub fn counters(_: &str, _: &str) -> Result<Counters, Unread> {
    Err(Unread::new(Source::Counters, Reason::NotYet))
}
