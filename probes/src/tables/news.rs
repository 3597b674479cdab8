//! Whether a multicast message says anything that is not known.
//!
//! The kernel tells much that changes nothing: a neighbour that was confirmed once more, a router advertisement that
//! renews a route, a bridge port that forwards. A probe itself makes neighbours be confirmed, so without this every round
//! would cause looks. A message that repeats what stands in the tables is no news; one that cannot be compared is.

use crate::kernel::{self, NeighbourState, RawMessage, Table};

use super::Tables;

/// `rtnetlink(7)` message types.
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const NEW_SETTING: u16 = 80;
const DELETE_SETTING: u16 = 81;

/// The family of a bridge's own messages, about its ports and its forwarding table.
const AF_BRIDGE: u8 = 7;

impl Tables {
    /// Whether a multicast message tells of something that these tables do not hold already.
    pub fn is_news(&self, message: &RawMessage) -> bool {
        let bridge = message.body.first() == Some(&AF_BRIDGE);
        match message.kind {
            // A port that joins or leaves a bridge is told without that family too.
            NEW_LINK | DELETE_LINK if bridge => false,
            NEW_LINK => differs(kernel::link::decode(alone(message)), |link| self.links().contains(link)),
            NEW_ADDRESS => differs(kernel::address::decode(alone(message)), |address| {
                self.addresses.known().is_some_and(|known| known.contains(address))
            }),
            DELETE_ADDRESS => differs(kernel::address::decode(&[renewed(message, NEW_ADDRESS)]), |address| {
                self.addresses.known().is_some_and(|known| !known.contains(address))
            }),
            NEW_ROUTE => differs(kernel::route::decode(alone(message)), |route| {
                self.routes.known().is_some_and(|known| known.contains(route))
            }),
            NEW_NEIGHBOUR if bridge => differs(kernel::neighbour::forwarding(alone(message)), |entry| {
                self.forwarding.known().is_some_and(|known| known.contains(entry))
            }),
            NEW_NEIGHBOUR => differs(kernel::neighbour::decode(alone(message)), |entry| self.knows_neighbour(entry)),
            DELETE_LINK | DELETE_ROUTE | DELETE_NEIGHBOUR => true,
            NEW_RULE | DELETE_RULE | NEW_SETTING | DELETE_SETTING => true,
            _ => false,
        }
    }

    fn knows_neighbour(&self, entry: &kernel::Neighbour) -> bool {
        let aged = |entry: &kernel::Neighbour| kernel::Neighbour { state: plain(entry.state), ..entry.clone() };
        let told = aged(entry);
        self.neighbours.known().is_some_and(|known| known.iter().any(|known| aged(known) == told))
    }
}

fn alone(message: &RawMessage) -> &[RawMessage] {
    std::slice::from_ref(message)
}

fn renewed(message: &RawMessage, kind: u16) -> RawMessage {
    RawMessage { kind, body: message.body.clone() }
}

fn differs<T>(told: Table<T>, is_known: impl Fn(&T) -> bool) -> bool {
    !told.malformed.is_empty() || !told.rows.iter().all(is_known)
}

/// A neighbour that has a hardware address is as good confirmed as not: the kernel goes round these states by itself.
const fn plain(state: NeighbourState) -> NeighbourState {
    match state {
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => NeighbourState::Reachable,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::golden;

    fn tables() -> Tables {
        Tables {
            links: Fact::Known(kernel::link::decode(&golden::links()).rows),
            addresses: Fact::Known(kernel::address::decode(&golden::addresses()).rows),
            routes: Fact::Known(kernel::route::decode(&golden::routes()).rows),
            neighbours: Fact::Known(kernel::neighbour::decode(&golden::neighbours()).rows.into()),
            forwarding: Fact::Known(kernel::neighbour::forwarding(&golden::fdb()).rows.into()),
            ..Tables::unread()
        }
    }

    fn all() -> Vec<RawMessage> {
        [golden::links(), golden::addresses(), golden::routes(), golden::neighbours(), golden::fdb()].concat()
    }

    #[test]
    fn what_stands_in_the_tables_is_no_news() {
        let tables = tables();
        let news: Vec<_> = all().into_iter().filter(|message| tables.is_news(message)).collect();
        assert!(news.is_empty() && !all().is_empty(), "{news:?}");
    }

    #[test]
    fn where_nothing_is_known_everything_is_news() {
        let tables = Tables::unread();
        assert!(all().iter().all(|message| tables.is_news(message)));
    }

    #[test]
    fn a_link_with_another_mtu_is_news() {
        let mut tables = tables();
        let Fact::Known(links) = &mut tables.links else { panic!("the links are known") };
        let index = links[1].index;
        links[1].mtu = crate::units::LinkMtu::new(links[1].mtu.bytes() - 1);
        let told: Vec<_> = golden::links().into_iter().filter(|message| tables.is_news(message)).collect();
        assert_eq!(told.len(), 1);
        assert_eq!(kernel::link::decode(&told).rows[0].index, index);
    }

    #[test]
    fn what_was_deleted_is_news_while_it_is_known() {
        let known = tables();
        let address = renewed(&golden::addresses()[0], DELETE_ADDRESS);
        assert!(known.is_news(&address));
        assert!(!Tables { addresses: Fact::Known(Vec::new()), ..known.clone() }.is_news(&address), "gone already");
        for (messages, kind) in [(golden::links(), DELETE_LINK), (golden::routes(), DELETE_ROUTE)] {
            assert!(known.is_news(&renewed(&messages[0], kind)), "{kind}");
        }
    }

    #[test]
    fn a_neighbour_is_news_when_it_fails_and_not_when_it_is_confirmed() {
        let mut tables = tables();
        let message = golden::neighbours().into_iter().next().unwrap();
        let told = kernel::neighbour::decode(std::slice::from_ref(&message)).rows.remove(0);
        tables.neighbours = Fact::Known(vec![kernel::Neighbour { state: NeighbourState::Failed, ..told }].into());
        assert!(tables.is_news(&message));
        let ages = [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay, NeighbourState::Probe];
        assert!(ages.iter().all(|&state| plain(state) == NeighbourState::Reachable));
        for state in [NeighbourState::Failed, NeighbourState::Incomplete, NeighbourState::Permanent] {
            assert_eq!(plain(state), state);
        }
    }

    #[test]
    fn settings_and_rules_are_read_anew_and_a_bridges_port_is_not() {
        let message = |kind, family| RawMessage { kind, body: vec![family; 16] };
        let tables = tables();
        for kind in [NEW_RULE, DELETE_RULE, NEW_SETTING, DELETE_SETTING] {
            assert!(tables.is_news(&message(kind, 2)), "{kind}");
        }
        assert!(!tables.is_news(&message(NEW_LINK, AF_BRIDGE)));
        assert!(!tables.is_news(&message(52, 10)), "a prefix that a router announced");
        let cut = RawMessage { kind: NEW_LINK, body: vec![0; 3] };
        assert!(tables.is_news(&cut), "what cannot be decoded cannot be known");
    }
}
