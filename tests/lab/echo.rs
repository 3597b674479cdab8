//! The lab's own witness: ICMP requests that are never fragmented on their way out, and what is heard of them.
//!
//! It is written apart from the agent's prober, so that a fault of one cannot hide in the other.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

use crate::family::Family;
use crate::namespace::Namespace;
use crate::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(1);
const ICMP_HEADER: usize = 8;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// To whom.
    pub to: IpAddr,
    /// Its size in bytes, IP header included.
    pub size: u32,
    /// What it asks for.
    pub question: Question,
    /// How many hops it may take, if not the usual number.
    pub ttl: Option<u8>,
    /// Whether a path MTU that the kernel remembers is obeyed, as by most programs' packets.
    pub by_memory: bool,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The same bytes back.
    Echo,
    /// The time, which comes in 40 bytes however large the request was. Only IPv4 has it.
    Timestamp,
}

/// What was heard of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer. If it came in pieces, the size of the largest.
    Answer {
        /// In bytes, IP header included.
        fragment: Option<u32>,
    },
    /// Frag Needed or Packet Too Big.
    TooBig {
        /// Who said so.
        by: IpAddr,
        /// What it said.
        mtu: u32,
    },
    /// Its hops were used up.
    Expired {
        /// Where.
        by: IpAddr,
    },
    /// Another error.
    Refused {
        /// Who sent it.
        by: IpAddr,
    },
    /// The kernel did not send it.
    NotSent(io::ErrorKind),
    /// Nothing within a second.
    Silence,
}

impl Ask {
    /// An echo request.
    pub fn echo(to: impl Into<IpAddr>, size: u32) -> Self {
        Self { to: to.into(), size, question: Question::Echo, ttl: None, by_memory: false }
    }

    /// A timestamp request.
    pub fn timestamp(to: impl Into<IpAddr>, size: u32) -> Self {
        Self { question: Question::Timestamp, ..Self::echo(to, size) }
    }

    /// The same with fewer hops.
    #[must_use]
    pub const fn within(self, hops: u8) -> Self {
        Self { ttl: Some(hops), ..self }
    }

    /// Sends it, and says what is heard first.
    ///
    /// # Errors
    /// If no socket can be had, or not read from.
    pub fn from(self, namespace: &Namespace) -> Result<Heard> {
        self.heard(namespace, |_| true)
    }

    /// Sends it, and says what is heard first of what is `wanted`.
    fn heard(self, namespace: &Namespace, wanted: fn(&Heard) -> bool) -> Result<Heard> {
        let failed = |error: io::Error| {
            Error::new(format!("sending {} B from {} to {}", self.size, namespace.name(), self.to), error)
        };
        namespace
            .inside(|| {
                let (socket, id) = (self.socket()?, next_id());
                match self.send(&socket, id) {
                    Ok(_) => self.listen(&socket, id, wanted),
                    Err(error) => Ok(Heard::NotSent(error.kind())),
                }
            })?
            .map_err(failed)
    }

    fn socket(&self) -> io::Result<Socket> {
        match self.to {
            IpAddr::V4(_) => {
                let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
                let probe = if self.by_memory { Ipv4PathMtuDiscovery::DO } else { Ipv4PathMtuDiscovery::PROBE };
                set_ip_mtu_discover(&socket, probe)?;
                tell_fragments(&socket, libc::IPPROTO_IP, libc::IP_RECVFRAGSIZE)?;
                self.ttl.map_or(Ok(()), |hops| socket.set_ttl_v4(hops.into()))?;
                Ok(socket)
            }
            IpAddr::V6(_) => {
                let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
                let probe = if self.by_memory { Ipv6PathMtuDiscovery::DO } else { Ipv6PathMtuDiscovery::PROBE };
                set_ipv6_mtu_discover(&socket, probe)?;
                setsockopt(&socket, sockopt::Ipv6DontFrag, &true)?;
                tell_fragments(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVFRAGSIZE)?;
                self.ttl.map_or(Ok(()), |hops| socket.set_unicast_hops_v6(hops.into()))?;
                Ok(socket)
            }
        }
    }

    fn send(&self, socket: &Socket, id: [u8; 2]) -> io::Result<usize> {
        let length = (self.size - Family::of(self.to).header()) as usize;
        let message = match (self.to, self.question) {
            (IpAddr::V4(_), Question::Echo) => request(id, length),
            (IpAddr::V4(_), Question::Timestamp) => message(13, id, length),
            // The kernel writes the checksum, which covers addresses that it chooses.
            (IpAddr::V6(_), _) => message(128, id, length),
        };
        socket.send_to(&message, &SocketAddr::new(self.to, 0).into())
    }

    fn listen(&self, socket: &Socket, id: [u8; 2], wanted: fn(&Heard) -> bool) -> io::Result<Heard> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Whoever was kept from running until then has heard what is there all the same.
            let is_over = left.is_zero();
            if is_over {
                socket.set_nonblocking(true)?;
            } else {
                socket.set_read_timeout(Some(left))?;
            }
            let heard = match receive(socket) {
                Ok(packet) => self.read(&packet, id).filter(wanted),
                Err(Errno::EAGAIN) if is_over => return Ok(Heard::Silence),
                Err(Errno::EAGAIN) => None,
                Err(errno) => return Err(errno.into()),
            };
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }

    fn read(&self, packet: &Packet, id: [u8; 2]) -> Option<Heard> {
        let is_ours = |message: &[u8]| message.get(4..6) == Some(&id);
        let by = packet.from;
        match (self.to, packet.message.first()?) {
            (IpAddr::V4(_), 0 | 14) | (IpAddr::V6(_), 129) => {
                let answer = is_ours(&packet.message) && by == self.to;
                answer.then_some(Heard::Answer { fragment: packet.fragment })
            }
            (to, _) => {
                let icmp = if to.is_ipv4() { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
                packet.error().filter(|_| packet.quoted(icmp).is_some_and(is_ours))
            }
        }
    }
}

/// Sends one echo request of `size` bytes (IP header included), whatever path MTU the kernel remembers.
///
/// # Errors
/// If no answer comes within a second, or the kernel does not send.
pub fn ping(from: &Namespace, to: impl Into<IpAddr>, size: u32) -> Result<()> {
    answered(from, Ask::echo(to, size))
}

/// As [`ping`], but a path MTU that the kernel remembers is obeyed: what most programs' packets do.
///
/// # Errors
/// If no answer comes within a second, or the kernel does not send.
pub fn ping_by_memory(from: &Namespace, to: impl Into<IpAddr>, size: u32) -> Result<()> {
    answered(from, Ask { by_memory: true, ..Ask::echo(to, size) })
}

/// Errors are no reason to stop listening: by the end of its patience the kernel has made of them what it makes.
fn answered(from: &Namespace, ask: Ask) -> Result<()> {
    match ask.heard(from, |heard| matches!(heard, Heard::Answer { .. }))? {
        Heard::Answer { .. } => Ok(()),
        other => {
            Err(Error::new(format!("sending {} B from {} to {}", ask.size, from.name(), ask.to), format!("{other:?}")))
        }
    }
}

/// An echo request of `length` bytes, its data all zero.
pub fn request(id: [u8; 2], length: usize) -> Vec<u8> {
    message(8, id, length)
}

pub(crate) fn message(kind: u8, id: [u8; 2], length: usize) -> Vec<u8> {
    let mut message = vec![0; length.max(ICMP_HEADER)];
    message[0] = kind;
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

pub(crate) fn next_id() -> [u8; 2] {
    static IDS: AtomicU16 = AtomicU16::new(1);
    IDS.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// Asks the kernel to tell the size of the largest fragment that a packet was put together from.
fn tell_fragments(socket: &Socket, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("an int is small");
    // SAFETY: the pointer is to an int that lives through the call, and the length is its own.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An ICMP message that came in.
pub(crate) struct Packet {
    pub(crate) from: IpAddr,
    pub(crate) message: Vec<u8>,
    fragment: Option<u32>,
}

impl Packet {
    /// What an error quotes of the packet that it is about, after its IP header, if that is of this protocol.
    pub(crate) fn quoted(&self, expected: i32) -> Option<&[u8]> {
        let quoted = self.message.get(ICMP_HEADER..)?;
        let (protocol, header) = match self.from {
            IpAddr::V4(_) => (*quoted.get(9)?, usize::from(quoted[0] & 0xf) * 4),
            IpAddr::V6(_) => (*quoted.get(6)?, 40),
        };
        (i32::from(protocol) == expected).then(|| quoted.get(header..))?
    }

    /// What is said about the packet that is quoted, if this is an error.
    pub(crate) fn error(&self) -> Option<Heard> {
        let by = self.from;
        Some(match (by, *self.message.first()?, *self.message.get(1)?) {
            (IpAddr::V4(_), 3, 4) => Heard::TooBig { by, mtu: self.number(6, 2) },
            (IpAddr::V6(_), 2, _) => Heard::TooBig { by, mtu: self.number(4, 4) },
            (IpAddr::V4(_), 11, _) | (IpAddr::V6(_), 3, _) => Heard::Expired { by },
            (IpAddr::V4(_), 3, _) | (IpAddr::V6(_), 1, _) => Heard::Refused { by },
            _ => return None,
        })
    }

    fn number(&self, at: usize, length: usize) -> u32 {
        let bytes = self.message.get(at..at + length).unwrap_or_default();
        bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
    }
}

pub(crate) fn receive(socket: &Socket) -> std::result::Result<Packet, Errno> {
    let (mut bytes, mut control) = ([0; 256], nix::cmsg_space!(libc::c_int));
    let mut buffer = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer, Some(&mut control), MsgFlags::empty())?;
    let fragment = message.cmsgs()?.find_map(|told| match told {
        ControlMessageOwned::Unknown(told) => told.data_bytes.get(..4)?.try_into().ok().map(u32::from_ne_bytes),
        _ => None,
    });
    let address = message.address.ok_or(Errno::EINVAL)?;
    let length = message.bytes;
    Ok(match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(from), _) => {
            let header = usize::from(bytes[0] & 0xf) * 4;
            let message = bytes[..length].get(header..).unwrap_or_default().to_vec();
            Packet { from: from.ip().into(), message, fragment }
        }
        (_, Some(from)) => Packet { from: from.ip().into(), message: bytes[..length].to_vec(), fragment },
        _ => return Err(Errno::EAFNOSUPPORT),
    })
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
