//! A tunnel through which ICMP of every size passes, and TCP connects and then hangs.
//!
//! Agents move 64 KiB each way through the tunnel ([`transfer`](crate::transfer) says what counts as a stall). It is
//! judged only on a path that was measured to be clear: a stall on a path that loses large packets is that path's
//! matter, and there the last word about transfers is held. An agent that is not there, or that lets nobody transfer,
//! says nothing either way and is told with its reason.
//!
//! What the drivers of this node's tunnel and NIC do in the kernel's place is evidence: it names the suspects, and only
//! what is on is worth switching off. The peer's are not known here.
//!
//! As many transfers must agree as the operator asks rounds to; one that passes clears.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::{UdpChecksumErrors, udp_checksum_errors};
use crate::checks::paths::some_peer;
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::LinkIndex;
use crate::kernel::ethtool::Features;
use crate::path::{PathKey, Plane, Verdict};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::transfer::{BYTES, Direction, Made, Stage, Stall};
use crate::units::IpSize;

/// The rule.
#[derive(Debug)]
pub struct OverlayTransferStalls;

/// What got through.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// Where its agent was connected to, through the tunnel.
    pub agent: SocketAddr,
    /// The tunnel device.
    pub tunnel: String,
    /// Which way bytes are lost.
    pub direction: Direction,
    /// Bytes that were to arrive in each direction.
    pub wanted: u32,
    /// Bytes that came from the peer.
    pub from_peer: u32,
    /// Bytes that the peer's kernel acknowledged, a few hundred of the request's own among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_peer: Option<u64>,
    /// The largest ICMP packet that passes meanwhile.
    pub path_mtu: IpSize,
    /// Payload of a full TCP segment from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// Segments that were sent again from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
    /// How far it came.
    pub stage: Stage,
    /// TCP segments that came in here with a wrong checksum meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoilt: Option<u64>,
    /// Offloads of this node's tunnel that are on, or could be; none where they could not be read.
    pub tunnel_offloads: BTreeMap<&'static str, bool>,
    /// The same of the NICs below it, by link.
    pub nic_offloads: BTreeMap<String, BTreeMap<&'static str, bool>>,
}

/// Leaves the checksum of an inner packet to whatever device the outer one leaves by.
const CHECKSUMS: &str = "tx-checksum-ip-generic";

/// What may break packets of a tunnel as they leave.
const SENDING: [&str; 2] = ["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];

/// What may break them as they come in.
const RECEIVING: [&str; 4] = ["rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-udp_tunnel-port-offload"];

impl Check for OverlayTransferStalls {
    const ENTRY: Entry = Entry {
        code: "overlay-transfer-stalls",
        area: Area::Overlay,
        severities: &[Severity::Critical],
        when: &["64 KiB do not get through, on a path that carries ICMP of every size"],
        title: "TCP hangs in the tunnel while ICMP passes",
        meaning: "Pings of every size pass the tunnel while TCP in it does not connect, or connects and then stands \
                  still: the tunnel's checksum or segmentation offload breaks packets, or a filter drops them. Pods \
                  hang the same.",
        quiet: "a stall on a path that loses large packets is that path's matter; a peer without agent, or one that \
                lets nobody transfer, tells nothing",
        look: &[
            Look {
                run: "curl -m 10 -o /dev/null http://TUNNEL_ADDRESS:9747/transfer",
                see: "it hangs, after a connection or before it",
            },
            Look {
                run: "head -c 65536 /dev/zero | curl -m 10 --data-binary @- http://TUNNEL_ADDRESS:9747/transfer",
                see: "the other way",
            },
            Look {
                run: "nstat -az TcpInCsumErrors TcpRetransSegs",
                see: "TcpInCsumErrors rises at the receiver: checksums; TcpRetransSegs here: lost",
            },
            Look {
                run: "ethtool -k TUNNEL | grep -e checksum -e segmentation",
                see: "`tx-checksum-ip-generic: on`, or segmentation on: suspects that can be switched off",
            },
        ],
        metrics: &["mtuscope_transfer_stalls_total", "mtuscope_kernel_events_total{name=\"tcp_checksum_errors\"}"],
        class: Class::Offload,
        silences: &[UdpChecksumErrors::ENTRY.code],
        confirm: Confirm::Transfers,
        alert: Alert::Named { name: "MtuscopeOverlayTransferStalls", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay) {
            let subject = Subject::path(key);
            match look(path) {
                Err(why) => judgement.unread.push((subject, why)),
                Ok(None) => {}
                Ok(Some((path_mtu, made))) => {
                    if let Some(stall) = &made.stall {
                        let evidence = evidence(node, key, path, path_mtu, stall);
                        // Only where TCP has wrong checksums does it explain those of UDP.
                        let spoilt = evidence.spoilt.is_some_and(|spoilt| spoilt > 0);
                        let others = if spoilt { udp_checksum_errors::SUBJECTS.to_vec() } else { Vec::new() };
                        judgement.raise_causing(subject, Severity::Critical, evidence, Causes::Named, others);
                    }
                }
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, agent, tunnel, direction, path_mtu, stage, spoilt, .. } = evidence;
        let who = words::at(peer, agent.ip());
        let spoilt = spoilt.unwrap_or_default();
        let what = match stage {
            Stage::Connecting => format!(
                "TCP to {who} does not connect through {tunnel} ({spoilt} of its answers came with a wrong checksum),"
            ),
            Stage::Asking => {
                format!("TCP to {who} connects through {tunnel} and then stands still, nothing is acknowledged,")
            }
            Stage::Moving => {
                let wrong =
                    if spoilt > 0 { format!(" ({spoilt} segments came with a wrong checksum)") } else { "".into() };
                format!("TCP {} {who} stalls in {tunnel}, {}{wrong},", way(*direction), arrived(evidence))
            }
        };
        format!("{what} while ICMP of {path_mtu} B passes.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { agent, tunnel, direction, tunnel_offloads, nic_offloads, .. } = evidence;
        let suspects = |link: &String, offloads: &BTreeMap<&'static str, bool>| {
            let sending = SENDING.iter().filter(|_| *direction != Direction::FromPeer);
            let receiving = RECEIVING.iter().filter(|_| *direction != Direction::ToPeer);
            let on: Vec<_> =
                sending.chain(receiving).copied().filter(|name| offloads.get(name) == Some(&true)).collect();
            (!on.is_empty()).then(|| (link.clone(), on))
        };
        let links = std::iter::once((tunnel, tunnel_offloads)).chain(nic_offloads);
        vec![Fix::TunnelOffload {
            tunnel: tunnel.clone(),
            agent: *agent,
            direction: *direction,
            checksums: tunnel_offloads.get(CHECKSUMS).copied(),
            suspects: links.filter_map(|(link, offloads)| suspects(link, offloads)).collect(),
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let address = IpAddr::from([10, 244, 2, 0]);
        let evidence = Evidence {
            peer: "master-2".into(),
            agent: SocketAddr::new(address, 9747),
            tunnel: "vxlan.calico".into(),
            direction: Direction::ToPeer,
            wanted: BYTES,
            from_peer: BYTES,
            to_peer: Some(168),
            path_mtu: IpSize::new(1450),
            segment: Some(1398),
            retransmits: Some(5),
            stage: Stage::Moving,
            spoilt: Some(0),
            tunnel_offloads: BTreeMap::from([(CHECKSUMS, true), ("rx-checksum", true), ("tx-tcp-segmentation", true)]),
            nic_offloads: BTreeMap::from([("enp5s0".into(), BTreeMap::from([(SENDING[0], true), ("rx-gro", true)]))]),
        };
        let key = PathKey { peer: "master-2".into(), plane: Plane::Overlay, address };
        (Subject::path(&key), Severity::Critical, evidence)
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::ToPeer => "to",
        Direction::FromPeer => "from",
        Direction::Both => "to and from",
    }
}

fn arrived(evidence: &Evidence) -> String {
    let Evidence { direction, wanted, from_peer, to_peer, .. } = evidence;
    let to_peer = to_peer.unwrap_or_default();
    match direction {
        Direction::ToPeer => format!("{to_peer} of {wanted} bytes arrived there"),
        Direction::FromPeer => format!("{from_peer} of {wanted} bytes arrived here"),
        Direction::Both => format!("{to_peer} of {wanted} bytes arrived there and {from_peer} here"),
    }
}

/// What ICMP carries and what the last transfer said; `None` where none is made.
fn look(path: &Path) -> Result<Option<(IpSize, &Made)>, Unread> {
    if path.transfer == crate::fact::Fact::Absent {
        return Ok(None);
    }
    let path_mtu = match path.verdict()? {
        Verdict::Clear { mtu } => *mtu,
        other => {
            let why = format!("transfers wait until packets of full size pass; the path is {}", other.name().name());
            return Err(Unread::new(Source::Probes, Reason::Unsupported { why }));
        }
    };
    Ok(path.transfer.read()?.map(|made| (path_mtu, made)))
}

fn evidence(node: &Snapshot, key: &PathKey, path: &Path, path_mtu: IpSize, stall: &Stall) -> Evidence {
    let tunnel = path.via.iter().find_map(|&link| node.topology.tunnel(link));
    let below = tunnel.map(|tunnel| node.topology.chain(tunnel.link)).unwrap_or_default();
    let nics = below.into_iter().filter(|&link| node.topology.role(link) == Role::Underlay);
    let nics = nics.filter_map(|link| Some((node.tables.link(link)?.name.clone(), offloads(node, link))));
    Evidence {
        peer: key.peer.clone(),
        agent: SocketAddr::new(key.address, stall.port),
        tunnel: tunnel.map_or_else(|| "the tunnel".into(), |tunnel| tunnel.name.clone()),
        direction: stall.direction,
        wanted: BYTES,
        from_peer: stall.from_peer,
        to_peer: stall.to_peer,
        path_mtu,
        segment: stall.segment,
        retransmits: stall.retransmits,
        stage: stall.stage,
        spoilt: stall.spoilt,
        tunnel_offloads: tunnel.map(|tunnel| offloads(node, tunnel.link)).unwrap_or_default(),
        nic_offloads: nics.filter(|(_, offloads)| !offloads.is_empty()).collect(),
    }
}

/// Offloads that are on or could be.
fn offloads(node: &Snapshot, link: LinkIndex) -> BTreeMap<&'static str, bool> {
    let known = node.devices.get(link).features.known();
    let told = known.into_iter().flat_map(Features::iter).filter(|(_, feature)| feature.on || !feature.fixed);
    told.map(|(name, feature)| (name, feature.on)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::snapshot::example::{Example, black_hole, made, no_right, silent};

    fn stall(direction: Direction) -> Stall {
        Stall {
            port: 9747,
            direction,
            from_peer: 2796,
            to_peer: Some(168),
            retransmits: Some(5),
            segment: Some(1398),
            stage: Stage::Moving,
            spoilt: Some(0),
        }
    }

    fn fresh(stall: Option<Stall>) -> Fact<Made> {
        Fact::Known(Made { judged: false, ..made(stall) })
    }

    fn judge(node: &Example) -> Judgement<Evidence> {
        OverlayTransferStalls::judge(&node.snapshot()).unwrap()
    }

    fn why(judgement: &Judgement<Evidence>) -> String {
        assert!(judgement.raised.is_empty() && judgement.unread.len() == 1, "{judgement:?}");
        judgement.unread[0].1.to_string()
    }

    #[test]
    fn a_stall_is_critical_and_one_that_passes_is_quiet() {
        let node = Example::reference().transfer("master-2", fresh(Some(stall(Direction::ToPeer))));
        let judgement = judge(&node);
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Critical));
        let Evidence { tunnel, path_mtu, agent, .. } = &raised.evidence;
        assert_eq!((tunnel.as_str(), path_mtu.bytes()), ("vxlan.calico", 1450));
        assert_eq!(agent.to_string(), "10.244.2.0:9747");
        assert!(judge(&Example::reference()).raised.is_empty());
    }

    #[test]
    fn what_drivers_do_is_shown_and_only_what_is_on_is_suspected() {
        let node = |checksums| {
            Example::reference()
                .offloads("vxlan.calico", &[(CHECKSUMS, checksums), (SENDING[0], false)])
                .offloads("enp5s0", &[(SENDING[0], true), (SENDING[1], false), (RECEIVING[0], true)])
                .offloads("enp4s0", &[(SENDING[0], true)])
        };
        let fix = |checksums, direction| {
            let node = node(checksums).transfer("master-2", fresh(Some(stall(direction))));
            let raised = judge(&node).raised.remove(0);
            assert_eq!(raised.evidence.tunnel_offloads[CHECKSUMS], checksums);
            assert_eq!(raised.evidence.nic_offloads.keys().collect::<Vec<_>>(), ["enp5s0"], "not the management NIC");
            OverlayTransferStalls::fixes(&raised.subject, &raised.evidence).remove(0)
        };
        let suspects = |fix: Fix| match fix {
            Fix::TunnelOffload { checksums, suspects, .. } => (checksums, suspects),
            other => panic!("{other:?}"),
        };
        let enp5s0 = |names: &[&'static str]| vec![("enp5s0".to_owned(), names.to_vec())];
        assert_eq!(suspects(fix(true, Direction::ToPeer)), (Some(true), enp5s0(&SENDING[..1])));
        assert_eq!(suspects(fix(false, Direction::FromPeer)), (Some(false), enp5s0(&RECEIVING[..1])));
        let unread = Example::reference().transfer("master-2", fresh(Some(stall(Direction::Both))));
        let raised = judge(&unread).raised.remove(0);
        let fix = OverlayTransferStalls::fixes(&raised.subject, &raised.evidence).remove(0);
        assert_eq!(suspects(fix), (None, Vec::new()));
    }

    #[test]
    fn each_direction_has_its_sentence() {
        let sentence = |direction| {
            let node = Example::reference().transfer("master-2", fresh(Some(stall(direction))));
            let raised = judge(&node).raised.remove(0);
            OverlayTransferStalls::summary(&raised.subject, &raised.evidence)
        };
        insta::assert_snapshot!(
            [Direction::ToPeer, Direction::FromPeer, Direction::Both].map(sentence).join("\n"),
            @r#"
TCP to master-2 (10.244.2.0) stalls in vxlan.calico, 168 of 65536 bytes arrived there, while ICMP of 1450 B passes.
TCP from master-2 (10.244.2.0) stalls in vxlan.calico, 2796 of 65536 bytes arrived here, while ICMP of 1450 B passes.
TCP to and from master-2 (10.244.2.0) stalls in vxlan.calico, 168 of 65536 bytes arrived there and 2796 here, while ICMP of 1450 B passes.
"#
        );
    }

    #[test]
    fn each_stage_has_its_sentence() {
        let said = |stage, spoilt| {
            let stall = Stall { stage, spoilt, ..stall(Direction::ToPeer) };
            let raised = judge(&Example::reference().transfer("master-2", fresh(Some(stall)))).raised.remove(0);
            OverlayTransferStalls::summary(&raised.subject, &raised.evidence)
        };
        let all = [said(Stage::Connecting, Some(3)), said(Stage::Asking, None), said(Stage::Moving, Some(7))];
        insta::assert_snapshot!(all.join("\n"), @r#"
TCP to master-2 (10.244.2.0) does not connect through vxlan.calico (3 of its answers came with a wrong checksum), while ICMP of 1450 B passes.
TCP to master-2 (10.244.2.0) connects through vxlan.calico and then stands still, nothing is acknowledged, while ICMP of 1450 B passes.
TCP to master-2 (10.244.2.0) stalls in vxlan.calico, 168 of 65536 bytes arrived there (7 segments came with a wrong checksum), while ICMP of 1450 B passes.
"#);
    }

    #[test]
    fn an_agent_that_is_not_there_is_not_concluded() {
        let gone = Unread::new(Source::Probes, Reason::Unsupported { why: "nobody listens there".into() });
        let node = Example::reference().transfer("master-2", Fact::Unread(gone));
        assert!(why(&judge(&node)).contains("nobody listens"));
    }

    #[test]
    fn a_path_that_loses_packets_is_another_codes_matter() {
        for verdict in [black_hole(1400), silent()] {
            let node = Example::reference().transfer("master-2", fresh(Some(stall(Direction::Both)))).verdict(
                "master-2",
                Plane::Overlay,
                verdict,
            );
            assert!(why(&judge(&node)).contains("transfers wait until"));
        }
        let unmeasured = Example::reference().unmeasured("master-2", Plane::Overlay, no_right());
        assert!(why(&judge(&unmeasured)).contains("CAP_NET_RAW"));
    }

    #[test]
    fn no_transfer_is_missed_where_no_tunnel_leads_to_the_peer() {
        let direct = Example::empty().device("eth0", "device", 1500).peer("b", "eth0", "10.0.0.12");
        assert!(judge(&direct).unread.is_empty());
        let mut routed = Example::reference();
        let underlay = routed.lookups[&"10.0.0.12".parse::<IpAddr>().unwrap()].clone();
        routed.lookups.insert("10.244.2.0".parse().unwrap(), underlay);
        let routed = routed.transfer("master-2", fresh(Some(stall(Direction::Both))));
        assert!(judge(&routed).raised.is_empty(), "its address is reached without the tunnel");
    }
}
