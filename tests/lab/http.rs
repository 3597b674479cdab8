//! A client for what the agent serves: one request, one connection, mostly from inside a namespace.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::namespace::Namespace;
use crate::{Error, Result};

/// How long a connection may stand still.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status, as in 200.
    pub status: u16,
    /// Header lines as they came.
    pub headers: String,
    /// Body.
    pub body: String,
}

impl Response {
    /// The value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.headers.lines().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// Gets `path` from `server`, with `Accept` as given.
///
/// # Errors
/// If nobody answers there, or the answer is no HTTP.
pub fn get(from: &Namespace, server: SocketAddr, path: &str, accept: &str) -> Result<Response> {
    from.inside(|| get_here(server, path, accept))?.map_err(|error| error.while_doing(format!("in {}", from.name())))
}

/// Sends a request as it is given, which must ask for the connection to be closed.
///
/// # Errors
/// As [`get`].
pub fn send(from: &Namespace, server: SocketAddr, request: &[u8]) -> Result<Response> {
    let doing = || format!("asking {server} in {}", from.name());
    let answer = from.inside(|| exchange(server, request))?.map_err(|error| Error::new(doing(), error))?;
    parse(&answer).ok_or_else(|| Error::new(doing(), format!("no HTTP answer: {answer:?}")))
}

/// As [`get`], from where the caller is.
///
/// # Errors
/// As [`get`].
pub fn get_here(server: SocketAddr, path: &str, accept: &str) -> Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    let doing = || format!("GET http://{server}{path}");
    let answer = exchange(server, request.as_bytes()).map_err(|error| Error::new(doing(), error))?;
    parse(&answer).ok_or_else(|| Error::new(doing(), format!("no HTTP answer: {answer:?}")))
}

fn exchange(server: SocketAddr, request: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let response = Response { status, headers: headers.to_owned(), body: body.to_owned() };
    let chunked = response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if chunked { Some(Response { body: unchunk(body)?, ..response }) } else { Some(response) }
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body += after.get(..size)?;
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_framings() {
        let whole = parse("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((whole.status, whole.body.as_str(), whole.header("content-type")), (200, "hi", Some("a/b")));
        let chunked =
            parse("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n").unwrap();
        assert_eq!((chunked.status, chunked.body.as_str()), (503, "abcd"));
    }

    #[test]
    fn what_is_no_http_is_no_answer() {
        assert!(parse("SSH-2.0-OpenSSH\r\n\r\n").is_none());
        assert!(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").is_none(), "cut short");
    }
}
