//! The sockets that probes leave and come back by: opened, set up, and known to be lost.
//!
//! A raw socket is not lost by anything that a network does. Whoever may administer the namespace can destroy it
//! (`ss -K`); it then gives one error, and never another packet. So an error that is about the socket and not about a
//! packet means that a new one is needed. A machine may be without IPv6; then what would go by it is not sent.
//!
//! Raw sockets take `CAP_NET_RAW`. Without it there may be sockets for pings ([`ping`]): what they cannot do is the
//! deciding half's to know ([`Wire`]).

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv6DontFrag, ReceiveTimestampns};
use nix::unistd::getegid;
use probes::fact::{Reason, Source, Unread};
use probes::kernel::LinkIndex;
use probes::prober::Wire;
use probes::units::Family;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::filter::Filter;
use super::options::{BlockedTypes6, ReceiveFragmentSize, ReceiveFragmentSize6, all_but};
use super::ping;
use super::ports::Ports;

/// Wanted receive buffer; the kernel gives less where `net.core.rmem_max` is less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// ICMPv6 types that can concern a probe: the four errors, and echo reply (RFC 4443 §2.1).
const WANTED6: [u8; 5] = [1, 2, 3, 4, 129];

/// Open sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) icmp: AsyncFd<Socket>,
    /// `None` where the machine is without IPv6.
    pub(super) icmp6: Option<AsyncFd<Socket>>,
    pub(super) udp: Ports,
    pub(super) wire: Wire,
    filter: Filter,
}

impl Sockets {
    /// Opens the sockets for probes with this ICMP identifier and UDP source ports from this one on. Errors about UDP
    /// packets to `tunnel_ports` come in too.
    pub(super) fn open(id: u16, first_port: u16, tunnel_ports: BTreeSet<u16>) -> Result<Self, Unread> {
        let filter = Filter { id, first_port, tunnel_ports };
        let icmp = match Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV4)) {
            Ok(icmp) => icmp,
            Err(error) if is_denied(&error) => return Self::for_pings(filter),
            Err(error) => return Err(failed("open a raw ICMP socket", &error)),
        };
        prepare(&icmp, &filter).map_err(|error| failed("set up the raw ICMP socket", &error))?;
        let icmp6 = match Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV6)) {
            Ok(icmp6) => {
                prepare6(&icmp6, &filter).map_err(|error| failed("set up the raw ICMPv6 socket", &error))?;
                Some(watch(icmp6)?)
            }
            Err(error) if errno(&error) == Errno::EAFNOSUPPORT => None,
            Err(error) => return Err(failed("open a raw ICMPv6 socket", &error)),
        };
        Ok(Self { icmp: watch(icmp)?, icmp6, udp: Ports::default(), wire: Wire::Raw, filter })
    }

    fn for_pings(filter: Filter) -> Result<Self, Unread> {
        let open = |family| match ping::open(family, filter.id) {
            Ok(socket) => watch(socket).map(Some),
            Err(error) if family == Family::Ipv6 && errno(&error) == Errno::EAFNOSUPPORT => Ok(None),
            Err(error) if is_denied(&error) => Err(Unread::new(Source::Probes, Reason::Denied { needs: needs() })),
            Err(error) => Err(failed("open a socket for pings", &error)),
        };
        let none = || failed("open a socket for pings", &Errno::EAFNOSUPPORT.into());
        let icmp = open(Family::Ipv4)?.ok_or_else(none)?;
        let icmp6 = open(Family::Ipv6)?;
        Ok(Self { icmp, icmp6, udp: Ports::hearing_errors(), wire: Wire::Ping, filter })
    }

    /// The raw socket of a family.
    pub(super) const fn of(&self, family: Family) -> Option<&AsyncFd<Socket>> {
        match family {
            Family::Ipv4 => Some(&self.icmp),
            Family::Ipv6 => self.icmp6.as_ref(),
        }
    }

    /// Errors about UDP packets to these ports come in from here on.
    ///
    /// # Errors
    /// If the kernel does not take the filter; the one before stays.
    pub(super) fn watch_tunnel_ports(&mut self, ports: &BTreeSet<u16>) -> Result<(), Unread> {
        let filter = Filter { tunnel_ports: ports.clone(), ..self.filter.clone() };
        if filter != self.filter && self.wire == Wire::Raw {
            for family in [Family::Ipv4, Family::Ipv6] {
                let Some(socket) = self.of(family) else { continue };
                attach(socket.get_ref(), &filter, family)
                    .map_err(|error| failed("change the packet filter", &error))?;
            }
            self.filter = filter;
        }
        Ok(())
    }
}

/// What to check where sockets get lost.
pub(super) const LOST: &str = "check who destroys sockets here (ss -K)";

/// Whether this error of sending is about the socket: whatever is sent by it next fails too, or leaves by another port.
pub(super) const fn is_lost(errno: Errno) -> bool {
    matches!(errno, Errno::ECONNABORTED | Errno::EBADF | Errno::ENOTSOCK | Errno::ENOTCONN | Errno::EPIPE)
}

pub(in crate::io) fn watch(socket: Socket) -> Result<AsyncFd<Socket>, Unread> {
    // SAFETY: the socket owns its open descriptor, `AsyncFd` owns the socket until both are dropped, and nothing here
    // takes it out, replaces it or closes it, so `as_raw_fd` names the same open file for as long.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) };
    watched.map_err(|error| failed("watch a socket for readiness", &error.into_parts().1))
}

/// Binds a packet socket to a link, for packets of a family.
pub(super) fn bind_to_link(socket: &Socket, link: LinkIndex, family: Family) -> io::Result<()> {
    let protocol = if family == Family::Ipv4 { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
    bind_packets(socket, link, protocol as u16)
}

/// Binds a packet socket to a link, for packets of an Ethernet type.
pub(in crate::io) fn bind_packets(socket: &Socket, link: LinkIndex, protocol: u16) -> io::Result<()> {
    let number = i32::try_from(link.0).map_err(io::Error::other)?;
    // SAFETY: the storage is at least as large and as aligned as `sockaddr_ll` (that is what it is for) and all zeros,
    // which is a value of it; only fields of it are written, and the length said is that of the whole structure.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*address).sll_protocol = protocol.to_be();
            (*address).sll_ifindex = number;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    socket.bind(&address)
}

fn prepare(icmp: &Socket, filter: &Filter) -> io::Result<()> {
    set_ip_mtu_discover(icmp, Ipv4PathMtuDiscovery::PROBE)?;
    setsockopt(icmp, ReceiveFragmentSize, &true)?;
    prepare_both(icmp, filter, Family::Ipv4)
}

fn prepare6(icmp6: &Socket, filter: &Filter) -> io::Result<()> {
    set_ipv6_mtu_discover(icmp6, Ipv6PathMtuDiscovery::PROBE)?;
    setsockopt(icmp6, Ipv6DontFrag, &true)?;
    setsockopt(icmp6, ReceiveFragmentSize6, &true)?;
    setsockopt(icmp6, BlockedTypes6, &all_but(&WANTED6))?;
    prepare_both(icmp6, filter, Family::Ipv6)
}

fn prepare_both(icmp: &Socket, filter: &Filter, family: Family) -> io::Result<()> {
    setsockopt(icmp, ReceiveTimestampns, &true)?;
    icmp.set_recv_buffer_size(RECEIVE_BUFFER)?;
    attach(icmp, filter, family)?;
    drain(icmp)
}

fn attach(icmp: &Socket, filter: &Filter, family: Family) -> io::Result<()> {
    let program = filter.program(family);
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

pub(super) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn failed(operation: &str, error: &io::Error) -> Unread {
    let reason = if is_denied(error) {
        Reason::Denied { needs: NEEDS.into() }
    } else {
        Reason::Failed { what: format!("{operation}: {error}") }
    };
    Unread::new(Source::Probes, reason)
}

const NEEDS: &str = "CAP_NET_RAW";

fn is_denied(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EPERM | Errno::EACCES)
}

/// What either kind of socket takes.
fn needs() -> String {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let now: Vec<&str> = range.split_whitespace().collect();
    let now = if now.is_empty() { String::new() } else { format!(", which is \"{}\"", now.join(" ")) };
    format!("{NEEDS}, or group {} within net.ipv4.ping_group_range{now}", getegid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named_and_other_errors_name_the_operation() {
        let denied = failed("open a raw ICMP socket", &io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(denied.to_string(), "probes: denied, needs CAP_NET_RAW");
        let other = failed("open a raw ICMP socket", &io::Error::from_raw_os_error(libc::EMFILE));
        assert!(other.to_string().starts_with("probes: open a raw ICMP socket: Too many open files"), "{other}");
    }

    #[test]
    fn what_a_network_answers_loses_no_socket() {
        for errno in [Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::EPERM, Errno::EMSGSIZE, Errno::ECONNREFUSED] {
            assert!(!is_lost(errno), "{errno}");
        }
        assert!(is_lost(Errno::ECONNABORTED), "what ss -K leaves behind");
    }
}
