//! An MTU that is not what somebody declared it to be.
//!
//! Who declares it is in the evidence; so far that is the operator (`expect.underlay_mtu`, `expect.overlay_mtu`).
//!
//! **Underlay**: the links that outer packets and packets to peers leave by have just that MTU, and no route to a peer
//! says less. What they stand on (a bridge's NIC, a bond's members, a VLAN's parent) may have more, never less. Of
//! links that stand on each other the lowest that is too small is told, because the ones above follow it. Measured paths
//! are held against the declared size by the path codes, which take it for what to expect: a link that is too small or
//! too large is the one thing that they cannot see, for it changes what is expected.
//!
//! **Overlay**: a tunnel that carries pods has that MTU. With several (IPv4 and IPv6, or WireGuard beside VXLAN, which
//! differ by their headers) one that has it is enough, else the smallest is told. Where tunnels are in collect-metadata
//! mode the size stands in routes (Cilium); where there is none, it is the pods'.
//!
//! It is a cause and no consequence, but for a tunnel on the wrong network, whose link was never meant. What it explains
//! it names: a link that is too small breaks what is too large for it, one that is too large only outgrows its own ports.
//! Where a needed link or tunnel is down, its routes are gone with it, and nothing is concluded.

mod judged;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::links::{BridgePortMtu, PodMtuMixed, PodMtuTooLarge, TunnelNoHeadroom};
use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath};
use crate::checks::paths::{PathBlackHole, PathLimited};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::declared::{self, Network};
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::units::{IpSize, LinkMtu};

/// The rule.
#[derive(Debug)]
pub struct DeclaredMtuDiffers;

/// What is declared, and what there is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Who declares it, as in the report's `declared`.
    pub source: String,
    /// Where it is written.
    pub written: String,
    /// What it is about.
    pub network: Network,
    /// The declared size.
    pub declared: IpSize,
    /// The size that there is; of several the smallest.
    pub actual: IpSize,
    /// What has that size.
    pub place: Place,
    /// The link, or the one that the route leaves by; absent where it is the pods'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The destination of the route; absent where it is a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Links above it that are too small as well.
    pub above: Vec<String>,
    /// What the tunnel adds; absent where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
    /// Number of pod links by MTU; none where it is not the pods'.
    pub links_by_mtu: BTreeMap<LinkMtu, usize>,
}

/// What has a size that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A network device.
    Device,
    /// A tunnel device.
    Tunnel,
    /// The `mtu` of a route.
    Route,
    /// Pod links.
    Pods,
}

impl Check for DeclaredMtuDiffers {
    const ENTRY: Entry = Entry {
        code: "declared-mtu-differs",
        area: Area::Declared,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["another size than was declared", "and packets of that size vanish, or pods are cut off from it"],
        title: "MTU differs from what is declared",
        meaning: "A link, a tunnel, a route or pods have another MTU than somebody wrote down that they are to have. \
                  Nodes that differ lose each other's full packets, and what was sized by the declared value does not \
                  fit.",
        quiet: "what a NIC under the link has more than was declared; `mtu: 0` in a CNI's file, which means automatic; \
                a link that is down",
        look: &[
            Look { run: "ip -br link", see: "`mtu` is another number than the source says" },
            Look { run: "ip -d link show dev LINK", see: "its `mtu`, and that of the link below" },
            Look {
                run: "ip route get ADDRESS",
                see: "`mtu` of a route, which is in force where it is smaller than the link's",
            },
        ],
        metrics: &["mtuscope_link_mtu_bytes", "mtuscope_pod_links"],
        class: Class::Mixed,
        silences: &[
            BridgePortMtu::ENTRY.code,
            TunnelNoHeadroom::ENTRY.code,
            OverlayMtuExceedsPath::ENTRY.code,
            OverlayFragmented::ENTRY.code,
            PathBlackHole::ENTRY.code,
            PathLimited::ENTRY.code,
            PodMtuTooLarge::ENTRY.code,
            PodMtuMixed::ENTRY.code,
        ],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeDeclaredMtuDiffers", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        node.tables.links.read()?;
        node.tables.routes.read()?;
        let mut judgement = Judgement::default();
        let mut told: BTreeMap<Subject, judged::Found> = BTreeMap::new();
        for declared in declared::all(node) {
            match judged::of(node, &declared) {
                Err((subject, why)) => judgement.unread.push((subject, why)),
                Ok(found) => {
                    for one in found {
                        told.entry(one.subject()).or_insert(one);
                    }
                }
            }
        }
        for (subject, found) in told {
            let breaks = judged::breaks(node, &found.evidence);
            judgement.raise_causing(subject, Severity::Warning, found.evidence, Causes::Named, breaks);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { written, declared, actual, place, link, destination, above, .. } = evidence;
        let link = link.as_deref().unwrap_or("pods");
        let what = match (place, destination) {
            (Place::Pods, _) => format!("Pods have {}", evidence.counted()),
            (Place::Route, Some(to)) => format!("The route to {to} by {link} has an MTU of {actual} B"),
            _ => format!("{link} has an MTU of {actual} B"),
        };
        let also =
            if above.is_empty() { String::new() } else { format!(", and {} above it follows", words::list(above)) };
        format!("{what}{also}; {written} in the {} says {declared} B.", evidence.source)
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { written, declared, actual, place, link, destination, above, overhead, .. } = evidence;
        let (from, mtu) = (LinkMtu::new(actual.bytes()), LinkMtu::new(declared.bytes()));
        let name = || link.clone().unwrap_or_default();
        let change = |link: &String| Fix::LinkMtu { link: link.clone(), from, mtu };
        let mut fixes: Vec<Fix> = match place {
            Place::Device => link.iter().chain(above).map(change).collect(),
            Place::Tunnel => vec![Fix::OverlayMtu { tunnel: name(), mtu, overhead: overhead.unwrap_or_default() }],
            Place::Route => {
                let to = destination.clone().unwrap_or_default();
                vec![Fix::RouteMtu { to, link: name(), from: *actual, mtu: *declared }]
            }
            Place::Pods => vec![Fix::PodMtu { tunnel: None, mtu }, Fix::RecreatePods],
        };
        fixes.push(Fix::Instead(vec![Fix::Declaration { written: written.clone(), mtu: *actual }]));
        fixes
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            source: declared::CONFIGURATION.into(),
            written: "expect.underlay_mtu".into(),
            network: Network::Underlay,
            declared: IpSize::new(9000),
            actual: IpSize::new(1500),
            place: Place::Device,
            link: Some("enp5s0".into()),
            destination: None,
            above: vec!["vmbr1".into()],
            overhead: None,
            links_by_mtu: BTreeMap::new(),
        };
        (Subject::Link("enp5s0".into()), Severity::Warning, evidence)
    }
}

impl Evidence {
    /// `an MTU of 1500 B (3) and 1450 B (11)`.
    fn counted(&self) -> String {
        let counts: Vec<_> = self.links_by_mtu.iter().map(|(mtu, count)| format!("{mtu} B ({count})")).collect();
        format!("an MTU of {}", words::list(&counts))
    }
}
