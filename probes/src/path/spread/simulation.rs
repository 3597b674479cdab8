//! A network for tests: paths of equal cost that a flow is hashed onto, loss, and a target that limits its answers as
//! Linux does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Fate, Spread, Swept};
use crate::path::{Answer, Carrier, NotSent, Probe, Step};
use crate::units::{IpSize, Mono};

pub(super) const FULL: u32 = 1500;
pub(super) const SMALL: u32 = 84;
pub(super) const MS: Duration = Duration::from_millis(1);

/// The address of the hop on a path.
pub(super) const fn router(path: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 9, 0, path))
}

/// What one path does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Good,
    /// Carries so much, and calls more too big.
    Names(u32),
    /// Carries so much, and calls more too big without saying how much it would carry.
    NamesNothing(u32),
    /// Carries so much; more vanishes.
    Swallows(u32),
    /// Says that so much would fit, but behind it more than the second vanishes.
    NamesTooMuch(u32, u32),
    Dead,
}

/// `inet_peer_xrlim_allow` of `net/ipv4/inetpeer.c`: an answer costs a second, six seconds are saved at most, and a
/// refused answer costs nothing.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    saved: u128,
    last: u128,
    /// How often somebody else on this machine asks, and when next.
    pub others: Option<(u128, u128)>,
}

impl Limiter {
    pub(super) fn linux() -> Self {
        Self { saved: 6000, last: 0, others: None }
    }

    /// Somebody else asks every so many milliseconds.
    pub(super) fn shared(every: u128) -> Self {
        Self { others: Some((every, 0)), ..Self::linux() }
    }

    fn allows(&mut self, now: Mono) -> bool {
        let now = now.since_start().as_millis();
        while let Some((every, at)) = self.others.filter(|&(_, at)| at <= now) {
            self.others = Some((every, at + every));
            self.take(at);
        }
        self.take(now)
    }

    fn take(&mut self, now: u128) -> bool {
        self.saved = (self.saved + now.saturating_sub(self.last)).min(6000);
        self.last = self.last.max(now);
        let allowed = self.saved >= 1000;
        self.saved -= if allowed { 1000 } else { 0 };
        allowed
    }
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub paths: Vec<Path>,
    pub one_way: Duration,
    /// How much later each path is than the one before it.
    pub uneven: Duration,
    /// Probability of loss on each way.
    pub loss: f64,
    pub seed: u64,
    /// What flows are hashed with.
    pub hash: u64,
    /// How the target limits its answers.
    pub limiter: Option<Limiter>,
    /// How routers limit "too big".
    pub router_limiter: Option<Limiter>,
    /// How long a probe waits before it leaves.
    pub held: Duration,
    /// The least time between two packets that leave.
    pub gap: Duration,
    /// Ports of which the kernel here refuses so many sends, and why.
    pub refuses: BTreeMap<u16, (u32, NotSent)>,
    /// Errors that come although nothing is wrong, right after the full size of a port leaves: so much would fit.
    pub forged: BTreeMap<u16, u32>,
    /// The path that each port takes; the others are hashed.
    pub pinned: BTreeMap<u16, usize>,
}

impl Network {
    /// Paths that ports are hashed onto, answers not limited.
    pub(super) fn of(paths: impl Into<Vec<Path>>) -> Self {
        Self {
            paths: paths.into(),
            one_way: 100 * Duration::from_micros(1),
            uneven: Duration::ZERO,
            loss: 0.0,
            seed: 1,
            hash: 1,
            limiter: None,
            router_limiter: None,
            held: Duration::ZERO,
            gap: Duration::ZERO,
            refuses: BTreeMap::new(),
            forged: BTreeMap::new(),
            pinned: BTreeMap::new(),
        }
    }

    /// One path for each port, in order.
    pub(super) fn each(paths: &[Path]) -> Self {
        let pinned = (0..paths.len()).map(|path| (path as u16, path)).collect();
        Self { pinned, ..Self::of(paths) }
    }

    /// The target is asked at a closed UDP port.
    pub(super) fn limited(self) -> Self {
        Self { limiter: Some(Limiter::linux()), ..self }
    }

    pub(super) fn lossy(self, loss: f64, seed: u64) -> Self {
        Self { loss, seed, hash: seed, ..self }
    }

    /// Which path the flow from a port takes.
    pub(super) fn path(&self, source: u16) -> usize {
        let hash = mix(mix(self.hash) ^ u64::from(source)) as usize % self.paths.len();
        self.pinned.get(&source).copied().unwrap_or(hash)
    }

    /// The same seed gives the same losses.
    fn lost(&mut self) -> bool {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((mix(self.seed) >> 11) as f64) < self.loss * (1u64 << 53) as f64
    }

    fn way(&self, path: usize) -> Duration {
        self.one_way + self.uneven * path as u32
    }

    fn refusal(&mut self, probe: Probe) -> Option<NotSent> {
        let (times, why) = self.refuses.get_mut(&source(probe))?;
        *times = times.checked_sub(1)?;
        Some(*why)
    }

    /// What becomes of a probe that left: the time at which it is somewhere, and what happens then.
    fn route(&mut self, probe: Probe, path: usize, now: Mono) -> Option<(Mono, Event)> {
        let size = probe.size.bytes();
        let hop = now + self.way(path) / 2;
        let says = |mtu: Option<u32>| Event::Hop(probe, router(path as u8), mtu.map(IpSize::new));
        if self.lost() {
            return None;
        }
        match self.paths[path] {
            Path::Names(mtu) | Path::NamesTooMuch(mtu, _) if size > mtu => Some((hop, says(Some(mtu)))),
            Path::NamesNothing(mtu) if size > mtu => Some((hop, says(None))),
            Path::Swallows(mtu) | Path::NamesTooMuch(_, mtu) if size > mtu => None,
            Path::Dead => None,
            _ => Some((now + self.way(path), Event::Arrives(probe, path))),
        }
    }
}

/// The splitmix64 finalizer.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn source(probe: Probe) -> u16 {
    let (Carrier::Sweep { source } | Carrier::Vxlan { source }) = probe.carrier else { panic!("{probe:?}") };
    source
}

/// What happens on the way.
#[derive(Clone, Debug)]
enum Event {
    Leaves(Probe),
    Arrives(Probe, usize),
    /// At a router that calls it too big.
    Hop(Probe, IpAddr, Option<IpSize>),
    Answered(Probe, Answer),
}

/// How a sweep went.
#[derive(Debug)]
pub(super) struct Run {
    pub swept: Swept,
    /// Port and size of what left, in order.
    pub left: Vec<(u16, u32)>,
    /// When the first packet left.
    pub began: Mono,
    /// Ports that were answered at the full size, as far as the sweep was told.
    pub answered: Vec<u16>,
    pub network: Network,
}

impl Run {
    pub(super) fn took(&self) -> Duration {
        self.swept.at.since(self.began)
    }

    pub(super) fn fates(&self) -> Vec<Fate> {
        self.swept.ports.iter().map(|&(_, fate)| fate).collect()
    }

    /// Sizes that left from a port, in order.
    pub(super) fn sizes(&self, port: u16) -> Vec<u32> {
        self.left.iter().filter(|(from, _)| *from == port).map(|&(_, size)| size).collect()
    }

    /// Whether no port is called anything that its path is not; unknown is no lie.
    pub(super) fn is_true(&self) -> bool {
        self.swept.ports.iter().all(|&(port, fate)| match (self.network.paths[self.network.path(port)], fate) {
            (_, Fate::Unknown) | (Path::Good, Fate::Carried) | (Path::Dead, Fate::Dead) => true,
            (Path::Names(mtu), Fate::Limited { carries, .. }) => carries == Some(IpSize::new(mtu)),
            (Path::NamesNothing(_), Fate::Limited { carries, .. }) => carries == Some(IpSize::new(SMALL)),
            (Path::Swallows(_) | Path::NamesTooMuch(..), Fate::Swallowed) => true,
            _ => false,
        })
    }
}

/// Drives a sweep of the first `ports` ports over `network` to its end.
pub(super) fn drive(ports: u16, mut network: Network) -> Run {
    let mut now = Mono::default();
    let limited = network.limiter.is_some();
    let (small, full) = (IpSize::new(SMALL), IpSize::new(FULL));
    let mut spread = Spread::new((0..ports).collect(), |source| Carrier::Sweep { source }, small, full, limited, now);
    let mut coming: BTreeMap<(Mono, u64), Event> = BTreeMap::new();
    let (mut number, mut next_leaves) = (0, now);
    let (mut left, mut answered, mut began) = (Vec::new(), Vec::new(), None);
    let mut add = |coming: &mut BTreeMap<_, _>, at, event| {
        number += 1;
        coming.insert((at, number), event);
    };
    for _ in 0..200_000 {
        match spread.poll(now) {
            Step::Done(swept) => {
                return Run { swept: *swept, left, began: began.unwrap_or_default(), answered, network };
            }
            Step::Send(probe) => {
                next_leaves = next_leaves.max(now + network.held) + network.gap;
                add(&mut coming, next_leaves - network.gap, Event::Leaves(probe));
            }
            Step::Wait(until) => {
                assert!(until > now, "waits for the past");
                let next = coming.keys().next().map_or(until, |&(at, _)| at.min(until));
                now = now.max(next);
            }
        }
        while let Some(event) = coming.first_entry().filter(|event| event.key().0 <= now).map(|event| event.remove()) {
            match event {
                Event::Leaves(probe) => {
                    if let Some(why) = network.refusal(probe) {
                        spread.on_answer(probe, Answer::NotSent { why }, now);
                        continue;
                    }
                    let (port, size) = (source(probe), probe.size.bytes());
                    left.push((port, size));
                    began.get_or_insert(now);
                    spread.on_sent(probe, now);
                    if let Some(&mtu) = network.forged.get(&port).filter(|_| size == FULL) {
                        let answer = Answer::TooBig { by: router(99), mtu: Some(IpSize::new(mtu)) };
                        add(&mut coming, now, Event::Answered(probe, answer));
                    }
                    if let Some((at, event)) = network.route(probe, network.path(port), now) {
                        add(&mut coming, at, event);
                    }
                }
                Event::Arrives(probe, path) => {
                    let allowed = network.limiter.as_mut().is_none_or(|limiter| limiter.allows(now));
                    let way = network.way(path);
                    let answer = Answer::Carried { round_trip: Some(way * 2), fragment: None };
                    if allowed && !network.lost() {
                        add(&mut coming, now + way, Event::Answered(probe, answer));
                    }
                }
                Event::Hop(probe, by, mtu) => {
                    let allowed = network.router_limiter.as_mut().is_none_or(|limiter| limiter.allows(now));
                    let back = now + network.one_way / 2;
                    if allowed && !network.lost() {
                        add(&mut coming, back, Event::Answered(probe, Answer::TooBig { by, mtu }));
                    }
                }
                Event::Answered(probe, answer) => {
                    if matches!(answer, Answer::Carried { .. }) && probe.size.bytes() == FULL {
                        answered.push(source(probe));
                    }
                    spread.on_answer(probe, answer, now);
                }
            }
        }
    }
    panic!("the sweep does not end: {spread:?}");
}
