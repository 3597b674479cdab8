//! A network for tests of what follows the search: routers that count hops, limits of one way, answers that are cut,
//! filters, limits in rate, loss. And a world without any rule, in which everything comes in any order.

pub(super) mod chaos;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::course::Course;
use super::direction::{Direction, Ways, largest_error};
use super::hop::{Hops, Trace};
use super::{Answer, Carrier, Learned, NotSent, Probe, Step};
use crate::units::{Family, IpSize, Mono};

/// One way over one link, forwards: from the node before it to the node behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The largest packet there, and whether the router before it says so.
    pub there: u32,
    pub signals: bool,
    /// The largest packet back, and whether the router behind it cuts (or, over IPv6, says so) or drops.
    pub back: u32,
    pub cuts: bool,
}

const WIDE: Link = Link { there: 65_535, signals: false, back: 65_535, cuts: false };

/// The target, as a node whose errors are limited in rate.
pub(super) const TARGET: usize = usize::MAX;

/// Linux's limit of ICMP errors to one asker (`net.ipv4.icmp_ratelimit`): six at once, then one a second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Mono,
}

impl Bucket {
    const SIZE: f64 = 6.0;

    fn take(&mut self, now: Mono) -> bool {
        self.tokens = (self.tokens + now.since(self.at).as_secs_f64()).min(Self::SIZE);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        self.tokens -= if allowed { 1.0 } else { 0.0 };
        allowed
    }
}

/// A line of routers, and the target at its end.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub family: Family,
    /// One more than there are routers.
    pub links: Vec<Link>,
    /// Routers, from 1, that say nothing when a packet ends there.
    pub silent: Vec<u8>,
    /// A router that passes large packets on, and answers none above a size.
    pub deaf_above: Option<(u8, u32)>,
    /// A router with two faces: it answers from another address every other time.
    pub two_faced: Option<u8>,
    /// The largest size that the kernel here takes.
    pub local: u32,
    /// Sizes from this one on that a filter here drops.
    pub filtered: u32,
    pub echo: bool,
    pub timestamps: bool,
    pub datagrams: bool,
    /// The target answers nothing from this time on.
    pub dies: Option<Duration>,
    /// Time to cross one link.
    pub delay: Duration,
    /// What an answer is late by, at most.
    pub jitter: Duration,
    /// Answers to what is larger than this are late by so much.
    pub dawdles: Option<(u32, Duration)>,
    /// How long a probe waits before it leaves.
    pub held: Duration,
    /// Probability of loss on each way.
    pub loss: f64,
    pub seed: u64,
    pub state: State,
}

/// What changes while packets go by.
#[derive(Clone, Debug)]
pub(super) struct State {
    buckets: BTreeMap<usize, Bucket>,
    /// What the target was told of the way back (IPv6).
    learned: u32,
    answered: u32,
}

impl Net {
    /// `routers` routers, and nothing wrong.
    pub(super) fn line(routers: usize) -> Self {
        Self {
            family: Family::Ipv4,
            links: vec![WIDE; routers + 1],
            silent: Vec::new(),
            deaf_above: None,
            two_faced: None,
            local: 65_535,
            filtered: 65_536,
            echo: true,
            timestamps: true,
            datagrams: true,
            dies: None,
            delay: Duration::from_micros(100),
            jitter: Duration::ZERO,
            dawdles: None,
            held: Duration::ZERO,
            loss: 0.0,
            seed: 1,
            state: State { buckets: BTreeMap::new(), learned: 65_535, answered: 0 },
        }
    }

    pub(super) fn ipv6(self) -> Self {
        Self { family: Family::Ipv6, ..self }
    }

    /// The way there vanishes above `mtu` on the link behind the router `after` (0: this machine).
    pub(super) fn hole(mut self, after: usize, mtu: u32) -> Self {
        self.links[after].there = mtu;
        self
    }

    /// The router `after` says that no more than `mtu` fits behind it.
    pub(super) fn signalled(mut self, after: usize, mtu: u32) -> Self {
        self.links[after] = Link { there: mtu, signals: true, ..self.links[after] };
        self
    }

    /// The way back vanishes above `mtu` on the link behind the router `after`.
    pub(super) fn hole_back(mut self, after: usize, mtu: u32) -> Self {
        self.links[after].back = mtu;
        self
    }

    /// The way back is cut to `mtu` there.
    pub(super) fn cut_back(mut self, after: usize, mtu: u32) -> Self {
        self.links[after] = Link { back: mtu, cuts: true, ..self.links[after] };
        self
    }

    pub(super) fn lossy(self, loss: f64, seed: u64) -> Self {
        Self { loss, seed: seed << 20, ..self }
    }

    /// So many ICMP errors of a node (routers count from 0) went to other probes of ours.
    pub(super) fn exhaust(&mut self, node: usize, errors: u32) {
        let tokens = Bucket::SIZE - f64::from(errors);
        self.state.buckets.insert(node, Bucket { tokens, at: Mono::default() });
    }

    /// The address of the router at this distance.
    pub(super) const fn router(&self, ttl: u8) -> IpAddr {
        router(self.family, ttl)
    }

    fn lost(&mut self) -> bool {
        self.random() < self.loss
    }

    /// What the answer to so large a packet is late by.
    fn late(&mut self, bytes: u32) -> Duration {
        let dawdles = self.dawdles.filter(|&(size, _)| bytes > size).map_or(Duration::ZERO, |(_, late)| late);
        if self.jitter.is_zero() { dawdles } else { dawdles + self.jitter.mul_f64(self.random()) }
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

    fn refusal(&self, probe: Probe) -> Option<NotSent> {
        let bytes = probe.size.bytes();
        if bytes > self.local {
            return Some(NotSent::TooLarge);
        }
        (bytes >= self.filtered).then_some(NotSent::Filtered)
    }

    /// What comes back of a probe that leaves now, and after how long.
    fn answer(&mut self, probe: Probe, now: Mono) -> Option<(Duration, Answer)> {
        let bytes = probe.size.bytes();
        if self.lost() {
            return None;
        }
        for index in 0..self.links.len() {
            let (link, ttl) = (self.links[index], index as u8 + 1);
            if bytes > link.there {
                let mtu = Some(IpSize::new(link.there));
                let complaint = Answer::TooBig { by: self.router(ttl - 1), mtu };
                return (link.signals && index > 0).then(|| self.error(bytes, index, complaint))?;
            }
            if ttl as usize == self.links.len() {
                break;
            }
            if probe.ttl == Some(ttl) {
                let is_deaf = self.deaf_above.is_some_and(|(router, size)| router == ttl && bytes > size);
                let is_silent = is_deaf || self.silent.contains(&ttl) || !self.allows(index, now);
                return (!is_silent).then(|| self.expired(bytes, ttl))?;
            }
        }
        self.at_target(probe, now)
    }

    fn allows(&mut self, node: usize, now: Mono) -> bool {
        self.state.buckets.entry(node).or_insert(Bucket { tokens: Bucket::SIZE, at: now }).take(now)
    }

    fn expired(&mut self, bytes: u32, ttl: u8) -> Option<(Duration, Answer)> {
        self.state.answered += 1;
        let other = self.two_faced == Some(ttl) && self.state.answered % 2 == 1;
        let by = self.router(if other { ttl + 100 } else { ttl });
        let round_trip = Some(self.delay * 2 * u32::from(ttl));
        self.error(bytes, ttl.into(), Answer::Expired { by, round_trip })
    }

    /// An ICMP error about `bytes`, from the node behind so many links.
    fn error(&mut self, bytes: u32, links: usize, answer: Answer) -> Option<(Duration, Answer)> {
        let size = (bytes + self.family.header() + 8).min(largest_error(self.family).bytes());
        self.back(size, links)?;
        Some((self.delay * 2 * links as u32, answer))
    }

    fn at_target(&mut self, probe: Probe, now: Mono) -> Option<(Duration, Answer)> {
        if self.dies.is_some_and(|at| now.since_start() >= at) {
            return None;
        }
        let (links, bytes) = (self.links.len(), probe.size.bytes());
        let round_trip = self.delay * 2 * links as u32;
        let size = match probe.carrier {
            Carrier::Echo if self.echo => bytes,
            Carrier::Timestamp if self.timestamps && self.family == Family::Ipv4 => 40,
            Carrier::Vxlan { .. } => 90,
            Carrier::Sweep { .. } if self.datagrams && self.allows(TARGET, now) => {
                (bytes + self.family.header() + 8).min(largest_error(self.family).bytes())
            }
            _ => return None,
        };
        let fragment = self.back(size, links)?;
        Some((round_trip, Answer::Carried { round_trip: Some(round_trip), fragment: fragment.map(IpSize::new) }))
    }

    /// The largest fragment in which an answer arrives here, if it is cut; `None` if it does not arrive.
    fn back(&mut self, size: u32, links: usize) -> Option<Option<u32>> {
        let cut = |mtu: u32, header: u32| header + (mtu - header) / 8 * 8;
        let (mut size, mut fragment) = (size, None);
        if self.family == Family::Ipv6 && size > self.state.learned && links == self.links.len() {
            size = cut(self.state.learned, 48);
            fragment = Some(size);
        }
        for index in (0..links).rev() {
            let link = self.links[index];
            if size <= link.back {
                continue;
            }
            if !link.cuts {
                return None;
            }
            if self.family == Family::Ipv6 {
                self.state.learned = self.state.learned.min(link.back);
                return None;
            }
            size = cut(link.back, 20);
            fragment = Some(size);
        }
        (!self.lost()).then_some(fragment)
    }
}

pub(super) const fn target(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 12)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 12)),
    }
}

pub(super) const fn router(family: Family, ttl: u8) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, 9, 0, ttl)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, ttl as u16)),
    }
}

/// What has two verbs.
pub(super) trait Machine: std::fmt::Debug {
    type Yield;
    fn on_sent(&mut self, probe: Probe, now: Mono);
    fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono);
    fn poll(&mut self, now: Mono) -> Step<Self::Yield>;
}

macro_rules! machines {
    ($($machine:ty => $yield:ty),*) => {$(
        impl Machine for $machine {
            type Yield = $yield;
            fn on_sent(&mut self, probe: Probe, now: Mono) {
                <$machine>::on_sent(self, probe, now);
            }
            fn on_answer(&mut self, probe: Probe, answer: Answer, now: Mono) {
                <$machine>::on_answer(self, probe, answer, now);
            }
            fn poll(&mut self, now: Mono) -> Step<$yield> {
                <$machine>::poll(self, now)
            }
        }
    )*};
}

machines!(Course => Learned, Direction => Ways, Hops => Trace);

/// How it went.
#[derive(Debug)]
pub(super) struct Played<T> {
    pub out: T,
    /// Every probe that left, in order.
    pub left: Vec<Probe>,
    pub took: Duration,
}

impl<T> Played<T> {
    /// What left, in words; repeats are counted.
    pub(super) fn log(&self) -> String {
        let chunks = self.left.chunk_by(|one, other| one == other);
        let words = chunks.map(|chunk| match chunk.len() {
            1 => word(chunk[0]),
            times => format!("{} x{times}", word(chunk[0])),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

fn word(probe: Probe) -> String {
    let carrier = match probe.carrier {
        Carrier::Echo => "echo",
        Carrier::Timestamp => "time",
        Carrier::Sweep { .. } => "udp",
        Carrier::Vxlan { .. } => "vxlan",
        Carrier::Udp { .. } | Carrier::Tcp { .. } => "other",
    };
    let ttl = probe.ttl.map_or_else(String::new, |ttl| format!("@{ttl}"));
    format!("{carrier} {}{ttl}", probe.size)
}

enum Event {
    Leaves(Probe),
    Answered(Probe, Answer),
}

/// The same answer, so much later.
pub(super) fn later(answer: Answer, late: Duration) -> Answer {
    let add = |round_trip: Option<Duration>| round_trip.map(|time| time + late);
    match answer {
        Answer::Carried { round_trip, fragment } => Answer::Carried { round_trip: add(round_trip), fragment },
        Answer::Expired { by, round_trip } => Answer::Expired { by, round_trip: add(round_trip) },
        other => other,
    }
}

/// Drives a machine over a network to its end.
pub(super) fn play<M: Machine>(mut machine: M, net: &mut Net) -> Played<M::Yield> {
    let (mut now, mut number) = (Mono::default(), 0);
    let mut coming: BTreeMap<(Mono, u64), Event> = BTreeMap::new();
    let mut left = Vec::new();
    for _ in 0..10_000 {
        match machine.poll(now) {
            Step::Done(out) => return Played { out: *out, left, took: now.since_start() },
            Step::Send(probe) => {
                number += 1;
                coming.insert((now + net.held, number), Event::Leaves(probe));
            }
            Step::Wait(until) => {
                assert!(until > now, "waits for the past: {machine:?}");
                let next = coming.keys().next().map_or(until, |&(at, _)| at.min(until));
                now = now.max(next);
            }
        }
        let due = coming.first_entry().filter(|event| event.key().0 <= now).map(|event| event.remove());
        match due {
            Some(Event::Answered(probe, answer)) => machine.on_answer(probe, answer, now),
            Some(Event::Leaves(probe)) => {
                if let Some(why) = net.refusal(probe) {
                    machine.on_answer(probe, Answer::NotSent { why }, now);
                    continue;
                }
                left.push(probe);
                machine.on_sent(probe, now);
                if let Some((after, answer)) = net.answer(probe, now) {
                    number += 1;
                    let late = net.late(probe.size.bytes());
                    coming.insert((now + after + late, number), Event::Answered(probe, later(answer, late)));
                }
            }
            None => {}
        }
    }
    panic!("it does not end: {machine:?}");
}
