//! This node's link to the others has another MTU than most others' have.
//!
//! Every node says of itself what the link is like that has its node address ([`card`](crate::card)), and this node holds
//! its own link to them against that. It is the odd node that raises this, so that one bad node is one finding
//! ([`alike`] says who is odd).
//!
//! On one network all must have one MTU: what a larger one sends, the smaller ones drop, and nobody says so. A
//! **warning**, and critical once it explains sizes that vanish. Where a router lies in between it can tell the sender
//! what fits, and pools of nodes with jumbo frames beside others are built on purpose: for information.
//!
//! A larger link whose routes say that no more is sent than the others take (`mtu` of the route) is no difference that
//! anybody meets.
//!
//! Left alone is what the operator has a word on (`expect.underlay_mtu`): each node is held against that, by another code.
//! Links that lead to no peer are never compared. A node whose agent does not answer has no say.
//!
//! A link that is smaller than the others' most often has a tunnel on it that was made for their size, by a CNI that looked
//! elsewhere: that is explained by this. So are paths that carry just what the others have, where this node's link is the larger one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::declared::CalicoMtuAutodetectedWrong;
use crate::checks::kernel::{FragmentationFailing, fragmentation_failing};
use crate::checks::links::TunnelNoHeadroom;
use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath, OverlayTransferStalls};
use crate::checks::paths::{self, PathBlackHole, PathLimited};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, small, words};
use crate::fact::Unread;
use crate::kernel::{Link, LinkIndex};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::{Fellows, Snapshot};
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

use super::NodeTunnelDiffers;
use super::alike::{self, NAMED, Standing};

/// The rule.
#[derive(Debug)]
pub struct NodeMtuDiffers;

/// What most have, and who.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// This node's link to the others.
    pub link: String,
    /// Its MTU.
    pub mtu: LinkMtu,
    /// The MTU that most have; of two nodes the other one's.
    pub most: LinkMtu,
    /// How many have that.
    pub have: usize,
    /// How many nodes were compared, this one included.
    pub compared: usize,
    /// Some of those that have it.
    pub peers: Vec<String>,
    /// Whether they are on this link's own network, with no router in between.
    pub same_network: bool,
    /// Links of this node that would have to change, those below first.
    pub change: Vec<Change>,
}

/// A link that would have to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// The link.
    pub link: String,
    /// The MTU that it has.
    pub mtu: LinkMtu,
}

impl Check for NodeMtuDiffers {
    const ENTRY: Entry = Entry {
        code: "node-mtu-differs",
        area: Area::Cluster,
        severities: &[Severity::Info, Severity::Warning, Severity::Critical],
        when: &[
            "routers lie between this node and those that differ, or there are only two nodes",
            "most others on this node's own network have another MTU",
            "and packets of that size were measured to vanish, or a tunnel does not fit",
        ],
        title: "this node's MTU is not that of the others",
        meaning: "The link by which this node reaches the others has another MTU than most of them have. The larger side \
                  sends what the smaller side drops without a word: small requests work, and large ones hang to and \
                  from this node alone.",
        quiet: "`expect.underlay_mtu` is the operator's word, and each node is held against that; a cluster in halves has \
                no odd node; links that lead to no peer are never compared",
        look: &[
            Look { run: "ip link show dev LINK", see: "its `mtu`" },
            Look {
                run: "curl -s http://PEER:9747/node",
                see: "`mtu` of the link with the peer's address is another one",
            },
            Look { run: "mtuscope probe PEER", see: "what the path carries" },
        ],
        metrics: &["mtuscope_link_mtu_bytes{role=~\"underlay|bridge\"}"],
        class: Class::Mixed,
        silences: &[
            TunnelNoHeadroom::ENTRY.code,
            NodeTunnelDiffers::ENTRY.code,
            CalicoMtuAutodetectedWrong::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            FragmentationFailing::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeNodeMtuDiffers", minutes: 15 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.addresses.read()?;
        let mut judgement = Judgement::default();
        if node.expect.underlay_mtu.is_some() {
            return Ok(judgement);
        }
        paths::some_peer(node)?;
        let Some(fellows) = node.fellows.read()? else { return Ok(judgement) };
        let votes = votes(node, fellows);
        if votes.is_empty() {
            return Err(fellows.too_few());
        }
        for (index, votes) in votes {
            if let Some(link) = node.tables.link(index) {
                judge_link(node, fellows, link, &votes, &mut judgement);
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { link, mtu, most, have, compared, peers, .. } = evidence;
        let who = match compared {
            2 => format!("the only other node, {}, has {most}", words::list(peers)),
            _ => format!("{have} of {compared} nodes have {most}, {} among them", words::list(peers)),
        };
        format!("{link}, by which this node reaches the others, has an MTU of {mtu}: {who}.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let most = evidence.most;
        let change = |change: &Change| Fix::LinkMtu { link: change.link.clone(), from: change.mtu, mtu: most };
        evidence.change.iter().map(change).collect()
    }

    fn example() -> (Subject, Severity, Evidence) {
        let (mtu, most) = (LinkMtu::new(1400), LinkMtu::new(1500));
        let evidence = Evidence {
            link: "vmbr1".into(),
            mtu,
            most,
            have: 3,
            compared: 4,
            peers: vec!["master-2".into(), "master-3".into(), "app-worker".into()],
            same_network: true,
            change: ["enp5s0", "vmbr1"].map(|link| Change { link: link.into(), mtu }).into(),
        };
        (Subject::Link("vmbr1".into()), Severity::Warning, evidence)
    }
}

/// What a smaller link explains of what stands on it.
const OF_SMALLER: &[&str] =
    &[TunnelNoHeadroom::ENTRY.code, NodeTunnelDiffers::ENTRY.code, CalicoMtuAutodetectedWrong::ENTRY.code];

/// What one node says of the link that has its address.
struct Vote {
    peer: String,
    mtu: LinkMtu,
    same_network: bool,
    /// What this node's route lets through at most.
    sent: Option<IpSize>,
}

/// By this node's link that leads there, what others say of theirs. One voice a node and link.
fn votes(node: &Snapshot, fellows: &Fellows) -> BTreeMap<LinkIndex, Vec<Vote>> {
    let mut votes: BTreeMap<LinkIndex, Vec<Vote>> = BTreeMap::new();
    for fellow in fellows.nodes() {
        let addresses = node.peer(&fellow.peer).into_iter().flat_map(|peer| peer.underlay);
        for address in addresses {
            let Some(theirs) = fellow.link_with(address) else { continue };
            let route = node.lookups.get(&address).and_then(|route| route.known());
            let Some(hop) = route.and_then(|route| route.hops.first()) else { continue };
            if !matches!(node.topology.role(hop.link), Role::Underlay | Role::Bridge) {
                continue;
            }
            let voices = votes.entry(hop.link).or_default();
            if voices.iter().all(|vote| vote.peer != fellow.peer) {
                let (same_network, sent) = (hop.gateway.is_none(), route.and_then(|route| route.mtu));
                voices.push(Vote { peer: fellow.peer.clone(), mtu: theirs.mtu, same_network, sent });
            }
        }
    }
    votes
}

fn judge_link(node: &Snapshot, fellows: &Fellows, link: &Link, votes: &[Vote], judgement: &mut Judgement<Evidence>) {
    let subject = Subject::Link(link.name.clone());
    let values: Vec<LinkMtu> = votes.iter().map(|vote| vote.mtu).collect();
    let (most, have, compared) = match alike::stand(link.mtu, &values, node, fellows) {
        Err(why) => return judgement.unread.push((subject, why)),
        Ok(Standing::Alike) => return,
        Ok(Standing::Odd { most, have, of }) => (most, have, of),
        Ok(Standing::Pair(other)) => (other, 1, 2),
    };
    let theirs = || votes.iter().filter(|vote| vote.mtu == most);
    let fits = |vote: &Vote| vote.sent.is_some_and(|sent| sent <= most.carries());
    if link.mtu > most && theirs().all(fits) {
        return;
    }
    let same_network = theirs().any(|vote| vote.same_network);
    let severity = if same_network && compared > 2 { Severity::Warning } else { Severity::Info };
    let evidence = Evidence {
        link: link.name.clone(),
        mtu: link.mtu,
        most,
        have,
        compared,
        peers: theirs().map(|vote| vote.peer.clone()).take(NAMED).collect(),
        same_network,
        change: change(node, link, most),
    };
    let (causes, breaks) = if link.mtu < most {
        (Causes::Codes(OF_SMALLER), Vec::new())
    } else {
        let smaller = |peer: &str| votes.iter().any(|vote| vote.peer == peer && vote.mtu == most);
        let cut =
            small::breaks(node, most.carries(), |key| smaller(&key.peer) && node.paths[key].via.contains(&link.index));
        (Causes::Named, cut.into_iter().chain(fragmentation_failing::TOO_LARGE).collect())
    };
    judgement.raise_causing(subject, severity, evidence, causes, breaks);
}

/// A link carries no more than what it stands on, so what lies below grows first; nothing below has to shrink.
fn change(node: &Snapshot, link: &Link, most: LinkMtu) -> Vec<Change> {
    let chain = node.topology.chain(link.index);
    let below = chain.iter().skip(1).rev().filter_map(|&index| node.tables.link(index));
    let small = below.filter(|below| below.mtu < most);
    let change = |link: &Link| Change { link: link.name.clone(), mtu: link.mtu };
    small.chain([link]).map(change).collect()
}

#[cfg(test)]
mod tests;
