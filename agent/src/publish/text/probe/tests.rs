//! What is printed, at the widths of real terminals.

use insta::assert_snapshot;
use probes::path::{Hole, HopAt, HopRow, Limit, Plane};
use probes::report::spread::{FateName, SpreadKind};
use probes::report::{RouteRow, SpreadRow};
use probes::units::IpSize;

use super::super::super::example;
use super::*;

const PLAIN: Style = Style { colour: false, width: 100 };

fn size(bytes: u32) -> Option<IpSize> {
    Some(IpSize::new(bytes))
}

fn report(paths: Vec<PathRow>) -> ProbeReport {
    ProbeReport { schema: "mtuscope.probe/v1", paths, not_probed: Vec::new() }
}

fn path(address: &str, verdict: VerdictName, mtu: u32) -> PathRow {
    let route = Some(RouteRow { to: "10.0.0.0/24".into(), mtu: None });
    PathRow { route, ..example::path(address, Plane::Underlay, address, verdict, mtu) }
}

fn clear() -> PathRow {
    PathRow { forward_mtu: size(1500), reverse_mtu: size(1500), ..path("10.0.0.12", VerdictName::Clear, 1500) }
}

fn limited() -> PathRow {
    let by = Limit { address: Some([172, 16, 1, 1].into()), reported_mtu: size(1400), ttl: Some(1) };
    PathRow { limited_by: Some(by), packets_sent: 3, ..path("172.16.2.10", VerdictName::Limited, 1400) }
}

fn at(ttl: u8, last: u8) -> HopAt {
    HopAt { ttl, address: Some([172, 20, last, 1].into()) }
}

fn hop(ttl: u8, carried: Option<IpSize>) -> HopRow {
    let address = carried.map(|_| [172, 20, ttl, 1].into());
    let also = address.filter(|_| ttl == 2).map(|_| [172, 20, 2, 5].into());
    HopRow { ttl, address, also, round_trip_seconds: Some(f64::from(ttl) * 40e-6), carried, target: false }
}

fn black_hole() -> PathRow {
    let target = HopRow { target: true, address: Some([172, 20, 9, 10].into()), ..hop(4, size(84)) };
    PathRow {
        way: Some(Way::Forward),
        forward_mtu: size(1400),
        reverse_mtu: size(1500),
        hole: Some(Hole { after: Some(at(2, 2)), before: at(4, 9) }),
        limited_by: Some(Limit { address: Some([172, 20, 2, 1].into()), reported_mtu: None, ttl: Some(2) }),
        hops: vec![hop(1, size(1500)), hop(2, size(1500)), hop(3, None), target],
        why: Some("1401 B and more vanish without an error".into()),
        packets_sent: 41,
        ..path("172.20.9.10", VerdictName::BlackHole, 1400)
    }
}

fn unreachable() -> PathRow {
    let why = Some("nothing answers: ICMP, UDP and TCP are silent".into());
    PathRow { why, packets_sent: 8, ..path("10.0.0.13", VerdictName::Unreachable, 0) }
}

fn unknown() -> PathRow {
    let why =
        Some("it answers UDP port 33434 with \"port unreachable\", but no echo: its filter hides its path MTU".into());
    PathRow { why, ..path("10.0.0.14", VerdictName::Unknown, 0) }
}

fn uneven() -> PathRow {
    let kind = |fate, ports, sample: &[u16]| SpreadKind { ports, sample: sample.to_vec(), ..SpreadKind::new(fate) };
    let by = Some([172, 20, 3, 1].into());
    let limited = SpreadKind {
        address: by,
        reported_mtu: size(1400),
        carries: size(1400),
        ..kind(FateName::Limited, 6, &[61_441, 61_444])
    };
    let kinds = vec![
        kind(FateName::Carried, 13, &[61_440, 61_442, 61_443, 61_445, 61_446]),
        limited,
        kind(FateName::Swallowed, 5, &[61_450, 61_451, 61_454, 61_457, 61_459]),
        kind(FateName::Unknown, 1, &[61_460]),
    ];
    let spread = SpreadRow { expected: size(1500), ports: 25, share_bad: Some(11.0 / 24.0), kinds, packets_sent: 61 };
    PathRow { spread: Some(spread), ..clear() }
}

fn tunnelled() -> PathRow {
    let outer =
        probes::report::OuterRow { verdict: VerdictName::Limited, path_mtu: size(1400), limited_by: None, hole: None };
    PathRow {
        plane: Plane::Overlay,
        via: ["vxlan.calico", "vmbr1", "enp5s0"].map(str::to_owned).to_vec(),
        outer: Some(outer),
        expected_mtu: size(1450),
        ..black_hole()
    }
}

#[test]
fn one_path_is_a_small_report() {
    let text = |path: PathRow, width| probe(&report(vec![path]), View::default(), Style { colour: false, width });
    for width in [60, 100, 140] {
        assert_snapshot!(format!("clear_{width}"), text(clear(), width));
        assert_snapshot!(format!("black_hole_{width}"), text(black_hole(), width));
    }
    assert_snapshot!("limited", text(limited(), 100));
    assert_snapshot!("unreachable", text(unreachable(), 100));
    assert_snapshot!("unknown", text(unknown(), 100));
    assert_snapshot!("uneven", text(uneven(), 100));
    assert_snapshot!("tunnelled", text(tunnelled(), 100));
}

#[test]
fn several_paths_are_a_table() {
    let named = PathRow { peer: "db.example.org".into(), ..clear() };
    let all = report(vec![named, limited(), black_hole(), unreachable(), unknown(), uneven()]);
    for width in [60, 100, 140] {
        assert_snapshot!(format!("table_{width}"), probe(&all, View::default(), Style { colour: false, width }));
    }
    let view = View { quiet: true, hops: true };
    let quiet = probe(&all, view, PLAIN);
    assert!(!quiet.contains("db.example.org") && quiet.contains("6 paths: 1 clear, 1 uneven,"), "{quiet}");
}

#[test]
fn colour_marks_what_needs_a_look() {
    let text = probe(&report(vec![clear(), black_hole()]), View::default(), Style { colour: true, width: 100 });
    assert!(text.contains("\u{1b}[1;31mblack hole\u{1b}[0m") && !text.contains("\u{1b}[32m"), "{text}");
    let text = probe(&report(vec![clear()]), View::default(), Style { colour: true, width: 100 });
    assert!(text.starts_with("\u{1b}[32mCLEAR\u{1b}[0m 10.0.0.12: "), "{text}");
}

#[test]
fn of_a_thousand_the_worst_stand_last_and_all_are_counted() {
    let mut paths: Vec<PathRow> = vec![black_hole(), unreachable()];
    paths.extend(
        (0..998).map(|number| path(&format!("10.1.{}.{}", number / 250, number % 250), VerdictName::Clear, 1500)),
    );
    let whole = probe(&report(paths.clone()), View::default(), PLAIN);
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines[1].contains("10.1.0.0") && lines[998].contains("10.1.3.247"), "the clear ones in the order given");
    assert!(lines[999].contains("unreachable") && lines[1000].contains("black hole"), "{}", lines[1000]);
    assert_eq!(lines.last(), Some(&"1000 paths: 998 clear, 1 black hole, 1 unreachable"));
    let quiet = probe(&report(paths), View { quiet: true, hops: false }, PLAIN);
    assert!(quiet.lines().count() < 20 && quiet.ends_with("1 unreachable\n"), "{quiet}");
}

#[test]
fn a_screenful_stays_in_the_order_given() {
    let text = probe(&report(vec![black_hole(), clear()]), View::default(), PLAIN);
    let place = |text: &str, what: &str| text.find(what).unwrap();
    assert!(place(&text, "172.20.9.10") < place(&text, "10.0.0.12"), "{text}");
}

#[test]
fn quiet_of_clear_paths_is_a_line() {
    let paths = vec![clear(), PathRow { peer: "b".into(), ..clear() }];
    assert_eq!(probe(&report(paths), View { quiet: true, hops: false }, PLAIN), "2 paths: 2 clear\n");
}

#[test]
fn what_was_not_probed_is_said() {
    let entry = |kind, address| NotProbed {
        peer: "db\u{1b}[2J".into(),
        address,
        kind,
        why: "Name or service not known".into(),
    };
    let unresolved = ProbeReport { not_probed: vec![entry(WhyNotProbed::Unresolved, None)], ..report(vec![clear()]) };
    let text = probe(&unresolved, View::default(), PLAIN);
    assert!(text.contains("not resolved db\u{fffd}[2J: Name or service not known\n"), "{text}");
    assert!(text.ends_with("1 path: 1 clear, 1 not resolved\n"), "{text}");
    let nothing = ProbeReport { not_probed: vec![entry(WhyNotProbed::Unresolved, None)], ..report(vec![]) };
    assert!(probe(&nothing, View::default(), PLAIN).ends_with("\n0 paths: 1 not resolved\n"));
    let unused = entry(WhyNotProbed::NoRoute, Some([10, 0, 0, 9].into()));
    let left_out = ProbeReport { not_probed: vec![unused], ..report(vec![clear()]) };
    let text = probe(&left_out, View::default(), PLAIN);
    assert!(text.starts_with("CLEAR ") && text.contains("left out db\u{fffd}[2J (10.0.0.9): "), "{text}");
}

#[test]
fn an_address_from_outside_moves_no_cursor() {
    let odd = PathRow { peer: "a\u{1b}[31mb".into(), why: Some("x\ny".into()), ..unknown() };
    for paths in [vec![odd.clone()], vec![odd, clear()]] {
        let text = probe(&report(paths), View::default(), PLAIN);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
