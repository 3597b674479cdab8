//! A machine's files out of text, as the agent would read them.

use std::collections::{BTreeMap, BTreeSet};

use probes::declared::host::{Ask, Entry, EntryKind, Found, LIMITS, RawHost, Want, asks};
use probes::fact::{Reason, Source, Unread};

/// Reads a machine's files. A zero byte parts one from the next; the first line of each is its path, with `!` before it if
/// nobody may read it, and `*` if it may be executed. What is not named is not there.
pub fn read(text: &str) -> RawHost {
    let machine = Machine::new(text);
    let (mut read, mut asked) = (RawHost::new(), BTreeSet::new());
    for _ in 0..LIMITS.rounds {
        for Ask { path, want } in asks(&read) {
            assert!(asked.insert(path.clone()), "{path:?} is asked for twice");
            assert!(path.starts_with('/'), "{path:?} begins anywhere");
            let found = machine.found(&path, want);
            read.take(path, found);
        }
    }
    assert!(asks(&read).is_empty(), "it wants more than the reader's rounds");
    read
}

struct Machine<'a>(BTreeMap<&'a str, File<'a>>);

#[derive(Clone, Copy)]
struct File<'a> {
    text: &'a str,
    denied: bool,
    executable: bool,
}

impl<'a> Machine<'a> {
    fn new(text: &'a str) -> Self {
        let file = |file: &'a str| {
            let (path, text) = file.split_once('\n').unwrap_or((file, ""));
            let file = File { text, denied: path.starts_with('!'), executable: path.starts_with('*') };
            (path.trim_start_matches(['!', '*']).trim_end_matches('/'), file)
        };
        Self(text.split('\0').take(64).map(file).collect())
    }

    fn found(&self, path: &str, want: Want) -> Result<Option<Found>, Unread> {
        match (want, self.0.get(path)) {
            (_, Some(File { denied: true, .. })) => Err(denied(path)),
            (Want::Text, Some(file)) => Ok(Some(Found::Text(file.text.to_owned()))),
            (Want::Text, None) if self.below(path).next().is_some() => Err(odd(path, "is no file")),
            (Want::Text, None) => Ok(None),
            (Want::Folder { .. }, Some(_)) => Err(odd(path, "is no folder")),
            (Want::Folder { texts, deep }, None) => {
                let names: BTreeSet<&str> = self.below(path).map(|(rest, _)| first(rest)).collect();
                let entry = |name: &str| self.entry(&format!("{path}/{name}"), name, texts, deep);
                Ok((!names.is_empty()).then(|| Found::Folder(names.into_iter().map(entry).collect())))
            }
        }
    }

    fn entry(&self, path: &str, name: &str, texts: &[&str], deep: bool) -> Entry {
        let kind = match self.0.get(path) {
            Some(File { text, denied: closed, executable }) => {
                let wanted = texts.iter().any(|ending| name.ends_with(ending));
                let text = wanted.then(|| if *closed { Err(denied(path)) } else { Ok((*text).to_owned()) });
                EntryKind::File { executable: *executable, text }
            }
            None => {
                let names: BTreeSet<_> = self.below(path).map(|(rest, _)| first(rest).to_owned()).collect();
                EntryKind::Folder(deep.then(|| Ok(names.into_iter().collect())))
            }
        };
        Entry { name: name.to_owned(), kind }
    }

    /// What lies below a folder, by its path from there.
    fn below(&self, folder: &str) -> impl Iterator<Item = (&'a str, &File<'a>)> {
        let named = move |(path, file)| {
            let rest: &str = <str>::strip_prefix(path, folder)?.strip_prefix('/')?;
            (!first(rest).is_empty()).then_some((rest, file))
        };
        self.0.iter().map(|(path, file)| (*path, file)).filter_map(named)
    }
}

fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn denied(path: &str) -> Unread {
    Unread::new(Source::HostFiles, Reason::Denied { needs: format!("permission to read {path}") })
}

fn odd(path: &str, what: &str) -> Unread {
    Unread::new(Source::HostFiles, Reason::Malformed { what: format!("{path} {what}") })
}
