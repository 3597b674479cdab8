use serde_json::json;

use crate::checks::Check;
use crate::checks::declared::DeclaredMtuDiffers;
use crate::declared::lines::example::host;
use crate::declared::{Files, calico};
use crate::fact::Fact;
use crate::report::Severity;
use crate::snapshot::example::{Example, black_hole, ip};
use crate::units::LinkMtu;

use super::*;

const CONFLIST: &str = "10-calico.conflist";
const AUTOMATIC: &str = r#"{"name": "k", "plugins": [{"type": "calico", "mtu": 0}]}"#;

/// Calico's file with a size.
fn calico_file(mtu: u32) -> Files {
    host(&[(CONFLIST, Ok(&format!(r#"{{"name": "k", "plugins": [{{"type": "calico", "mtu": {mtu}}}]}}"#)))], &[])
}

fn declared(node: &Snapshot) -> Vec<DeclaredRow> {
    rows(node, &BTreeMap::from([("vxlan.calico".to_owned(), IpSize::new(1450))]), &[])
}

fn expecting(node: &Example, underlay: Option<u32>, overlay: Option<u32>) -> Snapshot {
    let mut node = node.snapshot();
    (node.expect.underlay_mtu, node.expect.overlay_mtu) = (underlay.map(IpSize::new), overlay.map(IpSize::new));
    node
}

/// Each place on a line: its name and size, `≠` where it differs, how many where there are several.
fn kernel(row: &DeclaredRow) -> Vec<String> {
    let place = |place: &DeclaredPlace| {
        let sign = if place.differs { " ≠" } else { "" };
        let count = if place.count > 1 { format!(" x{}", place.count) } else { String::new() };
        format!("{} {}{sign}{count}", place.name, place.mtu)
    };
    row.kernel.iter().map(place).collect()
}

fn with_file(node: Example, files: Files) -> Snapshot {
    let mut node = node;
    node.tables.declared = files;
    node.snapshot()
}

fn mtu(bytes: u32) -> impl FnOnce(&mut crate::kernel::Link) {
    move |link| link.mtu = LinkMtu::new(bytes)
}

#[test]
fn the_underlay_is_the_links_to_peers_and_all_below() {
    let rows = declared(&expecting(&Example::reference(), Some(1500), None));
    assert_eq!(kernel(&rows[0]), ["enp5s0 1500", "vmbr1 1500"], "vmbr0 leads to no peer but the gateway");
    let measured = rows[0].measured.clone().unwrap();
    assert_eq!((measured.plane, measured.mtu.bytes()), (Plane::Underlay, 1500));
    assert_eq!((rows[0].recommended, rows[0].differs()), (None, false));
}

#[test]
fn what_is_below_may_have_more_and_never_less() {
    let places = |nic, bridge| {
        let node = Example::reference().with("enp5s0", mtu(nic)).with("vmbr1", mtu(bridge));
        kernel(&declared(&expecting(&node, Some(1500), None))[0])
    };
    assert_eq!(places(9000, 1500), ["enp5s0 9000", "vmbr1 1500"]);
    assert_eq!(places(1400, 1500), ["enp5s0 1400 ≠", "vmbr1 1500"]);
    assert_eq!(places(9000, 9000), ["enp5s0 9000", "vmbr1 9000 ≠"]);
    assert_eq!(places(1400, 1400), ["enp5s0 1400 ≠", "vmbr1 1400 ≠"]);
}

#[test]
fn routes_to_peers_are_told_where_they_say_less() {
    let mut node = Example::reference();
    let Some(Fact::Known(route)) = node.lookups.get_mut(&ip("10.0.0.12")) else { panic!("a route") };
    route.mtu = Some(IpSize::new(1400));
    let rows = declared(&expecting(&node, Some(1500), None));
    assert_eq!(kernel(&rows[0]).pop().unwrap(), "10.0.0.12/24 1400 ≠");
    assert_eq!(kernel(&declared(&expecting(&node, Some(1400), None))[0]).len(), 2, "no less than declared");
}

#[test]
fn one_tunnel_of_the_declared_size_is_enough() {
    let node = Example::two_tunnels();
    let of = |overlay| kernel(&declared(&expecting(&node, None, Some(overlay)))[0]);
    assert_eq!(of(1450), ["vxlan.calico 1450"]);
    assert_eq!(of(1430), ["vxlan-v6.calico 1430"]);
    let neither = of(1400);
    assert!(neither.len() == 2 && neither.iter().all(|place| place.ends_with('≠')), "{neither:?}");
}

#[test]
fn a_cnis_size_is_the_pods_and_the_tunnel_may_have_more() {
    let row = |bytes| declared(&with_file(Example::reference(), calico_file(bytes))).swap_remove(0);
    let fits = row(1450);
    assert_eq!(kernel(&fits), ["vxlan.calico 1450", "cali1a2b3c4d5e6 1450 x2"]);
    assert_eq!((fits.source.as_str(), fits.recommended), ("cni-file", Some(IpSize::new(1450))));
    assert_eq!(fits.written(), "/etc/cni/net.d/10-calico.conflist: mtu of calico");
    assert_eq!(kernel(&row(1400)), ["vxlan.calico 1450", "cali1a2b3c4d5e6 1450 ≠ x2"], "born before the file");
    assert_eq!(kernel(&row(1500)), ["vxlan.calico 1450 ≠", "cali1a2b3c4d5e6 1450 ≠ x2"]);
    let mixed = Example::reference().with("cali1a2b3c4d5e6", mtu(1500));
    let mixed = declared(&with_file(mixed, calico_file(1450))).swap_remove(0);
    assert_eq!(kernel(&mixed)[1..], ["cali9f8e7d6c5b4 1450", "cali1a2b3c4d5e6 1500 ≠"]);
}

#[test]
fn a_note_that_pods_do_not_get_is_of_its_own_tunnel_or_left_over() {
    let text = r#"{"name": "k", "plugins": [{"type": "calico", "mtu": 1400}]}"#;
    let env = (crate::declared::flannel::SUBNET, "FLANNEL_MTU=8950\n");
    let files = host(&[(CONFLIST, Ok(text))], &[(calico::MTU, "1450"), env]);
    let rows = declared(&with_file(Example::reference(), files));
    assert_eq!((rows[1].subject.as_str(), kernel(&rows[1])), ("tunnel", vec!["vxlan.calico 1450".to_owned()]));
    assert_eq!((rows[2].unused.as_deref(), rows[2].kernel.len()), (Some("flannel has no tunnel here"), 0));
    let mut apart = Example::reference();
    apart.peers.clear();
    let files = host(&[(CONFLIST, Ok(text))], &[(calico::MTU, "1450")]);
    let row = declared(&with_file(apart, files)).swap_remove(1);
    assert_eq!((kernel(&row), row.measured), (vec!["vxlan.calico 1450".to_owned()], None), "it leads to nobody now");
    let smaller = host(&[(CONFLIST, Ok(text))], &[(calico::MTU, "1410")]);
    assert_eq!(kernel(&declared(&with_file(Example::reference(), smaller))[1]), ["vxlan.calico 1450 ≠"]);
}

#[test]
fn the_narrowest_path_through_the_tunnel_is_the_one_beside_it() {
    let node = Example::reference().verdict("master-3", Plane::Overlay, black_hole(1400));
    let row = declared(&with_file(node, calico_file(1450))).swap_remove(0);
    let measured = row.measured.unwrap();
    assert_eq!((measured.peer.as_str(), measured.plane, measured.mtu.bytes()), ("master-3", Plane::Overlay, 1400));
}

#[test]
fn what_does_not_count_is_shown_and_held_against_nothing() {
    let files =
        host(&[(CONFLIST, Ok(AUTOMATIC)), ("87-x.conf", Ok(r#"{"name": "x", "type": "bridge", "mtu": 9000}"#))], &[]);
    let rows = declared(&with_file(Example::reference(), files));
    assert_eq!((rows[0].automatic, rows[0].mtu, rows[0].differs()), (true, None, false));
    assert_eq!(rows[1].unused.as_deref(), Some("10-calico.conflist comes first"));
    assert_eq!((rows[1].mtu, rows[1].differs()), (Some(IpSize::new(9000)), false));
    let unread = host(&[(CONFLIST, Ok(AUTOMATIC))], &[(calico::MTU, "many")]);
    let rows = declared(&with_file(Example::reference(), unread));
    assert!(rows[1].unknown.as_deref().is_some_and(|why| why.contains("\"many\" is no MTU")), "{rows:?}");
    assert_eq!(kernel(&rows[1]), ["vxlan.calico 1450", "cali1a2b3c4d5e6 1450 x2"], "what there is stands there anyway");
}

#[test]
fn cilium_has_the_overlays_size_in_routes_and_without_a_tunnel_it_is_the_pods() {
    let external = |link: &mut crate::kernel::Link| link.tunnel.as_mut().unwrap().external = true;
    let mut node = Example::reference().with("vxlan.calico", external).route("10.244.2.0", 26, None, "vxlan.calico");
    let Fact::Known(routes) = &mut node.tables.routes else { panic!("routes") };
    routes.last_mut().unwrap().mtu = Some(IpSize::new(1450));
    assert_eq!(kernel(&declared(&expecting(&node, None, Some(1400)))[0]), ["10.244.2.0/26 1450 ≠"]);
    let file = host(&[("05-cilium.conf", Ok(r#"{"name": "c", "type": "cilium-cni", "mtu": 1500}"#))], &[]);
    let both = kernel(&declared(&with_file(node, file))[0]);
    assert_eq!(both, ["10.244.2.0/26 1450", "cali1a2b3c4d5e6 1450 ≠ x2"], "a route may say less than the pods' links");
    let bare = Example::empty()
        .device("eth0", "device", 1500)
        .address("eth0", "172.20.0.2", 16)
        .pod("cali1a2b3c4d5e6", 1500, "10.42.0.7")
        .peer("worker", "eth0", "172.20.0.3");
    assert_eq!(kernel(&declared(&expecting(&bare, None, Some(1500)))[0]), ["cali1a2b3c4d5e6 1500"]);
}

#[test]
fn findings_that_name_the_place_stand_in_its_row() {
    let mut node = expecting(&Example::reference(), Some(9000), Some(1450));
    node.tables.declared = calico_file(1500);
    let finding = |code, evidence| Finding {
        code,
        severity: Severity::Warning,
        subject: "vxlan.calico".into(),
        summary: String::new(),
        evidence,
        remedy: Vec::new(),
        since: jiff::Timestamp::UNIX_EPOCH,
        silenced_by: None,
    };
    let code = DeclaredMtuDiffers::ENTRY.code;
    let findings = [
        finding(code, json!({"written": "expect.underlay_mtu"})),
        finding(code, json!({"written": "/etc/cni/net.d/10-calico.conflist", "declared": 1500})),
        finding("tunnel-no-headroom", json!({"written": "expect.overlay_mtu"})),
        finding("pod-addresses-exhausted", json!({"written": "/etc/cni/net.d/10-calico.conflist"})),
    ];
    let rows = rows(&node, &BTreeMap::new(), &findings);
    let codes: Vec<_> = rows.iter().map(|row| row.findings.as_slice()).collect();
    assert_eq!(codes, [&[code][..], &[], &[code]]);
}
