//! The one table of what encapsulations cost, in bytes, and where each number comes from.
//!
//! A tunnel's overhead is what the outer IP packet adds to the inner one. VXLAN and Geneve carry an Ethernet frame, so
//! the inner Ethernet header counts too. The tests hold each sum against the MTU that a kernel chose for such a device.
//!
//! What a CNI takes off by its own rule is another matter: Cilium takes 80 off for WireGuard over IPv4 too, and Weave's
//! 1,376 leaves 124. That is room to spare and no overhead.

use crate::kernel::{Tunnel, TunnelKind, Wrap};
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
/// GRE key, checksum (with the reserved field) and sequence number: 4 B each (RFC 2784 §2.1, RFC 2890 §2).
pub const GRE_FIELD: u32 = 4;
/// Generic UDP encapsulation: 4 B without extensions (draft-ietf-intarea-gue-09 §3.2).
pub const GUE: u32 = 4;
/// Tunnel encapsulation limit, a destination option of an IPv6 header: 8 B with its padding (RFC 2473 §4.1.1).
pub const ENCAP_LIMIT: u32 = 8;
/// WireGuard data message: header 16 B and authentication tag 16 B (WireGuard paper §5.4.6).
pub const WIREGUARD: u32 = 32;

/// What veth and bridge let through beyond their MTU: the kernel's `VLAN_HLEN`, room for one 802.1Q tag
/// (`is_skb_forwardable`). An MTU of 1,500 at the far end of a wire therefore passes 1,504 and drops 1,505.
pub const VLAN_HLEN: u32 = 4;

/// Bytes that VXLAN adds when its outer packets are of family `outer`.
pub const fn vxlan(outer: Family) -> u32 {
    outer.header() + UDP + VXLAN + ETHERNET
}

/// Bytes that a tunnel adds when its outer packets are of family `outer`; `None` where nothing tells.
pub const fn of(tunnel: &Tunnel, outer: Family) -> Option<u32> {
    let options = tunnel.options;
    let inside = match tunnel.kind {
        TunnelKind::Vxlan if options.bare => UDP + VXLAN,
        TunnelKind::Vxlan => UDP + VXLAN + ETHERNET,
        TunnelKind::Geneve => UDP + GENEVE + ETHERNET,
        TunnelKind::Gre | TunnelKind::Ip6gre => gre(tunnel),
        TunnelKind::Gretap | TunnelKind::Ip6gretap => gre(tunnel) + ETHERNET,
        TunnelKind::Ipip | TunnelKind::Sit | TunnelKind::Ip6tnl => 0,
        TunnelKind::Wireguard => UDP + WIREGUARD,
        TunnelKind::Bareudp => UDP,
        TunnelKind::Erspan | TunnelKind::Ip6erspan | TunnelKind::Vti | TunnelKind::Vti6 | TunnelKind::Xfrm => {
            return None;
        }
    };
    let limit = if options.encap_limit { ENCAP_LIMIT } else { 0 };
    let wrap = match options.wrap {
        None => 0,
        Some(Wrap::Fou) => UDP,
        Some(Wrap::Gue) => UDP + GUE,
        Some(Wrap::Other) => return None,
    };
    Some(outer.header() + limit + wrap + inside)
}

const fn gre(tunnel: &Tunnel) -> u32 {
    let options = tunnel.options;
    GRE + GRE_FIELD * (options.key as u32 + options.checksum as u32 + options.sequence as u32)
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
    use crate::kernel::{Options, golden, link};

    #[test]
    fn sums_are_the_numbers_that_operators_know() {
        let known = [
            (TunnelKind::Vxlan, 50, 70),
            (TunnelKind::Geneve, 50, 70),
            (TunnelKind::Gre, 24, 44),
            (TunnelKind::Gretap, 38, 58),
            (TunnelKind::Ipip, 20, 40),
            (TunnelKind::Wireguard, 60, 80),
            (TunnelKind::Bareudp, 28, 48),
        ];
        for (kind, ipv4, ipv6) in known {
            assert_eq!(of(&Tunnel::of(kind), Family::Ipv4), Some(ipv4), "{kind:?}");
            assert_eq!(of(&Tunnel::of(kind), Family::Ipv6), Some(ipv6), "{kind:?}");
        }
        assert_eq!([Family::Ipv4, Family::Ipv6].map(vxlan), [50, 70]);
    }

    #[test]
    fn options_cost_what_they_add() {
        let with = |kind, options| of(&Tunnel { options, ..Tunnel::of(kind) }, Family::Ipv4);
        let none = Options::default();
        assert_eq!(with(TunnelKind::Gre, Options { key: true, ..none }), Some(28));
        assert_eq!(with(TunnelKind::Vxlan, Options { bare: true, ..none }), Some(36));
        assert_eq!(with(TunnelKind::Ipip, Options { wrap: Some(Wrap::Fou), ..none }), Some(28));
        assert_eq!(with(TunnelKind::Ipip, Options { wrap: Some(Wrap::Other), ..none }), None, "MPLS, say");
        assert_eq!(with(TunnelKind::Xfrm, none), None, "it hangs on the keys");
    }

    /// Would fail if a header were forgotten or counted twice: each of these MTUs is the kernel's own choice over 1,500.
    #[test]
    fn what_the_kernel_leaves_free_is_what_we_say_a_tunnel_adds() {
        let mut held = 0;
        for (machine, names) in [
            (golden::tunnels(), &["tunl0", "gre1", "gretap1", "sit1", "geneve1", "vxlan6"][..]),
            (
                golden::wrapped(),
                &[
                    "gre2",
                    "gretap2",
                    "tun-fou",
                    "tun-gue",
                    "sit2",
                    "ip4in6",
                    "ip6in6",
                    "ip6gre1",
                    "ip6gre2",
                    "ip6gretap1",
                    "geneve6",
                    "ip6tnl0",
                    "ip6gre0",
                    "gre0",
                    "gretap0",
                    "sit0",
                ],
            ),
        ] {
            let table = link::decode(&machine["links"]);
            for link in table.rows.iter().filter(|link| names.contains(&link.name.as_str())) {
                let tunnel = link.tunnel.as_ref().unwrap();
                let end = tunnel.local.or(tunnel.remote).map(Family::of);
                let outer = tunnel.kind.outer().or(end).unwrap();
                assert_eq!(Some(1500 - link.mtu.bytes()), of(tunnel, outer), "{}", link.name);
                held += 1;
            }
        }
        assert_eq!(held, 22);
    }

    /// WireGuard takes the larger of its two overheads off, whatever its endpoints are.
    #[test]
    fn wireguard_leaves_room_for_ipv6_by_itself() {
        let table = link::decode(&golden::wireguards()["links"]);
        for link in table.rows.iter().filter(|link| link.kind == "wireguard") {
            assert_eq!(Some(1500 - link.mtu.bytes()), of(link.tunnel.as_ref().unwrap(), Family::Ipv6), "{}", link.name);
        }
    }
}
