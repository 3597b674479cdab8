//! The words of every example on each set-up, for a reader, and machines that the whole catalogue must judge alike.

use super::{ALL, judge_all};
use crate::path::Plane;
use crate::remedy;
use crate::snapshot::Setup;
use crate::snapshot::example::{Example, black_hole, no_right, silent};
use crate::snapshot::setup::{Cni, Host};

/// Every example's sentence and remedy. The examples are worded for Calico's device; `tunnel` takes its place.
fn told(cni: Cni, host: Host, tunnel: &str) -> String {
    let named = |text: &str| text.replace("vxlan.calico", tunnel);
    let one = |check: &super::Registered| {
        let mut example = check.example();
        example.fixes.iter_mut().for_each(|fix| rename(fix, tunnel));
        let remedy = remedy::render(&example.fixes, Setup { cni, host }).join("\n  ");
        let (code, severity) = (check.entry.code, example.severity.name());
        format!("{code} ({severity}) {}\n{}\n  {remedy}\n", example.subject, example.summary)
    };
    named(&ALL.iter().map(one).collect::<Vec<_>>().join("\n"))
}

fn rename(fix: &mut remedy::Fix, to: &str) {
    match fix {
        remedy::Fix::OverlayMtu { tunnel, .. } | remedy::Fix::PodMtu { tunnel, .. } => *tunnel = to.into(),
        remedy::Fix::TunnelDelivers { tunnel: Some(tunnel), .. } => *tunnel = to.into(),
        remedy::Fix::Instead(fixes) => fixes.iter_mut().for_each(|fix| rename(fix, to)),
        _ => {}
    }
}

/// `code severity subject` of everything raised, and what could not be concluded.
fn judged(example: &Example) -> (Vec<String>, Vec<String>) {
    let (mut raised, mut unread) = (Vec::new(), Vec::new());
    for outcome in judge_all(&example.snapshot()) {
        let code = outcome.entry.code;
        match outcome.result {
            Err(why) => unread.push(format!("{code}: {why}")),
            Ok(looked) => {
                let name = |one: &super::Candidate| format!("{code} {} {}", one.severity.name(), one.subject);
                raised.extend(looked.raised.iter().map(name));
                unread.extend(looked.unread.iter().map(|(subject, why)| format!("{code} {subject}: {why}")));
            }
        }
    }
    (raised, unread)
}

#[test]
fn calico_on_proxmox() {
    insta::assert_snapshot!(told(Cni::Calico, Host::Proxmox, "vxlan.calico"));
}

#[test]
fn flannel_on_a_plain_host() {
    insta::assert_snapshot!(told(Cni::Flannel, Host::Plain, "flannel.1"));
}

#[test]
fn a_tunnel_of_no_known_cni_on_a_plain_host() {
    insta::assert_snapshot!(told(Cni::Unknown, Host::Plain, "vxlan0"));
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
    let measured = ["peer-", "path-", "overlay-"];
    assert!(unread.iter().all(|line| measured.iter().any(|family| line.starts_with(family))), "{unread:#?}");
    assert_eq!(unread.len(), 2 + 6 + 6 + 2 + 2);
}

#[test]
fn every_severity_that_is_raised_is_one_of_the_entrys() {
    let faults = [
        Example::reference().with("enp5s0", |link| link.up = false),
        Example::reference().with("vmbr1", |link| link.mtu = crate::units::LinkMtu::new(1400)),
        Example::reference().with("cali1a2b3c4d5e6", |link| link.mtu = crate::units::LinkMtu::new(1500)),
        Example::reference().verdict("master-2", Plane::Underlay, black_hole(1404)),
        Example::reference().verdict("master-2", Plane::Overlay, silent()),
        Example::reference().verdict("master-3", Plane::Underlay, silent()),
    ];
    for fault in faults {
        let outcomes = judge_all(&fault.snapshot());
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
