//! The blackbox exporter: a server that is asked over HTTP whether one packet of full size came back.
//!
//! It is given a second for an answer. Its figures leave out the start of the server, which lives as long as the machine.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lab::http;
use lab::wait::{self, Look};
use lab::{Error, Result};

use crate::bed::{Bed, Server};

/// Where it listens in its node.
const LISTENS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9115);

/// One packet of 1,500 B that must not be fragmented.
const CONFIGURATION: &str = "modules:
  full: { prober: icmp, timeout: 1s, icmp: { dont_fragment: true, payload_size: 1472, preferred_ip_protocol: ip4 } }
";

/// A running exporter.
#[derive(Debug)]
pub(crate) struct Blackbox<'b> {
    bed: &'b Bed<'b>,
    _server: Server,
}

/// What was asked of it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// How many targets it says do not answer.
    pub(crate) refused: usize,
    /// From the first question to the last answer, in milliseconds.
    pub(crate) wall_ms: f64,
    /// Packets that left for the targets.
    pub(crate) packets: u64,
}

impl<'b> Blackbox<'b> {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it cannot be started, or does not answer.
    pub(crate) fn start(bed: &'b Bed<'b>) -> Result<Self> {
        let file = bed.file("blackbox.yaml");
        fs::write(&file, CONFIGURATION).map_err(|error| Error::new("writing the exporter's configuration", error))?;
        let mut command = bed.node.command("prometheus-blackbox-exporter");
        command.arg(format!("--web.listen-address={LISTENS}")).arg(format!("--config.file={}", file.display()));
        let server = Server::start(command, &bed.file("blackbox.log"))?;
        wait::until("the blackbox exporter to answer", || {
            Ok(match http::get(bed.node, LISTENS, "/-/healthy", "*/*") {
                Ok(http::Response { status: 200, .. }) => Look::There(()),
                Ok(response) => Look::NotYet(response.body),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })?;
        Ok(Self { bed, _server: server })
    }

    /// Asks about all targets, so many at a time.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn ask(&self, targets: &[impl fmt::Display + Sync], at_once: usize) -> Result<Asked> {
        let (asked, wall_ms, packets) = self.bed.metered(|| {
            let next = AtomicUsize::new(0);
            thread::scope(|scope| {
                let askers: Vec<_> = (0..at_once)
                    .map(|_| scope.spawn(|| self.bed.node.inside(|| ask_in_turn(targets, &next))?))
                    .collect();
                askers.into_iter().map(|asker| asker.join().expect("it does not panic")).sum::<Result<usize>>()
            })
        })?;
        Ok(Asked { refused: asked?, wall_ms, packets })
    }
}

/// Takes targets until none is left: how many do not answer.
fn ask_in_turn(targets: &[impl fmt::Display + Sync], next: &AtomicUsize) -> Result<usize> {
    let mut refused = 0;
    while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
        let answer = http::get_here(LISTENS, &format!("/probe?module=full&target={target}"), "*/*")?;
        let verdict = answer.body.lines().find_map(|line| line.strip_prefix("probe_success "));
        let verdict = verdict.ok_or_else(|| Error::new("reading what the exporter says", &answer.body))?;
        refused += usize::from(verdict.trim() != "1");
    }
    Ok(refused)
}
