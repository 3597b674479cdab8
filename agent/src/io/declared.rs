//! Files of the host that declare something, below `host_root` and within [`LIMITS`].
//!
//! A missing file is none only where the machine's tree is there around it: a container that mounts nothing has an `/etc`
//! too, but no `/usr`. Links are followed within the tree and lead nowhere outside of it. What is neither file nor folder
//! is not read: opening a pipe or a device can do something.

use std::fs::File;
use std::io;
use std::path::Path;

use probes::declared::host::{Ask, Entry, EntryKind, Found, LIMITS, RawHost, Want, asks};
use probes::fact::{Reason, Source, Unread};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};

use super::host::{READ, bounded, is_mounted, needs, open, unmounted};

/// Folders that every machine has.
const MACHINE: [&str; 2] = ["/etc", "/usr"];

/// Reads everything that is asked for, and what that leads to.
pub fn read(root: &Path) -> RawHost {
    if !is_mounted(root) {
        return RawHost::unread(unmounted(root, Source::HostFiles));
    }
    for folder in MACHINE {
        if let Err(error) = open(root, folder, OFlags::PATH | OFlags::DIRECTORY) {
            let what = format!("{}: {error}; check host_root", shown(root, folder));
            return RawHost::unread(Unread::new(Source::HostFiles, Reason::Failed { what }));
        }
    }
    let (mut read, mut left) = (RawHost::new(), LIMITS.bytes);
    for _ in 0..LIMITS.rounds {
        let asks = asks(&read);
        if asks.is_empty() {
            break;
        }
        for Ask { path, want } in asks {
            let found = one(root, &path, want, &mut left);
            read.take(path, found);
        }
    }
    read
}

/// What is at a path. `left` is how many bytes may still be read.
fn one(root: &Path, path: &str, want: Want, left: &mut usize) -> Result<Option<Found>, Unread> {
    let found = match want {
        Want::Text => text(root, path, left).map(Found::Text),
        Want::Folder { texts, deep } => folder(root, path, texts, deep, left).map(Found::Folder),
    };
    match found {
        Ok(found) => Ok(Some(found)),
        Err(missing @ Fault::Missing) => match dangling(root, path) {
            // What it leads to may be there and not be mounted.
            Some(link) => Err(missing.named(&shown(root, link))),
            None => Ok(None),
        },
        Err(Fault::Unread(unread)) => Err(unread),
    }
}

/// The part of a path that is not there by the link that leads to it.
fn dangling<'p>(root: &Path, path: &'p str) -> Option<&'p str> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    let lost = ends.map(|end| &path[..end]).find(|part| open(root, part, OFlags::PATH).is_err())?;
    open(root, lost, OFlags::PATH | OFlags::NOFOLLOW).is_ok().then_some(lost)
}

/// Why something was not read.
enum Fault {
    /// It is not there.
    Missing,
    /// It is, and could not be.
    Unread(Unread),
}

impl Fault {
    fn new(shown: &str, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => return Self::Missing,
            io::ErrorKind::PermissionDenied => Reason::Denied { needs: needs(shown) },
            _ => Reason::Failed { what: format!("read {shown}: {error}") },
        };
        Self::Unread(Unread::new(Source::HostFiles, reason))
    }

    fn odd(shown: &str, what: &str) -> Self {
        let what = format!("{shown} {what}");
        Self::Unread(Unread::new(Source::HostFiles, Reason::Malformed { what }))
    }

    /// What became of something that is known to be there by its name.
    fn named(self, shown: &str) -> Unread {
        match self {
            Self::Unread(unread) => unread,
            Self::Missing => {
                let what = format!("{shown} leads to nothing; check host_root");
                Unread::new(Source::HostFiles, Reason::Failed { what })
            }
        }
    }
}

fn text(root: &Path, path: &str, left: &mut usize) -> Result<String, Fault> {
    let shown = shown(root, path);
    let failed = |error: &io::Error| Fault::new(&shown, error);
    if kind(&stat(root, path).map_err(|error| failed(&error))?) != FileType::RegularFile {
        return Err(Fault::odd(&shown, "is no file"));
    }
    let bytes = open(root, path, READ).and_then(bounded).map_err(|error| failed(&error))?;
    if bytes.len() > LIMITS.file.min(*left) {
        let limits = format!("is too large, or all files are together: {} and {} bytes", LIMITS.file, LIMITS.bytes);
        return Err(Fault::odd(&shown, &limits));
    }
    *left -= bytes.len();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn folder(root: &Path, path: &str, texts: &[&str], deep: bool, left: &mut usize) -> Result<Vec<Entry>, Fault> {
    let mut files = LIMITS.files;
    let entry = |name: String| {
        let (path, shown) = (format!("{path}/{name}"), shown(root, &format!("{path}/{name}")));
        let wanted = texts.iter().any(|ending| name.ends_with(ending));
        let kind = match stat(root, &path) {
            Ok(stat) if kind(&stat) == FileType::RegularFile => {
                let text = wanted.then(|| match files.checked_sub(1) {
                    None => Err(Fault::odd(&shown, "is one of too many files").named(&shown)),
                    Some(less) => {
                        files = less;
                        text(root, &path, left).map_err(|fault| fault.named(&shown))
                    }
                });
                EntryKind::File { executable: stat.st_mode & 0o111 != 0, text }
            }
            Ok(stat) if kind(&stat) == FileType::Directory => {
                EntryKind::Folder(deep.then(|| names(root, &path).map_err(|fault| fault.named(&shown))))
            }
            Ok(_) if wanted => {
                let odd = Fault::odd(&shown, "is no file").named(&shown);
                EntryKind::File { executable: false, text: Some(Err(odd)) }
            }
            Ok(_) => EntryKind::Other,
            Err(_) => link(root, &path).map_or(EntryKind::Other, EntryKind::Dangling),
        };
        Entry { name, kind }
    };
    Ok(names(root, path)?.into_iter().map(entry).collect())
}

/// The names in a folder, in order.
fn names(root: &Path, path: &str) -> Result<Vec<String>, Fault> {
    let shown = shown(root, path);
    let failed = |error: &io::Error| Fault::new(&shown, error);
    let opened = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|error| failed(&error))?;
    let entries = Dir::new(opened).map_err(|error| failed(&error.into()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(&error.into()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
        if names.len() > LIMITS.names {
            return Err(Fault::odd(&shown, &format!("has more than {} entries", LIMITS.names)));
        }
    }
    names.sort();
    Ok(names)
}

/// What is at a path, links followed, without opening it.
fn stat(root: &Path, path: &str) -> io::Result<Stat> {
    let file: File = open(root, path, OFlags::PATH)?;
    Ok(rustix::fs::statat(&file, "", AtFlags::EMPTY_PATH)?)
}

/// Where a link says that it leads.
fn link(root: &Path, path: &str) -> Option<String> {
    let link: File = open(root, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    let to = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?;
    Some(to.to_string_lossy().into_owned())
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn shown(root: &Path, path: &str) -> String {
    root.join(path.trim_start_matches('/')).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use probes::declared::{calico, cni, flannel};
    use tempfile::TempDir;

    use super::*;

    fn host(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc", "usr"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn entries(root: &TempDir) -> Vec<Entry> {
        read(root.path()).folder(cni::FOLDER).unwrap().unwrap().to_vec()
    }

    #[test]
    fn this_machines_files_are_read() {
        assert!(read(Path::new("/")).text(calico::MTU).is_ok());
    }

    #[test]
    fn texts_and_folders_are_read_and_what_is_missing_is_none() {
        let root = host(&[
            ("run/flannel/subnet.env", "FLANNEL_MTU=1450\n"),
            ("etc/cni/net.d/20-b.conflist", "{}"),
            ("etc/cni/net.d/10-a.conf", "[]"),
            ("etc/cni/net.d/README", "not read"),
        ]);
        let read = read(root.path());
        assert_eq!((read.text(flannel::SUBNET), read.text(calico::MTU)), (Ok(Some("FLANNEL_MTU=1450\n")), Ok(None)));
        let file = |text: Option<&str>| EntryKind::File { executable: false, text: text.map(|text| Ok(text.into())) };
        let entry = |name: &str, text| Entry { name: name.into(), kind: file(text) };
        let wanted = [entry("10-a.conf", Some("[]")), entry("20-b.conflist", Some("{}")), entry("README", None)];
        assert_eq!(read.folder(cni::FOLDER), Ok(Some(&wanted[..])));
        assert!(read.is_whole());
    }

    #[test]
    fn nothing_outside_of_the_root_is_read() {
        let (root, outside) = (host(&[("etc/cni/net.d/real.conf", "{}")]), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let folder = root.path().join("etc/cni/net.d");
        symlink(outside.path().join("secret"), folder.join("absolute.conf")).unwrap();
        symlink("../../../../../../../../etc/cni/net.d/real.conf", folder.join("up.conf")).unwrap();
        symlink("loop.conf", folder.join("loop.conf")).unwrap();
        fs::create_dir_all(root.path().join("var/lib/calico")).unwrap();
        symlink(outside.path().join("secret"), root.path().join("var/lib/calico/mtu")).unwrap();
        let unread = read(root.path()).text(calico::MTU).unwrap_err().to_string();
        assert!(unread.contains("calico/mtu leads to nothing; check host_root"), "{unread}");
        let kinds: Vec<_> = entries(&root).into_iter().map(|entry| (entry.name, entry.kind)).collect();
        let real = || EntryKind::File { executable: false, text: Some(Ok("{}".into())) };
        let dangling = |name: &str, to: &str| (name.to_owned(), EntryKind::Dangling(to.into()));
        let secret = outside.path().join("secret");
        let links = [dangling("absolute.conf", &secret.display().to_string()), dangling("loop.conf", "loop.conf")];
        let files = [("real.conf".to_owned(), real()), ("up.conf".into(), real())];
        assert_eq!(kinds, [links, files].concat(), "the root's own stands for one that leads up");
    }

    #[test]
    fn a_folder_that_is_a_link_to_nothing_may_hold_anything() {
        let root = host(&[("var/lib/empty", "")]);
        symlink("/data/calico", root.path().join("var/lib/calico")).unwrap();
        let unread = read(root.path()).text(calico::MTU).unwrap_err().to_string();
        assert!(unread.contains("var/lib/calico leads to nothing"), "{unread}");
        fs::create_dir_all(root.path().join("data/calico")).unwrap();
        assert_eq!(read(root.path()).text(calico::MTU), Ok(None));
        fs::write(root.path().join("data/calico/mtu"), "1450").unwrap();
        assert_eq!(read(root.path()).text(calico::MTU), Ok(Some("1450")));
    }

    #[test]
    fn pipes_devices_and_folders_are_not_read_and_too_much_is_refused() {
        let root = host(&[("etc/cni/net.d/huge.conf", &"x".repeat(LIMITS.file + 1))]);
        let folder = root.path().join("etc/cni/net.d");
        rustix::fs::mknodat(rustix::fs::CWD, folder.join("pipe.conf"), FileType::Fifo, 0o644.into(), 0).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.join("pipe"), FileType::Fifo, 0o644.into(), 0).unwrap();
        fs::create_dir(folder.join("folder.conf")).unwrap();
        fs::write(folder.join("latin.conf"), b"\xfc{}").unwrap();
        let entries = entries(&root);
        let [nested, huge, latin, unasked, pipe] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!((&nested.kind, &unasked.kind), (&EntryKind::Folder(None), &EntryKind::Other));
        let text = |entry: &Entry| match &entry.kind {
            EntryKind::File { text: Some(text), .. } => text.clone(),
            other => panic!("{other:?}"),
        };
        assert!(text(huge).unwrap_err().to_string().contains("huge.conf is too large"));
        assert!(text(pipe).unwrap_err().to_string().contains("pipe.conf is no file"));
        assert_eq!(text(latin).unwrap(), "\u{fffd}{}");
        for index in 0..=LIMITS.files {
            fs::write(folder.join(format!("0{index}.conf")), "{}").unwrap();
        }
        assert!(!read(root.path()).is_whole(), "more files than anybody has");
    }

    #[test]
    fn what_may_not_be_read_is_named() {
        let root = host(&[("var/lib/calico/mtu", "1450"), ("etc/cni/net.d/a.conf", "{}")]);
        for path in ["var/lib/calico/mtu", "etc/cni/net.d"] {
            fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(0o000)).unwrap();
        }
        // Capabilities are a thread's own: without them root may not read it either.
        let read = std::thread::spawn(move || {
            caps::clear(None, caps::CapSet::Effective).unwrap();
            let read = read(root.path());
            caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_DAC_OVERRIDE).ok();
            read
        });
        let read = read.join().unwrap();
        for why in [read.text(calico::MTU).unwrap_err(), read.folder(cni::FOLDER).unwrap_err()] {
            assert!(matches!(&why.reason, Reason::Denied { needs } if needs.contains("permission to read")), "{why}");
        }
    }

    #[test]
    fn a_tree_that_is_not_the_machines_is_told_from_one_without_files() {
        let root = host(&[]);
        assert_eq!(read(root.path()).folder(cni::FOLDER), Ok(None));
        fs::remove_dir(root.path().join("etc")).unwrap();
        let unread = read(root.path()).folder(cni::FOLDER).unwrap_err();
        assert!(matches!(&unread.reason, Reason::Failed { what } if what.contains("check host_root")), "{unread}");
    }

    #[test]
    fn nothing_mounted_is_a_choice_and_no_failure() {
        let container = tempfile::tempdir().unwrap();
        fs::create_dir(container.path().join("etc")).unwrap();
        for root in [container.path(), Path::new("/nonexistent")] {
            let unread = read(root).folder(cni::FOLDER).unwrap_err();
            assert!(matches!(&unread.reason, Reason::Unsupported { why } if why.contains("mount")), "{unread}");
        }
    }
}
