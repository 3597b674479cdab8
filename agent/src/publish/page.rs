//! The pages: each is one HTML document that asks for nothing else, so that it can be saved, attached to a ticket and
//! opened again, and so that it comes up where little does.
//!
//! Style and script stand in the document, and the Content-Security-Policy names them by their hashes: nothing that a link,
//! a peer or a configuration is called can run or look like anything but text. Everything that is shown is escaped by the
//! templates; `safe` is for these two texts alone.
//!
//! Colours follow the reader's choice of light or dark. None of them carries a meaning by itself: beside it stands a word
//! or a sign, and blue and orange are told apart by those who do not tell green from red.
//!
//! Every page extends `shell.html`. Its struct has `refresh`, the seconds after which it is asked for again, and `here`,
//! its own path; its content is the block `main`. The script replaces `main` and the title and keeps the pace that the
//! latest document asks for; where that comes with another style or script, it loads the page anew. What is to stay open
//! over a refresh has a `data-key` that does not change from round to round. Without a style attribute, which the
//! policy refuses, lengths are drawn as attributes of SVG.

pub mod cluster;
pub(crate) mod node;
mod spark;
pub(crate) mod trail;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

/// The style sheet of every page.
pub const STYLE: &str = concat!(include_str!("page/style.css"), include_str!("page/cluster.css"));

/// The script of every page: it keeps the page fresh, which is all that a reader without scripts misses.
pub const SCRIPT: &str = include_str!("page/refresh.js");

/// The icon: bars of a ladder, the last one too short.
pub const ICON: &str = include_str!("page/icon.svg");

/// The same for browsers that ask for it by the old name.
pub const SMALL_ICON: &[u8] = include_bytes!("page/icon.ico");

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

/// Every path that is served, and what is there.
pub const ENDPOINTS: [(&str, &str); 10] = [
    ("/", "this node as a page where a browser asks, else this list"),
    ("/report", "what is wrong here, as JSON"),
    ("/report?format=text", "the same for people"),
    ("/node", "what this node is, as JSON, for others to compare themselves with"),
    (
        "/cluster",
        "which node reaches which with which size: a page where a browser asks, else JSON; asks the peers' agents",
    ),
    ("/cluster?format=text", "the same for people"),
    ("/metrics", "for Prometheus"),
    ("/livez", "health: the agent lives"),
    ("/readyz", "health: the first round is done"),
    ("/transfer", "for peers' agents, which try whether TCP carries bulk through the tunnel"),
];

/// Text from outside as it can be shown: nothing in it moves, hides or turns around what stands beside it, and it is no
/// longer than `most` characters.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(|c| if disturbs(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Control characters, marks that change the direction of writing, and those that take no room.
fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{ad}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::http::Bounds;
    use super::super::http::cluster::LAST_TURN;
    use super::*;
    use crate::io::cluster::Plan;

    #[test]
    fn what_is_shown_turns_nothing_around_and_has_an_end() {
        assert_eq!(shown("a\u{202e}b\u{7}\u{200b}c", 10), "a\u{fffd}b\u{fffd}\u{fffd}c");
        assert_eq!(shown("ש-1 å", 10), "ש-1 å", "letters of any script are themselves");
        assert_eq!((shown("aaaa", 4), shown("aaaaa", 4)), ("aaaa".into(), "aaaa…".into()));
    }

    #[test]
    fn the_page_waits_longer_than_the_agent_takes() {
        let (_, patience) = SCRIPT.split_once("const PATIENCE = ").unwrap();
        let patience: u64 = patience.split_once(';').unwrap().0.parse().unwrap();
        assert!(SCRIPT.contains("AbortSignal.timeout(PATIENCE)"));
        let (life, plan) = (Bounds::default().connection_time, Plan::default());
        assert!(Duration::from_millis(patience) > life, "an answer that comes is not taken for silence");
        assert!(plan.total < life, "who asks for the picture gets what there is");
        assert!(LAST_TURN + plan.each < life, "and who asks for a pair too");
    }

    #[test]
    fn the_policy_names_the_style_and_the_script_by_what_they_are() {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        assert!(POLICY.contains(&format!("style-src 'sha256-{hash}'")), "{}", *POLICY);
        assert!(!POLICY.contains("unsafe"), "{}", *POLICY);
    }
}
