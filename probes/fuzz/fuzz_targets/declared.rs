//! Text of any bytes in place of what the host's files declare, read by the parsers and judged by a whole node.
//!
//! - Which files are read is bounded, no file is asked for twice, and every path begins at the root.
//! - The same files say the same.
//! - What is wrong with a file is told in a few words, whatever the file's length.
//! - What it takes is in proportion to what it reads.
#![no_main]

use std::time::Duration;

use harness::{bounded, machine, messages};
use libfuzzer_sys::fuzz_target;
use probes::config::Config;
use probes::declared::Files;
use probes::declared::host::RawHost;
use probes::fact::Fact;
use probes::kernel::{RawFacts, RawRoutes};
use probes::node::{Input, Node, Output};
use probes::prober::{Identity, Sent};
use probes::report::Report;
use probes::units::{Mono, Now};

const LINKS: &[u8] = include_bytes!("../../src/kernel/golden/links.bin");
const ADDRESSES: &[u8] = include_bytes!("../../src/kernel/golden/addresses.bin");
const ROUTES: &[u8] = include_bytes!("../../src/kernel/golden/routes.bin");
const NEIGHBOURS: &[u8] = include_bytes!("../../src/kernel/golden/neighbours.bin");
const FDB: &[u8] = include_bytes!("../../src/kernel/golden/fdb.bin");

/// The longest thing that is said of one file: a path, forty characters of it as escapes, and what to check.
const FEW_WORDS: usize = 2000;

/// `ENETUNREACH`: nothing leaves, so that what is found rests on the tables and the files.
const UNREACHABLE: i32 = 101;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // Asking alone, with no answer at all, costs a little too.
    let files = bounded(bytes.len() + 64, 4096, || {
        let read = machine::read(&text);
        let files = Files::parse(&read);
        assert_eq!(Files::parse(&read), files, "read again, it says something else");
        files
    });
    cni(&files);
    // A node takes its time to come to a report, so only what ends in a zero byte is judged.
    if text.ends_with('\0') {
        judged(&machine::read(&text));
    }
});

fn cni(files: &Files) {
    let Fact::Known(files) = &files.cni else { return };
    assert!(files.is_sorted_by_key(|file| &file.path), "runtimes take them in order");
    for file in files {
        match &file.read {
            Ok(Ok(network)) => assert!(network.plugins.iter().all(|plugin| !plugin.kind.is_empty()), "{file:?}"),
            Ok(Err(invalid)) => assert!(!invalid.why.is_empty() && invalid.why.len() < FEW_WORDS, "{invalid:?}"),
            Err(unread) => assert!(unread.to_string().len() < FEW_WORDS, "{unread}"),
        }
    }
}

/// Lets a node with these files come to its first reports.
fn judged(read: &RawHost) {
    let identity = Identity { id: 7, secret: 42, first_port: 61_440 };
    let mut time = Duration::ZERO;
    let mut node = Node::new(Config::new("fuzz"), identity, "0", at(time));
    let mut reports = 0;
    for _ in 0..500 {
        let Some(output) = node.poll(at(time)) else {
            time = node.poll_timeout().map_or(time, Mono::since_start).max(time + Duration::from_millis(1));
            continue;
        };
        match output {
            Output::ReadFacts(_) => node.on(Input::Facts(Box::new(facts(read.clone()))), at(time)),
            Output::ReadRoutes(queries) => {
                let answers = queries.into_iter().map(|query| (query, Ok(None))).collect();
                let raw = RawRoutes { answers, exceptions: Ok(Vec::new()), took: [].into() };
                node.on(Input::Routes(Box::new(raw)), at(time));
            }
            Output::Transmit(transmit) => node.on(Input::Sent(transmit.id, Sent::Failed(UNREACHABLE)), at(time)),
            Output::Publish(published) => {
                plausible(&published.report);
                reports += 1;
                if reports == 2 {
                    return;
                }
            }
            _ => {}
        }
    }
}

fn facts(host: RawHost) -> RawFacts {
    RawFacts {
        links: Ok(messages(LINKS)),
        addresses: Ok(messages(ADDRESSES)),
        routes: Ok(messages(ROUTES)),
        neighbours: Ok(messages(NEIGHBOURS)),
        pod_ends: Ok(Vec::new()),
        fdb: Ok(messages(FDB)),
        host,
        ..RawFacts::unread()
    }
}

/// What is found is told in a few words, and can be told: as JSON, and by its subject.
fn plausible(report: &Report) {
    serde_json::to_string(report).expect("a report is JSON");
    for finding in &report.findings {
        assert!(!finding.subject.is_empty() && finding.subject.len() < FEW_WORDS, "{finding:?}");
        assert!(!finding.summary.is_empty() && finding.summary.len() < FEW_WORDS, "{finding:?}");
    }
    for row in &report.not_concluded {
        assert!(row.reason.len() < FEW_WORDS, "{}", row.reason);
    }
}

fn at(time: Duration) -> Now {
    let passed = jiff::SignedDuration::try_from(time).expect("some seconds");
    Now { mono: Mono::new(time), wall: jiff::Timestamp::UNIX_EPOCH + passed }
}
