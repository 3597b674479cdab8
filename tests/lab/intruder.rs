//! Somebody on the wire who forges what the prober waits for.
//!
//! An intruder sees every packet of its namespace and answers each echo request that it sees with something made up, as
//! long as it lives. It counts what it sent: a test in which nothing was forged proves nothing.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::echo::checksum;
use crate::namespace::Namespace;
use crate::{Error, Result};

const IP_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;
const ECHO_REQUEST: u8 = 8;
/// An intruder marks its own packets with this time to live, and never answers them.
const MARK: u8 = 199;

/// What is forged for each echo request seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// A Frag Needed from this address to the sender, quoting the request, with this MTU.
    FragNeeded {
        /// The alleged hop.
        from: Ipv4Addr,
        /// The alleged MTU in bytes.
        mtu: u16,
    },
    /// The same by somebody who does not see the request and guesses its id.
    GuessedFragNeeded {
        /// The alleged hop.
        from: Ipv4Addr,
        /// The alleged MTU in bytes.
        mtu: u16,
    },
    /// An echo reply in the name of the destination: right id and sequence, but none of the request's data.
    Reply,
    /// The same request, byte for byte after the IP header, sent to a third host, which answers it.
    SameIdElsewhere {
        /// The sender.
        from: Ipv4Addr,
        /// The third host.
        to: Ipv4Addr,
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
        let (wire, mouth) = namespace.inside(sockets)?.map_err(|error| Error::new("opening an intruder", error))?;
        let (ended, forged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, count) = (Arc::clone(&ended), Arc::clone(&forged));
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let sent = request(&wire).is_some_and(|packet| send(&mouth, &forge(&packet, forgery)));
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
    pub sender: Ipv4Addr,
    /// Who is told.
    pub victim: Ipv4Addr,
    /// From where to where the packet is said to have gone.
    pub quoted: (Ipv4Addr, Ipv4Addr),
    /// The alleged MTU in bytes.
    pub mtu: u16,
}

/// Sends it, once.
///
/// # Errors
/// If no socket can be had, or the kernel does not send.
pub fn claim(from: &Namespace, TooBig { sender, victim, quoted, mtu }: TooBig) -> Result<()> {
    let reply = packet(quoted.0, quoted.1, vec![0; ICMP_HEADER]);
    let error = packet(sender, victim, frag_needed(&reply, mtu));
    let said = from.inside(|| {
        let mouth = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        mouth.send_to(&error, &SocketAddrV4::new(victim, 0).into())
    })?;
    said.map(drop).map_err(|error| Error::new("forging an error", error))
}

/// A socket that hears every IP packet of the namespace, and one that sends packets with headers of our own.
fn sockets() -> io::Result<(Socket, Socket)> {
    let every_packet = i32::from(u16::try_from(libc::ETH_P_ALL).expect("a protocol number").to_be());
    let wire = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(every_packet)))?;
    wire.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mouth = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    Ok((wire, mouth))
}

/// The next echo request on the wire that is not an intruder's, `None` if it is something else or there is none.
fn request(wire: &Socket) -> Option<Vec<u8>> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let length = wire.recv(&mut buffer).ok()?;
    // SAFETY: the kernel has filled the first `length` bytes of the buffer.
    let packet = unsafe { buffer[..length].assume_init_ref() };
    let echo = length >= IP_HEADER + ICMP_HEADER
        && packet[0] == 0x45
        && packet[8] != MARK
        && packet[9] == 1
        && packet[IP_HEADER] == ECHO_REQUEST;
    echo.then(|| packet.to_vec())
}

fn forge(request: &[u8], forgery: Forgery) -> Vec<u8> {
    let (source, destination) = (address(request, 12), address(request, 16));
    match forgery {
        Forgery::FragNeeded { from, mtu } => packet(from, source, frag_needed(request, mtu)),
        Forgery::GuessedFragNeeded { from, mtu } => {
            let mut message = frag_needed(request, mtu);
            message[ICMP_HEADER + IP_HEADER + 4] ^= 0xff;
            packet(from, source, message)
        }
        Forgery::Reply => {
            let mut message = vec![0; request.len() - IP_HEADER];
            message[4..ICMP_HEADER].copy_from_slice(&request[IP_HEADER + 4..IP_HEADER + ICMP_HEADER]);
            packet(destination, source, message)
        }
        Forgery::SameIdElsewhere { from, to } => packet(from, to, request[IP_HEADER..].to_vec()),
    }
}

/// Type 3, code 4, with the request's IP header and first eight bytes.
fn frag_needed(request: &[u8], mtu: u16) -> Vec<u8> {
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&request[..IP_HEADER + ICMP_HEADER]);
    message
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

/// An IPv4 packet around an ICMP message; the kernel fills in length and header checksum.
fn packet(from: Ipv4Addr, to: Ipv4Addr, mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, MARK, 1, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet
}

fn send(mouth: &Socket, packet: &[u8]) -> bool {
    mouth.send_to(packet, &SocketAddrV4::new(address(packet, 16), 0).into()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo;

    fn seen() -> Vec<u8> {
        packet(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), echo::request([0xab, 0xcd], 64))
    }

    #[test]
    fn a_forged_error_quotes_what_was_seen() {
        let hop = Ipv4Addr::new(10, 0, 0, 254);
        let forged = forge(&seen(), Forgery::FragNeeded { from: hop, mtu: 576 });
        assert_eq!((address(&forged, 12), address(&forged, 16)), (hop, Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(forged[IP_HEADER..IP_HEADER + 2], [3, 4]);
        assert_eq!(forged[IP_HEADER + 6..IP_HEADER + 8], 576_u16.to_be_bytes());
        assert_eq!(forged[IP_HEADER + ICMP_HEADER..], seen()[..IP_HEADER + ICMP_HEADER]);
        assert_eq!(checksum(&forged[IP_HEADER..]), [0, 0]);
    }

    #[test]
    fn a_forged_reply_has_the_id_and_the_name_but_not_the_data() {
        let forged = forge(&seen(), Forgery::Reply);
        assert_eq!(address(&forged, 12), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!((forged[IP_HEADER], &forged[IP_HEADER + 4..IP_HEADER + 6]), (0, &[0xab, 0xcd][..]));
    }
}
