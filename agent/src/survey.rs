//! The driver of [`probes::survey::Survey`]: one owner, one clock.
//!
//! Unlike a node's rounds, which are paced, a survey sends as fast as the network answers. So between batches it takes
//! in what came back: a thousand answers of full size do not fit the receive buffer that an ordinary process is given
//! (`net.core.rmem_max`), and on this machine, or next door, they are there before the next batch is.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use probes::fact::Unread;
use probes::prober::Transmit;
use probes::report::PathRow;
use probes::survey::{Input, Output, Progress, Survey, Wanted};
use tokio::time::Instant as Deadline;

use crate::driver::{identity, now};
use crate::io::netlink::Netlink;
use crate::io::packets::{Packets, Received};

/// Most packets handed to the kernel before what came back is taken in: their answers fit the smallest receive buffer
/// that is usual (208 KiB, which holds some 90 packets of 1500 bytes).
const BATCH: usize = 64;

/// How long to wait when nothing says how long: something is then under way that ends by itself.
const NO_DEADLINE: Duration = Duration::from_secs(1);

/// What ends a survey early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Late,
    Interrupted,
}

/// Measures what is wanted, within `limit`, or until the process is interrupted (SIGINT); then what is not measured is
/// unknown. `show` is called about ten times in a second. Needs a tokio runtime with I/O and time enabled, on one thread.
///
/// # Errors
/// If probes cannot be sent at all, or the kernel's tables not be read.
pub async fn run(wanted: Wanted, limit: Duration, show: impl FnMut(Progress<'_>)) -> Result<Vec<PathRow>, Unread> {
    let identity = identity()?;
    let epoch = Instant::now();
    let packets = Packets::open(identity, epoch)?;
    let wire = packets.wire();
    let mut world = World {
        netlink: Netlink::open()?,
        packets,
        epoch,
        batch: Vec::with_capacity(BATCH),
        survey: Survey::new(wanted, wire, identity, now(epoch)),
    };
    if let Some(end) = world.run(Deadline::now() + limit, show).await {
        let why = match end {
            End::Late => format!("it was not finished within {} s (--timeout)", limit.as_secs_f64()),
            End::Interrupted => "it was interrupted".to_owned(),
        };
        world.survey.give_up(&why, now(epoch));
    }
    match world.survey.blind() {
        Some(unread) => Err(unread.clone()),
        None => Ok(world.survey.paths()),
    }
}

struct World {
    netlink: Netlink,
    packets: Packets,
    epoch: Instant,
    batch: Vec<Transmit>,
    survey: Survey,
}

/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(100);

impl World {
    async fn run(&mut self, end: Deadline, mut show: impl FnMut(Progress<'_>)) -> Option<End> {
        let mut ticks = tokio::time::interval_at(Deadline::now() + TICK, TICK);
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            while let Some(output) = self.survey.poll(now(self.epoch)) {
                self.act(output).await;
            }
            self.flush();
            if self.survey.is_over() {
                return None;
            }
            let wake =
                self.survey.poll_timeout().map_or(Instant::now() + NO_DEADLINE, |at| self.epoch + at.since_start());
            tokio::select! {
                received = self.packets.recv() => take(received, &mut self.survey, self.epoch),
                () = tokio::time::sleep_until(Deadline::from_std(wake)) => {}
                () = tokio::time::sleep_until(end) => return Some(End::Late),
                Ok(()) = &mut interrupt => return Some(End::Interrupted),
                _ = ticks.tick() => show(self.survey.progress()),
            }
        }
    }

    async fn act(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => {
                self.batch.push(transmit);
                if self.batch.len() >= BATCH {
                    self.flush();
                    self.take_in().await;
                }
            }
            Output::ReadFacts(tables) => {
                let facts = self.netlink.tables(tables).await;
                self.survey.on(Input::Facts(Box::new(facts)), now(self.epoch));
            }
            Output::ReadRoutes(queries) => {
                let routes = self.netlink.routes(queries).await;
                self.survey.on(Input::Routes(Box::new(routes)), now(self.epoch));
            }
            Output::WatchTunnelPorts(ports) => {
                if let Err(error) = self.packets.watch_tunnel_ports(&ports) {
                    tracing::warn!(%error, "errors about the tunnel's own packets go unseen");
                }
            }
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        // Read before sending: a round trip on this machine can be over by the time that the system call returns.
        let left = now(self.epoch);
        for (id, sent) in self.packets.send(std::mem::take(&mut self.batch)) {
            self.survey.on(Input::Sent(id, sent), left);
        }
    }

    /// Takes in what is there, and waits for nothing.
    async fn take_in(&mut self) {
        // The reactor looks at its sockets while the task is set aside.
        tokio::task::yield_now().await;
        while let Some(received) = self.packets.recv().now_or_never() {
            take(received, &mut self.survey, self.epoch);
        }
    }
}

fn take(received: Received, survey: &mut Survey, epoch: Instant) {
    for datagram in received.datagrams {
        survey.on(Input::Datagram(datagram), now(epoch));
    }
    for (id, sent) in received.sent {
        survey.on(Input::Sent(id, sent), now(epoch));
    }
}
