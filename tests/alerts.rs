//! From a fault to whoever is on call: agents on four nodes, a real Prometheus with the shipped rules, a real Alertmanager,
//! a webhook. One fault of each family is made, and healed, in turn; clusters run side by side.
//!
//! The rules are the shipped ones at the pace of tests: expressions, labels and texts to the letter, minutes as seconds.
//! Each episode fails if the right alert does not arrive, if any of its labels is another one, if a text is missing, if
//! *anything else* arrives (a consequence, the same fault as seen by a peer, a moment between two states), or if it does
//! not resolve once the fault is healed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use lab::cluster::Cluster;
use lab::fault::{Fault, NoFile};
use lab::harness::{self, test};
use lab::monitoring::{self, Alert, Status, Watch};
use lab::recipe::{FOUR, Role};
use lab::{Error, Result, service};

fn main() -> ExitCode {
    let families = |name: &str, episodes: fn() -> Vec<Episode>| test(name, move || play(&episodes()));
    harness::main(|| {
        vec![
            families("a fault of links and one of the kernel are one alert each, which resolves", links_and_kernel),
            families("a fault of paths and one of the overlay are one alert each, which resolves", paths_and_overlay),
            families("a fault of files and one of the cluster are one alert each, which resolves", files_and_cluster),
            test("an agent that ends is one alert, which resolves when it is back, and a roll-out is none", agents),
        ]
    })
}

/// Plays all, and says of each what was wrong.
fn play(episodes: &[Episode]) -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let mut watch = watched(&cluster)?;
    let failed = episodes.iter().filter_map(|episode| episode.play(&cluster, &mut watch).err());
    let failed: Vec<String> = failed.map(|error| error.to_string()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::new("playing a fault of each family", failed.join("\n"))) }
}

/// Fails if an agent's end is told of as anything else, or by anything else, or if replacing one agent after the other,
/// as a roll-out does, is told of at all.
fn agents() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let mut watch = watched(&cluster)?;
    for node in 0..FOUR.nodes.len() {
        watch.end_agent(node)?;
        watch.start_agent(node)?;
    }
    watch.healthy()?;
    let told = watch.webhook.alerts()?;
    if !told.is_empty() {
        return Err(watch.with_state(Error::new("rolling out", format!("somebody was told: {told:#?}"))));
    }
    let ends = Told(&["MtuscopeAgentDown node=app-worker severity=warning"]);
    watch.end_agent(3)?;
    ends.fires(&mut watch, Duration::ZERO).map_err(|error| watch.with_state(error))?;
    watch.start_agent(3)?;
    watch.healthy()?;
    ends.resolved(&watch)
}

fn watched(cluster: &Cluster) -> Result<Watch<'_>> {
    Watch::start(cluster, monitoring::rules(), |node| Ok(service::configuration(cluster, node)))
}

/// A fault and what it leads to.
struct Episode {
    family: &'static str,
    fault: Fault,
    told: Told,
}

/// The labels of each alert, all of them.
struct Told(&'static [&'static str]);

fn links_and_kernel() -> Vec<Episode> {
    vec![
        Episode {
            family: "links",
            fault: Fault::LinkDown { node: 3, link: Role::Nic },
            told: Told(&["MtuscopeLinkDown code=link-down node=app-worker severity=critical subject=enp5s0"]),
        },
        Episode {
            family: "kernel",
            fault: Fault::Sysctl { node: 1, key: "net/ipv4/ip_forward".into(), value: "0".into() },
            told: Told(&[
                "MtuscopeIpForwardOff code=ip-forward-off node=master-2 severity=critical subject=ip_forward",
            ]),
        },
    ]
}

fn paths_and_overlay() -> Vec<Episode> {
    vec![
        Episode {
            family: "paths",
            fault: Fault::DropLarger { node: 2, than: 1400.into() },
            told: Told(&["MtuscopePathBlackHole code=path-black-hole severity=critical subject=master-3"]),
        },
        Episode {
            family: "overlay",
            fault: Fault::MissingFdb { node: 0, of: 1 },
            told: Told(&[
                "MtuscopeVtepIncomplete code=vtep-incomplete node=master-1 severity=critical subject=master-2",
            ]),
        },
    ]
}

fn files_and_cluster() -> Vec<Episode> {
    vec![
        Episode {
            family: "declared",
            fault: Fault::NoFile(NoFile { node: 2, path: "{cni_file}".into() }),
            told: Told(&[
                "MtuscopeCniNotConfigured code=cni-not-configured node=master-3 severity=critical subject=cni",
            ]),
        },
        Episode {
            family: "cluster",
            fault: Fault::VipOn { nodes: vec![] },
            told: Told(&["MtuscopeVipAbsent code=vip-absent severity=critical"]),
        },
    ]
}

impl Episode {
    fn play(&self, cluster: &Cluster, watch: &mut Watch<'_>) -> Result<()> {
        watch.webhook.forget();
        let made = self.fault.make(cluster)?;
        let fired =
            self.told.fires(watch, self.fault.patience(&cluster.recipe)).map_err(|error| watch.with_state(error));
        made.heal()?;
        let healed = watch.healthy().map_err(|error| watch.with_state(error));
        let all = fired.and(healed).and_then(|()| self.told.resolved(watch));
        all.map_err(|error| error.while_doing(self.family))
    }
}

impl Told {
    /// Waits until all is told that is going to be, and looks at every label and text. Agents may wait for as long as
    /// `patience` before they find anything, and the rules after that.
    fn fires(&self, watch: &mut Watch<'_>, patience: Duration) -> Result<()> {
        let pause = patience + monitoring::longest_hold();
        watch.webhook.until_after(pause, "somebody to be told", |alerts| !alerts.is_empty())?;
        let firing = watch.settle()?;
        self.compare("what is told", firing.iter())?;
        firing.iter().try_for_each(texts)
    }

    /// Looks at everything that was told from first to last: each alert once, and once that it is over.
    fn resolved(&self, watch: &Watch<'_>) -> Result<()> {
        let all = watch.webhook.alerts()?;
        let of = |status| all.iter().filter(move |alert| alert.status == status);
        self.compare("all that was told", of(Status::Firing))?;
        self.compare("all that is over", of(Status::Resolved))
    }

    fn compare<'a>(&self, what: &str, alerts: impl Iterator<Item = &'a Alert>) -> Result<()> {
        let mut found: Vec<_> = alerts.map(labels).collect();
        found.sort();
        if found == self.0 {
            return Ok(());
        }
        Err(Error::new(what, format!("{found:#?}, and should be {:#?}", self.0)))
    }
}

/// The name of an alert, and all its other labels.
fn labels(alert: &Alert) -> String {
    let others: BTreeMap<_, _> = alert.labels.iter().filter(|(name, _)| *name != "alertname").collect();
    let others: String = others.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    alert.label("alertname").to_owned() + &others
}

/// Whoever reads it at night finds what, where, and what to do.
fn texts(alert: &Alert) -> Result<()> {
    let [summary, description, runbook] = ["summary", "description", "runbook_url"].map(|name| alert.annotation(name));
    let names_it = ["node", "subject"].map(|name| alert.label(name)).iter().all(|name| summary.contains(name));
    let anchored = runbook.starts_with("https://") && runbook.contains('#');
    if names_it && !description.is_empty() && anchored {
        return Ok(());
    }
    Err(Error::new("reading an alert", format!("a text is missing, or names nothing: {:#?}", alert.annotations)))
}
