//! `/transfer`: bulk for peers' agents, who find out whether TCP carries it through the tunnel.
//!
//! `GET` gives [`BYTES`] zeros, `POST` takes as many and answers how many arrived, `HEAD` answers whether one may. All
//! of it goes down the connection that it was asked on; nothing is kept, parsed, or sent to anybody else.
//!
//! Whether one may is the [`Gate`]'s word: peers of this node only, so often, so many at once. Who is turned away gets the
//! reason, and nothing of a body is read. A `POST` that stands still for [`body_pause`](super::Bounds::body_pause) is
//! cut; one that goes on, and a `GET` that is not read, live as long as any connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use probes::report::Published;
use probes::transfer::admission::{Gate, Place, Turned};
use probes::transfer::{BYTES, PATH};
use probes::units::Mono;
use tokio::sync::watch;
use tokio::time::timeout;

use super::early;
use super::pages::{body, plain};

/// What is given at a time.
static ZEROS: [u8; 4096] = [0; 4096];

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) IpAddr);

pub(super) fn router(published: watch::Receiver<Option<Arc<Published>>>, pause: Duration) -> Router {
    let epoch = Instant::now();
    let gate = Mutex::new(Gate::new(Mono::default()));
    let refused = || async { plain(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST\n") };
    Router::new().route(PATH, get(give).post(take).fallback(refused)).with_state(Arc::new(Desk {
        published,
        gate,
        epoch,
        pause,
    }))
}

/// Where requests are let in.
#[derive(Debug)]
struct Desk {
    published: watch::Receiver<Option<Arc<Published>>>,
    gate: Mutex<Gate>,
    epoch: Instant,
    pause: Duration,
}

/// A place inside, which is given back when this goes.
#[derive(Debug)]
struct Inside {
    desk: Arc<Desk>,
    place: Option<Place>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.desk.gate.lock().unwrap_or_else(PoisonError::into_inner).leave(place);
        }
    }
}

impl Desk {
    fn ask(&self, Caller(from): Caller) -> Result<(), Refused> {
        self.with_gate(|gate, published, now| gate.ask(from, &published.guests, now), from)
    }

    fn enter(self: &Arc<Self>, Caller(from): Caller) -> Result<Inside, Refused> {
        let place = self.with_gate(|gate, published, now| gate.enter(from, &published.guests, now), from)?;
        Ok(Inside { desk: Arc::clone(self), place: Some(place) })
    }

    fn with_gate<T>(
        &self,
        ask: impl FnOnce(&mut Gate, &Published, Mono) -> Result<T, Turned>,
        from: IpAddr,
    ) -> Result<T, Refused> {
        let published = self.published.borrow().clone().ok_or(Refused::NotReady)?;
        let now = Mono::new(self.epoch.elapsed());
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&mut gate, &published, now).map_err(|turned| Refused::Turned(turned, from.to_canonical()))
    }
}

/// Why a request is not served.
#[derive(Debug)]
enum Refused {
    /// Nobody knows yet who is a peer.
    NotReady,
    /// Not let in.
    Turned(Turned, IpAddr),
    /// The body is too large, or does not come to its end.
    Body(StatusCode, String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, why, again) = match self {
            Self::NotReady => return early::answer(),
            Self::Body(status, why) => (status, why, None),
            Self::Turned(turned, from) => turned_away(turned, from),
        };
        let mut response = plain(status, why + "\n");
        if let Some(again) = again {
            let seconds = again.as_secs() + u64::from(again.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The status, the reason, and how long to wait if that helps.
fn turned_away(turned: Turned, from: IpAddr) -> (StatusCode, String, Option<Duration>) {
    let (refused, later) = (StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS);
    match turned {
        Turned::Off => (refused, "transfers are switched off on this node (probing.transfers)".into(), None),
        Turned::Stranger => {
            let why = format!(
                "transfers are for peers of this node, and it knows none at {from}; its peers are those in \
                 peers.static and those that its tunnels lead to"
            );
            (refused, why, None)
        }
        Turned::TooOften { again } => (later, "too many transfers".into(), Some(again)),
        Turned::TooMany => (later, "too many transfers are under way".into(), Some(Duration::from_secs(1))),
    }
}

/// `GET` and `HEAD`.
async fn give(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    method: Method,
) -> Result<Response, Refused> {
    if method == Method::HEAD {
        desk.ask(caller)?;
        return Ok(plain(StatusCode::OK, Body::empty()));
    }
    let inside = desk.enter(caller)?;
    let mut response = body(StatusCode::OK, "application/octet-stream", Body::from_stream(zeros(inside)));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(BYTES));
    Ok(response)
}

/// As many as are wanted, and the place until they have left.
fn zeros(inside: Inside) -> impl Stream<Item = Result<Bytes, BoxError>> {
    stream::unfold((inside, BYTES as usize), |(inside, left)| async move {
        let next = left.min(ZEROS.len());
        (next > 0).then(|| (Ok(Bytes::from_static(&ZEROS[..next])), (inside, left - next)))
    })
}

/// `POST`.
async fn take(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Refused> {
    let _inside = desk.enter(caller)?;
    if body.size_hint().lower() > u64::from(BYTES) {
        return Err(too_large());
    }
    let arrived = count(body, desk.pause).await?;
    Ok(plain(StatusCode::OK, format!("{arrived}\n")))
}

/// Bytes that arrive.
async fn count(body: Body, pause: Duration) -> Result<usize, Refused> {
    let (mut arrived, mut chunks) = (0, body.into_data_stream());
    loop {
        match timeout(pause, chunks.next()).await {
            Ok(None) => return Ok(arrived),
            Ok(Some(Ok(chunk))) => arrived += chunk.len(),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a transfer's body broke");
                return Err(Refused::Body(StatusCode::BAD_REQUEST, format!("{arrived} bytes, and then it broke")));
            }
            Err(_) => {
                let why = format!("{arrived} bytes, and then nothing");
                return Err(Refused::Body(StatusCode::REQUEST_TIMEOUT, why));
            }
        }
        if arrived > BYTES as usize {
            return Err(too_large());
        }
    }
}

fn too_large() -> Refused {
    Refused::Body(StatusCode::PAYLOAD_TOO_LARGE, format!("no more than {BYTES} bytes"))
}
