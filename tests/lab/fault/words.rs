//! The words that faults are told in.

use serde::Deserialize;

use crate::recipe::{Recipe, Role};
use crate::size::Size;
use crate::{Error, Result};

/// Which of a peer's addresses is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// The node's.
    #[default]
    Underlay,
    /// The tunnel's.
    Overlay,
    /// The pod's.
    Pod,
}

/// A direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Both.
    #[default]
    Both,
    /// Away from node 0, or to the node that is named.
    There,
    /// The other.
    Back,
}

/// What becomes of packets that are too large for a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// The router before it cuts those that may be cut, and sends Frag Needed or Packet Too Big for the others.
    #[default]
    Told,
    /// The same, but its Frag Needed and Packet Too Big are filtered.
    Muted,
    /// All of them vanish, as where two ends of a wire disagree: no router is asked.
    Lost,
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// All of IP.
    #[default]
    All,
    /// ICMP of both families.
    Icmp,
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

impl Traffic {
    /// How a filter matches it.
    pub(super) const fn matching(self) -> &'static str {
        match self {
            Self::All => "meta protocol { ip, ip6 }",
            Self::Icmp => "meta l4proto { icmp, ipv6-icmp }",
            Self::Udp => "meta l4proto udp",
            Self::Tcp => "meta l4proto tcp",
        }
    }
}

impl Way {
    /// Whether a direction is meant.
    pub(super) const fn is(self, there: bool) -> bool {
        matches!((self, there), (Self::Both, _) | (Self::There, true) | (Self::Back, false))
    }
}

/// A text in which names in braces stand for what is the recipe's: links, sizes, and what a node has.
///
/// # Errors
/// If the recipe has no such thing.
pub(super) fn filled(text: &str, recipe: &Recipe, node: usize) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled += before;
        let named = after.split_once('}').filter(|(name, _)| is_name(name) && *name != "growing");
        let Some((name, behind)) = named else {
            filled.push('{');
            rest = after;
            continue;
        };
        filled += &stands_for(name, recipe, node)?;
        rest = behind;
    }
    Ok(filled + rest)
}

/// Whether it is one of ours: JSON has no such thing in braces, and YAML seldom.
fn is_name(text: &str) -> bool {
    text.starts_with('=') || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

fn stands_for(name: &str, recipe: &Recipe, node: usize) -> Result<String> {
    if let Some(size) = name.strip_prefix('=') {
        let size = Size::try_from(size.trim().to_owned()).map_err(|cause| Error::new("reading a size", cause))?;
        return Ok(size.on(&recipe.sizes())?.to_string());
    }
    let overlay = recipe.overlay;
    let known = match name {
        "nic" => recipe.link(Role::Nic).map(str::to_owned),
        "bridge" => recipe.link(Role::Bridge).map(str::to_owned),
        "lower" => recipe.link(Role::Lower).map(str::to_owned),
        "tunnel" => recipe.link(Role::Tunnel).map(str::to_owned),
        "pod" => recipe.link(Role::Pod).map(str::to_owned),
        "pod_bridge" => recipe.link(Role::PodBridge).map(str::to_owned),
        "management" => recipe.link(Role::Management).map(str::to_owned),
        "spare" => recipe.link(Role::Spare).map(str::to_owned),
        "cni_file" => recipe.cni_file().map(str::to_owned),
        "allocations" => recipe.allocations().map(str::to_owned),
        "node" => recipe.nodes.get(node).map(|&name| name.to_owned()),
        "address" => Some(recipe.underlay_address(node).to_string()),
        "pod_address" => overlay.map(|overlay| overlay.pod_address(node).to_string()),
        "subnet" => overlay.map(|overlay| overlay.subnet(overlay.families.first(), node)),
        "vip" => recipe.vip().map(|vip| vip.to_string()),
        _ => None,
    };
    known.ok_or_else(|| Error::new(format!("naming {{{name}}}"), "this recipe has no such thing"))
}
