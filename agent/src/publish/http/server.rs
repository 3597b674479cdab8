//! Accepting connections within bounds.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::places::Places;
use super::transfers::Caller;
use super::{Bounds, Site, Surface, pages};

/// Sockets, each in place of the one before.
type Listeners = mpsc::UnboundedReceiver<std::net::TcpListener>;

/// Pause after a failed accept: without one, running out of file descriptors would spin.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `site` for as long as the future lives, on each of `listeners` until the next one comes.
///
/// # Errors
/// If no listening socket can be used at all.
pub async fn serve(listeners: Listeners, site: Site, bounds: Bounds) -> io::Result<()> {
    let surface = site.surface.clone();
    listen(listeners, Pages { router: pages::router(Arc::new(site), bounds), surface, bounds }).await
}

/// Serves health alone, in the clear and to everybody, on the last of `listeners`, which may be none.
pub async fn serve_health(
    mut listeners: mpsc::UnboundedReceiver<Option<std::net::TcpListener>>,
    site: Site,
) -> Infallible {
    let bounds = Bounds { connections: 16, waiting: 16, per_client: 8, ..Bounds::default() };
    let surface = watch::channel(Surface::default()).1;
    let pages = Pages { router: pages::health(Arc::new(site)), surface, bounds };
    let mut served = JoinSet::new();
    while let Some(listener) = listeners.recv().await {
        // Connections that stand are served to their end.
        served.shutdown().await;
        let Some(listener) = listener else { continue };
        let (give, given) = mpsc::unbounded_channel();
        _ = give.send(listener);
        let pages = pages.clone();
        served.spawn(async move {
            if let Err(error) = listen(given, pages).await {
                tracing::error!(%error, "health is not served on its own address (web.health_listen)");
            }
        });
    }
    std::future::pending().await
}

/// What a connection is served with.
#[derive(Clone)]
struct Pages {
    router: Router,
    surface: watch::Receiver<Surface>,
    bounds: Bounds,
}

async fn listen(mut listeners: Listeners, pages: Pages) -> io::Result<()> {
    let Some(first) = listeners.recv().await else { return Ok(()) };
    let mut listener = TcpListener::from_std(first)?;
    let places = Places::new(pages.bounds);
    let reserve = Arc::new(Reserve::default());
    reserve.refill();
    loop {
        let stream = tokio::select! {
            Some(next) = listeners.recv() => {
                match TcpListener::from_std(next) {
                    Ok(next) => {
                        for stream in waiting(std::mem::replace(&mut listener, next)) {
                            admit(stream, &places, &pages, &reserve);
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
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    on_refused(&error, &listener, &reserve).await;
                    continue;
                }
            },
        };
        admit(stream, &places, &pages, &reserve);
    }
}

/// Serves a connection beside the others, once there is a place.
fn admit(stream: TcpStream, places: &Places, pages: &Pages, reserve: &Arc<Reserve>) {
    let Some(guest) = places.welcome(&stream) else { return };
    let (places, pages, reserve) = (places.clone(), pages.clone(), Arc::clone(reserve));
    tokio::spawn(async move {
        if let Some(place) = places.place(&guest).await {
            connection(stream, guest.from, pages).await;
            drop((place, guest));
        }
        reserve.refill();
    });
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

async fn connection(stream: TcpStream, from: SocketAddr, pages: Pages) {
    // Also what is still to be sent when the connection is closed here: the kernel would try for minutes.
    let life = pages.bounds.connection_time;
    if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(life)) {
        tracing::debug!(%error, "an HTTP connection without a limit on what it leaves behind");
    }
    match timeout(life, converse(stream, from, pages)).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::debug!(%from, why, "an HTTP connection failed"),
        Err(_) => tracing::debug!(%from, "an HTTP connection took too long and was dropped"),
    }
}

/// TLS, if that is wanted, and then one request and its answer.
async fn converse(stream: TcpStream, from: SocketAddr, pages: Pages) -> Result<(), String> {
    let surface = pages.surface.borrow().clone();
    let Some(tls) = surface.tls() else {
        let known = surface.knows(None);
        return answer(stream, Client { from: from.ip(), known }, surface, pages).await;
    };
    let accepted = timeout(pages.bounds.handshake_time, TlsAcceptor::from(tls).accept(stream)).await;
    let stream = accepted.map_err(|_| "no TLS in time".to_owned())?.map_err(|error| format!("no TLS: {error}"))?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let known = surface.knows(shown);
    answer(stream, Client { from: from.ip(), known }, surface, pages).await
}

/// Who is at the other end.
#[derive(Clone, Copy)]
struct Client {
    from: IpAddr,
    /// Whether its certificate will do.
    known: bool,
}

async fn answer<S>(stream: S, client: Client, surface: Surface, pages: Pages) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Pages { router, bounds, .. } = pages;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Caller(client.from));
        let (surface, router) = (surface.clone(), router.clone());
        async move {
            let let_in = surface.admit(request.uri().path(), request.headers(), client.from, client.known).await;
            let mut response = match let_in {
                Ok(()) => TowerToHyperService::new(router).call(request).await?,
                Err(refused) => refused,
            };
            surface.dress(&mut response);
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(bounds.head_time)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.head_bytes);
    http.serve_connection(TokioIo::new(stream), service).await.map_err(|error| error.to_string())
}
