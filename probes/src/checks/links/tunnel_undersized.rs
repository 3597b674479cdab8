//! A tunnel that is smaller than it could be.
//!
//! What a tunnel can carry is what the link below it takes, and the paths to the peers beyond, less its own headers. A
//! tunnel below that breaks nothing: each packet carries less than it could, at the same price. So this is an info, and
//! it is told only where nothing explains the difference:
//!
//! - *Measured*: the smallest path to any peer caps the sum, blamed by a finding or not, and so does a single one of
//!   several paths of equal cost. As long as the size of one path is not known, that one may be the reason. A peer that
//!   is down leaves it open too: else the finding came and went with it.
//! - *Room for the other family*: [`MARGIN`] bytes are what an IPv6 header takes more than one of IPv4. Who has both
//!   gives all tunnels the same MTU.
//! - *The other tunnel*: pods have one MTU, so where they leave by several tunnels (VXLAN and IPIP, VXLAN and WireGuard)
//!   the smallest holds for all.
//! - *Geneve options*: up to 252 bytes that the device does not tell of (RFC 8926 section 3.1: six bits, counted in fours).
//! - *Said*: where the operator says what tunnels are meant to have (`expect.overlay_mtu`), another code compares.
//! - *Pods that are larger than the tunnel*: their code names both sizes, and the other way round is no advice then.
//!
//! Not judged are tunnels in collect-metadata mode, which have no MTU of their own, and those that lead to no pods: an
//! administrator's tunnel to another site has its MTU from a path that is not probed here.
//!
//! A tunnel on a tunnel needs nothing special: the link below is then the other tunnel. Some differences name their own
//! cause, and these are said ([`Likely`]).

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look};
use crate::fact::{Reason, Source, Unread};
use crate::kernel::TunnelKind;
use crate::path::PathKey;
use crate::path::spread::{Fate, Swept};
use crate::remedy::Fix;
use crate::report::{Role, Severity};
use crate::snapshot::setup::Cni;
use crate::snapshot::topology::TunnelView;
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::{Family, IpSize, LinkMtu};

use super::tunnel_no_headroom;

/// What is too little to tell: the difference between the headers of IPv6 and IPv4.
pub(in crate::checks) const MARGIN: u32 = Family::Ipv6.header() - Family::Ipv4.header();

/// The most that Geneve's options take.
const GENEVE_OPTIONS: u32 = 252;

/// The host MTU that Calico goes by where it finds no NIC ([`felix`](crate::declared::felix)).
const CALICO_FALLBACK: u32 = crate::declared::felix::FALLBACK.bytes();

/// The MTU of a network that nobody has tuned.
const USUAL: u32 = 1500;

/// The rule.
#[derive(Debug)]
pub struct TunnelUndersized;

/// The sum that leaves something over.
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
    /// The largest packet that the paths to every peer carry.
    pub carries: IpSize,
    /// The MTU that the tunnel could have.
    pub possible: LinkMtu,
    /// What may have come of it.
    pub likely: Likely,
}

/// What a tunnel's MTU looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Likely {
    /// The headers were subtracted twice.
    SubtractedTwice,
    /// Calico found no NIC and took 1460 for the network.
    CalicoFallback,
    /// It was made for a network of 1500, which has grown since.
    NetworkGrown,
    /// Nothing that is known.
    Unknown,
}

impl Check for TunnelUndersized {
    const ENTRY: Entry = Entry {
        code: "tunnel-undersized",
        area: Area::Links,
        severities: &[Severity::Info],
        when: &["at least one byte more would fit everywhere that was measured"],
        title: "tunnel MTU is smaller than the network below allows",
        meaning: "Every packet of a pod could be larger than the tunnel lets it be, on its way to each peer that was \
                  measured. Nothing breaks; throughput is given away, the more the larger the network's MTU is. Where \
                  it is meant to be so, `expect.overlay_mtu` says so.",
        quiet: "20 B less are room for IPv6; a path to a peer that is not measured may be the reason; \
                `expect.overlay_mtu` is the operator's word",
        look: &[
            Look { run: "ip -d link show dev TUNNEL", see: "its `mtu`" },
            Look { run: "ip link show dev LOWER", see: "its `mtu`, less the overhead, is larger than the tunnel's" },
            Look { run: "mtuscope probe PEER", see: "no path carries less than LOWER" },
        ],
        metrics: &["mtuscope_recommended_overlay_mtu_bytes - on (link) mtuscope_link_mtu_bytes"],
        class: Class::Undersized,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::None { why: "It costs speed and breaks nothing." },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        let mut judgement = Judgement::default();
        if node.expect.overlay_mtu.is_some() {
            return Ok(judgement);
        }
        let carrying = |tunnel: &&TunnelView| tunnel.carries_pods && !tunnel.external;
        for tunnel in node.topology.tunnels().iter().filter(carrying) {
            let subject = Subject::Link(tunnel.name.clone());
            match look(node, tunnel) {
                Ok(None) => {}
                Ok(Some(evidence)) => judgement.raise(subject, Severity::Info, evidence),
                Err(unread) => judgement.unread.push((subject, unread)),
            }
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { tunnel, mtu, overhead, lower, lower_mtu, carries, possible, likely } = evidence;
        let below = if lower_mtu.carries() == *carries {
            format!("{lower} and the paths to every peer carry {carries} B")
        } else {
            format!("{lower} has {lower_mtu} B and the paths to every peer carry {carries} B")
        };
        let why = match likely {
            Likely::SubtractedTwice => {
                format!(": its {overhead} B of headers were subtracted twice from the {carries} B of {lower}.")
            }
            Likely::CalicoFallback => format!(
                ": that is what Calico takes where it finds no NIC ({CALICO_FALLBACK} - {overhead}), but {below}."
            ),
            Likely::NetworkGrown => format!(": that is right for a network of {USUAL} B, but {below}."),
            Likely::Unknown => format!(": it adds {overhead} B, and {below}."),
        };
        format!("{tunnel} has an MTU of {mtu} where {possible} would fit{why}")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { tunnel, mtu, overhead, possible, .. } = evidence;
        let raise = Fix::OverlayMtu { tunnel: tunnel.clone(), mtu: *possible, overhead: *overhead };
        vec![Fix::RoomOnEveryNode { has: *mtu, room: *possible }, raise]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            tunnel: "vxlan.calico".into(),
            mtu: LinkMtu::new(1400),
            overhead: 50,
            lower: "vmbr1".into(),
            lower_mtu: LinkMtu::new(1500),
            carries: IpSize::new(1500),
            possible: LinkMtu::new(1450),
            likely: Likely::SubtractedTwice,
        };
        (Subject::Link("vxlan.calico".into()), Severity::Info, evidence)
    }
}

fn look(node: &Snapshot, tunnel: &TunnelView) -> Result<Option<Evidence>, Unread> {
    let (Some((lower, lower_mtu)), Some(overhead)) = (tunnel.lower_link.clone(), tunnel.overhead) else {
        return Err(tunnel_no_headroom::unread(node, tunnel));
    };
    let is_small = |carries: IpSize| fit(carries, overhead).bytes() > tunnel.mtu.bytes() + allowance(node, tunnel);
    if !is_small(lower_mtu.carries()) || explained(node, tunnel) {
        return Ok(None);
    }
    let sizes: Vec<_> = node.paths_below(tunnel.link).filter(|(key, _)| is_peer(node, key)).map(size).collect();
    let smallest = sizes.iter().filter_map(|size| size.as_ref().ok()).min().copied();
    let Some(carries) = smallest.map(|smallest| smallest.min(lower_mtu.carries())) else {
        return sizes.into_iter().find_map(Result::err).map_or(Ok(None), Err);
    };
    if !is_small(carries) {
        return Ok(None);
    }
    if let Some(unread) = sizes.into_iter().find_map(Result::err) {
        return Err(unread);
    }
    Ok(Some(Evidence {
        tunnel: tunnel.name.clone(),
        mtu: tunnel.mtu,
        overhead,
        lower,
        lower_mtu,
        carries,
        possible: fit(carries, overhead),
        likely: likely(node, tunnel.mtu, overhead, carries),
    }))
}

/// The MTU of a tunnel over what carries this size.
const fn fit(carries: IpSize, overhead: u32) -> LinkMtu {
    LinkMtu::new(carries.less(overhead).bytes())
}

/// What a tunnel may be too small by.
fn allowance(node: &Snapshot, tunnel: &TunnelView) -> u32 {
    let kind = node.tables.link(tunnel.link).and_then(|link| link.tunnel.as_ref()).map(|tunnel| tunnel.kind);
    if kind == Some(TunnelKind::Geneve) { GENEVE_OPTIONS } else { MARGIN }
}

/// Whether pods, or another tunnel of theirs, tell why it is no larger.
fn explained(node: &Snapshot, tunnel: &TunnelView) -> bool {
    let mut pods = node.tables.links().iter().filter(|link| node.topology.role(link.index) == Role::Pod);
    let others = node.topology.tunnels().iter().filter(|other| other.carries_pods && other.link != tunnel.link);
    let mut fits = others.filter_map(|other| Some(fit(other.lower_link.as_ref()?.1.carries(), other.overhead?)));
    pods.any(|pod| pod.mtu > tunnel.mtu) || fits.any(|fit| fit <= tunnel.mtu)
}

/// The default gateway that is probed for want of a peer is none.
pub(in crate::checks) fn is_peer(node: &Snapshot, key: &PathKey) -> bool {
    node.peer(&key.peer).is_some_and(|peer| !peer.gateway)
}

/// The largest packet that a path carries by each of its ways.
pub(in crate::checks) fn size((key, path): (&PathKey, &Path)) -> Result<IpSize, Unread> {
    let verdict = path.verdict()?;
    let Some(mtu) = verdict.path_mtu() else {
        let why = format!("{} does not answer, and the path to it may be the smallest", key.peer);
        return Err(Unread::new(Source::Probes, Reason::Unsupported { why }));
    };
    // Ports that all met one fate say no more than the path's own measurement, which is younger.
    let differ = |swept: &&Swept| swept.ports.iter().any(|(_, fate)| *fate == Fate::Carried);
    let swept = path.spread.known().filter(differ);
    let fates = swept.into_iter().flat_map(|swept| swept.ports.iter().map(|(_, fate)| fate));
    let narrow = fates.filter_map(|fate| match fate {
        Fate::Limited { carries, .. } => Some(*carries),
        Fate::Swallowed => Some(None),
        Fate::Carried | Fate::Dead | Fate::Unknown => None,
    });
    narrow
        .map(|carries| {
            carries.ok_or_else(|| {
                let why =
                    format!("one of the paths of equal cost to {} carries less, and how much is not known", key.peer);
                Unread::new(Source::Probes, Reason::Unsupported { why })
            })
        })
        .try_fold(mtu, |least, carries| Ok(least.min(carries?)))
}

fn likely(node: &Snapshot, mtu: LinkMtu, overhead: u32, carries: IpSize) -> Likely {
    let needed = mtu.bytes() + overhead;
    match () {
        () if needed + overhead == carries.bytes() => Likely::SubtractedTwice,
        () if node.setup.cni == Cni::Calico && needed == CALICO_FALLBACK => Likely::CalicoFallback,
        () if needed == USUAL => Likely::NetworkGrown,
        () => Likely::Unknown,
    }
}

#[cfg(test)]
mod tests;
