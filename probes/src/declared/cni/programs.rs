//! Plugins that are there. The first folder that has a file of the name is the one that is run from, whether or not it
//! can be run.
//!
//! A link that leads nowhere is taken for such only where the place that it leads to is to be seen: from a container that
//! was given some of the machine's folders, a link into another one (`/nix/store`) seems to lead nowhere. So does one by
//! way of a folder that is such a link itself (`/etc/static`): the folder that a link leads into is asked for, and one
//! that could not be looked into may hold anything.

use std::collections::BTreeMap;

use crate::declared::host::{Ask, EntryKind, RawHost};
use crate::declared::runtime::{top, visible};
use crate::fact::Unread;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program.
    Runs,
    /// A file that nobody may execute.
    NotExecutable,
    /// A link to here, where nothing is.
    LeadsNowhere(String),
}

/// What stands in the folders of plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs(BTreeMap<String, Result<Folder, Unread>>);

/// One folder's, by name.
type Folder = BTreeMap<String, Result<Program, Unread>>;

/// Links from one name of a folder to another are followed this far.
const LINKS: usize = 8;

pub(super) fn asks(read: &RawHost, folders: impl Iterator<Item = String>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for folder in folders {
        asks.extend(behind_links(read, &folder));
        asks.push(Ask::folder(top(&folder), &[]));
        asks.push(Ask::folder(folder, &[]));
    }
    asks.dedup();
    asks
}

/// What to look into for links of a folder that seem to lead nowhere.
pub(super) fn behind_links(read: &RawHost, folder: &str) -> Vec<Ask> {
    let entries = read.folder(folder).ok().flatten().unwrap_or_default();
    let places = entries.iter().filter_map(|entry| match &entry.kind {
        EntryKind::Dangling(to) => Some(place(folder, to)),
        _ => None,
    });
    let both = |place: String| [around(&place).map(str::to_owned), Some(top(&place))];
    places.flat_map(both).flatten().map(|folder| Ask::folder(folder, &[])).collect()
}

/// Whether a link in a folder that leads nowhere here leads nowhere on the machine.
pub(super) fn leads_nowhere(read: &RawHost, folder: &str, to: &str) -> Result<(), Unread> {
    let place = place(folder, to);
    visible(read, &place)?;
    around(&place).map_or(Ok(()), |around| read.folder(around).map(drop))
}

/// Where a link in a folder says that it leads, from the root.
fn place(folder: &str, to: &str) -> String {
    let whole = if to.starts_with('/') { to.to_owned() } else { format!("{folder}/{to}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    format!("/{}", parts.join("/"))
}

/// The folder that a path is in; none at the top.
fn around(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(around, _)| around).filter(|around| !around.is_empty())
}

impl Programs {
    /// Takes in what was read of these folders.
    pub fn new<'a>(read: &RawHost, folders: impl Iterator<Item = &'a String>) -> Self {
        Self(folders.map(|folder| (folder.clone(), of(read, folder))).collect())
    }

    /// What is run by a name, and from which folder; `None` if none of them has it.
    ///
    /// # Errors
    /// If a folder could not be read before it was found.
    pub fn find(&self, name: &str, folders: &[String]) -> Result<Option<(String, Program)>, Unread> {
        let mut leads = None;
        for folder in folders {
            let all =
                self.0.get(folder).map_or_else(|| Ok(None), |all| all.as_ref().map(Some).map_err(Unread::clone))?;
            match all.and_then(|all| all.get(name)).map(|one| one.as_ref().map_err(Unread::clone)).transpose()? {
                Some(Program::LeadsNowhere(to)) => {
                    leads = leads.or_else(|| Some((folder.clone(), Program::LeadsNowhere(to.clone()))));
                }
                Some(program) => return Ok(Some((folder.clone(), program.clone()))),
                None => {}
            }
        }
        Ok(leads)
    }
}

fn of(read: &RawHost, folder: &str) -> Result<Folder, Unread> {
    let Some(entries) = read.folder(folder)? else { return visible(read, folder).map(|()| BTreeMap::new()) };
    let kinds: BTreeMap<&str, &EntryKind> = entries.iter().map(|entry| (entry.name.as_str(), &entry.kind)).collect();
    let one = |kind: &EntryKind| match kind {
        EntryKind::File { executable: true, .. } => Some(Ok(Program::Runs)),
        EntryKind::File { .. } => Some(Ok(Program::NotExecutable)),
        EntryKind::Dangling(to) => {
            let end = last(&kinds, to);
            Some(leads_nowhere(read, folder, end).map(|()| Program::LeadsNowhere(to.clone())))
        }
        EntryKind::Folder(_) | EntryKind::Other => None,
    };
    let all = entries.iter().filter_map(|entry| Some((entry.name.clone(), one(&entry.kind)?)));
    Ok(all.collect())
}

/// Where a link leads in the end, as far as it leads from one name of its folder to another.
fn last<'a>(kinds: &BTreeMap<&str, &'a EntryKind>, to: &'a str) -> &'a str {
    let mut at = to;
    for _ in 0..LINKS {
        match kinds.get(at.trim_start_matches("./")) {
            Some(EntryKind::Dangling(next)) => at = next,
            _ => break,
        }
    }
    at
}
