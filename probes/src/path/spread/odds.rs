//! The numbers behind a sweep: how many ports find a bad path, and how much silence is no accident.
//!
//! A source port draws one of `n` paths of equal cost. That none of `k` ports draws the bad one has the probability
//! `(1 - 1/n)^k`.

/// A bad path is missed at most this often.
const MISSED: f64 = 0.001;
/// How often an exchange is lost at 5 % loss each way: the least that is reckoned with.
const LOST: f64 = 1.0 - 0.95 * 0.95;
/// Attempts that are taken to have failed as often as that before any was seen: two failures of three are no measure.
const ASSUMED: f64 = 10.0;
/// False suspicions in a sweep of good ports, on average. Two at once are then rarer than once in a million sweeps, and
/// so is one port that is suspected twice.
const SUSPICIONS: f64 = 0.001;
/// What is reckoned with where nearly every attempt fails: more silence than any sweep has time for.
const HOPELESS: f64 = 0.9;

/// How probably at least one of `ports` source ports takes the bad one of `paths` paths.
pub fn meets(paths: u16, ports: u16) -> f64 {
    1.0 - missed(paths, ports)
}

/// How many source ports it takes to meet the bad one of `paths` paths with 99.9 %.
pub fn ports_to_meet(paths: u16) -> u16 {
    (1..u16::MAX).find(|&ports| missed(paths, ports) <= MISSED).unwrap_or(u16::MAX)
}

/// Of how many paths `ports` source ports meet the bad one with 99.9 %; 1 if they are too few to tell any apart.
pub fn paths_met(ports: u16) -> u16 {
    (2..u16::MAX).take_while(|&paths| missed(paths, ports) <= MISSED).last().unwrap_or(1)
}

fn missed(paths: u16, ports: u16) -> f64 {
    (1.0 - 1.0 / f64::from(paths.max(1))).powi(i32::from(ports))
}

/// Silences that make one of `ports` suspect, where `failed` of `attempts` at good ports failed: as many as leave less
/// than [`SUSPICIONS`] of the ports with as many by accident.
pub(super) fn silences(ports: usize, failed: u32, attempts: u32) -> u32 {
    let seen = (f64::from(failed) + LOST * ASSUMED) / (f64::from(attempts) + ASSUMED);
    let lost = seen.clamp(LOST, HOPELESS);
    let silences = (SUSPICIONS / ports.max(1) as f64).ln() / lost.ln();
    silences.ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::SOURCES;

    #[test]
    fn ports_are_those_of_the_table() {
        let table = [(2, 10), (4, 25), (8, 52), (16, 108)];
        assert_eq!(table.map(|(paths, _)| ports_to_meet(paths)), table.map(|(_, ports)| ports));
        assert_eq!(table.map(|(_, ports)| paths_met(ports)), table.map(|(paths, _)| paths));
        assert_eq!(ports_to_meet(1), 1, "the only path is met at once");
    }

    #[test]
    fn too_few_ports_tell_nothing_apart() {
        assert_eq!((paths_met(0), paths_met(9), paths_met(10)), (1, 1, 2));
        assert!(meets(4, 25) >= 0.999 && meets(4, 24) < 0.999);
    }

    #[test]
    fn a_false_alarm_on_good_paths_is_rarer_than_one_in_a_million_sweeps() {
        for ports in 2..=SOURCES {
            let count = f64::from(ports);
            let by_accident = LOST.powi(silences(usize::from(ports), 0, 0) as i32);
            let two = count * (count - 1.0) / 2.0 * by_accident.powi(2);
            let one_twice = count * by_accident.powi(2);
            assert!(two < 1e-6 && one_twice < 1e-6, "{ports}: {two}, {one_twice}");
        }
        assert_eq!([2, 10, 25, 108, 512].map(|ports| silences(ports, 0, 100)), [4, 4, 5, 5, 6]);
    }

    #[test]
    fn more_silence_is_needed_where_good_ports_fail_as_well() {
        assert_eq!([0, 9, 20, 50, 100].map(|failed| silences(25, failed, 100)), [5, 5, 7, 14, 97]);
        assert_eq!([0, 1, 2, 4].map(|failed| silences(25, failed, 4)), [5, 6, 7, 10], "a few failures are no measure");
    }
}
