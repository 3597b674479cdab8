//! The driver: one owner of [`probes::node::Node`], one clock.
//!
//! It drains what the node wants done, waits for the world or the node's deadline, and feeds back what happened.
//! Readings are awaited in place: a packet that comes in meanwhile waits in the socket with the kernel's time stamp on
//! it, and a change that the kernel tells waits in its own. What waits there is taken before any deadline is looked at:
//! however long a reading took, or this process was not let run, an answer that came in time is never called silence.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use probes::config::Config;
use probes::fact::{Reason, Source, Unread};
use probes::kernel::RawFacts;
use probes::kernel::pod_end::Ends;
use probes::node::{Input, Node, Output};
use probes::peers::announced::Announced;
use probes::prober::{self, Identity, PORTS, Transmit};
use probes::report::Published;
use probes::units::{Mono, Now};
use tokio::sync::watch;
use tokio::time::Instant as Deadline;

use crate::io::arp::Questions;
use crate::io::call::Terms;
use crate::io::cards::Cards;
use crate::io::declared;
use crate::io::host;
use crate::io::netlink::Netlink;
use crate::io::netlink::events::{Event, Events};
use crate::io::packets::{Packets, Received};
use crate::io::rights;
use crate::io::sysctl;
use crate::io::transfer::Transfers;

/// Most packets handed to the kernel at once.
const BATCH: usize = 128;

/// Most readings of the sockets before deadlines are looked at: whoever floods them does not stop the clock.
const CATCH_UP: usize = 64;

/// How long to wait when the node names no deadline: it then waits for an answer of the driver, which is given at once.
const NO_DEADLINE: Duration = Duration::from_secs(1);

/// Source ports are taken from here on: above the range that the kernel gives to others (`ip_local_port_range`, by default
/// up to 60,999).
const FIRST_PORT: u16 = 61_440;

/// How many blocks of source ports there are from there to the last port.
const PORT_BLOCKS: u16 = (u16::MAX - FIRST_PORT) / PORTS + 1;

/// What the operator wants. A new value is taken up in the running rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// What the deciding half needs.
    pub config: Config,
    /// Where the host's files are mounted.
    pub host_root: PathBuf,
    /// How other agents are spoken to.
    pub terms: Terms,
}

/// Runs rounds until `on_publish` breaks. Needs a tokio runtime with I/O and time enabled, on one thread. Orders and what the
/// API announces may come to an end: those given last hold.
///
/// # Errors
/// If the kernel's tables cannot be asked for at all. Missing rights for probing are no error: rounds go on without.
pub async fn drive(
    mut orders: watch::Receiver<Arc<Orders>>,
    mut announced: watch::Receiver<Announced>,
    on_publish: impl FnMut(Arc<Published>) -> ControlFlow<()>,
) -> Result<(), Unread> {
    let held = rights::raise();
    tracing::debug!(net_raw = held.net_raw, net_admin = held.net_admin, "capabilities");
    let identity = identity()?;
    let epoch = Instant::now();
    let given = orders.borrow_and_update().clone();
    let mut node = Node::new(given.config.clone(), identity, env!("CARGO_PKG_VERSION"), now(epoch));
    let (events, event) = Events::listen();
    heed(event, &mut node, epoch);
    let first = announced.borrow_and_update().clone();
    node.on(Input::Announced(Box::new(first)), now(epoch));
    let world = World {
        events,
        netlink: Netlink::open()?,
        wire: Wire { identity, epoch, packets: None, final_word: false },
        transfers: Transfers::default(),
        cards: Cards::default(),
        questions: Questions::default(),
        host_root: given.host_root.clone(),
        orders,
        announced,
        epoch,
        batch: Vec::with_capacity(BATCH),
    };
    world.run(node, on_publish).await;
    Ok(())
}

/// Where no API is asked.
pub fn unannounced() -> watch::Receiver<Announced> {
    watch::channel(Announced::default()).1
}

/// Orders that stay as they are.
pub fn standing(config: Config, host_root: PathBuf, terms: Terms) -> watch::Receiver<Arc<Orders>> {
    watch::channel(Arc::new(Orders { config, host_root, terms })).1
}

/// The kernel and the wire, as far as a node needs them.
struct World {
    events: Events,
    netlink: Netlink,
    wire: Wire,
    transfers: Transfers,
    cards: Cards,
    questions: Questions,
    host_root: PathBuf,
    orders: watch::Receiver<Arc<Orders>>,
    announced: watch::Receiver<Announced>,
    epoch: Instant,
    batch: Vec<Transmit>,
}

/// The sockets for probes, if they can be had.
struct Wire {
    identity: Identity,
    epoch: Instant,
    packets: Option<Packets>,
    /// Whether trying again is no use: a right is missing, and none is gained while a process runs.
    final_word: bool,
}

impl Wire {
    /// Opens the sockets if they are not open; `None` if there is nothing new to tell.
    fn open(&mut self) -> Option<Result<prober::Wire, Unread>> {
        if self.packets.is_some() || self.final_word {
            return None;
        }
        Some(match Packets::open(self.identity, self.epoch) {
            Ok(packets) => {
                let wire = packets.wire();
                if wire == prober::Wire::Ping {
                    tracing::warn!("{}", rights::BY_PINGS);
                }
                self.packets = Some(packets);
                Ok(wire)
            }
            Err(unread) => {
                self.final_word = matches!(unread.reason, Reason::Denied { .. });
                let check = match self.final_word {
                    true if rights::file_lacks_net_raw() => {
                        "CAP_NET_RAW is granted here, but the program's file lacks it: setcap cap_net_raw+p"
                    }
                    true => "grant CAP_NET_RAW",
                    false => "check the limit on open files",
                };
                tracing::warn!(%unread, "no path is probed; {check}");
                Err(unread)
            }
        })
    }
}

impl World {
    async fn run(mut self, mut node: Node, mut on_publish: impl FnMut(Arc<Published>) -> ControlFlow<()>) {
        loop {
            while let Some(output) = node.poll(now(self.epoch)) {
                if self.act(output, &mut node, &mut on_publish).await.is_break() {
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
        on_publish: &mut impl FnMut(Arc<Published>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match output {
            Output::Transmit(transmit) => {
                self.batch.push(transmit);
                if self.batch.len() >= BATCH {
                    self.flush(node);
                }
            }
            Output::ReadFacts(ends) => {
                if let Some(probing) = self.wire.open() {
                    node.on(Input::Probing(probing), now(self.epoch));
                }
                let facts = self.facts(ends).await;
                self.catch_up(node).await;
                node.on(Input::Facts(Box::new(facts)), now(self.epoch));
            }
            Output::ReadRoutes(queries) => {
                let routes = self.netlink.routes(queries).await;
                self.catch_up(node).await;
                node.on(Input::Routes(Box::new(routes)), now(self.epoch));
            }
            Output::ReadDevices(links) => {
                let devices = self.netlink.devices(&links);
                node.on(Input::Devices(Box::new(devices)), now(self.epoch));
            }
            Output::Transfer(transfer) => self.transfers.start(transfer, self.orders.borrow().terms.clone()),
            Output::AskCard(ask) => self.cards.ask(ask, self.orders.borrow().terms.clone()),
            Output::AskVip(ask) => self.questions.ask(ask),
            Output::WatchTunnelPorts(ports) => self.watch_tunnel_ports(&ports),
            Output::TapTunnels(links) => {
                if let Some(packets) = &mut self.wire.packets {
                    packets.tap(&links);
                }
            }
            Output::Publish(published) => return on_publish(published),
        }
        ControlFlow::Continue(())
    }

    async fn facts(&self, ends: Ends) -> RawFacts {
        let mut facts = self.netlink.facts(ends).await;
        let started = Instant::now();
        facts.files = host::read_all(host::kernel(&self.host_root));
        let took = started.elapsed();
        facts.took.extend([(Source::Settings, took), (Source::Counters, took)]);
        let started = Instant::now();
        facts.sysctls =
            rights::reading_all(|| sysctl::read(&self.host_root, self.orders.borrow().config.expect.sysctls.keys()));
        facts.took.insert(Source::SysctlFiles, started.elapsed());
        let started = Instant::now();
        facts.host = rights::reading_all(|| declared::read(&self.host_root));
        facts.took.insert(Source::HostFiles, started.elapsed());
        facts
    }

    fn watch_tunnel_ports(&mut self, ports: &[u16]) {
        let Some(packets) = &mut self.wire.packets else { return };
        if let Err(error) = packets.watch_tunnel_ports(ports) {
            tracing::warn!(%error, "errors about the tunnel's own packets go unseen");
        }
    }

    fn flush(&mut self, node: &mut Node) {
        let Some(packets) = &mut self.wire.packets else { return };
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
        tokio::select! {
            received = received(&mut self.wire.packets) => take(received, node, self.epoch),
            Ok(()) = self.orders.changed() => {
                let orders = self.orders.borrow_and_update().clone();
                self.host_root.clone_from(&orders.host_root);
                node.on(Input::Reload(Box::new(orders.config.clone())), now(self.epoch));
            }
            Ok(()) = self.announced.changed() => {
                let announced = self.announced.borrow_and_update().clone();
                node.on(Input::Announced(Box::new(announced)), now(self.epoch));
            }
            done = self.transfers.next() => node.on(Input::Transferred(Box::new(done)), now(self.epoch)),
            answered = self.cards.next() => node.on(Input::Card(Box::new(answered)), now(self.epoch)),
            heard = self.questions.next() => node.on(Input::Vip(Box::new(heard)), now(self.epoch)),
            event = self.events.next() => heed(event, node, self.epoch),
            () = sleep => self.catch_up(node).await,
        }
    }

    /// Takes what waits in the sockets, so that it is not overtaken by a deadline that passed while nobody read them.
    async fn catch_up(&mut self, node: &mut Node) {
        // The runtime asks the kernel which sockets can be read when its only task gives way.
        tokio::task::yield_now().await;
        for _ in 0..CATCH_UP {
            tokio::select! {
                biased;
                received = received(&mut self.wire.packets) => take(received, node, self.epoch),
                () = std::future::ready(()) => return,
            }
        }
    }
}

fn heed(event: Event, node: &mut Node, epoch: Instant) {
    let input = match event {
        Event::Changed(messages) => Input::Changed(messages),
        Event::Overrun => {
            tracing::debug!("changes came faster than they were taken; everything is read anew");
            Input::Overrun
        }
        Event::Deaf(unread) => {
            tracing::warn!(%unread, "changes between rounds go unseen; it is tried again every few seconds");
            Input::Listening(Err(unread))
        }
        Event::Listening => Input::Listening(Ok(())),
    };
    node.on(input, now(epoch));
}

/// What comes in, if there are sockets for it to come in by.
async fn received(packets: &mut Option<Packets>) -> Received {
    match packets {
        Some(packets) => packets.recv().await,
        None => std::future::pending().await,
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

pub(crate) fn now(epoch: Instant) -> Now {
    Now { mono: Mono::new(epoch.elapsed()), wall: Timestamp::now() }
}

/// What makes this process's probes its own.
pub(crate) fn identity() -> Result<Identity, Unread> {
    let random = |error| {
        let what = format!("getrandom: no random identity for probes: {error}");
        Unread::new(Source::Probes, Reason::Failed { what })
    };
    let secret = getrandom::u64().map_err(random)?;
    let chance = getrandom::u32().map_err(random)?;
    let block = u16::try_from(chance & 0xffff).unwrap_or_default() % PORT_BLOCKS;
    Ok(Identity { id: (chance >> 16) as u16, secret, first_port: FIRST_PORT + block * PORTS })
}
