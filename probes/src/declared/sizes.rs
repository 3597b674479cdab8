//! What MTU the host's files give to pods that are born now, and which file has the last word.
//!
//! Only one CNI file counts: the first that the runtime takes. Where that one cannot be used runtimes part (containerd
//! stops, CRI-O goes on), so nothing is concluded. Multus wraps the network of every pod as its first delegate. In the
//! list the first plugin makes the pod's link; a `tuning` after it may make the pod's end smaller.
//!
//! What each plugin does with its `mtu`, by its own source:
//!
//! - `calico` takes it, and where it is 0 or not there what Felix wrote to `/var/lib/calico/mtu`; without that file too
//!   the kernel's 1,500.
//! - `flannel` hands its `delegate` to another plugin (`bridge`, where it names none) and adds `FLANNEL_MTU` of its
//!   `subnetFile` where the delegate names no `mtu`. A 0 in the delegate is a number to it: nothing is added then.
//! - `bridge` and `ptp` give it to both ends of the pod's link; 0 is the kernel's 1,500.
//! - `macvlan` and `ipvlan` have no end on the node that could be compared; 0 is the parent's.
//! - `aws-cni` writes it as text.
//! - `cilium-cni` reads it and asks its agent all the same: whoever wrote it there believes in it, and that is all.
//!
//! Keys of a plugin are matched whatever the case of their letters, those of Flannel's delegate to the letter.
//!
//! A size that a kernel would refuse (below 68) is no declaration.

use serde_json::{Map, Value};

use super::cni::{ConfigFile, Network, Plugin, folded};
use super::{Files, calico, flannel};
use crate::fact::{Reason, Source, Unread};
use crate::units::IpSize;

/// The MTU of pods that are born now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// The size.
    pub mtu: IpSize,
    /// Who gives it.
    pub by: Giver,
    /// Where it is written: file and key.
    pub written: String,
    /// The `type` of the plugin that makes the pods' links.
    pub plugin: String,
    /// The bridge that the plugin puts them on, where it does.
    pub bridge: Option<String>,
}

/// Whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// The CNI file says it.
    CniFile,
    /// Felix found it.
    Calico,
    /// Flannel wrote it when it started.
    Flannel,
}

/// Where the plugins' default bridge is not said otherwise.
const DEFAULT_BRIDGE: &str = "cni0";

/// The least that a kernel takes for IPv4 (`ETH_MIN_MTU`).
pub(super) const LEAST: u32 = 68;

/// The plugins that make and change the links of pods that are born now, and the file that lists them; `None` where there
/// is no such file.
///
/// # Errors
/// If the file that wins could not be read, or cannot be used.
pub fn winner(files: &Files) -> Result<Option<(&str, Vec<Plugin>)>, Unread> {
    let Some(ConfigFile { path, read }) = files.cni.read()?.and_then(|files| files.first()) else { return Ok(None) };
    let network = read.as_ref().map_err(Unread::clone)?;
    let unusable = |_| Unread {
        source: Source::HostFiles,
        reason: Reason::Malformed { what: format!("{path} cannot be used, and what runtimes do then differs") },
    };
    let plugins = run(network.as_ref().map_err(unusable)?).plugins;
    Ok(Some((path.as_str(), plugins)).filter(|(_, plugins)| !plugins.is_empty()))
}

/// What pods that are born now get; `None` where nobody says, or in a way that is not known.
///
/// # Errors
/// If a file that says it could not be read.
pub fn pods(files: &Files) -> Result<Option<Pods>, Unread> {
    let Some((path, plugins)) = winner(files)? else { return Ok(None) };
    let Some(given) = given(files, path, &plugins[0])? else { return Ok(None) };
    let mut tuned =
        plugins[1..].iter().filter(|plugin| plugin.kind == "tuning").filter_map(|plugin| number(&plugin.fields));
    let smaller = tuned.next_back().filter(|&mtu| mtu < given.mtu);
    Ok(Some(match smaller {
        Some(mtu) => Pods { mtu, by: Giver::CniFile, written: format!("{path}: mtu of tuning"), ..given },
        None => given,
    }))
}

/// Whether pods' size is left to Felix; `None` where the file that wins is not Calico's.
///
/// # Errors
/// If the file that wins could not be read, or cannot be used.
pub fn is_left_to_felix(files: &Files) -> Result<Option<bool>, Unread> {
    let winner = winner(files)?.filter(|(_, plugins)| plugins[0].kind == "calico");
    Ok(winner.map(|(_, plugins)| number(&plugins[0].fields).is_none()))
}

fn given(files: &Files, path: &str, plugin: &Plugin) -> Result<Option<Pods>, Unread> {
    let own = |mtu: Option<IpSize>, key: &str, bridge: Option<String>| {
        mtu.map(|mtu| Pods {
            mtu,
            by: Giver::CniFile,
            written: format!("{path}: {key} of {}", plugin.kind),
            plugin: plugin.kind.clone(),
            bridge,
        })
    };
    let mtu = number(&plugin.fields);
    Ok(match plugin.kind.as_str() {
        "bridge" => own(mtu, "mtu", Some(bridge(&plugin.fields))),
        "ptp" | "macvlan" | "ipvlan" | "cilium-cni" => own(mtu, "mtu", None),
        "aws-cni" => own(mtu.or_else(|| as_text(&plugin.fields)), "mtu", None),
        "calico" if mtu.is_some() => own(mtu, "mtu", None),
        "calico" => of_calico(files)?,
        "flannel" => {
            let delegate = plugin.field("delegate").and_then(Value::as_object).cloned().unwrap_or_default();
            let bridge = delegates_bridge(&delegate);
            if delegate.contains_key("mtu") {
                own(size(delegate.get("mtu")), "delegate.mtu", bridge)
            } else {
                of_flannel(files, &plugin.fields, bridge)?
            }
        }
        _ => None,
    })
}

fn of_calico(files: &Files) -> Result<Option<Pods>, Unread> {
    let mtu = files.calico_mtu.read()?.copied().filter(|mtu| mtu.bytes() >= LEAST);
    let by = Giver::Calico;
    Ok(mtu.map(|mtu| Pods { mtu, by, written: calico::MTU.into(), plugin: "calico".into(), bridge: None }))
}

fn of_flannel(files: &Files, fields: &Map<String, Value>, bridge: Option<String>) -> Result<Option<Pods>, Unread> {
    let file = folded(fields, "subnetFile").and_then(Value::as_str).filter(|file| !file.is_empty());
    if file.is_some_and(|file| file != flannel::SUBNET) {
        return Ok(None);
    }
    let mtu = files.flannel.read()?.and_then(|subnet| subnet.mtu).filter(|mtu| mtu.bytes() >= LEAST);
    Ok(mtu.map(|mtu| Pods { mtu, by: Giver::Flannel, written: flannels(), plugin: "flannel".into(), bridge }))
}

/// The place of Flannel's number.
pub fn flannels() -> String {
    format!("{}: FLANNEL_MTU", flannel::SUBNET)
}

fn delegates_bridge(delegate: &Map<String, Value>) -> Option<String> {
    let kind = delegate.get("type").and_then(Value::as_str);
    kind.is_none_or(|kind| kind == "bridge").then(|| bridge(delegate))
}

fn bridge(fields: &Map<String, Value>) -> String {
    let named = folded(fields, "bridge").and_then(Value::as_str).filter(|name| !name.is_empty());
    named.unwrap_or(DEFAULT_BRIDGE).to_owned()
}

/// A plugin's `mtu`, where it is one: 0 leaves it to the plugin.
fn number(fields: &Map<String, Value>) -> Option<IpSize> {
    size(folded(fields, "mtu"))
}

fn size(mtu: Option<&Value>) -> Option<IpSize> {
    let mtu = u32::try_from(mtu?.as_u64()?).ok()?;
    (mtu >= LEAST).then(|| IpSize::new(mtu))
}

fn as_text(fields: &Map<String, Value>) -> Option<IpSize> {
    let mtu = folded(fields, "mtu")?.as_str()?.parse().ok().filter(|&mtu| mtu >= LEAST);
    mtu.map(IpSize::new)
}

/// The network that is made, Multus's first delegate in its place; without plugins where that stands elsewhere.
pub(super) fn run(network: &Network) -> Network {
    let Some(first) = network.plugins.first().filter(|first| first.kind == "multus") else { return network.clone() };
    let delegate = first.field("delegates").and_then(|delegates| delegates.get(0)).and_then(Value::as_object);
    let none = || Network { plugins: Vec::new(), ..network.clone() };
    delegate.map_or_else(none, delegated)
}

fn delegated(delegate: &Map<String, Value>) -> Network {
    let text = |key| folded(delegate, key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let listed = delegate.get("plugins").and_then(Value::as_array);
    let objects: Vec<_> = match listed {
        Some(plugins) => plugins.iter().filter_map(Value::as_object).collect(),
        None => vec![delegate],
    };
    let plugin = |fields: &Map<String, Value>| {
        let kind = folded(fields, "type").and_then(Value::as_str)?.to_owned();
        Some(Plugin { kind, fields: fields.clone() })
    };
    let plugins = objects.into_iter().filter_map(plugin).collect();
    Network { name: text("name"), version: text("cniVersion"), plugins }
}

#[cfg(test)]
pub(crate) mod tests;
