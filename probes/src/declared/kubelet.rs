//! The command line that the kubelet is started with, put together from the files that systemd takes it from.
//!
//! kubeadm's drop-in names variables and the files that set them: `/var/lib/kubelet/kubeadm-flags.env`, which kubeadm
//! writes, and `/etc/default/kubelet` or `/etc/sysconfig/kubelet`, which is the operator's. A variable that the command
//! line does not name has no effect, whatever it holds. Of units and drop-ins with one name the first folder's counts.
//! Where no unit is found, the files that kubeadm's would name are taken at their word.
//!
//! Distributions that hold the kubelet within themselves (k3s, RKE2, k0s, microk8s) have none of this.

pub mod systemd;

use std::collections::BTreeMap;

use super::host::{Ask, EntryKind, RawHost};
use super::yaml;
use crate::fact::{Fact, Reason, Source, Unread};

use systemd::{Text, environment, plain, service, words};

/// Where units lie, the first folder first.
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The kubelet's unit.
const UNIT: &str = "kubelet.service";

/// How the names of drop-ins end.
const PART: &str = ".conf";

/// Files that kubeadm's drop-in names, and what it takes of them.
const USUAL: [&str; 3] = ["/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet"];
const VARIABLES: [&str; 2] = ["KUBELET_KUBEADM_ARGS", "KUBELET_EXTRA_ARGS"];

/// The configuration that kubeadm gives the kubelet.
const CONFIG: &str = "/var/lib/kubelet/config.yaml";

/// Most files that one command line is made of.
const MOST: usize = 64;

/// Most characters that a command line's variables come to, as often as it names them: the most that a program can be
/// given in one word.
const LONGEST: usize = 128 << 10;

/// The flags that the kubelet is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Flags, in order.
    pub flags: Vec<Flag>,
    /// Files that may name more, and could not be read.
    pub unread: Vec<Unread>,
}

/// One flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name as the kubelet takes it: no dashes before it, and none but dashes in it.
    pub name: String,
    /// Its value, where it is given one.
    pub value: Option<String>,
    /// The file.
    pub file: String,
    /// The line in it.
    pub line: usize,
}

impl Flags {
    /// The value of a flag; of one that is given twice, the last.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|flag| flag.name == name)?.value.as_deref()
    }
}

pub(super) fn asks(read: &RawHost) -> Vec<Ask> {
    let units = UNITS.iter().map(|folder| Ask::text(format!("{folder}/{UNIT}")));
    let parts = UNITS.iter().map(|folder| Ask::folder(format!("{folder}/{UNIT}.d"), &[PART]));
    let named = Unit::of(read).files.into_iter().map(Ask::text);
    let config = flags(read).known().and_then(config_of).map(Ask::text);
    units.chain(parts).chain(USUAL.map(Ask::text)).chain(named).chain(config).chain([Ask::text(CONFIG)]).collect()
}

/// The flags; absent where no file speaks of a kubelet.
pub fn flags(read: &RawHost) -> Fact<Flags> {
    let unit = Unit::of(read);
    let usual: Vec<&str> = USUAL.into_iter().filter(|path| !matches!(read.text(path), Ok(None))).collect();
    if unit.is_absent && usual.is_empty() {
        return Fact::Absent;
    }
    let mut flags = Flags { flags: Vec::new(), unread: unit.unread.clone() };
    let line = if unit.command.1.is_empty() {
        let mut variables = BTreeMap::new();
        let found = usual.into_iter().filter_map(|path| Some((path.to_owned(), taken(read, path, &mut flags.unread)?)));
        for (path, text) in found {
            let assigned = environment(&text).into_iter().filter(|(name, _)| VARIABLES.contains(&name.as_str()));
            variables.extend(assigned.map(|(name, value)| (name, (path.clone(), value))));
        }
        VARIABLES.iter().filter_map(|name| variables.remove(*name)).flat_map(|value| split(&value)).collect()
    } else {
        unit.line(read, &mut flags.unread)
    };
    flags.flags = scanned(&line);
    Fact::Known(flags)
}

/// The folder that the kubelet takes static pods from, empty where it takes none; absent where nothing is said of it.
pub fn static_pods(read: &RawHost) -> Fact<String> {
    let flags = flags(read);
    let flag = flags.known().and_then(|flags| flags.value("pod-manifest-path"));
    if let Some(folder) = flag {
        return Fact::Known(folder.to_owned());
    }
    let path = flags.known().and_then(config_of).unwrap_or_else(|| CONFIG.to_owned());
    let text = match read.text(&path) {
        Ok(Some(text)) => text,
        Ok(None) => return Fact::Absent,
        Err(unread) => return Fact::Unread(unread),
    };
    match yaml::first(text) {
        Ok(config) => Fact::Known(config["staticPodPath"].as_str().unwrap_or_default().to_owned()),
        Err(broken) => Fact::Unread(broken.in_file(&path)),
    }
}

fn config_of(flags: &Flags) -> Option<String> {
    flags.value("config").filter(|path| path.starts_with('/')).map(str::to_owned)
}

/// A file's text, or a note that it could not be read.
fn taken(read: &RawHost, path: &str, unread: &mut Vec<Unread>) -> Option<String> {
    match read.text(path) {
        Ok(text) => text.map(str::to_owned),
        Err(why) => {
            unread.push(why);
            None
        }
    }
}

/// Text of one file.
type Placed = (String, Text);

/// What the unit and its drop-ins say together.
#[derive(Default)]
struct Unit {
    is_absent: bool,
    command: Placed,
    variables: BTreeMap<String, Placed>,
    files: Vec<String>,
    unread: Vec<Unread>,
}

impl Unit {
    fn of(read: &RawHost) -> Self {
        let mut unit = Self::default();
        let mut texts = Vec::new();
        for folder in UNITS {
            let path = format!("{folder}/{UNIT}");
            if let Some(text) = taken(read, &path, &mut unit.unread) {
                texts.push((path, text));
                break;
            }
        }
        let mut parts = BTreeMap::new();
        for folder in UNITS.iter().map(|folder| format!("{folder}/{UNIT}.d")) {
            match read.folder(&folder) {
                Ok(entries) => {
                    for entry in entries.into_iter().flatten().filter(|entry| entry.name.ends_with(PART)) {
                        let text = match &entry.kind {
                            EntryKind::File { text, .. } => text.as_ref(),
                            kind if is_masked(kind) => None,
                            _ => continue,
                        };
                        parts.entry(entry.name.clone()).or_insert((format!("{folder}/{}", entry.name), text));
                    }
                }
                Err(why) => unit.unread.push(why),
            }
        }
        for (path, text) in parts.into_values() {
            match text {
                Some(Ok(text)) => texts.push((path, text.clone())),
                Some(Err(why)) => unit.unread.push(why.clone()),
                None => {}
            }
        }
        unit.is_absent = texts.is_empty() && unit.unread.is_empty();
        for (path, text) in texts {
            unit.take(&path, &text);
        }
        unit
    }

    fn take(&mut self, path: &str, text: &str) {
        for (key, value) in service(text) {
            match key.as_str() {
                "ExecStart" => self.command = (path.to_owned(), value),
                "Environment" if value.is_empty() => self.variables.clear(),
                "Environment" => {
                    for word in words(&value) {
                        let Some(at) = word.iter().position(|(character, _)| *character == '=') else { continue };
                        self.variables.insert(plain(&word[..at]), (path.to_owned(), word[at + 1..].to_vec()));
                    }
                }
                "EnvironmentFile" if value.is_empty() => self.files.clear(),
                "EnvironmentFile" => {
                    let file = plain(&value);
                    let file = file.trim().trim_start_matches('-').trim_matches('"');
                    // One with a pattern in its name stands for files that nobody names.
                    if file.starts_with('/') && !file.contains(['*', '?', '[', '%']) && self.files.len() < MOST {
                        self.files.push(file.to_owned());
                    }
                }
                _ => {}
            }
        }
    }

    /// The words of the command line, after the program's name. Each may stand for a whole file's, so there is an end to it.
    fn line(mut self, read: &RawHost, unread: &mut Vec<Unread>) -> Vec<Placed> {
        for path in &self.files {
            let Some(text) = taken(read, path, unread) else { continue };
            let assigned = environment(&text).into_iter().map(|(name, value)| (name, (path.clone(), value)));
            self.variables.extend(assigned);
        }
        let (mut left, mut cut) = (LONGEST, false);
        let mut variable = |name: &str| {
            let value = self.variables.get(name)?;
            let less = left.checked_sub(value.1.len());
            cut |= less.is_none();
            left = less?;
            Some(value.clone())
        };
        let mut stands_for = |word: Placed| {
            let text = plain(&word.1);
            let Some(name) = text.strip_prefix('$').filter(|name| !name.starts_with('$')) else {
                return split_script(word);
            };
            match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => variable(name).map(split_script).unwrap_or_default(),
                None => variable(name).map(|value| split(&value)).unwrap_or_default(),
            }
        };
        let words = split(&self.command).into_iter().skip(1).take(MOST * MOST);
        let line = words.flat_map(&mut stands_for).collect();
        if cut {
            let what = format!("{}: the command line is longer than {LONGEST} characters", self.command.0);
            unread.push(Unread::new(Source::HostFiles, Reason::Failed { what }));
        }
        line
    }
}

/// A link to `/dev/null` under a drop-in's name takes away those of the folders behind.
fn is_masked(kind: &EntryKind) -> bool {
    match kind {
        EntryKind::Dangling(to) => to == "/dev/null",
        // Followed, it is a device.
        EntryKind::Other => true,
        EntryKind::File { .. } | EntryKind::Folder(_) => false,
    }
}

fn split((file, text): &Placed) -> Vec<Placed> {
    words(text).into_iter().map(|word| (file.clone(), word)).collect()
}

/// A word that is a command line of its own, as in `sh -c "exec kubelet --v=2"`.
fn split_script(word: Placed) -> Vec<Placed> {
    if plain(&word.1).contains(" --") { split(&word) } else { vec![word] }
}

fn scanned(line: &[Placed]) -> Vec<Flag> {
    let text = |at: usize| line.get(at).map(|(_, word)| plain(word));
    let flag = |(at, (file, word)): (usize, &Placed)| {
        let written = plain(word);
        let (name, value) = match written.strip_prefix("--")?.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (written[2..].to_owned(), text(at + 1).filter(|next| !next.starts_with('-'))),
        };
        let name = name.replace('_', "-");
        let line = word.first().map_or(1, |(_, line)| *line);
        (!name.is_empty()).then(|| Flag { name, value, file: file.clone(), line })
    };
    line.iter().enumerate().filter_map(flag).collect()
}

#[cfg(test)]
mod tests;
