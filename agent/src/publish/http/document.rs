//! Something that is handed out as it is: with a name for its content, so that who has it already is not sent it again.
//!
//! A page asks for itself every few seconds, and between two rounds there is nothing new: `If-None-Match` makes that 304
//! and a hundred bytes in place of some hundred kilobytes. `no-cache` lets a browser keep the page and makes it ask each
//! time, for a page that is shown without asking would say that all is well of a node that is not. `private`, because
//! what a node is like is not for caches in between. The tag is the content's hash: two agents, or one before and after
//! a restart, never give one tag to different pages.
//!
//! What an HTML page may do is said by headers: nothing but what is in it, in no frame, and nobody is told where its
//! reader came from. `Cross-Origin-Opener-Policy` only goes with TLS: without it browsers ignore it, and complain.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::pages::body;
use crate::publish::page;

/// For a browser.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// For everybody else.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Kept, and asked for each time.
const ASK: &str = "private, no-cache";

/// Kept for a day: it is part of the binary.
const DAY: &str = "public, max-age=86400";

/// What is handed out.
#[derive(Clone, Debug)]
pub(super) struct Document {
    kind: &'static str,
    bytes: Bytes,
    tag: HeaderValue,
    cache: &'static str,
}

impl Document {
    /// One that says how things are now.
    pub(super) fn new(kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = URL_SAFE_NO_PAD.encode(&digest(&SHA256, &bytes).as_ref()[..12]);
        let tag = HeaderValue::from_str(&format!("\"{hash}\"")).expect("letters and digits");
        Self { kind, bytes, tag, cache: ASK }
    }

    /// One that stays as it is for as long as this binary runs.
    pub(super) fn lasting(kind: &'static str, bytes: &'static [u8]) -> Self {
        Self { cache: DAY, ..Self::new(kind, bytes) }
    }

    /// The answer to a request: the document, or that the client has it.
    pub(super) fn answer(&self, request: &HeaderMap, tls: bool) -> Response {
        let known = has(request, &self.tag);
        let (status, content) = match known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(self.bytes.clone())),
        };
        let mut response = body(status, self.kind, content);
        let headers = response.headers_mut();
        if known {
            headers.remove(header::CONTENT_TYPE);
        }
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        if self.kind == HTML {
            guard(headers, tls);
        }
        response
    }
}

/// Whether the client has what has this tag (RFC 9110, section 13.1.2).
fn has(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let named = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = named.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named).as_bytes() == tag.as_bytes())
}

/// What keeps an HTML page to itself.
pub(super) fn guard(headers: &mut HeaderMap, tls: bool) {
    let policy = HeaderValue::from_str(&page::POLICY).expect("letters, digits and punctuation");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if tls {
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(tag: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap())])
    }

    #[test]
    fn who_has_it_is_not_sent_it_again() {
        let document = Document::new(HTML, "a");
        let tag = document.tag.to_str().unwrap();
        for (asked, wanted) in [
            (tag.to_owned(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"x\", {tag}"), 304),
            ("*".into(), 304),
            ("\"x\"".into(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            assert_eq!(document.answer(&asking(&asked), false).status(), wanted, "{asked}");
        }
        assert_ne!(tag, Document::new(HTML, "b").tag, "another content is another page");
    }

    #[test]
    fn what_is_not_sent_says_the_same_of_itself() {
        let document = Document::new(HTML, "a");
        let (whole, empty) = (document.answer(&HeaderMap::new(), false), document.answer(&asking("*"), false));
        for name in [header::ETAG, header::CACHE_CONTROL, header::VARY, header::CONTENT_SECURITY_POLICY] {
            assert!(whole.headers().contains_key(&name), "{name}");
            assert_eq!(whole.headers().get(&name), empty.headers().get(&name), "{name}");
        }
        assert!(!empty.headers().contains_key(header::CONTENT_TYPE));
    }

    #[test]
    fn only_with_tls_is_there_an_opener_to_be_kept_from() {
        let name = "cross-origin-opener-policy";
        let document = Document::new(HTML, "a");
        assert!(document.answer(&HeaderMap::new(), true).headers().contains_key(name));
        assert!(!document.answer(&HeaderMap::new(), false).headers().contains_key(name));
        assert!(!Document::new(TEXT, "a").answer(&HeaderMap::new(), true).headers().contains_key(name));
    }
}
