//! Text below `/proc`: sysctls of one number, the modules that are loaded, and the counters of `/proc/net/snmp`,
//! `/proc/net/netstat` and `/proc/net/snmp6`.
//!
//! The first two hold pairs of lines, names and then values, each led by its section; the third has a name and a value in
//! each line, and those of IPv6 alone. Which names there are depends on the kernel: one that is missing is absent and
//! never zero. A file whose pairs do not match is malformed as a whole, because no value in it can be trusted to belong to
//! its name.
//!
//! The product's name of a counter of IPv6 is that of IPv4 with `_ipv6` at its end.

use super::Counters;
use crate::fact::{Reason, Source, Unread};

/// The counters of pairs that the product uses: section, the kernel's name, the product's name.
const USED: [(&str, &str, &str); 15] = [
    ("TcpExt", "IPReversePathFilter", "reverse_path_filter"),
    ("Ip", "FragFails", "fragmentation_failed"),
    ("Ip", "FragOKs", "fragmentation_ok"),
    ("Ip", "FragCreates", "fragments_created"),
    ("Ip", "ReasmReqds", "reassembly_required"),
    ("Ip", "ReasmOKs", "reassembly_ok"),
    ("Ip", "ReasmFails", "reassembly_failed"),
    ("Ip", "InAddrErrors", "input_address_errors"),
    ("Tcp", "InCsumErrors", TCP_CHECKSUM_ERRORS),
    ("Udp", "InCsumErrors", "udp_checksum_errors"),
    ("Icmp", "OutRateLimitHost", "icmp_out_rate_limit_host"),
    ("Icmp", "OutRateLimitGlobal", "icmp_out_rate_limit_global"),
    ("Icmp", "OutDestUnreachs", "icmp_unreachable_sent"),
    ("Icmp", "InDestUnreachs", "icmp_unreachable_received"),
    ("Udp", "InDatagrams", "udp_datagrams"),
];

/// The counters of `/proc/net/snmp6` that the product uses: the kernel's name, the product's name.
const USED_OF_SIX: [(&str, &str); 11] = [
    ("Ip6FragFails", "fragmentation_failed_ipv6"),
    ("Ip6FragOKs", "fragmentation_ok_ipv6"),
    ("Ip6FragCreates", "fragments_created_ipv6"),
    ("Ip6ReasmReqds", "reassembly_required_ipv6"),
    ("Ip6ReasmOKs", "reassembly_ok_ipv6"),
    ("Ip6ReasmFails", "reassembly_failed_ipv6"),
    ("Ip6InAddrErrors", "input_address_errors_ipv6"),
    ("Udp6InCsumErrors", "udp_checksum_errors_ipv6"),
    ("Udp6InDatagrams", "udp_datagrams_ipv6"),
    ("Icmp6OutPktTooBigs", "packet_too_big_sent_ipv6"),
    ("Icmp6InPktTooBigs", "packet_too_big_received_ipv6"),
];

const TCP_CHECKSUM_ERRORS: &str = "tcp_checksum_errors";

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

/// Whether the text of `/proc/modules` lists a module. One that is built in never stands there.
pub fn has_module(modules: &str, name: &str) -> bool {
    modules.lines().any(|line| line.split_whitespace().next() == Some(name))
}

/// How many TCP segments came in with a wrong checksum, as the text of `/proc/net/snmp` has it; `None` where it does not
/// say.
pub fn tcp_checksum_errors(snmp: &str) -> Option<u64> {
    let mut counters = Counters::new();
    pairs("/proc/net/snmp", snmp, &mut counters).ok()?;
    counters.get(TCP_CHECKSUM_ERRORS).copied()
}

/// Reads the counters in the text of `/proc/net/snmp` or `/proc/net/netstat`.
///
/// # Errors
/// If the text is no sequence of matching pairs of lines, or a counter that is used is no number.
pub fn pairs(file: &str, text: &str, counters: &mut Counters) -> Result<(), Unread> {
    let fault = |what: String| malformed(Source::Counters, format!("{file}: {what}"));
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() {
        return Err(fault("empty, expected pairs of lines".into()));
    }
    while let Some(names) = lines.next() {
        let (section, names) = split(names).ok_or_else(|| fault(format!("{:?} has no section", clip(names))))?;
        let values = lines.next().and_then(split).filter(|(of, _)| *of == section);
        let (_, values) = values.ok_or_else(|| fault(format!("{}: names without values", clip(section))))?;
        pair(section, names, values, counters).map_err(fault)?;
    }
    Ok(())
}

/// Reads the counters in the text of `/proc/net/snmp6`.
///
/// # Errors
/// If a line is no name and number, or there is none.
pub fn list(text: &str, counters: &mut Counters) -> Result<(), Unread> {
    let fault = |what: String| malformed(Source::Counters, format!("/proc/net/snmp6: {what}"));
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() {
        return Err(fault("empty, expected names and numbers".into()));
    }
    for line in lines {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value), None) = (words.next(), words.next(), words.next()) else {
            return Err(fault(format!("{:?}, expected a name and a number", clip(line))));
        };
        let Some((_, ours)) = USED_OF_SIX.iter().find(|(theirs, _)| *theirs == name) else { continue };
        let value = value.parse().map_err(|_| fault(format!("{name} is {:?}, expected a number", clip(value))))?;
        counters.insert(ours, value);
    }
    Ok(())
}

fn split(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')
}

fn pair(section: &str, names: &str, values: &str, counters: &mut Counters) -> Result<(), String> {
    let (names, values): (Vec<_>, Vec<_>) = (names.split_whitespace().collect(), values.split_whitespace().collect());
    if names.len() != values.len() {
        return Err(format!("{}: {} names and {} values", clip(section), names.len(), values.len()));
    }
    for (name, value) in names.iter().zip(&values) {
        let Some((.., ours)) = USED.iter().find(|(of, theirs, _)| *of == section && theirs == name) else { continue };
        let value = value.parse().map_err(|_| format!("{section} {name} is {:?}, expected a number", clip(value)))?;
        counters.insert(ours, value);
    }
    Ok(())
}

pub(super) const fn malformed(source: Source, what: String) -> Unread {
    Unread::new(source, Reason::Malformed { what })
}

/// As much of a text as belongs in an error.
pub(super) fn clip(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut from Linux 6.18: the sections that are used and one that is not.
    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates
Ip: 1 64 9026 0 17 0 20 19 1 5 3 10
Icmp: InMsgs InDestUnreachs OutRateLimitGlobal OutRateLimitHost OutDestUnreachs
Icmp: 4 9 2 6 11
Tcp: RtoAlgorithm MaxConn InCsumErrors
Tcp: 1 -1 3
Udp: InDatagrams InCsumErrors
Udp: 100 8
";
    const NETSTAT: &str = "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 0 42\nIpExt: InNoRoutes\nIpExt: 0\n";

    #[test]
    fn a_section_of_any_length_is_told_in_a_few_words() {
        let section = "x".repeat(5000);
        for text in [format!("{section}: A\n"), format!("{section}: A B\n{section}: 1\n")] {
            assert!(fault(&text, "").len() < 200, "{}", fault(&text, "").len());
        }
    }

    fn counters(snmp: &str, netstat: &str) -> Result<Counters, Unread> {
        let mut counters = Counters::new();
        pairs("/proc/net/snmp", snmp, &mut counters)?;
        pairs("/proc/net/netstat", netstat, &mut counters)?;
        Ok(counters)
    }

    fn fault(snmp: &str, netstat: &str) -> String {
        counters(snmp, netstat).unwrap_err().to_string()
    }

    #[test]
    fn every_counter_is_found_under_the_products_name() {
        let expected = [
            ("fragmentation_failed", 3),
            ("fragmentation_ok", 5),
            ("fragments_created", 10),
            ("icmp_out_rate_limit_global", 2),
            ("icmp_out_rate_limit_host", 6),
            ("icmp_unreachable_received", 9),
            ("icmp_unreachable_sent", 11),
            ("input_address_errors", 17),
            ("reassembly_failed", 1),
            ("reassembly_ok", 19),
            ("reassembly_required", 20),
            ("reverse_path_filter", 42),
            ("tcp_checksum_errors", 3),
            ("udp_checksum_errors", 8),
            ("udp_datagrams", 100),
        ];
        assert_eq!(counters(SNMP, NETSTAT), Ok(Counters::from(expected)));
        assert_eq!((tcp_checksum_errors(SNMP), tcp_checksum_errors("Tcp: MaxConn\nTcp: -1\n")), (Some(3), None));
    }

    #[test]
    fn counters_of_ipv6_have_the_same_names_and_the_familys() {
        // Cut from Linux 6.18.
        let text = "Ip6InAddrErrors                 \t3\nIp6ReasmFails                   \t5\nIp6FragFails  \t7\n\
                    Icmp6OutPktTooBigs \t8\nIcmp6OutType143                 \t9\nUdp6InCsumErrors\t2\n";
        let mut read = Counters::new();
        assert_eq!(list(text, &mut read), Ok(()));
        let expected = [
            ("fragmentation_failed_ipv6", 7),
            ("input_address_errors_ipv6", 3),
            ("packet_too_big_sent_ipv6", 8),
            ("reassembly_failed_ipv6", 5),
            ("udp_checksum_errors_ipv6", 2),
        ];
        assert_eq!(read, Counters::from(expected));
        for (text, says) in [("", "empty"), ("Ip6FragFails\n", "expected a name"), ("Ip6FragFails -1", "\"-1\"")] {
            let fault = list(text, &mut read).unwrap_err().to_string();
            assert!(fault.starts_with("counters: malformed: /proc/net/snmp6: ") && fault.contains(says), "{fault}");
        }
    }

    #[test]
    fn a_counter_that_the_kernel_lacks_is_absent_and_not_zero() {
        let read = counters("Icmp: InMsgs\nIcmp: 4\n", NETSTAT).unwrap();
        assert_eq!(read, Counters::from([("reverse_path_filter", 42)]));
    }

    #[test]
    fn a_name_of_another_section_is_another_counter() {
        assert_eq!(counters("UdpLite: InCsumErrors\nUdpLite: 9\n", "IpExt: ReasmOKs\nIpExt: 1\n"), Ok(Counters::new()));
    }

    #[test]
    fn pairs_that_do_not_match_are_malformed() {
        assert_eq!(fault("", NETSTAT), "counters: malformed: /proc/net/snmp: empty, expected pairs of lines");
        assert_eq!(
            fault(SNMP, "TcpExt: A B\nTcpExt: 1\n"),
            "counters: malformed: /proc/net/netstat: TcpExt: 2 names and 1 values"
        );
        assert!(fault("Ip: A\n", NETSTAT).ends_with("Ip: names without values"));
        assert!(fault("Ip: A\nTcp: 1\n", NETSTAT).ends_with("Ip: names without values"));
        assert!(fault("junk\n", NETSTAT).ends_with("\"junk\" has no section"));
        assert!(fault("Ip: FragOKs\nIp: -1\n", NETSTAT).ends_with("Ip FragOKs is \"-1\", expected a number"));
    }

    #[test]
    fn a_sysctl_is_one_number() {
        assert_eq!(number("2\n"), Ok(2));
        assert_eq!(number("-1"), Ok(-1));
        assert_eq!([flag("0\n"), flag("1\n"), flag("2\n")], [Ok(0), Ok(1), Ok(1)]);
        for text in ["", "on", "1 2", "99999999999999999999"] {
            assert!(number(text).unwrap_err().to_string().starts_with("settings: malformed: "), "{text:?}");
        }
    }

    #[test]
    fn a_module_is_listed_by_its_whole_name() {
        let modules = "nf_tables 372736 9 - Live 0x0\nbridge 319488 1 br_netfilter, Live 0x0\n";
        assert!(has_module(modules, "bridge") && has_module(modules, "nf_tables"));
        assert!(!has_module(modules, "br_netfilter"), "named only as a user of another");
        assert!(!has_module(modules, "nf") && !has_module("", "bridge"));
    }

    #[test]
    fn an_error_quotes_no_more_than_a_little() {
        assert!(number(&"é".repeat(10_000)).unwrap_err().to_string().len() < 200);
    }
}
