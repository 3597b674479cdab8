//! Words that the catalogue's sentences share.

use std::fmt;
use std::net::IpAddr;

use crate::path::{Hole, HopAt, Way};

/// Names joined for a sentence: `a`, `a and b`, `a, b and c`; more than five are counted.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "none".into(),
        [one] => (*one).into(),
        [some @ .., last] if some.len() < MOST => format!("{} and {last}", some.join(", ")),
        many => format!("{} and {} more", many[..MOST].join(", "), many.len() - MOST),
    }
}

/// A peer and the address meant; a peer that has no other name is said once.
pub(super) fn at(peer: &str, address: IpAddr) -> String {
    let address = address.to_string();
    if peer == address { address } else { format!("{peer} ({address})") }
}

/// `1 pod link`, `2 pod links`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A link's setting, as `net.ipv4.conf.eth0.rp_filter`: a dot of the link's name is written as a slash, else `sysctl`
/// takes it for a separator.
pub(crate) fn link_setting(family: &str, link: &str, name: &str) -> String {
    format!("net.{family}.conf.{}.{name}", link.replace('.', "/"))
}

/// `10.9.0.1 (hop 1)`; a hop that keeps its address to itself is known by its number.
impl fmt::Display for HopAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address} (hop {})", self.ttl),
            None => write!(f, "hop {}", self.ttl),
        }
    }
}

/// `between 10.9.0.1 (hop 1) and 10.9.0.2 (hop 2)`.
impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(after) => write!(f, "between {after} and {}", self.before),
            None => write!(f, "between this node and {}", self.before),
        }
    }
}

impl Way {
    /// The way as the end of a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Forward => "on the way there",
            Self::Reverse => "on the way back",
        }
    }
}

/// Where larger packets get lost, as far as that is known: ` between …, on the way there`, or nothing.
pub(crate) fn place(hole: Option<Hole>, way: Option<Way>) -> String {
    match (hole, way) {
        (Some(hole), Some(way)) => format!(" {hole}, {}", way.words()),
        (Some(hole), None) => format!(" {hole}"),
        (None, Some(way)) => format!(" {}", way.words()),
        (None, None) => String::new(),
    }
}

/// Names that a sentence holds before it starts to count.
const MOST: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_named_by_its_address_is_said_once() {
        let address = IpAddr::from([10, 0, 0, 12]);
        assert_eq!(at("master-2", address), "master-2 (10.0.0.12)");
        assert_eq!(at("10.0.0.12", address), "10.0.0.12");
    }

    #[test]
    fn long_lists_are_counted() {
        let names: Vec<_> = (1..=8).map(|n| format!("n{n}")).collect();
        assert_eq!(list(&names[..1]), "n1");
        assert_eq!(list(&names[..3]), "n1, n2 and n3");
        assert_eq!(list(&names[..5]), "n1, n2, n3, n4 and n5");
        assert_eq!(list(&names), "n1, n2, n3, n4, n5 and 3 more");
        assert_eq!(list::<&str>(&[]), "none");
    }

    #[test]
    fn a_hole_is_between_two_hops_that_may_have_no_address() {
        let at = |ttl, address: Option<&str>| HopAt { ttl, address: address.map(|text| text.parse().unwrap()) };
        let (first, second) = (at(1, Some("10.9.0.1")), at(2, Some("10.9.0.2")));
        let between = |after, before| place(Some(Hole { after, before }), Some(Way::Forward));
        assert_eq!(between(Some(first), second), " between 10.9.0.1 (hop 1) and 10.9.0.2 (hop 2), on the way there");
        assert_eq!(between(Some(first), at(2, None)), " between 10.9.0.1 (hop 1) and hop 2, on the way there");
        let six = at(1, Some("fd00:9::1"));
        assert_eq!(place(Some(Hole { after: None, before: six }), None), " between this node and fd00:9::1 (hop 1)");
        assert_eq!(place(None, Some(Way::Reverse)), " on the way back");
        assert_eq!(place(None, None), "");
    }

    #[test]
    fn a_dot_in_a_links_name_is_no_separator() {
        assert_eq!(link_setting("ipv4", "vxlan.calico", "forwarding"), "net.ipv4.conf.vxlan/calico.forwarding");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!((count(1, "pod link"), count(0, "pod link")), ("1 pod link".into(), "0 pod links".into()));
    }
}
