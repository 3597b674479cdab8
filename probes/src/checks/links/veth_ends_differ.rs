//! A pod's link whose two ends have different MTUs.
//!
//! A veth hands a packet over only if the end that receives it takes it: its MTU and 4 bytes more, room for a VLAN tag.
//! What is larger is dropped in silence, seen by nobody but the counters of the two ends (`tx_dropped` where it was sent,
//! `rx_dropped` where it was not taken). A sender that knows no better than its own end's MTU sends just such packets:
//!
//! - the *pod's end is larger*: what the pod sends vanishes on its own link, before any hop could tell it to send less.
//!   What is sent to it is cut short by the node, which says so. Critical: nothing ever tells the pod;
//! - the *node's end is larger*: what is sent to the pod vanishes. TCP is spared, since a pod announces what its own end
//!   takes; UDP and whatever does not heed that is hit. A warning.
//!
//! Up to 4 bytes of difference lose nothing. TCP segments that are not yet cut (segmentation offload) pass at any size, and
//! the first full one that is sent by itself does not: of 100 kB sent from such a pod 78 kB arrived and then nothing, of a
//! single segment nothing at all. That makes it hard to recognise.
//!
//! What mends it at once is the node's end, made to follow the pod's: the node then tells who sends too much. Not so where
//! the node's end is a port of a bridge and the larger one: a bridge drops what is too large for one of its ports and
//! tells nobody, so there only the pod's end can be mended.
//!
//! Cilium's netkit, which takes a veth's place from Linux 6.7 on, is left out: as its source reads, it hands over whatever
//! size comes, and no kernel that has it was at hand to measure that.
//!
//! A CNI gives both ends one MTU, those that keep the overhead in the pods' routes too. One end is changed later on: by
//! hand, by a pod with the right to, by the CNI plugin `tuning`, by a host's network manager that "manages" the node's end.

use std::cmp::Reverse;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::overhead::VLAN_HLEN;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::PodMtuMixed;
use super::pod_links::{self, EXAMPLES, PodLink};

/// The rule.
#[derive(Debug)]
pub struct VethEndsDiffer;

/// How many pod links differ, and some of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Pod links that were looked at.
    pub links: usize,
    /// Those whose pod's end is larger: what the pod sends vanishes.
    pub from_pod: usize,
    /// Those whose node's end is larger: what is sent to the pod vanishes.
    pub to_pod: usize,
    /// Some of both, the widest apart first, at most five.
    pub examples: Vec<Ends>,
}

/// One pod's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ends {
    /// The node's end.
    pub link: String,
    /// The bridge that it is a port of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Its MTU.
    pub host_mtu: LinkMtu,
    /// The pod's end's.
    pub pod_mtu: LinkMtu,
    /// The pod's addresses, as far as they were read.
    pub pod: Vec<IpAddr>,
    /// Whose packets vanish.
    pub vanishes: Direction,
    /// The largest packet of that direction that passes.
    pub passes: IpSize,
}

/// A direction on a pod's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What the pod sends: `tx_dropped` in the pod, `rx_dropped` of the node's end.
    FromPod,
    /// What is sent to the pod: `tx_dropped` of the node's end, `rx_dropped` in the pod.
    ToPod,
}

impl Check for VethEndsDiffer {
    const ENTRY: Entry = Entry {
        code: "veth-ends-differ",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "the node's end is larger: what is sent to the pod vanishes",
            "the pod's end is larger: what the pod sends vanishes",
        ],
        title: "the two ends of a pod's link have different MTUs",
        meaning: "What the larger end sends and the smaller one does not take is dropped between the two, without an \
                  error to anybody: small requests work and large packets of one direction vanish.",
        quiet: "up to 4 B of difference lose nothing; where the right to read pods' ends is missing, nothing is \
                concluded",
        look: &[
            Look { run: "ip -s link show dev LINK", see: "its `mtu`, and TX `dropped` rising" },
            Look {
                run: "kubectl exec POD -- cat /sys/class/net/eth0/mtu",
                see: "another number than the node's end has",
            },
            Look {
                run: "kubectl exec POD -- cat /sys/class/net/eth0/statistics/tx_dropped",
                see: "rises while the pod sends large packets",
            },
        ],
        metrics: &["mtuscope_pod_links"],
        class: Class::Mixed,
        silences: &[PodMtuMixed::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeVethEndsDiffer", minutes: 10 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let pods = pod_links::all(node)?.seen()?;
        let mut judgement = Judgement::default();
        let evidence = evidence(node, &pods.known);
        let severity = if evidence.from_pod > 0 { Severity::Critical } else { Severity::Warning };
        if !evidence.examples.is_empty() {
            judgement.raise_breaking(Subject::Pods, severity, evidence, vec![Subject::Pods]);
        } else if let Some(why) = pods.unread {
            judgement.unread.push((Subject::Pods, why));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { links, from_pod, to_pod, examples } = evidence;
        let differ = from_pod + to_pod;
        let part = |number: &usize, direction, which: &str, vanishes: &str| {
            let widest = examples.iter().find(|ends| ends.vanishes == direction);
            let Ends { host_mtu, pod_mtu, passes, .. } = widest.filter(|_| *number > 0)?;
            let with = if *number == differ { "with".into() } else { format!("{number} with") };
            let told = format!("{with} the {which} end larger ({host_mtu} B on the node, {pod_mtu} B in the pod)");
            Some(format!("{told}, so that {vanishes} above {passes} B vanishes"))
        };
        let parts: Vec<_> = [
            part(from_pod, Direction::FromPod, "pod's", "what the pod sends"),
            part(to_pod, Direction::ToPod, "node's", "what is sent to the pod"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let have = if differ == 1 { "has" } else { "have" };
        let of = words::count(*links, "pod link");
        format!("{differ} of {of} {have} ends of different MTUs, {}.", words::list(&parts))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let at_bridge = |ends: &&Ends| ends.bridge.is_some() && ends.vanishes == Direction::ToPod;
        let follow = evidence.examples.iter().filter(|ends| !at_bridge(ends));
        let links = follow.map(|ends| (ends.link.clone(), ends.pod_mtu)).collect();
        let ports = evidence.examples.iter().filter(at_bridge).map(|ends| ends.link.clone()).collect();
        let pods = evidence.examples.iter().flat_map(|ends| ends.pod.iter().copied()).collect();
        vec![Fix::PodLinkEnds { links, ports, pods }, Fix::RecreatePods]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let (host_mtu, pod_mtu) = (LinkMtu::new(1450), LinkMtu::new(1500));
        let ends = Ends {
            link: "cali1a2b3c4d5e6".into(),
            bridge: None,
            host_mtu,
            pod_mtu,
            pod: vec![IpAddr::from([10, 244, 1, 2])],
            vanishes: Direction::FromPod,
            passes: host_mtu.carries().plus(VLAN_HLEN),
        };
        let evidence = Evidence { links: 14, from_pod: 1, to_pod: 0, examples: vec![ends] };
        (Subject::Pods, Severity::Critical, evidence)
    }
}

fn evidence(node: &Snapshot, pods: &[PodLink<'_>]) -> Evidence {
    let mut differing: Vec<Ends> = pods.iter().filter_map(|pod| ends(node, pod)).collect();
    let of = |direction| differing.iter().filter(|ends| ends.vanishes == direction).count();
    let (from_pod, to_pod) = (of(Direction::FromPod), of(Direction::ToPod));
    differing.sort_by_key(|ends| Reverse(ends.host_mtu.bytes().abs_diff(ends.pod_mtu.bytes())));
    Evidence { links: pods.len(), from_pod, to_pod, examples: some_of_both(differing) }
}

/// The widest apart, and one of each direction among them.
fn some_of_both(mut differing: Vec<Ends>) -> Vec<Ends> {
    let first = differing.first().map(|ends| ends.vanishes);
    if let Some(other) = differing.iter().position(|ends| Some(ends.vanishes) != first)
        && other >= EXAMPLES
    {
        differing.swap(EXAMPLES - 1, other);
    }
    differing.truncate(EXAMPLES);
    differing
}

/// The ends of a link that loses packets.
fn ends(node: &Snapshot, pod: &PodLink<'_>) -> Option<Ends> {
    let end = pod.end.filter(|_| pod.host.kind == "veth")?;
    let (host_mtu, pod_mtu) = (pod.host.mtu, end.mtu);
    let passes = pod.binds().carries().plus(VLAN_HLEN);
    (host_mtu.bytes().abs_diff(pod_mtu.bytes()) > VLAN_HLEN).then(|| Ends {
        link: pod.host.name.clone(),
        bridge: pod
            .host
            .master
            .and_then(|master| node.tables.link(master))
            .filter(|master| master.kind == "bridge")
            .map(|bridge| bridge.name.clone()),
        host_mtu,
        pod_mtu,
        pod: end.addresses.clone(),
        vanishes: if pod_mtu > host_mtu { Direction::FromPod } else { Direction::ToPod },
        passes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed, ip};

    const POD: &str = "cali1a2b3c4d5e6";
    const OTHER: &str = "cali9f8e7d6c5b4";

    fn end_of(pod: &str, mtu: u32) -> Example {
        Example::reference().end(pod, |end| end.mtu = LinkMtu::new(mtu))
    }

    fn judge(example: &Example) -> Judgement<Evidence> {
        VethEndsDiffer::judge(&example.snapshot()).unwrap()
    }

    fn severity(example: &Example) -> Option<Severity> {
        judge(example).raised.first().map(|raised| raised.severity)
    }

    #[test]
    fn four_bytes_apart_lose_nothing_and_the_fifth_does() {
        for (mtu, expected) in [
            (1450, None),
            (1454, None),
            (1455, Some(Severity::Critical)),
            (1446, None),
            (1445, Some(Severity::Warning)),
        ] {
            assert_eq!(severity(&end_of(POD, mtu)), expected, "{mtu}");
        }
    }

    #[test]
    fn the_sentence_says_which_direction_loses_what_and_names_no_pod() {
        let told = |node: &Example| {
            let judgement = judge(node);
            let raised = &judgement.raised[0];
            assert_eq!(raised.subject, Subject::Pods);
            VethEndsDiffer::summary(&raised.subject, &raised.evidence)
        };
        assert_eq!(
            told(&end_of(POD, 1500)),
            "1 of 2 pod links has ends of different MTUs, with the pod's end larger (1450 B on the node, 1500 B in the \
             pod), so that what the pod sends above 1454 B vanishes."
        );
        assert_eq!(
            told(&end_of(POD, 1500).end(OTHER, |end| end.mtu = LinkMtu::new(1400))),
            "2 of 2 pod links have ends of different MTUs, 1 with the pod's end larger (1450 B on the node, 1500 B in the \
             pod), so that what the pod sends above 1454 B vanishes and 1 with the node's end larger (1450 B on the node, \
             1400 B in the pod), so that what is sent to the pod above 1404 B vanishes."
        );
    }

    #[test]
    fn evidence_names_the_pod_and_at_most_five_links() {
        let pod = end_of(POD, 1500).end(POD, |end| end.addresses = vec![ip("10.244.1.2")]);
        assert_eq!(judge(&pod).raised[0].evidence.examples[0].pod, [ip("10.244.1.2")]);
        let many = (10..30).fold(pod, |node, number| {
            let name = format!("cali{number:011x}");
            node.pod(&name, 1450, &format!("10.244.1.{number}")).end(&name, |end| end.mtu = LinkMtu::new(1400))
        });
        let evidence = &judge(&many).raised[0].evidence;
        assert_eq!((evidence.links, evidence.from_pod, evidence.to_pod, evidence.examples.len()), (22, 1, 20, 5));
        assert!(evidence.examples.iter().any(|ends| ends.vanishes == Direction::FromPod), "one of each direction");
        assert_eq!(judge(&many).raised[0].breaks, [Subject::Pods], "it explains that they are mixed");
    }

    #[test]
    fn the_widest_apart_come_first_and_the_sixth_makes_room_for_the_other_direction() {
        let five = (10..15).fold(end_of(POD, 1460), |node, number: u32| {
            let name = format!("cali{number:011x}");
            node.pod(&name, 1450, &format!("10.244.1.{number}")).end(&name, |end| end.mtu = LinkMtu::new(1400 - number))
        });
        let examples = &judge(&five).raised[0].evidence.examples;
        assert_eq!((examples[0].pod_mtu.bytes(), examples[4].vanishes), (1386, Direction::FromPod));
    }

    #[test]
    fn a_netkit_has_no_such_limit() {
        assert_eq!(severity(&end_of(POD, 1500).with(POD, |link| link.kind = "netkit".into())), None);
    }

    #[test]
    fn a_device_that_is_large_on_both_ends_is_no_difference() {
        let large = |node: Example, pod| node.with(pod, |link| link.mtu = LinkMtu::new(1500));
        assert_eq!(severity(&[POD, OTHER].into_iter().fold(Example::reference(), large)), None);
    }

    #[test]
    fn a_pod_on_a_bridge_is_judged_alike_and_the_nic_of_a_container_is_no_pod() {
        let smaller = |link: &str| severity(&Example::flannel().end(link, |end| end.mtu = LinkMtu::new(1280)));
        assert_eq!((smaller("veth0a1b2c3d"), smaller("eth0")), (Some(Severity::Warning), None));
    }

    #[test]
    fn a_bridges_port_never_follows_a_smaller_pod_since_a_bridge_tells_nobody() {
        let fix = |mtu| {
            let node = Example::flannel().end("veth0a1b2c3d", |end| end.mtu = LinkMtu::new(mtu));
            let fixes = VethEndsDiffer::fixes(&Subject::Pods, &judge(&node).raised[0].evidence);
            let Fix::PodLinkEnds { links, ports, .. } = &fixes[0] else { panic!("{fixes:?}") };
            (links.len(), ports.len())
        };
        assert_eq!((fix(1280), fix(1500)), ((0, 1), (1, 0)));
    }

    #[test]
    fn ends_that_could_not_be_read_conclude_nothing() {
        let mut node = end_of(POD, 1500);
        node.tables.pod_ends = Fact::Unread(failed(Source::PodEnds));
        assert_eq!(VethEndsDiffer::judge(&node.snapshot()).unwrap_err(), failed(Source::PodEnds));
        let mut one = Example::reference();
        let (index, Fact::Known(ends)) = (one.index(OTHER), &mut one.tables.pod_ends) else { panic!("they are known") };
        ends.insert(index, Fact::Unread(failed(Source::PodEnds)));
        assert_eq!(judge(&one).unread, [(Subject::Pods, failed(Source::PodEnds))]);
        assert_eq!(severity(&one.end(POD, |end| end.mtu = LinkMtu::new(1500))), Some(Severity::Critical));
    }
}
