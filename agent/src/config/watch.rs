//! When a configuration file has changed.
//!
//! The file is looked at through its path every [`LOOK`] and read whole. The kernel could tell of changes (inotify), but
//! it tells them of an inode and not of a path: the symbolic link that a ConfigMap swaps, an editor that writes beside
//! and renames, a file that goes and comes back each need watches on every directory of the way, set anew after each
//! change; network file systems and FUSE tell nothing, and the number of watchers on a node is limited and often used
//! up. Times and sizes are no proof either, as two writes can fall into one tick of the file system's clock. Reading a
//! few KiB takes some ten microseconds.
//!
//! A change counts once two looks, [`SETTLE`] apart, found the same. A file that is being written is not wrong, it is
//! not finished; and half of one, or none of it, is often good YAML that means something else, so this holds for good
//! files as for broken ones. Whoever sends SIGHUP says that the file is finished: then one look is enough.
//!
//! Where this machine has no means to look, no descriptor for one, nothing is known of the file and nothing changes.
//!
//! An empty file is taken at the start, where it can only mean the defaults. In place of one that said something it is
//! what a full disk leaves behind, and refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ConfigError, Found, Settings, read};

/// Time between two looks.
pub const LOOK: Duration = Duration::from_secs(2);

/// Time after which something new is looked at again.
pub const SETTLE: Duration = Duration::from_secs(1);

/// A configuration file and what it held when it last counted.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    state: State,
    may_be_empty: bool,
}

impl Watched {
    /// Reads the file for the first time. What is no plain file (a pipe, say) gives what it holds but once and cannot be
    /// watched: then there is none.
    ///
    /// # Errors
    /// Every problem of the file at once; or why it could not be read.
    pub fn open(path: &Path) -> Result<(Settings, Option<Self>), ConfigError> {
        let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
        let found = read(path).unwrap_or_else(Err);
        let settings = Settings::of(path, &found)?;
        let may_be_empty = found.as_ref().is_ok_and(String::is_empty);
        let watched = || Self { path: path.to_owned(), state: State::new(found), may_be_empty };
        Ok((settings, is_file.then(watched)))
    }

    /// The file that is watched.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file.
    ///
    /// # Errors
    /// Why this machine has no means to look.
    pub fn look(&mut self) -> Result<Seen, String> {
        Ok(self.state.on(look(&self.path)?))
    }

    /// Looks at the file and takes it as it is.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn insist(&mut self) -> Result<(), String> {
        self.state.settle(look(&self.path)?);
        Ok(())
    }

    /// The settings that the file holds, as it last counted.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        match &self.state.settled {
            Ok(text) if text.is_empty() && !self.may_be_empty => {
                Settings::of(&self.path, &Err("is empty; if all defaults are meant, write `{}`".into()))
            }
            found => Settings::of(&self.path, found),
        }
    }
}

fn look(path: &Path) -> Result<Found, String> {
    // Opening a pipe waits for somebody to write to it.
    match fs::metadata(path) {
        Ok(about) if !about.is_file() && !about.is_dir() => Ok(Err("is no plain file any more".into())),
        _ => read(path),
    }
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What was there before.
    Same,
    /// Something else; look again after [`SETTLE`].
    Unsettled,
    /// Something else, and it stays.
    Changed,
}

/// What counts and what may come to.
#[derive(Debug)]
struct State {
    settled: Found,
    fresh: Option<Found>,
}

impl State {
    const fn new(found: Found) -> Self {
        Self { settled: found, fresh: None }
    }

    fn on(&mut self, found: Found) -> Seen {
        if found == self.settled {
            self.fresh = None;
            Seen::Same
        } else if self.fresh.as_ref() == Some(&found) {
            self.settle(found);
            Seen::Changed
        } else {
            self.fresh = Some(found);
            Seen::Unsettled
        }
    }

    fn settle(&mut self, found: Found) {
        self.settled = found;
        self.fresh = None;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use Seen::{Changed, Same, Unsettled};

    use super::*;

    /// What each look comes to, one after the other; a look that finds nothing is `None`.
    fn play(first: &str, looks: &[Option<&str>]) -> Vec<Seen> {
        let mut state = State::new(Ok(first.into()));
        let mut seen = |found: &Option<&str>| state.on(found.map(str::to_owned).ok_or_else(|| "gone".to_owned()));
        looks.iter().map(&mut seen).collect()
    }

    #[test]
    fn a_change_counts_when_it_was_seen_twice() {
        assert_eq!(play("a", &[Some("a"), Some("b"), Some("b"), Some("b")]), [Same, Unsettled, Changed, Same]);
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let looks = [Some(""), Some("pee"), Some("peers: 1"), Some("peers: 1")];
        assert_eq!(play("a", &looks), [Unsettled, Unsettled, Unsettled, Changed]);
    }

    #[test]
    fn what_is_as_before_in_the_end_never_changed() {
        assert_eq!(play("a", &[Some(""), Some("a"), Some(""), Some("a")]), [Unsettled, Same, Unsettled, Same]);
    }

    #[test]
    fn a_file_that_is_replaced_was_not_missing_and_one_that_stays_away_is() {
        assert_eq!(play("a", &[None, Some("b"), Some("b")]), [Unsettled, Unsettled, Changed]);
        assert_eq!(
            play("a", &[None, None, None, Some("a"), Some("a")]),
            [Unsettled, Changed, Same, Unsettled, Changed]
        );
    }

    /// A directory with a configuration, and what watches it.
    fn watched(text: &str) -> (tempfile::TempDir, PathBuf, Watched) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, text).unwrap();
        let (_, watched) = Watched::open(&path).unwrap();
        (directory, path, watched.unwrap())
    }

    fn changes(watched: &mut Watched) -> Option<Result<String, String>> {
        let seen = [watched.look().unwrap(), watched.look().unwrap()];
        let settings = watched.settings().map(|settings| settings.probes.node).map_err(|error| error.to_string());
        match seen {
            [Unsettled, Changed] => Some(settings),
            [Same, Same] => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_way_to_write_a_file_is_seen() {
        let (directory, path, mut watched) = watched("node: one\n");
        assert_eq!(changes(&mut watched), None);
        fs::write(&path, "node: two\n").unwrap();
        assert_eq!(changes(&mut watched), Some(Ok("two".into())), "written in place, of the same length");
        fs::write(directory.path().join("beside"), "node: three\n").unwrap();
        fs::rename(directory.path().join("beside"), &path).unwrap();
        assert_eq!(changes(&mut watched), Some(Ok("three".into())), "renamed over");
        fs::remove_file(&path).unwrap();
        let gone = changes(&mut watched).unwrap().unwrap_err();
        assert!(gone.contains("config.yaml: cannot open the configuration: No such file"), "{gone}");
        fs::write(&path, "node: three\n").unwrap();
        assert_eq!(changes(&mut watched), Some(Ok("three".into())), "back again");
        fs::write(&path, "").unwrap();
        assert!(changes(&mut watched).unwrap().unwrap_err().contains("is empty; if all defaults are meant"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(changes(&mut watched).unwrap().unwrap_err().contains("is a directory"));
    }

    #[test]
    fn a_file_that_was_empty_from_the_start_may_stay_so() {
        let (_directory, path, mut watched) = watched("");
        assert_eq!(changes(&mut watched), None);
        fs::write(&path, "node: one\n").unwrap();
        assert_eq!(changes(&mut watched), Some(Ok("one".into())));
        fs::write(&path, "").unwrap();
        assert!(matches!(changes(&mut watched), Some(Ok(_))));
    }

    #[test]
    fn the_link_that_a_config_map_swaps_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, text) in [("..1", "node: one\n"), ("..2", "node: two\n")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("config.yaml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/config.yaml", at("config.yaml")).unwrap();
        let mut watched = Watched::open(&at("config.yaml")).unwrap().1.unwrap();
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("..1")).unwrap();
        assert_eq!(changes(&mut watched), Some(Ok("two".into())));
    }

    #[test]
    fn a_signal_needs_one_look() {
        let (_directory, path, mut watched) = watched("node: one\n");
        fs::write(&path, "node: two\n").unwrap();
        watched.insist().unwrap();
        assert_eq!(watched.settings().unwrap().probes.node, "two");
        assert_eq!(watched.look(), Ok(Same));
    }

    #[test]
    fn a_pipe_is_read_once_and_not_watched() {
        let (_directory, path, mut watched) = watched("node: one\n");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            changes(&mut watched).unwrap().unwrap_err().contains("is no plain file any more"),
            "and it does not wait"
        );
        let writer = std::thread::spawn({
            let path = path.clone();
            move || fs::write(path, "node: piped\n").unwrap()
        });
        let (settings, watched) = Watched::open(&path).unwrap();
        writer.join().unwrap();
        assert_eq!(settings.probes.node, "piped");
        assert!(watched.is_none());
    }
}
