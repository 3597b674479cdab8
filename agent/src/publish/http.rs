//! HTTP: the report, the metrics and the agent's health.
//!
//! It runs on a thread of its own and only ever reads the latest published round, so no client can delay a probe. A
//! client is bounded in every direction: how many there are ([`Bounds::connections`]) and of one address
//! ([`Bounds::per_client`]), how long TLS may take to be agreed on, how large and how slow a head may be, and how long a
//! connection lives in all, which also ends one that does not read its answer. Connections are not kept alive: scrapes are
//! seconds apart, and an idle connection would hold one of few places. Some places are kept for this machine itself, from
//! where the kubelet asks for health and an operator why there is none.
//!
//! [`surface`] is what stands before the pages: TLS and credentials.
//!
//! [`cluster`] asks peers' agents, with bounds of its own; [`transfers`] is where peers' agents move bulk, and the only
//! place that takes anything in.
//!
//! [`home`] is what a browser sees first, [`document`] how pages are handed out.
//!
//! The listening socket can be changed while it runs. Where file descriptors run out, one that was held in reserve goes
//! to whoever asks what is wrong.

pub(crate) mod cluster;
mod credentials;
mod crowd;
mod document;
mod early;
mod home;
mod kept;
mod pages;
mod places;
mod server;
mod surface;
mod tls;
mod transfers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use probes::report::{Published, Severity, Vantage};
use probes::transfer::{LOOK, LOOKS};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::watch;

use super::metrics::Standing;
use crate::driver::Orders;

pub use server::{serve, serve_health};
pub use surface::Surface;

/// What is served.
#[derive(Clone, Debug)]
pub struct Site {
    /// The latest round; `None` before the first.
    pub published: watch::Receiver<Option<Arc<Published>>>,
    /// What of the configuration bears on it, and how reading it went.
    pub standing: watch::Receiver<Standing>,
    /// What holds in the rounds: which port agents listen on.
    pub orders: watch::Receiver<Arc<Orders>>,
    /// Every code of the catalogue with the severities that it can have.
    pub codes: Vec<(&'static str, &'static [Severity])>,
    /// Whose view this is.
    pub vantage: Vantage,
    /// Where the process reads about itself: `/proc`.
    pub proc: PathBuf,
    /// What stands before the pages; a new one holds for connections from then on.
    pub surface: watch::Receiver<Surface>,
}

/// How much one client, and all of them, may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections that are served at a time.
    pub connections: usize,
    /// Connections that wait for one of those places; more are closed.
    pub waiting: usize,
    /// Connections of one client, served or waiting; more are closed.
    pub per_client: usize,
    /// Places beside those, for this machine itself.
    pub kept: usize,
    /// Time to agree on TLS.
    pub handshake_time: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Time for a request's head.
    pub head_time: Duration,
    /// How long a body that is taken in may stand still.
    pub body_pause: Duration,
    /// Life of a connection, from accepting it to the last byte.
    pub connection_time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 64,
            waiting: 64,
            per_client: 16,
            kept: 8,
            handshake_time: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            headers: 64,
            head_time: Duration::from_secs(5),
            // Four times what the sender calls a stall. Its kernel is the witness, so it has to be the one to say so, on a
            // machine without processor time too: it counts its looks, which come late there.
            body_pause: LOOK.saturating_mul(LOOKS).saturating_mul(4),
            connection_time: Duration::from_secs(15),
        }
    }
}

/// Opens the listening socket. `[::]` takes both families, and IPv4 alone where the kernel has no IPv6.
///
/// # Errors
/// If the address cannot be had: in use, not of this machine, or a port below 1024 without the right to it.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    bind_with(listen, |_| Ok(()))
}

fn bind_with(listen: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<TcpListener> {
    match open(listen, &prepare) {
        Err(error) if listen.ip().is_unspecified() && listen.is_ipv6() && lacks_ipv6(&error) => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port())), &prepare)
        }
        result => result,
    }
}

/// As [`bind`], while `old` listens, possibly on the same port: `[::]:9747` and `127.0.0.1:9747` exclude each other
/// otherwise. Both let each other be for as long as this takes, and no other program before or after.
///
/// # Errors
/// As [`bind`]; `old` listens on then as before.
pub fn bind_beside(listen: SocketAddr, old: &TcpListener) -> io::Result<TcpListener> {
    let old = SockRef::from(old);
    old.set_reuse_port(true)?;
    let bound = bind_with(listen, |socket| socket.set_reuse_port(true));
    old.set_reuse_port(false)?;
    let new = bound?;
    SockRef::from(&new).set_reuse_port(false)?;
    Ok(new)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn open(listen: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    if listen.is_ipv6() && listen.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    prepare(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
