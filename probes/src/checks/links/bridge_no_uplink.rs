//! A bridge that is to lead to other machines and has no port that does.
//!
//! It has its address, it is up, the tunnel is bound to it; only the NIC is not, or no longer, its port: left out of
//! `bridge-ports`, or renamed after a change of hardware. A port that is there and down is a dead link and another code.
//! Which bridges and which ports count is argued in `bridges`.
//!
//! A bridge takes the smallest MTU of its ports, and 1500 where it has none: a tunnel made for jumbo frames then has no
//! headroom, which comes and goes with the port.
//!
//! Without carrier nothing at all is behind the bridge, and it is raised at once, in place of a link that is down. With
//! carrier some port works, of a guest or a pod, and a bridge that joins only guests may be meant so. Then the peers
//! decide. All answer: they are guests of this machine, and nothing is wrong. None answers: critical. Some answer: the
//! others may be behind the missing port, or be guests that are off; a warning that explains nothing away. Where a peer
//! could not be measured and none is missed, nothing is concluded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::cluster::VipInterfaceMissing;
use crate::checks::overlay::{OverlayTransferStalls, OverlayUnreachable, PodUnreachable};
use crate::checks::paths::PeerUnreachable;
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::kernel::{Link, LinkIndex};
use crate::path::{Plane, Verdict};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

use super::{TunnelNoHeadroom, bridges};

/// The rule.
#[derive(Debug)]
pub struct BridgeNoUplink;

/// A bridge, what hangs on it, and whom it does not reach.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The bridge.
    pub bridge: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its ports, none of which leads to the wire.
    pub ports: Vec<String>,
    /// Whether one of these works; without carrier nothing is behind the bridge.
    pub carrier: bool,
    /// Links that stand on it.
    pub carries: Vec<String>,
    /// Peers that are to be reached by it and are not.
    pub lost: Vec<String>,
    /// Peers that are reached by it all the same: guests of this machine.
    pub answering: Vec<String>,
    /// NICs that are ports of nothing, have no address and carry nothing.
    pub free: Vec<String>,
}

impl Check for BridgeNoUplink {
    const ENTRY: Entry = Entry {
        code: "bridge-no-uplink",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["some peers behind the bridge answer and some do not", "none answers, or the bridge has no carrier"],
        title: "bridge without a way to the wire",
        meaning: "A bridge holds the address and the tunnel that lead to other nodes, and no NIC is a port of it. It \
                  looks configured; nothing that leaves by it leaves the machine.",
        quiet: "a bridge that joins guests or pods alone needs no uplink: with carrier, and all peers behind it \
                answering, nothing is said",
        look: &[
            Look { run: "bridge link", see: "no line of a NIC has `master BRIDGE`" },
            Look { run: "ip -br link show master BRIDGE", see: "only tap, veth and the like are listed, or nothing" },
            Look { run: "ip -br addr", see: "BRIDGE has the address of the cluster's network" },
            Look {
                run: "ip -br link",
                see: "a NIC that is UP and has no master is the one that is missed, perhaps under a new name",
            },
        ],
        metrics: &["mtuscope_link_up", "mtuscope_path_up == 0"],
        class: Class::NoThread { why: "no public thread known: found on a Proxmox node after a change of hardware" },
        silences: &[
            PeerUnreachable::ENTRY.code,
            OverlayUnreachable::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PodUnreachable::ENTRY.code,
            TunnelNoHeadroom::ENTRY.code,
            VipInterfaceMissing::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeBridgeNoUplink", minutes: 1 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.addresses.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        for bridge in without_uplink(node) {
            let subject = Subject::Link(bridge.name.clone());
            let reached = Reached::by(node, bridge);
            let evidence = |lost, answering| evidence(node, bridge, lost, answering);
            match reached {
                _ if has_nothing_behind(bridge) => {
                    let itself = vec![subject.clone()];
                    let evidence = evidence(reached.everyone(), Vec::new());
                    judgement.raise_breaking(subject, Severity::Critical, evidence, itself);
                }
                Reached { lost, answering, unread } if !lost.is_empty() && !answering.is_empty() => {
                    drop(unread);
                    judgement.raise_alone(subject, Severity::Warning, evidence(lost, answering));
                }
                Reached { unread: Some(why), .. } => judgement.unread.push((subject, why)),
                Reached { lost, answering, .. } if !lost.is_empty() => {
                    judgement.raise(subject, Severity::Critical, evidence(lost, answering));
                }
                Reached { .. } => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { bridge, ports, carries, lost, answering, free, .. } = evidence;
        let has = match ports.as_slice() {
            [] => format!("{bridge} has no port"),
            ports => format!("{bridge} has no port that leads to the wire, only {}", words::list(ports)),
        };
        let so = match (carries.as_slice(), lost.as_slice()) {
            ([], []) => ".".into(),
            (carries, []) => format!(", so nothing passes {} above it.", words::list(carries)),
            (_, lost) if !answering.is_empty() => {
                let (lost, answering) = (words::list(lost), words::list(answering));
                format!(": {answering} can be reached on this machine, {lost} cannot.")
            }
            ([], lost) => format!(", so nothing reaches {}.", words::list(lost)),
            (carries, lost) => {
                format!(", so nothing passes {} above it or reaches {}.", words::list(carries), words::list(lost))
            }
        };
        let free = match free.as_slice() {
            [] => String::new(),
            [one] => format!(" {one} is free."),
            several => format!(" {} are free.", words::list(several)),
        };
        format!("{has}{so}{free}")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        vec![Fix::BridgePort { bridge: evidence.bridge.clone(), free: evidence.free.clone() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            bridge: "vmbr1".into(),
            addresses: vec![IpAddr::from([10, 0, 0, 11])],
            ports: Vec::new(),
            carrier: false,
            carries: vec!["vxlan.calico".into()],
            lost: vec!["master-2".into(), "master-3".into()],
            answering: Vec::new(),
            free: vec!["enp5s0".into()],
        };
        (Subject::Link("vmbr1".into()), Severity::Critical, evidence)
    }
}

/// Bridges that this rule raises whatever was measured.
pub(super) fn cut_off(node: &Snapshot) -> BTreeSet<LinkIndex> {
    without_uplink(node).filter(|bridge| has_nothing_behind(bridge)).map(|bridge| bridge.index).collect()
}

fn without_uplink(node: &Snapshot) -> impl Iterator<Item = &Link> {
    bridges::on_the_way(node).filter(|bridge| bridge.up && bridges::uplinks(node, bridge).next().is_none())
}

fn has_nothing_behind(bridge: &Link) -> bool {
    bridge.carrier == Some(false)
}

/// Peers that are to be reached by a bridge.
#[derive(Default)]
struct Reached {
    lost: Vec<String>,
    answering: Vec<String>,
    /// Why one of them is neither.
    unread: Option<Unread>,
}

impl Reached {
    /// One answer on any address of a peer counts for the peer.
    fn by(node: &Snapshot, bridge: &Link) -> Self {
        let leaving = |path: &crate::snapshot::Path| path.via.contains(&bridge.index);
        let paths = node.paths.iter().filter(|(key, path)| key.plane == Plane::Underlay && leaving(path));
        let mut best: BTreeMap<&str, Result<bool, Unread>> = BTreeMap::new();
        for (key, path) in paths {
            let answers = path.verdict().map(|verdict| !matches!(verdict, Verdict::Unreachable { .. }));
            let known = best.entry(&key.peer).or_insert_with(|| answers.clone());
            if *known != Ok(true) && answers != Ok(false) {
                *known = answers;
            }
        }
        let mut reached = Self::default();
        for (peer, answers) in best {
            match answers {
                Ok(true) => reached.answering.push(peer.into()),
                Ok(false) => reached.lost.push(peer.into()),
                Err(why) => reached.unread = Some(why),
            }
        }
        reached
    }

    /// What was measured before the bridge lost its port holds no longer.
    fn everyone(self) -> Vec<String> {
        let all: BTreeSet<_> = self.lost.into_iter().chain(self.answering).collect();
        all.into_iter().collect()
    }
}

fn evidence(node: &Snapshot, bridge: &Link, lost: Vec<String>, answering: Vec<String>) -> Evidence {
    let own = node.tables.addresses_of(bridge.index).filter(|own| own.global);
    Evidence {
        bridge: bridge.name.clone(),
        addresses: own.map(|own| own.address).collect(),
        ports: bridges::ports(node, bridge).map(|port| port.name.clone()).collect(),
        carrier: !has_nothing_behind(bridge),
        carries: bridges::above(node, bridge),
        lost,
        answering,
        free: free_nics(node),
    }
}

/// What could be a port. In a container a NIC is a veth whose other end is elsewhere.
fn free_nics(node: &Snapshot) -> Vec<String> {
    let links = || node.tables.links().iter();
    let is_nic = |link: &Link| match link.kind.as_str() {
        "device" | "bond" | "team" => true,
        "veth" => link.other_namespace.is_some() && node.topology.role(link.index) != Role::Pod,
        _ => false,
    };
    let is_used = |link: &Link| {
        let carries = links().any(|above| above.lower == Some(link.index) || above.master == Some(link.index));
        carries || link.master.is_some() || node.tables.addresses_of(link.index).any(|own| own.global)
    };
    links().filter(|link| is_nic(link) && !is_used(link)).map(|link| link.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Source};
    use crate::path::Plane;
    use crate::snapshot::example::{Example, failed, no_right, silent};

    fn judge(example: &Example) -> Judgement<Evidence> {
        BridgeNoUplink::judge(&example.snapshot()).unwrap()
    }

    fn raised(example: &Example) -> Vec<(String, Severity)> {
        judge(example).raised.iter().map(|raised| (raised.subject.to_string(), raised.severity)).collect()
    }

    fn told(example: &Example) -> String {
        let judgement = judge(example);
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        BridgeNoUplink::summary(&raised.subject, &raised.evidence)
    }

    /// The NIC is no port of vmbr1, which has no other and so no carrier.
    fn unplugged() -> Example {
        let unplug = |link: &mut Link| link.master = None;
        Example::reference().with("enp5s0", unplug).with("vmbr1", |link| link.carrier = Some(false))
    }

    /// A guest's port keeps the bridge up.
    fn with_guest(example: Example) -> Example {
        let guest = example.device("veth102i0", "veth", 1500).port("veth102i0", "vmbr1");
        guest.with("veth102i0", |link| link.other_namespace = Some(9)).with("vmbr1", |link| link.carrier = Some(true))
    }

    fn critical(bridge: &str) -> Vec<(String, Severity)> {
        vec![(bridge.into(), Severity::Critical)]
    }

    #[test]
    fn healthy_machines_are_quiet() {
        assert_eq!(raised(&Example::reference()), []);
        assert_eq!(raised(&Example::flannel()), []);
        assert_eq!(raised(&with_guest(Example::reference())), []);
    }

    #[test]
    fn a_bridge_that_lost_its_only_port_is_raised_before_anything_is_measured() {
        assert_eq!(raised(&unplugged()), critical("vmbr1"));
        assert_eq!(
            told(&unplugged()),
            "vmbr1 has no port, so nothing passes vxlan.calico above it or reaches master-2 and master-3. enp5s0 is \
             free."
        );
        let blind = unplugged().unmeasured("master-2", Plane::Underlay, no_right());
        assert_eq!(raised(&blind), critical("vmbr1"));
    }

    #[test]
    fn a_port_that_is_there_and_down_is_another_code() {
        let down = |link: &mut Link| (link.up, link.carrier) = (false, None);
        let node = Example::reference().with("enp5s0", down).with("vmbr1", |link| link.carrier = Some(false));
        assert_eq!(raised(&node), []);
        assert_eq!(raised(&unplugged().with("vmbr1", down)), [], "and so is a bridge that is set down");
    }

    #[test]
    fn with_a_guest_on_the_bridge_the_peers_decide() {
        let node = with_guest(unplugged());
        assert_eq!(raised(&node), [], "all peers answer: they are guests");
        let some = node.verdict("master-3", Plane::Underlay, silent());
        let judgement = judge(&some);
        let [warning] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((warning.severity, warning.causes), (Severity::Warning, crate::checks::Causes::Nothing));
        assert_eq!(
            told(&some),
            "vmbr1 has no port that leads to the wire, only veth102i0: master-2 can be reached on this machine, \
             master-3 cannot. enp5s0 is free."
        );
        let none = some.verdict("master-2", Plane::Underlay, silent());
        assert_eq!(raised(&none), critical("vmbr1"));
        assert!(told(&none).contains("only veth102i0, so nothing passes vxlan.calico above it or reaches master-2"));
    }

    #[test]
    fn a_peer_that_could_not_be_measured_leaves_it_open() {
        let node = with_guest(unplugged()).unmeasured("master-2", Plane::Underlay, no_right());
        let judgement = judge(&node.verdict("master-3", Plane::Underlay, silent()));
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread, [(Subject::Link("vmbr1".into()), no_right())]);
    }

    #[test]
    fn a_bridge_that_leads_to_nobody_may_have_no_port() {
        let spare = Example::reference().with("enp4s0", |link| link.master = None);
        let spare = spare.with("vmbr0", |link| link.carrier = Some(false));
        assert_eq!(raised(&spare), [], "management");
        let idle = Example::flannel().with("veth0a1b2c3d", |link| link.master = None);
        assert_eq!(raised(&idle.with("cni0", |link| link.carrier = Some(false))), [], "no pod runs");
    }

    #[test]
    fn a_dummy_or_a_guest_is_no_way_to_the_wire_and_a_bond_or_a_tunnel_is_one() {
        let port = |kind: &str| {
            let node = unplugged().device("port9", kind, 1500).port("port9", "vmbr1");
            raised(&node.with("vmbr1", |link| link.carrier = Some(true)).verdict("master-2", Plane::Underlay, silent()))
        };
        for (kind, leads) in [("dummy", false), ("tun", false), ("bond", true), ("vlan", true), ("vxlan", true)] {
            assert_eq!(port(kind).is_empty(), leads, "{kind}");
        }
    }

    #[test]
    fn only_nics_that_nothing_uses_are_offered() {
        let node =
            unplugged().device("enp6s0", "device", 1500).device("enp7s0", "device", 1500).device("eth9", "veth", 1500);
        let used = node.index("enp7s0");
        let node = node.device("enp7s0.5", "vlan", 1500).with("enp7s0.5", |link| link.lower = Some(used));
        assert_eq!(judge(&node).raised[0].evidence.free, ["enp5s0", "enp6s0"], "eth9's other end is on this machine");
        assert!(told(&node).ends_with("enp5s0 and enp6s0 are free."));
    }

    #[test]
    fn links_and_addresses_have_to_be_known() {
        let mut node = unplugged();
        node.tables.addresses = Fact::Unread(failed(Source::Addresses));
        assert_eq!(BridgeNoUplink::judge(&node.snapshot()).unwrap_err(), failed(Source::Addresses));
        node.tables.links = Fact::Unread(failed(Source::Links));
        assert_eq!(BridgeNoUplink::judge(&node.snapshot()).unwrap_err(), failed(Source::Links));
    }
}
