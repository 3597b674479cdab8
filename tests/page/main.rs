//! The pages in a real browser, before real agents: what their readers see, hear, reach by keys, print and copy, and that
//! nothing which somebody else named can run.
//!
//! The scripts beside this look, a session of them for each cluster ([`lab::browser`]); this makes the states that they
//! look at.

mod cluster;
mod crowd;
mod node;

use std::process::ExitCode;

use lab::browser::Browser;
use lab::harness::{self, test};
use lab::namespace::Namespace;
use lab::{Error, Result};
use serde_json::{Value, json};

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("the checks of pages can fail", near_misses),
            test("the page of a node tells its state to every reader, and follows it", node::states),
            test("a page that stays open follows its agent, and says where it does not", node::open),
            test("the page of a node shows names as text", node::names),
            test("the page of a node with 200 peers", node::many_peers),
            test("the page of the cluster names the pair, and follows it", cluster::follows),
            test("the page of a cluster of 200 nodes", cluster::large),
        ]
    })
}

/// Fails if a check lets a page pass that has the one thing wrong which it is there for.
fn near_misses() -> Result<()> {
    let place = Namespace::new("nowhere")?;
    let mut reader = Reader::in_place(&place)?;
    reader.sees("nearMisses", &json!({ "url": "http://127.0.0.1:9747/" }));
    reader.ends()
}

/// Somebody with a browser in a node, who looks on whatever is found: what one look finds says nothing of the next.
struct Reader {
    browser: Browser,
    found: Vec<String>,
}

impl Reader {
    fn in_place(place: &Namespace) -> Result<Self> {
        Ok(Self { browser: Browser::start(place)?, found: Vec::new() })
    }

    /// Looks once, by a check's name.
    fn sees(&mut self, check: &str, given: &Value) {
        self.found.extend(self.browser.check(check, given).err().map(|error| error.to_string()));
    }

    /// That nothing was found.
    fn ends(self) -> Result<()> {
        match self.found.len() {
            0 => Ok(()),
            count => Err(Error::new("looking at pages", format!("{count} faults\n{}", self.found.join("\n")))),
        }
    }
}
