//! Text below `/proc`: sysctls of one number, and the counters of `/proc/net/snmp` and `/proc/net/netstat`.
//!
//! The counter files hold pairs of lines, names and then values, each led by its section. Which names there are depends
//! on the kernel: one that is missing is absent and never zero. A file whose pairs do not match is malformed as a whole,
//! because no value in it can be trusted to belong to its name.

use super::Counters;
use crate::fact::{Reason, Source, Unread};

/// The counters that the product uses: section, the kernel's name, the product's name.
const USED: [(&str, &str, &str); 11] = [
    ("TcpExt", "IPReversePathFilter", "reverse_path_filter"),
    ("Ip", "FragFails", "fragmentation_failed"),
    ("Ip", "FragOKs", "fragmentation_ok"),
    ("Ip", "FragCreates", "fragments_created"),
    ("Ip", "ReasmReqds", "reassembly_required"),
    ("Ip", "ReasmOKs", "reassembly_ok"),
    ("Ip", "ReasmFails", "reassembly_failed"),
    ("Ip", "InAddrErrors", "input_address_errors"),
    ("Udp", "InCsumErrors", "udp_checksum_errors"),
    ("Icmp", "OutRateLimitHost", "icmp_out_rate_limit_host"),
    ("Icmp", "OutRateLimitGlobal", "icmp_out_rate_limit_global"),
];

/// Reads a sysctl that is on or off: 1 for every value but 0, as the kernel takes it.
///
/// # Errors
/// If the text is not one decimal number.
pub fn flag(text: &str) -> Result<i64, Unread> {
    number(text).map(|value| i64::from(value != 0))
}

/// Reads a sysctl of one number.
///
/// # Errors
/// If the text is not one decimal number.
pub fn number(text: &str) -> Result<i64, Unread> {
    text.trim().parse().map_err(|_| malformed(Source::Settings, format!("{:?}, expected one number", clip(text))))
}

/// Reads the counters in the texts of `/proc/net/snmp` and `/proc/net/netstat`.
///
/// # Errors
/// If either text is no sequence of matching pairs of lines, or a counter that is used is no number.
pub fn counters(snmp: &str, netstat: &str) -> Result<Counters, Unread> {
    let mut counters = Counters::new();
    read("/proc/net/snmp", snmp, &mut counters)?;
    read("/proc/net/netstat", netstat, &mut counters)?;
    Ok(counters)
}

fn read(file: &str, text: &str, counters: &mut Counters) -> Result<(), Unread> {
    let fault = |what: String| malformed(Source::Counters, format!("{file}: {what}"));
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() {
        return Err(fault("empty, expected pairs of lines".into()));
    }
    while let Some(names) = lines.next() {
        let (section, names) = split(names).ok_or_else(|| fault(format!("{:?} has no section", clip(names))))?;
        let values = lines.next().and_then(split).filter(|(of, _)| *of == section);
        let (_, values) = values.ok_or_else(|| fault(format!("{section}: names without values")))?;
        pair(section, names, values, counters).map_err(fault)?;
    }
    Ok(())
}

fn split(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')
}

fn pair(section: &str, names: &str, values: &str, counters: &mut Counters) -> Result<(), String> {
    let (names, values): (Vec<_>, Vec<_>) = (names.split_whitespace().collect(), values.split_whitespace().collect());
    if names.len() != values.len() {
        return Err(format!("{section}: {} names and {} values", names.len(), values.len()));
    }
    for (name, value) in names.iter().zip(&values) {
        let Some((.., ours)) = USED.iter().find(|(of, theirs, _)| *of == section && theirs == name) else { continue };
        let value = value.parse().map_err(|_| format!("{section} {name} is {:?}, expected a number", clip(value)))?;
        counters.insert(ours, value);
    }
    Ok(())
}

const fn malformed(source: Source, what: String) -> Unread {
    Unread::new(source, Reason::Malformed { what })
}

/// As much of a text as belongs in an error.
fn clip(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}
