//! Two nodes and what each says of the way to the other, in full: who looks at one cell of the matrix asks for this.
//!
//! The matrix keeps a few bytes of every path. Of one pair all is told that the two ends know: on every network what gets
//! through each way, where it ends, what the findings are, and how old that is. Both ends are asked anew, so it also holds
//! where the matrix is too large to list the pair.
//!
//! As in the matrix an end's word counts for what leaves it, an end that did not answer says nothing, and what either says
//! is another program's word: read leniently, cut to [`PATHS`] and [`FINDINGS`].

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::lenient::{LONGEST, List, Object, Scalar, clean};
use super::reading::{self, Garbage, PathPart, Said};
use super::who::{Directory, Id};
use super::{Answer, Mark, patience};
use crate::path::{Plane, Way};
use crate::report::{Severity, Status, Vantage};
use crate::units::{Family, IpSize};

/// Paths of one agent to the other node that are told.
pub const PATHS: usize = 24;

/// Findings of one agent about the other node that are told, the loud and bad first.
pub const FINDINGS: usize = 24;

/// What became of asking one agent of either end.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The node that it runs on, as the asking agent calls it.
    pub peer: String,
    /// Whether it is the node's agent or its twin in a pod.
    pub vantage: Vantage,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its report as it came, or why there is none.
    pub answer: Result<Vec<u8>, (Answer, String)>,
}

/// Two nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The node whose agent asked them.
    pub node: String,
    /// When they were asked.
    pub generated_at: Timestamp,
    /// The one, and the other.
    pub ends: [End; 2],
}

/// One node, and what its agents say of the other.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Its name.
    pub name: String,
    /// Its agents; none where none is known.
    pub agents: Vec<Says>,
}

/// What one agent says.
#[derive(Clone, Debug, PartialEq)]
pub struct Says {
    /// Whether it is the node's agent or its twin in a pod.
    pub vantage: Vantage,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What became of asking it.
    pub answer: Answer,
    /// Why there is no report.
    pub why: Option<String>,
    /// The node's own state, by its report.
    pub status: Option<Status>,
    /// How old its report is, in seconds; absent where its clock is ahead.
    pub report_age: Option<u64>,
    /// Whether its rounds stand still, or its clock is far behind.
    pub stands_still: bool,
    /// Its paths to the other node.
    pub paths: Vec<PathTold>,
    /// How many there are beside those.
    pub more_paths: usize,
    /// Its findings about the other node.
    pub findings: Vec<FindingTold>,
    /// How many there are beside those.
    pub more_findings: usize,
}

/// One path, as its own end tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathTold {
    /// The network that is crossed.
    pub plane: Plane,
    /// Address family.
    pub family: Family,
    /// The address that was probed.
    pub address: IpAddr,
    /// What the measurement says.
    pub verdict: Mark,
    /// Why, where the verdict does not say it all.
    pub why: Option<String>,
    /// The largest IP packet that was confirmed to pass.
    pub path_mtu: Option<IpSize>,
    /// What it should carry.
    pub expected_mtu: Option<IpSize>,
    /// What it carries there, where told apart.
    pub forward_mtu: Option<IpSize>,
    /// What it carries back at least, where told apart.
    pub reverse_mtu: Option<IpSize>,
    /// The hop that limits it, in words.
    pub limited_by: Option<String>,
    /// On which way larger packets vanish.
    pub way: Option<Way>,
    /// Between which hops they vanish, in words.
    pub hole: Option<String>,
    /// Round trip, in seconds.
    pub round_trip: Option<f64>,
    /// Share of small packets lost.
    pub loss: Option<f64>,
    /// How long ago it was measured, by the two clocks, in seconds; absent where it never was.
    pub age: Option<u64>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingTold {
    /// Code of the catalogue.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// In one sentence.
    pub summary: String,
    /// The finding that causes it.
    pub silenced_by: Option<String>,
    /// For how long it has been there, in seconds.
    pub age: Option<u64>,
}

/// What the agents of both ends say, where rounds are `interval` apart; `None` where one of the names is nobody's, or
/// both are the same node's.
pub fn pair(
    node: &str,
    who: &Directory,
    names: [&str; 2],
    heard: &[Heard],
    now: Timestamp,
    interval: Duration,
) -> Option<Pair> {
    let said: Vec<Option<Result<Said, Garbage>>> =
        heard.iter().map(|one| one.answer.as_ref().ok().map(|answer| reading::read(answer, who))).collect();
    let mut told = who.clone();
    told.believe(heard.iter().zip(&said).filter_map(|(one, said)| {
        let said = said.as_ref()?.as_ref().ok()?;
        Some((who.named(&one.peer)?, one.vantage, said.node.as_str(), said.addresses.as_slice()))
    }));
    let ids = [told.named(names[0])?, told.named(names[1])?];
    if ids[0] == ids[1] {
        return None;
    }
    let end = |own: usize| {
        let agents = heard.iter().zip(&said).filter(|(one, _)| told.named(&one.peer) == Some(ids[own]));
        let late = patience(interval);
        let agents = agents.map(|(one, said)| says(one, said.as_ref(), ids[1 - own], &told, now, late)).collect();
        End { name: told.name(ids[own]).to_owned(), agents }
    };
    Some(Pair { node: node.to_owned(), generated_at: now, ends: [end(0), end(1)] })
}

fn says(
    heard: &Heard,
    said: Option<&Result<Said, Garbage>>,
    other: Id,
    who: &Directory,
    now: Timestamp,
    late: Duration,
) -> Says {
    let (answer, why) = match (&heard.answer, said) {
        (Err((answer, why)), _) => (*answer, Some(clean(why))),
        (Ok(_), Some(Err(garbage))) => (Answer::Garbage, Some(clean(&garbage.to_string()))),
        (Ok(_), _) => (Answer::Report, None),
    };
    let said = said.and_then(|said| said.as_ref().ok());
    let document = heard.answer.as_ref().ok().filter(|_| said.is_some());
    let document = document.and_then(|json| serde_json::from_slice::<Object<Document>>(json).ok()?.0);
    let document = document.unwrap_or_default();
    let names = document.names_of(other, who);
    let (paths, more_paths) = document.paths_to(&names, now);
    let (findings, more_findings) = document.findings_about(&names, now);
    let report_age = said.and_then(|said| since(said.generated_at?, now));
    Says {
        vantage: heard.vantage,
        addresses: heard.addresses.clone(),
        answer,
        why,
        status: said.and_then(|said| said.status),
        report_age,
        stands_still: report_age.is_some_and(|age| age > late.as_secs()),
        paths,
        more_paths,
        findings,
        more_findings,
    }
}

/// Seconds since then; `None` if it is yet to come.
fn since(then: Timestamp, now: Timestamp) -> Option<u64> {
    u64::try_from(now.duration_since(then).as_secs()).ok()
}

/// The part of a report that tells of single peers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    paths: List<Object<Told>, { reading::MOST_PATHS }>,
    findings: List<Object<FindingPart>, 10_000>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(flatten)]
    path: PathPart,
    loss_ratio: Scalar,
    way: Scalar,
    limited_by: Object<LimitPart>,
    hole: Object<HolePart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LimitPart {
    address: Scalar,
    reported_mtu: Scalar,
    ttl: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HolePart {
    after: Object<HopPart>,
    before: Object<HopPart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HopPart {
    ttl: Scalar,
    address: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FindingPart {
    code: Scalar,
    severity: Scalar,
    subject: Scalar,
    summary: Scalar,
    since: Scalar,
    silenced_by: Scalar,
    evidence: Object<EvidencePart>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EvidencePart {
    peer: Scalar,
}

impl Document {
    /// By which names it calls the other node.
    fn names_of(&self, other: Id, who: &Directory) -> BTreeSet<&str> {
        let rows = self.paths.0.iter().filter_map(|row| row.0.as_ref());
        let is_its = |path: &&PathPart| {
            let Some(peer) = path.peer.text() else { return false };
            // A pod's address may be another pod's by now; the other planes lead to a node.
            let plane = path.plane.text() != Some(Plane::Pod.name());
            let address: Vec<IpAddr> = reading::ip(&path.address).filter(|_| plane).into_iter().collect();
            who.find(peer, &address) == Some(other)
        };
        rows.map(|row| &row.path).filter(is_its).filter_map(|path| path.peer.text()).collect()
    }

    fn paths_to(&self, names: &BTreeSet<&str>, now: Timestamp) -> (Vec<PathTold>, usize) {
        let rows = self.paths.0.iter().filter_map(|row| row.0.as_ref());
        let rows = rows.filter(|row| row.path.peer.text().is_some_and(|peer| names.contains(peer)));
        let mut all: Vec<PathTold> = rows.filter_map(|row| row.told(now)).collect();
        // Should there be too many, the worst are kept.
        all.sort_by_key(|path| (Reverse(path.verdict), path.plane, path.family, path.address));
        let more = all.len().saturating_sub(PATHS);
        all.truncate(PATHS);
        all.sort_by_key(|path| (path.plane, path.family, path.address));
        (all, more)
    }

    fn findings_about(&self, names: &BTreeSet<&str>, now: Timestamp) -> (Vec<FindingTold>, usize) {
        let rows = self.findings.0.iter().filter_map(|row| row.0.as_ref());
        let is_named = |scalar: &Scalar| scalar.text().is_some_and(|name| names.contains(name));
        let about = |row: &&FindingPart| {
            is_named(&row.subject) || row.evidence.0.as_ref().is_some_and(|evidence| is_named(&evidence.peer))
        };
        let mut all: Vec<FindingTold> = rows.filter(about).filter_map(|row| row.told(now)).collect();
        all.sort_by(|one, other| {
            let worst = |finding: &FindingTold| (finding.silenced_by.is_some(), Reverse(finding.severity));
            worst(one).cmp(&worst(other)).then_with(|| one.code.cmp(&other.code))
        });
        let more = all.len().saturating_sub(FINDINGS);
        all.truncate(FINDINGS);
        (all, more)
    }
}

impl Told {
    fn told(&self, now: Timestamp) -> Option<PathTold> {
        let heard = self.path.heard()?;
        let size = |bytes: u16| (bytes > 0).then(|| super::gather::size(bytes));
        let probed: Option<Timestamp> = self.path.probed_at.text().and_then(|text| text.parse().ok());
        Some(PathTold {
            plane: heard.kind.plane,
            family: heard.kind.family,
            address: self.path.address.text()?.parse().ok()?,
            verdict: heard.mark,
            why: sentence(&self.path.why),
            path_mtu: size(heard.path),
            expected_mtu: size(heard.expected).filter(|_| heard.is_judged()),
            forward_mtu: size(heard.forward),
            reverse_mtu: size(heard.reverse),
            limited_by: self.limited_by.0.as_ref().map(LimitPart::words),
            way: reading::word(&self.way),
            hole: self.hole.0.as_ref().map(HolePart::words),
            round_trip: heard.micros.map(|micros| f64::from(micros) / 1e6),
            loss: self.loss_ratio.share(),
            age: probed.and_then(|probed| since(probed, now)),
        })
    }
}

impl LimitPart {
    fn words(&self) -> String {
        let by = address(&self.address).map_or_else(|| "a link of the node itself".to_owned(), |by| by.to_string());
        let away = self.ttl.size().map(|ttl| format!(", hop {ttl}")).unwrap_or_default();
        let says = self.reported_mtu.size().map(|mtu| format!(", which says {mtu}")).unwrap_or_default();
        format!("{by}{away}{says}")
    }
}

impl HolePart {
    fn words(&self) -> String {
        let after = self.after.0.as_ref().map_or_else(|| "the node itself".to_owned(), HopPart::words);
        let before = self.before.0.as_ref().map_or_else(|| "a hop that is not known".to_owned(), HopPart::words);
        format!("between {after} and {before}")
    }
}

impl HopPart {
    fn words(&self) -> String {
        let ttl = self.ttl.size().map_or_else(|| "?".to_owned(), |ttl| ttl.to_string());
        let address = address(&self.address).map(|address| format!(" ({address})")).unwrap_or_default();
        format!("hop {ttl}{address}")
    }
}

impl FindingPart {
    fn told(&self, now: Timestamp) -> Option<FindingTold> {
        let first: Option<Timestamp> = self.since.text().and_then(|text| text.parse().ok());
        Some(FindingTold {
            code: self.code.text()?.to_owned(),
            severity: reading::word(&self.severity)?,
            summary: sentence(&self.summary)?,
            silenced_by: self.silenced_by.text().map(str::to_owned),
            age: first.and_then(|first| since(first, now)),
        })
    }
}

fn address(scalar: &Scalar) -> Option<IpAddr> {
    scalar.text()?.parse().ok()
}

/// A text, and a sign that it went on where it was cut.
fn sentence(scalar: &Scalar) -> Option<String> {
    let text = scalar.text().filter(|text| !text.is_empty())?;
    let cut = text.chars().count() >= LONGEST;
    Some(if cut { format!("{text}…") } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::{Value, json};

    use super::*;
    use crate::node::rows::unjudged;
    use crate::peers::announced::Agent;
    use crate::snapshot::example::Example;

    fn directory() -> Directory {
        let mut own = unjudged(&Example::reference().snapshot());
        own.paths.clear();
        let at = |last: u8| vec![Ipv4Addr::new(10, 0, 0, last).into()];
        (own.node, own.addresses) = ("a".into(), at(1));
        let agent =
            |peer: &str, last| Agent { peer: peer.to_owned(), vantage: Vantage::Node, addresses: at(last), zone: None };
        Directory::of(&own, &[agent("b", 2), agent("10.0.0.3", 3)])
    }

    const ROUND: Duration = Duration::from_secs(30);

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn heard(peer: &str, report: &Value) -> Heard {
        let answer = Ok(serde_json::to_vec(report).unwrap());
        Heard { peer: peer.into(), vantage: Vantage::Node, addresses: Vec::new(), answer }
    }

    fn path(peer: &str, address: &str, verdict: &str) -> Value {
        json!({"peer": peer, "plane": "underlay", "address": address, "verdict": verdict, "path_mtu": 1400,
            "expected_mtu": 1500, "forward_mtu": 1400, "reverse_mtu": 1500, "probed_at": "2026-11-22T11:59:30Z",
            "way": "forward", "loss_ratio": 0.5, "round_trip_seconds": 0.0003,
            "limited_by": {"address": "10.0.0.254", "reported_mtu": 1450, "ttl": 1},
            "hole": {"after": {"ttl": 1, "address": "10.0.0.254"}, "before": {"ttl": 2}}})
    }

    fn finding(subject: &str, severity: &str) -> Value {
        json!({"code": "path-black-hole", "severity": severity, "subject": subject, "summary": "It swallows.",
            "since": "2026-11-22T11:00:00Z"})
    }

    fn report(node: &str, paths: Vec<Value>, findings: Vec<Value>) -> Value {
        json!({"schema": "mtuscope.report/v1", "node": node, "generated_at": "2026-11-22T11:59:50Z", "paths": paths,
            "findings": findings, "summary": {"status": "critical"}})
    }

    fn of_a_and_b(answers: &[Heard]) -> Pair {
        pair("a", &directory(), ["a", "b"], answers, now(), ROUND).unwrap()
    }

    #[test]
    fn each_end_tells_of_the_other_and_of_nobody_else() {
        let a = report(
            "a",
            vec![path("b", "10.0.0.2", "black_hole"), path("10.0.0.3", "10.0.0.3", "clear")],
            vec![finding("b", "critical"), finding("enp5s0", "critical"), finding("10.0.0.3", "warning")],
        );
        let late = Err((Answer::Timeout, "did not answer in time".into()));
        let found = of_a_and_b(&[heard("a", &a), Heard { answer: late, ..heard("b", &Value::Null) }]);
        let [one, other] = &found.ends;
        let says = &one.agents[0];
        assert_eq!((one.name.as_str(), says.paths.len(), says.findings.len()), ("a", 1, 1), "{found:?}");
        let path = &says.paths[0];
        let forward = path.forward_mtu.map(IpSize::bytes);
        assert_eq!((path.verdict, forward, path.age), (Mark::BlackHole, Some(1400), Some(30)));
        assert_eq!(path.limited_by.as_deref(), Some("10.0.0.254, hop 1, which says 1450"));
        assert_eq!(path.hole.as_deref(), Some("between hop 1 (10.0.0.254) and hop 2"));
        assert_eq!((path.way, path.loss), (Some(Way::Forward), Some(0.5)));
        assert_eq!(says.findings[0].age, Some(3_600));
        assert_eq!((other.agents[0].answer, other.agents[0].paths.len()), (Answer::Timeout, 0));
    }

    #[test]
    fn a_node_that_is_known_by_address_is_found_by_the_name_that_it_says() {
        let answers = [heard("a", &report("a", vec![path("c", "10.0.0.3", "clear")], vec![finding("c", "warning")]))];
        let back = report("c", vec![path("a", "10.0.0.1", "limited")], Vec::new());
        let both = [answers[0].clone(), heard("10.0.0.3", &back)];
        let found = pair("a", &directory(), ["a", "c"], &both, now(), ROUND).unwrap();
        assert_eq!(found.ends.each_ref().map(|end| end.agents[0].paths.len()), [1, 1], "{found:?}");
        assert_eq!(found.ends[0].agents[0].findings.len(), 1);
        assert!(pair("a", &directory(), ["a", "c"], &answers, now(), ROUND).is_none(), "nobody told of that name");
        assert!(pair("a", &directory(), ["c", "10.0.0.3"], &both, now(), ROUND).is_none(), "one node is no pair");
    }

    #[test]
    fn an_end_whose_rounds_stand_still_is_told_as_such() {
        for (made, still) in [("2026-11-22T11:50:00Z", false), ("2026-11-22T11:49:59Z", true)] {
            let mut old = report("a", vec![path("b", "10.0.0.2", "clear")], Vec::new());
            old["generated_at"] = made.into();
            assert_eq!(of_a_and_b(&[heard("a", &old)]).ends[0].agents[0].stands_still, still, "{made}");
        }
    }

    #[test]
    fn a_liar_fills_no_page_and_what_is_no_report_says_nothing() {
        let paths = (0..500).map(|at| path("b", &format!("10.0.1.{}", at % 250), "clear")).collect();
        let mut all = report("a", paths, (0..500).map(|_| finding("b", "info")).collect());
        all["findings"][499]["severity"] = "critical".into();
        all["findings"][498]["summary"] = "x\u{1b}[2J".repeat(500).into();
        let found = of_a_and_b(&[heard("a", &all), heard("b", &json!({"schema": "other"}))]);
        let says = &found.ends[0].agents[0];
        assert_eq!((says.paths.len(), says.more_paths, says.findings.len()), (PATHS, 500 - PATHS, FINDINGS));
        assert_eq!(says.findings[0].severity, Severity::Critical, "the worst are kept");
        assert!(says.findings.iter().all(|one| one.summary.chars().count() <= LONGEST + 1));
        let lie = &found.ends[1].agents[0];
        assert_eq!((lie.answer, lie.paths.len()), (Answer::Garbage, 0), "{lie:?}");
    }

    #[test]
    fn values_of_other_types_are_not_known_and_break_nothing() {
        let mut odd = path("b", "10.0.0.2", "clear");
        (odd["hole"], odd["limited_by"], odd["way"], odd["loss_ratio"]) =
            (json!([1]), json!("x"), json!(5), json!(7.0));
        odd["more"] = json!({"x": [-1, 1e99]});
        let paths = vec![odd, json!(5), json!({"peer": "b"})];
        let found = of_a_and_b(&[heard("a", &report("a", paths, vec![json!("x"), json!({"subject": "b"})]))]);
        let says = &found.ends[0].agents[0];
        assert_eq!((says.paths.len(), says.findings.len()), (1, 0));
        assert_eq!((&says.paths[0].hole, says.paths[0].way, says.paths[0].loss), (&None, None, None));
    }
}
