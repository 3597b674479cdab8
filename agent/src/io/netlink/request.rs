//! What is asked of the kernel, in the form that strict checking accepts.
//!
//! A table that has both families is asked for each of them, since "every family" brings in those that nobody decodes
//! (MPLS, multicast). A kernel without IPv6 answers such a request as if for every family; rows of another one are left
//! out, so nothing stands in a table twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NetlinkSerializable;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::neighbour_table::NeighbourTableMessage;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use probes::fact::Source;
use probes::kernel::pod_end::Question;
use probes::kernel::{Query, RawMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The request in the kernel's words, for errors.
    pub(super) name: &'static str,
    pub(super) message: RawMessage,
    /// The family of the rows that are wanted; the first byte of every body.
    pub(super) family: Option<AddressFamily>,
    /// Whether the kernel may lack the family.
    pub(super) optional: bool,
    /// Whether a kernel that does not check requests would answer something else.
    pub(super) needs_strict: bool,
}

impl Request {
    fn new(name: &'static str, message: RouteNetlinkMessage, family: Option<AddressFamily>) -> Self {
        let optional = family == Some(AddressFamily::Inet6);
        Self { name, message: raw(&message), family, optional, needs_strict: false }
    }

    /// Whether a row is of the family that was asked for.
    pub(super) fn asks_for(&self, row: &RawMessage) -> bool {
        self.family.is_none_or(|family| row.body.first().is_none_or(|&first| first == u8::from(family)))
    }
}

/// The dumps that make up a table; none for a source that is no table.
pub(super) fn dumps(source: Source) -> Vec<Request> {
    match source {
        Source::Links => vec![links()],
        Source::Addresses => vec![addresses_v4(), addresses_v6()],
        Source::Routes => BOTH.map(|family| routes("RTM_GETROUTE dump", family, RouteFlags::empty())).into(),
        Source::Exceptions => BOTH.map(exceptions).into(),
        Source::Neighbours => BOTH.map(|family| neighbours("RTM_GETNEIGH dump", family)).into(),
        Source::NeighbourTables => BOTH.map(neighbour_tables).into(),
        Source::Fdb => vec![neighbours("RTM_GETNEIGH dump of AF_BRIDGE", AddressFamily::Bridge)],
        Source::Lookup
        | Source::PodEnds
        | Source::Ethtool
        | Source::Settings
        | Source::SysctlFiles
        | Source::HostFiles
        | Source::Counters
        | Source::Events
        | Source::Probes
        | Source::Kubernetes => Vec::new(),
    }
}

/// The request for the route of one packet as the routing tables have it.
pub(super) fn lookup(query: Query) -> RawMessage {
    let (mut message, flags) = match query.to {
        IpAddr::V4(address) => (
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build(),
            // Without it the kernel says "main" whichever table the route stands in. IPv6 knows no such flag.
            RouteFlags::FibMatch | RouteFlags::LookupTable,
        ),
        IpAddr::V6(address) => {
            (RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128).build(), RouteFlags::FibMatch)
        }
    };
    plain(&mut message.header, flags);
    if let Some(from) = query.from {
        message.header.source_prefix_length = message.header.destination_prefix_length;
        message.attributes.push(RouteAttribute::Source(from.into()));
    }
    raw(&RouteNetlinkMessage::GetRoute(message))
}

/// The request for one link in another namespace, statistics left out as in the dump.
pub(super) fn pod_end(question: Question) -> RawMessage {
    let mut message = LinkMessageBuilder::<LinkUnspec>::new()
        .index(question.end.0)
        .append_extra_attribute(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]))
        .build();
    message.attributes.push(LinkAttribute::IfNetnsId(question.namespace));
    raw(&RouteNetlinkMessage::GetLink(message))
}

/// The request for the addresses of one link in another namespace, of every family.
pub(super) fn addresses_of(question: Question) -> RawMessage {
    let mut message = AddressMessage::default();
    message.header.index = question.end.0;
    let mut raw = raw(&RouteNetlinkMessage::GetAddress(message));
    raw.body.extend([8, 0].into_iter().chain(IFA_TARGET_NETNSID.to_ne_bytes()));
    raw.body.extend(question.namespace.to_ne_bytes());
    raw
}

/// The crate has no name for it.
const IFA_TARGET_NETNSID: u16 = 10;

const BOTH: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// Statistics are most of a link message and nobody here reads them.
fn links() -> Request {
    let message = LinkMessageBuilder::<LinkUnspec>::new()
        .append_extra_attribute(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]))
        .build();
    Request::new("RTM_GETLINK dump", RouteNetlinkMessage::GetLink(message), None)
}

fn addresses_v4() -> Request {
    let message = AddressMessageBuilder::<Ipv4Addr>::new().build();
    Request::new("RTM_GETADDR dump", RouteNetlinkMessage::GetAddress(message), Some(AddressFamily::Inet))
}

fn addresses_v6() -> Request {
    let message = AddressMessageBuilder::<Ipv6Addr>::new().build();
    Request::new("RTM_GETADDR dump", RouteNetlinkMessage::GetAddress(message), Some(AddressFamily::Inet6))
}

fn routes(name: &'static str, family: AddressFamily, flags: RouteFlags) -> Request {
    let mut message: RouteMessage = RouteMessageBuilder::<IpAddr>::new().build();
    message.header.address_family = family;
    plain(&mut message.header, flags);
    Request::new(name, RouteNetlinkMessage::GetRoute(message), Some(family))
}

fn exceptions(family: AddressFamily) -> Request {
    let request = routes("RTM_GETROUTE dump of cached routes", family, RouteFlags::Cloned);
    Request { needs_strict: true, ..request }
}

fn neighbours(name: &'static str, family: AddressFamily) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    Request::new(name, RouteNetlinkMessage::GetNeighbour(message), Some(family))
}

fn neighbour_tables(family: AddressFamily) -> Request {
    let mut message = NeighbourTableMessage::default();
    message.header.family = family;
    Request::new("RTM_GETNEIGHTBL dump", RouteNetlinkMessage::GetNeighbourTable(message), Some(family))
}

/// The builder presets what a new route would have; in a question each of these would narrow the answer.
fn plain(header: &mut RouteHeader, flags: RouteFlags) {
    let (address_family, destination_prefix_length) = (header.address_family, header.destination_prefix_length);
    *header = RouteHeader { address_family, destination_prefix_length, flags, ..RouteHeader::default() };
}

fn raw(message: &RouteNetlinkMessage) -> RawMessage {
    let mut body = vec![0; message.buffer_len()];
    message.serialize(&mut body);
    RawMessage { kind: message.message_type(), body }
}

#[cfg(test)]
mod tests {
    use probes::kernel::LinkIndex;

    use super::*;

    #[test]
    fn a_lookup_asks_the_tables_and_not_the_cache() {
        let message = lookup(Query::from(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))));
        assert_eq!(message.kind, 26, "RTM_GETROUTE");
        let header = [2, 32, 0, 0, 0, 0, 0, 0, 0x00, 0x30, 0, 0];
        assert_eq!(message.body, [&header[..], &[8, 0, 1, 0, 10, 0, 0, 9]].concat());
    }

    #[test]
    fn a_lookup_names_the_source_that_rules_may_ask_for() {
        let [to, from] = [[10, 0, 0, 9], [10, 0, 0, 1]].map(IpAddr::from);
        let header = [2, 32, 32, 0, 0, 0, 0, 0, 0x00, 0x30, 0, 0];
        let attributes = [[8, 0, 1, 0, 10, 0, 0, 9], [8, 0, 2, 0, 10, 0, 0, 1]].concat();
        assert_eq!(lookup(Query { to, from: Some(from) }).body, [&header[..], &attributes].concat());
        let [to, from] = ["fd00::9", "fd00::1"].map(|text| text.parse().unwrap());
        assert_eq!(lookup(Query { to, from: Some(from) }).body[..4], [10, 128, 128, 0]);
    }

    #[test]
    fn the_pods_end_is_named_by_its_number_and_namespace() {
        let question = Question { link: LinkIndex(9), namespace: 5, end: LinkIndex(2) };
        let header = [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let without_statistics = [8, 0, 29, 0, 8, 0, 0, 0];
        let namespace = [8, 0, 46, 0, 5, 0, 0, 0];
        assert_eq!(pod_end(question).body, [&header[..], &without_statistics, &namespace].concat());
        let addresses = addresses_of(question);
        assert_eq!((addresses.kind, &addresses.body[..]), (22, &[0, 0, 0, 0, 2, 0, 0, 0, 8, 0, 10, 0, 5, 0, 0, 0][..]));
    }

    #[test]
    fn a_dump_of_routes_names_family_and_flags_alone() {
        let bodies: Vec<_> = dumps(Source::Exceptions).into_iter().map(|request| request.message.body).collect();
        assert_eq!(bodies, [[2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0], [10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]]);
    }

    #[test]
    fn rows_of_another_family_are_left_out_and_empty_ones_are_kept() {
        let request = addresses_v6();
        let row = |body: &[u8]| RawMessage { kind: 20, body: body.to_vec() };
        assert!(request.asks_for(&row(&[10, 64])));
        assert!(!request.asks_for(&row(&[2, 24])), "what a kernel without IPv6 answers");
        assert!(request.asks_for(&row(&[])), "so that the decoder counts it");
    }
}
