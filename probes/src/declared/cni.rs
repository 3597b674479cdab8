//! The CNI configuration, as container runtimes read it.
//!
//! Of `/etc/cni/net.d` they take files that end in `.conf`, `.conflist` or `.json`, in lexical order, and the first one
//! is the network of every pod: a `.conflist` has a list of plugins, any other file is a single plugin. containerd stops
//! at a first file that is broken; CRI-O passes it over.

use serde_json::{Map, Value};

use super::host::{Ask, EntryKind, RawHost};
use crate::fact::{Fact, Unread};

/// Where runtimes look.
pub const FOLDER: &str = "/etc/cni/net.d";

/// Where they look for plugins.
pub const PLUGINS: &str = "/opt/cni/bin";

/// Endings of the files that they take.
pub const ENDINGS: [&str; 3] = [".conf", ".conflist", ".json"];

/// One file that a runtime takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path on the host.
    pub path: String,
    /// What it says; what is wrong with it; or why it could not be read.
    pub read: Result<Result<Network, Invalid>, Unread>,
}

/// A configuration that a runtime can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Plugins, in the order in which they are called.
    pub plugins: Vec<Plugin>,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its `type`: the name of its executable.
    pub kind: String,
    /// Everything that its object says.
    pub fields: Map<String, Value>,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong, in a few words.
    pub why: String,
    /// The line, counted from 1, where it is one.
    pub line: Option<usize>,
}

impl Plugin {
    /// The MTU that it gives pods; `None` where it leaves that to somebody else (`0` means automatic).
    pub fn mtu(&self) -> Option<u32> {
        let mtu = self.fields.get("mtu")?.as_u64()?;
        u32::try_from(mtu).ok().filter(|&mtu| mtu != 0)
    }
}

pub(super) fn asks(_: &RawHost) -> Vec<Ask> {
    vec![Ask::folder(FOLDER, &ENDINGS), Ask::folder(PLUGINS, &[])]
}

/// The files, in the order in which runtimes take them; absent without the folder.
pub fn files(read: &RawHost) -> Fact<Vec<ConfigFile>> {
    let entries = match read.folder(FOLDER) {
        Ok(Some(entries)) => entries,
        Ok(None) => return Fact::Absent,
        Err(unread) => return Fact::Unread(unread),
    };
    let texts = entries.iter().filter_map(|entry| match &entry.kind {
        EntryKind::File { text: Some(text), .. } => Some((&entry.name, text)),
        _ => None,
    });
    let mut files: Vec<ConfigFile> = texts
        .map(|(name, text)| ConfigFile {
            path: format!("{FOLDER}/{name}"),
            read: text.as_ref().map(|text| network(name, text)).map_err(Unread::clone),
        })
        .collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Fact::Known(files)
}

fn network(file: &str, text: &str) -> Result<Network, Invalid> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Invalid { why: error.to_string(), line: Some(error.line()).filter(|&line| line > 0) })?;
    let wrong = |why: &str| Invalid { why: why.to_owned(), line: None };
    let Value::Object(object) = value else { return Err(wrong("it is no object")) };
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let plugins = if file.ends_with(".conflist") {
        let plugins = object.get("plugins").ok_or_else(|| wrong("it has no `plugins`"))?;
        let plugins = plugins.as_array().ok_or_else(|| wrong("its `plugins` are no list"))?;
        plugins.iter().map(|plugin| plugin.as_object().cloned()).collect::<Option<Vec<_>>>()
    } else {
        Some(vec![object])
    };
    let plugins = plugins.ok_or_else(|| wrong("one of its `plugins` is no object"))?;
    let plugin = |fields: Map<String, Value>| {
        let kind = fields.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
        kind.map(str::to_owned).map(|kind| Plugin { kind, fields })
    };
    let plugins: Option<Vec<Plugin>> = plugins.into_iter().map(plugin).collect();
    let plugins = plugins.ok_or_else(|| wrong("a plugin has no `type`"))?;
    if plugins.is_empty() {
        return Err(wrong("it lists no plugin"));
    }
    Ok(Network { name, plugins })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
        {"type": "calico", "mtu": 1450, "ipam": {"type": "calico-ipam"}}, {"type": "portmap"}]}"#;

    #[test]
    fn a_list_has_plugins_and_any_other_file_is_one() {
        let list = network("10-calico.conflist", LIST).unwrap();
        let kinds: Vec<_> = list.plugins.iter().map(|plugin| (plugin.kind.as_str(), plugin.mtu())).collect();
        assert_eq!((list.name.as_str(), kinds), ("k8s-pod-network", vec![("calico", Some(1450)), ("portmap", None)]));
        let one = network("10-bridge.conf", r#"{"name": "net", "type": "bridge", "mtu": 0}"#).unwrap();
        assert_eq!((one.plugins[0].kind.as_str(), one.plugins[0].mtu()), ("bridge", None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |file: &str, text: &str| network(file, text).unwrap_err();
        assert_eq!(why("a.conf", "{\n\"name\": \"x\",\n").line, Some(3));
        assert_eq!(why("a.conflist", r#"{"name": "x", "type": "bridge"}"#).why, "it has no `plugins`");
        assert_eq!(why("a.conflist", r#"{"name": "x", "plugins": []}"#).why, "it lists no plugin");
        assert_eq!(why("a.conf", r#"{"name": "x"}"#).why, "a plugin has no `type`");
        assert_eq!(why("a.conf", "[]").why, "it is no object");
    }
}
