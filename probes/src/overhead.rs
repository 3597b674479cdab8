//! The one table of what encapsulations cost, in bytes, and where each number comes from.
//!
//! A tunnel's overhead is what the outer IP packet adds to the inner one. VXLAN and Geneve carry an Ethernet frame, so
//! the inner Ethernet header counts too.

use crate::kernel::TunnelKind;
use crate::units::{Family, IpSize, LinkMtu};

/// Ethernet header inside VXLAN, Geneve and `gretap`: 14 B (IEEE 802.3).
pub const ETHERNET: u32 = 14;
/// UDP header: 8 B (RFC 768).
pub const UDP: u32 = 8;
/// VXLAN header: 8 B (RFC 7348 §5).
pub const VXLAN: u32 = 8;
/// Geneve base header without options: 8 B (RFC 8926 §3.1).
pub const GENEVE: u32 = 8;
/// GRE base header: 4 B (RFC 2784 §2.1).
pub const GRE: u32 = 4;
/// GRE key: 4 B (RFC 2890 §2).
pub const GRE_KEY: u32 = 4;
/// WireGuard data message: header 16 B and authentication tag 16 B (WireGuard paper §5.4.6).
pub const WIREGUARD: u32 = 32;

/// What veth and bridge let through beyond their MTU: the kernel's `VLAN_HLEN`, room for one 802.1Q tag
/// (`is_skb_forwardable`). An MTU of 1,500 at the far end of a wire therefore passes 1,504 and drops 1,505.
pub const VLAN_HLEN: u32 = 4;

/// Bytes that a tunnel of `kind` adds when its outer packets are of family `outer`.
pub const fn of(kind: TunnelKind, outer: Family) -> u32 {
    match kind {
        TunnelKind::Vxlan => outer.header() + UDP + VXLAN + ETHERNET,
        TunnelKind::Geneve => outer.header() + UDP + GENEVE + ETHERNET,
        TunnelKind::Gre => outer.header() + GRE,
        TunnelKind::Gretap => outer.header() + GRE + ETHERNET,
        TunnelKind::Ipip | TunnelKind::Sit => outer.header(),
        TunnelKind::Wireguard => outer.header() + UDP + WIREGUARD,
    }
}

/// A usual device MTU that a veth or bridge would let packets of this size on the wire through at.
pub fn likely_device_mtu(carries: IpSize) -> Option<LinkMtu> {
    let mtu = carries.less(VLAN_HLEN).bytes();
    USUAL.contains(&mtu).then_some(LinkMtu::new(mtu))
}

/// Device MTUs in common use: floors, tunnels over 1,500, DSL, clouds, jumbo frames and tunnels over those.
const USUAL: [u32; 19] =
    [576, 1280, 1300, 1350, 1370, 1400, 1410, 1420, 1430, 1440, 1450, 1460, 1480, 1492, 1500, 8900, 8950, 9000, 9001];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_the_numbers_that_operators_know() {
        let known = [
            (TunnelKind::Vxlan, 50, 70),
            (TunnelKind::Geneve, 50, 70),
            (TunnelKind::Gre, 24, 44),
            (TunnelKind::Gretap, 38, 58),
            (TunnelKind::Ipip, 20, 40),
            (TunnelKind::Wireguard, 60, 80),
        ];
        for (kind, ipv4, ipv6) in known {
            assert_eq!(of(kind, Family::Ipv4), ipv4, "{kind:?}");
            assert_eq!(of(kind, Family::Ipv6), ipv6, "{kind:?}");
        }
    }
}
