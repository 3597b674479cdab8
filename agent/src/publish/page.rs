//! The pages: each is one HTML document that asks for nothing else, so that it can be saved, attached to a ticket and
//! opened again, and so that it comes up where little does.
//!
//! Style and script stand in the document, and the Content-Security-Policy names them by their hashes: nothing that a link,
//! a peer or a configuration is called can run or look like anything but text. Everything that is shown is escaped by the
//! templates; `safe` is for these two texts alone.
//!
//! Colours follow the reader's choice of light or dark. None of them carries a meaning by itself: beside it stands a word
//! or a sign, and blue and orange are told apart by those who do not tell green from red.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

/// The style sheet of every page.
pub const STYLE: &str = include_str!("page/style.css");

/// The script of every page: it keeps the page fresh, which is all that a reader without scripts misses.
pub const SCRIPT: &str = include_str!("page/refresh.js");

/// What a browser may do with a page, as the header says it.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});
