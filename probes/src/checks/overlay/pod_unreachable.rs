//! A peer whose node and tunnel answer and whose pods do not.
//!
//! What is left between the tunnel's end and the pod is on the peer: forwarding, its route to the pod, the pod itself,
//! or a policy that lets nobody in. From here these look the same, so the evidence says what does answer, and the
//! remedy how to tell them apart there. One pod that is silent may simply be gone or closed by a policy: a warning. Where
//! several are asked and none answers, the node is at fault: critical. Anything below that is silent too is the cause
//! and silences this.
//!
//! What answers of the peer and what does not ([`super::signature`]) tells a fault on the peer from a route of this node
//! that leads past the tunnel. Where there is no tunnel, and the route hands packets to the peer's own address, a node that
//! answers there has them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::paths::{peer_unreachable, some_peer};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Fact, Unread};
use crate::kernel::Hop;
use crate::path::{PathKey, Plane, Unreachable, Verdict, VerdictName};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;

use super::signature::{self, Located, Signature, Told};

/// The rule.
#[derive(Debug)]
pub struct PodUnreachable;

/// Who answers and who does not.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// Pods that do not answer.
    pub lost: Vec<Lost>,
    /// Pods of the same peer that answer.
    pub answering: usize,
    /// The peer's node address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<IpAddr>,
    /// What was measured to the node address; absent where nothing could be concluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay_verdict: Option<VerdictName>,
    /// What was measured to the tunnel address; absent where there is none or nothing could be concluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay_verdict: Option<VerdictName>,
    /// The tunnel that leads to the peer, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// What answers of the peer and what does not.
    pub signature: Signature,
    /// Where that puts the fault.
    pub located: Located,
}

/// A pod that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lost {
    /// Its address.
    pub address: IpAddr,
    /// What came back.
    pub why: Unreachable,
}

impl Check for PodUnreachable {
    const ENTRY: Entry = Entry {
        code: "pod-unreachable",
        area: Area::Overlay,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "one pod is silent: it may be gone, or closed by a policy",
            "several were asked and none answers: it is the peer",
        ],
        title: "pods behind a peer do not answer",
        meaning: "The peer's node and its tunnel answer, pods on it do not: it does not forward, has no route to them, \
                  a policy lets nobody in, or they are gone.",
        quiet: "a peer whose node or tunnel is silent too is explained by that; a pod that was deleted is forgotten",
        look: &[
            Look { run: "mtuscope probe POD", see: "`unreachable`, where the node and its tunnel address answer" },
            Look { run: "on the peer: sysctl net.ipv4.ip_forward", see: "0 is the fault" },
            Look {
                run: "on the peer: ip route get POD",
                see: "a link of that pod; the tunnel or the default route: the pod is gone",
            },
        ],
        metrics: &["mtuscope_path_up{plane=\"pod\"} == 0"],
        class: Class::Forwarding,
        silences: &[],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePodUnreachable", minutes: 5 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut pods: BTreeMap<Subject, Vec<(&PathKey, &Path)>> = BTreeMap::new();
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Pod) {
            pods.entry(Subject::path(key)).or_default().push((key, path));
        }
        let mut judgement = Judgement::default();
        for (subject, paths) in pods {
            let lost: Vec<_> = paths.iter().filter_map(|(key, path)| lost(key, path)).collect();
            let unread = paths.iter().find_map(|(_, path)| path.verdict().err());
            match (lost.is_empty(), unread) {
                (true, Some(why)) => judgement.unread.push((subject, why)),
                (true, None) => {}
                (false, _) => {
                    let all_of_several = lost.len() > 1 && lost.len() == paths.len();
                    let severity = if all_of_several { Severity::Critical } else { Severity::Warning };
                    judgement.raise(subject, severity, evidence(node, &paths, lost));
                }
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, lost, answering, underlay_verdict, overlay_verdict, .. } = evidence;
        let total = lost.len() + answering;
        let how = lost.first().map_or_else(String::new, |first| match lost.as_slice() {
            [_] => peer_unreachable::told(first.why),
            _ => format!("answer nothing or are refused, {} first", first.address),
        });
        let which = match lost.as_slice() {
            [only] => format!("pod {}", only.address),
            several => format!("{} of {}", several.len(), words::count(total, "pod")),
        };
        let below = match (underlay_verdict, overlay_verdict) {
            (_, Some(VerdictName::Unreachable)) => "its tunnel address does not answer either",
            (_, Some(_)) => "its tunnel address answers",
            (Some(VerdictName::Unreachable), None) => "its node does not answer either",
            (Some(_), None) => "its node answers",
            (None, None) => "nothing below was measured",
        };
        let located = match evidence.located {
            Located::RemoteForwarding => format!("; left are forwarding on {peer}, its routes to pods, and the pods"),
            Located::LocalRoute => match &evidence.tunnel {
                Some(tunnel) => format!("; this node's route leads past {tunnel}, to a router that knows no way"),
                None => "; no route of this node leads there".into(),
            },
            Located::LocalEntry | Located::PortOrRemoteEntry | Located::Unknown => String::new(),
        };
        format!("{which} on {peer} {how} while {below}{located}.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { peer, lost, tunnel, .. } = evidence;
        let fix = |first: &Lost| match evidence.located {
            Located::LocalRoute => Fix::PodsRouted { peer: peer.clone(), pod: first.address, tunnel: tunnel.clone() },
            _ => Fix::PodsAnswer { peer: peer.clone(), pod: first.address },
        };
        lost.first().map(fix).into_iter().collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 244, 2, 2]);
        let evidence = Evidence {
            peer: "master-2".into(),
            lost: vec![Lost { address, why: Unreachable::Silent }],
            answering: 0,
            underlay: Some(IpAddr::from([10, 0, 0, 12])),
            underlay_verdict: Some(VerdictName::Clear),
            overlay_verdict: Some(VerdictName::Clear),
            tunnel: Some("vxlan.calico".into()),
            signature: Signature {
                underlay: Some(Told::Answers),
                overlay: Some(Told::Answers),
                pod: Some(Told::Silent),
                outer: Some(Told::Answers),
            },
            located: Located::RemoteForwarding,
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Pod, address };
        (Subject::path(&key), Severity::Warning, evidence)
    }
}

fn lost(key: &PathKey, path: &Path) -> Option<Lost> {
    match path.verdict() {
        Ok(Verdict::Unreachable { why }) => Some(Lost { address: key.address, why: *why }),
        _ => None,
    }
}

fn evidence(node: &Snapshot, paths: &[(&PathKey, &Path)], lost: Vec<Lost>) -> Evidence {
    let (key, _) = paths[0];
    let answers = |path: &Path| path.verdict().is_ok_and(|verdict| verdict.path_mtu().is_some());
    let name = |path: &Path| path.verdict().ok().map(Verdict::name);
    let tunnel_of = |path: &Path| path.via.iter().find_map(|&link| node.topology.tunnel(link));
    let overlay = node.paths_to(&key.peer, Plane::Overlay, key.family()).next().map(|(_, path)| path);
    let tunnel = overlay.and_then(tunnel_of);
    // Pods that answer do not tell where the others are lost.
    let first = lost.first();
    let routed = first.and_then(|lost| {
        let (key, path) = paths.iter().find(|(key, _)| key.address == lost.address)?;
        signature::is_routed(node, key, path).map(|routed| routed || tunnel.is_none())
    });
    let pod = first.map(|lost| Told::lost(node, lost.why));
    let signature = Signature::of(node, &key.peer, key.family());
    Evidence {
        peer: key.peer.clone(),
        answering: paths.iter().filter(|(_, path)| answers(path)).count(),
        underlay: node.node_address(key),
        underlay_verdict: signature::underlay(node, key).and_then(|(_, path)| name(path)),
        overlay_verdict: overlay.and_then(name),
        tunnel: tunnel.map(|tunnel| tunnel.name.clone()),
        signature,
        located: match first {
            Some(lost) if is_handed_over(node, &key.peer, lost.address) => signature.without_tunnel(),
            _ => Signature { pod, ..signature }.pods(routed),
        },
        lost,
    }
}

/// Whether this node's route hands packets for a pod to the peer's node itself, as BGP and host-gw have it.
fn is_handed_over(node: &Snapshot, peer: &str, pod: IpAddr) -> bool {
    let Some(route) = node.lookups.get(&pod).and_then(Fact::known) else { return false };
    let to_node = |gateway| node.peer(peer).is_some_and(|peer| peer.underlay.holds(gateway));
    let tunnelled = |link| node.topology.tunnel(link).is_some();
    let handed = |hop: &Hop| hop.gateway.is_some_and(to_node) && !tunnelled(hop.link);
    !route.hops.is_empty() && route.hops.iter().all(handed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, ip, no_right, silent};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PodUnreachable::judge(&example.snapshot()).unwrap()
    }

    #[test]
    fn healthy_pods_are_quiet() {
        assert!(judge(&Example::reference()).raised.is_empty());
    }

    #[test]
    fn one_silent_pod_is_a_warning_that_says_what_does_answer() {
        let judgement = judge(&Example::reference().verdict("master-2", Plane::Pod, silent()));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.subject.to_string(), raised.severity), ("master-2".into(), Severity::Warning));
        assert_eq!(
            PodUnreachable::summary(&raised.subject, &raised.evidence),
            "pod 10.244.2.2 on master-2 answers nothing while its tunnel address answers; left are forwarding on \
             master-2, its routes to pods, and the pods."
        );
    }

    #[test]
    fn what_is_silent_below_is_said_too() {
        let node = Example::reference().verdict("master-2", Plane::Pod, silent());
        let raised = &judge(&node.verdict("master-2", Plane::Overlay, silent())).raised[0];
        let told = PodUnreachable::summary(&raised.subject, &raised.evidence);
        assert!(told.ends_with("while its tunnel address does not answer either."), "{told}");
    }

    #[test]
    fn several_pods_and_none_answers_is_critical_and_one_that_answers_is_not() {
        let mut node = Example::reference();
        let second = ip("10.244.2.3");
        node.lookups.insert(second, node.lookups[&ip("10.244.2.2")].clone());
        node.peers.iter_mut().find(|peer| peer.name == "master-2").unwrap().pods.push(second);
        let node = node.verdict("master-2", Plane::Pod, silent());
        let mut snapshot = node.snapshot();
        let all = PodUnreachable::judge(&snapshot).unwrap();
        assert_eq!((all.raised[0].severity, all.raised[0].evidence.lost.len()), (Severity::Critical, 2));
        let key = PathKey { peer: "master-2".into(), plane: Plane::Pod, address: second };
        let clear =
            node.clone().verdict("master-2", Plane::Pod, Verdict::Clear { mtu: crate::units::IpSize::new(1450) });
        let answering = clear.snapshot().paths[&key].clone();
        snapshot.paths.insert(key, answering);
        let some = PodUnreachable::judge(&snapshot).unwrap();
        assert_eq!((some.raised[0].severity, some.raised[0].evidence.answering), (Severity::Warning, 1));
    }

    #[test]
    fn a_route_of_this_node_that_leads_past_the_tunnel_is_told_from_a_fault_there() {
        let mut node = Example::reference().verdict("master-2", Plane::Pod, silent());
        let there = judge(&node).raised.remove(0);
        assert_eq!(there.evidence.located, Located::RemoteForwarding);
        assert!(matches!(PodUnreachable::fixes(&there.subject, &there.evidence)[..], [Fix::PodsAnswer { .. }]));
        node.lookups.insert(ip("10.244.2.2"), node.lookups[&ip("10.0.0.12")].clone());
        let here = judge(&node).raised.remove(0);
        assert_eq!(here.evidence.located, Located::LocalRoute);
        let [Fix::PodsRouted { tunnel, .. }] = &PodUnreachable::fixes(&here.subject, &here.evidence)[..] else {
            panic!("one fix")
        };
        assert_eq!(tunnel.as_deref(), Some("vxlan.calico"));
        let told = PodUnreachable::summary(&here.subject, &here.evidence);
        assert!(told.contains("leads past vxlan.calico"), "{told}");
    }

    #[test]
    fn without_a_tunnel_a_node_that_answers_has_its_pods_packets() {
        let bgp = |gateway: &str| {
            let node = Example::empty().device("eth0", "device", 1500).address("eth0", "10.0.0.11", 24);
            let mut node = node.peer("b", "eth0", "10.0.0.12").route("10.244.2.0", 26, Some(gateway), "eth0");
            let route = node.tables.routes.known().unwrap().last().unwrap().clone();
            node.lookups.insert(ip("10.244.2.2"), Fact::Known(route));
            node.peers[0].pods.push(ip("10.244.2.2"));
            node.verdict("b", Plane::Pod, silent())
        };
        let located = |node: &Example| judge(node).raised.remove(0).evidence.located;
        assert_eq!(located(&bgp("10.0.0.12")), Located::RemoteForwarding);
        assert_eq!(located(&bgp("10.0.0.1")), Located::Unknown, "a router, which may send them anywhere");
        let dead = bgp("10.0.0.12").verdict("b", Plane::Underlay, silent());
        assert_eq!(located(&dead), Located::Unknown, "its node is silent too");
    }

    #[test]
    fn pods_of_another_family_than_the_nodes_are_told_with_what_answers_below() {
        let node = Example::dual("fd00::12").verdict_at("10.244.2.2", silent());
        let raised = judge(&node).raised.remove(0);
        assert_eq!(raised.evidence.underlay_verdict, Some(VerdictName::Clear));
        let six = judge(&Example::dual("fd00::12").verdict_at("fd00:244:2::2", silent())).raised.remove(0);
        let told = PodUnreachable::summary(&six.subject, &six.evidence);
        assert_eq!(told, "pod fd00:244:2::2 on master-2 answers nothing while its node answers.");
    }

    #[test]
    fn a_pod_that_could_not_be_judged_freezes() {
        let judgement = judge(&Example::reference().unmeasured("master-2", Plane::Pod, no_right()));
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread.len(), 1);
    }

    #[test]
    fn without_a_peer_nothing_is_concluded() {
        assert!(PodUnreachable::judge(&Example::reference().alone().snapshot()).is_err());
    }
}
