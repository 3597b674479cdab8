//! Asking the agents of two nodes for their reports, for the picture of what each says of the other.
//!
//! Only whom this agent knows by name is asked, at the addresses that it knows itself: nobody can have it call another.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use probes::cluster::pair::{Heard, Pair, pair};
use probes::cluster::{Answer, Directory};
use probes::peers::announced::Agent;
use probes::report::Published;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::{Plan, ask, told};
use crate::io::call::{Failed, Terms};

/// Most agents of one node: that of the node and its twin.
const AGENTS: usize = 2;

/// What the agents of two nodes say of each other; `None` if one of them is nobody's name.
pub async fn gather(published: &Published, port: u16, names: [String; 2], plan: Plan, terms: &Terms) -> Option<Pair> {
    let own = Arc::clone(&published.report);
    let ends = names.iter().flat_map(|name| {
        let its = published.agents.iter().filter(move |agent| agent.peer == *name);
        its.filter(|agent| !is_own(agent, published)).take(AGENTS)
    });
    let asked = join_all(ends.map(|agent| one(agent, port, plan, terms))).await;
    let who = Directory::of(&own, &published.agents);
    let interval = published.telemetry.interval;
    let drawn = spawn_blocking(move || {
        let mut heard = asked;
        if names.contains(&own.node) {
            let answer = serde_json::to_vec(&*own).map_err(|error| (Answer::Garbage, error.to_string()));
            let (peer, vantage, addresses) = (own.node.clone(), own.vantage, own.addresses.clone());
            heard.insert(0, Heard { peer, vantage, addresses, answer });
        }
        pair(&own.node, &who, [&names[0], &names[1]], &heard, Timestamp::now(), interval)
    });
    drawn.await.expect("reading does not panic, and nobody cancels it")
}

/// Who asks need not be asked.
fn is_own(agent: &Agent, published: &Published) -> bool {
    (agent.peer.as_str(), agent.vantage) == (published.report.node.as_str(), published.report.vantage)
}

async fn one(agent: &Agent, port: u16, plan: Plan, terms: &Terms) -> Heard {
    let answer = timeout_at(Instant::now() + plan.each, ask(agent, port, plan, terms)).await;
    let answer = answer.unwrap_or(Err(Failed::Late)).map(Vec::from).map_err(|failed| told(&failed));
    Heard { peer: agent.peer.clone(), vantage: agent.vantage, addresses: agent.addresses.clone(), answer }
}
