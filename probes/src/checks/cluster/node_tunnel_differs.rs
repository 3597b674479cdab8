//! This node's tunnel is not made like most others' are.
//!
//! Nodes of one pod network speak through tunnels of one kind, one network identifier and one UDP port; who has another one
//! is heard by nobody, and hears nobody. That comes of a CNI that was reconfigured and not started again everywhere, of a
//! migration that stopped half-way, of a node that was set up from another image. A **warning**, and critical as the
//! cause of what is lost.
//!
//! The MTU is compared too. A tunnel that is larger than the others' takes packets that pods over there cannot: a
//! **warning**. One that is smaller costs only this node's pods: for information.
//!
//! A tunnel is held against the tunnel of its name over there. Where there is none of that name, and each side has one of
//! that outer family and no more, it is held against that one: this is how one node that still has IPIP is seen. Tunnels
//! that carry no pods are nobody else's business, and the MTU is not compared where the operator has a word on it
//! (`expect.overlay_mtu`) or in collect-metadata mode, where it means nothing.
//!
//! It is the odd node that raises this ([`alike`]).

use schemars::JsonSchema;
use serde::Serialize;

use crate::card::{self, CardTunnel, ToldTunnel};
use crate::checks::links::{PodMtuTooLarge, TunnelNoHeadroom, TunnelUndersized};
use crate::checks::overlay::{
    OverlayMtuExceedsPath, OverlayTransferStalls, OverlayUnreachable, PodUnreachable, TunnelPortClosed,
};
use crate::checks::paths::{self, PathMtuAsymmetric};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::fellows::Fellow;
use crate::snapshot::{Fellows, Snapshot};
use crate::subject::Subject;
use crate::units::LinkMtu;

use super::alike::{self, NAMED, Standing};

/// The rule.
#[derive(Debug)]
pub struct NodeTunnelDiffers;

/// What is different.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// This node's tunnel.
    pub tunnel: String,
    /// Each thing that most others have otherwise.
    pub differs: Vec<Differs>,
    /// How many nodes were compared, this one included.
    pub compared: usize,
    /// Some of those that have it otherwise.
    pub peers: Vec<String>,
    /// Bytes that the tunnel adds, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
}

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Differs {
    /// `kind`, `id`, `port` or `mtu`.
    pub what: What,
    /// What it is here.
    pub here: String,
    /// What it is on most nodes.
    pub most: String,
}

/// What of a tunnel is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The kind of its packets.
    Kind,
    /// The network identifier.
    Id,
    /// The UDP port.
    Port,
    /// The device MTU.
    Mtu,
}

impl What {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Id => "network identifier",
            Self::Port => "UDP port",
            Self::Mtu => "MTU",
        }
    }
}

/// What another MTU explains.
const OF_MTU: &[&str] = &[
    TunnelNoHeadroom::ENTRY.code,
    TunnelUndersized::ENTRY.code,
    PodMtuTooLarge::ENTRY.code,
    PathMtuAsymmetric::ENTRY.code,
    OverlayMtuExceedsPath::ENTRY.code,
];

/// What another kind, identifier or port explains.
const OF_REST: &[&str] = &[
    TunnelPortClosed::ENTRY.code,
    OverlayUnreachable::ENTRY.code,
    OverlayTransferStalls::ENTRY.code,
    PodUnreachable::ENTRY.code,
];

impl Check for NodeTunnelDiffers {
    const ENTRY: Entry = Entry {
        code: "node-tunnel-differs",
        area: Area::Cluster,
        severities: &[Severity::Info, Severity::Warning, Severity::Critical],
        when: &[
            "its MTU alone is different, and smaller; or there are only two nodes",
            "its MTU is larger than the others', or its kind, network identifier or UDP port is another one",
            "and packets through it were measured to be lost",
        ],
        title: "this node's tunnel is not made like the others'",
        meaning: "Nodes of one pod network understand each other only through tunnels of one kind, network identifier and \
                  UDP port. This node's tunnel differs from most others', so its pods are cut off from theirs, or their \
                  large packets are.",
        quiet: "a tunnel that carries no pods; an MTU on which `expect.overlay_mtu` has a word; a cluster in halves has \
                no odd node",
        look: &[
            Look { run: "ip -d link show dev TUNNEL", see: "kind, `id`, `dstport` and `mtu`" },
            Look { run: "curl -s http://PEER:9747/node", see: "the same under `tunnels`, and not as here" },
        ],
        metrics: &["mtuscope_tunnel_info", "mtuscope_link_mtu_bytes{role=\"tunnel\"}"],
        class: Class::Mixed,
        silences: &[
            TunnelNoHeadroom::ENTRY.code,
            TunnelUndersized::ENTRY.code,
            PodMtuTooLarge::ENTRY.code,
            PathMtuAsymmetric::ENTRY.code,
            OverlayMtuExceedsPath::ENTRY.code,
            TunnelPortClosed::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PodUnreachable::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeNodeTunnelDiffers", minutes: 15 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        let tunnels = card::tunnels(node);
        if tunnels.is_empty() {
            return Ok(judgement);
        }
        paths::some_peer(node)?;
        let Some(fellows) = node.fellows.read()? else { return Ok(judgement) };
        for tunnel in &tunnels {
            judge_tunnel(node, fellows, tunnel, &tunnels, &mut judgement);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, differs, compared, peers, .. } = evidence;
        let one = |one: &Differs| format!("{} {} in place of {}", one.what.words(), one.here, one.most);
        let all: Vec<String> = differs.iter().map(one).collect();
        let who = match compared {
            2 => format!("the only other node, {}", words::list(peers)),
            _ => format!("on most of {compared} nodes, {} among them", words::list(peers)),
        };
        format!("{tunnel} is not made as {who}: {}.", all.join(", "))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { tunnel, differs, overhead, .. } = evidence;
        let (sizes, others): (Vec<&Differs>, Vec<&Differs>) = differs.iter().partition(|one| one.what == What::Mtu);
        let told = |one: &&Differs| (one.what.words(), one.most.clone());
        let made = (!others.is_empty() || overhead.is_none()).then(|| Fix::TunnelLikeOthers {
            tunnel: tunnel.clone(),
            most: differs.iter().map(|one| told(&one)).collect(),
        });
        let size = sizes.first().filter(|_| others.is_empty()).and_then(|one| {
            let mtu = LinkMtu::new(one.most.parse().ok()?);
            Some(Fix::OverlayMtu { tunnel: tunnel.clone(), mtu, overhead: (*overhead)? })
        });
        made.into_iter().chain(size).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            tunnel: "vxlan.calico".into(),
            differs: vec![Differs { what: What::Port, here: "8472".into(), most: "4789".into() }],
            compared: 4,
            peers: vec!["master-2".into(), "master-3".into(), "app-worker".into()],
            overhead: Some(50),
        };
        (Subject::Link("vxlan.calico".into()), Severity::Warning, evidence)
    }
}

fn judge_tunnel(
    node: &Snapshot,
    fellows: &Fellows,
    own: &CardTunnel,
    all: &[CardTunnel],
    judgement: &mut Judgement<Evidence>,
) {
    let subject = Subject::Link(own.link.clone());
    let nodes = fellows.nodes();
    let others: Vec<(&str, &ToldTunnel)> =
        nodes.iter().filter_map(|fellow| Some((fellow.peer.as_str(), counterpart(own, all, fellow)?))).collect();
    match compare(node, fellows, own, &others) {
        Err(why) => judgement.unread.push((subject, why)),
        Ok(found) if found.differs.is_empty() => {}
        Ok(found) => {
            let larger =
                |one: &Differs| own.mtu.is_some_and(|mtu| one.most.parse().is_ok_and(|most: u32| mtu.bytes() > most));
            let matters = |one: &Differs| one.what != What::Mtu || larger(one);
            let severity = match found.compared {
                2 => Severity::Info,
                _ if found.differs.iter().any(matters) => Severity::Warning,
                _ => Severity::Info,
            };
            let only_mtu = found.differs.iter().all(|one| one.what == What::Mtu);
            let causes = Causes::NamedAnd(if only_mtu { OF_MTU } else { OF_REST });
            judgement.raise_causing(subject, severity, found, causes, Vec::new());
        }
    }
}

/// The tunnel over there that this one speaks with.
fn counterpart<'a>(own: &CardTunnel, all: &[CardTunnel], fellow: &'a Fellow) -> Option<&'a ToldTunnel> {
    let theirs = &fellow.card.tunnels;
    let named = theirs.iter().find(|tunnel| tunnel.link == own.link);
    named.or_else(|| {
        let mut same = theirs.iter().filter(|tunnel| tunnel.family == own.family);
        let alone = all.iter().filter(|tunnel| tunnel.family == own.family).count() == 1;
        same.next().filter(|_| alone && same.next().is_none())
    })
}

fn compare(
    node: &Snapshot,
    fellows: &Fellows,
    own: &CardTunnel,
    others: &[(&str, &ToldTunnel)],
) -> Result<Evidence, Unread> {
    let mut found = Evidence {
        tunnel: own.link.clone(),
        differs: Vec::new(),
        compared: others.len() + 1,
        peers: Vec::new(),
        overhead: own.overhead,
    };
    let mut each = |what, here: String, there: fn(&ToldTunnel) -> String| -> Result<(), Unread> {
        let theirs: Vec<String> = others.iter().map(|(_, tunnel)| there(tunnel)).collect();
        let values: Vec<&str> = theirs.iter().map(String::as_str).collect();
        let most = match alike::stand(here.as_str(), &values, node, fellows)? {
            Standing::Alike => return Ok(()),
            Standing::Odd { most, .. } | Standing::Pair(most) => most,
        };
        let have = others.iter().zip(&theirs).filter(|(_, value)| *value == most).map(|((peer, _), _)| *peer);
        found.peers = have.take(NAMED).map(str::to_owned).collect();
        found.differs.push(Differs { what, most: most.to_owned(), here });
        Ok(())
    };
    each(What::Kind, own.kind.to_owned(), |tunnel| tunnel.kind.clone())?;
    each(What::Id, text(own.id), |tunnel| text(tunnel.id))?;
    each(What::Port, text(own.port.map(u32::from)), |tunnel| text(tunnel.port.map(u32::from)))?;
    if node.expect.overlay_mtu.is_none() && own.mtu.is_some() {
        each(What::Mtu, text(own.mtu.map(LinkMtu::bytes)), |tunnel| text(tunnel.mtu.map(LinkMtu::bytes)))?;
    }
    Ok(found)
}

fn text(number: Option<u32>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests;
