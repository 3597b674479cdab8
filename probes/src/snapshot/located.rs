//! Where a hole is, from one measurement to the next.

use crate::path::{Hole, Measured, Verdict};

/// A hop answers few packets that end there in a second, so the hops next to a hole may not all be seen again. What was
/// seen before holds as long as the same sizes vanish on the same way, if it says more exactly where.
pub(super) fn located(measured: Measured, last: Option<&Measured>) -> Measured {
    let edge = |one: &Measured| match one.verdict {
        Verdict::BlackHole { carries, drops, .. } => Some((carries, drops, one.way)),
        _ => None,
    };
    let width = |hole: Hole| hole.before.ttl.saturating_sub(hole.after.map_or(0, |after| after.ttl));
    let width = |one: &Measured| one.hole.map_or(u8::MAX, width);
    match last {
        Some(last) if edge(&measured).is_some() && edge(&measured) == edge(last) && width(last) < width(&measured) => {
            Measured { hole: last.hole, hops: last.hops.clone(), ..measured }
        }
        _ => measured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{HopAt, Way};
    use crate::units::{IpSize, Mono};

    fn hole(after: Option<u8>, before: u8) -> Hole {
        let at = |ttl| HopAt { ttl, address: None };
        Hole { after: after.map(at), before: at(before) }
    }

    fn lost(carries: u32, hole: Option<Hole>) -> Measured {
        let (carries, drops) = (IpSize::new(carries), IpSize::new(carries + 1));
        let verdict = Verdict::BlackHole { carries, drops, by: None };
        Measured { way: Some(Way::Forward), hole, ..Measured::new(verdict, Mono::default()) }
    }

    #[test]
    fn a_hole_that_was_located_stays_so_while_the_same_sizes_vanish() {
        let near = lost(1400, Some(hole(Some(1), 2)));
        let told = |now: Measured, last: &Measured| located(now, Some(last)).hole;
        assert_eq!(told(lost(1400, None), &near), near.hole);
        assert_eq!(told(lost(1400, Some(hole(None, 4))), &near), near.hole, "less exact than before");
        let moved = Some(hole(Some(2), 3));
        assert_eq!(told(lost(1400, moved), &near), moved, "as exact, and newer");
        assert_eq!(told(lost(1300, None), &near), None, "another edge");
        let clear = Measured::new(Verdict::Clear { mtu: IpSize::new(1500) }, Mono::default());
        assert_eq!(located(clear.clone(), Some(&near)), clear);
        assert_eq!(located(lost(1400, None), None).hole, None);
    }
}
