//! Pods whose MTU is above that of the tunnel which their packets to other nodes leave by.
//!
//! The node answers such a packet with "fragmentation needed", so well-behaved senders adapt and this is a warning. It
//! is the classic fault all the same: small requests pass, uploads hang, because that answer is filtered or ignored.
//! Critical only with proof: an overlay or pod path on which sizes vanish in silence.
//!
//! Only host ends are looked at here; the pod's end has the same MTU as far as any CNI sets it. Where pods leave by
//! collect-metadata tunnels alone the budget is in the pods' route MTU, and a larger device MTU is normal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::FragmentationFailing;
use crate::checks::{Alert, Area, Check, Confirm, Entry, Judgement, words};
use crate::fact::Unread;
use crate::kernel::Link;
use crate::path::{Plane, Verdict};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::units::LinkMtu;

use super::PodMtuMixed;

/// The rule.
#[derive(Debug)]
pub struct PodMtuTooLarge;

/// Pod links by MTU, and the tunnel that is too small for some.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The smallest tunnel that carries pods.
    pub tunnel: String,
    /// Its MTU, the most that a pod may have.
    pub budget: LinkMtu,
    /// Number of pod links by MTU, those that fit included.
    pub links_by_mtu: BTreeMap<LinkMtu, usize>,
    /// Number of pod links above the budget.
    pub too_large: usize,
    /// Some of them, at most five.
    pub examples: Vec<String>,
    /// Whether sizes were measured to vanish in silence on an overlay or pod path.
    pub black_hole: bool,
}

impl Check for PodMtuTooLarge {
    const ENTRY: Entry = Entry {
        code: "pod-mtu-too-large",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        title: "pod MTU above the tunnel's",
        meaning: "Pods send packets to other nodes that their tunnel does not take. Small requests work; large ones \
                  depend on an ICMP answer that is often filtered, and then uploads hang.",
        look: &[
            "ip -d link show type veth",
            "ip link show dev TUNNEL",
            "kubectl exec POD -- cat /sys/class/net/eth0/mtu",
        ],
        silences: &[PodMtuMixed::ENTRY.code, FragmentationFailing::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopePodMtuTooLarge", minutes: 10 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        if let Some(evidence) = evidence(node).filter(|evidence| evidence.too_large > 0) {
            let severity = if evidence.black_hole { Severity::Critical } else { Severity::Warning };
            judgement.raise_breaking(Subject::Pods, severity, evidence, vec![Subject::Pods]);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, budget, links_by_mtu, too_large, black_hole, .. } = evidence;
        let total = links_by_mtu.values().sum();
        let largest = links_by_mtu.keys().next_back().unwrap_or(budget);
        let have = if *too_large == 1 { "has" } else { "have" };
        let proof = if *black_hole { " Larger packets were measured to vanish." } else { "" };
        format!(
            "{too_large} of {} {have} an MTU of up to {largest} B, above the {budget} B of {tunnel}, by which pods \
             reach other nodes.{proof}",
            words::count(total, "pod link")
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::PodMtu { tunnel: Some(evidence.tunnel.clone()), mtu: evidence.budget }, Fix::RecreatePods]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            tunnel: "vxlan.calico".into(),
            budget: LinkMtu::new(1450),
            links_by_mtu: BTreeMap::from([(LinkMtu::new(1450), 11), (LinkMtu::new(1500), 3)]),
            too_large: 3,
            examples: vec!["cali1a2b3c4d5e6".into(), "cali5c0ffee1234".into(), "cali9f8e7d6c5b4".into()],
            black_hole: false,
        };
        (Subject::Pods, Severity::Warning, evidence)
    }
}

fn evidence(node: &Snapshot) -> Option<Evidence> {
    let tunnel = smallest_tunnel(node)?;
    let pods: Vec<_> = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod).collect();
    let mut links_by_mtu = BTreeMap::new();
    for link in &pods {
        *links_by_mtu.entry(link.mtu).or_default() += 1;
    }
    let too_large: Vec<&&Link> = pods.iter().filter(|link| link.mtu > tunnel.mtu).collect();
    Some(Evidence {
        tunnel: tunnel.name.clone(),
        budget: tunnel.mtu,
        links_by_mtu,
        too_large: too_large.len(),
        examples: too_large.iter().take(5).map(|link| link.name.clone()).collect(),
        black_hole: black_hole_inside(node),
    })
}

fn smallest_tunnel(node: &Snapshot) -> Option<&TunnelView> {
    let carrying = node.topology.tunnels().iter().filter(|tunnel| tunnel.carries_pods && !tunnel.external);
    carrying.min_by_key(|tunnel| tunnel.mtu)
}

/// Whether a path inside the tunnel is a black hole that the path between the nodes does not explain.
fn black_hole_inside(node: &Snapshot) -> bool {
    let is_hole = |verdict| matches!(verdict, Ok(&Verdict::BlackHole { .. }));
    node.paths.iter().filter(|(key, _)| key.plane != Plane::Underlay).any(|(key, path)| {
        let below = node.below(key).map(|(_, below)| below.verdict());
        is_hole(path.verdict()) && !below.is_some_and(is_hole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, black_hole, failed};

    fn pods_of(mtu: u32) -> Example {
        Example::reference().with("cali1a2b3c4d5e6", |link| link.mtu = LinkMtu::new(mtu))
    }

    fn judge(example: &Example) -> Judgement<Evidence> {
        PodMtuTooLarge::judge(&example.snapshot()).unwrap()
    }

    #[test]
    fn one_byte_above_the_tunnel_is_a_warning_and_its_mtu_is_quiet() {
        let judgement = judge(&pods_of(1451));
        let raised = &judgement.raised[0];
        assert_eq!(
            (&raised.subject, raised.severity, raised.evidence.too_large),
            (&Subject::Pods, Severity::Warning, 1)
        );
        assert_eq!(raised.evidence.examples, ["cali1a2b3c4d5e6"]);
        assert!(judge(&pods_of(1450)).raised.is_empty());
    }

    #[test]
    fn the_sentence_names_numbers_and_no_pod() {
        let raised = &judge(&pods_of(1500)).raised[0];
        assert_eq!(
            PodMtuTooLarge::summary(&raised.subject, &raised.evidence),
            "1 of 2 pod links has an MTU of up to 1500 B, above the 1450 B of vxlan.calico, by which pods reach \
             other nodes."
        );
    }

    #[test]
    fn it_is_critical_only_with_a_black_hole_inside_the_tunnel() {
        let severity = |plane| judge(&pods_of(1500).verdict("master-2", plane, black_hole(1400))).raised[0].severity;
        assert_eq!(severity(Plane::Overlay), Severity::Critical);
        assert_eq!(severity(Plane::Pod), Severity::Critical);
        assert_eq!(severity(Plane::Underlay), Severity::Warning, "that is another fault");
        let both = pods_of(1500).verdict("master-2", Plane::Underlay, black_hole(1400));
        let both = judge(&both.verdict("master-2", Plane::Overlay, black_hole(1350)));
        assert_eq!(both.raised[0].severity, Severity::Warning, "the path between the nodes explains it");
    }

    #[test]
    fn without_a_tunnel_that_has_an_mtu_there_is_no_budget() {
        let external = pods_of(1500).with("vxlan.calico", |link| link.tunnel.as_mut().unwrap().external = true);
        assert!(judge(&external).raised.is_empty());
        let mut direct = pods_of(1500);
        direct.tables.routes = Fact::Known(Vec::new());
        assert!(judge(&direct).raised.is_empty());
    }

    #[test]
    fn routes_that_could_not_be_read_conclude_nothing() {
        let mut node = pods_of(1500);
        node.tables.routes = Fact::Unread(failed(Source::Routes));
        assert_eq!(PodMtuTooLarge::judge(&node.snapshot()).unwrap_err(), failed(Source::Routes));
    }
}
