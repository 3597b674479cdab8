//! Pods whose MTU is above what their packets to other nodes leave by.
//!
//! The node answers such a packet with "fragmentation needed", so well-behaved senders adapt and this is a warning. It
//! is the classic fault all the same: small requests pass, uploads hang, because that answer is filtered or ignored.
//! Critical only with proof: an overlay or pod path on which sizes vanish in silence.
//!
//! Two sizes are compared, and each is the smallest of several. *What a pod sends* is bound by the smaller end of its link;
//! where the right to see the pods' ends is missing, by the node's, which proves that a pod fits and, since a CNI makes both
//! ends alike, is enough to say that one does not ([`pod_links`]). *What the node takes to other nodes' pods* is bound by
//! the tunnel's MTU or that of the NIC where there is none, and by that of the route: newer versions of Calico give theirs
//! one, and the kernel then refuses a forwarded packet at the route and not at the device ([`pod_ways`]).
//!
//! A route inside a pod may hold its packets smaller than its device would, and from the node no route of another
//! namespace can be seen. Cilium does just that: there the overhead stands in the pods' routes and a larger device is
//! normal, so nothing is said of its pods. Nothing is said either of pods on a bridge without an address: no route of the
//! node is theirs, so a second network for storage may be as large as it likes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::FragmentationFailing;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::path::{Plane, Verdict};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::LinkMtu;

use super::PodMtuMixed;
use super::pod_links::{self, EXAMPLES, PodLink, PodLinks};
use super::pod_ways::{self, Narrow, Way};

/// The rule.
#[derive(Debug)]
pub struct PodMtuTooLarge;

/// Pod links by MTU, and the way that is too small for some.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The link that takes least of those by which pods reach other nodes.
    pub link: String,
    /// Its MTU.
    pub link_mtu: LinkMtu,
    /// Whether it is a tunnel.
    pub tunnel: bool,
    /// The route to it that takes less still, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Narrow>,
    /// The most that a pod may have.
    pub budget: LinkMtu,
    /// Number of pod links by MTU, the smaller one of their two ends; those that fit included.
    pub links_by_mtu: BTreeMap<LinkMtu, usize>,
    /// Number of pod links above the budget.
    pub too_large: usize,
    /// Some of them, at most five.
    pub examples: Vec<String>,
    /// Whether sizes were measured to vanish in silence on an overlay or pod path.
    pub black_hole: bool,
    /// Why the pods' ends were not seen; then the sizes are those of the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

impl Check for PodMtuTooLarge {
    const ENTRY: Entry = Entry {
        code: "pod-mtu-too-large",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "the node answers with \"fragmentation needed\"",
            "a path to other pods was measured to swallow large packets, or a transfer stalls",
        ],
        title: "pod MTU above what pods leave by",
        meaning: "Pods send packets to other nodes that the tunnel, or the NIC and the route where there is none, does \
                  not take. Small requests work; large ones depend on an ICMP answer that is often filtered, and then \
                  uploads hang.",
        quiet: "pods that fit to the byte; Cilium's, whose routes hold them smaller than their device; a bridge \
                without an address",
        look: &[
            Look { run: "ip -d link show type veth", see: "`mtu` of the nodes' ends" },
            Look {
                run: "ip link show dev LINK; ip route show dev LINK",
                see: "the smaller of both `mtu` is what the way takes",
            },
            Look { run: "kubectl exec POD -- cat /sys/class/net/eth0/mtu", see: "a larger number than that" },
        ],
        metrics: &["mtuscope_pod_links", "mtuscope_link_mtu_bytes{role=\"tunnel\"}"],
        class: Class::Overhead,
        silences: &[PodMtuMixed::ENTRY.code, FragmentationFailing::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopePodMtuTooLarge", minutes: 10 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let pods = pod_links::all(node)?;
        node.tables.addresses.read()?;
        let mut judgement = Judgement::default();
        let Some(way) = pod_ways::narrowest(node) else { return Ok(judgement) };
        let budget = way.takes();
        let evidence = evidence(node, &pods, way);
        if evidence.too_large > 0 {
            let severity = if evidence.black_hole { Severity::Critical } else { Severity::Warning };
            judgement.raise_breaking(Subject::Pods, severity, evidence, vec![Subject::Pods]);
        } else if let Some(why) = pods.unread.filter(|_| pods.half.iter().any(|pod| pod.binds() > budget)) {
            judgement.unread.push((Subject::Pods, why));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { link, route, budget, links_by_mtu, too_large, black_hole, unseen, .. } = evidence;
        let total = links_by_mtu.values().sum();
        let largest = links_by_mtu.keys().next_back().unwrap_or(budget);
        let (have, up_to) = if *too_large == 1 { ("has", "") } else { ("have", "up to ") };
        let of = match route {
            Some(Narrow { to, .. }) => format!("the route to {to} through {link}"),
            None => link.clone(),
        };
        let proof = if *black_hole { " Larger packets were measured to vanish." } else { "" };
        format!(
            "{too_large} of {} {have} an MTU of {up_to}{largest} B, above the {budget} B of {of}, by which pods reach \
             other nodes.{proof}{}",
            words::count(total, "pod link"),
            pod_links::unseen(unseen.as_deref())
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { link, link_mtu, route, budget, .. } = evidence;
        let tunnel = evidence.tunnel.then(|| link.clone());
        let shrink = [Fix::PodMtu { tunnel, mtu: *budget }, Fix::RecreatePods];
        let widen = route.iter().map(|Narrow { to, mtu }| {
            let wide = Fix::RouteMtu { to: to.clone(), link: link.clone(), from: *mtu, mtu: link_mtu.carries() };
            Fix::Instead(vec![wide])
        });
        shrink.into_iter().chain(widen).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            link: "vxlan.calico".into(),
            link_mtu: LinkMtu::new(1450),
            tunnel: true,
            route: None,
            budget: LinkMtu::new(1450),
            links_by_mtu: BTreeMap::from([(LinkMtu::new(1450), 11), (LinkMtu::new(1500), 3)]),
            too_large: 3,
            examples: vec!["cali1a2b3c4d5e6".into(), "cali5c0ffee1234".into(), "cali9f8e7d6c5b4".into()],
            black_hole: false,
            unseen: None,
        };
        (Subject::Pods, Severity::Warning, evidence)
    }
}

fn evidence(node: &Snapshot, pods: &PodLinks<'_>, way: Way) -> Evidence {
    let budget = way.takes();
    let routed: Vec<_> = pods.told().into_iter().filter(|pod| is_routed_here(node, pod)).collect();
    let mut links_by_mtu = BTreeMap::new();
    for pod in &routed {
        *links_by_mtu.entry(pod.binds()).or_default() += 1;
    }
    let too_large: Vec<_> = routed.iter().filter(|pod| pod.binds() > budget).collect();
    Evidence {
        link: way.link,
        link_mtu: way.mtu,
        tunnel: way.tunnel,
        route: way.route,
        budget,
        links_by_mtu,
        too_large: too_large.len(),
        examples: too_large.iter().take(EXAMPLES).map(|pod| pod.host.name.clone()).collect(),
        black_hole: black_hole_inside(node),
        unseen: pods.denied(),
    }
}

/// Whether a pod's packets leave by the node's routes. Where it hangs on a bridge, that takes an address of the bridge for
/// a gateway; a datapath is a program's own.
fn is_routed_here(node: &Snapshot, pod: &PodLink<'_>) -> bool {
    let bridge = pod.host.master.and_then(|master| node.tables.link(master)).filter(|master| master.kind == "bridge");
    bridge.is_none_or(|bridge| node.tables.addresses_of(bridge.index).any(|own| own.global))
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
    use crate::snapshot::example::{Example, black_hole, failed, ip, no_admin};
    use crate::units::IpSize;

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
            "1 of 2 pod links has an MTU of 1500 B, above the 1450 B of vxlan.calico, by which pods reach \
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

    /// The route to a peer's pods gets an MTU.
    fn route_of(mut node: Example, mtu: u32) -> Example {
        let Fact::Known(routes) = &mut node.tables.routes else { panic!("they are known") };
        let route = routes.iter_mut().find(|route| route.destination == ip("10.244.2.0")).unwrap();
        route.mtu = Some(IpSize::new(mtu));
        node
    }

    #[test]
    fn a_route_into_the_tunnel_binds_where_it_is_narrower() {
        let raised = &judge(&route_of(Example::reference(), 1449)).raised[0];
        assert_eq!(raised.evidence.route, Some(Narrow { to: "10.244.2.0/26".into(), mtu: IpSize::new(1449) }));
        assert_eq!(
            PodMtuTooLarge::summary(&raised.subject, &raised.evidence),
            "2 of 2 pod links have an MTU of up to 1450 B, above the 1449 B of the route to 10.244.2.0/26 through \
             vxlan.calico, by which pods reach other nodes."
        );
        assert_eq!(
            PodMtuTooLarge::fixes(&raised.subject, &raised.evidence).len(),
            3,
            "the route can be widened instead"
        );
        for mtu in [1450, 1500] {
            assert!(judge(&route_of(Example::reference(), mtu)).raised.is_empty(), "{mtu}");
        }
        let wider = &judge(&route_of(pods_of(1500), 1500)).raised[0].evidence;
        assert_eq!((wider.budget.bytes(), &wider.route), (1450, &None), "the device still binds");
    }

    #[test]
    fn the_smaller_end_of_a_link_is_what_a_pod_can_send() {
        let pod = "cali1a2b3c4d5e6";
        assert!(judge(&pods_of(1500).end(pod, |end| end.mtu = LinkMtu::new(1450))).raised.is_empty());
        let larger = Example::reference().end(pod, |end| end.mtu = LinkMtu::new(1500));
        assert!(judge(&larger).raised.is_empty(), "its packets never reach the tunnel: veth-ends-differ");
    }

    #[test]
    fn where_the_pods_own_routes_hold_their_packets_smaller_nothing_is_said() {
        let cilium = |link: &mut crate::kernel::Link| link.name = "cilium_vxlan".into();
        assert!(judge(&pods_of(1500).with("vxlan.calico", cilium)).raised.is_empty());
    }

    #[test]
    fn the_nodes_end_is_the_most_that_a_pod_can_send() {
        let unread = |mut node: Example, why| {
            node.tables.pod_ends = Fact::Unread(why);
            judge(&node)
        };
        let fits = unread(pods_of(1450), no_admin());
        assert!(fits.raised.is_empty() && fits.unread.is_empty(), "whatever the pods' ends are: {fits:?}");
        let told = unread(pods_of(1451), no_admin());
        let raised = &told.raised[0];
        assert_eq!((raised.severity, raised.evidence.too_large), (Severity::Warning, 1));
        let said = PodMtuTooLarge::summary(&raised.subject, &raised.evidence);
        assert!(said.ends_with("like the pods'; those were not seen: denied, needs CAP_NET_ADMIN."), "{said}");
        let failed = || failed(Source::PodEnds);
        assert_eq!(unread(pods_of(1451), failed()).unread, [(Subject::Pods, failed())], "the next reading tells");
        assert_eq!(unread(pods_of(1450), failed()).unread, [], "it fits");
    }

    #[test]
    fn without_a_tunnel_the_nic_or_the_route_to_the_peers_pods_binds() {
        let node = |nic, pod| {
            let mut node = Example::empty()
                .device("eth0", "device", nic)
                .address("eth0", "10.0.0.11", 24)
                .pod("cali1a2b3c4d5e6", pod, "10.1.1.2")
                .route("10.1.2.0", 26, Some("10.0.0.12"), "eth0")
                .peer("b", "eth0", "10.0.0.12");
            let Fact::Known(routes) = &node.tables.routes else { panic!("they are known") };
            node.lookups.insert(ip("10.1.2.2"), Fact::Known(routes.last().unwrap().clone()));
            node.peers[0].pods.push(ip("10.1.2.2"));
            node
        };
        assert!(judge(&node(1500, 1500)).raised.is_empty());
        let raised = &judge(&node(1500, 9000)).raised[0];
        assert_eq!(
            PodMtuTooLarge::summary(&raised.subject, &raised.evidence),
            "1 of 1 pod link has an MTU of 9000 B, above the 1500 B of eth0, by which pods reach other nodes."
        );
        assert_eq!(
            PodMtuTooLarge::fixes(&raised.subject, &raised.evidence)[0],
            Fix::PodMtu { tunnel: None, mtu: LinkMtu::new(1500) }
        );
    }

    #[test]
    fn a_bridge_without_an_address_is_a_network_of_its_own() {
        let storage = Example::reference().device("pods-storage", "bridge", 9000).device("veth1", "veth", 9000);
        let storage = storage.port("veth1", "pods-storage").with("veth1", |link| link.other_namespace = Some(4));
        assert!(judge(&storage).raised.is_empty());
        let routed = Example::flannel().with("veth0a1b2c3d", |link| link.mtu = LinkMtu::new(1500));
        assert_eq!(judge(&routed).raised[0].evidence.too_large, 1);
    }

    #[test]
    fn of_many_five_are_named() {
        let many = (10..30).fold(Example::reference(), |node, number| {
            node.pod(&format!("cali{number:011x}"), 1500, &format!("10.244.1.{number}"))
        });
        let evidence = &judge(&many).raised[0].evidence;
        assert_eq!((evidence.too_large, evidence.examples.len()), (20, EXAMPLES));
    }
}
