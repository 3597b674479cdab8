//! From a fault to whoever is on call: agents, a real Prometheus, a real Alertmanager, a webhook.

use std::process::ExitCode;

use lab::Result;
use lab::cluster::Cluster;
use lab::harness::{self, test};
use lab::monitoring::{Alertmanager, JOB, Prometheus, Setup, Target, Webhook};
use lab::recipe::{REFERENCE, Recipe};
use lab::service::{self, Service};

const FOUR: Recipe = Recipe { nodes: &["master-1", "master-2", "master-3", "app-worker"], ..REFERENCE };

const RULE: &str = "
groups:
  - name: stand-in
    rules:
      - alert: MtuscopeDown
        expr: up{job='mtuscope'} == 0
        labels: { severity: critical }
        annotations: { summary: '{{ $labels.node }} is silent' }
";

fn main() -> ExitCode {
    harness::main(|| vec![test("an agent that ends is told of, and so is its return", chain)])
}

fn chain() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let mut agents: Vec<Service<'_>> = (0..4)
        .map(|node| Service::start_open(&cluster, node, &service::configuration(&cluster, node)))
        .collect::<Result<_>>()?;
    let webhook = Webhook::start(&cluster.switch)?;
    let alertmanager = Alertmanager::start(&cluster.switch, &webhook)?;
    let setup =
        Setup { targets: Target::agents(&cluster), rules: vec![RULE.into()], alertmanager: Some(&alertmanager) };
    let prometheus = Prometheus::start(&cluster.switch, &setup)?;
    prometheus.until(&format!("up{{job='{JOB}'}} == 1"), |up| up.len() == 4)?;
    drop(agents.remove(3));
    let told = webhook.until("an alert", |alerts| !alerts.is_empty())?;
    assert_eq!(told[0].label("node"), "app-worker", "{told:?}");
    agents.push(Service::start_open(&cluster, 3, &service::configuration(&cluster, 3))?);
    let told = webhook.until("it to resolve", |alerts| alerts.len() == 2)?;
    assert_eq!(webhook.firing()?, [], "{told:?}");
    Ok(())
}
