//! Entries that do not fit, and those that only look so.

use super::*;
use crate::fact::Fact;
use crate::kernel::{FdbEntry, Mac, Neighbour};
use crate::path::Verdict;
use crate::snapshot::example::{Example, ip, silent};
use crate::units::IpSize;

const OTHER: Mac = Mac([0x66, 0, 0, 0, 0, 0x99]);

fn judge(example: &Example) -> Judgement<Evidence> {
    VtepMacDiffers::judge(&example.snapshot()).unwrap()
}

fn told(example: &Example) -> (Evidence, String) {
    let mut judgement = judge(example);
    assert_eq!(judgement.raised.len(), 1, "{judgement:?}");
    let raised = judgement.raised.remove(0);
    let summary = VtepMacDiffers::summary(&raised.subject, &raised.evidence);
    (raised.evidence, summary)
}

fn quiet(example: &Example) -> bool {
    judge(example).raised.is_empty()
}

fn forwarding(example: &mut Example) -> &mut Vec<FdbEntry> {
    let Fact::Known(forwarding) = &mut example.tables.forwarding else { unreachable!() };
    forwarding
}

fn neighbours(example: &mut Example) -> &mut Vec<Neighbour> {
    let Fact::Known(neighbours) = &mut example.tables.neighbours else { unreachable!() };
    neighbours
}

/// master-2 is lost, and what is encapsulated here for it is answered or not.
fn lost(answered: bool) -> Example {
    let outer = if answered { Verdict::Clear { mtu: IpSize::new(1500) } } else { silent() };
    Example::reference().verdict("master-2", Plane::Overlay, silent()).outer_verdict("master-2", outer)
}

fn other_neighbour(answered: bool) -> Example {
    let mut node = lost(answered);
    neighbours(&mut node)[0].mac = Some(OTHER);
    node
}

/// The forwarding entry of master-2's hardware address leads to master-3.
fn turned(answered: bool) -> Example {
    let mut node = lost(answered);
    forwarding(&mut node)[0].destination = Some(ip("10.0.0.13"));
    node
}

#[test]
fn entries_that_fit_are_quiet() {
    for node in [Example::reference(), Example::flannel(), Example::two_tunnels(), Example::dual("10.0.0.12")] {
        assert!(quiet(&node));
    }
    assert!(quiet(&lost(false)), "silent for another reason");
}

#[test]
fn a_peer_that_takes_what_is_for_every_address_has_another_than_both_entries_name() {
    let taken = || Verdict::Clear { mtu: IpSize::new(1500) };
    let (evidence, summary) = told(&lost(false).anyone_verdict("master-2", taken()));
    assert_eq!((evidence.wrong, evidence.leads_to), (Some(Side::Both), None));
    assert_eq!(
        summary,
        "master-2 (10.244.2.0) no longer has the hardware address 66:00:00:00:00:00, which both entries on vxlan.calico \
         name: packets to that are lost at 10.0.0.12, and packets to every address are answered."
    );
    assert!(quiet(&lost(false).anyone_verdict("master-2", silent())), "nothing reaches it");
    assert!(
        quiet(&lost(true).anyone_verdict("master-2", taken())),
        "the address is answered: the device is the matter"
    );
}

#[test]
fn a_neighbour_that_nobody_forwards_is_wrong_where_the_other_address_is_answered() {
    let (evidence, summary) = told(&other_neighbour(true));
    assert_eq!(evidence.wrong, Some(Side::Neighbour));
    assert_eq!(
        summary,
        "vxlan.calico sends what is for master-2 (10.244.2.0) to the hardware address 66:00:00:00:00:99, which has no \
         forwarding entry, while the one to 10.0.0.12 is for 66:00:00:00:00:00; packets to 66:00:00:00:00:00 are \
         answered, so the neighbour entry is wrong."
    );
    assert_eq!(evidence.neighbour, "10.244.2.0 dev vxlan.calico lladdr 66:00:00:00:00:99 PERMANENT");
    assert_eq!(evidence.forwarding, ["66:00:00:00:00:00 dev vxlan.calico dst 10.0.0.12 self permanent"]);
    let raised = judge(&other_neighbour(true)).raised.remove(0);
    let entry = VtepEntry::Neighbour { gateway: ip("10.244.2.0"), mac: Some("66:00:00:00:00:00".into()) };
    let fixes = VtepMacDiffers::fixes(&raised.subject, &raised.evidence);
    assert_eq!(fixes, [Fix::VtepEntries { tunnel: "vxlan.calico".into(), entries: vec![entry] }]);
}

#[test]
fn without_an_answer_neither_entry_is_blamed() {
    let (evidence, summary) = told(&other_neighbour(false));
    assert_eq!(evidence.wrong, None);
    assert!(summary.ends_with("is for 66:00:00:00:00:00."), "{summary}");
    let raised = judge(&other_neighbour(false)).raised.remove(0);
    let fixes = VtepMacDiffers::fixes(&raised.subject, &raised.evidence);
    let [Fix::VtepEntries { entries, .. }] = fixes.as_slice() else { panic!("{fixes:?}") };
    assert_eq!(entries.len(), 2, "both are shown, none is written");
}

#[test]
fn an_entry_that_leads_to_another_peers_node_is_wrong_where_the_right_node_answers() {
    let (evidence, summary) = told(&turned(true));
    assert_eq!((evidence.wrong, evidence.leads_to), (Some(Side::Forwarding), Some(ip("10.0.0.13"))));
    assert!(
        summary.contains("is forwarded to master-3 (10.0.0.13), and not to 10.0.0.12; packets to 10.0.0.12"),
        "{summary}"
    );
    assert!(summary.ends_with("so the forwarding entry is wrong."), "{summary}");
}

#[test]
fn two_gateways_that_share_a_hardware_address_make_a_detour_or_lose_one_of_them() {
    let share = |mut node: Example| {
        neighbours(&mut node)[0].mac = Some(Mac([0x66, 0, 0, 0, 0, 1]));
        judge(&node).raised.remove(0)
    };
    let raised = share(lost(true));
    assert_eq!((raised.severity, raised.evidence.detour), (Severity::Critical, false));
    assert_eq!((raised.evidence.whose.as_deref(), raised.evidence.wrong), (Some("master-3"), Some(Side::Neighbour)));
    assert_eq!(raised.evidence.forwarded_mac.as_deref(), Some("66:00:00:00:00:00"));
    let raised = share(Example::reference());
    assert_eq!((raised.severity, raised.evidence.detour), (Severity::Warning, true));
    let summary = VtepMacDiffers::summary(&raised.subject, &raised.evidence);
    assert!(
        summary.contains("is forwarded to master-3 (10.0.0.13), from where it is sent on, and not to 10.0.0.12"),
        "{summary}"
    );
}

#[test]
fn what_is_answered_all_the_same_is_where_it_should_be() {
    let clear = Verdict::Clear { mtu: IpSize::new(1450) };
    assert!(quiet(&turned(true).verdict("master-2", Plane::Overlay, clear)));
}

#[test]
fn an_address_that_no_peer_has_is_another_network_of_the_same_node() {
    let mut node = turned(true);
    forwarding(&mut node)[0].destination = Some(ip("192.168.0.12"));
    assert!(quiet(&node));
}

#[test]
fn an_address_that_is_forwarded_nowhere_and_no_other_is_simply_missing() {
    let mut node = lost(true);
    forwarding(&mut node).remove(0);
    assert!(quiet(&node));
}

#[test]
fn a_tunnel_that_floods_needs_no_entry_that_fits() {
    let mut node = other_neighbour(true);
    let link = node.index("vxlan.calico");
    forwarding(&mut node).push(FdbEntry {
        link,
        mac: Mac([0; 6]),
        destination: Some(ip("10.0.0.12")),
        permanent: true,
    });
    assert!(quiet(&node));
}

#[test]
fn a_peer_whose_node_is_lost_has_another_trouble() {
    assert!(quiet(&other_neighbour(false).verdict("master-2", Plane::Underlay, silent())));
}

#[test]
fn the_other_family_may_have_the_address_that_fits() {
    let mut node = Example::dual("10.0.0.12").verdict("master-2", Plane::Overlay, silent());
    neighbours(&mut node)[0].mac = Some(OTHER);
    let (evidence, _) = told(&node);
    assert_eq!(evidence.mac, OTHER.to_string());
}

#[test]
fn without_a_table_nothing_is_concluded() {
    let mut node = other_neighbour(true);
    node.tables.forwarding = Fact::Unread(crate::snapshot::example::failed(crate::fact::Source::Fdb));
    assert!(VtepMacDiffers::judge(&node.snapshot()).is_err());
}
