//! Files that are one node's alone. Nodes are network namespaces and share the machine's files, so each gets a tree: what
//! its recipe has, and `/proc`, which shows each process its own network.
//!
//! `/proc` of the tree is a link to the bound one. Where one of its files is to say something else, each folder on the way
//! gives way to one of links to what is in it: all the rest stays the kernel's.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::recipe::HostFile;
use crate::recipe::files::FOLDERS;
use crate::{Error, Result};

/// Where `/proc` is bound in a tree.
const KERNEL: &str = "kernel";

/// A node's files.
#[derive(Debug)]
pub struct HostTree {
    directory: TempDir,
    aside: AtomicUsize,
}

impl HostTree {
    pub(super) fn new(files: &[HostFile]) -> Result<Self> {
        let directory = tempfile::tempdir_in("/run").map_err(|error| Error::new("making a node's files", error))?;
        let tree = Self { directory, aside: AtomicUsize::new(0) };
        tree.fill(files).map_err(|error| Error::new("making a node's files", error))?;
        let (bound, kernel) = (MsFlags::MS_BIND | MsFlags::MS_REC, tree.at(KERNEL));
        mount(Some("/proc"), &kernel, None::<&str>, bound, None::<&str>)
            .map_err(|errno| Error::new(format!("binding /proc to {}", kernel.display()), errno))?;
        Ok(tree)
    }

    fn fill(&self, files: &[HostFile]) -> io::Result<()> {
        for folder in FOLDERS.into_iter().chain([KERNEL]) {
            fs::create_dir_all(self.at(folder))?;
        }
        fs::create_dir(self.directory.path().join("aside"))?;
        symlink(KERNEL, self.at("/proc"))?;
        for HostFile { path, text, mode } in files {
            let path = self.at(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.root()))?;
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
        }
        Ok(())
    }

    /// Where it begins: an agent's `host_root`.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Where a path of the host is.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Puts something in a path's place, and makes the folders around it that are not there. Whoever reads sees what was
    /// there or all of what is new.
    ///
    /// # Errors
    /// If it cannot be made, or moved there.
    pub fn put(&self, host: &Namespace, path: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<Swaps> {
        let mut swaps = Swaps::default();
        self.swap(host, path, make, &mut swaps)
            .map_err(|error| Error::new(format!("changing {path} of {}", host.name()), error))?;
        Ok(swaps)
    }

    /// Takes away what is at a path.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn take(&self, path: &str) -> Result<Swaps> {
        let (at, aside) = (self.at(path), self.aside());
        fs::rename(&at, &aside).map_err(|error| Error::new(format!("removing {}", at.display()), error))?;
        Ok(Swaps(vec![Swap { at, aside, was: Was::Taken }]))
    }

    fn swap(
        &self,
        host: &Namespace,
        path: &str,
        make: impl FnOnce(&Path) -> io::Result<()>,
        swaps: &mut Swaps,
    ) -> io::Result<()> {
        let (folder, _) = path.rsplit_once('/').ok_or_else(|| io::Error::other("it is no absolute path"))?;
        let mut at = self.root();
        for name in folder.split('/').filter(|name| !name.is_empty()) {
            at.push(name);
            match fs::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    let target = fs::read_link(&at)?;
                    let unfolded = self.aside();
                    links_to_all(host, &target, &unfolded)?;
                    swaps.0.push(Swap::make(unfolded, &at)?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let folder = self.aside();
                    fs::DirBuilder::new().mode(0o755).create(&folder)?;
                    swaps.0.push(Swap::make(folder, &at)?);
                }
                Err(error) => return Err(error),
            }
        }
        let new = self.aside();
        make(&new)?;
        swaps.0.push(Swap::make(new, &self.at(path))?);
        Ok(())
    }

    /// A path of its own beside the tree, on the same file system.
    fn aside(&self) -> PathBuf {
        let number = self.aside.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join("aside").join(number.to_string())
    }
}

/// A folder of links to everything in a folder of the kernel's, as a node sees it. It comes to be where a link to that
/// folder is, one level above its own links.
fn links_to_all(host: &Namespace, target: &Path, folder: &Path) -> io::Result<()> {
    let below = target.iter().skip_while(|part| *part == "..").collect::<PathBuf>();
    let below = below.strip_prefix(KERNEL).map_err(|_| io::Error::other("it is below a link"))?;
    let names = || -> io::Result<Vec<_>> {
        fs::read_dir(Path::new("/proc").join(below))?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let names = host.inside(names).map_err(|error| io::Error::other(error.to_string()))??;
    fs::create_dir(folder)?;
    names.iter().try_for_each(|name| symlink(Path::new("..").join(target).join(name), folder.join(name)))
}

/// Writes a file that did not exist.
///
/// # Errors
/// If it cannot.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    io::Write::write_all(&mut file, bytes)
}

/// What was put in the place of something, in order.
#[derive(Debug, Default)]
#[must_use = "it can only be undone with this value"]
pub struct Swaps(Vec<Swap>);

#[derive(Debug)]
struct Swap {
    at: PathBuf,
    /// Where what was there is meanwhile, and later what came.
    aside: PathBuf,
    was: Was,
}

/// What was at a path before.
#[derive(Clone, Copy, Debug)]
enum Was {
    /// Something else, which is aside now.
    There,
    /// Nothing.
    Missing,
    /// Something that nothing came for.
    Taken,
}

impl Swap {
    fn make(new: PathBuf, at: &Path) -> io::Result<Self> {
        let there = fs::symlink_metadata(at).is_ok();
        let flags = if there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &new, CWD, at, flags)?;
        Ok(Self { at: at.to_owned(), aside: new, was: if there { Was::There } else { Was::Missing } })
    }

    fn undo(&self) -> io::Result<()> {
        let Self { at, aside, was } = self;
        let flags = if let Was::There = was { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let (from, to) = if let Was::Missing = was { (at, aside) } else { (aside, at) };
        renameat_with(CWD, from, CWD, to, flags)?;
        match fs::symlink_metadata(aside) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(aside),
            Ok(_) => fs::remove_file(aside),
            Err(_) => Ok(()),
        }
    }
}

impl Swaps {
    /// Puts back what was there.
    ///
    /// # Errors
    /// If it cannot.
    pub fn undo(self) -> Result<()> {
        let undo =
            |swap: &Swap| swap.undo().map_err(|error| Error::new(format!("putting {} back", swap.at.display()), error));
        self.0.iter().rev().try_for_each(undo)
    }
}

impl Drop for HostTree {
    fn drop(&mut self) {
        // The directory is removed next, and must not reach into what is mounted. If this fails, removing fails too, on
        // files that belong to the kernel; all of it goes with the lab's own /run.
        let _ = umount2(&self.at(KERNEL), MntFlags::MNT_DETACH);
    }
}
