//! Packets of any bytes, as a raw socket hands them over: ICMP, ICMPv6, and what their errors quote.
//!
//! - What a parse shows lies inside the packet, and is the same each time.
//! - A next-hop MTU is no more than its field can say, and never zero.
//! - A packet with a wrong checksum, or from somebody else than it says, is refused.
//! - A request that we built comes back, in a reply or in a quote, as what it was.
//!
//! Random bytes seldom have the right checksum. So that more than the checksum is tried, the first byte says whether it
//! is mended, and the lengths with it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use harness::{Choices, bounded};
use libfuzzer_sys::fuzz_target;
use probes::units::{Family, IpSize};
use probes::wire::icmp::{self, Complaint, Echo, Message};
use probes::wire::quote::{self, Body, Quote};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let how = choices.byte();
    let mut packet = choices.0.to_vec();
    let from: IpAddr = if how & 1 == 0 { source(&packet).into() } else { Ipv6Addr::LOCALHOST.into() };
    if how & 2 == 0 && from.is_ipv4() {
        mend(&mut packet);
    }
    bounded(bytes.len(), 4, || parse(from, &packet));
    bounded(bytes.len(), 4, || parse_quote(&packet));
    spoil(from, &packet);
    requests(&mut Choices(bytes));
});

fn source(packet: &[u8]) -> Ipv4Addr {
    packet.get(12..16).and_then(|bytes| bytes.first_chunk::<4>()).map_or(Ipv4Addr::LOCALHOST, |&bytes| bytes.into())
}

/// Makes total length and ICMP checksum right.
fn mend(packet: &mut [u8]) {
    let Ok(total) = u16::try_from(packet.len()) else { return };
    if packet.len() < 28 {
        return;
    }
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[9] = 1;
    packet[22..24].fill(0);
    let sum = checksum(&packet[20..]);
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn parse(from: IpAddr, packet: &[u8]) {
    let parsed = icmp::parse(from, packet);
    assert_eq!(parsed, icmp::parse(from, packet));
    match parsed {
        Ok(Message::EchoReply(echo) | Message::TimestampReply(echo)) => shows(&echo, packet),
        Ok(Message::Error { complaint, quote }) => {
            lies_inside(quote, packet);
            if let Complaint::TooBig(Some(mtu)) = complaint {
                let most = if from.is_ipv4() { 65_535 } else { u32::MAX };
                assert!((1..=most).contains(&mtu.bytes()), "{mtu:?}");
            }
            parse_quote(quote);
        }
        Ok(Message::Other) | Err(_) => {}
    }
}

fn parse_quote(bytes: &[u8]) {
    let parsed = quote::parse(bytes);
    assert_eq!(parsed, quote::parse(bytes));
    let Ok(quote) = parsed else { return };
    assert!(bytes.len() >= 20, "a quote without an IP header");
    inside(&quote, bytes);
    if let Body::Udp(udp) = quote.body
        && let Some(inner) = quote::inside_vxlan(udp.payload)
    {
        inside(&inner, udp.payload);
    }
}

fn inside(quote: &Quote<'_>, bytes: &[u8]) {
    match quote.body {
        Body::Icmp(echo) => shows(&echo, bytes),
        Body::Udp(udp) => lies_inside(udp.payload, bytes),
        Body::Other => {}
    }
}

fn shows(echo: &Echo<'_>, packet: &[u8]) {
    lies_inside(echo.payload, packet);
    assert_eq!(echo.cookie().is_some(), echo.payload.len() >= 8);
    assert_eq!(echo.originate().is_some(), echo.payload.len() >= 4);
}

fn lies_inside(part: &[u8], whole: &[u8]) {
    let (Range { start, end }, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    assert!(part.is_empty() || (whole.start <= start && end <= whole.end), "what a parse shows is not of the packet");
}

/// One changed bit of what the checksum covers, or another sender, and an IPv4 packet means nothing any more.
fn spoil(from: IpAddr, packet: &[u8]) {
    if from.is_ipv6() || icmp::parse(from, packet).is_err() {
        return;
    }
    let mut other = packet.to_vec();
    let header = usize::from(packet[0] & 15) * 4;
    other[header + 7] ^= 1;
    assert!(icmp::parse(from, &other).is_err(), "a changed packet passes its checksum");
    assert!(icmp::parse(Ipv4Addr::new(198, 51, 100, 1).into(), packet).is_err() || source(packet).octets()[0] == 198);
}

/// Builds a request as the choices say, and lets it come back.
fn requests(choices: &mut Choices<'_>) {
    let family = if choices.byte() & 1 == 0 { Family::Ipv4 } else { Family::Ipv6 };
    let (id, sequence) = (choices.word(), choices.word());
    let cookie = u64::from(choices.word()) << 40 | u64::from(choices.word());
    let size = IpSize::new(family.floor().bytes() + u32::from(choices.word() % 9000));
    let (head, padding) = icmp::echo_request(family, id, sequence, cookie, size);
    let bytes = head.len() + padding as usize + family.header() as usize;
    assert_eq!(bytes, size.bytes() as usize, "{family:?}");
    let mut body = head;
    body.resize(body.len() + padding as usize, 0);
    let quoted = ip(family, &body);
    let Ok(Quote { body: Body::Icmp(echo), .. }) = quote::parse(&quoted) else { panic!("our own request, quoted") };
    assert_eq!((echo.id, echo.sequence, echo.cookie()), (id, sequence, Some(cookie)));
    let (from, packet): (IpAddr, _) = match family {
        Family::Ipv6 => {
            body[0] = 129;
            (Ipv6Addr::LOCALHOST.into(), body)
        }
        Family::Ipv4 => {
            body[0] = 0;
            let mut packet = ip(family, &body);
            mend(&mut packet);
            (source(&packet).into(), packet)
        }
    };
    let Ok(Message::EchoReply(echo)) = icmp::parse(from, &packet) else { panic!("the reply to our own request") };
    assert_eq!((echo.id, echo.sequence, echo.cookie()), (id, sequence, Some(cookie)));
    assert_eq!(echo.payload.len() as u32, size.payload(family).bytes());
}

/// A packet of no options around an ICMP message.
fn ip(family: Family, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; family.header() as usize];
    match family {
        Family::Ipv4 => {
            packet[0] = 0x45;
            packet[9] = 1;
        }
        Family::Ipv6 => {
            packet[0] = 0x60;
            packet[6] = 58;
        }
    }
    packet.extend(body);
    packet
}
