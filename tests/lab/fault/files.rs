//! Files of a node's host: written, or masked as an administrator masks a package's.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Broken, route};
use crate::cluster::Cluster;
use crate::{Error, Result};

/// Writes a file. Healing puts back what was there.
pub(super) fn written<'c>(cluster: &'c Cluster, node: usize, path: &str, text: &str) -> Result<Broken<'c>> {
    let text = route::setting(&cluster.recipe, text)?;
    put(cluster, node, path, |path| fs::write(path, text))
}

/// Puts a link to `/dev/null` in a file's place.
pub(super) fn masked<'c>(cluster: &'c Cluster, node: usize, path: &str) -> Result<Broken<'c>> {
    put(cluster, node, path, |path| symlink("/dev/null", path))
}

/// Makes something new beside the path and moves it there, so that no reader meets half of it.
fn put<'c>(
    cluster: &'c Cluster,
    node: usize,
    path: &str,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<Broken<'c>> {
    let path = cluster.host_root(node)?.join(path.trim_start_matches('/'));
    let failed = |path: &Path| {
        let doing = format!("writing {}", path.display());
        move |error: io::Error| Error::new(doing.clone(), error)
    };
    let before = fs::read(&path).ok();
    let beside = beside(&path);
    make(&beside).and_then(|()| fs::rename(&beside, &path)).map_err(failed(&path))?;
    Ok(Broken::until(move || match before {
        Some(text) => fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path)).map_err(failed(&path)),
        None => fs::remove_file(&path).map_err(failed(&path)),
    }))
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    beside.into()
}
