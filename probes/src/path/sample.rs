//! How much a path loses: a row of references, one after the other.
//!
//! Two packets a round say little about loss, and more would cost every clean path. So only a path that lost something,
//! now or lately, is asked for more: [`COUNT`] references, [`PACE`] apart, so that they do not share one full queue.

use std::time::Duration;

use super::search::PATIENCE;
use super::{Answer, Carrier, Probe, Step};
use crate::units::{IpSize, Mono};

/// References of one row.
pub const COUNT: u32 = 20;
/// Time between two of them.
pub const PACE: Duration = Duration::from_millis(10);
/// Round trips that the last answer is waited for, where that is longer than [`PATIENCE`].
const PATIENCE_ROUND_TRIPS: u32 = 4;

/// What came of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// References that left.
    pub sent: u32,
    /// Of those, how many were not answered.
    pub lost: u32,
}

/// The stage. Told ([`Self::on_sent`], [`Self::on_answer`]) and asked ([`Self::poll`]).
#[derive(Clone, Debug)]
pub struct Sample {
    probe: Probe,
    patience: Duration,
    next: Mono,
    asked: u32,
    sent: u32,
    answered: u32,
    refused: u32,
    last: Option<Mono>,
}

impl Sample {
    /// A row of references of `carrier` and this size on a path of this round trip.
    pub fn new(carrier: Carrier, size: IpSize, round_trip: Option<Duration>, now: Mono) -> Self {
        let patience = PATIENCE.max(round_trip.unwrap_or_default() * PATIENCE_ROUND_TRIPS);
        let probe = Probe::new(carrier, size);
        Self { probe, patience, next: now, asked: 0, sent: 0, answered: 0, refused: 0, last: None }
    }

    /// `probe` left at `now`.
    pub fn on_sent(&mut self, probe: Probe, now: Mono) {
        // One more than is open was left behind by the search.
        if probe == self.probe && self.sent + self.refused < self.asked {
            self.sent += 1;
            self.last = Some(now);
        }
    }

    /// What became of `probe`.
    pub fn on_answer(&mut self, probe: Probe, answer: Answer, _now: Mono) {
        if probe != self.probe {
            return;
        }
        match answer {
            Answer::Carried { .. } => self.answered = (self.answered + 1).min(self.sent),
            Answer::NotSent { .. } => self.refused = (self.refused + 1).min(self.asked - self.sent),
            _ => {}
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Mono) -> Step<Row> {
        if self.asked < COUNT {
            if now < self.next {
                return Step::Wait(self.next);
            }
            self.asked += 1;
            self.next = now + PACE;
            return Step::Send(self.probe);
        }
        let waiting = self.asked - self.sent - self.refused;
        if waiting > 0 {
            // What has not left is waited for: the packet budget is no loss.
            return Step::Wait(now + self.patience);
        }
        match self.last.map(|last| last + self.patience) {
            Some(end) if self.answered < self.sent && now < end => Step::Wait(end),
            _ => Step::Done(Box::new(Row { sent: self.sent, lost: self.sent - self.answered })),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::NotSent;

    const MS: Duration = Duration::from_millis(1);

    fn sample() -> Sample {
        Sample::new(Carrier::Echo, IpSize::new(84), Some(MS), Mono::default())
    }

    fn answer() -> Answer {
        Answer::Carried { round_trip: Some(MS), fragment: None }
    }

    /// Drives a row; `fate` says what becomes of each probe.
    fn drive(fate: impl Fn(u32) -> Option<Answer>) -> (Row, Duration) {
        let (mut sample, mut now, mut number) = (sample(), Mono::default(), 0);
        loop {
            match sample.poll(now) {
                Step::Done(row) => return (*row, now.since_start()),
                Step::Wait(at) => now = at,
                Step::Send(probe) => {
                    number += 1;
                    match fate(number) {
                        Some(refused @ Answer::NotSent { .. }) => sample.on_answer(probe, refused, now),
                        answer => {
                            sample.on_sent(probe, now);
                            answer.into_iter().for_each(|answer| sample.on_answer(probe, answer, now));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_reference_that_the_search_left_behind_takes_nobodys_place() {
        let mut sample = sample();
        let Step::Send(probe) = sample.poll(Mono::default()) else { panic!("{sample:?}") };
        sample.on_answer(probe, Answer::NotSent { why: NotSent::NoRoute }, Mono::default());
        sample.on_sent(probe, Mono::default());
        assert_eq!((sample.asked, sample.sent, sample.refused), (1, 0, 1));
    }

    #[test]
    fn a_clean_row_takes_as_long_as_its_pace() {
        assert_eq!(drive(|_| Some(answer())), (Row { sent: COUNT, lost: 0 }, PACE * (COUNT - 1)));
    }

    #[test]
    fn what_is_not_answered_in_time_is_lost() {
        let (row, took) = drive(|number| (number % 4 > 0).then(answer));
        assert_eq!(row, Row { sent: COUNT, lost: COUNT / 4 });
        assert_eq!(took, PACE * (COUNT - 1) + PATIENCE);
    }

    #[test]
    fn what_the_kernel_here_does_not_send_is_not_lost() {
        let (row, _) = drive(|number| if number > 5 { Some(Answer::NotSent { why: NotSent::NoRoute }) } else { None });
        assert_eq!(row, Row { sent: 5, lost: 5 });
    }

    proptest! {
        #[test]
        fn in_any_order_no_more_is_lost_than_left_and_no_more_answered_than_lost(
            events in proptest::collection::vec((0u8..4, 0u64..400), 0..200),
        ) {
            let (mut sample, mut now) = (sample(), Mono::default());
            let (mut sent, mut answered) = (0, 0);
            for (kind, millis) in events {
                now = now + MS * u32::try_from(millis).unwrap();
                match kind {
                    0 => {
                        sample.on_sent(sample.probe, now);
                        sent += 1;
                    }
                    1 => {
                        sample.on_answer(sample.probe, answer(), now);
                        answered += 1;
                    }
                    2 => sample.on_answer(Probe::new(Carrier::Echo, IpSize::new(85)), answer(), now),
                    _ => {}
                }
                if let Step::Done(row) = sample.poll(now) {
                    prop_assert!(row.sent <= sent && row.sent - row.lost <= answered, "{row:?}");
                }
            }
        }
    }
}
