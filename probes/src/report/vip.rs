//! kube-vip as its manifest has it, beside what this node has of it now.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::declared::kubevip::{Given, KubeVip};
use crate::snapshot::Snapshot;

/// One manifest of kube-vip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VipRow {
    /// The file.
    pub manifest: String,
    /// `arp`, `bgp`, `table` or `wireguard`; absent where the manifest does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// Whether it holds the control plane's address.
    pub control_plane: bool,
    /// Whether it holds addresses of Services.
    pub services: bool,
    /// The link that is named; absent where kube-vip chooses it, or it is not known which is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<VipLinkRow>,
    /// The link for Services, where another one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services_interface: Option<VipLinkRow>,
    /// The address as it is written: one or several, or a name; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Links of this node that have it now. In ARP mode it is on one node of all.
    pub held_on: Vec<String>,
    /// How the holder is elected; absent without an election.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseRow>,
}

/// A link that is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VipLinkRow {
    /// Its name in the manifest.
    pub name: String,
    /// Whether this node has it.
    pub present: bool,
    /// Whether it is set up and not known to lack carrier.
    pub up: bool,
}

/// An election. What is absent is kube-vip's own choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeaseRow {
    /// The lease's name.
    pub name: String,
    /// How long it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
    /// How long its holder tries to keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_deadline_seconds: Option<u32>,
    /// How often everybody tries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_period_seconds: Option<u32>,
}

/// Every manifest that was found.
pub fn rows(node: &Snapshot) -> Vec<VipRow> {
    let pods = node.tables.declared.static_pods.known();
    pods.into_iter().flat_map(|pods| &pods.kube_vip).map(|pod| row(node, pod)).collect()
}

fn row(node: &Snapshot, pod: &KubeVip) -> VipRow {
    let addresses: Vec<IpAddr> = pod.addresses();
    let holds =
        |link: &&crate::kernel::Link| node.tables.addresses_of(link.index).any(|own| addresses.contains(&own.address));
    let link = |given: &Given| {
        let name = given.text().filter(|name| pod.links().any(|(named, _)| named == *name))?;
        let link = node.tables.link_called(name);
        let up = link.is_some_and(crate::kernel::Link::works);
        Some(VipLinkRow { name: name.to_owned(), present: link.is_some(), up })
    };
    let lease = pod.lease.as_ref().map(|lease| {
        let [duration_seconds, renew_deadline_seconds, retry_period_seconds] = lease.seconds;
        LeaseRow { name: lease.name.clone(), duration_seconds, renew_deadline_seconds, retry_period_seconds }
    });
    VipRow {
        manifest: pod.file.clone(),
        mode: pod.mode.map(crate::declared::kubevip::Mode::name),
        control_plane: pod.control_plane,
        services: pod.services,
        interface: link(&pod.interface),
        services_interface: link(&pod.services_interface),
        address: pod.address.text().map(str::to_owned),
        held_on: node.tables.links().iter().filter(holds).map(|link| link.name.clone()).collect(),
        lease,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::kubevip::{Lease, Mode, StaticPods};
    use crate::fact::Fact;
    use crate::snapshot::example::Example;

    fn pod() -> KubeVip {
        let text = |text: &str| Given::Text(text.into());
        KubeVip {
            file: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
            interface: text("vmbr1"),
            services_interface: text("eth7"),
            address: text("10.0.0.10"),
            mode: Some(Mode::Arp),
            control_plane: true,
            services: true,
            may_be_down: false,
            lease: Some(Lease { name: "plndr-cp-lock".into(), seconds: [Some(5), None, Some(1)] }),
        }
    }

    fn of(mut node: Example, pod: KubeVip) -> VipRow {
        node.tables.declared.static_pods = Fact::Known(StaticPods { kube_vip: vec![pod], unread: Vec::new() });
        rows(&node.snapshot()).remove(0)
    }

    #[test]
    fn what_is_written_stands_beside_what_there_is() {
        let row = of(Example::reference().address("vmbr1", "10.0.0.10", 32), pod());
        let link = |name: &str, there| Some(VipLinkRow { name: name.into(), present: there, up: there });
        assert_eq!((row.interface, row.services_interface), (link("vmbr1", true), link("eth7", false)));
        assert_eq!((row.mode, row.held_on.as_slice()), (Some("arp"), &["vmbr1".to_owned()][..]));
        let lease = row.lease.unwrap();
        assert_eq!((lease.duration_seconds, lease.renew_deadline_seconds), (Some(5), None));
        assert_eq!(of(Example::reference(), pod()).held_on, [""; 0], "it is on another node");
    }

    #[test]
    fn a_link_that_kube_vip_chooses_is_absent() {
        let row = of(Example::reference(), KubeVip { interface: Given::Not, services_interface: Given::Not, ..pod() });
        assert_eq!((row.interface, row.services_interface), (None, None));
        assert_eq!(rows(&Example::reference().snapshot()), []);
    }
}
