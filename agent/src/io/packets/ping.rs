//! Sockets for pings: probing without a capability, where `net.ipv4.ping_group_range` holds one of this process's groups.
//!
//! The kernel hands such a socket the replies to its own identifier alone, without their IP header, and no error as a
//! packet: those wait in the socket's error queue, and only if it is asked for (`IP_RECVERR`). What is read there is made
//! a packet again ([`probes::wire::told`]), so that whoever decides sees no difference. Sockets for UDP do the same.
//!
//! The queue has a price that raw sockets are spared: the kernel also keeps the last error as the socket's own, and the
//! next call returns it, whatever it was about. When that is a packet to be sent, it is not sent. It is returned once, so
//! [`insist`] asks again: an error that is the packet's own comes every time.
//!
//! Identifiers are one number space for a machine's network namespaces and for both families; sockets that may share one
//! do, and a cookie tells whose a reply is.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6DontFrag, Ipv6RecvErr, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use probes::prober::Datagram;
use probes::units::{Family, Mono};
use probes::wire::told::{self, Sent, Told};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::options::{ReceiveFragmentSize, ReceiveFragmentSize6};
use super::sockets::{errno, is_lost};
use super::{BATCH, LARGEST, receive};

/// Wanted receive buffer; the kernel gives less where `net.core.rmem_max` is less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Times that a packet is tried whose error may be another's.
const TRIES: usize = 8;
/// The one message that such a socket sends, by family.
const ECHO: [u8; 2] = [8, 128];

/// A socket for pings with this identifier.
pub(super) fn open(family: Family, id: u16) -> io::Result<Socket> {
    let (domain, protocol) = match family {
        Family::Ipv4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::Ipv6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(protocol))?;
    let any: IpAddr = match family {
        Family::Ipv4 => {
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
            setsockopt(&socket, ReceiveFragmentSize, &true)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        Family::Ipv6 => {
            set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
            setsockopt(&socket, Ipv6DontFrag, &true)?;
            setsockopt(&socket, ReceiveFragmentSize6, &true)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    hear_errors(&socket, family)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(any, id).into())?;
    Ok(socket)
}

/// Has the errors about what a socket sends wait in its queue.
pub(super) fn hear_errors(socket: &Socket, family: Family) -> io::Result<()> {
    match family {
        Family::Ipv4 => setsockopt(socket, Ipv4RecvErr, &true)?,
        Family::Ipv6 => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// Whether such a socket can send this message.
pub(super) fn can_send(head: &[u8]) -> bool {
    head.first().is_some_and(|kind| ECHO.contains(kind))
}

/// Sends; asks again where the error may be about a packet that left before.
pub(super) fn insist<T>(mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match send() {
            Err(error) if is_of_icmp(errno(&error)) => {}
            outcome => return outcome,
        }
    }
    send()
}

/// The errors that an ICMP message becomes (`icmp_err_convert`, `icmpv6_err_convert`).
const fn is_of_icmp(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EMSGSIZE
            | Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ECONNREFUSED
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::EACCES
            | Errno::EPROTO
    )
}

/// Waits for replies and errors and takes one batch of each. For ever where there is no such socket.
pub(super) async fn read(
    socket: Option<&AsyncFd<Socket>>,
    family: Family,
    buffer: &mut [u8],
    epoch: Instant,
) -> io::Result<Vec<Datagram>> {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        let mut guard = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        let mut taken = errors(socket.get_ref(), family, None, buffer, epoch)?;
        match receive(socket.get_ref(), family, buffer, epoch) {
            Ok(replies) => taken.extend(replies.into_iter().map(as_raw)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            Err(error) if is_lost(errno(&error)) => return Err(error),
            // The last error once more, which the queue has told.
            Err(_) => {}
        }
        if !taken.is_empty() {
            return Ok(taken);
        }
    }
}

/// Waits for errors about what left from a UDP port.
pub(super) async fn read_errors(
    socket: &AsyncFd<Socket>,
    (family, source): (Family, u16),
    epoch: Instant,
) -> io::Result<Vec<Datagram>> {
    let mut buffer = [0; 2048];
    loop {
        let mut guard = socket.ready(Interest::ERROR).await?;
        let taken = errors(socket.get_ref(), family, Some(source), &mut buffer, epoch)?;
        if !taken.is_empty() {
            return Ok(taken);
        }
        // What it keeps as its own is told by the queue, and is no packet's.
        socket.get_ref().take_error()?;
        guard.clear_ready();
    }
}

/// What waits in an error queue, at most one batch. `source` is the port of a socket for UDP.
fn errors(
    socket: &Socket,
    family: Family,
    source: Option<u16>,
    buffer: &mut [u8],
    epoch: Instant,
) -> io::Result<Vec<Datagram>> {
    let room = buffer.len().min(LARGEST);
    let mut taken = Vec::new();
    for _ in 0..BATCH {
        let mut slices = [IoSliceMut::new(&mut buffer[..room])];
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6, libc::timespec, libc::c_int);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let at = Mono::new(epoch.elapsed());
        let Some((kind, by)) = message.cmsgs().ok().and_then(|mut all| all.find_map(complaint)) else { continue };
        let Some(to) = message.address.as_ref().and_then(|address| sent_to(address, family)) else { continue };
        let bytes = message.bytes;
        let quoted = message.iovs().next().map(|whole| &whole[..bytes.min(whole.len())]).unwrap_or_default();
        let sent = source.map_or(Sent::Icmp(quoted), |source| Sent::Udp { source, payload: quoted });
        let told = Told { by, kind: kind.ee_type, code: kind.ee_code, mtu: kind.ee_info, to, sent };
        taken.push(Datagram { from: by, bytes: told::error(&told), at, waited: None, fragment: None });
    }
    Ok(taken)
}

/// An error that a packet told, and who sent that. What the kernel here says of itself, the call that failed has said.
fn complaint(control: ControlMessageOwned) -> Option<(libc::sock_extended_err, IpAddr)> {
    match control {
        ControlMessageOwned::Ipv4RecvErr(error, Some(by)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
            Some((error, IpAddr::from(by.sin_addr.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(by)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
            Some((error, IpAddr::from(by.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

fn sent_to(address: &SockaddrStorage, family: Family) -> Option<SocketAddr> {
    match family {
        Family::Ipv4 => address.as_sockaddr_in().map(|to| SocketAddr::new(to.ip().into(), to.port())),
        Family::Ipv6 => address.as_sockaddr_in6().map(|to| SocketAddr::new(to.ip().into(), to.port())),
    }
}

/// A reply as a raw socket would have given it.
fn as_raw(reply: Datagram) -> Datagram {
    match reply.from {
        IpAddr::V4(from) => Datagram { bytes: told::reply(from, &reply.bytes), ..reply },
        IpAddr::V6(_) => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_another_packet_left_behind_is_asked_about_again() {
        let mut outcomes = vec![Ok(3), Err(Errno::EHOSTUNREACH), Err(Errno::EMSGSIZE)];
        let mut send = || outcomes.pop().expect("not asked that often").map_err(io::Error::from);
        assert_eq!(insist(&mut send).unwrap(), 3);
        assert!(outcomes.is_empty());
    }

    #[test]
    fn an_error_that_stays_is_the_packets_own_and_others_are_not_asked_about() {
        let refused = |refusal: Errno| {
            let mut asked = 0;
            let outcome = insist(|| {
                asked += 1;
                Err::<(), _>(refusal.into())
            });
            (errno(&outcome.unwrap_err()), asked)
        };
        assert_eq!(refused(Errno::EMSGSIZE), (Errno::EMSGSIZE, TRIES));
        assert_eq!(refused(Errno::EAGAIN), (Errno::EAGAIN, 1), "later means later");
    }

    #[test]
    fn echo_is_all_that_leaves() {
        assert!(can_send(&[8, 0]) && can_send(&[128, 0]));
        assert!(!can_send(&[13, 0]) && !can_send(&[]), "a timestamp request");
    }
}
