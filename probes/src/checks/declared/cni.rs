//! What becomes of a node's CNI files, for the codes that tell of it.
//!
//! One broken thing is one finding. Without any file that is [`CniNotConfigured`]; with files of which one that counts is
//! broken, [`CniConfigInvalid`]; with a usable one whose plugins are not all there, [`CniPluginMissing`].
//!
//! - containerd takes the first file (`max_conf_num` of them) and stops at one that is broken: no network at all.
//! - CRI-O passes over what is broken, or lists a plugin that is not there, and takes the first that is neither. What it
//!   passed over is a warning then: pods work, by another network than the one that was meant.
//! - A runtime that left no trace is judged as containerd, where its default folder has a file; a warning if a later file
//!   would do.
//!
//! Only what may be the network of pods is looked at: a broken file behind the one that counts hurts nobody.
//!
//! [`CniNotConfigured`]: super::CniNotConfigured
//! [`CniConfigInvalid`]: super::CniConfigInvalid
//! [`CniPluginMissing`]: super::CniPluginMissing

use schemars::JsonSchema;
use serde::Serialize;

use crate::declared::cni::{ConfigFile, Need, Network, Part, Program, needs};
use crate::declared::runtime::{Kind, Runtime};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::setup::Cni;
use crate::subject::Subject;

/// What the findings are about.
pub(super) const CNI: Subject = Subject::Setting("cni");

/// A runtime and where it looks, for evidence.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Looks {
    /// The container runtime.
    pub runtime: &'static str,
    /// Files that say where it looks; none where that is its default.
    pub told_by: Vec<String>,
    /// The folder of its CNI files.
    pub folder: String,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BrokenFile {
    /// Its path.
    pub file: String,
    /// What is wrong.
    pub why: String,
    /// The line, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Whether the runtime loads it nevertheless, and only pods fail.
    pub loads: bool,
}

/// A plugin that is not there, or does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lacking {
    /// Its name.
    pub name: String,
    /// Who runs it, and what for.
    pub part: String,
    /// What stands in its place.
    pub instead: String,
    /// Its path, where there is a file that nobody may execute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_executable: Option<String>,
}

/// A file and the plugins that it lacks.
#[derive(Clone, Debug)]
pub(super) struct Short {
    pub(super) file: String,
    pub(super) network: String,
    pub(super) plugins: Vec<Lacking>,
    pub(super) folders: Vec<String>,
}

/// What becomes of the files.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Broken files that count.
    pub(super) broken: Vec<BrokenFile>,
    /// Files that count and lack plugins.
    pub(super) short: Vec<Short>,
    /// Why some plugins could not be looked for.
    pub(super) unread: Option<Unread>,
    /// The file whose network pods get nevertheless.
    pub(super) instead: Option<String>,
    /// Files that are not looked at.
    pub(super) ignored: Vec<String>,
    /// Whether there is nothing that could be used or be broken.
    pub(super) nothing: bool,
}

impl Seen {
    /// How bad what is wrong is: pods that still get a network make it a warning.
    pub(super) const fn severity(&self) -> Severity {
        if self.instead.is_some() { Severity::Warning } else { Severity::Critical }
    }
}

/// Looks; `None` where the machine is no Kubernetes node.
pub(super) fn look(node: &Snapshot) -> Result<Option<(&Runtime, Seen)>, Unread> {
    let declared = &node.tables.declared;
    match &declared.node {
        Fact::Absent => return Ok(None),
        Fact::Known(_) => {}
        // A CNI's devices show it too; one that has left the cluster keeps them until it is booted, but that was seen above.
        Fact::Unread(why) if node.setup.cni == Cni::Unknown => return Err(why.clone()),
        Fact::Unread(_) => {}
    }
    let missing = || Unread::new(Source::HostFiles, Reason::NotYet);
    let runtime = declared.runtime.read()?.ok_or_else(missing)?;
    let files = declared.cni.read()?.map_or(&[][..], Vec::as_slice);
    if files.is_empty() && runtime.kind == Kind::Unknown {
        let folder = &runtime.folder;
        let why = match runtime.told_by.first() {
            Some(file) => format!(
                "no file in {folder}, where the container runtime of {file} looks unless its own flags name another \
                 folder: check its unit (--cni-conf-dir)"
            ),
            None => format!(
                "no file in {folder}, and no container runtime left a trace that says whether it looks there: check which \
                 one the kubelet uses (--container-runtime-endpoint)"
            ),
        };
        return Err(Unread::new(Source::HostFiles, Reason::Unsupported { why }));
    }
    let seen = if runtime.kind == Kind::Crio { by_crio(node, runtime, files) } else { in_order(node, runtime, files) };
    Ok(Some((runtime, seen?)))
}

/// Whether there is a file, and the runtime takes the first one whatever it says.
pub(super) fn takes_any(node: &Snapshot) -> bool {
    let declared = &node.tables.declared;
    let takes = declared.runtime.known().is_some_and(|runtime| runtime.kind != Kind::Crio);
    takes && declared.cni.known().is_some_and(|files| !files.is_empty())
}

/// How evidence names a runtime and where it looks.
pub(super) fn looks(runtime: &Runtime) -> Looks {
    Looks { runtime: runtime.kind.name(), told_by: runtime.told_by.clone(), folder: runtime.folder.clone() }
}

fn in_order(node: &Snapshot, runtime: &Runtime, files: &[ConfigFile]) -> Result<Seen, Unread> {
    let (taken, later) = files.split_at(runtime.most.unwrap_or(usize::MAX).min(files.len()));
    let mut seen = Seen { nothing: files.is_empty(), ..Seen::default() };
    for (index, file) in taken.iter().enumerate() {
        match usable(file)? {
            Err(broken) => {
                seen.broken.push(broken);
                seen.short.clear();
                let ignored = taken[index + 1..].iter().chain(later);
                seen.ignored = ignored.clone().map(|file| file.path.clone()).collect();
                if runtime.kind == Kind::Unknown {
                    seen.instead =
                        ignored.into_iter().find(|file| works(node, runtime, file)).map(|file| file.path.clone());
                }
                return Ok(seen);
            }
            Ok(network) => match lacking(node, &needs(network, runtime)) {
                Ok(plugins) if plugins.is_empty() => {}
                Ok(plugins) => seen.short.push(short(file, network, runtime, plugins)),
                Err(why) => seen.unread = Some(why),
            },
        }
    }
    seen.ignored = later.iter().map(|file| file.path.clone()).collect();
    Ok(seen)
}

fn by_crio(node: &Snapshot, runtime: &Runtime, files: &[ConfigFile]) -> Result<Seen, Unread> {
    let mut seen = Seen::default();
    for (index, file) in files.iter().enumerate() {
        let network = match crio_loads(file)? {
            Ok(network) => network,
            Err(broken) => {
                seen.broken.push(broken);
                continue;
            }
        };
        let needs = needs(network, runtime);
        let listed: Vec<_> = needs.iter().filter(|need| need.part == Part::Plugin).cloned().collect();
        let missing: Vec<_> = lacking(node, &listed)?;
        if !missing.is_empty() {
            seen.short.push(short(file, network, runtime, missing));
            continue;
        }
        if runtime.network.as_ref().is_some_and(|wanted| *wanted != name(file, network)) {
            continue;
        }
        let works = |seen: &mut Seen| {
            seen.instead = Some(file.path.clone());
            seen.ignored = files[index + 1..].iter().map(|file| file.path.clone()).collect();
        };
        match lacking(node, &needs) {
            Ok(plugins) if plugins.is_empty() => works(&mut seen),
            // What it passed over matters less than that pods get no network.
            Ok(plugins) => {
                (seen.broken, seen.short) = (Vec::new(), vec![short(file, network, runtime, plugins)]);
                seen.ignored = files[index + 1..].iter().map(|file| file.path.clone()).collect();
            }
            Err(why) => {
                works(&mut seen);
                seen.unread = Some(why);
            }
        }
        return Ok(seen);
    }
    if !seen.broken.is_empty() {
        seen.short.clear();
    }
    seen.nothing = seen.broken.is_empty() && seen.short.is_empty();
    Ok(seen)
}

/// The network of a file, as long as nothing is wrong with it.
fn usable(file: &ConfigFile) -> Result<Result<&Network, BrokenFile>, Unread> {
    let network = match file.read.as_ref().map_err(Unread::clone)? {
        Ok(network) => network,
        Err(invalid) => {
            let (why, line, column) = (invalid.why.clone(), invalid.line, invalid.column);
            return Ok(Err(BrokenFile { file: file.path.clone(), why, line, column, loads: false }));
        }
    };
    Ok(match network.refused() {
        None => Ok(network),
        Some(why) => Err(BrokenFile { file: file.path.clone(), why, line: None, column: None, loads: true }),
    })
}

/// The same for CRI-O, which asks plugins for their versions as it loads a file, and calls a network that has no name by
/// its file's.
fn crio_loads(file: &ConfigFile) -> Result<Result<&Network, BrokenFile>, Unread> {
    let broken = |broken: BrokenFile| BrokenFile { loads: false, ..broken };
    Ok(match &file.read {
        Ok(Ok(network)) if network.name.is_empty() => {
            let named = Network { name: "named".into(), ..network.clone() };
            let whole = ConfigFile { read: Ok(Ok(named)), path: file.path.clone() };
            usable(&whole)?.map(|_| network).map_err(broken)
        }
        _ => usable(file)?.map_err(broken),
    })
}

fn name<'a>(file: &'a ConfigFile, network: &'a Network) -> &'a str {
    if network.name.is_empty() { file.path.rsplit('/').next().unwrap_or_default() } else { &network.name }
}

fn works(node: &Snapshot, runtime: &Runtime, file: &ConfigFile) -> bool {
    let Ok(Ok(network)) = usable(file) else { return false };
    lacking(node, &needs(network, runtime)).is_ok_and(|plugins| plugins.is_empty())
}

fn short(file: &ConfigFile, network: &Network, runtime: &Runtime, plugins: Vec<Lacking>) -> Short {
    let mut folders = runtime.plugins.clone();
    for need in needs(network, runtime).into_iter().filter(|need| plugins.iter().any(|one| one.name == need.name)) {
        let more: Vec<_> = need.folders.into_iter().filter(|folder| !folders.contains(folder)).collect();
        folders.extend(more);
    }
    Short { file: file.path.clone(), network: name(file, network).into(), plugins, folders }
}

/// Those that are not there or do not run.
///
/// # Errors
/// If one of them could not be looked for, and none of the others is known to be missing.
fn lacking(node: &Snapshot, needs: &[Need]) -> Result<Vec<Lacking>, Unread> {
    let (mut lacking, mut unread) = (Vec::new(), None);
    for need in needs {
        let (instead, not_executable) = match node.tables.declared.plugins.find(&need.name, &need.folders) {
            Err(why) => {
                unread = unread.or(Some(why));
                continue;
            }
            Ok(Some((_, Program::Runs))) => continue,
            Ok(None) => ("nothing".to_owned(), None),
            Ok(Some((folder, Program::NotExecutable))) => {
                ("a file that nobody may execute".into(), Some(format!("{folder}/{}", need.name)))
            }
            Ok(Some((folder, Program::LeadsNowhere(to)))) => {
                (format!("a link in {folder} to {to}, which is not there"), None)
            }
        };
        let part = match &need.part {
            Part::Plugin => "the network lists it".to_owned(),
            Part::Addresses(by) => format!("{by} has it give addresses"),
            Part::Delegate(by) => format!("{by} has it make the link"),
            Part::Loopback => "containerd sets up lo by it".into(),
        };
        lacking.push(Lacking { name: need.name.clone(), part, instead, not_executable });
    }
    match unread {
        Some(why) if lacking.is_empty() => Err(why),
        _ => Ok(lacking),
    }
}

/// The CNI that a file or plugin belongs to, by its name.
pub(super) fn whose<'a>(names: impl IntoIterator<Item = &'a str>) -> Cni {
    let of = |name: &str| match () {
        () if name.contains("calico") => Some(Cni::Calico),
        () if name.contains("flannel") => Some(Cni::Flannel),
        () if name.contains("cilium") => Some(Cni::Cilium),
        () => None,
    };
    names.into_iter().find_map(of).unwrap_or_default()
}
