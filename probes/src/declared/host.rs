//! Files of the host that declare something, as they were read: which to read ([`asks`]), and what came of each.
//!
//! What one file says can lead to another (a CNI configuration names the folder of its allocations), so a reader asks
//! again with what it has until nothing more is wanted. Every path is an absolute one of the host; whoever reads keeps
//! below `host_root`, and to [`Limits`].

use std::collections::{BTreeMap, BTreeSet};

use super::{addresses, calico, cni, flannel, kubelet, kubevip, network, runtime};
use crate::fact::{Reason, Source, Unread};

/// What a reader keeps to. Real files have a few KiB, real folders a few hundred names.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest file, in bytes.
    pub file: usize,
    /// Largest sum of files, in bytes.
    pub bytes: usize,
    /// Most names in one folder.
    pub names: usize,
    /// Most files of one folder whose text is read.
    pub files: usize,
    /// Most rounds of asking. A distribution's containerd file leads to a folder of imports, those to the CNI's folder, its
    /// file to plugins, and these to where links among them lead.
    pub rounds: usize,
}

/// What a reader keeps to.
pub const LIMITS: Limits = Limits { file: 64 << 10, bytes: 1 << 20, names: 16 << 10, files: 64, rounds: 8 };

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its path on the host.
    pub path: String,
    /// What of it is wanted.
    pub want: Want,
}

/// What of a path is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The text of a file.
    Text,
    /// What lies in a folder.
    Folder {
        /// Files with one of these endings are read as well.
        texts: &'static [&'static str],
        /// Whether the names in its folders are wanted.
        deep: bool,
    },
}

impl Ask {
    /// The text of a file.
    pub fn text(path: impl Into<String>) -> Self {
        Self { path: path.into(), want: Want::Text }
    }

    /// The names in a folder, and the texts of files with one of these endings.
    pub fn folder(path: impl Into<String>, texts: &'static [&'static str]) -> Self {
        Self { path: path.into(), want: Want::Folder { texts, deep: false } }
    }

    /// The names in a folder and in each of its folders.
    pub fn folders(path: impl Into<String>) -> Self {
        Self { path: path.into(), want: Want::Folder { texts: &[], deep: true } }
    }
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file's text; bytes that are no text replaced.
    Text(String),
    /// What lies in a folder, by name.
    Folder(Vec<Entry>),
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are no text replaced.
    pub name: String,
    /// What it is, links followed.
    pub kind: EntryKind,
}

/// What something in a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Whether somebody may execute it.
        executable: bool,
        /// Its text, where that was wanted.
        text: Option<Result<String, Unread>>,
    },
    /// A folder, and the names in it where they were wanted.
    Folder(Option<Result<Vec<String>, Unread>>),
    /// A link that leads nowhere in the machine's tree, and where it says that it leads.
    Dangling(String),
    /// Something else, as a pipe or a device.
    Other,
}

/// What was read of the host's files; `None` is what the machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHost(Result<BTreeMap<String, Result<Option<Found>, Unread>>, Unread>);

impl Default for RawHost {
    fn default() -> Self {
        Self::unread(Unread::new(Source::HostFiles, Reason::NotYet))
    }
}

impl RawHost {
    /// Nothing could be read: the machine's tree is not where it was said to be.
    pub const fn unread(why: Unread) -> Self {
        Self(Err(why))
    }

    /// Nothing was asked for.
    pub const fn new() -> Self {
        Self(Ok(BTreeMap::new()))
    }

    /// A machine with none of the files.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        Self::new().without_more()
    }

    /// The same machine with nothing of what its files lead to.
    #[cfg(test)]
    pub(crate) fn without_more(mut self) -> Self {
        for _ in 0..LIMITS.rounds {
            for ask in asks(&self) {
                let is_top = ask.path.rfind('/') == Some(0);
                self.take(ask.path, Ok(is_top.then(|| Found::Folder(Vec::new()))));
            }
        }
        self
    }

    /// Takes in what came of an ask.
    pub fn take(&mut self, path: String, found: Result<Option<Found>, Unread>) {
        if let Ok(all) = &mut self.0 {
            all.insert(path, found);
        }
    }

    /// A file's text; `None` if the machine has none.
    ///
    /// # Errors
    /// If it could not be read, or was not asked for.
    pub fn text(&self, path: &str) -> Result<Option<&str>, Unread> {
        match self.found(path)? {
            None => Ok(None),
            Some(Found::Text(text)) => Ok(Some(text)),
            Some(Found::Folder(_)) => Err(odd(path, "is a folder")),
        }
    }

    /// What lies in a folder; `None` if the machine has none.
    ///
    /// # Errors
    /// If it could not be read, or was not asked for.
    pub fn folder(&self, path: &str) -> Result<Option<&[Entry]>, Unread> {
        match self.found(path)? {
            None => Ok(None),
            Some(Found::Folder(entries)) => Ok(Some(entries)),
            Some(Found::Text(_)) => Err(odd(path, "is no folder")),
        }
    }

    fn found(&self, path: &str) -> Result<Option<&Found>, Unread> {
        let all = self.0.as_ref().map_err(Unread::clone)?;
        let found = all.get(path).ok_or_else(|| Unread::new(Source::HostFiles, Reason::NotYet))?;
        found.as_ref().map(Option::as_ref).map_err(Unread::clone)
    }

    fn is_answered(&self, path: &str) -> bool {
        self.0.as_ref().map_or(true, |all| all.contains_key(path))
    }

    /// Whether everything that was asked for could be read, as far as the agent may read it.
    pub fn is_whole(&self) -> bool {
        let whole = |found: &Result<Option<Found>, Unread>| match found {
            Ok(Some(Found::Folder(entries))) => entries.iter().all(Entry::is_whole),
            Ok(_) => true,
            Err(why) => !why.is_failure(),
        };
        self.0.as_ref().is_ok_and(|all| all.values().all(whole))
    }

    /// Whether the agent was not given the machine's files.
    pub fn is_withheld(&self) -> bool {
        self.0.as_ref().is_err_and(|why| !why.is_failure())
    }
}

impl Entry {
    fn is_whole(&self) -> bool {
        let failed = match &self.kind {
            EntryKind::File { text: Some(Err(why)), .. } | EntryKind::Folder(Some(Err(why))) => why.is_failure(),
            _ => false,
        };
        !failed
    }
}

fn odd(path: &str, what: &str) -> Unread {
    Unread::new(Source::HostFiles, Reason::Malformed { what: format!("{path} {what}") })
}

/// What is still to be read, given what was.
pub fn asks(read: &RawHost) -> Vec<Ask> {
    let of_cnis =
        [runtime::asks(read), cni::asks(read), calico::asks(), flannel::asks(), addresses::asks(read)].concat();
    let mut asks = [of_cnis, kubelet::asks(read), kubevip::asks(read), network::asks()].concat();
    let mut asked = BTreeSet::new();
    asks.retain(|ask| !read.is_answered(&ask.path) && asked.insert(ask.path.clone()));
    asks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_twice_or_of_a_tree_that_is_not_there() {
        let mut read = RawHost::new();
        let all = asks(&read);
        assert!(!all.is_empty());
        for _ in 0..LIMITS.rounds {
            for ask in asks(&read) {
                assert!(!read.is_answered(&ask.path), "{ask:?}");
                read.take(ask.path, Ok(None));
            }
        }
        assert_eq!(asks(&read), []);
        assert_eq!(asks(&RawHost::default()), []);
    }

    #[test]
    fn what_is_missing_what_is_odd_and_what_was_not_asked_are_told_apart() {
        let mut read = RawHost::new();
        read.take("/a".into(), Ok(None));
        read.take("/b".into(), Ok(Some(Found::Text("1\n".into()))));
        read.take("/c".into(), Ok(Some(Found::Folder(Vec::new()))));
        assert_eq!((read.text("/a"), read.text("/b")), (Ok(None), Ok(Some("1\n"))));
        assert_eq!((read.folder("/a"), read.folder("/c")), (Ok(None), Ok(Some(&[][..]))));
        assert!(read.text("/c").unwrap_err().to_string().contains("/c is a folder"));
        assert!(read.folder("/b").unwrap_err().to_string().contains("/b is no folder"));
        assert_eq!(read.text("/d").unwrap_err().reason, Reason::NotYet);
        assert!(read.is_whole());
    }

    #[test]
    fn one_file_of_a_folder_that_could_not_be_read_makes_it_less_than_whole() {
        let whole = |why: &Unread| {
            let kinds = [
                EntryKind::File { executable: false, text: Some(Err(why.clone())) },
                EntryKind::Folder(Some(Err(why.clone()))),
            ];
            kinds.map(|kind| {
                let mut read = RawHost::new();
                read.take("/a".into(), Ok(Some(Found::Folder(vec![Entry { name: "x".into(), kind }]))));
                read.is_whole()
            })
        };
        let failed = Unread::new(Source::HostFiles, Reason::Failed { what: "EIO".into() });
        assert_eq!(whole(&failed), [false; 2]);
        let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
        assert_eq!(whole(&denied), [true; 2], "what it may not read is no failure of the reader");
        assert!(!RawHost::default().is_whole());
    }

    #[test]
    fn files_that_were_not_given_are_told_from_those_that_fail() {
        let of = |reason| RawHost::unread(Unread::new(Source::HostFiles, reason));
        assert!(of(Reason::Unsupported { why: "nothing is mounted".into() }).is_withheld());
        assert!(!of(Reason::Failed { what: "EIO".into() }).is_withheld());
        assert!(!RawHost::default().is_withheld() && !RawHost::new().is_withheld());
    }
}
