//! How long to wait before the API is asked again.
//!
//! What makes one agent's request fail makes ten thousand fail at once, so the waits are drawn: from a tenth of a
//! ceiling to all of it, and the ceiling doubles from [`FIRST`] to [`MOST`]. After a long outage the agents of a large
//! cluster come back over a minute, a few hundred in each second; after a short one, over two seconds. What the server
//! asks for (`Retry-After`) comes on top of what is drawn, so that they do not all come back when that is over.

use std::time::Duration;

/// The first ceiling.
pub const FIRST: Duration = Duration::from_secs(2);

/// The last one.
pub const MOST: Duration = Duration::from_secs(60);

/// The longest that a server's word is taken for. One that says more is asked sooner.
pub const LONGEST_WORD: Duration = Duration::from_secs(600);

/// Waits, longer from one failure to the next.
#[derive(Clone, Debug)]
pub struct Pace {
    ceiling: Duration,
    state: u64,
}

impl Pace {
    /// Draws by chance, which is told: no two agents should be told the same.
    pub fn new(chance: u64) -> Self {
        Self { ceiling: FIRST, state: chance }
    }

    /// All is well: the next failure is the first.
    pub fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// How long to wait after one more failure, with what the server asked for.
    pub fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let drawn = self.ceiling.mul_f64(0.1 + 0.9 * self.share());
        self.ceiling = (self.ceiling * 2).min(MOST);
        drawn + asked.unwrap_or_default().min(LONGEST_WORD)
    }

    /// Between the two, by chance.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.share())
    }

    /// From 0 to 1, by splitmix64.
    fn share(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_begin_anew_when_all_is_well() {
        let mut pace = Pace::new(7);
        for doubled in 0..12 {
            let ceiling = (FIRST * 2u32.pow(doubled)).min(MOST);
            let wait = pace.wait(None);
            assert!(wait >= ceiling / 10 && wait <= ceiling, "{doubled}: {wait:?}");
        }
        pace.reset();
        assert!(pace.wait(None) <= FIRST);
    }

    #[test]
    fn the_servers_word_comes_on_top_within_reason() {
        let mut pace = Pace::new(7);
        assert!(pace.wait(Some(Duration::from_secs(30))) > Duration::from_secs(30));
        assert!(pace.wait(Some(Duration::from_secs(1 << 30))) <= LONGEST_WORD + MOST);
    }

    /// Fails if agents that lose the API in the same moment come back in step.
    #[test]
    fn ten_thousand_agents_come_back_spread_out() {
        let mut seconds = [0u32; 61];
        for agent in 0..10_000u64 {
            let mut pace = Pace::new(agent);
            (0..8).for_each(|_| _ = pace.wait(None));
            seconds[pace.wait(None).as_secs() as usize] += 1;
        }
        let most = seconds.iter().max().copied().unwrap();
        assert!(most < 300, "{most} in one second: {seconds:?}");
    }
}
