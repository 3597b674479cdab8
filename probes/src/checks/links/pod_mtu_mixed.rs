//! Pods of one node that have different MTUs.
//!
//! A pod keeps the MTU that it was born with. After a change of the CNI's MTU old and new pods run side by side until
//! the old ones are recreated, and a fault that only some pods have is hard to tell from a fault of the application.
//! Nothing is lost while all of them fit, so this informs. That some do not fit is `pod-mtu-too-large`, which explains
//! this one away.
//!
//! Pods are compared with those of the same network only: those on routed links with one another, those on a bridge
//! with that bridge's. A second network made for storage may well have an MTU of its own. Links that are set down are
//! left out: no pod runs behind them. A pod's MTU is what binds its packets, the smaller of its link's two ends
//! ([`pod_links`]). Where only the nodes' ends may be seen and they differ, so do the pods; that they are equal shows nothing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::LinkIndex;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::LinkMtu;

use super::pod_links::{self, EXAMPLES, PodLink};

/// The rule.
#[derive(Debug)]
pub struct PodMtuMixed;

/// Pod links by network and MTU.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Networks whose pods differ.
    pub networks: Vec<Network>,
    /// Why the pods' ends were not seen; then the sizes are those of the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

/// One network of pods.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Network {
    /// The bridge that they are ports of; absent where each has a link and a route of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Number of pod links by MTU, the smaller one of their two ends.
    pub links_by_mtu: BTreeMap<LinkMtu, usize>,
    /// Some links of the less common MTUs, at most five.
    pub examples: Vec<String>,
}

impl Check for PodMtuMixed {
    const ENTRY: Entry = Entry {
        code: "pod-mtu-mixed",
        area: Area::Links,
        severities: &[Severity::Info],
        when: &["pods of one network have two MTUs and more"],
        title: "pods of one node have different MTUs",
        meaning: "Pods keep the MTU that they were born with, so after a change of the CNI's MTU old and new ones \
                  differ until the old ones are recreated. Nothing is lost while all of them fit what they leave by.",
        quiet: "pods of different networks (a second bridge for storage) are not compared; links that are set down are \
                left out",
        look: &[
            Look { run: "ip -o link show type veth", see: "more than one `mtu` among pods' links" },
            Look { run: "ip route show dev LINK; bridge fdb show brport LINK", see: "which network the link is of" },
            Look { run: "kubectl exec POD -- cat /sys/class/net/eth0/mtu", see: "the MTU that the pod was born with" },
        ],
        metrics: &["mtuscope_pod_links"],
        class: Class::Mixed,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::None {
            why: "nothing is lost while every pod fits, and rolling pods over mixes them for a while",
        },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let pods = pod_links::all(node)?;
        let mut judgement = Judgement::default();
        let networks: Vec<_> =
            networks(node, &pods.told()).into_iter().filter(|network| network.links_by_mtu.len() > 1).collect();
        if !networks.is_empty() {
            let unseen = pods.denied();
            judgement.raise(Subject::Pods, Severity::Info, Evidence { networks, unseen });
        } else if let Some(why) = pods.seen()?.unread {
            judgement.unread.push((Subject::Pods, why));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let told: Vec<_> = evidence.networks.iter().map(Network::told).collect();
        let unseen = pod_links::unseen(evidence.unseen.as_deref());
        format!("Pods of this node have different MTUs: {}.{unseen}", told.join("; "))
    }

    fn fixes(_: &Subject, _: &Evidence) -> Vec<Fix> {
        vec![Fix::RecreatePods]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let network = Network {
            bridge: None,
            links_by_mtu: BTreeMap::from([(LinkMtu::new(1400), 3), (LinkMtu::new(1450), 12)]),
            examples: vec!["cali1a2b3c4d5e6".into(), "cali5c0ffee1234".into(), "cali9f8e7d6c5b4".into()],
        };
        (Subject::Pods, Severity::Info, Evidence { networks: vec![network], unseen: None })
    }
}

impl Network {
    /// `12 at 1450 B and 3 at 1400 B on cni0`, the most common first.
    fn told(&self) -> String {
        let mut counts: Vec<_> = self.links_by_mtu.iter().collect();
        counts.sort_by_key(|&(mtu, count)| std::cmp::Reverse((count, mtu)));
        let counts: Vec<_> = counts.into_iter().map(|(mtu, count)| format!("{count} at {mtu} B")).collect();
        let on = self.bridge.as_ref().map(|bridge| format!(" on {bridge}")).unwrap_or_default();
        format!("{}{on}", words::list(&counts))
    }
}

fn networks(node: &Snapshot, pods: &[PodLink<'_>]) -> Vec<Network> {
    let mut by_master: BTreeMap<Option<LinkIndex>, Vec<&PodLink<'_>>> = BTreeMap::new();
    for pod in pods {
        by_master.entry(pod.host.master).or_default().push(pod);
    }
    by_master.into_iter().map(|(master, pods)| network(node, master, &pods)).collect()
}

fn network(node: &Snapshot, master: Option<LinkIndex>, pods: &[&PodLink<'_>]) -> Network {
    let mut links_by_mtu = BTreeMap::new();
    for pod in pods {
        *links_by_mtu.entry(pod.binds()).or_default() += 1;
    }
    let common = links_by_mtu.iter().max_by_key(|&(mtu, count): &(&LinkMtu, &usize)| (*count, *mtu));
    let common = common.map(|(mtu, _)| *mtu);
    let rare = pods.iter().filter(|pod| Some(pod.binds()) != common);
    Network {
        bridge: master.and_then(|master| node.tables.link(master)).map(|bridge| bridge.name.clone()),
        examples: rare.take(EXAMPLES).map(|pod| pod.host.name.clone()).collect(),
        links_by_mtu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed, no_admin};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PodMtuMixed::judge(&example.snapshot()).unwrap()
    }

    fn told(example: &Example) -> String {
        let judgement = judge(example);
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((&raised.subject, raised.severity), (&Subject::Pods, Severity::Info));
        PodMtuMixed::summary(&raised.subject, &raised.evidence)
    }

    #[test]
    fn one_byte_of_difference_is_told_with_numbers_and_no_pod() {
        let mixed = Example::reference().pod("cali0badc0ffee1", 1449, "10.244.1.4");
        assert_eq!(told(&mixed), "Pods of this node have different MTUs: 2 at 1450 B and 1 at 1449 B.");
        assert_eq!(judge(&mixed).raised[0].evidence.networks[0].examples, ["cali0badc0ffee1"]);
    }

    #[test]
    fn pods_that_all_have_another_mtu_than_the_tunnel_are_not_mixed() {
        assert!(judge(&Example::reference()).raised.is_empty());
        let smaller = |node: Example, pod: &str| node.with(pod, |link| link.mtu = LinkMtu::new(1400));
        let node = ["cali1a2b3c4d5e6", "cali9f8e7d6c5b4"].into_iter().fold(Example::reference(), smaller);
        assert!(judge(&node).raised.is_empty());
    }

    fn on_bridge(node: Example, name: &str, bridge: &str, mtu: u32) -> Example {
        node.device(name, "veth", mtu).port(name, bridge).with(name, |link| link.other_namespace = Some(4))
    }

    #[test]
    fn ports_of_a_pod_bridge_are_pods_and_guests_are_not() {
        let node = on_bridge(Example::flannel(), "vethcafe0001", "cni0", 1400);
        assert_eq!(told(&node), "Pods of this node have different MTUs: 1 at 1450 B and 1 at 1400 B on cni0.");
        let guests = Example::reference().device("tap101i0", "tun", 9000).port("tap101i0", "vmbr1");
        assert!(judge(&on_bridge(guests, "fwpr101p0", "vmbr1", 9000)).raised.is_empty());
    }

    #[test]
    fn another_network_of_pods_may_have_an_mtu_of_its_own() {
        let storage = Example::reference().device("pods-storage", "bridge", 9000);
        let node =
            on_bridge(on_bridge(storage, "veth00000001", "pods-storage", 9000), "veth00000002", "pods-storage", 9000);
        assert!(judge(&node).raised.is_empty());
        assert!(
            told(&on_bridge(node, "veth00000003", "pods-storage", 1500))
                .ends_with("2 at 9000 B and 1 at 1500 B on pods-storage.")
        );
    }

    #[test]
    fn a_link_that_is_set_down_has_no_pod() {
        let node = Example::reference().pod("cali0badc0ffee1", 1400, "10.244.1.4");
        assert!(judge(&node.with("cali0badc0ffee1", |link| link.up = false)).raised.is_empty());
    }

    #[test]
    fn routes_that_could_not_be_read_conclude_nothing() {
        let mut node = Example::reference();
        node.tables.routes = Fact::Unread(failed(Source::Routes));
        assert_eq!(PodMtuMixed::judge(&node.snapshot()).unwrap_err(), failed(Source::Routes));
    }

    #[test]
    fn a_pod_is_as_large_as_the_smaller_end_of_its_link() {
        let smaller = Example::reference().end("cali1a2b3c4d5e6", |end| end.mtu = LinkMtu::new(1400));
        assert_eq!(told(&smaller), "Pods of this node have different MTUs: 1 at 1450 B and 1 at 1400 B.");
        let larger = Example::reference().end("cali1a2b3c4d5e6", |end| end.mtu = LinkMtu::new(1500));
        assert!(judge(&larger).raised.is_empty(), "its link takes no more than the other's");
    }

    #[test]
    fn without_the_right_to_see_pods_ends_a_difference_shows_and_none_shows_nothing() {
        let mut node = Example::reference();
        node.tables.pod_ends = Fact::Unread(no_admin());
        assert_eq!(PodMtuMixed::judge(&node.snapshot()).unwrap_err(), no_admin());
        let differ = node.with("cali1a2b3c4d5e6", |link| link.mtu = LinkMtu::new(1400));
        assert_eq!(
            told(&differ),
            "Pods of this node have different MTUs: 1 at 1450 B and 1 at 1400 B. This goes by the node's ends, which a \
             CNI makes like the pods'; those were not seen: denied, needs CAP_NET_ADMIN."
        );
    }

    #[test]
    fn ends_that_could_not_be_read_conclude_nothing() {
        let mut node = Example::reference();
        node.tables.pod_ends = Fact::Unread(failed(Source::PodEnds));
        assert_eq!(PodMtuMixed::judge(&node.snapshot()).unwrap_err(), failed(Source::PodEnds));
        let mut one = Example::reference();
        let (index, Fact::Known(ends)) = (one.index("cali1a2b3c4d5e6"), &mut one.tables.pod_ends) else { panic!() };
        ends.insert(index, Fact::Unread(failed(Source::PodEnds)));
        assert_eq!(judge(&one).unread, [(Subject::Pods, failed(Source::PodEnds))]);
        let judgement = judge(&one.pod("cali0badc0ffee1", 1400, "10.244.1.4"));
        assert!(judgement.raised.len() == 1 && judgement.unread.is_empty(), "what is seen is told: {judgement:?}");
    }

    #[test]
    fn of_as_many_each_the_smaller_ones_are_named_and_five_at_most() {
        let two = Example::reference().with("cali1a2b3c4d5e6", |link| link.mtu = LinkMtu::new(1400));
        assert_eq!(judge(&two).raised[0].evidence.networks[0].examples, ["cali1a2b3c4d5e6"]);
        let many = (10..40).fold(Example::reference(), |node, number| {
            node.pod(&format!("cali{number:011x}"), 1400 + number % 20, &format!("10.244.1.{number}"))
        });
        assert_eq!(judge(&many).raised[0].evidence.networks[0].examples.len(), EXAMPLES);
    }
}
