//! Words that the catalogue's sentences share.

use std::net::IpAddr;

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
    fn one_is_singular() {
        assert_eq!((count(1, "pod link"), count(0, "pod link")), ("1 pod link".into(), "0 pod links".into()));
    }
}
