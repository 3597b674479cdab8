//! Pods on a Linux bridge whose packets bypass the machine's filters.
//!
//! What one pod sends another on the same bridge is forwarded by hardware address, and iptables and nft's IP tables see
//! it only if `net.bridge.bridge-nf-call-iptables` is on. kube-proxy and network policies stand in those tables. With it
//! off a connection to a Service that is served by a pod of the same node hangs: the request is translated on its way
//! through the bridge's address, the answer goes straight from pod to pod and is not translated back. Other nodes are
//! reached all the same, so nothing that is measured shows it, and the finding is a warning: whether a Service is used
//! in that way, or an eBPF proxy needs no tables, cannot be seen from here.
//!
//! Only where pods hang on a bridge (Flannel, kubenet, the bridge plugin); Calico routes each pod's veth. A missing file
//! means off there, because the module that brings it is not loaded; a file that could not be read means nothing. One
//! bridge may be switched on by itself. IPv6 has a setting of its own, which matters where the pods' bridge has an IPv6
//! address.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::SysctlDrift;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Fact, Unread};
use crate::kernel::{BridgeFilter, Link};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::Family;

/// The rule.
#[derive(Debug)]
pub struct BridgeNetfilterOff;

/// The setting, and the pods whose packets it concerns.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The setting's key.
    pub key: String,
    /// Its value; absent where the kernel module br_netfilter is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// Bridges that pods hang on and that are not switched on by themselves.
    pub bridges: Vec<String>,
    /// Number of pod links on them.
    pub pod_links: usize,
}

impl Check for BridgeNetfilterOff {
    const ENTRY: Entry = Entry {
        code: "bridge-netfilter-off",
        area: Area::Kernel,
        severities: &[Severity::Warning],
        when: &["pods hang on a bridge that shows nothing to iptables"],
        title: "bridged pods bypass the filters",
        meaning: "Packets between pods on one bridge bypass iptables and nft. A pod that uses a Service which a pod of \
                  the same node serves gets no answer, and network policies between the two do not hold.",
        quiet: "it matters only where pods hang on a Linux bridge (Flannel, kubenet, the bridge plugin); a bridge that \
                is switched on by itself is fine",
        look: &[
            Look {
                run: "sysctl net.bridge.bridge-nf-call-iptables",
                see: "0, or `No such file or directory`: the module is not loaded",
            },
            Look { run: "lsmod | grep -w br_netfilter", see: "no line: not loaded" },
            Look { run: "ip -d link show type bridge", see: "`nf_call_iptables 0` of the pods' bridge" },
            Look { run: "bridge link", see: "pods' links with that bridge as `master`" },
        ],
        metrics: &["mtuscope_setting{name=\"bridge-nf-call-iptables\"} == 0"],
        class: Class::Forwarding,
        silences: &[SysctlDrift::ENTRY.code],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeBridgeNetfilterOff", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        let mut judgement = Judgement::default();
        let bridges = pod_bridges(node);
        if bridges.is_empty() {
            return Ok(judgement);
        }
        node.tables.addresses.read()?;
        for filter in [&IPV4, &IPV6] {
            match filter.off(node, &bridges) {
                Ok(Some(evidence)) => judgement.raise(filter.subject(), Severity::Warning, evidence),
                Ok(None) => {}
                Err(why) => judgement.unread.push((filter.subject(), why)),
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { key, value, bridges, pod_links } = evidence;
        let is = match value {
            Some(value) => format!("{key} is {value}"),
            None => format!("br_netfilter is not loaded, so there is no {key},"),
        };
        format!(
            "{is} while {} on {}: what these send each other bypasses the rules of Services and network policies.",
            match pod_links {
                1 => "1 pod hangs".into(),
                many => format!("{many} pods hang"),
            },
            words::list(bridges)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let module = evidence.value.is_none().then_some(Fix::Module { name: "br_netfilter" });
        module.into_iter().chain([Fix::Sysctl { key: evidence.key.clone(), value: "1".into() }]).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence { key: IPV4.key(), value: None, bridges: vec!["cni0".into()], pod_links: 14 };
        (IPV4.subject(), Severity::Warning, evidence)
    }
}

/// One of the two settings.
struct Filter {
    family: Family,
    name: &'static str,
    setting: fn(&Snapshot) -> &Fact<i64>,
    on_by_itself: fn(&BridgeFilter) -> bool,
}

const IPV4: Filter = Filter {
    family: Family::Ipv4,
    name: "bridge-nf-call-iptables",
    setting: |node| &node.tables.bridge_nf_iptables,
    on_by_itself: |bridge| bridge.iptables,
};

const IPV6: Filter = Filter {
    family: Family::Ipv6,
    name: "bridge-nf-call-ip6tables",
    setting: |node| &node.tables.bridge_nf_ip6tables,
    on_by_itself: |bridge| bridge.ip6tables,
};

impl Filter {
    fn subject(&self) -> Subject {
        Subject::Setting(self.name)
    }

    fn key(&self) -> String {
        format!("net.bridge.{}", self.name)
    }

    fn off(&self, node: &Snapshot, bridges: &[&Link]) -> Result<Option<Evidence>, Unread> {
        let concerned: Vec<_> = bridges.iter().filter(|bridge| self.concerns(node, bridge)).collect();
        if concerned.is_empty() {
            return Ok(None);
        }
        let value = (self.setting)(node).read()?.copied();
        // Without the module nobody asks what a bridge says of itself.
        let on = |bridge: &Link| value.is_some() && bridge.bridge.as_ref().is_some_and(self.on_by_itself);
        let off: Vec<_> = concerned.into_iter().filter(|bridge| !on(bridge)).collect();
        if off.is_empty() || value.is_some_and(|value| value != 0) {
            return Ok(None);
        }
        let pod_links = off.iter().map(|bridge| pods_on(node, bridge)).sum();
        let bridges = off.iter().map(|bridge| bridge.name.clone()).collect();
        Ok(Some(Evidence { key: self.key(), value, bridges, pod_links }))
    }

    /// Whether pods on the bridge have addresses of this family, as far as the bridge's own tell. One without any is a
    /// mere switch, whose pods have at least IPv4.
    fn concerns(&self, node: &Snapshot, bridge: &Link) -> bool {
        let mut own = node.tables.addresses_of(bridge.index).filter(|own| own.global).peekable();
        let bare = own.peek().is_none() && self.family == Family::Ipv4;
        bare || own.any(|own| Family::of(own.address) == self.family)
    }
}

/// Whether pods of this family hang on a bridge that does not show their packets to filters by itself.
pub(super) fn concerns(node: &Snapshot, family: Family) -> Result<bool, Unread> {
    let bridges = pod_bridges(node);
    if bridges.is_empty() {
        return Ok(false);
    }
    node.tables.addresses.read()?;
    let filter = if family == Family::Ipv4 { &IPV4 } else { &IPV6 };
    let by_itself = |bridge: &Link| bridge.bridge.as_ref().is_some_and(filter.on_by_itself);
    Ok(bridges.into_iter().any(|bridge| filter.concerns(node, bridge) && !by_itself(bridge)))
}

fn pod_bridges(node: &Snapshot) -> Vec<&Link> {
    let bridges = node.tables.links().iter().filter(|link| link.kind == "bridge");
    bridges.filter(|bridge| pods_on(node, bridge) > 0).collect()
}

/// How many pods hang on a bridge.
pub(super) fn pods_on(node: &Snapshot, bridge: &Link) -> usize {
    let ports = node.tables.links().iter().filter(|port| port.master == Some(bridge.index));
    ports.filter(|port| node.topology.role(port.index) == Role::Pod).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Source;
    use crate::snapshot::example::{Example, failed};

    fn off(mut node: Example, value: Fact<i64>) -> Example {
        (node.tables.bridge_nf_iptables, node.tables.bridge_nf_ip6tables) = (value.clone(), value);
        node
    }

    fn dual_stack() -> Example {
        Example::flannel().address("cni0", "fd00:42::1", 64)
    }

    fn judge(example: &Example) -> Judgement<Evidence> {
        BridgeNetfilterOff::judge(&example.snapshot()).unwrap()
    }

    fn subjects(example: &Example) -> Vec<String> {
        judge(example).raised.iter().map(|raised| raised.subject.to_string()).collect()
    }

    fn told(example: &Example) -> String {
        let judgement = judge(example);
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        BridgeNetfilterOff::summary(&raised.subject, &raised.evidence)
    }

    #[test]
    fn switched_off_and_not_loaded_are_told_apart() {
        assert_eq!(
            told(&off(Example::flannel(), Fact::Known(0))),
            "net.bridge.bridge-nf-call-iptables is 0 while 1 pod hangs on cni0: what these send each other bypasses \
             the rules of Services and network policies."
        );
        let missing = off(Example::flannel(), Fact::Absent);
        assert!(told(&missing).starts_with("br_netfilter is not loaded, so there is no net.bridge.bridge-nf-call-ip"));
        let fixes = |node| BridgeNetfilterOff::fixes(&IPV4.subject(), &judge(&node).raised[0].evidence);
        assert_eq!(fixes(missing)[0], Fix::Module { name: "br_netfilter" });
        assert!(matches!(fixes(off(Example::flannel(), Fact::Known(0)))[..], [Fix::Sysctl { .. }]));
    }

    #[test]
    fn routed_pods_and_a_bridge_without_pods_need_none() {
        assert_eq!(subjects(&off(Example::reference(), Fact::Absent)), [""; 0], "guests may hang on vmbr1, no pods do");
        let idle = Example::flannel().with("veth0a1b2c3d", |link| link.master = None);
        assert_eq!(subjects(&off(idle, Fact::Known(0))), [""; 0]);
        assert_eq!(subjects(&Example::flannel()), [""; 0], "it is on");
    }

    #[test]
    fn a_bridge_may_be_on_by_itself_but_not_without_the_module() {
        let own = |value| {
            let on = |link: &mut Link| link.bridge = Some(BridgeFilter { iptables: true, ip6tables: false });
            subjects(&off(Example::flannel().with("cni0", on), value))
        };
        assert_eq!(own(Fact::Known(0)), [""; 0]);
        assert_eq!(own(Fact::Absent), ["bridge-nf-call-iptables"]);
    }

    #[test]
    fn ipv6_counts_where_pods_have_it() {
        let both = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];
        assert_eq!(subjects(&off(dual_stack(), Fact::Known(0))), both);
        let mut only_six = dual_stack();
        only_six.tables.bridge_nf_ip6tables = Fact::Known(0);
        assert_eq!(subjects(&only_six), both[1..]);
        assert_eq!(subjects(&off(Example::flannel(), Fact::Known(0))), both[..1], "a link-local address is none");
    }

    #[test]
    fn a_bridge_without_an_address_is_a_switch_for_ipv4() {
        let mut node = off(Example::flannel(), Fact::Known(0));
        let bridge = node.index("cni0");
        let Fact::Known(addresses) = &mut node.tables.addresses else { unreachable!() };
        addresses.retain(|own| own.link != bridge);
        assert_eq!(subjects(&node), ["bridge-nf-call-iptables"]);
    }

    #[test]
    fn what_could_not_be_read_is_neither_on_nor_off() {
        let judgement = judge(&off(dual_stack(), Fact::Unread(failed(Source::Settings))));
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread.len(), 2, "{judgement:?}");
        let unread = judge(&off(Example::reference(), Fact::Unread(failed(Source::Settings)))).unread;
        assert!(unread.is_empty(), "nobody here needs it");
        let mut blind = off(Example::flannel(), Fact::Known(0));
        blind.tables.addresses = Fact::Unread(failed(Source::Addresses));
        assert_eq!(BridgeNetfilterOff::judge(&blind.snapshot()).unwrap_err(), failed(Source::Addresses));
    }
}
