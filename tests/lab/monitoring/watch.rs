//! A cluster with an agent on every node, and all that watches it: what a fault leads to is seen at the far end.
//!
//! # When all has been told
//! No test waits for a time and hopes that nothing more comes. [`Watch::settle`] follows what happens to a fault: every
//! agent has measured every path anew, several times; Prometheus has scraped that, and judged it; no alert is about to
//! fire; and whoever is on call has been told of all that fire. What is there then is all there is.

use jiff::Timestamp;

use super::{ActiveAlert, Alert, Alertmanager, Prometheus, Setup, Target, Webhook, longest_hold, longest_keep};
use crate::cluster::Cluster;
use crate::report::Report;
use crate::service::Service;
use crate::wait::{self, Look};
use crate::{Error, Result};

/// Rounds after which an agent has found what there is to find: one that may have begun before, and those that confirm.
const ROUNDS: usize = 3;

/// A cluster that is watched. Everything ends with this value.
#[derive(Debug)]
pub struct Watch<'c> {
    cluster: &'c Cluster,
    configurations: Vec<String>,
    /// By node; `None` where the agent was ended.
    agents: Vec<Option<Service<'c>>>,
    /// What scrapes them.
    pub prometheus: Prometheus<'c>,
    _alertmanager: Alertmanager<'c>,
    /// Who is told.
    pub webhook: Webhook,
}

impl<'c> Watch<'c> {
    /// Starts everything, and waits until the cluster is healthy, with nothing left open and nobody told of anything.
    ///
    /// # Errors
    /// If something does not start, or does not become healthy.
    pub fn start(cluster: &'c Cluster, rules: String, configuration: impl Fn(usize) -> Result<String>) -> Result<Self> {
        let configurations: Vec<String> = (0..cluster.nodes.len()).map(configuration).collect::<Result<_>>()?;
        let launch = |(node, text): (usize, &String)| Service::launch_in(cluster.host(node), text).map(Some);
        let agents = configurations.iter().enumerate().map(launch).collect::<Result<_>>()?;
        let webhook = Webhook::start(&cluster.switch)?;
        let alertmanager = Alertmanager::start(&cluster.switch, &webhook)?;
        let setup = Setup { targets: Target::agents(cluster), rules: vec![rules], alertmanager: Some(&alertmanager) };
        let prometheus = Prometheus::start(&cluster.switch, &setup)?;
        let mut watch = Self { cluster, configurations, agents, prometheus, _alertmanager: alertmanager, webhook };
        for agent in watch.agents.iter_mut().flatten() {
            agent.await_ready()?;
            agent.until("a healthy node with nothing left open", is_whole)?;
        }
        watch.healthy()?;
        // What may have fired while agents started is not what is looked at.
        watch.webhook.forget();
        Ok(watch)
    }

    /// Ends the agent of a node, as a node does that goes away.
    ///
    /// # Errors
    /// If it does not end.
    pub fn end_agent(&mut self, node: usize) -> Result<()> {
        self.agents[node].take().map_or(Ok(()), |agent| agent.stop().map(drop))
    }

    /// Starts the agent of a node again, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn start_agent(&mut self, node: usize) -> Result<()> {
        let mut agent = Service::launch_in(self.cluster.host(node), &self.configurations[node])?;
        agent.await_ready()?;
        self.agents[node] = Some(agent);
        Ok(())
    }

    /// Waits until every agent finds nothing, every path is clear, no alert is active, and whoever is on call knows.
    ///
    /// # Errors
    /// If one is not in time.
    pub fn healthy(&mut self) -> Result<()> {
        for agent in self.agents.iter_mut().flatten() {
            agent.until("a healthy node", is_healthy)?;
        }
        wait::until_after(longest_keep(), "no alert to be active", || {
            let alerts = self.prometheus.alerts()?;
            Ok(if alerts.is_empty() { Look::There(()) } else { Look::NotYet(format!("{alerts:#?}")) })
        })?;
        wait::until("whoever is on call to know that all is well", || {
            let firing = self.webhook.firing()?;
            Ok(if firing.is_empty() { Look::There(()) } else { Look::NotYet(format!("{firing:#?}")) })
        })
    }

    /// Waits until all that can come of how things are has come, and returns the alerts that fire.
    ///
    /// # Errors
    /// If it does not come to rest in time.
    pub fn settle(&mut self) -> Result<Vec<Alert>> {
        for _ in 0..ROUNDS {
            let since = Timestamp::now();
            for agent in self.agents.iter_mut().flatten() {
                agent.until("every path to be measured anew", |report| report.measured_since(since))?;
            }
        }
        self.judged()?;
        wait::until_after(longest_hold(), "no alert to be pending, and all that fire to be told", || {
            let active = self.prometheus.alerts()?;
            let told = self.webhook.firing()?;
            let firing = active.iter().filter(|alert| alert.state == "firing").count();
            if active.iter().any(is_about_to_alarm) || told.len() != firing {
                return Ok(Look::NotYet(format!("{active:#?}, and told of {told:#?}")));
            }
            Ok(Look::There(told))
        })
    }

    /// Waits until Prometheus has scraped every target anew, and judged what it saw there.
    fn judged(&self) -> Result<()> {
        let scraped = Timestamp::now().as_millisecond() as f64 / 1000.0;
        self.prometheus.until("min(timestamp(up))", |seen| seen.iter().any(|sample| sample.value > scraped))?;
        self.prometheus.evaluated_since(Timestamp::now())
    }

    /// What the agent of a node says.
    ///
    /// # Errors
    /// If it was ended, or does not answer.
    pub fn report(&self, node: usize) -> Result<Report> {
        let agent = self.agents[node].as_ref();
        agent.ok_or_else(|| Error::new(format!("asking the agent of node {node}"), "it was ended"))?.report()
    }

    /// An error, with what every agent reports and every alert that is active.
    #[must_use]
    pub fn with_state(&self, error: Error) -> Error {
        let mut text: String = (0..self.agents.len())
            .map(|node| self.report(node).map_or_else(|error| error.to_string(), |report| report.to_string()) + "\n")
            .collect();
        text += &self.prometheus.alerts().map_or_else(|error| error.to_string(), |alerts| shown(&alerts));
        error.check(format!("what the agents and Prometheus say:\n{text}"))
    }
}

/// What is for information alone wakes nobody, and waits for an hour: a minute in tests.
fn is_about_to_alarm(alert: &ActiveAlert) -> bool {
    alert.state != "firing" && alert.labels.get("severity").is_none_or(|severity| severity != "info")
}

fn shown(alerts: &[ActiveAlert]) -> String {
    alerts.iter().map(|alert| format!("{} {:?} {:?}\n", alert.state, alert.labels, alert.annotations)).collect()
}

/// Well, with every path clear.
fn is_healthy(report: &Report) -> bool {
    report.is_well() && !report.paths.is_empty() && report.paths.iter().all(|path| path.verdict == "clear")
}

/// Healthy, with nothing left open.
fn is_whole(report: &Report) -> bool {
    is_healthy(report) && report.not_concluded.is_empty()
}
