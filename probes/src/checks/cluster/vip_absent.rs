//! Nobody has the control plane's address.
//!
//! kube-vip in ARP mode puts the address on one node of the control plane, which answers for it. This node has kube-vip's
//! manifest and asks the network itself, with a question that changes nobody's cache ([`vips`](crate::node::vips) says how,
//! and why an answer is believed). Where nobody answers, and this node does not have the address, nobody reaches the API
//! server by it: **critical**.
//!
//! That must have been so for as long as any take-over lasts, three times the lease, and a peer must have answered for its
//! own address in the same breath: else it is this node that is cut off. Only ARP mode has one holder. In BGP and table
//! mode every node may have the address, and WireGuard's is nobody's on the wire.

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::declared::kubevip::Given;
use crate::fact::{Reason, Source, Unread};
use crate::node::vips::is_held_by_arp;
use crate::remedy::{Fix, VipHeld};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::vips::{Seen, Vip};
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct VipAbsent;

/// Who was asked, and who answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// kube-vip's manifest.
    pub manifest: String,
    /// The address.
    pub address: IpAddr,
    /// The link that was asked.
    pub link: String,
    /// For how long nobody has answered, in seconds.
    pub silent_seconds: u64,
    /// How often it was asked for meanwhile.
    pub asked: u32,
    /// A peer that answered for an address of its own.
    pub witness: String,
    /// Peers that say that they have it, and do not answer here.
    pub claimed_by: Vec<String>,
    /// The election's lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

impl Check for VipAbsent {
    const ENTRY: Entry = Entry {
        code: "vip-absent",
        area: Area::Cluster,
        severities: &[Severity::Critical],
        when: &["for longer than any take-over lasts nobody has answered for the address"],
        title: "nobody has the control plane's address",
        meaning: "kube-vip is to keep the control plane's address on one node, and no machine on the network answers for \
                  it. Whoever speaks to the API server by that address, kubectl and every kubelet among them, gets no \
                  answer.",
        quiet: "a take-over, which lasts no longer than three leases; an address that routers are told of (BGP, table); a \
                network on which no peer answers either",
        look: &[
            Look { run: "arping -D -c 3 -I LINK ADDRESS", see: "no `reply`" },
            Look { run: "ip -br address show to ADDRESS", see: "on no node of the control plane a line" },
            Look {
                run: "kubectl -n kube-system get lease plndr-cp-lock -o yaml",
                see: "`renewTime` is long past, or `holderIdentity` is a node that is gone",
            },
        ],
        metrics: &[],
        class: Class::VirtualIp,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeVipAbsent", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        each(node, &mut judgement, |vip, judgement| {
            let Ok(Some(Seen::Nobody { witness, claim })) = vip.seen.read() else { return };
            if !vip.is_settled() {
                return judgement.unread.push((Subject::Link(vip.link.clone()), unsettled(vip, "nobody answers")));
            }
            let evidence = Evidence {
                manifest: vip.manifest.clone(),
                address: vip.address,
                link: vip.link.clone(),
                silent_seconds: vip.stands.as_secs(),
                asked: vip.times,
                witness: witness.clone(),
                claimed_by: claim.clone(),
                lease: vip.lease.clone(),
            };
            judgement.raise(Subject::Link(vip.link.clone()), Severity::Critical, evidence);
        })?;
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { address, link, silent_seconds, witness, claimed_by, .. } = evidence;
        let claim = match claimed_by.as_slice() {
            [] => String::new(),
            some => format!(" {} says that it has the address.", words::list(some)),
        };
        format!(
            "Nobody on {link} has answered for {address} for {silent_seconds} s, while {witness} answers for its own \
             address.{claim}"
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { manifest, address, link, lease, .. } = evidence;
        vec![Fix::VipHeldOnce(VipHeld {
            address: *address,
            link: link.clone(),
            manifest: manifest.clone(),
            lease: lease.clone(),
            nobody: true,
        })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            manifest: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
            address: IpAddr::from([10, 0, 0, 100]),
            link: "vmbr1".into(),
            silent_seconds: 60,
            asked: 3,
            witness: "master-2".into(),
            claimed_by: Vec::new(),
            lease: Some("plndr-cp-lock".into()),
        };
        (Subject::Link("vmbr1".into()), Severity::Critical, evidence)
    }
}

/// What is not settled says nothing, whichever way.
pub(super) fn unsettled(vip: &Vip, what: &str) -> Unread {
    let Vip { address, stands, patience, .. } = vip;
    let seconds = Duration::as_secs;
    let why = format!(
        "{what} for {address} since {} s ago, and a take-over may last {} s",
        seconds(stands),
        seconds(patience)
    );
    Unread::new(Source::Probes, Reason::Unsupported { why })
}

/// Judges every address that was asked for; what was not, or did not tell, is not concluded.
///
/// # Errors
/// If it is not known whether there is a manifest.
pub(super) fn each<E>(
    node: &Snapshot,
    judgement: &mut Judgement<E>,
    mut rule: impl FnMut(&Vip, &mut Judgement<E>),
) -> Result<(), Unread> {
    let Some(pods) = node.tables.declared.static_pods.read()? else { return Ok(()) };
    if let (true, Some(why)) = (pods.kube_vip.is_empty(), pods.unread.first()) {
        return Err(why.clone());
    }
    for pod in pods.kube_vip.iter().filter(|pod| is_held_by_arp(pod) && pod.addresses().is_empty()) {
        let why = match &pod.address {
            Given::Text(name) => format!("{}: {name} is no address, and names are not asked for", pod.file),
            Given::Elsewhere { place } => format!("{}: the address may come from {place}", pod.file),
            Given::Not => format!("{}: no address is given", pod.file),
        };
        judgement
            .unread
            .push((Subject::Setting("kube-vip"), Unread::new(Source::HostFiles, Reason::Unsupported { why })));
    }
    for vip in &node.vips {
        match vip.seen.read() {
            Err(why) => judgement.unread.push((Subject::Link(vip.link.clone()), why)),
            Ok(_) => rule(vip, judgement),
        }
    }
    // Two addresses on one link are one subject: the first speaks for both.
    let mut subjects = std::collections::BTreeSet::new();
    judgement.raised.retain(|raised| subjects.insert(raised.subject.clone()));
    judgement.unread.retain(|(subject, _)| !subjects.contains(subject));
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::snapshot::example::Example;
    use crate::snapshot::vips::{Holder, TIMES};

    /// master-1 with kube-vip's address as it is seen, for so many seconds.
    pub(in super::super) fn seen(seen: Fact<Seen>, seconds: u64) -> Example {
        let mut node = Example::reference();
        node.tables.declared.static_pods = Fact::Known(crate::declared::kubevip::StaticPods::default());
        node.vips.push(Vip {
            address: IpAddr::from([10, 0, 0, 100]),
            manifest: "/m.yaml".into(),
            lease: None,
            link: "vmbr1".into(),
            seen,
            stands: Duration::from_secs(seconds),
            times: TIMES,
            patience: Duration::from_secs(15),
        });
        node
    }

    fn nobody(claim: &[&str]) -> Fact<Seen> {
        Fact::Known(Seen::Nobody { witness: "master-2".into(), claim: claim.iter().map(|&one| one.into()).collect() })
    }

    fn judged(node: &Example) -> Judgement<Evidence> {
        VipAbsent::judge(&node.snapshot()).unwrap()
    }

    #[test]
    fn silence_that_outlasts_a_take_over_is_critical() {
        let judgement = judged(&seen(nobody(&["master-3"]), 15));
        let raised = &judgement.raised[0];
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("vmbr1", Severity::Critical));
        let told = VipAbsent::summary(&raised.subject, &raised.evidence);
        assert!(told.contains("while master-2 answers") && told.contains("master-3 says that it has"), "{told}");
    }

    #[test]
    fn a_take_over_is_waited_for_and_says_so() {
        let judgement = judged(&seen(nobody(&[]), 14));
        assert!(judgement.raised.is_empty());
        assert!(judgement.unread[0].1.to_string().contains("since 14 s ago, and a take-over may last 15 s"));
        let mut rarely = seen(nobody(&[]), 60);
        rarely.vips[0].times = TIMES - 1;
        assert!(judged(&rarely).raised.is_empty(), "rounds may be far apart");
    }

    #[test]
    fn who_has_it_is_nobodys_matter_and_what_was_not_heard_is_not_concluded() {
        let held = Fact::Known(Seen::Held(Holder { node: Some("master-2".into()), macs: Vec::new() }));
        let judgement = judged(&seen(held, 60));
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty());
        let deaf = Unread::new(Source::Probes, Reason::Denied { needs: "CAP_NET_RAW".into() });
        let judgement = judged(&seen(Fact::Unread(deaf.clone()), 60));
        assert_eq!((judgement.raised.len(), &judgement.unread[0].1), (0, &deaf));
    }

    #[test]
    fn a_node_without_a_manifest_is_quiet_and_one_whose_manifest_cannot_be_read_does_not_know() {
        let judgement = judged(&Example::reference());
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty());
        let mut hidden = Example::reference();
        let why = Unread::new(Source::HostFiles, Reason::Denied { needs: "read access".into() });
        hidden.tables.declared.static_pods = Fact::Unread(why);
        assert!(VipAbsent::judge(&hidden.snapshot()).is_err());
    }
}
