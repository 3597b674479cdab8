//! Path MTUs that networks usually have.
//!
//! A burst over them brackets most black holes at once. The list saves packets and decides nothing: the edge between
//! two of its sizes is found by splitting, and confirmed on the wire.

use crate::units::IpSize;

/// Most sizes of one burst.
pub(super) const BURST: usize = 16;

/// Usual path MTUs in bytes, ascending, each with who has it.
const USUAL: [u32; 31] = [
    68,     // the least that every IPv4 hop carries (RFC 791 §3.1)
    296,    // point-to-point links tuned for low delay (RFC 1191 §7.1)
    508,    // ARCNET (RFC 1191 §7.1)
    512,    // NETBIOS (RFC 1191 §7.1)
    544,    // DEC IP portal (RFC 1191 §7.1)
    552,    // Linux's `min_pmtu`
    576,    // what every IPv4 host accepts (RFC 791 §3.1)
    1006,   // SLIP (RFC 1055 §3)
    1280,   // what every IPv6 link carries (RFC 8200 §5)
    1400,   // the round number of VPN gateways
    1420,   // WireGuard over 1500, room left for IPv6
    1440,   // WireGuard over an IPv4 underlay of 1500
    1450,   // VXLAN over 1500
    1460,   // Google Cloud's default
    1480,   // IP in IP over 1500
    1492,   // PPPoE over Ethernet (RFC 2516 §7)
    1500,   // Ethernet (RFC 894)
    1504,   // veth and bridge let one 802.1Q tag beyond 1500 through
    2002,   // IEEE 802.5 rings, the size that operators settled on (RFC 1191 §7.1)
    4352,   // FDDI (RFC 1390)
    8000,   // round number of cautious jumbo set-ups
    8166,   // IEEE 802.4 (RFC 1191 §7.1)
    8500,   // AWS transit gateways
    8896,   // Google Cloud's largest
    8950,   // VXLAN over 9000
    8951,   // VXLAN over AWS's 9001
    8980,   // IP in IP over 9000
    9000,   // jumbo frames
    9001,   // AWS within a VPC
    9216,   // switches' usual largest jumbo frame
    17_914, // IBM's 16 Mbit/s token ring (RFC 1191 §7.1)
];

/// The burst for an edge above `answered` and not above `silent`: `silent` itself once more, then usual sizes between
/// the two, largest first. Small ones are left out when there are more than a burst holds.
pub(super) fn burst(answered: IpSize, silent: IpSize) -> Vec<IpSize> {
    let between = USUAL.iter().rev().map(|&bytes| IpSize::new(bytes)).filter(|&size| answered < size && size < silent);
    std::iter::once(silent).chain(between).take(BURST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_ascends() {
        assert!(USUAL.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn ethernet_fits_into_one_burst_down_to_the_smallest_usual_size() {
        let sizes = burst(IpSize::new(84), IpSize::new(1500));
        assert_eq!(sizes.len(), BURST);
        assert_eq!((sizes[0], sizes[15]), (IpSize::new(1500), IpSize::new(296)));
    }

    #[test]
    fn jumbo_bursts_keep_the_large_sizes() {
        let sizes = burst(IpSize::new(84), IpSize::new(9000));
        assert_eq!(sizes.len(), BURST);
        assert!(sizes.contains(&IpSize::new(1500)));
        assert!(sizes.iter().all(|&size| size >= IpSize::new(1450)), "{sizes:?}");
    }
}
