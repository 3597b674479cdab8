//! Everything in any order: probes leave late or not at all, answers come twice, too late, for probes that were not
//! sent, by whoever, saying whatever.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::{Machine, router, target};
use crate::path::{Answer, Carrier, NotSent, Probe, Refusal, Step};
use crate::units::{Family, IpSize, Mono};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(in crate::path) struct Happening {
    what: u8,
    /// Which of the probes that it may happen to.
    pick: usize,
    size: u32,
    who: u8,
    millis: u64,
}

pub(in crate::path) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = (0u8..20, any::<usize>(), 0u32..70_000, 0u8..6, 0u64..120);
    let one = one.prop_map(|(what, pick, size, who, millis)| Happening { what, pick, size, who, millis });
    proptest::collection::vec(one, 0..120)
}

/// What a machine said, and what it was told.
#[derive(Debug)]
pub(in crate::path) struct Told<T> {
    pub out: T,
    /// Probes that left.
    pub left: Vec<Probe>,
    /// Probes that the target was said to have answered.
    pub carried: Vec<Probe>,
    /// Probes that some hop was said to have seen.
    pub expired: Vec<Probe>,
    /// Probes that were refused, or called too big.
    pub refused: Vec<Probe>,
}

impl<T> Told<T> {
    pub(in crate::path) fn sent(&self) -> u32 {
        self.left.len() as u32
    }
}

/// Lets all that happen to a machine, then leaves it in silence until it ends.
pub(in crate::path) fn unleash<M: Machine>(mut machine: M, happenings: &[Happening]) -> Told<M::Yield> {
    let mut now = Mono::default();
    let mut happenings = happenings.iter();
    let (mut asked, mut waiting) = (Vec::new(), Vec::new());
    let (mut left, mut carried, mut expired, mut refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20_000 {
        let wait = match machine.poll(now) {
            Step::Done(out) => return Told { out: *out, left, carried, expired, refused },
            Step::Send(probe) => {
                asked.push(probe);
                waiting.push(probe);
                continue;
            }
            Step::Wait(until) => until,
        };
        assert!(wait > now, "waits for the past: {machine:?}");
        let Some(&Happening { what, pick, size, who, millis }) = happenings.next() else {
            match waiting.pop() {
                Some(probe) => {
                    left.push(probe);
                    machine.on_sent(probe, now);
                }
                None => now = wait,
            }
            continue;
        };
        now = now + Duration::from_millis(millis / 4);
        if what < 10 && !waiting.is_empty() {
            let probe = waiting.remove(pick % waiting.len());
            if what == 0 {
                machine.on_answer(probe, Answer::NotSent { why: refusal(who) }, now);
            } else {
                left.push(probe);
                machine.on_sent(probe, now);
            }
            continue;
        }
        let made_up = Probe { carrier: Carrier::Echo, size: IpSize::new(size), ttl: (who > 2).then_some(who) };
        let probe = if asked.is_empty() || what == 19 { made_up } else { asked[pick % asked.len()] };
        let answer = answer(what, size, who, millis);
        match answer {
            _ if !asked.contains(&probe) => {}
            Answer::Carried { .. } => carried.push(probe),
            Answer::Expired { .. } => expired.push(probe),
            Answer::Refused { .. } | Answer::TooBig { .. } => refused.push(probe),
            _ => {}
        }
        machine.on_answer(probe, answer, now);
    }
    panic!("it does not end: {machine:?}");
}

const fn refusal(who: u8) -> NotSent {
    match who {
        0 => NotSent::TooLarge,
        1 => NotSent::NoRoute,
        2 => NotSent::Filtered,
        _ => NotSent::Other(11),
    }
}

fn answer(what: u8, size: u32, who: u8, millis: u64) -> Answer {
    let round_trip = (who > 0).then_some(Duration::from_millis(millis));
    let by: IpAddr = if who == 5 { target(Family::Ipv4) } else { router(Family::Ipv4, who) };
    match what {
        10..13 => Answer::Carried { round_trip, fragment: None },
        13 => Answer::Carried { round_trip, fragment: Some(IpSize::new(size)) },
        14 => Answer::TooBig { by, mtu: (who > 1).then_some(IpSize::new(size)) },
        15 => Answer::Refused { by, why: Refusal::Prohibited },
        16 => Answer::Silent,
        _ => Answer::Expired { by, round_trip },
    }
}
