//! Files of a node's host: written, edited, gone, linked elsewhere, or such that nobody can read them.
//!
//! Paths and texts may name what is the recipe's: `{nic}`, `{lower}`, `{pod}` and the other links, `{cni_file}`,
//! `{allocations}`, `{node}`, `{address}`, `{pod_address}`, `{subnet}`, `{vip}`; and sizes, as in `{= pod - 1}`. A fault
//! that needs a file is played only where the recipe has it.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{CWD, FileType, mknodat};
use serde::Deserialize;

use super::{Broken, words};
use crate::cluster::{Cluster, host_tree};
use crate::family::Family;
use crate::recipe::Recipe;
use crate::recipe::files::{allocation, container};
use crate::size::Size;
use crate::{Error, Result};

/// What stands for a number that keeps growing, in hexadecimal digits.
pub(super) const GROWING: &str = "{growing}";

/// How often such a number grows.
const PACE: Duration = Duration::from_millis(100);

/// A file says something. `{growing}` is a number that grows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// On this node.
    #[serde(default)]
    pub node: usize,
    /// Where.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A file of the recipe says something else in one place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditedFile {
    /// On this node.
    #[serde(default)]
    pub node: usize,
    /// Where.
    pub path: String,
    /// What it says there.
    pub old: String,
    /// What it says instead.
    pub new: String,
}

/// A file or folder of the recipe is gone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoFile {
    /// On this node.
    #[serde(default)]
    pub node: usize,
    /// Where.
    pub path: String,
}

/// A link lies in a file's place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkedFile {
    /// On this node.
    #[serde(default)]
    pub node: usize,
    /// Where.
    pub path: String,
    /// Where it leads: to `/dev/null`, as an administrator masks a package's file, or to itself.
    pub to: String,
}

/// A file or folder of the recipe is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OddFile {
    /// On this node.
    #[serde(default)]
    pub node: usize,
    /// Where.
    pub path: String,
    /// What it is.
    pub is: Odd,
}

/// What a file is that should say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Odd {
    /// It, or all that is in it, may not be read or listed.
    Unreadable,
    /// As it was, and a MiB of blanks.
    Huge,
    /// Bytes that are no text.
    Binary,
    /// What it said in UTF-16, with a byte-order mark.
    Utf16,
    /// What it said after a comment in Latin-1.
    Latin1,
    /// Nothing.
    Empty,
    /// Its first half.
    Half,
    /// A folder.
    Folder,
    /// A pipe that nobody writes to.
    Pipe,
    /// A file that nobody may execute.
    NotExecutable,
}

/// All addresses of the node's range are taken but a few. Pods that have them are not in the lab.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenAddresses {
    /// On this node.
    #[serde(default)]
    pub node: usize,
    /// How many are free.
    pub left: Size,
}

impl HostFile {
    pub(super) fn fits(&self, recipe: &Recipe) -> bool {
        [&self.path, &self.text].into_iter().all(|text| words::filled(text, recipe, self.node).is_ok())
    }

    pub(super) fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let fill = |text| words::filled(text, &cluster.recipe, self.node);
        let (path, text) = (fill(&self.path)?, fill(&self.text)?);
        let written = put(cluster, self.node, &path, text.replace(GROWING, "0").as_bytes())?;
        if !text.contains(GROWING) {
            return Ok(written);
        }
        let growth = Growth::start(cluster.files(self.node).at(&path), text);
        let failed = move |error| Error::new(format!("changing {path} all the time"), error);
        Ok(written.and(Broken::until(move || growth.end().map_err(failed))))
    }
}

impl EditedFile {
    pub(super) fn fits(&self, recipe: &Recipe) -> bool {
        self.text(recipe).is_ok()
    }

    fn text(&self, recipe: &Recipe) -> Result<String> {
        let fill = |text| words::filled(text, recipe, self.node);
        let (path, old) = (fill(&self.path)?, fill(&self.old)?);
        let text = text(recipe, self.node, &path)?;
        if text.matches(&old).count() != 1 {
            return Err(Error::new(format!("editing {path}"), format!("`{old}` is not in it once:\n{text}")));
        }
        Ok(text.replace(&old, &fill(&self.new)?))
    }

    pub(super) fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let path = words::filled(&self.path, &cluster.recipe, self.node)?;
        put(cluster, self.node, &path, self.text(&cluster.recipe)?.as_bytes())
    }
}

impl NoFile {
    pub(super) fn fits(&self, recipe: &Recipe) -> bool {
        exists(recipe, self.node, &self.path)
    }

    pub(super) fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let path = words::filled(&self.path, &cluster.recipe, self.node)?;
        let swaps = cluster.files(self.node).take(&path)?;
        Ok(Broken::until(move || swaps.undo()))
    }
}

impl LinkedFile {
    pub(super) fn fits(&self, recipe: &Recipe) -> bool {
        [&self.path, &self.to].into_iter().all(|text| words::filled(text, recipe, self.node).is_ok())
    }

    pub(super) fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let fill = |text| words::filled(text, &cluster.recipe, self.node);
        let (path, to) = (fill(&self.path)?, fill(&self.to)?);
        placed(cluster, self.node, &path, |new| symlink(to, new))
    }
}

impl OddFile {
    pub(super) fn fits(&self, recipe: &Recipe) -> bool {
        exists(recipe, self.node, &self.path)
    }

    pub(super) fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let Self { node, is, .. } = *self;
        let path = words::filled(&self.path, &cluster.recipe, node)?;
        let text = || text(&cluster.recipe, node, &path);
        let bytes = match is {
            Odd::Unreadable => return with_mode(cluster, node, &path, |_| 0),
            Odd::NotExecutable => return with_mode(cluster, node, &path, |mode| mode & !0o111),
            Odd::Folder => return placed(cluster, node, &path, |new| fs::create_dir(new)),
            Odd::Pipe => return placed(cluster, node, &path, pipe),
            Odd::Huge => (text()? + &" ".repeat(1 << 20)).into_bytes(),
            Odd::Binary => (0..=u8::MAX).rev().cycle().take(4096).collect(),
            Odd::Utf16 => format!("\u{feff}{}", text()?).encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Odd::Latin1 => [b"# caf\xe9\n".as_slice(), text()?.as_bytes()].concat(),
            Odd::Empty => Vec::new(),
            Odd::Half => {
                let text = text()?;
                text.as_bytes()[..text.len() / 2].to_vec()
            }
        };
        put(cluster, node, &path, &bytes)
    }
}

impl TakenAddresses {
    pub(super) fn fits(&self, recipe: &Recipe) -> bool {
        let of_four = recipe.overlay.is_some_and(|overlay| overlay.families.has(Family::V4));
        recipe.allocations().is_some() && of_four && self.left.fits(&recipe.sizes())
    }

    /// Of a /24 that starts at the network's own address, 253 are for pods: its gateway has the first.
    pub(super) fn make<'c>(&self, cluster: &'c Cluster) -> Result<Broken<'c>> {
        let (recipe, node) = (&cluster.recipe, self.node);
        let folder = recipe.allocations().ok_or_else(|| Error::new("taking addresses", "no host-local here"))?;
        let overlay = cluster.overlay()?;
        let free = usize::try_from(self.left.on(&recipe.sizes())?).unwrap_or(usize::MAX);
        let taken = recipe.files(node);
        let files: Vec<_> = (2..=254)
            .map(|pod| allocation(folder, overlay.address_of(Family::V4, node, pod), &container(node, pod)))
            .filter(|file| taken.iter().all(|taken| taken.path != file.path))
            .collect();
        let more = files.len().saturating_sub(free);
        files[..more]
            .iter()
            .try_fold(Broken::default(), |all, file| Ok(all.and(put(cluster, node, &file.path, file.text.as_bytes())?)))
    }
}

/// What a file of the recipe says.
fn text(recipe: &Recipe, node: usize, path: &str) -> Result<String> {
    let file = recipe.files(node).into_iter().find(|file| file.path == path);
    file.map(|file| file.text).ok_or_else(|| Error::new(format!("looking for {path}"), "this recipe has no such file"))
}

/// Whether a recipe has a file, or a folder with files.
fn exists(recipe: &Recipe, node: usize, path: &str) -> bool {
    words::filled(path, recipe, node).is_ok_and(|path| {
        recipe.files(node).iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")))
    })
}

/// Writes a file, with the rights that the one before it had.
fn put<'c>(cluster: &'c Cluster, node: usize, path: &str, bytes: &[u8]) -> Result<Broken<'c>> {
    let before = fs::metadata(cluster.files(node).at(path)).ok().filter(fs::Metadata::is_file);
    let mode = before.map_or(0o644, |before| before.permissions().mode() & 0o777);
    placed(cluster, node, path, |new| host_tree::write(new, bytes, mode))
}

/// Puts something in a path's place.
fn placed<'c>(
    cluster: &'c Cluster,
    node: usize,
    path: &str,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<Broken<'c>> {
    let swaps = cluster.files(node).put(cluster.host(node), path, make)?;
    Ok(Broken::until(move || swaps.undo()))
}

fn pipe(new: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, new, FileType::Fifo, 0o644.into(), 0)?)
}

/// Gives a file or folder other rights. The lab's agents may only do what these let them, as anybody who is not the
/// machine's root.
fn with_mode<'c>(cluster: &'c Cluster, node: usize, path: &str, mode: impl Fn(u32) -> u32) -> Result<Broken<'c>> {
    let path = cluster.files(node).at(path);
    let failed = |error: io::Error| Error::new(format!("changing the rights of {}", path.display()), error);
    let before = fs::metadata(&path).map_err(failed)?.permissions();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode(before.mode()))).map_err(failed)?;
    Ok(Broken::until(move || {
        fs::set_permissions(&path, before).map_err(|error| Error::new(format!("healing {}", path.display()), error))
    }))
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

/// Whoever reads sees the old text or the new one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use crate::fault::tests::read;
    use crate::recipe::{BRIDGED, JUMBO, PLAIN, REFERENCE, ROUTED};

    #[test]
    fn a_file_is_changed_only_where_the_recipe_has_it() {
        let fits = |text: &str| [REFERENCE, ROUTED, JUMBO, BRIDGED, PLAIN].map(|recipe| read(text).fits(&recipe));
        let number =
            r#"{ edited_file = { path = "{cni_file}", old = "\"mtu\": {= pod}", new = "\"mtu\": {= pod - 1}" } }"#;
        assert_eq!(fits(number), [false, false, true, true, false]);
        assert_eq!(fits("{ no_file = { path = '/opt/cni/bin/portmap' } }"), [true, true, true, true, false]);
        assert_eq!(fits("{ no_file = { path = '/etc/cni/net.d' } }"), [true, true, true, true, false]);
        let manifest = "{ odd_file = { path = '/etc/kubernetes/manifests/kube-vip.yaml', is = 'unreadable' } }";
        assert_eq!(fits(manifest), [true, false, false, false, false]);
        assert_eq!(fits("{ taken_addresses = { left = '3' } }"), [false, true, false, true, false]);
        assert_eq!(
            fits("{ linked_file = { path = '{cni_file}', to = '/dev/null' } }"),
            [true, true, true, true, false]
        );
        assert_eq!(fits("{ host_file = { path = '/a', text = '{\"mtu\": {= underlay}}' } }"), [true; 5]);
        assert_eq!(fits("{ host_file = { path = '/a', text = '{bridge}' } }"), [true, false, true, true, false]);
    }
}
