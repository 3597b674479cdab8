//! The driver: one owner of [`probes::node::Node`], one clock.
//!
//! It drains what the node wants done, waits for the world or the node's deadline, and feeds back what happened.
//! Readings are awaited in place: the node asks for them only while no probe is under way, and a packet that comes in
//! meanwhile waits in the socket with the kernel's time stamp on it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use probes::config::Config;
use probes::fact::{Reason, Source, Unread};
use probes::kernel::RawFacts;
use probes::node::{Input, Node, Output};
use probes::prober::{Identity, Transmit};
use probes::report::Published;
use probes::units::{Mono, Now};
use tokio::time::Instant as Deadline;

use crate::io::host;
use crate::io::netlink::Netlink;
use crate::io::packets::{Packets, Received};
use crate::io::rights;

/// Most packets handed to the kernel at once.
const BATCH: usize = 128;

/// How long to wait when the node names no deadline: it then waits for an answer of the driver, which is given at once.
const NO_DEADLINE: Duration = Duration::from_secs(1);

/// Runs rounds until `on_round` breaks. Needs a tokio runtime with I/O and time enabled, on one thread.
///
/// # Errors
/// If the kernel's tables cannot be asked for at all. Missing rights for probing are no error: rounds go on without.
pub async fn drive(
    config: Config,
    host_root: &Path,
    on_round: impl FnMut(Arc<Published>) -> ControlFlow<()>,
) -> Result<(), Unread> {
    let held = rights::raise();
    tracing::debug!(net_raw = held.net_raw, net_admin = held.net_admin, "capabilities");
    let identity = identity()?;
    let epoch = Instant::now();
    let mut node = Node::new(config, identity, env!("CARGO_PKG_VERSION"), now(epoch));
    let packets = match Packets::open(identity.id, epoch) {
        Ok(packets) => Some(packets),
        Err(unread) => {
            tracing::warn!(%unread, "no path is probed");
            node.on(Input::NoProbing(unread), now(epoch));
            None
        }
    };
    let world = World { netlink: Netlink::open()?, packets, host_root, epoch, batch: Vec::with_capacity(BATCH) };
    world.run(node, on_round).await;
    Ok(())
}

/// The kernel and the wire, as far as a node needs them.
struct World<'a> {
    netlink: Netlink,
    packets: Option<Packets>,
    host_root: &'a Path,
    epoch: Instant,
    batch: Vec<Transmit>,
}

impl World<'_> {
    async fn run(mut self, mut node: Node, mut on_round: impl FnMut(Arc<Published>) -> ControlFlow<()>) {
        loop {
            while let Some(output) = node.poll(now(self.epoch)) {
                if self.act(output, &mut node, &mut on_round).await.is_break() {
                    return;
                }
            }
            self.flush(&mut node);
            self.wait(&mut node).await;
        }
    }

    async fn act(
        &mut self,
        output: Output,
        node: &mut Node,
        on_round: &mut impl FnMut(Arc<Published>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match output {
            Output::Transmit(transmit) => {
                self.batch.push(transmit);
                if self.batch.len() >= BATCH {
                    self.flush(node);
                }
            }
            Output::ReadFacts => {
                let facts = self.facts().await;
                node.on(Input::Facts(Box::new(facts)), now(self.epoch));
            }
            Output::ReadRoutes(queries) => {
                let routes = self.netlink.routes(queries).await;
                node.on(Input::Routes(Box::new(routes)), now(self.epoch));
            }
            Output::WatchTunnelPorts(ports) => self.watch_tunnel_ports(&ports),
            Output::Publish(published) => return on_round(published),
        }
        ControlFlow::Continue(())
    }

    async fn facts(&self) -> RawFacts {
        let mut facts = self.netlink.facts().await;
        let started = Instant::now();
        facts.files = host::read_all(self.host_root);
        let took = started.elapsed();
        facts.took.extend([(Source::Settings, took), (Source::Counters, took)]);
        facts
    }

    fn watch_tunnel_ports(&mut self, ports: &[u16]) {
        let Some(packets) = &mut self.packets else { return };
        if let Err(error) = packets.watch_tunnel_ports(ports) {
            tracing::warn!(%error, "errors about the tunnel's own packets go unseen");
        }
    }

    fn flush(&mut self, node: &mut Node) {
        let Some(packets) = &mut self.packets else { return };
        if self.batch.is_empty() {
            return;
        }
        // Read before sending: a round trip on this machine can be over by the time that the system call returns.
        let left = now(self.epoch);
        for (id, sent) in packets.send(std::mem::take(&mut self.batch)) {
            node.on(Input::Sent(id, sent), left);
        }
    }

    async fn wait(&mut self, node: &mut Node) {
        let deadline = node.poll_timeout().map_or(Instant::now() + NO_DEADLINE, |at| self.epoch + at.since_start());
        let sleep = tokio::time::sleep_until(Deadline::from_std(deadline));
        let Some(packets) = &mut self.packets else { return sleep.await };
        tokio::select! {
            received = packets.recv() => take(received, node, self.epoch),
            () = sleep => {}
        }
    }
}

fn take(received: Received, node: &mut Node, epoch: Instant) {
    for datagram in received.datagrams {
        node.on(Input::Datagram(datagram), now(epoch));
    }
    for (id, sent) in received.sent {
        node.on(Input::Sent(id, sent), now(epoch));
    }
}

fn now(epoch: Instant) -> Now {
    Now { mono: Mono::new(epoch.elapsed()), wall: Timestamp::now() }
}

fn identity() -> Result<Identity, Unread> {
    let random = |error| {
        let what = format!("getrandom: no random identity for probes: {error}");
        Unread::new(Source::Probes, Reason::Failed { what })
    };
    let secret = getrandom::u64().map_err(random)?;
    let id = getrandom::u32().map_err(random)?;
    Ok(Identity { id: (id >> 16) as u16, secret })
}
