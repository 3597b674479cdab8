//! Socket options that the crates in use have no name for (`include/uapi/linux/{in,in6,icmpv6}.h`).

use nix::{setsockopt_impl, sockopt_impl};

/// Wants the size of the largest fragment of each packet that came in fragments.
pub(super) const IP_RECVFRAGSIZE: i32 = 25;
/// The same for IPv6.
pub(super) const IPV6_RECVFRAGSIZE: i32 = 77;
/// Which ICMPv6 types a raw socket is not handed.
const ICMP6_FILTER: i32 = 1;

sockopt_impl!(
    /// Wants the size of the largest fragment of each packet that came in fragments.
    ReceiveFragmentSize, SetOnly, libc::IPPROTO_IP, IP_RECVFRAGSIZE, bool
);
sockopt_impl!(
    /// The same for IPv6.
    ReceiveFragmentSize6, SetOnly, libc::IPPROTO_IPV6, IPV6_RECVFRAGSIZE, bool
);
sockopt_impl!(
    /// Which ICMPv6 types a raw socket is not handed: a bit for each.
    BlockedTypes6, SetOnly, libc::IPPROTO_ICMPV6, ICMP6_FILTER, [u32; 8]
);

/// A filter that blocks all ICMPv6 types but these.
pub(super) fn all_but(types: &[u8]) -> [u32; 8] {
    let mut blocked = [u32::MAX; 8];
    for kind in types {
        blocked[usize::from(kind >> 5)] &= !(1 << (kind & 31));
    }
    blocked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_let_through_has_no_bit() {
        let blocked = all_but(&[1, 129]);
        assert_eq!(blocked[0], !2);
        assert_eq!(blocked[4], !2);
        assert_eq!(blocked.iter().filter(|&&word| word == u32::MAX).count(), 6);
    }
}
