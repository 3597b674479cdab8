use crate::fact::Fact;
use crate::kernel::Link;
use crate::node::rows;
use crate::path::{Plane, Verdict};
use crate::snapshot::example::{Example, black_hole, ip, limited, no_right, silent};
use crate::units::LinkMtu;

use super::*;

fn ladders(node: &Example) -> Vec<Ladder> {
    of(&rows::unjudged(&node.snapshot()))
}

fn ladder(node: &Example, link: &str) -> Ladder {
    ladders(node).into_iter().find(|ladder| ladder.link == link).unwrap()
}

/// Each rung on a line: layer, name, share of count where there are several, size, and unless all is well the verdict.
fn lines(ladder: &Ladder) -> Vec<String> {
    let line = |rung: &Rung| {
        let many = if rung.count > 1 { format!(" {}/{}", rung.share, rung.count) } else { String::new() };
        let mtu = rung.mtu.map_or("-".to_owned(), |mtu| mtu.to_string());
        let sign = match rung.verdict {
            Fit::Ok => "",
            Fit::Break if rung.follows => " follows",
            Fit::Break => " BREAK",
            Fit::Unknown => " ?",
        };
        let why = rung.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {}{many} {mtu}{sign}{why}", rung.layer.name(), rung.name)
    };
    ladder.rungs.iter().map(line).collect()
}

fn line(node: &Example, link: &str, layer: Layer) -> String {
    let ladder = ladder(node, link);
    let at = ladder.rungs.iter().position(|rung| rung.layer == layer).unwrap();
    lines(&ladder).swap_remove(at)
}

fn mtu(bytes: u32) -> impl FnOnce(&mut Link) {
    move |link| link.mtu = LinkMtu::new(bytes)
}

fn down(link: &mut Link) {
    link.carrier = Some(false);
}

#[test]
fn a_healthy_node_fits_from_the_wire_up() {
    let ladder = ladder(&Example::reference(), "vxlan.calico");
    assert_eq!(ladder.verdict, Fit::Ok);
    assert_eq!(
        lines(&ladder),
        [
            "NIC enp5s0 1500",
            "bridge vmbr1 1500",
            "path master-2 2/2 1500",
            "tunnel vxlan.calico 1450: + 50 headers = 1500",
            "route 10.244.2.0/26 2/2 1450",
            "overlay master-2 4/4 1450",
            "pods cali1a2b3c4d5e6 2/2 1450",
        ]
    );
}

#[test]
fn the_tunnel_is_held_against_the_path_and_the_rest_follows() {
    let node = Example::reference().verdict("master-2", Plane::Underlay, limited(1400, Some("10.0.0.1"))).verdict(
        "master-2",
        Plane::Overlay,
        black_hole(1350),
    );
    let ladder = ladder(&node, "vxlan.calico");
    assert_eq!(ladder.verdict, Fit::Break);
    assert_eq!(
        lines(&ladder)[2..6],
        [
            "path master-2 1/2 1400 BREAK: 100 short of 1500: 10.0.0.1 says so",
            "tunnel vxlan.calico 1450 BREAK: + 50 headers = 1500, 100 more than the 1400 that the path to master-2 \
             carries: 1350 would fit",
            "route 10.244.2.0/26 2/2 1450",
            "overlay master-2 1/4 1350 follows: 100 short of 1450, and nobody says so",
        ]
    );
    let available: Vec<_> = ladder.rungs.iter().map(|rung| rung.available.map(IpSize::bytes)).collect();
    assert_eq!(available, [None, Some(1500), Some(1500), Some(1350), Some(1450), Some(1450), Some(1450)]);
}

#[test]
fn a_shortfall_that_nothing_below_explains_stands_by_itself() {
    let node = Example::reference().verdict("master-2", Plane::Overlay, black_hole(1400));
    assert_eq!(
        line(&node, "vxlan.calico", Layer::InnerPath),
        "overlay master-2 1/4 1400 BREAK: 50 short of 1450, and nobody says so"
    );
    let both = node.verdict("master-2", Plane::Underlay, limited(1400, None)).verdict(
        "master-2",
        Plane::Overlay,
        black_hole(1300),
    );
    assert!(line(&both, "vxlan.calico", Layer::InnerPath).contains("1300 BREAK"), "1350 would be explained");
}

#[test]
fn four_bytes_that_a_veth_lets_through_are_not_built_on() {
    let node = Example::reference().verdict("master-2", Plane::Underlay, black_hole(1404));
    let lines = lines(&ladder(&node, "vxlan.calico"));
    assert!(lines[2].ends_with("and nobody says so; most likely a device with an MTU of 1400"), "{lines:#?}");
    assert!(lines[3].ends_with("the 1400 that the path to master-2 is good for: 1350 would fit"), "{lines:#?}");
    let odd = Example::reference().verdict("master-2", Plane::Underlay, black_hole(1403));
    assert!(line(&odd, "vxlan.calico", Layer::Tunnel).ends_with("1353 would fit"), "no usual device is that large");
}

#[test]
fn a_bridge_above_its_port_is_one_break_and_the_path_follows() {
    let node = Example::reference().with("enp5s0", mtu(1400)).verdict("master-2", Plane::Underlay, black_hole(1404));
    let lines = lines(&ladder(&node, "vxlan.calico"));
    assert_eq!(lines[1], "bridge vmbr1 1500 BREAK: 100 more than the 1400 that enp5s0 takes");
    assert!(lines[2].starts_with("path master-2 1/2 1404 follows: 96 short of 1500"), "{lines:#?}");
    assert!(lines[3].contains("100 more than the 1400 that enp5s0 takes: 1350 would fit"), "{lines:#?}");
    let fits = Example::reference().with("enp5s0", mtu(9000));
    assert_eq!(line(&fits, "vxlan.calico", Layer::Bridge), "bridge vmbr1 1500: could be 9000");
}

#[test]
fn a_port_too_small_by_a_tag_is_no_break_unless_it_was_measured_to_be_one() {
    let node = Example::reference().with("enp5s0", mtu(1496));
    let fits = ladder(&node, "vxlan.calico");
    assert_eq!(lines(&fits)[1], "bridge vmbr1 1500: 4 more than the 1496 that enp5s0 takes, which a bridge lets pass");
    assert_eq!(fits.verdict, Fit::Ok, "1500 was measured to pass: {fits:?}");
    let filtered = node.verdict("master-2", Plane::Underlay, black_hole(1496));
    assert_eq!(
        line(&filtered, "vxlan.calico", Layer::Path),
        "path master-2 1/2 1496 BREAK: 4 short of 1500, and nobody says so; most likely a device with an MTU of 1492"
    );
    let five = Example::reference().with("enp5s0", mtu(1495));
    assert!(line(&five, "vxlan.calico", Layer::Bridge).contains("BREAK: 5 more"), "a tag is four bytes");
}

#[test]
fn pods_are_held_against_their_tunnel_alone() {
    let node = Example::reference().with("cali1a2b3c4d5e6", mtu(1451));
    assert_eq!(
        line(&node, "vxlan.calico", Layer::Pods),
        "pods cali1a2b3c4d5e6 1/2 1451 BREAK: 1 more than the 1450 that vxlan.calico takes"
    );
    let short = Example::reference().verdict("master-2", Plane::Underlay, limited(1400, None));
    assert_eq!(ladder(&short, "vxlan.calico").rungs.last().map(|rung| rung.verdict), Some(Fit::Ok));
    let small = Example::reference().with("vxlan.calico", mtu(1500)).with("vmbr1", mtu(1550));
    assert_eq!(line(&small, "vxlan.calico", Layer::Pods), "pods cali1a2b3c4d5e6 2/2 1450: could be 1500");
}

fn with_route_mtu(bytes: u32) -> Example {
    let mut node = Example::reference();
    for address in ["10.244.2.0", "10.244.2.2"] {
        let Some(Fact::Known(route)) = node.lookups.get_mut(&ip(address)) else { panic!("a route") };
        route.mtu = Some(IpSize::new(bytes));
    }
    node
}

#[test]
fn pods_above_a_routes_own_mtu_may_know_it_themselves() {
    let node = with_route_mtu(1400);
    assert_eq!(line(&node, "vxlan.calico", Layer::Route), "route 10.244.2.0/26 1/2 1400: could be 1450");
    assert_eq!(
        line(&node, "vxlan.calico", Layer::Pods),
        "pods cali1a2b3c4d5e6 2/2 1450 ?: 50 more than the 1400 that the route to 10.244.2.0/26 takes, unless the pods' \
         own routes keep within it"
    );
    let said_again = with_route_mtu(1450);
    assert_eq!(ladder(&said_again, "vxlan.calico").verdict, Fit::Ok);
}

#[test]
fn a_route_above_its_tunnel_breaks() {
    assert_eq!(
        line(&with_route_mtu(1500), "vxlan.calico", Layer::Route),
        "route 10.244.2.0/26 1/2 1500 BREAK: 50 more than the 1450 that vxlan.calico takes"
    );
}

#[test]
fn what_was_not_measured_is_unknown() {
    let unread =
        |node: Example, peer| Plane::ALL.into_iter().fold(node, |node, plane| node.unmeasured(peer, plane, no_right()));
    let node = unread(unread(Example::reference(), "master-2"), "master-3");
    let ladder = ladder(&node, "vxlan.calico");
    assert_eq!(ladder.verdict, Fit::Unknown);
    assert_eq!(lines(&ladder)[2], "path master-2 2/2 - ?: not measured: probes: denied, needs CAP_NET_RAW");
    assert_eq!(lines(&ladder)[3], "tunnel vxlan.calico 1450: + 50 headers = 1500", "that much is configured");
}

#[test]
fn one_unanswered_path_leaves_its_rung_open() {
    let node = Example::reference().verdict("master-2", Plane::Underlay, silent());
    assert_eq!(line(&node, "vxlan.calico", Layer::Path), "path master-3 1/2 1500 ?: no size known for 1 of 2");
    let both = node.clone().verdict("master-3", Plane::Underlay, silent());
    assert_eq!(line(&both, "vxlan.calico", Layer::Path), "path master-2 2/2 - ?: nothing answers");
    let and_short = node.verdict("master-3", Plane::Underlay, black_hole(1400));
    let line = line(&and_short, "vxlan.calico", Layer::Path);
    assert_eq!(line, "path master-3 1/2 1400 BREAK: 100 short of 1500, and nobody says so; no size known for 1 of 2");
}

#[test]
fn a_path_that_need_not_carry_more_fits() {
    let clear = Verdict::Clear { mtu: IpSize::new(1500) };
    let mut node = Example::reference().with("enp5s0", mtu(9000)).with("vmbr1", mtu(9000)).snapshot();
    for path in node.paths.values_mut().filter(|path| path.via.len() == 2) {
        path.expected = Some(IpSize::new(1500));
        let Fact::Known(measured) = &mut path.measured else { panic!("measured") };
        measured.verdict = clear.clone();
    }
    let ladder = of(&rows::unjudged(&node)).swap_remove(0);
    assert_eq!(lines(&ladder)[2], "path master-2 2/2 1500: no more is expected of it");
    assert_eq!(ladder.verdict, Fit::Ok);
}

#[test]
fn two_tunnels_have_a_ladder_and_paths_each() {
    let node = Example::reference()
        .vxlan("vxlan-b", 1400, Some("vmbr0"), "192.168.0.11")
        .peer("other", "vmbr0", "192.168.0.77")
        .behind_tunnel("other", "vxlan-b", "10.99.2.0", &[])
        .verdict("other", Plane::Underlay, limited(1400, None));
    let [first, second] = ladders(&node).try_into().unwrap();
    assert_eq!((first.link.as_str(), first.verdict), ("vxlan.calico", Fit::Ok));
    assert_eq!((second.link.as_str(), second.verdict), ("vxlan-b", Fit::Break));
    assert_eq!(lines(&second)[..2], ["NIC enp4s0 1500", "bridge vmbr0 1500"]);
    assert_eq!(lines(&second)[2], "path other 1400 BREAK: 100 short of 1500: this machine says so");
}

#[test]
fn a_tunnel_over_a_tunnel_stands_on_the_whole_of_it() {
    let node = Example::flannel()
        .vxlan("nest", 1400, Some("flannel.1"), "10.42.0.0")
        .peer("inside", "flannel.1", "10.42.1.0")
        .behind_tunnel("inside", "nest", "10.9.2.0", &[]);
    assert_eq!(
        lines(&ladder(&node, "nest"))[..5],
        [
            "NIC eth0 1500",
            "path worker 1500",
            "tunnel flannel.1 1450: + 50 headers = 1500",
            "path inside 1450",
            "tunnel nest 1400: + 50 headers = 1450",
        ]
    );
    let worker = node.verdict("worker", Plane::Underlay, limited(1400, None));
    let nest = lines(&ladder(&worker, "nest"));
    assert!(nest[4].contains("100 more than the 1350 that flannel.1 gets through: 1300 would fit"), "{nest:#?}");
}

#[test]
fn a_tunnel_without_peers_is_held_against_paths_of_its_kind_alone() {
    let beside =
        |local| Example::flannel().vxlan("beside", 1450, Some("eth0"), local).peer("in", "flannel.1", "10.42.1.0");
    let ladder = |node: Example| ladder(&node.verdict("in", Plane::Underlay, limited(1300, None)), "beside");
    assert_eq!(lines(&ladder(beside("172.20.0.2")))[1], "path worker 1500", "not the one through flannel.1");
    assert_eq!(lines(&ladder(beside("fd00::2")))[1][..14], *"tunnel beside ", "no IPv4 path");
}

#[test]
fn without_a_tunnel_the_link_to_the_peers_is_the_top() {
    let mut node = Example::empty()
        .device("eth0", "device", 1500)
        .address("eth0", "172.20.0.2", 16)
        .pod("cali1a2b3c4d5e6", 1500, "10.42.0.7")
        .peer("worker", "eth0", "172.20.0.3");
    node.peers[0].pods = vec![ip("10.42.1.4")];
    let mut route = node.lookups[&ip("172.20.0.3")].clone();
    if let Fact::Known(route) = &mut route {
        (route.destination, route.prefix) = (ip("10.42.1.0"), 24);
    }
    node.lookups.insert(ip("10.42.1.4"), route);
    let ladder = ladder(&node, "eth0");
    assert_eq!(
        lines(&ladder),
        [
            "NIC eth0 1500",
            "path worker 1500",
            "route 10.42.1.0/24 1500",
            "overlay worker 1500",
            "pods cali1a2b3c4d5e6 1500"
        ]
    );
    assert!(ladders(&Example::empty()).is_empty(), "nothing leads anywhere");
}

#[test]
fn a_tunnel_in_collect_metadata_mode_has_no_size_of_its_own() {
    let external = |link: &mut Link| link.tunnel.as_mut().unwrap().external = true;
    let node = Example::reference().with("vxlan.calico", external).with("cali1a2b3c4d5e6", mtu(1500));
    let ladder = ladder(&node, "vxlan.calico");
    assert_eq!(lines(&ladder)[3], "tunnel vxlan.calico -: + 50 headers; routes and pods keep the size, 1450 would fit");
    let pods = lines(&ladder).pop().unwrap();
    assert!(pods.starts_with("pods cali1a2b3c4d5e6 1/2 1500 ?: 50 more than the 1450"), "{pods}");
}

#[test]
fn what_a_tunnel_stands_on_may_not_be_known() {
    let bare = |node: Example| {
        node.with("vxlan.calico", |link| {
            let tunnel = link.tunnel.as_mut().unwrap();
            (tunnel.lower, tunnel.local) = (None, None);
        })
    };
    let mut node = bare(Example::reference());
    node.lookups.clear();
    assert_eq!(
        lines(&ladder(&node, "vxlan.calico"))[0],
        "tunnel vxlan.calico 1450 ?: which link carries it is not known"
    );
    let mut node = bare(Example::reference()).with("vxlan.calico", |link| {
        link.tunnel.as_mut().unwrap().lower = Some(crate::kernel::LinkIndex(5));
    });
    node.tables.forwarding = Fact::Known(Vec::new().into());
    assert!(line(&node, "vxlan.calico", Layer::Tunnel).ends_with("1450 ?: how much it adds is not known"));
}

#[test]
fn a_dead_link_breaks_unless_another_does_its_work() {
    let dead = Example::reference().with("enp5s0", down);
    assert_eq!(line(&dead, "vxlan.calico", Layer::Nic), "NIC enp5s0 1500 BREAK: no carrier");
    let above = dead.with("vmbr1", down);
    assert_eq!(line(&above, "vxlan.calico", Layer::Bridge), "bridge vmbr1 1500 follows: no carrier");
    let alone = Example::reference().with("vmbr1", |link| link.up = false);
    assert_eq!(line(&alone, "vxlan.calico", Layer::Bridge), "bridge vmbr1 1500 BREAK: down");
    let bonded = Example::empty()
        .device("eth0", "device", 1500)
        .device("eth1", "device", 1500)
        .device("bond0", "bond", 1500)
        .port("eth0", "bond0")
        .port("eth1", "bond0")
        .peer("worker", "bond0", "172.20.0.3")
        .with("eth0", down);
    assert_eq!(
        lines(&ladder(&bonded, "bond0"))[..3],
        ["NIC eth0 1500: no carrier; eth1 carries", "NIC eth1 1500", "bond bond0 1500"]
    );
    let tunnel = Example::reference().with("vxlan.calico", |link| link.up = false);
    assert_eq!(line(&tunnel, "vxlan.calico", Layer::Tunnel), "tunnel vxlan.calico 1450 BREAK: down");
}

#[test]
fn a_break_names_the_findings_about_it_and_no_others() {
    let node = Example::reference()
        .verdict("master-2", Plane::Underlay, limited(1400, None))
        .with("cali1a2b3c4d5e6", mtu(1500))
        .snapshot();
    let mut report = rows::unjudged(&node);
    let finding = |code, subject: &str, evidence| Finding {
        code,
        severity: crate::report::Severity::Warning,
        subject: subject.into(),
        summary: String::new(),
        evidence,
        remedy: Vec::new(),
        since: report.generated_at,
        silenced_by: None,
    };
    report.findings = vec![
        finding("path-limited", "master-2", serde_json::json!({"plane": "underlay"})),
        finding("path-black-hole", "master-2", serde_json::json!({"plane": "pod"})),
        finding("path-limited", "master-3", serde_json::json!({"plane": "underlay"})),
        finding("overlay-mtu-exceeds-path", "master-2", serde_json::json!({"tunnel": "vxlan.calico"})),
        finding("pod-mtu-too-large", "pods", serde_json::json!({})),
        finding("rp-filter-strict", "vxlan.calico", serde_json::json!({})),
        finding("link-down", "vmbr1", serde_json::json!({})),
    ];
    let ladder = of(&report).swap_remove(0);
    let codes: Vec<_> = ladder.rungs.iter().map(|rung| (rung.layer, rung.findings.as_slice())).collect();
    let about = |layer: Layer| codes.iter().find(|(at, _)| *at == layer).unwrap().1;
    assert_eq!(about(Layer::Path), ["path-limited"]);
    assert_eq!(about(Layer::Tunnel), ["overlay-mtu-exceeds-path"]);
    assert_eq!(about(Layer::Pods), ["pod-mtu-too-large"]);
    assert!(about(Layer::Bridge).is_empty(), "it is not broken here");
}

#[test]
fn links_that_name_each_other_end_the_climb() {
    let mut report = rows::unjudged(&Example::reference().snapshot());
    let nic = report.links.iter_mut().find(|link| link.name == "enp5s0").unwrap();
    (nic.kind, nic.lower) = ("macvlan".into(), Some("vxlan.calico".into()));
    assert!(of(&report)[0].rungs.len() >= 5);
}
