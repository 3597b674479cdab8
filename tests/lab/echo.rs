//! The lab's own witness: ICMP echo that is never fragmented on its way out.
//!
//! It is written apart from the agent's prober, so that a fault of one cannot hide in the other.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;
use crate::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(1);
const IP_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;

/// Sends one echo request of `size` bytes (IP header included), whatever path MTU the kernel remembers.
///
/// # Errors
/// If no answer comes within a second, or the kernel does not send.
pub fn ping(from: &Namespace, to: Ipv4Addr, size: u32) -> Result<()> {
    witnessed(from, to, size, Ipv4PathMtuDiscovery::PROBE)
}

/// As [`ping`], but a path MTU that the kernel remembers is obeyed: what most programs' packets do.
///
/// # Errors
/// If no answer comes within a second, or the kernel does not send.
pub fn ping_by_memory(from: &Namespace, to: Ipv4Addr, size: u32) -> Result<()> {
    witnessed(from, to, size, Ipv4PathMtuDiscovery::DO)
}

fn witnessed(from: &Namespace, to: Ipv4Addr, size: u32, discovery: Ipv4PathMtuDiscovery) -> Result<()> {
    from.inside(|| echo(to, size as usize, discovery))?
        .map_err(|error| Error::new(format!("sending {size} B from {} to {to}", from.name()), error))
}

fn echo(to: Ipv4Addr, size: usize, discovery: Ipv4PathMtuDiscovery) -> io::Result<()> {
    static IDS: AtomicU16 = AtomicU16::new(1);
    let id = IDS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    set_ip_mtu_discover(&socket, discovery)?;
    let request = request(id, size - IP_HEADER);
    socket.send_to(&request, &SocketAddrV4::new(to, 0).into())?;
    await_reply(&socket, to, id)
}

/// An echo request of `length` bytes, its data all zero.
pub fn request(id: [u8; 2], length: usize) -> Vec<u8> {
    let mut message = vec![0; length.max(ICMP_HEADER)];
    message[0] = 8;
    message[4..6].copy_from_slice(&id);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// The Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let folded = u16::try_from(sum).expect("the carries are folded in");
    (!folded).to_be_bytes()
}

fn await_reply(socket: &Socket, from: Ipv4Addr, id: [u8; 2]) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [MaybeUninit::uninit(); 128];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within a second"));
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, source)) => {
                // SAFETY: the kernel has filled the first `length` bytes of the buffer.
                let packet = unsafe { buffer[..length].assume_init_ref() };
                let reply =
                    packet.get(IP_HEADER..).is_some_and(|icmp| icmp.len() >= 6 && icmp[0] == 0 && icmp[4..6] == id);
                if reply && source.as_socket_ipv4().is_some_and(|source| *source.ip() == from) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&request([0x12, 0x34], 64)), [0, 0]);
        assert_eq!(checksum(&[1]), (!0x0100_u16).to_be_bytes(), "an odd byte is padded with zero");
    }
}
