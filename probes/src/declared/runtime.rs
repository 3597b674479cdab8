//! Whether this machine is a Kubernetes node, which container runtime makes its pods, and where that one looks for CNI
//! files and plugins.
//!
//! **A node** has what a kubelet leaves in its folder, or kubeadm in `/etc/kubernetes`, or a distribution that brings its
//! own containerd. The package alone leaves neither, and `kubeadm reset` takes both away.
//!
//! **The runtime** is a distribution's containerd where its file is there; else the one whose socket the kubelet was
//! given; else the only one of containerd and CRI-O that left a trace. Two that nothing tells apart are not known, and
//! neither is one of another name. cri-dockerd takes its folders from its own flags, which are not read: where its default
//! folder has a file, that is taken for what it finds, as with a runtime that left no trace.
//!
//! A machine that is no node has files of runtimes too (Docker's containerd, a CRI-O that was tried once). They make no
//! pods, so what is wrong with them is no reason not to look: the default folder may hold podman's or nerdctl's.
//!
//! **The folders** are what the runtime's own files say, else its defaults. containerd takes imported files after the one
//! that names them, in order, and what they set wins; its CNI table is under another name in version 3 of the file, and
//! `bin_dirs` came to stand for `bin_dir`. CRI-O takes `crio.conf`, then everything in `crio.conf.d`, by name, and adds
//! the old `plugin_dir` to `plugin_dirs`.

use std::collections::{BTreeSet, VecDeque};

use toml::Table;

use super::host::{Ask, EntryKind, RawHost};
use crate::fact::{Fact, Reason, Source, Unread};

/// Where runtimes look for CNI files unless they are told otherwise.
pub const FOLDER: &str = "/etc/cni/net.d";

/// Where they look for plugins.
pub const PLUGINS: &str = "/opt/cni/bin";

/// What makes pods here, and where it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Which one it is.
    pub kind: Kind,
    /// Where it looks for CNI files.
    pub folder: String,
    /// Where it looks for plugins, in this order.
    pub plugins: Vec<String>,
    /// How many CNI files it takes, where it does not take all of them.
    pub most: Option<usize>,
    /// The network that it wants by name.
    pub network: Option<String>,
    /// Whether it sets up `lo` by a plugin.
    pub loopback: bool,
    /// The files that say so; none where nothing but its defaults is known.
    pub told_by: Vec<String>,
}

/// Which runtime it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It stops at the first file that is broken.
    Containerd,
    /// It passes over what is broken or lacks a plugin.
    Crio,
    /// It left no trace.
    Unknown,
}

impl Kind {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "CRI-O",
            Self::Unknown => "the container runtime",
        }
    }
}

impl Runtime {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            folder: FOLDER.into(),
            plugins: vec![PLUGINS.into()],
            most: (kind != Kind::Crio).then_some(1),
            network: None,
            loopback: kind == Kind::Containerd,
            told_by: Vec::new(),
        }
    }
}

/// Kubelets' folders: its own default, k0s, MicroK8s.
const KUBELETS: [&str; 3] = ["/var/lib/kubelet", "/var/lib/k0s/kubelet", "/var/snap/microk8s/common/var/lib/kubelet"];

/// What a kubelet that has joined a cluster has there: its pods, what kubeadm wrote for it, what clouds give it.
const OF_KUBELET: [&str; 4] = ["pods", "config.yaml", "kubeadm-flags.env", "kubeconfig"];

/// kubeadm's folder.
const KUBERNETES: &str = "/etc/kubernetes";

/// What it keeps there for a kubelet.
const OF_KUBEADM: &str = "kubelet.conf";

/// Files of the containerd that a distribution brings along: k3s, RKE2, MicroK8s, k0s, Talos.
const DISTRIBUTIONS: [&str; 5] = [
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
    "/var/snap/microk8s/current/args/containerd.toml",
    "/etc/k0s/containerd.toml",
    "/etc/cri/containerd.toml",
];

/// containerd's own file.
const CONTAINERD: &str = "/etc/containerd/config.toml";

/// The folder that its default file imports.
const IMPORTED: &str = "/etc/containerd/conf.d";

/// CRI-O's file, and the folder of its further ones.
const CRIO: (&str, &str) = ("/etc/crio/crio.conf", "/etc/crio/crio.conf.d");

/// Folders that each runtime makes as it starts.
const RUNNING: (&str, &str) = ("/run/containerd", "/run/crio");

/// The socket that stands between the kubelet and Docker.
const DOCKERD: &str = "/cri-dockerd.sock";

/// Files that may tell the kubelet its runtime's socket.
const ENDPOINTS: [&str; 2] = ["/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.yaml"];

/// Most folders of plugins.
const FOLDERS: usize = 16;

/// Most files that imports may lead to.
const IMPORTS: usize = 16;

pub(super) fn asks(read: &RawHost) -> Vec<Ask> {
    let folders = KUBELETS.into_iter().chain([KUBERNETES, RUNNING.0, RUNNING.1]).map(|path| Ask::folder(path, &[]));
    let texts = DISTRIBUTIONS.into_iter().chain([CONTAINERD, CRIO.0]).chain(ENDPOINTS).map(Ask::text);
    let mut asks: Vec<Ask> = folders.chain(texts).collect();
    asks.push(Ask::folder(CRIO.1, &[""]));
    asks.push(Ask::folder(IMPORTED, &[".toml"]));
    asks.push(Ask::folder("/var", &[]));
    for main in DISTRIBUTIONS.into_iter().chain([CONTAINERD]) {
        if matches!(read.text(main), Ok(Some(_))) {
            // What stands in its way now is found again when it is understood.
            let _ = files(read, main, &mut asks);
        }
    }
    asks
}

/// The path that shows that this machine is a Kubernetes node; absent if it is none.
pub fn node(read: &RawHost) -> Fact<String> {
    let kubelet = KUBELETS.into_iter().map(|folder| has(read, folder, &OF_KUBELET));
    let kubeadm = has(read, KUBERNETES, &[OF_KUBEADM]);
    let brought = DISTRIBUTIONS.into_iter().map(|path| Ok(read.text(path)?.map(|_| path.to_owned())));
    let mut unread = None;
    for looked in kubelet.chain([kubeadm]).chain(brought) {
        match looked {
            Ok(Some(path)) => return Fact::Known(path),
            Ok(None) => {}
            Err(why) => unread = unread.or(Some(why)),
        }
    }
    match unread.map_or_else(|| visible(read, "/var"), Err) {
        Ok(()) => Fact::Absent,
        Err(why) => Fact::Unread(why),
    }
}

/// Whether what is missing below a top folder is really missing: a container may have been given only some of them.
pub(super) fn visible(read: &RawHost, path: &str) -> Result<(), Unread> {
    let top = top(path);
    match read.folder(&top) {
        // It is there, and only its names are secret.
        Err(Unread { reason: Reason::Denied { .. }, .. }) | Ok(Some(_)) => Ok(()),
        Err(why) => Err(why),
        Ok(None) => {
            let why = format!("the machine's {top} is not to be seen: mount it below host_root, read-only");
            Err(unsupported(why))
        }
    }
}

/// The top folder of a path.
pub(super) fn top(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/').split('/').next().unwrap_or_default())
}

fn has(read: &RawHost, folder: &str, names: &[&str]) -> Result<Option<String>, Unread> {
    let entries = read.folder(folder)?.unwrap_or_default();
    let found = entries.iter().find(|entry| names.contains(&entry.name.as_str()));
    Ok(found.map(|entry| format!("{folder}/{}", entry.name)))
}

/// The runtime.
///
/// # Errors
/// If it cannot be told which one it is, or its files cannot be read or understood.
pub fn of(read: &RawHost) -> Result<Runtime, Unread> {
    let known = told(read);
    match known {
        Err(Unread { reason: Reason::NotYet, .. }) | Ok(_) => known,
        Err(_) if node(read) == Fact::Absent => Ok(Runtime::new(Kind::Unknown)),
        Err(_) => known,
    }
}

fn told(read: &RawHost) -> Result<Runtime, Unread> {
    let mut brought = Vec::new();
    for path in DISTRIBUTIONS {
        if read.text(path)?.is_some() {
            brought.push(path);
        }
    }
    match brought.as_slice() {
        [] => installed(read),
        [one] => containerd(read, Some(one)),
        many => Err(unsupported(format!("{}: which of them makes pods is not known", many.join(" and ")))),
    }
}

fn installed(read: &RawHost) -> Result<Runtime, Unread> {
    let main = read.text(CONTAINERD)?.map(|_| CONTAINERD);
    if let Some((told_by, endpoint)) = endpoint(read) {
        let mut runtime = match () {
            () if endpoint.contains("crio") => crio(read)?,
            () if endpoint.ends_with("containerd.sock") => containerd(read, main)?,
            () if endpoint.ends_with(DOCKERD) => Runtime::new(Kind::Unknown),
            () => {
                return Err(unsupported(format!(
                    "{endpoint} of {told_by}: where that looks for CNI files is not known"
                )));
            }
        };
        runtime.told_by.insert(0, told_by.into());
        return Ok(runtime);
    }
    let ran = |folder: &str| !matches!(read.folder(folder), Ok(None));
    let (runs_containerd, runs_crio) = (ran(RUNNING.0), ran(RUNNING.1));
    let is_containerd = match main {
        Some(main) => !is_without_cri(read, main)?,
        None => runs_containerd,
    };
    let is_crio = runs_crio || !crio_files(read)?.is_empty();
    match (is_containerd, is_crio) {
        (true, false) => containerd(read, main),
        (false, true) => crio(read),
        (false, false) => Ok(Runtime::new(Kind::Unknown)),
        (true, true) if runs_containerd && !runs_crio => containerd(read, main),
        (true, true) if runs_crio && !runs_containerd => crio(read),
        (true, true) => Err(unsupported("containerd and CRI-O are both here: which makes pods is not known".into())),
    }
}

/// The socket that the kubelet was given, and the file that says so. A file that cannot be read says nothing.
fn endpoint(read: &RawHost) -> Option<(&'static str, String)> {
    let value = |path: &str, key: &str| {
        let text = read.text(path).ok()??;
        let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
        let rest = lines.filter_map(|line| Some(line.split_once(key)?.1)).next_back()?;
        let value = rest.trim_start().trim_start_matches(['"', '\'']);
        let value = value.split([' ', '"', '\'', '#']).next()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let [flags, config] = ENDPOINTS;
    let flag = value(flags, "--container-runtime-endpoint=").map(|value| (flags, value));
    flag.or_else(|| value(config, "containerRuntimeEndpoint:").map(|value| (config, value)))
}

fn containerd(read: &RawHost, main: Option<&str>) -> Result<Runtime, Unread> {
    let mut runtime = Runtime::new(Kind::Containerd);
    let (mut one, mut many) = (None, None);
    for (path, table) in main.map_or(Ok(Vec::new()), |main| files(read, main, &mut Vec::new()))? {
        let Some(cni) = cri(&table).and_then(|cri| cri.get("cni")?.as_table()) else { continue };
        if let Some(folder) = text(cni, "conf_dir") {
            runtime.folder = folder.clone();
        }
        one = text(cni, "bin_dir").or(one);
        many = texts(cni, "bin_dirs").or(many);
        if let Some(most) = cni.get("max_conf_num").and_then(toml::Value::as_integer) {
            runtime.most = usize::try_from(most).ok().filter(|&most| most > 0);
        }
        if let Some(internal) = cni.get("use_internal_loopback").and_then(toml::Value::as_bool) {
            runtime.loopback = !internal;
        }
        runtime.told_by.push(path);
    }
    // The list holds its default unless somebody sets it, and then the old key counts.
    let many = many.filter(|many| one.is_none() || many.as_slice() != [PLUGINS]);
    if let Some(plugins) = many.or_else(|| Some(vec![one?])) {
        runtime.plugins = plugins;
    }
    checked(runtime)
}

fn is_without_cri(read: &RawHost, main: &str) -> Result<bool, Unread> {
    let files = files(read, main, &mut Vec::new())?;
    let disabled = files.iter().filter_map(|(_, table)| texts(table, "disabled_plugins")).flatten();
    let is_cri =
        |id: String| ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"].contains(&id.as_str());
    Ok(disabled.into_iter().any(is_cri))
}

/// A containerd file and what it imports, in the order in which they are taken. What was not read yet is asked for.
fn files(read: &RawHost, main: &str, asks: &mut Vec<Ask>) -> Result<Vec<(String, Table)>, Unread> {
    let (mut files, mut taken) = (Vec::new(), BTreeSet::new());
    let mut pending = VecDeque::from([main.to_owned()]);
    while let Some(path) = pending.pop_front() {
        if !taken.insert(path.clone()) {
            continue;
        }
        if files.len() >= IMPORTS {
            return Err(unsupported(format!("{main} imports more than {IMPORTS} files")));
        }
        let table = match file(read, &path) {
            Err(Unread { reason: Reason::NotYet, source }) => {
                asks.push(Ask::text(&path));
                return Err(Unread::new(source, Reason::NotYet));
            }
            Err(why) => return Err(why),
            Ok(None) => return Err(unsupported(format!("{path}, which {main} imports, is not there"))),
            Ok(Some(text)) => parsed(&path, text)?,
        };
        for import in texts(&table, "imports").unwrap_or_default() {
            pending.extend(imported(read, &path, &import, asks)?);
        }
        files.push((path, table));
    }
    Ok(files)
}

/// A file's text, also where it was read along with its folder.
fn file<'a>(read: &'a RawHost, path: &str) -> Result<Option<&'a str>, Unread> {
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    let entries = read.folder(folder).ok().flatten().unwrap_or_default();
    match entries.iter().find(|entry| entry.name == name).map(|entry| &entry.kind) {
        Some(EntryKind::File { text: Some(text), .. }) => text.as_deref().map(Some).map_err(Unread::clone),
        _ => read.text(path),
    }
}

/// The paths that one `imports` stands for. Patterns are usual for a whole folder, as in `conf.d/*.toml`.
fn imported(read: &RawHost, by: &str, import: &str, asks: &mut Vec<Ask>) -> Result<Vec<String>, Unread> {
    let around = by.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if import.starts_with('/') { import.to_owned() } else { format!("{around}/{import}") };
    if !path.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let folder = path.strip_suffix("/*.toml").filter(|folder| !folder.contains(['*', '?', '[']));
    let folder =
        folder.ok_or_else(|| unsupported(format!("{by} imports {import}: which files that means is not known")))?;
    match read.folder(folder) {
        Err(Unread { reason: Reason::NotYet, source }) => {
            asks.push(Ask::folder(folder, &[".toml"]));
            Err(Unread::new(source, Reason::NotYet))
        }
        Err(why) => Err(why),
        Ok(entries) => {
            let names = entries.unwrap_or_default().iter().map(|entry| &entry.name);
            Ok(names.filter(|name| name.ends_with(".toml")).map(|name| format!("{folder}/{name}")).collect())
        }
    }
}

/// The table of the CRI plugin. A file of version 3 has it under another name, and the name that it had is not read.
fn cri(table: &Table) -> Option<&Table> {
    let plugins = table.get("plugins")?.as_table()?;
    let version = table.get("version").and_then(toml::Value::as_integer);
    let names: &[&str] = match version {
        Some(3..) => &["io.containerd.cri.v1.runtime"],
        Some(_) => &["io.containerd.grpc.v1.cri", "cri"],
        None => &["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "cri"],
    };
    names.iter().find_map(|name| plugins.get(*name)?.as_table())
}

fn crio(read: &RawHost) -> Result<Runtime, Unread> {
    let mut runtime = Runtime::new(Kind::Crio);
    let mut more = None;
    for (path, text_of) in crio_files(read)? {
        let table = parsed(&path, text_of)?;
        let Some(network) = table.get("crio").and_then(|crio| crio.get("network")?.as_table()) else { continue };
        if let Some(folder) = text(network, "network_dir") {
            runtime.folder = folder;
        }
        if let Some(plugins) = texts(network, "plugin_dirs") {
            runtime.plugins = plugins;
        }
        more = text(network, "plugin_dir").or(more);
        if let Some(name) = network.get("cni_default_network").and_then(toml::Value::as_str) {
            runtime.network = Some(name.to_owned()).filter(|name| !name.is_empty());
        }
        runtime.told_by.push(path);
    }
    runtime.plugins.extend(more);
    checked(runtime)
}

fn crio_files(read: &RawHost) -> Result<Vec<(String, &str)>, Unread> {
    let mut files: Vec<_> = read.text(CRIO.0)?.map(|text| (CRIO.0.to_owned(), text)).into_iter().collect();
    for entry in read.folder(CRIO.1)?.unwrap_or_default() {
        if let EntryKind::File { text: Some(text), .. } = &entry.kind {
            files.push((format!("{}/{}", CRIO.1, entry.name), text.as_ref().map_err(Unread::clone)?));
        }
    }
    Ok(files)
}

/// Folders in one way of writing them; they are absolute.
fn checked(mut runtime: Runtime) -> Result<Runtime, Unread> {
    for path in runtime.plugins.iter_mut().chain([&mut runtime.folder]) {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if !path.starts_with('/') || parts.contains(&"..") {
            return Err(unsupported(format!("{path:?} in {} is no absolute path", runtime.told_by.join(", "))));
        }
        *path = format!("/{}", parts.join("/"));
    }
    runtime.plugins.retain(|path| path != "/");
    if runtime.plugins.len() > FOLDERS {
        return Err(unsupported(format!("{} name more than {FOLDERS} folders", runtime.told_by.join(", "))));
    }
    Ok(runtime)
}

fn parsed(path: &str, text: &str) -> Result<Table, Unread> {
    text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| text.get(..span.start).map_or(1, |before| before.lines().count().max(1)));
        let what = error.message().lines().next().unwrap_or_default();
        Unread::new(Source::HostFiles, Reason::Malformed { what: format!("{path}:{line}: {what}") })
    })
}

fn text(table: &Table, key: &str) -> Option<String> {
    table.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(table: &Table, key: &str) -> Option<Vec<String>> {
    let texts = table.get(key)?.as_array()?;
    Some(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
}

fn unsupported(why: String) -> Unread {
    Unread::new(Source::HostFiles, Reason::Unsupported { why })
}

#[cfg(test)]
mod tests;
