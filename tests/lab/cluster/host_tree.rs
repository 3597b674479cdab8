//! Files that are one node's alone. Nodes are network namespaces and share the machine's files, so a node whose files
//! matter gets a tree: the folders that every machine has, and `/proc`, which shows each process its own network.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::{Error, Result};

/// A tree, once something asks for it.
#[derive(Debug, Default)]
pub(super) struct HostTree(OnceLock<Tree>);

#[derive(Debug)]
struct Tree {
    directory: TempDir,
}

impl HostTree {
    pub(super) fn root(&self) -> Result<&Path> {
        if self.0.get().is_none() {
            // Of two that are made at once, the later is thrown away.
            let _ = self.0.set(Tree::new()?);
        }
        Ok(self.0.get().expect("it was set just now").directory.path())
    }
}

impl Tree {
    fn new() -> Result<Self> {
        let failed = |error| Error::new("making a node's files", error);
        let directory = tempfile::tempdir_in("/run").map_err(failed)?;
        for folder in ["etc/sysctl.d", "run/sysctl.d", "usr/lib/sysctl.d", "proc"] {
            fs::create_dir_all(directory.path().join(folder)).map_err(failed)?;
        }
        let (bound, proc) = (MsFlags::MS_BIND | MsFlags::MS_REC, directory.path().join("proc"));
        mount(Some("/proc"), &proc, None::<&str>, bound, None::<&str>)
            .map_err(|errno| Error::new(format!("binding /proc to {}", proc.display()), errno))?;
        Ok(Self { directory })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The directory is removed next, and must not reach into what is mounted. If this fails, removing fails too, on
        // files that belong to the kernel; all of it goes with the lab's own /run.
        let _ = umount2(&self.directory.path().join("proc"), MntFlags::MNT_DETACH);
    }
}
