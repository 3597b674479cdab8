//! Packets that keep coming for as long as a fault lasts, so that counters keep rising, or a few that come once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::Broken;
use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::traffic::never_cut;
use crate::{Error, Result};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// A node sends UDP with a wrong checksum to node 0.
    WrongChecksums,
    /// A node sends UDP as it should be to node 0.
    RightChecksums,
    /// A node sends first fragments to node 0, and never the others.
    Pieces,
    /// A node sends datagrams to node 0 that have to be cut, all of their fragments.
    Whole,
    /// The pod of node 0 sends packets of its full size, which must not be cut, to a node's pod.
    FullSizeToPod,
    /// The same to a node's management address.
    FullSizeOut,
}

/// How far apart packets are that keep coming.
const PACE: Duration = Duration::from_millis(50);
/// Where datagrams go: nobody listens there, and wrong ones are counted all the same.
const PORT: u16 = 9;
/// Large enough to have to be cut anywhere.
const CUT: usize = 20_000;
/// As long as a fragment's payload may be anything that eight divides.
const PIECE: usize = 64;

/// Packets between a node and node 0: `times` of them at once, or without an end.
pub(super) fn sends(cluster: &Cluster, what: Sent, node: usize, times: Option<u32>) -> Result<Broken<'_>> {
    let failed = move |error: io::Error| Error::new(format!("sending {what:?}"), error);
    let (from, pairs) = ends(cluster, what, node)?;
    let size = cluster.recipe.overlay.map_or(cluster.recipe.underlay_mtu, |overlay| overlay.pod_mtu());
    let open = || pairs.iter().map(|&(own, to)| Mouth::open(what, own, to, size)).collect::<io::Result<Vec<_>>>();
    let mouths = from.inside(open)?.map_err(failed)?;
    if let Some(times) = times {
        for number in 0..times {
            mouths.iter().try_for_each(|mouth| mouth.send(number)).map_err(failed)?;
        }
        return Ok(Broken::default());
    }
    let stream = Stream::start(mouths);
    Ok(Broken::until(move || stream.end().map_err(failed)))
}

/// Who sends, and from which address to which, one pair a family.
fn ends(cluster: &Cluster, what: Sent, node: usize) -> Result<(&Namespace, Vec<(IpAddr, IpAddr)>)> {
    let recipe = &cluster.recipe;
    if !matches!(what, Sent::FullSizeToPod | Sent::FullSizeOut) {
        let pairs = recipe.underlay_addresses(node).into_iter().zip(recipe.underlay_addresses(0)).collect();
        return Ok((cluster.host(node), pairs));
    }
    let overlay = cluster.overlay()?;
    let pod = cluster.nodes[0].pod.as_ref().ok_or_else(|| Error::new("asking for a pod", "node 0 has none"))?;
    let to = if what == Sent::FullSizeOut { recipe.management_address(node) } else { overlay.pod_address(node) };
    Ok((pod, vec![(overlay.pod_address(0), to)]))
}

/// A socket, and what it sends.
struct Mouth {
    socket: Socket,
    what: Sent,
    from: IpAddr,
    to: SocketAddr,
    size: u32,
}

impl Mouth {
    fn open(what: Sent, from: IpAddr, to: IpAddr, size: u32) -> io::Result<Self> {
        let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let fragments =
            if to.is_ipv4() { Protocol::from(libc::IPPROTO_RAW) } else { Protocol::from(libc::IPPROTO_FRAGMENT) };
        let (socket, port) = match what {
            Sent::WrongChecksums => (Socket::new(domain, Type::RAW, Some(Protocol::UDP))?, 0),
            Sent::Pieces => (Socket::new(domain, Type::RAW, Some(fragments))?, 0),
            Sent::RightChecksums | Sent::Whole => (Socket::new(domain, Type::DGRAM, None)?, PORT),
            Sent::FullSizeToPod | Sent::FullSizeOut => (never_cut(0, SocketAddr::new(to, PORT))?.into(), PORT),
        };
        Ok(Self { socket, what, from, to: SocketAddr::new(to, port), size })
    }

    fn send(&self, number: u32) -> io::Result<()> {
        let bytes = match self.what {
            Sent::WrongChecksums => wrong_datagram(),
            Sent::RightChecksums => vec![0; PIECE],
            Sent::Whole => vec![0; CUT],
            Sent::Pieces => self.piece(number),
            Sent::FullSizeToPod | Sent::FullSizeOut => {
                let headers = if self.to.is_ipv4() { 28 } else { 48 };
                vec![0; self.size as usize - headers]
            }
        };
        match self.socket.send_to(&bytes, &self.to.into()) {
            // A node refuses the port now and then, and says so to the socket.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// The first fragment of a datagram of its own. IPv4 takes a whole packet, IPv6 its extension header.
    fn piece(&self, number: u32) -> Vec<u8> {
        let own = (number as u16).wrapping_add(1).to_be_bytes();
        match (self.from, self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut packet = first_of_four(own, from, to);
                packet.extend([0; PIECE]);
                packet
            }
            _ => {
                let mut packet = vec![libc::IPPROTO_UDP as u8, 0, 0, 1];
                packet.extend(number.to_be_bytes());
                packet.extend([0; PIECE]);
                packet
            }
        }
    }
}

/// An IPv4 header with "more fragments" set. The kernel fills in its checksum.
fn first_of_four(id: [u8; 2], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let length = (20 + PIECE as u16).to_be_bytes();
    let mut header = vec![0x45, 0, length[0], length[1], id[0], id[1], 0x20, 0, 64, libc::IPPROTO_UDP as u8, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

/// A datagram whose checksum is that of no datagram of zeros between any two hosts of the lab.
fn wrong_datagram() -> Vec<u8> {
    let [high, low] = PORT.to_be_bytes();
    let mut datagram = vec![high, low, high, low, 0, 8 + PIECE as u8, 0x12, 0x34];
    datagram.extend([0; PIECE]);
    datagram
}

/// Packets that keep coming until told otherwise.
struct Stream {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<u32>>,
}

impl Stream {
    fn start(mouths: Vec<Mouth>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !until.load(Ordering::Relaxed) {
                mouths.iter().try_for_each(|mouth| mouth.send(number))?;
                number += 1;
                thread::park_timeout(PACE);
            }
            Ok(number)
        });
        Self { ended, thread }
    }

    /// # Errors
    /// If something could not be sent, or nothing was.
    fn end(self) -> io::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        match self.thread.join() {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0)) => Err(io::Error::other("not one packet was sent, so nothing is proven")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the sender panicked")),
        }
    }
}
