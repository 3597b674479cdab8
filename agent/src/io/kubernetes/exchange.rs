//! One query and its answer: a chunk of a list, or a watch until it ends.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Response, StatusCode, header};
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::Request;
use probes::peers::announced::answers::{Event, Page, Status};
use probes::peers::announced::course::{CHUNK, Failed, Kind, Query};
use tokio::time::{Instant, sleep_until, timeout};

use super::server::Server;
use super::{Asking, words};

/// How long the beginning of an answer may take, and each piece of a list.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a watch may say nothing. Servers send a bookmark about every minute.
pub(super) const SILENCE: Duration = Duration::from_secs(150);

/// Largest chunk of a list, and largest event: `etcd` holds no object above 1.5 MiB, and lists are chunked.
const LARGEST: usize = 32 << 20;

/// Largest refusal that is read.
const REFUSAL: usize = 64 << 10;

/// How an answer came to its end.
pub(super) enum Ended {
    /// A chunk of a list was taken.
    List,
    /// A watch ended in order.
    Watch,
}

/// Asks, and tells the course what is answered.
pub(super) async fn ask(server: &Server, query: &Query, asking: &mut Asking<'_>) -> Result<Ended, Failed> {
    let request = request(server, query, asking);
    let answer = match timeout(PATIENCE, server.client.send(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(broken(server, query, &words::chain(&error))),
        Err(_) => return Err(silent(server, query, PATIENCE)),
    };
    if answer.status() != StatusCode::OK {
        return Err(refused(server, query, answer).await);
    }
    let body = answer.into_body();
    match query {
        Query::List(_) => list(server, query, body, asking).await.map(|()| Ended::List),
        Query::Stream | Query::Watch(_) => watch(server, query, body, asking).await.map(|()| Ended::Watch),
    }
}

fn request(server: &Server, query: &Query, asking: &mut Asking<'_>) -> hyper::Request<Body> {
    let slices = Request::new(format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", server.namespace));
    let labels = asking.course.selector();
    let built = match query {
        Query::List(token) => {
            let list = ListParams::default().labels(&labels).limit(CHUNK);
            slices.list(&ListParams { continue_token: token.clone(), ..list })
        }
        Query::Stream | Query::Watch(_) => {
            let seconds = asking.course.watch_time().as_secs() as u32;
            let watch = WatchParams::default().labels(&labels).timeout(seconds);
            match query {
                Query::Watch(version) => slices.watch(&watch, version),
                _ => slices.watch(&WatchParams { send_initial_events: true, ..watch }, ""),
            }
        }
    };
    built.expect("a namespace and a selector that were checked make a request").map(Body::from)
}

async fn list(server: &Server, query: &Query, mut body: Body, asking: &mut Asking<'_>) -> Result<(), Failed> {
    let mut whole = Vec::new();
    while let Some(bytes) = piece(server, query, &mut body).await? {
        if whole.len() + bytes.len() > LARGEST {
            return Err(malformed(server, query, "an answer that is larger than any list"));
        }
        whole.extend_from_slice(&bytes);
    }
    let page = Page::parse(&whole).map_err(|why| malformed(server, query, &why))?;
    asking.course.on_page(page);
    Ok(())
}

async fn piece(server: &Server, query: &Query, body: &mut Body) -> Result<Option<Bytes>, Failed> {
    loop {
        match timeout(PATIENCE, body.frame()).await {
            Err(_) => return Err(silent(server, query, PATIENCE)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(broken(server, query, &words::chain(&error))),
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

async fn watch(server: &Server, query: &Query, mut body: Body, asking: &mut Asking<'_>) -> Result<(), Failed> {
    asking.course.on_open(asking.now());
    asking.teller.news();
    let mut lines = Lines::default();
    let mut heard = Instant::now();
    loop {
        // A list that is streamed is on its way; after it, nothing may be heard for a while.
        let patience = if asking.course.is_whole_coming() { PATIENCE } else { SILENCE };
        tokio::select! {
            frame = body.frame() => match frame {
                None => return Ok(()),
                Some(Err(error)) => return Err(broken(server, query, &words::chain(&error))),
                Some(Ok(frame)) => {
                    heard = Instant::now();
                    if let Ok(bytes) = frame.into_data() {
                        lines.bytes.extend_from_slice(&bytes);
                        take(server, query, &mut lines, asking)?;
                    }
                }
            },
            () = sleep_until(heard + patience) => return Err(silent(server, query, patience)),
            () = asking.teller.due() => asking.teller.tell(&mut asking.course),
        }
    }
}

/// Takes every whole line.
fn take(server: &Server, query: &Query, lines: &mut Lines, asking: &mut Asking<'_>) -> Result<(), Failed> {
    while let Some(line) = lines.next() {
        let event = Event::parse(&lines.bytes[line]).map_err(|why| malformed(server, query, &why))?;
        let taken = asking.course.on_event(event, asking.now());
        asking.teller.news();
        taken.map_err(|status| Failed {
            kind: Kind::of(&status),
            retry_after: retry_after(&HeaderMap::new(), &status),
            unread: words::refused(server, query, &status),
        })?;
    }
    lines.forget_taken();
    if lines.bytes.len() > LARGEST {
        return Err(malformed(server, query, "an event that is larger than any object"));
    }
    Ok(())
}

/// Bytes of a watch, cut into lines.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// What was taken, and what has no line's end in it.
    taken: usize,
    searched: usize,
}

impl Lines {
    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        loop {
            let Some(at) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let line = self.taken..self.searched + at;
            (self.taken, self.searched) = (line.end + 1, line.end + 1);
            if !self.bytes[line.clone()].trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        // One large event does not hold its memory for as long as the watch goes on.
        self.bytes.shrink_to(self.bytes.len().max(IDLE));
    }
}

/// Memory that a watch holds while nothing comes.
const IDLE: usize = 64 << 10;

async fn refused(server: &Server, query: &Query, answer: Response<Body>) -> Failed {
    let (head, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Ok(Some(bytes)) = piece(server, query, &mut body).await {
        text.extend_from_slice(&bytes);
        if text.len() > REFUSAL {
            break;
        }
    }
    let mut status: Status = serde_json::from_slice(&text).unwrap_or_default();
    if status.message.is_empty() {
        status.message = String::from_utf8_lossy(&text).trim().to_owned();
    }
    status.code = head.status.as_u16();
    Failed {
        kind: Kind::of(&status),
        retry_after: retry_after(&head.headers, &status),
        unread: words::refused(server, query, &status),
    }
}

/// How long the server asks to be left alone: by the header, which comes with bare text too, or in the status.
fn retry_after(headers: &HeaderMap, status: &Status) -> Option<Duration> {
    let header = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let seconds: Option<u32> = header.or_else(|| status.details.as_ref().map(|details| details.retry_after_seconds));
    seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
}

fn silent(server: &Server, query: &Query, patience: Duration) -> Failed {
    let why = format!("nothing came for {} s", patience.as_secs());
    Failed { kind: Kind::Silent, retry_after: None, unread: words::broken(server, query, &why) }
}

fn broken(server: &Server, query: &Query, why: &str) -> Failed {
    Failed { kind: Kind::Broken, retry_after: None, unread: words::broken(server, query, why) }
}

fn malformed(server: &Server, query: &Query, why: &str) -> Failed {
    Failed { kind: Kind::Broken, retry_after: None, unread: words::malformed(server, query, why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&str]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.bytes.extend_from_slice(piece.as_bytes());
            while let Some(line) = lines.next() {
                seen.push(String::from_utf8(lines.bytes[line].to_vec()).unwrap());
            }
            lines.forget_taken();
        }
        seen
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        assert_eq!(cut(&["one\ntwo\n"]), ["one", "two"]);
        assert_eq!(cut(&["on", "e", "\n\r\n", "tw", "o\nthr", "ee"]), ["one", "two"]);
        assert_eq!(cut(&["", "\n\n"]), [""; 0]);
    }

    #[test]
    fn the_header_outweighs_the_status() {
        let mut headers = HeaderMap::new();
        let mut status = Status::default();
        assert_eq!(retry_after(&headers, &status), None);
        status.details = serde_json::from_str(r#"{"retryAfterSeconds":7}"#).unwrap();
        assert_eq!(retry_after(&headers, &status), Some(Duration::from_secs(7)));
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("3"));
        assert_eq!(retry_after(&headers, &status), Some(Duration::from_secs(3)));
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(retry_after(&headers, &status), Some(Duration::from_secs(7)));
    }
}
