//! What is written down somewhere, beside what there is.
//!
//! One row a place that declares an MTU: what it says, or why nobody knows, whether anything heeds it, what the kernel
//! has of the very thing, and what was measured for it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::path::Plane;
use crate::units::IpSize;

/// An MTU that somebody declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeclaredRow {
    /// Who declares it: `configuration`, `cni-file`, or the CNI that wrote it down when it started.
    pub source: String,
    /// Of what: `underlay`, `overlay`, the `tunnel` of one CNI, or `pods`.
    pub subject: String,
    /// In bytes. Absent where it is automatic or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<IpSize>,
    /// The file on the host; absent where it is the agent's own configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The key in it; absent where the file has no keys, or does not have this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it leaves the size to be found out, as `"mtu": 0` does.
    pub automatic: bool,
    /// Why it is not known what it says: the file could not be read, or is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Why nothing heeds it; absent if it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused: Option<String>,
    /// What the kernel has of it, from the wire up.
    pub kernel: Vec<DeclaredPlace>,
    /// The narrowest path that was measured through it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<DeclaredPath>,
    /// What it can be on every path that no finding blames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended: Option<IpSize>,
    /// Codes of the findings about it.
    pub findings: Vec<&'static str>,
}

/// Something in the kernel that a declared MTU is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeclaredPlace {
    /// What it is.
    pub kind: PlaceKind,
    /// The link, the destination of one of the routes, one of the pods' links.
    pub name: String,
    /// How many links or routes of this kind have this size.
    pub count: usize,
    /// What it has.
    pub mtu: IpSize,
    /// Whether that is not as it is declared. A link below another may have more, and so may a tunnel than its pods.
    pub differs: bool,
}

/// What has an MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlaceKind {
    /// A network device.
    Device,
    /// A tunnel device.
    Tunnel,
    /// The `mtu` of routes.
    Route,
    /// Pod links.
    Pods,
}

/// A path that was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeclaredPath {
    /// The network that is crossed.
    pub plane: Plane,
    /// The peer.
    pub peer: String,
    /// The largest IP packet that was confirmed to pass.
    pub mtu: IpSize,
}

impl DeclaredRow {
    /// The place where it is written, as an operator would look for it.
    pub fn written(&self) -> String {
        match (&self.file, &self.key) {
            (Some(file), Some(key)) => format!("{file}: {key}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => self.source.clone(),
        }
    }

    /// The size, where something heeds it.
    pub fn counts(&self) -> Option<IpSize> {
        self.mtu.filter(|_| self.unused.is_none())
    }

    /// Whether what the kernel has is not as it is declared.
    pub fn differs(&self) -> bool {
        self.kernel.iter().any(|place| place.differs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_its_file_and_by_the_key_in_it() {
        let row = |file: Option<&str>, key: Option<&str>| DeclaredRow {
            source: "calico".into(),
            file: file.map(str::to_owned),
            key: key.map(str::to_owned),
            ..DeclaredRow::default()
        };
        assert_eq!(row(Some("/a"), Some("mtu")).written(), "/a: mtu");
        assert_eq!(row(Some("/a"), None).written(), "/a");
        assert_eq!(row(None, Some("expect.overlay_mtu")).written(), "expect.overlay_mtu");
        assert_eq!(row(None, None).written(), "calico");
    }

    #[test]
    fn a_size_that_nothing_heeds_does_not_count() {
        let row = DeclaredRow { mtu: Some(IpSize::new(1450)), ..DeclaredRow::default() };
        assert_eq!(row.counts(), Some(IpSize::new(1450)));
        assert_eq!(DeclaredRow { unused: Some("another comes first".into()), ..row }.counts(), None);
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let row =
            DeclaredRow { source: "calico".into(), subject: "pods".into(), automatic: true, ..Default::default() };
        let json = serde_json::to_value(row).unwrap();
        let wanted = serde_json::json!({
            "source": "calico", "subject": "pods", "automatic": true, "kernel": [], "findings": []
        });
        assert_eq!(json, wanted);
    }
}
