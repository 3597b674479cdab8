//! `/cluster`: the picture of the whole cluster, drawn when somebody asks for it.
//!
//! However many ask, the peers are asked once: whoever comes while a picture is drawn waits for that one, and whoever
//! comes within [`KEEP`] after it gets the same, with its age. It is drawn by a task of its own, so a client that leaves
//! takes nothing from the others. Then it is let go: nobody asks for hours, and the picture of a large cluster is
//! megabytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Site;
use super::pages::{NOT_READY, accept, body, latest, plain, wants_text};
use crate::io::cluster::{self, Plan};
use crate::publish::text::{self, Style};

/// The path.
pub(crate) const PATH: &str = "/cluster";

/// How long a picture is good for.
const KEEP: Duration = Duration::from_secs(10);

pub(super) fn router(site: Arc<Site>) -> Router {
    let desk = Desk { site, drawing: Mutex::default() };
    Router::new().route(PATH, get(picture)).with_state(Arc::new(desk))
}

/// Where pictures are asked for.
struct Desk {
    site: Arc<Site>,
    /// The picture that is drawn or kept.
    drawing: Mutex<Option<watch::Receiver<Option<Drawn>>>>,
}

/// A picture in both forms.
#[derive(Clone, Debug)]
struct Drawn {
    at: Instant,
    json: Bytes,
    text: Bytes,
}

async fn picture(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(as_text) = wants_text(&uri, accept(&headers)) else {
        return plain(StatusCode::BAD_REQUEST, "format must be json or text\n");
    };
    let Some(mut drawing) = desk.drawing() else { return plain(StatusCode::SERVICE_UNAVAILABLE, NOT_READY) };
    let drawn = drawing.wait_for(Option::is_some).await.ok().and_then(|drawn| drawn.clone());
    let Some(drawn) = drawn else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the picture could not be drawn; the agent's log says why\n");
    };
    let age = drawn.at.elapsed();
    let mut response =
        if as_text { plain(StatusCode::OK, drawn.text) } else { body(StatusCode::OK, "application/json", drawn.json) };
    let cache = HeaderValue::from_str(&format!("private, max-age={}", KEEP.as_secs()));
    response.headers_mut().insert(header::CACHE_CONTROL, cache.expect("letters and digits"));
    response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

impl Desk {
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
            let forms = tokio::task::spawn_blocking(move || {
                let json = serde_json::to_vec(&matrix).map(Bytes::from);
                (json, Bytes::from(text::cluster(&matrix, Style::default())))
            });
            match forms.await {
                Ok((Ok(json), text)) => _ = tell.send(Some(Drawn { at: Instant::now(), json, text })),
                Ok((Err(error), _)) => tracing::error!(%error, "the picture of the cluster is no JSON"),
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
