//! Packets that ask for an answer, encapsulated as a tunnel device would (RFC 7348 §5).
//!
//! Inside is an ICMP timestamp request, padded: its answer is small however large it was, so it says nothing of the way
//! back. IPv6 has none: there an echo request is inside, whose answer comes back as large through the peer's own tunnel.
//! The outer IP and UDP headers are the kernel's.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::icmpv6::{self, Icmpv6Packet};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet, checksum};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::vxlan::MutableVxlanPacket;

use super::icmp;
use super::icmp6;
use crate::overhead;
use crate::path::Encapsulation;
use crate::units::{Family, IpSize};

/// The I flag: the network identifier is valid.
const VNI_IS_VALID: u8 = 0x08;
/// Hops that the inner packet may take: its destination is the far tunnel end itself.
const TTL: u8 = 64;

/// What makes a probe known.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// ICMP identifier.
    pub id: u16,
    /// ICMP sequence.
    pub sequence: u16,
    /// The cookie; its low half is the originate timestamp.
    pub cookie: u64,
}

/// The size of the packet inside an outer packet of `size`.
pub const fn inner_size(how: Encapsulation, size: IpSize) -> IpSize {
    size.less(overhead::vxlan(Family::of(how.vtep)))
}

/// The UDP payload of an outer packet of `size`: its head, and how many zeros follow.
pub fn request(how: Encapsulation, mark: Mark, size: IpSize) -> (Vec<u8>, u32) {
    let inner = inner_size(how, size);
    let mut bytes = vec![0; (overhead::VXLAN + overhead::ETHERNET) as usize];
    let (header, frame) = bytes.split_at_mut(overhead::VXLAN as usize);
    if let Some(mut vxlan) = MutableVxlanPacket::new(header) {
        vxlan.set_flags(VNI_IS_VALID);
        vxlan.set_vni(how.vni);
    }
    let kind = if how.inner_to.is_ipv4() { EtherTypes::Ipv4 } else { EtherTypes::Ipv6 };
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_destination(how.to_mac.into());
        ethernet.set_source(how.from_mac.into());
        ethernet.set_ethertype(kind);
    }
    let padding = match (how.inner_from, how.inner_to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => timestamp(&mut bytes, (from, to), mark, inner),
        (IpAddr::V6(from), IpAddr::V6(to)) => echo(&mut bytes, (from, to), mark, inner),
        // Nobody answers a packet with addresses of two families: it leaves empty.
        _ => 0,
    };
    (bytes, padding)
}

fn timestamp(bytes: &mut Vec<u8>, (from, to): (Ipv4Addr, Ipv4Addr), mark: Mark, size: IpSize) -> u32 {
    let start = bytes.len();
    bytes.resize(start + Family::Ipv4.header() as usize, 0);
    if let Some(mut ip) = MutableIpv4Packet::new(&mut bytes[start..]) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(u16::try_from(size.bytes()).unwrap_or(u16::MAX));
        ip.set_flags(Ipv4Flags::DontFragment);
        ip.set_ttl(TTL);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Icmp);
        ip.set_source(from.octets().into());
        ip.set_destination(to.octets().into());
        let sum = checksum(&ip.to_immutable());
        ip.set_checksum(sum);
    }
    let (head, padding) = icmp::timestamp_request(mark.id, mark.sequence, originate(mark.cookie), size);
    bytes.extend(head);
    padding
}

fn echo(bytes: &mut Vec<u8>, (from, to): (Ipv6Addr, Ipv6Addr), mark: Mark, size: IpSize) -> u32 {
    let start = bytes.len();
    let header = Family::Ipv6.header();
    bytes.resize(start + header as usize, 0);
    if let Some(mut ip) = MutableIpv6Packet::new(&mut bytes[start..]) {
        ip.set_version(6);
        ip.set_payload_length(u16::try_from(size.less(header).bytes()).unwrap_or(u16::MAX));
        ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ip.set_hop_limit(TTL);
        ip.set_source(from.octets().into());
        ip.set_destination(to.octets().into());
    }
    let (mut message, padding) = icmp6::echo_request(mark.id, mark.sequence, mark.cookie, size);
    // The checksum covers the whole length, so it is taken over the whole message.
    message.extend(iter::repeat_n(0, padding as usize));
    let sum = Icmpv6Packet::new(&message)
        .map_or(0, |packet| icmpv6::checksum(&packet, &from.octets().into(), &to.octets().into()));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(message);
    0
}

/// The part of a cookie that a timestamp request has room for.
pub const fn originate(cookie: u64) -> u32 {
    (cookie & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::quote::{self, Body};

    const MARK: Mark = Mark { id: 7, sequence: 9, cookie: 0x0102_0304_0506_0708 };

    fn how(from: &str, to: &str) -> Encapsulation {
        Encapsulation {
            vtep: "10.0.0.12".parse().unwrap(),
            port: 4789,
            vni: 4096,
            from_mac: [2, 0, 0, 0, 0, 1],
            to_mac: [2, 0, 0, 0, 0, 2],
            inner_from: from.parse().unwrap(),
            inner_to: to.parse().unwrap(),
        }
    }

    fn whole(how: Encapsulation, size: u32) -> Vec<u8> {
        let (mut bytes, padding) = request(how, MARK, IpSize::new(size));
        bytes.extend(iter::repeat_n(0, padding as usize));
        bytes
    }

    #[test]
    fn an_outer_packet_has_its_size_and_says_what_a_tunnel_would() {
        let how = how("10.244.1.0", "10.244.2.0");
        let payload = whole(how, 1500);
        assert_eq!(20 + 8 + payload.len(), 1500);
        assert_eq!(payload[..8], [8, 0, 0, 0, 0, 0x10, 0, 0], "flags and network 4096");
        assert_eq!(payload[8..22], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(payload[22..24], [0x45, 0]);
        assert_eq!(u16::from_be_bytes([payload[24], payload[25]]), 1450);
        let inner = quote::inside_vxlan(&payload).unwrap();
        let Body::Icmp(echo) = inner.body else { panic!("{inner:?}") };
        assert_eq!((inner.to, echo.id, echo.sequence), (how.inner_to, 7, 9));
        assert_eq!(echo.originate(), Some(0x0506_0708));
    }

    #[test]
    fn inside_ipv6_is_an_echo_whose_checksum_is_right() {
        let how = how("fd00:1::", "fd00:2::");
        let payload = whole(how, 1500);
        assert_eq!(20 + 8 + payload.len(), 1500);
        let inner = quote::inside_vxlan(&payload).unwrap();
        let Body::Icmp(echo) = inner.body else { panic!("{inner:?}") };
        assert_eq!((inner.to, echo.id, echo.sequence, echo.cookie()), (how.inner_to, 7, 9, Some(MARK.cookie)));
        let message = Icmpv6Packet::new(&payload[22 + 40..]).unwrap();
        let (IpAddr::V6(from), IpAddr::V6(to)) = (how.inner_from, how.inner_to) else { panic!("not IPv6") };
        assert_eq!(icmpv6::checksum(&message, &from.octets().into(), &to.octets().into()), message.get_checksum());
    }

    #[test]
    fn the_least_size_holds_every_header() {
        for (from, to) in [("10.244.1.0", "10.244.2.0"), ("fd00:1::", "fd00:2::")] {
            let how = how(from, to);
            assert!(whole(how, how.least().bytes()).len() as u32 + 28 >= how.least().bytes());
        }
    }
}
