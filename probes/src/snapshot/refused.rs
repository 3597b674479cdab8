//! Who refused a tunnel's packets, from one measurement to the next.
//!
//! A closed port is told by "port unreachable", of which Linux sends six in a row to one address and then one a second
//! (`icmp_ratelimit`), to whatever is sent there: pods' packets use them up. So silence that follows upon a refusal does
//! not take it back. It holds until something is answered, or refused for another reason, and for no longer than [`HOLD`].

use std::time::Duration;

use crate::path::{Measured, Refusal, Unreachable, Verdict};

/// Long enough for the next round at the usual interval, with a refusal of each to be lost.
const HOLD: Duration = Duration::from_secs(90);

/// The measurement, with the refusal that it did not hear again.
pub(super) fn remembered(measured: Measured, last: Option<&Measured>) -> Measured {
    match (&measured.verdict, last) {
        (verdict, _) if is_closed(verdict) => Measured { refused: Some(measured.at), ..measured },
        (Verdict::Unreachable { why: Unreachable::Silent }, Some(last)) if is_closed(&last.verdict) => {
            match last.refused.filter(|&heard| measured.at.since(heard) < HOLD) {
                Some(heard) => Measured { verdict: last.verdict.clone(), refused: Some(heard), ..measured },
                None => measured,
            }
        }
        _ => measured,
    }
}

const fn is_closed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unreachable { why: Unreachable::Refused { why: Refusal::TunnelPortUnreachable, .. } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{IpSize, Mono};

    fn at(second: u64, verdict: Verdict) -> Measured {
        Measured::new(verdict, Mono::new(Duration::from_secs(second)))
    }

    fn unreachable(why: Unreachable) -> Verdict {
        Verdict::Unreachable { why }
    }

    fn refused(why: Refusal) -> Verdict {
        unreachable(Unreachable::Refused { by: "10.0.0.12".parse().unwrap(), why })
    }

    #[test]
    fn silence_does_not_take_a_closed_port_back_for_a_while() {
        let closed = refused(Refusal::TunnelPortUnreachable);
        let silent = |second| at(second, unreachable(Unreachable::Silent));
        let heard = remembered(at(10, closed.clone()), None);
        let held = remembered(silent(40), Some(&heard));
        assert_eq!((&held.verdict, held.at), (&closed, silent(40).at));
        assert_eq!(remembered(silent(99), Some(&held)).verdict, closed, "counted from when it was heard");
        assert_eq!(remembered(silent(100), Some(&held)), silent(100));
        assert_eq!(remembered(silent(11), None), silent(11));
    }

    #[test]
    fn whatever_else_comes_back_takes_it_back() {
        let heard = remembered(at(10, refused(Refusal::TunnelPortUnreachable)), None);
        for verdict in [Verdict::Clear { mtu: IpSize::new(1450) }, refused(Refusal::HostUnreachable)] {
            assert_eq!(remembered(at(11, verdict.clone()), Some(&heard)), at(11, verdict));
        }
        let other = at(10, refused(Refusal::HostUnreachable));
        assert_eq!(remembered(other.clone(), None), other, "nobody counts on those");
    }
}
