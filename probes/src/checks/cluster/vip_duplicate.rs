//! Several machines have the control plane's address.
//!
//! In ARP mode one node has it. Where two answer, each client speaks to whichever answered last, and changes over when its
//! cache runs out: connections break now and then, and half of the requests go to a node that no election chose. This is
//! **critical**. It comes of a kube-vip that was killed and left the address behind, of two clusters or a stranger with the
//! same address, of a lease that two sides of a split hold.
//!
//! Nodes with kube-vip's manifest ask the network ([`vips`](crate::node::vips) says how two hardware addresses of one
//! machine are told from two machines; where that is not known, nothing is concluded). In a take-over both may answer for
//! a moment, so it must have been so for as long as any lasts.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::{Fix, VipHeld};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::vips::{Holder, Seen, Vip};
use crate::subject::Subject;

use super::vip_absent::{each, unsettled};

/// The rule.
#[derive(Debug)]
pub struct VipDuplicate;

/// Who answers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// kube-vip's manifest.
    pub manifest: String,
    /// The address.
    pub address: IpAddr,
    /// The link that was asked.
    pub link: String,
    /// The machines that have it.
    pub holders: Vec<HeldBy>,
    /// For how long several have answered, in seconds.
    pub seconds: u64,
    /// The election's lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

/// A machine that has the address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HeldBy {
    /// Its name, where it is known whose hardware address answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The hardware addresses that answer; none of this node's, which does not ask itself.
    pub hardware_addresses: Vec<String>,
}

impl From<&Holder> for HeldBy {
    fn from(holder: &Holder) -> Self {
        let hardware_addresses = holder.macs.iter().map(ToString::to_string).collect();
        Self { node: holder.node.clone(), hardware_addresses }
    }
}

impl HeldBy {
    fn words(&self) -> String {
        match (&self.node, self.hardware_addresses.as_slice()) {
            (Some(node), []) => node.clone(),
            (Some(node), macs) => format!("{node} ({})", macs.join(", ")),
            (None, macs) => format!("a machine that is no peer ({})", macs.join(", ")),
        }
    }
}

impl Check for VipDuplicate {
    const ENTRY: Entry = Entry {
        code: "vip-duplicate",
        area: Area::Cluster,
        severities: &[Severity::Critical],
        when: &["for longer than any take-over lasts several machines have answered for the address"],
        title: "several machines have the control plane's address",
        meaning: "kube-vip is to keep the control plane's address on one node, and more than one machine on the network \
                  answers for it. Clients change from one to the other as their caches run out, and connections to the API \
                  server break now and then.",
        quiet: "a take-over, which lasts no longer than three leases; hardware addresses that are one machine's, or may be; \
                a proxy that answers for every address",
        look: &[
            Look { run: "arping -D -c 3 -I LINK ADDRESS", see: "replies from more than one hardware address" },
            Look { run: "ip -br address show to ADDRESS", see: "a line on more than one node of the control plane" },
            Look { run: "ip neighbour show to ADDRESS", see: "`lladdr` changes from time to time" },
        ],
        metrics: &[],
        class: Class::VirtualIp,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeVipDuplicate", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        each(node, &mut judgement, |vip, judgement| {
            let Ok(Some(Seen::Several(holders))) = vip.seen.read() else { return };
            if !vip.is_settled() {
                return judgement.unread.push((Subject::Link(vip.link.clone()), unsettled(vip, "several answer")));
            }
            judgement.raise(Subject::Link(vip.link.clone()), Severity::Critical, evidence(vip, holders));
        })?;
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { address, link, holders, seconds, .. } = evidence;
        let holders: Vec<String> = holders.iter().map(HeldBy::words).collect();
        format!(
            "{address} is on {} machines on {link}, and has been for {seconds} s: {}.",
            holders.len(),
            words::list(&holders)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { manifest, address, link, lease, .. } = evidence;
        vec![Fix::VipHeldOnce(VipHeld {
            address: *address,
            link: link.clone(),
            manifest: manifest.clone(),
            lease: lease.clone(),
            nobody: false,
        })]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let holder = |node: &str, mac: &str| HeldBy { node: Some(node.into()), hardware_addresses: vec![mac.into()] };
        let evidence = Evidence {
            manifest: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
            address: IpAddr::from([10, 0, 0, 100]),
            link: "vmbr1".into(),
            holders: vec![holder("master-2", "bc:24:11:00:00:0c"), holder("master-3", "bc:24:11:00:00:0d")],
            seconds: 60,
            lease: Some("plndr-cp-lock".into()),
        };
        (Subject::Link("vmbr1".into()), Severity::Critical, evidence)
    }
}

fn evidence(vip: &Vip, holders: &[Holder]) -> Evidence {
    Evidence {
        manifest: vip.manifest.clone(),
        address: vip.address,
        link: vip.link.clone(),
        holders: holders.iter().map(HeldBy::from).collect(),
        seconds: vip.stands.as_secs(),
        lease: vip.lease.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::vip_absent::tests::seen;
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::Mac;

    fn judged(holders: &[Option<&str>], seconds: u64) -> Judgement<Evidence> {
        let holder = |(at, node): (usize, &Option<&str>)| Holder {
            node: node.map(str::to_owned),
            macs: vec![Mac([2, 0, 0, 0, 0, u8::try_from(at).unwrap()])],
        };
        let holders: Vec<_> = holders.iter().enumerate().map(holder).collect();
        let one = holders.first().cloned().filter(|_| holders.len() == 1);
        let heard = one.map_or(Seen::Several(holders), Seen::Held);
        VipDuplicate::judge(&seen(Fact::Known(heard), seconds).snapshot()).unwrap()
    }

    #[test]
    fn two_machines_are_named_with_what_answers() {
        let judgement = judged(&[Some("master-2"), None], 20);
        let raised = &judgement.raised[0];
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("vmbr1", Severity::Critical));
        let told = VipDuplicate::summary(&raised.subject, &raised.evidence);
        assert!(
            told.contains("master-2 (02:00:00:00:00:00) and a machine that is no peer (02:00:00:00:00:01)"),
            "{told}"
        );
    }

    #[test]
    fn one_machine_and_a_take_over_are_no_duplicate() {
        assert!(judged(&[Some("master-2")], 60).raised.is_empty());
        let moment = judged(&[Some("master-2"), Some("master-3")], 5);
        assert!(moment.raised.is_empty() && moment.unread[0].1.to_string().contains("several answer"));
    }
}
