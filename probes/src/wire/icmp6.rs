//! ICMPv6 messages (RFC 4443). They come without the IP header, and the kernel has checked their checksum; it fills in
//! that of those that leave.

use pnet::packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet::packet::icmp::{IcmpPacket, IcmpType};

use super::Malformed;
use super::icmp::{Complaint, Message, reply};
use crate::path::Refusal;
use crate::units::{Family, ICMP_HEADER, IpSize};

const HEADER: usize = ICMP_HEADER as usize;

/// Types of messages (RFC 4443 §2.1).
pub(super) mod kind {
    pub(in crate::wire) const UNREACHABLE: u8 = 1;
    pub(in crate::wire) const PACKET_TOO_BIG: u8 = 2;
    pub(in crate::wire) const TIME_EXCEEDED: u8 = 3;
    pub(in crate::wire) const PARAMETER_PROBLEM: u8 = 4;
    pub(in crate::wire) const ECHO_REQUEST: u8 = 128;
    pub(in crate::wire) const ECHO_REPLY: u8 = 129;
}

/// The ICMPv6 header and cookie of an echo request of `size`, its checksum left to the kernel, and how many zeros follow.
pub(super) fn echo_request(id: u16, sequence: u16, cookie: u64, size: IpSize) -> (Vec<u8>, u32) {
    let cookie = cookie.to_be_bytes();
    let mut head = vec![0; HEADER];
    if let Some(mut request) = MutableEchoRequestPacket::new(&mut head) {
        request.set_icmp_type(IcmpType(kind::ECHO_REQUEST));
        request.set_identifier(id);
        request.set_sequence_number(sequence);
    }
    head.extend(cookie);
    let padding = size.payload(Family::Ipv6).bytes().saturating_sub(cookie.len() as u32);
    (head, padding)
}

/// The message in a packet, from the ICMPv6 header on.
pub(super) fn parse(body: &[u8]) -> Result<Message<'_>, Malformed> {
    // The first four bytes are laid out as those of ICMP.
    let icmp =
        IcmpPacket::new(body).filter(|_| body.len() >= HEADER).ok_or(Malformed("shorter than an ICMPv6 header"))?;
    let quote = &body[HEADER..];
    let complaint = match icmp.get_icmp_type().0 {
        kind::ECHO_REPLY => return Ok(reply(body).map_or(Message::Other, Message::EchoReply)),
        kind::UNREACHABLE => Complaint::Refused(unreachable(icmp.get_icmp_code().0)),
        kind::PACKET_TOO_BIG => Complaint::TooBig(mtu(body)),
        kind::TIME_EXCEEDED if icmp.get_icmp_code().0 == 0 => Complaint::Refused(Refusal::TtlExceeded),
        kind::PARAMETER_PROBLEM if icmp.get_icmp_code().0 == 1 => Complaint::Refused(Refusal::ProtocolUnreachable),
        kind::TIME_EXCEEDED | kind::PARAMETER_PROBLEM => Complaint::Refused(Refusal::Other),
        _ => return Ok(Message::Other),
    };
    Ok(Message::Error { complaint, quote })
}

/// The MTU in a packet too big, bytes 4 to 7 (RFC 4443 §3.2).
fn mtu(body: &[u8]) -> Option<IpSize> {
    let mtu = body.get(4..HEADER)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))?;
    (mtu > 0).then(|| IpSize::new(mtu))
}

/// RFC 4443 §3.1.
const fn unreachable(code: u8) -> Refusal {
    match code {
        0 => Refusal::NetworkUnreachable,
        1 | 5 | 6 => Refusal::Prohibited,
        3 => Refusal::HostUnreachable,
        4 => Refusal::PortUnreachable,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, code: u8, rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
        [&[kind, code, 0, 0], &rest[..], quote].concat()
    }

    #[test]
    fn a_request_is_as_large_as_it_should_be_and_its_reply_returns_the_cookie() {
        let (mut head, padding) = echo_request(7, 9, 5, IpSize::new(1500));
        assert_eq!(40 + head.len() + padding as usize, 1500);
        head[0] = kind::ECHO_REPLY;
        let Ok(Message::EchoReply(echo)) = parse(&head) else { panic!("no reply") };
        assert_eq!((echo.id, echo.sequence, echo.cookie()), (7, 9, Some(5)));
    }

    #[test]
    fn packet_too_big_names_an_mtu() {
        let packet = message(2, 0, [0, 0, 5, 120], &[1]);
        let Ok(Message::Error { complaint, quote }) = parse(&packet) else { panic!("no error") };
        assert_eq!((complaint, quote), (Complaint::TooBig(Some(IpSize::new(1400))), &[1][..]));
        let named_none = message(2, 0, [0; 4], &[]);
        let Ok(Message::Error { complaint, .. }) = parse(&named_none) else { panic!("no error") };
        assert_eq!(complaint, Complaint::TooBig(None));
    }

    #[test]
    fn codes_become_refusals() {
        let cases = [
            (1, 0, Refusal::NetworkUnreachable),
            (1, 1, Refusal::Prohibited),
            (1, 2, Refusal::Other),
            (1, 3, Refusal::HostUnreachable),
            (1, 4, Refusal::PortUnreachable),
            (1, 5, Refusal::Prohibited),
            (1, 6, Refusal::Prohibited),
            (3, 0, Refusal::TtlExceeded),
            (3, 1, Refusal::Other),
            (4, 0, Refusal::Other),
            (4, 1, Refusal::ProtocolUnreachable),
        ];
        for (kind, code, refusal) in cases {
            let packet = message(kind, code, [0; 4], &[]);
            let Ok(Message::Error { complaint, .. }) = parse(&packet) else { panic!("{kind}/{code}") };
            assert_eq!(complaint, Complaint::Refused(refusal), "{kind}/{code}");
        }
    }

    #[test]
    fn neighbours_and_requests_are_of_no_concern_and_a_stump_is_malformed() {
        for kind in [128, 133, 134, 135, 136, 137, 143] {
            assert_eq!(parse(&message(kind, 0, [0; 4], &[])), Ok(Message::Other), "type {kind}");
        }
        assert!(parse(&[129, 0, 0, 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
