//! What sysctl files say, as their two readers take it.
//!
//! `systemd-sysctl` applies them at boot and as links appear, `sysctl --system` (procps) whenever somebody runs it, which
//! packages do. Both take `*.conf` of five directories, one file of each name, by the order of the directories, and go
//! through them by name; the last assignment of a key wins, and a key that is named wins over every pattern
//! (`net.ipv4.conf.*.rp_filter`), wherever that stands. They part in three things, measured with systemd 252 and procps
//! 4.0.2 side by side:
//!
//! - procps reads `/etc/sysctl.conf`, after all others. systemd does only where a link in a directory leads there, as
//!   Debian's `99-sysctl.conf` did until Debian 13.
//! - A key with a `-` and no value is left out of patterns by both. For systemd it also takes back an earlier assignment
//!   of that key, and is taken back by a later one.
//! - systemd writes a key once, where its value was first given; procps once for each line. That matters where one
//!   setting has two names (`net.ipv4.ip_forward` is `net.ipv4.conf.all.forwarding`): whichever is written last holds.
//!
//! Values are compared as the kernel reads them: numbers separated by white space, what follows them left out.
//! A file that could not be read may say anything: only a key that is named after it is known all the same.

mod glob;
mod key;
mod known;
mod reader;
mod value;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::fact::{Reason, Source, Unread};

pub use key::Key;
pub(crate) use known::is_called;
pub use known::{KNOWN, Setting, to_read};
pub use value::{alike, is_on, number};

use reader::Reader;

/// Where files of settings lie, the first directory first: of two files with one name the earlier counts.
pub const DIRECTORIES: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// The file that `sysctl --system` reads last.
pub const MAIN: &str = "/etc/sysctl.conf";

/// One file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Its path on the host.
    pub path: String,
    /// What it says; bytes that are no text replaced.
    pub text: Result<String, Unread>,
}

/// The files that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawFiles {
    /// Those of the directories, in the order of [`chosen`].
    pub directories: Vec<RawFile>,
    /// `/etc/sysctl.conf`, where there is one.
    pub main: Option<RawFile>,
}

/// Settings as they were read: what files say, and what the kernel has.
#[derive(Clone, Debug)]
pub struct RawSysctls {
    /// The files, or why it is not known which there are.
    pub files: Result<RawFiles, Unread>,
    /// The kernel's value of each key of [`to_read`]; `None` is one that it does not have.
    pub values: BTreeMap<Key, Result<Option<String>, Unread>>,
}

impl Default for RawSysctls {
    fn default() -> Self {
        Self { files: Err(Unread::new(Source::SysctlFiles, Reason::NotYet)), values: BTreeMap::new() }
    }
}

impl RawSysctls {
    /// Whether every file could be read that the agent may read.
    pub fn are_whole(&self) -> bool {
        let files = self.files.as_ref().map(|files| files.directories.iter().chain(&files.main));
        let fails = |file: &RawFile| file.text.as_ref().is_err_and(Unread::is_failure);
        files.is_ok_and(|mut files| !files.any(fails))
    }

    /// Whether the agent was not given the files.
    pub fn are_withheld(&self) -> bool {
        self.files.as_ref().is_err_and(|why| !why.is_failure())
    }
}

/// Which files of the directories count, in the order in which they are read: one of each name, by name. `names` are those
/// of each directory of [`DIRECTORIES`]. Hidden files, which only procps would read, are left aside.
pub fn chosen(names: &[Vec<String>; DIRECTORIES.len()]) -> Vec<String> {
    let mut chosen = BTreeMap::new();
    for (directory, names) in DIRECTORIES.iter().zip(names) {
        for name in names.iter().filter(|name| name.ends_with(".conf") && !name.starts_with('.')) {
            chosen.entry(name).or_insert(directory);
        }
    }
    chosen.into_iter().map(|(name, directory)| format!("{directory}/{name}")).collect()
}

/// The line that wins for a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// File and line, as in `/etc/sysctl.d/99-k8s.conf:3`.
    pub at: String,
    /// The value that it gives.
    pub value: String,
    /// For whom it wins: `systemd-sysctl`, which runs at boot, and `sysctl --system`.
    pub read_by: Vec<&'static str>,
    /// Whether it is a pattern that the key is one of many of.
    #[serde(skip)]
    pub pattern: bool,
}

/// What the files say, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    boot: Reader,
    system: Reader,
}

impl Written {
    /// Understands files.
    pub fn new(files: &RawFiles) -> Self {
        let system = files.directories.iter().chain(&files.main);
        Self { boot: Reader::systemd(&files.directories), system: Reader::procps(system) }
    }

    /// The lines that win for a setting with these names: none where nobody gives it a value, two where the readers
    /// part.
    ///
    /// # Errors
    /// If a file that could not be read may hold the line that wins.
    pub fn lines(&self, names: &[Key]) -> Result<Vec<Line>, Unread> {
        let (boot, system) = (self.boot.winner(names)?, self.system.winner(names)?);
        let line = |won: &reader::Won<'_>, read_by| Line {
            at: won.at(),
            value: won.value.to_owned(),
            read_by,
            pattern: won.pattern,
        };
        Ok(match (boot, system) {
            // Where it is one line that both take, or one file by two names, the place to change it is procps's.
            (Some(one), Some(other)) if one.is_same_line(&other) => vec![line(&other, vec![BOOT, SYSTEM])],
            (one, other) => {
                let one = one.iter().map(|won| line(won, vec![BOOT]));
                one.chain(other.iter().map(|won| line(won, vec![SYSTEM]))).collect()
            }
        })
    }

    /// The value that both readers give a setting with these names, if they agree.
    pub fn agreed(&self, names: &[Key]) -> Option<String> {
        match self.lines(names).ok()?.as_slice() {
            [only] if only.read_by.len() == 2 => Some(only.value.clone()),
            _ => None,
        }
    }
}

/// Who applies the files at boot and as links appear.
pub const BOOT: &str = "systemd-sysctl";
/// Who applies them when somebody asks for it.
pub const SYSTEM: &str = "sysctl --system";

#[cfg(test)]
mod tests;
