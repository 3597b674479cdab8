//! What two nodes say of each other: both directions beside each other, then each end in full.

use std::net::IpAddr;

use askama::Template;
use probes::cluster::pair::{End, FindingTold, Pair, PathTold, Says};
use probes::cluster::{Answer, Mark};
use probes::path::{Plane, Way};
use probes::report::{Severity, Vantage};
use probes::units::Family;

use super::super::super::text::cluster::words;
use super::super::shown;
use super::map::{Budget, Sort};
use super::{Form, REFRESH, SPARE, ago, bytes, encode, millis, toned};

/// Where the agents' own pages are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    /// Whether they speak TLS.
    pub(crate) tls: bool,
    /// The port that they listen on.
    pub(crate) port: u16,
}

/// The pair as a page. `names` is who can be chosen instead.
///
/// # Errors
/// If a template cannot be written, which a string always can.
pub(crate) fn pair(pair: &Pair, names: &[&str], doors: Doors) -> askama::Result<String> {
    let [one, other] = &pair.ends;
    let ends = [PageEnd::of(one, other, doors), PageEnd::of(other, one, doors)];
    let (tone, word, said) = verdict(pair);
    let form = chosen(names, &one.name, &other.name);
    let [a, b] = [one, other].map(|end| encode(&end.name));
    PairPage { refresh: REFRESH, here: "/cluster", pair, tone, word, said, rows: rows(pair), ends, form, a, b }.render()
}

/// Why there is no such pair, and whom else to ask for.
///
/// # Errors
/// As [`pair`].
pub(crate) fn no_pair(why: &str, from: &str, to: &str, names: &[&str]) -> askama::Result<String> {
    NoPair { refresh: REFRESH, here: "/cluster", why, form: chosen(names, from, to) }.render()
}

fn chosen(names: &[&str], from: &str, to: &str) -> Form {
    Form { from: from.to_owned(), to: to.to_owned(), ..Form::choosing(names, &mut Budget(SPARE)) }
}

#[derive(Template)]
#[template(path = "cluster_pair.html")]
struct PairPage<'p> {
    refresh: u32,
    here: &'static str,
    pair: &'p Pair,
    tone: &'static str,
    word: &'static str,
    said: String,
    rows: Vec<Both>,
    ends: [PageEnd<'p>; 2],
    form: Form,
    a: String,
    b: String,
}

#[derive(Template)]
#[template(path = "cluster_nopair.html")]
struct NoPair<'p> {
    refresh: u32,
    here: &'static str,
    why: &'p str,
    form: Form,
}

/// One network, in both directions.
struct Both {
    place: String,
    ways: [Told; 2],
}

/// What one end says of its way.
#[derive(Clone)]
struct Told {
    sort: Sort,
    size: String,
    said: &'static str,
}

/// One end.
struct PageEnd<'p> {
    name: String,
    other: String,
    agents: Vec<Agent<'p>>,
}

struct Agent<'p> {
    says: &'p Says,
    called: &'static str,
    state: &'static str,
    age: String,
    links: Vec<String>,
    why: String,
    paths: Vec<Path<'p>>,
    findings: Vec<Finding>,
}

struct Path<'p> {
    path: &'p PathTold,
    sort: Sort,
    place: String,
    /// Where, which way, and why.
    notes: Vec<String>,
    loss: String,
    age: String,
}

struct Finding {
    tone: &'static str,
    code: String,
    summary: String,
    cause: String,
    age: String,
}

impl<'p> PageEnd<'p> {
    fn of(end: &'p End, other: &End, doors: Doors) -> Self {
        let agents = end.agents.iter().map(|says| Agent::of(says, doors)).collect();
        Self { name: shown(&end.name, 60), other: shown(&other.name, 60), agents }
    }
}

impl<'p> Agent<'p> {
    fn of(says: &'p Says, doors: Doors) -> Self {
        let why = says.why.as_deref().filter(|why| *why != says.answer.words());
        Self {
            says,
            called: if says.vantage == Vantage::Pod { "its agent in a pod" } else { "its agent" },
            state: says.status.map_or("", |status| toned(status).1),
            age: says.report_age.map(ago).unwrap_or_default(),
            links: says.addresses.iter().take(4).map(|address| door(*address, doors)).collect(),
            why: why.map(|why| format!(": {}", shown(why, 200))).unwrap_or_default(),
            paths: says.paths.iter().map(|path| Path::of(path, says.vantage)).collect(),
            findings: says.findings.iter().map(Finding::of).collect(),
        }
    }

    fn answered(&self) -> bool {
        self.says.answer == Answer::Report
    }
}

fn door(address: IpAddr, doors: Doors) -> String {
    let scheme = if doors.tls { "https" } else { "http" };
    format!("{scheme}://{}/", std::net::SocketAddr::new(address, doors.port))
}

impl<'p> Path<'p> {
    fn of(path: &'p PathTold, vantage: Vantage) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(|text| shown(text, 260));
        let loss = path.loss.filter(|loss| *loss > 0.0);
        let lost = path.way.map(|way| match way {
            Way::Forward => "lost on the way there".to_owned(),
            Way::Reverse => "lost on the way back".to_owned(),
        });
        let limit = text(&path.limited_by).map(|limit| format!("limited by {limit}"));
        let hole = text(&path.hole).map(|hole| format!("larger packets vanish {hole}"));
        Self {
            path,
            sort: sort(path),
            place: words::place(vantage, path.plane, path.family),
            notes: [lost, limit, hole, text(&path.why)].into_iter().flatten().collect(),
            loss: loss.map(|loss| format!("{:.0} % lost", loss * 100.0)).unwrap_or_default(),
            age: path.age.map(ago).unwrap_or_default(),
        }
    }

    fn round_trip(&self) -> String {
        millis(self.path.round_trip)
    }
}

impl Finding {
    fn of(finding: &FindingTold) -> Self {
        let cause = finding.silenced_by.as_deref().map(|cause| format!("a consequence of {}", shown(cause, 100)));
        Self {
            tone: finding.severity.name(),
            code: shown(&finding.code, 60),
            summary: shown(&finding.summary, 260),
            cause: cause.unwrap_or_default(),
            age: finding.age.map(|age| format!("first seen {}", ago(age))).unwrap_or_default(),
        }
    }
}

/// There is no usual size of a pair: what is expected of the path itself counts.
fn sort(path: &PathTold) -> Sort {
    match path.verdict {
        Mark::Clear => Sort::Usual,
        Mark::Limited => Sort::Less,
        Mark::BlackHole => Sort::Hole,
        Mark::Unreachable => Sort::Cut,
        Mark::Unknown => Sort::Unknown,
        Mark::Unmeasured => Sort::Unmeasured,
    }
}

type Place = (Vantage, Plane, Family);

/// Every network on which either end measures, each way by the word of the end that sends.
fn rows(pair: &Pair) -> Vec<Both> {
    let all = pair.ends.iter().flat_map(|end| &end.agents);
    let places = all.flat_map(|says| says.paths.iter().map(|path| (says.vantage, path.plane, path.family)));
    let mut places: Vec<Place> = places.collect();
    places.sort_unstable();
    places.dedup();
    let both = |place: Place| Both {
        place: words::place(place.0, place.1, place.2),
        ways: pair.ends.each_ref().map(|end| way(end, place)),
    };
    places.into_iter().map(both).collect()
}

/// The worst that an end says of its paths on one network.
fn way(end: &End, (vantage, plane, family): Place) -> Told {
    let silent = |said| Told { sort: Sort::Silent, size: String::new(), said };
    let Some(says) = end.agents.iter().find(|says| says.vantage == vantage) else { return silent("has no such agent") };
    if says.answer != Answer::Report {
        return silent(says.answer.words());
    }
    let here = says.paths.iter().filter(|path| (path.plane, path.family) == (plane, family));
    let Some(worst) = here.max_by_key(|path| (path.verdict, std::cmp::Reverse(path.path_mtu))) else {
        return Told { sort: Sort::Stranger, size: String::new(), said: "measures nothing here" };
    };
    let size = worst.forward_mtu.or(worst.path_mtu);
    Told { sort: sort(worst), size: bytes(size), said: sort(worst).word() }
}

/// What it comes to. Who did not answer leaves it open, and a verdict of one end is not one of both.
fn verdict(pair: &Pair) -> (&'static str, &'static str, String) {
    let all: Vec<&Says> = pair.ends.iter().flat_map(|end| &end.agents).collect();
    let worst = all.iter().flat_map(|says| &says.paths).map(|path| path.verdict).max();
    let critical = all.iter().flat_map(|says| &says.findings).any(|one| one.severity == Severity::Critical);
    let heard = |end: &&End| end.agents.iter().any(|says| says.answer == Answer::Report && !says.paths.is_empty());
    let silent: Vec<String> = pair.ends.iter().filter(|end| !heard(end)).map(|end| shown(&end.name, 60)).collect();
    let open = pair.ends.iter().flat_map(|end| &end.agents).flat_map(|says| &says.paths);
    let open = open.filter(|path| matches!(path.verdict, Mark::Unknown | Mark::Unmeasured)).count();
    match worst {
        Some(Mark::Unreachable) => ("critical", "Cut off", "nothing gets through on at least one network".into()),
        Some(Mark::BlackHole) => ("critical", "Black hole", "larger packets vanish in silence".into()),
        _ if critical => ("critical", "Critical", "an end has a critical finding about the other".into()),
        Some(Mark::Limited) => ("warning", "Limited", "less gets through than expected, and senders are told".into()),
        _ if !silent.is_empty() => {
            ("unknown", "Unknown", format!("of this pair nothing is heard from {}", silent.join(" and ")))
        }
        Some(_) if open > 0 => {
            ("unknown", "Unknown", "not every path between them was measured to a conclusion".into())
        }
        Some(_) => ("healthy", "Clear", "both ways carry what they should on every network that is measured".into()),
        None => ("unknown", "Unknown", "neither end has measured the way to the other".into()),
    }
}
