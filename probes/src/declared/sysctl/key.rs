//! The name of a setting, safe to be looked up below `/proc/sys`.

use std::fmt;

/// A setting's path below `/proc/sys`, as in `net/ipv4/conf/eth0.100/rp_filter`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key that a text means. Parts are set apart by `.` or `/`, whichever comes first; the other one is then part of a
    /// name: `net.ipv4.conf.eth0/100.rp_filter` and `net/ipv4/conf/eth0.100/rp_filter` are one. `None` where it does not
    /// name something below `/proc/sys/net`.
    pub fn parse(text: &str) -> Option<Self> {
        let path = path(text);
        let safe = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
        let below = path.strip_prefix("net/").is_some_and(|rest| rest.split('/').all(safe));
        below.then_some(Self(path))
    }

    /// The path below `/proc/sys`.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The setting's own name, the last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The link that it is about, and the setting, for one below `net.ipv4.conf` or `net.ipv6.conf`.
    pub fn of_link(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix("net/ipv4/conf/").or_else(|| self.0.strip_prefix("net/ipv6/conf/"))?;
        rest.split_once('/').filter(|(link, _)| !matches!(*link, "all" | "default"))
    }
}

/// With slashes between its parts, whatever it had.
pub(super) fn path(text: &str) -> String {
    match text.find(['.', '/']) {
        Some(first) if text[first..].starts_with('.') => text.chars().map(swapped).collect(),
        _ => text.to_owned(),
    }
}

const fn swapped(separator: char) -> char {
    match separator {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|one| write!(f, "{}", swapped(one)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_it_are_one_key() {
        let key = Key::parse("net.ipv4.conf.eth0/100.rp_filter").unwrap();
        assert_eq!(key.path(), "net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(Key::parse("net/ipv4/conf/eth0.100/rp_filter").as_ref(), Some(&key));
        assert_eq!(key.to_string(), "net.ipv4.conf.eth0/100.rp_filter");
        assert_eq!((key.name(), key.of_link()), ("rp_filter", Some(("eth0.100", "rp_filter"))));
        assert_eq!(Key::parse("net.ipv4.conf.all.rp_filter").unwrap().of_link(), None);
        assert_eq!(Key::parse("net.ipv4.ip_forward").unwrap().of_link(), None);
    }

    #[test]
    fn no_key_leads_out_of_the_folder() {
        for text in [
            "net",
            "net.",
            "kernel.panic",
            "net..x",
            "net.ipv4.//.x",
            "net.ipv4./.x",
            "net/../kernel/panic",
            "net/ipv4/./x",
            "/net/ipv4/ip_forward",
            "../../etc/passwd",
            "net.ipv4.x\n",
        ] {
            assert_eq!(Key::parse(text), None, "{text:?}");
        }
    }
}
