//! A path for tests: hops that signal or not, loss, latency, forged errors, a link of this machine, other protocols.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Lane, REFERENCE, Search};
use crate::path::simulation::later;
use crate::path::{Answer, Carrier, Measured, NotSent, Probe, Refusal, Step, Verdict};
use crate::units::{Family, IpSize, Mono};

pub(super) const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 12));

/// The address of the hop `number`.
pub(super) const fn router(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 9, 0, number))
}

pub(super) fn lane(expected: u32) -> Lane {
    let (expected, floor) = (IpSize::new(expected), Family::Ipv4.floor());
    let small = REFERENCE.min(expected);
    Lane { address: TARGET, carrier: Carrier::Echo, expected, small, floor, reaches: true }
}

/// What a hop does with what is too big for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    Names(u32),
    NamesNothing,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub mtu: u32,
    pub signal: Signal,
}

/// The way to the target.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub one_way: Duration,
    /// What an answer is late by, at most.
    pub jitter: Duration,
    pub hops: Vec<Hop>,
    /// Probability of loss on each way.
    pub loss: f64,
    pub seed: u64,
    /// The largest size that the kernel here takes.
    pub local: Option<u32>,
    /// From this time on the kernel here takes no more than this.
    pub shrinks: Option<(Duration, u32)>,
    /// Sizes that the kernel here refuses to send, and why.
    pub refuses: BTreeMap<u32, NotSent>,
    /// Errors that come although nothing is wrong: after a probe of this size, so much later, by hop 99.
    pub forged: Vec<(u32, Duration, Answer)>,
    /// Echo is answered.
    pub echo: bool,
    /// Echoes of the reference's size are answered.
    pub small: bool,
    /// Nothing is answered from this time on.
    pub dies: Option<Duration>,
    /// What other protocols, and echo where it is not answered, get back.
    pub others: BTreeMap<&'static str, (Duration, Answer)>,
    /// How long a probe waits before it leaves.
    pub held: Duration,
}

impl Network {
    pub(super) fn clean() -> Self {
        Self {
            one_way: Duration::from_micros(100),
            jitter: Duration::ZERO,
            hops: Vec::new(),
            loss: 0.0,
            seed: 1,
            local: None,
            shrinks: None,
            refuses: BTreeMap::new(),
            forged: Vec::new(),
            echo: true,
            small: true,
            dies: None,
            others: BTreeMap::new(),
            held: Duration::ZERO,
        }
    }

    pub(super) fn with(hops: impl IntoIterator<Item = (u32, Signal)>) -> Self {
        Self { hops: hops.into_iter().map(|(mtu, signal)| Hop { mtu, signal }).collect(), ..Self::clean() }
    }

    pub(super) fn black_hole(carries: u32) -> Self {
        Self::with([(carries, Signal::Nothing)])
    }

    pub(super) fn lossy(self, loss: f64, seed: u64) -> Self {
        Self { loss, seed, ..self }
    }

    fn lost(&mut self) -> bool {
        self.random() < self.loss
    }

    /// From 0 to 1, by splitmix64: the same seed gives the same losses.
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }

    fn refusal(&self, probe: Probe, now: Mono) -> Option<NotSent> {
        if probe.carrier != Carrier::Echo {
            return None;
        }
        let shrunk = self.shrinks.filter(|&(at, _)| now.since_start() >= at).map(|(_, mtu)| mtu);
        let too_large = self.local.into_iter().chain(shrunk).any(|mtu| probe.size.bytes() > mtu);
        self.refuses.get(&probe.size.bytes()).copied().or(too_large.then_some(NotSent::TooLarge))
    }

    /// What comes back of a probe that left, and after how long.
    fn answers(&mut self, probe: Probe, now: Mono) -> Vec<(Duration, Answer)> {
        let forged = self.forged.iter().filter(|(size, ..)| probe.size.bytes() == *size);
        let mut answers: Vec<_> = forged.map(|(_, after, answer)| (*after, answer.clone())).collect();
        let lost = self.lost() | self.lost();
        if !lost && self.dies.is_none_or(|at| now.since_start() < at) {
            let late = if self.jitter.is_zero() { Duration::ZERO } else { self.jitter.mul_f64(self.random()) };
            answers.extend(self.honest_answer(probe).map(|(after, answer)| (after + late, later(answer, late))));
        }
        answers
    }

    fn honest_answer(&self, probe: Probe) -> Option<(Duration, Answer)> {
        let round_trip = self.one_way * 2;
        let kind = match probe.carrier {
            Carrier::Udp { .. } => "udp",
            Carrier::Tcp { port: 9747 } => "tcp/9747",
            Carrier::Tcp { .. } => "tcp",
            _ => "echo",
        };
        let is_small = probe.size.bytes() <= 84;
        if kind != "echo" || !self.echo || (is_small && !self.small) {
            return self.others.get(kind).cloned();
        }
        let hop = self.hops.iter().enumerate().find(|(_, hop)| probe.size.bytes() > hop.mtu);
        let Some((index, hop)) = hop else {
            return Some((round_trip, Answer::Carried { round_trip: Some(round_trip), fragment: None }));
        };
        let mtu = match hop.signal {
            Signal::Names(mtu) => Some(IpSize::new(mtu)),
            Signal::NamesNothing => None,
            Signal::Nothing => return None,
        };
        Some((self.one_way, Answer::TooBig { by: router(index as u8 + 1), mtu }))
    }
}

/// How a search went.
#[derive(Debug)]
pub(super) struct Run {
    pub measured: Measured,
    /// Sizes of echoes that left, in order.
    pub sizes: Vec<u32>,
    /// Sizes of echoes that the kernel was asked to send and did not.
    pub not_sent: Vec<u32>,
    /// Probes of other protocols, in order.
    pub others: Vec<Carrier>,
}

impl Run {
    pub(super) fn took(&self) -> Duration {
        self.measured.at.since_start()
    }

    pub(super) fn verdict(&self) -> &Verdict {
        &self.measured.verdict
    }
}

/// Drives a search over `network` to its end.
pub(super) fn drive(expected: u32, mut network: Network) -> Run {
    let mut now = Mono::default();
    let mut search = Search::new(lane(expected), now);
    let mut coming: BTreeMap<(Mono, u64), Event> = BTreeMap::new();
    let mut number = 0;
    let (mut sizes, mut not_sent, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10_000 {
        match search.poll(now) {
            Step::Done(measured) => return Run { measured: *measured, sizes, not_sent, others },
            Step::Send(probe) => {
                number += 1;
                coming.insert((now + network.held, number), Event::Leaves(probe));
            }
            Step::Wait(until) => {
                assert!(until > now, "waits for the past");
                let next = coming.keys().next().map_or(until, |&(at, _)| at.min(until));
                now = now.max(next);
            }
        }
        while let Some(event) = coming.first_entry().filter(|event| event.key().0 <= now).map(|event| event.remove()) {
            match event {
                Event::Answered(probe, answer) => search.on_answer(probe, answer, now),
                Event::Leaves(probe) => {
                    if let Some(why) = network.refusal(probe, now) {
                        not_sent.push(probe.size.bytes());
                        search.on_answer(probe, Answer::NotSent { why }, now);
                        continue;
                    }
                    match probe.carrier {
                        Carrier::Echo => sizes.push(probe.size.bytes()),
                        carrier => others.push(carrier),
                    }
                    search.on_sent(probe, now);
                    for (after, answer) in network.answers(probe, now) {
                        number += 1;
                        coming.insert((now + after, number), Event::Answered(probe, answer));
                    }
                }
            }
        }
    }
    panic!("the search does not end: {search:?}");
}

enum Event {
    Leaves(Probe),
    Answered(Probe, Answer),
}

/// "Port unreachable" and the like, by `by`.
pub(super) fn refused(by: IpAddr, why: Refusal) -> Answer {
    Answer::Refused { by, why }
}
