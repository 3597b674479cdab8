//! A peer whose node address answers nothing.
//!
//! The prober has tried ICMP, UDP and TCP before it says unreachable, so a host that merely filters ICMP does not get
//! here. The peer's neighbour entry tells where to look: FAILED means that nobody on the link answers for the address;
//! a resolved one means that a filter eats the packets, or that the answers come back another way.
//!
//! A default gateway that stands in for a peer is no node of the cluster and may filter everything. It counts as
//! critical only if it does not even resolve.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayMtuExceedsPath, OverlayTransferStalls, OverlayUnreachable, PodUnreachable};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::{Hop, NeighbourState};
use crate::path::{NotSent, PathKey, Plane, Refusal, Unreachable, Verdict};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

use super::{PathBlackHole, PathLimited, judge_each};

/// The rule.
#[derive(Debug)]
pub struct PeerUnreachable;

/// What was tried, and what the kernel knows of the way.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// Its node address.
    pub address: IpAddr,
    /// What came back.
    pub why: Unreachable,
    /// The link that the route leaves by; absent where there is no route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves_by: Option<String>,
    /// The address that is resolved on that link: the peer's, or that of the router towards it.
    pub next_hop: IpAddr,
    /// State of that neighbour entry; absent where there is none or it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<NeighbourState>,
    /// Whether it is the default gateway, taken for want of a peer.
    pub gateway: bool,
}

impl Check for PeerUnreachable {
    const ENTRY: Entry = Entry {
        code: "peer-unreachable",
        area: Area::Paths,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "the default gateway, asked for want of a peer, answers nothing though it resolves",
            "a peer's node answers nothing",
        ],
        title: "peer does not answer",
        meaning: "The peer's node address answers neither ICMP nor UDP nor TCP, so nothing that pods send there \
                  arrives.",
        quiet: "a host that filters ICMP and answers UDP or TCP, even by RST, is no finding; a peer that was deleted \
                is forgotten",
        look: &[
            Look { run: "ip route get ADDRESS", see: "`dev` and `via` are those that were meant" },
            Look {
                run: "ip neigh show to ADDRESS",
                see: "`FAILED`: nobody on that link answers for the address; `REACHABLE`: a filter, or answers that \
                      come back another way",
            },
            Look {
                run: "ping -c 3 ADDRESS",
                see: "`100% packet loss`; `Destination Host Unreachable` from this node: no neighbour",
            },
            Look {
                run: "tcpdump -ni LINK host ADDRESS",
                see: "requests leave; answers come in by this link, by another, or not at all",
            },
        ],
        metrics: &["mtuscope_path_up{plane=\"underlay\"} == 0", "mtuscope_paths{verdict=\"unreachable\"}"],
        class: Class::NoThread { why: "every kind of outage ends here: see what is named as its cause" },
        silences: &[
            OverlayUnreachable::ENTRY.code,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            PodUnreachable::ENTRY.code,
        ],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopePeerUnreachable", minutes: 2 },
    };
    const IN_PODS: bool = true;
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        judge_each(node, &[Plane::Underlay], |case| match case.verdict {
            Verdict::Unreachable { why } => {
                let evidence = evidence(node, case.key, *why);
                let resolves = evidence.neighbour != Some(NeighbourState::Failed);
                let mild = evidence.gateway && resolves;
                Some((if mild { Severity::Warning } else { Severity::Critical }, evidence))
            }
            _ => None,
        })
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, address, why, leaves_by, next_hop, neighbour, gateway } = evidence;
        let who = words::at(if *gateway { "The default gateway" } else { peer }, *address);
        let on = leaves_by.as_ref().map(|link| format!(" on {link}")).unwrap_or_default();
        let state = match neighbour {
            Some(NeighbourState::Failed) => format!("; nothing resolves {next_hop}{on}"),
            Some(NeighbourState::Incomplete) => format!("; {next_hop} is not resolved{on} yet"),
            Some(state) if is_doubtful(*state) => format!("; {next_hop} was resolved{on} before"),
            Some(_) => format!("; {next_hop} is resolved{on}"),
            None => on,
        };
        format!("{who} {}{state}.", told(*why))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { peer, address, leaves_by, neighbour, .. } = evidence;
        let resolved = neighbour.and_then(|state| match state {
            NeighbourState::Failed => Some(false),
            state if is_doubtful(state) => None,
            NeighbourState::Incomplete | NeighbourState::None => None,
            _ => Some(true),
        });
        let peer = if evidence.gateway { "the gateway".to_owned() } else { peer.clone() };
        vec![Fix::PeerAnswers { peer, address: *address, link: leaves_by.clone(), resolved }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 0, 0, 12]);
        let evidence = Evidence {
            peer: "master-2".into(),
            address,
            why: Unreachable::Silent,
            leaves_by: Some("vmbr1".into()),
            next_hop: address,
            neighbour: Some(NeighbourState::Failed),
            gateway: false,
        };
        (
            Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Underlay, address }),
            Severity::Critical,
            evidence,
        )
    }
}

/// Whether the entry is left from before: the kernel has not asked again, or has had no answer yet.
const fn is_doubtful(state: NeighbourState) -> bool {
    matches!(state, NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe)
}

/// What came back, as the end of a sentence.
pub(in crate::checks) fn told(why: Unreachable) -> String {
    match why {
        Unreachable::Silent => "answers nothing".into(),
        Unreachable::Refused { by, why } => format!("is refused by {by} ({})", refused(why)),
        Unreachable::NotSent { why } => match why {
            NotSent::NoRoute => "cannot be sent to: no route, or its neighbour entry failed".into(),
            NotSent::Filtered => "cannot be sent to: a filter on this node forbids it".into(),
            NotSent::TooLarge => "cannot be sent to: even small packets exceed a local MTU".into(),
            NotSent::Other(errno) => format!("cannot be sent to: the kernel refuses with errno {errno}"),
        },
    }
}

const fn refused(why: Refusal) -> &'static str {
    match why {
        Refusal::NetworkUnreachable => "network unreachable",
        Refusal::HostUnreachable => "host unreachable",
        Refusal::ProtocolUnreachable => "protocol unreachable",
        Refusal::PortUnreachable => "port unreachable",
        Refusal::TunnelPortUnreachable => "tunnel port unreachable",
        Refusal::Prohibited => "prohibited by a filter",
        Refusal::TtlExceeded => "time exceeded: a routing loop",
        Refusal::Other => "destination unreachable",
    }
}

fn evidence(node: &Snapshot, key: &PathKey, why: Unreachable) -> Evidence {
    let hop: Option<Hop> = node.lookups.get(&key.address).and_then(|route| route.known()?.hops.first().copied());
    let next_hop = hop.and_then(|hop| hop.gateway).unwrap_or(key.address);
    let entry = hop.and_then(|hop| node.tables.neighbours_at(hop.link, next_hop).next());
    Evidence {
        peer: key.peer.clone(),
        address: key.address,
        why,
        leaves_by: hop.and_then(|hop| node.tables.link(hop.link)).map(|link| link.name.clone()),
        next_hop,
        neighbour: entry.map(|entry| entry.state),
        gateway: node.peers.iter().any(|peer| peer.name == key.peer && peer.gateway),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::Neighbour;
    use crate::snapshot::example::{Example, black_hole, ip, no_right, no_route, silent};

    fn judge(example: &Example) -> Judgement<Evidence> {
        PeerUnreachable::judge(&example.snapshot()).unwrap()
    }

    fn lost() -> Example {
        Example::reference().verdict("master-2", Plane::Underlay, silent())
    }

    fn with_neighbour(mut node: Example, state: NeighbourState) -> Example {
        let link = node.index("vmbr1");
        let entry = Neighbour { link, address: ip("10.0.0.12"), mac: None, state, external: false };
        let Fact::Known(neighbours) = &mut node.tables.neighbours else { unreachable!() };
        neighbours.push(entry);
        node
    }

    #[test]
    fn a_peer_that_answers_nothing_is_critical_and_its_neighbour_entry_is_told() {
        let judgement = judge(&with_neighbour(lost(), NeighbourState::Failed));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Critical));
        assert_eq!(
            PeerUnreachable::summary(&raised.subject, &raised.evidence),
            "master-2 (10.0.0.12) answers nothing; nothing resolves 10.0.0.12 on vmbr1."
        );
        let resolved = &judge(&with_neighbour(lost(), NeighbourState::Reachable)).raised[0];
        assert!(PeerUnreachable::summary(&resolved.subject, &resolved.evidence).ends_with("is resolved on vmbr1."));
    }

    #[test]
    fn an_entry_from_before_proves_neither_wire_nor_filter() {
        let resolved = |state| {
            let raised = judge(&with_neighbour(lost(), state)).raised.remove(0);
            let told = PeerUnreachable::summary(&raised.subject, &raised.evidence);
            let [Fix::PeerAnswers { resolved, .. }] = PeerUnreachable::fixes(&raised.subject, &raised.evidence)[..]
            else {
                panic!("one fix")
            };
            (resolved, told.ends_with("10.0.0.12 was resolved on vmbr1 before."))
        };
        assert_eq!(resolved(NeighbourState::Probe), (None, true));
        assert_eq!(resolved(NeighbourState::Stale), (None, true));
        assert_eq!(resolved(NeighbourState::Reachable), (Some(true), false));
    }

    #[test]
    fn a_peer_that_answers_something_is_quiet() {
        assert!(judge(&Example::reference()).raised.is_empty());
        assert!(judge(&Example::reference().verdict("master-2", Plane::Underlay, black_hole(68))).raised.is_empty());
        let inside = Example::reference().verdict("master-2", Plane::Overlay, silent());
        assert!(judge(&inside).raised.is_empty(), "the tunnel's trouble is another code");
    }

    #[test]
    fn a_gateway_may_filter_and_is_critical_only_when_it_does_not_resolve() {
        let gateway = |mut node: Example| {
            node.peers[0].gateway = true;
            judge(&node).raised[0].severity
        };
        assert_eq!(gateway(lost()), Severity::Warning);
        assert_eq!(gateway(with_neighbour(lost(), NeighbourState::Stale)), Severity::Warning);
        assert_eq!(gateway(with_neighbour(lost(), NeighbourState::Failed)), Severity::Critical);
    }

    #[test]
    fn the_kernels_refusal_to_send_is_told() {
        let raised = &judge(&Example::reference().verdict("master-3", Plane::Underlay, no_route())).raised[0];
        assert!(PeerUnreachable::summary(&raised.subject, &raised.evidence).contains("no route"));
    }

    #[test]
    fn a_path_that_could_not_be_probed_is_not_concluded() {
        let judgement = judge(&Example::reference().unmeasured("master-2", Plane::Underlay, no_right()));
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread[0].1, no_right());
    }
}
