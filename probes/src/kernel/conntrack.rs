//! Connection tracking: how many connections there are, how many there may be, and what became of those beyond.
//!
//! Both numbers are of the reader's own network namespace: each has a count of its own, and is held to the limit on its
//! own. Where the module is not loaded, or the kernel was built without it, the files are missing and nothing is tracked.
//!
//! `/proc/net/stat/nf_conntrack` has a line of names and then one of hexadecimal numbers for each processor. A kernel may
//! be built without it (`CONFIG_NF_CONNTRACK_PROCFS`).

use super::proc::{clip, malformed, number};
use super::{Conntrack, Counters};
use crate::fact::{Source, Unread};

/// Columns that the product uses: the kernel's name, the product's name.
const USED: [(&str, &str); 3] = [
    ("drop", "conntrack_drops"),
    ("early_drop", "conntrack_early_drops"),
    ("insert_failed", "conntrack_insertions_failed"),
];

/// Reads the texts of `nf_conntrack_count` and `nf_conntrack_max`.
///
/// # Errors
/// If either is not one number, or negative.
pub fn table(count: &str, max: &str) -> Result<Conntrack, Unread> {
    let read = |text: &str| {
        u64::try_from(number(text)?).map_err(|_| malformed(Source::Settings, format!("{text:?}, expected a count")))
    };
    Ok(Conntrack { entries: read(count)?, limit: read(max)? })
}

/// Reads the counters in the text of `/proc/net/stat/nf_conntrack`, all processors together.
///
/// # Errors
/// If a line has not as many numbers as the first has names.
pub fn counters(text: &str, counters: &mut Counters) -> Result<(), Unread> {
    let fault = |what: String| malformed(Source::Counters, format!("/proc/net/stat/nf_conntrack: {what}"));
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let names: Vec<_> =
        lines.next().ok_or_else(|| fault("empty, expected a line of names".into()))?.split_whitespace().collect();
    for line in lines {
        let values: Vec<_> = line.split_whitespace().collect();
        if values.len() != names.len() {
            return Err(fault(format!("{} names and {} values", names.len(), values.len())));
        }
        for (name, value) in names.iter().zip(&values) {
            let Some((_, ours)) = USED.iter().find(|(theirs, _)| theirs == name) else { continue };
            let value = u64::from_str_radix(value, 16)
                .map_err(|_| fault(format!("{name} is {:?}, expected a hexadecimal number", clip(value))))?;
            let sum = counters.entry(ours).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18 with two processors; numbers put in by hand.
    const STAT: &str = "\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
0000002a  00000000 00000000 00000000 00000003 00000000 00000000 00000004 00000000 00000001 0000000f 00000002 00000000  00000000 00000000 00000000 00000000
0000002a  00000000 00000000 00000000 00000001 00000000 00000000 00000004 00000000 00000000 00000001 000000ff 00000000  00000000 00000000 00000000 00000000
";

    fn read(text: &str) -> Result<Counters, Unread> {
        let mut found = Counters::new();
        counters(text, &mut found).map(|()| found)
    }

    #[test]
    fn processors_are_added_up() {
        let expected =
            [("conntrack_drops", 0x10), ("conntrack_early_drops", 0x101), ("conntrack_insertions_failed", 1)];
        assert_eq!(read(STAT), Ok(Counters::from(expected)));
    }

    #[test]
    fn a_column_that_the_kernel_lacks_is_absent() {
        assert_eq!(read("entries drop\n1 2\n"), Ok(Counters::from([("conntrack_drops", 2)])));
    }

    #[test]
    fn what_does_not_match_is_malformed() {
        for (text, says) in [("", "empty"), ("drop\n1 2\n", "1 names and 2 values"), ("drop\nxyz\n", "\"xyz\"")] {
            let fault = read(text).unwrap_err().to_string();
            assert!(fault.starts_with("counters: malformed: /proc/net/stat/nf_conntrack: ") && fault.contains(says));
        }
    }

    #[test]
    fn a_table_is_two_counts() {
        assert_eq!(table("12\n", "262144\n"), Ok(Conntrack { entries: 12, limit: 262_144 }));
        assert!(table("-1\n", "262144\n").is_err() && table("12\n", "many\n").is_err());
    }
}
