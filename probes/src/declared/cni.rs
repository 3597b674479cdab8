//! The CNI configuration, as container runtimes read it.
//!
//! Of the runtime's folder they take what ends in `.conf`, `.conflist` or `.json`, hidden files too, in the order of the
//! names' bytes. The first one is the network of every pod: a `.conflist` has a list of plugins, any other file is a
//! single one. containerd stops at a first file that is broken; CRI-O passes it over.
//!
//! A list's own keys are matched to the letter, a plugin's whatever their case, and of keys that stand twice the last one
//! counts. Since CNI 1.1 a list's plugins also come from `*.conf` in a folder named as its network, unless it says
//! `loadOnlyInlinedPlugins`. What is wrong with a file in the eyes of some versions only is not called wrong.
//!
//! Not everything that is loaded works: a network's name, a plugin's and the version are looked at only as a pod is made
//! ([`Network::refused`]).

mod needs;
mod parse;
mod programs;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::host::{Ask, Entry, EntryKind, RawHost};
use super::runtime::{self, Runtime};
use crate::fact::{Fact, Reason, Source, Unread};

pub use super::runtime::{FOLDER, PLUGINS};
pub(super) use needs::RUN_IPAM;
pub use needs::{Need, Part, needs};
pub(super) use parse::folded;
pub use programs::{Program, Programs};

/// Endings of the files that they take.
pub const ENDINGS: [&str; 3] = [".conf", ".conflist", ".json"];

/// Most names of other files that are kept.
const OTHERS: usize = 8;

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
    /// Its version, as it is written.
    pub version: String,
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
    /// The column, counted from 1, where it is one.
    pub column: Option<usize>,
}

impl Invalid {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), line: None, column: None }
    }
}

impl Network {
    /// Why no pod can be made with it, though the runtime loads it.
    pub fn refused(&self) -> Option<String> {
        let name = self.name.as_str();
        let first = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        let rest = name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-'));
        let numbers: Vec<_> = self.version.split('.').map(str::parse::<u32>).collect();
        let is_version = self.version.is_empty() || (numbers.len() == 3 && numbers.iter().all(Result::is_ok));
        let path = self.plugins.iter().find(|plugin| plugin.kind.contains('/'));
        match () {
            () if name.is_empty() => Some("its network has no name".into()),
            () if !(first && rest) => Some(format!("{name:?} is no name for a network")),
            () if !is_version => Some(format!("its cniVersion {:?} is none", self.version)),
            () => path.map(|plugin| format!("a plugin's type is a path: {:?}", plugin.kind)),
        }
    }
}

impl Plugin {
    /// One of its fields, whatever the case of its letters; of several the one that is written to the letter comes last.
    pub fn field(&self, key: &str) -> Option<&Value> {
        folded(&self.fields, key)
    }

    /// The MTU that it gives pods; `None` where it leaves that to somebody else (`0` means automatic).
    pub fn mtu(&self) -> Option<u32> {
        let mtu = self.field("mtu")?.as_u64()?;
        u32::try_from(mtu).ok().filter(|&mtu| mtu != 0)
    }
}

pub(super) fn asks(read: &RawHost) -> Vec<Ask> {
    let Ok(runtime) = runtime::of(read) else { return Vec::new() };
    let mut asks = vec![Ask::folder(&runtime.folder, &ENDINGS), Ask::folder(runtime::top(&runtime.folder), &[])];
    for file in taken(read, &runtime).ok().flatten().unwrap_or_default() {
        if let Ok(Ok(list)) = file.read
            && let Some(folder) = list.folder(&runtime)
        {
            asks.extend(programs::behind_links(read, &folder));
            asks.push(Ask::folder(folder, &[".conf"]));
        }
    }
    asks.extend(programs::behind_links(read, &runtime.folder));
    asks.extend(programs::asks(read, folders(&of(read, &runtime), &runtime).into_iter()));
    asks
}

/// Folders that plugins are looked for in, by the runtime or by one of them.
pub fn folders(files: &Fact<Vec<ConfigFile>>, runtime: &Runtime) -> BTreeSet<String> {
    let networks = files.known().into_iter().flatten().filter_map(|file| file.read.as_ref().ok()?.as_ref().ok());
    let needed = networks.flat_map(|network| needs(network, runtime)).flat_map(|need| need.folders);
    runtime.plugins.iter().cloned().chain(needed).collect()
}

/// The files, in the order in which runtimes take them; absent without the folder.
pub fn files(read: &RawHost) -> Fact<Vec<ConfigFile>> {
    match runtime::of(read) {
        Ok(runtime) => of(read, &runtime),
        Err(unread) => Fact::Unread(unread),
    }
}

fn of(read: &RawHost, runtime: &Runtime) -> Fact<Vec<ConfigFile>> {
    match taken(read, runtime) {
        Ok(Some(taken)) => Fact::Known(taken.into_iter().map(|file| file.whole(read, runtime)).collect()),
        Ok(None) => runtime::visible(read, &runtime.folder).map_or_else(Fact::Unread, |()| Fact::Absent),
        Err(unread) => Fact::Unread(unread),
    }
}

/// Names in the folder that runtimes pass over, a few of them.
pub fn others(read: &RawHost, runtime: &Runtime) -> Vec<String> {
    let entries = read.folder(&runtime.folder).ok().flatten().unwrap_or_default();
    let others = entries.iter().filter(|entry| !is_taken(entry)).map(|entry| entry.name.clone());
    others.take(OTHERS).collect()
}

fn is_taken(entry: &Entry) -> bool {
    ENDINGS.iter().any(|ending| entry.name.ends_with(ending)) && !matches!(entry.kind, EntryKind::Folder(_))
}

/// A file on its own.
struct Taken {
    path: String,
    read: Result<Result<parse::List, Invalid>, Unread>,
}

fn taken(read: &RawHost, runtime: &Runtime) -> Result<Option<Vec<Taken>>, Unread> {
    let Some(entries) = read.folder(&runtime.folder)? else { return Ok(None) };
    let one = |entry: &Entry| {
        let path = format!("{}/{}", runtime.folder, entry.name);
        let list = text(read, &path, &entry.kind).and_then(|text| match text {
            Ok(text) => parse::file(&entry.name, text),
            Err(invalid) => Ok(Err(invalid)),
        });
        Taken { path, read: list }
    };
    let mut taken: Vec<_> = entries.iter().filter(|entry| is_taken(entry)).map(one).collect();
    taken.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Some(taken))
}

fn text<'a>(read: &RawHost, path: &str, kind: &'a EntryKind) -> Result<Result<&'a str, Invalid>, Unread> {
    match kind {
        EntryKind::File { text: Some(text), .. } => text.as_deref().map(Ok).map_err(Unread::clone),
        EntryKind::Dangling(to) => {
            programs::leads_nowhere(read, path.rsplit_once('/').map_or("", |(folder, _)| folder), to)?;
            Ok(Err(Invalid::new(format!("it is a link to {to}, which is not there"))))
        }
        _ => Err(unsupported(format!("{path} is no file"))),
    }
}

impl Taken {
    fn whole(self, read: &RawHost, runtime: &Runtime) -> ConfigFile {
        let Self { path, read: list } = self;
        let read = list.and_then(|list| list.map_or_else(|invalid| Ok(Err(invalid)), |list| list.whole(read, runtime)));
        ConfigFile { path, read }
    }
}

impl parse::List {
    /// The folder that the rest of its plugins is in.
    fn folder(&self, runtime: &Runtime) -> Option<String> {
        let network = Network { name: self.name.clone(), version: String::new(), plugins: Vec::new() };
        (self.loads_more && network.refused().is_none()).then(|| format!("{}/{}", runtime.folder, self.name))
    }

    fn whole(self, read: &RawHost, runtime: &Runtime) -> Result<Result<Network, Invalid>, Unread> {
        let folder = self.folder(runtime);
        let (name, version, mut plugins) = (self.name, self.version, self.plugins.unwrap_or_default());
        if let Some(folder) = folder {
            for entry in read.folder(&folder)?.unwrap_or_default() {
                if !entry.name.ends_with(".conf") || matches!(entry.kind, EntryKind::Folder(_)) {
                    continue;
                }
                let path = format!("{folder}/{}", entry.name);
                let plugin = match text(read, &path, &entry.kind)? {
                    Ok(text) => parse::file(&entry.name, text)?.map(|list| list.plugins.unwrap_or_default()),
                    Err(invalid) => Err(invalid),
                };
                match plugin {
                    Ok(more) => plugins.extend(more),
                    Err(invalid) => return Ok(Err(Invalid { why: format!("{path}: {}", invalid.why), ..invalid })),
                }
            }
        }
        Ok(if plugins.is_empty() {
            Err(Invalid::new("it has no `plugins`"))
        } else {
            Ok(Network { name, version, plugins })
        })
    }
}

fn unsupported(why: String) -> Unread {
    Unread::new(Source::HostFiles, Reason::Unsupported { why })
}

#[cfg(test)]
mod tests;
