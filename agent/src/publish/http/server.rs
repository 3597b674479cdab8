//! Accepting connections within bounds.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::transfers::Caller;
use super::{Bounds, Site, pages};

/// Pause after a failed accept: without one, running out of file descriptors would spin.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `site` for as long as the future lives, on each of `listeners` until the next one comes.
///
/// # Errors
/// If no listening socket can be used at all.
pub async fn serve(
    mut listeners: mpsc::UnboundedReceiver<std::net::TcpListener>,
    site: Site,
    bounds: Bounds,
) -> io::Result<()> {
    let Some(first) = listeners.recv().await else { return Ok(()) };
    let mut listener = TcpListener::from_std(first)?;
    let router = pages::router(Arc::new(site), bounds);
    let places = Arc::new(Semaphore::new(bounds.connections));
    let reserve = Arc::new(Reserve::default());
    reserve.refill();
    loop {
        let (stream, place) = tokio::select! {
            Some(next) = listeners.recv() => {
                match TcpListener::from_std(next) {
                    Ok(next) => {
                        for stream in waiting(std::mem::replace(&mut listener, next)) {
                            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { break };
                            tokio::spawn(connection(stream, router.clone(), bounds, place));
                        }
                    }
                    Err(error) => tracing::error!(%error, "cannot listen on the new address; HTTP stays on the old one"),
                }
                continue;
            }
            () = tokio::time::sleep(BACK_OFF), if reserve.is_spent() => {
                reserve.refill();
                continue;
            }
            accepted = accept(&listener, &places) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    on_refused(&error, &listener, &reserve).await;
                    continue;
                }
            },
        };
        let (served, reserve) = (connection(stream, router.clone(), bounds, place), Arc::clone(&reserve));
        tokio::spawn(async move {
            served.await;
            reserve.refill();
        });
    }
}

/// The connections that the kernel has taken for a socket that is let go: it would reset them.
fn waiting(listener: TcpListener) -> impl Iterator<Item = TcpStream> {
    let listener = listener.into_std();
    std::iter::from_fn(move || {
        let (stream, _) = listener.as_ref().ok()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok()
    })
}

/// The next connection, once there is a place for it. Can be dropped at any time.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn on_refused(error: &io::Error, listener: &TcpListener, reserve: &Reserve) {
    // A client that left before it was accepted (accept(2) lists what else a network does to it) is not our business.
    if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) {
        return tracing::debug!(%error, "an HTTP connection failed before it was accepted");
    }
    // Linux takes a descriptor for the next connection before it looks whether there is one. The one in reserve is not
    // put at stake for nobody: whoever opens a socket meanwhile would keep it.
    if !is_waited_for(listener) {
        return tokio::time::sleep(BACK_OFF).await;
    }
    tracing::warn!(%error, "HTTP connections have to wait; check the limit on open files (LimitNOFILE=, ulimit -n) and memory");
    if !reserve.spend() {
        tokio::time::sleep(BACK_OFF).await;
    }
}

/// Whether a client waits to be accepted; where that cannot be told, one may.
fn is_waited_for(listener: &TcpListener) -> bool {
    let mut looked = [PollFd::new(listener, PollFlags::IN)];
    rustix::event::poll(&mut looked, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
}

/// A file descriptor to spare, so that the agent can be asked what is wrong when there are no more.
#[derive(Debug, Default)]
struct Reserve(Mutex<Option<File>>);

impl Reserve {
    fn refill(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = File::open("/").ok();
        }
    }

    /// Gives it to the next connection; `false` if it is spent already.
    fn spend(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    fn is_spent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

async fn connection(stream: TcpStream, router: Router, bounds: Bounds, place: OwnedSemaphorePermit) {
    // Who has left already is not waited for.
    let Ok(from) = stream.peer_addr() else { return };
    // Also what is still to be sent when the connection is closed here: the kernel would try for minutes.
    if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(bounds.connection_time)) {
        tracing::debug!(%error, "an HTTP connection without a limit on what it leaves behind");
    }
    let service = TowerToHyperService::new(router);
    let named = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Caller(from.ip()));
        service.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(bounds.head_time)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.head_bytes);
    let served = http.serve_connection(TokioIo::new(stream), named);
    match tokio::time::timeout(bounds.connection_time, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection failed"),
        Err(_) => tracing::debug!("an HTTP connection took too long and was dropped"),
    }
    drop(place);
}
