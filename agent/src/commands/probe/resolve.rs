//! From names to addresses: as the machine's own resolver has them (`/etc/hosts`, DNS), all names at a time, and one that
//! is not found stops no other.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use probes::report::{NotProbed, WhyNotProbed};
use probes::survey::Named;
use probes::units::Family;
use tokio::time::timeout;

use super::progress::Bar;
use super::targets::{Target, Targets};
use crate::config;

/// Names that are looked up at once: each takes a thread, for the resolver waits.
const AT_ONCE: usize = 32;

/// How long an answer is waited for: what `dig` and the resolver itself give one server.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the targets are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Addresses, in the order of the targets.
    pub(super) targets: Vec<Named>,
    /// What has none.
    pub(super) unresolved: Vec<NotProbed>,
}

/// Looks up every name.
pub(super) async fn all(targets: Targets, bar: &mut Bar) -> Resolved {
    let names: Vec<String> = targets.all.iter().filter_map(name).collect();
    let count = names.len();
    let family = targets.family;
    let look_up = |name: String| async move {
        let found = match timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), 0))).await {
            Ok(Ok(found)) => usable(found.map(|found| found.ip()), family),
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err(format!("the resolver did not answer within {} s", PATIENCE.as_secs())),
        };
        (name, found)
    };
    let mut answers = BTreeMap::new();
    let mut looked_up = stream::iter(names).map(look_up).buffer_unordered(AT_ONCE);
    while let Some((name, found)) = looked_up.next().await {
        answers.insert(name, found);
        bar.resolving(answers.len(), count);
    }
    in_order(&targets, &answers)
}

fn name(target: &Target) -> Option<String> {
    match target {
        Target::Address(..) => None,
        Target::Name(name) => Some(name.clone()),
    }
}

/// The addresses of a name that can be probed, in the resolver's order, each once.
fn usable(found: impl Iterator<Item = IpAddr>, family: Option<Family>) -> Result<Vec<IpAddr>, String> {
    let (mut wanted, mut refused) = (Vec::new(), None);
    for address in found {
        match config::unusable(address) {
            Some(why) => refused = Some(format!("it is {address}: {why}")),
            None if family.is_some_and(|family| family != Family::of(address)) => {
                refused.get_or_insert_with(|| {
                    format!("it has no address of the family that is asked for, only {address}")
                });
            }
            None if wanted.contains(&address) => {}
            None => wanted.push(address),
        }
    }
    match refused {
        _ if !wanted.is_empty() => Ok(wanted),
        Some(why) => Err(why),
        None => Err("the resolver knows no address of it".into()),
    }
}

/// The resolver's own words, without those of the library around it.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

fn in_order(targets: &Targets, answers: &BTreeMap<String, Result<Vec<IpAddr>, String>>) -> Resolved {
    let mut resolved = Resolved::default();
    for target in &targets.all {
        let peer = target.text();
        let found = match target {
            Target::Address(_, address) => Ok(vec![*address]),
            Target::Name(name) => answers.get(name).cloned().unwrap_or_else(|| Err("it was not looked up".into())),
        };
        match found {
            Ok(found) => {
                resolved.targets.extend(found.into_iter().map(|address| Named { peer: peer.to_owned(), address }));
            }
            Err(why) => resolved.unresolved.push(NotProbed {
                peer: peer.to_owned(),
                address: None,
                kind: WhyNotProbed::Unresolved,
                why,
            }),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn of(texts: &[&str]) -> Targets {
        let target = |text: &&str| match text.parse() {
            Ok(address) => Target::Address((*text).to_owned(), address),
            Err(_) => Target::Name((*text).to_owned()),
        };
        Targets { all: texts.iter().map(target).collect(), family: None }
    }

    #[test]
    fn every_address_of_a_name_is_a_target_in_the_place_of_the_name() {
        let answers = BTreeMap::from([
            ("db".to_owned(), Ok(vec![ip("fd00::2"), ip("10.0.0.2")])),
            ("gone".to_owned(), Err("Name or service not known".to_owned())),
        ]);
        let resolved = in_order(&of(&["10.0.0.1", "db", "gone", "10.0.0.3"]), &answers);
        let named: Vec<_> = resolved.targets.iter().map(|named| format!("{} {}", named.peer, named.address)).collect();
        assert_eq!(named, ["10.0.0.1 10.0.0.1", "db fd00::2", "db 10.0.0.2", "10.0.0.3 10.0.0.3"]);
        let [unresolved] = &resolved.unresolved[..] else { panic!("{resolved:?}") };
        assert_eq!((unresolved.peer.as_str(), unresolved.kind), ("gone", WhyNotProbed::Unresolved));
    }

    #[test]
    fn only_addresses_that_can_be_probed_are_taken() {
        let found = ["10.0.0.2", "10.0.0.2", "fd00::2", "0.0.0.0"].map(ip);
        assert_eq!(usable(found.into_iter(), None).unwrap(), [ip("10.0.0.2"), ip("fd00::2")]);
        assert_eq!(usable(found.into_iter(), Some(Family::Ipv6)).unwrap(), [ip("fd00::2")]);
        assert!(usable([ip("10.0.0.2")].into_iter(), Some(Family::Ipv6)).unwrap_err().contains("10.0.0.2"));
        assert!(usable([ip("0.0.0.0")].into_iter(), None).unwrap_err().contains("unspecified"));
        assert!(usable([].into_iter(), None).unwrap_err().contains("no address"));
    }

    #[tokio::test]
    async fn the_machine_knows_itself_and_nobody_knows_the_invalid() {
        // RFC 6761 §6.4: names below `invalid` never exist.
        let resolved = all(of(&["localhost", "nobody.invalid"]), &mut Bar::default()).await;
        assert!(resolved.targets.iter().any(|named| named.address.is_loopback()), "{resolved:?}");
        assert_eq!(resolved.unresolved.len(), 1, "{resolved:?}");
        assert!(!resolved.unresolved[0].why.starts_with("failed to"), "{resolved:?}");
    }
}
