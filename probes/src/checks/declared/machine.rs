//! A machine's files for tests: what is there, what is secret, and that everything else is not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::checks::Check;
use crate::declared::Files;
use crate::declared::host::{Ask, Entry, EntryKind, Found, LIMITS, RawHost, Want, asks};
use crate::fact::{Reason, Source, Unread};
use crate::report::Severity;
use crate::snapshot::example::Example;

/// A machine's files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    files: BTreeMap<String, EntryKind>,
    folders: BTreeSet<String>,
    denied: BTreeSet<String>,
}

/// What a check raises on a reference node with these files; what it could not look at is an error.
pub(crate) fn judged<C: Check>(machine: &Machine) -> Result<Vec<(Severity, C::Evidence)>, Unread> {
    let mut node = Example::empty();
    node.tables.declared = Files::parse(&machine.read());
    let judgement = C::judge(&node.snapshot())?;
    match judgement.unread.into_iter().next() {
        Some((_, why)) => Err(why),
        None => Ok(judgement.raised.into_iter().map(|raised| (raised.severity, raised.evidence)).collect()),
    }
}

impl Machine {
    /// A machine that is no Kubernetes node.
    pub(crate) fn new() -> Self {
        ["/etc", "/usr", "/opt", "/var/lib"].into_iter().fold(Self::default(), Self::folder)
    }

    /// A node that kubeadm made, with containerd.
    pub(crate) fn node() -> Self {
        let flags = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"\n";
        Self::new().file("/var/lib/kubelet/kubeadm-flags.env", flags)
    }

    /// A node with CRI-O.
    pub(crate) fn crio() -> Self {
        let config = "containerRuntimeEndpoint: unix:///var/run/crio/crio.sock\n";
        Self::new().file("/var/lib/kubelet/config.yaml", config)
    }

    /// A folder, empty so far.
    pub(crate) fn folder(mut self, path: &str) -> Self {
        let parents = path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_owned());
        self.folders.extend(parents.chain([path.to_owned()]));
        self
    }

    /// A file that nobody may execute.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.put(path, EntryKind::File { executable: false, text: Some(Ok(text.into())) })
    }

    /// A file that may not be read.
    pub(crate) fn denied_file(self, path: &str) -> Self {
        self.put(path, EntryKind::File { executable: false, text: Some(Err(secret(path))) })
    }

    /// A program.
    pub(crate) fn executable(self, path: &str) -> Self {
        self.put(path, EntryKind::File { executable: true, text: Some(Ok(String::new())) })
    }

    /// A program in the usual folder of plugins.
    pub(crate) fn plugin(self, name: &str) -> Self {
        self.executable(&format!("/opt/cni/bin/{name}"))
    }

    /// A link that leads nowhere.
    pub(crate) fn dangling(self, path: &str, to: &str) -> Self {
        self.put(path, EntryKind::Dangling(to.into()))
    }

    /// A folder or file that may not be read.
    pub(crate) fn denied(mut self, path: &str) -> Self {
        self.denied.insert(path.into());
        self
    }

    /// A folder that was not mounted.
    pub(crate) fn unseen(mut self, path: &str) -> Self {
        self.folders.retain(|folder| !folder.starts_with(path));
        self.files.retain(|file, _| !file.starts_with(path));
        self
    }

    /// What a reader makes of it.
    pub(crate) fn read(&self) -> RawHost {
        let mut read = RawHost::new();
        for _ in 0..LIMITS.rounds {
            for Ask { path, want } in asks(&read) {
                let found = if self.denied.contains(&path) { Err(secret(&path)) } else { Ok(self.found(&path, want)) };
                read.take(path, found);
            }
        }
        assert_eq!(asks(&read), [], "a reader is done after that many rounds");
        read
    }

    fn put(self, path: &str, kind: EntryKind) -> Self {
        let folder = path.rsplit_once('/').unwrap().0.to_owned();
        let mut machine = self.folder(&folder);
        machine.files.insert(path.into(), kind);
        machine
    }

    fn found(&self, path: &str, want: Want) -> Option<Found> {
        let Want::Folder { texts, .. } = want else {
            let EntryKind::File { text: Some(Ok(text)), .. } = self.files.get(path)? else { return None };
            return Some(Found::Text(text.clone()));
        };
        self.folders.get(path)?;
        let name = |other: &String| Some(other.strip_prefix(path)?.strip_prefix('/')?.to_owned());
        let direct = |name: &String| !name.contains('/');
        let folders = self.folders.iter().filter_map(name).filter(direct);
        let folders = folders.map(|name| Entry { name, kind: EntryKind::Folder(None) });
        let files = self.files.iter().filter_map(|(path, kind)| {
            let name = name(path).filter(direct)?;
            let kind = match kind.clone() {
                EntryKind::File { executable, text } => {
                    let wanted = texts.iter().any(|ending| name.ends_with(ending));
                    EntryKind::File { executable, text: text.filter(|_| wanted) }
                }
                other => other,
            };
            Some(Entry { name, kind })
        });
        Some(Found::Folder(folders.chain(files).collect()))
    }
}

fn secret(path: &str) -> Unread {
    Unread::new(Source::HostFiles, Reason::Denied { needs: format!("permission to read {path}") })
}
