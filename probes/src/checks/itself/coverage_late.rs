//! Peers wait longer for a result than the schedule states: what is said of them is older than anybody expects.
//!
//! The schedule states a time in which every peer is measured, from the interval, the peers and what they cost. It fits
//! its rounds into three quarters of the interval, so the time holds, and grows in the open with trouble that takes more
//! packets. It fails where rounds overrun all the same: a budget in which not even one search fits the interval, tables
//! that take long to read, a processor that is short, an interval of a second and peers that are awaited for ten.
//! [`crate::schedule::pace`] argues what is late, and by how much it must be.
//!
//! It takes as many rounds in agreement as a measurement does: one round that was held up (half of a cluster fails at
//! once, a disk stands still) is over by the next. It is a **warning**: no packet is lost for it, but a fault is found
//! later than was said, and one that is gone stands for longer. One finding tells of the agent, however many peers wait.
//!
//! Where nothing can be measured at all that is said of each path, and this is not concluded; when probes leave again
//! everybody begins anew. A process that was stopped is not late for the time in which it did not run. Who names peers by
//! hand for one report has no schedule.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::Unread;
use crate::remedy::{Fix, HeldUp};
use crate::report::Severity;
use crate::schedule::JITTER;
use crate::schedule::pace::Pace;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct CoverageLate;

/// What the whole agent is called here.
const SUBJECT: Subject = Subject::Setting("probing");

/// The part of an interval that the schedule plans for.
const PLANNED: f64 = 0.75;

/// Whose packets are so near to all that may leave is held up by that.
const NEARLY: f64 = 0.8;

/// The longest interval in seconds, and the most packets a second, that may be set.
const LONGEST: u64 = 3600;
const MOST: u32 = 100_000;

/// How late it is, and what took the time.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Evidence {
    /// Peers that wait too long for a result, or did until the round that is over.
    pub late: usize,
    /// Peers known.
    pub peers: usize,
    /// The longest that one of them waited, in seconds.
    pub waited_seconds: u64,
    /// The longest time that was stated to that one meanwhile, in seconds.
    pub stated_seconds: u64,
    /// The oldest result that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_result: Option<Timestamp>,
    /// Duration of the last round, in seconds.
    pub round_seconds: f64,
    /// The part of it that reading the kernel's tables took, in seconds.
    pub reading_seconds: f64,
    /// Packets that left in the rest of it.
    pub packets: u64,
    /// `probing.interval`, in seconds.
    pub interval_seconds: f64,
    /// `probing.packets_per_second`.
    pub packets_per_second: u32,
    /// What held the last round up.
    pub held_up_by: Cause,
}

/// What holds a round up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The packets that may leave in a second.
    Packets,
    /// Reading the kernel's tables.
    Reading,
    /// Neither: a processor that is short, or answers that do not come.
    Other,
    /// Nothing any more: the round ended in time.
    Nothing,
}

impl Check for CoverageLate {
    const ENTRY: Entry = Entry {
        code: "coverage-late",
        area: Area::Itself,
        severities: &[Severity::Warning],
        when: &["always: what is known is older than stated, and no packet is lost for it"],
        title: "peers are not measured in the stated time",
        meaning: "The agent's rounds take longer than its schedule allows for, so that peers wait much longer for a result \
                  than it states. What fails meanwhile is found later, and a finding whose fault is gone stands for longer.",
        quiet: "an agent that has just started, peers that came just now, one round that was held up, a process that was \
                stopped or a machine that was suspended, trouble that takes more packets (the schedule then states a \
                longer time); and probes that cannot leave at all, which each path says",
        look: &[
            Look {
                run: "curl -s http://NODE:9747/metrics | grep -E 'mtuscope_(round_duration|probe_interval|source_duration)'",
                see: "rounds that take longer than the interval, and a source that takes most of it",
            },
            Look {
                run: "curl -s http://NODE:9747/report | jq .schedule",
                see: "`covered_within_seconds` far above interval × peers / probed",
            },
            Look { run: "kubectl -n NAMESPACE get pod POD -o yaml", see: "a CPU limit, under which it is throttled" },
        ],
        metrics: &[
            "mtuscope_oldest_path_result_timestamp_seconds",
            "mtuscope_round_duration_seconds",
            "mtuscope_probe_interval_seconds",
            "mtuscope_source_duration_seconds",
        ],
        class: Class::NoThread { why: "it is about this agent, and nobody has told of it yet" },
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeCoverageLate", minutes: 10 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        if let Some(pace) = node.pace.read()?
            && pace.kept.late > 0
        {
            judgement.raise(SUBJECT, Severity::Warning, evidence(pace));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { late, peers, waited_seconds, stated_seconds, .. } = evidence;
        let Evidence { round_seconds, reading_seconds, packets, interval_seconds, packets_per_second, .. } = evidence;
        let by = match evidence.held_up_by {
            Cause::Packets => {
                format!("and sent {packets} packets, of which no more than {packets_per_second} a second may leave")
            }
            Cause::Reading => format!("{reading_seconds} s of them to read the kernel's tables"),
            Cause::Other => "neither for want of packets that may leave nor to read the kernel's tables".into(),
            Cause::Nothing => "and so ended in time again".into(),
        };
        format!(
            "{late} of {peers} peers waited too long for a result, up to {waited_seconds} s where the schedule states \
             {stated_seconds} s. The last round took {round_seconds} s of an interval of {interval_seconds} s, {by}."
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let longer = (evidence.round_seconds / PLANNED).ceil() as u64;
        let interval = (longer <= LONGEST).then_some(longer);
        let more = (evidence.packets as f64 / (evidence.interval_seconds * PLANNED)).ceil() as u32;
        let packets_per_second = (more <= MOST).then_some(more.max(evidence.packets_per_second.saturating_add(1)));
        vec![Fix::Pace(match evidence.held_up_by {
            Cause::Packets => HeldUp::Packets { packets_per_second, interval },
            Cause::Reading => HeldUp::Reading { interval },
            Cause::Other => HeldUp::Other { interval },
            Cause::Nothing => HeldUp::Nothing,
        })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            late: 58,
            peers: 60,
            waited_seconds: 242,
            stated_seconds: 66,
            oldest_result: Timestamp::from_second(1_795_305_600).ok(),
            round_seconds: 240.3,
            reading_seconds: 0.4,
            packets: 2410,
            interval_seconds: 30.0,
            packets_per_second: 10,
            held_up_by: Cause::Packets,
        };
        (SUBJECT, Severity::Warning, evidence)
    }
}

fn evidence(pace: &Pace) -> Evidence {
    Evidence {
        late: pace.kept.late,
        peers: pace.kept.peers,
        waited_seconds: pace.kept.longest.as_secs(),
        stated_seconds: pace.kept.promised.as_secs_f64().ceil() as u64,
        oldest_result: pace.oldest,
        round_seconds: tenths(pace.round),
        reading_seconds: tenths(pace.reading),
        packets: pace.packets,
        interval_seconds: tenths(pace.interval),
        packets_per_second: pace.packets_per_second,
        held_up_by: cause(pace),
    }
}

/// What took most of a round that is too long.
fn cause(pace: &Pace) -> Cause {
    let allowed = f64::from(pace.packets_per_second) * pace.round.saturating_sub(pace.reading).as_secs_f64();
    if pace.round <= pace.interval.mul_f64(1.0 + JITTER) {
        Cause::Nothing
    } else if pace.reading * 2 >= pace.round {
        Cause::Reading
    } else if pace.packets as f64 >= allowed * NEARLY {
        Cause::Packets
    } else {
        Cause::Other
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::schedule::pace::Kept;
    use crate::snapshot::example::{Example, no_right};

    fn pace(late: usize, round: u64, reading: u64, packets: u64) -> Pace {
        let seconds = Duration::from_secs;
        let kept = Kept { peers: 60, late, longest: seconds(300), promised: seconds(66) };
        let (round, reading, interval) = (seconds(round), seconds(reading), seconds(30));
        Pace { kept, oldest: None, round, reading, packets, interval, packets_per_second: 10 }
    }

    fn judge(pace: Fact<Pace>) -> Result<Judgement<Evidence>, Unread> {
        CoverageLate::judge(&Snapshot { pace, ..Example::reference().snapshot() })
    }

    fn raised(pace: Pace) -> Evidence {
        let mut raised = judge(Fact::Known(pace)).unwrap().raised;
        assert_eq!((raised.len(), &raised[0].subject), (1, &SUBJECT));
        raised.remove(0).evidence
    }

    #[test]
    fn one_finding_tells_of_every_peer_that_is_late_and_none_of_peers_that_are_not() {
        assert_eq!(raised(pace(58, 300, 1, 2900)).late, 58);
        let on_time = judge(Fact::Known(pace(0, 300, 1, 2900))).unwrap();
        assert!(on_time.raised.is_empty() && on_time.unread.is_empty());
    }

    #[test]
    fn without_probes_it_is_not_concluded_and_without_a_schedule_there_is_nothing_to_be_late_by() {
        assert_eq!(judge(Fact::Unread(no_right())).unwrap_err(), no_right());
        assert!(judge(Fact::Absent).unwrap().raised.is_empty());
    }

    #[test]
    fn what_holds_a_round_up_is_told_by_what_it_took() {
        let told = |round, reading, packets| {
            let evidence = raised(pace(1, round, reading, packets));
            let text = CoverageLate::summary(&SUBJECT, &evidence);
            (evidence.held_up_by, text.split_once(" s, ").unwrap().1.to_owned())
        };
        let (cause, text) = told(300, 1, 2900);
        assert_eq!(cause, Cause::Packets);
        assert_eq!(text, "and sent 2900 packets, of which no more than 10 a second may leave.");
        assert_eq!(told(300, 150, 1500), (Cause::Reading, "150 s of them to read the kernel's tables.".into()));
        assert_eq!(told(300, 149, 1200).0, Cause::Other, "neither half of the time nor nearly all packets");
        assert_eq!(told(300, 0, 2400).0, Cause::Packets);
        assert_eq!(told(300, 0, 2399).0, Cause::Other);
        assert_eq!(told(33, 33, 0).0, Cause::Nothing, "it is in time, however it spends that");
    }

    #[test]
    fn what_is_to_be_set_would_do() {
        let fix = |round, packets| CoverageLate::fixes(&SUBJECT, &raised(pace(1, round, 0, packets))).remove(0);
        let held = |packets_per_second, interval| Fix::Pace(HeldUp::Packets { packets_per_second, interval });
        assert_eq!(
            fix(300, 2900),
            held(Some(129), Some(400)),
            "2,900 packets in 22.5 s, or in three quarters of 400 s"
        );
        assert_eq!(fix(3000, 29_000), held(Some(1289), None), "no interval is longer than an hour");
    }
}
