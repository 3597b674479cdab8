//! UDP sockets, one for each source port that probes leave from.
//!
//! A route over several equal-cost next hops is chosen by ports, here as on every router, and the kernel looks them up in
//! the socket: so each port has a socket of its own that is bound to it. They are opened when a port is first used, and
//! the one used longest ago makes room, so that source ports can rotate while few sockets are open. Nothing is read from
//! them: answers come as ICMP errors, to the raw sockets where there are some, else to these sockets' own queues.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Instant;

use futures_util::future::select_all;
use nix::sys::socket::sockopt::Ipv6DontFrag;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use probes::prober::Datagram;
use probes::units::Family;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::ping;
use super::sockets::{LOST, errno, is_lost, watch};

/// Most sockets open at a time.
const OPEN: usize = 64;

/// Open sockets, the one used longest ago first.
#[derive(Debug, Default)]
pub(super) struct Ports {
    open: Vec<(Family, u16, Port)>,
    hear: bool,
}

#[derive(Debug)]
struct Port {
    socket: Socket,
    /// The same socket, where errors are read from its queue.
    ear: Option<AsyncFd<Socket>>,
}

impl Ports {
    /// Where no raw socket is handed the errors about what leaves from here.
    pub(super) const fn hearing_errors() -> Self {
        Self { open: Vec::new(), hear: true }
    }

    /// Waits for errors about what left. For ever where none can come.
    pub(super) async fn errors(&self, epoch: Instant) -> Vec<Datagram> {
        let ears = self.open.iter().filter_map(|(family, source, port)| Some(((*family, *source), port.ear.as_ref()?)));
        let all: Vec<_> = ears.map(|(port, ear)| Box::pin(ping::read_errors(ear, port, epoch))).collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        // A socket that is lost says so when it is used next.
        select_all(all).await.0.unwrap_or_default()
    }

    /// Sends a datagram from a source port. A socket that somebody destroyed is opened anew.
    pub(super) fn send(
        &mut self,
        source: u16,
        payload: &[IoSlice<'_>],
        to: SocketAddr,
        control: &[ControlMessage<'_>],
    ) -> io::Result<()> {
        match self.try_send(source, payload, to, control) {
            Err(error) if is_lost(errno(&error)) => {
                tracing::warn!(%error, source, "a socket for probes is lost and opened anew; {LOST}");
                self.open.retain(|&(of, port, _)| (of, port) != (Family::of(to.ip()), source));
                self.try_send(source, payload, to, control)
            }
            sent => sent,
        }
    }

    fn try_send(
        &mut self,
        source: u16,
        payload: &[IoSlice<'_>],
        to: SocketAddr,
        control: &[ControlMessage<'_>],
    ) -> io::Result<()> {
        let hears = self.hear;
        let socket = self.socket(Family::of(to.ip()), source)?;
        let to = SockaddrStorage::from(to);
        let send = || Ok(sendmsg(socket.as_raw_fd(), payload, control, MsgFlags::empty(), Some(&to)).map(drop)?);
        if hears { ping::insist(send) } else { send() }
    }

    fn socket(&mut self, family: Family, source: u16) -> io::Result<&Socket> {
        let known = self.open.iter().position(|&(of, port, _)| (of, port) == (family, source));
        let entry = match known {
            Some(index) => self.open.remove(index),
            None => (family, source, self.port(family, source)?),
        };
        if self.open.len() >= OPEN {
            self.open.remove(0);
        }
        self.open.push(entry);
        let (_, _, port) = &self.open[self.open.len() - 1];
        Ok(&port.socket)
    }

    fn port(&self, family: Family, source: u16) -> io::Result<Port> {
        let socket = bound(family, source)?;
        if !self.hear {
            return Ok(Port { socket, ear: None });
        }
        ping::hear_errors(&socket, family)?;
        let ear = watch(socket.try_clone()?).map_err(|unread| io::Error::other(unread.to_string()))?;
        Ok(Port { socket, ear: Some(ear) })
    }
}

/// A socket that is bound to a port, and is handed nothing. Two processes that probe may share a port: what comes back
/// is told apart by its cookie.
fn bound(family: Family, source: u16) -> io::Result<Socket> {
    let domain = if family == Family::Ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    let drop_everything = [SockFilter::new(0x06, 0, 0, 0)];
    socket.attach_filter(&drop_everything)?;
    socket.set_reuse_address(true)?;
    let any: IpAddr = match family {
        Family::Ipv4 => {
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
            Ipv4Addr::UNSPECIFIED.into()
        }
        Family::Ipv6 => {
            socket.set_only_v6(true)?;
            set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
            setsockopt(&socket, Ipv6DontFrag, &true)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    socket.bind(&SocketAddr::new(any, source).into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn sent(ports: &mut Ports, source: u16, listener: &UdpSocket) -> SocketAddr {
        let to = listener.local_addr().unwrap();
        ports.send(source, &[IoSlice::new(b"x"), IoSlice::new(b"y")], to, &[]).unwrap();
        let mut buffer = [0; 8];
        let (length, from) = listener.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"xy");
        from
    }

    #[test]
    fn a_datagram_leaves_from_the_port_that_was_asked_for() {
        let mut ports = Ports::default();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = UdpSocket::bind(address).unwrap();
            for source in [64_001, 64_002, 64_001] {
                assert_eq!(sent(&mut ports, source, &listener).port(), source);
            }
        }
        assert_eq!(ports.open.len(), 4);
    }

    #[test]
    fn ports_rotate_and_few_sockets_stay_open() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut ports = Ports::default();
        for source in 64_100..64_300 {
            assert_eq!(sent(&mut ports, source, &listener).port(), source);
        }
        assert_eq!(ports.open.len(), OPEN);
    }
}
