//! The IPv6 settings of a link, as its message carries them: `IFLA_AF_SPEC`, `AF_INET6`.
//!
//! `IFLA_INET6_CONF` is an array of 32-bit numbers in the order of the kernel's `DEVCONF_*`, which only ever grows at its
//! end: an older kernel's is shorter, and what it lacks it does not have. `IFLA_INET6_FLAGS` are the kernel's notes on the
//! link. A link without IPv6 carries nothing of this.

use netlink_packet_core::DecodeError;

use super::Inet6;
use super::attributes::{Attribute, inside};

const AF_INET6: u16 = 10;

const IFLA_INET6_FLAGS: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;

/// `DEVCONF_*`.
const FORWARDING: usize = 0;
const ACCEPT_RA: usize = 3;
const FORCE_FORWARDING: usize = 59;

/// `IF_RA_RCVD`. It is taken back when the link goes down.
const HEARD_ROUTER: u32 = 0x20;

/// Decodes `IFLA_AF_SPEC`; `None` where the link has no IPv6 settings.
pub(super) fn decode(spec: &Attribute<'_>) -> Result<Option<Inet6>, DecodeError> {
    let families = inside(spec)?;
    let Some(family) = families.iter().find(|family| family.kind() == AF_INET6) else { return Ok(None) };
    let parts = inside(family)?;
    let part = |kind| parts.iter().find(|part| part.kind() == kind);
    let Some(conf) = part(IFLA_INET6_CONF) else { return Ok(None) };
    let known = |at| number(conf, at).ok_or_else(|| DecodeError::buffer_too_small(conf.value().len(), (at + 1) * 4));
    Ok(Some(Inet6 {
        forwarding: known(FORWARDING)? != 0,
        force_forwarding: number(conf, FORCE_FORWARDING).is_some_and(|force| force != 0),
        accept_ra: known(ACCEPT_RA)?.cast_signed(),
        heard_router: part(IFLA_INET6_FLAGS)
            .and_then(|flags| number(flags, 0))
            .is_some_and(|flags| flags & HEARD_ROUTER != 0),
    }))
}

/// The nth number of an array.
fn number(array: &Attribute<'_>, at: usize) -> Option<u32> {
    let bytes = array.value().get(at * 4..(at + 1) * 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NlaBuffer;

    use super::*;
    use crate::kernel::{golden, link};

    fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Settings with these numbers, and flags.
    fn read(numbers: &[u32], flags: &[u8]) -> Result<Option<Inet6>, DecodeError> {
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let inner = [nla(IFLA_INET6_FLAGS, flags), nla(IFLA_INET6_CONF, &numbers)].concat();
        let spec = nla(26, &nla(AF_INET6, &inner));
        decode(&NlaBuffer::new(&spec[..]))
    }

    #[test]
    fn golden_settings() {
        let links = link::decode(&golden::advertised_links()).rows;
        let settings = |name: &str| links.iter().find(|link| link.name == name).unwrap().inet6;
        let heard = Inet6 { forwarding: true, force_forwarding: false, accept_ra: 2, heard_router: true };
        assert_eq!(settings("eth0"), Some(heard));
        let forced = Inet6 { forwarding: true, force_forwarding: true, accept_ra: 0, heard_router: false };
        assert_eq!(settings("forced"), Some(forced));
        assert_eq!(settings("without"), None, "its MTU is less than IPv6 needs");
    }

    #[test]
    fn an_older_kernel_has_no_way_to_force() {
        let older = [1, 64, 1500, 1];
        let expected = Inet6 { forwarding: true, accept_ra: 1, ..Inet6::default() };
        assert_eq!(read(&older, &[0; 4]).unwrap(), Some(expected));
    }

    #[test]
    fn settings_cut_short_are_malformed_and_flags_unknown() {
        assert!(read(&[1, 64, 1500], &[0; 4]).is_err());
        assert_eq!(read(&[0; 60], &[0x20]).unwrap(), Some(Inet6::default()));
        assert!(read(&[0; 60], &0x30_u32.to_ne_bytes()).unwrap().unwrap().heard_router);
    }

    #[test]
    fn a_negative_accept_ra_is_not_a_large_one() {
        assert_eq!(read(&[0, 64, 1500, u32::MAX], &[0; 4]).unwrap().unwrap().accept_ra, -1);
    }
}
