//! The words of every example on each set-up, for a reader, and machines that the whole catalogue must judge alike.

use super::{ALL, Candidate, judge_all};
use crate::config::Work;
use crate::fact::Fact;
use crate::history::Standing;
use crate::path::spread::Fate;
use crate::path::{Plane, Verdict, Way};
use crate::snapshot::example::{Example, black_hole, limited, made, no_right, silent, swept};
use crate::snapshot::setup::{Cni, Host};
use crate::snapshot::{Setup, Snapshot};
use crate::units::{IpSize, LinkMtu};
use crate::{remedy, silence};

/// Every example's sentence and remedy. The examples are worded for Calico's device; `tunnel` takes its place.
fn told(cni: Cni, host: Host, tunnel: &str) -> String {
    let named = |text: &str| text.replace("vxlan.calico", tunnel);
    let one = |check: &super::Registered| {
        let mut example = check.example();
        example.fixes.iter_mut().for_each(|fix| fix.rename(tunnel));
        let remedy = remedy::render(&example.fixes, Setup { cni, host }).join("\n  ");
        let (code, severity) = (check.entry.code, example.severity.name());
        format!("{code} ({severity}) {}\n{}\n  {remedy}\n", example.subject, example.summary)
    };
    named(&ALL.iter().map(one).collect::<Vec<_>>().join("\n"))
}

/// `code severity subject` of everything raised, and what could not be concluded.
fn judged(example: &Example) -> (Vec<String>, Vec<String>) {
    let (mut raised, mut unread) = (Vec::new(), Vec::new());
    for outcome in judge_all(&example.snapshot(), Work::Report) {
        let code = outcome.entry.code;
        match outcome.result {
            Err(why) => unread.push(format!("{code}: {why}")),
            Ok(looked) => {
                let name = |one: &Candidate| format!("{code} {} {}", one.severity.name(), one.subject);
                raised.extend(looked.raised.iter().map(name));
                unread.extend(looked.unread.iter().map(|(subject, why)| format!("{code} {subject}: {why}")));
            }
        }
    }
    (raised, unread)
}

/// The directory is given in full: a test run without the right to ask cargo for the workspace would not find it.
fn assert_golden(name: &str, text: &str) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/checks/snapshots");
    insta::with_settings!({ snapshot_path => directory, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn calico_on_proxmox() {
    assert_golden("calico_on_proxmox", &told(Cni::Calico, Host::Proxmox, "vxlan.calico"));
}

#[test]
fn flannel_on_a_plain_host() {
    assert_golden("flannel_on_a_plain_host", &told(Cni::Flannel, Host::Plain, "flannel.1"));
}

#[test]
fn a_tunnel_of_no_known_cni_on_a_plain_host() {
    assert_golden("unknown_on_a_plain_host", &told(Cni::Unknown, Host::Plain, "vxlan0"));
}

#[test]
fn healthy_machines_are_quiet_and_wholly_concluded() {
    for example in [Example::reference(), Example::flannel()] {
        assert_eq!(judged(&example), (Vec::new(), Vec::new()));
    }
}

#[test]
fn without_a_right_to_probe_the_measured_codes_are_not_concluded_and_the_read_ones_are() {
    let mut node = Example::reference();
    for peer in ["master-2", "master-3"] {
        for plane in Plane::ALL {
            node = node.unmeasured(peer, plane, no_right());
        }
    }
    let (raised, unread) = judged(&node);
    assert_eq!(raised, Vec::<String>::new());
    let measured = ["peer-", "path-", "overlay-", "pod-unreachable", "tunnel-port-closed"];
    assert!(unread.iter().all(|line| measured.iter().any(|family| line.starts_with(family))), "{unread:#?}");
    assert_eq!(unread.len(), 2 + 2 + 6 + 6 + 6 + 6 + 2 + 2 + 2 + 2 + 2 + 2);
}

#[test]
fn codes_of_one_area_stand_together() {
    let mut areas: Vec<_> = ALL.iter().map(|check| check.entry.area).collect();
    areas.dedup();
    assert!(areas.is_sorted_by(|a, b| a < b), "lists by area name each once: {areas:?}");
}

/// What is raised and stays loud: no other finding is its cause.
fn loud(example: &Example) -> Vec<String> {
    loud_at(&example.snapshot())
}

/// The same where the operator declares the reference's sizes.
fn loud_as_declared(example: &Example) -> Vec<String> {
    let mut node = example.snapshot();
    (node.expect.underlay_mtu, node.expect.overlay_mtu) = (Some(IpSize::new(1500)), Some(IpSize::new(1450)));
    loud_at(&node)
}

fn loud_at(node: &Snapshot) -> Vec<String> {
    let looked = judge_all(node, Work::Report).into_iter().filter_map(|outcome| outcome.result.ok());
    let raised = looked.flat_map(|looked| looked.raised);
    let mut standing: Vec<_> =
        raised.map(|candidate| Standing { candidate, since: jiff::Timestamp::UNIX_EPOCH }).collect();
    let causes = silence::apply(&mut standing, node);
    let loud = standing.iter().zip(causes).filter(|(_, cause)| cause.is_none());
    loud.map(|(one, _)| format!("{} {}", one.candidate.entry.code, one.candidate.subject)).collect()
}

#[test]
fn a_dead_nic_is_one_loud_finding_whatever_it_takes_along() {
    let mut node = Example::reference().with("enp5s0", |link| (link.up, link.carrier) = (false, None));
    for peer in ["master-2", "master-3"] {
        node = Plane::ALL.into_iter().fold(node, |node, plane| node.verdict(peer, plane, silent()));
    }
    assert_eq!(loud(&node), ["link-down enp5s0"]);
    assert_eq!(loud(&node.with("vmbr1", |link| link.carrier = Some(false))), ["link-down enp5s0"]);
}

#[test]
fn a_bridge_without_a_port_is_one_loud_finding_and_no_dead_link() {
    let unplug = |link: &mut crate::kernel::Link| link.master = None;
    let mut node = Example::reference().with("enp5s0", unplug).with("vmbr1", |link| link.carrier = Some(false));
    assert_eq!(loud(&node), ["bridge-no-uplink vmbr1"], "the kernel tells before anything is measured");
    for peer in ["master-2", "master-3"] {
        node = Plane::ALL.into_iter().fold(node, |node, plane| node.verdict(peer, plane, silent()));
    }
    assert_eq!(loud(&node), ["bridge-no-uplink vmbr1"]);
    let also = node.with("vxlan.calico", |link| link.up = false);
    assert_eq!(loud(&also), ["bridge-no-uplink vmbr1"], "the tunnel comes after the bridge it stands on");
    let jumbo = Example::reference().with("enp5s0", unplug).with("vmbr1", |link| link.carrier = Some(false));
    let jumbo = jumbo.with("vxlan.calico", |link| link.mtu = LinkMtu::new(8950));
    assert_eq!(loud(&jumbo), ["bridge-no-uplink vmbr1"], "without a port the bridge has an MTU of 1500");
}

#[test]
fn a_small_port_of_a_bridge_explains_what_vanishes_and_not_who_is_silent() {
    let small = |link: &mut crate::kernel::Link| link.mtu = LinkMtu::new(1400);
    let node = Example::reference()
        .with("enp5s0", small)
        .verdict("master-2", Plane::Underlay, black_hole(1404))
        .verdict("master-2", Plane::Overlay, black_hole(1354))
        .verdict("master-2", Plane::Pod, black_hole(1354));
    assert_eq!(loud(&node), ["bridge-port-mtu enp5s0"]);
    let another = node.verdict("master-3", Plane::Underlay, silent());
    assert_eq!(loud(&another), ["bridge-port-mtu enp5s0", "peer-unreachable master-3"]);
}

#[test]
fn a_link_that_took_the_default_route_along_explains_the_pods_that_lost_their_gateway() {
    let without = |down: &str| {
        let mut node = Example::reference().with(down, |link| (link.up, link.carrier) = (false, None));
        node.lookups.insert(crate::snapshot::setup::POD_GATEWAY, Fact::Absent);
        let Fact::Known(routes) = &mut node.tables.routes else { unreachable!() };
        routes.retain(|route| route.prefix > 0);
        loud(&node)
    };
    assert_eq!(without("vmbr1"), ["link-down vmbr1"]);
    assert_eq!(without("vmbr0"), ["default-route-missing pods"], "management carries no pods, and no other code tells");
}

#[test]
fn a_black_hole_between_nodes_explains_what_the_tunnel_loses() {
    let node = Example::reference()
        .verdict("master-2", Plane::Underlay, black_hole(1404))
        .verdict("master-2", Plane::Overlay, black_hole(1354))
        .verdict("master-2", Plane::Pod, black_hole(1354));
    assert_eq!(loud(&node), ["path-black-hole master-2"]);
    let another = node.verdict("master-3", Plane::Pod, black_hole(1300));
    assert_eq!(loud(&another), ["path-black-hole master-2", "path-black-hole master-3"], "not one peer's for another");
}

/// A path whose larger sizes vanish on the way back, and arrive there.
fn lost_back(node: Example, plane: Plane, carries: u32, forward: u32) -> Example {
    node.verdict("master-2", plane, black_hole(carries)).learned("master-2", plane, |measured| {
        (measured.forward, measured.reverse) = (Some(IpSize::new(forward)), Some(IpSize::new(carries)));
        measured.way = Some(Way::Reverse);
    })
}

#[test]
fn what_vanishes_on_the_way_back_is_one_black_hole() {
    let node = lost_back(Example::reference(), Plane::Underlay, 1404, 1500);
    let node = node.outer_verdict("master-2", Verdict::Clear { mtu: IpSize::new(1500) });
    assert_eq!(loud(&node), ["path-black-hole master-2"]);
    let inside = lost_back(lost_back(node, Plane::Overlay, 1354, 1450), Plane::Pod, 1354, 1450);
    assert_eq!(loud(&inside), ["path-black-hole master-2"]);
}

#[test]
fn a_way_back_that_cuts_is_told_by_itself_and_explains_what_it_loses_inside() {
    let node = Example::reference().verdict("master-2", Plane::Underlay, Verdict::Clear { mtu: IpSize::new(1500) });
    let node = node.learned("master-2", Plane::Underlay, |measured| measured.reverse = Some(IpSize::new(1400)));
    assert_eq!(loud(&node), ["path-mtu-asymmetric master-2"]);
    assert_eq!(loud(&lost_back(node, Plane::Overlay, 1350, 1450)), ["path-mtu-asymmetric master-2"]);
}

#[test]
fn a_path_that_cuts_the_tunnels_packets_explains_that_they_arrive_in_fragments() {
    let small = limited(1400, Some("10.0.0.1"));
    let node = Example::reference().verdict("master-2", Plane::Underlay, small.clone());
    assert_eq!(loud(&node), ["path-limited master-2"]);
    assert_eq!(loud(&Example::reference().outer_verdict("master-2", small)), ["overlay-fragmented master-2"]);
}

#[test]
fn a_tunnel_too_large_for_its_way_explains_what_it_loses() {
    let node = ["master-2"].into_iter().fold(Example::reference(), |node, peer| {
        node.verdict(peer, Plane::Underlay, Verdict::Clear { mtu: IpSize::new(1400) })
            .verdict(peer, Plane::Overlay, limited(1350, None))
            .verdict(peer, Plane::Pod, black_hole(1350))
    });
    let set = |link: &mut crate::kernel::Link| link.tunnel.as_mut().unwrap().df = Some(crate::kernel::Df::Set);
    assert_eq!(loud(&node.with("vxlan.calico", set)), ["overlay-mtu-exceeds-path master-2"]);
}

/// Two findings that silence one another would both be hidden.
#[test]
fn something_stays_loud_whatever_is_measured() {
    let clear = |mtu| Verdict::Clear { mtu: IpSize::new(mtu) };
    let all = |mtu| [clear(mtu), limited(mtu - 100, None), black_hole(mtu - 100), silent()];
    let ways = [None, Some(Way::Forward), Some(Way::Reverse)];
    for (underlay, overlay) in all(1500).into_iter().flat_map(|one| all(1450).map(|other| (one.clone(), other))) {
        for (outer, way) in all(1500).into_iter().flat_map(|outer| ways.map(|way| (outer.clone(), way))) {
            let told = |measured: &mut crate::path::Measured| {
                measured.way = way;
                measured.forward = measured.verdict.path_mtu().map(|mtu| mtu.plus(50));
                measured.reverse = measured.verdict.path_mtu();
            };
            let node = Example::reference()
                .verdict("master-2", Plane::Underlay, underlay.clone())
                .learned("master-2", Plane::Underlay, told)
                .verdict("master-2", Plane::Overlay, overlay.clone())
                .learned("master-2", Plane::Overlay, told)
                .outer_verdict("master-2", outer.clone());
            assert_eq!(
                judged(&node).0.is_empty(),
                loud(&node).is_empty(),
                "{underlay:?} {overlay:?} {outer:?} {way:?}"
            );
        }
    }
}

#[test]
fn what_loses_packets_of_any_kind_explains_why_tcp_stalls() {
    let stall = crate::transfer::Stall {
        port: 9747,
        direction: crate::transfer::Direction::ToPeer,
        from_peer: 0,
        to_peer: Some(0),
        retransmits: Some(4),
        segment: Some(1398),
        stage: crate::transfer::Stage::Moving,
        spoilt: Some(0),
    };
    let node = || Example::reference().transfer("master-2", Fact::Known(made(Some(stall))));
    assert_eq!(loud(&node()), ["overlay-transfer-stalls master-2"]);
    let small = node().verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")));
    assert_eq!(loud(&small), ["path-limited master-2"]);
    let tunnel = node().verdict("master-2", Plane::Underlay, Verdict::Clear { mtu: IpSize::new(1400) });
    assert_eq!(loud(&tunnel), ["overlay-fragmented master-2"]);
    assert_eq!(loud(&node().with("vmbr1", |link| link.mtu = LinkMtu::new(1450))), ["tunnel-no-headroom vxlan.calico"]);
    let another = node().verdict("master-3", Plane::Underlay, limited(1400, Some("10.0.0.1")));
    assert_eq!(
        loud(&another),
        ["path-limited master-3", "overlay-transfer-stalls master-2"],
        "not one peer's for another"
    );
}

#[test]
fn one_wrong_mtu_is_one_loud_finding_where_it_is_declared() {
    let sized = |links: &[&str], mtu| {
        links.iter().fold(Example::reference(), |node, link| node.with(link, |link| link.mtu = LinkMtu::new(mtu)))
    };
    let nic = sized(&["enp5s0"], 1400).verdict("master-2", Plane::Underlay, black_hole(1404));
    assert_eq!(loud_as_declared(&nic), ["declared-mtu-differs enp5s0"]);
    assert_eq!(loud_as_declared(&sized(&["enp5s0", "vmbr1"], 1400)), ["declared-mtu-differs enp5s0"]);
    let bridge = sized(&["vmbr1"], 9000).verdict("master-2", Plane::Underlay, black_hole(1504));
    assert_eq!(loud_as_declared(&bridge), ["declared-mtu-differs vmbr1"], "its port is too small for it alone");
    assert_eq!(loud_as_declared(&sized(&["vxlan.calico"], 1500)), ["declared-mtu-differs vxlan.calico"]);
    assert_eq!(loud_as_declared(&sized(&["vxlan.calico"], 1400)), ["declared-mtu-differs vxlan.calico"]);
    assert_eq!(loud_as_declared(&sized(&["cali1a2b3c4d5e6"], 1500)), ["pod-mtu-too-large pods"]);
    let another = nic.verdict("master-3", Plane::Underlay, black_hole(1000));
    assert_eq!(loud_as_declared(&another), ["path-black-hole master-3", "declared-mtu-differs enp5s0"]);
}

#[test]
fn a_tunnel_on_the_wrong_network_explains_that_it_does_not_deliver() {
    let wrong = |node: Example| {
        let (bound, local) = (Some(node.index("vmbr0")), "192.168.0.11".parse().ok());
        node.with("vxlan.calico", |link| {
            let tunnel = link.tunnel.as_mut().unwrap();
            (tunnel.lower, tunnel.local) = (bound, local);
        })
    };
    let lost =
        |node: Example| node.verdict("master-2", Plane::Overlay, silent()).verdict("master-2", Plane::Pod, silent());
    assert_eq!(loud(&wrong(lost(Example::reference()))), ["tunnel-wrong-underlay vxlan.calico"]);
    let large =
        Example::reference().pod("cali0badc0ffee1", 8950, "10.244.1.4").pod("cali0badc0ffee2", 8950, "10.244.1.5");
    assert_eq!(loud(&wrong(large.clone())), ["tunnel-wrong-underlay vxlan.calico", "pod-mtu-too-large pods"]);
    let jumbo = |link: &mut crate::kernel::Link| link.mtu = LinkMtu::new(9000);
    assert_eq!(loud(&wrong(large.with("vmbr1", jumbo).with("enp5s0", jumbo))), ["tunnel-wrong-underlay vxlan.calico"]);
}

#[test]
fn pods_of_different_mtu_are_told_only_while_all_of_them_fit() {
    let mixed = |mtu| loud(&Example::reference().pod("cali0badc0ffee1", mtu, "10.244.1.4"));
    assert_eq!(mixed(1400), ["pod-mtu-mixed pods"]);
    assert_eq!(mixed(1500), ["pod-mtu-too-large pods"]);
}

#[test]
fn a_signalled_limit_between_nodes_explains_a_silent_loss_inside_the_tunnel() {
    let node = Example::reference().verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1")));
    assert_eq!(loud(&node.verdict("master-2", Plane::Overlay, black_hole(1350))), ["path-limited master-2"]);
}

#[test]
fn a_tunnel_that_is_too_large_here_explains_every_peers() {
    let node = Example::reference().with("vxlan.calico", |link| link.mtu = LinkMtu::new(1500)).verdict(
        "master-2",
        Plane::Overlay,
        black_hole(1450),
    );
    assert_eq!(loud(&node), ["tunnel-no-headroom vxlan.calico"]);
}

#[test]
fn a_tunnel_that_does_not_deliver_explains_the_pods_behind_it_and_no_node() {
    let node = Example::reference()
        .verdict("master-2", Plane::Overlay, silent())
        .verdict("master-2", Plane::Pod, black_hole(1300))
        .verdict("master-3", Plane::Underlay, silent());
    assert_eq!(loud(&node), ["peer-unreachable master-3", "overlay-unreachable master-2"]);
}

#[test]
fn paths_that_differ_explain_what_was_met_on_the_one_that_was_measured() {
    let sweep = |fate| Fact::Known(swept(&[Fate::Carried, Fate::Carried, fate, fate]));
    let node = Example::reference().verdict("master-2", Plane::Underlay, black_hole(1400)).verdict(
        "master-2",
        Plane::Overlay,
        black_hole(1350),
    );
    assert_eq!(loud(&node.clone().sweeps("10.0.0.12", sweep(Fate::Swallowed))), ["path-ecmp-mtu master-2"]);
    let alike = Fact::Known(swept(&[Fate::Swallowed; 4]));
    assert_eq!(loud(&node.sweeps("10.0.0.12", alike)), ["path-black-hole master-2"], "no flow is better off");
    let silent = Example::reference().verdict("master-2", Plane::Overlay, silent());
    assert_eq!(loud(&silent.clone().sweeps("10.0.0.12", sweep(Fate::Dead))), ["path-ecmp-mtu master-2"]);
    let small = loud(&silent.sweeps("10.0.0.12", sweep(Fate::Swallowed)));
    assert_eq!(small, ["path-ecmp-mtu master-2", "overlay-unreachable master-2"], "small packets pass every path");
}

#[test]
fn the_management_network_explains_nothing_of_the_underlay() {
    let node = Example::reference().with("enp4s0", |link| (link.up, link.carrier) = (false, None)).verdict(
        "master-2",
        Plane::Underlay,
        silent(),
    );
    assert_eq!(loud(&node), ["peer-unreachable master-2"]);
}

#[test]
fn every_severity_that_is_raised_is_one_of_the_entrys() {
    let faults = [
        Example::reference().with("enp5s0", |link| link.up = false),
        Example::reference().with("vmbr1", |link| link.mtu = LinkMtu::new(1400)),
        Example::reference().with("cali1a2b3c4d5e6", |link| link.mtu = LinkMtu::new(1500)),
        Example::reference().verdict("master-2", Plane::Underlay, black_hole(1404)),
        Example::reference().verdict("master-2", Plane::Overlay, silent()),
        Example::reference().verdict("master-3", Plane::Underlay, silent()),
    ];
    for fault in faults {
        let outcomes = judge_all(&fault.snapshot(), Work::Report);
        let raised: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok()).collect();
        let raised: Vec<_> = raised.iter().flat_map(|looked| &looked.raised).collect();
        assert!(!raised.is_empty());
        for candidate in raised {
            assert!(candidate.entry.severities.contains(&candidate.severity), "{candidate:?}");
            let subject = candidate.subject.to_string();
            assert!(!subject.contains("cali") || subject == "vxlan.calico", "{subject}");
            assert!(subject.parse::<std::net::IpAddr>().is_err(), "{subject}");
        }
    }
}
