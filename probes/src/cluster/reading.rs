//! One agent's `/report`, as far as the matrix needs it.
//!
//! Read in one pass, without a tree of values, and cut down at once: of a report of two megabytes some tens of kilobytes
//! stay. Whose path is whose is decided here, by what the asking agent knows ([`Directory`]); what it cannot place waits
//! until every report is in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;

use super::Mark;
use super::lenient::{List, Object, Scalar};
use super::who::{Directory, Id};
use crate::path::Plane;
use crate::report::{self, Status, Vantage};
use crate::units::Family;

/// Most paths of one report that are looked at.
pub(super) const MOST_PATHS: usize = 100_000;

/// Most peers of one report that wait to be placed.
const MOST_STRANGERS: usize = 2_000;

/// Most links, tunnels and addresses that are looked at.
const MOST_FACTS: usize = 4_096;

/// Addresses that are kept of a peer which nobody knows.
const ADDRESSES: usize = 4;

/// What one agent said.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub(super) node: String,
    pub(super) vantage: Option<Vantage>,
    pub(super) version: Option<String>,
    pub(super) status: Option<Status>,
    pub(super) generated_at: Option<Timestamp>,
    pub(super) addresses: Vec<IpAddr>,
    /// What it can be compared with other nodes in.
    pub(super) facts: BTreeMap<String, String>,
    /// To nodes that the asking agent knows, in their order.
    pub(super) heard: Vec<Heard>,
    pub(super) strangers: Vec<Stranger>,
    /// Why no path at all was measured, where one reason says it.
    pub(super) blind: Option<String>,
}

/// What it said of one path. Sizes are bytes of an IP packet, 0 where they are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) to: Id,
    pub(super) kind: Kind,
    pub(super) mark: Mark,
    pub(super) path: u16,
    pub(super) expected: u16,
    pub(super) forward: u16,
    pub(super) reverse: u16,
    pub(super) micros: Option<u32>,
}

/// Plane and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Kind {
    pub(super) plane: Plane,
    pub(super) family: Family,
}

/// A peer of it that the asking agent does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    /// Whose it is, is still to be found out.
    pub(super) heard: Vec<Heard>,
}

/// Why an answer is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// It is no JSON.
    Syntax(String),
    /// It is JSON, and no object of this schema; what it says of itself.
    Schema(Option<String>),
    /// It names no node.
    Nameless,
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(why) => write!(f, "no JSON: {why}"),
            Self::Schema(Some(schema)) => write!(f, "its schema is `{schema}` and not `{}`", report::SCHEMA),
            Self::Schema(None) => write!(f, "JSON without the schema `{}`", report::SCHEMA),
            Self::Nameless => write!(f, "a report that names no node"),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    schema: Scalar,
    node: Scalar,
    vantage: Scalar,
    version: Scalar,
    generated_at: Scalar,
    summary: Object<SummaryPart>,
    addresses: List<Scalar, MOST_FACTS>,
    links: List<Object<LinkPart>, MOST_FACTS>,
    tunnels: List<Object<TunnelPart>, MOST_FACTS>,
    paths: List<Object<PathPart>, MOST_PATHS>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SummaryPart {
    status: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinkPart {
    role: Scalar,
    mtu: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TunnelPart {
    kind: Scalar,
    mtu: Scalar,
    id: Scalar,
    port: Scalar,
    carries_pods: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PathPart {
    pub(super) peer: Scalar,
    pub(super) plane: Scalar,
    pub(super) address: Scalar,
    verdict: Scalar,
    pub(super) why: Scalar,
    path_mtu: Scalar,
    expected_mtu: Scalar,
    forward_mtu: Scalar,
    reverse_mtu: Scalar,
    round_trip_seconds: Scalar,
    pub(super) probed_at: Scalar,
}

/// Reads an answer of `/report`.
///
/// # Errors
/// If it is no report at all. What of a report cannot be understood is left out.
pub fn read(answer: &[u8], who: &Directory) -> Result<Said, Garbage> {
    let read = serde_json::from_slice::<Object<Document>>(answer);
    let document = read.map_err(|error| Garbage::Syntax(error.to_string()))?.0.ok_or(Garbage::Schema(None))?;
    if document.schema.text() != Some(report::SCHEMA) {
        return Err(Garbage::Schema(document.schema.text().map(str::to_owned)));
    }
    let node = document.node.text().filter(|node| !node.is_empty()).ok_or(Garbage::Nameless)?.to_owned();
    let facts = document.facts();
    let paths = document.paths.0.iter().filter_map(|row| row.0.as_ref());
    let (heard, strangers) = placed(paths.clone(), who);
    let measured =
        heard.iter().chain(strangers.iter().flat_map(|one| &one.heard)).any(|one| one.mark != Mark::Unmeasured);
    let why = paths.clone().next().and_then(|row| row.why.text());
    let blind = why.filter(|why| !measured && paths.clone().all(|row| row.why.text() == Some(why)));
    Ok(Said {
        node,
        vantage: word(&document.vantage),
        version: document.version.text().map(str::to_owned),
        status: document.summary.0.and_then(|summary| word(&summary.status)),
        generated_at: document.generated_at.text().and_then(|text| text.parse().ok()),
        addresses: document.addresses.0.iter().filter_map(ip).collect(),
        facts,
        blind: blind.map(str::to_owned),
        heard,
        strangers,
    })
}

/// A word of a closed list; `None` if it is none of them.
pub(super) fn word<T: for<'de> Deserialize<'de>>(scalar: &Scalar) -> Option<T> {
    serde_json::from_value(scalar.text()?.into()).ok()
}

pub(super) fn ip(scalar: &Scalar) -> Option<IpAddr> {
    scalar.text()?.parse::<IpAddr>().ok().filter(|address| !address.is_loopback() && !address.is_unspecified())
}

impl Document {
    /// In what nodes of one cluster are alike.
    fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        let mut put = |what: String, value: Option<u64>| {
            if let Some(value) = value {
                facts.entry(what).or_insert(value.to_string());
            }
        };
        let links = self.links.0.iter().filter_map(|row| row.0.as_ref());
        let underlay = links.filter(|link| link.role.text() == Some("underlay")).filter_map(|link| link.mtu.whole());
        put("underlay link MTU".into(), underlay.min());
        let tunnels = self.tunnels.0.iter().filter_map(|row| row.0.as_ref());
        for tunnel in tunnels.filter(|tunnel| tunnel.carries_pods == Scalar::Truth(true)) {
            let Some(kind) = tunnel.kind.text().filter(|kind| KINDS.contains(kind)) else { continue };
            put(format!("{kind} MTU"), tunnel.mtu.whole());
            put(format!("{kind} port"), tunnel.port.whole());
            put(format!("{kind} id"), tunnel.id.whole());
        }
        if let Some(version) = self.version.text() {
            facts.insert("mtuscope version".into(), version.to_owned());
        }
        facts
    }
}

/// Tunnels that are compared, by the kernel's name for their kind.
const KINDS: [&str; 8] = ["vxlan", "geneve", "ipip", "sit", "gre", "ip6tnl", "wireguard", "gretap"];

/// Paths by where they lead: to a node that is known, or to one that is not.
fn placed<'p>(rows: impl Iterator<Item = &'p PathPart> + Clone, who: &Directory) -> (Vec<Heard>, Vec<Stranger>) {
    let mut addresses: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for row in rows.clone() {
        let Some(peer) = row.peer.text() else { continue };
        let known = addresses.entry(peer).or_default();
        known.extend(
            ip(&row.address).filter(|_| row.plane.text() != Some(Plane::Pod.name()) && known.len() < ADDRESSES),
        );
    }
    let places: BTreeMap<&str, Option<Id>> =
        addresses.iter().map(|(peer, addresses)| (*peer, who.find(peer, addresses))).collect();
    let mut heard: BTreeMap<(Id, Kind), Heard> = BTreeMap::new();
    let mut strangers: BTreeMap<&str, BTreeMap<Kind, Heard>> = BTreeMap::new();
    for row in rows {
        let (Some(peer), Some(one)) = (row.peer.text(), row.heard()) else { continue };
        match places.get(peer).copied().flatten() {
            Some(to) => keep_worse(heard.entry((to, one.kind)), Heard { to, ..one }),
            None if strangers.len() < MOST_STRANGERS || strangers.contains_key(peer) => {
                keep_worse(strangers.entry(peer).or_default().entry(one.kind), one);
            }
            None => {}
        }
    }
    let stranger = |(name, heard): (&str, BTreeMap<Kind, Heard>)| Stranger {
        name: name.to_owned(),
        addresses: addresses.remove(name).unwrap_or_default(),
        heard: heard.into_values().collect(),
    };
    (heard.into_values().collect(), strangers.into_iter().map(stranger).collect())
}

/// Of several paths to one node the worst counts.
pub(super) fn keep_worse<K: Ord>(entry: Entry<'_, K, Heard>, one: Heard) {
    match entry {
        Entry::Vacant(empty) => {
            empty.insert(one);
        }
        Entry::Occupied(mut known) if known.get().is_better(&one) => {
            known.insert(one);
        }
        Entry::Occupied(_) => {}
    }
}

impl Heard {
    fn is_better(&self, other: &Self) -> bool {
        (self.mark, u16::MAX - self.path) < (other.mark, u16::MAX - other.path)
    }
}

impl PathPart {
    /// `None` if plane or address cannot be understood: then it is not known what was measured.
    pub(super) fn heard(&self) -> Option<Heard> {
        let plane = word(&self.plane)?;
        let family = Family::of(self.address.text()?.parse().ok()?);
        // A verdict of a later version is one that is not known here.
        let mark = match self.verdict.text() {
            Some("clear") => Mark::Clear,
            Some("limited") => Mark::Limited,
            Some("black_hole") => Mark::BlackHole,
            Some("unreachable") => Mark::Unreachable,
            Some("unknown") if self.probed_at.text().is_none() => Mark::Unmeasured,
            _ => Mark::Unknown,
        };
        let sized = matches!(mark, Mark::Clear | Mark::Limited | Mark::BlackHole);
        let size = |scalar: &Scalar| scalar.size().filter(|_| sized).unwrap_or(0);
        Some(Heard {
            to: 0,
            kind: Kind { plane, family },
            // Who calls a path good must say what it carries.
            mark: if sized && self.path_mtu.size().is_none() { Mark::Unknown } else { mark },
            path: size(&self.path_mtu),
            expected: self.expected_mtu.size().unwrap_or(0),
            forward: size(&self.forward_mtu),
            reverse: size(&self.reverse_mtu),
            micros: self.round_trip_seconds.micros(),
        })
    }
}
