//! What a device does in the kernel's place, switched as `ethtool -K` does.

use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use socket2::{Domain, Socket, Type};

use super::Broken;
use crate::namespace::Namespace;
use crate::{Error, Result};

/// `ETHTOOL_STXCSUM` of `linux/ethtool.h`.
const SET_TRANSMIT_CHECKSUMS: u32 = 0x17;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Lets a link finish the checksums of what it sends, or makes the kernel do it.
pub(super) fn transmit_checksums(namespace: &Namespace, link: &str, on: bool) -> Result<()> {
    let doing = || format!("switching checksum offload of {link} in {}", namespace.name());
    namespace.inside(|| set(link, on))?.map_err(|error| Error::new(doing(), error))
}

/// Switches it until it is healed, which switches it back.
pub(super) fn switched<'c>(namespace: &'c Namespace, link: &str, on: bool) -> Result<Broken<'c>> {
    transmit_checksums(namespace, link, on)?;
    let link = link.to_owned();
    Ok(Broken::until(move || transmit_checksums(namespace, &link, !on)))
}

fn set(link: &str, on: bool) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let mut value = Value { command: SET_TRANSMIT_CHECKSUMS, data: on.into() };
    // SAFETY: every field of the structure is a number or a pointer, and may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if link.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value that it points to live through the call and have the layout that it expects.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
