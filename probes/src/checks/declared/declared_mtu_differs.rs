//! An MTU that is not what somebody declared it to be.
//!
//! Who declares it is in the evidence: the operator (`expect.underlay_mtu`, `expect.overlay_mtu`), the CNI file that the
//! runtime takes, Felix or Flannel where that file leaves it to them. What files say of pods that are born now is argued in
//! [`newborn`]; the operator's two sizes are held against what there is:
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
//! It is a cause and no consequence, but for a tunnel on the wrong network, whose link was never meant, and for a number
//! that Calico found by itself on the wrong links. What it explains it names: a link that is too small breaks what is too
//! large for it, one that is too large only outgrows its own ports. Where a needed link or tunnel is down, its routes are
//! gone with it, and nothing is concluded.

mod judged;
mod newborn;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::links::{BridgePortMtu, PodMtuMixed, PodMtuTooLarge, TunnelNoHeadroom, TunnelUndersized};
use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath};
use crate::checks::paths::{PathBlackHole, PathLimited};
use crate::checks::{Alert, Area, Causes, Check, Class, Confirm, Entry, Judgement, Kept, Look, words};
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
    /// How the sizes are at odds.
    pub case: Case,
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
    /// The other declaration, where two are at odds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
}

/// Another declaration of the same size.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Other {
    /// Who declares it.
    pub source: String,
    /// Where it is written.
    pub written: String,
}

/// How sizes are at odds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// What there is differs from what is declared.
    Differs,
    /// Pods that are born now do not fit what they leave by.
    NewPods,
    /// No pod has what pods that are born now get.
    OldPods,
    /// Two declarations differ.
    Declarations,
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
    /// What somebody else declares.
    Declaration,
}

impl Check for DeclaredMtuDiffers {
    const ENTRY: Entry = Entry {
        code: "declared-mtu-differs",
        area: Area::Declared,
        severities: &[Severity::Info, Severity::Warning, Severity::Critical],
        when: &[
            "no pod has what new pods get, and all fit",
            "another size than was declared, or new pods will not fit",
            "and packets of that size vanish, or pods are cut off from it",
        ],
        title: "MTU is not as declared, or the declared one does not fit",
        meaning: "A link, a tunnel, a route or pods have another MTU than somebody wrote down that they are to have: the \
                  operator, the CNI file, Calico or Flannel. Nodes that differ lose each other's full packets, and what \
                  was sized by the declared value does not fit.",
        quiet: "what a NIC under the link has more than was declared; `mtu: 0` in a CNI's file, which means automatic; \
                some pods that are older than the file; a tunnel above the pods' size; a link that is down",
        look: &[
            Look { run: "ip -br link", see: "`mtu` is another number than the source says" },
            Look { run: "ip -d link show dev LINK", see: "its `mtu`, and that of the link below" },
            Look {
                run: "ip route get ADDRESS",
                see: "`mtu` of a route, which is in force where it is smaller than the link's",
            },
            Look {
                run: "grep -H mtu /etc/cni/net.d/*",
                see: "in the first file by name: what new pods get, unless it is 0",
            },
            Look {
                run: "grep -H . /var/lib/calico/mtu /run/flannel/subnet.env",
                see: "what new pods get where the CNI's file leaves it to Calico or Flannel",
            },
        ],
        metrics: &["mtuscope_link_mtu_bytes", "mtuscope_pod_links"],
        class: Class::Mixed,
        silences: &[
            BridgePortMtu::ENTRY.code,
            TunnelNoHeadroom::ENTRY.code,
            TunnelUndersized::ENTRY.code,
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
        for declared in declared::configured(node) {
            match judged::of(node, &declared) {
                Err((subject, why)) => {
                    judgement.unread.push((subject, why));
                    judgement.kept.push(Kept::with("network", declared.network.name()));
                }
                Ok(found) => {
                    for one in found {
                        told.entry(one.subject()).or_insert(one);
                    }
                }
            }
        }
        let newborn = newborn::of(node, told.values().any(|one| one.evidence.network == Network::Overlay));
        judgement.unread.extend(newborn.unread);
        judgement.kept.extend(newborn.kept);
        for one in newborn.found {
            told.entry(one.subject()).or_insert(one);
        }
        for (subject, found) in told {
            let breaks = judged::breaks(node, &found.evidence);
            judgement.raise_causing(subject, found.severity, found.evidence, Causes::Named, breaks);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { declared, actual, case, other, .. } = evidence;
        let said = evidence.said();
        match case {
            Case::Differs => format!("{}; {said} says {declared} B.{}", evidence.there_is(), evidence.flannels_way()),
            Case::NewPods => {
                format!("New pods get an MTU of {declared} B by {said}, and {} takes {actual} B.", evidence.way())
            }
            Case::OldPods => {
                format!("New pods get an MTU of {declared} B by {said}; those that run have {}.", evidence.counted())
            }
            Case::Declarations => {
                let (source, written) = other.as_ref().map(|it| (&*it.source, &*it.written)).unwrap_or_default();
                let other = said_in(source, written);
                format!("New pods get an MTU of {declared} B by {said}, where {other} says {actual} B.")
            }
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { written, declared, actual, case, other, .. } = evidence;
        let tunnel = evidence.link.clone().filter(|_| evidence.place == Place::Tunnel);
        let pods = |mtu: &IpSize| Fix::PodMtu { tunnel: tunnel.clone(), mtu: LinkMtu::new(mtu.bytes()) };
        let write = |written: &str, mtu| Fix::Instead(vec![Fix::Declaration { written: written.into(), mtu }]);
        match case {
            Case::NewPods => return vec![pods(actual), Fix::RecreatePods],
            Case::OldPods => return vec![Fix::RecreatePods],
            Case::Declarations => {
                let other = other.as_ref().map(|other| write(&other.written, *declared));
                return [pods(actual), Fix::RecreatePods].into_iter().chain(other).collect();
            }
            Case::Differs => {}
        }
        let mut fixes = evidence.mended();
        // Felix and Flannel write their numbers themselves.
        if [declared::CONFIGURATION, declared::CNI_FILE].contains(&evidence.source.as_str()) {
            fixes.push(write(written, *actual));
        }
        fixes
    }

    fn example() -> (Subject, Severity, Evidence) {
        let evidence = Evidence {
            source: declared::CONFIGURATION.into(),
            written: "expect.underlay_mtu".into(),
            network: Network::Underlay,
            case: Case::Differs,
            declared: IpSize::new(9000),
            actual: IpSize::new(1500),
            place: Place::Device,
            link: Some("enp5s0".into()),
            destination: None,
            above: vec!["vmbr1".into()],
            overhead: None,
            links_by_mtu: BTreeMap::new(),
            other: None,
        };
        (Subject::Link("enp5s0".into()), Severity::Warning, evidence)
    }
}

impl Evidence {
    fn said(&self) -> String {
        said_in(&self.source, &self.written)
    }

    fn there_is(&self) -> String {
        let Self { actual, place, destination, above, .. } = self;
        let link = self.link.as_deref().unwrap_or("pods");
        let what = match (place, destination) {
            (Place::Pods, _) => format!("Pods have {}", self.counted()),
            (Place::Route, Some(to)) => format!("The route to {to} by {link} has an MTU of {actual} B"),
            _ => format!("{link} has an MTU of {actual} B"),
        };
        let also =
            if above.is_empty() { String::new() } else { format!(", and {} above it follows", words::list(above)) };
        what + &also
    }

    /// What new pods leave by.
    fn way(&self) -> String {
        let link = self.link.as_deref().unwrap_or_default();
        match &self.destination {
            Some(to) => format!("the route to {to} through {link}, by which they reach other nodes,"),
            None => format!("{link}, by which they reach other nodes,"),
        }
    }

    fn flannels_way(&self) -> &'static str {
        match self.source.as_str() {
            declared::FLANNEL => " Flannel takes its MTU when it starts, and keeps devices that are there as they are.",
            _ => "",
        }
    }

    /// What there is becomes what is declared.
    fn mended(&self) -> Vec<Fix> {
        let Self { declared, actual, place, link, destination, above, overhead, .. } = self;
        let (from, mtu) = (LinkMtu::new(actual.bytes()), LinkMtu::new(declared.bytes()));
        let name = || link.clone().unwrap_or_default();
        let change = |link: &String| Fix::LinkMtu { link: link.clone(), from, mtu };
        match place {
            Place::Device => link.iter().chain(above).map(change).collect(),
            Place::Tunnel => vec![Fix::OverlayMtu { tunnel: name(), mtu, overhead: overhead.unwrap_or_default() }],
            Place::Route => {
                let to = destination.clone().unwrap_or_default();
                vec![Fix::RouteMtu { to, link: name(), from: *actual, mtu: *declared }]
            }
            Place::Pods | Place::Declaration => vec![Fix::PodMtu { tunnel: None, mtu }, Fix::RecreatePods],
        }
    }

    /// `an MTU of 1500 B (3) and 1450 B (11)`.
    fn counted(&self) -> String {
        let counts: Vec<_> = self.links_by_mtu.iter().map(|(mtu, count)| format!("{mtu} B ({count})")).collect();
        format!("an MTU of {}", words::list(&counts))
    }
}

/// A declaration by its place; a file's says by itself what it is in.
fn said_in(source: &str, written: &str) -> String {
    match source {
        declared::CONFIGURATION => format!("{written} in the configuration"),
        _ => match written.split_once(": ") {
            Some((file, what)) => format!("{file} ({what})"),
            None => written.to_owned(),
        },
    }
}
