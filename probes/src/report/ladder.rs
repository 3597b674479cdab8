//! The ladder: which layer says which MTU, from the wire up to the pods, and where it breaks.
//!
//! Everything here stands in the report already. It is put in the order that a packet meets it, so that text, page and
//! programs show the same rungs and none works them out again. There is one ladder for each tunnel, and one for each
//! link by which pods, or in want of a pod tunnel this machine, reach their peers without one.
//!
//! - What is *configured* (a link, a route, the pods) is held against the layer right below it and no other: one wrong
//!   MTU is one break, not a break in everything above.
//! - A *tunnel* is held against all that lies below, measured paths included: its MTU is the one that has to be worked
//!   out, the smallest size below less its headers.
//! - What is *measured* is held against what it was expected to carry. A shortfall that a rung below explains says so
//!   (`follows`), and is not another thing to mend.
//! - What was not measured is `unknown`, and one unanswered path makes its rung so: it may be the narrowest.
//! - What is *declared* stands beside a rung and never decides whether it fits: a number that differs breaks nothing by
//!   itself, and what it does break shows where it breaks.

mod beside;
mod bound;
mod climb;
mod facts;
mod measured;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::overlay::{OverlayFragmented, OverlayMtuExceedsPath};
use crate::checks::{Area, Check, by_code};
use crate::report::{Finding, Report};
use crate::units::IpSize;

pub use beside::Beside;
use climb::Climb;
use facts::Facts;

/// The layers of one way out, and whether each fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ladder {
    /// The tunnel that it leads up to, or the link that packets leave by without one.
    pub link: String,
    /// The worst of its rungs.
    pub verdict: Fit,
    /// From the wire up.
    pub rungs: Vec<Rung>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rung {
    /// Which.
    pub layer: Layer,
    /// Who says so: a link, the peer of the worst path, the prefix of the worst route, one of the largest pod links.
    pub name: String,
    /// How many links, paths or routes it stands for.
    pub count: usize,
    /// How many of them say this size.
    pub share: usize,
    /// What it takes, or of a path, what it was measured to carry. Absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<IpSize>,
    /// Bytes that it adds to each packet, where it is a tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
    /// What the layers below leave for it. Absent where that is not known, or nothing is below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<IpSize>,
    /// Whether it fits.
    pub verdict: Fit,
    /// Whether a break further down explains this one.
    pub follows: bool,
    /// The verdict in words, or what else is worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Codes of the findings about this break.
    pub findings: Vec<&'static str>,
    /// What is declared of it, and counts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub declared: Vec<Beside>,
}

/// What a rung is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Where the wire is.
    Nic,
    /// A bond or team.
    Bond,
    /// A VLAN.
    Vlan,
    /// A bridge.
    Bridge,
    /// Any other link in between.
    Link,
    /// Measured paths between node addresses.
    Path,
    /// A tunnel.
    Tunnel,
    /// Routes to other nodes' pods.
    Route,
    /// Measured paths to tunnel addresses and pods.
    InnerPath,
    /// This machine's pods.
    Pods,
}

impl Layer {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nic => "NIC",
            Self::Bond => "bond",
            Self::Vlan => "VLAN",
            Self::Bridge => "bridge",
            Self::Link => "link",
            Self::Path => "path",
            Self::Tunnel => "tunnel",
            Self::Route => "route",
            Self::InnerPath => "overlay",
            Self::Pods => "pods",
        }
    }
}

/// Whether a rung fits into what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// It does.
    Ok,
    /// That is not known.
    Unknown,
    /// It does not.
    Break,
}

/// The ladders of a report: tunnels first, in the report's order.
pub fn of(report: &Report) -> Vec<Ladder> {
    let facts = Facts::new(report);
    let tunnels = report.tunnels.iter().map(|tunnel| Climb::to_tunnel(&facts, tunnel));
    let direct = facts.direct_links().into_iter().map(|link| Climb::to_link(&facts, link));
    let mut ladders: Vec<Ladder> = tunnels.chain(direct).collect();
    for rung in ladders.iter_mut().flat_map(|ladder| &mut ladder.rungs).filter(|rung| rung.verdict == Fit::Break) {
        rung.findings = codes(rung, &report.findings);
    }
    ladders.iter_mut().for_each(|ladder| beside::put(&report.declared, ladder));
    ladders
}

/// Codes of the findings that say what a broken rung says, in the report's order: the loud and the worst first.
fn codes(rung: &Rung, findings: &[Finding]) -> Vec<&'static str> {
    let mut codes = Vec::new();
    for finding in findings.iter().filter(|finding| is_about(finding, rung)) {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    codes
}

/// Codes about a peer that say of a tunnel that it is too large.
const TOO_LARGE: [&str; 2] = [OverlayMtuExceedsPath::ENTRY.code, OverlayFragmented::ENTRY.code];

fn is_about(finding: &Finding, rung: &Rung) -> bool {
    let of_sizes = by_code(finding.code).is_some_and(|check| check.entry.area != Area::Kernel);
    let evidence = |key: &str| finding.evidence.get(key).and_then(|value| value.as_str());
    let named = finding.subject == rung.name;
    of_sizes
        && match rung.layer {
            Layer::Path => named && evidence("plane") == Some("underlay"),
            Layer::InnerPath => named && matches!(evidence("plane"), Some("overlay" | "pod")),
            Layer::Tunnel if TOO_LARGE.contains(&finding.code) => evidence("tunnel") == Some(&rung.name),
            Layer::Pods => finding.subject == "pods",
            Layer::Route => false,
            Layer::Bridge => (named && evidence("plane").is_none()) || evidence("bridge") == Some(&rung.name),
            _ => named && evidence("plane").is_none(),
        }
}

#[cfg(test)]
mod tests;
