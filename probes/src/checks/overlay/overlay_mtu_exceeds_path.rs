//! A tunnel whose full packets, wrapped, exceed what the way to a peer was measured to carry.
//!
//! Pinging through the tunnel does not show it: with `df unset` the outer packet is fragmented on the way and the inner
//! one arrives. So the tunnel's MTU and overhead are held against the underlay's measured path MTU. Fragmented is a
//! warning; critical where the underlay swallows large packets in silence or the outer DF bit is set, for then full
//! packets of pods are lost.
//!
//! Where the underlay path is clear and short all the same, its size is what the route or the operator allows.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::OverlayTransferStalls;
use crate::checks::paths::some_peer;
use crate::checks::{Alert, Area, Check, Confirm, Entry, Judgement, words};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::Df;
use crate::path::{PathKey, Plane, Verdict, VerdictName};
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

/// The rule.
#[derive(Debug)]
pub struct OverlayMtuExceedsPath;

/// The sum that does not work out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The peer's name.
    pub peer: String,
    /// The peer's node address.
    pub underlay: IpAddr,
    /// The tunnel device.
    pub tunnel: String,
    /// Its MTU.
    pub mtu: LinkMtu,
    /// Bytes that it adds.
    pub overhead: u32,
    /// `mtu` + `overhead`: the size of a full outer packet.
    pub needed: IpSize,
    /// What the way to the node address carries.
    pub carries: IpSize,
    /// What was measured there.
    pub underlay_verdict: VerdictName,
    /// The tunnel MTU that would fit: `carries` − `overhead`.
    pub fits: LinkMtu,
    /// Treatment of the outer DF bit; absent where the kind has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<Df>,
}

impl Check for OverlayMtuExceedsPath {
    const ENTRY: Entry = Entry {
        code: "overlay-mtu-exceeds-path",
        area: Area::Overlay,
        severities: &[Severity::Warning, Severity::Critical],
        title: "tunnel MTU too large for the way to a peer",
        meaning: "Full packets of the tunnel do not fit the path between the nodes once they are wrapped. They are \
                  fragmented on the way, which is slow and often filtered, or lost.",
        look: &["ip -d link show dev TUNNEL", "mtuscope probe ADDRESS", "nstat -az IpFragCreates IpReasmFails"],
        silences: &[OverlayTransferStalls::ENTRY.code],
        confirm: Confirm::Rounds,
        alert: Alert::Named { name: "MtuscopeOverlayMtuExceedsPath", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        some_peer(node)?;
        let mut judgement = Judgement::default();
        for (key, path) in node.paths.iter().filter(|(key, _)| key.plane == Plane::Overlay) {
            let Some(tunnel) = tunnel(node, path) else { continue };
            match evidence(node, key, tunnel) {
                Err(why) => judgement.unread.push((Subject::path(key), why)),
                Ok(evidence) if evidence.needed > evidence.carries => {
                    let subject = Subject::path(key);
                    judgement.raise_breaking(subject.clone(), severity(&evidence), evidence, vec![subject]);
                }
                Ok(_) => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { peer, underlay, tunnel, mtu, overhead, needed, carries, .. } = evidence;
        let then = match severity(evidence) {
            Severity::Critical => "lost",
            _ => "fragmented",
        };
        let to = words::at(peer, *underlay);
        format!(
            "A full packet of {tunnel} is {needed} B with its headers (MTU {mtu} + {overhead}), more than the \
             {carries} B that the path to {to} carries, and is {then}."
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { underlay, tunnel, overhead, needed, carries, fits, .. } = evidence;
        let lower = Fix::OverlayMtu { tunnel: tunnel.clone(), mtu: *fits, overhead: *overhead };
        let raise =
            Fix::PathCarries { to: *underlay, size: *needed, overhead: 0, carries: *carries, hop: None, silent: true };
        vec![lower, Fix::Instead(vec![raise])]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            peer: "master-2".into(),
            underlay: IpAddr::from([10, 0, 0, 12]),
            tunnel: "vxlan.calico".into(),
            mtu: LinkMtu::new(1450),
            overhead: 50,
            needed: IpSize::new(1500),
            carries: IpSize::new(1400),
            underlay_verdict: VerdictName::Clear,
            fits: LinkMtu::new(1350),
            df: Some(Df::Unset),
        };
        let address = IpAddr::from([10, 244, 2, 0]);
        (
            Subject::path(&PathKey { peer: "master-2".into(), plane: Plane::Overlay, address }),
            Severity::Warning,
            evidence,
        )
    }
}

fn severity(evidence: &Evidence) -> Severity {
    let dropped = matches!(evidence.df, Some(Df::Set | Df::Inherit));
    let swallowed = evidence.underlay_verdict == VerdictName::BlackHole;
    if dropped || swallowed { Severity::Critical } else { Severity::Warning }
}

/// The tunnel of an overlay path that has an MTU of its own.
fn tunnel<'a>(node: &'a Snapshot, path: &Path) -> Option<&'a TunnelView> {
    let mut tunnels = path.via.iter().filter_map(|&link| node.topology.tunnel(link));
    tunnels.next().filter(|tunnel| !tunnel.external)
}

fn evidence(node: &Snapshot, key: &PathKey, tunnel: &TunnelView) -> Result<Evidence, Unread> {
    let (underlay, verdict, carries) = underlay(node, &key.peer)?;
    let Some(overhead) = tunnel.overhead else {
        let why = format!("the address family of {}'s outer packets is not known", tunnel.name);
        return Err(Unread::new(Source::Links, Reason::Unsupported { why }));
    };
    Ok(Evidence {
        peer: key.peer.clone(),
        underlay,
        tunnel: tunnel.name.clone(),
        mtu: tunnel.mtu,
        overhead,
        needed: tunnel.mtu.carries().plus(overhead),
        carries,
        underlay_verdict: verdict.name(),
        fits: LinkMtu::new(carries.less(overhead).bytes()),
        df: node.tables.link(tunnel.link).and_then(|link| link.tunnel.as_ref()?.df),
    })
}

/// What was measured to a peer's node address.
fn underlay<'a>(node: &'a Snapshot, peer: &str) -> Result<(IpAddr, &'a Verdict, IpSize), Unread> {
    let unsupported = |why: String| Unread::new(Source::Probes, Reason::Unsupported { why });
    let mut paths = node.paths.iter().filter(|(key, _)| key.peer == peer && key.plane == Plane::Underlay);
    let Some((key, path)) = paths.next() else {
        return Err(unsupported(format!("no node address of {peer} is known, so its underlay path is not measured")));
    };
    let verdict = path.verdict()?;
    let carries =
        verdict.path_mtu().ok_or_else(|| unsupported(format!("{peer} does not answer on its node address")))?;
    Ok((key.address, verdict, carries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole, limited, no_right, silent};

    fn judge(example: &Example) -> Judgement<Evidence> {
        OverlayMtuExceedsPath::judge(&example.snapshot()).unwrap()
    }

    fn over(underlay: Verdict, df: Df) -> Example {
        let set = |link: &mut crate::kernel::Link| link.tunnel.as_mut().unwrap().df = Some(df);
        Example::reference().verdict("master-2", Plane::Underlay, underlay).with("vxlan.calico", set)
    }

    #[test]
    fn one_byte_short_is_a_warning_and_a_path_that_just_fits_is_quiet() {
        let judgement = judge(&over(limited(1499, Some("10.0.0.1")), Df::Unset));
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        assert_eq!((raised.subject.to_string().as_str(), raised.severity), ("master-2", Severity::Warning));
        assert_eq!((raised.evidence.needed, raised.evidence.fits), (IpSize::new(1500), LinkMtu::new(1449)));
        assert!(judge(&over(Verdict::Clear { mtu: IpSize::new(1500) }, Df::Unset)).raised.is_empty());
    }

    #[test]
    fn it_is_critical_where_outer_packets_are_lost() {
        let severity = |node: Example| judge(&node).raised[0].severity;
        assert_eq!(severity(over(black_hole(1400), Df::Unset)), Severity::Critical);
        assert_eq!(severity(over(limited(1400, None), Df::Set)), Severity::Critical);
        assert_eq!(severity(over(limited(1400, None), Df::Inherit)), Severity::Critical);
    }

    #[test]
    fn a_short_path_to_a_peer_that_no_tunnel_leads_to_is_quiet() {
        let mut node = over(limited(1400, None), Df::Unset);
        node.peers[0].overlay = None;
        assert!(judge(&node).raised.is_empty());
        let external = over(limited(1400, None), Df::Unset).with("vxlan.calico", |link| {
            link.tunnel.as_mut().unwrap().external = true;
        });
        assert!(judge(&external).raised.is_empty());
    }

    #[test]
    fn without_a_measured_underlay_nothing_is_concluded() {
        for node in [
            Example::reference().unmeasured("master-2", Plane::Underlay, no_right()),
            Example::reference().verdict("master-2", Plane::Underlay, silent()),
        ] {
            let judgement = judge(&node);
            assert_eq!((judgement.raised.len(), judgement.unread.len()), (0, 1));
        }
        let mut unknown = Example::reference();
        unknown.peers[0].underlay = None;
        assert!(judge(&unknown).unread[0].1.to_string().contains("no node address of master-2"));
    }
}
