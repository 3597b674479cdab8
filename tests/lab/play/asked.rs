//! Plays a scenario of a code that is judged only where somebody asks for a report: one run of the command for each state.

use std::fs;

use super::{Service, configuration};
use crate::cluster::Cluster;
use crate::fault::make_all;
use crate::matrix;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::{Error, Result, service};

pub(super) fn play(scenario: &Scenario, cluster: &Cluster) -> Result<()> {
    let text = configuration(scenario, cluster, 0)?;
    let mut agent = Service::start_with(cluster, 0, &text)?;
    let directory = tempfile::tempdir_in("/run").map_err(|error| Error::new("making a folder", error))?;
    let config = directory.path().join("mtuscope.yaml").display().to_string();
    fs::write(&config, text).map_err(|error| Error::new(format!("writing {config}"), error))?;
    let ask = || report(cluster, &config);
    quiet(scenario, &ask()?)?;
    for near_miss in &scenario.near_miss {
        let made = make_all(&near_miss.make, cluster)?;
        quiet(scenario, &ask()?).map_err(|error| error.while_doing(format!("near miss `{}`", near_miss.title)))?;
        made.heal()?;
    }
    let broken = make_all(&scenario.fault, cluster)?;
    let found = ask()?;
    raised(scenario, cluster, &found)?;
    matrix::check(&scenario.name(&cluster.recipe), scenario.by_chance, &found)?;
    unheard(scenario, &mut agent)?;
    broken.heal()?;
    quiet(scenario, &ask()?).map_err(|error| error.while_doing("after healing"))
}

fn report(cluster: &Cluster, config: &str) -> Result<Report> {
    let output = service::run(cluster.host(0), &["report", "--output", "json", "--config", config])?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Report::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|error| error.check(log))
}

/// That nothing at all is found, and that the code was looked at.
fn quiet(scenario: &Scenario, report: &Report) -> Result<()> {
    let looked = !report.not_concluded.iter().any(|one| one.code == scenario.code);
    if looked && report.findings.is_empty() {
        return Ok(());
    }
    Err(Error::new("asking for a report of a healthy node", report))
}

fn raised(scenario: &Scenario, cluster: &Cluster, report: &Report) -> Result<()> {
    let expect = &scenario.expect;
    let subject = expect.subject.on(&cluster.recipe);
    let is_it = report.findings.iter().any(|finding| {
        finding.code == scenario.code
            && Some(&finding.subject) == subject.as_ref()
            && finding.severity == expect.severity
            && finding.silenced_by.is_some() == expect.silenced
            && expect.is_shown_by(&finding.evidence)
            && expect.is_advised_by(&finding.remedy)
    });
    if is_it {
        return Ok(());
    }
    Err(Error::new(format!("asking for a report of {}", scenario.code), report))
}

/// That an agent neither finds it nor says that it could not look, once it has measured everything anew.
fn unheard(scenario: &Scenario, agent: &mut Service<'_>) -> Result<()> {
    let since = jiff::Timestamp::now();
    let report = agent.until("every path to be measured anew", |report| report.measured_since(since))?;
    let metrics = agent.get("/metrics", "text/plain")?.body;
    let told = format!("check_concluded{{code=\"{}\"}}", scenario.code);
    if report.has(&scenario.code)
        || report.not_concluded.iter().any(|one| one.code == scenario.code)
        || metrics.contains(&told)
    {
        return Err(Error::new("asking an agent", format!("it speaks of {}:\n{report}", scenario.code)));
    }
    Ok(())
}
