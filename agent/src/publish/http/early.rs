//! Answers before the first round: 503, and when to come again. A browser gets a page that comes again by itself.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::document::{HTML, guard};
use super::pages::{body, plain};
use crate::publish::page::node;

/// Seconds after which somebody comes again who was too early.
const SOON: u64 = 3;

const NOT_READY: &str = "the first round is not finished yet; try again in a few seconds\n";

/// For whoever wants data.
pub(super) fn answer() -> Response {
    again(plain(StatusCode::SERVICE_UNAVAILABLE, NOT_READY))
}

/// For a browser that asked for the page at `here`.
pub(super) fn page(here: &'static str, tls: bool) -> Response {
    let Ok(text) = node::first(SOON, here) else { return answer() };
    let mut response = again(body(StatusCode::SERVICE_UNAVAILABLE, HTML, text));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    guard(response.headers_mut(), tls);
    response
}

fn again(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(SOON));
    response
}
