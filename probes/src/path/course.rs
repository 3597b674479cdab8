//! The course of one task: which stage follows which, and which go side by side.
//!
//! The size comes first ([`Search`]); what it cost is what a clean path costs. Only then is more asked: how much is lost,
//! where anything was ([`Sample`]); on which way larger sizes vanish ([`Direction`]), and between which hops ([`Hops`]),
//! if it is on the way there or that is not known – a size that vanishes on the way back was seen by every hop on the
//! way there. Sizes of a task for the network below a tunnel are those of outer packets, and so are its hops.
//!
//! A silence takes long, so a stage does not wait for the silence that the one before still waits for. As soon as that
//! one presumes what it comes to, the next one begins. Should an answer come after all, then what was begun is dropped,
//! and begins anew when more is known: it costs packets, and nothing is claimed that rests on a presumption.
//!
//! Stages that go side by side send nothing alike, so a probe says whose it is: with a time to live it is of the hops,
//! with a carrier of small answers it is of the direction, and else of the search or the sample. Where the direction
//! asks by echoes too, it waits until those are over.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::direction::{Direction, Found, Ways, largest_error};
use super::hop::{Hops, Sight, Trace, Vanishes};
use super::sample::{Row, Sample};
use super::search::{IDLE, Lane, REFERENCE, Search};
use super::spread::Spread;
use super::{Answer, Carrier, Encapsulation, Learned, Measured, Probe, SOURCES, Step, Target, Task, Verdict, Way};
use crate::overhead;
use crate::units::{Family, IpSize, Mono};

/// Most sizes that hops named whose fate at every hop is looked at: a forger could name any number.
const NAMED: usize = 3;

/// One task under way. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Course {
    task: Task,
    lane: Lane,
    /// The source port of the datagrams that are this course's.
    source: u16,
    stage: Stage,
    ways: Part<Direction, Ways>,
    hops: Part<Hops, Trace>,
    /// What the hops were asked to find.
    sought: Option<Vanishes>,
    /// What the search found, or presumes to find.
    found: Option<Box<Measured>>,
    /// The largest fragment that the answer to the largest size came in.
    fragment: Option<IpSize>,
    /// Sizes that hops named.
    named: Vec<IpSize>,
    /// What the sample found.
    row: Row,
    /// Packets that left.
    left: u32,
    /// Probes of the budget of size and direction that were asked for, those included that have not left.
    spent: u32,
    /// Of those, how many went beside the search.
    beside: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Search(Box<Search>),
    Sample(Box<Sample>),
    Spread(Box<Spread>),
    Over,
}

/// A stage that may go beside another one.
#[derive(Clone, Debug)]
enum Part<S, T> {
    Idle,
    UnderWay(Box<S>),
    Over(T),
}

impl Course {
    /// Starts the task of `target`. `turn` counts the tasks of this process: source ports rotate with it.
    pub fn new(target: &Target, turn: u64, now: Mono) -> Self {
        let source = first_source(turn, 1);
        let lane = lane(target, source);
        let stage = match target.task {
            Task::Mtu { .. } | Task::Outer(_) | Task::Anyone(_) => Stage::Search(Box::new(Search::new(lane, now))),
            Task::Spread { ports, encapsulation } => {
                let carrier = if encapsulation.is_some() {
                    |source| Carrier::Vxlan { source }
                } else {
                    |source| Carrier::Sweep { source }
                };
                let first = first_source(turn, ports);
                let sources = (0..ports.min(SOURCES)).map(|port| (first + port) % SOURCES).collect();
                let limited = encapsulation.is_none();
                Stage::Spread(Box::new(Spread::new(sources, carrier, lane.small, lane.expected, limited, now)))
            }
        };
        Self {
            task: target.task,
            lane,
            source,
            stage,
            ways: Part::Idle,
            hops: Part::Idle,
            sought: None,
            found: None,
            fragment: None,
            named: Vec::new(),
            row: Row::default(),
            left: 0,
            spent: 0,
            beside: 0,
        }
    }

    /// `probe` left at `now`; for a TCP attempt, it was started.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        self.left += 1;
        match self.owner(probe) {
            Owner::Hops(stage) => stage.on_sent(probe, now),
            Owner::Direction(stage) => stage.on_sent(probe, now),
            Owner::Search(stage) => stage.on_sent(probe, now),
            Owner::Sample(stage) => stage.on_sent(probe, now),
            Owner::Spread(stage) => stage.on_sent(probe, now),
            Owner::Nobody => {}
        }
    }

    /// What became of `probe`. Errors and answers may both come for one probe, and late.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
        if let Answer::NotSent { .. } = answer {
            self.spent = self.spent.saturating_sub(self.price(probe));
            self.beside = self.beside.saturating_sub(u32::from(self.is_beside(probe)));
        }
        match self.owner(probe) {
            Owner::Hops(stage) => stage.on_answer(probe, answer, now),
            Owner::Direction(stage) => stage.on_answer(probe, answer, now),
            Owner::Search(stage) => stage.on_answer(probe, answer, now),
            Owner::Sample(stage) => stage.on_answer(probe, answer, now),
            Owner::Spread(stage) => stage.on_answer(probe, answer, now),
            Owner::Nobody => {}
        }
    }

    /// What to do next. Asked again after [`Step::Send`] until it is something else.
    pub fn poll(&mut self, now: Mono) -> Step<Learned> {
        let step = self.step(now);
        if let Step::Send(probe) = step {
            self.spent += self.price(probe);
            self.beside += u32::from(self.is_beside(probe));
        }
        step
    }

    fn step(&mut self, now: Mono) -> Step<Learned> {
        let mut wake: Option<Mono> = None;
        for turn in [Self::poll_stage, Self::poll_ways, Self::poll_hops] {
            match turn(self, now) {
                Some(Step::Wait(at)) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                Some(step) => return step,
                None => {}
            }
        }
        if let Some(at) = wake {
            return Step::Wait(at);
        }
        self.learned(now).map_or(Step::Wait(now + IDLE), |learned| Step::Done(Box::new(learned)))
    }

    #[cfg(test)]
    pub(crate) const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Sizes that hops have named so far.
    #[cfg(test)]
    pub(crate) fn named(&self) -> Vec<IpSize> {
        match &self.stage {
            Stage::Search(search) => search.named_sizes(),
            _ => self.named.clone(),
        }
    }

    /// Whose probe it is.
    fn owner(&mut self, probe: Probe) -> Owner<'_> {
        if probe.ttl.is_some() {
            return if let Part::UnderWay(stage) = &mut self.hops { Owner::Hops(stage) } else { Owner::Nobody };
        }
        if matches!(self.stage, Stage::Over) || self.is_beside(probe) {
            return if let Part::UnderWay(stage) = &mut self.ways { Owner::Direction(stage) } else { Owner::Nobody };
        }
        match &mut self.stage {
            Stage::Search(stage) => Owner::Search(stage),
            Stage::Sample(stage) => Owner::Sample(stage),
            Stage::Spread(stage) => Owner::Spread(stage),
            Stage::Over => Owner::Nobody,
        }
    }

    /// Whether a probe is of the direction, while the search or the sample is under way.
    const fn is_beside(&self, probe: Probe) -> bool {
        matches!(self.stage, Stage::Search(_) | Stage::Sample(_))
            && probe.ttl.is_none()
            && matches!(probe.carrier, Carrier::Timestamp | Carrier::Sweep { .. })
    }

    /// What a probe costs of the budget of size and direction.
    fn price(&self, probe: Probe) -> u32 {
        let is_sampled = matches!(self.stage, Stage::Sample(_)) && !self.is_beside(probe);
        u32::from(probe.ttl.is_none() && !is_sampled)
    }

    fn poll_stage(&mut self, now: Mono) -> Option<Step<Learned>> {
        let step = match &mut self.stage {
            Stage::Search(search) => {
                search.on_elsewhere(self.beside);
                let step = search.poll(now);
                let found = match &step {
                    Step::Done(measured) => Some(measured.clone()),
                    Step::Send(_) | Step::Wait(_) => search.presumed().cloned().map(Box::new),
                };
                if let Some(found) = &found {
                    self.named = search.named_sizes();
                    self.fragment = found.verdict.path_mtu().and_then(|mtu| search.fragment(mtu));
                }
                self.on_found(found);
                map(step)
            }
            Stage::Sample(sample) => match sample.poll(now) {
                Step::Done(row) => {
                    self.row = *row;
                    None
                }
                step => map(step),
            },
            Stage::Spread(spread) => {
                return Some(match spread.poll(now) {
                    Step::Done(swept) => Step::Done(Box::new(Learned::Spread(swept))),
                    Step::Send(probe) => Step::Send(probe),
                    Step::Wait(at) => Step::Wait(at),
                });
            }
            Stage::Over => return None,
        };
        if step.is_none() {
            self.stage = self.next_stage(now);
            return self.poll_stage(now);
        }
        step
    }

    /// The search found this, or presumes it. What was begun because of something else is dropped.
    fn on_found(&mut self, found: Option<Box<Measured>>) {
        let edge = |found: &Option<Box<Measured>>| found.as_ref().and_then(|found| edge(&found.verdict));
        if edge(&found) != edge(&self.found) {
            (self.ways, self.hops) = (Part::Idle, Part::Idle);
        }
        self.found = found;
    }

    fn next_stage(&self, now: Mono) -> Stage {
        match (&self.stage, &self.found) {
            (Stage::Search(_), Some(found)) if self.is_to_sample(found) => {
                let Lane { carrier, small, .. } = self.lane;
                Stage::Sample(Box::new(Sample::new(carrier, small, found.round_trip, now)))
            }
            _ => Stage::Over,
        }
    }

    const fn is_to_sample(&self, found: &Measured) -> bool {
        match self.task {
            Task::Mtu { sample, .. } => (sample || found.reference_lost > 0) && found.verdict.path_mtu().is_some(),
            Task::Outer(_) | Task::Anyone(_) | Task::Spread { .. } => false,
        }
    }

    fn poll_ways(&mut self, now: Mono) -> Option<Step<Learned>> {
        if let Part::Idle = self.ways {
            self.ways = self.tell_apart()?;
        }
        let Part::UnderWay(direction) = &mut self.ways else { return None };
        match direction.poll(now) {
            Step::Done(ways) => {
                self.ways = Part::Over(*ways);
                None
            }
            step => map(step),
        }
    }

    /// Begins to tell the ways apart, if it is time.
    fn tell_apart(&self) -> Option<Part<Direction, Ways>> {
        let found = self.found.as_ref()?;
        let is_time = match self.stage {
            Stage::Search(_) => self.fragment.is_none() && !self.is_to_sample(found),
            Stage::Over => true,
            Stage::Sample(_) | Stage::Spread(_) => false,
        };
        if let Task::Outer(_) | Task::Anyone(_) = self.task {
            // What answers is small whatever is asked: all that was measured is the way there.
            let way = matches!(found.verdict, Verdict::BlackHole { .. }).then_some(Way::Forward);
            let ways = Ways { forward: found.verdict.path_mtu(), reverse: None, way, sent: 0 };
            return Some(Part::Over(ways));
        }
        let Self { lane, fragment, named, spent, .. } = self;
        let found = Found { lane: *lane, measured: found, fragment: *fragment, named, spent: *spent };
        is_time.then(|| Part::UnderWay(Box::new(Direction::new(&found, self.source))))
    }

    fn poll_hops(&mut self, now: Mono) -> Option<Step<Learned>> {
        let sight = self.sight();
        let sought = sight.as_ref().and_then(|sight| sight.vanishes);
        if sight.is_none() || sought != self.sought {
            self.hops = Part::Idle;
        }
        self.sought = sought;
        if let (Part::Idle, Some(sight)) = (&self.hops, sight) {
            self.hops = Part::UnderWay(Box::new(Hops::new(sight)));
        }
        let Part::UnderWay(hops) = &mut self.hops else { return None };
        match hops.poll(now) {
            Step::Done(trace) => {
                self.hops = Part::Over(*trace);
                None
            }
            step => map(step),
        }
    }

    /// What to look for at the hops, if anything, and if it is known or presumed on which way sizes vanish.
    fn sight(&self) -> Option<Sight> {
        let found = self.found.as_ref()?;
        let way = match &self.ways {
            Part::Idle => return None,
            Part::UnderWay(direction) => Some(direction.presumed()?),
            Part::Over(ways) => ways.way,
        };
        let wanted = matches!(self.task, Task::Mtu { hops: true, .. });
        let vanishes = self.vanishes(&found.verdict, way);
        if !wanted && vanishes.is_none() {
            return None;
        }
        let sizes = if wanted { self.sizes_of_interest(&found.verdict) } else { Vec::new() };
        let Lane { address, carrier, small, .. } = self.lane;
        Some(Sight { address, carrier, small, sizes, vanishes, round_trip: found.round_trip })
    }

    /// The size whose hole hops can tell. They answer in ICMP errors, whose loss on the way back must not be mistaken.
    fn vanishes(&self, verdict: &Verdict, way: Option<Way>) -> Option<Vanishes> {
        let (carries, drops) = edge(verdict)?;
        let there = way == Some(Way::Forward);
        let tells = there || (way.is_none() && carries >= largest_error(Family::of(self.lane.address)));
        tells.then_some(Vanishes { size: drops, there })
    }

    /// Sizes that tell the hops apart, the largest first.
    fn sizes_of_interest(&self, verdict: &Verdict) -> Vec<IpSize> {
        let drops = edge(verdict).map(|(_, drops)| drops);
        let named = self.named.iter().rev().take(NAMED).copied();
        let mut sizes: Vec<_> = named.chain([self.lane.expected]).chain(drops).collect();
        sizes.extend(verdict.path_mtu());
        sizes.retain(|&size| size > self.lane.small && size <= self.lane.expected);
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        sizes.dedup();
        sizes
    }

    /// All that was learned, when no stage is under way.
    fn learned(&self, now: Mono) -> Option<Learned> {
        let mut measured = self.found.clone()?;
        measured.at = now;
        measured.sampled = self.row.sent;
        measured.sent = self.left - self.row.sent.min(self.left);
        measured.reference_sent += self.row.sent;
        measured.reference_lost += self.row.lost;
        if let Part::Over(ways) = self.ways {
            (measured.forward, measured.reverse, measured.way) = (ways.forward, ways.reverse, ways.way);
        }
        if let Part::Over(trace) = &self.hops {
            (measured.hops, measured.hole) = (trace.hops.clone(), trace.hole);
            place(&mut measured);
        }
        Some(match self.task {
            Task::Outer(_) => Learned::Outer(measured),
            Task::Anyone(_) => Learned::Anyone(measured),
            Task::Mtu { .. } | Task::Spread { .. } => Learned::Mtu(measured),
        })
    }
}

/// Whose a probe is.
enum Owner<'a> {
    Search(&'a mut Search),
    Sample(&'a mut Sample),
    Direction(&'a mut Direction),
    Hops(&'a mut Hops),
    Spread(&'a mut Spread),
    Nobody,
}

/// The step of a stage that is not over.
fn map<T>(step: Step<T>) -> Option<Step<Learned>> {
    match step {
        Step::Send(probe) => Some(Step::Send(probe)),
        Step::Wait(at) => Some(Step::Wait(at)),
        Step::Done(_) => None,
    }
}

/// The largest size that passes and the smallest that vanishes.
const fn edge(verdict: &Verdict) -> Option<(IpSize, IpSize)> {
    match verdict {
        Verdict::BlackHole { carries, drops, .. } => Some((*carries, *drops)),
        _ => None,
    }
}

/// What the hops add to what was known: how far away the hop is that signals, and that a hole between two hops is on
/// the way there.
fn place(measured: &mut Measured) {
    let hops = &measured.hops;
    if let Verdict::Limited { by, .. } | Verdict::BlackHole { by: Some(by), .. } = &mut measured.verdict {
        let hop = hops.iter().find(|hop| hop.address.is_some() && hop.address == by.address && !hop.target);
        by.ttl = hop.map(|hop| hop.ttl);
    }
    if measured.hole.is_some() && measured.way.is_none() {
        measured.way = Some(Way::Forward);
        measured.forward = measured.verdict.path_mtu();
        measured.reverse = measured.reverse.or(measured.forward);
    }
}

/// The first of `count` source ports of a turn: the next turn goes on behind them.
fn first_source(turn: u64, count: u16) -> u16 {
    let sources = u64::from(SOURCES);
    u16::try_from(turn.wrapping_mul(u64::from(count.max(1))) % sources).unwrap_or(0)
}

fn lane(target: &Target, source: u16) -> Lane {
    let address = target.key.address;
    match target.task.encapsulation() {
        Some(encapsulation) => tunnelled(encapsulation, target.expected, source),
        None => plain(address, target.expected),
    }
}

fn plain(address: IpAddr, expected: IpSize) -> Lane {
    let floor = Family::of(address).floor();
    let small = REFERENCE.min(expected);
    Lane { address, carrier: Carrier::Echo, expected, small, floor, reaches: true }
}

fn tunnelled(encapsulation: Encapsulation, expected: IpSize, source: u16) -> Lane {
    let around = overhead::vxlan(Family::of(encapsulation.vtep));
    let small = REFERENCE.plus(around).min(expected);
    let floor = encapsulation.least();
    let carrier = Carrier::Vxlan { source };
    Lane { address: encapsulation.vtep, carrier, expected, small, floor, reaches: false }
}
