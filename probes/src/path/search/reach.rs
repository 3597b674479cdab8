//! Is anybody there? What to do while nothing is answered.
//!
//! Three references, over [`WINDOW`]: a neighbour that does not answer is given up by the kernel only after 3.08 s
//! (three solicitations, one second apart), and only then does "host unreachable" come, from this machine's own
//! address. Meanwhile UDP ports that nobody listens on, and TCP ports that a node has, are tried: hosts that filter
//! ICMP echo answer those with port unreachable, SYN-ACK or RST. Then the host is there and the path MTU is unknown,
//! which is another thing than unreachable.

use std::net::IpAddr;
use std::time::Duration;

use super::Search;
use crate::path::{Answer, Carrier, NotSent, Probe, Refusal, Unreachable, Verdict, spread};
use crate::units::Mono;

/// From the first reference to the verdict that nothing answers.
pub(crate) const WINDOW: Duration = Duration::from_millis(3500);
/// How long a TCP attempt may take.
pub(crate) const TCP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses before the second and the third reference.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1000)];
/// How long an answer to the last reference or to a UDP probe is waited for.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Beyond [`TCP_TIMEOUT`], when a TCP attempt is given up though nobody said how it went.
const TCP_GRACE: Duration = Duration::from_secs(1);
/// traceroute's first port and the next two: three, for error messages are limited in rate. Then this agent's own
/// port and the kubelet's.
const OTHERS: [Carrier; 5] = [
    Carrier::Udp { port: 33_434 },
    Carrier::Udp { port: 33_435 },
    Carrier::Udp { port: 33_436 },
    Carrier::Tcp { port: 9747 },
    Carrier::Tcp { port: 10_250 },
];

/// What was seen while nothing was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// When the first reference left.
    pub first: Option<Mono>,
    refused: Option<(IpAddr, Refusal)>,
    /// What says that the host is there.
    alive: Option<String>,
    /// What this machine had no means to try.
    untried: Option<(Carrier, i32)>,
    others: Vec<Other>,
}

/// One probe of another protocol.
#[derive(Clone, Debug)]
struct Other {
    carrier: Carrier,
    left: Option<Mono>,
    over: bool,
}

impl Other {
    fn deadline(&self) -> Option<Mono> {
        let wait = match self.carrier {
            Carrier::Tcp { .. } => TCP_TIMEOUT + TCP_GRACE,
            _ => LAST_WAIT,
        };
        self.left.map(|left| left + wait)
    }

    fn is_over(&self, now: Mono) -> bool {
        self.over || self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

impl Reach {
    /// Probes of other protocols that have not left.
    pub(super) fn queued(&self) -> u32 {
        let queued = self.others.iter().filter(|other| other.left.is_none() && !other.over).count();
        u32::try_from(queued).unwrap_or(u32::MAX)
    }

    pub(super) fn on_left(&mut self, carrier: Carrier, now: Mono) {
        if let Some(other) = self.others.iter_mut().find(|other| other.carrier == carrier) {
            other.left = Some(now);
        }
    }

    pub(super) fn on_answer(&mut self, target: IpAddr, carrier: Carrier, answer: &Answer) {
        match *answer {
            Answer::Carried { .. } => self.on_alive(format!("{} answers", name(carrier))),
            Answer::Refused { by, why } => self.on_refused(target, by, why, &name(carrier)),
            Answer::NotSent { why: NotSent::Other(errno) } => _ = self.untried.get_or_insert((carrier, errno)),
            Answer::Expired { by, .. } => self.on_refused(target, by, Refusal::TtlExceeded, &name(carrier)),
            Answer::TooBig { .. } | Answer::NotSent { .. } | Answer::Silent => {}
        }
        if let Some(other) = self.others.iter_mut().find(|other| other.carrier == carrier) {
            other.over = true;
        }
    }

    /// Somebody refuses. The target itself can only do so if it is there.
    pub(super) fn on_refused(&mut self, target: IpAddr, by: IpAddr, why: Refusal, what: &str) {
        let own_words = matches!(why, Refusal::PortUnreachable | Refusal::ProtocolUnreachable | Refusal::Prohibited);
        if by == target && own_words {
            return self.on_alive(format!("it answers {what} with \"{}\"", words(why)));
        }
        if self.refused.is_none_or(|(_, known)| telling(known) < telling(why)) {
            self.refused = Some((by, why));
        }
    }

    fn on_alive(&mut self, what: String) {
        self.alive.get_or_insert(what);
    }
}

impl Search {
    pub(super) fn try_to_reach(&mut self, now: Mono) {
        let Some(small) = self.sizes.get(&self.lane.small) else { return };
        let (Some(last), 0) = (small.last, small.queued) else { return };
        let (attempts, filtered) = (small.attempts(), small.filtered);
        let first = *self.reach.first.get_or_insert(last);
        if let Some(&pause) = PAUSES.get(attempts.saturating_sub(1) as usize) {
            if now >= last + pause {
                self.try_again();
            }
            return;
        }
        let over = self.reach.others.iter().all(|other| other.is_over(now));
        if over && now >= last + LAST_WAIT && now >= first + WINDOW {
            self.conclude_nothing_answers(attempts == filtered, now);
        }
    }

    fn try_again(&mut self) {
        self.ask(self.lane.small);
        if self.top != self.lane.small {
            self.ask(self.top);
        }
        if !self.reach.others.is_empty() || !self.lane.reaches {
            return;
        }
        for carrier in OTHERS {
            self.reach.others.push(Other { carrier, left: None, over: false });
            self.queue.push_back(Probe::new(carrier, self.lane.small));
        }
    }

    fn conclude_nothing_answers(&mut self, filtered: bool, now: Mono) {
        let verdict = match (self.reach.alive.take(), self.reach.refused) {
            (Some(what), _) if filtered => {
                Verdict::Unknown { why: format!("a filter on this machine drops ICMP echo to it (EPERM), yet {what}") }
            }
            (Some(what), _) => Verdict::Unknown { why: format!("its host filters ICMP echo: {what}") },
            (None, _) if filtered => Verdict::Unreachable { why: Unreachable::NotSent { why: NotSent::Filtered } },
            (None, None) if let Some((carrier, errno)) = self.reach.untried => Verdict::Unknown {
                why: format!("it answers no ICMP, and {} could not be tried: errno {errno}", name(carrier)),
            },
            (None, Some((by, why))) => Verdict::Unreachable { why: Unreachable::Refused { by, why } },
            (None, None) => Verdict::Unreachable { why: Unreachable::Silent },
        };
        self.finish(verdict, now);
    }

    /// When [`Self::try_to_reach`] may have something to do.
    pub(super) fn reach_deadlines(&self) -> impl Iterator<Item = Mono> {
        let last =
            if self.alive_since.is_some() { None } else { self.sizes.get(&self.lane.small).and_then(|t| t.last) };
        let pauses = PAUSES.into_iter().chain([LAST_WAIT]);
        let references = last.into_iter().flat_map(move |last| pauses.clone().map(move |pause| last + pause));
        let others = self.reach.others.iter().filter(|other| !other.over).filter_map(Other::deadline);
        references.chain(self.reach.first.map(|first| first + WINDOW)).chain(others)
    }
}

/// How much a refusal tells: the higher, the nearer to the cause.
const fn telling(why: Refusal) -> u8 {
    match why {
        Refusal::TunnelPortUnreachable => 7,
        Refusal::Prohibited => 6,
        Refusal::TtlExceeded => 5,
        Refusal::HostUnreachable => 4,
        Refusal::NetworkUnreachable => 3,
        Refusal::ProtocolUnreachable => 2,
        Refusal::PortUnreachable => 1,
        Refusal::Other => 0,
    }
}

const fn words(why: Refusal) -> &'static str {
    match why {
        Refusal::ProtocolUnreachable => "protocol unreachable",
        Refusal::PortUnreachable => "port unreachable",
        Refusal::Prohibited => "administratively prohibited",
        _ => "unreachable",
    }
}

pub(super) fn name(carrier: Carrier) -> String {
    match carrier {
        Carrier::Echo => "ICMP echo".into(),
        Carrier::Timestamp => "ICMP timestamp".into(),
        Carrier::Sweep { .. } => format!("UDP port {}", spread::PORT),
        Carrier::Vxlan { .. } => "VXLAN".into(),
        Carrier::Udp { port } => format!("UDP port {port}"),
        Carrier::Tcp { port } => format!("TCP port {port}"),
    }
}
