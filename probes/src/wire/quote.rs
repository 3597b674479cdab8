//! What an ICMP error quotes: the start of the packet that it is about.
//!
//! RFC 792 asks for the IP header and eight bytes, which is all that can be counted on: destination, protocol, and
//! the ICMP identifier and sequence or the UDP ports and length. RFC 1812 §4.3.2.3 asks for as much as fits into 576
//! bytes, and RFC 4443 §3.1 for as much as fits into 1,280, which reaches through a VXLAN header to the inner packet. The
//! quote's own lengths are not checked against its bytes: it is cut short by design.

use std::net::IpAddr;

use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::icmp::IcmpTypes;
use pnet::packet::icmp::echo_request::EchoRequestPacket;
use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::udp::UdpPacket;
use pnet::packet::vxlan::VxlanPacket;

use super::icmp::Echo;
use super::{Malformed, icmp6};
use crate::overhead;

/// A quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Where it was sent to.
    pub to: IpAddr,
    /// What it carried.
    pub body: Body<'a>,
}

/// What a quoted packet carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An ICMP echo or timestamp request.
    Icmp(Echo<'a>),
    /// A UDP datagram.
    Udp(Datagram<'a>),
    /// Anything else, or a fragment that is not the first.
    Other,
}

/// A quoted UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub port: u16,
    /// Length of header and payload as it was sent, in bytes.
    pub length: u16,
    /// Payload, as much as is quoted.
    pub payload: &'a [u8],
}

/// Parses a quote.
///
/// # Errors
/// If it does not hold an IP header, or less of what follows than every error must quote.
pub fn parse(quote: &[u8]) -> Result<Quote<'_>, Malformed> {
    match quote.first().map(|byte| byte >> 4) {
        Some(6) => ipv6(quote),
        _ => ipv4(quote),
    }
}

fn ipv4(quote: &[u8]) -> Result<Quote<'_>, Malformed> {
    let ip = Ipv4Packet::new(quote).ok_or(Malformed("quotes less than an IPv4 header"))?;
    let header = usize::from(ip.get_header_length()) * 4;
    if ip.get_version() != 4 || header < Ipv4Packet::minimum_packet_size() {
        return Err(Malformed("quotes no IP header"));
    }
    let to = IpAddr::from(ip.get_destination().octets());
    if ip.get_fragment_offset() != 0 {
        return Ok(Quote { to, body: Body::Other });
    }
    let rest = quote.get(header..).unwrap_or_default();
    let body = match ip.get_next_level_protocol() {
        IpNextHeaderProtocols::Icmp => icmp(rest, &[IcmpTypes::EchoRequest.0, IcmpTypes::Timestamp.0])?,
        IpNextHeaderProtocols::Udp => udp(rest)?,
        _ => Body::Other,
    };
    Ok(Quote { to, body })
}

fn ipv6(quote: &[u8]) -> Result<Quote<'_>, Malformed> {
    let ip = Ipv6Packet::new(quote).ok_or(Malformed("quotes less than an IPv6 header"))?;
    let to = IpAddr::from(ip.get_destination().octets());
    let rest = &quote[Ipv6Packet::minimum_packet_size()..];
    let body = match upper_layer(ip.get_next_header(), rest) {
        Some((IpNextHeaderProtocols::Icmpv6, rest)) => icmp(rest, &[icmp6::kind::ECHO_REQUEST])?,
        Some((IpNextHeaderProtocols::Udp, rest)) => udp(rest)?,
        _ => Body::Other,
    };
    Ok(Quote { to, body })
}

/// What follows the extension headers that a router or this machine may have put in (RFC 8200 §4); `None` for what
/// cannot be the start of a datagram.
fn upper_layer(mut next: IpNextHeaderProtocol, mut rest: &[u8]) -> Option<(IpNextHeaderProtocol, &[u8])> {
    loop {
        let length = match next {
            IpNextHeaderProtocols::Hopopt | IpNextHeaderProtocols::Ipv6Opts | IpNextHeaderProtocols::Ipv6Route => {
                (usize::from(*rest.get(1)?) + 1) * 8
            }
            IpNextHeaderProtocols::Ipv6Frag => {
                let offset = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) >> 3;
                if offset == 0 { 8 } else { return None }
            }
            upper => return Some((upper, rest)),
        };
        next = IpNextHeaderProtocol(*rest.first()?);
        rest = rest.get(length..)?;
    }
}

fn icmp<'a>(rest: &'a [u8], requests: &[u8]) -> Result<Body<'a>, Malformed> {
    let echo = EchoRequestPacket::new(rest).ok_or(Malformed("quotes less than an ICMP header"))?;
    if !requests.contains(&echo.get_icmp_type().0) {
        return Ok(Body::Other);
    }
    let payload = &rest[EchoRequestPacket::minimum_packet_size()..];
    Ok(Body::Icmp(Echo { id: echo.get_identifier(), sequence: echo.get_sequence_number(), payload }))
}

fn udp(rest: &[u8]) -> Result<Body<'_>, Malformed> {
    let udp = UdpPacket::new(rest).ok_or(Malformed("quotes less than a UDP header"))?;
    let payload = &rest[UdpPacket::minimum_packet_size()..];
    let (source, port, length) = (udp.get_source(), udp.get_destination(), udp.get_length());
    Ok(Body::Udp(Datagram { source, port, length, payload }))
}

/// The packet inside a VXLAN datagram, if enough of it is quoted to tell.
pub fn inside_vxlan(payload: &[u8]) -> Option<Quote<'_>> {
    let header = VxlanPacket::new(payload)?;
    let vni_is_valid = header.get_flags() & 0x08 != 0;
    let frame = payload.get(overhead::VXLAN as usize..).filter(|_| vni_is_valid)?;
    let ethernet = EthernetPacket::new(frame)?;
    let is_ip = [EtherTypes::Ipv4, EtherTypes::Ipv6].contains(&ethernet.get_ethertype());
    parse(frame.get(overhead::ETHERNET as usize..).filter(|_| is_ip)?).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::icmp::golden;
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
    const INNER: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 0);

    fn request(to: Ipv4Addr) -> Vec<u8> {
        golden::ipv4(HERE, to, 1, &golden::icmp(8, 0, golden::echo(7, 9), &golden::payload(5, 84)))
    }

    fn vxlan() -> Vec<u8> {
        let mut payload = vec![8, 0, 0, 0, 0, 0x10, 0, 0];
        payload.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        payload.extend(request(INNER));
        golden::ipv4(HERE, THERE, 17, &golden::udp(50_000, 4789, &payload))
    }

    fn echo_in(quote: &Quote<'_>) -> (u16, u16, Option<u64>) {
        let Body::Icmp(echo) = quote.body else { panic!("{quote:?}") };
        (echo.id, echo.sequence, echo.cookie())
    }

    #[test]
    fn eight_bytes_are_enough_to_know_a_probe_and_sixteen_hold_the_cookie() {
        let packet = request(THERE);
        let short = parse(&packet[..28]).unwrap();
        assert_eq!((short.to, echo_in(&short)), (IpAddr::V4(THERE), (7, 9, None)));
        assert_eq!(echo_in(&parse(&packet[..36]).unwrap()), (7, 9, Some(5)));
    }

    #[test]
    fn less_than_every_error_must_quote_is_malformed() {
        for (packet, least) in [(request(THERE), 28), (vxlan(), 28)] {
            for length in 0..least {
                assert!(parse(&packet[..length]).is_err(), "{length} bytes");
            }
            assert!(parse(&packet[..least]).is_ok());
        }
    }

    #[test]
    fn the_inner_packet_is_seen_where_enough_is_quoted() {
        let packet = vxlan();
        let outer = parse(&packet).unwrap();
        let Body::Udp(Datagram { source: 50_000, port: 4789, payload, .. }) = outer.body else { panic!("{outer:?}") };
        let inner = inside_vxlan(payload).unwrap();
        assert_eq!((inner.to, echo_in(&inner)), (IpAddr::V4(INNER), (7, 9, Some(5))));
        for length in 0..22 + 28 {
            assert_eq!(inside_vxlan(&payload[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_datagram_without_a_valid_vni_or_with_another_protocol_is_not_looked_into() {
        let packet = vxlan();
        let mut payload = packet[28..].to_vec();
        payload[0] = 0;
        assert_eq!(inside_vxlan(&payload), None);
        payload[0] = 8;
        payload[20..22].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(inside_vxlan(&payload), None);
    }

    #[test]
    fn later_fragments_replies_and_other_protocols_say_only_where_they_went() {
        let mut fragment = request(THERE);
        fragment[7] = 1;
        let reply = golden::ipv4(HERE, THERE, 1, &golden::icmp(0, 0, golden::echo(7, 9), &[]));
        let tcp = golden::ipv4(HERE, THERE, 6, &[0; 8]);
        for packet in [fragment, reply, tcp] {
            assert_eq!(parse(&packet), Ok(Quote { to: IpAddr::V4(THERE), body: Body::Other }));
        }
    }

    fn six(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 5, 120, next, 64];
        packet.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        packet.extend("fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        packet.extend(rest);
        packet
    }

    #[test]
    fn ipv6_is_read_through_its_extension_headers() {
        let echo = [128, 0, 0, 0, 0, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5];
        let hop_by_hop = [&[58, 0, 5, 2, 0, 0, 1, 0], &echo[..]].concat();
        let first_fragment = [&[58, 0, 0, 1, 0, 0, 0, 1], &echo[..]].concat();
        for packet in [six(58, &echo), six(0, &hop_by_hop), six(44, &first_fragment)] {
            let quote = parse(&packet).unwrap();
            assert_eq!((quote.to, echo_in(&quote)), ("fd00::2".parse().unwrap(), (7, 9, Some(5))));
        }
        let later_fragment = [&[58, 0, 0, 9, 0, 0, 0, 1], &echo[..]].concat();
        for packet in [six(44, &later_fragment), six(6, &echo), six(0, &[58])] {
            assert_eq!(parse(&packet).unwrap().body, Body::Other);
        }
        assert!(parse(&six(58, &echo)[..39]).is_err() && parse(&six(58, &echo[..7])).is_err());
    }

    #[test]
    fn a_datagram_says_its_ports_and_how_long_it_was() {
        let packet = golden::ipv4(HERE, THERE, 17, &golden::udp(61_440, 33_440, &[7; 100]));
        let Body::Udp(udp) = parse(&packet[..28]).unwrap().body else { panic!("no UDP") };
        assert_eq!((udp.source, udp.port, udp.length, udp.payload), (61_440, 33_440, 108, &[][..]));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = inside_vxlan(&bytes);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..134, with in any::<u8>()) {
            let mut packet = vxlan();
            packet[at] = with;
            if let Ok(Quote { body: Body::Udp(udp), .. }) = parse(&packet) {
                let _ = inside_vxlan(udp.payload);
            }
        }
    }
}
