//! Answers as they come, and the matrix of them all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::line::{Line, most};
use super::odd::{self, Odd};
use super::reading::{Heard, Kind, Said, Stranger};
use super::ways;
use super::who::{Directory, Id};
use super::{
    Answer, Cell, Counts, DEVIATIONS, Grid, Mark, Matrix, NodeRow, OddRow, Row, SCHEMA, Summary, WHOLE, WayRow,
    differing, patience,
};
use crate::report::{Status, Vantage};
use crate::units::IpSize;

/// Pairs whose ways differ, and nodes that stand out, that are listed.
const LISTED: usize = 200;

/// Strangers that are named with one node.
const STRANGERS: usize = 5;

/// Longest reason that is passed on, in characters.
const WHY: usize = 200;

/// The answers so far.
#[derive(Debug)]
pub struct Gathered {
    who: Arc<Directory>,
    asked: Vec<Asked>,
}

/// One agent and what became of asking it.
#[derive(Debug)]
struct Asked {
    id: Id,
    vantage: Vantage,
    answer: Answer,
    why: Option<String>,
    said: Option<Said>,
    line: Option<Line>,
}

impl Gathered {
    /// Nothing yet.
    pub const fn new(who: Arc<Directory>) -> Self {
        Self { who, asked: Vec::new() }
    }

    /// Takes in what became of asking a peer's agent: its report, or why there is none. An agent counts once.
    pub fn take(&mut self, peer: &str, vantage: Vantage, answer: Result<Said, (Answer, String)>) {
        let Some(id) = self.who.named(peer) else { return };
        if self.asked.iter().any(|asked| (asked.id, asked.vantage) == (id, vantage)) {
            return;
        }
        self.asked.push(match answer {
            Ok(mut said) => {
                let thin = self.who.len() > WHOLE;
                let line = Some(Line::new(id, vantage, std::mem::take(&mut said.heard), thin));
                Asked { id, vantage, answer: Answer::Report, why: said.blind.take(), said: Some(said), line }
            }
            Err((answer, why)) => Asked { id, vantage, answer, why: Some(why), said: None, line: None },
        });
    }

    /// The picture, where rounds are `interval` apart.
    pub fn matrix(mut self, node: &str, now: Timestamp, interval: Duration) -> Matrix {
        let mut who = Directory::clone(&self.who);
        let said = self.asked.iter().filter_map(|asked| Some((asked, asked.said.as_ref()?)));
        who.believe(said.map(|(asked, said)| (asked.id, asked.vantage, said.node.as_str(), said.addresses.as_slice())));
        self.place_strangers(&who);
        let asked_about: BTreeSet<Id> = self.asked.iter().map(|asked| asked.id).collect();
        // Who has no agent that could be asked is told of too.
        for id in who.ids().filter(|id| !asked_about.contains(id)) {
            let why = Some(NO_ADDRESS.to_owned());
            self.asked.push(Asked {
                id,
                vantage: Vantage::Node,
                answer: Answer::NotAsked,
                why,
                said: None,
                line: None,
            });
        }
        self.asked.sort_by(|one, other| (one.vantage, who.name(one.id)).cmp(&(other.vantage, who.name(other.id))));
        let grids: Vec<Drawn> =
            self.kinds().into_iter().map(|(vantage, kind)| self.draw(vantage, kind, &who)).collect();
        let facts = self.asked.iter().filter(|asked| asked.vantage == Vantage::Node);
        let facts = facts.filter_map(|asked| Some((who.name(asked.id), &asked.said.as_ref()?.facts)));
        let differing = differing::rows(facts);
        let nodes = self.asked.iter().map(|asked| asked.row(&self.who, &who, now, interval)).collect();
        assemble(node, now, nodes, differing, grids, who.len() > WHOLE)
    }

    /// Peers that the asking agent does not know may be nodes that told their other names and addresses meanwhile.
    fn place_strangers(&mut self, who: &Directory) {
        for asked in &mut self.asked {
            let (Some(said), Some(line)) = (&mut asked.said, &mut asked.line) else { continue };
            let mut place = |stranger: &mut Stranger| {
                let Some(id) = who.find(&stranger.name, &stranger.addresses) else { return false };
                line.add(stranger.heard.iter().map(|one| Heard { to: id, ..*one }));
                true
            };
            let found: Vec<_> = said.strangers.extract_if(.., |stranger| place(stranger)).collect();
            drop(found);
        }
    }

    /// On what anybody measures.
    fn kinds(&self) -> BTreeSet<(Vantage, Kind)> {
        let lines = self.asked.iter().filter_map(|asked| asked.line.as_ref());
        lines.flat_map(|line| line.kinds().into_iter().map(|kind| (line.vantage, kind))).collect()
    }

    fn draw(&self, vantage: Vantage, kind: Kind, who: &Directory) -> Drawn {
        let lines: Vec<&Line> = self.asked.iter().filter_map(|asked| asked.line.as_ref()).collect();
        let lines: Vec<&Line> = lines.into_iter().filter(|line| line.vantage == vantage).collect();
        // Each node has one vote: a node that measures much is not more right.
        let usual = most(lines.iter().filter_map(|line| line.expects(kind)));
        let odd = usual.map_or_else(Vec::new, |usual| odd::standing_out(&lines, kind, usual, who.len()));
        let pairs = ways::differing(&lines, kind, who.len());
        let differs = pairs.len();
        let mut columns: BTreeSet<Id> = lines.iter().flat_map(|line| line.cells(kind).map(|cell| cell.to)).collect();
        columns.extend(lines.iter().filter(|line| line.cells(kind).next().is_some()).map(|line| line.from));
        let silent = self.asked.iter().filter(|asked| asked.vantage == vantage && asked.line.is_none());
        let silent = silent.filter(|asked| columns.contains(&asked.id)).count();
        let mut counts = Counts { unanswered: silent * columns.len().saturating_sub(1), ..Counts::default() };
        let rows: Vec<Row> = lines.iter().filter_map(|line| row(line, kind, usual, who)).collect();
        rows.iter().for_each(|row| counts.add(&row.counts));
        let cells = lines.iter().flat_map(|line| line.cells(kind));
        let worse = usual.map_or(0, |usual| cells.filter(|cell| cell.is_worse(usual)).count());
        let grid =
            Grid { vantage, plane: kind.plane, family: kind.family, usual_mtu: usual.map(size), counts, worse, rows };
        let odd = usual.map_or_else(Vec::new, |usual| {
            odd.into_iter().take(LISTED).map(|odd| odd_row(odd, vantage, kind, usual, who)).collect()
        });
        let pairs = pairs.into_iter().take(LISTED);
        let ways = pairs.map(|pair| WayRow {
            from: who.name(pair.from).to_owned(),
            to: who.name(pair.to).to_owned(),
            vantage,
            plane: kind.plane,
            family: kind.family,
            there: (pair.there > 0).then(|| size(pair.there)),
            back: size(pair.back),
        });
        Drawn { grid, odd, ways: ways.collect(), differs }
    }
}

/// One grid and what was found in it.
struct Drawn {
    grid: Grid,
    odd: Vec<OddRow>,
    ways: Vec<WayRow>,
    differs: usize,
}

impl Asked {
    fn row(&self, known: &Directory, who: &Directory, now: Timestamp, interval: Duration) -> NodeRow {
        let said = self.said.as_ref();
        let name = who.name(self.id);
        let other = said.filter(|said| said.vantage.is_some_and(|vantage| vantage != self.vantage));
        let vantage =
            other.map(|_| "its report is of the other vantage: the node's and the pod's agent are mixed up".into());
        let age = said.and_then(|said| u64::try_from(now.duration_since(said.generated_at?).as_secs()).ok());
        let strangers = said.map(|said| said.strangers.as_slice()).unwrap_or_default();
        NodeRow {
            name: name.to_owned(),
            vantage: self.vantage,
            answer: self.answer,
            why: self.why.as_ref().map(|why| super::lenient::clean(why).chars().take(WHY).collect()).or(vantage),
            known_as: Some(known.name(self.id)).filter(|known| *known != name).map(str::to_owned),
            calls_itself: said.map(|said| said.node.clone()).filter(|own| own != name),
            zone: who.zone(self.id).map(str::to_owned),
            version: said.and_then(|said| said.version.clone()),
            status: said.and_then(|said| said.status),
            report_age_seconds: age,
            stands_still: age.is_some_and(|age| age > patience(interval).as_secs()),
            strangers: strangers.iter().take(STRANGERS).map(|one| one.name.clone()).collect(),
            strangers_count: strangers.len(),
        }
    }
}

/// The row of a node that measures on this network at all.
fn row(line: &Line, kind: Kind, usual: Option<u16>, who: &Directory) -> Option<Row> {
    let mut counts = Counts::default();
    line.cells(kind).for_each(|cell| counts.count(cell.mark, 1));
    let deviates = |cell: &Heard| {
        let as_usual = cell.mark == Mark::Clear && Some(cell.path) == usual;
        !as_usual && cell.mark != Mark::Unmeasured
    };
    let whole = who.len() <= WHOLE;
    let mut cells: Vec<Heard> = line.cells(kind).filter(|cell| whole || deviates(cell)).collect();
    cells.sort_by_key(|cell| cell.to);
    let (from, path_mtu) = (who.name(line.from).to_owned(), line.clear_mtu(kind).map(size));
    let cells = cells.into_iter().map(|cell| to_cell(cell, who)).collect();
    (counts.all() > 0).then_some(Row { from, counts, path_mtu, cells })
}

fn to_cell(cell: Heard, who: &Directory) -> Cell {
    let known = |bytes: u16| (bytes > 0).then(|| size(bytes));
    Cell {
        to: who.name(cell.to).to_owned(),
        verdict: cell.mark,
        path_mtu: known(cell.path),
        expected_mtu: known(cell.expected).filter(|_| cell.is_judged()),
        round_trip_seconds: cell.micros.map(|micros| f64::from(micros) / 1e6),
    }
}

fn odd_row(odd: Odd, vantage: Vantage, kind: Kind, usual: u16, who: &Directory) -> OddRow {
    OddRow {
        node: who.name(odd.node).to_owned(),
        vantage,
        plane: kind.plane,
        family: kind.family,
        to_it: odd.to_it,
        from_it: odd.from_it,
        others: odd.others,
        usual_mtu: size(usual),
    }
}

pub(super) fn size(bytes: u16) -> IpSize {
    IpSize::new(bytes.into())
}

fn assemble(
    node: &str,
    now: Timestamp,
    nodes: Vec<NodeRow>,
    differing: Vec<super::DifferingRow>,
    drawn: Vec<Drawn>,
    thin: bool,
) -> Matrix {
    let mut cells = Counts::default();
    drawn.iter().for_each(|one| cells.add(&one.grid.counts));
    let (mut grids, mut odd, mut ways, mut differs) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for one in drawn {
        grids.push(one.grid);
        odd.extend(one.odd);
        ways.extend(one.ways);
        differs += one.differs;
    }
    ways.truncate(LISTED);
    let left_out = thin.then(|| leave_out(&mut grids));
    let agents = nodes.iter().filter(|row| row.why.as_deref() != Some(NO_ADDRESS)).count();
    let answered = nodes.iter().filter(|row| row.answer == Answer::Report).count();
    let standing_still = nodes.iter().filter(|row| row.stands_still).count();
    let worse: usize = grids.iter().map(|grid| grid.worse).sum();
    let status = match () {
        () if cells.black_hole + cells.unreachable > 0 => Status::Critical,
        () if cells.measured() == cells.unknown => Status::Unknown,
        () if worse + odd.len() + differs + standing_still > 0 || answered < agents => Status::Warning,
        () => Status::Healthy,
    };
    let summary = Summary { status, agents, answered, standing_still, cells, odd: odd.len(), ways: differs };
    let (schema, node) = (SCHEMA.to_owned(), node.to_owned());
    Matrix { schema, node, generated_at: now, summary, nodes, odd, ways, differing, grids, left_out }
}

/// Why an agent was not asked.
const NO_ADDRESS: &str = "no address of its agent is known";

/// Keeps the worst cells of a large cluster and tells how many it does not list.
fn leave_out(grids: &mut [Grid]) -> usize {
    let all: usize = grids.iter().map(|grid| grid.counts.measured() + grid.counts.unmeasured).sum();
    let badness = |cell: &Cell| (cell.verdict, u32::MAX - cell.path_mtu.map_or(0, IpSize::bytes));
    let mut worst: Vec<_> = grids.iter().flat_map(|grid| &grid.rows).flat_map(|row| &row.cells).map(badness).collect();
    worst.sort_unstable();
    let bar = worst.len().checked_sub(DEVIATIONS).map(|at| worst[at]);
    let above = worst.iter().filter(|badness| bar.is_some_and(|bar| **badness > bar)).count();
    let (listed, mut room) = (worst.len().min(DEVIATIONS), DEVIATIONS - above);
    for row in grids.iter_mut().flat_map(|grid| &mut grid.rows) {
        row.cells.retain(|cell| {
            let Some(bar) = bar else { return true };
            // Of those that are just as bad as the last one listed there may be more than there is room for.
            let ties = badness(cell) == bar && room > 0;
            room -= usize::from(ties);
            ties || badness(cell) > bar
        });
    }
    all - listed
}
