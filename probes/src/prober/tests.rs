//! Whole exchanges in bytes: what leaves is read as a host would read it, and answered, forged or cut short.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::path::{Limit, Measured, Plane, Refusal, Task, TunnelEnd, Unreachable, Verdict};
use crate::units::IpSize;
use crate::wire::icmp::golden;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const INNER: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 0);
const ID: u16 = 0x1234;
const FIRST_PORT: u16 = 61_440;
const TUNNEL: TunnelEnd = TunnelEnd { vtep: IpAddr::V4(PEER), port: 4789, overhead: 50 };

fn micros(micros: u64) -> Mono {
    Mono::new(Duration::from_micros(micros))
}

fn prober() -> Prober {
    Prober::new(Identity { id: ID, secret: 99, first_port: FIRST_PORT }, 200, Mono::default())
}

fn underlay(address: Ipv4Addr) -> Target {
    let key = PathKey { peer: "master-2".into(), plane: Plane::Underlay, address: address.into() };
    Target {
        key,
        from: None,
        expected: IpSize::new(1500),
        tunnel: None,
        task: Task::Mtu { hops: false, sample: false },
    }
}

fn overlay() -> Target {
    let key = PathKey { peer: "master-2".into(), plane: Plane::Overlay, address: INNER.into() };
    Target {
        key,
        from: None,
        expected: IpSize::new(1450),
        tunnel: Some(TUNNEL),
        task: Task::Mtu { hops: false, sample: false },
    }
}

/// A packet that left, as a host on the way sees it.
#[derive(Clone, Debug)]
struct Seen {
    to: Ipv4Addr,
    packet: Vec<u8>,
}

impl Seen {
    fn size(&self) -> usize {
        self.packet.len()
    }

    fn reply(&self) -> Vec<u8> {
        let mut body = self.packet[20..].to_vec();
        let [a, b, c, d] = body[4..8].try_into().unwrap();
        body = golden::icmp(0, 0, [a, b, c, d], &body.split_off(8));
        golden::ipv4(self.to, HERE, 1, &body)
    }

    /// An ICMP error about this packet that quotes `length` bytes of it.
    fn error(&self, by: Ipv4Addr, kind: u8, code: u8, mtu: u16, length: usize) -> Vec<u8> {
        error(by, kind, code, mtu, &self.packet[..length.min(self.size())])
    }

    /// The same about the VXLAN packet around it.
    fn outer_error(&self, by: Ipv4Addr, code: u8, mtu: u16, length: usize) -> Vec<u8> {
        let mut payload = vec![8, 0, 0, 0, 0, 0x10, 0, 0];
        payload.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        payload.extend_from_slice(&self.packet);
        let outer = golden::ipv4(HERE, PEER, 17, &golden::udp(50_000, 4789, &payload));
        error(by, 3, code, mtu, &outer[..length.min(outer.len())])
    }
}

fn error(by: Ipv4Addr, kind: u8, code: u8, mtu: u16, quote: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    golden::ipv4(by, HERE, 1, &golden::icmp(kind, code, [0, 0, high, low], quote))
}

/// Everything that wants to leave at `now`, handed to the kernel, which takes it.
fn leave(prober: &mut Prober, now: Mono) -> Vec<Seen> {
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(now)).collect();
    let seen = transmits.into_iter().map(|transmit| {
        prober.on_sent(transmit.id, Sent::Ok, now);
        seen(&transmit)
    });
    seen.collect()
}

fn seen(transmit: &Transmit) -> Seen {
    let IpAddr::V4(to) = transmit.to.ip() else { panic!("{transmit:?}") };
    let packet = match &transmit.means {
        Means::Icmp { head, padding } => {
            let body: Vec<u8> = head.iter().copied().chain(std::iter::repeat_n(0, *padding as usize)).collect();
            golden::ipv4(HERE, to, 1, &body)
        }
        Means::Udp { source, head, padding } => {
            let payload: Vec<u8> = head.iter().copied().chain(std::iter::repeat_n(0, *padding as usize)).collect();
            golden::ipv4(HERE, to, 17, &golden::udp(*source, transmit.to.port(), &payload))
        }
        Means::Tcp { .. } => Vec::new(),
    };
    Seen { to, packet }
}

fn datagram(bytes: Vec<u8>, at: Mono) -> Datagram {
    let from: [u8; 4] = bytes[12..16].try_into().unwrap();
    Datagram { from: from.into(), bytes, at, waited: None, fragment: None }
}

fn receive(prober: &mut Prober, bytes: Vec<u8>, at: Mono) {
    prober.on_datagram(&datagram(bytes, at));
}

fn measured(prober: &mut Prober, now: Mono) -> Option<Verdict> {
    prober.poll_learned(now).map(|(_, learned)| mtu(learned).verdict)
}

fn mtu(learned: Learned) -> Measured {
    let (Learned::Mtu(measured) | Learned::Outer(measured)) = learned else { panic!("{learned:?}") };
    *measured
}

fn errors(prober: &Prober) -> Vec<(ErrorKind, u64)> {
    prober.errors().iter().map(|(&kind, &count)| (kind, count)).filter(|&(_, count)| count > 0).collect()
}

fn limited(mtu: u32, by: Ipv4Addr, reported: u32) -> Verdict {
    let by = Limit { address: Some(by.into()), reported_mtu: Some(IpSize::new(reported)), ttl: None };
    Verdict::Limited { mtu: IpSize::new(mtu), by }
}

/// Runs time forward until the path is measured; `answer` says what comes back of each packet, at once.
fn play(prober: &mut Prober, answer: impl Fn(&Seen) -> Option<Vec<u8>>) -> Measured {
    let mut now = micros(0);
    for _ in 0..1000 {
        for seen in leave(prober, now) {
            if let Some(bytes) = answer(&seen) {
                receive(prober, bytes, now + Duration::from_micros(100));
            }
        }
        if let Some((_, learned)) = prober.poll_learned(now) {
            return mtu(learned);
        }
        now = now.max(prober.poll_timeout().expect("a path is under measurement"));
    }
    panic!("the measurement does not end");
}

#[test]
fn a_clean_path_is_two_packets_and_the_round_trip_is_the_kernels() {
    let mut prober = prober();
    assert!(prober.is_idle() && prober.poll_timeout().is_none());
    prober.start(underlay(PEER), micros(0));
    let seen = leave(&mut prober, micros(10));
    assert_eq!(seen.iter().map(Seen::size).collect::<Vec<_>>(), [84, 1500]);
    for (seen, waited) in seen.iter().zip([800, 0]) {
        let waited = Some(Duration::from_micros(waited));
        prober.on_datagram(&Datagram { waited, ..datagram(seen.reply(), micros(1010)) });
    }
    let (path, measured) = prober.poll_learned(micros(1010)).map(|(key, learned)| (key, mtu(learned))).unwrap();
    assert_eq!(path, underlay(PEER).key);
    assert_eq!(measured.verdict, Verdict::Clear { mtu: IpSize::new(1500) });
    assert_eq!(measured.round_trip, Some(Duration::from_micros(200)));
    assert_eq!(measured.sent, 2);
    assert!(prober.is_idle() && prober.poll_timeout().is_none() && errors(&prober).is_empty());
}

#[test]
fn a_stamp_from_before_the_packet_left_is_not_believed() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let seen = leave(&mut prober, micros(1000));
    let waited = Some(Duration::from_millis(5));
    prober.on_datagram(&Datagram { waited, ..datagram(seen[0].reply(), micros(1300)) });
    receive(&mut prober, seen[1].reply(), micros(1300));
    let (_, measured) = prober.poll_learned(micros(1300)).map(|(key, learned)| (key, mtu(learned))).unwrap();
    assert_eq!(measured.round_trip, Some(Duration::from_micros(300)));
}

#[test]
fn an_answer_that_overtakes_the_news_of_its_sending_counts() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(micros(0))).collect();
    receive(&mut prober, seen(&transmits[0]).reply(), micros(100));
    receive(&mut prober, seen(&transmits[1]).reply(), micros(100));
    let (_, measured) = prober.poll_learned(micros(100)).map(|(key, learned)| (key, mtu(learned))).unwrap();
    assert_eq!((measured.sent, measured.verdict), (2, Verdict::Clear { mtu: IpSize::new(1500) }));
    prober.on_sent(transmits[0].id, Sent::Ok, micros(200));
    assert!(prober.is_idle());
}

#[test]
fn what_is_not_exactly_our_answer_changes_nothing_and_is_counted() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let full = leave(&mut prober, micros(0)).remove(1);
    let with = |change: fn(&mut Vec<u8>)| {
        let mut seen = full.clone();
        change(&mut seen.packet);
        seen.reply()
    };
    let elsewhere = Seen { to: ROUTER, ..full.clone() };
    let cases = [
        (with(|packet| packet[28] ^= 1), ErrorKind::Forged, "another cookie"),
        (with(|packet| packet.truncate(84)), ErrorKind::Forged, "another length"),
        (elsewhere.reply(), ErrorKind::Forged, "another source"),
        (with(|packet| packet[24] ^= 1), ErrorKind::Unmatched, "another process's identifier"),
        (full.reply()[..1499].to_vec(), ErrorKind::Malformed, "cut short"),
        (full.packet.clone(), ErrorKind::Unmatched, "our own request"),
    ];
    for (bytes, kind, what) in cases {
        let before = prober.errors()[&kind];
        receive(&mut prober, bytes, micros(50));
        assert_eq!(prober.errors()[&kind], before + 1, "{what}");
        assert_eq!(measured(&mut prober, micros(50)), None, "{what}");
    }
    let spoofed = Datagram { from: ROUTER.into(), ..datagram(full.reply(), micros(50)) };
    prober.on_datagram(&spoofed);
    assert_eq!(measured(&mut prober, micros(50)), None, "header and socket disagree about the source");
    receive(&mut prober, full.reply(), micros(60));
    assert_eq!(measured(&mut prober, micros(60)), Some(Verdict::Clear { mtu: IpSize::new(1500) }));
}

#[test]
fn a_sequence_that_nobody_sent_is_unmatched() {
    let mut prober = prober();
    let stray =
        Seen { to: PEER, packet: golden::ipv4(HERE, PEER, 1, &golden::icmp(8, 0, golden::echo(ID, 1), &[0; 56])) };
    receive(&mut prober, stray.reply(), micros(0));
    receive(&mut prober, stray.error(ROUTER, 3, 4, 1400, 28), micros(0));
    assert_eq!(errors(&prober), [(ErrorKind::Unmatched, 2)]);
}

#[test]
fn a_late_answer_is_no_error_and_matches_no_new_probe() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let first = leave(&mut prober, micros(0));
    receive(&mut prober, first[1].reply(), micros(100));
    assert!(measured(&mut prober, micros(100)).is_some());
    prober.start(underlay(PEER), micros(200));
    leave(&mut prober, micros(200));
    for bytes in [first[0].reply(), first[1].reply(), first[1].error(ROUTER, 3, 4, 1400, 1500)] {
        receive(&mut prober, bytes, micros(300));
    }
    assert_eq!((measured(&mut prober, micros(300)), errors(&prober)), (None, vec![]));
}

#[test]
fn frag_needed_is_followed_whether_it_quotes_much_or_little() {
    for length in [28, 36, 548] {
        let mut prober = prober();
        prober.start(underlay(PEER), micros(0));
        let measured = play(&mut prober, |seen| {
            let fits = seen.size() <= 1400;
            Some(if fits { seen.reply() } else { seen.error(ROUTER, 3, 4, 1400, length) })
        });
        assert_eq!(measured.verdict, limited(1400, ROUTER, 1400), "{length} bytes quoted");
        assert_eq!(measured.sent, 3);
    }
}

#[test]
fn an_error_with_a_wrong_cookie_or_too_short_a_quote_is_no_hint() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let mut full = leave(&mut prober, micros(0)).remove(1);
    receive(&mut prober, full.error(ROUTER, 3, 4, 1400, 27), micros(10));
    full.packet[28] ^= 1;
    receive(&mut prober, full.error(ROUTER, 3, 4, 1400, 36), micros(10));
    assert_eq!(errors(&prober), [(ErrorKind::Malformed, 1), (ErrorKind::Forged, 1)]);
    assert!(prober.poll_transmit(micros(10)).is_none(), "no size was chosen by it");
}

#[test]
fn paths_that_share_an_address_keep_their_answers_apart() {
    let mut prober = prober();
    let other = PathKey { plane: Plane::Pod, ..underlay(PEER).key };
    prober.start(underlay(PEER), micros(0));
    prober.start(
        Target {
            key: other.clone(),
            from: None,
            expected: IpSize::new(1450),
            tunnel: None,
            task: Task::Mtu { hops: false, sample: false },
        },
        micros(0),
    );
    let seen = leave(&mut prober, micros(0));
    assert_eq!(seen.iter().map(Seen::size).collect::<Vec<_>>(), [84, 1500, 84, 1450]);
    receive(&mut prober, seen[3].reply(), micros(100));
    let (path, measured) = prober.poll_learned(micros(100)).map(|(key, learned)| (key, mtu(learned))).unwrap();
    assert_eq!((path, measured.verdict), (other, Verdict::Clear { mtu: IpSize::new(1450) }));
    assert!(prober.poll_learned(micros(100)).is_none() && !prober.is_idle());
}

#[test]
fn the_outer_mtu_is_reduced_by_the_tunnels_overhead() {
    for length in [28, 49, 86, 576] {
        let mut prober = prober();
        prober.start(overlay(), micros(0));
        let measured = play(&mut prober, |seen| {
            let fits = seen.size() + 50 <= 1400;
            Some(if fits { seen.reply() } else { seen.outer_error(ROUTER, 4, 1400, length) })
        });
        assert_eq!(measured.verdict, limited(1350, ROUTER, 1350), "{length} bytes quoted");
        assert_eq!(measured.sent, 3);
        assert!(errors(&prober).is_empty());
    }
}

#[test]
fn a_short_outer_quote_is_about_large_probes_only() {
    let mut prober = prober();
    prober.start(overlay(), micros(0));
    let seen = leave(&mut prober, micros(0));
    receive(&mut prober, seen[1].outer_error(ROUTER, 4, 0, 28), micros(10));
    receive(&mut prober, seen[0].reply(), micros(100));
    assert!(prober.poll_transmit(micros(100)).is_none(), "no MTU is named: the table comes after the silence");
    receive(&mut prober, seen[1].reply(), micros(150));
    assert_eq!(measured(&mut prober, micros(150)), Some(Verdict::Clear { mtu: IpSize::new(1450) }));
}

#[test]
fn a_closed_tunnel_port_is_told_from_any_other_refusal() {
    for length in [28, 576] {
        let mut prober = prober();
        prober.start(overlay(), micros(0));
        let is_echo = |seen: &&Seen| seen.packet.get(9) == Some(&1);
        let measured =
            play(&mut prober, |seen| Some(seen).filter(is_echo).map(|seen| seen.outer_error(PEER, 3, 0, length)));
        let why = Unreachable::Refused { by: PEER.into(), why: Refusal::TunnelPortUnreachable };
        assert_eq!(measured.verdict, Verdict::Unreachable { why });
    }
}

#[test]
fn errors_about_what_pods_send_through_the_tunnel_say_nothing_of_probes() {
    let mut prober = prober();
    prober.start(overlay(), micros(0));
    let full = leave(&mut prober, micros(0)).remove(1);
    let mut theirs = full.clone();
    theirs.packet[24] ^= 1;
    receive(&mut prober, theirs.outer_error(ROUTER, 4, 1300, 576), micros(10));
    let pods = Seen { packet: golden::ipv4(HERE, INNER, 6, &[0; 100]), ..full.clone() };
    receive(&mut prober, pods.outer_error(ROUTER, 4, 1300, 576), micros(10));
    assert!(prober.poll_transmit(micros(10)).is_none() && errors(&prober).is_empty());
    receive(&mut prober, theirs.outer_error(ROUTER, 4, 1300, 86)[..].to_vec(), micros(10));
    let another = error(ROUTER, 3, 4, 1300, &golden::ipv4(HERE, ROUTER, 17, &golden::udp(1, 4789, &[])));
    receive(&mut prober, another, micros(10));
    assert_eq!(errors(&prober), [(ErrorKind::Unmatched, 1)], "another tunnel's far end");
}

#[test]
fn a_host_that_answers_udp_alone_filters_echo() {
    for length in [28, 36, 548] {
        let mut prober = prober();
        prober.start(underlay(PEER), micros(0));
        let is_udp = |seen: &&Seen| seen.packet.get(9) == Some(&17);
        let measured =
            play(&mut prober, |seen| Some(seen).filter(is_udp).map(|seen| seen.error(PEER, 3, 3, 0, length)));
        let Verdict::Unknown { why } = measured.verdict else { panic!("{measured:?}") };
        assert!(why.contains("port unreachable"), "{why}");
    }
}

#[test]
fn a_forged_udp_error_is_counted() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    leave(&mut prober, micros(0));
    let mut seen = leave(&mut prober, micros(500_000));
    let udp = seen.iter_mut().find(|seen| seen.packet.get(9) == Some(&17)).unwrap();
    udp.packet[28] ^= 1;
    receive(&mut prober, udp.error(PEER, 3, 3, 0, 548), micros(500_100));
    assert_eq!(errors(&prober), [(ErrorKind::Forged, 1)]);
}

#[test]
fn tcp_attempts_report_by_themselves() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    leave(&mut prober, micros(0));
    let now = micros(500_000);
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(now)).collect();
    let tcp: Vec<_> = transmits.iter().filter(|transmit| matches!(transmit.means, Means::Tcp { .. })).collect();
    assert_eq!(tcp.iter().map(|transmit| transmit.to.port()).collect::<Vec<_>>(), [9747, 10_250]);
    transmits.iter().for_each(|transmit| prober.on_sent(transmit.id, Sent::Ok, now));
    prober.on_sent(tcp[0].id, Sent::TcpSilent, now);
    prober.on_sent(tcp[1].id, Sent::TcpAnswered, now);
    let measured = play(&mut prober, |_| None);
    let why = "its host filters ICMP echo: TCP port 10250 answers".into();
    assert_eq!((measured.verdict, measured.sent), (Verdict::Unknown { why }, 11));
}

#[test]
fn errno_becomes_a_reason() {
    let cases = [
        (90, NotSent::TooLarge),
        (100, NotSent::NoRoute),
        (101, NotSent::NoRoute),
        (112, NotSent::NoRoute),
        (113, NotSent::NoRoute),
        (1, NotSent::Filtered),
        (13, NotSent::Filtered),
        (22, NotSent::Other(22)),
    ];
    for (number, why) in cases {
        assert_eq!(errno::why(number), why, "errno {number}");
    }
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let transmit = prober.poll_transmit(micros(0)).unwrap();
    prober.on_sent(transmit.id, Sent::Failed(101), micros(0));
    let why = Unreachable::NotSent { why: NotSent::NoRoute };
    assert_eq!(measured(&mut prober, micros(0)), Some(Verdict::Unreachable { why }));
    assert_eq!(errors(&prober), [(ErrorKind::SendFailed, 1)]);
    assert!(prober.poll_transmit(micros(0)).is_none(), "the other probe is not wanted any more");
}

#[test]
fn what_a_wire_cannot_send_is_no_try_and_no_error() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let transmit = prober.poll_transmit(micros(0)).unwrap();
    prober.on_sent(transmit.id, Sent::Unsupported, micros(0));
    assert_eq!(errors(&prober), []);
}

#[test]
fn what_the_budget_holds_back_is_not_silent() {
    let mut prober = Prober::new(Identity { id: ID, secret: 99, first_port: FIRST_PORT }, 1, Mono::default());
    for number in 0..20 {
        prober.start(underlay(Ipv4Addr::new(10, 0, 1, number)), micros(0));
    }
    let first = leave(&mut prober, micros(0));
    assert_eq!(first.len(), 20, "a burst");
    first.iter().for_each(|seen| receive(&mut prober, seen.reply(), micros(100)));
    let mut verdicts: Vec<_> = std::iter::from_fn(|| measured(&mut prober, micros(100))).collect();
    while !prober.is_idle() {
        let now = prober.poll_timeout().expect("not idle");
        let seen = leave(&mut prober, now);
        assert!(seen.len() <= 1, "one packet a second");
        seen.iter().for_each(|seen| receive(&mut prober, seen.reply(), now));
        verdicts.extend(std::iter::from_fn(|| measured(&mut prober, now)));
    }
    assert_eq!(verdicts, vec![Verdict::Clear { mtu: IpSize::new(1500) }; 20]);
}

#[test]
fn a_stopped_path_yields_nothing_and_wants_nothing() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let seen = leave(&mut prober, micros(0));
    prober.stop(&underlay(PEER).key, micros(10));
    receive(&mut prober, seen[1].reply(), micros(20));
    assert!(prober.is_idle() && prober.poll_timeout().is_none() && errors(&prober).is_empty());
    prober.start(underlay(PEER), micros(30));
    let seen = leave(&mut prober, micros(30));
    receive(&mut prober, seen[1].reply(), micros(40));
    prober.stop(&underlay(PEER).key, micros(50));
    assert_eq!(measured(&mut prober, micros(50)), None, "its result is dropped too");
}

#[test]
fn starting_again_begins_anew() {
    let mut prober = prober();
    prober.start(underlay(PEER), micros(0));
    let old = leave(&mut prober, micros(0));
    prober.start(Target { expected: IpSize::new(1400), ..underlay(PEER) }, micros(10));
    receive(&mut prober, old[1].reply(), micros(20));
    assert_eq!(measured(&mut prober, micros(20)), None);
    let new = leave(&mut prober, micros(20));
    assert_eq!(new.iter().map(Seen::size).collect::<Vec<_>>(), [84, 1400]);
}

#[test]
fn ten_thousand_paths_end_and_leave_nothing_behind() {
    let mut prober = Prober::new(Identity { id: ID, secret: 99, first_port: FIRST_PORT }, 100_000, Mono::default());
    for number in 0..10_000u32 {
        prober.start(underlay(Ipv4Addr::from(0x0a01_0000 + number)), micros(0));
    }
    let mut ended = 0;
    while !prober.is_idle() {
        let now = prober.poll_timeout().expect("not idle");
        for seen in leave(&mut prober, now) {
            receive(&mut prober, seen.reply(), now);
        }
        ended += std::iter::from_fn(|| measured(&mut prober, now)).count();
    }
    assert_eq!((ended, errors(&prober)), (10_000, vec![]));
}

/// Packets that concern a probe under way, for cutting and damaging.
fn goldens(seen: &[Seen]) -> Vec<Vec<u8>> {
    let full = &seen[1];
    vec![
        full.reply(),
        full.error(ROUTER, 3, 4, 1400, 548),
        full.outer_error(ROUTER, 4, 1400, 576),
        full.outer_error(PEER, 3, 0, 28),
    ]
}

#[test]
fn every_truncation_is_counted_and_none_matters() {
    let mut prober = prober();
    prober.start(overlay(), micros(0));
    let seen = leave(&mut prober, micros(0));
    for packet in goldens(&seen) {
        for length in 20..packet.len() {
            receive(&mut prober, packet[..length].to_vec(), micros(10));
        }
    }
    let cut: usize = goldens(&seen).iter().map(|packet| packet.len() - 20).sum();
    assert_eq!(errors(&prober), [(ErrorKind::Malformed, cut as u64)]);
    assert!(prober.poll_transmit(micros(10)).is_none() && measured(&mut prober, micros(10)).is_none());
}

proptest! {
    #[test]
    fn random_packets_never_panic_and_never_decide(
        bytes in proptest::collection::vec(any::<u8>(), 20..120),
        at in 0usize..576,
        with in any::<u8>(),
        which in 0usize..4,
    ) {
        let mut prober = prober();
        prober.start(overlay(), micros(0));
        let seen = leave(&mut prober, micros(0));
        receive(&mut prober, bytes, micros(10));
        let mut packet = goldens(&seen).swap_remove(which);
        let is_changed = at < packet.len() && packet[at] != with;
        if is_changed {
            packet[at] = with;
            receive(&mut prober, packet, micros(10));
        }
        let verdict = measured(&mut prober, micros(10));
        let decided = matches!(verdict, Some(Verdict::Limited { .. } | Verdict::BlackHole { .. }));
        prop_assert!(!decided, "{verdict:?}");
    }
}

#[test]
fn whatever_leaves_leaves_from_the_targets_source() {
    let mut prober = prober();
    let from = Some(IpAddr::V4(HERE));
    prober.start(Target { from, ..underlay(PEER) }, micros(0));
    prober.start(overlay(), micros(0));
    let transmits: Vec<_> = std::iter::from_fn(|| prober.poll_transmit(micros(0))).collect();
    assert_eq!(transmits.len(), 4);
    for transmit in transmits {
        assert_eq!(transmit.from, from.filter(|_| transmit.to.ip() == IpAddr::V4(PEER)));
    }
}

mod carriers;
