//! Transfers between rounds: never waited for, counted once each, and never a finding without a witness.

use super::*;
use crate::report::{TransferResult, TransferRow};
use crate::transfer::admission::Guests;
use crate::transfer::{BYTES, Bulk, Ended, Exchange, Kernel, Seen};

const CODE: &str = "overlay-transfer-stalls";

fn exchange(ended: Ended, arrived: u32, unacknowledged: u32) -> Exchange {
    Exchange { ended, arrived, kernel: Some(Kernel { unacknowledged, ..Kernel::default() }) }
}

fn answered(status: u16) -> Exchange {
    exchange(Ended::Answered { status }, BYTES, 0)
}

fn passes() -> Seen {
    let bulk = Bulk { from_peer: answered(200), to_peer: answered(200) };
    Seen { small: answered(200), node_answers: None, bulk: Some(bulk), spoilt: Some(0) }
}

fn stalls() -> Seen {
    let bulk = Bulk { from_peer: answered(200), to_peer: exchange(Ended::Stalled, 0, 7) };
    Seen { bulk: Some(bulk), ..passes() }
}

fn is_gone() -> Seen {
    Seen { small: exchange(Ended::Refused, 0, 0), bulk: None, ..passes() }
}

impl World {
    fn of_transfers() -> Self {
        Self::new(Config::new("n1"), |_, _| Wire::Answers)
    }

    /// What is wanted, by address.
    fn wanted(&self) -> Vec<String> {
        let mut wanted: Vec<_> = self.transfers.iter().map(|transfer| transfer.to().to_string()).collect();
        wanted.sort();
        wanted
    }

    /// Ends every transfer that is wanted; yields what is published for it.
    fn end_transfers(&mut self, seen: impl Fn(&str) -> Seen) -> Arc<Published> {
        for transfer in std::mem::take(&mut self.transfers) {
            let seen = seen(&transfer.key.address.to_string());
            self.node.on(Input::Transferred(Box::new(Transferred { transfer, seen })), at(self.time));
        }
        match self.node.poll(at(self.time)) {
            Some(Output::Publish(published)) => published,
            other => panic!("{other:?}"),
        }
    }
}

fn row(published: &Published, address: &str) -> TransferRow {
    let path = published.report.paths.iter().find(|path| path.address.to_string() == address).unwrap();
    path.transfer.clone().expect("transfers are made over it")
}

fn found(published: &Published) -> usize {
    published.report.findings.iter().filter(|finding| finding.code == CODE).count()
}

#[test]
fn a_round_ends_without_waiting_and_its_transfers_are_published_when_they_end() {
    let mut world = World::of_transfers();
    let first = world.round();
    assert_eq!(first.pending, 2, "who wants one round only has to know that something is open");
    assert_eq!(row(&first, "10.244.2.0").result, TransferResult::Unknown);
    assert_eq!(world.wanted(), ["10.244.2.0:9747", "10.244.3.0:9747"], "through the tunnel, to agents like this one");
    let ended = world.time;
    let published = world.end_transfers(|_| passes());
    assert_eq!((world.time, published.pending), (ended, 0));
    let passed = row(&published, "10.244.2.0");
    assert_eq!((passed.result, passed.at), (TransferResult::Passed, Some(at(ended).wall)));
    assert!(published.report.paths.iter().all(|path| path.plane == Plane::Overlay || path.transfer.is_none()));
    assert_eq!(published.telemetry.transfer_stalls, 0);
}

#[test]
fn two_stalls_raise_and_one_that_passes_clears() {
    let mut world = World::of_transfers();
    world.round();
    let bad = |address: &str| if address == "10.244.2.0" { stalls() } else { passes() };
    let first = world.end_transfers(bad);
    assert_eq!((found(&first), first.pending, first.telemetry.transfer_stalls), (0, 1, 1));
    assert_eq!(row(&first, "10.244.2.0").result, TransferResult::Stalled);
    let second = world.round();
    assert_eq!((found(&second), second.pending), (0, 1 + 2), "the same stall, and two under way");
    let raised = world.end_transfers(bad);
    assert_eq!((found(&raised), raised.pending, raised.telemetry.transfer_stalls), (1, 0, 2));
    let finding = raised.report.findings.iter().find(|finding| finding.code == CODE).unwrap();
    assert_eq!((finding.subject.as_str(), finding.severity.name()), ("10.0.0.12", "critical"));
    world.round();
    assert_eq!(found(&world.end_transfers(|_| passes())), 0);
}

#[test]
fn one_stall_is_one_however_many_rounds_pass() {
    let mut world = World::of_transfers();
    world.round();
    world.end_transfers(|_| stalls());
    // Those that are wanted now stay under way.
    for _ in 0..5 {
        let published = world.round();
        assert_eq!((found(&published), world.transfers.len()), (0, 2), "and no second one is started beside it");
    }
    let published = world.end_transfers(|_| stalls());
    assert_eq!(found(&published), 2);
}

#[test]
fn an_agent_that_is_gone_neither_raises_nor_clears() {
    let mut world = World::of_transfers();
    world.round();
    let gone = world.end_transfers(|_| is_gone());
    assert_eq!((found(&gone), gone.pending), (0, 0));
    assert_eq!(gone.report.checks[CODE], Conclusion::NotConcluded);
    let told: Vec<_> = gone.report.not_concluded.iter().filter(|row| row.code == CODE).collect();
    assert!(told.iter().any(|row| row.reason.contains("overlay path to 10.0.0.12: nobody listens")), "{told:?}");
    for _ in 0..2 {
        world.round();
        world.end_transfers(|_| stalls());
    }
    world.round();
    assert_eq!(found(&world.end_transfers(|_| is_gone())), 2, "they stand, unseen");
    world.round();
    assert_eq!(found(&world.end_transfers(|_| passes())), 0);
}

#[test]
fn nothing_is_moved_where_icmp_does_not_pass() {
    let mut world = World::of_transfers();
    world.wire = |to, size| if to.to_string() == "10.244.2.0" && size > 1300 { Wire::Silent } else { Wire::Answers };
    let published = world.round();
    assert_eq!(world.wanted(), ["10.244.3.0:9747"]);
    let reasons: Vec<_> = published.report.not_concluded.iter().filter(|row| row.code == CODE).collect();
    assert!(reasons.iter().any(|row| row.reason.contains("the path is black_hole")), "{reasons:?}");
}

#[test]
fn switched_off_nothing_is_moved_nobody_is_let_in_and_it_is_said() {
    let mut config = Config::new("n1");
    config.probing.transfers = false;
    let mut world = World::new(config.clone(), |_, _| Wire::Answers);
    let off = world.round();
    assert!(world.transfers.is_empty() && off.guests == Guests::Nobody && off.pending == 0);
    assert!(row(&off, "10.244.2.0").why.unwrap().contains("probing.transfers"));
    config.probing.transfers = true;
    world.node.on(Input::Reload(Box::new(config.clone())), at(world.time));
    let on = world.round();
    assert_eq!(world.wanted().len(), 2);
    assert!(matches!(&on.guests, Guests::Peers(all) if !all.is_empty()));
    assert!(row(&on, "10.244.2.0").why.unwrap().contains("yet"));
    config.probing.transfers = false;
    world.node.on(Input::Reload(Box::new(config)), at(world.time));
    let late = world.end_transfers(|_| stalls());
    assert!(row(&late, "10.244.2.0").why.unwrap().contains("probing.transfers"), "who comes late is not heard");
}

#[test]
fn a_result_that_comes_while_tables_are_read_waits_for_the_judgement_that_follows() {
    let mut world = World::of_transfers();
    world.round();
    let transfers = std::mem::take(&mut world.transfers);
    while !matches!(world.node.poll(at(world.time)), Some(Output::ReadFacts(_))) {
        world.sleep();
    }
    for transfer in transfers {
        let transferred = Transferred { transfer, seen: passes() };
        world.node.on(Input::Transferred(Box::new(transferred)), at(world.time));
    }
    assert!(world.node.poll(at(world.time)).is_none(), "the tables are half new");
    world.node.on(Input::Facts(Box::new(facts())), at(world.time));
    assert_eq!(row(&world.round(), "10.244.2.0").result, TransferResult::Passed);
}

#[test]
fn a_result_about_a_peer_that_left_is_dropped() {
    let mut world = World::of_transfers();
    world.round();
    world.facts = || RawFacts { routes: Ok(Vec::new()), neighbours: Ok(Vec::new()), fdb: Ok(Vec::new()), ..facts() };
    world.round();
    let published = world.end_transfers(|_| stalls());
    assert!(published.report.paths.iter().all(|path| path.transfer.is_none()), "{:?}", published.report.paths);
    assert_eq!((found(&published), published.pending), (0, 0));
}

#[test]
fn a_path_over_which_none_is_made_any_more_has_no_stall_left() {
    let mut world = World::of_transfers();
    for _ in 0..2 {
        world.round();
        world.end_transfers(|_| stalls());
    }
    let mut config = Config::new("n1");
    config.vantage = crate::report::Vantage::Pod;
    world.node.on(Input::Reload(Box::new(config)), at(world.time));
    let published = world.round();
    assert_eq!((found(&published), world.transfers.len()), (0, 0), "a pod has no tunnel of its own");
}
