//! What two nodes say of each other: both directions beside each other, then each end in full.

use std::net::IpAddr;

use askama::Template;
use probes::cluster::pair::{End, FindingTold, Pair, PathTold, Says};
use probes::cluster::{Answer, Mark};
use probes::path::{Plane, Way};
use probes::report::{Severity, Vantage};
use probes::units::Family;

use super::super::super::text::cluster::words::{self, ago};
use super::super::shown;
use super::map::{Budget, Sort};
use super::{Form, REFRESH, SPARE, bytes, encode, millis, toned};

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

/// In a word and in a sentence why a pair is not shown, and whom else to ask for.
///
/// # Errors
/// As [`pair`].
pub(crate) fn no_pair(said: (&str, &str), from: &str, to: &str, names: &[&str]) -> askama::Result<String> {
    let (word, why) = said;
    NoPair { refresh: REFRESH, here: "/cluster", word, why, form: chosen(names, from, to) }.render()
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
    word: &'p str,
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
            age: says.report_age.map(|age| made(age, says.stands_still)).unwrap_or_default(),
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

/// When a report was made, and what it means if that is long ago.
fn made(age: u64, stands_still: bool) -> String {
    let but = if stands_still { ": its rounds stand still, or its clock is wrong" } else { "" };
    format!("{}{but}", ago(age))
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
    // What comes back too small is said where it is sent from.
    if worst.verdict != Mark::Clear && worst.forward_mtu.is_some() && worst.forward_mtu >= worst.expected_mtu {
        return Told { sort: Sort::Usual, size: bytes(size), said: "clear this way, not back" };
    }
    Told { sort: sort(worst), size: bytes(size), said: sort(worst).word() }
}

/// What it comes to. Who did not answer leaves it open, and a verdict of one end is not one of both.
fn verdict(pair: &Pair) -> (&'static str, &'static str, String) {
    let all: Vec<&Says> = pair.ends.iter().flat_map(|end| &end.agents).collect();
    let worst = all.iter().flat_map(|says| &says.paths).map(|path| path.verdict).max();
    let critical = all.iter().flat_map(|says| &says.findings).any(|one| one.severity == Severity::Critical);
    let heard = |end: &&End| end.agents.iter().any(|says| says.answer == Answer::Report && !says.paths.is_empty());
    let silent: Vec<String> = pair.ends.iter().filter(|end| !heard(end)).map(|end| shown(&end.name, 60)).collect();
    let old = |end: &&End| end.agents.iter().any(|says| says.stands_still);
    let still: Vec<String> = pair.ends.iter().filter(old).map(|end| shown(&end.name, 60)).collect();
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
        _ if !still.is_empty() => ("unknown", "Unknown", format!("what is heard from {} is old", still.join(" and "))),
        Some(_) if open > 0 => {
            ("unknown", "Unknown", "not every path between them was measured to a conclusion".into())
        }
        Some(_) => ("healthy", "Clear", "both ways carry what they should on every network that is measured".into()),
        None => ("unknown", "Unknown", "neither end has measured the way to the other".into()),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use probes::units::IpSize;

    use super::*;

    fn path(verdict: Mark, mtu: u32) -> PathTold {
        PathTold {
            plane: Plane::Underlay,
            family: Family::Ipv4,
            address: [10, 0, 0, 12].into(),
            verdict,
            why: None,
            path_mtu: (mtu > 0).then(|| IpSize::new(mtu)),
            expected_mtu: Some(IpSize::new(1500)),
            forward_mtu: (mtu > 0).then(|| IpSize::new(mtu)),
            reverse_mtu: Some(IpSize::new(1500)),
            limited_by: Some("10.0.0.254, hop 1".into()),
            way: Some(Way::Forward),
            hole: Some("between hop 1 (10.0.0.254) and hop 2".into()),
            round_trip: Some(0.000_31),
            loss: Some(0.25),
            age: Some(30),
        }
    }

    fn says(answer: Answer, paths: Vec<PathTold>) -> Says {
        let finding = FindingTold {
            code: "path-black-hole".into(),
            severity: Severity::Critical,
            summary: "Packets of more than 1400 B to master-2 vanish in silence.".into(),
            silenced_by: Some("link-down enp5s0".into()),
            age: Some(600),
        };
        let heard = answer == Answer::Report;
        Says {
            vantage: Vantage::Node,
            addresses: vec![[10, 0, 0, 11].into(), "fd00::11".parse().unwrap()],
            answer,
            why: (!heard).then(|| "no answer at <10.0.0.12>".into()),
            status: heard.then_some(probes::report::Status::Critical),
            report_age: heard.then_some(7),
            stands_still: false,
            findings: if paths.iter().any(|path| path.verdict == Mark::BlackHole) { vec![finding] } else { Vec::new() },
            paths,
            more_paths: 0,
            more_findings: 0,
        }
    }

    fn of(one: Vec<Says>, other: Vec<Says>) -> Pair {
        let end = |name: &str, agents| End { name: name.into(), agents };
        let at = "2026-11-22T05:00:00Z".parse().unwrap();
        Pair { node: "master-1".into(), generated_at: at, ends: [end("master-1", one), end("<i>2\"", other)] }
    }

    const DOORS: Doors = Doors { tls: false, port: 9747 };

    #[test]
    fn both_ends_are_told_and_one_that_is_silent_is_not_fine() {
        let hole = says(Answer::Report, vec![path(Mark::BlackHole, 1400)]);
        let page = pair(&of(vec![hole], vec![says(Answer::Timeout, Vec::new())]), &["a", "<i>2\""], DOORS).unwrap();
        super::super::tests::balanced(&page);
        let (_, main) = page.split_once("<main").unwrap();
        assert_snapshot!(main.split_once("</main>").unwrap().0);
    }

    #[test]
    fn the_verdict_is_no_better_than_what_both_ends_know() {
        let clear = || says(Answer::Report, vec![path(Mark::Clear, 1500)]);
        let late = || says(Answer::Timeout, Vec::new());
        let old = || Says { report_age: Some(7_300), stands_still: true, ..clear() };
        for (one, other, tone) in [
            (vec![clear()], vec![clear()], "healthy"),
            (vec![clear()], vec![late()], "unknown"),
            (vec![clear()], Vec::new(), "unknown"),
            (vec![clear()], vec![old()], "unknown"),
            (vec![clear()], vec![says(Answer::Report, vec![path(Mark::Unmeasured, 0)])], "unknown"),
            (vec![clear()], vec![says(Answer::Report, vec![path(Mark::Limited, 1400)])], "warning"),
            (vec![says(Answer::Report, vec![path(Mark::Unreachable, 0)])], vec![late()], "critical"),
        ] {
            let pair = of(one, other);
            assert_eq!(verdict(&pair).0, tone, "{pair:?}");
        }
    }

    #[test]
    fn an_end_that_tells_of_what_was_says_so() {
        let clear = || says(Answer::Report, vec![path(Mark::Clear, 1500)]);
        let old = Says { report_age: Some(7_300), stands_still: true, ..clear() };
        let page = pair(&of(vec![clear()], vec![old]), &[], DOORS).unwrap();
        assert_eq!(page.matches("whose report was made 2 h ago: its rounds stand still").count(), 1, "{page}");
    }

    #[test]
    fn agents_pages_are_where_they_listen() {
        let six = "fd00::11".parse().unwrap();
        assert_eq!(door(six, Doors { tls: true, port: 9747 }), "https://[fd00::11]:9747/");
        assert_eq!(door([10, 0, 0, 11].into(), DOORS), "http://10.0.0.11:9747/");
    }

    #[test]
    fn who_is_nobody_can_be_chosen_again() {
        let page = no_pair(("No pair", "choose two different nodes"), "<x>", "b", &["a", "b"]).unwrap();
        super::super::tests::balanced(&page);
        assert!(
            page.contains("<title>? No pair – mtuscope</title>") && page.contains("No pair:</span> choose two"),
            "{page}"
        );
        assert!(page.contains("<option value=\"b\" selected>b</option>"), "{page}");
    }
}
