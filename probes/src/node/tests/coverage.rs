//! Rounds that overrun, for each of the reasons that there are, and what only looks like it.
//!
//! Each story fails if the finding comes without its reason, names another, or outlives it.

use super::turns::{all_well, crowd, peer_at};
use super::*;
use crate::fact::Reason;

const CODE: &str = "coverage-late";

/// What something takes.
type Cost = fn(&Output) -> Duration;

/// Most steps of a round.
const STEPS: usize = 100_000;

impl World {
    /// A round in which what is wanted takes its time.
    fn slow_round(&mut self, cost: Cost) -> Arc<Published> {
        for _ in 0..STEPS {
            match self.node.poll(at(self.time)) {
                Some(Output::Publish(published)) => return published,
                Some(output) => {
                    self.time += cost(&output);
                    self.act(output);
                }
                None => self.sleep(),
            }
        }
        panic!("the round does not end");
    }

    fn reload(&mut self, config: &Config) {
        self.node.on(Input::Reload(Box::new(config.clone())), at(self.time));
    }
}

/// What of the evidence tells of the reason, if it is found.
fn late(published: &Published) -> Option<String> {
    let finding = published.report.findings.iter().find(|finding| finding.code == CODE)?;
    assert_eq!(finding.subject, "probing");
    let oldest = published.report.paths.iter().filter_map(|path| path.probed_at).min().unwrap();
    assert_eq!(finding.evidence["oldest_result"], oldest.to_string(), "the metric says the same");
    let round = published.telemetry.round.unwrap().as_secs_f64();
    assert!((finding.evidence["round_seconds"].as_f64().unwrap() - round).abs() < 0.1, "and so does this one");
    Some(finding.evidence["held_up_by"].as_str().unwrap().to_owned())
}

/// A few nodes, which are all measured in every round.
fn few() -> Config {
    let mut config = crowd();
    config.peers.fixed.truncate(12);
    config
}

fn slow_tables(output: &Output) -> Duration {
    Duration::from_secs(if matches!(output, Output::ReadFacts(_)) { 200 } else { 0 })
}

fn slow_processor(output: &Output) -> Duration {
    Duration::from_secs(if matches!(output, Output::Transmit(_)) { 8 } else { 0 })
}

fn at_once(_: &Output) -> Duration {
    Duration::ZERO
}

/// Rounds until it is found, and then until it is not, and how many each took.
fn found_and_healed(world: &mut World, slow: Cost, rounds: usize, cause: &str) -> (usize, usize) {
    let told = (1..=rounds).find_map(|round| Some((round, late(&world.slow_round(slow))?)));
    let (found, told) = told.expect("it is found");
    assert_eq!(told, cause);
    let healed = (1..=rounds).find(|_| late(&world.slow_round(at_once)).is_none());
    (found, healed.expect("it heals"))
}

#[test]
fn tables_that_take_long_to_read_make_a_small_cluster_late() {
    let mut world = World::new(few(), all_well);
    world.slow_round(at_once);
    assert_eq!(found_and_healed(&mut world, slow_tables, 5, "reading"), (2, 1), "two rounds agree, and one clears");
}

#[test]
fn a_processor_that_is_short_makes_a_small_cluster_late() {
    let mut world = World::new(few(), all_well);
    world.slow_round(at_once);
    assert_eq!(found_and_healed(&mut world, slow_processor, 5, "other"), (2, 1));
}

#[test]
fn rounds_that_overrun_by_less_than_is_late_are_left_alone() {
    let mut world = World::new(few(), all_well);
    for _ in 0..6 {
        let published = world.slow_round(|output| slow_tables(output) / 2);
        assert!(published.telemetry.round.unwrap() > Duration::from_secs(99), "three times the interval");
        assert_eq!(late(&published), None);
    }
}

#[test]
fn one_round_that_is_held_up_is_not_told_of() {
    let mut world = World::new(few(), all_well);
    for round in 0..10 {
        let cost = if round % 3 == 1 { slow_tables } else { at_once };
        assert_eq!(late(&world.slow_round(cost)), None, "round {round}");
    }
}

#[test]
fn a_budget_that_is_too_small_is_told_of_and_more_packets_heal_it_in_the_running_agent() {
    let mut config = crowd();
    config.probing.interval = Duration::from_secs(1);
    config.probing.packets_per_second = 1;
    let mut world = World::new(config.clone(), all_well);
    let told = (0..400).find_map(|_| late(&world.round()));
    assert_eq!(told.as_deref(), Some("packets"));
    assert!(world.time > Duration::from_secs(500), "nobody is late before the stated time: {:?}", world.time);
    let finding = world.round().report.findings.iter().find(|finding| finding.code == CODE).unwrap().clone();
    assert!(finding.remedy[0].contains("`probing.packets_per_second` to 3 or more"), "{:?}", finding.remedy);
    config.probing.packets_per_second = 3;
    world.reload(&config);
    let healed = (0..400).find(|_| late(&world.round()).is_none());
    assert!(healed.is_some_and(|rounds| rounds > 10), "and not before everybody had a turn: {healed:?}");
    assert!((0..40).all(|_| late(&world.round()).is_none()), "what the remedy names is enough");
}

#[test]
fn a_process_that_was_stopped_is_not_late_and_one_that_read_as_long_is() {
    let stop = Duration::from_secs(7200);
    let mut world = World::new(few(), all_well);
    for _ in 0..6 {
        assert_eq!(late(&world.round()), None, "stopped between two rounds");
        world.time += stop;
    }
    let mut stops = 0;
    for _ in 0..6 {
        // It is stopped while probes are under way.
        loop {
            match world.node.poll(at(world.time)) {
                Some(output @ Output::Transmit(_)) => {
                    world.act(output);
                    break;
                }
                Some(output) => world.act(output),
                None => world.sleep(),
            }
        }
        world.time += stop;
        stops += 1;
        assert_eq!(late(&world.round()), None, "stopped within a round");
    }
    assert_eq!(stops, 6);
    let reads = |output: &Output| slow_tables(output) * 36;
    assert!((0..3).any(|_| late(&world.slow_round(reads)).is_some()), "two hours of reading are no stop");
}

#[test]
fn peers_that_come_by_the_hundred_are_given_the_stated_time() {
    let mut config = crowd();
    let mut world = World::new(config.clone(), all_well);
    for past in 0..24 {
        if past % 4 == 3 {
            let new = (0..100).map(|peer| peer_at(&format!("10.7.{past}.{}", peer + 1)));
            config.peers.fixed.extend(new);
            world.reload(&config);
        }
        assert_eq!(late(&world.round()), None, "round {past}");
    }
    assert_eq!(world.round().report.schedule.unwrap().peers, 900);
}

#[test]
fn half_of_a_cluster_that_fails_at_once_takes_longer_and_is_not_late() {
    let half = |to: IpAddr, size: u32| {
        let bad = matches!(to, IpAddr::V4(to) if to.octets()[3].is_multiple_of(2)) && size > 1400;
        if bad { Wire::Silent } else { Wire::Answers }
    };
    let mut world = World::new(crowd(), all_well);
    (0..5).for_each(|_| drop(world.round()));
    world.wire = half;
    for past in 0..20 {
        assert_eq!(late(&world.round()), None, "round {past}");
    }
}

#[test]
fn where_nothing_can_be_probed_it_is_not_concluded_and_nobody_is_late_when_it_can() {
    let mut world = World::new(few(), all_well);
    world.round();
    let failed = Unread::new(Source::Probes, Reason::Failed { what: "too many open files".into() });
    world.node.on(Input::Probing(Err(failed)), at(world.time));
    for _ in 0..20 {
        let published = world.round();
        assert_eq!((late(&published), published.report.checks[CODE]), (None, Conclusion::NotConcluded));
        assert!(published.report.not_concluded.iter().any(|row| row.code == CODE && row.reason.contains("open files")));
    }
    world.node.on(Input::Probing(Ok(crate::prober::Wire::Raw)), at(world.time));
    for _ in 0..4 {
        let published = world.round();
        assert_eq!((late(&published), published.report.checks[CODE]), (None, Conclusion::Quiet));
    }
}

#[test]
fn an_agent_that_just_started_and_one_whose_interval_is_made_shorter_are_not_late() {
    let mut config = few();
    config.probing.interval = Duration::from_secs(3600);
    let mut world = World::new(config.clone(), all_well);
    world.slow_round(slow_tables);
    assert_eq!(late(&world.round()), None);
    config.probing.interval = Duration::from_secs(1);
    world.time += Duration::from_secs(3000);
    world.reload(&config);
    for _ in 0..4 {
        assert_eq!(late(&world.round()), None, "what was stated before holds for who waits");
    }
}
