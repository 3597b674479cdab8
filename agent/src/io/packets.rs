//! Packets out and in: an ICMP socket for each family, a UDP socket for each source port, TCP attempts.
//!
//! - The ICMP sockets are raw ones where `CAP_NET_RAW` is held, else those for pings, if the machine allows them ([`ping`]).
//! - The kernel builds the IP header; `IP_PMTUDISC_PROBE` sets DF and ignores cached path MTUs, and IPv6 needs
//!   `IPV6_DONTFRAG` besides. No `IP_RECVERR` on raw sockets: with
//!   it, the error of one destination is returned by the next send to another, and that packet is not sent.
//! - [`filter`](super::filter) is attached first, and what came before it is thrown away.
//! - Batches: when `sendmmsg` stops at a message, the next call returns that message's error, which is reported, and
//!   sending goes on behind it. `EAGAIN` and `ENOBUFS` say "later" and are no answer: the rest waits here.
//! - The kernel stamps packets when they come in, so a busy machine's delay is not taken for the network's.
//!
//! - A socket that is lost is opened anew, at once and then once a second; until it is there, every packet is reported as
//!   not sent, so that the paths are unknown and no peer is called silent.
//!
//! [`Packets::recv`] keeps all state in `self` and does not wait between taking something out of the kernel and
//! returning it: it can be dropped at any time, as `select!` does.

mod options;
mod ping;
mod ports;
mod sockets;
mod taps;

pub(super) use sockets::{bind_packets, watch};

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
};
use nix::sys::time::TimeSpec;
use probes::fact::Unread;
use probes::kernel::LinkIndex;
use probes::prober::{Datagram, Identity, Means, Sent, Transmit, TransmitId, Wire};
use probes::units::{Family, IpSize, Mono};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinError, JoinSet};

use super::connect;
use options::{IP_RECVFRAGSIZE, IPV6_RECVFRAGSIZE};
use sockets::{LOST, Sockets, errno, is_lost};
use taps::Taps;

/// Packets handed over in one system call.
const BATCH: usize = 32;
/// The largest packet.
const LARGEST: usize = IpSize::MAX.bytes() as usize;
/// Pause after a device's queue or a UDP socket's buffer was full: nothing says when it no longer is.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);
/// Least time between two openings of sockets.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// A stamp older than this is a wall clock that was set.
const STAMP_LIMIT: Duration = Duration::from_secs(10);
/// Padding of every probe.
static ZEROS: [u8; LARGEST] = [0; LARGEST];

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Packets.
    pub datagrams: Vec<Datagram>,
    /// How TCP attempts went, and what became of transmits that had to wait.
    pub sent: Vec<(TransmitId, Sent)>,
}

impl Received {
    fn of_attempt(outcome: Result<(TransmitId, Sent), JoinError>) -> Self {
        Self { datagrams: Vec::new(), sent: outcome.into_iter().collect() }
    }
}

/// The sockets that probes leave and come back by.
#[derive(Debug)]
pub struct Packets {
    sockets: Option<Sockets>,
    /// When they were last opened, or that was last tried.
    opened: tokio::time::Instant,
    identity: Identity,
    tunnel_ports: BTreeSet<u16>,
    taps: Taps,
    epoch: Instant,
    backlog: VecDeque<Transmit>,
    held_up: Option<HeldUp>,
    attempts: JoinSet<(TransmitId, Sent)>,
    buffer: Vec<u8>,
    buffer6: Vec<u8>,
    tapped: Vec<u8>,
}

/// Why the backlog waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldUp {
    /// The ICMP socket's buffer is full.
    Icmp(Family),
    /// A device's queue or a UDP socket's buffer is full.
    Until(tokio::time::Instant),
}

impl Packets {
    /// Opens the sockets for probes with this ICMP identifier and these source ports. Needs a tokio runtime with I/O and
    /// time. `epoch` is where the driver's clock starts: [`Datagram::at`] is the time since then.
    ///
    /// # Errors
    /// Denied without `CAP_NET_RAW` where sockets for pings are not allowed either; failed, with operation and error, for
    /// anything else.
    pub fn open(identity: Identity, epoch: Instant) -> Result<Self, Unread> {
        let sockets = Sockets::open(identity.id, identity.first_port, BTreeSet::new())?;
        Ok(Self {
            sockets: Some(sockets),
            opened: tokio::time::Instant::now(),
            identity,
            tunnel_ports: BTreeSet::new(),
            taps: Taps::default(),
            epoch,
            backlog: VecDeque::new(),
            held_up: None,
            attempts: JoinSet::new(),
            buffer: vec![0; BATCH * LARGEST],
            buffer6: vec![0; BATCH * LARGEST],
            tapped: vec![0; BATCH * LARGEST],
        })
    }

    /// By what probes would leave; `None` where they could not.
    pub fn could_leave_by(net_raw: bool) -> Option<Wire> {
        let by_pings = || ping::open(Family::Ipv4, 0).ok().map(|_| Wire::Ping);
        if net_raw { Some(Wire::Raw) } else { by_pings() }
    }

    /// By what probes leave.
    pub fn wire(&self) -> Wire {
        self.sockets.as_ref().map_or(Wire::Raw, |sockets| sockets.wire)
    }

    /// Errors about UDP packets to these ports come in from here on: tunnels' outer packets.
    ///
    /// # Errors
    /// If the kernel does not take the filter; the one before stays.
    pub fn watch_tunnel_ports(&mut self, ports: &[u16]) -> Result<(), Unread> {
        self.tunnel_ports = ports.iter().copied().collect();
        self.sockets.as_mut().map_or(Ok(()), |sockets| sockets.watch_tunnel_ports(&self.tunnel_ports))
    }

    /// What comes out of these tunnels is looked at before this machine's filters see it.
    pub fn tap(&mut self, links: &[LinkIndex]) {
        self.taps.set(links, self.identity.id);
    }

    /// Sends, as far as the kernel takes it, and says what became of each. What has to wait, and how TCP attempts
    /// went, comes from [`Self::recv`].
    pub fn send(&mut self, transmits: Vec<Transmit>) -> Vec<(TransmitId, Sent)> {
        self.backlog.extend(transmits);
        if self.held_up.is_some() { Vec::new() } else { self.flush() }
    }

    /// Waits until something comes in. Can be dropped at any time.
    pub async fn recv(&mut self) -> Received {
        loop {
            let received = self.wait().await;
            if received != Received::default() {
                return received;
            }
        }
    }

    async fn wait(&mut self) -> Received {
        let held_up = self.held_up;
        let queue = async move {
            match held_up {
                Some(HeldUp::Until(at)) => tokio::time::sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        let reopen = self.opened + REOPEN_PAUSE;
        let Some(sockets) = &self.sockets else {
            tokio::select! {
                Some(outcome) = self.attempts.join_next() => return Received::of_attempt(outcome),
                () = tokio::time::sleep_until(reopen) => {
                    self.reopen();
                    return self.retry();
                }
            }
        };
        let (icmp, icmp6) = (&sockets.icmp, sockets.icmp6.as_ref());
        let wire = sockets.wire;
        tokio::select! {
            received = read(wire, Some(icmp), Family::Ipv4, &mut self.buffer, self.epoch) => self.take(received),
            received = read(wire, icmp6, Family::Ipv6, &mut self.buffer6, self.epoch) => self.take(received),
            datagrams = sockets.udp.errors(self.epoch) => Received { datagrams, sent: Vec::new() },
            received = self.taps.read(&mut self.tapped, self.epoch) => self.take(received),
            Some(outcome) = self.attempts.join_next() => Received::of_attempt(outcome),
            _ = icmp.writable(), if held_up == Some(HeldUp::Icmp(Family::Ipv4)) => self.retry(),
            () = writable(icmp6), if held_up == Some(HeldUp::Icmp(Family::Ipv6)) => self.retry(),
            () = queue => self.retry(),
        }
    }

    fn take(&mut self, received: io::Result<Vec<Datagram>>) -> Received {
        match received {
            Ok(datagrams) => Received { datagrams, sent: Vec::new() },
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                Received::default()
            }
            Err(error) => {
                self.lose(&error);
                self.retry()
            }
        }
    }

    fn retry(&mut self) -> Received {
        Received { datagrams: Vec::new(), sent: self.flush() }
    }

    fn flush(&mut self) -> Vec<(TransmitId, Sent)> {
        self.held_up = None;
        let mut sent = Vec::new();
        while let Some(first) = self.backlog.front()
            && self.held_up.is_none()
        {
            match &first.means {
                Means::Icmp { .. } if self.wire() == Wire::Ping && !can_ping(first) => {
                    sent.push((first.id, Sent::Unsupported));
                    self.backlog.pop_front();
                }
                Means::Icmp { .. } => self.flush_icmp(&mut sent),
                Means::Udp { .. } => self.flush_udp(&mut sent),
                Means::Tcp { timeout } => {
                    let (id, to, from, timeout) = (first.id, first.to, first.from, *timeout);
                    self.attempts.spawn(async move { (id, connect::attempt(to, from, timeout).await) });
                    sent.push((id, Sent::Ok));
                    self.backlog.pop_front();
                }
            }
        }
        sent
    }

    /// The socket is of no use any more.
    fn lose(&mut self, error: &io::Error) {
        tracing::warn!(%error, "a socket for probes is lost and opened anew; {LOST}");
        self.sockets = None;
        if self.opened.elapsed() >= REOPEN_PAUSE {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        self.opened = tokio::time::Instant::now();
        match Sockets::open(self.identity.id, self.identity.first_port, self.tunnel_ports.clone()) {
            Ok(sockets) => self.sockets = Some(sockets),
            Err(unread) => tracing::warn!(%unread, "no path is probed; it is tried again every second"),
        }
    }

    /// Sends the ICMP packets at the front, at most one batch. A batch has one family, one source and one time to live.
    fn flush_icmp(&mut self, sent: &mut Vec<(TransmitId, Sent)>) {
        let Some(sockets) = &self.sockets else { return self.not_sent(Errno::ENOTCONN, sent) };
        let Some(first) = self.backlog.front() else { return };
        let (family, manner) = (Family::of(first.to.ip()), Manner::of(first));
        let Some(socket) = sockets.of(family) else { return self.not_sent(Errno::EAFNOSUPPORT, sent) };
        let alike = |transmit: &&Transmit| Family::of(transmit.to.ip()) == family && Manner::of(transmit) == manner;
        let is_ping = sockets.wire == Wire::Ping;
        let packet = |transmit| icmp(transmit).filter(|_| !is_ping || can_ping(transmit));
        let batch: Vec<_> = self.backlog.iter().take_while(alike).map_while(packet).take(BATCH).collect();
        let send = || try_send(socket, |icmp| send_batch(icmp, &batch, manner));
        match if is_ping { ping::insist(send) } else { send() } {
            Ok(count) => sent.extend(self.backlog.drain(..count).map(|transmit| (transmit.id, Sent::Ok))),
            Err(error) => self.on_error(&error, HeldUp::Icmp(family), sent),
        }
    }

    fn flush_udp(&mut self, sent: &mut Vec<(TransmitId, Sent)>) {
        let Some(sockets) = &mut self.sockets else { return self.not_sent(Errno::ENOTCONN, sent) };
        let Some(transmit) = self.backlog.front() else { return };
        let Means::Udp { source, head, padding } = &transmit.means else { return };
        let (family, source) = (Family::of(transmit.to.ip()), *source);
        let slices = [IoSlice::new(head), IoSlice::new(padded(*padding))];
        let control = Control::new(Manner::of(transmit), family);
        let outcome = sockets.udp.send(source, &slices, transmit.to, &control.messages());
        match outcome {
            Ok(()) => {
                sent.push((transmit.id, Sent::Ok));
                self.backlog.pop_front();
            }
            // Opened anew and lost again: the next packet may have better luck.
            Err(error) if is_lost(errno(&error)) => self.not_sent(errno(&error), sent),
            Err(error) => self.on_error(&error, HeldUp::soon(), sent),
        }
    }

    /// The packet at the front was not sent.
    fn on_error(&mut self, error: &io::Error, full: HeldUp, sent: &mut Vec<(TransmitId, Sent)>) {
        match errno(error) {
            Errno::EAGAIN => self.held_up = Some(full),
            Errno::ENOBUFS => self.held_up = Some(HeldUp::soon()),
            Errno::EINTR => {}
            errno if is_lost(errno) => self.lose(error),
            errno => self.not_sent(errno, sent),
        }
    }

    fn not_sent(&mut self, errno: Errno, sent: &mut Vec<(TransmitId, Sent)>) {
        sent.extend(self.backlog.pop_front().map(|transmit| (transmit.id, Sent::Failed(errno as i32))));
    }
}

/// Sends at once. Where the socket's buffer is full, tries once more in a way that makes tokio forget that the socket
/// was writable, so that waiting for it waits for news.
fn try_send<T>(socket: &AsyncFd<Socket>, send: impl Fn(&Socket) -> io::Result<T>) -> io::Result<T> {
    match send(socket.get_ref()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.try_io(Interest::WRITABLE, send),
        other => other,
    }
}

impl HeldUp {
    fn soon() -> Self {
        Self::Until(tokio::time::Instant::now() + QUEUE_FULL_PAUSE)
    }
}

/// In what manner packets leave: what control messages say of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Manner {
    from: Option<IpAddr>,
    ttl: Option<u8>,
}

impl Manner {
    fn of(transmit: &Transmit) -> Self {
        Self { from: transmit.from, ttl: transmit.ttl }
    }
}

/// What control messages point to. A packet whose source is named (`IP_PKTINFO`, `IPV6_PKTINFO`) is routed as one from
/// there.
struct Control {
    family: Family,
    hops: Option<libc::c_int>,
    source: Option<libc::in_pktinfo>,
    source6: Option<libc::in6_pktinfo>,
}

impl Control {
    /// Room for the messages and no more: the kernel takes what is left over for a message that is broken.
    fn space(&self) -> Option<Vec<u8>> {
        let source = match self.family {
            Family::Ipv4 => self.source.map(|_| nix::cmsg_space!(libc::in_pktinfo).capacity()),
            Family::Ipv6 => self.source6.map(|_| nix::cmsg_space!(libc::in6_pktinfo).capacity()),
        };
        let hops = self.hops.map(|_| nix::cmsg_space!(libc::c_int).capacity());
        let space = source.unwrap_or(0) + hops.unwrap_or(0);
        (space > 0).then(|| Vec::with_capacity(space))
    }

    fn new(manner: Manner, family: Family) -> Self {
        let (source, source6) = match manner.from {
            Some(IpAddr::V4(from)) => {
                let address = |octets| libc::in_addr { s_addr: u32::from_ne_bytes(octets) };
                let (spec, any) = (address(from.octets()), address([0; 4]));
                (Some(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec, ipi_addr: any }), None)
            }
            Some(IpAddr::V6(from)) => {
                let address = libc::in6_addr { s6_addr: from.octets() };
                (None, Some(libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 }))
            }
            None => (None, None),
        };
        Self { family, hops: manner.ttl.map(libc::c_int::from), source, source6 }
    }

    fn messages(&self) -> Vec<ControlMessage<'_>> {
        let (source, hops) = match self.family {
            Family::Ipv4 => (
                self.source.as_ref().map(ControlMessage::Ipv4PacketInfo),
                self.hops.as_ref().map(ControlMessage::Ipv4Ttl),
            ),
            Family::Ipv6 => (
                self.source6.as_ref().map(ControlMessage::Ipv6PacketInfo),
                self.hops.as_ref().map(ControlMessage::Ipv6HopLimit),
            ),
        };
        source.into_iter().chain(hops).collect()
    }
}

/// One ICMP packet: its bytes, gathered, and where to.
type Packet<'a> = ([IoSlice<'a>; 2], Option<SockaddrStorage>);

fn icmp(transmit: &Transmit) -> Option<Packet<'_>> {
    let Means::Icmp { head, padding } = &transmit.means else { return None };
    Some(([IoSlice::new(head), IoSlice::new(padded(*padding))], Some(SockaddrStorage::from(transmit.to))))
}

fn can_ping(transmit: &Transmit) -> bool {
    matches!(&transmit.means, Means::Icmp { head, .. } if ping::can_send(head))
}

/// So many zeros, and no more than any packet holds.
fn padded(padding: u32) -> &'static [u8] {
    &ZEROS[..LARGEST.min(padding as usize)]
}

/// How many packets the kernel took, or the error of the first.
fn send_batch(icmp: &Socket, batch: &[Packet<'_>], manner: Manner) -> io::Result<usize> {
    let Some(&(_, Some(first))) = batch.first() else { return Err(Errno::EAFNOSUPPORT.into()) };
    let family = if first.as_sockaddr_in6().is_some() { Family::Ipv6 } else { Family::Ipv4 };
    let control = Control::new(manner, family);
    let (space, control) = (control.space(), control.messages());
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(batch.len(), space);
    let addresses: Vec<_> = batch.iter().map(|&(_, to)| to).collect();
    let slices = batch.iter().map(|(slices, _)| slices);
    let sent = sendmmsg(icmp.as_raw_fd(), &mut headers, slices, addresses, control, MsgFlags::empty())?;
    Ok(sent.count())
}

/// Waits for packets and takes one batch. For ever where there is no such socket.
async fn read(
    wire: Wire,
    socket: Option<&AsyncFd<Socket>>,
    family: Family,
    buffer: &mut [u8],
    epoch: Instant,
) -> io::Result<Vec<Datagram>> {
    if wire == Wire::Ping {
        return ping::read(socket, family, buffer, epoch).await;
    }
    let Some(socket) = socket else { return std::future::pending().await };
    let mut guard = socket.readable().await?;
    match guard.try_io(|socket| receive(socket.get_ref(), family, buffer, epoch)) {
        Ok(received) => received,
        Err(_) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

async fn writable(socket: Option<&AsyncFd<Socket>>) {
    match socket {
        // An error of waiting is one of sending, which says so itself.
        Some(socket) => _ = socket.writable().await,
        None => std::future::pending().await,
    }
}

/// One batch of what is there.
fn receive(icmp: &Socket, family: Family, buffer: &mut [u8], epoch: Instant) -> io::Result<Vec<Datagram>> {
    let space = nix::cmsg_space!(TimeSpec, libc::c_int);
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(space));
    let mut slices: Vec<_> = buffer.chunks_exact_mut(LARGEST).map(|chunk| [IoSliceMut::new(chunk)]).collect();
    let messages = recvmmsg(icmp.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::empty(), None)?;
    let (at, wall) = (Mono::new(epoch.elapsed()), SystemTime::now());
    Ok(messages.filter_map(|message| datagram(&message, family, at, wall)).collect())
}

fn datagram(
    message: &RecvMsg<'_, '_, SockaddrStorage>,
    family: Family,
    at: Mono,
    wall: SystemTime,
) -> Option<Datagram> {
    let from = sender(message.address.as_ref()?, family);
    let bytes = message.iovs().next()?.to_vec();
    let (mut waited_for, mut fragment) = (None, None);
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::ScmTimestampns(stamp) => waited_for = waited(Duration::from(stamp), wall),
            ControlMessageOwned::Unknown(control) => {
                let kind = (control.cmsg_header.cmsg_level, control.cmsg_header.cmsg_type);
                fragment = fragment_size(kind, &control.data_bytes).or(fragment);
            }
            _ => {}
        }
    }
    Some(Datagram { from, bytes, at, waited: waited_for, fragment })
}

/// Who sent a packet, as the socket says; a tap does not, and says so by nobody's address.
fn sender(address: &SockaddrStorage, family: Family) -> IpAddr {
    let four = address.as_sockaddr_in().map(|from| IpAddr::V4(from.ip()));
    let six = address.as_sockaddr_in6().map(|from| IpAddr::V6(from.ip()));
    match family {
        Family::Ipv4 => four.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        Family::Ipv6 => six.unwrap_or(Ipv6Addr::UNSPECIFIED.into()),
    }
}

/// The largest fragment that a packet came in, an IP packet itself. It is told of packets that came in fragments.
fn fragment_size(kind: (i32, i32), bytes: &[u8]) -> Option<IpSize> {
    let told = [(libc::IPPROTO_IP, IP_RECVFRAGSIZE), (libc::IPPROTO_IPV6, IPV6_RECVFRAGSIZE)];
    let size = bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).filter(|&size| size > 0);
    size.filter(|_| told.contains(&kind)).map(IpSize::new)
}

/// How long ago the kernel stamped a packet; `None` if the wall clock was set meanwhile.
fn waited(stamp: Duration, wall: SystemTime) -> Option<Duration> {
    let wall = wall.duration_since(UNIX_EPOCH).ok()?;
    wall.checked_sub(stamp).filter(|&waited| waited < STAMP_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets whose sockets are lost for the time being.
    fn lost() -> Packets {
        let opened = tokio::time::Instant::now();
        Packets {
            sockets: None,
            opened,
            identity: Identity { id: 1, secret: 1, first_port: 61_440 },
            tunnel_ports: BTreeSet::new(),
            taps: Taps::default(),
            epoch: Instant::now(),
            backlog: VecDeque::new(),
            held_up: None,
            attempts: JoinSet::new(),
            buffer: vec![0; BATCH * LARGEST],
            buffer6: vec![0; BATCH * LARGEST],
            tapped: vec![0; BATCH * LARGEST],
        }
    }

    #[tokio::test]
    async fn without_sockets_every_packet_is_reported_and_tcp_goes_on() {
        let mut packets = lost();
        let to = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let means = [
            Means::Icmp { head: vec![8; 16], padding: 0 },
            Means::Udp { source: 61_440, head: vec![0], padding: 0 },
            Means::Tcp { timeout: Duration::from_secs(60) },
        ];
        let transmits = (0..)
            .zip(means)
            .map(|(id, means)| Transmit { id: TransmitId(id), to, from: None, ttl: None, means })
            .collect();
        let failed = Sent::Failed(Errno::ENOTCONN as i32);
        let sent = packets.send(transmits);
        assert_eq!(sent, [(TransmitId(0), failed), (TransmitId(1), failed), (TransmitId(2), Sent::Ok)]);
        assert_eq!(packets.recv().await.sent, [(TransmitId(2), Sent::TcpAnswered)]);
    }

    #[test]
    fn a_stamp_is_believed_only_while_the_clocks_agree() {
        let wall = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(waited(Duration::from_millis(99_998), wall), Some(Duration::from_millis(2)));
        assert_eq!(waited(Duration::from_secs(101), wall), None, "stamped in the future");
        assert_eq!(waited(Duration::from_secs(50), wall), None, "stamped long ago");
    }

    #[test]
    fn padding_beyond_any_packet_is_cut() {
        let transmit = |to: &str, padding| Transmit {
            id: TransmitId(1),
            to: to.parse().unwrap(),
            from: None,
            ttl: None,
            means: Means::Icmp { head: vec![8; 16], padding },
        };
        for to in ["10.0.0.12:0", "[fd00::2]:0"] {
            let transmit = transmit(to, u32::MAX);
            assert_eq!(icmp(&transmit).map(|([head, padding], _)| (head.len(), padding.len())), Some((16, LARGEST)));
        }
    }

    #[test]
    fn a_packet_that_came_whole_has_no_fragment_size() {
        let four = (libc::IPPROTO_IP, IP_RECVFRAGSIZE);
        assert_eq!(fragment_size(four, &1396u32.to_ne_bytes()), Some(IpSize::new(1396)));
        assert_eq!(fragment_size(four, &0u32.to_ne_bytes()), None);
        assert_eq!(fragment_size((libc::IPPROTO_IP, libc::IP_TTL), &64u32.to_ne_bytes()), None);
        assert_eq!(fragment_size(four, &[1]), None);
    }

    #[test]
    fn a_manner_says_source_and_time_to_live_in_the_family_of_the_packet() {
        let kinds = |manner: Manner, family| Control::new(manner, family).messages().len();
        let both = Manner { from: Some([10, 0, 0, 11].into()), ttl: Some(1) };
        assert_eq!(kinds(both, Family::Ipv4), 2);
        assert_eq!(kinds(both, Family::Ipv6), 1, "an IPv4 source names none of an IPv6 packet");
        assert_eq!(kinds(Manner { from: None, ttl: None }, Family::Ipv4), 0);
    }
}
