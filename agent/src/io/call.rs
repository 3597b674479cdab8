//! Calls to other agents: one GET, one answer, bounded in time and size.
//!
//! Whom this agent trusts and what it shows of itself is in [`Terms`], the same for every call that it makes.
//!
//! The network between two agents may be the one that loses large packets: then it would lose the very report that says
//! so. A call therefore asks for segments of [`SEGMENT`] bytes, which any path has to carry.

mod stream;
mod terms;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub(super) use stream::{in_words, over};
pub use terms::Terms;

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From connecting to the last byte.
    pub time: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

/// Why there is no answer to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nothing came within the time.
    Late,
    /// There was no connection, or it broke.
    Broken {
        /// What happened.
        why: String,
    },
    /// The two could not agree on TLS, or do not trust each other.
    NoTls {
        /// What happened, and what to check.
        why: String,
    },
    /// Another status than 200.
    Refused {
        /// The status.
        status: u16,
        /// The first line of what was said to it.
        said: String,
    },
    /// More came than is taken.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => write!(f, "did not answer in time"),
            Self::Broken { why } | Self::NoTls { why } => f.write_str(why),
            Self::Refused { status, said } if said.is_empty() => write!(f, "answered {status}"),
            Self::Refused { status, said } => write!(f, "answered {status}: {said}"),
            Self::TooLarge { limit } => write!(f, "answered more than {limit} bytes"),
        }
    }
}

/// Largest TCP segment that is sent and asked for: with headers it makes 576 B, what every host has to take (RFC 1122,
/// 3.3.2), and no path of IPv6 carries less than 1,280 (RFC 8200, 5).
const SEGMENT: u32 = 536;

/// Longest line that is taken from an answer that is no report.
const SAID: usize = 200;

/// Gets `path` (with its query) from the agent at `to`.
///
/// # Errors
/// Whatever else there is than a whole answer of status 200.
pub async fn get(to: SocketAddr, path: &str, accept: &str, limits: Limits, terms: &Terms) -> Result<Bytes, Failed> {
    timeout(limits.time, talk(to, path, accept, limits.body, terms)).await.unwrap_or(Err(Failed::Late))
}

async fn talk(to: SocketAddr, path: &str, accept: &str, limit: usize, terms: &Terms) -> Result<Bytes, Failed> {
    let broken = |error: hyper::Error| Failed::Broken { why: in_words(&error, terms) };
    let stream = connect(to).await.map_err(|error| not_connected(to, &error))?;
    let stream = over(stream, to, terms).await.map_err(|why| Failed::NoTls { why })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut request = Request::get(path)
        .header(header::HOST, to.to_string())
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(|error| Failed::Broken { why: error.to_string() })?;
    if let Some(shown) = terms.authorization() {
        request.headers_mut().insert(header::AUTHORIZATION, shown.clone());
    }
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Body::new(response.into_body());
        if status == StatusCode::OK { whole(body, limit).await } else { Err(refused(status, body).await) }
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            _ = &mut connection, if !ended => ended = true,
        }
    }
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Before connecting: the other end is told in the handshake.
    SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
    socket.connect(to).await
}

async fn whole(body: Body, limit: usize) -> Result<Bytes, Failed> {
    let mut chunks = body.into_data_stream();
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Failed::Broken { why: error.to_string() })?;
        if all.len() + chunk.len() > limit {
            return Err(Failed::TooLarge { limit });
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

async fn refused(status: StatusCode, body: Body) -> Failed {
    let body = whole(body, SAID * 8).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let said = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(SAID).collect();
    Failed::Refused { status: status.as_u16(), said }
}

fn not_connected(to: SocketAddr, error: &io::Error) -> Failed {
    Failed::Broken { why: format!("cannot connect to {to}: {error}") }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_secs(5), body: 100 };

    /// What comes of a call to whoever gives this answer, and what it asked.
    fn called(answer: &'static [u8]) -> (Result<Bytes, Failed>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            _ = stream.write_all(answer);
            String::from_utf8(asked).unwrap()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(get(to, "/report?format=json", "application/json", LIMITS, &Terms::default()));
        (got, server.join().unwrap())
    }

    #[test]
    fn what_is_answered_is_had() {
        let (got, asked) = called(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}\n");
        assert_eq!(got, Ok(Bytes::from_static(b"{}\n")));
        assert!(asked.starts_with("GET /report?format=json HTTP/1.1\r\n") && asked.contains("application/json"));
    }

    #[test]
    fn whatever_else_comes_is_named() {
        let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 17\r\n\r\nfirst round\nlater";
        assert_eq!(called(refused).0.unwrap_err().to_string(), "answered 503: first round");
        let cut = called(b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{").0.unwrap_err();
        assert!(matches!(cut, Failed::Broken { .. }), "{cut}");
        let garbage = called(b"SSH-2.0-OpenSSH\r\n").0.unwrap_err();
        assert!(matches!(garbage, Failed::Broken { .. }), "{garbage}");
        let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n\
            00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(called(endless).0, Err(Failed::TooLarge { limit: 100 }));
    }

    /// Fails where a segment is as large as the path is said to carry: on loopback that is 64 KiB.
    #[test]
    fn segments_are_small_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let caller = runtime.block_on(connect(to)).unwrap();
        let (called, _) = listener.accept().unwrap();
        let sizes = [SockRef::from(&caller).tcp_mss().unwrap(), SockRef::from(&called).tcp_mss().unwrap()];
        assert!(sizes.iter().all(|size| (1..=SEGMENT).contains(size)), "{sizes:?}");
    }

    #[test]
    fn nobody_there_is_told_by_the_address() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(get(closed, "/report", "*/*", LIMITS, &Terms::default()));
        assert!(got.unwrap_err().to_string().starts_with(&format!("cannot connect to {closed}: ")));
    }

    #[test]
    fn who_says_nothing_is_late() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let got = runtime.block_on(get(to, "/report", "*/*", LIMITS, &Terms::default()));
        assert_eq!(got, Err(Failed::Late));
    }
}
