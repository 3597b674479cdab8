//! Plays one scenario on one recipe: a healthy node, each near miss, the fault, its remedy, healing; one agent process for
//! it all.

mod asked;
mod time;

use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::{Cluster, Memory};
use crate::fault::{Fault, make_all};
use crate::recipe::Recipe;
use crate::remedy::Followed;
use crate::report::{Finding, Report};
use crate::scenario::{Agents, NearMiss, Remedy, Scenario};
use crate::service::{self, Service};
use crate::{Error, Result, matrix, remedy};
pub use time::is_swept;
use time::{HALF_MADE_ROUNDS, QUIET_ROUNDS, Quiet};

/// Plays a scenario.
///
/// # Errors
/// If the agent says anything else than it should, with the report that shows it.
pub fn play(scenario: &Scenario, recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let given = make_all(&scenario.given, &cluster)?;
    if scenario.agents == Agents::Report {
        asked::play(scenario, &cluster)?;
        return given.heal();
    }
    let (mut service, peers) = start(scenario, &cluster)?;
    let process = service.id();
    healthy(&mut service, &recipe, scenario.agents, Duration::ZERO)?;
    for near_miss in &scenario.near_miss {
        miss(scenario, near_miss, &cluster, &mut service)
            .map_err(|error| error.while_doing(format!("near miss `{}`", near_miss.title)))?;
    }
    hit(scenario, &cluster, &mut service)?;
    if service.id() != process {
        return Err(Error::new("looking at the agent", "it is another process than at the start"));
    }
    stop(service)?;
    peers.into_iter().try_for_each(stop)?;
    given.heal()
}

/// The agent of node 0, and those of the others where there are any.
fn start<'c>(scenario: &Scenario, cluster: &'c Cluster) -> Result<(Service<'c>, Vec<Service<'c>>)> {
    let configuration = |node| configuration(scenario, cluster, node);
    match scenario.agents {
        Agents::One | Agents::Report => Ok((Service::start_with(cluster, 0, &configuration(0)?)?, Vec::new())),
        Agents::All | Agents::Asking => {
            let start = |node| Service::start_open(cluster, node, &configuration(node)?);
            let peers = cluster.peers(0).map(start).collect::<Result<_>>()?;
            Ok((start(0)?, peers))
        }
    }
}

/// The configuration of a node on which a scenario is played.
///
/// # Errors
/// If the recipe lacks a name that the scenario uses.
pub fn configuration(scenario: &Scenario, cluster: &Cluster, node: usize) -> Result<String> {
    let recipe = &cluster.recipe;
    let mut text = service::configuration(cluster, node);
    if recipe.ways() > 1 {
        text = text.replace("probing: {", &format!("probing: {{ ecmp_ports: {},", recipe.ports_to_tell()));
    }
    text += "expect:\n";
    if !scenario.sysctls.is_empty() {
        text += "  sysctls:\n";
    }
    for (key, value) in &scenario.sysctls {
        text += &format!("    {key}: \"{value}\"\n");
    }
    for (key, size) in [("underlay_mtu", &scenario.underlay), ("overlay_mtu", &scenario.overlay)] {
        if let Some(size) = size {
            text += &format!("  {key}: {}\n", size.on(&recipe.sizes())?);
        }
    }
    Ok(text)
}

/// Plays a recipe that nothing is wrong with: not one finding in several rounds.
///
/// # Errors
/// If the agent finds anything, or cannot measure a path.
pub fn stay_healthy(recipe: Recipe) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut service = Service::start(&cluster, 0)?;
    healthy(&mut service, &recipe, Agents::One, Duration::ZERO)?;
    let settled = rounds(&mut service, Agents::One, |report| match report.findings.first() {
        None => Ok(()),
        Some(finding) => Err(Error::new("watching a healthy node", format!("{} was raised", finding.code))),
    })?;
    matrix::check(&matrix::healthy(&recipe), false, None, &settled)?;
    stop(service)
}

/// Waits until nothing is found and every path is measured and clear; where peers run agents, by transfers too. What was
/// found may take `pause` to go.
fn healthy(service: &mut Service<'_>, recipe: &Recipe, agents: Agents, pause: Duration) -> Result<Report> {
    let planes: &[&str] = match recipe.overlay {
        Some(overlay) if overlay.delivery.vxlan().is_some() => &["underlay", "overlay", "pod"],
        Some(_) => &["underlay", "pod"],
        None => &["underlay"],
    };
    let since = Timestamp::now();
    service.until_after(pause, "a healthy report without any finding", |report| {
        let clear =
            |peer, plane| report.path(peer, plane).is_some_and(|path| path.verdict == "clear" && path.packets_sent > 0);
        report.is_well()
            && measured_since(report, since, agents)
            && recipe.nodes[1..].iter().all(|peer| planes.iter().all(|plane| clear(peer, plane)))
    })
}

fn miss(scenario: &Scenario, near_miss: &NearMiss, cluster: &Cluster, service: &mut Service<'_>) -> Result<()> {
    let made = make_all(&near_miss.make, cluster)?;
    if near_miss.make.len() > 1 || near_miss.make.iter().any(Fault::has_steps) {
        // The agent hears of every step, and what is half made may well be what the code is about.
        several(HALF_MADE_ROUNDS, service, scenario.agents, |_| Ok(()))?;
    }
    let Quiet { span, rounds } = Quiet::of(scenario, &near_miss.make, &cluster.recipe);
    let stays_away = |report: &Report| {
        if report.has(&scenario.code) {
            return Err(Error::new("watching", format!("{} was raised:\n{report}", scenario.code)));
        }
        Ok(())
    };
    lasting(span, service, scenario.agents, stays_away)?;
    several(rounds, service, scenario.agents, stays_away)?;
    made.heal()?;
    healthy(service, &cluster.recipe, scenario.agents, span).map(drop)
}

fn hit(scenario: &Scenario, cluster: &Cluster, service: &mut Service<'_>) -> Result<()> {
    let subject = scenario.expect.subject.on(&cluster.recipe);
    let subject = subject.ok_or_else(|| Error::new("naming the subject", "this recipe has none"))?;
    let before = cluster.memorise()?;
    let broken = make_all(&scenario.fault, cluster)?;
    let pause = time::pause(scenario, &scenario.fault, &cluster.recipe);
    let report = raised(scenario, &subject, service, pause)?;
    let settled = settled(scenario, &cluster.recipe, service, pause)?;
    probes_left(scenario, &subject, &settled)?;
    let several = scenario.several_on(&cluster.recipe);
    matrix::check(&scenario.name(&cluster.recipe), scenario.by_chance, several, &settled)?;
    if scenario.is_mended_on(&cluster.recipe) {
        mended(scenario, &subject, &report, &before, service)?.undo()?;
        broken.heal_what_is_left();
        // A remedy may have gone another way than back.
        before.put_back()?;
    } else {
        broken.heal()?;
    }
    let healed = healthy(service, &cluster.recipe, scenario.agents, pause);
    healed.map(drop).map_err(|error| error.while_doing("after healing"))
}

/// What the finding advises is done, and nothing is wrong any more while the fault is still not undone.
fn mended(
    scenario: &Scenario,
    subject: &str,
    report: &Report,
    before: &Memory<'_>,
    service: &mut Service<'_>,
) -> Result<Followed> {
    let is_it = |finding: &&Finding| finding.code == scenario.code && finding.subject == subject;
    let found = report.findings.iter().find(is_it);
    let remedy = found.map(|finding| finding.remedy.as_slice()).unwrap_or_default();
    let cluster = before.cluster();
    let pause = time::pause(scenario, &scenario.fault, &cluster.recipe);
    let after = || format!("after following the remedy\n{}\n", remedy.join("\n"));
    let followed = remedy::follow(remedy, cluster, before).map_err(|error| error.while_doing(after()))?;
    let seen = match scenario.remedy {
        Remedy::Clears(_) => {
            service.until_after(pause, "the finding to go", |report| !report.findings.iter().any(|one| is_it(&one)))
        }
        _ => healthy(service, &cluster.recipe, scenario.agents, pause),
    };
    seen.map(|_| followed).map_err(|error| error.while_doing(after()))
}

/// What the agent finds once everything has come of a fault that comes of it.
fn settled(scenario: &Scenario, recipe: &Recipe, service: &mut Service<'_>, pause: Duration) -> Result<Report> {
    let settled = rounds(service, scenario.agents, |_| Ok(()))?;
    if !is_swept(scenario) {
        return Ok(settled);
    }
    // By the other family it is found in its own time, and until then what follows from it there is told.
    match matrix::loud(&scenario.name(recipe))? {
        Some(loud) => {
            service.until_after(pause, &format!("loud to be {loud}"), |report| matrix::is_loud(report, &loud))
        }
        None => lasting(pause, service, scenario.agents, |_| Ok(())),
    }
}

fn raised(scenario: &Scenario, subject: &str, service: &mut Service<'_>, pause: Duration) -> Result<Report> {
    let Scenario { code, expect, .. } = scenario;
    let manner = if expect.silenced { "silenced" } else { "loud" };
    let what = format!("{code} about {subject}, {} and {manner}", expect.severity);
    service.until_after(pause, &what, |report| {
        report.findings.iter().any(|finding| {
            finding.code == *code
                && finding.subject == subject
                && finding.severity == expect.severity
                && finding.silenced_by.is_some() == expect.silenced
                && expect.is_shown_by(&finding.evidence)
                && !finding.summary.is_empty()
                && !finding.remedy.is_empty()
                && expect.is_advised_by(&finding.remedy)
        })
    })
}

/// A finding about a peer is only worth something if somebody tried to reach it.
fn probes_left(scenario: &Scenario, subject: &str, report: &Report) -> Result<()> {
    let mut paths = report.paths.iter().filter(|path| path.peer == subject).peekable();
    if paths.peek().is_none() || paths.any(|path| path.packets_sent > 0) {
        return Ok(());
    }
    Err(Error::new(format!("looking for probes behind {}", scenario.code), format!("none left:\n{report}")))
}

/// Watches until every path was measured anew several times; every report on the way is looked at.
fn rounds(service: &mut Service<'_>, agents: Agents, look: impl FnMut(&Report) -> Result<()>) -> Result<Report> {
    several(QUIET_ROUNDS, service, agents, look)
}

fn several(
    rounds: usize,
    service: &mut Service<'_>,
    agents: Agents,
    mut look: impl FnMut(&Report) -> Result<()>,
) -> Result<Report> {
    let mut last = service.report()?;
    for _ in 0..rounds {
        last = round(service, agents, &mut look)?;
    }
    Ok(last)
}

/// Watches for as long as this by the agent's own clock; every report on the way is looked at.
fn lasting(
    span: Duration,
    service: &mut Service<'_>,
    agents: Agents,
    mut look: impl FnMut(&Report) -> Result<()>,
) -> Result<Report> {
    let until = Timestamp::now() + span;
    let mut last = service.report()?;
    while last.generated_at < until {
        last = round(service, agents, &mut look)?;
    }
    Ok(last)
}

/// Watches until every path was measured anew.
fn round(service: &mut Service<'_>, agents: Agents, mut look: impl FnMut(&Report) -> Result<()>) -> Result<Report> {
    let since = Timestamp::now();
    let mut failed = None;
    let last = service.until("every path to be measured anew", |report| {
        failed = look(report).err();
        failed.is_some() || measured_since(report, since, agents)
    })?;
    failed.map_or(Ok(last), Err)
}

fn measured_since(report: &Report, since: Timestamp, agents: Agents) -> bool {
    report.measured_since(since) && (agents != Agents::All || report.transferred_since(since))
}

fn stop(service: Service<'_>) -> Result<()> {
    let status = service.stop()?;
    if status.code() == Some(0) {
        return Ok(());
    }
    Err(Error::new("ending the agent", format!("it ended with {status} after SIGTERM")))
}
