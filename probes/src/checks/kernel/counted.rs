//! What rules about counters share: how much is enough, and how a rate is told.

use crate::fact::Unread;
use crate::snapshot::Snapshot;
use crate::units::Family;
use crate::windows::Rise;

/// As many in a window are no stray packets. A window is 5 s at least, and a finding takes two rounds that agree.
pub(super) const SEVERAL: u64 = 5;

/// A share of a table's limit from which on it is nearly full.
pub(super) const NEARLY: u64 = 80;

/// Whether a table is nearly full: pods come by the dozen, and each takes several entries.
pub(super) const fn is_nearly_full(entries: u64, limit: u64) -> bool {
    limit > 0 && entries.saturating_mul(100) >= limit.saturating_mul(NEARLY)
}

/// A rise that goes on; `None` where the kernel does not count that, or it does not go on.
///
/// # Errors
/// If counters could not be read, or were not watched for long enough.
pub(super) fn lasting(node: &Snapshot, counter: &str) -> Result<Option<Rise>, Unread> {
    Ok(risen(node, counter)?.filter(|rise| rise.lasts))
}

/// How much a counter rose in the window.
///
/// # Errors
/// As [`lasting`].
pub(super) fn risen(node: &Snapshot, counter: &str) -> Result<Option<Rise>, Unread> {
    node.tables.counters.read()?;
    node.windows.rise(counter)
}

/// Seconds with one place after the point.
pub(super) fn seconds(rise: Rise) -> f64 {
    tenths(rise.within.as_secs_f64())
}

/// A rate with one place after the point.
pub(super) fn rate(number: u64, rise: Rise) -> f64 {
    tenths(Rise { by: number, ..rise }.per_second())
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The family as people write it.
pub(super) const fn words(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

/// Names of the machine's tunnels.
pub(super) fn tunnels(node: &Snapshot) -> Vec<String> {
    node.topology.tunnels().iter().map(|tunnel| tunnel.name.clone()).collect()
}

/// Counters for the tests of rules: each rises steadily for six rounds by this much in all.
#[cfg(test)]
pub(super) fn rising(node: &mut crate::snapshot::example::Example, counters: &[(&'static str, u64)]) {
    use std::time::Duration;

    use crate::fact::Fact;
    use crate::kernel::Counters;
    use crate::units::Mono;
    use crate::windows::Windows;

    node.windows = Windows::default();
    for second in 0..=5 {
        let sample: Counters = counters.iter().map(|(name, by)| (*name, 1_000 + by * second / 5)).collect();
        node.windows.take(&Fact::Known(sample), Mono::new(Duration::from_secs(second)));
    }
}
