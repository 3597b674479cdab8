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
use super::pages::{NOT_READY, accept, body, latest, plain};
use crate::io::cluster::{self, Plan};
use crate::publish::page::cluster as page;
use crate::publish::text::{self, Style};
use pairs::Pairs;
use wanted::Form;

/// The path.
pub(crate) const PATH: &str = "/cluster";

/// How long a picture is good for.
const KEEP: Duration = Duration::from_secs(10);

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
    html: Bytes,
}

impl Drawn {
    fn of(matrix: &Matrix) -> Result<Self, String> {
        let json = serde_json::to_vec(matrix).map_err(|error| error.to_string())?;
        let html = page::cluster(matrix).map_err(|error| error.to_string())?;
        let text = text::cluster(matrix, Style::default());
        Ok(Self { at: Instant::now(), json: json.into(), text: text.into(), html: html.into() })
    }
}

async fn answer(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(form) = wanted::form(&uri, accept(&headers)) else {
        return plain(StatusCode::BAD_REQUEST, "format must be html, json or text\n");
    };
    match wanted::pair(&uri) {
        Some(names) if form == Form::Html => pair(&desk, names).await,
        Some(_) => plain(StatusCode::BAD_REQUEST, "a pair is a page: ask for format=html, or leave out from and to\n"),
        None => picture(&desk, form).await,
    }
}

async fn picture(desk: &Arc<Desk>, form: Form) -> Response {
    let Some(mut drawing) = desk.drawing() else { return plain(StatusCode::SERVICE_UNAVAILABLE, NOT_READY) };
    let drawn = drawing.wait_for(Option::is_some).await.ok().and_then(|drawn| drawn.clone());
    let Some(drawn) = drawn else { return plain(StatusCode::INTERNAL_SERVER_ERROR, NOT_DRAWN) };
    let age = drawn.at.elapsed();
    let response = match form {
        Form::Json => body(StatusCode::OK, "application/json", drawn.json),
        Form::Text => plain(StatusCode::OK, drawn.text),
        Form::Html => html(StatusCode::OK, drawn.html),
    };
    aged(response, age)
}

fn html(status: StatusCode, document: impl Into<Bytes>) -> Response {
    let mut response = body(status, "text/html; charset=utf-8", document.into());
    let policy = HeaderValue::from_str(&page::FORM_POLICY).expect("hashes and words of ASCII");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn aged(mut response: Response, age: Duration) -> Response {
    let headers = response.headers_mut();
    let cache = HeaderValue::from_str(&format!("private, max-age={}", KEEP.as_secs()));
    headers.insert(header::CACHE_CONTROL, cache.expect("letters and digits"));
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

async fn pair(desk: &Arc<Desk>, names: [String; 2]) -> Response {
    let Some(published) = latest(&desk.site) else { return plain(StatusCode::SERVICE_UNAVAILABLE, NOT_READY) };
    let known = known(&published);
    let refused = |status, why: &str| {
        no_page(status, page::no_pair(why, &names[0], &names[1], &known.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    if names.iter().any(String::is_empty) || names[0] == names[1] {
        return refused(StatusCode::BAD_REQUEST, "choose two different nodes");
    }
    let mut asked = names.clone();
    for name in &mut asked {
        match desk.known_as(&known, name).await {
            Some(known) => *name = known,
            None => return refused(StatusCode::NOT_FOUND, "one of these names is no node that this agent knows"),
        }
    }
    let made = desk.pairs.of(&names, async {
        let orders = desk.site.orders.borrow().clone();
        let gathered = cluster::pair::gather(&published, orders.config.port, asked, Plan::default(), &orders.terms);
        let Some(pair) = gathered.await else { return Err(None) };
        let doors = page::Doors { tls: orders.terms.is_tls(), port: orders.config.port };
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        page::pair(&pair, &names, doors).map(Bytes::from).map_err(Some)
    });
    match made.await {
        Some(Ok((document, age))) => aged(html(StatusCode::OK, document), age),
        Some(Err(None)) => refused(StatusCode::NOT_FOUND, "these two names are not two nodes"),
        Some(Err(Some(error))) => no_page(StatusCode::OK, Err(error)),
        None => refused(StatusCode::SERVICE_UNAVAILABLE, "too many pairs are asked for; try again in a few seconds"),
    }
}

fn no_page(status: StatusCode, document: askama::Result<String>) -> Response {
    match document {
        Ok(document) => html(status, document),
        Err(error) => {
            tracing::error!(%error, "a page of the cluster could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, NOT_DRAWN)
        }
    }
}

/// The nodes that this agent has a name for, in order.
fn known(published: &Published) -> Vec<String> {
    let (own, agents) = (&published.report, &published.agents);
    let peers = own.paths.iter().map(|path| &path.peer).filter(|peer| *peer != probes::peers::GATEWAY);
    let mut all: Vec<String> = agents.iter().map(|agent| &agent.peer).chain(peers).chain([&own.node]).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Desk {
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
