//! What each path answers.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use probes::card::{self, Card};
use probes::report::{Published, Report};
use serde::Serialize;

use super::super::exposition::{Format, quality};
use super::super::metrics::{self, Scrape, process::Process};
use super::super::text::{self, Style};
use super::kept::Kept;
use super::{Bounds, Site, cluster, early, home, transfers};

/// What tells only whether the agent is well; nobody has to say who they are.
pub(super) const HEALTH: [&str; 5] = ["/livez", "/healthz", "/-/healthy", "/readyz", "/-/ready"];

/// Health and nothing else.
pub(super) fn health(site: Arc<Site>) -> Router {
    healthy(Router::new())
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "there is nothing here but /livez and /readyz\n") })
        .method_not_allowed_fallback(|| async { plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n") })
        .with_state(site)
}

fn healthy(router: Router<Arc<Site>>) -> Router<Arc<Site>> {
    let [livez, healthz, healthy, readyz, are_ready] = HEALTH;
    let live = || get(|| async { plain(StatusCode::OK, "ok\n") });
    let router = router.route(livez, live()).route(healthz, live()).route(healthy, live());
    router.route(readyz, get(ready)).route(are_ready, get(ready))
}

pub(super) fn router(site: Arc<Site>, bounds: Bounds) -> Router {
    let transfers = transfers::router(site.published.clone(), bounds.body_pause);
    let cluster = cluster::router(Arc::clone(&site));
    let home = home::router(Arc::clone(&site));
    healthy(Router::new())
        .route("/report", get(report))
        .route(card::PATH, get(node))
        .route("/metrics", get(scrape))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "there is nothing here; / lists what there is\n") })
        .method_not_allowed_fallback(|| async { plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n") })
        .layer(Extension(Arc::<Written>::default()))
        .with_state(site)
        .merge(transfers)
        .merge(cluster)
        .merge(home)
}

pub(super) fn body(status: StatusCode, kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) fn plain(status: StatusCode, text: impl Into<axum::body::Body>) -> Response {
    body(status, "text/plain; charset=utf-8", text)
}

pub(super) fn latest(site: &Site) -> Option<Arc<Published>> {
    site.published.borrow().clone()
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    match latest(&site) {
        Some(_) => plain(StatusCode::OK, "ok\n"),
        None => early::answer(),
    }
}

/// What was written of the latest round.
#[derive(Default)]
struct Written {
    text: Kept<Report>,
    json: Kept<Report>,
    card: Kept<Card>,
}

async fn report(
    State(site): State<Arc<Site>>,
    Extension(written): Extension<Arc<Written>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(as_text) = wants_text(&uri, accept(&headers)) else {
        return plain(StatusCode::BAD_REQUEST, "format must be json or text\n");
    };
    let Some(published) = latest(&site) else { return early::answer() };
    if as_text {
        let write = |report: &Report| Ok::<_, Infallible>(text::report(report, Style::default()).into());
        let Ok(text) = written.text.of(&published.report, write);
        return plain(StatusCode::OK, text);
    }
    json(written.json.of(&published.report, pretty))
}

async fn node(State(site): State<Arc<Site>>, Extension(written): Extension<Arc<Written>>) -> Response {
    let Some(published) = latest(&site) else { return early::answer() };
    json(written.card.of(&published.card, pretty))
}

fn pretty(value: &impl Serialize) -> serde_json::Result<Bytes> {
    serde_json::to_string_pretty(value).map(|json| (json + "\n").into())
}

fn json(written: serde_json::Result<Bytes>) -> Response {
    match written {
        Ok(json) => body(StatusCode::OK, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "an answer is no JSON");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be shown\n")
        }
    }
}

/// Whether the client wants text: by `format`, else by what it accepts. `None` if `format` names nothing.
pub(super) fn wants_text(uri: &Uri, accept: Option<&str>) -> Option<bool> {
    match format(uri) {
        Some("text") => Some(true),
        Some("json") => Some(false),
        Some(_) => None,
        None => {
            let accept = accept.unwrap_or_default();
            Some(quality(accept, "text/plain") > quality(accept, "application/json"))
        }
    }
}

/// What `format` names in the query.
pub(super) fn format(uri: &Uri) -> Option<&str> {
    uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("format="))
}

pub(super) fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok())
}

async fn scrape(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let published = latest(&site);
    let process = Process::read(&site.proc);
    let families = metrics::families(&Scrape {
        published: published.as_deref(),
        standing: *site.standing.borrow(),
        codes: &site.codes,
        vantage: site.vantage,
        process: &process,
    });
    let format = Format::negotiate(accept(&headers));
    body(StatusCode::OK, format.content_type(), format.encode(families))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_for_those_who_ask() {
        for (query, accept, wanted) in [
            ("/report", None, Some(false)),
            ("/report", Some("*/*"), Some(false)),
            ("/report", Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(false)),
            ("/report", Some("text/plain"), Some(true)),
            ("/report", Some("text/plain;q=0.5, application/json"), Some(false)),
            ("/report?format=text", Some("application/json"), Some(true)),
            ("/report?x=1&format=json", Some("text/plain"), Some(false)),
            ("/report?format=xml", None, None),
        ] {
            assert_eq!(wants_text(&query.parse().unwrap(), accept), wanted, "{query} {accept:?}");
        }
    }
}
