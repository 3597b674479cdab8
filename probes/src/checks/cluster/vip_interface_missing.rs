//! kube-vip is to put the control plane's address on a link that this node does not have, or that is down.
//!
//! kube-vip looks at its link when it starts: one that is not there, or whose state is neither up nor unknown, ends it, and
//! the kubelet starts it again and again. This node then never takes the address over. Nothing is felt of that as long as
//! another node has it, and whether one has is not to be seen from here: a **warning**. While the address is on this node
//! and on that very link, the others wait for a dead one, which is **critical**: a leader whose lease goes by another way
//! keeps it, and does not let go of the address.
//!
//! Links that are named count, for Services as for the control plane, because kube-vip looks at both whatever they are
//! for. Left alone is one that it chooses itself (no name, `auto`), `lo` (always there, as BGP and routing tables have it),
//! the WireGuard link that it makes, and a link that may be down (`vip_allow_interface_not_up`) and has no address of its.
//! Other names of a link (`altname`) are names.
//!
//! A manifest that could not be read may name any link, so what it once named stays as it was. What another one named is
//! judged by that one.
//!
//! A link that carries tunnels or peers and is down has its own code, which silences this one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Kept, Look};
use crate::declared::kubevip::{Given, KubeVip, Mode};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::Link;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::tables::covers;

/// The rule.
#[derive(Debug)]
pub struct VipInterfaceMissing;

/// A link that kube-vip is to use.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// kube-vip's manifest.
    pub manifest: String,
    /// The link, as it is written there.
    pub interface: String,
    /// Whether there is such a link.
    pub present: bool,
    /// Whether it is set up; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_up: Option<bool>,
    /// Whether it has carrier; absent where there is none, or it is set down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<bool>,
    /// The address as it is written: one or several, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the address is on this link now.
    pub held: bool,
    /// How the address is made known: `arp`, `bgp`, `table` or `wireguard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Links of this node whose network the address is of.
    pub candidates: Vec<String>,
}

impl Check for VipInterfaceMissing {
    const ENTRY: Entry = Entry {
        code: "vip-interface-missing",
        area: Area::Cluster,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "this node cannot take the address over; whether another one has it is not to be seen from here",
            "the address is on the link that is down, so this node holds what nobody reaches",
        ],
        title: "kube-vip's link is missing or down",
        meaning: "kube-vip's manifest names a link that this node does not have, or that is down. kube-vip ends when it \
                  starts so, and this node never takes the control plane's address over.",
        quiet: "a link that kube-vip chooses itself or makes, `lo`, one that may be down and has not the address; that \
                the address is on another node",
        look: &[
            Look {
                run: "grep -n -A1 'vip_interface\\|vip_servicesinterface' MANIFEST",
                see: "the name that kube-vip is told",
            },
            Look {
                run: "ip -br link show dev LINK",
                see: "`does not exist`, or a state that is neither UP nor UNKNOWN",
            },
            Look {
                run: "crictl logs $(crictl ps -a --name kube-vip -q | head -1)",
                see: "`is not valid interface`, and the container starts again and again",
            },
        ],
        metrics: &["mtuscope_link_up == 0"],
        class: Class::VirtualIp,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeVipInterfaceMissing", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.addresses.read()?;
        let mut judgement = Judgement::default();
        let Some(pods) = node.tables.declared.static_pods.read()? else { return Ok(judgement) };
        let mut unread = pods.unread.clone();
        let mut worst: BTreeMap<Subject, (Severity, Evidence)> = BTreeMap::new();
        for pod in &pods.kube_vip {
            unread.extend(unsaid(pod));
            for (name, made) in pod.links() {
                let link = node.tables.link_called(name);
                let evidence = evidence(node, pod, name, link);
                let excused = match link {
                    None => made,
                    Some(link) => link.works() || (pod.may_be_down && !evidence.held),
                };
                if !excused {
                    let severity = if evidence.held { Severity::Critical } else { Severity::Warning };
                    let subject = Subject::Link(link.map_or(name, |link| &link.name).to_owned());
                    // Two manifests, or both settings of one, may name the same link.
                    if worst.get(&subject).is_none_or(|(known, _)| *known < severity) {
                        worst.insert(subject, (severity, evidence));
                    }
                }
            }
        }
        worst.into_iter().for_each(|(subject, (severity, evidence))| judgement.raise(subject, severity, evidence));
        if let Some(why) = unread.into_iter().next() {
            if pods.kube_vip.is_empty() {
                return Err(why);
            }
            judgement.unread.push((Subject::Setting(KUBE_VIP), why));
            judgement.kept.push(Kept::but("manifest", pods.kube_vip.iter().map(|pod| pod.file.clone())));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { interface, present, admin_up, address, held, .. } = evidence;
        let how = match (present, admin_up) {
            (false, _) => "does not exist here",
            (true, Some(false)) => "is set down",
            (true, _) => "has no carrier",
        };
        let address = address.as_deref().unwrap_or("the control plane's address");
        let so = if *held {
            format!("and {address} is on it: nobody reaches that, and this node holds it")
        } else {
            format!("so this node cannot take {address} over")
        };
        format!("kube-vip is to use {interface}, which {how}, {so}.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { manifest, interface, present, admin_up, candidates, .. } = evidence;
        let up =
            Fix::LinkUp { link: interface.clone(), no_carrier: *admin_up == Some(true), master: None, tunnel: false };
        let named = Fix::VipInterface {
            manifest: manifest.clone(),
            interface: interface.clone(),
            candidates: candidates.clone(),
        };
        if *present { vec![up, Fix::Instead(vec![named])] } else { vec![named] }
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            manifest: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
            interface: "eth1".into(),
            present: false,
            admin_up: None,
            carrier: None,
            address: Some("10.0.0.10".into()),
            held: false,
            mode: Some(Mode::Arp.name().into()),
            candidates: vec!["vmbr1".into()],
        };
        (Subject::Link("eth1".into()), Severity::Warning, evidence)
    }
}

const KUBE_VIP: &str = "kube-vip";

/// Links that are given in a place that is not looked into.
fn unsaid(pod: &KubeVip) -> impl Iterator<Item = Unread> {
    [("vip_interface", &pod.interface), ("vip_servicesinterface", &pod.services_interface)].into_iter().filter_map(
        |(setting, given)| match given {
            Given::Elsewhere { place } => {
                let why = format!("{}: {setting} may come from {place}", pod.file);
                Some(Unread::new(Source::HostFiles, Reason::Unsupported { why }))
            }
            Given::Text(_) | Given::Not => None,
        },
    )
}

fn evidence(node: &Snapshot, pod: &KubeVip, name: &str, link: Option<&Link>) -> Evidence {
    let addresses = pod.addresses();
    let on = |link: &Link| node.tables.addresses_of(link.index).any(|own| addresses.contains(&own.address));
    Evidence {
        manifest: pod.file.clone(),
        interface: name.to_owned(),
        present: link.is_some(),
        admin_up: link.map(|link| link.up),
        carrier: link.and_then(|link| link.carrier.filter(|_| link.up)),
        address: pod.address.text().map(str::to_owned),
        held: link.is_some_and(on),
        mode: pod.mode.map(|mode| mode.name().to_owned()),
        candidates: candidates(node, &addresses, link),
    }
}

/// Links that work and whose network one of the addresses is of.
fn candidates(node: &Snapshot, addresses: &[IpAddr], but: Option<&Link>) -> Vec<String> {
    let near = |link: &&Link| {
        let mut own = node.tables.addresses_of(link.index).filter(|own| own.global);
        own.any(|own| addresses.iter().any(|&vip| vip != own.address && covers(own.address, own.prefix, vip)))
    };
    let others = node.tables.links().iter().filter(|link| but.is_none_or(|but| but.index != link.index));
    others.filter(|link| link.works()).filter(near).map(|link| link.name.clone()).collect()
}

#[cfg(test)]
mod tests;
