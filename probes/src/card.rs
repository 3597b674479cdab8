//! What a node says of itself, so that others can hold themselves against it: `mtuscope.node/v1`.
//!
//! A card is small whatever the machine is like: every list of it has an end ([`LINKS`] and the like), and what hangs on
//! pods is left out but for the MTUs that they have. It is made from what was read, and says nothing that was measured.
//!
//! Links are those that lead to peers or carry tunnels and have an address: whoever reaches this node by an address
//! finds the link that it stands on.

mod told;

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::Config;
use crate::kernel::{Link, Mac};
use crate::report::{Role, Vantage};
use crate::snapshot::Snapshot;
use crate::snapshot::topology::TunnelView;
use crate::units::{Family, LinkMtu, Now};

pub use told::{Told, ToldLink, ToldTunnel, read};

/// The schema's name and version.
pub const SCHEMA: &str = "mtuscope.node/v1";

/// Where agents serve it.
pub const PATH: &str = "/node";

/// Most links of a card.
pub const LINKS: usize = 16;

/// Most addresses of a link.
pub const ADDRESSES: usize = 16;

/// Most tunnels.
pub const TUNNELS: usize = 8;

/// Most hardware addresses.
pub const MACS: usize = 64;

/// Most addresses of kube-vip, and most MTUs of pods.
pub const OTHERS: usize = 16;

/// Bytes that a card fits in, with room for what later versions add.
pub const BYTES: usize = 64 * 1024;

/// What one node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Card {
    /// Always `mtuscope.node/v1`.
    pub schema: &'static str,
    /// The node's name.
    pub node: String,
    /// Whether this is a node's or a pod's view.
    pub vantage: Vantage,
    /// Version of mtuscope.
    pub version: String,
    /// When it was made (RFC 3339).
    pub generated_at: Timestamp,
    /// Links with addresses that lead to peers or carry tunnels.
    pub links: Vec<CardLink>,
    /// Tunnels that carry pods' packets.
    pub tunnels: Vec<CardTunnel>,
    /// MTUs of the node's ends of pods' links, each once.
    pub pod_mtus: Vec<LinkMtu>,
    /// Hardware addresses of the node's own links, each once: which answers for an address are its own.
    pub hardware_addresses: Vec<String>,
    /// Addresses that kube-vip's manifests on this node name.
    pub vips: Vec<CardVip>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CardLink {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Device MTU.
    pub mtu: LinkMtu,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CardTunnel {
    /// The device.
    pub link: String,
    /// Its kind, as in `vxlan`.
    pub kind: &'static str,
    /// The family of its outer packets, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Network identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// UDP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Device MTU; absent in collect-metadata mode, where it means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<LinkMtu>,
    /// Bytes that it adds, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
}

/// An address that kube-vip is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CardVip {
    /// The address.
    pub address: IpAddr,
    /// Whether this node has it now.
    pub held: bool,
}

impl Card {
    /// The card of the node that this was read on.
    pub fn of(node: &Snapshot, config: &Config, version: &str, now: Now) -> Self {
        Self {
            schema: SCHEMA,
            node: config.node.clone(),
            vantage: config.vantage,
            version: version.to_owned(),
            generated_at: now.wall,
            links: links(node),
            tunnels: tunnels(node),
            pod_mtus: pod_mtus(node),
            hardware_addresses: macs(node).iter().take(MACS).map(ToString::to_string).collect(),
            vips: vips(node),
        }
    }
}

fn links(node: &Snapshot) -> Vec<CardLink> {
    let leads = |link: &&Link| matches!(node.topology.role(link.index), Role::Underlay | Role::Bridge);
    let row = |link: &Link| {
        let own = node.tables.addresses_of(link.index).filter(|own| own.global).map(|own| own.address);
        let addresses: Vec<IpAddr> = own.take(ADDRESSES).collect();
        let (name, role) = (link.name.clone(), node.topology.role(link.index));
        (!addresses.is_empty()).then_some(CardLink { name, role, mtu: link.mtu, addresses })
    };
    node.tables.links().iter().filter(leads).filter_map(row).take(LINKS).collect()
}

/// What nodes are held against one another for.
pub(crate) fn compared(node: &Snapshot) -> (Vec<CardLink>, Vec<CardTunnel>) {
    (links(node), tunnels(node))
}

/// Tunnels that carry pods' packets, as a card has them.
pub(crate) fn tunnels(node: &Snapshot) -> Vec<CardTunnel> {
    let row = |view: &TunnelView| {
        let tunnel = node.tables.link(view.link)?.tunnel.as_ref()?;
        Some(CardTunnel {
            link: view.name.clone(),
            kind: tunnel.kind.name(),
            family: tunnel.kind.outer().or(node.outer_family(view.link)),
            id: tunnel.id,
            port: tunnel.port,
            mtu: (!view.external).then_some(view.mtu),
            overhead: view.overhead,
        })
    };
    let carrying = node.topology.tunnels().iter().filter(|tunnel| tunnel.carries_pods);
    carrying.filter_map(row).take(TUNNELS).collect()
}

fn pod_mtus(node: &Snapshot) -> Vec<LinkMtu> {
    let pods = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod);
    let all: BTreeSet<LinkMtu> = pods.map(|link| link.mtu).collect();
    all.into_iter().take(OTHERS).collect()
}

/// Hardware addresses of this node's own links: what answers for an address on any of its networks.
pub(crate) fn macs(node: &Snapshot) -> BTreeSet<Mac> {
    let own = |link: &&Link| !matches!(node.topology.role(link.index), Role::Pod | Role::Tunnel);
    let all = node.tables.links().iter().filter(own).filter_map(|link| link.mac);
    all.filter(|mac| mac.is_unicast()).collect()
}

fn vips(node: &Snapshot) -> Vec<CardVip> {
    let pods = node.tables.declared.static_pods.known();
    let addresses: BTreeSet<IpAddr> =
        pods.into_iter().flat_map(|pods| &pods.kube_vip).flat_map(|pod| pod.addresses()).collect();
    let row = |address| CardVip { address, held: node.tables.is_own(address) };
    addresses.into_iter().take(OTHERS).map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::example::{Example, ip};
    use crate::units::Mono;

    fn card(node: &Example) -> Card {
        let now = Now { mono: Mono::new(Duration::ZERO), wall: Timestamp::UNIX_EPOCH };
        Card::of(&node.snapshot(), &Config::new("master-1"), "1.2.3", now)
    }

    #[test]
    fn a_node_says_what_leads_to_others_and_nothing_of_what_does_not() {
        let card = card(&Example::reference());
        let links: Vec<_> = card.links.iter().map(|link| (link.name.as_str(), link.mtu.bytes())).collect();
        assert_eq!(links, [("vmbr1", 1500)], "neither the management network nor a port that has no address");
        assert_eq!(card.links[0].addresses, [ip("10.0.0.11")]);
        let tunnel = &card.tunnels[0];
        assert_eq!((tunnel.kind, tunnel.id, tunnel.port), ("vxlan", Some(4096), Some(4789)));
        assert_eq!((tunnel.mtu, tunnel.overhead), (Some(LinkMtu::new(1450)), Some(50)));
        assert_eq!(card.pod_mtus, [LinkMtu::new(1450)], "two pods of one MTU");
    }

    #[test]
    fn it_is_small_however_large_the_node_is() {
        let mut node = Example::reference();
        for pod in 0..300_u16 {
            node = node.pod(
                &format!("cali{pod:011}"),
                1000 + u32::from(pod),
                &format!("10.244.{}.{}", pod / 200, pod % 200),
            );
        }
        for own in 0..200 {
            node = node.address("vmbr1", &format!("10.0.1.{own}"), 32);
        }
        let card = card(&node);
        assert_eq!((card.pod_mtus.len(), card.links[0].addresses.len()), (OTHERS, ADDRESSES));
        assert!(serde_json::to_vec(&card).unwrap().len() < BYTES / 8);
    }

    #[test]
    fn what_one_agent_writes_another_reads() {
        let card = card(&Example::reference());
        let told = read(&serde_json::to_vec(&card).unwrap()).unwrap();
        assert_eq!((told.node.as_str(), told.links.len(), told.tunnels.len()), ("master-1", 1, 1));
        assert_eq!(told.links[0].addresses, card.links[0].addresses);
        assert_eq!((told.tunnels[0].mtu, told.tunnels[0].kind.as_str()), (card.tunnels[0].mtu, "vxlan"));
    }
}
