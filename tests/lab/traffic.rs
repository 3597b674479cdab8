//! More witnesses: datagrams from chosen ports, which spread over ways of equal cost, and transfers over TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, SockRef, Socket, Type};

use crate::family::Family;
use crate::namespace::Namespace;
use crate::{Error, Result};

/// How long nothing more may come before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a transfer may stand still: several times what TCP waits before it sends again.
const STANDSTILL: Duration = Duration::from_secs(3);
const UDP_HEADER: u32 = 8;
/// How many full-size datagrams are on their way before what has arrived is taken: fewer than a socket holds.
const AT_ONCE: usize = 64;

/// Sends one datagram of `size` bytes (IP header included) from each port, never to be cut on its way, and says from
/// which ports they arrived.
///
/// # Errors
/// If no socket can be had.
pub fn datagrams(from: &Namespace, to: &Namespace, address: IpAddr, size: u32, ports: Range<u16>) -> Result<Vec<u16>> {
    let failed = |error: io::Error| Error::new(format!("sending datagrams from {} to {address}", from.name()), error);
    let receiver = to.inside(|| UdpSocket::bind((address, 0)))?.map_err(failed)?;
    let target = receiver.local_addr().map_err(failed)?;
    let length = (size - Family::of(address).header() - UDP_HEADER) as usize;
    let mut arrived = Vec::new();
    let all: Vec<_> = ports.clone().collect();
    for batch in all.chunks(AT_ONCE) {
        let mut batch = batch.iter();
        let send = |&port: &u16| never_cut(port, target)?.send_to(&vec![0; length], target).map(drop);
        from.inside(|| batch.try_for_each(send))?.map_err(failed)?;
        receiver.set_nonblocking(true).and_then(|()| take(&receiver, &ports, &mut arrived)).map_err(failed)?;
    }
    receiver.set_nonblocking(false).map_err(failed)?;
    receiver.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    take(&receiver, &ports, &mut arrived).map_err(failed)?;
    arrived.sort_unstable();
    Ok(arrived)
}

/// Takes what comes, until everything is there or nothing comes any more.
fn take(receiver: &UdpSocket, ports: &Range<u16>, arrived: &mut Vec<u16>) -> io::Result<()> {
    while arrived.len() < ports.len() {
        match receiver.recv_from(&mut [0; 1]) {
            Ok((_, source)) if ports.contains(&source.port()) => arrived.push(source.port()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket whose datagrams are never cut on their way, whatever path MTU the kernel remembers.
pub(crate) fn never_cut(port: u16, to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, port))?;
    if to.is_ipv4() {
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    } else {
        set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
        setsockopt(&socket, sockopt::Ipv6DontFrag, &true)?;
    }
    Ok(socket)
}

/// Sends `bytes` over TCP from one namespace to an address of another, and waits until all of it has arrived.
///
/// # Errors
/// If no connection comes about, or it stands still.
pub fn transfer(from: &Namespace, to: &Namespace, address: IpAddr, bytes: usize) -> Result<()> {
    let failed =
        |error: io::Error| Error::new(format!("sending {bytes} B over TCP from {} to {address}", from.name()), error);
    let listener = to.inside(|| listen(address))?.map_err(failed)?;
    let target = listener.local_addr().map_err(failed)?;
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&listener, bytes));
        let sent = from.inside(|| push(target, bytes))?;
        // The sender's word says more: the receiver only knows that nothing came.
        let received = receiver.join().unwrap_or_else(|_| Err(io::Error::other("the receiver panicked")));
        sent.and(received).map_err(failed)
    })
}

fn listen(address: IpAddr) -> io::Result<TcpListener> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.listen(1)?;
    // Accepting keeps to it as well.
    socket.set_read_timeout(Some(STANDSTILL))?;
    Ok(socket.into())
}

fn receive(listener: &TcpListener, bytes: usize) -> io::Result<()> {
    let (mut stream, _) = SockRef::from(listener).accept().map(|(socket, source)| (TcpStream::from(socket), source))?;
    stream.set_read_timeout(Some(STANDSTILL))?;
    let (mut buffer, mut got) = (vec![0; 1 << 16], 0);
    while got < bytes {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => got += more,
        }
    }
    stream.write_all(&[1])
}

fn push(to: SocketAddr, bytes: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, STANDSTILL)?;
    stream.set_write_timeout(Some(STANDSTILL))?;
    stream.set_read_timeout(Some(STANDSTILL))?;
    stream.write_all(&vec![0; bytes])?;
    let arrived = stream.read_exact(&mut [0; 1]);
    // What is stuck in the socket would be sent again for a quarter of an hour.
    let _ = stream.shutdown(Shutdown::Both);
    arrived
}
