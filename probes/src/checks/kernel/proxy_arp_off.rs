//! Calico's pods whose gateway does not answer.
//!
//! Calico gives every pod 169.254.1.1 for a gateway, an address that no machine has: the node's end of the pod's link
//! answers for it, and does so only with `proxy_arp`. The CNI plugin switches that on when it makes the link. Where it was
//! switched off again – a hardening script that walks over all of `net.ipv4.conf` – the pod keeps its gateway's hardware
//! address for as long as it happens to be confirmed, and then sends to nobody.
//!
//! Measured (Linux 6.18): the kernel answers if `all` or the link has it on, or if the node has the address itself (an
//! operator's remedy for nodes without a default route); and it answers only where the link forwards, which is the matter
//! of `ip-forward-off`. A proxy entry for the address (`ip neigh add proxy`) does as well. No version of Calico makes one,
//! and the dump of neighbours does not list it: whoever makes them by hand for each pod is wrongly accused here.
//!
//! Only Calico's links count, and of them those that are up and lead to an IPv4 pod; each stands for itself, so one pod
//! that is cut off is enough.
//!
//! IPv6 has no such code. A pod's IPv6 gateway is the link-local address of the node's end, for which the kernel answers
//! as for its own; `proxy_ndp` answers for nothing but entries made by hand, and newer versions of Calico leave it off.
//! Whether the kernel has a route that lets it answer at all is the matter of `default-route-missing`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::{LinkIndex, Route};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::setup::{POD_GATEWAY, of_calico_pod};
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct ProxyArpOff;

/// The pods whose gateway does not answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The address that pods have for a gateway.
    pub gateway: IpAddr,
    /// Number of pods' links that do not answer for it.
    pub silent: usize,
    /// Number of pods' links that should.
    pub pod_links: usize,
    /// A few of those that do not.
    pub seen: Vec<String>,
}

impl Check for ProxyArpOff {
    const ENTRY: Entry = Entry {
        code: "proxy-arp-off",
        area: Area::Kernel,
        severities: &[Severity::Critical],
        when: &["a Calico pod's link has proxy_arp off"],
        title: "nobody answers for the pods' gateway",
        meaning: "Calico's pods send everything to 169.254.1.1, for which the node's end of their link answers only with \
                  proxy_arp on. It is off, so these pods are cut off as soon as they ask for their gateway again.",
        quiet: "a node that has 169.254.1.1 itself, or proxy_arp for `all`, answers all the same; IPv6 needs none",
        look: &[
            Look {
                run: "sysctl -a --pattern 'net.ipv4.conf.(all|cali.*).proxy_arp$'",
                see: "0 for `all` and for a pod's link",
            },
            Look {
                run: "kubectl exec POD -- cat /proc/net/arp",
                see: "169.254.1.1 has no hardware address, or `00:00:00:00:00:00`",
            },
        ],
        metrics: &["mtuscope_setting{name=\"proxy_arp\"} == 0"],
        class: Class::NoThread { why: "no public thread known: hardening scripts that write to all of net.ipv4.conf" },
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeProxyArpOff", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        node.tables.links.read()?;
        let links: Vec<_> = node.tables.links().iter().filter(|link| of_calico_pod(link)).collect();
        if links.is_empty() {
            return Ok(judgement);
        }
        node.tables.routes.read()?;
        let to_pods = leading_to_ipv4(node);
        let links: Vec<_> = links.into_iter().filter(|link| to_pods.contains(&link.index)).collect();
        if let Some(link) = links.iter().find(|link| link.inet.is_none()) {
            let why = format!("{}: the link dump carries no IPv4 settings", link.name);
            return Err(Unread::new(Source::Settings, Reason::Unsupported { why }));
        }
        let silent: Vec<_> = links.iter().filter(|link| link.inet.is_some_and(|inet| !inet.proxy_arp)).collect();
        if silent.is_empty() || node.tables.is_own(POD_GATEWAY) || node.tables.proxy_arp_all.read()? != Some(&0) {
            return Ok(judgement);
        }
        node.tables.addresses.read()?;
        let evidence = Evidence {
            gateway: POD_GATEWAY,
            silent: silent.len(),
            pod_links: links.len(),
            seen: silent.iter().take(FEW).map(|link| link.name.clone()).collect(),
        };
        judgement.raise(SUBJECT, Severity::Critical, evidence);
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { gateway, silent, pod_links, seen } = evidence;
        let links = if silent == pod_links {
            match silent {
                1 => "the pod's link".into(),
                all => format!("all {all} pods' links"),
            }
        } else {
            format!("{silent} of {pod_links} pods' links")
        };
        let such = if seen.len() < *silent { "such as " } else { "" };
        format!(
            "proxy_arp is off on {links} ({such}{}), so nobody answers for {gateway}, the gateway of Calico's pods.",
            words::list(seen)
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let keys = evidence.seen.iter().map(|link| words::link_setting("ipv4", link, "proxy_arp")).collect();
        vec![Fix::PodSettings { keys, value: "1".into() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let seen = vec!["cali1a2b3c4d5e6".into()];
        (SUBJECT, Severity::Critical, Evidence { gateway: POD_GATEWAY, silent: 1, pod_links: 14, seen })
    }
}

const SUBJECT: Subject = Subject::Setting("proxy_arp");

/// Links that are named.
const FEW: usize = 3;

fn leading_to_ipv4(node: &Snapshot) -> BTreeSet<LinkIndex> {
    let to_one = |route: &&Route| route.destination.is_ipv4() && route.prefix == 32;
    let routes = node.tables.routes.known().into_iter().flatten().filter(to_one);
    routes.flat_map(|route| &route.hops).map(|hop| hop.link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::{Inet, Link};
    use crate::snapshot::example::{Example, failed};

    const PODS: [&str; 2] = ["cali1a2b3c4d5e6", "cali9f8e7d6c5b4"];

    fn off(node: Example, links: &[&str]) -> Example {
        let set = |link: &mut Link| link.inet = Some(Inet { proxy_arp: false, ..link.inet.unwrap() });
        links.iter().fold(node, |node, link| node.with(link, set))
    }

    fn told(node: &Example) -> Option<String> {
        let judgement = ProxyArpOff::judge(&node.snapshot()).unwrap();
        assert!(judgement.unread.is_empty());
        let raised = judgement.raised.first()?;
        assert_eq!((&raised.subject, raised.severity), (&SUBJECT, Severity::Critical));
        Some(ProxyArpOff::summary(&raised.subject, &raised.evidence))
    }

    #[test]
    fn one_pod_that_is_cut_off_is_enough() {
        assert_eq!(told(&Example::reference()), None);
        assert_eq!(
            told(&off(Example::reference(), &PODS[..1])).unwrap(),
            "proxy_arp is off on 1 of 2 pods' links (cali1a2b3c4d5e6), so nobody answers for 169.254.1.1, the gateway of \
             Calico's pods."
        );
    }

    #[test]
    fn many_are_counted_and_a_few_named() {
        let mut node = Example::reference();
        for number in 4..9 {
            node = off(
                node.pod(&format!("cali{number}"), 1450, &format!("10.244.1.{number}")),
                &[&format!("cali{number}")],
            );
        }
        let node = off(node, &PODS);
        assert_eq!(ProxyArpOff::judge(&node.snapshot()).unwrap().raised[0].evidence.seen.len(), FEW);
        let told = told(&node).unwrap();
        assert!(told.starts_with("proxy_arp is off on all 7 pods' links (such as cali1a2b3c4d5e6, "), "{told}");
    }

    #[test]
    fn the_setting_for_all_links_and_an_address_of_the_nodes_own_answer_as_well() {
        let mut node = off(Example::reference(), &PODS);
        node.tables.proxy_arp_all = Fact::Known(1);
        assert_eq!(told(&node), None);
        node.tables.proxy_arp_all = Fact::Known(0);
        assert!(told(&node).is_some());
        assert_eq!(told(&node.address("lo", "169.254.1.1", 32)), None);
    }

    #[test]
    fn only_links_that_lead_to_an_ipv4_pod_of_calico_count() {
        let down = off(Example::reference(), &PODS[..1]).with(PODS[0], |link| link.up = false);
        assert_eq!(told(&down), None);
        let mut six = off(Example::reference(), &PODS);
        let Fact::Known(routes) = &mut six.tables.routes else { unreachable!() };
        routes.retain(|route| route.prefix < 32);
        assert_eq!(told(&six), None, "a pod with IPv6 alone has another gateway");
        assert_eq!(told(&Example::flannel()), None);
        let other = off(Example::reference().pod("eni1a2b3c4d5e6", 1450, "10.244.1.9"), &["eni1a2b3c4d5e6"]);
        assert_eq!(told(&other), None, "another CNI's");
    }

    #[test]
    fn what_could_not_be_read_concludes_nothing() {
        let unread = |node: &Example| ProxyArpOff::judge(&node.snapshot()).unwrap_err();
        let mut node = off(Example::reference(), &PODS);
        node.tables.proxy_arp_all = Fact::Unread(failed(Source::Settings));
        assert_eq!(unread(&node), failed(Source::Settings));
        let mut node = off(Example::reference(), &PODS);
        node.tables.addresses = Fact::Unread(failed(Source::Addresses));
        assert_eq!(unread(&node), failed(Source::Addresses));
        let mut node = Example::reference();
        node.tables.routes = Fact::Unread(failed(Source::Routes));
        assert_eq!(unread(&node), failed(Source::Routes));
        assert!(unread(&Example::reference().with(PODS[0], |link| link.inet = None)).to_string().contains(PODS[0]));
    }
}
