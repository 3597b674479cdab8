//! ICMP messages (RFC 792): the requests that leave, the replies and errors that come.
//!
//! An echo request starts with a cookie, which a reply returns and a long enough error quotes; zeros follow, which leave
//! the checksum as it is, so that only the head has to be built. A timestamp request has no room for a cookie that its
//! reply returns but the 32 bits of the originate timestamp. A raw socket is handed packets before the kernel checks
//! their ICMP checksum: it is checked here.

use std::net::IpAddr;

use pnet::packet::icmp::destination_unreachable::{DestinationUnreachablePacket, IcmpCodes};
use pnet::packet::icmp::echo_reply::EchoReplyPacket;
use pnet::packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet::packet::icmp::{IcmpCode, IcmpPacket, IcmpType, IcmpTypes, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::Ipv4Packet;

use super::{Malformed, icmp6};
use crate::path::Refusal;
use crate::units::{Family, ICMP_HEADER, IpSize};

/// Length of the cookie at the start of a probe's payload, in bytes.
pub const COOKIE: usize = 8;
/// Length of an ICMP header, in bytes.
const HEADER: usize = ICMP_HEADER as usize;
/// Length of the three timestamps (RFC 792 "Timestamp"), in bytes.
const TIMESTAMPS: usize = 12;

/// What a reply and an error's quote return of an echo request, or of a timestamp request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub sequence: u16,
    /// Payload, as much as there is.
    pub payload: &'a [u8],
}

impl Echo<'_> {
    /// The cookie, if the payload is long enough to hold one.
    pub fn cookie(&self) -> Option<u64> {
        cookie(self.payload)
    }

    /// The originate timestamp, if the payload is long enough to hold one.
    pub fn originate(&self) -> Option<u32> {
        self.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// The cookie at the start of a probe's payload, if it is long enough to hold one.
pub fn cookie(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<COOKIE>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// An ICMP or ICMPv6 message that can concern a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// An answer to an echo request.
    EchoReply(Echo<'a>),
    /// An answer to a timestamp request.
    TimestampReply(Echo<'a>),
    /// An error about a packet.
    Error {
        /// What it says.
        complaint: Complaint,
        /// The start of the packet that it is about, from the IP header on.
        quote: &'a [u8],
    },
    /// Of no concern.
    Other,
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Fragmentation needed and DF set, or packet too big; the MTU of the next hop if it names one (RFC 1191 §4).
    TooBig(Option<IpSize>),
    /// Anything else.
    Refused(Refusal),
}

/// The ICMP header and cookie of an echo request of `size`, and how many zeros follow.
/// ICMPv6 leaves the checksum to the kernel.
pub fn echo_request(family: Family, id: u16, sequence: u16, cookie: u64, size: IpSize) -> (Vec<u8>, u32) {
    if family == Family::Ipv6 {
        return icmp6::echo_request(id, sequence, cookie, size);
    }
    request(IcmpTypes::EchoRequest, id, sequence, &cookie.to_be_bytes(), size)
}

/// The ICMP header and timestamps of a timestamp request of `size`, and how many zeros follow.
pub fn timestamp_request(id: u16, sequence: u16, originate: u32, size: IpSize) -> (Vec<u8>, u32) {
    let mut timestamps = [0; TIMESTAMPS];
    timestamps[..4].copy_from_slice(&originate.to_be_bytes());
    request(IcmpTypes::Timestamp, id, sequence, &timestamps, size)
}

fn request(kind: IcmpType, id: u16, sequence: u16, start: &[u8], size: IpSize) -> (Vec<u8>, u32) {
    let mut head = vec![0; HEADER + start.len()];
    head[HEADER..].copy_from_slice(start);
    if let Some(mut request) = MutableEchoRequestPacket::new(&mut head) {
        request.set_icmp_type(kind);
        request.set_identifier(id);
        request.set_sequence_number(sequence);
    }
    let sum = IcmpPacket::new(&head).map_or(0, |packet| checksum(&packet));
    head[2..4].copy_from_slice(&sum.to_be_bytes());
    let padding = size.payload(Family::Ipv4).bytes().saturating_sub(start.len() as u32);
    (head, padding)
}

/// The source of a packet and the message that it carries: from the IP header on for IPv4, as a raw socket gives it, and
/// from the ICMPv6 header on for IPv6, sent by `from`.
///
/// # Errors
/// If the packet is not ICMP, cut short, its ICMP checksum is wrong, or it is not from `from`.
pub fn parse(from: IpAddr, packet: &[u8]) -> Result<Message<'_>, Malformed> {
    if from.is_ipv6() {
        return icmp6::parse(packet);
    }
    let body = ipv4_body(packet)?;
    let ip = Ipv4Packet::new(packet).ok_or(Malformed("shorter than an IPv4 header"))?;
    if ip.get_next_level_protocol() != IpNextHeaderProtocols::Icmp {
        return Err(Malformed("not ICMP"));
    }
    if IpAddr::from(ip.get_source().octets()) != from {
        return Err(Malformed("another source than the socket says"));
    }
    let icmp =
        IcmpPacket::new(body).filter(|_| body.len() >= HEADER).ok_or(Malformed("shorter than an ICMP header"))?;
    if checksum(&icmp) != icmp.get_checksum() {
        return Err(Malformed("wrong ICMP checksum"));
    }
    Ok(message(body, &icmp))
}

/// What follows the header of a whole IPv4 packet.
fn ipv4_body(packet: &[u8]) -> Result<&[u8], Malformed> {
    let ip = Ipv4Packet::new(packet).ok_or(Malformed("shorter than an IPv4 header"))?;
    let header = usize::from(ip.get_header_length()) * 4;
    if ip.get_version() != 4 || header < Ipv4Packet::minimum_packet_size() {
        return Err(Malformed("not an IPv4 header"));
    }
    packet.get(header..usize::from(ip.get_total_length())).ok_or(Malformed("shorter than its IPv4 header says"))
}

fn message<'a>(body: &'a [u8], icmp: &IcmpPacket<'_>) -> Message<'a> {
    let (kind, code) = (icmp.get_icmp_type(), icmp.get_icmp_code());
    let quote = &body[HEADER..];
    if kind == IcmpTypes::EchoReply {
        return reply(body).map_or(Message::Other, Message::EchoReply);
    }
    if kind == IcmpTypes::TimestampReply {
        return reply(body).map_or(Message::Other, Message::TimestampReply);
    }
    if kind == IcmpTypes::DestinationUnreachable {
        return Message::Error { complaint: unreachable(body, code), quote };
    }
    if kind == IcmpTypes::TimeExceeded {
        return Message::Error { complaint: Complaint::Refused(time_exceeded(code)), quote };
    }
    if kind == IcmpTypes::ParameterProblem {
        return Message::Error { complaint: Complaint::Refused(Refusal::Other), quote };
    }
    Message::Other
}

/// Both kinds of reply have identifier and sequence in the same place, in ICMPv6 too.
pub(super) fn reply(body: &[u8]) -> Option<Echo<'_>> {
    let reply = EchoReplyPacket::new(body)?;
    Some(Echo { id: reply.get_identifier(), sequence: reply.get_sequence_number(), payload: body.get(HEADER..)? })
}

fn unreachable(body: &[u8], code: IcmpCode) -> Complaint {
    let refusal = match code {
        IcmpCodes::FragmentationRequiredAndDFFlagSet => {
            let mtu = DestinationUnreachablePacket::new(body).map_or(0, |error| error.get_next_hop_mtu());
            return Complaint::TooBig((mtu > 0).then(|| IpSize::new(u32::from(mtu))));
        }
        IcmpCodes::DestinationNetworkUnreachable
        | IcmpCodes::DestinationNetworkUnknown
        | IcmpCodes::NetworkUnreachableForTOS => Refusal::NetworkUnreachable,
        IcmpCodes::DestinationHostUnreachable
        | IcmpCodes::DestinationHostUnknown
        | IcmpCodes::SourceHostIsolated
        | IcmpCodes::HostUnreachableForTOS => Refusal::HostUnreachable,
        IcmpCodes::DestinationProtocolUnreachable => Refusal::ProtocolUnreachable,
        IcmpCodes::DestinationPortUnreachable => Refusal::PortUnreachable,
        IcmpCodes::NetworkAdministrativelyProhibited
        | IcmpCodes::HostAdministrativelyProhibited
        | IcmpCodes::CommunicationAdministrativelyProhibited => Refusal::Prohibited,
        _ => Refusal::Other,
    };
    Complaint::Refused(refusal)
}

/// Code 0 is a hop that saw the last of the time to live; code 1 is a fragment that never got its others.
const fn time_exceeded(code: IcmpCode) -> Refusal {
    if code.0 == 0 { Refusal::TtlExceeded } else { Refusal::Other }
}

/// Packets for tests, built byte by byte.
#[cfg(test)]
pub(crate) mod golden {
    use std::net::Ipv4Addr;

    use pnet::packet::ipv4::{MutableIpv4Packet, checksum};

    use super::{COOKIE, IcmpPacket};

    /// An IPv4 packet with DF, header checksum filled in.
    pub(crate) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet.extend_from_slice(body);
        let length = u16::try_from(packet.len()).unwrap();
        let mut ip = MutableIpv4Packet::new(&mut packet).unwrap();
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(length);
        ip.set_flags(2);
        ip.set_ttl(64);
        ip.set_next_level_protocol(pnet::packet::ip::IpNextHeaderProtocol(protocol));
        packet[12..16].copy_from_slice(&from.octets());
        packet[16..20].copy_from_slice(&to.octets());
        let mut ip = MutableIpv4Packet::new(&mut packet).unwrap();
        let sum = checksum(&ip.to_immutable());
        ip.set_checksum(sum);
        packet
    }

    /// An ICMP message, checksum filled in; `rest` is the second half of the header.
    pub(crate) fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend_from_slice(&rest);
        message.extend_from_slice(body);
        let sum = super::checksum(&IcmpPacket::new(&message).unwrap());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    /// A UDP datagram without checksum.
    pub(crate) fn udp(source: u16, port: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).unwrap();
        let fields = [source, port, length, 0];
        fields.iter().flat_map(|field| field.to_be_bytes()).chain(payload.iter().copied()).collect()
    }

    /// The second half of an echo header.
    pub(crate) fn echo(id: u16, sequence: u16) -> [u8; 4] {
        let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
        [a, b, c, d]
    }

    /// A cookie and zeros, as long as the payload of a packet of `size` bytes.
    pub(crate) fn payload(cookie: u64, size: usize) -> Vec<u8> {
        let mut payload = vec![0; size - 28];
        payload[..COOKIE].copy_from_slice(&cookie.to_be_bytes());
        payload
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
    const FROM: IpAddr = IpAddr::V4(THERE);

    #[test]
    fn zeros_after_the_head_leave_the_checksum_right() {
        let (head, padding) = echo_request(Family::Ipv4, 7, 9, 0x0102_0304_0506_0708, IpSize::new(1500));
        assert_eq!(20 + head.len() + padding as usize, 1500);
        let whole: Vec<u8> = head.into_iter().chain(std::iter::repeat_n(0, padding as usize)).collect();
        let packet = IcmpPacket::new(&whole).unwrap();
        assert_eq!(checksum(&packet), packet.get_checksum());
        assert_eq!((whole[0], &whole[4..8]), (8, &[0, 7, 0, 9][..]));
    }

    fn reply() -> Vec<u8> {
        golden::ipv4(THERE, HERE, 1, &golden::icmp(0, 0, golden::echo(7, 9), &golden::payload(5, 84)))
    }

    #[test]
    fn a_reply_returns_id_sequence_and_cookie() {
        let packet = reply();
        let message = parse(FROM, &packet).unwrap();
        let Message::EchoReply(echo) = message else { panic!("{message:?}") };
        assert_eq!((echo.id, echo.sequence, echo.cookie()), (7, 9, Some(5)));
        assert_eq!(echo.payload.len(), 56);
    }

    #[test]
    fn options_before_the_message_are_skipped() {
        let mut packet = reply();
        packet.splice(20..20, [1, 1, 1, 1]);
        packet[0] = 0x46;
        packet[3] += 4;
        assert!(matches!(parse(FROM, &packet), Ok(Message::EchoReply(Echo { id: 7, .. }))));
    }

    #[test]
    fn codes_become_refusals() {
        let cases = [
            (3, 0, Refusal::NetworkUnreachable),
            (3, 1, Refusal::HostUnreachable),
            (3, 2, Refusal::ProtocolUnreachable),
            (3, 3, Refusal::PortUnreachable),
            (3, 9, Refusal::Prohibited),
            (3, 10, Refusal::Prohibited),
            (3, 13, Refusal::Prohibited),
            (3, 200, Refusal::Other),
            (11, 0, Refusal::TtlExceeded),
            (11, 1, Refusal::Other),
            (12, 0, Refusal::Other),
        ];
        for (kind, code, refusal) in cases {
            let packet = golden::ipv4(THERE, HERE, 1, &golden::icmp(kind, code, [0; 4], &[1, 2, 3]));
            let expected = Message::Error { complaint: Complaint::Refused(refusal), quote: &[1, 2, 3] };
            assert_eq!(parse(FROM, &packet), Ok(expected), "{kind}/{code}");
        }
    }

    #[test]
    fn frag_needed_names_the_next_hop_mtu_or_none() {
        for (rest, mtu) in [([0, 0, 5, 120], Some(IpSize::new(1400))), ([0; 4], None)] {
            let packet = golden::ipv4(THERE, HERE, 1, &golden::icmp(3, 4, rest, &[]));
            let expected = Message::Error { complaint: Complaint::TooBig(mtu), quote: &[] };
            assert_eq!(parse(FROM, &packet), Ok(expected));
        }
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_malformed() {
        let packet = reply();
        for length in 0..packet.len() {
            assert!(parse(FROM, &packet[..length]).is_err(), "{length} bytes");
        }
        let mut damaged = packet.clone();
        damaged[60] ^= 1;
        assert_eq!(parse(FROM, &damaged), Err(Malformed("wrong ICMP checksum")));
        let udp = golden::ipv4(THERE, HERE, 17, &golden::udp(1, 2, &[]));
        assert_eq!(parse(FROM, &udp), Err(Malformed("not ICMP")));
    }

    #[test]
    fn a_timestamp_request_is_padded_and_its_reply_returns_the_originate_timestamp() {
        let (head, padding) = timestamp_request(7, 9, 0xdead_beef, IpSize::new(1400));
        assert_eq!((head.len(), 20 + head.len() + padding as usize), (20, 1400));
        assert_eq!((head[0], &head[8..12]), (13, &[0xde, 0xad, 0xbe, 0xef][..]));
        let packet = IcmpPacket::new(&head).unwrap();
        assert_eq!(checksum(&packet), packet.get_checksum());
        let answer = golden::ipv4(THERE, HERE, 1, &golden::icmp(14, 0, golden::echo(7, 9), &head[8..]));
        let Ok(Message::TimestampReply(echo)) = parse(FROM, &answer) else { panic!("no timestamp reply") };
        assert_eq!((echo.id, echo.sequence, echo.originate()), (7, 9, Some(0xdead_beef)));
    }

    #[test]
    fn a_packet_from_somebody_else_than_the_socket_says_is_malformed() {
        let packet = reply();
        assert!(parse(IpAddr::V4(HERE), &packet).is_err());
    }

    #[test]
    fn requests_and_redirects_are_of_no_concern() {
        for kind in [4, 5, 8, 13, 15] {
            let packet = golden::ipv4(THERE, HERE, 1, &golden::icmp(kind, 0, [0; 4], &[0; 28]));
            assert_eq!(parse(FROM, &packet), Ok(Message::Other), "type {kind}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(FROM, &bytes);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..84, with in any::<u8>()) {
            let mut packet = reply();
            packet[at] = with;
            let _ = parse(FROM, &packet);
        }
    }
}
