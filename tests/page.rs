//! The pages in a real browser, before real agents.

use std::process::ExitCode;

use lab::Result;
use lab::browser::Browser;
use lab::harness::{self, test};
use lab::namespace::Namespace;
use serde_json::json;

fn main() -> ExitCode {
    harness::main(|| vec![test("the checks of pages can fail", near_misses)])
}

/// Fails if a check lets a page pass that has the one thing wrong which it is there for.
fn near_misses() -> Result<()> {
    let place = Namespace::new("nowhere")?;
    let mut browser = Browser::start(&place)?;
    browser.check("nearMisses", &json!({ "url": "http://127.0.0.1:9747/" })).map(drop)
}
