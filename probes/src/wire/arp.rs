//! ARP over Ethernet (RFC 826): asking for an address without telling anybody one of one's own, and who claims one.
//!
//! The question is the probe of RFC 5227 section 2.1.1: its sender address is all zeros, so that nobody's cache changes by
//! it. Linux answers it for its own addresses alone, and never as a proxy.

use std::net::Ipv4Addr;

use crate::kernel::Mac;

/// `ETH_P_ARP`.
pub const ETHERTYPE: u16 = 0x0806;

/// Ethernet header and an ARP packet of IPv4.
pub const LENGTH: usize = 14 + 28;

/// What comes first in each of them: Ethernet, IPv4, and the lengths of their addresses.
const HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The frame that asks everybody on the link who has an address.
pub fn probe(from: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LENGTH);
    frame.extend([0xff; 6]);
    frame.extend(from.0);
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend(HEAD);
    frame.extend([0, 1]);
    frame.extend(from.0);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// The hardware address that a frame claims an address for; whatever kind of ARP it is, its sender says what it has.
pub fn claim(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let arp = frame.get(12..LENGTH)?;
    if arp[..2] != ETHERTYPE.to_be_bytes() || arp[2..8] != HEAD {
        return None;
    }
    let mac = Mac(*arp.get(10..16)?.first_chunk()?);
    let address: [u8; 4] = *arp.get(16..20)?.first_chunk()?;
    (address != [0; 4] && mac.is_unicast()).then(|| (address.into(), mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    /// What Linux answers to a probe for an address that it has.
    fn reply(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
        let mut frame = probe(OWN, address);
        frame[..6].copy_from_slice(&OWN.0);
        frame[6..12].copy_from_slice(&mac.0);
        frame[21] = 2;
        frame[22..28].copy_from_slice(&mac.0);
        frame[28..32].copy_from_slice(&address.octets());
        frame[32..38].copy_from_slice(&OWN.0);
        frame[38..42].fill(0);
        frame
    }

    #[test]
    fn a_probe_claims_nothing() {
        let frame = probe(OWN, VIP);
        assert_eq!((frame.len(), &frame[..6], &frame[38..]), (LENGTH, &[0xff; 6][..], &VIP.octets()[..]));
        assert_eq!(claim(&frame), None, "RFC 5227: the sender's address is all zeros");
    }

    #[test]
    fn an_answer_claims_and_garbage_does_not() {
        let holder = Mac([2, 0, 0, 0, 0, 9]);
        assert_eq!(claim(&reply(holder, VIP)), Some((VIP, holder)));
        let mut padded = reply(holder, VIP);
        padded.extend([0; 18]);
        assert_eq!(claim(&padded), Some((VIP, holder)), "Ethernet has no shorter frames");
        assert_eq!(claim(&reply(Mac([0xff; 6]), VIP)), None, "no machine has a group's address");
        for cut in 0..LENGTH {
            assert_eq!(claim(&reply(holder, VIP)[..cut]), None, "{cut}");
        }
        let mut other = reply(holder, VIP);
        other[12] = 0x86;
        assert_eq!(claim(&other), None);
    }
}
