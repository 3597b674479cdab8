//! `RTM_NEWROUTE` messages: routes, the answer to one lookup, and the path MTUs that the kernel has cached.
//!
//! A route table and a dump of cached entries are told apart by `RTM_F_CLONED`, which the kernel sets on what it has
//! learned rather than been told: an entry of one kind never reads as the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{DecodeError, ParseableParametrized};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteLwEnCapType, RouteMetric, RouteNextHop, RouteType,
    RouteVia,
};

use super::address::check;
use super::attributes::{self, NEW_ROUTE, after, missing};
use super::{Exception, Hop, LinkIndex, RawMessage, Route, RouteKind, Table};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::units::IpSize;

const HEADER: usize = 12;

/// `RTA_*` whose meaning is used: dst, oif, gateway, priority, prefsrc, metrics, multipath, cacheinfo, table, via, nh_id.
const USED: [u16; 11] = [1, 4, 5, 6, 7, 8, 9, 12, 15, 18, 30];

/// The kernel counts `rta_expires` in `USER_HZ`, a hundred a second on every architecture that runs Kubernetes.
const TICK: Duration = Duration::from_millis(10);

/// Decodes a dump of routes. Cached entries among them are left out.
pub fn decode(messages: &[RawMessage]) -> Table<Route> {
    attributes::rows(messages, NEW_ROUTE, "route", |body| {
        let draft = Draft::read(body)?;
        if draft.header.flags.contains(RouteFlags::Cloned) { Ok(None) } else { draft.route().map(Some) }
    })
}

/// Decodes a dump of cached entries into those that limit the size of packets; redirects and the like are left out.
///
/// The kernel lists an entry only once something has looked the route up since it was learned, so a path MTU that was
/// learned from the last packet sent is not there yet.
pub fn exceptions(messages: &[RawMessage]) -> Table<Exception> {
    attributes::rows(messages, NEW_ROUTE, "route exception", |body| {
        let draft = Draft::read(body)?;
        if draft.header.flags.contains(RouteFlags::Cloned) { draft.exception() } else { Ok(None) }
    })
}

/// The way to one address as the kernel answered. Absent is its own word that no packet gets there.
pub fn answer(answer: Result<Option<RawMessage>, Unread>) -> Fact<Route> {
    match answer {
        Ok(Some(message)) => lookup(&message).into(),
        Ok(None) => Fact::Absent,
        Err(unread) => Fact::Unread(unread),
    }
}

/// Decodes the answer to one route lookup.
///
/// # Errors
/// If the message is no route or does not decode.
pub fn lookup(message: &RawMessage) -> Result<Route, Unread> {
    let malformed = |what| Unread::new(Source::Lookup, Reason::Malformed { what });
    if message.kind != NEW_ROUTE {
        return Err(malformed(format!("answer of type {}, expected RTM_NEWROUTE ({NEW_ROUTE})", message.kind)));
    }
    let decoded = Draft::read(&message.body).and_then(Draft::route);
    decoded.map_err(|error| malformed(attributes::line("route", &message.body, &error)))
}

/// What the attributes of one message said, before it is known whether they suffice.
struct Draft {
    header: RouteHeader,
    destination: Option<IpAddr>,
    oif: Option<u32>,
    gateway: Option<IpAddr>,
    multipath: Vec<RouteNextHop>,
    nexthop_object: bool,
    priority: u32,
    source: Option<IpAddr>,
    mtu: Option<u32>,
    locked: bool,
    expires: Option<u32>,
    table: u32,
}

impl Draft {
    fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let header = RouteHeader::parse(body)?;
        let (family, kind, table) = (header.address_family, header.kind, u32::from(header.table));
        let mut draft = Self {
            header,
            destination: None,
            oif: None,
            gateway: None,
            multipath: Vec::new(),
            nexthop_object: false,
            priority: 0,
            source: None,
            mtu: None,
            locked: false,
            expires: None,
            table,
        };
        for attribute in after(body, HEADER)?.iter().filter(|attribute| USED.contains(&attribute.kind())) {
            draft.take(RouteAttribute::parse_with_param(attribute, (family, kind, RouteLwEnCapType::None))?);
        }
        Ok(draft)
    }

    fn take(&mut self, attribute: RouteAttribute) {
        match attribute {
            RouteAttribute::Destination(address) => self.destination = ip(&address),
            RouteAttribute::Oif(index) => self.oif = Some(index),
            RouteAttribute::Priority(priority) => self.priority = priority,
            RouteAttribute::PrefSource(address) => self.source = ip(&address),
            RouteAttribute::Metrics(metrics) => {
                self.mtu = metrics.iter().find_map(mtu);
                self.locked = metrics.iter().any(locks_mtu);
            }
            RouteAttribute::MultiPath(hops) => self.multipath = hops,
            RouteAttribute::CacheInfo(info) => self.expires = Some(info.expires),
            RouteAttribute::Table(table) => self.table = table,
            RouteAttribute::NhId(_) => self.nexthop_object = true,
            other => self.gateway = gateway(&other).or(self.gateway),
        }
    }

    fn route(self) -> Result<Route, DecodeError> {
        let destination = self.destination()?;
        let kind = kind(self.header.kind);
        let hops = self.hops();
        // A route by nexthop object may name the object alone (`net.ipv4.nexthop_compat_mode=0`).
        if kind == RouteKind::Unicast && hops.is_empty() && !self.nexthop_object {
            return Err(missing("way out (RTA_OIF, RTA_MULTIPATH or RTA_NH_ID)"));
        }
        Ok(Route {
            destination,
            prefix: self.header.destination_prefix_length,
            table: self.table,
            protocol: self.header.protocol.into(),
            kind,
            hops,
            mtu: self.mtu.map(IpSize::new),
            source: self.source,
            priority: self.priority,
            expires: self.expires.filter(|&ticks| ticks != 0).map(left),
        })
    }

    fn exception(self) -> Result<Option<Exception>, DecodeError> {
        let destination = self.destination()?;
        let Some(mtu) = self.mtu else { return Ok(None) };
        let expires = self.expires.filter(|&ticks| ticks != 0).map(left);
        Ok(Some(Exception { destination, mtu: IpSize::new(mtu), locked: self.locked, expires }))
    }

    /// The kernel leaves the destination of a default route out, and of no other.
    fn destination(&self) -> Result<IpAddr, DecodeError> {
        let prefix = self.header.destination_prefix_length;
        let any = match self.header.address_family {
            AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            family => return Err(format!("address family {family:?}, expected Inet or Inet6").into()),
        };
        let destination = match self.destination {
            Some(destination) => destination,
            None if prefix == 0 => any,
            None => return Err(missing("destination (RTA_DST)")),
        };
        check(self.header.address_family, destination, prefix)?;
        Ok(destination)
    }

    fn hops(&self) -> Vec<Hop> {
        if matches!(kind(self.header.kind), RouteKind::Blackhole | RouteKind::Refuse) {
            // IPv6 names `lo` for these; nothing ever leaves by it.
            return Vec::new();
        }
        if self.multipath.is_empty() {
            return self.oif.map(|link| Hop { gateway: self.gateway, link: LinkIndex(link) }).into_iter().collect();
        }
        let hop = |hop: &RouteNextHop| Hop {
            gateway: hop.attributes.iter().find_map(gateway),
            link: LinkIndex(hop.interface_index),
        };
        self.multipath.iter().map(hop).collect()
    }
}

/// The kernel counts on below zero for what has run out and is not swept up yet.
fn left(ticks: u32) -> Duration {
    TICK.saturating_mul(u32::try_from(ticks.cast_signed()).unwrap_or(0))
}

const fn kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable | RouteType::Prohibit => RouteKind::Refuse,
        _ => RouteKind::Other,
    }
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// `RTA_GATEWAY`, or `RTA_VIA` where the gateway is of another family than the route.
const fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

const fn mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    }
}

/// `RTAX_LOCK` is a set of metrics, one bit each; `RTAX_MTU` is number 2.
const fn locks_mtu(metric: &RouteMetric) -> bool {
    matches!(metric, RouteMetric::Lock(metrics) if *metrics & (1 << 2) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::golden::{self, CALI1, LO, VMBR1, VXLAN_CALICO};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn hop(gateway: &str, link: LinkIndex) -> Hop {
        Hop { gateway: (!gateway.is_empty()).then(|| ip(gateway)), link }
    }

    /// A unicast route of the main table that `ip route add` made.
    fn route(destination: &str, prefix: u8, hops: &[Hop]) -> Route {
        Route {
            destination: ip(destination),
            prefix,
            table: 254,
            protocol: 3,
            kind: RouteKind::Unicast,
            hops: hops.to_vec(),
            mtu: None,
            source: None,
            priority: 0,
            expires: None,
        }
    }

    fn calico(route: Route) -> Route {
        Route { protocol: 80, ..route }
    }

    fn kernel(route: Route, kind: RouteKind) -> Route {
        let table = if kind == RouteKind::Unicast { 254 } else { 255 };
        Route { protocol: 2, kind, table, ..route }
    }

    fn mtu(route: Route, mtu: u32) -> Route {
        Route { mtu: Some(IpSize::new(mtu)), ..route }
    }

    #[test]
    fn golden_routes_of_the_main_table_and_another() {
        let table = decode(&golden::routes());
        assert_eq!(table.malformed, [""; 0]);
        let node = |address: &str| hop(address, VMBR1);
        let tunnel = |gateway| hop(gateway, VXLAN_CALICO);
        let default = route("0.0.0.0", 0, &[node("10.0.0.1")]);
        let connected = kernel(route("10.0.0.0", 24, &[node("")]), RouteKind::Unicast);
        let blackhole = calico(route("10.244.1.0", 26, &[]));
        let refused = |destination| Route { kind: RouteKind::Refuse, ..route(destination, 16, &[]) };
        assert_eq!(
            table.rows[..12],
            [
                Route { table: 300, ..mtu(route("10.22.0.0", 16, &[node("10.0.0.12")]), 1300) },
                Route { protocol: 4, source: Some(ip("10.0.0.11")), priority: 100, ..default },
                Route { source: Some(ip("10.0.0.11")), ..connected },
                route("10.20.0.0", 16, &[node("10.0.0.12"), node("10.0.0.13")]),
                route("10.21.0.0", 16, &[node("fd00::12")]),
                refused("10.23.0.0"),
                refused("10.24.0.0"),
                // By nexthop object; the kernel gives what the object says beside it.
                route("10.25.0.0", 16, &[node("10.0.0.12")]),
                Route { kind: RouteKind::Blackhole, ..blackhole },
                route("10.244.1.2", 32, &[hop("", CALI1)]),
                calico(route("10.244.2.0", 26, &[tunnel("10.244.2.0")])),
                calico(mtu(route("10.244.3.0", 26, &[tunnel("10.244.3.0")]), 1400)),
            ]
        );
    }

    #[test]
    fn golden_local_and_ipv6_routes() {
        let rows = decode(&golden::routes()).rows;
        let local = kernel(route("10.244.1.0", 32, &[hop("", VXLAN_CALICO)]), RouteKind::Local);
        assert_eq!(rows[14], Route { source: Some(ip("10.244.1.0")), ..local });
        let broadcast = kernel(route("10.0.0.255", 32, &[hop("", VMBR1)]), RouteKind::Other);
        assert_eq!(rows[13], Route { source: Some(ip("10.0.0.11")), ..broadcast });
        let connected = kernel(route("fd00::", 64, &[hop("", VMBR1)]), RouteKind::Unicast);
        let limited = mtu(route("fd00:1::", 64, &[hop("fd00::12", VMBR1)]), 1380);
        let blackhole = route("fd00:2::", 64, &[]);
        assert_eq!(
            rows[18..22],
            [
                Route { priority: 256, ..connected },
                Route { priority: 1024, ..limited },
                Route { kind: RouteKind::Blackhole, priority: 1024, ..blackhole },
                kernel(route("::1", 128, &[hop("", LO)]), RouteKind::Local),
            ]
        );
        assert_eq!(rows.len(), 27);
    }

    #[test]
    fn golden_route_that_a_router_advertised_runs_out() {
        let table = decode(&golden::advertised_routes());
        assert_eq!(table.malformed, [""; 0]);
        let unicast = |route: &&Route| route.kind == RouteKind::Unicast;
        let default = table.rows.iter().filter(unicast).find(|route| route.prefix == 0).unwrap();
        let minutes = default.expires.unwrap().as_secs_f64() / 60.0;
        assert_eq!((default.protocol, minutes.ceil()), (9, 30.0));
        let link_local = table.rows.iter().filter(unicast).find(|route| route.destination == ip("fe80::")).unwrap();
        assert_eq!(link_local.expires, None);
    }

    #[test]
    fn what_has_run_out_is_not_kept_for_ages() {
        assert_eq!(left(150), Duration::from_millis(1500));
        assert_eq!(left((-100_i32).cast_unsigned()), Duration::ZERO);
    }

    #[test]
    fn golden_exception_and_route_are_never_mistaken_for_each_other() {
        let expires = Some(Duration::from_millis(599_990));
        let exception = Exception { destination: ip("10.9.0.9"), mtu: IpSize::new(1400), locked: false, expires };
        assert_eq!(exceptions(&golden::exceptions()), Table { rows: vec![exception], malformed: vec![] });
        assert_eq!(decode(&golden::exceptions()), Table::default());
        assert_eq!(exceptions(&golden::routes()), Table::default());
    }

    #[test]
    fn golden_lookups() {
        let found: Vec<_> = golden::lookups().iter().map(|message| lookup(message).unwrap()).collect();
        let default = route("0.0.0.0", 0, &[hop("10.0.0.1", VMBR1)]);
        let default = Route { protocol: 4, source: Some(ip("10.0.0.11")), priority: 100, ..default };
        assert_eq!(found[1], calico(route("10.244.2.0", 26, &[hop("10.244.2.0", VXLAN_CALICO)])));
        assert_eq!(found[2].mtu, Some(IpSize::new(1400)), "the route's");
        assert_eq!((&found[3], found[3].mtu), (&default, None), "10.9.0.9, whose cached path MTU is left out");
        assert_eq!(found[4].hops, [hop("10.0.0.12", VMBR1), hop("10.0.0.13", VMBR1)]);
        assert_eq!(found[7].mtu, Some(IpSize::new(1380)), "fd00:1::1");
        assert_eq!(found[8].kind, RouteKind::Local);
    }

    #[test]
    fn no_route_is_an_answer_and_a_failure_is_none() {
        let [asked] = golden::lookups()[..1].to_vec().try_into().unwrap();
        assert!(matches!(answer(Ok(Some(asked))), Fact::Known(_)));
        assert_eq!(answer(Ok(None)), Fact::Absent);
        let late = Unread::new(Source::Lookup, Reason::Failed { what: "no answer".into() });
        assert_eq!(answer(Err(late.clone())), Fact::Unread(late));
        let other = RawMessage { kind: 16, body: Vec::new() };
        assert!(matches!(answer(Ok(Some(other))), Fact::Unread(_)));
    }

    #[test]
    fn an_answer_that_is_no_route_is_malformed() {
        let other = RawMessage { kind: 16, body: golden::lookups()[0].body.clone() };
        assert_eq!(
            lookup(&other).unwrap_err().to_string(),
            "lookup: malformed: answer of type 16, expected RTM_NEWROUTE (24)"
        );
        let short = RawMessage { kind: NEW_ROUTE, body: vec![2, 32] };
        assert!(lookup(&short).unwrap_err().to_string().starts_with("lookup: malformed: route message of 2 bytes: "));
    }

    /// An IPv4 unicast route with this prefix length, these flags and these attributes.
    fn message(prefix: u8, flags: u32, attributes: &[u8]) -> RawMessage {
        let header = [2, prefix, 0, 0, 254, 3, 0, 1];
        RawMessage { kind: NEW_ROUTE, body: [&header[..], &flags.to_ne_bytes(), attributes].concat() }
    }

    const DST: [u8; 8] = [8, 0, 1, 0, 10, 1, 0, 0];
    const OIF: [u8; 8] = [8, 0, 4, 0, 4, 0, 0, 0];

    #[test]
    fn a_cached_mtu_below_the_least_that_the_kernel_takes_is_locked() {
        const CLONED: u32 = 0x200;
        const DST_ONE: [u8; 8] = [8, 0, 1, 0, 10, 1, 0, 1];
        let metrics =
            |lock: u8| [vec![20, 0, 8, 0, 8, 0, 1, 0, lock, 0, 0, 0, 8, 0, 2, 0], vec![0x28, 2, 0, 0]].concat();
        let locked = |lock| {
            let body = [&DST_ONE[..], &OIF, &metrics(lock)].concat();
            let table = exceptions(&[message(32, CLONED, &body)]);
            assert_eq!((table.malformed.len(), table.rows[0].mtu), (0, IpSize::new(552)));
            table.rows[0].locked
        };
        assert!(locked(1 << 2) && !locked(1 << 3), "hop limit and the like may be locked as well");
    }

    #[test]
    fn a_route_without_destination_or_way_out_is_malformed() {
        for (message, what) in [
            (message(16, 0, &OIF), "destination"),
            (message(16, 0, &DST), "way out"),
            (message(33, 0, &[DST, OIF].concat()), "prefix length 33"),
        ] {
            let table = decode(&[message]);
            assert!(table.rows.is_empty());
            assert!(table.malformed[0].contains(what), "{:?}", table.malformed);
        }
        assert_eq!(decode(&[message(16, 0, &[DST, OIF].concat())]).rows.len(), 1, "the same, whole");
        let by_object = [&DST[..], &[8, 0, 30, 0, 5, 0, 0, 0]].concat();
        assert_eq!(decode(&[message(16, 0, &by_object)]).rows[0].hops, [], "nexthop_compat_mode=0");
    }

    #[test]
    fn a_cached_redirect_is_no_path_mtu() {
        let redirect = message(32, 0x200, &[DST, OIF].concat());
        assert_eq!(exceptions(&[redirect]), Table::default());
    }
}
