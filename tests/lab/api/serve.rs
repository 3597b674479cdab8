//! Connections: taken, broken, refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Shared, Turn, answer};

/// How many connections may wait to be taken.
const BACKLOG: i32 = 128;

/// Serves on a thread of its own until the test is over.
pub(super) fn start(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || runtime.block_on(accept(&listener, tls.as_ref(), &shared));
    thread::Builder::new().name("api".into()).spawn(serve).map(drop)
}

/// Serves in the runtime of the caller.
pub(super) fn start_here(listener: TcpListener, shared: Arc<Shared>) {
    tokio::spawn(async move { accept(&listener, None, &shared).await });
}

async fn accept(socket: &TcpListener, tls: Option<&TlsAcceptor>, shared: &Arc<Shared>) -> io::Result<()> {
    let mut turns = shared.turn.subscribe();
    let mut connections = JoinSet::new();
    let mut before = Turn::default();
    let address = socket.local_addr()?;
    let mut listener = Some(watched(socket)?);
    loop {
        let turn = *turns.borrow_and_update();
        if turn.over {
            return Ok(());
        }
        let closes = turn.closed && !before.closed;
        if closes {
            // Who comes is refused from now on. A port that the kernel chose is given up with that, so it is taken again;
            // one that was asked for is still held, which is the error there.
            listener = None;
            rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?;
            _ = rustix::net::bind(socket, &address);
        }
        if closes || turn.cuts != before.cuts {
            connections.shutdown().await;
        }
        if before.closed && !turn.closed {
            rustix::net::listen(socket, BACKLOG)?;
            listener = Some(watched(socket)?);
        }
        before = turn;
        shared.acted(turn);
        tokio::select! {
            Ok((stream, _)) = next(listener.as_ref()) => {
                _ = connections.spawn(connection(stream, tls.cloned(), Arc::clone(shared)));
            }
            Some(_) = connections.join_next() => {}
            changed = turns.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// The socket, watched anew: whoever watched it while it was shut down would take it for ended.
fn watched(socket: &TcpListener) -> io::Result<tokio::net::TcpListener> {
    let socket = socket.try_clone()?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}

async fn next(listener: Option<&tokio::net::TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let Some(tls) = tls else { return exchange(stream, shared).await };
    // A client that does not trust the certificate goes away, which is its test's business.
    if let Ok(stream) = tls.accept(stream).await {
        exchange(stream, shared).await;
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer::to(request, Arc::clone(&shared)));
    // However a connection ends, its client is what the test looks at.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
