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
use crate::fact::{Reason, Source, Unread};
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
pub fn exceptions(messages: &[RawMessage]) -> Table<Exception> {
    attributes::rows(messages, NEW_ROUTE, "route exception", |body| {
        let draft = Draft::read(body)?;
        if draft.header.flags.contains(RouteFlags::Cloned) { draft.exception() } else { Ok(None) }
    })
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
            RouteAttribute::Metrics(metrics) => self.mtu = metrics.iter().find_map(mtu),
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
        })
    }

    fn exception(self) -> Result<Option<Exception>, DecodeError> {
        let destination = self.destination()?;
        let Some(mtu) = self.mtu else { return Ok(None) };
        let expires = self.expires.filter(|&ticks| ticks != 0).map(|ticks| TICK.saturating_mul(ticks));
        Ok(Some(Exception { destination, mtu: IpSize::new(mtu), expires }))
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
