//! `/cluster`: the picture of the whole cluster, drawn when somebody asks for it.
//!
//! However many ask, the peers are asked once: whoever comes while a picture is drawn waits for that one, and whoever
//! comes within [`KEEP`] after it gets the same, with its age. It is drawn by a task of its own, so a client that leaves
//! takes nothing from the others. Then it is let go: nobody asks for hours, and the picture of a large cluster is
//! megabytes.
//!
//! A browser gets it as a page, and on it every pair of nodes is a link: `?from=A&to=B` asks the agents of those two
//! ([`pairs`]). Names in the picture may be such that nodes told of themselves; by which name each is known here is kept
//! from the last picture, and one is drawn if a name means nothing.

mod pairs;
mod wanted;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use probes::cluster::Matrix;
use probes::report::Published;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Site;
use super::document::{Document, HTML, guard};
use super::early;
use super::pages::{accept, body, latest, plain};
use crate::io::cluster::{self, Plan};
use crate::publish::page::cluster as page;
use crate::publish::text::{self, Style};
#[cfg(test)]
pub(in crate::publish) use pairs::LAST_TURN;
use pairs::Pairs;
use wanted::Form;

/// The path.
pub(crate) const PATH: &str = "/cluster";

/// How long a picture is good for.
const KEEP: Duration = Duration::from_secs(10);

/// Why a pair is not shown, in a word and in a sentence.
const NO_PAIR: (&str, &str) = ("No pair", "choose two different nodes");
const NOBODY: (&str, &str) = ("No such pair", "one of these names is no node that this agent knows");
const ONE_NODE: (&str, &str) = ("No such pair", "these two names are not two nodes");
const TOO_MANY: (&str, &str) = ("Not asked", "too many pairs are asked for at once; this page asks again by itself");

const NOT_DRAWN: &str = "the picture could not be drawn; the agent's log says why\n";

pub(super) fn router(site: Arc<Site>) -> Router {
    let desk = Desk { site, drawing: Mutex::default(), pairs: Pairs::default(), known_as: Mutex::default() };
    Router::new().route(PATH, get(answer)).with_state(Arc::new(desk))
}

/// Where pictures are asked for.
struct Desk {
    site: Arc<Site>,
    /// The picture that is drawn or kept.
    drawing: Mutex<Option<watch::Receiver<Option<Drawn>>>>,
    pairs: Pairs,
    /// By which name nodes are known here that the last picture calls otherwise.
    known_as: Mutex<BTreeMap<String, String>>,
}

/// A picture in every form.
#[derive(Clone, Debug)]
struct Drawn {
    at: Instant,
    json: Bytes,
    text: Bytes,
    html: Document,
}

impl Drawn {
    fn of(matrix: &Matrix) -> Result<Self, String> {
        let json = serde_json::to_vec(matrix).map_err(|error| error.to_string())?;
        let html = page::cluster(matrix).map_err(|error| error.to_string())?;
        let text = text::cluster(matrix, Style::default());
        Ok(Self { at: Instant::now(), json: json.into(), text: text.into(), html: Document::new(HTML, html) })
    }
}

async fn answer(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(form) = wanted::form(&uri, accept(&headers)) else {
        return plain(StatusCode::BAD_REQUEST, "format must be html, json or text\n");
    };
    match wanted::pair(&uri) {
        Some(names) if form == Form::Html => pair(&desk, names, &headers).await,
        Some(_) => plain(StatusCode::BAD_REQUEST, "a pair is a page: ask for format=html, or leave out from and to\n"),
        None => picture(&desk, form, &headers).await,
    }
}

async fn picture(desk: &Arc<Desk>, form: Form, headers: &HeaderMap) -> Response {
    let Some(mut drawing) = desk.drawing() else {
        return if form == Form::Html { early::page(PATH, desk.is_tls()) } else { early::answer() };
    };
    let drawn = drawing.wait_for(Option::is_some).await.ok().and_then(|drawn| drawn.clone());
    let Some(drawn) = drawn else { return plain(StatusCode::INTERNAL_SERVER_ERROR, NOT_DRAWN) };
    let age = drawn.at.elapsed();
    let mut response = match form {
        Form::Json => body(StatusCode::OK, "application/json", drawn.json),
        Form::Text => plain(StatusCode::OK, drawn.text),
        Form::Html => return desk.page(&drawn.html, headers, age),
    };
    let cache = HeaderValue::from_str(&format!("private, max-age={}", KEEP.as_secs()));
    response.headers_mut().insert(header::CACHE_CONTROL, cache.expect("letters and digits"));
    response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// As for every page, but that its form may be sent.
fn permit_form(response: &mut Response) {
    let policy = HeaderValue::from_str(&page::FORM_POLICY).expect("letters, digits and punctuation");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
}

async fn pair(desk: &Arc<Desk>, names: [String; 2], headers: &HeaderMap) -> Response {
    let begun = Instant::now();
    let Some(published) = latest(&desk.site) else { return early::page(PATH, desk.is_tls()) };
    let known = known(&published);
    let others: Vec<&str> = known.iter().map(String::as_str).collect();
    let refused = |status, said| desk.refusal(status, page::no_pair(said, &names[0], &names[1], &others));
    if names.iter().any(String::is_empty) || names[0] == names[1] {
        return refused(StatusCode::BAD_REQUEST, NO_PAIR);
    }
    let mut asked = names.clone();
    for name in &mut asked {
        match desk.known_as(&known, name).await {
            Some(known) => *name = known,
            None => return refused(StatusCode::NOT_FOUND, NOBODY),
        }
    }
    let made = desk.pairs.of(&names, begun, async {
        let orders = desk.site.orders.borrow().clone();
        let gathered = cluster::pair::gather(&published, orders.config.port, asked, Plan::default(), &orders.terms);
        let pair = gathered.await.ok_or(None)?;
        let doors = page::Doors { tls: orders.terms.is_tls(), port: orders.config.port };
        page::pair(&pair, &others, doors).map(|text| Document::new(HTML, text)).map_err(Some)
    });
    match made.await {
        Some(Ok((document, age))) => desk.page(&document, headers, age),
        Some(Err(None)) => refused(StatusCode::NOT_FOUND, ONE_NODE),
        Some(Err(Some(error))) => desk.refusal(StatusCode::INTERNAL_SERVER_ERROR, Err(error)),
        None => refused(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY),
    }
}

/// The nodes that this agent has a name for, in order.
fn known(published: &Published) -> Vec<String> {
    let (own, agents) = (&published.report, &published.agents);
    let peers = own.paths.iter().map(|path| &path.peer).filter(|peer| *peer != probes::peers::GATEWAY);
    let mut all: Vec<String> =
        agents.iter().map(|agent| &agent.peer).chain(peers).chain([&own.node]).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Desk {
    fn is_tls(&self) -> bool {
        self.site.surface.borrow().tls().is_some()
    }

    fn page(&self, document: &Document, headers: &HeaderMap, age: Duration) -> Response {
        let mut response = document.answer(headers, self.is_tls());
        permit_form(&mut response);
        response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
        response
    }

    fn refusal(&self, status: StatusCode, document: askama::Result<String>) -> Response {
        match document {
            Ok(text) => {
                let mut response = body(status, HTML, text);
                guard(response.headers_mut(), self.is_tls());
                permit_form(&mut response);
                response
            }
            Err(error) => {
                tracing::error!(%error, "a page of the cluster could not be written");
                plain(StatusCode::INTERNAL_SERVER_ERROR, NOT_DRAWN)
            }
        }
    }

    /// By which of its `known` names a node is asked for.
    async fn known_as(self: &Arc<Self>, known: &[String], name: &str) -> Option<String> {
        if known.iter().any(|known| known == name) {
            return Some(name.to_owned());
        }
        if let Some(known) = self.told(name) {
            return Some(known);
        }
        _ = self.drawing()?.wait_for(Option::is_some).await;
        self.told(name)
    }

    fn told(&self, name: &str) -> Option<String> {
        self.known_as.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn learn(&self, matrix: &Matrix) {
        let known = matrix.nodes.iter().filter_map(|node| Some((node.name.clone(), node.known_as.clone()?)));
        *self.known_as.lock().unwrap_or_else(PoisonError::into_inner) = known.collect();
    }

    /// The picture that is there or on its way, begun if there is none; `None` before the first round.
    fn drawing(self: &Arc<Self>) -> Option<watch::Receiver<Option<Drawn>>> {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*drawing
            && (there.borrow().is_some() || there.has_changed().is_ok())
        {
            return Some(there.clone());
        }
        let published = latest(&self.site)?;
        let (tell, told) = watch::channel(None);
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            let orders = desk.site.orders.borrow().clone();
            let matrix = cluster::gather(&published, orders.config.port, Plan::default(), &orders.terms).await;
            desk.learn(&matrix);
            match tokio::task::spawn_blocking(move || Drawn::of(&matrix)).await {
                Ok(Ok(drawn)) => _ = tell.send(Some(drawn)),
                Ok(Err(error)) => tracing::error!(%error, "the picture of the cluster cannot be written"),
                Err(error) => tracing::error!(%error, "the picture of the cluster was not drawn"),
            }
            // Who waits for what will not come is told so by this.
            drop(tell);
            tokio::time::sleep(KEEP).await;
            *desk.drawing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        *drawing = Some(told.clone());
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use probes::config::Config;
    use probes::report::Vantage;

    use super::super::super::{example, metrics::Standing};
    use super::super::Surface;
    use super::*;
    use crate::driver;
    use crate::io::call::Terms;

    fn desk() -> Arc<Desk> {
        let site = Site {
            published: watch::channel(Some(Arc::new(example::published()))).1,
            standing: watch::channel(Standing::default()).1,
            orders: driver::standing(Config::new("master-1"), "/".into(), Terms::default()),
            codes: example::CODES.to_vec(),
            vantage: Vantage::Node,
            proc: "/proc".into(),
            surface: watch::channel(Surface::default()).1,
        };
        let (drawing, known_as) = (Mutex::default(), Mutex::default());
        Arc::new(Desk { site: Arc::new(site), drawing, pairs: Pairs::default(), known_as })
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_whose_turn_does_not_come_is_not_called_one_that_is_not() {
        let desk = desk();
        let two = |one: &str, other: &str| [one.to_owned(), other.to_owned()];
        let (one, other, headers) = (two("a", "b"), two("c", "d"), HeaderMap::new());
        let never = || pending::<Result<Document, ()>>();
        let answer = tokio::select! {
            biased;
            _ = desk.pairs.of(&one, Instant::now(), never()) => unreachable!("it never ends"),
            _ = desk.pairs.of(&other, Instant::now(), never()) => unreachable!("it never ends"),
            answer = pair(&desk, two("master-1", "master-2"), &headers) => answer,
        };
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let page = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8_lossy(&page);
        assert!(page.contains("Not asked:</span> too many pairs") && !page.contains("No such pair"), "{page}");
        assert!(page.contains("http-equiv=\"refresh\""), "it asks again by itself: {page}");
    }
}
