//! Every query of every panel, variable and mark against real agents: it has something to show while all is well (or is
//! one that shows only what is wrong), it runs for every way of choosing, and it moves when its trouble is made.
//!
//! One cluster serves all: troubles are made one after the other, each once all its queries stand as they should before.

use std::fs;
use std::time::{Duration, Instant};

use lab::cluster::Cluster;
use lab::dashboards::grafana::Dashboard;
use lab::dashboards::{self, Proof, Sign, Trouble, Well};
use lab::fault::{self, Broken, Fault, Odd, OddFile, Sent};
use lab::harness;
use lab::monitoring::{Prometheus, SCRAPE, Setup, Target};
use lab::recipe::{REFERENCE, Recipe, Role};
use lab::service::{self, Service};
use lab::size::Size;
use lab::wait::{self, Look};
use lab::{Error, Result};
use libtest_mimic::Trial;

use crate::asks::{Answer, Asks};
use crate::interpolate::{Choice, interpolate, interpolate_query};

const RECIPE: Recipe = Recipe { nodes: &["master-1", "master-2", "app-worker"], ..REFERENCE };

/// The job of an agent whose target has no label `node`.
const PLAIN: &str = "plain";

/// An alert that is there at once: what the annotation and the table show are alerts of any rule file.
const RULES: &str = "
groups:
  - name: dashboards
    rules:
      - alert: MtuscopeFinding
        expr: mtuscope_finding{severity='critical'} == 1
        labels: { severity: critical }
";

/// The test.
pub(crate) fn test() -> Trial {
    harness::test("every query shows something, and moves when its trouble is made", moves)
}

/// One query of a dashboard.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    query: String,
    instant: bool,
    proof: Proof,
}

impl Asked {
    fn ask(&self, asks: Asks<'_>) -> Result<Answer> {
        if self.instant { asks.now(&self.query) } else { asks.range(&self.query) }
    }
}

/// Queries of a dashboard with values for what somebody chose.
fn queries(dashboard: &Dashboard, choice: &Choice) -> Vec<Asked> {
    let asked = |name: String, query: String, instant, proof| Asked {
        name: format!("{} / {name}", dashboard.uid),
        query,
        instant,
        proof,
    };
    let targets = dashboard.panels.iter().flat_map(|panel| panel.targets.iter().map(move |target| (panel, target)));
    let mut all: Vec<_> = targets
        .map(|(panel, target)| {
            let query = interpolate_query(target, dashboard, choice);
            asked(format!("{} / {}", panel.title, target.ref_id), query, target.instant, target.proof)
        })
        .collect();
    let marks = &dashboard.annotations.list;
    all.extend(marks.iter().map(|mark| {
        asked(format!("mark {}", mark.name), interpolate(&mark.expr, dashboard, choice), false, mark.proof)
    }));
    all
}

fn moves() -> Result<()> {
    let cluster = Cluster::build(RECIPE)?;
    let start = |node| Service::start_open(&cluster, node, &service::configuration(&cluster, node));
    let mut agents = (0..RECIPE.nodes.len()).map(start).collect::<Result<Vec<_>>>()?;
    let mut targets = Target::agents(&cluster);
    targets.push(Target { job: PLAIN.into(), ..Target::agent(&cluster, 0).plain() });
    let plain = targets.last().expect("it was pushed").address.to_string();
    let setup = Setup { targets, rules: vec![RULES.into()], alertmanager: None };
    let prometheus = Prometheus::start(&cluster.switch, &setup)?;
    let asks = Asks { place: &cluster.switch, server: prometheus.address() };
    for agent in &mut agents {
        agent.until("a healthy cluster", |report| report.summary.status == "healthy")?;
    }

    choices(asks)?;
    for dashboard in dashboards::all() {
        for choice in [every(&dashboard), one(), two()] {
            shows(asks, &queries(&dashboard, &choice))?;
        }
        let choice = Choice::all().with("job", &[PLAIN]).with("node", &[""]).with("instance", &[&plain]);
        let mut all = queries(&dashboard, &choice);
        all.retain(|asked| !asked.proof.needs_node);
        shows(asks, &all)?;
    }

    let mut agents = agents.into_iter();
    let mut first = agents.next().expect("the first node has one");
    for trouble in [Trouble::BlackHole, Trouble::NicDown, Trouble::Misconfigured] {
        moved(asks, trouble, || make(&cluster, &first, trouble))?.heal()?;
        fs::write(first.config(), service::configuration(&cluster, 0)).map_err(writing)?;
        first.until("healing", |report| report.summary.status == "healthy")?;
    }
    moved(asks, Trouble::Slow, || {
        let seldom = service::configuration_every(&cluster, 0, Duration::from_hours(1));
        fs::write(first.config(), seldom).map_err(writing)
    })?;
    moved(asks, Trouble::Stopped, || first.stop())?;
    let _again = moved(asks, Trouble::Restarted, || start(0))?;
    Ok(())
}

fn writing(error: std::io::Error) -> Error {
    Error::new("writing the agent's configuration", error)
}

/// As much as can be chosen: All, where a dashboard has it.
fn every(dashboard: &Dashboard) -> Choice {
    let has_all = dashboard.templating.list.iter().any(|variable| variable.name == "node" && variable.include_all);
    if has_all { Choice::all() } else { Choice::all().with("node", RECIPE.nodes) }
}

/// The first node, and the way to the second.
fn one() -> Choice {
    Choice::all().with("job", &["mtuscope"]).with("node", &[RECIPE.nodes[0]]).with("peer", &[RECIPE.nodes[1]])
}

/// Several values of one variable.
fn two() -> Choice {
    Choice::all().with("node", &RECIPE.nodes[..2]).with("peer", &RECIPE.nodes[1..]).with("plane", &["underlay", "pod"])
}

/// Makes what happens to the first node.
fn make<'c>(cluster: &'c Cluster, agent: &Service<'_>, trouble: Trouble) -> Result<Broken<'c>> {
    let faults = match trouble {
        Trouble::BlackHole => vec![
            Fault::DropLarger { node: 1, than: Size::from(1400) },
            Fault::AnotherPod { node: 0, bytes: Size::from(1400) },
        ],
        Trouble::NicDown => vec![Fault::LinkDown { node: 0, link: Role::Nic }],
        Trouble::Misconfigured => {
            fs::write(agent.config(), "probing: { interval: never }\n").map_err(writing)?;
            let mtu = |link| Fault::Mtu { node: 0, link, bytes: Size::from(1400) };
            let odd = |path: &str, is| Fault::OddFile(OddFile { node: 0, path: path.into(), is });
            vec![
                // First, since the kernel would not let it be larger than what the link below has room for.
                mtu(Role::Tunnel),
                mtu(Role::Nic),
                mtu(Role::Bridge),
                Fault::Sysctl { node: 0, key: "net/ipv4/ip_forward".into(), value: "0".into() },
                Fault::AnotherPod { node: 0, bytes: Size::from(1400) },
                odd("{cni_file}", Odd::Unreadable),
                odd("/var/lib/calico/mtu", Odd::Huge),
                Fault::Sends { what: Sent::WrongChecksums, node: 1, times: None },
            ]
        }
        Trouble::Slow | Trouble::Stopped | Trouble::Restarted => panic!("{trouble:?} happens to the agent"),
    };
    fault::make_all(&faults, cluster)
}

/// That variables have choices.
fn choices(asks: Asks<'_>) -> Result<()> {
    for dashboard in dashboards::all() {
        for variable in dashboard.templating.list.iter().filter(|variable| variable.kind == "query") {
            let found = asks.label_values(&interpolate(&variable.query, &dashboard, &one()))?;
            let wanted: &[&str] = match variable.name {
                // This Prometheus has one.
                "cluster" => &[],
                "job" => &["mtuscope", PLAIN],
                "node" => RECIPE.nodes,
                "instance" => &["192.168.0.11:9747"],
                "peer" => &RECIPE.nodes[1..],
                "plane" => &["overlay", "pod", "underlay"],
                // Whether or not there are paths of it.
                "family" => &["ipv4", "ipv6"],
                other => panic!("{other} is new"),
            };
            let wanted: std::collections::BTreeSet<_> = wanted.iter().map(|&value| value.to_owned()).collect();
            assert_eq!(found, wanted, "{}: choices of {}", dashboard.uid, variable.name);
        }
    }
    Ok(())
}

/// Waits until each query shows something, and those that show what is wrong show nothing.
fn shows(asks: Asks<'_>, all: &[Asked]) -> Result<()> {
    wait::until("every query to show what a healthy cluster has", || {
        let mut wrong = Vec::new();
        for asked in all {
            let answer = asked.ask(asks)?;
            let good = match asked.proof.well {
                Well::Shows => !answer.is_empty(),
                Well::Empty => answer.is_empty(),
                Well::Either => true,
            };
            if !good {
                wrong.push(format!("\n{} shows {answer:?}: {}", asked.name, asked.query));
            }
        }
        Ok(if wrong.is_empty() { Look::There(()) } else { Look::NotYet(wrong.concat()) })
    })
}

/// The queries that a trouble moves, as the dashboards are looked at when it happens: those of many nodes with all, those
/// of one with that one.
fn touched(trouble: Trouble) -> Vec<Asked> {
    let all = dashboards::all();
    let of = |dashboard: &Dashboard| {
        let many = [dashboards::CLUSTER, dashboards::MTU].contains(&dashboard.uid);
        queries(dashboard, &if many { Choice::all() } else { one() })
    };
    all.iter().flat_map(of).filter(|asked| asked.proof.trouble == trouble).collect()
}

/// Makes a trouble once its queries stand still, and waits until each has moved.
fn moved<T>(asks: Asks<'_>, trouble: Trouble, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let all = touched(trouble);
    assert!(!all.is_empty(), "{trouble:?} moves nothing");
    let before = still(asks, trouble, &all)?;
    let made = make()?;
    let mut waiting: Vec<_> = all.iter().zip(&before).collect();
    wait::until(&format!("every query to show {trouble:?}"), || {
        let mut left = Vec::new();
        let mut seen = String::new();
        for (asked, before) in waiting.drain(..) {
            let answer = asked.ask(asks)?;
            if !has_moved(asked.proof.sign, before, &answer) {
                seen += &format!("\n{}: {}\n  before {before:?}\n  now    {answer:?}", asked.name, asked.query);
                left.push((asked, before));
            }
        }
        waiting = left;
        Ok(if waiting.is_empty() { Look::There(()) } else { Look::NotYet(seen) })
    })?;
    Ok(made)
}

/// Waits until two looks more than a scrape and a round apart show the same, and no sign of the trouble.
fn still(asks: Asks<'_>, trouble: Trouble, all: &[Asked]) -> Result<Vec<Answer>> {
    const APART: Duration = Duration::from_millis(SCRAPE as u64 * 1000 + 200);
    let mut last: Option<(Instant, Vec<Answer>)> = None;
    let mut moving = String::from("one look");
    wait::until(&format!("queries to stand still before {trouble:?}"), || {
        if let Some((at, _)) = &last
            && at.elapsed() < APART
        {
            return Ok(Look::NotYet(moving.clone()));
        }
        let now: Vec<_> = all.iter().map(|asked| asked.ask(asks)).collect::<Result<_>>()?;
        let Some((_, before)) = last.replace((Instant::now(), now.clone())) else {
            return Ok(Look::NotYet(moving.clone()));
        };
        moving = all
            .iter()
            .zip(before.iter().zip(&now))
            .filter(|(asked, (before, now))| !stands(asked.proof, before, now))
            .map(|(asked, (before, now))| format!("\n{}: {before:?} then {now:?}", asked.name))
            .collect();
        Ok(if moving.is_empty() { Look::There(now) } else { Look::NotYet(moving.clone()) })
    })
}

fn stands(proof: Proof, before: &Answer, now: &Answer) -> bool {
    if proof.well == Well::Empty && !now.is_empty() {
        return false;
    }
    match proof.sign {
        Sign::Differs => before == now,
        Sign::Fewer => before.len() == now.len() && !now.is_empty(),
        Sign::Above(limit) => largest(now).is_some_and(|value| value <= limit),
        Sign::Below(limit) => largest(now).is_some_and(|value| value >= limit),
    }
}

fn has_moved(sign: Sign, before: &Answer, now: &Answer) -> bool {
    match sign {
        Sign::Differs => before != now,
        Sign::Fewer => now.len() < before.len(),
        Sign::Above(limit) => largest(now).is_some_and(|value| value > limit),
        Sign::Below(limit) => largest(now).is_some_and(|value| value < limit),
    }
}

fn largest(answer: &Answer) -> Option<f64> {
    answer.values().copied().reduce(f64::max)
}
