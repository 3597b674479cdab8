//! What a request is answered with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::{Response, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::body::Lines;
use super::store::Selector;
use super::{Fault, Gone, NAMESPACE, Request, Shared, State, Turn, Verb, WATCH};

/// Lines that wait for a slow client.
const WAITING: usize = 64;

/// Answers a request.
pub(super) async fn to(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Lines>, Infallible> {
    let asked = asked(&request);
    let (number, fault) = shared.state().take(&asked);
    let answer = match fault {
        Some(fault) => faulty(fault).await,
        None => regular(&asked, &shared),
    };
    shared.state().requests[number].status = Some(answer.status().as_u16());
    Ok(answer)
}

fn asked(request: &hyper::Request<Incoming>) -> Request {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<String, String> = pairs.map(|(key, value)| (decoded(key), decoded(value))).collect();
    let is = |key: &str| query.get(key).is_some_and(|value| value == "true" || value == "1");
    let verb = match (is("watch"), is("sendInitialEvents")) {
        (true, true) => Verb::Stream,
        (true, false) => Verb::Watch,
        (false, _) => Verb::List,
    };
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map(ToOwned::to_owned);
    Request { verb, path: request.uri().path().to_owned(), query, token, status: None }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap_or_default();
                (digit() * 16 + digit()) as u8
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl State {
    /// Notes a request: its number, and what goes wrong with it.
    fn take(&mut self, asked: &Request) -> (usize, Option<Fault>) {
        self.requests.push(asked.clone());
        let planned = self.next.iter().position(|(verb, _)| *verb == asked.verb);
        let fault = planned.and_then(|at| self.next.remove(at)).map(|(_, fault)| fault);
        let fault = fault.or_else(|| self.always.clone()).filter(|fault| !matches!(fault, Fault::None));
        (self.requests.len() - 1, fault)
    }
}

async fn faulty(fault: Fault) -> Response<Lines> {
    match fault {
        Fault::Status { code, reason, message, retry_after } => {
            let mut answer = status(code, &reason, &message, retry_after);
            wait_for(&mut answer, retry_after);
            answer
        }
        Fault::Text { code, body, retry_after } => {
            let mut answer = with(code, "text/plain; charset=utf-8", Lines::whole(body));
            wait_for(&mut answer, retry_after);
            answer
        }
        Fault::None | Fault::Hang => std::future::pending().await,
        Fault::Silence => {
            let (tell, lines) = mpsc::channel(1);
            // Ends with the connection, which is the client's to end.
            tokio::spawn(async move { tell.closed().await });
            json_with(200, Lines::Coming(lines))
        }
        Fault::Body(body) => json_with(200, Lines::whole(body)),
        Fault::Broken(beginning) => {
            let (tell, lines) = mpsc::channel(2);
            _ = tell.try_send(Ok(Bytes::from(beginning)));
            tokio::spawn(async move {
                // The beginning is on its way before the connection breaks.
                tokio::task::yield_now().await;
                _ = tell.send(Err(io::ErrorKind::ConnectionReset.into())).await;
            });
            json_with(200, Lines::Coming(lines))
        }
    }
}

fn wait_for(answer: &mut Response<Lines>, seconds: Option<u32>) {
    if let Some(seconds) = seconds {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
}

fn regular(asked: &Request, shared: &Arc<Shared>) -> Response<Lines> {
    let state = shared.state();
    if !state.tokens.is_empty() && !asked.token.as_ref().is_some_and(|token| state.tokens.contains(token)) {
        return status(401, "Unauthorized", "Unauthorized", None);
    }
    if asked.path != format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices") {
        return status(404, "NotFound", "the server could not find the requested resource", None);
    }
    let given = |key: &str| asked.query.get(key).map_or("", String::as_str);
    let Some(selector) = Selector::parse(given("labelSelector")) else {
        return status(400, "BadRequest", "unable to parse requirement", None);
    };
    if given("resourceVersion").parse().is_ok_and(|version: u64| version > state.store.version()) {
        return too_large(given("resourceVersion"), state.store.version());
    }
    drop(state);
    match asked.verb {
        Verb::List => list(asked, &selector, &shared.state()),
        Verb::Stream if !shared.state().streams => status(
            422,
            "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for \
             watch unless the WatchList feature gate is enabled",
            None,
        ),
        Verb::Stream if given("resourceVersionMatch") != "NotOlderThan" || given("allowWatchBookmarks") != "true" => {
            status(422, "Invalid", "resourceVersionMatch: Forbidden: sendInitialEvents needs NotOlderThan", None)
        }
        Verb::Stream | Verb::Watch => watch(asked, selector, shared),
    }
}

/// What a server says that has not seen a version yet.
fn too_large(wanted: &str, current: u64) -> Response<Lines> {
    let mut body = status_object(
        504,
        "Timeout",
        &format!("Timeout: Too large resource version: {wanted}, current: {current}"),
        Some(1),
    );
    body["details"]["causes"] =
        json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]);
    json_with(504, Lines::whole(body.to_string()))
}

fn list(asked: &Request, selector: &Selector, state: &State) -> Response<Lines> {
    let token = asked.query.get("continue").and_then(|token| token.split_once('.'));
    let version = token.map_or(Some(state.store.version()), |(version, _)| version.parse().ok());
    let Some(version) = version else { return status(400, "BadRequest", "continue key is not valid", None) };
    let Ok(mut objects) = state.store.at(version, selector) else {
        let message = "The provided continue parameter is too old to display a consistent list result.";
        return status(410, "Expired", message, None);
    };
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some((_, after)) = token {
        objects.retain(|object| name(object).as_str() > after);
    }
    let limit = asked.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if objects.len() > limit {
        metadata["remainingItemCount"] = (objects.len() - limit).into();
        objects.truncate(limit);
        metadata["continue"] = format!("{version}.{}", objects.last().map(name).unwrap_or_default()).into();
    }
    for object in objects.iter_mut().filter_map(Value::as_object_mut) {
        object.remove("kind");
        object.remove("apiVersion");
    }
    let list = json!({
        "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata, "items": objects,
    });
    json_with(200, Lines::whole(list.to_string() + "\n"))
}

fn watch(asked: &Request, selector: Selector, shared: &Arc<Shared>) -> Response<Lines> {
    // Turns are counted from before the store is read, so that no change falls between.
    let turns = shared.turn.subscribe();
    let state = shared.state();
    let now = state.store.version();
    let from = match asked.query.get("resourceVersion").map_or("", String::as_str) {
        "" | "0" => None,
        version => version.parse().ok(),
    };
    let mut first = Vec::new();
    if asked.verb == Verb::Stream || from.is_none() {
        let objects = state.store.at(now, &selector).unwrap_or_default();
        first.extend(objects.iter().map(|object| line("ADDED", object)));
        if asked.verb == Verb::Stream {
            first.push(bookmark(now, true));
        }
    } else if let Some(version) = from
        && let Err(old) = state.store.since(version, &selector)
        && state.gone == Gone::Status
    {
        return status(410, "Expired", &too_old(version, old.floor), None);
    }
    let cursor = if first.is_empty() { from.unwrap_or(now) } else { now };
    let time = asked.query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let bookmarks = asked.query.get("allowWatchBookmarks").is_some_and(|yes| yes == "true");
    let (tell, lines) = mpsc::channel(WAITING);
    let watcher = Watcher {
        selector,
        cursor,
        bookmarks,
        seen: *turns.borrow(),
        until: Instant::now() + time.unwrap_or(WATCH),
        tell,
    };
    tokio::spawn(watcher.run(first, turns, Arc::clone(shared)));
    json_with(200, Lines::Coming(lines))
}

/// One watch that goes on.
struct Watcher {
    selector: Selector,
    /// The version that was told last.
    cursor: u64,
    bookmarks: bool,
    seen: Turn,
    until: Instant,
    tell: mpsc::Sender<io::Result<Bytes>>,
}

impl Watcher {
    /// Goes on until it is ended, or the client is gone.
    async fn run(
        mut self,
        first: Vec<String>,
        mut turns: tokio::sync::watch::Receiver<Turn>,
        shared: Arc<Shared>,
    ) -> Option<()> {
        self.send(first).await?;
        loop {
            let turn = *turns.borrow_and_update();
            let (lines, gone) = self.news(&turn, &shared);
            self.send(lines).await?;
            if gone || turn.over || turn.ends != self.seen.ends {
                return None;
            }
            self.seen = turn;
            tokio::select! {
                changed = turns.changed() => changed.ok()?,
                () = self.tell.closed() => return None,
                () = sleep_until(self.until) => return None,
            }
        }
    }

    fn news(&mut self, turn: &Turn, shared: &Shared) -> (Vec<String>, bool) {
        let state = shared.state();
        let events = match state.store.since(self.cursor, &self.selector) {
            Ok(events) => events,
            Err(old) => {
                let object = status_object(410, "Expired", &too_old(self.cursor, old.floor), None);
                return (vec![line("ERROR", &object)], true);
            }
        };
        let mut lines: Vec<String> = events.iter().map(|(kind, object)| line(kind, object)).collect();
        self.cursor = state.store.version();
        if self.bookmarks && turn.bookmarks != self.seen.bookmarks {
            lines.push(bookmark(self.cursor, false));
        }
        (lines, false)
    }

    async fn send(&self, lines: Vec<String>) -> Option<()> {
        for line in lines {
            self.tell.send(Ok(line.into())).await.ok()?;
        }
        Some(())
    }
}

fn too_old(version: u64, floor: u64) -> String {
    format!("too old resource version: {version} ({floor})")
}

fn line(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string() + "\n"
}

fn bookmark(version: u64, initial: bool) -> String {
    let mut object = json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
        "addressType": "",
        "endpoints": null,
        "ports": null,
    });
    if initial {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    line("BOOKMARK", &object)
}

fn status(code: u16, reason: &str, message: &str, retry_after: Option<u32>) -> Response<Lines> {
    json_with(code, Lines::whole(status_object(code, reason, message, retry_after).to_string() + "\n"))
}

fn status_object(code: u16, reason: &str, message: &str, retry_after: Option<u32>) -> Value {
    let mut object = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    if let Some(seconds) = retry_after {
        object["details"] = json!({ "retryAfterSeconds": seconds });
    }
    object
}

fn json_with(code: u16, body: Lines) -> Response<Lines> {
    with(code, "application/json", body)
}

fn with(code: u16, kind: &'static str, body: Lines) -> Response<Lines> {
    let mut answer = Response::new(body);
    *answer.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}
