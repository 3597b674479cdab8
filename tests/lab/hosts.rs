//! A host's files as the agent reads them, in a folder of their own: what a machine has only one of, limits that hold for
//! all of its network namespaces among them, is given there and nowhere else.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use probes::kernel::HostFile;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::{Error, Result};

/// What stands for a number that keeps growing, in hexadecimal digits.
pub const GROWING: &str = "{growing}";

/// How often such a number grows.
const PACE: Duration = Duration::from_millis(100);

/// A copy of a host's files.
#[derive(Debug)]
pub struct Tree {
    directory: TempDir,
}

impl Tree {
    /// Copies the files as they are in a namespace.
    ///
    /// # Errors
    /// If one that is there cannot be read, or written.
    pub fn copy(host: &Namespace) -> Result<Self> {
        let directory = tempfile::tempdir().map_err(|error| Error::new("making a folder for a host's files", error))?;
        copy(host, directory.path())?;
        Ok(Self { directory })
    }

    /// The folder, as `host_root` takes it.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Gives a file another text until the value that is returned is gone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<Written> {
        let path = self.root().join(path.trim_start_matches('/'));
        let failed = |error: io::Error| Error::new(format!("writing {}", path.display()), error);
        let before = fs::read(&path).ok();
        fs::create_dir_all(path.parent().unwrap_or(self.root())).map_err(failed)?;
        replace(&path, text.replace(GROWING, "0").as_bytes()).map_err(failed)?;
        let growth = text.contains(GROWING).then(|| Growth::start(path.clone(), text.to_owned()));
        Ok(Written { path, before, growth })
    }
}

/// A file that was written.
#[derive(Debug)]
pub struct Written {
    path: PathBuf,
    before: Option<Vec<u8>>,
    growth: Option<Growth>,
}

impl Written {
    /// Puts back what was there.
    ///
    /// # Errors
    /// If it cannot.
    pub fn undo(self) -> Result<()> {
        let Self { path, before, growth } = self;
        let failed = |error: io::Error| Error::new(format!("putting {} back", path.display()), error);
        growth.map_or(Ok(()), Growth::end).map_err(failed)?;
        match before {
            Some(text) => replace(&path, &text),
            None => fs::remove_file(&path),
        }
        .map_err(failed)
    }
}

/// A number that grows in a file.
#[derive(Debug)]
struct Growth {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Growth {
    fn start(path: PathBuf, text: String) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut number = 0u32;
            while !until.load(Ordering::Relaxed) {
                replace(&path, text.replace(GROWING, &format!("{number:x}")).as_bytes())?;
                number += 1;
                thread::park_timeout(PACE);
            }
            Ok(())
        });
        Self { ended, thread }
    }

    fn end(self) -> io::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
    }
}

/// Copies a host's files as they are in a namespace to a folder.
///
/// # Errors
/// As [`Tree::copy`].
pub fn copy(host: &Namespace, root: &Path) -> Result<()> {
    let copy = || {
        ["etc", "run", "usr"].into_iter().try_for_each(|folder| fs::create_dir_all(root.join(folder)))?;
        HostFile::ALL.into_iter().try_for_each(|file| {
            let target = root.join(file.path().trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap_or(root))?;
            match fs::read(file.path()) {
                Ok(text) => fs::write(target, text),
                // What a kernel does not have is no file of its host either.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        })
    };
    host.inside(copy)?.map_err(|error| Error::new("copying the host's files", error))
}

/// Whoever reads sees the old text or the new one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}
