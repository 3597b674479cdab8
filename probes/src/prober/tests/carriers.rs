//! Each kind of carrier: what it looks like on the wire, what counts as its answer, and what does not.

use std::net::Ipv6Addr;

use super::super::receive;
use super::*;
use crate::path::course::Stage;
use crate::path::{Carrier, Encapsulation, Way, spread};

const HERE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x12);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, 1);
const SOON: Duration = Duration::from_micros(100);

const HOW: Encapsulation = Encapsulation {
    vtep: IpAddr::V4(PEER),
    port: 4789,
    vni: 4096,
    from_mac: [2, 0, 0, 0, 0, 1],
    to_mac: [2, 0, 0, 0, 0, 2],
    inner_from: IpAddr::V4(Ipv4Addr::new(10, 244, 1, 0)),
    inner_to: IpAddr::V4(INNER),
};

fn six() -> Target {
    let key = PathKey { address: PEER6.into(), ..underlay(PEER).key };
    Target { key, ..underlay(PEER) }
}

fn outer() -> Target {
    Target { expected: IpSize::new(1500), tunnel: None, task: Task::Outer(HOW), ..overlay() }
}

fn sweep() -> Target {
    Target { task: Task::Spread { ports: 4, encapsulation: None }, ..underlay(PEER) }
}

/// A run that sends nothing by itself, so that a test can have it send what it likes.
fn idle(prober: &mut Prober, target: Target) -> RunId {
    prober.start(target, micros(0));
    prober.outbox.clear();
    RunId(prober.next_run - 1)
}

fn send(prober: &mut Prober, run: RunId, probe: Probe, now: Mono) -> Transmit {
    prober.outbox.push_back((run, probe));
    let transmit = prober.poll_transmit(now).expect("a probe was asked for");
    prober.on_sent(transmit.id, Sent::Ok, now);
    transmit
}

fn whole(means: &Means) -> Vec<u8> {
    let (Means::Icmp { head, padding } | Means::Udp { head, padding, .. }) = means else { panic!("{means:?}") };
    head.iter().copied().chain(std::iter::repeat_n(0, *padding as usize)).collect()
}

fn from6(from: Ipv6Addr, bytes: Vec<u8>, at: Mono) -> Datagram {
    Datagram { from: from.into(), bytes, at, waited: None, fragment: None }
}

/// The ICMPv6 message that a host sends back: a reply, or an error that quotes an IPv6 packet.
fn reply6(transmit: &Transmit) -> Vec<u8> {
    let mut reply = whole(&transmit.means);
    reply[0] = 129;
    reply
}

fn error6(kind: u8, code: u8, mtu: u32, next: u8, quoted: &[u8]) -> Vec<u8> {
    let mut error = vec![kind, code, 0, 0];
    error.extend(mtu.to_be_bytes());
    error.extend([0x60, 0, 0, 0, 0, 0, next, 64]);
    error.extend(HERE6.octets());
    error.extend(PEER6.octets());
    error.extend(&quoted[..quoted.len().min(1232)]);
    error
}

#[test]
fn ipv6_is_measured_as_ipv4_is() {
    let mut prober = prober();
    prober.start(six(), micros(0));
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(micros(0))).collect();
    let sizes: Vec<_> = transmits.iter().map(|transmit| 40 + whole(&transmit.means).len()).collect();
    assert_eq!(sizes, [84, 1500]);
    for transmit in &transmits {
        prober.on_sent(transmit.id, Sent::Ok, micros(0));
        prober.on_datagram(&from6(PEER6, reply6(transmit), micros(100)));
    }
    assert_eq!(measured(&mut prober, micros(100)), Some(Verdict::Clear { mtu: IpSize::new(1500) }));
    assert_eq!(errors(&prober), []);
}

#[test]
fn packet_too_big_is_confirmed_and_less_than_every_link_carries_is_not_believed() {
    for (claimed, sizes) in [(1400, [84, 1500, 1400].as_slice()), (1279, &[84, 1500, 1500])] {
        let mut prober = prober();
        prober.start(six(), micros(0));
        let mut now = micros(0);
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let Some(transmit) = prober.poll_transmit(now) else {
                now = now.max(prober.poll_timeout().unwrap());
                continue;
            };
            let size = 40 + whole(&transmit.means).len();
            seen.push(size);
            prober.on_sent(transmit.id, Sent::Ok, now);
            let answer = if size > 1400 {
                from6(ROUTER6, error6(2, 0, claimed, 58, &whole(&transmit.means)), now + SOON)
            } else {
                from6(PEER6, reply6(&transmit), now + SOON)
            };
            prober.on_datagram(&answer);
        }
        assert_eq!(seen, sizes, "{claimed}");
    }
}

#[test]
fn a_fragmented_reply_says_what_the_way_back_carries() {
    let mut prober = prober();
    let run = idle(&mut prober, underlay(PEER));
    let transmit = send(&mut prober, run, Probe::new(Carrier::Echo, IpSize::new(1450)), micros(0));
    let reply = Datagram { fragment: Some(IpSize::new(1396)), ..datagram(seen(&transmit).reply(), micros(100)) };
    prober.on_datagram(&reply);
    let Stage::Search(search) = prober.runs[&run].course.stage() else { panic!("not searching") };
    assert_eq!(search.fragment(IpSize::new(1450)), Some(IpSize::new(1396)));
}

/// A timestamp reply to a request: its first 20 bytes, of type 14.
fn timestamp_reply(from: Ipv4Addr, request: &[u8]) -> Vec<u8> {
    let rest: [u8; 4] = request[4..8].try_into().unwrap();
    golden::ipv4(from, HERE, 1, &golden::icmp(14, 0, rest, &request[8..20]))
}

#[test]
fn a_timestamp_is_as_large_as_asked_and_its_answer_is_known_by_what_it_returns() {
    let mut prober = prober();
    let run = idle(&mut prober, underlay(PEER));
    let transmit = send(&mut prober, run, Probe::new(Carrier::Timestamp, IpSize::new(1400)), micros(0));
    let request = whole(&transmit.means);
    assert_eq!((request[0], request.len()), (13, 1380));
    let mut forged = request.clone();
    forged[11] ^= 1;
    receive(&mut prober, timestamp_reply(PEER, &forged), micros(50));
    assert_eq!(errors(&prober), [(ErrorKind::Forged, 1)], "another originate timestamp");
    receive(&mut prober, seen(&transmit).reply(), micros(60));
    assert_eq!(errors(&prober), [(ErrorKind::Forged, 2)], "an echo reply answers no timestamp");
    receive(&mut prober, timestamp_reply(PEER, &request), micros(70));
    assert_eq!(errors(&prober), [(ErrorKind::Forged, 2)]);
    receive(&mut prober, timestamp_reply(PEER, &request), micros(80));
    assert_eq!(errors(&prober), [(ErrorKind::Forged, 2)], "the same once more is merely late");
}

#[test]
fn a_sweep_leaves_from_its_own_ports_and_port_unreachable_by_the_target_answers_it() {
    let mut prober = prober();
    let run = idle(&mut prober, sweep());
    let probe = |source| Probe::new(Carrier::Sweep { source }, IpSize::new(1500));
    for source in [0, 3, 510] {
        let transmit = send(&mut prober, run, probe(source), micros(0));
        let Means::Udp { source: port, .. } = transmit.means else { panic!("{transmit:?}") };
        assert_eq!((port, transmit.to.port()), (FIRST_PORT + source, spread::PORT));
        assert_eq!(seen(&transmit).size(), 1500);
        let key = *prober.runs[&run].flights.last().unwrap();
        receive(&mut prober, seen(&transmit).error(PEER, 3, 3, 0, 548), micros(100));
        assert!(prober.flights.get(key).is_none(), "answered");
    }
    let transmit = send(&mut prober, run, probe(7), micros(200));
    let key = *prober.runs[&run].flights.last().unwrap();
    receive(&mut prober, seen(&transmit).error(ROUTER, 3, 4, 1400, 28), micros(300));
    receive(&mut prober, seen(&transmit).error(ROUTER, 3, 3, 0, 28), micros(300));
    assert!(prober.flights.get(key).is_some(), "a router's words are no answer of the target");
    let mut forged = seen(&transmit);
    forged.packet[28] ^= 1;
    receive(&mut prober, forged.error(PEER, 3, 3, 0, 548), micros(400));
    assert_eq!(errors(&prober), [(ErrorKind::Forged, 1)]);
}

#[test]
fn each_of_several_sweep_probes_that_are_known_as_one_is_known_to_have_left() {
    let mut prober = prober();
    let run = idle(&mut prober, sweep());
    let probe = Probe::new(Carrier::Sweep { source: 1 }, IpSize::new(1500));
    prober.outbox.extend([(run, probe); 3]);
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(micros(0))).take(3).collect();
    for transmit in &transmits {
        assert!(prober.flights.pending(transmit.id).is_some(), "nobody said what became of it");
        prober.on_sent(transmit.id, Sent::Ok, micros(0));
        assert!(prober.flights.pending(transmit.id).is_none());
    }
}

#[test]
fn a_repeated_sweep_probe_is_answered_by_an_answer_to_either() {
    let mut prober = prober();
    let run = idle(&mut prober, sweep());
    let probe = Probe::new(Carrier::Sweep { source: 1 }, IpSize::new(1500));
    let first = send(&mut prober, run, probe, micros(0));
    let _second = send(&mut prober, run, probe, micros(300));
    let key = *prober.runs[&run].flights.last().unwrap();
    receive(&mut prober, seen(&first).error(PEER, 3, 3, 0, 548), micros(400));
    assert!(prober.flights.get(key).is_none());
    assert_eq!(errors(&prober), []);
}

#[test]
fn what_is_encapsulated_here_is_answered_from_inside_and_complained_of_from_outside() {
    let mut prober = prober();
    prober.start(outer(), micros(0));
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(micros(0))).collect();
    let sizes: Vec<_> = transmits.iter().map(|transmit| seen(transmit).size()).collect();
    assert_eq!(sizes, [134, 1500], "of the outer packet; the reference is 84 bytes inside");
    for transmit in &transmits {
        prober.on_sent(transmit.id, Sent::Ok, micros(0));
        assert_eq!(transmit.to, SocketAddr::new(PEER.into(), 4789));
    }
    let inner = |transmit: &Transmit| whole(&transmit.means)[22 + 20..].to_vec();
    receive(&mut prober, timestamp_reply(INNER, &inner(&transmits[0])), micros(100));
    receive(&mut prober, seen(&transmits[1]).error(ROUTER, 3, 4, 1400, 28), micros(100));
    let confirm = prober.poll_transmit(micros(200)).unwrap();
    assert_eq!(seen(&confirm).size(), 1400, "what the router named, in sizes of the outer packet");
    prober.on_sent(confirm.id, Sent::Ok, micros(200));
    receive(&mut prober, timestamp_reply(INNER, &inner(&confirm)), micros(300));
    let Some((key, Learned::Outer(measured))) = prober.poll_learned(micros(500)) else { panic!("not measured") };
    assert_eq!((key, measured.verdict), (overlay().key, limited(1400, ROUTER, 1400)));
    assert_eq!(measured.forward, Some(IpSize::new(1400)));
    assert_eq!(errors(&prober), []);
}

#[test]
fn a_closed_tunnel_port_says_so_of_what_is_encapsulated_here() {
    let mut prober = prober();
    let verdict = {
        prober.start(outer(), micros(0));
        play(&mut prober, |seen| Some(seen.error(PEER, 3, 3, 0, 548))).verdict
    };
    let why = Unreachable::Refused { by: PEER.into(), why: Refusal::TunnelPortUnreachable };
    assert_eq!(verdict, Verdict::Unreachable { why });
}

#[test]
fn a_tunnel_and_what_is_encapsulated_beside_it_are_told_apart() {
    let mut prober = prober();
    prober.start(overlay(), micros(0));
    prober.start(outer(), micros(0));
    let mut transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(micros(0))).collect();
    transmits.iter().for_each(|transmit| prober.on_sent(transmit.id, Sent::Ok, micros(0)));
    let own = transmits.pop().unwrap();
    receive(&mut prober, seen(&own).error(ROUTER, 3, 4, 1400, 28), micros(100));
    let inner_sizes: Vec<_> = prober.runs.values().map(|run| run.course.named()).collect();
    assert_eq!(inner_sizes, [vec![], vec![IpSize::new(1400)]], "the tunnel's own probes were not blamed");
}

#[test]
fn hops_below_a_tunnel_are_told_apart_by_what_is_inside() {
    let mut prober = prober();
    let run = idle(&mut prober, outer());
    let probe = |ttl| Probe { ttl: Some(ttl), ..Probe::new(Carrier::Vxlan { source: 3 }, IpSize::new(1500)) };
    let transmits = [1, 2].map(|ttl| send(&mut prober, run, probe(ttl), micros(0)));
    let error = |length| seen(&transmits[1]).error(ROUTER, 11, 0, 0, length);
    receive(&mut prober, error(28), micros(100));
    assert_eq!(errors(&prober), [(ErrorKind::Unmatched, 1)], "it may be about either");
    receive(&mut prober, error(548), micros(100));
    assert_eq!(errors(&prober), [(ErrorKind::Unmatched, 1)]);
    let mut forged = seen(&transmits[1]);
    let originate = 28 + 22 + 20 + 8;
    forged.packet[originate] ^= 1;
    receive(&mut prober, forged.error(ROUTER, 11, 0, 0, 548), micros(100));
    assert_eq!(errors(&prober), [(ErrorKind::Unmatched, 1), (ErrorKind::Forged, 1)]);
}

#[test]
fn a_probe_with_few_hops_to_go_expires_where_others_go_round_in_circles() {
    let mut prober = prober();
    let run = idle(&mut prober, underlay(PEER));
    let probe = Probe { ttl: Some(1), ..Probe::new(Carrier::Echo, IpSize::new(84)) };
    let transmit = send(&mut prober, run, probe, micros(0));
    assert_eq!(transmit.ttl, Some(1));
    let at = micros(250);
    let datagram = datagram(seen(&transmit).error(ROUTER, 11, 0, 0, 548), at);
    let flight = prober.flights.get(*prober.runs[&run].flights.last().unwrap()).unwrap();
    let answer = receive::expired(&flight, &datagram);
    assert_eq!(answer, Answer::Expired { by: ROUTER.into(), round_trip: Some(Duration::from_micros(250)) });
    let endless = Flight { probe: Probe::new(Carrier::Echo, IpSize::new(84)), ..flight };
    let refused = Answer::Refused { by: ROUTER.into(), why: Refusal::TtlExceeded };
    assert_eq!(receive::expired(&endless, &datagram), refused);
}

#[test]
fn sweeps_wait_until_nothing_else_is_to_be_sent_and_no_round_waits_for_them() {
    let mut prober = prober();
    prober.start(sweep(), micros(0));
    prober.start(underlay(PEER), micros(0));
    assert!(!prober.is_round_over() && prober.is_busy(&underlay(PEER).key, TaskKind::Spread));
    let run = RunId(0);
    prober.background.clear();
    prober.background.push_back((run, Probe::new(Carrier::Sweep { source: 0 }, IpSize::new(84))));
    let first = prober.poll_transmit(micros(0)).unwrap();
    assert!(matches!(first.means, Means::Icmp { .. }), "the measurement goes first");
    prober.stop(&underlay(PEER).key, micros(0));
    assert!(prober.is_idle());
}

#[test]
fn an_ipv6_black_hole_is_told_to_be_on_the_way_there() {
    let mut prober = prober();
    prober.start(six(), micros(0));
    let mut now = micros(0);
    for _ in 0..1000 {
        while let Some(transmit) = prober.poll_transmit(now) {
            prober.on_sent(transmit.id, Sent::Ok, now);
            let body = whole_or_none(&transmit.means);
            let header = if matches!(transmit.means, Means::Udp { .. }) { 48 } else { 40 };
            let (carried, expires) = (header + body.len() <= 1400, transmit.ttl == Some(1));
            let quoted = |next| if expires { error6(3, 0, 0, next, &body) } else { error6(1, 4, 0, next, &body) };
            let answer = match &transmit.means {
                Means::Icmp { .. } if expires => (ROUTER6, quoted(58)),
                Means::Icmp { .. } if carried => (PEER6, reply6(&transmit)),
                Means::Udp { source, .. } if carried => {
                    let [a, b] = source.to_be_bytes();
                    let [c, d] = transmit.to.port().to_be_bytes();
                    let [e, f] = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
                    let datagram = [&[a, b, c, d, e, f, 0, 0], &body[..]].concat();
                    (PEER6, error6(1, 4, 0, 17, &datagram))
                }
                _ => continue,
            };
            prober.on_datagram(&from6(answer.0, answer.1, now + SOON));
        }
        if let Some((_, learned)) = prober.poll_learned(now) {
            let measured = mtu(learned);
            assert_eq!(measured.verdict.path_mtu(), Some(IpSize::new(1400)));
            assert_eq!(measured.way, Some(Way::Forward), "{measured:?}");
            return;
        }
        now = now.max(prober.poll_timeout().expect("a path is under measurement"));
    }
    panic!("the measurement does not end: {:?}", prober.runs.values().next().map(|run| run.course.stage()));
}

fn whole_or_none(means: &Means) -> Vec<u8> {
    if matches!(means, Means::Tcp { .. }) { Vec::new() } else { whole(means) }
}
