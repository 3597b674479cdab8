//! How long what is right may take by itself: until a code is raised, or cleared, and until it could have been.
//!
//! Nothing here is a verdict. What a play waits for has so much longer before it is given up; and what must not come is
//! watched for as long as it would take to come, or a near miss that is none would pass. Each number is the product's own.

use std::time::Duration;

use probes::checks::{self, Confirm};
use probes::node::{cards, sweeps};
use probes::path::spread;

use crate::fault::Fault;
use crate::recipe::Recipe;
use crate::scenario::{Agents, Scenario};

/// Rounds that a code must stay away. One more than a finding takes to be confirmed, and the first may have begun
/// before the change.
pub(super) const QUIET_ROUNDS: usize = 3;

/// The same where counters rise: a rate is one over five seconds and more, and takes as long to be confirmed.
const WINDOW_ROUNDS: usize = 8;

/// The same where nodes are compared: a peer that changed says so when it is asked again.
const ASKING_ROUNDS: usize = cards::PERIOD as usize + QUIET_ROUNDS;

/// Rounds to let pass once all steps are made: the first one that ends may have read it half made, and what it found is
/// what the next one is looked for from.
pub(super) const HALF_MADE_ROUNDS: usize = 2;

/// For how long a code must stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    /// As long as this, whatever happens meanwhile.
    pub(super) span: Duration,
    /// And then in so many rounds.
    pub(super) rounds: usize,
}

impl Quiet {
    /// As long as this code would take to come of these faults.
    pub(super) fn of(scenario: &Scenario, faults: &[Fault], recipe: &Recipe) -> Self {
        let rounds = if faults.iter().any(Fault::moves_counters) {
            WINDOW_ROUNDS
        } else if scenario.agents == Agents::Asking {
            ASKING_ROUNDS
        } else {
            QUIET_ROUNDS
        };
        // Where nothing is wrong a sweep is short, and most of its time it waits for room.
        let span = if is_swept(scenario) { sweeps::SPAN } else { bided(faults, recipe) };
        Self { span, rounds }
    }
}

/// How long a code may take to come of these faults, or to go, beyond the rounds that any takes.
pub(super) fn pause(scenario: &Scenario, faults: &[Fault], recipe: &Recipe) -> Duration {
    // Answers that come through a tunnel are quick. Where those are lost, the peer's ports are asked, which answer once a
    // second: which of it is so, the kernel chooses when the machine starts.
    let swept = || sweeps::SPAN + 2 * spread::limit(recipe.ports_to_tell().into());
    if is_swept(scenario) { swept() } else { bided(faults, recipe) }
}

fn bided(faults: &[Fault], recipe: &Recipe) -> Duration {
    faults.iter().map(|fault| fault.patience(recipe)).max().unwrap_or_default()
}

/// Whether a scenario's code is found by sweeps, which start when there is room for them.
pub fn is_swept(scenario: &Scenario) -> bool {
    checks::by_code(&scenario.code).is_some_and(|check| check.entry.confirm == Confirm::Sweeps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{FOUR_WAYS, REFERENCE};
    use crate::scenario;

    /// The quiet times of the near misses of a code's first scenario.
    fn quiet(code: &str, recipe: &Recipe) -> Vec<(u64, usize)> {
        let scenario = scenario::all().unwrap().into_iter().find(|scenario| scenario.code == code).unwrap();
        let of = |near_miss: &scenario::NearMiss| Quiet::of(&scenario, &near_miss.make, recipe);
        scenario.near_miss.iter().map(of).map(|quiet| (quiet.span.as_secs(), quiet.rounds)).collect()
    }

    #[test]
    fn a_near_miss_is_watched_for_as_long_as_the_code_would_take() {
        assert_eq!(quiet("link-down", &REFERENCE)[0], (0, 3));
        assert_eq!(quiet("path-ecmp-mtu", &FOUR_WAYS)[0], (30, 3), "a sweep may wait for room");
        assert_eq!(quiet("vip-absent", &REFERENCE)[0], (15, 3), "a take-over lasts three leases of five seconds");
        assert_eq!(quiet("node-mtu-differs", &REFERENCE)[0], (0, 13), "a peer is asked in every tenth round");
        assert_eq!(quiet("udp-checksum-errors", &REFERENCE)[0], (0, 8));
    }
}
