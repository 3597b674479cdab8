//! The report: what leaves `probes` once a round. Its shape is a contract (`mtuscope.report/v1`): additions only.
//!
//! A value that is not known is absent, never zero.

pub mod declared;
pub mod ladder;
pub mod spread;
pub mod vip;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::kernel::{Df, NeighbourState};
use crate::path::{Hole, HopRow, Limit, Plane, VerdictName, Way};
use crate::peers::announced::Agent;
use crate::telemetry::Telemetry;
use crate::transfer::Direction;
use crate::transfer::admission::Guests;
use crate::units::{Family, IpSize, LinkMtu};

pub use declared::{DeclaredPath, DeclaredPlace, DeclaredRow, PlaceKind};
pub use ladder::Ladder;
pub use spread::SpreadRow;
pub use vip::VipRow;

/// The schema's name and version.
pub const SCHEMA: &str = "mtuscope.report/v1";

/// A report with what the agent counted about itself.
#[derive(Clone, Debug)]
pub struct Published {
    /// The report.
    pub report: Arc<Report>,
    /// Counters for metrics.
    pub telemetry: Telemetry,
    /// What is still open: candidates that wait for more evidence, and transfers under way.
    pub pending: usize,
    /// Whether counters are to be watched for longer before a rate of any is known.
    pub watching: bool,
    /// Whom this node makes transfers with.
    pub guests: Guests,
    /// What this node says of itself to others.
    pub card: Arc<Card>,
    /// Peers' agents that can be asked what they know.
    pub agents: Vec<Agent>,
}

/// What one machine knows.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Always `mtuscope.report/v1`.
    pub schema: &'static str,
    /// The node's name.
    pub node: String,
    /// Whether this is a node's or a pod's view.
    pub vantage: Vantage,
    /// Version of mtuscope.
    pub version: String,
    /// When it was made (RFC 3339).
    pub generated_at: Timestamp,
    /// The verdict in short.
    pub summary: Summary,
    /// Addresses by which others may reach this node: not of loopback, not of a link alone, and not every service's.
    pub addresses: Vec<IpAddr>,
    /// Network devices.
    pub links: Vec<LinkRow>,
    /// Tunnel devices.
    pub tunnels: Vec<TunnelRow>,
    /// Paths to peers.
    pub paths: Vec<PathRow>,
    /// Whose turn it was in the last round; absent where every peer is always probed, and where none can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleRow>,
    /// Node addresses that are on another network than the tunnels' ends, and whether anybody answers there. Nothing that
    /// pods send goes by them, so they are no paths. Absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub node_addresses: Vec<NodeAddressRow>,
    /// Which layer says which MTU: the rows above in the order that a packet meets them.
    pub ladders: Vec<Ladder>,
    /// Kernel settings that bear on the paths.
    pub settings: Vec<SettingRow>,
    /// The neighbour table.
    pub neighbours: NeighboursRow,
    /// MTUs that files and the operator declare, each beside what the kernel has and what was measured. A place that
    /// could not be read has a row too.
    pub declared: Vec<DeclaredRow>,
    /// kube-vip's manifests on this node.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub vips: Vec<VipRow>,
    /// Connection tracking; absent where nothing is tracked, or it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<ConntrackRow>,
    /// Kernel counters by name.
    pub counters: BTreeMap<String, u64>,
    /// What is wrong, worst first; consequences name their cause in `silenced_by`.
    pub findings: Vec<Finding>,
    /// What could not be concluded, and why.
    pub not_concluded: Vec<NotConcluded>,
    /// What every check of the catalogue came to, by code.
    pub checks: BTreeMap<String, Conclusion>,
}

/// What one check of the catalogue came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Looked, and found nothing.
    Quiet,
    /// Looked, and found something.
    Found,
    /// Could not look at all, or at some subject.
    NotConcluded,
}

/// Whose view a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Vantage {
    /// The host network namespace of a node.
    Node,
    /// A pod's network namespace.
    Pod,
}

/// The verdict in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// The worst loud finding; `unknown` if no path could be judged.
    pub status: Status,
    /// Loud findings by severity.
    pub findings: FindingCounts,
    /// Entries of `not_concluded`.
    pub not_concluded: usize,
    /// Peers known.
    pub peers: usize,
    /// The MTU that the overlay can have on every path that no finding blames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended_overlay_mtu: Option<IpSize>,
}

/// The machine's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Paths were judged and nothing is wrong.
    Healthy,
    /// A loud warning is the worst.
    Warning,
    /// A loud critical finding.
    Critical,
    /// No path could be judged and nothing critical was found.
    Unknown,
}

/// Loud findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FindingCounts {
    /// Critical ones.
    pub critical: usize,
    /// Warnings.
    pub warning: usize,
    /// For information.
    pub info: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will hurt, or hurts some.
    Warning,
    /// Hurts now.
    Critical,
}

impl Severity {
    /// Every severity, worst last.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The name used in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What a link is for, seen from the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Carries a tunnel or the route to a peer.
    Underlay,
    /// A bridge on the way to peers or pods.
    Bridge,
    /// A tunnel device.
    Tunnel,
    /// The host end of a pod's link.
    Pod,
    /// Anything else; never compared.
    Other,
}

impl Role {
    /// The name used in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Bridge => "bridge",
            Self::Tunnel => "tunnel",
            Self::Pod => "pod",
            Self::Other => "other",
        }
    }
}

/// One network device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LinkRow {
    /// Name.
    pub name: String,
    /// Kind, as `ip -d link` shows it; `device` for hardware.
    pub kind: String,
    /// What it is for.
    pub role: Role,
    /// Device MTU in bytes.
    pub mtu: LinkMtu,
    /// Administratively up.
    pub up: bool,
    /// Carrier, where the kernel can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<bool>,
    /// The bridge or bond that it is a port of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The link below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// The pod's end, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodEnd>,
}

/// The pod's end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PodEnd {
    /// Device MTU in the pod.
    pub mtu: LinkMtu,
}

/// One tunnel device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TunnelRow {
    /// Name.
    pub link: String,
    /// Kind, as in `vxlan`.
    pub kind: &'static str,
    /// Device MTU.
    pub mtu: LinkMtu,
    /// Bytes that it adds; absent where the outer family is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<u32>,
    /// The link below it, bound or found by route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// That link's MTU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_mtu: Option<LinkMtu>,
    /// `lower_mtu` − `overhead` − `mtu`: negative if full inner packets do not fit. Absent in collect-metadata mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom: Option<i64>,
    /// Network identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// UDP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Treatment of the outer DF bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<Df>,
    /// Source address of outer packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Whether it is in collect-metadata mode.
    pub external: bool,
    /// Whether routes to other nodes' pods lead through it.
    pub carries_pods: bool,
    /// The MTU that it can have on every path that no finding blames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended_mtu: Option<IpSize>,
}

/// One path to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PathRow {
    /// The peer's name.
    pub peer: String,
    /// The network that is crossed.
    pub plane: Plane,
    /// Address family.
    pub family: Family,
    /// The address that was probed.
    pub address: IpAddr,
    /// The links that packets leave by, the first one first: a tunnel, then what carries it. Empty without a route.
    pub via: Vec<String>,
    /// The route that packets take, where the kernel has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteRow>,
    /// What the measurement says.
    pub verdict: VerdictName,
    /// Why, where the verdict does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The largest IP packet that was confirmed to pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<IpSize>,
    /// What it should carry, by route and device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_mtu: Option<IpSize>,
    /// Forward path MTU, where told apart from the reverse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_mtu: Option<IpSize>,
    /// Lower bound of the reverse path MTU, where measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_mtu: Option<IpSize>,
    /// The hop that limits it; of a black hole without any error, the last hop that saw the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<Limit>,
    /// Of a black hole: on which way larger packets vanish, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// Of a black hole: between which hops larger packets vanish, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole: Option<Hole>,
    /// The hops, where they were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hops: Vec<HopRow>,
    /// What the network below the tunnel carries to the peer's tunnel end, measured by packets that were encapsulated here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer: Option<OuterRow>,
    /// What became of the expected size over equal-cost paths, where they were told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadRow>,
    /// Path MTU that the kernel has cached, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_mtu: Option<IpSize>,
    /// Smallest round trip of the last round, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_seconds: Option<f64>,
    /// Share of small packets lost lately, 0 to 1: of the latest 150, and of ten minutes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_ratio: Option<f64>,
    /// Packets sent for the last measurement.
    pub packets_sent: u32,
    /// When it was last measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed_at: Option<Timestamp>,
    /// What the last TCP transfer with the peer's agent said; absent where none is made over this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferRow>,
}

/// A node address beside the tunnels' network.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NodeAddressRow {
    /// The peer's name.
    pub peer: String,
    /// Address family.
    pub family: Family,
    /// The address, as the Kubernetes API names it.
    pub address: IpAddr,
    /// Whether it answers: `clear` if it does, `unreachable` if nothing does, `unknown` if nobody can tell. No size is
    /// measured.
    pub verdict: VerdictName,
    /// Why, where the verdict does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Smallest round trip of the last round, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_seconds: Option<f64>,
    /// When it was last probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed_at: Option<Timestamp>,
}

/// A TCP transfer with a peer's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TransferRow {
    /// What it says.
    pub result: TransferResult,
    /// Why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Which way bytes are lost, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What a transfer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferResult {
    /// All of it arrived, both ways.
    Passed,
    /// It stalled.
    Stalled,
    /// None was made yet, or nothing could be concluded.
    Unknown,
}

/// What the network below a tunnel carries, in sizes of the outer packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OuterRow {
    /// What the measurement says.
    pub verdict: VerdictName,
    /// The largest outer IP packet that was confirmed to arrive at the far end and to be taken out there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<IpSize>,
    /// The hop that limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<Limit>,
    /// Between which hops larger packets vanish, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hole: Option<Hole>,
}

/// Whose turn it was: a node of a large cluster does not probe every peer in every round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRow {
    /// Peers known.
    pub peers: usize,
    /// Peers that are probed in every round.
    pub stable: usize,
    /// Peers that were probed in turn.
    pub rotating: usize,
    /// Peers that were probed out of turn, because there is or may be trouble with them.
    pub suspects: usize,
    /// Peers that were probed: stable, rotating and suspects together.
    pub probed: usize,
    /// No result is ever older than this, and every new peer has one by then, in seconds.
    pub covered_within_seconds: u64,
}

/// The route to an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct RouteRow {
    /// The prefix, as in `10.244.2.0/26`.
    pub to: String,
    /// The MTU that the route sets; absent where its link's holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<IpSize>,
}

/// One kernel setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettingRow {
    /// Name, as in `rp_filter`.
    pub name: String,
    /// The link that it is for; empty for the whole machine.
    pub link: String,
    /// The effective value.
    pub value: i64,
    /// The value wanted, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// The neighbour table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighboursRow {
    /// IPv4 entries that garbage collection may take; absent if the table could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// The machine-wide limit (`gc_thresh3`), where read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Entries that failed to resolve.
    pub failed: Vec<NeighbourRow>,
    /// How full the machine's tables are, one a family; empty if that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tables: Vec<NeighbourTableRow>,
}

/// One of the machine's neighbour tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighbourTableRow {
    /// Which.
    pub family: Family,
    /// Entries of the whole machine that garbage collection may take.
    pub entries: u64,
    /// Most such entries that the machine keeps (`gc_thresh3`).
    pub limit: u64,
    /// How often an entry was refused since the machine started.
    pub refused: u64,
}

/// Connection tracking in the node's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConntrackRow {
    /// Connections tracked.
    pub entries: u64,
    /// The most that may be.
    pub limit: u64,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighbourRow {
    /// Its address.
    pub address: IpAddr,
    /// The link.
    pub link: String,
    /// State.
    pub state: NeighbourState,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    /// Stable code of the catalogue.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What it is about: a link, a peer, a setting. Stable across recreated links and renumbered peers.
    pub subject: String,
    /// One sentence with the observed values.
    pub summary: String,
    /// Typed by code.
    pub evidence: serde_json::Value,
    /// What to do, line by line.
    pub remedy: Vec<String>,
    /// When it was first raised.
    pub since: Timestamp,
    /// The finding that causes this one, as `code subject`; absent if this one is loud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_by: Option<String>,
}

/// A check that could not conclude.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct NotConcluded {
    /// Stable code of the catalogue.
    pub code: &'static str,
    /// Why, and what would help.
    pub reason: String,
}

/// What `mtuscope probe --output json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProbeReport {
    /// Always `mtuscope.probe/v1`.
    pub schema: &'static str,
    /// One path for each address, in the order given; a name has one for each of its addresses.
    pub paths: Vec<PathRow>,
    /// What was named and has no path above.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub not_probed: Vec<NotProbed>,
}

/// What was named and not probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotProbed {
    /// The target as given.
    pub peer: String,
    /// Which of its addresses; absent if the name has none that could be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The kind of reason.
    pub kind: WhyNotProbed,
    /// The reason in words.
    pub why: String,
}

/// Why something that was named was not probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyNotProbed {
    /// The name was not resolved.
    Unresolved,
    /// No route leads to this address of the name, and one does to another: no program would use this one.
    NoRoute,
}
