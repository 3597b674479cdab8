//! Taps on tunnel devices: what comes out of a tunnel, before this machine's filters see it.
//!
//! The answer to a packet that was encapsulated here is nothing that connection tracking has asked for, so it calls it
//! invalid, and many hosts drop what is invalid before a raw socket is handed it. A packet socket on the tunnel is handed
//! it first. It is opened only where answers were missed, and its filter keeps everything else in the kernel.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Instant;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use probes::kernel::LinkIndex;
use probes::prober::Datagram;
use probes::units::Family;
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::super::filter;
use super::receive;
use super::sockets::{bind_to_link, watch};

/// Open taps.
#[derive(Debug, Default)]
pub(super) struct Taps {
    open: BTreeMap<(LinkIndex, Family), AsyncFd<Socket>>,
}

impl Taps {
    /// Taps these links and no others. What cannot be tapped is logged: its answers stay missed, and the node says so.
    pub(super) fn set(&mut self, links: &[LinkIndex], id: u16) {
        self.open.retain(|(link, _), _| links.contains(link));
        for &link in links {
            for family in [Family::Ipv4, Family::Ipv6] {
                if self.open.contains_key(&(link, family)) {
                    continue;
                }
                match open(link, family, id) {
                    Ok(tap) => _ = self.open.insert((link, family), tap),
                    Err(error) => tracing::warn!(%error, link = link.0, "a tunnel cannot be tapped; check CAP_NET_RAW"),
                }
            }
        }
    }

    /// Waits for packets and takes one batch. For ever where nothing is tapped.
    pub(super) async fn read(&self, buffer: &mut [u8], epoch: Instant) -> io::Result<Vec<Datagram>> {
        poll_fn(|context| {
            for (&(_, family), tap) in &self.open {
                // Only a tap that was asked and is not ready wakes whoever waits: one that turns out to be empty is asked
                // again.
                while let Poll::Ready(guard) = tap.poll_read_ready(context) {
                    match guard?.try_io(|tap| receive(tap.get_ref(), family, buffer, epoch)) {
                        Ok(Ok(datagrams)) => {
                            return Poll::Ready(Ok(datagrams.into_iter().filter_map(inside).collect()));
                        }
                        // A link that went away takes nobody along.
                        Ok(Err(_)) => return Poll::Ready(Ok(Vec::new())),
                        Err(_empty) => {}
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn open(link: LinkIndex, family: Family, id: u16) -> io::Result<AsyncFd<Socket>> {
    // No protocol yet: nothing is handed to it before it is bound and filtered.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
    let program: Vec<_> =
        filter::tap(id, family).iter().map(|i| SockFilter::new(i.code, i.when, i.unless, i.k)).collect();
    socket.attach_filter(&program)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    bind_to_link(&socket, link, family)?;
    watch(socket).map_err(|unread| io::Error::other(unread.to_string()))
}

/// A packet as a raw socket of its family would have given it: from the ICMPv6 header on for IPv6.
fn inside(packet: Datagram) -> Option<Datagram> {
    if packet.bytes.first()? >> 4 == 4 {
        let source: [u8; 4] = *packet.bytes.get(12..)?.first_chunk()?;
        return Some(Datagram { from: source.into(), ..packet });
    }
    let source: [u8; 16] = *packet.bytes.get(8..)?.first_chunk()?;
    let bytes = packet.bytes.get(40..)?.to_vec();
    Some(Datagram { from: source.into(), bytes, ..packet })
}

#[cfg(test)]
mod tests {
    use probes::units::Mono;

    use super::*;

    fn packet(bytes: Vec<u8>) -> Datagram {
        let from = std::net::Ipv4Addr::UNSPECIFIED.into();
        Datagram { from, bytes, at: Mono::default(), waited: None, fragment: None }
    }

    #[tokio::test]
    async fn a_packet_that_comes_while_it_is_waited_for_is_woken_for() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let to = socket.local_addr().unwrap().as_socket().unwrap();
        let mut taps = Taps::default();
        taps.open.insert((LinkIndex(1), Family::Ipv4), watch(socket).unwrap());
        let (sender, mut buffer) = (std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), vec![0; 1 << 21]);
        for _ in 0..3 {
            let wait = taps.read(&mut buffer, Instant::now());
            // Sent right after the tap was asked for the first time, and nothing else wakes this task.
            let send = async { sender.send_to(&[0x45; 28], to).unwrap() };
            let both = async { tokio::join!(wait, send).0 };
            // The time is asked first, so that it does not help whoever slept through the packet.
            let read = tokio::select! {
                biased;
                () = tokio::time::sleep(std::time::Duration::from_secs(20)) => panic!("nobody was woken"),
                read = both => read,
            };
            assert_eq!(read.unwrap().len(), 1);
        }
    }

    #[test]
    fn a_packet_is_given_on_as_a_raw_socket_would() {
        let mut four = vec![0x45; 28];
        four[12..16].copy_from_slice(&[10, 244, 2, 0]);
        let given = inside(packet(four.clone())).unwrap();
        assert_eq!((given.from.to_string(), given.bytes), ("10.244.2.0".into(), four));
        let mut six = vec![0x60; 48];
        six[8..24].copy_from_slice(&"fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        six[40] = 129;
        let given = inside(packet(six)).unwrap();
        assert_eq!((given.from.to_string(), given.bytes[0], given.bytes.len()), ("fd00::2".into(), 129, 8));
        assert!(inside(packet(vec![0x45; 10])).is_none() && inside(packet(Vec::new())).is_none());
    }
}
