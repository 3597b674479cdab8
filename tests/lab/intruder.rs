//! Somebody on the wire who forges what the prober waits for.
//!
//! An intruder sees every packet of its namespace and answers each echo request that it sees with something made up, as
//! long as it lives. It counts what it sent: a test in which nothing was forged proves nothing.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::echo::checksum;
use crate::family::Family;
use crate::namespace::Namespace;
use crate::{Error, Result};

/// Lengths of IP headers.
const FOUR: usize = 20;
const SIX: usize = 40;
const ICMP_HEADER: usize = 8;
const ECHO_REPLY_OF_SIX: u8 = 129;
/// An intruder marks its own packets with this time to live, and never answers them.
const MARK: u8 = 199;

/// What is forged for each echo request seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// A Frag Needed (Packet Too Big) from this address to the sender, quoting the request, with this MTU.
    FragNeeded {
        /// The alleged hop.
        from: IpAddr,
        /// The alleged MTU in bytes.
        mtu: u16,
    },
    /// The same by somebody who does not see the request and guesses its id.
    GuessedFragNeeded {
        /// The alleged hop.
        from: IpAddr,
        /// The alleged MTU in bytes.
        mtu: u16,
    },
    /// An echo reply in the name of the destination: right id and sequence, but none of the request's data.
    Reply,
    /// The same request, byte for byte after the IP header, sent to a third host, which answers it.
    SameIdElsewhere {
        /// The sender.
        from: IpAddr,
        /// The third host.
        to: IpAddr,
    },
}

/// Somebody at work. It ends with this value.
#[derive(Debug)]
pub struct Intruder {
    ended: Arc<AtomicBool>,
    forged: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Intruder {
    /// Sets one to work in a namespace.
    ///
    /// # Errors
    /// If its sockets cannot be opened.
    pub fn start(namespace: &Namespace, forgery: Forgery) -> Result<Self> {
        let (wire, mouths) = namespace.inside(sockets)?.map_err(|error| Error::new("opening an intruder", error))?;
        let (ended, forged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, count) = (Arc::clone(&ended), Arc::clone(&forged));
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let sent = request(&wire).is_some_and(|packet| send(&mouths, &forge(&packet, forgery)));
                count.fetch_add(usize::from(sent), Ordering::Relaxed);
            }
        });
        Ok(Self { ended, forged, thread: Some(thread) })
    }

    /// Ends its work and says how much it forged.
    ///
    /// # Errors
    /// If it forged nothing.
    pub fn end(mut self) -> Result<usize> {
        self.join();
        match self.forged.load(Ordering::Relaxed) {
            0 => Err(Error::new("forging", "not one packet was forged, so nothing is proven")),
            forged => Ok(forged),
        }
    }

    fn join(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // A thread that panicked has forged nothing more, and the count says so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        self.join();
    }
}

/// One Frag Needed about a packet that never was: an echo reply, the kind that the kernel believes on its word alone.
#[derive(Clone, Copy, Debug)]
pub struct TooBig {
    /// Who says so.
    pub sender: IpAddr,
    /// Who is told.
    pub victim: IpAddr,
    /// From where to where the packet is said to have gone.
    pub quoted: (IpAddr, IpAddr),
    /// The alleged MTU in bytes.
    pub mtu: u16,
}

/// Sends it, once.
///
/// # Errors
/// If no socket can be had, or the kernel does not send.
pub fn claim(from: &Namespace, TooBig { sender, victim, quoted, mtu }: TooBig) -> Result<()> {
    let mut reply = vec![0; ICMP_HEADER];
    reply[0] = if quoted.0.is_ipv4() { 0 } else { ECHO_REPLY_OF_SIX };
    let error = packet(sender, victim, frag_needed(&packet(quoted.0, quoted.1, reply), mtu));
    let said = from.inside(|| mouth(Family::of(victim))?.send_to(&error, &SocketAddr::new(victim, 0).into()))?;
    said.map(drop).map_err(|error| Error::new("forging an error", error))
}

/// A socket that sends packets with headers of our own.
fn mouth(family: Family) -> io::Result<Socket> {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
}

/// A socket that hears every IP packet of the namespace, and one for each family that sends.
fn sockets() -> io::Result<(Socket, [Socket; 2])> {
    let every_packet = i32::from(u16::try_from(libc::ETH_P_ALL).expect("a protocol number").to_be());
    let wire = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(every_packet)))?;
    wire.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok((wire, [mouth(Family::V4)?, mouth(Family::V6)?]))
}

/// The next echo request on the wire that is not an intruder's, `None` if it is something else or there is none.
fn request(wire: &Socket) -> Option<Vec<u8>> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let length = wire.recv(&mut buffer).ok()?;
    // SAFETY: the kernel has filled the first `length` bytes of the buffer.
    let packet = unsafe { buffer[..length].assume_init_ref() };
    is_request(packet).then(|| packet.to_vec())
}

fn is_request(packet: &[u8]) -> bool {
    let Some(family) = family(packet) else { return false };
    let (hops, protocol, icmp, echo) = match family {
        Family::V4 => (8, 9, 1, 8),
        Family::V6 => (7, 6, 58, 128),
    };
    packet.len() >= header(packet) + ICMP_HEADER
        && packet[hops] != MARK
        && packet[protocol] == icmp
        && packet[header(packet)] == echo
}

fn forge(request: &[u8], forgery: Forgery) -> Vec<u8> {
    let (source, destination) = addresses(request);
    match forgery {
        Forgery::FragNeeded { from, mtu } => packet(from, source, frag_needed(request, mtu)),
        Forgery::GuessedFragNeeded { from, mtu } => {
            let mut message = frag_needed(request, mtu);
            message[ICMP_HEADER + header(request) + 4] ^= 0xff;
            packet(from, source, message)
        }
        Forgery::Reply => {
            let header = header(request);
            let mut message = vec![0; request.len() - header];
            message[0] = if source.is_ipv4() { 0 } else { ECHO_REPLY_OF_SIX };
            message[4..ICMP_HEADER].copy_from_slice(&request[header + 4..header + ICMP_HEADER]);
            packet(destination, source, message)
        }
        Forgery::SameIdElsewhere { from, to } => packet(from, to, request[header(request)..].to_vec()),
    }
}

/// Frag Needed or Packet Too Big, with the request's IP header and first eight bytes.
fn frag_needed(request: &[u8], mtu: u16) -> Vec<u8> {
    let kind = if header(request) == FOUR { [3, 4] } else { [2, 0] };
    let mut message = [&kind[..], &[0; 4], &mtu.to_be_bytes()].concat();
    message.extend(&request[..header(request) + ICMP_HEADER]);
    message
}

fn family(packet: &[u8]) -> Option<Family> {
    match packet.first()? {
        0x45 => Some(Family::V4),
        first if first >> 4 == 6 => Some(Family::V6),
        _ => None,
    }
}

/// The length of a packet's IP header.
fn header(packet: &[u8]) -> usize {
    if family(packet) == Some(Family::V6) { SIX } else { FOUR }
}

/// Source and destination.
fn addresses(packet: &[u8]) -> (IpAddr, IpAddr) {
    if header(packet) == FOUR {
        let four = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]).into();
        return (four(12), four(16));
    }
    let six = |at: usize| {
        let bytes: [u8; 16] = packet[at..at + 16].try_into().expect("sixteen bytes were cut out");
        Ipv6Addr::from(bytes).into()
    };
    (six(8), six(24))
}

/// An IP packet around an ICMP message. The kernel fills in length and header checksum of IPv4, and nothing of IPv6.
fn packet(from: IpAddr, to: IpAddr, mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let length = u16::try_from(message.len()).expect("no message is larger than a packet");
    let (head, seen_by_checksum) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            ([&[0x45, 0, 0, 0, 0, 0, 0, 0, MARK, 1, 0, 0], &from.octets()[..], &to.octets()].concat(), Vec::new())
        }
        (from, to) => {
            let [from, to] = [from, to].map(octets_of_six);
            let [high, low] = length.to_be_bytes();
            let head = [&[0x60, 0, 0, 0, high, low, 58, MARK], &from[..], &to].concat();
            (head, [&from[..], &to, &[0, 0, high, low, 0, 0, 0, 58]].concat())
        }
    };
    let sum = checksum(&[&seen_by_checksum[..], &message].concat());
    message[2..4].copy_from_slice(&sum);
    [head, message].concat()
}

fn octets_of_six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn send([four, six]: &[Socket; 2], packet: &[u8]) -> bool {
    let (_, to) = addresses(packet);
    let mouth = if to.is_ipv4() { four } else { six };
    mouth.send_to(packet, &SocketAddr::new(to, 0).into()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo;

    fn seen(family: Family) -> Vec<u8> {
        let [from, to] = [1, 2].map(|host| match family {
            Family::V4 => IpAddr::from([10, 0, 0, host]),
            Family::V6 => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host.into()]),
        });
        let mut request = echo::request([0xab, 0xcd], 64);
        request[0] = if from.is_ipv4() { 8 } else { 128 };
        packet(from, to, request)
    }

    #[test]
    fn a_forged_error_quotes_what_was_seen() {
        for (family, hop, kind) in [(Family::V4, "10.0.0.254", 3), (Family::V6, "fd00::fe", 2)] {
            let (seen, hop) = (seen(family), hop.parse().unwrap());
            let forged = forge(&seen, Forgery::FragNeeded { from: hop, mtu: 1300 });
            let message = &forged[header(&seen)..];
            assert_eq!(addresses(&forged), (hop, addresses(&seen).0));
            assert_eq!((message[0], &message[6..8]), (kind, &1300_u16.to_be_bytes()[..]));
            assert_eq!(message[ICMP_HEADER..], seen[..header(&seen) + ICMP_HEADER]);
        }
    }

    #[test]
    fn a_checksum_of_six_covers_the_addresses() {
        assert_eq!(checksum(&seen(Family::V4)[FOUR..]), [0, 0]);
        let seen = seen(Family::V6);
        let pseudo = [&seen[8..SIX], &[0, 0, 0, 64, 0, 0, 0, 58]].concat();
        assert_eq!(checksum(&[&pseudo[..], &seen[SIX..]].concat()), [0, 0]);
    }

    #[test]
    fn a_forged_reply_has_the_id_and_the_name_but_not_the_data() {
        for (family, kind) in [(Family::V4, 0), (Family::V6, 129)] {
            let seen = seen(family);
            let forged = forge(&seen, Forgery::Reply);
            assert_eq!(addresses(&forged), (addresses(&seen).1, addresses(&seen).0));
            let message = &forged[header(&seen)..];
            assert_eq!((message[0], &message[4..6]), (kind, &[0xab, 0xcd][..]));
        }
    }

    #[test]
    fn its_own_packets_are_left_alone() {
        let mut seen = seen(Family::V6);
        assert!(!is_request(&seen), "it bears the mark");
        seen[7] = 64;
        assert!(is_request(&seen));
    }
}
