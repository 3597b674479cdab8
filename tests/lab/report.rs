//! A report as a reader outside sees it: only what the published contract names.
//!
//! It is parsed from JSON by types of the lab's own, so a field that is renamed fails here as it would fail a user.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::schema::Schema;
use crate::{Error, Result};

/// What `mtuscope report` prints and `/report` serves.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Name and version of the schema.
    pub schema: String,
    /// The node's name.
    pub node: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// The verdict in short.
    pub summary: Summary,
    /// Links.
    pub links: Vec<Link>,
    /// Tunnels.
    pub tunnels: Vec<Tunnel>,
    /// Paths.
    pub paths: Vec<Path>,
    /// Node addresses that are on another network than the tunnels' ends.
    #[serde(default)]
    pub node_addresses: Vec<NodeAddress>,
    /// Which layer says which MTU.
    pub ladders: Vec<Ladder>,
    /// Places that declare an MTU.
    pub declared: Vec<Declared>,
    /// Findings.
    pub findings: Vec<Finding>,
    /// Checks that could not conclude.
    pub not_concluded: Vec<NotConcluded>,
}

/// The verdict in short.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// `healthy`, `warning`, `critical` or `unknown`.
    pub status: String,
    /// Peers known.
    pub peers: usize,
    /// The MTU that the overlay can have.
    pub recommended_overlay_mtu: Option<u32>,
}

/// A node address beside the tunnels' ends.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeAddress {
    /// The peer's name.
    pub peer: String,
    /// The address.
    pub address: String,
    /// `clear`, `unreachable` or `unknown`.
    pub verdict: String,
}

/// A link.
#[derive(Clone, Debug, Deserialize)]
pub struct Link {
    /// Name.
    pub name: String,
    /// What it is for.
    pub role: String,
    /// Device MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The link below.
    pub lower: Option<String>,
    /// The bridge that it is a port of.
    pub master: Option<String>,
}

/// A tunnel.
#[derive(Clone, Debug, Deserialize)]
pub struct Tunnel {
    /// Name.
    pub link: String,
    /// Kind.
    pub kind: String,
    /// Device MTU in bytes.
    pub mtu: u32,
    /// What it adds, in bytes.
    pub overhead: Option<u32>,
    /// The link below.
    pub lower: Option<String>,
    /// Room left below, in bytes.
    pub headroom: Option<i64>,
    /// Network identifier.
    pub id: Option<u32>,
    /// UDP port.
    pub port: Option<u16>,
}

/// A path.
#[derive(Clone, Debug, Deserialize)]
pub struct Path {
    /// The peer's name, or the address as given to `probe`.
    pub peer: String,
    /// `underlay`, `overlay` or `pod`.
    pub plane: String,
    /// The probed address.
    pub address: String,
    /// The verdict.
    pub verdict: String,
    /// Why, where the verdict does not say it all.
    pub why: Option<String>,
    /// The largest packet that passed, in bytes.
    pub path_mtu: Option<u32>,
    /// What it should carry, in bytes.
    pub expected_mtu: Option<u32>,
    /// The largest packet that was seen to arrive there, in bytes.
    pub forward_mtu: Option<u32>,
    /// The largest packet that was seen to come back whole, in bytes.
    pub reverse_mtu: Option<u32>,
    /// The hop that limits it.
    pub limited_by: Option<LimitedBy>,
    /// On which way larger packets vanish.
    pub way: Option<String>,
    /// Between which hops larger packets vanish.
    pub hole: Option<Hole>,
    /// The hops, where they were looked at.
    #[serde(default)]
    pub hops: Vec<Hop>,
    /// What the network below the tunnel carries.
    pub outer: Option<Outer>,
    /// What became of the size over paths of equal cost.
    pub spread: Option<Spread>,
    /// What the kernel remembers, in bytes.
    pub cached_mtu: Option<u32>,
    /// Packets sent for the last measurement.
    pub packets_sent: u32,
    /// When it was measured.
    pub probed_at: Option<Timestamp>,
    /// What a transfer over it said.
    pub transfer: Option<Transfer>,
}

/// A TCP transfer with the peer's agent.
#[derive(Clone, Debug, Deserialize)]
pub struct Transfer {
    /// `passed`, `stalled` or `unknown`.
    pub result: String,
    /// Why nothing is known.
    pub why: Option<String>,
    /// `to_peer`, `from_peer` or `both`.
    pub direction: Option<String>,
    /// When it ended.
    pub at: Option<Timestamp>,
}

/// Where packets vanish.
#[derive(Clone, Debug, Deserialize)]
pub struct Hole {
    /// The last hop that saw the size.
    pub after: Option<HopAt>,
    /// The first that did not.
    pub before: HopAt,
}

/// A hop, by its distance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HopAt {
    /// Hops from the node.
    pub ttl: u8,
    /// Its address.
    pub address: Option<String>,
}

/// What was seen of one hop.
#[derive(Clone, Debug, Deserialize)]
pub struct Hop {
    /// Hops from the node.
    pub ttl: u8,
    /// Its address.
    pub address: Option<String>,
    /// The shortest time to its answer, in seconds.
    pub round_trip_seconds: Option<f64>,
    /// The largest packet that it saw, in bytes.
    pub carried: Option<u32>,
    /// Whether it is the target.
    pub target: bool,
}

/// What the network below a tunnel carries.
#[derive(Clone, Debug, Deserialize)]
pub struct Outer {
    /// The verdict.
    pub verdict: String,
    /// The largest outer packet that passed, in bytes.
    pub path_mtu: Option<u32>,
    /// Between which hops larger packets vanish.
    pub hole: Option<Hole>,
}

/// A sweep over source ports.
#[derive(Clone, Debug, Deserialize)]
pub struct Spread {
    /// Ports that were tried.
    pub ports: usize,
    /// The share of those that do not carry the size.
    pub share_bad: Option<f64>,
    /// The ports by fate.
    pub kinds: Vec<SpreadKind>,
}

/// Source ports with one fate.
#[derive(Clone, Debug, Deserialize)]
pub struct SpreadKind {
    /// `carried`, `limited`, `swallowed`, `dead` or `unknown`.
    pub fate: String,
    /// How many.
    pub ports: usize,
    /// A few of them.
    pub sample: Vec<u16>,
    /// What was answered, in bytes.
    pub carries: Option<u32>,
}

/// A hop that limits a path.
#[derive(Clone, Debug, Deserialize)]
pub struct LimitedBy {
    /// Its address; absent for a link of this machine.
    pub address: Option<String>,
    /// What it reported, in bytes.
    pub reported_mtu: Option<u32>,
}

/// The layers of one way out.
#[derive(Clone, Debug, Deserialize)]
pub struct Ladder {
    /// What it leads up to.
    pub link: String,
    /// `ok`, `break` or `unknown`.
    pub verdict: String,
    /// From the wire up.
    pub rungs: Vec<Rung>,
}

/// One layer.
#[derive(Clone, Debug, Deserialize)]
pub struct Rung {
    /// `nic`, `bridge`, `path`, …
    pub layer: String,
    /// Who says so.
    pub name: String,
    /// What it takes or carries, in bytes.
    pub mtu: Option<u32>,
    /// What is left for it, in bytes.
    pub available: Option<u32>,
    /// `ok`, `break` or `unknown`.
    pub verdict: String,
    /// Whether a break further down explains this one.
    pub follows: bool,
    /// Codes of the findings about it.
    pub findings: Vec<String>,
    /// What is declared of it.
    #[serde(default)]
    pub declared: Vec<Beside>,
}

/// A declared size beside a rung.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Beside {
    /// The file and the key in it.
    pub written: String,
    /// The size, in bytes.
    pub mtu: u32,
    /// Whether the rung has another.
    pub differs: bool,
}

/// A place that declares an MTU.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Declared {
    /// Who declares it.
    pub source: String,
    /// Of what.
    pub subject: String,
    /// In bytes.
    pub mtu: Option<u32>,
    /// The file.
    pub file: Option<String>,
    /// Whether it leaves the size open.
    pub automatic: bool,
    /// Why it is not known what it says.
    pub unknown: Option<String>,
    /// Why nothing heeds it.
    pub unused: Option<String>,
    /// What the kernel has.
    pub kernel: Vec<DeclaredPlace>,
    /// What was measured.
    pub measured: Option<DeclaredPath>,
}

/// Something in the kernel that a declared size is about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeclaredPlace {
    /// `device`, `tunnel`, `route` or `pods`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is not as declared.
    pub differs: bool,
}

/// What was measured for a declared size.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeclaredPath {
    /// The largest packet that passed, in bytes.
    pub mtu: u32,
}

/// A finding.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// Code.
    pub code: String,
    /// Severity.
    pub severity: String,
    /// What it is about.
    pub subject: String,
    /// One sentence.
    pub summary: String,
    /// What to do.
    pub remedy: Vec<String>,
    /// Since when it holds.
    pub since: Timestamp,
    /// The finding that causes it, if one does.
    pub silenced_by: Option<String>,
    /// Typed by code.
    pub evidence: BTreeMap<String, serde_json::Value>,
}

/// A check that could not conclude.
#[derive(Clone, Debug, Deserialize)]
pub struct NotConcluded {
    /// Code.
    pub code: String,
    /// Why.
    pub reason: String,
}

/// What `mtuscope probe` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct ProbeReport {
    /// Name and version of the schema.
    pub schema: String,
    /// One path for each address.
    pub paths: Vec<Path>,
    /// What was named and has no path.
    #[serde(default)]
    pub not_probed: Vec<NotProbed>,
}

/// What was named and not probed.
#[derive(Clone, Debug, Deserialize)]
pub struct NotProbed {
    /// The target as given.
    pub peer: String,
    /// Which of its addresses.
    pub address: Option<String>,
    /// `unresolved` or `no_route`.
    pub kind: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// Parses a report.
    ///
    /// # Errors
    /// If it is no JSON, lacks a field of the contract, or has another schema.
    pub fn parse(text: &str) -> Result<Self> {
        Schema::Report.check(text).map_err(|error| error.check(text))?;
        let mut report: Self =
            serde_json::from_str(text).map_err(|error| Error::new("parsing the report", format!("{error}\n{text}")))?;
        report.leave_out_the_machines_neighbours();
        if report.schema != "mtuscope.report/v1" {
            return Err(Error::new("parsing the report", format!("its schema is {}", report.schema)));
        }
        Ok(report)
    }

    /// The neighbour table is the machine's, and all labs that run at a time fill it together: by its own limit, which is
    /// a thousand and more, it says nothing of the node. A limit that a scenario gives is smaller.
    fn leave_out_the_machines_neighbours(&mut self) {
        let count = self.findings.len();
        self.findings.retain(|finding| {
            let limit = finding.evidence.get("limit").and_then(serde_json::Value::as_u64).unwrap_or_default();
            finding.code != "neighbour-table-full" || finding.severity == "critical" || limit < 1024
        });
        let is_well = self.findings.iter().all(|finding| finding.severity == "info");
        if self.findings.len() < count && is_well && self.summary.status == "warning" {
            self.summary.status = "healthy".to_owned();
        }
    }

    /// Whether all was looked at and nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.summary.status == "healthy" && self.findings.is_empty()
    }

    /// Whether any finding has this code.
    pub fn has(&self, code: &str) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    /// Whether a finding is there and nothing explains it.
    pub fn is_loud(&self, code: &str, subject: &str) -> bool {
        self.loud(code, subject).is_some()
    }

    /// What to do about a finding that nothing explains; nothing if there is none.
    pub fn remedy(&self, code: &str, subject: &str) -> &[String] {
        self.loud(code, subject).map_or(&[], |finding| &finding.remedy)
    }

    fn loud(&self, code: &str, subject: &str) -> Option<&Finding> {
        let mut loud = self.findings.iter().filter(|finding| finding.silenced_by.is_none());
        loud.find(|finding| finding.code == code && finding.subject == subject)
    }

    /// The path to a peer on a plane.
    pub fn path(&self, peer: &str, plane: &str) -> Option<&Path> {
        self.paths.iter().find(|path| path.peer == peer && path.plane == plane)
    }

    /// Whether every path through the tunnel had a transfer after `since`.
    pub fn transferred_since(&self, since: Timestamp) -> bool {
        let mut overlay = self.paths.iter().filter(|path| path.plane == "overlay").peekable();
        let made = |path: &Path| path.transfer.as_ref().and_then(|transfer| transfer.at).is_some_and(|at| at >= since);
        overlay.peek().is_some() && overlay.all(made)
    }

    /// Whether every path was measured after `since`.
    pub fn measured_since(&self, since: Timestamp) -> bool {
        !self.paths.is_empty() && self.paths.iter().all(|path| path.probed_at.is_some_and(|at| at >= since))
    }
}

impl ProbeReport {
    /// Parses what `probe` printed.
    ///
    /// # Errors
    /// If it is no JSON, lacks a field of the contract, or has another schema.
    pub fn parse(text: &str) -> Result<Self> {
        Schema::Probe.check(text).map_err(|error| error.check(text))?;
        let report: Self = serde_json::from_str(text)
            .map_err(|error| Error::new("parsing what `probe` printed", format!("{error}\n{text}")))?;
        if report.schema != "mtuscope.probe/v1" {
            return Err(Error::new("parsing what `probe` printed", format!("its schema is {}", report.schema)));
        }
        Ok(report)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.summary.status, self.generated_at)?;
        for Finding { severity, code, subject, summary, silenced_by, .. } in &self.findings {
            let silenced = silenced_by.as_ref().map(|by| format!(" (silenced by {by})")).unwrap_or_default();
            write!(f, "\n  {severity} {code} {subject}{silenced}: {summary}")?;
        }
        for Path { peer, plane, verdict, path_mtu, expected_mtu, packets_sent, why, .. } in &self.paths {
            write!(f, "\n  path {peer} {plane}: {verdict} {path_mtu:?} of {expected_mtu:?}, {packets_sent} packets")?;
            why.iter().try_for_each(|why| write!(f, ", {why}"))?;
        }
        for Path { peer, transfer, .. } in &self.paths {
            let Some(Transfer { result, why, direction, .. }) = transfer else { continue };
            write!(f, "\n  transfer {peer}: {result} {direction:?} {why:?}")?;
        }
        self.not_concluded
            .iter()
            .try_for_each(|NotConcluded { code, reason }| write!(f, "\n  not concluded {code}: {reason}"))
    }
}
