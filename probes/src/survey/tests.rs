//! Whole surveys over a real node's dumps.

use std::time::Duration;

use super::*;
use crate::fact::Reason;
use crate::kernel::golden;
use crate::node::tests::{IDENTITY, at, facts, lookup, reply};
use crate::path::{Plane, VerdictName};
use crate::prober::Means;
use crate::snapshot::example::ip;
use crate::units::Family;

/// The world as a survey sees it: tables of a real kernel, and a wire that answers what it is told to.
struct World {
    survey: Survey,
    time: Duration,
    /// Whether an echo to this address of this size is answered.
    wire: fn(IpAddr, u32) -> bool,
    /// What was read, in order.
    read: Vec<Vec<Source>>,
    asked: Vec<Query>,
    /// What left: address, size, and the source that it was to have.
    sent: Vec<(IpAddr, u32, Option<IpAddr>)>,
    /// The most paths that were under way at a time, in the first millisecond.
    crowd: usize,
}

const TUNNEL_END: &str = "10.244.2.0";

fn wanted(targets: &[&str]) -> Wanted {
    let named = |text: &&str| match text.split_once('=') {
        Some((peer, address)) => Named { peer: peer.into(), address: ip(address) },
        None => Named { peer: (*text).into(), address: ip(text) },
    };
    Wanted {
        targets: targets.iter().map(named).collect(),
        source: None,
        largest: None,
        hops: false,
        ports: None,
        packets_per_second: 10_000,
    }
}

impl World {
    fn new(wanted: Wanted, wire: fn(IpAddr, u32) -> bool) -> Self {
        let survey = Survey::new(wanted, Wire::Raw, IDENTITY, at(Duration::ZERO));
        let (read, asked, sent) = (Vec::new(), Vec::new(), Vec::new());
        Self { survey, time: Duration::ZERO, wire, read, asked, sent, crowd: 0 }
    }

    /// Until it is over.
    fn run(&mut self) -> Vec<PathRow> {
        self.run_for(Duration::from_secs(600));
        assert!(self.survey.is_over(), "the survey does not end");
        self.survey.paths()
    }

    fn run_for(&mut self, limit: Duration) {
        while !self.survey.is_over() && self.time < limit {
            match self.survey.poll(at(self.time)) {
                Some(output) => self.act(output),
                None if self.survey.is_over() => return,
                None => {
                    if self.time < Duration::from_millis(1) {
                        self.crowd = self.crowd.max(self.survey.under_way.len());
                    }
                    let deadline = self.survey.poll_timeout().map_or(limit, Mono::since_start);
                    self.time = self.time.max(deadline) + Duration::from_micros(1);
                }
            }
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::ReadFacts(tables) => {
                self.read.push(tables.to_vec());
                let raw = facts();
                let only = |source, dump| if tables.contains(&source) { dump } else { Err(not_read(source)) };
                let raw = RawFacts {
                    links: only(Source::Links, raw.links),
                    addresses: only(Source::Addresses, raw.addresses),
                    routes: only(Source::Routes, raw.routes),
                    neighbours: only(Source::Neighbours, raw.neighbours),
                    neighbour_tables: Err(not_read(Source::NeighbourTables)),
                    fdb: only(Source::Fdb, raw.fdb),
                    pod_ends: Err(not_read(Source::PodEnds)),
                    ..raw
                };
                self.survey.on(Input::Facts(Box::new(raw)), at(self.time));
            }
            Output::ReadRoutes(queries) => {
                self.asked.extend(&queries);
                let answers = queries.into_iter().map(|query| (query, Ok(lookup(query.to)))).collect();
                let raw = RawRoutes { answers, exceptions: Ok(golden::exceptions()), took: BTreeMap::new() };
                self.survey.on(Input::Routes(Box::new(raw)), at(self.time));
            }
            Output::Transmit(transmit) => self.transmit(&transmit),
            Output::WatchTunnelPorts(_) => {}
        }
    }

    fn transmit(&mut self, transmit: &Transmit) {
        let sent = if matches!(transmit.means, Means::Tcp { .. }) { Sent::TcpSilent } else { Sent::Ok };
        self.survey.on(Input::Sent(transmit.id, sent), at(self.time));
        let Means::Icmp { head, padding } = &transmit.means else { return };
        let to = transmit.to.ip();
        let size = Family::of(to).header() + u32::try_from(head.len()).unwrap() + padding;
        self.sent.push((to, size, transmit.from));
        if (self.wire)(to, size) {
            let took = Duration::from_micros(300);
            let bytes = reply(to, head, *padding);
            let at_hand = Mono::new(self.time + took);
            let datagram = Datagram { from: to, bytes, at: at_hand, waited: None, fragment: None };
            self.survey.on(Input::Datagram(datagram), at(self.time + took));
        }
    }
}

fn not_read(source: Source) -> Unread {
    Unread::new(source, Reason::NotYet)
}

fn verdicts(paths: &[PathRow]) -> Vec<(String, &'static str, Option<u32>)> {
    let row = |path: &PathRow| {
        (format!("{} {}", path.peer, path.address), path.verdict.name(), path.path_mtu.map(IpSize::bytes))
    };
    paths.iter().map(row).collect()
}

#[test]
fn a_clear_path_takes_two_packets_and_two_tables() {
    let mut world = World::new(wanted(&["10.0.0.12"]), |_, _| true);
    let paths = world.run();
    assert_eq!(verdicts(&paths), [("10.0.0.12 10.0.0.12".into(), "clear", Some(1500))]);
    assert_eq!(
        world.read,
        [[Source::Links, Source::Addresses]],
        "routing tables may be huge, and nobody asks for them"
    );
    assert_eq!(world.asked, [Query::from(ip("10.0.0.12"))]);
    assert_eq!(world.sent.len(), 2);
    let path = &paths[0];
    assert_eq!((path.plane, path.via.join(" ").as_str()), (Plane::Underlay, "vmbr1 enp5s0"));
    assert!(path.route.is_some() && path.probed_at.is_some() && path.round_trip_seconds.is_some(), "{path:?}");
}

#[test]
fn what_leads_into_a_tunnel_is_measured_below_it_too() {
    let mut world = World::new(wanted(&[TUNNEL_END]), |_, _| true);
    let paths = world.run();
    assert_eq!(world.read.len(), 2, "now every table counts");
    assert!(world.read[1].contains(&Source::Fdb) && world.read[1].contains(&Source::Neighbours));
    let path = &paths[0];
    assert_eq!(
        (path.plane, path.path_mtu, path.verdict),
        (Plane::Overlay, Some(IpSize::new(1450)), VerdictName::Clear)
    );
    assert!(path.outer.is_some(), "{path:?}");
    let pod = World::new(wanted(&["10.244.2.2"]), |_, _| true).run();
    assert_eq!((pod[0].plane, pod[0].outer.is_none()), (Plane::Pod, true), "{pod:?}");
}

#[test]
fn rows_have_the_order_of_the_targets_and_a_name_has_one_for_each_address() {
    let targets = ["10.0.0.13", "db=10.0.0.14", "db=10.0.0.12", "10.0.0.12"];
    let paths = World::new(wanted(&targets), |to, _| to != ip("10.0.0.13")).run();
    let wanted = [
        ("10.0.0.13 10.0.0.13".to_owned(), "unreachable", None),
        ("db 10.0.0.14".to_owned(), "clear", Some(1500)),
        ("db 10.0.0.12".to_owned(), "clear", Some(1500)),
        ("10.0.0.12 10.0.0.12".to_owned(), "clear", Some(1500)),
    ];
    assert_eq!(verdicts(&paths), wanted);
}

#[test]
fn the_largest_size_and_the_source_are_those_asked_for() {
    let source = ip("10.0.0.11");
    let wanted = Wanted { source: Some(source), largest: Some(IpSize::new(1300)), ..wanted(&["10.0.0.12"]) };
    let mut world = World::new(wanted, |_, _| true);
    let paths = world.run();
    assert_eq!((paths[0].path_mtu, paths[0].expected_mtu), (Some(IpSize::new(1300)), Some(IpSize::new(1300))));
    assert_eq!(world.asked, [Query { to: ip("10.0.0.12"), from: Some(source) }]);
    assert!(world.sent.iter().all(|&(_, size, from)| size <= 1300 && from == Some(source)), "{:?}", world.sent);
}

#[test]
fn a_black_hole_is_found_and_takes_no_more_than_its_budget() {
    let mut world = World::new(wanted(&["10.0.0.12"]), |_, size| size <= 1337);
    let paths = world.run();
    assert_eq!(verdicts(&paths), [("10.0.0.12 10.0.0.12".into(), "black_hole", Some(1337))]);
    assert!(paths[0].packets_sent as usize >= world.sent.len());
}

#[test]
fn many_start_slowly_and_each_answer_makes_room_for_two() {
    let names: Vec<String> = (0..1000).map(|n| format!("n{n}=10.0.0.12")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut clean = World::new(wanted(&all), |_, _| true);
    assert!(clean.run().iter().all(|path| path.verdict == VerdictName::Clear));
    assert_eq!(clean.sent.len(), 2000);
    let mut dead = World::new(wanted(&all), |_, _| false);
    assert!(dead.run().iter().all(|path| path.verdict == VerdictName::Unreachable));
    assert_eq!(dead.crowd, 32, "nobody answers, so nobody makes room");
    assert!(dead.time < Duration::from_secs(10), "the dead hold each other up for a moment only: {:?}", dead.time);
}

#[test]
fn progress_counts_and_names_what_is_waited_for() {
    let mut world = World::new(wanted(&["10.0.0.12", "10.0.0.13"]), |to, _| to == ip("10.0.0.12"));
    assert_eq!(world.survey.progress(), Progress { paths: 2, done: 0, under_way: None });
    world.run_for(Duration::from_millis(100));
    let progress = world.survey.progress();
    assert_eq!((progress.paths, progress.done), (2, 1));
    assert_eq!(progress.under_way.map(|(key, swept)| (key.peer.as_str(), swept)), Some(("10.0.0.13", false)));
    world.run();
    assert_eq!(world.survey.progress(), Progress { paths: 2, done: 2, under_way: None });
}

#[test]
fn what_is_given_up_is_unknown_and_what_was_measured_stays() {
    let mut world = World::new(wanted(&["10.0.0.12", "10.0.0.13"]), |to, _| to == ip("10.0.0.12"));
    world.run_for(Duration::from_millis(100));
    world.survey.give_up("time is up", at(world.time));
    assert!(world.survey.is_over() && world.survey.poll(at(world.time)).is_none());
    let paths = world.survey.paths();
    assert_eq!([paths[0].verdict, paths[1].verdict], [VerdictName::Clear, VerdictName::Unknown]);
    assert_eq!(paths[1].why.as_deref(), Some("time is up"));
    assert_eq!((paths[1].path_mtu, paths[1].expected_mtu), (None, None), "of what is not known nothing is said");
}

#[test]
fn given_up_before_anything_was_read_it_ends_without_a_row() {
    let mut survey = Survey::new(wanted(&["10.0.0.12"]), Wire::Raw, IDENTITY, at(Duration::ZERO));
    survey.give_up("interrupted", at(Duration::ZERO));
    assert!(survey.paths().is_empty() && survey.blind().is_none());
}

#[test]
fn links_that_cannot_be_read_are_told() {
    let mut survey = Survey::new(wanted(&["10.0.0.12"]), Wire::Raw, IDENTITY, at(Duration::ZERO));
    assert!(matches!(survey.poll(at(Duration::ZERO)), Some(Output::ReadFacts(_))));
    let raw = RawFacts { links: Err(not_read(Source::Links)), ..facts() };
    survey.on(Input::Facts(Box::new(raw)), at(Duration::ZERO));
    assert_eq!(survey.blind(), Some(&not_read(Source::Links)));
}

#[test]
fn source_ports_are_swept_only_of_what_carries_something() {
    let wanted = Wanted { ports: Some(4), ..wanted(&["10.0.0.12", "10.0.0.13"]) };
    let mut world = World::new(wanted, |to, _| to == ip("10.0.0.12"));
    let paths = world.run();
    assert!(paths[0].spread.is_some(), "{:?}", paths[0]);
    assert!(paths[1].spread.is_none(), "{:?}", paths[1]);
}
