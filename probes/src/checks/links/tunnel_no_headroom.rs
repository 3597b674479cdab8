//! A tunnel whose full packets do not fit the link below it.
//!
//! Tunnel MTU + overhead must not exceed the MTU of the link that outer packets leave by. The kernel refuses to *set*
//! a larger VXLAN MTU over a bound link, so this comes about when the lower link shrinks afterwards, or when the tunnel
//! is bound to none. With `df unset` the node fragments outer packets: slow and fragile, a warning. With `df set` or
//! `inherit` they are dropped, and pods are never told: critical. IPIP, GRE and SIT with DF outside tell them: pods then
//! send less, which is a warning again. A tunnel in collect-metadata mode has no MTU of its
//! own and is not judged.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::kernel::FragmentationFailing;
use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath, OverlayTransferStalls};
use crate::checks::paths::{PathBlackHole, PathLimited, PathMtuAsymmetric};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::Df;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::units::LinkMtu;

/// The rule.
#[derive(Debug)]
pub struct TunnelNoHeadroom;

/// The sum that does not work out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The tunnel device.
    pub tunnel: String,
    /// Its MTU.
    pub mtu: LinkMtu,
    /// Bytes that it adds.
    pub overhead: u32,
    /// The link that outer packets leave by.
    pub lower: String,
    /// Its MTU.
    pub lower_mtu: LinkMtu,
    /// `lower_mtu` − `overhead` − `mtu`, below zero.
    pub headroom: i64,
    /// Treatment of the outer DF bit; absent where the kind has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<Df>,
    /// Whether senders of packets that do not fit are told; it is decided by kind and DF.
    #[serde(skip)]
    pub told: bool,
    /// The links below the tunnel that would have to grow, lowest first.
    pub below: Vec<Below>,
}

/// A link below a tunnel.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Below {
    /// Name.
    pub link: String,
    /// Its MTU.
    pub mtu: LinkMtu,
}

impl Check for TunnelNoHeadroom {
    const ENTRY: Entry = Entry {
        code: "tunnel-no-headroom",
        area: Area::Links,
        severities: &[Severity::Warning, Severity::Critical],
        when: &[
            "outer packets are fragmented, or pods are told to send less",
            "outer packets with DF are dropped, or sizes were measured to vanish",
        ],
        title: "tunnel MTU leaves no room for its own headers",
        meaning: "A full packet of the tunnel, once wrapped, is larger than the link below it takes. It is fragmented, \
                  or, where the outer DF bit is set, dropped without a word to the pod that sent it.",
        quiet: "a tunnel that fits the link below to the byte; one in collect-metadata mode, which has no MTU of its \
                own",
        look: &[
            Look {
                run: "ip -d link show dev TUNNEL",
                see: "`mtu`, and `df set` or `df inherit`: then nothing is fragmented but dropped",
            },
            Look { run: "ip link show dev LOWER", see: "its `mtu` is smaller than the tunnel's plus the overhead" },
            Look {
                run: "nstat -az IpFragOKs IpFragFails",
                see: "IpFragOKs rises: fragmented; IpFragFails rises: dropped",
            },
        ],
        metrics: &["mtuscope_tunnel_headroom_bytes < 0", "mtuscope_tunnel_overhead_bytes"],
        class: Class::Overhead,
        silences: &[
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            OverlayTransferStalls::ENTRY.code,
            PathMtuAsymmetric::ENTRY.code,
            FragmentationFailing::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeTunnelNoHeadroom", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        let mut judgement = Judgement::default();
        for tunnel in node.topology.tunnels().iter().filter(|tunnel| !tunnel.external) {
            let subject = Subject::Link(tunnel.name.clone());
            match evidence(node, tunnel) {
                None => judgement.unread.push((subject, unread(node, tunnel))),
                Some(evidence) if evidence.headroom < 0 => {
                    let dropped = matches!(evidence.df, Some(Df::Set | Df::Inherit)) && !evidence.told;
                    let severity = if dropped { Severity::Critical } else { Severity::Warning };
                    judgement.raise(subject, severity, evidence);
                }
                Some(_) => {}
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, mtu, overhead, lower, lower_mtu, headroom, df, told, .. } = evidence;
        let needed = mtu.bytes() + overhead;
        let then = match df {
            _ if *told => "refused, which its sender is told".into(),
            Some(df @ (Df::Set | Df::Inherit)) => format!("dropped (df {})", df.name()),
            _ => "fragmented".into(),
        };
        format!(
            "A full packet of {tunnel} is {needed} B with its headers (MTU {mtu} + {overhead}), {} B more than the \
             {lower_mtu} B of {lower}, and is {then}.",
            headroom.unsigned_abs()
        )
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { tunnel, mtu, overhead, lower_mtu, below, .. } = evidence;
        let needed = LinkMtu::new(mtu.bytes() + overhead);
        let fits = LinkMtu::new(lower_mtu.bytes().saturating_sub(*overhead));
        let lower = Fix::OverlayMtu { tunnel: tunnel.clone(), mtu: fits, overhead: *overhead };
        let raise = |below: &Below| Fix::LinkMtu { link: below.link.clone(), from: below.mtu, mtu: needed };
        vec![lower, Fix::Instead(below.iter().map(raise).collect())]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let mtu = LinkMtu::new(1500);
        let below = |link: &str| Below { link: link.into(), mtu };
        let evidence = Evidence {
            tunnel: "vxlan.calico".into(),
            mtu,
            overhead: 50,
            lower: "vmbr1".into(),
            lower_mtu: mtu,
            headroom: -50,
            df: Some(Df::Unset),
            told: false,
            below: vec![below("enp5s0"), below("vmbr1")],
        };
        (Subject::Link("vxlan.calico".into()), Severity::Warning, evidence)
    }
}

fn evidence(node: &Snapshot, tunnel: &TunnelView) -> Option<Evidence> {
    let (lower, lower_mtu) = tunnel.lower_link.clone()?;
    let device = node.tables.link(tunnel.link)?.tunnel.as_ref()?;
    let needed = tunnel.mtu.bytes() + tunnel.overhead?;
    let below = node.topology.chain(tunnel.link).into_iter().skip(1).filter_map(|index| node.tables.link(index));
    let short = below.filter(|link| link.mtu.bytes() < needed);
    let mut below: Vec<_> = short.map(|link| Below { link: link.name.clone(), mtu: link.mtu }).collect();
    below.reverse();
    Some(Evidence {
        tunnel: tunnel.name.clone(),
        mtu: tunnel.mtu,
        overhead: tunnel.overhead?,
        lower,
        lower_mtu,
        headroom: tunnel.headroom()?,
        df: device.df,
        told: device.tells(),
        below,
    })
}

/// Why it cannot be told what there is below a tunnel.
pub(super) fn unread(node: &Snapshot, tunnel: &TunnelView) -> Unread {
    let tables = [node.tables.addresses.read().err(), node.tables.forwarding.read().err()];
    let unread = tables.into_iter().flatten().next();
    unread.unwrap_or_else(|| {
        let why = match tunnel.lower {
            Some(_) if tunnel.overhead.is_none() => tunnel.unknown_overhead(),
            _ => format!("{} is bound to no link, and no known peer's route tells which it leaves by", tunnel.name),
        };
        Unread::new(Source::Lookup, Reason::Unsupported { why })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::kernel::{Tunnel, TunnelKind};
    use crate::snapshot::example::{Example, failed};

    fn with_mtu(mtu: u32, df: Df) -> Example {
        Example::reference().with("vxlan.calico", |link| {
            link.mtu = LinkMtu::new(mtu);
            link.tunnel.as_mut().unwrap().df = Some(df);
        })
    }

    fn judge(example: &Example) -> Judgement<Evidence> {
        TunnelNoHeadroom::judge(&example.snapshot()).unwrap()
    }

    #[test]
    fn a_tunnel_that_adds_nobody_knows_how_much_is_not_concluded_and_says_why() {
        let node = Example::reference().with("vxlan.calico", |link| {
            let lower = link.tunnel.as_ref().unwrap().lower;
            link.tunnel = Some(Tunnel { lower, ..Tunnel::of(TunnelKind::Xfrm) });
        });
        let judgement = judge(&node);
        assert!(judgement.raised.is_empty());
        let [(subject, why)] = &judgement.unread[..] else { panic!("{:?}", judgement.unread) };
        assert_eq!(*subject, Subject::Link("vxlan.calico".into()));
        assert!(why.to_string().contains("what vxlan.calico adds to a packet is not known"), "{why}");
    }

    #[test]
    fn one_byte_too_many_is_raised_and_one_less_is_quiet() {
        let judgement = judge(&with_mtu(1451, Df::Unset));
        assert_eq!((judgement.raised[0].severity, judgement.raised[0].evidence.headroom), (Severity::Warning, -1));
        assert!(judge(&with_mtu(1450, Df::Unset)).raised.is_empty());
    }

    #[test]
    fn where_df_is_set_it_is_critical() {
        for df in [Df::Set, Df::Inherit] {
            assert_eq!(judge(&with_mtu(1500, df)).raised[0].severity, Severity::Critical);
        }
    }

    /// As Linux 6.1.192 did in `.ci/live`: a pod behind `tunl0` was told 1,380 when the NIC shrank to 1,400.
    #[test]
    fn where_the_tunnel_itself_tells_pods_it_is_a_warning() {
        let shrunk = |kind, df| {
            let node = Example::reference().with("vxlan.calico", |link| {
                let lower = link.tunnel.as_ref().unwrap().lower;
                link.mtu = LinkMtu::new(1490);
                link.tunnel = Some(Tunnel { lower, df: Some(df), ..Tunnel::of(kind) });
            });
            let judgement = judge(&node);
            let said = TunnelNoHeadroom::summary(&judgement.raised[0].subject, &judgement.raised[0].evidence);
            (judgement.raised[0].severity, said.ends_with("refused, which its sender is told."))
        };
        for kind in [TunnelKind::Ipip, TunnelKind::Gre, TunnelKind::Sit] {
            assert_eq!(shrunk(kind, Df::Set), (Severity::Warning, true), "{kind:?}");
            assert_eq!(shrunk(kind, Df::Inherit), (Severity::Critical, false), "{kind:?}: not shown to tell");
        }
        assert_eq!(shrunk(TunnelKind::Gretap, Df::Set), (Severity::Critical, false), "it carries frames");
    }

    #[test]
    fn only_the_links_that_are_short_have_to_grow() {
        let node = with_mtu(1500, Df::Unset).with("enp5s0", |link| link.mtu = LinkMtu::new(9000));
        let below: Vec<_> = judge(&node).raised[0].evidence.below.iter().map(|below| below.link.clone()).collect();
        assert_eq!(below, ["vmbr1"]);
    }

    #[test]
    fn collect_metadata_mode_is_not_judged() {
        let node = with_mtu(65_000, Df::Unset).with("vxlan.calico", |link| {
            link.tunnel.as_mut().unwrap().external = true;
        });
        let judgement = judge(&node);
        assert!(judgement.raised.is_empty() && judgement.unread.is_empty());
    }

    #[test]
    fn a_tunnel_whose_lower_link_is_not_known_is_not_concluded() {
        let mut node = with_mtu(1500, Df::Unset).with("vxlan.calico", |link| {
            link.tunnel.as_mut().unwrap().lower = None;
        });
        node.lookups.clear();
        node.tables.addresses = Fact::Unread(failed(Source::Addresses));
        let judgement = judge(&node);
        assert!(judgement.raised.is_empty());
        assert_eq!(judgement.unread, [(Subject::Link("vxlan.calico".into()), failed(Source::Addresses))]);
    }
}
