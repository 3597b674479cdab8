//! A witness that packs VXLAN by itself: a request in a UDP datagram of our own making, which the peer's kernel unpacks and
//! answers through its tunnel. Its outer size is exact and its source port is chosen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::cluster::Cluster;
use crate::echo::{Heard, checksum, message, next_id, receive};
use crate::family::Family;
use crate::recipe::Tunnel;
use crate::traffic::never_cut;
use crate::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(1);
/// How long one of two sockets is listened to before the other has its turn.
const TURN: Duration = Duration::from_millis(20);
/// UDP, VXLAN and inner Ethernet.
const BETWEEN: u32 = 8 + 8 + 14;

/// A request from node 0 to a peer's tunnel address.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    /// The peer.
    pub peer: usize,
    /// The family of the inner packet, which chooses the tunnel.
    pub family: Family,
    /// The source port of the outer packet.
    pub port: u16,
    /// The size of the outer packet in bytes, IP header included.
    pub size: u32,
}

impl Packed {
    /// Sends it, and says what is heard first: the answer to what is inside, or an error about the outer packet.
    ///
    /// # Errors
    /// If the recipe has no such tunnel, or no socket can be had.
    pub fn send(self, cluster: &Cluster) -> Result<Heard> {
        let overlay = cluster.overlay()?;
        let tunnel = overlay
            .tunnel_of(self.family)
            .ok_or_else(|| Error::new("choosing a tunnel", format!("none carries {:?}", self.family)))?;
        let (id, to) = (next_id(), overlay.address_of(self.family, self.peer, 0));
        let payload = self.payload(cluster, &tunnel, id)?;
        let target = SocketAddr::new(cluster.recipe.underlay_of(tunnel.over, self.peer), tunnel.port);
        let heard = cluster.host(0).inside(|| {
            let ears = [raw(self.family)?, raw(tunnel.over)?];
            let mouth = never_cut(self.port, target)?;
            match mouth.send_to(&payload, target) {
                Ok(_) => self.listen(&ears, to, id),
                Err(error) => Ok(Heard::NotSent(error.kind())),
            }
        })?;
        heard.map_err(|error| Error::new(format!("sending {self:?}"), error))
    }

    fn listen(&self, [answers, errors]: &[Socket; 2], to: IpAddr, id: [u8; 2]) -> io::Result<Heard> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let answer = heard(answers)?.filter(|packet| packet.from == to && packet.message.get(4..6) == Some(&id));
            if answer.is_some_and(|packet| matches!(packet.message[0], 0 | 14 | 129)) {
                return Ok(Heard::Answer { fragment: None });
            }
            let is_ours = |quoted: &[u8]| quoted.get(..2) == Some(&self.port.to_be_bytes()[..]);
            let error = heard(errors)?.filter(|packet| packet.quoted(libc::IPPROTO_UDP).is_some_and(is_ours));
            if let Some(error) = error.and_then(|packet| packet.error()) {
                return Ok(error);
            }
        }
        Ok(Heard::Silence)
    }

    fn payload(&self, cluster: &Cluster, tunnel: &Tunnel, id: [u8; 2]) -> Result<Vec<u8>> {
        let overlay = cluster.overlay()?;
        let [from, to] = [0, self.peer].map(|node| overlay.address_of(self.family, node, 0));
        let length = self.size - tunnel.over.header() - BETWEEN;
        let vni = tunnel.vni.to_be_bytes();
        let mut payload = vec![8, 0, 0, 0, vni[1], vni[2], vni[3], 0];
        for node in [self.peer, 0] {
            payload.extend(mac(&overlay.mac_of(tunnel, node))?);
        }
        payload.extend(if from.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        payload.extend(inner(from, to, id, length as usize));
        Ok(payload)
    }
}

fn raw(family: Family) -> io::Result<Socket> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_read_timeout(Some(TURN))?;
    Ok(socket)
}

fn heard(ear: &Socket) -> io::Result<Option<crate::echo::Packet>> {
    match receive(ear) {
        Ok(packet) => Ok(Some(packet)),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// A timestamp request, or an echo request of IPv6, which has no other.
fn inner(from: IpAddr, to: IpAddr, id: [u8; 2], length: usize) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => inner_of_four(from, to, &message(13, id, length - 20)),
        (IpAddr::V6(from), IpAddr::V6(to)) => inner_of_six(from, to, message(128, id, length - 40)),
        _ => unreachable!("both ends of a tunnel have addresses of one family"),
    }
}

fn inner_of_four(from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let [high, low] = size(20 + message.len());
    let mut head = [&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, 1, 0, 0], &from.octets()[..], &to.octets()].concat();
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum);
    [&head, message].concat()
}

fn inner_of_six(from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let [high, low] = size(message.len());
    message[2..4].fill(0);
    let addresses = [from.octets(), to.octets()].concat();
    let sum = checksum(&[&addresses[..], &[0, 0, high, low, 0, 0, 0, 58], &message].concat());
    message[2..4].copy_from_slice(&sum);
    [&[0x60, 0, 0, 0, high, low, 58, 64], &addresses[..], &message].concat()
}

fn size(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("no packet is larger").to_be_bytes()
}

fn mac(text: &str) -> Result<Vec<u8>> {
    let byte = |digits| u8::from_str_radix(digits, 16);
    let bytes: std::result::Result<Vec<_>, _> = text.split(':').map(byte).collect();
    bytes.map_err(|error| Error::new(format!("reading the hardware address {text}"), error))
}
