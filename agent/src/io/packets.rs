//! Packets out and in: one raw ICMP socket for all paths, one UDP socket, TCP attempts.
//!
//! - The kernel builds the IP header; `IP_PMTUDISC_PROBE` sets DF and ignores cached path MTUs. No `IP_RECVERR`: with
//!   it, the error of one destination is returned by the next send to another, and that packet is not sent.
//! - [`filter`](super::filter) is attached first, and what came before it is thrown away.
//! - Batches: when `sendmmsg` stops at a message, the next call returns that message's error, which is reported, and
//!   sending goes on behind it. `EAGAIN` and `ENOBUFS` say "later" and are no answer: the rest waits here.
//! - The kernel stamps packets when they come in, so a busy machine's delay is not taken for the network's.
//!
//! [`Packets::recv`] keeps all state in `self` and does not wait between taking something out of the kernel and
//! returning it: it can be dropped at any time, as `select!` does.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrStorage, recvmmsg,
    sendmmsg, sendmsg, setsockopt,
};
use nix::sys::time::TimeSpec;
use probes::fact::{Reason, Source, Unread};
use probes::prober::{Datagram, Means, Sent, Transmit, TransmitId};
use probes::units::{IpSize, Mono};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use super::connect;
use super::filter::Filter;

/// Packets handed over in one system call.
const BATCH: usize = 32;
/// The largest packet.
const LARGEST: usize = IpSize::MAX.bytes() as usize;
/// Wanted receive buffer; the kernel gives less where `net.core.rmem_max` is less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Pause after a device's queue was full (`ENOBUFS`): nothing says when it no longer is.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);
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

/// The sockets that probes leave and come back by.
#[derive(Debug)]
pub struct Packets {
    icmp: AsyncFd<Socket>,
    udp: AsyncFd<Socket>,
    filter: Filter,
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
    /// [`Reason::Denied`] without `CAP_NET_RAW`; [`Reason::Failed`] with operation and error for anything else.
    pub fn open(id: u16, epoch: Instant) -> Result<Self, Unread> {
        let icmp = Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV4))
            .map_err(|error| failed("open a raw ICMP socket", &error))?;
        let udp = udp_socket().map_err(|error| failed("open a UDP socket for probes", &error))?;
        let port = udp.local_addr().map_err(|error| failed("read the UDP socket's port", &error))?;
        let udp_port = port.as_socket().map_or(0, |address| address.port());
        let filter = Filter { id, udp_port, tunnel_ports: BTreeSet::new() };
        prepare(&icmp, &filter).map_err(|error| failed("set up the raw ICMP socket", &error))?;
        Ok(Self {
            icmp: watch(icmp)?,
            udp: watch(udp)?,
            filter,
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
        let filter = Filter { tunnel_ports: ports.iter().copied().collect(), ..self.filter.clone() };
        if filter != self.filter {
            attach(self.icmp.get_ref(), &filter).map_err(|error| failed("change the packet filter", &error))?;
            self.filter = filter;
        }
        Ok(())
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
        tokio::select! {
            readable = self.icmp.readable() => {
                let Ok(mut guard) = readable else { return Received::default() };
                match guard.try_io(|icmp| receive(icmp.get_ref(), &mut self.buffer, self.epoch)) {
                    Ok(Ok(datagrams)) => Received { datagrams, sent: Vec::new() },
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "receiving from the raw ICMP socket failed");
                        Received::default()
                    }
                    Err(_) => Received::default(),
                }
            }
            Some(outcome) = self.attempts.join_next() => {
                Received { datagrams: Vec::new(), sent: outcome.into_iter().collect() }
            }
            _ = self.icmp.writable(), if held_up == Some(HeldUp::Icmp) => self.retry(),
            _ = self.udp.writable(), if held_up == Some(HeldUp::Udp) => self.retry(),
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

    /// Sends the ICMP packets at the front, at most one batch. A batch has one source.
    fn flush_icmp(&mut self, sent: &mut Vec<(TransmitId, Sent)>) {
        let from = self.backlog.front().and_then(|first| first.from);
        let alike = self.backlog.iter().take_while(|transmit| transmit.from == from);
        let batch: Vec<_> = alike.map_while(icmp).take(BATCH).collect();
        match try_send(&self.icmp, |icmp| send_batch(icmp, &batch, from)) {
            Ok(count) => sent.extend(self.backlog.drain(..count).map(|transmit| (transmit.id, Sent::Ok))),
            Err(error) => self.on_error(&error, HeldUp::Icmp, sent),
        }
    }

    fn flush_udp(&mut self, sent: &mut Vec<(TransmitId, Sent)>) {
        let Some(Transmit { id, to, from, means: Means::Udp { payload } }) = self.backlog.front() else { return };
        match try_send(&self.udp, |udp| send_udp(udp, payload, *to, *from)) {
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
            errno => sent.extend(self.backlog.pop_front().map(|transmit| (transmit.id, Sent::Failed(errno as i32)))),
        }
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

fn udp_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    let drop_everything = [SockFilter::new(0x06, 0, 0, 0)];
    socket.attach_filter(&drop_everything)?;
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into())?;
    Ok(socket)
}

fn watch(socket: Socket) -> Result<AsyncFd<Socket>, Unread> {
    // SAFETY: the socket owns its open descriptor, `AsyncFd` owns the socket until both are dropped, and nothing here
    // takes it out, replaces it or closes it, so `as_raw_fd` names the same open file for as long.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) };
    watched.map_err(|error| failed("watch a socket for readiness", &error.into_parts().1))
}

fn prepare(icmp: &Socket, filter: &Filter) -> io::Result<()> {
    set_ip_mtu_discover(icmp, Ipv4PathMtuDiscovery::PROBE)?;
    setsockopt(icmp, ReceiveTimestampns, &true)?;
    icmp.set_recv_buffer_size(RECEIVE_BUFFER)?;
    attach(icmp, filter)?;
    drain(icmp)
}

fn attach(icmp: &Socket, filter: &Filter) -> io::Result<()> {
    let program = filter.program();
    let program: Vec<_> = program.iter().map(|i| SockFilter::new(i.code, i.when, i.unless, i.k)).collect();
    icmp.attach_filter(&program)
}

/// Throws away what came in before the filter was attached.
fn drain(icmp: &Socket) -> io::Result<()> {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    loop {
        match icmp.recv(&mut byte) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn failed(operation: &str, error: &io::Error) -> Unread {
    let reason = match errno(error) {
        Errno::EPERM | Errno::EACCES => Reason::Denied { needs: "CAP_NET_RAW".into() },
        _ => Reason::Failed { what: format!("{operation}: {error}") },
    };
    Unread::new(Source::Probes, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_believed_only_while_the_clocks_agree() {
        let wall = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(waited(Duration::from_millis(99_998), wall), Some(Duration::from_millis(2)));
        assert_eq!(waited(Duration::from_secs(101), wall), None, "stamped in the future");
        assert_eq!(waited(Duration::from_secs(50), wall), None, "stamped long ago");
    }

    #[test]
    fn a_missing_right_is_named_and_other_errors_name_the_operation() {
        let denied = failed("open a raw ICMP socket", &io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(denied.to_string(), "probes: denied, needs CAP_NET_RAW");
        let other = failed("open a raw ICMP socket", &io::Error::from_raw_os_error(libc::EMFILE));
        assert!(other.to_string().starts_with("probes: open a raw ICMP socket: Too many open files"), "{other}");
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
        let (to, udp) = (listener.local_addr().unwrap(), udp_socket().unwrap());
        for (from, seen) in [(Some([127, 0, 0, 9]), [127, 0, 0, 9]), (None, [127, 0, 0, 1])] {
            send_udp(&udp, b"x", to, from.map(IpAddr::from)).unwrap();
            assert_eq!(listener.recv_from(&mut [0; 8]).unwrap().1.ip(), IpAddr::from(seen));
        }
        let foreign = Some(IpAddr::from([192, 0, 2, 1]));
        assert!(send_udp(&udp, b"x", to, foreign).is_err(), "an address that is not ours");
    }
}
