//! Asking every peer's agent for its report, for the picture of the whole cluster.
//!
//! Only ever `/report`, which asks nobody: two agents cannot set each other off. So many are asked at a time
//! ([`Plan::parallel`]), each for so long, all of them together for so long; who was not asked by then is told as such.
//! A report is read on a thread of its own, one after another, as soon as it is here, and no more is kept of it than the
//! picture needs. What is in memory at once is bounded by [`Plan::parallel`] reports of [`Plan::body`] bytes.

pub mod pair;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use probes::cluster::{Answer, Directory, Gathered, Matrix, Said, read};
use probes::peers::announced::Agent;
use probes::report::{Published, Report};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::call::{self, Failed, Limits, Terms};

/// What asking may take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Agents asked at a time.
    pub parallel: usize,
    /// For one agent, over all its addresses.
    pub each: Duration,
    /// For all of them.
    pub total: Duration,
    /// Bytes of one report.
    pub body: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            parallel: 8,
            // A report is made in milliseconds; a host that is gone is silent.
            each: Duration::from_secs(2),
            // Shorter than a connection lives (`Bounds::connection_time`): whoever asked is to get what there is.
            total: Duration::from_secs(10),
            // Two megabytes is the report of a node with 1,000 peers.
            body: 4 << 20,
        }
    }
}

/// What comes of asking one agent.
type Answered = Result<Said, (Answer, String)>;

/// The picture as this agent and those that it knows can draw it. Peers' agents listen on `port`.
pub async fn gather(published: &Published, port: u16, plan: Plan, terms: &Terms) -> Matrix {
    let deadline = Instant::now() + plan.total;
    let own = &published.report;
    let who = Arc::new(Directory::of(own, &published.agents));
    let mut gathered = Gathered::new(Arc::clone(&who));
    gathered.take(&own.node, own.vantage, own_word(Arc::clone(own), Arc::clone(&who)).await);
    let reader = Arc::new(Semaphore::new(1));
    let asked = published.agents.clone().into_iter().enumerate().map(|(at, agent)| {
        let (who, reader, terms) = (Arc::clone(&who), Arc::clone(&reader), terms.clone());
        async move { (at, one(&agent, port, plan, &terms, who, &reader).await) }
    });
    let mut asked = stream::iter(asked).buffer_unordered(plan.parallel);
    let mut heard = vec![false; published.agents.len()];
    while let Ok(Some((at, answered))) = timeout_at(deadline, asked.next()).await {
        heard[at] = true;
        gathered.take(&published.agents[at].peer, published.agents[at].vantage, answered);
    }
    for agent in published.agents.iter().zip(heard).filter_map(|(agent, heard)| (!heard).then_some(agent)) {
        let why = format!("there was no time left to hear it within {} s", plan.total.as_secs());
        gathered.take(&agent.peer, agent.vantage, Err((Answer::NotAsked, why)));
    }
    let (node, now, interval) = (own.node.clone(), Timestamp::now(), published.telemetry.interval);
    spawn_blocking(move || gathered.matrix(&node, now, interval))
        .await
        .expect("drawing does not panic, and nobody cancels it")
}

async fn one(agent: &Agent, port: u16, plan: Plan, terms: &Terms, who: Arc<Directory>, reader: &Semaphore) -> Answered {
    let answer = timeout_at(Instant::now() + plan.each, ask(agent, port, plan, terms)).await;
    match answer.unwrap_or(Err(Failed::Late)) {
        Ok(body) => said(body, who, reader).await,
        Err(failed) => Err(told(&failed)),
    }
}

/// This agent's own report, read like any other.
async fn own_word(own: Arc<Report>, who: Arc<Directory>) -> Answered {
    let read = spawn_blocking(move || {
        let json = serde_json::to_vec(&*own).map_err(|error| error.to_string())?;
        read(&json, &who).map_err(|garbage| garbage.to_string())
    });
    read.await.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| (Answer::Garbage, why))
}

/// At one address after another, until somebody answers.
async fn ask(agent: &Agent, port: u16, plan: Plan, terms: &Terms) -> Result<Bytes, Failed> {
    let addresses = u32::try_from(agent.addresses.len()).unwrap_or(u32::MAX).max(1);
    let limits = Limits { time: plan.each / addresses, body: plan.body };
    let mut failed = None;
    for address in &agent.addresses {
        let to = SocketAddr::new(*address, port);
        match call::get(to, "/report?format=json", "application/json", limits, terms).await {
            Err(nobody @ (Failed::Late | Failed::Broken { .. })) => failed = failed.or(Some(nobody)),
            answer => return answer,
        }
    }
    Err(failed.unwrap_or(Failed::Broken { why: "no address of its agent is known".into() }))
}

async fn said(body: Bytes, who: Arc<Directory>, reader: &Semaphore) -> Answered {
    let turn = reader.acquire().await;
    let read = spawn_blocking(move || read(&body, &who).map_err(|garbage| garbage.to_string())).await;
    drop(turn);
    read.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| (Answer::Garbage, why))
}

/// The kind of failure, and its words.
fn told(failed: &Failed) -> (Answer, String) {
    let answer = match failed {
        Failed::Late => Answer::Timeout,
        Failed::Broken { .. } => Answer::NoConnection,
        Failed::NoTls { .. } => Answer::Tls,
        Failed::Refused { status: 401 | 403, .. } => Answer::Unauthorized,
        Failed::Refused { status: 503, .. } => Answer::NotReady,
        Failed::Refused { .. } => Answer::Refused,
        Failed::TooLarge { .. } => Answer::TooLarge,
    };
    (answer, failed.to_string())
}

#[cfg(test)]
mod tests;
