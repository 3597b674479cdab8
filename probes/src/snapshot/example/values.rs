//! Addresses, verdicts and measurements in a few words.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::fact::{Fact, Reason, Source, Unread};
use crate::kernel::pod_end::PodEnd;
use crate::kernel::{Counters, Link};
use crate::path::spread::{Fate, Swept};
use crate::path::{Limit, Measured, NotSent, Unreachable, Verdict};
use crate::transfer::{Made, Stall};
use crate::units::{IpSize, Mono};
use crate::windows::{WINDOW, Windows};

/// An address from text.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Why nothing was probed where the right is missing.
pub(crate) fn no_right() -> Unread {
    Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() })
}

/// Why pods' ends were not read where the right is missing.
pub(crate) fn no_admin() -> Unread {
    Unread::new(Source::PodEnds, Reason::Denied { needs: "CAP_NET_ADMIN".into() })
}

/// A reading that failed.
pub(crate) fn failed(source: Source) -> Unread {
    Unread::new(source, Reason::Failed { what: "dump: EIO".into() })
}

/// A local limit of this MTU.
pub(crate) fn limited(mtu: u32, hop: Option<&str>) -> Verdict {
    let mtu = IpSize::new(mtu);
    Verdict::Limited { mtu, by: Limit { address: hop.map(ip), reported_mtu: Some(mtu), ttl: None } }
}

/// A black hole that carries this much.
pub(crate) fn black_hole(carries: u32) -> Verdict {
    let carries = IpSize::new(carries);
    Verdict::BlackHole { carries, drops: carries.plus(1), by: None }
}

/// No answer at all.
pub(crate) fn silent() -> Verdict {
    Verdict::Unreachable { why: Unreachable::Silent }
}

/// No way to send.
pub(crate) fn no_route() -> Verdict {
    Verdict::Unreachable { why: Unreachable::NotSent { why: NotSent::NoRoute } }
}

/// What was watched for long enough, and did not move.
pub(super) fn watched(counters: &Fact<Counters>) -> Windows {
    let mut windows = Windows::default();
    for at in [Duration::ZERO, WINDOW] {
        windows.take(counters, Mono::new(at));
    }
    windows
}

/// The other end of a pod's link as a CNI makes it.
pub(super) fn of_same_size(link: &Link) -> PodEnd {
    PodEnd { mtu: link.mtu, up: true, addresses: Vec::new() }
}

/// A sweep in which the ports from 40,448 on met these fates.
pub(crate) fn swept(fates: &[Fate]) -> Swept {
    let ports = (40_448..).zip(fates.iter().copied()).collect();
    Swept { expected: Some(IpSize::new(1500)), ports, ..Swept::default() }
}

/// A transfer that was judged before.
pub(crate) fn made(stall: Option<Stall>) -> Made {
    Made { stall, at: Timestamp::UNIX_EPOCH, judged: true }
}

pub(super) fn measured(verdict: Verdict) -> Measured {
    let at = Mono::default();
    let whole = match verdict {
        Verdict::Clear { mtu } | Verdict::Limited { mtu, .. } => Some(mtu),
        _ => None,
    };
    Measured { forward: whole, reverse: whole, sent: 2, reference_sent: 2, ..Measured::new(verdict, at) }
}
