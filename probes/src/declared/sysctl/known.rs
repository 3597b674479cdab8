//! The settings that files are looked at for: those that decide whether packets of pods, or of full size, pass.
//!
//! Whatever else a file says, about memory, processes or TCP's buffers, is nobody's business here. Of links, only
//! `rp_filter` is compared: `forwarding` of a link is set anew whenever that of all is, so its file may well be outlived,
//! and the rest is set by whoever makes the link.

use std::collections::BTreeSet;

use crate::fact::Unread;

use super::{Key, RawFiles, Written};

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its keys. Some have two, of which the first is the usual one.
    pub names: &'static [&'static str],
    /// Whether the kernel takes it as on or off, whatever the number.
    pub switch: bool,
}

/// Every one, but `rp_filter` of links.
pub const KNOWN: [Setting; 26] = [
    switch(&["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"]),
    switch(&["net.ipv6.conf.all.forwarding"]),
    switch(&["net.bridge.bridge-nf-call-iptables"]),
    switch(&["net.bridge.bridge-nf-call-ip6tables"]),
    number(&["net.ipv4.conf.all.rp_filter"]),
    number(&["net.ipv4.conf.default.rp_filter"]),
    switch(&["net.ipv4.conf.all.proxy_arp"]),
    switch(&["net.ipv4.conf.default.proxy_arp"]),
    switch(&["net.ipv6.conf.all.disable_ipv6"]),
    switch(&["net.ipv6.conf.default.disable_ipv6"]),
    number(&["net.ipv6.conf.all.accept_ra"]),
    number(&["net.ipv6.conf.default.accept_ra"]),
    number(&["net.ipv4.ip_no_pmtu_disc"]),
    number(&["net.ipv4.tcp_mtu_probing"]),
    number(&["net.ipv4.route.min_pmtu"]),
    number(&["net.ipv4.route.mtu_expires"]),
    number(&["net.ipv6.route.mtu_expires"]),
    number(&["net.ipv4.neigh.default.gc_thresh1"]),
    number(&["net.ipv4.neigh.default.gc_thresh2"]),
    number(&["net.ipv4.neigh.default.gc_thresh3"]),
    number(&["net.ipv6.neigh.default.gc_thresh1"]),
    number(&["net.ipv6.neigh.default.gc_thresh2"]),
    number(&["net.ipv6.neigh.default.gc_thresh3"]),
    number(&["net.netfilter.nf_conntrack_max", "net.nf_conntrack_max"]),
    number(&["net.ipv4.fib_multipath_hash_policy"]),
    number(&["net.ipv6.fib_multipath_hash_policy"]),
];

const fn switch(names: &'static [&'static str]) -> Setting {
    Setting { names, switch: true }
}

const fn number(names: &'static [&'static str]) -> Setting {
    Setting { names, switch: false }
}

impl Setting {
    /// The setting that has this key among its own.
    pub fn with(key: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|setting| setting.names.contains(&key))
    }

    /// Its keys.
    pub fn keys(&self) -> Vec<Key> {
        self.names.iter().filter_map(|name| Key::parse(name)).collect()
    }
}

/// Whether a key means the setting that goes by this short name, as in `ip_forward`.
pub(crate) fn is_called(key: &str, name: &str) -> bool {
    let last = |key: &str| Key::parse(key).is_some_and(|key| key.name() == name);
    last(key) || Setting::with(key).is_some_and(|setting| setting.names.iter().any(|other| last(other)))
}

/// The keys whose values are to be read: known ones that files speak of, and those that the operator expects something of.
pub fn to_read<'e>(files: Result<&RawFiles, &Unread>, expected: impl IntoIterator<Item = &'e String>) -> BTreeSet<Key> {
    let mut keys: BTreeSet<Key> = expected.into_iter().filter_map(|key| Key::parse(key)).collect();
    if let Ok(files) = files {
        let written = Written::new(files);
        let spoken_of = KNOWN.iter().map(Setting::keys).filter(|names| {
            // One that an unread file may speak of counts too: what is known of it when the file is read again is fresh.
            written.lines(names).map_or(true, |lines| !lines.is_empty())
        });
        keys.extend(spoken_of.filter_map(|names| names.into_iter().next()));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::super::RawFile;
    use super::*;

    #[test]
    fn every_name_is_a_key_and_stands_once() {
        let names: Vec<_> = KNOWN.iter().flat_map(|setting| setting.names).collect();
        assert!(names.iter().all(|name| Key::parse(name).is_some_and(|key| key.to_string() == **name)));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_key_is_called_by_the_last_part_of_any_of_its_names() {
        assert!(is_called("net.ipv4.ip_forward", "ip_forward"));
        assert!(is_called("net.ipv4.conf.all.forwarding", "ip_forward"), "the same setting by another name");
        assert!(is_called("net.ipv4.conf.eth0/100.rp_filter", "rp_filter"));
        assert!(!is_called("net.ipv6.conf.all.forwarding", "ip_forward") && !is_called("nonsense", "ip_forward"));
    }

    #[test]
    fn only_what_somebody_speaks_of_is_read() {
        let text = "net.ipv4.conf.all.forwarding = 1\nnet.ipv4.tcp_sack = 0\n";
        let file = RawFile { path: "/etc/sysctl.d/a.conf".into(), text: Ok(text.into()) };
        let files = RawFiles { directories: vec![file], main: None };
        let keys = |files: Result<&RawFiles, &Unread>, expected: &[&str]| {
            let expected: Vec<String> = expected.iter().map(|&key| key.to_owned()).collect();
            to_read(files, &expected).iter().map(Key::to_string).collect::<Vec<_>>()
        };
        assert_eq!(keys(Ok(&files), &[]), ["net.ipv4.ip_forward"]);
        assert_eq!(keys(Ok(&RawFiles::default()), &["net.core.somaxconn", "net.//.x"]), ["net.core.somaxconn"]);
        let unread = super::super::RawSysctls::default().files.unwrap_err();
        assert_eq!(keys(Err(&unread), &["net.ipv4.tcp_sack"]), ["net.ipv4.tcp_sack"]);
    }
}
