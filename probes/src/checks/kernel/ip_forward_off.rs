//! Forwarding switched off on a machine that forwards for pods.
//!
//! The tunnel address still answers, since that is the machine itself; pods behind it do not, and no ICMP error tells.
//! It is lost by a network restart or a hardening script. A machine without pods and without a tunnel that carries
//! them forwards for nobody, and may have it off.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::SysctlDrift;
use crate::checks::{Alert, Area, Check, Confirm, Entry, Judgement, words};
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct IpForwardOff;

/// The setting, and who needs it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// `net.ipv4.ip_forward`.
    pub value: i64,
    /// Number of pod links on this machine.
    pub pod_links: usize,
    /// Tunnels that carry pods' packets.
    pub tunnels: Vec<String>,
}

impl Check for IpForwardOff {
    const ENTRY: Entry = Entry {
        code: "ip-forward-off",
        area: Area::Kernel,
        severities: &[Severity::Critical],
        title: "forwarding is off",
        meaning: "The kernel forwards nothing between pods, tunnel and network, so no pod of this node reaches another \
                  node or is reached from one. Packets are dropped without an ICMP error.",
        look: &["sysctl net.ipv4.ip_forward", "sysctl net.ipv4.conf.all.forwarding", "nstat -az IpInAddrErrors"],
        silences: &[SysctlDrift::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeIpForwardOff", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some(&value) = node.tables.ip_forward.read()? else { return Ok(judgement) };
        if value != 0 {
            return Ok(judgement);
        }
        node.tables.links.read()?;
        let evidence = evidence(node, value);
        if evidence.has_pods() {
            judgement.raise(Subject::Setting("ip_forward"), Severity::Critical, evidence);
        } else {
            node.tables.routes.read()?;
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let pods = words::count(evidence.pod_links, "pod link");
        let by = match evidence.tunnels.as_slice() {
            [] => pods,
            tunnels => format!("{pods} and {}", words::list(tunnels)),
        };
        format!("net.ipv4.ip_forward is {} on a node that forwards for {by}: no packet passes.", evidence.value)
    }

    fn fixes(_: &Subject, _: &Evidence) -> Vec<Fix> {
        vec![Fix::Sysctl { key: "net.ipv4.ip_forward".into(), value: "1".into() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence { value: 0, pod_links: 14, tunnels: vec!["vxlan.calico".into()] };
        (Subject::Setting("ip_forward"), Severity::Critical, evidence)
    }
}

impl Evidence {
    const fn has_pods(&self) -> bool {
        self.pod_links > 0 || !self.tunnels.is_empty()
    }
}

/// Whether this machine forwards for pods.
pub(super) fn forwards_for_pods(node: &Snapshot) -> bool {
    evidence(node, 0).has_pods()
}

fn evidence(node: &Snapshot, value: i64) -> Evidence {
    let pods = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod);
    let tunnels = node.topology.tunnels().iter().filter(|tunnel| tunnel.carries_pods);
    Evidence { value, pod_links: pods.count(), tunnels: tunnels.map(|tunnel| tunnel.name.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::snapshot::example::{Example, failed};

    fn off(mut node: Example) -> Example {
        node.tables.ip_forward = Fact::Known(0);
        node
    }

    fn judge(example: &Example) -> Judgement<Evidence> {
        IpForwardOff::judge(&example.snapshot()).unwrap()
    }

    #[test]
    fn a_node_with_pods_needs_it() {
        let judgement = judge(&off(Example::reference()));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!(
            IpForwardOff::summary(&raised.subject, &raised.evidence),
            "net.ipv4.ip_forward is 0 on a node that forwards for 2 pod links and vxlan.calico: no packet passes."
        );
        assert!(judge(&Example::reference()).raised.is_empty());
    }

    #[test]
    fn a_machine_that_forwards_for_nobody_may_have_it_off() {
        let plain = Example::empty().device("eth0", "device", 1500).address("eth0", "192.0.2.5", 24).route(
            "0.0.0.0",
            0,
            Some("192.0.2.1"),
            "eth0",
        );
        assert!(judge(&off(plain)).raised.is_empty());
    }

    #[test]
    fn a_file_that_could_not_be_read_concludes_nothing() {
        let mut node = Example::reference();
        node.tables.ip_forward = Fact::Unread(failed(Source::Settings));
        assert_eq!(IpForwardOff::judge(&node.snapshot()).unwrap_err(), failed(Source::Settings));
    }

    #[test]
    fn whether_anybody_needs_it_has_to_be_known() {
        let mut node = off(Example::empty());
        node.tables.routes = Fact::Unread(failed(Source::Routes));
        assert_eq!(IpForwardOff::judge(&node.snapshot()).unwrap_err(), failed(Source::Routes));
        let mut unlinked = off(Example::reference());
        unlinked.tables.links = Fact::Unread(failed(Source::Links));
        assert!(IpForwardOff::judge(&unlinked.snapshot()).is_err());
    }
}
