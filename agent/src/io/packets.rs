//! Packets out and in: one raw ICMP socket for all paths, one UDP socket, TCP attempts.
//!
//! - The kernel builds the IP header; `IP_PMTUDISC_PROBE` sets DF and ignores cached path MTUs. No `IP_RECVERR`: with
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

mod sockets;

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrStorage, recvmmsg,
    sendmmsg, sendmsg,
};
use nix::sys::time::TimeSpec;
use probes::fact::Unread;
use probes::prober::{Datagram, Means, Sent, Transmit, TransmitId};
use probes::units::{IpSize, Mono};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinError, JoinSet};

use super::connect;
use sockets::{Sockets, errno, is_lost};

/// Packets handed over in one system call.
const BATCH: usize = 32;
/// The largest packet.
const LARGEST: usize = IpSize::MAX.bytes() as usize;
/// Pause after a device's queue was full (`ENOBUFS`): nothing says when it no longer is.
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
    id: u16,
    tunnel_ports: BTreeSet<u16>,
    epoch: Instant,
    backlog: VecDeque<Transmit>,
    held_up: Option<HeldUp>,
    attempts: JoinSet<(TransmitId, Sent)>,
    buffer: Vec<u8>,
}

/// Why the backlog waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldUp {
    /// The ICMP socket's buffer is full.
    Icmp,
    /// The UDP socket's buffer is full.
    Udp,
    /// A device's queue is full.
    Until(tokio::time::Instant),
}

impl Packets {
    /// Opens the sockets for probes with this ICMP identifier. Needs a tokio runtime with I/O and time. `epoch` is
    /// where the driver's clock starts: [`Datagram::at`] is the time since then.
    ///
    /// # Errors
    /// Denied without `CAP_NET_RAW`; failed, with operation and error, for anything else.
    pub fn open(id: u16, epoch: Instant) -> Result<Self, Unread> {
        let sockets = Sockets::open(id, BTreeSet::new())?;
        Ok(Self {
            sockets: Some(sockets),
            opened: tokio::time::Instant::now(),
            id,
            tunnel_ports: BTreeSet::new(),
            epoch,
            backlog: VecDeque::new(),
            held_up: None,
            attempts: JoinSet::new(),
            buffer: vec![0; BATCH * LARGEST],
        })
    }

    /// Errors about UDP packets to these ports come in from here on: tunnels' outer packets.
    ///
    /// # Errors
    /// If the kernel does not take the filter; the one before stays.
    pub fn watch_tunnel_ports(&mut self, ports: &[u16]) -> Result<(), Unread> {
        self.tunnel_ports = ports.iter().copied().collect();
        self.sockets.as_mut().map_or(Ok(()), |sockets| sockets.watch_tunnel_ports(&self.tunnel_ports))
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
        tokio::select! {
            readable = sockets.icmp.readable() => {
                let Ok(mut guard) = readable else { return Received::default() };
                match guard.try_io(|icmp| receive(icmp.get_ref(), &mut self.buffer, self.epoch)) {
                    Ok(Ok(datagrams)) => Received { datagrams, sent: Vec::new() },
                    Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => {
                        self.lose(&error);
                        self.retry()
                    }
                    Ok(Err(_)) | Err(_) => Received::default(),
                }
            }
            Some(outcome) = self.attempts.join_next() => Received::of_attempt(outcome),
            _ = sockets.icmp.writable(), if held_up == Some(HeldUp::Icmp) => self.retry(),
            _ = sockets.udp.writable(), if held_up == Some(HeldUp::Udp) => self.retry(),
            () = queue => self.retry(),
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
        tracing::warn!(%error, "a socket for probes is lost and opened anew; check who destroys sockets here (ss -K)");
        self.sockets = None;
        if self.opened.elapsed() >= REOPEN_PAUSE {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        self.opened = tokio::time::Instant::now();
        match Sockets::open(self.id, self.tunnel_ports.clone()) {
            Ok(sockets) => self.sockets = Some(sockets),
            Err(unread) => tracing::warn!(%unread, "no path is probed; it is tried again every second"),
        }
    }

    /// Sends the ICMP packets at the front, at most one batch. A batch has one source.
    fn flush_icmp(&mut self, sent: &mut Vec<(TransmitId, Sent)>) {
        let Some(sockets) = &self.sockets else { return self.not_sent(Errno::ENOTCONN, sent) };
        let from = self.backlog.front().and_then(|first| first.from);
        let alike = self.backlog.iter().take_while(|transmit| transmit.from == from);
        let batch: Vec<_> = alike.map_while(icmp).take(BATCH).collect();
        match try_send(&sockets.icmp, |icmp| send_batch(icmp, &batch, from)) {
            Ok(count) => sent.extend(self.backlog.drain(..count).map(|transmit| (transmit.id, Sent::Ok))),
            Err(error) => self.on_error(&error, HeldUp::Icmp, sent),
        }
    }

    fn flush_udp(&mut self, sent: &mut Vec<(TransmitId, Sent)>) {
        let Some(sockets) = &self.sockets else { return self.not_sent(Errno::ENOTCONN, sent) };
        let Some(Transmit { id, to, from, means: Means::Udp { payload } }) = self.backlog.front() else { return };
        match try_send(&sockets.udp, |udp| send_udp(udp, payload, *to, *from)) {
            Ok(_) => {
                sent.push((*id, Sent::Ok));
                self.backlog.pop_front();
            }
            Err(error) => self.on_error(&error, HeldUp::Udp, sent),
        }
    }

    /// The packet at the front was not sent.
    fn on_error(&mut self, error: &io::Error, full: HeldUp, sent: &mut Vec<(TransmitId, Sent)>) {
        match errno(error) {
            Errno::EAGAIN => self.held_up = Some(full),
            Errno::ENOBUFS => self.held_up = Some(HeldUp::Until(tokio::time::Instant::now() + QUEUE_FULL_PAUSE)),
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

/// One ICMP packet: its bytes, gathered, and where to.
type Packet<'a> = ([IoSlice<'a>; 2], Option<SockaddrIn>);

fn icmp(transmit: &Transmit) -> Option<Packet<'_>> {
    let (Means::Icmp { head, padding }, SocketAddr::V4(to)) = (&transmit.means, transmit.to) else { return None };
    let padding = &ZEROS[..LARGEST.min(*padding as usize)];
    Some(([IoSlice::new(head), IoSlice::new(padding)], Some(SockaddrIn::from(to))))
}

/// How many packets the kernel took, or the error of the first.
fn send_batch(icmp: &Socket, batch: &[Packet<'_>], from: Option<IpAddr>) -> io::Result<usize> {
    if batch.is_empty() {
        return Err(Errno::EAFNOSUPPORT.into());
    }
    let source = from.and_then(source);
    let space = source.map(|_| nix::cmsg_space!(libc::in_pktinfo));
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(batch.len(), space);
    let addresses: Vec<_> = batch.iter().map(|&(_, to)| to).collect();
    let slices = batch.iter().map(|(slices, _)| slices);
    let control: Vec<_> = source.iter().map(ControlMessage::Ipv4PacketInfo).collect();
    let sent = sendmmsg(icmp.as_raw_fd(), &mut headers, slices, addresses, control, MsgFlags::empty())?;
    Ok(sent.count())
}

fn send_udp(udp: &Socket, payload: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<usize> {
    let source = from.and_then(source);
    let control: Vec<_> = source.iter().map(ControlMessage::Ipv4PacketInfo).collect();
    let to = SockaddrStorage::from(to);
    Ok(sendmsg(udp.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?)
}

/// The control message that names a packet's source: the packet is then routed as one from there (`IP_PKTINFO`).
fn source(from: IpAddr) -> Option<libc::in_pktinfo> {
    let IpAddr::V4(from) = from else { return None };
    let address = |octets| libc::in_addr { s_addr: u32::from_ne_bytes(octets) };
    Some(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address(from.octets()), ipi_addr: address([0; 4]) })
}

/// One batch of what is there.
fn receive(icmp: &Socket, buffer: &mut [u8], epoch: Instant) -> io::Result<Vec<Datagram>> {
    let space = nix::cmsg_space!(TimeSpec);
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, Some(space));
    let mut slices: Vec<_> = buffer.chunks_exact_mut(LARGEST).map(|chunk| [IoSliceMut::new(chunk)]).collect();
    let messages = recvmmsg(icmp.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::empty(), None)?;
    let (at, wall) = (Mono::new(epoch.elapsed()), SystemTime::now());
    Ok(messages.filter_map(|message| datagram(&message, at, wall)).collect())
}

fn datagram(message: &RecvMsg<'_, '_, SockaddrIn>, at: Mono, wall: SystemTime) -> Option<Datagram> {
    let from = IpAddr::V4(message.address?.ip());
    let bytes = message.iovs().next()?.to_vec();
    let stamps = message.cmsgs().into_iter().flatten();
    let stamp = stamps.filter_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        _ => None,
    });
    let waited = stamp.last().and_then(|stamp| waited(Duration::from(stamp), wall));
    Some(Datagram { from, bytes, at, waited })
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
            id: 1,
            tunnel_ports: BTreeSet::new(),
            epoch: Instant::now(),
            backlog: VecDeque::new(),
            held_up: None,
            attempts: JoinSet::new(),
            buffer: vec![0; BATCH * LARGEST],
        }
    }

    #[tokio::test]
    async fn without_sockets_every_packet_is_reported_and_tcp_goes_on() {
        let mut packets = lost();
        let to = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let means = [
            Means::Icmp { head: vec![8; 16], padding: 0 },
            Means::Udp { payload: vec![0] },
            Means::Tcp { timeout: Duration::from_secs(60) },
        ];
        let transmits =
            (0..).zip(means).map(|(id, means)| Transmit { id: TransmitId(id), to, from: None, means }).collect();
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
    fn padding_beyond_any_packet_is_cut_and_another_family_is_not_gathered() {
        let transmit = |to: &str, padding| Transmit {
            id: TransmitId(1),
            to: to.parse().unwrap(),
            from: None,
            means: Means::Icmp { head: vec![8; 16], padding },
        };
        let four = transmit("10.0.0.12:0", u32::MAX);
        assert_eq!(icmp(&four).map(|([head, padding], _)| (head.len(), padding.len())), Some((16, LARGEST)));
        assert!(icmp(&transmit("[fd00::2]:0", 0)).is_none());
    }

    #[tokio::test]
    async fn a_udp_probe_comes_from_where_it_should() {
        let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (to, udp) = (listener.local_addr().unwrap(), sockets::udp_socket().unwrap());
        for (from, seen) in [(Some([127, 0, 0, 9]), [127, 0, 0, 9]), (None, [127, 0, 0, 1])] {
            send_udp(&udp, b"x", to, from.map(IpAddr::from)).unwrap();
            assert_eq!(listener.recv_from(&mut [0; 8]).unwrap().1.ip(), IpAddr::from(seen));
        }
        let foreign = Some(IpAddr::from([192, 0, 2, 1]));
        assert!(send_udp(&udp, b"x", to, foreign).is_err(), "an address that is not ours");
    }
}
