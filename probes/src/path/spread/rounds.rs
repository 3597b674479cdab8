//! Rounds of a sweep: whom to ask next, and what a finished round says.

use std::time::Duration;

use super::{PACE, Spread, odds, port::Port, port::Visit};
use crate::path::spread::Fate;
use crate::units::Mono;

/// Ports that are asked at once for anything at all, while nobody was answered.
const KNOCK: usize = 8;
/// Rounds of that before a sweep gives up.
const KNOCKS: u32 = 4;
/// Silent single packets before ports are visited right away: one packet is all that a good port needs.
const SINGLES: u32 = 2;
/// Longest time between a packet and its witness where answers are limited: an answer falls due only once a second.
const CLOSE: Duration = Duration::from_millis(50);
/// Ports that look dead and are asked together where answers are limited: they use up none.
const SUSPECTS: usize = 4;

/// A round: these ports are asked, and are all heard or given up before the next one.
#[derive(Clone, Debug)]
pub(super) struct Round {
    kind: Ask,
    ports: Vec<usize>,
    /// Asked afterwards, to be held against those that said nothing.
    control: Option<usize>,
}

/// What a round is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// The expected size of every port at once.
    Burst,
    /// Whether anybody is there.
    Knock,
    /// The expected size of one port, once.
    Single,
    /// The size under test, and a witness behind it.
    Visit,
}

impl Spread {
    /// The first round.
    pub(super) fn burst(&mut self, now: Mono) {
        let ports = (0..self.ports.len()).collect();
        self.start(Ask::Burst, ports, now);
    }

    /// What became of every port, as far as is known.
    pub(super) fn fates(&self) -> impl Iterator<Item = Fate> {
        let needed = self.needed();
        let suspects = self.ports.iter().filter(|port| port.is_suspect(needed)).count();
        let needed = if suspects > 1 { needed } else { 2 * needed };
        self.ports.iter().map(move |port| port.fate(needed))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.fates().all(|fate| fate != Fate::Unknown)
    }

    /// Silences that make a port suspect, given how often attempts at good ports failed. The burst is no attempt where
    /// answers are limited.
    fn needed(&self) -> u32 {
        let tried = |port: &&Port| port.carried && (!self.limited || port.visits > 0);
        let misses = self.ports.iter().filter(tried).map(|port| port.misses);
        let (failed, attempts) = misses.fold((self.control_failures, self.controls), |(failed, attempts), misses| {
            (failed + misses, attempts + misses + 1)
        });
        odds::silences(self.ports.len(), failed, attempts)
    }

    /// When the next round may begin: a limiter has an answer to be had by then.
    pub(super) fn next_round(&self) -> Mono {
        let is_slow =
            self.limited || (self.is_signalled() && !self.undecided().any(|port| self.ports[port].is_fresh()));
        if !is_slow {
            return Mono::default();
        }
        self.last_answer.max(self.last_sent + self.slowest.unwrap_or_default()) + PACE
    }

    /// Whether any hop called anything too big.
    fn is_signalled(&self) -> bool {
        self.ports.iter().any(|port| port.hint.is_some())
    }

    /// Begins the next round; false if nothing is left to ask, or with.
    pub(super) fn begin_round(&mut self, now: Mono) -> bool {
        let mut ports: Vec<_> = self.undecided().collect();
        ports.sort_by_key(|&port| (self.ports[port].visits, self.ports[port].hint.is_some(), port));
        if !self.ports.iter().any(|port| port.alive) {
            ports.truncate(KNOCK);
            self.knocks += 1;
            return self.knocks <= KNOCKS && self.start(Ask::Knock, ports, now);
        }
        let ports = if self.limited { self.one_of(ports) } else { self.all_of(ports) };
        let Some(&first) = ports.first() else { return false };
        let Port { visits, hint, .. } = self.ports[first];
        let is_fresh = visits == 0 && hint.is_none() && self.single_misses < SINGLES;
        self.start(if self.limited && is_fresh { Ask::Single } else { Ask::Visit }, ports, now)
    }

    /// The port whose turn it is, and if it looks dead, others that do.
    fn one_of(&self, mut ports: Vec<usize>) -> Vec<usize> {
        let looks_dead = |port: &usize| self.ports[*port].absences > 0;
        if ports.first().is_some_and(looks_dead) {
            ports.retain(looks_dead);
            ports.truncate(SUSPECTS);
        } else {
            ports.truncate(1);
        }
        ports
    }

    /// Every port at once; if any hop spoke, first those that it spoke of, then one by one.
    fn all_of(&self, mut ports: Vec<usize>) -> Vec<usize> {
        let fresh: Vec<_> = ports.iter().copied().filter(|&port| self.ports[port].is_fresh()).collect();
        if !fresh.is_empty() {
            return fresh;
        }
        ports.truncate(if self.is_signalled() { 1 } else { ports.len() });
        ports
    }

    fn undecided(&self) -> impl Iterator<Item = usize> {
        self.fates().enumerate().filter(|(_, fate)| *fate == Fate::Unknown).map(|(port, _)| port)
    }

    /// Asks these ports; false if that is more than the budget holds.
    fn start(&mut self, kind: Ask, ports: Vec<usize>, now: Mono) -> bool {
        let (expected, small) = (self.expected, self.small);
        let wanted = |port: &Port| match kind {
            Ask::Burst | Ask::Single => vec![expected],
            Ask::Knock => vec![port.named().unwrap_or(small)],
            Ask::Visit => port.wanted(expected, small),
        };
        let asked: Vec<_> = ports.iter().map(|&port| (port, wanted(&self.ports[port]))).collect();
        let packets: usize = asked.iter().map(|(_, sizes)| sizes.len()).sum();
        if packets == 0 || self.spent() + packets > super::budget(self.ports.len()) {
            return false;
        }
        for (port, sizes) in asked {
            self.ports[port].visits += u32::from(kind != Ask::Burst);
            self.ask(port, &sizes, now);
        }
        self.round = Some(Round { kind, ports, control: None });
        true
    }

    /// Judges the round once everything that it asked is heard or given up. Where somebody said nothing, a control is
    /// asked first.
    pub(super) fn end_round(&mut self, now: Mono) {
        let Some(round) = self.round.take() else { return };
        let mut asked = round.ports.iter().chain(&round.control);
        if !asked.all(|&port| self.ports[port].is_over()) {
            self.round = Some(round);
            return;
        }
        let absent = self.absent(&round);
        match self.control(&round).filter(|_| !absent.is_empty()) {
            Some(control) => {
                self.ask(control, &[self.small], now);
                self.round = Some(Round { control: Some(control), ..round });
            }
            None => self.judge(&round, &absent),
        }
    }

    /// Ports that never answered anything, and said nothing in this round.
    fn absent(&self, round: &Round) -> Vec<usize> {
        if round.kind != Ask::Visit {
            return Vec::new();
        }
        let silent = |port: &Port| !port.alive && port.visit.as_ref().is_some_and(Visit::is_silent);
        round.ports.iter().copied().filter(|&port| silent(&self.ports[port])).collect()
    }

    fn is_anybody_heard(&self, round: &Round) -> bool {
        let heard = |port: &Port| port.visit.as_ref().is_some_and(|visit| !visit.is_silent());
        round.ports.iter().any(|&port| heard(&self.ports[port]))
    }

    /// A port that answers, to be asked now: a good one, and not always the same. None is needed where somebody was
    /// heard in the round itself; where answers are limited, that may have been the only one to be had.
    fn control(&self, round: &Round) -> Option<usize> {
        let is_spent = self.spent() >= super::budget(self.ports.len());
        if is_spent || round.control.is_some() || self.is_anybody_heard(round) {
            return None;
        }
        let free = (0..self.ports.len()).filter(|port| !round.ports.contains(port));
        let (mut good, mut alive): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for port in free.filter(|&port| self.ports[port].alive) {
            if self.ports[port].carried { good.push(port) } else { alive.push(port) }
        }
        let from = if good.is_empty() { alive } else { good };
        from.get(self.controls as usize % from.len().max(1)).copied()
    }

    fn judge(&mut self, round: &Round, absent: &[usize]) {
        let others_heard = self.is_anybody_heard(round);
        let answered = round.control.map(|control| !self.end_visit(control).is_none_or(|visit| visit.is_silent()));
        if let Some(answered) = answered {
            self.controls += 1;
            self.control_failures += u32::from(!answered);
        }
        // Where answers are limited, somebody else's in the same round may have been the only one to be had.
        let is_shared = self.limited && (round.kind == Ask::Burst || (others_heard && round.ports.len() > 1));
        let is_fair = !is_shared && round.kind != Ask::Knock;
        let is_witnessed = answered.unwrap_or(others_heard && !self.limited);
        for &port in &round.ports {
            let Some(visit) = self.end_visit(port) else { continue };
            let missed = !self.ports[port].carried;
            self.ports[port].misses += u32::from(missed && is_fair);
            self.single_misses += u32::from(missed && round.kind == Ask::Single);
            if absent.contains(&port) && is_witnessed && !self.ports[port].alive {
                self.ports[port].absences += 1;
            }
            if round.kind == Ask::Visit {
                self.weigh(port, &visit);
            }
        }
    }

    fn end_visit(&mut self, port: usize) -> Option<Visit> {
        self.ports[port].visit.take()
    }

    /// What a visit says of the size under test.
    fn weigh(&mut self, port: usize, visit: &Visit) {
        let (expected, small) = (self.expected, self.small);
        let port = &mut self.ports[port];
        let tested = port.tested(expected);
        let Some(witness) = visit.witness().filter(|&witness| visit.is_answered(witness)) else {
            let asked_named = port.named().filter(|&named| visit.witness() == Some(named));
            if asked_named.is_some() && tested == expected {
                (port.named_missed, port.silences) = (true, 0);
            }
            return;
        };
        let is_close = !self.limited || visit.span() <= CLOSE;
        if tested < expected && visit.is_answered(tested) {
            (port.named_missed, port.silences) = (false, 0);
        } else if visit.is_signalled(tested) {
            port.confirm(witness);
        } else if is_close && small <= witness && witness < tested {
            port.silences += visit.times(tested);
        }
    }
}
