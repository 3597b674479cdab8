//! Transfers with a peer's agent: bulk over TCP, both ways.
//!
//! What is seen is told as it is; [`probes::transfer`] says what it means. A small exchange comes first, on a connection
//! of its own as all of them: the agent serves one request each. Then both directions go side by side.
//!
//! The kernel is the witness: it knows which bytes were acknowledged and which came in. An exchange stands still if neither
//! number moves for some looks, whether this process was at work or not. Then the connection is reset, so that nothing is
//! sent again for minutes into a tunnel that does not deliver. It watches TCP, so it counts a handshake of TLS too; a
//! handshake that fails says that two agents are not configured alike, and nothing of the tunnel.

mod witness;

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use probes::kernel::{HostFile, proc};
use probes::transfer::{BYTES, Bulk, CONNECT, Ended, Exchange, LOOK, LOOKS, PATH, Seen, TOTAL, Transfer, Transferred};
use tokio::net::TcpStream;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::call::{self, Terms};
use super::host;
use witness::Witness;

/// The longest answer that is read where a number is expected.
const NUMBER: usize = 16;

/// Transfers under way.
#[derive(Debug, Default)]
pub struct Transfers {
    tasks: JoinSet<Transferred>,
    alone: Arc<RwLock<()>>,
}

impl Transfers {
    /// Starts one.
    pub fn start(&mut self, transfer: Transfer, terms: Terms) {
        self.tasks.spawn(make(transfer, Arc::clone(&self.alone), terms));
    }

    /// The next one that has ended; never, while none is under way. Can be dropped at any time.
    pub async fn next(&mut self) -> Transferred {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(transferred)) => return transferred,
                Some(Err(error)) => tracing::error!(%error, "a transfer is lost"),
                None => future::pending().await,
            }
        }
    }
}

/// Makes a transfer. It ends within a few times [`TOTAL`], whatever the other side does.
async fn make(transfer: Transfer, alone: Arc<RwLock<()>>, terms: Terms) -> Transferred {
    let beside = alone.read().await;
    let counted = spoilt();
    let small = exchange(transfer.to(), Method::HEAD, &terms).await;
    let seen = if small.ended == Ended::Silent {
        let came = spoilt_since(counted);
        drop(beside);
        silent(&transfer, small, came, &alone, &terms).await
    } else {
        let bulk = bulk(&transfer, &small, &terms).await;
        Seen { small, node_answers: None, bulk, spoilt: spoilt_since(counted) }
    };
    Transferred { transfer, seen }
}

async fn bulk(transfer: &Transfer, small: &Exchange, terms: &Terms) -> Option<Bulk> {
    if small.ended != (Ended::Answered { status: 200 }) {
        return None;
    }
    let to = transfer.to();
    let (from_peer, to_peer) = tokio::join!(exchange(to, Method::GET, terms), exchange(to, Method::POST, terms));
    Some(Bulk { from_peer, to_peer })
}

/// Nothing came back. If something did that the kernel threw away, it is tried again while no other transfer is under
/// way, since the kernel counts for all of them together.
async fn silent(transfer: &Transfer, small: Exchange, came: Option<u64>, alone: &RwLock<()>, terms: &Terms) -> Seen {
    let node_answers = match transfer.node {
        Some(node) => {
            let beside = exchange(SocketAddr::new(node, transfer.port), Method::HEAD, terms).await;
            Some(matches!(beside.ended, Ended::Answered { .. }))
        }
        None => None,
    };
    if came.is_none_or(|came| came == 0) {
        return Seen { small, node_answers, bulk: None, spoilt: came };
    }
    let _alone = alone.write().await;
    let counted = spoilt();
    let small = exchange(transfer.to(), Method::HEAD, terms).await;
    let bulk = bulk(transfer, &small, terms).await;
    Seen { small, node_answers, bulk, spoilt: spoilt_since(counted) }
}

/// TCP segments with a wrong checksum that have come to this network namespace so far.
fn spoilt() -> Option<u64> {
    let text = host::read(Path::new("/"), HostFile::Snmp).ok()??;
    proc::tcp_checksum_errors(&text)
}

fn spoilt_since(before: Option<u64>) -> Option<u64> {
    Some(spoilt()?.saturating_sub(before?))
}

async fn exchange(to: SocketAddr, method: Method, terms: &Terms) -> Exchange {
    let without = |ended| Exchange { ended, arrived: 0, kernel: None };
    let stream = match timeout(CONNECT, TcpStream::connect(to)).await {
        Err(_) => return without(Ended::Silent),
        Ok(Err(error)) => return without(not_connected(&error)),
        Ok(Ok(stream)) => stream,
    };
    let witness = match Witness::of(&stream) {
        Ok(witness) => witness,
        Err(error) => return without(not_connected(&error)),
    };
    let mut arrived = 0;
    let ended = tokio::select! {
        ended = talk(stream, to, method, &mut arrived, terms) => ended.unwrap_or_else(|why| Ended::Broken { why }),
        () = standstill(&witness) => {
            witness.reset_on_close();
            Ended::Stalled
        }
    };
    Exchange { ended, arrived, kernel: witness.look() }
}

fn not_connected(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Ended::Refused,
        io::ErrorKind::TimedOut => Ended::Silent,
        _ => Ended::NotConnected { why: error.to_string() },
    }
}

/// Ends when the connection has stood still for too many looks, or there were too many in all.
async fn standstill(witness: &Witness) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut idle) = (None, 0);
    for _ in 0..TOTAL.as_millis() / LOOK.as_millis() {
        ticks.tick().await;
        let now = witness.look().map(|kernel| (kernel.acknowledged, kernel.received));
        idle = if now.is_some() && now == before { idle + 1 } else { 0 };
        before = now;
        if idle >= LOOKS {
            return;
        }
    }
}

/// One request and its answer. `arrived` counts bulk while it comes.
async fn talk(
    stream: TcpStream,
    to: SocketAddr,
    method: Method,
    arrived: &mut u32,
    terms: &Terms,
) -> Result<Ended, String> {
    let in_words = |error: hyper::Error| call::in_words(&error, terms);
    let stream = call::over(stream, to, terms).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(in_words)?;
    let request = request(to, &method, terms)?;
    let talked = async {
        let response = sender.send_request(request).await.map_err(in_words)?;
        let status = response.status().as_u16();
        let body = Body::new(response.into_body());
        match method {
            Method::GET if status == 200 => count(body, arrived).await?,
            Method::POST if status == 200 => *arrived = number(body).await?,
            _ => {}
        }
        Ok(Ended::Answered { status })
    };
    tokio::select! {
        talked = talked => talked,
        never = driven(connection) => match never {},
    }
}

fn request(to: SocketAddr, method: &Method, terms: &Terms) -> Result<Request<Body>, String> {
    let body = match *method {
        Method::POST => Body::from(vec![0; BYTES as usize]),
        _ => Body::empty(),
    };
    let agent = concat!("mtuscope/", env!("CARGO_PKG_VERSION"));
    let request = Request::builder().method(method).uri(PATH);
    let request = request.header(header::HOST, to.to_string()).header(header::USER_AGENT, agent);
    let mut request = request.body(body).map_err(|error| error.to_string())?;
    if let Some(shown) = terms.authorization() {
        request.headers_mut().insert(header::AUTHORIZATION, shown.clone());
    }
    Ok(request)
}

/// Drives the connection; how it fails is seen by whoever talks over it.
async fn driven(connection: impl Future<Output = hyper::Result<()>>) -> Infallible {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a transfer's connection failed");
    }
    future::pending().await
}

async fn count(body: Body, arrived: &mut u32) -> Result<(), String> {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        *arrived = arrived.saturating_add(u32::try_from(length(&chunk)?).unwrap_or(u32::MAX));
        if *arrived > BYTES {
            return Err("more came than was asked for".into());
        }
    }
    Ok(())
}

fn length(chunk: &Result<Bytes, axum::Error>) -> Result<usize, String> {
    chunk.as_ref().map(Bytes::len).map_err(ToString::to_string)
}

/// What a peer says arrived there.
async fn number(body: Body) -> Result<u32, String> {
    let text = axum::body::to_bytes(body, NUMBER).await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|_| format!("{:?} is no number of bytes", text.trim()))
}

#[cfg(test)]
mod tests;
