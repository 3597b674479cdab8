//! Which programs a network takes to make a pod, and where each is looked for.
//!
//! The runtime runs each plugin's `type`. Some plugins run others by the same search path: the address manager that they
//! name under `ipam`, Flannel its delegate (`bridge` and `host-local`, unless it is told otherwise), Multus its
//! delegates, for which it looks in its own `binDir` first. Plugins that are not known to run what `ipam` names may mean
//! something else by it (Azure's `azure-cns`, Antrea's, which runs it in its own container): it is not asked for.
//! containerd sets up `lo` by a plugin too.

use std::collections::BTreeSet;

use serde_json::Value;

use super::parse::folded;
use super::{Network, Plugin};
use crate::declared::runtime::{PLUGINS, Runtime};

/// A program that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub name: String,
    /// What it does.
    pub part: Part,
    /// Where it is looked for, in this order.
    pub folders: Vec<String>,
}

/// What a program does for a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The network lists it.
    Plugin,
    /// This plugin has it give addresses.
    Addresses(String),
    /// This plugin has it make the link.
    Delegate(String),
    /// The runtime sets up `lo` by it.
    Loopback,
}

/// Plugins that run the address manager that `ipam` names.
pub(in crate::declared) const RUN_IPAM: [&str; 14] = [
    "bridge",
    "calico",
    "dummy",
    "host-device",
    "ib-sriov",
    "ipoib",
    "ipvlan",
    "macvlan",
    "ovs",
    "ptp",
    "sriov",
    "tap",
    "vlan",
    "bond",
];

/// How deep delegates of delegates are followed.
const DEEPEST: usize = 3;

/// Every program that a pod of this network takes, each once.
pub fn needs(network: &Network, runtime: &Runtime) -> Vec<Need> {
    let mut needs = Vec::new();
    of_plugins(&network.plugins, &runtime.plugins, DEEPEST, &mut needs);
    if runtime.loopback {
        needs.push(Need { name: "loopback".into(), part: Part::Loopback, folders: runtime.plugins.clone() });
    }
    let mut known = BTreeSet::new();
    needs.retain(|need| known.insert((need.name.clone(), need.folders.clone())));
    needs
}

fn of_plugins(plugins: &[Plugin], folders: &[String], deep: usize, needs: &mut Vec<Need>) {
    for plugin in plugins {
        let kind = plugin.kind.clone();
        let mut add = |name: &str, part| needs.push(Need { name: name.into(), part, folders: folders.to_vec() });
        add(&kind, Part::Plugin);
        let ipam = plugin.field("ipam").and_then(Value::as_object).and_then(|ipam| folded(ipam, "type")?.as_str());
        let ipam = ipam.filter(|name| !name.is_empty());
        match kind.as_str() {
            "flannel" => {
                // Its delegate is a map: there keys are matched to the letter.
                let delegate = plugin.field("delegate").and_then(|delegate| delegate.get("type")?.as_str());
                add(delegate.unwrap_or("bridge"), Part::Delegate(kind.clone()));
                add(ipam.unwrap_or("host-local"), Part::Addresses(kind.clone()));
            }
            "multus" => of_multus(plugin, folders, deep, needs),
            known if RUN_IPAM.contains(&known) => {
                ipam.into_iter().for_each(|name| add(name, Part::Addresses(kind.clone())))
            }
            _ => {}
        }
    }
}

/// Multus's delegates stand in its file unless it takes them from the API or another folder.
fn of_multus(plugin: &Plugin, folders: &[String], deep: usize, needs: &mut Vec<Need>) {
    let elsewhere = plugin.field("clusterNetwork").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let delegates = plugin.field("delegates").and_then(Value::as_array);
    let (Some(delegates), Some(deep), false) = (delegates, deep.checked_sub(1), elsewhere) else { return };
    let own = plugin.field("binDir").and_then(Value::as_str).filter(|folder| folder.starts_with('/'));
    let own = own.unwrap_or(PLUGINS).trim_end_matches('/').to_owned();
    let mut looked = vec![own];
    looked.extend(folders.iter().filter(|folder| !looked.contains(folder)).cloned().collect::<Vec<_>>());
    let start = needs.len();
    for delegate in delegates {
        let listed = delegate.get("plugins").and_then(Value::as_array);
        let plugins: Vec<Plugin> = match listed {
            Some(listed) => listed.iter().filter_map(of_value).collect(),
            None => of_value(delegate).into_iter().collect(),
        };
        of_plugins(&plugins, &looked, deep, needs);
    }
    for need in needs.iter_mut().skip(start).filter(|need| need.part == Part::Plugin) {
        need.part = Part::Delegate(plugin.kind.clone());
    }
}

fn of_value(value: &Value) -> Option<Plugin> {
    let fields = value.as_object()?;
    let kind = folded(fields, "type")?.as_str().filter(|kind| !kind.is_empty())?;
    Some(Plugin { kind: kind.to_owned(), fields: fields.clone() })
}
