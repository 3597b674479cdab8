//! `/`: the page of this node for a browser, and the list of what there is for everything else.
//!
//! Browsers name `text/html` in what they accept; `curl` accepts anything, and gets text as it always did. `format` says
//! it outright. Before the first round there is a page, too, with 503 as the other paths have it, and when to come again.
//!
//! The page is written once a round, when the first asks. A round that does not come makes it another one, which says so
//! at the top: its numbers are old, and it would show them as if they were not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use probes::report::{Published, Report};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::exposition::quality;
use super::super::page::{self, ENDPOINTS, node, trail::Trail};
use super::Site;
use super::document::{Document, HTML, TEXT};
use super::early;
use super::kept::Kept;
use super::pages::{accept, format, latest, plain};

/// Seconds between two looks of one page: no more often than a reader can follow, and often enough to be believed.
const LOOKS: std::ops::RangeInclusive<u64> = 2..=60;

/// Intervals without a round after which the last one is old, and the least that this is.
const MISSED: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn router(site: Arc<Site>) -> Router {
    let published = site.published.clone();
    let home = Arc::new(Home { site, seen: Mutex::default(), fresh: Kept::default(), old: Kept::default() });
    tokio::spawn(follow(published, Arc::downgrade(&home)));
    Router::new()
        .route("/", get(index))
        .with_state(home)
        .route("/favicon.svg", icon(Document::lasting("image/svg+xml", page::ICON.as_bytes())))
        .route("/favicon.ico", icon(Document::lasting("image/x-icon", page::SMALL_ICON)))
        .method_not_allowed_fallback(|| async { plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n") })
}

fn icon(document: Document) -> MethodRouter {
    get(|headers: HeaderMap| async move { document.answer(&headers, false) })
}

/// What the page is made of.
struct Home {
    site: Arc<Site>,
    seen: Mutex<Seen>,
    fresh: Kept<Report, Document>,
    old: Kept<Report, Document>,
}

/// The rounds that were seen.
#[derive(Default)]
struct Seen {
    trail: Trail,
    /// The last one, and when it came.
    last: Option<(Weak<Report>, Instant)>,
}

/// Takes down every round, whether anybody looks or not.
async fn follow(mut published: watch::Receiver<Option<Arc<Published>>>, home: Weak<Home>) {
    published.mark_changed();
    while published.changed().await.is_ok() {
        let Some(home) = home.upgrade() else { return };
        if let Some(round) = published.borrow_and_update().clone() {
            drop(home.see(&round.report));
        }
    }
}

impl Home {
    /// Takes down a round, once.
    fn see(&self, report: &Arc<Report>) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.last.as_ref().is_some_and(|(last, _)| std::ptr::eq(last.as_ptr(), Arc::as_ptr(report)));
        if !known {
            let peers = self.site.standing.borrow().limits.named_peers;
            seen.trail.record(&report.paths, peers);
            seen.last = Some((Arc::downgrade(report), Instant::now()));
        }
        seen
    }

    fn page(&self, published: &Published) -> Result<Document, askama::Error> {
        let seen = self.see(&published.report);
        let interval = published.telemetry.interval;
        let refresh = interval.as_secs().clamp(*LOOKS.start(), *LOOKS.end());
        let waited = seen.last.as_ref().map(|(_, at)| at.elapsed()).unwrap_or_default();
        let overdue = waited > PATIENCE.max(interval * MISSED);
        let kept = if overdue { &self.old } else { &self.fresh };
        kept.of(&published.report, |report| Ok(Document::new(HTML, node::page(report, &seen.trail, refresh, overdue)?)))
    }
}

async fn index(State(home): State<Arc<Home>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(as_html) = wants_html(&uri, accept(&headers)) else {
        return plain(StatusCode::BAD_REQUEST, "format must be html or text\n");
    };
    let tls = home.site.surface.borrow().tls().is_some();
    if !as_html {
        return Document::new(TEXT, list()).answer(&headers, tls);
    }
    let written = match latest(&home.site) {
        Some(published) => home.page(&published).map(|document| document.answer(&headers, tls)),
        None => return early::page("/", tls),
    };
    written.unwrap_or_else(|error| {
        tracing::error!(%error, "the page could not be written");
        plain(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown; /report?format=text says the same\n")
    })
}

/// Whether the client wants the page: by `format`, else by what it accepts. `None` if `format` names nothing.
fn wants_html(uri: &Uri, accept: Option<&str>) -> Option<bool> {
    match format(uri) {
        Some("html") => Some(true),
        Some("text") => Some(false),
        Some(_) => None,
        None => {
            let accept = accept.unwrap_or_default();
            Some(quality(accept, "text/html") > quality(accept, "text/plain"))
        }
    }
}

/// The paths, for a terminal.
fn list() -> String {
    let mut text = "mtuscope: why packets of the size that pods send do not arrive.\n\n".to_owned();
    ENDPOINTS.iter().for_each(|(path, what)| text.push_str(&format!("{path:<21} {what}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_page_and_everything_else_the_list() {
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for (query, accept, wanted) in [
            ("/", Some(chromium), Some(true)),
            ("/", Some("text/html"), Some(true)),
            ("/", Some("*/*"), Some(false)),
            ("/", None, Some(false)),
            ("/", Some("application/json"), Some(false)),
            ("/", Some("text/plain, text/html;q=0.5"), Some(false)),
            ("/", Some("text/html;q=0"), Some(false)),
            ("/?format=html", Some("*/*"), Some(true)),
            ("/?format=text", Some(chromium), Some(false)),
            ("/?format=json", Some(chromium), None),
        ] {
            assert_eq!(wants_html(&query.parse().unwrap(), accept), wanted, "{query} {accept:?}");
        }
    }

    #[test]
    fn the_list_has_its_columns() {
        for line in list().lines().skip(2) {
            let (path, what) = line.split_at(21);
            assert!(path.starts_with('/') && what.starts_with(' '), "{line}");
        }
    }
}
