//! Where routes lead: the gateway of the longest prefix that holds an address.
//!
//! A route to a node's pods goes by that node: through the tunnel its gateway is the node's tunnel address, past it the
//! node's own. So a pod's address tells which node of the tables the pod is on, whatever network the API knows it by.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::Prefix;
use crate::kernel::RouteKind;
use crate::tables::Tables;

/// The routes of a machine, longest prefix first. The default routes are left out: they lead to everybody.
#[derive(Debug, Default)]
pub(super) struct Leads(BTreeMap<std::cmp::Reverse<u8>, BTreeMap<Prefix, Option<IpAddr>>>);

impl Leads {
    pub(super) fn of(tables: &Tables) -> Self {
        let routes = tables.routes.known().into_iter().flatten();
        let mut leads = Self::default();
        for route in routes.filter(|route| route.kind == RouteKind::Unicast && route.prefix > 0) {
            if let Some(network) = Prefix::around(route.destination, route.prefix) {
                let gateway = route.hops.first().and_then(|hop| hop.gateway);
                leads.0.entry(std::cmp::Reverse(route.prefix)).or_default().insert(network, gateway);
            }
        }
        leads
    }

    /// The gateway on the way to an address; `None` where there is no route, or none is needed.
    pub(super) fn gateway(&self, address: IpAddr) -> Option<IpAddr> {
        let holding = |(length, networks): (&std::cmp::Reverse<u8>, &BTreeMap<Prefix, Option<IpAddr>>)| {
            networks.get(&Prefix::around(address, length.0)?).copied()
        };
        self.0.iter().find_map(holding)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::{Hop, LinkIndex, Route};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(destination: &str, prefix: u8, gateway: Option<&str>) -> Route {
        Route {
            destination: ip(destination),
            prefix,
            table: 254,
            protocol: 80,
            kind: RouteKind::Unicast,
            hops: vec![Hop { gateway: gateway.map(ip), link: LinkIndex(1) }],
            mtu: None,
            source: None,
            priority: 0,
            expires: None,
        }
    }

    #[test]
    fn the_longest_prefix_decides_and_a_default_route_leads_nowhere() {
        let blackhole = Route { kind: RouteKind::Blackhole, ..route("10.244.2.64", 27, None) };
        let tables = Tables {
            routes: Fact::Known(vec![
                route("0.0.0.0", 0, Some("10.0.0.1")),
                route("10.244.0.0", 16, Some("10.0.0.9")),
                route("10.244.2.0", 24, Some("10.244.2.0")),
                route("10.244.2.7", 32, None),
                route("fd00:2::", 64, Some("fd00::12")),
                blackhole,
            ]),
            ..Tables::unread()
        };
        let leads = Leads::of(&tables);
        assert_eq!(leads.gateway(ip("10.244.2.9")), Some(ip("10.244.2.0")));
        assert_eq!(leads.gateway(ip("10.244.2.70")), Some(ip("10.244.2.0")), "a blackhole is no way");
        assert_eq!(leads.gateway(ip("10.244.9.9")), Some(ip("10.0.0.9")));
        assert_eq!(leads.gateway(ip("10.244.2.7")), None, "it hangs on a link of its own here");
        assert_eq!(leads.gateway(ip("192.168.7.7")), None);
        assert_eq!(leads.gateway(ip("fd00:2::9")), Some(ip("fd00::12")));
        assert_eq!(Leads::of(&Tables::unread()).gateway(ip("10.244.2.9")), None);
    }
}
