//! Packets as a raw socket would have given them, made of what other sockets tell.
//!
//! A socket for pings is handed replies without their IP header, and hears of ICMP errors by its error queue: who
//! complains, of what, and the start of what was sent, as far as it is quoted, from behind the IP header on (behind the
//! UDP header on for a socket for UDP). All that an ICMP error says is there, so it is put together again here, and whoever
//! decides knows one form of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pnet::packet::icmp::{IcmpPacket, checksum};

/// An error that a socket's queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Who complains.
    pub by: IpAddr,
    /// ICMP or ICMPv6 type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The MTU that is named; 0 where none is.
    pub mtu: u32,
    /// Where the packet was sent to, with the port if it has one.
    pub to: SocketAddr,
    /// What was sent.
    pub sent: Sent<'a>,
}

/// What an error is about, as much as is quoted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// An ICMP or ICMPv6 message, from its header on.
    Icmp(&'a [u8]),
    /// A UDP datagram.
    Udp {
        /// Its source port.
        source: u16,
        /// Its payload.
        payload: &'a [u8],
    },
}

/// A reply of IPv4: `icmp` is the message, from the ICMP header on.
pub fn reply(from: Ipv4Addr, icmp: &[u8]) -> Vec<u8> {
    [&header(IPPROTO_ICMP, from, Ipv4Addr::UNSPECIFIED, icmp.len())[..], icmp].concat()
}

/// An error: from the IP header on for IPv4, from the ICMPv6 header on for IPv6.
pub fn error(told: &Told<'_>) -> Vec<u8> {
    let body = body(told);
    match (told.by, told.to.ip()) {
        (IpAddr::V4(by), IpAddr::V4(to)) => {
            let mtu = u16::try_from(told.mtu).unwrap_or(u16::MAX).to_be_bytes();
            let quoted = header(protocol(told, IPPROTO_ICMP), Ipv4Addr::UNSPECIFIED, to, body.len());
            let mut icmp = [&[told.kind, told.code, 0, 0, 0, 0], &mtu[..], &quoted, &body].concat();
            let sum = IcmpPacket::new(&icmp).map_or(0, |packet| checksum(&packet));
            icmp[2..4].copy_from_slice(&sum.to_be_bytes());
            reply(by, &icmp)
        }
        (_, to) => {
            let mut quoted = [0; 40];
            quoted[0] = 0x60;
            quoted[4..6].copy_from_slice(&length(body.len()).to_be_bytes());
            quoted[6] = protocol(told, IPPROTO_ICMPV6);
            if let IpAddr::V6(to) = to {
                quoted[24..].copy_from_slice(&to.octets());
            }
            [&[told.kind, told.code, 0, 0], &told.mtu.to_be_bytes()[..], &quoted, &body].concat()
        }
    }
}

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_ICMPV6: u8 = 58;

const fn protocol(told: &Told<'_>, icmp: u8) -> u8 {
    match told.sent {
        Sent::Icmp(_) => icmp,
        Sent::Udp { .. } => IPPROTO_UDP,
    }
}

/// What follows the IP header of the packet that the error is about.
fn body(told: &Told<'_>) -> Vec<u8> {
    match told.sent {
        Sent::Icmp(message) => message.to_vec(),
        Sent::Udp { source, payload } => {
            let (port, length) = (told.to.port().to_be_bytes(), length(payload.len() + 8).to_be_bytes());
            [&source.to_be_bytes()[..], &port, &length, &[0, 0], payload].concat()
        }
    }
}

/// An IPv4 header before so many bytes. Its checksum is nobody's concern: the kernel has checked it.
fn header(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, bytes: usize) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length(bytes + 20).to_be_bytes());
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    header
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::icmp::{self, Complaint, Message};
    use super::super::quote::{self, Body};
    use super::*;
    use crate::path::Refusal;
    use crate::units::{Family, IpSize};

    fn told<'a>(by: &str, to: &str, (kind, code, mtu): (u8, u8, u32), sent: Sent<'a>) -> Told<'a> {
        Told { by: by.parse().unwrap(), kind, code, mtu, to: to.parse().unwrap(), sent }
    }

    #[test]
    fn a_reply_is_understood_as_one() {
        let (mut echo, _) = icmp::echo_request(Family::Ipv4, 7, 9, 0xc0ffee, IpSize::new(36));
        echo[0] = 0;
        echo[2..4].fill(0);
        let sum = checksum(&IcmpPacket::new(&echo).unwrap());
        echo[2..4].copy_from_slice(&sum.to_be_bytes());
        let from = Ipv4Addr::new(10, 0, 0, 12);
        let packet = reply(from, &echo);
        let Ok(Message::EchoReply(read)) = icmp::parse(from.into(), &packet) else { panic!("{packet:?}") };
        assert_eq!((read.id, read.sequence, read.cookie()), (7, 9, Some(0xc0ffee)));
    }

    #[test]
    fn an_error_says_who_complains_of_what_and_quotes_the_probe() {
        let cases = [
            ("10.0.0.1", "10.0.0.12:0", (3, 4, 1400), Complaint::TooBig(Some(IpSize::new(1400)))),
            ("10.0.0.1", "10.0.0.12:0", (3, 1, 0), Complaint::Refused(Refusal::HostUnreachable)),
            ("10.0.0.1", "10.0.0.12:0", (11, 0, 0), Complaint::Refused(Refusal::TtlExceeded)),
            ("fd00::1", "[fd00::12]:0", (2, 0, 1400), Complaint::TooBig(Some(IpSize::new(1400)))),
            ("fd00::1", "[fd00::12]:0", (1, 3, 0), Complaint::Refused(Refusal::HostUnreachable)),
            ("fd00::1", "[fd00::12]:0", (3, 0, 0), Complaint::Refused(Refusal::TtlExceeded)),
        ];
        for (by, to, what, means) in cases {
            let to: SocketAddr = to.parse().unwrap();
            let (echo, _) = icmp::echo_request(Family::of(to.ip()), 7, 9, 0xc0ffee, IpSize::new(1500));
            let packet = error(&told(by, &to.to_string(), what, Sent::Icmp(&echo)));
            let Ok(Message::Error { complaint, quote }) = icmp::parse(by.parse().unwrap(), &packet) else {
                panic!("{by} {what:?}: {packet:?}")
            };
            assert_eq!(complaint, means, "{by} {what:?}");
            let quoted = quote::parse(quote).unwrap();
            assert_eq!(quoted.to, to.ip());
            let Body::Icmp(read) = quoted.body else { panic!("{quoted:?}") };
            assert_eq!((read.id, read.sequence, read.cookie()), (7, 9, Some(0xc0ffee)));
        }
    }

    #[test]
    fn a_datagram_is_quoted_with_its_ports_and_length() {
        for (by, to, what) in [("10.0.0.12", "10.0.0.12:33434", (3, 3, 0)), ("fd00::12", "[fd00::12]:33434", (1, 4, 0))]
        {
            let packet = error(&told(by, to, what, Sent::Udp { source: 61_440, payload: b"cookie!!" }));
            let Ok(Message::Error { complaint, quote }) = icmp::parse(by.parse().unwrap(), &packet) else {
                panic!("{packet:?}")
            };
            assert_eq!(complaint, Complaint::Refused(Refusal::PortUnreachable));
            let Body::Udp(udp) = quote::parse(quote).unwrap().body else { panic!("{quote:?}") };
            assert_eq!((udp.source, udp.port, udp.length, udp.payload), (61_440, 33_434, 16, &b"cookie!!"[..]));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_queue_tells_is_a_packet_that_parses_or_is_refused(
            kind: u8, code: u8, mtu: u32, six: bool, udp: bool, quoted in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let (by, to) = if six { ("fd00::1", "[fd00::12]:5") } else { ("10.0.0.1", "10.0.0.12:5") };
            let sent = if udp { Sent::Udp { source: 1, payload: &quoted } } else { Sent::Icmp(&quoted) };
            let packet = error(&told(by, to, (kind, code, mtu), sent));
            let by: IpAddr = by.parse().unwrap();
            prop_assert!(icmp::parse(by, &packet).is_ok(), "its lengths and checksum are right");
        }
    }
}
