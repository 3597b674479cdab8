//! A peer that a tunnel cannot lead to, because one of the entries for it is missing here.
//!
//! The kernel needs three ([`super::vtep`]), and each that is missing has a look of its own, measured on Linux 6.18:
//! without the forwarding entry packets vanish in the tunnel (`tx_dropped`), without the neighbour entry the node itself
//! answers "host unreachable" after three seconds, without the route they leave by the default route. Read from the
//! tables it is named at once, and it is the cause of what is measured: a tunnel that has nothing but entries cannot
//! deliver without one.
//!
//! An entry that looks different is not missing: one that is not permanent, a neighbour that is stale, a forwarding entry
//! by nexthop group, one that is all zeros. A peer whose every entry is gone was removed, unless the operator names it:
//! then the CNI here does not know the node, as when it has just joined and never got any further. One entry of a
//! node that nobody names is left over ([`VtepStale`](super::VtepStale)). Where the hardware address is there, and
//! forwarded under another one, the two differ and the other code says so. An entry that is missing on the peer is not
//! in these tables, and [`OverlayUnreachable`] locates it there.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::paths::{PathBlackHole, PathLimited, some_peer};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::{Mac, NeighbourState};
use crate::path::{PathKey, Plane};
use crate::remedy::{Fix, VtepEntry};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

use super::signature::{Signature, Told};
use super::vtep::{self, Forwarded, Vtep};
use super::vtep_mac_differs;
use super::{OverlayTransferStalls, OverlayUnreachable, PodUnreachable};

/// The rule.
#[derive(Debug)]
pub struct VtepIncomplete;

/// The three entries, as they stand.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The peer's tunnel address.
    pub address: IpAddr,
    /// The peer's node address on the tunnel's network, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<IpAddr>,
    /// The tunnel device.
    pub tunnel: String,
    /// The entries that are missing: any of `route`, `neighbour`, `forwarding`.
    pub missing: Vec<Missing>,
    /// The route to the peer's tunnel address or pods.
    pub route: Shown,
    /// The neighbour entry of the route's gateway.
    pub neighbour: Shown,
    /// The forwarding entry of that neighbour's hardware address.
    pub forwarding: Shown,
    /// That hardware address, from whichever of the two entries is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// What answers of the peer and what does not.
    pub signature: Signature,
}

/// One of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The route.
    Route,
    /// The neighbour entry.
    Neighbour,
    /// The neighbour entry is there, and failed to resolve.
    NeighbourFailed,
    /// The forwarding entry.
    Forwarding,
}

/// How an entry shows itself.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// The command that shows it.
    pub by: String,
    /// The line that it prints; absent where it prints none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

impl Check for VtepIncomplete {
    const ENTRY: Entry = Entry {
        code: "vtep-incomplete",
        area: Area::Overlay,
        severities: &[Severity::Critical],
        when: &["a route, a neighbour or a forwarding entry is missing for a peer that is there"],
        title: "tunnel lacks an entry for a peer",
        meaning: "A VXLAN tunnel finds a peer by three entries: a route, a neighbour, a forwarding entry. One of them is \
                  missing here, so pods here do not reach pods there, while the peer reaches everybody else.",
        quiet: "tunnels that flood, learn or ask a daemon need no entries; a peer whose every entry is gone was \
                removed; a route past the tunnel (CrossSubnet) is meant",
        look: &[
            Look { run: "ip route get TUNNEL_ADDRESS", see: "`dev TUNNEL`; any other link: the route is missing" },
            Look { run: "ip neigh show dev TUNNEL", see: "no line, or `FAILED`, for TUNNEL_ADDRESS" },
            Look { run: "bridge fdb show dev TUNNEL", see: "no `dst` for the neighbour's hardware address" },
        ],
        metrics: &["mtuscope_path_up{plane=\"overlay\"} == 0"],
        class: Class::Entries,
        silences: &[
            OverlayUnreachable::ENTRY.code,
            PodUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeVtepIncomplete", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for vtep in vtep::all(node)? {
            match vtep {
                Err(unread) => judgement.unread.push(unread),
                Ok(vtep) if vtep_mac_differs::is_seen(node, &vtep) || vtep::node_is_lost(node, vtep.key) => {}
                Ok(vtep) => {
                    let missing = missing(&vtep);
                    if !missing.is_empty() {
                        let subject = Subject::path(vtep.key);
                        let evidence = evidence(node, &vtep, missing);
                        judgement.raise_breaking(subject.clone(), Severity::Critical, evidence, vec![subject]);
                    }
                }
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, address, tunnel, missing, mac, .. } = evidence;
        let what = |one: &Missing| match one {
            Missing::Route => format!("no route to {address} into it"),
            Missing::Neighbour => format!("no neighbour entry for {address}"),
            Missing::NeighbourFailed => format!("no hardware address for {address}: its neighbour entry has failed"),
            Missing::Forwarding => match mac {
                Some(mac) => format!("no forwarding entry for its hardware address {mac}"),
                None => "no forwarding entry".into(),
            },
        };
        let missing: Vec<_> = missing.iter().map(what).collect();
        let proof = match evidence.signature.outer {
            Some(Told::Answers) => "; packets that are encapsulated here without it are answered",
            _ => "",
        };
        format!("{tunnel} does not lead to {}: there is {}{proof}.", words::at(peer, *address), words::list(&missing))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { address, underlay, tunnel, missing, mac, .. } = evidence;
        let (gateway, mac) = (*address, mac.clone());
        let entry = |one: &Missing| match one {
            Missing::Route => VtepEntry::Route { to: *address },
            Missing::Neighbour | Missing::NeighbourFailed => VtepEntry::Neighbour { gateway, mac: mac.clone() },
            Missing::Forwarding => VtepEntry::Forwarding { mac: mac.clone(), to: *underlay },
        };
        vec![Fix::VtepEntries { tunnel: tunnel.clone(), entries: missing.iter().map(entry).collect() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let (address, mac) = (IpAddr::from([10, 244, 2, 0]), "66:b1:4c:2e:00:12");
        let shown = |by: &str, line: Option<&str>| Shown { by: by.into(), line: line.map(str::to_owned) };
        let evidence = Evidence {
            peer: "master-2".into(),
            address,
            underlay: Some(IpAddr::from([10, 0, 0, 12])),
            tunnel: "vxlan.calico".into(),
            missing: vec![Missing::Forwarding],
            route: shown("ip route get 10.244.2.0", Some("10.244.2.0/26 via 10.244.2.0 dev vxlan.calico")),
            neighbour: shown(
                "ip neigh show to 10.244.2.0 dev vxlan.calico",
                Some("10.244.2.0 dev vxlan.calico lladdr 66:b1:4c:2e:00:12 PERMANENT"),
            ),
            forwarding: shown("bridge fdb show dev vxlan.calico | grep 66:b1:4c:2e:00:12", None),
            mac: Some(mac.into()),
            signature: Signature {
                underlay: Some(Told::Answers),
                overlay: Some(Told::Silent),
                pod: Some(Told::Silent),
                outer: Some(Told::Answers),
            },
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Overlay, address };
        (Subject::path(&key), Severity::Critical, evidence)
    }
}

/// What the tunnel lacks. Where no neighbour names a hardware address, the forwarding entry is looked for by the node
/// that it should lead to.
fn missing(vtep: &Vtep<'_>) -> Vec<Missing> {
    let failed = vtep.neighbour.is_some_and(|entry| entry.state == NeighbourState::Failed);
    let neighbour = if failed { Missing::NeighbourFailed } else { Missing::Neighbour };
    let unforwarded = match vtep.forwarded {
        Forwarded::Nowhere => true,
        Forwarded::Unasked => vtep.home.is_some() && vtep.home_mac.is_none(),
        Forwarded::To(_) | Forwarded::Group => false,
    };
    let all = [
        (vtep.unrouted.is_some(), Missing::Route),
        (!vtep.is_resolved(), neighbour),
        (unforwarded, Missing::Forwarding),
    ];
    all.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, which)| which).collect()
}

fn evidence(node: &Snapshot, vtep: &Vtep<'_>, missing: Vec<Missing>) -> Evidence {
    let (tunnel, gateway) = (&vtep.link.name, vtep.gateway);
    let mac: Option<Mac> = vtep.mac().or(vtep.home_mac);
    let to = vtep.unrouted.unwrap_or(vtep.key.address);
    let grep = mac.map(|mac| format!(" | grep {mac}")).unwrap_or_default();
    Evidence {
        peer: vtep.key.peer.clone(),
        address: gateway,
        underlay: vtep.home,
        tunnel: tunnel.clone(),
        missing,
        route: Shown { by: format!("ip route get {to}"), line: vtep::answer_line(node, to) },
        neighbour: Shown {
            by: format!("ip neigh show to {gateway} dev {tunnel}"),
            line: vtep.neighbour.map(|entry| vtep::neighbour_line(entry, tunnel)),
        },
        forwarding: Shown {
            by: format!("bridge fdb show dev {tunnel}{grep}"),
            line: mac.and_then(|mac| vtep::forwarding_of(&node.tables, vtep.link, mac)),
        },
        mac: mac.map(|mac| mac.to_string()),
        signature: Signature::of(node, &vtep.key.peer, vtep.key.family()),
    }
}

#[cfg(test)]
mod tests;
