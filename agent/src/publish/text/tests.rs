//! What people read, held as it stands on their screen.

mod node;

use std::sync::Arc;

use insta::assert_snapshot;
use probes::path::{Hole, HopAt, Limit, Plane, VerdictName, Way};
use probes::report::{DeclaredRow, FindingCounts, PlaceKind, Role, ScheduleRow, Severity};
use probes::units::IpSize;
use serde_json::json;

use super::super::example;
use super::*;
use node::{Node, Says, Told, black_hole, clear, has, limited, silent};

const PLAIN: Style = Style { colour: false, width: 100 };

fn wide(width: usize) -> Style {
    Style { width, ..PLAIN }
}

/// The ladders alone, where the rest says nothing new.
fn rungs(node: Node) -> String {
    ladder::ladders(&node.report(), PLAIN)
}

/// The bridge's port shrank below what the tunnel needs.
fn small_nic() -> Node {
    let shrink = ["Set Calico's MTU to 1350.", "$ kubectl -n kube-system patch cm calico-config --type merge -p '{}'"];
    let headroom = "A full packet of vxlan.calico is 1500 B with its headers (MTU 1450 + 50), 100 B more than the 1400 B \
                    of vmbr1, and is fragmented.";
    let cause = "tunnel-no-headroom vxlan.calico";
    let lost = |plane| Told::of("lost", &[]).caused_by(cause).seen(json!({"plane": plane}));
    ["enp5s0", "vmbr1"]
        .into_iter()
        .fold(Node::reference(), |node, link| node.mtu(link, 1400))
        .measured("master-2", Plane::Underlay, clear(1400))
        .measured("master-3", Plane::Underlay, clear(1400))
        .measured("master-2", Plane::Overlay, black_hole(1354))
        .measured("master-2", Plane::Pod, black_hole(1354))
        .finding("tunnel-no-headroom", Severity::Critical, "vxlan.calico", Told::of(headroom, &shrink))
        .finding("path-black-hole", Severity::Critical, "master-2", lost("overlay"))
        .finding("path-black-hole", Severity::Critical, "master-2", lost("pod"))
        .recommends(1350)
}

/// The whole network was to be jumbo, and one peer's switch port is not.
fn jumbo_mismatch() -> Node {
    let evidence = json!({"address": "192.168.77.12", "plane": "underlay", "carries": 1504, "drops": 1505});
    let told = Told::of("The underlay path to rack2-node3 carries 1504 B of the expected 9000 B.", &[]).seen(evidence);
    Node::new("rack1-node7")
        .link("ens19", "device", Role::Underlay, 9000)
        .link("br-storage", "bridge", Role::Bridge, 9000)
        .port("ens19", "br-storage")
        .vxlan("vxlan.calico", 8950, "br-storage", 50)
        .pods(3, 8950)
        .peer("rack2-node3", "br-storage", "192.168.77.12")
        .behind("rack2-node3", "vxlan.calico", "10.100.2.0/26", &["10.100.2.0", "10.100.2.2"])
        .measured("rack2-node3", Plane::Underlay, black_hole(1504))
        .measured("rack2-node3", Plane::Overlay, black_hole(1454))
        .measured("rack2-node3", Plane::Pod, black_hole(1454))
        .finding("path-black-hole", Severity::Critical, "rack2-node3", told)
        .recommends(8950)
}

const CONFLIST: &str = "/etc/cni/net.d/10-calico.conflist: mtu of calico";

/// Calico as its operator installs it, and a file that podman left.
fn calico_files() -> Node {
    let underlay = [has(PlaceKind::Device, "enp5s0", 1500, "="), has(PlaceKind::Device, "vmbr1", 1500, "=")];
    let pods = [has(PlaceKind::Tunnel, "vxlan.calico", 1450, "="), has(PlaceKind::Pods, "cali0", 1450, "=")];
    let unused = Says::Unused(9000, "10-calico.conflist comes first");
    Node::reference()
        .recommends(1450)
        .declares("underlay", "expect.underlay_mtu", &underlay, Says::Mtu(1500))
        .declares("pods", CONFLIST, &pods, Says::Automatic)
        .declares("pods", "/var/lib/calico/mtu", &pods, Says::Mtu(1450))
        .declares("pods", "/etc/cni/net.d/87-podman-bridge.conflist: mtu of bridge", &pods, unused)
}

/// The operator means jumbo frames, and a file gives pods more than their tunnel takes.
fn forgotten_numbers() -> Node {
    let code = "declared-mtu-differs";
    let underlay = [has(PlaceKind::Device, "enp5s0", 1500, "≠"), has(PlaceKind::Device, "vmbr1", 1500, "≠")];
    let pods = [has(PlaceKind::Tunnel, "vxlan.calico", 1450, "≠"), has(PlaceKind::Pods, "cali0", 1450, "≠")];
    let told = |summary| Told::of(summary, &["Raise one or lower the other."]);
    let nic = "enp5s0 has an MTU of 1500 B, and vmbr1 above it follows; expect.underlay_mtu in the configuration says \
               9000 B.";
    let born = "Pods are born with 1500 B by 10-calico.conflist, 50 B more than vxlan.calico takes.";
    Node::reference()
        .recommends(1450)
        .finding(code, Severity::Warning, "enp5s0", told(nic))
        .finding(code, Severity::Warning, "pods", told(born))
        .declares("underlay", "expect.underlay_mtu", &underlay, Says::Found(9000, code))
        .declares("pods", CONFLIST, &pods, Says::Found(1500, code))
}

fn declared_part(node: Node, width: usize) -> String {
    let report = node.report();
    format!("{}{}", ladder::ladders(&report, wide(width)), declared::declared(&report, wide(width)))
}

#[test]
fn what_is_declared_and_so_it_is() {
    for width in [80, 120] {
        assert_snapshot!(format!("declared_{width}"), declared_part(calico_files(), width));
    }
}

#[test]
fn what_is_declared_and_is_not_so_breaks_nothing_by_itself() {
    for width in [60, 80, 120] {
        assert_snapshot!(format!("forgotten_{width}"), declared_part(forgotten_numbers(), width));
    }
    let coloured = report(&forgotten_numbers().report(), Style { colour: true, width: 100 });
    assert!(coloured.contains("\u{1b}[33m≠ 9000\u{1b}[0m") && !coloured.contains('◄'), "{coloured}");
}

#[test]
fn a_break_and_a_number_that_differs_stand_on_one_line() {
    let node = small_nic();
    let underlay = [has(PlaceKind::Device, "enp5s0", 1400, "≠"), has(PlaceKind::Device, "vmbr1", 1400, "≠")];
    let pods = [has(PlaceKind::Tunnel, "vxlan.calico", 1450, "="), has(PlaceKind::Pods, "cali0", 1450, "=")];
    let node = node.declares("underlay", "expect.underlay_mtu", &underlay, Says::Mtu(1500)).declares(
        "pods",
        CONFLIST,
        &pods,
        Says::Mtu(1450),
    );
    assert_snapshot!(declared_part(node, 100));
}

#[test]
fn files_that_could_not_be_read_for_one_reason_share_a_line() {
    let why = Says::Unknown;
    let denied = "host_files: denied, needs read permission on /etc/cni/net.d";
    let node = ["/etc/cni/net.d", "/var/lib/calico/mtu", "/run/flannel/subnet.env: FLANNEL_MTU"]
        .into_iter()
        .fold(Node::reference(), |node, file| node.declares("pods", file, &[], why(denied)));
    let node = node.declares("pods", "/etc/cni/net.d/10-x.conf: mtu of x", &[], why("\"__MTU__\" is no MTU"));
    assert_snapshot!(declared_part(node, 80));
}

#[test]
fn nothing_declared_is_no_noise() {
    let text = report(&Node::reference().report(), PLAIN);
    assert!(!text.contains("DECLARED") && !text.contains(['≥', '≠']), "{text}");
}

#[test]
fn a_healthy_node() {
    assert_snapshot!(report(&Node::reference().recommends(1450).report(), PLAIN));
}

#[test]
fn what_is_not_confirmed_yet_is_not_called_healthy() {
    let text = report(&Node::reference().measured("master-2", Plane::Underlay, black_hole(1400)).report(), PLAIN);
    let head: Vec<&str> = text.lines().take(2).collect();
    assert_eq!(
        head,
        [
            "NOT CONFIRMED master-1: 5 of 6 paths clear",
            "  No finding stands for this: one takes another round that agrees."
        ]
    );
}

#[test]
fn a_nic_too_small_for_the_tunnel() {
    assert_snapshot!(report(&small_nic().report(), PLAIN));
}

#[test]
fn pods_too_large_for_the_tunnel() {
    let told = Told::of("3 of 15 pod links have an MTU of up to 1500 B, above the 1450 B of vxlan.calico.", &[]);
    let node = Node::reference().pods(3, 1500).finding("pod-mtu-too-large", Severity::Warning, "pods", told);
    assert_snapshot!(report(&node.report(), PLAIN));
}

#[test]
fn a_jumbo_network_with_one_small_port() {
    assert_snapshot!(report(&jumbo_mismatch().report(), PLAIN));
}

#[test]
fn where_packets_get_lost_stands_in_their_row() {
    let hop = |ttl, last| HopAt { ttl, address: Some([10, 9, 0, last].into()) };
    let (after, before) = (hop(1, 1), hop(2, 2));
    let node = Node::reference()
        .measured("master-2", Plane::Underlay, |path| {
            black_hole(1404)(path);
            (path.way, path.hole) = (Some(Way::Forward), Some(Hole { after: Some(after), before }));
            path.limited_by = Some(Limit { address: after.address, reported_mtu: None, ttl: Some(1) });
            path.why =
                Some(format!("1405 B and more vanish without an error between {after} and {before}, on the way there"));
        })
        .measured("master-3", Plane::Underlay, |path| {
            black_hole(1404)(path);
            (path.forward_mtu, path.reverse_mtu) = (Some(IpSize::new(1500)), Some(IpSize::new(1404)));
            path.way = Some(Way::Reverse);
            path.why = Some("1405 B and more vanish without an error on the way back".into());
        })
        .measured("master-3", Plane::Overlay, |path| {
            (path.forward_mtu, path.reverse_mtu) = (Some(IpSize::new(1450)), Some(IpSize::new(1300)));
        });
    assert_snapshot!(tables::paths(&node.report(), PLAIN));
}

#[test]
fn a_node_that_may_not_probe() {
    assert_snapshot!(report(&Node::reference().blind().report(), PLAIN));
}

#[test]
fn a_rich_node() {
    assert_snapshot!(report(&example::published().report, PLAIN));
}

#[test]
fn ladders_without_a_tunnel() {
    let gateway =
        Node::new("db-1").link("ens3", "device", Role::Underlay, 1500).peer("default-gateway", "ens3", "172.30.1.1");
    let host_gateway = Node::new("worker")
        .link("eth0", "device", Role::Underlay, 1500)
        .pods(7, 1500)
        .peer("other", "eth0", "172.20.0.3")
        .behind("other", "eth0", "10.42.1.0/24", &["10.42.1.0", "10.42.1.4"])
        .measured("other", Plane::Underlay, limited(1400, Some("172.20.0.1")))
        .measured("other", Plane::Pod, limited(1400, Some("172.20.0.1")));
    assert_snapshot!(format!("{}{}", rungs(gateway), rungs(host_gateway)));
}

#[test]
fn ladders_of_two_tunnels_the_broken_one_first() {
    let node = Node::reference()
        .link("enp6s0", "device", Role::Underlay, 9000)
        .vxlan("vxlan-storage", 9000, "enp6s0", 50)
        .peer("store-1", "enp6s0", "172.16.9.2")
        .behind("store-1", "vxlan-storage", "10.99.2.0/24", &["10.99.2.0"])
        .measured("store-1", Plane::Overlay, silent);
    assert_snapshot!(rungs(node));
}

#[test]
fn a_ladder_over_ipv6() {
    let node = |tunnel| {
        Node::new("six")
            .link("eno1", "device", Role::Underlay, 1500)
            .link("eno2", "device", Role::Underlay, 1500)
            .link("bond0", "bond", Role::Underlay, 1500)
            .link("bond0.42", "vlan", Role::Underlay, 1500)
            .port("eno1", "bond0")
            .port("eno2", "bond0")
            .with("eno2", |link| link.carrier = Some(false))
            .with("bond0.42", |link| link.lower = Some("bond0".into()))
            .vxlan("vxlan-v6.calico", tunnel, "bond0.42", 70)
            .pods(1, 1430)
            .peer("far", "bond0.42", "fd00:10::12")
            .behind("far", "vxlan-v6.calico", "fd00:10:244:2::/122", &["fd00:10:244:2::", "fd00:10:244:2::2"])
    };
    assert_snapshot!(format!("{}{}", rungs(node(1430)), rungs(node(1450))));
}

#[test]
fn a_ladder_of_a_tunnel_in_a_tunnel() {
    let node = Node::new("nested")
        .link("eth0", "veth", Role::Underlay, 1500)
        .vxlan("flannel.1", 1450, "eth0", 50)
        .peer("worker", "eth0", "172.20.0.3")
        .behind("worker", "flannel.1", "10.42.1.0/24", &["10.42.1.0"])
        .vxlan("nest", 1450, "flannel.1", 50)
        .peer("inside", "flannel.1", "10.42.1.9")
        .behind("inside", "nest", "10.9.2.0/24", &["10.9.2.0"]);
    assert_snapshot!(rungs(node));
}

fn two_hundred(sick: usize) -> Node {
    let mut node = Node::new("big")
        .link("eth0", "device", Role::Underlay, 1500)
        .vxlan("flannel.1", 1450, "eth0", 50)
        .pods(90, 1450);
    for number in 0..200 {
        let name = format!("node-{number:03}");
        node = node.peer(&name, "eth0", &format!("172.20.{}.9", number)).behind(
            &name,
            "flannel.1",
            &format!("10.42.{number}.0/24"),
            &[&format!("10.42.{number}.0"), &format!("10.42.{number}.4")],
        );
        if number < sick {
            let summary = format!("The underlay path to {name} carries 1400 B of the expected 1500 B.");
            let told = Told::of(&summary, &["Raise the MTU of the switch port.", "$ mtuscope probe ADDRESS"]);
            let evidence = json!({"plane": "underlay", "carries": 1400});
            node = node.measured(&name, Plane::Underlay, black_hole(1400)).finding(
                "path-black-hole",
                Severity::Critical,
                &name,
                told.seen(evidence),
            );
        }
    }
    node
}

#[test]
fn two_hundred_peers_all_well() {
    assert_snapshot!(report(&two_hundred(0).report(), PLAIN));
}

#[test]
fn two_hundred_peers_most_of_them_sick() {
    assert_snapshot!(report(&two_hundred(150).report(), PLAIN));
}

#[test]
fn a_node_that_does_not_probe_everybody_says_how_far_it_came() {
    let with = |peers, covered_within_seconds| {
        let mut node = two_hundred(1).report();
        let row = ScheduleRow { peers, stable: 20, rotating: 80, suspects: 1, probed: 101, covered_within_seconds };
        node.schedule = Some(row);
        report(&node, PLAIN)
    };
    assert!(!with(101, 66).contains("probed in this round"), "it did probe everybody");
    let told = |within| format!("  101 of 200 peers were probed in this round; no result gets older than {within}\n");
    for (seconds, within) in [(119, "119 s"), (121, "3 min"), (4158, "70 min"), (7200, "2 h"), (7201, "3 h")] {
        let text = with(200, seconds);
        assert!(text.contains(&told(within)), "{text}");
    }
}

#[test]
fn what_was_never_measured_does_not_crowd_out_what_was() {
    let mut node = two_hundred(200).report();
    for row in node.paths.iter_mut().filter(|row| row.peer != "node-150") {
        (row.verdict, row.probed_at, row.path_mtu) = (VerdictName::Unknown, None, None);
    }
    let text = report(&node, PLAIN);
    assert!(text.lines().any(|line| line.contains("node-150") && line.contains("black hole")), "{text}");
}

#[test]
fn every_width_has_its_layout() {
    for width in [60, 140] {
        assert_snapshot!(format!("width_{width}"), report(&small_nic().report(), wide(width)));
    }
}

#[test]
fn nothing_but_commands_is_wider_than_the_terminal() {
    let nodes = [
        small_nic(),
        jumbo_mismatch(),
        two_hundred(150),
        Node::reference().blind(),
        calico_files(),
        forgotten_numbers(),
    ]
    .map(Node::report);
    let rich = Arc::unwrap_or_clone(example::published().report);
    for node in nodes.iter().chain([&rich]) {
        for width in [60, 80, 100, 140] {
            let text = report(node, wide(width));
            let sentences = |line: &&str| !line.trim_start().starts_with("$ ");
            let widest = text.lines().filter(sentences).max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= width, "{width} columns: {widest}");
        }
    }
}

#[test]
fn colour_marks_what_has_a_word_or_a_sign() {
    assert_snapshot!(report(&small_nic().report(), Style { colour: true, width: 100 }).replace('\u{1b}', "␛"));
}

#[test]
fn colour_changes_nothing_but_colour() {
    for node in [small_nic(), jumbo_mismatch(), Node::reference().blind(), forgotten_numbers()].map(Node::report) {
        for width in [60, 100] {
            let coloured = report(&node, Style { colour: true, width });
            let mut plain = String::new();
            for (at, part) in coloured.split('\u{1b}').enumerate() {
                plain.push_str(if at == 0 { part } else { part.split_once('m').unwrap().1 });
            }
            assert_eq!(plain, report(&node, wide(width)));
        }
    }
}

#[test]
fn the_first_three_lines_say_what_to_do() {
    let text = report(&example::published().report, wide(120));
    let lines: Vec<&str> = text.lines().take(3).collect();
    assert!(lines[0].contains("CRITICAL") && lines[0].contains("master-1"), "{lines:?}");
    assert!(lines[1].contains("no carrier"), "{lines:?}");
    assert!(lines[2].contains("→ Look at the cable"), "{lines:?}");
}

#[test]
fn no_judged_path_never_reads_healthy() {
    let mut published = example::published();
    let report = Arc::make_mut(&mut published.report);
    report.paths.clear();
    report.findings.clear();
    report.summary.status = Status::Unknown;
    report.summary.findings = FindingCounts::default();
    let text = super::report(report, PLAIN);
    assert!(text.starts_with("UNKNOWN master-1: no path could be judged, no peers known\n"), "{text}");
}

#[test]
fn without_colour_there_is_no_escape_and_names_cannot_bring_one() {
    let mut published = example::published();
    let report = Arc::make_mut(&mut published.report);
    report.node = "evil\u{1b}[2J".into();
    report.paths[0].peer = "evil\u{1b}]0;x\u{7}".into();
    report.paths[4].why = Some("evil\u{1b}[1m".into());
    report.findings[0].summary = "evil\u{1b}[31m\r".into();
    report.links[2].name = "evil\u{1b}".into();
    report.ladders[0].link = "evil\u{1b}".into();
    report.ladders[0].rungs[0].name = "evil\u{1b}".into();
    report.ladders[0].rungs[1].why = Some("evil\u{1b}".into());
    let (file, unknown) = (Some("/evil\u{1b}".to_owned()), Some("evil\u{1b}".to_owned()));
    report.declared = vec![
        DeclaredRow { file: file.clone(), ..DeclaredRow::default() },
        DeclaredRow { file, unknown, ..DeclaredRow::default() },
    ];
    let text = super::report(report, PLAIN);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    let coloured = super::report(&example::published().report, Style { colour: true, width: 100 });
    assert!(coloured.contains('\u{1b}'));
}
