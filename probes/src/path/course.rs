//! The course of one task: which stage follows which.
//!
//! The size comes first ([`Search`]); what it cost is what a clean path costs. Only then is more asked: how much is lost,
//! where anything was ([`Sample`]); on which way
//! larger sizes vanish ([`Direction`]), and between which hops ([`Hops`]), if it is on the way there or that is not
//! known – a size that vanishes on the way back was seen by every hop on the way there. Sizes of a task for
//! the network below a tunnel are those of outer packets, and so are its hops.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::direction::{Direction, Found, Ways, largest_error};
use super::hop::{Hops, Sight, Trace, Vanishes};
use super::sample::{Row, Sample};
use super::search::{Lane, REFERENCE, Search};
use super::spread::Spread;
use super::{Answer, Carrier, Encapsulation, Learned, Measured, Probe, SOURCES, Step, Target, Task, Verdict, Way};
use crate::kernel::TunnelKind;
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
    /// What was measured so far.
    measured: Option<Box<Measured>>,
    /// The largest fragment that the answer to the largest size came in.
    fragment: Option<IpSize>,
    /// Sizes that hops named.
    named: Vec<IpSize>,
    /// Probes that were asked for and have not left.
    behind: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Search(Box<Search>),
    Sample(Box<Sample>),
    Direction(Box<Direction>),
    Hops(Box<Hops>),
    Spread(Box<Spread>),
}

impl Course {
    /// Starts the task of `target`. `turn` counts the tasks of this process: source ports rotate with it.
    pub fn new(target: &Target, turn: u64, now: Mono) -> Self {
        let source = first_source(turn, 1);
        let lane = lane(target, source);
        let stage = match target.task {
            Task::Mtu { .. } | Task::Outer(_) => Stage::Search(Box::new(Search::new(lane, now))),
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
        Self { task: target.task, lane, source, stage, measured: None, fragment: None, named: Vec::new(), behind: 0 }
    }

    /// `probe` left at `now`; for a TCP attempt, it was started.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        self.behind = self.behind.saturating_sub(1);
        match &mut self.stage {
            Stage::Search(stage) => stage.on_sent(probe, now),
            Stage::Sample(stage) => stage.on_sent(probe, now),
            Stage::Direction(stage) => stage.on_sent(probe, now),
            Stage::Hops(stage) => stage.on_sent(probe, now),
            Stage::Spread(stage) => stage.on_sent(probe, now),
        }
    }

    /// What became of `probe`. Errors and answers may both come for one probe, and late.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
        if let Answer::NotSent { .. } = answer {
            self.behind = self.behind.saturating_sub(1);
        }
        match &mut self.stage {
            Stage::Search(stage) => stage.on_answer(probe, answer, now),
            Stage::Sample(stage) => stage.on_answer(probe, answer, now),
            Stage::Direction(stage) => stage.on_answer(probe, answer, now),
            Stage::Hops(stage) => stage.on_answer(probe, answer, now),
            Stage::Spread(stage) => stage.on_answer(probe, answer, now),
        }
    }

    /// What to do next. Asked again after [`Step::Send`] until it is something else.
    pub fn poll(&mut self, now: Mono) -> Step<Learned> {
        let step = self.step(now);
        self.behind += u32::from(matches!(step, Step::Send(_)));
        step
    }

    fn step(&mut self, now: Mono) -> Step<Learned> {
        loop {
            let over = match &mut self.stage {
                Stage::Search(stage) => match stage.poll(now) {
                    Step::Done(measured) => {
                        self.fragment = measured.verdict.path_mtu().and_then(|mtu| stage.fragment(mtu));
                        self.named = stage.named_sizes();
                        self.searched(measured, now)
                    }
                    Step::Send(probe) => return Step::Send(probe),
                    Step::Wait(at) => return Step::Wait(at),
                },
                Stage::Sample(stage) => match stage.poll(now) {
                    Step::Done(row) => self.sampled(*row),
                    Step::Send(probe) => return Step::Send(probe),
                    Step::Wait(at) => return Step::Wait(at),
                },
                Stage::Direction(stage) => match stage.poll(now) {
                    Step::Done(ways) => self.told_apart(*ways, now),
                    Step::Send(probe) => return Step::Send(probe),
                    Step::Wait(at) => return Step::Wait(at),
                },
                Stage::Hops(stage) => match stage.poll(now) {
                    Step::Done(trace) => self.traced(*trace, now),
                    Step::Send(probe) => return Step::Send(probe),
                    Step::Wait(at) => return Step::Wait(at),
                },
                Stage::Spread(stage) => match stage.poll(now) {
                    Step::Done(swept) => Some(Learned::Spread(swept)),
                    Step::Send(probe) => return Step::Send(probe),
                    Step::Wait(at) => return Step::Wait(at),
                },
            };
            if let Some(learned) = over {
                return Step::Done(Box::new(learned));
            }
        }
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

    fn searched(&mut self, measured: Box<Measured>, now: Mono) -> Option<Learned> {
        let measured = self.measured.insert(measured);
        if measured.verdict.path_mtu().is_none() {
            return self.look_at_hops(now);
        }
        if let Task::Outer(_) = self.task {
            // What answers is small whatever is asked: all that was measured is the way there.
            measured.forward = measured.verdict.path_mtu();
            measured.way = matches!(measured.verdict, Verdict::BlackHole { .. }).then_some(Way::Forward);
            return self.look_at_hops(now);
        }
        let wanted = matches!(self.task, Task::Mtu { sample: true, .. });
        if wanted || measured.reference_lost > 0 {
            let Lane { carrier, small, .. } = self.lane;
            self.stage = Stage::Sample(Box::new(Sample::new(carrier, small, measured.round_trip, now)));
            return None;
        }
        self.tell_apart()
    }

    fn sampled(&mut self, row: Row) -> Option<Learned> {
        if let Some(measured) = &mut self.measured {
            measured.sampled = row.sent;
            measured.reference_sent += row.sent;
            measured.reference_lost += row.lost;
        }
        self.tell_apart()
    }

    fn tell_apart(&mut self) -> Option<Learned> {
        let measured = self.measured.as_ref()?;
        let (fragment, named) = (self.fragment, &self.named);
        let found = Found { lane: self.lane, measured, fragment, named, behind: self.behind };
        self.stage = Stage::Direction(Box::new(Direction::new(&found, self.source)));
        None
    }

    fn told_apart(&mut self, ways: Ways, now: Mono) -> Option<Learned> {
        if let Some(measured) = &mut self.measured {
            (measured.forward, measured.reverse, measured.way) = (ways.forward, ways.reverse, ways.way);
            measured.sent += ways.sent;
        }
        self.look_at_hops(now)
    }

    fn look_at_hops(&mut self, now: Mono) -> Option<Learned> {
        let Some(measured) = &self.measured else { return None };
        let wanted = matches!(self.task, Task::Mtu { hops: true, .. });
        let vanishes = self.vanishes(measured);
        if !wanted && vanishes.is_none() {
            return self.finish(now);
        }
        let sizes = if wanted { self.sizes_of_interest(&measured.verdict) } else { Vec::new() };
        let Lane { address, carrier, small, .. } = self.lane;
        let sight = Sight { address, carrier, small, sizes, vanishes, round_trip: measured.round_trip };
        self.stage = Stage::Hops(Box::new(Hops::new(sight)));
        None
    }

    /// The size whose hole hops can tell. They answer in ICMP errors, whose loss on the way back must not be mistaken.
    fn vanishes(&self, measured: &Measured) -> Option<Vanishes> {
        let Verdict::BlackHole { carries, drops, .. } = measured.verdict else { return None };
        let there = measured.way == Some(Way::Forward);
        let tells = there || (measured.way.is_none() && carries >= largest_error(Family::of(self.lane.address)));
        tells.then_some(Vanishes { size: drops, there })
    }

    /// Sizes that tell the hops apart, the largest first.
    fn sizes_of_interest(&self, verdict: &Verdict) -> Vec<IpSize> {
        let drops = match verdict {
            Verdict::BlackHole { drops, .. } => Some(*drops),
            _ => None,
        };
        let named = self.named.iter().rev().take(NAMED).copied();
        let mut sizes: Vec<_> = named.chain([self.lane.expected]).chain(drops).collect();
        sizes.extend(verdict.path_mtu());
        sizes.retain(|&size| size > self.lane.small && size <= self.lane.expected);
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        sizes.dedup();
        sizes
    }

    fn traced(&mut self, trace: Trace, now: Mono) -> Option<Learned> {
        if let Some(measured) = &mut self.measured {
            measured.sent += trace.sent;
            measured.hops = trace.hops;
            measured.hole = trace.hole;
            place(measured);
        }
        self.finish(now)
    }

    fn finish(&mut self, now: Mono) -> Option<Learned> {
        let mut measured = self.measured.take()?;
        measured.at = now;
        Some(match self.task {
            Task::Outer(_) => Learned::Outer(measured),
            Task::Mtu { .. } | Task::Spread { .. } => Learned::Mtu(measured),
        })
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
    let around = overhead::of(TunnelKind::Vxlan, Family::of(encapsulation.vtep));
    let small = REFERENCE.plus(around).min(expected);
    let floor = encapsulation.least();
    let carrier = Carrier::Vxlan { source };
    Lane { address: encapsulation.vtep, carrier, expected, small, floor, reaches: false }
}
