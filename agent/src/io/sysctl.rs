//! Sysctl files below `host_root`, and the kernel's values of the settings that somebody wants to be something.
//!
//! Everything is bounded: names in a directory, files, bytes. Which files count is decided from their names, so that one
//! that is masked is not even opened. A missing directory is none only where the machine's tree is there around it: a
//! container that mounts nothing has an `/etc` too, but no `/usr`. A link that leads nowhere says nothing, as both readers
//! have it, but only where the folder is there that it points into; `/dev/null`, which masks, need not be there.

use std::fs::File;
use std::io;
use std::path::Path;

use probes::declared::sysctl::{self, DIRECTORIES, Key, MAIN, RawFile, RawFiles, RawSysctls};
use probes::fact::{Reason, Source, Unread};
use rustix::fs::{AtFlags, Dir, OFlags};

use super::host::{READ, bounded, is_mounted, kernel, needs, open, unmounted};

/// Most names that are looked at in one directory.
const NAMES: usize = 4096;
/// Most files that are read.
const FILES: usize = 256;
/// Largest file, in bytes. Distributions' have a few hundred.
const FILE: usize = 64 << 10;
/// Largest sum of files, in bytes.
const BYTES: usize = 512 << 10;

/// Reads the files, and the values of what they speak of and of what is `expected`.
pub fn read<'e>(root: &Path, expected: impl IntoIterator<Item = &'e String>) -> RawSysctls {
    let files = files(root);
    let keys = sysctl::to_read(files.as_ref(), expected);
    let kernel = kernel(root);
    let values = keys.into_iter().map(|key| (key.clone(), value(kernel, &key))).collect();
    RawSysctls { files, values }
}

fn files(root: &Path) -> Result<RawFiles, Unread> {
    if !is_mounted(root) {
        return Err(unmounted(root, Source::SysctlFiles));
    }
    let mut names: [Vec<String>; DIRECTORIES.len()] = Default::default();
    for (names, directory) in names.iter_mut().zip(DIRECTORIES) {
        *names = list(root, directory)?;
    }
    let chosen = sysctl::chosen(&names);
    if chosen.len() > FILES {
        return Err(malformed(format!("{} sysctl files, more than {FILES}", chosen.len())));
    }
    let mut left = BYTES;
    let directories = chosen.into_iter().map(|path| file(root, path, &mut left)).collect::<Vec<_>>();
    let main = file(root, MAIN.to_owned(), &mut left);
    Ok(RawFiles { directories, main: Some(main) })
}

/// The names in a directory.
fn list(root: &Path, directory: &str) -> Result<Vec<String>, Unread> {
    let shown = || shown(root, directory);
    let opened = match open(root, directory, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match parent(directory) {
                Some(around) if open(root, around, OFlags::PATH | OFlags::DIRECTORY).is_err() => {
                    let what = format!("{} does not exist, nor does {around} around it; check host_root", shown());
                    Err(Unread::new(Source::SysctlFiles, Reason::Failed { what }))
                }
                _ => Ok(Vec::new()),
            };
        }
        opened => opened.map_err(|error| failed(&shown(), &error))?,
    };
    let entries = Dir::new(opened).map_err(|error| failed(&shown(), &error.into()))?;
    let mut names = Vec::new();
    for entry in entries.take(NAMES + 1) {
        let entry = entry.map_err(|error| failed(&shown(), &error.into()))?;
        // A name that is no text could not be told from its like.
        let name = entry.file_name().to_str();
        names.push(name.map_err(|_| malformed(format!("{}: a name that is no text", shown())))?.to_owned());
    }
    if names.len() > NAMES {
        return Err(malformed(format!("{} has more than {NAMES} entries", shown())));
    }
    Ok(names)
}

/// The folder that every machine has around a directory. `/lib` is on some machines a link to `usr/lib`, and on others not
/// there.
fn parent(directory: &str) -> Option<&'static str> {
    ["/etc", "/run", "/usr"].into_iter().find(|around| directory.starts_with(around))
}

/// One file. `left` is how many bytes may still be read.
fn file(root: &Path, path: String, left: &mut usize) -> RawFile {
    let text = match open(root, &path, READ).and_then(bounded) {
        Ok(bytes) if bytes.len() > FILE.min(*left) => Err(malformed(format!(
            "{} is too large, or all files are together: {FILE} and {BYTES} bytes",
            shown(root, &path)
        ))),
        Ok(bytes) => {
            *left -= bytes.len();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => nowhere(root, &path),
        // Neither reader gets anything out of a folder.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(String::new()),
        Err(error) => Err(failed(&shown(root, &path), &error)),
    };
    RawFile { path, text }
}

/// What a path says that leads to no file: nothing, unless what it points into may be there and not be mounted.
fn nowhere(root: &Path, path: &str) -> Result<String, Unread> {
    let link = open(root, path, OFlags::PATH | OFlags::NOFOLLOW);
    let Some(target) = link.ok().and_then(|link: File| rustix::fs::readlinkat(&link, "", Vec::new()).ok()) else {
        return Ok(String::new());
    };
    // A path that begins at the root stays as it is.
    let target = Path::new(path).parent().unwrap_or(Path::new("/")).join(&*target.to_string_lossy());
    let around = target.parent().and_then(Path::to_str);
    let there = |around: &str| open(root, around, OFlags::PATH | OFlags::DIRECTORY).is_ok();
    if target == Path::new("/dev/null") || around.is_some_and(there) {
        return Ok(String::new());
    }
    let target = target.display();
    let what = format!("{} leads to {target}, which is not there; check host_root", shown(root, path));
    Err(Unread::new(Source::SysctlFiles, Reason::Failed { what }))
}

/// The kernel's value; `None` if it has no such setting.
fn value(root: &Path, key: &Key) -> Result<Option<String>, Unread> {
    let path = format!("/proc/sys/{}", key.path());
    let fault = |error: &io::Error| {
        let Unread { reason, .. } = failed(&shown(root, &path), error);
        Unread::new(Source::Settings, reason)
    };
    match open(root, &path, READ).and_then(bounded) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let around = open(root, "/proc/sys/net", OFlags::PATH | OFlags::DIRECTORY);
            around.map(|_| None).map_err(|_| fault(&error))
        }
        Err(_) if is_for_writing(root, &path) => Ok(None),
        Err(error) => Err(fault(&error)),
    }
}

/// Whether nobody may read a setting: it does something when it is written, and has no value.
fn is_for_writing(root: &Path, path: &str) -> bool {
    let stat = open(root, path, OFlags::PATH).and_then(|file| Ok(rustix::fs::statat(&file, "", AtFlags::EMPTY_PATH)?));
    stat.is_ok_and(|stat| stat.st_mode & 0o444 == 0)
}

fn shown(root: &Path, path: &str) -> String {
    root.join(path.trim_start_matches('/')).display().to_string()
}

fn failed(shown: &str, error: &io::Error) -> Unread {
    let reason = match error.kind() {
        io::ErrorKind::PermissionDenied => Reason::Denied { needs: needs(shown) },
        _ => Reason::Failed { what: format!("read {shown}: {error}") },
    };
    Unread::new(Source::SysctlFiles, reason)
}

const fn malformed(what: String) -> Unread {
    Unread::new(Source::SysctlFiles, Reason::Malformed { what })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A host's tree with these files.
    fn host(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc/sysctl.d", "run", "usr/lib/sysctl.d", "proc/sys/net/ipv4"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for (path, text) in files {
            fs::write(root.path().join(path), text).unwrap();
        }
        root
    }

    fn texts(root: &TempDir) -> Vec<(String, String)> {
        let files = files(root.path()).unwrap();
        let named = files.directories.into_iter().chain(files.main);
        named.map(|file| (file.path, file.text.unwrap_or_else(|unread| unread.to_string()))).collect()
    }

    fn text(root: &TempDir, path: &str) -> String {
        texts(root).into_iter().find(|(at, _)| at == path).unwrap().1
    }

    fn values(root: &TempDir, expected: &[&str]) -> Vec<Result<Option<String>, Unread>> {
        let expected: Vec<String> = expected.iter().map(|&key| key.to_owned()).collect();
        read(root.path(), &expected).values.into_values().collect()
    }

    #[test]
    fn this_machines_files_are_read() {
        let read = read(Path::new("/"), &["net.ipv4.ip_forward".to_owned()]);
        assert!(read.are_whole(), "{read:?}");
        assert!(matches!(read.values.first_key_value(), Some((_, Ok(Some(_))))), "{read:?}");
    }

    #[test]
    fn files_come_in_the_order_of_their_names_and_the_main_one_last() {
        let root = host(&[
            ("usr/lib/sysctl.d/50-default.conf", "a"),
            ("etc/sysctl.d/60-mine.conf", "b"),
            ("etc/sysctl.d/README", "not read"),
            ("usr/lib/sysctl.d/60-mine.conf", "masked"),
            ("etc/sysctl.conf", "c"),
        ]);
        let wanted = [
            ("/usr/lib/sysctl.d/50-default.conf", "a"),
            ("/etc/sysctl.d/60-mine.conf", "b"),
            ("/etc/sysctl.conf", "c"),
        ];
        assert_eq!(texts(&root), wanted.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn links_are_followed_within_the_root_and_one_to_nowhere_says_nothing() {
        let (root, outside) = (host(&[("etc/sysctl.conf", "net.ipv4.ip_forward = 1\n")]), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let link = |name: &str, to: &Path| symlink(to, root.path().join("etc/sysctl.d").join(name)).unwrap();
        link("99-sysctl.conf", Path::new("../sysctl.conf"));
        link("20-masked.conf", Path::new("/dev/null"));
        link("30-gone.conf", Path::new("../gone.conf"));
        link("40-out.conf", &outside.path().join("secret"));
        link("50-up.conf", Path::new("../../../../../../../etc/sysctl.conf"));
        let text = |name: &str| text(&root, &format!("/etc/sysctl.d/{name}"));
        assert_eq!(text("99-sysctl.conf"), "net.ipv4.ip_forward = 1\n");
        assert_eq!(text("50-up.conf"), "net.ipv4.ip_forward = 1\n", "the root's own");
        assert_eq!([text("20-masked.conf"), text("30-gone.conf")], ["", ""]);
        assert!(text("40-out.conf").contains("check host_root"), "what is not mounted may say anything");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_hides_no_other() {
        let root = host(&[("etc/sysctl.d/10-a.conf", "a"), ("etc/sysctl.d/20-b.conf", "b")]);
        let large = "#".repeat(FILE + 1);
        fs::write(root.path().join("etc/sysctl.d/30-large.conf"), large).unwrap();
        fs::write(root.path().join("etc/sysctl.d/40-latin.conf"), b"# f\xfcr\nnet.ipv4.ip_forward = 1\n").unwrap();
        fs::create_dir(root.path().join("etc/sysctl.d/50-folder.conf")).unwrap();
        let secret = root.path().join("etc/sysctl.d/20-b.conf");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        // Capabilities are a thread's own: without them root may not read it either.
        let read = std::thread::spawn(move || {
            caps::clear(None, caps::CapSet::Effective).unwrap();
            texts(&root).into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        });
        let texts = read.join().unwrap();
        assert_eq!(texts[0], "a");
        assert!(
            texts[1].starts_with("sysctl_files: denied, needs permission to read") && texts[1].contains("20-b.conf")
        );
        assert!(texts[2].contains("30-large.conf is too large"), "{}", texts[2]);
        assert!(texts[3].ends_with("net.ipv4.ip_forward = 1\n"), "an old encoding in a comment is no harm");
        assert_eq!(texts[4], "", "a folder");
    }

    #[test]
    fn a_tree_that_is_not_the_machines_is_told_from_one_without_files() {
        let root = host(&[]);
        fs::remove_dir_all(root.path().join("etc/sysctl.d")).unwrap();
        assert_eq!(files(root.path()).unwrap().directories, []);
        fs::remove_dir_all(root.path().join("usr")).unwrap();
        let unread = files(root.path()).unwrap_err();
        assert!(matches!(unread.reason, Reason::Unsupported { .. }), "none of it is mounted: {unread}");
        fs::create_dir(root.path().join("usr")).unwrap();
        fs::remove_dir(root.path().join("run")).unwrap();
        let unread = files(root.path()).unwrap_err().to_string();
        assert!(unread.contains("run/sysctl.d does not exist, nor does /run"), "{unread}");
    }

    #[test]
    fn as_many_files_as_nobody_has_are_not_read() {
        let root = host(&[]);
        for index in 0..=FILES {
            fs::write(root.path().join(format!("etc/sysctl.d/{index}.conf")), "").unwrap();
        }
        assert!(files(root.path()).unwrap_err().to_string().contains("257 sysctl files"));
        let many = host(&[]);
        for index in 0..9 {
            fs::write(many.path().join(format!("etc/sysctl.d/{index}.conf")), "#".repeat(FILE)).unwrap();
        }
        assert!(text(&many, "/etc/sysctl.d/8.conf").contains("too large"), "all together are");
    }

    #[test]
    fn values_are_read_of_what_files_speak_of_and_of_what_is_expected() {
        let root = host(&[
            ("etc/sysctl.d/a.conf", "net.ipv4.conf.all.forwarding = 1\nkernel.panic = 1\n"),
            ("proc/sys/net/ipv4/ip_forward", "0\n"),
            ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
            ("proc/sys/net/ipv4/flush", ""),
        ]);
        let value = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(values(&root, &["net.ipv4.tcp_rmem"]), [value("0\n"), value("4096\t131072\t6291456\n")]);
        assert_eq!(values(&root, &["net.ipv4.nonesuch"]), [value("0\n"), Ok(None)]);
        fs::remove_dir_all(root.path().join("proc/sys")).unwrap();
        let unread = values(&root, &[])[0].clone().unwrap_err();
        assert!(unread.source == Source::Settings && unread.to_string().contains("ip_forward"), "{unread}");
    }
}
