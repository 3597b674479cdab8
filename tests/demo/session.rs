//! One session: the cluster comes up, is seen well, is broken, and is followed until somebody ends it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lab::cluster::Cluster;
use lab::fault::{Broken, make_all};
use lab::namespace::Namespace;
use lab::report::{Finding, Report};
use lab::scenario::Scenario;
use lab::service::{self, SERVER, Service};
use lab::wait::DEADLINE;
use lab::{Error, Result, notes, play};

use crate::alerts::{self, Alerts, Turn};
use crate::choice::Choice;
use crate::follow::{Change, Findings, plane};
use crate::forward::Door;
use crate::screen::{Screen, Tone};

/// Time between two looks at the agents.
const TICK: Duration = Duration::from_millis(200);

/// Columns that the time of a change takes.
const INDENT: usize = 11;

/// How a program comes in: user and mount namespace are the lab's; the network is said behind it.
const NSENTER: &str = "nsenter --preserve-credentials -U -m";

/// What a person does.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A line was typed.
    Typed(String),
    /// A signal asks to end.
    End,
}

/// Where people come in.
#[derive(Debug)]
pub(crate) struct Doors {
    /// To each node's agent.
    pub(crate) nodes: Vec<Door>,
    /// To Prometheus, if there is to be one.
    pub(crate) alerts: Option<Door>,
}

/// Builds, breaks and follows until told to end.
///
/// # Errors
/// If the cluster cannot be built, is not well from the start, or an agent ends.
pub(crate) fn run(
    choice: &Choice,
    doors: &Doors,
    heal_after: Option<Duration>,
    events: &Receiver<Event>,
    mut screen: Screen,
) -> Result<()> {
    screen.line(&format!("building the cluster `{}`: {}", choice.recipe.name, choice.recipe.nodes.join(", ")));
    let cluster = Cluster::build(choice.recipe)?;
    let _given = choice.scenario.as_ref().map(|scenario| make_all(&scenario.given, &cluster)).transpose()?;
    let beside = |door: &Door| alerts::Place::beside(&doors.nodes, door.address);
    let monitoring = doors.alerts.as_ref().map(beside).transpose()?;
    thread::scope(|scope| {
        for (node, door) in doors.nodes.iter().enumerate() {
            door.lead_to(cluster.host(node), SERVER, scope);
        }
        for (node, door) in monitoring.iter().flat_map(|place| place.doors.iter().enumerate()) {
            door.lead_to(cluster.host(node), SERVER, scope);
        }
        if let (Some(door), Some(place)) = (&doors.alerts, &monitoring) {
            door.lead_to(&place.namespace, alerts::SERVER, scope);
        }
        let followed = Session::start(choice, &cluster, heal_after, screen).and_then(|mut session| {
            session.monitoring = monitoring.as_ref();
            session.introduce(doors);
            session.follow(events)
        });
        doors.nodes.iter().chain(&doors.alerts).for_each(Door::close);
        monitoring.iter().flat_map(|place| &place.doors).for_each(Door::close);
        followed
    })
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Agents have started and not yet seen everything.
    Starting,
    /// Nothing was broken so far.
    Well,
    Broken,
    /// Healed, and the agents have yet to say so.
    Healing,
    Healed,
}

struct Session<'c> {
    choice: &'c Choice,
    cluster: &'c Cluster,
    nodes: Vec<Node<'c>>,
    monitoring: Option<&'c alerts::Place>,
    alerts: Option<Alerts<'c>>,
    broken: Option<Broken<'c>>,
    stage: Stage,
    since: Instant,
    heal_after: Option<Duration>,
    screen: Screen,
}

/// One agent, and what was told of it.
struct Node<'c> {
    name: &'static str,
    service: Service<'c>,
    findings: Findings,
    last: Option<Report>,
}

impl<'c> Session<'c> {
    fn start(choice: &'c Choice, cluster: &'c Cluster, heal_after: Option<Duration>, screen: Screen) -> Result<Self> {
        let since = Instant::now();
        let start = |(node, name): (usize, &&'static str)| {
            let configuration = match &choice.scenario {
                Some(scenario) => play::configuration(scenario, cluster, node)?,
                None => service::configuration(cluster, node),
            };
            let start = if choice.together { Service::start_open } else { Service::start_with };
            let service = start(cluster, node, &configuration)?;
            Ok(Node { name, service, findings: Findings::default(), last: None })
        };
        let nodes = choice.recipe.nodes.iter().enumerate().map(start).collect::<Result<_>>()?;
        let (monitoring, alerts, broken) = (None, None, None);
        Ok(Self {
            choice,
            cluster,
            nodes,
            monitoring,
            alerts,
            broken,
            stage: Stage::Starting,
            since,
            heal_after,
            screen,
        })
    }

    fn introduce(&mut self, doors: &Doors) {
        let width = self.width();
        let rows = |of: &dyn Fn(usize) -> String| {
            let row = |(node, name): (usize, &&str)| format!("  {name:width$}  {}", of(node));
            self.choice.recipe.nodes.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
        };
        let curl = |node: usize| {
            let Door { address, instead_of, .. } = &doors.nodes[node];
            let why = instead_of.map(|port| format!("   (another program has port {port})")).unwrap_or_default();
            format!("curl '{address}/report?format=text'{why}")
        };
        let node = |node: usize| format!("{NSENTER} -n -t {}", self.nodes[node].service.id());
        let pod = |node: usize| {
            let pod = self.cluster.nodes[node].pod.as_ref().map(Namespace::path).unwrap_or_default();
            format!("{NSENTER} --net={pod} -t {}", std::process::id())
        };
        let mut text = self.pages(doors);
        text +=
            &format!("ask an agent, from any terminal (/report for JSON, /metrics for Prometheus):\n{}\n", rows(&curl));
        text += &format!("get a shell in a node, as the user that runs this:\n{}", rows(&node));
        if self.choice.recipe.overlay.is_some() {
            text += &format!("\nor in its pod:\n{}", rows(&pod));
        }
        self.screen.line(&text);
    }

    /// What there is to look at.
    fn pages(&self, doors: &Doors) -> String {
        let width = self.width().max("cluster".len());
        let named = self.choice.recipe.nodes.iter().zip(&doors.nodes);
        let mut rows: Vec<_> = named.map(|(name, door)| (*name, format!("http://{}/", door.address))).collect();
        if self.choice.together {
            rows.push(("cluster", format!("http://{}/cluster", doors.nodes[0].address)));
        }
        let rows = rows.iter().map(|(name, place)| format!("  {name:width$}  {place}\n"));
        format!("open in a browser:\n{}", rows.collect::<String>())
    }

    /// Columns that a node's name takes.
    fn width(&self) -> usize {
        self.choice.recipe.nodes.iter().map(|name| name.len()).max().unwrap_or_default()
    }

    fn follow(&mut self, events: &Receiver<Event>) -> Result<()> {
        while !self.screen.closed() {
            match events.recv_timeout(TICK) {
                Ok(Event::Typed(command)) => match command.as_str() {
                    "q" => break,
                    "h" => self.heal()?,
                    "b" => self.break_it()?,
                    "" => {}
                    _ => self.screen.line("h heals, b breaks again, q ends"),
                },
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.look()?,
            }
        }
        let quiet = self.screen.paint(Tone::Quiet, "ending: the agents, the namespaces and their files go");
        self.screen.line(&quiet);
        Ok(())
    }

    /// Asks every agent, tells what is new, and goes on to the next stage when its time has come.
    fn look(&mut self) -> Result<()> {
        for node in 0..self.nodes.len() {
            let Node { service, findings, last, .. } = &mut self.nodes[node];
            service.check_alive()?;
            let report = service.report().map_err(|error| service.with_log(error))?;
            let changes = findings.take(&report.findings);
            *last = Some(report);
            self.tell(node, &changes);
        }
        self.look_at_alerts()?;
        self.step()
    }

    fn look_at_alerts(&mut self) -> Result<()> {
        let Some(alerts) = &mut self.alerts else { return Ok(()) };
        let turns = alerts.look()?;
        let none_left = !turns.is_empty() && alerts.none_fires();
        for turn in turns {
            let (tone, word, alert) = match &turn {
                Turn::Fires(alert) => (Tone::Critical, "ALERT fires   ", alert),
                Turn::Resolved(alert) => (Tone::Good, "alert resolved", alert),
            };
            let word = self.screen.paint(tone, word);
            self.screen.line(&format!("{:7.1} s  {word}  {alert}", self.since.elapsed().as_secs_f64()));
        }
        if none_left {
            let text = self.screen.paint(Tone::Good, "CLEAR: no alert fires");
            self.screen.line(&text);
        }
        Ok(())
    }

    /// Prometheus is started once there is something to scrape, and before anything is broken.
    fn watch(&mut self) -> Result<()> {
        let Some(place) = self.monitoring else { return Ok(()) };
        self.screen.line("starting Prometheus with the rules that ship, a minute of theirs in a second");
        self.alerts = Some(Alerts::start(place, self.choice.recipe.nodes)?);
        let (address, page) = (place.address, Alerts::page(place)?);
        self.screen.line(&format!("  Prometheus  http://{address}/\n  alerts      http://{address}{page}"));
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let elapsed = self.since.elapsed();
        match self.stage {
            Stage::Starting if self.is_ready() => {
                self.all_clear("from the agents' start");
                self.stage = Stage::Well;
                self.watch()?;
                if self.choice.scenario.is_some() { self.break_it() } else { Ok(()) }
            }
            Stage::Starting if elapsed > DEADLINE => {
                let seen = self.nodes[0].last.as_ref().map_or("no report".to_owned(), Report::to_string);
                Err(self.nodes[0].service.with_log(Error::new("waiting for a healthy cluster", seen)))
            }
            Stage::Broken if self.heal_after.is_some_and(|time| elapsed >= time) => {
                self.heal_after = None;
                self.heal()
            }
            Stage::Healing if self.is_ready() => {
                self.all_clear("from healing");
                self.stage = Stage::Healed;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the first node is well and every other one has measured all its paths. Others may have findings from the
    /// start where a scenario makes the first node differ from them.
    fn is_ready(&self) -> bool {
        let measured =
            |report: &Report| !report.paths.is_empty() && report.paths.iter().all(|path| path.probed_at.is_some());
        let mut reports = self.nodes.iter().map(|node| node.last.as_ref());
        let first = reports.next().flatten();
        let given = self.choice.scenario.as_ref().is_some_and(|scenario| !scenario.given.is_empty());
        first.is_some_and(|report| report.is_well() && measured(report))
            && reports.all(|report| report.is_some_and(|report| measured(report) && (given || report.is_well())))
    }

    fn all_clear(&mut self, since: &str) {
        let paths: Vec<_> =
            self.nodes.iter().filter_map(|node| node.last.as_ref()).flat_map(|report| &report.paths).collect();
        let clear = paths.iter().filter(|path| path.verdict == "clear").count();
        let of = if clear == paths.len() { format!("all {clear}") } else { format!("{clear} of {}", paths.len()) };
        let text = format!("HEALTHY: {of} paths clear, {:.1} s {since}", self.since.elapsed().as_secs_f64());
        let text = self.screen.paint(Tone::Good, &text);
        self.screen.line(&text);
    }

    fn break_it(&mut self) -> Result<()> {
        let choice = self.choice;
        let Some(scenario) = &choice.scenario else {
            self.screen.line("nothing to break was chosen: --fault NAME does, --list shows what there is");
            return Ok(());
        };
        if self.broken.is_some() {
            self.screen.line("it is broken already; h heals");
            return Ok(());
        }
        let (made, changes) = notes::of(|| make_all(&scenario.fault, self.cluster));
        self.since = Instant::now();
        self.broken = Some(made?);
        self.stage = Stage::Broken;
        let heading = self.screen.paint(Tone::Heading, &format!("BROKEN: {}", scenario.title));
        self.screen.line(&format!("\n{heading}{}", indented(&changes)));
        self.screen.line(&format!("look for: {}", self.wanted(scenario)));
        Ok(())
    }

    fn wanted(&self, scenario: &Scenario) -> String {
        let Scenario { code, expect, .. } = scenario;
        let subject = expect.subject.on(&self.choice.recipe).unwrap_or_default();
        let explained = if expect.silenced { ", explained by another finding" } else { "" };
        format!("{code} {subject} on {}, {}{explained}", self.nodes[0].name, expect.severity)
    }

    fn heal(&mut self) -> Result<()> {
        let Some(broken) = self.broken.take() else {
            self.screen.line("nothing is broken");
            return Ok(());
        };
        let (healed, changes) = notes::of(|| broken.heal());
        self.since = Instant::now();
        self.stage = Stage::Healing;
        let heading = self.screen.paint(Tone::Heading, "HEALED:");
        self.screen.line(&format!("\n{heading}{}", indented(&changes)));
        healed
    }

    /// Causes with what they say, consequences and what is gone in a line.
    fn tell(&mut self, node: usize, changes: &[Change]) {
        let width = self.width();
        let at = format!("{:7.1} s  {:width$} ", self.since.elapsed().as_secs_f64(), self.nodes[node].name);
        let gone: Vec<_> = changes.iter().filter_map(Change::cleared).map(title).collect();
        if !gone.is_empty() {
            let cleared = self.screen.paint(Tone::Good, "cleared ");
            self.screen.line(&format!("{at} {cleared} {}", gone.join("; ")));
        }
        for finding in changes.iter().filter_map(Change::raised).filter(|finding| finding.silenced_by.is_none()) {
            let tone = if finding.severity == "critical" { Tone::Critical } else { Tone::Warning };
            let severity = self.screen.paint(tone, &format!("{:8}", finding.severity));
            self.screen.line(&format!("{at} {severity} {}{}", title(finding), self.mark(node, finding)));
            self.screen.line(&format!("{:INDENT$}{:width$} {}", "", "", finding.summary));
        }
        for (cause, findings) in consequences(changes) {
            let titles = findings.iter().map(|finding| format!("{}{}", title(finding), self.mark(node, finding)));
            let text = format!("{at} explained by {cause}: {}", titles.collect::<Vec<_>>().join("; "));
            let text = self.screen.paint(Tone::Quiet, &text);
            self.screen.line(&text);
        }
    }

    /// Points out the finding that the fault is there to raise.
    fn mark(&self, node: usize, finding: &Finding) -> &'static str {
        let wanted = |scenario: &Scenario| {
            finding.code == scenario.code
                && Some(&finding.subject) == scenario.expect.subject.on(&self.choice.recipe).as_ref()
                && finding.severity == scenario.expect.severity
                && finding.silenced_by.is_some() == scenario.expect.silenced
        };
        let looked_for = node == 0 && self.stage == Stage::Broken && self.choice.scenario.as_ref().is_some_and(wanted);
        if looked_for { "   <- look here" } else { "" }
    }
}

/// What is explained, by its cause.
fn consequences(changes: &[Change]) -> BTreeMap<&str, Vec<&Finding>> {
    let mut by_cause = BTreeMap::<&str, Vec<&Finding>>::new();
    for finding in changes.iter().filter_map(Change::raised) {
        if let Some(cause) = &finding.silenced_by {
            by_cause.entry(cause).or_default().push(finding);
        }
    }
    by_cause
}

fn title(finding: &Finding) -> String {
    let plane = plane(finding).map(|plane| format!(" ({plane})")).unwrap_or_default();
    format!("{} {}{plane}", finding.code, finding.subject)
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}
